/* SPDX-License-Identifier: MIT */
/* Option text: any bytes without NUL, against a table with every kind of option. */
#include <stdlib.h>
#include <string.h>

#include "base/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct target { char *text; bool flag; uint64_t number, bytes; unsigned choice; struct option_list list; };

static const char *const choices[] = {"one", "two", NULL};
static const struct option table[] = {
    {.key = "text", .kind = OPTION_STRING, .offset = offsetof(struct target, text)},
    {.key = "flag", .kind = OPTION_BOOL, .offset = offsetof(struct target, flag), .initial = "off"},
    {.key = "number", .kind = OPTION_UINT, .offset = offsetof(struct target, number), .max = 99},
    {.key = "bytes", .kind = OPTION_SIZE, .offset = offsetof(struct target, bytes)},
    {.key = "choice", .kind = OPTION_CHOICE, .offset = offsetof(struct target, choice), .choices = choices},
    {.key = "list", .kind = OPTION_LIST, .offset = offsetof(struct target, list)},
    OPTION_END,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct target target = {0};
    struct err err = ERR_NONE;
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (options_init(table, &target, &err))
        abort();
    int r = options_parse(table, &target, "--fuzz", "text", text, &err);
    if ((r != 0) != (err.text[0] != '\0') || target.number > 99 || target.choice > 1)
        abort();
    options_free(table, &target);
    free(text);
    return 0;
}
