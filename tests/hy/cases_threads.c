/* SPDX-License-Identifier: MIT */
/* Kicks, several CPUs, and changes of the map under running CPUs. */
#include <stdatomic.h>

#include "base/clock.h"
#include "conformance.h"

/* ---- kicks --------------------------------------------------------------------------------------------------------------------------------------------- */

static void kicks_are_sticky_and_single(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    hy_exit *x;

    CODE(g, 0xb0, 1, 0xe6, 0x10, 0xb0, 2, 0xe6, 0x10, 0xb0, 3, 0xe6, 0x10, END);
    guest_real(g, CODE_AT);
    hy_kick(g->cpu); /* before the first run; two are one */
    hy_kick(g->cpu);
    run_to(g->cpu, HY_EXIT_KICK);
    CHECK(reg_get(g->cpu, HY_PC) == CODE_AT);
    run_to_out(g->cpu, 0x10, 1);
    hy_kick(g->cpu); /* between exit and answer: the answer arrives, then the kick */
    run_to(g->cpu, HY_EXIT_KICK);
    CHECK(reg_get(g->cpu, HY_PC) == CODE_AT + 4);
    run_to_out(g->cpu, 0x10, 2);
    hy_kick(g->cpu); /* hy_finish leaves it pending */
    OK(hy_finish(g->cpu, &x));
    CHECK(x->reason == HY_EXIT_NONE);
    run_to(g->cpu, HY_EXIT_KICK);
    run_to_out(g->cpu, 0x10, 3);
    run_to_end(g->cpu);
    hy_kick(NULL);
}

struct kicker { hy_cpu *cpu; _Atomic unsigned sent, seen, stop; unsigned count, seed; };

/* Sends a kick at a random moment after the last one was seen. */
static void *kicker_works(void *opaque)
{
    struct kicker *k = opaque;

    while (k->sent < k->count) {
        uint64_t start = clock_ns();

        while (atomic_load(&k->seen) != atomic_load(&k->sent)) {
            if (clock_ns() - start > UINT64_C(10000000000)) {
                helper_fault("a kick was lost");
                atomic_store(&k->stop, 1);
                hy_kick(k->cpu);
                return NULL;
            }
        }
        k->seed = k->seed * 1664525 + 1013904223;
        for (volatile unsigned spin = k->seed >> 20; spin; spin--) /* up to 4095 rounds: some microseconds */
            ;
        atomic_fetch_add(&k->sent, 1);
        hy_kick(k->cpu);
    }
    return NULL;
}

/* The guest only runs, or exits all the time, or halts. */
static void kick_many(struct rig *rig, uint32_t irq, const uint8_t *code, size_t len, unsigned count)
{
    struct guest *g = guest_new(rig, irq, 1);
    struct kicker k = {.count = count, .seed = random_next(rig)};
    unsigned doubled = 0;
    pthread_t thread;
    hy_exit *x;

    guest_write(g, CODE_AT, code, len);
    guest_real(g, CODE_AT);
    k.cpu = g->cpu;
    CHECK(!pthread_create(&thread, NULL, kicker_works, &k));
    while (atomic_load(&k.seen) < count && !atomic_load(&k.stop)) {
        if (hy_run(g->cpu, &x) != HY_OK)
            break;
        if (x->reason != HY_EXIT_KICK)
            continue;
        if (atomic_load(&k.seen) == atomic_load(&k.sent))
            doubled++;
        else
            atomic_fetch_add(&k.seen, 1);
    }
    atomic_store(&k.seen, atomic_load(&k.sent));
    pthread_join(thread, NULL);
    CHECK(doubled == 0);
    CHECK(k.sent == count);
}

static void random_kicks_are_never_lost_or_doubled(struct rig *rig)
{
    static const uint8_t runs[] = {0xeb, 0xfe}, exits[] = {0xe6, 0x10, 0xeb, 0xfc}, halts[] = {0xfb, 0xf4, 0xeb, 0xfd};
    unsigned count = rig->slow ? 33334 : 200;

    kick_many(rig, HY_IRQ_NONE, runs, sizeof runs, count);
    kick_many(rig, HY_IRQ_NONE, exits, sizeof exits, count);
    if (rig->caps.irq & HY_IRQ_CPU)
        kick_many(rig, HY_IRQ_CPU, halts, sizeof halts, count);
}

static void kicks_come_from_signal_handlers(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);

    CODE(g, 0xeb, 0xfe);
    guest_real(g, CODE_AT);
    for (unsigned i = 0; i < 100; i++) {
        if (!kick_by_signal(g->cpu, 1 + random_next(rig) % 3000))
            SKIP("no signals on this host");
        run_to(g->cpu, HY_EXIT_KICK);
    }
}

/* ---- several CPUs ----------------------------------------------------------------------------------------------------------------------------------------- */

#define CPUS 4

struct worker { struct guest *g; uint32_t index; hy_cpu *_Atomic cpu; unsigned kicks, outs; _Atomic int *stop; };

/* Makes CPU `index` at 0x2000 + 0x100 * index and runs it until told to stop, or until its guest ends. */
static void *worker_works(void *opaque)
{
    struct worker *w = opaque;
    hy_cpu *cpu;

    if (hy_cpu_new(w->g->vm, w->index, &cpu) != HY_OK) {
        helper_fault("a CPU could not be made");
        return NULL;
    }
    cpu_real(cpu, 0x2000 + 0x100 * w->index);
    reg_set(cpu, HY_GPR(2), w->index);
    atomic_store(&w->cpu, cpu);
    for (;;) {
        hy_exit *x;

        if (hy_run(cpu, &x) != HY_OK) {
            helper_fault("hy_run failed");
            break;
        }
        if (x->reason == HY_EXIT_IO && x->u.io.port == 0xf4)
            break;
        if (x->reason == HY_EXIT_IO)
            w->outs++;
        else if (x->reason == HY_EXIT_KICK && w->stop && atomic_load(w->stop))
            break;
        else if (x->reason == HY_EXIT_KICK)
            w->kicks++;
        else if (x->reason != HY_EXIT_NONE && x->reason != HY_EXIT_MMIO && x->reason != HY_EXIT_FAULT) {
            helper_fault("an exit that nobody expects");
            break;
        }
    }
    return NULL;
}

static void workers_start(struct guest *g, struct worker *w, pthread_t *threads, _Atomic int *stop)
{
    for (uint32_t i = 0; i < CPUS; i++) {
        w[i] = (struct worker){.g = g, .index = i, .stop = stop};
        CHECK(!pthread_create(&threads[i], NULL, worker_works, &w[i]));
    }
    for (uint32_t i = 0; i < CPUS; i++) {
        for (int tries = 0; !atomic_load(&w[i].cpu) && tries < 20000; tries++)
            milliseconds(1);
    }
}

static void workers_end(struct worker *w, pthread_t *threads)
{
    for (uint32_t i = 0; i < CPUS; i++)
        pthread_join(threads[i], NULL);
    for (uint32_t i = 0; i < CPUS; i++)
        hy_cpu_free(w[i].cpu); /* they roam */
}

static void locked_updates_are_atomic(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, CPUS); /* skips where there are fewer */
    struct worker w[CPUS];
    pthread_t threads[CPUS];
    uint32_t total;

    NEED(rig, HY_CAN_ROAM);
    for (uint32_t i = 0; i < CPUS; i++) /* mov cx, 5000; 1: lock inc dword [0x7000]; loop 1b; end */
        guest_write(g, 0x2000 + 0x100 * i, (const uint8_t[]){0xb9, 0x88, 0x13, 0xf0, 0x66, 0xff, 0x06, 0x00, 0x70, 0xe2, 0xf8, END}, 13);
    workers_start(g, w, threads, NULL);
    workers_end(w, threads);
    memcpy(&total, g->ram + 0x7000, 4);
    CHECK(total == CPUS * 5000);
}

static int has_counted(struct guest *g, uint32_t cpu) { return __atomic_load_n((uint16_t *)(g->ram + 0x7000 + 256 * cpu), __ATOMIC_RELAXED) != 0; }

static void changes_under_running_cpus(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, CPUS); /* skips where there are fewer */
    struct worker w[CPUS];
    pthread_t threads[CPUS];
    _Atomic int stop = 0;
    uint64_t bits[2];
    int rounds = rig->slow ? 300 : 40;

    NEED(rig, HY_CAN_ROAM);
    /* 1: inc word [0x7000 + 256 * n]; mov ax, 0xf000; mov ds, ax; inc byte [0x0000]; xor ax, ax; mov ds, ax; inc cl; jnz 2f; out 0x10, al; 2: jmp 1b
     * The byte at 0xf0000 is mapped, unmapped, protected and logged meanwhile. */
    for (uint8_t i = 0; i < CPUS; i++)
        guest_write(g, 0x2000 + 0x100u * i, (const uint8_t[]){0xff, 0x06, 0x00, (uint8_t)(0x70 + i), 0xb8, 0x00, 0xf0, 0x8e, 0xd8, 0xfe, 0x06, 0x00, 0x00, 0x31, 0xc0,
                    0x8e, 0xd8, 0xfe, 0xc1, 0x75, 0x02, 0xe6, 0x10, 0xeb, 0xe7}, 25);
    workers_start(g, w, threads, &stop);
    for (uint32_t i = 0; i < CPUS; i++) { /* a host with one processor gives each its turn later */
        for (int tries = 0; !has_counted(g, i) && tries < 20000; tries++)
            milliseconds(1);
        CHECK(has_counted(g, i));
    }
    for (int i = 0; i < rounds; i++) {
        hy_cpu *cpu = atomic_load(&w[random_next(rig) % CPUS].cpu);

        switch (random_next(rig) % 5) {
        case 0: OK(hy_unmap(g->vm, 0xf0000, 0x10000)); break;
        case 1: OK(hy_unmap(g->vm, 0xf0000, 0x10000)); OK(hy_map(g->vm, 0xf0000, g->mem, 0x100000, 0x10000, HY_R | HY_W | HY_X)); break;
        case 2:
            if (rig->caps.prot >> (HY_R | HY_X) & 1 && hy_at(g->vm, 0xf0000, 0x10000))
                OK(hy_protect(g->vm, 0xf0000, 0x10000, HY_R | HY_X));
            break;
        case 3:
            if (rig->caps.can & HY_CAN_DIRTY) {
                OK(hy_log(g->vm, 0, 0x10000, 1));
                OK(hy_dirty(g->vm, 0, 0x10000, bits, 1));
            }
            break;
        default: hy_kick(cpu);
        }
    }
    atomic_store(&stop, 1);
    for (uint32_t i = 0; i < CPUS; i++) {
        hy_kick(w[i].cpu);
    }
    workers_end(w, threads);
}

struct sender { hy_vm *vm; _Atomic unsigned sent, seen; unsigned count; };

static void *sender_works(void *opaque)
{
    struct sender *s = opaque;

    for (uint64_t start = clock_ns(); s->sent < s->count && clock_ns() - start < UINT64_C(15000000000);) {
        if (atomic_load(&s->sent) != atomic_load(&s->seen)) {
            milliseconds(0);
            continue;
        }
        atomic_fetch_add(&s->sent, 1);
        if (hy_msi(s->vm, 0xfee00000, 0x55, 0) != HY_OK)
            helper_fault("hy_msi failed");
    }
    return NULL;
}

/* CPU 0 sleeps in HLT; each message from another thread wakes it. */
static void messages_wake_sleepers(struct rig *rig)
{
    struct sender s = {.count = rig->slow ? 20000 : 300};
    struct guest *g;
    pthread_t thread;

    NEED_IRQ(rig, HY_IRQ_CPU);
    g = guest_new(rig, HY_IRQ_CPU, 1);
    CODE(g, 0xc7, 0x05, 0xf0, 0, 0xe0, 0xfe, 0xff, 1, 0, 0, 0xfb, 0xe6, 0x12, 0xf4, 0xeb, 0xfd);
    guest_write(g, 0x1800, (const uint8_t[]){0xc7, 0x05, 0xb0, 0, 0xe0, 0xfe, 0, 0, 0, 0, 0xe6, 0x10, 0xcf}, 13);
    guest_protected(g, CODE_AT);
    guest_gate_protected(g, 0x55, 0x1800);
    run_to(g->cpu, HY_EXIT_IO);
    OK(hy_msi(g->vm, 0xfee00000, 0x55, 0)); /* the first two by ourselves, so that the IRET between them is known to work */
    run_to(g->cpu, HY_EXIT_IO);
    OK(hy_msi(g->vm, 0xfee00000, 0x55, 0));
    run_to(g->cpu, HY_EXIT_IO);
    s.vm = g->vm;
    CHECK(!pthread_create(&thread, NULL, sender_works, &s));
    for (unsigned i = 0; i < s.count; i++) {
        hy_exit *x = run_helper(g->cpu);

        if (!x || x->reason != HY_EXIT_IO || x->u.io.port != 0x10)
            break;
        atomic_fetch_add(&s.seen, 1);
    }
    pthread_join(thread, NULL);
    CHECK(s.seen == s.count);
}

const struct test_case cases_threads[] = {
    {"kicks-are-sticky-and-single", kicks_are_sticky_and_single},
    {"random-kicks-are-never-lost-or-doubled", random_kicks_are_never_lost_or_doubled},
    {"kicks-come-from-signal-handlers", kicks_come_from_signal_handlers},
    {"locked-updates-are-atomic", locked_updates_are_atomic},
    {"changes-under-running-cpus", changes_under_running_cpus},
    {"messages-wake-sleepers", messages_wake_sleepers},
    {NULL, NULL},
};
