/* SPDX-License-Identifier: MIT */
/* The accessors: copies across views, refusals that touch nothing, atomics, pins, the fetch hook, and layers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "memory/memory.h"

#define P MEM_PAGE_SIZE

struct rig { struct mem_block *one, *two; struct mem_map *map; };

/* Two blocks shown at 0x1000 and 0x3000, then read-only memory at 0x5000, nothing at 0x6000. */
static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);

    rig->one = mem_block_new(4 * P, NULL);
    rig->two = mem_block_new(4 * P, NULL);
    rig->map = mem_map_new(NULL);
    mem_map_add(rig->map, 1 * P, rig->one, 0, 2 * P, MEM_R | MEM_W, NULL);
    mem_map_add(rig->map, 3 * P, rig->two, P, 2 * P, MEM_R | MEM_W, NULL);
    mem_map_add(rig->map, 5 * P, rig->one, 3 * P, P, MEM_R, NULL);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    mem_map_free(rig->map);
    mem_block_unref(rig->one);
    mem_block_unref(rig->two);
    free(rig);
    return 0;
}

static void copies_cross_views_at_any_alignment(void **state)
{
    struct rig *rig = *state;
    uint8_t in[300], out[300];

    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 7 + 1);
    for (size_t at = 0; at < 16; at++) {
        for (size_t len = 0; len < 40; len++) {
            uint64_t gpa = 3 * P - 20 + at;

            assert_int_equal(mem_fill(rig->map, 3 * P - 64, 0, 128), 0);
            assert_int_equal(mem_write(rig->map, gpa, in, len), 0);
            memset(out, 0xaa, sizeof out);
            assert_int_equal(mem_read(rig->map, gpa, out, len), 0);
            assert_memory_equal(in, out, len);
            assert_int_equal(mem_read(rig->map, gpa - 1, out, len + 2), 0);
            assert_int_equal(out[0], 0);
            assert_int_equal(out[len + 1], 0);
        }
    }
    mem_write(rig->map, 3 * P - 4, "abcdefgh", 8);
    assert_memory_equal((char *)mem_block_host(rig->one) + 2 * P - 4, "abcd", 4);
    assert_memory_equal((char *)mem_block_host(rig->two) + P, "efgh", 4);
}

static void refusals_touch_nothing(void **state)
{
    struct rig *rig = *state;
    uint8_t out[64];

    memset(out, 0xaa, sizeof out);
    assert_int_equal(mem_read(rig->map, 6 * P - 8, out, 16), ERR_INPUT);
    assert_int_equal(out[0], 0xaa);
    assert_int_equal(mem_read(rig->map, P - 8, out, 16), ERR_INPUT);
    assert_int_equal(mem_read(rig->map, UINT64_MAX - 4, out, 16), ERR_INPUT);
    assert_int_equal(mem_read(rig->map, 0, out, SIZE_MAX), ERR_INPUT);
    assert_int_equal(mem_write(rig->map, 5 * P, out, 1), ERR_INPUT);
    assert_int_equal(mem_write(rig->map, UINT64_MAX, out, 2), ERR_INPUT);
    assert_int_equal(mem_read(rig->map, UINT64_MAX, out, 0), ERR_INPUT);
    assert_int_equal(mem_load_image(rig->map, 5 * P, "ROM", 4), 0);
    assert_int_equal(mem_read(rig->map, 5 * P, out, 4), 0);
    assert_string_equal((char *)out, "ROM");
}

static void atomics_want_alignment_and_rights(void **state)
{
    struct rig *rig = *state;
    uint16_t a;
    uint32_t b;
    uint64_t c;

    assert_int_equal(mem_store64(rig->map, P + 8, 0x1122334455667788), 0);
    assert_int_equal(mem_load16(rig->map, P + 10, &a), 0);
    assert_int_equal(a, 0x5566);
    assert_int_equal(mem_load32(rig->map, P + 12, &b), 0);
    assert_int_equal(b, 0x11223344);
    assert_int_equal(mem_load64(rig->map, P + 8, &c), 0);
    assert_true(c == 0x1122334455667788);
    assert_int_equal(mem_store16(rig->map, P + 8, 0xffff), 0);
    assert_int_equal(mem_store32(rig->map, P + 12, 0), 0);
    assert_int_equal(mem_load64(rig->map, P + 8, &c), 0);
    assert_true(c == 0x5566ffff);
    assert_int_equal(mem_load16(rig->map, P + 1, &a), ERR_INPUT);
    assert_int_equal(mem_load32(rig->map, P + 2, &b), ERR_INPUT);
    assert_int_equal(mem_store64(rig->map, P + 4, 0), ERR_INPUT);
    assert_int_equal(mem_store64(rig->map, 5 * P, 0), ERR_INPUT);
    assert_int_equal(mem_load64(rig->map, UINT64_MAX - 7, &c), ERR_INPUT);
}

static void a_pin_outlives_its_view(void **state)
{
    struct rig *rig = *state;
    struct mem_pin pin;

    assert_int_equal(mem_pin(rig->map, 2 * P, 2 * P, MEM_W, &pin), ERR_INPUT); /* two views */
    assert_int_equal(mem_pin_part(rig->map, 2 * P, 2 * P, MEM_R, &pin), 0);
    assert_int_equal(pin.len, P);
    mem_unpin(&pin, 0);
    assert_int_equal(mem_pin_part(rig->map, 5 * P, P, MEM_W, &pin), ERR_INPUT);
    assert_int_equal(mem_pin_part(rig->map, 2 * P, 0, MEM_R, &pin), ERR_INPUT);
    assert_int_equal(mem_pin(rig->map, 5 * P, P, MEM_W, &pin), ERR_INPUT);
    assert_int_equal(mem_pin(rig->map, 2 * P, 0, MEM_R, &pin), ERR_INPUT);
    assert_int_equal(mem_pin(rig->map, 3 * P + 16, P, MEM_R | MEM_W, &pin), 0);
    mem_map_remove(rig->map, 3 * P, 2 * P, NULL);
    memset(pin.host, 0x55, pin.len);
    assert_int_equal(((uint8_t *)mem_block_host(rig->two))[P + 16], 0x55);
    mem_unpin(&pin, P);
}

static void second_fetch(void *opaque, uint64_t gpa, void *bytes, size_t len)
{
    (void)gpa;
    memset(bytes, ++*(int *)opaque, len);
}

static void the_hook_changes_what_is_fetched(void **state)
{
    struct rig *rig = *state;
    int count = 0;
    uint8_t out[4];
    uint32_t word;

    mem_map_set_fetch_hook(rig->map, second_fetch, &count);
    mem_read(rig->map, P, out, 4);
    assert_int_equal(out[3], 1);
    mem_load32(rig->map, P, &word);
    assert_int_equal(word, 0x02020202);
    mem_map_set_fetch_hook(rig->map, NULL, NULL);
    mem_read(rig->map, P, out, 4);
    assert_int_equal(out[3], 0);
}

static uint32_t deny_page(void *opaque, uint64_t gpa, uint32_t view, uint32_t prot)
{
    (void)view;
    return gpa == *(uint64_t *)opaque ? 0 : prot;
}

static void accessors_obey_layers(void **state)
{
    struct rig *rig = *state;
    uint64_t denied = 2 * P;
    struct mem_layer layer = {.name = "deny", .grant = deny_page, .opaque = &denied};
    struct mem_pin pin;
    uint8_t out[32];
    uint32_t word;

    mem_map_layer_add(rig->map, &layer, NULL);
    assert_int_equal(mem_read(rig->map, P, out, 32), 0);
    assert_int_equal(mem_read(rig->map, 2 * P - 16, out, 32), ERR_INPUT);
    assert_int_equal(mem_write(rig->map, 2 * P, out, 1), ERR_INPUT);
    assert_int_equal(mem_fill(rig->map, P, 0, 2 * P), ERR_INPUT);
    assert_int_equal(mem_load32(rig->map, 2 * P, &word), ERR_INPUT);
    assert_int_equal(mem_store32(rig->map, 2 * P, 0), ERR_INPUT);
    assert_int_equal(mem_pin(rig->map, P, 2 * P, MEM_R, &pin), ERR_INPUT);
    assert_int_equal(mem_pin(rig->map, P, P, MEM_R, &pin), 0);
    mem_unpin(&pin, 0);
    mem_map_layer_remove(rig->map, &layer);
    assert_int_equal(mem_read(rig->map, 2 * P - 16, out, 32), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(copies_cross_views_at_any_alignment, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals_touch_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(atomics_want_alignment_and_rights, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pin_outlives_its_view, setup, teardown),
        cmocka_unit_test_setup_teardown(the_hook_changes_what_is_fetched, setup, teardown),
        cmocka_unit_test_setup_teardown(accessors_obey_layers, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
