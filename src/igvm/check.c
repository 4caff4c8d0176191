/* SPDX-License-Identifier: MIT */
/* Checks a file: the fixed header, then one walk over the variable headers with what must be remembered between them, then what only the end shows.
 *
 * igvm_open and igvm_verify are the same walk; the former stops at the first error. Trusted: nothing. Lists that the walk keeps are limited by the
 * constants of igvm.h, but for ranges (overlap.c), of which there are no more than headers. Time is linear in the headers but for a sort.
 * Each header has at most one error, and an error in the fixed header is the only one, since what follows would be noise.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "igvm/check.h"

/* ---- findings ----------------------------------------------------------------------------------------------------------------------------- */

static igvm_severity severity_of(const struct check *c, igvm_code code)
{
    switch (code) {
    case IGVM_UNREACHABLE:
    case IGVM_AREA_NOT_INSERTED:
    case IGVM_VBS_RECORD:
    case IGVM_NO_FILE_DATA:
    case IGVM_NO_POLICY:
    case IGVM_SKIPPED_HEADER:
        return IGVM_LINT;
    case IGVM_PADDING: /* igvmgen pads VP_CONTEXT with the digit 0 */
        return c->flags & IGVM_STRICT ? IGVM_ERROR : IGVM_LINT;
    default:
        return IGVM_ERROR;
    }
}

static void finding_text(igvm_finding *f, const char *format, va_list args)
{
    const igvm_type *type = f->index == IGVM_NONE ? NULL : igvm_type_of(f->type);
    int at = type ? snprintf(f->text, sizeof f->text, "%s: ", type->name) : 0;
    at += vsnprintf(f->text + at, sizeof f->text - (size_t)at, format, args);
    if (at > 0 && (size_t)at < sizeof f->text)
        snprintf(f->text + at, sizeof f->text - (size_t)at, " (rule: %s)", igvm_code_rule(f->code));
}

static void found(struct check *c, igvm_code code, const struct place *place, const char *format, va_list args)
{
    igvm_finding f = {.code = code, .severity = severity_of(c, code), .index = place->index, .offset = place->offset, .type = place->type};
    if (c->stop)
        return;
    if (f.severity == IGVM_ERROR && c->first == IGVM_OK)
        c->first = code;
    finding_text(&f, format, args);
    if (c->report && c->report(c->context, &f))
        c->stop = true;
}

void check_found_at(struct check *c, igvm_code code, const struct place *place, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    found(c, code, place, format, args);
    va_end(args);
}

void check_found(struct check *c, igvm_code code, const char *format, ...)
{
    bool error = severity_of(c, code) == IGVM_ERROR;
    if (error && c->header_bad)
        return;
    c->header_bad |= error;
    struct place place = {.index = IGVM_NONE};
    if (c->header)
        place = (struct place){c->header->index, c->header->offset, c->header->type};
    va_list args;
    va_start(args, format);
    found(c, code, &place, format, args);
    va_end(args);
}

/* ---- helpers of the checks ---------------------------------------------------------------------------------------------------------------- */

uint32_t check_platforms(const struct check *c, uint32_t mask)
{
    uint32_t platforms = 0;
    for (uint32_t i = 0; i < c->file->platform_count; i++)
        platforms |= (c->file->platforms[i].mask & mask) != 0 ? 1u << i : 0;
    return platforms;
}

bool check_data(struct check *c, uint32_t at, uint64_t bytes)
{
    uint64_t start = (uint64_t)c->file->headers_offset + c->file->headers_size;
    if (at >= start && range_inside(at, bytes, c->file->size))
        return true;
    check_found(c, IGVM_DATA_OUT_OF_FILE, "%llu bytes at file offset 0x%x, with data from 0x%llx to 0x%llx", (unsigned long long)bytes, at,
        (unsigned long long)start, (unsigned long long)c->file->size);
    return false;
}

bool check_room(struct check *c, void **array, uint32_t count, uint32_t *room, size_t element, uint32_t max, const char *what)
{
    if (count < *room)
        return true;
    if (count >= max) {
        check_found(c, IGVM_TOO_MANY, "more than %u %s", max, what);
        return false;
    }
    uint32_t more = *room ? *room * 2 : 8;
    void *grown = realloc(*array, more * element);
    if (!grown) {
        c->no_memory = true;
        return false;
    }
    *array = grown;
    *room = more;
    return true;
}

/* ---- the fixed header --------------------------------------------------------------------------------------------------------------------- */

static igvm_code fixed_fail(igvm_finding *why, igvm_code code, uint64_t offset, const char *format, ...) __attribute__((format(printf, 4, 5)));
static igvm_code fixed_fail(igvm_finding *why, igvm_code code, uint64_t offset, const char *format, ...)
{
    *why = (igvm_finding){.code = code, .severity = IGVM_ERROR, .index = IGVM_NONE, .offset = offset};
    va_list args;
    va_start(args, format);
    finding_text(why, format, args);
    va_end(args);
    return code;
}

static uint32_t headers_crc(const igvm_file *file, uint32_t fixed)
{
    uint8_t header[FIXED_V2];
    memcpy(header, file->data, fixed);
    store_le32(header + 0x14, 0);
    return igvm_crc32(igvm_crc32(0, header, fixed), file->data + file->headers_offset, file->headers_size);
}

/* Version, architecture and page size. Gives the length of the fixed header. */
static igvm_code check_version(igvm_file *file, uint32_t *fixed, igvm_finding *why)
{
    const uint8_t *p = file->data;
    if (load_le32(p) != MAGIC)
        return fixed_fail(why, IGVM_BAD_MAGIC, 0, "the first bytes are %02x %02x %02x %02x", p[0], p[1], p[2], p[3]);
    file->version = load_le32(p + 4);
    if (file->version != 1 && file->version != 2)
        return fixed_fail(why, IGVM_UNSUPPORTED_VERSION, 4, "format_version is %u", file->version);
    *fixed = file->version == 1 ? FIXED_V1 : FIXED_V2;
    if (file->size < *fixed)
        return fixed_fail(why, IGVM_TRUNCATED_FIXED_HEADER, file->size, "the file has %llu bytes", (unsigned long long)file->size);
    file->arch = file->version == 1 ? IGVM_ARCH_X64 : load_le32(p + 0x18);
    if (file->arch != IGVM_ARCH_X64 && file->arch != IGVM_ARCH_AARCH64)
        return fixed_fail(why, IGVM_BAD_ARCH, 0x18, "architecture is %u", file->arch);
    if (file->version == 2 && load_le32(p + 0x1c) != IGVM_PAGE)
        return fixed_fail(why, IGVM_UNSUPPORTED_PAGE_SIZE, 0x1c, "page_size is %u", load_le32(p + 0x1c));
    return IGVM_OK;
}

igvm_code check_fixed(igvm_file *file, const uint8_t *data, size_t size, unsigned flags, igvm_finding *why)
{
    *file = (igvm_file){.data = data, .size = size};
    *why = (igvm_finding){.index = IGVM_NONE};
    if (size < FIXED_V1)
        return fixed_fail(why, IGVM_TRUNCATED_FIXED_HEADER, size, "the file has %llu bytes", (unsigned long long)size);
    uint32_t fixed = FIXED_V1, offset = load_le32(data + 8), length = load_le32(data + 0xc), total = load_le32(data + 0x10);
    file->checksum = load_le32(data + 0x14);
    igvm_code code = check_version(file, &fixed, why);
    if (!code && total != size)
        code = fixed_fail(why, IGVM_SIZE_MISMATCH, 0x10, "total_file_size is %u, but the file has %llu bytes", total, (unsigned long long)size);
    if (!code && offset > size)
        code = fixed_fail(why, IGVM_VHS_OUT_OF_FILE, 8, "variable_header_offset 0x%x is behind the end, 0x%llx", offset, (unsigned long long)size);
    if (!code && (offset < fixed || offset % 8))
        code = fixed_fail(why, IGVM_BAD_VHS_OFFSET, 8, "variable_header_offset is 0x%x", offset);
    if (!code && length > size - offset)
        code = fixed_fail(why, IGVM_VHS_OUT_OF_FILE, 0xc, "%u bytes of headers at 0x%x do not fit in %llu bytes", length, offset, (unsigned long long)size);
    if (offset <= size && offset >= FIXED_V1) { /* what can be shown of a damaged file */
        file->headers_offset = offset;
        file->headers_size = length <= size - offset ? length : (uint32_t)((uint64_t)size - offset);
    } else if (flags & IGVM_DAMAGED) {
        file->headers_offset = fixed <= size ? fixed : FIXED_V1;
        file->headers_size = length <= size - file->headers_offset ? length : (uint32_t)((uint64_t)size - file->headers_offset);
    }
    if (!code && headers_crc(file, fixed) != file->checksum)
        code = fixed_fail(why, IGVM_BAD_CHECKSUM, 0x14, "checksum is 0x%08x, but the headers give 0x%08x", file->checksum, headers_crc(file, fixed));
    return code;
}

/* ---- the walk ----------------------------------------------------------------------------------------------------------------------------- */

static void check_padding(struct check *c, const igvm_header *h)
{
    for (uint32_t i = h->length; i % 8; i++) {
        if (!h->body[i])
            continue;
        check_found(c, IGVM_PADDING, "padding byte 0x%02x behind the body", h->body[i]);
        return;
    }
}

static void check_mask(struct check *c, const igvm_header *h)
{
    if (h->known->mask_at < 0 || c->file->platform_count == 0 || igvm_mask(h) & c->all_masks)
        return;
    check_found(c, IGVM_UNREACHABLE, "mask 0x%x selects none of the platforms, 0x%x", igvm_mask(h), c->all_masks);
}

static bool check_type(struct check *c, const igvm_header *h)
{
    const igvm_type *type = igvm_type_of(h->type);
    if (type && type->length != h->length)
        check_found(c, IGVM_BAD_LENGTH, "length is 0x%x, not 0x%x", h->length, type->length);
    else if (!type && h->optional)
        check_found(c, IGVM_SKIPPED_HEADER, "unknown optional header of type 0x%x", h->type | IGVM_OPTIONAL);
    else if (!type)
        check_found(c, IGVM_UNKNOWN_HEADER, "unknown header of type 0x%x", h->type);
    return h->known;
}

static void check_header(struct check *c, const igvm_header *h)
{
    if (likely(h->type == IGVM_T_PAGE_DATA && h->known && c->section == IGVM_SECTION_DIRECTIVE && load_le32(h->body + 8) & c->all_masks)) {
        check_directive(c, h); /* nothing else can be wrong with it: nearly all headers of a big file */
        return;
    }
    check_padding(c, h);
    if (!check_type(c, h))
        return;
    igvm_section section = igvm_section_of(h->type);
    if (section < c->section)
        check_found(c, IGVM_SECTION_ORDER, "this header comes behind those of a later section");
    else
        c->section = section;
    if (section == IGVM_SECTION_DIRECTIVE) {
        if (h->type != IGVM_T_VP_CONTEXT)
            check_mask(c, h);
        check_directive(c, h);
        return;
    }
    igvm_body body;
    igvm_decode(h, &body);
    if (section == IGVM_SECTION_PLATFORM) {
        check_platform(c, &body.u.platform);
        return;
    }
    check_mask(c, h);
    check_init(c, &body);
}

static void check_headers(struct check *c)
{
    igvm_iter it = igvm_headers(c->file);
    igvm_header h;
    while (!c->stop && !c->no_memory && igvm_next(&it, &h)) {
        c->header = &h;
        c->header_bad = false;
        check_header(c, &h);
    }
    c->header = NULL;
    c->header_bad = false;
    uint64_t end = (uint64_t)c->file->headers_offset + c->file->headers_size;
    if (c->stop || c->no_memory || it.at == end)
        return;
    struct place place = {.index = it.index, .offset = (uint32_t)it.at};
    check_found_at(c, IGVM_TRUNCATED_HEADER, &place, "the section ends %llu bytes behind this header's first", (unsigned long long)(end - it.at));
}

static uint32_t platforms_of(void *context, uint32_t mask)
{
    return check_platforms(context, mask);
}

static bool report_overlap(void *context, const struct place *place, uint64_t gpa)
{
    struct check *c = context;
    check_found_at(c, IGVM_OVERLAP, place, "the page at GPA 0x%llx is imported by another header too", (unsigned long long)gpa);
    return !c->stop;
}

static void check_end(struct check *c)
{
    uint64_t end = (uint64_t)c->file->headers_offset + c->file->headers_size;
    if (!c->platform_headers)
        check_found(c, IGVM_NO_PLATFORM, "the file has no SUPPORTED_PLATFORM header");
    check_regions_end(c);
    check_areas_end(c);
    if (!c->stop && !overlap_find(&c->overlap, c->file, platforms_of, report_overlap, c))
        c->no_memory = true;
    c->header_bad = false;
    const igvm_platform *snp = igvm_find_platform(c->file, IGVM_SEV_SNP);
    if (snp && !(c->policy_mask & snp->mask))
        check_found(c, IGVM_NO_POLICY, "there is no policy for SEV_SNP");
    if (c->file->size == end)
        check_found(c, IGVM_NO_FILE_DATA, "the file ends with its headers");
}

static void check_free(struct check *c)
{
    for (size_t i = 0; i < ARRAY_LEN(c->high_contexts); i++)
        free(c->high_contexts[i]);
    free(c->areas);
    free(c->regions);
    overlap_free(&c->overlap);
}

static igvm_code check_file(struct check *c, const igvm_crypto *crypto)
{
    check_headers(c);
    if (!c->stop && !c->no_memory)
        check_end(c);
    if (crypto && !c->stop && !c->no_memory && c->first == IGVM_OK)
        check_id_blocks(c, crypto);
    check_free(c);
    return c->first == IGVM_OK && c->no_memory ? IGVM_NO_MEMORY : c->first;
}

struct first {
    igvm_finding *why;
    bool go_on; /* the walk must reach the end, since it fills the table of platforms */
};

static int keep_first_error(void *context, const igvm_finding *f)
{
    struct first *first = context;
    if (f->severity != IGVM_ERROR)
        return 0;
    if (first->why->code == IGVM_OK)
        *first->why = *f;
    return !first->go_on;
}

igvm_code igvm_open(igvm_file *file, const void *data, size_t size, unsigned flags, igvm_finding *why)
{
    igvm_finding finding;
    igvm_finding *out = why ? why : &finding;
    if (!file || (!data && size) || (uint64_t)size > IGVM_FILE_MAX)
        return igvm_fail(out, IGVM_BAD_ARGUMENT, "no buffer, or one of more than 4 GiB");
    igvm_code code = check_fixed(file, data, size, flags, out);
    bool damaged = flags & IGVM_DAMAGED && size >= FIXED_V1;
    if (code && !damaged)
        return code;
    struct first first = {out, damaged};
    struct check c = {.file = file, .flags = flags, .report = keep_first_error, .context = &first};
    code = check_file(&c, NULL);
    if (c.no_memory)
        return igvm_fail(out, IGVM_NO_MEMORY, "no memory");
    return damaged ? IGVM_OK : code;
}

igvm_code igvm_verify(const void *data, size_t size, unsigned flags, const struct igvm_crypto *crypto, igvm_report report, void *context)
{
    igvm_file file;
    igvm_finding f;
    if ((!data && size) || (uint64_t)size > IGVM_FILE_MAX)
        return IGVM_BAD_ARGUMENT;
    igvm_code code = check_fixed(&file, data, size, 0, &f);
    if (code) {
        if (report)
            report(context, &f);
        return code;
    }
    struct check c = {.file = &file, .flags = flags, .report = report, .context = context};
    return check_file(&c, crypto);
}
