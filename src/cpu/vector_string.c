/* SPDX-License-Identifier: MIT */
/* vector_string.c - PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM vol. 2, 4.1 "Imm8 control byte operation").
 *
 * imm[0] words instead of bytes, imm[1] signed, imm[3:2] aggregation, imm[5:4] polarity, imm[6] which end or which kind of mask. */
#include "cpu/vector.h"

static unsigned element_count(unsigned imm) { return imm & 1 ? 8 : 16; }

static int element(const union vec *v, unsigned i, unsigned imm)
{
    switch (imm & 3) {
    case 0: return v->b[i];
    case 1: return v->w[i];
    case 2: return (int8_t)v->b[i];
    default: return (int16_t)v->w[i];
    }
}

unsigned vec_string_implicit_length(const union vec *v, unsigned imm)
{
    unsigned length = 0;

    while (length < element_count(imm) && element(v, length, imm) != 0)
        length++;
    return length;
}

unsigned vec_string_explicit_length(int64_t length, unsigned imm)
{
    uint64_t magnitude = length < 0 ? -(uint64_t)length : (uint64_t)length;
    return magnitude > element_count(imm) ? element_count(imm) : magnitude;
}

static bool matches_any(const union vec *a, unsigned la, int y, unsigned imm)
{
    for (unsigned i = 0; i < la; i++)
        if (element(a, i, imm) == y)
            return true;
    return false;
}

static bool matches_range(const union vec *a, unsigned la, int y, unsigned imm)
{
    for (unsigned i = 0; i + 1 < la; i += 2)
        if (element(a, i, imm) <= y && y <= element(a, i + 1, imm))
            return true;
    return false;
}

/* a, as far as it is valid, is found in b from element `at`, as far as the register goes. */
static bool matches_ordered(const union vec *a, unsigned la, const union vec *b, unsigned lb, unsigned at, unsigned imm)
{
    for (unsigned i = 0; i < la && at + i < element_count(imm); i++)
        if (at + i >= lb || element(a, i, imm) != element(b, at + i, imm))
            return false;
    return true;
}

static bool aggregate(const union vec *a, const union vec *b, unsigned la, unsigned lb, unsigned j, unsigned imm)
{
    switch (imm >> 2 & 3) {
    case 0: return j < lb && matches_any(a, la, element(b, j, imm), imm);
    case 1: return j < lb && matches_range(a, la, element(b, j, imm), imm);
    case 2: return j < la && j < lb ? element(a, j, imm) == element(b, j, imm) : j >= la && j >= lb;
    default: return matches_ordered(a, la, b, lb, j, imm);
    }
}

struct vec_string vec_string_compare(const union vec *a, const union vec *b, unsigned la, unsigned lb, unsigned imm)
{
    struct vec_string s = { .elements = element_count(imm), .la = la, .lb = lb };

    for (unsigned j = 0; j < s.elements; j++)
        s.mask |= (uint32_t)aggregate(a, b, la, lb, j, imm) << j;
    if (imm & 0x10)
        s.mask ^= imm & 0x20 ? (1u << lb) - 1 : (1u << s.elements) - 1;
    return s;
}

unsigned vec_string_index(const struct vec_string *s, unsigned imm)
{
    if (!s->mask)
        return s->elements;
    return imm & 0x40 ? 31 - __builtin_clz(s->mask) : __builtin_ctz(s->mask);
}

void vec_string_mask(const struct vec_string *s, unsigned imm, union vec *dst)
{
    *dst = (union vec){ 0 };
    if (!(imm & 0x40)) {
        dst->d[0] = s->mask;
        return;
    }
    for (unsigned i = 0; i < s->elements; i++) {
        if (imm & 1)
            dst->w[i] = s->mask >> i & 1 ? 0xffff : 0;
        else
            dst->b[i] = s->mask >> i & 1 ? 0xff : 0;
    }
}

uint32_t vec_string_flags(const struct vec_string *s)
{
    return (s->mask ? 1u : 0) | (s->lb < s->elements ? 1u << 6 : 0) | (s->la < s->elements ? 1u << 7 : 0) | (s->mask & 1) << 11; /* CF ZF SF OF */
}
