/* SPDX-License-Identifier: MIT */
/* fields.h - one table of fields for each device and for the CPU: save, load, inspect and the reset check are all derived from it.
 *
 *     static const struct field uart_fields[] = {
 *         FIELD_U8(struct uart, ier, "interrupt enable register"),
 *         FIELD_BYTES(struct uart, fifo, "receive FIFO"),
 *         FIELD_END };
 *
 * Saved form: a sequence of records {u16 name length, name, u32 data length, data}, all little-endian, in table order. Loading takes records in
 * any order, keeps the present value of a field whose record is missing, and refuses an unknown name, a wrong length, a duplicate or a
 * truncated stream; a saved state is hostile input. What the table cannot check (a value's range) the owner checks after the load, before use.
 * Limits: FIELD_NAME_MAX, FIELD_TABLE_MAX. Nothing here allocates or locks.
 */
#ifndef BASE_FIELDS_H
#define BASE_FIELDS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define FIELD_NAME_MAX  63
#define FIELD_TABLE_MAX 512

enum field_kind { FIELD_KIND_UINT, FIELD_KIND_BYTES };

struct field {
    const char *name;      /* C member name; NULL ends the table             */
    const char *meaning;   /* half a line for inspect and the documentation  */
    uint32_t offset, size; /* in the structure, bytes                        */
    enum field_kind kind;  /* how inspect shows it                           */
};

#define FIELD_(type, member, kind_, meaning_) \
    { #member, (meaning_), offsetof(type, member), sizeof(((type *)0)->member), (kind_) }
#define FIELD(type, member, meaning)       FIELD_(type, member, FIELD_KIND_UINT, meaning)  /* an unsigned integer or bool of 1, 2, 4, 8 bytes */
#define FIELD_BYTES(type, member, meaning) FIELD_(type, member, FIELD_KIND_BYTES, meaning) /* an array or plain structure without pointers  */
#define FIELD_END                          { NULL, NULL, 0, 0, FIELD_KIND_UINT }

/* Writes the records of `object` to `buffer` when they fit in `capacity` (buffer may be NULL with capacity 0) and returns the bytes that they
 * need; the result is the same for the same values, byte for byte. */
size_t fields_save(const struct field *table, const void *object, void *buffer, size_t capacity);

/* Loads `len` bytes of records into `object`. On failure returns ERR_INPUT, says which field, and leaves `object` as it was. */
int fields_load(const struct field *table, void *object, const void *data, size_t len, struct err *err);

/* Calls `visit` for each field in table order with its value as text (hexadecimal). */
void fields_inspect(const struct field *table, const void *object,
                    void (*visit)(void *opaque, const struct field *field, const char *value), void *opaque);

#endif
