/* SPDX-License-Identifier: MIT */
/* clock.h - the host's clocks. One file per host family (clock_posix.c, clock_windows.c). */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Nanoseconds of a clock that never steps and counts from an unspecified start. Any thread, async-signal-safe. */
uint64_t clock_ns(void);

/* Nanoseconds since 1970-01-01 UTC. May step. */
uint64_t clock_wall_ns(void);

/* Nanoseconds of processor time that the calling thread has used, in the kernel and in guests too. */
uint64_t clock_thread_ns(void);

#endif
