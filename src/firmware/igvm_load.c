/* SPDX-License-Identifier: MIT */
/* igvm_load.c - the NATIVE platform's directives of an IGVM file, carried out in their order.
 *
 * The guest sees: pages and parameter areas at their addresses (moved where a region is relocated), all else as a direct boot leaves it: zeros, and our ACPI tables at E0000h
 * unless the file has pages there. Pages of every data type are plain memory. Required memory must be RAM.
 * Trust: the file is hostile. libigvm checks its structure before anything is loaded; addresses are checked against the machine's memory here, by the accessors. Nothing is
 * allocated by a number in the file: areas are written straight into guest memory, at most PARAMETERS_MAX parameters are remembered. No page is written twice, so the time is
 * bounded by file and memory.
 * Spec: the IGVM format (igvm.h).
 */
#include "firmware/igvm_load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "firmware/layout.h"

#define PARAMETERS_MAX 4096

struct parameter { uint32_t area, offset, type; };
struct area { uint32_t index; uint64_t bytes; const uint8_t *data; };

struct load {
    const struct igvm_load_request *request;
    const char *name;              /* "--igvm F" */
    igvm_file file;
    uint32_t mask;                 /* of the NATIVE platform */
    struct igvm_moves moves;
    struct parameter parameters[PARAMETERS_MAX];
    unsigned parameter_count;
    struct area areas[IGVM_AREAS_MAX];
    unsigned area_count;
    bool firmware_ram, has_context;
    igvm_native_context *context;
};

/* "SEV_SNP and TDX" as their makers write them. */
static void name_platforms(const igvm_file *file, char *out, size_t capacity)
{
    static const char *const names[] = {[IGVM_NATIVE] = "NATIVE", [IGVM_VBS] = "VBS", [IGVM_SEV_SNP] = "SEV-SNP", [IGVM_TDX] = "TDX", [IGVM_SEV] = "SEV",
                                        [IGVM_SEV_ES] = "SEV-ES", [IGVM_CCA] = "CCA"};
    size_t used = 0;
    *out = '\0';
    for (uint32_t i = 0; i < file->platform_count && used < capacity; i++) {
        unsigned type = file->platforms[i].type;
        used += (size_t)snprintf(out + used, capacity - used, "%s%s", i ? i + 1 == file->platform_count ? " or " : ", " : "", type < ARRAY_LEN(names) ? names[type] : "?");
    }
}

static int open_file(struct load *l, struct err *err)
{
    igvm_finding why;
    const struct image *image = &l->request->file;
    igvm_code code = igvm_open(&l->file, image->bytes, image->len, 0, &why);
    if (code == IGVM_NO_MEMORY)
        return err_set(err, ERR_HOST, "%s: out of memory", l->name);
    if (code != IGVM_OK)
        return err_set(err, ERR_INPUT, "%s: %s: %s (mezz igvm verify says more)", l->name, igvm_code_name(code), why.text);
    const igvm_platform *native = igvm_find_platform(&l->file, IGVM_NATIVE);
    if (l->file.arch != IGVM_ARCH_X64)
        return err_set(err, ERR_HOST, "%s: a guest for AArch64; this host cannot launch it", l->name);
    if (!native) {
        char names[120];
        name_platforms(&l->file, names, sizeof names);
        return err_set(err, ERR_HOST, "%s: this host cannot launch %s, and the file has no NATIVE platform", l->name, names);
    }
    l->mask = native->mask;
    return 0;
}

/* ---- memory ------------------------------------------------------------------------------------------------------------------------------------- */

/* Makes the firmware's memory when the range is in it. */
static int want_memory(struct load *l, uint64_t gpa, uint64_t len, struct err *err)
{
    if (gpa < LAYOUT_FIRMWARE_BASE || !range_inside(gpa, len, LAYOUT_HIGH_RAM) || l->firmware_ram || !l->request->make_firmware_ram)
        return 0;
    l->firmware_ram = true;
    return l->request->make_firmware_ram(l->request->opaque, err);
}

static int no_memory(const struct load *l, const igvm_header *h, uint64_t gpa, struct err *err)
{
    return err_set(err, ERR_INPUT, "%s: header %u (%s) wants memory at 0x%llx, where the machine has none%s", l->name, h->index, h->known->name, (unsigned long long)gpa,
                   (gpa >= LAYOUT_HIGH_BASE && gpa < LAYOUT_LOW_RAM_MAX) || (gpa >= LAYOUT_HIGH_RAM && gpa < LAYOUT_MEMORY_MAX) ? " (give more --memory)" : "");
}

/* Bytes at an address, zeros where there are none. */
static int put(struct load *l, const igvm_header *h, uint64_t gpa, const uint8_t *data, uint64_t len, struct err *err)
{
    int r = want_memory(l, gpa, len, err);
    if (r)
        return r;
    if (data ? mem_load_image(l->request->map, gpa, data, len) : mem_fill(l->request->map, gpa, 0, len))
        return no_memory(l, h, gpa, err);
    return 0;
}

static int load_page(struct load *l, const igvm_header *h, const igvm_page_data *page, struct err *err)
{
    uint64_t len;
    const uint8_t *data = igvm_payload(&l->file, h, &len);
    return put(l, h, igvm_move(&l->moves, page->gpa), data, len, err);
}

static bool count_view(void *opaque, const struct mem_view *view)
{
    uint64_t *end = opaque; /* how far memory reaches without a gap */
    if (view->gpa > *end)
        return false;
    *end = view->gpa + view->len;
    return true;
}

static int check_required(struct load *l, const igvm_header *h, const igvm_required_memory *memory, struct err *err)
{
    uint64_t gpa = igvm_move(&l->moves, memory->gpa), end = gpa;
    int r = want_memory(l, gpa, memory->bytes, err);
    if (r)
        return r;
    mem_map_views_in(l->request->map, gpa, memory->bytes, count_view, &end);
    return end < gpa || end - gpa < memory->bytes ? no_memory(l, h, end, err) : 0;
}

/* ---- parameters ----------------------------------------------------------------------------------------------------------------------------------- */

static int declare_area(struct load *l, const igvm_header *h, const igvm_area *area, struct err *err)
{
    uint64_t len;
    if (l->area_count == IGVM_AREAS_MAX)
        return err_set(err, ERR_INPUT, "%s: more than %u parameter areas", l->name, IGVM_AREAS_MAX);
    l->areas[l->area_count++] = (struct area){area->index, area->bytes, igvm_payload(&l->file, h, &len)};
    return 0;
}

static int note_parameter(struct load *l, const igvm_header *h, const igvm_parameter *p, struct err *err)
{
    if (l->parameter_count == PARAMETERS_MAX)
        return err_set(err, ERR_INPUT, "%s: more than %u parameters", l->name, PARAMETERS_MAX);
    l->parameters[l->parameter_count++] = (struct parameter){p->area, p->byte_offset, h->type};
    return 0;
}

static int insert_area(struct load *l, const igvm_header *h, const igvm_insert *insert, struct err *err)
{
    const struct area *area = NULL;
    for (unsigned i = 0; i < l->area_count && !area; i++)
        if (l->areas[i].index == insert->area)
            area = &l->areas[i];
    if (!area)
        return err_set(err, ERR_INTERNAL, "%s: header %u inserts an area that is not there", l->name, h->index);
    uint64_t gpa = igvm_move(&l->moves, insert->gpa);
    int r = put(l, h, gpa, area->data, area->bytes, err);
    for (unsigned i = 0; !r && i < l->parameter_count; i++) {
        const struct parameter *p = &l->parameters[i];
        if (p->area != insert->area)
            continue;
        if (p->offset >= area->bytes)
            return err_set(err, ERR_INTERNAL, "%s: a parameter lies outside its area", l->name);
        r = igvm_put_parameter(l->request, p->type, gpa + p->offset, area->bytes - p->offset, err);
    }
    return r;
}

/* ---- directives ----------------------------------------------------------------------------------------------------------------------------------- */

static int take_context(struct load *l, const igvm_header *h, const igvm_vp_context *vp, struct err *err)
{
    uint64_t len;
    const uint8_t *data = igvm_payload(&l->file, h, &len);
    if (vp->vp_index)
        return 0;
    if (!data || len < IGVM_NATIVE_CONTEXT_BYTES)
        return err_set(err, ERR_INPUT, "%s: header %u: the context of VP 0 is empty", l->name, h->index);
    igvm_native_context_get(data, l->context);
    l->has_context = true;
    return 0;
}

static int carry_out(struct load *l, const igvm_header *h, const igvm_body *body, struct err *err)
{
    switch (h->type) {
    case IGVM_T_PAGE_DATA:        return load_page(l, h, &body->u.page_data, err);
    case IGVM_T_PARAMETER_AREA:   return declare_area(l, h, &body->u.area, err);
    case IGVM_T_PARAMETER_INSERT: return insert_area(l, h, &body->u.insert, err);
    case IGVM_T_VP_CONTEXT:       return take_context(l, h, &body->u.vp_context, err);
    case IGVM_T_REQUIRED_MEMORY:  return check_required(l, h, &body->u.required_memory, err);
    default:                      return h->known && h->known->smallest ? note_parameter(l, h, &body->u.parameter, err) : 0;
    }
}

static int load_directives(struct load *l, struct err *err)
{
    igvm_iter iter = igvm_headers(&l->file);
    igvm_header h;
    igvm_body body;
    int r = 0;
    while (!r && igvm_next(&iter, &h))
        if (igvm_section_of(h.type) == IGVM_SECTION_DIRECTIVE && igvm_mask(&h) & l->mask && igvm_decode(&h, &body))
            r = carry_out(l, &h, &body, err);
    if (!r && !l->has_context)
        r = err_set(err, ERR_INPUT, "%s: the file has no first registers for the NATIVE platform (no VP_CONTEXT of VP 0)", l->name);
    return r;
}

int igvm_load(const struct igvm_load_request *request, igvm_native_context *context, struct err *err)
{
    struct load *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(err, ERR_HOST, "%s: out of memory", request->file.option);
    l->request = request;
    l->name = request->file.option;
    l->context = context;
    int r = open_file(l, err);
    if (!r)
        r = igvm_moves_choose(request, &l->file, l->mask, &l->moves, err);
    if (!r)
        r = load_directives(l, err);
    if (!r)
        r = igvm_moves_finish(request, &l->moves, context, err);
    free(l);
    return r;
}
