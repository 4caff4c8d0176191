/* SPDX-License-Identifier: MIT */
/* Counters: what is counted of a program is what it does, and each counter says what it means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cpu/translate/private.h"
#include "guest.h"

enum { DATA = 0x200000, PAGE = 0x1000 };

struct tlb { uint64_t lookups, misses, fills; };

static struct tlb tlb_of(const struct guest *g)
{
    struct translate_statistics s;
    translate_statistics_get(g->vm.cpus[0], &s);
    return (struct tlb){ s.lookups, s.misses, s.fills };
}

/* What the program at GUEST_CODE adds. RDI and RSI are set; all is translated before it runs: `small`, or large. */
static struct tlb run(struct guest *g, bool small)
{
    struct cpu *cpu = g->vm.cpus[0];
    struct tlb before = tlb_of(g), after;
    cpu->translator->statistics.translations = small; /* every other one is small where code is translated at once */
    guest_enter(g, 0, 64, GUEST_CODE);
    cpu->state.gpr[REG_RDI] = DATA;
    cpu->state.gpr[REG_RSI] = DATA + 0x100000;
    assert_int_equal(guest_run(g, 0), HY_EXIT_HALT);
    after = tlb_of(g);
    return (struct tlb){ after.lookups - before.lookups, after.misses - before.misses, after.fills - before.fills };
}

static bool make(struct guest *g, const uint8_t *program, size_t len, bool counts)
{
    setenv("CPU_ENGINE", "translate", 1);
    setenv("CPU_COUNT_TLB", "1", 1);
    if (!counts)
        unsetenv("CPU_COUNT_TLB");
    guest_make(g, 1, 64);
    guest_put(g, GUEST_CODE, program, len);
    return g->vm.cpus[0]->translator;
}

static void check(const uint8_t *program, size_t len, bool small, struct tlb expected)
{
    struct guest g;
    if (make(&g, program, len, true)) {
        struct tlb first = run(&g, small);
        assert_int_equal(first.lookups, expected.lookups);
        assert_int_equal(first.misses, expected.misses);
        assert_int_equal(first.fills, expected.fills);
    }
    guest_free(&g);
}
#define CHECK(program, small, ...) check(program, (size_t)(program##_end - program), small, (struct tlb){ __VA_ARGS__ })

GUEST_PROGRAM(a_page_each, "mov $100, %ecx; 1: mov (%rdi), %rax; add $4096, %rdi; dec %ecx; jnz 1b; hlt");
GUEST_PROGRAM(same_page, "mov $100, %ecx; 1: mov (%rdi,%rcx,8), %rax; mov %rax, (%rsi,%rcx,8); dec %ecx; jnz 1b; hlt");
GUEST_PROGRAM(one_register, "mov (%rdi), %rax; mov 8(%rdi), %rbx; mov 16(%rdi), %rdx; add %rbx, %rax; hlt");
GUEST_PROGRAM(stack, "push %rcx; pop %rax; push %rdx; pop %rbx; hlt");
GUEST_PROGRAM(rep_stos, "mov $1536, %ecx; xor %eax, %eax; rep stosq; nop; hlt"); /* three pages */
GUEST_PROGRAM(rep_movs, "mov $1024, %ecx; xor %eax, %eax; rep movsq; nop; hlt"); /* two, of each */
GUEST_PROGRAM(across, "mov 4092(%rdi), %rax; nop; nop; nop; hlt");
GUEST_PROGRAM(stores_to_code, "mov $0x100800, %edi; mov %rax, (%rdi); nop; nop; nop; hlt");
GUEST_PROGRAM(linked, "mov $50, %ecx; 1: mov (%rdi,%rcx,8), %rax; test $1, %cl; jz 2f; mov (%rsi,%rcx,8), %rax; 2: dec %ecx; jnz 1b; hlt");

static void look_ups_are_counted(void **state)
{
    (void)state;
    for (unsigned small = 0; small < 2; small++) {
        CHECK(a_page_each, small, 100, 100, 100);
        CHECK(same_page, small, 200, 2, 2);
        CHECK(one_register, small, 1, 1, 1);
        CHECK(rep_stos, small, 3, 3, 3);
        CHECK(rep_movs, small, 4, 4, 4);
        CHECK(across, small, 1, 1, 0);
        CHECK(stores_to_code, small, 1, 1, 0);
        CHECK(linked, small, 75, 2, 2);
    }
    CHECK(stack, true, 4, 1, 1);
    CHECK(stack, false, 1, 1, 1); /* all share one */
}

/* The second time all is found. */
static void what_was_filled_is_found(void **state)
{
    (void)state;
    struct guest g;
    if (make(&g, a_page_each, (size_t)(a_page_each_end - a_page_each), true)) {
        struct cpu *cpu = g.vm.cpus[0];
        run(&g, false);
        struct tlb before = tlb_of(&g);
        cpu->state.rip = GUEST_CODE;
        cpu->state.gpr[REG_RDI] = DATA;
        assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
        assert_int_equal(tlb_of(&g).lookups - before.lookups, 100);
        assert_int_equal(tlb_of(&g).misses, before.misses);
    }
    guest_free(&g);
}

static const struct hy_counter_info *info_of(const struct hy_counter *c)
{
    const struct hy_counter_info *info;
    for (size_t i = 0; (info = cpu_counter_info(i)); i++)
        if (!strcmp(info->group, c->group) && (!strcmp(info->name, "*") || !strcmp(info->name, c->name)))
            return info;
    return NULL;
}

static bool is_there(const struct hy_counter *c, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(c[i].name, name))
            return true;
    return false;
}

/* Where nothing is counted there is no 0 that could be taken for a count. */
static void counters_have_meanings(void **state)
{
    (void)state;
    for (unsigned counts = 0; counts < 2; counts++) {
        struct guest g;
        struct hy_counter c[200];
        bool translates = make(&g, same_page, (size_t)(same_page_end - same_page), counts);
        if (translates)
            run(&g, false);
        size_t n = cpu_counters(g.vm.cpus[0], c, ARRAY_LEN(c));
        assert_in_range(n, 10, ARRAY_LEN(c));
        for (size_t i = 0; i < n; i++)
            if (!info_of(&c[i]) || strlen(info_of(&c[i])->meaning) < 10)
                fail_msg("%s %s has no meaning", c[i].group, c[i].name);
        assert_int_equal(is_there(c, n, "tlb_lookups"), translates && counts);
        assert_int_equal(is_there(c, n, "tlb_misses"), translates);
        assert_true(is_there(c, n, "space_switches_kept"));
        guest_free(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(look_ups_are_counted), cmocka_unit_test(what_was_filled_is_found), cmocka_unit_test(counters_have_meanings),
    };
    return cmocka_run_group_tests_name("counters", tests, NULL, NULL);
}
