/* SPDX-License-Identifier: MIT */
/* loop.c - the executors that sleep in libuv: the main loop and a thread of its own.
 *
 * libuv's handles belong to the loop's thread; uv_async_send() alone may be called elsewhere. So other threads only change what is wanted, under the executor's
 * lock, put the watch into `changes` and wake the loop, which applies the changes before it sleeps. A cancel waits until its change is applied, since the caller may
 * close the descriptor next. While the loop does not run (before executor_run, after it) the caller applies it itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/bits.h"
#include "executor/internal.h"

struct loop {
    struct executor e;
    uv_loop_t uv;
    uv_async_t async;
    struct exec_alarm *alarm;
    struct list changes;      /* struct loop_watch.change                */
    struct list ready;        /* struct loop_watch.ready: cannot be polled */
    bool in_loop, stopping, contended;
    bool hold, held;          /* asked to hold; the thread does */
    int status;
    pthread_t thread;         /* who is in the loop */
    bool own_thread, entered;
    char name[16];
    int (*enter)(void *opaque);
    void *enter_opaque;
};

struct loop_watch {
    uv_poll_t poll;
    struct list change, ready;
    struct loop *loop;
    struct exec_watch *watch; /* NULL once cancelled                     */
    int fd;
    unsigned wanted;
    bool open;                /* poll is initialized                     */
    bool unpollable;          /* a file: always ready                    */
};

static struct loop *loop_of(struct executor *e) { return container_of(e, struct loop, e); }
static bool on_loop_thread(struct loop *l) { return l->in_loop && pthread_equal(l->thread, pthread_self()); }

static void loop_wake(struct executor *e)
{
    struct loop *l = loop_of(e);
    if (!on_loop_thread(l))
        uv_async_send(&l->async);
}

static void on_async(uv_async_t *async) { (void)async; }

/* ---- watches: the loop's thread -------------------------------------------------------------------------------------------------------------------------- */

static void on_poll(uv_poll_t *poll, int status, int uv_events)
{
    struct loop_watch *w = container_of(poll, struct loop_watch, poll);
    struct loop *l = w->loop;
    unsigned events = (uv_events & (UV_READABLE | UV_DISCONNECT) ? EXEC_READABLE : 0) | (uv_events & UV_WRITABLE ? EXEC_WRITABLE : 0);
    if (status < 0)
        events = EXEC_READABLE | EXEC_WRITABLE; /* the read or write will tell */
    pthread_mutex_lock(&l->e.lock);
    if (w->watch && (events &= w->wanted) && !exec_run_watch(&l->e, w->watch, events))
        l->contended = true;
    pthread_mutex_unlock(&l->e.lock);
}

static void on_watch_closed(uv_handle_t *handle) { free(container_of((uv_poll_t *)handle, struct loop_watch, poll)); }

/* Lock held. Loop thread, or the loop does not run. */
static void apply_change(struct loop_watch *w)
{
    list_remove(&w->change);
    list_remove(&w->ready);
    if (!w->watch) {
        if (w->open)
            uv_close((uv_handle_t *)&w->poll, on_watch_closed);
        else
            free(w);
        return;
    }
    if (!w->open && !w->unpollable) {
        w->unpollable = uv_poll_init(&w->loop->uv, &w->poll, w->fd) != 0;
        w->open = !w->unpollable;
    }
    if (w->unpollable && w->wanted)
        list_append(&w->loop->ready, &w->ready);
    else if (w->open && w->wanted)
        uv_poll_start(&w->poll, (w->wanted & EXEC_READABLE ? UV_READABLE : 0) | (w->wanted & EXEC_WRITABLE ? UV_WRITABLE : 0), on_poll);
    else if (w->open)
        uv_poll_stop(&w->poll);
}

static void apply_changes(struct loop *l)
{
    while (!list_empty(&l->changes))
        apply_change(list_entry(l->changes.next, struct loop_watch, change));
    pthread_cond_broadcast(&l->e.idle);
}

/* Each once; a callback may cancel any of them, so the round is bounded by a moving mark as in executor.c. */
static void run_unpollable(struct loop *l)
{
    struct list end;
    list_append(&l->ready, &end);
    while (l->ready.next != &end) {
        struct loop_watch *w = list_entry(l->ready.next, struct loop_watch, ready);
        list_remove(&w->ready);
        list_append(&l->ready, &w->ready);
        if (w->watch && w->wanted && !exec_run_watch(&l->e, w->watch, w->wanted))
            l->contended = true;
    }
    list_remove(&end);
}

/* ---- watches: any thread -------------------------------------------------------------------------------------------------------------------------------- */

static void queue_change(struct loop_watch *w)
{
    if (list_empty(&w->change))
        list_append(&w->loop->changes, &w->change);
    loop_wake(&w->loop->e);
}

static int loop_watch_set(struct exec_watch *watch, unsigned events, struct err *err)
{
    struct loop *l = loop_of(watch->executor);
    struct loop_watch *w = watch->host;
    if (!w && !(w = calloc(1, sizeof *w)))
        return err_set(err, ERR_HOST, "no memory to watch a descriptor");
    if (!watch->host) {
        list_init(&w->change);
        list_init(&w->ready);
        w->loop = l;
        w->watch = watch;
        w->fd = watch->fd;
        watch->host = w;
    }
    w->wanted = events;
    queue_change(w);
    return 0;
}

static void loop_watch_cancel(struct exec_watch *watch)
{
    struct loop *l = loop_of(watch->executor);
    struct loop_watch *w = watch->host;
    watch->host = NULL;
    w->watch = NULL;
    if (!l->in_loop || l->held || on_loop_thread(l)) {
        apply_change(w);
        return;
    }
    queue_change(w);
    while (l->in_loop && !list_empty(&l->changes))
        pthread_cond_wait(&l->e.idle, &l->e.lock);
    if (!l->in_loop)
        apply_changes(l);
}

/* ---- the loop -------------------------------------------------------------------------------------------------------------------------------------------- */

static bool loop_round(struct loop *l)
{
    bool contended, more = exec_dispatch(&l->e, &contended);
    apply_changes(l);
    run_unpollable(l);
    apply_changes(l);
    more |= !list_empty(&l->e.works) || !list_empty(&l->ready) || l->stopping;
    l->contended |= contended;
    if (l->contended) { /* a lock is taken: come back in a moment */
        more = true;
        l->contended = false;
        pthread_mutex_unlock(&l->e.lock);
        exec_backoff();
        pthread_mutex_lock(&l->e.lock);
    }
    uint64_t deadline = exec_next_deadline(&l->e);
    exec_alarm_set(l->alarm, deadline == UINT64_MAX ? UINT64_MAX : exec_clock_host_time(l->e.clock, deadline));
    return more;
}

static void loop_wait_released(struct loop *l)
{
    l->held = true;
    pthread_cond_broadcast(&l->e.idle);
    while (l->hold && !l->stopping)
        pthread_cond_wait(&l->e.idle, &l->e.lock);
    l->held = false;
}

static void loop_hold(struct executor *e, bool hold)
{
    struct loop *l = loop_of(e);
    if (!l->own_thread)
        return;
    l->hold = hold;
    pthread_cond_broadcast(&e->idle);
    loop_wake(e);
    while (hold && l->in_loop && !l->held)
        pthread_cond_wait(&e->idle, &e->lock);
}

static int loop_run(struct loop *l)
{
    pthread_mutex_lock(&l->e.lock);
    if (!l->own_thread)
        l->thread = pthread_self();
    l->in_loop = true;
    while (!l->stopping) {
        if (l->hold)
            loop_wait_released(l);
        bool more = loop_round(l);
        pthread_mutex_unlock(&l->e.lock);
        uv_run(&l->uv, more ? UV_RUN_NOWAIT : UV_RUN_ONCE);
        pthread_mutex_lock(&l->e.lock);
    }
    l->in_loop = false;
    l->stopping = false;
    pthread_cond_broadcast(&l->e.idle);
    int status = l->status;
    pthread_mutex_unlock(&l->e.lock);
    return status;
}

static void loop_close(struct loop *l)
{
    pthread_mutex_lock(&l->e.lock);
    apply_changes(l);
    pthread_mutex_unlock(&l->e.lock);
    uv_close((uv_handle_t *)&l->async, NULL);
    exec_alarm_close(l->alarm);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    uv_loop_close(&l->uv);
    exec_fini(&l->e);
    free(l);
}

static void loop_stop(struct loop *l, int status)
{
    pthread_mutex_lock(&l->e.lock);
    l->status = status;
    l->stopping = true;
    uv_async_send(&l->async);
    pthread_cond_broadcast(&l->e.idle); /* it may be held */
    pthread_mutex_unlock(&l->e.lock);
}

static void loop_free(struct executor *e)
{
    struct loop *l = loop_of(e);
    if (l->own_thread) {
        loop_stop(l, 0);
        pthread_join(l->thread, NULL);
    }
    loop_close(l);
}

static const struct executor_ops loop_ops = { .wake = loop_wake, .watch_set = loop_watch_set, .watch_cancel = loop_watch_cancel, .hold = loop_hold, .free = loop_free };

int executor_run(struct executor *e) { return loop_run(loop_of(e)); }
void executor_stop(struct executor *e, int status) { loop_stop(loop_of(e), status); }

/* ---- making one ----------------------------------------------------------------------------------------------------------------------------------------- */

static struct loop *loop_new(struct exec_clock *clock, struct err *err)
{
    struct loop *l = calloc(1, sizeof *l);
    int r = l ? uv_loop_init(&l->uv) : UV_ENOMEM;
    if (r) {
        err_set(err, ERR_HOST, "cannot make an event loop: %s", uv_strerror(r));
        free(l);
        return NULL;
    }
    list_init(&l->changes);
    list_init(&l->ready);
    r = uv_async_init(&l->uv, &l->async, on_async);
    if (r || !(l->alarm = exec_alarm_new(&l->uv, err)) || exec_init(&l->e, &loop_ops, clock, err)) {
        err_set(err, ERR_HOST, "cannot make an event loop: too many open files?"); /* the process is about to end: what was made stays */
        return NULL;
    }
    exec_clock_join(clock, &l->e);
    return l;
}

int executor_new_main(struct exec_clock *clock, struct executor **out, struct err *err)
{
    struct loop *l = loop_new(clock, err);
    if (!l)
        return ERR_HOST;
    *out = &l->e;
    return 0;
}

static void *loop_thread(void *opaque)
{
    struct loop *l = opaque;
    exec_name_thread(l->name);
    int status = l->enter ? l->enter(l->enter_opaque) : 0;
    pthread_mutex_lock(&l->e.lock);
    l->status = status;
    l->entered = true;
    l->in_loop = status == 0;
    pthread_cond_broadcast(&l->e.idle);
    pthread_mutex_unlock(&l->e.lock);
    if (status == 0)
        loop_run(l);
    return NULL;
}

/* Returns when the thread is in its sandbox; `enter`'s status. */
static int loop_start_thread(struct loop *l, struct err *err)
{
    pthread_mutex_lock(&l->e.lock);
    int r = pthread_create(&l->thread, NULL, loop_thread, l);
    while (r == 0 && !l->entered)
        pthread_cond_wait(&l->e.idle, &l->e.lock);
    int status = l->status;
    pthread_mutex_unlock(&l->e.lock);
    if (r)
        return err_set(err, ERR_HOST, "cannot start the thread '%s': %s", l->name, strerror(r));
    if (status) {
        pthread_join(l->thread, NULL);
        return err_set(err, ERR_HOST, "cannot confine the thread '%s'", l->name);
    }
    return 0;
}

int executor_new_thread(struct exec_clock *clock, const char *name, int (*enter)(void *), void *opaque, struct executor **out, struct err *err)
{
    struct loop *l = loop_new(clock, err);
    if (!l)
        return ERR_HOST;
    strncpy(l->name, name, sizeof l->name - 1);
    l->enter = enter;
    l->enter_opaque = opaque;
    l->own_thread = true;
    int r = loop_start_thread(l, err);
    if (r) {
        exec_clock_leave(clock, &l->e);
        loop_close(l);
        return r;
    }
    *out = &l->e;
    return 0;
}
