/* SPDX-License-Identifier: MIT */
/* executor.h - where device code runs: the main loop, a thread of its own, or cooperatively on a vCPU's thread. The only room that knows libuv.
 *
 * A device gets one executor at creation and never learns which kind it is. It may post work, arm timers and watch descriptors; every callback runs on the
 * executor with the device's lock held (`lock` below), the same lock under which the bus calls the device's register functions on vCPU threads. So a device's code is
 * never concurrent with itself, on any kind of executor. Callbacks must not block; what blocks goes to an exec_offload.
 *
 * Time: executor_now() is the VM's clock in ns; it stands still while the VM is paused, and all timers with it. Tests use executor_new_virtual(), where time moves
 * only by executor_advance().
 *
 * Threads: post, arm, cancel and watch from any thread. Lock order: a device's lock, then those of interrupt controllers, then the executor's own (a leaf).
 * Cancel may be called with the device's lock held or without it: an executor only ever tries a device's lock, and comes back later when it is taken. After a
 * cancel the structure may be freed; cancel before destroying the lock.
 * Order: works run in the order in which they were posted as long as their locks are free; the same moment's timers run in the order in which they were armed.
 */
#ifndef EXECUTOR_EXECUTOR_H
#define EXECUTOR_EXECUTOR_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"

struct executor;

/* The VM's clock, shared by all executors of a machine. Opaque; freeze and thaw are idempotent. */
struct exec_clock;
struct exec_clock *exec_clock_new(struct err *);
void     exec_clock_free(struct exec_clock *);
uint64_t exec_clock_now(struct exec_clock *);
void     exec_clock_freeze(struct exec_clock *);
void     exec_clock_thaw(struct exec_clock *);
void     exec_clock_set(struct exec_clock *, uint64_t now_ns); /* while frozen: after a restore */

/* The main loop: runs on the thread that calls executor_run() until executor_stop(). */
int executor_new_main(struct exec_clock *, struct executor **out, struct err *);
/* A thread of its own, named `name` (cut to 15 characters), started now. `enter` (may be NULL) runs first on it, for its sandbox. */
int executor_new_thread(struct exec_clock *, const char *name, int (*enter)(void *opaque), void *opaque, struct executor **out, struct err *);
/* Cooperative: runs when the owner calls executor_run_pending(). `wake` is called from any thread when there is work or a timer is due (a timer of `timekeeper`'s sees to it);
 * it may be called with locks held and must only kick the owner, never call back into an executor. */
int executor_new_cooperative(struct exec_clock *, struct executor *timekeeper, void (*wake)(void *opaque), void *opaque, struct executor **out, struct err *);
/* For tests and fuzzing: everything runs inside executor_advance() and executor_run_pending(), with a clock of its own; no threads, no host descriptors needed. */
int executor_new_virtual(struct executor **out, struct err *);
void executor_free(struct executor *);          /* stops and joins a thread; nothing may be armed any more */

int  executor_run(struct executor *);           /* main only: until executor_stop(); returns its status */
void executor_stop(struct executor *, int status); /* any thread */
/* Cooperative and virtual: runs what was pending when it was called, no more (so that work which posts itself cannot hold a vCPU). True when there is more to run now. */
bool executor_run_pending(struct executor *);
/* Returns when all that was posted before the call has run. Not from a callback, not with a device's lock held; a main executor must be running. */
void executor_drain(struct executor *);
/* From another thread: returns when an executor of its own thread runs nothing, and it runs nothing until the release; what is posted meanwhile waits. Works, timers and watches
 * may be set and cancelled. Other kinds run on the caller's or its vCPU's thread, and are left alone. */
void executor_hold(struct executor *);
void executor_release(struct executor *);
void executor_advance(struct executor *, uint64_t ns); /* virtual: moves time, running what falls due in order */

uint64_t executor_now(struct executor *);       /* ns of the VM's clock */

/* ---- work ------------------------------------------------------------------------------------------------------------------------------------------ */

/* Embedded in its owner. `lock` (may be NULL) is held around fn. */
struct exec_work { struct list node; struct executor *executor; pthread_mutex_t *lock; void (*fn)(void *opaque); void *opaque; bool queued; };
void exec_work_init(struct exec_work *, struct executor *, pthread_mutex_t *lock, void (*fn)(void *), void *opaque);
void exec_work_post(struct exec_work *);   /* any thread; posting what is queued already is one run */
void exec_work_cancel(struct exec_work *); /* on return it is not queued and, unless called from its own callback, not running */

/* ---- timers ---------------------------------------------------------------------------------------------------------------------------------------- */

struct exec_timer { struct list node; struct executor *executor; pthread_mutex_t *lock; void (*fn)(void *opaque); void *opaque; uint64_t deadline; bool armed; };
void exec_timer_init(struct exec_timer *, struct executor *, pthread_mutex_t *lock, void (*fn)(void *), void *opaque);
void exec_timer_arm(struct exec_timer *, uint64_t deadline_ns); /* absolute; a deadline in the past fires at once; re-arming moves it */
void exec_timer_cancel(struct exec_timer *);                    /* as exec_work_cancel */

/* ---- descriptors (sockets, pipes, terminals, eventfds) ------------------------------------------------------------------------------------------------ */

enum { EXEC_READABLE = 1, EXEC_WRITABLE = 2 };
/* One watch for each descriptor and executor. Watching may make the descriptor non-blocking. What cannot be waited for (a file, /dev/null) counts as always ready. */
struct exec_watch { struct executor *executor; pthread_mutex_t *lock; int fd; unsigned events; void (*fn)(void *opaque, unsigned events); void *opaque; void *host; };
void exec_watch_init(struct exec_watch *, struct executor *, pthread_mutex_t *lock, int fd, void (*fn)(void *, unsigned events), void *opaque);
int  exec_watch_set(struct exec_watch *, unsigned events, struct err *); /* 0 = stop watching; level-triggered. The descriptor stays the caller's. */
void exec_watch_cancel(struct exec_watch *);

/* ---- blocking work ------------------------------------------------------------------------------------------------------------------------------------- */

/* Runs `run` on a pool thread without any lock, then `done` on the executor with the lock held. Cancelling waits for a running `run`; `done` is then not called.
 * `done` may start it again. A virtual executor runs both inside executor_run_pending(). The pool belongs to the clock: at most EXEC_POOL_THREADS, made when needed. */
enum { EXEC_POOL_THREADS = 4 };
enum exec_offload_state { EXEC_OFFLOAD_IDLE, EXEC_OFFLOAD_QUEUED, EXEC_OFFLOAD_RUNNING, EXEC_OFFLOAD_RAN };
struct exec_offload {
    struct exec_work done;
    struct list node;
    void (*run)(void *opaque);
    void (*finish)(void *opaque);
    void *opaque;
    enum exec_offload_state state; /* under the pool's lock */
};
void exec_offload_init(struct exec_offload *, struct executor *, pthread_mutex_t *lock, void (*run)(void *), void (*done)(void *), void *opaque);
int  exec_offload_start(struct exec_offload *, struct err *); /* ERR_USAGE while it is busy, ERR_HOST without a thread */
bool exec_offload_busy(struct exec_offload *);                /* started, and `done` not yet called */
void exec_offload_cancel(struct exec_offload *);
/* With the device's lock held: waits for `run` and calls `done` here, for a drain before a save. Nothing when idle. */
void exec_offload_finish(struct exec_offload *);

#endif
