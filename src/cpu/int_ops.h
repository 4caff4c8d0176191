/* SPDX-License-Identifier: MIT */
/* int_ops.h - the arithmetic of integer instructions on values, and the flags that follow. Shared by exec_integer() and by the handlers of decoded blocks.
 *
 * Each operation is two steps, so that an instruction can compute, then store (which may fault), then set flags:
 *     alu_result(op, a, b, carry)   the value, with junk above the operand size
 *     alu_flags(cpu, op, shift, a, r, carry)
 * `shift` is 64 - operand bits throughout. Flags that the SDM leaves undefined follow recent Intel hardware where that is known.
 */
#ifndef CPU_INT_OPS_H
#define CPU_INT_OPS_H

#include "cpu/flags.h"
#include "cpu/operand.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* The eight of opcode bits 5:3, then those that share their shape. */
enum alu_op { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP, ALU_TEST, ALU_INC, ALU_DEC, ALU_NEG, ALU_NOT };

ALWAYS_INLINE bool alu_uses_carry(unsigned op) { return op == ALU_ADC || op == ALU_SBB || op == ALU_INC || op == ALU_DEC; }
ALWAYS_INLINE bool alu_writes(unsigned op) { return op != ALU_CMP && op != ALU_TEST; }

ALWAYS_INLINE uint64_t alu_result(unsigned op, uint64_t a, uint64_t b, bool carry)
{
    switch (op) {
    case ALU_ADD: return a + b;
    case ALU_OR:  return a | b;
    case ALU_ADC: return a + b + carry;
    case ALU_SBB: return a - b - carry;
    case ALU_AND: case ALU_TEST: return a & b;
    case ALU_SUB: case ALU_CMP: return a - b;
    case ALU_XOR: return a ^ b;
    case ALU_INC: return a + 1;
    case ALU_DEC: return a - 1;
    case ALU_NEG: return 0 - a;
    default:      return ~a;
    }
}

ALWAYS_INLINE void alu_flags(struct cpu *cpu, unsigned op, unsigned shift, uint64_t a, uint64_t r, bool carry)
{
    switch (op) {
    case ALU_ADD: cc_set(cpu, CC_ADD, shift, a, r); break;
    case ALU_ADC: cc_set(cpu, carry ? CC_ADC : CC_ADD, shift, a, r); break;
    case ALU_SBB: cc_set(cpu, carry ? CC_SBB : CC_SUB, shift, a, r); break;
    case ALU_SUB: case ALU_CMP: cc_set(cpu, CC_SUB, shift, a, r); break;
    case ALU_NEG: cc_set(cpu, CC_SUB, shift, 0, r); break;
    case ALU_INC:
        cc_set_result(cpu, shift, r, (carry ? FLAG_CF : 0) | (r << shift == BIT(63) ? FLAG_OF : 0) | (r & 15 ? 0 : FLAG_AF));
        break;
    case ALU_DEC:
        cc_set_result(cpu, shift, r, (carry ? FLAG_CF : 0) | (r << shift == BIT(63) - (UINT64_C(1) << shift) ? FLAG_OF : 0) | ((r & 15) == 15 ? FLAG_AF : 0));
        break;
    case ALU_NOT: break;
    default: cc_set_result(cpu, shift, r, 0); break; /* logic: CF = OF = 0; AF undefined, 0 on Intel */
    }
}

/* Shifts and rotates. `count` is as encoded; 0 after masking changes neither value nor flags. */
enum shift_op { SHIFT_ROL, SHIFT_ROR, SHIFT_RCL, SHIFT_RCR, SHIFT_SHL, SHIFT_SHR, SHIFT_SAL /* 4's alias */, SHIFT_SAR };

ALWAYS_INLINE unsigned shift_count(unsigned count, unsigned shift) { return count & (shift ? 31 : 63); }

struct shift_out { uint64_t result; bool cf, of; };

/* `a` is zero-extended to 64 bits, count masked and not 0. OF is only defined for a count of 1; Intel's hardware has that one for every count. */
ALWAYS_INLINE struct shift_out shift_result(unsigned op, uint64_t a, unsigned count, unsigned shift, bool carry)
{
    unsigned bits = 64 - shift;
    bool top = a >> (bits - 1) & 1, second = a >> (bits - 2) & 1;
    struct shift_out out = { a, false, false };
    unsigned __int128 wide;
    switch (op) {
    case SHIFT_SHL: case SHIFT_SAL:
        wide = (unsigned __int128)a << count;
        out.result = (uint64_t)wide;
        out.cf = (bool)(wide >> bits & 1);
        out.of = top ^ second;
        break;
    case SHIFT_SHR:
        out.result = a >> count;
        out.cf = a >> (count - 1) & 1;
        out.of = top;
        break;
    case SHIFT_SAR:
        out.cf = (int64_t)(a << shift) >> shift >> (count - 1) & 1;
        out.result = (uint64_t)((int64_t)(a << shift) >> shift >> count);
        break;
    case SHIFT_ROL:
        count &= bits - 1;
        out.result = count ? a << count | a >> (bits - count) : a;
        out.cf = out.result & 1;
        out.of = top ^ second;
        break;
    case SHIFT_ROR:
        count &= bits - 1;
        out.result = count ? a >> count | a << (bits - count) : a;
        out.cf = out.result >> (bits - 1) & 1;
        out.of = top ^ (bool)(a & 1);
        break;
    case SHIFT_RCL:
        count %= bits + 1;
        wide = (unsigned __int128)carry << bits | a;
        if (count)
            wide = wide << count | wide >> (bits + 1 - count);
        out.result = (uint64_t)wide;
        out.cf = (bool)(wide >> bits & 1);
        out.of = top ^ second;
        break;
    default: /* RCR */
        count %= bits + 1;
        wide = (unsigned __int128)carry << bits | a;
        if (count)
            wide = wide >> count | wide << (bits + 1 - count);
        out.result = (uint64_t)wide;
        out.cf = (bool)(wide >> bits & 1);
        out.of = top ^ carry;
        break;
    }
    return out;
}

/* OF of a shift of a register by an immediate count: ROL and ROR leave it alone, where it is undefined, in recent Intel hardware. */
ALWAYS_INLINE bool shift_immediate_of(const struct cpu *cpu, unsigned op, unsigned count, struct shift_out out)
{
    return op <= SHIFT_ROR && count != 1 ? cc_of(cpu) : out.of;
}

ALWAYS_INLINE void shift_flags(struct cpu *cpu, unsigned op, unsigned shift, struct shift_out out)
{
    uint32_t cf_of = (out.cf ? FLAG_CF : 0) | (out.of ? FLAG_OF : 0);
    if (op <= SHIFT_RCR)
        cc_set_known(cpu, (cc_arith(cpu) & ~(uint32_t)(FLAG_CF | FLAG_OF)) | cf_of);
    else
        cc_set_result(cpu, shift, out.result, cf_of);
}

/* SHLD and SHRD; count masked, not 0. A 16-bit count above 16 takes bits of the first operand again, as Intel's hardware does. */
ALWAYS_INLINE struct shift_out shift_double(bool left, uint64_t a, uint64_t b, unsigned count, unsigned shift)
{
    unsigned bits = 64 - shift;
    struct shift_out out;
    if (bits == 16) { /* three words side by side, seen from the top by SHLD, from the bottom by SHRD */
        uint64_t wide = a << 32 | b << 16 | a;
        out.result = left ? wide << count >> 32 : wide >> count;
        out.cf = left ? wide >> (48 - count) & 1 : wide >> (count - 1) & 1;
    } else if (left) {
        out.result = a << count | b >> (bits - count);
        out.cf = a >> (bits - count) & 1;
    } else {
        out.result = a >> count | b << (bits - count);
        out.cf = a >> (count - 1) & 1;
    }
    out.of = (left ? a ^ a << 1 : a ^ b << (bits - 1)) >> (bits - 1) & 1; /* as with a count of 1, see there */
    return out;
}

ALWAYS_INLINE void mul_flags(struct cpu *cpu, unsigned shift, uint64_t low, bool overflow)
{
    cpu->cc_op = CC_OP(CC_MULTIPLY, shift);
    cpu->cc_src1 = overflow ? FLAG_CF | FLAG_OF : 0;
    cpu->cc_result = low << shift;
}

static inline uint64_t bits_deposit(uint64_t src, uint64_t mask)
{
    uint64_t r = 0;
    for (; mask; mask &= mask - 1, src >>= 1)
        r |= src & 1 ? mask & -mask : 0;
    return r;
}

static inline uint64_t bits_extract(uint64_t src, uint64_t mask)
{
    uint64_t r = 0;
    for (unsigned i = 0; mask; mask &= mask - 1, i++)
        r |= src & mask & -mask ? BIT(i) : 0;
    return r;
}

/* ---- the stack ----------------------------------------------------------------------------------------------------------------------------------- */

static inline unsigned stack_address_size(const struct cpu *cpu)
{
    return cpu->mode == 2 /* CPU_MODE_64 */ ? 8 : cpu->state.seg[SEG_SS].attributes & SEG_DB ? 4 : 2;
}

static inline void stack_pointer_set(struct cpu *cpu, uint64_t value)
{
    unsigned size = stack_address_size(cpu);
    uint64_t *rsp = &cpu->state.gpr[REG_RSP];
    *rsp = size == 2 ? (*rsp & ~UINT64_C(0xffff)) | (value & 0xffff) : operand_truncate(value, size);
}

/* Linear address of `size` bytes at rSP + offset. */
static inline uint64_t stack_linear(struct cpu *cpu, int64_t offset, unsigned size, uint32_t access)
{
    return cpu_linear(cpu, SEG_SS, operand_truncate(cpu->state.gpr[REG_RSP] + (uint64_t)offset, stack_address_size(cpu)), size, access);
}

static inline void stack_push(struct cpu *cpu, uint64_t value, unsigned size)
{
    memory_store(cpu, stack_linear(cpu, -(int64_t)size, size, MEM_W), value, size);
    stack_pointer_set(cpu, cpu->state.gpr[REG_RSP] - size);
}

/* The value on top; the caller moves rSP when nothing can fault any more. */
static inline uint64_t stack_peek(struct cpu *cpu, unsigned size)
{
    return memory_load(cpu, stack_linear(cpu, 0, size, MEM_R), size);
}

#endif
