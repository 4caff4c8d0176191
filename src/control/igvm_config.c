/* SPDX-License-Identifier: MIT */
/* igvm_config.c - the schema of `mezz igvm build` and of its manifest. The manifest is hostile input: its size and the number of its objects are bounded here, its depth by
 * jansson, its values by base/options.c. */
#include "control/igvm_config.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "control/json.h"

#define FILE_MAX_BYTES (4 << 20)
#define ROW(type, member_, ...) { .offset = offsetof(type, member_), __VA_ARGS__ }

const char *const igvm_target_names[] = {"native", "snp", "tdx", "vbs", NULL};
static const char *const map_names[] = {"auto", "host", "fixed", NULL};
static const char *const page_kinds[] = {"normal", "secrets", "cpuid", "cpuid-xf", NULL};
#define PLATFORM_NAMES "native|snp|tdx|vbs"

const struct option igvm_build_table[] = {
    ROW(struct igvm_config, kernel, .key = "kernel", .kind = OPTION_STRING, .value_name = "F", .meaning = "Linux bzImage or ELF kernel with a 64-bit entry"),
    ROW(struct igvm_config, initrd, .key = "initrd", .kind = OPTION_STRING, .value_name = "F", .meaning = "initial RAM disk"),
    ROW(struct igvm_config, cmdline, .key = "cmdline", .kind = OPTION_STRING, .initial = "console=ttyS0", .value_name = "S", .meaning = "kernel command line"),
    ROW(struct igvm_config, firmware, .key = "firmware", .kind = OPTION_STRING, .value_name = "F",
        .meaning = "firmware that ends at 4 GiB, such as OVMF.fd, in place of a kernel"),
    ROW(struct igvm_config, platforms, .key = "platform", .kind = OPTION_LIST, .value_name = PLATFORM_NAMES,
        .meaning = "platform to build for; repeat for several in one file (default native)"),
    ROW(struct igvm_config, output, .key = "output", .kind = OPTION_STRING, .value_name = "F", .meaning = "file to write"),
    ROW(struct igvm_config, manifest, .key = "manifest", .kind = OPTION_STRING, .value_name = "F.json",
        .meaning = "read options, and pages, parameters and contexts of your own, from a JSON file"),
    ROW(struct igvm_config, memory_map, .key = "memory-map", .kind = OPTION_CHOICE, .initial = "auto", .choices = map_names, .value_name = "auto|host|fixed",
        .meaning = "where the kernel's memory map is from: the loader, or --memory (auto: fixed for snp and tdx, where all RAM must be in the file)"),
    ROW(struct igvm_config, memory, .key = "memory", .kind = OPTION_SIZE, .initial = "512M", .min = 16 << 20, .max = UINT64_C(64) << 30, .value_name = "SIZE",
        .meaning = "RAM that a fixed memory map tells of"),
    ROW(struct igvm_config, host_cmdline, .key = "host-cmdline", .kind = OPTION_BOOL, .initial = "off",
        .meaning = "let the loader give the command line; --cmdline is what stands there where it gives none"),
    ROW(struct igvm_config, cpus, .key = "cpus", .kind = OPTION_UINT, .initial = "1", .min = 1, .max = 512, .value_name = "N",
        .meaning = "firmware on snp: vCPUs to write a context for"),
    ROW(struct igvm_config, snp_policy, .key = "snp-policy", .kind = OPTION_UINT, .initial = "0x30000", .value_name = "N", .meaning = "SEV-SNP guest policy"),
    ROW(struct igvm_config, sev_features, .key = "sev-features", .kind = OPTION_UINT, .initial = "1", .value_name = "N",
        .meaning = "SEV_FEATURES of the VMSA; bit 0 is SEV-SNP"),
    ROW(struct igvm_config, vmsa_gpa, .key = "vmsa-gpa", .kind = OPTION_UINT, .initial = "0xfffffffff000", .value_name = "N",
        .meaning = "address of the VMSA; the default is KVM's"),
    ROW(struct igvm_config, c_bit, .key = "c-bit", .kind = OPTION_UINT, .initial = "51", .min = 32, .max = 51, .value_name = "N",
        .meaning = "address bit that marks private pages in SEV-SNP's page tables"),
    ROW(struct igvm_config, tdx_policy, .key = "tdx-policy", .kind = OPTION_UINT, .initial = "0", .max = 7, .value_name = "N",
        .meaning = "TDX guest policy: 1 debug allowed, 2 no #VE for unaccepted pages, 4 migratable"),
    OPTION_END,
};

static const struct option pages_table[] = {
    ROW(struct igvm_config_pages, gpa, .key = "gpa", .kind = OPTION_UINT, .value_name = "N", .meaning = "address of the first page"),
    ROW(struct igvm_config_pages, file, .key = "file", .kind = OPTION_STRING, .value_name = "F", .meaning = "contents; the last page is filled up with zeros"),
    ROW(struct igvm_config_pages, size, .key = "size", .kind = OPTION_SIZE, .value_name = "SIZE", .meaning = "bytes of zeros where there is no file"),
    ROW(struct igvm_config_pages, platforms, .key = "platform", .kind = OPTION_LIST, .value_name = PLATFORM_NAMES, .meaning = "for these platforms only"),
    ROW(struct igvm_config_pages, kind, .key = "type", .kind = OPTION_CHOICE, .initial = "normal", .choices = page_kinds, .value_name = "normal|secrets|cpuid|cpuid-xf",
        .meaning = "what the loader makes of the page"),
    ROW(struct igvm_config_pages, unmeasured, .key = "unmeasured", .kind = OPTION_BOOL, .initial = "off", .meaning = "leave the contents out of the measurement"),
    ROW(struct igvm_config_pages, shared, .key = "shared", .kind = OPTION_BOOL, .initial = "off", .meaning = "visible to the host"),
    OPTION_END,
};
static const struct option parameters_table[] = {
    ROW(struct igvm_config_parameters, gpa, .key = "gpa", .kind = OPTION_UINT, .value_name = "N", .meaning = "address of the area"),
    ROW(struct igvm_config_parameters, size, .key = "size", .kind = OPTION_SIZE, .initial = "4K", .min = 4096, .max = 1 << 30, .value_name = "SIZE", .meaning = "whole pages"),
    ROW(struct igvm_config_parameters, file, .key = "file", .kind = OPTION_STRING, .value_name = "F", .meaning = "contents before the loader's"),
    ROW(struct igvm_config_parameters, platforms, .key = "platform", .kind = OPTION_LIST, .value_name = PLATFORM_NAMES, .meaning = "for these platforms only"),
    ROW(struct igvm_config_parameters, contents, .key = "contents", .kind = OPTION_LIST, .value_name = "KIND[@OFFSET]",
        .meaning = "what the loader writes: vp-count, memory-map, command-line, madt, srat, slit, pptt, mmio-ranges, device-tree, environment"),
    OPTION_END,
};
static const struct option context_table[] = {
    ROW(struct igvm_config_context, file, .key = "file", .kind = OPTION_STRING, .required = true, .value_name = "F", .meaning = "VMSA, native context or VBS register list"),
    ROW(struct igvm_config_context, platform, .key = "platform", .kind = OPTION_CHOICE, .initial = "native", .choices = igvm_target_names, .value_name = PLATFORM_NAMES,
        .meaning = "whose context it is"),
    ROW(struct igvm_config_context, vp, .key = "vp", .kind = OPTION_UINT, .initial = "0", .max = 65535, .value_name = "N", .meaning = "number of the vCPU"),
    ROW(struct igvm_config_context, gpa, .key = "gpa", .kind = OPTION_UINT, .initial = "0", .value_name = "N", .meaning = "snp: address of the VMSA"),
    OPTION_END,
};
static const struct option required_table[] = {
    ROW(struct igvm_config_memory, gpa, .key = "gpa", .kind = OPTION_UINT, .value_name = "N", .meaning = "address"),
    ROW(struct igvm_config_memory, size, .key = "size", .kind = OPTION_SIZE, .min = 4096, .max = 0xfffff000, .value_name = "SIZE", .meaning = "whole pages that must be RAM"),
    ROW(struct igvm_config_memory, platforms, .key = "platform", .kind = OPTION_LIST, .value_name = PLATFORM_NAMES, .meaning = "for these platforms only"),
    OPTION_END,
};

const struct igvm_config_array igvm_config_arrays[] = {
    {"pages", pages_table, offsetof(struct igvm_config, pages), sizeof(struct igvm_config_pages), "pages with given contents"},
    {"parameters", parameters_table, offsetof(struct igvm_config, parameters), sizeof(struct igvm_config_parameters), "areas that the loader fills"},
    {"contexts", context_table, offsetof(struct igvm_config, contexts), sizeof(struct igvm_config_context), "first registers of vCPUs"},
    {"required-memory", required_table, offsetof(struct igvm_config, required), sizeof(struct igvm_config_memory), "ranges that must be RAM"},
    {NULL, NULL, 0, 0, NULL},
};

int igvm_config_init(struct igvm_config *c, struct err *err)
{
    memset(c, 0, sizeof *c);
    return options_init(igvm_build_table, c, err);
}

static struct igvm_config_items *array_items(const struct igvm_config_array *a, struct igvm_config *c)
{
    return (struct igvm_config_items *)((char *)c + a->items_offset);
}

void igvm_config_free(struct igvm_config *c)
{
    for (const struct igvm_config_array *a = igvm_config_arrays; a->name; a++) {
        struct igvm_config_items *items = array_items(a, c);
        for (size_t i = 0; i < items->count; i++)
            options_free(a->table, (char *)items->items + i * a->item_size);
        free(items->items);
    }
    options_free(igvm_build_table, c);
    memset(c, 0, sizeof *c);
}

int igvm_config_targets(const struct option_list *names, const char *what, uint32_t *out, struct err *err)
{
    *out = 0;
    for (size_t i = 0; i < names->count; i++)
        for (const char *name = names->items[i]; name;) { /* one name, or several with commas */
            size_t len = strcspn(name, ",");
            unsigned t = 0;
            while (t < IGVM_TARGETS && (strlen(igvm_target_names[t]) != len || strncmp(name, igvm_target_names[t], len)))
                t++;
            if (t == IGVM_TARGETS)
                return err_set(err, ERR_USAGE, "%s %.40s: want native, snp, tdx or vbs", what, names->items[i]);
            *out |= 1u << t;
            name = name[len] ? name + len + 1 : NULL;
        }
    return 0;
}

/* ---- JSON --------------------------------------------------------------------------------------------------------------------------------------- */

/* `folder` is what relative file names are relative to: the manifest's, with its slash. */
static int set_value(const struct option *table, void *object, const char *what, const char *folder, const char *key, const json_t *value, struct err *err)
{
    char text[JSON_VALUE_MAX + JSON_VALUE_MAX];
    size_t len = 0;
    const struct option *o = table;
    while (o->key && strcmp(o->key, key))
        o++;
    if (o->key && o->kind == OPTION_STRING && !strcmp(o->value_name, "F") && json_is_string(value) && *json_string_value(value) != '/' && strlen(folder) < JSON_VALUE_MAX) {
        len = strlen(folder);
        memcpy(text, folder, len);
    }
    if (json_scalar_text(value, text + len, JSON_VALUE_MAX))
        return err_set(err, ERR_INPUT, "%s: member '%.60s' is not a value that it takes", what, key);
    return options_set(table, object, what, key, text, err);
}

static int read_object(const struct option *table, void *object, const char *what, const char *folder, json_t *json, struct err *err)
{
    const char *key;
    json_t *value;
    int r = json_is_object(json) ? 0 : err_set(err, ERR_INPUT, "%s: want an object", what);
    json_object_foreach(json, key, value) {
        if (r)
            break;
        if (!json_is_array(value) || !json_array_size(value)) /* an empty one is no value either */
            r = set_value(table, object, what, folder, key, value, err);
        for (size_t i = 0; !r && json_is_array(value) && i < json_array_size(value); i++)
            r = set_value(table, object, what, folder, key, json_array_get(value, i), err);
    }
    for (const struct option *o = table; !r && o->key; o++)
        if (o->required && o->kind == OPTION_STRING && !*(char **)((char *)object + o->offset))
            r = err_set(err, ERR_INPUT, "%s: member '%s' is missing", what, o->key);
    return r;
}

static int read_array(struct igvm_config *c, const struct igvm_config_array *a, const char *folder, json_t *json, struct err *err)
{
    struct igvm_config_items *items = array_items(a, c);
    size_t n = json_array_size(json);
    if (!json_is_array(json) || n > IGVM_CONFIG_ITEMS_MAX || items->count)
        return err_set(err, ERR_INPUT, "%s: want one array of at most %d objects", a->name, IGVM_CONFIG_ITEMS_MAX);
    if (!n)
        return 0;
    items->items = calloc(n, a->item_size);
    if (!items->items)
        return err_set(err, ERR_HOST, "out of memory");
    int r = 0;
    for (size_t i = 0; !r && i < n; i++) {
        char what[48];
        void *item = (char *)items->items + i * a->item_size;
        snprintf(what, sizeof what, "%s[%zu]", a->name, i);
        items->count++;
        r = options_init(a->table, item, err);
        if (!r)
            r = read_object(a->table, item, what, folder, json_array_get(json, i), err);
    }
    return r;
}

static int read_root(struct igvm_config *c, const char *folder, json_t *root, struct err *err)
{
    int r = 0;
    for (const struct igvm_config_array *a = igvm_config_arrays; !r && a->name; a++) {
        json_t *array = json_object_get(root, a->name);
        if (array)
            r = read_array(c, a, folder, array, err);
        json_object_del(root, a->name);
    }
    if (!r && json_object_get(root, "manifest"))
        r = err_set(err, ERR_INPUT, "a manifest cannot name another");
    json_object_del(root, "$schema");
    return r ? r : read_object(igvm_build_table, c, "igvm build", folder, root, err);
}

int igvm_config_read_json_text(struct igvm_config *c, const char *name, const char *text, size_t len, struct err *err)
{
    json_error_t where;
    const char *slash = strrchr(name, '/');
    char *folder = strndup(name, slash ? (size_t)(slash + 1 - name) : 0);
    if (!folder)
        return err_set(err, ERR_HOST, "out of memory");
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    int r = !root                   ? err_set(err, ERR_INPUT, "line %d: %s", where.line, where.text)
            : json_is_object(root) ? read_root(c, folder, root, err)
                                    : err_set(err, ERR_INPUT, "want one JSON object");
    if (r) {
        err_add(err, "--manifest %s", name);
        if (r == ERR_USAGE && err)
            err->code = ERR_INPUT;
        r = r == ERR_USAGE ? ERR_INPUT : r;
    }
    json_decref(root);
    free(folder);
    return r;
}

int igvm_config_read_json(struct igvm_config *c, const char *path, struct err *err)
{
    char *text;
    size_t len;
    int r = json_read_file(path, "--manifest", FILE_MAX_BYTES, &text, &len, err);
    if (!r) {
        r = igvm_config_read_json_text(c, path, text, len, err);
        free(text);
    }
    return r;
}

/* ---- the manifest's own schema ------------------------------------------------------------------------------------------------------------------ */

static json_t *value_schema(const struct option *o)
{
    switch (o->kind) {
    case OPTION_BOOL:
        return json_pack("{s:s}", "type", "boolean");
    case OPTION_UINT:
    case OPTION_SIZE:
        return json_pack("{s:[s,s], s:s}", "type", "integer", "string", "pattern",
                         o->kind == OPTION_SIZE ? "^(0x[0-9a-fA-F]+|[0-9]+([KMGTkmgt]([iI]?[bB])?)?)$" : "^(0x[0-9a-fA-F]+|[0-9]+)$");
    case OPTION_CHOICE: {
        json_t *names = json_array();
        for (unsigned i = 0; o->choices[i]; i++)
            json_array_append_new(names, json_string(o->choices[i]));
        return json_pack("{s:o}", "enum", names);
    }
    case OPTION_LIST:
        return json_pack("{s:[s,s], s:{s:s}}", "type", "array", "string", "items", "type", "string"); /* one may stand without its array */
    case OPTION_STRING:
        break;
    }
    return json_pack("{s:s}", "type", "string");
}

static json_t *object_schema(const struct option *table)
{
    json_t *properties = json_object(), *required = json_array();
    for (const struct option *o = table; o->key; o++) {
        json_t *schema = value_schema(o);
        json_object_set_new(schema, "description", json_string(o->meaning));
        if (o->initial)
            json_object_set_new(schema, "default", o->kind == OPTION_BOOL ? json_boolean(!strcmp(o->initial, "on")) : json_string(o->initial));
        json_object_set_new(properties, o->key, schema);
        if (o->required)
            json_array_append_new(required, json_string(o->key));
    }
    return json_pack("{s:s, s:b, s:o, s:o}", "type", "object", "additionalProperties", 0, "properties", properties, "required", required);
}

void igvm_config_write_schema(FILE *out)
{
    json_t *root = object_schema(igvm_build_table), *properties = json_object_get(root, "properties");
    json_object_del(properties, "manifest");
    json_object_set_new(properties, "$schema", json_pack("{s:s}", "type", "string"));
    for (const struct igvm_config_array *a = igvm_config_arrays; a->name; a++)
        json_object_set_new(properties, a->name,
                            json_pack("{s:s, s:s, s:i, s:o}", "type", "array", "description", a->summary, "maxItems", IGVM_CONFIG_ITEMS_MAX, "items", object_schema(a->table)));
    json_object_set_new(root, "$schema", json_string("https://json-schema.org/draft/2020-12/schema"));
    json_object_set_new(root, "title", json_string("Manifest of mezz igvm build"));
    json_dumpf(root, out, JSON_INDENT(2) | JSON_SORT_KEYS);
    fputc('\n', out);
    json_decref(root);
}
