/* SPDX-License-Identifier: MIT */
/* vector_estimate.c - RCPPS and RSQRTPS, the architectural estimates of relative error below 1.5 * 2^-12.
 *
 * The SDM leaves the bits to the implementation. These are those of Intel's processors: the exact value at the middle of the operand's interval (11 leading fraction
 * bits for RCP, 10 for RSQRT), rounded to 13 places. AMD's differ. They raise no exceptions; denormals count as zero. */
#include "cpu/vector.h"

#define UNUSED() ((void)env, (void)bytes, (void)imm, (void)a, (void)b)

static uint32_t estimate_reciprocal(uint32_t x)
{
    uint32_t sign = x & 0x80000000, exponent = x >> 23 & 0xff, fraction = x & 0x7fffff;

    if (exponent == 0xff)
        return fraction ? x | 0x400000 : sign;
    if (exponent == 0)
        return sign | 0x7f800000;
    if (exponent > 252) /* the result would be denormal */
        return sign;
    uint32_t place = 2 * (fraction >> 12) + 1; /* in 2^-12: the middle */
    uint32_t r = ((1u << 26) / (4096 + place) + 1) / 2;
    return sign | (253 - exponent) << 23 | (r - 4096) << 11;
}

static uint32_t estimate_root(uint32_t x)
{
    uint32_t exponent = x >> 23 & 0xff, fraction = x & 0x7fffff, r = 0;

    if (exponent == 0xff && fraction)
        return x | 0x400000;
    if (exponent == 0)
        return (x & 0x80000000) | 0x7f800000;
    if (x >> 31)
        return F32_DEFAULT_NAN;
    if (exponent == 0xff)
        return 0;
    bool odd = !(exponent & 1); /* the unbiased exponent is odd: one factor of two goes under the root */
    uint64_t middle = (uint64_t)(2048 + 2 * (fraction >> 13) + 1) << odd; /* in 2^-11 */
    for (uint32_t bit = 1u << 12; bit; bit >>= 1) {
        uint64_t trial = 2 * (r | bit) - 1; /* r is right while (r - 1/2)^2 <= 2^26 / middle */
        if (trial * trial * middle <= UINT64_C(1) << 39)
            r |= bit;
    }
    return (126 - ((int)exponent - 127 - odd) / 2) << 23 | (r - 4096) << 11;
}

void vec_rcpps(VEC_ARGS) { UNUSED(); for (unsigned i = 0; i < bytes / 4; i++) dst->d[i] = estimate_reciprocal(b->d[i]); }
void vec_rsqrtps(VEC_ARGS) { UNUSED(); for (unsigned i = 0; i < bytes / 4; i++) dst->d[i] = estimate_root(b->d[i]); }
void vec_rcpss(VEC_ARGS) { UNUSED(); *dst = *a; dst->d[0] = estimate_reciprocal(b->d[0]); }
void vec_rsqrtss(VEC_ARGS) { UNUSED(); *dst = *a; dst->d[0] = estimate_root(b->d[0]); }
