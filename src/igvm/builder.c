/* SPDX-License-Identifier: MIT */
/* The builder: the writer in terms of pages, contexts and parameters. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "igvm/writer.h"

igvm_code igvm_add_platform(igvm_writer *w, igvm_platform_type type, uint8_t highest_vtl, uint64_t shared_gpa_boundary, uint32_t *mask)
{
    if (!w || !mask || w->masks == UINT32_MAX)
        return w ? igvm_writer_add(w, NULL, NULL, 0) : IGVM_BAD_ARGUMENT;
    *mask = 1u << __builtin_ctz(~w->masks);
    igvm_body body = {.type = IGVM_T_SUPPORTED_PLATFORM};
    body.u.platform = (igvm_platform){*mask, highest_vtl, (uint8_t)type, 1, shared_gpa_boundary};
    return igvm_writer_add(w, &body, NULL, 0);
}

igvm_code igvm_add_policy(igvm_writer *w, uint32_t mask, uint64_t policy)
{
    igvm_body body = {.type = IGVM_T_GUEST_POLICY};
    body.u.guest_policy = (igvm_guest_policy){policy, mask, 0};
    return igvm_writer_add(w, &body, NULL, 0);
}

static bool all_zero(const uint8_t *p, size_t length)
{
    return !length || (!p[0] && memcmp(p, p + 1, length - 1) == 0);
}

igvm_code igvm_add_pages(igvm_writer *w, uint32_t mask, uint64_t gpa, const void *data, uint64_t length, uint32_t flags, uint16_t data_type)
{
    if (gpa % IGVM_PAGE || flags & IGVM_PAGE_IS_2MB || length > UINT64_MAX - IGVM_PAGE - gpa)
        return igvm_writer_add(w, NULL, NULL, 0);
    igvm_code code = IGVM_OK;
    for (uint64_t at = 0; at < length && !code; at += IGVM_PAGE) {
        size_t bytes = length - at < IGVM_PAGE ? (size_t)(length - at) : IGVM_PAGE;
        const uint8_t *p = data ? (const uint8_t *)data + at : NULL;
        if (p && all_zero(p, bytes))
            p = NULL;
        igvm_body body = {.type = IGVM_T_PAGE_DATA};
        body.u.page_data = (igvm_page_data){gpa + at, mask, 0, flags, data_type, 0};
        code = igvm_writer_add(w, &body, p, p ? bytes : 0);
    }
    return code;
}

igvm_code igvm_add_area(igvm_writer *w, uint64_t bytes, const void *initial, size_t length, uint32_t *index)
{
    if (!w || !index || w->next_area > UINT32_MAX)
        return igvm_writer_add(w, NULL, NULL, 0);
    *index = (uint32_t)w->next_area;
    igvm_body body = {.type = IGVM_T_PARAMETER_AREA};
    body.u.area = (igvm_area){bytes, *index, 0};
    return igvm_writer_add(w, &body, initial, initial ? length : 0);
}

igvm_code igvm_add_parameter(igvm_writer *w, uint32_t type, uint32_t area, uint32_t byte_offset)
{
    const igvm_type *known = igvm_type_of(type);
    if (!known || !known->smallest)
        return igvm_writer_add(w, NULL, NULL, 0);
    igvm_body body = {.type = type};
    body.u.parameter = (igvm_parameter){area, byte_offset};
    return igvm_writer_add(w, &body, NULL, 0);
}

igvm_code igvm_add_insert(igvm_writer *w, uint32_t mask, uint64_t gpa, uint32_t area)
{
    igvm_body body = {.type = IGVM_T_PARAMETER_INSERT};
    body.u.insert = (igvm_insert){gpa, mask, area};
    return igvm_writer_add(w, &body, NULL, 0);
}

igvm_code igvm_add_vp_context(igvm_writer *w, uint32_t mask, uint64_t gpa, uint16_t vp_index, const void *data, size_t length)
{
    igvm_body body = {.type = IGVM_T_VP_CONTEXT};
    body.u.vp_context = (igvm_vp_context){gpa, mask, 0, vp_index, 0};
    return igvm_writer_add(w, &body, data, length);
}

igvm_code igvm_add_vbs_context(igvm_writer *w, uint32_t mask, const igvm_vbs_register *registers, uint32_t count)
{
    if (!registers || count == 0 || count > IGVM_VBS_REGISTERS_MAX)
        return igvm_writer_add(w, NULL, NULL, 0);
    uint8_t *bytes = calloc(1, 4 + (size_t)count * VBS_RECORD);
    if (!bytes)
        return IGVM_NO_MEMORY;
    store_le32(bytes, count);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *record = bytes + 4 + (size_t)i * VBS_RECORD;
        record[0] = registers[i].vtl;
        store_le32(record + 1, registers[i].name);
        memcpy(record + 0x10, registers[i].value, sizeof registers[i].value);
    }
    igvm_code code = igvm_add_vp_context(w, mask, 0, 0, bytes, 4 + (size_t)count * VBS_RECORD);
    free(bytes);
    return code;
}

igvm_code igvm_add_required_memory(igvm_writer *w, uint32_t mask, uint64_t gpa, uint64_t bytes, uint32_t flags)
{
    const uint32_t most = 0x80000000; /* 2 GiB: a size that stays aligned */
    igvm_code code = IGVM_OK;
    if (bytes > UINT64_MAX - gpa)
        return igvm_writer_add(w, NULL, NULL, 0);
    for (uint64_t at = 0; at < bytes && !code; at += most) {
        igvm_body body = {.type = IGVM_T_REQUIRED_MEMORY};
        body.u.required_memory = (igvm_required_memory){gpa + at, mask, bytes - at < most ? (uint32_t)(bytes - at) : most, flags, 0};
        code = igvm_writer_add(w, &body, NULL, 0);
    }
    return code;
}
