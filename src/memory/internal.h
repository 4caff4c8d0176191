/* SPDX-License-Identifier: MIT */
/* internal.h - what block.c, map.c, access.c and dirty.c share. Lock order: map->lock, block->lock, map->listen_lock. */
#ifndef MEMORY_INTERNAL_H
#define MEMORY_INTERNAL_H

#include <pthread.h>

#include "base/bits.h"
#include "memory/memory.h"

/* One dirty log: a run of a block's pages that one map shows at consecutive addresses. */
struct mem_log {
    struct list       block_node, map_node; /* block->logs, under block->lock; map->logs, under map->lock */
    struct mem_map   *map;
    struct mem_block *block;
    uint64_t          gpa;
    size_t            offset, pages;
    _Atomic uint64_t *bits;                 /* one for each page, set = written                           */
};

/* A map that shows a block, in block->shows under block->lock. */
struct mem_show {
    struct list     node;
    struct mem_map *map;
    size_t          views;
};

struct mem_block {
    _Atomic size_t    references;
    uint8_t          *host;
    size_t            size;
    bool              wrapped;
    _Atomic uint8_t  *flags;   /* one for each page                             */
    pthread_rwlock_t  lock;    /* shows, logs; held shared by mem_page_written() */
    struct list       shows, logs;
    _Atomic unsigned  maps;    /* in shows                                       */
};

struct mem_map {
    pthread_rwlock_t  lock;    /* views, layers, logs, hook                     */
    struct mem_view  *views;   /* sorted by gpa, not overlapping                */
    size_t            count, capacity;
    const struct mem_layer *layers[MEM_LAYERS_MAX];
    size_t            layer_count;
    struct list       logs;
    void            (*hook)(void *, uint64_t, void *, size_t);
    void             *hook_opaque;
    pthread_rwlock_t  listen_lock;
    struct list       listeners;
};

/* The first view that ends above gpa, as an index; map->count when there is none. map->lock held. */
size_t mem_view_index(const struct mem_map *map, uint64_t gpa);

/* mem_find() with map->lock held shared. */
enum mem_refusal mem_find_locked(struct mem_map *map, uint64_t gpa, uint32_t access, uint32_t view, struct mem_page *out);

int  mem_block_shown(struct mem_block *block, struct mem_map *map);  /* a view more; 0 or ERR_HOST */
void mem_block_hidden(struct mem_block *block, struct mem_map *map); /* a view less                */

/* Every listener's changed(). No map lock held. */
void mem_listeners_tell(struct mem_map *map, uint64_t gpa, uint64_t len);

/* That of every other map that shows the block. */
void mem_block_tell_others(struct mem_block *block, struct mem_map *map);

/* True when [gpa, gpa + len) is wholly shown. map->lock held. */
bool mem_range_shown(const struct mem_map *map, uint64_t gpa, size_t len);

/* Removes [gpa, gpa + len) from the map's dirty logs. map->lock held exclusively. 0 or ERR_HOST (a part may be gone). */
int mem_logs_cut(struct mem_map *map, uint64_t gpa, size_t len);

/* 0 when [gpa, gpa + len) is page-aligned, not empty and below 2^MEM_GPA_BITS; else ERR_USAGE with err set. */
int mem_check_range(uint64_t gpa, size_t len, struct err *err);

#endif
