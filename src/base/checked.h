/* SPDX-License-Identifier: MIT */
/* checked.h - arithmetic on values that a guest, an image or a peer chose. Each returns true when the result does not fit (as C23's ckd_*). */
#ifndef BASE_CHECKED_H
#define BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ckd_add(result, a, b) __builtin_add_overflow((a), (b), (result))
#define ckd_sub(result, a, b) __builtin_sub_overflow((a), (b), (result))
#define ckd_mul(result, a, b) __builtin_mul_overflow((a), (b), (result))

/* True when [at, at + len) lies inside [0, size). Total: no value overflows. */
static inline bool range_inside(uint64_t at, uint64_t len, uint64_t size)
{
    return at <= size && len <= size - at;
}

/* True when [a, a + alen) and [b, b + blen) share a byte. The ranges must not wrap. */
static inline bool range_overlaps(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
    return alen && blen && (a < b ? b - a < alen : a - b < blen);
}

#endif
