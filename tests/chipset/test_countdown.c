/* SPDX-License-Identifier: MIT */
/* test_countdown.c - the device of docs/write-a-device.md on every kind of executor. */
#include "countdown.h"
#include "rig.h"

static void script(struct rig *r)
{
    struct countdown_config config = {0xd0000000, rig_line(r, 5)};
    rig_make(r, &countdown_class, &config);
    uint64_t v;
    bus_write(r->bus, BUS_MMIO, 0xd0000000, 4, 3000);
    rig_pass(r, 1, 1 * MS);
    rig_migrate(r, &countdown_class, &config);
    bus_read(r->bus, BUS_MMIO, 0xd0000000, 4, &v);
    rig_note(r, "left=%u", (unsigned)v);
    rig_pass(r, 1, 2 * MS);
    bus_read(r->bus, BUS_MMIO, 0xd0000004, 4, &v);
    rig_note(r, "status=%u", (unsigned)v);
    bus_write(r->bus, BUS_MMIO, 0xd0000004, 4, 1);
}

static void counts_down(void **state)
{
    (void)state;
    rig_each_kind(script, "left=2000 +5 status=1 -5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(counts_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
