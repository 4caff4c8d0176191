/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "memory/memory.h"

#define P MEM_PAGE_SIZE

static void pages_written_are_logged_once(void **state)
{
    struct mem_block *block = mem_block_new(256 * P, NULL);
    struct mem_map *map = mem_map_new(NULL);
    uint64_t bits[4];

    (void)state;
    mem_map_add(map, 0, block, 0, 256 * P, MEM_R | MEM_W, NULL);
    assert_int_equal(mem_dirty(map, 0, 256 * P, bits, true, NULL), ERR_USAGE); /* not logged */
    assert_int_equal(mem_log(map, 0, 257 * P, true, NULL), ERR_USAGE);
    assert_int_equal(mem_log(map, 0, 256 * P, true, NULL), 0);
    mem_write(map, 3 * P, "x", 1);
    mem_fill(map, 63 * P, 1, 2 * P);
    mem_store32(map, 200 * P, 1);
    mem_touched(block, 255 * P + 9, 1);
    assert_int_equal(mem_dirty(map, 0, 256 * P, bits, false, NULL), 0);
    assert_true(bits[0] == (UINT64_C(1) << 3 | UINT64_C(1) << 63));
    assert_true(bits[1] == 1 && bits[2] == 0);
    assert_true(bits[3] == (UINT64_C(1) << 8 | UINT64_C(1) << 63));
    assert_int_equal(mem_dirty(map, 60 * P, 10 * P, bits, true, NULL), 0); /* bit 0 = page 60 */
    assert_true(bits[0] == (1 << 3 | 1 << 4));
    assert_int_equal(mem_dirty(map, 0, 256 * P, bits, true, NULL), 0);
    assert_true(bits[0] == 1 << 3 && bits[1] == 0);
    assert_int_equal(mem_dirty(map, 0, 256 * P, bits, true, NULL), 0);
    assert_true(!(bits[0] | bits[1] | bits[2] | bits[3]));
    mem_write(map, 3 * P, "y", 1);
    assert_int_equal(mem_dirty(map, 0, 256 * P, bits, true, NULL), 0);
    assert_true(bits[0] == 1 << 3);
    assert_int_equal(mem_log(map, 0, 256 * P, false, NULL), 0);
    assert_int_equal(mem_dirty(map, 0, 256 * P, bits, true, NULL), ERR_USAGE);
    mem_write(map, 3 * P, "z", 1);
    mem_map_free(map);
    mem_block_unref(block);
}

static void parts_keep_their_bits(void **state)
{
    struct mem_block *block = mem_block_new(64 * P, NULL);
    struct mem_map *map = mem_map_new(NULL);
    uint64_t bits[1];

    (void)state;
    mem_map_add(map, 0, block, 0, 64 * P, MEM_R | MEM_W, NULL);
    mem_log(map, 0, 64 * P, true, NULL);
    mem_fill(map, 0, 1, 64 * P);
    mem_map_protect(map, 8 * P, 8 * P, MEM_R, NULL);          /* protections do not matter */
    mem_log(map, 16 * P, 8 * P, true, NULL);                  /* starting anew clears      */
    assert_int_equal(mem_dirty(map, 0, 64 * P, bits, false, NULL), 0);
    assert_true(bits[0] == ~(UINT64_C(0xff) << 16));
    mem_map_remove(map, 32 * P, 8 * P, NULL);
    assert_int_equal(mem_dirty(map, 0, 64 * P, bits, false, NULL), ERR_USAGE);
    assert_int_equal(mem_dirty(map, 40 * P, 24 * P, bits, true, NULL), 0);
    assert_true(bits[0] == 0xffffff);
    mem_write(map, 41 * P, "x", 1);
    assert_int_equal(mem_dirty(map, 40 * P, 24 * P, bits, true, NULL), 0);
    assert_true(bits[0] == 2);
    mem_map_free(map);
    mem_block_unref(block);
}

static void every_map_of_a_block_learns(void **state)
{
    struct mem_block *block = mem_block_new(64 * P, NULL);
    struct mem_map *one = mem_map_new(NULL), *two = mem_map_new(NULL);
    uint64_t bits[1];

    (void)state;
    mem_map_add(one, 0, block, 0, 64 * P, MEM_R | MEM_W, NULL);
    mem_map_add(two, 0x100000, block, 32 * P, 32 * P, MEM_R, NULL);
    mem_map_add(two, 0x200000, block, 40 * P, P, MEM_R, NULL); /* an alias */
    mem_log(one, 0, 64 * P, true, NULL);
    mem_log(two, 0x100000, 32 * P, true, NULL);
    mem_log(two, 0x200000, P, true, NULL);
    mem_write(one, 40 * P, "x", 1);
    assert_int_equal(mem_dirty(one, 0, 64 * P, bits, true, NULL), 0);
    assert_true(bits[0] == UINT64_C(1) << 40);
    assert_int_equal(mem_dirty(two, 0x100000, 32 * P, bits, true, NULL), 0);
    assert_true(bits[0] == 1 << 8);
    assert_int_equal(mem_dirty(two, 0x200000, P, bits, true, NULL), 0);
    assert_true(bits[0] == 1);
    mem_write(one, 40 * P, "y", 1);
    assert_int_equal(mem_dirty(two, 0x200000, P, bits, true, NULL), 0);
    assert_true(bits[0] == 1);
    assert_int_equal(mem_dirty(one, 0, 64 * P, bits, true, NULL), 0);
    assert_true(bits[0] == UINT64_C(1) << 40);
    mem_map_free(one);
    mem_map_free(two);
    mem_block_unref(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_written_are_logged_once), cmocka_unit_test(parts_keep_their_bits),
        cmocka_unit_test(every_map_of_a_block_learns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
