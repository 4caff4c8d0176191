/* SPDX-License-Identifier: MIT */
/* alarm.c - a thread of each vCPU with an APIC that raises CPU_REQ_TIMER when the APIC timer's deadline comes, since a running guest may never leave.
 * Setting a later deadline than the thread waits for costs nothing: it wakes early once and looks again. */
#include <stdlib.h>

#include "cpu/engine_private.h"
#include "cpu/sleep.h"

struct cpu_alarm {
    struct cpu *cpu;
    struct cpu_sleep *sleep;
    pthread_t thread;
    _Atomic uint64_t deadline, waits_until; /* ns of the VM's clock */
    _Atomic bool quit;
};

static void *alarm_thread(void *opaque)
{
    struct cpu_alarm *alarm = opaque;
    const struct cpu_vm *vm = alarm->cpu->vm;
    while (!atomic_load(&alarm->quit)) {
        uint64_t deadline = atomic_load(&alarm->deadline), now = vm->now(vm->ticks_opaque);
        if (deadline != UINT64_MAX && now >= deadline) {
            if (atomic_compare_exchange_strong(&alarm->deadline, &deadline, UINT64_MAX))
                cpu_request(alarm->cpu, CPU_REQ_TIMER);
            continue;
        }
        atomic_store(&alarm->waits_until, deadline);
        if (atomic_load(&alarm->deadline) >= deadline) /* else it was set in between, without a wake */
            cpu_sleep_wait(alarm->sleep, deadline == UINT64_MAX ? UINT64_MAX : deadline - now);
        atomic_store(&alarm->waits_until, 0);
    }
    return NULL;
}

int alarm_new(struct cpu *cpu, struct cpu_alarm **out, struct err *err)
{
    struct cpu_alarm *alarm = calloc(1, sizeof *alarm);
    if (!alarm || !(alarm->sleep = cpu_sleep_new())) {
        free(alarm);
        return err_set(err, ERR_HOST, "no memory for the timer of vCPU %u", cpu->index);
    }
    alarm->cpu = cpu;
    atomic_init(&alarm->deadline, UINT64_MAX);
    if (pthread_create(&alarm->thread, NULL, alarm_thread, alarm)) {
        cpu_sleep_free(alarm->sleep);
        free(alarm);
        return err_set(err, ERR_HOST, "cannot start the timer thread of vCPU %u", cpu->index);
    }
    *out = alarm;
    return 0;
}

void alarm_free(struct cpu_alarm *alarm)
{
    if (!alarm)
        return;
    atomic_store(&alarm->quit, true);
    cpu_sleep_wake(alarm->sleep);
    pthread_join(alarm->thread, NULL);
    cpu_sleep_free(alarm->sleep);
    free(alarm);
}

void alarm_set(struct cpu_alarm *alarm, uint64_t deadline_ns)
{
    atomic_store(&alarm->deadline, deadline_ns);
    if (deadline_ns < atomic_load(&alarm->waits_until))
        cpu_sleep_wake(alarm->sleep);
}
