/* SPDX-License-Identifier: MIT */
/* A program must leave the same registers and memory on the interpreter and on translated code while translations, decoded and translated code are dropped at random, the
 * TLB has one entry, the code cache one block or few, and kicks come. The 30 minutes with a whole system are tests/boot/soak.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cpu/soak.h"
#include "cpu/translate/translate.h"
#include "guest.h"

enum { DATA = 0x300000, DATA_LEN = 0x8000 };

/* 300 rounds of: a checksum over 4 KiB, a copy over a page boundary by words, by REP and by vectors, calls direct, indirect and through a table, a bit count, divisions. */
GUEST_PROGRAM(soak_program,
    "mov $0x300000, %ebx; mov $300, %r12d; xor %r13d, %r13d; lea 7f(%rip), %r14;"
    "1: lea (%rbx), %rsi; mov $64, %ecx; 2: add (%rsi), %r13; rol $7, %r13; xor 8(%rsi), %r13; mov %r13, 8(%rsi); add $16, %rsi; dec %ecx; jnz 2b;"
    "lea 0xff0(%rbx), %rdi; mov $40, %ecx; 3: mov %r13d, (%rdi); movzbl 3(%rdi), %eax; add %rax, %r13; add $5, %rdi; sub $1, %ecx; ja 3b;"
    "lea 0xfc3(%rbx), %rsi; lea 0x2fe1(%rbx), %rdi; mov $333, %ecx; rep movsb;"
    "lea 0x3ff8(%rbx), %rdi; mov %r13, %rax; mov $70, %ecx; rep stosl;"
    "movups 0xff8(%rbx), %xmm0; paddq 0x10(%rbx), %xmm0; movaps %xmm0, 0x5000(%rbx); pxor %xmm1, %xmm0; movups %xmm0, 0x5ff9(%rbx);"
    "call 4f; call *%r14; push %r14; call *(%rsp); pop %rax; mov %r13, %rax; xor %edx, %edx; mov $1000003, %ecx; div %rcx; add %rdx, %r13;"
    "lock xadd %r13, 0x6000(%rbx); adc $3, %r13; mov %r12, %r8; and $7, %r8d; setz %al; movzbl %al, %eax; cmovz %r13, %r9; add %rax, 0x7000(%rbx,%r8,8);"
    "dec %r12; jnz 1b; hlt;"
    "4: push %rbp; mov %rsp, %rbp; sub $32, %rsp; mov %r13, -8(%rbp); popcnt -8(%rbp), %rax; add %rax, %r13; leave; ret;"
    "7: bswap %r13; test $1, %r13b; jz 5f; not %r13; 5: ret");

struct outcome { uint64_t gpr[16]; uint8_t data[DATA_LEN]; };

typedef void program_put(struct guest *);

static void put_soak_program(struct guest *g) { GUEST_PUT(g, GUEST_CODE, soak_program); }

/* Runs to HLT. */
static void outcome_of(const char *engine, const struct cpu_soak *soak, program_put *program, struct outcome *out)
{
    struct guest g;
    unsigned reason;
    setenv("CPU_ENGINE", engine, 1);
    guest_make_soaked(&g, 1, 64, soak);
    program(&g);
    for (unsigned i = 0; i < DATA_LEN; i++)
        g.bytes[DATA + i] = (uint8_t)(i * 37 + i / 256);
    do
        reason = guest_run(&g, 0);
    while (reason == HY_EXIT_KICK);
    assert_true(reason == HY_EXIT_HALT || reason == HY_EXIT_CRASH);
    memcpy(out->gpr, g.vm.cpus[0]->state.gpr, sizeof out->gpr);
    memcpy(out->data, g.bytes + DATA, DATA_LEN);
    struct translate_statistics statistics;
    translate_statistics_get(g.vm.cpus[0], &statistics);
    assert_true(statistics.cache_bytes <= (soak && soak->code_bytes ? soak->code_bytes : 32u << 20));
    if (statistics.translations && soak && soak->code_bytes)
        assert_true(statistics.evictions > 100);
    guest_free(&g);
}

/* Each soak on each engine comes to what the interpreter alone does. */
static void outcomes_agree(program_put *program, const struct cpu_soak *soaks, size_t count, bool interpret_too)
{
    static const char *const engines[] = { "translate", "lockstep", "interpret" };
    static struct outcome wanted, found;
    outcome_of("interpret", NULL, program, &wanted);
    for (size_t i = 0; i < count; i++) {
        for (unsigned engine = 0; engine < (interpret_too ? 3 : 2); engine++) {
            outcome_of(engines[engine], &soaks[i], program, &found);
            if (memcmp(&wanted, &found, sizeof found) != 0)
                fail_msg("%s, row %zu: another outcome", engines[engine], i);
        }
    }
}

static void soaked_engines_agree(void **state)
{
    static const struct cpu_soak soaks[] = {
        { .one_entry = true }, { .one_block = true }, { .tlb_every = 2 }, { .code_every = 3 }, { .kick_after = 2 }, { .request_every = 2 }, { .unlinked = true },
        { .one_block_every = 30, .one_block_for = 20 },
        { .tlb_every = 50, .code_every = 200, .request_every = 20, .kick_after = 33, .unlinked = true },
        { .tlb_every = 7, .code_every = 40, .request_every = 3, .kick_after = 11, .one_entry = true, .one_block = true, .unlinked = true },
    };
    (void)state;
    outcomes_agree(put_soak_program, soaks, sizeof soaks / sizeof soaks[0], true);
}

/* More code than the cache holds: functions with a loop each, called by a table in random order; most may go on into the next one. */
GUEST_PROGRAM(large_caller,
    "mov $0x300000, %ebx; mov $0x200000, %r14d; mov $5000, %r12d; mov $99, %r13d;"
    "1: mov $6364136223846793005, %rax; imul %rax, %r13; add $12345, %r13; mov %r13, %rax; shr $54, %rax; call *(%r14,%rax,8);"
    "dec %r12; jnz 1b; hlt");
GUEST_PROGRAM(large_function,
    "push %r13; mov %rax, %rcx; add %r13, 8(%rbx,%rax,8); rol $7, %r13; xor 16(%rbx), %r13; mov %r13, (%rbx,%rax,8); mov $3, %ecx;"
    "2: add %r13, 0x5000(%rbx,%rcx,8); ror $11, %r13; dec %ecx; jnz 2b;"
    "test $1, %r13b; pop %r13; jnz 3f; add $1, %r13; 3: movzwl 0x5008(%rbx), %edx; add %rdx, 0x4000(%rbx);"
    "bt $5, %edx; jc 4f; ret; 4:");

enum { FUNCTIONS = 1024, FUNCTION_SPACE = 256, TABLE = 0x200000, FUNCTION_CODE = 0x400000 };

static void put_large_program(struct guest *g)
{
    GUEST_PUT(g, GUEST_CODE, large_caller);
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        uint64_t at = FUNCTION_CODE + i * FUNCTION_SPACE, end = at + (uint64_t)(large_function_end - large_function);
        store_le64(g->bytes + TABLE + i * 8, at);
        memset(g->bytes + at, 0x90, FUNCTION_SPACE); /* to the next function */
        GUEST_PUT(g, at, large_function);
        if (i % 4 == 3)
            g->bytes[end] = 0xc3;
    }
}

static void small_cache_forgets_in_parts(void **state)
{
    static const struct cpu_soak soaks[] = {
        { .code_bytes = 0x90000 }, { .code_bytes = 0xc0000 }, { .code_bytes = 0x90000, .unlinked = true, .tlb_every = 50 },
        { .code_bytes = 0x90000, .code_every = 3000, .request_every = 20, .kick_after = 33 },
    };
    (void)state;
    outcomes_agree(put_large_program, soaks, sizeof soaks / sizeof soaks[0], false);
}

/* User code, whose calls are the host's: deeper than the return stack, a RET to elsewhere than behind its CALL, one to where no CALL was, one that takes arguments
 * off. HLT is a fault there, and without a handler the machine's end. */
GUEST_PROGRAM(return_program,
    "mov $0x300000, %ebx; mov $12, %r12d; 1: mov $700, %ecx; call 2f; call 4f; nop; add $3, %rax; lea 6f(%rip), %rdx; call 7f; push %rax; push %rax; call 8f;"
    "mov %rax, (%rbx,%r12,8); mov $300, %ecx; call 2f; dec %r12; jnz 1b; hlt;"
    "2: dec %ecx; jz 3f; call 2b; 3: rol $3, %rax; add %rcx, %rax; add $1, %rax; ret;"
    "4: incq (%rsp); add $5, %rax; ret;"
    "6: xor $0x77, %rax; ret;"
    "7: call 5f; 9: pause; jmp 9b; 5: mov %rdx, (%rsp); ret;"
    "8: add $9, %rax; ret $16");

static void enter_user(struct guest *g)
{
    g->vm.cpus[0]->state.cpl = 3;
    cpu_state_changed(g->vm.cpus[0]);
}

/* Every other translation is large: in one of the two programs, each block's is. */
static void put_returns(struct guest *g)
{
    guest_put(g, GUEST_CODE, "\x66\x90", 2);
    GUEST_PUT(g, GUEST_CODE + 2, return_program);
    enter_user(g);
}

static void put_other_returns(struct guest *g)
{
    guest_put(g, GUEST_CODE, "\xeb\x00", 2); /* JMP to what follows: a block more */
    GUEST_PUT(g, GUEST_CODE + 2, return_program);
    enter_user(g);
}

static void put_user_program(struct guest *g)
{
    put_soak_program(g);
    enter_user(g);
}

static void returns_agree(void **state)
{
    static const struct cpu_soak none, soaks[] = { { .tlb_every = 2 }, { .one_block = true }, { .tlb_every = 50, .code_every = 200, .request_every = 20, .kick_after = 33 } };
    static program_put *const programs[] = { put_returns, put_other_returns, put_user_program };
    static const char *const engines[] = { "", "translate", "lockstep" };
    static struct outcome wanted, found;
    (void)state;
    for (unsigned program = 0; program < 3; program++) {
        outcome_of("interpret", NULL, programs[program], &wanted);
        for (unsigned i = 0; i < 4 * 3; i++) {
            outcome_of(engines[i % 3], i < 3 ? &none : &soaks[i / 3 - 1], programs[program], &found);
            if (memcmp(&wanted, &found, sizeof found) != 0)
                fail_msg("program %u, %s, row %u: another outcome", program, engines[i % 3], i / 3);
        }
    }
}

/* Loops of one block that are left in the middle - by pages that the TLB does not know, by DIV - behind shifts, BSF, AND and MUL; PUSHF, LAHF and SETcc read flags that
 * are defined. Four times each, for every other translation is a small one, which does not loop by itself. */
GUEST_PROGRAM(flags_loop,
    "mov $0x300000, %ebx; mov $0x9e3779b97f4a7c15, %r13;\n .rept 4\n"
    "mov $20, %r12d; 1: shr $5, %r13; mov %r13, 0x100(%rbx); xor %r12, %r13; rol $3, %r13d; shl $13, %r13; add %r13, 0x1100(%rbx);"
    "pushf; pop %rdx; and $0xd5, %edx; add %rdx, 8(%rbx); add $0x1e3779b1, %r13; dec %r12d; jnz 1b;"
    "mov $20, %r12d; 1: bsf %r12d, %ecx; mov %ecx, 0x2100(%rbx); setz %al; movzbl %al, %eax; add %rax, 16(%rbx); sub $3, %rcx; lahf; movzbl %ah, %eax; and $0xd5, %eax;"
    "add %rax, 0x3018(%rbx); dec %r12d; jnz 1b;"
    "mov $20, %r12d; 1: lea 1(%r12), %eax; mul %r13; mov %rdx, 0x4100(%rbx); and $0xff, %eax; mov %eax, 0x5100(%rbx,%rax,8); dec %r12d; jnz 1b;"
    "mov $20, %r12d; 1: mov %r12d, %eax; xor %edx, %edx; mov $7, %ecx; div %rcx; mov %rdx, 0x6ffc(%rbx); test %ecx, %edx; mov %rax, 0x6100(%rbx); dec %r12d; jnz 1b;"
    "nop; jmp 1f; 1:\n .endr\n hlt");

static void put_flags_loop(struct guest *g) { GUEST_PUT(g, GUEST_CODE, flags_loop); }

/* Lockstep cares for no flag that the SDM leaves undefined, wherever in a loop translated code is left: hosts may have other ones there than the interpreter. */
static void lockstep_ignores_undefined_flags(void **state)
{
    static const struct cpu_soak soaks[] = {
        { .flips = FLAGS_ARITH, .flips_undefined = true }, { .flips = FLAG_OF, .flips_undefined = true, .one_entry = true },
        { .flips = FLAGS_ARITH, .flips_undefined = true, .short_loops = true }, { .flips = FLAG_AF, .flips_undefined = true, .request_every = 3 },
    };
    static program_put *const programs[] = { put_flags_loop, put_soak_program };
    static struct outcome wanted, found;
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        outcome_of("interpret", NULL, programs[i / 4], &wanted);
        outcome_of("lockstep", &soaks[i % 4], programs[i / 4], &found);
        if (memcmp(&wanted, &found, sizeof found) != 0)
            fail_msg("program %u, row %u: another outcome", i / 4, i % 4);
    }
}

/* And it reports each of the others, in a loop as well as outside. */
static void lockstep_reports_flags(void **state)
{
    static const uint32_t flags[] = { FLAG_CF, FLAG_PF, FLAG_AF, FLAG_ZF, FLAG_SF, FLAG_OF };
    static program_put *const programs[] = { put_flags_loop, put_soak_program };
    (void)state;
    for (unsigned i = 0; i < 12; i++) {
        struct cpu_soak soak = { .flips = flags[i / 2] };
        struct guest g;
        setenv("CPU_ENGINE", "lockstep", 1);
        guest_make_soaked(&g, 1, 64, &soak);
        programs[i % 2](&g);
        const hy_exit *exit = cpu_run(g.vm.cpus[0]);
        assert_int_equal(exit->reason, HY_EXIT_UNKNOWN);
        assert_non_null(memmem(exit->u.unknown.raw, exit->u.unknown.len, "; flags are 0x", 14));
        guest_free(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lockstep_ignores_undefined_flags), cmocka_unit_test(lockstep_reports_flags), cmocka_unit_test(soaked_engines_agree),
        cmocka_unit_test(small_cache_forgets_in_parts), cmocka_unit_test(returns_agree),
    };
    return cmocka_run_group_tests_name("soak", tests, NULL, NULL);
}
