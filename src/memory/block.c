/* SPDX-License-Identifier: MIT */
/* block.c - blocks of host memory, their page flags, and the slow path of every writer. */
#include <stdlib.h>

#include "base/barrier.h"
#include "base/checked.h"
#include "base/pages.h"
#include "memory/internal.h"

static struct mem_block *block_make(void *host, size_t bytes, bool wrapped, struct err *err)
{
    struct mem_block *block = calloc(1, sizeof *block);

    if (block)
        block->flags = calloc(bytes / MEM_PAGE_SIZE, 1);
    if (!block || !block->flags || pthread_rwlock_init(&block->lock, NULL)) {
        if (block)
            free((void *)block->flags);
        free(block);
        err_set(err, ERR_HOST, "no memory for the page table of a block of %zu bytes", bytes);
        return NULL;
    }
    atomic_init(&block->references, 1);
    block->host = host;
    block->size = bytes;
    block->wrapped = wrapped;
    list_init(&block->shows);
    list_init(&block->logs);
    return block;
}

struct mem_block *mem_block_new(size_t bytes, struct err *err)
{
    struct mem_block *block;
    void *host;

    if (!bytes || bytes % MEM_PAGE_SIZE) {
        err_set(err, ERR_USAGE, "memory size %zu is not a multiple of 4096", bytes);
        return NULL;
    }
    host = pages_alloc(bytes);
    if (!host) {
        err_set(err, ERR_HOST, "the host cannot give %zu bytes of memory (use less)", bytes);
        return NULL;
    }
    block = block_make(host, bytes, false, err);
    if (!block)
        pages_free(host, bytes);
    return block;
}

struct mem_block *mem_block_wrap(void *host, size_t bytes, struct err *err)
{
    if (!host || (uintptr_t)host % MEM_PAGE_SIZE || !bytes || bytes % MEM_PAGE_SIZE) {
        err_set(err, ERR_USAGE, "memory to wrap must be whole pages of 4096 bytes");
        return NULL;
    }
    return block_make(host, bytes, true, err);
}

struct mem_block *mem_block_ref(struct mem_block *block)
{
    atomic_fetch_add_explicit(&block->references, 1, memory_order_relaxed);
    return block;
}

void mem_block_unref(struct mem_block *block)
{
    if (!block || atomic_fetch_sub_explicit(&block->references, 1, memory_order_acq_rel) != 1)
        return;
    if (!block->wrapped)
        pages_free(block->host, block->size);
    pthread_rwlock_destroy(&block->lock);
    free((void *)block->flags);
    free(block);
}

void *mem_block_host(const struct mem_block *block) { return block->host; }
size_t mem_block_size(const struct mem_block *block) { return block->size; }

_Atomic uint8_t *mem_block_flags(struct mem_block *block, size_t offset)
{
    return &block->flags[offset / MEM_PAGE_SIZE];
}

bool mem_block_arm_code(struct mem_block *block, size_t offset)
{
    _Atomic uint8_t *flags = mem_block_flags(block, offset);
    uint8_t old = atomic_load(flags);

    while ((old & MEM_PAGE_CODE) != MEM_PAGE_CODE && !atomic_compare_exchange_weak(flags, &old, (uint8_t)(old + MEM_PAGE_CODE_ONE)))
        continue;
    /* Already armed does not mean that the one who armed it is past its barrier. */
    barrier_all_threads();
    return old & MEM_PAGE_CODE;
}

void mem_block_disarm_code(struct mem_block *block, size_t offset)
{
    _Atomic uint8_t *flags = mem_block_flags(block, offset);
    uint8_t old = atomic_load(flags);

    /* A full count has lost track: it stays. */
    while ((old & MEM_PAGE_CODE) && (old & MEM_PAGE_CODE) != MEM_PAGE_CODE &&
           !atomic_compare_exchange_weak(flags, &old, (uint8_t)(old - MEM_PAGE_CODE_ONE)))
        continue;
}

static struct mem_show *show_find(struct mem_block *block, struct mem_map *map)
{
    list_for_each(node, &block->shows) {
        struct mem_show *show = list_entry(node, struct mem_show, node);

        if (show->map == map)
            return show;
    }
    return NULL;
}

bool mem_block_is_shared(const struct mem_block *block)
{
    return atomic_load(&block->maps) > 1;
}

int mem_block_shown(struct mem_block *block, struct mem_map *map)
{
    struct mem_show *show;
    int result = 0;

    pthread_rwlock_wrlock(&block->lock);
    show = show_find(block, map);
    if (!show && (show = calloc(1, sizeof *show))) {
        show->map = map;
        list_append(&block->shows, &show->node);
        atomic_fetch_add(&block->maps, 1);
    }
    if (show)
        show->views++;
    else
        result = ERR_HOST;
    pthread_rwlock_unlock(&block->lock);
    if (!result)
        mem_block_ref(block);
    return result;
}

void mem_block_tell_others(struct mem_block *block, struct mem_map *map)
{
    pthread_rwlock_rdlock(&block->lock);
    list_for_each(node, &block->shows) {
        struct mem_map *other = list_entry(node, struct mem_show, node)->map;

        if (other != map)
            mem_listeners_tell(other, 0, UINT64_MAX);
    }
    pthread_rwlock_unlock(&block->lock);
}

void mem_block_hidden(struct mem_block *block, struct mem_map *map)
{
    struct mem_show *show;

    pthread_rwlock_wrlock(&block->lock);
    show = show_find(block, map);
    if (show && !--show->views) {
        list_remove(&show->node);
        free(show);
        atomic_fetch_sub(&block->maps, 1);
    }
    pthread_rwlock_unlock(&block->lock);
    mem_block_unref(block);
}

/* ---- the slow path of writers -------------------------------------------------------------------------------------------------------------- */

static void logs_mark(struct mem_block *block, size_t page)
{
    list_for_each(node, &block->logs) {
        struct mem_log *log = list_entry(node, struct mem_log, block_node);
        size_t first = log->offset / MEM_PAGE_SIZE;

        if (page >= first && page - first < log->pages)
            atomic_fetch_or(&log->bits[(page - first) / 64], BIT((page - first) % 64));
    }
}

static void code_tell(struct mem_block *block, size_t offset, size_t len)
{
    list_for_each(node, &block->shows) {
        struct mem_map *map = list_entry(node, struct mem_show, node)->map;

        pthread_rwlock_rdlock(&map->listen_lock);
        list_for_each(at, &map->listeners) {
            struct mem_listener *listener = list_entry(at, struct mem_listener, node);

            if (listener->code_written)
                listener->code_written(listener, block, offset, len);
        }
        pthread_rwlock_unlock(&map->listen_lock);
    }
}

void mem_page_written(struct mem_block *block, size_t offset, size_t len)
{
    if (!len || !range_inside(offset, len, block->size))
        return;
    pthread_rwlock_rdlock(&block->lock);
    for (size_t at = offset, end = offset + len; at < end;) {
        size_t page = at / MEM_PAGE_SIZE;
        size_t next = (page + 1) * MEM_PAGE_SIZE < end ? (page + 1) * MEM_PAGE_SIZE : end;
        /* CLEAN goes before the bits are set: were it the other way round, a harvest in between would lose its re-arming. */
        uint8_t flags = atomic_load(&block->flags[page]) ? atomic_fetch_and(&block->flags[page], (uint8_t)~MEM_PAGE_CLEAN) : 0;

        if (flags & MEM_PAGE_CLEAN)
            logs_mark(block, page);
        if (flags & MEM_PAGE_CODE)
            code_tell(block, at, next - at);
        at = next;
    }
    pthread_rwlock_unlock(&block->lock);
}

void mem_touched(struct mem_block *block, size_t offset, size_t len)
{
    if (!len || !range_inside(offset, len, block->size))
        return;
    /* The caller's stores come first: for the compiler here, for the machine through the other side's barrier. */
    atomic_signal_fence(memory_order_seq_cst);
    for (size_t page = offset / MEM_PAGE_SIZE; page <= (offset + len - 1) / MEM_PAGE_SIZE; page++) {
        if (atomic_load_explicit(&block->flags[page], memory_order_relaxed)) {
            mem_page_written(block, offset, len);
            return;
        }
    }
}
