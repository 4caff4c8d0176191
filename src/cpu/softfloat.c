/* SPDX-License-Identifier: MIT */
/* softfloat.c - f32 and f64 arithmetic with the rules of SSE: add, sub, mul, div, sqrt, fma, min, max, compare, round to integral.
 *
 * Each operation is written once over a format that is constant in its instances below. Order of checks is the SDM's (vol. 1 table 11.5.2.1
 * and 4.9.2): NaN operands, other invalid operations, division by zero, denormal operands, then what rounding finds. */
#include "cpu/softfloat_core.h"

uint64_t fp_pack_overflow(struct fp_env *env, const struct fp_format *f, unsigned rounding, bool sign, bool inexact)
{
    if (!(env->masks & FP_OE)) { /* the exception is delivered and the result is not used */
        env->flags |= FP_OE | (inexact ? FP_PE : 0);
        return fp_pack_inf(f, sign);
    }
    env->flags |= FP_OE | FP_PE;
    env->rounded_up = fp_overflows_to_inf(rounding, sign);
    return fp_pack_inf(f, sign) - !env->rounded_up;
}

/* exp < emin. Tiny is what stays below the smallest normal number after rounding with an unbounded exponent. */
uint64_t fp_pack_tiny(struct fp_env *env, const struct fp_format *f, unsigned rounding, bool sign, int exp, uint64_t sig)
{
    unsigned drop = 64 - f->precision;
    struct fp_rounded unbounded = fp_round_sig(rounding, sign, sig, drop);
    struct fp_rounded r = fp_round_sig(rounding, sign, fp_shift_jam64(sig, f->emin - exp), drop);
    bool tiny = !(exp == f->emin - 1 && unbounded.carry);

    if (tiny && !(env->masks & FP_UE)) {
        env->flags |= FP_UE | (unbounded.inexact ? FP_PE : 0);
        return fp_pack_zero(f, sign);
    }
    if (tiny && env->ftz) {
        env->flags |= FP_UE | FP_PE;
        return fp_pack_zero(f, sign);
    }
    if (r.inexact)
        env->flags |= tiny ? FP_UE | FP_PE : FP_PE;
    env->rounded_up = r.up;
    return fp_pack_zero(f, sign) + (r.sig >> drop); /* bit 63 lands in the exponent field as 1 */
}

/* Integer square root of n, n >= 2^62, and the remainder: the recursive method of digit pairs (Zimmermann 1999). */
static uint32_t root_of_64(uint64_t n, uint64_t *rest)
{
    uint64_t high = n >> 32, root = 0, bit = UINT64_C(1) << 30;

    for (; bit; bit >>= 2) {
        if (high >= root + bit) {
            high -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
    }
    uint64_t dividend = high << 16 | (n >> 16 & 0xffff);
    uint64_t quotient = dividend / (2 * root), over = dividend % (2 * root);
    uint64_t s = (root << 16) + quotient;
    int64_t r = (int64_t)((over << 16 | (n & 0xffff)) - quotient * quotient);
    if (r < 0) {
        r += 2 * s - 1;
        s--;
    }
    *rest = r;
    return s;
}

static uint64_t root_of_128(fp_u128 n, fp_u128 *rest)
{
    uint64_t high_rest, root = root_of_64(n >> 64, &high_rest);
    fp_u128 dividend = (fp_u128)high_rest << 32 | (uint32_t)(n >> 32);
    uint64_t quotient = dividend / (2 * root), over = dividend % (2 * root);
    fp_u128 s = ((fp_u128)root << 32) + quotient;
    __extension__ __int128 r = (__int128)(((fp_u128)over << 32 | (uint32_t)n) - (fp_u128)quotient * quotient);
    if (r < 0) {
        r += 2 * s - 1;
        s--;
    }
    *rest = r;
    return s;
}

struct fp_wide fp_sqrt_num(struct fp_num a)
{
    fp_u128 rest;
    uint64_t root = root_of_128((fp_u128)a.sig << (a.exp & 1 ? 64 : 63), &rest);
    uint64_t low = !rest ? 0 : rest > root ? UINT64_C(3) << 62 : UINT64_C(1) << 62;
    return (struct fp_wide){ (fp_u128)root << 64 | low, a.exp >> 1, false };
}

FP_INLINE uint64_t round_wide(struct fp_env *env, const struct fp_format *f, struct fp_wide w)
{
    return w.sig ? fp_round_pack(env, f, w.sign, w.exp, fp_jam128(w.sig)) : fp_pack_zero(f, w.sign);
}

/* One of two operands is a NaN. */
FP_INLINE uint64_t choose_nan(struct fp_env *env, const struct fp_format *f, struct fp_num a, struct fp_num b)
{
    if (a.kind == FP_KIND_SNAN || b.kind == FP_KIND_SNAN)
        env->flags |= FP_IE;
    return fp_pack_nan(f, fp_is_nan(a) ? a : b);
}

FP_INLINE void note_denormals(struct fp_env *env, struct fp_num a, struct fp_num b)
{
    if (unlikely(a.denormal || b.denormal))
        env->flags |= FP_DE;
}

FP_INLINE uint64_t op_add(struct fp_env *env, const struct fp_format *f, uint64_t x, uint64_t y, bool subtract)
{
    struct fp_num a = fp_unpack(f, env->daz, x), b = fp_unpack(f, env->daz, y);

    if (unlikely(fp_is_nan(a) || fp_is_nan(b)))
        return choose_nan(env, f, a, b);
    b.sign ^= subtract;
    if (unlikely(a.kind == FP_KIND_INF || b.kind == FP_KIND_INF)) {
        if (a.kind == b.kind && a.sign != b.sign)
            return fp_invalid(env, f);
        note_denormals(env, a, b);
        return fp_pack_inf(f, a.kind == FP_KIND_INF ? a.sign : b.sign);
    }
    note_denormals(env, a, b);
    if (unlikely(a.kind == FP_KIND_ZERO && b.kind == FP_KIND_ZERO))
        return fp_pack_zero(f, a.sign == b.sign ? a.sign : env->rounding == FP_DOWN);
    if (unlikely(a.kind == FP_KIND_ZERO || b.kind == FP_KIND_ZERO))
        return round_wide(env, f, fp_widen(a.kind == FP_KIND_ZERO ? b : a));
    return round_wide(env, f, fp_add_wide(env->rounding, fp_widen(a), fp_widen(b)));
}

FP_INLINE uint64_t op_mul(struct fp_env *env, const struct fp_format *f, uint64_t x, uint64_t y)
{
    struct fp_num a = fp_unpack(f, env->daz, x), b = fp_unpack(f, env->daz, y);

    if (unlikely(fp_is_nan(a) || fp_is_nan(b)))
        return choose_nan(env, f, a, b);
    if (unlikely(a.kind != FP_KIND_NORMAL || b.kind != FP_KIND_NORMAL)) {
        if (a.kind + b.kind == FP_KIND_ZERO + FP_KIND_INF && a.kind != b.kind && a.kind != FP_KIND_NORMAL)
            return fp_invalid(env, f);
        note_denormals(env, a, b);
        bool inf = a.kind == FP_KIND_INF || b.kind == FP_KIND_INF;
        return inf ? fp_pack_inf(f, a.sign != b.sign) : fp_pack_zero(f, a.sign != b.sign);
    }
    note_denormals(env, a, b);
    return round_wide(env, f, fp_mul_num(a, b));
}

FP_INLINE uint64_t op_div(struct fp_env *env, const struct fp_format *f, uint64_t x, uint64_t y)
{
    struct fp_num a = fp_unpack(f, env->daz, x), b = fp_unpack(f, env->daz, y);
    bool sign = a.sign != b.sign;

    if (unlikely(fp_is_nan(a) || fp_is_nan(b)))
        return choose_nan(env, f, a, b);
    if (unlikely(a.kind == b.kind && a.kind != FP_KIND_NORMAL))
        return fp_invalid(env, f);
    if (unlikely(b.kind == FP_KIND_ZERO && a.kind == FP_KIND_NORMAL)) {
        env->flags |= FP_ZE;
        return fp_pack_inf(f, sign);
    }
    note_denormals(env, a, b);
    if (unlikely(a.kind == FP_KIND_INF || b.kind == FP_KIND_ZERO))
        return fp_pack_inf(f, sign);
    if (unlikely(a.kind == FP_KIND_ZERO || b.kind == FP_KIND_INF))
        return fp_pack_zero(f, sign);
    return round_wide(env, f, fp_div_num(a, b));
}

FP_INLINE uint64_t op_sqrt(struct fp_env *env, const struct fp_format *f, uint64_t x)
{
    struct fp_num a = fp_unpack(f, env->daz, x);

    if (unlikely(fp_is_nan(a)))
        return choose_nan(env, f, a, a);
    if (a.kind == FP_KIND_ZERO)
        return fp_pack_zero(f, a.sign);
    if (a.sign)
        return fp_invalid(env, f);
    if (a.kind == FP_KIND_INF)
        return fp_pack_inf(f, false);
    note_denormals(env, a, a);
    return round_wide(env, f, fp_sqrt_num(a));
}

FP_INLINE uint64_t op_fma(struct fp_env *env, const struct fp_format *f, uint64_t x, uint64_t y, uint64_t z, unsigned negate)
{
    struct fp_num a = fp_unpack(f, env->daz, x), b = fp_unpack(f, env->daz, y), c = fp_unpack(f, env->daz, z);
    bool sign = a.sign ^ b.sign ^ (negate & FMA_NEGATE_PRODUCT);
    bool infinite = a.kind == FP_KIND_INF || b.kind == FP_KIND_INF;

    if (unlikely(fp_is_nan(a) || fp_is_nan(b) || fp_is_nan(c))) {
        if (a.kind == FP_KIND_SNAN || b.kind == FP_KIND_SNAN || c.kind == FP_KIND_SNAN)
            env->flags |= FP_IE;
        return fp_pack_nan(f, fp_is_nan(a) ? a : fp_is_nan(b) ? b : c);
    }
    c.sign ^= negate >> 1 & 1;
    if (unlikely(infinite && (a.kind == FP_KIND_ZERO || b.kind == FP_KIND_ZERO)))
        return fp_invalid(env, f);
    if (unlikely(infinite && c.kind == FP_KIND_INF && c.sign != sign))
        return fp_invalid(env, f);
    note_denormals(env, a, b);
    note_denormals(env, c, c);
    if (unlikely(infinite || c.kind == FP_KIND_INF))
        return fp_pack_inf(f, infinite ? sign : c.sign);
    if (unlikely(a.kind == FP_KIND_ZERO || b.kind == FP_KIND_ZERO)) {
        if (c.kind == FP_KIND_ZERO)
            return fp_pack_zero(f, sign == c.sign ? sign : env->rounding == FP_DOWN);
        return round_wide(env, f, fp_widen(c));
    }
    struct fp_wide product = fp_mul_num(a, b);
    product.sign = sign;
    return round_wide(env, f, c.kind == FP_KIND_ZERO ? product : fp_add_wide(env->rounding, product, fp_widen(c)));
}

/* Raises what a comparison raises; true when ordered. */
FP_INLINE bool check_compare(struct fp_env *env, struct fp_num a, struct fp_num b, bool signalling)
{
    if (unlikely(fp_is_nan(a) || fp_is_nan(b))) {
        if (signalling || a.kind == FP_KIND_SNAN || b.kind == FP_KIND_SNAN)
            env->flags |= FP_IE;
        return false;
    }
    note_denormals(env, a, b);
    return true;
}

FP_INLINE enum fp_order op_compare(struct fp_env *env, const struct fp_format *f, uint64_t x, uint64_t y, bool signalling)
{
    struct fp_num a = fp_unpack(f, env->daz, x), b = fp_unpack(f, env->daz, y);

    return check_compare(env, a, b, signalling) ? fp_order_num(a, b) : FP_UNORDERED;
}

/* Operands are delivered as they are, but a denormal counts (and is delivered) as zero under DAZ. */
FP_INLINE uint64_t op_min_max(struct fp_env *env, const struct fp_format *f, uint64_t x, uint64_t y, enum fp_order wanted)
{
    struct fp_num a = fp_unpack(f, env->daz, x), b = fp_unpack(f, env->daz, y);
    bool first = check_compare(env, a, b, true) && fp_order_num(a, b) == wanted;
    struct fp_num chosen = first ? a : b;

    return chosen.kind == FP_KIND_ZERO ? fp_pack_zero(f, chosen.sign) : first ? x : y;
}

FP_INLINE uint64_t op_round(struct fp_env *env, const struct fp_format *f, uint64_t x, unsigned rounding, bool quiet)
{
    struct fp_num a = fp_unpack(f, env->daz, x);
    bool inexact, up, overflow;

    if (unlikely(fp_is_nan(a)))
        return choose_nan(env, f, a, a);
    if (a.kind == FP_KIND_ZERO)
        return fp_pack_zero(f, a.sign);
    if (a.kind == FP_KIND_INF || a.exp >= f->precision - 1)
        return x;
    uint64_t whole = fp_round_to_integer(a, rounding, &inexact, &up, &overflow);
    if (inexact && !quiet)
        env->flags |= FP_PE;
    if (!whole)
        return fp_pack_zero(f, a.sign);
    int shift = __builtin_clzll(whole);
    return fp_assemble(f, a.sign, 63 - shift + f->emax, (whole << shift & ~FP_TOP) >> (64 - f->precision));
}

#define INSTANCES(name, type, format)                                                                                                  \
    type name##_add(struct fp_env *env, type a, type b) { return op_add(env, &format, a, b, false); }                                   \
    type name##_sub(struct fp_env *env, type a, type b) { return op_add(env, &format, a, b, true); }                                    \
    type name##_mul(struct fp_env *env, type a, type b) { return op_mul(env, &format, a, b); }                                          \
    type name##_div(struct fp_env *env, type a, type b) { return op_div(env, &format, a, b); }                                          \
    type name##_sqrt(struct fp_env *env, type a) { return op_sqrt(env, &format, a); }                                                   \
    type name##_fma(struct fp_env *env, type a, type b, type c, unsigned n) { return op_fma(env, &format, a, b, c, n); }                \
    type name##_min(struct fp_env *env, type a, type b) { return op_min_max(env, &format, a, b, FP_LESS); }                             \
    type name##_max(struct fp_env *env, type a, type b) { return op_min_max(env, &format, a, b, FP_GREATER); }                          \
    type name##_round(struct fp_env *env, type a, unsigned mode, bool quiet) { return op_round(env, &format, a, mode, quiet); }         \
    enum fp_order name##_compare(struct fp_env *env, type a, type b, bool signalling) { return op_compare(env, &format, a, b, signalling); }

INSTANCES(f32, uint32_t, fp_f32)
INSTANCES(f64, uint64_t, fp_f64)
