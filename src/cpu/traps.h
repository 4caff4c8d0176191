/* SPDX-License-Identifier: MIT */
/* traps.h - which MSRs and whether CPUID leave the CPU with an exit (hy_trap). One table for a VM, fixed while its CPUs run. */
#ifndef CPU_TRAPS_H
#define CPU_TRAPS_H

#include <stdbool.h>
#include <stdint.h>

#define CPU_TRAPS_MAX 64

enum { CPU_TRAP_READ = 1, CPU_TRAP_WRITE = 2 };

struct cpu_trap { uint32_t first, last, access /* CPU_TRAP_* */; };
struct cpu_traps { uint32_t count; struct cpu_trap msr[CPU_TRAPS_MAX]; };

/* Whether an access (one CPU_TRAP_* bit) to the MSR leaves. `traps` may be NULL. */
static inline bool cpu_traps_msr(const struct cpu_traps *traps, uint32_t msr, uint32_t access)
{
    for (uint32_t i = 0; traps && i < traps->count && i < CPU_TRAPS_MAX; i++) {
        if (msr - traps->msr[i].first <= traps->msr[i].last - traps->msr[i].first && traps->msr[i].access & access)
            return true;
    }
    return false;
}

#endif
