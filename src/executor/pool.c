/* SPDX-License-Identifier: MIT */
/* pool.c - a few threads for work that blocks (fsync, getaddrinfo, file reads where there is no io_uring).
 *
 * Own rather than libuv's, since that one is one for the process, sized by an environment variable, and can only be fed from a loop's thread.
 * Locking: the pool's lock guards states and the queue; it is taken before an executor's lock, after a device's.
 */
#include <stdlib.h>

#include "executor/internal.h"

struct exec_pool {
    pthread_mutex_t lock;
    pthread_cond_t work, ran; /* something was queued or stop; a run has ended */
    struct list queue;
    unsigned threads, sleeping;
    bool stop;
    pthread_t thread[EXEC_POOL_THREADS];
};

struct exec_pool *exec_pool_new(struct err *err)
{
    struct exec_pool *pool = calloc(1, sizeof *pool);
    if (!pool) {
        err_set(err, ERR_HOST, "no memory for a thread pool");
        return NULL;
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->ran, NULL);
    list_init(&pool->queue);
    return pool;
}

void exec_pool_free(struct exec_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->threads; i++)
        pthread_join(pool->thread[i], NULL);
    pthread_cond_destroy(&pool->ran);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* Lock held, dropped around run. */
static void pool_run_one(struct exec_pool *pool, struct exec_offload *o)
{
    list_remove(&o->node);
    o->state = EXEC_OFFLOAD_RUNNING;
    pthread_mutex_unlock(&pool->lock);
    o->run(o->opaque);
    pthread_mutex_lock(&pool->lock);
    o->state = EXEC_OFFLOAD_RAN;
    exec_work_post(&o->done);
    pthread_cond_broadcast(&pool->ran);
}

static void *pool_thread(void *opaque)
{
    struct exec_pool *pool = opaque;
    pthread_mutex_lock(&pool->lock);
    while (!pool->stop) {
        if (!list_empty(&pool->queue)) {
            pool_run_one(pool, list_entry(pool->queue.next, struct exec_offload, node));
            continue;
        }
        pool->sleeping++;
        pthread_cond_wait(&pool->work, &pool->lock);
        pool->sleeping--;
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static struct exec_pool *pool_of(struct exec_offload *o) { return exec_clock_pool(o->done.executor->clock); }

/* The work that `run` posts when it is through; under the device's lock. */
static void offload_done(void *opaque)
{
    struct exec_offload *o = opaque;
    struct exec_pool *pool = pool_of(o);
    pthread_mutex_lock(&pool->lock);
    bool run = o->state == EXEC_OFFLOAD_QUEUED && o->done.executor->ops->inline_runs;
    bool ran = o->state == EXEC_OFFLOAD_RAN;
    if (run || ran)
        o->state = EXEC_OFFLOAD_IDLE; /* else this is left over from before a cancel, and it was started again since */
    pthread_mutex_unlock(&pool->lock);
    if (run)
        o->run(o->opaque);
    if (run || ran)
        o->finish(o->opaque);
}

void exec_offload_init(struct exec_offload *o, struct executor *e, pthread_mutex_t *lock, void (*run)(void *), void (*done)(void *), void *opaque)
{
    *o = (struct exec_offload){ .run = run, .finish = done, .opaque = opaque };
    list_init(&o->node);
    exec_work_init(&o->done, e, lock, offload_done, o);
}

/* Lock held. Makes a thread when all are busy; failing to is an error only when there is none at all. */
static int pool_enqueue(struct exec_pool *pool, struct exec_offload *o, struct err *err)
{
    if (!pool->sleeping && pool->threads < EXEC_POOL_THREADS && pthread_create(&pool->thread[pool->threads], NULL, pool_thread, pool) == 0)
        pool->threads++;
    if (!pool->threads)
        return err_set(err, ERR_HOST, "cannot start a thread for blocking work");
    o->state = EXEC_OFFLOAD_QUEUED;
    list_append(&pool->queue, &o->node);
    pthread_cond_signal(&pool->work);
    return 0;
}

int exec_offload_start(struct exec_offload *o, struct err *err)
{
    struct exec_pool *pool = pool_of(o);
    int r = 0;
    pthread_mutex_lock(&pool->lock);
    if (o->state != EXEC_OFFLOAD_IDLE) {
        r = err_set(err, ERR_USAGE, "blocking work is started twice");
    } else if (o->done.executor->ops->inline_runs) {
        o->state = EXEC_OFFLOAD_QUEUED;
        exec_work_post(&o->done);
    } else {
        r = pool_enqueue(pool, o, err);
    }
    pthread_mutex_unlock(&pool->lock);
    return r;
}

bool exec_offload_busy(struct exec_offload *o)
{
    struct exec_pool *pool = pool_of(o);
    pthread_mutex_lock(&pool->lock);
    bool busy = o->state != EXEC_OFFLOAD_IDLE;
    pthread_mutex_unlock(&pool->lock);
    return busy;
}

void exec_offload_cancel(struct exec_offload *o)
{
    if (!o->done.executor)
        return;
    struct exec_pool *pool = pool_of(o);
    pthread_mutex_lock(&pool->lock);
    while (o->state == EXEC_OFFLOAD_RUNNING)
        pthread_cond_wait(&pool->ran, &pool->lock);
    list_remove(&o->node);
    o->state = EXEC_OFFLOAD_IDLE;
    pthread_mutex_unlock(&pool->lock);
    exec_work_cancel(&o->done);
}

void exec_offload_finish(struct exec_offload *o)
{
    struct exec_pool *pool = pool_of(o);
    bool inline_runs = o->done.executor->ops->inline_runs;
    pthread_mutex_lock(&pool->lock);
    while (!inline_runs && (o->state == EXEC_OFFLOAD_QUEUED || o->state == EXEC_OFFLOAD_RUNNING))
        pthread_cond_wait(&pool->ran, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    exec_work_cancel(&o->done);
    offload_done(o);
}
