/* SPDX-License-Identifier: MIT */
/* json.h - what the two JSON schemas of control/ share. */
#ifndef CONTROL_JSON_H
#define CONTROL_JSON_H

#include <jansson.h>

#include "base/error.h"

#define JSON_VALUE_MAX 8192

/* A string, integer or boolean as an option's text. 0, or -1 when it is none of these or too long. */
int json_scalar_text(const json_t *value, char *out, size_t capacity);

/* A whole file of at most `max` bytes, to be freed by the caller. `option` names it in messages. */
int json_read_file(const char *path, const char *option, size_t max, char **text, size_t *len, struct err *err);

#endif
