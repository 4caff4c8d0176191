/* SPDX-License-Identifier: MIT */
/* block.h - decoded blocks: runs of micro-operations, found by where their bytes lie in host memory.
 *
 * A block is decoded once from the bytes at (memory block, page, offset) for one block_key, and holds for every linear address that shows the page. It has one
 * entry, ends at a branch, at what may change the mode, at the page's end or after BLOCK_MAX instructions. An instruction that crosses a page is a
 * block of its own, kept with both pages, and looked at again whenever translations may have changed.
 *
 * Memory: one arena for each CPU, in chunks, bounded; when it is full everything goes and the cache starts over. Blocks whose bytes were written die at once:
 * their first micro-operation is replaced, so that chains into them end. Their memory returns with the next flush.
 *
 * Own stores, and other threads' (queued, CPU_REQ_CODE), are noticed in lines of 64 bytes: each code page has a 64-bit map of lines with code, set under
 * the engine's lock before the bytes are read (memory.h: writers), and looked at under it by whoever wrote. A page whose flag makes many stores slow for nothing
 * is given up: its blocks die and the flag goes, until code is decoded from it again.
 */
#ifndef CPU_BLOCK_H
#define CPU_BLOCK_H

#include <string.h>

#include "cpu/engine.h"

enum {
    BLOCK_MAX = 64,                    /* instructions of a block                                     */
    BLOCK_BYTES_MAX = BLOCK_MAX * 15,
    ARENA_CHUNK = 1 << 20,
    ARENA_CHUNKS_MAX = 64,             /* 64 MiB of blocks a CPU                                      */
    CODE_PAGE_BUCKETS = 4096,
    JUMP_CACHE_ENTRIES = 4096,
    WRITTEN_MAX = 64,                  /* queued writes of other threads; more flush everything       */
    BLOCK_HOT = 4,                     /* runs of a block before it is translated                      */
    BLOCK_HOT_AGAIN = 16,              /* and before it is translated again, after its translation had to make room */
    USELESS_MAX = 64,                  /* writes to a code page that met no code, until it is given up */
};

struct uop;
typedef void uop_fn(struct cpu *, const struct uop *);

/* One instruction of a block. dst, src, base, index, segment: byte offsets from state.gpr[0] (so also of AH, of rip, of zero and of segment bases). */
struct uop {
    uop_fn *fn;
    union { uint64_t imm; const struct insn *insn; };
    int32_t  disp;          /* of the address; of a branch: target - address of the block                       */
    uint8_t  dst, src, base, index;
    uint8_t  scale, cut;    /* cut: 64 - address bits                                                           */
    uint16_t segment;
    uint16_t offset;        /* of the instruction in the block                                                  */
    uint8_t  length;
    uint8_t  number;        /* of the instruction in the block, and of this in uops[]                           */
};

/* Follows a branch's micro-operation. Exits: 0 falls through, 1 is taken. */
struct chain {
    const struct uop *to[2]; /* in the same page; NULL: not known */
    uint64_t crosses[2];     /* 1: it leads elsewhere, to what the jump cache has at that address: the page may be shown at two addresses, with others behind it */
};
_Static_assert(sizeof(struct uop) == 32 && sizeof(struct chain) == 32, "chains live among micro-operations");

struct code_page;

struct block {
    struct block *next;                 /* in its page's bucket                                      */
    struct block *next_tail;            /* in second->tails                                          */
    struct code_page *page, *second;    /* second: where a page-crossing instruction goes on         */
    uint32_t key;
    uint16_t start, bytes;              /* in the page                                               */
    uint16_t count;                     /* instructions                                              */
    uint16_t slots;                     /* of uops[], chain included                                 */
    bool dead;
    bool straddles;                     /* translate/: a range of accesses often crosses a page      */
    uint8_t heat;                       /* runs until it is translated                               */
    uop_fn *first;                      /* the first micro-operation's handler, while another stands in its place */
    struct translation *translation;    /* translate/; NULL: none                                    */
    const struct uop *forward;          /* of a dead block: what has taken its place                 */
    const uint8_t *code;                /* copy of the bytes                                         */
    struct uop uops[];
};

struct code_page {
    struct code_page *next;             /* in the bucket                                             */
    struct mem_block *memory;
    size_t offset;
    _Atomic uint64_t lines;             /* bit i: code in bytes [64 i, 64 i + 64)                     */
    struct block *buckets[16];          /* by start / 4                                              */
    struct block *tails;                /* blocks that start in another page and end here            */
    _Atomic uint32_t useless;           /* writes that met no code since the page was armed           */
};

/* Holds while (tag ^ cpu->fetch_tag) & mask is 0. */
struct jump_entry { uint64_t rip, tag, mask; const struct uop *to; };

static inline struct jump_entry *jump_at(struct cpu *cpu, uint64_t rip)
{
    return &cpu->jump_cache[(rip ^ rip >> 12) & (JUMP_CACHE_ENTRIES - 1)];
}

static inline struct block *block_of(const struct uop *u)
{
    return container_of(u - u->number, struct block, uops);
}

/* An empty entry holds an address of another slot, so that it never answers: 0, but 1 in the slot of 0. */
static inline void jump_cache_clear(struct cpu *cpu)
{
    memset(cpu->jump_cache, 0, JUMP_CACHE_ENTRIES * sizeof *cpu->jump_cache);
    cpu->jump_cache[0].rip = 1;
}

/* engine_private.h's view of the cache. */
struct block_cache {
    uint8_t *chunks[ARENA_CHUNKS_MAX];
    unsigned chunk_count, chunk;
    size_t used, high;                  /* of the current chunk: free from one to the other          */
    struct code_page *pages[CODE_PAGE_BUCKETS];
    struct code_page *free_pages;
    uint32_t killed;                    /* grows with each block that dies: "did my store hit code?" */
};

int  block_cache_new(struct block_cache *, struct err *);
void block_cache_free(struct cpu *);
void block_cache_flush(struct cpu *);

/* The block at the present rip and mode; decodes it when need be. May raise a fetch fault (state.rip exact, cpu->uop NULL). */
struct block *block_find(struct cpu *);
/* A block of one instruction, decoded afresh into the engine's scratch space, known to nobody. */
struct block *block_make_one(struct cpu *);
/* Kills what lies in the bytes. Owner's thread. */
void block_cache_written(struct cpu *, struct mem_block *, size_t offset, size_t len);
/* Whether the owner must hear of the write: it touches a line with code, or the page is to be given up. Any thread, under the engine's lock. */
bool block_cache_touches(struct cpu *, struct mem_block *, size_t offset, size_t len);

/* ---- lower.c: from decoded instructions to micro-operations ------------------------------------------------------------------------------------- */

struct lowering {
    const struct cpu *cpu;
    struct insn *keep;    /* where a copy of the instruction goes if its micro-operation needs it ... */
    bool kept, ends;      /* ... which this says; and that the block ends here                        */
    bool chained;         /* the micro-operation wants a struct chain behind it                      */
};
/* Fills *u (number, offset and length are set); u[-1] may be joined with it when number is not 0. */
void lower_instruction(struct lowering *, const struct insn *, struct uop *u);
/* An instruction that raises `vector` (#UD, or #GP(0)) whenever it runs. */
void lower_fault(struct uop *u, unsigned vector);
/* The end of a block that just goes on; wants a chain. */
void lower_end(struct uop *u);
void chain_clear(struct chain *);

#endif
