/* SPDX-License-Identifier: MIT */
/* vector_int.c - packed integer arithmetic, comparison and shifts of MMX, SSE2 to SSE4.2 and AVX2.
 *
 * Element-wise operations always compute 32 bytes, whatever `bytes` says: the loops then have constant bounds and compile to vector code without
 * branches, and the caller takes the bytes that it wants. */
#include "cpu/vector.h"

#define EACH(name, field, expression)                                                       \
    void vec_##name(VEC_ARGS)                                                               \
    {                                                                                       \
        (void)env, (void)bytes, (void)imm, (void)a;                                         \
        for (unsigned i = 0; i < ARRAY_LEN(dst->field); i++)                                \
            dst->field[i] = (expression);                                                   \
    }
#define X(field)  (a->field[i])
#define Y(field)  (b->field[i])
#define S8(v)     ((int8_t)(v))
#define S16(v)    ((int16_t)(v))
#define S32(v)    ((int32_t)(v))
#define S64(v)    ((int64_t)(v))
#define ONES(c)   ((c) ? -1 : 0)

static inline int clamp(int v, int low, int high) { return v < low ? low : v > high ? high : v; }

EACH(paddb, b, X(b) + Y(b))
EACH(paddw, w, X(w) + Y(w))
EACH(paddd, d, X(d) + Y(d))
EACH(paddq, q, X(q) + Y(q))
EACH(psubb, b, X(b) - Y(b))
EACH(psubw, w, X(w) - Y(w))
EACH(psubd, d, X(d) - Y(d))
EACH(psubq, q, X(q) - Y(q))
EACH(paddsb, b, clamp(S8(X(b)) + S8(Y(b)), INT8_MIN, INT8_MAX))
EACH(paddsw, w, clamp(S16(X(w)) + S16(Y(w)), INT16_MIN, INT16_MAX))
EACH(paddusb, b, clamp(X(b) + Y(b), 0, UINT8_MAX))
EACH(paddusw, w, clamp(X(w) + Y(w), 0, UINT16_MAX))
EACH(psubsb, b, clamp(S8(X(b)) - S8(Y(b)), INT8_MIN, INT8_MAX))
EACH(psubsw, w, clamp(S16(X(w)) - S16(Y(w)), INT16_MIN, INT16_MAX))
EACH(psubusb, b, X(b) > Y(b) ? X(b) - Y(b) : 0)
EACH(psubusw, w, X(w) > Y(w) ? X(w) - Y(w) : 0)
EACH(pavgb, b, (X(b) + Y(b) + 1) >> 1)
EACH(pavgw, w, (X(w) + Y(w) + 1) >> 1)
EACH(pcmpeqb, b, ONES(X(b) == Y(b)))
EACH(pcmpeqw, w, ONES(X(w) == Y(w)))
EACH(pcmpeqd, d, ONES(X(d) == Y(d)))
EACH(pcmpeqq, q, ONES(X(q) == Y(q)))
EACH(pcmpgtb, b, ONES(S8(X(b)) > S8(Y(b))))
EACH(pcmpgtw, w, ONES(S16(X(w)) > S16(Y(w))))
EACH(pcmpgtd, d, ONES(S32(X(d)) > S32(Y(d))))
EACH(pcmpgtq, q, ONES(S64(X(q)) > S64(Y(q))))
EACH(pmaxsb, b, S8(X(b)) > S8(Y(b)) ? X(b) : Y(b))
EACH(pmaxsw, w, S16(X(w)) > S16(Y(w)) ? X(w) : Y(w))
EACH(pmaxsd, d, S32(X(d)) > S32(Y(d)) ? X(d) : Y(d))
EACH(pmaxub, b, X(b) > Y(b) ? X(b) : Y(b))
EACH(pmaxuw, w, X(w) > Y(w) ? X(w) : Y(w))
EACH(pmaxud, d, X(d) > Y(d) ? X(d) : Y(d))
EACH(pminsb, b, S8(X(b)) < S8(Y(b)) ? X(b) : Y(b))
EACH(pminsw, w, S16(X(w)) < S16(Y(w)) ? X(w) : Y(w))
EACH(pminsd, d, S32(X(d)) < S32(Y(d)) ? X(d) : Y(d))
EACH(pminub, b, X(b) < Y(b) ? X(b) : Y(b))
EACH(pminuw, w, X(w) < Y(w) ? X(w) : Y(w))
EACH(pminud, d, X(d) < Y(d) ? X(d) : Y(d))
EACH(pabsb, b, S8(Y(b)) < 0 ? -Y(b) : Y(b))
EACH(pabsw, w, S16(Y(w)) < 0 ? -Y(w) : Y(w))
EACH(pabsd, d, S32(Y(d)) < 0 ? -Y(d) : Y(d))
EACH(psignb, b, S8(Y(b)) < 0 ? -X(b) : Y(b) ? X(b) : 0)
EACH(psignw, w, S16(Y(w)) < 0 ? -X(w) : Y(w) ? X(w) : 0)
EACH(psignd, d, S32(Y(d)) < 0 ? -X(d) : Y(d) ? X(d) : 0)
EACH(pmullw, w, (uint32_t)X(w) * Y(w))
EACH(pmulhw, w, (S16(X(w)) * S16(Y(w))) >> 16)
EACH(pmulhuw, w, ((uint32_t)X(w) * Y(w)) >> 16)
EACH(pmulhrsw, w, ((S16(X(w)) * S16(Y(w)) >> 14) + 1) >> 1)
EACH(pmulld, d, X(d) * Y(d))
EACH(pmuludq, q, (uint64_t)(uint32_t)X(q) * (uint32_t)Y(q))
EACH(pmuldq, q, (int64_t)S32(X(q)) * S32(Y(q)))
EACH(pand, q, X(q) & Y(q))
EACH(pandn, q, ~X(q) & Y(q))
EACH(por, q, X(q) | Y(q))
EACH(pxor, q, X(q) ^ Y(q))

/* Pairs: the product sum wraps only for 0x8000 * 0x8000 * 2. */
EACH(pmaddwd, d, (uint32_t)(S16(a->w[2 * i]) * S16(b->w[2 * i])) + (uint32_t)(S16(a->w[2 * i + 1]) * S16(b->w[2 * i + 1])))
EACH(pmaddubsw, w, clamp(a->b[2 * i] * S8(b->b[2 * i]) + a->b[2 * i + 1] * S8(b->b[2 * i + 1]), INT16_MIN, INT16_MAX))

/* Shifts by the low quadword of b: counts beyond the element width clear it, or fill it with the sign. */
EACH(psllw, w, b->q[0] > 15 ? 0 : X(w) << b->q[0])
EACH(pslld, d, b->q[0] > 31 ? 0 : X(d) << b->q[0])
EACH(psllq, q, b->q[0] > 63 ? 0 : X(q) << b->q[0])
EACH(psrlw, w, b->q[0] > 15 ? 0 : X(w) >> b->q[0])
EACH(psrld, d, b->q[0] > 31 ? 0 : X(d) >> b->q[0])
EACH(psrlq, q, b->q[0] > 63 ? 0 : X(q) >> b->q[0])
EACH(psraw, w, S16(X(w)) >> (b->q[0] > 15 ? 15 : b->q[0]))
EACH(psrad, d, S32(X(d)) >> (b->q[0] > 31 ? 31 : b->q[0]))
EACH(vpsllvd, d, Y(d) > 31 ? 0 : X(d) << (Y(d) & 31))
EACH(vpsllvq, q, Y(q) > 63 ? 0 : X(q) << (Y(q) & 63))
EACH(vpsrlvd, d, Y(d) > 31 ? 0 : X(d) >> (Y(d) & 31))
EACH(vpsrlvq, q, Y(q) > 63 ? 0 : X(q) >> (Y(q) & 63))
EACH(vpsravd, d, S32(X(d)) >> (Y(d) > 31 ? 31 : Y(d)))

/* PSLLDQ and PSRLDQ: bytes within each 16-byte lane, by the low quadword of b. */
void vec_pslldq(VEC_ARGS)
{
    unsigned count = b->q[0] > 16 ? 16 : b->q[0];

    (void)env, (void)imm;
    for (unsigned i = 0; i < bytes; i++)
        dst->b[i] = (i & 15) < count ? 0 : a->b[i - count];
}

void vec_psrldq(VEC_ARGS)
{
    unsigned count = b->q[0] > 16 ? 16 : b->q[0];

    (void)env, (void)imm;
    for (unsigned i = 0; i < bytes; i++)
        dst->b[i] = (i & 15) + count > 15 ? 0 : a->b[i + count];
}

static unsigned distance(unsigned x, unsigned y) { return x > y ? x - y : y - x; }

void vec_psadbw(VEC_ARGS)
{
    (void)env, (void)imm;
    for (unsigned i = 0; i < bytes / 8; i++) {
        unsigned sum = 0;
        for (unsigned j = 8 * i; j < 8 * i + 8; j++)
            sum += distance(a->b[j], b->b[j]);
        dst->q[i] = sum;
    }
}

/* imm[2:0] chooses the blocks of the low lane, imm[5:3] those of the high one. */
void vec_mpsadbw(VEC_ARGS)
{
    (void)env;
    for (unsigned lane = 0; lane < bytes / 16; lane++) {
        unsigned select = imm >> (3 * lane) & 7;
        const uint8_t *x = &a->b[16 * lane + (select & 4)], *y = &b->b[16 * lane + 4 * (select & 3)];
        for (unsigned i = 0; i < 8; i++)
            dst->w[8 * lane + i] = distance(x[i], y[0]) + distance(x[i + 1], y[1]) + distance(x[i + 2], y[2]) + distance(x[i + 3], y[3]);
    }
}

void vec_phminposuw(VEC_ARGS)
{
    unsigned best = 0;

    (void)env, (void)bytes, (void)imm, (void)a;
    for (unsigned i = 1; i < 8; i++)
        if (b->w[i] < b->w[best])
            best = i;
    *dst = (union vec){ .w = { b->w[best], best } };
}

/* Horizontal: in each lane (8 bytes for MMX, else 16) pairs of a, then pairs of b. */
#define HORIZONTAL(name, field, expression)                                                 \
    void vec_##name(VEC_ARGS)                                                               \
    {                                                                                       \
        unsigned width = sizeof dst->field[0], half = (bytes == 8 ? 8 : 16) / width / 2;    \
        (void)env, (void)imm;                                                               \
        for (unsigned i = 0; i < bytes / width; i++) {                                      \
            unsigned in_lane = i % (2 * half), base = i - in_lane;                          \
            const union vec *source = in_lane < half ? a : b;                               \
            unsigned at = base + 2 * (in_lane % half);                                      \
            int32_t x = FIRST(field), y = SECOND(field);                                    \
            dst->field[i] = (expression);                                                   \
        }                                                                                   \
    }
#define FIRST(field)  (sizeof dst->field[0] == 2 ? S16(source->field[at]) : S32(source->field[at]))
#define SECOND(field) (sizeof dst->field[0] == 2 ? S16(source->field[at + 1]) : S32(source->field[at + 1]))

HORIZONTAL(phaddw, w, x + y)
HORIZONTAL(phaddd, d, (uint32_t)x + (uint32_t)y)
HORIZONTAL(phaddsw, w, clamp(x + y, INT16_MIN, INT16_MAX))
HORIZONTAL(phsubw, w, x - y)
HORIZONTAL(phsubd, d, (uint32_t)x - (uint32_t)y)
HORIZONTAL(phsubsw, w, clamp(x - y, INT16_MIN, INT16_MAX))
