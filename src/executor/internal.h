/* SPDX-License-Identifier: MIT */
/* internal.h - what the files of this folder share; nobody else includes it. */
#ifndef EXECUTOR_INTERNAL_H
#define EXECUTOR_INTERNAL_H

#include "executor/executor.h"

struct exec_pool;

/* What differs between the kinds. All called with executor.lock held, except free. */
struct executor_ops {
    void (*wake)(struct executor *);                /* there is work, or the earliest deadline moved                    */
    int  (*watch_set)(struct exec_watch *, unsigned events, struct err *);
    void (*watch_cancel)(struct exec_watch *);      /* may drop the lock meanwhile; running callbacks are waited for by the caller */
    bool (*run_pending)(struct executor *);         /* cooperative and virtual only, lock not held                      */
    bool inline_runs;                               /* virtual: nobody else runs it                                     */
    void (*hold)(struct executor *, bool hold);     /* NULL: nothing to hold                                            */
    void (*free)(struct executor *);                /* stops, releases what the kind owns and the structure             */
};

struct executor {
    const struct executor_ops *ops;
    struct exec_clock *clock;
    struct list clock_node;    /* in the clock's list                                                  */
    pthread_mutex_t lock;      /* a leaf: guards all below and the fields of works, timers and watches  */
    pthread_cond_t idle;       /* `running` changed                                                    */
    struct list works, timers; /* timers by deadline                                                   */
    const void *running;       /* the item whose callback runs, NULL: none                             */
    pthread_t runner;          /* who runs it                                                          */
    unsigned waiting;          /* cancels that wait for it                                             */
    unsigned armed;            /* timers in the list                                                   */
};

int  exec_init(struct executor *, const struct executor_ops *, struct exec_clock *, struct err *);
void exec_fini(struct executor *);

/* One round, lock held (dropped around callbacks): each work and each due timer that was there at the start. True when something can run again now. `*contended` says that
 * a device's lock was taken. */
bool exec_dispatch(struct executor *, bool *contended);

/* Runs a watch's callback, lock held (dropped meanwhile). False: its lock is taken, nothing was done. */
bool exec_run_watch(struct executor *, struct exec_watch *, unsigned events);

/* Deadline of the first timer in VM time, UINT64_MAX: none. Lock held. */
uint64_t exec_next_deadline(const struct executor *);

/* Waits until `item` is not running, unless the caller is its callback. Lock held, dropped while waiting. */
void exec_wait_not_running(struct executor *, const void *item);

/* The moment of a VM-time deadline on the host's clock (clock_ns()); UINT64_MAX while frozen. */
uint64_t exec_clock_host_time(struct exec_clock *, uint64_t vm_ns);
struct exec_pool *exec_clock_pool(struct exec_clock *);
void exec_clock_join(struct exec_clock *, struct executor *);
void exec_clock_leave(struct exec_clock *, struct executor *);

struct exec_pool *exec_pool_new(struct err *);
void exec_pool_free(struct exec_pool *);

/* Wakes a libuv loop at a moment of the host's clock, to the microsecond where the host can. One file per host family. */
struct exec_alarm;
struct exec_alarm *exec_alarm_new(void *uv_loop, struct err *);
void exec_alarm_set(struct exec_alarm *, uint64_t host_ns); /* UINT64_MAX: never. Loop thread only */
void exec_alarm_close(struct exec_alarm *);                 /* frees itself when the loop next runs */

/* Names the calling thread for debuggers, where the host can. In the same file. */
void exec_name_thread(const char *name);

/* Sleeps a moment, when only taken locks stand in the way. */
void exec_backoff(void);

#endif
