/* SPDX-License-Identifier: MIT */
/* acpi_pm.c - ACPI fixed hardware (ACPI 6.5 section 4.8): PM1a event and control blocks, PM timer, power button, and the reset control register.
 *
 * What the guest sees: status bits cleared by writing ones; SCI while an enabled status bit is set; SLP_EN with the S5 type powers off; a 32-bit timer at
 * 3.579545 MHz. There is no SMI command port, so SCI_EN always reads as one. Reset control (CF9h, as in PCI chipsets): a write that sets bit 2 resets;
 * bit 1 alone is kept.
 * TMR_STS follows the turns of the timer's bit 31 (about every ten minutes), computed when looked at; a timer runs only while TMR_EN is set.
 */
#include "base/bits.h"
#include "chipset/chipset.h"
#include "executor/executor.h"

#define PM_TIMER_HZ UINT64_C(3579545)
#define NS_PER_S    UINT64_C(1000000000)

enum { STS_TIMER = 1 << 0, STS_GLOBAL = 1 << 5, STS_POWER_BUTTON = 1 << 8, STS_SLEEP_BUTTON = 1 << 9, STS_RTC = 1 << 10, STS_WAKE = 1 << 15 };
enum { STS_WRITABLE = STS_TIMER | STS_GLOBAL | STS_POWER_BUTTON | STS_SLEEP_BUTTON | STS_RTC | STS_WAKE, EN_WRITABLE = STS_WRITABLE & ~STS_WAKE };
enum { CNT_SCI_EN = 1 << 0, CNT_WRITABLE = 0x1c06, CNT_SLEEP_TYPE_SHIFT = 10, CNT_SLEEP_ENABLE = 1 << 13 };
enum { RESET_NOW = 4, RESET_WRITABLE = 0xa };

struct acpi_pm {
    struct device device;
    struct bus_region event_region, control_region, timer_region, reset_region;
    struct acpi_pm_config config;
    struct exec_timer timer;
    uint64_t seen;             /* ticks up to which TMR_STS is computed */
    uint16_t status, enable, control;
    uint8_t reset_value;
};

static struct acpi_pm *from_device(struct device *d) { return container_of(d, struct acpi_pm, device); }

static uint64_t ticks_now(const struct acpi_pm *p)
{
    return (uint64_t)((unsigned __int128)executor_now(p->device.services.executor) * PM_TIMER_HZ / NS_PER_S);
}

static void schedule(struct acpi_pm *p)
{
    if (!(p->enable & STS_TIMER) || (p->status & STS_TIMER)) {
        exec_timer_cancel(&p->timer);
        return;
    }
    uint64_t turn = ((ticks_now(p) >> 31) + 1) << 31;
    exec_timer_arm(&p->timer, (uint64_t)(((unsigned __int128)turn * NS_PER_S + PM_TIMER_HZ - 1) / PM_TIMER_HZ));
}

static void update(struct acpi_pm *p)
{
    uint64_t ticks = ticks_now(p);
    if (ticks >> 31 != p->seen >> 31)
        p->status |= STS_TIMER;
    p->seen = ticks;
    irq_set(&p->config.sci, p->status & p->enable & EN_WRITABLE);
    schedule(p);
}

static void timer_fires(void *opaque) { update(opaque); }

void acpi_pm_power_button(struct device *d)
{
    struct acpi_pm *p = from_device(d);
    pthread_mutex_lock(&d->lock);
    p->status |= STS_POWER_BUTTON;
    update(p);
    pthread_mutex_unlock(&d->lock);
}

static void request(struct acpi_pm *p, enum power_request what)
{
    if (p->config.power.request)
        p->config.power.request(p->config.power.opaque, what, 0);
}

/* ---- registers: a block is read and written as its bytes ---- */

static uint64_t size_mask(unsigned size) { return size >= 8 ? UINT64_MAX : BIT(8 * size) - 1; }

static enum bus_status event_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct acpi_pm *p = opaque;
    if (size > 4)
        return BUS_BAD_SIZE;
    update(p);
    *value = ((uint64_t)p->enable << 16 | p->status) >> 8 * offset & size_mask(size);
    return BUS_OK;
}

static enum bus_status event_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct acpi_pm *p = opaque;
    if (size > 4)
        return BUS_BAD_SIZE;
    update(p);
    uint32_t bits = (uint32_t)(value << 8 * offset), mask = (uint32_t)(size_mask(size) << 8 * offset);
    p->status &= (uint16_t)~(bits & mask);
    p->enable = (uint16_t)((p->enable & ~(mask >> 16)) | (bits >> 16 & mask >> 16 & EN_WRITABLE));
    update(p);
    return BUS_OK;
}

static enum bus_status control_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    const struct acpi_pm *p = opaque;
    if (size > 2)
        return BUS_BAD_SIZE;
    *value = (uint64_t)(p->control | CNT_SCI_EN) >> 8 * offset & size_mask(size);
    return BUS_OK;
}

static enum bus_status control_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct acpi_pm *p = opaque;
    if (size > 2)
        return BUS_BAD_SIZE;
    uint32_t bits = (uint32_t)(value << 8 * offset), mask = (uint32_t)(size_mask(size) << 8 * offset);
    p->control = (uint16_t)((p->control & ~mask) | (bits & mask & CNT_WRITABLE));
    unsigned type = p->control >> CNT_SLEEP_TYPE_SHIFT & 7;
    if (!(bits & mask & CNT_SLEEP_ENABLE))
        return BUS_OK;
    if (type == p->config.s5_type)
        request(p, POWER_OFF);
    else if (type == p->config.s3_type)
        request(p, POWER_SLEEP);
    return BUS_OK;
}

static enum bus_status timer_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    if (size > 4)
        return BUS_BAD_SIZE;
    *value = (uint32_t)ticks_now(opaque) >> 8 * offset & size_mask(size);
    return BUS_OK;
}

static enum bus_status reset_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    (void)offset;
    if (size != 1)
        return BUS_BAD_SIZE;
    *value = ((struct acpi_pm *)opaque)->reset_value;
    return BUS_OK;
}

static enum bus_status reset_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct acpi_pm *p = opaque;
    (void)offset;
    if (size != 1)
        return BUS_BAD_SIZE;
    p->reset_value = value & RESET_WRITABLE;
    if (value & RESET_NOW)
        request(p, POWER_RESET);
    return BUS_OK;
}

uint8_t acpi_pm_reset_read(void *device)
{
    struct device *d = device;
    pthread_mutex_lock(&d->lock);
    uint8_t value = from_device(d)->reset_value;
    pthread_mutex_unlock(&d->lock);
    return value;
}

void acpi_pm_reset_write(void *device, uint8_t value)
{
    struct device *d = device;
    pthread_mutex_lock(&d->lock);
    reset_write(from_device(d), 0, 1, value);
    pthread_mutex_unlock(&d->lock);
}

static const struct bus_ops event_ops = {event_read, event_write}, control_ops = {control_read, control_write}, timer_ops = {timer_read, NULL},
                            reset_ops = {reset_read, reset_write};

static int create(struct device *d, const void *config, struct err *err)
{
    struct acpi_pm *p = from_device(d);
    const struct acpi_pm_config *c = config;
    p->config = *c;
    exec_timer_init(&p->timer, d->services.executor, &d->lock, timer_fires, p);
    p->event_region = (struct bus_region){.name = "PM1 event", .base = c->event_port, .len = 4, .ops = &event_ops};
    p->control_region = (struct bus_region){.name = "PM1 control", .base = c->control_port, .len = 2, .ops = &control_ops};
    p->timer_region = (struct bus_region){.name = "PM timer", .base = c->timer_port, .len = 4, .ops = &timer_ops};
    p->reset_region = (struct bus_region){.name = "reset control", .base = c->reset_port, .len = 1, .ops = &reset_ops};
    struct bus_region *regions[] = {&p->event_region, &p->control_region, &p->timer_region, &p->reset_region};
    for (unsigned i = 0; i < ARRAY_LEN(regions); i++) {
        regions[i]->space = BUS_PORT;
        regions[i]->opaque = p;
        regions[i]->owner = d;
        int e = regions[i] == &p->reset_region && !c->reset_port ? 0 : bus_add(d->services.bus, regions[i], err);
        if (e)
            return e;
    }
    return 0;
}

static void destroy(struct device *d)
{
    if (from_device(d)->timer.executor)
        exec_timer_cancel(&from_device(d)->timer);
}

static void reset(struct device *d)
{
    struct acpi_pm *p = from_device(d);
    p->status = p->enable = p->control = 0;
    p->reset_value = 0;
    p->seen = ticks_now(p);
    update(p);
}

static int loaded(struct device *d, struct err *err)
{
    struct acpi_pm *p = from_device(d);
    if ((p->status & ~STS_WRITABLE) || (p->enable & ~EN_WRITABLE) || (p->control & ~CNT_WRITABLE) || (p->reset_value & ~RESET_WRITABLE))
        return err_set(err, ERR_INPUT, "a register has reserved bits set");
    irq_set(&p->config.sci, p->status & p->enable & EN_WRITABLE);
    schedule(p);
    return 0;
}

static const struct field acpi_pm_fields[] = {
    FIELD(struct acpi_pm, seen, "timer ticks up to which TMR_STS is computed"), FIELD(struct acpi_pm, status, "PM1 status"), FIELD(struct acpi_pm, enable, "PM1 enable"),
    FIELD(struct acpi_pm, control, "PM1 control"), FIELD(struct acpi_pm, reset_value, "reset control"), FIELD_END
};

const struct device_class acpi_pm_class = {
    .name = "acpi-pm", .summary = "ACPI fixed hardware and reset register", .size = sizeof(struct acpi_pm), .create = create, .destroy = destroy, .reset = reset,
    .fields = acpi_pm_fields, .loaded = loaded,
};
