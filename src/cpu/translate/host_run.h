/* SPDX-License-Identifier: MIT */
/* host_run.h - one instruction of the guest on the host's processor, with the guest's registers and a buffer in place of its memory operand.
 *
 * This is how AVX-512 is executed (exec_evex.c): it is offered only where the host has it, so nobody describes it a second time. Needs a little executable memory,
 * which belongs to the VM, as the translator's does (cpu_vm.host_runner). Owner's thread.
 */
#ifndef CPU_TRANSLATE_HOST_RUN_H
#define CPU_TRANSLATE_HOST_RUN_H

#include "cpu/cpu.h"

/* What goes in and comes out. */
struct host_frame {
    _Alignas(64) uint8_t memory[64];
    _Alignas(64) uint8_t vec[4][64]; /* by operand                                                                        */
    uint64_t mask[8];
    uint64_t gpr;                    /* the operand that is a general register                                            */
    uint64_t flags;                  /* out: RFLAGS                                                                       */
    uint32_t mxcsr, host_mxcsr;
};

/* Makes cpu->host_runner; NULL stays where the host has no AVX-512 or lets nobody make code. */
void host_run_new(struct cpu *);
void host_run_free(struct cpu *);
/* Features of EVEX instructions that the host has, by enum insn_feature; none without cpu->host_runner. */
void host_run_features(const struct cpu *, uint64_t features[4]);
/* Runs an instruction with an EVEX prefix, no gather or scatter, or one of opmask registers. frame.mxcsr must mask all exceptions. Only the operands' registers, and
 * the mask's, are looked at and changed. */
void host_run(struct cpu *, const struct insn *, struct host_frame *);

#endif
