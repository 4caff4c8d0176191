/* SPDX-License-Identifier: MIT */
/* regs.c - registers by their hy_reg names, for the embedder. Values are checked as if they came from a hostile saved state. Owner's thread.
 *
 * The privilege level follows SS, as on hardware with virtualization: DPL of a usable SS in protected mode, 3 in v8086 mode, 0 in real mode.
 * Control registers are set without the side effects of MOV: no PDPTE load by PAE rules beyond reading them afresh, LMA as given in EFER.
 */
#include "apic/apic.h"
#include "cpu/control.h"
#include "cpu/cpuid.h"
#include "cpu/debug.h"
#include "cpu/segment.h"
#include "cpu/xsave.h"

static struct cpu_segment *segment_of(struct cpu *cpu, uint32_t n)
{
    return n <= HY_TR ? &cpu->state.seg[n] : n == HY_IDTR ? &cpu->state.idtr : n == HY_GDTR ? &cpu->state.gdtr : NULL;
}

static uint64_t *cr_of(struct cpu *cpu, uint32_t n)
{
    switch (n) {
    case 0:     return &cpu->state.cr0;
    case 2:     return &cpu->state.cr2;
    case 3:     return &cpu->state.cr3;
    case 4:     return &cpu->state.cr4;
    case 0x100: return &cpu->state.xcr0;
    default:    return NULL;
    }
}

static uint64_t misc_get(const struct cpu *cpu, uint32_t n)
{
    switch (n) {
    case HY_MISC_SHADOW: return cpu->state.interrupt_shadow;
    case HY_MISC_HALTED: return cpu->state.halted;
    case HY_MISC_NMI:    return cpu->state.nmi_blocked | (cpu->state.nmi_pending ? 2 : 0);
    default:             return cpu->apic ? apic_id(cpu->apic) : cpu->index;
    }
}

static hy_err get_wide(struct cpu *cpu, hy_reg reg, hy_val *out)
{
    uint32_t n = (uint32_t)reg;
    if (reg >> 32 == 3) {
        const struct cpu_segment *s = segment_of(cpu, n);
        if (!s)
            return HY_E_NOTSUP;
        out->seg.base = s->base;
        out->seg.limit = s->limit;
        out->seg.sel = s->selector;
        out->seg.attr = s->attributes;
        return HY_OK;
    }
    if (n >= 16)
        return HY_E_NOTSUP;
    out->u128[0] = cpu->state.vec[n].q[0];
    out->u128[1] = cpu->state.vec[n].q[1];
    return HY_OK;
}

hy_err cpu_get_register(struct cpu *cpu, hy_reg reg, hy_val *out)
{
    uint32_t n = (uint32_t)reg;
    memset(out, 0, sizeof *out);
    switch (reg >> 32) {
    case 1:
        if (n >= 16)
            return HY_E_NOTSUP;
        out->u64 = cpu->state.gpr[n];
        return HY_OK;
    case 2:
        out->u64 = n ? cpu_flags_get(cpu) : cpu->state.rip;
        return n < 2 ? HY_OK : HY_E_NOTSUP;
    case 3:
    case 7:
        return get_wide(cpu, reg, out);
    case 4:
        if (n != 8 && !cr_of(cpu, n))
            return HY_E_NOTSUP;
        out->u64 = n == 8 ? cpu_get_cr8(cpu) : *cr_of(cpu, n);
        return HY_OK;
    case 5:
        if (n > 7 || n == 4 || n == 5)
            return HY_E_NOTSUP;
        out->u64 = cpu->state.dr[n];
        return HY_OK;
    case 6:
        return cpu_msr_read(cpu, n, &out->u64) ? HY_OK : HY_E_NOTSUP;
    case 9:
        out->u64 = misc_get(cpu, n);
        return n <= HY_MISC_NMI ? HY_OK : HY_E_NOTSUP;
    default:
        return HY_E_NOTSUP;
    }
}

/* ---- set ------------------------------------------------------------------------------------------------------------------------------------------------ */

static void level_changed(struct cpu *cpu)
{
    const struct cpu_segment *ss = &cpu->state.seg[SEG_SS];
    if (cpu_is_real(cpu))
        cpu->state.cpl = 0;
    else if (cpu->state.rflags & FLAG_VM)
        cpu->state.cpl = 3;
    else
        cpu->state.cpl = (uint8_t)(ss->attributes & SEG_P ? seg_dpl(ss) : ss->selector & 3u);
    cpu_state_changed(cpu);
}

static hy_err set_segment(struct cpu *cpu, uint32_t n, const hy_val *v)
{
    struct cpu_segment *s = segment_of(cpu, n);
    bool table = n == HY_IDTR || n == HY_GDTR;
    if (!s)
        return HY_E_NOTSUP;
    if (v->seg.attr & 0x0f00 || !is_canonical48(v->seg.base) || (table && v->seg.limit > 0xffff))
        return HY_E_INVAL;
    *s = (struct cpu_segment){ v->seg.base, v->seg.limit, table ? 0 : v->seg.sel, table ? 0 : v->seg.attr };
    level_changed(cpu);
    return HY_OK;
}

static hy_err set_cr(struct cpu *cpu, uint32_t n, uint64_t value)
{
    struct cpu_state *s = &cpu->state;
    switch (n) {
    case 0:
        if (value & ~CR0_VALID || (value & CR0_PG && !(value & CR0_PE)) || (value & CR0_NW && !(value & CR0_CD)))
            return HY_E_INVAL;
        s->cr0 = value | CR0_ET;
        break;
    case 2:
        s->cr2 = value;
        break;
    case 3:
        if (value >> cpu_phys_bits(cpu))
            return HY_E_INVAL;
        s->cr3 = value;
        break;
    case 4:
        if (value & ~cpu->cpuid->cr4_valid)
            return HY_E_INVAL;
        s->cr4 = value;
        break;
    case 8:
        if (value > 15)
            return HY_E_INVAL;
        cpu_set_cr8(cpu, value);
        break;
    case 0x100:
        if (value & ~XSAVE_COMPONENTS || !xcr0_is_consistent(value) || (value & XCR0_ZMM && !cpu_has(cpu, FEATURE_AVX512F)))
            return HY_E_INVAL;
        s->xcr0 = value;
        break;
    default:
        return HY_E_NOTSUP;
    }
    if (s->cr0 & CR0_PG && s->cr4 & CR4_PAE && !(s->efer & EFER_LMA) && n != 2 && n != 8)
        control_read_pdptes(cpu, s->cr3, s->pdpte);
    cpu_tlb_flush_all(cpu);
    level_changed(cpu);
    return HY_OK;
}

static hy_err set_dr(struct cpu *cpu, uint32_t n, uint64_t value)
{
    if (n > 7 || n == 4 || n == 5)
        return HY_E_NOTSUP;
    if (n >= 6 && value >> 32)
        return HY_E_INVAL;
    cpu->state.dr[n] = n == 6 ? (value & 0xe00f) | DR6_FIXED : n == 7 ? (value & ~UINT64_C(0xd800)) | DR7_FIXED : value;
    cpu_tlb_flush_all(cpu);
    cpu_state_changed(cpu);
    return HY_OK;
}

static hy_err set_msr(struct cpu *cpu, uint32_t msr, uint64_t value)
{
    if (msr != UINT32_C(0xc0000080) /* EFER */)
        return cpu_msr_write(cpu, msr, value) ? HY_OK : HY_E_INVAL;
    if (value & ~EFER_VALID)
        return HY_E_INVAL;
    cpu->state.efer = value; /* LMA as given: state comes register by register */
    cpu_tlb_flush_all(cpu);
    cpu_state_changed(cpu);
    return HY_OK;
}

static hy_err set_misc(struct cpu *cpu, uint32_t n, uint64_t value)
{
    if (n > HY_MISC_NMI || n == HY_MISC_APIC_ID)
        return HY_E_NOTSUP;
    if (value > (n == HY_MISC_NMI ? 3 : 2))
        return HY_E_INVAL;
    if (n == HY_MISC_SHADOW)
        cpu->state.interrupt_shadow = (uint8_t)value;
    else if (n == HY_MISC_HALTED)
        cpu->state.halted = (uint8_t)value;
    if (n == HY_MISC_NMI) {
        cpu->state.nmi_blocked = value & 1;
        cpu->state.nmi_pending = value >> 1 & 1;
    }
    return HY_OK;
}

static hy_err set_flags(struct cpu *cpu, uint64_t value)
{
    const uint64_t valid = FLAGS_ARITH | 2 | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT | FLAG_RF | FLAG_VM | FLAG_AC | FLAG_VIF | FLAG_VIP | FLAG_ID;
    if (value & ~valid)
        return HY_E_INVAL;
    cpu_flags_set(cpu, value | 2);
    level_changed(cpu);
    return HY_OK;
}

hy_err cpu_set_register(struct cpu *cpu, hy_reg reg, const hy_val *v)
{
    uint32_t n = (uint32_t)reg;
    switch (reg >> 32) {
    case 1:
        if (n >= 16)
            return HY_E_NOTSUP;
        cpu->state.gpr[n] = v->u64;
        return HY_OK;
    case 2:
        if (n == 0)
            cpu->state.rip = v->u64;
        return n == 0 ? HY_OK : n == 1 ? set_flags(cpu, v->u64) : HY_E_NOTSUP;
    case 3:  return set_segment(cpu, n, v);
    case 4:  return set_cr(cpu, n, v->u64);
    case 5:  return set_dr(cpu, n, v->u64);
    case 6:  return set_msr(cpu, n, v->u64);
    case 7:
        if (n >= 16)
            return HY_E_NOTSUP;
        cpu->state.vec[n].q[0] = v->u128[0];
        cpu->state.vec[n].q[1] = v->u128[1];
        return HY_OK;
    case 9:  return set_misc(cpu, n, v->u64);
    default: return HY_E_NOTSUP;
    }
}
