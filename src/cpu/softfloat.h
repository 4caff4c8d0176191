/* SPDX-License-Identifier: MIT */
/* softfloat.h - IEEE 754 arithmetic of an x86 CPU in integer code, so that guests get the same bits on every host.
 *
 * Formats: f16 (conversions only), f32, f64, and the x87's 80-bit f80 with precision control. Each operation takes a struct fp_env: it reads
 * rounding, masks, DAZ and FTZ there, and ORs into `flags` what it raises. Nothing here faults or stops: the caller compares flags with masks.
 * Rules: IEEE 754-2008; Intel SDM vol. 1 chapters 4.8 (NaNs, table 4-7), 8.5 (x87 exceptions), 11.5 (SSE exceptions), 14.5.2 (FMA).
 * x86 detects tininess after rounding, its default NaN is negative, and an operation that has a NaN operand raises no denormal exception.
 * All functions are pure but for *env, and safe on any bit pattern. */
#ifndef CPU_SOFTFLOAT_H
#define CPU_SOFTFLOAT_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/values.h"

/* The encodings of MXCSR.RC and FCW.RC. */
enum fp_rounding { FP_NEAREST = 0, FP_DOWN = 1, FP_UP = 2, FP_ZERO = 3 };

/* The bits of MXCSR[5:0] and FSW[5:0]. */
enum fp_flag { FP_IE = 1, FP_DE = 2, FP_ZE = 4, FP_OE = 8, FP_UE = 16, FP_PE = 32, FP_ALL = 63, FP_PRE = FP_IE | FP_DE | FP_ZE };

struct fp_env {
    uint8_t rounding;   /* enum fp_rounding */
    uint8_t precision;  /* f80 results only: 24, 53 or 64 bits of significand */
    uint8_t flags;      /* enum fp_flag, accumulated */
    uint8_t settled;    /* enum fp_flag: of earlier stages of an operation in stages (DPPS) */
    uint8_t masks;      /* enum fp_flag; a set bit means masked, as in MXCSR[12:7] and FCW[5:0] */
    bool daz;           /* treat denormal operands as zero (MXCSR only) */
    bool ftz;           /* flush tiny results to zero while underflow is masked (MXCSR only) */
    bool rounded_up;    /* the last inexact result was rounded away from zero (the x87's C1) */
};

/* True when an unmasked exception is pending that stops the operation before its result is computed. */
static inline bool fp_stopped(const struct fp_env *env) { return env->flags & ~env->masks & FP_PRE; }

enum fp_kind { FP_KIND_ZERO, FP_KIND_NORMAL, FP_KIND_INF, FP_KIND_QNAN, FP_KIND_SNAN, FP_KIND_UNSUPPORTED };

/* An unpacked number: for FP_KIND_NORMAL the value is sig * 2^(exp - 63) with bit 63 of sig set; for NaNs sig holds the payload in the
 * place where f80 has it. `denormal` says that the operand was encoded as a denormal and must raise DE where it is used. */
struct fp_num {
    uint64_t sig;
    int32_t exp;
    uint8_t kind;
    bool sign, denormal;
};

enum fp_order { FP_LESS, FP_EQUAL, FP_GREATER, FP_UNORDERED };

#define F32_DEFAULT_NAN 0xffc00000u
#define F64_DEFAULT_NAN UINT64_C(0xfff8000000000000)

/* f32 and f64, with SSE rules for NaNs: the first operand if it is a NaN, else the second, made quiet. */
uint32_t f32_add(struct fp_env *env, uint32_t a, uint32_t b);
uint32_t f32_sub(struct fp_env *env, uint32_t a, uint32_t b);
uint32_t f32_mul(struct fp_env *env, uint32_t a, uint32_t b);
uint32_t f32_div(struct fp_env *env, uint32_t a, uint32_t b);
uint32_t f32_sqrt(struct fp_env *env, uint32_t a);
uint64_t f64_add(struct fp_env *env, uint64_t a, uint64_t b);
uint64_t f64_sub(struct fp_env *env, uint64_t a, uint64_t b);
uint64_t f64_mul(struct fp_env *env, uint64_t a, uint64_t b);
uint64_t f64_div(struct fp_env *env, uint64_t a, uint64_t b);
uint64_t f64_sqrt(struct fp_env *env, uint64_t a);

/* a * b + c with one rounding, the product or the addend negated first where the flags say so. NaN choice: a, b, c in this order. */
enum fp_fma { FMA_NEGATE_PRODUCT = 1, FMA_NEGATE_ADDEND = 2 };
uint32_t f32_fma(struct fp_env *env, uint32_t a, uint32_t b, uint32_t c, unsigned negate);
uint64_t f64_fma(struct fp_env *env, uint64_t a, uint64_t b, uint64_t c, unsigned negate);

/* MINxx and MAXxx: the second operand when either is a NaN or both are zero. Any NaN raises IE. */
uint32_t f32_min(struct fp_env *env, uint32_t a, uint32_t b);
uint32_t f32_max(struct fp_env *env, uint32_t a, uint32_t b);
uint64_t f64_min(struct fp_env *env, uint64_t a, uint64_t b);
uint64_t f64_max(struct fp_env *env, uint64_t a, uint64_t b);

/* SNaNs raise IE always, QNaNs when `signalling`. */
enum fp_order f32_compare(struct fp_env *env, uint32_t a, uint32_t b, bool signalling);
enum fp_order f64_compare(struct fp_env *env, uint64_t a, uint64_t b, bool signalling);

/* ROUNDxx: to an integral value with the given rounding; PE unless `quiet`. */
uint32_t f32_round(struct fp_env *env, uint32_t a, unsigned rounding, bool quiet);
uint64_t f64_round(struct fp_env *env, uint64_t a, unsigned rounding, bool quiet);

/* To integers with the given rounding; NaN and out of range give the integer indefinite (only the sign bit set) and IE. */
int32_t f32_to_i32(struct fp_env *env, uint32_t a, unsigned rounding);
int64_t f32_to_i64(struct fp_env *env, uint32_t a, unsigned rounding);
int32_t f64_to_i32(struct fp_env *env, uint64_t a, unsigned rounding);
int64_t f64_to_i64(struct fp_env *env, uint64_t a, unsigned rounding);
uint32_t f32_from_i64(struct fp_env *env, int64_t a);
uint64_t f64_from_i64(struct fp_env *env, int64_t a);

uint64_t f32_to_f64(struct fp_env *env, uint32_t a);
uint32_t f64_to_f32(struct fp_env *env, uint64_t a);
/* VCVTPH2PS ignores DAZ and raises no DE; VCVTPS2PH has its own rounding and ignores FTZ. */
uint32_t f16_to_f32(struct fp_env *env, uint16_t a);
uint16_t f32_to_f16(struct fp_env *env, uint32_t a, unsigned rounding);

/* Unpacked operands for the x87, whose memory forms mix formats. They raise nothing. */
struct fp_num fp_num_from_f32(uint32_t a);
struct fp_num fp_num_from_f64(uint64_t a);
struct fp_num fp_num_from_f80(struct f80 a);
struct fp_num fp_num_from_i64(int64_t a);

/* x87 arithmetic (softfloat_x87.c): rounds to env->precision with the exponent range of f80; unsupported encodings raise IE; of two NaNs the
 * one with the larger significand is the result. With OE or UE unmasked the result is the rounded one with its exponent moved by 24576. */
struct f80 f80_add(struct fp_env *env, struct fp_num a, struct fp_num b);
struct f80 f80_sub(struct fp_env *env, struct fp_num a, struct fp_num b);
struct f80 f80_mul(struct fp_env *env, struct fp_num a, struct fp_num b);
struct f80 f80_div(struct fp_env *env, struct fp_num a, struct fp_num b);
struct f80 f80_sqrt(struct fp_env *env, struct fp_num a);
struct f80 f80_round(struct fp_env *env, struct fp_num a);
struct f80 f80_scale(struct fp_env *env, struct fp_num a, struct fp_num by);
enum fp_order f80_compare(struct fp_env *env, struct fp_num a, struct fp_num b, bool signalling);
/* FXTRACT: returns the significand, *exponent receives the unbiased exponent. */
struct f80 f80_extract(struct fp_env *env, struct fp_num a, struct f80 *exponent);
/* FPREM (nearest false) and FPREM1 (true). *quotient receives the low three bits of the quotient, *partial whether the reduction is incomplete. */
struct f80 f80_rem(struct fp_env *env, struct fp_num a, struct fp_num b, bool nearest, unsigned *quotient, bool *partial);

/* FLD m32/m64: quiets SNaNs (IE) and raises DE. */
struct f80 f80_load_num(struct fp_env *env, struct fp_num a);
struct f80 f80_from_i64(int64_t a);
uint32_t f80_to_f32(struct fp_env *env, struct f80 a);
uint64_t f80_to_f64(struct fp_env *env, struct f80 a);
/* To a signed integer of 16, 32 or 64 bits; out of range: only the sign bit of that size set, and IE. */
int64_t f80_to_int(struct fp_env *env, struct f80 a, unsigned bits, unsigned rounding);
/* Rounds sign * sig * 2^(exp - 127), bit 127 of hi:lo set, to f80 as an arithmetic result would be. */
struct f80 f80_round_pack(struct fp_env *env, bool sign, int32_t exp, uint64_t hi, uint64_t lo);

#define F80_DEFAULT_NAN ((struct f80){ UINT64_C(0xc000000000000000), 0xffff })

#endif
