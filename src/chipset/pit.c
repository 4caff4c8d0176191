/* SPDX-License-Identifier: MIT */
/* pit.c - 8254 timer, ports 40h to 43h, and port 61h (Intel 8254 data sheet; IBM PC AT technical reference for port 61h).
 *
 * What the guest sees: three counters at 1.193182 MHz, all six modes, latch and read-back, binary and BCD. Counter 0 drives ISA IRQ 0, its gate is high;
 * counter 2's gate is port 61h bit 0 and its output bit 5; counter 1 is not wired. The speaker is silent.
 *
 * Nothing is stepped: a counter is its reload value and the moment it started; the rest is arithmetic on the VM's clock. IRQ 0 in the periodic modes is pulsed at
 * each rising edge of the output; missed periods are not made up for.
 * DEVIATIONS: a new count in modes 2 and 3 starts a period at once; IRQ 0 comes at most every INTERVAL_MIN_NS.
 */
#include "base/bits.h"
#include "chipset/chipset.h"
#include "executor/executor.h"

#define PIT_HZ          UINT64_C(1193182)
#define NS_PER_S        UINT64_C(1000000000)
#define INTERVAL_MIN_NS UINT64_C(20000)
#define REFRESH_NS      UINT64_C(15085) /* port 61h bit 4 turns with the refresh request */

enum { ACCESS_LOW = 1, ACCESS_HIGH = 2, ACCESS_BOTH = 3 };

struct counter {
    uint64_t start;          /* ns: when counting began, as if it had never been held */
    uint64_t held_ticks;     /* ticks done when the gate went low                     */
    uint32_t reload;         /* 1..65536 (10000 in BCD)                               */
    uint16_t latch;
    uint8_t mode, access, bcd, gate, loaded, triggered, held;
    uint8_t write_low, write_high_next, read_high_next, latched, status, status_latched;
};

struct pit {
    struct device device;
    struct bus_region counters_region, control_region;
    struct exec_timer timer;
    struct irq_line irq;
    struct counter counters[3];
    uint8_t control, line;   /* port 61h bits 1..3; level of IRQ 0 */
};

static struct pit *from_device(struct device *d) { return container_of(d, struct pit, device); }

/* ---- arithmetic of a counter ---- */

static uint64_t ns_to_ticks(uint64_t ns) { return (uint64_t)((unsigned __int128)ns * PIT_HZ / NS_PER_S); }
static uint64_t ticks_to_ns(uint64_t ticks) { return (uint64_t)(((unsigned __int128)ticks * NS_PER_S + PIT_HZ - 1) / PIT_HZ); }

static bool is_periodic(const struct counter *c) { return c->mode == 2 || c->mode == 3; }
static bool needs_trigger(const struct counter *c) { return c->mode == 1 || c->mode == 5; }
static bool is_running(const struct counter *c) { return c->loaded && (!needs_trigger(c) || c->triggered); }

static uint64_t ticks_at(const struct counter *c, uint64_t now)
{
    return c->held ? c->held_ticks : now > c->start ? ns_to_ticks(now - c->start) : 0;
}

static uint16_t to_bcd(uint32_t v) { return (uint16_t)(v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12); }
static uint32_t from_bcd(uint32_t v) { return (v & 15) + (v >> 4 & 15) * 10 + (v >> 8 & 15) * 100 + (v >> 12 & 15) * 1000; }

static uint16_t count_at(const struct counter *c, uint64_t now)
{
    uint64_t ticks = ticks_at(c, now);
    uint32_t modulus = c->bcd ? 10000 : 65536, value;
    if (!is_running(c))
        value = c->reload;
    else if (c->mode == 2)
        value = c->reload - (uint32_t)(ticks % c->reload);
    else if (c->mode == 3)
        value = c->reload - (uint32_t)(ticks % c->reload * 2 % c->reload);
    else
        value = (uint32_t)((c->reload + modulus - ticks % modulus) % modulus);
    value %= modulus;
    return c->bcd ? to_bcd(value) : (uint16_t)value;
}

static bool output_at(const struct counter *c, uint64_t now)
{
    uint64_t ticks = ticks_at(c, now);
    if (!is_running(c))
        return c->mode != 0;
    switch (c->mode) {
    case 0: case 1: return ticks >= c->reload;
    case 2: return c->held || ticks % c->reload != c->reload - 1;
    case 3: return c->held || ticks % c->reload < (c->reload + 1) / 2;
    default: return ticks != c->reload;
    }
}

/* ---- interrupt ---- */

static void drive(struct pit *p, bool level)
{
    p->line = level;
    irq_set(&p->irq, level);
}

/* Arms the timer for the next rising edge of counter 0. */
static void schedule(struct pit *p, uint64_t now)
{
    const struct counter *c = &p->counters[0];
    uint64_t ticks = ticks_at(c, now);
    if (!is_running(c) || (!is_periodic(c) && ticks >= c->reload)) {
        exec_timer_cancel(&p->timer);
        return;
    }
    uint64_t target = is_periodic(c) ? (ticks / c->reload + 1) * c->reload : c->reload;
    uint64_t deadline = c->start + ticks_to_ns(target);
    exec_timer_arm(&p->timer, is_periodic(c) && deadline - now < INTERVAL_MIN_NS ? now + INTERVAL_MIN_NS : deadline);
}

static void timer_fires(void *opaque)
{
    struct pit *p = opaque;
    uint64_t now = executor_now(p->device.services.executor);
    const struct counter *c = &p->counters[0];
    if (is_running(c) && (is_periodic(c) || ticks_at(c, now) >= c->reload)) {
        if (p->line)
            drive(p, false);
        drive(p, true);
    }
    schedule(p, now);
}

/* Counter 0 was given a mode or a count. */
static void restart_interrupt(struct pit *p, uint64_t now)
{
    drive(p, output_at(&p->counters[0], now));
    schedule(p, now);
}

/* ---- registers ---- */

static void counter_load(struct counter *c, uint32_t value, uint64_t now)
{
    if (c->bcd)
        value = from_bcd(value);
    c->reload = value ? value : c->bcd ? 10000 : 65536;
    if (c->reload == 1 && is_periodic(c))
        c->reload = 2; /* 1 is illegal there */
    c->loaded = 1;
    c->triggered = 0;
    c->start = now;
    c->held = !c->gate && !needs_trigger(c);
    c->held_ticks = 0;
}

static void counter_write(struct counter *c, uint8_t value, uint64_t now)
{
    switch (c->access) {
    case ACCESS_LOW:  counter_load(c, value, now); break;
    case ACCESS_HIGH: counter_load(c, (uint32_t)value << 8, now); break;
    default:
        if (c->write_high_next) {
            counter_load(c, (uint32_t)value << 8 | c->write_low, now);
        } else {
            c->write_low = value;
            if (c->mode == 0)
                c->loaded = 0; /* the first byte stops the count */
        }
        c->write_high_next = !c->write_high_next;
    }
}

static uint8_t counter_read(struct counter *c, uint64_t now)
{
    if (c->status_latched) {
        c->status_latched = 0;
        return c->status;
    }
    uint16_t value = c->latched ? c->latch : count_at(c, now);
    bool high = c->access == ACCESS_HIGH || (c->access == ACCESS_BOTH && c->read_high_next);
    if (c->access == ACCESS_BOTH)
        c->read_high_next = !c->read_high_next;
    if (c->access != ACCESS_BOTH || !c->read_high_next)
        c->latched = 0;
    return (uint8_t)(high ? value >> 8 : value);
}

static void counter_latch(struct counter *c, uint64_t now)
{
    if (c->latched)
        return;
    c->latch = count_at(c, now);
    c->latched = 1;
}

static void counter_latch_status(struct counter *c, uint64_t now)
{
    if (c->status_latched)
        return;
    c->status = (uint8_t)(output_at(c, now) << 7 | !c->loaded << 6 | c->access << 4 | c->mode << 1 | c->bcd);
    c->status_latched = 1;
}

static void read_back(struct pit *p, uint8_t value, uint64_t now)
{
    for (unsigned i = 0; i < 3; i++) {
        if (!(value >> (1 + i) & 1))
            continue;
        if (!(value & 0x20))
            counter_latch(&p->counters[i], now);
        if (!(value & 0x10))
            counter_latch_status(&p->counters[i], now);
    }
}

static void control_write(struct pit *p, uint8_t value, uint64_t now)
{
    unsigned which = value >> 6, access = value >> 4 & 3, mode = value >> 1 & 7;
    if (which == 3) {
        read_back(p, value, now);
        return;
    }
    struct counter *c = &p->counters[which];
    if (!access) {
        counter_latch(c, now);
        return;
    }
    uint8_t gate = c->gate;
    *c = (struct counter){.gate = gate, .mode = (uint8_t)(mode > 5 ? mode - 4 : mode), .access = (uint8_t)access, .bcd = value & 1, .reload = value & 1 ? 10000 : 65536};
    if (!which)
        restart_interrupt(p, now);
}

static void counter_set_gate(struct counter *c, bool gate, uint64_t now)
{
    if (c->gate == gate)
        return;
    c->gate = gate;
    if (needs_trigger(c)) {
        if (gate) {
            c->triggered = 1;
            c->start = now;
        }
        return;
    }
    if (!gate) {
        c->held_ticks = ticks_at(c, now);
        c->held = 1;
    } else {
        c->held = 0;
        c->start = is_periodic(c) ? now : now - ticks_to_ns(c->held_ticks);
    }
}

static uint64_t pit_now(const struct pit *p) { return executor_now(p->device.services.executor); }

static enum bus_status counters_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct pit *p = opaque;
    if (size != 1)
        return BUS_BAD_SIZE;
    if (offset > 2)
        return BUS_NO_REGISTER;
    *value = counter_read(&p->counters[offset], pit_now(p));
    return BUS_OK;
}

static enum bus_status counters_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pit *p = opaque;
    uint64_t now = pit_now(p);
    if (size != 1)
        return BUS_BAD_SIZE;
    if (offset == 3)
        control_write(p, (uint8_t)value, now);
    else
        counter_write(&p->counters[offset], (uint8_t)value, now);
    if (offset == 0)
        restart_interrupt(p, now);
    return BUS_OK;
}

static enum bus_status control_port_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct pit *p = opaque;
    uint64_t now = pit_now(p);
    (void)offset;
    if (size != 1)
        return BUS_BAD_SIZE;
    *value = p->counters[2].gate | p->control | (now / REFRESH_NS & 1) << 4 | (uint64_t)output_at(&p->counters[2], now) << 5;
    return BUS_OK;
}

static enum bus_status control_port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pit *p = opaque;
    (void)offset;
    if (size != 1)
        return BUS_BAD_SIZE;
    p->control = value & 0xe;
    counter_set_gate(&p->counters[2], value & 1, pit_now(p));
    return BUS_OK;
}

static const struct bus_ops counters_ops = {counters_read, counters_write}, control_port_ops = {control_port_read, control_port_write};

static int create(struct device *d, const void *config, struct err *err)
{
    struct pit *p = from_device(d);
    p->irq = ((const struct pit_config *)config)->irq;
    exec_timer_init(&p->timer, d->services.executor, &d->lock, timer_fires, p);
    p->counters_region = (struct bus_region){.name = "8254", .space = BUS_PORT, .base = 0x40, .len = 4, .ops = &counters_ops, .opaque = p, .owner = d};
    p->control_region = (struct bus_region){.name = "port 61h", .space = BUS_PORT, .base = 0x61, .len = 1, .ops = &control_port_ops, .opaque = p, .owner = d};
    int e = bus_add(d->services.bus, &p->counters_region, err);
    return e ? e : bus_add(d->services.bus, &p->control_region, err);
}

static void destroy(struct device *d)
{
    if (from_device(d)->timer.executor)
        exec_timer_cancel(&from_device(d)->timer);
}

static void reset(struct device *d)
{
    struct pit *p = from_device(d);
    for (unsigned i = 0; i < 3; i++)
        p->counters[i] = (struct counter){.gate = i != 2, .access = ACCESS_BOTH, .mode = 3, .reload = 65536};
    p->control = 0;
    exec_timer_cancel(&p->timer);
    drive(p, true);
}

static bool counter_is_possible(const struct counter *c)
{
    return c->reload >= 1 && c->reload <= 65536 && c->mode <= 5 && c->access >= 1 && c->access <= 3 && c->bcd <= 1 && c->gate <= 1 && c->loaded <= 1;
}

static int loaded(struct device *d, struct err *err)
{
    struct pit *p = from_device(d);
    for (unsigned i = 0; i < 3; i++)
        if (!counter_is_possible(&p->counters[i]))
            return err_set(err, ERR_INPUT, "counter %u: impossible state", i);
    if (p->line > 1 || (p->control & ~0xe))
        return err_set(err, ERR_INPUT, "impossible port 61h");
    irq_set(&p->irq, p->line);
    schedule(p, pit_now(p));
    return 0;
}

static const struct field pit_fields[] = {
    FIELD_BYTES(struct pit, counters, "start held_ticks reload latch mode access bcd gate ... of counters 0 to 2"),
    FIELD(struct pit, control, "port 61h bits 1 to 3"), FIELD(struct pit, line, "level of IRQ 0"), FIELD_END
};

const struct device_class pit_class = {
    .name = "pit", .summary = "8254 timer and port 61h", .size = sizeof(struct pit), .create = create, .destroy = destroy, .reset = reset, .fields = pit_fields,
    .loaded = loaded,
};
