/* SPDX-License-Identifier: MIT */
/* exec_int_alu.c - arithmetic, logic, shifts, multiplication, division and bit instructions for exec_integer().
 * Every function computes, then writes its operand (the last thing that may fault), then sets flags. SDM vol. 2. */
#include "cpu/exec_int.h"

static bool is_locked(const struct insn *in) { return in->prefix & PFX_LOCK; }

static unsigned alu_of(unsigned op)
{
    switch (op) {
    case OP_ADC: return ALU_ADC;
    case OP_ADD: return ALU_ADD;
    case OP_AND: return ALU_AND;
    case OP_CMP: return ALU_CMP;
    case OP_OR:  return ALU_OR;
    case OP_SBB: return ALU_SBB;
    case OP_SUB: return ALU_SUB;
    case OP_TEST: return ALU_TEST;
    case OP_XOR: return ALU_XOR;
    case OP_INC: return ALU_INC;
    case OP_DEC: return ALU_DEC;
    case OP_NEG: return ALU_NEG;
    default:     return ALU_NOT;
    }
}

static uint64_t compute_alu(const struct rmw_arg *arg, uint64_t old)
{
    return alu_result(arg->op, old, arg->b, arg->carry);
}

void exec_alu(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[0].size;
    struct rmw_arg arg = { .op = alu_of(in->op), .carry = cc_cf(cpu) };
    uint64_t old;
    if (in->nopnd > 1)
        arg.b = operand_read(cpu, in, 1, size);
    if (alu_writes(arg.op))
        old = rmw_operand(cpu, in, size, is_locked(in), compute_alu, &arg);
    else
        old = operand_read(cpu, in, 0, size);
    alu_flags(cpu, arg.op, shift_of(size), old, alu_result(arg.op, old, arg.b, arg.carry), arg.carry);
}

/* ---- shifts ---------------------------------------------------------------------------------------------------------------------------------------- */

static unsigned shift_op_of(unsigned op)
{
    switch (op) {
    case OP_ROL: return SHIFT_ROL;
    case OP_ROR: return SHIFT_ROR;
    case OP_RCL: return SHIFT_RCL;
    case OP_RCR: return SHIFT_RCR;
    case OP_SHL: return SHIFT_SHL;
    case OP_SHR: return SHIFT_SHR;
    default:     return SHIFT_SAR;
    }
}

static uint64_t compute_shift(const struct rmw_arg *arg, uint64_t old)
{
    return arg->count ? shift_result(arg->op, old, arg->count, arg->shift, arg->carry).result : old;
}

void exec_shift(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[0].size, shift = shift_of(size);
    uint64_t count = operand_read(cpu, in, 1, 1);
    struct rmw_arg arg = { .op = shift_op_of(in->op), .shift = shift, .count = shift_count((unsigned)count, shift), .carry = cc_cf(cpu) };
    uint64_t old = rmw_operand(cpu, in, size, false, compute_shift, &arg);
    if (!arg.count)
        return;
    struct shift_out out = shift_result(arg.op, old, arg.count, shift, arg.carry);
    bool through_carry = in->op == OP_RCL || in->op == OP_RCR;
    if (through_carry && arg.count % (size * 8 + 1) == 0) /* nothing has moved: OF, which is undefined, stays as well in hardware */
        out.of = cc_of(cpu);
    if (in->opnd[0].kind != OPND_MEM && in->opnd[1].kind == OPND_IMM)
        out.of = shift_immediate_of(cpu, arg.op, arg.count, out);
    shift_flags(cpu, arg.op, shift, out);
}

static uint64_t compute_shift_double(const struct rmw_arg *arg, uint64_t old)
{
    return arg->count ? shift_double(arg->op, old, arg->b, arg->count, arg->shift).result : old;
}

void exec_shift_double(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[0].size, shift = shift_of(size);
    struct rmw_arg arg = { .op = in->op == OP_SHLD, .shift = shift, .b = operand_read(cpu, in, 1, size) };
    arg.count = shift_count((unsigned)operand_read(cpu, in, 2, 1), shift);
    uint64_t old = rmw_operand(cpu, in, size, false, compute_shift_double, &arg);
    if (arg.count)
        shift_flags(cpu, SHIFT_SHL, shift, shift_double(arg.op, old, arg.b, arg.count, shift));
}

void exec_shift_x(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[0].size, bits = size * 8;
    uint64_t a = operand_read(cpu, in, 1, size), r;
    unsigned count = (unsigned)operand_read(cpu, in, 2, in->op == OP_RORX ? 1 : size) & (bits - 1);
    switch (in->op) {
    case OP_SHLX: r = a << count; break;
    case OP_SHRX: r = a >> count; break;
    case OP_SARX: r = (uint64_t)((int64_t)(a << (64 - bits)) >> (64 - bits) >> count); break;
    default:      r = count ? a >> count | a << (bits - count) : a; break;
    }
    operand_write(cpu, in, 0, size, r);
}

/* ---- multiplication and division ----------------------------------------------------------------------------------------------------------------- */

static int64_t sign_extend(uint64_t v, unsigned size) { return (int64_t)(v << shift_of(size)) >> shift_of(size); }

/* rDX:rAX, or AX for bytes. */
static void wide_write(struct cpu *cpu, unsigned size, unsigned __int128 v)
{
    if (size == 1) {
        gpr_set(cpu, REG_RAX, 2, (uint64_t)v);
        return;
    }
    gpr_set(cpu, REG_RAX, size, (uint64_t)v);
    gpr_set(cpu, REG_RDX, size, (uint64_t)(v >> size * 8));
}

static void imul_truncated(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[0].size, first = in->nopnd == 3 ? 1 : 0;
    __int128 product = (__int128)sign_extend(operand_read(cpu, in, first, size), size) * sign_extend(operand_read(cpu, in, first + 1, size), size);
    operand_write(cpu, in, 0, size, (uint64_t)product);
    mul_flags(cpu, shift_of(size), (uint64_t)product, product != sign_extend((uint64_t)product, size));
}

void exec_mul(struct cpu *cpu, const struct insn *in)
{
    if (in->op == OP_IMUL && in->nopnd >= 2) {
        imul_truncated(cpu, in);
        return;
    }
    if (in->op == OP_MULX) { /* destinations: high, then low: the same register holds the high half */
        unsigned size = in->opnd[0].size;
        unsigned __int128 p = (unsigned __int128)gpr_get(cpu, REG_RDX, size) * operand_read(cpu, in, 2, size);
        operand_write(cpu, in, 1, size, (uint64_t)p);
        operand_write(cpu, in, 0, size, (uint64_t)(p >> size * 8));
        return;
    }
    unsigned size = in->opnd[0].size;
    uint64_t a = gpr_get(cpu, REG_RAX, size), b = operand_read(cpu, in, 0, size);
    bool overflow;
    unsigned __int128 product;
    if (in->op == OP_IMUL) {
        __int128 p = (__int128)sign_extend(a, size) * sign_extend(b, size);
        overflow = p != sign_extend((uint64_t)p, size);
        product = (unsigned __int128)p;
    } else {
        product = (unsigned __int128)a * b;
        overflow = product >> size * 8;
    }
    wide_write(cpu, size, product);
    mul_flags(cpu, shift_of(size), (uint64_t)product, overflow);
}

static unsigned __int128 dividend_read(const struct cpu *cpu, unsigned size)
{
    if (size == 1)
        return gpr_get(cpu, REG_RAX, 2);
    return (unsigned __int128)gpr_get(cpu, REG_RDX, size) << size * 8 | gpr_get(cpu, REG_RAX, size);
}

static void quotient_write(struct cpu *cpu, unsigned size, uint64_t quotient, uint64_t remainder)
{
    if (size == 1) {
        gpr_set(cpu, REG_RAX, 2, (remainder & 0xff) << 8 | (quotient & 0xff));
        return;
    }
    gpr_set(cpu, REG_RAX, size, quotient);
    gpr_set(cpu, REG_RDX, size, remainder);
}

static void divide_signed(struct cpu *cpu, unsigned size, int64_t divisor)
{
    unsigned unused = 128 - 16 * size;
    __int128 dividend = (__int128)(dividend_read(cpu, size) << unused) >> unused;
    /* -2^127 / -1 would overflow the host's division; its quotient fits no register anyway */
    if (!divisor || (divisor == -1 && dividend == (__int128)((unsigned __int128)1 << 127)))
        cpu_raise(cpu, EXC_DE);
    __int128 quotient = dividend / divisor;
    if (quotient != sign_extend((uint64_t)quotient, size))
        cpu_raise(cpu, EXC_DE);
    quotient_write(cpu, size, (uint64_t)quotient, (uint64_t)(dividend % divisor));
}

void exec_div(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[0].size;
    uint64_t divisor = operand_read(cpu, in, 0, size);
    if (in->op == OP_IDIV) {
        divide_signed(cpu, size, sign_extend(divisor, size));
        return;
    }
    unsigned __int128 dividend = dividend_read(cpu, size);
    if (divisor && !(uint64_t)(dividend >> 64)) { /* nearly always, and many times faster on the host */
        uint64_t low = (uint64_t)dividend;
        if (size < 8 && low / divisor >> size * 8)
            cpu_raise(cpu, EXC_DE);
        quotient_write(cpu, size, low / divisor, low % divisor);
        return;
    }
    if (!divisor || dividend / divisor >> size * 8)
        cpu_raise(cpu, EXC_DE);
    quotient_write(cpu, size, (uint64_t)(dividend / divisor), (uint64_t)(dividend % divisor));
}

/* ---- bits ------------------------------------------------------------------------------------------------------------------------------------------ */

static uint64_t compute_bit(const struct rmw_arg *arg, uint64_t old)
{
    uint64_t bit = BIT(arg->count);
    switch (arg->op) {
    case OP_BTS: return old | bit;
    case OP_BTR: return old & ~bit;
    case OP_BTC: return old ^ bit;
    default:     return old;
    }
}

/* With a register as offset the bit string extends to both sides of the operand. */
static uint64_t bit_string_linear(struct cpu *cpu, const struct insn *in, unsigned size, int64_t offset)
{
    uint64_t at = operand_offset(cpu, in) + (uint64_t)((offset >> (size == 2 ? 4 : size == 4 ? 5 : 6)) * size);
    return cpu_linear(cpu, in->seg, operand_truncate(at, in->asize), size, in->op == OP_BT ? MEM_R : MEM_R | MEM_W);
}

void exec_bit_test(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[0].size;
    int64_t offset = sign_extend(operand_read(cpu, in, 1, size), size);
    struct rmw_arg arg = { .op = in->op, .count = (unsigned)offset & (size * 8 - 1) };
    uint64_t old;
    if (in->opnd[0].kind == OPND_GPR) {
        old = in->op == OP_BT ? operand_read(cpu, in, 0, size) : rmw_operand(cpu, in, size, false, compute_bit, &arg);
    } else {
        uint64_t linear = in->opnd[1].kind == OPND_IMM ? operand_linear(cpu, in, size, in->op == OP_BT ? MEM_R : MEM_R | MEM_W)
                                                       : bit_string_linear(cpu, in, size, offset);
        old = in->op == OP_BT ? memory_load(cpu, linear, size) : rmw_memory(cpu, linear, size, is_locked(in), compute_bit, &arg);
    }
    cc_set_known(cpu, (cc_arith(cpu) & ~(uint32_t)FLAG_CF) | (old >> arg.count & 1 ? FLAG_CF : 0));
}

void exec_bit_count(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[0].size, bits = size * 8;
    uint64_t v = operand_read(cpu, in, 1, size), r;
    bool has_lzcnt = cpu->features[FEATURE_LZCNT / 64] >> FEATURE_LZCNT % 64 & 1, has_bmi1 = cpu->features[FEATURE_BMI1 / 64] >> FEATURE_BMI1 % 64 & 1;
    if (in->op == OP_POPCNT) {
        operand_write(cpu, in, 0, size, (uint64_t)__builtin_popcountll(v));
        cc_set_known(cpu, v ? 0 : FLAG_ZF);
    } else if ((in->op == OP_LZCNT && has_lzcnt) || (in->op == OP_TZCNT && has_bmi1)) {
        r = !v ? bits : in->op == OP_LZCNT ? (unsigned)__builtin_clzll(v) - (64 - bits) : (unsigned)__builtin_ctzll(v);
        operand_write(cpu, in, 0, size, r);
        cc_set_known(cpu, (r ? 0 : FLAG_ZF) | (v ? 0 : FLAG_CF));
    } else if (!v) { /* BSF, BSR: the destination stays (also its upper half, as hardware does) */
        cc_set_result(cpu, shift_of(size), 0, 0);
    } else {
        bool forward = in->op == OP_BSF || in->op == OP_TZCNT;
        r = forward ? (unsigned)__builtin_ctzll(v) : 63 - (unsigned)__builtin_clzll(v);
        operand_write(cpu, in, 0, size, r);
        cc_set_known(cpu, __builtin_parity((unsigned)r) ? 0 : FLAG_PF); /* all but ZF are undefined, and this in hardware */
    }
}

/* PF is undefined, and 0 in hardware. */
static void bmi_flags(struct cpu *cpu, unsigned size, uint64_t r, bool cf)
{
    r <<= shift_of(size);
    cc_set_known(cpu, (r ? 0 : FLAG_ZF) | (r >> 63 ? FLAG_SF : 0) | (cf ? FLAG_CF : 0));
}

static void exec_bextr(struct cpu *cpu, const struct insn *in, unsigned size)
{
    uint64_t v = operand_read(cpu, in, 1, size), control = operand_read(cpu, in, 2, size);
    unsigned start = control & 0xff, len = control >> 8 & 0xff;
    v = start < size * 8 ? v >> start : 0;
    if (len < 64)
        v &= BIT(len) - 1;
    operand_write(cpu, in, 0, size, v);
    cc_set_known(cpu, operand_truncate(v, size) ? 0 : FLAG_ZF);
}

static void exec_bzhi(struct cpu *cpu, const struct insn *in, unsigned size)
{
    uint64_t v = operand_read(cpu, in, 1, size);
    unsigned n = operand_read(cpu, in, 2, size) & 0xff;
    uint64_t r = n < size * 8 ? v & (BIT(n) - 1) : v;
    operand_write(cpu, in, 0, size, r);
    bmi_flags(cpu, size, r, n >= size * 8);
}

void exec_bmi(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[0].size;
    uint64_t v, r;
    bool cf = false;
    switch (in->op) {
    case OP_BEXTR: exec_bextr(cpu, in, size); return;
    case OP_BZHI:  exec_bzhi(cpu, in, size); return;
    case OP_PDEP:  operand_write(cpu, in, 0, size, bits_deposit(operand_read(cpu, in, 1, size), operand_read(cpu, in, 2, size))); return;
    case OP_PEXT:  operand_write(cpu, in, 0, size, bits_extract(operand_read(cpu, in, 1, size), operand_read(cpu, in, 2, size))); return;
    case OP_ANDN:  r = ~operand_read(cpu, in, 1, size) & operand_read(cpu, in, 2, size); break;
    case OP_BLSI:  v = operand_read(cpu, in, 1, size); r = v & (0 - v); cf = v; break;
    case OP_BLSR:  v = operand_read(cpu, in, 1, size); r = v & (v - 1); cf = !v; break;
    default:       v = operand_read(cpu, in, 1, size); r = v ^ (v - 1); cf = !v; break;
    }
    operand_write(cpu, in, 0, size, r);
    bmi_flags(cpu, size, r, cf);
}

void exec_adx(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[0].size;
    uint32_t flags = cc_arith(cpu), bit = in->op == OP_ADCX ? FLAG_CF : FLAG_OF;
    unsigned __int128 sum = (unsigned __int128)operand_read(cpu, in, 0, size) + operand_read(cpu, in, 1, size) + (flags & bit ? 1 : 0);
    operand_write(cpu, in, 0, size, (uint64_t)sum);
    cc_set_known(cpu, (flags & ~bit) | (sum >> size * 8 ? bit : 0));
}

/* The Castagnoli polynomial 11EDC6F41h, reflected (SDM vol. 2, CRC32). */
void exec_crc32(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[1].size;
    uint64_t data = operand_read(cpu, in, 1, size);
    uint32_t crc = (uint32_t)operand_read(cpu, in, 0, 4);
    for (unsigned i = 0; i < size; i++, data >>= 8) {
        crc ^= (uint8_t)data;
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
    }
    operand_write(cpu, in, 0, in->opnd[0].size == 8 ? 8 : 4, crc);
}

void exec_bswap(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[0].size;
    uint64_t v = __builtin_bswap64(operand_read(cpu, in, 0, size)) >> shift_of(size);
    operand_write(cpu, in, 0, size, size == 2 ? 0 : v); /* BSWAP of 16 bits is undefined: hardware writes 0 */
}

/* ---- decimal (not in 64-bit mode) -------------------------------------------------------------------------------------------------------------------- */

static void exec_ascii_adjust(struct cpu *cpu, bool add)
{
    uint64_t ax = gpr_get(cpu, REG_RAX, 2);
    bool adjust = (ax & 15) > 9 || cc_af(cpu);
    if (adjust)
        ax = add ? ax + 0x106 : ax - 0x106;
    ax &= 0xff0f;
    gpr_set(cpu, REG_RAX, 2, ax);
    cc_set_result(cpu, shift_of(1), ax, adjust ? FLAG_CF | FLAG_AF : 0);
}

static void exec_decimal_adjust(struct cpu *cpu, bool add)
{
    uint8_t al = (uint8_t)cpu->state.gpr[REG_RAX], old = al;
    bool cf = cc_cf(cpu), af = cc_af(cpu), low = (al & 15) > 9 || af, high = old > 0x99 || cf;
    bool borrow = false;
    if (low) {
        borrow = add ? false : al < 6;
        al = (uint8_t)(add ? al + 6 : al - 6);
    }
    if (high)
        al = (uint8_t)(add ? al + 0x60 : al - 0x60);
    gpr_set(cpu, REG_RAX, 1, al);
    cc_set_result(cpu, shift_of(1), al, (high || (low && (borrow || cf)) ? FLAG_CF : 0) | (low ? FLAG_AF : 0));
}

void exec_bcd(struct cpu *cpu, const struct insn *in)
{
    uint8_t al = (uint8_t)cpu->state.gpr[REG_RAX], ah = (uint8_t)(cpu->state.gpr[REG_RAX] >> 8), base = (uint8_t)in->imm;
    switch (in->op) {
    case OP_AAA: exec_ascii_adjust(cpu, true); return;
    case OP_AAS: exec_ascii_adjust(cpu, false); return;
    case OP_DAA: exec_decimal_adjust(cpu, true); return;
    case OP_DAS: exec_decimal_adjust(cpu, false); return;
    case OP_AAM:
        if (!base)
            cpu_raise(cpu, EXC_DE);
        gpr_set(cpu, REG_RAX, 2, (uint64_t)(al / base) << 8 | al % base);
        cc_set_result(cpu, shift_of(1), al % base, 0);
        return;
    default: /* AAD: the flags of the addition, of which CF, OF and AF are undefined */
        gpr_set(cpu, REG_RAX, 2, (uint8_t)(al + ah * base));
        cc_set(cpu, CC_ADD, shift_of(1), al, (uint8_t)(al + ah * base));
        return;
    }
}
