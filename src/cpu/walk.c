/* SPDX-License-Identifier: MIT */
/* walk.c - the walk of the guest's paging structures.
 *
 * What the guest sees: 32-bit paging with PSE and PSE-36, PAE paging with its PDPTE registers, 4-level paging; U/S, R/W, NX, WP, SMEP, SMAP, protection
 * keys for user and supervisor pages, reserved-bit faults, error codes, accessed and dirty flags set by one compare-and-swap each. An entry is read once.
 * What is trusted: nothing; every structure is reached through mmu_find(), so protections and layers hold for page-table reads and A/D writes too.
 * A structure where nothing is mapped reads as all ones, as an open bus does.
 * A flags are set when the whole translation succeeds (SDM 4.8 allows it), from the top down, then D.
 * Locking: owner's thread; guest memory is shared, hence the compare-and-swap; when it fails the walk starts over. Each start means that another CPU
 * changed the entry meanwhile; after WALK_TRIES of them the instruction starts over, so that requests are seen.
 * Spec: SDM volume 3, 4.3 to 4.8.
 */
#include "cpu/mmu_private.h"

#include "cpu/cpuid.h"
#include "cpu/engine.h"

enum { /* SDM 4.3 to 4.5, tables 4-4 to 4-20 */
    PTE_P = 1 << 0, PTE_RW = 1 << 1, PTE_US = 1 << 2, PTE_A = 1 << 5, PTE_D = 1 << 6, PTE_PS = 1 << 7, PTE_G = 1 << 8,
};
#define PTE_NX BIT(63)

enum { /* page-fault error code, SDM 4.7 */
    PF_P = 1 << 0, PF_W = 1 << 1, PF_U = 1 << 2, PF_RSVD = 1 << 3, PF_I = 1 << 4, PF_PK = 1 << 5,
};

#define WALK_LEVELS 4
#define WALK_TRIES  64

struct walker {
    struct cpu *cpu;
    unsigned rights;
    uint64_t linear;
    uint32_t access;
    unsigned width;                    /* of an entry: 4 or 8 */
    uint64_t at[WALK_LEVELS], entry[WALK_LEVELS];
    unsigned depth;                    /* entries read so far */
    bool     user, writable, no_execute; /* the combined rights so far */
};

static _Noreturn void walk_fault(const struct walker *w, uint32_t error)
{
    const struct cpu_state *s = &w->cpu->state;
    if (w->access & MEM_W)
        error |= PF_W;
    if (w->rights == TLB_USER)
        error |= PF_U;
    if (w->access & MEM_X && (s->cr4 & CR4_SMEP || (s->cr4 & CR4_PAE && s->efer & EFER_NXE)))
        error |= PF_I;
    cpu_raise_page_fault(w->cpu, w->linear, error);
}

static uint64_t entry_read(struct walker *w, uint64_t at)
{
    struct mem_page page;
    enum mem_refusal refusal = mmu_find(w->cpu, at, MEM_R, &page);
    if (refusal == MEM_UNMAPPED)
        return UINT64_MAX;
    if (refusal != MEM_GRANTED)
        mmu_leave_fault(w->cpu, at, MEM_R);
    const uint8_t *host = page.host + (at & 0xfff);
    return w->width == 8 ? __atomic_load_n((const uint64_t *)(const void *)host, __ATOMIC_RELAXED) : __atomic_load_n((const uint32_t *)(const void *)host, __ATOMIC_RELAXED);
}

/* Adds `flags` to entry i. False: it is no longer what was read. */
static bool entry_set(struct walker *w, unsigned i, uint64_t flags)
{
    struct mem_page page;
    uint64_t old = w->entry[i];
    if ((old & flags) == flags)
        return true;
    enum mem_refusal refusal = mmu_find(w->cpu, w->at[i], MEM_W, &page);
    if (refusal == MEM_UNMAPPED)
        return true;
    if (refusal != MEM_GRANTED)
        mmu_leave_fault(w->cpu, w->at[i], MEM_W);
    uint8_t *host = page.host + (w->at[i] & 0xfff);
    uint32_t old32 = (uint32_t)old;
    bool done = w->width == 8 ? __atomic_compare_exchange_n((uint64_t *)(void *)host, &old, old | flags, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
                              : __atomic_compare_exchange_n((uint32_t *)(void *)host, &old32, old32 | (uint32_t)flags, false, __ATOMIC_SEQ_CST,
                                                            __ATOMIC_SEQ_CST);
    if (!done)
        return false;
    w->entry[i] |= flags;
    if (atomic_load_explicit(page.flags, memory_order_relaxed))
        mem_page_written(page.block, page.offset + (w->at[i] & 0xfff), w->width);
    return true;
}

/* Reads the entry at `at`, checks P and the reserved bits, and folds in its rights. */
static uint64_t walk_entry(struct walker *w, uint64_t at, uint64_t reserved)
{
    uint64_t entry = entry_read(w, at);
    if (!(entry & PTE_P))
        walk_fault(w, 0);
    if (entry & reserved)
        walk_fault(w, PF_P | PF_RSVD);
    w->at[w->depth] = at;
    w->entry[w->depth++] = entry;
    w->user &= (entry & PTE_US) != 0;
    w->writable &= (entry & PTE_RW) != 0;
    w->no_execute |= w->width == 8 && entry & PTE_NX;
    return entry;
}

/* Rights that a protection key takes away (SDM 4.6.2): MEM_R | MEM_W, MEM_W or nothing. */
static uint32_t key_denies(const struct walker *w, unsigned key)
{
    const struct cpu_state *s = &w->cpu->state;
    if (!w->cpu->long_mode || !(s->cr4 & (w->user ? CR4_PKE : CR4_PKS)))
        return 0;
    uint32_t bits = (w->user ? s->pkru : s->pkrs) >> 2 * key & 3;
    if (bits & 1)
        return MEM_R | MEM_W;
    return bits & 2 && (w->rights == TLB_USER || s->cr0 & CR0_WP) ? MEM_W : 0;
}

/* SDM 4.6.1 without the keys. */
static uint32_t rights_allow(const struct walker *w)
{
    const struct cpu_state *s = &w->cpu->state;
    uint32_t execute = w->no_execute ? 0 : MEM_X;
    uint32_t write = w->writable ? MEM_W : 0;
    if (w->rights == TLB_USER)
        return w->user ? MEM_R | write | execute : 0;
    if (w->user && s->cr4 & CR4_SMEP)
        execute = 0;
    if (!(s->cr0 & CR0_WP))
        write = MEM_W;
    if (w->user && w->rights == TLB_SUPERVISOR_SMAP)
        return execute;
    return MEM_R | write | execute;
}

/* Checks the access against the leaf, sets A and D. False: start over. */
static bool walk_finish(struct walker *w, unsigned key, struct mmu_walk *out)
{
    uint32_t allowed = rights_allow(w), denied = key_denies(w, key);
    if (!(allowed & w->access) || denied & w->access)
        walk_fault(w, PF_P | (denied & w->access ? PF_PK : 0));
    unsigned leaf = w->depth - 1;
    for (unsigned i = 0; i < leaf; i++) {
        if (!entry_set(w, i, PTE_A))
            return false;
    }
    if (!entry_set(w, leaf, PTE_A | (w->access & MEM_W ? PTE_D : 0)))
        return false;
    out->allowed = (uint8_t)(allowed & ~denied);
    out->dirty = w->entry[leaf] & PTE_D;
    out->info |= (w->user ? TLB_INFO_USER : 0) | key << TLB_INFO_KEY_SHIFT;
    if (w->entry[leaf] & PTE_G && w->cpu->state.cr4 & CR4_PGE)
        out->info |= TLB_INFO_GLOBAL;
    return true;
}

static bool walk_32bit(struct walker *w, struct mmu_walk *out)
{
    const struct cpu_state *s = &w->cpu->state;
    w->width = 4;
    uint64_t entry = entry_read(w, (s->cr3 & 0xfffff000) + (w->linear >> 22 & 0x3ff) * 4);
    bool large = entry & PTE_PS && s->cr4 & CR4_PSE;
    /* PSE-36: bits 20:13 are address bits 39:32, as far as the CPU has them; bit 21 is reserved (SDM 4.3). */
    unsigned phys = cpu_phys_bits(w->cpu);
    uint64_t reserved = large ? BIT(21) | (phys >= 40 ? 0 : bits_get(UINT64_MAX, 20, phys > 32 ? phys - 19 : 13) << (phys > 32 ? phys - 19 : 13)) : 0;
    entry = walk_entry(w, (s->cr3 & 0xfffff000) + (w->linear >> 22 & 0x3ff) * 4, reserved);
    if (large) {
        out->gpa = (entry & 0xffc00000) | (entry >> 13 & 0xff) << 32 | (w->linear & 0x3fffff);
        out->info |= TLB_INFO_LARGE;
    } else {
        entry = walk_entry(w, (entry & 0xfffff000) + (w->linear >> 12 & 0x3ff) * 4, 0);
        out->gpa = (entry & 0xfffff000) | (w->linear & 0xfff);
    }
    return walk_finish(w, 0, out);
}

static bool walk_table(struct walker *w, uint64_t table, uint64_t reserved, struct mmu_walk *out)
{
    uint64_t entry = walk_entry(w, table + (w->linear >> 12 & 0x1ff) * 8, reserved);
    out->gpa = (entry & UINT64_C(0x000ffffffffff000)) | (w->linear & 0xfff);
    return walk_finish(w, (unsigned)bits_get(entry, 62, 59), out);
}

static struct mmu_directory *directory_of(const struct walker *w)
{
    return &w->cpu->mmu->directories[w->linear >> 21 & (MMU_DIRECTORIES - 1)];
}

/* Levels 2 and 1 of PAE and 4-level paging: page directory at `table`. */
static bool walk_directory(struct walker *w, uint64_t table, uint64_t reserved, struct mmu_walk *out)
{
    uint64_t entry = walk_entry(w, table + (w->linear >> 21 & 0x1ff) * 8, reserved);
    if (entry & PTE_PS) {
        if (entry & bits_get(UINT64_MAX, 20, 13) << 13)
            walk_fault(w, PF_P | PF_RSVD);
        out->gpa = (entry & ~reserved & UINT64_C(0x000fffffffe00000)) | (w->linear & 0x1fffff);
        out->info |= TLB_INFO_LARGE;
        return walk_finish(w, (unsigned)bits_get(entry, 62, 59), out);
    }
    struct mmu_directory d = { w->linear >> 21, entry & UINT64_C(0x000ffffffffff000), w->cpu->mmu->generation, w->user, w->writable, w->no_execute };
    bool done = walk_table(w, d.table, reserved, out);
    if (done) /* so the accessed flags on the way are set */
        *directory_of(w) = d;
    return done;
}

static bool walk_pae(struct walker *w, uint64_t reserved, struct mmu_walk *out)
{
    /* PDPTEs have no rights, and were checked when they were loaded. */
    uint64_t pdpte = w->cpu->state.pdpte[w->linear >> 30 & 3];
    if (!(pdpte & PTE_P))
        walk_fault(w, 0);
    /* Bits 62:52 of PAE entries are reserved; protection keys belong to 4-level paging. */
    reserved |= bits_get(UINT64_MAX, 62, 52) << 52;
    return walk_directory(w, pdpte & UINT64_C(0x000ffffffffff000), reserved, out);
}

static bool walk_long(struct walker *w, uint64_t reserved, struct mmu_walk *out)
{
    uint64_t frame = UINT64_C(0x000ffffffffff000);
    uint64_t entry = walk_entry(w, (w->cpu->state.cr3 & frame) + (w->linear >> 39 & 0x1ff) * 8, reserved | PTE_PS);
    entry = walk_entry(w, (entry & frame) + (w->linear >> 30 & 0x1ff) * 8, reserved);
    if (!(entry & PTE_PS))
        return walk_directory(w, entry & frame, reserved, out);
    if (entry & bits_get(UINT64_MAX, 29, 13) << 13)
        walk_fault(w, PF_P | PF_RSVD);
    out->gpa = (entry & UINT64_C(0x000fffffc0000000)) | (w->linear & 0x3fffffff);
    out->info |= TLB_INFO_HUGE;
    return walk_finish(w, (unsigned)bits_get(entry, 62, 59), out);
}

static bool walk_once(struct walker *w, struct mmu_walk *out)
{
    const struct cpu_state *s = &w->cpu->state;
    w->depth = 0;
    w->user = w->writable = true;
    w->no_execute = false;
    out->info = 0;
    if (!(s->cr4 & CR4_PAE))
        return walk_32bit(w, out);
    w->width = 8;
    uint64_t reserved = s->efer & EFER_NXE ? 0 : PTE_NX;
    unsigned phys = cpu_phys_bits(w->cpu);
    if (phys < 52)
        reserved |= bits_get(UINT64_MAX, 51, phys) << phys;
    const struct mmu_directory *d = directory_of(w);
    if (d->tag == w->linear >> 21 && d->generation == w->cpu->mmu->generation) {
        w->user = d->user;
        w->writable = d->writable;
        w->no_execute = d->no_execute;
        return walk_table(w, d->table, reserved, out);
    }
    return w->cpu->long_mode ? walk_long(w, reserved, out) : walk_pae(w, reserved, out);
}

void mmu_walk(struct cpu *cpu, unsigned rights, uint64_t linear, uint32_t access, struct mmu_walk *out)
{
    if (!(cpu->state.cr0 & CR0_PG)) {
        *out = (struct mmu_walk){ .gpa = linear & UINT32_MAX, .allowed = MEM_R | MEM_W | MEM_X, .dirty = true };
        return;
    }
    cpu->mmu->statistics.walks++;
    struct walker w = { .cpu = cpu, .rights = rights, .linear = linear, .access = access };
    for (unsigned i = 0; i < WALK_TRIES; i++) {
        if (walk_once(&w, out))
            return;
    }
    cpu_restart(cpu);
}
