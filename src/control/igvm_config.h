/* SPDX-License-Identifier: MIT */
/* igvm_config.h - what `mezz igvm build` makes a file from: one schema for its options, its JSON manifest, help and documentation.
 *
 * A manifest is one object: every option is a member of the same name, repeated ones are arrays, and besides there are arrays of objects for what goes into the file as it is
 * ("pages", "parameters", "contexts", "required-memory"). Paths in a manifest are relative to it. Options on the command line are set after the manifest and override it.
 */
#ifndef CONTROL_IGVM_CONFIG_H
#define CONTROL_IGVM_CONFIG_H

#include <stdbool.h>
#include <stdio.h>

#include "base/options.h"

#define IGVM_CONFIG_ITEMS_MAX 4096 /* objects in each array of a manifest */

enum igvm_target { IGVM_TARGET_NATIVE, IGVM_TARGET_SNP, IGVM_TARGET_TDX, IGVM_TARGET_VBS, IGVM_TARGETS };
extern const char *const igvm_target_names[];        /* by enum igvm_target, ends with NULL */
enum igvm_map_source { IGVM_MAP_AUTO, IGVM_MAP_HOST, IGVM_MAP_FIXED };
enum igvm_page_kind { IGVM_PAGE_KIND_NORMAL, IGVM_PAGE_KIND_SECRETS, IGVM_PAGE_KIND_CPUID, IGVM_PAGE_KIND_CPUID_XF };

/* "pages": a file's bytes, or `size` zero bytes, as pages from gpa on. */
struct igvm_config_pages { char *file; uint64_t gpa, size; struct option_list platforms; unsigned kind; bool unmeasured, shared; };
/* "parameters": an area that the loader fills; contents are "KIND" or "KIND@OFFSET". */
struct igvm_config_parameters { char *file; uint64_t gpa, size; struct option_list platforms, contents; };
/* "contexts": a vCPU's first registers, as the file format stores them. */
struct igvm_config_context { char *file; uint64_t gpa, vp; unsigned platform; };
/* "required-memory". */
struct igvm_config_memory { uint64_t gpa, size; struct option_list platforms; };

extern const struct option igvm_build_table[];        /* struct igvm_config            */
/* The arrays of a manifest: member name, table of their objects. Ends with a NULL name. */
struct igvm_config_array { const char *name; const struct option *table; size_t items_offset, item_size; const char *summary; };
extern const struct igvm_config_array igvm_config_arrays[];
struct igvm_config_items { void *items; size_t count; };

struct igvm_config {
    char *manifest, *kernel, *initrd, *cmdline, *firmware, *output;
    struct option_list platforms;
    uint64_t memory, c_bit, snp_policy, sev_features, vmsa_gpa, tdx_policy, cpus;
    unsigned memory_map;
    bool host_cmdline;
    struct igvm_config_items pages, parameters, contexts, required;
};

int  igvm_config_init(struct igvm_config *, struct err *);
void igvm_config_free(struct igvm_config *);
/* ERR_INPUT names file, line or member. */
int  igvm_config_read_json(struct igvm_config *, const char *path, struct err *);
int  igvm_config_read_json_text(struct igvm_config *, const char *name, const char *text, size_t len, struct err *);
/* Targets as bits by enum igvm_target, from a list of names ("" in a list counts as nothing). ERR_USAGE: an unknown name, said of `what`. */
int  igvm_config_targets(const struct option_list *, const char *what, uint32_t *out, struct err *);

/* The JSON schema of a manifest (draft 2020-12). */
void igvm_config_write_schema(FILE *);

#endif
