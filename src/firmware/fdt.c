/* SPDX-License-Identifier: MIT */
#include "firmware/fdt.h"

#include <string.h>

#include "base/bits.h"

enum { FDT_BEGIN_NODE = 1, FDT_END_NODE = 2, FDT_PROP = 3, FDT_END = 9, HEADER_SIZE = 40, RESERVE_SIZE = 16 /* its end alone */, VERSION = 17, COMPATIBLE = 16 };
#define FDT_MAGIC 0xd00dfeed

static uint8_t *reserve(struct fdt *f, size_t len)
{
    size_t padded = align_up(len, 4);
    if (f->overflow || padded > f->capacity - f->len) {
        f->overflow = true;
        return NULL;
    }
    uint8_t *at = f->bytes + f->len;
    memset(at, 0, padded);
    f->len += padded;
    return at;
}

static void token(struct fdt *f, uint32_t value)
{
    uint8_t *at = reserve(f, 4);
    if (at)
        store_be32(at, value);
}

void fdt_begin(struct fdt *f, uint8_t *bytes, size_t capacity)
{
    *f = (struct fdt){.bytes = bytes, .capacity = capacity};
    reserve(f, HEADER_SIZE + RESERVE_SIZE);
}

void fdt_begin_node(struct fdt *f, const char *name)
{
    size_t len = strlen(name) + 1;
    token(f, FDT_BEGIN_NODE);
    uint8_t *at = reserve(f, len);
    if (at)
        memcpy(at, name, len);
}

void fdt_end_node(struct fdt *f) { token(f, FDT_END_NODE); }

static uint32_t string_offset(struct fdt *f, const char *name)
{
    size_t len = strlen(name) + 1;
    for (size_t at = 0; at < f->strings_len; at += strlen(f->strings + at) + 1)
        if (!strcmp(f->strings + at, name))
            return (uint32_t)at;
    if (len > sizeof f->strings - f->strings_len) {
        f->overflow = true;
        return 0;
    }
    memcpy(f->strings + f->strings_len, name, len);
    f->strings_len += len;
    return (uint32_t)(f->strings_len - len);
}

static uint8_t *property(struct fdt *f, const char *name, size_t len)
{
    token(f, FDT_PROP);
    token(f, (uint32_t)len);
    token(f, string_offset(f, name));
    return reserve(f, len);
}

void fdt_u32(struct fdt *f, const char *name, uint32_t value)
{
    uint8_t *at = property(f, name, 4);
    if (at)
        store_be32(at, value);
}

void fdt_u64s(struct fdt *f, const char *name, const uint64_t *values, size_t count)
{
    uint8_t *at = property(f, name, 8 * count);
    for (size_t i = 0; at && i < count; i++)
        store_be64(at + 8 * i, values[i]);
}

void fdt_string(struct fdt *f, const char *name, const char *value)
{
    size_t len = strlen(value) + 1;
    uint8_t *at = property(f, name, len);
    if (at)
        memcpy(at, value, len);
}

size_t fdt_finish(struct fdt *f, uint32_t boot_cpu)
{
    token(f, FDT_END);
    size_t structure = HEADER_SIZE + RESERVE_SIZE, structure_len = f->len - structure, strings = f->len;
    uint8_t *at = reserve(f, f->strings_len);
    if (!at)
        return 0;
    memcpy(at, f->strings, f->strings_len);
    const uint32_t header[] = {FDT_MAGIC, (uint32_t)f->len, (uint32_t)structure, (uint32_t)strings, HEADER_SIZE, VERSION, COMPATIBLE, boot_cpu, (uint32_t)f->strings_len,
                               (uint32_t)structure_len};
    for (size_t i = 0; i < ARRAY_LEN(header); i++)
        store_be32(f->bytes + 4 * i, header[i]);
    return f->len;
}
