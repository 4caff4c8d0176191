/* SPDX-License-Identifier: MIT */
/* exec_x87_arith.c - x87 instructions whose operands are registers of the stack: arithmetic, comparison, moves, transcendentals.
 *
 * Each checks for empty registers, computes, and ends in x87_finish(): a masked invalid operation delivers a NaN, an unmasked one leaves everything but FSW as it
 * was (SDM vol. 1, 8.5). */
#include "cpu/exec_x87.h"
#include "cpu/x87_math.h"

void x87_commit(struct x87_run *r)
{
    struct cpu_x87 *x = r->x;

    if (fp_stopped(&r->env))
        r->env.flags &= FP_PRE;
    else if (!r->stack_fault)
        r->c1 |= r->env.rounded_up;
    x->fsw = (x->fsw & ~X87_C1) | r->env.flags | r->stack_fault | (r->c1 ? X87_C1 : 0);
    x87_update_summary(x);
    if (unlikely(r->env.flags & ~r->env.masks)) {
        x->fop = (r->in->opcode & 7) << 8 | r->in->modrm;
        if (r->in->has_mem)
            x->fdp = r->operand;
    }
}

/* FCMOVcc and FCOMI leave C1 alone unless the stack faults, as processors do. */
static void commit_keeping_c1(struct x87_run *r)
{
    if (!r->stack_fault)
        r->c1 = r->x->fsw & X87_C1;
    x87_commit(r);
}

static void pop_times(struct x87_run *r, unsigned pops)
{
    while (pops--)
        x87_pop(r->x);
}

void x87_finish(struct x87_run *r, unsigned st, struct f80 result, unsigned pops)
{
    if (likely(!fp_stopped(&r->env))) {
        x87_set_st(r->x, st, result);
        pop_times(r, pops);
    }
    x87_commit(r);
}

void x87_finish_push(struct x87_run *r, struct f80 result)
{
    if (likely(!fp_stopped(&r->env)))
        x87_push(r->x, result);
    x87_commit(r);
}

struct f80 x87_compute(struct fp_env *env, enum x87_arithmetic op, struct fp_num dst, struct fp_num src)
{
    switch (op) {
    case X87_ADD:  return f80_add(env, dst, src);
    case X87_MUL:  return f80_mul(env, dst, src);
    case X87_SUB:  return f80_sub(env, dst, src);
    case X87_SUBR: return f80_sub(env, src, dst);
    case X87_DIV:  return f80_div(env, dst, src);
    default:       return f80_div(env, src, dst);
    }
}

static void arithmetic(struct x87_run *r, enum x87_arithmetic op, unsigned pops)
{
    unsigned dst = r->in->opnd[0].reg & 7, src = r->in->opnd[1].reg & 7;
    bool missing = x87_missing(r, dst) || x87_missing(r, src);

    x87_finish(r, dst, missing ? F80_DEFAULT_NAN : x87_compute(&r->env, op, x87_num(r, dst), x87_num(r, src)), pops);
}

/* ---- comparison */

static uint16_t condition_of(enum fp_order order)
{
    switch (order) {
    case FP_UNORDERED: return X87_C3 | X87_C2 | X87_C0;
    case FP_LESS:      return X87_C0;
    case FP_EQUAL:     return X87_C3;
    default:           return 0;
    }
}

static void set_condition(struct x87_run *r, uint16_t condition)
{
    r->x->fsw = (r->x->fsw & ~(X87_C3 | X87_C2 | X87_C0)) | condition;
}

void x87_compare(struct x87_run *r, bool missing, struct fp_num with, bool signalling, unsigned pops)
{
    enum fp_order order = missing ? FP_UNORDERED : f80_compare(&r->env, x87_num(r, 0), with, signalling);

    set_condition(r, condition_of(order)); /* also with an unmasked exception, as processors do */
    if (!fp_stopped(&r->env))
        pop_times(r, pops);
    x87_commit(r);
}

static void compare_register(struct x87_run *r, bool signalling, unsigned pops)
{
    unsigned src = r->in->nopnd > 1 ? r->in->opnd[1].reg & 7 : 1;
    bool missing = x87_missing(r, 0) || x87_missing(r, src);

    x87_compare(r, missing, x87_num(r, src), signalling, pops);
}

/* FCOMI and kin set ZF, PF, CF as C3, C2, C0 would be, and clear OF, SF, AF. */
static void compare_to_flags(struct x87_run *r, bool signalling, unsigned pops)
{
    unsigned src = r->in->opnd[1].reg & 7;
    bool missing = x87_missing(r, 0) || x87_missing(r, src);
    enum fp_order order = missing ? FP_UNORDERED : f80_compare(&r->env, x87_num(r, 0), x87_num(r, src), signalling);
    uint16_t condition = condition_of(order);

    cpu_flags_set_arith(r->cpu, (condition & X87_C3 ? FLAG_ZF : 0) | (condition & X87_C2 ? FLAG_PF : 0) | (condition & X87_C0 ? FLAG_CF : 0));
    if (!fp_stopped(&r->env))
        pop_times(r, pops);
    commit_keeping_c1(r);
}

/* SDM vol. 2, FXAM. */
static void examine(struct x87_run *r)
{
    struct f80 v = x87_st(r->x, 0);
    struct fp_num a = fp_num_from_f80(v);
    static const uint16_t classes[] = {
        [FP_KIND_ZERO] = X87_C3, [FP_KIND_NORMAL] = X87_C2, [FP_KIND_INF] = X87_C2 | X87_C0, [FP_KIND_QNAN] = X87_C0, [FP_KIND_SNAN] = X87_C0,
        [FP_KIND_UNSUPPORTED] = 0,
    };

    set_condition(r, x87_is_empty(r->x, 0) ? X87_C3 | X87_C0 : a.denormal ? X87_C3 | X87_C2 : classes[a.kind]);
    r->c1 = v.sign_exponent >> 15;
    x87_commit(r);
}

/* ---- moves */

static void load_register(struct x87_run *r)
{
    unsigned src = r->in->opnd[0].reg & 7;
    bool bad = x87_missing(r, src) || x87_full(r);

    x87_finish_push(r, bad ? F80_DEFAULT_NAN : x87_st(r->x, src));
}

static void store_register(struct x87_run *r, unsigned pops)
{
    if (r->in->opcode == 0xd9 && x87_is_empty(r->x, 0)) { /* the alias D9 D8+i pops an empty register silently */
        x87_pop(r->x);
        x87_commit(r);
        return;
    }
    bool missing = x87_missing(r, 0);

    x87_finish(r, r->in->opnd[0].reg & 7, missing ? F80_DEFAULT_NAN : x87_st(r->x, 0), pops);
}

static void exchange(struct x87_run *r)
{
    unsigned other = r->in->opnd[1].reg & 7;
    bool missing_top = x87_missing(r, 0), missing_other = x87_missing(r, other);
    struct f80 top = missing_top ? F80_DEFAULT_NAN : x87_st(r->x, 0), value = missing_other ? F80_DEFAULT_NAN : x87_st(r->x, other);

    if (!fp_stopped(&r->env))
        x87_set_st(r->x, other, top);
    x87_finish(r, 0, value, 0);
}

/* Opcode DA: B, E, BE, U; DB: their opposites. */
static void move_conditionally(struct x87_run *r)
{
    static const uint16_t conditions[4] = { FLAG_CF, FLAG_ZF, FLAG_CF | FLAG_ZF, FLAG_PF };
    unsigned src = r->in->opnd[1].reg & 7;
    bool missing = x87_missing(r, 0) || x87_missing(r, src), negate = r->in->opcode & 1;
    bool holds = (cpu_flags_get(r->cpu) & conditions[r->in->modrm >> 3 & 3]) != 0;

    if (!fp_stopped(&r->env))
        x87_set_st(r->x, 0, missing ? F80_DEFAULT_NAN : x87_st(r->x, holds != negate ? src : 0));
    commit_keeping_c1(r);
}

/* FCHS and FABS work on any bits. */
static void change_sign(struct x87_run *r, uint16_t and_mask, uint16_t xor_mask)
{
    struct f80 v = x87_st(r->x, 0);

    v.sign_exponent = (v.sign_exponent & and_mask) ^ xor_mask;
    x87_finish(r, 0, x87_missing(r, 0) ? F80_DEFAULT_NAN : v, 0);
}

/* Constants are rounded as RC says, silently (SDM FLDPI); hi:lo are 128 bits of the significand. */
static void load_constant(struct x87_run *r, int exp, uint64_t hi, uint64_t lo)
{
    struct fp_env env = { .rounding = r->env.rounding, .precision = 64, .masks = FP_ALL };
    bool full = x87_full(r);

    x87_finish_push(r, full ? F80_DEFAULT_NAN : hi ? f80_round_pack(&env, false, exp, hi, lo) : (struct f80){ 0, 0 });
}

static void move_top(struct x87_run *r, int by)
{
    x87_set_top(r->x, x87_top(r->x) + by);
    x87_commit(r);
}

static void free_register(struct x87_run *r, bool pop)
{
    r->x->empty |= 1u << x87_physical(r->x, r->in->opnd[0].reg & 7);
    if (pop)
        x87_pop(r->x);
    x87_commit(r);
}

/* ---- one operand */

static void round_to_integral(struct x87_run *r) { x87_finish(r, 0, x87_missing(r, 0) ? F80_DEFAULT_NAN : f80_round(&r->env, x87_num(r, 0)), 0); }
static void square_root(struct x87_run *r) { x87_finish(r, 0, x87_missing(r, 0) ? F80_DEFAULT_NAN : f80_sqrt(&r->env, x87_num(r, 0)), 0); }
static void exponential(struct x87_run *r) { x87_finish(r, 0, x87_missing(r, 0) ? F80_DEFAULT_NAN : x87_f2xm1(&r->env, x87_st(r->x, 0)), 0); }

/* ---- two operands */

static void scale(struct x87_run *r)
{
    bool missing = x87_missing(r, 0) || x87_missing(r, 1);

    x87_finish(r, 0, missing ? F80_DEFAULT_NAN : f80_scale(&r->env, x87_num(r, 0), x87_num(r, 1)), 0);
}

static void remainder_partial(struct x87_run *r, bool nearest)
{
    bool missing = x87_missing(r, 0) || x87_missing(r, 1), partial = false;
    unsigned quotient = 0;
    struct f80 result = F80_DEFAULT_NAN;

    if (!missing) {
        uint8_t masks = r->env.masks;
        if (x87_num(r, 1).kind == FP_KIND_INF)
            r->env.masks |= FP_UE; /* ST0 stays as it is, denormal or not */
        result = f80_rem(&r->env, x87_num(r, 0), x87_num(r, 1), nearest, &quotient, &partial);
        r->env.masks = masks;
    }

    bool nan = fp_num_from_f80(result).kind > FP_KIND_INF;

    if (nan || fp_stopped(&r->env)) { /* the quotient bits stay */
        r->x->fsw &= ~X87_C2;
    } else {
        set_condition(r, (partial ? X87_C2 : 0) | (quotient & 4 ? X87_C0 : 0) | (quotient & 2 ? X87_C3 : 0));
        r->c1 = quotient & 1;
    }
    x87_finish(r, 0, result, 0);
}

/* FYL2X, FYL2XP1, FPATAN: the result replaces ST1 and ST0 is popped. */
static void combine(struct x87_run *r)
{
    bool missing = x87_missing(r, 0) || x87_missing(r, 1);
    struct f80 x = x87_st(r->x, 0), y = x87_st(r->x, 1), result = F80_DEFAULT_NAN;

    if (!missing)
        result = r->in->op == OP_FYL2X ? x87_yl2x(&r->env, x, y) : r->in->op == OP_FYL2XP1 ? x87_yl2xp1(&r->env, x, y) : x87_atan(&r->env, y, x);
    x87_finish(r, 1, result, 1);
}

/* ---- two results: the first replaces ST0, the second is pushed */

static void finish_pair(struct x87_run *r, struct f80 first, struct f80 second)
{
    if (!fp_stopped(&r->env)) {
        x87_set_st(r->x, 0, first);
        x87_push(r->x, second);
    }
    x87_commit(r);
}

static void extract(struct x87_run *r)
{
    struct f80 exponent = F80_DEFAULT_NAN, significand = F80_DEFAULT_NAN;

    if (!x87_missing(r, 0) && !x87_full(r))
        significand = f80_extract(&r->env, x87_num(r, 0), &exponent);
    finish_pair(r, exponent, significand);
}

/* C2 = 1 and nothing else when the operand is out of range; a stack fault comes first. */
static bool check_range(struct x87_run *r, bool pushes)
{
    bool in_range = x87_is_empty(r->x, 0) || (pushes && !x87_is_empty(r->x, 7)) || x87_in_range(x87_st(r->x, 0));

    r->x->fsw = (r->x->fsw & ~X87_C2) | (in_range ? 0 : X87_C2);
    if (!in_range)
        x87_commit(r);
    return in_range;
}

static void sine_or_cosine(struct x87_run *r)
{
    struct f80 v = x87_st(r->x, 0);

    if (!check_range(r, false))
        return;
    x87_finish(r, 0, x87_missing(r, 0) ? F80_DEFAULT_NAN : r->in->op == OP_FSIN ? x87_sin(&r->env, v) : x87_cos(&r->env, v), 0);
}

static void sine_and_cosine(struct x87_run *r)
{
    struct f80 v = x87_st(r->x, 0), sine = F80_DEFAULT_NAN, cosine = F80_DEFAULT_NAN;

    if (!check_range(r, true))
        return;
    if (!x87_missing(r, 0) && !x87_full(r)) {
        sine = x87_sin(&r->env, v);
        cosine = x87_cos(&r->env, v);
    }
    finish_pair(r, sine, cosine);
}

static void tangent(struct x87_run *r)
{
    struct f80 v = x87_st(r->x, 0), result = F80_DEFAULT_NAN, second = F80_DEFAULT_NAN;

    if (!check_range(r, true))
        return;
    if (!x87_missing(r, 0) && !x87_full(r)) {
        result = x87_tan(&r->env, v);
        bool nan = (result.sign_exponent & 0x7fff) == 0x7fff;
        second = nan ? result : (struct f80){ UINT64_C(1) << 63, 0x3fff };
    }
    finish_pair(r, result, second);
}

static bool execute_arithmetic(struct x87_run *r)
{
    switch (r->in->op) {
    case OP_FADD: arithmetic(r, X87_ADD, 0); return true;
    case OP_FADDP: arithmetic(r, X87_ADD, 1); return true;
    case OP_FMUL: arithmetic(r, X87_MUL, 0); return true;
    case OP_FMULP: arithmetic(r, X87_MUL, 1); return true;
    case OP_FSUB: arithmetic(r, X87_SUB, 0); return true;
    case OP_FSUBP: arithmetic(r, X87_SUB, 1); return true;
    case OP_FSUBR: arithmetic(r, X87_SUBR, 0); return true;
    case OP_FSUBRP: arithmetic(r, X87_SUBR, 1); return true;
    case OP_FDIV: arithmetic(r, X87_DIV, 0); return true;
    case OP_FDIVP: arithmetic(r, X87_DIV, 1); return true;
    case OP_FDIVR: arithmetic(r, X87_DIVR, 0); return true;
    case OP_FDIVRP: arithmetic(r, X87_DIVR, 1); return true;
    case OP_FCOM: compare_register(r, true, 0); return true;
    case OP_FCOMP: compare_register(r, true, 1); return true;
    case OP_FCOMPP: compare_register(r, true, 2); return true;
    case OP_FUCOM: compare_register(r, false, 0); return true;
    case OP_FUCOMP: compare_register(r, false, 1); return true;
    case OP_FUCOMPP: compare_register(r, false, 2); return true;
    case OP_FCOMI: compare_to_flags(r, true, 0); return true;
    case OP_FCOMIP: compare_to_flags(r, true, 1); return true;
    case OP_FUCOMI: compare_to_flags(r, false, 0); return true;
    case OP_FUCOMIP: compare_to_flags(r, false, 1); return true;
    case OP_FTST: x87_compare(r, x87_missing(r, 0), (struct fp_num){ .kind = FP_KIND_ZERO }, true, 0); return true;
    default: return false;
    }
}

static bool execute_constant(struct x87_run *r)
{
    switch (r->in->op) { /* 128 bits of each significand */
    case OP_FLD1: load_constant(r, 0, UINT64_C(1) << 63, 0); return true;
    case OP_FLDZ: load_constant(r, 0, 0, 0); return true;
    case OP_FLDPI: load_constant(r, 1, UINT64_C(0xc90fdaa22168c234), UINT64_C(0xc4c6628b80dc1cd1)); return true;
    case OP_FLDL2E: load_constant(r, 0, UINT64_C(0xb8aa3b295c17f0bb), UINT64_C(0xbe87fed0691d3e89)); return true;
    case OP_FLDL2T: load_constant(r, 1, UINT64_C(0xd49a784bcd1b8afe), UINT64_C(0x492bf6ff4dafdb4d)); return true;
    case OP_FLDLG2: load_constant(r, -2, UINT64_C(0x9a209a84fbcff798), UINT64_C(0x8f8959ac0b7c9178)); return true;
    case OP_FLDLN2: load_constant(r, -1, UINT64_C(0xb17217f7d1cf79ab), UINT64_C(0xc9e3b39803f2f6af)); return true;
    default: return false;
    }
}

bool x87_execute_register(struct x87_run *r)
{
    if (execute_arithmetic(r) || execute_constant(r))
        return true;
    switch (r->in->op) {
    case OP_FLD: load_register(r); return true;
    case OP_FST: store_register(r, 0); return true;
    case OP_FSTP: store_register(r, 1); return true;
    case OP_FXCH: exchange(r); return true;
    case OP_FCMOVB: case OP_FCMOVE: case OP_FCMOVBE: case OP_FCMOVU:
    case OP_FCMOVNB: case OP_FCMOVNE: case OP_FCMOVNBE: case OP_FCMOVNU: move_conditionally(r); return true;
    case OP_FCHS: change_sign(r, 0xffff, 0x8000); return true;
    case OP_FABS: change_sign(r, 0x7fff, 0); return true;
    case OP_FXAM: examine(r); return true;
    case OP_FFREE: free_register(r, false); return true;
    case OP_FFREEP: free_register(r, true); return true;
    case OP_FINCSTP: move_top(r, 1); return true;
    case OP_FDECSTP: move_top(r, -1); return true;
    case OP_FRNDINT: round_to_integral(r); return true;
    case OP_FSQRT: square_root(r); return true;
    case OP_F2XM1: exponential(r); return true;
    case OP_FSCALE: scale(r); return true;
    case OP_FPREM: remainder_partial(r, false); return true;
    case OP_FPREM1: remainder_partial(r, true); return true;
    case OP_FYL2X: case OP_FYL2XP1: case OP_FPATAN: combine(r); return true;
    case OP_FXTRACT: extract(r); return true;
    case OP_FSIN: case OP_FCOS: sine_or_cosine(r); return true;
    case OP_FSINCOS: sine_and_cosine(r); return true;
    case OP_FPTAN: tangent(r); return true;
    case OP_FNOP: return true;
    default: return false;
    }
}
