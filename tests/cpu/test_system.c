/* SPDX-License-Identifier: MIT */
/* The system side with tiny guests: gates and stack switches of 32-bit protected mode, v8086 mode, double and triple faults, error codes, state checks, CPUID
 * and what masking its bits does. (64-bit mode, tasks and debug traps: kvm-unit-tests.) */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest.h"

#include "cpu/cpuid.h"
#include "cpu/debug.h"

enum { GDT = 0x8000, IDT = 0x9000, TSS = 0xa000, KERNEL = 0x110000, KERNEL_STACK = 0x20000, USER_STACK = 0x30000 };
enum { CODE0 = 0x08, DATA0 = 0x10, CODE3 = 0x1b, DATA3 = 0x23, TSS_SEL = 0x28, GATE_SEL = 0x30, ABSENT = 0x38, SMALL = 0x40, LIMIT = 0x47 };

static uint64_t *gpr(struct guest *g) { return g->vm.cpus[0]->state.gpr; }
static uint32_t word(struct guest *g, uint32_t at) { return load_le32(g->bytes + at); }

static void gate(struct guest *g, unsigned vector, uint32_t target, unsigned type, unsigned dpl)
{
    store_le64(g->bytes + IDT + vector * 8, (target & 0xffff) | (uint64_t)CODE0 << 16 | (uint64_t)(0x80 | dpl << 5 | type) << 40 | (uint64_t)(target >> 16) << 48);
}

static void tables(struct guest *g)
{
    const uint64_t gdt[] = {
        0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff, 0x0000890000000067 | TSS << 16,
        0x0000ec0200080000 | (KERNEL & 0xffff) | (uint64_t)(KERNEL >> 16) << 48, 0x00cf13000000ffff, 0x00409300000000ff,
    };
    memcpy(g->bytes + GDT, gdt, sizeof gdt);
    store_le32(g->bytes + TSS + 4, KERNEL_STACK);
    store_le32(g->bytes + TSS + 8, DATA0);
    store_le16(g->bytes + TSS + 102, 0x68); /* no I/O permission map */
    struct cpu_state *s = &g->vm.cpus[0]->state;
    s->gdtr = (struct cpu_segment){ .base = GDT, .limit = LIMIT };
    s->idtr = (struct cpu_segment){ .base = IDT, .limit = 0x7ff };
    s->seg[SEG_TR] = (struct cpu_segment){ .base = TSS, .limit = 0x67, .selector = TSS_SEL, .attributes = 0x8b };
    s->seg[SEG_CS].selector = CODE0;
    s->seg[SEG_SS].selector = s->seg[SEG_DS].selector = s->seg[SEG_ES].selector = DATA0;
}

static void user(struct guest *g)
{
    struct cpu *cpu = g->vm.cpus[0];
    for (unsigned i = 0; i < 6; i++) {
        cpu->state.seg[i].selector = i == SEG_CS ? CODE3 : DATA3;
        cpu->state.seg[i].attributes |= 3 << SEG_DPL_SHIFT;
    }
    cpu->state.cpl = 3;
    cpu->state.gpr[REG_RSP] = USER_STACK;
    cpu_state_changed(cpu);
}

GUEST_PROGRAM(call_gate, ".code32; push $0x1111; push $0x2222; lcall $0x33, $0; mov $0x99, %ecx; int $0x40");
GUEST_PROGRAM(gate_target, ".code32; mov 8(%esp), %eax; mov 12(%esp), %ebx; mov %cs, %edx; mov %ss, %esi; lret $8");
GUEST_PROGRAM(halt, "hlt");

static void a_call_gate_switches_stacks_and_copies_parameters(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 32);
    tables(&g);
    user(&g);
    GUEST_PUT(&g, GUEST_CODE, call_gate);
    GUEST_PUT(&g, KERNEL, gate_target);
    GUEST_PUT(&g, KERNEL + 0x100, halt);
    gate(&g, 0x40, KERNEL + 0x100, 14, 3);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RAX], 0x2222);
    assert_int_equal(gpr(&g)[REG_RBX], 0x1111);
    assert_int_equal(gpr(&g)[REG_RDX] & 0xffff, CODE0);
    assert_int_equal(gpr(&g)[REG_RSI] & 0xffff, DATA0);
    assert_int_equal(gpr(&g)[REG_RCX], 0x99);
    /* the INT's frame: EIP CS EFLAGS ESP SS; RET dropped both parameters */
    assert_int_equal(gpr(&g)[REG_RSP], KERNEL_STACK - 20);
    assert_int_equal(word(&g, KERNEL_STACK - 16), CODE3);
    assert_int_equal(word(&g, KERNEL_STACK - 8), USER_STACK);
    assert_int_equal(word(&g, KERNEL_STACK - 4), DATA3);
    guest_free(&g);
}

/* Runs `code` at CPL `cpl` with a gate that halts on `vector`; answers the pushed error code. */
static uint32_t fault_of(struct guest *g, const uint8_t *code, size_t len, unsigned cpl, unsigned vector)
{
    guest_enter(g, 0, 32, GUEST_CODE);
    tables(g);
    memset(g->bytes + IDT, 0, 0x800);
    if (cpl)
        user(g);
    else
        gpr(g)[REG_RSP] = KERNEL_STACK;
    guest_put(g, GUEST_CODE, code, len);
    GUEST_PUT(g, KERNEL + 0x100, halt);
    gate(g, vector, KERNEL + 0x100, 14, 0);
    assert_int_equal(guest_run(g, 0), HY_EXIT_HALT);
    assert_int_equal(word(g, (uint32_t)gpr(g)[REG_RSP] + 4), GUEST_CODE);
    assert_true(word(g, (uint32_t)gpr(g)[REG_RSP] + 12) & FLAG_RF);
    return word(g, (uint32_t)gpr(g)[REG_RSP]);
}
#define FAULT_OF(g, name, cpl, vector) fault_of(g, name, (size_t)(name##_end - name), cpl, vector)

GUEST_PROGRAM(f_absent, ".code32; .byte 0x8e, 0x18");       /* mov (%eax), %ds */
GUEST_PROGRAM(f_out, ".code32; out %al, $0x80");
GUEST_PROGRAM(f_hlt, ".code32; hlt");
GUEST_PROGRAM(f_int, ".code32; int $0x41");
GUEST_PROGRAM(f_far, ".code32; ljmp $0x48, $0");
GUEST_PROGRAM(f_far_data, ".code32; ljmp $0x10, $0");
GUEST_PROGRAM(f_far_absent, ".code32; lds 4, %ebx");

static void faults_have_their_error_codes(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 32);
    store_le16(g.bytes + 0, ABSENT);
    assert_int_equal(FAULT_OF(&g, f_absent, 0, EXC_NP), ABSENT);
    assert_int_equal(FAULT_OF(&g, f_out, 3, EXC_GP), 0);
    assert_int_equal(FAULT_OF(&g, f_hlt, 3, EXC_GP), 0);
    guest_free(&g);
}

static void gate_checks(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 32);
    assert_int_equal(FAULT_OF(&g, f_int, 0, EXC_GP), 0x41 * 8 + 2);
    assert_int_equal(FAULT_OF(&g, f_far, 0, EXC_GP), 0x48);
    assert_int_equal(FAULT_OF(&g, f_far_data, 0, EXC_GP), 0x10);
    store_le16(g.bytes + 8, ABSENT | 3);
    assert_int_equal(FAULT_OF(&g, f_far_absent, 0, EXC_GP), ABSENT); /* RPL 3 over DPL 0 goes before presence */
    guest_free(&g);
}

GUEST_PROGRAM(div_zero, ".code32; xor %ecx, %ecx; div %ecx");

static void double_and_triple_faults(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 32);
    tables(&g);
    gpr(&g)[REG_RSP] = KERNEL_STACK;
    GUEST_PUT(&g, GUEST_CODE, div_zero);
    GUEST_PUT(&g, KERNEL + 0x100, halt);
    gate(&g, EXC_DF, KERNEL + 0x100, 14, 0); /* #DE has no gate: #GP in delivering a contributory fault */
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(word(&g, (uint32_t)gpr(&g)[REG_RSP]), 0);
    assert_int_equal(word(&g, (uint32_t)gpr(&g)[REG_RSP] + 4), GUEST_CODE + 2);
    guest_enter(&g, 0, 32, GUEST_CODE);
    tables(&g);
    memset(g.bytes + IDT, 0, 0x800);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_CRASH);
    guest_free(&g);
}

GUEST_PROGRAM(enter_v86, ".code32; iretl");
GUEST_PROGRAM(v86_code, ".code16; mov $0x1234, %ax; mov %ax, %es; push %ax; pop %bx; mov %cs, %dx; int $0x21");
GUEST_PROGRAM(v86_handler, ".code32; hlt");

static void v8086_mode_enters_and_leaves(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 32);
    tables(&g);
    GUEST_PUT(&g, GUEST_CODE, enter_v86);
    GUEST_PUT(&g, 0x50000, v86_code);
    GUEST_PUT(&g, KERNEL + 0x100, v86_handler);
    gate(&g, 0x21, KERNEL + 0x100, 14, 3);
    const uint32_t frame[] = { 0, 0x5000, FLAG_VM | FLAG_IOPL | FLAG_IF | 2, 0x800, 0x6000, 0x11, 0x22, 0x33, 0x44 };
    gpr(&g)[REG_RSP] = KERNEL_STACK - 0x200;
    memcpy(g.bytes + KERNEL_STACK - 0x200, frame, sizeof frame);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RBX] & 0xffff, 0x1234);
    assert_int_equal(gpr(&g)[REG_RDX] & 0xffff, 0x5000);
    assert_int_equal(gpr(&g)[REG_RSP], KERNEL_STACK - 36);
    const uint32_t pushed[] = { v86_code_end - v86_code, 0x5000, FLAG_VM | FLAG_IOPL | FLAG_IF | 2, 0x800, 0x6000, 0x1234, 0x22, 0x33, 0x44 };
    assert_memory_equal(g.bytes + KERNEL_STACK - 36, pushed, sizeof pushed);
    assert_int_equal(g.vm.cpus[0]->state.seg[SEG_ES].selector, 0);
    assert_int_equal(g.vm.cpus[0]->state.cpl, 0);
    /* INT with IOPL below 3 is #GP(0) */
    guest_enter(&g, 0, 32, GUEST_CODE);
    tables(&g);
    gate(&g, EXC_GP, KERNEL + 0x100, 14, 0);
    store_le32(g.bytes + KERNEL_STACK - 0x200 + 8, FLAG_VM | 2);
    gpr(&g)[REG_RSP] = KERNEL_STACK - 0x200;
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RSP], KERNEL_STACK - 40);
    assert_int_equal(word(&g, KERNEL_STACK - 40), 0);
    guest_free(&g);
}

/* ---- state ------------------------------------------------------------------------------------------------------------------------------------------------ */

static void impossible_states_are_refused(void **state)
{
    (void)state;
    struct guest g;
    struct err err = { 0 };
    guest_make(&g, 1, 64);
    struct cpu *cpu = g.vm.cpus[0];
    assert_int_equal(cpu_state_check(cpu, &err), 0);
    const struct cpu_state good = cpu->state;
#define REFUSED(change)                                       \
    do {                                                      \
        cpu->state.change;                                    \
        assert_int_equal(cpu_state_check(cpu, &err), ERR_INPUT); \
        cpu->state = good;                                    \
    } while (0)
    REFUSED(cr0 &= ~(uint64_t)CR0_PE);
    REFUSED(cr4 &= ~(uint64_t)CR4_PAE);
    REFUSED(cr4 |= CR4_LA57);
    REFUSED(cr3 = BIT(52));
    REFUSED(efer &= ~(uint64_t)EFER_LMA);
    REFUSED(rflags |= FLAG_VM);
    REFUSED(rip = BIT(50));
    REFUSED(cpl = 4);
    REFUSED(seg[SEG_FS].base = BIT(60));
    REFUSED(seg[SEG_CS].attributes |= SEG_DB);
    REFUSED(gdtr.limit = 0x10000);
    REFUSED(lstar = BIT(47));
    REFUSED(xcr0 = 4 | 1);
    REFUSED(mxcsr = 0x10000);
    REFUSED(halted = 3);
    REFUSED(pending_db = BIT(20));
    guest_free(&g);
}

static void saved_state_comes_back(void **state)
{
    (void)state;
    struct guest g;
    struct err err = { 0 };
    static uint8_t first[8192], second[8192];
    guest_make(&g, 1, 64);
    struct cpu *cpu = g.vm.cpus[0];
    cpu->state.gpr[5] = 0x123456789;
    cpu->state.vec[7].q[3] = 99;
    size_t len = fields_save(cpu_fields, &cpu->state, first, sizeof first);
    assert_true(len <= sizeof first);
    cpu_reset(cpu, false);
    assert_int_equal(fields_load(cpu_fields, &cpu->state, first, len, &err), 0);
    assert_int_equal(fields_save(cpu_fields, &cpu->state, second, sizeof second), len);
    assert_memory_equal(first, second, len);
    guest_free(&g);
}

/* ---- CPUID ---------------------------------------------------------------------------------------------------------------------------------------------------- */

struct feature_case { uint32_t fn, sub; uint8_t reg, bit; const char *name; uint8_t code[12]; uint8_t len; };
enum { EAX, EBX, ECX, EDX };
#define C(...) { __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ })
static const struct feature_case feature_cases[] = {
    { 1, 0, EDX, 8, "cx8", C(0x0f, 0xc7, 0x0c, 0x24) }, { 1, 0, EDX, 15, "cmov", C(0x0f, 0x44, 0xc1) }, { 1, 0, EDX, 23, "mmx", C(0x0f, 0x77) },
    { 1, 0, EDX, 24, "fxsr", C(0x0f, 0xae, 0x04, 0x24) }, { 1, 0, EDX, 25, "sse", C(0x0f, 0x58, 0xc1) }, { 1, 0, EDX, 26, "sse2", C(0x66, 0x0f, 0x58, 0xc1) },
    { 1, 0, ECX, 0, "sse3", C(0x66, 0x0f, 0x7c, 0xc1) }, { 1, 0, ECX, 1, "pclmulqdq", C(0x66, 0x0f, 0x3a, 0x44, 0xc1, 0) },
    { 1, 0, ECX, 9, "ssse3", C(0x66, 0x0f, 0x38, 0x00, 0xc1) }, { 1, 0, ECX, 12, "fma", C(0xc4, 0xe2, 0x71, 0x98, 0xc2) },
    { 1, 0, ECX, 13, "cx16", C(0x48, 0x0f, 0xc7, 0x0c, 0x24) }, { 1, 0, ECX, 19, "sse4.1", C(0x66, 0x0f, 0x38, 0x29, 0xc1) },
    { 1, 0, ECX, 20, "sse4.2", C(0xf2, 0x0f, 0x38, 0xf1, 0xc1) }, { 1, 0, ECX, 22, "movbe", C(0x0f, 0x38, 0xf0, 0x04, 0x24) },
    { 1, 0, ECX, 23, "popcnt", C(0xf3, 0x0f, 0xb8, 0xc1) }, { 1, 0, ECX, 25, "aes", C(0x66, 0x0f, 0x38, 0xdc, 0xc1) },
    { 1, 0, ECX, 26, "xsave", C(0x0f, 0x01, 0xd0) }, { 1, 0, ECX, 28, "avx", C(0xc5, 0xf0, 0x58, 0xc2) },
    { 1, 0, ECX, 29, "f16c", C(0xc4, 0xe2, 0x79, 0x13, 0xc1) }, { 1, 0, ECX, 30, "rdrand", C(0x0f, 0xc7, 0xf0) },
    { 7, 0, EBX, 0, "fsgsbase", C(0xf3, 0x0f, 0xae, 0xc0) }, { 7, 0, EBX, 3, "bmi1", C(0xc4, 0xe2, 0x78, 0xf2, 0xc1) },
    { 7, 0, EBX, 5, "avx2", C(0xc5, 0xf5, 0xfe, 0xc2) }, { 7, 0, EBX, 8, "bmi2", C(0xc4, 0xe2, 0x7b, 0xf5, 0xc1) },
    { 7, 0, EBX, 10, "invpcid", C(0x66, 0x0f, 0x38, 0x82, 0x04, 0x24) }, { 7, 0, EBX, 18, "rdseed", C(0x0f, 0xc7, 0xf8) },
    { 7, 0, EBX, 19, "adx", C(0x66, 0x0f, 0x38, 0xf6, 0xc1) }, { 7, 0, EBX, 20, "smap", C(0x0f, 0x01, 0xca) },
    { 7, 0, EBX, 23, "clflushopt", C(0x66, 0x0f, 0xae, 0x3c, 0x24) }, { 7, 0, EBX, 24, "clwb", C(0x66, 0x0f, 0xae, 0x34, 0x24) },
    { 7, 0, EBX, 29, "sha", C(0x0f, 0x38, 0xc8, 0xc1) }, { 7, 0, ECX, 3, "pku", C(0x0f, 0x01, 0xee) }, { 7, 0, ECX, 9, "vaes", C(0xc4, 0xe2, 0x75, 0xdc, 0xc2) },
    { 7, 0, ECX, 10, "vpclmulqdq", C(0xc4, 0xe3, 0x75, 0x44, 0xc2, 0) }, { 7, 0, ECX, 22, "rdpid", C(0xf3, 0x0f, 0xc7, 0xf8) },
    { 7, 0, EDX, 14, "serialize", C(0x0f, 0x01, 0xe8) }, { 0xd, 1, EAX, 0, "xsaveopt", C(0x0f, 0xae, 0x34, 0x24) },
    { 0xd, 1, EAX, 1, "xsavec", C(0x0f, 0xc7, 0x24, 0x24) }, { 0xd, 1, EAX, 3, "xsaves", C(0x0f, 0xc7, 0x2c, 0x24) },
    { 0x80000001, 0, EDX, 27, "rdtscp", C(0x0f, 0x01, 0xf9) },
};

static unsigned run_code(struct guest *g, const struct feature_case *c)
{
    struct cpu *cpu = g->vm.cpus[0];
    const uint8_t halt_code = 0xf4;
    guest_enter(g, 0, 64, GUEST_CODE);
    cpu->state.cr4 |= CR4_OSXSAVE | CR4_FSGSBASE | CR4_PKE;
    cpu->state.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_PKRU;
    gpr(g)[REG_RSP] = 0x80000;
    memset(g->bytes + 0x80000, 0, 1024);
    cpu_state_changed(cpu);
    guest_put(g, GUEST_CODE, c->code, c->len);
    guest_put(g, GUEST_CODE + c->len, &halt_code, 1);
    cpu->trap_exceptions = UINT64_MAX;
    return guest_run(g, 0);
}

static uint32_t *register_of(struct hy_cpuid *leaf, unsigned reg)
{
    return reg == EAX ? &leaf->eax : reg == EBX ? &leaf->ebx : reg == ECX ? &leaf->ecx : &leaf->edx;
}

static void each_feature_works_and_can_be_masked(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(feature_cases); i++) {
        const struct feature_case *c = &feature_cases[i];
        struct guest g;
        struct err err = { 0 };
        uint32_t out[4];
        guest_make(&g, 1, 64);
        struct cpu *cpu = g.vm.cpus[0];
        cpu_cpuid(cpu, c->fn, c->sub, out);
        if (!(out[c->reg] >> c->bit & 1))
            fail_msg("%s is not told", c->name);
        unsigned reason = run_code(&g, c);
        if (reason != HY_EXIT_HALT)
            fail_msg("%s is told but does not work: exit %u, vector %u", c->name, reason, cpu->exit.u.exc.vector);
        struct hy_cpuid leaf = { .fn = c->fn, .sub = c->sub, .has_sub = c->fn == 7 || c->fn == 0xd, .eax = out[0], .ebx = out[1], .ecx = out[2], .edx = out[3] };
        *register_of(&leaf, c->reg) &= ~(UINT32_C(1) << c->bit);
        assert_int_equal(cpu_cpuid_set(cpu, &leaf, 1, &err), 0);
        cpu_free(cpu); /* a fresh one: blocks were decoded with the feature */
        assert_int_equal(cpu_new(&g.vm, 0, &cpu, &err), 0);
        assert_int_equal(cpu_cpuid_set(cpu, &leaf, 1, &err), 0);
        if (run_code(&g, c) != HY_EXIT_EXCEPTION || cpu->exit.u.exc.vector != EXC_UD)
            fail_msg("%s is masked but does not raise #UD", c->name);
        guest_free(&g);
    }
}

static void what_is_not_implemented_cannot_be_told(void **state)
{
    (void)state;
    struct guest g;
    struct err err = { 0 };
    uint32_t out[4];
    guest_make(&g, 1, 64);
    const struct hy_cpuid wish[] = { { 7, 0, 1, 0, UINT32_MAX, UINT32_MAX, UINT32_MAX }, { 1, 0, 0, 0, 0, UINT32_MAX, UINT32_MAX } };
    assert_int_equal(cpu_cpuid_set(g.vm.cpus[0], wish, 2, &err), 0);
    cpu_cpuid(g.vm.cpus[0], 7, 0, out);
    assert_int_equal(out[EBX] >> 26 & 1, 0); /* AVX512PF */
    cpu_cpuid(g.vm.cpus[0], 1, 0, out);
    assert_int_equal(out[ECX] >> 5 & 1, 0); /* VMX */
    guest_free(&g);
}

static void the_tsc_frequency_is_exact(void **state)
{
    (void)state;
    const uint64_t hz[] = { 1000000000, 2450000000, 2100000000, 2999998000, 3400000000, 4700000000 };
    for (unsigned i = 0; i < ARRAY_LEN(hz); i++) {
        struct hy_cpuid leaves[CPUID_LEAVES_MAX];
        size_t n = cpuid_defaults(2, hz[i], true, leaves, CPUID_LEAVES_MAX);
        for (size_t k = 0; k < n; k++) {
            if (leaves[k].fn != 0x15)
                continue;
            assert_true((uint64_t)leaves[k].ecx * leaves[k].ebx / leaves[k].eax == hz[i]);
            assert_true((uint64_t)(leaves[k].ecx / 1000) * leaves[k].ebx <= UINT32_MAX);
            assert_int_equal(leaves[k].ecx, cpuid_crystal_hz(hz[i]));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_gate_switches_stacks_and_copies_parameters), cmocka_unit_test(gate_checks), cmocka_unit_test(faults_have_their_error_codes),
        cmocka_unit_test(double_and_triple_faults), cmocka_unit_test(v8086_mode_enters_and_leaves), cmocka_unit_test(impossible_states_are_refused),
        cmocka_unit_test(saved_state_comes_back), cmocka_unit_test(each_feature_works_and_can_be_masked),
        cmocka_unit_test(what_is_not_implemented_cannot_be_told), cmocka_unit_test(the_tsc_frequency_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
