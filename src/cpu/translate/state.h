/* SPDX-License-Identifier: MIT */
/* state.h - what translated code shares with the rest of a vCPU: its part of struct cpu. Translated code reaches it at absolute addresses. */
#ifndef CPU_TRANSLATE_STATE_H
#define CPU_TRANSLATE_STATE_H

#include <stdint.h>

enum {
    FAST_TLB_ENTRIES = 65536, /* powers of two. So many that tables of a program's pages fit; what is not used costs nothing */
    FAST_JUMP_ENTRIES = 65536,
    TRANSLATE_GROUPS = 24,    /* accesses of a block that share a lookup: translate/plan.c */
    FAST_TLB_USER_32 = 3,     /* the set of 32-bit code */
    FAST_TLB_SETS = 4,        /* TLB_SUPERVISOR, TLB_SUPERVISOR_SMAP, TLB_USER, and that */
};
#define FAST_NO_TAG UINT64_MAX

/* A translation of the engine's TLB, in the form that translated code wants: tags are linear page numbers. A write tag stands only while stores to the page
 * need nobody's notice (no decoded code, no dirty log): who arms a page's flags stops the vCPUs and drops it. */
struct fast_tlb { uint64_t read_tag, write_tag, addend, info; };

/* Where the translation at a linear address is, while `tag` equals the tag of the running code's kind: translate_state.jump_tags[]. */
struct fast_jump { uint64_t rip, tag, code, page; };

enum live {
    LIVE_NONE,
    LIVE_VECTORS,           /* vector registers and MXCSR                                              */
    LIVE_X87,               /* and x87 and MMX registers                                               */
    LIVE_COUNT
};

/* clock.c: while the host's TSC is less than `window` behind `host`, the VM's clock is `ticks` plus what that is beyond `host`, times rate / 2^32. */
struct translate_clock { uint64_t host, window, rate, ticks, last /* told to the guest */; };

struct translate_state {
    uint64_t page;          /* linear address of the page that the running code lies in               */
    uint64_t flags;         /* arithmetic flags while they are not in the host's                       */
    uint64_t linear;        /* of the access that missed; of a branch's target                        */
    uint64_t temporary;
    uint64_t pushed, kept_rax; /* shared.c                                                            */
    uint64_t frame[5];      /* what IRET takes off the stack                                           */
    uint64_t addends[TRANSLATE_GROUPS];
    struct translate_clock clock;
    uint64_t host_stack;    /* of whoever called translated code                                      */
    uint64_t kernel_tag;    /* fetch_tag without what a change of the local translations moves        */
    uint32_t site;          /* where translated code was left: index into the translator's sites      */
    uint64_t left_at;       /* or the address behind the site's call                                  */
    uint64_t host_flags;    /* RFLAGS then                                                            */
    uint32_t host_mxcsr;
    int32_t samples;        /* look-ups and polls of small translations until one is looked at        */
    uint32_t zmm_live;      /* vectors_live, and AVX-512's registers are there too: the guest has it in XCR0 */
    uint32_t vectors_live;  /* enum live: what of the guest's is in the host's, besides the general registers */
    uint64_t tlb_hits;      /* with cpu_vm.count_tlb: look-ups that found their entry                 */
    _Alignas(16) uint8_t x87_image[512]; /* FXSAVE's: the x87 on its way                                */
    struct fast_tlb tlb[FAST_TLB_SETS][FAST_TLB_ENTRIES];
    struct fast_jump jumps[FAST_JUMP_ENTRIES];
};

#endif
