/* SPDX-License-Identifier: MIT */
/* rig.h - a bus, an executor of any kind and a device on it, with a clock that only the test moves; a trace of what the device does, which must be the
 * same on every kind.
 *
 *     static void script(struct rig *r) { rig_make(r, &foo_class, &config); out8(r, 0x70, 1); rig_pass(r, 10, MS); rig_note(r, "%x", in8(r, 0x71)); }
 *     static void foo_counts(void **state) { (void)state; rig_each_kind(script, "expected trace"); }
 */
#ifndef TESTS_CHIPSET_RIG_H
#define TESTS_CHIPSET_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "chipset/chipset.h"
#include "executor/executor.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

enum rig_kind { RIG_VIRTUAL, RIG_MAIN, RIG_THREAD, RIG_COOPERATIVE, RIG_KINDS };

struct rig {
    enum rig_kind kind;
    struct bus *bus;
    struct device *device;
    struct device_services services;
    /* trace: written by device callbacks on any thread, under its lock */
    pthread_mutex_t trace_lock;
    _Atomic uint32_t lines;
    char trace[4096];
    size_t trace_len;
    /* executor */
    struct executor *executor, *timekeeper;
    struct exec_clock *clock;
    uint64_t now;
    pthread_t owner;
    pthread_mutex_t owner_lock;
    pthread_cond_t owner_wake;
    bool wake, quit;
};

/* Adds a word to the trace; any thread. */
static inline void rig_note(struct rig *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline void rig_note(struct rig *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&r->trace_lock);
    size_t room = sizeof r->trace - r->trace_len;
    int n = r->trace_len ? snprintf(r->trace + r->trace_len, room, " ") : 0;
    n += vsnprintf(r->trace + r->trace_len + n, room - (size_t)n, format, args);
    r->trace_len += (size_t)n < room ? (size_t)n : 0;
    pthread_mutex_unlock(&r->trace_lock);
    va_end(args);
}

static inline void rig_irq_changed(void *opaque, unsigned number, bool level)
{
    struct rig *r = opaque;
    uint32_t bit = UINT32_C(1) << number, before = level ? atomic_fetch_or(&r->lines, bit) : atomic_fetch_and(&r->lines, ~bit);
    if (!(before & bit) == level)
        rig_note(r, level ? "+%u" : "-%u", number);
}
/* A line (0..31) whose changes are noted as "+number" and "-number". */
static inline struct irq_line rig_line(struct rig *r, unsigned number) { return (struct irq_line){rig_irq_changed, r, number}; }

static inline void rig_power_request(void *opaque, enum power_request what, int status)
{
    static const char *const names[] = {"off", "reset", "exit", "sleep"};
    rig_note(opaque, "%s:%d", names[what], status);
}
static inline struct power_sink rig_power(struct rig *r) { return (struct power_sink){rig_power_request, r}; }

static inline void rig_msi(void *opaque, uint64_t address, uint32_t data, uint32_t requester)
{
    (void)requester;
    rig_note(opaque, "msi:%llx:%x", (unsigned long long)address, data);
}

static inline void rig_make(struct rig *r, const struct device_class *class, const void *config)
{
    struct err err = ERR_NONE;
    if (device_new(class, class->name, &r->services, config, &r->device, &err))
        fail_msg("%s", err.text);
}

static inline uint64_t rig_in(struct rig *r, uint16_t port, unsigned size)
{
    uint64_t v = 0;
    bus_read(r->bus, BUS_PORT, port, size, &v);
    return v;
}
static inline void rig_out(struct rig *r, uint16_t port, unsigned size, uint64_t v) { bus_write(r->bus, BUS_PORT, port, size, v); }
static inline uint8_t in8(struct rig *r, uint16_t port) { return (uint8_t)rig_in(r, port, 1); }
static inline void out8(struct rig *r, uint16_t port, uint8_t v) { rig_out(r, port, 1, v); }

/* ---- time ---- */

/* Lets everything that is due run. A loop looks at works and timers once a turn, so two turns see all. */
static inline void rig_settle(struct rig *r)
{
    executor_drain(r->executor);
    executor_drain(r->executor);
}

/* Lets `steps` times `ns` pass; a step should not hold two events of one timer. */
static inline void rig_pass(struct rig *r, unsigned steps, uint64_t ns)
{
    for (unsigned i = 0; i < steps; i++) {
        r->now += ns;
        if (r->kind == RIG_VIRTUAL) {
            executor_advance(r->executor, ns);
            continue;
        }
        rig_settle(r);
        exec_clock_set(r->clock, r->now);
        rig_settle(r);
    }
}

/* Saves, frees, makes anew, loads; the state must save to the same bytes. */
static inline void rig_migrate(struct rig *r, const struct device_class *class, const void *config)
{
    size_t n = device_save(r->device, NULL, 0);
    uint8_t *one = malloc(n), *two = malloc(n);
    assert_int_equal(device_save(r->device, one, n), n);
    device_free(r->device);
    size_t trace_len = r->trace_len;
    uint32_t lines = r->lines;
    rig_make(r, class, config);
    assert_int_equal(device_load(r->device, one, n, NULL), 0);
    r->trace[r->trace_len = trace_len] = 0; /* what creation, reset and load did to the lines on the way; in the end they are as before */
    assert_int_equal(r->lines, lines);
    assert_int_equal(device_save(r->device, two, n), n);
    assert_memory_equal(one, two, n);
    free(one);
    free(two);
}

/* ---- each kind ---- */

static inline void rig_owner_wake(void *opaque)
{
    struct rig *r = opaque;
    pthread_mutex_lock(&r->owner_lock);
    r->wake = true;
    pthread_cond_signal(&r->owner_wake);
    pthread_mutex_unlock(&r->owner_lock);
}

static inline void *rig_run_main(void *opaque)
{
    executor_run(((struct rig *)opaque)->executor);
    return NULL;
}

static inline void *rig_run_cooperative(void *opaque)
{
    struct rig *r = opaque;
    pthread_mutex_lock(&r->owner_lock);
    while (!r->quit) {
        while (!r->wake && !r->quit)
            pthread_cond_wait(&r->owner_wake, &r->owner_lock);
        r->wake = false;
        pthread_mutex_unlock(&r->owner_lock);
        while (executor_run_pending(r->executor))
            ;
        pthread_mutex_lock(&r->owner_lock);
    }
    pthread_mutex_unlock(&r->owner_lock);
    return NULL;
}

static inline void rig_start_executor(struct rig *r)
{
    if (r->kind == RIG_VIRTUAL) {
        assert_int_equal(executor_new_virtual(&r->executor, NULL), 0);
        return;
    }
    r->clock = exec_clock_new(NULL);
    exec_clock_freeze(r->clock);
    exec_clock_set(r->clock, 0);
    if (r->kind == RIG_MAIN) {
        assert_int_equal(executor_new_main(r->clock, &r->executor, NULL), 0);
        pthread_create(&r->owner, NULL, rig_run_main, r);
    } else if (r->kind == RIG_THREAD) {
        assert_int_equal(executor_new_thread(r->clock, "device", NULL, NULL, &r->executor, NULL), 0);
    } else {
        assert_int_equal(executor_new_thread(r->clock, "timekeeper", NULL, NULL, &r->timekeeper, NULL), 0);
        assert_int_equal(executor_new_cooperative(r->clock, r->timekeeper, rig_owner_wake, r, &r->executor, NULL), 0);
        pthread_create(&r->owner, NULL, rig_run_cooperative, r);
    }
}

static inline void rig_stop_executor(struct rig *r)
{
    if (r->kind == RIG_MAIN) {
        executor_stop(r->executor, 0);
        pthread_join(r->owner, NULL);
    } else if (r->kind == RIG_COOPERATIVE) {
        pthread_mutex_lock(&r->owner_lock);
        r->quit = true;
        pthread_cond_signal(&r->owner_wake);
        pthread_mutex_unlock(&r->owner_lock);
        pthread_join(r->owner, NULL);
    }
    executor_free(r->executor);
    executor_free(r->timekeeper);
    exec_clock_free(r->clock);
}

/* Runs the script on every kind of executor; each must leave this trace. */
static inline void rig_each_kind(void (*script)(struct rig *), const char *expected)
{
    static const char *const names[RIG_KINDS] = {"virtual", "main", "thread", "cooperative"};
    for (unsigned kind = 0; kind < RIG_KINDS; kind++) {
        struct rig *r = calloc(1, sizeof *r);
        r->kind = kind;
        pthread_mutex_init(&r->trace_lock, NULL);
        pthread_mutex_init(&r->owner_lock, NULL);
        pthread_cond_init(&r->owner_wake, NULL);
        rig_start_executor(r);
        r->bus = bus_new(NULL);
        r->services = (struct device_services){.bus = r->bus, .executor = r->executor, .msi = {rig_msi, r}};
        script(r);
        device_free(r->device);
        bus_free(r->bus);
        rig_stop_executor(r);
        if (strcmp(r->trace, expected))
            fail_msg("on executor '%s':\n got      %s\n expected %s", names[kind], r->trace, expected);
        free(r);
    }
}

#endif
