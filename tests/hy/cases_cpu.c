/* SPDX-License-Identifier: MIT */
/* Registers, modes, CPUID, MSRs, single-step. */
#include "conformance.h"

static void registers_keep_values(struct rig *rig)
{
    static const hy_reg plain[] = {
        HY_GPR(0), HY_GPR(1), HY_GPR(2), HY_GPR(3), HY_GPR(4), HY_GPR(5), HY_GPR(6), HY_GPR(7), HY_GPR(8), HY_GPR(9), HY_GPR(10), HY_GPR(11), HY_GPR(12),
        HY_GPR(13), HY_GPR(14), HY_GPR(15), HY_CR(2), HY_DR(0), HY_DR(1), HY_DR(2), HY_DR(3), HY_VEC(0), HY_VEC(7), HY_VEC(15),
        HY_MSR(0xc0000100), HY_MSR(0xc0000101), HY_MSR(0xc0000102), HY_MSR(0xc0000082),
    };
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    hy_val in[ARRAY_LEN(plain)], out[ARRAY_LEN(plain)];

    guest_long(g, CODE_AT);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
            uint64_t low = random_next(rig) | (uint64_t)random_next(rig) << 32;
            int vector = plain[i] >> 32 == 7, address = plain[i] >> 32 == 6 || plain[i] >> 32 == 5;

            /* Addresses must be canonical. */
            in[i] = (hy_val){.u128 = {address ? low & 0x7fffffffffff : low, vector ? ~low : 0}};
        }
        OK(hy_set(g->cpu, plain, in, ARRAY_LEN(plain)));
        OK(hy_get(g->cpu, plain, out, ARRAY_LEN(plain)));
        for (size_t i = 0; i < ARRAY_LEN(plain); i++)
            CHECK(in[i].u128[0] == out[i].u128[0] && in[i].u128[1] == out[i].u128[1]);
        for (size_t i = 0; i < ARRAY_LEN(plain); i++) { /* one by one */
            OK(hy_get(g->cpu, &plain[i], &out[0], 1));
            CHECK(in[i].u128[0] == out[0].u128[0] && in[i].u128[1] == out[0].u128[1]);
        }
    }
}

static void segments_keep_values(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);

    guest_protected(g, CODE_AT);
    for (uint32_t n = HY_DS; n <= HY_GS; n++) {
        hy_reg name = HY_SEG(n);
        hy_val in = {.seg = {.base = 0x12340 + n, .limit = 0xfffff, .sel = (uint16_t)(16 + 8 * n), .attr = 0x4093}}, out;

        OK(hy_set(g->cpu, &name, &in, 1));
        OK(hy_get(g->cpu, &name, &out, 1));
        CHECK(out.seg.base == in.seg.base && out.seg.limit == in.seg.limit && out.seg.sel == in.seg.sel && out.seg.attr == in.seg.attr);
    }
    for (uint32_t n = HY_IDTR; n <= HY_GDTR; n++) {
        hy_reg name = HY_SEG(n);
        hy_val in = {.seg = {.base = 0x56780 + n, .limit = 0x3ff}}, out;

        OK(hy_set(g->cpu, &name, &in, 1));
        OK(hy_get(g->cpu, &name, &out, 1));
        CHECK(out.seg.base == in.seg.base && out.seg.limit == in.seg.limit);
    }
}

static void unknown_registers_are_refused_whole(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    const hy_reg bad[] = {HY_GPR(16), HY_REG(2, 9), HY_SEG(10), HY_CR(1), HY_DR(8), HY_VEC(40), HY_REG(77, 0), HY_MISC(99), HY_MSR(0x12345678), 0};
    hy_reg names[2] = {HY_GPR(3), 0};
    hy_val values[2] = {{.u64 = 0x1111}, {.u64 = 0}}, got;

    guest_real(g, CODE_AT);
    reg_set(g->cpu, HY_GPR(3), 0x2222);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        names[1] = bad[i];
        CHECK_ERR(hy_set(g->cpu, names, values, 2), HY_E_NOTSUP);
        CHECK(reg_get(g->cpu, HY_GPR(3)) == 0x2222);
        CHECK_ERR(hy_get(g->cpu, &bad[i], &got, 1), HY_E_NOTSUP);
    }
    OK(hy_get(g->cpu, NULL, NULL, 0));
    CHECK_ERR(hy_get(g->cpu, NULL, NULL, 1), HY_E_INVAL);
}

static void check_reset_state(struct guest *g)
{
    hy_reg cs = HY_SEG(HY_CS);
    hy_val value;

    OK(hy_cpu_new(g->vm, 0, &g->cpu));
    OK(hy_get(g->cpu, &cs, &value, 1));
    CHECK(value.seg.base == 0xffff0000 && value.seg.sel == 0xf000 && value.seg.limit == 0xffff); /* SDM 3, table 9-1 */
    CHECK(reg_get(g->cpu, HY_PC) == 0xfff0);
    CHECK(reg_get(g->cpu, HY_FLAGS) == 2);
    CHECK((reg_get(g->cpu, HY_CR(0)) & ~UINT64_C(0x60000000)) == 0x10);
    CHECK(reg_get(g->cpu, HY_CR(4)) == 0 && reg_get(g->cpu, HY_MSR(0xc0000080)) == 0);
    CHECK(reg_get(g->cpu, HY_GPR(0)) == 0);
}

static void the_reset_state_is_architectural(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);

    check_reset_state(g);
    /* And it runs from there: the last 64 KiB of 4 GiB show memory. */
    OK(hy_map(g->vm, 0xffff0000, g->mem, 0x100000, 0x10000, HY_R | HY_W | HY_X));
    guest_write(g, 0x100000 + 0xfff0, (const uint8_t[]){0xb0, 0x33, 0xe6, 0x10}, 4);
    run_to_out(g->cpu, 0x10, 0x33);
    /* A machine's reset frees its CPUs and makes them again. */
    OK(hy_cpu_free(g->cpu));
    g->cpu = NULL;
    check_reset_state(g);
    run_to_out(g->cpu, 0x10, 0x33);
}

static void real_mode_works(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);

    /* mov ax, 0x200; mov ds, ax; mov byte [0x34], 9; xor ax, ax; mov ds, ax; mov al, [0x2034]; out 0x10, al; call 1f; out 0x10, al; end; 1: inc al; ret */
    CODE(g, 0xb8, 0x00, 0x02, 0x8e, 0xd8, 0xc6, 0x06, 0x34, 0x00, 9, 0x31, 0xc0, 0x8e, 0xd8, 0xa0, 0x34, 0x20, 0xe6, 0x10, 0xe8, 0x04, 0x00, 0xe6, 0x10, END,
         0xfe, 0xc0, 0xc3);
    guest_real(g, CODE_AT);
    run_to_out(g->cpu, 0x10, 9);
    run_to_out(g->cpu, 0x10, 10);
    run_to_end(g->cpu);
}

static void modes_are_entered_by_the_guest(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    const uint16_t gdtr[3] = {31, GDT_AT & 0xffff, GDT_AT >> 16};

    /* The tables of long mode; the guest goes there by itself: real to protected to long. */
    guest_tables(g);
    guest_write(g, 0x3000, gdtr, sizeof gdtr);
    /* 16-bit: lgdt [0x3000]; mov eax, cr0; or al, 1; mov cr0, eax; jmp 0x18:0x1100 */
    CODE(g, 0x0f, 0x01, 0x16, 0x00, 0x30, 0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0, 0xea, 0x00, 0x11, 0x18, 0x00);
    /* 32-bit: mov ax, 16; mov ds, ax; mov ss, ax; mov eax, 0x20; mov cr4, eax; mov eax, 0x10000; mov cr3, eax; mov ecx, 0xc0000080; rdmsr; or ah, 1; wrmsr;
     * mov eax, cr0; or eax, 0x80000000; mov cr0, eax; jmp 8:0x1200 */
    guest_write(g, 0x1100, (const uint8_t[]){0x66, 0xb8, 0x10, 0, 0x8e, 0xd8, 0x8e, 0xd0, 0xb8, 0x20, 0, 0, 0, 0x0f, 0x22, 0xe0, 0xb8, 0, 0, 1, 0, 0x0f, 0x22, 0xd8,
                0xb9, 0x80, 0, 0, 0xc0, 0x0f, 0x32, 0x80, 0xcc, 1, 0x0f, 0x30, 0x0f, 0x20, 0xc0, 0x0d, 0, 0, 0, 0x80, 0x0f, 0x22, 0xc0,
                0xea, 0x00, 0x12, 0, 0, 8, 0}, 54);
    /* 64-bit: mov rax, 0x123456789abcdef0; shr rax, 60; out 0x10, al; end */
    guest_write(g, 0x1200, (const uint8_t[]){0x48, 0xb8, 0xf0, 0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12, 0x48, 0xc1, 0xe8, 60, 0xe6, 0x10, END}, 18);
    guest_real(g, CODE_AT);
    run_to_out(g->cpu, 0x10, 1);
    CHECK((reg_get(g->cpu, HY_MSR(0xc0000080)) & 0x500) == 0x500);
    run_to_end(g->cpu);
}

static void vectors_compute(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    hy_reg xmm = HY_VEC(1);
    hy_val value;

    NEED(rig, HY_CAN_FPU);
    /* mov eax, 0x01010101; movd xmm0, eax; pshufd xmm1, xmm0, 0; paddb xmm1, xmm1; end */
    CODE(g, 0xb8, 1, 1, 1, 1, 0x66, 0x0f, 0x6e, 0xc0, 0x66, 0x0f, 0x70, 0xc8, 0, 0x66, 0x0f, 0xfc, 0xc9, END);
    guest_long(g, CODE_AT);
    run_to_end(g->cpu);
    OK(hy_get(g->cpu, &xmm, &value, 1));
    CHECK(value.u128[0] == UINT64_C(0x0202020202020202) && value.u128[1] == value.u128[0]);
}

/* ---- CPUID ------------------------------------------------------------------------------------------------------------------------------------------- */

#define CPUID_ROOM 512

/* mov eax, [0x3000]; mov ecx, [0x3004]; cpuid; mov [0x3000], eax ... edx; end; jmp back   (64-bit code; ebx too) */
static const uint8_t asker[] = {0x8b, 0x04, 0x25, 0, 0x30, 0, 0, 0x8b, 0x0c, 0x25, 4, 0x30, 0, 0, 0x0f, 0xa2, 0x89, 0x04, 0x25, 0, 0x30, 0, 0, 0x89, 0x1c, 0x25, 4, 0x30, 0, 0,
                                0x89, 0x0c, 0x25, 8, 0x30, 0, 0, 0x89, 0x14, 0x25, 12, 0x30, 0, 0, END, 0xeb, 0xd0};

static void ask(struct guest *g, uint32_t fn, uint32_t sub, uint32_t out[4])
{
    const uint32_t in[2] = {fn, sub};

    guest_write(g, 0x3000, in, sizeof in);
    run_to_end(g->cpu);
    memcpy(out, g->ram + 0x3000, 16);
}

static void cpuid_tables_are_obeyed(struct rig *rig)
{
    static struct hy_cpuid table[CPUID_ROOM]; /* mutable: too big for a stack; one case at a time */
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    size_t n = CPUID_ROOM;
    uint32_t out[4];

    NEED(rig, HY_CAN_CPUID);
    OK(hy_cpuid_host(rig->h, table, &n));
    for (size_t i = 0; i < n; i++) {
        if (table[i].fn == 0)
            memcpy(&table[i].ebx, "Mezz", 4), memcpy(&table[i].edx, "anin", 4), memcpy(&table[i].ecx, "eCPU", 4);
    }
    OK(hy_cpuid(g->vm, HY_ALL_CPUS, table, n));
    guest_write(g, CODE_AT, asker, sizeof asker);
    guest_long(g, CODE_AT);
    ask(g, 0, 0, out);
    CHECK(!memcmp(&out[1], "Mezz", 4) && !memcmp(&out[3], "anin", 4) && !memcmp(&out[2], "eCPU", 4));
    CHECK(out[0] >= 1);
}

static void xsave_leaves_are_consistent(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    uint32_t one[4], seven[4], main_leaf[4], more[4], part[4], end = 576;

    NEED(rig, HY_CAN_CPUID);
    guest_write(g, CODE_AT, asker, sizeof asker);
    guest_long(g, CODE_AT);
    ask(g, 1, 0, one);
    if (!(one[2] >> 26 & 1))
        SKIP("no XSAVE");
    ask(g, 7, 0, seven);
    ask(g, 0xd, 0, main_leaf);
    ask(g, 0xd, 1, more);
    CHECK((main_leaf[0] & 3) == 3);
    CHECK((main_leaf[0] >> 2 & 1) == (one[2] >> 28 & 1));     /* AVX */
    CHECK((main_leaf[0] >> 5 & 1) <= (seven[1] >> 16 & 1));   /* AVX-512 */
    CHECK((main_leaf[0] >> 9 & 1) <= (seven[2] >> 3 & 1));    /* PKU */
    for (uint32_t i = 2; i < 32; i++) {
        ask(g, 0xd, i, part);
        CHECK(!(main_leaf[0] >> i & 1) == !part[0] || (more[2] >> i & 1));
        if (main_leaf[0] >> i & 1 && part[0] + part[1] > end)
            end = part[0] + part[1];
    }
    CHECK(main_leaf[2] == end);
    CHECK(main_leaf[1] == 576); /* XCR0 = 1 */
}

static void apic_ids_follow_the_index(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 3);
    hy_cpu *cpu;
    uint32_t out[4];

    NEED(rig, HY_CAN_CPUID);
    guest_write(g, CODE_AT, asker, sizeof asker);
    OK(hy_cpu_new(g->vm, 2, &cpu));
    g->cpu = cpu; /* freed with the guest */
    cpu_long(g, cpu, CODE_AT);
    ask(g, 1, 0, out);
    CHECK(out[1] >> 24 == 2);
    CHECK(reg_get(cpu, HY_MISC(HY_MISC_APIC_ID)) == 2);
}

static void cpuid_traps(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    const uint32_t in[2] = {0x40000000, 0};
    uint32_t word;
    hy_exit *x;

    NEED_TRAP(rig, HY_EXIT_CPUID);
    OK(hy_trap(g->vm, HY_EXIT_CPUID, 0x40000000, 0x400000ff, HY_R));
    guest_write(g, CODE_AT, asker, sizeof asker);
    guest_write(g, 0x3000, in, sizeof in);
    guest_long(g, CODE_AT);
    x = run_to(g->cpu, HY_EXIT_CPUID);
    CHECK(x->u.cpuid.fn == 0x40000000);
    x->u.cpuid.ebx = 0x1234;
    run_to_end(g->cpu);
    memcpy(&word, g->ram + 0x3004, 4);
    CHECK(word == 0x1234);
}

/* ---- MSRs ------------------------------------------------------------------------------------------------------------------------------------------------ */

static void msr_traps(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    hy_exit *x;

    NEED_TRAP(rig, HY_EXIT_MSR);
    OK(hy_trap(g->vm, HY_EXIT_MSR, 0x40000000, 0x400001ff, HY_R | HY_W)); /* Hyper-V's */
    OK(hy_trap(g->vm, HY_EXIT_MSR, 0xc0000082, 0xc0000082, HY_W));        /* LSTAR, writes only */
    /* mov ecx, 0x40000000; mov eax, 0x11; mov edx, 0x22; wrmsr; rdmsr; out 0x10, eax; mov ecx, 0xc0000082; wrmsr; rdmsr; out 0x10, eax;
     * mov ecx, 0x40000070; rdmsr (denied); end.  #GP handler at 0x1800: out 0x11, al; end */
    CODE(g, 0xb9, 0, 0, 0, 0x40, 0xb8, 0x11, 0, 0, 0, 0xba, 0x22, 0, 0, 0, 0x0f, 0x30, 0x0f, 0x32, 0xe7, 0x10, 0xb9, 0x82, 0, 0, 0xc0, 0x0f, 0x30, 0x0f, 0x32, 0xe7, 0x10,
         0xb9, 0x70, 0, 0, 0x40, 0x0f, 0x32, END);
    guest_write(g, 0x1800, (const uint8_t[]){0xe6, 0x11, END}, 4);
    guest_long(g, CODE_AT);
    guest_gate_long(g, 13, 0x1800);
    x = run_to(g->cpu, HY_EXIT_MSR);
    CHECK(x->write && x->u.msr.reg == HY_MSR(0x40000000) && x->u.msr.value == UINT64_C(0x2200000011));
    x = run_to(g->cpu, HY_EXIT_MSR);
    CHECK(!x->write && x->u.msr.reg == HY_MSR(0x40000000));
    x->u.msr.value = UINT64_C(0x5500000066);
    run_to_out(g->cpu, 0x10, 0x66);
    CHECK(reg_get(g->cpu, HY_GPR(2)) == 0x55);
    x = run_to(g->cpu, HY_EXIT_MSR);
    CHECK(x->write && x->u.msr.reg == HY_MSR(0xc0000082));
    run_to_out(g->cpu, 0x10, 0); /* the write never arrived, reads are not trapped */
    x = run_to(g->cpu, HY_EXIT_MSR);
    CHECK(!x->write && x->u.msr.reg == HY_MSR(0x40000070));
    x->u.msr.deny = 1;
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->u.io.port == 0x11);
    run_to_end(g->cpu);
}

static void unknown_msrs_fault(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);

    /* mov ecx, 0x12345678; rdmsr; end. #GP handler: pop rax; out 0x11, eax; end */
    CODE(g, 0xb9, 0x78, 0x56, 0x34, 0x12, 0x0f, 0x32, END);
    guest_write(g, 0x1800, (const uint8_t[]){0x58, 0xe7, 0x11, END}, 5);
    guest_long(g, CODE_AT);
    guest_gate_long(g, 13, 0x1800);
    run_to_out(g->cpu, 0x11, 0); /* the error code */
    run_to_end(g->cpu);
}

static void single_steps(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);

    NEED_TRAP(rig, HY_EXIT_STEP);
    CODE(g, 0x90, 0x40, 0xb3, 7, 0x90, 0x90, END); /* nop; inc eax; mov bl, 7; nop; nop */
    guest_protected(g, CODE_AT);
    OK(hy_trap(g->vm, HY_EXIT_STEP, 0, 0, HY_R));
    run_to(g->cpu, HY_EXIT_STEP);
    CHECK(reg_get(g->cpu, HY_PC) == CODE_AT + 1);
    run_to(g->cpu, HY_EXIT_STEP);
    CHECK(reg_get(g->cpu, HY_PC) == CODE_AT + 2);
    run_to(g->cpu, HY_EXIT_STEP);
    CHECK(reg_get(g->cpu, HY_PC) == CODE_AT + 4);
    OK(hy_trap(g->vm, HY_EXIT_STEP, 0, 0, 0));
    run_to_end(g->cpu);
    CHECK((reg_get(g->cpu, HY_GPR(3)) & 0xff) == 7);
    CHECK(!(reg_get(g->cpu, HY_FLAGS) & 0x100));
}

static uint64_t counter_get(hy_cpu *cpu, const char *group, const char *name)
{
    struct hy_counter counters[1000];
    size_t n = ARRAY_LEN(counters);

    OK(hy_counters(cpu, counters, &n));
    for (size_t i = 0; i < n; i++) {
        CHECK(*counters[i].group && *counters[i].name);
        if (!strcmp(counters[i].group, group) && !strcmp(counters[i].name, name))
            return counters[i].value;
    }
    return 0;
}

static void counters_count(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    size_t n = 0;
    hy_err err;

    CODE(g, 0xb9, 100, 0, 0, 0, 0xff, 0xc9, 0x75, 0xfc, 0x31, 0xc0, 0x0f, 0xa2, END); /* mov ecx, 100; dec ecx; jnz; xor eax, eax; cpuid */
    guest_long(g, CODE_AT);
    err = hy_counters(g->cpu, NULL, &n);
    if (err == HY_E_NOTSUP)
        SKIP("the backend counts nothing");
    CHECK(err == HY_E_RANGE && n);
    CHECK_ERR(hy_counters(g->cpu, NULL, NULL), HY_E_INVAL);
    CHECK_ERR(hy_counters(NULL, NULL, &n), HY_E_INVAL);
    run_to_end(g->cpu);
    CHECK(counter_get(g->cpu, "general", "CPUID") == 1);
    CHECK(counter_get(g->cpu, "interpreter", "exits") >= 1);
    CHECK(hy_counter_info(hy_name(rig->h), 0) && *hy_counter_info(hy_name(rig->h), 0)->meaning);
    CHECK(!hy_counter_info("nonsense", 0) && !hy_counter_info(NULL, 0) && !hy_counter_info(hy_name(rig->h), SIZE_MAX));
    if (rig->flags & HY_VM_TRANSLATE)
        CHECK(counter_get(g->cpu, "translator", "translations") && counter_get(g->cpu, "translator", "host_bytes"));
    else if (rig->flags & HY_VM_INTERPRET)
        CHECK(counter_get(g->cpu, "interpreter", "instructions") >= 200 && !counter_get(g->cpu, "translator", "translations"));
}

static void calls_come_back(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);

    if (!(rig->caps.exits >> HY_EXIT_CALL & 1))
        SKIP("hypercalls do not exit here");
    /* mov eax, 0x77; mov ebx, 1; mov ecx, 2; mov edx, 3; vmcall; out 0x10, eax; vmmcall; end */
    CODE(g, 0xb8, 0x77, 0, 0, 0, 0xbb, 1, 0, 0, 0, 0xb9, 2, 0, 0, 0, 0xba, 3, 0, 0, 0, 0x0f, 0x01, 0xc1, 0xe7, 0x10, 0x0f, 0x01, 0xd9, END);
    guest_long(g, CODE_AT);
    hy_exit *x = run_to(g->cpu, HY_EXIT_CALL);
    CHECK(x->u.call.nr == 0x77 && x->u.call.arg[0] == 1 && x->u.call.arg[1] == 2 && x->u.call.arg[2] == 3 && x->u.call.imm == 0);
    x->u.call.ret[0] = 0x99;
    run_to_out(g->cpu, 0x10, 0x99);
    x = run_to(g->cpu, HY_EXIT_CALL);
    CHECK(x->u.call.imm == 1);
    run_to_end(g->cpu);
    CHECK(reg_get(g->cpu, HY_GPR(0)) == UINT64_MAX); /* not answered: all ones */
}

const struct test_case cases_cpu[] = {
    {"registers-keep-values", registers_keep_values},
    {"segments-keep-values", segments_keep_values},
    {"unknown-registers-are-refused-whole", unknown_registers_are_refused_whole},
    {"the-reset-state-is-architectural", the_reset_state_is_architectural},
    {"real-mode-works", real_mode_works},
    {"modes-are-entered-by-the-guest", modes_are_entered_by_the_guest},
    {"vectors-compute", vectors_compute},
    {"cpuid-tables-are-obeyed", cpuid_tables_are_obeyed},
    {"xsave-leaves-are-consistent", xsave_leaves_are_consistent},
    {"apic-ids-follow-the-index", apic_ids_follow_the_index},
    {"cpuid-traps", cpuid_traps},
    {"msr-traps", msr_traps},
    {"unknown-msrs-fault", unknown_msrs_fault},
    {"single-steps", single_steps},
    {"counters-count", counters_count},
    {"calls-come-back", calls_come_back},
    {NULL, NULL},
};
