/* SPDX-License-Identifier: MIT */
/* vector_float.c - floating-point arithmetic of SSE to AVX, FMA3 and F16C over softfloat.
 *
 * Flags of all elements accumulate in env->flags. Scalar forms take the rest of their 16 bytes from a. */
#include "cpu/vector.h"

#define UNUSED() ((void)env, (void)bytes, (void)imm, (void)a, (void)b)

/* name##ps, pd, ss, sd of a two-operand operation; f is called as f32_name(env, x, y). */
#define ARITHMETIC(name, f)                                                                                         \
    void vec_##name##ps(VEC_ARGS) { UNUSED(); for (unsigned i = 0; i < bytes / 4; i++) dst->d[i] = f32_##f(env, a->d[i], b->d[i]); } \
    void vec_##name##pd(VEC_ARGS) { UNUSED(); for (unsigned i = 0; i < bytes / 8; i++) dst->q[i] = f64_##f(env, a->q[i], b->q[i]); } \
    void vec_##name##ss(VEC_ARGS) { UNUSED(); *dst = *a; dst->d[0] = f32_##f(env, a->d[0], b->d[0]); }              \
    void vec_##name##sd(VEC_ARGS) { UNUSED(); *dst = *a; dst->q[0] = f64_##f(env, a->q[0], b->q[0]); }

ARITHMETIC(add, add)
ARITHMETIC(sub, sub)
ARITHMETIC(mul, mul)
ARITHMETIC(div, div)
ARITHMETIC(min, min)
ARITHMETIC(max, max)

void vec_sqrtps(VEC_ARGS) { UNUSED(); for (unsigned i = 0; i < bytes / 4; i++) dst->d[i] = f32_sqrt(env, b->d[i]); }
void vec_sqrtpd(VEC_ARGS) { UNUSED(); for (unsigned i = 0; i < bytes / 8; i++) dst->q[i] = f64_sqrt(env, b->q[i]); }
void vec_sqrtss(VEC_ARGS) { UNUSED(); *dst = *a; dst->d[0] = f32_sqrt(env, b->d[0]); }
void vec_sqrtsd(VEC_ARGS) { UNUSED(); *dst = *a; dst->q[0] = f64_sqrt(env, b->q[0]); }

/* The predicate of CMPPS and kin (SDM vol. 2, table 3-1): bits 1:0 with bit 2 as negation choose the relation, bit 3 swaps in the ordered/unordered
 * variant, bit 4 flips the signalling behaviour. */
static bool predicate_holds(unsigned predicate, enum fp_order order)
{
    bool unordered = order == FP_UNORDERED;

    switch (predicate & 15) {
    case 0: return order == FP_EQUAL;
    case 1: return order == FP_LESS;
    case 2: return order == FP_LESS || order == FP_EQUAL;
    case 3: return unordered;
    case 4: return order != FP_EQUAL;
    case 5: return order != FP_LESS;
    case 6: return order == FP_GREATER || unordered;
    case 7: return !unordered;
    case 8: return order == FP_EQUAL || unordered;
    case 9: return order == FP_LESS || unordered;
    case 10: return order != FP_GREATER;
    case 11: return false;
    case 12: return order != FP_EQUAL && !unordered;
    case 13: return order == FP_GREATER || order == FP_EQUAL;
    case 14: return order == FP_GREATER;
    default: return true;
    }
}

static bool predicate_signals(unsigned predicate)
{
    bool signals = predicate & 3 ? (predicate & 3) != 3 : false; /* LT, LE, NLT, NLE and their kin */
    return signals != (predicate >> 4 & 1);
}

static uint32_t compare_f32(struct fp_env *env, uint32_t x, uint32_t y, unsigned predicate)
{
    return predicate_holds(predicate, f32_compare(env, x, y, predicate_signals(predicate))) ? UINT32_MAX : 0;
}

static uint64_t compare_f64(struct fp_env *env, uint64_t x, uint64_t y, unsigned predicate)
{
    return predicate_holds(predicate, f64_compare(env, x, y, predicate_signals(predicate))) ? UINT64_MAX : 0;
}

void vec_cmpps(VEC_ARGS) { for (unsigned i = 0; i < bytes / 4; i++) dst->d[i] = compare_f32(env, a->d[i], b->d[i], imm & 31); }
void vec_cmppd(VEC_ARGS) { for (unsigned i = 0; i < bytes / 8; i++) dst->q[i] = compare_f64(env, a->q[i], b->q[i], imm & 31); }
void vec_cmpss(VEC_ARGS) { UNUSED(); *dst = *a; dst->d[0] = compare_f32(env, a->d[0], b->d[0], imm & 31); }
void vec_cmpsd(VEC_ARGS) { UNUSED(); *dst = *a; dst->q[0] = compare_f64(env, a->q[0], b->q[0], imm & 31); }

/* ROUNDxx: imm[2] takes MXCSR's rounding, imm[3] suppresses PE. */
static unsigned round_mode(const struct fp_env *env, unsigned imm) { return imm & 4 ? env->rounding : imm & 3; }

void vec_roundps(VEC_ARGS) { UNUSED(); for (unsigned i = 0; i < bytes / 4; i++) dst->d[i] = f32_round(env, b->d[i], round_mode(env, imm), imm & 8); }
void vec_roundpd(VEC_ARGS) { UNUSED(); for (unsigned i = 0; i < bytes / 8; i++) dst->q[i] = f64_round(env, b->q[i], round_mode(env, imm), imm & 8); }
void vec_roundss(VEC_ARGS) { UNUSED(); *dst = *a; dst->d[0] = f32_round(env, b->d[0], round_mode(env, imm), imm & 8); }
void vec_roundsd(VEC_ARGS) { UNUSED(); *dst = *a; dst->q[0] = f64_round(env, b->q[0], round_mode(env, imm), imm & 8); }

/* Even elements subtract, odd ones add. */
void vec_addsubps(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < bytes / 4; i++)
        dst->d[i] = i & 1 ? f32_add(env, a->d[i], b->d[i]) : f32_sub(env, a->d[i], b->d[i]);
}

void vec_addsubpd(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < bytes / 8; i++)
        dst->q[i] = i & 1 ? f64_add(env, a->q[i], b->q[i]) : f64_sub(env, a->q[i], b->q[i]);
}

#define HORIZONTAL(name, f)                                                                                         \
    void vec_##name##ps(VEC_ARGS)                                                                                   \
    {                                                                                                               \
        UNUSED();                                                                                                   \
        for (unsigned i = 0; i < bytes / 4; i++) {                                                                  \
            const uint32_t *pair = &(i & 2 ? b : a)->d[(i & ~3u) + 2 * (i & 1)];                                    \
            dst->d[i] = f32_##f(env, pair[0], pair[1]);                                                             \
        }                                                                                                           \
    }                                                                                                               \
    void vec_##name##pd(VEC_ARGS)                                                                                   \
    {                                                                                                               \
        UNUSED();                                                                                                   \
        for (unsigned i = 0; i < bytes / 8; i++) {                                                                  \
            const uint64_t *pair = &(i & 1 ? b : a)->q[i & ~1u];                                                    \
            dst->q[i] = f64_##f(env, pair[0], pair[1]);                                                             \
        }                                                                                                           \
    }
HORIZONTAL(hadd, add)
HORIZONTAL(hsub, sub)

/* DPPS: (x0*y0 + x1*y1) + (x2*y2 + x3*y3), products that imm[7:4] leaves out being +0 (SDM's DP_primitive). The stages report as separate operations:
 * an unmasked exception in one keeps the flags of the later ones unset. Where several products are NaNs the order of the operands decides, and Intel's
 * processors add in a butterfly, so that each result element has an order of its own. */
static bool stage_passed(struct fp_env *env)
{
    if (env->flags & ~env->masks)
        return false;
    env->settled |= env->flags;
    env->flags = 0;
    return true;
}

void vec_dpps(VEC_ARGS)
{
    uint32_t product[8], pair[8] = { 0 }, sum[8] = { 0 };
    unsigned count = bytes / 4;

    for (unsigned i = 0; i < count; i++)
        product[i] = imm >> (4 + (i & 3)) & 1 ? f32_mul(env, a->d[i], b->d[i]) : 0;
    bool passed = stage_passed(env);
    for (unsigned i = 0; i < count && passed; i++)
        pair[i] = f32_add(env, product[i ^ 1], product[i]);
    passed = stage_passed(env);
    for (unsigned i = 0; i < count && passed; i++)
        sum[i] = f32_add(env, pair[i], pair[i ^ 2]);
    for (unsigned i = 0; i < count; i++)
        dst->d[i] = imm >> (i & 3) & 1 ? sum[i] : 0;
}

void vec_dppd(VEC_ARGS)
{
    uint64_t product[2], sum[2] = { 0 };

    (void)bytes;
    for (unsigned i = 0; i < 2; i++)
        product[i] = imm >> (4 + i) & 1 ? f64_mul(env, a->q[i], b->q[i]) : 0;
    bool passed = stage_passed(env);
    for (unsigned i = 0; i < 2 && passed; i++)
        sum[i] = f64_add(env, product[i], product[i ^ 1]);
    for (unsigned i = 0; i < 2; i++)
        dst->q[i] = imm >> i & 1 ? sum[i] : 0;
}

/* ---- conversions. Where the source or the result is narrower, the rest of dst is zero. */

void vec_cvtdq2ps(VEC_ARGS) { UNUSED(); for (unsigned i = 0; i < bytes / 4; i++) dst->d[i] = f32_from_i64(env, (int32_t)b->d[i]); }
void vec_cvtdq2pd(VEC_ARGS) { UNUSED(); for (unsigned i = 0; i < bytes / 8; i++) dst->q[i] = f64_from_i64(env, (int32_t)b->d[i]); }
void vec_cvtps2dq(VEC_ARGS) { UNUSED(); for (unsigned i = 0; i < bytes / 4; i++) dst->d[i] = f32_to_i32(env, b->d[i], env->rounding); }
void vec_cvttps2dq(VEC_ARGS) { UNUSED(); for (unsigned i = 0; i < bytes / 4; i++) dst->d[i] = f32_to_i32(env, b->d[i], FP_ZERO); }
void vec_cvtps2pd(VEC_ARGS) { UNUSED(); for (unsigned i = 0; i < bytes / 8; i++) dst->q[i] = f32_to_f64(env, b->d[i]); }

void vec_cvtpd2ps(VEC_ARGS)
{
    UNUSED();
    *dst = (union vec){ 0 };
    for (unsigned i = 0; i < bytes / 8; i++)
        dst->d[i] = f64_to_f32(env, b->q[i]);
}

static void pd_to_dq(struct fp_env *env, union vec *dst, const union vec *b, unsigned bytes, unsigned rounding)
{
    *dst = (union vec){ 0 };
    for (unsigned i = 0; i < bytes / 8; i++)
        dst->d[i] = f64_to_i32(env, b->q[i], rounding);
}

void vec_cvtpd2dq(VEC_ARGS) { UNUSED(); pd_to_dq(env, dst, b, bytes, env->rounding); }
void vec_cvttpd2dq(VEC_ARGS) { UNUSED(); pd_to_dq(env, dst, b, bytes, FP_ZERO); }

/* MMX to and from XMM: always two elements. */
void vec_cvtpd2pi(VEC_ARGS) { UNUSED(); pd_to_dq(env, dst, b, 16, env->rounding); }
void vec_cvttpd2pi(VEC_ARGS) { UNUSED(); pd_to_dq(env, dst, b, 16, FP_ZERO); }
void vec_cvtps2pi(VEC_ARGS) { UNUSED(); for (unsigned i = 0; i < 2; i++) dst->d[i] = f32_to_i32(env, b->d[i], env->rounding); }
void vec_cvttps2pi(VEC_ARGS) { UNUSED(); for (unsigned i = 0; i < 2; i++) dst->d[i] = f32_to_i32(env, b->d[i], FP_ZERO); }
void vec_cvtpi2pd(VEC_ARGS) { UNUSED(); for (unsigned i = 0; i < 2; i++) dst->q[i] = f64_from_i64(env, (int32_t)b->d[i]); }
void vec_cvtpi2ps(VEC_ARGS) { UNUSED(); *dst = *a; for (unsigned i = 0; i < 2; i++) dst->d[i] = f32_from_i64(env, (int32_t)b->d[i]); }

void vec_cvtss2sd(VEC_ARGS) { UNUSED(); *dst = *a; dst->q[0] = f32_to_f64(env, b->d[0]); }
void vec_cvtsd2ss(VEC_ARGS) { UNUSED(); *dst = *a; dst->d[0] = f64_to_f32(env, b->q[0]); }

void vec_vcvtph2ps(VEC_ARGS) { UNUSED(); for (unsigned i = 0; i < bytes / 4; i++) dst->d[i] = f16_to_f32(env, b->w[i]); }

void vec_vcvtps2ph(VEC_ARGS)
{
    UNUSED();
    *dst = (union vec){ 0 };
    for (unsigned i = 0; i < bytes / 4; i++)
        dst->w[i] = f32_to_f16(env, b->d[i], round_mode(env, imm));
}

/* ---- FMA3: dst is the first operand. 132: dst * b + a, 213: a * dst + b, 231: a * b + dst. For a NaN the choice is in the order of the operands as
 * multiplied: the caller's (x, y, z) below. */

enum { MADD = 0, MSUB = FMA_NEGATE_ADDEND, NMADD = FMA_NEGATE_PRODUCT, NMSUB = FMA_NEGATE_PRODUCT | FMA_NEGATE_ADDEND };

#define FMA_ORDER(name, order, x, y, z, negate_even, negate_odd)                                                              \
    void vec_##name##order##ps(VEC_ARGS)                                                                                      \
    {                                                                                                                         \
        UNUSED();                                                                                                             \
        for (unsigned i = 0; i < bytes / 4; i++)                                                                              \
            dst->d[i] = f32_fma(env, x->d[i], y->d[i], z->d[i], i & 1 ? negate_odd : negate_even);                            \
    }                                                                                                                         \
    void vec_##name##order##pd(VEC_ARGS)                                                                                      \
    {                                                                                                                         \
        UNUSED();                                                                                                             \
        for (unsigned i = 0; i < bytes / 8; i++)                                                                              \
            dst->q[i] = f64_fma(env, x->q[i], y->q[i], z->q[i], i & 1 ? negate_odd : negate_even);                            \
    }
#define FMA_SCALAR(name, order, x, y, z, negate)                                                                              \
    void vec_##name##order##ss(VEC_ARGS) { UNUSED(); dst->d[0] = f32_fma(env, x->d[0], y->d[0], z->d[0], negate); }           \
    void vec_##name##order##sd(VEC_ARGS) { UNUSED(); dst->q[0] = f64_fma(env, x->q[0], y->q[0], z->q[0], negate); }
#define FMA_PACKED(name, even, odd)                                                                                           \
    FMA_ORDER(name, 132, dst, b, a, even, odd) FMA_ORDER(name, 213, a, dst, b, even, odd) FMA_ORDER(name, 231, a, b, dst, even, odd)
#define FMA_ALL(name, negate)                                                                                                 \
    FMA_PACKED(name, negate, negate)                                                                                          \
    FMA_SCALAR(name, 132, dst, b, a, negate) FMA_SCALAR(name, 213, a, dst, b, negate) FMA_SCALAR(name, 231, a, b, dst, negate)

FMA_ALL(vfmadd, MADD)
FMA_ALL(vfmsub, MSUB)
FMA_ALL(vfnmadd, NMADD)
FMA_ALL(vfnmsub, NMSUB)
FMA_PACKED(vfmaddsub, MSUB, MADD)
FMA_PACKED(vfmsubadd, MADD, MSUB)
