/* SPDX-License-Identifier: MIT */
/* Compares softfloat with the host's SSE unit, results and MXCSR flags, over rounding modes, DAZ and FTZ. x86-64 hosts only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "cpu/softfloat.h"
#include "fp_cases.h"

enum { ROUNDS = 3000 };

static uint32_t host_mxcsr(const struct fp_env *env)
{
    return 0x1f80 | env->rounding << 13 | (env->daz ? 0x40 : 0) | (env->ftz ? 0x8000 : 0);
}

#define HOST(setup, ...)                                              \
    ({                                                                \
        uint32_t control_ = (setup), status_, old_;                   \
        __asm__ volatile("stmxcsr %0" : "=m"(old_));                  \
        __asm__ volatile("ldmxcsr %0" : : "m"(control_));             \
        __VA_ARGS__;                                                  \
        __asm__ volatile("stmxcsr %0" : "=m"(status_));               \
        __asm__ volatile("ldmxcsr %0" : : "m"(old_));                 \
        status_ & 0x3f;                                               \
    })

#define BINARY(name, op, type)                                                                       \
    static uint32_t host_##name(uint32_t mx, type a, type b, type *r)                                \
    {                                                                                                \
        return HOST(mx, __asm__ volatile("movq %1, %%xmm0\n movq %2, %%xmm1\n" op " %%xmm1, %%xmm0\n movq %%xmm0, %0" \
                                         : "=m"(*(uint64_t *)r) : "m"(*(uint64_t[1]){ a }), "m"(*(uint64_t[1]){ b }) : "xmm0", "xmm1")); \
    }

BINARY(f32_add, "addss", uint64_t) BINARY(f32_sub, "subss", uint64_t) BINARY(f32_mul, "mulss", uint64_t) BINARY(f32_div, "divss", uint64_t)
BINARY(f32_min, "minss", uint64_t) BINARY(f32_max, "maxss", uint64_t) BINARY(f32_sqrt, "sqrtss", uint64_t)
BINARY(f64_add, "addsd", uint64_t) BINARY(f64_sub, "subsd", uint64_t) BINARY(f64_mul, "mulsd", uint64_t) BINARY(f64_div, "divsd", uint64_t)
BINARY(f64_min, "minsd", uint64_t) BINARY(f64_max, "maxsd", uint64_t) BINARY(f64_sqrt, "sqrtsd", uint64_t)
BINARY(f32_to_f64, "cvtss2sd", uint64_t) BINARY(f64_to_f32, "cvtsd2ss", uint64_t)
BINARY(f32_to_i32, "cvtps2dq", uint64_t) BINARY(f32_to_i32z, "cvttps2dq", uint64_t) BINARY(f64_to_i32, "cvtpd2dq", uint64_t)
BINARY(f64_to_i32z, "cvttpd2dq", uint64_t) BINARY(i32_to_f32, "cvtdq2ps", uint64_t)
BINARY(f32_round0, "roundss $0,", uint64_t) BINARY(f32_round1, "roundss $1,", uint64_t) BINARY(f32_round2, "roundss $2,", uint64_t)
BINARY(f32_round3, "roundss $3,", uint64_t) BINARY(f32_round12, "roundss $12,", uint64_t) BINARY(f64_round0, "roundsd $0,", uint64_t)
BINARY(f64_round1, "roundsd $1,", uint64_t) BINARY(f64_round2, "roundsd $2,", uint64_t) BINARY(f64_round3, "roundsd $3,", uint64_t)
BINARY(f64_round12, "roundsd $12,", uint64_t)
BINARY(f32_cmpeq, "cmpeqss", uint64_t) BINARY(f32_cmplt, "cmpltss", uint64_t) BINARY(f64_cmpeq, "cmpeqsd", uint64_t) BINARY(f64_cmplt, "cmpltsd", uint64_t)

#define TO_I64(name, op)                                                                                                  \
    static uint32_t host_##name(uint32_t mx, uint64_t a, uint64_t *r)                                                     \
    {                                                                                                                     \
        return HOST(mx, __asm__ volatile("movq %1, %%xmm0\n" op " %%xmm0, %0" : "=r"(*r) : "m"(a) : "xmm0"));             \
    }
TO_I64(f32_to_i64, "cvtss2si") TO_I64(f32_to_i64z, "cvttss2si") TO_I64(f64_to_i64, "cvtsd2si") TO_I64(f64_to_i64z, "cvttsd2si")

#define FROM_I64(name, op)                                                                                                             \
    static uint32_t host_##name(uint32_t mx, int64_t a, uint64_t *r)                                                                   \
    {                                                                                                                                  \
        return HOST(mx, __asm__ volatile("pxor %%xmm0, %%xmm0\n" op " %1, %%xmm0\n movq %%xmm0, %0" : "=m"(*r) : "r"(a) : "xmm0"));    \
    }
FROM_I64(f32_from_i64, "cvtsi2ssq") FROM_I64(f64_from_i64, "cvtsi2sdq")

#define TERNARY(name, op)                                                                                                              \
    static uint32_t host_##name(uint32_t mx, uint64_t a, uint64_t b, uint64_t c, uint64_t *r)                                          \
    {                                                                                                                                  \
        return HOST(mx, __asm__ volatile("vmovq %1, %%xmm0\n vmovq %2, %%xmm1\n vmovq %3, %%xmm2\n" op " %%xmm2, %%xmm1, %%xmm0\n vmovq %%xmm0, %0" \
                                         : "=m"(*r) : "m"(a), "m"(b), "m"(c) : "xmm0", "xmm1", "xmm2"));                                \
    }
TERNARY(f32_fma, "vfmadd213ss") TERNARY(f64_fma, "vfmadd213sd") TERNARY(f32_fms, "vfmsub213ss") TERNARY(f64_fnma, "vfnmadd213sd")

static uint32_t host_f16_to_f32(uint32_t mx, uint64_t a, uint64_t *r)
{
    return HOST(mx, __asm__ volatile("vmovq %1, %%xmm0\n vcvtph2ps %%xmm0, %%xmm0\n vmovq %%xmm0, %0" : "=m"(*r) : "m"(a) : "xmm0"));
}

static uint32_t host_f32_to_f16(uint32_t mx, uint64_t a, uint64_t *r)
{
    return HOST(mx, __asm__ volatile("vmovq %1, %%xmm0\n vcvtps2ph $4, %%xmm0, %%xmm0\n vmovq %%xmm0, %0" : "=m"(*r) : "m"(a) : "xmm0"));
}

static unsigned failures;

static void check(const char *what, const struct fp_env *env, uint64_t a, uint64_t b, uint64_t c, uint64_t mine, uint64_t host, unsigned host_flags)
{
    if (mine == host && env->flags == host_flags)
        return;
    if (failures++ < 40)
        fprintf(stderr, "%s rc%u daz%d ftz%d %#lx %#lx %#lx: %#lx flags %02x, host %#lx flags %02x\n", what, env->rounding, env->daz, env->ftz,
                (long)a, (long)b, (long)c, (long)mine, env->flags, (long)host, host_flags);
}

#define CHECK2(name, a, b, mask) do {                                                             \
        struct fp_env e_ = *env;                                                                  \
        uint64_t r_ = 0, m_ = name(&e_, a, b);                                                    \
        unsigned f_ = host_##name(host_mxcsr(env), a, b, &r_);                                    \
        check(#name, &e_, a, b, 0, m_, r_ & (mask), f_);                                          \
    } while (0)

#define CHECK1(label, mine, host, a, mask) do {                                                   \
        struct fp_env e_ = *env;                                                                  \
        uint64_t r_ = 0, m_ = (mine) & (mask);                                                    \
        unsigned f_ = host;                                                                       \
        check(label, &e_, a, 0, 0, m_, r_ & (mask), f_);                                          \
    } while (0)

#define LOW UINT64_C(0xffffffff)
#define MX host_mxcsr(env)

static void check_f32(const struct fp_env *env, uint32_t a, uint32_t b)
{
    CHECK2(f32_add, a, b, LOW); CHECK2(f32_sub, a, b, LOW); CHECK2(f32_mul, a, b, LOW); CHECK2(f32_div, a, b, LOW);
    CHECK2(f32_min, a, b, LOW); CHECK2(f32_max, a, b, LOW);
    CHECK1("f32_sqrt", f32_sqrt(&e_, a), host_f32_sqrt(MX, 0, a, &r_), a, LOW);
    CHECK1("f32_eq", f32_compare(&e_, a, b, false) == FP_EQUAL ? LOW : 0, host_f32_cmpeq(MX, a, b, &r_), a, LOW);
    CHECK1("f32_lt", f32_compare(&e_, a, b, true) == FP_LESS ? LOW : 0, host_f32_cmplt(MX, a, b, &r_), a, LOW);
    CHECK1("f32_to_f64", f32_to_f64(&e_, a), host_f32_to_f64(MX, 0, a, &r_), a, UINT64_MAX);
    CHECK1("f32_to_i32", (uint32_t)f32_to_i32(&e_, a, env->rounding), host_f32_to_i32(MX, 0, a, &r_), a, LOW);
    CHECK1("f32_to_i32z", (uint32_t)f32_to_i32(&e_, a, FP_ZERO), host_f32_to_i32z(MX, 0, a, &r_), a, LOW);
    CHECK1("f32_to_i64", (uint64_t)f32_to_i64(&e_, a, env->rounding), host_f32_to_i64(MX, a, &r_), a, UINT64_MAX);
    CHECK1("f32_to_i64z", (uint64_t)f32_to_i64(&e_, a, FP_ZERO), host_f32_to_i64z(MX, a, &r_), a, UINT64_MAX);
    CHECK1("i32_to_f32", f32_from_i64(&e_, (int32_t)a), host_i32_to_f32(MX, 0, a, &r_), a, LOW);
    CHECK1("f32_round0", f32_round(&e_, a, 0, false), host_f32_round0(MX, 0, a, &r_), a, LOW);
    CHECK1("f32_round1", f32_round(&e_, a, 1, false), host_f32_round1(MX, 0, a, &r_), a, LOW);
    CHECK1("f32_round2", f32_round(&e_, a, 2, false), host_f32_round2(MX, 0, a, &r_), a, LOW);
    CHECK1("f32_round3", f32_round(&e_, a, 3, false), host_f32_round3(MX, 0, a, &r_), a, LOW);
    CHECK1("f32_round12", f32_round(&e_, a, env->rounding, true), host_f32_round12(MX, 0, a, &r_), a, LOW);
}

static void check_f64(const struct fp_env *env, uint64_t a, uint64_t b)
{
    CHECK2(f64_add, a, b, UINT64_MAX); CHECK2(f64_sub, a, b, UINT64_MAX); CHECK2(f64_mul, a, b, UINT64_MAX); CHECK2(f64_div, a, b, UINT64_MAX);
    CHECK2(f64_min, a, b, UINT64_MAX); CHECK2(f64_max, a, b, UINT64_MAX);
    CHECK1("f64_sqrt", f64_sqrt(&e_, a), host_f64_sqrt(MX, 0, a, &r_), a, UINT64_MAX);
    CHECK1("f64_eq", f64_compare(&e_, a, b, false) == FP_EQUAL ? UINT64_MAX : 0, host_f64_cmpeq(MX, a, b, &r_), a, UINT64_MAX);
    CHECK1("f64_lt", f64_compare(&e_, a, b, true) == FP_LESS ? UINT64_MAX : 0, host_f64_cmplt(MX, a, b, &r_), a, UINT64_MAX);
    CHECK1("f64_to_f32", f64_to_f32(&e_, a), host_f64_to_f32(MX, 0, a, &r_), a, LOW);
    CHECK1("f64_to_i32", (uint32_t)f64_to_i32(&e_, a, env->rounding), host_f64_to_i32(MX, 0, a, &r_), a, LOW);
    CHECK1("f64_to_i32z", (uint32_t)f64_to_i32(&e_, a, FP_ZERO), host_f64_to_i32z(MX, 0, a, &r_), a, LOW);
    CHECK1("f64_to_i64", (uint64_t)f64_to_i64(&e_, a, env->rounding), host_f64_to_i64(MX, a, &r_), a, UINT64_MAX);
    CHECK1("f64_to_i64z", (uint64_t)f64_to_i64(&e_, a, FP_ZERO), host_f64_to_i64z(MX, a, &r_), a, UINT64_MAX);
    CHECK1("f32_from_i64", f32_from_i64(&e_, (int64_t)a), host_f32_from_i64(MX, (int64_t)a, &r_), a, LOW);
    CHECK1("f64_from_i64", f64_from_i64(&e_, (int64_t)a), host_f64_from_i64(MX, (int64_t)a, &r_), a, UINT64_MAX);
    CHECK1("f64_round0", f64_round(&e_, a, 0, false), host_f64_round0(MX, 0, a, &r_), a, UINT64_MAX);
    CHECK1("f64_round1", f64_round(&e_, a, 1, false), host_f64_round1(MX, 0, a, &r_), a, UINT64_MAX);
    CHECK1("f64_round2", f64_round(&e_, a, 2, false), host_f64_round2(MX, 0, a, &r_), a, UINT64_MAX);
    CHECK1("f64_round3", f64_round(&e_, a, 3, false), host_f64_round3(MX, 0, a, &r_), a, UINT64_MAX);
    CHECK1("f64_round12", f64_round(&e_, a, env->rounding, true), host_f64_round12(MX, 0, a, &r_), a, UINT64_MAX);
}

static void check_fma(const struct fp_env *env, struct fp_random *r)
{
    uint32_t a = fp_random_f32(r), b = fp_random_f32(r), c = fp_random_f32(r);
    uint64_t x = fp_random_f64(r), y = fp_random_f64(r), z = fp_random_f64(r);
    uint16_t h = fp_random_f16(r);
    CHECK1("f32_fma", f32_fma(&e_, a, b, c, 0), host_f32_fma(MX, b, a, c, &r_), a, LOW);
    CHECK1("f32_fms", f32_fma(&e_, a, b, c, FMA_NEGATE_ADDEND), host_f32_fms(MX, b, a, c, &r_), a, LOW);
    CHECK1("f64_fma", f64_fma(&e_, x, y, z, 0), host_f64_fma(MX, y, x, z, &r_), x, UINT64_MAX);
    CHECK1("f64_fnma", f64_fma(&e_, x, y, z, FMA_NEGATE_PRODUCT), host_f64_fnma(MX, y, x, z, &r_), x, UINT64_MAX);
    CHECK1("f16_to_f32", f16_to_f32(&e_, h), host_f16_to_f32(MX, h, &r_), h, LOW);
    CHECK1("f32_to_f16", f32_to_f16(&e_, a, env->rounding), host_f32_to_f16(MX, a, &r_), a, 0xffff);
}

static void softfloat_agrees_with_the_host(void **state)
{
    (void)state;
    bool fma = __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2");
    struct fp_random r = { 0x1234567 };
    for (unsigned mode = 0; mode < 16; mode++) {
        struct fp_env env = { .rounding = mode & 3, .daz = mode & 4, .ftz = mode & 8, .masks = FP_ALL };
        for (unsigned i = 0; i < ROUNDS; i++) {
            uint32_t a = fp_random_f32(&r), b = i % 8 ? fp_random_f32(&r) : a + (fp_random_next(&r) % 5) - 2;
            uint64_t x = fp_random_f64(&r), y = i % 8 ? fp_random_f64(&r) : x + (fp_random_next(&r) % 5) - 2;
            check_f32(&env, a, b);
            check_f64(&env, x, y);
            if (fma)
                check_fma(&env, &r);
        }
    }
    assert_int_equal(failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(softfloat_agrees_with_the_host) };
    if (!__builtin_cpu_supports("sse4.1")) {
        fprintf(stderr, "the host has no SSE4.1\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
