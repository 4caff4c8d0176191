/* SPDX-License-Identifier: MIT */
/* Pages imported twice.
 *
 * Pages that come in ascending order need no memory at all. Otherwise each page header becomes a key of 8 bytes, the page's number above
 * its platforms, and the keys are sorted in place by radix, whose time no order of the headers makes much longer. Inserted areas, VMSAs and
 * error ranges are few; they are kept as ranges and merged with the keys. One sweep over both keeps, for each platform, where the furthest
 * import so far ends. Keys that begin before that are kept, in place, and a last walk over the headers finds whose they are.
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

static void insertion_sort(uint64_t *keys, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        uint64_t key = keys[i];
        size_t at = i;
        for (; at > 0 && keys[at - 1] > key; at--)
            keys[at] = keys[at - 1];
        keys[at] = key;
    }
}

/* Sorts in place by the byte at `shift` and then each part by the next: at most 8 calls deep, and linear whatever the keys are. */
static void sort_keys(uint64_t *keys, size_t count, int shift)
{
    uint32_t end[256] = {0}, at[256], total = 0;
    if (count < 48) {
        insertion_sort(keys, count);
        return;
    }
    for (size_t i = 0; i < count; i++)
        end[keys[i] >> shift & 0xff]++;
    for (int value = 0; value < 256; value++) {
        at[value] = total;
        total += end[value];
        end[value] = total;
    }
    for (uint32_t value = 0; value < 256; value++) {
        while (at[value] < end[value]) {
            uint64_t key = keys[at[value]];
            uint32_t home = key >> shift & 0xff;
            keys[at[value]] = keys[at[home]];
            keys[at[home]++] = key;
        }
    }
    for (uint32_t value = 0, start = 0; shift && value < 256; start = end[value++])
        if (end[value] - start > 1)
            sort_keys(keys + start, end[value] - start, shift - 8);
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

/* Whether sorted keys overlap nowhere even if all are of one platform: what nearly every file is like. */
static bool all_apart(const uint64_t *keys, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (key_page(keys[i]) < key_page(keys[i - 1]) + key_pages(keys[i - 1]))
            return false;
    return true;
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
    uint64_t *keys = malloc((size_t)(o->page_headers ? o->page_headers : 1) * sizeof *keys), differ = 0;
    if (!keys)
        return false;
    struct search s = {.keys = keys, .found = found, .context = context};
    igvm_header h;
    for (igvm_iter it = igvm_headers(file); s.count < o->page_headers && igvm_next(&it, &h);) {
        if (!header_key(&h, platforms, context, &keys[s.count]))
            continue;
        differ |= keys[s.count++] ^ keys[0];
    }
    if (o->unordered && differ)
        sort_keys(keys, s.count, (63 - __builtin_clzll(differ)) & ~7);
    if (o->range_count)
        qsort(o->ranges, o->range_count, sizeof *o->ranges, range_order);
    if ((o->range_count || !all_apart(keys, s.count)) && sweep_all(&s, o->ranges, o->range_count))
        report_hits(&s, file, platforms);
    free(keys);
    return true;
}
