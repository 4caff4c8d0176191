/* SPDX-License-Identifier: MIT */
/* handlers_alu.c - arithmetic, logic and shifts in decoded blocks: one body for each form, one handler for each operation, size and address form. */
#include "cpu/handlers.h"

#define SHIFT(bits) (64u - (bits))

ALWAYS_INLINE bool carry_for(struct cpu *cpu, unsigned op) { return alu_uses_carry(op) ? cc_cf(cpu) : false; }

/* register, then register or immediate */
#define ALU_REGISTER(op, bits, b_value)                                 \
    uint64_t a = reg_read(cpu, u->dst, bits), b = (b_value);            \
    bool carry = carry_for(cpu, op);                                    \
    uint64_t r = alu_result(op, a, b, carry);                           \
    if (alu_writes(op))                                                 \
        reg_write(cpu, u->dst, bits, r);                                \
    alu_flags(cpu, op, SHIFT(bits), a, r, carry);                       \
    NEXT

#define ALU_MEMORY(op, bits, form, b_value)                             \
    if (alu_writes(op)) {                                               \
        UOP_STORE_BEGIN(m, bits, uop_linear(cpu, u, form), MEM_R | MEM_W); \
        uint64_t a = host_read(m_host, bits), b = (b_value);            \
        bool carry = carry_for(cpu, op);                                \
        uint64_t r = alu_result(op, a, b, carry);                       \
        host_write(m_host, bits, r);                                    \
        alu_flags(cpu, op, SHIFT(bits), a, r, carry);                   \
        UOP_STORE_END(m, bits);                                         \
    } else {                                                            \
        UOP_LOAD(a, bits, uop_linear(cpu, u, form));                    \
        uint64_t b = (b_value);                                         \
        alu_flags(cpu, op, SHIFT(bits), a, alu_result(op, a, b, false), false); \
    }                                                                   \
    NEXT

#define ALU_DEFINE_MEMORY(OP, bits, form, suffix)                                                                                               \
    static void OP##bits##_rm##suffix(struct cpu *cpu, const struct uop *u)                                                                     \
    {                                                                                                                                           \
        UOP_LOAD(m, bits, uop_linear(cpu, u, form));                                                                                            \
        ALU_REGISTER(ALU_##OP, bits, m);                                                                                                        \
    }                                                                                                                                           \
    static void OP##bits##_mr##suffix(struct cpu *cpu, const struct uop *u) { ALU_MEMORY(ALU_##OP, bits, form, reg_read(cpu, u->src, bits)); }  \
    static void OP##bits##_mi##suffix(struct cpu *cpu, const struct uop *u) { ALU_MEMORY(ALU_##OP, bits, form, u->imm); }

#define ALU_DEFINE(OP, bits)                                                                                                       \
    static void OP##bits##_rr(struct cpu *cpu, const struct uop *u) { ALU_REGISTER(ALU_##OP, bits, reg_read(cpu, u->src, bits)); } \
    static void OP##bits##_ri(struct cpu *cpu, const struct uop *u) { ALU_REGISTER(ALU_##OP, bits, u->imm); }                      \
    ALU_DEFINE_MEMORY(OP, bits, ADDRESS_BASE, b)                                                                                   \
    ALU_DEFINE_MEMORY(OP, bits, ADDRESS_ANY, a)

#define ALU_DEFINE_SIZES(OP) ALU_DEFINE(OP, 8) ALU_DEFINE(OP, 16) ALU_DEFINE(OP, 32) ALU_DEFINE(OP, 64)
#define ALU_OPERATIONS(X) X(ADD) X(OR) X(ADC) X(SBB) X(AND) X(SUB) X(XOR) X(CMP) X(TEST)
ALU_OPERATIONS(ALU_DEFINE_SIZES)

#define ALU_ROW(OP, bits)                                                                        \
    [SIZE_##bits] = { { OP##bits##_rr, OP##bits##_rr }, { OP##bits##_ri, OP##bits##_ri },        \
                      { OP##bits##_rmb, OP##bits##_rma }, { OP##bits##_mrb, OP##bits##_mra }, { OP##bits##_mib, OP##bits##_mia } },
#define ALU_ROWS(OP) [ALU_##OP] = { ALU_ROW(OP, 8) ALU_ROW(OP, 16) ALU_ROW(OP, 32) ALU_ROW(OP, 64) },
uop_fn *const alu_handlers[ALU_TEST + 1][SIZES][FORMS][ADDRESS_FORMS] = { ALU_OPERATIONS(ALU_ROWS) };

/* ---- INC, DEC, NEG, NOT ------------------------------------------------------------------------------------------------------------------------------ */

#define UNARY_DEFINE(OP, bits)                                                                                        \
    static void OP##bits##_r(struct cpu *cpu, const struct uop *u) { ALU_REGISTER(ALU_##OP, bits, 0); }               \
    static void OP##bits##_mb(struct cpu *cpu, const struct uop *u) { ALU_MEMORY(ALU_##OP, bits, ADDRESS_BASE, 0); }  \
    static void OP##bits##_ma(struct cpu *cpu, const struct uop *u) { ALU_MEMORY(ALU_##OP, bits, ADDRESS_ANY, 0); }
#define UNARY_DEFINE_SIZES(OP) UNARY_DEFINE(OP, 8) UNARY_DEFINE(OP, 16) UNARY_DEFINE(OP, 32) UNARY_DEFINE(OP, 64)
#define UNARY_OPERATIONS(X) X(INC) X(DEC) X(NEG) X(NOT)
UNARY_OPERATIONS(UNARY_DEFINE_SIZES)

#define UNARY_ROW(OP, bits) [SIZE_##bits] = { { OP##bits##_r, OP##bits##_r }, { OP##bits##_mb, OP##bits##_ma } },
#define UNARY_ROWS(OP) [ALU_##OP - ALU_INC] = { UNARY_ROW(OP, 8) UNARY_ROW(OP, 16) UNARY_ROW(OP, 32) UNARY_ROW(OP, 64) },
uop_fn *const unary_handlers[4][SIZES][2][ADDRESS_FORMS] = { UNARY_OPERATIONS(UNARY_ROWS) };

/* ---- shifts ------------------------------------------------------------------------------------------------------------------------------------------ */

#define SHIFT_REGISTER(op, bits, count_value, immediate)                                               \
    unsigned count = (count_value);                                                                    \
    if (count) {                                                                                       \
        bool carry = (op) == SHIFT_RCL || (op) == SHIFT_RCR ? cc_cf(cpu) : false;                      \
        struct shift_out out = shift_result(op, reg_read(cpu, u->dst, bits), count, SHIFT(bits), carry); \
        reg_write(cpu, u->dst, bits, out.result);                                                      \
        if (immediate)                                                                                 \
            out.of = shift_immediate_of(cpu, op, count, out);                                          \
        shift_flags(cpu, op, SHIFT(bits), out);                                                        \
    } else if ((bits) == 32) {                                                                         \
        reg_write(cpu, u->dst, 32, reg_read(cpu, u->dst, 32)); /* the upper half goes all the same */  \
    }                                                                                                  \
    NEXT

#define SHIFT_DEFINE(OP, bits)                                                                                                           \
    static void OP##bits##_i(struct cpu *cpu, const struct uop *u) { SHIFT_REGISTER(SHIFT_##OP, bits, (unsigned)u->imm, true); }        \
    static void OP##bits##_c(struct cpu *cpu, const struct uop *u)                                                                       \
    {                                                                                                                                    \
        SHIFT_REGISTER(SHIFT_##OP, bits, shift_count(REGISTER(uint8_t, REG_RCX * 8), SHIFT(bits)), false);                               \
    }
#define SHIFT_DEFINE_SIZES(OP) SHIFT_DEFINE(OP, 8) SHIFT_DEFINE(OP, 16) SHIFT_DEFINE(OP, 32) SHIFT_DEFINE(OP, 64)
#define SHIFT_OPERATIONS(X) X(ROL) X(ROR) X(SHL) X(SHR) X(SAR)
SHIFT_OPERATIONS(SHIFT_DEFINE_SIZES)

#define SHIFT_ROW(OP, bits) [SIZE_##bits] = { OP##bits##_i, OP##bits##_c },
#define SHIFT_ROWS(OP) [SHIFT_##OP] = { SHIFT_ROW(OP, 8) SHIFT_ROW(OP, 16) SHIFT_ROW(OP, 32) SHIFT_ROW(OP, 64) },
uop_fn *const shift_handlers[8][SIZES][2] = { SHIFT_OPERATIONS(SHIFT_ROWS) };

/* ---- multiplication ------------------------------------------------------------------------------------------------------------------------------------ */

#define IMUL(bits, type, wide, a_value, b_value)                                          \
    wide product = (wide)(type)(a_value) * (type)(b_value);                               \
    reg_write(cpu, u->dst, bits, (uint64_t)product);                                      \
    mul_flags(cpu, SHIFT(bits), (uint64_t)product, product != (type)product);             \
    NEXT

void uop_imul32(struct cpu *cpu, const struct uop *u) { IMUL(32, int32_t, int64_t, reg_read(cpu, u->dst, 32), reg_read(cpu, u->src, 32)); }
void uop_imul64(struct cpu *cpu, const struct uop *u) { IMUL(64, int64_t, __int128, reg_read(cpu, u->dst, 64), reg_read(cpu, u->src, 64)); }
void uop_imul32_imm(struct cpu *cpu, const struct uop *u) { IMUL(32, int32_t, int64_t, u->imm, reg_read(cpu, u->src, 32)); }
void uop_imul64_imm(struct cpu *cpu, const struct uop *u) { IMUL(64, int64_t, __int128, u->imm, reg_read(cpu, u->src, 64)); }

void uop_mul64(struct cpu *cpu, const struct uop *u)
{
    unsigned __int128 product = (unsigned __int128)cpu->state.gpr[REG_RAX] * reg_read(cpu, u->dst, 64);
    cpu->state.gpr[REG_RAX] = (uint64_t)product;
    cpu->state.gpr[REG_RDX] = (uint64_t)(product >> 64);
    mul_flags(cpu, 0, (uint64_t)product, cpu->state.gpr[REG_RDX] != 0);
    NEXT;
}

void uop_mul32(struct cpu *cpu, const struct uop *u)
{
    uint64_t product = (uint64_t)(uint32_t)cpu->state.gpr[REG_RAX] * reg_read(cpu, u->dst, 32);
    cpu->state.gpr[REG_RAX] = (uint32_t)product;
    cpu->state.gpr[REG_RDX] = product >> 32;
    mul_flags(cpu, 32, product, product >> 32);
    NEXT;
}

/* ---- BT r, imm ----------------------------------------------------------------------------------------------------------------------------------------- */

#define BT_IMMEDIATE(bits)                                                                                                   \
    cc_set_known(cpu, (cc_arith(cpu) & ~(uint32_t)FLAG_CF) | (reg_read(cpu, u->dst, bits) >> u->imm & 1 ? FLAG_CF : 0));     \
    NEXT

void uop_bt32_imm(struct cpu *cpu, const struct uop *u) { BT_IMMEDIATE(32); }
void uop_bt64_imm(struct cpu *cpu, const struct uop *u) { BT_IMMEDIATE(64); }
