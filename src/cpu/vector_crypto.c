/* SPDX-License-Identifier: MIT */
/* vector_crypto.c - AES-NI and VAES, PCLMULQDQ and VPCLMULQDQ, SHA extensions, CRC32.
 *
 * Tables are indexed by guest data, so timing on the host depends on the guest's keys; a guest that shares a host core with an attacker should know.
 * Spec: FIPS 197 (AES; byte i of a register is row i % 4, column i / 4 of the state), FIPS 180-4 (SHA), SDM vol. 2. */
#include "cpu/vector.h"

#define UNUSED() ((void)env, (void)bytes, (void)imm, (void)a, (void)b)

/* FIPS 197 figures 7 and 14. */
static const uint8_t aes_sbox[256] = {
    0x63, 0x7c, 0x77, 0x7b, 0xf2, 0x6b, 0x6f, 0xc5, 0x30, 0x01, 0x67, 0x2b, 0xfe, 0xd7, 0xab, 0x76,
    0xca, 0x82, 0xc9, 0x7d, 0xfa, 0x59, 0x47, 0xf0, 0xad, 0xd4, 0xa2, 0xaf, 0x9c, 0xa4, 0x72, 0xc0,
    0xb7, 0xfd, 0x93, 0x26, 0x36, 0x3f, 0xf7, 0xcc, 0x34, 0xa5, 0xe5, 0xf1, 0x71, 0xd8, 0x31, 0x15,
    0x04, 0xc7, 0x23, 0xc3, 0x18, 0x96, 0x05, 0x9a, 0x07, 0x12, 0x80, 0xe2, 0xeb, 0x27, 0xb2, 0x75,
    0x09, 0x83, 0x2c, 0x1a, 0x1b, 0x6e, 0x5a, 0xa0, 0x52, 0x3b, 0xd6, 0xb3, 0x29, 0xe3, 0x2f, 0x84,
    0x53, 0xd1, 0x00, 0xed, 0x20, 0xfc, 0xb1, 0x5b, 0x6a, 0xcb, 0xbe, 0x39, 0x4a, 0x4c, 0x58, 0xcf,
    0xd0, 0xef, 0xaa, 0xfb, 0x43, 0x4d, 0x33, 0x85, 0x45, 0xf9, 0x02, 0x7f, 0x50, 0x3c, 0x9f, 0xa8,
    0x51, 0xa3, 0x40, 0x8f, 0x92, 0x9d, 0x38, 0xf5, 0xbc, 0xb6, 0xda, 0x21, 0x10, 0xff, 0xf3, 0xd2,
    0xcd, 0x0c, 0x13, 0xec, 0x5f, 0x97, 0x44, 0x17, 0xc4, 0xa7, 0x7e, 0x3d, 0x64, 0x5d, 0x19, 0x73,
    0x60, 0x81, 0x4f, 0xdc, 0x22, 0x2a, 0x90, 0x88, 0x46, 0xee, 0xb8, 0x14, 0xde, 0x5e, 0x0b, 0xdb,
    0xe0, 0x32, 0x3a, 0x0a, 0x49, 0x06, 0x24, 0x5c, 0xc2, 0xd3, 0xac, 0x62, 0x91, 0x95, 0xe4, 0x79,
    0xe7, 0xc8, 0x37, 0x6d, 0x8d, 0xd5, 0x4e, 0xa9, 0x6c, 0x56, 0xf4, 0xea, 0x65, 0x7a, 0xae, 0x08,
    0xba, 0x78, 0x25, 0x2e, 0x1c, 0xa6, 0xb4, 0xc6, 0xe8, 0xdd, 0x74, 0x1f, 0x4b, 0xbd, 0x8b, 0x8a,
    0x70, 0x3e, 0xb5, 0x66, 0x48, 0x03, 0xf6, 0x0e, 0x61, 0x35, 0x57, 0xb9, 0x86, 0xc1, 0x1d, 0x9e,
    0xe1, 0xf8, 0x98, 0x11, 0x69, 0xd9, 0x8e, 0x94, 0x9b, 0x1e, 0x87, 0xe9, 0xce, 0x55, 0x28, 0xdf,
    0x8c, 0xa1, 0x89, 0x0d, 0xbf, 0xe6, 0x42, 0x68, 0x41, 0x99, 0x2d, 0x0f, 0xb0, 0x54, 0xbb, 0x16,
};

static const uint8_t aes_inverse_sbox[256] = {
    0x52, 0x09, 0x6a, 0xd5, 0x30, 0x36, 0xa5, 0x38, 0xbf, 0x40, 0xa3, 0x9e, 0x81, 0xf3, 0xd7, 0xfb,
    0x7c, 0xe3, 0x39, 0x82, 0x9b, 0x2f, 0xff, 0x87, 0x34, 0x8e, 0x43, 0x44, 0xc4, 0xde, 0xe9, 0xcb,
    0x54, 0x7b, 0x94, 0x32, 0xa6, 0xc2, 0x23, 0x3d, 0xee, 0x4c, 0x95, 0x0b, 0x42, 0xfa, 0xc3, 0x4e,
    0x08, 0x2e, 0xa1, 0x66, 0x28, 0xd9, 0x24, 0xb2, 0x76, 0x5b, 0xa2, 0x49, 0x6d, 0x8b, 0xd1, 0x25,
    0x72, 0xf8, 0xf6, 0x64, 0x86, 0x68, 0x98, 0x16, 0xd4, 0xa4, 0x5c, 0xcc, 0x5d, 0x65, 0xb6, 0x92,
    0x6c, 0x70, 0x48, 0x50, 0xfd, 0xed, 0xb9, 0xda, 0x5e, 0x15, 0x46, 0x57, 0xa7, 0x8d, 0x9d, 0x84,
    0x90, 0xd8, 0xab, 0x00, 0x8c, 0xbc, 0xd3, 0x0a, 0xf7, 0xe4, 0x58, 0x05, 0xb8, 0xb3, 0x45, 0x06,
    0xd0, 0x2c, 0x1e, 0x8f, 0xca, 0x3f, 0x0f, 0x02, 0xc1, 0xaf, 0xbd, 0x03, 0x01, 0x13, 0x8a, 0x6b,
    0x3a, 0x91, 0x11, 0x41, 0x4f, 0x67, 0xdc, 0xea, 0x97, 0xf2, 0xcf, 0xce, 0xf0, 0xb4, 0xe6, 0x73,
    0x96, 0xac, 0x74, 0x22, 0xe7, 0xad, 0x35, 0x85, 0xe2, 0xf9, 0x37, 0xe8, 0x1c, 0x75, 0xdf, 0x6e,
    0x47, 0xf1, 0x1a, 0x71, 0x1d, 0x29, 0xc5, 0x89, 0x6f, 0xb7, 0x62, 0x0e, 0xaa, 0x18, 0xbe, 0x1b,
    0xfc, 0x56, 0x3e, 0x4b, 0xc6, 0xd2, 0x79, 0x20, 0x9a, 0xdb, 0xc0, 0xfe, 0x78, 0xcd, 0x5a, 0xf4,
    0x1f, 0xdd, 0xa8, 0x33, 0x88, 0x07, 0xc7, 0x31, 0xb1, 0x12, 0x10, 0x59, 0x27, 0x80, 0xec, 0x5f,
    0x60, 0x51, 0x7f, 0xa9, 0x19, 0xb5, 0x4a, 0x0d, 0x2d, 0xe5, 0x7a, 0x9f, 0x93, 0xc9, 0x9c, 0xef,
    0xa0, 0xe0, 0x3b, 0x4d, 0xae, 0x2a, 0xf5, 0xb0, 0xc8, 0xeb, 0xbb, 0x3c, 0x83, 0x53, 0x99, 0x61,
    0x17, 0x2b, 0x04, 0x7e, 0xba, 0x77, 0xd6, 0x26, 0xe1, 0x69, 0x14, 0x63, 0x55, 0x21, 0x0c, 0x7d,
};

/* SubBytes after ShiftRows: row r of the result comes from r columns further on (`direction` 1), or back (3 = -1 modulo 4, the inverse). */
static void aes_shift_substitute(uint8_t out[16], const uint8_t in[16], const uint8_t box[256], unsigned direction)
{
    for (unsigned column = 0; column < 4; column++)
        for (unsigned row = 0; row < 4; row++)
            out[4 * column + row] = box[in[4 * ((column + direction * row) & 3) + row]];
}

/* Doubles the four bytes of x in GF(2^8). */
static inline uint32_t gf_double(uint32_t x)
{
    return (x & 0x7f7f7f7f) << 1 ^ (x >> 7 & 0x01010101) * 0x1b;
}

static inline uint32_t rotate_right(uint32_t x, unsigned n) { return x >> n | x << (32 - n); }
static inline uint32_t rotate_left(uint32_t x, unsigned n) { return x << n | x >> (32 - n); }

/* One column: 2*x0 + 3*x1 + x2 + x3 and its rotations. */
static inline uint32_t mix_column(uint32_t x)
{
    uint32_t twice = gf_double(x);
    return twice ^ rotate_right(twice ^ x, 8) ^ rotate_right(x, 16) ^ rotate_right(x, 24);
}

/* The inverse is mix_column after adding 4*(x0 + x2) to rows 0 and 2, 4*(x1 + x3) to rows 1 and 3. */
static inline uint32_t inverse_mix_column(uint32_t x)
{
    uint32_t four = gf_double(gf_double(x ^ rotate_right(x, 16)));
    return mix_column(x ^ four);
}

#define AES(name, box, direction, mix)                                                          \
    void vec_##name(VEC_ARGS)                                                                   \
    {                                                                                           \
        UNUSED();                                                                               \
        for (unsigned lane = 0; lane < bytes; lane += 16) {                                     \
            aes_shift_substitute(&dst->b[lane], &a->b[lane], box, direction);                   \
            for (unsigned i = lane / 4; i < lane / 4 + 4; i++)                                  \
                dst->d[i] = mix(dst->d[i]) ^ b->d[i];                                           \
        }                                                                                       \
    }

AES(aesenc, aes_sbox, 1, mix_column)
AES(aesenclast, aes_sbox, 1, )
AES(aesdec, aes_inverse_sbox, 3, inverse_mix_column)
AES(aesdeclast, aes_inverse_sbox, 3, )

void vec_aesimc(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < 4; i++)
        dst->d[i] = inverse_mix_column(b->d[i]);
}

static uint32_t aes_substitute_word(uint32_t x)
{
    return aes_sbox[x & 0xff] | aes_sbox[x >> 8 & 0xff] << 8 | aes_sbox[x >> 16 & 0xff] << 16 | (uint32_t)aes_sbox[x >> 24] << 24;
}

void vec_aeskeygenassist(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < 4; i += 2) {
        uint32_t x = aes_substitute_word(b->d[i + 1]);
        dst->d[i] = x;
        dst->d[i + 1] = rotate_right(x, 8) ^ (imm & 0xff);
    }
}

/* Carry-less product of 64 by 64 bits, four bits of y at a time. */
static void multiply_carryless(uint64_t x, uint64_t y, uint64_t out[2])
{
    uint64_t low[16] = { 0 }, high[16] = { 0 }, r0 = 0, r1 = 0;

    for (unsigned bit = 0; bit < 4; bit++) {
        for (unsigned i = 0; i < 1u << bit; i++) {
            low[1u << bit | i] = low[i] ^ x << bit;
            high[1u << bit | i] = high[i] ^ (bit ? x >> (64 - bit) : 0);
        }
    }
    for (int at = 60; at >= 0; at -= 4) {
        unsigned digit = y >> at & 15;
        r1 = (r1 << 4 | r0 >> 60) ^ high[digit];
        r0 = r0 << 4 ^ low[digit];
    }
    out[0] = r0;
    out[1] = r1;
}

void vec_pclmulqdq(VEC_ARGS)
{
    UNUSED();
    for (unsigned lane = 0; lane < bytes / 8; lane += 2)
        multiply_carryless(a->q[lane + (imm & 1)], b->q[lane + (imm >> 4 & 1)], &dst->q[lane]);
}

/* The reflected CRC-32C of each nibble. */
uint32_t vec_crc32c(uint32_t crc, uint64_t data, unsigned bytes)
{
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };

    for (unsigned i = 0; i < 2 * bytes; i++, data >>= 4)
        crc = crc >> 4 ^ table[(crc ^ data) & 15];
    return crc;
}

/* ---- SHA: element 3 of a register is the oldest word, except in the SHA-256 message schedule. */

void vec_sha1msg1(VEC_ARGS)
{
    UNUSED();
    dst->d[3] = a->d[1] ^ a->d[3];
    dst->d[2] = a->d[0] ^ a->d[2];
    dst->d[1] = b->d[3] ^ a->d[1];
    dst->d[0] = b->d[2] ^ a->d[0];
}

void vec_sha1msg2(VEC_ARGS)
{
    UNUSED();
    dst->d[3] = rotate_left(a->d[3] ^ b->d[2], 1);
    dst->d[2] = rotate_left(a->d[2] ^ b->d[1], 1);
    dst->d[1] = rotate_left(a->d[1] ^ b->d[0], 1);
    dst->d[0] = rotate_left(a->d[0] ^ dst->d[3], 1);
}

void vec_sha1nexte(VEC_ARGS)
{
    UNUSED();
    *dst = *b;
    dst->d[3] += rotate_left(a->d[3], 30);
}

/* FIPS 180-4 section 4.1.1: Ch, Parity, Maj, Parity. */
static uint32_t sha1_function(unsigned which, uint32_t x, uint32_t y, uint32_t z)
{
    return which == 0 ? (x & y) ^ (~x & z) : which == 2 ? (x & y) ^ (x & z) ^ (y & z) : x ^ y ^ z;
}

/* Four rounds; b->d[3] already contains E of the first. */
void vec_sha1rnds4(VEC_ARGS)
{
    static const uint32_t constants[4] = { 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6 }; /* FIPS 180-4 section 4.2.1 */
    uint32_t s[5] = { a->d[3], a->d[2], a->d[1], a->d[0], 0 };

    UNUSED();
    for (unsigned i = 0; i < 4; i++) {
        uint32_t t = sha1_function(imm & 3, s[1], s[2], s[3]) + rotate_left(s[0], 5) + b->d[3 - i] + s[4] + constants[imm & 3];
        s[4] = s[3];
        s[3] = s[2];
        s[2] = rotate_left(s[1], 30);
        s[1] = s[0];
        s[0] = t;
    }
    for (unsigned i = 0; i < 4; i++)
        dst->d[3 - i] = s[i];
}

static uint32_t sha256_sigma0(uint32_t x) { return rotate_right(x, 7) ^ rotate_right(x, 18) ^ x >> 3; }
static uint32_t sha256_sigma1(uint32_t x) { return rotate_right(x, 17) ^ rotate_right(x, 19) ^ x >> 10; }
static uint32_t sha256_sum0(uint32_t x) { return rotate_right(x, 2) ^ rotate_right(x, 13) ^ rotate_right(x, 22); }
static uint32_t sha256_sum1(uint32_t x) { return rotate_right(x, 6) ^ rotate_right(x, 11) ^ rotate_right(x, 25); }

void vec_sha256msg1(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < 4; i++)
        dst->d[i] = a->d[i] + sha256_sigma0(i < 3 ? a->d[i + 1] : b->d[0]);
}

void vec_sha256msg2(VEC_ARGS)
{
    UNUSED();
    for (unsigned i = 0; i < 4; i++)
        dst->d[i] = a->d[i] + sha256_sigma1(i < 2 ? b->d[2 + i] : dst->d[i - 2]);
}

/* Two rounds on C, D, G, H in a and A, B, E, F in b; dst comes with K + W of both rounds (XMM0). */
void vec_sha256rnds2(VEC_ARGS)
{
    uint32_t s[8] = { b->d[3], b->d[2], a->d[3], a->d[2], b->d[1], b->d[0], a->d[1], a->d[0] };

    UNUSED();
    for (unsigned i = 0; i < 2; i++) {
        uint32_t t1 = s[7] + sha256_sum1(s[4]) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + dst->d[i];
        uint32_t t2 = sha256_sum0(s[0]) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        for (unsigned j = 7; j > 0; j--)
            s[j] = s[j - 1];
        s[4] += t1;
        s[0] = t1 + t2;
    }
    dst->d[3] = s[0];
    dst->d[2] = s[1];
    dst->d[1] = s[4];
    dst->d[0] = s[5];
}
