/* SPDX-License-Identifier: MIT */
/* A guest's accesses to two local APICs by MMIO and MSR, messages, pins and time; hostile saved states. */
#include <stdlib.h>
#include <string.h>

#include "apic/apic.h"
#include "base/bits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CPUS = 2 };
struct world { struct apic_bus *bus; struct apic *apics[CPUS]; uint64_t now; };

static uint64_t world_now(void *o) { return ((struct world *)o)->now; }
static uint64_t world_tsc(void *o, unsigned cpu) { return ((struct world *)o)->now * 2 + cpu; }
static void world_wake(void *o, unsigned cpu) { (void)o, (void)cpu; }

/* What a CPU does at an instruction boundary; its answers must make sense. */
static void boundary(struct world *w, struct apic *a)
{
    struct apic_events e;
    if (apic_take_events(a, &e) && e.init)
        apic_reset(a, true);
    apic_timer_poll(a, w->now);
    bool pending = apic_pending(a);
    int vector = apic_acknowledge(a);
    if (vector > 255 || (vector >= 0 && vector < 16) || (vector >= 0 && !pending))
        abort();
}

static void operate(struct world *w, const uint8_t *op)
{
    struct apic *a = w->apics[op[1] & 1];
    uint64_t value = load_le32(op + 4), out;
    uint32_t buffer[2] = {(uint32_t)value, 0};
    switch (op[0] & 7) {
    case 0: case 1: apic_mmio_write(a, op[0] & 64 ? load_le16(op + 2) % APIC_MMIO_SIZE : (op[2] & 0x3fu) << 4, buffer, 4); break;
    case 2: apic_mmio_read(a, load_le16(op + 2) % APIC_MMIO_SIZE, buffer, 1 + (op[1] >> 1) % 8); break;
    case 3: apic_msr_write(a, 0x800 + (op[2] & 0x3fu), op[1] & 2 ? value | (uint64_t)op[3] << 32 : value); break;
    case 4: apic_msr_write(a, op[1] & 2 ? APIC_MSR_BASE : APIC_MSR_TSC_DEADLINE, value << (op[1] >> 4)); break;
    case 5: apic_bus_msi(w->bus, 0xfee00000 | load_le16(op + 2) << 2, (uint32_t)value); break;
    case 6: apic_bus_line(w->bus, op[2] & 3, op[3] & 1); break;
    default:
        w->now += value << (op[1] & 15);
        apic_set_cr8(a, op[2] & 15);
        apic_raise(a, op[3] % APIC_LVT_COUNT);
        apic_msr_read(a, 0x800 + (op[2] & 0x3fu), &out);
    }
    boundary(w, a);
}

static void check_state(struct world *w, struct apic *a)
{
    uint8_t one[4096], two[4096];
    size_t n = fields_save(apic_fields, a, one, sizeof one);
    if (n > sizeof one || fields_load(apic_fields, a, one, n, NULL) || apic_loaded(a, w->now, NULL) || fields_save(apic_fields, a, two, sizeof two) != n || memcmp(one, two, n))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.now = 1};
    struct apic_bus_config config = {.x2apic = true, .phys_bits = 40, .timer_hz = 1000000000, .tsc_hz = 2000000000,
                                     .now = world_now, .tsc = world_tsc, .wake = world_wake, .opaque = &w};
    w.bus = apic_bus_new(&config, NULL);
    for (unsigned i = 0; i < CPUS; i++)
        if (!w.bus || apic_new(w.bus, i, i, &w.apics[i], NULL))
            abort();
    if (size && data[0] & 1 && (fields_load(apic_fields, w.apics[0], data + 1, size - 1, NULL) || apic_loaded(w.apics[0], 0, NULL)))
        apic_reset(w.apics[0], false);
    for (size_t i = 1, n = 0; i + 8 <= size && n < 2000; i += 8, n++)
        operate(&w, data + i);
    for (unsigned i = 0; i < CPUS; i++) {
        check_state(&w, w.apics[i]);
        apic_free(w.apics[i]);
    }
    apic_bus_free(w.bus);
    return 0;
}
