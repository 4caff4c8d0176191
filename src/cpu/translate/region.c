/* SPDX-License-Identifier: MIT */
/* region.c - the code cache as a ring of regions, each with its part of code memory, sites and records; when all are full the oldest is evicted. See private.h. */
#include "cpu/soak.h"
#include "cpu/translate/private.h"

static uint32_t part(uint64_t whole, unsigned number) { return (uint32_t)(whole * number / REGIONS); }

void regions_make(struct translator *t)
{
    uint8_t *code = t->emit.at;
    size_t bytes = (size_t)(t->emit.end - code);
    for (unsigned i = 0; i < REGIONS; i++) {
        struct region *r = &t->regions[i];
        r->start = code + part(bytes, i);
        r->end = code + part(bytes, i + 1);
        r->site_first = part(SITES_MAX - 1, i); /* without that of `found` */
        r->site_limit = part(SITES_MAX - 1, i + 1);
        r->record_first = part(RECORDS_MAX, i);
        r->record_limit = part(RECORDS_MAX, i + 1);
    }
    regions_empty(t);
}

static void region_empty(struct region *r)
{
    r->at = r->start;
    r->site_end = r->site_first;
    r->record_end = r->record_first;
}

static void region_fill(struct translator *t, struct region *r)
{
    t->filling = r;
    t->emit.at = r->at;
    t->emit.end = r->end;
    t->emit.full = false;
}

void regions_empty(struct translator *t)
{
    for (unsigned i = 0; i < REGIONS; i++)
        region_empty(&t->regions[i]);
    region_fill(t, &t->regions[0]);
}

uint64_t regions_bytes(const struct translator *t)
{
    uint64_t bytes = (uint64_t)(t->regions[0].start - t->memory.write);
    for (const struct region *r = t->regions; r < t->regions + REGIONS; r++)
        bytes += (uint64_t)((r == t->filling ? t->emit.at : r->at) - r->start);
    return bytes;
}

/* Of code behind the thunks: the writable view. */
static const struct region *region_at(const struct translator *t, const uint8_t *code)
{
    const struct region *r = t->regions;
    while (code >= r->end)
        r++;
    return r;
}

uint32_t sites_end(const struct translator *t, const struct translation *of)
{
    const struct region *r = region_at(t, of->start);
    return of + 1 < t->records + r->record_end ? of[1].first_site : r->site_end;
}

const struct translation *translation_at(const struct translator *t, const uint8_t *code)
{
    const struct region *r = region_at(t, code);
    uint32_t low = r->record_first, high = r->record_end;
    while (high - low > 1) { /* records are in the order of their code */
        uint32_t middle = low + (high - low) / 2;
        if (t->records[middle].start <= code)
            low = middle;
        else
            high = middle;
    }
    return &t->records[low];
}

/* ---- eviction ------------------------------------------------------------------------------------------------------------------------------------------------------ */

/* The block is as it was before it was translated. It must show again that it is worth one: most code is needed for a moment only. */
static void block_cool(struct cpu *cpu, const struct translation *to)
{
    struct block *b = to->block;
    if (b->translation != to) /* it was made again */
        return;
    translation_take_out(b);
    if (b->dead)
        return;
    b->heat = cpu->vm->hot ? cpu->vm->hot : BLOCK_HOT_AGAIN;
    b->uops[0].fn = uop_warm;
}

/* The jumps that lead into the region, and their list. */
static void jumps_drop(struct cpu *cpu, const struct region *r)
{
    struct translator *t = cpu->translator;
    uint64_t start = (uintptr_t)(r->start + t->emit.run), bytes = (uint64_t)(r->end - r->start);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < t->jumps_count; i++) {
        struct fast_jump *j = &cpu->translate.jumps[t->jumps_filled[i]];
        if (j->code - start < bytes)
            j->tag = 0; /* no tag is 0: a block's key has bits */
        else
            t->jumps_filled[kept++] = t->jumps_filled[i];
    }
    t->jumps_count = kept;
    for (uint32_t i = 0; i < JUMPS_EVICTED; i++)
        if (t->jumps_evicted[i].code - start < bytes)
            t->jumps_evicted[i].tag = 0;
}

static void left_cache_drop(struct translator *t, const struct region *r)
{
    uint32_t start = (uint32_t)(r->start - t->memory.write), bytes = (uint32_t)(r->end - r->start);
    for (uint32_t i = 0; i < LEFT_CACHE; i++)
        if (t->left_cache[i].stub - start < bytes)
            t->left_cache[i].stub = 0;
}

static void region_evict(struct cpu *cpu, struct region *r)
{
    struct translator *t = cpu->translator;
    if (r->record_end == r->record_first)
        return;
    inspect_region(t, r);
    for (uint32_t i = r->record_first; i < r->record_end; i++) {
        translation_unlink(t, &t->records[i]);
        block_cool(cpu, &t->records[i]);
    }
    jumps_drop(cpu, r);
    left_cache_drop(t, r);
    if (t->link && t->link >= t->sites + r->site_first && t->link < t->sites + r->site_limit)
        t->link = NULL;
    region_empty(r);
    t->statistics.evictions++;
}

static bool has_room(const struct translator *t)
{
    const struct region *r = t->filling;
    return t->emit.end - t->emit.at >= CODE_BLOCK_MAX && r->site_limit - r->site_end >= SITES_BLOCK_MAX && r->record_end < r->record_limit;
}

void translate_make_room(struct cpu *cpu)
{
    struct translator *t = cpu->translator;
    bool one = cpu_soak_has_one_block(cpu);
    if (!one && has_room(t))
        return;
    struct region *r = t->filling;
    r->at = t->emit.at;
    for (unsigned i = 0; one && i < REGIONS; i++)
        region_evict(cpu, &t->regions[i]);
    if (!one && ++r == t->regions + REGIONS)
        r = t->regions;
    region_evict(cpu, r);
    region_fill(t, r);
}
