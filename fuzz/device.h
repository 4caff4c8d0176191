/* SPDX-License-Identifier: MIT */
/* device.h - turns bytes into accesses of one device: reads, writes, time, save and load, and whatever else the target's poke() does.
 *
 * An input is a first byte (bit 0: the rest is a saved state) and then operations of eight bytes: kind, window, offset (2), value (4). After each run the
 * device's state must save, load and save to the same bytes.
 */
#ifndef FUZZ_DEVICE_H
#define FUZZ_DEVICE_H

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "bus/device.h"
#include "executor/executor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_window { enum bus_space space; uint64_t base, len; };

struct fuzz_plan {
    const struct device_class *class;
    const void *config;
    const struct fuzz_window *windows;
    size_t window_count;
    void (*poke)(struct device *, const uint8_t op[8]);  /* may be NULL */
    void (*check)(struct device *);                      /* after each operation; may be NULL */
    uint64_t step_max;                                   /* ns that one operation may let pass; 0: FUZZ_STEP */
};

enum { FUZZ_OPS_MAX = 2000, FUZZ_STATE_MAX = 1 << 18, FUZZ_STEP = 20000000 };

static void fuzz_check_state(struct device *d)
{
    uint8_t *one = malloc(FUZZ_STATE_MAX), *two = malloc(FUZZ_STATE_MAX);
    size_t n = device_save(d, one, FUZZ_STATE_MAX);
    if (n > FUZZ_STATE_MAX || device_load(d, one, n, NULL) || device_save(d, two, FUZZ_STATE_MAX) != n || memcmp(one, two, n))
        abort();
    free(one);
    free(two);
}

static void fuzz_operate(const struct fuzz_plan *plan, struct executor *e, struct bus *bus, struct device *d, const uint8_t *op)
{
    const struct fuzz_window *w = &plan->windows[op[1] % plan->window_count];
    uint64_t address = w->base + load_le16(op + 2) % w->len, value = load_le32(op + 4);
    unsigned size = 1u << (op[0] >> 5 & 3);
    switch (op[0] & 7) {
    case 0: case 1: case 2: bus_write(bus, w->space, address, size, value); break;
    case 3: case 4:         bus_read(bus, w->space, address, size, &value); break;
    case 5:                 executor_advance(e, (value << (op[1] & 15)) % (plan->step_max ? plan->step_max : FUZZ_STEP)); break;
    case 6:
        if (plan->poke)
            plan->poke(d, op);
        break;
    default:
        if (op[1] == 0)
            device_reset(d);
        else if (op[1] < 8)
            fuzz_check_state(d);
    }
    if (plan->check)
        plan->check(d);
}

static int fuzz_device(const struct fuzz_plan *plan, const uint8_t *data, size_t size)
{
    struct executor *e;
    struct bus *bus = bus_new(NULL);
    struct device *d;
    if (!bus || executor_new_virtual(&e, NULL))
        abort();
    struct device_services services = {.bus = bus, .executor = e};
    if (device_new(plan->class, "fuzzed", &services, plan->config, &d, NULL))
        abort();
    if (size && data[0] & 1) {
        device_load(d, data + 1, size - 1, NULL);
    } else {
        for (size_t i = 1, n = 0; i + 8 <= size && n < FUZZ_OPS_MAX; i += 8, n++)
            fuzz_operate(plan, e, bus, d, data + i);
    }
    executor_advance(e, plan->step_max ? plan->step_max : FUZZ_STEP);
    fuzz_check_state(d);
    device_free(d);
    bus_free(bus);
    executor_free(e);
    return 0;
}

#endif
