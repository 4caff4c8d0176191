/* SPDX-License-Identifier: MIT */
/* vcpu.c - one thread for each vCPU: runs it, and answers its exits from the bus.
 *
 * Parking. The main loop sets `park` and kicks; a vCPU thread that sees it brings its vCPU to an instruction boundary (hy_finish), counts itself parked and waits, running
 * jobs that the main loop gives it, since libhy binds a vCPU to its thread. Nothing of the guest runs while all are parked, but devices' executors may.
 * Trust: addresses, sizes and values in exits are the guest's; the bus is total over them.
 */
#include <stdlib.h>
#include <string.h>

#include "machine/internal.h"
#include "base/bits.h"
#include "machine/sandbox.h"

static void exit_io(struct machine *m, hy_exit *exit)
{
    uint8_t *data = exit->u.io.data;
    unsigned width = exit->u.io.width;
    for (uint32_t i = 0; i < exit->u.io.count; i++, data += width) {
        uint64_t value = 0;
        if (exit->write) {
            memcpy(&value, data, width);
            bus_write(m->bus, BUS_PORT, exit->u.io.port, width, value);
        } else {
            bus_read(m->bus, BUS_PORT, exit->u.io.port, width, &value);
            memcpy(data, &value, width);
        }
    }
}

/* A wide access reaches devices in pieces of at most 8 bytes, the bus's largest. */
static void exit_mmio(struct machine *m, hy_exit *exit)
{
    uint8_t *data = exit->u.mmio.data;
    for (uint32_t at = 0; at < exit->u.mmio.width;) {
        uint32_t left = exit->u.mmio.width - at, piece = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        uint64_t value = 0;
        if (exit->write) {
            memcpy(&value, data + at, piece);
            bus_write(m->bus, BUS_MMIO, exit->u.mmio.gpa + at, piece, value);
        } else {
            bus_read(m->bus, BUS_MMIO, exit->u.mmio.gpa + at, piece, &value);
            memcpy(data + at, &value, piece);
        }
        at += piece;
    }
}

/* Returns false when the vCPU must not run on until the main loop has acted. */
static bool vcpu_handle_exit(struct vcpu *v, hy_exit *exit)
{
    struct machine *m = v->machine;
    if (v->apic && local_apic_exit(v, exit))
        return true;
    switch (exit->reason) {
    case HY_EXIT_NONE:
    case HY_EXIT_KICK:   return true;
    case HY_EXIT_IO:     exit_io(m, exit); return true;
    case HY_EXIT_MMIO:   exit_mmio(m, exit); return true;
    case HY_EXIT_FAULT:  return true; /* a write to ROM is dropped */
    case HY_EXIT_WINDOW: interrupts_window(v); return true;
    case HY_EXIT_EOI:    interrupts_eoi(m, exit->u.eoi.vector); return true;
    case HY_EXIT_MSR:    paravirt_msr(v, exit); return true;
    case HY_EXIT_CALL:   paravirt_call(v, exit); return true;
    case HY_EXIT_CRASH:  machine_request(m, REQUEST_CRASH); return false;
    case HY_EXIT_RESET:  machine_request(m, REQUEST_RESET); return false;
    case HY_EXIT_OFF:    machine_request(m, REQUEST_OFF); return false;
    case HY_EXIT_UNKNOWN:
        if (exit->native == HY_NATIVE_CHECK) {
            machine_fail(m, "vCPU %u: %.*s", v->index, (int)exit->u.unknown.len, (const char *)exit->u.unknown.raw);
            return false;
        }
        machine_fail(m, "vCPU %u: backend %s cannot run what the guest does there (native exit %u): code in device memory, or an instruction on a device that it does not know",
                     v->index, hy_name(m->hy), exit->native);
        return false;
    default:
        machine_fail(m, "vCPU %u left the guest for reason %u (native %u), which mezz does not know", v->index, exit->reason, exit->native);
        return false;
    }
}

bool vcpu_finish(struct vcpu *v)
{
    hy_exit *exit;
    bool kicked = false;
    while (hy_finish(v->cpu, &exit) == HY_OK) {
        v->interruptible = exit->ready & 1;
        kicked |= exit->reason == HY_EXIT_KICK;
        if (exit->reason == HY_EXIT_NONE || !vcpu_handle_exit(v, exit))
            break;
    }
    return kicked;
}

static void vcpu_run_job(struct vcpu *v)
{
    v->job_err = ERR_NONE;
    v->job_result = v->job(v, v->job_argument, &v->job_err);
    v->job = NULL;
    pthread_cond_broadcast(&v->machine->changed);
}

static void vcpu_park_here(struct vcpu *v)
{
    struct machine *m = v->machine;
    if (v->cpu)
        vcpu_finish(v);
    pthread_mutex_lock(&m->lock);
    v->parked = true;
    m->parked_count++;
    pthread_cond_broadcast(&m->changed);
    while (m->park && !m->quit) {
        if (v->job)
            vcpu_run_job(v);
        else
            pthread_cond_wait(&m->changed, &m->lock);
    }
    v->parked = false;
    m->parked_count--;
    pthread_mutex_unlock(&m->lock);
}

/* Waits for the main loop to act on a request that this vCPU made. */
static void vcpu_wait_for_park(struct vcpu *v)
{
    struct machine *m = v->machine;
    pthread_mutex_lock(&m->lock);
    while (!m->park && !m->quit)
        pthread_cond_wait(&m->changed, &m->lock);
    pthread_mutex_unlock(&m->lock);
}

void vcpu_run_devices(struct vcpu *v)
{
    if (v->machine->cooperative && !v->index)
        executor_run_pending(v->machine->cooperative);
}

/* Intervals are 1 to 2 N - 1 exits, by Marsaglia's xorshift64 (Journal of Statistical Software 8(14)). Every other time the guest runs on until the main loop acts, so that
 * it stands somewhere else than behind an exit. */
static void checkpoint_when_due(struct machine *m)
{
    bool due = false;
    pthread_mutex_lock(&m->lock);
    uint64_t x = m->checkpoint_random ? m->checkpoint_random : m->config.checkpoint_seed * 2 + 1;
    if (m->checkpoint_exits++ == m->checkpoint_at) {
        due = true;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        m->checkpoint_random = x;
        m->checkpoint_at += 1 + x % (2 * m->config.checkpoint_every - 1);
        machine_request(m, REQUEST_CHECKPOINT);
    }
    while (due && x >> 63 && !m->park && !m->quit)
        pthread_cond_wait(&m->changed, &m->lock);
    pthread_mutex_unlock(&m->lock);
}

static void vcpu_run(struct vcpu *v)
{
    struct machine *m = v->machine;
    hy_exit *exit;
    vcpu_run_devices(v);
    if (v->apic && !local_apic_before_run(v))
        return;
    if (!v->apic)
        interrupts_before_run(v);
    hy_err e = hy_run(v->cpu, &exit);
    if (e != HY_OK) {
        struct err err = ERR_NONE;
        machine_hy_error(e, "running a vCPU", &err);
        machine_fail(m, "%s", err.text);
        vcpu_wait_for_park(v);
        return;
    }
    v->exits++;
    if (!vcpu_handle_exit(v, exit) || atomic_load(&m->ending))
        vcpu_wait_for_park(v);
    if (m->config.checkpoint_every)
        checkpoint_when_due(m);
}

static void vcpu_keep_counters(struct vcpu *v)
{
    size_t n = 0;
    if (!v->cpu || !v->machine->config.counters || hy_counters(v->cpu, NULL, &n) != HY_E_RANGE)
        return;
    struct hy_counter *counters = calloc(n, sizeof *counters);
    if (!counters || hy_counters(v->cpu, counters, &n) != HY_OK) {
        free(counters);
        return;
    }
    free(v->counters);
    v->counters = counters;
    v->counter_count = n;
}

/* Nobody kicks what is being freed: the pointers go first. */
static void vcpu_drop(struct vcpu *v)
{
    if (v->apic)
        local_apic_detach(v);
    vcpu_keep_counters(v);
    pthread_mutex_lock(&v->kick_lock);
    hy_cpu *cpu = v->cpu;
    v->cpu = NULL;
    pthread_mutex_unlock(&v->kick_lock);
    hy_cpu_free(cpu);
}

static void *vcpu_main(void *opaque)
{
    struct vcpu *v = opaque;
    struct machine *m = v->machine;
    while (!atomic_load(&m->quit)) {
        if (atomic_load(&m->park))
            vcpu_park_here(v);
        else
            vcpu_run(v);
    }
    vcpu_drop(v);
    return NULL;
}

/* A job, once the vCPU is made: a library may start a thread of its own for that. */
static int vcpu_enter_sandbox(struct vcpu *v, void *unused, struct err *err)
{
    (void)unused;
    const struct machine *m = v->machine;
    return sandbox_enter_thread(m->config.sandbox, SANDBOX_VCPU | (m->cooperative ? SANDBOX_DEVICE : 0), err);
}

int vcpus_enter_sandbox(struct machine *m, struct err *err)
{
    int r = 0;
    for (uint32_t i = 0; !r && i < m->config.cpus; i++)
        r = vcpu_call(&m->vcpus[i], vcpu_enter_sandbox, NULL, err);
    return r;
}

/* A job: makes the vCPU, or makes it afresh after a reset. */
static int vcpu_make(struct vcpu *v, void *unused, struct err *err)
{
    (void)unused;
    struct machine *m = v->machine;
    hy_cpu *cpu;
    vcpu_drop(v);
    v->clock_page = 0;
    v->window_asked = false;
    hy_err e = hy_cpu_new(m->vm, v->index, &cpu);
    if (e != HY_OK)
        return machine_hy_error(e, "making a vCPU", err);
    pthread_mutex_lock(&v->kick_lock);
    v->cpu = cpu;
    pthread_mutex_unlock(&v->kick_lock);
    int r = m->apic_bus ? local_apic_attach(v, err) : 0;
    return !r && !v->index ? vcpu_set_boot_registers(v, err) : r;
}

int vcpus_make(struct machine *m, struct err *err)
{
    for (uint32_t i = 0; i < m->config.cpus; i++) {
        int r = vcpu_call(&m->vcpus[i], vcpu_make, NULL, err);
        if (r)
            return r;
    }
    return 0;
}

int vcpus_start(struct machine *m, struct err *err)
{
    atomic_store(&m->park, true);
    for (uint32_t i = 0; i < m->config.cpus; i++) {
        struct vcpu *v = &m->vcpus[i];
        v->machine = m;
        v->index = i;
        if (pthread_create(&v->thread, NULL, vcpu_main, v))
            return err_set(err, ERR_HOST, "--cpus %u: cannot start a thread for vCPU %u", m->config.cpus, i);
        v->started = true;
    }
    vcpus_park(m);
    return vcpus_make(m, err);
}

void vcpus_stop(struct machine *m)
{
    pthread_mutex_lock(&m->lock);
    atomic_store(&m->quit, true);
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    for (uint32_t i = 0; i < m->config.cpus; i++) {
        struct vcpu *v = &m->vcpus[i];
        if (!v->started)
            continue;
        vcpu_kick(v);
        pthread_join(v->thread, NULL);
        v->started = false;
    }
}

void vcpu_kick(struct vcpu *v)
{
    pthread_mutex_lock(&v->kick_lock);
    if (v->cpu)
        hy_kick(v->cpu);
    if (v->apic)
        local_apic_wake(v);
    pthread_mutex_unlock(&v->kick_lock);
}

void vcpus_park(struct machine *m)
{
    pthread_mutex_lock(&m->lock);
    atomic_store(&m->park, true);
    pthread_cond_broadcast(&m->changed);
    for (uint32_t i = 0; i < m->config.cpus; i++)
        if (!m->vcpus[i].parked)
            vcpu_kick(&m->vcpus[i]);
    while (m->parked_count < m->config.cpus)
        pthread_cond_wait(&m->changed, &m->lock);
    pthread_mutex_unlock(&m->lock);
}

void vcpus_resume(struct machine *m)
{
    pthread_mutex_lock(&m->lock);
    atomic_store(&m->park, false);
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

int vcpu_call(struct vcpu *v, int (*job)(struct vcpu *, void *, struct err *), void *argument, struct err *err)
{
    struct machine *m = v->machine;
    pthread_mutex_lock(&m->lock);
    v->job_argument = argument;
    v->job = job;
    pthread_cond_broadcast(&m->changed);
    while (v->job)
        pthread_cond_wait(&m->changed, &m->lock);
    int r = v->job_result;
    if (r && err)
        *err = v->job_err;
    pthread_mutex_unlock(&m->lock);
    return r;
}
