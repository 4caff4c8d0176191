/* SPDX-License-Identifier: MIT */
/* exit_port.c - a write ends the run: status 0 for value 0, else 100 + min(value, 27). Reads give zero. For tests and for guests that report a result. */
#include "base/bits.h"
#include "chipset/chipset.h"

enum { STATUS_BASE = 100, STATUS_MAX = 27 };

struct exit_port {
    struct device device;
    struct bus_region region;
    struct power_sink power;
};

static struct exit_port *from_device(struct device *d) { return container_of(d, struct exit_port, device); }

static enum bus_status port_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    (void)opaque, (void)offset, (void)size;
    *value = 0;
    return BUS_OK;
}

static enum bus_status port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct exit_port *p = opaque;
    if (offset)
        return BUS_NO_REGISTER;
    (void)size;
    int status = !value ? 0 : STATUS_BASE + (int)(value < STATUS_MAX ? value : STATUS_MAX);
    if (p->power.request)
        p->power.request(p->power.opaque, POWER_EXIT, status);
    return BUS_OK;
}

static const struct bus_ops port_ops = {port_read, port_write};

static int create(struct device *d, const void *config, struct err *err)
{
    const struct exit_port_config *c = config;
    struct exit_port *p = from_device(d);
    p->power = c->power;
    p->region = (struct bus_region){.name = "exit port", .space = BUS_PORT, .base = c->port, .len = c->port > 0xfffc ? 1 : 4, .ops = &port_ops, .opaque = p, .owner = d};
    return bus_add(d->services.bus, &p->region, err);
}

static void reset(struct device *d) { (void)d; }

static const struct field exit_port_fields[] = {FIELD_END};

const struct device_class exit_port_class = {
    .name = "exit-port", .summary = "port that ends the run with a status", .size = sizeof(struct exit_port), .create = create, .reset = reset, .fields = exit_port_fields,
};
