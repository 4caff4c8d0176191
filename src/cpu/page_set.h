/* SPDX-License-Identifier: MIT */
/* page_set.h - a set of page numbers that never takes one for another: where that would cost a flush of everything, a filter of hashed bits is the wrong tool, since
 * by chance of addresses one page of a hot loop is enough. It can only be emptied as a whole, and says when it must be. Owner's thread. */
#ifndef CPU_PAGE_SET_H
#define CPU_PAGE_SET_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { PAGE_SET_SIZE = 4096 /* a power of two */, PAGE_SET_PROBES = 16 };

struct page_set {
    uint64_t pages[PAGE_SET_SIZE]; /* plus 1; 0: none                                 */
    bool crowded;                  /* one found no room: the set has everything       */
};

/* Where `page` is, or would be. NULL: neither. */
static inline uint64_t *page_set_slot(struct page_set *set, uint64_t page)
{
    uint64_t at = page ^ page >> 12 ^ page >> 24;
    for (unsigned probe = 0; probe < PAGE_SET_PROBES; probe++) {
        uint64_t *slot = &set->pages[(at + probe) % PAGE_SET_SIZE];
        if (!*slot || *slot == page + 1)
            return slot;
    }
    return NULL;
}

static inline void page_set_add(struct page_set *set, uint64_t page)
{
    uint64_t *slot = page_set_slot(set, page);
    if (slot)
        *slot = page + 1;
    else
        set->crowded = true;
}

static inline bool page_set_has(struct page_set *set, uint64_t page)
{
    const uint64_t *slot = page_set_slot(set, page);
    return set->crowded || (slot && *slot);
}

static inline void page_set_clear(struct page_set *set) { memset(set, 0, sizeof *set); }

#endif
