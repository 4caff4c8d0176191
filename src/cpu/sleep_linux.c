/* SPDX-License-Identifier: MIT */
/* sleep_linux.c - futex(2). */
#include "cpu/sleep.h"

#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { AWAKE, ASLEEP, WOKEN };

struct cpu_sleep { _Atomic uint32_t word; };

struct cpu_sleep *cpu_sleep_new(void) { return calloc(1, sizeof(struct cpu_sleep)); }
void cpu_sleep_free(struct cpu_sleep *sleep) { free(sleep); }

void cpu_sleep_wait(struct cpu_sleep *sleep, uint64_t ns)
{
    uint32_t expected = AWAKE;
    struct timespec timeout = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };
    if (atomic_compare_exchange_strong(&sleep->word, &expected, ASLEEP))
        syscall(SYS_futex, &sleep->word, FUTEX_WAIT_PRIVATE, ASLEEP, ns == UINT64_MAX ? NULL : &timeout, NULL, 0);
    atomic_store(&sleep->word, AWAKE);
}

void cpu_sleep_wake(struct cpu_sleep *sleep)
{
    if (atomic_exchange(&sleep->word, WOKEN) == ASLEEP)
        syscall(SYS_futex, &sleep->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void cpu_sleep_yield(void) { sched_yield(); }
