/* SPDX-License-Identifier: MIT */
/* Integer kernels in plain C: a mix of list, matrix, state machine and CRC work, and SHA-256 (FIPS 180-4) of 4 KiB. */
#include <string.h>

#include "kernels.h"

enum { NODES = 48, SIDE = 12 };

struct node {
    struct node *next;
    int16_t value, index;
};

struct mix {
    struct node nodes[NODES];
    int16_t left[SIDE][SIDE], right[SIDE][SIDE];
    int32_t product[SIDE][SIDE];
};

static uint16_t crc_add(uint16_t crc, uint32_t value)
{
    for (int byte = 0; byte < 4; byte++, value >>= 8) {
        crc ^= value & 0xff;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 1) ? (crc >> 1) ^ 0xa001 : crc >> 1; /* CRC-16/ARC, polynomial 0x8005 reflected */
    }
    return crc;
}

static struct node *list_merge(struct node *a, struct node *b, bool by_value)
{
    struct node head = { 0 }, *tail = &head;

    while (a && b) {
        struct node **from = (by_value ? a->value <= b->value : a->index <= b->index) ? &a : &b;

        tail->next = *from;
        tail = *from;
        *from = (*from)->next;
    }
    tail->next = a ? a : b;
    return head.next;
}

static struct node *list_sort(struct node *list, bool by_value)
{
    struct node *slow = list, *fast = list->next, *half;

    if (!fast)
        return list;
    while (fast && fast->next) {
        slow = slow->next;
        fast = fast->next->next;
    }
    half = slow->next;
    slow->next = NULL;
    return list_merge(list_sort(list, by_value), list_sort(half, by_value), by_value);
}

static struct node *list_reverse(struct node *list)
{
    struct node *reversed = NULL;

    while (list) {
        struct node *next = list->next;

        list->next = reversed;
        reversed = list;
        list = next;
    }
    return reversed;
}

static uint32_t list_work(struct mix *mix)
{
    uint64_t seed = 7;
    uint32_t sum = 0, place = 0;
    struct node *list;

    for (int i = 0; i < NODES; i++)
        mix->nodes[i] = (struct node){ i + 1 < NODES ? &mix->nodes[i + 1] : NULL, (int16_t)next_random(&seed), (int16_t)i };
    list = list_reverse(list_sort(mix->nodes, true));
    for (struct node *node = list; node; node = node->next)
        sum = sum * 31 + (uint32_t)node->value * ++place;
    list = list_sort(list, false);
    for (int wanted = 0; wanted < NODES; wanted += 7)
        for (struct node *node = list; node; node = node->next)
            if (node->index == wanted) {
                sum += (uint32_t)node->value;
                break;
            }
    return sum;
}

static uint32_t matrix_work(struct mix *mix)
{
    uint32_t sum = 0;

    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            mix->left[i][j] = (int16_t)(i * 37 - j * 11);
            mix->right[i][j] = (int16_t)(i * j * 5 - 77);
        }
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            int32_t cell = 0;

            for (int k = 0; k < SIDE; k++)
                cell += mix->left[i][k] * mix->right[k][j];
            mix->product[i][j] = cell;
        }
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++)
            sum += mix->product[i][j] > 1000 ? 10u : (uint32_t)(mix->product[i][j] >> 3);
    return sum;
}

enum number_state { BEGIN, SIGN, WHOLE, POINT, FRACTION, EXPONENT, EXPONENT_SIGN, SCIENTIFIC, INVALID };

static enum number_state number_step(enum number_state state, char c)
{
    bool digit = c >= '0' && c <= '9';

    switch (state) {
    case BEGIN: return digit ? WHOLE : (c == '+' || c == '-') ? SIGN : c == '.' ? POINT : INVALID;
    case SIGN: return digit ? WHOLE : c == '.' ? POINT : INVALID;
    case WHOLE: return digit ? WHOLE : c == '.' ? POINT : (c == 'e' || c == 'E') ? EXPONENT : INVALID;
    case POINT: return digit ? FRACTION : INVALID;
    case FRACTION: return digit ? FRACTION : (c == 'e' || c == 'E') ? EXPONENT : INVALID;
    case EXPONENT: return (c == '+' || c == '-') ? EXPONENT_SIGN : digit ? SCIENTIFIC : INVALID;
    case EXPONENT_SIGN:
    case SCIENTIFIC: return digit ? SCIENTIFIC : INVALID;
    default: return INVALID;
    }
}

static uint32_t state_work(void)
{
    static const char text[] = "5012,+122,-.5e10,3.14159,0x1f,87.25E-3,1e,-7,abc,.75,600e+2,9..1,+.5,T0.3e1,42,-110.700,+0.64400,1.2e+34,,.e,1234567890,-5e-5,";
    uint32_t ends[INVALID + 1] = { 0 }, sum = 0;
    enum number_state state = BEGIN;

    for (const char *at = text; *at; at++) {
        if (*at == ',') {
            ends[state]++;
            state = BEGIN;
            continue;
        }
        state = number_step(state, *at);
    }
    for (int i = 0; i <= INVALID; i++)
        sum = sum * 17 + ends[i];
    return sum;
}

static uint64_t run_integer(const struct kernel *kernel, void *state, uint64_t units)
{
    uint64_t total = 0;

    (void)kernel;
    for (uint64_t i = 0; i < units; i++) {
        uint16_t crc = crc_add(0, list_work(state));

        crc = crc_add(crc, matrix_work(state));
        for (int round = 0; round < 4; round++)
            crc = crc_add(crc, state_work());
        total += crc;
        BARRIER();
    }
    return total;
}

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4 4.2.2). */
static const uint32_t sha_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74,
    0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d,
    0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e,
    0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5,
    0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, int by)
{
    return x >> by | x << (32 - by);
}

/* One round, the eight words renamed instead of moved, as every fast implementation does. */
#define ROUND(a, b, c, d, e, f, g, h, i)                                                                                                  \
    do {                                                                                                                                  \
        uint32_t one = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + sha_constants[i] + w[i];               \
                                                                                                                                          \
        d += one;                                                                                                                         \
        h = one + (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));                                         \
    } while (0)

static void sha_block(uint32_t hash[8], const uint8_t *block)
{
    uint32_t w[64], a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4], f = hash[5], g = hash[6], h = hash[7];

    for (int i = 0; i < 16; i++) {
        uint32_t word;

        memcpy(&word, block + 4 * i, 4);
        w[i] = __builtin_bswap32(word);
    }
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
    for (int i = 0; i < 64; i += 8) {
        ROUND(a, b, c, d, e, f, g, h, i);
        ROUND(h, a, b, c, d, e, f, g, i + 1);
        ROUND(g, h, a, b, c, d, e, f, i + 2);
        ROUND(f, g, h, a, b, c, d, e, i + 3);
        ROUND(e, f, g, h, a, b, c, d, i + 4);
        ROUND(d, e, f, g, h, a, b, c, i + 5);
        ROUND(c, d, e, f, g, h, a, b, i + 6);
        ROUND(b, c, d, e, f, g, h, a, i + 7);
    }
    hash[0] += a, hash[1] += b, hash[2] += c, hash[3] += d, hash[4] += e, hash[5] += f, hash[6] += g, hash[7] += h;
}

enum { SHA_BYTES = 4096 };

static void prepare_sha256(const struct kernel *kernel, void *state)
{
    uint8_t *message = state;

    (void)kernel;
    for (int i = 0; i < SHA_BYTES; i++)
        message[i] = (uint8_t)(i * 7 + 3);
    message[SHA_BYTES] = 0x80;            /* 5.1.1: one bit, zeroes, and the length in bits, big-endian */
    message[SHA_BYTES + 62] = SHA_BYTES * 8 >> 8;
}

static uint64_t run_sha256(const struct kernel *kernel, void *state, uint64_t units)
{
    uint64_t total = 0;

    (void)kernel;
    for (uint64_t i = 0; i < units; i++) {
        uint32_t hash[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 }; /* 5.3.3 */

        for (int at = 0; at <= SHA_BYTES; at += 64)
            sha_block(hash, (uint8_t *)state + at);
        total += (uint64_t)hash[0] << 32 | hash[7];
        BARRIER();
    }
    return total;
}

const struct kernel integer_kernels[] = {
    { .name = "integer", .operations = 1, .expect = 0x5c66, .memory = sizeof(struct mix), .run = run_integer },
    { .name = "sha256", .operations = 1, .expect = 0x7486da8fae1272b5, .memory = SHA_BYTES + 64, .prepare = prepare_sha256, .run = run_sha256 },
    { 0 },
};
