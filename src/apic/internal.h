/* SPDX-License-Identifier: MIT */
/* internal.h - what the files of this folder share. Register names and numbers: SDM volume 3, tables 12-1 and 12-6. */
#ifndef APIC_INTERNAL_H
#define APIC_INTERNAL_H

#include <stdatomic.h>

#include "apic/apic.h"
#include "base/bits.h"

enum { /* register number = MMIO offset >> 4 = x2APIC MSR - 0x800 */
    REG_ID = 0x02, REG_VERSION = 0x03, REG_TPR = 0x08, REG_APR = 0x09, REG_PPR = 0x0a, REG_EOI = 0x0b, REG_RRD = 0x0c, REG_LDR = 0x0d, REG_DFR = 0x0e,
    REG_SVR = 0x0f, REG_ISR = 0x10, REG_TMR = 0x18, REG_IRR = 0x20, REG_ESR = 0x28, REG_LVT_CMCI = 0x2f, REG_ICR = 0x30, REG_ICR_HIGH = 0x31,
    REG_LVT_TIMER = 0x32, REG_LVT_ERROR = 0x37, REG_TIMER_INITIAL = 0x38, REG_TIMER_CURRENT = 0x39, REG_TIMER_DIVIDE = 0x3e, REG_SELF_IPI = 0x3f,
};

enum { /* local vector table, SDM figure 12-8 */
    LVT_VECTOR = 0xff, LVT_MODE_SHIFT = 8, LVT_REMOTE_IRR = 1 << 14, LVT_LEVEL = 1 << 15, LVT_MASKED = 1 << 16,
    LVT_TIMER_PERIODIC = 1 << 17, LVT_TIMER_TSC = 2 << 17, LVT_TIMER_MODE = 3 << 17,
};

enum { SVR_ENABLE = 1 << 8, SVR_WRITABLE = 0x1ff };

enum { /* SDM figure 12-9 */
    ESR_SEND_ILLEGAL = 1 << 5, ESR_RECEIVE_ILLEGAL = 1 << 6, ESR_REGISTER = 1 << 7,
};

enum { /* bits of apic.events */
    EVENT_INIT = 1 << 0, EVENT_SIPI = 1 << 1, EVENT_SMI = 1 << 2, EVENT_EXTINT = 1 << 3, EVENT_NMI_SHIFT = 4, EVENT_NMI_MASK = 3 << 4,
    EVENT_SIPI_VECTOR_SHIFT = 8, EVENT_SIPI_VECTOR = 0xff << 8,
};

/* What other threads write or read is atomic; the rest is the owner's. */
struct apic {
    struct apic_bus *bus;
    unsigned cpu;
    uint32_t initial_id;

    _Atomic uint64_t base;
    _Atomic uint32_t id, tpr, ldr, dfr, svr;
    _Atomic uint32_t irr[8], tmr[8], isr[8];
    _Atomic uint32_t esr_pending;      /* latched into esr by a write to the ESR */
    uint32_t esr;
    uint64_t icr;                      /* xAPIC layout: destination in bits 63..56; x2APIC: 63..32 */
    _Atomic uint32_t lvt[APIC_LVT_COUNT];
    _Atomic uint32_t pins;             /* levels of LINT0 and LINT1 in bits 0, 1 */
    _Atomic uint32_t events;

    uint32_t timer_initial, timer_divide; /* registers */
    uint8_t  timer_armed;
    uint32_t timer_count;              /* the count at timer_start */
    uint64_t timer_start;              /* ns of the clock */
    uint64_t tsc_deadline;             /* 0: not armed */
    _Atomic uint64_t deadline;         /* derived */
};

struct apic_bus {
    struct apic_bus_config config;
    void (*eoi)(void *opaque, uint8_t vector);
    void *eoi_opaque;
    int (*extint)(void *opaque);
    void *extint_opaque;
    _Atomic unsigned cpu_count;        /* one past the highest slot in use */
    _Atomic unsigned arbitration;      /* rotates lowest-priority ties     */
    _Atomic uint32_t pins;             /* levels of the lines to LINT0, 1  */
    _Atomic(struct apic *) apics[APIC_CPUS_MAX];
    struct apic *spare[APIC_CPUS_MAX]; /* freed: a thread may still be posting to it, so the memory stays and the next apic_new() of that CPU takes it */
};

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)

static inline bool apic_in_x2apic(const struct apic *a)
{
    return (LOAD(a->base) & (APIC_BASE_EN | APIC_BASE_EXTD)) == (APIC_BASE_EN | APIC_BASE_EXTD);
}
static inline void apic_wake(struct apic *a) { a->bus->config.wake(a->bus->config.opaque, a->cpu); }

/* accept.c, any thread */
bool apic_accept(struct apic *, uint8_t vector, bool level);          /* false: software-disabled or illegal vector */
bool apic_deliver(struct apic *, unsigned delivery, uint8_t vector, bool level);
void apic_error(struct apic *, uint32_t bits);
void apic_set_pin(struct apic *, unsigned lint, bool level);
void apic_lvt_fire(struct apic *, enum apic_lvt);
void apic_eoi(struct apic *);        /* owner */
uint32_t apic_ppr(const struct apic *);
void apic_notice(struct apic *);     /* owner: wakes itself when something is deliverable now */

/* bus.c */
void apic_send_ipi(struct apic *, uint64_t icr); /* owner */

/* timer.c, owner */
uint32_t apic_timer_current(struct apic *);
void apic_timer_set_initial(struct apic *, uint32_t count);
void apic_timer_set_divide(struct apic *, uint32_t value);
void apic_timer_set_lvt(struct apic *, uint32_t value);
void apic_timer_set_tsc_deadline(struct apic *, uint64_t value);
void apic_timer_update(struct apic *);           /* recomputes deadline */

/* registers.c, owner */
void apic_reset_registers(struct apic *);

#endif
