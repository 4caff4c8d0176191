/* SPDX-License-Identifier: MIT */
/* command.h - the subcommands of mezz as one table, from which the command line, --help, `mezz help`, the manual pages and shell completion all come. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stdio.h>

#include "base/options.h"

struct command {
    const char *name;            /* "run", "igvm dump": a family's commands have two words           */
    const char *words;           /* what stands beside the options: "FILE", "A B"; NULL: nothing     */
    unsigned words_min, words_max;
    const struct option *table;  /* NULL: no options                                                  */
    const char *summary;         /* half a line                                                      */
    const char *notes;           /* lines after the options, NULL: none                              */
    const char *example;         /* one command line, NULL: none                                     */
    int (*run)(const struct command *, int argc, char **argv); /* arguments after the name; returns the exit status */
};

extern const struct command commands[]; /* ends with a NULL name */

/* The command that argv begins with, and in *used how many words its name has; NULL: none. */
const struct command *command_find(int argc, char **argv, int *used);
/* The first command of a family of two-word names, NULL: there is no such family. */
const struct command *command_family(const char *name);

/* Parses options into `object` by the command's table, and other words into `words` (NULL: none are allowed); *words must be zero or hold earlier ones. A list option takes
 * every following word that is no option, unless the command takes words. `set` overrides how an option is set (NULL: options_set()). ERR_USAGE names the option. */
struct arguments {
    const struct command *command;
    void *object;
    struct option_list *words;
    int (*set)(void *object, const char *key, const char *value, struct err *);
};
int arguments_parse(const struct arguments *, int argc, char **argv, struct err *);
void words_free(struct option_list *);
/* True when the arguments ask for help: "--help" or "-h" alone. */
int arguments_want_help(int argc, char **argv);

/* Help of one command, and the list of a family's commands. */
void command_print_help(const struct command *, FILE *);
void command_print_family(const char *family, FILE *);

/* Exit statuses with their meaning, for help and manual; ends with a NULL meaning. */
struct exit_status { const char *status, *meaning; };
extern const struct exit_status exit_statuses[];

#endif
