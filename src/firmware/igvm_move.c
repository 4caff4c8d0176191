/* SPDX-License-Identifier: MIT */
/* igvm_move.c - relocation: a region of an IGVM file that has no memory at its own address moves, all its addresses with it, and page tables follow.
 *
 * A region stays where there is RAM for it. Else it goes to the lowest place that its alignment and limits allow, in RAM at or above 1 MiB, free of everything else in the file.
 * A page-table region moves by the offset of VP 0's region. Its tables map one to one: a mapping of moved memory moves to its new address, everything else stays.
 * Trust: regions and tables come from the file. Offsets are taken modulo 2^64 and every result is checked against memory; the search and the tables are bounded by TRIES_MAX and
 * TABLES_MAX, each table is visited once, and a table that is used twice is refused. 4-level tables only (SDM 3:4.5).
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "firmware/igvm_load.h"
#include "firmware/layout.h"

#define TRIES_MAX    256
#define TABLES_MAX   1024 /* pages of a page-table region */
#define ENTRIES      512
#define PTE_PRESENT  BIT(0)
#define PTE_LARGE    BIT(7)
#define PTE_ADDRESS  UINT64_C(0x000ffffffffff000)
#define PTE_TABLE    0x3  /* present, writable */

uint64_t igvm_move(const struct igvm_moves *moves, uint64_t gpa)
{
    for (unsigned i = 0; i < moves->count; i++) {
        const struct igvm_move *m = &moves->moves[i];
        if (gpa - m->region.gpa < m->region.size)
            return gpa + m->offset;
    }
    if (moves->count && gpa - moves->tables.gpa < moves->tables.size)
        return gpa + moves->moves[0].offset;
    return gpa;
}

/* ---- where to ------------------------------------------------------------------------------------------------------------------------------------- */

static bool is_ram(const struct igvm_load_request *request, uint64_t gpa, uint64_t size)
{
    struct layout_ram ram = layout_ram(request->memory);
    bool low = gpa >= LAYOUT_HIGH_BASE && range_inside(gpa, size, ram.low_end);
    return low || range_inside(gpa, size, LAYOUT_LOW_TOP) || (gpa >= LAYOUT_HIGH_RAM && range_inside(gpa, size, ram.high_end));
}

/* Range that a directive fills, of those that take memory. */
static bool header_range(const igvm_file *file, const igvm_header *h, uint32_t mask, uint64_t *gpa, uint64_t *size)
{
    igvm_body body;
    if (!(igvm_mask(h) & mask) || !igvm_decode(h, &body))
        return false;
    *size = 0;
    switch (h->type) {
    case IGVM_T_PAGE_DATA:       *gpa = body.u.page_data.gpa; igvm_payload(file, h, size); break;
    case IGVM_T_REQUIRED_MEMORY: *gpa = body.u.required_memory.gpa; *size = body.u.required_memory.bytes; break;
    case IGVM_T_ERROR_RANGE:     *gpa = body.u.error_range.gpa; *size = body.u.error_range.bytes; break;
    case IGVM_T_PARAMETER_INSERT: *gpa = body.u.insert.gpa; *size = IGVM_PAGE; break; /* at least; its end is checked when it is loaded */
    default: break;
    }
    return *size;
}

/* The end of what lies in [base, base + size) of the file's fixed parts and of the regions placed before, or 0. */
static uint64_t find_conflict(const igvm_file *file, uint32_t mask, const struct igvm_moves *moves, uint64_t base, uint64_t size)
{
    for (unsigned i = 0; i < moves->count; i++) {
        uint64_t at = moves->moves[i].region.gpa + moves->moves[i].offset;
        if (range_overlaps(at, moves->moves[i].region.size, base, size))
            return at + moves->moves[i].region.size;
    }
    igvm_iter iter = igvm_headers(file);
    igvm_header h;
    uint64_t gpa, len;
    while (igvm_next(&iter, &h))
        if (header_range(file, &h, mask, &gpa, &len) && igvm_move(moves, gpa) == gpa && range_overlaps(gpa, len, base, size))
            return gpa + len;
    return 0;
}

static int choose_base(const struct igvm_load_request *request, const igvm_file *file, uint32_t mask, const struct igvm_moves *moves, const igvm_region *r, uint64_t *out,
                       struct err *err)
{
    struct layout_ram ram = layout_ram(request->memory);
    uint64_t base = r->minimum > LAYOUT_HIGH_BASE ? r->minimum : LAYOUT_HIGH_BASE;
    for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
        uint64_t rest = base % r->alignment, end;
        if (rest && ckd_add(&base, base, r->alignment - rest))
            break;
        if (ckd_add(&end, base, r->size) || end > r->maximum || base >= ram.high_end)
            break;
        if (!is_ram(request, base, r->size)) {
            if (base >= LAYOUT_HIGH_RAM)
                break;
            base = LAYOUT_HIGH_RAM;
            continue;
        }
        uint64_t after = base - r->gpa < r->size ? 0 : find_conflict(file, mask, moves, base, r->size);
        if (!after) {
            *out = base;
            return 0;
        }
        base = after;
    }
    return err_set(err, ERR_INPUT, "%s: no memory for its region of %llu KiB between 0x%llx and 0x%llx (give more --memory)", request->file.option,
                   (unsigned long long)r->size >> 10, (unsigned long long)r->minimum, (unsigned long long)r->maximum);
}

static int add_region(const struct igvm_load_request *request, const igvm_file *file, uint32_t mask, struct igvm_moves *out, const igvm_region *r, struct err *err)
{
    uint64_t base = r->gpa;
    if (out->count == IGVM_REGIONS_MAX)
        return err_set(err, ERR_INPUT, "%s: more than %u regions", request->file.option, IGVM_REGIONS_MAX);
    int e = is_ram(request, r->gpa, r->size) ? 0 : choose_base(request, file, mask, out, r, &base, err);
    out->moves[out->count++] = (struct igvm_move){*r, base - r->gpa};
    return e;
}

int igvm_moves_choose(const struct igvm_load_request *request, const igvm_file *file, uint32_t mask, struct igvm_moves *out, struct err *err)
{
    igvm_iter iter = igvm_headers(file);
    igvm_header h;
    igvm_body body;
    int r = 0;
    out->count = 0;
    out->tables.size = 0;
    while (!r && igvm_next(&iter, &h)) {
        if (igvm_section_of(h.type) == IGVM_SECTION_DIRECTIVE)
            break;
        if (!(igvm_mask(&h) & mask) || !igvm_decode(&h, &body))
            continue;
        if (h.type == IGVM_T_RELOCATABLE_REGION)
            r = add_region(request, file, mask, out, &body.u.region, err);
        else if (h.type == IGVM_T_PAGE_TABLE_REGION)
            out->tables = body.u.page_table_region;
    }
    return r;
}

/* ---- page tables ---------------------------------------------------------------------------------------------------------------------------------- */

struct leaf { uint64_t va, entry; unsigned level; };
struct walk {
    const struct igvm_moves *moves;
    const char *name;
    uint8_t *bytes;              /* the region's */
    uint64_t gpa, size, used;    /* where it is now */
    uint64_t offset;             /* by which it moved */
    bool visited[TABLES_MAX];
    struct leaf *leaves;
    size_t leaf_count, leaf_room;
};

static uint64_t level_size(unsigned level) { return IGVM_PAGE * (UINT64_C(1) << 9 * (level - 1)); }

static uint64_t *entry_at(struct walk *w, uint64_t table, unsigned i) { return (uint64_t *)(void *)(w->bytes + (table - w->gpa)) + i; }

static int remember(struct walk *w, uint64_t va, uint64_t entry, unsigned level, struct err *err)
{
    if (w->leaf_count == w->leaf_room) {
        size_t room = w->leaf_room ? 2 * w->leaf_room : 64;
        struct leaf *more = realloc(w->leaves, room * sizeof *more);
        if (!more)
            return err_set(err, ERR_HOST, "%s: out of memory", w->name);
        w->leaves = more;
        w->leaf_room = room;
    }
    w->leaves[w->leaf_count++] = (struct leaf){va, entry, level};
    return 0;
}

/* The offset of a moved region that shares an address with the mapping; 0: none, or one too small for the mapping to notice. */
static uint64_t mapping_offset(const struct igvm_moves *moves, uint64_t va, uint64_t size)
{
    for (unsigned i = 0; i < moves->count; i++) {
        uint64_t offset = moves->moves[i].offset, distance = offset >> 63 ? -offset : offset;
        if (range_overlaps(va, size, moves->moves[i].region.gpa, moves->moves[i].region.size))
            return distance < size ? 0 : offset;
    }
    return 0;
}

static int take_leaf(struct walk *w, uint64_t *entry, uint64_t va, unsigned level, struct err *err)
{
    uint64_t size = level_size(level), offset = mapping_offset(w->moves, va, size);
    if (!offset)
        return 0;
    if (offset % size)
        return err_set(err, ERR_INPUT, "%s: the mapping of 0x%llx cannot move by 0x%llx, which is no multiple of its size", w->name, (unsigned long long)va,
                       (unsigned long long)offset);
    uint64_t moved = (*entry & ~PTE_ADDRESS) | ((*entry + offset) & PTE_ADDRESS);
    *entry = 0;
    return remember(w, va + offset, moved, level, err);
}

/* Long recursion is four levels deep. */
static int walk_table(struct walk *w, uint64_t table, uint64_t va, unsigned level, struct err *err)
{
    uint64_t page = (table - w->gpa) / IGVM_PAGE;
    if (w->visited[page])
        return err_set(err, ERR_INPUT, "%s: its page tables use a table twice", w->name);
    w->visited[page] = true;
    int r = 0;
    for (unsigned i = 0; !r && i < ENTRIES; i++) {
        uint64_t *entry = entry_at(w, table, i), at = va + i * level_size(level);
        if (!(*entry & PTE_PRESENT))
            continue;
        if (level == 1 || (level < 4 && *entry & PTE_LARGE)) {
            r = take_leaf(w, entry, at, level, err);
            continue;
        }
        uint64_t next = (*entry & PTE_ADDRESS) + w->offset; /* entries still tell the old place */
        if (next < w->gpa || next - w->gpa >= w->used)
            continue;
        *entry = (*entry & ~PTE_ADDRESS) | next;
        r = walk_table(w, next, at, level - 1, err);
    }
    return r;
}

static int insert_leaf(struct walk *w, uint64_t root, const struct leaf *leaf, struct err *err)
{
    uint64_t table = root;
    for (unsigned level = 4; level > leaf->level; level--) {
        uint64_t *entry = entry_at(w, table, leaf->va / level_size(level) % ENTRIES);
        if (!(*entry & PTE_PRESENT)) {
            if (w->used >= w->size)
                return err_set(err, ERR_INPUT, "%s: its page-table region has no room for another table", w->name);
            memset(w->bytes + w->used, 0, IGVM_PAGE);
            *entry = (w->gpa + w->used) | PTE_TABLE;
            w->used += IGVM_PAGE;
        }
        table = *entry & PTE_ADDRESS;
        if ((level < 4 && *entry & PTE_LARGE) || table < w->gpa || table - w->gpa >= w->used)
            return err_set(err, ERR_INPUT, "%s: moved memory at 0x%llx is mapped already", w->name, (unsigned long long)leaf->va);
    }
    uint64_t *entry = entry_at(w, table, leaf->va / level_size(leaf->level) % ENTRIES);
    if (*entry & PTE_PRESENT && *entry != leaf->entry)
        return err_set(err, ERR_INPUT, "%s: moved memory at 0x%llx is mapped already", w->name, (unsigned long long)leaf->va);
    *entry = leaf->entry;
    return 0;
}

static int move_tables(const struct igvm_load_request *request, struct walk *w, igvm_native_context *context, struct err *err)
{
    uint64_t root = (context->cr3 & PTE_ADDRESS) + w->offset;
    if (root < w->gpa || root - w->gpa >= w->used)
        return err_set(err, ERR_INPUT, "%s: CR3 is not in the page-table region", w->name);
    if (mem_read(request->map, w->gpa, w->bytes, w->size))
        return err_set(err, ERR_INPUT, "%s: the page-table region has no memory at 0x%llx", w->name, (unsigned long long)w->gpa);
    int r = walk_table(w, root, 0, 4, err);
    for (size_t i = 0; !r && i < w->leaf_count; i++)
        r = insert_leaf(w, root, &w->leaves[i], err);
    if (!r && mem_load_image(request->map, w->gpa, w->bytes, w->size))
        r = err_set(err, ERR_INTERNAL, "%s: no memory is mapped for the page tables", w->name);
    context->cr3 += w->offset;
    return r;
}

int igvm_moves_finish(const struct igvm_load_request *request, const struct igvm_moves *moves, igvm_native_context *context, struct err *err)
{
    bool moved = false;
    for (unsigned i = 0; i < moves->count; i++) {
        const struct igvm_move *m = &moves->moves[i];
        moved |= m->offset != 0;
        if (m->region.vp_index)
            continue;
        context->rip += m->region.flags & IGVM_RELOC_RIP ? m->offset : 0;
        context->gdtr_base += m->region.flags & IGVM_RELOC_GDTR ? m->offset : 0;
    }
    if (!moved || !moves->tables.size)
        return 0;
    const igvm_page_table_region *t = &moves->tables;
    if (t->size > TABLES_MAX * (uint64_t)IGVM_PAGE || t->used_size > t->size)
        return err_set(err, ERR_INPUT, "%s: a page-table region of more than %u pages", request->file.option, TABLES_MAX);
    struct walk *w = calloc(1, sizeof *w);
    uint8_t *bytes = malloc(t->size);
    int r = w && bytes ? 0 : err_set(err, ERR_HOST, "%s: out of memory", request->file.option);
    if (!r) {
        w->moves = moves, w->name = request->file.option, w->bytes = bytes;
        w->offset = moves->moves[0].offset;
        w->gpa = t->gpa + w->offset, w->size = t->size, w->used = t->used_size;
        r = move_tables(request, w, context, err);
        free(w->leaves);
    }
    free(w);
    free(bytes);
    return r;
}
