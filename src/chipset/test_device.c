/* SPDX-License-Identifier: MIT */
/* test_device.c - what the programs of kvm-unit-tests expect beside the exit port.
 *
 * What the guest sees: port E0h, a 4-byte latch; E4h, a "flush this page" command that needs nothing here; 2000h + n (n < 24), drives GSI n to the level
 * (value != 0); 64 KiB of memory behind MMIO at FF000000h.
 */
#include <string.h>

#include "base/bits.h"
#include "chipset/chipset.h"

#define WINDOW_BASE UINT64_C(0xff000000)
#define WINDOW_SIZE 0x10000

struct test_device {
    struct device device;
    struct bus_region latch_region, irq_region, window_region;
    struct irq_line lines[IRQ_ROUTER_GSIS];
    uint8_t latch[8], levels[IRQ_ROUTER_GSIS], window[WINDOW_SIZE];
};

static struct test_device *from_device(struct device *d) { return container_of(d, struct test_device, device); }

static enum bus_status latch_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    memcpy(value, ((struct test_device *)opaque)->latch + offset, size);
    return BUS_OK;
}

static enum bus_status latch_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    memcpy(((struct test_device *)opaque)->latch + offset, &value, size);
    return BUS_OK;
}

static enum bus_status irq_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    if (size != 1)
        return BUS_BAD_SIZE;
    *value = ((struct test_device *)opaque)->levels[offset];
    return BUS_OK;
}

static enum bus_status irq_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct test_device *t = opaque;
    if (size != 1)
        return BUS_BAD_SIZE;
    t->levels[offset] = value != 0;
    irq_set(&t->lines[offset], value != 0);
    return BUS_OK;
}

static enum bus_status window_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    memcpy(value, ((struct test_device *)opaque)->window + offset, size);
    return BUS_OK;
}

static enum bus_status window_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    memcpy(((struct test_device *)opaque)->window + offset, &value, size);
    return BUS_OK;
}

static const struct bus_ops latch_ops = {latch_read, latch_write}, irq_ops = {irq_read, irq_write}, window_ops = {window_read, window_write};

static int create(struct device *d, const void *config, struct err *err)
{
    struct test_device *t = from_device(d);
    memcpy(t->lines, ((const struct test_device_config *)config)->lines, sizeof t->lines);
    t->latch_region = (struct bus_region){.name = "test latch", .space = BUS_PORT, .base = 0xe0, .len = sizeof t->latch, .ops = &latch_ops};
    t->irq_region = (struct bus_region){.name = "test interrupts", .space = BUS_PORT, .base = 0x2000, .len = IRQ_ROUTER_GSIS, .ops = &irq_ops};
    t->window_region = (struct bus_region){.name = "test memory", .space = BUS_MMIO, .base = WINDOW_BASE, .len = WINDOW_SIZE, .ops = &window_ops};
    struct bus_region *regions[] = {&t->latch_region, &t->irq_region, &t->window_region};
    for (unsigned i = 0; i < ARRAY_LEN(regions); i++) {
        regions[i]->opaque = t;
        regions[i]->owner = d;
        int e = bus_add(d->services.bus, regions[i], err);
        if (e)
            return e;
    }
    return 0;
}

static void drive_lines(struct test_device *t)
{
    for (unsigned i = 0; i < IRQ_ROUTER_GSIS; i++)
        irq_set(&t->lines[i], t->levels[i]);
}

static void reset(struct device *d)
{
    struct test_device *t = from_device(d);
    memset(t->latch, 0, sizeof t->latch);
    memset(t->levels, 0, sizeof t->levels);
    memset(t->window, 0, sizeof t->window);
    drive_lines(t);
}

static int loaded(struct device *d, struct err *err)
{
    struct test_device *t = from_device(d);
    for (unsigned i = 0; i < IRQ_ROUTER_GSIS; i++)
        if (t->levels[i] > 1)
            return err_set(err, ERR_INPUT, "impossible level of line %u", i);
    drive_lines(t);
    return 0;
}

static const struct field test_device_fields[] = {
    FIELD_BYTES(struct test_device, latch, "ports E0h to E7h"), FIELD_BYTES(struct test_device, levels, "levels of the lines"),
    FIELD_BYTES(struct test_device, window, "memory at FF000000h"), FIELD_END
};

const struct device_class test_device_class = {
    .name = "test-device", .summary = "test device of kvm-unit-tests", .size = sizeof(struct test_device), .create = create, .reset = reset,
    .fields = test_device_fields, .loaded = loaded,
};
