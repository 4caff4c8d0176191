/* SPDX-License-Identifier: MIT */
/* cooperative.c - runs on whoever calls executor_run_pending(), a vCPU's thread; another executor, the timekeeper, waits for timers and descriptors in its place.
 *
 * A descriptor that became ready is not watched again before its callback here has run, so that a level-triggered one does not spin the timekeeper.
 * Lock order: this executor's lock, then the timekeeper's.
 */
#include <stdlib.h>

#include "base/bits.h"
#include "executor/internal.h"

struct coop {
    struct executor e;
    struct executor *timekeeper;
    struct exec_timer alarm;  /* the timekeeper's          */
    uint64_t alarm_at;        /* its deadline, UINT64_MAX: not armed */
    void (*wake)(void *opaque);
    void *opaque;
    struct list ready;        /* struct coop_watch.node    */
};

struct coop_watch {
    struct exec_watch inner;  /* the timekeeper's          */
    struct list node;
    struct coop *coop;
    struct exec_watch *watch; /* NULL once cancelled     */
    unsigned ready;
};

static struct coop *coop_of(struct executor *e) { return container_of(e, struct coop, e); }

static void on_alarm(void *opaque)
{
    struct coop *c = opaque;
    pthread_mutex_lock(&c->e.lock);
    c->alarm_at = UINT64_MAX;
    c->wake(c->opaque);
    pthread_mutex_unlock(&c->e.lock);
}

static void set_alarm(struct coop *c)
{
    uint64_t deadline = exec_next_deadline(&c->e);
    if (deadline == UINT64_MAX || c->alarm_at == deadline)
        return;
    c->alarm_at = deadline;
    exec_timer_arm(&c->alarm, deadline);
}

/* Work is pending: the owner hears of it. Otherwise the timekeeper is told about the earliest timer. */
static void coop_wake(struct executor *e)
{
    struct coop *c = coop_of(e);
    set_alarm(c);
    if (!list_empty(&e->works) || !list_empty(&c->ready))
        c->wake(c->opaque);
}

static void on_inner(void *opaque, unsigned events)
{
    struct coop_watch *w = opaque;
    struct coop *c = w->coop;
    pthread_mutex_lock(&c->e.lock);
    exec_watch_set(&w->inner, 0, NULL);
    w->ready |= events;
    if (w->watch && list_empty(&w->node))
        list_append(&c->ready, &w->node);
    if (w->watch)
        c->wake(c->opaque);
    pthread_mutex_unlock(&c->e.lock);
}

static int coop_watch_set(struct exec_watch *watch, unsigned events, struct err *err)
{
    struct coop_watch *w = watch->host;
    if (!w) {
        if (!(w = calloc(1, sizeof *w)))
            return err_set(err, ERR_HOST, "no memory to watch a descriptor");
        w->coop = coop_of(watch->executor);
        w->watch = watch;
        list_init(&w->node);
        exec_watch_init(&w->inner, w->coop->timekeeper, NULL, watch->fd, on_inner, w);
        watch->host = w;
    }
    w->ready &= events;
    return exec_watch_set(&w->inner, events, err);
}

static void coop_watch_cancel(struct exec_watch *watch)
{
    struct coop_watch *w = watch->host;
    struct executor *e = watch->executor;
    watch->host = NULL;
    w->watch = NULL;
    list_remove(&w->node);
    pthread_mutex_unlock(&e->lock); /* on_inner takes it, and may be running */
    exec_watch_cancel(&w->inner);
    free(w);
    pthread_mutex_lock(&e->lock);
}

static void run_ready(struct coop *c, bool *contended)
{
    struct list end;
    list_append(&c->ready, &end);
    while (c->ready.next != &end) {
        struct coop_watch *w = list_entry(c->ready.next, struct coop_watch, node);
        struct exec_watch *watch = w->watch;
        list_remove(&w->node);
        if (w->ready & watch->events && !exec_run_watch(&c->e, watch, w->ready & watch->events)) {
            list_append(&c->ready, &w->node);
            *contended = true;
            continue;
        }
        if (watch->host == w) {
            w->ready = 0;
            exec_watch_set(&w->inner, watch->events, NULL);
        }
    }
    list_remove(&end);
}

static bool coop_run_pending(struct executor *e)
{
    struct coop *c = coop_of(e);
    bool contended;
    pthread_mutex_lock(&e->lock);
    exec_dispatch(e, &contended);
    run_ready(c, &contended);
    bool more = !list_empty(&e->works) || !list_empty(&c->ready) || exec_next_deadline(e) <= exec_clock_now(e->clock);
    set_alarm(c);
    if (contended && more) { /* another thread holds the lock: come back at once */
        pthread_mutex_unlock(&e->lock);
        exec_backoff();
        pthread_mutex_lock(&e->lock);
        c->wake(c->opaque);
    }
    pthread_mutex_unlock(&e->lock);
    return more;
}

static void coop_free(struct executor *e)
{
    struct coop *c = coop_of(e);
    exec_timer_cancel(&c->alarm);
    exec_fini(e);
    free(c);
}

static const struct executor_ops coop_ops = {
    .wake = coop_wake, .watch_set = coop_watch_set, .watch_cancel = coop_watch_cancel, .run_pending = coop_run_pending, .free = coop_free,
};

int executor_new_cooperative(struct exec_clock *clock, struct executor *timekeeper, void (*wake)(void *), void *opaque, struct executor **out, struct err *err)
{
    struct coop *c = calloc(1, sizeof *c);
    if (!c || exec_init(&c->e, &coop_ops, clock, err)) {
        free(c);
        return err_set(err, ERR_HOST, "no memory for an executor");
    }
    c->timekeeper = timekeeper;
    c->wake = wake;
    c->opaque = opaque;
    c->alarm_at = UINT64_MAX;
    list_init(&c->ready);
    exec_timer_init(&c->alarm, timekeeper, NULL, on_alarm, c);
    exec_clock_join(clock, &c->e);
    *out = &c->e;
    return 0;
}

bool executor_run_pending(struct executor *e) { return e->ops->run_pending && e->ops->run_pending(e); }
