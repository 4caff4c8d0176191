/* SPDX-License-Identifier: MIT */
/* translator.c - the life of translations: made, entered, left, linked, forgotten; and the fast TLB that they use. See translate.h and private.h.
 *
 * What is trusted: nothing of the guest. Translated code reaches guest memory by addends of the fast TLB alone, and these come from the engine's TLB.
 * Limits: CODE_BYTES of code, SITES_MAX places to leave it and RECORDS_MAX translations for a vCPU; when one is used up the oldest go (region.c).
 * Locking: owner's thread; translate_arm_page() touches other vCPUs' fast TLBs while they stand still.
 */
#include <stdlib.h>

#include "base/pages.h"
#include "cpu/exclusive.h"
#include "cpu/sleep.h"
#include "cpu/soak.h"
#include "cpu/translate/host.h"
#include "cpu/translate/lockstep.h"
#include "cpu/translate/private.h"

/* ---- life ---------------------------------------------------------------------------------------------------------------------------------------------------------- */

static const char no_low_memory[] = "there is no memory below 2 GiB";

static bool is_low(const struct cpu *cpu) { return (uintptr_t)cpu + sizeof *cpu <= INT32_MAX; }

const char *translate_refusal(void)
{
    struct code_memory memory;
    struct cpu *cpu = pages_alloc_low(sizeof *cpu);
    const char *why = cpu && is_low(cpu) ? code_memory_new(&memory, CODE_BYTES) : no_low_memory;
    if (!why)
        code_memory_free(&memory);
    pages_free(cpu, sizeof *cpu);
    return why;
}

static const char *translator_make(struct cpu *cpu, struct translator *t)
{
    if (!is_low(cpu))
        return no_low_memory;
    struct code_memory *memory = &cpu->vm->code[cpu->index];
    uint32_t bytes = cpu->vm->soak && cpu->vm->soak->code_bytes ? cpu->vm->soak->code_bytes : CODE_BYTES;
    const char *why = memory->size ? NULL : code_memory_new(memory, bytes);
    if (why)
        return why;
    t->memory = *memory;
    t->sites = pages_alloc(SITES_MAX * sizeof *t->sites); /* most of it never touched */
    t->records = pages_alloc(RECORDS_MAX * sizeof *t->records);
    t->left = pages_alloc(SITES_MAX * sizeof *t->left);
    t->jumps_evicted = pages_alloc(JUMPS_EVICTED * sizeof *t->jumps_evicted);
    t->jumps_filled = pages_alloc(FAST_JUMP_ENTRIES * sizeof *t->jumps_filled);
    t->left_cache = pages_alloc(LEFT_CACHE * sizeof *t->left_cache);
    t->kept = pages_alloc(TLB_SPACES * sizeof *t->kept);
    for (unsigned list = 0; list < 2; list++)
        t->filled[list] = pages_alloc(FAST_TLB_SETS * FAST_TLB_ENTRIES * sizeof **t->filled);
    bool enough = t->sites && t->records && t->left && t->filled[0] && t->filled[1] && t->jumps_filled && t->jumps_evicted && t->left_cache && t->kept;
    return enough ? NULL : "there is not enough memory";
}

static void translator_destroy(struct translator *t)
{
    pages_free(t->sites, SITES_MAX * sizeof *t->sites);
    pages_free(t->left, SITES_MAX * sizeof *t->left);
    pages_free(t->records, RECORDS_MAX * sizeof *t->records);
    pages_free(t->jumps_evicted, JUMPS_EVICTED * sizeof *t->jumps_evicted);
    pages_free(t->jumps_filled, FAST_JUMP_ENTRIES * sizeof *t->jumps_filled);
    pages_free(t->left_cache, LEFT_CACHE * sizeof *t->left_cache);
    pages_free(t->kept, TLB_SPACES * sizeof *t->kept);
    for (unsigned list = 0; list < 2; list++)
        pages_free(t->filled[list], FAST_TLB_SETS * FAST_TLB_ENTRIES * sizeof **t->filled);
    free(t);
}

static void entry_drop(struct fast_tlb *f) { f->read_tag = f->write_tag = FAST_NO_TAG; }

int translate_new(struct cpu *cpu, const char **why, struct err *err)
{
    struct translator *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(err, ERR_HOST, "no memory for the translator of vCPU %u", cpu->index);
    *why = translator_make(cpu, t);
    if (*why) {
        translator_destroy(t);
        return 0;
    }
    cpu->translator = t;
    t->sites[SITES_MAX - 1] = (struct site){ .kind = SITE_FOUND, .flags = FLAGS_SAVED };
    host_features(t->features);
    t->avx = t->features[FEATURE_AVX / 64] >> FEATURE_AVX % 64 & 1;
    t->avx512 = cpu->host_runner != NULL;
    t->lock = cpu->vm->cpu_count > 1;
    cpu->translate.samples = SAMPLE_PERIOD;
    t->clocked = cpu->vm->cpu_count == 1 && !cpu->vm->lockstep && host_ticks_steadily();
    t->emit = (struct emit){ .at = t->memory.write, .end = t->memory.write + t->memory.size, .run = t->memory.run - t->memory.write };
    thunks_emit(cpu);
    regions_make(t);
    for (unsigned set = 0; set < FAST_TLB_SETS; set++) { /* where page 0 could match, by its own number or from the page before; the others need no filling */
        entry_drop(&cpu->translate.tlb[set][0]);
        entry_drop(&cpu->translate.tlb[set][FAST_TLB_ENTRIES - 1]);
    }
    translate_flush(cpu);
    t->statistics.flushes = 0;
    return cpu->vm->lockstep ? lockstep_new(cpu, err) : 0;
}

void translate_free(struct cpu *cpu)
{
    lockstep_free(cpu);
    if (cpu->translator)
        translator_destroy(cpu->translator);
    cpu->translator = NULL;
}

void translate_statistics_get(const struct cpu *cpu, struct translate_statistics *out)
{
    *out = (struct translate_statistics){ 0 };
    if (!cpu->translator)
        return;
    *out = cpu->translator->statistics;
    out->cache_bytes = regions_bytes(cpu->translator);
    if (cpu->vm->count_tlb) /* what was filled was looked up again, and then a hit */
        out->lookups = cpu->translate.tlb_hits + out->misses - out->fills;
}

static void jumps_clear(struct cpu *cpu)
{
    struct translator *t = cpu->translator;
    for (unsigned i = 0; i < t->jumps_count; i++)
        cpu->translate.jumps[t->jumps_filled[i]].tag = 0; /* no tag is 0: a block's key has bits */
    t->jumps_count = 0;
    memset(t->jumps_evicted, 0, JUMPS_EVICTED * sizeof *t->jumps_evicted);
}

void translate_flush(struct cpu *cpu)
{
    struct translator *t = cpu->translator;
    if (!t)
        return;
    for (unsigned i = 0; i < REGIONS; i++)
        inspect_region(t, &t->regions[i]);
    memset(t->left_cache, 0, LEFT_CACHE * sizeof *t->left_cache);
    regions_empty(t);
    t->link = NULL;
    t->statistics.flushes++;
    jumps_clear(cpu);
}

/* ---- the fast TLB -------------------------------------------------------------------------------------------------------------------------------------------------- */

void translate_tlb_flush_all(struct cpu *cpu)
{
    struct translator *t = cpu->translator;
    for (unsigned list = 0; t && list < 2; list++) {
        for (unsigned i = 0; i < t->filled_count[list]; i++) {
            entry_drop(fast_tlb_at(cpu, t->filled[list][i]));
            fast_tlb_at(cpu, t->filled[list][i])->info = 0;
        }
        t->filled_count[list] = 0;
    }
}

void translate_tlb_flush_nonglobal(struct cpu *cpu)
{
    struct translator *t = cpu->translator;
    if (!t)
        return;
    for (unsigned i = 0; i < t->filled_count[false]; i++) {
        struct fast_tlb *f = fast_tlb_at(cpu, t->filled[false][i]);
        if (!(f->info & TLB_INFO_GLOBAL))
            entry_drop(f);
        f->info &= ~(uint64_t)TLB_INFO_LISTED;
    }
    t->filled_count[false] = t->entered = 0;
}

static unsigned tlb_index(uint64_t linear) { return linear >> 12 & (FAST_TLB_ENTRIES - 1); }

void translate_tlb_flush_page(struct cpu *cpu, uint64_t linear)
{
    uint64_t tag = linear >> 12;
    for (unsigned set = 0; set < FAST_TLB_SETS && cpu->translator; set++) {
        struct fast_tlb *f = &cpu->translate.tlb[set][tlb_index(linear)];
        if (f->read_tag == tag || f->write_tag == tag)
            entry_drop(f);
    }
}

/* The write tags of a page of host memory. */
static void tlb_drop_writes(struct cpu *cpu, const uint8_t *host)
{
    const struct translator *t = cpu->translator;
    for (unsigned list = 0; t && list < 2; list++) {
        for (unsigned i = 0; i < t->filled_count[list]; i++) {
            struct fast_tlb *f = fast_tlb_at(cpu, t->filled[list][i]);
            if ((f->write_tag << 12) + f->addend == (uintptr_t)host)
                f->write_tag = FAST_NO_TAG;
        }
    }
}

static void tlbs_drop_writes(struct cpu_vm *vm, const uint8_t *host)
{
    for (unsigned i = 0; i < ARRAY_LEN(vm->cpus); i++)
        if (vm->cpus[i])
            tlb_drop_writes(vm->cpus[i], host);
}

/* The page has no holder of code as far as is known: with the others standing still nobody stores there between our drop and our flag. If the last holder went just
 * before we came, the flag is set first and the others are stopped then. One vCPU at a time, so that who finds a flag finds all write tags gone. */
static bool arm_among_others(struct cpu *cpu, struct mem_block *memory, size_t offset, const uint8_t *host)
{
    struct cpu_vm *vm = cpu->vm;
    bool held = atomic_load(mem_block_flags(memory, offset)) & MEM_PAGE_CODE;
    if (held && mem_block_arm_code(memory, offset))
        return false;
    cpu_vm_stop(vm, cpu);
    if (!held)
        mem_block_arm_code(memory, offset);
    tlbs_drop_writes(vm, host);
    cpu_vm_resume(vm, cpu);
    return true;
}

bool translate_arm_page(struct cpu *cpu, struct mem_block *memory, size_t offset)
{
    const uint8_t *host = (const uint8_t *)mem_block_host(memory) + offset;
    if (cpu->vm->cpu_count == 1 || cpu->vm->interpret) {
        mem_block_arm_code(memory, offset);
        tlb_drop_writes(cpu, host);
        return false;
    }
    bool waited = false;
    while (atomic_flag_test_and_set(&cpu->vm->arming)) { /* another arms, and may be waiting for us */
        cpu_guest_leave(cpu);
        cpu_sleep_yield();
        cpu_guest_enter(cpu);
        waited = true;
    }
    waited |= arm_among_others(cpu, memory, offset, host);
    atomic_flag_clear(&cpu->vm->arming);
    return waited;
}

/* As an address of the running code: 32-bit code has no more bits. */
static uint64_t rip_of(const struct cpu *cpu, uint64_t address) { return cpu->mode == CPU_MODE_64 ? address : (uint32_t)address; }

static void tlb_put(struct cpu *cpu, const struct tlb_entry *e, uint64_t linear)
{
    struct translator *t = cpu->translator;
    struct fast_tlb *f = &cpu->translate.tlb[engine_key_set(cpu->block_key)][tlb_index(linear)];
    uint64_t page = linear & TLB_PAGE_MASK;
    bool quiet = !atomic_load_explicit(e->flags, memory_order_relaxed) && !mem_block_is_shared(e->block);
    bool global = e->info & TLB_INFO_GLOBAL;
    unsigned list = global ? TLB_INFO_LISTED_GLOBAL : TLB_INFO_LISTED;
    if (!(f->info & list))
        t->filled[global][t->filled_count[global]++] = (uint32_t)(f - &cpu->translate.tlb[0][0]);
    f->read_tag = e->read_tag == page ? linear >> 12 : FAST_NO_TAG;
    f->write_tag = e->write_tag == page && quiet ? linear >> 12 : FAST_NO_TAG;
    f->addend = e->addend;
    f->info = (uint64_t)(uintptr_t)e->flags << FAST_FLAGS_SHIFT | (f->info & TLB_INFO_LISTS) | list | (e->info & TLB_INFO_GLOBAL);
}

/* The linear address that missed. */
static uint64_t address_left(const struct cpu *cpu, const struct site *site)
{
    if (site->base == SCRATCH_1)
        return cpu->translate.linear + (uint64_t)(int64_t)site->target;
    return cpu->state.gpr[site->base == GUEST_RSP ? REG_RSP : site->base] + (uint64_t)(int64_t)site->target;
}

/* After a miss: true when the access can be tried again. May raise the guest's page fault: the state is that of `u`. */
static bool tlb_fill(struct cpu *cpu, const struct site *site, const struct uop *u)
{
    uint64_t linear = address_left(cpu, site), page = linear & TLB_PAGE_MASK, first = linear - site->before;
    bool write = site->kind == SITE_WRITE;
    cpu->translator->statistics.misses++;
    if ((first & TLB_PAGE_MASK) != page || ((first + site->size - 1) & TLB_PAGE_MASK) != page) {
        site->owner->straddled++;
        return false;
    }
    if (!is_canonical48(linear) || rip_of(cpu, linear) != linear)
        return false;
    const struct tlb_entry *e = cpu_tlb_entry(cpu, linear);
    if ((write ? e->write_tag : e->read_tag) != page) {
        if (site->masked)
            return false;
        cpu->uop = u;
        cpu_probe(cpu, cpu->rights, linear, 1, write ? MEM_W : MEM_R);
        cpu->uop = NULL;
        e = cpu_tlb_entry(cpu, linear);
        if ((write ? e->write_tag : e->read_tag) != page)
            return false;
    }
    if (cpu->vm->soak && cpu->vm->soak->one_entry)
        translate_tlb_flush_all(cpu);
    tlb_put(cpu, e, linear);
    struct fast_tlb *f = &cpu->translate.tlb[engine_key_set(cpu->block_key)][tlb_index(linear)];
    if (cpu->translator->lockstep)
        lockstep_redirect(cpu, f, linear, write || site->wants_write);
    bool filled = (site->wants_write ? f->write_tag : f->read_tag) != FAST_NO_TAG;
    cpu->translator->statistics.fills += filled;
    return filled;
}

/* ---- links ---------------------------------------------------------------------------------------------------------------------------------------------------------- */

static uint8_t *code_at(const struct translator *t, uint32_t offset) { return t->memory.write + offset; }

static uint32_t left_slot(uint32_t stub) { return (stub ^ stub >> 14) & (LEFT_CACHE - 1); }

enum { CALL = 0xe8, JMP = 0xe9, CALL_BYTES = 5 };

/* Whether the jump and the call that leaves are the same bytes. */
static bool jumps_in_place(const struct site *site) { return site->patch == site->stub + 1; }

static void put_leave_call(const struct translator *t, uint8_t *at)
{
    *at = CALL;
    emit_patch(at + 1, t->leave_call);
}

static void site_unlink(struct translator *t, struct site *site)
{
    if (!site->to)
        return;
    if (jumps_in_place(site))
        put_leave_call(t, code_at(t, site->stub));
    else
        emit_patch(code_at(t, site->patch), code_at(t, site->stub));
    if (site->previous)
        site->previous->next = site->next;
    else
        site->to->incoming = site->next;
    if (site->next)
        site->next->previous = site->previous;
    site->to = NULL;
}

/* Whether the code at rip, which is about to run, is reached by a global translation. */
static bool is_global(struct cpu *cpu, uint64_t rip)
{
    cpu->uop = NULL; /* a fault of this fetch is the block's first instruction's, whatever ran last */
    return cpu_fetch_page(cpu, rip)->info & TLB_INFO_GLOBAL;
}

/* The same of all of a block. */
static bool block_is_global(struct cpu *cpu, const struct block *b)
{
    return is_global(cpu, cpu->state.rip) && (!b->second || is_global(cpu, (cpu->state.rip & TLB_PAGE_MASK) + MEM_PAGE_SIZE));
}

/* What a translation compares that must be left when other translations hold. */
static uint32_t generation_of(const struct cpu *cpu, const struct translation *to)
{
    return to->global ? (uint32_t)cpu->translate.kernel_tag : cpu->fetch_generation;
}

/* What the code at `place` compares: the page that it comes to, or is on, and the generation. */
static void put_compared(const struct translation *in, uint8_t *place, uint32_t generation, uint64_t page)
{
    store_le64(place, page);
    store_le32(place + (in->small ? PLACE_GENERATION_SMALL : PLACE_GENERATION), generation);
}

/* The site was left for `to`, which is about to run at state.rip. */
static void site_link(struct cpu *cpu, struct site *site, struct translation *to)
{
    struct translator *t = cpu->translator;
    const struct translation *from = site->owner;
    if (!to->saved || to->block->dead || from->dead || t->lockstep || to->block->key != from->key_behind || cpu_soak_unlinks(cpu))
        return;
    if (site->patch_place) {
        if (from->global && !is_global(cpu, cpu->state.rip))
            return;
        put_compared(from, code_at(t, site->patch_place), generation_of(cpu, from), cpu->state.rip & TLB_PAGE_MASK);
    } else if (from->block->page != to->block->page) {
        return;
    }
    site_unlink(t, site);
    bool live = from->live >= to->live;
    bool native = site->flags != FLAGS_SAVED;
    emit_patch(code_at(t, site->patch), native ? (live ? to->native_live : to->native) : live ? to->saved_live : to->saved);
    if (jumps_in_place(site))
        *code_at(t, site->stub) = site->calls ? CALL : JMP;
    site->to = to;
    site->previous = NULL;
    site->next = to->incoming;
    if (to->incoming)
        to->incoming->previous = site;
    to->incoming = site;
    t->statistics.links++;
}

static struct fast_jump *jump_evicted(const struct translator *t, uint64_t rip)
{
    return &t->jumps_evicted[(rip ^ rip >> 11) & (JUMPS_EVICTED - 1)];
}

/* Two address spaces that run the same program take turns in an entry. */
static void jump_store(struct cpu *cpu, const struct fast_jump *new)
{
    struct translator *t = cpu->translator;
    struct fast_jump *j = &cpu->translate.jumps[new->rip & (FAST_JUMP_ENTRIES - 1)];
    if (!j->tag)
        t->jumps_filled[t->jumps_count++] = (uint32_t)(j - cpu->translate.jumps);
    else if (j->rip != new->rip || j->tag != new->tag)
        *jump_evicted(t, j->rip) = *j;
    *j = *new;
}

/* The code at rip, for a jump from code that compares the kernel's tag, or not; in the writable view. What had to make room for another changes places with it. NULL: not known, or
 * the loop has something to do. */
static const uint8_t *jump_find(struct cpu *cpu, uint64_t rip, bool global)
{
    struct translator *t = cpu->translator;
    uint64_t tag = global ? cpu->translate.kernel_tag : cpu->fetch_tag;
    struct fast_jump *j = &cpu->translate.jumps[rip & (FAST_JUMP_ENTRIES - 1)];
    if (t->lockstep || engine_requested(cpu))
        return NULL;
    if (j->rip != rip || j->tag != tag) {
        struct fast_jump found = *jump_evicted(t, rip);
        if (found.rip != rip || found.tag != tag)
            return NULL;
        jump_store(cpu, &found);
    }
    cpu->translate.page = j->page;
    cpu->translate.flags = cc_arith(cpu);
    return (const uint8_t *)(uintptr_t)(j->code - (uint64_t)t->emit.run);
}

/* Does a RET whose target had to make room. NULL: nothing was done. */
static const uint8_t *jump_return(struct cpu *cpu, const struct site *site)
{
    const uint8_t *code = jump_find(cpu, cpu->translate.linear, site->owner->global);
    if (code)
        cpu->state.gpr[REG_RSP] += site->pop;
    return code;
}

/* A linked branch to another page was left, since the link is of another address space. To write it anew at each switch would cost the host more than to find the target
 * here; now and then it is, for the other space may be gone for good. */
static const uint8_t *jump_across(struct cpu *cpu, struct site *site)
{
    enum { RELINK_EVERY = 16 };
    if (!site->to || ++site->base % RELINK_EVERY == 0)
        return NULL;
    return jump_find(cpu, cpu->state.rip, site->owner->global);
}

static void jump_put(struct cpu *cpu, const struct translation *to)
{
    struct translator *t = cpu->translator;
    uint64_t rip = cpu->state.rip;
    if (!to->saved)
        return;
    bool global = cpu->state.cpl < 3 && is_global(cpu, rip);
    uintptr_t code = (uintptr_t)((t->lockstep ? t->found : to->saved) + t->emit.run);
    jump_store(cpu, &(struct fast_jump){ rip, global ? cpu->translate.kernel_tag : cpu->fetch_tag, code, rip & TLB_PAGE_MASK });
}

void translation_unlink(struct translator *t, struct translation *to)
{
    while (to->incoming)
        site_unlink(t, to->incoming);
    for (uint32_t i = to->first_site, end = sites_end(t, to); i < end; i++)
        site_unlink(t, &t->sites[i]); /* so that nobody writes into what follows */
}

void translation_take_out(struct block *b)
{
    const struct translation *to = b->translation;
    for (unsigned i = 0; i < to->entry_count; i++)
        if (to->entry[i].uop || !b->dead)
            b->uops[to->entry[i].uop].fn = to->entry[i].handler;
    b->translation = NULL;
}

void translate_forget(struct cpu *cpu, struct block *b)
{
    struct translator *t = cpu->translator;
    struct translation *to = b->translation;
    if (!t || !to || !to->saved)
        return;
    translation_unlink(t, to);
    to->dead = true;
    t->left_cache[left_slot((uint32_t)(to->saved - t->memory.write))].stub = 0;
    put_leave_call(t, to->saved); /* an indirect branch may still know it */
    if (t->link && t->link->owner == to)
        t->link = NULL;
}

/* `rip`: where the block is now, for the map of the code. */
static void make(struct cpu *cpu, struct block *b, uint64_t rip, bool global, bool small)
{
    struct translator *t = cpu->translator;
    const uint8_t *start = t->emit.at;
    struct translation *to = compile_block(cpu, b, global, small);
    if (!to)
        return;
    inspect_made(cpu, start, rip, to);
    b->translation = to;
    for (unsigned i = 0; i < to->entry_count; i++) {
        struct uop *u = &b->uops[to->entry[i].uop];
        to->entry[i].handler = to->entry[i].uop ? u->fn : b->first;
        u->fn = uop_translated;
    }
    t->statistics.translations++;
}

/* Compiles the block at rip again. What the caller knows of translations and sites is void. */
static void remake(struct cpu *cpu, struct translation *to, uint64_t rip, bool global, bool small)
{
    struct block *b = to->block;
    if (b->dead || b->translation != to)
        return;
    translate_make_room(cpu);
    if (b->translation) {
        translate_forget(cpu, b);
        translation_take_out(b);
    } else { /* it was one of those that had to go */
        b->uops[0].fn = b->first;
    }
    cpu->translator->statistics.remade++;
    make(cpu, b, rip, global, small); /* no fetch, which might fault */
}

/* No small translation any more. Inside it an instruction is under way. */
static void remake_large(struct cpu *cpu, struct translation *to)
{
    remake(cpu, to, cpu->translate.page + to->block->start, to->global, false);
}

/* Whether a block that is about to run is to be translated as a global one. A kernel's that was translated before the kernel made its pages global is made again: its
 * indirect branches would never know the others' tag. And so is one of two pages that are not both global any more, since it compares but that tag. */
static bool global_for(struct cpu *cpu, const struct translation *to)
{
    const struct block *b = to->block;
    if (engine_key_rights(b->key) >= TLB_USER || (to->global && !b->second))
        return to->global;
    return block_is_global(cpu, b);
}

/* Without groups, when too many of their ranges have crossed pages. */
static void note_straddles(struct cpu *cpu, struct translation *to)
{
    if (to->straddled < STRADDLES_MAX || to->block->straddles)
        return;
    to->block->straddles = true;
    remake_large(cpu, to);
}

/* Whether a sample is due. */
static bool take_sample(struct cpu *cpu)
{
    struct translator *t = cpu->translator;
    if (cpu->translate.samples >= 0)
        return false;
    t->random = t->random * 1664525 + 1013904223;
    cpu->translate.samples = (int32_t)(SAMPLE_PERIOD / 2 + (t->random >> 16) % SAMPLE_PERIOD);
    return !t->lockstep; /* which would compare undefined flags in the middle of a round of a loop */
}

/* A sample was taken in it: it runs often. */
static void note_sample(struct cpu *cpu, struct translation *to)
{
    if (to->small)
        remake_large(cpu, to);
}

/* ---- in and out ------------------------------------------------------------------------------------------------------------------------------------------------------- */

void translate_block(struct cpu *cpu, struct block *b)
{
    struct translate_statistics *s = &cpu->translator->statistics;
    bool tests = cpu->vm->hot == 1 || cpu->translator->lockstep; /* both kinds are to be tested */
    make(cpu, b, cpu->state.rip, engine_key_rights(b->key) < TLB_USER && block_is_global(cpu, b), !tests || s->translations & 1);
    if (b->translation) {
        s->guest_instructions += b->count;
        s->guest_bytes += b->bytes;
    }
}

translate_handler *translate_handler_of(const struct uop *u)
{
    const struct translation *to = block_of(u)->translation;
    for (unsigned i = 0; u->fn == uop_translated && i < to->entry_count; i++)
        if (to->entry[i].uop == u->number)
            return to->entry[i].handler;
    return u->fn;
}

static uint8_t *entry_of(const struct translation *to, unsigned number)
{
    unsigned i = 0;
    while (to->entry[i].uop != number)
        i++;
    return to->entry[i].code;
}

/* What to load before the translation runs. The x87 stays for a while where vectors are used, since code that mixes both would else go in and out between its blocks. */
static enum live live_for(struct cpu *cpu, const struct translation *to)
{
    struct translator *t = cpu->translator;
    if (to->live == LIVE_X87)
        t->x87_lingers = X87_LINGERS;
    if (to->live != LIVE_VECTORS || !t->x87_lingers || !x87_is_masked(cpu))
        return to->live;
    t->x87_lingers--;
    return LIVE_X87;
}

static void run(struct cpu *cpu, const uint8_t *code, enum live live)
{
    struct translator *t = cpu->translator;
    bool zmm = engine_key_avx512(cpu->block_key);
    if (live == LIVE_X87) {
        x87_to_image(cpu);
        t->enter[live][zmm](code + t->emit.run);
        x87_from_image(cpu);
    } else {
        t->enter[live][live && zmm](code + t->emit.run);
    }
}

static bool holds(const struct translation *to, const uint8_t *code) { return code >= to->start && code < to->end; }

/* By which site translated code was left that was entered in `to`. NULL: by the call in place of a dead translation's start, whose block is *dead. */
static struct site *site_left(struct cpu *cpu, const struct translation *to, struct block **dead)
{
    struct translator *t = cpu->translator;
    uint32_t stub = (uint32_t)(cpu->translate.left_at - (uintptr_t)t->memory.run) - CALL_BYTES;
    if (cpu->translate.site != SITE_BY_CALL)
        return &t->sites[cpu->translate.site];
    uint32_t slot = left_slot(stub);
    if (t->left_cache[slot].stub == stub)
        return &t->sites[t->left_cache[slot].site];
    const struct translation *from = holds(to, code_at(t, stub)) ? to : translation_at(t, code_at(t, stub));
    *dead = from->block;
    if (from->dead && code_at(t, stub) == from->saved)
        return NULL;
    for (uint32_t i = from->first_site, end = sites_end(t, from); i < end; i++)
        if (t->sites[i].stub == stub) {
            t->left_cache[slot].stub = stub;
            t->left_cache[slot].site = i;
            return &t->sites[i];
        }
    return NULL;
}

static uint32_t flags_left(struct cpu *cpu, const struct site *site)
{
    switch (site ? site->flags : FLAGS_SAVED) {
    case FLAGS_NATIVE: return (uint32_t)cpu->translate.host_flags;
    case FLAGS_RECIPE: return flags_of_recipe(cpu, &site->recipe);
    default:           return (uint32_t)cpu->translate.flags;
    }
}

/* The state at the start of the site's instruction. */
static const struct uop *interpret_at(struct cpu *cpu, const struct site *site)
{
    struct block *b = site->owner->block;
    cpu->state.rip = cpu->translate.page + b->start;
    return &b->uops[site->uop];
}

static const struct uop *leave_at(struct cpu *cpu, const struct site *site)
{
    struct translator *t = cpu->translator;
    t->statistics.left_interpret++;
    t->left[site - t->sites]++;
    return interpret_at(cpu, site);
}

/* E0's instruction after a miss that is its own affair, or in whose place a sample was taken. NULL: the entry is filled. Afterwards the site may be gone. */
static const struct uop *leave_for_miss(struct cpu *cpu, struct site *site)
{
    struct translation *to = site->owner;
    bool sampled = take_sample(cpu);
    if (!sampled && tlb_fill(cpu, site, interpret_at(cpu, site)))
        return NULL;
    const struct uop *u = leave_at(cpu, site);
    (sampled ? note_sample : note_straddles)(cpu, to);
    return u;
}

/* The upper halves of registers do not outlast a switch to 32-bit code (SDM vol. 1, 3.4.1.1). */
void translate_cut_registers(struct cpu *cpu)
{
    if (cpu->mode == CPU_MODE_64)
        return;
    cpu->state.rip = (uint32_t)cpu->state.rip;
    for (unsigned i = 0; i < 8; i++)
        cpu->state.gpr[i] = (uint32_t)cpu->state.gpr[i];
}

const struct uop *translate_run(struct cpu *cpu, struct block *b, unsigned number)
{
    struct translator *t = cpu->translator;
    struct translation *to = b->translation;
    struct site *link = t->link;
    t->link = NULL;
    if ((to->live && (cpu->state.mxcsr & MXCSR_MASKS) != MXCSR_MASKS) || (to->live == LIVE_X87 && !x87_is_masked(cpu)))
        return &b->uops[number]; /* an instruction may trap: the host must not */
    bool global = number ? to->global : global_for(cpu, to);
    if (global != to->global) {
        remake(cpu, to, cpu->state.rip, global, to->small);
        link = NULL; /* perhaps it is gone */
        to = b->translation;
        if (!to || to->global != global || b->uops[0].fn != uop_translated)
            return b->uops;
    }
    translate_cut_registers(cpu);
    if (!number && link && t->link_rip == cpu->state.rip)
        site_link(cpu, link, to);
    if (!number)
        jump_put(cpu, to);
    cpu->translate.page = cpu->state.rip - b->start;
    if (to->place)
        put_compared(to, to->place, generation_of(cpu, to), cpu->translate.page);
    cpu->translate.flags = cc_arith(cpu);
    t->statistics.entries++;
    const uint8_t *code = entry_of(to, number);
    const struct uop *next;
    for (;;) {
        run(cpu, code, live_for(cpu, to));
        struct block *dead = NULL;
        struct site *site = site_left(cpu, to, &dead);
        cc_set_known(cpu, flags_left(cpu, site));
        if (!site) {
            cpu->state.rip = rip_of(cpu, cpu->translate.page + dead->start);
            t->statistics.left_request++;
            return NULL;
        }
        if (site->x87_last)
            cpu->state.x87.fip = cpu->translate.page + site->x87_last - 1;
        to = site->owner;
        switch (site->kind) {
        case SITE_JUMP:
            cpu->state.rip = t->link_rip = rip_of(cpu, cpu->translate.page + (uint64_t)(int64_t)site->target);
            t->statistics.left_jump++;
            code = jump_across(cpu, site);
            if (code)
                continue;
            t->link = site;
            return NULL;
        case SITE_LEAVE:
            cpu->state.rip = rip_of(cpu, cpu->translate.page + (uint64_t)(int64_t)site->target);
            t->statistics.left_request++;
            if (take_sample(cpu))
                note_sample(cpu, to);
            return NULL;
        case SITE_FOUND:
            cpu->state.rip = cpu->translate.linear;
            code = to ? jump_find(cpu, cpu->state.rip, cpu->state.cpl < 3) : NULL;
            if (code)
                continue;
            return NULL;
        case SITE_READ: case SITE_WRITE:
            code = code_at(t, site->resume);
            if ((next = leave_for_miss(cpu, site)))
                return next;
            continue;
        default: break;
        }
        const uint8_t *returned = site->pop ? jump_return(cpu, site) : NULL;
        if (returned) {
            code = returned;
            continue;
        }
        return leave_at(cpu, site);
    }
}
