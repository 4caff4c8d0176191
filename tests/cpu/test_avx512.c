/* SPDX-License-Identifier: MIT */
/* AVX-512 of a guest: programs that mix it with SSE and AVX end in the same state on both engines, and lockstep agrees; what XCR0 must be; the areas of XSAVE; what a masked
 * access over the end of a page does. Encodings and results are the affair of test_evex.c and the differential tester. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "cpu/cpuid.h"
#include "cpu/translate/host_run.h"
#include "cpu/xsave.h"
#include "guest.h"

enum { DATA = 0x300000, DATA_BYTES = 8192 };

/* VEX forms clear what is above, SSE's keep it. */
GUEST_PROGRAM(avx512_mixed, "mov $200, %ecx; vmovdqu64 (%rbx), %zmm1; vmovdqu64 64(%rbx), %zmm17; vpbroadcastq %rcx, %zmm3; vmovdqa64 %zmm1, %zmm5; vmovdqa64 %zmm1, %zmm6;"
                            "mov $0x1234567, %eax; kmovd %eax, %k1; kmovd %eax, %k2;"
                            "1: vpaddq %zmm3, %zmm1, %zmm1; vcvtsi2sd %rcx, %xmm5, %xmm5; vdivsd %xmm1, %xmm5, %xmm7; addsd %xmm5, %xmm6; vmovsd %xmm7, 256(%rbx, %rcx, 8);"
                            "vpxord %zmm17, %zmm1, %zmm18{%k1}{z}; vpcmpud $1, %zmm18, %zmm1, %k2{%k1}; vmovdqu32 %zmm18, 2048(%rbx){%k2}; vpaddd 64(%rbx), %ymm18, %ymm19;"
                            "vpermq $0x1b, %zmm19, %zmm17; vpaddd 2048(%rbx){1to16}, %zmm17, %zmm20{%k2}; kshiftrd $1, %k1, %k3; kord %k3, %k2, %k1; kortestd %k1, %k2;"
                            "adc $3, %rdx;"
                            "vzeroupper; vmovdqu 32(%rbx), %ymm8; vmovupd 128(%rbx), %zmm9; vfmadd213pd {rz-sae}, %zmm9, %zmm1, %zmm9; vucomisd %xmm17, %xmm1; setb %sil;"
                            "vcompresspd %zmm9, 512(%rbx){%k1}; dec %ecx; jnz 1b; hlt");
/* Loops of few instructions. */
GUEST_PROGRAM(avx512_scalar, "mov $300, %ecx; vmovdqu64 (%rbx), %zmm3; vmovdqu64 (%rbx), %zmm5; mov $77, %rdx; vmovsd (%rbx), %xmm1;"
                             "1: mov %rdx, %rax; shl $13, %rax; xor %rax, %rdx; vcvtsi2sd %rdx, %xmm1, %xmm0; vdivsd %xmm3, %xmm0, %xmm2; vmovsd %xmm2, 64(%rbx, %rcx, 8);"
                             "vpaddq %zmm5, %zmm5, %zmm5; dec %ecx; jnz 1b; hlt");
/* Gathers and scatters are E0's. */
GUEST_PROGRAM(avx512_gather, "mov $20, %ecx; vpxord %zmm0, %zmm0, %zmm0; vmovdqu64 (%rbx), %zmm1; vpslld $24, %zmm1, %zmm2; vpsrld $24, %zmm2, %zmm2;"
                             "1: kxnorw %k0, %k0, %k1; vpgatherdd 128(%rbx, %zmm2, 4), %zmm3{%k1}; vpaddd %zmm3, %zmm0, %zmm0; kxnorw %k0, %k0, %k2;"
                             "vpscatterdd %zmm0, 128(%rbx, %zmm2, 4){%k2}; vextracti64x4 $1, %zmm0, 64(%rbx); inc %ecx; dec %ecx; dec %ecx; jnz 1b; hlt");

struct outcome { struct cpu_state state; uint8_t data[DATA_BYTES]; };

static void offer(struct cpu *cpu)
{
    uint32_t out[4];
    cpu_cpuid(cpu, 7, 0, out);
    const struct hy_cpuid leaf = { 7, 0, 1, out[0], out[1] | 0xd0230000, out[2] | 0x5842, out[3] };
    assert_int_equal(cpu_cpuid_set(cpu, &leaf, 1, NULL), 0);
}

static void prepare(struct guest *g)
{
    guest_make(g, 1, 64);
    struct cpu *cpu = g->vm.cpus[0];
    struct cpu_state *s = &cpu->state;
    offer(cpu);
    s->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    s->cr0 = (s->cr0 & ~(uint64_t)(CR0_EM | CR0_TS)) | CR0_NE | CR0_MP;
    s->xcr0 = XCR0_X87 | XCR0_AVX512;
    s->mxcsr = 0x1f80;
    s->gpr[REG_RBX] = DATA;
    for (unsigned i = 0; i < DATA_BYTES; i++)
        g->bytes[DATA + i] = (uint8_t)(i * 37 + (i >> 5));
    cpu_state_changed(cpu);
}

static void run(struct outcome *out, const uint8_t *program, const uint8_t *end)
{
    struct guest g;
    prepare(&g);
    guest_put(&g, GUEST_CODE, program, (size_t)(end - program));
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    out->state = g.vm.cpus[0]->state;
    memcpy(out->data, g.bytes + DATA, DATA_BYTES);
    guest_free(&g);
}

static void compare(const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->state.rip, b->state.rip);
    assert_memory_equal(a->state.gpr, b->state.gpr, sizeof a->state.gpr);
    assert_memory_equal(a->state.vec, b->state.vec, sizeof a->state.vec);
    assert_memory_equal(a->state.k, b->state.k, sizeof a->state.k);
    assert_memory_equal(a->state.zmm_high, b->state.zmm_high, sizeof a->state.zmm_high);
    assert_memory_equal(a->state.zmm16, b->state.zmm16, sizeof a->state.zmm16);
    assert_int_equal(a->state.mxcsr, b->state.mxcsr);
    assert_memory_equal(a->data, b->data, DATA_BYTES);
}

static void both(const uint8_t *program, const uint8_t *end)
{
    static const char *const engines[] = { "translate", "lockstep" };
    struct outcome interpreted, translated;
    setenv("CPU_ENGINE", "interpret", 1);
    run(&interpreted, program, end);
    for (unsigned i = 0; i < ARRAY_LEN(engines); i++) {
        setenv("CPU_ENGINE", engines[i], 1);
        run(&translated, program, end);
        compare(&interpreted, &translated);
    }
}
#define PROGRAM_TEST(name) static void name##_is_as_interpreted(void **state) { (void)state; both(name, name##_end); }
PROGRAM_TEST(avx512_mixed)
PROGRAM_TEST(avx512_scalar)
PROGRAM_TEST(avx512_gather)

static void xcr0_has_all_of_it_or_none(void **state)
{
    struct guest g;
    hy_val v = { .u64 = 0 };
    (void)state;
    setenv("CPU_ENGINE", "interpret", 1);
    prepare(&g);
    struct cpu *cpu = g.vm.cpus[0];
    for (uint64_t value = 0; value < 256; value++) {
        bool ok = value == 1 || value == 3 || value == 7 || value == 0xe7;
        assert_int_equal(value & ~(uint64_t)(XCR0_X87 | XCR0_AVX512) ? ok : xcr0_is_consistent(value), ok);
    }
    (void)v;
    uint32_t out[4];
    cpu_cpuid(cpu, 0xd, 0, out);
    assert_int_equal(out[0], XSAVE_COMPONENTS);
    assert_int_equal(out[2], XSAVE_MAX_SIZE);
    cpu_cpuid(cpu, 0xd, 9, out);
    assert_int_equal(out[1], XSAVE_PKRU_BEHIND_ZMM); /* Linux wants offsets to rise with the components' numbers */
    cpu_cpuid(cpu, 0xd, 7, out);
    assert_int_equal(out[0], XSAVE_ZMM16_SIZE);
    guest_free(&g);
}

/* XSAVE, what is in use changed, XRSTOR: all is back. The same compacted. */
GUEST_PROGRAM(avx512_saved, "mov $-1, %eax; mov $-1, %edx; vmovdqu64 (%rbx), %zmm1; vmovdqu64 64(%rbx), %zmm30; mov $99, %ecx; kmovq %rcx, %k5; xsave64 1024(%rbx);"
                            "xsavec64 4096(%rbx); vpxord %zmm30, %zmm30, %zmm30; vzeroall; kxorq %k5, %k5, %k5; xrstor64 1024(%rbx); vmovdqu64 %zmm1, (%rbx); kmovq %k5, %r8;"
                            "vpxord %zmm30, %zmm30, %zmm30; vzeroall; kxorq %k5, %k5, %k5; xrstor64 4096(%rbx); mov $1, %ecx; xgetbv; hlt");

static void xsave_keeps_it(void **state)
{
    struct outcome before, after;
    uint8_t zmm[64];
    (void)state;
    setenv("CPU_ENGINE", "interpret", 1);
    struct guest g;
    prepare(&g);
    memset(g.bytes + DATA + 1024, 0, DATA_BYTES - 1024);
    memcpy(before.data, g.bytes + DATA, 128);
    GUEST_PUT(&g, GUEST_CODE, avx512_saved);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    after.state = g.vm.cpus[0]->state;
    memcpy(zmm, &after.state.vec[1], 32);
    memcpy(zmm + 32, after.state.zmm_high[1], 32);
    assert_memory_equal(zmm, before.data, 64);
    assert_memory_equal(g.bytes + DATA, before.data, 64);
    assert_memory_equal(after.state.zmm16[14], before.data + 64, 64);
    assert_int_equal(after.state.k[5], 99);
    assert_int_equal(after.state.gpr[8], 99);
    assert_int_equal(after.state.gpr[REG_RAX] & XCR0_AVX512, XCR0_AVX512);
    assert_memory_equal(g.bytes + DATA + 1024 + XSAVE_ZMM16_OFFSET + 64 * 14, before.data + 64, 64);
    guest_free(&g);
}

GUEST_PROGRAM(avx512_one, "vpxord %zmm1, %zmm2, %zmm3; hlt");

/* Not enabled in XCR0, or not told by CPUID: #UD, which without a handler is a triple fault. */
static void it_must_be_enabled(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct guest g;
        prepare(&g);
        struct cpu *cpu = g.vm.cpus[0];
        if (i == 1)
            cpu->state.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
        if (i == 2)
            cpu->state.cr4 &= ~(uint64_t)CR4_OSXSAVE;
        cpu_state_changed(cpu);
        GUEST_PUT(&g, GUEST_CODE, avx512_one);
        assert_int_equal(guest_run(&g, 0), i ? HY_EXIT_CRASH : HY_EXIT_HALT);
        guest_free(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(avx512_mixed_is_as_interpreted), cmocka_unit_test(avx512_scalar_is_as_interpreted), cmocka_unit_test(avx512_gather_is_as_interpreted),
        cmocka_unit_test(xcr0_has_all_of_it_or_none), cmocka_unit_test(xsave_keeps_it), cmocka_unit_test(it_must_be_enabled),
    };
    struct guest g;
    guest_make(&g, 1, 64);
    bool has = g.vm.cpus[0]->host_runner;
    guest_free(&g);
    return has ? cmocka_run_group_tests(tests, NULL, NULL) : 77; /* skipped: the host has none */
}
