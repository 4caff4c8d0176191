/* SPDX-License-Identifier: MIT */
/* kvm_speed.c - how fast does this /dev/kvm run a guest? Some hypervisors offer the interface and emulate ordinary guests, a thousand times slower than
 * hardware; CPUID does not tell, so a loop is timed in a VM of its own, by the thread's processor time, since the machine may be busy. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "hy/backends/kvm.h"

#define LOOP_AT    0x1000u
#define LOOPS_MAX  2048000u

/* Real mode: mov ecx, n; 1: dec ecx; jnz 1b; hlt. The word at 2 is n. */
static const uint8_t loop_code[] = {0x66, 0xb9, 0, 0, 0, 0, 0x66, 0x49, 0x75, 0xfc, 0xf4};

struct meter { const struct hyb *b; int vm, cpu; struct kvm_run *run; uint8_t *page; };

static int meter_open(struct meter *m)
{
    struct kvm_userspace_memory_region region = {.guest_phys_addr = LOOP_AT, .memory_size = 4096};

    m->vm = (int)kvm_ioctl(m->b, m->b->fd, KVM_CREATE_VM, NULL);
    if (m->vm < 0)
        return -1;
    m->cpu = (int)kvm_ioctl(m->b, m->vm, KVM_CREATE_VCPU, NULL);
    m->page = m->b->os->map(NULL, 4096, PROT_READ | PROT_WRITE, -1, 0);
    if (m->cpu < 0 || !m->page)
        return -1;
    m->run = m->b->os->map(NULL, m->b->run_size, PROT_READ | PROT_WRITE, m->cpu, 0);
    region.userspace_addr = (uintptr_t)m->page;
    return m->run && !kvm_ioctl(m->b, m->vm, KVM_SET_USER_MEMORY_REGION, &region) ? 0 : -1;
}

static void meter_close(struct meter *m)
{
    if (m->run)
        m->b->os->unmap(m->run, m->b->run_size);
    if (m->cpu >= 0)
        m->b->os->close(m->cpu);
    if (m->vm >= 0)
        m->b->os->close(m->vm);
    if (m->page)
        m->b->os->unmap(m->page, 4096);
}

/* Runs the code at LOOP_AT to its HLT; nanoseconds of processor time, 0 when the guest did not do it. */
static uint64_t meter_go(struct meter *m)
{
    struct kvm_regs regs = {.rip = LOOP_AT, .rflags = 2};
    struct kvm_sregs sregs;
    uint64_t start;

    if (kvm_ioctl(m->b, m->cpu, KVM_GET_SREGS, &sregs))
        return 0;
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    if (kvm_ioctl(m->b, m->cpu, KVM_SET_SREGS, &sregs) || kvm_ioctl(m->b, m->cpu, KVM_SET_REGS, &regs))
        return 0;
    start = clock_thread_ns();
    for (int tries = 0; tries < 100; tries++) {
        if (kvm_ioctl(m->b, m->cpu, KVM_RUN, NULL) == 0) /* else a signal: go on */
            return m->run->exit_reason == KVM_EXIT_HLT ? clock_thread_ns() - start + 1 : 0;
    }
    return 0;
}

/* Nanoseconds for n times round the loop; 0 when the guest did not do it. */
static uint64_t meter_run(struct meter *m, uint32_t n)
{
    memcpy(m->page, loop_code, sizeof loop_code);
    store_le32(m->page + 2, n);
    return meter_go(m);
}

/* Whether a guest's TSC follows the value that is set: what freezing time is built on. */
static int meter_tsc_moves(struct meter *m)
{
    static const uint8_t code[] = {0x0f, 0x31, 0xf4}; /* rdtsc; hlt */
    struct { struct kvm_msrs head; struct kvm_msr_entry entry; } tsc = {.head = {.nmsrs = 1}, .entry = {.index = 0x10, .data = BIT(55)}};
    struct kvm_regs regs;

    memcpy(m->page, code, sizeof code);
    return kvm_ioctl(m->b, m->cpu, KVM_SET_MSRS, &tsc) == 1 && meter_go(m) && !kvm_ioctl(m->b, m->cpu, KVM_GET_REGS, &regs)
           && regs.rdx << 32 >= BIT(55) && regs.rdx << 32 < BIT(55) + BIT(40);
}

void kvm_measure(struct hyb *b)
{
    struct meter m = {.b = b, .vm = -1, .cpu = -1};
    uint64_t best = 0, spent = 0;

    if (!meter_open(&m) && meter_run(&m, 1)) {
        /* Longer and longer loops, so that entry and exit weigh little, until one has taken its time: at most some 20 ms in all. */
        for (uint32_t n = 4000; n <= LOOPS_MAX && spent < 1500000; n *= 8) {
            uint64_t ns = meter_run(&m, n), rate = ns ? UINT64_C(2000000000) * n / ns : 0;

            best = rate > best ? rate : best;
            spent = ns;
        }
    }
    b->clock = b->clock && best && meter_tsc_moves(&m);
    b->speed = best;
    meter_close(&m);
}
