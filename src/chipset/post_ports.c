/* SPDX-License-Identifier: MIT */
/* post_ports.c - ports 80h and EDh: diagnostic latches that guests write to pass about a microsecond. Reads give the last value. */
#include "base/bits.h"
#include "chipset/chipset.h"

struct post_ports {
    struct device device;
    struct bus_region regions[2];
    uint8_t code, delay;
};

static struct post_ports *from_device(struct device *d) { return container_of(d, struct post_ports, device); }

static enum bus_status latch_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    (void)offset;
    if (size != 1)
        return BUS_BAD_SIZE;
    *value = *(uint8_t *)opaque;
    return BUS_OK;
}

static enum bus_status latch_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    (void)offset;
    if (size != 1)
        return BUS_BAD_SIZE;
    *(uint8_t *)opaque = (uint8_t)value;
    return BUS_OK;
}

static const struct bus_ops latch_ops = {latch_read, latch_write};

static int create(struct device *d, const void *config, struct err *err)
{
    (void)config;
    struct post_ports *p = from_device(d);
    p->regions[0] = (struct bus_region){.name = "POST code", .space = BUS_PORT, .base = 0x80, .len = 1, .ops = &latch_ops, .opaque = &p->code, .owner = d};
    p->regions[1] = (struct bus_region){.name = "delay port", .space = BUS_PORT, .base = 0xed, .len = 1, .ops = &latch_ops, .opaque = &p->delay, .owner = d};
    int e = bus_add(d->services.bus, &p->regions[0], err);
    return e ? e : bus_add(d->services.bus, &p->regions[1], err);
}

static void reset(struct device *d) { from_device(d)->code = from_device(d)->delay = 0; }

static const struct field post_fields[] = {FIELD(struct post_ports, code, "port 80h"), FIELD(struct post_ports, delay, "port EDh"), FIELD_END};

const struct device_class post_ports_class = {
    .name = "post-ports", .summary = "POST code and delay ports", .size = sizeof(struct post_ports), .create = create, .reset = reset, .fields = post_fields,
};
