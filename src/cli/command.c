/* SPDX-License-Identifier: MIT */
/* command.c - the table of commands, finding one, and its arguments. Words come from the user: a message quotes at most the first hundred bytes. */
#include "cli/command.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/completion.h"
#include "cli/igvm_cli.h"
#include "control/config.h"
#include "control/igvm_config.h"

const struct command commands[] = {
    {.name = "run", .table = config_table, .run = command_run, .summary = "start a virtual machine",
     .notes = "An option takes its value as the next word or after '='. `mezz help disk` and the like show the keys of a group.",
     .example = "mezz run --kernel vmlinuz --initrd initrd.gz --memory 1G"},
    {.name = "backends", .run = command_backends, .summary = "what this host can run guests with, and what would make the rest usable"},
    {.name = "igvm build", .table = igvm_build_table, .run = command_igvm_build, .summary = "make an IGVM file of a kernel or of firmware",
     .notes = "docs/igvm-manifest.md describes manifests; igvm-manifest.schema.json is their JSON schema.",
     .example = "mezz igvm build --kernel vmlinuz --initrd initrd.gz --platform native snp --output guest.igvm"},
    {.name = "igvm dump", .words = "FILE", .words_min = 1, .words_max = 1, .table = igvm_dump_table, .run = command_igvm_dump,
     .summary = "show the headers of an IGVM file, damaged ones too", .example = "mezz igvm dump --json guest.igvm"},
    {.name = "igvm verify", .words = "FILE", .words_min = 1, .words_max = 1, .table = igvm_verify_table, .run = command_igvm_verify,
     .summary = "say everything that is wrong with an IGVM file", .notes = "A finding is one line that begins with its code. Status 0: acceptable, perhaps with lints; 3: not."},
    {.name = "igvm measure", .words = "FILE", .words_min = 1, .words_max = 1, .table = igvm_measure_table, .run = command_igvm_measure,
     .summary = "print the digest that a loader will produce", .example = "mezz igvm measure --platform snp --loader qemu --vcpus 2 guest.igvm"},
    {.name = "igvm sign", .words = "FILE", .words_min = 1, .words_max = 1, .table = igvm_sign_table, .run = command_igvm_sign,
     .summary = "add an SEV-SNP ID block", .example = "mezz igvm sign --id-key id.pem --author-key author.pem --output signed.igvm guest.igvm"},
    {.name = "igvm diff", .words = "FILE FILE", .words_min = 2, .words_max = 2, .table = igvm_diff_table, .run = command_igvm_diff,
     .summary = "say how two IGVM files differ", .notes = "Status 0: they start the same guest; 7: they differ."},
    {.name = "igvm extract", .words = "FILE", .words_min = 1, .words_max = 1, .table = igvm_extract_table, .run = command_igvm_extract,
     .summary = "take an IGVM file apart into files and a manifest", .example = "mezz igvm extract --output parts guest.igvm"},
    {.name = "completion", .words = "bash", .words_min = 1, .words_max = 1, .run = command_completion, .summary = "print a completion script for a shell",
     .example = "source <(mezz completion bash)"},
    {.name = "help", .words = "[TOPIC]", .words_max = 2, .run = command_help, .summary = "help on a command, a group of options, exit statuses or keys"},
    {.name = NULL},
};

const struct command *command_find(int argc, char **argv, int *used)
{
    for (const struct command *c = commands; c->name; c++) {
        const char *second = strchr(c->name, ' ');
        size_t len = second ? (size_t)(second - c->name) : strlen(c->name);
        if (argc < 1 || strlen(argv[0]) != len || strncmp(argv[0], c->name, len) || (second && (argc < 2 || strcmp(argv[1], second + 1))))
            continue;
        *used = second ? 2 : 1;
        return c;
    }
    return NULL;
}

const struct command *command_family(const char *name)
{
    size_t len = strlen(name);
    for (const struct command *c = commands; c->name; c++)
        if (!strncmp(c->name, name, len) && c->name[len] == ' ')
            return c;
    return NULL;
}

/* ---- arguments ---------------------------------------------------------------------------------------------------------------------------------- */

static const struct option *find_row(const struct option *table, const char *name, size_t len)
{
    for (const struct option *o = table; o && o->key; o++)
        if (strlen(o->key) == len && !strncmp(o->key, name, len))
            return o;
    return NULL;
}

static int unknown_option(const struct command *command, const char *argument, struct err *err)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(argument + 2, "="), argument + 2);
    const char *nearest = command->table ? options_nearest(command->table, name) : NULL;
    if (nearest)
        return err_set(err, ERR_USAGE, "unknown option '--%s'; did you mean '--%s'?", name, nearest);
    return err_set(err, ERR_USAGE, "unknown option '%.60s' (mezz help %s lists the options)", argument, command->name);
}

static int set_option(const struct arguments *a, const struct option *o, const char *value, struct err *err)
{
    if (a->set)
        return a->set(a->object, o->key, value, err);
    return options_set(a->command->table, a->object, NULL, o->key, value, err);
}

static int add_word(const struct arguments *a, const char *word, struct err *err)
{
    const struct command *c = a->command;
    if (!a->words)
        return err_set(err, ERR_USAGE, "'%.100s' is not an option (options begin with --; mezz help %s lists them)", word, c->name);
    if (a->words->count >= c->words_max)
        return err_set(err, ERR_USAGE, "'%.100s' is one word too many: mezz %s %s", word, c->name, c->words);
    char **items = realloc(a->words->items, (a->words->count + 1) * sizeof *items), *copy = strdup(word);
    if (items)
        a->words->items = items;
    if (!items || !copy) {
        free(copy);
        return err_set(err, ERR_HOST, "out of memory");
    }
    items[a->words->count++] = copy;
    return 1;
}

void words_free(struct option_list *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->items[i]);
    free(words->items);
    *words = (struct option_list){0};
}

/* One option and its values. Returns how many words it used, or an error. */
static int parse_argument(const struct arguments *a, int argc, char **argv, struct err *err)
{
    const char *argument = argv[0];
    if (!strcmp(argument, "--help") || !strcmp(argument, "-h"))
        return err_set(err, ERR_USAGE, "%s goes alone: mezz %s --help", argument, a->command->name);
    if (strncmp(argument, "--", 2))
        return add_word(a, argument, err);
    size_t len = strcspn(argument + 2, "=");
    const struct option *o = find_row(a->command->table, argument + 2, len);
    if (!o)
        return unknown_option(a->command, argument, err);
    int r, used = 1;
    if (argument[2 + len] == '=')
        r = set_option(a, o, argument + 3 + len, err);
    else if (o->kind == OPTION_BOOL)
        r = set_option(a, o, "on", err);
    else if (argc < 2)
        r = err_set(err, ERR_USAGE, "--%s: %s is missing", o->key, o->value_name ? o->value_name : "a value");
    else
        r = set_option(a, o, argv[used++], err);
    while (!r && !a->words && o->kind == OPTION_LIST && used < argc && strncmp(argv[used], "--", 2))
        r = set_option(a, o, argv[used++], err);
    return r ? r : used;
}

int arguments_parse(const struct arguments *a, int argc, char **argv, struct err *err)
{
    for (int at = 0; at < argc;) {
        int used = parse_argument(a, argc - at, argv + at, err);
        if (used < 0)
            return used;
        at += used;
    }
    if (a->words && a->words->count < a->command->words_min)
        return err_set(err, ERR_USAGE, "%s is missing: mezz %s %s%s", a->command->words, a->command->name, a->command->words, a->command->table ? " [OPTION]..." : "");
    return 0;
}

int arguments_want_help(int argc, char **argv)
{
    return argc == 1 && (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h"));
}

/* ---- help --------------------------------------------------------------------------------------------------------------------------------------- */

const struct exit_status exit_statuses[] = {
    {"0", "the guest powered off; the command succeeded"},
    {"1", "internal failure"},
    {"2", "usage"},
    {"3", "bad input file or configuration"},
    {"4", "the host lacks something"},
    {"5", "the guest crashed (triple fault)"},
    {"6", "the guest reset, with --no-reboot"},
    {"7", "mezz igvm diff: the files differ"},
    {"100+", "the guest wrote n > 0 to the exit port: 100 + min(n, 27)"},
    {NULL, NULL},
};

void command_print_help(const struct command *c, FILE *out)
{
    fprintf(out, "usage: mezz %s%s%s%s\n\n%s\n", c->name, c->words ? " " : "", c->words ? c->words : "", c->table ? " [OPTION]..." : "", c->summary);
    if (c->table) {
        fputs("\nOptions:\n", out);
        config_help(out, c->table, "--");
    }
    if (c->notes)
        fprintf(out, "\n%s\n", c->notes);
    if (c->example)
        fprintf(out, "\nexample: %s\n", c->example);
}

void command_print_family(const char *family, FILE *out)
{
    size_t len = strlen(family);
    for (const struct command *c = commands; c->name; c++)
        if (!strncmp(c->name, family, len) && c->name[len] == ' ')
            fprintf(out, "  mezz %-20s %s\n", c->name, c->summary);
}
