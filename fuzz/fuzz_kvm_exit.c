/* SPDX-License-Identifier: MIT */
/* Exits of KVM whose numbers a guest chose, on a simulated host, answered, kicked and finished in any order. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../tests/hy/sim_kvm.h"

struct feed { const uint8_t *data; size_t size; };

static uint8_t next(struct feed *f)
{
    if (!f->size)
        return 0;
    f->size--;
    return *f->data++;
}

static uint64_t number(struct feed *f)
{
    uint64_t v = 0;

    for (unsigned n = next(f) % 9; n; n--)
        v = v << 8 | next(f);
    return v;
}

/* As the kernel would fill the page, which it does within its own limits. */
static int run_script(struct sim *s, struct kvm_run *run)
{
    static const uint32_t reasons[] = {
        KVM_EXIT_IO, KVM_EXIT_MMIO, KVM_EXIT_HLT, KVM_EXIT_SHUTDOWN, KVM_EXIT_X86_RDMSR, KVM_EXIT_X86_WRMSR, KVM_EXIT_SYSTEM_EVENT, KVM_EXIT_DEBUG,
        KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_IOAPIC_EOI, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_FAIL_ENTRY, 77,
    };
    struct feed *f = s->opaque;

    if (run->immediate_exit || !f->size)
        return EINTR;
    run->exit_reason = reasons[next(f) % ARRAY_LEN(reasons)];
    run->if_flag = next(f) & 1;
    run->ready_for_interrupt_injection = next(f) & 1;
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        run->io.direction = next(f) & 1;
        run->io.size = (uint8_t)(1u << next(f) % 3);
        run->io.port = (uint16_t)number(f);
        run->io.count = 1 + (uint32_t)number(f) % (4096 / run->io.size);
        run->io.data_offset = 4096;
        break;
    case KVM_EXIT_MMIO:
        run->mmio.phys_addr = number(f);
        run->mmio.len = 1 + next(f) % 8;
        run->mmio.is_write = next(f) & 1;
        break;
    case KVM_EXIT_X86_RDMSR: case KVM_EXIT_X86_WRMSR:
        run->msr.index = (uint32_t)number(f);
        run->msr.data = number(f);
        run->msr.reason = 1u << next(f) % 3;
        break;
    case KVM_EXIT_SYSTEM_EVENT: run->system_event.type = next(f) % 6; break;
    case KVM_EXIT_IOAPIC_EOI: run->eoi.vector = next(f); break;
    default: break;
    }
    return 0;
}

static void answer(struct feed *f, hy_exit *x)
{
    if (x->reason == HY_EXIT_IO && !x->write)
        memset(x->u.io.data, next(f), (size_t)x->u.io.width * x->u.io.count);
    else if ((x->reason == HY_EXIT_MMIO || x->reason == HY_EXIT_FAULT) && !x->write)
        memset(x->u.mmio.data, next(f), x->u.mmio.width);
    else if (x->reason == HY_EXIT_MSR)
        x->u.msr.deny = next(f) & 1;
}

static void play(struct feed *f, hy_vm *vm, hy_cpu *cpu)
{
    const struct hy_event event = {.kind = HY_EV_INTR, .vector = 0x40};
    int finishes = 0;
    hy_exit *x;

    while (f->size) {
        switch (next(f) % 6) {
        case 0: hy_kick(cpu); break;
        case 1: hy_protect(vm, 0x10000, 0x10000, next(f) & 1 ? HY_R | HY_X : HY_R | HY_W | HY_X); break;
        case 2: hy_window(cpu, next(f) & 3); break;
        case 3: hy_inject(cpu, &event); break;
        case 4:
            if (hy_finish(cpu, &x) == HY_OK && finishes++ < 100)
                answer(f, x);
            break;
        default:
            if (!f->size)
                break;
            hy_kick(cpu); /* the script ends in EINTR for ever: there must be a kick */
            if (hy_run(cpu, &x) == HY_OK)
                answer(f, x);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct feed f = {data, size};
    struct sim s = {.opaque = &f};
    struct hy_vm_cfg cfg = {.size = sizeof cfg, .irq = HY_IRQ_NONE, .cpus = 1};
    hy *h = NULL;
    hy_vm *vm = NULL;
    hy_mem *mem = NULL;
    hy_cpu *cpu = NULL;

    sim_begin(&s);
    if (!hy_open_on(&sim_os, "kvm", &h) && !hy_vm_new(h, &cfg, &vm) && !hy_mem_new(vm, 0x20000, &mem) && !hy_map(vm, 0, mem, 0, 0x20000, 7)
        && !hy_trap(vm, HY_EXIT_MSR, 0x40000000, 0x400001ff, HY_R | HY_W) && !hy_cpu_new(vm, 0, &cpu)) {
        s.run = run_script;
        play(&f, vm, cpu);
    }
    if (hy_cpu_free(cpu) || hy_vm_free(vm))
        abort();
    hy_mem_free(mem);
    if (hy_close(h) || s.open_handles || s.mapped)
        abort();
    return 0;
}
