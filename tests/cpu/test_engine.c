/* SPDX-License-Identifier: MIT */
/* Small programs on the engine: chains, code that writes itself in all ways, strings, atomics on several threads, kicks. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include "apic/apic.h"
#include "guest.h"

static uint64_t *gpr(struct guest *g) { return g->vm.cpus[0]->state.gpr; }

GUEST_PROGRAM(sum_loop, "xor %eax, %eax; mov $1000, %ecx; 1: add %rcx, %rax; dec %ecx; jnz 1b; hlt");

static void a_loop_sums(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 64);
    GUEST_PUT(&g, GUEST_CODE, sum_loop);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RAX], 500500);
    assert_int_equal(g.vm.cpus[0]->state.rip, GUEST_CODE + (sum_loop_end - sum_loop));
    if (g.vm.interpret)
        assert_int_equal(g.vm.cpus[0]->instructions, 2 + 3 * 1000 + 1);
    guest_free(&g);
}

GUEST_PROGRAM(fib, "mov $20, %edi; call 1f; hlt; 1: push %rbx; push %rbp; mov %edi, %ebx; cmp $2, %edi; jl 2f; lea -1(%rdi), %edi; call 1b;"
                   "mov %eax, %ebp; lea -2(%rbx), %edi; call 1b; add %ebp, %eax; jmp 3f; 2: mov %edi, %eax; 3: pop %rbp; pop %rbx; ret");

static void calls_nest(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 64);
    GUEST_PUT(&g, GUEST_CODE, fib);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RAX], 6765);
    assert_int_equal(gpr(&g)[REG_RSP], GUEST_STACK);
    guest_free(&g);
}

GUEST_PROGRAM(to_null, "push $0; ret");
GUEST_PROGRAM(at_null, "inc %eax; hlt");

/* What an empty entry of the jump cache might be taken for. */
static void a_return_to_address_0_runs_what_is_there(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 64);
    GUEST_PUT(&g, GUEST_CODE, to_null);
    GUEST_PUT(&g, 0, at_null);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RAX], 1);
    guest_free(&g);
}

static uint64_t no_time(void *opaque) { return (void)opaque, 0; }
static uint64_t no_tsc(void *opaque, unsigned cpu) { return (void)opaque, (void)cpu, 0; }
static void no_wake(void *opaque, unsigned cpu) { (void)opaque, (void)cpu; }

static void code_in_the_apic_page_is_a_fault(void **state)
{
    (void)state;
    struct guest g;
    const struct apic_bus_config config = { .phys_bits = 46, .timer_hz = 1000000000, .tsc_hz = 1000000000, .now = no_time, .tsc = no_tsc, .wake = no_wake };
    guest_make(&g, 1, 64);
    struct cpu *cpu = g.vm.cpus[0];
    struct apic_bus *bus = apic_bus_new(&config, NULL);
    assert_int_equal(apic_new(bus, 0, 0, &cpu->apic, NULL), 0);
    store_le64(g.bytes + 0x3000 + 8, 0xfee00000 | 0x83); /* linear 0x200000 */
    guest_enter(&g, 0, 64, 0x200000);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_FAULT);
    assert_int_equal(cpu->exit.u.fault.gpa, 0xfee00000);
    apic_free(cpu->apic);
    cpu->apic = NULL;
    apic_bus_free(bus);
    guest_free(&g);
}

GUEST_PROGRAM(loop32, ".code32; xor %eax, %eax; mov $1000, %ecx; 1: add %ecx, %eax; push %ecx; pop %edx; mov %edx, 0x2000(,%ecx,4); loop 1b; pusha; popa; hlt");
GUEST_PROGRAM(fib32, ".code32; mov $15, %edi; mov $0x100000 + 1f - fib32, %edx; mov %edx, 0x3000; call *%edx; call *0x3000; hlt;"
                     "1: push %ebp; mov %esp, %ebp; push $7; push %ebx; push %edi; mov %edi, %eax; cmp $2, %edi; jl 2f; dec %edi; call 1b; mov %eax, %ebx;"
                     "dec %edi; call 1b; add %ebx, %eax; 2: pop %edi; pop %ebx; leave; ret");
GUEST_PROGRAM(loop16, ".code16; xor %ax, %ax; mov $100, %cx; 1: add %cx, %ax; mov %ax, %bx; mov %bx, 0x500; loop 1b; mov 0x500, %dx; hlt");

static void other_modes_run(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 32);
    GUEST_PUT(&g, GUEST_CODE, loop32);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RAX], 500500);
    assert_int_equal(load_le32(g.bytes + 0x2000 + 77 * 4), 77);
    guest_enter(&g, 0, 32, GUEST_CODE);
    GUEST_PUT(&g, GUEST_CODE, fib32);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RAX], 610);
    assert_int_equal(gpr(&g)[REG_RSP], GUEST_STACK);
    guest_enter(&g, 0, 16, 0x7c00);
    GUEST_PUT(&g, 0x7c00, loop16);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RDX], 5050);
    guest_free(&g);
}

/* ---- code that changes ----------------------------------------------------------------------------------------------------------------------------------- */

/* the immediate of the next instruction is written before it runs, in a loop: rax = sum of 0..9 */
GUEST_PROGRAM(patch_next, "xor %eax, %eax; xor %ecx, %ecx; 1: mov %cl, 2f+1(%rip); nop; 2: add $0x7f, %al; inc %ecx; cmp $10, %ecx; jne 1b; hlt");
/* the same through another linear address of the page, and a function far away is patched between calls */
GUEST_PROGRAM(patch_call, "xor %eax, %eax; xor %ecx, %ecx; 1: mov %cl, 0x200001; call *%rdx; inc %ecx; cmp $10, %ecx; jne 1b; hlt");
GUEST_PROGRAM(patched, "add $0x55, %al; ret");

static void own_stores_change_code(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 64);
    GUEST_PUT(&g, GUEST_CODE, patch_next);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RAX], 45);

    guest_enter(&g, 0, 64, GUEST_CODE);
    GUEST_PUT(&g, GUEST_CODE, patch_call);
    GUEST_PUT(&g, 0x200000, patched);
    gpr(&g)[REG_RDX] = 0x200000;
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RAX], 45);

    /* write at 2 MiB, execute the same bytes at 6 MiB */
    store_le64(g.bytes + 0x3000 + 3 * 8, 0x200000 | 0x87);
    guest_enter(&g, 0, 64, GUEST_CODE);
    gpr(&g)[REG_RDX] = 0x600000;
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RAX], 45);
    guest_free(&g);
}

static void host_writes_change_code(void **state)
{
    (void)state;
    struct guest g;
    const uint8_t first[] = { 0xb8, 1, 0, 0, 0, 0xf4 }, second[] = { 0xb8, 2, 0, 0, 0, 0xf4 };
    guest_make(&g, 1, 64);
    guest_put(&g, GUEST_CODE, first, sizeof first);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RAX], 1);
    guest_enter(&g, 0, 64, GUEST_CODE);
    assert_int_equal(mem_write(g.map, GUEST_CODE, second, sizeof second), 0);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RAX], 2);
    guest_enter(&g, 0, 64, GUEST_CODE);
    g.bytes[GUEST_CODE + 1] = 3;
    mem_touched(g.ram, GUEST_CODE + 1, 1);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RAX], 3);
    guest_free(&g);
}

/* Bytes that are no instruction become one: the second byte is written, in the same page or the next. */
static void what_was_no_instruction_becomes_one(void **state)
{
    (void)state;
    static const uint64_t places[] = { GUEST_CODE, GUEST_CODE + 0xfff };
    for (unsigned i = 0; i < 2; i++) {
        struct guest g;
        const uint8_t none[] = { 0x0f, 0x04, 0xf4 }, rdtsc = 0x31;
        guest_make(&g, 1, 64);
        guest_put(&g, places[i], none, sizeof none);
        guest_enter(&g, 0, 64, places[i]);
        assert_int_equal(guest_run(&g, 0), HY_EXIT_CRASH); /* there is no table of interrupts */
        guest_enter(&g, 0, 64, places[i]);
        assert_int_equal(mem_write(g.map, places[i] + 1, &rdtsc, 1), 0);
        assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
        guest_free(&g);
    }
}

GUEST_PROGRAM(useless_stores, "mov $200, %ecx; 1: movb $0, (%rdi); loop 1b; hlt");

/* No block may be left that knows a page which was given up, not even one of bytes that are no instruction. */
static void a_page_given_up_is_forgotten(void **state)
{
    (void)state;
    enum { CROSSING = GUEST_CODE + 0x1fff, STORES = GUEST_CODE + 0x8000, ANOTHER = GUEST_CODE + 0x20000 };
    struct guest g;
    const uint8_t none[] = { 0x0f, 0x04 }, nop = 0x90, halt = 0xf4;
    guest_make(&g, 1, 64);
    guest_put(&g, CROSSING, none, sizeof none);
    guest_enter(&g, 0, 64, CROSSING);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_CRASH);
    GUEST_PUT(&g, STORES, useless_stores);
    guest_enter(&g, 0, 64, STORES);
    gpr(&g)[REG_RDI] = CROSSING + 1 + 0x800;
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    for (unsigned i = 0; i < 16; i++) { /* what is free is used again */
        guest_put(&g, ANOTHER + i * 0x1000, &halt, 1);
        guest_enter(&g, 0, 64, ANOTHER + i * 0x1000);
        assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    }
    guest_enter(&g, 0, 64, CROSSING);
    assert_int_equal(mem_write(g.map, CROSSING, &nop, 1), 0);
    assert_int_equal(mem_write(g.map, CROSSING + 1, &halt, 1), 0);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    guest_free(&g);
}

static uint64_t timer_now(void *opaque)
{
    (void)opaque;
    return 1000;
}

/* The thread of the timers meets no vCPU that is half gone. */
static void a_cpu_goes_while_its_timer_is_due(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 64);
    g.vm.now = timer_now;
    assert_int_equal(cpu_alarms_new(&g.vm, NULL), 0);
    for (unsigned i = 0; i < 150; i++) {
        cpu_timer_set(g.vm.cpus[0], 1);
        cpu_free(g.vm.cpus[0]);
        assert_int_equal(cpu_new(&g.vm, 0, &g.vm.cpus[0], NULL), 0);
    }
    struct cpu *cpu = g.vm.cpus[0];
    cpu_free(cpu);
    cpu_alarms_free(&g.vm);
    guest_free(&g);
}

/* An instruction across two pages, one of which is then mapped elsewhere. */
static void page_crossing_code_follows_the_mapping(void **state)
{
    (void)state;
    struct guest g;
    const uint8_t code[] = { 0xb8, 0x11, 0x22, 0x33, 0x44, 0xf4 };
    guest_make(&g, 1, 64);
    guest_put(&g, 0x3ffffe, code, sizeof code);
    guest_enter(&g, 0, 64, 0x3ffffe);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RAX], 0x44332211);
    memcpy(g.bytes + 0x600000, (const uint8_t[]){ 0x66, 0x77, 0x88, 0xf4 }, 4);
    store_le64(g.bytes + 0x3000 + 2 * 8, 0x600000 | 0x87);
    guest_enter(&g, 0, 64, 0x3ffffe);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RAX], 0x88776611);
    g.bytes[0x600000] = 0x99;
    mem_touched(g.ram, 0x600000, 1);
    guest_enter(&g, 0, 64, 0x3ffffe);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RAX], 0x88779911);
    guest_free(&g);
}

/* ---- strings --------------------------------------------------------------------------------------------------------------------------------------------------- */

GUEST_PROGRAM(strings, "cld; mov $0x300ff0, %edi; mov $0xab, %al; mov $0x2040, %ecx; rep stosb;"
                       "mov $0x300ff0, %esi; mov $0x500123, %edi; mov $0x408, %ecx; rep movsq;"
                       "mov $0x310000, %edi; movb $0x5a, (%rdi); mov %rdi, %rsi; inc %rdi; mov $0x1fff, %ecx; rep movsb;"
                       "mov $0x320000, %edi; mov $0x320010, %esi; std; mov $64, %ecx; rep movsw; cld;"
                       "mov $0x500123, %edi; mov $0x3000, %ecx; repe scasb; mov %rcx, %r8; mov %rdi, %r9; hlt");

static void strings_repeat(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 64);
    GUEST_PUT(&g, GUEST_CODE, strings);
    for (unsigned i = 0; i < 512; i++)
        g.bytes[0x320000 - 256 + i] = (uint8_t)i;
    uint8_t expected[512];
    memcpy(expected, g.bytes + 0x320000 - 256, 512);
    for (unsigned i = 0; i < 64; i++)
        memmove(expected + 256 - 2 * i, expected + 256 + 16 - 2 * i, 2);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    for (unsigned i = 0; i < 0x2040; i++) {
        assert_int_equal(g.bytes[0x300ff0 + i], 0xab);
        assert_int_equal(g.bytes[0x500123 + i], 0xab);
    }
    assert_int_equal(g.bytes[0x300ff0 + 0x2040], 0);
    for (unsigned i = 0; i < 0x2000; i++)
        assert_int_equal(g.bytes[0x310000 + i], 0x5a);
    assert_memory_equal(g.bytes + 0x320000 - 256, expected, 512);
    assert_int_equal(gpr(&g)[REG_R8 + 1], 0x500123 + 0x2041);
    assert_int_equal(gpr(&g)[REG_R8], 0x3000 - 0x2041);
    guest_free(&g);
}

/* ---- several CPUs ------------------------------------------------------------------------------------------------------------------------------------------------ */

enum { CPUS = 3, ROUNDS = 20000 };

/* xadd aligned, xadd across a page, cmpxchg loop, cmpxchg16b loop, inc across a line */
GUEST_PROGRAM(atomics, "mov $20000, %r15d; 1: mov $1, %eax; lock xaddq %rax, 0x400000; lock addl $1, 0x400ffe; lock incq 0x40003c;"
                       "mov 0x400100, %eax; 2: lea 1(%rax), %ecx; lock cmpxchg %ecx, 0x400100; jne 2b;"
                       "mov 0x400200, %rax; mov 0x400208, %rdx; 3: lea 1(%rax), %rbx; lea 2(%rdx), %rcx; lock cmpxchg16b 0x400200; jne 3b;"
                       "dec %r15d; jnz 1b; hlt");

struct runner { struct guest *g; unsigned index, reason; };

static void *run_cpu(void *opaque)
{
    struct runner *r = opaque;
    r->reason = guest_run(r->g, r->index);
    return NULL;
}

static void run_all(struct guest *g, unsigned cpus)
{
    pthread_t threads[CPUS];
    struct runner runners[CPUS];
    for (unsigned i = 0; i < cpus; i++) {
        runners[i] = (struct runner){ g, i, 0 };
        pthread_create(&threads[i], NULL, run_cpu, &runners[i]);
    }
    for (unsigned i = 0; i < cpus; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(runners[i].reason, HY_EXIT_HALT);
    }
}

static void locked_counts_are_exact(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, CPUS, 64);
    GUEST_PUT(&g, GUEST_CODE, atomics);
    run_all(&g, CPUS);
    assert_int_equal(load_le64(g.bytes + 0x400000), CPUS * ROUNDS);
    assert_int_equal(load_le32(g.bytes + 0x400ffe), CPUS * ROUNDS);
    assert_int_equal(load_le64(g.bytes + 0x40003c), CPUS * ROUNDS);
    assert_int_equal(load_le32(g.bytes + 0x400100), CPUS * ROUNDS);
    assert_int_equal(load_le64(g.bytes + 0x400200), CPUS * ROUNDS);
    assert_int_equal(load_le64(g.bytes + 0x400208), 2 * CPUS * ROUNDS);
    guest_free(&g);
}

/* CPU 1 runs a function over and over until its result is 9; CPU 0 counts it up there by patching it. */
GUEST_PROGRAM(cross_caller, "1: call *%rdx; cmp $9, %al; jne 1b; hlt");
GUEST_PROGRAM(cross_patcher, "xor %ecx, %ecx; 1: inc %ecx; mov %cl, 0x200001; mov $3000, %ebx; 2: pause; dec %ebx; jnz 2b; cmp $9, %ecx; jne 1b; hlt");
GUEST_PROGRAM(cross_function, "mov $0, %al; ret");

static void another_cpus_stores_change_code(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 2, 64);
    GUEST_PUT(&g, GUEST_CODE, cross_patcher);
    GUEST_PUT(&g, GUEST_CODE + 0x1000, cross_caller);
    GUEST_PUT(&g, 0x200000, cross_function);
    guest_enter(&g, 1, 64, GUEST_CODE + 0x1000);
    g.vm.cpus[1]->state.gpr[REG_RDX] = 0x200000;
    run_all(&g, 2);
    assert_int_equal(g.vm.cpus[1]->state.gpr[REG_RAX], 9);
    guest_free(&g);
}

/* ---- kicks ------------------------------------------------------------------------------------------------------------------------------------------------------------ */

GUEST_PROGRAM(forever, "1: inc %rax; mov %rax, 0x400000; jmp 1b");
enum { KICKS = 300 };

static void *kick_often(void *opaque)
{
    struct guest *g = opaque;
    for (unsigned i = 0; i < KICKS; i++) {
        cpu_request(g->vm.cpus[0], CPU_REQ_KICK);
        while (atomic_load(&g->vm.cpus[0]->requests) & CPU_REQ_KICK)
            ;
    }
    return NULL;
}

static void each_kick_leaves_once(void **state)
{
    (void)state;
    struct guest g;
    pthread_t thread;
    guest_make(&g, 1, 64);
    GUEST_PUT(&g, GUEST_CODE, forever);
    cpu_request(g.vm.cpus[0], CPU_REQ_KICK);
    cpu_request(g.vm.cpus[0], CPU_REQ_KICK);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_KICK);
    pthread_create(&thread, NULL, kick_often, &g);
    for (unsigned i = 0; i < KICKS; i++)
        assert_int_equal(guest_run(&g, 0), HY_EXIT_KICK);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&g.vm.cpus[0]->requests) & CPU_REQ_KICK, 0);
    guest_free(&g);
}

/* ---- exits ------------------------------------------------------------------------------------------------------------------------------------------------------------- */

GUEST_PROGRAM(ports, "mov $0x1234, %edx; in %dx, %eax; mov %eax, %ebx; add 0x10000000, %ebx; mov %bx, 0x10000010; addb $1, 0x10000020; hlt");

static void device_accesses_are_answered_once(void **state)
{
    (void)state;
    struct guest g;
    hy_exit *exit;
    guest_make(&g, 1, 64);
    GUEST_PUT(&g, GUEST_CODE, ports);
    exit = cpu_run(g.vm.cpus[0]);
    assert_int_equal(exit->reason, HY_EXIT_IO);
    assert_int_equal(exit->u.io.port, 0x1234);
    assert_int_equal(exit->u.io.width, 4);
    store_le32(exit->u.io.data, 1000);
    exit = cpu_run(g.vm.cpus[0]);
    assert_int_equal(exit->reason, HY_EXIT_MMIO);
    assert_int_equal(exit->u.mmio.gpa, 0x10000000);
    assert_int_equal(exit->write, 0);
    store_le32(exit->u.mmio.data, 23);
    exit = cpu_run(g.vm.cpus[0]);
    assert_int_equal(exit->write, 1);
    assert_int_equal(exit->u.mmio.width, 2);
    assert_int_equal(load_le16(exit->u.mmio.data), 1023);
    exit = cpu_run(g.vm.cpus[0]);
    assert_int_equal(exit->u.mmio.gpa, 0x10000020);
    assert_int_equal(exit->write, 0);
    *(uint8_t *)exit->u.mmio.data = 0xff;
    exit = cpu_run(g.vm.cpus[0]);
    assert_int_equal(exit->write, 1);
    assert_int_equal(*(uint8_t *)exit->u.mmio.data, 0);
    exit = cpu_finish(g.vm.cpus[0]);
    assert_int_equal(exit->reason, HY_EXIT_NONE);
    assert_int_equal(cpu_flags_get(g.vm.cpus[0]) & (FLAG_ZF | FLAG_CF), FLAG_ZF | FLAG_CF);
    assert_int_equal(guest_run(&g, 0), HY_EXIT_HALT);
    assert_int_equal(gpr(&g)[REG_RBX], 1023);
    guest_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_sums), cmocka_unit_test(calls_nest), cmocka_unit_test(a_return_to_address_0_runs_what_is_there),
        cmocka_unit_test(code_in_the_apic_page_is_a_fault), cmocka_unit_test(other_modes_run), cmocka_unit_test(own_stores_change_code),
        cmocka_unit_test(host_writes_change_code), cmocka_unit_test(what_was_no_instruction_becomes_one),
        cmocka_unit_test(a_page_given_up_is_forgotten), cmocka_unit_test(a_cpu_goes_while_its_timer_is_due),
        cmocka_unit_test(page_crossing_code_follows_the_mapping), cmocka_unit_test(strings_repeat),
        cmocka_unit_test(locked_counts_are_exact), cmocka_unit_test(another_cpus_stores_change_code), cmocka_unit_test(each_kick_leaves_once),
        cmocka_unit_test(device_accesses_are_answered_once),
    };
    return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
