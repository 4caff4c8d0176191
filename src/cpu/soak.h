/* SPDX-License-Identifier: MIT */
/* soak.h - what a test may do to a vCPU at random moments, between blocks, that a guest must not notice. */
#ifndef CPU_SOAK_H
#define CPU_SOAK_H

#include <stdbool.h>
#include <stdint.h>

struct cpu;

/* cpu_vm.soak; NULL but in tests. "every n": with a chance of 1 in n at each block that the engine's loop finds; 0: never. */
struct cpu_soak {
    uint32_t tlb_every;      /* drop translations: all, those that are not global, or a page's              */
    uint32_t code_every;     /* drop all decoded and translated code                                        */
    uint32_t request_every;  /* look for interrupts, timers and changed code for nothing                    */
    uint32_t interrupt_every; /* interrupt as the local APIC's timer, which is too early then; without an APIC of ours: never */
    uint32_t kick_after;     /* leave with HY_EXIT_KICK after so many blocks                                */
    bool one_entry;          /* translated code's TLB has one entry                                         */
    bool one_block;          /* the code cache has room for one translation                                 */
    uint32_t one_block_every, one_block_for; /* or, where that is too slow, from such a moment on for so many blocks */
    uint32_t code_bytes;     /* of the code cache, when it is made: 576 KiB and more; 0: as always           */
    bool unlinked;           /* every other link of one translation to another is not made                  */
    bool short_loops;        /* loops inside translated code are left after each round                      */
    uint32_t flips;          /* lockstep finds these arithmetic flags of translated code changed: it must report that */
    bool flips_undefined;    /* but of those only the ones that the SDM leaves undefined: it must not, as on a host that has others than E0 */
};

/* What was done so far, to see that it was. */
struct cpu_soak_statistics { uint64_t tlb_drops, code_drops, requests, interrupts, one_block, unlinked; };

/* engine.c, at each boundary; owner's thread. */
void cpu_soak_boundary(struct cpu *);
/* Whether a link is not made. */
bool cpu_soak_unlinks(struct cpu *);
/* Whether the code cache has room for no second translation. */
bool cpu_soak_has_one_block(const struct cpu *);

#endif
