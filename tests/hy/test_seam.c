/* SPDX-License-Identifier: MIT */
/* The KVM backend on a simulated host: every host call fails once, in every place, and nothing leaks or crashes; both conventions of the program counter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "sim_kvm.h"

/* A life with a bit of everything. The first failure ends it, as a program would. */
static hy_err life(hy **h, hy_vm **vm, hy_mem **mem, hy_cpu **cpu)
{
    struct hy_vm_cfg cfg = {.size = sizeof cfg, .irq = HY_IRQ_CPU, .cpus = 2};
    hy_reg names[] = {HY_PC, HY_CR(0), HY_SEG(HY_CS), HY_DR(0), HY_VEC(0), HY_CR(0x100), HY_MISC(HY_MISC_NMI), HY_MSR(0xc0000082)};
    hy_val values[ARRAY_LEN(names)] = {{.u64 = 0}};
    uint64_t bits[4];
    hy_exit *x;
    hy_err err = hy_open_on(&sim_os, "kvm", h);

    if (!err) err = hy_vm_new(*h, &cfg, vm);
    if (!err) err = hy_trap(*vm, HY_EXIT_MSR, 0x40000000, 0x400001ff, HY_R | HY_W);
    if (!err) err = hy_mem_new(*vm, 0x100000, mem);
    if (!err) err = hy_map(*vm, 0, *mem, 0, 0x100000, HY_R | HY_W | HY_X);
    if (!err) err = hy_log(*vm, 0, 0x100000, 1);
    if (!err) err = hy_protect(*vm, 0x10000, 0x10000, HY_R | HY_X);
    if (!err) err = hy_cpu_new(*vm, 0, cpu);
    if (!err) err = hy_route(*vm, 5, 0xfee00000, 0x40, 0);
    if (!err) err = hy_msi(*vm, 0xfee00000, 0x40, 0);
    if (!err) err = hy_get(*cpu, names, values, ARRAY_LEN(names));
    if (!err) err = hy_set(*cpu, names, values, ARRAY_LEN(names));
    if (!err) err = hy_run(*cpu, &x);
    if (!err) err = hy_finish(*cpu, &x);
    if (!err) err = hy_dirty(*vm, 0, 0x40000, bits, 1);
    if (!err) err = hy_unmap(*vm, 0, 0x20000);
    return err;
}

static void every_host_call_may_fail(void **state)
{
    static const int errors[] = {ENOMEM, EINVAL, EACCES, EIO};
    unsigned fail_at = 0, total = 0, refused = 0;

    (void)state;
    do {
        struct sim s = {.fail_at = fail_at, .fail_with = errors[fail_at % ARRAY_LEN(errors)]};
        hy *h = NULL;
        hy_vm *vm = NULL;
        hy_mem *mem = NULL;
        hy_cpu *cpu = NULL;
        hy_err err;

        sim_begin(&s);
        err = life(&h, &vm, &mem, &cpu);
        if (!fail_at) {
            assert_int_equal(err, HY_OK);
            total = s.calls;
        }
        if (err) {
            struct hy_why why;

            refused++;
            hy_why(&why);
            assert_int_equal(why.err, err);
            assert_string_equal(why.backend, "kvm");
        }
        s.fail_at = 0;
        assert_int_equal(hy_cpu_free(cpu), HY_OK);
        assert_int_equal(hy_vm_free(vm), HY_OK);
        hy_mem_free(mem);
        assert_int_equal(hy_close(h), HY_OK);
        assert_int_equal(s.open_handles, 0);
        assert_int_equal(s.mapped, 0);
    } while (++fail_at <= total);
    assert_true(total > 40 && refused > total / 2);
}

static void the_reason_is_told(void **state)
{
    struct sim s = {.fail_at = 1, .fail_with = EACCES};
    struct hy_why why;
    hy *h;

    (void)state;
    sim_begin(&s);
    assert_int_equal(hy_open_on(&sim_os, "kvm", &h), HY_E_DENIED);
    hy_why(&why);
    assert_int_equal(why.native, EACCES);
    assert_string_equal(why.backend, "kvm");
    assert_non_null(strstr(why.reason, "may not"));
    s = (struct sim){.fail_at = 1, .fail_with = ENOENT};
    assert_int_equal(hy_open_on(&sim_os, "kvm,soft", &h), HY_OK);
    assert_string_equal(hy_name(h), "soft");
    hy_close(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_host_call_may_fail), cmocka_unit_test(the_reason_is_told)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
