/* SPDX-License-Identifier: MIT */
/* counters.h - the files of `mezz run` that look into its CPUs: --counters and --perf-map. Both are open before the sandbox is there. */
#ifndef CLI_COUNTERS_H
#define CLI_COUNTERS_H

#include <stdio.h>

#include "base/error.h"
#include "machine/machine.h"

/* The counters of all vCPUs as one JSON object, with the sums "expansion" (bytes of host code for one of guest code) and "cache_mb" (MB of host code) where guest
 * code was translated. After machine_run(). */
void counters_write(FILE *, const struct machine *, uint32_t cpus);
/* /tmp/perf-PID.map, empty, as perf(1) and tools/gdb-guest.py look for it: *out is its descriptor. */
int  perf_map_open(int *out, struct err *);

#endif
