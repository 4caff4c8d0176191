/* SPDX-License-Identifier: MIT */
/* Compares FXSAVE, FXRSTOR, XSAVE, XSAVEOPT, XSAVEC and XRSTOR with the host's: memory images, restored state, #GP for bad headers. States are in use
 * throughout, since processors may track XINUSE more coarsely than the SDM allows us to. x86-64 Linux hosts with AVX2 only. */
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

static unsigned failures;

struct form { const char *name; uint8_t code[5]; uint8_t length; bool loads, has_header; };

/* All with the operand at [rdi]. */
static const struct form forms[] = {
    { "fxsave", { 0x0f, 0xae, 0x07 }, 3, false, false }, { "fxsave64", { 0x48, 0x0f, 0xae, 0x07 }, 4, false, false },
    { "fxrstor", { 0x0f, 0xae, 0x0f }, 3, true, false }, { "fxrstor64", { 0x48, 0x0f, 0xae, 0x0f }, 4, true, false },
    { "xsave", { 0x0f, 0xae, 0x27 }, 3, false, true }, { "xsave64", { 0x48, 0x0f, 0xae, 0x27 }, 4, false, true },
    { "xsaveopt64", { 0x48, 0x0f, 0xae, 0x37 }, 4, false, true }, { "xsavec64", { 0x48, 0x0f, 0xc7, 0x27 }, 4, false, true },
    { "xrstor", { 0x0f, 0xae, 0x2f }, 3, true, true }, { "xrstor64", { 0x48, 0x0f, 0xae, 0x2f }, 4, true, true },
};

static void random_image(struct fp_random *r, uint8_t *area)
{
    for (unsigned i = 0; i < 832; i += 8)
        store_le64(area + i, fp_random_next(r) | 1);
    for (unsigned i = 0; i < 8; i++)
        memset(area + 32 + 16 * i + 10, 0, 6);
    store_le16(area, 0x37f | (fp_random_next(r) & 0xc00));
    store_le16(area + 2, fp_random_next(r) & 0x7f7f);
    store_le64(area + 8, fp_random_next(r) >> 20);
    store_le64(area + 16, fp_random_next(r) >> 20);
    store_le16(area + 6, fp_random_next(r) & 0x7ff);
    store_le32(area + 24, 0x1f80 | (fp_random_next(r) & 0xe07f));
    memset(area + 512, 0, 64);
}

static void random_state(struct fp_random *r, const struct form *form, struct rig_state *s)
{
    uint64_t x = fp_random_next(r);

    memset(s, 0, sizeof *s);
    random_image(r, s->area);
    s->area[5] = 0;
    random_image(r, s->memory);
    s->memory[512] = x & 7;
    if (form->loads && form->has_header && x >> 3 & 1) { /* compacted */
        s->memory[520] = x >> 4 & 7;
        s->memory[527] = 0x80;
        if (x >> 7 & 3)
            s->memory[512] &= s->memory[520];
    }
    if ((x >> 9 & 7) == 0)
        s->memory[512 + (x >> 12 & 63)] ^= (x >> 18 & 1) ? 0x40 : 1; /* a reserved bit, perhaps */
    if ((x >> 19 & 15) == 0)
        s->memory[26] = 1; /* MXCSR bit 16 */
    if (s->memory[513] || s->memory[512] & ~7 || s->memory[521] || s->memory[520] & ~7) /* components that only the host may have */
        s->memory[513] = s->memory[521] = 0, s->memory[512] &= 7, s->memory[520] &= 7;
    s->rax = x >> 32 & 7;
    s->flags = 0x202;
}

/* After #GP for MXCSR some processors have loaded part of the state, which the SDM does not promise. */
static bool same(const struct rig_state *a, const struct rig_state *b)
{
    if (a->fault >= 0 && a->fault == b->fault)
        return true;
    return a->fault == b->fault && !memcmp(a->area, b->area, 28) && !memcmp(a->area + 32, b->area + 32, 384) && !memcmp(a->area + 576, b->area + 576, 256)
        && !memcmp(a->memory, b->memory, RIG_MEMORY);
}

static void report(const struct form *form, const struct rig_state *was, const struct rig_state *mine, const struct rig_state *host)
{
    if (failures++ > 10)
        return;
    fprintf(stderr, "%s mask %lx header %lx %lx: fault %d, host %d; differs at", form->name, (long)was->rax, (long)load_le64(was->memory + 512),
            (long)load_le64(was->memory + 520), mine->fault, host->fault);
    for (unsigned i = 0, n = 0; i < 832 && n < 8; i++)
        if (mine->memory[i] != host->memory[i])
            n++, fprintf(stderr, " m%u=%02x/%02x", i, mine->memory[i], host->memory[i]);
    for (unsigned i = 0, n = 0; i < 832 && n < 8; i++)
        if (mine->area[i] != host->area[i] && (i < 28 || i >= 32) && (i < 416 || i >= 576))
            n++, fprintf(stderr, " s%u=%02x/%02x", i, mine->area[i], host->area[i]);
    fprintf(stderr, "\n");
}

static void xsave_agrees_with_the_host(void **state)
{
    struct rig *rig = rig_new();
    struct fp_random r = { 0xabcdef };

    (void)state;
    for (unsigned n = 0; n < 3000 * ARRAY_LEN(forms); n++) {
        const struct form *form = &forms[n % ARRAY_LEN(forms)];
        struct rig_state was, mine, host;
        struct insn in;
        assert_true(rig_decode(form->code, form->length, &in));
        random_state(&r, form, &was);
        mine = host = was;
        rig_run_ours(rig, &in, exec_xsave, &mine);
        rig_run_host(rig, form->code, form->length, &host);
        if (!same(&mine, &host))
            report(form, &was, &mine, &host);
    }
    rig_free(rig);
    assert_int_equal(failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(xsave_agrees_with_the_host) };

    if (!__builtin_cpu_supports("avx2")) {
        fprintf(stderr, "the host has no XSAVE with AVX\n");
        return 77;
    }
    if (!host_cpu_is_model())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
