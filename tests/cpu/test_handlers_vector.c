/* SPDX-License-Identifier: MIT */
/* Runs random vector instructions in decoded blocks, where the frequent ones have handlers of their own, and through exec_vector(), which test_exec_vector
 * compares with the host: registers, MXCSR, flags and memory must be the same. Any host. An argument is the number of rounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cpu/decode.h"
#include "fp_cases.h"
#include "guest.h"

enum { DATA = 0x800000, DATA_LEN = 128, PROGRAMS = 0x200000, SLOT = 32 };

static unsigned rounds = 100000, compared;

static unsigned random_code(struct fp_random *r, uint8_t *code)
{
    static const uint8_t prefixes[4] = { 0, 0x66, 0xf3, 0xf2 };
    static const uint8_t frequent[] = { 0x10, 0x11, 0x12, 0x13, 0x16, 0x17, 0x28, 0x29, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5c, 0x5e, 0x64, 0x65, 0x66, 0x6c, 0x6d,
        0x6e, 0x6f, 0x70, 0x74, 0x75, 0x76, 0x77, 0x7e, 0x7f, 0xd4, 0xd5, 0xd6, 0xd7, 0xda, 0xdb, 0xde, 0xdf, 0xe7, 0xeb, 0xef, 0xf0, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc,
        0xfd, 0xfe };
    uint64_t x = fp_random_next(r);
    uint8_t opcode = x >> 40 & 3 ? frequent[(x >> 8) % sizeof frequent] : x >> 8 & 0xff;
    unsigned n = 0;

    if (x & 1) {
        if (prefixes[x >> 1 & 3])
            code[n++] = prefixes[x >> 1 & 3];
        if (x >> 3 & 1)
            code[n++] = 0x40 | (x >> 16 & 0xc);
        code[n++] = 0x0f;
    } else if (x >> 50 & 7) {
        code[n++] = 0xc5;
        code[n++] = (x >> 16 & 0xff) | (x >> 42 & 1 ? 0x78 : 0);
    }
    if (n == 0) { /* VEX.0F38 */
        code[n++] = 0xc4;
        code[n++] = 0xe2;
        code[n++] = 0x79 | (x >> 16 & 4);
        opcode = x >> 53 & 1 ? 0x78 : x >> 8 & 0xff;
    }
    code[n++] = opcode;
    if (x >> 43 & 1) {
        code[n++] = 0xc0 | (x >> 24 & 0x3f);
    } else {
        code[n++] = 0x47 | (x >> 24 & 0x38); /* [rdi + disp8] */
        code[n++] = x >> 45 & 3 ? x >> 32 & 0x60 : x >> 32 & 0x3f;
    }
    code[n++] = x >> 48;
    return n;
}

static bool is_testable(const struct insn *in)
{
    if (in->op < OP_EMMS || (in->has_mem && in->base != INSN_RDI) || in->vsib || in->op == OP_LDMXCSR)
        return false;
    for (unsigned i = 0; i < in->nopnd; i++)
        if (in->opnd[i].kind == OPND_GPR && (in->opnd[i].reg == INSN_RSP || in->opnd[i].reg == INSN_RDI))
            return false;
    return true;
}

static void random_state(struct fp_random *r, struct cpu_state *s)
{
    for (unsigned i = 0; i < 16; i++) {
        for (unsigned j = 0; j < 4; j++)
            s->vec[i].q[j] = fp_random_next(r) & 1 ? fp_random_f64(r) : fp_random_next(r);
        if (i != REG_RSP)
            s->gpr[i] = fp_random_next(r);
    }
    s->gpr[REG_RDI] = DATA;
    s->mxcsr = 0x1f80 | (fp_random_next(r) & 0x3f) | (fp_random_next(r) % 4 ? 0 : fp_random_next(r) & 0xe040);
    s->cr0 = (s->cr0 & ~(uint64_t)CR0_EM) | CR0_MP;
    s->cr4 |= CR4_OSFXSR | CR4_OSXSAVE | CR4_OSXMMEXCPT;
    s->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
}

/* False when it faults. */
static bool run_directly(struct cpu *cpu, const struct insn *in)
{
    if (setjmp(cpu->leave))
        return false;
    cpu->next_rip = cpu->state.rip + in->length;
    exec_vector(cpu, in);
    return true;
}

static void check_one(struct guest *g, struct fp_random *r, uint64_t at, const uint8_t *code, const struct insn *in)
{
    static struct cpu_state before, direct;
    struct cpu *cpu = g->vm.cpus[0];
    uint8_t memory[DATA_LEN], written[DATA_LEN], program[SLOT] = { 0 };

    memcpy(program, code, in->length);
    program[in->length] = 0xf4; /* HLT */
    guest_put(g, at, program, sizeof program);
    for (unsigned i = 0; i < DATA_LEN; i += 8)
        store_le64(memory + i, fp_random_next(r) & 1 ? fp_random_f64(r) : fp_random_next(r));
    guest_enter(g, 0, 64, at);
    random_state(r, &cpu->state);
    cpu_state_changed(cpu);
    before = cpu->state;

    guest_put(g, DATA, memory, DATA_LEN);
    if (!run_directly(cpu, in))
        return;
    cpu_state_flush(cpu);
    direct = cpu->state;
    memcpy(written, g->bytes + DATA, DATA_LEN);

    guest_put(g, DATA, memory, DATA_LEN);
    cpu->state = before;
    cpu_flags_set(cpu, before.rflags);
    cpu_state_changed(cpu);
    assert_int_equal(guest_run(g, 0), HY_EXIT_HALT);
    cpu_state_flush(cpu);
    compared++;
    bool same = !memcmp(direct.vec, cpu->state.vec, sizeof direct.vec) && !memcmp(direct.gpr, cpu->state.gpr, sizeof direct.gpr)
        && direct.mxcsr == cpu->state.mxcsr && !memcmp(&direct.x87, &cpu->state.x87, sizeof direct.x87)
        && ((direct.rflags ^ cpu->state.rflags) & FLAGS_ARITH) == 0 && !memcmp(written, g->bytes + DATA, DATA_LEN);
    if (same)
        return;
    fprintf(stderr, "%s:", insn_op_name(in->op));
    for (unsigned i = 0; i < in->length; i++)
        fprintf(stderr, " %02x", code[i]);
    fail_msg(" differs");
}

static void handlers_agree_with_exec_vector(void **state)
{
    struct fp_random r = { 0x77777 };
    struct guest g;

    (void)state;
    guest_make(&g, 1, 64);
    for (unsigned i = 0; i < rounds; i++) {
        uint8_t code[16] = { 0 };
        struct insn in;
        unsigned length = random_code(&r, code);
        memset(code + length, 0x90, sizeof code - length);
        if (insn_decode(code, 15, CPU_MODE_64, &in) > 0 && in.length <= length && is_testable(&in))
            check_one(&g, &r, PROGRAMS + i * SLOT % 0x500000, code, &in);
    }
    guest_free(&g);
    fprintf(stderr, "%u instructions compared\n", compared);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(handlers_agree_with_exec_vector) };

    if (argc > 1)
        rounds = (unsigned)strtoul(argv[1], NULL, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
