/* SPDX-License-Identifier: MIT */
/* msr.c - model-specific registers.
 *
 * What the guest sees: the architectural MSRs of SDM volume 4 that belong to features CPUID shows; any other raises #GP. Reserved bits, canonical addresses and
 * memory types are checked. Registers that describe hardware which does not exist (thermal, power, microcode) read as constants and ignore writes where
 * kernels write them without a CPUID bit.
 * What is trusted: nothing. Locking: owner's thread; x2APIC registers lock inside apic/.
 */
#include "apic/apic.h"
#include "cpu/control.h"
#include "cpu/cpuid.h"
#include "cpu/engine.h"
#include "cpu/segment.h"
#include "cpu/traps.h"
#include "cpu/xsave.h"

enum { /* SDM volume 4, table 2-2 */
    MSR_TSC = 0x10, MSR_PLATFORM_ID = 0x17, MSR_FEATURE_CONTROL = 0x3a, MSR_TSC_ADJUST = 0x3b, MSR_SPEC_CTRL = 0x48, MSR_PRED_CMD = 0x49,
    MSR_BIOS_UPDT_TRIG = 0x79, MSR_BIOS_SIGN_ID = 0x8b, MSR_PLATFORM_INFO = 0xce, MSR_MTRRCAP = 0xfe, MSR_ARCH_CAPABILITIES = 0x10a,
    MSR_MISC_FEATURES_ENABLES = 0x140, MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP = 0x175, MSR_SYSENTER_EIP = 0x176, MSR_MCG_CAP = 0x179,
    MSR_MCG_STATUS = 0x17a, MSR_MISC_ENABLE = 0x1a0, MSR_DEBUGCTL = 0x1d9, MSR_MTRR_PHYSBASE0 = 0x200, MSR_MTRR_PHYSMASK7 = 0x20f,
    MSR_MTRR_FIX64K = 0x250, MSR_MTRR_FIX16K0 = 0x258, MSR_MTRR_FIX16K1 = 0x259, MSR_MTRR_FIX4K0 = 0x268, MSR_MTRR_FIX4K7 = 0x26f, MSR_PAT = 0x277,
    MSR_MTRR_DEF_TYPE = 0x2ff, MSR_PKRS = 0x6e1, MSR_XSS = 0xda0,
};
#define MSR_EFER           UINT32_C(0xc0000080)
#define MSR_STAR           UINT32_C(0xc0000081)
#define MSR_LSTAR          UINT32_C(0xc0000082)
#define MSR_CSTAR          UINT32_C(0xc0000083)
#define MSR_SFMASK         UINT32_C(0xc0000084)
#define MSR_FS_BASE        UINT32_C(0xc0000100)
#define MSR_GS_BASE        UINT32_C(0xc0000101)
#define MSR_KERNEL_GS_BASE UINT32_C(0xc0000102)
#define MSR_TSC_AUX        UINT32_C(0xc0000103)

enum {
    MTRRCAP_VALUE = 8 /* variable */ | 1 << 8 /* fixed */ | 1 << 10 /* WC */,
    MISC_ENABLE_RESET = 1 << 0 /* fast strings */ | 1 << 11 /* no BTS */ | 1 << 12 /* no PEBS */,
    SPEC_CTRL_VALID = 7 /* IBRS, STIBP, SSBD */ | 1 << 10 /* BHI_DIS_S */,
    DEBUGCTL_VALID = 3,  /* LBR, BTF: kept, without effect */
};
/* Kept without effect: fast strings, thermal control, PMU, BTS, PEBS, SpeedStep, MONITOR, CPUID limit, xTPR, no-execute disable. */
#define MISC_ENABLE_VALID UINT64_C(0x400c51889)
#define PAT_RESET UINT64_C(0x0007040600070406)
/* None of the leaks exists in an interpreter (SDM volume 4, IA32_ARCH_CAPABILITIES): RDCL_NO IBRS_ALL SKIP_L1DFL SSB_NO MDS_NO PSCHANGE_MC_NO TAA_NO
 * SBDR_SSDP_NO FBSDP_NO PSDP_NO BHI_NO PBRSB_NO GDS_NO RFDS_NO ITS_NO */
#define ARCH_CAPABILITIES_VALUE \
    (BIT(0) | BIT(1) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(13) | BIT(14) | BIT(15) | BIT(20) | BIT(24) | BIT(26) | BIT(27) | BIT(62))

/* ---- TSC ------------------------------------------------------------------------------------------------------------------------------------------------- */

uint64_t cpu_tsc(struct cpu *cpu)
{
    return cpu->vm->ticks(cpu->vm->ticks_opaque) + cpu->state.tsc_offset;
}

static void tsc_shift(struct cpu *cpu, uint64_t delta)
{
    cpu->state.tsc_offset += delta;
    if (cpu->apic)
        apic_tsc_changed(cpu->apic);
}

/* ---- memory types ------------------------------------------------------------------------------------------------------------------------------------------ */

static bool is_mtrr_type(uint64_t type) { return type < 7 && type != 2 && type != 3; } /* UC WC WT WP WB */

static bool pat_valid(uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        uint64_t type = value >> 8 * i & 0xff;
        if (type > 7 || type == 2 || type == 3)
            return false;
    }
    return true;
}

static uint64_t *mtrr_fixed(struct cpu_state *s, uint32_t msr)
{
    if (msr == MSR_MTRR_FIX64K)
        return &s->mtrr_fixed[0];
    if (msr == MSR_MTRR_FIX16K0 || msr == MSR_MTRR_FIX16K1)
        return &s->mtrr_fixed[1 + msr - MSR_MTRR_FIX16K0];
    return msr >= MSR_MTRR_FIX4K0 && msr <= MSR_MTRR_FIX4K7 ? &s->mtrr_fixed[3 + msr - MSR_MTRR_FIX4K0] : NULL;
}

static uint64_t *mtrr_variable(struct cpu_state *s, uint32_t msr)
{
    if (msr < MSR_MTRR_PHYSBASE0 || msr > MSR_MTRR_PHYSMASK7)
        return NULL;
    unsigned i = (msr - MSR_MTRR_PHYSBASE0) / 2;
    return msr & 1 ? &s->mtrr_mask[i] : &s->mtrr_base[i];
}

static bool mtrr_write(struct cpu *cpu, uint32_t msr, uint64_t value)
{
    struct cpu_state *s = &cpu->state;
    uint64_t *fixed = mtrr_fixed(s, msr), *variable = mtrr_variable(s, msr);
    if (fixed) {
        for (unsigned i = 0; i < 8; i++) {
            if (!is_mtrr_type(value >> 8 * i & 0xff))
                return false;
        }
        *fixed = value;
        return true;
    }
    if (variable) {
        if (value >> cpu_phys_bits(cpu) || value & (msr & 1 ? 0x7ff : 0xf00) || (!(msr & 1) && !is_mtrr_type(value & 0xff)))
            return false;
        *variable = value;
        return true;
    }
    if (msr != MSR_MTRR_DEF_TYPE || value & ~UINT64_C(0xcff) || !is_mtrr_type(value & 0xff))
        return false;
    s->mtrr_def_type = value;
    return true;
}

static bool mtrr_read(struct cpu *cpu, uint32_t msr, uint64_t *out)
{
    const uint64_t *at = mtrr_fixed(&cpu->state, msr);
    at = at ? at : mtrr_variable(&cpu->state, msr);
    at = msr == MSR_MTRR_DEF_TYPE ? &cpu->state.mtrr_def_type : at;
    if (at)
        *out = *at;
    return at;
}

/* ---- those that are a field of the state --------------------------------------------------------------------------------------------------------------------- */

static uint64_t *canonical_field(struct cpu *cpu, uint32_t msr)
{
    struct cpu_state *s = &cpu->state;
    switch (msr) {
    case MSR_LSTAR:          return &s->lstar;
    case MSR_CSTAR:          return &s->cstar;
    case MSR_FS_BASE:        return &s->seg[SEG_FS].base;
    case MSR_GS_BASE:        return &s->seg[SEG_GS].base;
    case MSR_KERNEL_GS_BASE: return &s->kernel_gs_base;
    case MSR_SYSENTER_ESP:   return &s->sysenter_esp;
    case MSR_SYSENTER_EIP:   return &s->sysenter_eip;
    default:                 return NULL;
    }
}

/* Fields with a mask of the bits that may be set; NULL when CPUID does not show the register. */
static uint64_t *masked_field(struct cpu *cpu, uint32_t msr, uint64_t *valid)
{
    struct cpu_state *s = &cpu->state;
    switch (msr) {
    case MSR_STAR:         *valid = UINT64_MAX; return &s->star;
    case MSR_SFMASK:       *valid = UINT32_MAX; return &s->sfmask;
    case MSR_SYSENTER_CS:  *valid = UINT32_MAX; return &s->sysenter_cs;
    case MSR_DEBUGCTL:     *valid = DEBUGCTL_VALID; return &s->debugctl;
    case MSR_TSC_AUX:      *valid = UINT32_MAX; return cpu_has(cpu, FEATURE_RDTSCP) || cpu_has(cpu, FEATURE_RDPID) ? &s->tsc_aux : NULL;
    case MSR_SPEC_CTRL:    *valid = SPEC_CTRL_VALID; return cpuid_bit(cpu, 7, 0, 3, 26) ? &s->spec_ctrl : NULL;
    case MSR_XSS:          *valid = 0; return cpu_has(cpu, FEATURE_XSAVES) ? &s->xss : NULL;
    default:               return NULL;
    }
}

static bool is_apic_msr(uint32_t msr)
{
    return msr == APIC_MSR_BASE || msr == APIC_MSR_TSC_DEADLINE || (msr >= APIC_MSR_X2APIC_FIRST && msr <= APIC_MSR_X2APIC_LAST);
}

static bool apic_msr_exists(const struct cpu *cpu, uint32_t msr)
{
    return cpu->apic && (msr != APIC_MSR_TSC_DEADLINE || cpuid_bit(cpu, 1, 0, 2, 24));
}

/* ---- read ------------------------------------------------------------------------------------------------------------------------------------------------------ */

static bool read_special(struct cpu *cpu, uint32_t msr, uint64_t *out)
{
    struct cpu_state *s = &cpu->state;
    *out = 0;
    switch (msr) {
    case MSR_EFER:              *out = s->efer; return true;
    case MSR_TSC:               *out = cpu_tsc(cpu); return true;
    case MSR_PAT:               *out = s->pat; return true;
    case MSR_MTRRCAP:           *out = MTRRCAP_VALUE; return true;
    case MSR_MISC_ENABLE:       *out = s->misc_enable; return true;
    case MSR_BIOS_SIGN_ID:      *out = UINT64_C(1) << 32; return true; /* a microcode revision that is not 0 */
    case MSR_FEATURE_CONTROL:   *out = 1; return true;                 /* locked, VMX off                    */
    case MSR_TSC_ADJUST:        *out = s->tsc_adjust; return cpuid_bit(cpu, 7, 0, 1, 1);
    case MSR_ARCH_CAPABILITIES: *out = ARCH_CAPABILITIES_VALUE; return cpuid_bit(cpu, 7, 0, 3, 29);
    case MSR_PKRS:              *out = s->pkrs; return cpuid_bit(cpu, 7, 0, 2, 31);
    case MSR_PLATFORM_ID:
    case MSR_PLATFORM_INFO:
    case MSR_MISC_FEATURES_ENABLES:
    case MSR_MCG_CAP:
    case MSR_MCG_STATUS:        return true;
    default:                    return false;
    }
}

bool cpu_msr_read(struct cpu *cpu, uint32_t msr, uint64_t *out)
{
    uint64_t valid;
    const uint64_t *field = canonical_field(cpu, msr);
    field = field ? field : masked_field(cpu, msr, &valid);
    if (field) {
        *out = *field;
        return true;
    }
    if (is_apic_msr(msr))
        return apic_msr_exists(cpu, msr) && apic_msr_read(cpu->apic, msr, out);
    return mtrr_read(cpu, msr, out) || read_special(cpu, msr, out);
}

/* ---- write ------------------------------------------------------------------------------------------------------------------------------------------------------- */

static bool write_special(struct cpu *cpu, uint32_t msr, uint64_t value)
{
    struct cpu_state *s = &cpu->state;
    switch (msr) {
    case MSR_EFER:
        return control_write_efer(cpu, value);
    case MSR_TSC: {
        uint64_t delta = value - cpu_tsc(cpu);
        s->tsc_adjust += delta;
        tsc_shift(cpu, delta);
        return true;
    }
    case MSR_TSC_ADJUST: {
        uint64_t delta = value - s->tsc_adjust;
        if (!cpuid_bit(cpu, 7, 0, 1, 1))
            return false;
        s->tsc_adjust = value;
        tsc_shift(cpu, delta);
        return true;
    }
    case MSR_PAT:
        if (!pat_valid(value))
            return false;
        s->pat = value;
        return true;
    case MSR_MISC_ENABLE:
        s->misc_enable = value & MISC_ENABLE_VALID;
        return true;
    case MSR_PRED_CMD:
        return cpuid_bit(cpu, 7, 0, 3, 26) && !(value & ~UINT64_C(1));
    case MSR_PKRS:
        if (!cpuid_bit(cpu, 7, 0, 2, 31) || value >> 32)
            return false;
        cpu_set_pkrs(cpu, (uint32_t)value);
        return true;
    case MSR_MCG_STATUS:
    case MSR_MISC_FEATURES_ENABLES:
        return !value;
    case MSR_BIOS_SIGN_ID:
    case MSR_BIOS_UPDT_TRIG:
        return true;
    default:
        return false;
    }
}

bool cpu_msr_write(struct cpu *cpu, uint32_t msr, uint64_t value)
{
    uint64_t valid, *field = canonical_field(cpu, msr);
    if (field) {
        if (!is_canonical48(value))
            return false;
        *field = value;
        if (msr == MSR_FS_BASE || msr == MSR_GS_BASE)
            cpu_state_changed(cpu);
        return true;
    }
    field = masked_field(cpu, msr, &valid);
    if (field) {
        if (value & ~valid)
            return false;
        *field = value;
        return true;
    }
    if (is_apic_msr(msr)) {
        bool hidden = msr == APIC_MSR_BASE && value & APIC_BASE_EXTD && !cpuid_bit(cpu, 1, 0, 2, 21); /* CPUID tells whether there is x2APIC mode */
        if (hidden || !apic_msr_exists(cpu, msr) || !apic_msr_write(cpu->apic, msr, value))
            return false;
        if (msr == APIC_MSR_BASE)
            cpu_tlb_flush_all(cpu); /* the page moved */
        return true;
    }
    return mtrr_write(cpu, msr, value) || write_special(cpu, msr, value);
}

/* ---- instructions ---------------------------------------------------------------------------------------------------------------------------------------------------- */

static uint64_t edx_eax(const struct cpu *cpu)
{
    return (uint32_t)cpu->state.gpr[REG_RAX] | cpu->state.gpr[REG_RDX] << 32;
}

static void set_edx_eax(struct cpu *cpu, uint64_t value)
{
    cpu->state.gpr[REG_RAX] = value & UINT32_MAX;
    cpu->state.gpr[REG_RDX] = value >> 32;
}

/* A trapped MSR: the embedder answers, or denies with #GP. */
static uint64_t msr_exit(struct cpu *cpu, uint32_t msr, bool write, uint64_t value)
{
    uint8_t data[8];
    store_le64(data, value);
    hy_exit prepared = { .reason = HY_EXIT_MSR, .write = write, .u.msr = { .reg = HY_MSR(msr), .value = value } };
    const struct cpu_replay *answer = cpu_exit_access(cpu, HY_EXIT_MSR, msr, 8, write, data, &prepared);
    if (load_le32(answer->data + 8))
        cpu_raise_error(cpu, EXC_GP, 0);
    return load_le64(answer->data);
}

void exec_rdmsr(struct cpu *cpu)
{
    uint64_t value = 0;
    uint32_t msr = (uint32_t)cpu->state.gpr[REG_RCX];
    if (cpu_traps_msr(cpu->vm->traps, msr, CPU_TRAP_READ))
        value = msr_exit(cpu, msr, false, 0);
    else if (!cpu_msr_read(cpu, msr, &value))
        cpu_raise_error(cpu, EXC_GP, 0);
    set_edx_eax(cpu, value);
}

void exec_wrmsr(struct cpu *cpu)
{
    uint32_t msr = (uint32_t)cpu->state.gpr[REG_RCX];
    if (cpu_traps_msr(cpu->vm->traps, msr, CPU_TRAP_WRITE))
        msr_exit(cpu, msr, true, edx_eax(cpu));
    else if (!cpu_msr_write(cpu, msr, edx_eax(cpu)))
        cpu_raise_error(cpu, EXC_GP, 0);
}

void msr_reset(struct cpu *cpu, bool init)
{
    struct cpu_state *s = &cpu->state;
    s->efer = 0; /* SDM table 9-1: INIT keeps the others */
    if (init)
        return;
    s->pat = PAT_RESET;
    s->misc_enable = MISC_ENABLE_RESET;
    /* tsc_offset is 0: the VM's ticks begin at 0, and all CPUs agree. */
}
