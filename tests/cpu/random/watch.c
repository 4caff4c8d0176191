/* SPDX-License-Identifier: MIT */
/* watch.c - ends a program that does not end: one may overwrite its fuel. Apart from the rest since the host's <signal.h> has its own REG_RAX. */
#include "watch.h"

#include <signal.h>
#include <stddef.h>
#include <sys/time.h>

enum { SECONDS = 3 /* of CPU time; an ordinary program takes a hundredth of one */ };

static void (*volatile at_end)(void *);
static void *volatile argument;

static void end(int number)
{
    (void)number;
    if (at_end)
        at_end(argument);
}

void watch(void (*function)(void *), void *of)
{
    struct sigaction action = { .sa_handler = end };
    argument = of;
    at_end = function;
    sigaction(SIGPROF, &action, NULL);
    setitimer(ITIMER_PROF, &(struct itimerval){ .it_value.tv_sec = function ? SECONDS : 0 }, NULL);
}
