/* SPDX-License-Identifier: MIT */
/* dirty.c - dirty logs: which pages were written since the last harvest.
 *
 * A log covers pages of one block that one map shows at consecutive addresses, whatever their protections, and hangs in both. Writers set bits under
 * block->lock held shared (mem_page_written); a harvest and every change hold it exclusively, so a writer's two steps (clear CLEAN, set the bit) are
 * one for it. Stopping a log leaves CLEAN behind; the next write takes the slow path once and clears it.
 */
#include <stdlib.h>

#include "base/barrier.h"
#include "base/checked.h"
#include "memory/internal.h"

static struct mem_log *log_make(struct mem_map *map, struct mem_block *block, uint64_t gpa, size_t offset, size_t pages)
{
    struct mem_log *log = calloc(1, sizeof *log);

    if (log && !(log->bits = calloc((pages + 63) / 64, sizeof *log->bits))) {
        free(log);
        log = NULL;
    }
    if (log)
        *log = (struct mem_log){.map = map, .block = block, .gpa = gpa, .offset = offset, .pages = pages, .bits = log->bits};
    return log;
}

static void log_attach(struct mem_log *log)
{
    pthread_rwlock_wrlock(&log->block->lock);
    list_append(&log->block->logs, &log->block_node);
    pthread_rwlock_unlock(&log->block->lock);
    list_append(&log->map->logs, &log->map_node);
    mem_block_ref(log->block);
}

static void log_free(struct mem_log *log)
{
    if (!log)
        return;
    free((void *)log->bits);
    free(log);
}

static bool log_bit(const struct mem_log *log, size_t page)
{
    return atomic_load(&log->bits[page / 64]) >> (page % 64) & 1;
}

/* A log of `pages` pages from page `first` of an older one, with its bits. The old one's writers are held off by the caller. */
static void log_inherit(struct mem_log *log, const struct mem_log *old, size_t first)
{
    for (size_t i = 0; i < log->pages; i++) {
        if (log_bit(old, first + i))
            log->bits[i / 64] |= BIT(i % 64);
    }
}

/* Takes [from, to) out of one log, leaving what is left and right of it as logs of their own. */
static int log_cut(struct mem_log *log, uint64_t from, uint64_t to)
{
    uint64_t end = log->gpa + log->pages * MEM_PAGE_SIZE;
    size_t left_pages = from > log->gpa ? (from - log->gpa) / MEM_PAGE_SIZE : 0;
    size_t right_first = to < end ? (to - log->gpa) / MEM_PAGE_SIZE : log->pages;
    struct mem_log *left = NULL, *right = NULL;

    if (left_pages && !(left = log_make(log->map, log->block, log->gpa, log->offset, left_pages)))
        return ERR_HOST;
    if (right_first < log->pages
        && !(right = log_make(log->map, log->block, to, log->offset + right_first * MEM_PAGE_SIZE, log->pages - right_first))) {
        log_free(left);
        return ERR_HOST;
    }
    pthread_rwlock_wrlock(&log->block->lock);
    list_remove(&log->block_node);
    if (left) {
        log_inherit(left, log, 0);
        list_append(&log->block->logs, &left->block_node);
    }
    if (right) {
        log_inherit(right, log, right_first);
        list_append(&log->block->logs, &right->block_node);
    }
    pthread_rwlock_unlock(&log->block->lock);
    if (left)
        list_insert_before(&log->map_node, &left->map_node), mem_block_ref(log->block);
    if (right)
        list_insert_before(&log->map_node, &right->map_node), mem_block_ref(log->block);
    list_remove(&log->map_node);
    mem_block_unref(log->block);
    log_free(log);
    return 0;
}

int mem_logs_cut(struct mem_map *map, uint64_t gpa, size_t len)
{
    list_for_each(node, &map->logs) {
        struct mem_log *log = list_entry(node, struct mem_log, map_node);

        if (range_overlaps(log->gpa, log->pages * MEM_PAGE_SIZE, gpa, len) && log_cut(log, gpa, gpa + len))
            return ERR_HOST;
    }
    return 0;
}

/* Arms every page of the log. */
static void log_arm(struct mem_log *log)
{
    _Atomic uint8_t *flags = mem_block_flags(log->block, log->offset);

    for (size_t i = 0; i < log->pages; i++)
        atomic_fetch_or(&flags[i], MEM_PAGE_CLEAN);
}

/* Logs what is shown in [gpa, end), one log for each run of views that continue each other in the same block. map->lock held exclusively. */
static int logs_start(struct mem_map *map, uint64_t gpa, uint64_t end)
{
    for (size_t i = mem_view_index(map, gpa); gpa < end;) {
        const struct mem_view *view = &map->views[i];
        size_t offset = view->offset + (gpa - view->gpa);
        uint64_t stop = view->gpa + view->len;
        struct mem_log *log;

        for (i++; stop < end && map->views[i].block == view->block && map->views[i].offset == offset + (stop - gpa); i++)
            stop += map->views[i].len;
        stop = stop < end ? stop : end;
        log = log_make(map, view->block, gpa, offset, (stop - gpa) / MEM_PAGE_SIZE);
        if (!log)
            return ERR_HOST;
        log_attach(log);
        log_arm(log);
        gpa = stop;
    }
    return 0;
}

int mem_log(struct mem_map *map, uint64_t gpa, size_t len, bool on, struct err *err)
{
    int result = mem_check_range(gpa, len, err);

    if (result)
        return result;
    pthread_rwlock_wrlock(&map->lock);
    if (!mem_range_shown(map, gpa, len))
        result = err_set(err, ERR_USAGE, "not all of 0x%llx+0x%zx is memory", (unsigned long long)gpa, len);
    if (!result && mem_logs_cut(map, gpa, len))
        result = err_set(err, ERR_HOST, "no memory for a dirty log");
    if (!result && on && logs_start(map, gpa, gpa + len)) {
        mem_logs_cut(map, gpa, len);
        result = err_set(err, ERR_HOST, "no memory for a dirty log");
    }
    pthread_rwlock_unlock(&map->lock);
    barrier_all_threads();
    mem_listeners_tell(map, gpa, len);
    return result;
}

/* ---- the harvest ---------------------------------------------------------------------------------------------------------------------------- */

/* Copies the bits of [gpa, end) into bits (bit 0 = `base`); with clear, re-arms the pages that it found written. */
static void log_harvest(struct mem_log *log, uint64_t gpa, uint64_t end, uint64_t base, uint64_t *bits, bool clear)
{
    size_t page = (gpa - log->gpa) / MEM_PAGE_SIZE, last = (end - log->gpa) / MEM_PAGE_SIZE;
    size_t to = (gpa - base) / MEM_PAGE_SIZE;
    _Atomic uint8_t *flags = mem_block_flags(log->block, log->offset);

    while (page < last) {
        if (page % 64 == 0 && !atomic_load(&log->bits[page / 64])) {
            to += 64;
            page += 64;
            continue;
        }
        if (log_bit(log, page)) {
            bits[to / 64] |= BIT(to % 64);
            if (clear) {
                atomic_fetch_and(&log->bits[page / 64], ~BIT(page % 64));
                atomic_fetch_or(&flags[page], MEM_PAGE_CLEAN);
            }
        }
        to++;
        page++;
    }
}

int mem_dirty(struct mem_map *map, uint64_t gpa, size_t len, uint64_t *bits, bool clear, struct err *err)
{
    int result = mem_check_range(gpa, len, err);
    uint64_t covered = 0;

    if (result)
        return result;
    memset(bits, 0, (len / MEM_PAGE_SIZE + 63) / 64 * sizeof *bits);
    pthread_rwlock_rdlock(&map->lock);
    list_for_each(node, &map->logs) {
        struct mem_log *log = list_entry(node, struct mem_log, map_node);
        uint64_t end = log->gpa + log->pages * MEM_PAGE_SIZE;

        if (range_overlaps(log->gpa, end - log->gpa, gpa, len))
            covered += (end < gpa + len ? end : gpa + len) - (log->gpa > gpa ? log->gpa : gpa);
    }
    if (covered != len)
        result = err_set(err, ERR_USAGE, "not all of 0x%llx+0x%zx is being logged", (unsigned long long)gpa, len);
    list_for_each(node, &map->logs) {
        struct mem_log *log = list_entry(node, struct mem_log, map_node);
        uint64_t end = log->gpa + log->pages * MEM_PAGE_SIZE;

        if (result || !range_overlaps(log->gpa, end - log->gpa, gpa, len))
            continue;
        pthread_rwlock_wrlock(&log->block->lock);
        log_harvest(log, log->gpa > gpa ? log->gpa : gpa, end < gpa + len ? end : gpa + len, gpa, bits, clear);
        pthread_rwlock_unlock(&log->block->lock);
    }
    pthread_rwlock_unlock(&map->lock);
    if (clear && !result) {
        barrier_all_threads();
        mem_listeners_tell(map, gpa, len);
    }
    return result;
}
