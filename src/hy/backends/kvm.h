/* SPDX-License-Identifier: MIT */
/* kvm.h - what the files of the KVM backend (x86-64) share. Reference: Linux Documentation/virt/kvm/api.rst; section numbers are its. */
#ifndef HY_BACKENDS_KVM_H
#define HY_BACKENDS_KVM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/bits.h"
#include "hy/hy_backend.h"

#define KVM_TRAPS_MAX 16   /* KVM_MSR_FILTER_MAX_RANGES */
#define KVM_IOAPIC_LINES 24
#define KVM_MSRS_MAX 1024

struct hyb {
    const struct hy_os *os;
    int fd;
    size_t run_size;            /* of the mapped struct kvm_run   */
    uint32_t max_slots, max_cpus, gpa_bits;
    size_t xsave_size;
    int split_irqchip, full_irqchip, read_only, msr_exits, msr_filter, clock, debug, nest, events, irqfd, bell, vcpu_attr;
    uint64_t tsc_hz, speed;
    uint32_t *msrs;             /* state-holding MSRs             */
    size_t msr_count;
};

struct kvm_slot { uint64_t gpa; size_t len; uint8_t *host; struct mem_block *block; size_t offset; uint32_t id; uint8_t read_only, logged; };
struct kvm_trap { uint32_t first, last, rw; };
struct kvm_route { uint32_t line; uint64_t addr; uint32_t data; };

struct hyb_vm {
    struct hyb *b;
    int fd;
    struct mem_map *map;
    uint32_t irq, cpu_max;
    uint64_t tick_hz;

    pthread_mutex_t slot_lock;  /* slots */
    struct kvm_slot *slots;     /* sorted by gpa */
    size_t slot_count, slot_room;
    uint32_t *free_ids, free_count, next_id;

    pthread_mutex_t cpu_lock;   /* cpus; and the gate: see kvm_vm_pause() */
    pthread_cond_t gate;
    _Atomic int paused;
    struct hyb_cpu **cpus;
    struct kvm_spare { int fd; uint8_t *reset; size_t len; } *spares; /* freed CPUs, which KVM keeps: to be made again from their reset state */

    struct kvm_trap traps[KVM_TRAPS_MAX];
    uint32_t trap_count;
    _Atomic uint32_t debug_generation; /* counts changes of what follows */
    _Atomic uint32_t trap_exceptions;  /* bit per vector                 */
    _Atomic uint64_t step_first_last;  /* first | last << 32; ~0: none   */
    struct kvm_route *routes;
    size_t route_count;
    int frozen;
    struct kvm_clock_data frozen_clock;
    uint64_t frozen_tsc;        /* of the first CPU     */
};

struct hyb_cpu {
    struct hyb_vm *vm;
    int fd;
    uint32_t index;
    struct kvm_run *run;
    hy_exit exit;
    uint8_t awaits;             /* KVM holds an access to complete */
    uint8_t window;             /* mask of hy_window               */
    uint8_t injected;           /* since the last entry            */
    uint32_t debug_seen;
    pthread_t owner;            /* and its tid, below              */
    uint8_t owned;

    /* The kick. kicked and immediate_exit are written before running is read; the CPU writes running before it reads them. */
    _Atomic int kicked, running;
    _Atomic int tid;
};

static inline long kvm_ioctl(const struct hyb *b, int fd, unsigned long request, const void *arg)
{
    return b->os->ioctl(fd, request, (void *)(uintptr_t)arg);
}

/* Fails with the host's last error. */
static inline hy_err kvm_fail(const struct hyb *b, const char *call)
{
    int number = b->os->error();

    return hyb_fail(hyb_errno(number), number, "kvm", call, "");
}

/* An ioctl that gives 0 or fails. */
#define KVM_TRY(b, fd, request, arg) (kvm_ioctl((b), (fd), (request), (arg)) < 0 ? kvm_fail((b), #request) : HY_OK)

/* kvm_speed.c: measures b->speed (guest instructions a second on a simple loop, 0 when it cannot be measured), and takes b->clock back where the TSC
 * of a guest does not follow. */
void kvm_measure(struct hyb *b);

/* kvm_memory.c */
hy_err kvm_remap(hyb_vm *, uint64_t gpa, uint64_t len);
hy_err kvm_log(hyb_vm *, uint64_t gpa, size_t len, int on);
hy_err kvm_harvest(hyb_vm *, uint64_t gpa, size_t len);

/* kvm_cpu.c */
hy_err kvm_cpu_new(hyb_vm *, uint32_t index, const struct hy_cpuid *, size_t, hyb_cpu **);
void   kvm_cpu_free(hyb_cpu *);
hy_err kvm_enter(hyb_cpu *, hy_exit **);
hy_err kvm_finish(hyb_cpu *, hy_exit **);
void   kvm_kick(hyb_cpu *);
hy_err kvm_inject(hyb_cpu *, const struct hy_event *);
hy_err kvm_window(hyb_cpu *, unsigned mask);
/* Brings all CPUs out of the guest and holds them until kvm_vm_resume(). Not from a CPU in the guest, of course. */
void kvm_vm_pause(hyb_vm *);
void kvm_vm_resume(hyb_vm *);
/* Installs the handler of the signal that kicks use, when nobody has one there. */
void kvm_kick_prepare(void);

/* kvm_regs.c, kvm_state.c */
hy_err kvm_get(hyb_cpu *, const hy_reg *, hy_val *, size_t);
hy_err kvm_set(hyb_cpu *, const hy_reg *, const hy_val *, size_t);
hy_err kvm_save(hyb_vm *, hyb_cpu *, int what, void *, size_t *);
hy_err kvm_load(hyb_vm *, hyb_cpu *, int what, const void *, size_t);
hy_err kvm_clock(hyb_vm *, int running, struct hy_clock *, const struct hy_clock *);
/* Reads or writes one MSR; false when KVM does not know it or refuses. */
bool kvm_msr_get(const hyb_cpu *, uint32_t msr, uint64_t *value);
bool kvm_msr_set(const hyb_cpu *, uint32_t msr, uint64_t value);

#endif
