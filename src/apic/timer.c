/* SPDX-License-Identifier: MIT */
/* timer.c - the APIC timer: one-shot, periodic and TSC-deadline (SDM 12.5.4). All of it is the owner's.
 *
 * The count is not stepped: timer_count was the value at timer_start, and everything else is arithmetic on the clock.
 * DEVIATION: a period shorter than PERIOD_MIN_NS interrupts at PERIOD_MIN_NS, so that a guest cannot keep its host busy with it.
 */
#include "apic/internal.h"

#define NS_PER_S      UINT64_C(1000000000)
#define PERIOD_MIN_NS UINT64_C(10000)

static uint64_t scale(uint64_t value, uint64_t mul, uint64_t div, bool up)
{
    unsigned __int128 v = (unsigned __int128)value * mul + (up ? div - 1 : 0);
    v /= div;
    return v > UINT64_MAX ? UINT64_MAX : (uint64_t)v;
}

/* Divide configuration bits 3, 1, 0: 000 = 2, 001 = 4 ... 110 = 128, 111 = 1. */
static uint64_t divider(const struct apic *a)
{
    unsigned code = (a->timer_divide & 3) | (a->timer_divide >> 1 & 4);
    return code == 7 ? 1 : UINT64_C(2) << code;
}

static uint64_t now(const struct apic *a) { return a->bus->config.now(a->bus->config.opaque); }
static uint32_t timer_mode(const struct apic *a) { return LOAD(a->lvt[APIC_LVT_TIMER]) & LVT_TIMER_MODE; }
static uint64_t count_to_ns(const struct apic *a, uint32_t count) { return scale(count * divider(a), NS_PER_S, a->bus->config.timer_hz, true); }
static uint64_t ns_to_count(const struct apic *a, uint64_t ns) { return scale(ns, a->bus->config.timer_hz, NS_PER_S * divider(a), false); }

static uint32_t current_at(const struct apic *a, uint64_t at)
{
    if (!a->timer_armed || timer_mode(a) == LVT_TIMER_TSC)
        return 0;
    uint64_t passed = ns_to_count(a, at > a->timer_start ? at - a->timer_start : 0);
    if (passed < a->timer_count)
        return a->timer_count - (uint32_t)passed;
    if (timer_mode(a) != LVT_TIMER_PERIODIC || !a->timer_initial)
        return 0;
    return a->timer_initial - (uint32_t)((passed - a->timer_count) % a->timer_initial);
}

uint32_t apic_timer_current(struct apic *a)
{
    uint64_t t = now(a);
    apic_timer_poll(a, t);
    return current_at(a, t);
}

static uint64_t sum_or_never(uint64_t a, uint64_t b) { return a > APIC_NO_DEADLINE - 1 - b ? APIC_NO_DEADLINE - 1 : a + b; }

static uint64_t tsc_deadline_ns(struct apic *a)
{
    uint64_t tsc = a->bus->config.tsc(a->bus->config.opaque, a->cpu), t = now(a);
    if (tsc >= a->tsc_deadline)
        return t;
    return sum_or_never(t, scale(a->tsc_deadline - tsc, NS_PER_S, a->bus->config.tsc_hz, true));
}

static uint64_t deadline_of(struct apic *a)
{
    if (timer_mode(a) == LVT_TIMER_TSC)
        return a->tsc_deadline ? tsc_deadline_ns(a) : APIC_NO_DEADLINE;
    if (!a->timer_armed)
        return APIC_NO_DEADLINE;
    uint64_t ns = count_to_ns(a, a->timer_count);
    return sum_or_never(a->timer_start, timer_mode(a) == LVT_TIMER_PERIODIC && ns < PERIOD_MIN_NS ? PERIOD_MIN_NS : ns);
}

void apic_timer_update(struct apic *a)
{
    uint64_t deadline = deadline_of(a);
    if (deadline == LOAD(a->deadline))
        return;
    STORE(a->deadline, deadline);
    if (a->bus->config.deadline)
        a->bus->config.deadline(a->bus->config.opaque, a->cpu, deadline);
}

uint64_t apic_timer_deadline(const struct apic *a) { return LOAD(a->deadline); }
void apic_tsc_changed(struct apic *a) { apic_timer_update(a); }

/* Moves timer_start forward by whole periods, so that a late poll fires once and keeps the phase. */
static void next_period(struct apic *a, uint64_t at)
{
    a->timer_start += count_to_ns(a, a->timer_count);
    a->timer_count = a->timer_initial;
    uint64_t period = count_to_ns(a, a->timer_initial);
    if (period && at > a->timer_start)
        a->timer_start += (at - a->timer_start) / period * period;
}

void apic_timer_poll(struct apic *a, uint64_t at)
{
    uint64_t deadline = LOAD(a->deadline);
    if (likely(at < deadline))
        return;
    if (timer_mode(a) == LVT_TIMER_TSC) {
        /* the clock and the TSC may differ by rounding: the TSC decides */
        if (a->bus->config.tsc(a->bus->config.opaque, a->cpu) < a->tsc_deadline) {
            STORE(a->deadline, APIC_NO_DEADLINE);
            apic_timer_update(a);
            return;
        }
        a->tsc_deadline = 0;
    } else if (timer_mode(a) == LVT_TIMER_PERIODIC && a->timer_initial) {
        next_period(a, at);
    } else {
        a->timer_armed = 0;
    }
    apic_timer_update(a);
    apic_lvt_fire(a, APIC_LVT_TIMER);
}

void apic_timer_set_initial(struct apic *a, uint32_t count)
{
    if (timer_mode(a) == LVT_TIMER_TSC)
        return;
    a->timer_initial = a->timer_count = count;
    a->timer_start = now(a);
    a->timer_armed = count != 0;
    apic_timer_update(a);
}

void apic_timer_set_divide(struct apic *a, uint32_t value)
{
    uint64_t t = now(a);
    apic_timer_poll(a, t);
    a->timer_count = current_at(a, t);
    a->timer_start = t;
    a->timer_divide = value & 0xb;
    apic_timer_update(a);
}

/* Between one-shot and periodic the count runs on; to and from TSC-deadline mode disarms (SDM 12.5.4.1). */
void apic_timer_set_lvt(struct apic *a, uint32_t value)
{
    uint64_t t = now(a);
    apic_timer_poll(a, t);
    uint32_t count = current_at(a, t);
    bool tsc_changes = (timer_mode(a) == LVT_TIMER_TSC) != ((value & LVT_TIMER_MODE) == LVT_TIMER_TSC);
    STORE(a->lvt[APIC_LVT_TIMER], value);
    if (tsc_changes) {
        a->timer_armed = 0;
        a->timer_initial = a->timer_count = 0;
        a->tsc_deadline = 0;
    } else if (a->timer_armed) {
        a->timer_count = count;
        a->timer_start = t;
    }
    apic_timer_update(a);
}

/* Ignored outside TSC-deadline mode (SDM 12.5.4.1). A deadline in the past fires before the WRMSR completes. */
void apic_timer_set_tsc_deadline(struct apic *a, uint64_t value)
{
    if (timer_mode(a) != LVT_TIMER_TSC || !(LOAD(a->base) & APIC_BASE_EN))
        return;
    a->tsc_deadline = value;
    STORE(a->deadline, APIC_NO_DEADLINE);
    apic_timer_update(a);
    apic_timer_poll(a, now(a));
}
