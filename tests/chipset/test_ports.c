/* SPDX-License-Identifier: MIT */
/* test_ports.c - 16550, keyboard controller, exit port, test device, fw_cfg on every kind of executor. */
#include "rig.h"

static void note(struct rig *r, const char *name, uint16_t port) { rig_note(r, "%s=%x", name, in8(r, port)); }

/* ---- 16550 ---- */

/* A back end whose `room` the test sets; it notes what it takes. */
static size_t room;

static size_t host_write(void *opaque, const uint8_t *data, size_t len)
{
    size_t n = len < room ? len : room;
    room -= n;
    if (n)
        rig_note(opaque, "tx:%.*s", (int)n, (const char *)data);
    return n;
}

static void host_readable(void *opaque) { rig_note(opaque, "more"); }

static size_t receive(struct rig *r, const char *text)
{
    struct stream_frontend f = serial_frontend(r->device);
    return f.receive(f.opaque, (const uint8_t *)text, strlen(text));
}

static void serial_script(struct rig *r)
{
    struct serial_config config = {0x3f8, rig_line(r, 4), {host_write, host_readable, r}};
    rig_make(r, &serial_class, &config);
    room = 1000;
    note(r, "iir", 0x3fa), note(r, "lsr", 0x3fd), note(r, "msr", 0x3fe);
    out8(r, 0x3fb, 0x83), out8(r, 0x3f8, 1), out8(r, 0x3f9, 2);
    note(r, "high", 0x3f9), note(r, "low", 0x3f8);
    out8(r, 0x3fb, 3), out8(r, 0x3fc, 0xb);
    out8(r, 0x3f8, 'a');
    out8(r, 0x3f9, 2);                              /* transmitter interrupt: at once */
    note(r, "iir", 0x3fa), note(r, "iir", 0x3fa);
    out8(r, 0x3f8, 'b');
    note(r, "iir", 0x3fa);
    out8(r, 0x3f9, 1), out8(r, 0x3fa, 0xc1);        /* receive, FIFOs, trigger 14 */
    rig_note(r, "took=%zu", receive(r, "xyz"));
    note(r, "iir", 0x3fa), note(r, "lsr", 0x3fd);
    rig_migrate(r, &serial_class, &config);
    rig_note(r, "took=%zu", receive(r, "0123456789abcdefgh"));
    note(r, "iir", 0x3fa);
    rig_note(r, "%c", in8(r, 0x3f8));               /* room again: the back end is told once */
    rig_note(r, "%c", in8(r, 0x3f8));
    for (int i = 0; i < 14; i++)
        in8(r, 0x3f8);
    rig_note(r, "lsr=%x", in8(r, 0x3fd));
    out8(r, 0x3fc, 0x1b);                           /* loopback */
    for (int i = 0; i < 17; i++)
        out8(r, 0x3f8, (uint8_t)('A' + i));
    note(r, "lsr", 0x3fd), note(r, "lsr", 0x3fd), note(r, "msr", 0x3fe);
    note(r, "rx", 0x3f8), rig_note(r, "took=%zu", receive(r, "no"));
    out8(r, 0x3fc, 0xb), out8(r, 0x3fa, 0xc7), out8(r, 0x3f9, 2);
}

static void serial(void **state)
{
    (void)state;
    rig_each_kind(serial_script, "iir=1 lsr=60 msr=b0 high=2 low=1 tx:a +4 -4 iir=2 iir=1 tx:b +4 -4 iir=2 +4 took=3 iir=cc lsr=61 took=13 iir=c4 more x y -4 lsr=60"
                                 " lsr=63 lsr=61 msr=b0 rx=41 took=0 more +4 -4 +4");
}

static void serial_flow_script(struct rig *r)
{
    struct serial_config config = {0x3f8, rig_line(r, 4), {host_write, host_readable, r}};
    rig_make(r, &serial_class, &config);
    room = 2;
    out8(r, 0x3fa, 1), out8(r, 0x3fc, 8), out8(r, 0x3f9, 2);
    for (const char *p = "hello"; *p; p++)
        out8(r, 0x3f8, (uint8_t)*p);
    note(r, "lsr", 0x3fd), note(r, "iir", 0x3fa);
    rig_migrate(r, &serial_class, &config);
    struct stream_frontend f = serial_frontend(r->device);
    room = 2;
    f.writable(f.opaque);
    rig_note(r, "lsr=%x", in8(r, 0x3fd));
    room = 10;
    f.writable(f.opaque);
    note(r, "lsr", 0x3fd), note(r, "iir", 0x3fa);
}

static void serial_flow(void **state)
{
    (void)state;
    rig_each_kind(serial_flow_script, "+4 tx:h tx:e -4 lsr=0 iir=c1 tx:ll lsr=0 tx:o +4 lsr=60 -4 iir=c2");
}

/* ---- keyboard controller ---- */

static void ask(struct rig *r, uint8_t command)
{
    out8(r, 0x64, command);
    rig_note(r, "%x", in8(r, 0x64) & 1 ? in8(r, 0x60) : 0xee);
}

static void keyboard_script(struct rig *r)
{
    struct i8042_config config = {rig_power(r)};
    rig_make(r, &i8042_class, &config);
    note(r, "status", 0x64), ask(r, 0xaa), ask(r, 0xab), ask(r, 0x20);
    out8(r, 0x64, 0x60), out8(r, 0x60, 0x47);
    rig_migrate(r, &i8042_class, &config);
    ask(r, 0x20), ask(r, 0xd0), ask(r, 0xad), ask(r, 0x20);
    out8(r, 0x64, 0xd1), out8(r, 0x60, 0xdd);       /* A20 off is refused, no reset */
    ask(r, 0xd0), note(r, "fast", 0x92);
    out8(r, 0x64, 0xff), out8(r, 0x64, 0xfe);
    out8(r, 0x64, 0xd1), out8(r, 0x60, 0xfe);
    out8(r, 0x92, 2), out8(r, 0x92, 3);
}

static void keyboard(void **state)
{
    (void)state;
    rig_each_kind(keyboard_script, "status=14 55 0 30 47 3 ee 57 df fast=2 reset:0 reset:0 reset:0");
}

/* ---- small ones ---- */

static void exit_port_script(struct rig *r)
{
    struct exit_port_config config = {0xf4, rig_power(r)};
    rig_make(r, &exit_port_class, &config);
    rig_out(r, 0xf4, 4, 0), rig_out(r, 0xf4, 1, 1), rig_out(r, 0xf4, 2, 27), rig_out(r, 0xf4, 4, 0xffffffff);
    rig_out(r, 0xf6, 1, 7);
    rig_note(r, "%llx", (unsigned long long)rig_in(r, 0xf4, 4));
}

static void exit_port(void **state)
{
    (void)state;
    rig_each_kind(exit_port_script, "exit:0 exit:101 exit:127 exit:127 0");
}

static void test_device_script(struct rig *r)
{
    struct test_device_config config = {.lines = {[14] = rig_line(r, 14)}};
    rig_make(r, &test_device_class, &config);
    rig_out(r, 0xe0, 2, 0x9999);
    rig_note(r, "%x", in8(r, 0xe0));
    rig_out(r, 0x200e, 1, 1), rig_out(r, 0x200f, 1, 1);
    rig_migrate(r, &test_device_class, &config);
    rig_note(r, "%llx", (unsigned long long)rig_in(r, 0xe0, 4));
    rig_out(r, 0x200e, 1, 0);
    uint64_t v;
    bus_write(r->bus, BUS_MMIO, 0xff00ffff, 1, 0x77);
    bus_read(r->bus, BUS_MMIO, 0xff00fffc, 4, &v);
    rig_note(r, "%llx", (unsigned long long)v);
}

static void test_device(void **state)
{
    (void)state;
    rig_each_kind(test_device_script, "99 +14 9999 -14 77000000");
}

static void item(struct rig *r, uint32_t key, unsigned bytes)
{
    uint64_t v = 0;
    rig_out(r, 0x510, 4, key); /* kvm-unit-tests writes 32 bits */
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)in8(r, 0x511) << 8 * i;
    rig_note(r, "%llx", (unsigned long long)v);
}

static void fw_cfg_script(struct rig *r)
{
    struct fw_cfg_item extra = {0x42, "xy", 2};
    struct fw_cfg_config config = {.memory = UINT64_C(0x140000000), .cpus = 4, .items = &extra, .item_count = 1};
    rig_make(r, &fw_cfg_class, &config);
    item(r, 0, 4), item(r, 3, 8), item(r, 5, 2), item(r, 0x42, 3), item(r, 0x99, 2), item(r, 0, 1);
    rig_migrate(r, &fw_cfg_class, &config);
    rig_note(r, "%c", in8(r, 0x511));
}

static void fw_cfg(void **state)
{
    (void)state;
    rig_each_kind(fw_cfg_script, "554d4551 140000000 4 7978 0 51 E");
}

static void post_script(struct rig *r)
{
    rig_make(r, &post_ports_class, NULL);
    out8(r, 0x80, 0x31), out8(r, 0xed, 0x32);
    rig_migrate(r, &post_ports_class, NULL);
    note(r, "80", 0x80), note(r, "ed", 0xed);
}

static void post(void **state)
{
    (void)state;
    rig_each_kind(post_script, "80=31 ed=32");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serial), cmocka_unit_test(serial_flow), cmocka_unit_test(keyboard), cmocka_unit_test(exit_port), cmocka_unit_test(test_device),
        cmocka_unit_test(fw_cfg), cmocka_unit_test(post),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
