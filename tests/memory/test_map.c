/* SPDX-License-Identifier: MIT */
/* Maps: lookups, refused ranges, splitting and joining (against a model), limits, layers, and what listeners are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "memory/memory.h"

#define P MEM_PAGE_SIZE

static void lookups_find_the_right_page(void **state)
{
    struct mem_block *block = mem_block_new(16 * P, NULL);
    struct mem_map *map = mem_map_new(NULL);
    struct mem_page page;

    (void)state;
    assert_int_equal(mem_map_add(map, 8 * P, block, 2 * P, 4 * P, MEM_R | MEM_X, NULL), 0);
    assert_int_equal(mem_find(map, 7 * P, MEM_R, 0, &page), MEM_UNMAPPED);
    assert_int_equal(mem_find(map, 12 * P, MEM_R, 0, &page), MEM_UNMAPPED);
    assert_int_equal(mem_find(map, UINT64_MAX, MEM_R, 0, &page), MEM_UNMAPPED);
    assert_int_equal(mem_find(map, 9 * P + 5, MEM_R, 0, &page), MEM_GRANTED);
    assert_ptr_equal(page.host, (uint8_t *)mem_block_host(block) + 3 * P);
    assert_int_equal(page.offset, 3 * P);
    assert_int_equal(page.prot, MEM_R | MEM_X);
    assert_ptr_equal(page.flags, mem_block_flags(block, 3 * P));
    assert_int_equal(mem_find(map, 9 * P, MEM_W, 0, &page), MEM_PROTECTED);
    mem_block_unref(block);
    mem_map_free(map); /* the view holds the last reference */
}

static void bad_ranges_are_refused(void **state)
{
    struct mem_block *block = mem_block_new(16 * P, NULL);
    struct mem_map *map = mem_map_new(NULL);
    struct err err = ERR_NONE;

    (void)state;
    assert_int_equal(mem_map_add(map, 1, block, 0, P, MEM_R, &err), ERR_USAGE);
    assert_int_equal(mem_map_add(map, 0, block, 1, P, MEM_R, &err), ERR_USAGE);
    assert_int_equal(mem_map_add(map, 0, block, 0, 0, MEM_R, &err), ERR_USAGE);
    assert_int_equal(mem_map_add(map, 0, block, 0, 17 * P, MEM_R, &err), ERR_USAGE);
    assert_int_equal(mem_map_add(map, 0, block, 16 * P, P, MEM_R, &err), ERR_USAGE);
    assert_int_equal(mem_map_add(map, UINT64_C(1) << 52, block, 0, P, MEM_R, &err), ERR_USAGE);
    assert_int_equal(mem_map_add(map, UINT64_MAX - P + 1, block, 0, P, MEM_R, &err), ERR_USAGE);
    assert_int_equal(mem_map_add(map, 0, block, 0, P, 8, &err), ERR_USAGE);
    assert_int_equal(mem_map_add(map, (UINT64_C(1) << 52) - P, block, 0, P, MEM_R, &err), 0);
    assert_int_equal(mem_map_add(map, 4 * P, block, 0, 4 * P, MEM_R, &err), 0);
    assert_int_equal(mem_map_add(map, 0, block, 0, 5 * P, MEM_R, &err), ERR_USAGE);
    assert_int_equal(mem_map_add(map, 7 * P, block, 0, P, MEM_R, &err), ERR_USAGE);
    assert_int_equal(mem_map_add(map, 8 * P, block, 0, P, MEM_R, &err), 0);
    assert_int_equal(mem_map_protect(map, 3 * P, 2 * P, MEM_R, &err), ERR_USAGE);
    assert_int_equal(mem_map_remove(map, UINT64_MAX - P + 1, P, &err), ERR_USAGE);
    mem_map_free(map);
    mem_block_unref(block);
}

static bool count_view(void *opaque, const struct mem_view *view)
{
    (void)view;
    ++*(size_t *)opaque;
    return true;
}

static size_t views(struct mem_map *map)
{
    size_t n = 0;

    mem_map_views(map, count_view, &n);
    return n;
}

static void protecting_splits_and_joins(void **state)
{
    struct mem_block *block = mem_block_new(16 * P, NULL);
    struct mem_map *map = mem_map_new(NULL);
    struct mem_page page;

    (void)state;
    mem_map_add(map, 0, block, 0, 16 * P, MEM_R | MEM_W, NULL);
    assert_int_equal(mem_map_protect(map, 4 * P, 2 * P, MEM_R, NULL), 0);
    assert_int_equal(views(map), 3);
    assert_int_equal(mem_find(map, 3 * P, MEM_W, 0, &page), MEM_GRANTED);
    assert_int_equal(mem_find(map, 4 * P, MEM_W, 0, &page), MEM_PROTECTED);
    assert_int_equal(mem_find(map, 6 * P, MEM_W, 0, &page), MEM_GRANTED);
    assert_int_equal(page.offset, 6 * P);
    assert_int_equal(mem_map_protect(map, 4 * P, 2 * P, MEM_R | MEM_W, NULL), 0);
    assert_int_equal(views(map), 1);
    assert_int_equal(mem_map_remove(map, 5 * P, P, NULL), 0);
    assert_int_equal(views(map), 2);
    assert_int_equal(mem_find(map, 5 * P, MEM_R, 0, &page), MEM_UNMAPPED);
    assert_int_equal(mem_find(map, 6 * P, MEM_R, 0, &page), MEM_GRANTED);
    assert_int_equal(page.offset, 6 * P);
    assert_int_equal(mem_map_remove(map, 0, (size_t)1 << 40, NULL), 0);
    assert_int_equal(views(map), 0);
    mem_map_free(map);
    mem_block_unref(block);
}

/* A model with one byte a page, against random adds, removes and protects. */
static void random_changes_agree_with_a_model(void **state)
{
    enum { PAGES = 64 };
    struct mem_block *block = mem_block_new(PAGES * P, NULL);
    struct mem_map *map = mem_map_new(NULL);
    int prot_at[PAGES], off_at[PAGES];
    unsigned seed = 1;

    (void)state;
    for (size_t i = 0; i < PAGES; i++)
        prot_at[i] = -1;
    for (int round = 0; round < 20000; round++) {
        size_t from = (size_t)rand_r(&seed) % PAGES, n = 1 + (size_t)rand_r(&seed) % (PAGES - from), off = (size_t)rand_r(&seed) % (PAGES - n + 1);
        uint32_t prot = (uint32_t)rand_r(&seed) % 8;
        bool all = true, none = true;
        struct mem_page page;
        int result;

        for (size_t i = from; i < from + n; i++)
            all &= prot_at[i] >= 0, none &= prot_at[i] < 0;
        switch (rand_r(&seed) % 3) {
        case 0:
            result = mem_map_add(map, from * P, block, off * P, n * P, prot, NULL);
            assert_int_equal(result == 0, none);
            for (size_t i = 0; !result && i < n; i++)
                prot_at[from + i] = (int)prot, off_at[from + i] = (int)(off + i);
            break;
        case 1:
            assert_int_equal(mem_map_remove(map, from * P, n * P, NULL), 0);
            for (size_t i = 0; i < n; i++)
                prot_at[from + i] = -1;
            break;
        default:
            result = mem_map_protect(map, from * P, n * P, prot, NULL);
            assert_int_equal(result == 0, all);
            for (size_t i = 0; !result && i < n; i++)
                prot_at[from + i] = (int)prot;
        }
        for (size_t i = 0; i < PAGES; i++) {
            enum mem_refusal refusal = mem_find(map, i * P + 7, MEM_W, 0, &page);

            assert_int_equal(refusal, prot_at[i] < 0 ? MEM_UNMAPPED : prot_at[i] & MEM_W ? MEM_GRANTED : MEM_PROTECTED);
            if (refusal == MEM_GRANTED)
                assert_int_equal(page.offset, (size_t)off_at[i] * P);
        }
    }
    mem_map_free(map);
    mem_block_unref(block);
}

static void views_are_limited(void **state)
{
    struct mem_block *block = mem_block_new(P, NULL);
    struct mem_map *map = mem_map_new(NULL);

    (void)state;
    for (uint64_t i = 0; i < MEM_VIEWS_MAX; i++)
        assert_int_equal(mem_map_add(map, 2 * i * P, block, 0, P, MEM_R, NULL), 0);
    assert_int_equal(mem_map_add(map, 1 * P, block, 0, P, MEM_R, NULL), ERR_USAGE);
    mem_map_free(map);
    mem_block_unref(block);
}

/* ---- layers and listeners ---- */

static uint32_t deny_writes_of_view_1(void *opaque, uint64_t gpa, uint32_t view, uint32_t prot)
{
    return view == 1 && gpa == *(uint64_t *)opaque ? prot & ~(uint32_t)MEM_W : prot;
}

static void layers_narrow_and_are_named(void **state)
{
    struct mem_block *block = mem_block_new(16 * P, NULL);
    struct mem_map *map = mem_map_new(NULL);
    uint64_t gpa = 2 * P;
    struct mem_layer layer = {.name = "test", .grant = deny_writes_of_view_1, .opaque = &gpa};
    struct mem_page page;

    (void)state;
    mem_map_add(map, 0, block, 0, 16 * P, MEM_R | MEM_W, NULL);
    for (int i = 0; i < MEM_LAYERS_MAX; i++)
        assert_int_equal(mem_map_layer_add(map, &layer, NULL), 0);
    assert_int_equal(mem_map_layer_add(map, &layer, NULL), ERR_USAGE);
    assert_int_equal(mem_find(map, 2 * P + 4, MEM_W, 0, &page), MEM_GRANTED);
    assert_int_equal(mem_find(map, 2 * P + 4, MEM_W, 1, &page), MEM_DENIED);
    assert_ptr_equal(page.layer, &layer);
    assert_int_equal(mem_find(map, 2 * P + 4, MEM_R, 1, &page), MEM_GRANTED);
    assert_int_equal(page.prot, MEM_R);
    for (int i = 0; i < MEM_LAYERS_MAX; i++)
        mem_map_layer_remove(map, &layer);
    assert_int_equal(mem_find(map, 2 * P + 4, MEM_W, 1, &page), MEM_GRANTED);
    mem_map_free(map);
    mem_block_unref(block);
}

struct ear { struct mem_listener listener; int changes, codes; uint64_t gpa, len; size_t offset, n; };

static void ear_changed(struct mem_listener *l, uint64_t gpa, uint64_t len)
{
    struct ear *ear = (struct ear *)l;

    ear->changes++;
    ear->gpa = gpa;
    ear->len = len;
}

static void ear_code(struct mem_listener *l, struct mem_block *block, size_t offset, size_t len)
{
    struct ear *ear = (struct ear *)l;

    (void)block;
    ear->codes++;
    ear->offset = offset;
    ear->n = len;
}

static void listeners_hear_changes_and_code(void **state)
{
    struct mem_block *block = mem_block_new(16 * P, NULL);
    struct mem_map *map = mem_map_new(NULL), *sibling = mem_map_new(NULL);
    struct ear ear = {.listener = {.changed = ear_changed, .code_written = ear_code}}, deaf = {0};
    uint32_t word = 0x90909090;

    (void)state;
    mem_map_listen(map, &ear.listener);
    mem_map_listen(map, &deaf.listener);
    mem_map_add(map, 0, block, 0, 16 * P, MEM_R | MEM_W, NULL);
    mem_map_add(sibling, 0x100000, block, 0, 16 * P, MEM_R | MEM_W, NULL);
    assert_int_equal(ear.changes, 2); /* a block that is no longer alone is told too */
    mem_map_protect(map, P, P, MEM_R, NULL);
    assert_int_equal(ear.changes, 3);
    assert_int_equal(ear.gpa, P);
    assert_int_equal(ear.len, P);
    mem_write(sibling, 0x100000 + 4 * P + 16, &word, 4);
    assert_int_equal(ear.codes, 0);
    mem_block_arm_code(block, 4 * P);
    mem_write(sibling, 0x100000 + 4 * P + 16, &word, 4); /* through a sibling */
    assert_int_equal(ear.codes, 1);
    assert_int_equal(ear.offset, 4 * P + 16);
    assert_int_equal(ear.n, 4);
    mem_store32(map, 4 * P + 32, 1);
    assert_int_equal(ear.codes, 2);
    mem_fill(map, 3 * P, 0, 3 * P);                      /* only the middle page holds code */
    assert_int_equal(ear.codes, 3);
    assert_int_equal(ear.offset, 4 * P);
    assert_int_equal(ear.n, P);
    mem_map_remove(map, 0, 16 * P, NULL);
    mem_write(sibling, 0x100000 + 4 * P, &word, 4);      /* no longer shown here */
    assert_int_equal(ear.codes, 3);
    mem_map_unlisten(map, &ear.listener);
    mem_map_unlisten(map, &deaf.listener);
    mem_map_free(map);
    mem_map_free(sibling);
    mem_block_unref(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lookups_find_the_right_page), cmocka_unit_test(bad_ranges_are_refused),
        cmocka_unit_test(protecting_splits_and_joins), cmocka_unit_test(random_changes_agree_with_a_model),
        cmocka_unit_test(views_are_limited), cmocka_unit_test(layers_narrow_and_are_named),
        cmocka_unit_test(listeners_hear_changes_and_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
