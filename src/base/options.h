/* SPDX-License-Identifier: MIT */
/* options.h - one row for each thing a user can set; command line, JSON, --help, `mezz help disk`, man page and completion are all derived from it.
 *
 * An option group ("--disk") is a table over a plain structure; its text form is "key=value,key=value". Unknown key: an error that names the nearest one.
 */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum option_kind {
    OPTION_STRING, /* char *, owned by the structure                                  */
    OPTION_BOOL,   /* bool: on, off, true, false, yes, no                              */
    OPTION_UINT,   /* uint64_t: decimal or 0x hexadecimal                              */
    OPTION_SIZE,   /* uint64_t bytes: 512M, 2G, 1T, 4096, 0x1000                       */
    OPTION_CHOICE, /* unsigned: index into choices                                     */
    OPTION_LIST,   /* struct option_list: repeated key, each a string                  */
};

struct option_list { char **items; size_t count; };

struct option {
    const char *key;             /* NULL ends the table                                */
    enum option_kind kind;
    uint32_t offset;             /* in the structure                                   */
    const char *initial;         /* text of the default; NULL: unset (0, NULL)         */
    uint64_t min, max;           /* OPTION_UINT, OPTION_SIZE; max 0 = no limit         */
    const char *const *choices;  /* OPTION_CHOICE: NULL-terminated                     */
    bool required;
    const char *value_name;      /* for help: F, N, SIZE                               */
    const char *meaning;         /* one line for help                                  */
};
#define OPTION_END { .key = NULL }

/* Sets every option of the table to its default. */
int  options_init(const struct option *table, void *object, struct err *);
/* Frees strings and lists. */
void options_free(const struct option *table, void *object);
/* Sets one option from text. `group` is what the message calls it: "--disk"; NULL for rows of the command line itself. */
int  options_set(const struct option *table, void *object, const char *group, const char *key, const char *value, struct err *);
/* Parses "key=value,key=value" into an object that options_init() has set up; a first word without '=' is the value of `bare` where that is not NULL (as "user" in --net user);
 * a doubled comma stands for one inside a value. Checks `required`. */
int  options_parse(const struct option *table, void *object, const char *group, const char *bare, const char *text, struct err *);
/* The nearest key to `key` by edit distance, or NULL when none is near. */
const char *options_nearest(const struct option *table, const char *key);

#endif
