/* SPDX-License-Identifier: MIT */
/* engine_private.h - inside the engine: engine.c, block.c, lower.c, handlers_*.c. Owner's thread, except where said. */
#ifndef CPU_ENGINE_PRIVATE_H
#define CPU_ENGINE_PRIVATE_H

#include <pthread.h>

#include "cpu/block.h"
#include "cpu/decode.h"
#include "cpu/exec_int.h"
#include "cpu/page_set.h"
#include "cpu/soak.h"

/* Meson gives another one where the host's setjmp() unwinds the stack by tables on the way (Windows). */
#ifndef CPU_SETJMP
#define CPU_SETJMP(buffer) setjmp(buffer)
#endif

struct written { struct mem_block *memory; size_t offset, len; };

enum { FETCH_FILTER_BITS = 32768 };

struct cpu_engine {
    struct cpu *cpu;
    struct block_cache cache;
    struct cpu_statistics statistics;
    uint64_t general[OP_COUNT];        /* by enum insn_op: instructions done by an exec_*() function         */

    /* the exit of a chain that found no target, to be linked once the target is known; NULL: none */
    struct chain *link_from;
    unsigned link_exit;
    struct block *dead_from;          /* a dead block was entered: its successor will be linked in its place */
    const struct uop *miss_uop;         /* the last that missed the TLB, and how many instructions had been counted then */
    uint64_t miss_instructions;

    uint32_t fetch_last;              /* the last value that fetch_generation was given                      */
    /* Pages that code was found in since fetch_generation moved as a whole: by global translations, and, hashed to bits, by others. */
    struct page_set fetch_global;
    uint64_t fetch_local[FETCH_FILTER_BITS / 64];
    bool answer_due;                  /* cpu->exit waits for its answer                                      */
    uint64_t soak_random, soak_boundaries; /* soak.c                                                     */
    uint32_t soak_one_block;          /* blocks with room for one translation still to come                  */
    struct cpu_soak_statistics soaked;
    uint32_t pauses;                  /* PAUSE instructions, to yield at some                                */

    /* code_written(), any thread */
    struct mem_listener listener;
    pthread_mutex_t lock;             /* written*, and the hash of code pages against its readers            */
    pthread_t owner;
    _Atomic bool owned;
    struct written written[WRITTEN_MAX];
    unsigned written_count;
    bool written_overflow;

    /* block_make_one() */
    struct insn one_insn;
    uint8_t one_code[16];
    _Alignas(struct block) uint8_t one[sizeof(struct block) + 4 * sizeof(struct uop)];
};

static inline bool engine_requested(const struct cpu *cpu)
{
    return atomic_load_explicit(&cpu->requests, memory_order_relaxed) != 0;
}

static inline uint64_t linear_of_rip(const struct cpu *cpu, uint64_t rip)
{
    return cpu->mode == CPU_MODE_64 ? rip : (uint32_t)(cpu->state.seg[SEG_CS].base + rip);
}

#endif
