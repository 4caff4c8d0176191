/* SPDX-License-Identifier: MIT */
/* map.c - one VM's guest-physical address space: a sorted array of views, layers over them, and listeners to changes.
 *
 * What the guest sees: where memory is shown, and with which protections. Trusted: nothing that comes in; ranges are checked against 2^52.
 * Locking: every change is built under the exclusive lock; the blocks that a change hides keep their references until the listeners have returned, so
 * that a CPU in the middle of a store still stores into memory that exists. Limits: MEM_VIEWS_MAX views, checked before anything changes.
 */
#include <stdlib.h>

#include "base/checked.h"
#include "memory/internal.h"

struct mem_map *mem_map_new(struct err *err)
{
    struct mem_map *map = calloc(1, sizeof *map);

    if (!map) {
        err_set(err, ERR_HOST, "no memory for a memory map");
        return NULL;
    }
    pthread_rwlock_init(&map->lock, NULL);
    pthread_rwlock_init(&map->listen_lock, NULL);
    list_init(&map->logs);
    list_init(&map->listeners);
    return map;
}

void mem_map_free(struct mem_map *map)
{
    if (!map)
        return;
    pthread_rwlock_wrlock(&map->lock);
    mem_logs_cut(map, 0, (size_t)BIT(MEM_GPA_BITS));
    pthread_rwlock_unlock(&map->lock);
    for (size_t i = 0; i < map->count; i++)
        mem_block_hidden(map->views[i].block, map);
    pthread_rwlock_destroy(&map->lock);
    pthread_rwlock_destroy(&map->listen_lock);
    free(map->views);
    free(map);
}

int mem_check_range(uint64_t gpa, size_t len, struct err *err)
{
    if (!len || gpa % MEM_PAGE_SIZE || len % MEM_PAGE_SIZE)
        return err_set(err, ERR_USAGE, "memory range 0x%llx+0x%zx is not whole pages of 4096 bytes", (unsigned long long)gpa, len);
    if (!range_inside(gpa, len, BIT(MEM_GPA_BITS)))
        return err_set(err, ERR_USAGE, "memory range 0x%llx+0x%zx ends above 2^%d", (unsigned long long)gpa, len, MEM_GPA_BITS);
    return 0;
}

size_t mem_view_index(const struct mem_map *map, uint64_t gpa)
{
    size_t low = 0, high = map->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (map->views[middle].gpa + map->views[middle].len > gpa)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

bool mem_range_shown(const struct mem_map *map, uint64_t gpa, size_t len)
{
    uint64_t end = gpa + len;

    for (size_t i = mem_view_index(map, gpa); gpa < end; i++) {
        if (i == map->count || map->views[i].gpa > gpa)
            return false;
        gpa = map->views[i].gpa + map->views[i].len;
    }
    return true;
}

/* ---- changes -------------------------------------------------------------------------------------------------------------------------------- */

/* Makes room for `more` views. map->lock held exclusively. */
static int views_reserve(struct mem_map *map, size_t more, struct err *err)
{
    size_t need = map->count + more, capacity = map->capacity ? map->capacity : 16;
    struct mem_view *views;

    if (need > MEM_VIEWS_MAX)
        return err_set(err, ERR_USAGE, "more than %d memory ranges in one guest", MEM_VIEWS_MAX);
    while (capacity < need)
        capacity *= 2;
    if (capacity == map->capacity)
        return 0;
    views = realloc(map->views, capacity * sizeof *views);
    if (!views)
        return err_set(err, ERR_HOST, "no memory for %zu memory ranges", need);
    map->views = views;
    map->capacity = capacity;
    return 0;
}

static void view_insert(struct mem_map *map, size_t at, const struct mem_view *view)
{
    memmove(&map->views[at + 1], &map->views[at], (map->count - at) * sizeof *view);
    map->views[at] = *view;
    map->count++;
}

/* Splits the view that contains gpa in its middle, if one does, so that a view starts there. Room is reserved. */
static int view_split(struct mem_map *map, uint64_t gpa, struct err *err)
{
    size_t i = mem_view_index(map, gpa);
    struct mem_view right;

    if (i == map->count || map->views[i].gpa >= gpa)
        return 0;
    right = map->views[i];
    right.offset += gpa - right.gpa;
    right.len -= gpa - right.gpa;
    right.gpa = gpa;
    if (mem_block_shown(right.block, map))
        return err_set(err, ERR_HOST, "no memory for a memory range");
    map->views[i].len = gpa - map->views[i].gpa;
    view_insert(map, i + 1, &right);
    return 0;
}

/* Splits at both ends of a range; then views [*first, *last) are exactly what is shown in it. */
static int range_isolate(struct mem_map *map, uint64_t gpa, size_t len, size_t *first, size_t *last, struct err *err)
{
    int result = views_reserve(map, 2, err);

    if (!result)
        result = view_split(map, gpa, err);
    if (!result)
        result = view_split(map, gpa + len, err);
    if (result)
        return result;
    *first = mem_view_index(map, gpa);
    for (*last = *first; *last < map->count && map->views[*last].gpa < gpa + len;)
        ++*last;
    return 0;
}

void mem_listeners_tell(struct mem_map *map, uint64_t gpa, uint64_t len)
{
    pthread_rwlock_rdlock(&map->listen_lock);
    list_for_each(node, &map->listeners) {
        struct mem_listener *listener = list_entry(node, struct mem_listener, node);

        if (listener->changed)
            listener->changed(listener, gpa, len);
    }
    pthread_rwlock_unlock(&map->listen_lock);
}

int mem_map_add(struct mem_map *map, uint64_t gpa, struct mem_block *block, size_t offset, size_t len, uint32_t prot, struct err *err)
{
    struct mem_view view = {.gpa = gpa, .len = len, .block = block, .offset = offset, .prot = prot};
    int result = mem_check_range(gpa, len, err);
    size_t at;

    if (result)
        return result;
    if (offset % MEM_PAGE_SIZE || !range_inside(offset, len, block->size) || prot & ~(uint32_t)(MEM_R | MEM_W | MEM_X))
        return err_set(err, ERR_USAGE, "bytes 0x%zx+0x%zx are not whole pages of a block of 0x%zx bytes", offset, len, block->size);
    pthread_rwlock_wrlock(&map->lock);
    at = mem_view_index(map, gpa);
    if (at < map->count && map->views[at].gpa < gpa + len)
        result = err_set(err, ERR_USAGE, "memory at 0x%llx+0x%zx overlaps what is at 0x%llx+0x%zx", (unsigned long long)gpa, len,
                         (unsigned long long)map->views[at].gpa, map->views[at].len);
    if (!result)
        result = views_reserve(map, 1, err);
    if (!result && mem_block_shown(block, map))
        result = err_set(err, ERR_HOST, "no memory for a memory range");
    if (!result)
        view_insert(map, at, &view);
    pthread_rwlock_unlock(&map->lock);
    /* A translation that said "nothing here" may be cached too. */
    if (!result) {
        mem_listeners_tell(map, gpa, len);
        mem_block_tell_others(block, map);
    }
    return result;
}

int mem_map_remove(struct mem_map *map, uint64_t gpa, size_t len, struct err *err)
{
    int result = mem_check_range(gpa, len, err);
    struct mem_view *hidden = NULL;
    size_t first = 0, last = 0;

    if (result)
        return result;
    pthread_rwlock_wrlock(&map->lock);
    result = range_isolate(map, gpa, len, &first, &last, err);
    if (!result && last > first && (!(hidden = malloc((last - first) * sizeof *hidden)) || mem_logs_cut(map, gpa, len)))
        result = err_set(err, ERR_HOST, "no memory for a memory range");
    if (!result && last > first) {
        memcpy(hidden, &map->views[first], (last - first) * sizeof *hidden);
        memmove(&map->views[first], &map->views[last], (map->count - last) * sizeof *hidden);
        map->count -= last - first;
    }
    pthread_rwlock_unlock(&map->lock);
    if (!result && last > first) {
        mem_listeners_tell(map, gpa, len);
        for (size_t i = 0; i < last - first; i++)
            mem_block_hidden(hidden[i].block, map);
    }
    free(hidden);
    return result;
}

/* Joins view i with its right neighbour where they continue each other; true when it did. */
static bool view_join(struct mem_map *map, size_t i)
{
    struct mem_view *left = &map->views[i], *right = left + 1;

    if (i + 1 >= map->count || left->gpa + left->len != right->gpa || left->block != right->block
        || left->offset + left->len != right->offset || left->prot != right->prot)
        return false;
    left->len += right->len;
    mem_block_hidden(right->block, map);
    memmove(right, right + 1, (map->count - i - 2) * sizeof *right);
    map->count--;
    return true;
}

int mem_map_protect(struct mem_map *map, uint64_t gpa, size_t len, uint32_t prot, struct err *err)
{
    int result = mem_check_range(gpa, len, err);
    size_t first = 0, last = 0;

    if (result)
        return result;
    if (prot & ~(uint32_t)(MEM_R | MEM_W | MEM_X))
        return err_set(err, ERR_USAGE, "protection 0x%x is not made of R, W and X", prot);
    pthread_rwlock_wrlock(&map->lock);
    if (!mem_range_shown(map, gpa, len))
        result = err_set(err, ERR_USAGE, "not all of 0x%llx+0x%zx is memory", (unsigned long long)gpa, len);
    if (!result)
        result = range_isolate(map, gpa, len, &first, &last, err);
    if (!result) {
        for (size_t i = first; i < last; i++)
            map->views[i].prot = prot;
        /* Join from the right edge down to the left one, so that indices stay good and protect-and-back does not use up views. */
        for (size_t i = last; i-- > (first ? first - 1 : 0);)
            view_join(map, i);
    }
    pthread_rwlock_unlock(&map->lock);
    if (!result)
        mem_listeners_tell(map, gpa, len);
    return result;
}

void mem_map_views_in(struct mem_map *map, uint64_t gpa, uint64_t len, bool (*visit)(void *, const struct mem_view *), void *opaque)
{
    uint64_t end = len > BIT(MEM_GPA_BITS) || gpa > BIT(MEM_GPA_BITS) ? UINT64_MAX : gpa + len;

    pthread_rwlock_rdlock(&map->lock);
    for (size_t i = mem_view_index(map, gpa); i < map->count && map->views[i].gpa < end && visit(opaque, &map->views[i]); i++)
        ;
    pthread_rwlock_unlock(&map->lock);
}

void mem_map_views(struct mem_map *map, bool (*visit)(void *, const struct mem_view *), void *opaque)
{
    mem_map_views_in(map, 0, BIT(MEM_GPA_BITS), visit, opaque);
}

/* ---- the one question ----------------------------------------------------------------------------------------------------------------------- */

enum mem_refusal mem_find_locked(struct mem_map *map, uint64_t gpa, uint32_t access, uint32_t view, struct mem_page *out)
{
    size_t i = mem_view_index(map, gpa);
    const struct mem_view *at = &map->views[i];
    uint32_t prot;

    out->layer = NULL;
    if (i == map->count || at->gpa > gpa)
        return MEM_UNMAPPED;
    prot = at->prot;
    if (access & ~prot)
        return MEM_PROTECTED;
    for (size_t n = 0; n < map->layer_count; n++) {
        prot &= map->layers[n]->grant(map->layers[n]->opaque, align_down(gpa, MEM_PAGE_SIZE), view, prot);
        if (access & ~prot) {
            out->layer = map->layers[n];
            return MEM_DENIED;
        }
    }
    out->block = at->block;
    out->offset = at->offset + (align_down(gpa, MEM_PAGE_SIZE) - at->gpa);
    out->host = at->block->host + out->offset;
    out->flags = &at->block->flags[out->offset / MEM_PAGE_SIZE];
    out->prot = prot;
    return MEM_GRANTED;
}

enum mem_refusal mem_find(struct mem_map *map, uint64_t gpa, uint32_t access, uint32_t view, struct mem_page *out)
{
    enum mem_refusal refusal;

    pthread_rwlock_rdlock(&map->lock);
    refusal = mem_find_locked(map, gpa, access, view, out);
    pthread_rwlock_unlock(&map->lock);
    return refusal;
}

/* ---- layers and listeners ------------------------------------------------------------------------------------------------------------------- */

int mem_map_layer_add(struct mem_map *map, const struct mem_layer *layer, struct err *err)
{
    int result = 0;

    pthread_rwlock_wrlock(&map->lock);
    if (map->layer_count == MEM_LAYERS_MAX)
        result = err_set(err, ERR_USAGE, "memory layer %s: there are %d already", layer->name, MEM_LAYERS_MAX);
    else
        map->layers[map->layer_count++] = layer;
    pthread_rwlock_unlock(&map->lock);
    if (!result)
        mem_listeners_tell(map, 0, BIT(MEM_GPA_BITS));
    return result;
}

void mem_map_layer_remove(struct mem_map *map, const struct mem_layer *layer)
{
    pthread_rwlock_wrlock(&map->lock);
    for (size_t i = 0; i < map->layer_count; i++) {
        if (map->layers[i] == layer) {
            memmove(&map->layers[i], &map->layers[i + 1], (map->layer_count - i - 1) * sizeof map->layers[0]);
            map->layer_count--;
            break;
        }
    }
    pthread_rwlock_unlock(&map->lock);
    mem_listeners_tell(map, 0, BIT(MEM_GPA_BITS));
}

void mem_map_layer_changed(struct mem_map *map, uint64_t gpa, uint64_t len) { mem_listeners_tell(map, gpa, len); }

void mem_map_listen(struct mem_map *map, struct mem_listener *listener)
{
    pthread_rwlock_wrlock(&map->listen_lock);
    list_append(&map->listeners, &listener->node);
    pthread_rwlock_unlock(&map->listen_lock);
}

void mem_map_unlisten(struct mem_map *map, struct mem_listener *listener)
{
    pthread_rwlock_wrlock(&map->listen_lock);
    list_remove(&listener->node);
    pthread_rwlock_unlock(&map->listen_lock);
}

void mem_map_set_fetch_hook(struct mem_map *map, void (*hook)(void *, uint64_t, void *, size_t), void *opaque)
{
    pthread_rwlock_wrlock(&map->lock);
    map->hook = hook;
    map->hook_opaque = opaque;
    pthread_rwlock_unlock(&map->lock);
}
