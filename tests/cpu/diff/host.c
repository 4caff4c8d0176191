/* SPDX-License-Identifier: MIT */
/*
 * What is so on some processors and kernels only. The software CPU does as Intel's processors of today do, also where the manuals let a
 * processor choose; so on those the whole of a result is compared. On others (and on Intel's older ones, where they differ) this file says
 * which instructions are not drawn, and which differences are none. "APM": AMD64 Architecture Programmer's Manual.
 */
#include <cpuid.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "cpu/mmu.h"
#include "cpu/translate/host.h"
#include "diff.h"

/* ---- CPUID ---- */

static bool cpuid_bit(unsigned leaf, unsigned subleaf, unsigned reg, unsigned bit)
{
    unsigned r[4] = { 0 };
    return __get_cpuid_count(leaf, subleaf, &r[0], &r[1], &r[2], &r[3]) && r[reg] >> bit & 1;
}

/* XCR0: whether the kernel saves SSE and AVX state (SDM vol. 1, 13.3). */
static bool saves_ymm(void)
{
    uint32_t low, high;
    if (!cpuid_bit(1, 0, 2, 27))
        return false;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6;
}

bool host_has_avx512(void)
{
    uint64_t features[4];
    host_features(features);
    return features[FEATURE_AVX512F / 64] >> FEATURE_AVX512F % 64 & 1;
}

bool host_has(enum insn_feature feature)
{

    enum { EBX = 1, ECX = 2, EDX = 3, EXT = 0x80000001 };
    switch (feature) {
    case FEATURE_SSE3: return cpuid_bit(1, 0, ECX, 0);
    case FEATURE_PCLMULQDQ: return cpuid_bit(1, 0, ECX, 1);
    case FEATURE_SSSE3: return cpuid_bit(1, 0, ECX, 9);
    case FEATURE_FMA: return cpuid_bit(1, 0, ECX, 12);
    case FEATURE_CX16: return cpuid_bit(1, 0, ECX, 13);
    case FEATURE_SSE41: return cpuid_bit(1, 0, ECX, 19);
    case FEATURE_SSE42: return cpuid_bit(1, 0, ECX, 20);
    case FEATURE_MOVBE: return cpuid_bit(1, 0, ECX, 22);
    case FEATURE_POPCNT: return cpuid_bit(1, 0, ECX, 23);
    case FEATURE_AES: return cpuid_bit(1, 0, ECX, 25);
    case FEATURE_AVX: return cpuid_bit(1, 0, ECX, 28) && saves_ymm();
    case FEATURE_F16C: return cpuid_bit(1, 0, ECX, 29);
    case FEATURE_FSGSBASE: return cpuid_bit(7, 0, EBX, 0);
    case FEATURE_BMI1: return cpuid_bit(7, 0, EBX, 3);
    case FEATURE_AVX2: return cpuid_bit(7, 0, EBX, 5);
    case FEATURE_BMI2: return cpuid_bit(7, 0, EBX, 8);
    case FEATURE_INVPCID: return cpuid_bit(7, 0, EBX, 10);
    case FEATURE_ADX: return cpuid_bit(7, 0, EBX, 19);
    case FEATURE_SMAP: return cpuid_bit(7, 0, EBX, 20);
    case FEATURE_CLFLUSHOPT: return cpuid_bit(7, 0, EBX, 23);
    case FEATURE_CLWB: return cpuid_bit(7, 0, EBX, 24);
    case FEATURE_SHA: return cpuid_bit(7, 0, EBX, 29);
    case FEATURE_VAES: return cpuid_bit(7, 0, ECX, 9);
    case FEATURE_VPCLMULQDQ: return cpuid_bit(7, 0, ECX, 10);
    case FEATURE_SERIALIZE: return cpuid_bit(7, 0, EDX, 14);
    case FEATURE_LZCNT: return cpuid_bit(EXT, 0, ECX, 5);
    case FEATURE_PREFETCHW: return cpuid_bit(EXT, 0, ECX, 8);
    case FEATURE_PKU: case FEATURE_RDPID: case FEATURE_MONITOR: case FEATURE_SMX: return false;
    default: return true; /* part of every x86-64 processor */
    }
}

/* ---- the host ---- */

/* What LAR tells of a selector at this privilege: its type, DPL, L, D and G bits; 0: not there. */
static uint32_t access_rights(uint32_t selector)
{
    uint32_t rights = 0;
    __asm__("lar %1, %0\n\tjz 1f\n\txor %0, %0\n1:" : "+r"(rights) : "r"(selector) : "cc");
    return rights & 0x60fe00; /* not the accessed bit */
}

const char *host_unfit(void)
{
    enum { KERNEL_ALLOWS_FSGSBASE = 1 << 1 /* AT_HWCAP2 */, CODE_32 = 0x40fa00, DATA = 0x40f200, CODE_64 = 0x20fa00 };
    if (!host_has(FEATURE_AVX))
        return "the host has no AVX";
    if (!host_has(FEATURE_FSGSBASE) || !(getauxval(AT_HWCAP2) & KERNEL_ALLOWS_FSGSBASE))
        return "the host's kernel does not allow RDFSBASE";
    if (access_rights(CS_32) != CODE_32 || access_rights(DS_ALL) != DATA || access_rights(CS_64) != CODE_64)
        return "the host's kernel has other segments";
    return NULL;
}

/* Whether addresses of more than 47 bits can be had: CR4.LA57. */
static bool has_57_bits(void)
{
    void *at = mmap((void *)(UINT64_C(1) << 55), 0x1000, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return false;
    munmap(at, 0x1000);
    return (uintptr_t)at >= UINT64_C(1) << 47;
}

void host_detect(struct host *h)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    memset(h, 0, sizeof *h);
    host_features(h->features);
    h->avx512 = h->features[FEATURE_AVX512F / 64] >> FEATURE_AVX512F % 64 & 1;
    __get_cpuid(0, &a, &b, &c, &d);
    h->intel = b == signature_INTEL_ebx && d == signature_INTEL_edx && c == signature_INTEL_ecx;
    /* FDP on unmasked exceptions only, and FCS and FDS zero: Intel's since 2015. AMD's save no pointers without an exception. */
    h->x87_pointers = h->intel && cpuid_bit(7, 0, 1, 6) && cpuid_bit(7, 0, 1, 13);
    h->linear_bits = __get_cpuid(0x80000008, &a, &b, &c, &d) ? a >> 8 & 0xff : 48;
    h->la57 = has_57_bits();
}

/* ---- what is not drawn ---- */

static bool stores_x87_pointers(const struct insn *in)
{
    return in->op == OP_FNSTENV || in->op == OP_FNSAVE || in->op == OP_FXSAVE;
}

/* Results that are the processor's own: estimates, transcendentals, and what the manuals leave undefined. */
static bool result_is_own(const struct insn *in)
{
    switch (in->op) {
    case OP_RCPPS: case OP_RCPSS: case OP_RSQRTPS: case OP_RSQRTSS: return true;
    case OP_FPREM: case OP_FPREM1:                    /* by how much a partial remainder reduces the exponent */
    case OP_FBLD: return true;                        /* digits above 9 */
    case OP_FNSTSW: return true;                      /* condition codes that are undefined */
    case OP_VCVTPH2PS: case OP_VCVTPS2PH: case OP_DPPS: case OP_DPPD: return true; /* MXCSR flags of what comes between */
    case OP_LAR: return true;                         /* bits 19:16 */
    case OP_BSWAP: case OP_SHLD: case OP_SHRD: return in->opsize == 2;
    default: return is_transcendental(in);
    }
}

/* Forms that AMD's processors decode or execute in another way (APM vol. 3, under each). */
static bool form_is_intels(const struct insn *in)
{
    switch (in->op) {
    case OP_JCC: case OP_JMP: case OP_CALL: case OP_RET: case OP_LOOP: case OP_LOOPE: case OP_LOOPNE: case OP_JCXZ:
        return in->prefix & PFX_66;
    case OP_LFS: case OP_LGS: case OP_LSS: case OP_JMP_FAR: case OP_CALL_FAR: return in->prefix & PFX_REX_W;
    case OP_UD0: case OP_UD1: return true;            /* whether a ModRM byte follows */
    case OP_NOP: return in->map == 1 && in->opcode == 0x0d;
    case OP_PUSH_SEG: case OP_POP_SEG: case OP_ENTER: return true; /* how much is read or written */
    case OP_MOVSXD: return in->opsize == 2;           /* likewise */
    case OP_FLDCW: case OP_FLDENV: case OP_FRSTOR: return true; /* reserved bits of FCW */
    case OP_FXSAVE: case OP_FXRSTOR: case OP_LDMXCSR: return true; /* MXCSR_MASK has bit 17 */
    default: return in->feature == FEATURE_VMX || in->feature == FEATURE_SVM;
    }
}

bool host_draws(const struct host *h, const struct insn *in)
{
    if (stores_x87_pointers(in) && !h->x87_pointers)
        return false;
    return h->intel || (!result_is_own(in) && !form_is_intels(in));
}

/* ---- what is no difference ---- */

/* With 57-bit linear addresses (CR4.LA57), which the software CPU does not have, addresses are canonical that are not with 48. */
static bool is_57_bit(const struct host *h, const struct diff_case *c, const struct diff_result *n, const struct diff_result *g)
{
    if (!h->la57)
        return false;
    for (unsigned i = 0; i < c->count; i++) {
        if ((c->insns[i].op == OP_WRFSBASE || c->insns[i].op == OP_WRGSBASE) && g->vector == 13 && g->regs.rip != n->regs.rip)
            return true;
    }
    return n->vector == 14 && !is_canonical48(n->address);
}

/* Linux: #AC though EFLAGS.AC is clear is its detection of locked accesses across cache lines (split_lock_detect). */
static bool is_split_lock(const struct diff_case *c, const struct diff_result *n)
{
    return n->vector == 17 && !((n->regs.rflags | c->regs.rflags) & 0x40000);
}

/* In VMX operation (a host that runs virtual machines) VMX instructions are #GP at CPL 3, not #UD; in a guest, the hypervisor chooses. */
static bool is_virtualization(const struct insn *in, const struct diff_result *n, const struct diff_result *g)
{
    return in && (in->feature == FEATURE_VMX || in->feature == FEATURE_SVM) && g->vector == 6 && n->vector == 13;
}

static bool is_fault(unsigned vector)
{
    return vector == 6 || (vector >= 10 && vector <= 14) || vector == 17;
}

/* APM vol. 4, VMASKMOVPS: an element that is not selected may fault. */
static bool may_fault_unselected(const struct insn *in)
{
    return in->op == OP_VMASKMOVPS || in->op == OP_VMASKMOVPD || in->op == OP_VPMASKMOVD || in->op == OP_VPMASKMOVQ;
}

/*
 * Which of several faults of one instruction comes first, and what is written before it, is the processor's choice (SDM vol. 3, 7.9); which
 * accesses must be aligned differs; and a near branch to a non-canonical address faults at the branch with Intel, at its target with AMD.
 */
static bool is_other_fault(const struct insn *in, const struct diff_result *n, const struct diff_result *g)
{
    if (n->vector == 17 || g->vector == 17)
        return true;
    if (n->vector == 13 && g->vector == 13 && !is_canonical48(n->regs.rip))
        return true;
    if (in && may_fault_unselected(in) && (n->vector == 13 || n->vector == 14))
        return true;
    return in && is_fault(n->vector) && is_fault(g->vector) && n->regs.rip == g->regs.rip;
}

bool host_differs(const struct host *h, const struct diff_case *c, const struct insn *in, const struct diff_result *n,
                  const struct diff_result *g)
{
    if (is_57_bit(h, c, n, g) || is_split_lock(c, n) || is_virtualization(in, n, g))
        return true;
    return !h->intel && is_other_fault(in, n, g);
}

static bool repeats_no_time(const struct diff_case *c, const struct insn *in)
{
    return c->mode == CPU_MODE_64 && in->asize == 4 && in->prefix & (PFX_REP | PFX_REPNE) && (uint32_t)c->regs.gpr[INSN_RCX] == 0;
}

void host_gpr_masks(const struct host *h, const struct diff_case *c, const struct diff_result *n, uint64_t mask[static 16])
{
    for (unsigned i = 0; i < c->count; i++) {
        const struct insn *in = &c->insns[i];
        if (repeats_no_time(c, in)) /* whether the upper halves are cleared is not said */
            mask[INSN_RCX] = mask[INSN_RSI] = mask[INSN_RDI] = UINT32_MAX;
        if ((in->op == OP_BSF || in->op == OP_BSR) && in->opsize == 4 && n->regs.rflags & 0x40)
            mask[in->opnd[0].reg & 15] = UINT32_MAX; /* "on some older processors": SDM vol. 2, BSF */
        if (!h->intel && in->op == OP_CMPXCHG && in->opsize == 4) {
            mask[INSN_RAX] = UINT32_MAX; /* whether what is not written is zero-extended: APM vol. 3, CMPXCHG */
            if (in->opnd[0].kind == OPND_GPR)
                mask[in->opnd[0].reg & 15] = UINT32_MAX;
        }
    }
}

uint16_t host_fsw_mask(const struct host *h, const struct diff_case *c)
{
    enum { C0 = 0x100, C1 = 0x200, C2 = 0x400, C3 = 0x4000 };
    uint16_t mask = 0xffff;
    for (unsigned i = 0; i < c->count && !h->intel; i++) {
        switch (c->insns[i].op) {
        case OP_FCOM: case OP_FCOMP: case OP_FCOMPP: case OP_FUCOM: case OP_FUCOMP: case OP_FUCOMPP:
        case OP_FICOM: case OP_FICOMP: case OP_FTST: case OP_FXAM:
            mask &= (uint16_t)~C1;
            break;
        default:
            mask &= (uint16_t)~(C0 | C1 | C2 | C3);
        }
    }
    return mask;
}

uint32_t host_mxcsr_mask(const struct host *h, const struct diff_result *n)
{
    return h->intel || n->vector != 19 ? UINT32_MAX : ~0x3fu; /* which flags come with one that is unmasked */
}
