/* SPDX-License-Identifier: MIT */
/* json.c - the schema as JSON, read and written, by jansson. Every member goes the way of its command-line option, so that both have one parser and one set of checks.
 * The text is hostile: its size is bounded here, its depth by jansson, its values by base/options.c. */
#include "control/json.h"

#include <stdlib.h>
#include <string.h>

#include "control/config.h"

#define FILE_MAX_BYTES (1 << 20)
#define VALUE_MAX      JSON_VALUE_MAX

/* Appends `text` to `out`, doubling commas, so that options_parse() gives it back. */
static int append_value(char *out, size_t capacity, const char *text)
{
    size_t at = strlen(out);
    for (; *text; text++) {
        if (at + 3 > capacity)
            return -1;
        if (*text == ',')
            out[at++] = ',';
        out[at++] = *text;
    }
    out[at] = '\0';
    return 0;
}

int json_scalar_text(const json_t *value, char *out, size_t capacity)
{
    if (json_is_string(value))
        return strlen(json_string_value(value)) < capacity ? (void)strcpy(out, json_string_value(value)), 0 : -1;
    if (json_is_integer(value))
        return snprintf(out, capacity, "%lld", (long long)json_integer_value(value)) < (int)capacity ? 0 : -1;
    if (json_is_boolean(value))
        return (void)strcpy(out, json_is_true(value) ? "on" : "off"), 0;
    return -1;
}

static int append_pair(char *out, const char *key, const json_t *value)
{
    char text[VALUE_MAX];
    if (json_scalar_text(value, text, sizeof text))
        return -1;
    if (*out && strlen(out) + 2 < VALUE_MAX)
        strcat(out, ",");
    return append_value(out, VALUE_MAX, key) || strlen(out) + 2 >= VALUE_MAX || append_value(strcat(out, "="), VALUE_MAX, text) ? -1 : 0;
}

/* {"path": "x", "readonly": true} as path=x,readonly=on; an array inside repeats its key. */
static int object_text(json_t *object, char *out)
{
    const char *key;
    json_t *value;
    *out = '\0';
    json_object_foreach(object, key, value) {
        if (!json_is_array(value)) {
            if (append_pair(out, key, value))
                return -1;
            continue;
        }
        for (size_t i = 0; i < json_array_size(value); i++)
            if (append_pair(out, key, json_array_get(value, i)))
                return -1;
    }
    return 0;
}

static int read_member(struct config *c, const char *name, const char *key, json_t *value, struct err *err)
{
    char text[VALUE_MAX];
    if (json_is_object(value) ? !config_group_find(key) || object_text(value, text) : json_scalar_text(value, text, sizeof text))
        return err_set(err, ERR_INPUT, "--config %s: member '%s' is not a value that this option takes", name, key);
    if (!strcmp(key, "config"))
        return err_set(err, ERR_INPUT, "--config %s: a configuration file cannot name another", name);
    int r = options_set(config_table, c, NULL, key, text, err);
    if (r) {
        err_add(err, "--config %s", name);
        err->code = ERR_INPUT;
        r = ERR_INPUT;
    }
    return r;
}

static int read_object(struct config *c, const char *name, json_t *root, struct err *err)
{
    int r = 0;
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value) {
        if (r)
            break;
        if (!json_is_array(value))
            r = read_member(c, name, key, value, err);
        for (size_t i = 0; !r && json_is_array(value) && i < json_array_size(value); i++)
            r = read_member(c, name, key, json_array_get(value, i), err);
    }
    return r;
}

/* What the file says must be right by itself, so that a fault in it is told as the file's. */
static int check_object(const char *name, json_t *root, struct err *err)
{
    struct config alone;
    int r = config_init(&alone, err);
    if (!r)
        r = read_object(&alone, name, root, err);
    if (!r && config_resolve(&alone, err)) {
        err_add(err, "--config %s", name);
        r = err->code = ERR_INPUT;
    }
    config_free(&alone);
    return r;
}

int config_read_json_text(struct config *c, const char *name, const char *text, size_t len, struct err *err)
{
    json_error_t where;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return err_set(err, ERR_INPUT, "--config %s: line %d: %s", name, where.line, where.text);
    int r = json_is_object(root) ? 0 : err_set(err, ERR_INPUT, "--config %s: want one JSON object", name);
    if (!r)
        r = check_object(name, root, err);
    if (!r)
        r = read_object(c, name, root, err);
    json_decref(root);
    return r;
}

int json_read_file(const char *path, const char *option, size_t max, char **out, size_t *len, struct err *err)
{
    FILE *f = fopen(path, "rb");
    char *text = malloc(max + 1);
    if (!f || !text) {
        int r = err_set(err, ERR_INPUT, "%s %s: cannot open it: %m", option, path);
        if (f)
            fclose(f);
        free(text);
        return r;
    }
    *len = fread(text, 1, max + 1, f);
    int r = ferror(f)    ? err_set(err, ERR_INPUT, "%s %s: cannot read it: %m", option, path)
            : *len > max ? err_set(err, ERR_INPUT, "%s %s: larger than %zu MiB", option, path, max >> 20)
                         : 0;
    fclose(f);
    if (r)
        free(text);
    else
        *out = text;
    return r;
}

int config_read_json(struct config *c, const char *path, struct err *err)
{
    char *text;
    size_t len;
    int r = json_read_file(path, "--config", FILE_MAX_BYTES, &text, &len, err);
    if (!r) {
        r = config_read_json_text(c, path, text, len, err);
        free(text);
    }
    return r;
}

static json_t *option_json(const struct option *o, const void *object)
{
    const void *at = (const char *)object + o->offset;
    if (o->kind == OPTION_STRING)
        return *(char *const *)at ? json_string(*(char *const *)at) : NULL;
    if (o->kind == OPTION_BOOL)
        return json_boolean(*(const bool *)at);
    if (o->kind == OPTION_CHOICE)
        return json_string(o->choices[*(const unsigned *)at]);
    if (o->kind != OPTION_LIST) /* a number below its least value is unset */
        return *(const uint64_t *)at < o->min ? NULL : json_integer((json_int_t)*(const uint64_t *)at);
    const struct option_list *list = at;
    json_t *array = list->count ? json_array() : NULL;
    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(array, json_string(list->items[i]));
    return array;
}

int config_write_json(const struct config *c, FILE *out)
{
    json_t *root = json_object();
    for (const struct option *o = config_table; o->key; o++) {
        json_t *value = strcmp(o->key, "config") && strcmp(o->key, "dry-run") ? option_json(o, c) : NULL;
        if (value)
            json_object_set_new(root, o->key, value);
    }
    int r = json_dumpf(root, out, JSON_INDENT(2));
    json_decref(root);
    fputc('\n', out);
    return r;
}
