/* SPDX-License-Identifier: MIT */
/* exec_vector_special.c - vector instructions that write general registers or RFLAGS: comparisons, scalar conversions, tests, string comparison, CRC32;
 * and those whose form chooses the function. */
#include "cpu/exec_vector.h"

/* COMISS and kin: ZF PF CF = 111 unordered, 000 greater, 001 less, 100 equal; the other arithmetic flags become 0. */
static uint32_t flags_of_order(enum fp_order order)
{
    switch (order) {
    case FP_UNORDERED: return FLAG_ZF | FLAG_PF | FLAG_CF;
    case FP_LESS:      return FLAG_CF;
    case FP_EQUAL:     return FLAG_ZF;
    default:           return 0;
    }
}

static void compare_scalar(struct cpu *cpu, const struct insn *in)
{
    struct fp_env env = fp_env_from_mxcsr(cpu->state.mxcsr);
    bool signalling = in->op == OP_COMISS || in->op == OP_COMISD, single = in->op == OP_COMISS || in->op == OP_UCOMISS;
    union vec buffer;

    vector_check(cpu, in);
    const union vec *a = &cpu->state.vec[in->opnd[0].reg & 15], *b = vector_source(cpu, in, 1, &buffer, 0);
    enum fp_order order = single ? f32_compare(&env, a->d[0], b->d[0], signalling) : f64_compare(&env, a->q[0], b->q[0], signalling);
    vector_finish_float(cpu, &env);
    cpu_flags_set_arith(cpu, flags_of_order(order));
}

/* CVTSI2SS, CVTSI2SD: a general register or memory of 4 or 8 bytes. */
static void convert_from_integer(struct cpu *cpu, const struct insn *in)
{
    struct fp_env env = fp_env_from_mxcsr(cpu->state.mxcsr);
    unsigned at = in->nopnd - 1, size = in->opnd[at].size;

    vector_check(cpu, in);
    uint64_t raw = operand_read(cpu, in, at, size);
    int64_t value = size == 8 ? (int64_t)raw : (int32_t)raw;
    union vec result = cpu->state.vec[in->opnd[at - 1].reg & 15];
    if (in->op == OP_CVTSI2SS)
        result.d[0] = f32_from_i64(&env, value);
    else
        result.q[0] = f64_from_i64(&env, value);
    vector_finish_float(cpu, &env);
    vector_write_xmm(cpu, in, in->opnd[0].reg, &result, 16);
}

static void convert_to_integer(struct cpu *cpu, const struct insn *in)
{
    struct fp_env env = fp_env_from_mxcsr(cpu->state.mxcsr);
    bool single = in->op == OP_CVTSS2SI || in->op == OP_CVTTSS2SI, wide = in->opnd[0].size == 8;
    unsigned rounding = in->op == OP_CVTTSS2SI || in->op == OP_CVTTSD2SI ? FP_ZERO : env.rounding;
    union vec buffer;
    int64_t value;

    vector_check(cpu, in);
    const union vec *b = vector_source(cpu, in, 1, &buffer, 0);
    if (single)
        value = wide ? f32_to_i64(&env, b->d[0], rounding) : f32_to_i32(&env, b->d[0], rounding);
    else
        value = wide ? f64_to_i64(&env, b->q[0], rounding) : f64_to_i32(&env, b->q[0], rounding);
    vector_finish_float(cpu, &env);
    gpr_set(cpu, in->opnd[0].reg, in->opnd[0].size, (uint64_t)value);
}

/* PTEST, VTESTPS, VTESTPD: ZF when a & b, CF when ~a & b has none of the tested bits. */
static void test_bits(struct cpu *cpu, const struct insn *in)
{
    uint64_t tested = in->op == OP_PTEST ? UINT64_MAX : in->op == OP_VTESTPS ? UINT64_C(0x8000000080000000) : UINT64_C(1) << 63;
    uint64_t both = 0, only_b = 0;
    union vec buffer;

    vector_check(cpu, in);
    const union vec *a = &cpu->state.vec[in->opnd[0].reg & 15], *b = vector_source(cpu, in, 1, &buffer, 0);
    for (unsigned i = 0; i < in->vl / 8u; i++) {
        both |= a->q[i] & b->q[i];
        only_b |= ~a->q[i] & b->q[i];
    }
    cpu_flags_set_arith(cpu, (both & tested ? 0 : FLAG_ZF) | (only_b & tested ? 0 : FLAG_CF));
}

/* PCMPxSTRx: the memory operand needs no alignment. REX.W makes the explicit lengths 64 bits wide. */
static void compare_strings(struct cpu *cpu, const struct insn *in)
{
    unsigned imm = in->imm & 0xff, la, lb;
    union vec buffer, mask;

    vector_check(cpu, in);
    const union vec *a = &cpu->state.vec[in->opnd[0].reg & 15], *b = vector_source(cpu, in, 1, &buffer, VT_UNALIGNED);
    if (in->op == OP_PCMPISTRI || in->op == OP_PCMPISTRM) {
        la = vec_string_implicit_length(a, imm);
        lb = vec_string_implicit_length(b, imm);
    } else {
        bool wide = in->prefix & PFX_REX_W && cpu->mode == CPU_MODE_64;
        uint64_t eax = cpu->state.gpr[REG_RAX], edx = cpu->state.gpr[REG_RDX];
        la = vec_string_explicit_length(wide ? (int64_t)eax : (int32_t)eax, imm);
        lb = vec_string_explicit_length(wide ? (int64_t)edx : (int32_t)edx, imm);
    }
    struct vec_string s = vec_string_compare(a, b, la, lb, imm);
    if (in->op == OP_PCMPESTRI || in->op == OP_PCMPISTRI) {
        gpr_set(cpu, REG_RCX, 4, vec_string_index(&s, imm));
    } else {
        vec_string_mask(&s, imm, &mask);
        vector_write_xmm(cpu, in, 0, &mask, 16);
    }
    cpu_flags_set_arith(cpu, vec_string_flags(&s));
}

/* VPERMILPS, VPERMILPD: indices in a vector, or in an immediate. */
static void permute_in_lanes(struct cpu *cpu, const struct insn *in)
{
    bool immediate = in->opnd[2].kind == OPND_IMM;
    union vec buffer, result;
    vec_function *function = in->op == OP_VPERMILPS ? (immediate ? vec_pshufd : vec_vpermilps) : immediate ? vec_vpermilpd_imm : vec_vpermilpd;

    vector_check(cpu, in);
    const union vec *b = vector_source(cpu, in, immediate ? 1 : 2, &buffer, 0);
    function(NULL, &result, immediate ? b : &cpu->state.vec[in->opnd[1].reg & 15], b, in->vl, in->imm & 0xff);
    vector_write_xmm(cpu, in, in->opnd[0].reg, &result, in->vl);
}

static void crc32(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[1].size;
    uint64_t data = operand_read(cpu, in, 1, size);

    gpr_set(cpu, in->opnd[0].reg, in->opnd[0].size, vec_crc32c(cpu->state.gpr[in->opnd[0].reg & 15], data, size));
}

vector_exec *vector_special(enum insn_op op)
{
    switch (op) {
    case OP_COMISS: case OP_COMISD: case OP_UCOMISS: case OP_UCOMISD: return compare_scalar;
    case OP_CVTSI2SS: case OP_CVTSI2SD: return convert_from_integer;
    case OP_CVTSS2SI: case OP_CVTSD2SI: case OP_CVTTSS2SI: case OP_CVTTSD2SI: return convert_to_integer;
    case OP_PTEST: case OP_VTESTPS: case OP_VTESTPD: return test_bits;
    case OP_PCMPESTRI: case OP_PCMPESTRM: case OP_PCMPISTRI: case OP_PCMPISTRM: return compare_strings;
    case OP_VPERMILPS: case OP_VPERMILPD: return permute_in_lanes;
    case OP_CRC32: return crc32;
    default: return NULL;
    }
}
