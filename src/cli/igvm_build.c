/* SPDX-License-Identifier: MIT */
/* igvm_build.c - `mezz igvm build`: options and manifest, the files that they name, and the file that is made.
 *
 * What the builders of firmware/ make comes first, then the manifest's own parameters, pages, required memory and contexts, in that order; libigvm checks the whole before it
 * is written. Input files are bounded by files.h.
 */
#include "firmware/igvm_build.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "cli/files.h"
#include "cli/igvm_cli.h"
#include "control/igvm_config.h"

static const igvm_platform_type target_types[IGVM_TARGETS] = {[IGVM_TARGET_NATIVE] = IGVM_NATIVE, [IGVM_TARGET_SNP] = IGVM_SEV_SNP, [IGVM_TARGET_TDX] = IGVM_TDX,
                                                              [IGVM_TARGET_VBS] = IGVM_VBS};

/* What a manifest's item does not say for a platform holds for all. */
static int item_mask(const struct option_list *platforms, const uint32_t masks[IGVM_PLATFORMS_MAX], const char *what, size_t i, uint32_t *out, struct err *err)
{
    uint32_t targets;
    char label[48];
    snprintf(label, sizeof label, "%s[%zu]: platform", what, i);
    int r = igvm_config_targets(platforms, label, &targets, err);
    *out = 0;
    for (unsigned t = 0; !r && t < IGVM_TARGETS; t++) {
        bool named = targets & 1u << t;
        if (named && !masks[target_types[t]])
            return err_set(err, ERR_INPUT, "%s %s: the file is not built for it (--platform)", label, igvm_target_names[t]);
        if (named || !platforms->count)
            *out |= masks[target_types[t]];
    }
    return r;
}

static int check_pages(const char *what, size_t i, uint64_t gpa, uint64_t size, struct err *err)
{
    uint64_t end;
    if (gpa % IGVM_PAGE || size % IGVM_PAGE || ckd_add(&end, gpa, size))
        return err_set(err, ERR_INPUT, "%s[%zu]: gpa and size: want multiples of 4 KiB below 2^64", what, i);
    return 0;
}

static int read_item_file(const char *path, const char *what, size_t i, char label[300], struct image *out, struct err *err)
{
    snprintf(label, 300, "%s[%zu] %s", what, i, path);
    return file_read(path, label, out, err);
}

static const struct { const char *name; uint32_t type; } parameter_kinds[] = {
    {"vp-count", IGVM_T_VP_COUNT}, {"memory-map", IGVM_T_MEMORY_MAP}, {"command-line", IGVM_T_COMMAND_LINE}, {"madt", IGVM_T_MADT}, {"srat", IGVM_T_SRAT}, {"slit", IGVM_T_SLIT},
    {"pptt", IGVM_T_PPTT}, {"mmio-ranges", IGVM_T_MMIO_RANGES}, {"device-tree", IGVM_T_DEVICE_TREE}, {"environment", IGVM_T_ENVIRONMENT},
};

/* "KIND" or "KIND@OFFSET". */
static int add_content(igvm_writer *writer, uint32_t area, const char *text, size_t i, struct err *err)
{
    size_t len = strcspn(text, "@");
    char *end = NULL;
    unsigned long long offset = text[len] ? strtoull(text + len + 1, &end, 0) : 0;
    for (size_t k = 0; k < ARRAY_LEN(parameter_kinds); k++)
        if (strlen(parameter_kinds[k].name) == len && !strncmp(text, parameter_kinds[k].name, len)) {
            if ((end && (*end || end == text + len + 1)) || offset > UINT32_MAX)
                break;
            return igvm_build_error(igvm_add_parameter(writer, parameter_kinds[k].type, area, (uint32_t)offset), "parameters", err);
        }
    return err_set(err, ERR_INPUT, "parameters[%zu]: contents %.60s: want KIND or KIND@OFFSET (docs/igvm-manifest.md lists the kinds)", i, text);
}

static int add_parameters(const struct igvm_config *c, igvm_writer *writer, const uint32_t masks[], struct err *err)
{
    const struct igvm_config_parameters *items = c->parameters.items;
    int r = 0;
    for (size_t i = 0; !r && i < c->parameters.count; i++) {
        const struct igvm_config_parameters *p = &items[i];
        struct image file = {0};
        char label[300];
        uint32_t mask, area;
        r = item_mask(&p->platforms, masks, "parameters", i, &mask, err);
        if (!r)
            r = check_pages("parameters", i, p->gpa, p->size, err);
        if (!r && p->file)
            r = read_item_file(p->file, "parameters", i, label, &file, err);
        if (!r && file.len > p->size)
            r = err_set(err, ERR_INPUT, "%s: longer than the area", label);
        if (!r)
            r = igvm_build_error(igvm_add_area(writer, p->size, file.bytes, file.len, &area), "parameters", err);
        for (size_t k = 0; !r && k < p->contents.count; k++)
            r = add_content(writer, area, p->contents.items[k], i, err);
        if (!r)
            r = igvm_build_error(igvm_add_insert(writer, mask, p->gpa, area), "parameters", err);
        file_free(&file);
    }
    return r;
}

static int add_pages(const struct igvm_config *c, igvm_writer *writer, const uint32_t masks[], struct err *err)
{
    const struct igvm_config_pages *items = c->pages.items;
    int r = 0;
    for (size_t i = 0; !r && i < c->pages.count; i++) {
        const struct igvm_config_pages *p = &items[i];
        struct image file = {0};
        char label[300];
        uint32_t mask;
        r = item_mask(&p->platforms, masks, "pages", i, &mask, err);
        if (!r)
            r = check_pages("pages", i, p->gpa, p->file ? 0 : p->size, err);
        if (!r && !p->file == !p->size)
            r = err_set(err, ERR_INPUT, "pages[%zu]: want one of file and size", i);
        if (!r && p->size > (UINT64_C(1) << 40))
            r = err_set(err, ERR_INPUT, "pages[%zu]: size is beyond any file", i);
        if (!r && p->file)
            r = read_item_file(p->file, "pages", i, label, &file, err);
        if (!r)
            r = igvm_build_error(igvm_add_pages(writer, mask, p->gpa, file.bytes, p->file ? file.len : p->size,
                                                (p->unmeasured ? IGVM_PAGE_UNMEASURED : 0) | (p->shared ? IGVM_PAGE_SHARED : 0), (uint16_t)p->kind), "pages", err);
        file_free(&file);
    }
    return r;
}

static int add_required(const struct igvm_config *c, igvm_writer *writer, const uint32_t masks[], struct err *err)
{
    const struct igvm_config_memory *items = c->required.items;
    int r = 0;
    for (size_t i = 0; !r && i < c->required.count; i++) {
        uint32_t mask;
        r = item_mask(&items[i].platforms, masks, "required-memory", i, &mask, err);
        if (!r)
            r = check_pages("required-memory", i, items[i].gpa, items[i].size, err);
        if (!r)
            r = igvm_build_error(igvm_add_required_memory(writer, mask, items[i].gpa, items[i].size, 0), "required-memory", err);
    }
    return r;
}

static int add_contexts(const struct igvm_config *c, igvm_writer *writer, const uint32_t masks[], struct err *err)
{
    const struct igvm_config_context *items = c->contexts.items;
    int r = 0;
    for (size_t i = 0; !r && i < c->contexts.count; i++) {
        const struct igvm_config_context *x = &items[i];
        struct image file = {0};
        char label[300];
        if (!masks[target_types[x->platform]])
            return err_set(err, ERR_INPUT, "contexts[%zu]: platform %s: the file is not built for it (--platform)", i, igvm_target_names[x->platform]);
        r = read_item_file(x->file, "contexts", i, label, &file, err);
        if (!r && x->platform != IGVM_TARGET_VBS && file.len > IGVM_PAGE)
            r = err_set(err, ERR_INPUT, "%s: longer than 4096 bytes", label);
        if (!r)
            r = igvm_build_error(igvm_add_vp_context(writer, masks[target_types[x->platform]], x->gpa, (uint16_t)x->vp, file.bytes, file.len), label, err);
        file_free(&file);
    }
    return r;
}

/* ---- the command ---------------------------------------------------------------------------------------------------------------------------------- */

struct inputs { struct image kernel, initrd, firmware; char labels[3][300]; };

static int read_inputs(const struct igvm_config *c, struct inputs *in, struct err *err)
{
    const struct { const char *option, *path; struct image *image; } files[] = {{"--kernel", c->kernel, &in->kernel}, {"--initrd", c->initrd, &in->initrd},
                                                                                {"--firmware", c->firmware, &in->firmware}};
    int r = 0;
    for (size_t i = 0; !r && i < ARRAY_LEN(files); i++) {
        if (!files[i].path)
            continue;
        snprintf(in->labels[i], sizeof in->labels[i], "%s %s", files[i].option, files[i].path);
        r = file_read(files[i].path, in->labels[i], files[i].image, err);
    }
    return r;
}

static int make(const struct igvm_config *c, const struct inputs *in, igvm_writer **out, struct err *err)
{
    static const char *const native[] = {"native"};
    struct option_list platforms = c->platforms.count ? c->platforms : (struct option_list){(char **)native, 1};
    struct igvm_build build = {
        .kernel = in->kernel, .initrd = in->initrd, .firmware = in->firmware, .cmdline = c->cmdline ? c->cmdline : "", .map = c->memory_map, .memory = c->memory,
        .host_cmdline = c->host_cmdline, .c_bit = (unsigned)c->c_bit, .cpus = (uint32_t)c->cpus, .snp_policy = c->snp_policy, .sev_features = c->sev_features,
        .vmsa_gpa = c->vmsa_gpa, .tdx_policy = c->tdx_policy};
    uint32_t targets, masks[IGVM_PLATFORMS_MAX];
    int r = igvm_config_targets(&platforms, "--platform", &targets, err);
    for (unsigned t = 0; t < IGVM_TARGETS; t++)
        build.targets |= targets & 1u << t ? 1u << target_types[t] : 0;
    if (!r && !in->kernel.len && !in->firmware.len && !c->pages.count && !c->parameters.count)
        r = err_set(err, ERR_USAGE, "--kernel, --firmware or a --manifest with pages is missing");
    if (!r && c->memory % IGVM_PAGE)
        r = err_set(err, ERR_USAGE, "--memory: want a multiple of 4 KiB");
    if (!r)
        r = igvm_build(&build, out, masks, err);
    if (!r)
        r = add_parameters(c, *out, masks, err);
    if (!r)
        r = add_pages(c, *out, masks, err);
    if (!r)
        r = add_required(c, *out, masks, err);
    return r ? r : add_contexts(c, *out, masks, err);
}

static int build(const struct igvm_config *c, struct err *err)
{
    struct inputs in = {0};
    igvm_writer *writer = NULL;
    int r = c->output ? 0 : err_set(err, ERR_USAGE, "--output is missing");
    if (!r)
        r = read_inputs(c, &in, err);
    if (!r)
        r = make(c, &in, &writer, err);
    if (!r)
        r = igvm_write_output(writer, c->output, err);
    igvm_writer_free(writer);
    file_free(&in.kernel);
    file_free(&in.initrd);
    file_free(&in.firmware);
    return r ? cli_fail(err) : 0;
}

/* The manifest is read where its option stands, before all others, so that they override it. */
static int set_option(void *object, const char *key, const char *value, struct err *err)
{
    return options_set(igvm_build_table, object, NULL, key, value, err);
}

static int read_manifest(struct igvm_config *c, int argc, char **argv, struct err *err)
{
    static const char option[] = "--manifest";
    size_t len = sizeof option - 1;
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], option, len) && argv[i][len] == '=')
            return igvm_config_read_json(c, argv[i] + len + 1, err);
        if (!strcmp(argv[i], option) && i + 1 < argc)
            return igvm_config_read_json(c, argv[i + 1], err);
    }
    return 0;
}

int command_igvm_build(const struct command *command, int argc, char **argv)
{
    struct igvm_config config;
    struct err err = ERR_NONE;
    struct arguments arguments = {.command = command, .object = &config, .set = set_option};
    int r = igvm_config_init(&config, &err);
    if (!r)
        r = read_manifest(&config, argc, argv, &err);
    if (!r)
        r = arguments_parse(&arguments, argc, argv, &err);
    int status = r ? cli_fail(&err) : build(&config, &err);
    igvm_config_free(&config);
    return status;
}
