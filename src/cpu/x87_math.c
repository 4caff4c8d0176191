/* SPDX-License-Identifier: MIT */
/* x87_math.c - F2XM1, FYL2X, FYL2XP1, FPATAN, FPTAN, FSIN, FCOS, FSINCOS.
 *
 * Computed with 128-bit significands (series after a reduction of the argument), relative error below 2^-115, then rounded once: nearly always the correctly
 * rounded value. Processors promise 1 ulp only, so the last bit can differ from a given one's. Like Intel's processors the trigonometric functions
 * reduce by a pi of 66 bits (SDM vol. 1, 8.3.8), so that results agree for large arguments too.
 * Special operands: SDM vol. 2, the tables of each instruction. */
#include "cpu/softfloat_core.h"
#include "cpu/x87_math.h"

#define U128(high, low) ((fp_u128)UINT64_C(high) << 64 | UINT64_C(low))

static const struct fp_wide wide_one = { (fp_u128)1 << 127, 0, false };
static const struct fp_wide wide_two = { (fp_u128)1 << 127, 1, false };
static const struct fp_wide wide_ln2 = { U128(0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af), -1, false };
static const struct fp_wide wide_log2e = { U128(0xb8aa3b295c17f0bb, 0xbe87fed0691d3e89), 0, false };
static const struct fp_wide wide_pi = { U128(0xc90fdaa22168c234, 0xc4c6628b80dc1cd1), 1, false };

/* atan(i / 8). */
static const struct fp_wide atan_eighths[9] = {
    { 0, 0, false },
    { U128(0xfeadd4d5617b6e32, 0xc897989f3e888ef8), -4, false }, { U128(0xfadbafc96406eb15, 0x6dc79ef5f7a217e6), -3, false },
    { U128(0xb7b0ca0f26f78473, 0x8aa32122dcfe4483), -2, false }, { U128(0xed63382b0dda7b45, 0x6fe445ecbc3a8d03), -2, false },
    { U128(0x8f005d5ef7f59f9b, 0x5c835e1665c43748), -1, false }, { U128(0xa4bc7d1934f70924, 0x19a87f2a457dac9f), -1, false },
    { U128(0xb8053e2bc2319e73, 0xcb2da55210a4443d), -1, false }, { U128(0xc90fdaa22168c234, 0xc4c6628b80dc1cd1), -1, false },
};

/* ---- wide arithmetic: truncated, which the spare bits absorb */

static struct fp_wide wide_from(struct fp_num a) { return fp_widen(a); }

static struct fp_wide wide_add(struct fp_wide a, struct fp_wide b)
{
    if (!a.sig)
        return b;
    return b.sig ? fp_add_wide(FP_NEAREST, a, b) : a;
}

static struct fp_wide wide_negate(struct fp_wide a)
{
    a.sign = !a.sign;
    return a;
}

static struct fp_wide wide_mul(struct fp_wide a, struct fp_wide b)
{
    uint64_t a1 = a.sig >> 64, a0 = (uint64_t)a.sig, b1 = b.sig >> 64, b0 = (uint64_t)b.sig;
    fp_u128 high = (fp_u128)a1 * b1, cross1 = (fp_u128)a1 * b0, cross2 = (fp_u128)a0 * b1;
    fp_u128 middle = ((fp_u128)a0 * b0 >> 64) + (uint64_t)cross1 + (uint64_t)cross2;
    struct fp_wide r = { high + (cross1 >> 64) + (cross2 >> 64) + (middle >> 64), a.exp + b.exp + 1, a.sign != b.sign };

    if (!r.sig || r.sig >> 127)
        return r;
    r.sig = r.sig << 1 | (uint64_t)middle >> 63;
    r.exp--;
    return r;
}

static struct fp_wide wide_div_small(struct fp_wide a, unsigned n)
{
    return fp_normalise((struct fp_wide){ a.sig / n, a.exp, a.sign });
}

static struct fp_wide wide_div(struct fp_wide a, struct fp_wide b)
{
    fp_u128 rest = a.sig, quotient = 1;
    int exp = a.exp - b.exp;
    bool carry = false;

    if (!a.sig)
        return a;
    if (rest < b.sig) {
        carry = rest >> 127;
        rest <<= 1;
        exp--;
    }
    (void)carry; /* carry:rest >= b.sig, and the difference fits */
    rest -= b.sig;
    for (int i = 0; i < 127; i++) {
        carry = rest >> 127;
        rest <<= 1;
        quotient <<= 1;
        if (carry || rest >= b.sig) {
            rest -= b.sig;
            quotient |= 1;
        }
    }
    return (struct fp_wide){ quotient, exp, a.sign != b.sign };
}

static struct fp_wide wide_from_int(int64_t v)
{
    return v ? wide_from(fp_num_from_i64(v)) : (struct fp_wide){ 0 };
}

/* Rounds the result; transcendentals ignore precision control. */
static struct f80 finish_exact(struct fp_env *env, struct fp_wide w)
{
    struct fp_env full = { .rounding = env->rounding, .precision = 64, .masks = env->masks };
    struct f80 result = f80_round_pack(&full, w.sign, w.exp, w.sig >> 64, (uint64_t)w.sig);

    bool denormal = !(result.sign_exponent & 0x7fff);
    env->flags |= full.flags | FP_PE | (denormal ? FP_UE : 0);
    env->rounded_up = full.rounded_up;
    return result;
}

static struct f80 finish(struct fp_env *env, struct fp_wide w)
{
    w.sig |= 1;
    return finish_exact(env, w);
}

static struct f80 zero(bool sign) { return (struct f80){ 0, sign << 15 }; }
static struct f80 infinity(bool sign) { return (struct f80){ FP_TOP, sign << 15 | 0x7fff }; }

static struct f80 invalid(struct fp_env *env)
{
    env->flags |= FP_IE;
    return F80_DEFAULT_NAN;
}

static bool is_odd_kind(struct fp_num a) { return a.kind > FP_KIND_INF; }

/* NaN propagation is that of an addition. */
static struct f80 propagate(struct fp_env *env, struct fp_num a, struct fp_num b) { return f80_add(env, a, b); }

static bool is_one(struct fp_num a) { return a.kind == FP_KIND_NORMAL && !a.exp && a.sig == FP_TOP; }

/* ---- 2^x - 1 */

struct f80 x87_f2xm1(struct fp_env *env, struct f80 v)
{
    struct fp_num x = fp_num_from_f80(v);
    struct fp_wide sum = wide_one;

    if (is_odd_kind(x))
        return propagate(env, x, x);
    if (x.denormal)
        env->flags |= FP_DE;
    if (x.kind == FP_KIND_ZERO)
        return v;
    if (x.kind == FP_KIND_INF)
        return x.sign ? (struct f80){ FP_TOP, 0xbfff } : v;
    if (x.exp > 0 || (x.exp == 0 && x.sig != FP_TOP)) { /* |x| > 1: undefined (SDM F2XM1); this is what processors do */
        env->flags |= FP_PE;
        return v;
    }
    if (is_one(x)) { /* exact, but processors raise PE */
        env->flags |= FP_PE;
        return x.sign ? (struct f80){ FP_TOP, 0xbffe } : v;
    }
    struct fp_wide y = wide_mul(wide_from(x), wide_ln2);
    for (unsigned n = 33; n >= 2; n--)
        sum = wide_add(wide_one, wide_div_small(wide_mul(y, sum), n));
    return finish(env, wide_mul(y, sum));
}

/* ---- logarithms. ln((1 + z) / (1 - z)) = 2 (z + z^3/3 + z^5/5 ...), |z| <= 3 - sqrt(8). */

static struct fp_wide log2_of_ratio(struct fp_wide z)
{
    struct fp_wide square = wide_mul(z, z), sum = { 0 };

    for (int n = 51; n >= 1; n -= 2)
        sum = wide_add(wide_div_small(wide_one, n), wide_mul(square, sum));
    struct fp_wide r = wide_mul(wide_mul(z, sum), wide_log2e);
    r.exp++;
    return r;
}

/* log2 of a positive number that is not 1. */
static struct fp_wide log2_of(struct fp_wide x)
{
    int exponent = x.exp;

    x.exp = 0;
    if (x.sig > U128(0xb504f333f9de6484, 0)) { /* sqrt(2): into sqrt(1/2) .. sqrt(2) */
        x.exp = -1;
        exponent++;
    }
    struct fp_wide above = wide_add(x, wide_negate(wide_one));
    struct fp_wide fraction = above.sig ? log2_of_ratio(wide_div(above, wide_add(x, wide_one))) : above;
    return wide_add(wide_from_int(exponent), fraction);
}

/* y * l for an infinite y: the sign of l counts; l must not be 0. */
static struct f80 scale_infinity(struct fp_num y, bool negative) { return infinity(y.sign != negative); }

static bool is_power_of_two_num(struct fp_num x) { return x.sig == FP_TOP; }

struct f80 x87_yl2x(struct fp_env *env, struct f80 vx, struct f80 vy)
{
    struct fp_num x = fp_num_from_f80(vx), y = fp_num_from_f80(vy);

    if (is_odd_kind(x) || is_odd_kind(y))
        return propagate(env, x, y);
    if (x.sign && x.kind != FP_KIND_ZERO)
        return invalid(env);
    if (x.kind == FP_KIND_ZERO) {
        if (y.kind == FP_KIND_ZERO)
            return invalid(env);
        if (y.kind == FP_KIND_NORMAL)
            env->flags |= FP_ZE;
        return infinity(!y.sign);
    }
    if ((x.kind == FP_KIND_INF && y.kind == FP_KIND_ZERO) || (is_one(x) && y.kind == FP_KIND_INF))
        return invalid(env);
    if (x.denormal || y.denormal)
        env->flags |= FP_DE;
    if (x.kind == FP_KIND_INF || y.kind == FP_KIND_INF)
        return scale_infinity(y, x.kind != FP_KIND_INF && x.exp < 0);
    if (is_one(x) || y.kind == FP_KIND_ZERO)
        return zero(y.sign != (x.exp < 0));
    if (is_power_of_two_num(x)) /* exact logarithm; processors raise PE all the same */
        return finish_exact(env, wide_mul(wide_from(y), wide_from_int(x.exp)));
    return finish(env, wide_mul(wide_from(y), log2_of(wide_from(x))));
}

struct f80 x87_yl2xp1(struct fp_env *env, struct f80 vx, struct f80 vy)
{
    struct fp_num x = fp_num_from_f80(vx), y = fp_num_from_f80(vy);

    if (is_odd_kind(x) || is_odd_kind(y))
        return propagate(env, x, y);
    if ((x.kind == FP_KIND_ZERO && y.kind == FP_KIND_INF) || (x.kind == FP_KIND_INF && (x.sign || y.kind == FP_KIND_ZERO)))
        return invalid(env);
    if (x.denormal || y.denormal)
        env->flags |= FP_DE;
    if (x.kind == FP_KIND_INF || y.kind == FP_KIND_INF)
        return scale_infinity(y, x.sign);
    if (x.kind == FP_KIND_ZERO || y.kind == FP_KIND_ZERO)
        return zero(x.sign != y.sign);
    struct fp_wide w = wide_from(x);
    if (x.sign && x.exp >= 0) { /* 1 + x <= 0: undefined (SDM FYL2XP1); this is what processors do */
        env->flags |= FP_PE;
        return vx;
    }
    if (x.exp >= -2) /* outside 1 - sqrt(1/2) or near it; the sum is exact enough */
        return finish(env, wide_mul(wide_from(y), log2_of(wide_add(wide_one, w))));
    return finish(env, wide_mul(wide_from(y), log2_of_ratio(wide_div(w, wide_add(wide_two, w)))));
}

/* ---- arctangent of 0 < q <= 1: near i/8, atan(q) = atan(i/8) + atan((q - i/8) / (1 + q i/8)) */

static struct fp_wide atan_of(struct fp_wide q)
{
    unsigned i = q.exp < -4 ? 0 : (unsigned)((q.sig >> 64 >> 32 >> (-q.exp)) + (1u << 27)) >> 28;
    struct fp_wide sum = { 0 };

    if (i) {
        struct fp_wide centre = wide_from_int(i);
        centre.exp -= 3;
        q = wide_div(wide_add(q, wide_negate(centre)), wide_add(wide_one, wide_mul(q, centre)));
    }
    struct fp_wide square = wide_mul(q, q);
    for (int n = 33; n >= 1; n -= 2) {
        struct fp_wide term = wide_div_small(wide_one, n);
        term.sign = n & 2;
        sum = wide_add(term, wide_mul(square, sum));
    }
    return wide_add(atan_eighths[i], wide_mul(q, sum));
}

static struct fp_wide halve(struct fp_wide a, int times)
{
    a.exp -= times;
    return a;
}

/* The angle for operands of which one is zero or infinite. */
static struct f80 atan_special(struct fp_env *env, struct fp_num y, struct fp_num x)
{
    struct fp_wide angle = wide_pi;

    if (y.kind == FP_KIND_INF && x.kind == FP_KIND_INF)
        angle = x.sign ? wide_add(halve(wide_pi, 1), halve(wide_pi, 2)) : halve(wide_pi, 2);
    else if (y.kind == FP_KIND_INF || (x.kind == FP_KIND_ZERO && y.kind != FP_KIND_ZERO))
        angle = halve(wide_pi, 1);
    else if (!x.sign)
        return zero(y.sign);
    angle.sign = y.sign;
    return finish(env, angle);
}

struct f80 x87_atan(struct fp_env *env, struct f80 vy, struct f80 vx)
{
    struct fp_num x = fp_num_from_f80(vx), y = fp_num_from_f80(vy);

    if (is_odd_kind(x) || is_odd_kind(y))
        return propagate(env, x, y);
    if (x.denormal || y.denormal)
        env->flags |= FP_DE;
    if (x.kind != FP_KIND_NORMAL || y.kind != FP_KIND_NORMAL)
        return atan_special(env, y, x);
    struct fp_wide wx = wide_from(x), wy = wide_from(y), angle;
    wx.sign = wy.sign = false;
    bool steep = wy.exp > wx.exp || (wy.exp == wx.exp && wy.sig > wx.sig);
    angle = atan_of(steep ? wide_div(wx, wy) : wide_div(wy, wx));
    if (steep)
        angle = wide_add(halve(wide_pi, 1), wide_negate(angle));
    if (x.sign)
        angle = wide_add(wide_pi, wide_negate(angle));
    angle.sign = y.sign;
    return finish(env, angle);
}

/* ---- trigonometry */

/* pi / 2 of 66 bits, in units of 2^-65 */
#define HALF_PI U128(0x3, 0x243f6a8885a308d3)

/* |x| < 2^63 as r + quadrant * pi/2 with |r| <= pi/4. */
static struct fp_wide reduce(struct fp_num x, unsigned *quadrant)
{
    struct fp_wide r = wide_from(x);

    *quadrant = 0;
    r.sign = false;
    if (x.exp < -1)
        return r;
    fp_u128 units = (fp_u128)x.sig << (x.exp + 2), rest = units % HALF_PI;
    *quadrant = (uint64_t)(units / HALF_PI) & 3;
    bool beyond = rest > HALF_PI / 2;
    if (beyond) {
        rest = HALF_PI - rest;
        *quadrant = (*quadrant + 1) & 3;
    }
    return fp_normalise((struct fp_wide){ rest, 127 - 65, beyond });
}

/* 1 - s/(f (f+1)) (1 - s/((f+2) (f+3)) (...)), s the square: cosine with f = 1, sine over r with f = 2. */
static struct fp_wide alternating_series(struct fp_wide square, unsigned first)
{
    struct fp_wide sum = wide_one;

    for (int n = (int)first + 30; n >= (int)first; n -= 2)
        sum = wide_add(wide_one, wide_negate(wide_div_small(wide_mul(square, sum), (unsigned)(n * (n + 1)))));
    return sum;
}

struct angle { struct fp_wide sine, cosine; };

static struct angle sine_cosine(struct fp_num x)
{
    unsigned quadrant;
    struct fp_wide r = reduce(x, &quadrant), square = wide_mul(r, r);
    struct fp_wide sine = wide_mul(r, alternating_series(square, 2)), cosine = alternating_series(square, 1);
    struct angle a = quadrant & 1 ? (struct angle){ cosine, wide_negate(sine) } : (struct angle){ sine, cosine };

    if (quadrant & 2) {
        a.sine = wide_negate(a.sine);
        a.cosine = wide_negate(a.cosine);
    }
    a.sine.sign ^= x.sign;
    return a;
}

/* Operands that need no computation: *result for sine or tangent. */
static bool trigonometry_special(struct fp_env *env, struct fp_num x, struct f80 *result)
{
    if (is_odd_kind(x))
        *result = propagate(env, x, x);
    else if (x.kind == FP_KIND_INF)
        *result = invalid(env);
    else if (x.kind == FP_KIND_ZERO)
        *result = zero(x.sign);
    else {
        env->flags |= x.denormal ? FP_DE : 0;
        return false;
    }
    return true;
}

static const struct f80 f80_one = { FP_TOP, 0x3fff };

bool x87_in_range(struct f80 v)
{
    unsigned biased = v.sign_exponent & 0x7fff;
    return biased < 16383 + 63 || biased == 0x7fff || !(v.significand >> 63);
}

struct f80 x87_sin(struct fp_env *env, struct f80 v)
{
    struct fp_num x = fp_num_from_f80(v);
    struct f80 result;

    if (trigonometry_special(env, x, &result))
        return result;
    return x.exp < -60 ? finish_exact(env, wide_from(x)) : finish(env, sine_cosine(x).sine); /* sin x = x, as processors have it */
}

struct f80 x87_cos(struct fp_env *env, struct f80 v)
{
    struct fp_num x = fp_num_from_f80(v);
    struct f80 result;

    if (trigonometry_special(env, x, &result))
        return x.kind == FP_KIND_ZERO ? f80_one : result;
    return finish(env, sine_cosine(x).cosine);
}

struct f80 x87_tan(struct fp_env *env, struct f80 v)
{
    struct fp_num x = fp_num_from_f80(v);
    struct f80 result;

    if (trigonometry_special(env, x, &result))
        return result;
    if (x.exp < -60)
        return finish_exact(env, wide_from(x));
    struct angle a = sine_cosine(x);
    return finish(env, wide_div(a.sine, a.cosine));
}
