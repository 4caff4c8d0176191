/* SPDX-License-Identifier: MIT */
/* alarm.c - one thread of a VM that raises CPU_REQ_TIMER when a vCPU's APIC timer is due, since a running guest may never leave. Made with the VM: vCPU threads
 * may no longer start threads (sandbox). Setting a later deadline than the thread waits for costs nothing: it wakes early once and looks again. */
#include <pthread.h>
#include <stdlib.h>

#include "cpu/engine.h"
#include "cpu/sleep.h"

struct cpu_alarms {
    struct cpu_vm *vm;
    struct cpu_sleep *sleep;
    pthread_t thread;
    _Atomic uint64_t deadlines[ARRAY_LEN(((struct cpu_vm *)0)->cpus)]; /* ns of the VM's clock, UINT64_MAX: none */
    _Atomic uint64_t waits_until;
    _Atomic bool quit;
    pthread_mutex_t lock; /* held around requests, so that no vCPU goes away under one */
};

/* Raises what is due at `now`; answers the next deadline. */
static uint64_t alarms_raise(struct cpu_alarms *alarms, uint64_t now)
{
    uint64_t next = UINT64_MAX;
    pthread_mutex_lock(&alarms->lock);
    for (unsigned i = 0; i < alarms->vm->cpu_count; i++) {
        uint64_t deadline = atomic_load(&alarms->deadlines[i]);
        if (deadline > now)
            next = deadline < next ? deadline : next;
        else if (atomic_compare_exchange_strong(&alarms->deadlines[i], &deadline, UINT64_MAX))
            cpu_request(alarms->vm->cpus[i], CPU_REQ_TIMER);
        else
            next = now; /* it was set this moment: look again */
    }
    pthread_mutex_unlock(&alarms->lock);
    return next;
}

static uint64_t alarms_next(struct cpu_alarms *alarms)
{
    uint64_t next = UINT64_MAX;
    for (unsigned i = 0; i < alarms->vm->cpu_count; i++) {
        uint64_t deadline = atomic_load(&alarms->deadlines[i]);
        next = deadline < next ? deadline : next;
    }
    return next;
}

static void *alarms_thread(void *opaque)
{
    struct cpu_alarms *alarms = opaque;
    struct cpu_vm *vm = alarms->vm;
    while (!atomic_load(&alarms->quit)) {
        uint64_t now = vm->now(vm->ticks_opaque), next = alarms_raise(alarms, now);
        atomic_store(&alarms->waits_until, next);
        if (next > now && alarms_next(alarms) >= next) /* else one was set in between, without a wake */
            cpu_sleep_wait(alarms->sleep, next == UINT64_MAX ? UINT64_MAX : next - now);
        atomic_store(&alarms->waits_until, 0);
    }
    return NULL;
}

int cpu_alarms_new(struct cpu_vm *vm, struct err *err)
{
    struct cpu_alarms *alarms = calloc(1, sizeof *alarms);
    if (!alarms || !(alarms->sleep = cpu_sleep_new())) {
        free(alarms);
        return err_set(err, ERR_HOST, "no memory for the timers of the vCPUs");
    }
    alarms->vm = vm;
    pthread_mutex_init(&alarms->lock, NULL);
    for (unsigned i = 0; i < ARRAY_LEN(alarms->deadlines); i++)
        atomic_init(&alarms->deadlines[i], UINT64_MAX);
    if (pthread_create(&alarms->thread, NULL, alarms_thread, alarms)) {
        cpu_sleep_free(alarms->sleep);
        free(alarms);
        return err_set(err, ERR_HOST, "cannot start the timer thread of the vCPUs");
    }
    vm->alarms = alarms;
    return 0;
}

void cpu_alarms_free(struct cpu_vm *vm)
{
    struct cpu_alarms *alarms = vm->alarms;
    if (!alarms)
        return;
    atomic_store(&alarms->quit, true);
    cpu_sleep_wake(alarms->sleep);
    pthread_join(alarms->thread, NULL);
    cpu_sleep_free(alarms->sleep);
    pthread_mutex_destroy(&alarms->lock);
    free(alarms);
    vm->alarms = NULL;
}

void cpu_timer_forget(struct cpu *cpu)
{
    struct cpu_alarms *alarms = cpu->vm->alarms;
    if (!alarms)
        return;
    pthread_mutex_lock(&alarms->lock);
    atomic_store(&alarms->deadlines[cpu->index], UINT64_MAX);
    pthread_mutex_unlock(&alarms->lock);
}

void cpu_timer_set(struct cpu *cpu, uint64_t ns)
{
    struct cpu_alarms *alarms = cpu->vm->alarms;
    if (!alarms)
        return;
    atomic_store(&alarms->deadlines[cpu->index], ns);
    if (ns < atomic_load(&alarms->waits_until))
        cpu_sleep_wake(alarms->sleep);
}
