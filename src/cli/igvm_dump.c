/* SPDX-License-Identifier: MIT */
/* igvm_dump.c - an IGVM file as text or JSON, header by header, with contexts and ID blocks decoded.
 *
 * The file is hostile and may be damaged: everything is read through libigvm's accessors, which stay safe then, and what the header tables do not know is shown as bytes.
 * Consecutive pages that differ in nothing but their address and data are one entry, unless --all.
 */
#include <string.h>

#include "base/bits.h"
#include "cli/igvm_cli.h"
#include "cli/json_out.h"

struct dump { bool json, all; };
#define ROW(member_, ...) { .offset = offsetof(struct dump, member_), __VA_ARGS__ }
const struct option igvm_dump_table[] = {
    ROW(json, .key = "json", .kind = OPTION_BOOL, .initial = "off", .meaning = "as one JSON object"),
    ROW(all, .key = "all", .kind = OPTION_BOOL, .initial = "off", .meaning = "every page by itself, and the registers that are 0"),
    OPTION_END,
};
#undef ROW

struct printer {
    const struct dump *options;
    const struct igvm_input *in;
    struct json_out json;
};

/* ---- one value, in either form ------------------------------------------------------------------------------------------------------------------ */

static void put_number(struct printer *p, const char *name, uint64_t value)
{
    if (p->options->json)
        json_out_hex(&p->json, name, value);
    else
        printf(" %s=0x%llx", name, (unsigned long long)value);
}

static void put_word(struct printer *p, const char *name, const char *value)
{
    if (p->options->json)
        json_out_string(&p->json, name, value);
    else
        printf(" %s=%s", name, value);
}

static void put_bytes(struct printer *p, const char *name, const uint8_t *bytes, size_t len)
{
    if (p->options->json) {
        json_out_bytes(&p->json, name, bytes, len);
        return;
    }
    printf(" %s=", name);
    igvm_print_hex(stdout, bytes, len);
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i])
            return false;
    return true;
}

static void put_field(struct printer *p, const igvm_field *f, const uint8_t *bytes)
{
    bool number = f->bytes == 1 || f->bytes == 2 || f->bytes == 4 || f->bytes == 8;
    if (!strncmp(f->name, "reserved", 8) && is_zero(bytes + f->offset, f->bytes))
        return;
    if (number)
        put_number(p, f->name, igvm_field_get(f, bytes));
    else
        put_bytes(p, f->name, bytes + f->offset, f->bytes);
}

/* ---- contexts ------------------------------------------------------------------------------------------------------------------------------------- */

static void begin_part(struct printer *p, const char *name)
{
    if (p->options->json)
        json_out_object(&p->json, name, true);
    else
        printf("\n         %s:", name);
}

static void end_part(struct printer *p)
{
    if (p->options->json)
        json_out_end(&p->json);
}

static void put_segment(struct printer *p, const char *name, uint16_t selector, uint16_t attributes, uint32_t limit, uint64_t base)
{
    if (p->options->json) {
        json_out_object(&p->json, name, true);
        json_out_hex(&p->json, "selector", selector);
        json_out_hex(&p->json, "attributes", attributes);
        json_out_hex(&p->json, "limit", limit);
        json_out_hex(&p->json, "base", base);
        json_out_end(&p->json);
    } else
        printf(" %s={0x%x attributes 0x%x limit 0x%x base 0x%llx}", name, selector, attributes, limit, (unsigned long long)base);
}

static void put_selector(struct printer *p, const igvm_field *f, const uint8_t *bytes)
{
    const uint8_t *at = bytes + f->offset;
    put_segment(p, f->name, load_le16(at), load_le16(at + 2), load_le32(at + 4), load_le64(at + 8));
}

static bool is_selector(const igvm_field *f)
{
    static const char *const names[] = {"es", "cs", "ss", "ds", "fs", "gs", "gdtr", "ldtr", "idtr", "tr"};
    for (size_t i = 0; f->bytes == 16 && i < ARRAY_LEN(names); i++)
        if (!strcmp(f->name, names[i]))
            return true;
    return false;
}

static void put_layout(struct printer *p, igvm_layout layout, const char *name, const uint8_t *bytes, uint64_t len)
{
    size_t count;
    const igvm_field *fields = igvm_layout_fields(layout, &count);
    begin_part(p, name);
    for (size_t i = 0; i < count; i++) {
        const igvm_field *f = &fields[i];
        if ((uint64_t)f->offset + f->bytes > len || (!p->options->all && is_zero(bytes + f->offset, f->bytes)))
            continue;
        if (layout == IGVM_LAYOUT_VMSA && is_selector(f))
            put_selector(p, f, bytes);
        else
            put_field(p, f, bytes);
    }
    end_part(p);
}

enum { VBS_SEGMENTS = 6, VBS_TABLES = 7 }; /* high halves of register names on x64, TLFS HV_REGISTER_NAME */

static void put_vbs_register(struct printer *p, const igvm_vbs_register *r)
{
    char unknown[24];
    const char *name = igvm_vbs_register_name(p->in->file.arch, r->name);
    uint64_t low = load_le64(r->value), high = load_le64(r->value + 8);
    snprintf(unknown, sizeof unknown, "register_%x", r->name);
    name = name ? name : unknown;
    if (p->in->file.arch == IGVM_ARCH_X64 && r->name >> 16 == VBS_SEGMENTS)
        put_segment(p, name, (uint16_t)(high >> 32), (uint16_t)(high >> 48), (uint32_t)high, low);
    else if (p->in->file.arch == IGVM_ARCH_X64 && r->name >> 16 == VBS_TABLES)
        put_segment(p, name, 0, 0, (uint16_t)(low >> 48), high);
    else if (!high)
        put_number(p, name, low);
    else
        put_bytes(p, name, r->value, sizeof r->value);
}

static void put_vbs(struct printer *p, const uint8_t *bytes, uint64_t len)
{
    uint32_t count = igvm_vbs_register_count(bytes, len);
    begin_part(p, "registers");
    for (uint32_t i = 0; i < count && i < IGVM_VBS_REGISTERS_MAX; i++) {
        igvm_vbs_register r;
        igvm_vbs_register_get(bytes, i, &r);
        put_vbs_register(p, &r);
    }
    end_part(p);
}

static void put_context(struct printer *p, const igvm_header *h)
{
    uint64_t len = 0;
    const uint8_t *bytes = igvm_payload(&p->in->file, h, &len);
    const igvm_platform *platform = igvm_platform_of(&p->in->file, igvm_mask(h));
    if (!bytes || !platform)
        return;
    switch (platform->type) {
    case IGVM_NATIVE:
    case IGVM_SEV:     put_layout(p, IGVM_LAYOUT_NATIVE, "registers", bytes, len); break;
    case IGVM_SEV_SNP:
    case IGVM_SEV_ES:  put_layout(p, IGVM_LAYOUT_VMSA, "vmsa", bytes, len); break;
    case IGVM_CCA:     put_layout(p, IGVM_LAYOUT_CCA, "registers", bytes, len); break;
    case IGVM_VBS:     put_vbs(p, bytes, len); break;
    default: break;
    }
}

/* ---- headers -------------------------------------------------------------------------------------------------------------------------------------- */

static void put_platforms(struct printer *p, uint32_t mask)
{
    char names[100] = "";
    for (uint32_t i = 0; i < p->in->file.platform_count; i++)
        if (p->in->file.platforms[i].mask & mask) {
            size_t used = strlen(names);
            snprintf(names + used, sizeof names - used, "%s%s", used ? "," : "", igvm_type_label(p->in->file.platforms[i].type));
        }
    put_word(p, "platforms", *names ? names : "none");
}

static void put_header(struct printer *p, const igvm_header *h, uint64_t pages)
{
    const igvm_type *known = h->known;
    if (p->options->json) {
        json_out_object(&p->json, NULL, true);
        json_out_u64(&p->json, "header", h->index);
        json_out_hex(&p->json, "offset", h->offset);
        json_out_string(&p->json, "name", known ? known->name : "UNKNOWN");
        if (h->optional)
            json_out_bool(&p->json, "optional", true);
        if (pages > 1)
            json_out_u64(&p->json, "pages", pages);
    } else {
        printf("%8u 0x%06x %s%s", h->index, h->offset, known ? known->name : "UNKNOWN", h->optional ? " optional" : "");
        if (pages > 1)
            printf(" x%llu", (unsigned long long)pages);
    }
    if (!known) {
        put_number(p, "type_number", h->type);
        put_bytes(p, "body", h->body, h->length < IGVM_BODY_MAX ? h->length : IGVM_BODY_MAX);
    }
    for (uint32_t i = 0; known && i < known->field_count; i++)
        put_field(p, &known->fields[i], h->body);
    if (known && known->mask_at >= 0 && h->type != IGVM_T_SUPPORTED_PLATFORM)
        put_platforms(p, igvm_mask(h));
    if (h->type == IGVM_T_SUPPORTED_PLATFORM && known)
        put_word(p, "platform", igvm_platform_name(h->body[5]));
    if (h->type == IGVM_T_VP_CONTEXT && known)
        put_context(p, h);
    if (p->options->json)
        json_out_end(&p->json);
    else
        putchar('\n');
}

/* Whether `next` continues a run of pages that has `count` and began with `first`. */
static bool continues_run(const igvm_page_data *first, uint64_t count, const igvm_header *next)
{
    igvm_body body;
    if (!next->known || next->type != IGVM_T_PAGE_DATA || next->optional || !igvm_decode(next, &body))
        return false;
    const igvm_page_data *page = &body.u.page_data;
    uint64_t size = first->flags & IGVM_PAGE_IS_2MB ? IGVM_PAGE_2MB : IGVM_PAGE;
    return page->gpa == first->gpa + count * size && page->mask == first->mask && page->flags == first->flags && page->data_type == first->data_type &&
           page->reserved == first->reserved && !page->file_offset == !first->file_offset;
}

static void put_headers(struct printer *p)
{
    igvm_iter iter = igvm_headers(&p->in->file);
    igvm_header h, next;
    for (bool more = igvm_next(&iter, &h); more;) {
        uint64_t count = 1;
        igvm_body body;
        bool page = h.known && h.type == IGVM_T_PAGE_DATA && !p->options->all && igvm_decode(&h, &body);
        while ((more = igvm_next(&iter, &next)) && page && continues_run(&body.u.page_data, count, &next))
            count++;
        put_header(p, &h, count);
        h = next;
    }
}

static void put_file(struct printer *p, const igvm_finding *why)
{
    const igvm_file *f = &p->in->file;
    const char *arch = f->arch == IGVM_ARCH_AARCH64 ? "AArch64" : "x64";
    if (!p->options->json) {
        printf("%s: IGVM version %u, %s, %llu bytes, checksum 0x%08x, headers at 0x%x to 0x%llx\n", p->in->label, f->version, arch, (unsigned long long)f->size, f->checksum,
               f->headers_offset, (unsigned long long)f->headers_offset + f->headers_size);
        put_headers(p);
        return;
    }
    json_out_begin(&p->json, stdout);
    json_out_object(&p->json, NULL, false);
    json_out_string(&p->json, "file", p->in->label);
    json_out_u64(&p->json, "version", f->version);
    json_out_string(&p->json, "architecture", arch);
    json_out_u64(&p->json, "size", f->size);
    json_out_hex(&p->json, "checksum", f->checksum);
    json_out_hex(&p->json, "headers_offset", f->headers_offset);
    json_out_hex(&p->json, "headers_size", f->headers_size);
    if (why->code != IGVM_OK)
        json_out_string(&p->json, "damage", igvm_code_name(why->code));
    json_out_array(&p->json, "headers", false);
    put_headers(p);
    json_out_end(&p->json);
    json_out_end(&p->json);
}

static int dump(const struct dump *options, const char *path, struct err *err)
{
    struct igvm_input in;
    igvm_finding why = {.index = IGVM_NONE};
    struct printer p = {.options = options, .in = &in};
    int r = igvm_input_map(&in, path, err);
    if (!r) {
        igvm_code code = igvm_open(&in.file, in.bytes, in.len, IGVM_DAMAGED, &why);
        if (code == IGVM_OK)
            put_file(&p, &why);
        if (code != IGVM_OK || why.code != IGVM_OK)
            r = igvm_error(path, code != IGVM_OK ? code : why.code, &why, err);
    }
    igvm_input_free(&in);
    return r ? cli_fail(err) : 0;
}

int command_igvm_dump(const struct command *command, int argc, char **argv)
{
    struct dump options = {0};
    struct option_list words = {0};
    struct err err = ERR_NONE;
    int r = igvm_arguments(command, &options, &words, argc, argv, &err);
    int status = r ? cli_fail(&err) : dump(&options, words.items[0], &err);
    words_free(&words);
    return status;
}
