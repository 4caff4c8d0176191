/* SPDX-License-Identifier: MIT */
/* exec_x87.c - executes x87 instructions: availability, pending exceptions, memory operands, control instructions.
 *
 * What the guest sees: #NM by CR0.EM and TS (FWAIT: TS and MP), #MF at the next waiting instruction after an unmasked exception. Memory operands are read before
 * anything changes; a store that faults leaves FSW as it was. FIP follows every instruction that is not a control instruction; FOP and FDP only unmasked
 * exceptions; FCS and FDS are zero (CPUID.(7,0):EBX[6], [13]).
 * Limits: with CR0.NE = 0 a pending exception is not signalled (there is no FERR# pin). Transcendentals: see x87_math.c.
 * Threads: owner's only. Spec: SDM vol. 1 chapter 8; vol. 3, 2.5 and table 9-3. */
#include "cpu/exec_x87.h"
#include "cpu/decode.h"
#include "cpu/exec_vector.h"

static bool is_real(const struct cpu *cpu) { return !(cpu->state.cr0 & CR0_PE) || cpu->state.rflags & FLAG_VM; }
static unsigned environment_opsize(const struct insn *in) { return in->opsize == 2 ? 2 : 4; }

/* ---- loads */

static uint64_t memory_operand(struct x87_run *r, unsigned size)
{
    return memory_load(r->cpu, operand_linear(r->cpu, r->in, size, MEM_R), size);
}

static int64_t integer_operand(struct x87_run *r)
{
    unsigned size = r->in->opnd[0].size;
    uint64_t raw = memory_operand(r, size);

    return size == 2 ? (int16_t)raw : size == 4 ? (int32_t)raw : (int64_t)raw;
}

static struct fp_num real_operand(struct x87_run *r)
{
    unsigned size = r->in->opnd[0].size;
    uint64_t raw = memory_operand(r, size);

    return size == 4 ? fp_num_from_f32((uint32_t)raw) : fp_num_from_f64(raw);
}

static void load_real(struct x87_run *r)
{
    uint8_t bytes[10];

    if (r->in->opnd[0].size == 10) {
        cpu_load_bytes(r->cpu, operand_linear(r->cpu, r->in, 10, MEM_R), bytes, 10);
        x87_finish_push(r, x87_full(r) ? F80_DEFAULT_NAN : x87_get_f80(bytes));
    } else {
        struct fp_num value = real_operand(r);
        struct f80 loaded = x87_full(r) ? F80_DEFAULT_NAN : f80_load_num(&r->env, value);
        if (!(r->env.flags & ~r->env.masks & FP_IE)) /* an unmasked denormal exception does not hold a load back */
            x87_push(r->x, loaded);
        x87_commit(r);
    }
}

static void load_integer(struct x87_run *r)
{
    int64_t value = integer_operand(r);

    x87_finish_push(r, x87_full(r) ? F80_DEFAULT_NAN : f80_from_i64(value));
}

/* Packed BCD: 18 digits, two to a byte, and a sign byte (SDM vol. 1, 4.7). */
static void load_bcd(struct x87_run *r)
{
    uint8_t bytes[10];
    int64_t value = 0;

    cpu_load_bytes(r->cpu, operand_linear(r->cpu, r->in, 10, MEM_R), bytes, 10);
    for (int i = 8; i >= 0; i--)
        value = value * 100 + (bytes[i] >> 4) * 10 + (bytes[i] & 15);
    struct f80 v = f80_from_i64(value);
    v.sign_exponent |= (bytes[9] & 0x80) << 8;
    x87_finish_push(r, x87_full(r) ? F80_DEFAULT_NAN : v);
}

static void memory_arithmetic(struct x87_run *r, enum x87_arithmetic op, bool integer)
{
    struct fp_num src = integer ? fp_num_from_i64(integer_operand(r)) : real_operand(r);

    x87_finish(r, 0, x87_missing(r, 0) ? F80_DEFAULT_NAN : x87_compute(&r->env, op, x87_num(r, 0), src), 0);
}

static void memory_compare(struct x87_run *r, bool integer, unsigned pops)
{
    struct fp_num src = integer ? fp_num_from_i64(integer_operand(r)) : real_operand(r);

    x87_compare(r, x87_missing(r, 0), src, true, pops);
}

/* ---- stores. Unmasked overflow and underflow keep the memory as it is, unlike with a register destination (SDM vol. 1, 8.5.4). */

static bool store_allowed(const struct x87_run *r)
{
    return !(r->env.flags & ~r->env.masks & (FP_PRE | FP_OE | FP_UE));
}

static void finish_store(struct x87_run *r, const void *bytes, unsigned size, unsigned pops)
{
    bool allowed = store_allowed(r);

    if (r->env.flags & ~r->env.masks & (FP_OE | FP_UE)) { /* nothing was rounded */
        r->env.flags &= ~FP_PE;
        r->env.rounded_up = false;
    }

    if (allowed) {
        cpu_store_bytes(r->cpu, operand_linear(r->cpu, r->in, size, MEM_W), bytes, size);
        while (pops--)
            x87_pop(r->x);
    } else {
        r->env.flags &= ~FP_PE;
        r->env.rounded_up = false;
    }
    x87_commit(r);
}

static void store_real(struct x87_run *r, unsigned pops)
{
    struct f80 value = x87_missing(r, 0) ? F80_DEFAULT_NAN : x87_st(r->x, 0);
    unsigned size = r->in->opnd[0].size;
    uint8_t bytes[10];

    if (size == 4)
        store_le32(bytes, f80_to_f32(&r->env, value));
    else if (size == 8)
        store_le64(bytes, f80_to_f64(&r->env, value));
    else
        x87_put_f80(bytes, value);
    finish_store(r, bytes, size, pops);
}

static void store_integer(struct x87_run *r, unsigned rounding, unsigned pops)
{
    unsigned size = r->in->opnd[0].size;
    bool missing = x87_missing(r, 0);
    uint8_t bytes[8];

    store_le64(bytes, (uint64_t)f80_to_int(&r->env, missing ? F80_DEFAULT_NAN : x87_st(r->x, 0), size * 8, rounding));
    finish_store(r, bytes, size, pops);
}

static void store_bcd(struct x87_run *r)
{
    struct f80 v = x87_missing(r, 0) ? F80_DEFAULT_NAN : x87_st(r->x, 0);
    struct fp_env env = r->env;
    int64_t value = f80_to_int(&env, v, 64, env.rounding);
    uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
    uint8_t bytes[10] = { 0 };

    if (env.flags & FP_IE || magnitude > UINT64_C(999999999999999999)) {
        r->env.flags |= FP_IE;
        finish_store(r, "\0\0\0\0\0\0\0\xc0\xff\xff", 10, 1); /* BCD indefinite */
        return;
    }
    r->env = env;
    for (unsigned i = 0; i < 9; i++, magnitude /= 100)
        bytes[i] = magnitude % 10 | (magnitude / 10 % 10) << 4;
    bytes[9] = v.sign_exponent >> 15 << 7;
    finish_store(r, bytes, 10, 1);
}

/* ---- instructions with a memory operand */

static bool execute_memory(struct x87_run *r)
{
    switch (r->in->op) {
    case OP_FLD: load_real(r); return true;
    case OP_FILD: load_integer(r); return true;
    case OP_FBLD: load_bcd(r); return true;
    case OP_FST: store_real(r, 0); return true;
    case OP_FSTP: store_real(r, 1); return true;
    case OP_FIST: store_integer(r, r->env.rounding, 0); return true;
    case OP_FISTP: store_integer(r, r->env.rounding, 1); return true;
    case OP_FISTTP: store_integer(r, FP_ZERO, 1); return true;
    case OP_FBSTP: store_bcd(r); return true;
    case OP_FADD: memory_arithmetic(r, X87_ADD, false); return true;
    case OP_FMUL: memory_arithmetic(r, X87_MUL, false); return true;
    case OP_FSUB: memory_arithmetic(r, X87_SUB, false); return true;
    case OP_FSUBR: memory_arithmetic(r, X87_SUBR, false); return true;
    case OP_FDIV: memory_arithmetic(r, X87_DIV, false); return true;
    case OP_FDIVR: memory_arithmetic(r, X87_DIVR, false); return true;
    case OP_FIADD: memory_arithmetic(r, X87_ADD, true); return true;
    case OP_FIMUL: memory_arithmetic(r, X87_MUL, true); return true;
    case OP_FISUB: memory_arithmetic(r, X87_SUB, true); return true;
    case OP_FISUBR: memory_arithmetic(r, X87_SUBR, true); return true;
    case OP_FIDIV: memory_arithmetic(r, X87_DIV, true); return true;
    case OP_FIDIVR: memory_arithmetic(r, X87_DIVR, true); return true;
    case OP_FCOM: memory_compare(r, false, 0); return true;
    case OP_FCOMP: memory_compare(r, false, 1); return true;
    case OP_FICOM: memory_compare(r, true, 0); return true;
    case OP_FICOMP: memory_compare(r, true, 1); return true;
    default: return false;
    }
}

/* ---- control instructions: they leave FIP alone */

static void store_word(struct cpu *cpu, const struct insn *in, uint16_t value) { operand_write(cpu, in, 0, 2, value); }

/* Its first field is checked for alignment before its last for being canonical. */
static uint64_t environment_linear(struct cpu *cpu, const struct insn *in, unsigned size, uint32_t access)
{
    cpu_check_alignment(cpu, operand_linear(cpu, in, environment_opsize(in), access), environment_opsize(in));
    return operand_linear(cpu, in, size, access);
}

static void store_environment(struct cpu *cpu, const struct insn *in, bool registers)
{
    struct cpu_x87 *x = &cpu->state.x87;
    uint8_t image[28 + 80];
    unsigned size = x87_put_environment(x, image, environment_opsize(in), is_real(cpu));

    if (registers) {
        x87_put_registers(x, image + size, 10);
        size += 80;
    }
    cpu_store_bytes(cpu, environment_linear(cpu, in, size, MEM_W), image, size);
    if (registers) {
        x87_init(x);
    } else {
        x->fcw |= 0x3f;
        x87_update_summary(x);
    }
}

static void load_environment(struct cpu *cpu, const struct insn *in, bool registers)
{
    unsigned opsize = environment_opsize(in), size = 14 * opsize / 2 + (registers ? 80 : 0);
    uint8_t image[28 + 80];

    cpu_load_bytes(cpu, environment_linear(cpu, in, size, MEM_R), image, size);
    unsigned at = x87_get_environment(&cpu->state.x87, image, opsize, is_real(cpu));
    if (registers)
        x87_get_registers(&cpu->state.x87, image + at, 10);
}

static bool execute_control(struct cpu *cpu, const struct insn *in)
{
    struct cpu_x87 *x = &cpu->state.x87;

    switch (in->op) {
    case OP_FNINIT: x87_init(x); return true;
    case OP_FNCLEX: x->fsw &= 0x7f00; return true;
    case OP_FLDCW: x87_set_control(x, (uint16_t)operand_read(cpu, in, 0, 2)); return true;
    case OP_FNSTCW: store_word(cpu, in, x->fcw); return true;
    case OP_FNSTSW: store_word(cpu, in, x->fsw); return true;
    case OP_FNSTENV: store_environment(cpu, in, false); return true;
    case OP_FNSAVE: store_environment(cpu, in, true); return true;
    case OP_FLDENV: load_environment(cpu, in, false); return true;
    case OP_FRSTOR: load_environment(cpu, in, true); return true;
    case OP_FWAIT: return true;
    default: return false;
    }
}

/* FENI, FDISI and FSETPM of old do nothing at all. */
static bool is_relic(const struct insn *in) { return in->op == OP_FNOP && in->opcode == 0xdb; }

static bool is_waiting(enum insn_op op)
{
    return op != OP_FNINIT && op != OP_FNCLEX && op != OP_FNSTCW && op != OP_FNSTSW && op != OP_FNSTENV && op != OP_FNSAVE;
}

void exec_x87(struct cpu *cpu, const struct insn *in)
{
    static const uint8_t precisions[4] = { 24, 64, 53, 64 }; /* FCW.PC */
    uint16_t fcw = cpu->state.x87.fcw;
    struct x87_run r = { .cpu = cpu, .in = in, .x = &cpu->state.x87,
                         .env = { .rounding = fcw >> 10 & 3, .precision = precisions[fcw >> 8 & 3], .masks = fcw & FP_ALL } };

    if (cpu->state.cr0 & (in->op == OP_FWAIT ? 0 : CR0_EM | CR0_TS) || (in->op == OP_FWAIT && (cpu->state.cr0 & CR0_MP) && cpu->state.cr0 & CR0_TS))
        cpu_raise(cpu, EXC_NM);
    if (is_relic(in))
        return;
    if (is_waiting(in->op))
        x87_check_pending(cpu);
    if (execute_control(cpu, in))
        return;
    if (in->has_mem)
        r.operand = operand_offset(cpu, in);
    if (!(in->has_mem ? execute_memory(&r) : x87_execute_register(&r)))
        cpu_raise(cpu, EXC_UD);
    cpu->state.x87.fip = cpu->state.rip;
}
