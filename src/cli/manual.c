/* SPDX-License-Identifier: MIT */
/* Manual pages, in the man(7) macros. */
#include <string.h>

#include <hy.h>

#include "cli/completion.h"
#include "cli/counters.h"
#include "control/config.h"

/* Text as roff takes it: backslashes and dashes are themselves, and no line begins with a control character. */
static void put(FILE *out, const char *text)
{
    for (bool at_start = true; *text; text++) {
        if (at_start && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
        at_start = *text == '\n';
    }
}

static void put_options(FILE *out, const struct option *table, const char *dashes)
{
    for (const struct option *o = table; o->key; o++) {
        fputs(".TP\n\\fB", out);
        put(out, dashes), put(out, o->key);
        fputs("\\fR", out);
        if (o->value_name) {
            fputs(*dashes ? " \\fI" : "=\\fI", out);
            put(out, o->value_name);
            fputs("\\fR", out);
        }
        fputc('\n', out);
        put(out, o->meaning);
        if (o->initial && o->kind != OPTION_BOOL && strcmp(o->initial, "0")) {
            fputs(" (default ", out);
            put(out, o->initial);
            fputc(')', out);
        }
        fputs(o->required ? " (required)\n" : "\n", out);
    }
}

static void put_command(FILE *out, const struct command *c)
{
    fputs(".SS mezz ", out);
    put(out, c->name);
    if (c->words)
        fputc(' ', out), put(out, c->words);
    fputc('\n', out);
    put(out, c->summary);
    fputs(".\n", out);
    if (c->table)
        put_options(out, c->table, "--");
    if (c->notes)
        fputs(".PP\n", out), put(out, c->notes), fputc('\n', out);
    if (c->example)
        fputs(".PP\n.RS\n.nf\n", out), put(out, c->example), fputs("\n.fi\n.RE\n", out);
}

static void put_groups(FILE *out)
{
    for (const struct config_group *g = config_groups; g->name; g++) {
        fputs(".SS Keys of \\-\\-", out);
        put(out, g->name);
        fputc('\n', out);
        put(out, g->summary);
        fputs("\n.PP\n.RS\n.nf\n", out);
        put(out, g->example);
        fputs("\n.fi\n.RE\n", out);
        put_options(out, g->table, "");
    }
}

/* A term and what it means. */
static void put_term(FILE *out, const char *term, const char *meaning)
{
    fputs(".TP\n.B ", out);
    put(out, term);
    fputc('\n', out);
    put(out, meaning);
    fputc('\n', out);
}

static void put_choices(FILE *out)
{
    for (const struct config_choice *s = config_choices; s->name; s++) {
        fputs(".SS Values of \\-\\-", out);
        put(out, s->name);
        fputc('\n', out);
        put(out, s->summary);
        fputs("\n.PP\n.RS\n.nf\n", out);
        put(out, s->example);
        fputs("\n.fi\n.RE\n", out);
        for (const struct config_value *v = s->values; v->value; v++)
            put_term(out, v->value, v->meaning);
    }
}

static void put_counters(FILE *out)
{
    const struct hy_counter_info *c;
    fputs(".SH COUNTERS\nMembers of the file of \\-\\-counters:\n", out);
    for (const struct counters_sum *s = counters_sums; s->name; s++)
        put_term(out, s->name, s->meaning);
    fputs(".PP\nThen cpus: for each vCPU the groups of what it counted since it was made, or the machine was reset.\n", out);
    for (size_t i = 0; (c = hy_counter_info("soft", i)); i++) {
        char term[80];
        snprintf(term, sizeof term, "%s: %s", c->group, c->name);
        put_term(out, term, c->meaning);
    }
}

static void put_statuses(FILE *out)
{
    fputs(".SH EXIT STATUS\n", out);
    for (const struct exit_status *e = exit_statuses; e->meaning; e++) {
        fprintf(out, ".TP\n\\fB%s\\fR\n", e->status);
        put(out, e->meaning);
        fputc('\n', out);
    }
}

int manual_write(const char *name, FILE *out)
{
    bool whole = !strcmp(name, "mezz");
    const char *family = strncmp(name, "mezz-", 5) ? NULL : name + 5;
    if (!whole && (!family || !command_family(family)))
        return -1;
    fprintf(out, ".TH %s 1 \"\" \"mezz %s\"\n.SH NAME\n", name, MEZZ_VERSION);
    put(out, name);
    fputs(whole ? " \\- virtual machine monitor\n" : " \\- read, check, measure, sign and build IGVM files\n", out);
    fputs(".SH SYNOPSIS\n.B mezz\n", out);
    put(out, whole ? "COMMAND [OPTION]...\n" : family);
    fputs(whole ? ".SH COMMANDS\n" : " COMMAND [OPTION]... FILE\n.SH COMMANDS\n", out);
    size_t len = family ? strlen(family) : 0;
    for (const struct command *c = commands; c->name; c++)
        if (whole ? !strchr(c->name, ' ') : !strncmp(c->name, family, len) && c->name[len] == ' ')
            put_command(out, c);
    if (whole)
        put_groups(out), put_choices(out), put_counters(out);
    put_statuses(out);
    fprintf(out, ".SH SEE ALSO\n.BR %s (1)\n", whole ? "mezz\\-igvm" : "mezz");
    return 0;
}
