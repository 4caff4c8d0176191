/* SPDX-License-Identifier: MIT */
#ifndef TESTS_CPU_RANDOM_WATCH_H
#define TESTS_CPU_RANDOM_WATCH_H

/* Calls `function(of)` from a signal's handler after some seconds of CPU time; NULL: not any more. */
void watch(void (*function)(void *), void *of);

#endif
