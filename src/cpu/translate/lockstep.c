/* SPDX-License-Identifier: MIT */
/* lockstep.c - E1 against E0, one entry into translated code at a time. For tests: the guest runs tens of times slower.
 *
 * How: translated code runs first, unlinked, so that it comes back at its first way out. Its fast TLB is empty at the start, and each page that it reaches is replaced
 * by a copy as the entry is filled; so guest memory stays as it is. Then the registers are put back and E0 does the same instructions on guest memory itself: what E0 does
 * counts. Afterwards registers, flags (but those that the SDM leaves undefined) and the copies must equal E0's state and pages.
 * Devices' threads may write guest memory in between. So at a difference translated code runs once more, on memory as it is now, its own stores taken back. If that gives
 * E0's result, it was such a race. And so it was if memory has changed and translated code now gives something else than before, again and again: what E0 read in between
 * is gone by then.
 *
 * With several vCPUs the others stand still and sleep meanwhile (exclusive.c), for what one of them stored between the two runs would be a difference.
 *
 * Limits: a store that translated code forgets is seen only if it stores to the same page otherwise (tests/cpu/diff and fuzz_translate compare all memory).
 * PUSHF, LAHF and others that read a flag which the SDM leaves undefined and the engines have in two ways are taken for a difference: on Intel hosts behind DIV and IDIV, which
 * leave there what translated code compared; on others behind more.
 * What E0 does between entries is not compared, nor linked translations' way from one to the other, for there is none. Locking: owner's thread.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/pages.h"
#include "cpu/engine_private.h"
#include "cpu/exclusive.h"
#include "cpu/soak.h"
#include "cpu/translate/compile.h"
#include "cpu/translate/lockstep.h"

enum { SHADOWS_MAX = 64, TEXT_MAX = 2048 };

/* A page that translated code reaches. Aligned, as vector instructions want; old: if written, as it was. */
struct shadow { _Alignas(64) uint8_t copy[MEM_PAGE_SIZE], old[MEM_PAGE_SIZE]; uint8_t *host; bool written; };

struct side { struct cpu_state state; uint64_t cc_result, cc_src1; uint32_t cc_op, flags; };

struct lockstep {
    struct side before, translated, interpreted;
    struct shadow shadow[SHADOWS_MAX];
    unsigned shadow_count;
    const struct uop *next;    /* where translated code left the block; NULL: behind it */
    bool branch;               /* next is NULL: a branch ends the block                 */
    bool stopped;              /* E0 came to where it was to stop                       */
    bool loops;                /* translated code may have gone through the block more than once */
    bool again;                /* so has E0                                              */
    bool passed;               /* E0 went by the place in a loop where translated code left it, and left the loop: it goes on at state.rip */
    int why;                   /* E0 left the instruction instead: CPU_SETJMP()'s value */
    jmp_buf leave;             /* the engine's, while ours stands in cpu->leave          */
    struct lockstep_statistics statistics;
    char text[TEXT_MAX];
    size_t text_length;
};

/* ---- both sides ------------------------------------------------------------------------------------------------------------------------------------------------------ */

/* States are compared byte by byte, and nobody cares for those between the x87 registers, nor for RIP's upper half in 32-bit code. */
static void padding_clear(struct cpu *cpu)
{
    if (cpu->mode != CPU_MODE_64)
        cpu->state.rip = (uint32_t)cpu->state.rip;
    for (unsigned i = 0; i < 8; i++) {
        struct f80 *r = &cpu->state.x87.r[i], value = *r;
        memset(r, 0, sizeof *r);
        r->significand = value.significand;
        r->sign_exponent = value.sign_exponent;
    }
}

static void side_save(struct cpu *cpu, struct side *s)
{
    padding_clear(cpu);
    s->state = cpu->state;
    s->cc_result = cpu->cc_result;
    s->cc_src1 = cpu->cc_src1;
    s->cc_op = cpu->cc_op;
}

static void side_load(struct cpu *cpu, const struct side *s)
{
    cpu->state = s->state;
    cpu->cc_result = s->cc_result;
    cpu->cc_src1 = s->cc_src1;
    cpu->cc_op = s->cc_op;
    cpu_state_changed(cpu); /* translated code may have changed the CPL */
}

/* ---- flags that the SDM leaves undefined ------------------------------------------------------------------------------------------------------------------------- */

static uint32_t undefined_of(const struct insn *in)
{
    const struct insn_opnd *count = &in->opnd[in->nopnd - 1]; /* of a shift */
    unsigned by = (count->kind == OPND_IMM ? (unsigned)in->imm : UINT32_MAX) & (in->opsize == 8 ? 63 : 31), bits = in->opsize * 8u;
    bool one = by == 1;
    switch (in->op) { /* SDM vol. 2, "Flags Affected" */
    case OP_AND: case OP_OR: case OP_XOR: case OP_TEST: return FLAG_AF;
    case OP_ANDN: case OP_BLSI: case OP_BLSMSK: case OP_BLSR: case OP_BZHI: return FLAG_AF | FLAG_PF;
    case OP_BEXTR: return FLAG_AF | FLAG_SF | FLAG_PF;
    case OP_BSF: case OP_BSR: return FLAGS_ARITH & ~FLAG_ZF;
    case OP_BT: case OP_BTC: case OP_BTR: case OP_BTS: return FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF;
    case OP_DIV: case OP_IDIV: return FLAGS_ARITH;
    case OP_MUL: case OP_IMUL: return FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF;
    case OP_LZCNT: case OP_TZCNT: return FLAG_OF | FLAG_SF | FLAG_PF | FLAG_AF;
    case OP_ROL: case OP_ROR: case OP_RCL: case OP_RCR: return one ? 0 : FLAG_OF;
    case OP_SHL: case OP_SHR: return FLAG_AF | (one ? 0 : FLAG_OF) | (by >= bits ? FLAG_CF : 0);
    case OP_SAR: return FLAG_AF | (one ? 0 : FLAG_OF);
    case OP_SHLD: case OP_SHRD: return by > bits ? FLAGS_ARITH : FLAG_AF | (one ? 0 : FLAG_OF);
    default: return 0;
    }
}

/* The flags that do not depend on what they were. */
static uint32_t written_by(const struct insn *in)
{
    const struct insn_opnd *count = &in->opnd[in->nopnd - 1];
    switch (flags_effect_of(in)) {
    case EFFECT_SETS: return FLAGS_ARITH;
    case EFFECT_SETS_BUT_CARRY: return FLAGS_ARITH & ~FLAG_CF;
    case EFFECT_MIXES: break;
    default: return 0;
    }
    switch (in->op) {
    case OP_ADC: case OP_SBB: case OP_POPF: return FLAGS_ARITH;
    case OP_SAHF: return FLAGS_ARITH & ~FLAG_OF;
    case OP_STC: case OP_CLC: case OP_BT: case OP_BTC: case OP_BTR: case OP_BTS: case OP_ADCX: return FLAG_CF;
    case OP_ADOX: return FLAG_OF;
    case OP_ROL: case OP_ROR: case OP_RCL: case OP_RCR: return count->kind == OPND_IMM && in->imm == 1 ? FLAG_CF | FLAG_OF : 0;
    default: return 0;
    }
}

/* The flags that nobody may count on behind instructions [number, end), of which `undefined` are so before. */
static uint32_t undefined_behind(const struct block *b, unsigned number, unsigned end, uint32_t undefined)
{
    for (unsigned i = number; i < end; i++) {
        struct insn in;
        compile_read(b, &b->uops[i], &in);
        undefined = (undefined & ~written_by(&in)) | undefined_of(&in);
    }
    return undefined;
}

/* For tests (soak.h): the flags of translated code, which ran from instruction `number` to `next`, that are to be found changed. Undefined are at least those of the last
 * instruction that writes any. */
static uint32_t flips_of(const struct cpu *cpu, const struct block *b, unsigned number, const struct uop *next)
{
    const struct cpu_soak *soak = cpu->vm->soak;
    struct insn in;
    if (!soak || !soak->flips_undefined)
        return soak ? soak->flips : 0;
    if (next && block_of(next) != b)
        return 0;
    for (unsigned i = next ? next->number : b->count; i-- > number;)
        if (compile_read(b, &b->uops[i], &in) && flags_effect_of(&in) != EFFECT_NONE && flags_effect_of(&in) != EFFECT_READS)
            return soak->flips & undefined_of(&in);
    return 0;
}

/* Those that nobody may count on where translated code left the block, which it entered at instruction `number`, in its first round or a later one. */
static uint32_t undefined_flags(const struct lockstep *l, const struct block *b, unsigned number)
{
    unsigned end = l->next ? l->next->number : b->count;
    if (!l->again)
        return undefined_behind(b, number, end, 0);
    uint32_t undefined = undefined_behind(b, number, b->count, 0);
    return undefined_behind(b, 0, end, undefined_behind(b, 0, b->count, undefined)); /* a third round adds nothing to the second */
}

/* Whether there is an instruction whose result only has a bound. */
static bool has_estimate(const struct lockstep *l, const struct block *b, unsigned number)
{
    unsigned end = l->next && !l->again ? l->next->number : b->count;
    for (unsigned i = l->again ? 0 : number; i < end; i++) {
        struct insn in;
        compile_read(b, &b->uops[i], &in);
        if (in.op == OP_RCPPS || in.op == OP_RCPSS || in.op == OP_RSQRTPS || in.op == OP_RSQRTSS)
            return true;
    }
    return false;
}

/* ---- E1 ----------------------------------------------------------------------------------------------------------------------------------------------------------------- */

static struct shadow *shadow_of(struct lockstep *l, const uint8_t *host)
{
    for (unsigned i = 0; i < l->shadow_count; i++)
        if (l->shadow[i].host == host)
            return &l->shadow[i];
    return NULL;
}

static struct shadow *shadow_new(struct lockstep *l, uint8_t *host)
{
    if (l->shadow_count == SHADOWS_MAX)
        return NULL;
    struct shadow *s = &l->shadow[l->shadow_count++];
    s->host = host;
    s->written = false;
    memcpy(s->copy, host, MEM_PAGE_SIZE);
    return s;
}

void lockstep_redirect(struct cpu *cpu, struct fast_tlb *f, uint64_t linear, bool write)
{
    struct lockstep *l = cpu->translator->lockstep;
    uint64_t page = linear & TLB_PAGE_MASK;
    uint8_t *host = (uint8_t *)(uintptr_t)(page + f->addend);
    struct shadow *s = shadow_of(l, host);
    if (!s)
        s = shadow_new(l, host);
    if (s && write && f->write_tag != FAST_NO_TAG && !s->written) {
        memcpy(s->old, s->copy, MEM_PAGE_SIZE);
        s->written = true;
    }
    if (!s)
        f->read_tag = FAST_NO_TAG;
    if (!s || !s->written)
        f->write_tag = FAST_NO_TAG; /* for a store comes here again */
    if (s)
        f->addend = (uintptr_t)s->copy - page;
}

/* Whether a branch at its end goes to its start: E0's chain. */
static bool is_loop(const struct block *b) { return b->slots == b->count + 1u && !b->uops[b->count - 1].disp; }

/* Sets l->next and l->translated. */
static void translated_run(struct cpu *cpu, struct block *b, unsigned number)
{
    struct lockstep *l = cpu->translator->lockstep;
    bool once = cpu->vm->soak && cpu->vm->soak->short_loops && is_loop(b);
    translate_tlb_flush_all(cpu);
    if (once)
        atomic_fetch_or(&cpu->requests, CPU_REQ_ONE);
    memcpy(&l->leave, &cpu->leave, sizeof l->leave);
    if (CPU_SETJMP(cpu->leave)) { /* a page fault of the guest's, or what else filling an entry raises: E0 will meet it too */
        l->next = cpu->uop;
        cpu->uop = NULL;
    } else {
        l->next = translate_run(cpu, b, number);
    }
    memcpy(&cpu->leave, &l->leave, sizeof l->leave);
    if (cpu->vm->soak && cpu->vm->soak->short_loops)
        atomic_fetch_and(&cpu->requests, ~(uint32_t)CPU_REQ_ONE);
    translate_tlb_flush_all(cpu);
    l->translated.flags = cc_arith(cpu) ^ flips_of(cpu, b, number, l->next);
    side_save(cpu, &l->translated);
}

/* ---- E0 ------------------------------------------------------------------------------------------------------------------------------------------------------------------ */

static void uop_stop(struct cpu *cpu, const struct uop *u)
{
    (void)u;
    ((struct lockstep *)cpu->translator->lockstep)->stopped = true;
}

/* The handlers of two micro-operations while other ones stand in their places. */
struct patch { struct uop *at; uop_fn *was, *is; };

static struct patch patch_put(struct uop *at, uop_fn *fn)
{
    struct patch p = { at, at->fn, fn };
    at->fn = fn;
    return p;
}

static void patch_take(const struct patch *p)
{
    if (p->at->fn == p->is) /* else the block died */
        p->at->fn = p->was;
}

/* From micro-operation `number` to `stop` without it, for a waiting request may make a handler come back early. False: the way led elsewhere. */
static bool run_until(struct cpu *cpu, struct block *b, unsigned number, unsigned stop, uint64_t base)
{
    struct lockstep *l = cpu->translator->lockstep;
    while (number < stop) {
        uint64_t count = cpu->instructions;
        l->stopped = false;
        b->uops[number].fn(cpu, &b->uops[number]);
        cpu->state.interrupt_shadow = 0; /* of STI: translated code does it only if nothing waits to be held back (system.c) */
        if (l->stopped)
            return true;
        uint64_t at = cpu->state.rip - base;
        unsigned reached = number + 1;
        while (reached < stop && b->uops[reached].offset != at)
            reached++;
        if (b->uops[reached].offset != at || b->dead)
            return false;
        cpu->instructions = count; /* they are counted again when the block is left */
        cpu->state.rip = base;
        number = reached;
    }
    return true;
}

static bool ends_in_branch(const struct block *b)
{
    if (b->slots == b->count + 1u) /* nothing but a chain behind */
        return true;
    const struct uop *u = &b->uops[b->count - 1];
    struct insn in;
    return compile_read(b, u, &in) && insn_op_flags(in.op) & OPF_BRANCH;
}

/* To l->next, or through the branch that ends the block. False: E0 went elsewhere. */
static bool run_block(struct cpu *cpu, struct block *b, unsigned number, uint64_t base)
{
    const struct lockstep *l = cpu->translator->lockstep;
    unsigned last = l->next ? l->next->number : l->branch ? b->count - 1u : b->count;
    struct patch first = patch_put(&b->uops[number], translate_handler_of(&b->uops[number])), stop = { 0 };
    bool ok = true;
    if (last > number) {
        stop = patch_put(&b->uops[last], uop_stop);
        ok = run_until(cpu, b, number, last, base);
        patch_take(&stop);
    }
    if (ok && !l->next) {
        atomic_fetch_or(&cpu->requests, CPU_REQ_ONE); /* so that the branch comes back */
        b->uops[last].fn(cpu, &b->uops[last]);
        atomic_fetch_and(&cpu->requests, ~(uint32_t)CPU_REQ_ONE);
    }
    patch_take(&first);
    return ok;
}

/* The same, and l->why when a fault or an exit got in the way: then all patches are undone here. */
static bool interpreted_run(struct cpu *cpu, struct block *b, unsigned number, uint64_t start)
{
    struct lockstep *l = cpu->translator->lockstep;
    uop_fn *handlers[BLOCK_MAX + 3];
    for (unsigned i = 0; i <= b->count; i++)
        handlers[i] = b->uops[i].fn;
    l->branch = !l->next && ends_in_branch(b);
    memcpy(&l->leave, &cpu->leave, sizeof l->leave);
    l->why = CPU_SETJMP(cpu->leave);
    bool ok = false;
    if (!l->why)
        ok = run_block(cpu, b, number, start);
    memcpy(&cpu->leave, &l->leave, sizeof l->leave);
    if (l->why) {
        atomic_fetch_and(&cpu->requests, ~(uint32_t)CPU_REQ_ONE);
        for (unsigned i = b->dead; i <= b->count; i++)
            if (i < b->count || b->slots > b->count + 1u) /* else it is a chain */
                b->uops[i].fn = handlers[i];
    }
    return ok;
}

/* ---- comparing --------------------------------------------------------------------------------------------------------------------------------------------------------- */

static __attribute__((format(printf, 2, 3))) void say(struct lockstep *l, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int n = vsnprintf(l->text + l->text_length, TEXT_MAX - l->text_length, format, list);
    va_end(list);
    if (n > 0)
        l->text_length = l->text_length + (size_t)n < TEXT_MAX ? l->text_length + (size_t)n : TEXT_MAX - 1;
}

static void compare_x87(struct lockstep *l, const struct cpu_x87 *e1, const struct cpu_x87 *e0)
{
    if (e1->fcw != e0->fcw || e1->fsw != e0->fsw || e1->empty != e0->empty || e1->fop != e0->fop)
        say(l, "; FCW is %#x, FSW %#x, empty %#x, FOP %#x, E0 has %#x, %#x, %#x, %#x", e1->fcw, e1->fsw, e1->empty, e1->fop, e0->fcw, e0->fsw, e0->empty, e0->fop);
    if (e1->fip != e0->fip || e1->fdp != e0->fdp)
        say(l, "; FIP is %#" PRIx64 ", FDP %#" PRIx64 ", E0 has %#" PRIx64 ", %#" PRIx64, e1->fip, e1->fdp, e0->fip, e0->fdp);
    for (unsigned i = 0; i < 8; i++)
        if (e1->r[i].significand != e0->r[i].significand || e1->r[i].sign_exponent != e0->r[i].sign_exponent)
            say(l, "; x87 register %u is %04x %016" PRIx64 ", E0 has %04x %016" PRIx64, i, e1->r[i].sign_exponent, e1->r[i].significand, e0->r[i].sign_exponent,
                e0->r[i].significand);
}

static bool compare_registers(struct lockstep *l, uint32_t undefined)
{
    const struct cpu_state *e1 = &l->translated.state, *e0 = &l->interpreted.state;
    uint32_t flags1 = l->translated.flags & ~undefined, flags0 = l->interpreted.flags & ~undefined;
    struct cpu_state same;
    if (flags1 == flags0 && !memcmp(e1, e0, sizeof *e1))
        return true;
    same = *e1;
    for (unsigned i = 0; i < 16; i++)
        if (e1->gpr[i] != e0->gpr[i])
            say(l, "; register %u is %#" PRIx64 ", E0 has %#" PRIx64, i, e1->gpr[i], e0->gpr[i]);
    if (e1->rip != e0->rip)
        say(l, "; RIP is %#" PRIx64 ", E0 has %#" PRIx64, e1->rip, e0->rip);
    if (flags1 != flags0)
        say(l, "; flags are %#x, E0 has %#x", flags1, flags0);
    for (unsigned i = 0; i < 16; i++)
        if (memcmp(&e1->vec[i], &e0->vec[i], sizeof e1->vec[i]) != 0)
            say(l, "; vector %u is %016" PRIx64 "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 ", E0 has %016" PRIx64 "%016" PRIx64 "%016" PRIx64 "%016" PRIx64, i,
                e1->vec[i].q[3], e1->vec[i].q[2], e1->vec[i].q[1], e1->vec[i].q[0], e0->vec[i].q[3], e0->vec[i].q[2], e0->vec[i].q[1], e0->vec[i].q[0]);
    if (e1->mxcsr != e0->mxcsr)
        say(l, "; MXCSR is %#x, E0 has %#x", e1->mxcsr, e0->mxcsr);
    compare_x87(l, &e1->x87, &e0->x87);
    same.x87 = e0->x87;
    memcpy(same.gpr, e0->gpr, sizeof same.gpr);
    memcpy(same.vec, e0->vec, sizeof same.vec);
    same.rip = e0->rip;
    same.mxcsr = e0->mxcsr;
    if (memcmp(&same, e0, sizeof same) != 0)
        say(l, "; other state differs");
    return !l->text_length;
}

static bool memory_is_equal(const struct lockstep *l)
{
    for (unsigned i = 0; i < l->shadow_count; i++)
        if (l->shadow[i].written && memcmp(l->shadow[i].copy, l->shadow[i].host, MEM_PAGE_SIZE) != 0)
            return false;
    return true;
}

static bool compare_memory(struct lockstep *l)
{
    for (unsigned i = 0; i < l->shadow_count; i++) {
        const struct shadow *s = &l->shadow[i];
        if (!s->written || !memcmp(s->copy, s->host, MEM_PAGE_SIZE))
            continue;
        for (unsigned at = 0; at < MEM_PAGE_SIZE; at += 8)
            if (load_le64(s->copy + at) != load_le64(s->host + at))
                say(l, "; memory at page offset %#x is %#" PRIx64 ", E0 has %#" PRIx64 ", before %#" PRIx64, at, load_le64(s->copy + at), load_le64(s->host + at),
                    load_le64(s->old + at));
    }
    return !l->text_length;
}

/* An indirect call that leaves its branch to E0 has stored the return address, which E0 will do again (branch.c). */
static void forget_return_address(struct lockstep *l)
{
    struct insn in;
    const struct block *b = l->next ? block_of(l->next) : NULL;
    if (!b || !compile_read(b, l->next, &in) || in.op != OP_CALL)
        return;
    uint64_t slot = l->translated.state.gpr[REG_RSP] - in.opsize, address = l->before.state.rip + l->next->offset + l->next->length;
    if (slot % MEM_PAGE_SIZE > MEM_PAGE_SIZE - in.opsize)
        return;
    for (unsigned i = 0; i < l->shadow_count; i++) /* of whichever page it was */
        if (!memcmp(l->shadow[i].copy + slot % MEM_PAGE_SIZE, &address, in.opsize))
            memcpy(l->shadow[i].copy + slot % MEM_PAGE_SIZE, l->shadow[i].host + slot % MEM_PAGE_SIZE, in.opsize);
}

static bool compare(struct lockstep *l, uint32_t undefined)
{
    l->text_length = 0;
    forget_return_address(l);
    compare_registers(l, undefined);
    return compare_memory(l);
}

/* Memory as it is, but where translated code wrote: as that found it. Whether the rest has changed since. */
static bool shadows_renew(struct lockstep *l)
{
    bool changed = false;
    for (unsigned i = 0; i < l->shadow_count; i++) {
        struct shadow *s = &l->shadow[i];
        for (unsigned at = 0; at < MEM_PAGE_SIZE; at++) {
            bool stored = s->written && s->copy[at] != s->old[at];
            uint8_t now = s->host[at];
            changed |= !stored && s->copy[at] != now;
            s->copy[at] = stored ? s->old[at] : now;
        }
        memcpy(s->old, s->copy, MEM_PAGE_SIZE);
    }
    return changed;
}

/* Of the bytes that translated code has changed: which and to what. */
static uint64_t stores_digest(const struct lockstep *l)
{
    uint64_t digest = 0;
    for (unsigned i = 0; i < l->shadow_count; i++) {
        const struct shadow *s = &l->shadow[i];
        for (unsigned at = 0; s->written && at < MEM_PAGE_SIZE; at++)
            if (s->copy[at] != s->old[at])
                digest += ((uintptr_t)s->host + at) * UINT64_C(0x9e3779b97f4a7c15) ^ s->copy[at] * UINT64_C(0xbf58476d1ce4e5b9);
    }
    return digest;
}

/* What translated code has done, once compare() has been there. */
struct outcome { struct side side; const struct uop *next; uint64_t stores; };

static struct outcome outcome_of(const struct lockstep *l) { return (struct outcome){ l->translated, l->next, stores_digest(l) }; }

static bool outcomes_are_equal(const struct outcome *a, const struct outcome *b)
{
    return a->next == b->next && a->stores == b->stores && a->side.flags == b->side.flags && !memcmp(&a->side.state, &b->side.state, sizeof a->side.state);
}

/* Once more, on memory as it is now. Whether that has changed. */
static bool translated_run_again(struct cpu *cpu, struct block *b, unsigned number)
{
    struct lockstep *l = cpu->translator->lockstep;
    bool changed = shadows_renew(l);
    side_load(cpu, &l->before);
    translated_run(cpu, b, number);
    return changed;
}

static bool is_race(struct cpu *cpu, struct block *b, unsigned number, uint32_t undefined)
{
    enum { TRIES = 8 /* it must do something twice running, or it is at fault */ };
    struct lockstep *l = cpu->translator->lockstep;
    struct outcome last = outcome_of(l);
    const struct uop *next = l->next;
    bool race = false, changed = false;
    for (unsigned i = 0; i < TRIES && !race && !b->dead; i++) {
        changed |= translated_run_again(cpu, b, number);
        race = compare(l, undefined) && l->next == next;
        struct outcome now = outcome_of(l);
        if (!race && outcomes_are_equal(&now, &last)) {
            race = changed && i > 0; /* the first run did something else */
            break;
        }
        last = now;
    }
    side_load(cpu, &l->interpreted);
    l->next = next;
    return race;
}

static _Noreturn void report(struct cpu *cpu, const struct block *b, unsigned number)
{
    struct lockstep *l = cpu->translator->lockstep;
    char found[TEXT_MAX];
    memcpy(found, l->text, sizeof found);
    found[l->text_length] = 0;
    l->text_length = 0;
    say(l, "lockstep: translated code does not do what the interpreter does at %#" PRIx64 ":", l->before.state.rip + b->uops[number].offset);
    for (unsigned i = b->uops[number].offset; i < b->bytes && l->text_length < TEXT_MAX / 8; i++ /* what was found is to be seen too */)
        say(l, " %02x", b->code[i]);
    say(l, "%s", found);
    cpu->exit = (hy_exit){ .reason = HY_EXIT_UNKNOWN, .native = HY_NATIVE_CHECK, .u.unknown = { .raw = l->text, .len = (uint32_t)l->text_length } };
    cpu->uop = NULL;
    cpu_leave(cpu);
}

/* A difference: comes back if it is none. */
static void judge(struct cpu *cpu, struct block *b, unsigned number)
{
    struct lockstep *l = cpu->translator->lockstep;
    uint32_t undefined = undefined_flags(l, b, number);
    side_save(cpu, &l->interpreted);
    if (has_estimate(l, b, number)) {
        l->statistics.skipped++;
    } else if (!compare(l, undefined)) {
        if (!is_race(cpu, b, number, undefined))
            report(cpu, b, number);
        l->statistics.races++;
    }
}

static bool is_equal(struct cpu *cpu)
{
    padding_clear(cpu);
    const struct lockstep *l = cpu->translator->lockstep;
    return cc_arith(cpu) == l->translated.flags && !memcmp(&l->translated.state, &cpu->state, sizeof cpu->state);
}

/* The same but for flags that the SDM leaves undefined, as translated code may have other ones than E0 wherever it leaves. */
static bool is_alike(struct cpu *cpu, const struct block *b, unsigned number)
{
    const struct lockstep *l = cpu->translator->lockstep;
    if (is_equal(cpu))
        return true;
    if (memcmp(&l->translated.state, &cpu->state, sizeof cpu->state) != 0)
        return false;
    return !((cc_arith(cpu) ^ l->translated.flags) & ~undefined_flags(l, b, number));
}

/* E0 from where translated code began, at instruction `number`. A block that branches to its start may be a loop inside translated code (compile.c): then round by round,
 * until the registers are those that translated code left with, or the loop ends. */
static bool interpret_alike(struct cpu *cpu, struct block *b, unsigned number)
{
    struct lockstep *l = cpu->translator->lockstep;
    const struct uop *next = l->next;
    uint64_t start = l->before.state.rip;
    unsigned from = number;
    bool came;
    l->passed = l->again = false;
    while ((came = interpreted_run(cpu, b, from, start)) && l->loops && !l->why && !b->dead && !(is_alike(cpu, b, number) && memory_is_equal(l))) {
        from = 0;
        if (l->next) { /* translated code left here in another round: E0 finishes this one */
            from = l->next->number;
            l->next = NULL;
        } else if (cpu->state.rip == start) {
            l->next = next;
            l->again = true;
        } else {
            l->passed = next;
            break;
        }
    }
    l->next = next;
    return came;
}

/* Translated code may leave a string instruction half done, which E0 has not begun. */
static bool stands_at_string(const struct lockstep *l)
{
    struct insn in;
    if (!l->next)
        return false;
    compile_read(block_of(l->next), l->next, &in);
    return in.op == OP_MOVS || in.op == OP_STOS;
}

static const struct uop *run_both(struct cpu *cpu, struct block *b, unsigned number)
{
    struct lockstep *l = cpu->translator->lockstep;
    l->shadow_count = 0;
    translate_cut_registers(cpu);
    side_save(cpu, &l->before);
    l->loops = b->translation->loops;
    translated_run(cpu, b, number);
    l->loops |= b->translation && b->translation->loops; /* it may have been made again, as a loop */
    side_load(cpu, &l->before);
    if (l->next && (block_of(l->next) != b || (l->next->number <= number && !memcmp(&l->translated.state, &l->before.state, sizeof l->before.state))))
        return &b->uops[number];
    bool came = interpret_alike(cpu, b, number);
    cpu->engine->link_from = NULL; /* of a round's branch: E0 may still leave in the middle of the block, which is not where that leads */
    if (l->why) {
        l->text_length = 0;
        say(l, "; it does not raise vector %u at %#" PRIx64, cpu->fault_vector, cpu->fault_address);
        report(cpu, b, number);
    }
    if (!came || (stands_at_string(l) && !is_alike(cpu, b, number))) {
        l->statistics.skipped++;
        return came && !l->passed ? l->next : NULL;
    }
    l->statistics.compared++;
    l->interpreted.flags = cc_arith(cpu);
    if (!is_equal(cpu) || !memory_is_equal(l))
        judge(cpu, b, number);
    return l->passed ? NULL : l->next;
}

const struct uop *lockstep_run(struct cpu *cpu, struct block *b, unsigned number)
{
    enum { TURN = 4096 /* entries: handing over costs as much as hundreds */ };
    if (cpu->vm->cpu_count == 1)
        return run_both(cpu, b, number);
    if (!cpu->turn_left) {
        cpu_turn_take(cpu, TURN);
        if (atomic_load(&cpu->requests) & (CPU_REQ_TLB | CPU_REQ_CODE) || b->dead) { /* of what happened while it waited */
            cpu->uop = &b->uops[number];
            cpu_restart(cpu);
        }
    }
    const struct uop *next = run_both(cpu, b, number);
    if (!--cpu->turn_left)
        cpu_turn_give(cpu);
    return next;
}

/* ---- life -------------------------------------------------------------------------------------------------------------------------------------------------------------- */

int lockstep_new(struct cpu *cpu, struct err *err)
{
    struct lockstep *l = pages_alloc(sizeof *l);
    if (!l)
        return err_set(err, ERR_HOST, "no memory to compare the engines of vCPU %u", cpu->index);
    cpu->translator->lockstep = l;
    return 0;
}

void lockstep_free(struct cpu *cpu)
{
    if (cpu->translator && cpu->translator->lockstep)
        pages_free(cpu->translator->lockstep, sizeof(struct lockstep));
}

void lockstep_statistics_get(const struct cpu *cpu, struct lockstep_statistics *out)
{
    *out = cpu->translator && cpu->translator->lockstep ? cpu->translator->lockstep->statistics : (struct lockstep_statistics){ 0 };
}
