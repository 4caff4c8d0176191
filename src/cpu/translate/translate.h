/* SPDX-License-Identifier: MIT */
/* translate.h - engine E1 as the rest of the CPU sees it: translations of hot blocks into the host's own code (x86-64 hosts; elsewhere none.c).
 *
 * E1 lives inside E0: a block that has run often gets a translation, and its first micro-operation is replaced by uop_translated(), which runs it. Translated blocks
 * jump to each other directly. Whatever a translation cannot do - a fault, a device, an instruction of the system kind - it leaves to E0 at the micro-operation in
 * question, with the state as it is at that instruction's start; so E0 alone defines what instructions do, and each handover is exact.
 * Owner's thread, except where said.
 */
#ifndef CPU_TRANSLATE_H
#define CPU_TRANSLATE_H

#include <stdbool.h>

#include "cpu/cpu.h"
#include "cpu/insn.h"

struct block;
struct translator;
struct translation;
struct uop;

struct translate_statistics {
    uint64_t translations, guest_instructions, guest_bytes, host_bytes; /* made since the start                       */
    uint64_t cache_bytes;                                            /* in use now                                  */
    uint64_t remade;                                                 /* of the translations, second ones of their blocks */
    uint64_t flushes;                                                /* of the whole code cache                     */
    uint64_t evictions;                                              /* of a part of it                             */
    uint64_t entries;                                                /* of translated code from the interpreter     */
    uint64_t links;                                                  /* of one translation to another               */
    uint64_t verified, refused;                                      /* by the verifier (refused: 0 unless the translator is wrong) */
    const char *refusal;                                             /* the last reason for that                    */
    uint64_t lookups;                                                /* in the fast TLB; 0 without cpu_vm.count_tlb */
    uint64_t misses, fills;                                          /* of the fast TLB; of these, filled           */
    uint64_t left_jump, left_request, left_interpret;                /* ways out: to code not yet linked; for a request; for E0 to do one */
};

/* Why this host, or its policy, lets no vCPU have a translator, in a few words; NULL: it does, as far as can be told before. Any thread. */
const char *translate_refusal(void);
/* Makes the vCPU's translator. With `err` unset and no translator when this host or its policy does not let us: *why says so in a few words, and E0 does all. */
int  translate_new(struct cpu *, const char **why, struct err *);
void translate_free(struct cpu *);
void translate_statistics_get(const struct cpu *, struct translate_statistics *out);
/* How often translated code left an instruction to E0, by enum insn_op. */
void translate_left_get(const struct cpu *, uint64_t by_op[OP_COUNT]);

/* Makes room for the translation of any one block, where need be by forgetting the oldest ones; their blocks are as they were before. */
void translate_make_room(struct cpu *);
/* Gives the block a translation if that is possible and worth it. */
void translate_block(struct cpu *, struct block *);
/* Runs from micro-operation `number` of the block, which has an entry there. Answers the micro-operation, of whatever block, that E0 must do next by its own handler, with
 * state.rip its block's address; NULL: state.rip is exact, nothing is half done. */
const struct uop *translate_run(struct cpu *, struct block *, unsigned number);
/* E0's own handler of a micro-operation, whatever stands in its place. */
typedef void translate_handler(struct cpu *, const struct uop *);
translate_handler *translate_handler_of(const struct uop *);

/* The block dies: nothing may enter its translation again. */
void translate_forget(struct cpu *, struct block *);
/* Everything dies. */
void translate_flush(struct cpu *);

/* cpu_tsc(), as RDTSC reads it: never less than translated code has read. */
uint64_t translate_tsc(struct cpu *);
/* The VM's clock was stopped or set. While the vCPU does not run. */
void translate_clock_forget(struct cpu *);

/* The engine's TLB dropped translations: all; those that are not global; one page (in every set of rights); those of user (or supervisor) pages. */
void translate_tlb_flush_all(struct cpu *);
void translate_tlb_flush_nonglobal(struct cpu *);
void translate_tlb_flush_page(struct cpu *, uint64_t linear);
/* The present address space is left, and kept under a number below TLB_SPACES; what was kept under one comes back. Between these the translations that
 * are not global are dropped, as by translate_tlb_flush_nonglobal(). What is kept is good only as long as the caller sees to it. */
void translate_tlb_leave(struct cpu *, unsigned space);
void translate_tlb_enter(struct cpu *, unsigned space);
/* mem_block_arm_code() for a page that this vCPU decodes from: afterwards no vCPU of the VM stores there without notice. May wait for other vCPUs; then it
 * answers true, and whatever the caller has found in guest memory before is void. */
bool translate_arm_page(struct cpu *, struct mem_block *, size_t offset);

#endif
