/* SPDX-License-Identifier: MIT */
/* access.c - accessors for devices and loaders.
 *
 * The guest, other devices and the host's kernel may write the same bytes at the same time, so bytes are moved with relaxed atomic words: what is
 * naturally aligned and at most 8 bytes is moved whole, and nothing here is undefined. Each stretch inside one view is copied under the map's shared
 * lock with a reference on its block; writers are told after the lock is gone, so that a listener may ask the map.
 */
#include "base/checked.h"
#include "memory/internal.h"

#define WORD(type, p) ((_Atomic type *)(void *)(p))

/* Bytes of the next atomic move: as much as both the guest side's alignment and the length allow. */
static size_t step_at(const void *guest, size_t len)
{
    uintptr_t at = (uintptr_t)guest;

    return !(at & 7) && len >= 8 ? 8 : !(at & 3) && len >= 4 ? 4 : !(at & 1) && len >= 2 ? 2 : 1;
}

static void copy_in(void *out, const uint8_t *guest, size_t len)
{
    for (uint8_t *to = out; len;) {
        size_t step = step_at(guest, len);

        switch (step) {
        case 8: store_le64(to, atomic_load_explicit(WORD(const uint64_t, guest), memory_order_relaxed)); break;
        case 4: store_le32(to, atomic_load_explicit(WORD(const uint32_t, guest), memory_order_relaxed)); break;
        case 2: store_le16(to, atomic_load_explicit(WORD(const uint16_t, guest), memory_order_relaxed)); break;
        default: *to = atomic_load_explicit(WORD(const uint8_t, guest), memory_order_relaxed); break;
        }
        to += step, guest += step, len -= step;
    }
}

static void copy_out(uint8_t *guest, const void *data, size_t len)
{
    for (const uint8_t *from = data; len;) {
        size_t step = step_at(guest, len);

        switch (step) {
        case 8: atomic_store_explicit(WORD(uint64_t, guest), load_le64(from), memory_order_relaxed); break;
        case 4: atomic_store_explicit(WORD(uint32_t, guest), load_le32(from), memory_order_relaxed); break;
        case 2: atomic_store_explicit(WORD(uint16_t, guest), load_le16(from), memory_order_relaxed); break;
        default: atomic_store_explicit(WORD(uint8_t, guest), *from, memory_order_relaxed); break;
        }
        from += step, guest += step, len -= step;
    }
}

static void fill_out(uint8_t *guest, uint8_t value, size_t len)
{
    uint64_t word[8];

    memset(word, value, sizeof word);
    while (len) {
        size_t n = len < sizeof word ? len : sizeof word;

        copy_out(guest, word, n);
        guest += n, len -= n;
    }
}

/* A stretch of host memory that is granted: inside one view, held by a reference. `len` is at most the request's. */
struct stretch { struct mem_block *block; uint8_t *host; size_t offset, len; };

/* The stretch at gpa, for at most len bytes; with layers, page by page. map->lock held shared. */
static int stretch_find(struct mem_map *map, uint64_t gpa, size_t len, uint32_t access, struct stretch *out)
{
    struct mem_page page;
    const struct mem_view *view;
    uint64_t end;

    if (mem_find_locked(map, gpa, access, 0, &page) != MEM_GRANTED)
        return ERR_INPUT;
    view = &map->views[mem_view_index(map, gpa)];
    end = map->layer_count ? align_down(gpa, MEM_PAGE_SIZE) + MEM_PAGE_SIZE : view->gpa + view->len;
    out->block = page.block;
    out->offset = page.offset + gpa % MEM_PAGE_SIZE;
    out->host = page.host + gpa % MEM_PAGE_SIZE;
    out->len = end - gpa < len ? end - gpa : len;
    return 0;
}

/* ---- copies --------------------------------------------------------------------------------------------------------------------------------- */

/* All of [gpa, gpa + len) is granted. map->lock held shared. */
static bool range_granted(struct mem_map *map, uint64_t gpa, size_t len, uint32_t access)
{
    struct stretch s;

    if (!range_inside(gpa, len, BIT(MEM_GPA_BITS)))
        return false;
    for (; len; gpa += s.len, len -= s.len) {
        if (stretch_find(map, gpa, len, access, &s))
            return false;
    }
    return true;
}

int mem_read(struct mem_map *map, uint64_t gpa, void *out, size_t len)
{
    int result = 0;
    struct stretch s;

    pthread_rwlock_rdlock(&map->lock);
    if (!range_granted(map, gpa, len, MEM_R))
        result = ERR_INPUT;
    for (size_t done = 0; !result && done < len; done += s.len) {
        /* Granted above under the same lock; a layer may still have changed its mind. */
        result = stretch_find(map, gpa + done, len - done, MEM_R, &s);
        if (!result)
            copy_in((uint8_t *)out + done, s.host, s.len);
        else
            break;
    }
    if (!result && len && map->hook)
        map->hook(map->hook_opaque, gpa, out, len);
    pthread_rwlock_unlock(&map->lock);
    return result;
}

/* data NULL: fill with `value`. */
static int write_range(struct mem_map *map, uint64_t gpa, const uint8_t *data, uint8_t value, size_t len, uint32_t access)
{
    struct stretch s;

    if (!range_inside(gpa, len, BIT(MEM_GPA_BITS)))
        return ERR_INPUT;
    for (size_t done = 0; done < len; done += s.len) {
        pthread_rwlock_rdlock(&map->lock);
        if (stretch_find(map, gpa + done, len - done, access, &s)) {
            pthread_rwlock_unlock(&map->lock);
            return ERR_INPUT;
        }
        if (data)
            copy_out(s.host, data + done, s.len);
        else
            fill_out(s.host, value, s.len);
        mem_block_ref(s.block);
        pthread_rwlock_unlock(&map->lock);
        mem_touched(s.block, s.offset, s.len);
        mem_block_unref(s.block);
    }
    return 0;
}

int mem_write(struct mem_map *map, uint64_t gpa, const void *data, size_t len) { return write_range(map, gpa, data, 0, len, MEM_W); }
int mem_fill(struct mem_map *map, uint64_t gpa, uint8_t value, size_t len) { return write_range(map, gpa, NULL, value, len, MEM_W); }
int mem_load_image(struct mem_map *map, uint64_t gpa, const void *data, size_t len) { return write_range(map, gpa, data, 0, len, 0); }

/* ---- single-copy atomic accesses -------------------------------------------------------------------------------------------------------------- */

#define MEM_ATOMIC(bits)                                                                                                             \
    int mem_load##bits(struct mem_map *map, uint64_t gpa, uint##bits##_t *out)                                                       \
    {                                                                                                                                \
        struct stretch s;                                                                                                            \
        int result = ERR_INPUT;                                                                                                      \
                                                                                                                                     \
        pthread_rwlock_rdlock(&map->lock);                                                                                           \
        if (gpa % sizeof *out == 0 && !stretch_find(map, gpa, sizeof *out, MEM_R, &s)) {                                             \
            *out = atomic_load_explicit(WORD(uint##bits##_t, s.host), memory_order_acquire);                                         \
            if (map->hook)                                                                                                           \
                map->hook(map->hook_opaque, gpa, out, sizeof *out);                                                                  \
            result = 0;                                                                                                              \
        }                                                                                                                            \
        pthread_rwlock_unlock(&map->lock);                                                                                           \
        return result;                                                                                                               \
    }                                                                                                                                \
    int mem_store##bits(struct mem_map *map, uint64_t gpa, uint##bits##_t value)                                                     \
    {                                                                                                                                \
        struct stretch s;                                                                                                            \
                                                                                                                                     \
        pthread_rwlock_rdlock(&map->lock);                                                                                           \
        if (gpa % sizeof value || stretch_find(map, gpa, sizeof value, MEM_W, &s)) {                                                 \
            pthread_rwlock_unlock(&map->lock);                                                                                       \
            return ERR_INPUT;                                                                                                        \
        }                                                                                                                            \
        atomic_store_explicit(WORD(uint##bits##_t, s.host), value, memory_order_release);                                            \
        mem_block_ref(s.block);                                                                                                      \
        pthread_rwlock_unlock(&map->lock);                                                                                           \
        mem_touched(s.block, s.offset, sizeof value);                                                                                \
        mem_block_unref(s.block);                                                                                                    \
        return 0;                                                                                                                    \
    }
MEM_ATOMIC(16)
MEM_ATOMIC(32)
MEM_ATOMIC(64)

/* ---- pins ------------------------------------------------------------------------------------------------------------------------------------- */

static int pin(struct mem_map *map, uint64_t gpa, size_t len, uint32_t access, bool part, struct mem_pin *out)
{
    const struct mem_view *view;
    int result = ERR_INPUT;
    struct stretch s;

    pthread_rwlock_rdlock(&map->lock);
    if (len && !stretch_find(map, gpa, len, access, &s)) {
        view = &map->views[mem_view_index(map, gpa)];
        if (part && len > view->gpa + view->len - gpa)
            len = view->gpa + view->len - gpa;
        if (len <= view->gpa + view->len - gpa && range_granted(map, gpa, len, access)) {
            *out = (struct mem_pin){.block = mem_block_ref(s.block), .offset = s.offset, .len = len, .host = s.host, .access = access};
            result = 0;
        }
    }
    pthread_rwlock_unlock(&map->lock);
    return result;
}

int mem_pin(struct mem_map *map, uint64_t gpa, size_t len, uint32_t access, struct mem_pin *out) { return pin(map, gpa, len, access, false, out); }
int mem_pin_part(struct mem_map *map, uint64_t gpa, size_t len, uint32_t access, struct mem_pin *out) { return pin(map, gpa, len, access, true, out); }

void mem_unpin(struct mem_pin *pin, size_t written)
{
    if (pin->access & MEM_W)
        mem_touched(pin->block, pin->offset, written < pin->len ? written : pin->len);
    mem_block_unref(pin->block);
    *pin = (struct mem_pin){0};
}
