/* SPDX-License-Identifier: MIT */
/* softfloat_core.h - inside softfloat*.c: unpacking, the arithmetic on unpacked numbers, and rounding.
 *
 * Arithmetic is exact or "jammed": a significand of 128 bits, bit 127 set, whose lowest bit stands for everything below it. Rounding happens
 * once, in the pack functions. The format is a constant in each caller, so that the compiler specialises everything. */
#ifndef CPU_SOFTFLOAT_CORE_H
#define CPU_SOFTFLOAT_CORE_H

#include "base/bits.h"
#include "cpu/softfloat.h"

#define FP_INLINE static inline __attribute__((always_inline))

__extension__ typedef unsigned __int128 fp_u128;

struct fp_format { int precision, exponent_bits, emin, emax; };
static const struct fp_format fp_f16 = { 11, 5, -14, 15 };
static const struct fp_format fp_f32 = { 24, 8, -126, 127 };
static const struct fp_format fp_f64 = { 53, 11, -1022, 1023 };

/* A finite nonzero result before rounding: sig * 2^(exp - 127), bit 127 set. sig == 0: an exact zero. */
struct fp_wide { fp_u128 sig; int32_t exp; bool sign; };

#define FP_TOP   (UINT64_C(1) << 63)
#define FP_QUIET (UINT64_C(1) << 62)

FP_INLINE bool fp_is_nan(struct fp_num a) { return a.kind == FP_KIND_QNAN || a.kind == FP_KIND_SNAN; }

FP_INLINE uint64_t fp_shift_jam64(uint64_t v, unsigned n)
{
    if (n == 0) return v;
    if (n > 63) return v != 0;
    return v >> n | ((v << (64 - n)) != 0);
}

FP_INLINE fp_u128 fp_shift_jam128(fp_u128 v, unsigned n)
{
    if (n == 0) return v;
    if (n > 127) return v != 0;
    return v >> n | ((v << (128 - n)) != 0);
}

FP_INLINE uint64_t fp_jam128(fp_u128 v) { return (uint64_t)(v >> 64) | ((uint64_t)v != 0); }

FP_INLINE struct fp_num fp_unpack(const struct fp_format *f, bool daz, uint64_t bits)
{
    uint64_t fraction = bits << (65 - f->precision) >> 1; /* bits 62.. */
    int biased = bits >> (f->precision - 1) & ((1 << f->exponent_bits) - 1);
    struct fp_num n = { .sign = bits >> (f->precision - 1 + f->exponent_bits) & 1 };

    if (likely(biased != 0 && biased != (1 << f->exponent_bits) - 1)) {
        n.kind = FP_KIND_NORMAL;
        n.exp = biased - f->emax;
        n.sig = FP_TOP | fraction;
    } else if (biased != 0) {
        n.kind = !fraction ? FP_KIND_INF : fraction & FP_QUIET ? FP_KIND_QNAN : FP_KIND_SNAN;
        n.sig = FP_TOP | fraction;
    } else if (fraction && !daz) {
        int shift = __builtin_clzll(fraction);
        n.kind = FP_KIND_NORMAL;
        n.denormal = true;
        n.exp = f->emin - shift;
        n.sig = fraction << shift;
    }
    return n;
}

FP_INLINE uint64_t fp_assemble(const struct fp_format *f, bool sign, int biased, uint64_t fraction)
{
    return (uint64_t)sign << (f->precision - 1 + f->exponent_bits) | (uint64_t)biased << (f->precision - 1) | fraction;
}

FP_INLINE uint64_t fp_pack_zero(const struct fp_format *f, bool sign) { return fp_assemble(f, sign, 0, 0); }
FP_INLINE uint64_t fp_pack_inf(const struct fp_format *f, bool sign) { return fp_assemble(f, sign, (1 << f->exponent_bits) - 1, 0); }

/* A NaN made quiet. */
FP_INLINE uint64_t fp_pack_nan(const struct fp_format *f, struct fp_num n)
{
    return fp_assemble(f, n.sign, (1 << f->exponent_bits) - 1, ((n.sig | FP_QUIET) & ~FP_TOP) >> (64 - f->precision));
}

FP_INLINE uint64_t fp_default_nan(const struct fp_format *f)
{
    return fp_assemble(f, true, (1 << f->exponent_bits) - 1, UINT64_C(1) << (f->precision - 2));
}

FP_INLINE uint64_t fp_invalid(struct fp_env *env, const struct fp_format *f)
{
    env->flags |= FP_IE;
    return fp_default_nan(f);
}

struct fp_rounded { uint64_t sig; bool carry, inexact, up; };

/* Rounds away the low `drop` bits (1 to 63). On a carry out of bit 63, sig is 0 and stands for 2^64. */
FP_INLINE struct fp_rounded fp_round_sig(unsigned rounding, bool sign, uint64_t sig, unsigned drop)
{
    uint64_t mask = (UINT64_C(1) << drop) - 1, half = UINT64_C(1) << (drop - 1), low = sig & mask, kept = sig & ~mask, add;
    struct fp_rounded r;

    if (rounding == FP_NEAREST)
        add = low > half || (low == half && (kept & (mask + 1))) ? mask + 1 : 0;
    else
        add = low && ((rounding == FP_UP && !sign) || (rounding == FP_DOWN && sign)) ? mask + 1 : 0;
    r.inexact = low != 0;
    r.up = add != 0;
    r.sig = kept + add;
    r.carry = r.sig < kept;
    return r;
}

/* Masked overflow delivers an infinity, or the largest finite number where the rounding goes towards zero. */
FP_INLINE bool fp_overflows_to_inf(unsigned rounding, bool sign)
{
    return rounding == FP_NEAREST || (rounding == FP_UP && !sign) || (rounding == FP_DOWN && sign);
}

uint64_t fp_pack_overflow(struct fp_env *env, const struct fp_format *f, unsigned rounding, bool sign, bool inexact);
uint64_t fp_pack_tiny(struct fp_env *env, const struct fp_format *f, unsigned rounding, bool sign, int exp, uint64_t sig);

/* Rounds sig * 2^(exp - 63), bit 63 set and bit 0 jammed, to the format. */
FP_INLINE uint64_t fp_round_pack_mode(struct fp_env *env, const struct fp_format *f, unsigned rounding, bool sign, int exp, uint64_t sig)
{
    if (unlikely(exp < f->emin))
        return fp_pack_tiny(env, f, rounding, sign, exp, sig);
    struct fp_rounded r = fp_round_sig(rounding, sign, sig, 64 - f->precision);
    exp += r.carry;
    env->rounded_up = r.up;
    if (unlikely(exp > f->emax))
        return fp_pack_overflow(env, f, rounding, sign, r.inexact);
    if (r.inexact)
        env->flags |= FP_PE;
    return fp_assemble(f, sign, exp + f->emax, (r.sig & ~FP_TOP) >> (64 - f->precision));
}

FP_INLINE uint64_t fp_round_pack(struct fp_env *env, const struct fp_format *f, bool sign, int exp, uint64_t sig)
{
    return fp_round_pack_mode(env, f, env->rounding, sign, exp, sig);
}

FP_INLINE struct fp_wide fp_normalise(struct fp_wide w)
{
    if (!w.sig || w.sig >> 127)
        return w;
    uint64_t high = w.sig >> 64;
    unsigned shift = high ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)w.sig);
    w.sig <<= shift;
    w.exp -= shift;
    return w;
}

/* Sum of two wide numbers; the zero of an exact cancellation has sig 0 and the sign that the rounding mode asks for (IEEE 754 6.3).
 * Exact or correctly jammed as long as neither operand has more than 126 significant bits. */
FP_INLINE struct fp_wide fp_add_wide(unsigned rounding, struct fp_wide a, struct fp_wide b)
{
    if (a.exp < b.exp || (a.exp == b.exp && a.sig < b.sig)) {
        struct fp_wide t = a;
        a = b;
        b = t;
    }
    unsigned distance = (unsigned)(a.exp - b.exp);
    if (a.sign == b.sign) {
        fp_u128 x = a.sig >> 1 | (a.sig & 1), y = fp_shift_jam128(b.sig, distance > 200 ? 200 : distance + 1);
        return fp_normalise((struct fp_wide){ x + y, a.exp + 1, a.sign });
    }
    fp_u128 difference = a.sig - fp_shift_jam128(b.sig, distance > 200 ? 200 : distance);
    if (!difference)
        return (struct fp_wide){ 0, 0, rounding == FP_DOWN };
    return fp_normalise((struct fp_wide){ difference, a.exp, a.sign });
}

FP_INLINE struct fp_wide fp_widen(struct fp_num a) { return (struct fp_wide){ (fp_u128)a.sig << 64, a.exp, a.sign }; }

FP_INLINE struct fp_wide fp_mul_num(struct fp_num a, struct fp_num b)
{
    return fp_normalise((struct fp_wide){ (fp_u128)a.sig * b.sig, a.exp + b.exp + 1, a.sign != b.sign });
}

/* 64 quotient bits, then a round and a sticky bit from the remainder. */
FP_INLINE struct fp_wide fp_div_num(struct fp_num a, struct fp_num b)
{
    bool small = a.sig < b.sig;
    fp_u128 dividend = (fp_u128)a.sig << (small ? 64 : 63);
    uint64_t quotient = dividend / b.sig, rest = dividend % b.sig, low = 0;
    if (rest)
        low = rest > b.sig - rest ? UINT64_C(3) << 62 : rest == b.sig - rest ? UINT64_C(2) << 62 : UINT64_C(1) << 62;
    return (struct fp_wide){ (fp_u128)quotient << 64 | low, a.exp - b.exp - small, a.sign != b.sign };
}

struct fp_wide fp_sqrt_num(struct fp_num a);

/* Compares two numbers that are not NaNs. */
FP_INLINE enum fp_order fp_order_num(struct fp_num a, struct fp_num b)
{
    if (a.kind == FP_KIND_ZERO && b.kind == FP_KIND_ZERO)
        return FP_EQUAL;
    if (a.kind == FP_KIND_ZERO)
        return b.sign ? FP_GREATER : FP_LESS;
    if (b.kind == FP_KIND_ZERO || a.sign != b.sign)
        return a.sign ? FP_LESS : FP_GREATER;
    bool less = a.kind != b.kind ? a.kind < b.kind : a.exp != b.exp ? a.exp < b.exp : a.sig < b.sig;
    if (a.kind == b.kind && (a.kind == FP_KIND_INF || (a.exp == b.exp && a.sig == b.sig)))
        return FP_EQUAL;
    return less != a.sign ? FP_LESS : FP_GREATER;
}

/* |a| rounded to an integer; the result must be below 2^64 (a.exp < 64), else *overflow. */
FP_INLINE uint64_t fp_round_to_integer(struct fp_num a, unsigned rounding, bool *inexact, bool *up, bool *overflow)
{
    uint64_t whole = 0, part = 0; /* part: the fraction as bits 63.. with a jammed lowest bit */

    *inexact = *up = *overflow = false;
    if (a.kind == FP_KIND_ZERO)
        return 0;
    if (a.exp > 63 || a.kind != FP_KIND_NORMAL) {
        *overflow = true;
        return 0;
    }
    if (a.exp >= 0) {
        whole = a.sig >> (63 - a.exp);
        part = a.exp == 63 ? 0 : a.sig << (a.exp + 1);
    } else {
        part = fp_shift_jam64(a.sig, a.exp < -64 ? 64 : -1 - a.exp);
    }
    if (!part)
        return whole;
    *inexact = true;
    if (rounding == FP_NEAREST)
        *up = part > FP_TOP || (part == FP_TOP && (whole & 1));
    else
        *up = rounding == (a.sign ? FP_DOWN : FP_UP);
    *overflow = *up && whole == UINT64_MAX;
    return whole + *up;
}

#endif
