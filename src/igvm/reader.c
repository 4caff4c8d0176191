/* SPDX-License-Identifier: MIT */
/* The reader: headers one after the other, and the data that they refer to.
 *
 * Trusted: nothing in the buffer. igvm_open has checked everything before a caller gets a view; but a view of a damaged file (IGVM_DAMAGED) only has
 * its section of headers inside the buffer, so the functions here check each range again. Offsets are at most 32 bits wide and sums are made in 64.
 */
#include "base/bits.h"
#include "base/checked.h"
#include "igvm/internal.h"

igvm_iter igvm_headers(const igvm_file *file)
{
    return (igvm_iter){.file = file, .at = file->headers_offset};
}

bool igvm_next(igvm_iter *iter, igvm_header *out)
{
    const igvm_file *file = iter->file;
    uint64_t end = (uint64_t)file->headers_offset + file->headers_size;
    if (iter->at + PREFIX > end)
        return false;
    const uint8_t *p = file->data + iter->at;
    uint32_t type = load_le32(p), length = load_le32(p + 4);
    uint64_t next = iter->at + PREFIX + align_up(length, 8);
    if (next > end)
        return false;
    const igvm_type *known = igvm_type_of(type);
    *out = (igvm_header){
        .type = type & ~IGVM_OPTIONAL, .optional = type & IGVM_OPTIONAL, .index = iter->index, .offset = (uint32_t)iter->at,
        .length = length, .body = p + PREFIX, .known = known && known->length == length ? known : NULL,
    };
    iter->at = next;
    iter->index++;
    return true;
}

uint32_t igvm_mask(const igvm_header *header)
{
    if (!header->known || header->known->mask_at < 0)
        return UINT32_MAX;
    return load_le32(header->body + header->known->mask_at);
}

const igvm_platform *igvm_find_platform(const igvm_file *file, igvm_platform_type type)
{
    for (uint32_t i = 0; i < file->platform_count; i++)
        if (file->platforms[i].type == type)
            return &file->platforms[i];
    return NULL;
}

const igvm_platform *igvm_platform_of(const igvm_file *file, uint32_t mask)
{
    for (uint32_t i = 0; i < file->platform_count; i++)
        if (file->platforms[i].mask == mask)
            return &file->platforms[i];
    return NULL;
}

static uint64_t context_bytes(const igvm_file *file, const igvm_header *header)
{
    const igvm_platform *platform = igvm_platform_of(file, igvm_mask(header));
    if (!platform || platform->type == IGVM_TDX)
        return 0;
    if (platform->type != IGVM_VBS)
        return IGVM_PAGE;
    uint32_t at = load_le32(header->body + header->known->data_at);
    return range_inside(at, 4, file->size) ? 4 + (uint64_t)load_le32(file->data + at) * VBS_RECORD : 4;
}

uint64_t igvm_payload_bytes(const igvm_file *file, const igvm_header *header)
{
    switch (header->known && header->known->data_at >= 0 ? header->type : 0) {
    case IGVM_T_PAGE_DATA:
        return load_le32(header->body + 0x10) & IGVM_PAGE_IS_2MB ? IGVM_PAGE_2MB : IGVM_PAGE;
    case IGVM_T_PARAMETER_AREA:
        return load_le64(header->body);
    case IGVM_T_VP_CONTEXT:
        return context_bytes(file, header);
    case IGVM_T_CORIM_DOCUMENT:
    case IGVM_T_CORIM_SIGNATURE:
        return load_le32(header->body + 8);
    }
    return 0;
}

const uint8_t *igvm_payload(const igvm_file *file, const igvm_header *header, uint64_t *length)
{
    uint64_t bytes = *length = igvm_payload_bytes(file, header);
    if (bytes == 0)
        return NULL;
    uint32_t at = load_le32(header->body + header->known->data_at);
    if (at == 0)
        return NULL;
    uint64_t data_start = (uint64_t)file->headers_offset + file->headers_size;
    if (at >= data_start && range_inside(at, bytes, file->size))
        return file->data + at;
    *length = 0;
    return NULL;
}
