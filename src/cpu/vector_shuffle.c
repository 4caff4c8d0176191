/* SPDX-License-Identifier: MIT */
/* vector_shuffle.c - packing, unpacking, shuffles, blends, permutes, broadcasts and extensions.
 *
 * AVX2 does most of these within each 16-byte lane; MMX forms have one lane of 8 bytes. */
#include "cpu/vector.h"

#define UNUSED() ((void)env, (void)bytes, (void)imm, (void)a, (void)b)

static inline unsigned lane_bytes(unsigned bytes) { return bytes == 8 ? 8 : 16; }
static inline int clamp(int v, int low, int high) { return v < low ? low : v > high ? high : v; }

/* In each lane: the narrowed elements of a, then those of b. */
#define PACK(name, to, from, signed_type, low, high)                                                                \
    void vec_##name(VEC_ARGS)                                                                                       \
    {                                                                                                               \
        unsigned half = lane_bytes(bytes) / sizeof dst->from[0];                                                    \
        UNUSED();                                                                                                   \
        for (unsigned base = 0; base < bytes / sizeof dst->from[0]; base += half) {                                 \
            for (unsigned i = 0; i < half; i++) {                                                                   \
                dst->to[2 * base + i] = clamp((signed_type)a->from[base + i], low, high);                           \
                dst->to[2 * base + half + i] = clamp((signed_type)b->from[base + i], low, high);                    \
            }                                                                                                       \
        }                                                                                                           \
    }

PACK(packsswb, b, w, int16_t, INT8_MIN, INT8_MAX)
PACK(packuswb, b, w, int16_t, 0, UINT8_MAX)
PACK(packssdw, w, d, int32_t, INT16_MIN, INT16_MAX)
PACK(packusdw, w, d, int32_t, 0, UINT16_MAX)

#define UNPACK(name, field, high)                                                                                   \
    void vec_##name(VEC_ARGS)                                                                                       \
    {                                                                                                               \
        unsigned count = lane_bytes(bytes) / sizeof dst->field[0], from = high ? count / 2 : 0;                     \
        UNUSED();                                                                                                   \
        for (unsigned base = 0; base < bytes / sizeof dst->field[0]; base += count) {                               \
            for (unsigned i = 0; i < count / 2; i++) {                                                              \
                dst->field[base + 2 * i] = a->field[base + from + i];                                               \
                dst->field[base + 2 * i + 1] = b->field[base + from + i];                                           \
            }                                                                                                       \
        }                                                                                                           \
    }

UNPACK(punpcklbw, b, 0) UNPACK(punpcklwd, w, 0) UNPACK(punpckldq, d, 0) UNPACK(punpcklqdq, q, 0)
UNPACK(punpckhbw, b, 1) UNPACK(punpckhwd, w, 1) UNPACK(punpckhdq, d, 1) UNPACK(punpckhqdq, q, 1)

void vec_pshufb(VEC_ARGS)
{
    unsigned mask = lane_bytes(bytes) - 1;

    UNUSED();
    for (unsigned i = 0; i < bytes; i++)
        dst->b[i] = b->b[i] & 0x80 ? 0 : a->b[(i & ~mask) + (b->b[i] & mask)];
}

void vec_pshufd(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < bytes / 4; i++)
        dst->d[i] = b->d[(i & ~3u) + (imm >> (2 * (i & 3)) & 3)];
}

void vec_pshufw(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < 4; i++)
        dst->w[i] = b->w[imm >> (2 * i) & 3];
}

void vec_pshuflw(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < bytes / 2; i++)
        dst->w[i] = i & 4 ? b->w[i] : b->w[(i & ~7u) + (imm >> (2 * (i & 3)) & 3)];
}

void vec_pshufhw(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < bytes / 2; i++)
        dst->w[i] = i & 4 ? b->w[(i & ~7u) + 4 + (imm >> (2 * (i & 3)) & 3)] : b->w[i];
}

void vec_shufps(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < bytes / 4; i++)
        dst->d[i] = (i & 2 ? b : a)->d[(i & ~3u) + (imm >> (2 * (i & 3)) & 3)];
}

void vec_shufpd(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < bytes / 8; i++)
        dst->q[i] = (i & 1 ? b : a)->q[(i & ~1u) + (imm >> i & 1)];
}

/* Bytes imm.. of the pair a:b (a high) in each lane. */
void vec_palignr(VEC_ARGS)
{
    unsigned lane = lane_bytes(bytes);

    UNUSED();
    for (unsigned i = 0; i < bytes; i++) {
        unsigned base = i & ~(lane - 1), at = (i & (lane - 1)) + (imm & 0xff);
        dst->b[i] = at < lane ? b->b[base + at] : at < 2 * lane ? a->b[base + at - lane] : 0;
    }
}

#define BLEND(name, field, select)                                                                                  \
    void vec_##name(VEC_ARGS)                                                                                       \
    {                                                                                                               \
        UNUSED();                                                                                                   \
        for (unsigned i = 0; i < bytes / sizeof dst->field[0]; i++)                                                 \
            dst->field[i] = (select) ? b->field[i] : a->field[i];                                                   \
    }

BLEND(blendps, d, imm >> i & 1)
BLEND(blendpd, q, imm >> i & 1)
BLEND(pblendw, w, imm >> (i & 7) & 1)
BLEND(blendvps, d, dst->d[i] >> 31) /* the mask comes in dst */
BLEND(blendvpd, q, dst->q[i] >> 63)
BLEND(pblendvb, b, dst->b[i] >> 7)

void vec_insertps(VEC_ARGS)
{
    UNUSED();
    union vec r = *a;
    r.d[imm >> 4 & 3] = b->d[imm >> 6 & 3];
    for (unsigned i = 0; i < 4; i++)
        dst->d[i] = imm >> i & 1 ? 0 : r.d[i];
}

/* Moves that merge. For the forms with a memory source b has the element at its low end. */
void vec_movss(VEC_ARGS) { UNUSED(); *dst = *a; dst->d[0] = b->d[0]; }
void vec_movsd(VEC_ARGS) { UNUSED(); *dst = *a; dst->q[0] = b->q[0]; }
void vec_movhps(VEC_ARGS) { UNUSED(); dst->q[0] = a->q[0]; dst->q[1] = b->q[0]; }
void vec_movhlps(VEC_ARGS) { UNUSED(); dst->q[0] = b->q[1]; dst->q[1] = a->q[1]; }
void vec_mov(VEC_ARGS) { UNUSED(); *dst = *b; }

void vec_movddup(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < bytes / 8; i++)
        dst->q[i] = b->q[i & ~1u];
}

void vec_movsldup(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < bytes / 4; i++)
        dst->d[i] = b->d[i & ~1u];
}

void vec_movshdup(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < bytes / 4; i++)
        dst->d[i] = b->d[i | 1];
}

#define EXTEND(name, to, from, type)                                                                                \
    void vec_##name(VEC_ARGS)                                                                                       \
    {                                                                                                               \
        UNUSED();                                                                                                   \
        for (unsigned i = 0; i < bytes / sizeof dst->to[0]; i++)                                                    \
            dst->to[i] = (type)b->from[i];                                                                          \
    }

EXTEND(pmovsxbw, w, b, int8_t) EXTEND(pmovsxbd, d, b, int8_t) EXTEND(pmovsxbq, q, b, int8_t)
EXTEND(pmovsxwd, d, w, int16_t) EXTEND(pmovsxwq, q, w, int16_t) EXTEND(pmovsxdq, q, d, int32_t)
EXTEND(pmovzxbw, w, b, uint8_t) EXTEND(pmovzxbd, d, b, uint8_t) EXTEND(pmovzxbq, q, b, uint8_t)
EXTEND(pmovzxwd, d, w, uint16_t) EXTEND(pmovzxwq, q, w, uint16_t) EXTEND(pmovzxdq, q, d, uint32_t)

#define BROADCAST(name, field)                                                                                      \
    void vec_##name(VEC_ARGS)                                                                                       \
    {                                                                                                               \
        UNUSED();                                                                                                   \
        for (unsigned i = 0; i < bytes / sizeof dst->field[0]; i++)                                                 \
            dst->field[i] = b->field[0];                                                                            \
    }

BROADCAST(vpbroadcastb, b) BROADCAST(vpbroadcastw, w) BROADCAST(vpbroadcastd, d) BROADCAST(vpbroadcastq, q)

void vec_vbroadcast128(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < 4; i++)
        dst->q[i] = b->q[i & 1];
}

void vec_vinsert128(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < 4; i++)
        dst->q[i] = i >> 1 == (imm & 1) ? b->q[i & 1] : a->q[i];
}

void vec_vextract128(VEC_ARGS)
{
    UNUSED();
    *dst = (union vec){ .q = { b->q[2 * (imm & 1)], b->q[2 * (imm & 1) + 1] } };
}

void vec_vperm2x128(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < 4; i++) {
        unsigned control = imm >> (i & 2 ? 4 : 0);
        dst->q[i] = control & 8 ? 0 : (control & 2 ? b : a)->q[2 * (control & 1) + (i & 1)];
    }
}

/* Indices in a, table in b. */
void vec_vpermd(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < 8; i++)
        dst->d[i] = b->d[a->d[i] & 7];
}

void vec_vpermq(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < 4; i++)
        dst->q[i] = b->q[imm >> (2 * i) & 3];
}

/* VPERMILPS/PD with indices in b; their immediate forms are pshufd and vpermilpd_imm. */
void vec_vpermilps(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < bytes / 4; i++)
        dst->d[i] = a->d[(i & ~3u) + (b->d[i] & 3)];
}

void vec_vpermilpd(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < bytes / 8; i++)
        dst->q[i] = a->q[(i & ~1u) + (b->q[i] >> 1 & 1)];
}

void vec_vpermilpd_imm(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < bytes / 8; i++)
        dst->q[i] = b->q[(i & ~1u) + (imm >> i & 1)];
}
