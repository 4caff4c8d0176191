/* SPDX-License-Identifier: MIT */
/* Saved state between two VMs of one backend, registers between two backends, hostile saved bytes, time. */
#include <stdlib.h>

#include "conformance.h"

#define STATE_MAX 65536

/* A guest that counts in registers, memory, XMM and flags: 64-bit; 1: inc rax; lea rbx, [rbx+rax*2+1]; movq xmm1, rbx; paddq xmm0, xmm1; add [0x100000], rbx;
 * out 0x10, eax; jmp 1b */
static const uint8_t counter[] = {0x48, 0xff, 0xc0, 0x48, 0x8d, 0x5c, 0x43, 0x01, 0x66, 0x48, 0x0f, 0x6e, 0xcb, 0x66, 0x0f, 0xd4, 0xc1,
                                  0x48, 0x01, 0x1c, 0x25, 0x00, 0x00, 0x10, 0x00, 0xe7, 0x10, 0xeb, 0xe3};

static struct guest *counter_new(struct rig *rig, uint32_t irq)
{
    struct guest *g = guest_new(rig, irq, 1);

    guest_write(g, CODE_AT, counter, sizeof counter);
    if (emulates) /* no vectors there: nops for the two */
        guest_write(g, CODE_AT + 8, (const uint8_t[]){0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90}, 9);
    guest_long(g, CODE_AT);
    reg_set(g->cpu, HY_GPR(0), 0);
    reg_set(g->cpu, HY_GPR(3), 0);
    return g;
}

static void counter_run(struct guest *g, uint32_t from, uint32_t to)
{
    for (uint32_t n = from; n <= to; n++)
        run_to_out(g->cpu, 0x10, n);
}

static void finish(struct guest *g)
{
    hy_exit *x;

    do
        OK(hy_finish(g->cpu, &x));
    while (x->reason != HY_EXIT_NONE);
}

static void same_outcome(struct guest *a, struct guest *b)
{
    const hy_reg names[] = {HY_PC, HY_FLAGS, HY_GPR(0), HY_GPR(3), HY_GPR(4), HY_VEC(0), HY_VEC(1), HY_CR(0), HY_CR(3), HY_CR(4)};
    hy_val one[ARRAY_LEN(names)], two[ARRAY_LEN(names)];

    OK(hy_get(a->cpu, names, one, ARRAY_LEN(names)));
    OK(hy_get(b->cpu, names, two, ARRAY_LEN(names)));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        CHECK(one[i].u128[0] == two[i].u128[0] && one[i].u128[1] == two[i].u128[1]);
    CHECK(!memcmp(a->ram + 0x100000, b->ram + 0x100000, 4096));
}

static void move_by_state(struct rig *rig, uint32_t irq)
{
    struct guest *a = counter_new(rig, irq), *b = counter_new(rig, irq);
    size_t need = 0, len = STATE_MAX;
    uint8_t *state = malloc(STATE_MAX);

    CHECK(state);
    counter_run(a, 1, 100);
    counter_run(b, 1, 3); /* somewhere else */
    CHECK_ERR(hy_save(a->vm, a->cpu, HY_S_ALL, state, &len), HY_E_STATE);
    finish(a);
    finish(b);
    CHECK_ERR(hy_save(a->vm, a->cpu, HY_S_ALL, NULL, &need), HY_E_RANGE);
    CHECK(need > 512 && need <= STATE_MAX);
    len = STATE_MAX;
    OK(hy_save(a->vm, a->cpu, HY_S_ALL, state, &len));
    memcpy(b->ram, a->ram, RAM_SIZE);
    hy_mem_touched(b->mem, 0, RAM_SIZE);
    OK(hy_load(b->vm, b->cpu, HY_S_ALL, state, len));
    same_outcome(a, b);
    counter_run(a, 101, 200);
    counter_run(b, 101, 200);
    finish(a);
    finish(b);
    same_outcome(a, b);
    free(state);
}

static void state_moves_between_vms(struct rig *rig)
{
    NEED(rig, HY_CAN_SAVE);
    move_by_state(rig, HY_IRQ_NONE);
    if (rig->caps.irq & HY_IRQ_CPU)
        move_by_state(rig, HY_IRQ_CPU);
}

static void parts_are_saved_and_loaded(struct rig *rig)
{
    static const int parts[] = {HY_S_FPU, HY_S_IRQ, HY_S_EVENTS};
    struct guest *g;
    uint8_t *one = malloc(STATE_MAX), *two = malloc(STATE_MAX);

    NEED(rig, HY_CAN_SAVE);
    g = counter_new(rig, rig->caps.irq & HY_IRQ_CPU ? HY_IRQ_CPU : HY_IRQ_NONE);
    counter_run(g, 1, 10);
    finish(g);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        size_t len = STATE_MAX, again = STATE_MAX;
        hy_err err = hy_save(g->vm, g->cpu, parts[i], one, &len);

        if (err == HY_E_NOTSUP && parts[i] != HY_S_FPU)
            continue;
        OK(err);
        OK(hy_load(g->vm, g->cpu, parts[i], one, len));
        OK(hy_save(g->vm, g->cpu, parts[i], two, &again));
        CHECK(len == again && !memcmp(one, two, len));
        CHECK_ERR(hy_load(g->vm, g->cpu, parts[i], one, len - 1), HY_E_INVAL);
        if (parts[i] == HY_S_FPU) { /* XMM0 is at 160 of the legacy area, SDM 1:10.5.1 */
            hy_reg xmm = HY_VEC(0);
            hy_val value;

            OK(hy_get(g->cpu, &xmm, &value, 1));
            CHECK(len >= 576 && !memcmp(one + 160, value.u128, 16));
        }
    }
    counter_run(g, 11, 20);
    CHECK_ERR(hy_save(g->vm, NULL, HY_S_FPU, one, &(size_t){STATE_MAX}), HY_E_INVAL);
    CHECK_ERR(hy_save(g->vm, g->cpu, 99, one, &(size_t){STATE_MAX}), HY_E_INVAL);
    free(one);
    free(two);
}

static void hostile_state_is_survived(struct rig *rig)
{
    struct guest *g;
    uint8_t *state = malloc(STATE_MAX), *bad = malloc(STATE_MAX);
    size_t len = STATE_MAX;
    hy_exit *x;

    NEED(rig, HY_CAN_SAVE);
    g = counter_new(rig, HY_IRQ_NONE);
    counter_run(g, 1, 10);
    finish(g);
    OK(hy_save(g->vm, g->cpu, HY_S_ALL, state, &len));
    for (size_t cut = 0; cut < len; cut += 1 + len / 50)
        CHECK(hy_load(g->vm, g->cpu, HY_S_ALL, state, cut) != HY_OK);
    for (int round = 0; round < 200; round++) {
        memcpy(bad, state, len);
        for (int i = 0; i < 8; i++)
            bad[random_next(rig) % (round % 2 ? len : 600)] ^= (uint8_t)(1u << random_next(rig) % 8);
        if (hy_load(g->vm, g->cpu, HY_S_ALL, bad, len) == HY_OK) {
            hy_kick(g->cpu); /* enters, and leaves at once */
            hy_run(g->cpu, &x);
            hy_finish(g->cpu, &x);
        }
    }
    memset(bad, 0xff, STATE_MAX);
    CHECK(hy_load(g->vm, g->cpu, HY_S_ALL, bad, STATE_MAX) != HY_OK);
    guest_free(g);
    g = counter_new(rig, HY_IRQ_NONE); /* the backend as a whole is unharmed */
    counter_run(g, 1, 3);
    free(state);
    free(bad);
}

static void registers_move_between_backends(struct rig *rig)
{
    static const hy_reg names[] = {
        HY_CR(4), HY_CR(3), HY_MSR(0xc0000080), HY_CR(0), HY_SEG(HY_ES), HY_SEG(HY_CS), HY_SEG(HY_SS), HY_SEG(HY_DS), HY_SEG(HY_FS), HY_SEG(HY_GS),
        HY_SEG(HY_IDTR), HY_SEG(HY_GDTR), HY_SEG(HY_TR), HY_SEG(HY_LDTR), HY_GPR(0), HY_GPR(3), HY_GPR(4), HY_VEC(0), HY_VEC(1), HY_FLAGS, HY_PC,
    };
    struct hy_probe probes[16];
    size_t n = hy_list(probes, ARRAY_LEN(probes)), tried = 0;
    hy_val values[ARRAY_LEN(names)];

    for (size_t i = 0; i < n; i++) {
        struct rig other = {.backend = probes[i].name, .caps = {.size = sizeof other.caps}, .seed = 1};
        struct guest *a, *b;

        if (!strcmp(probes[i].name, rig->backend) || hy_open(probes[i].name, &other.h) != HY_OK)
            continue;
        tried++;
        hy_caps(other.h, &other.caps);
        emulates = emulates_guests(&rig->caps) || emulates_guests(&other.caps);
        a = counter_new(rig, HY_IRQ_NONE);
        b = counter_new(&other, HY_IRQ_NONE);
        counter_run(a, 1, 50);
        finish(a);
        memcpy(b->ram, a->ram, RAM_SIZE);
        hy_mem_touched(b->mem, 0, RAM_SIZE);
        OK(hy_get(a->cpu, names, values, ARRAY_LEN(names)));
        OK(hy_set(b->cpu, names, values, ARRAY_LEN(names)));
        counter_run(a, 51, 90);
        counter_run(b, 51, 90);
        finish(a);
        finish(b);
        same_outcome(a, b);
        guest_free(a);
        guest_free(b);
        OK(hy_close(other.h));
        emulates = emulates_guests(&rig->caps);
    }
    if (!tried)
        SKIP("no other backend here");
}

static uint64_t guest_tsc(struct guest *g)
{
    run_to_end(g->cpu);
    return (reg_get(g->cpu, HY_GPR(0)) & 0xffffffff) | reg_get(g->cpu, HY_GPR(2)) << 32;
}

static void time_freezes(struct rig *rig)
{
    struct guest *g;
    struct hy_clock one, two, set = {.guest_ns = UINT64_C(5000000000), .ticks = UINT64_C(123456789012)};
    uint64_t before, after;

    NEED(rig, HY_CAN_CLOCK);
    g = guest_new(rig, HY_IRQ_NONE, 1);
    CODE(g, 0x0f, 0x31, END, 0xeb, 0xfa); /* 1: rdtsc; end; jmp 1b */
    guest_protected(g, CODE_AT);
    OK(hy_clock(g->vm, -1, &one, NULL));
    milliseconds(30);
    OK(hy_clock(g->vm, -1, &two, NULL));
    CHECK(two.guest_ns > one.guest_ns);
    if (two.ticks <= one.ticks)
        SKIP("this host's TSC is not stable: the guest's stands still, or goes back, while it does not run");
    before = guest_tsc(g);
    OK(hy_clock(g->vm, 0, &one, NULL));
    milliseconds(300);
    OK(hy_clock(g->vm, -1, &two, NULL));
    CHECK(two.guest_ns == one.guest_ns && two.ticks == one.ticks);
    OK(hy_clock(g->vm, 1, NULL, NULL));
    after = guest_tsc(g);
    if (rig->caps.tick_hz)
        CHECK(after > before && (double)(after - before) < 0.2 * (double)rig->caps.tick_hz);
    OK(hy_clock(g->vm, -1, NULL, &set));
    after = guest_tsc(g);
    OK(hy_clock(g->vm, -1, &two, NULL));
    CHECK(two.guest_ns >= set.guest_ns && two.guest_ns < set.guest_ns + UINT64_C(5000000000));
    CHECK(after >= set.ticks && after < set.ticks + UINT64_C(100000000000));
    CHECK_ERR(hy_clock(g->vm, 7, NULL, NULL), HY_E_INVAL);
}

const struct test_case cases_state[] = {
    {"state-moves-between-vms", state_moves_between_vms},
    {"parts-are-saved-and-loaded", parts_are_saved_and_loaded},
    {"hostile-state-is-survived", hostile_state_is_survived},
    {"registers-move-between-backends", registers_move_between_backends},
    {"time-freezes", time_freezes},
    {NULL, NULL},
};
