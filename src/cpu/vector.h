/* SPDX-License-Identifier: MIT */
/* vector.h - what MMX, SSE and AVX instructions compute, as pure functions on register values.
 *
 * dst never overlaps a or b. On entry dst holds the third operand where there is one: the old destination for FMA3, the mask for the variable blends, and
 * else nothing of interest. One-operand operations read b. `bytes` is the vector length: 8 (MMX), 16 or 32; bytes of dst beyond it are
 * unspecified unless a comment says more. Memory operands narrower than the vector arrive zero-extended in b. Floating-point exceptions are ORed into env->flags;
 * integer operations take env NULL. vector_ops.def binds operations to these functions. */
#ifndef CPU_VECTOR_H
#define CPU_VECTOR_H

#include "base/bits.h"
#include "cpu/softfloat.h"
#include "cpu/values.h"

#define VEC_ARGS struct fp_env *env, union vec *restrict dst, const union vec *a, const union vec *b, unsigned bytes, unsigned imm

typedef void vec_function(VEC_ARGS);

#define VEC(op, function, traits) vec_function vec_##function;
#include "cpu/vector_ops.def"
#undef VEC
vec_function vec_vpermilps, vec_vpermilpd, vec_vpermilpd_imm, vec_movss, vec_movsd;
/* MOVLPS and MOVHPS from memory: b->q[0] into the low or the high half of a. */
vec_function vec_movhps;

/* MXCSR as an environment with no flags raised. */
static inline struct fp_env fp_env_from_mxcsr(uint32_t mxcsr)
{
    return (struct fp_env){ .rounding = mxcsr >> 13 & 3, .masks = mxcsr >> 7 & FP_ALL, .daz = mxcsr >> 6 & 1, .ftz = mxcsr >> 15 & 1 };
}

/* PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM vol. 2, 4.1). Lengths are in elements, already saturated; see vec_string_length(). */
struct vec_string {
    uint32_t mask;  /* IntRes2: one bit per element */
    unsigned elements, la, lb;
};
struct vec_string vec_string_compare(const union vec *a, const union vec *b, unsigned la, unsigned lb, unsigned imm);
/* Elements before the first zero (implicit forms), or |length| saturated (explicit forms). */
unsigned vec_string_implicit_length(const union vec *v, unsigned imm);
unsigned vec_string_explicit_length(int64_t length, unsigned imm);
/* The index for ECX, the mask for XMM0, and the arithmetic flags. */
unsigned vec_string_index(const struct vec_string *s, unsigned imm);
void vec_string_mask(const struct vec_string *s, unsigned imm, union vec *dst);
uint32_t vec_string_flags(const struct vec_string *s);

/* CRC32 with the Castagnoli polynomial, bit-reflected; `bytes` of data, 1 to 8. */
uint32_t vec_crc32c(uint32_t crc, uint64_t data, unsigned bytes);

#endif
