/* SPDX-License-Identifier: MIT */
/* exec_x87.h - inside exec_x87*.c: one x87 instruction on its way. */
#ifndef CPU_EXEC_X87_H
#define CPU_EXEC_X87_H

#include "cpu/cpu.h"
#include "cpu/softfloat.h"
#include "cpu/x87.h"

/* Exceptions are collected in env.flags (and X87_SF in stack_fault) and reach FSW in x87_commit(). */
struct x87_run {
    struct cpu *cpu;
    const struct insn *in;
    struct cpu_x87 *x;
    struct fp_env env;
    uint16_t stack_fault; /* X87_SF or 0 */
    bool c1;
    uint64_t operand;     /* FDP: offset of the memory operand */
};

/* Stack underflow or overflow: IE, SF, and C1 telling which. */
static inline void x87_stack_fault(struct x87_run *r, bool overflow)
{
    r->env.flags |= FP_IE;
    r->stack_fault = X87_SF;
    r->c1 = overflow;
}

/* True, with the exception noted, when ST(st) is empty. */
static inline bool x87_missing(struct x87_run *r, unsigned st)
{
    if (likely(!x87_is_empty(r->x, st)))
        return false;
    x87_stack_fault(r, false);
    return true;
}

/* True, with the exception noted, when there is no room for a push. */
static inline bool x87_full(struct x87_run *r)
{
    if (likely(x87_is_empty(r->x, 7)))
        return false;
    x87_stack_fault(r, true);
    return true;
}

static inline struct fp_num x87_num(const struct x87_run *r, unsigned st) { return fp_num_from_f80(x87_st(r->x, st)); }

/* Merges what happened into FSW; FOP and FDP change when something is unmasked. */
void x87_commit(struct x87_run *r);
/* Writes a result and pops, unless an unmasked exception stopped the operation; then commits. */
void x87_finish(struct x87_run *r, unsigned st, struct f80 result, unsigned pops);
/* Pushes a result, likewise. A stack overflow must have been checked: a default NaN is pushed for it. */
void x87_finish_push(struct x87_run *r, struct f80 result);

/* Instructions on registers (exec_x87_arith.c). False when it is none of them. */
bool x87_execute_register(struct x87_run *r);

enum x87_arithmetic { X87_ADD, X87_MUL, X87_SUB, X87_SUBR, X87_DIV, X87_DIVR };
struct f80 x87_compute(struct fp_env *env, enum x87_arithmetic op, struct fp_num dst, struct fp_num src);
/* FCOM with a memory operand or a register; `pops` after it. */
void x87_compare(struct x87_run *r, bool missing, struct fp_num with, bool signalling, unsigned pops);

#endif
