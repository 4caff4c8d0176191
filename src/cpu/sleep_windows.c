/* SPDX-License-Identifier: MIT */
/* sleep_windows.c - an auto-reset event. */
#include "cpu/sleep.h"

#include <stdlib.h>
#include <windows.h>

struct cpu_sleep { HANDLE event; };

struct cpu_sleep *cpu_sleep_new(void)
{
    struct cpu_sleep *sleep = calloc(1, sizeof *sleep);
    if (sleep && !(sleep->event = CreateEventW(NULL, FALSE, FALSE, NULL))) {
        free(sleep);
        return NULL;
    }
    return sleep;
}

void cpu_sleep_free(struct cpu_sleep *sleep)
{
    if (sleep)
        CloseHandle(sleep->event);
    free(sleep);
}

void cpu_sleep_wait(struct cpu_sleep *sleep, uint64_t ns)
{
    uint64_t ms = ns / 1000000 + (ns % 1000000 != 0);
    WaitForSingleObject(sleep->event, ns == UINT64_MAX ? INFINITE : ms >= INFINITE ? INFINITE - 1 : (DWORD)ms);
}

void cpu_sleep_wake(struct cpu_sleep *sleep) { SetEvent(sleep->event); }

void cpu_sleep_yield(void) { SwitchToThread(); }
