/* SPDX-License-Identifier: MIT */
/* values.h - the vector and floating-point register types, shared by the CPU's state (cpu.h) and the pure arithmetic (softfloat.h, vector.h, x87.h). */
#ifndef CPU_VALUES_H
#define CPU_VALUES_H

#include <stdint.h>

union vec { uint8_t b[32]; uint16_t w[16]; uint32_t d[8]; uint64_t q[4]; };

/* An 80-bit register: significand with explicit integer bit; sign and exponent. */
struct f80 { uint64_t significand; uint16_t sign_exponent; };

struct cpu_x87 {
    uint16_t fcw, fsw /* TOP in bits 11..13 */, fop;
    uint8_t  empty;             /* bit i: physical register i is empty */
    uint64_t fip, fdp;
    uint16_t fcs, fds;
    struct f80 r[8];            /* physical registers; MMX register i is r[i].significand */
};

#endif
