/* SPDX-License-Identifier: MIT */
/* igvm_extract.c - an IGVM file taken apart: runs of pages, areas, contexts, ID blocks and CoRIM documents as files, and a manifest from which `mezz igvm build` makes a file of
 * the same contents again (with parameters first, then pages, memory and contexts).
 *
 * The file is hostile: names are made of numbers of ours and of the file's, never of its bytes; no more is written than the file holds.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bits.h"
#include "cli/igvm_cli.h"
#include "cli/json_out.h"
#include "control/igvm_config.h"

struct extract { char *output; };
#define ROW(member_, ...) { .offset = offsetof(struct extract, member_), __VA_ARGS__ }
const struct option igvm_extract_table[] = {
    ROW(output, .key = "output", .kind = OPTION_STRING, .value_name = "FOLDER", .meaning = "folder to write to; it is made when it is not there"),
    OPTION_END,
};
#undef ROW

struct extraction { struct igvm_input in; const char *folder; struct json_out json; };

/* Writes one file of the folder; `name` gets what it is called. */
static int write_part(struct extraction *x, const char *name, const void *bytes, size_t len, struct err *err)
{
    size_t room = strlen(x->folder) + strlen(name) + 2;
    char *path = malloc(room);
    if (!path)
        return err_set(err, ERR_HOST, "out of memory");
    snprintf(path, room, "%s/%s", x->folder, name);
    int r = igvm_write_file(path, "--output", bytes, len, err);
    free(path);
    return r;
}

static void put_platforms(struct extraction *x, uint32_t mask)
{
    json_out_array(&x->json, "platform", true);
    for (uint32_t i = 0; i < x->in.file.platform_count; i++)
        if (x->in.file.platforms[i].mask & mask)
            json_out_string(&x->json, NULL, igvm_type_label(x->in.file.platforms[i].type));
    json_out_end(&x->json);
}

/* ---- pages ------------------------------------------------------------------------------------------------------------------------------------------ */

static bool same_run(const igvm_page_data *a, uint64_t end, const igvm_page_data *b)
{
    return b->gpa == end && b->mask == a->mask && b->flags == a->flags && b->data_type == a->data_type && !b->file_offset == !a->file_offset;
}

struct pages { igvm_page_data first; uint64_t end; uint8_t *bytes; size_t len, room; unsigned number; };

static int pages_flush(struct extraction *x, struct pages *p, struct err *err)
{
    static const char *const kinds[] = {"normal", "secrets", "cpuid", "cpuid-xf"};
    char name[64];
    int r = 0;
    if (p->end == p->first.gpa)
        return 0;
    json_out_object(&x->json, NULL, true);
    json_out_hex(&x->json, "gpa", p->first.gpa);
    if (p->first.file_offset) {
        snprintf(name, sizeof name, "pages-%u-%llx.bin", p->number++, (unsigned long long)p->first.gpa);
        json_out_string(&x->json, "file", name);
        r = write_part(x, name, p->bytes, p->len, err);
    } else
        json_out_u64(&x->json, "size", p->end - p->first.gpa);
    if (p->first.data_type)
        json_out_string(&x->json, "type", kinds[p->first.data_type & 3]);
    if (p->first.flags & IGVM_PAGE_UNMEASURED)
        json_out_bool(&x->json, "unmeasured", true);
    if (p->first.flags & IGVM_PAGE_SHARED)
        json_out_bool(&x->json, "shared", true);
    put_platforms(x, p->first.mask);
    json_out_end(&x->json);
    p->end = p->first.gpa;
    p->len = 0;
    return r;
}

static int pages_add(struct pages *p, const uint8_t *data, uint64_t len, struct err *err)
{
    if (data && len > p->room - p->len) {
        size_t room = 2 * (p->room + len);
        uint8_t *more = realloc(p->bytes, room);
        if (!more)
            return err_set(err, ERR_HOST, "out of memory");
        p->bytes = more;
        p->room = room;
    }
    if (data)
        memcpy(p->bytes + p->len, data, len);
    p->len += data ? len : 0;
    p->end += len;
    return 0;
}

static int extract_pages(struct extraction *x, struct err *err)
{
    struct pages p = {.number = 0};
    igvm_header h;
    igvm_body body;
    int r = 0;
    json_out_array(&x->json, "pages", false);
    for (igvm_iter i = igvm_headers(&x->in.file); !r && igvm_next(&i, &h);) {
        uint64_t len;
        if (h.type != IGVM_T_PAGE_DATA || !igvm_decode(&h, &body))
            continue;
        const uint8_t *data = igvm_payload(&x->in.file, &h, &len);
        if (p.end == p.first.gpa || !same_run(&p.first, p.end, &body.u.page_data)) {
            r = pages_flush(x, &p, err);
            p.first = body.u.page_data;
            p.end = p.first.gpa;
        }
        if (!r)
            r = pages_add(&p, data, len, err);
    }
    if (!r)
        r = pages_flush(x, &p, err);
    json_out_end(&x->json);
    free(p.bytes);
    return r;
}

/* ---- the rest --------------------------------------------------------------------------------------------------------------------------------------- */

static const char *parameter_kind(uint32_t type)
{
    switch (type) {
    case IGVM_T_VP_COUNT:     return "vp-count";
    case IGVM_T_SRAT:         return "srat";
    case IGVM_T_MADT:         return "madt";
    case IGVM_T_MMIO_RANGES:  return "mmio-ranges";
    case IGVM_T_MEMORY_MAP:   return "memory-map";
    case IGVM_T_COMMAND_LINE: return "command-line";
    case IGVM_T_SLIT:         return "slit";
    case IGVM_T_PPTT:         return "pptt";
    case IGVM_T_DEVICE_TREE:  return "device-tree";
    case IGVM_T_ENVIRONMENT:  return "environment";
    default:                  return NULL;
    }
}

static void put_contents(struct extraction *x, uint32_t area)
{
    igvm_header h;
    igvm_body body;
    json_out_array(&x->json, "contents", true);
    for (igvm_iter i = igvm_headers(&x->in.file); igvm_next(&i, &h);) {
        char text[48];
        const char *kind = parameter_kind(h.type);
        if (!kind || !igvm_decode(&h, &body) || body.u.parameter.area != area)
            continue;
        snprintf(text, sizeof text, "%s@0x%x", kind, body.u.parameter.byte_offset);
        json_out_string(&x->json, NULL, text);
    }
    json_out_end(&x->json);
}

static bool find_insert(const struct extraction *x, uint32_t area, igvm_insert *out)
{
    igvm_header h;
    igvm_body body;
    for (igvm_iter i = igvm_headers(&x->in.file); igvm_next(&i, &h);)
        if (h.type == IGVM_T_PARAMETER_INSERT && igvm_decode(&h, &body) && body.u.insert.area == area) {
            *out = body.u.insert;
            return true;
        }
    return false;
}

static int extract_areas(struct extraction *x, struct err *err)
{
    igvm_header h;
    igvm_body body;
    int r = 0;
    json_out_array(&x->json, "parameters", false);
    for (igvm_iter i = igvm_headers(&x->in.file); !r && igvm_next(&i, &h);) {
        char name[40];
        uint64_t len;
        igvm_insert insert;
        if (h.type != IGVM_T_PARAMETER_AREA || !igvm_decode(&h, &body) || !find_insert(x, body.u.area.index, &insert))
            continue;
        const uint8_t *data = igvm_payload(&x->in.file, &h, &len);
        json_out_object(&x->json, NULL, true);
        json_out_hex(&x->json, "gpa", insert.gpa);
        json_out_u64(&x->json, "size", body.u.area.bytes);
        if (data) {
            snprintf(name, sizeof name, "area-%u.bin", body.u.area.index);
            json_out_string(&x->json, "file", name);
            r = write_part(x, name, data, len, err);
        }
        put_contents(x, body.u.area.index);
        put_platforms(x, insert.mask);
        json_out_end(&x->json);
    }
    json_out_end(&x->json);
    return r;
}

static int extract_contexts(struct extraction *x, struct err *err)
{
    igvm_header h;
    igvm_body body;
    int r = 0;
    json_out_array(&x->json, "contexts", false);
    for (igvm_iter i = igvm_headers(&x->in.file); !r && igvm_next(&i, &h);) {
        char name[64];
        uint64_t len;
        const igvm_platform *platform;
        if (h.type != IGVM_T_VP_CONTEXT || !igvm_decode(&h, &body) || !(platform = igvm_platform_of(&x->in.file, body.u.vp_context.mask)))
            continue;
        const uint8_t *data = igvm_payload(&x->in.file, &h, &len);
        if (!data)
            continue;
        snprintf(name, sizeof name, "context-%s-%u.bin", igvm_type_label(platform->type), body.u.vp_context.vp_index);
        r = write_part(x, name, data, len, err);
        json_out_object(&x->json, NULL, true);
        json_out_string(&x->json, "platform", igvm_type_label(platform->type));
        json_out_u64(&x->json, "vp", body.u.vp_context.vp_index);
        json_out_hex(&x->json, "gpa", body.u.vp_context.gpa);
        json_out_string(&x->json, "file", name);
        json_out_end(&x->json);
    }
    json_out_end(&x->json);
    return r;
}

static void extract_memory(struct extraction *x)
{
    igvm_header h;
    igvm_body body;
    json_out_array(&x->json, "required-memory", false);
    for (igvm_iter i = igvm_headers(&x->in.file); igvm_next(&i, &h);) {
        if (h.type != IGVM_T_REQUIRED_MEMORY || !igvm_decode(&h, &body))
            continue;
        json_out_object(&x->json, NULL, true);
        json_out_hex(&x->json, "gpa", body.u.required_memory.gpa);
        json_out_u64(&x->json, "size", body.u.required_memory.bytes);
        put_platforms(x, body.u.required_memory.mask);
        json_out_end(&x->json);
    }
    json_out_end(&x->json);
}

/* What a manifest has no words for, as files alone. */
static int extract_documents(struct extraction *x, struct err *err)
{
    igvm_header h;
    igvm_body body;
    int r = 0;
    for (igvm_iter i = igvm_headers(&x->in.file); !r && igvm_next(&i, &h);) {
        char name[64];
        uint64_t len = 0;
        const uint8_t *data = igvm_payload(&x->in.file, &h, &len);
        if (h.type == IGVM_T_CORIM_DOCUMENT && data) {
            snprintf(name, sizeof name, "corim-%x.cbor", igvm_mask(&h));
            r = write_part(x, name, data, len, err);
        } else if (h.type == IGVM_T_CORIM_SIGNATURE && data) {
            snprintf(name, sizeof name, "corim-%x.cose", igvm_mask(&h));
            r = write_part(x, name, data, len, err);
        } else if (h.type == IGVM_T_SNP_ID_BLOCK && igvm_decode(&h, &body)) {
            snprintf(name, sizeof name, "id-block-%x.bin", igvm_mask(&h));
            r = write_part(x, name, h.body, h.length, err);
        }
    }
    return r;
}

static void put_options(struct extraction *x)
{
    igvm_header h;
    igvm_body body;
    const igvm_file *f = &x->in.file;
    json_out_array(&x->json, "platform", true);
    for (uint32_t i = 0; i < f->platform_count; i++)
        json_out_string(&x->json, NULL, igvm_type_label(f->platforms[i].type));
    json_out_end(&x->json);
    for (igvm_iter i = igvm_headers(f); igvm_next(&i, &h);) {
        const igvm_platform *platform = igvm_platform_of(f, igvm_mask(&h));
        if (h.type != IGVM_T_GUEST_POLICY || !platform || !igvm_decode(&h, &body))
            continue;
        if (platform->type == IGVM_SEV_SNP)
            json_out_hex(&x->json, "snp-policy", body.u.guest_policy.policy);
        if (platform->type == IGVM_TDX)
            json_out_hex(&x->json, "tdx-policy", body.u.guest_policy.policy);
    }
}

static int extract_all(struct extraction *x, struct err *err)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return err_set(err, ERR_HOST, "out of memory");
    json_out_begin(&x->json, out);
    json_out_object(&x->json, NULL, false);
    put_options(x);
    int r = extract_areas(x, err);
    if (!r)
        r = extract_pages(x, err);
    if (!r)
        r = extract_contexts(x, err);
    extract_memory(x);
    json_out_end(&x->json);
    fclose(out);
    if (!r)
        r = extract_documents(x, err);
    if (!r)
        r = write_part(x, "manifest.json", text, len, err);
    free(text);
    return r;
}

static int extract(const struct extract *options, const char *path, struct err *err)
{
    struct extraction x = {.folder = options->output};
    int r = options->output ? 0 : err_set(err, ERR_USAGE, "--output is missing");
    if (!r)
        r = igvm_input_open(&x.in, path, 0, err);
    if (!r && mkdir(options->output, 0777) && errno != EEXIST)
        r = err_set(err, ERR_INPUT, "--output %s: cannot make it: %m", options->output);
    if (!r)
        r = extract_all(&x, err);
    igvm_input_free(&x.in);
    return r ? cli_fail(err) : 0;
}

int command_igvm_extract(const struct command *command, int argc, char **argv)
{
    struct extract options = {0};
    struct option_list words = {0};
    struct err err = ERR_NONE;
    int r = igvm_arguments(command, &options, &words, argc, argv, &err);
    int status = r ? cli_fail(&err) : extract(&options, words.items[0], &err);
    words_free(&words);
    options_free(igvm_extract_table, &options);
    return status;
}
