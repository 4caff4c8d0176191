/* SPDX-License-Identifier: MIT */
/* counters.h - the files of `mezz run` that look into its CPUs: --counters and --perf-map. Both are open before the sandbox is there. */
#ifndef CLI_COUNTERS_H
#define CLI_COUNTERS_H

#include <stdio.h>

#include "base/error.h"
#include "machine/machine.h"

/* What stands before the vCPUs' own counters: (of - less) / by * factor, each the sum of all vCPUs' counters of that name of group "translator"; NULL: 0, or 1. It is
 * left out where `of` or `by` is 0. The last has no name. */
struct counters_sum { const char *name, *of, *less, *by; double factor; const char *meaning; };
extern const struct counters_sum counters_sums[];

/* The counters of all vCPUs as one JSON object, behind those sums. After machine_run(). */
void counters_write(FILE *, const struct machine *, uint32_t cpus);
/* /tmp/perf-PID.map, empty, as perf(1) and tools/gdb-guest.py look for it: *out is its descriptor. */
int  perf_map_open(int *out, struct err *);

#endif
