/* SPDX-License-Identifier: MIT */
/* compile.h - one block on its way to host code: between compile.c, flags.c, access.c, copy.c and branch.c. */
#ifndef CPU_TRANSLATE_COMPILE_H
#define CPU_TRANSLATE_COMPILE_H

#include "cpu/translate/private.h"

/* What an instruction does to the arithmetic flags. */
enum flags_effect {
    EFFECT_NONE,
    EFFECT_SETS,     /* all six, whatever they were (or leaves them undefined)           */
    EFFECT_SETS_BUT_CARRY, /* INC, DEC                                                   */
    EFFECT_READS,    /* and changes none                                                 */
    EFFECT_MIXES,    /* reads some, or may leave some as they are                        */
};

enum { STUBS_MAX = 512, GROUPS_MAX = TRANSLATE_GROUPS };

/* Accesses that share a lookup (plan.c): bytes [lo, hi) from what the guest register was when its version began. */
struct group {
    unsigned reg, version, count;
    int32_t lo, hi;
    bool write;            /* one of them stores                                         */
    bool checked;          /* its addend is in translate_state.addends, and maybe held   */
    bool updates;          /* one reads and writes: the addend becomes the host's address of byte `origin` */
    int32_t origin;
    uint8_t aligned;       /* an access at `residue` modulo 16 was found aligned         */
    uint8_t residue;
};

struct member { struct group *group; int32_t at; }; /* group NULL or of one: a lookup of its own */
struct plan { struct member operand, stack; };      /* of an instruction: its ModRM operand, what it pushes or pops */

/* A stub to be written behind the block. */
struct stub {
    uint8_t *jump;         /* the displacement that leads to it, writable view           */
    uint32_t site;
};

struct compile {
    struct cpu *cpu;
    struct translator *t;
    struct emit *e;
    struct block *block;
    struct translation *to;
    bool small;            /* calls shared code (shared.c)                               */
    const struct uop *u;   /* the instruction at work */
    struct insn in;
    const uint8_t *bytes;
    unsigned word;         /* bytes of addresses and of what the stack holds: 8, or 4 in 32-bit code, whose guest registers are 0 above bit 31 */
    enum flags_place flags;
    struct recipe recipe;
    bool carry_saved;      /* translate_state.flags holds the CF that the last INC or DEC kept */
    struct stub stubs[STUBS_MAX];
    unsigned stub_count;
    struct group groups[GROUPS_MAX];
    unsigned group_count;
    struct group *held[2]; /* whose addend SCRATCH_1 and SCRATCH_2 hold                   */
    struct plan plans[BLOCK_MAX];
    struct insn taken[BLOCK_MAX]; /* by compile_take(), those with length not 0           */
    uint16_t x87_last;     /* of this segment, as in struct site */
    bool failed;           /* the block as a whole */
};

/* flags.c */
enum flags_effect flags_effect_of(const struct insn *);
void flags_clobber(struct compile *);                /* call before code of ours that changes RFLAGS */
void flags_save(struct compile *);                   /* flags are in translate_state.flags (too)     */
void flags_make_native(struct compile *);            /* flags are in RFLAGS (too)                    */
void flags_before(struct compile *, enum flags_effect);
void flags_after(struct compile *, const struct insn *, enum flags_effect);
void flags_register_changes(struct compile *, unsigned guest); /* before an instruction that changes the register; uses SCRATCH_0 */
bool flags_need_carry_only(const struct compile *, enum flags_effect);

/* access.c */
bool access_is_possible(const struct compile *, const struct insn *);
/* The operand of `size` bytes at the ModRM address, ready for one host instruction; uses SCRATCH_0 to 2, leaves SCRATCH_0 free. */
struct host_memory access_operand(struct compile *, const struct insn *, unsigned size, bool write, bool aligned);
/* The same at host register + disp (a guest register's, or SCRATCH_1). */
struct host_memory access_at(struct compile *, struct member, int base, int32_t disp, unsigned size, bool write);
/* The same, read, at SCRATCH_1, which is ready since `retry`; flags are saved. */
struct host_memory access_scratch(struct compile *, uint8_t *retry, unsigned size);
/* SCRATCH_2 becomes the addend of `size` bytes at a guest register; flags are saved. */
void access_addend(struct compile *, int base, unsigned size, bool write);
/* The word of a bit string that holds the bit that opnd[1] says; leaves SCRATCH_0 free. */
struct host_memory access_bit_string(struct compile *, const struct insn *, bool write);
/* In a small translation: makes the flags ready for a call of shared code, and answers whether that is to keep RFLAGS. */
bool access_keeps_flags(struct compile *);
/* Calls the set's PUSH or POP, for which SCRATCH_1 is ready since `retry`. */
void access_call(struct compile *, const uint8_t *shared, uint8_t *retry, bool write);
void access_scratch_changes(struct compile *, int scratch); /* before it is used for anything but an addend */
void access_effective(struct compile *, const struct insn *, int to, bool wide); /* LEA */

/* copy.c */
int register_of(unsigned guest);                     /* the host register, NO_REGISTER: in memory    */
struct host_memory register_slot(const struct compile *, unsigned guest);
int register_read(struct compile *, unsigned guest, int scratch); /* the host register that holds it */
unsigned copy_memory_size(const struct insn *, bool *write); /* of the ModRM operand   */
bool copy_updates_memory(const struct insn *);               /* it is read and written */
bool copy_has_feature(const struct compile *, const struct insn *); /* the host and the guest */
bool copy_is_possible(const struct compile *, const struct insn *);
void copy_instruction(struct compile *);

/* branch.c */
bool branch_is_possible(const struct compile *, const struct insn *);
void branch_instruction(struct compile *);
/* Compares translate_state.page and the generation of the code's translations with two constants, takes SCRATCH_0 and SCRATCH_1. Answers where the page's is; the
 * generation's is PLACE_GENERATION bytes behind it, PLACE_GENERATION_SMALL in a small translation, which calls shared code. */
uint8_t *branch_compare_place(struct compile *);
/* Whether the block's last instruction is a conditional branch to its own start. */
bool branch_is_loop(const struct compile *, const struct insn *);
void branch_poll(struct compile *);                  /* leaves to the block's start for a request; flags can be had */
void branch_end(struct compile *, unsigned offset);  /* the block just goes on at `offset`           */
void branch_to_found(struct compile *, const void *tag); /* to SCRATCH_1, by the jumps of the tag there */

/* string.c */
bool string_is_possible(const struct insn *);
void string_instruction(struct compile *);

/* x87.c */
bool x87_is_possible(const struct compile *, const struct insn *);
bool x87_is_wanted(const struct insn *);             /* works on x87 or MMX registers        */
void x87_instruction(struct compile *);
void x87_store_pointer(struct compile *);            /* FIP is in state.x87.fip; uses SCRATCH_0 */

/* system.c */
bool system_is_possible(const struct compile *, const struct insn *);
void system_instruction(struct compile *);
bool system_reaches_beyond(const struct insn *);     /* a bit string's bit is outside its operand */

/* plan.c */
void plan_segment(struct compile *, unsigned number, unsigned end);

/* compile.c */
bool compile_is_quiet(const struct insn *);          /* does nothing                          */
bool compile_take(struct compile *, unsigned number);
uint32_t site_new(struct compile *, enum site_kind);
void stub_new(struct compile *, uint8_t *jump, uint32_t site); /* with the flags as they are now; several jumps may lead to a site, with the same flags */
void site_leave(struct compile *, uint32_t site);    /* leaves here */
void site_leave_to(struct compile *, uint32_t site, const uint8_t *thunk); /* jumps to a thunk with the number in SCRATCH_0 */
void site_call(struct compile *, uint32_t site, const uint8_t *shared); /* calls shared code, which may leave by the site */
bool compile_read(const struct block *, const struct uop *, struct insn *); /* as its code is to be read */
/* Loads and stores of c->word bytes; to = base + disp as an address. */
void compile_load_word(struct compile *, unsigned reg, struct host_memory);
void compile_store_word(struct compile *, struct host_memory, unsigned reg);
void compile_add_to(struct compile *, unsigned to, unsigned base, int32_t disp);
static inline bool compile_is_wide(const struct compile *c) { return c->word == 8; }
static inline struct site *site_at(const struct compile *c, uint32_t site) { return &c->t->sites[site]; }

#endif
