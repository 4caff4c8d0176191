/* SPDX-License-Identifier: MIT */
/* cpuid.h - what CPUID answers, and what follows from it: features of instructions, address bits, which control bits exist.
 *
 * Each vCPU has a table of leaves. cpu_new() fills it with cpuid_defaults(), which says exactly what this CPU implements. cpu_cpuid_set() changes leaves before the
 * vCPU runs: bits of instruction features that are not implemented are dropped, features that are masked raise #UD.
 * Dynamic answers are made at execution: APIC id, APIC and OSXSAVE and OSPKE flags, sizes in leaf 0xD.
 */
#ifndef CPU_CPUID_H
#define CPU_CPUID_H

#include "cpu/cpu.h"

#define CPUID_LEAVES_MAX 96

struct cpu_cpuid {
    uint32_t count;
    uint8_t  phys_bits;
    uint64_t cr4_valid;  /* CR4 bits that may be set */
    struct hy_cpuid leaf[CPUID_LEAVES_MAX];
};

/* The default leaves of a VM with `cpus` vCPUs; answers how many there are (at most CPUID_LEAVES_MAX); fills at most `capacity`. */
size_t cpuid_defaults(uint32_t cpus, uint64_t tsc_hz, bool apic, struct hy_cpuid *out, size_t capacity);
/* The crystal (and APIC timer) frequency that leaf 0x15 tells for a TSC frequency: divides it. The machine gives it to the APIC bus as timer_hz. */
uint32_t cpuid_crystal_hz(uint64_t tsc_hz);

/* Whether a table tells of AVX-512F: only where the host has AVX-512, and can, cpu->host_runner is there; else those bits are dropped. */
bool cpuid_wants_avx512(const struct hy_cpuid *, size_t n);

/* Replaces or adds leaves of this vCPU; ERR_USAGE when the table is full. */
int cpu_cpuid_set(struct cpu *, const struct hy_cpuid *, size_t n, struct err *);
/* Executes CPUID below the traps: eax, ebx, ecx, edx. */
void cpu_cpuid(struct cpu *, uint32_t fn, uint32_t sub, uint32_t out[4]);

int  cpuid_new(struct cpu *, struct err *); /* for cpu_new() */
void cpuid_free(struct cpu *);

static inline unsigned cpu_phys_bits(const struct cpu *cpu) { return cpu->cpuid->phys_bits; }
static inline bool cpu_has(const struct cpu *cpu, enum insn_feature feature) { return cpu->features[feature / 64] >> feature % 64 & 1; }
/* One bit of the table (reg 0..3: eax..edx). */
bool cpuid_bit(const struct cpu *, uint32_t fn, uint32_t sub, unsigned reg, unsigned bit);

/* The bit set by enum insn_feature of a processor whose CPUID `leaf` answers (zeros for a leaf that it has not). */
void cpuid_features(void (*leaf)(uint32_t fn, uint32_t sub, uint32_t out[4]), uint64_t features[4]);

#endif
