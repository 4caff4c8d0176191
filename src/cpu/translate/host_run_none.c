/* SPDX-License-Identifier: MIT */
/* host_run_none.c - hosts without AVX-512 for guests. */
#include "cpu/translate/host_run.h"

#include <string.h>

void host_run_new(struct cpu *cpu) { cpu->host_runner = NULL; }
void host_run_free(struct cpu *cpu) { (void)cpu; }

void host_run_features(const struct cpu *cpu, uint64_t features[4])
{
    (void)cpu;
    memset(features, 0, 4 * sizeof *features);
}

void host_run(struct cpu *cpu, const struct insn *in, struct host_frame *f) { (void)cpu, (void)in, (void)f; }
