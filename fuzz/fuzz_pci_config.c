/* SPDX-License-Identifier: MIT */
/* A guest's accesses to the host bridge, a function's configuration space and its MSI-X table, and hostile saved states. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "pci/pci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct toy { struct device device; struct pci_function pci; };

static enum bus_status toy_read(void *o, uint64_t offset, unsigned size, uint64_t *value)
{
    (void)o;
    if (offset + size > 0x4000)
        abort();
    *value = offset;
    return BUS_OK;
}

static const struct bus_ops toy_ops = { toy_read, NULL };

static int toy_create(struct device *d, const void *config, struct err *err)
{
    struct toy *t = container_of(d, struct toy, device);
    static const struct pci_identity identity = { .vendor = 0x1af4, .device = 0x1042, .interrupt_pin = 1 };
    pci_function_init(&t->pci, d, &identity);
    if (pci_function_add_bar(&t->pci, 0, 0x4000, PCI_BAR_64, &toy_ops, t, err) || pci_function_add_msix(&t->pci, 2, 33, err))
        abort();
    return pci_attach(*(struct device *const *)config, &t->pci, 5, err);
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
static const struct device_class fuzz_toy_class = {
    .name = "toy", .size = sizeof(struct toy), .create = toy_create, .destroy = toy_destroy, .reset = toy_reset, .fields = toy_fields, .loaded = toy_loaded,
};

static void check_read_only(struct pci_function *f)
{
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
        if (i != 6 && (f->config[i] ^ f->initial[i]) & (uint8_t)~f->writable[i])
            abort();
    if (f->msix_pending >> 33)
        abort();
}

/* Eight bytes an operation: kind, size, offset, value. */
static void operate(struct bus *bus, struct toy *toy, const uint8_t *op)
{
    static const unsigned sizes[] = { 1, 2, 4, 8 };
    static const uint64_t bases[] = { 0xe0000000, 0xe0000000 + (5 << 15), 0xc0000000, 0xc0004000 };
    unsigned size = sizes[op[0] >> 1 & 3];
    uint64_t value = load_le32(op + 4), at = load_le16(op + 2);
    bool write = op[0] & 1;
    if (op[0] >> 3 & 1)
        pthread_mutex_lock(&toy->device.lock), pci_msix_notify(&toy->pci, op[1] & 63), pci_intx_set(&toy->pci, op[1] >> 7), pthread_mutex_unlock(&toy->device.lock);
    else if (op[1] & 4 && write)
        bus_write(bus, BUS_PORT, 0xcf8 + at % 8, size, value);
    else if (op[1] & 4)
        bus_read(bus, BUS_PORT, 0xcf8 + at % 8, size, &value);
    else if (write)
        bus_write(bus, BUS_MMIO, bases[op[1] & 3] + at, size, value);
    else
        bus_read(bus, BUS_MMIO, bases[op[1] & 3] + at, size, &value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct device *host, *d;
    struct bus *bus = bus_new(NULL);
    struct device_services services = { .bus = bus };
    struct pci_host_config config = { .ecam_base = 0xe0000000, .ecam_buses = 1, .low = { 0xc0000000, 0x10000000 } };
    if (!bus || device_new(&pci_host_class, "pci", &services, &config, &host, NULL) || device_new(&fuzz_toy_class, "toy", &services, &host, &d, NULL))
        abort();
    struct toy *toy = container_of(d, struct toy, device);
    if (size && data[0] & 1)
        device_load(d, data + 1, size - 1, NULL);
    for (size_t i = 0; i + 8 <= size && i < 4096; i += 8) {
        operate(bus, toy, data + i);
        check_read_only(&toy->pci);
    }
    uint8_t one[4096], two[4096];
    size_t n = device_save(d, one, sizeof one);
    if (n > sizeof one || device_load(d, one, n, NULL) || device_save(d, two, sizeof two) != n || memcmp(one, two, n))
        abort();
    device_free(d);
    device_free(host);
    bus_free(bus);
    return 0;
}
