/* SPDX-License-Identifier: MIT */
/* handlers_move.c - moves, extensions, LEA, SETcc, CMOVcc, the 64-bit stack and other frequent instructions in decoded blocks. */
#include "cpu/handlers.h"

/* ---- MOV --------------------------------------------------------------------------------------------------------------------------------------------- */

#define MOVE_DEFINE_MEMORY(bits, form, suffix)                                          \
    static void mov##bits##_rm##suffix(struct cpu *cpu, const struct uop *u)            \
    {                                                                                   \
        UOP_LOAD(v, bits, uop_linear(cpu, u, form));                                    \
        reg_write(cpu, u->dst, bits, v);                                                \
        NEXT;                                                                           \
    }                                                                                   \
    static void mov##bits##_mr##suffix(struct cpu *cpu, const struct uop *u)            \
    {                                                                                   \
        UOP_STORE_BEGIN(m, bits, uop_linear(cpu, u, form), MEM_W);                      \
        host_write(m_host, bits, reg_read(cpu, u->src, bits));                          \
        UOP_STORE_END(m, bits);                                                         \
        NEXT;                                                                           \
    }                                                                                   \
    static void mov##bits##_mi##suffix(struct cpu *cpu, const struct uop *u)            \
    {                                                                                   \
        UOP_STORE_BEGIN(m, bits, uop_linear(cpu, u, form), MEM_W);                      \
        host_write(m_host, bits, u->imm);                                               \
        UOP_STORE_END(m, bits);                                                         \
        NEXT;                                                                           \
    }
#define MOVE_DEFINE(bits)                                                               \
    static void mov##bits##_rr(struct cpu *cpu, const struct uop *u)                    \
    {                                                                                   \
        reg_write(cpu, u->dst, bits, reg_read(cpu, u->src, bits));                      \
        NEXT;                                                                           \
    }                                                                                   \
    static void mov##bits##_ri(struct cpu *cpu, const struct uop *u)                    \
    {                                                                                   \
        reg_write(cpu, u->dst, bits, u->imm);                                           \
        NEXT;                                                                           \
    }                                                                                   \
    MOVE_DEFINE_MEMORY(bits, ADDRESS_BASE, b)                                           \
    MOVE_DEFINE_MEMORY(bits, ADDRESS_ANY, a)
MOVE_DEFINE(8) MOVE_DEFINE(16) MOVE_DEFINE(32) MOVE_DEFINE(64)

#define MOVE_ROW(bits)                                                                                                          \
    [SIZE_##bits] = { { mov##bits##_rr, mov##bits##_rr }, { mov##bits##_ri, mov##bits##_ri }, { mov##bits##_rmb, mov##bits##_rma }, \
                      { mov##bits##_mrb, mov##bits##_mra }, { mov##bits##_mib, mov##bits##_mia } },
uop_fn *const move_handlers[SIZES][MOVE_FORMS][ADDRESS_FORMS] = { MOVE_ROW(8) MOVE_ROW(16) MOVE_ROW(32) MOVE_ROW(64) };

/* ---- MOVZX, MOVSX, MOVSXD ------------------------------------------------------------------------------------------------------------------------------ */

#define EXTEND_VALUE(is_signed, from, v) ((is_signed) ? (uint64_t)((int64_t)((v) << (64 - (from))) >> (64 - (from))) : (v))
#define EXTEND_MEMORY(is_signed, from, to, form, suffix)                                              \
    static void extend##is_signed##_##from##_##to##suffix(struct cpu *cpu, const struct uop *u)       \
    {                                                                                                 \
        UOP_LOAD(v, from, uop_linear(cpu, u, form));                                                  \
        reg_write(cpu, u->dst, to, EXTEND_VALUE(is_signed, from, v));                                 \
        NEXT;                                                                                         \
    }
#define EXTEND_DEFINE(is_signed, from, to)                                                            \
    static void extend##is_signed##_##from##_##to##r(struct cpu *cpu, const struct uop *u)            \
    {                                                                                                 \
        reg_write(cpu, u->dst, to, EXTEND_VALUE(is_signed, from, reg_read(cpu, u->src, from)));       \
        NEXT;                                                                                         \
    }                                                                                                 \
    EXTEND_MEMORY(is_signed, from, to, ADDRESS_BASE, b)                                               \
    EXTEND_MEMORY(is_signed, from, to, ADDRESS_ANY, a)
#define EXTENSIONS(X) X(0, 8, 16) X(0, 8, 32) X(0, 16, 32) X(1, 8, 16) X(1, 8, 32) X(1, 8, 64) X(1, 16, 32) X(1, 16, 64) X(1, 32, 64)
EXTENSIONS(EXTEND_DEFINE)

#define EXTEND_NAME(is_signed, from, to, suffix) extend##is_signed##_##from##_##to##suffix
#define EXTEND_ROW(s, from, to) \
    [s][SIZE_##from][SIZE_##to] = { { EXTEND_NAME(s, from, to, r), EXTEND_NAME(s, from, to, r) }, { EXTEND_NAME(s, from, to, b), EXTEND_NAME(s, from, to, a) } },
uop_fn *const extend_handlers[2][3][SIZES][2][ADDRESS_FORMS] = {
    EXTENSIONS(EXTEND_ROW)
    /* zero extension to 64 bits is that to 32 */
    [0][SIZE_8][SIZE_64] = { { EXTEND_NAME(0, 8, 32, r), EXTEND_NAME(0, 8, 32, r) }, { EXTEND_NAME(0, 8, 32, b), EXTEND_NAME(0, 8, 32, a) } },
    [0][SIZE_16][SIZE_64] = { { EXTEND_NAME(0, 16, 32, r), EXTEND_NAME(0, 16, 32, r) }, { EXTEND_NAME(0, 16, 32, b), EXTEND_NAME(0, 16, 32, a) } },
};

/* ---- LEA, SETcc, CMOVcc ---------------------------------------------------------------------------------------------------------------------------------- */

#define LEA_DEFINE(bits) static void lea##bits(struct cpu *cpu, const struct uop *u) { reg_write(cpu, u->dst, bits, uop_effective(cpu, u)); NEXT; }
LEA_DEFINE(16) LEA_DEFINE(32) LEA_DEFINE(64)
uop_fn *const lea_handlers[SIZES] = { [SIZE_16] = lea16, [SIZE_32] = lea32, [SIZE_64] = lea64 };

#define CONDITIONS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)

#define CONDITIONAL_DEFINE(cond)                                                                                                            \
    static void set##cond(struct cpu *cpu, const struct uop *u) { reg_write(cpu, u->dst, 8, cc_condition(cpu, cond)); NEXT; }               \
    static void cmov32_##cond(struct cpu *cpu, const struct uop *u)                                                                         \
    {                                                                                                                                       \
        reg_write(cpu, u->dst, 32, cc_condition(cpu, cond) ? reg_read(cpu, u->src, 32) : reg_read(cpu, u->dst, 32));                        \
        NEXT;                                                                                                                               \
    }                                                                                                                                       \
    static void cmov64_##cond(struct cpu *cpu, const struct uop *u)                                                                         \
    {                                                                                                                                       \
        reg_write(cpu, u->dst, 64, cc_condition(cpu, cond) ? reg_read(cpu, u->src, 64) : reg_read(cpu, u->dst, 64));                        \
        NEXT;                                                                                                                               \
    }
CONDITIONS(CONDITIONAL_DEFINE)
#define SET_ROW(cond) set##cond,
#define CMOV_ROW(cond) { cmov32_##cond, cmov64_##cond },
uop_fn *const setcc_handlers[16] = { CONDITIONS(SET_ROW) };
uop_fn *const cmov_handlers[16][2] = { CONDITIONS(CMOV_ROW) };

/* ---- the stack, 64-bit or flat 32-bit --------------------------------------------------------------------------------------------------------------------------------------- */

#define RSP (cpu->state.gpr[REG_RSP])

#define CUT(bits, v) ((bits) == 32 ? (uint32_t)(v) : (v))

#define PUSH(bits, value)                                   \
    uint64_t pushed = (value);                              \
    UOP_STORE_BEGIN(m, bits, CUT(bits, RSP - (bits) / 8), MEM_W); \
    host_write(m_host, bits, pushed);                       \
    RSP = m_at;                                             \
    UOP_STORE_END(m, bits);                                 \
    NEXT

#define STACK_DEFINE(bits)                                                                                        \
    void uop_push##bits(struct cpu *cpu, const struct uop *u) { PUSH(bits, reg_read(cpu, u->src, bits)); }        \
    void uop_push##bits##_imm(struct cpu *cpu, const struct uop *u) { PUSH(bits, u->imm); }                       \
    void uop_pop##bits(struct cpu *cpu, const struct uop *u)                                                      \
    {                                                                                                             \
        UOP_LOAD(v, bits, CUT(bits, RSP));                                                                        \
        RSP = CUT(bits, v_at + (bits) / 8);                                                                       \
        reg_write(cpu, u->dst, bits, v);                                                                          \
        NEXT;                                                                                                     \
    }                                                                                                             \
    void uop_leave##bits(struct cpu *cpu, const struct uop *u)                                                    \
    {                                                                                                             \
        UOP_LOAD(v, bits, CUT(bits, cpu->state.gpr[REG_RBP]));                                                    \
        RSP = CUT(bits, v_at + (bits) / 8);                                                                       \
        cpu->state.gpr[REG_RBP] = v;                                                                              \
        NEXT;                                                                                                     \
    }
STACK_DEFINE(32)
STACK_DEFINE(64)

/* ---- small ones --------------------------------------------------------------------------------------------------------------------------------------------- */

void uop_nop(struct cpu *cpu, const struct uop *u) { NEXT; }

void uop_cwde(struct cpu *cpu, const struct uop *u) { cpu->state.gpr[REG_RAX] = (uint32_t)(int16_t)cpu->state.gpr[REG_RAX]; NEXT; }
void uop_cdqe(struct cpu *cpu, const struct uop *u) { cpu->state.gpr[REG_RAX] = (uint64_t)(int32_t)cpu->state.gpr[REG_RAX]; NEXT; }
void uop_cdq(struct cpu *cpu, const struct uop *u) { cpu->state.gpr[REG_RDX] = (uint32_t)((int32_t)cpu->state.gpr[REG_RAX] >> 31); NEXT; }
void uop_cqo(struct cpu *cpu, const struct uop *u) { cpu->state.gpr[REG_RDX] = (uint64_t)((int64_t)cpu->state.gpr[REG_RAX] >> 63); NEXT; }

void uop_bswap32(struct cpu *cpu, const struct uop *u) { reg_write(cpu, u->dst, 32, __builtin_bswap32((uint32_t)reg_read(cpu, u->dst, 32))); NEXT; }
void uop_bswap64(struct cpu *cpu, const struct uop *u) { reg_write(cpu, u->dst, 64, __builtin_bswap64(reg_read(cpu, u->dst, 64))); NEXT; }

#define XCHG(bits)                                                   \
    uint64_t a = reg_read(cpu, u->dst, bits);                        \
    reg_write(cpu, u->dst, bits, reg_read(cpu, u->src, bits));       \
    reg_write(cpu, u->src, bits, a);                                 \
    NEXT
void uop_xchg32(struct cpu *cpu, const struct uop *u) { XCHG(32); }
void uop_xchg64(struct cpu *cpu, const struct uop *u) { XCHG(64); }
