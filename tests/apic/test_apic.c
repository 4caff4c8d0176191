/* SPDX-License-Identifier: MIT */
/* test_apic.c - local APICs: routing, priorities, both register faces, timer modes, mode transitions, save and load. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apic/apic.h"
#include "base/bits.h"

enum { CPUS = 4 };

struct rig {
    struct apic_bus *bus;
    struct apic *apic[CPUS];
    uint64_t now, tsc;
    unsigned wakes[CPUS];
    unsigned eois;
    uint8_t eoi_vector;
    int pic_vector;
};

static uint64_t rig_now(void *o) { return ((struct rig *)o)->now; }
static uint64_t rig_tsc(void *o, unsigned cpu) { (void)cpu; return ((struct rig *)o)->tsc; }
static void rig_wake(void *o, unsigned cpu) { ((struct rig *)o)->wakes[cpu]++; }
static void rig_eoi(void *o, uint8_t vector) { ((struct rig *)o)->eois++; ((struct rig *)o)->eoi_vector = vector; }
static int rig_pic(void *o) { return ((struct rig *)o)->pic_vector; }

static uint32_t rd(struct apic *a, uint32_t offset) { uint32_t v; apic_mmio_read(a, offset, &v, 4); return v; }
static void wr(struct apic *a, uint32_t offset, uint32_t v) { apic_mmio_write(a, offset, &v, 4); }
static uint64_t msr(struct apic *a, uint32_t n) { uint64_t v = 0; assert_true(apic_msr_read(a, n, &v)); return v; }

static struct rig *rig_new(bool x2apic)
{
    struct rig *r = calloc(1, sizeof *r);
    struct apic_bus_config c = {.x2apic = x2apic, .phys_bits = 40, .timer_hz = 1000000000, .tsc_hz = 2000000000, .now = rig_now, .tsc = rig_tsc, .wake = rig_wake, .opaque = r};
    r->bus = apic_bus_new(&c, NULL);
    assert_non_null(r->bus);
    apic_bus_set_eoi(r->bus, rig_eoi, r);
    apic_bus_set_extint(r->bus, rig_pic, r);
    for (unsigned i = 0; i < CPUS; i++) {
        assert_int_equal(apic_new(r->bus, i, i, &r->apic[i], NULL), 0);
        wr(r->apic[i], 0xf0, 0x1ff);
    }
    memset(r->wakes, 0, sizeof r->wakes);
    return r;
}

static void rig_free(struct rig *r)
{
    for (unsigned i = 0; i < CPUS; i++)
        apic_free(r->apic[i]);
    apic_bus_free(r->bus);
    free(r);
}

static void x2(struct rig *r)
{
    for (unsigned i = 0; i < CPUS; i++)
        assert_true(apic_msr_write(r->apic[i], 0x1b, apic_base(r->apic[i]) | APIC_BASE_EXTD));
}

/* Which CPUs hold `vector` in IRR, as a mask; takes it away again. */
static unsigned took(struct rig *r, unsigned vector)
{
    unsigned mask = 0;
    for (unsigned i = 0; i < CPUS; i++)
        if (apic_pending(r->apic[i])) {
            assert_int_equal(apic_acknowledge(r->apic[i]), vector);
            if (apic_base(r->apic[i]) & APIC_BASE_EXTD)
                assert_true(apic_msr_write(r->apic[i], 0x80b, 0));
            else
                wr(r->apic[i], 0xb0, 0);
            mask |= 1u << i;
        }
    return mask;
}

static void icr(struct rig *r, unsigned cpu, uint32_t low, uint32_t dest)
{
    if (apic_base(r->apic[cpu]) & APIC_BASE_EXTD) {
        assert_true(apic_msr_write(r->apic[cpu], 0x830, (uint64_t)dest << 32 | low));
    } else {
        wr(r->apic[cpu], 0x310, dest << 24);
        wr(r->apic[cpu], 0x300, low);
    }
}

static void test_reset_values(void **s)
{
    (void)s;
    struct rig *r = rig_new(true);
    struct apic *a;
    assert_int_not_equal(apic_new(r->bus, 0, 0, &a, NULL), 0);
    assert_int_equal(apic_base(r->apic[0]), APIC_DEFAULT_BASE | APIC_BASE_EN | APIC_BASE_BSP);
    assert_int_equal(apic_base(r->apic[1]), APIC_DEFAULT_BASE | APIC_BASE_EN);
    assert_int_equal(rd(r->apic[2], 0x20), 2u << 24);
    assert_int_equal(rd(r->apic[0], 0x30), 0x00060015);
    assert_int_equal(rd(r->apic[0], 0xe0), 0xffffffff);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(rd(r->apic[0], 0x320 + 16 * i), 0x10000);
    wr(r->apic[0], 0xf0, 0xff);
    wr(r->apic[0], 0x350, 0x700);
    assert_int_equal(rd(r->apic[0], 0x350), 0x10700); /* software-disabled: stays masked */
    uint8_t odd[8];
    apic_mmio_read(r->apic[0], 0x32, odd, 2);
    assert_int_equal(load_le16(odd), 0x0006);
    apic_mmio_read(r->apic[0], 0x34, odd, 4);
    assert_int_equal(load_le32(odd), 0);
    rig_free(r);
}

static void test_priorities(void **s)
{
    (void)s;
    struct rig *r = rig_new(false);
    struct apic *a = r->apic[0];
    icr(r, 1, 0x31, 0);
    icr(r, 1, 0x45, 0);
    icr(r, 1, 0x42, 0);
    assert_int_equal(r->wakes[0], 3);
    assert_int_equal(apic_acknowledge(a), 0x45);
    assert_int_equal(rd(a, 0xa0), 0x40);
    assert_false(apic_pending(a)); /* 0x42 is of the same class */
    icr(r, 1, 0x51, 0);
    assert_int_equal(apic_acknowledge(a), 0x51); /* nests */
    wr(a, 0xb0, 0);
    assert_int_equal(rd(a, 0xa0), 0x40);
    wr(a, 0xb0, 0);
    assert_int_equal(apic_acknowledge(a), 0x42);
    wr(a, 0xb0, 0);
    apic_set_cr8(a, 3);
    assert_int_equal(rd(a, 0x80), 0x30);
    assert_false(apic_pending(a));
    unsigned before = r->wakes[0];
    apic_set_cr8(a, 2);
    assert_true(r->wakes[0] > before);
    assert_int_equal(apic_acknowledge(a), 0x31);
    assert_int_equal(apic_acknowledge(a), -1);
    wr(a, 0xb0, 0);
    wr(a, 0xb0, 0); /* one too many is harmless */
    rig_free(r);
}

static void test_xapic_destinations(void **s)
{
    (void)s;
    struct rig *r = rig_new(false);
    icr(r, 0, 0x60, 2);          assert_int_equal(took(r, 0x60), 4);
    icr(r, 0, 0x60, 0xff);       assert_int_equal(took(r, 0x60), 15);
    icr(r, 0, 0x40060, 0);       assert_int_equal(took(r, 0x60), 1);
    icr(r, 1, 0x80060, 0);       assert_int_equal(took(r, 0x60), 15);
    icr(r, 1, 0xc0060, 0);       assert_int_equal(took(r, 0x60), 13);
    for (unsigned i = 0; i < CPUS; i++)
        wr(r->apic[i], 0xd0, 1u << (24 + i));
    icr(r, 0, 0x860, 0xa);       assert_int_equal(took(r, 0x60), 10);
    icr(r, 0, 0x860, 0xff);      assert_int_equal(took(r, 0x60), 15);
    for (unsigned i = 0; i < CPUS; i++) {
        wr(r->apic[i], 0xe0, 0);
        wr(r->apic[i], 0xd0, (i / 2 << 4 | 1u << (i & 1)) << 24);
    }
    icr(r, 0, 0x860, 0x13);      assert_int_equal(took(r, 0x60), 12);
    icr(r, 0, 0x860, 0x02);      assert_int_equal(took(r, 0x60), 2);
    icr(r, 0, 0x860, 0xff);      assert_int_equal(took(r, 0x60), 15);
    wr(r->apic[3], 0x20, 9u << 24);
    icr(r, 0, 0x60, 9);          assert_int_equal(took(r, 0x60), 8);
    icr(r, 0, 0x60, 3);          assert_int_equal(took(r, 0x60), 0);
    wr(r->apic[1], 0xf0, 0xff);  /* software-disabled takes no fixed interrupts */
    icr(r, 0, 0x60, 1);          assert_int_equal(took(r, 0x60), 0);
    rig_free(r);
}

static void test_lowest_priority(void **s)
{
    (void)s;
    struct rig *r = rig_new(false);
    wr(r->apic[0], 0x80, 0x20);
    wr(r->apic[1], 0x80, 0x10);
    wr(r->apic[2], 0x80, 0x20);
    wr(r->apic[3], 0x80, 0x20);
    for (int i = 0; i < 5; i++) {
        icr(r, 0, 0x160, 0xff);
        assert_int_equal(took(r, 0x60), 2);
    }
    wr(r->apic[0], 0x80, 0x10);
    unsigned seen = 0;
    for (int i = 0; i < 8; i++) {
        icr(r, 0, 0x160, 0xff);
        seen |= took(r, 0x60);
    }
    assert_int_equal(seen, 3); /* equals take turns */
    rig_free(r);
}

static void test_x2apic(void **s)
{
    (void)s;
    struct rig *r = rig_new(true);
    x2(r);
    struct apic *a = r->apic[2];
    assert_int_equal(msr(a, 0x802), 2);
    assert_int_equal(msr(a, 0x80d), 4);
    icr(r, 0, 0x60, 2);               assert_int_equal(took(r, 0x60), 4);
    icr(r, 0, 0x60, 0xffffffff);      assert_int_equal(took(r, 0x60), 15);
    icr(r, 0, 0x60, 0xff);            assert_int_equal(took(r, 0x60), 0);
    icr(r, 0, 0x860, 0x9);            assert_int_equal(took(r, 0x60), 9);
    icr(r, 0, 0x860, 0x10009);        assert_int_equal(took(r, 0x60), 0);
    assert_true(apic_msr_write(a, 0x83f, 0x77));
    assert_int_equal(took(r, 0x77), 4);
    for (uint32_t n = 0x800; n < 0x900; n++) { /* bits 63..32 are reserved but in the ICR */
        assert_true(n == 0x830 || !apic_msr_write(a, n, UINT64_MAX));
        assert_true(n == 0x830 || !apic_msr_write(a, n, UINT64_C(1) << 32));
    }
    static const uint32_t read_only[] = {0x802, 0x803, 0x80a, 0x80d, 0x810, 0x81f, 0x827, 0x839}, absent[] = {0x800, 0x809, 0x80c, 0x80e, 0x831, 0x840, 0x8ff};
    uint64_t v;
    for (size_t i = 0; i < ARRAY_LEN(read_only); i++)
        assert_true(apic_msr_read(a, read_only[i], &v) && !apic_msr_write(a, read_only[i], 0));
    for (size_t i = 0; i < ARRAY_LEN(absent); i++)
        assert_true(!apic_msr_read(a, absent[i], &v) && !apic_msr_write(a, absent[i], 0));
    assert_false(apic_msr_read(a, 0x80b, &v));
    assert_false(apic_msr_read(a, 0x83f, &v));
    assert_false(apic_msr_write(a, 0x80b, 1));
    assert_false(apic_msr_write(a, 0x828, 1));
    assert_false(apic_msr_write(a, 0x808, 0x100));
    assert_false(apic_msr_write(a, 0x832, 0x80000 | 0x400));
    assert_false(apic_claims(a, APIC_DEFAULT_BASE));
    rig_free(r);
}

static void test_base_transitions(void **s)
{
    (void)s;
    struct rig *r = rig_new(true);
    struct apic *a = r->apic[0];
    uint64_t b = APIC_DEFAULT_BASE | APIC_BASE_BSP, en = b | APIC_BASE_EN, ext = en | APIC_BASE_EXTD;
    assert_true(apic_claims(a, APIC_DEFAULT_BASE + 0xfff) && !apic_claims(a, APIC_DEFAULT_BASE + 0x1000));
    assert_false(apic_msr_write(a, 0x1b, b | APIC_BASE_EXTD));
    assert_true(apic_msr_write(a, 0x1b, ext));
    assert_false(apic_msr_write(a, 0x1b, en));
    assert_false(apic_msr_write(a, 0x1b, b | APIC_BASE_EXTD));
    assert_true(apic_msr_write(a, 0x1b, b));
    assert_false(apic_is_enabled(a));
    assert_false(apic_msr_write(a, 0x1b, ext));
    assert_true(apic_msr_write(a, 0x1b, en));
    assert_int_equal(rd(a, 0xf0), 0xff); /* registers are at reset values */
    assert_false(apic_msr_write(a, 0x1b, en | 1));
    assert_false(apic_msr_write(a, 0x1b, en | UINT64_C(1) << 40));
    assert_true(apic_msr_write(a, 0x1b, (en & 0xfff) | 0xfed40000));
    assert_true(apic_claims(a, 0xfed40030));
    rig_free(r);
    r = rig_new(false);
    assert_false(apic_msr_write(r->apic[0], 0x1b, ext));
    rig_free(r);
}

static void test_events(void **s)
{
    (void)s;
    struct rig *r = rig_new(false);
    struct apic_events e;
    assert_false(apic_take_events(r->apic[1], &e));
    icr(r, 0, 0x4500, 1);            /* INIT assert */
    icr(r, 0, 0x8500, 1);            /* INIT level de-assert: nothing */
    icr(r, 0, 0x4608, 1);            /* SIPI */
    assert_true(apic_take_events(r->apic[1], &e));
    assert_true(e.init && e.sipi && e.sipi_vector == 8 && !e.nmi_count);
    icr(r, 0, 0x4699, 1);
    icr(r, 0, 0x4500, 1);
    assert_true(apic_take_events(r->apic[1], &e));
    assert_true(e.init && !e.sipi); /* INIT voids an older SIPI */
    for (int i = 0; i < 5; i++)
        icr(r, 0, 0x4400, 1);
    assert_true(apic_take_events(r->apic[1], &e));
    assert_int_equal(e.nmi_count, 2);
    wr(r->apic[0], 0x360, 0x400);
    apic_bus_line(r->bus, 1, true);
    apic_bus_line(r->bus, 1, true);
    assert_true(apic_take_events(r->apic[0], &e));
    assert_int_equal(e.nmi_count, 1);
    assert_false(apic_take_events(r->apic[1], &e)); /* masked there */
    rig_free(r);
}

static void test_extint(void **s)
{
    (void)s;
    struct rig *r = rig_new(false);
    struct apic *a = r->apic[0];
    r->pic_vector = 0x38;
    apic_bus_line(r->bus, 0, true);
    assert_false(apic_pending(a));
    unsigned before = r->wakes[0];
    wr(a, 0x350, 0x700);
    assert_true(r->wakes[0] > before && apic_pending(a) && !apic_pending(r->apic[1]));
    assert_int_equal(apic_acknowledge(a), 0x38);
    apic_bus_line(r->bus, 0, false);
    assert_false(apic_pending(a));
    assert_int_equal(rd(a, 0x110), 0); /* ISR knows nothing of it */
    wr(a, 0x350, 0x41);              /* fixed, edge */
    apic_bus_line(r->bus, 0, true);
    assert_int_equal(apic_acknowledge(a), 0x41);
    wr(a, 0xb0, 0);
    assert_false(apic_pending(a));
    wr(a, 0x350, 0x8041);            /* fixed, level */
    apic_bus_line(r->bus, 0, false);
    apic_bus_line(r->bus, 0, true);
    assert_int_equal(apic_acknowledge(a), 0x41);
    wr(a, 0xb0, 0);
    assert_int_equal(apic_acknowledge(a), 0x41);
    apic_bus_line(r->bus, 0, false);
    wr(a, 0xb0, 0);
    assert_false(apic_pending(a));
    assert_true(apic_msr_write(a, 0x1b, APIC_DEFAULT_BASE | APIC_BASE_BSP));
    apic_bus_line(r->bus, 0, true);  /* hardware-disabled: INTR */
    assert_int_equal(apic_acknowledge(a), 0x38);
    rig_free(r);
}

static void test_msi_and_eoi(void **s)
{
    (void)s;
    struct rig *r = rig_new(true);
    assert_int_equal(apic_bus_msi(r->bus, 0xfee01000, 0x55), 1);
    assert_int_equal(took(r, 0x55), 2);
    assert_int_equal(r->eois, 0);
    assert_int_equal(apic_bus_msi(r->bus, 0xfee01000, 0xc055), 1); /* level, assert */
    assert_int_equal(rd(r->apic[1], 0x180 + 0x20), 1u << 0x15);
    assert_int_equal(took(r, 0x55), 2);
    assert_true(r->eois == 1 && r->eoi_vector == 0x55);
    assert_int_equal(apic_bus_msi(r->bus, 0xfee01000, 0x8055), 0);
    assert_int_equal(apic_bus_msi(r->bus, 0xfeeff000, 0x55), CPUS);
    assert_int_equal(took(r, 0x55), 15);
    assert_int_equal(rd(r->apic[1], 0x180 + 0x20), 0); /* an edge clears TMR */
    assert_int_equal(apic_bus_msi(r->bus, 0xfee09000, 0x55), 0);
    assert_int_equal(apic_bus_msi(r->bus, 0xfee01020, 0x55), 0); /* extended destination 0x101 */
    for (unsigned i = 0; i < CPUS; i++)
        wr(r->apic[i], 0xd0, 1u << (24 + i));
    assert_int_equal(apic_bus_msi(r->bus, 0xfee0300c, 0x155), 1);
    unsigned one = took(r, 0x55);
    assert_true(one == 1 || one == 2);
    assert_int_equal(apic_bus_msi(r->bus, 0xfee02000, 0x400), 1);
    struct apic_events e;
    assert_true(apic_take_events(r->apic[2], &e) && e.nmi_count == 1);
    rig_free(r);
}

static void test_errors(void **s)
{
    (void)s;
    struct rig *r = rig_new(false);
    struct apic *a = r->apic[0];
    icr(r, 0, 0x0f, 1);
    assert_int_equal(rd(a, 0x280), 0);
    wr(a, 0x280, 0);
    assert_int_equal(rd(a, 0x280), 0x20);
    wr(a, 0x280, 0);
    assert_int_equal(rd(a, 0x280), 0);
    wr(a, 0x370, 0xfe);
    rd(a, 0x3f0);
    assert_int_equal(took(r, 0xfe), 1);
    wr(a, 0x280, 0);
    assert_int_equal(rd(a, 0x280), 0x80);
    apic_bus_msi(r->bus, 0xfee00000, 0x05);
    wr(a, 0x280, 0);
    assert_int_equal(rd(a, 0x280), 0x40);
    wr(a, 0x370, 0x02); /* an error vector that is itself illegal does not recurse */
    rd(a, 0x3f0);
    wr(a, 0x280, 0);
    assert_int_equal(rd(a, 0x280), 0xc0);
    rig_free(r);
}

static void advance(struct rig *r, uint64_t ns)
{
    r->now += ns;
    r->tsc += 2 * ns;
    for (unsigned i = 0; i < CPUS; i++)
        apic_timer_poll(r->apic[i], r->now);
}

static void test_timer(void **s)
{
    (void)s;
    struct rig *r = rig_new(false);
    struct apic *a = r->apic[0];
    r->now = 5000;
    wr(a, 0x320, 0x60);
    wr(a, 0x3e0, 0xb);                       /* divide by 1 */
    wr(a, 0x380, 100000);
    assert_int_equal(apic_timer_deadline(a), 105000);
    advance(r, 40000);
    assert_int_equal(rd(a, 0x390), 60000);
    wr(a, 0x3e0, 0x3);                       /* divide by 16 from here */
    assert_int_equal(rd(a, 0x390), 60000);
    assert_int_equal(apic_timer_deadline(a), 45000 + 960000);
    wr(a, 0x3e0, 0xb);
    advance(r, 59999);
    assert_int_equal(took(r, 0x60), 0);
    advance(r, 1);
    assert_int_equal(took(r, 0x60), 1);
    assert_int_equal(rd(a, 0x390), 0);
    assert_int_equal(apic_timer_deadline(a), APIC_NO_DEADLINE);
    wr(a, 0x320, 0x20060);                   /* periodic after the end: stays at zero */
    assert_int_equal(rd(a, 0x390), 0);
    wr(a, 0x380, 100000);
    advance(r, 100000);
    assert_int_equal(took(r, 0x60), 1);
    advance(r, 350000);                      /* three periods late: once, phase kept */
    assert_int_equal(took(r, 0x60), 1);
    assert_int_equal(rd(a, 0x390), 50000);
    wr(a, 0x320, 0x60);                      /* to one-shot: counts on */
    assert_int_equal(rd(a, 0x390), 50000);
    advance(r, 50000);
    assert_int_equal(took(r, 0x60), 1);
    advance(r, 500000);
    assert_int_equal(took(r, 0x60), 0);
    wr(a, 0x320, 0x20060);
    wr(a, 0x380, 1);
    assert_int_equal(apic_timer_deadline(a), r->now + 10000);
    wr(a, 0x380, 0);
    assert_int_equal(apic_timer_deadline(a), APIC_NO_DEADLINE);
    rig_free(r);
}

static void test_tsc_deadline(void **s)
{
    (void)s;
    struct rig *r = rig_new(true);
    struct apic *a = r->apic[0];
    assert_true(apic_msr_write(a, 0x6e0, 1000));
    assert_int_equal(msr(a, 0x6e0), 0);      /* not in this mode */
    wr(a, 0x320, 0x40060);
    wr(a, 0x380, 7);
    assert_int_equal(rd(a, 0x380), 0);
    assert_true(apic_msr_write(a, 0x6e0, 1001));
    assert_int_equal(apic_timer_deadline(a), 501);
    advance(r, 500);
    assert_int_equal(took(r, 0x60), 0);
    advance(r, 1);
    assert_int_equal(msr(a, 0x6e0), 0);
    assert_int_equal(took(r, 0x60), 1);
    assert_true(apic_msr_write(a, 0x6e0, r->tsc)); /* in the past: at once */
    assert_int_equal(took(r, 0x60), 1);
    assert_true(apic_msr_write(a, 0x6e0, UINT64_MAX));
    advance(r, 1000000000);
    assert_true(apic_msr_write(a, 0x6e0, 0));
    assert_int_equal(apic_timer_deadline(a), APIC_NO_DEADLINE);
    assert_true(apic_msr_write(a, 0x6e0, r->tsc + 2000));
    r->tsc += 1000;
    apic_tsc_changed(a);
    assert_int_equal(apic_timer_deadline(a), r->now + 500);
    wr(a, 0x320, 0x60);
    assert_int_equal(apic_timer_deadline(a), APIC_NO_DEADLINE);
    rig_free(r);
}

static void test_save_load(void **s)
{
    (void)s;
    struct rig *r = rig_new(true), *t = rig_new(true);
    struct apic *a = r->apic[1];
    wr(a, 0x320, 0x20060);
    wr(a, 0x380, 123456);
    icr(r, 0, 0x71, 1);
    icr(r, 0, 0x72, 1);
    assert_int_equal(apic_acknowledge(a), 0x72);
    icr(r, 0, 0x4400, 1);
    uint8_t one[2048], two[2048];
    size_t n = fields_save(apic_fields, a, one, sizeof one);
    assert_true(n <= sizeof one);
    assert_int_equal(fields_load(apic_fields, t->apic[1], one, n, NULL), 0);
    assert_int_equal(apic_loaded(t->apic[1], t->now, NULL), 0);
    assert_int_equal(fields_save(apic_fields, t->apic[1], two, sizeof two), n);
    assert_memory_equal(one, two, n);
    assert_int_equal(apic_timer_deadline(t->apic[1]), apic_timer_deadline(a));
    srand(1);
    for (int i = 0; i < 20000; i++) { /* a hostile state is refused or harmless */
        memcpy(two, one, n);
        for (int j = 0; j < 4; j++)
            two[(unsigned)rand() % n] = (uint8_t)rand();
        if (fields_load(apic_fields, t->apic[1], two, n, NULL) || apic_loaded(t->apic[1], t->now, NULL))
            continue;
        advance(t, (uint64_t)rand());
        rd(t->apic[1], 0x390);
        apic_acknowledge(t->apic[1]);
        uint32_t zero = 0;
        apic_mmio_write(t->apic[1], 0xb0, &zero, 4);
    }
    rig_free(r);
    rig_free(t);
}

static void test_reset(void **s)
{
    (void)s;
    struct rig *r = rig_new(true);
    x2(r);
    struct apic *a = r->apic[3];
    icr(r, 0, 0x60, 3);
    apic_reset(a, true);
    assert_false(apic_pending(a));
    assert_int_equal(msr(a, 0x802), 3);
    assert_int_equal(msr(a, 0x80d), 8);
    assert_int_equal(msr(a, 0x80f), 0xff);
    apic_reset(a, false);
    assert_int_equal(apic_base(a), APIC_DEFAULT_BASE | APIC_BASE_EN);
    apic_set_virtual_wire(r->apic[0]);
    r->pic_vector = 8;
    apic_bus_line(r->bus, 0, true);
    assert_int_equal(apic_acknowledge(r->apic[0]), 8);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reset_values), cmocka_unit_test(test_priorities), cmocka_unit_test(test_xapic_destinations),
        cmocka_unit_test(test_lowest_priority), cmocka_unit_test(test_x2apic), cmocka_unit_test(test_base_transitions), cmocka_unit_test(test_events),
        cmocka_unit_test(test_extint), cmocka_unit_test(test_msi_and_eoi), cmocka_unit_test(test_errors), cmocka_unit_test(test_timer),
        cmocka_unit_test(test_tsc_deadline), cmocka_unit_test(test_save_load), cmocka_unit_test(test_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
