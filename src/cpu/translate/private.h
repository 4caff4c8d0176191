/* SPDX-License-Identifier: MIT */
/* private.h - inside the translator.
 *
 * Registers in translated code. Eleven guest registers are in the host registers of the same name, RSP in R15; R10, R11, R14 and R15 stay in cpu_state.gpr, since the host
 * needs a stack pointer and we need three registers to work with: R10, R11, R14 (SCRATCH_0 to 2). Vector registers are the host's while `vectors_live`. struct cpu is
 * below 2 GiB, so its fields have absolute addresses and need no base register.
 *
 * Flags. The guest's arithmetic flags are in RFLAGS where instructions left them. What we need flags for ourselves - comparing tags - clobbers them, so before that
 * they go to translate_state.flags, or they are remembered as a recipe: a comparison whose operands still stand, to be done again when somebody wants to know. At
 * every point where E0 may take over they can be had, so that what a fault pushes is exact.
 *
 * Memory. An access computes the linear address, looks into the fast TLB of the block's rights and uses the host address found. Anything else - a miss, a page crossing -
 * leaves by a stub to translate_run(), which fills the entry and goes on at the access, or hands the instruction to E0.
 *
 * Returns. In translated code the host's stack holds pairs: the guest's return address, and where the host's CALL will return to, which is code that goes on there
 * (branch.c). It is a ring of RETURN_STACK bytes, so that calls without RETs need no test: the bit of that value is set in RSP before each push. In the place where
 * an empty ring would be popped lies a pair whose code is `found`. It is emptied whenever translated code is entered, so nothing in it outlives a translation or an
 * address space, and by SYSCALL; only 64-bit user code has it, so it is all of one mode. The guest chooses whether a RET finds its address there, not where the host
 * goes: every pair in the ring is true.
 *
 * Addresses. A block is where its bytes are in memory, not at an address; translate_state.page says at which page the running code is, and everything is relative to it.
 */
#ifndef CPU_TRANSLATE_PRIVATE_H
#define CPU_TRANSLATE_PRIVATE_H

#include "cpu/engine_private.h"
#include "cpu/flags.h"
#include "cpu/handlers.h"
#include "cpu/translate/code_memory.h"
#include "cpu/translate/emit.h"
#include "cpu/translate/translate.h"

enum { SCRATCH_0 = R10, SCRATCH_1 = R11, SCRATCH_2 = R14, GUEST_RSP = R15 };

enum {
    CODE_BYTES = 32 << 20,        /* of the code cache of one vCPU                                  */
    REGIONS = 16,                 /* equal parts of it, which are evicted one at a time              */
    CODE_BLOCK_MAX = 32 << 10,    /* room that a block's translation always finds                   */
    SITES_MAX = 1 << 19,          /* the last is the one of `found`                                  */
    SITES_BLOCK_MAX = 4096,       /* as CODE_BLOCK_MAX                                               */
    RECORDS_MAX = SITES_MAX / 4,
    SITE_BY_CALL = SITES_MAX,     /* left by leave_call: translate_state.left_at tells                */
    ENTRIES_MAX = 8,              /* of one translation: its start, and behind what E0 did for it   */
    SEGMENT_MIN = 3,              /* instructions between two that E0 does, to be worth an entry    */
    LEFT_CACHE = 1 << 14,
    JUMPS_EVICTED = 1 << 10,
    MXCSR_MASKS = 0x1f80, FCW_MASKS = 0x3f,
    X87_LINGERS = 16,             /* entries with the x87 loaded after the last that wanted it, if vectors are wanted */
    SAMPLE_PERIOD = 4096,         /* look-ups and polls of small translations until one is made large, on the average */
    RETURN_STACK = 8 << 10,       /* bytes of the ring of return addresses; a power of two               */
    RETURN_ENTRY = 16,            /* where RET goes on in host code, and the guest's return address      */
    STRADDLES_MAX = 50,           /* ranges that crossed a page, until a block is compiled without groups */
};

/* branch_compare_place(): the page's constant itself, CMP, JNE, and CMP up to the generation's; in a small translation MOV. */
enum { PLACE_GENERATION = 8 + 8 + 2 + 7, PLACE_GENERATION_SMALL = 8 + 2 };

/* Where the guest's arithmetic flags are. */
enum flags_place {
    FLAGS_NATIVE, /* RFLAGS only                                             */
    FLAGS_SAVED,  /* translate_state.flags only                              */
    FLAGS_BOTH,
    FLAGS_RECIPE, /* in neither: a recipe brings them back                   */
};

enum recipe_kind { RECIPE_NONE, RECIPE_COMPARE, RECIPE_TEST, RECIPE_ADD, RECIPE_SUBTRACT,
    RECIPE_INCREMENT, RECIPE_DECREMENT /* and CF is in translate_state.flags */ };

/* How to bring the flags back: an instruction that sets them all from registers that still hold what they held. */
struct recipe {
    uint8_t kind, size;    /* operand bytes: 1, 2, 4, 8                                  */
    int8_t first, second;  /* the guest's registers; second NO_REGISTER: `value`        */
    int32_t value;         /* ADD, SUBTRACT: first is the result, value was added        */
};

/* A place where translated code is left. */
enum site_kind {
    SITE_READ, SITE_WRITE,  /* missed the fast TLB: fill and go on at `resume`, or as SITE_INTERPRET */
    SITE_INTERPRET,         /* E0 does `uop` and what follows                                        */
    SITE_JUMP,              /* a direct branch whose target is not linked: to `target`               */
    SITE_LEAVE,             /* a request waits; go on at `target`                                    */
    SITE_FOUND,             /* an indirect branch is done, to the address in SCRATCH_1; nothing is to be linked */
};

struct site {
    uint8_t kind, uop;
    uint8_t flags;                     /* enum flags_place: where the guest's are                    */
    uint8_t base;                      /* SITE_READ, SITE_WRITE: the access is at this host register + target; SCRATCH_1: plain. SITE_JUMP: how often another address space came */
    bool masked;                       /* SITE_READ, SITE_WRITE: of an access that need not happen: no reason for a page fault */
    uint8_t pop;                       /* SITE_INTERPRET: RET, which takes that many bytes off the stack; its target is in SCRATCH_1. 0: another instruction */
    bool calls;                        /* SITE_JUMP: linked by a CALL of the host, whose return address is part of an entry of the return stack */
    bool wants_write;                  /* SITE_READ, SITE_WRITE: the entry must be one for stores    */
    uint16_t size, before;             /* bytes looked up; of these, before the access itself        */
    uint16_t x87_last;                 /* offset from translate_state.page of the last x87 instruction, plus 1; 0: state.x87.fip says */
    struct recipe recipe;
    int32_t target;                    /* from translate_state.page on                               */
    uint32_t resume;                   /* offset in the code memory, as the next three               */
    uint32_t patch, patch_place;  /* SITE_JUMP: the displacement; what branch_compare_place() compares, 0: none */
    uint32_t stub;                     /* the CALL of the thunk that leaves. SITE_JUMP: the displacement leads there, or is part of it, while not linked */
    struct translation *owner, *to;    /* to: linked with                                            */
    struct site *next, *previous;      /* in to->incoming                                            */
};

struct translation {
    struct block *block;
    /* Ways in at its start, in the writable view: flags are in RFLAGS, or in translate_state.flags; and it is known that the guest's vector registers are in
     * the host's if it wants them (live), or that is looked at. */
    uint8_t *native, *saved, *native_live, *saved_live;
    uint8_t *start, *end;              /* all of its code                                            */
    uint32_t first_site;               /* its own are those from here on                             */
    struct site *incoming;
    unsigned straddled;                /* how often a range looked up crossed a page                 */
    enum live live;                    /* wants that much of vectors_live                            */
    bool dead;                         /* never to be entered: its start leaves, which may have been a site's place */
    bool loops;                        /* goes round in its own code                        */
    bool small;                        /* calls shared code: until it is known to be hot              */
    uint8_t *place;                    /* of a block that crosses a page: what branch_compare_place() compares, by which it was last found */
    uint32_t key_behind;               /* the key of blocks that its direct branches lead to          */
    bool global;                       /* compares the kernel's tag instead of all translations' generation */
    unsigned entry_count;
    struct { unsigned uop; uint8_t *code; uop_fn *handler; } entry[ENTRIES_MAX];
};

/* shared.c: by set of the fast TLB, for stores, keeping RFLAGS. */
enum { SHARED_SIZES = 6 /* 1 to 32 bytes */ };
enum indirect { INDIRECT_JUMP, INDIRECT_RETURN, INDIRECT_CALL, INDIRECT_KINDS };
struct shared_code {
    uint8_t *operand[FAST_TLB_SETS][2][2][SHARED_SIZES], *range[FAST_TLB_SETS][2][2];
    uint8_t *push[FAST_TLB_SETS][2], *push_offset[FAST_TLB_SETS][2], *pop[FAST_TLB_SETS][2], *poll[2];
    uint8_t *compare[2];                     /* the page with SCRATCH_0, the generation (global or not) with SCRATCH_1; E: both are */
    uint8_t *restore;                        /* flags from translate_state.flags to RFLAGS            */
    uint8_t *find[INDIRECT_KINDS][2][2];     /* global, saving RFLAGS                                 */
};

/* What the fast TLB had of an address space. */
enum { KEPT_MAX = 256 };
struct fast_kept { uint32_t count, quiet /* turns without a fill */, slot[KEPT_MAX]; struct fast_tlb entry[KEPT_MAX]; };

/* A part of the code cache, and of its sites and records: [first, end) are in use, in the order of their code, up to limit. */
struct region {
    uint8_t *start, *end;
    uint8_t *at;                       /* behind its last translation; of the one being filled, emit.at is */
    uint32_t site_first, site_end, site_limit;
    uint32_t record_first, record_end, record_limit;
};

struct translator {
    struct code_memory memory;
    struct emit emit;
    struct region regions[REGIONS];    /* behind the thunks: a ring                                  */
    struct region *filling;
    uint8_t *leave;                    /* thunk: jump there with the site's number in SCRATCH_0        */
    uint8_t *leave_call;               /* thunk: call it; the site is the one with that call. Shorter, and slower: the host takes its RET for another  */
    uint8_t *leave_stored;             /* the same with the number in translate_state.site              */
    struct shared_code shared;
    uint32_t random;                   /* of when samples are taken                                     */
    uint8_t *found;                    /* stub: leaves by the SITE_FOUND                              */
    void (*enter[LIVE_COUNT][2])(const void *code); /* thunks: run translated code until it leaves, with that much loaded; [1]: with AVX-512's registers too */
    struct site *sites;                /* SITES_MAX                                                  */
    struct { uint32_t stub, site; } *left_cache; /* of the sites last left by calls: LEFT_CACHE entries, by the place of the call */
    struct translation *records;       /* RECORDS_MAX                                                */
    struct site *link;                 /* just left by it; to be joined with what runs next          */
    uint64_t link_rip;
    uint64_t features[4];              /* of the host, as struct cpu's                               */
    bool lock;                         /* several vCPUs: LOCK is needed                              */
    bool clocked;                      /* clock.c may scale the host's TSC                             */
    uint64_t clock_host, clock_ticks;  /* when the present measurement of its rate began; 0: none      */
    bool avx, avx512;                  /* the host has YMM registers; AVX-512, and lets guests have it */
    unsigned x87_lingers;              /* counts down from X87_LINGERS                               */
    uint32_t *filled[2];               /* slots of the fast TLB, where something global [1] or not [0] may be: set * FAST_TLB_ENTRIES + index */
    uint32_t filled_count[2], entered; /* entered: filled_count[0] when the present address space was entered */
    struct fast_kept *kept;            /* TLB_SPACES of them */
    struct fast_jump *jumps_evicted;   /* JUMPS_EVICTED entries that had to make room in translate_state.jumps */
    uint32_t *jumps_filled, jumps_count; /* entries of translate_state.jumps with a tag                */
    struct translate_statistics statistics;
    uint32_t *left;                    /* by site: how often E0 had to do its instruction            */
    uint64_t left_by_op[OP_COUNT];     /* the same of sites that are gone                            */
    struct lockstep *lockstep;         /* NULL: translated code runs alone                           */
};

/* A slot's number, as in `filled`, and its entry. */
static inline struct fast_tlb *fast_tlb_at(struct cpu *cpu, uint32_t slot) { return &cpu->translate.tlb[slot / FAST_TLB_ENTRIES][slot % FAST_TLB_ENTRIES]; }
/* fast_tlb.info: bits of TLB_INFO_*, and above them where the page's flag byte is. */
enum { FAST_FLAGS_SHIFT = 16 };
static inline _Atomic uint8_t *fast_tlb_flags(const struct fast_tlb *f) { return (_Atomic uint8_t *)(uintptr_t)(f->info >> FAST_FLAGS_SHIFT); }

/* translator.c: what 32-bit code needs before it is entered. */
void translate_cut_registers(struct cpu *);

/* translator.c: every link to it and from it is undone. Its block is E0's again (its first micro-operation, too). */
void translation_unlink(struct translator *, struct translation *);
void translation_take_out(struct block *);

/* region.c: divides the memory from emit.at on; forgets everything, without a word to anybody. */
void regions_make(struct translator *);
void regions_empty(struct translator *);
uint64_t regions_bytes(const struct translator *);
/* Behind the translation's last site. */
uint32_t sites_end(const struct translator *, const struct translation *of);
/* The translation that this code, in the writable view, is of. */
const struct translation *translation_at(const struct translator *, const uint8_t *code);

/* thunks.c: the code that enters and leaves translated code. */
void thunks_emit(struct cpu *);
void shared_emit(struct cpu *);

void flags_emit_save(struct emit *, struct cpu *);
void flags_emit_load(struct emit *, const uint64_t *from); /* into RFLAGS, through RAX */
void flags_emit_restore(struct emit *, struct cpu *);
/* access.c: counts a look-up that found its entry, if the VM wants that. Changes flags. */
void tlb_emit_hit(struct emit *, struct cpu *);
/* flags.c: what a recipe says, after translated code was left. */
uint32_t flags_of_recipe(struct cpu *, const struct recipe *);

/* x87.c: the guest's x87 state between state.x87 and translate_state.x87_image; whether the host's may have it: all exceptions are masked. */
bool x87_is_masked(const struct cpu *);
void x87_to_image(struct cpu *);
void x87_from_image(struct cpu *);

/* inspect.c: before the sites of a region go; when the translation of the block at rip was made, whose code begins at `start` (writable view) and ends at emit.at. */
void inspect_region(struct translator *, const struct region *);
void inspect_made(struct cpu *, const uint8_t *start, uint64_t rip, const struct translation *);

/* branch.c: RET to SCRATCH_1, if that is on top of the return stack; takes `pop` bytes off the guest's. */
void branch_return(struct emit *, int32_t pop);

/* compile.c: the whole of a block; `global`: changes of what is not global are nothing to its code. NULL: nothing worth it, or no room (then emit.full). */
struct translation *compile_block(struct cpu *, struct block *, bool global, bool small);

#endif
