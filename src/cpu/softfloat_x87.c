/* SPDX-License-Identifier: MIT */
/* softfloat_x87.c - arithmetic and conversions of the 80-bit format.
 *
 * Results are rounded to env->precision bits with f80's exponent range (SDM vol. 1, 8.1.5.2). With overflow or underflow unmasked the result is the rounded one
 * with its exponent moved by 24576 (8.5.4, 8.5.5). Encodings without integer bit (unnormals, pseudo-NaNs) are invalid; pseudo-denormals are denormals. */
#include "cpu/softfloat_core.h"

enum { F80_BIAS = 16383, F80_EMIN = -16382, F80_EMAX = 16383, F80_WRAP = 24576 };

struct fp_num fp_num_from_f32(uint32_t a) { return fp_unpack(&fp_f32, false, a); }
struct fp_num fp_num_from_f64(uint64_t a) { return fp_unpack(&fp_f64, false, a); }

struct fp_num fp_num_from_f80(struct f80 a)
{
    int biased = a.sign_exponent & 0x7fff;
    struct fp_num n = { .sig = a.significand, .exp = biased - F80_BIAS, .sign = a.sign_exponent >> 15, .kind = FP_KIND_NORMAL };

    if (unlikely(biased == 0)) {
        if (!n.sig)
            return (struct fp_num){ .sign = n.sign, .kind = FP_KIND_ZERO };
        int shift = __builtin_clzll(n.sig);
        n.denormal = true;
        n.sig <<= shift;
        n.exp = F80_EMIN - shift;
    } else if (unlikely(!(n.sig >> 63))) {
        n.kind = FP_KIND_UNSUPPORTED;
    } else if (unlikely(biased == 0x7fff)) {
        n.kind = n.sig == FP_TOP ? FP_KIND_INF : n.sig & FP_QUIET ? FP_KIND_QNAN : FP_KIND_SNAN;
    }
    return n;
}

struct fp_num fp_num_from_i64(int64_t a)
{
    uint64_t magnitude = a < 0 ? -(uint64_t)a : (uint64_t)a;

    if (!a)
        return (struct fp_num){ .kind = FP_KIND_ZERO };
    int shift = __builtin_clzll(magnitude);
    return (struct fp_num){ .sig = magnitude << shift, .exp = 63 - shift, .kind = FP_KIND_NORMAL, .sign = a < 0 };
}

static struct f80 assemble(bool sign, int biased, uint64_t sig) { return (struct f80){ sig, (uint16_t)(sign << 15 | biased) }; }
static struct f80 pack_zero(bool sign) { return assemble(sign, 0, 0); }
static struct f80 pack_inf(bool sign) { return assemble(sign, 0x7fff, FP_TOP); }
static struct f80 pack_nan(struct fp_num a) { return assemble(a.sign, 0x7fff, a.sig | FP_TOP | FP_QUIET); }

static struct f80 invalid(struct fp_env *env)
{
    env->flags |= FP_IE;
    return F80_DEFAULT_NAN;
}

/* Exact: the number came from this or a smaller format. */
static struct f80 pack_exact(struct fp_num a)
{
    switch (a.kind) {
    case FP_KIND_ZERO: return pack_zero(a.sign);
    case FP_KIND_INF: return pack_inf(a.sign);
    case FP_KIND_NORMAL: return a.exp < F80_EMIN ? assemble(a.sign, 0, a.sig >> (F80_EMIN - a.exp)) : assemble(a.sign, a.exp + F80_BIAS, a.sig);
    default: return pack_nan(a);
    }
}

struct f80 f80_from_i64(int64_t a) { return pack_exact(fp_num_from_i64(a)); }

/* Rounds hi:lo to `precision` bits in hi. */
static struct fp_rounded round_precision(const struct fp_env *env, bool sign, uint64_t hi, uint64_t lo)
{
    struct fp_rounded r;

    if (env->precision < 64)
        return fp_round_sig(env->rounding, sign, hi | (lo != 0), 64 - env->precision);
    r.inexact = lo != 0;
    if (env->rounding == FP_NEAREST)
        r.up = lo > FP_TOP || (lo == FP_TOP && (hi & 1));
    else
        r.up = lo && env->rounding == (sign ? FP_DOWN : FP_UP);
    r.sig = hi + r.up;
    r.carry = r.sig < hi;
    return r;
}

static struct f80 pack_overflow(struct fp_env *env, bool sign, int exp, struct fp_rounded r)
{
    env->flags |= FP_OE;
    if (!(env->masks & FP_OE)) {
        if (exp - F80_WRAP > F80_EMAX) { /* FSCALE only */
            env->flags |= FP_PE;
            env->rounded_up = true;
            return pack_inf(sign);
        }
        env->flags |= r.inexact ? FP_PE : 0;
        return assemble(sign, exp - F80_WRAP + F80_BIAS, r.sig);
    }
    env->flags |= FP_PE;
    env->rounded_up = fp_overflows_to_inf(env->rounding, sign);
    return env->rounded_up ? pack_inf(sign) : assemble(sign, 0x7ffe, UINT64_MAX << (64 - env->precision));
}

static struct f80 pack_tiny(struct fp_env *env, bool sign, int exp, uint64_t hi, uint64_t lo)
{
    struct fp_rounded unbounded = round_precision(env, sign, hi, lo);
    bool tiny = !(exp == F80_EMIN - 1 && unbounded.carry);

    if (tiny && !(env->masks & FP_UE) && exp + F80_WRAP < F80_EMIN) { /* FSCALE only */
        env->flags |= FP_UE | FP_PE;
        return pack_zero(sign);
    }
    if (tiny && !(env->masks & FP_UE)) {
        env->flags |= FP_UE | (unbounded.inexact ? FP_PE : 0);
        env->rounded_up = unbounded.up;
        return assemble(sign, exp + unbounded.carry + F80_WRAP + F80_BIAS, unbounded.carry ? FP_TOP : unbounded.sig);
    }
    fp_u128 shifted = fp_shift_jam128((fp_u128)hi << 64 | lo, F80_EMIN - exp);
    struct fp_rounded r = round_precision(env, sign, shifted >> 64, shifted);
    if (r.inexact)
        env->flags |= tiny ? FP_UE | FP_PE : FP_PE;
    env->rounded_up = r.up;
    return assemble(sign, r.sig >> 63, r.sig);
}

struct f80 f80_round_pack(struct fp_env *env, bool sign, int32_t exp, uint64_t hi, uint64_t lo)
{
    if (unlikely(exp < F80_EMIN))
        return pack_tiny(env, sign, exp, hi, lo);
    struct fp_rounded r = round_precision(env, sign, hi, lo);
    if (r.carry) {
        r.sig = FP_TOP;
        exp++;
    }
    env->rounded_up = r.up;
    if (unlikely(exp > F80_EMAX))
        return pack_overflow(env, sign, exp, r);
    if (r.inexact)
        env->flags |= FP_PE;
    return assemble(sign, exp + F80_BIAS, r.sig);
}

static struct f80 round_wide(struct fp_env *env, struct fp_wide w)
{
    return w.sig ? f80_round_pack(env, w.sign, w.exp, w.sig >> 64, (uint64_t)w.sig) : pack_zero(w.sign);
}

static bool is_odd_kind(struct fp_num a) { return a.kind > FP_KIND_INF; }

/* The result when an operand is a NaN or unsupported (SDM vol. 1, table 4-7): a QNaN wins over an SNaN, else the larger significand, else the positive one. */
static struct f80 choose_nan(struct fp_env *env, struct fp_num a, struct fp_num b)
{
    if (a.kind == FP_KIND_UNSUPPORTED || b.kind == FP_KIND_UNSUPPORTED)
        return invalid(env);
    if (a.kind == FP_KIND_SNAN || b.kind == FP_KIND_SNAN)
        env->flags |= FP_IE;
    if (!fp_is_nan(a) || !fp_is_nan(b))
        return pack_nan(fp_is_nan(a) ? a : b);
    if (a.kind != b.kind)
        return pack_nan(a.kind == FP_KIND_QNAN ? a : b);
    if (a.sig != b.sig)
        return pack_nan(a.sig > b.sig ? a : b);
    return pack_nan(a.sign ? b : a);
}

static void note_denormals(struct fp_env *env, struct fp_num a, struct fp_num b)
{
    if (unlikely(a.denormal || b.denormal))
        env->flags |= FP_DE;
}

struct f80 f80_add(struct fp_env *env, struct fp_num a, struct fp_num b)
{
    if (unlikely(is_odd_kind(a) || is_odd_kind(b)))
        return choose_nan(env, a, b);
    if (a.kind == FP_KIND_INF && b.kind == FP_KIND_INF && a.sign != b.sign)
        return invalid(env);
    note_denormals(env, a, b);
    if (a.kind == FP_KIND_INF || b.kind == FP_KIND_INF)
        return pack_inf(a.kind == FP_KIND_INF ? a.sign : b.sign);
    if (a.kind == FP_KIND_ZERO && b.kind == FP_KIND_ZERO)
        return pack_zero(a.sign == b.sign ? a.sign : env->rounding == FP_DOWN);
    if (a.kind == FP_KIND_ZERO || b.kind == FP_KIND_ZERO)
        return round_wide(env, fp_widen(a.kind == FP_KIND_ZERO ? b : a));
    return round_wide(env, fp_add_wide(env->rounding, fp_widen(a), fp_widen(b)));
}

struct f80 f80_sub(struct fp_env *env, struct fp_num a, struct fp_num b)
{
    if (!is_odd_kind(b)) /* the sign of a NaN is kept */
        b.sign = !b.sign;
    return f80_add(env, a, b);
}

struct f80 f80_mul(struct fp_env *env, struct fp_num a, struct fp_num b)
{
    bool sign = a.sign != b.sign;

    if (unlikely(is_odd_kind(a) || is_odd_kind(b)))
        return choose_nan(env, a, b);
    if ((a.kind == FP_KIND_ZERO && b.kind == FP_KIND_INF) || (a.kind == FP_KIND_INF && b.kind == FP_KIND_ZERO))
        return invalid(env);
    note_denormals(env, a, b);
    if (a.kind == FP_KIND_INF || b.kind == FP_KIND_INF)
        return pack_inf(sign);
    if (a.kind == FP_KIND_ZERO || b.kind == FP_KIND_ZERO)
        return pack_zero(sign);
    return round_wide(env, fp_mul_num(a, b));
}

struct f80 f80_div(struct fp_env *env, struct fp_num a, struct fp_num b)
{
    bool sign = a.sign != b.sign;

    if (unlikely(is_odd_kind(a) || is_odd_kind(b)))
        return choose_nan(env, a, b);
    if (a.kind == b.kind && a.kind != FP_KIND_NORMAL)
        return invalid(env);
    if (b.kind == FP_KIND_ZERO && a.kind == FP_KIND_NORMAL) {
        env->flags |= FP_ZE;
        return pack_inf(sign);
    }
    note_denormals(env, a, b);
    if (a.kind == FP_KIND_INF || b.kind == FP_KIND_ZERO)
        return pack_inf(sign);
    if (a.kind == FP_KIND_ZERO || b.kind == FP_KIND_INF)
        return pack_zero(sign);
    return round_wide(env, fp_div_num(a, b));
}

struct f80 f80_sqrt(struct fp_env *env, struct fp_num a)
{
    if (unlikely(is_odd_kind(a)))
        return choose_nan(env, a, a);
    if (a.kind == FP_KIND_ZERO)
        return pack_zero(a.sign);
    if (a.sign)
        return invalid(env);
    note_denormals(env, a, a);
    return a.kind == FP_KIND_INF ? pack_inf(false) : round_wide(env, fp_sqrt_num(a));
}

struct f80 f80_round(struct fp_env *env, struct fp_num a)
{
    bool inexact, overflow;

    if (unlikely(is_odd_kind(a)))
        return choose_nan(env, a, a);
    note_denormals(env, a, a);
    if (a.kind != FP_KIND_NORMAL || a.exp >= 63)
        return pack_exact(a);
    uint64_t whole = fp_round_to_integer(a, env->rounding, &inexact, &env->rounded_up, &overflow);
    if (inexact)
        env->flags |= FP_PE;
    if (!whole)
        return pack_zero(a.sign);
    int shift = __builtin_clzll(whole);
    return assemble(a.sign, 63 - shift + F80_BIAS, whole << shift);
}

/* a * 2^trunc(by). Precision control does not apply. */
struct f80 f80_scale(struct fp_env *env, struct fp_num a, struct fp_num by)
{
    struct fp_env full = *env;
    int shift = 0;

    if (unlikely(is_odd_kind(a) || is_odd_kind(by)))
        return choose_nan(env, a, by);
    if (by.kind == FP_KIND_INF && a.kind == (by.sign ? FP_KIND_INF : FP_KIND_ZERO))
        return invalid(env);
    note_denormals(env, a, by);
    if (by.kind == FP_KIND_INF && a.kind == FP_KIND_NORMAL)
        return by.sign ? pack_zero(a.sign) : pack_inf(a.sign);
    if (a.kind != FP_KIND_NORMAL || by.kind == FP_KIND_ZERO)
        return pack_exact(a);
    if (by.exp >= 0)
        shift = by.exp > 16 ? 0x20000 : (int)(by.sig >> (63 - by.exp)); /* beyond 2^17 anything over- or underflows */
    full.precision = 64;
    full.flags = 0;
    struct f80 result = f80_round_pack(&full, a.sign, a.exp + (by.sign ? -shift : shift), a.sig, 0);
    env->flags |= full.flags;
    env->rounded_up = full.rounded_up;
    return result;
}

enum fp_order f80_compare(struct fp_env *env, struct fp_num a, struct fp_num b, bool signalling)
{
    if (unlikely(is_odd_kind(a) || is_odd_kind(b))) {
        if (signalling || (is_odd_kind(a) && a.kind != FP_KIND_QNAN) || (is_odd_kind(b) && b.kind != FP_KIND_QNAN))
            env->flags |= FP_IE;
        return FP_UNORDERED;
    }
    note_denormals(env, a, b);
    return fp_order_num(a, b);
}

struct f80 f80_extract(struct fp_env *env, struct fp_num a, struct f80 *exponent)
{
    if (unlikely(is_odd_kind(a))) {
        *exponent = choose_nan(env, a, a);
        return *exponent;
    }
    if (a.kind == FP_KIND_ZERO) {
        env->flags |= FP_ZE;
        *exponent = pack_inf(true);
        return pack_zero(a.sign);
    }
    note_denormals(env, a, a);
    if (a.kind == FP_KIND_INF) {
        *exponent = pack_inf(false);
        return pack_inf(a.sign);
    }
    *exponent = f80_from_i64(a.exp);
    return assemble(a.sign, F80_BIAS, a.sig);
}

/* Both below 2^63-fold of each other: the remainder of a.sig * 2^count by b.sig, quotient modulo 2^64. */
static fp_u128 long_division(uint64_t dividend, uint64_t divisor, int count, uint64_t *quotient)
{
    fp_u128 rest = dividend;
    uint64_t q = 0;

    for (int i = 0; i <= count; i++) {
        if (i)
            rest <<= 1;
        q <<= 1;
        if (rest >= divisor) {
            rest -= divisor;
            q |= 1;
        }
    }
    *quotient = q;
    return rest;
}

static struct f80 pack_remainder(struct fp_env *env, bool sign, int exp, fp_u128 rest)
{
    struct fp_env full = { .rounding = env->rounding, .precision = 64, .masks = env->masks };
    struct f80 result = round_wide(&full, fp_normalise((struct fp_wide){ rest << 63, exp + 1, sign }));

    env->flags |= full.flags;
    return result;
}

struct f80 f80_rem(struct fp_env *env, struct fp_num a, struct fp_num b, bool nearest, unsigned *quotient, bool *partial)
{
    uint64_t q = 0;

    *quotient = 0;
    *partial = false;
    if (unlikely(is_odd_kind(a) || is_odd_kind(b)))
        return choose_nan(env, a, b);
    if (a.kind == FP_KIND_INF || b.kind == FP_KIND_ZERO)
        return invalid(env);
    note_denormals(env, a, b);
    if (a.kind == FP_KIND_ZERO || b.kind == FP_KIND_INF)
        return a.kind == FP_KIND_ZERO ? pack_zero(a.sign) : pack_remainder(env, a.sign, a.exp, a.sig);
    int distance = a.exp - b.exp;
    if (distance < (nearest ? -1 : 0))
        return pack_remainder(env, a.sign, a.exp, a.sig);
    if (distance >= 64) {
        /* A step of 32 to 63 bits; which one is the implementation's choice (SDM FPREM). */
        int step = (distance & 31) | 32;
        fp_u128 rest = long_division(a.sig, b.sig, step, &q);
        *partial = true;
        return pack_remainder(env, a.sign, b.exp + distance - step, rest);
    }
    /* In units of 2^(b.exp - 64), so that half of b is whole. */
    fp_u128 rest = distance < 0 ? a.sig : long_division(a.sig, b.sig, distance, &q) << 1;
    bool sign = a.sign;
    if (nearest && (rest > b.sig || (rest == b.sig && (q & 1)))) {
        rest = ((fp_u128)b.sig << 1) - rest;
        sign = !sign;
        q++;
    }
    *quotient = q & 7;
    return rest ? pack_remainder(env, sign, b.exp - 1, rest) : pack_zero(a.sign);
}

struct f80 f80_load_num(struct fp_env *env, struct fp_num a)
{
    if (a.kind == FP_KIND_SNAN)
        env->flags |= FP_IE;
    note_denormals(env, a, a);
    return pack_exact(a);
}

static uint64_t to_smaller(struct fp_env *env, const struct fp_format *f, struct f80 v)
{
    struct fp_num a = fp_num_from_f80(v);

    switch (a.kind) {
    case FP_KIND_ZERO: return fp_pack_zero(f, a.sign);
    case FP_KIND_INF: return fp_pack_inf(f, a.sign);
    case FP_KIND_UNSUPPORTED: return fp_invalid(env, f);
    case FP_KIND_SNAN: env->flags |= FP_IE; return fp_pack_nan(f, a);
    case FP_KIND_QNAN: return fp_pack_nan(f, a);
    default: return fp_round_pack(env, f, a.sign, a.exp, a.sig);
    }
}

uint32_t f80_to_f32(struct fp_env *env, struct f80 a) { return to_smaller(env, &fp_f32, a); }
uint64_t f80_to_f64(struct fp_env *env, struct f80 a) { return to_smaller(env, &fp_f64, a); }

int64_t f80_to_int(struct fp_env *env, struct f80 v, unsigned bits, unsigned rounding)
{
    struct fp_num a = fp_num_from_f80(v);
    uint64_t limit = UINT64_C(1) << (bits - 1);
    bool inexact, overflow, up;
    uint64_t whole = fp_round_to_integer(a, rounding, &inexact, &up, &overflow);

    if (overflow || whole > limit - !a.sign) {
        env->flags |= FP_IE;
        return (int64_t)-limit;
    }
    if (inexact)
        env->flags |= FP_PE;
    env->rounded_up = up;
    return (int64_t)(a.sign ? -whole : whole);
}
