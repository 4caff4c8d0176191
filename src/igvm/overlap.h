/* SPDX-License-Identifier: MIT */
/* overlap.h - finds pages of one platform that are imported twice, in 8 bytes a page header at most, and none while pages come in order. */
#ifndef IGVM_OVERLAP_H
#define IGVM_OVERLAP_H

#include "igvm/internal.h"

/* Where a header was, for findings that come later. */
struct place {
    uint32_t index, offset, type;
};

struct overlap_range {
    uint64_t page, pages;
    struct place place;
    uint8_t  platforms; /* a bit each                                         */
    uint8_t  vmsa;      /* may lie on another VMSA: KVM wants them at one GPA */
};

struct overlap {
    uint64_t page_headers;
    uint64_t last_end;  /* number of the page after the last one          */
    bool unordered;     /* page headers did not come in ascending order   */
    struct overlap_range *ranges;
    uint32_t range_count, range_room;
};

/* Counts a page header of 1 or 512 pages. */
static inline void overlap_page(struct overlap *o, uint64_t page, uint32_t pages)
{
    o->page_headers++;
    if (page < o->last_end)
        o->unordered = true;
    o->last_end = page + pages;
}

/* Notes a range. False: no memory. */
bool overlap_range(struct overlap *o, const struct overlap_range *range);

/* Calls `found` for each header that imports a page which another of the same platform imports too (not for the first of equal ones), until it returns
 * false. `platforms` gives the platforms of a mask. False: no memory. */
bool overlap_find(struct overlap *o, const igvm_file *file, uint32_t (*platforms)(void *context, uint32_t mask),
    bool (*found)(void *context, const struct place *place, uint64_t gpa), void *context);

void overlap_free(struct overlap *o);

#endif
