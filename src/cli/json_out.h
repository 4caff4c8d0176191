/* SPDX-License-Identifier: MIT */
/* json_out.h - writes JSON as it goes: objects and arrays nest between begin and end, keys are NULL inside arrays. Numbers beyond 2^53 go out as hexadecimal strings, since
 * readers would round them. */
#ifndef CLI_JSON_OUT_H
#define CLI_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_OUT_DEPTH 8

struct json_out {
    FILE *out;
    unsigned depth;
    bool some[JSON_OUT_DEPTH];   /* the level has a member already */
    bool flat[JSON_OUT_DEPTH];   /* its members share a line       */
    char close[JSON_OUT_DEPTH];
};

void json_out_begin(struct json_out *, FILE *);
void json_out_object(struct json_out *, const char *key, bool flat);
void json_out_array(struct json_out *, const char *key, bool flat);
void json_out_end(struct json_out *);                          /* of the innermost; the last one ends the line */
void json_out_string(struct json_out *, const char *key, const char *value);
void json_out_u64(struct json_out *, const char *key, uint64_t value);
void json_out_hex(struct json_out *, const char *key, uint64_t value);   /* "0x..." */
void json_out_number(struct json_out *, const char *key, double value); /* three decimals */
void json_out_bool(struct json_out *, const char *key, bool value);
void json_out_bytes(struct json_out *, const char *key, const uint8_t *bytes, size_t len); /* hexadecimal digits */

#endif
