/* SPDX-License-Identifier: MIT */
/* local_apic.c - our own local APIC above a backend that runs without one (HY_IRQ_NONE).
 *
 * The guest sees an xAPIC page at IA32_APIC_BASE. All of an APIC is touched by its vCPU's thread only; interrupts reach it through apic/'s atomics, and local_apic_wake() kicks
 * the vCPU or ends its HLT. Application processors wait here for INIT and SIPI and never enter the backend before.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apic/apic.h"
#include "base/bits.h"
#include "machine/internal.h"

#define MSR_TSC        0x10u
#define GPA_BITS       40
#define TIMER_HZ       UINT64_C(1000000000) /* as the CPUID table says */
#define NS_PER_SECOND  INT64_C(1000000000)

enum { RUNNING, HALTED, WAIT_FOR_SIPI };

struct local_apic {
    struct apic *apic;
    uint32_t state;
    pthread_mutex_t lock;      /* guards awake */
    pthread_cond_t changed;
    bool awake;
    uint64_t armed;            /* the deadline that vcpu.apic_timer was last given */
};

static uint64_t bus_now(void *opaque) { return exec_clock_now(((struct machine *)opaque)->clock); }

static uint64_t bus_tsc(void *opaque, unsigned cpu)
{
    struct machine *m = opaque;
    hy_reg name = HY_MSR(MSR_TSC);
    hy_val value = {.u64 = 0};
    if (m->vcpus[cpu].cpu)
        hy_get(m->vcpus[cpu].cpu, &name, &value, 1);
    return value.u64;
}

static void bus_wake(void *opaque, unsigned cpu)
{
    struct vcpu *v = &((struct machine *)opaque)->vcpus[cpu];
    vcpu_kick(v);
}

int local_apic_setup(struct machine *m, struct err *err)
{
    struct apic_bus_config config = {.phys_bits = GPA_BITS, .timer_hz = TIMER_HZ, .tsc_hz = m->caps.tick_hz ? m->caps.tick_hz : TIMER_HZ, .now = bus_now,
                                     .tsc = bus_tsc, .wake = bus_wake, .opaque = m};
    m->apic_bus = apic_bus_new(&config, err);
    if (!m->apic_bus)
        return err->code;
    hy_err e = hy_trap(m->vm, HY_EXIT_MSR, APIC_MSR_BASE, APIC_MSR_BASE, HY_R | HY_W);
    return e == HY_OK ? 0 : machine_hy_error(e, "asking for IA32_APIC_BASE", err);
}

void local_apic_teardown(struct machine *m)
{
    apic_bus_free(m->apic_bus);
    m->apic_bus = NULL;
}

/* A vCPU in HLT has often woken by itself and moved the deadline on: a kick would only cost it an entry. */
static void timer_due(void *opaque)
{
    struct vcpu *v = opaque;
    pthread_mutex_lock(&v->kick_lock);
    bool due = v->apic && apic_timer_deadline(v->apic->apic) <= exec_clock_now(v->machine->clock);
    pthread_mutex_unlock(&v->kick_lock);
    if (due)
        vcpu_kick(v);
}

int local_apic_attach(struct vcpu *v, struct err *err)
{
    struct local_apic *a = calloc(1, sizeof *a);
    if (!a)
        return err_set(err, ERR_HOST, "out of memory");
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&a->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&a->lock, NULL);
    a->state = v->index ? WAIT_FOR_SIPI : RUNNING;
    a->armed = APIC_NO_DEADLINE;
    int r = apic_new(v->machine->apic_bus, v->index, v->index, &a->apic, err);
    if (r) {
        free(a);
        return r;
    }
    if (!v->index)
        apic_set_virtual_wire(a->apic);
    exec_timer_init(&v->apic_timer, v->machine->main, NULL, timer_due, v);
    pthread_mutex_lock(&v->kick_lock);
    v->apic = a;
    pthread_mutex_unlock(&v->kick_lock);
    return 0;
}

void local_apic_detach(struct vcpu *v)
{
    struct local_apic *a = v->apic;
    pthread_mutex_lock(&v->kick_lock);
    v->apic = NULL;
    pthread_mutex_unlock(&v->kick_lock);
    exec_timer_cancel(&v->apic_timer);
    apic_free(a->apic);
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

void local_apic_wake(struct vcpu *v)
{
    struct local_apic *a = v->apic;
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->awake = true;
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

/* Sleeps until woken or the APIC timer is due; `awake` is sticky, so no wake is lost. */
static void local_apic_wait(struct vcpu *v)
{
    struct local_apic *a = v->apic;
    uint64_t deadline = apic_timer_deadline(a->apic), now = exec_clock_now(v->machine->clock);
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t wait = deadline == APIC_NO_DEADLINE ? NS_PER_SECOND : deadline > now ? (int64_t)(deadline - now) : 0;
    wait = wait < NS_PER_SECOND ? wait : NS_PER_SECOND;
    int64_t ns = until.tv_nsec + wait;
    until.tv_sec += ns / NS_PER_SECOND;
    until.tv_nsec = ns % NS_PER_SECOND;
    pthread_mutex_lock(&a->lock);
    while (!a->awake && pthread_cond_timedwait(&a->changed, &a->lock, &until) != ETIMEDOUT)
        ;
    a->awake = false;
    pthread_mutex_unlock(&a->lock);
}

static void start_at(struct vcpu *v, uint8_t vector)
{
    hy_reg names[] = {HY_SEG(HY_CS), HY_PC};
    hy_val cs = {.seg = {.base = (uint64_t)vector << 12, .limit = 0xffff, .sel = (uint16_t)(vector << 8), .attr = 0x9b}}, pc = {.u64 = 0};
    hy_val values[] = {cs, pc};
    hy_set(v->cpu, names, values, 2);
    v->apic->state = RUNNING;
}

static void handle_events(struct vcpu *v, struct apic_events events)
{
    struct local_apic *a = v->apic;
    if (events.init) {
        apic_reset(a->apic, true);
        struct err err = ERR_NONE;
        if (vcpu_set_init_registers(v, &err))
            machine_fail(v->machine, "%s", err.text);
        a->state = WAIT_FOR_SIPI;
    }
    if (events.sipi && a->state == WAIT_FOR_SIPI)
        start_at(v, events.sipi_vector);
    if (events.nmi_count) {
        struct hy_event nmi = {.kind = HY_EV_NMI};
        hy_inject(v->cpu, &nmi);
        a->state = a->state == HALTED ? RUNNING : a->state;
    }
}

static void sync_priority(struct vcpu *v)
{
    hy_reg name = HY_CR(8);
    hy_val value = {.u64 = 0};
    if (hy_get(v->cpu, &name, &value, 1) == HY_OK && (value.u64 & 0xf) != apic_get_cr8(v->apic->apic))
        apic_set_cr8(v->apic->apic, value.u64 & 0xf);
}

/* The guest wrote TPR by MMIO: CR8 is the same register. */
static void sync_cr8(struct vcpu *v)
{
    hy_reg name = HY_CR(8);
    hy_val value = {.u64 = apic_get_cr8(v->apic->apic)};
    hy_set(v->cpu, &name, &value, 1);
}

/* At an instruction boundary: puts in the interrupt that waits, or asks for a window. */
static void inject_interrupt(struct vcpu *v)
{
    struct local_apic *a = v->apic;
    sync_priority(v);
    if (!apic_pending(a->apic))
        return;
    a->state = a->state == HALTED ? RUNNING : a->state;
    struct hy_event event = {.kind = HY_EV_INTR};
    if (!v->interruptible) {
        hy_window(v->cpu, 1 << HY_EV_INTR);
        return;
    }
    int vector = apic_acknowledge(a->apic);
    if (vector < 0)
        return;
    event.vector = (uint8_t)vector;
    if (hy_inject(v->cpu, &event) != HY_OK)
        machine_fail(v->machine, "vCPU %u: the backend refused interrupt %d at an open window", v->index, vector);
}

bool local_apic_before_run(struct vcpu *v)
{
    struct local_apic *a = v->apic;
    struct machine *m = v->machine;
    for (;;) {
        struct apic_events events = {0};
        apic_timer_poll(a->apic, exec_clock_now(m->clock));
        if (apic_get_cr8(a->apic)) /* the guest may have lowered it, and so opened the way for what waits */
            sync_priority(v);
        bool any = apic_take_events(a->apic, &events);
        if (any || a->state != RUNNING || apic_pending(a->apic)) {
            bool kicked = vcpu_finish(v); /* costs a system call or more: only when there is something to do at the boundary */
            handle_events(v, events);
            if (a->state != WAIT_FOR_SIPI)
                inject_interrupt(v);
            if (kicked) /* for what came since we looked: another event, the timer, a device, a wish to park */
                return false;
        }
        if (a->state == RUNNING)
            break;
        if (atomic_load(&m->park) || atomic_load(&m->quit))
            return false;
        local_apic_wait(v);
        vcpu_run_devices(v);
    }
    uint64_t deadline = apic_timer_deadline(a->apic);
    if (deadline != APIC_NO_DEADLINE && deadline != a->armed) /* arming wakes the main loop */
        exec_timer_arm(&v->apic_timer, a->armed = deadline);
    return true;
}

/* ---- saved state -------------------------------------------------------------------------------------------------------------------------------------- */

static const struct field wait_fields[] = {FIELD(struct local_apic, state, "0 running, 1 halted, 2 waiting for SIPI"), FIELD_END};

/* This file's records, the length of which is known, then the APIC's. */
size_t local_apic_save(struct vcpu *v, void *buffer, size_t capacity)
{
    size_t own = fields_save(wait_fields, v->apic, NULL, 0), need = own + fields_save(apic_fields, v->apic->apic, NULL, 0);
    if (need > capacity)
        return need;
    fields_save(wait_fields, v->apic, buffer, own);
    fields_save(apic_fields, v->apic->apic, (uint8_t *)buffer + own, need - own);
    return need;
}

int local_apic_load(struct vcpu *v, const void *data, size_t len, struct err *err)
{
    struct local_apic *a = v->apic;
    size_t own = fields_save(wait_fields, a, NULL, 0);
    a->armed = APIC_NO_DEADLINE; /* the clock may go back with the rest, to before a timer that has fired */
    if (len < own)
        return err_set(err, ERR_INPUT, "cut short");
    int r = fields_load(wait_fields, a, data, own, err);
    if (!r && a->state > WAIT_FOR_SIPI)
        r = err_set(err, ERR_INPUT, "a vCPU is in state %u", (unsigned)a->state);
    if (!r)
        r = fields_load(apic_fields, a->apic, (const uint8_t *)data + own, len - own, err);
    if (!r)
        r = apic_loaded(a->apic, exec_clock_now(v->machine->clock), err);
    if (r) {
        apic_reset(a->apic, false);
        a->state = RUNNING;
    }
    return r;
}

bool local_apic_exit(struct vcpu *v, hy_exit *exit)
{
    struct local_apic *a = v->apic;
    if (exit->reason == HY_EXIT_HALT) {
        a->state = HALTED;
        return true;
    }
    if (exit->reason == HY_EXIT_WINDOW)
        return true; /* the next before_run injects */
    if (exit->reason == HY_EXIT_MSR && exit->u.msr.reg == HY_MSR(APIC_MSR_BASE)) {
        exit->u.msr.deny = !(exit->write ? apic_msr_write(a->apic, APIC_MSR_BASE, exit->u.msr.value) : apic_msr_read(a->apic, APIC_MSR_BASE, &exit->u.msr.value));
        return true;
    }
    if (exit->reason != HY_EXIT_MMIO || !apic_claims(a->apic, exit->u.mmio.gpa))
        return false;
    uint32_t offset = exit->u.mmio.gpa & (APIC_MMIO_SIZE - 1);
    if (exit->write) {
        apic_mmio_write(a->apic, offset, exit->u.mmio.data, exit->u.mmio.width);
        if (offset == APIC_TPR_OFFSET)
            sync_cr8(v);
    } else {
        apic_mmio_read(a->apic, offset, exit->u.mmio.data, exit->u.mmio.width);
    }
    return true;
}
