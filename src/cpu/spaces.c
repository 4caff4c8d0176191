/* SPDX-License-Identifier: MIT */
/* spaces.c - switches between address spaces by PCID: SDM volume 3, 4.10.1 and 4.10.4.
 *
 * The TLB holds one address space. What the fast TLB had of a space that was left, and the generation that its code's translations had, is kept until MOV to CR3 brings the same
 * value back with bit 63 set; so links of its code hold again. One space for each PCID, the TLB_SPACES left last. Dropping more than the SDM asks is always allowed. */
#include "cpu/engine.h"
#include "cpu/mmu_private.h"
#include "cpu/translate/translate.h"

static unsigned pcid_of(uint64_t cr3) { return cr3 & 0xfff; }

static struct mmu_space *space_find(struct cpu *cpu, unsigned pcid)
{
    for (unsigned i = 0; i < TLB_SPACES; i++)
        if (cpu->mmu->spaces[i].left && pcid_of(cpu->mmu->spaces[i].cr3) == pcid)
            return &cpu->mmu->spaces[i];
    return NULL;
}

void mmu_spaces_forget(struct cpu *cpu)
{
    for (unsigned i = 0; i < TLB_SPACES; i++)
        cpu->mmu->spaces[i].left = 0;
}

void cpu_tlb_flush_pcid(struct cpu *cpu, unsigned pcid)
{
    struct mmu_space *kept = space_find(cpu, pcid);
    bool pcids = cpu->long_mode && cpu->state.cr4 & CR4_PCIDE;
    if (kept)
        kept->left = 0;
    if (pcid == (pcids ? pcid_of(cpu->state.cr3) : 0))
        cpu_tlb_flush_space(cpu);
}

static unsigned number_of(struct cpu *cpu, const struct mmu_space *space) { return (unsigned)(space - cpu->mmu->spaces); }

/* Where the space with this CR3 was kept, or the one that was left first, but not in the one to be entered. */
static struct mmu_space *space_for(struct cpu *cpu, uint64_t cr3, const struct mmu_space *entered)
{
    struct mmu_space *oldest = NULL;
    for (struct mmu_space *s = cpu->mmu->spaces; s < cpu->mmu->spaces + TLB_SPACES; s++) {
        if (s->cr3 == cr3 && !s->left)
            return s;
        if (s != entered && (!oldest || s->left < oldest->left))
            oldest = s;
    }
    return oldest;
}

static void space_leave(struct cpu *cpu, uint64_t cr3, const struct mmu_space *entered)
{
    struct cpu_mmu *mmu = cpu->mmu;
    struct mmu_space *to = space_for(cpu, cr3, entered);
    *to = (struct mmu_space){ cr3, ++mmu->statistics.space_switches, mmu->generation, cpu->fetch_generation };
    translate_tlb_leave(cpu, number_of(cpu, to));
    mmu_drop_local(cpu);
}

static void space_enter(struct cpu *cpu, struct mmu_space *from)
{
    cpu->mmu->statistics.space_switches_kept++;
    cpu->mmu->generation = from->generation;
    translate_tlb_enter(cpu, number_of(cpu, from));
    engine_fetch_resume(cpu, from->fetch_generation);
    from->left = 0;
}

void cpu_tlb_switch(struct cpu *cpu, uint64_t from, uint64_t to, bool keep)
{
    struct cpu_mmu *mmu = cpu->mmu;
    if (from == to && keep)
        return;
    if (pcid_of(from) == pcid_of(to)) {
        cpu_tlb_flush_space(cpu);
        return;
    }
    struct mmu_space *kept = space_find(cpu, pcid_of(to));
    if (kept && (!keep || kept->cr3 != to)) {
        kept->left = 0;
        kept = NULL;
    }
    space_leave(cpu, from, kept);
    if (kept) {
        space_enter(cpu, kept);
        return;
    }
    mmu->generation = ++mmu->generations;
    engine_fetch_changed(cpu, false);
}
