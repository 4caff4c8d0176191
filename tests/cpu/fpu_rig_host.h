/* SPDX-License-Identifier: MIT */
/* fpu_rig_host.h - the host's half of fpu_rig.h; apart from it because the system's signal headers use names of cpu.h. */
#ifndef TESTS_FPU_RIG_HOST_H
#define TESTS_FPU_RIG_HOST_H

#include <stdint.h>

enum { RIG_MEMORY = 1024 };

struct rig_state {
    uint8_t area[1024] __attribute__((aligned(64))); /* XSAVE, standard format */
    uint64_t rax, rcx, rdx, rsi, flags;
    uint8_t memory[RIG_MEMORY] __attribute__((aligned(64)));
    int fault;                                       /* exception vector, or -1 */
};

/* Two pages: code, and the operand in the second, 64 bytes in. Installs the fault handlers. */
uint8_t *rig_host_new(void);
void rig_host_free(uint8_t *pages);
/* Calls the code page with *state in the registers and RDI = operand; a fault in its first instruction ends it. */
void rig_host_call(uint8_t *pages, uint8_t *operand, struct rig_state *state);

#endif
