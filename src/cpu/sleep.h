/* SPDX-License-Identifier: MIT */
/* sleep.h - one thread waits, any thread wakes it. sleep_linux.c, sleep_posix.c, sleep_windows.c. */
#ifndef CPU_SLEEP_H
#define CPU_SLEEP_H

#include <stdint.h>

struct cpu_sleep;

struct cpu_sleep *cpu_sleep_new(void); /* NULL: no memory */
void cpu_sleep_free(struct cpu_sleep *);
/* Returns when it was woken since the last return, after `ns` nanoseconds (UINT64_MAX: never), or for no reason. One thread. */
void cpu_sleep_wait(struct cpu_sleep *, uint64_t ns);
/* Any thread, async-signal-safe. Cheap when nobody waits. */
void cpu_sleep_wake(struct cpu_sleep *);
/* Lets another thread run. */
void cpu_sleep_yield(void);

#endif
