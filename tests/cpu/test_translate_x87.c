/* SPDX-License-Identifier: MIT */
/* x87 and MMX in translated code: each program ends in the state that the interpreter ends in, FIP, FOP and tags included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "cpu/x87.h"
#include "guest.h"

enum { DATA = 0x300000, DATA_BYTES = 4096, GDT = 0x370000, IDT = 0x380000, HANDLER = 0x390000 };

/* A loop, comparisons, all kinds of memory operands; E0's FSIN and FNSTENV between. */
GUEST_PROGRAM(x87_plain, "mov $100, %ecx; fldl (%rbx); fldl 8(%rbx); 1: fmul %st(1), %st; fadds 16(%rbx); fisubl 20(%rbx); dec %ecx; jnz 1b;"
                         "fxch; fcomi %st(1), %st; setb %al; fcmovnbe %st(1), %st; fst %st(5); fnstsw %ax; fnstsw 200(%rbx); fsin; fstpt 64(%rbx); fldt 64(%rbx);"
                         "fnstenv 256(%rbx); fistpll 80(%rbx); filds 24(%rbx); fisttpl 88(%rbx); fldpi; fsqrt; fprem; fnclex; ffree %st(0); fincstp; fwait; hlt");
/* Rounding as programs change it, and one exception unmasked in between; at the end by way of FLDENV. */
GUEST_PROGRAM(x87_control, "fninit; fnstcw 100(%rbx); movzwl 100(%rbx), %eax; or $0xc00, %eax; mov %ax, 102(%rbx); fldl (%rbx); fldcw 102(%rbx); frndint; fistl 104(%rbx);"
                           "fldcw 100(%rbx); and $0xfffe, %eax; mov %ax, 102(%rbx); fldcw 102(%rbx); fld1; faddp; fnstcw 110(%rbx); fldcw 100(%rbx); fldz; fld1; fdivp;"
                           "fnstenv 128(%rbx); fldenv 128(%rbx); fld %st(0); fmulp; fstl 112(%rbx); hlt");
/* MMX and SSE over the same registers' other names, and x87 after EMMS. */
GUEST_PROGRAM(x87_mmx, "movq (%rbx), %mm0; movq 8(%rbx), %mm7; paddb %mm7, %mm0; punpcklbw 16(%rbx), %mm0;"
                       "movd %mm0, %r10d; pmovmskb %mm0, %r11d; movq2dq %mm0, %xmm3;"
                       "cvtpi2ps %mm7, %xmm4; pshufw $0x1b, %mm7, %mm2; movntq %mm2, 48(%rbx); movups 16(%rbx), %xmm5; addps %xmm4, %xmm5;"
                       "movdq2q %xmm5, %mm5; cvttps2pi %xmm5, %mm6;"
                       "jmp 1f; 1: addps %xmm5, %xmm4; jmp 2f; 2: fnstenv 256(%rbx); emms; fldl (%rbx); fstps 56(%rbx); movups %xmm4, 64(%rbx); hlt");
/* Stack faults, and what an empty register holds. */
GUEST_PROGRAM(x87_stack, "fninit; fstpl 32(%rbx); fld1; fldz; fld1; fldz; fld1; fldz; fld1; fldz; fldpi; fld %st(3);"
                         "fadd %st(6), %st; ffree %st(2); fxch %st(2); fxam;"
                         "fnstsw 60(%rbx);"
                         "fdecstp; fcompp; fucomip %st(2), %st; fchs; fabs; fscale; fxtract; fnsave 128(%rbx); frstor 128(%rbx); fbstp 300(%rbx); fbld 300(%rbx); hlt");
/* An invalid operation unmasked: the next instruction that waits is #MF. */
GUEST_PROGRAM(x87_unmasked, "fninit; movw $0x37e, 100(%rbx); fldz; fld %st(0); fldcw 100(%rbx); fdivp; fld1; fnop; hlt");
GUEST_PROGRAM(x87_handler, "fnstenv 256(%rbx); pop %r12; mov %rsp, %r13; hlt");

static void put_gate(struct guest *g, unsigned vector, uint64_t to, uint16_t cs)
{
    uint8_t gate[16] = { 0 };
    store_le16(gate, (uint16_t)to);
    store_le16(gate + 2, cs);
    gate[5] = 0x8e;
    store_le16(gate + 6, (uint16_t)(to >> 16));
    store_le32(gate + 8, (uint32_t)(to >> 32));
    guest_put(g, IDT + 16 * vector, gate, sizeof gate);
}

struct outcome { struct cpu_state state; uint8_t data[DATA_BYTES]; };

static void run(struct outcome *out, const uint8_t *program, const uint8_t *end)
{
    static const double numbers[] = { 1.0 - 1.0 / 1024, 0.7 };
    static const float number = 3.25f;
    struct guest g;
    guest_make(&g, 1, 64);
    struct cpu *cpu = g.vm.cpus[0];
    struct cpu_state *s = &cpu->state;
    s->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
    s->cr0 = (s->cr0 & ~(uint64_t)(CR0_EM | CR0_TS)) | CR0_NE | CR0_MP;
    cpu_state_changed(cpu);
    x87_init(&s->x87);
    s->mxcsr = 0x1f80;
    s->gpr[REG_RBX] = DATA;
    s->gdtr = (struct cpu_segment){ .base = GDT, .limit = 0xffff };
    s->idtr = (struct cpu_segment){ .base = IDT, .limit = 0xfff };
    s->seg[SEG_CS].selector = 8;
    store_le64(g.bytes + GDT + 8, UINT64_C(0x00af9b000000ffff));
    put_gate(&g, 16, HANDLER, 8);
    GUEST_PUT(&g, HANDLER, x87_handler);
    guest_put(&g, DATA, numbers, sizeof numbers);
    guest_put(&g, DATA + 16, &number, sizeof number);
    store_le32(g.bytes + DATA + 20, 77);
    store_le16(g.bytes + DATA + 24, 0xfff0);
    guest_put(&g, GUEST_CODE, program, (size_t)(end - program));
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    out->state = *s;
    memcpy(out->data, g.bytes + DATA, DATA_BYTES);
    guest_free(&g);
}

static void compare(const struct outcome *a, const struct outcome *b)
{
    const struct cpu_x87 *x = &a->state.x87, *y = &b->state.x87;
    assert_int_equal(a->state.rip, b->state.rip);
    assert_memory_equal(a->state.gpr, b->state.gpr, sizeof a->state.gpr);
    assert_memory_equal(a->state.vec, b->state.vec, sizeof a->state.vec);
    assert_int_equal(a->state.mxcsr, b->state.mxcsr);
    assert_int_equal(x->fcw, y->fcw);
    assert_int_equal(x->fsw, y->fsw);
    assert_int_equal(x->fop, y->fop);
    assert_int_equal(x->empty, y->empty);
    assert_int_equal(x->fip, y->fip);
    assert_int_equal(x->fdp, y->fdp);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(x->r[i].significand, y->r[i].significand);
        assert_int_equal(x->r[i].sign_exponent, y->r[i].sign_exponent);
    }
    assert_memory_equal(a->data, b->data, DATA_BYTES);
}

static void both(const uint8_t *program, const uint8_t *end)
{
    static const char *const engines[] = { "translate", "lockstep" };
    struct outcome interpreted, translated;
    setenv("CPU_ENGINE", "interpret", 1);
    run(&interpreted, program, end);
    for (unsigned i = 0; i < 2; i++) {
        setenv("CPU_ENGINE", engines[i], 1);
        run(&translated, program, end);
        compare(&interpreted, &translated);
    }
}
#define PROGRAM_TEST(name) static void name##_is_as_interpreted(void **state) { (void)state; both(name, name##_end); }
PROGRAM_TEST(x87_plain)
PROGRAM_TEST(x87_control)
PROGRAM_TEST(x87_mmx)
PROGRAM_TEST(x87_stack)
PROGRAM_TEST(x87_unmasked)

/* The exception's address is that of the instruction that waited, FIP's that of the one that was stopped. */
static void unmasked_exceptions_fault(void **state)
{
    struct outcome out;
    (void)state;
    setenv("CPU_ENGINE", "translate", 1);
    run(&out, x87_unmasked, x87_unmasked_end);
    assert_in_range(out.state.rip, HANDLER, HANDLER + 64);
    assert_true(load_le16(out.data + 256 + 4) & X87_ES);
}

/* The host's own x87 is as the ABI wants it afterwards. */
static void the_host_is_left_clean(void **state)
{
    struct outcome out;
    uint16_t fcw;
    uint8_t environment[28];
    (void)state;
    setenv("CPU_ENGINE", "translate", 1);
    run(&out, x87_mmx, x87_mmx_end);
    __asm__ volatile("fnstcw %0\n fnstenv %1\n fldenv %1" : "=m"(fcw), "=m"(environment));
    assert_int_equal(fcw, 0x37f);
    assert_int_equal(load_le16(environment + 8), 0xffff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(x87_plain_is_as_interpreted), cmocka_unit_test(x87_control_is_as_interpreted), cmocka_unit_test(x87_mmx_is_as_interpreted),
        cmocka_unit_test(x87_stack_is_as_interpreted), cmocka_unit_test(x87_unmasked_is_as_interpreted), cmocka_unit_test(unmasked_exceptions_fault),
        cmocka_unit_test(the_host_is_left_clean),
    };
    return cmocka_run_group_tests_name("translated x87", tests, NULL, NULL);
}
