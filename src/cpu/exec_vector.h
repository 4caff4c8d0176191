/* SPDX-License-Identifier: MIT */
/* exec_vector.h - inside exec_vector*.c, exec_x87.c and exec_xsave.c: availability checks, vector operands, MXCSR exceptions. */
#ifndef CPU_EXEC_VECTOR_H
#define CPU_EXEC_VECTOR_H

#include "cpu/cpu.h"
#include "cpu/decode.h"
#include "cpu/operand.h"
#include "cpu/softfloat.h"
#include "cpu/vector.h"

enum vector_trait { VT_FLOAT = 1, VT_UNALIGNED = 2, VT_ALIGNED = 4, VT_THIRD = 8, VT_DEST = 16, VT_COUNT = 32 };

typedef void vector_exec(struct cpu *, const struct insn *);

/* The operations that vector_ops.def leaves out; NULL for others (exec_vector_special.c and _move.c). */
vector_exec *vector_special(enum insn_op op);
vector_exec *vector_move(enum insn_op op);

/* #UD, #NM and #MF by CR0, CR4, XCR0 and FSW (SDM vol. 2, 2.4 exception classes, vol. 3 table 13-1). */
void vector_check(struct cpu *, const struct insn *);
/* Pending unmasked x87 exception: #MF. With CR0.NE = 0 a PC signals it on a pin instead, which goes nowhere here. */
void x87_check_pending(struct cpu *);
/* An MMX instruction: TOP becomes 0 and all tags valid (SDM vol. 1, 9.5.1). To be called after everything that can fault. */
void vector_enter_mmx(struct cpu *);

static inline bool insn_uses_mmx(const struct insn *in)
{
    return in->opnd[0].kind == OPND_MMX || in->opnd[1].kind == OPND_MMX || in->opnd[2].kind == OPND_MMX;
}

/* The linear address of a vector memory operand of `size` bytes, alignment checked as the form and the traits ask. */
uint64_t vector_linear(struct cpu *, const struct insn *, unsigned size, unsigned traits, uint32_t access);
/* Operand `i` as a value: a pointer to the register, or to *buffer. Memory is zero-extended. */
const union vec *vector_source(struct cpu *, const struct insn *, unsigned i, union vec *buffer, unsigned traits);

/* What a VEX form does to a register above its YMM half. */
static inline void vector_clear_zmm(struct cpu *cpu, unsigned reg)
{
    memset(cpu->state.zmm_high[reg & 15], 0, sizeof cpu->state.zmm_high[0]);
}

/* Writes an XMM or YMM destination: legacy forms keep what lies above 16 bytes, VEX forms clear what lies above `bytes`. */
static inline void vector_write_xmm(struct cpu *cpu, const struct insn *in, unsigned reg, const union vec *value, unsigned bytes)
{
    union vec *r = &cpu->state.vec[reg & 15];

    r->q[0] = value->q[0];
    r->q[1] = value->q[1];
    if (in->prefix & PFX_VEX) {
        r->q[2] = bytes > 16 ? value->q[2] : 0;
        r->q[3] = bytes > 16 ? value->q[3] : 0;
        vector_clear_zmm(cpu, reg);
    }
}

static inline void vector_write_mmx(struct cpu *cpu, unsigned reg, uint64_t value)
{
    vector_enter_mmx(cpu);
    cpu->state.x87.r[reg & 7] = (struct f80){ value, 0xffff };
}

/* Merges env->flags into MXCSR; #XM (or #UD without OSXMMEXCPT) when one of them is unmasked. */
void vector_finish_float(struct cpu *, struct fp_env *env);

#endif
