/* SPDX-License-Identifier: MIT */
/* Pages imported twice.
 *
 * Pages that come in ascending order need no memory at all. Otherwise each page header becomes a key of 8 bytes, the page's number above its
 * platforms, and the keys are sorted by radix with a second buffer of the same size: 16 bytes a header, and a time that no order of the headers makes
 * longer. Inserted areas, VMSAs and error ranges are few; they are kept as ranges and merged with the keys. One sweep over both keeps, for each
 * platform, where the furthest import so far ends. Keys that begin before that are kept, in place, and a last walk over the headers finds whose they are.
 *
 * The number of keys is the number of headers that the file really has, not a number that it says.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "igvm/overlap.h"

/* A key: page number (52 bits), platforms (7), marks (5). */
enum {
    KEY_PAGE  = 12, /* shift */
    KEY_MASK  = 5,  /* shift */
    MARK_2MB  = 1,
    MARK_ALL  = 2,  /* all headers of this key overlap something, the first too */
    MARK_SEEN = 4,  /* the first header of this key has come by                 */
};

static uint64_t key_page(uint64_t key) { return key >> KEY_PAGE; }
static uint32_t key_platforms(uint64_t key) { return key >> KEY_MASK & 0x7f; }
static uint32_t key_pages(uint64_t key) { return key & MARK_2MB ? IGVM_PAGE_2MB / IGVM_PAGE : 1; }
static uint64_t key_without_marks(uint64_t key) { return key & ~(uint64_t)(MARK_ALL | MARK_SEEN); }

bool overlap_range(struct overlap *o, const struct overlap_range *range)
{
    if (o->range_count == o->range_room) {
        uint32_t room = o->range_room ? o->range_room * 2 : 16;
        struct overlap_range *more = realloc(o->ranges, room * sizeof *more);
        if (!more)
            return false;
        o->ranges = more;
        o->range_room = room;
    }
    o->ranges[o->range_count++] = *range;
    return true;
}

void overlap_free(struct overlap *o)
{
    free(o->ranges);
    o->ranges = NULL;
}

/* The key of a header, if it is a page that counts. */
static bool header_key(const igvm_header *h, uint32_t (*platforms)(void *, uint32_t), void *context, uint64_t *key)
{
    if (!h->known || h->type != IGVM_T_PAGE_DATA)
        return false;
    uint64_t gpa = load_le64(h->body), mask = platforms(context, load_le32(h->body + 8));
    if (gpa % IGVM_PAGE || !mask)
        return false;
    *key = gpa | mask << KEY_MASK | (load_le32(h->body + 0x10) & IGVM_PAGE_IS_2MB ? MARK_2MB : 0);
    return true;
}

/* Least significant byte first; a byte that is the same in all keys costs no pass. Returns where the result is. */
static uint64_t *sort_keys(uint64_t *keys, uint64_t *spare, size_t count)
{
    uint32_t counts[8][256];
    memset(counts, 0, sizeof counts);
    for (size_t i = 0; i < count; i++)
        for (int byte = 0; byte < 8; byte++)
            counts[byte][keys[i] >> 8 * byte & 0xff]++;
    for (int byte = 0; byte < 8; byte++) {
        if (counts[byte][keys[0] >> 8 * byte & 0xff] == count)
            continue;
        uint32_t at = 0;
        for (int value = 0; value < 256; value++) {
            uint32_t n = counts[byte][value];
            counts[byte][value] = at;
            at += n;
        }
        for (size_t i = 0; i < count; i++)
            spare[counts[byte][keys[i] >> 8 * byte & 0xff]++] = keys[i];
        uint64_t *swap = keys;
        keys = spare, spare = swap;
    }
    return keys;
}

static int range_order(const void *a, const void *b)
{
    const struct overlap_range *x = a, *y = b;
    if (x->page != y->page)
        return x->page < y->page ? -1 : 1;
    return x->place.index < y->place.index ? -1 : x->place.index > y->place.index;
}

/* Where imports end so far, for each platform: of everything, and of VMSAs. */
struct sweep {
    uint64_t end[8], vmsa_end[8];
};

/* Takes one import; true when it overlaps an earlier one. */
static bool sweep_take(struct sweep *s, uint64_t page, uint64_t pages, uint32_t platforms, bool vmsa)
{
    bool hit = false;
    for (int i = 0; platforms; i++, platforms >>= 1) {
        if (!(platforms & 1))
            continue;
        hit |= page < s->end[i] || (!vmsa && page < s->vmsa_end[i]);
        uint64_t *end = vmsa ? &s->vmsa_end[i] : &s->end[i];
        if (page + pages > *end)
            *end = page + pages;
    }
    return hit;
}

struct search {
    uint64_t *keys; /* sorted; after the sweep the first `hits` are those that overlap, each once */
    size_t count, hits;
    bool (*found)(void *context, const struct place *place, uint64_t gpa);
    void *context;
};

static void keep_hit(struct search *s, uint64_t key, bool same_as_last)
{
    if (s->hits && key_without_marks(s->keys[s->hits - 1]) == key)
        return;
    s->keys[s->hits++] = key | (same_as_last ? 0 : MARK_ALL);
}

/* Goes over keys and ranges by their first page. False: the caller has heard enough. */
static bool sweep_all(struct search *s, const struct overlap_range *ranges, uint32_t range_count)
{
    struct sweep sweep = {0};
    uint64_t last = UINT64_MAX;
    size_t k = 0;
    for (uint32_t r = 0; k < s->count || r < range_count;) {
        if (k < s->count && (r == range_count || key_page(s->keys[k]) <= ranges[r].page)) {
            uint64_t key = s->keys[k++];
            if (sweep_take(&sweep, key_page(key), key_pages(key), key_platforms(key), false))
                keep_hit(s, key, key == last);
            last = key;
            continue;
        }
        const struct overlap_range *range = &ranges[r++];
        if (sweep_take(&sweep, range->page, range->pages, range->platforms, range->vmsa) && !s->found(s->context, &range->place, range->page * IGVM_PAGE))
            return false;
    }
    return true;
}

static uint64_t *find_hit(struct search *s, uint64_t key)
{
    size_t low = 0, high = s->hits;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        uint64_t it = key_without_marks(s->keys[middle]);
        if (it == key)
            return &s->keys[middle];
        if (it < key)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static void report_hits(struct search *s, const igvm_file *file, uint32_t (*platforms)(void *, uint32_t))
{
    igvm_header h;
    for (igvm_iter it = igvm_headers(file); s->hits && igvm_next(&it, &h);) {
        uint64_t key, *hit;
        if (!header_key(&h, platforms, s->context, &key) || !(hit = find_hit(s, key)))
            continue;
        if (!(*hit & (MARK_ALL | MARK_SEEN))) {
            *hit |= MARK_SEEN;
            continue;
        }
        struct place place = {h.index, h.offset, h.type};
        if (!s->found(s->context, &place, load_le64(h.body)))
            return;
    }
}

bool overlap_find(struct overlap *o, const igvm_file *file, uint32_t (*platforms)(void *context, uint32_t mask),
    bool (*found)(void *context, const struct place *place, uint64_t gpa), void *context)
{
    if (!o->unordered && !o->range_count)
        return true;
    uint64_t *keys = malloc((o->page_headers + 1) * sizeof *keys), *spare = NULL;
    if (!keys)
        return false;
    struct search s = {.keys = keys, .found = found, .context = context};
    igvm_header h;
    for (igvm_iter it = igvm_headers(file); s.count < o->page_headers && igvm_next(&it, &h);)
        s.count += header_key(&h, platforms, context, &keys[s.count]);
    if (o->unordered && s.count) {
        spare = malloc(s.count * sizeof *spare);
        if (!spare) {
            free(keys);
            return false;
        }
        s.keys = sort_keys(keys, spare, s.count);
    }
    if (o->range_count)
        qsort(o->ranges, o->range_count, sizeof *o->ranges, range_order);
    if (sweep_all(&s, o->ranges, o->range_count))
        report_hits(&s, file, platforms);
    free(keys);
    free(spare);
    return true;
}
