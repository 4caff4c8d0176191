/* SPDX-License-Identifier: MIT */
/* exclusive.c - stopping all vCPUs of a VM but one: cpu_vm_stop(). Rare: locked accesses across pages, 16-byte ones on hosts without them.
 *
 * A vCPU is in the guest from engine entry to exit, but while it sleeps or waits here (in_guest). Whoever stops sets `stopping`, asks each vCPU in the guest to look,
 * and waits until none is. A vCPU that goes in sets in_guest first and looks at `stopping` then, both sequentially consistent, so one of the two sees the other.
 *
 * Waiting is short, so it is by yielding, but in lockstep, where a turn takes milliseconds: there vCPUs sleep. Whoever changes what a vCPU may wait for - `stopping` and
 * `turn_now`, and `entering` when it falls - does so first and wakes all others then (cpu_sleep_wake()), and a vCPU looks at it again whenever it has been woken since it
 * last slept, so no wake-up is lost. One that was meant for a HLT is handed on (waited()). Threads that are no vCPU's wake nobody, as vCPUs may be freed meanwhile, which a
 * vCPU in the guest prevents; so sleep has an end. */
#include "cpu/exclusive.h"
#include "cpu/sleep.h"

/* Owner's thread. Until it is woken, by others_wake() or for another reason. */
static void wait_for_others(struct cpu *cpu)
{
    enum { SLEEP_MAX = 1000000 /* ns */ };
    if (cpu->vm->lockstep)
        cpu_sleep_wait(cpu->sleep, SLEEP_MAX);
    else
        cpu_sleep_yield();
}

/* Behind such waits: it may have been a request that woke it, which its next HLT is to hear of. */
static void waited(struct cpu *cpu)
{
    if (cpu->vm->lockstep)
        cpu_sleep_wake(cpu->sleep);
}

/* What they may wait for has changed. The caller is in the guest, or NULL. */
static void others_wake(const struct cpu *caller)
{
    if (!caller || !caller->vm->lockstep)
        return;
    struct cpu_vm *vm = caller->vm;
    for (unsigned i = 0; i < ARRAY_LEN(vm->cpus); i++)
        if (vm->cpus[i] && vm->cpus[i] != caller)
            cpu_sleep_wake(vm->cpus[i]->sleep);
}

static bool may_enter(struct cpu *cpu)
{
    atomic_store(&cpu->in_guest, 1);
    if (likely(!atomic_load(&cpu->vm->stopping)))
        return true;
    atomic_store(&cpu->in_guest, 0);
    return false;
}

void cpu_guest_enter(struct cpu *cpu)
{
    if (likely(may_enter(cpu)))
        return;
    atomic_fetch_add(&cpu->vm->entering, 1);
    while (!may_enter(cpu))
        wait_for_others(cpu);
    waited(cpu);
    atomic_fetch_sub(&cpu->vm->entering, 1);
    others_wake(cpu);
}

void cpu_guest_leave(struct cpu *cpu)
{
    if (unlikely(cpu->turn_left))
        cpu_turn_give(cpu);
    atomic_store(&cpu->in_guest, 0);
}

void cpu_vm_stop(struct cpu_vm *vm, struct cpu *caller)
{
    uint32_t none = 0;
    if (caller && caller->stops++)
        return;
    if (caller)
        cpu_guest_leave(caller);
    while (!atomic_compare_exchange_strong(&vm->stopping, &none, 1)) {
        none = 0;
        cpu_sleep_yield();
    }
    for (unsigned i = 0; i < ARRAY_LEN(vm->cpus); i++)
        if (vm->cpus[i] && vm->cpus[i] != caller && atomic_load(&vm->cpus[i]->in_guest))
            cpu_request(vm->cpus[i], CPU_REQ_STOP);
    for (unsigned i = 0; i < ARRAY_LEN(vm->cpus); i++)
        while (vm->cpus[i] && vm->cpus[i] != caller && atomic_load(&vm->cpus[i]->in_guest))
            cpu_sleep_yield();
}

void cpu_vm_resume(struct cpu_vm *vm, struct cpu *caller)
{
    if (caller && --caller->stops)
        return;
    if (caller)
        atomic_store(&caller->in_guest, 1); /* before the others go: nobody else can be stopping */
    atomic_store(&vm->stopping, 0);
    others_wake(caller);
}

void cpu_turn_take(struct cpu *cpu, uint32_t length)
{
    struct cpu_vm *vm = cpu->vm;
    uint32_t turn = atomic_fetch_add(&vm->turn_next, 1);
    cpu_guest_leave(cpu);
    while (atomic_load(&vm->turn_now) != turn || atomic_load(&vm->entering))
        wait_for_others(cpu);
    waited(cpu);
    cpu_vm_stop(vm, cpu);
    cpu->turn_left = length;
}

void cpu_turn_give(struct cpu *cpu)
{
    cpu->turn_left = 0;
    cpu_vm_resume(cpu->vm, cpu);
    atomic_fetch_add(&cpu->vm->turn_now, 1);
    others_wake(cpu);
}
