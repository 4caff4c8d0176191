/* SPDX-License-Identifier: MIT */
/* spaces.c - what the fast TLB keeps of address spaces that were left (../spaces.c).
 *
 * The entries filled last are copied out, at most KEPT_MAX, and put back when the space comes again. Nobody knows which of them were used: so how many are worth it is found out.
 * All that was put back and filled since is kept while fills go on; after QUIET_TURNS turns without any the oldest eighth goes.
 * A write tag comes back only if the page has no flag by then: who sets one drops tags in the table, not here. Locking: owner's thread. */
#include "cpu/translate/private.h"

enum { QUIET_TURNS = 8 };

static bool is_empty(const struct fast_tlb *f) { return f->read_tag == FAST_NO_TAG && f->write_tag == FAST_NO_TAG; }

/* How many to keep of those listed now. */
static unsigned room_for(struct translator *t, struct fast_kept *kept)
{
    unsigned count = t->filled_count[false];
    bool filled = count != t->entered;
    kept->quiet = filled ? 0 : kept->quiet + 1;
    if (kept->quiet == QUIET_TURNS) {
        kept->quiet = 0;
        count -= (count + 7) / 8;
    }
    return count < KEPT_MAX ? count : KEPT_MAX;
}

void translate_tlb_leave(struct cpu *cpu, unsigned space)
{
    struct translator *t = cpu->translator;
    if (!t)
        return;
    struct fast_kept *kept = &t->kept[space];
    unsigned room = room_for(t, kept);
    kept->count = 0;
    for (unsigned i = t->filled_count[false]; i-- > 0 && kept->count < room;) {
        uint32_t slot = t->filled[false][i];
        const struct fast_tlb *f = fast_tlb_at(cpu, slot);
        if (f->info & TLB_INFO_GLOBAL || is_empty(f))
            continue;
        kept->slot[kept->count] = slot;
        kept->entry[kept->count++] = *f;
    }
    translate_tlb_flush_nonglobal(cpu);
}

void translate_tlb_enter(struct cpu *cpu, unsigned space)
{
    struct translator *t = cpu->translator;
    if (!t)
        return;
    struct fast_kept *kept = &t->kept[space];
    for (unsigned i = kept->count; i-- > 0;) { /* so that the list is in the order of their age again */
        struct fast_tlb *f = fast_tlb_at(cpu, kept->slot[i]), *from = &kept->entry[i];
        uint64_t lists = f->info & TLB_INFO_LISTS;
        if (!is_empty(f)) /* something global took the place */
            continue;
        if (from->write_tag != FAST_NO_TAG && atomic_load_explicit(fast_tlb_flags(from), memory_order_relaxed))
            from->write_tag = FAST_NO_TAG;
        *f = *from;
        f->info = (from->info & ~(uint64_t)TLB_INFO_LISTS) | lists | TLB_INFO_LISTED;
        if (!(lists & TLB_INFO_LISTED))
            t->filled[false][t->filled_count[false]++] = kept->slot[i];
    }
    kept->count = 0;
    t->entered = t->filled_count[false];
}
