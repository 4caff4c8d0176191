/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <windows.h>

#define NS_PER_SECOND        UINT64_C(1000000000)
#define FILETIME_UNIX_EPOCH  UINT64_C(116444736000000000) /* 1601 to 1970 in 100 ns */

uint64_t clock_ns(void)
{
    LARGE_INTEGER count, frequency;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    uint64_t ticks = (uint64_t)count.QuadPart, hz = (uint64_t)frequency.QuadPart;
    return ticks / hz * NS_PER_SECOND + ticks % hz * NS_PER_SECOND / hz;
}

uint64_t clock_wall_ns(void)
{
    FILETIME t;
    GetSystemTimePreciseAsFileTime(&t);
    return (((uint64_t)t.dwHighDateTime << 32 | t.dwLowDateTime) - FILETIME_UNIX_EPOCH) * 100;
}

uint64_t clock_thread_ns(void)
{
    FILETIME created, ended, kernel, user;
    GetThreadTimes(GetCurrentThread(), &created, &ended, &kernel, &user);
    return (((uint64_t)kernel.dwHighDateTime << 32 | kernel.dwLowDateTime) + ((uint64_t)user.dwHighDateTime << 32 | user.dwLowDateTime)) * 100;
}
