/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/clock.h"
#include "executor/internal.h"

struct exec_clock {
    pthread_mutex_t lock;     /* frozen, offset, at */
    bool frozen;
    uint64_t at;              /* VM time while frozen                    */
    uint64_t offset;          /* VM time minus host time, modulo 2^64    */
    pthread_mutex_t members_lock;
    struct list members;      /* executors, to be woken when time changes */
    struct exec_pool *pool;
};

struct exec_clock *exec_clock_new(struct err *err)
{
    struct exec_clock *clock = calloc(1, sizeof *clock);
    if (!clock || !(clock->pool = exec_pool_new(err))) {
        free(clock);
        err_set(err, ERR_HOST, "no memory for a clock");
        return NULL;
    }
    pthread_mutex_init(&clock->lock, NULL);
    pthread_mutex_init(&clock->members_lock, NULL);
    list_init(&clock->members);
    clock->offset = 0 - clock_ns();
    return clock;
}

void exec_clock_free(struct exec_clock *clock)
{
    if (!clock)
        return;
    exec_pool_free(clock->pool);
    pthread_mutex_destroy(&clock->members_lock);
    pthread_mutex_destroy(&clock->lock);
    free(clock);
}

uint64_t exec_clock_now(struct exec_clock *clock)
{
    pthread_mutex_lock(&clock->lock);
    uint64_t now = clock->frozen ? clock->at : clock_ns() + clock->offset;
    pthread_mutex_unlock(&clock->lock);
    return now;
}

uint64_t exec_clock_host_time(struct exec_clock *clock, uint64_t vm_ns)
{
    pthread_mutex_lock(&clock->lock);
    uint64_t now = clock_ns() + clock->offset;
    uint64_t host = clock->frozen ? UINT64_MAX : vm_ns <= now ? clock_ns() : vm_ns - clock->offset;
    pthread_mutex_unlock(&clock->lock);
    return host;
}

static void clock_tell_members(struct exec_clock *clock)
{
    pthread_mutex_lock(&clock->members_lock);
    list_for_each(node, &clock->members) {
        struct executor *e = list_entry(node, struct executor, clock_node);
        pthread_mutex_lock(&e->lock);
        e->ops->wake(e);
        pthread_mutex_unlock(&e->lock);
    }
    pthread_mutex_unlock(&clock->members_lock);
}

void exec_clock_freeze(struct exec_clock *clock)
{
    pthread_mutex_lock(&clock->lock);
    if (!clock->frozen) {
        clock->at = clock_ns() + clock->offset;
        clock->frozen = true;
    }
    pthread_mutex_unlock(&clock->lock);
}

void exec_clock_thaw(struct exec_clock *clock)
{
    pthread_mutex_lock(&clock->lock);
    bool was = clock->frozen;
    if (was) {
        clock->offset = clock->at - clock_ns();
        clock->frozen = false;
    }
    pthread_mutex_unlock(&clock->lock);
    if (was)
        clock_tell_members(clock);
}

void exec_clock_set(struct exec_clock *clock, uint64_t now_ns)
{
    pthread_mutex_lock(&clock->lock);
    if (clock->frozen)
        clock->at = now_ns;
    else
        clock->offset = now_ns - clock_ns();
    pthread_mutex_unlock(&clock->lock);
    clock_tell_members(clock);
}

struct exec_pool *exec_clock_pool(struct exec_clock *clock) { return clock->pool; }

void exec_clock_join(struct exec_clock *clock, struct executor *e)
{
    pthread_mutex_lock(&clock->members_lock);
    list_append(&clock->members, &e->clock_node);
    pthread_mutex_unlock(&clock->members_lock);
}

void exec_clock_leave(struct exec_clock *clock, struct executor *e)
{
    pthread_mutex_lock(&clock->members_lock);
    list_remove(&e->clock_node);
    pthread_mutex_unlock(&clock->members_lock);
}
