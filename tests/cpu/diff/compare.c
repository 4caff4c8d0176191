/* SPDX-License-Identifier: MIT */
/*
 * What must be equal after a case, and what the manuals leave undefined. An entry here needs its line in the SDM (volume 2, the instruction's
 * "Flags Affected", or volume 1, 8.3 and 8.6 for x87) or, for estimates and transcendentals, the documented error bound.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "diff.h"

enum { CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, OF = 0x800, ARITH = CF | PF | AF | ZF | SF | OF, RF = 0x10000 };

/* ---- undefined flags ---- */

/* The masked shift count, when it can be known from the state before: immediate, 1 or CL. */
static unsigned shift_count(const struct diff_case *c, const struct insn *in)
{
    const struct insn_opnd *o = &in->opnd[in->nopnd - 1];
    unsigned count = o->kind == OPND_IMM ? (unsigned)in->imm : (unsigned)c->regs.gpr[INSN_RCX];
    return count & (in->opsize == 8 ? 63 : 31);
}

static uint64_t undefined_after_shift(const struct diff_case *c, const struct insn *in, bool known)
{
    unsigned count = known ? shift_count(c, in) : 99, bits = in->opsize * 8;
    if (count == 0)
        return 0;
    switch (in->op) {
    case OP_ROL: case OP_ROR: case OP_RCL: case OP_RCR: return count == 1 ? 0 : OF;
    case OP_SHL: case OP_SHR: return AF | (count == 1 ? 0 : OF) | (count > bits || !known ? CF : 0) | (count == bits ? OF | CF : 0);
    case OP_SAR: return AF | (count == 1 ? 0 : OF);
    default: return count > bits || !known ? ARITH : AF | (count == 1 ? 0 : OF); /* SHLD, SHRD */
    }
}

uint64_t undefined_flags(const struct diff_case *c, const struct insn *in, bool known)
{
    switch (in->op) {
    case OP_AAA: case OP_AAS: return OF | SF | ZF | PF;
    case OP_AAD: case OP_AAM: return OF | AF | CF;
    case OP_DAA: case OP_DAS: return OF;
    case OP_AND: case OP_OR: case OP_XOR: case OP_TEST: return AF;
    case OP_ANDN: case OP_BLSI: case OP_BLSMSK: case OP_BLSR: case OP_BZHI: return AF | PF;
    case OP_BEXTR: return AF | SF | PF;
    case OP_BSF: case OP_BSR: return ARITH & ~ZF;
    case OP_BT: case OP_BTC: case OP_BTR: case OP_BTS: return OF | SF | AF | PF;
    case OP_DIV: case OP_IDIV: return ARITH;
    case OP_MUL: case OP_IMUL: return SF | ZF | AF | PF;
    case OP_LZCNT: case OP_TZCNT: return OF | SF | PF | AF;
    case OP_ROL: case OP_ROR: case OP_RCL: case OP_RCR: case OP_SHL: case OP_SHR: case OP_SAR: case OP_SHLD: case OP_SHRD:
        return undefined_after_shift(c, in, known);
    default: return 0;
    }
}

static uint64_t undefined_flags_of_case(const struct diff_case *c)
{
    uint64_t undefined = 0;
    for (unsigned i = 0; i < c->count; i++)
        undefined |= undefined_flags(c, &c->insns[i], i == 0);
    return undefined;
}

/* ---- what a faulting instruction leaves ---- */

/* The instruction that raised the exception of a result; NULL when all completed. */
static const struct insn *faulting_insn(const struct diff_case *c, const struct diff_result *n)
{
    uint64_t rip = c->regs.rip;
    for (unsigned i = 0; i < c->count; rip += c->insns[i++].length) {
        if (rip == n->regs.rip)
            return n->vector == 1 ? NULL : &c->insns[i];
    }
    return NULL;
}

/*
 * The SDM says of these that a fault may come after part of the work: the processor enters MMX state before a store from MMX or a conversion to
 * it touches memory; MASKMOVQ and MASKMOVDQU may fault though no byte is selected; VCVTPS2PH converts, flags and all, and then stores.
 */
static bool faults_late(const struct insn *in)
{
    if (in->op == OP_EVEX && in->map == 3 && in->opcode == 0x1d && in->has_mem) /* VCVTPS2PH */
        return true;
    switch (in->op) {
    case OP_MOVD: case OP_MOVQ: case OP_MOVNTQ: return in->opnd[0].kind == OPND_MEM && in->opnd[1].kind == OPND_MMX;
    case OP_CVTPI2PS: return in->opnd[1].kind == OPND_MMX;
    case OP_MASKMOVQ: case OP_MASKMOVDQU: case OP_VCVTPS2PH: case OP_CVTPS2PI: case OP_CVTTPS2PI: case OP_CVTPD2PI: case OP_CVTTPD2PI: return true;
    default: return false;
    }
}

/* Stores of more than 8 bytes: the part before a page that faults may be written. */
static bool stores_in_parts(const struct insn *in)
{
    switch (in->op) {
    case OP_FBSTP: case OP_FNSTENV: case OP_FNSAVE: case OP_FXSAVE: return true;
    default: return in->op == OP_FSTP && in->opnd[0].size == 10;
    }
}

static bool accesses_in_parts(const struct insn *in)
{
    return stores_in_parts(in) || in->op == OP_FBLD || in->op == OP_FLDENV || in->op == OP_FRSTOR || (in->op == OP_FLD && in->opnd[0].size == 10) ||
        in->op == OP_LFS || in->op == OP_LGS || in->op == OP_LSS || in->op == OP_JMP_FAR || in->op == OP_CALL_FAR;
}

/* Masked stores and state images: which byte of the operand a page fault is reported for is not said; Intel's tell the last. */
static bool fault_address_is_free(const struct insn *in)
{
    if (in->prefix & PFX_EVEX && evex_mask_register(in->payload))
        return true;
    switch (in->op) {
    case OP_VMASKMOVPS: case OP_VMASKMOVPD: case OP_VPMASKMOVD: case OP_VPMASKMOVQ: case OP_FXSAVE: case OP_FXRSTOR:
    case OP_FNSAVE: case OP_FRSTOR: case OP_FNSTENV: case OP_FLDENV: return true;
    default: return false;
    }
}

/* Whether a masked or long operand at `address` may reach beyond the lower half: #GP or #PF, by which byte is looked at first. */
static bool near_canonical_end(uint64_t address)
{
    return address + 512 >= UINT64_C(0x800000000000) && address < UINT64_C(0x800000000000) + 512;
}

/* ---- one difference ---- */

enum { LINES_MAX = 12 };

struct report { bool verbose, differs; unsigned lines; };

static void differ(struct report *r, const char *what, unsigned index, uint64_t native, uint64_t guest)
{
    r->differs = true;
    if (r->verbose && r->lines++ < LINES_MAX)
        printf("    %s%u: host %016" PRIx64 ", ours %016" PRIx64 "\n", what, index, native, guest);
}

static void compare_value(struct report *r, const char *what, unsigned index, uint64_t native, uint64_t guest)
{
    if (native != guest)
        differ(r, what, index, native, guest);
}

static void compare_fault(struct report *r, const struct diff_result *n, const struct diff_result *g, const struct insn *in)
{
    uint32_t ignored = 0;
    compare_value(r, "exception ", 0, n->vector, g->vector);
    if (in && fault_address_is_free(in))
        return;
    compare_value(r, "address ", 0, n->address, g->address);
    if (n->vector == 14 && n->address >= UINT64_C(0x7ffffffff000))
        ignored = 1; /* Linux hides whether a kernel address is present */
    compare_value(r, "error code ", 0, n->error & ~ignored, g->error & ~ignored);
}

enum { PRECISION = 0x20u };

/* The limit that exec_evex.c tells of: PE beside an overflow or underflow that is not masked. */
static bool is_imprecise(const struct diff_case *c, const struct diff_result *n)
{
    enum { XM = 19, OVERFLOW_UNDERFLOW = 0x18 };
    const struct insn *in = faulting_insn(c, n);
    uint32_t mxcsr = n->regs.mxcsr;
    return in && in->prefix & PFX_EVEX && n->vector == XM && mxcsr & ~(mxcsr >> 7) & OVERFLOW_UNDERFLOW;
}

static void compare_vectors(struct report *r, const struct diff_case *c, const struct diff_regs *n, const struct diff_regs *g,
                            uint32_t mxcsr_mask)
{
    for (unsigned i = 0; i < (c->mode == CPU_MODE_64 ? 16u : 8u); i++) {
        for (unsigned k = 0; k < 4; k++) {
            if (n->vec[i].q[k] != g->vec[i].q[k])
                differ(r, k == 0 ? "vec[63:0] " : k == 1 ? "vec[127:64] " : k == 2 ? "vec[191:128] " : "vec[255:192] ", i, n->vec[i].q[k], g->vec[i].q[k]);
        }
    }
    for (unsigned i = 0; i < 8; i++)
        compare_value(r, "k", i, n->k[i], g->k[i]);
    for (unsigned i = 0; i < 64; i++)
        compare_value(r, "zmm_high q", i, n->zmm_high[i / 4][i % 4], g->zmm_high[i / 4][i % 4]);
    for (unsigned i = 0; i < 128; i++)
        compare_value(r, "zmm16 q", i, n->zmm16[i / 8][i % 8], g->zmm16[i / 8][i % 8]);
    compare_value(r, "mxcsr ", 0, n->mxcsr & mxcsr_mask, g->mxcsr & mxcsr_mask);
}

/* Results that the processor computes only to within an ulp (SDM vol. 1, 8.3.10). */
bool is_transcendental(const struct insn *in)
{
    switch (in->op) {
    case OP_FSIN: case OP_FCOS: case OP_FSINCOS: case OP_FPTAN: case OP_FPATAN: case OP_F2XM1: case OP_FYL2X: case OP_FYL2XP1: return true;
    default: return false;
    }
}

static bool close_enough(const struct f80 *a, const struct f80 *b)
{
    /* one more than the largest significand is the smallest with the next exponent */
    int64_t d = (int64_t)(a->significand * 2 - b->significand * 2) / 2, e = a->sign_exponent - b->sign_exponent;
    return d >= -1 && d <= 1 && (e == 0 || (e == 1 && !(a->significand << 1)) || (e == -1 && !(b->significand << 1)));
}

/* What remains of FIP and FDP: processors keep as many bits as their linear addresses have. */
static uint64_t kept_bits(const struct host *host)
{
    return (UINT64_C(1) << (host->linear_bits < 57 ? host->linear_bits : 57)) - 1;
}

static void compare_x87_pointers(struct report *r, const struct host *host, const struct diff_regs *n, const struct diff_regs *g)
{
    if (!host->x87_pointers)
        return;
    uint64_t kept = kept_bits(host);
    compare_value(r, "fip ", 0, n->fip & kept, g->fip & kept);
    compare_value(r, "fdp ", 0, n->fdp & kept, g->fdp & kept);
    compare_value(r, "fop ", 0, n->fop, g->fop);
}

static void compare_x87(struct report *r, const struct host *host, const struct diff_case *c, const struct diff_regs *n,
                        const struct diff_regs *g)
{
    bool loose = is_transcendental(&c->insns[0]);
    unsigned fsw_mask = host_fsw_mask(host, c) & (loose ? ~0x220u : ~0u); /* C1 and PE follow the last bit */
    compare_value(r, "fcw ", 0, n->fcw, g->fcw);
    compare_value(r, "fsw ", 0, n->fsw & fsw_mask, g->fsw & fsw_mask);
    compare_value(r, "tags ", 0, n->tags, g->tags);
    for (unsigned i = 0; i < 8; i++) {
        if (loose && close_enough(&n->st[i], &g->st[i]))
            continue;
        compare_value(r, "st significand ", i, n->st[i].significand, g->st[i].significand);
        compare_value(r, "st exponent ", i, n->st[i].sign_exponent, g->st[i].sign_exponent);
    }
    compare_x87_pointers(r, host, n, g);
}

static void compare_memory(struct report *r, const uint8_t *n, const uint8_t *g)
{
    unsigned shown = 0;
    if (memcmp(n, g, DATA_SIZE) == 0)
        return;
    for (unsigned i = 0; i < DATA_SIZE && shown < 4; i += 8) {
        uint64_t a, b;
        memcpy(&a, n + i, 8);
        memcpy(&b, g + i, 8);
        if (a != b) {
            differ(r, "memory at data + ", i, a, b);
            shown++;
        }
    }
}

/* Null selectors 1 to 3 become 0 when the host's kernel returns to the signal handler (SDM vol. 2, IRET to an outer level). */
static uint16_t null_is_zero(uint16_t selector)
{
    return selector < 4 ? 0 : selector;
}

static void compare_segments(struct report *r, const struct host *host, const struct diff_regs *n, const struct diff_regs *g)
{
    compare_value(r, "cs ", 0, n->cs, g->cs);
    compare_value(r, "ss ", 0, n->ss, g->ss);
    compare_value(r, "ds ", 0, null_is_zero(n->ds), null_is_zero(g->ds));
    compare_value(r, "es ", 0, null_is_zero(n->es), null_is_zero(g->es));
    compare_value(r, "fs ", 0, null_is_zero(n->fs), null_is_zero(g->fs));
    compare_value(r, "gs ", 0, null_is_zero(n->gs), null_is_zero(g->gs));
    if (!host->intel && (n->fs < 4 || n->gs < 4))
        return; /* whether a null selector clears the base: APM vol. 3, CPUID Fn8000_0021_EAX[6] */
    compare_value(r, "fs base ", 0, n->fs_base, g->fs_base);
    compare_value(r, "gs base ", 0, n->gs_base, g->gs_base);
}

bool results_agree(const struct host *host, const struct diff_case *c, const struct diff_result *n, const struct diff_result *g,
                   bool verbose)
{
    static const char *const names[16] = { "rax ", "rcx ", "rdx ", "rbx ", "rsp ", "rbp ", "rsi ", "rdi ", "r8 ", "r9 ", "r10 ", "r11 ", "r12 ", "r13 ",
                                           "r14 ", "r15 " };
    struct report r = { .verbose = verbose };
    const struct insn *in = faulting_insn(c, n);
    uint64_t gpr_mask[16];
    if (host_differs(host, c, in, n, g))
        return true;
    if (in && in->prefix & PFX_EVEX && fault_address_is_free(in) && n->vector == 17 && (g->vector == 12 || g->vector == 13))
        return true; /* a masked scalar that is not aligned, over the end of the canonical addresses: moves look at the former first, arithmetic at the latter */
    if (n->vector == 14 && n->address == CODE_BASE + CODE_SIZE && g->vector == 6)
        return true; /* the host fetches the rest of what is no instruction first */
    if (in && fault_address_is_free(in) && n->vector == 13 && g->vector == 17)
        return true; /* at the end of the canonical addresses, for alignment checks come first there */
    if (in && (faults_late(in) || ((fault_address_is_free(in) || accesses_in_parts(in)) && (near_canonical_end(g->address) || near_canonical_end(n->address)))))
        return true;
    compare_fault(&r, n, g, in);
    compare_value(&r, "rip ", 0, n->regs.rip, g->regs.rip);
    memset(gpr_mask, 0xff, sizeof gpr_mask);
    host_gpr_masks(host, c, n, gpr_mask);
    if (n->regs.cs == CS_32)
        gpr_mask[INSN_RSP] = UINT32_MAX; /* the upper half does not survive a jump into 32-bit code (SDM vol. 1, 3.4.1.1) */
    for (unsigned i = 0; i < 16; i++) {
        if (c->insns[0].op == OP_LSL && c->insns[0].reg == i && (g->regs.gpr[i] & UINT32_MAX) == 0)
            continue; /* the limit that is the number of the CPU */
        compare_value(&r, names[i], i, n->regs.gpr[i] & gpr_mask[i], g->regs.gpr[i] & gpr_mask[i]);
    }
    uint64_t mask = ~(undefined_flags_of_case(c) | RF); /* RF is set in what a fault saves, not in the state before it */
    compare_value(&r, "rflags ", 0, n->regs.rflags & mask, g->regs.rflags & mask);
    compare_segments(&r, host, &n->regs, &g->regs);
    compare_vectors(&r, c, &n->regs, &g->regs, host_mxcsr_mask(host, n) & ~(is_imprecise(c, n) ? PRECISION : 0));
    compare_x87(&r, host, c, &n->regs, &g->regs);
    if (!in || !stores_in_parts(in))
        compare_memory(&r, n->memory, g->memory);
    return !r.differs;
}

/* ---- showing a case ---- */

static void print_operand(const struct insn *in, const struct insn_opnd *o)
{
    static const char *const kinds[] = { "-", "gpr", "high", "mem", "moffs", "si", "di", "xlat", "imm", "imm2", "rel", "far", "seg", "cr", "dr", "st", "mmx", "xmm", "k" };
    printf(" %s", kinds[o->kind]);
    if (o->kind == OPND_IMM || o->kind == OPND_REL)
        printf("(%" PRIx64 ")", (uint64_t)in->imm);
    else
        printf("%u:%u", o->reg, o->size);
}

void print_case(const struct diff_case *c)
{
    printf("    %d-bit at %" PRIx64 "%s, rflags %" PRIx64 ", mxcsr %x, fcw %x fsw %x\n", c->mode == CPU_MODE_64 ? 64 : 32, c->regs.rip,
           c->step ? ", one step" : "", c->regs.rflags, c->regs.mxcsr, c->regs.fcw, c->regs.fsw);
    printf("    rax %" PRIx64 " rcx %" PRIx64 " rbx %" PRIx64 " rsp %" PRIx64 " rbp %" PRIx64 " rsi %" PRIx64 " rdi %" PRIx64 " tags %x\n", c->regs.gpr[0], c->regs.gpr[1],
           c->regs.gpr[3], c->regs.gpr[4], c->regs.gpr[5], c->regs.gpr[6], c->regs.gpr[7], c->regs.tags);
    printf("    st0 %04x %016" PRIx64 " st1 %04x %016" PRIx64 "\n", c->regs.st[0].sign_exponent, c->regs.st[0].significand, c->regs.st[1].sign_exponent,
           c->regs.st[1].significand);
    unsigned at = 0;
    for (unsigned i = 0; i < c->count; i++) {
        const struct insn *in = &c->insns[i];
        printf("   ");
        for (unsigned k = 0; k < in->length; k++)
            printf(" %02x", c->code[at + k]);
        printf("  %s%s%s%s", in->prefix & PFX_LOCK ? "LOCK " : "", in->prefix & (PFX_REP | PFX_REPNE) ? "REP " : "", in->prefix & PFX_VEX ? "V:" : "", insn_op_name(in->op));
        for (unsigned k = 0; k < in->nopnd; k++)
            print_operand(in, &in->opnd[k]);
        printf("\n");
        at += in->length;
    }
}
