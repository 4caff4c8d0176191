/* SPDX-License-Identifier: MIT */
/* debug.h - debug registers and single step (SDM volume 3, chapter 17): for the MMU, I/O and the engine. Owner's thread only. */
#ifndef CPU_DEBUG_H
#define CPU_DEBUG_H

#include "cpu/cpu.h"

#define DR6_FIXED UINT64_C(0xffff0ff0) /* reserved ones, RTM included */
#define DR7_FIXED UINT64_C(0x400)
enum { DR6_BD = 1 << 13, DR6_BS = 1 << 14, DR6_BT = 1 << 15, DR7_GD = 1 << 13, DR7_ENABLES = 0xff };

/* Adds bits to DR6 as a #DB does: the breakpoint bits say what this one was. */
void cpu_debug_note(struct cpu *, uint64_t bits);

bool cpu_debug_page(const struct cpu *, uint64_t page);
void cpu_debug_access(struct cpu *, uint64_t linear, uint64_t len, bool write);
void cpu_debug_port(struct cpu *, uint16_t port, unsigned width);

/* Whether a data breakpoint watches the page: its TLB entries get no data tags. */
static inline bool cpu_debug_watches(const struct cpu *cpu, uint64_t page)
{
    return unlikely(cpu->state.dr[7] & DR7_ENABLES) && cpu_debug_page(cpu, page);
}

/* A data access was made: breakpoints on it become pending. */
static inline void cpu_debug_data(struct cpu *cpu, uint64_t linear, uint64_t len, bool write)
{
    if (unlikely(cpu->state.dr[7] & DR7_ENABLES))
        cpu_debug_access(cpu, linear, len, write);
}

/* An I/O access was made (CR4.DE). */
static inline void cpu_debug_io(struct cpu *cpu, uint16_t port, unsigned width)
{
    if (unlikely(cpu->state.dr[7] & DR7_ENABLES && cpu->state.cr4 & CR4_DE))
        cpu_debug_port(cpu, port, width);
}

/* MOV DR, after CPL was checked. */
void exec_mov_dr(struct cpu *, const struct insn *);

#endif
