/* SPDX-License-Identifier: MIT */
/* aml.c - the encoder behind aml.h. Everything that it writes is ours; nothing here comes from a guest. A full buffer sets `overflow` and drops the rest. Bytes and
 * opcodes: ACPI 6.5 section 20.2 and 20.3 (AML), 6.4 (resource descriptors). */
#include "firmware/aml.h"

#include <string.h>

#include "base/bits.h"

enum { /* ACPI 20.3 */
    OP_ZERO = 0x00, OP_ONE = 0x01, OP_NAME = 0x08, OP_BYTE = 0x0a, OP_WORD = 0x0b, OP_DWORD = 0x0c, OP_STRING = 0x0d, OP_QWORD = 0x0e, OP_SCOPE = 0x10,
    OP_BUFFER = 0x11, OP_PACKAGE = 0x12, OP_METHOD = 0x14, OP_EXT = 0x5b, OP_ARG0 = 0x68, OP_DEVICE_EXT = 0x82, OP_RETURN = 0xa4,
};
enum { RESOURCE_MEMORY = 0, RESOURCE_IO = 1, RESOURCE_BUS = 2 };
#define RESOURCE_FIXED_RANGE 0x0c /* minimum and maximum are fixed, positive decode (6.4.3.5.1) */
#define PKG_LENGTH_ROOM      4

static void put(struct aml *a, const void *bytes, size_t len)
{
    if (a->overflow || len > a->capacity - a->len) {
        a->overflow = true;
        return;
    }
    memcpy(a->bytes + a->len, bytes, len);
    a->len += len;
}

static void put_le(struct aml *a, uint64_t value, size_t len)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    put(a, bytes, len);
}

static void put_byte(struct aml *a, uint8_t value) { put(a, &value, 1); }

/* The length of a term includes its own encoding (20.2.4); room for the longest form is kept and taken back at the end. */
static void begin(struct aml *a)
{
    if (a->depth == AML_DEPTH_MAX) {
        a->overflow = true;
        return;
    }
    a->open[a->depth++] = a->len;
    put_le(a, 0, PKG_LENGTH_ROOM);
}

static size_t pkg_length_encode(size_t body, uint8_t out[PKG_LENGTH_ROOM])
{
    if (body + 1 < 64) {
        out[0] = (uint8_t)(body + 1);
        return 1;
    }
    size_t n = body + 2 < 1 << 12 ? 2 : body + 3 < 1 << 20 ? 3 : 4, total = body + n;
    out[0] = (uint8_t)((n - 1) << 6 | (total & 0xf));
    for (size_t i = 1; i < n; i++)
        out[i] = (uint8_t)(total >> (8 * i - 4));
    return n;
}

void aml_end(struct aml *a)
{
    if (a->overflow || !a->depth)
        return;
    size_t at = a->open[--a->depth], body = a->len - at - PKG_LENGTH_ROOM;
    uint8_t length[PKG_LENGTH_ROOM];
    size_t n = pkg_length_encode(body, length);
    memmove(a->bytes + at + n, a->bytes + at + PKG_LENGTH_ROOM, body);
    memcpy(a->bytes + at, length, n);
    a->len = at + n + body;
}

static void put_segment(struct aml *a, const char *name)
{
    if (*name == '\\')
        put_byte(a, (uint8_t)*name++);
    for (int i = 0; i < 4; i++)
        put_byte(a, *name ? (uint8_t)*name++ : '_');
}

void aml_begin_scope(struct aml *a, const char *path)
{
    put_byte(a, OP_SCOPE);
    begin(a);
    put_segment(a, path);
}

void aml_begin_device(struct aml *a, const char *name)
{
    put_byte(a, OP_EXT);
    put_byte(a, OP_DEVICE_EXT);
    begin(a);
    put_segment(a, name);
}

void aml_begin_method(struct aml *a, const char *name, unsigned arguments)
{
    put_byte(a, OP_METHOD);
    begin(a);
    put_segment(a, name);
    put_byte(a, (uint8_t)arguments);
}

void aml_begin_package(struct aml *a, unsigned elements)
{
    put_byte(a, OP_PACKAGE);
    begin(a);
    put_byte(a, (uint8_t)elements);
}

void aml_name(struct aml *a, const char *name)
{
    put_byte(a, OP_NAME);
    put_segment(a, name);
}

void aml_integer(struct aml *a, uint64_t value)
{
    if (value <= 1) {
        put_byte(a, value ? OP_ONE : OP_ZERO);
        return;
    }
    size_t len = value > UINT32_MAX ? 8 : value > UINT16_MAX ? 4 : value > UINT8_MAX ? 2 : 1;
    put_byte(a, len == 8 ? OP_QWORD : len == 4 ? OP_DWORD : len == 2 ? OP_WORD : OP_BYTE);
    put_le(a, value, len);
}

void aml_string(struct aml *a, const char *text)
{
    put_byte(a, OP_STRING);
    put(a, text, strlen(text) + 1);
}

static unsigned hex_digit(char c) { return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'A' + 10); }

/* Three letters of five bits and four hexadecimal digits, big-endian (ACPI 19.6.36). */
void aml_eisa_id(struct aml *a, const char *id)
{
    uint32_t v = (uint32_t)(id[0] - '@') << 26 | (uint32_t)(id[1] - '@') << 21 | (uint32_t)(id[2] - '@') << 16;
    for (int i = 0; i < 4; i++)
        v |= hex_digit(id[3 + i]) << (12 - 4 * i);
    put_byte(a, OP_DWORD);
    put_le(a, __builtin_bswap32(v), 4);
}

void aml_return_argument(struct aml *a, unsigned n)
{
    put_byte(a, OP_RETURN);
    put_byte(a, (uint8_t)(OP_ARG0 + n));
}

/* A buffer whose size, a word constant, is filled in at the end. */
void aml_begin_resources(struct aml *a)
{
    put_byte(a, OP_BUFFER);
    begin(a);
    put_byte(a, OP_WORD);
    put_le(a, 0, 2);
}

void aml_end_resources(struct aml *a)
{
    put_byte(a, 0x79); /* end tag, checksum 0: not checked (6.4.2.9) */
    put_byte(a, 0);
    if (a->overflow || !a->depth)
        return;
    size_t size_at = a->open[a->depth - 1] + PKG_LENGTH_ROOM + 1;
    store_le16(a->bytes + size_at, (uint16_t)(a->len - size_at - 2));
    aml_end(a);
}

void aml_resource_io(struct aml *a, uint16_t base, uint8_t len)
{
    put_byte(a, 0x47); /* 6.4.2.5, 16-bit decode */
    put_byte(a, 1);
    put_le(a, base, 2);
    put_le(a, base, 2);
    put_byte(a, 1);
    put_byte(a, len);
}

void aml_resource_irq(struct aml *a, unsigned irq)
{
    put_byte(a, 0x22); /* 6.4.2.1, without flags: edge, active high, exclusive */
    put_le(a, BIT(irq), 2);
}

void aml_resource_memory32_fixed(struct aml *a, uint32_t base, uint32_t len)
{
    put_byte(a, 0x86); /* 6.4.3.4 */
    put_le(a, 9, 2);
    put_byte(a, 1); /* writable */
    put_le(a, base, 4);
    put_le(a, len, 4);
}

/* Address space descriptor (6.4.3.5) with fields of `width` bytes: granularity, minimum, maximum, translation, length. */
static void put_range(struct aml *a, uint8_t tag, unsigned width, uint8_t type, uint8_t type_flags, uint64_t first, uint64_t last)
{
    put_byte(a, tag);
    put_le(a, 3 + 5 * width, 2);
    put_byte(a, type);
    put_byte(a, RESOURCE_FIXED_RANGE);
    put_byte(a, type_flags);
    put_le(a, 0, width);
    put_le(a, first, width);
    put_le(a, last, width);
    put_le(a, 0, width);
    put_le(a, last - first + 1, width);
}

void aml_resource_bus_range(struct aml *a, uint16_t first, uint16_t last) { put_range(a, 0x88, 2, RESOURCE_BUS, 0, first, last); }
void aml_resource_io_range(struct aml *a, uint16_t first, uint16_t last) { put_range(a, 0x88, 2, RESOURCE_IO, 3, first, last); }
void aml_resource_memory32_range(struct aml *a, uint32_t first, uint32_t last) { put_range(a, 0x87, 4, RESOURCE_MEMORY, 1, first, last); }
void aml_resource_memory64_range(struct aml *a, uint64_t first, uint64_t last) { put_range(a, 0x8a, 8, RESOURCE_MEMORY, 1, first, last); }
