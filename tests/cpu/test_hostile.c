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

/* What looks like a step of a look-up, in registers of the guest's that it goes on to use as addresses: the verifier is to follow it. In each program another block is
 * the one whose translation is large. */
#define NUMBERS(name, skip) \
    GUEST_PROGRAM(name, skip "mov $20, %ebp; 1: mov $0x300800000, %rax; mov $0x300800, %rsi; mov $0x18041000, %edi; mov $0x18040020, %edx; jmp 2f;" \
                             "2: shr $12, %rax; mov (%rax), %rcx; mov %rax, %r10; mov 8(%r10), %r11; shr $7, %rdi; add (%rdi), %rcx;" \
                             "shr $7, %rdx; and $0x1fffe0, %edx; add (%rdx), %r11; mov %rdx, 8(%rsi); dec %ebp; jnz 1b; hlt")
NUMBERS(numbers, "");
NUMBERS(other_numbers, "jmp . + 2;");

static void check_numbers(const uint8_t *program, const uint8_t *end)
{
    struct guest g;
    guest_make(&g, 1, 64);
    const uint64_t *gpr = g.vm.cpus[0]->state.gpr;
    store_le64(g.bytes + 0x300800, 1);
    store_le64(g.bytes + 0x18041000 / 128, 2);
    store_le64(g.bytes + (0x18040020 / 128 & 0x1fffe0), 3);
    guest_put(&g, GUEST_CODE, program, (size_t)(end - program));
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr[REG_RCX], load_le64(g.bytes + 0x300800) + load_le64(g.bytes + 0x18041000 / 128));
    assert_int_equal(gpr[REG_R8 + 3], gpr[REG_RDX] + load_le64(g.bytes + gpr[REG_RDX]));
    guest_free(&g);
}

static void page_numbers_are_addresses(void **state)
{
    (void)state;
    check_numbers(numbers, numbers_end);
    check_numbers(other_numbers, other_numbers_end);
}

/* ---- a block over two pages that the kernel jumps to: the byte 0xb8 (MOV EAX, imm32) and one more at the first page's end, the rest in the next ------------------------ */

enum { TABLE = 0x20000 /* of each of two spaces: PML4, PDPT, PD, PT */, SPACE = 0x4000, CROSSING = 0x801ffe, FRAME = 0xa00000, PAGE = 0x1000, P = 1, W = 2, GLOBAL = 0x100 };
#define KEEP BIT(63)

static uint64_t space_at(unsigned space) { return TABLE + space * SPACE; }

static void map(struct guest *g, unsigned space, uint64_t linear, uint64_t entry) { store_le64(g->bytes + space_at(space) + 0x3000 + (linear >> 12 & 511) * 8, entry); }

/* Memory as it is, in global pages, but for 2 MiB from 0x800000 on. */
static void space_make(struct guest *g, unsigned space)
{
    uint8_t *at = g->bytes + space_at(space);
    memset(at, 0, SPACE);
    store_le64(at, (space_at(space) + 0x1000) | P | W);
    store_le64(at + 0x1000, (space_at(space) + 0x2000) | P | W);
    for (unsigned i = 0; i < 512; i++)
        store_le64(at + 0x2000 + i * 8, load_le64(g->bytes + 0x3000 + i * 8) | GLOBAL);
    store_le64(at + 0x2000 + 4 * 8, (space_at(space) + 0x3000) | P | W);
    map(g, space, CROSSING, FRAME | P | W | GLOBAL);
}

static void put_crossing(struct guest *g, uint64_t first, uint8_t low, uint64_t second, uint8_t high)
{
    guest_put(g, first + 0xffe, (const uint8_t[]){ 0xb8, low }, 2);
    guest_put(g, second, (const uint8_t[]){ high, 0, 0, 0x90, 0x90, 0xc3 }, 6);
}

static struct cpu *spaces_make(struct guest *g)
{
    guest_make(g, 1, 64);
    space_make(g, 0);
    space_make(g, 1);
    struct cpu *cpu = g->vm.cpus[0];
    cpu->state.cr3 = space_at(0) | 1;
    cpu->state.cr4 |= CR4_PCIDE | CR4_PGE;
    cpu_state_changed(cpu);
    cpu_tlb_flush_all(cpu);
    return cpu;
}

GUEST_PROGRAM(each_crossing, "mov $100, %ecx; xor %ebx, %ebx; mov $0x801ffe, %esi;"
                             "1: mov %r8, %cr3; mov %rbx, %rdx; call 2f; mov %r9, %cr3; mov %rbx, %rdx; call 2f; dec %ecx; jnz 1b; hlt;"
                             "2: mov %rbx, %rdx; nop; call 3f; add %rax, %rbx; ret; 3: mov %rdx, %rdx; jmp *%rsi");

/* The first page is global, the second is each space's own. */
static void code_goes_on_in_its_space(void **state)
{
    (void)state;
    struct guest g;
    struct cpu *cpu = spaces_make(&g);
    for (unsigned space = 0; space < 2; space++) {
        put_crossing(&g, FRAME, 1, FRAME + (1 + space) * PAGE, (uint8_t)space);
        map(&g, space, CROSSING + PAGE, (FRAME + (1 + space) * PAGE) | P | W);
    }
    cpu->state.gpr[REG_R8] = cpu->state.cr3 | KEEP;
    cpu->state.gpr[REG_R8 + 1] = space_at(1) | 2 | KEEP;
    GUEST_PUT(&g, GUEST_CODE, each_crossing);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(cpu->state.gpr[REG_RBX], 100 * (0x001 + 0x101));
    guest_free(&g);
}

GUEST_PROGRAM(forget_crossing, "invlpg 0x802000; hlt");

/* Both pages are global at first. */
static void code_stops_to_be_global(void **state)
{
    (void)state;
    struct guest g;
    struct cpu *cpu = spaces_make(&g);
    put_crossing(&g, FRAME, 1, FRAME + PAGE, 0);
    put_crossing(&g, FRAME, 1, FRAME + 2 * PAGE, 1);
    for (unsigned space = 0; space < 2; space++)
        map(&g, space, CROSSING + PAGE, (FRAME + PAGE) | P | W | GLOBAL);
    cpu->state.gpr[REG_R8] = cpu->state.cr3 | KEEP;
    cpu->state.gpr[REG_R8 + 1] = space_at(1) | 2 | KEEP;
    GUEST_PUT(&g, GUEST_CODE, each_crossing);
    GUEST_PUT(&g, GUEST_CODE + 0x1000, forget_crossing);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(cpu->state.gpr[REG_RBX], 100 * (0x001 + 0x001));
    for (unsigned space = 0; space < 2; space++)
        map(&g, space, CROSSING + PAGE, (FRAME + (1 + space) * PAGE) | P | W);
    cpu->state.rip = GUEST_CODE + 0x1000;
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    cpu->state.rip = GUEST_CODE;
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(cpu->state.gpr[REG_RBX], 100 * (0x001 + 0x101));
    guest_free(&g);
}

GUEST_PROGRAM(crossing_moves, "mov $100, %ecx; xor %ebx, %ebx; mov $0x801ffe, %esi; mov $0x23008, %edi;"
                              "1: mov %r8, (%rdi,%rbp); invlpg 0x801000(%r10); mov %rbx, %rdx; call 2f;"
                              "mov %r9, (%rdi,%rbp); invlpg 0x801000(%r10); mov %rbx, %rdx; call 2f; dec %ecx; jnz 1b; hlt;"
                              "2: mov %rbx, %rdx; nop; call 3f; add %rax, %rbx; ret; 3: mov %rdx, %rdx; jmp *%rsi");

/* Both pages are global; one of them is shown elsewhere. */
static void check_invlpg(unsigned page)
{
    struct guest g;
    struct cpu *cpu = spaces_make(&g);
    put_crossing(&g, FRAME, 1, FRAME + PAGE, 1);
    put_crossing(&g, FRAME + 2 * PAGE, 7, FRAME + 3 * PAGE, 7);
    map(&g, 0, CROSSING + PAGE, (FRAME + PAGE) | P | W | GLOBAL);
    cpu->state.gpr[REG_RBP] = page * 8;
    cpu->state.gpr[REG_R8] = (FRAME + page * PAGE) | P | W | GLOBAL;
    cpu->state.gpr[REG_R8 + 1] = (FRAME + (2 + page) * PAGE) | P | W | GLOBAL;
    cpu->state.gpr[REG_R8 + 2] = page * PAGE;
    GUEST_PUT(&g, GUEST_CODE, crossing_moves);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(cpu->state.gpr[REG_RBX], 100 * (0x101 + (page ? 0x701 : 0x107)));
    guest_free(&g);
}

static void invlpg_of_either_page_is_heard(void **state)
{
    (void)state;
    check_invlpg(0);
    check_invlpg(1);
}

/* ---- one page of code at two addresses of one space, with another page behind it at each ------------------------------------------------------------------------------- */

/* The first page ends in an instruction over both; before that is a jump to the next page. */
GUEST_PROGRAM(shown_page, "mov %rdx, %rdx; mov %rdx, %rdx; nop; jmp . + 0x100");
#define CALLS_BOTH(name, skip) \
    GUEST_PROGRAM(name, skip "mov $100, %ecx; 1: mov $0x801f80, %esi; call *%rsi; mov $0x811f80, %esi; call *%rsi;" \
                             "mov $0x801ffe, %esi; call *%rsi; add %rax, %rbx; mov $0x811ffe, %esi; call *%rsi; add %rax, %rbx; dec %ecx; jnz 1b; hlt")
CALLS_BOTH(calls_both, "");
CALLS_BOTH(other_calls_both, "jmp . + 2;");

static void check_shown_twice(const uint8_t *program, const uint8_t *end)
{
    struct guest g;
    struct cpu *cpu = spaces_make(&g);
    GUEST_PUT(&g, FRAME + 0xf80, shown_page);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t behind = FRAME + (1 + i) * PAGE;
        put_crossing(&g, FRAME, 1, behind, (uint8_t)i);
        guest_put(&g, behind + (uint64_t)(shown_page_end - shown_page - 5) - 0x80 + 0x100, i ? "\x48\x81\xc3\0\0\1\0\xc3" : "\x48\x81\xc3\0\0\2\0\xc3" /* ADD RBX; RET */, 8);
        map(&g, 0, CROSSING + i * 0x10000, FRAME | P | W | GLOBAL);
        map(&g, 0, CROSSING + i * 0x10000 + PAGE, behind | P | W | GLOBAL);
    }
    guest_put(&g, GUEST_CODE, program, (size_t)(end - program));
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(cpu->state.gpr[REG_RBX], 100 * (0x30000 + 0x001 + 0x101));
    guest_free(&g);
}

static void code_goes_on_where_it_is_shown(void **state)
{
    (void)state;
    check_shown_twice(calls_both, calls_both_end);
    check_shown_twice(other_calls_both, other_calls_both_end);
}

/* ---- CALL in the last bytes of the lower canonical half ------------------------------------------------------------------------------------------------------------------ */

/* The last CALL's return address is not canonical. It is called many times, and then, for the first time, returned to. Programs differ by a block, since every other
 * translation is large. */
#define RETURNS_BEHIND(name, skip) \
    GUEST_PROGRAM(name, "9:" skip "mov $100, %ecx; 1: mov $1, %ebx; jmp 5f; 2: xor %ebx, %ebx; call 3f; nop; dec %ecx; jnz 1b; xor %ebx, %ebx; jmp 5f;" \
                        "3: test %ebx, %ebx; jnz 4f; inc %eax; ret; 4: add $8, %rsp; jmp 2b; .skip 4096 - 5 - (. - 9b), 0x90; 5: call 3b")
RETURNS_BEHIND(returns_behind, "");
RETURNS_BEHIND(other_returns_behind, "mov %eax, %eax; jmp . + 2;");

/* RET faults, before it takes anything off the stack. */
static void check_return(const uint8_t *program, const uint8_t *end)
{
    struct guest g;
    guest_make(&g, 1, 64);
    struct cpu *cpu = g.vm.cpus[0];
    guest_put(&g, 0x5ff000, program, (size_t)(end - program));
    store_le64(g.bytes + 0x1000 + 255 * 8, 0x6000 | 7);
    store_le64(g.bytes + 0x6000 + 511 * 8, 0x7000 | 7);
    store_le64(g.bytes + 0x7000 + 511 * 8, 0x400000 | 0x87); /* 2 MiB */
    cpu->state.cpl = 3;
    cpu->state.rip = UINT64_C(0x7ffffffff000);
    cpu_state_changed(cpu);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_CRASH);
    assert_int_equal(g.bytes[0x400000 + (cpu->state.rip & 0x1fffff)], 0xc3);
    assert_int_equal(cpu->state.gpr[REG_RSP], GUEST_STACK - 8);
    assert_int_equal(cpu->state.gpr[REG_RAX], 101);
    guest_free(&g);
}

static void ret_to_no_canonical_address_faults(void **state)
{
    (void)state;
    check_return(returns_behind, returns_behind_end);
    check_return(other_returns_behind, other_returns_behind_end);
}

/* ---- a loop of one block with a string instruction whose elements lie across pages, which translated code leaves half done --------------------------------------------------- */

GUEST_PROGRAM(string_loop, "mov %rdi, %r8; mov %rcx, %r10; cmp %rax, %r11; mov $3, %ebx; 1: mov %r8, %rdi; mov %r10, %rcx; sub $7, %r11; cmp %r11, %rax; rep stosl;"
                           "setc %dl; adc $0, %r12; dec %ebx; jnz 1b; hlt");

static void string_in_a_loop_is_done_as_often(void **state)
{
    (void)state;
    for (unsigned skipped = 0; skipped < 2; skipped++) { /* every other translation is large */
        struct guest g;
        guest_make(&g, 1, 64);
        struct cpu_state *s = &g.vm.cpus[0]->state;
        guest_put(&g, GUEST_CODE, skipped ? "\x66\x90" : "\xeb\x00", 2);
        GUEST_PUT(&g, GUEST_CODE + 2, string_loop);
        s->gpr[REG_RAX] = 0x11223344;
        s->gpr[REG_RDI] = 0x30406b;
        s->gpr[REG_RCX] = 1188;
        assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
        assert_int_equal(s->gpr[REG_RBX], 0);
        assert_int_equal(s->gpr[REG_RDX], 1);
        guest_free(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_begin_at_a_displacement), cmocka_unit_test(page_numbers_are_addresses),
        cmocka_unit_test(code_goes_on_in_its_space), cmocka_unit_test(code_stops_to_be_global),
        cmocka_unit_test(invlpg_of_either_page_is_heard), cmocka_unit_test(code_goes_on_where_it_is_shown),
        cmocka_unit_test(ret_to_no_canonical_address_faults), cmocka_unit_test(string_in_a_loop_is_done_as_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
