/* SPDX-License-Identifier: MIT */
/* One digest over the results of every vector operation and every x87 opcode on seeded inputs. It is the same on every host, whatever its CPU and compiler; on
 * x86-64 the other tests of this folder show that the results are right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "cpu/vector.h"
#include "cpu/x87.h"
#include "fp_cases.h"
#include "fpu_rig.h"

static uint64_t digest;

/* FNV-1a. */
static void digest_add(const void *data, size_t len)
{
    const uint8_t *p = data;

    while (len--)
        digest = (digest ^ *p++) * UINT64_C(0x100000001b3);
}

enum { I, F, U, A, T, D, C };
static vec_function *const functions[] = {
#define VEC(op, function, traits) vec_##function,
#include "cpu/vector_ops.def"
#undef VEC
};

static void digest_vectors(struct fp_random *r)
{
    for (unsigned n = 0; n < 64 * ARRAY_LEN(functions); n++) {
        struct fp_env env = { .rounding = n & 3, .daz = n & 4, .ftz = n & 8, .masks = n & 16 ? FP_ALL : fp_random_next(r) & FP_ALL };
        unsigned bytes = fp_random_next(r) & 1 ? 16 : 32;
        union vec a, b, dst;
        for (unsigned i = 0; i < 4; i++) {
            bool single = n & 32;
            a.q[i] = single ? fp_random_f32(r) | (uint64_t)fp_random_f32(r) << 32 : fp_random_f64(r);
            b.q[i] = single ? fp_random_f32(r) | (uint64_t)fp_random_f32(r) << 32 : fp_random_f64(r);
            dst.q[i] = fp_random_next(r);
        }
        functions[n % ARRAY_LEN(functions)](&env, &dst, &a, &b, bytes, fp_random_next(r) & 0xff);
        digest_add(&dst, 16);
        digest_add(&env.flags, 1);
    }
}

static void digest_x87(struct fp_random *r, struct rig *rig)
{
    static struct rig_state s;

    for (unsigned n = 0; n < 8 * 256 * 8; n++) {
        uint8_t code[2] = { 0xd8 | (n & 7), n >> 3 & 0xff };
        struct insn in;
        if (!rig_decode(code, 2, &in) || in.length != 2 || (in.has_mem && in.base != INSN_RDI))
            continue;
        for (unsigned i = 0; i < 160; i += 8)
            store_le64(s.area + i, fp_random_fraction(r, 64));
        for (unsigned i = 32; i < 160; i += 16)
            store_le16(s.area + i + 8, fp_random_pattern(r, 15, 48) >> 48), store_le32(s.area + i + 10, 0), s.area[i + 7] |= 0x80;
        store_le16(s.area, 0x37f | (fp_random_next(r) & 0xc00));
        s.area[2] = 0;
        for (unsigned i = 0; i < 16; i += 8)
            store_le64(s.memory + i, fp_random_f64(r));
        rig_run_ours(rig, &in, exec_x87, &s);
        digest_add(s.area, 8);
        digest_add(s.area + 32, 128);
        digest_add(s.memory, 16);
    }
}

static void results_are_the_same_on_every_host(void **state)
{
    struct rig *rig = rig_new();
    struct fp_random r = { 2024 };

    (void)state;
    digest = UINT64_C(0xcbf29ce484222325);
    digest_vectors(&r);
    uint64_t vectors = digest;
    digest_x87(&r, rig);
    rig_free(rig);
    /* A change of these values is right only together with a change of what instructions compute, or of the inputs. */
    assert_int_equal(vectors, UINT64_C(0xb50639e798738285));
    assert_int_equal(digest, UINT64_C(0x24e244e9895a34a0));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(results_are_the_same_on_every_host) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
