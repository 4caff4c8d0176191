/* SPDX-License-Identifier: MIT */
/* kernels.h - tiny 32-bit kernels as byte arrays, each a multiboot image at 1 MiB, built by appending instructions (SDM volume 2). */
#ifndef TESTS_MACHINE_KERNELS_H
#define TESTS_MACHINE_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bits.h"

enum { KERNEL_BASE = 0x100000, KERNEL_HEADER = 32, KERNEL_MAX = 512, KERNEL_COUNTER = 0x200000, KERNEL_ZEROES = 0x300000, KERNEL_EXIT_PORT = 0xf4 };

struct kernel { uint8_t bytes[KERNEL_MAX]; size_t len; };

static inline void kernel_put(struct kernel *k, const void *bytes, size_t len)
{
    memcpy(k->bytes + k->len, bytes, len);
    k->len += len;
}
#define PUT(k, ...) kernel_put((k), (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
static inline void kernel_put32(struct kernel *k, uint32_t v) { PUT(k, (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)); }

/* Multiboot 0.6.96, section 3.1: a header with load addresses; the code follows. */
static inline void kernel_begin(struct kernel *k)
{
    const uint32_t magic = 0x1badb002, flags = 1u << 16;
    const uint32_t words[] = {magic, flags, 0 - magic - flags, KERNEL_BASE, KERNEL_BASE, 0, 0, KERNEL_BASE + KERNEL_HEADER};
    memset(k, 0, sizeof *k);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        kernel_put32(k, words[i]);
}

static inline void kernel_out8(struct kernel *k, uint16_t port, uint8_t value)
{
    PUT(k, 0x66, 0xba, (uint8_t)port, (uint8_t)(port >> 8), 0xb0, value, 0xee); /* mov dx, port; mov al, value; out dx, al */
}

static inline void kernel_out16(struct kernel *k, uint16_t port, uint16_t value)
{
    PUT(k, 0x66, 0xba, (uint8_t)port, (uint8_t)(port >> 8), 0x66, 0xb8, (uint8_t)value, (uint8_t)(value >> 8), 0x66, 0xef);
}

static inline void kernel_stop(struct kernel *k) { PUT(k, 0xfa, 0xf4, 0xeb, 0xfd); } /* cli; hlt; jmp to the hlt */

static inline void kernel_exit(struct kernel *k, uint8_t value)
{
    kernel_out8(k, KERNEL_EXIT_PORT, value);
    kernel_stop(k);
}

static inline void kernel_spin(struct kernel *k, uint32_t times)
{
    PUT(k, 0xb9); /* mov ecx, times */
    kernel_put32(k, times);
    PUT(k, 0x49, 0x75, 0xfd); /* dec ecx; jnz to it */
}

/* Counts in memory that a reset keeps; falls through below `limit`, else exits with the count. */
static inline void kernel_count(struct kernel *k, uint8_t limit)
{
    PUT(k, 0xff, 0x05); /* inc dword [COUNTER] */
    kernel_put32(k, KERNEL_COUNTER);
    PUT(k, 0xa1); /* mov eax, [COUNTER] */
    kernel_put32(k, KERNEL_COUNTER);
    PUT(k, 0x3c, limit, 0x72, 0x05, 0xe6, KERNEL_EXIT_PORT, 0xf4, 0xeb, 0xfd); /* cmp al, limit; jb on; out EXIT_PORT, al; hlt; jmp to it */
}

static inline void kernel_triple_fault(struct kernel *k)
{
    PUT(k, 0x0f, 0x01, 0x1d); /* lidt [ZEROES]: an empty table */
    kernel_put32(k, KERNEL_ZEROES);
    PUT(k, 0xcc);
}

#endif
