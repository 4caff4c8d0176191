/* SPDX-License-Identifier: MIT */
/* The instruction decoder: bytes to struct insn. Pure: no state, no allocation, any bytes are safe, any thread may call it. */
#ifndef MEZZ_CPU_DECODE_H
#define MEZZ_CPU_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "cpu/insn.h"

/* Default code size: real mode, v8086 and D = 0; D = 1 and compatibility mode; CS.L = 1. */
enum cpu_mode { CPU_MODE_16, CPU_MODE_32, CPU_MODE_64 };

enum {
    INSN_MAX_LENGTH = 15,
    INSN_INVALID = -1,   /* #UD */
    INSN_TRUNCATED = -2, /* the instruction goes on beyond len: fetch more (may fault on the next page) and decode again */
    INSN_TOO_LONG = -3   /* #GP(0): more than 15 bytes (SDM vol. 2, 2.3.11) */
};

/*
 * Decodes the instruction at bytes[0..len). Answers its length 1..15, filling *out, or one of the negative values above; *out is then
 * unspecified except that INSN_INVALID sets out->length to the number of bytes read. At most 15 bytes are read, whatever len is.
 * Features are not checked: a caller that masks CPUID compares out->feature; VEX forms with a vector length also need AVX (and XCR0).
 * Privilege and mode checks other than code size (real mode has no LLDT, SYSCALL, VEX, ...) are the caller's.
 */
int insn_decode(const uint8_t *bytes, size_t len, enum cpu_mode mode, struct insn *out);

#endif
