/* SPDX-License-Identifier: MIT */
/* cpu.c - life of a vCPU: making, RESET and INIT, what is derived from its state, its field table, and the check of a loaded state.
 *
 * What is trusted: a loaded state is hostile. cpu_state_check() refuses what no sequence of instructions could make and the other files rely on.
 * Locking: cpu_new() and cpu_free() while no CPU of the VM runs; the rest on the owner's thread.
 * Spec: SDM volume 3, 9.1 (table 9-1).
 */
#include "cpu/cpu.h"

#include "apic/apic.h"
#include "base/pages.h"
#include "cpu/control.h"
#include "cpu/cpuid.h"
#include "cpu/debug.h"
#include "cpu/decode.h"
#include "cpu/engine.h"
#include "cpu/mmu_private.h"
#include "cpu/segment.h"
#include "cpu/translate/host_run.h"
#include "cpu/translate/translate.h"
#include "cpu/xsave.h"

/* ---- derived state ---------------------------------------------------------------------------------------------------------------------------------- */

static bool segment_is_flat(const struct cpu_segment *s)
{
    unsigned want = SEG_P | SEG_S, mask = SEG_P | SEG_S | SEG_CODE | SEG_EXPAND_DOWN | SEG_WRITABLE;
    return !s->base && s->limit == UINT32_MAX && (s->attributes & mask) == (want | SEG_WRITABLE);
}

static bool is_flat(const struct cpu *cpu)
{
    const struct cpu_segment *cs = &cpu->state.seg[SEG_CS];
    if (cpu->mode == CPU_MODE_64)
        return true;
    return segment_is_flat(&cpu->state.seg[SEG_DS]) && segment_is_flat(&cpu->state.seg[SEG_ES]) && segment_is_flat(&cpu->state.seg[SEG_SS]) && !cs->base &&
           cs->limit == UINT32_MAX && cs->attributes & SEG_READABLE;
}

void cpu_state_changed(struct cpu *cpu)
{
    const struct cpu_state *s = &cpu->state;
    cpu->long_mode = (s->efer & EFER_LMA) != 0;
    if (cpu->long_mode && s->seg[SEG_CS].attributes & SEG_L)
        cpu->mode = CPU_MODE_64;
    else
        cpu->mode = s->seg[SEG_CS].attributes & SEG_DB ? CPU_MODE_32 : CPU_MODE_16;
    uint64_t base = cpu->mode == CPU_MODE_64 ? 0 : s->seg[SEG_CS].base;
    if (base != cpu->fetch_base) {
        cpu->fetch_base = base;
        engine_fetch_changed(cpu, true);
    }
    cpu->flat = is_flat(cpu);
    cpu->rights = (uint8_t)cpu_rights_at(cpu, s->cpl);
    if (s->cpl == 3 && s->cr0 & CR0_AM && s->rflags & FLAG_AC)
        cpu->rights = TLB_USER_ALIGNED;
    cpu->tlb = cpu->tlbs[cpu->rights];
    cpu->block_key = engine_block_key(cpu);
    engine_kernel_tag_update(cpu);
    if (unlikely(cpu_debug_wants_steps(cpu) || cpu->trap_step))
        atomic_fetch_or(&cpu->requests, CPU_REQ_STEP);
}

/* ---- RESET and INIT --------------------------------------------------------------------------------------------------------------------------------------- */

static void reset_segments(struct cpu_state *s)
{
    for (unsigned i = SEG_ES; i <= SEG_GS; i++)
        s->seg[i] = (struct cpu_segment){ .limit = 0xffff, .attributes = SEG_P | SEG_S | SEG_WRITABLE | SEG_ACCESSED };
    s->seg[SEG_CS].selector = 0xf000;
    s->seg[SEG_CS].base = 0xffff0000;
    s->seg[SEG_CS].attributes |= SEG_CODE;
    s->seg[SEG_LDTR] = (struct cpu_segment){ .limit = 0xffff, .attributes = SEG_P | DESC_LDT };
    s->seg[SEG_TR] = (struct cpu_segment){ .limit = 0xffff, .attributes = SEG_P | DESC_TSS32_BUSY };
    s->gdtr = s->idtr = (struct cpu_segment){ .limit = 0xffff };
}

static void reset_fpu(struct cpu_state *s)
{
    memset(s->vec, 0, sizeof s->vec);
    memset(s->k, 0, sizeof s->k);
    memset(s->zmm_high, 0, sizeof s->zmm_high);
    memset(s->zmm16, 0, sizeof s->zmm16);
    s->x87 = (struct cpu_x87){ .fcw = 0x40 };
    s->mxcsr = 0x1f80;
    s->xcr0 = XCR0_X87;
    s->xss = 0;
}

void cpu_reset(struct cpu *cpu, bool init)
{
    struct cpu_state *s = &cpu->state;
    uint64_t cr0 = s->cr0;
    uint32_t signature[4];
    cpu_cpuid(cpu, 1, 0, signature);
    if (!init) {
        memset(s, 0, sizeof *s);
        reset_fpu(s);
    }
    memset(s->gpr, 0, sizeof s->gpr);
    s->gpr[REG_RDX] = signature[0];
    s->rip = 0xfff0;
    reset_segments(s);
    s->cr0 = CR0_ET | (init ? cr0 & (CR0_CD | CR0_NW) : CR0_CD | CR0_NW);
    s->cr2 = s->cr3 = s->cr4 = 0;
    memset(s->dr, 0, sizeof s->dr);
    s->dr[6] = DR6_FIXED;
    s->dr[7] = DR7_FIXED;
    s->cpl = 0;
    s->interrupt_shadow = s->nmi_blocked = s->nmi_pending = s->event_pending = s->monitor_armed = 0;
    s->pending_db = 0;
    s->halted = cpu->apic && cpu->index ? 2 : 0;
    cpu->delivering = cpu->step_armed = 0;
    msr_reset(cpu, init);
    if (cpu->apic)
        apic_reset(cpu->apic, init);
    cpu_flags_set(cpu, 2);
    cpu_tlb_flush_all(cpu);
    cpu_state_changed(cpu);
}

/* ---- making ------------------------------------------------------------------------------------------------------------------------------------------------ */

int cpu_new(struct cpu_vm *vm, uint32_t index, struct cpu **out, struct err *err)
{
    if (index >= ARRAY_LEN(vm->cpus) || vm->cpus[index])
        return err_set(err, ERR_USAGE, "vCPU %u: out of range, or there is one already", index);
    struct cpu *cpu = pages_alloc_low(sizeof *cpu); /* where translated code reaches it without a base register */
    if (!cpu)
        return err_set(err, ERR_HOST, "no memory for vCPU %u", index);
    cpu->vm = vm;
    cpu->index = index;
    host_run_new(cpu);
    int result = cpuid_new(cpu, err);
    if (!result)
        result = mmu_new(cpu, err);
    if (!result)
        result = engine_new(cpu, err);
    if (!result && !vm->interpret)
        result = translate_new(cpu, &cpu->no_translator, err);
    if (!result && vm->apic_bus)
        result = apic_new(vm->apic_bus, index, index, &cpu->apic, err);
    if (result) {
        cpu_free(cpu);
        return result;
    }
    cpu_reset(cpu, false);
    vm->cpus[index] = cpu;
    *out = cpu;
    return 0;
}

void cpu_free(struct cpu *cpu)
{
    if (!cpu)
        return;
    cpu_timer_forget(cpu); /* the timers' thread finds vCPUs in cpus[] */
    if (cpu->vm->cpus[cpu->index] == cpu)
        cpu->vm->cpus[cpu->index] = NULL;
    apic_free(cpu->apic);
    translate_free(cpu);
    host_run_free(cpu);
    engine_free(cpu);
    mmu_free(cpu);
    cpuid_free(cpu);
    pages_free(cpu, sizeof *cpu);
}

void cpu_vm_release(struct cpu_vm *vm)
{
    for (unsigned i = 0; i < ARRAY_LEN(vm->code); i++) {
        if (vm->code[i].size)
            code_memory_free(&vm->code[i]);
        if (vm->host_runner[i].size)
            code_memory_free(&vm->host_runner[i]);
    }
}

/* ---- saved state ---------------------------------------------------------------------------------------------------------------------------------------------- */

#define S(member, meaning)  FIELD(struct cpu_state, member, meaning)
#define SB(member, meaning) FIELD_BYTES(struct cpu_state, member, meaning)
const struct field cpu_fields[] = {
    SB(gpr, "general-purpose registers"), S(rip, "instruction pointer"), S(rflags, "flags"), SB(seg, "segment registers, LDTR, TR"), SB(gdtr, "GDTR"),
    SB(idtr, "IDTR"), S(cr0, "CR0"), S(cr2, "CR2"), S(cr3, "CR3"), S(cr4, "CR4"), S(cr8, "CR8 without an APIC"), S(xcr0, "XCR0"), S(xss, "IA32_XSS"),
    SB(pdpte, "PDPTE registers"), SB(dr, "debug registers"), S(efer, "IA32_EFER"), S(star, "IA32_STAR"), S(lstar, "IA32_LSTAR"), S(cstar, "IA32_CSTAR"),
    S(sfmask, "IA32_FMASK"), S(kernel_gs_base, "IA32_KERNEL_GS_BASE"), S(sysenter_cs, "IA32_SYSENTER_CS"), S(sysenter_esp, "IA32_SYSENTER_ESP"),
    S(sysenter_eip, "IA32_SYSENTER_EIP"), S(pat, "IA32_PAT"), S(tsc_offset, "guest TSC minus host ticks"), S(tsc_adjust, "IA32_TSC_ADJUST"),
    S(tsc_aux, "IA32_TSC_AUX"), S(spec_ctrl, "IA32_SPEC_CTRL"), S(misc_enable, "IA32_MISC_ENABLE"), S(debugctl, "IA32_DEBUGCTL"),
    S(mtrr_def_type, "IA32_MTRR_DEF_TYPE"), SB(mtrr_base, "variable MTRR bases"), SB(mtrr_mask, "variable MTRR masks"), SB(mtrr_fixed, "fixed MTRRs"),
    S(pkru, "PKRU"), S(pkrs, "IA32_PKRS"), SB(vec, "vector registers"), SB(k, "opmask registers"),
    SB(zmm_high, "upper halves of ZMM0 to 15"), SB(zmm16, "ZMM16 to 31"), S(mxcsr, "MXCSR"), SB(x87, "x87 registers"), S(cpl, "privilege level"),
    S(interrupt_shadow, "1 after STI, 2 after MOV SS"), S(nmi_blocked, "NMIs blocked until IRET"), S(nmi_pending, "NMIs that wait"),
    S(halted, "1 halted, 2 waiting for SIPI"), S(monitor_armed, "MONITOR was executed"), S(event_kind, "injected event: kind"),
    S(event_vector, "injected event: vector"), S(event_has_error, "injected event: has an error code"), S(event_pending, "injected event waits"),
    S(event_error, "injected event: error code"), S(event_address, "injected event: address"), S(pending_db, "DR6 bits of a #DB that waits"), FIELD_END,
};
#undef S
#undef SB

static const char *check_control(const struct cpu *cpu)
{
    const struct cpu_state *s = &cpu->state;
    bool lma = s->efer & EFER_LMA;
    if (s->cr0 & ~CR0_VALID || !(s->cr0 & CR0_ET) || (s->cr0 & CR0_PG && !(s->cr0 & CR0_PE)) || (s->cr0 & CR0_NW && !(s->cr0 & CR0_CD)))
        return "CR0";
    if (s->cr4 & ~cpu->cpuid->cr4_valid || (lma && !(s->cr4 & CR4_PAE)) || (s->cr4 & CR4_PCIDE && !lma))
        return "CR4";
    if (s->cr3 >> cpu_phys_bits(cpu) || (!lma && s->cr3 >> 32))
        return "CR3";
    if (s->efer & ~EFER_VALID || lma != (s->efer & EFER_LME && s->cr0 & CR0_PG))
        return "EFER";
    if (s->cr8 > 15)
        return "CR8";
    if (s->xcr0 & ~XSAVE_COMPONENTS || !xcr0_is_consistent(s->xcr0) || (s->xcr0 & XCR0_ZMM && !cpu_has(cpu, FEATURE_AVX512F)) || s->xss)
        return "XCR0 or IA32_XSS";
    if ((s->dr[6] | s->dr[7]) >> 32 || s->mxcsr >> 16)
        return "DR6, DR7 or MXCSR";
    return NULL;
}

static const char *check_mode(const struct cpu *cpu)
{
    const struct cpu_state *s = &cpu->state;
    bool lma = s->efer & EFER_LMA, wide = lma && s->seg[SEG_CS].attributes & SEG_L, protected = s->cr0 & CR0_PE, v8086 = protected && s->rflags & FLAG_VM;
    const uint64_t flags = FLAGS_ARITH | 2 | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT | FLAG_RF | FLAG_VM | FLAG_AC | FLAG_VIF | FLAG_VIP | FLAG_ID;
    if (s->rflags & ~flags || (lma && s->rflags & FLAG_VM) || (!protected && s->rflags & FLAG_VM))
        return "RFLAGS";
    if (s->cpl > 3 || (!protected && s->cpl) || (v8086 && s->cpl != 3))
        return "the privilege level";
    if (wide ? !is_canonical48(s->rip) : s->rip >> 32)
        return "RIP";
    if (wide && s->seg[SEG_CS].attributes & SEG_DB)
        return "CS";
    if (s->interrupt_shadow > 2 || s->nmi_blocked > 1 || s->nmi_pending > 2 || s->halted > 2 || s->event_kind > HY_EV_EXCEPTION)
        return "an event";
    if (s->pending_db & ~UINT64_C(0xe00f))
        return "a pending #DB";
    return NULL;
}

static const char *check_segments(const struct cpu *cpu)
{
    const struct cpu_state *s = &cpu->state;
    bool lma = s->efer & EFER_LMA;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        const struct cpu_segment *seg = &s->seg[i];
        bool wide = lma && i >= SEG_FS;
        if (seg->attributes & 0x0f00 || (wide ? !is_canonical48(seg->base) : seg->base >> 32))
            return "a segment register";
    }
    if (s->gdtr.limit > 0xffff || s->idtr.limit > 0xffff || !is_canonical48(s->gdtr.base) || !is_canonical48(s->idtr.base))
        return "GDTR or IDTR";
    if (!is_canonical48(s->lstar) || !is_canonical48(s->cstar) || !is_canonical48(s->kernel_gs_base) || !is_canonical48(s->sysenter_esp) ||
        !is_canonical48(s->sysenter_eip))
        return "an address in an MSR";
    return NULL;
}

int cpu_state_check(const struct cpu *cpu, struct err *err)
{
    const char *bad = check_control(cpu);
    bad = bad ? bad : check_mode(cpu);
    bad = bad ? bad : check_segments(cpu);
    return bad ? err_set(err, ERR_INPUT, "vCPU %u: the state's %s cannot be", cpu->index, bad) : 0;
}
