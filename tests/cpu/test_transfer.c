/* SPDX-License-Identifier: MIT */
/* What Intel's processors do at the edges of far transfers and long operands, found by running them on one: the stack of a call from 64-bit to compatibility
 * mode, the order in which IRET and CMPS read, and what of a far pointer is checked first. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest.h"

enum { GDT = 0x8000, IDT = 0x9000, TSS = 0xa000, HANDLERS = 0x110000, TARGET = 0x120000, POINTER = 0x130000, KERNEL_STACK = 0x20000 };
enum { CODE64 = 0x08, DATA = 0x10, CODE32 = 0x18, USER64 = 0x23, USER_DATA = 0x2b, TSS_SEL = 0x30, HANDLER_STEP = 16 };
enum { ABSENT = 14 << 20 }; /* this 2 MiB page is not present */

static uint64_t *gpr(struct guest *g) { return g->vm.cpus[0]->state.gpr; }

static void make(struct guest *g)
{
    const uint64_t gdt[] = { 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff, 0x00affb000000ffff, 0x00cff3000000ffff, 0x0000890000000067 | TSS << 16, 0 };
    guest_make(g, 1, 64);
    memcpy(g->bytes + GDT, gdt, sizeof gdt);
    store_le32(g->bytes + TSS + 4, KERNEL_STACK);
    for (unsigned vector = 0; vector < 32; vector++) { /* each handler is a HLT */
        uint64_t at = HANDLERS + HANDLER_STEP * vector;
        store_le64(g->bytes + IDT + vector * 16, (at & 0xffff) | CODE64 << 16 | UINT64_C(0x8e) << 40 | (at >> 16) << 48);
        g->bytes[at] = 0xf4;
    }
    g->bytes[0x3000 + (ABSENT >> 21) * 8] = 0;
    struct cpu_state *s = &g->vm.cpus[0]->state;
    s->gdtr = (struct cpu_segment){ .base = GDT, .limit = 0x3f };
    s->idtr = (struct cpu_segment){ .base = IDT, .limit = 0x1ff };
    s->seg[SEG_TR] = (struct cpu_segment){ .base = TSS, .limit = 0x67, .selector = TSS_SEL, .attributes = 0x8b };
    s->seg[SEG_CS].selector = CODE64;
    s->seg[SEG_SS].selector = DATA;
}

/* User mode with alignment checks. */
static void enter_user(struct guest *g)
{
    struct cpu *cpu = g->vm.cpus[0];
    for (unsigned i = 0; i < 6; i++) {
        cpu->state.seg[i].selector = i == SEG_CS ? USER64 : USER_DATA;
        cpu->state.seg[i].attributes |= 3 << SEG_DPL_SHIFT;
    }
    cpu->state.cpl = 3;
    cpu->state.cr0 |= CR0_AM;
    cpu_flags_set(cpu, 2 | FLAG_AC);
    cpu_state_changed(cpu);
}

/* The vector of the exception that ended the run. */
static unsigned run_to_fault(struct guest *g)
{
    assert_int_equal(guest_run(g, 0), HY_EXIT_HALT);
    uint64_t at = g->vm.cpus[0]->state.rip - HANDLERS;
    assert_true(at < 32 * HANDLER_STEP);
    return (unsigned)(at / HANDLER_STEP);
}

static void put_far_pointer(struct guest *g, uint32_t offset, uint16_t selector)
{
    store_le32(g->bytes + POINTER, offset);
    store_le16(g->bytes + POINTER + 4, selector);
    gpr(g)[REG_RAX] = POINTER;
}

GUEST_PROGRAM(call_far, "lcall *(%rax)");
GUEST_PROGRAM(jump_far, "ljmp *(%rax)");
GUEST_PROGRAM(halt32, ".code32; mov %esp, %ebx; hlt");

static void a_call_to_compatibility_mode_pushes_below_4_gib(void **state)
{
    (void)state;
    struct guest g;
    make(&g);
    GUEST_PUT(&g, GUEST_CODE, call_far);
    GUEST_PUT(&g, TARGET, halt32);
    put_far_pointer(&g, TARGET, CODE32);
    gpr(&g)[REG_RSP] = UINT64_C(0x8000700000000) + GUEST_STACK; /* not even canonical */
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RSP], GUEST_STACK - 8);
    assert_int_equal(gpr(&g)[REG_RBX], GUEST_STACK - 8);
    assert_int_equal(load_le32(g.bytes + GUEST_STACK - 8), GUEST_CODE + 2);
    assert_int_equal(load_le32(g.bytes + GUEST_STACK - 4), CODE64);
    guest_free(&g);
}

static void a_faulting_call_leaves_the_stack_pointer(void **state)
{
    (void)state;
    struct guest g;
    make(&g);
    GUEST_PUT(&g, GUEST_CODE, call_far);
    put_far_pointer(&g, TARGET, CODE32);
    gpr(&g)[REG_RSP] = UINT64_C(0x700000000) + ABSENT + 0x1000;
    store_le64(g.bytes + IDT + EXC_PF * 16 + 4, (uint64_t)(HANDLERS >> 16) << 16 | 0x8e01); /* the handler's stack: IST1 */
    store_le32(g.bytes + TSS + 0x24, KERNEL_STACK);
    assert_int_equal(run_to_fault(&g), EXC_PF);
    assert_int_equal(g.vm.cpus[0]->state.cr2, ABSENT + 0xffc);
    assert_int_equal(load_le64(g.bytes + KERNEL_STACK - 16), UINT64_C(0x700000000) + ABSENT + 0x1000);
    guest_free(&g);
}

static void a_jump_to_compatibility_mode_cuts_the_stack_pointer(void **state)
{
    (void)state;
    struct guest g;
    make(&g);
    GUEST_PUT(&g, GUEST_CODE, jump_far);
    GUEST_PUT(&g, TARGET, halt32);
    put_far_pointer(&g, TARGET, CODE32);
    gpr(&g)[REG_RSP] = UINT64_C(0x700000000) + GUEST_STACK;
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RSP], GUEST_STACK);
    guest_free(&g);
}

GUEST_PROGRAM(iret64, "iretq");

/* Flags, CS, RIP; then SS and RSP. */
static void iret_reads_its_frame_from_the_end(void **state)
{
    (void)state;
    static const struct { unsigned words_before, faulting; } cases[] = { { 1, 2 }, { 2, 2 }, { 3, 4 }, { 4, 4 } };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct guest g;
        make(&g);
        GUEST_PUT(&g, GUEST_CODE, iret64);
        uint64_t rsp = ABSENT - 8 * cases[i].words_before;
        const uint64_t frame[] = { TARGET, CODE64, 2 };
        memcpy(g.bytes + rsp, frame, sizeof frame);
        gpr(&g)[REG_RSP] = rsp;
        assert_int_equal(run_to_fault(&g), EXC_PF);
        assert_int_equal(g.vm.cpus[0]->state.cr2, rsp + 8 * cases[i].faulting);
        guest_free(&g);
    }
}

GUEST_PROGRAM(compare_words, "repe cmpsw");

static void compare_reads_all_of_its_destination_first(void **state)
{
    (void)state;
    struct guest g;
    make(&g);
    GUEST_PUT(&g, GUEST_CODE, compare_words);
    gpr(&g)[REG_RCX] = 17;
    gpr(&g)[REG_RSI] = 0x7fffffffffff;
    gpr(&g)[REG_RDI] = ABSENT - 1;
    assert_int_equal(run_to_fault(&g), EXC_PF);
    assert_int_equal(g.vm.cpus[0]->state.cr2, ABSENT);
    guest_free(&g);
}

GUEST_PROGRAM(copy_none, "addr32 rep movsb; hlt");
GUEST_PROGRAM(store_none, "addr32 rep stosb; hlt");
GUEST_PROGRAM(load_none, "addr32 rep lodsb; hlt");

/* With 32-bit addresses the upper halves go, though nothing moves. */
static void strings_of_no_elements_cut_their_pointers(void **state)
{
    (void)state;
    static const struct { const uint8_t *code, *end; bool si, di; } cases[] = {
        { copy_none, copy_none_end, true, true }, { store_none, store_none_end, false, true }, { load_none, load_none_end, false, false },
    };
    const uint64_t high = UINT64_C(0x700001000);
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct guest g;
        make(&g);
        guest_put(&g, GUEST_CODE, cases[i].code, (size_t)(cases[i].end - cases[i].code));
        gpr(&g)[REG_RCX] = UINT64_C(0x800000000);
        gpr(&g)[REG_RSI] = gpr(&g)[REG_RDI] = high;
        assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
        assert_int_equal(gpr(&g)[REG_RCX], 0);
        assert_int_equal(gpr(&g)[REG_RSI], cases[i].si ? 0x1000 : high);
        assert_int_equal(gpr(&g)[REG_RDI], cases[i].di ? 0x1000 : high);
        guest_free(&g);
    }
}

GUEST_PROGRAM(load_far32, "lfs (%rax), %ebx");
GUEST_PROGRAM(load_far16, "lfs (%rax), %bx");
GUEST_PROGRAM(call_far_high, "lcall *(%rax)");
GUEST_PROGRAM(gather, "vpcmpeqd %xmm1, %xmm1, %xmm1; vpxor %xmm2, %xmm2, %xmm2; vgatherqpd %xmm1, (%rax,%xmm2), %xmm0");
GUEST_PROGRAM(load_halves, "vcvtph2ps (%rax), %xmm0");

static unsigned user_fault_at(const uint8_t *code, size_t len, uint64_t address)
{
    struct guest g;
    make(&g);
    guest_put(&g, GUEST_CODE, code, len);
    struct cpu_state *s = &g.vm.cpus[0]->state;
    s->cr4 |= CR4_OSXSAVE;
    s->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    enter_user(&g);
    gpr(&g)[REG_RAX] = address;
    unsigned vector = run_to_fault(&g);
    guest_free(&g);
    return vector;
}
#define USER_FAULT_AT(name, address) user_fault_at(name, (size_t)(name##_end - name), address)

static void alignment_goes_before_the_end_of_the_address_space(void **state)
{
    (void)state;
    const uint64_t end = UINT64_C(0x800000000000);
    assert_int_equal(USER_FAULT_AT(load_far32, end - 5), EXC_AC);  /* only the selector reaches beyond, the offset is not aligned */
    assert_int_equal(USER_FAULT_AT(load_far32, end - 4), EXC_GP);
    assert_int_equal(USER_FAULT_AT(load_far32, end + 1), EXC_GP);
    assert_int_equal(USER_FAULT_AT(load_far16, end - 2), EXC_GP);  /* two words, not one of 4 bytes */
    assert_int_equal(USER_FAULT_AT(load_far16, end - 1), EXC_AC);
    assert_int_equal(USER_FAULT_AT(call_far_high, end - 3), EXC_AC);
    assert_int_equal(USER_FAULT_AT(load_halves, end - 4), EXC_GP); /* never checked for alignment */
    assert_int_equal(USER_FAULT_AT(gather, end - 4), EXC_GP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_to_compatibility_mode_pushes_below_4_gib), cmocka_unit_test(a_faulting_call_leaves_the_stack_pointer),
        cmocka_unit_test(a_jump_to_compatibility_mode_cuts_the_stack_pointer), cmocka_unit_test(iret_reads_its_frame_from_the_end),
        cmocka_unit_test(strings_of_no_elements_cut_their_pointers),
        cmocka_unit_test(compare_reads_all_of_its_destination_first), cmocka_unit_test(alignment_goes_before_the_end_of_the_address_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
