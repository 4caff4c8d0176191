/* SPDX-License-Identifier: MIT */
/* options.c - setting options from text. The text is the user's or a configuration file's: words are bounded, numbers are checked for overflow and range, every refusal
 * names the option. The object belongs to the caller; strings and lists in it are owned by it. No locking. */
#include "base/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/checked.h"

#define KEY_MAX          64
#define NEAREST_DISTANCE 3 /* edits; beyond it a suggestion misleads more than it helps */

static void *member(const struct option *o, void *object) { return (char *)object + o->offset; }

static const struct option *option_find(const struct option *table, const char *key)
{
    for (const struct option *o = table; o->key; o++)
        if (!strcmp(o->key, key))
            return o;
    return NULL;
}

/* Levenshtein distance, one row at a time. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[KEY_MAX + 1], b_len = strlen(b);
    if (strlen(a) > KEY_MAX || b_len > KEY_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < b_len; j++) {
            size_t change = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            size_t least = row[j] < diagonal ? row[j] + 1 : diagonal + 1;
            row[j + 1] = change < least ? change : least;
        }
    }
    return row[b_len];
}

const char *options_nearest(const struct option *table, const char *key)
{
    const char *nearest = NULL;
    size_t least = NEAREST_DISTANCE + 1;
    for (const struct option *o = table; o->key; o++) {
        size_t distance = edit_distance(key, o->key);
        if (distance < least && 2 * distance <= strlen(o->key)) { /* half of the word is right */
            least = distance;
            nearest = o->key;
        }
    }
    return nearest;
}

/* What messages call an option: "--disk readonly=x", or "--cpus x" for a row of the command line itself (group NULL). */
struct label { char text[160]; };
static struct label option_label(const struct option *o, const char *group, const char *value)
{
    struct label label;
    if (group)
        snprintf(label.text, sizeof label.text, "%s %s=%.80s", group, o->key, value);
    else
        snprintf(label.text, sizeof label.text, "--%s %.80s", o->key, value);
    return label;
}

static int set_bool(const struct option *o, void *object, const char *group, const char *value, struct err *err)
{
    static const char *const names[] = {"off", "on", "false", "true", "no", "yes", "0", "1"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcasecmp(value, names[i])) {
            *(bool *)member(o, object) = i & 1;
            return 0;
        }
    return err_set(err, ERR_USAGE, "%s: want on or off", option_label(o, group, value).text);
}

/* Number with an optional binary suffix when `sizes`. */
static bool parse_number(const char *text, bool sizes, uint64_t *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    uint64_t v = strtoull(text, &end, strncasecmp(text, "0x", 2) ? 10 : 16);
    if (errno || end == text)
        return false;
    if (sizes && *end) {
        static const char units[] = "KMGT";
        const char *unit = memchr(units, *end & ~0x20, 4);
        if (!unit || ckd_mul(&v, v, UINT64_C(1024) << 10 * (unit - units)))
            return false;
        end++;
        if (!strcasecmp(end, "b") || !strcasecmp(end, "ib"))
            end += strlen(end);
    }
    *out = v;
    return !*end;
}

static int set_number(const struct option *o, void *object, const char *group, const char *value, struct err *err)
{
    uint64_t v;
    bool sizes = o->kind == OPTION_SIZE;
    if (!parse_number(value, sizes, &v))
        return err_set(err, ERR_USAGE, "%s: want %s", option_label(o, group, value).text, sizes ? "a size such as 512M or 2G" : "a number");
    if (v < o->min || (o->max && v > o->max)) {
        if (sizes && v < o->min && v << 20 >= o->min && (!o->max || v << 20 <= o->max) && value[strspn(value, "0123456789")] == '\0')
            return err_set(err, ERR_USAGE, "%s: %s bytes; did you mean %sM?", option_label(o, group, value).text, value, value);
        if (sizes)
            return err_set(err, ERR_USAGE, "%s: want %lluM to %lluM", option_label(o, group, value).text, (unsigned long long)o->min >> 20,
                           (unsigned long long)o->max >> 20);
        return err_set(err, ERR_USAGE, "%s: want %llu to %llu", option_label(o, group, value).text, (unsigned long long)o->min,
                       (unsigned long long)(o->max ? o->max : UINT64_MAX));
    }
    *(uint64_t *)member(o, object) = v;
    return 0;
}

static int set_choice(const struct option *o, void *object, const char *group, const char *value, struct err *err)
{
    char all[160] = "";
    for (unsigned i = 0; o->choices[i]; i++) {
        if (!strcmp(value, o->choices[i])) {
            *(unsigned *)member(o, object) = i;
            return 0;
        }
        size_t used = strlen(all);
        snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "", o->choices[i]);
    }
    return err_set(err, ERR_USAGE, "%s: want one of %s", option_label(o, group, value).text, all);
}

static int set_string(char **slot, const char *value, struct err *err)
{
    char *copy = strdup(value);
    if (!copy)
        return err_set(err, ERR_HOST, "out of memory");
    free(*slot);
    *slot = copy;
    return 0;
}

static int list_append_string(struct option_list *list, const char *value, struct err *err)
{
    char **items = realloc(list->items, (list->count + 1) * sizeof *items);
    if (!items)
        return err_set(err, ERR_HOST, "out of memory");
    list->items = items;
    items[list->count] = NULL;
    int r = set_string(&items[list->count], value, err);
    if (!r)
        list->count++;
    return r;
}

static int option_assign(const struct option *o, void *object, const char *group, const char *value, struct err *err)
{
    switch (o->kind) {
    case OPTION_STRING: return set_string(member(o, object), value, err);
    case OPTION_BOOL:   return set_bool(o, object, group, value, err);
    case OPTION_UINT:
    case OPTION_SIZE:   return set_number(o, object, group, value, err);
    case OPTION_CHOICE: return set_choice(o, object, group, value, err);
    case OPTION_LIST:   return list_append_string(member(o, object), value, err);
    }
    return err_set(err, ERR_INTERNAL, "%s %s: unknown kind of option", group, o->key);
}

int options_init(const struct option *table, void *object, struct err *err)
{
    for (const struct option *o = table; o->key; o++) {
        int r = o->initial ? option_assign(o, object, "default", o->initial, err) : 0;
        if (r)
            return r;
    }
    return 0;
}

void options_free(const struct option *table, void *object)
{
    for (const struct option *o = table; o->key; o++) {
        if (o->kind == OPTION_STRING) {
            free(*(char **)member(o, object));
            *(char **)member(o, object) = NULL;
        }
        if (o->kind == OPTION_LIST) {
            struct option_list *list = member(o, object);
            for (size_t i = 0; i < list->count; i++)
                free(list->items[i]);
            free(list->items);
            *list = (struct option_list){0};
        }
    }
}

int options_set(const struct option *table, void *object, const char *group, const char *key, const char *value, struct err *err)
{
    const struct option *o = option_find(table, key);
    if (o)
        return option_assign(o, object, group, value, err);
    const char *nearest = options_nearest(table, key);
    if (!group)
        return err_set(err, ERR_USAGE, "unknown option '%.60s'%s%s%s", key, nearest ? "; did you mean '" : " (mezz help run lists them)", nearest ? nearest : "",
                       nearest ? "'?" : "");
    if (nearest)
        return err_set(err, ERR_USAGE, "%s: unknown key '%s'; did you mean '%s'?", group, key, nearest);
    return err_set(err, ERR_USAGE, "%s: unknown key '%s' (mezz help %s lists the keys)", group, key, group + strspn(group, "-"));
}

/* Copies the next word up to a single comma into `out`, halving doubled commas. Returns where to go on, or NULL when the word is too long. */
static const char *next_word(const char *text, char *out, size_t capacity)
{
    size_t n = 0;
    for (; *text; text++) {
        if (*text == ',' && *++text != ',')
            break;
        if (n + 1 >= capacity)
            return NULL;
        out[n++] = *text;
    }
    out[n] = '\0';
    return text;
}

static int parse_word(const struct option *table, void *object, const char *group, const char *bare, char *word, struct err *err)
{
    char *equals = strchr(word, '=');
    if (!equals && bare)
        return options_set(table, object, group, bare, word, err);
    if (!equals) {
        const struct option *o = option_find(table, word);
        if (o && o->kind == OPTION_BOOL)
            return option_assign(o, object, group, "on", err);
        if (table->required)
            return err_set(err, ERR_USAGE, "%s: '%s' is not key=value; did you mean %s=%s?", group, word, table->key, word);
        return err_set(err, ERR_USAGE, "%s: '%s' is not key=value (mezz help %s lists the keys)", group, word, group + strspn(group, "-"));
    }
    *equals = '\0';
    return options_set(table, object, group, word, equals + 1, err);
}

static bool is_set(const struct option *o, void *object)
{
    if (o->kind == OPTION_STRING)
        return *(char **)member(o, object);
    if (o->kind == OPTION_LIST)
        return ((struct option_list *)member(o, object))->count;
    return true;
}

int options_parse(const struct option *table, void *object, const char *group, const char *bare, const char *text, struct err *err)
{
    char word[4096];
    for (const char *at = text; *at; bare = NULL) {
        at = next_word(at, word, sizeof word);
        if (!at)
            return err_set(err, ERR_USAGE, "%s: a value is longer than %zu bytes", group, sizeof word - 1);
        int r = parse_word(table, object, group, bare, word, err);
        if (r)
            return r;
    }
    for (const struct option *o = table; o->key; o++)
        if (o->required && !is_set(o, object))
            return err_set(err, ERR_USAGE, "%s: %s=%s is missing", group, o->key, o->value_name ? o->value_name : "VALUE");
    return 0;
}
