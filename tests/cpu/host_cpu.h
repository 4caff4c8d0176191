/* SPDX-License-Identifier: MIT */
/*
 * Whether a test may hold the software CPU against the host's processor in everything. Where the manuals leave the choice to the processor the
 * software CPU does as Intel's do since 2015: FDP follows unmasked exceptions only, FCS and FDS are zero (CPUID.(7,0):EBX[6], [13]).
 * tests/cpu/diff, which knows what others do (diff/host.c), runs on those too.
 */
#ifndef TESTS_CPU_HOST_CPU_H
#define TESTS_CPU_HOST_CPU_H

#include <cpuid.h>
#include <stdbool.h>
#include <stdio.h>

/* Says on stderr why not. */
static inline bool host_cpu_is_model(void)
{
    unsigned a, b, c, d;
    bool intel = __get_cpuid(0, &a, &b, &c, &d) && b == signature_INTEL_ebx && d == signature_INTEL_edx && c == signature_INTEL_ecx;
    bool pointers = intel && __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 6 & 1 && b >> 13 & 1;
    if (!pointers)
        fprintf(stderr, "the host's processor makes other choices than the software CPU\n");
    return pointers;
}

#endif
