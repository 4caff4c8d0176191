/* SPDX-License-Identifier: MIT */
/* test_bus.c - routing, splitting, priorities, moves under load, re-entry; device life, save and load. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "bus/device.h"

struct toy {
    struct device device;
    struct bus_region ports, window;
    uint8_t bytes[16];
    unsigned calls, refuse_wide;
    uint64_t reentered;
};

static enum bus_status toy_read(void *o, uint64_t offset, unsigned size, uint64_t *value)
{
    struct toy *t = o;
    if (t->refuse_wide && size > 1)
        return BUS_BAD_SIZE;
    if (offset + size > sizeof t->bytes)
        return BUS_NO_REGISTER;
    t->calls++;
    *value = 0;
    memcpy(value, t->bytes + offset, size);
    return BUS_OK;
}

static enum bus_status toy_write(void *o, uint64_t offset, unsigned size, uint64_t value)
{
    struct toy *t = o;
    if (t->refuse_wide && size > 1)
        return BUS_BAD_SIZE;
    if (offset + size > sizeof t->bytes)
        return BUS_NO_REGISTER;
    t->calls++;
    if (value == 0xee) /* touches itself */
        bus_read(t->device.services.bus, BUS_PORT, t->ports.base, 1, &t->reentered);
    memcpy(t->bytes + offset, &value, size);
    return BUS_OK;
}

static const struct bus_ops toy_ops = {toy_read, toy_write};

static int toy_create(struct device *d, const void *config, struct err *err)
{
    struct toy *t = container_of(d, struct toy, device);
    uint64_t base = *(const uint64_t *)config;
    t->ports = (struct bus_region){.name = "toy ports", .space = BUS_PORT, .base = base, .len = 16, .ops = &toy_ops, .opaque = t, .owner = d};
    t->window = (struct bus_region){.name = "toy window", .space = BUS_MMIO, .base = base << 12, .len = 16, .ops = &toy_ops, .opaque = t, .owner = d};
    int e = bus_add(d->services.bus, &t->ports, err);
    return e ? e : bus_add(d->services.bus, &t->window, err);
}

static void toy_reset(struct device *d) { memset(container_of(d, struct toy, device)->bytes, 0x11, 16); }
static int toy_loaded(struct device *d, struct err *err)
{
    return container_of(d, struct toy, device)->bytes[0] == 0xbd ? err_set(err, ERR_INPUT, "bad byte") : 0;
}

static const struct field toy_fields[] = {FIELD_BYTES(struct toy, bytes, "bytes"), FIELD_END};
static const struct device_class toy_class = {
    .name = "toy", .size = sizeof(struct toy), .create = toy_create, .reset = toy_reset, .fields = toy_fields, .loaded = toy_loaded,
};

static struct toy *toy_new(struct bus *bus, const char *id, uint64_t base)
{
    struct device *d = NULL;
    struct device_services services = {.bus = bus};
    struct err err = ERR_NONE;
    if (device_new(&toy_class, id, &services, &base, &d, &err))
        return NULL;
    return container_of(d, struct toy, device);
}

static uint64_t in(struct bus *bus, uint64_t address, unsigned size)
{
    uint64_t v = 0x5555;
    bus_read(bus, BUS_PORT, address, size, &v);
    return v;
}

static void test_routing(void **s)
{
    (void)s;
    struct bus *bus = bus_new(NULL);
    struct toy *a = toy_new(bus, "a", 0x100), *b = toy_new(bus, "b", 0x110);
    assert_non_null(a);
    assert_null(toy_new(bus, "c", 0x108));
    assert_null(toy_new(bus, "c", 0xfff8));
    assert_null(toy_new(bus, "", 0x300));
    bus_write(bus, BUS_PORT, 0x102, 4, 0xaabbccdd);
    assert_int_equal(in(bus, 0x102, 4), 0xaabbccdd);
    assert_int_equal(a->calls, 2);
    assert_int_equal(in(bus, 0x103, 1), 0xcc);
    assert_int_equal(in(bus, 0x10e, 4), 0x11111111); /* spans a and b */
    assert_int_equal(in(bus, 0xfe, 4), 0x1111ffff);  /* hole, then a */
    assert_int_equal(in(bus, 0x11e, 4), 0xffff1111);
    assert_int_equal(in(bus, 0x200, 8), UINT64_MAX);
    assert_int_equal(in(bus, 0x102, 3), 0xbbccdd);
    assert_int_equal(in(bus, 0xffff, 4), 0xffffffff); /* wraps at 64 KiB */
    bus_write(bus, BUS_PORT, 0x10e, 4, 0x04030201);
    assert_int_equal(a->bytes[15], 2);
    assert_int_equal(b->bytes[1], 4);
    uint64_t v;
    assert_int_equal(bus_read(bus, BUS_MMIO, 0x100008, 8, &v), BUS_OK);
    assert_int_equal(bus_read(bus, BUS_MMIO, UINT64_MAX - 1, 8, &v), BUS_NO_REGISTER);
    assert_int_equal(v, UINT64_MAX);
    a->refuse_wide = 1;
    assert_int_equal(in(bus, 0x102, 4), 0xaabbccdd);  /* the ISA bus splits */
    bus_read(bus, BUS_MMIO, 0x100008, 4, &v);
    assert_int_equal(v, 0xffffffff);                  /* MMIO does not */
    bus_write(bus, BUS_PORT, 0x100, 1, 0xee);
    assert_int_equal(a->reentered, 0xff);
    device_free(&a->device);
    assert_int_equal(in(bus, 0x102, 4), 0xffffffff);
    device_free(&b->device);
    bus_free(bus);
}

static void count_region(void *o, const struct bus_region *r) { (void)r; ++*(unsigned *)o; }

static void test_priority_and_move(void **s)
{
    (void)s;
    struct bus *bus = bus_new(NULL);
    struct toy *a = toy_new(bus, "a", 0x100), *b = toy_new(bus, "b", 0x200);
    memset(b->bytes, 0x22, 16);
    assert_int_not_equal(bus_move(bus, &b->ports, 0x108, NULL), 0);
    assert_int_equal(b->ports.base, 0x200);
    bus_remove(bus, &b->ports);
    bus_remove(bus, &b->ports);
    b->ports.priority = 1;
    b->ports.base = 0x104;
    b->ports.len = 4;
    assert_int_equal(bus_add(bus, &b->ports, NULL), 0);
    assert_int_equal(in(bus, 0x102, 8), 0x1111111111111111); /* begins in a */
    assert_int_equal(in(bus, 0x104, 8), 0x1111111122222222); /* begins in b, too long for it */
    assert_int_equal(bus_move(bus, &b->ports, 0x106, NULL), 0);
    assert_int_equal(in(bus, 0x106, 4), 0x22222222);
    assert_int_equal(in(bus, 0x104, 2), 0x1111);
    unsigned n = 0;
    bus_regions(bus, BUS_PORT, count_region, &n);
    assert_int_equal(n, 2);
    bus_remove(bus, &b->ports);
    assert_int_equal(in(bus, 0x102, 8), 0x1111111111111111);
    device_free(&a->device);
    device_free(&b->device);
    bus_free(bus);
}

struct load { struct bus *bus; _Atomic bool stop; _Atomic unsigned bad, hits; };

static void *hammer(void *o)
{
    struct load *l = o;
    while (!atomic_load(&l->stop)) {
        uint64_t v = in(l->bus, 0x100, 1), w = in(l->bus, 0x300, 1);
        if ((v != 0x11 && v != 0xff) || (w != 0x11 && w != 0xff))
            l->bad++;
        l->hits += v == 0x11;
    }
    return NULL;
}

/* Regions move, and a device comes and goes, while two threads access it. */
static void test_changes_under_load(void **s)
{
    (void)s;
    struct load l = {.bus = bus_new(NULL)};
    struct toy *a = toy_new(l.bus, "a", 0x100);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, hammer, &l);
    for (unsigned i = 0; i < 2000 || (!l.hits && i < 2000000); i++) {
        bus_move(l.bus, &a->ports, i & 1 ? 0x100 : 0x200, NULL);
        struct toy *b = toy_new(l.bus, "b", 0x300);
        assert_non_null(b);
        device_free(&b->device);
    }
    l.stop = true;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(l.bad, 0);
    assert_true(l.hits > 0);
    device_free(&a->device);
    bus_free(l.bus);
}

static void test_save_load(void **s)
{
    (void)s;
    struct bus *bus = bus_new(NULL);
    struct toy *a = toy_new(bus, "a", 0x100);
    uint8_t saved[64];
    a->bytes[3] = 7;
    size_t n = device_save(&a->device, saved, sizeof saved);
    device_reset(&a->device);
    assert_int_equal(a->bytes[3], 0x11);
    assert_int_equal(device_load(&a->device, saved, n, NULL), 0);
    assert_int_equal(a->bytes[3], 7);
    saved[n - 16] = 0xbd;
    struct err err = ERR_NONE;
    assert_int_equal(device_load(&a->device, saved, n, &err), ERR_INPUT);
    assert_string_equal(err.text, "a: bad byte");
    assert_int_equal(a->bytes[3], 0x11);
    device_free(&a->device);
    bus_free(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routing), cmocka_unit_test(test_priority_and_move), cmocka_unit_test(test_changes_under_load), cmocka_unit_test(test_save_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
