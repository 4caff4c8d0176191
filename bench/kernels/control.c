/* SPDX-License-Identifier: MIT */
/* Kernels of control flow: a bytecode machine with computed gotos, recursive calls, unpredictable indirect calls. */
#include "kernels.h"

enum {
    LOAD_CONSTANT, MOVE, ADD, SUBTRACT, MULTIPLY, XOR, SHIFT_RIGHT, LOAD, STORE, BRANCH_NOT_ZERO, BRANCH_LESS, HALT,
    CELLS = 64,
    BYTECODES = 6007, /* that the program executes */
};

struct instruction {
    uint8_t operation, to, a, b;
    int32_t value;
};

/* Computes nothing of use: a loop, data-dependent branches, and every operation. */
static const struct instruction program[] = {
    { LOAD_CONSTANT, 0, 0, 0, 12345 },       /* 0 the random number */
    { LOAD_CONSTANT, 1, 0, 0, 400 },         /* 1 rounds left */
    { LOAD_CONSTANT, 2, 0, 0, 1 },
    { LOAD_CONSTANT, 3, 0, 0, 1103515245 },
    { LOAD_CONSTANT, 4, 0, 0, 0 },           /* 4 the sum */
    { LOAD_CONSTANT, 5, 0, 0, 1 << 30 },
    { MULTIPLY, 0, 0, 3, 0 },                /* 6: the loop */
    { ADD, 0, 0, 5, 0 },
    { SHIFT_RIGHT, 6, 0, 0, 20 },
    { LOAD, 7, 6, 0, 0 },
    { XOR, 7, 7, 6, 0 },
    { STORE, 7, 6, 0, 0 },
    { MOVE, 8, 0, 0, 0 },
    { SHIFT_RIGHT, 8, 8, 0, 1 },
    { BRANCH_LESS, 0, 8, 5, 17 },            /* every other time, at random */
    { SUBTRACT, 4, 4, 7, 0 },
    { XOR, 4, 4, 8, 0 },
    { SHIFT_RIGHT, 9, 6, 0, 11 },            /* 17: one random bit */
    { BRANCH_NOT_ZERO, 0, 9, 0, 21 },
    { ADD, 4, 4, 7, 0 },
    { ADD, 4, 4, 2, 0 },
    { SUBTRACT, 1, 1, 2, 0 },                /* 21 */
    { BRANCH_NOT_ZERO, 0, 1, 0, 6 },
    { HALT, 0, 4, 0, 0 },
};

#define NEXT() goto *labels[(++at)->operation]

static uint64_t interpret(uint32_t *cells)
{
    static const void *const labels[] = { &&load_constant, &&move, &&add, &&subtract, &&multiply, &&xor, &&shift_right, &&load, &&store,
                                          &&branch_not_zero, &&branch_less, &&halt };
    const struct instruction *at = program - 1;
    uint32_t r[16] = { 0 };

    NEXT();
load_constant:
    r[at->to] = (uint32_t)at->value;
    NEXT();
move:
    r[at->to] = r[at->a];
    NEXT();
add:
    r[at->to] = r[at->a] + r[at->b];
    NEXT();
subtract:
    r[at->to] = r[at->a] - r[at->b];
    NEXT();
multiply:
    r[at->to] = r[at->a] * r[at->b];
    NEXT();
xor:
    r[at->to] = r[at->a] ^ r[at->b];
    NEXT();
shift_right:
    r[at->to] = r[at->a] >> at->value;
    NEXT();
load:
    r[at->to] = cells[r[at->a] % CELLS];
    NEXT();
store:
    cells[r[at->a] % CELLS] = r[at->to];
    NEXT();
branch_not_zero:
    at = r[at->a] ? program + at->value - 1 : at;
    NEXT();
branch_less:
    at = r[at->a] < r[at->b] ? program + at->value - 1 : at;
    NEXT();
halt:
    return r[at->a];
}

static uint64_t run_bytecode(const struct kernel *kernel, void *state, uint64_t units)
{
    uint64_t total = 0;
    uint32_t *cells = state;

    (void)kernel;
    for (uint64_t i = 0; i < units; i++) {
        for (int cell = 0; cell < CELLS; cell++)
            cells[cell] = 0;
        total += interpret(cells);
        BARRIER();
    }
    return total;
}

/* fib(n) by calling itself twice; a compiler would unroll most of the calls. */
uint64_t bench_fib(uint64_t n);
__asm__("    .text\n"
        "    .balign 32\n"
        "bench_fib:\n"
        "    mov %rdi, %rax\n"
        "    cmp $2, %rdi\n"
        "    jb 1f\n"
        "    push %rbx\n"
        "    push %rdi\n"
        "    sub $1, %rdi\n"
        "    call bench_fib\n"
        "    pop %rdi\n"
        "    mov %rax, %rbx\n"
        "    sub $2, %rdi\n"
        "    call bench_fib\n"
        "    add %rbx, %rax\n"
        "    pop %rbx\n"
        "1:  ret\n");

static uint64_t run_calls(const struct kernel *kernel, void *state, uint64_t units)
{
    uint64_t total = 0;

    (void)kernel, (void)state;
    for (uint64_t i = 0; i < units; i++)
        total += bench_fib(20);
    return total;
}

/* Four leaves, all alike in cost. */
uint64_t bench_leaf_add(uint64_t x), bench_leaf_xor(uint64_t x), bench_leaf_rotate(uint64_t x), bench_leaf_subtract(uint64_t x);
__asm__("    .text\n"
        "    .balign 32\n"
        "bench_leaf_add: lea 77(%rdi), %rax\n ret\n"
        "    .balign 32\n"
        "bench_leaf_xor: mov %rdi, %rax\n xor $0x5555, %rax\n ret\n"
        "    .balign 32\n"
        "bench_leaf_rotate: mov %rdi, %rax\n rol $9, %rax\n ret\n"
        "    .balign 32\n"
        "bench_leaf_subtract: lea -33(%rdi), %rax\n ret\n");

enum { INDIRECT_CALLS = 65536 }; /* more than a branch predictor can learn by heart */

static uint64_t run_indirect(const struct kernel *kernel, void *state, uint64_t units)
{
    uint64_t (*const leaves[4])(uint64_t) = { bench_leaf_add, bench_leaf_xor, bench_leaf_rotate, bench_leaf_subtract };
    uint64_t total = 0;

    (void)kernel, (void)state;
    for (uint64_t i = 0; i < units; i++) {
        uint64_t seed = 99, value = 1;

        for (int call = 0; call < INDIRECT_CALLS; call++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            value = leaves[seed >> 62](value);
        }
        total += value;
        BARRIER();
    }
    return total;
}

/* A leaf with 64 callers, which take turns at random: where its RET leads is known only to who remembers the call. */
uint64_t bench_callers(uint64_t value, uint64_t calls);
__asm__("    .text\n"
        "    .balign 32\n"
        "bench_callers:\n"
        "    mov %rdi, %rax\n"
        "    lea 2f(%rip), %r8\n"
        "    mov $99, %edx\n"
        "1:  imul $1664525, %edx, %edx\n"
        "    add $1013904223, %edx\n"
        "    mov %edx, %ecx\n"
        "    shr $26, %ecx\n"
        "    shl $4, %ecx\n"
        "    add %r8, %rcx\n"
        "    call *%rcx\n"
        "    dec %rsi\n"
        "    jnz 1b\n"
        "    ret\n"
        "    .balign 16\n"
        "2:  .rept 64\n"
        "    call 3f\n"
        "    xor $0x5a, %rax\n"
        "    ret\n"
        "    .balign 16\n"
        "    .endr\n"
        "3:  lea 77(%rax), %rax\n"
        "    rol $1, %rax\n"
        "    ret\n");

enum { CALLERS_CALLS = 65536 };

static uint64_t run_callers(const struct kernel *kernel, void *state, uint64_t units)
{
    uint64_t total = 0;

    (void)kernel, (void)state;
    for (uint64_t i = 0; i < units; i++)
        total += bench_callers(1, CALLERS_CALLS);
    return total;
}

const struct kernel control_kernels[] = {
    { .name = "bytecode", .operations = BYTECODES, .expect = 0x9f787754, .memory = CELLS * sizeof(uint32_t), .run = run_bytecode },
    { .name = "calls", .operations = 1, .expect = 6765, .run = run_calls },
    { .name = "callers", .operations = CALLERS_CALLS, .expect = 0xce51f89b958452b6, .run = run_callers },
    { .name = "indirect", .operations = INDIRECT_CALLS, .expect = 0xb40010174c7a438b, .run = run_indirect },
    { 0 },
};
