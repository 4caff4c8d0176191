/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "hy/hy_backend.h"

/* What QEMU's software CPU gave a nested guest, and Linux 7.2 stopped at: sizes for AVX in leaf 0xD, but no AVX in leaf 1. */
static void sizes_follow_features(void **state)
{
    struct hy_cpuid table[] = {
        {.fn = 1, .ecx = 1u << 26},
        {.fn = 0xd, .sub = 0, .has_sub = 1, .eax = 0x207, .ebx = 832, .ecx = 2696},
        {.fn = 0xd, .sub = 1, .has_sub = 1, .eax = 1, .ebx = 832, .ecx = 0x100},
        {.fn = 0xd, .sub = 2, .has_sub = 1, .eax = 256, .ebx = 576},
        {.fn = 0xd, .sub = 9, .has_sub = 1, .eax = 8, .ebx = 2688},
        {.fn = 0x80000000},
    };
    size_t n = 6;

    (void)state;
    x86_cpuid_fix_xsave(table, &n);
    assert_int_equal(n, 4);
    assert_int_equal(table[1].eax, 3);
    assert_int_equal(table[1].ebx, 576);
    assert_int_equal(table[1].ecx, 576);
    assert_int_equal(table[2].eax, 1);
    assert_int_equal(table[2].ebx, 0); /* neither XSAVEC nor XSAVES */
    assert_int_equal(table[2].ecx, 0);
    assert_int_equal(table[3].fn, 0x80000000);
}

static void what_is_consistent_stays(void **state)
{
    struct hy_cpuid table[] = {
        {.fn = 1, .ecx = 1u << 26 | 1u << 28},
        {.fn = 7, .sub = 0, .has_sub = 1, .ebx = 1u << 16, .ecx = 1u << 3},
        {.fn = 0xd, .sub = 0, .has_sub = 1, .eax = 0x2e7, .ebx = 576, .ecx = 2696},
        {.fn = 0xd, .sub = 1, .has_sub = 1, .eax = 0xf, .ebx = 576, .ecx = 0},
        {.fn = 0xd, .sub = 2, .has_sub = 1, .eax = 256, .ebx = 576},
        {.fn = 0xd, .sub = 5, .has_sub = 1, .eax = 64, .ebx = 1088},
        {.fn = 0xd, .sub = 6, .has_sub = 1, .eax = 512, .ebx = 1152},
        {.fn = 0xd, .sub = 7, .has_sub = 1, .eax = 1024, .ebx = 1664},
        {.fn = 0xd, .sub = 9, .has_sub = 1, .eax = 8, .ebx = 2688},
    }, before[9];
    size_t n = 9;

    (void)state;
    memcpy(before, table, sizeof table);
    x86_cpuid_fix_xsave(table, &n);
    assert_int_equal(n, 9);
    assert_memory_equal(before, table, sizeof table);
    table[0].ecx = 0; /* no XSAVE: no leaf */
    x86_cpuid_fix_xsave(table, &n);
    assert_int_equal(n, 2);
}

static void apic_ids_are_told_everywhere(void **state)
{
    struct hy_cpuid table[] = {{.fn = 1, .ebx = 0x00010800}, {.fn = 0xb, .sub = 0, .has_sub = 1}, {.fn = 0xb, .sub = 1, .has_sub = 1}, {.fn = 0x8000001e}};

    (void)state;
    x86_cpuid_set_apic_id(table, 4, 9);
    assert_int_equal(table[0].ebx, 0x09010800);
    assert_int_equal(table[1].edx, 9);
    assert_int_equal(table[2].edx, 9);
    assert_int_equal(table[3].eax, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_follow_features), cmocka_unit_test(what_is_consistent_stays), cmocka_unit_test(apic_ids_are_told_everywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
