/* SPDX-License-Identifier: MIT */
/* test_executor.c - each test runs on every kind of executor (EACH_KIND); the stress at the end is for the thread sanitizer. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "executor/executor.h"

#define MS UINT64_C(1000000)

static void sleep_ms(unsigned ms)
{
    struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };
    nanosleep(&t, NULL);
}

/* ---- one rig for each kind: the same test code runs on all ------------------------------------------------------------------------------------------- */

enum kind { KIND_MAIN, KIND_THREAD, KIND_COOPERATIVE, KIND_VIRTUAL };

struct rig {
    enum kind kind;
    struct exec_clock *clock;
    struct executor *e, *timekeeper;
    pthread_t owner;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool wake, quit;
};

static void rig_wake(void *opaque)
{
    struct rig *rig = opaque;
    pthread_mutex_lock(&rig->lock);
    rig->wake = true;
    pthread_cond_signal(&rig->woken);
    pthread_mutex_unlock(&rig->lock);
}

static void *run_main(void *opaque)
{
    struct rig *rig = opaque;
    assert_int_equal(executor_run(rig->e), 7);
    return NULL;
}

static void *run_cooperative(void *opaque)
{
    struct rig *rig = opaque;
    pthread_mutex_lock(&rig->lock);
    while (!rig->quit) {
        while (!rig->wake && !rig->quit)
            pthread_cond_wait(&rig->woken, &rig->lock);
        rig->wake = false;
        pthread_mutex_unlock(&rig->lock);
        while (executor_run_pending(rig->e))
            ;
        pthread_mutex_lock(&rig->lock);
    }
    pthread_mutex_unlock(&rig->lock);
    return NULL;
}

static void rig_start(struct rig *rig, enum kind kind)
{
    memset(rig, 0, sizeof *rig);
    rig->kind = kind;
    pthread_mutex_init(&rig->lock, NULL);
    pthread_cond_init(&rig->woken, NULL);
    if (kind != KIND_VIRTUAL)
        rig->clock = exec_clock_new(NULL);
    switch (kind) {
    case KIND_MAIN:
        assert_int_equal(executor_new_main(rig->clock, &rig->e, NULL), 0);
        pthread_create(&rig->owner, NULL, run_main, rig);
        break;
    case KIND_THREAD:
        assert_int_equal(executor_new_thread(rig->clock, "test-a-long-name-here", NULL, NULL, &rig->e, NULL), 0);
        break;
    case KIND_COOPERATIVE:
        assert_int_equal(executor_new_thread(rig->clock, "timekeeper", NULL, NULL, &rig->timekeeper, NULL), 0);
        assert_int_equal(executor_new_cooperative(rig->clock, rig->timekeeper, rig_wake, rig, &rig->e, NULL), 0);
        pthread_create(&rig->owner, NULL, run_cooperative, rig);
        break;
    case KIND_VIRTUAL:
        assert_int_equal(executor_new_virtual(&rig->e, NULL), 0);
        break;
    }
}

static void rig_stop(struct rig *rig)
{
    if (rig->kind == KIND_MAIN) {
        executor_stop(rig->e, 7);
        pthread_join(rig->owner, NULL);
    } else if (rig->kind == KIND_COOPERATIVE) {
        pthread_mutex_lock(&rig->lock);
        rig->quit = true;
        pthread_cond_signal(&rig->woken);
        pthread_mutex_unlock(&rig->lock);
        pthread_join(rig->owner, NULL);
    }
    executor_free(rig->e);
    executor_free(rig->timekeeper);
    exec_clock_free(rig->clock);
    pthread_cond_destroy(&rig->woken);
    pthread_mutex_destroy(&rig->lock);
}

/* Lets the executor get on until `flag` reaches `want`, ten seconds at most. */
static void rig_until(struct rig *rig, _Atomic unsigned *flag, unsigned want)
{
    for (unsigned i = 0; i < 10000 && atomic_load(flag) < want; i++) {
        if (rig->kind == KIND_VIRTUAL)
            executor_advance(rig->e, MS);
        else
            sleep_ms(1);
    }
    assert_true(atomic_load(flag) >= want);
}

static const enum kind kinds[] = { KIND_MAIN, KIND_THREAD, KIND_COOPERATIVE, KIND_VIRTUAL };
#define EACH_KIND(rig) \
    for (unsigned kind_i = 0; kind_i < 4 && (rig_start((rig), kinds[kind_i]), true); rig_stop(rig), kind_i++)

/* ---- works ---------------------------------------------------------------------------------------------------------------------------------------------- */

struct trace { unsigned order[64]; _Atomic unsigned count; };
struct step { struct trace *trace; unsigned number; struct exec_work work; struct exec_timer timer; };

static void step_run(void *opaque)
{
    struct step *step = opaque;
    unsigned at = atomic_load(&step->trace->count);
    if (at < 64)
        step->trace->order[at] = step->number;
    atomic_store(&step->trace->count, at + 1);
}

static void works_run_in_order(void **state)
{
    (void)state;
    struct rig rig;
    EACH_KIND(&rig) {
        pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        struct trace trace = { 0 };
        struct step steps[16];
        pthread_mutex_lock(&lock);
        for (unsigned i = 0; i < 16; i++) {
            steps[i] = (struct step){ .trace = &trace, .number = i };
            exec_work_init(&steps[i].work, rig.e, &lock, step_run, &steps[i]);
            exec_work_post(&steps[i].work);
            exec_work_post(&steps[i].work); /* once more is the same run */
        }
        pthread_mutex_unlock(&lock);
        executor_drain(rig.e);
        assert_int_equal(trace.count, 16);
        for (unsigned i = 0; i < 16; i++) {
            if (rig.kind == KIND_VIRTUAL)
                assert_int_equal(trace.order[i], i);
            exec_work_cancel(&steps[i].work);
        }
    }
}

/* Cancel with the lock held, as a register write does; the structure is gone at once. */
static void cancel_under_lock(void **state)
{
    (void)state;
    struct rig rig;
    EACH_KIND(&rig) {
        pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        for (unsigned i = 0; i < 300; i++) {
            struct trace trace = { 0 };
            struct step *step = calloc(1, sizeof *step);
            step->trace = &trace;
            exec_work_init(&step->work, rig.e, &lock, step_run, step);
            exec_timer_init(&step->timer, rig.e, &lock, step_run, step);
            pthread_mutex_lock(&lock);
            exec_work_post(&step->work);
            exec_timer_arm(&step->timer, 0);
            if (i % 3 == 0)
                sched_yield();
            exec_work_cancel(&step->work);
            exec_timer_cancel(&step->timer);
            assert_int_equal(trace.count, 0);
            pthread_mutex_unlock(&lock);
            free(step);
        }
    }
}

struct again { struct exec_work work; _Atomic unsigned runs; };
static void again_run(void *opaque)
{
    struct again *again = opaque;
    atomic_fetch_add(&again->runs, 1);
    exec_work_post(&again->work);
}

/* Work that posts itself does not starve others, and can be cancelled. */
static void work_posts_itself(void **state)
{
    (void)state;
    struct rig rig;
    EACH_KIND(&rig) {
        struct again again = { .runs = 0 };
        struct trace trace = { 0 };
        struct step step = { .trace = &trace };
        exec_work_init(&again.work, rig.e, NULL, again_run, &again);
        exec_timer_init(&step.timer, rig.e, NULL, step_run, &step);
        exec_work_post(&again.work);
        exec_timer_arm(&step.timer, executor_now(rig.e) + 2 * MS);
        rig_until(&rig, &trace.count, 1);
        exec_work_cancel(&again.work);
        unsigned runs = atomic_load(&again.runs);
        assert_true(runs > 0);
        if (rig.kind == KIND_VIRTUAL)
            executor_run_pending(rig.e);
        else
            sleep_ms(5);
        assert_int_equal(again.runs, runs);
        exec_timer_cancel(&step.timer);
    }
}

/* ---- timers and the clock ------------------------------------------------------------------------------------------------------------------------------ */

static void timers_fire_by_deadline(void **state)
{
    (void)state;
    struct rig rig;
    EACH_KIND(&rig) {
        pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        struct trace trace = { 0 };
        struct step steps[8];
        uint64_t base = executor_now(rig.e) + 5 * MS;
        pthread_mutex_lock(&lock);
        for (unsigned i = 0; i < 8; i++) {
            steps[i] = (struct step){ .trace = &trace, .number = i };
            exec_timer_init(&steps[i].timer, rig.e, &lock, step_run, &steps[i]);
            exec_timer_arm(&steps[i].timer, base + 100 * MS);
        }
        for (unsigned i = 8; i--;)
            exec_timer_arm(&steps[i].timer, base + i * MS); /* moved */
        pthread_mutex_unlock(&lock);
        rig_until(&rig, &trace.count, 8);
        assert_true(executor_now(rig.e) >= base + 7 * MS);
        for (unsigned i = 0; i < 8; i++) {
            assert_int_equal(trace.order[i], i);
            exec_timer_cancel(&steps[i].timer);
        }
    }
}

static void frozen_time_stands(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 3; k++) {
        struct rig rig;
        rig_start(&rig, kinds[k]);
        struct trace trace = { 0 };
        struct step step = { .trace = &trace };
        exec_timer_init(&step.timer, rig.e, NULL, step_run, &step);
        exec_clock_freeze(rig.clock);
        exec_clock_freeze(rig.clock);
        uint64_t now = executor_now(rig.e);
        exec_timer_arm(&step.timer, now + 3 * MS);
        sleep_ms(20);
        assert_int_equal(executor_now(rig.e), now);
        assert_int_equal(trace.count, 0);
        exec_clock_thaw(rig.clock);
        rig_until(&rig, &trace.count, 1);
        exec_clock_freeze(rig.clock);
        exec_clock_set(rig.clock, 1000000 * MS);
        assert_int_equal(executor_now(rig.e), 1000000 * MS);
        exec_clock_thaw(rig.clock);
        assert_true(executor_now(rig.e) >= 1000000 * MS);
        exec_timer_cancel(&step.timer);
        rig_stop(&rig);
    }
}

struct periodic { struct exec_timer timer; uint64_t period; _Atomic unsigned runs; };
static void periodic_run(void *opaque)
{
    struct periodic *p = opaque;
    atomic_fetch_add(&p->runs, 1);
    exec_timer_arm(&p->timer, p->timer.deadline + p->period);
}

static void virtual_time_is_exact(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, KIND_VIRTUAL);
    struct periodic p = { .period = MS };
    exec_timer_init(&p.timer, rig.e, NULL, periodic_run, &p);
    exec_timer_arm(&p.timer, MS);
    executor_advance(rig.e, 1000 * MS);
    assert_int_equal(p.runs, 1000);
    assert_int_equal(executor_now(rig.e), 1000 * MS);
    p.period = 0; /* never comes to an end */
    executor_advance(rig.e, MS);
    assert_int_equal(executor_now(rig.e), 1001 * MS);
    exec_timer_cancel(&p.timer);
    rig_stop(&rig);
}

/* ---- watches ------------------------------------------------------------------------------------------------------------------------------------------- */

struct reader { struct exec_watch watch; _Atomic unsigned bytes, calls, eof; };
static void reader_run(void *opaque, unsigned events)
{
    struct reader *r = opaque;
    char buffer[4];
    assert_true(events & EXEC_READABLE);
    ssize_t n = read(r->watch.fd, buffer, sizeof buffer);
    atomic_fetch_add(&r->calls, 1);
    if (n > 0) {
        atomic_fetch_add(&r->bytes, (unsigned)n);
    } else {
        exec_watch_set(&r->watch, 0, NULL);
        atomic_store(&r->eof, 1);
    }
}

static void watches_read_a_pipe(void **state)
{
    (void)state;
    struct rig rig;
    EACH_KIND(&rig) {
        pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        struct reader r = { .bytes = 0 };
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        exec_watch_init(&r.watch, rig.e, &lock, fds[0], reader_run, &r);
        assert_int_equal(exec_watch_set(&r.watch, EXEC_READABLE, NULL), 0);
        assert_int_equal(write(fds[1], "0123456789", 10), 10);
        rig_until(&rig, &r.bytes, 10);
        close(fds[1]);
        rig_until(&rig, &r.eof, 1);
        exec_watch_cancel(&r.watch);
        close(fds[0]);
    }
}

static void unpollable_is_always_ready(void **state)
{
    (void)state;
    struct rig rig;
    EACH_KIND(&rig) {
        struct reader r = { .bytes = 0 };
        exec_watch_init(&r.watch, rig.e, NULL, open("/dev/null", O_RDONLY), reader_run, &r);
        assert_int_equal(exec_watch_set(&r.watch, EXEC_READABLE, NULL), 0);
        rig_until(&rig, &r.eof, 1);
        exec_watch_cancel(&r.watch);
        close(r.watch.fd);
    }
}

static void watch_cancel_then_close(void **state)
{
    (void)state;
    struct rig rig;
    EACH_KIND(&rig) {
        pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        for (unsigned i = 0; i < 100; i++) {
            struct reader *r = calloc(1, sizeof *r);
            int fds[2];
            assert_int_equal(pipe(fds), 0);
            exec_watch_init(&r->watch, rig.e, &lock, fds[0], reader_run, r);
            assert_int_equal(exec_watch_set(&r->watch, EXEC_READABLE, NULL), 0);
            assert_int_equal(write(fds[1], "x", 1), 1);
            if (i % 2)
                pthread_mutex_lock(&lock);
            exec_watch_cancel(&r->watch);
            if (i % 2)
                pthread_mutex_unlock(&lock);
            free(r);
            close(fds[0]);
            close(fds[1]);
        }
    }
}

/* ---- offload ------------------------------------------------------------------------------------------------------------------------------------------- */

struct job { struct exec_offload offload; _Atomic unsigned ran, done; unsigned rounds; };
static void job_run(void *opaque) { atomic_fetch_add(&((struct job *)opaque)->ran, 1); }
static void job_done(void *opaque)
{
    struct job *job = opaque;
    if (atomic_fetch_add(&job->done, 1) + 1 < job->rounds)
        assert_int_equal(exec_offload_start(&job->offload, NULL), 0);
}

static void offload_runs_and_restarts(void **state)
{
    (void)state;
    struct rig rig;
    EACH_KIND(&rig) {
        pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        struct job jobs[10];
        for (unsigned i = 0; i < 10; i++) {
            jobs[i] = (struct job){ .rounds = 5 };
            exec_offload_init(&jobs[i].offload, rig.e, &lock, job_run, job_done, &jobs[i]);
            assert_int_equal(exec_offload_start(&jobs[i].offload, NULL), 0);
        }
        for (unsigned i = 0; i < 10; i++) {
            rig_until(&rig, &jobs[i].done, 5);
            assert_int_equal(jobs[i].ran, 5);
            exec_offload_cancel(&jobs[i].offload);
        }
    }
}

static void offload_finish_in_place(void **state)
{
    (void)state;
    struct rig rig;
    EACH_KIND(&rig) {
        pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        struct job job = { .rounds = 1 };
        exec_offload_init(&job.offload, rig.e, &lock, job_run, job_done, &job);
        pthread_mutex_lock(&lock);
        assert_int_equal(exec_offload_start(&job.offload, NULL), 0);
        assert_true(exec_offload_busy(&job.offload));
        assert_int_equal(exec_offload_start(&job.offload, NULL), ERR_USAGE);
        exec_offload_finish(&job.offload);
        assert_int_equal(job.ran, 1);
        assert_int_equal(job.done, 1);
        assert_false(exec_offload_busy(&job.offload));
        pthread_mutex_unlock(&lock);
        assert_int_equal(exec_offload_start(&job.offload, NULL), 0);
        exec_offload_cancel(&job.offload);
        assert_true(job.done <= 2);
    }
}

/* ---- stress: for the thread sanitizer -------------------------------------------------------------------------------------------------------------------- */

struct stress {
    struct rig rig;
    pthread_mutex_t lock;
    unsigned inside;        /* plain: the lock must protect it */
    struct exec_work work;
    struct exec_timer timer;
    struct exec_offload offload;
    _Atomic bool stop;
};

static void stress_callback(void *opaque)
{
    struct stress *s = opaque;
    s->inside++;
}

static void stress_run(void *opaque) { (void)opaque; }

static void *stress_thread(void *opaque)
{
    struct stress *s = opaque;
    for (unsigned i = 0; !atomic_load(&s->stop); i++) {
        bool locked = i % 3 == 0;
        if (locked)
            pthread_mutex_lock(&s->lock);
        exec_work_post(&s->work);
        exec_timer_arm(&s->timer, executor_now(s->rig.e) + i % 50 * 1000);
        if (i % 5 == 0)
            exec_work_cancel(&s->work);
        if (i % 7 == 0)
            exec_timer_cancel(&s->timer);
        if (i % 11 == 0)
            exec_offload_start(&s->offload, NULL);
        if (i % 64 == 1)
            exec_offload_cancel(&s->offload);
        if (locked) {
            s->inside++;
            pthread_mutex_unlock(&s->lock);
        }
        if (i % 100 == 0) {
            exec_clock_freeze(s->rig.clock);
            exec_clock_thaw(s->rig.clock);
        }
    }
    return NULL;
}

static void stress(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 3; k++) {
        struct stress s = { .inside = 0 };
        pthread_t threads[3];
        rig_start(&s.rig, kinds[k]);
        pthread_mutex_init(&s.lock, NULL);
        exec_work_init(&s.work, s.rig.e, &s.lock, stress_callback, &s);
        exec_timer_init(&s.timer, s.rig.e, &s.lock, stress_callback, &s);
        exec_offload_init(&s.offload, s.rig.e, &s.lock, stress_run, stress_callback, &s);
        for (unsigned i = 0; i < 3; i++)
            pthread_create(&threads[i], NULL, stress_thread, &s);
        sleep_ms(200);
        atomic_store(&s.stop, true);
        for (unsigned i = 0; i < 3; i++)
            pthread_join(threads[i], NULL);
        exec_offload_cancel(&s.offload);
        exec_work_cancel(&s.work);
        exec_timer_cancel(&s.timer);
        assert_true(s.inside > 0);
        rig_stop(&s.rig);
        pthread_mutex_destroy(&s.lock);
    }
}

/* ---- hold ----------------------------------------------------------------------------------------------------------------------------------------------- */

static void count_up(void *opaque) { atomic_fetch_add((_Atomic unsigned *)opaque, 1); }
static void count_events(void *opaque, unsigned events)
{
    (void)events;
    atomic_fetch_add((_Atomic unsigned *)opaque, 1);
}

/* What is posted, due or readable while the thread is held waits, and a watch can be cancelled meanwhile. */
static void held_thread_runs_nothing(void **state)
{
    (void)state;
    struct exec_clock *clock = exec_clock_new(NULL);
    struct executor *e;
    struct exec_work work;
    struct exec_timer timer;
    struct exec_watch watch;
    _Atomic unsigned works = 0, timers = 0, events = 0;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(executor_new_thread(clock, "t", NULL, NULL, &e, NULL), 0);
    exec_work_init(&work, e, NULL, count_up, &works);
    exec_timer_init(&timer, e, NULL, count_up, &timers);
    exec_watch_init(&watch, e, NULL, fds[0], count_events, &events);
    for (unsigned round = 1; round <= 200; round++) {
        unsigned before = atomic_load(&events);
        executor_hold(e);
        executor_hold(e); /* may be repeated */
        exec_work_post(&work);
        exec_timer_arm(&timer, exec_clock_now(clock));
        assert_int_equal(exec_watch_set(&watch, EXEC_READABLE, NULL), 0);
        assert_int_equal(write(fds[1], "x", 1), 1);
        sched_yield();
        assert_int_equal(atomic_load(&works), round - 1);
        assert_int_equal(atomic_load(&timers), round - 1);
        assert_int_equal(atomic_load(&events), before);
        exec_watch_cancel(&watch);
        executor_release(e);
        while (atomic_load(&works) < round || atomic_load(&timers) < round)
            sched_yield();
        assert_int_equal(atomic_load(&events), before);
    }
    executor_hold(e);
    executor_free(e);
    exec_clock_free(clock);
    close(fds[0]);
    close(fds[1]);
}

static int refuse(void *opaque) { return *(int *)opaque; }

static void sandbox_failure_is_reported(void **state)
{
    (void)state;
    struct exec_clock *clock = exec_clock_new(NULL);
    struct executor *e;
    struct err err = ERR_NONE;
    int status = -1;
    assert_int_equal(executor_new_thread(clock, "t", refuse, &status, &e, &err), ERR_HOST);
    assert_non_null(strstr(err.text, "'t'"));
    exec_clock_free(clock);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(works_run_in_order),
        cmocka_unit_test(cancel_under_lock),
        cmocka_unit_test(work_posts_itself),
        cmocka_unit_test(timers_fire_by_deadline),
        cmocka_unit_test(frozen_time_stands),
        cmocka_unit_test(virtual_time_is_exact),
        cmocka_unit_test(watches_read_a_pipe),
        cmocka_unit_test(unpollable_is_always_ready),
        cmocka_unit_test(watch_cancel_then_close),
        cmocka_unit_test(offload_runs_and_restarts),
        cmocka_unit_test(offload_finish_in_place),
        cmocka_unit_test(held_thread_runs_nothing),
        cmocka_unit_test(stress),
        cmocka_unit_test(sandbox_failure_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
