/* SPDX-License-Identifier: MIT */
/* test_pci.c - the host bridge by ports and ECAM, sizing and moving BARs, MSI-X masks and pending bits, the interrupt pin, save and load. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "pci/pci.h"
#include "pci/registers.h"

#define ECAM UINT64_C(0xe0000000)

struct toy { struct device device; struct pci_function pci; uint8_t bytes[0x100]; };
struct toy_config { struct device *host; unsigned slot; uint64_t big; };

static enum bus_status toy_read(void *o, uint64_t offset, unsigned size, uint64_t *value)
{
    struct toy *t = o;
    *value = 0;
    memcpy(value, t->bytes + offset % 0xf8, size);
    return BUS_OK;
}

static enum bus_status toy_write(void *o, uint64_t offset, unsigned size, uint64_t value)
{
    memcpy(((struct toy *)o)->bytes + offset % 0xf8, &value, size);
    return BUS_OK;
}

static const struct bus_ops toy_ops = { toy_read, toy_write };

static int toy_create(struct device *d, const void *config, struct err *err)
{
    struct toy *t = container_of(d, struct toy, device);
    const struct toy_config *c = config;
    static const struct pci_identity identity = { .vendor = 0x1234, .device = 0x5678, .class_code = 0xff0000, .interrupt_pin = 1 };
    pci_function_init(&t->pci, d, &identity);
    int r = pci_function_add_bar(&t->pci, 0, 0x100, 0, &toy_ops, t, err);
    if (!r)
        r = pci_function_add_msix(&t->pci, 1, 3, err);
    if (!r)
        r = pci_function_add_bar(&t->pci, 2, c->big ? c->big : 0x4000, PCI_BAR_64 | PCI_BAR_HIGH | PCI_BAR_PREFETCH, &toy_ops, t, err);
    return r ? r : pci_attach(c->host, &t->pci, c->slot, err);
}

static void toy_destroy(struct device *d) { pci_detach(&container_of(d, struct toy, device)->pci); }
static void toy_reset(struct device *d) { pci_function_reset(&container_of(d, struct toy, device)->pci); }
static int toy_loaded(struct device *d, struct err *err)
{
    (void)err;
    pci_function_loaded(&container_of(d, struct toy, device)->pci);
    return 0;
}

static const struct field toy_fields[] = { PCI_FUNCTION_FIELDS(struct toy, pci), FIELD_END };
static const struct device_class toy_class = {
    .name = "toy", .size = sizeof(struct toy), .create = toy_create, .destroy = toy_destroy, .reset = toy_reset, .fields = toy_fields, .loaded = toy_loaded,
};

struct rig {
    struct bus *bus;
    struct device_services services;
    struct device *host;
    struct toy *toy;
    unsigned messages, resets;
    uint64_t address;
    uint32_t data, requester;
    bool levels[24];
};

static void on_message(void *o, uint64_t address, uint32_t data, uint32_t requester)
{
    struct rig *rig = o;
    rig->messages++;
    rig->address = address;
    rig->data = data;
    rig->requester = requester;
}

static void on_line(void *o, unsigned number, bool level) { ((struct rig *)o)->levels[number] = level; }

static int intx_line(void *o, unsigned gsi, struct irq_line *out, struct err *err)
{
    (void)err;
    *out = (struct irq_line){ on_line, o, gsi };
    return 0;
}

static void on_reset_control(void *o, uint8_t value)
{
    assert_int_equal(value, 6);
    ((struct rig *)o)->resets++;
}

static void add_toy(struct rig *rig, unsigned slot)
{
    struct device *d;
    struct toy_config config = { rig->host, slot, 0 };
    assert_int_equal(device_new(&toy_class, "toy0", &rig->services, &config, &d, NULL), 0);
    rig->toy = container_of(d, struct toy, device);
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    rig->bus = bus_new(NULL);
    rig->services = (struct device_services){ .bus = rig->bus, .msi = { on_message, rig } };
    struct pci_host_config config = {
        .ecam_base = ECAM, .ecam_buses = 256, .low = { 0xc0000000, 0x20000000 }, .high = { UINT64_C(0x1000000000), UINT64_C(0x1000000000) },
        .intx_line = intx_line, .intx_opaque = rig, .reset_control_write = on_reset_control, .reset_control_opaque = rig,
    };
    assert_int_equal(device_new(&pci_host_class, "pci", &rig->services, &config, &rig->host, NULL), 0);
    add_toy(rig, 3);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    device_free(&rig->toy->device);
    device_free(rig->host);
    bus_free(rig->bus);
    free(rig);
    return 0;
}

static uint32_t ecam_read(struct rig *rig, unsigned slot, unsigned at, unsigned size)
{
    uint64_t value;
    bus_read(rig->bus, BUS_MMIO, ECAM + (slot << 15) + at, size, &value);
    return (uint32_t)value;
}

static void ecam_write(struct rig *rig, unsigned slot, unsigned at, unsigned size, uint32_t value)
{
    bus_write(rig->bus, BUS_MMIO, ECAM + (slot << 15) + at, size, value);
}

static uint32_t port_read(struct rig *rig, unsigned slot, unsigned at, unsigned size)
{
    uint64_t value;
    bus_write(rig->bus, BUS_PORT, 0xcf8, 4, 0x80000000 | slot << 11 | (at & 0xfc));
    bus_read(rig->bus, BUS_PORT, 0xcfc + (at & 3), size, &value);
    return (uint32_t)value;
}

static uint64_t mmio(struct rig *rig, uint64_t at, unsigned size)
{
    uint64_t value;
    bus_read(rig->bus, BUS_MMIO, at, size, &value);
    return value;
}

/* ---- */

static void both_mechanisms_agree(void **state)
{
    struct rig *rig = *state;
    for (unsigned at = 0; at < 256; at++)
        assert_int_equal(ecam_read(rig, 3, at, 1), port_read(rig, 3, at, 1));
    assert_int_equal(ecam_read(rig, 3, 0, 4), 0x56781234);
    assert_int_equal(ecam_read(rig, 0, 0, 4), 0x29c08086);
    assert_int_equal(ecam_read(rig, 0, 0x60, 4), ECAM | 1);
    assert_int_equal(ecam_read(rig, 4, 0, 4), UINT32_MAX);
    assert_int_equal(port_read(rig, 5, 0, 2), 0xffff);
    assert_int_equal(ecam_read(rig, 3, 0x100, 4), 0); /* no extended capabilities */
    assert_int_equal((uint32_t)mmio(rig, ECAM + (UINT64_C(1) << 20), 4), UINT32_MAX); /* bus 1 */
    assert_int_equal(mmio(rig, ECAM + (3 << 15), 8) & UINT32_MAX, 0x56781234);
}

/* Linux probes mechanism #1 with a byte write to CFBh and reads CF8h back; a reset goes to CF9h. */
static void reset_control_beside_address(void **state)
{
    struct rig *rig = *state;
    uint64_t value;
    bus_write(rig->bus, BUS_PORT, 0xcfb, 1, 1);
    bus_write(rig->bus, BUS_PORT, 0xcf8, 4, 0x80000600);
    bus_read(rig->bus, BUS_PORT, 0xcf8, 4, &value);
    assert_int_equal(value, 0x80000600);
    assert_int_equal(rig->resets, 0);
    bus_write(rig->bus, BUS_PORT, 0xcf9, 1, 6);
    assert_int_equal(rig->resets, 1);
}

static void bars_size_and_move(void **state)
{
    struct rig *rig = *state;
    uint32_t first = ecam_read(rig, 3, 0x10, 4);
    assert_true(first >= 0xc0000000 && first < 0xe0000000);
    uint64_t wide = ecam_read(rig, 3, 0x18, 4) | (uint64_t)ecam_read(rig, 3, 0x1c, 4) << 32;
    assert_int_equal(wide & 15, 12);
    assert_true(wide >= UINT64_C(0x1000000000));
    assert_int_equal(mmio(rig, first, 4), UINT32_MAX); /* decoding is off */
    ecam_write(rig, 3, 4, 2, 2);
    bus_write(rig->bus, BUS_MMIO, first + 4, 4, 0xabcd);
    assert_int_equal(mmio(rig, first + 4, 4), 0xabcd);
    assert_int_equal(mmio(rig, (wide & ~UINT64_C(15)) + 4, 4), 0xabcd);
    ecam_write(rig, 3, 0x10, 4, UINT32_MAX); /* sizing, with decoding on */
    assert_int_equal(ecam_read(rig, 3, 0x10, 4), 0xffffff00);
    ecam_write(rig, 3, 0x18, 4, UINT32_MAX);
    ecam_write(rig, 3, 0x1c, 4, UINT32_MAX);
    assert_int_equal(ecam_read(rig, 3, 0x18, 4), 0xffffc00c);
    assert_int_equal(ecam_read(rig, 3, 0x1c, 4), UINT32_MAX);
    ecam_write(rig, 3, 0x10, 4, 0xd0000000);
    assert_int_equal(mmio(rig, 0xd0000004, 4), 0xabcd);
    assert_int_equal(mmio(rig, first + 4, 4), UINT32_MAX);
    ecam_write(rig, 3, 0x10, 4, ECAM + (3 << 15)); /* over the ECAM window: that one wins */
    assert_int_equal(ecam_read(rig, 3, 0, 4), 0x56781234);
}

static void enable_msix(struct rig *rig, unsigned control)
{
    unsigned cap = ecam_read(rig, 3, 0x34, 1);
    assert_int_equal(ecam_read(rig, 3, cap, 1), 0x11);
    ecam_write(rig, 3, cap + 2, 2, control);
}

static void msix_masks_and_pending(void **state)
{
    struct rig *rig = *state;
    struct pci_function *f = &rig->toy->pci;
    uint32_t table = ecam_read(rig, 3, 0x14, 4);
    ecam_write(rig, 3, 4, 2, 6);
    pci_msix_notify(f, 1);
    assert_int_equal(f->msix_pending, 0); /* off: nothing remembers */
    enable_msix(rig, 0xc000);
    bus_write(rig->bus, BUS_MMIO, table + 16, 8, 0xfee01000);
    bus_write(rig->bus, BUS_MMIO, table + 24, 4, 0x41);
    bus_write(rig->bus, BUS_MMIO, table + 28, 4, 0);
    assert_int_equal(mmio(rig, table + 16, 8), 0xfee01000);
    pci_msix_notify(f, 1);
    assert_int_equal(rig->messages, 0);
    assert_int_equal(mmio(rig, table + 0x1000, 8), 2);
    enable_msix(rig, 0x8000);
    assert_int_equal(rig->messages, 1);
    assert_int_equal(rig->address, 0xfee01000);
    assert_int_equal(rig->data, 0x41);
    assert_int_equal(rig->requester, 3 << 3);
    assert_int_equal(mmio(rig, table + 0x1000, 4), 0);
    bus_write(rig->bus, BUS_MMIO, table + 28, 4, 1);
    pci_msix_notify(f, 1);
    pci_msix_notify(f, 1);
    pci_msix_notify(f, 3); /* no such vector */
    assert_int_equal(rig->messages, 1);
    bus_write(rig->bus, BUS_MMIO, table + 28, 4, 0);
    assert_int_equal(rig->messages, 2);
    pci_msix_notify(f, 1);
    assert_int_equal(rig->messages, 3);
}

static void pin_and_disable(void **state)
{
    struct rig *rig = *state;
    struct pci_function *f = &rig->toy->pci;
    assert_int_equal(ecam_read(rig, 3, 0x3c, 1), 19);
    pci_intx_set(f, true);
    assert_true(rig->levels[19]);
    assert_int_equal(ecam_read(rig, 3, 6, 1) & 8, 8);
    ecam_write(rig, 3, 4, 2, 0x400);
    assert_false(rig->levels[19]);
    assert_int_equal(ecam_read(rig, 3, 6, 1) & 8, 8);
    ecam_write(rig, 3, 4, 2, 0);
    assert_true(rig->levels[19]);
    device_reset(&rig->toy->device);
    assert_false(rig->levels[19]);
}

static void saves_and_loads(void **state)
{
    struct rig *rig = *state;
    uint8_t one[8192], two[8192];
    ecam_write(rig, 3, 4, 2, 6);
    ecam_write(rig, 3, 0x10, 4, 0xd0000000);
    enable_msix(rig, 0x8000);
    pci_intx_set(&rig->toy->pci, true);
    size_t n = device_save(&rig->toy->device, one, sizeof one);
    device_free(&rig->toy->device);
    add_toy(rig, 3);
    assert_int_equal(device_load(&rig->toy->device, one, n, NULL), 0);
    assert_int_equal(device_save(&rig->toy->device, two, sizeof two), n);
    assert_memory_equal(one, two, n);
    bus_write(rig->bus, BUS_MMIO, 0xd0000000, 4, 77);
    assert_int_equal(mmio(rig, 0xd0000000, 4), 77);
    assert_true(rig->levels[19]);
}

static void refuses_bad_places(void **state)
{
    struct rig *rig = *state;
    struct device *d;
    struct err err = ERR_NONE;
    struct toy_config config = { rig->host, 3, 0 };
    assert_int_equal(device_new(&toy_class, "t", &rig->services, &config, &d, &err), ERR_USAGE);
    config = (struct toy_config){ rig->host, PCI_SLOT_ANY, BIT(40) };
    assert_int_equal(device_new(&toy_class, "t", &rig->services, &config, &d, &err), ERR_HOST);
    config.big = 0x4000;
    assert_int_equal(device_new(&toy_class, "t", &rig->services, &config, &d, &err), 0);
    assert_int_equal(ecam_read(rig, 1, 0, 4), 0x56781234);
    device_free(d);
    assert_int_equal(ecam_read(rig, 1, 0, 4), UINT32_MAX);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(both_mechanisms_agree), TEST(reset_control_beside_address), TEST(bars_size_and_move), TEST(msix_masks_and_pending),
        TEST(pin_and_disable), TEST(saves_and_loads), TEST(refuses_bad_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
