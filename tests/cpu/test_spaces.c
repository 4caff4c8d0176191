/* SPDX-License-Identifier: MIT */
/* Address spaces by PCID: two that show different memory at one address take turns, and what was kept of one that was left goes when it must.
 * The TLB of the interpreter keeps nothing, so these mean most where code is translated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest.h"

#include "cpu/mmu_private.h"

/* Linear 0x800000 and on: a page table of each space; below, both show memory as it is. */
enum { DATA = 0x800000, CODE = 0x801000, FRAME = 0xa00000, PAGE = 0x1000 };
enum { ROOT = 0x20000 /* PML4, PDPT, PD, PT of each space */, SPACE = 0x4000, P = 1, W = 2 };
#define KEEP BIT(63)

static uint64_t root(unsigned space) { return ROOT + space * SPACE; }
static uint64_t cr3(unsigned space) { return root(space) | (space + 1); }

static void map(struct guest *g, unsigned space, uint64_t linear, uint64_t frame)
{
    store_le64(g->bytes + root(space) + 0x3000 + (linear >> 12 & 511) * 8, frame | P | W);
}

static void space_make(struct guest *g, unsigned space)
{
    uint8_t *at = g->bytes + root(space);
    memset(at, 0, SPACE);
    store_le64(at, (root(space) + 0x1000) | P | W);
    store_le64(at + 0x1000, (root(space) + 0x2000) | P | W);
    memcpy(at + 0x2000, g->bytes + 0x3000, PAGE);
    store_le64(at + 0x2000 + 4 * 8, (root(space) + 0x3000) | P | W);
    map(g, space, DATA, FRAME + space * PAGE);
    map(g, space, CODE, FRAME + 0x10000 + space * PAGE);
}

static struct cpu *spaces_make(struct guest *g)
{
    guest_make(g, 1, 64);
    space_make(g, 0);
    space_make(g, 1);
    struct cpu *cpu = g->vm.cpus[0];
    cpu->state.cr3 = cr3(0);
    cpu->state.cr4 |= CR4_PCIDE;
    cpu_tlb_flush_all(cpu);
    cpu->state.gpr[REG_R8] = cr3(0) | KEEP;
    cpu->state.gpr[REG_R8 + 1] = cr3(1) | KEEP;
    return cpu;
}

static void run_at(struct guest *g, uint64_t at)
{
    g->vm.cpus[0]->state.rip = at;
    assert_int_equal(guest_run(g, 0), HY_EXIT_HALT);
}

GUEST_PROGRAM(take_turns, "mov $100, %ecx; mov $0x800000, %edi; xor %eax, %eax; xor %ebx, %ebx;"
                          "1: mov %r8, %cr3; add (%rdi), %rax; incq 8(%rdi); mov %rdi, %rdx; inc %rdx;"
                          "mov %r9, %cr3; add (%rdi), %rbx; incq 8(%rdi); mov %rdi, %rdx; inc %rdx; dec %ecx; jnz 1b; mov %r8, %cr3; hlt");

static void each_space_has_its_memory(void **state)
{
    (void)state;
    struct guest g;
    struct cpu *cpu = spaces_make(&g);
    GUEST_PUT(&g, GUEST_CODE, take_turns);
    store_le64(g.bytes + FRAME, 1);
    store_le64(g.bytes + FRAME + PAGE, 1000);
    run_at(&g, GUEST_CODE);
    assert_int_equal(cpu->state.gpr[REG_RAX], 100);
    assert_int_equal(cpu->state.gpr[REG_RBX], 100000);
    assert_int_equal(load_le64(g.bytes + FRAME + 8), 100);
    assert_int_equal(load_le64(g.bytes + FRAME + PAGE + 8), 100);
    assert_int_equal(cpu->mmu->statistics.space_switches, 200);
    assert_int_equal(cpu->mmu->statistics.space_switches_kept, 199);
    guest_free(&g);
}

GUEST_PROGRAM(look, "mov %r9, %cr3; mov $0x800000, %edi; mov (%rdi), %rbx; mov %rdi, %rdx; mov %r8, %cr3; hlt");
GUEST_PROGRAM(invalidate, "mov $0x700000, %esi; invpcid (%rsi), %r10; mov %rdi, %rdx; hlt");
GUEST_PROGRAM(reload, "mov %r10, %cr3; mov %rdi, %rdx; mov %r8, %cr3; hlt");

/* The second space's page is shown elsewhere; what is at `flush` runs in the first space, which knows its page too. */
static void check_flush(uint64_t flush, uint64_t r10, uint64_t pcid, bool global_too)
{
    struct guest g;
    struct cpu *cpu = spaces_make(&g);
    GUEST_PUT(&g, GUEST_CODE, look);
    GUEST_PUT(&g, GUEST_CODE + 0x1000, invalidate);
    GUEST_PUT(&g, GUEST_CODE + 0x2000, reload);
    store_le64(g.bytes + FRAME + PAGE, 5);
    store_le64(g.bytes + FRAME + 2 * PAGE, 6);
    store_le64(g.bytes + 0x700000, pcid);
    store_le64(g.bytes + 0x700008, DATA);
    if (global_too)
        cpu->state.cr4 |= CR4_PGE;
    cpu_tlb_flush_all(cpu);
    run_at(&g, GUEST_CODE);
    run_at(&g, GUEST_CODE);
    assert_int_equal(cpu->state.gpr[REG_RBX], 5);
    map(&g, 1, DATA, FRAME + 2 * PAGE);
    cpu->state.gpr[REG_R8 + 2] = r10;
    run_at(&g, flush);
    run_at(&g, GUEST_CODE);
    assert_int_equal(cpu->state.gpr[REG_RBX], 6);
    guest_free(&g);
}

static void what_is_kept_goes_when_it_must(void **state)
{
    (void)state;
    check_flush(GUEST_CODE + 0x1000, 0, 2, false); /* INVPCID: an address, a PCID, all, all but what is global */
    check_flush(GUEST_CODE + 0x1000, 1, 2, false);
    check_flush(GUEST_CODE + 0x1000, 2, 0, true);
    check_flush(GUEST_CODE + 0x1000, 3, 0, true);
    check_flush(GUEST_CODE + 0x2000, cr3(1), 0, false); /* MOV to CR3 without bit 63 */
}

GUEST_PROGRAM(run_each, "mov $50, %ecx; xor %ebx, %ebx; mov $0x801000, %esi;"
                        "1: mov %r8, %cr3; mov %rbx, %rdx; call 2f; mov %r9, %cr3; mov %rbx, %rdx; call 2f; dec %ecx; jnz 1b; mov %r8, %cr3; hlt;"
                        "2: call . + 0x701000 - (2b - run_each); nop; call *%rsi; ret");
GUEST_PROGRAM(add_one, "inc %rbx; mov %rbx, %rdx; nop; ret");
GUEST_PROGRAM(add_thousand, "add $1000, %rbx; mov %rbx, %rdx; ret");

static void each_space_has_its_code(void **state)
{
    (void)state;
    struct guest g;
    struct cpu *cpu = spaces_make(&g);
    GUEST_PUT(&g, GUEST_CODE, run_each);
    GUEST_PUT(&g, FRAME + 0x10000, add_one);
    GUEST_PUT(&g, FRAME + 0x11000, add_thousand);
    run_at(&g, GUEST_CODE);
    assert_int_equal(cpu->state.gpr[REG_RBX], 100 + 100000);
    run_at(&g, GUEST_CODE);
    assert_int_equal(cpu->state.gpr[REG_RBX], 100 + 100000);
    guest_free(&g);
}

GUEST_PROGRAM(write_code, "mov $40, %ecx; xor %ebx, %ebx; mov $0x800000, %edi; mov $0x801000, %esi; "
                          "1: mov %r9, %cr3; mov %rcx, %rdx; mov %cl, 1(%rdi); mov %rdi, %rdx; nop;" /* the second space may write what the first one runs */
                          "mov %r8, %cr3; mov %rcx, %rdx; call *%rsi; add %rax, %rbx; dec %ecx; jnz 1b; hlt");
GUEST_PROGRAM(answer, "mov $0, %eax; mov %rax, %rdx; ret");

static void stores_of_another_space_change_code(void **state)
{
    (void)state;
    struct guest g;
    struct cpu *cpu = spaces_make(&g);
    GUEST_PUT(&g, GUEST_CODE, write_code);
    GUEST_PUT(&g, FRAME + 0x10000, answer);
    map(&g, 1, DATA, FRAME + 0x10000);
    cpu_tlb_flush_all(cpu);
    run_at(&g, GUEST_CODE);
    assert_int_equal(cpu->state.gpr[REG_RBX], 40 * 41 / 2);
    guest_free(&g);
}

/* More spaces than are kept, each with a value of its own. */
GUEST_PROGRAM(go_round, "mov $30, %ecx; xor %ebx, %ebx; mov $0x800000, %edi;"
                        "1: mov $0x700000, %esi; 2: mov (%rsi), %rax; test %rax, %rax; jz 3f; mov %rax, %cr3; mov %rbx, %rdx; add (%rdi), %rbx; add $8, %rsi; jmp 2b;"
                        "3: dec %ecx; jnz 1b; hlt");

static void check_round(unsigned count)
{
    struct guest g;
    struct cpu *cpu = spaces_make(&g);
    GUEST_PUT(&g, GUEST_CODE, go_round);
    uint64_t sum = 0;
    for (unsigned i = 0; i < count; i++) {
        space_make(&g, i);
        store_le64(g.bytes + FRAME + i * PAGE, UINT64_C(1) << 3 * i);
        store_le64(g.bytes + 0x700000 + i * 8, cr3(i) | KEEP);
        sum += UINT64_C(30) << 3 * i;
    }
    cpu_tlb_flush_all(cpu);
    run_at(&g, GUEST_CODE);
    assert_int_equal(cpu->state.gpr[REG_RBX], sum);
    guest_free(&g);
}

static void more_spaces_than_are_kept(void **state)
{
    (void)state;
    check_round(TLB_SPACES + 1); /* the next is always the one that was left first */
    check_round(TLB_SPACES + 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_space_has_its_memory), cmocka_unit_test(what_is_kept_goes_when_it_must), cmocka_unit_test(each_space_has_its_code),
        cmocka_unit_test(stores_of_another_space_change_code), cmocka_unit_test(more_spaces_than_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
