/* SPDX-License-Identifier: MIT */
/* bench_mips.c - guest instructions per second of the engine on small integer kernels. x86-64 hosts: the kernels are this program's own code, copied into
 * the guest. Usage: bench_mips [milliseconds for each kernel] [name] */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "guest.h"

#define GUEST __attribute__((section("guest_code"), target("general-regs-only"), noinline, optimize("O2,no-stack-protector,no-tree-vectorize,no-jump-tables"), used))
extern const uint8_t __start_guest_code[], __stop_guest_code[];

enum { DATA = 0x800000 };

#define ROR(x, n) ((x) >> (n) | (x) << (32 - (n)))

/* One SHA-256 compression for each 64 bytes; round constants at the start of the data. */
GUEST static uint64_t kernel_sha256(uint8_t *data)
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
GUEST static uint64_t kernel_list(uint8_t *data)
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
GUEST static uint64_t kernel_bytecode(uint8_t *data)
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
GUEST static uint64_t kernel_fib(uint8_t *data) { return fib(15) + data[0]; }

GUEST static uint64_t kernel_copy(uint8_t *data)
{
    volatile uint64_t *from = (volatile uint64_t *)(void *)data, *to = from + 4096;
    for (unsigned i = 0; i < 2048; i++)
        to[i] = from[i];
    return to[5];
}

GUEST static uint64_t kernel_sort(uint8_t *data)
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

static const struct { const char *name; uint64_t (*run)(uint8_t *); } kernels[] = {
    { "sha256", kernel_sha256 }, { "list", kernel_list }, { "bytecode", kernel_bytecode },
    { "fib", kernel_fib }, { "copy", kernel_copy }, { "sort", kernel_sort },
};

struct kick { struct cpu *cpu; uint64_t ns; };

/* 1: mov $DATA, %edi; call *%rbx; jmp 1b */
static const uint8_t driver[] = { 0xbf, 0, 0, 0x80, 0, 0xff, 0xd3, 0xeb, 0xf7 };

static void *kick_later(void *opaque)
{
    struct kick *kick = opaque;
    struct timespec time = { .tv_sec = (time_t)(kick->ns / 1000000000), .tv_nsec = (long)(kick->ns % 1000000000) };
    nanosleep(&time, NULL);
    cpu_request(kick->cpu, CPU_REQ_KICK);
    return NULL;
}

static double measure(struct guest *g, unsigned kernel, uint64_t ns)
{
    struct cpu *cpu = g->vm.cpus[0];
    struct kick kick = { cpu, ns };
    pthread_t thread;
    guest_enter(g, 0, 64, GUEST_CODE);
    cpu->state.gpr[REG_RBX] = GUEST_CODE + 0x1000 + (uint64_t)((const uint8_t *)(uintptr_t)kernels[kernel].run - __start_guest_code);
    uint64_t start = clock_ns(), before = cpu->instructions;
    pthread_create(&thread, NULL, kick_later, &kick);
    if (guest_run(g, 0) != HY_EXIT_KICK)
        fprintf(stderr, "%s: unexpected exit %u at %#llx\n", kernels[kernel].name, cpu->exit.reason, (unsigned long long)cpu->state.rip);
    uint64_t taken = clock_ns() - start;
    pthread_join(thread, NULL);
    return (double)(cpu->instructions - before) * 1000 / (double)taken;
}

int main(int argc, char **argv)
{
    uint64_t ms = argc > 1 ? strtoull(argv[1], NULL, 10) : 300;
    struct guest g;
    guest_make(&g, 1, 64);
    guest_put(&g, GUEST_CODE, driver, sizeof driver);
    guest_put(&g, GUEST_CODE + 0x1000, __start_guest_code, (size_t)(__stop_guest_code - __start_guest_code));
    for (unsigned i = 0; i < ARRAY_LEN(kernels); i++)
        if (argc < 3 || !strcmp(argv[2], kernels[i].name))
            printf("%-10s %7.1f MIPS\n", kernels[i].name, measure(&g, i, ms * 1000000));
    guest_free(&g);
    return 0;
}
