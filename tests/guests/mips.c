/* SPDX-License-Identifier: MIT */
/* mips: integer kernels whose instruction counts are known because every instruction stands below. It prints a line before and
   after each one, "mark NAME begin COUNT" and "mark NAME end", which bench/run stamps with the host's clocks. Built with gcc -O2 -static. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#define CELLS 4096 /* of each array, 8 bytes each: fits the second-level cache */

static uint64_t cells[CELLS];
static uint32_t order[256];

/* A checksum bit by bit: 3 + 8 * 8 + 4 instructions a byte. */
static uint64_t run_checksum(uint64_t bytes)
{
    uint64_t n = bytes, crc = ~0u, at = 0, bit, mask;

    __asm__ volatile(
        "1: movzbl (%[base],%[at]), %k[mask]\n xor %[mask], %[crc]\n mov $8, %k[bit]\n"
        "2: mov %[crc], %[mask]\n and $1, %[mask]\n neg %[mask]\n and $0xedb88320, %k[mask]\n shr %[crc]\n xor %[mask], %[crc]\n"
        "   dec %k[bit]\n jnz 2b\n"
        "   inc %[at]\n and $0x7fff, %k[at]\n dec %[n]\n jnz 1b\n"
        : [n] "+r"(n), [crc] "+r"(crc), [at] "+r"(at), [bit] "=&r"(bit), [mask] "=&r"(mask)
        : [base] "r"(cells) : "cc", "memory");
    return bytes * (3 + 8 * 8 + 4);
}

/* Sums of products over two arrays: 8 instructions an element, the sum stored. */
static uint64_t run_products(uint64_t elements)
{
    uint64_t n = elements, at = 0, value, sum = 0;

    __asm__ volatile(
        "1: mov (%[base],%[at],8), %[value]\n imul 8(%[base]), %[value]\n add %[value], %[sum]\n mov %[sum], (%[base])\n"
        "   inc %[at]\n and $4095, %k[at]\n dec %[n]\n jnz 1b\n"
        : [n] "+r"(n), [at] "+r"(at), [value] "=&r"(value), [sum] "+r"(sum)
        : [base] "r"(cells) : "cc", "memory");
    return elements * 8;
}

/* Calls two deep with a stack frame each: 3 + 4 + 6 instructions a round. */
static uint64_t run_calls(uint64_t rounds)
{
    uint64_t n = rounds, value = 1;

    __asm__ volatile(
        "   lea -256(%%rsp), %%rsp\n" /* the compiler may use the red zone */
        "   jmp 3f\n"
        "1: push %[value]\n call 2f\n pop %[value]\n ret\n"
        "2: push %%rbp\n mov %%rsp, %%rbp\n add $3, %[value]\n rol $5, %[value]\n pop %%rbp\n ret\n"
        "3: call 1b\n dec %[n]\n jnz 3b\n"
        "   lea 256(%%rsp), %%rsp\n"
        : [n] "+r"(n), [value] "+r"(value) : : "cc", "memory");
    return rounds * (3 + 4 + 6) + 3;
}

/* Insertion sort of a falling sequence: for each i, 6 instructions around i steps of 6. */
static uint64_t run_sort(uint64_t rounds)
{
    uint64_t count = 256, steps = count * (count - 1) / 2;

    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t i = 1, j;
        uint32_t key, moved;

        for (uint64_t k = 0; k < count; k++)
            order[k] = (uint32_t)(count - k);
        __asm__ volatile(
            "1: mov (%[base],%[i],4), %[key]\n mov %[i], %[j]\n"
            "2: cmp %[key], -4(%[base],%[j],4)\n jbe 3f\n"
            "   mov -4(%[base],%[j],4), %[moved]\n mov %[moved], (%[base],%[j],4)\n dec %[j]\n jnz 2b\n"
            "3: mov %[key], (%[base],%[j],4)\n inc %[i]\n cmp %[count], %[i]\n jb 1b\n"
            : [i] "+r"(i), [j] "=&r"(j), [key] "=&r"(key), [moved] "=&r"(moved)
            : [base] "r"(order), [count] "r"(count) : "cc", "memory");
    }
    return rounds * (steps * 6 + (count - 1) * 6);
}

static const struct kernel {
    const char *name;
    uint64_t (*run)(uint64_t amount);
    uint64_t amount; /* for about 400 million instructions */
} kernels[] = {
    { "checksum", run_checksum, 5600000 },
    { "products", run_products, 50000000 },
    { "calls", run_calls, 30000000 },
    { "sort", run_sort, 2000 },
};

int main(int argc, char **argv)
{
    uint64_t scale = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000; /* thousandths */

    for (size_t i = 0; i < CELLS; i++)
        cells[i] = i * 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++) {
        uint64_t count;

        kernels[i].run(1); /* what is translated once is not what this measures */
        printf("mark %s begin\n", kernels[i].name);
        fflush(stdout);
        tcdrain(1);
        count = kernels[i].run(kernels[i].amount * scale / 1000);
        printf("mark %s end %llu\n", kernels[i].name, (unsigned long long)count);
        fflush(stdout);
        tcdrain(1);
    }
    return 0;
}
