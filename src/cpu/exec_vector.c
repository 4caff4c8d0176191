/* SPDX-License-Identifier: MIT */
/* exec_vector.c - executes MMX, SSE and AVX instructions: checks, operands, results. What they compute is in vector_*.c.
 *
 * What the guest sees: #UD and #NM as CR0.EM/TS, CR4.OSFXSR/OSXSAVE and XCR0 say, #MF before MMX instructions, #GP(0) for misaligned legacy operands of 16
 * bytes, #XM for unmasked MXCSR exceptions with MXCSR updated and the destination unchanged. Memory is read before anything changes.
 * Most instructions are rows of vector_ops.def and run through execute_row(); the rest is in exec_vector_move.c and exec_vector_special.c.
 * Limits: FERR# (CR0.NE = 0) is not wired; RCPPS and RSQRTPS give Intel's bits.
 * Threads: owner's only. Spec: SDM vol. 2, 2.4 (exception types 1 to 8); vol. 1, 11.5. */
#include "cpu/exec_vector.h"

struct vector_row { vec_function *function; uint8_t traits; };

/* The letters of vector_ops.def. */
enum { I = 0, F = VT_FLOAT, U = VT_UNALIGNED, A = VT_ALIGNED, T = VT_THIRD, D = VT_DEST, C = VT_COUNT };

static const struct vector_row vector_rows[OP_COUNT] = {
#define VEC(op, function, traits) [OP_##op] = { vec_##function, traits },
#include "cpu/vector_ops.def"
#undef VEC
};

void x87_check_pending(struct cpu *cpu)
{
    if (unlikely(cpu->state.x87.fsw & 0x80) && cpu->state.cr0 & CR0_NE) /* ES */
        cpu_raise(cpu, EXC_MF);
}

static bool is_protected(const struct cpu *cpu)
{
    return cpu->state.cr0 & CR0_PE && !(cpu->state.rflags & FLAG_VM);
}

void vector_check(struct cpu *cpu, const struct insn *in)
{
    const struct cpu_state *s = &cpu->state;

    if (in->prefix & PFX_VEX) {
        if (!is_protected(cpu) || !(s->cr4 & CR4_OSXSAVE) || (s->xcr0 & (XCR0_SSE | XCR0_AVX)) != (XCR0_SSE | XCR0_AVX))
            cpu_raise(cpu, EXC_UD);
    } else {
        if (s->cr0 & CR0_EM)
            cpu_raise(cpu, EXC_UD);
        if (in->vl && !(s->cr4 & CR4_OSFXSR))
            cpu_raise(cpu, EXC_UD);
    }
    if (s->cr0 & CR0_TS)
        cpu_raise(cpu, EXC_NM);
    if (insn_uses_mmx(in) || in->op == OP_EMMS)
        x87_check_pending(cpu);
}

void vector_enter_mmx(struct cpu *cpu)
{
    cpu->state.x87.fsw &= ~0x3800; /* TOP */
    cpu->state.x87.empty = 0;
}

uint64_t vector_linear(struct cpu *cpu, const struct insn *in, unsigned size, unsigned traits, uint32_t access)
{
    unsigned align = size < 16 ? 1 : in->prefix & PFX_VEX ? (traits & VT_ALIGNED ? size : 1) : traits & VT_UNALIGNED ? 1 : 16;

    return operand_linear_aligned(cpu, in, size, align, access);
}

static void load_vector(struct cpu *cpu, const struct insn *in, unsigned size, union vec *out, unsigned traits)
{
    bool any = in->op == OP_VCVTPH2PS; /* exception class 11: never checked for alignment */
    uint64_t linear = vector_linear(cpu, in, size, traits, MEM_R | (any ? MEM_UNALIGNED : 0));

    *out = (union vec){ 0 };
    if (any)
        cpu_load_bytes_slow(cpu, cpu_rights_unaligned(cpu), linear, out, size);
    else if (size <= 8)
        out->q[0] = memory_load(cpu, linear, size);
    else if (size == 16)
        cpu_load_bytes(cpu, linear, out, 16);
    else
        cpu_load_bytes(cpu, linear, out, 32);
}

const union vec *vector_source(struct cpu *cpu, const struct insn *in, unsigned i, union vec *buffer, unsigned traits)
{
    const struct insn_opnd *o = &in->opnd[i];

    if (o->kind == OPND_XMM)
        return &cpu->state.vec[o->reg & 15];
    if (o->kind == OPND_MMX)
        *buffer = (union vec){ .q = { cpu->state.x87.r[o->reg & 7].significand } };
    else
        load_vector(cpu, in, o->size, buffer, traits);
    return buffer;
}

void vector_finish_float(struct cpu *cpu, struct fp_env *env)
{
    if (likely(!(env->flags | env->settled)))
        return;
    if (fp_stopped(env)) /* the results were never computed, so their exceptions did not happen (SDM vol. 1, 11.5.3.1) */
        env->flags &= FP_PRE;
    env->flags |= env->settled;
    cpu->state.mxcsr |= env->flags;
    if (unlikely(env->flags & ~env->masks))
        cpu_raise(cpu, cpu->state.cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
}

static void write_result(struct cpu *cpu, const struct insn *in, const union vec *value, unsigned bytes, unsigned traits)
{
    const struct insn_opnd *o = &in->opnd[0];

    if (likely(o->kind == OPND_XMM)) {
        vector_write_xmm(cpu, in, o->reg, value, bytes);
        return;
    }
    if (o->kind == OPND_MMX) {
        vector_write_mmx(cpu, o->reg, value->q[0]);
        return;
    }
    uint64_t linear = vector_linear(cpu, in, o->size, traits, MEM_W);
    if (in->op == OP_VCVTPS2PH) /* exception class 11: never checked for alignment */
        cpu_store_bytes_slow(cpu, cpu_rights_unaligned(cpu), linear, value, o->size);
    else if (o->size == 8)
        cpu_store64(cpu, linear, value->q[0]);
    else
        cpu_store_bytes(cpu, linear, value, o->size);
    if (insn_uses_mmx(in))
        vector_enter_mmx(cpu);
}

/* Legacy compares know eight predicates; INSERTPS from memory has one element to choose from. */
static unsigned row_immediate(const struct insn *in)
{
    switch (in->op) {
    case OP_CMPPS: case OP_CMPPD: case OP_CMPSS: case OP_CMPSD: return in->imm & (in->prefix & PFX_VEX ? 31 : 7);
    case OP_INSERTPS: return in->imm & (in->has_mem ? 0x3f : 0xff);
    default: return in->imm & 0xff;
    }
}

/* Where the sources are: the operands are destination, [first source,] second source[, third source][, immediate]. */
static void execute_row(struct cpu *cpu, const struct insn *in, const struct vector_row *row)
{
    unsigned count = in->nopnd, traits = row->traits, imm = row_immediate(in);
    union vec first, second, third, result;
    const union vec *a, *b;

    if (traits & VT_THIRD) {
        count--;
        result = *vector_source(cpu, in, count, &third, traits);
    } else if (traits & VT_DEST) {
        result = cpu->state.vec[in->opnd[0].reg & 15];
    }
    bool immediate = in->opnd[count - 1].kind == OPND_IMM;
    count -= immediate;
    if (traits & VT_COUNT && immediate) {
        a = vector_source(cpu, in, count - 1, &first, traits);
        second = (union vec){ .q = { in->imm & 0xff } };
        b = &second;
    } else {
        b = vector_source(cpu, in, count - 1, &second, traits);
        a = in->opnd[count == 3].kind == OPND_MEM ? b : vector_source(cpu, in, count == 3, &first, traits);
    }
    unsigned bytes = in->opnd[0].kind == OPND_MMX ? 8 : in->opnd[0].size <= 8 ? 16 : in->vl;
    if (traits & VT_FLOAT) {
        struct fp_env env = fp_env_from_mxcsr(cpu->state.mxcsr);
        row->function(&env, &result, a, b, bytes, imm);
        if (in->opnd[0].kind == OPND_MEM) /* VCVTPS2PH: fault before MXCSR changes */
            cpu_probe(cpu, cpu_rights_unaligned(cpu), vector_linear(cpu, in, in->opnd[0].size, traits, MEM_W), in->opnd[0].size, MEM_W);
        if (insn_uses_mmx(in)) /* also when #XM follows */
            vector_enter_mmx(cpu);
        vector_finish_float(cpu, &env);
    } else {
        row->function(NULL, &result, a, b, bytes, imm);
    }
    write_result(cpu, in, &result, bytes, traits);
}

void exec_vector(struct cpu *cpu, const struct insn *in)
{
    const struct vector_row *row = &vector_rows[in->op < OP_COUNT ? in->op : OP_INVALID];

    if (likely(row->function)) {
        vector_check(cpu, in);
        execute_row(cpu, in, row);
        return;
    }
    if (in->op >= OP_EVEX) {
        exec_evex(cpu, in);
        return;
    }
    vector_exec *exec = vector_move(in->op);
    if (!exec)
        exec = vector_special(in->op);
    if (!exec)
        cpu_raise(cpu, EXC_UD);
    exec(cpu, in);
}
