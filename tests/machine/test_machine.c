/* SPDX-License-Identifier: MIT */
/* Whole machines on the software CPU: how they end, two in one process, reset, the power button, saved and hostile state. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "firmware/acpi.h"
#include "firmware/layout.h"
#include "kernels.h"
#include "machine/machine.h"

enum { RESET_PORT = 0xcf9, RESET_NOW = 6, KEYBOARD_PORT = 0x64, KEYBOARD_RESET = 0xfe, SLEEP_ENABLE = 1 << 13, SLEEP_TYPE_SHIFT = 10 };

static struct machine_config config_of(const struct kernel *k)
{
    return (struct machine_config){.backend = "soft", .cpus = 1, .memory = MIB(16), .kernel = {k->bytes, k->len, "kernel"}, .cmdline = "", .exit_port = KERNEL_EXIT_PORT,
                                   .sandbox = MACHINE_SANDBOX_OFF};
}

static struct machine *machine_of(const struct machine_config *config)
{
    struct machine *m = NULL;
    struct err err = ERR_NONE;
    if (machine_new(config, &m, &err))
        fail_msg("%s", err.text);
    return m;
}

static enum machine_end run(struct machine *m)
{
    struct err err = ERR_NONE;
    enum machine_end end;
    if (machine_run(m, &end, &err))
        fail_msg("%s", err.text);
    return end;
}

static enum machine_end run_new(const struct machine_config *config, int *status)
{
    struct machine *m = machine_of(config);
    enum machine_end end = run(m);
    *status = machine_exit_status(m);
    machine_free(m);
    return end;
}

static void kernel_power_off(struct kernel *k)
{
    kernel_out16(k, LAYOUT_PORT_PM1_CONTROL, SLEEP_ENABLE | ACPI_S5_SLEEP_TYPE << SLEEP_TYPE_SHIFT);
    kernel_stop(k);
}

/* ---- ends -------------------------------------------------------------------------------------------------------------------------------------------------- */

static void exit_port_values(void **state)
{
    static const struct { uint8_t value; int status; } cases[] = {{0, 0}, {1, 101}, {26, 126}, {27, 127}, {28, 127}, {255, 127}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kernel k;
        int status;
        kernel_begin(&k);
        kernel_exit(&k, cases[i].value);
        struct machine_config config = config_of(&k);
        assert_int_equal(run_new(&config, &status), MACHINE_END_EXIT_PORT);
        assert_int_equal(status, cases[i].status);
    }
}

static void power_off_reset_and_crash(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        static const enum machine_end ends[] = {MACHINE_END_OFF, MACHINE_END_RESET, MACHINE_END_RESET, MACHINE_END_CRASH, MACHINE_END_CRASH};
        struct kernel k;
        int status;
        kernel_begin(&k);
        switch (i) {
        case 0:  kernel_power_off(&k); break;
        case 1:  kernel_out8(&k, RESET_PORT, RESET_NOW); break;
        case 2:  kernel_out8(&k, KEYBOARD_PORT, KEYBOARD_RESET); break;
        default: kernel_triple_fault(&k); break;
        }
        kernel_exit(&k, 3); /* nothing of the guest runs after the request */
        struct machine_config config = config_of(&k);
        config.no_reboot = i < 4; /* a crash is one with and without */
        assert_int_equal(run_new(&config, &status), ends[i]);
        assert_int_equal(status, 0);
    }
}

/* A reset starts the kernel again; memory that it does not load over stays. */
static void resets_start_again(void **state)
{
    (void)state;
    for (int executor = MACHINE_EXECUTOR_MAIN; executor <= MACHINE_EXECUTOR_VCPU; executor++) {
        struct kernel k;
        int status;
        kernel_begin(&k);
        kernel_count(&k, 20);
        kernel_out8(&k, RESET_PORT, RESET_NOW);
        kernel_exit(&k, 1);
        struct machine_config config = config_of(&k);
        config.cpus = 2;
        config.executor = (enum machine_executor)executor;
        assert_int_equal(run_new(&config, &status), MACHINE_END_EXIT_PORT);
        assert_int_equal(status, 120);
    }
}

/* ---- from outside ---------------------------------------------------------------------------------------------------------------------------------------- */

struct pusher { struct machine *machine; void (*push)(struct machine *); pthread_t thread; };

static void *push_later(void *opaque)
{
    struct pusher *p = opaque;
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    p->push(p->machine);
    return NULL;
}

static enum machine_end run_and_push(const struct machine_config *config, void (*push)(struct machine *), int *status)
{
    struct pusher p = {.machine = machine_of(config), .push = push};
    assert_int_equal(pthread_create(&p.thread, NULL, push_later, &p), 0);
    enum machine_end end = run(p.machine);
    pthread_join(p.thread, NULL);
    *status = machine_exit_status(p.machine);
    machine_free(p.machine);
    return end;
}

static void quit(struct machine *m) { machine_quit(m, MACHINE_END_OFF); }

static void requests_from_another_thread(void **state)
{
    struct kernel k;
    int status;
    (void)state;
    kernel_begin(&k);
    PUT(&k, 0x66, 0xba, LAYOUT_PORT_PM1_EVENT & 0xff, LAYOUT_PORT_PM1_EVENT >> 8); /* mov dx, PM1 status */
    PUT(&k, 0x66, 0xed, 0xf6, 0xc4, 0x01, 0x74, 0xf9);                             /* in ax, dx; test ah, 1 (PWRBTN_STS); jz to the in */
    kernel_exit(&k, 8);
    struct machine_config config = config_of(&k);
    assert_int_equal(run_and_push(&config, machine_power_button, &status), MACHINE_END_EXIT_PORT);
    assert_int_equal(status, 108);

    kernel_begin(&k);
    kernel_stop(&k);
    config = config_of(&k);
    assert_int_equal(run_and_push(&config, quit, &status), MACHINE_END_OFF);
    config.irqchip = MACHINE_IRQCHIP_NONE;
    assert_int_equal(run_and_push(&config, quit, &status), MACHINE_END_OFF);

    kernel_begin(&k);
    kernel_count(&k, 2);
    kernel_stop(&k);
    config = config_of(&k);
    assert_int_equal(run_and_push(&config, machine_reset, &status), MACHINE_END_EXIT_PORT);
    assert_int_equal(status, 102);
}

/* ---- two at once ------------------------------------------------------------------------------------------------------------------------------------------- */

struct twin { struct machine *machine; pthread_t thread; enum machine_end end; };

static void *twin_main(void *opaque)
{
    struct twin *t = opaque;
    t->end = run(t->machine);
    return NULL;
}

static void two_machines_in_one_process(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        struct kernel kernels[2];
        struct machine_config configs[2];
        struct twin twins[2];
        for (unsigned i = 0; i < 2; i++) {
            kernel_begin(&kernels[i]);
            kernel_spin(&kernels[i], 2000000 << i);
            kernel_count(&kernels[i], (uint8_t)(5 + i)); /* and a few resets */
            kernel_out8(&kernels[i], RESET_PORT, RESET_NOW);
            kernel_stop(&kernels[i]);
            configs[i] = config_of(&kernels[i]);
            configs[i].cpus = 1 + i;
            configs[i].executor = (enum machine_executor)((unsigned)round + i) % 3;
            configs[i].irqchip = i ? MACHINE_IRQCHIP_NONE : MACHINE_IRQCHIP_AUTO;
            twins[i].machine = machine_of(&configs[i]);
        }
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&twins[i].thread, NULL, twin_main, &twins[i]), 0);
        for (unsigned i = 0; i < 2; i++) {
            pthread_join(twins[i].thread, NULL);
            assert_int_equal(twins[i].end, MACHINE_END_EXIT_PORT);
            assert_int_equal(machine_exit_status(twins[i].machine), 105 + i);
            machine_free(twins[i].machine);
        }
    }
}

/* ---- saved state -------------------------------------------------------------------------------------------------------------------------------------------- */

static void save(struct machine *m, uint8_t **out, size_t *len)
{
    struct err err = ERR_NONE;
    if (machine_save(m, out, len, &err))
        fail_msg("%s", err.text);
}

/* Into another machine of the same kind, which then runs as the first would have. */
static void state_moves_between_machines(void **state)
{
    (void)state;
    for (int irqchip = MACHINE_IRQCHIP_AUTO; irqchip <= MACHINE_IRQCHIP_NONE; irqchip++) {
        struct kernel k;
        uint8_t *one, *two;
        size_t one_len, two_len;
        kernel_begin(&k);
        kernel_exit(&k, 9);
        struct machine_config config = config_of(&k);
        config.cpus = 2;
        config.irqchip = (enum machine_irqchip)irqchip;
        struct machine *a = machine_of(&config), *b = machine_of(&config);
        save(a, &one, &one_len);
        assert_int_equal(machine_load(b, one, one_len, NULL), 0);
        save(b, &two, &two_len);
        assert_int_equal(one_len, two_len);
        assert_int_equal(run(b), MACHINE_END_EXIT_PORT);
        assert_int_equal(machine_exit_status(b), 109);
        free(one);
        free(two);
        machine_free(a);
        machine_free(b);
    }
}

static void hostile_state_is_refused(void **state)
{
    struct kernel k;
    uint8_t *good, *bad;
    size_t len;
    (void)state;
    kernel_begin(&k);
    kernel_exit(&k, 0);
    struct machine_config config = config_of(&k);
    struct machine *m = machine_of(&config);
    save(m, &good, &len);
    bad = malloc(2 * len);
    for (size_t cut = 0; cut < len; cut += 1 + len / 97) {
        struct err err = ERR_NONE;
        assert_int_equal(machine_load(m, good, cut, &err), ERR_INPUT);
        assert_non_null(strstr(err.text, "saved state"));
    }
    memcpy(bad, good, len);
    memcpy(bad + len, good + 8, len - 8); /* every section twice */
    assert_int_equal(machine_load(m, bad, 2 * len - 8, NULL), ERR_INPUT);
    assert_int_equal(machine_load(m, good, len, NULL), 0);
    srand(1);
    for (int i = 0; i < 300; i++) {
        memcpy(bad, good, len);
        for (int j = 0; j < 4; j++)
            bad[(unsigned)rand() % len] = (uint8_t)rand();
        machine_load(m, bad, len, NULL);
    }
    assert_int_equal(machine_load(m, good, len, NULL), 0);
    assert_int_equal(run(m), MACHINE_END_EXIT_PORT);
    free(good);
    free(bad);
    machine_free(m);
}

static void *quit_soon(void *machine)
{
    nanosleep(&(struct timespec){0, 3000000}, NULL);
    machine_quit(machine, MACHINE_END_OFF);
    return NULL;
}

static void mutate(uint8_t *bytes, size_t len)
{
    static const uint8_t odd[] = {0, 1, 0x7f, 0x80, 0xff};
    for (int n = 1 + rand() % 6; n; n--) {
        size_t at = ((size_t)rand() << 8 ^ (size_t)rand()) % len, width = (size_t)1 << rand() % 4;
        uint8_t value = rand() & 1 ? (uint8_t)rand() : odd[(unsigned)rand() % sizeof odd];
        memset(bytes + at, value, width < len - at ? width : len - at);
    }
}

/* What a load lets through must run, whatever it does then. */
static void hostile_state_runs_or_is_refused(void **state)
{
    const char *rounds = getenv("MEZZ_TEST_ROUNDS");
    (void)state;
    struct kernel k;
    kernel_begin(&k);
    kernel_count(&k, 1);
    srand(rounds ? (unsigned)time(NULL) : 2);
    for (int i = rounds ? atoi(rounds) : 60; i; i--) {
        struct machine_config config = config_of(&k);
        config.cpus = 1 + (unsigned)i % 2;
        config.executor = (enum machine_executor)(i % 3);
        config.irqchip = i & 4 ? MACHINE_IRQCHIP_NONE : MACHINE_IRQCHIP_AUTO;
        struct machine *m = machine_of(&config);
        uint8_t *bytes;
        size_t len;
        save(m, &bytes, &len);
        mutate(bytes, len);
        if (!machine_load(m, bytes, len, NULL)) {
            pthread_t thread;
            enum machine_end end;
            assert_int_equal(pthread_create(&thread, NULL, quit_soon, m), 0);
            machine_run(m, &end, NULL);
            pthread_join(thread, NULL);
        }
        free(bytes);
        machine_free(m);
    }
}

/* Every exit of a run is followed by a checkpoint, or by many. */
static void checkpoints_lose_nothing(void **state)
{
    (void)state;
    for (int irqchip = MACHINE_IRQCHIP_AUTO; irqchip <= MACHINE_IRQCHIP_NONE; irqchip++) {
        struct kernel k;
        kernel_begin(&k);
        for (int i = 0; i < 20; i++) {
            kernel_spin(&k, 10000);
            kernel_out8(&k, 0x80, 0); /* the POST port */
        }
        kernel_exit(&k, 4);
        struct machine_config config = config_of(&k);
        config.cpus = 2;
        config.irqchip = (enum machine_irqchip)irqchip;
        config.checkpoint_every = 1;
        struct machine *m = machine_of(&config);
        assert_int_equal(run(m), MACHINE_END_EXIT_PORT);
        assert_int_equal(machine_exit_status(m), 104);
        assert_true(machine_checkpoints(m) > 5);
        machine_free(m);
    }
}

static void devices_of_one_name_are_refused(void **state)
{
    struct kernel k;
    struct machine *m;
    struct err err = ERR_NONE;
    (void)state;
    kernel_begin(&k);
    kernel_stop(&k);
    struct machine_config config = config_of(&k);
    config.disk_count = 1;
    config.disks[0] = (struct machine_disk_config){.path = "/dev/null", .id = "pic"};
    assert_int_not_equal(machine_new(&config, &m, &err), 0);
    config.disk_count = 0;
    config.cpus = 17;
    assert_int_equal(machine_new(&config, &m, &err), ERR_USAGE);
    config.cpus = 1;
    config.memory = MIB(1);
    assert_int_equal(machine_new(&config, &m, &err), ERR_USAGE);
    machine_free(NULL);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_port_values),
        cmocka_unit_test(power_off_reset_and_crash),
        cmocka_unit_test(resets_start_again),
        cmocka_unit_test(requests_from_another_thread),
        cmocka_unit_test(two_machines_in_one_process),
        cmocka_unit_test(state_moves_between_machines),
        cmocka_unit_test(hostile_state_is_refused), cmocka_unit_test(hostile_state_runs_or_is_refused),
        cmocka_unit_test(checkpoints_lose_nothing),
        cmocka_unit_test(devices_of_one_name_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
