/* SPDX-License-Identifier: MIT */
/* registers.c - the register page (xAPIC), the MSRs (x2APIC), IA32_APIC_BASE, reset, save and load (SDM 12.4, 12.12). All of it is the owner's.
 *
 * Both faces share reg_read() and reg_write(). What differs: in x2APIC mode ID, LDR and DFR are fixed or absent, the ICR is one 64-bit register, reserved
 * bits raise #GP, and the self-IPI register exists.
 */
#include <stdlib.h>
#include <string.h>

#include "apic/internal.h"

#define VERSION UINT32_C(0x00060015) /* integrated APIC, 7 LVT entries, no EOI-broadcast suppression (SDM figure 12-7) */

static const struct { uint16_t writable; uint32_t flags; } lvt_bits[APIC_LVT_COUNT] = { /* SDM figure 12-8 */
    [APIC_LVT_TIMER]   = { 0xff, LVT_MASKED | LVT_TIMER_MODE },
    [APIC_LVT_THERMAL] = { 0x7ff, LVT_MASKED },
    [APIC_LVT_PMC]     = { 0x7ff, LVT_MASKED },
    [APIC_LVT_LINT0]   = { 0x27ff, LVT_MASKED | LVT_LEVEL },
    [APIC_LVT_LINT1]   = { 0x27ff, LVT_MASKED | LVT_LEVEL },
    [APIC_LVT_ERROR]   = { 0xff, LVT_MASKED },
    [APIC_LVT_CMCI]    = { 0x7ff, LVT_MASKED },
};

static uint32_t lvt_mask(int which) { return lvt_bits[which].writable | lvt_bits[which].flags; }

static int reg_to_lvt(uint32_t reg)
{
    if (reg >= REG_LVT_TIMER && reg <= REG_LVT_ERROR)
        return APIC_LVT_TIMER + (int)(reg - REG_LVT_TIMER);
    return reg == REG_LVT_CMCI ? APIC_LVT_CMCI : -1;
}

/* ---- life ---- */

static uint32_t x2apic_ldr(uint32_t id) { return (id >> 4) << 16 | UINT32_C(1) << (id & 0xf); } /* SDM 12.12.10.2 */

static void set_identity(struct apic *a)
{
    STORE(a->id, apic_in_x2apic(a) ? a->initial_id : a->initial_id & 0xff);
    STORE(a->ldr, apic_in_x2apic(a) ? x2apic_ldr(a->initial_id) : 0);
}

/* Power-up values, SDM 12.4.7.1. TPR is left to the caller, since CR8 outlives a disabled APIC. */
void apic_reset_registers(struct apic *a)
{
    STORE(a->dfr, UINT32_MAX);
    STORE(a->svr, 0xff);
    for (int i = 0; i < 8; i++) {
        STORE(a->irr[i], 0);
        STORE(a->isr[i], 0);
        STORE(a->tmr[i], 0);
    }
    for (int i = 0; i < APIC_LVT_COUNT; i++)
        STORE(a->lvt[i], LVT_MASKED);
    STORE(a->esr_pending, 0);
    a->esr = 0;
    a->icr = 0;
    a->timer_initial = a->timer_count = a->timer_divide = 0;
    a->timer_armed = 0;
    a->timer_start = 0;
    a->tsc_deadline = 0;
    apic_timer_update(a);
}

void apic_reset(struct apic *a, bool init)
{
    if (!init) {
        STORE(a->base, APIC_DEFAULT_BASE | APIC_BASE_EN | (a->cpu ? 0 : APIC_BASE_BSP));
        STORE(a->events, 0);
        set_identity(a);
    }
    STORE(a->tpr, 0);
    if (!apic_in_x2apic(a))
        STORE(a->ldr, 0);
    apic_reset_registers(a);
}

void apic_set_virtual_wire(struct apic *a)
{
    STORE(a->svr, 0xff | SVR_ENABLE);
    STORE(a->lvt[APIC_LVT_LINT0], APIC_DELIVER_EXTINT << LVT_MODE_SHIFT);
    STORE(a->lvt[APIC_LVT_LINT1], APIC_DELIVER_NMI << LVT_MODE_SHIFT);
}

int apic_new(struct apic_bus *bus, unsigned cpu, uint32_t id, struct apic **out, struct err *err)
{
    if (cpu >= APIC_CPUS_MAX || LOAD(bus->apics[cpu]))
        return err_set(err, ERR_INTERNAL, "local APIC %u cannot be made", cpu);
    struct apic *a = bus->spare[cpu] ? bus->spare[cpu] : calloc(1, sizeof *a);
    if (!a)
        return err_set(err, ERR_HOST, "no memory for a local APIC");
    a->bus = bus;
    a->cpu = cpu;
    a->initial_id = id;
    bus->spare[cpu] = NULL;
    STORE(a->pins, LOAD(bus->pins)); /* a line that was raised before is high for a new CPU, too */
    STORE(a->deadline, APIC_NO_DEADLINE);
    apic_reset(a, false);
    atomic_store(&bus->apics[cpu], a);
    if (cpu >= LOAD(bus->cpu_count))
        atomic_store(&bus->cpu_count, cpu + 1);
    *out = a;
    return 0;
}

void apic_free(struct apic *a)
{
    if (!a)
        return;
    atomic_store(&a->bus->apics[a->cpu], NULL);
    a->bus->spare[a->cpu] = a;
}

uint32_t apic_id(const struct apic *a) { return LOAD(a->id); }
uint64_t apic_base(const struct apic *a) { return LOAD(a->base); }
bool apic_is_enabled(const struct apic *a) { return LOAD(a->base) & APIC_BASE_EN; }

/* ---- both faces ---- */

/* False: no such register. */
static bool reg_read(struct apic *a, uint32_t reg, uint32_t *out)
{
    int lvt = reg_to_lvt(reg);
    if (lvt >= 0)
        *out = LOAD(a->lvt[lvt]);
    else if (reg >= REG_ISR && reg < REG_ISR + 8)
        *out = LOAD(a->isr[reg - REG_ISR]);
    else if (reg >= REG_TMR && reg < REG_TMR + 8)
        *out = LOAD(a->tmr[reg - REG_TMR]);
    else if (reg >= REG_IRR && reg < REG_IRR + 8)
        *out = LOAD(a->irr[reg - REG_IRR]);
    else
        switch (reg) {
        case REG_ID:            *out = apic_in_x2apic(a) ? LOAD(a->id) : LOAD(a->id) << 24; break;
        case REG_VERSION:       *out = VERSION; break;
        case REG_TPR:           *out = LOAD(a->tpr); break;
        case REG_PPR:           *out = apic_ppr(a); break;
        case REG_LDR:           *out = LOAD(a->ldr); break;
        case REG_SVR:           *out = LOAD(a->svr); break;
        case REG_ESR:           *out = a->esr; break;
        case REG_ICR:           *out = (uint32_t)a->icr; break;
        case REG_TIMER_INITIAL: *out = a->timer_initial; break;
        case REG_TIMER_CURRENT: *out = apic_timer_current(a); break;
        case REG_TIMER_DIVIDE:  *out = a->timer_divide; break;
        default: *out = 0; return false;
        }
    return true;
}

static void svr_write(struct apic *a, uint32_t value)
{
    STORE(a->svr, value & SVR_WRITABLE);
    if (!(value & SVR_ENABLE))
        for (int i = 0; i < APIC_LVT_COUNT; i++)
            atomic_fetch_or(&a->lvt[i], LVT_MASKED);
}

static void lvt_write(struct apic *a, int which, uint32_t value)
{
    value &= lvt_mask(which);
    if (!(LOAD(a->svr) & SVR_ENABLE))
        value |= LVT_MASKED;
    if (which == APIC_LVT_TIMER) {
        if ((value & LVT_TIMER_MODE) == LVT_TIMER_MODE)
            value &= ~(uint32_t)LVT_TIMER_MODE; /* reserved: as one-shot */
        apic_timer_set_lvt(a, value);
    } else {
        STORE(a->lvt[which], value);
    }
    apic_notice(a); /* a pin that was high behind the mask, ExtINT mode */
}

static bool reg_write(struct apic *a, uint32_t reg, uint32_t value)
{
    int lvt = reg_to_lvt(reg);
    if (lvt >= 0) {
        lvt_write(a, lvt, value);
        return true;
    }
    switch (reg) {
    case REG_TPR:
        STORE(a->tpr, value & 0xff);
        apic_notice(a);
        return true;
    case REG_EOI: apic_eoi(a); return true;
    case REG_SVR: svr_write(a, value); return true;
    case REG_ESR: a->esr = atomic_exchange(&a->esr_pending, 0); return true;
    case REG_TIMER_INITIAL: apic_timer_set_initial(a, value); return true;
    case REG_TIMER_DIVIDE: apic_timer_set_divide(a, value); return true;
    default: return false;
    }
}

/* ---- xAPIC ---- */

#define ICR_WRITABLE UINT64_C(0xccfff) /* vector .. destination mode, level, trigger, shorthand; bit 12 (delivery status) reads 0 */

bool apic_claims(const struct apic *a, uint64_t gpa)
{
    uint64_t base = LOAD(a->base);
    return (base & (APIC_BASE_EN | APIC_BASE_EXTD)) == APIC_BASE_EN && (gpa ^ base) >> 12 == 0;
}

static bool xapic_read(struct apic *a, uint32_t reg, uint32_t *out)
{
    *out = 0;
    switch (reg) {
    case REG_DFR:      *out = LOAD(a->dfr); return true;
    case REG_ICR_HIGH: *out = (uint32_t)(a->icr >> 32); return true;
    case REG_APR: case REG_RRD: case REG_EOI: return true;
    default: return reg_read(a, reg, out);
    }
}

static bool xapic_write(struct apic *a, uint32_t reg, uint32_t value)
{
    switch (reg) {
    case REG_ID:  STORE(a->id, value >> 24); return true;
    case REG_LDR: STORE(a->ldr, value & 0xff000000); return true;
    case REG_DFR: STORE(a->dfr, value | 0x0fffffff); return true;
    case REG_ICR_HIGH: a->icr = (a->icr & UINT32_MAX) | (uint64_t)(value & 0xff000000) << 32; return true;
    case REG_ICR:
        a->icr = (a->icr & ~(uint64_t)UINT32_MAX) | (value & ICR_WRITABLE);
        apic_send_ipi(a, a->icr);
        return true;
    case REG_VERSION: case REG_APR: case REG_PPR: case REG_RRD: case REG_TIMER_CURRENT: return true; /* read-only */
    default: return reg_write(a, reg, value) || (reg >= REG_ISR && reg < REG_ESR);
    }
}

void apic_mmio_read(struct apic *a, uint32_t offset, void *data, unsigned len)
{
    memset(data, 0, len);
    unsigned at = offset & 15;
    if (at >= 4)
        return;
    uint32_t value;
    if (!xapic_read(a, offset >> 4 & 0xff, &value))
        apic_error(a, ESR_REGISTER);
    uint8_t bytes[4];
    store_le32(bytes, value);
    memcpy(data, bytes + at, len < 4 - at ? len : 4 - at);
}

void apic_mmio_write(struct apic *a, uint32_t offset, const void *data, unsigned len)
{
    if (len != 4 || (offset & 15))
        return;
    if (!xapic_write(a, offset >> 4 & 0xff, load_le32(data)))
        apic_error(a, ESR_REGISTER);
}

/* ---- MSRs ---- */

/* SDM 12.12.5: from disabled only to xAPIC, from x2APIC only to disabled. Leaving through "disabled" resets the registers. */
static bool base_write(struct apic *a, uint64_t value)
{
    const struct apic_bus_config *c = &a->bus->config;
    uint64_t flags = APIC_BASE_BSP | APIC_BASE_EN | (c->x2apic ? APIC_BASE_EXTD : 0);
    uint64_t address = (BIT(c->phys_bits) - 1) & ~UINT64_C(0xfff);
    uint64_t old = LOAD(a->base), mode = value & (APIC_BASE_EN | APIC_BASE_EXTD), old_mode = old & (APIC_BASE_EN | APIC_BASE_EXTD);
    if ((value & ~(flags | address)) || mode == APIC_BASE_EXTD)
        return false;
    if ((old_mode == (APIC_BASE_EN | APIC_BASE_EXTD) && mode == APIC_BASE_EN) || (!old_mode && (mode & APIC_BASE_EXTD)))
        return false;
    STORE(a->base, value);
    if (mode == old_mode)
        return true;
    if (!mode) {
        apic_reset_registers(a);
        set_identity(a);
    } else if (mode & APIC_BASE_EXTD) {
        a->icr &= UINT32_MAX;
        set_identity(a);
    }
    apic_notice(a);
    return true;
}

bool apic_msr_read(struct apic *a, uint32_t msr, uint64_t *out)
{
    if (msr == APIC_MSR_BASE) {
        *out = LOAD(a->base);
        return true;
    }
    if (msr == APIC_MSR_TSC_DEADLINE) {
        apic_timer_poll(a, a->bus->config.now(a->bus->config.opaque));
        *out = a->tsc_deadline;
        return true;
    }
    if (msr < APIC_MSR_X2APIC_FIRST || msr > APIC_MSR_X2APIC_LAST || !apic_in_x2apic(a))
        return false;
    uint32_t value;
    if (msr - APIC_MSR_X2APIC_FIRST == REG_ICR) {
        *out = a->icr;
        return true;
    }
    if (!reg_read(a, msr - APIC_MSR_X2APIC_FIRST, &value))
        return false;
    *out = value;
    return true;
}

/* The bits that a write in x2APIC mode may set; the rest raises #GP. False: not writable. */
static bool x2apic_writable(uint32_t reg, uint64_t *mask)
{
    int lvt = reg_to_lvt(reg);
    *mask = 0;
    if (lvt >= 0) {
        *mask = lvt_mask(lvt) | (lvt == APIC_LVT_LINT0 || lvt == APIC_LVT_LINT1 ? LVT_REMOTE_IRR : 0) | BIT(12); /* read-only bits are ignored */
        return true;
    }
    switch (reg) {
    case REG_TPR: case REG_SELF_IPI: *mask = 0xff; return true;
    case REG_EOI: case REG_ESR:      return true;
    case REG_SVR:                    *mask = SVR_WRITABLE; return true;
    case REG_ICR:                    *mask = ICR_WRITABLE | BIT(12) | ~(uint64_t)UINT32_MAX; return true;
    case REG_TIMER_INITIAL:          *mask = UINT32_MAX; return true;
    case REG_TIMER_DIVIDE:           *mask = 0xb; return true;
    default:                         return false;
    }
}

static bool x2apic_write(struct apic *a, uint32_t reg, uint64_t value)
{
    uint64_t mask;
    if (!x2apic_writable(reg, &mask) || (value & ~mask))
        return false;
    if (reg == REG_ICR) {
        a->icr = value & (ICR_WRITABLE | ~(uint64_t)UINT32_MAX);
        apic_send_ipi(a, a->icr);
        return true;
    }
    if (reg == REG_SELF_IPI) { /* SDM 12.12.11 */
        apic_send_ipi(a, (value & 0xff) | UINT64_C(1) << 18);
        return true;
    }
    return reg_write(a, reg, (uint32_t)value);
}

bool apic_msr_write(struct apic *a, uint32_t msr, uint64_t value)
{
    if (msr == APIC_MSR_BASE)
        return base_write(a, value);
    if (msr == APIC_MSR_TSC_DEADLINE) {
        apic_timer_set_tsc_deadline(a, value);
        return true;
    }
    if (msr < APIC_MSR_X2APIC_FIRST || msr > APIC_MSR_X2APIC_LAST || !apic_in_x2apic(a))
        return false;
    return x2apic_write(a, msr - APIC_MSR_X2APIC_FIRST, value);
}

/* ---- save and load ---- */

const struct field apic_fields[] = {
    FIELD(struct apic, base, "IA32_APIC_BASE"),
    FIELD(struct apic, id, "ID"),
    FIELD(struct apic, tpr, "task priority"),
    FIELD(struct apic, ldr, "logical destination"),
    FIELD(struct apic, dfr, "destination format"),
    FIELD(struct apic, svr, "spurious vector and software enable"),
    FIELD_BYTES(struct apic, irr, "interrupt requests"),
    FIELD_BYTES(struct apic, isr, "interrupts in service"),
    FIELD_BYTES(struct apic, tmr, "trigger modes"),
    FIELD(struct apic, esr, "error status"),
    FIELD(struct apic, esr_pending, "errors since the last write of the error status"),
    FIELD(struct apic, icr, "interrupt command"),
    FIELD_BYTES(struct apic, lvt, "local vector table"),
    FIELD(struct apic, pins, "levels of LINT0 and LINT1"),
    FIELD(struct apic, events, "INIT, SIPI, SMI, NMI and ExtINT that wait"),
    FIELD(struct apic, timer_initial, "timer: initial count"),
    FIELD(struct apic, timer_divide, "timer: divide configuration"),
    FIELD(struct apic, timer_armed, "timer: counting"),
    FIELD(struct apic, timer_count, "timer: count at its start time"),
    FIELD(struct apic, timer_start, "timer: start time, ns of the VM's clock"),
    FIELD(struct apic, tsc_deadline, "timer: TSC deadline"),
    FIELD_END
};

int apic_loaded(struct apic *a, uint64_t saved_at, struct err *err)
{
    uint64_t base = LOAD(a->base), address = (BIT(a->bus->config.phys_bits) - 1) & ~UINT64_C(0xfff);
    uint64_t flags = APIC_BASE_BSP | APIC_BASE_EN | (a->bus->config.x2apic ? APIC_BASE_EXTD : 0);
    if ((base & ~(flags | address)) || (base & (APIC_BASE_EN | APIC_BASE_EXTD)) == APIC_BASE_EXTD)
        return err_set(err, ERR_INPUT, "saved APIC %u: impossible IA32_APIC_BASE", a->cpu);
    if (a->timer_armed > 1 || (a->timer_divide & ~UINT32_C(0xb)) || (LOAD(a->svr) & ~(uint32_t)SVR_WRITABLE) || LOAD(a->tpr) > 0xff || LOAD(a->pins) > 3)
        return err_set(err, ERR_INPUT, "saved APIC %u: a register has reserved bits set", a->cpu);
    for (int i = 0; i < APIC_LVT_COUNT; i++)
        if (LOAD(a->lvt[i]) & ~lvt_mask(i))
            return err_set(err, ERR_INPUT, "saved APIC %u: local vector table entry %d has reserved bits set", a->cpu, i);
    if ((LOAD(a->irr[0]) | LOAD(a->isr[0])) & 0xffff)
        return err_set(err, ERR_INPUT, "saved APIC %u: a vector below 16 is pending", a->cpu);
    a->timer_start += a->bus->config.now(a->bus->config.opaque) - saved_at;
    STORE(a->deadline, APIC_NO_DEADLINE);
    apic_timer_update(a);
    apic_wake(a);
    return 0;
}
