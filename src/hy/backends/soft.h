/* SPDX-License-Identifier: MIT */
/* soft.h - what the two files of the software backend share. */
#ifndef HY_BACKENDS_SOFT_H
#define HY_BACKENDS_SOFT_H

#include <pthread.h>
#include <stdatomic.h>

#include "apic/apic.h"
#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "cpu/engine.h"
#include "cpu/traps.h"
#include "hy/hy_backend.h"

struct hyb {
    const struct hy_os *os;
    uint32_t max_cpus, gpa_bits;
    _Atomic(const char *) no_translator; /* why guest code is interpreted; NULL: it is translated */
};

struct soft_range { uint32_t first, last; };

struct hyb_vm {
    struct hyb *b;
    struct cpu_vm vm;
    uint32_t irq;
    bool must_translate;
    struct cpu_traps traps;
    struct soft_range cpuid[16];         /* trapped leaves    */
    uint32_t cpuid_count;
    _Atomic uint64_t trap_exceptions;
    _Atomic uint64_t step_first_last;    /* first | last << 32; ~0: none */

    /* The clock of the VM: host time minus `base`, or `frozen_at` while that is not ~0. */
    _Atomic uint64_t base, frozen_at;
    uint64_t guest_ns_offset;            /* of the paravirtual clock     */

    pthread_rwlock_t cpus_lock;          /* read: posting an interrupt from any thread; write: making and freeing a CPU */
    _Atomic int external;                /* vector of an 8259 that waits for INTA, -1: none */
};

struct hyb_cpu {
    struct hyb_vm *vm;
    struct cpu *cpu;
    _Atomic int kicked;
    uint64_t ended[4];                   /* vectors whose end of interrupt is to be reported; owner's thread */
    uint8_t ended_any;
    uint8_t window;                      /* with an APIC: a window for the 8259 was asked for */
};

/* soft_state.c */
hy_err soft_save(hyb_vm *, hyb_cpu *, int what, void *, size_t *);
hy_err soft_load(hyb_vm *, hyb_cpu *, int what, const void *, size_t);
hy_err soft_clock(hyb_vm *, int running, struct hy_clock *, const struct hy_clock *);
uint64_t soft_now(void *vm);   /* ns */
uint64_t soft_ticks(void *vm); /* at vm.tsc_hz, of the same clock */

static inline hy_err soft_fail(hy_err err, const char *call, const char *reason) { return hyb_fail(err, 0, "soft", call, reason); }

#endif
