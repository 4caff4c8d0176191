/* SPDX-License-Identifier: MIT */
/* bench_kernels.c - what bench_mips runs in the guest: plain functions without constants of their own, calls outside, or vector registers (meson.build). */
#include "bench_kernels.h"

#define ROR(x, n) ((x) >> (n) | (x) << (32 - (n)))

/* One SHA-256 compression for each 64 bytes; round constants at the start of the data. */
GUEST uint64_t kernel_sha256(uint8_t *data)
{
    const uint32_t *k = (const uint32_t *)(void *)data, *in = k + 64;
    uint32_t h[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, w[64];
    for (unsigned block = 0; block < 64; block++, in += 16) {
        for (unsigned i = 0; i < 16; i++)
            w[i] = __builtin_bswap32(in[i]);
        for (unsigned i = 16; i < 64; i++)
            w[i] = w[i - 16] + (ROR(w[i - 15], 7) ^ ROR(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] + (ROR(w[i - 2], 17) ^ ROR(w[i - 2], 19) ^ w[i - 2] >> 10);
        uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], z = h[7];
        for (unsigned i = 0; i < 64; i++) {
            uint32_t t = z + (ROR(e, 6) ^ ROR(e, 11) ^ ROR(e, 25)) + ((e & f) ^ (~e & g)) + k[i] + w[i];
            uint32_t s = (ROR(a, 2) ^ ROR(a, 13) ^ ROR(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
            z = g, g = f, f = e, e = d + t, d = c, c = b, b = a, a = t + s;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e, h[5] += f, h[6] += g, h[7] += z;
    }
    return h[0] ^ h[7];
}

struct node { struct node *next; uint64_t value; };

/* Builds a shuffled list and searches it. */
GUEST uint64_t kernel_list(uint8_t *data)
{
    struct node *nodes = (struct node *)(void *)data;
    uint64_t sum = 0;
    for (unsigned i = 0; i < 256; i++) {
        nodes[i].next = &nodes[(i * 77 + 13) & 255];
        nodes[i].value = i;
    }
    for (unsigned round = 0; round < 64; round++)
        for (const struct node *n = nodes; n->value != ((round * 77 + 13) & 255); n = n->next)
            sum += n->value & 1 ? n->value : 3;
    return sum;
}

/* A bytecode interpreter with a switch of compares. */
GUEST uint64_t kernel_bytecode(uint8_t *data)
{
    uint64_t acc = 1, counter = 2000;
    for (unsigned i = 0; i < 16; i++)
        data[i] = (uint8_t)(i * 5 % 7);
    for (unsigned pc = 0; counter; pc = (pc + 1) & 15) {
        uint8_t op = data[pc];
        if (op == 0)
            acc += counter;
        else if (op == 1)
            acc ^= acc << 3;
        else if (op == 2)
            acc -= pc;
        else if (op == 3)
            acc = acc >> 1 | acc << 63;
        else if (op == 4)
            counter--;
        else
            acc *= 3;
    }
    return acc;
}

GUEST static uint64_t fib(uint64_t n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
GUEST uint64_t kernel_fib(uint8_t *data) { return fib(15) + data[0]; }

GUEST uint64_t kernel_copy(uint8_t *data)
{
    volatile uint64_t *from = (volatile uint64_t *)(void *)data, *to = from + 4096;
    for (unsigned i = 0; i < 2048; i++)
        to[i] = from[i];
    return to[5];
}

GUEST uint64_t kernel_sort(uint8_t *data)
{
    uint32_t *v = (uint32_t *)(void *)data, seed = 12345;
    for (unsigned i = 0; i < 128; i++)
        v[i] = seed = seed * 1103515245 + 12345;
    for (unsigned i = 1; i < 128; i++) {
        uint32_t x = v[i];
        unsigned j = i;
        for (; j && v[j - 1] > x; j--)
            v[j] = v[j - 1];
        v[j] = x;
    }
    return v[64];
}
