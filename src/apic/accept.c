/* SPDX-License-Identifier: MIT */
/* accept.c - from a message or a pin to IRR, and from IRR to the CPU: acceptance, priorities, acknowledge, EOI (SDM 12.8).
 *
 * IRR and TMR are written by any thread: TMR first, then IRR with release, so that whoever sees the request sees its trigger mode.
 * ISR is the owner's; other threads read it for lowest-priority arbitration only.
 */
#include "apic/internal.h"

static int highest_bit(const _Atomic uint32_t words[8])
{
    for (int i = 7; i >= 0; i--) {
        uint32_t w = atomic_load_explicit(&words[i], memory_order_acquire);
        if (w)
            return i * 32 + 31 - __builtin_clz(w);
    }
    return -1;
}

static bool bit_test(const _Atomic uint32_t words[8], unsigned vector) { return LOAD(words[vector / 32]) >> vector % 32 & 1; }

static void bit_write(_Atomic uint32_t words[8], unsigned vector, bool value)
{
    if (bit_test(words, vector) == value)
        return;
    if (value)
        atomic_fetch_or(&words[vector / 32], UINT32_C(1) << vector % 32);
    else
        atomic_fetch_and(&words[vector / 32], ~(UINT32_C(1) << vector % 32));
}

/* An error is latched and, through its LVT entry, signalled (SDM 12.5.3). Only called for distinct causes, so an error LVT with an illegal vector
 * cannot recurse: it only sets bits. */
void apic_error(struct apic *a, uint32_t bits)
{
    uint32_t before = atomic_fetch_or(&a->esr_pending, bits);
    if ((before & bits) == bits)
        return;
    uint32_t lvt = LOAD(a->lvt[APIC_LVT_ERROR]);
    if (lvt & LVT_MASKED)
        return;
    if ((lvt & LVT_VECTOR) < 16)
        atomic_fetch_or(&a->esr_pending, ESR_RECEIVE_ILLEGAL);
    else
        apic_accept(a, (uint8_t)lvt, false);
}

bool apic_accept(struct apic *a, uint8_t vector, bool level)
{
    if (!(LOAD(a->svr) & SVR_ENABLE) || !(LOAD(a->base) & APIC_BASE_EN))
        return false;
    if (vector < 16) {
        apic_error(a, ESR_RECEIVE_ILLEGAL);
        return false;
    }
    bit_write(a->tmr, vector, level);
    uint32_t bit = UINT32_C(1) << vector % 32;
    uint32_t before = atomic_fetch_or(&a->irr[vector / 32], bit);
    if (!(before & bit))
        apic_wake(a);
    return true;
}

static void post_event(struct apic *a, uint32_t clear, uint32_t set)
{
    uint32_t old = LOAD(a->events);
    while (!atomic_compare_exchange_weak(&a->events, &old, (old & ~clear) | set))
        ;
    apic_wake(a);
}

static void post_nmi(struct apic *a)
{
    uint32_t old = LOAD(a->events), new;
    do {
        uint32_t count = (old & EVENT_NMI_MASK) >> EVENT_NMI_SHIFT;
        new = (old & ~(uint32_t)EVENT_NMI_MASK) | (count < 2 ? count + 1 : 2) << EVENT_NMI_SHIFT;
    } while (!atomic_compare_exchange_weak(&a->events, &old, new));
    apic_wake(a);
}

bool apic_deliver(struct apic *a, unsigned delivery, uint8_t vector, bool level)
{
    if (!(LOAD(a->base) & APIC_BASE_EN) && delivery != APIC_DELIVER_NMI && delivery != APIC_DELIVER_INIT && delivery != APIC_DELIVER_SIPI)
        return false;
    switch (delivery) {
    case APIC_DELIVER_FIXED:
    case APIC_DELIVER_LOWEST: return apic_accept(a, vector, level);
    case APIC_DELIVER_SMI:    post_event(a, 0, EVENT_SMI); return true;
    case APIC_DELIVER_NMI:    post_nmi(a); return true;
    case APIC_DELIVER_INIT:   post_event(a, EVENT_SIPI | EVENT_SIPI_VECTOR, EVENT_INIT); return true; /* an older SIPI is void */
    case APIC_DELIVER_SIPI:
        post_event(a, EVENT_SIPI_VECTOR, EVENT_SIPI | (uint32_t)vector << EVENT_SIPI_VECTOR_SHIFT);
        return true;
    case APIC_DELIVER_EXTINT: post_event(a, 0, EVENT_EXTINT); return true;
    default:                  return false;
    }
}

/* Delivers through an unmasked LVT entry, whatever its source. */
void apic_lvt_fire(struct apic *a, enum apic_lvt which)
{
    uint32_t lvt = LOAD(a->lvt[which]);
    if (lvt & LVT_MASKED)
        return;
    unsigned delivery = which == APIC_LVT_TIMER || which == APIC_LVT_ERROR ? (unsigned)APIC_DELIVER_FIXED : lvt >> LVT_MODE_SHIFT & 7;
    if (delivery == APIC_DELIVER_EXTINT)
        apic_wake(a); /* a level: apic_pending() looks at the pin */
    else if (delivery != APIC_DELIVER_SIPI && delivery != APIC_DELIVER_LOWEST)
        apic_deliver(a, delivery, (uint8_t)lvt, which >= APIC_LVT_LINT0 && which <= APIC_LVT_LINT1 && (lvt & LVT_LEVEL) && delivery == APIC_DELIVER_FIXED);
}

void apic_raise(struct apic *a, enum apic_lvt which)
{
    apic_lvt_fire(a, which);
    if (which == APIC_LVT_PMC)
        atomic_fetch_or(&a->lvt[APIC_LVT_PMC], LVT_MASKED);
}

/* A hardware-disabled APIC leaves its pins as INTR and NMI (SDM 12.4.3). */
void apic_set_pin(struct apic *a, unsigned lint, bool level)
{
    uint32_t bit = UINT32_C(1) << lint;
    uint32_t before = level ? atomic_fetch_or(&a->pins, bit) : atomic_fetch_and(&a->pins, ~bit);
    if (!level || (before & bit))
        return;
    if (LOAD(a->base) & APIC_BASE_EN)
        apic_lvt_fire(a, APIC_LVT_LINT0 + lint);
    else if (lint)
        post_nmi(a);
    else
        apic_wake(a);
}

/* SDM 12.8.3.1 */
uint32_t apic_ppr(const struct apic *a)
{
    uint32_t tpr = LOAD(a->tpr);
    int isr = highest_bit(a->isr);
    uint32_t in_service = isr < 0 ? 0 : (uint32_t)isr & 0xf0;
    return (tpr & 0xf0) >= in_service ? tpr : in_service;
}

static bool extint_pending(const struct apic *a)
{
    if (LOAD(a->events) & EVENT_EXTINT)
        return true;
    uint32_t pins = LOAD(a->pins);
    if (!(LOAD(a->base) & APIC_BASE_EN))
        return pins & 1;
    for (unsigned lint = 0; lint < 2; lint++) {
        uint32_t lvt = LOAD(a->lvt[APIC_LVT_LINT0 + lint]);
        if ((pins >> lint & 1) && !(lvt & LVT_MASKED) && (lvt >> LVT_MODE_SHIFT & 7) == APIC_DELIVER_EXTINT)
            return true;
    }
    return false;
}

static int deliverable(const struct apic *a)
{
    if (!(LOAD(a->base) & APIC_BASE_EN))
        return -1;
    int vector = highest_bit(a->irr);
    return vector >= 0 && ((uint32_t)vector & 0xf0) > (apic_ppr(a) & 0xf0) ? vector : -1;
}

bool apic_accepts_extint(const struct apic *a)
{
    uint32_t lvt = LOAD(a->lvt[APIC_LVT_LINT0]);
    return !(LOAD(a->base) & APIC_BASE_EN) || (!(lvt & LVT_MASKED) && (lvt >> LVT_MODE_SHIFT & 7) == APIC_DELIVER_EXTINT);
}

bool apic_pending(struct apic *a) { return deliverable(a) >= 0 || extint_pending(a); }

void apic_notice(struct apic *a)
{
    if (apic_pending(a))
        apic_wake(a);
}

int apic_acknowledge(struct apic *a)
{
    if (extint_pending(a)) {
        atomic_fetch_and(&a->events, ~(uint32_t)EVENT_EXTINT);
        int vector = a->bus->extint ? a->bus->extint(a->bus->extint_opaque) : -1;
        apic_notice(a);
        if (vector >= 0)
            return vector & 0xff;
    }
    int vector = deliverable(a);
    if (vector < 0)
        return -1;
    bit_write(a->isr, (unsigned)vector, true);
    bit_write(a->irr, (unsigned)vector, false);
    return vector;
}

/* A level-triggered LINT pin that is still high asks again after its EOI. */
static void lint_eoi(struct apic *a, int vector)
{
    for (unsigned lint = 0; lint < 2; lint++) {
        uint32_t lvt = LOAD(a->lvt[APIC_LVT_LINT0 + lint]);
        if ((lvt & LVT_LEVEL) && (int)(lvt & LVT_VECTOR) == vector && (LOAD(a->pins) >> lint & 1))
            apic_lvt_fire(a, APIC_LVT_LINT0 + lint);
    }
}

void apic_eoi(struct apic *a)
{
    int vector = highest_bit(a->isr);
    if (vector < 0)
        return;
    bit_write(a->isr, (unsigned)vector, false);
    if (bit_test(a->tmr, (unsigned)vector)) {
        if (a->bus->eoi)
            a->bus->eoi(a->bus->eoi_opaque, (uint8_t)vector);
        lint_eoi(a, vector);
    }
    apic_notice(a);
}

bool apic_take_events(struct apic *a, struct apic_events *out)
{
    *out = (struct apic_events){0};
    uint32_t all = EVENT_INIT | EVENT_SIPI | EVENT_SMI | EVENT_NMI_MASK | EVENT_SIPI_VECTOR;
    if (!(LOAD(a->events) & all))
        return false;
    uint32_t e = atomic_fetch_and(&a->events, ~all);
    out->init = e & EVENT_INIT;
    out->sipi = e & EVENT_SIPI;
    out->smi = e & EVENT_SMI;
    out->sipi_vector = (uint8_t)(e >> EVENT_SIPI_VECTOR_SHIFT);
    out->nmi_count = (e & EVENT_NMI_MASK) >> EVENT_NMI_SHIFT;
    return true;
}

uint64_t apic_get_cr8(const struct apic *a) { return LOAD(a->tpr) >> 4; }

void apic_set_cr8(struct apic *a, uint64_t value)
{
    uint32_t before = LOAD(a->tpr) >> 4;
    STORE(a->tpr, (uint32_t)(value & 0xf) << 4);
    if ((value & 0xf) < before) /* only a fall lets more through; a caller that writes the same value each time is not woken each time */
        apic_notice(a);
}
