/* SPDX-License-Identifier: MIT */
/* The writer: a list of headers as bytes for each section, and file data.
 *
 * Headers keep their file_offset as if file data began at `origin`; igvm_writer_write moves all by the difference, so that headers may be
 * added and removed without touching the others. A copy of a file keeps the file's own data as it lies and refers to it; what is added goes
 * behind. Equal data is stored once: a hash table of what this writer has stored, compared byte by byte. Data is trusted (it is the
 * caller's), and its size is not limited but by IGVM_FILE_MAX. What is written is checked by the reader, so no call here need judge a
 * header.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "igvm/writer.h"

static igvm_code writer_fail(igvm_writer *w, igvm_code code)
{
    if (w->failed == IGVM_OK)
        w->failed = code;
    return w->failed;
}

/* Room for `length` more bytes; NULL and the writer's failure when there is none. */
static uint8_t *grow(igvm_writer *w, struct buffer *b, uint64_t length)
{
    if (length > IGVM_FILE_MAX || b->length + length > IGVM_FILE_MAX) {
        writer_fail(w, IGVM_TOO_LARGE);
        return NULL;
    }
    uint64_t need = b->length + length;
    if (need > b->room) {
        uint64_t room = need + need / 2 + 256;
        uint8_t *p = room > SIZE_MAX ? NULL : realloc(b->p, (size_t)room);
        if (!p) {
            writer_fail(w, IGVM_NO_MEMORY);
            return NULL;
        }
        b->p = p;
        b->room = room;
    }
    uint8_t *at = b->p + b->length;
    b->length = need;
    return at;
}

/* ---- file data ---------------------------------------------------------------------------------------------------------------------------- */

/* FNV-1a over words: only to find candidates. */
static uint64_t hash_of(const uint8_t *p, uint64_t length)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ length;
    for (; length >= 8; length -= 8, p += 8)
        hash = (hash ^ load_le64(p)) * UINT64_C(0x100000001b3), hash ^= hash >> 29;
    for (; length; length--, p++)
        hash = (hash ^ *p) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}

static bool grow_blobs(igvm_writer *w)
{
    uint32_t room = w->blob_room ? w->blob_room * 2 : 64;
    struct blob *blobs = calloc(room, sizeof *blobs);
    if (!blobs)
        return false;
    for (uint32_t i = 0; i < w->blob_room; i++) {
        if (!w->blobs[i].length)
            continue;
        uint32_t at = w->blobs[i].hash & (room - 1);
        while (blobs[at].length)
            at = (at + 1) & (room - 1);
        blobs[at] = w->blobs[i];
    }
    free(w->blobs);
    w->blobs = blobs;
    w->blob_room = room;
    return true;
}

/* Stores data, padded with zeros to `padded` bytes (not 0). Gives its file_offset as headers keep it. */
static bool store(igvm_writer *w, const void *data, size_t length, uint64_t padded, uint32_t *offset)
{
    uint64_t at = w->data.length, total = w->origin + w->base_length + at + padded;
    uint8_t *p = total > IGVM_FILE_MAX ? NULL : grow(w, &w->data, padded);
    if (!p) {
        writer_fail(w, IGVM_TOO_LARGE); /* unless memory was the reason */
        return false;
    }
    memcpy(p, data, length);
    memset(p + length, 0, (size_t)(padded - length));
    if (w->blob_count * 4 >= w->blob_room * 3 && !grow_blobs(w)) {
        writer_fail(w, IGVM_NO_MEMORY);
        return false;
    }
    uint32_t hash = (uint32_t)hash_of(p, padded), i = hash & (w->blob_room - 1);
    for (; w->blobs[i].length; i = (i + 1) & (w->blob_room - 1))
        if (w->blobs[i].hash == hash && w->blobs[i].length == padded && memcmp(w->data.p + w->blobs[i].at, p, (size_t)padded) == 0)
            break;
    if (w->blobs[i].length) {
        w->data.length = at;
        at = w->blobs[i].at;
    } else {
        w->blobs[i] = (struct blob){hash, (uint32_t)at, (uint32_t)padded};
        w->blob_count++;
    }
    *offset = (uint32_t)(w->origin + w->base_length + at);
    return true;
}

/* ---- headers ------------------------------------------------------------------------------------------------------------------------------ */

static uint8_t *add_bytes(igvm_writer *w, struct buffer *section, uint32_t type, const void *body, uint32_t length)
{
    uint64_t padded = align_up(length, 8);
    uint8_t *p = grow(w, section, PREFIX + padded);
    if (!p)
        return NULL;
    store_le32(p, type);
    store_le32(p + 4, length);
    memset(p + PREFIX, 0, (size_t)padded);
    if (length)
        memcpy(p + PREFIX, body, length);
    w->changed = true;
    return p + PREFIX;
}

static struct buffer *section_for(igvm_writer *w, uint32_t type, struct buffer *otherwise)
{
    igvm_section section = igvm_section_of(type);
    return section == IGVM_SECTION_NONE ? otherwise : &w->sections[section - 1];
}

/* What later calls must know of a header: platforms' bits, areas' indices. */
static void remember(igvm_writer *w, uint32_t type, const uint8_t *body)
{
    if (type == IGVM_T_SUPPORTED_PLATFORM) {
        uint32_t mask = load_le32(body);
        w->masks |= mask;
        for (int i = 0; i < 32; i++)
            if (mask >> i & 1)
                w->type_of_bit[i] = body[5];
    }
    if (type == IGVM_T_PARAMETER_AREA && load_le32(body + 8) >= w->next_area)
        w->next_area = (uint64_t)load_le32(body + 8) + 1;
}

/* The size that the data of a header is padded to; 0: it has none, or too much. */
static uint64_t padded_bytes(const igvm_writer *w, const igvm_body *body, size_t length)
{
    uint64_t padded = 0;
    uint32_t mask = body->u.vp_context.mask;
    switch (body->type) {
    case IGVM_T_PAGE_DATA:
        padded = body->u.page_data.flags & IGVM_PAGE_IS_2MB ? IGVM_PAGE_2MB : IGVM_PAGE;
        break;
    case IGVM_T_PARAMETER_AREA:
        padded = body->u.area.bytes <= IGVM_AREA_BYTES_MAX ? body->u.area.bytes : 0;
        break;
    case IGVM_T_VP_CONTEXT:
        padded = is_power_of_two(mask) && w->type_of_bit[__builtin_ctz(mask)] == IGVM_VBS ? length : IGVM_PAGE;
        break;
    case IGVM_T_CORIM_DOCUMENT:
    case IGVM_T_CORIM_SIGNATURE:
        padded = length;
        break;
    }
    return length <= padded ? padded : 0;
}

igvm_code igvm_writer_add(igvm_writer *w, const igvm_body *body, const void *data, size_t length)
{
    uint8_t bytes[IGVM_BODY_MAX];
    if (!w || !body || (!data && length))
        return w ? writer_fail(w, IGVM_BAD_ARGUMENT) : IGVM_BAD_ARGUMENT;
    const igvm_type *type = igvm_type_of(body->type);
    if (w->failed || !type)
        return writer_fail(w, IGVM_BAD_ARGUMENT);
    igvm_encode(body, bytes);
    uint32_t offset = 0;
    if (length) {
        uint64_t padded = padded_bytes(w, body, length);
        if (!padded)
            return writer_fail(w, IGVM_BAD_ARGUMENT);
        if (!store(w, data, length, padded, &offset))
            return w->failed;
    }
    if (type->data_at >= 0)
        store_le32(bytes + type->data_at, offset);
    if (type->type == IGVM_T_CORIM_DOCUMENT || type->type == IGVM_T_CORIM_SIGNATURE)
        store_le32(bytes + 8, (uint32_t)length);
    if (!add_bytes(w, section_for(w, type->type, NULL), type->type, bytes, type->length))
        return w->failed;
    remember(w, type->type, bytes);
    return IGVM_OK;
}

igvm_code igvm_writer_add_raw(igvm_writer *w, uint32_t type, const void *body, uint32_t length)
{
    if (!w)
        return IGVM_BAD_ARGUMENT;
    if (w->failed || (!body && length))
        return writer_fail(w, IGVM_BAD_ARGUMENT);
    const igvm_type *known = igvm_type_of(type);
    const uint8_t *p = add_bytes(w, section_for(w, type, &w->sections[2]), type, body, length);
    if (p && known && known->length == length)
        remember(w, known->type, p);
    return w->failed;
}

uint32_t igvm_writer_remove(igvm_writer *w, uint32_t type, uint32_t mask)
{
    uint32_t removed = 0;
    const igvm_type *known = w ? igvm_type_of(type) : NULL;
    if (!known)
        return 0;
    struct buffer *b = section_for(w, type, NULL);
    uint64_t kept = 0, size;
    for (uint64_t at = 0; at < b->length; at += size) {
        uint8_t *p = b->p + at;
        size = PREFIX + align_up(load_le32(p + 4), 8);
        bool here = (load_le32(p) & ~IGVM_OPTIONAL) == known->type && load_le32(p + 4) == known->length;
        if (here && (known->mask_at < 0 || load_le32(p + PREFIX + known->mask_at) & mask)) {
            removed++;
            continue;
        }
        memmove(b->p + kept, p, (size_t)size);
        kept += size;
    }
    b->length = kept;
    w->changed |= removed != 0;
    return removed;
}

/* ---- a file's life ------------------------------------------------------------------------------------------------------------------------ */

igvm_writer *igvm_writer_new(uint32_t version, uint32_t arch)
{
    if ((version != 1 && version != 2) || arch > IGVM_ARCH_AARCH64 || (version == 1 && arch != IGVM_ARCH_X64))
        return NULL;
    igvm_writer *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->version = version;
    w->arch = arch;
    w->origin = 8; /* any but 0, which means "no data" */
    w->changed = true;
    memset(w->type_of_bit, 0xff, sizeof w->type_of_bit);
    return w;
}

igvm_writer *igvm_writer_from(const igvm_file *file)
{
    igvm_file checked;
    if (!file || igvm_open(&checked, file->data, (size_t)file->size, 0, NULL) != IGVM_OK)
        return NULL;
    igvm_writer *w = igvm_writer_new(file->version, file->arch);
    if (!w)
        return NULL;
    uint32_t fixed = file->version == 1 ? FIXED_V1 : FIXED_V2;
    w->tolerant = true;
    w->gap = file->data + fixed;
    w->gap_length = file->headers_offset - fixed;
    w->origin = (uint64_t)file->headers_offset + file->headers_size;
    w->base = file->data + w->origin;
    w->base_length = file->size - w->origin;
    struct buffer *section = &w->sections[0];
    igvm_header h;
    for (igvm_iter it = igvm_headers(file); igvm_next(&it, &h);) {
        if (h.known) /* unknown ones stay where they are among the others */
            section = section_for(w, h.type, section);
        uint8_t *p = grow(w, section, PREFIX + align_up(h.length, 8));
        if (!p) {
            igvm_writer_free(w);
            return NULL;
        }
        memcpy(p, h.body - PREFIX, PREFIX + (size_t)align_up(h.length, 8));
        if (h.known)
            remember(w, h.type, h.body);
    }
    w->changed = false;
    return w;
}

void igvm_writer_free(igvm_writer *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < ARRAY_LEN(w->sections); i++)
        free(w->sections[i].p);
    free(w->data.p);
    free(w->blobs);
    free(w);
}

/* ---- writing ------------------------------------------------------------------------------------------------------------------------------ */

static uint64_t headers_length(const igvm_writer *w)
{
    return w->sections[0].length + w->sections[1].length + w->sections[2].length;
}

/* Bytes of zeros behind all, so that there is file data at all. */
static uint64_t filler(const igvm_writer *w)
{
    return w->changed && !w->base_length && !w->data.length ? 8 : 0;
}

static uint64_t data_start(const igvm_writer *w)
{
    return (w->version == 1 ? FIXED_V1 : FIXED_V2) + w->gap_length + headers_length(w);
}

uint64_t igvm_writer_size(const igvm_writer *w)
{
    return data_start(w) + w->base_length + w->data.length + filler(w);
}

/* Moves the file offsets of headers in place. */
static void move_offsets(uint8_t *headers, uint64_t length, uint64_t delta)
{
    uint64_t size;
    for (uint64_t at = 0; at < length; at += size) {
        uint8_t *p = headers + at;
        size = PREFIX + align_up(load_le32(p + 4), 8);
        const igvm_type *type = igvm_type_of(load_le32(p));
        if (!type || type->data_at < 0 || load_le32(p + 4) != type->length)
            continue;
        uint8_t *offset = p + PREFIX + type->data_at;
        if (load_le32(offset))
            store_le32(offset, (uint32_t)(load_le32(offset) + delta));
    }
}

static void put(uint8_t **at, const void *p, uint64_t length)
{
    if (length)
        memcpy(*at, p, (size_t)length);
    *at += length;
}

static void write_fixed(const igvm_writer *w, uint8_t *out, uint64_t size)
{
    uint32_t fixed = w->version == 1 ? FIXED_V1 : FIXED_V2, headers = (uint32_t)headers_length(w), at = fixed + w->gap_length;
    store_le32(out, MAGIC);
    store_le32(out + 4, w->version);
    store_le32(out + 8, at);
    store_le32(out + 0xc, headers);
    store_le32(out + 0x10, (uint32_t)size);
    store_le32(out + 0x14, 0);
    if (w->version == 2) {
        store_le32(out + 0x18, w->arch);
        store_le32(out + 0x1c, IGVM_PAGE);
    }
    store_le32(out + 0x14, igvm_crc32(igvm_crc32(0, out, fixed), out + at, headers));
}

igvm_code igvm_writer_write(const igvm_writer *w, void *out, size_t size, igvm_finding *why)
{
    if (!w || !out)
        return igvm_fail(why, IGVM_BAD_ARGUMENT, "no writer or no buffer");
    uint64_t total = igvm_writer_size(w);
    if (w->failed)
        return igvm_fail(why, w->failed, "an earlier call of this writer failed: %s", igvm_code_name(w->failed));
    if (total > IGVM_FILE_MAX || total > size)
        return igvm_fail(why, IGVM_TOO_LARGE, "the file has %llu bytes; the buffer has %llu, and a file at most %u", (unsigned long long)total,
            (unsigned long long)size, IGVM_FILE_MAX);
    uint8_t *at = (uint8_t *)out + (w->version == 1 ? FIXED_V1 : FIXED_V2);
    put(&at, w->gap, w->gap_length);
    uint8_t *headers = at;
    for (size_t i = 0; i < ARRAY_LEN(w->sections); i++)
        put(&at, w->sections[i].p, w->sections[i].length);
    move_offsets(headers, headers_length(w), data_start(w) - w->origin);
    put(&at, w->base, w->base_length);
    put(&at, w->data.p, w->data.length);
    memset(at, 0, (size_t)filler(w));
    write_fixed(w, out, total);
    igvm_file file;
    return igvm_open(&file, out, (size_t)total, w->tolerant ? 0 : IGVM_STRICT, why);
}
