/* SPDX-License-Identifier: MIT */
/* completion.c - a completion script for bash, generated from the table of commands.
 *
 * What it offers for a value: the choices, the keys of a group that does not begin with a file, files where the name of the value has an F, else nothing. Only
 * names from our own tables get into the script, so nothing needs quoting.
 */
#include "cli/completion.h"

#include <ctype.h>
#include <string.h>

#include "cli/cli.h"
#include "control/config.h"

/* What bash runs. The three functions that it calls are generated: the options of a command, the values of an option, a command's second words. */
static const char bash_head[] =
    "# Completion of mezz for bash, from `mezz completion bash`.\n"
    "_mezz()\n"
    "{\n"
    "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} values= kind=\n"
    "    COMPREPLY=()\n"
    "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
    "        COMPREPLY=($(compgen -W \"$(_mezz_commands '') --version\" -- \"$current\"))\n"
    "        return\n"
    "    fi\n"
    "    if [ -n \"$(_mezz_commands \"$command\")\" ]; then\n"
    "        if [ \"$COMP_CWORD\" = 2 ]; then\n"
    "            COMPREPLY=($(compgen -W \"$(_mezz_commands \"$command\")\" -- \"$current\"))\n"
    "            return\n"
    "        fi\n"
    "        command=\"$command ${COMP_WORDS[2]}\"\n"
    "    fi\n"
    "    _mezz_values \"$command $previous\"\n"
    "    if [ -n \"$values\" ]; then\n"
    "        COMPREPLY=($(compgen -W \"$values\" -- \"$current\"))\n"
    "        case ${COMPREPLY[0]} in *=) compopt -o nospace ;; esac\n"
    "    elif [ \"$kind\" = none ]; then\n"
    "        return\n"
    "    elif [ -z \"$kind\" ] && [ \"${current#-}\" != \"$current\" ]; then\n"
    "        COMPREPLY=($(compgen -W \"$(_mezz_options \"$command\") --help\" -- \"$current\"))\n"
    "    else\n"
    "        compopt -o filenames 2>/dev/null\n"
    "        COMPREPLY=($(compgen -f -- \"$current\"))\n"
    "    fi\n"
    "}\n";

/* First words for family NULL, else the second words of that family. */
static void write_names(FILE *out, const char *family)
{
    size_t len = family ? strlen(family) : 0;
    for (const struct command *c = commands; c->name; c++) {
        const char *space = strchr(c->name, ' ');
        if (family && !strncmp(c->name, family, len) && c->name[len] == ' ')
            fprintf(out, " %s", c->name + len + 1);
        else if (!family && !space)
            fprintf(out, " %s", c->name);
    }
}

static void write_commands(FILE *out)
{
    fputs("_mezz_commands()\n{\n    case $1 in\n", out);
    fputs("    '') echo", out);
    write_names(out, NULL);
    const char *family = "";
    size_t len = 0;
    for (const struct command *c = commands; c->name; c++) {
        const char *space = strchr(c->name, ' ');
        if (space && ((size_t)(space - c->name) != len || strncmp(c->name, family, len))) {
            family = c->name;
            len = (size_t)(space - c->name);
            fprintf(out, " %.*s", (int)len, family);
        }
    }
    fputs(" ;;\n", out);
    family = "", len = 0;
    for (const struct command *c = commands; c->name; c++) {
        const char *space = strchr(c->name, ' ');
        if (!space || ((size_t)(space - c->name) == len && !strncmp(c->name, family, len)))
            continue;
        char name[32];
        family = c->name;
        len = (size_t)(space - c->name);
        snprintf(name, sizeof name, "%.*s", (int)len, family);
        fprintf(out, "    %s) echo", name);
        write_names(out, name);
        fputs(" ;;\n", out);
    }
    fputs("    esac\n}\n", out);
}

static void write_options(FILE *out)
{
    fputs("_mezz_options()\n{\n    case $1 in\n", out);
    for (const struct command *c = commands; c->name; c++) {
        if (!c->table)
            continue;
        fprintf(out, "    '%s') echo", c->name);
        for (const struct option *o = c->table; o->key; o++)
            fprintf(out, " --%s", o->key);
        fputs(" ;;\n", out);
    }
    fputs("    esac\n}\n", out);
}

/* "a|b|c" of plain words can be offered as they are. */
static bool is_alternatives(const char *text)
{
    if (!strchr(text, '|'))
        return false;
    for (; *text; text++)
        if (!islower((unsigned char)*text) && !isdigit((unsigned char)*text) && *text != '|' && *text != '-')
            return false;
    return true;
}

static void write_option_values(FILE *out, const struct option *o)
{
    const struct config_group *group = config_group_find(o->key);
    if (o->kind == OPTION_CHOICE) {
        fputs("values='", out);
        for (unsigned i = 0; o->choices[i]; i++)
            fprintf(out, "%s%s", i ? " " : "", o->choices[i]);
        fputs("'", out);
    } else if (o->value_name && is_alternatives(o->value_name)) {
        fputs("values='", out);
        for (const char *t = o->value_name; *t; t++)
            fputc(*t == '|' ? ' ' : *t, out);
        fputs("'", out);
    } else if (group && *o->value_name != 'F') {
        fputs("values='", out);
        for (const struct option *key = group->table; key->key; key++)
            fprintf(out, "%s%s=", key == group->table ? "" : " ", key->key);
        fputs("'", out);
    } else /* F stands for a file in every value's name */
        fputs(o->value_name && strchr(o->value_name, 'F') ? "kind=file" : "kind=none", out);
}

static void write_values(FILE *out)
{
    fputs("_mezz_values()\n{\n    case $1 in\n", out);
    for (const struct command *c = commands; c->name; c++) {
        if (c->words && islower((unsigned char)*c->words)) /* a fixed word, not the name of what stands there */
            fprintf(out, "    '%s '*) values='%s' ;;\n", c->name, c->words);
        for (const struct option *o = c->table; o && o->key; o++) {
            if (o->kind == OPTION_BOOL)
                continue;
            fprintf(out, "    '%s --%s') ", c->name, o->key);
            write_option_values(out, o);
            fputs(" ;;\n", out);
        }
    }
    fputs("    esac\n}\n", out);
}

void completion_write_bash(FILE *out)
{
    fputs(bash_head, out);
    write_commands(out);
    write_options(out);
    write_values(out);
    fputs("complete -F _mezz mezz\n", out);
}

int command_completion(const struct command *self, int argc, char **argv)
{
    if (argc != 1 || strcmp(argv[0], "bash")) {
        fprintf(stderr, "mezz: %s: want the name of a shell: mezz completion bash\n", self->name);
        return -ERR_USAGE;
    }
    completion_write_bash(stdout);
    return 0;
}
