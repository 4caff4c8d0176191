/* SPDX-License-Identifier: MIT */
/* test_threads.c - vCPU threads that sleep until woken, and threads that post to them: nothing is lost, nothing comes twice. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apic/apic.h"

enum { CPUS = 2, POSTERS = 3, ROUNDS = 3000, FIRST_VECTOR = 0x30, NMI_VECTOR = 0 };

struct world {
    struct apic_bus *bus;
    struct apic *apics[CPUS];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool awake[CPUS], stop;
    _Atomic unsigned taken[CPUS][256];
    _Atomic unsigned eois;
};

struct actor { struct world *w; unsigned number; };

static uint64_t world_now(void *o) { (void)o; return 0; }
static uint64_t world_tsc(void *o, unsigned cpu) { (void)o, (void)cpu; return 0; }
static void world_eoi(void *o, uint8_t vector) { (void)vector; ((struct world *)o)->eois++; }

static void world_wake(void *o, unsigned cpu)
{
    struct world *w = o;
    pthread_mutex_lock(&w->lock);
    w->awake[cpu] = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static bool sleep_until_woken(struct world *w, unsigned cpu)
{
    pthread_mutex_lock(&w->lock);
    while (!w->awake[cpu] && !w->stop)
        pthread_cond_wait(&w->changed, &w->lock);
    w->awake[cpu] = false;
    bool go_on = !w->stop;
    pthread_mutex_unlock(&w->lock);
    return go_on;
}

static void *run_cpu(void *opaque)
{
    struct actor *self = opaque;
    struct world *w = self->w;
    struct apic *a = w->apics[self->number];
    uint32_t zero = 0;
    while (sleep_until_woken(w, self->number)) {
        struct apic_events e;
        if (apic_take_events(a, &e))
            w->taken[self->number][NMI_VECTOR] += e.nmi_count;
        while (apic_pending(a)) {
            int vector = apic_acknowledge(a);
            if (vector < 0)
                continue;
            apic_mmio_write(a, 0xb0, &zero, 4);
            w->taken[self->number][vector]++;
        }
    }
    return NULL;
}

static bool arrives(_Atomic unsigned *counter, unsigned want)
{
    for (unsigned i = 0; i < 200000000; i++) {
        if (atomic_load(counter) >= want)
            return atomic_load(counter) == want;
        if (i % 64 == 0)
            sched_yield();
    }
    return false;
}

/* Each poster has a vector of its own and waits until one is taken before it posts the next. */
static void *run_poster(void *opaque)
{
    struct actor *self = opaque;
    struct world *w = self->w;
    unsigned vector = FIRST_VECTOR + self->number;
    for (unsigned i = 1; i <= ROUNDS; i++)
        for (unsigned cpu = 0; cpu < CPUS; cpu++) {
            apic_bus_msi(w->bus, 0xfee00000 | cpu << 12, vector | (i & 1 ? 0xc000 : 0));
            if (!arrives(&w->taken[cpu][vector], i))
                return self;
            if (self->number == 0) {
                apic_bus_nmi(w->bus, cpu);
                if (!arrives(&w->taken[cpu][NMI_VECTOR], i))
                    return self;
            }
        }
    return NULL;
}

static void posts_from_threads(void **state)
{
    (void)state;
    struct world *w = calloc(1, sizeof *w);
    struct apic_bus_config config = {.phys_bits = 40, .timer_hz = 1000000000, .tsc_hz = 1000000000, .now = world_now, .tsc = world_tsc, .wake = world_wake, .opaque = w};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->bus = apic_bus_new(&config, NULL);
    apic_bus_set_eoi(w->bus, world_eoi, w);
    struct actor actors[CPUS + POSTERS];
    pthread_t threads[CPUS + POSTERS];
    uint32_t enable = 0x1ff;
    for (unsigned i = 0; i < CPUS; i++) {
        assert_int_equal(apic_new(w->bus, i, i, &w->apics[i], NULL), 0);
        apic_mmio_write(w->apics[i], 0xf0, &enable, 4);
    }
    for (unsigned i = 0; i < CPUS + POSTERS; i++) {
        actors[i] = (struct actor){w, i < CPUS ? i : i - CPUS};
        pthread_create(&threads[i], NULL, i < CPUS ? run_cpu : run_poster, &actors[i]);
    }
    for (unsigned i = CPUS; i < CPUS + POSTERS; i++) {
        void *fault;
        pthread_join(threads[i], &fault);
        assert_ptr_equal(fault, NULL);
    }
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < CPUS; i++) {
        pthread_join(threads[i], NULL);
        apic_free(w->apics[i]);
    }
    assert_int_equal(w->eois, ROUNDS / 2 * CPUS * POSTERS);
    apic_bus_free(w->bus);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(posts_from_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
