/* SPDX-License-Identifier: MIT */
/* handlers_branch.c - near branches of flat code at the end of decoded blocks.
 * Direct jumps of 32-bit code use the 64-bit handlers: they may leave bits above 31 in state.rip, which everybody who shows it cuts off.
 * A direct branch goes by its chain (u + 1; behind a joined pair u + 2), an indirect one by the jump cache. Other code sizes take exec_integer(). */
#include "cpu/handlers.h"

#define RSP (cpu->state.gpr[REG_RSP])
#define BEHIND(u) ((u)->offset + (u)->length)

void uop_jmp64(struct cpu *cpu, const struct uop *u)
{
    COUNT_INSTRUCTIONS(u);
    CHAIN_GO(u + 1, 1, u->disp);
}

/* 48-bit canonical addresses; others, and all of 57 bits, are for exec_integer() to judge. Flat 32-bit code may go anywhere. */
ALWAYS_INLINE bool is_plain_target(unsigned bits, uint64_t rip) { return bits == 32 || (uint64_t)((int64_t)(rip << 16) >> 16) == rip; }

ALWAYS_INLINE uint64_t cut_to(unsigned bits, uint64_t v) { return bits == 32 ? (uint32_t)v : v; }

/* Pushes the address behind; then `leave` goes on. A store that was noticed only has to be told: the block is left anyway. */
#define CALL(bits, leave)                                                               \
    UOP_STORE_BEGIN(m, bits, cut_to(bits, RSP - (bits) / 8), MEM_W);                    \
    host_write(m_host, bits, cpu->state.rip + BEHIND(u));                               \
    RSP = m_at;                                                                         \
    COUNT_INSTRUCTIONS(u);                                                              \
    atomic_signal_fence(memory_order_seq_cst);                                          \
    if (unlikely(atomic_load_explicit(m_entry->flags, memory_order_relaxed)))           \
        return leave##_noticed;                                                         \
    leave

static void call_noticed(struct cpu *cpu, uint64_t linear, uint64_t to)
{
    cpu_store_noticed(cpu, cpu_tlb_entry(cpu, linear), linear, cpu->mode == CPU_MODE_64 ? 8 : 4);
    cpu->state.rip = to;
}

#define DIRECT_noticed call_noticed(cpu, m_at, cpu->state.rip + (uint64_t)(int64_t)u->disp)
#define DIRECT CHAIN_GO(u + 1, 1, u->disp)
#define INDIRECT_noticed call_noticed(cpu, m_at, target)
#define INDIRECT cpu->state.rip = target; JUMP_GO()

#define REQUIRE_PLAIN(bits, target)                \
    if (unlikely(!is_plain_target(bits, target)))  \
        return uop_slow(cpu, u)

#define BRANCHES(bits)                                                  \
    void uop_call##bits(struct cpu *cpu, const struct uop *u)           \
    {                                                                   \
        CALL(bits, DIRECT);                                             \
    }                                                                   \
    void uop_call##bits##_reg(struct cpu *cpu, const struct uop *u)     \
    {                                                                   \
        uint64_t target = reg_read(cpu, u->src, bits);                  \
        REQUIRE_PLAIN(bits, target);                                    \
        CALL(bits, INDIRECT);                                           \
    }                                                                   \
    void uop_call##bits##_mem(struct cpu *cpu, const struct uop *u)     \
    {                                                                   \
        UOP_LOAD(target, bits, uop_linear(cpu, u, ADDRESS_ANY));        \
        REQUIRE_PLAIN(bits, target);                                    \
        CALL(bits, INDIRECT);                                           \
    }                                                                   \
    void uop_jmp##bits##_reg(struct cpu *cpu, const struct uop *u)      \
    {                                                                   \
        uint64_t target = reg_read(cpu, u->src, bits);                  \
        REQUIRE_PLAIN(bits, target);                                    \
        COUNT_INSTRUCTIONS(u);                                          \
        INDIRECT;                                                       \
    }                                                                   \
    void uop_jmp##bits##_mem(struct cpu *cpu, const struct uop *u)      \
    {                                                                   \
        UOP_LOAD(target, bits, uop_linear(cpu, u, ADDRESS_ANY));        \
        REQUIRE_PLAIN(bits, target);                                    \
        COUNT_INSTRUCTIONS(u);                                          \
        INDIRECT;                                                       \
    }                                                                   \
    void uop_ret##bits(struct cpu *cpu, const struct uop *u)            \
    {                                                                   \
        UOP_LOAD(target, bits, cut_to(bits, RSP));                      \
        REQUIRE_PLAIN(bits, target);                                    \
        RSP = cut_to(bits, RSP + (bits) / 8 + u->imm);                  \
        COUNT_INSTRUCTIONS(u);                                          \
        INDIRECT;                                                       \
    }
BRANCHES(32)
BRANCHES(64)

/* ---- Jcc ----------------------------------------------------------------------------------------------------------------------------------------------- */

#define CONDITIONS(X, ...)                                                                                                                       \
    X(0, __VA_ARGS__) X(1, __VA_ARGS__) X(2, __VA_ARGS__) X(3, __VA_ARGS__) X(4, __VA_ARGS__) X(5, __VA_ARGS__) X(6, __VA_ARGS__) X(7, __VA_ARGS__) \
    X(8, __VA_ARGS__) X(9, __VA_ARGS__) X(10, __VA_ARGS__) X(11, __VA_ARGS__) X(12, __VA_ARGS__) X(13, __VA_ARGS__) X(14, __VA_ARGS__) X(15, __VA_ARGS__)

/* `branch` is the Jcc's micro-operation. */
#define BRANCH_IF(taken, branch)                             \
    const struct uop *j = (branch);                          \
    COUNT_INSTRUCTIONS(j);                                   \
    if (taken)                                               \
        CHAIN_GO(j + 1, 1, j->disp);                         \
    CHAIN_GO(j + 1, 0, BEHIND(j))

#define JCC_DEFINE(cond, unused) static void jcc##cond(struct cpu *cpu, const struct uop *u) { BRANCH_IF(cc_condition(cpu, cond), u); }
CONDITIONS(JCC_DEFINE, )
#define JCC_ROW(cond, unused) jcc##cond,
uop_fn *const jcc_handlers[16] = { CONDITIONS(JCC_ROW, ) };

/* ---- CMP or TEST with the Jcc behind it: the condition straight from the operands -------------------------------------------------------------------------- */

ALWAYS_INLINE bool fused_condition(struct cpu *cpu, unsigned cond, bool test, unsigned bits, uint64_t a, uint64_t b)
{
    unsigned shift = 64 - bits;
    uint64_t x = a << shift, y = b << shift, r = test ? (a & b) << shift : x - y;
    bool yes;
    switch (cond >> 1) {
    case 1:  yes = test ? false : x < y; break;
    case 2:  yes = r == 0; break;
    case 3:  yes = test ? r == 0 : x <= y; break;
    case 4:  yes = r >> 63; break;
    case 6:  yes = test ? r >> 63 : (int64_t)x < (int64_t)y; break;
    case 7:  yes = test ? (int64_t)r <= 0 : (int64_t)x <= (int64_t)y; break;
    default: return cc_condition(cpu, cond); /* O and P: the flags are set already */
    }
    return yes != (cond & 1);
}

#define FUSED_BODY(cond, is_test, bits, b_value)                                                              \
    {                                                                                                         \
        uint64_t a = reg_read(cpu, u->dst, bits), b = (b_value);                                              \
        alu_flags(cpu, (is_test) ? ALU_TEST : ALU_CMP, 64 - (bits), a, (is_test) ? a & b : a - b, false);     \
        BRANCH_IF(fused_condition(cpu, cond, is_test, bits, a, b), u + 1);                                    \
    }
#define FUSED_DEFINE(cond, bits)                                                                                                                       \
    static void cmp##bits##_rr##cond(struct cpu *cpu, const struct uop *u) FUSED_BODY(cond, false, bits, reg_read(cpu, u->src, bits))                  \
    static void cmp##bits##_ri##cond(struct cpu *cpu, const struct uop *u) FUSED_BODY(cond, false, bits, u->imm)                                       \
    static void test##bits##_rr##cond(struct cpu *cpu, const struct uop *u) FUSED_BODY(cond, true, bits, reg_read(cpu, u->src, bits))
CONDITIONS(FUSED_DEFINE, 8)
CONDITIONS(FUSED_DEFINE, 32)
CONDITIONS(FUSED_DEFINE, 64)

#define FUSED_NAME(cond, name) name##cond,
#define CMP_RR_ROW(bits) [SIZE_##bits] = { CONDITIONS(FUSED_NAME, cmp##bits##_rr) },
#define CMP_RI_ROW(bits) [SIZE_##bits] = { CONDITIONS(FUSED_NAME, cmp##bits##_ri) },
#define TEST_RR_ROW(bits) [SIZE_##bits] = { CONDITIONS(FUSED_NAME, test##bits##_rr) },
uop_fn *const fused_handlers[FUSED_FORMS][SIZES][16] = {
    [FUSED_CMP_RR] = { CMP_RR_ROW(8) CMP_RR_ROW(32) CMP_RR_ROW(64) },
    [FUSED_CMP_RI] = { CMP_RI_ROW(8) CMP_RI_ROW(32) CMP_RI_ROW(64) },
    [FUSED_TEST_RR] = { TEST_RR_ROW(8) TEST_RR_ROW(32) TEST_RR_ROW(64) },
};
