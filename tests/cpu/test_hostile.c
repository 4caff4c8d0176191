/* SPDX-License-Identifier: MIT */
/* What only a guest does that means harm: addresses, code and page tables made so that a shortcut of the translator would reach what it must not, or go on with what is
 * gone. Each has one right outcome, whatever the engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest.h"

/* Two accesses that are near each other, though the first one's displacement is near the lowest: where both begin is no displacement from the first one's register any
 * more, and 4 GiB above it there is memory, too, whose translation is known. */
GUEST_PROGRAM(far_group,
    "mov $0x300800, %ebx; mov $5, %ebp; movabs $0x100300800, %rsi; 1: mov (%rsi), %rax; dec %ebp; jnz 1b; jmp 2f; nop; 2:"
    "add $0x7fffff00, %rbx; mov -0x7fffff00(%rbx), %rax; sub $0x7fffff00, %rbx; mov -500(%rbx), %rcx; mov -100(%rbx), %rdx; hlt");

static void groups_begin_at_a_displacement(void **state)
{
    (void)state;
    for (unsigned skipped = 0; skipped < 2; skipped++) { /* every other translation is small */
        struct guest g;
        guest_make(&g, 1, 64);
        const uint64_t *gpr = g.vm.cpus[0]->state.gpr;
        store_le64(g.bytes + 0x2000 + 4 * 8, 0x3000 | 7); /* 4 GiB and on: the same memory */
        store_le64(g.bytes + 0x300800, 1);
        store_le64(g.bytes + 0x300800 - 500, 2);
        store_le64(g.bytes + 0x300800 - 100, 3);
        guest_put(&g, GUEST_CODE, skipped ? "\x66\x90" : "\xeb\x00", 2);
        GUEST_PUT(&g, GUEST_CODE + 2, far_group);
        assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
        assert_int_equal(gpr[REG_RAX], 1);
        assert_int_equal(gpr[REG_RCX], 2);
        assert_int_equal(gpr[REG_RDX], 3);
        guest_free(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_begin_at_a_displacement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
