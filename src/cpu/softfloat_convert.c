/* SPDX-License-Identifier: MIT */
/* softfloat_convert.c - conversions between f16, f32, f64 and integers (SSE and F16C rules). */
#include "cpu/softfloat_core.h"

FP_INLINE int64_t to_integer(struct fp_env *env, const struct fp_format *f, uint64_t x, unsigned bits, unsigned rounding)
{
    struct fp_num a = fp_unpack(f, env->daz, x);
    uint64_t limit = UINT64_C(1) << (bits - 1);
    bool inexact, up, overflow;
    uint64_t whole = fp_round_to_integer(a, rounding, &inexact, &up, &overflow);

    if (overflow || whole > limit - !a.sign) {
        env->flags |= FP_IE;
        return (int64_t)-limit;
    }
    if (inexact)
        env->flags |= FP_PE;
    return (int64_t)(a.sign ? -whole : whole);
}

int32_t f32_to_i32(struct fp_env *env, uint32_t a, unsigned rounding) { return (int32_t)to_integer(env, &fp_f32, a, 32, rounding); }
int64_t f32_to_i64(struct fp_env *env, uint32_t a, unsigned rounding) { return to_integer(env, &fp_f32, a, 64, rounding); }
int32_t f64_to_i32(struct fp_env *env, uint64_t a, unsigned rounding) { return (int32_t)to_integer(env, &fp_f64, a, 32, rounding); }
int64_t f64_to_i64(struct fp_env *env, uint64_t a, unsigned rounding) { return to_integer(env, &fp_f64, a, 64, rounding); }

FP_INLINE uint64_t from_integer(struct fp_env *env, const struct fp_format *f, int64_t v)
{
    if (!v)
        return 0;
    uint64_t magnitude = v < 0 ? -(uint64_t)v : (uint64_t)v;
    int shift = __builtin_clzll(magnitude);
    return fp_round_pack(env, f, v < 0, 63 - shift, magnitude << shift);
}

uint32_t f32_from_i64(struct fp_env *env, int64_t a) { return from_integer(env, &fp_f32, a); }
uint64_t f64_from_i64(struct fp_env *env, int64_t a) { return from_integer(env, &fp_f64, a); }

FP_INLINE uint64_t convert(struct fp_env *env, const struct fp_format *from, const struct fp_format *to, uint64_t x, unsigned rounding)
{
    struct fp_num a = fp_unpack(from, env->daz, x);

    switch (a.kind) {
    case FP_KIND_ZERO:
        return fp_pack_zero(to, a.sign);
    case FP_KIND_INF:
        return fp_pack_inf(to, a.sign);
    case FP_KIND_SNAN:
        env->flags |= FP_IE;
        return fp_pack_nan(to, a);
    case FP_KIND_QNAN:
        return fp_pack_nan(to, a);
    default:
        if (a.denormal)
            env->flags |= FP_DE;
        return fp_round_pack_mode(env, to, rounding, a.sign, a.exp, a.sig);
    }
}

uint64_t f32_to_f64(struct fp_env *env, uint32_t a) { return convert(env, &fp_f32, &fp_f64, a, FP_NEAREST); }
uint32_t f64_to_f32(struct fp_env *env, uint64_t a) { return convert(env, &fp_f64, &fp_f32, a, env->rounding); }

uint32_t f16_to_f32(struct fp_env *env, uint16_t a)
{
    struct fp_env plain = { .masks = FP_ALL };
    uint32_t result = convert(&plain, &fp_f16, &fp_f32, a, FP_NEAREST);
    env->flags |= plain.flags & FP_IE;
    return result;
}

uint16_t f32_to_f16(struct fp_env *env, uint32_t a, unsigned rounding)
{
    struct fp_env plain = *env;
    plain.ftz = false;
    plain.flags = 0;
    uint16_t result = convert(&plain, &fp_f32, &fp_f16, a, rounding);
    if (plain.flags & FP_DE && plain.flags & FP_UE) /* as processors have it; without a difference while UE is masked */
        plain.flags |= FP_PE;
    env->flags |= plain.flags;
    return result;
}
