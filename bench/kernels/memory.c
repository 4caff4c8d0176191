/* SPDX-License-Identifier: MIT */
/* Kernels of memory: copies and fills by scalar moves, SSE moves and string instructions; pointer chases through 4 KiB pages. */
#include <string.h>
#include <sys/mman.h>

#include "kernels.h"

enum { KIB = 1024, MIB = 1024 * KIB };

/* The copy lies so that neither a direct-mapped TLB nor the CPU's compare of the low 12 address bits takes it for its source. */
#define GAP (21 * 4096 + 2048)
#define PROBE 512 /* one word of so many bytes is looked at after a sample */

static uint8_t *target_of(const struct kernel *kernel, void *state)
{
    return (uint8_t *)state + kernel->size + GAP;
}

static void prepare_copy(const struct kernel *kernel, void *state)
{
    uint64_t *words = state;

    for (size_t i = 0; i < kernel->size / 8; i++)
        words[i] = i * 0x9e3779b97f4a7c15u + 1;
    memset(target_of(kernel, state), 0xa5, kernel->size);
}

/* Every probed word must have come; it is spoilt for the next sample. */
static bool verify_copy(const struct kernel *kernel, void *state)
{
    uint8_t *source = state, *target = target_of(kernel, state);
    bool same = true;

    for (size_t at = 0; at < kernel->size; at += PROBE) {
        size_t word = at + at / PROBE * 8 % PROBE; /* another place in each */

        same &= memcmp(source + word, target + word, 8) == 0;
        memset(target + word, 0xa5, 8);
    }
    return same;
}

static uint64_t run_copy_scalar(const struct kernel *kernel, void *state, uint64_t units)
{
    for (uint64_t i = 0; i < units; i++) {
        const uint8_t *from = state, *end = from + kernel->size;
        uint8_t *to = target_of(kernel, state);

        __asm__ volatile(
            "1: mov (%[from]), %%rax\n mov 8(%[from]), %%rcx\n mov 16(%[from]), %%rdx\n mov 24(%[from]), %%r8\n"
            "   mov %%rax, (%[to])\n mov %%rcx, 8(%[to])\n mov %%rdx, 16(%[to])\n mov %%r8, 24(%[to])\n"
            "   mov 32(%[from]), %%rax\n mov 40(%[from]), %%rcx\n mov 48(%[from]), %%rdx\n mov 56(%[from]), %%r8\n"
            "   mov %%rax, 32(%[to])\n mov %%rcx, 40(%[to])\n mov %%rdx, 48(%[to])\n mov %%r8, 56(%[to])\n"
            "   add $64, %[from]\n add $64, %[to]\n cmp %[end], %[from]\n jb 1b\n"
            : [from] "+r"(from), [to] "+r"(to) : [end] "r"(end) : "rax", "rcx", "rdx", "r8", "cc", "memory");
    }
    return 0;
}

static uint64_t run_copy_sse(const struct kernel *kernel, void *state, uint64_t units)
{
    for (uint64_t i = 0; i < units; i++) {
        const uint8_t *from = state, *end = from + kernel->size;
        uint8_t *to = target_of(kernel, state);

        __asm__ volatile(
            "1: movups (%[from]), %%xmm0\n movups 16(%[from]), %%xmm1\n movups 32(%[from]), %%xmm2\n movups 48(%[from]), %%xmm3\n"
            "   movups %%xmm0, (%[to])\n movups %%xmm1, 16(%[to])\n movups %%xmm2, 32(%[to])\n movups %%xmm3, 48(%[to])\n"
            "   movups 64(%[from]), %%xmm4\n movups 80(%[from]), %%xmm5\n movups 96(%[from]), %%xmm6\n movups 112(%[from]), %%xmm7\n"
            "   movups %%xmm4, 64(%[to])\n movups %%xmm5, 80(%[to])\n movups %%xmm6, 96(%[to])\n movups %%xmm7, 112(%[to])\n"
            "   sub $-128, %[from]\n sub $-128, %[to]\n cmp %[end], %[from]\n jb 1b\n"
            : [from] "+r"(from), [to] "+r"(to) : [end] "r"(end)
            : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "cc", "memory");
    }
    return 0;
}

static uint64_t run_copy_rep(const struct kernel *kernel, void *state, uint64_t units)
{
    for (uint64_t i = 0; i < units; i++) {
        const uint8_t *from = state;
        uint8_t *to = target_of(kernel, state);
        size_t count = kernel->size;

        __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
    }
    return 0;
}

static uint64_t run_fill_rep(const struct kernel *kernel, void *state, uint64_t units)
{
    for (uint64_t i = 0; i < units; i++) {
        uint8_t *to = state;
        size_t count = kernel->size;

        __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(0x3c) : "memory");
    }
    return 0;
}

static bool verify_fill(const struct kernel *kernel, void *state)
{
    uint8_t *bytes = state;
    bool same = true;

    for (size_t at = 0; at < kernel->size; at += PROBE) {
        same &= bytes[at] == 0x3c && bytes[at + PROBE - 1] == 0x3c;
        bytes[at] = bytes[at + PROBE - 1] = 0;
    }
    return same;
}

/* One round through all nodes in random order (Sattolo's shuffle: a single cycle). A node is a line of its own: of its page, where there are pages. */
static void **chase_node(const struct kernel *kernel, void *state, size_t i)
{
    size_t at = kernel->size == 16 * KIB ? i * 64 : i * 4096 + (i * 0x9e3779b1u >> 7) % 64 * 64;

    return (void **)((uint8_t *)state + at);
}

/* One unit comes back to where it began, and not before: the node half way is another one. */
static uint64_t run_chase(const struct kernel *kernel, void *state, uint64_t units)
{
    uint64_t total = 0;
    void **start = chase_node(kernel, state, 0), **at = start;

    for (uint64_t i = 0; i < units; i++) {
        for (int half = 0; half < 2; half++) {
            uint64_t steps = kernel->operations / 16;

            __asm__ volatile(
                "1: mov (%[at]), %[at]\n mov (%[at]), %[at]\n mov (%[at]), %[at]\n mov (%[at]), %[at]\n"
                "   mov (%[at]), %[at]\n mov (%[at]), %[at]\n mov (%[at]), %[at]\n mov (%[at]), %[at]\n"
                "   dec %[steps]\n jnz 1b\n"
                : [at] "+r"(at), [steps] "+r"(steps) : : "cc", "memory");
            total += (at == start) == half;
        }
    }
    return total;
}

/* A TLB in software may grow only when it is flushed, as on every busy machine it often is: let each do so, between rounds through all nodes. */
static void settle_translations(const struct kernel *kernel, void *state)
{
    for (int round = 0; round < 8; round++) {
        run_chase(kernel, state, 1);
        mprotect(state, kernel->memory, PROT_READ);
        mprotect(state, kernel->memory, PROT_READ | PROT_WRITE);
    }
}

static void prepare_chase(const struct kernel *kernel, void *state)
{
    uint64_t seed = 5;

    for (size_t i = 0; i < kernel->operations; i++)
        *chase_node(kernel, state, i) = chase_node(kernel, state, i);
    for (size_t i = kernel->operations - 1; i > 0; i--) {
        void **a = chase_node(kernel, state, i), **b = chase_node(kernel, state, next_random(&seed) % i), *held = *a;

        *a = *b;
        *b = held;
    }
    settle_translations(kernel, state);
}

#define COPY(NAME, SIZE, RUN) \
    { .name = NAME, .operations = 1, .memory = 2 * (SIZE) + GAP, .size = SIZE, .prepare = prepare_copy, .run = RUN, .verify = verify_copy }
#define FILL(NAME, SIZE) { .name = NAME, .operations = 1, .memory = SIZE, .size = SIZE, .run = run_fill_rep, .verify = verify_fill }
#define CHASE(NAME, SIZE, NODES) \
    { .name = NAME, .operations = NODES, .expect = 2, .memory = SIZE, .size = SIZE, .prepare = prepare_chase, .run = run_chase }

const struct kernel memory_kernels[] = {
    COPY("copy-scalar-16k", 16 * KIB, run_copy_scalar),
    COPY("copy-sse-16k", 16 * KIB, run_copy_sse),
    COPY("copy-rep-16k", 16 * KIB, run_copy_rep),
    FILL("fill-rep-16k", 16 * KIB),
    COPY("copy-rep-4k", 4 * KIB, run_copy_rep),
    FILL("fill-rep-4k", 4 * KIB),
    COPY("copy-scalar-32m", 32 * MIB, run_copy_scalar),
    COPY("copy-sse-32m", 32 * MIB, run_copy_sse),
    COPY("copy-rep-32m", 32 * MIB, run_copy_rep),
    FILL("fill-rep-32m", 32 * MIB),
    CHASE("chase-16k", 16 * KIB, 256),
    CHASE("chase-4m", 4 * MIB, 1024),
    CHASE("chase-256m", 256 * MIB, 65536),
    { 0 },
};
