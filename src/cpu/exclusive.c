/* SPDX-License-Identifier: MIT */
/* exclusive.c - stopping all vCPUs of a VM but one: cpu_vm_stop(). Rare: locked accesses across pages, 16-byte ones on hosts without them.
 *
 * A vCPU is in the guest from engine entry to exit, but while it sleeps or waits here (in_guest). Whoever stops sets `stopping`, asks each vCPU in the guest to look,
 * and waits until none is. A vCPU that goes in sets in_guest first and looks at `stopping` then, both sequentially consistent, so one of the two sees the other. */
#include "cpu/exclusive.h"
#include "cpu/sleep.h"

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
    do
        cpu_sleep_yield();
    while (!may_enter(cpu));
    atomic_fetch_sub(&cpu->vm->entering, 1);
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
}

void cpu_turn_take(struct cpu *cpu, uint32_t length)
{
    struct cpu_vm *vm = cpu->vm;
    uint32_t turn = atomic_fetch_add(&vm->turn_next, 1);
    cpu_guest_leave(cpu);
    while (atomic_load(&vm->turn_now) != turn || atomic_load(&vm->entering))
        cpu_sleep_yield();
    cpu_vm_stop(vm, cpu);
    cpu->turn_left = length;
}

void cpu_turn_give(struct cpu *cpu)
{
    cpu->turn_left = 0;
    cpu_vm_resume(cpu->vm, cpu);
    atomic_fetch_add(&cpu->vm->turn_now, 1);
}
