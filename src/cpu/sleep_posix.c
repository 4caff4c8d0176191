/* SPDX-License-Identifier: MIT */
/* sleep_posix.c - a semaphore, whose sem_post(3) is async-signal-safe everywhere. */
#include "cpu/sleep.h"

#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

struct cpu_sleep { sem_t semaphore; _Atomic uint32_t posted; };

struct cpu_sleep *cpu_sleep_new(void)
{
    struct cpu_sleep *sleep = calloc(1, sizeof *sleep);
    if (sleep && sem_init(&sleep->semaphore, 0, 0)) {
        free(sleep);
        return NULL;
    }
    return sleep;
}

void cpu_sleep_free(struct cpu_sleep *sleep)
{
    if (sleep)
        sem_destroy(&sleep->semaphore);
    free(sleep);
}

void cpu_sleep_wait(struct cpu_sleep *sleep, uint64_t ns)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    if (ns == UINT64_MAX) {
        sem_wait(&sleep->semaphore);
    } else {
        until.tv_sec += (time_t)(ns / 1000000000);
        until.tv_nsec += (long)(ns % 1000000000);
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        sem_timedwait(&sleep->semaphore, &until);
    }
    atomic_store(&sleep->posted, 0);
}

void cpu_sleep_wake(struct cpu_sleep *sleep)
{
    if (!atomic_exchange(&sleep->posted, 1))
        sem_post(&sleep->semaphore);
}

void cpu_sleep_yield(void) { sched_yield(); }
