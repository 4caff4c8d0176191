/* SPDX-License-Identifier: MIT */
/* countdown.c - the device of docs/write-a-device.md: a register that counts down to an interrupt.
 *
 * What the guest sees, in 8 bytes of MMIO: 0 DELAY (32 bits, write: start a countdown of that many microseconds, 0 stops; read: what is left),
 * 4 STATUS (32 bits, bit 0: expired; write 1 to clear). The line is high while bit 0 is set.
 */
#include "countdown.h"

#include "base/bits.h"
#include "executor/executor.h"

struct countdown {
    struct device device;      /* first */
    struct bus_region region;
    struct exec_timer timer;
    struct irq_line irq;
    uint64_t deadline;         /* ns of the VM's clock; 0: stopped */
    uint32_t status;
};

static struct countdown *from_device(struct device *d) { return container_of(d, struct countdown, device); }
static uint64_t now(const struct countdown *c) { return executor_now(c->device.services.executor); }

/* Whatever changed: the line and the timer follow from the fields. */
static void update(struct countdown *c)
{
    irq_set(&c->irq, c->status & 1);
    if (c->deadline)
        exec_timer_arm(&c->timer, c->deadline);
    else
        exec_timer_cancel(&c->timer);
}

static void expired(void *opaque)
{
    struct countdown *c = opaque;
    c->deadline = 0;
    c->status |= 1;
    update(c);
}

static enum bus_status countdown_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct countdown *c = opaque;
    if (size != 4)
        return BUS_BAD_SIZE;
    if (offset & 3)
        return BUS_UNALIGNED;
    *value = offset ? c->status : c->deadline > now(c) ? (c->deadline - now(c)) / 1000 : 0;
    return BUS_OK;
}

static enum bus_status countdown_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct countdown *c = opaque;
    if (size != 4)
        return BUS_BAD_SIZE;
    if (offset & 3)
        return BUS_UNALIGNED;
    if (offset)
        c->status &= ~(uint32_t)value & 1;
    else
        c->deadline = value ? now(c) + value * 1000 : 0;
    update(c);
    return BUS_OK;
}

static const struct bus_ops countdown_ops = {countdown_read, countdown_write};

static int create(struct device *d, const void *config, struct err *err)
{
    const struct countdown_config *cfg = config;
    struct countdown *c = from_device(d);
    c->irq = cfg->irq;
    exec_timer_init(&c->timer, d->services.executor, &d->lock, expired, c);
    c->region = (struct bus_region){.name = "countdown", .space = BUS_MMIO, .base = cfg->base, .len = 8, .ops = &countdown_ops, .opaque = c, .owner = d};
    return bus_add(d->services.bus, &c->region, err);
}

static void destroy(struct device *d)
{
    if (from_device(d)->timer.executor)
        exec_timer_cancel(&from_device(d)->timer);
}

static void reset(struct device *d)
{
    from_device(d)->deadline = from_device(d)->status = 0;
    update(from_device(d));
}

static int loaded(struct device *d, struct err *err)
{
    if (from_device(d)->status > 1)
        return err_set(err, ERR_INPUT, "status has reserved bits set");
    update(from_device(d));
    return 0;
}

static const struct field countdown_fields[] = {
    FIELD(struct countdown, deadline, "end of the countdown, ns of the VM's clock"), FIELD(struct countdown, status, "STATUS"), FIELD_END
};

const struct device_class countdown_class = {
    .name = "countdown", .summary = "an example", .size = sizeof(struct countdown), .create = create, .destroy = destroy, .reset = reset, .fields = countdown_fields,
    .loaded = loaded,
};
