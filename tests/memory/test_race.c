/* SPDX-License-Identifier: MIT */
/* The two protocols of memory.h, under threads: either the writer sees the flag or the reader sees the bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/barrier.h"
#include "base/bits.h"
#include "memory/memory.h"

#define P MEM_PAGE_SIZE

enum { CODE_ROUNDS = 5000, DIRTY_PAGES = 96, DIRTY_WRITES = 200000 };

struct code_race {
    struct mem_listener listener;
    struct mem_block *block;
    _Atomic int round, done, told;
};

static void code_written(struct mem_listener *l, struct mem_block *block, size_t offset, size_t len)
{
    (void)block, (void)offset, (void)len;
    atomic_fetch_add(&container_of(l, struct code_race, listener)->told, 1);
}

static void *code_writer(void *opaque)
{
    struct code_race *race = opaque;
    _Atomic uint32_t *word = mem_block_host(race->block);

    for (int n = 1; n <= CODE_ROUNDS; n++) {
        while (atomic_load(&race->round) < n)
            sched_yield();
        for (volatile int spin = n % 97 * 10; spin; spin--)
            ;
        atomic_store_explicit(word, (uint32_t)n, memory_order_relaxed);
        mem_touched(race->block, 0, 4);
        atomic_store(&race->done, n);
    }
    return NULL;
}

static void a_write_to_code_is_never_missed(void **state)
{
    struct code_race race = {.listener = {.code_written = code_written}, .block = mem_block_new(P, NULL)};
    struct mem_map *map = mem_map_new(NULL);
    _Atomic uint32_t *word = mem_block_host(race.block);
    int seen = 0, caught = 0;
    pthread_t thread;

    (void)state;
    if (!barrier_available())
        skip();
    mem_map_add(map, 0, race.block, 0, P, MEM_R | MEM_W | MEM_X, NULL);
    mem_map_listen(map, &race.listener);
    pthread_create(&thread, NULL, code_writer, &race);
    for (int n = 1; n <= CODE_ROUNDS; n++) {
        uint32_t decoded;

        atomic_store(mem_block_flags(race.block, 0), 0);
        atomic_store(&race.told, 0);
        atomic_store(&race.round, n);
        for (volatile int spin = n % 89 * 10; spin; spin--)
            ;
        mem_block_arm_code(race.block, 0);
        decoded = atomic_load_explicit(word, memory_order_relaxed);
        while (atomic_load(&race.done) < n)
            sched_yield();
        seen += decoded == (uint32_t)n;
        caught += atomic_load(&race.told);
        assert_true(decoded == (uint32_t)n || atomic_load(&race.told));
    }
    pthread_join(thread, NULL);
    print_message("bytes seen %d times, writer told %d times of %d\n", seen, caught, CODE_ROUNDS);
    mem_map_unlisten(map, &race.listener);
    mem_map_free(map);
    mem_block_unref(race.block);
}

struct dirty_race { struct mem_map *map; struct mem_block *block; unsigned seed; _Atomic int *running; };

/* Half of the writes through the map, half through the host pointer. */
static void *dirty_writer(void *opaque)
{
    struct dirty_race *race = opaque;
    uint8_t *host = mem_block_host(race->block);

    for (uint32_t n = 1; n <= DIRTY_WRITES; n++) {
        size_t at = (size_t)rand_r(&race->seed) % DIRTY_PAGES * P + race->seed % 2 * 8;

        if (n % 2) {
            mem_store32(race->map, at, n);
        } else {
            atomic_store_explicit((_Atomic uint32_t *)(void *)(host + at), n, memory_order_relaxed);
            mem_touched(race->block, at, 4);
        }
    }
    atomic_fetch_sub(race->running, 1);
    return NULL;
}

static void harvest(struct mem_map *map, uint8_t *copy)
{
    uint64_t bits[(DIRTY_PAGES + 63) / 64];

    assert_int_equal(mem_dirty(map, 0, DIRTY_PAGES * P, bits, true, NULL), 0);
    for (size_t i = 0; i < DIRTY_PAGES; i++) {
        if (bits[i / 64] >> i % 64 & 1)
            assert_int_equal(mem_read(map, i * P, copy + i * P, P), 0);
    }
}

static void no_dirty_page_is_lost(void **state)
{
    struct mem_block *block = mem_block_new(DIRTY_PAGES * P, NULL);
    struct mem_map *map = mem_map_new(NULL);
    uint8_t *copy = calloc(DIRTY_PAGES, P);
    _Atomic int running = 2;
    struct dirty_race races[2] = {{map, block, 1, &running}, {map, block, 2, &running}};
    pthread_t threads[2];
    int rounds = 0;

    (void)state;
    if (!barrier_available())
        skip();
    mem_map_add(map, 0, block, 0, DIRTY_PAGES * P, MEM_R | MEM_W, NULL);
    assert_int_equal(mem_log(map, 0, DIRTY_PAGES * P, true, NULL), 0);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, dirty_writer, &races[i]);
    for (; atomic_load(&running); rounds++)
        harvest(map, copy);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    harvest(map, copy);
    assert_memory_equal(copy, mem_block_host(block), DIRTY_PAGES * P);
    print_message("%d harvests\n", rounds);
    free(copy);
    mem_map_free(map);
    mem_block_unref(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_to_code_is_never_missed), cmocka_unit_test(no_dirty_page_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
