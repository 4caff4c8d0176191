/* SPDX-License-Identifier: MIT */
/* virtual.c - an executor for tests and fuzzing: one thread, a clock that only executor_advance() moves, so every run is the same. */
#include <poll.h>
#include <stdlib.h>

#include "base/bits.h"
#include "executor/internal.h"

enum {
    WATCHES_MAX = 64,
    SAME_MOMENT_MAX = 1000, /* a timer that arms itself for the same moment stops the clock no longer than this */
};

struct virt {
    struct executor e;
    uint64_t now;
    struct exec_watch *watches[WATCHES_MAX];
    unsigned watch_count;
};

static struct virt *virt_of(struct executor *e) { return container_of(e, struct virt, e); }

static void virt_wake(struct executor *e) { (void)e; }

static int virt_watch_set(struct exec_watch *watch, unsigned events, struct err *err)
{
    struct virt *v = virt_of(watch->executor);
    (void)events;
    if (watch->host)
        return 0;
    if (v->watch_count == WATCHES_MAX)
        return err_set(err, ERR_HOST, "too many descriptors watched");
    v->watches[v->watch_count++] = watch;
    watch->host = v;
    return 0;
}

static void virt_watch_cancel(struct exec_watch *watch)
{
    struct virt *v = virt_of(watch->executor);
    watch->host = NULL;
    for (unsigned i = 0; i < v->watch_count; i++)
        if (v->watches[i] == watch)
            v->watches[i] = v->watches[--v->watch_count];
}

static void poll_one(struct virt *v, struct exec_watch *watch)
{
    struct pollfd p = { watch->fd, (watch->events & EXEC_READABLE ? POLLIN : 0) | (watch->events & EXEC_WRITABLE ? POLLOUT : 0), 0 };
    if (!watch->events || poll(&p, 1, 0) <= 0)
        return;
    unsigned events = (p.revents & (POLLIN | POLLHUP | POLLERR) ? EXEC_READABLE : 0) | (p.revents & (POLLOUT | POLLERR) ? EXEC_WRITABLE : 0);
    if (events & watch->events)
        exec_run_watch(&v->e, watch, events & watch->events);
}

static bool virt_run_pending(struct executor *e)
{
    struct virt *v = virt_of(e);
    bool contended;
    pthread_mutex_lock(&e->lock);
    bool more = exec_dispatch(e, &contended);
    for (unsigned i = 0; i < v->watch_count; i++)
        poll_one(v, v->watches[i]);
    more |= !list_empty(&e->works);
    pthread_mutex_unlock(&e->lock);
    return more;
}

void executor_advance(struct executor *e, uint64_t ns)
{
    struct virt *v = virt_of(e);
    uint64_t end = v->now + ns;
    unsigned same = 0;
    executor_run_pending(e);
    while (same < SAME_MOMENT_MAX) {
        pthread_mutex_lock(&e->lock);
        uint64_t deadline = exec_next_deadline(e);
        pthread_mutex_unlock(&e->lock);
        if (deadline > end)
            break;
        same = deadline > v->now ? 0 : same + 1;
        v->now = deadline > v->now ? deadline : v->now;
        exec_clock_set(e->clock, v->now);
        executor_run_pending(e);
    }
    v->now = end;
    exec_clock_set(e->clock, end);
    executor_run_pending(e);
}

static void virt_free(struct executor *e)
{
    struct virt *v = virt_of(e);
    exec_clock_free(e->clock);
    exec_fini(e);
    free(v);
}

static const struct executor_ops virt_ops = {
    .wake = virt_wake, .watch_set = virt_watch_set, .watch_cancel = virt_watch_cancel, .run_pending = virt_run_pending, .inline_runs = true, .free = virt_free,
};

int executor_new_virtual(struct executor **out, struct err *err)
{
    struct virt *v = calloc(1, sizeof *v);
    struct exec_clock *clock = exec_clock_new(err);
    if (!v || !clock || exec_init(&v->e, &virt_ops, clock, err)) {
        exec_clock_free(clock);
        free(v);
        return err_set(err, ERR_HOST, "no memory for an executor");
    }
    exec_clock_freeze(clock);
    exec_clock_set(clock, 0);
    *out = &v->e;
    return 0;
}
