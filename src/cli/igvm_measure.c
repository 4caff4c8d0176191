/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "cli/igvm_cli.h"

struct measure { unsigned platform, loader; uint64_t vcpus; bool explain, trace; };
#define ROW(member_, ...) { .offset = offsetof(struct measure, member_), __VA_ARGS__ }
const struct option igvm_measure_table[] = {
    ROW(platform, .key = "platform", .kind = OPTION_CHOICE, .initial = "auto", .choices = igvm_type_names, .value_name = "snp|tdx|vbs|sev|sev-es",
        .meaning = "whose digest (default: the file's only platform)"),
    ROW(loader, .key = "loader", .kind = OPTION_CHOICE, .initial = "spec", .choices = igvm_loader_names,
        .value_name = "spec|qemu|cloud-hypervisor-kvm|cloud-hypervisor-mshv|igvmmeasure|vanadium", .meaning = "who loads the file: the digest that this one will produce"),
    ROW(vcpus, .key = "vcpus", .kind = OPTION_UINT, .initial = "0", .max = 4096, .value_name = "N",
        .meaning = "vCPUs of the machine, for loaders that measure one context for each (0: those of the file)"),
    ROW(explain, .key = "explain", .kind = OPTION_BOOL, .initial = "off", .meaning = "then every other loader's digest, and why it differs"),
    ROW(trace, .key = "trace", .kind = OPTION_BOOL, .initial = "off", .meaning = "first every step: header, address, kind, and the digest after it"),
    OPTION_END,
};
#undef ROW

static int print_step(void *context, const igvm_step *step)
{
    (void)context;
    if (step->index == IGVM_NONE)
        printf("       -");
    else
        printf("%8u", step->index);
    printf(" 0x%012llx %u ", (unsigned long long)step->gpa, step->kind);
    if (step->digest)
        igvm_print_hex(stdout, step->digest->value, step->digest->bytes);
    fputc('\n', stdout);
    return 0;
}

static int print_difference(void *context, const igvm_difference *d)
{
    (void)context;
    printf("  header %u", d->index);
    printf(" at 0x%llx%s", (unsigned long long)d->gpa, d->count > 1 ? " and" : "");
    if (d->count > 1)
        printf(" %llu more", (unsigned long long)d->count - 1);
    printf(": %s\n", d->text);
    return 0;
}

static void explain(const struct igvm_input *in, const igvm_measure_options *chosen, const igvm_digest *digest)
{
    for (unsigned loader = 0; loader < IGVM_LOADERS; loader++) {
        igvm_measure_options options = *chosen;
        igvm_digest other;
        igvm_finding why = {.index = IGVM_NONE};
        if (loader == chosen->loader)
            continue;
        options.loader = loader;
        options.step = NULL;
        printf("%s: ", igvm_loader_names[loader]);
        igvm_code code = igvm_measure(&in->file, &options, &other, &why);
        if (code != IGVM_OK) {
            printf("none: %s%s%s\n", igvm_code_name(code), *why.text ? ": " : "", why.text);
            continue;
        }
        bool same = other.bytes == digest->bytes && !memcmp(other.value, digest->value, digest->bytes);
        if (same)
            printf("the same\n");
        else {
            igvm_print_hex(stdout, other.value, other.bytes);
            printf("\n");
            igvm_loader_differences(&in->file, chosen->platform, chosen->loader, loader, print_difference, NULL, &why);
        }
    }
}

static int measure(const struct measure *m, const char *path, struct err *err)
{
    struct igvm_input in;
    igvm_platform_type type;
    int r = igvm_input_open(&in, path, 0, err);
    if (!r)
        r = igvm_choose_platform(&in, m->platform, &type, err);
    if (!r) {
        igvm_measure_options options = {.platform = type, .loader = m->loader, .vcpus = (uint32_t)m->vcpus, .crypto = igvm_cli_crypto(), .step = m->trace ? print_step : NULL};
        igvm_digest digest;
        igvm_finding why = {.index = IGVM_NONE};
        igvm_code code = igvm_measure(&in.file, &options, &digest, &why);
        if (code != IGVM_OK)
            r = igvm_error(path, code, &why, err);
        else {
            igvm_print_hex(stdout, digest.value, digest.bytes);
            fputc('\n', stdout);
            if (m->explain)
                explain(&in, &options, &digest);
        }
    }
    igvm_input_free(&in);
    return r ? cli_fail(err) : 0;
}

int command_igvm_measure(const struct command *command, int argc, char **argv)
{
    struct measure options = {0};
    struct option_list words = {0};
    struct err err = ERR_NONE;
    int r = igvm_arguments(command, &options, &words, argc, argv, &err);
    int status = r ? cli_fail(&err) : measure(&options, words.items[0], &err);
    words_free(&words);
    return status;
}
