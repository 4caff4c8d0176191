/* SPDX-License-Identifier: MIT */
/* IRET from a kernel under SMAP: thousands of frames, most of them plain and the others with something wrong or unusual, on the interpreter and on translated code: all that the
 * guest can see afterwards must be the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "guest.h"

#include "cpu/translate/translate.h"

enum { GDT = 0x8000, IDT = 0x9000, TSS = 0xb000, HANDLERS = 0x110000, FRAMES = 0x180000, USER = 0x400000, CASES = 12000 };
enum { COPIES = 4 /* of the kernel's code, so that some translations are small */ };
enum { KERNEL_CODE = 0x08, KERNEL_DATA = 0x10, USER_DATA = 0x18, USER_CODE = 0x20, USER_CODE32 = 0x28, FRESH_DATA = 0x30, FRESH_CODE = 0x38, TSS_AT = 0x40 };

struct dice { uint64_t state; };

static uint64_t roll(struct dice *d, uint64_t sides)
{
    d->state = d->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (d->state >> 33) % sides;
}

static uint64_t pick(struct dice *d, const uint64_t *from, size_t count) { return from[roll(d, count)]; }
#define PICK(d, ...) pick(d, (const uint64_t[]){ __VA_ARGS__ }, sizeof((const uint64_t[]){ __VA_ARGS__ }) / 8)
static bool seldom(struct dice *d) { return roll(d, 16) == 0; }

GUEST_PROGRAM(return_there, "mov %rdi, %rsp; mov %rsp, %rax; iretq");
GUEST_PROGRAM(user_there, "mov %rsp, %rbx; pushf; mov %ds, %ecx; mov %fs, %edx; ud2");

static void tables_put(struct guest *g)
{
    static const uint64_t gdt[] = { 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff, 0x00cffb000000ffff, 0x00cff2000000ffff, 0x00affa000000ffff };
    memset(g->bytes + TSS, 0, 0x70);
    store_le64(g->bytes + TSS + 4, 0x70000); /* RSP0 */
    memcpy(g->bytes + GDT, gdt, sizeof gdt);
    store_le64(g->bytes + GDT + TSS_AT, UINT64_C(0x00008b0000000067) | (uint64_t)(TSS & 0xffffff) << 16);
    store_le64(g->bytes + GDT + TSS_AT + 8, 0);
    for (unsigned i = 0; i < 256; i++) {
        uint64_t at = HANDLERS + i * 16;
        store_le64(g->bytes + IDT + i * 16, (at & 0xffff) | KERNEL_CODE << 16 | UINT64_C(0x8e00) << 32 | (at & 0xffff0000) << 32);
        store_le64(g->bytes + IDT + i * 16 + 8, 0);
    }
}

static void frame_put(struct guest *g, struct dice *d, uint64_t at)
{
    uint64_t ss = USER_DATA | 3, cs = USER_CODE | 3, rip = USER, rsp = 0x480000, flags = 0x202 | roll(d, 2) << 16 | (roll(d, 0x1000) & (FLAGS_ARITH | FLAG_DF | FLAG_IF));
    if (seldom(d))
        ss = PICK(d, 0, 3, 0x1a, 0x1f, KERNEL_DATA, FRESH_DATA | 3, USER_CODE | 3, 0x7b, 0x1001b, 0xfffb);
    if (seldom(d))
        cs = PICK(d, 0, 3, KERNEL_CODE, 0x22, 0x27, FRESH_CODE | 3, USER_CODE32 | 3, USER_DATA | 3, 0x83, 0x10023);
    if (seldom(d))
        ss = FRESH_DATA | 3, cs = FRESH_CODE | 3;
    if (seldom(d))
        cs = KERNEL_CODE, ss = PICK(d, KERNEL_DATA, 0), rip = HANDLERS;
    if (seldom(d))
        rip = PICK(d, UINT64_C(0x800000000000), UINT64_C(0x7fffffffffff), UINT64_C(0xffff7fffffffffff), 0x600000, HANDLERS);
    if (seldom(d))
        rsp = PICK(d, 0, UINT64_C(0x800000000000), 8, 0x480001);
    if (seldom(d))
        flags |= PICK(d, FLAG_TF, FLAG_NT, FLAG_AC, FLAG_VM, FLAG_VIF | FLAG_VIP, FLAG_IOPL, FLAG_ID, UINT64_C(1) << 40, 1 << 15);
    const uint64_t words[5] = { rip, cs, flags, rsp, ss };
    for (unsigned i = 0; i < 5; i++)
        store_le64(g->bytes + at + i * 8, words[i]);
}

static void segments_set(struct cpu *cpu, struct dice *d)
{
    for (unsigned i = SEG_ES; i <= SEG_GS; i++)
        if (i != SEG_CS && i != SEG_SS)
            cpu->state.seg[i] = (struct cpu_segment){ .base = i >= SEG_FS ? 0x1234 : 0 };
    cpu->state.seg[SEG_CS].selector = KERNEL_CODE;
    cpu->state.seg[SEG_SS].selector = KERNEL_DATA;
    if (seldom(d))
        cpu->state.seg[PICK(d, SEG_ES, SEG_DS, SEG_FS, SEG_GS)] = (struct cpu_segment){ .limit = UINT32_MAX, .selector = KERNEL_DATA, .attributes = 0xc093 };
    if (seldom(d))
        cpu->state.seg[PICK(d, SEG_ES, SEG_DS, SEG_FS, SEG_GS)] = (struct cpu_segment){ .limit = UINT32_MAX, .selector = USER_DATA | 3, .attributes = 0xc0f3 };
    cpu->state.seg[SEG_TR] = (struct cpu_segment){ .base = TSS, .limit = 0x67, .selector = TSS_AT, .attributes = 0x8b };
    cpu->state.gdtr = (struct cpu_segment){ .base = GDT, .limit = 0x4f };
    cpu->state.idtr = (struct cpu_segment){ .base = IDT, .limit = 0xfff };
}

/* A case, by its number; answers the exit. */
static unsigned run_case(struct guest *g, unsigned number)
{
    struct dice dice = { number * UINT64_C(0x9e3779b97f4a7c15) }, *d = &dice;
    struct cpu *cpu = g->vm.cpus[0];
    memset(g->bytes + 0x60000, 0, 0x30000);
    tables_put(g);
    uint64_t frame = FRAMES + (seldom(d) ? PICK(d, 0xfe0, 0xff8, 0xfd8, 0xfdc, 4) : 0x100);
    frame_put(g, d, frame);
    guest_enter(g, 0, 64, GUEST_CODE + number % COPIES * 64);
    segments_set(cpu, d);
    if (seldom(d))
        cpu->state.gdtr.limit = (uint32_t)PICK(d, 0x26, 0x27, 0x22, 0x47);
    if (seldom(d))
        store_le64(g->bytes + GDT + PICK(d, USER_DATA, USER_CODE, 0, 8),
            PICK(d, 0x00cff3000000ffff, 0x00affb000000ffff, 0x00cf73000000ffff, 0x00aff3000000ffff, 0x00effb000000ffff));
    if (seldom(d) && seldom(d)) { /* a null SS, though its descriptor and the next would do */
        store_le64(g->bytes + GDT, 0x00cff3000000ffff);
        store_le64(g->bytes + GDT + 8, 0x00affb000000ffff);
        store_le64(g->bytes + frame + 8, 8 | 3);
        store_le64(g->bytes + frame + 32, 3);
    }
    cpu->state.cr4 |= CR4_SMAP;
    cpu->state.nmi_blocked = (uint8_t)roll(d, 2);
    cpu->state.gpr[REG_RDI] = frame;
    cpu_flags_set(cpu, 2 | (seldom(d) ? PICK(d, FLAG_NT, FLAG_AC, FLAG_IOPL, FLAG_IF) : 0));
    cpu_state_changed(cpu);
    cpu_tlb_flush_all(cpu);
    return guest_run(g, 0);
}

/* Whatever a case may write. */
static bool is_same_memory(const struct guest *a, const struct guest *b)
{
    static const uint32_t ranges[][2] = { { 0x1000, 0xb000 }, { 0x60000, 0x30000 }, { FRAMES, 0x2000 }, { USER, 0x1000 }, { 0x47f000, 0x3000 } };
    bool same = true;
    for (unsigned i = 0; i < sizeof ranges / sizeof *ranges; i++)
        same &= !memcmp(a->bytes + ranges[i][0], b->bytes + ranges[i][0], ranges[i][1]);
    return same;
}

static void make(struct guest *g, const char *engine)
{
    setenv("CPU_ENGINE", engine, 1);
    guest_make(g, 1, 64);
    GUEST_PUT(g, USER, user_there);
    guest_put(g, 0x600000, "\x0f\x0b" /* UD2 */, 2);
    for (unsigned i = 0; i < COPIES; i++)
        GUEST_PUT(g, GUEST_CODE + i * 64, return_there);
    for (unsigned i = 0; i < 256; i++)
        guest_put(g, HANDLERS + i * 16, "\xf4" /* HLT */, 1);
    for (unsigned i = 0; i < 2; i++) /* a kernel's */
        store_le64(g->bytes + 0x3000 + i * 8, (uint64_t)i << 21 | 0x83);
}

static void both_engines_agree(void **state)
{
    (void)state;
    struct guest g[2];
    unsigned user = 0;
    make(&g[0], "interpret");
    make(&g[1], "translate");
    for (unsigned i = 0; i < CASES; i++) {
        unsigned reason[2];
        for (unsigned side = 0; side < 2; side++)
            reason[side] = run_case(&g[side], i);
        struct cpu_state *a = &g[0].vm.cpus[0]->state, *b = &g[1].vm.cpus[0]->state;
        cpu_state_flush(g[0].vm.cpus[0]);
        cpu_state_flush(g[1].vm.cpus[0]);
        bool same = reason[0] == reason[1] && !memcmp(a->gpr, b->gpr, sizeof a->gpr) && !memcmp(a->seg, b->seg, sizeof a->seg) && a->rip == b->rip && a->rflags == b->rflags &&
            a->cpl == b->cpl && a->nmi_blocked == b->nmi_blocked && a->cr2 == b->cr2 && is_same_memory(&g[0], &g[1]);
        if (!same)
            print_error("case %u\n", i);
        assert_true(same);
        user += a->gpr[REG_RBX] != 0; /* it came to user code */
    }
    assert_in_range(user, CASES / 3, CASES - CASES / 10);
    uint64_t left[OP_COUNT];
    translate_left_get(g[1].vm.cpus[0], left);
    if (g[1].vm.cpus[0]->translator)
        assert_in_range(left[OP_IRET], 1, CASES - user + user / 4);
    guest_free(&g[0]);
    guest_free(&g[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(both_engines_agree) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
