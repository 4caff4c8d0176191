/* SPDX-License-Identifier: MIT */
/* Checks of directives: pages, parameter areas and their life, memory, contexts, ID blocks.
 *
 * Page headers are nearly all of a big file, so theirs reads the few fields in place. Sums of a GPA and a size are never made before they are known
 * not to wrap.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "igvm/check.h"

#define LLU(value) ((unsigned long long)(value))

/* Notes a range that is imported; `bytes` is a multiple of the page size or rounded up. */
static void note_range(struct check *c, uint32_t mask, uint64_t gpa, uint64_t bytes, bool vmsa)
{
    uint32_t platforms = check_platforms(c, mask);
    if (!platforms || !bytes || c->header_bad)
        return;
    struct overlap_range range = {.page = gpa / IGVM_PAGE, .pages = (bytes + IGVM_PAGE - 1) / IGVM_PAGE, .platforms = (uint8_t)platforms, .vmsa = vmsa,
        .place = {c->header->index, c->header->offset, c->header->type}};
    c->no_memory |= !overlap_range(&c->overlap, &range);
}

/* ---- pages -------------------------------------------------------------------------------------------------------------------------------- */

static void check_page(struct check *c, const uint8_t *body)
{
    uint64_t gpa = load_le64(body);
    uint32_t mask = load_le32(body + 8), at = load_le32(body + 0xc), flags = load_le32(body + 0x10), type = load_le16(body + 0x14);
    uint32_t reserved = load_le16(body + 0x16), bytes = flags & IGVM_PAGE_IS_2MB ? IGVM_PAGE_2MB : IGVM_PAGE;
    if (unlikely(reserved))
        check_found(c, IGVM_RESERVED_NOT_ZERO, "reserved is 0x%x", reserved);
    if (unlikely(type > IGVM_PAGE_CPUID_XF))
        check_found(c, IGVM_BAD_PAGE_TYPE, "data_type is %u", type);
    if (unlikely(gpa % IGVM_PAGE))
        check_found(c, IGVM_UNALIGNED_GPA, "GPA 0x%llx", LLU(gpa));
    if (unlikely(flags & ~(IGVM_PAGE_IS_2MB | IGVM_PAGE_UNMEASURED | IGVM_PAGE_SHARED)))
        check_found(c, IGVM_RESERVED_FLAGS, "flags are 0x%x", flags);
    if (unlikely((flags & (IGVM_PAGE_UNMEASURED | IGVM_PAGE_SHARED)) == (IGVM_PAGE_UNMEASURED | IGVM_PAGE_SHARED)))
        check_found(c, IGVM_FLAG_CONFLICT, "flags are 0x%x", flags);
    if (unlikely(flags & IGVM_PAGE_IS_2MB && gpa % IGVM_PAGE_2MB))
        check_found(c, IGVM_UNALIGNED_2MB, "GPA 0x%llx", LLU(gpa));
    if (at)
        check_data(c, at, bytes);
    if (likely(!(gpa % IGVM_PAGE) && check_platforms(c, mask)))
        overlap_page(&c->overlap, gpa / IGVM_PAGE, bytes / IGVM_PAGE);
}

static void check_memory(struct check *c, const igvm_required_memory *m)
{
    if (m->reserved)
        check_found(c, IGVM_RESERVED_NOT_ZERO, "reserved is 0x%x", m->reserved);
    if (m->flags & ~IGVM_MEMORY_VTL2_PROTECTABLE)
        check_found(c, IGVM_RESERVED_FLAGS, "flags are 0x%x", m->flags);
    if (m->gpa % IGVM_PAGE)
        check_found(c, IGVM_UNALIGNED_GPA, "GPA 0x%llx", LLU(m->gpa));
    if (m->bytes % IGVM_PAGE)
        check_found(c, IGVM_UNALIGNED_SIZE, "0x%x bytes", m->bytes);
    if (check_wraps(m->gpa, m->bytes))
        check_found(c, IGVM_GPA_RANGE, "0x%x bytes at GPA 0x%llx", m->bytes, LLU(m->gpa));
}

static void check_error_range(struct check *c, const igvm_error_range *r)
{
    if (r->gpa % IGVM_PAGE)
        check_found(c, IGVM_UNALIGNED_GPA, "GPA 0x%llx", LLU(r->gpa));
    if (r->bytes % IGVM_PAGE)
        check_found(c, IGVM_UNALIGNED_SIZE, "0x%x bytes", r->bytes);
    if (check_wraps(r->gpa, r->bytes))
        check_found(c, IGVM_GPA_RANGE, "0x%x bytes at GPA 0x%llx", r->bytes, LLU(r->gpa));
    note_range(c, r->mask, r->gpa, r->bytes, false);
}

/* ---- parameter areas ---------------------------------------------------------------------------------------------------------------------- */

/* The area of that index, or NULL; *at gets its place in the list, or where it would stand. */
static struct area *find_area(struct check *c, uint32_t index, uint32_t *at)
{
    uint32_t low = 0, high = c->area_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (c->areas[middle].index < index)
            low = middle + 1;
        else
            high = middle;
    }
    *at = low;
    return low < c->area_count && c->areas[low].index == index ? &c->areas[low] : NULL;
}

static void check_area(struct check *c, const igvm_area *a)
{
    uint32_t at;
    if (a->bytes % IGVM_PAGE)
        check_found(c, IGVM_UNALIGNED_SIZE, "0x%llx bytes", LLU(a->bytes));
    if (a->bytes == 0 || a->bytes > IGVM_AREA_BYTES_MAX || a->bytes + c->area_bytes > IGVM_AREAS_BYTES_MAX)
        check_found(c, IGVM_BAD_AREA_SIZE, "0x%llx bytes", LLU(a->bytes));
    if (find_area(c, a->index, &at)) {
        check_found(c, IGVM_DUP_AREA, "index %u is declared already", a->index);
        return;
    }
    bool broken = c->header_bad;
    if (a->file_offset)
        check_data(c, a->file_offset, a->bytes);
    if (!check_room(c, (void **)&c->areas, c->area_count, &c->area_room, sizeof *c->areas, IGVM_AREAS_MAX, "parameter areas"))
        return;
    memmove(&c->areas[at + 1], &c->areas[at], (c->area_count++ - at) * sizeof *c->areas);
    c->areas[at] = (struct area){.index = a->index, .broken = broken, .bytes = a->bytes,
        .place = {c->header->index, c->header->offset, c->header->type}};
    c->area_bytes += broken ? 0 : a->bytes;
}

static void check_parameter(struct check *c, const igvm_parameter *p, uint32_t smallest)
{
    uint32_t at;
    const struct area *area = find_area(c, p->area, &at);
    if (!area || area->inserted)
        check_found(c, IGVM_AREA_STATE, "area %u is %s", p->area, area ? "inserted already" : "not declared yet");
    else if (!area->broken && !range_inside(p->byte_offset, smallest, area->bytes))
        check_found(c, IGVM_PARAM_OUT_OF_AREA, "%u bytes or more at 0x%x in an area of 0x%llx bytes", smallest, p->byte_offset, LLU(area->bytes));
}

static void check_insert(struct check *c, const igvm_insert *insert)
{
    uint32_t at;
    struct area *area = find_area(c, insert->area, &at);
    if (insert->gpa % IGVM_PAGE)
        check_found(c, IGVM_UNALIGNED_GPA, "GPA 0x%llx", LLU(insert->gpa));
    if (!area || area->inserted)
        check_found(c, IGVM_AREA_STATE, "area %u is %s", insert->area, area ? "inserted already" : "not declared yet");
    uint64_t bytes = area && !area->broken ? area->bytes : 0;
    if (area)
        area->inserted = true;
    if (check_wraps(insert->gpa, bytes)) {
        check_found(c, IGVM_GPA_RANGE, "0x%llx bytes at GPA 0x%llx", LLU(bytes), LLU(insert->gpa));
        return;
    }
    for (uint32_t i = 0; i < c->region_count; i++) {
        const igvm_region *r = &c->regions[i].body;
        if (c->regions[i].page_tables && r->mask & insert->mask && range_overlaps(r->gpa, r->size, insert->gpa, bytes))
            check_found(c, IGVM_PT_REGION_INSERT, "0x%llx bytes at GPA 0x%llx reach into the page tables at 0x%llx", LLU(bytes), LLU(insert->gpa), LLU(r->gpa));
    }
    note_range(c, insert->mask, insert->gpa, bytes, false);
}

void check_areas_end(struct check *c)
{
    for (uint32_t i = 0; i < c->area_count && !c->stop; i++)
        if (!c->areas[i].inserted && !c->areas[i].broken)
            check_found_at(c, IGVM_AREA_NOT_INSERTED, &c->areas[i].place, "area %u is never inserted", c->areas[i].index);
}

/* ---- contexts ----------------------------------------------------------------------------------------------------------------------------- */

/* Remembers VP `index` of platform number i; true when it was there already. */
static bool note_context(struct check *c, uint32_t i, uint16_t index)
{
    if (index < 64) {
        bool there = c->low_contexts[i] >> index & 1;
        c->low_contexts[i] |= BIT(index);
        return there;
    }
    if (!c->high_contexts[i] && !(c->high_contexts[i] = calloc(1, 65536 / 8))) {
        c->no_memory = true;
        return false;
    }
    uint8_t *byte = &c->high_contexts[i][index / 8], bit = (uint8_t)(1u << index % 8);
    bool there = *byte & bit;
    *byte |= bit;
    return there;
}

static void check_vbs_records(struct check *c, const uint8_t *records, uint32_t count)
{
    bool untidy = false;
    for (uint32_t i = 0; i < count && !c->header_bad; i++) {
        const uint8_t *record = records + i * VBS_RECORD;
        uint32_t name = load_le32(record + 1);
        if (record[0] != records[0])
            check_found(c, record[0] > 2 ? IGVM_VBS_VTL : IGVM_VBS_MIXED_VTL, "register %u is for VTL %u, the first for VTL %u", i, record[0], records[0]);
        else if (!igvm_vbs_register_name(c->file->arch, name))
            check_found(c, IGVM_VBS_REGISTER, "register %u has the name 0x%x", i, name);
        igvm_vbs_register kept;
        igvm_vbs_register_get(records - 4, i, &kept);
        igvm_vbs_register_trim(c->file->arch, &kept);
        untidy |= memcmp(kept.value, record + 0x10, sizeof kept.value) != 0;
        for (int at = 5; at < 16; at++)
            untidy |= record[at] != 0;
        for (uint32_t j = 0; j < i && j < 64; j++) /* a lint; contexts have a few dozen registers */
            untidy |= load_le32(records + j * VBS_RECORD + 1) == name;
    }
    if (untidy && !c->header_bad)
        check_found(c, IGVM_VBS_RECORD, "a register comes twice, or reserved bytes are not 0");
}

/* Each VTL's records are looked at once, so that a file cannot have the same ones checked again and again. */
static void check_vbs(struct check *c, const igvm_vp_context *v, uint32_t platform)
{
    if (!check_data(c, v->file_offset, 4))
        return;
    const uint8_t *records = c->file->data + v->file_offset + 4;
    uint32_t count = load_le32(records - 4);
    uint64_t rest = c->file->size - v->file_offset - 4;
    if (count == 0)
        check_found(c, IGVM_VBS_NO_REGISTERS, "register_count is 0");
    else if (count > IGVM_VBS_REGISTERS_MAX || count > rest / VBS_RECORD)
        check_found(c, IGVM_VBS_COUNT, "register_count is %u, and %llu bytes follow", count, LLU(rest));
    if (v->vp_index)
        check_found(c, IGVM_VBS_VP_INDEX, "vp_index is %u", v->vp_index);
    if (c->header_bad)
        return;
    uint32_t vtl = records[0];
    if (vtl > 2)
        check_found(c, IGVM_VBS_VTL, "register 0 is for VTL %u", vtl);
    else if (c->vbs_contexts[vtl] >> platform & 1)
        check_found(c, IGVM_DUP_VPCTX, "VTL %u of VP 0 has a context already", vtl);
    else
        check_vbs_records(c, records, count);
    if (vtl <= 2)
        c->vbs_contexts[vtl] |= 1u << platform;
}

static void check_tail(struct check *c, const uint8_t *context, uint32_t from)
{
    for (uint32_t i = from; i < IGVM_PAGE; i++) {
        if (!context[i])
            continue;
        check_found(c, IGVM_CONTEXT_TAIL, "byte 0x%x is 0x%02x", i, context[i]);
        return;
    }
}

static void check_context_data(struct check *c, const igvm_vp_context *v, const igvm_platform *platform, uint32_t i)
{
    if (platform->type == IGVM_VBS) {
        check_vbs(c, v, i);
        return;
    }
    if (note_context(c, i, v->vp_index)) {
        check_found(c, IGVM_DUP_VPCTX, "VP %u of %s has a context already", v->vp_index, igvm_platform_name(platform->type));
        return;
    }
    if (!check_data(c, v->file_offset, IGVM_PAGE))
        return;
    const uint8_t *context = c->file->data + v->file_offset;
    if (platform->type == IGVM_NATIVE || platform->type == IGVM_SEV)
        check_tail(c, context, IGVM_NATIVE_CONTEXT_BYTES);
    else if (platform->type == IGVM_CCA)
        check_tail(c, context, 0x50);
}

static void check_vp_context(struct check *c, const igvm_header *h)
{
    igvm_body body;
    igvm_decode(h, &body);
    const igvm_vp_context *v = &body.u.vp_context;
    const igvm_platform *platform = igvm_platform_of(c->file, v->mask);
    if (!platform || platform->type == IGVM_TDX) {
        check_found(c, IGVM_VPCTX_PLATFORM, "mask 0x%x is %s", v->mask, platform ? "TDX's" : "not exactly one platform's");
        return;
    }
    bool vmsa = platform->type == IGVM_SEV_SNP || platform->type == IGVM_SEV_ES;
    if (v->gpa % IGVM_PAGE)
        check_found(c, IGVM_UNALIGNED_GPA, "GPA 0x%llx", LLU(v->gpa));
    if (v->gpa && !vmsa && platform->type != IGVM_CCA)
        check_found(c, IGVM_VPCTX_GPA, "GPA 0x%llx on %s", LLU(v->gpa), igvm_platform_name(platform->type));
    if (v->reserved)
        check_found(c, IGVM_RESERVED_NOT_ZERO, "reserved is 0x%x", v->reserved);
    check_context_data(c, v, platform, (uint32_t)(platform - c->file->platforms));
    if (vmsa)
        note_range(c, v->mask, v->gpa, IGVM_PAGE, true);
}

/* ---- ID blocks ---------------------------------------------------------------------------------------------------------------------------- */

static bool all_zero(const uint8_t *p, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (p[i])
            return false;
    return true;
}

static void check_id_block(struct check *c, const igvm_snp_id_block *b)
{
    if (c->id_block_mask & b->mask)
        check_found(c, IGVM_DUP_ID_BLOCK, "mask 0x%x has an ID block already", c->id_block_mask & b->mask);
    c->id_block_mask |= b->mask;
    if (!all_zero(b->reserved, sizeof b->reserved))
        check_found(c, IGVM_RESERVED_NOT_ZERO, "reserved bytes are %02x %02x %02x", b->reserved[0], b->reserved[1], b->reserved[2]);
    if (b->author_key_enabled > 1)
        check_found(c, IGVM_ID_AUTHOR, "author_key_enabled is %u", b->author_key_enabled);
    if (b->author_key_enabled == 1 && (load_le32(b->author_key) != 2 || all_zero(b->author_key + 8, 144)))
        check_found(c, IGVM_ID_AUTHOR, "author_key_enabled is 1, but there is no author key");
}

void check_directive(struct check *c, const igvm_header *h)
{
    if (h->type == IGVM_T_PAGE_DATA) {
        check_page(c, h->body);
        return;
    }
    igvm_body body;
    igvm_decode(h, &body);
    switch (h->type) {
    case IGVM_T_PARAMETER_AREA:
        check_area(c, &body.u.area);
        break;
    case IGVM_T_PARAMETER_INSERT:
        check_insert(c, &body.u.insert);
        break;
    case IGVM_T_VP_CONTEXT:
        check_vp_context(c, h);
        break;
    case IGVM_T_REQUIRED_MEMORY:
        check_memory(c, &body.u.required_memory);
        break;
    case IGVM_T_ERROR_RANGE:
        check_error_range(c, &body.u.error_range);
        break;
    case IGVM_T_SNP_ID_BLOCK:
        check_id_block(c, &body.u.id_block);
        break;
    default:
        if (h->known->smallest)
            check_parameter(c, &body.u.parameter, h->known->smallest);
    }
}
