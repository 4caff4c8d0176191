/* SPDX-License-Identifier: MIT */
#ifndef TESTS_CPU_BENCH_KERNELS_H
#define TESTS_CPU_BENCH_KERNELS_H

#include <stdint.h>

#define GUEST __attribute__((section("guest_code"), noinline, used))
extern const uint8_t __start_guest_code[], __stop_guest_code[]; /* the linker's names for the section */

GUEST uint64_t kernel_sha256(uint8_t *data);
GUEST uint64_t kernel_list(uint8_t *data);
GUEST uint64_t kernel_bytecode(uint8_t *data);
GUEST uint64_t kernel_fib(uint8_t *data);
GUEST uint64_t kernel_copy(uint8_t *data);
GUEST uint64_t kernel_sort(uint8_t *data);

#endif
