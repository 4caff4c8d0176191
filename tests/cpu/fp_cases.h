/* SPDX-License-Identifier: MIT */
/* fp_cases.h - random and special floating-point bit patterns for the tests of src/cpu: mostly edges of the format, seeded and repeatable. */
#ifndef TESTS_FP_CASES_H
#define TESTS_FP_CASES_H

#include <stdint.h>

struct fp_random { uint64_t state; };

/* xorshift64* (Vigna 2016). */
static inline uint64_t fp_random_next(struct fp_random *r)
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return r->state * UINT64_C(0x2545f4914f6cdd1d);
}

static inline uint64_t fp_random_fraction(struct fp_random *r, unsigned bits)
{
    uint64_t all = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1, x = fp_random_next(r);

    switch (fp_random_next(r) % 8) {
    case 0: return 0;
    case 1: return all;
    case 2: return x % 4;
    case 3: return all - x % 4;
    case 4: return UINT64_C(1) << (x % bits);
    case 5: return all << (x % bits) & all;
    case 6: return all >> (x % bits);
    default: return x & all;
    }
}

/* A pattern with `fraction` fraction bits and `exponent` exponent bits; `near` pulls most exponents together, so that sums cancel. */
static inline uint64_t fp_random_pattern(struct fp_random *r, unsigned exponent, unsigned fraction)
{
    uint64_t max = (UINT64_C(1) << exponent) - 1, bias = max >> 1, x = fp_random_next(r), e;

    switch (fp_random_next(r) % 16) {
    case 0: e = 0; break;
    case 1: e = max; break;
    case 2: e = 1 + x % 3; break;
    case 3: e = max - 1 - x % 3; break;
    case 4: case 5: e = x & max; break;
    case 6: e = x % (fraction + 4); break;
    case 7: e = bias + x % 70; break;
    case 8: e = (bias / 2 + x % (fraction + 4)) & max; break; /* products that are tiny */
    case 9: e = (bias + bias / 2 + x % 4) & max; break;       /* products that overflow */
    default: e = bias - 4 + x % 9; break;
    }
    if (e > max)
        e = max;
    return (fp_random_next(r) & 1) << (exponent + fraction) | e << fraction | fp_random_fraction(r, fraction);
}

static inline uint32_t fp_random_f32(struct fp_random *r) { return fp_random_pattern(r, 8, 23); }
static inline uint64_t fp_random_f64(struct fp_random *r) { return fp_random_pattern(r, 11, 52); }
static inline uint16_t fp_random_f16(struct fp_random *r) { return fp_random_pattern(r, 5, 10); }

#endif
