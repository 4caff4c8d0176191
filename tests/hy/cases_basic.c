/* SPDX-License-Identifier: MIT */
/* Probing, opening, life and death of VMs and CPUs, and errors for what is wrong. */
#include <stdio.h>
#include <stdlib.h>

#include "conformance.h"

static void probing_tells_all(struct rig *rig)
{
    struct hy_probe probes[16];
    size_t n = hy_list(probes, ARRAY_LEN(probes)), same = 0;

    CHECK(n >= 1 && n <= ARRAY_LEN(probes));
    CHECK(hy_list(NULL, 0) == n);
    for (size_t i = 0; i < n; i++) {
        CHECK(probes[i].name && *probes[i].name && probes[i].call && probes[i].reason && *probes[i].reason && probes[i].remedy);
        same += !strcmp(probes[i].name, rig->backend);
        CHECK(strcmp(probes[i].name, rig->backend) || probes[i].err == HY_OK);
    }
    CHECK(same == 1);
    for (int i = 0; i < 50; i++)
        hy_list(probes, ARRAY_LEN(probes));
}

static void opening_by_name(struct rig *rig)
{
    char list[64];
    const char *why;
    hy *h;

    CHECK_ERR(hy_open("no-such-thing", &h), HY_E_ABSENT);
    CHECK_ERR(hy_open(rig->backend, NULL), HY_E_INVAL);
    snprintf(list, sizeof list, "no-such-thing,%s", rig->backend);
    OK(hy_open(list, &h));
    CHECK(!strcmp(hy_name(h), rig->backend));
    CHECK(*hy_engine(h, NULL) && hy_engine(h, &why) && (!*why || !strcmp(hy_engine(h, NULL), "interpret")));
    CHECK(*hy_choice(h) && !strchr(hy_choice(h), '\n'));
    OK(hy_close(h));
    OK(hy_open(NULL, &h)); /* something is always usable */
    OK(hy_close(h));
    OK(hy_close(NULL));
}

static void capabilities_make_sense(struct rig *rig)
{
    struct hy_caps small = {.size = 12}, none = {.size = 0};
    size_t n = 0;

    CHECK(rig->caps.arch & HY_ARCH_X86_64);
    CHECK(rig->caps.granule == 4096 || rig->caps.granule == 16384);
    CHECK(rig->caps.gpa_bits >= 32 && rig->caps.gpa_bits <= 64);
    CHECK(rig->caps.prot >> 7 & 1);
    CHECK(rig->caps.max_cpus >= 1 && rig->caps.max_vms >= 1 && rig->caps.max_maps >= 1);
    CHECK(rig->caps.exits >> HY_EXIT_KICK & rig->caps.exits >> HY_EXIT_MMIO & 1);
    CHECK((rig->caps.traps & ~rig->caps.exits) == 0);
    OK(hy_caps(rig->h, &small));
    CHECK(small.arch == rig->caps.arch && small.irq == rig->caps.irq && small.granule == 0);
    CHECK_ERR(hy_caps(rig->h, &none), HY_E_INVAL);
    CHECK_ERR(hy_caps(NULL, &small), HY_E_INVAL);
    if (rig->caps.can & HY_CAN_CPUID) {
        CHECK_ERR(hy_cpuid_host(rig->h, NULL, &n), HY_E_RANGE);
        CHECK(n > 4 && n < 1024);
    }
}

static void errors_are_explained(struct rig *rig)
{
    struct hy_why why;

    CHECK_ERR(hy_vm_new(rig->h, NULL, NULL), HY_E_INVAL);
    hy_why(&why);
    CHECK(why.err == HY_E_INVAL && !strcmp(why.call, "hy_vm_new"));
    CHECK(!strcmp(hy_err_name(HY_OK), "HY_OK") && !strcmp(hy_err_name(HY_E_HOST), "HY_E_HOST"));
    CHECK(hy_err_name((hy_err)-99) && hy_err_name((hy_err)5));
    hy_why(NULL);
}

static void one_life(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);

    CODE(g, 0xb0, 0x2a, 0xe6, 0x10, 0xf4); /* mov al, 42; out 0x10, al; hlt */
    guest_real(g, CODE_AT);
    run_to_out(g->cpu, 0x10, 42);
    guest_free(g);
}

static void a_hundred_lives(struct rig *rig)
{
    NEED_IRQ(rig, HY_IRQ_NONE);
    for (int i = 0; i < 100; i++)
        one_life(rig);
}

static void several_at_a_time(struct rig *rig)
{
    struct guest *g[4];

    if (rig->caps.max_vms < 4)
        SKIP("fewer than 4 VMs");
    for (unsigned i = 0; i < 4; i++) {
        g[i] = guest_new(rig, HY_IRQ_NONE, 1);
        CODE(g[i], 0xb0, (uint8_t)i, 0xe6, 0x10, 0xf4);
        guest_real(g[i], CODE_AT);
    }
    for (unsigned i = 4; i-- > 0;)
        run_to_out(g[i]->cpu, 0x10, i);
    CHECK_ERR(hy_close(rig->h), HY_E_STATE);
}

static void configuration_is_checked(struct rig *rig)
{
    struct hy_vm_cfg cfg = {.size = sizeof cfg, .irq = HY_IRQ_NONE};
    hy_vm *vm;

    CHECK_ERR(hy_vm_new(NULL, &cfg, &vm), HY_E_INVAL);
    cfg.size = 0;
    CHECK_ERR(hy_vm_new(rig->h, &cfg, &vm), HY_E_INVAL);
    cfg.size = sizeof cfg;
    cfg.irq = 0;
    CHECK_ERR(hy_vm_new(rig->h, &cfg, &vm), HY_E_NOTSUP);
    cfg.irq = HY_IRQ_NONE | HY_IRQ_CPU;
    CHECK_ERR(hy_vm_new(rig->h, &cfg, &vm), HY_E_NOTSUP);
    cfg.irq = HY_IRQ_NONE;
    cfg.flags = 1u << 31;
    CHECK_ERR(hy_vm_new(rig->h, &cfg, &vm), HY_E_INVAL);
    cfg.flags = 0;
    cfg.gpa_bits = 64;
    CHECK_ERR(hy_vm_new(rig->h, &cfg, &vm), HY_E_RANGE);
    cfg.gpa_bits = 0;
    if (rig->caps.max_cpus < UINT32_MAX) {
        cfg.cpus = rig->caps.max_cpus + 1;
        CHECK_ERR(hy_vm_new(rig->h, &cfg, &vm), HY_E_RANGE);
        cfg.cpus = 0;
    }
    if (!(rig->caps.can & HY_CAN_PRIVATE)) {
        cfg.isolation = HY_ISO_SNP;
        CHECK_ERR(hy_vm_new(rig->h, &cfg, &vm), HY_E_NOTSUP);
    }
}

static void order_matters(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 2);
    struct hy_cpuid table[1] = {{.fn = 1}};
    hy_cpu *second;

    OK(hy_cpu_new(g->vm, 0, &g->cpu));
    CHECK_ERR(hy_cpu_new(g->vm, 0, &second), HY_E_BUSY);
    CHECK_ERR(hy_cpu_new(g->vm, 2, &second), HY_E_RANGE);
    CHECK_ERR(hy_vm_free(g->vm), HY_E_STATE);
    if (rig->caps.can & HY_CAN_CPUID)
        CHECK_ERR(hy_cpuid(g->vm, HY_ALL_CPUS, table, 1), HY_E_STATE);
    if (rig->caps.traps >> HY_EXIT_MSR & 1)
        CHECK_ERR(hy_trap(g->vm, HY_EXIT_MSR, 0x10, 0x10, HY_R), HY_E_STATE);
    OK(hy_cpu_new(g->vm, 1, &second));
    OK(hy_cpu_free(second));
    OK(hy_cpu_free(NULL));
    OK(hy_vm_free(NULL));
    hy_mem_free(NULL);
    CHECK_ERR(hy_trap(g->vm, 99, 0, 0, HY_R), HY_E_NOTSUP);
    CHECK_ERR(hy_trap(g->vm, HY_EXIT_MSR, 1, 0, HY_R), HY_E_INVAL);
    CHECK_ERR(hy_line(g->vm, 0, 1), HY_E_NOTSUP);
    CHECK_ERR(hy_msi(g->vm, 0xfee00000, 0x40, 0), HY_E_NOTSUP);
}

struct stranger { hy_cpu *cpu; hy_err err; bool started; };

static void *stranger_calls(void *opaque)
{
    struct stranger *s = opaque;
    hy_reg pc = HY_PC;
    hy_val value;

    milliseconds(50); /* the owner is in its guest by now */
    s->err = hy_get(s->cpu, &pc, &value, 1);
    hy_kick(s->cpu);
    return NULL;
}

static void strangers_are_turned_away(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    struct stranger s = {0};
    pthread_t thread;

    CODE(g, 0xeb, 0xfe); /* 1: jmp 1b */
    guest_real(g, CODE_AT);
    s.cpu = g->cpu;
    CHECK(!pthread_create(&thread, NULL, stranger_calls, &s));
    run_to(g->cpu, HY_EXIT_KICK);
    pthread_join(thread, NULL);
    CHECK(s.err == HY_E_THREAD);
}

static void *roamer_runs(void *opaque)
{
    hy_exit *x = run_helper(opaque);

    if (!x || x->reason != HY_EXIT_IO || exit_value(x) != 7)
        helper_fault("the CPU did not run in its new thread");
    return NULL;
}

static void cpus_roam(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    pthread_t thread;

    NEED(rig, HY_CAN_ROAM);
    CODE(g, 0xb0, 6, 0xe6, 0x10, 0xfe, 0xc0, 0xe6, 0x10, 0xfe, 0xc0, 0xe6, 0x10, 0xf4); /* out 6, 7, 8 */
    guest_real(g, CODE_AT);
    run_to_out(g->cpu, 0x10, 6);
    CHECK(!pthread_create(&thread, NULL, roamer_runs, g->cpu));
    pthread_join(thread, NULL);
    run_to_out(g->cpu, 0x10, 8);
}

const struct test_case cases_basic[] = {
    {"probing-tells-all", probing_tells_all},
    {"opening-by-name", opening_by_name},
    {"capabilities-make-sense", capabilities_make_sense},
    {"errors-are-explained", errors_are_explained},
    {"a-hundred-lives", a_hundred_lives},
    {"several-at-a-time", several_at_a_time},
    {"configuration-is-checked", configuration_is_checked},
    {"order-matters", order_matters},
    {"strangers-are-turned-away", strangers_are_turned_away},
    {"cpus-roam", cpus_roam},
    {NULL, NULL},
};
