/* SPDX-License-Identifier: MIT */
/* The part of cmocka's interface that our tests use, for cross-builds: the archive has cmocka for this machine alone.
   Same words, same meaning; meson.build puts it in the place of the real one. One test program includes it in one file. */
#ifndef SHIM_CMOCKA_H
#define SHIM_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "libc_extra.h"

struct CMUnitTest {
    const char *name;
    void (*test)(void **state);
    int (*setup)(void **state);
    int (*teardown)(void **state);
    void *initial;
};

static jmp_buf shim_end; /* how a case ends early: SHIM_FAILED or SHIM_SKIPPED */
enum { SHIM_FAILED = 1, SHIM_SKIPPED = 2 };

#define cmocka_unit_test(f) { #f, f, NULL, NULL, NULL }
#define cmocka_unit_test_setup(f, setup) { #f, f, setup, NULL, NULL }
#define cmocka_unit_test_teardown(f, teardown) { #f, f, NULL, teardown, NULL }
#define cmocka_unit_test_setup_teardown(f, setup, teardown) { #f, f, setup, teardown, NULL }
#define cmocka_unit_test_prestate(f, state) { #f, f, NULL, NULL, state }
#define cmocka_run_group_tests(tests, setup, teardown) shim_run(tests, sizeof(tests) / sizeof((tests)[0]), setup, teardown)
#define cmocka_set_test_filter(pattern) ((void)(pattern))

#define print_message printf
#define print_error printf
#define skip() longjmp(shim_end, SHIM_SKIPPED)
#define fail() shim_fail(__FILE__, __LINE__, "failed")
#define fail_msg(...) (printf(__VA_ARGS__), shim_fail(__FILE__, __LINE__, ""))
#define shim_check(good, text) ((good) ? (void)0 : shim_fail(__FILE__, __LINE__, text))
#define assert_true(a) shim_check(!!(a), #a)
#define assert_false(a) shim_check(!(a), "not " #a)
#define assert_null(a) shim_check((a) == NULL, #a " is null")
#define assert_non_null(a) shim_check((a) != NULL, #a " is not null")
#define assert_ptr_equal(a, b) shim_check((const void *)(a) == (const void *)(b), #a " == " #b)
#define assert_ptr_not_equal(a, b) shim_check((const void *)(a) != (const void *)(b), #a " != " #b)
#define assert_int_equal(a, b) shim_compare(__FILE__, __LINE__, (uintmax_t)(a), (uintmax_t)(b), 1, #a " == " #b)
#define assert_int_not_equal(a, b) shim_compare(__FILE__, __LINE__, (uintmax_t)(a), (uintmax_t)(b), 0, #a " != " #b)
#define assert_in_range(a, low, high) \
    shim_check((uintmax_t)(a) >= (uintmax_t)(low) && (uintmax_t)(a) <= (uintmax_t)(high), #a " in " #low " to " #high)
#define assert_memory_equal(a, b, size) shim_check(memcmp(a, b, size) == 0, #a " equals " #b)
#define assert_memory_not_equal(a, b, size) shim_check(memcmp(a, b, size) != 0, #a " differs from " #b)
#define assert_string_equal(a, b) shim_check(strcmp(a, b) == 0, #a " equals " #b)
#define assert_string_not_equal(a, b) shim_check(strcmp(a, b) != 0, #a " differs from " #b)

static inline void shim_fail(const char *file, int line, const char *text)
{
    printf("%s:%d: %s\n", file, line, text);
    fflush(stdout);
    longjmp(shim_end, SHIM_FAILED);
}

static inline void shim_compare(const char *file, int line, uintmax_t a, uintmax_t b, int equal, const char *text)
{
    if ((a == b) == equal)
        return;
    printf("%#llx, %#llx: ", (unsigned long long)a, (unsigned long long)b);
    shim_fail(file, line, text);
}

/* Runs one case; 0, SHIM_FAILED or SHIM_SKIPPED. */
static inline int shim_run_case(const struct CMUnitTest *test, void **state)
{
    int end;

    if (test->initial)
        *state = test->initial;
    if (test->setup && test->setup(state))
        return SHIM_FAILED;
    end = setjmp(shim_end);
    if (end == 0)
        test->test(state);
    if (test->teardown && test->teardown(state))
        return SHIM_FAILED;
    return end;
}

static inline int shim_run(const struct CMUnitTest *tests, size_t count, int (*setup)(void **), int (*teardown)(void **))
{
    static const char *const words[] = { "ok", "FAILED", "skipped" };
    int failed = 0;
    void *group = NULL;

    if (setup && setup(&group))
        return 1;
    for (size_t i = 0; i < count; i++) {
        void *state = group;
        int end = shim_run_case(&tests[i], &state);

        printf("%s: %s\n", tests[i].name, words[end]);
        fflush(stdout);
        failed += end == SHIM_FAILED;
    }
    if (teardown && teardown(&group))
        failed++;
    return failed;
}

#endif
