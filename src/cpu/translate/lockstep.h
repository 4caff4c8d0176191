/* SPDX-License-Identifier: MIT */
/* lockstep.h - engines E0 and E1 side by side: every run of translated code is done again by the interpreter, and what both did must be the same. See lockstep.c. */
#ifndef CPU_TRANSLATE_LOCKSTEP_H
#define CPU_TRANSLATE_LOCKSTEP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct block;
struct cpu;
struct fast_tlb;
struct lockstep;
struct uop;

struct lockstep_statistics { uint64_t compared, skipped, races; };

/* Of a vCPU whose VM wants lockstep and that has a translator. ERR_HOST without memory. */
int  lockstep_new(struct cpu *, struct err *);
void lockstep_free(struct cpu *);
/* In place of translate_run(), with the same answers. At a difference it leaves with HY_EXIT_UNKNOWN, whose raw bytes are a line of text for a person. */
const struct uop *lockstep_run(struct cpu *, struct block *, unsigned number);
/* The translator has just filled the entry of the page at `linear`: afterwards translated code stores to a copy of it. */
void lockstep_redirect(struct cpu *, struct fast_tlb *, uint64_t linear, bool write);
void lockstep_statistics_get(const struct cpu *, struct lockstep_statistics *out);

#endif
