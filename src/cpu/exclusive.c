/* SPDX-License-Identifier: MIT */
/* exclusive.c - stopping all vCPUs of a VM but one: cpu_vm_stop(). Rare: locked accesses across pages, 16-byte ones on hosts without them.
 *
 * A vCPU is in the guest from engine entry to exit, but while it sleeps or waits here (in_guest). Whoever stops sets `stopping`, asks each vCPU in the guest to look,
 * and waits until none is. A vCPU that goes in sets in_guest first and looks at `stopping` then, both sequentially consistent, so one of the two sees the other. */
#include "cpu/exclusive.h"
#include "cpu/sleep.h"

void cpu_guest_enter(struct cpu *cpu)
{
    for (;;) {
        atomic_store(&cpu->in_guest, 1);
        if (likely(!atomic_load(&cpu->vm->stopping)))
            return;
        atomic_store(&cpu->in_guest, 0);
        cpu_sleep_yield();
    }
}

void cpu_guest_leave(struct cpu *cpu)
{
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
