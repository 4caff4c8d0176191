/* SPDX-License-Identifier: MIT */
/* Kernels of atomics and of code that changes: an immediate patched before each call, and fresh functions as a JIT compiler writes them. */
#include <string.h>
#include <sys/mman.h>

#include "kernels.h"

enum { ADDS = 1000 };

static uint64_t run_locked_add(const struct kernel *kernel, void *state, uint64_t units)
{
    uint64_t *cell = state, before = *cell;

    (void)kernel;
    for (uint64_t unit = 0; unit < units; unit++) {
        uint64_t steps = ADDS / 2, one;

        __asm__ volatile(
            "1: mov $1, %k[one]\n lock xadd %[one], %[cell]\n mov $2, %k[one]\n lock xadd %[one], %[cell]\n dec %[steps]\n jnz 1b\n"
            : [steps] "+r"(steps), [one] "=&r"(one), [cell] "+m"(*cell) : : "cc");
    }
    return *cell - before;
}

static void allow_code(const struct kernel *kernel, void *state)
{
    mprotect(state, (kernel->memory + 4095) & ~(size_t)4095, PROT_READ | PROT_WRITE | PROT_EXEC);
}

typedef uint64_t (*function)(uint64_t x);

/* mov eax, imm32; ret */
static void prepare_patched(const struct kernel *kernel, void *state)
{
    allow_code(kernel, state);
    memcpy(state, "\xb8\0\0\0\0\xc3", 6);
}

static uint64_t run_patched(const struct kernel *kernel, void *state, uint64_t units)
{
    uint64_t right = 0;
    uint32_t value = (uint32_t)units;

    (void)kernel;
    for (uint64_t unit = 0; unit < units; unit++) {
        value = value * 1664525 + 1013904223; /* Numerical Recipes' 32-bit generator */
        memcpy((uint8_t *)state + 1, &value, 4);
        BARRIER();
        right += ((function)state)(0) == value;
    }
    return right;
}

enum { FUNCTIONS = 64, SPACING = 16 };

/* mov eax, imm32; add eax, imm32; add eax, edi; ret: 13 bytes */
static void write_function(uint8_t *at, uint32_t first, uint32_t second)
{
    uint8_t code[13] = { 0xb8, 0, 0, 0, 0, 0x05, 0, 0, 0, 0, 0x01, 0xf8, 0xc3 };

    memcpy(code + 1, &first, 4);
    memcpy(code + 6, &second, 4);
    memcpy(at, code, sizeof(code));
}

static uint64_t run_fresh(const struct kernel *kernel, void *state, uint64_t units)
{
    uint64_t right = 0;
    uint32_t value = (uint32_t)units;
    uint8_t *page = state;

    (void)kernel;
    for (uint64_t unit = 0; unit < units; unit++) {
        value = value * 1664525 + 1013904223;
        for (uint32_t i = 0; i < FUNCTIONS; i++)
            write_function(page + i * SPACING, value ^ i, value >> 7);
        BARRIER();
        for (uint32_t i = 0; i < FUNCTIONS; i++)
            right += ((function)(page + i * SPACING))(i) == (value ^ i) + (value >> 7) + i;
    }
    return right;
}

const struct kernel code_kernels[] = {
    { .name = "locked-add", .operations = ADDS, .expect = ADDS / 2 * 3, .memory = 64, .run = run_locked_add },
    { .name = "patched", .operations = 1, .expect = 1, .memory = 4096, .prepare = prepare_patched, .run = run_patched },
    { .name = "fresh", .operations = 1, .expect = FUNCTIONS, .memory = 4096, .prepare = allow_code, .run = run_fresh },
    { 0 },
};
