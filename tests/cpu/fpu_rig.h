/* SPDX-License-Identifier: MIT */
/* fpu_rig.h - runs one instruction on the host and the same bytes through insn_decode() and exec_*(), from one state, for comparison.
 *
 * The guest's linear addresses are the rig's own host addresses, so both sides may use one pointer; each side works on a copy of the memory operand.
 * RDI points at the operand. x86-64 Linux hosts with XSAVE only. */
#ifndef TESTS_FPU_RIG_H
#define TESTS_FPU_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/cpu.h"
#include "cpu/insn.h"
#include "fpu_rig_host.h"

struct rig;

struct rig *rig_new(void);
void rig_free(struct rig *);
/* Decodes `length` bytes; false when the decoder says #UD. */
bool rig_decode(const uint8_t *code, unsigned length, struct insn *out);
/* Runs the bytes on the host, from *state into *state. */
void rig_run_host(struct rig *, const uint8_t *code, unsigned length, struct rig_state *state);
/* Executes *in with `exec`. */
void rig_run_ours(struct rig *, const struct insn *in, void (*exec)(struct cpu *, const struct insn *), struct rig_state *state);

#endif
