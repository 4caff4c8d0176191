/* SPDX-License-Identifier: MIT */
/* test_interrupts.c - i8259 pair, IOAPIC and the router between devices and them, on every kind of executor. */
#include "rig.h"

/* ---- i8259 ---- */

static void pic_start(struct rig *r, const struct i8259_config *config)
{
    rig_make(r, &i8259_class, config);
    static const uint8_t words[][2] = {{0x20, 0x11}, {0x21, 0x30}, {0x21, 4}, {0x21, 1}, {0xa0, 0x11}, {0xa1, 0x38}, {0xa1, 2}, {0xa1, 1}, {0x21, 0}, {0xa1, 0}};
    for (unsigned i = 0; i < ARRAY_LEN(words); i++)
        out8(r, words[i][0], words[i][1]);
}

static void pic_set(struct rig *r, unsigned irq, bool level)
{
    struct irq_line line = i8259_line(r->device, irq);
    irq_set(&line, level);
}

static void pic_script(struct rig *r)
{
    struct i8259_config config = {rig_line(r, 0)};
    pic_start(r, &config);
    pic_set(r, 4, true);
    pic_set(r, 4, true);
    rig_note(r, "%x", i8259_acknowledge(r->device));
    out8(r, 0x20, 0x0b);
    rig_note(r, "isr=%x", in8(r, 0x20));
    pic_set(r, 12, true);                           /* the slave stands above input 4 */
    pic_set(r, 5, true);                            /* lower: waits */
    rig_migrate(r, &i8259_class, &config);
    rig_note(r, "%x", i8259_acknowledge(r->device));
    out8(r, 0xa0, 0x20), out8(r, 0x20, 0x20);
    rig_note(r, "spurious=%x", i8259_acknowledge(r->device));
    out8(r, 0x20, 0x64);                            /* specific EOI of 4 */
    rig_note(r, "%x", i8259_acknowledge(r->device));
    out8(r, 0x20, 0x20);
    out8(r, 0x21, 0xff);                            /* masked: latched, not asking */
    pic_set(r, 4, false), pic_set(r, 4, true);
    out8(r, 0x20, 0x0a);
    rig_note(r, "irr=%x", in8(r, 0x20));
    out8(r, 0x21, 0);
    rig_note(r, "%x", i8259_acknowledge(r->device));
    out8(r, 0x20, 0x20);
}

static void pic(void **state)
{
    (void)state;
    rig_each_kind(pic_script, "+0 -0 34 isr=10 +0 -0 3c spurious=37 +0 -0 35 irr=10 +0 -0 34");
}

static void pic_modes_script(struct rig *r)
{
    struct i8259_config config = {rig_line(r, 0)};
    pic_start(r, &config);
    rig_out(r, 0x4d0, 2, 0xffff);
    rig_note(r, "elcr=%llx", (unsigned long long)rig_in(r, 0x4d0, 2));
    pic_set(r, 10, true);
    rig_note(r, "%x", i8259_acknowledge(r->device));
    out8(r, 0xa0, 0x20), out8(r, 0x20, 0x20);       /* level: asks again */
    pic_set(r, 10, false);
    rig_note(r, "spurious=%x", i8259_acknowledge(r->device));
    out8(r, 0x20, 0xc3);                            /* 3 is the lowest: 4 the highest */
    pic_set(r, 0, true), pic_set(r, 4, true);
    rig_note(r, "%x", i8259_acknowledge(r->device));
    out8(r, 0x20, 0x20);
    pic_set(r, 4, false);
    out8(r, 0x20, 0x0c);                            /* poll */
    rig_note(r, "poll=%x", in8(r, 0x20));
    out8(r, 0x20, 0x68), out8(r, 0x21, 0x01);       /* special mask: input 0 in service and masked lets the others in */
    pic_set(r, 1, true);
    rig_note(r, "%x", i8259_acknowledge(r->device));
    out8(r, 0x20, 0x11), out8(r, 0x21, 0x50), out8(r, 0x21, 4), out8(r, 0x21, 3), out8(r, 0x21, 0); /* again, with automatic EOI */
    pic_set(r, 6, true);
    rig_note(r, "%x", i8259_acknowledge(r->device));
    out8(r, 0x20, 0x0b);
    rig_note(r, "isr=%x", in8(r, 0x20));
    pic_set(r, 6, false);
}

static void pic_modes(void **state)
{
    (void)state;
    rig_each_kind(pic_modes_script, "elcr=def8 +0 -0 3a +0 -0 spurious=37 +0 -0 34 +0 -0 poll=80 +0 -0 31 +0 56 isr=0 -0");
}

/* ---- IOAPIC ---- */

static uint32_t io_read(struct rig *r, uint8_t reg)
{
    uint64_t v = 0;
    bus_write(r->bus, BUS_MMIO, 0xfec00000, 4, reg);
    bus_read(r->bus, BUS_MMIO, 0xfec00010, 4, &v);
    return (uint32_t)v;
}

static void io_note(struct rig *r, uint8_t reg) { rig_note(r, "%x", io_read(r, reg)); }

static void io_write(struct rig *r, uint8_t reg, uint32_t v)
{
    bus_write(r->bus, BUS_MMIO, 0xfec00000, 1, reg);
    bus_write(r->bus, BUS_MMIO, 0xfec00010, 4, v);
}

static void io_set(struct rig *r, unsigned pin, bool level)
{
    struct irq_line line = ioapic_line(r->device, pin);
    irq_set(&line, level);
}

static void ioapic_script(struct rig *r)
{
    struct ioapic_config config = {0xfec00000};
    rig_make(r, &ioapic_class, &config);
    io_write(r, 0, 0xffffffff), io_write(r, 1, 0), io_write(r, 2, 0);
    io_note(r, 0), io_note(r, 1), io_note(r, 2), io_note(r, 0x3e);
    io_write(r, 0x1d, 0x02000000), io_write(r, 0x1c, 0x10076);           /* pin 6, masked, edge */
    io_set(r, 6, true), io_set(r, 6, false);
    io_write(r, 0x1c, 0x76);                                             /* what came while masked is lost */
    io_set(r, 6, true), io_set(r, 6, true), io_set(r, 6, false), io_set(r, 6, true);
    io_write(r, 0x1d, 0xff5a0000), io_write(r, 0x1c, 0x18977);           /* level, logical, lowest priority, extended destination, masked */
    io_note(r, 0x1d), io_note(r, 0x1c);
    io_write(r, 0x1c, 0x8977);                                           /* the line is high */
    rig_migrate(r, &ioapic_class, &config);
    io_note(r, 0x1c);
    io_set(r, 6, false), io_set(r, 6, true);                             /* coalesced */
    ioapic_eoi(r->device, 0x76);
    ioapic_eoi(r->device, 0x77);                                         /* still high: again */
    io_set(r, 6, false);
    ioapic_eoi(r->device, 0x77);
    io_note(r, 0x1c);
    io_set(r, 6, true);
    io_write(r, 0x1c, 0x10977), io_write(r, 0x1c, 0x18977);              /* through edge mode: remote IRR falls */
    io_note(r, 0x1c);
    uint64_t v;
    assert_int_equal(bus_read(r->bus, BUS_MMIO, 0xfec00040, 4, &v), BUS_NO_REGISTER);
    assert_int_equal(bus_read(r->bus, BUS_MMIO, 0xfec00010, 1, &v), BUS_BAD_SIZE);
}

static void ioapic(void **state)
{
    (void)state;
    rig_each_kind(ioapic_script, "f000000 170011 f000000 10000 msi:fee02000:76 msi:fee02000:76 ff5a0000 18977 msi:feeff5a4:c177 c977 msi:feeff5a4:c177 8977"
                                 " msi:feeff5a4:c177 18977");
}

/* ---- router ---- */

static void note_pic(void *opaque, unsigned n, bool level) { rig_note(opaque, "pic%c%u", level ? '+' : '-', n); }
static void note_io(void *opaque, unsigned n, bool level) { rig_note(opaque, "io%c%u", level ? '+' : '-', n); }

static void router_script(struct rig *r)
{
    struct irq_router_config config = {.i8259 = {note_pic, r, 0}, .ioapic = {note_io, r, 0}, .timer_pin = 2};
    struct irq_router *router = irq_router_new(&config, NULL);
    struct irq_line a, b, timer, high;
    assert_int_equal(irq_router_line(router, 5, &a, NULL) | irq_router_line(router, 5, &b, NULL), 0);
    assert_int_equal(irq_router_line(router, 0, &timer, NULL) | irq_router_line(router, 20, &high, NULL), 0);
    irq_set(&a, true), irq_set(&b, true), irq_set(&a, false), irq_set(&a, false), irq_set(&b, false);
    irq_set(&timer, true), irq_set(&high, true);
    for (unsigned i = 0; i < 31; i++)
        assert_int_equal(irq_router_line(router, 20, &a, NULL), 0);
    assert_int_not_equal(irq_router_line(router, 20, &a, NULL), 0);
    assert_int_not_equal(irq_router_line(router, 24, &a, NULL), 0);
    irq_router_free(router);
}

static void router(void **state)
{
    (void)state;
    rig_each_kind(router_script, "pic+5 io+5 pic-5 io-5 pic+0 io+2 io+20");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pic), cmocka_unit_test(pic_modes), cmocka_unit_test(ioapic), cmocka_unit_test(router)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
