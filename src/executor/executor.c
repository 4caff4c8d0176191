/* SPDX-License-Identifier: MIT */
/* executor.c - works and timers, the same for every kind of executor.
 *
 * A callback must run under its device's lock, and must not run any more once it was cancelled, even when the canceller holds that lock and frees the device
 * afterwards. So the runner, under the executor's lock, only *tries* the device's lock while the item is still in its list: when it is taken, the item stays
 * where a cancel finds it, and is tried again later. A cancel takes the item out of its list, and waits only for a callback that has begun.
 *
 * Locking: the executor's lock is a leaf and is never held in a callback.
 */
#include "executor/internal.h"

#include <sched.h>
#include <stdlib.h>
#include <time.h>

int exec_init(struct executor *e, const struct executor_ops *ops, struct exec_clock *clock, struct err *err)
{
    if (pthread_mutex_init(&e->lock, NULL) || pthread_cond_init(&e->idle, NULL))
        return err_set(err, ERR_HOST, "cannot make a lock for an executor");
    e->ops = ops;
    e->clock = clock;
    list_init(&e->clock_node);
    list_init(&e->works);
    list_init(&e->timers);
    return 0;
}

void exec_fini(struct executor *e)
{
    pthread_cond_destroy(&e->idle);
    pthread_mutex_destroy(&e->lock);
}

void executor_free(struct executor *e)
{
    if (!e)
        return;
    exec_clock_leave(e->clock, e);
    e->ops->free(e);
}

uint64_t executor_now(struct executor *e) { return exec_clock_now(e->clock); }

void exec_backoff(void)
{
    const struct timespec moment = { 0, 20000 };
    nanosleep(&moment, NULL);
}

/* ---- running ------------------------------------------------------------------------------------------------------------------------------------------ */

static bool try_device_lock(pthread_mutex_t *lock) { return !lock || pthread_mutex_trylock(lock) == 0; }

static void run_begin(struct executor *e, const void *item)
{
    e->running = item;
    e->runner = pthread_self();
    pthread_mutex_unlock(&e->lock);
}

/* `lock` is read before the callback: the item may be gone after it. */
static void run_end(struct executor *e, pthread_mutex_t *lock)
{
    if (lock)
        pthread_mutex_unlock(lock);
    pthread_mutex_lock(&e->lock);
    e->running = NULL;
    pthread_cond_broadcast(&e->idle);
    while (e->waiting) /* or an item that posts itself would run again before its canceller gets the lock, and so for ever */
        pthread_cond_wait(&e->idle, &e->lock);
}

static void drain_reached(void *opaque);

/* `first`: nothing posted before it is left, which is what a drain waits for. */
static bool run_work(struct executor *e, struct exec_work *work, bool first)
{
    pthread_mutex_t *lock = work->lock;
    if ((work->fn == drain_reached && !first) || !try_device_lock(lock))
        return false;
    list_remove(&work->node);
    work->queued = false;
    run_begin(e, work);
    work->fn(work->opaque);
    run_end(e, lock);
    return true;
}

static bool run_timer(struct executor *e, struct exec_timer *timer)
{
    pthread_mutex_t *lock = timer->lock;
    if (!try_device_lock(lock))
        return false;
    list_remove(&timer->node);
    timer->armed = false;
    e->armed--;
    run_begin(e, timer);
    timer->fn(timer->opaque);
    run_end(e, lock);
    return true;
}

bool exec_run_watch(struct executor *e, struct exec_watch *watch, unsigned events)
{
    pthread_mutex_t *lock = watch->lock;
    if (!try_device_lock(lock))
        return false;
    run_begin(e, watch);
    watch->fn(watch->opaque, events);
    run_end(e, lock);
    return true;
}

/* The list changes while callbacks run, so the round's place and its end are nodes of the list: what is posted meanwhile comes behind the end. */
static bool dispatch_works(struct executor *e)
{
    bool contended = false;
    struct list place, end;
    if (list_empty(&e->works))
        return false;
    list_append(&e->works, &end);
    list_insert_before(e->works.next, &place);
    while (place.next != &end) {
        struct list *node = place.next;
        if (run_work(e, list_entry(node, struct exec_work, node), place.prev == &e->works))
            continue;
        contended = true;
        list_remove(&place);
        list_insert_before(node->next, &place);
    }
    list_remove(&place);
    list_remove(&end);
    return contended;
}

static struct exec_timer *first_due(struct executor *e, uint64_t now, unsigned skip)
{
    list_for_each(node, &e->timers) {
        struct exec_timer *timer = list_entry(node, struct exec_timer, node);
        if (timer->deadline > now)
            return NULL;
        if (!skip--)
            return timer;
    }
    return NULL;
}

/* As many tries as timers were armed, so that one that arms itself in the past cannot hold the round. */
static bool dispatch_timers(struct executor *e)
{
    unsigned skip = 0;
    uint64_t now = exec_clock_now(e->clock);
    for (unsigned tries = e->armed; tries; tries--) {
        struct exec_timer *timer = first_due(e, now, skip);
        if (!timer)
            break;
        if (!run_timer(e, timer))
            skip++;
    }
    return skip != 0;
}

bool exec_dispatch(struct executor *e, bool *contended)
{
    bool works = dispatch_works(e), timers = dispatch_timers(e);
    *contended = works || timers;
    return !list_empty(&e->works) || exec_next_deadline(e) <= exec_clock_now(e->clock);
}

uint64_t exec_next_deadline(const struct executor *e)
{
    return list_empty(&e->timers) ? UINT64_MAX : list_entry(e->timers.next, struct exec_timer, node)->deadline;
}

void exec_wait_not_running(struct executor *e, const void *item)
{
    if (e->running != item || pthread_equal(e->runner, pthread_self()))
        return;
    e->waiting++;
    while (e->running == item)
        pthread_cond_wait(&e->idle, &e->lock);
    e->waiting--;
    pthread_cond_broadcast(&e->idle);
}

/* ---- works -------------------------------------------------------------------------------------------------------------------------------------------- */

void exec_work_init(struct exec_work *work, struct executor *e, pthread_mutex_t *lock, void (*fn)(void *), void *opaque)
{
    *work = (struct exec_work){ .executor = e, .lock = lock, .fn = fn, .opaque = opaque };
    list_init(&work->node);
}

void exec_work_post(struct exec_work *work)
{
    struct executor *e = work->executor;
    pthread_mutex_lock(&e->lock);
    if (!work->queued) {
        work->queued = true;
        list_append(&e->works, &work->node);
        e->ops->wake(e);
    }
    pthread_mutex_unlock(&e->lock);
}

void exec_work_cancel(struct exec_work *work)
{
    struct executor *e = work->executor;
    if (!e)
        return; /* never initialized: a half-made device */
    pthread_mutex_lock(&e->lock);
    exec_wait_not_running(e, work);
    if (work->queued) {
        work->queued = false;
        list_remove(&work->node);
    }
    pthread_mutex_unlock(&e->lock);
}

/* ---- timers ------------------------------------------------------------------------------------------------------------------------------------------- */

void exec_timer_init(struct exec_timer *timer, struct executor *e, pthread_mutex_t *lock, void (*fn)(void *), void *opaque)
{
    *timer = (struct exec_timer){ .executor = e, .lock = lock, .fn = fn, .opaque = opaque };
    list_init(&timer->node);
}

static void timer_insert(struct executor *e, struct exec_timer *timer)
{
    struct list *at = e->timers.next;
    while (at != &e->timers && list_entry(at, struct exec_timer, node)->deadline <= timer->deadline)
        at = at->next;
    list_insert_before(at, &timer->node);
}

static void timer_disarm(struct executor *e, struct exec_timer *timer)
{
    if (!timer->armed)
        return;
    timer->armed = false;
    e->armed--;
    list_remove(&timer->node);
}

void exec_timer_arm(struct exec_timer *timer, uint64_t deadline_ns)
{
    struct executor *e = timer->executor;
    pthread_mutex_lock(&e->lock);
    timer_disarm(e, timer);
    timer->armed = true;
    timer->deadline = deadline_ns;
    e->armed++;
    timer_insert(e, timer);
    if (e->timers.next == &timer->node)
        e->ops->wake(e);
    pthread_mutex_unlock(&e->lock);
}

void exec_timer_cancel(struct exec_timer *timer)
{
    struct executor *e = timer->executor;
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    exec_wait_not_running(e, timer);
    timer_disarm(e, timer);
    pthread_mutex_unlock(&e->lock);
}

/* ---- watches ------------------------------------------------------------------------------------------------------------------------------------------ */

void exec_watch_init(struct exec_watch *watch, struct executor *e, pthread_mutex_t *lock, int fd, void (*fn)(void *, unsigned), void *opaque)
{
    *watch = (struct exec_watch){ .executor = e, .lock = lock, .fd = fd, .fn = fn, .opaque = opaque };
}

int exec_watch_set(struct exec_watch *watch, unsigned events, struct err *err)
{
    struct executor *e = watch->executor;
    pthread_mutex_lock(&e->lock);
    int r = watch->events == events ? 0 : e->ops->watch_set(watch, events, err);
    if (r == 0)
        watch->events = events;
    pthread_mutex_unlock(&e->lock);
    return r;
}

void exec_watch_cancel(struct exec_watch *watch)
{
    struct executor *e = watch->executor;
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    exec_wait_not_running(e, watch);
    watch->events = 0;
    if (watch->host)
        e->ops->watch_cancel(watch);
    pthread_mutex_unlock(&e->lock);
}

/* ---- hold ------------------------------------------------------------------------------------------------------------------------------------------------ */

static void hold(struct executor *e, bool held)
{
    pthread_mutex_lock(&e->lock);
    if (e->ops->hold)
        e->ops->hold(e, held);
    pthread_mutex_unlock(&e->lock);
}

void executor_hold(struct executor *e) { hold(e, true); }
void executor_release(struct executor *e) { hold(e, false); }

/* ---- drain -------------------------------------------------------------------------------------------------------------------------------------------- */

struct drain { pthread_mutex_t lock; pthread_cond_t reached; bool done; };

static void drain_reached(void *opaque)
{
    struct drain *drain = opaque;
    pthread_mutex_lock(&drain->lock);
    drain->done = true;
    pthread_cond_signal(&drain->reached);
    pthread_mutex_unlock(&drain->lock);
}

void executor_drain(struct executor *e)
{
    struct drain drain = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false };
    struct exec_work work;
    exec_work_init(&work, e, NULL, drain_reached, &drain);
    exec_work_post(&work);
    while (e->ops->inline_runs && executor_run_pending(e))
        ;
    pthread_mutex_lock(&drain.lock);
    while (!drain.done)
        pthread_cond_wait(&drain.reached, &drain.lock);
    pthread_mutex_unlock(&drain.lock);
    exec_work_cancel(&work);
    pthread_cond_destroy(&drain.reached);
    pthread_mutex_destroy(&drain.lock);
}
