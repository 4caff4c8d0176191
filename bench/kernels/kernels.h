/* SPDX-License-Identifier: MIT */
/* kernels.h: what bench-kernels measures. A kernel does equal units of work and proves each: `run` adds up what every unit yields, which must be
   units * expect, and `verify` looks at the memory after a sample, outside of the time that is measured. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kernel {
    const char *name;
    uint32_t operations;                                                     /* in one unit; times are told for one operation */
    uint64_t expect;                                                         /* what one unit yields */
    size_t memory;                                                           /* bytes of state, zeroed, page-aligned */
    size_t size;                                                             /* for kernels that share a function: bytes that it works on */
    void (*prepare)(const struct kernel *kernel, void *state);               /* optional */
    uint64_t (*run)(const struct kernel *kernel, void *state, uint64_t units);
    bool (*verify)(const struct kernel *kernel, void *state);                /* optional */
    void (*finish)(const struct kernel *kernel, void *state);                /* optional */
};

extern const struct kernel integer_kernels[], control_kernels[], memory_kernels[], vector_kernels[], code_kernels[], system_kernels[]; /* end in {0} */

#define BARRIER() __asm__ volatile("" : : : "memory") /* no unit may be moved out of its loop */

/* The multiplier and increment of Knuth's MMIX generator: numbers that look random and are the same everywhere. */
static inline uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* FNV-1a over 64-bit words (its 64-bit offset basis and prime). */
static inline uint64_t hash_words(const void *data, size_t bytes)
{
    const uint64_t *words = data;
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < bytes / 8; i++)
        hash = (hash ^ words[i]) * 0x100000001b3u;
    return hash;
}
