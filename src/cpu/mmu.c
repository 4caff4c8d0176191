/* SPDX-License-Identifier: MIT */
/* mmu.c - the software TLB and the slow paths of guest memory accesses.
 *
 * What the guest sees: accesses of any size at any address: page crossing, device memory, the local APIC's page, alignment checks, data breakpoints.
 * What is trusted: nothing of the guest. Host pointers come from mmu_find() alone.
 * An access first translates all its pieces (at most two pages), then asks devices, and touches memory last: so a fault or an exit leaves nothing half done.
 * TLB entries carry only what paging, the map and every layer grant; a write tag stands only when the dirty flag is set, no tag where a data breakpoint
 * watches the page. Entries are of the present address space: a switch drops what is not global (spaces.c: and what comes back).
 * Locking: owner's thread, but listener_changed(). Limits: accesses of at most 4096 bytes.
 * Spec: SDM volume 3, 4.10 (TLB), 6.15 (#AC), 17.2 (data breakpoints).
 */
#include "cpu/mmu.h"

#include <sched.h>
#include <stdlib.h>

#include "apic/apic.h"
#include "cpu/debug.h"
#include "cpu/engine.h"
#include "cpu/mmu_private.h"
#include "cpu/translate/translate.h"

/* ---- the one question ------------------------------------------------------------------------------------------------------------------------- */

enum mem_refusal mmu_find(struct cpu *cpu, uint64_t gpa, uint32_t access, struct mem_page *out)
{
    struct mmu_gpa *g = &cpu->mmu->gpa[gpa >> 12 & (MMU_GPA_ENTRIES - 1)];
    if (g->tag == (gpa & TLB_PAGE_MASK) && (g->page.prot & access) == access) {
        *out = g->page;
        return MEM_GRANTED;
    }
    enum mem_refusal refusal = mem_find(cpu->vm->map, gpa, access, cpu->vm->view, out);
    if (refusal == MEM_GRANTED)
        *g = (struct mmu_gpa){ gpa & TLB_PAGE_MASK, *out };
    return refusal;
}

_Noreturn void mmu_leave_fault(struct cpu *cpu, uint64_t gpa, uint32_t access)
{
    cpu->exit = (hy_exit){ .reason = HY_EXIT_FAULT, .write = access & MEM_W ? 1 : 0, .u.fault = { .gpa = gpa, .access = access } };
    cpu_leave(cpu);
}

/* ---- TLB ---------------------------------------------------------------------------------------------------------------------------------------- */

static struct tlb_entry *slot_at(struct cpu *cpu, unsigned slot)
{
    return &cpu->tlbs[slot / TLB_ENTRIES][slot % TLB_ENTRIES];
}

static void entry_drop(struct tlb_entry *e)
{
    e->read_tag = e->write_tag = e->exec_tag = TLB_NO_TAG;
    e->info &= TLB_INFO_LISTS;
}

static uint64_t entry_tag(const struct tlb_entry *e)
{
    return e->read_tag != TLB_NO_TAG ? e->read_tag : e->write_tag != TLB_NO_TAG ? e->write_tag : e->exec_tag;
}

/* Calls `visit` with each slot of a list, and the third argument. */
static void list_walk(struct cpu *cpu, bool global, void (*visit)(struct tlb_entry *, uint64_t), uint64_t argument)
{
    const struct cpu_mmu *mmu = cpu->mmu;
    for (unsigned i = 0; i < mmu->filled_count[global]; i++)
        visit(slot_at(cpu, mmu->filled[global][i]), argument);
}

static void visit_drop(struct tlb_entry *e, uint64_t unused)
{
    (void)unused;
    entry_drop(e);
    e->info = 0;
}

/* In the list of what is not global; a slot may be in both. */
static void visit_drop_local(struct tlb_entry *e, uint64_t unused)
{
    (void)unused;
    if (!(e->info & TLB_INFO_GLOBAL))
        entry_drop(e);
    e->info &= ~(uint64_t)TLB_INFO_LISTED;
}

void cpu_tlb_flush_all(struct cpu *cpu)
{
    struct cpu_mmu *mmu = cpu->mmu;
    list_walk(cpu, false, visit_drop, 0);
    list_walk(cpu, true, visit_drop, 0);
    mmu->filled_count[false] = mmu->filled_count[true] = 0;
    mmu->generation = ++mmu->generations;
    mmu_spaces_forget(cpu);
    page_set_clear(&mmu->large[false]);
    page_set_clear(&mmu->large[true]);
    translate_tlb_flush_all(cpu);
    engine_fetch_changed(cpu, true);
}

void mmu_drop_local(struct cpu *cpu)
{
    list_walk(cpu, false, visit_drop_local, 0);
    cpu->mmu->filled_count[false] = 0;
}

void cpu_tlb_flush_space(struct cpu *cpu)
{
    mmu_drop_local(cpu);
    cpu->mmu->generation = ++cpu->mmu->generations;
    translate_tlb_flush_nonglobal(cpu);
    engine_fetch_changed(cpu, false);
}

void cpu_tlb_flush_nonglobal(struct cpu *cpu)
{
    mmu_spaces_forget(cpu);
    cpu_tlb_flush_space(cpu);
}

/* `argument`: the bits that changed, and above them whether they are of user keys. Keys do not guard fetches. */
static void visit_keys(struct tlb_entry *e, uint64_t argument)
{
    unsigned key = e->info >> TLB_INFO_KEY_SHIFT & 15;
    if (!(e->info & TLB_INFO_USER) == !(argument >> 32) && argument >> 2 * key & 3)
        e->read_tag = e->write_tag = TLB_NO_TAG;
}

void cpu_tlb_flush_keys(struct cpu *cpu, uint32_t changed, bool user)
{
    list_walk(cpu, false, visit_keys, changed | (uint64_t)user << 32);
    list_walk(cpu, true, visit_keys, changed | (uint64_t)user << 32);
    translate_tlb_flush_all(cpu);
    mmu_spaces_forget(cpu);
}

static unsigned region_shift(uint64_t info) { return info & TLB_INFO_HUGE ? 30 : 22; }

/* The region that an entry's page lies in, as a number: 4 MiB, for pages of that size and of 2 MiB, or 1 GiB. */
static uint64_t region_of(uint64_t info, uint64_t linear)
{
    return linear >> region_shift(info) | (info & TLB_INFO_HUGE ? BIT(62) : 0);
}

/* INVLPG drops the whole large page that an address lies in (SDM 4.10.4.1): both halves of a 4 MiB region, to keep one rule for both sizes. */
static void visit_large(struct tlb_entry *e, uint64_t linear)
{
    unsigned shift = region_shift(e->info);
    if (e->info & (TLB_INFO_LARGE | TLB_INFO_HUGE) && entry_tag(e) >> shift == linear >> shift)
        entry_drop(e);
}

/* Whether something of a large page, global or not, may be known at the address. */
static bool large_at(struct cpu_mmu *mmu, bool global, uint64_t linear)
{
    struct page_set *set = &mmu->large[global];
    return page_set_has(set, region_of(TLB_INFO_LARGE, linear)) || page_set_has(set, region_of(TLB_INFO_HUGE, linear));
}

static void flush_large(struct cpu *cpu, uint64_t linear, bool global)
{
    list_walk(cpu, global, visit_large, linear);
    if (global)
        translate_tlb_flush_all(cpu);
    else
        translate_tlb_flush_nonglobal(cpu);
    engine_fetch_changed(cpu, global);
}

void cpu_tlb_flush_page(struct cpu *cpu, uint64_t linear)
{
    struct cpu_mmu *mmu = cpu->mmu;
    for (unsigned rights = 0; rights < TLB_USER_ALIGNED; rights++) {
        struct tlb_entry *e = cpu_tlb_at(cpu->tlbs[rights], linear);
        if (entry_tag(e) == (linear & TLB_PAGE_MASK))
            entry_drop(e);
    }
    translate_tlb_flush_page(cpu, linear);
    mmu->generation = ++mmu->generations;
    if (mmu->large[false].crowded || mmu->large[true].crowded) {
        cpu_tlb_flush_all(cpu);
        return;
    }
    for (unsigned global = 0; global < 2; global++)
        if (large_at(mmu, global, linear))
            flush_large(cpu, linear, global);
    engine_fetch_page_changed(cpu, linear);
}

static void entry_list(struct cpu *cpu, unsigned rights, struct tlb_entry *e, bool global)
{
    struct cpu_mmu *mmu = cpu->mmu;
    unsigned bit = global ? TLB_INFO_LISTED_GLOBAL : TLB_INFO_LISTED;
    if (e->info & bit)
        return;
    mmu->filled[global][mmu->filled_count[global]++] = (uint16_t)(rights * TLB_ENTRIES + (unsigned)(e - cpu->tlbs[rights]));
    e->info |= bit;
}

/* Translates one access inside a page and fills its entry. The entry is good for this access whatever its tags are. NULL: a device, at *gpa, or with *refused
 * memory that the map or a layer refuses; both are for somebody outside to answer. A fetch leaves instead. */
static struct tlb_entry *tlb_fill(struct cpu *cpu, unsigned rights, uint64_t linear, uint32_t access, uint64_t *gpa, bool *refused)
{
    struct mmu_walk walk;
    struct mem_page page;
    mmu_walk(cpu, rights, linear, access, &walk);
    *gpa = walk.gpa;
    if (cpu->apic && apic_claims(cpu->apic, walk.gpa)) {
        if (access == MEM_X)
            mmu_leave_fault(cpu, walk.gpa, access);
        return NULL;
    }
    enum mem_refusal refusal = mmu_find(cpu, walk.gpa, access, &page);
    if (refusal != MEM_GRANTED) {
        if (access == MEM_X)
            mmu_leave_fault(cpu, walk.gpa, access);
        *refused = refusal != MEM_UNMAPPED;
        return NULL;
    }

    struct tlb_entry *e = cpu_tlb_at(cpu->tlbs[rights], linear);
    uint64_t tag = linear & TLB_PAGE_MASK;
    uint32_t allowed = walk.allowed & page.prot;
    bool watched = cpu_debug_watches(cpu, tag);
    entry_list(cpu, rights, e, walk.info & TLB_INFO_GLOBAL);
    e->read_tag = allowed & MEM_R && !watched ? tag : TLB_NO_TAG;
    e->write_tag = allowed & MEM_W && walk.dirty && !watched ? tag : TLB_NO_TAG;
    e->exec_tag = allowed & MEM_X ? tag : TLB_NO_TAG;
    e->addend = (uintptr_t)page.host - (uintptr_t)tag;
    e->flags = page.flags;
    e->block = page.block;
    e->offset = page.offset;
    e->info = (e->info & TLB_INFO_LISTS) | walk.info | (walk.gpa & TLB_PAGE_MASK);
    if (walk.info & (TLB_INFO_LARGE | TLB_INFO_HUGE))
        page_set_add(&cpu->mmu->large[(walk.info & TLB_INFO_GLOBAL) != 0], region_of(walk.info, linear));
    return e;
}

static struct tlb_entry *tlb_get(struct cpu *cpu, unsigned rights, uint64_t linear, uint32_t access, uint64_t *gpa, bool *refused)
{
    struct tlb_entry *e = cpu_tlb_at(cpu->tlbs[rights], linear);
    uint64_t tag = access == MEM_R ? e->read_tag : access == MEM_W ? e->write_tag : e->exec_tag;
    if (tag != (linear & TLB_PAGE_MASK))
        return tlb_fill(cpu, rights, linear, access, gpa, refused);
    *gpa = (e->info & TLB_PAGE_MASK) | (linear & 0xfff);
    return e;
}

unsigned cpu_rights_at(const struct cpu *cpu, unsigned cpl)
{
    if (cpl == 3)
        return TLB_USER;
    return cpu->state.cr4 & CR4_SMAP && !(cpu->state.rflags & FLAG_AC) ? TLB_SUPERVISOR_SMAP : TLB_SUPERVISOR;
}

/* ---- pieces: one access cut at page boundaries -------------------------------------------------------------------------------------------------- */

struct piece {
    uint8_t *host;            /* NULL: a device at gpa, or refused */
    _Atomic uint8_t *flags;
    struct mem_block *block;
    uint64_t offset, gpa;
    size_t len;
    bool refused;
};

static void piece_get(struct cpu *cpu, unsigned rights, uint64_t linear, size_t len, uint32_t access, struct piece *p)
{
    p->refused = false;
    const struct tlb_entry *e = tlb_get(cpu, rights, linear, access, &p->gpa, &p->refused);
    p->len = len;
    p->host = NULL;
    if (e) {
        p->host = (uint8_t *)(uintptr_t)(linear + e->addend);
        p->flags = e->flags;
        p->block = e->block;
        p->offset = e->offset + (linear & 0xfff);
    }
}

/* How many pieces: 0 (len 0), 1 or 2. */
static unsigned pieces_get(struct cpu *cpu, unsigned rights, uint64_t linear, size_t len, uint32_t access, struct piece p[2])
{
    if (rights == TLB_USER_ALIGNED) {
        if ((len == 2 || len == 4 || len == 8) && linear & (len - 1))
            cpu_raise_error(cpu, EXC_AC, 0);
        if (len == 10 && linear & 7) /* x87 */
            cpu_raise_error(cpu, EXC_AC, 0);
        rights = TLB_USER;
    }
    if (!len)
        return 0;
    if (cpu->long_mode && (!is_canonical48(linear) || !is_canonical48(linear + len - 1)))
        cpu_raise_noncanonical(cpu, linear);
    size_t first = MEM_PAGE_SIZE - (linear & 0xfff);
    if (len <= first) {
        piece_get(cpu, rights, linear, len, access, &p[0]);
        return 1;
    }
    uint64_t second = linear + first;
    if (cpu->mode != CPU_MODE_64 && second == BIT(32))
        second = 0;
    piece_get(cpu, rights, linear, first, access, &p[0]);
    piece_get(cpu, rights, second, len - first, access, &p[1]);
    return 2;
}

/* An access that somebody outside answers, in naturally sized parts of at most 8 bytes. */
static void device_access(struct cpu *cpu, const struct piece *p, uint8_t *data, bool write)
{
    unsigned reason = p->refused ? HY_EXIT_FAULT : HY_EXIT_MMIO;
    uint64_t gpa = p->gpa;
    for (size_t len = p->len; len;) {
        unsigned width = len >= 8 ? 8 : len >= 4 ? 4 : len >= 2 ? 2 : 1;
        if (cpu->apic && apic_claims(cpu->apic, gpa)) {
            /* Not in the replay log: no instruction touches the APIC's page and then another device with an effect that counts twice. */
            if (write)
                apic_mmio_write(cpu->apic, gpa & 0xfff, data, width);
            else
                apic_mmio_read(cpu->apic, gpa & 0xfff, data, width);
        } else {
            const struct cpu_replay *answer = cpu_exit_access(cpu, reason, gpa, width, write, data, NULL);
            if (!write)
                memcpy(data, answer->data, width);
        }
        gpa += width;
        data += width;
        len -= width;
    }
}

static void host_copy_in(uint8_t *out, const uint8_t *host, size_t len)
{
    switch (len) {
    case 2:  store_le16(out, *(const volatile host_u16 *)host); break;
    case 4:  store_le32(out, *(const volatile host_u32 *)host); break;
    case 8:  store_le64(out, *(const volatile host_u64 *)host); break;
    default: memcpy(out, host, len); break;
    }
}

static void host_copy_out(uint8_t *host, const uint8_t *data, size_t len)
{
    switch (len) {
    case 2:  *(volatile host_u16 *)host = load_le16(data); break;
    case 4:  *(volatile host_u32 *)host = load_le32(data); break;
    case 8:  *(volatile host_u64 *)host = load_le64(data); break;
    default: memcpy(host, data, len); break;
    }
}

void cpu_load_bytes_slow(struct cpu *cpu, unsigned rights, uint64_t linear, void *out, size_t len)
{
    struct piece p[2];
    unsigned count = pieces_get(cpu, rights, linear, len, MEM_R, p);
    uint8_t *to = out;
    for (unsigned i = 0; i < count; to += p[i++].len) {
        if (p[i].host)
            host_copy_in(to, p[i].host, p[i].len);
        else
            device_access(cpu, &p[i], to, false);
    }
    cpu_debug_data(cpu, linear, len, false);
}

void cpu_store_bytes_slow(struct cpu *cpu, unsigned rights, uint64_t linear, const void *data, size_t len)
{
    struct piece p[2];
    unsigned count = pieces_get(cpu, rights, linear, len, MEM_W, p);
    const uint8_t *from[2] = { data, (const uint8_t *)data + (count ? p[0].len : 0) };
    for (unsigned i = 0; i < count; i++) {
        if (!p[i].host)
            device_access(cpu, &p[i], (uint8_t *)(uintptr_t)from[i], true);
    }
    for (unsigned i = 0; i < count; i++) {
        if (!p[i].host)
            continue;
        host_copy_out(p[i].host, from[i], p[i].len);
        atomic_signal_fence(memory_order_seq_cst);
        if (atomic_load_explicit(p[i].flags, memory_order_relaxed))
            mem_page_written(p[i].block, p[i].offset, p[i].len);
    }
    cpu_debug_data(cpu, linear, len, true);
}

uint64_t cpu_load_slow(struct cpu *cpu, unsigned rights, uint64_t linear, unsigned size)
{
    uint8_t bytes[8] = { 0 };
    cpu_load_bytes_slow(cpu, rights, linear, bytes, size);
    return load_le64(bytes);
}

void cpu_store_slow(struct cpu *cpu, unsigned rights, uint64_t linear, uint64_t value, unsigned size)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    cpu_store_bytes_slow(cpu, rights, linear, bytes, size);
}

void cpu_probe(struct cpu *cpu, unsigned rights, uint64_t linear, size_t len, uint32_t access)
{
    struct piece p[2];
    pieces_get(cpu, rights, linear, len, access, p);
}

void cpu_store_noticed(struct cpu *cpu, const struct tlb_entry *entry, uint64_t linear, size_t len)
{
    (void)cpu;
    mem_page_written(entry->block, entry->offset + (linear & 0xfff), len);
}

void *cpu_rmw_begin_slow(struct cpu *cpu, uint64_t linear, size_t len)
{
    struct piece p[2];
    unsigned count = pieces_get(cpu, cpu->rights, linear, len, MEM_W, p);
    return count == 1 && !cpu_debug_watches(cpu, linear & TLB_PAGE_MASK) ? p[0].host : NULL;
}

const struct tlb_entry *cpu_fetch_page_slow(struct cpu *cpu, uint64_t linear)
{
    uint64_t gpa;
    bool refused;
    if (cpu->long_mode && !is_canonical48(linear))
        cpu_raise_error(cpu, EXC_GP, 0);
    return tlb_get(cpu, cpu->rights == TLB_USER_ALIGNED ? TLB_USER : cpu->rights, linear, MEM_X, &gpa, &refused);
}

/* ---- changes of the map --------------------------------------------------------------------------------------------------------------------------- */

void cpu_mmu_sync(struct cpu *cpu)
{
    uint64_t changes = atomic_load(&cpu->map_changes);
    for (unsigned i = 0; i < MMU_GPA_ENTRIES; i++)
        cpu->mmu->gpa[i].tag = TLB_NO_TAG;
    cpu_tlb_flush_all(cpu);
    atomic_store(&cpu->map_changes_seen, changes);
}

static void listener_changed(struct mem_listener *listener, uint64_t gpa, uint64_t len)
{
    struct cpu *cpu = container_of(listener, struct cpu, map_listener);
    (void)gpa, (void)len;
    uint64_t change = atomic_fetch_add(&cpu->map_changes, 1) + 1;
    cpu_request(cpu, CPU_REQ_TLB);
    while (atomic_load(&cpu->in_guest) && atomic_load(&cpu->map_changes_seen) < change)
        sched_yield();
}

int mmu_new(struct cpu *cpu, struct err *err)
{
    cpu->mmu = calloc(1, sizeof *cpu->mmu);
    if (!cpu->mmu)
        return err_set(err, ERR_HOST, "no memory for the MMU of vCPU %u", cpu->index);
    for (unsigned i = 0; i < TLB_RIGHTS_COUNT * TLB_ENTRIES; i++)
        entry_drop(slot_at(cpu, i));
    cpu->map_listener = (struct mem_listener){ .changed = listener_changed };
    cpu_mmu_sync(cpu);
    mem_map_listen(cpu->vm->map, &cpu->map_listener);
    return 0;
}

void mmu_free(struct cpu *cpu)
{
    if (!cpu->mmu)
        return;
    mem_map_unlisten(cpu->vm->map, &cpu->map_listener);
    free(cpu->mmu);
    cpu->mmu = NULL;
}
