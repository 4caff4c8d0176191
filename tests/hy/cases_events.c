/* SPDX-License-Identifier: MIT */
/* Interrupts, NMIs, exceptions, HLT in each interrupt mode, crashes. */
#include "conformance.h"

static void halting_without_a_controller_exits(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);

    NEED_IRQ(rig, HY_IRQ_NONE);
    CODE(g, 0xf4, 0xb0, 1, 0xe6, 0x10, 0xfa, 0xf4); /* hlt; mov al, 1; out 0x10, al; cli; hlt */
    guest_real(g, CODE_AT);
    run_to(g->cpu, HY_EXIT_HALT);
    CHECK(reg_get(g->cpu, HY_PC) == CODE_AT + 1);
    run_to_out(g->cpu, 0x10, 1); /* run again: goes on */
    run_to(g->cpu, HY_EXIT_HALT);
}

static void *kick_soon(void *cpu)
{
    milliseconds(60);
    hy_kick(cpu);
    return NULL;
}

static void halt_until_kicked(struct rig *rig, uint32_t irq)
{
    struct guest *g = guest_new(rig, irq, 1);
    pthread_t thread;

    CODE(g, 0xfb, 0xf4, 0xb0, 1, 0xe6, 0x10); /* sti; hlt; mov al, 1; out 0x10, al */
    guest_real(g, CODE_AT);
    CHECK(!pthread_create(&thread, NULL, kick_soon, g->cpu));
    run_to(g->cpu, HY_EXIT_KICK);
    pthread_join(thread, NULL);
}

static void halting_with_a_controller_waits(struct rig *rig)
{
    if (!(rig->caps.irq & (HY_IRQ_CPU | HY_IRQ_FULL)))
        SKIP("no interrupt controllers below");
    if (rig->caps.irq & HY_IRQ_CPU)
        halt_until_kicked(rig, HY_IRQ_CPU);
    if (rig->caps.irq & HY_IRQ_FULL)
        halt_until_kicked(rig, HY_IRQ_FULL);
}

/* Real mode, handler at 0x1800: inc bx; out 0x11, al; iret */
static const uint8_t handler[] = {0x43, 0xe6, 0x11, 0xcf};

static void interrupts_are_injected(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    const struct hy_event event = {.kind = HY_EV_INTR, .vector = 0x40};
    hy_exit *x;

    NEED_IRQ(rig, HY_IRQ_NONE);
    /* sti; nop; out 0x10, al; out 0x12, al; hlt */
    CODE(g, 0xfb, 0x90, 0xe6, 0x10, 0xe6, 0x12, 0xf4);
    guest_write(g, 0x1800, handler, sizeof handler);
    guest_real(g, CODE_AT);
    guest_gate_real(g, 0x40, 0x1800);
    reg_set(g->cpu, HY_GPR(3), 0);
    CHECK_ERR(hy_inject(g->cpu, &event), HY_E_STATE); /* IF is 0 */
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->u.io.port == 0x10 && x->ready & 1);
    OK(hy_inject(g->cpu, &event));
    CHECK_ERR(hy_inject(g->cpu, &event), HY_E_STATE); /* one at a time */
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->u.io.port == 0x11 && !(x->ready & 1) && reg_get(g->cpu, HY_GPR(3)) == 1);
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->u.io.port == 0x12);
    run_to(g->cpu, HY_EXIT_HALT);
    OK(hy_inject(g->cpu, &event)); /* ends the halt */
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->u.io.port == 0x11);
}

static void windows_open(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    const struct hy_event event = {.kind = HY_EV_INTR, .vector = 0x40};
    hy_exit *x;

    NEED_IRQ(rig, HY_IRQ_NONE);
    /* cli; out 0x10, al; mov cx, 50; 1: loop 1b; sti; inc dx; 2: jmp 2b */
    CODE(g, 0xfa, 0xe6, 0x10, 0xb9, 50, 0, 0xe2, 0xfe, 0xfb, 0x42, 0xeb, 0xfe);
    guest_write(g, 0x1800, handler, sizeof handler);
    guest_real(g, CODE_AT);
    guest_gate_real(g, 0x40, 0x1800);
    reg_set(g->cpu, HY_GPR(2), 0);
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->u.io.port == 0x10 && !(x->ready & 1));
    CHECK_ERR(hy_window(g->cpu, 1u << 7), HY_E_INVAL);
    OK(hy_window(g->cpu, 1u << HY_EV_INTR));
    x = run_to(g->cpu, HY_EXIT_WINDOW);
    CHECK(x->ready & 1);
    CHECK(reg_get(g->cpu, HY_FLAGS) & 0x200);
    CHECK(reg_get(g->cpu, HY_GPR(2)) == 1); /* not in the shadow of STI */
    OK(hy_inject(g->cpu, &event));
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->u.io.port == 0x11);
    hy_kick(g->cpu); /* the request was done with: no second window */
    run_to(g->cpu, HY_EXIT_KICK);
}

static void nmis_are_injected(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    const struct hy_event event = {.kind = HY_EV_NMI};
    hy_exit *x;

    /* out 0x10, al; out 0x12, al; out 0x13, al; end. NMI handler: out 0x11, al; out 0x14, al; iret */
    CODE(g, 0xe6, 0x10, 0xe6, 0x12, 0xe6, 0x13, END);
    guest_write(g, 0x1800, (const uint8_t[]){0xe6, 0x11, 0xe6, 0x14, 0xcf}, 5);
    guest_real(g, CODE_AT);
    guest_gate_real(g, 2, 0x1800);
    run_to(g->cpu, HY_EXIT_IO);
    OK(hy_inject(g->cpu, &event));
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->u.io.port == 0x11);
    OK(hy_inject(g->cpu, &event)); /* held back until the IRET */
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->u.io.port == 0x14);
    x = run_to(g->cpu, HY_EXIT_IO);
    if (x->u.io.port != 0x11 && emulates)
        SKIP("this host's hypervisor emulates its guests, and does not take a second NMI at the IRET");
    CHECK(x->u.io.port == 0x11);
    run_to(g->cpu, HY_EXIT_IO);
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->u.io.port == 0x12);
}

static void exceptions_are_injected(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    const struct hy_event gp = {.kind = HY_EV_EXCEPTION, .vector = 13, .has_error = 1, .error = 0x1234};
    const struct hy_event pf = {.kind = HY_EV_EXCEPTION, .vector = 14, .has_error = 1, .error = 6, .addr = UINT64_C(0x7000123456)};
    hy_exit *x;

    NEED(rig, HY_CAN_SAVE);
    /* out 0x10, al; out 0x12, al; end. Handler of both: pop rax; out 0x11, eax; iretq */
    CODE(g, 0xe6, 0x10, 0xe6, 0x12, END);
    guest_write(g, 0x1800, (const uint8_t[]){0x58, 0xe7, 0x11, 0x48, 0xcf}, 5);
    guest_long(g, CODE_AT);
    guest_gate_long(g, 13, 0x1800);
    guest_gate_long(g, 14, 0x1800);
    run_to(g->cpu, HY_EXIT_IO);
    CHECK_ERR(hy_inject(g->cpu, &gp), HY_E_STATE); /* between exit and answer */
    OK(hy_finish(g->cpu, &x));
    OK(hy_inject(g->cpu, &gp));
    run_to_out(g->cpu, 0x11, 0x1234);
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->u.io.port == 0x12);
    OK(hy_finish(g->cpu, &x));
    OK(hy_inject(g->cpu, &pf));
    run_to_out(g->cpu, 0x11, 6);
    CHECK(reg_get(g->cpu, HY_CR(2)) == pf.addr);
    run_to_end(g->cpu);
}

static void messages_are_delivered(struct rig *rig)
{
    struct guest *g;
    hy_exit *x;

    NEED_IRQ(rig, HY_IRQ_CPU);
    g = guest_new(rig, HY_IRQ_CPU, 1);
    /* Protected mode, APIC enabled by the spurious vector register: mov dword [0xfee000f0], 0x1ff; sti; 1: hlt; jmp 1b
     * handler: inc ebx; mov eax, ebx; out 0x10, eax; mov dword [0xfee000b0], 0; iret */
    CODE(g, 0xc7, 0x05, 0xf0, 0, 0xe0, 0xfe, 0xff, 1, 0, 0, 0xfb, 0xe6, 0x12, 0xf4, 0xeb, 0xfd);
    guest_write(g, 0x1800, (const uint8_t[]){0x43, 0x89, 0xd8, 0xe7, 0x10, 0xc7, 0x05, 0xb0, 0, 0xe0, 0xfe, 0, 0, 0, 0, 0xcf}, 16);
    guest_protected(g, CODE_AT);
    guest_gate_protected(g, 0x55, 0x1800);
    reg_set(g->cpu, HY_GPR(3), 0);
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->u.io.port == 0x12);
    for (uint32_t i = 1; i < 20; i++) {
        OK(hy_msi(g->vm, 0xfee00000, 0x55, 0));
        run_to_out(g->cpu, 0x10, i);
    }
}

static void level_interrupts_report_their_end(struct rig *rig)
{
    struct guest *g;
    hy_exit *x;

    NEED_IRQ(rig, HY_IRQ_CPU);
    g = guest_new(rig, HY_IRQ_CPU, 1);
    CODE(g, 0xc7, 0x05, 0xf0, 0, 0xe0, 0xfe, 0xff, 1, 0, 0, 0xfb, 0xe6, 0x12, 0xf4, 0xeb, 0xfd);
    guest_write(g, 0x1800, (const uint8_t[]){0xe7, 0x10, 0xc7, 0x05, 0xb0, 0, 0xe0, 0xfe, 0, 0, 0, 0, 0xe7, 0x13, 0xcf}, 15);
    guest_protected(g, CODE_AT);
    guest_gate_protected(g, 0x66, 0x1800);
    OK(hy_route(g->vm, 5, 0xfee00000, 0xc066, 0)); /* an IOAPIC pin: level, asserted */
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->u.io.port == 0x12);
    OK(hy_msi(g->vm, 0xfee00000, 0xc066, 0));
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->u.io.port == 0x10);
    x = run_to(g->cpu, HY_EXIT_EOI);
    CHECK(x->u.eoi.vector == 0x66);
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->u.io.port == 0x13);
}

/* An 8259 above the local APIC: its INTR is a hy_inject, when LINT0 lets it in. */
static void external_interrupts_enter_by_lint0(struct rig *rig)
{
    const struct hy_event event = {.kind = HY_EV_INTR, .vector = 0x40};
    struct guest *g;
    hy_exit *x;

    NEED_IRQ(rig, HY_IRQ_CPU);
    g = guest_new(rig, HY_IRQ_CPU, 1);
    /* mov dword [0xfee000f0], 0x1ff; mov dword [0xfee00350], 0x10000 (masked); sti; nop; out 0x12, al; out 0x14, al; mov dword [0xfee00350], 0x700 (ExtINT);
     * out 0x13, al;
     * 1: nop; jmp 1b. Handler: out 0x11, al; 2: jmp 2b */
    CODE(g, 0xc7, 0x05, 0xf0, 0, 0xe0, 0xfe, 0xff, 1, 0, 0, 0xc7, 0x05, 0x50, 3, 0xe0, 0xfe, 0, 0, 1, 0, 0xfb, 0x90, 0xe6, 0x12, 0xe6, 0x14,
         0xc7, 0x05, 0x50, 3, 0xe0, 0xfe, 0, 7, 0, 0, 0xe6, 0x13, 0x90, 0xeb, 0xfd);
    guest_write(g, 0x1800, (const uint8_t[]){0xe6, 0x11, 0xeb, 0xfe}, 4);
    guest_protected(g, CODE_AT);
    guest_gate_protected(g, 0x40, 0x1800);
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->u.io.port == 0x12 && !(x->ready & 1));
    CHECK_ERR(hy_inject(g->cpu, &event), HY_E_STATE);
    OK(hy_window(g->cpu, 1u << HY_EV_INTR)); /* masked: no window yet */
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->u.io.port == 0x14);
    x = run(g->cpu);
    if (x->reason == HY_EXIT_IO && x->u.io.port == 0x13) /* the backend noticed LINT0 at an exit only */
        x = run(g->cpu);
    CHECK(x->reason == HY_EXIT_WINDOW);
    OK(hy_inject(g->cpu, &event));
    run_to_out(g->cpu, 0x11, (uint32_t)reg_get(g->cpu, HY_GPR(0)) & 0xff);
}

static void lines_are_delivered(struct rig *rig)
{
    struct guest *g;
    hy_exit *x;

    NEED_IRQ(rig, HY_IRQ_FULL);
    g = guest_new(rig, HY_IRQ_FULL, 1);
    /* The 8259: ICW1 0x11, ICW2 0x30, ICW3 4, ICW4 1, mask 0xfe; sti; out 0x112; 1: hlt; jmp 1b. Handler: out 0x10; EOI 0x20 to 0x20; iret */
    CODE(g, 0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x30, 0xe6, 0x21, 0xb0, 4, 0xe6, 0x21, 0xb0, 1, 0xe6, 0x21, 0xb0, 0xfe, 0xe6, 0x21, 0xfb, 0xe6, 0x12, 0xf4, 0xeb, 0xfd);
    guest_write(g, 0x1800, (const uint8_t[]){0xe6, 0x10, 0xb0, 0x20, 0xe6, 0x20, 0xcf}, 7);
    guest_real(g, CODE_AT);
    guest_gate_real(g, 0x30, 0x1800);
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->u.io.port == 0x12);
    for (int i = 0; i < 5; i++) {
        OK(hy_line(g->vm, 0, 1));
        OK(hy_line(g->vm, 0, 0));
        x = run_to(g->cpu, HY_EXIT_IO);
        CHECK(x->u.io.port == 0x10);
    }
    CHECK_ERR(hy_line(g->vm, 100, 1), HY_E_RANGE);
}

static void triple_faults_are_told(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    hy_reg idtr = HY_SEG(HY_IDTR);
    hy_val none = {.seg = {.limit = 0}};

    CODE(g, 0x0f, 0x0b); /* ud2 */
    guest_long(g, CODE_AT);
    OK(hy_set(g->cpu, &idtr, &none, 1));
    run_to(g->cpu, HY_EXIT_CRASH);
}

const struct test_case cases_events[] = {
    {"halting-without-a-controller-exits", halting_without_a_controller_exits},
    {"halting-with-a-controller-waits", halting_with_a_controller_waits},
    {"interrupts-are-injected", interrupts_are_injected},
    {"windows-open", windows_open},
    {"nmis-are-injected", nmis_are_injected},
    {"exceptions-are-injected", exceptions_are_injected},
    {"messages-are-delivered", messages_are_delivered},
    {"level-interrupts-report-their-end", level_interrupts_report_their_end},
    {"external-interrupts-enter-by-lint0", external_interrupts_enter_by_lint0},
    {"lines-are-delivered", lines_are_delivered},
    {"triple-faults-are-told", triple_faults_are_told},
    {NULL, NULL},
};
