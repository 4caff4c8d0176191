/* SPDX-License-Identifier: MIT */
/* Manual pages, in the man(7) macros. */
#include <string.h>

#include "cli/completion.h"
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

static void put_streams(FILE *out)
{
    for (const struct config_stream *s = config_streams; s->name; s++) {
        fputs(".SS Values of \\-\\-", out);
        put(out, s->name);
        fputc('\n', out);
        put(out, s->summary);
        fputs("\n.PP\n.RS\n.nf\n", out);
        put(out, s->example);
        fputs("\n.fi\n.RE\n", out);
        for (const struct config_value *v = config_stream_values; v->value; v++) {
            fputs(".TP\n.B ", out);
            put(out, v->value);
            fputc('\n', out);
            put(out, v->meaning);
            fputc('\n', out);
        }
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
        put_groups(out), put_streams(out);
    put_statuses(out);
    fprintf(out, ".SH SEE ALSO\n.BR %s (1)\n", whole ? "mezz\\-igvm" : "mezz");
    return 0;
}
