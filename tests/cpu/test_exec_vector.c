/* SPDX-License-Identifier: MIT */
/* Compares decoder and exec_vector() with the host over random vector encodings and states: all registers, MXCSR, x87 image, flags, memory, faults.
 * x86-64 Linux hosts with AVX2 only. An argument is the seed, a second one the number of rounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fp_cases.h"
#include "fpu_rig.h"
#include "host_cpu.h"

static unsigned failures, executed;
static uint64_t seed = 0x5eed;
static unsigned rounds = 400000;

static void random_registers(struct fp_random *r, uint8_t *p, unsigned count, unsigned style)
{
    for (unsigned i = 0; i < count; i += 8) {
        switch (style) {
        case 0: store_le64(p + i, fp_random_f64(r)); break;
        case 1: store_le64(p + i, fp_random_f32(r) | (uint64_t)fp_random_f32(r) << 32); break;
        case 2: store_le64(p + i, fp_random_fraction(r, 64)); break;
        default: store_le64(p + i, fp_random_next(r)); break;
        }
    }
}

static void random_state(struct fp_random *r, struct rig_state *s)
{
    uint64_t x = fp_random_next(r);
    unsigned style = x & 3;

    memset(s, 0, sizeof *s);
    store_le16(s->area, 0x37f);
    store_le16(s->area + 2, x >> 8 & 0x7f3f);
    if ((x >> 4 & 63) == 0)
        store_le16(s->area, 0x340); /* a pending x87 exception, perhaps */
    s->area[4] = x >> 24;
    uint32_t masks = x >> 32 & 7 ? 0x3f : x >> 35 & 0x3f;
    store_le32(s->area + 24, masks << 7 | (x >> 48 & masks) | (x >> 54 & 3) << 13 | (x >> 56 & 1) << 15 | (x >> 57 & 1) << 6);
    random_registers(r, s->area + 32, 128, style);
    for (unsigned i = 0; i < 8; i++)
        memset(s->area + 32 + 16 * i + 10, 0, 6);
    random_registers(r, s->area + 160, 256, style);
    random_registers(r, s->area + 576, 256, style);
    random_registers(r, s->memory, 256, style);
    if (fp_random_next(r) % 8 == 0)
        store_le32(s->memory, fp_random_next(r) & 0xffff);
    s->rax = fp_random_fraction(r, 64), s->rcx = fp_random_next(r), s->rdx = fp_random_fraction(r, 5), s->rsi = fp_random_next(r);
    s->flags = 0x202 | (fp_random_next(r) & FLAGS_ARITH);
}

static unsigned put_modrm(struct fp_random *r, uint8_t *p)
{
    uint64_t x = fp_random_next(r);

    if (x & 1) {
        *p = 0xc0 | (x >> 8 & 0x3f);
        return 1;
    }
    if (x & 6) {
        *p = 0x07 | (x >> 8 & 0x38); /* [rdi] */
        return 1;
    }
    p[0] = 0x47 | (x >> 8 & 0x38); /* [rdi + disp8] */
    p[1] = x >> 16 & 63;
    return 2;
}

static unsigned put_legacy(struct fp_random *r, uint8_t *code)
{
    static const uint8_t prefixes[4] = { 0, 0x66, 0xf3, 0xf2 };
    uint64_t x = fp_random_next(r);
    unsigned n = 0, map = x >> 8 & 3;

    if (prefixes[x & 3])
        code[n++] = prefixes[x & 3];
    if (x >> 4 & 1)
        code[n++] = 0x40 | (x >> 16 & 15 & ~(x >> 5 & 1 ? 1u : 0u));
    code[n++] = 0x0f;
    if (map > 1)
        code[n++] = map == 2 ? 0x38 : 0x3a;
    code[n++] = x >> 24;
    n += put_modrm(r, code + n);
    code[n++] = x >> 32;
    return n;
}

static unsigned put_vex(struct fp_random *r, uint8_t *code)
{
    uint64_t x = fp_random_next(r);
    unsigned n = 3;

    code[0] = 0xc4;
    code[1] = (x & 0xe0) | (1 + (x >> 8) % 3) | 0x20; /* B as it is for register forms only; see below */
    code[2] = (x >> 16 & 0xff) | (x >> 40 & 1 ? 0x78 : 0);
    if (x >> 41 & 3)
        code[2] &= 0x7f; /* W */
    code[n++] = x >> 24;
    n += put_modrm(r, code + n);
    code[n++] = x >> 32;
    return n;
}

/* Only registers that the rig sets up may be touched, and gathers would read anywhere. */
static bool is_testable(const struct insn *in)
{
    if ((in->op < OP_EMMS || in->op >= OP_EVEX) && in->op != OP_CRC32 && in->op != OP_MOVNTI)
        return false;
    if (in->vsib || (in->has_mem && in->base != INSN_RDI) || in->seg == INSN_FS)
        return false;
    for (unsigned i = 0; i < in->nopnd; i++)
        if ((in->opnd[i].kind == OPND_GPR && in->opnd[i].reg > 2 && in->opnd[i].reg != INSN_RSI) || (in->opnd[i].kind == OPND_GPR_HIGH && in->opnd[i].reg > 2))
            return false;
    return true;
}

static void show(const char *label, const struct rig_state *s, const struct insn *in)
{
    const uint8_t *p = s->area;

    fprintf(stderr, " %s fault %d mxcsr %05x fcw %04x fsw %04x tag %02x flags %lx rax %lx rcx %lx rdx %lx rsi %lx\n", label, s->fault, load_le32(p + 24),
            load_le16(p), load_le16(p + 2), p[4], (long)s->flags, (long)s->rax, (long)s->rcx, (long)s->rdx, (long)s->rsi);
    for (unsigned i = 0; i < in->nopnd; i++) {
        unsigned reg = in->opnd[i].reg & 15;
        if (in->opnd[i].kind == OPND_XMM)
            fprintf(stderr, "    xmm%-2u %016lx %016lx %016lx %016lx\n", reg, (long)load_le64(p + 584 + 16 * reg), (long)load_le64(p + 576 + 16 * reg),
                    (long)load_le64(p + 168 + 16 * reg), (long)load_le64(p + 160 + 16 * reg));
        if (in->opnd[i].kind == OPND_MMX)
            fprintf(stderr, "    top %u st%u %016lx\n", load_le16(p + 2) >> 11 & 7, reg, (long)load_le64(p + 32 + 16 * reg));
    }
    const uint8_t *m = s->memory + (in->disp & 63);
    fprintf(stderr, "    mem +%d %016lx %016lx %016lx %016lx\n", in->disp, (long)load_le64(m + 24), (long)load_le64(m + 16), (long)load_le64(m + 8), (long)load_le64(m));
}

static bool states_equal(const struct rig_state *a, const struct rig_state *b)
{
    return a->fault == b->fault && !memcmp(a->area, b->area, 28) && !memcmp(a->area + 32, b->area + 32, 384) && !memcmp(a->area + 576, b->area + 576, 256)
        && a->rax == b->rax && a->rcx == b->rcx && a->rdx == b->rdx && a->rsi == b->rsi && ((a->flags ^ b->flags) & FLAGS_ARITH) == 0
        && !memcmp(a->memory, b->memory, RIG_MEMORY);
}

static void check_one(struct rig *rig, struct fp_random *r, const uint8_t *code, const struct insn *in)
{
    struct rig_state before, mine, host;

    random_state(r, &before);
    mine = host = before;
    rig_run_ours(rig, in, exec_vector, &mine);
    rig_run_host(rig, code, in->length, &host);
    executed++;
    if (states_equal(&mine, &host) || failures++ > 30)
        return;
    fprintf(stderr, "%s%s", in->prefix & PFX_VEX ? "V" : "", insn_op_name(in->op));
    for (unsigned i = 0; i < in->length; i++)
        fprintf(stderr, " %02x", code[i]);
    fprintf(stderr, "\n");
    show("was ", &before, in), show("mine", &mine, in), show("host", &host, in);
}

static void vector_instructions_agree_with_the_host(void **state)
{
    struct rig *rig = rig_new();
    struct fp_random r = { seed };

    (void)state;
    for (unsigned i = 0; i < rounds; i++) {
        uint8_t code[16] = { 0 };
        struct insn in;
        unsigned length = fp_random_next(&r) & 1 ? put_legacy(&r, code) : put_vex(&r, code);
        if (rig_decode(code, length, &in) && in.length <= length && is_testable(&in))
            check_one(rig, &r, code, &in);
    }
    rig_free(rig);
    fprintf(stderr, "%u instructions compared\n", executed);
    assert_int_equal(failures, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(vector_instructions_agree_with_the_host) };

    if (argc > 1)
        seed = strtoull(argv[1], NULL, 0);
    if (argc > 2)
        rounds = (unsigned)strtoul(argv[2], NULL, 0);
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        fprintf(stderr, "the host has no AVX2 and FMA\n");
        return 77;
    }
    if (!host_cpu_is_model())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
