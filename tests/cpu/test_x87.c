/* SPDX-License-Identifier: MIT */
/* Compares x87 instructions with the host's, over random states: registers, FSW, FCW, tags, FOP, FIP, FDP, memory and flags bit for bit. The
 * transcendental functions may differ in the last place. x86-64 Linux hosts only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cpu/x87.h"
#include "fp_cases.h"
#include "fpu_rig.h"
#include "host_cpu.h"

static unsigned failures, skipped;

static void random_f80(struct fp_random *r, uint8_t *p)
{
    uint64_t pattern = fp_random_pattern(r, 15, 48), fraction = fp_random_fraction(r, 63);
    uint16_t se = pattern >> 48 & 0xffff;
    bool integer = (se & 0x7fff) != 0;

    if (fp_random_next(r) % 16 == 0)
        integer = !integer;
    if (fp_random_next(r) % 4 == 0) { /* small integers and short fractions: exact results */
        fraction = (fp_random_next(r) & 0xff) << 55;
        se = (se & 0x8000) | (16383 + fp_random_next(r) % 12);
        integer = true;
    }
    store_le64(p, fraction | (uint64_t)integer << 63);
    store_le16(p + 8, se);
}

static void random_state(struct fp_random *r, struct rig_state *s)
{
    uint64_t x = fp_random_next(r);
    uint16_t masks = x % 4 ? 0x3f : x >> 8 & 0x3f, fcw = 0x40 | masks | (x >> 16 & 3) << 10 | (x >> 18 & 3) << 8, fsw = x >> 20 & 0x7f00;

    memset(s, 0, sizeof *s);
    if ((fcw >> 8 & 3) == 1) /* reserved precision */
        fcw |= 0x200;
    fsw |= x >> 40 & (x >> 48 & 15 ? masks : 0x3f);
    store_le16(s->area, fcw);
    store_le16(s->area + 2, fsw);
    s->area[4] = x >> 52 & 1 ? 0xff : fp_random_next(r) | fp_random_next(r);
    if (x >> 53 & 1)
        s->area[4] &= ~(1u << (((fsw >> 11) - 1) & 7)); /* room for a push */
    store_le16(s->area + 6, 0x123);
    store_le64(s->area + 8, 0x11223344);
    store_le64(s->area + 16, 0x55667788);
    store_le32(s->area + 24, 0x1f80);
    for (unsigned i = 0; i < 8; i++)
        random_f80(r, s->area + 32 + 16 * i);
    if (fp_random_next(r) % 8 == 0)
        memcpy(s->area + 48, s->area + 32, 10);
    for (unsigned i = 0; i < RIG_MEMORY; i += 8)
        store_le64(s->memory + i, fp_random_next(r));
    switch (fp_random_next(r) % 4) {
    case 0: store_le32(s->memory, fp_random_f32(r)); break;
    case 1: store_le64(s->memory, fp_random_f64(r)); break;
    case 2: random_f80(r, s->memory); break;
    default: store_le64(s->memory, fp_random_fraction(r, 64)); break;
    }
    s->rax = fp_random_next(r);
    s->flags = 0x202 | (fp_random_next(r) & FLAGS_ARITH);
}

static bool is_transcendental(unsigned op)
{
    return op == OP_F2XM1 || op == OP_FYL2X || op == OP_FYL2XP1 || op == OP_FPTAN || op == OP_FPATAN || op == OP_FSIN || op == OP_FCOS || op == OP_FSINCOS;
}

/* Registers of equal exponent whose significands differ by at most 1, or that straddle a power of two. */
static bool nearly_equal(const uint8_t *a, const uint8_t *b)
{
    uint64_t x = load_le64(a), y = load_le64(b);
    int e = load_le16(a + 8), f = load_le16(b + 8);

    if (e == f || (e ^ f) == 1)
        if (e == f || ((e & 0x7fff) < 2 && (f & 0x7fff) < 2))
            return x - y + 1 <= 2;
    return (e - f == 1 && x == UINT64_C(1) << 63 && y == UINT64_MAX) || (f - e == 1 && y == UINT64_C(1) << 63 && x == UINT64_MAX);
}

/* Which registers and flags a last-place difference of a transcendental function may change: replaced by the host's where they are near. */
static void forgive(struct rig_state *mine, const struct rig_state *host)
{
    for (unsigned i = 0; i < 8; i++)
        if (nearly_equal(mine->area + 32 + 16 * i, host->area + 32 + 16 * i))
            memcpy(mine->area + 32 + 16 * i, host->area + 32 + 16 * i, 10);
    mine->area[3] = (mine->area[3] & ~2) | (host->area[3] & 2); /* C1 */
    if (load_le16(mine->area) & FP_UE) /* one side of the smallest normal number or the other */
        mine->area[2] = (mine->area[2] & ~FP_UE) | (host->area[2] & FP_UE);
}

static void show(const char *label, const struct rig_state *s)
{
    const uint8_t *p = s->area;

    fprintf(stderr, "  %s fault %d fcw %04x fsw %04x tag %02x fop %03x fip %lx fdp %lx flags %lx rax %lx mem %lx %lx\n", label, s->fault, load_le16(p),
            load_le16(p + 2), p[4], load_le16(p + 6), (long)load_le64(p + 8), (long)load_le64(p + 16), (long)s->flags, (long)s->rax,
            (long)load_le64(s->memory), (long)load_le64(s->memory + 8));
    for (unsigned i = 0; i < 4; i++)
        fprintf(stderr, "     st%u %04x %016lx  st%u %04x %016lx\n", i, load_le16(p + 32 + 16 * i + 8), (long)load_le64(p + 32 + 16 * i), i + 4,
                load_le16(p + 96 + 16 * i + 8), (long)load_le64(p + 96 + 16 * i));
}

static bool states_equal(const struct rig_state *a, const struct rig_state *b)
{
    return a->fault == b->fault && !memcmp(a->area, b->area, 24) && !memcmp(a->area + 32, b->area + 32, 128) && a->rax == b->rax
        && ((a->flags ^ b->flags) & FLAGS_ARITH) == 0 && !memcmp(a->memory, b->memory, RIG_MEMORY);
}

static void check_instruction(struct rig *rig, struct fp_random *r, const uint8_t *code, const struct insn *in, unsigned limit)
{
    struct rig_state before, mine, host;

    random_state(r, &before);
    mine = host = before;
    rig_run_ours(rig, in, exec_x87, &mine);
    rig_run_host(rig, code, in->length, &host);
    if (is_transcendental(in->op))
        forgive(&mine, &host);
    if (states_equal(&mine, &host))
        return;
    if (failures++ > limit)
        return;
    fprintf(stderr, "%s %02x %02x\n", insn_op_name(in->op), code[0], code[1]);
    show("was ", &before), show("mine", &mine), show("host", &host);
}

/* FNSTENV, FLDENV, FNSAVE and FRSTOR in their 16-bit layouts. */
static void small_images_agree_with_the_host(void **state)
{
    static const uint8_t forms[4][3] = { { 0x66, 0xd9, 0x37 }, { 0x66, 0xd9, 0x27 }, { 0x66, 0xdd, 0x37 }, { 0x66, 0xdd, 0x27 } };
    struct rig *rig = rig_new();
    struct fp_random r = { 0x1616 };

    (void)state;
    for (unsigned i = 0; i < 4000; i++) {
        struct insn in;
        assert_true(rig_decode(forms[i % 4], 3, &in));
        check_instruction(rig, &r, forms[i % 4], &in, 6);
    }
    rig_free(rig);
    assert_int_equal(failures, 0);
}

static void x87_agrees_with_the_host(void **state)
{
    struct rig *rig = rig_new();
    struct fp_random r = { 0xfedcba };
    unsigned rounds = getenv("X87_ROUNDS") ? (unsigned)atoi(getenv("X87_ROUNDS")) : 150, limit = getenv("X87_SHOW") ? (unsigned)atoi(getenv("X87_SHOW")) : 6;

    (void)state;
    for (unsigned opcode = 0xd8; opcode <= 0xdf; opcode++) {
        for (unsigned modrm = 0x07; modrm <= 0xff; modrm += modrm < 0xc0 ? 8 : 1) {
            uint8_t code[2] = { opcode, modrm };
            struct insn in;
            if (modrm == 0x47)
                modrm = 0xc0, code[1] = 0xc0;
            if (!rig_decode(code, 2, &in)) {
                skipped++;
                continue;
            }
            unsigned had = failures;
            for (unsigned i = 0; i < rounds; i++)
                check_instruction(rig, &r, code, &in, had + limit);
            if (failures != had)
                fprintf(stderr, "== %s %02x %02x: %u of %u differ\n", insn_op_name(in.op), code[0], code[1], failures - had, rounds);
        }
    }
    rig_free(rig);
    assert_int_equal(failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(x87_agrees_with_the_host), cmocka_unit_test(small_images_agree_with_the_host) };
    if (!__builtin_cpu_supports("avx2")) {
        fprintf(stderr, "the host has no XSAVE with AVX\n");
        return 77;
    }
    if (!host_cpu_is_model())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
