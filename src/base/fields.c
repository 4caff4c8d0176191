/* SPDX-License-Identifier: MIT */
#include "base/fields.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"

#define INSPECT_BYTES_SHOWN 32

static size_t table_len(const struct field *table)
{
    size_t n = 0;
    while (table[n].name && n < FIELD_TABLE_MAX)
        n++;
    return n;
}

size_t fields_save(const struct field *table, const void *object, void *buffer, size_t capacity)
{
    size_t need = 0;
    for (const struct field *f = table; f->name; f++)
        need += 2 + strlen(f->name) + 4 + f->size;
    if (need > capacity)
        return need;
    uint8_t *at = buffer;
    for (const struct field *f = table; f->name; f++) {
        size_t name_len = strlen(f->name);
        store_le16(at, (uint16_t)name_len);
        memcpy(at + 2, f->name, name_len);
        at += 2 + name_len;
        store_le32(at, f->size);
        memcpy(at + 4, (const uint8_t *)object + f->offset, f->size);
        at += 4 + f->size;
    }
    return need;
}

struct record { const uint8_t *name, *data; uint16_t name_len; uint32_t data_len; };

static bool record_next(const uint8_t *data, size_t len, size_t *at, struct record *out)
{
    if (!range_inside(*at, 2, len))
        return false;
    out->name_len = load_le16(data + *at);
    if (!range_inside(*at + 2, (uint64_t)out->name_len + 4, len))
        return false;
    out->name = data + *at + 2;
    out->data_len = load_le32(out->name + out->name_len);
    size_t start = *at + 2 + out->name_len + 4;
    if (!range_inside(start, out->data_len, len))
        return false;
    out->data = data + start;
    *at = start + out->data_len;
    return true;
}

static const struct field *field_find(const struct field *table, const struct record *r)
{
    for (const struct field *f = table; f->name; f++)
        if (strlen(f->name) == r->name_len && !memcmp(f->name, r->name, r->name_len))
            return f;
    return NULL;
}

/* First pass: nothing is written unless every record is good. */
static int records_check(const struct field *table, const uint8_t *data, size_t len, struct err *err)
{
    bool seen[FIELD_TABLE_MAX] = {false};
    if (table_len(table) >= FIELD_TABLE_MAX)
        return err_set(err, ERR_INTERNAL, "field table has more than %d rows", FIELD_TABLE_MAX);
    struct record r;
    for (size_t at = 0; at < len;) {
        size_t here = at;
        if (!record_next(data, len, &at, &r))
            return err_set(err, ERR_INPUT, "saved state is cut short at byte %zu", here);
        const struct field *f = field_find(table, &r);
        int shown = r.name_len > FIELD_NAME_MAX ? FIELD_NAME_MAX : r.name_len;
        if (!f)
            return err_set(err, ERR_INPUT, "saved state has an unknown field '%.*s'", shown, (const char *)r.name);
        if (f->size != r.data_len)
            return err_set(err, ERR_INPUT, "saved field '%s' has %u bytes, not %u", f->name, r.data_len, f->size);
        if (seen[f - table])
            return err_set(err, ERR_INPUT, "saved field '%s' stands twice", f->name);
        seen[f - table] = true;
    }
    return 0;
}

int fields_load(const struct field *table, void *object, const void *data, size_t len, struct err *err)
{
    int r = records_check(table, data, len, err);
    if (r)
        return r;
    struct record record;
    for (size_t at = 0; at < len && record_next(data, len, &at, &record);) {
        const struct field *f = field_find(table, &record);
        memcpy((uint8_t *)object + f->offset, record.data, f->size);
    }
    return 0;
}

static void field_text(const struct field *f, const uint8_t *value, char *out, size_t capacity)
{
    if (f->kind == FIELD_KIND_UINT) {
        uint64_t v = 0;
        memcpy(&v, value, f->size <= sizeof v ? f->size : sizeof v);
        snprintf(out, capacity, "0x%llx", (unsigned long long)v);
        return;
    }
    size_t shown = f->size < INSPECT_BYTES_SHOWN ? f->size : INSPECT_BYTES_SHOWN;
    for (size_t i = 0; i < shown; i++)
        snprintf(out + 2 * i, capacity - 2 * i, "%02x", value[i]);
    if (shown < f->size)
        snprintf(out + 2 * shown, capacity - 2 * shown, "... (%u bytes)", f->size);
}

void fields_inspect(const struct field *table, const void *object,
                    void (*visit)(void *opaque, const struct field *field, const char *value), void *opaque)
{
    for (const struct field *f = table; f->name; f++) {
        char text[2 * INSPECT_BYTES_SHOWN + 32] = "";
        field_text(f, (const uint8_t *)object + f->offset, text, sizeof text);
        visit(opaque, f, text);
    }
}
