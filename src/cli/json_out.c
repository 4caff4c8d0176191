/* SPDX-License-Identifier: MIT */
#include "cli/json_out.h"

#define EXACT_MAX (UINT64_C(1) << 53)

static void put_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if (*c < ' ' || *c >= 0x7f)
            fprintf(out, "\\u%04x", *c);
        else
            fputc(*c, out);
    }
    fputc('"', out);
}

static void begin_member(struct json_out *j, const char *key)
{
    if (j->depth) {
        unsigned level = j->depth - 1;
        if (j->some[level])
            fputc(',', j->out);
        if (j->flat[level])
            fputs(j->some[level] ? " " : "", j->out);
        else
            fprintf(j->out, "\n%*s", 2 * (int)j->depth, "");
        j->some[level] = true;
    }
    if (key) {
        put_text(j->out, key);
        fputs(": ", j->out);
    }
}

static void begin_level(struct json_out *j, const char *key, char open, char close, bool flat)
{
    begin_member(j, key);
    fputc(open, j->out);
    if (j->depth < JSON_OUT_DEPTH) {
        j->some[j->depth] = false;
        j->flat[j->depth] = flat || (j->depth && j->flat[j->depth - 1]);
        j->close[j->depth++] = close;
    }
}

void json_out_begin(struct json_out *j, FILE *out) { *j = (struct json_out){.out = out}; }
void json_out_object(struct json_out *j, const char *key, bool flat) { begin_level(j, key, '{', '}', flat); }
void json_out_array(struct json_out *j, const char *key, bool flat) { begin_level(j, key, '[', ']', flat); }

void json_out_end(struct json_out *j)
{
    unsigned level = --j->depth;
    if (j->some[level] && !j->flat[level])
        fprintf(j->out, "\n%*s", 2 * (int)level, "");
    fputc(j->close[level], j->out);
    if (!level)
        fputc('\n', j->out);
}

void json_out_string(struct json_out *j, const char *key, const char *value)
{
    begin_member(j, key);
    put_text(j->out, value);
}

void json_out_u64(struct json_out *j, const char *key, uint64_t value)
{
    begin_member(j, key);
    fprintf(j->out, value > EXACT_MAX ? "\"0x%llx\"" : "%llu", (unsigned long long)value);
}

void json_out_hex(struct json_out *j, const char *key, uint64_t value)
{
    begin_member(j, key);
    fprintf(j->out, "\"0x%llx\"", (unsigned long long)value);
}

void json_out_number(struct json_out *j, const char *key, double value)
{
    begin_member(j, key);
    fprintf(j->out, "%.3f", value);
}

void json_out_bool(struct json_out *j, const char *key, bool value)
{
    begin_member(j, key);
    fputs(value ? "true" : "false", j->out);
}

void json_out_bytes(struct json_out *j, const char *key, const uint8_t *bytes, size_t len)
{
    begin_member(j, key);
    fputc('"', j->out);
    for (size_t i = 0; i < len; i++)
        fprintf(j->out, "%02x", bytes[i]);
    fputc('"', j->out);
}
