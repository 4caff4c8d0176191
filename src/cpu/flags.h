/* SPDX-License-Identifier: MIT */
/* flags.h - lazy arithmetic flags.
 *
 * An instruction that sets flags stores what they follow from, at most three words, and whoever reads a flag works it out. cc_op = kind | shift << 8 with
 * shift = 64 - operand bits. cc_result and cc_src1 hold the result and the first source shifted left by `shift`, so that carry, sign and overflow fall out
 * of 64-bit comparisons whatever the operand size was; the second source is their difference. SDM vol. 1, 3.4.3.1.
 */
#ifndef CPU_FLAGS_H
#define CPU_FLAGS_H

#include "cpu/cpu.h"

enum cc_kind {
    CC_KNOWN,  /* cc_result: the six flag bits                                                             */
    CC_MULTIPLY, /* as CC_RESULT, but ZF is clear: undefined after MUL and IMUL, and 0 in hardware         */
    CC_RESULT, /* ZF, SF, PF from cc_result; cc_src1: the bits of CF, OF, AF                               */
    CC_ADD, CC_ADC /* ADC with CF set: result = src1 + src2 + 1 */,
    CC_SUB, CC_SBB /* SBB with CF set */,
};

#define CC_OP(kind, shift) ((uint32_t)(kind) | (uint32_t)(shift) << 8)

static inline unsigned cc_kind(const struct cpu *cpu) { return cpu->cc_op & 0xff; }
static inline unsigned cc_shift(const struct cpu *cpu) { return cpu->cc_op >> 8; }

static inline void cc_set(struct cpu *cpu, unsigned kind, unsigned shift, uint64_t src1, uint64_t result)
{
    cpu->cc_op = CC_OP(kind, shift);
    cpu->cc_src1 = src1 << shift;
    cpu->cc_result = result << shift;
}

/* ZF, SF, PF of the result; CF, OF, AF as given. */
static inline void cc_set_result(struct cpu *cpu, unsigned shift, uint64_t result, uint32_t others)
{
    cpu->cc_op = CC_OP(CC_RESULT, shift);
    cpu->cc_src1 = others;
    cpu->cc_result = result << shift;
}

static inline void cc_set_known(struct cpu *cpu, uint32_t arith)
{
    cpu->cc_op = CC_OP(CC_KNOWN, 0);
    cpu->cc_result = arith & FLAGS_ARITH;
}

static inline uint64_t cc_src2(const struct cpu *cpu)
{
    uint64_t one = UINT64_C(1) << cc_shift(cpu), a = cpu->cc_src1, r = cpu->cc_result;
    switch (cc_kind(cpu)) {
    case CC_ADD: return r - a;
    case CC_ADC: return r - a - one;
    case CC_SUB: return a - r;
    default:     return a - r - one;
    }
}

static inline bool cc_cf(const struct cpu *cpu)
{
    uint64_t a = cpu->cc_src1, r = cpu->cc_result;
    switch (cc_kind(cpu)) {
    case CC_KNOWN:  return r & FLAG_CF;
    case CC_MULTIPLY:
    case CC_RESULT: return a & FLAG_CF;
    case CC_ADD:    return r < a;
    case CC_ADC:    return r <= a;
    case CC_SUB:    return a < a - r;
    default:        return a <= cc_src2(cpu);
    }
}

static inline bool cc_zf(const struct cpu *cpu)
{
    if (unlikely(cc_kind(cpu) <= CC_MULTIPLY))
        return cc_kind(cpu) == CC_KNOWN && cpu->cc_result & FLAG_ZF;
    return !cpu->cc_result;
}

static inline bool cc_sf(const struct cpu *cpu)
{
    return unlikely(cc_kind(cpu) == CC_KNOWN) ? cpu->cc_result >> 7 & 1 : cpu->cc_result >> 63;
}

static inline bool cc_pf(const struct cpu *cpu)
{
    if (cc_kind(cpu) == CC_KNOWN)
        return cpu->cc_result & FLAG_PF;
    return !__builtin_parity((unsigned)(cpu->cc_result >> cc_shift(cpu)) & 0xff);
}

static inline bool cc_of(const struct cpu *cpu)
{
    uint64_t a = cpu->cc_src1, r = cpu->cc_result, b;
    switch (cc_kind(cpu)) {
    case CC_KNOWN:  return r & FLAG_OF;
    case CC_MULTIPLY:
    case CC_RESULT: return a & FLAG_OF;
    case CC_ADD:
    case CC_ADC:    b = cc_src2(cpu); return ((a ^ r) & (b ^ r)) >> 63;
    default:        b = cc_src2(cpu); return ((a ^ b) & (a ^ r)) >> 63;
    }
}

static inline bool cc_af(const struct cpu *cpu)
{
    uint64_t a = cpu->cc_src1, r = cpu->cc_result;
    switch (cc_kind(cpu)) {
    case CC_KNOWN:  return r & FLAG_AF;
    case CC_MULTIPLY:
    case CC_RESULT: return a & FLAG_AF;
    default:        return (a ^ r ^ cc_src2(cpu)) >> cc_shift(cpu) & FLAG_AF;
    }
}

static inline uint32_t cc_arith(const struct cpu *cpu)
{
    if (cc_kind(cpu) == CC_KNOWN)
        return (uint32_t)cpu->cc_result;
    return (cc_cf(cpu) ? FLAG_CF : 0) | (cc_pf(cpu) ? FLAG_PF : 0) | (cc_af(cpu) ? FLAG_AF : 0) | (cc_zf(cpu) ? FLAG_ZF : 0) |
           (cc_sf(cpu) ? FLAG_SF : 0) | (cc_of(cpu) ? FLAG_OF : 0);
}

/* Condition tttn (SDM vol. 1, appendix B): cheap when `cond` is a constant. */
static inline bool cc_condition(const struct cpu *cpu, unsigned cond)
{
    bool sub = cc_kind(cpu) == CC_SUB, yes;
    uint64_t a = cpu->cc_src1, b = a - cpu->cc_result;
    switch (cond >> 1) {
    case 0:  yes = cc_of(cpu); break;
    case 1:  yes = cc_cf(cpu); break;
    case 2:  yes = cc_zf(cpu); break;
    case 3:  yes = sub ? a <= b : cc_cf(cpu) || cc_zf(cpu); break;
    case 4:  yes = cc_sf(cpu); break;
    case 5:  yes = cc_pf(cpu); break;
    case 6:  yes = sub ? (int64_t)a < (int64_t)b : cc_sf(cpu) != cc_of(cpu); break;
    default: yes = sub ? (int64_t)a <= (int64_t)b : cc_zf(cpu) || cc_sf(cpu) != cc_of(cpu); break;
    }
    return yes != (cond & 1);
}

#endif
