/* SPDX-License-Identifier: MIT */
/*
 * The differential tester: random ring-3 instructions with random state, run on the host's processor and on the software CPU, must end in the
 * same state. generate.c makes a case from (seed, number), native.c runs cases in a forked child (whose own code
 * is rig.c), host.c says what is so on some processors only, guest.c on the software CPU, compare.c holds
 * what may differ (results that the manuals leave undefined).
 */
#ifndef TESTS_CPU_DIFF_DIFF_H
#define TESTS_CPU_DIFF_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/decode.h"
#include "cpu/values.h"

/* The linear address space that both sides show to the tested instructions; all else is absent there. */
enum {
    CODE_BASE = 0x10000000, CODE_SIZE = 0x2000, /* read, execute; filled with HLT (a #GP at CPL 3 that ends a case) */
    DATA_BASE = 0x20001000, DATA_SIZE = 0x2000, /* read, write */
    CONST_BASE = DATA_BASE + DATA_SIZE, CONST_SIZE = 0x1000, /* read only */
    FILLER = 0xf4,
    CASE_CODE_MAX = 60, CASE_INSNS_MAX = 4, PATCH_MAX = 40,
};

/* Selectors of a Linux process, which the guest gets too. */
enum { CS_32 = 0x23, DS_ALL = 0x2b, CS_64 = 0x33 };

struct diff_regs {
    uint64_t gpr[16];
    uint64_t rip, rflags, fs_base, gs_base;
    union vec vec[16];
    uint64_t k[8], zmm_high[16][4], zmm16[16][8]; /* zeros where the host has no AVX-512 */
    struct f80 st[8];          /* ST(0) first */
    uint16_t fcw, fsw, fop;
    uint8_t tags;              /* abridged: bit i set: physical register i is in use */
    uint32_t mxcsr;
    uint64_t fip, fdp;
    uint16_t cs, ss, ds, es, fs, gs;
};

struct diff_case {
    struct diff_regs regs;
    uint64_t seed, number;
    const struct line *lines;  /* the generator's, and which of them the initial data is made of; NULL: zeros */
    uint64_t memory_seed;
    uint64_t patch_at;         /* and what an instruction must find there: far pointers, stack frames */
    uint8_t patch_len, patch[PATCH_MAX];
    uint8_t mode;              /* CPU_MODE_32 or CPU_MODE_64 */
    bool step;                 /* run one instruction with EFLAGS.TF; else until the HLT behind (or another fault) */
    uint8_t code_len, count;
    uint8_t code[CASE_CODE_MAX];
    struct insn insns[CASE_INSNS_MAX]; /* as decoded */
};

struct diff_result {
    struct diff_regs regs;
    uint8_t vector;            /* of the exception that ended it: 1 after a step, 13 at the HLT, or a fault */
    uint32_t error;
    uint64_t address;          /* CR2 of #PF */
    uint8_t memory[DATA_SIZE];
};

/* ---- random numbers ---- */

struct rng { uint64_t state; };

static inline uint64_t rng_next(struct rng *r) /* splitmix64 */
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* 0 .. n - 1 */
static inline unsigned rng_below(struct rng *r, unsigned n)
{
    return (unsigned)((rng_next(r) >> 32) * n >> 32);
}

static inline bool rng_percent(struct rng *r, unsigned percent)
{
    return rng_below(r, 100) < percent;
}

/* ---- host.c ---- */

/* What this host's processor is, where processors differ. */
struct host {
    bool intel;                /* made by Intel, whose choices the software CPU follows */
    bool x87_pointers;         /* FOP, FIP and FDP as the software CPU has them */
    bool avx512;               /* and guests get it */
    uint64_t features[4];      /* by enum insn_feature: of AVX-512 only */
    bool la57;                 /* linear addresses have 57 bits now */
    unsigned linear_bits;      /* as many as they can have: 48 or 57 */
};

const char *host_unfit(void);  /* why cases cannot run here; NULL: they can */
bool host_has(enum insn_feature feature);
bool host_has_avx512(void);
void host_detect(struct host *);
/* Whether an instruction's outcome on this host is one that the software CPU should have too. */
bool host_draws(const struct host *, const struct insn *);
/* Whether the two results may differ in everything. `in`: the instruction that faulted on the host, or NULL. */
bool host_differs(const struct host *, const struct diff_case *, const struct insn *in, const struct diff_result *native,
                  const struct diff_result *guest);
/* Clears what need not be equal in the general registers; the bits of FSW and MXCSR that must be. */
void host_gpr_masks(const struct host *, const struct diff_case *, const struct diff_result *native, uint64_t mask[static 16]);
uint16_t host_fsw_mask(const struct host *, const struct diff_case *);
uint32_t host_mxcsr_mask(const struct host *, const struct diff_result *native);

/* ---- generate.c ---- */

struct generator;

/* What to test: only the operation whose name is `only` (NULL: all), only code size `mode` (-1: both), only what the host draws. */
struct generator *generator_new(const struct host *, const char *only, int mode, uint64_t seed);
void generator_free(struct generator *);
/* How many opcode rows it draws from. */
unsigned generator_rows(const struct generator *);
void generate_case(const struct generator *, uint64_t number, struct diff_case *out); /* good as long as the generator */
/* The initial bytes of the data pages and the constant page (DATA_SIZE + CONST_SIZE). */
void fill_memory(const struct diff_case *, uint8_t *out);

/* ---- native.c ---- */

struct native;

struct native *native_new(void); /* NULL: this host cannot */
void native_free(struct native *);
/* Runs `count` <= RIG_BATCH cases in a child. Returns how many it finished: fewer when the child died in the next one. */
unsigned native_run(struct native *, const struct diff_case *cases, unsigned count, struct diff_result *results);
/* Whether something of the child's lies at an address: its rig, or what the kernel does not let go. A case that goes there is not compared. */
bool native_keeps(const struct native *, uint64_t address);
/*
 * Looks at a child that is set up: from outside (/proc), and from inside, by cases that read where this process has something. Prints what is
 * wrong.
 */
bool native_check_mappings(struct native *);

/* ---- guest.c ---- */

struct guest;

struct guest *guest_new(bool translate);
void guest_free(struct guest *);
void guest_run(struct guest *, const struct diff_case *, struct diff_result *);

/* ---- compare.c ---- */

/* Flags that the instruction leaves undefined. `known`: the register state before it is that of the case. */
uint64_t undefined_flags(const struct diff_case *, const struct insn *, bool known);

/* Whether the processor's result is only near the true one; no other instruction follows such a one. */
bool is_transcendental(const struct insn *);

/* Whether the two agree; when not, says how on stdout if `verbose`. */
bool results_agree(const struct host *, const struct diff_case *, const struct diff_result *native, const struct diff_result *guest,
                   bool verbose);
void print_case(const struct diff_case *);

#endif
