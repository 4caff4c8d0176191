/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/barrier.h"
#include "memory/memory.h"

static void a_block_is_zeroed_and_counted(void **state)
{
    struct mem_block *block = mem_block_new(8192, NULL);

    (void)state;
    assert_non_null(block);
    assert_int_equal(mem_block_size(block), 8192);
    for (size_t i = 0; i < 8192; i++)
        assert_int_equal(((uint8_t *)mem_block_host(block))[i], 0);
    assert_int_equal(*mem_block_flags(block, 4096), 0);
    assert_ptr_equal(mem_block_flags(block, 4096), mem_block_flags(block, 0) + 1);
    assert_ptr_equal(mem_block_ref(block), block);
    mem_block_unref(block);
    mem_block_unref(block);
    mem_block_unref(NULL);
}

static void sizes_are_checked(void **state)
{
    struct err err = ERR_NONE;

    (void)state;
    assert_null(mem_block_new(0, &err));
    assert_int_equal(err.code, ERR_USAGE);
    assert_null(mem_block_new(100, &err));
    assert_int_equal(err.code, ERR_USAGE);
    assert_null(mem_block_new((size_t)1 << 60, &err));
    assert_int_equal(err.code, ERR_HOST);
}

static void wrapped_memory_stays_the_callers(void **state)
{
    _Alignas(4096) char own[8192];
    struct mem_block *block = mem_block_wrap(own, 8192, NULL);

    (void)state;
    assert_ptr_equal(mem_block_host(block), own);
    mem_block_unref(block);
    own[8191] = 1;
    assert_null(mem_block_wrap(own + 1, 4096, NULL));
    assert_null(mem_block_wrap(NULL, 4096, NULL));
}

static void arming_sets_the_flag(void **state)
{
    struct mem_block *block = mem_block_new(8192, NULL);

    (void)state;
    mem_block_arm_code(block, 4097);
    assert_int_equal(*mem_block_flags(block, 4096), MEM_PAGE_CODE_ONE);
    assert_int_equal(*mem_block_flags(block, 0), 0);
    mem_touched(block, 8000, 1000); /* beyond the end: ignored */
    mem_touched(block, 0, 0);
    mem_block_unref(block);
}

static void the_barrier_works_here(void **state)
{
    (void)state;
    if (!barrier_available())
        skip();
    barrier_all_threads();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_is_zeroed_and_counted), cmocka_unit_test(sizes_are_checked),
        cmocka_unit_test(wrapped_memory_stays_the_callers), cmocka_unit_test(arming_sets_the_flag),
        cmocka_unit_test(the_barrier_works_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
