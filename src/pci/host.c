/* SPDX-License-Identifier: MIT */
/* host.c - the host bridge: configuration accesses by ports (mechanism #1) and by memory (ECAM), and bus 0.
 *
 * Guest sees: function 0 of slot 0 with the identity of Intel's Q35 memory controller and its PCIEXBAR register, which tells firmware where the ECAM window is
 * (read-only here). CONFIG_ADDRESS answers dword accesses only (PCI 3.0 section 3.2.2.3.2); a byte at CF9h is the chipset's reset control register, which the
 * machine connects here, since a split dword write to CF8h must never reach it. Functions that are not there read as all ones.
 *
 * Placing: a bump allocator for each window, addresses aligned to the size; a BAR above 4 GiB only where the device asks.
 * Locks: the bridge's around every access, then the function's; `slots_lock` is a leaf for attach.
 */
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "pci/pci.h"
#include "pci/registers.h"

enum {
    PORT_ADDRESS = 0xcf8,
    PORT_RESET   = 0xcf9,
    PORT_DATA    = 0xcfc,
    Q35_PCIEXBAR = 0x60,      /* Intel 3 Series datasheet, 5.1.17 */
};
#define ADDRESS_ENABLE   UINT32_C(0x80000000)
#define ADDRESS_WRITABLE UINT32_C(0x80fffffc)

struct pci_host {
    struct device device;
    struct pci_function function;
    struct pci_host_config config;
    struct bus_region address_port, data_port, ecam;
    pthread_mutex_t slots_lock;
    struct pci_function *slots[PCI_SLOTS];
    uint64_t low_used, high_used; /* bytes of the windows given out */
    uint32_t address;
};

static struct pci_host *host_of(struct device *d) { return container_of(d, struct pci_host, device); }

/* ---- configuration accesses ------------------------------------------------------------------------------------------------------------------------------ */

static struct pci_function *find_function(struct pci_host *h, unsigned bus, unsigned devfn)
{
    if (bus || devfn & 7)
        return NULL;
    pthread_mutex_lock(&h->slots_lock);
    struct pci_function *f = h->slots[devfn >> 3];
    pthread_mutex_unlock(&h->slots_lock);
    return f;
}

/* `at` is bus << 20 | devfn << 12 | register, as in the ECAM window. The bridge's own lock is held already. */
static void access_config(struct pci_host *h, uint64_t at, unsigned size, uint32_t *value, bool write)
{
    struct pci_function *f = find_function(h, (unsigned)bits_get(at, 27, 20), (unsigned)bits_get(at, 19, 12));
    bool other = f && f->device != &h->device;
    if (!f || (other && pthread_mutex_lock(&f->device->lock))) {
        *value = UINT32_MAX;
        return;
    }
    if (write)
        pci_config_write(f, at & 0xfff, size, *value);
    else
        *value = pci_config_read(f, at & 0xfff, size);
    if (other)
        pthread_mutex_unlock(&f->device->lock);
}

static enum bus_status ecam_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    uint32_t low, high = 0;
    if (offset % size)
        return BUS_UNALIGNED;
    access_config(opaque, offset, size < 4 ? size : 4, &low, false);
    if (size == 8)
        access_config(opaque, offset + 4, 4, &high, false);
    *value = (uint64_t)high << 32 | low;
    return BUS_OK;
}

static enum bus_status ecam_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    uint32_t low = (uint32_t)value, high = (uint32_t)(value >> 32);
    if (offset % size)
        return BUS_UNALIGNED;
    access_config(opaque, offset, size < 4 ? size : 4, &low, true);
    if (size == 8)
        access_config(opaque, offset + 4, 4, &high, true);
    return BUS_OK;
}

static const struct bus_ops ecam_ops = { ecam_read, ecam_write };

static enum bus_status address_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct pci_host *h = opaque;
    if (offset == PORT_RESET - PORT_ADDRESS && size == 1 && h->config.reset_control_read)
        *value = h->config.reset_control_read(h->config.reset_control_opaque);
    else if (offset == 0 && size == 4)
        *value = h->address;
    else
        return BUS_NO_REGISTER;
    return BUS_OK;
}

static enum bus_status address_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci_host *h = opaque;
    if (offset == PORT_RESET - PORT_ADDRESS && size == 1 && h->config.reset_control_write)
        h->config.reset_control_write(h->config.reset_control_opaque, (uint8_t)value);
    else if (offset == 0 && size == 4)
        h->address = (uint32_t)value & ADDRESS_WRITABLE;
    else
        return BUS_NO_REGISTER;
    return BUS_OK;
}

static const struct bus_ops address_ops = { address_read, address_write };

/* CONFIG_ADDRESS in the shape of an ECAM offset. */
static uint64_t address_at(const struct pci_host *h, uint64_t offset)
{
    return bits_get(h->address, 23, 8) << 12 | bits_get(h->address, 7, 2) << 2 | offset;
}

static enum bus_status data_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct pci_host *h = opaque;
    uint32_t dword;
    if (!(h->address & ADDRESS_ENABLE) || offset + size > 4)
        return BUS_NO_REGISTER;
    access_config(h, address_at(h, offset), size, &dword, false);
    *value = dword;
    return BUS_OK;
}

static enum bus_status data_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci_host *h = opaque;
    uint32_t dword = (uint32_t)value;
    if (!(h->address & ADDRESS_ENABLE) || offset + size > 4)
        return BUS_NO_REGISTER;
    access_config(h, address_at(h, offset), size, &dword, true);
    return BUS_OK;
}

static const struct bus_ops data_ops = { data_read, data_write };

/* ---- bus 0 ------------------------------------------------------------------------------------------------------------------------------------------------ */

static int place(struct pci_window window, uint64_t *used, uint64_t size, uint64_t *out)
{
    uint64_t at, end;
    if (ckd_add(&at, window.base, *used) || at > UINT64_MAX - size)
        return -1;
    at = align_up(at, size);
    if (ckd_add(&end, at, size) || end - window.base > window.size)
        return -1;
    *used = end - window.base;
    *out = at;
    return 0;
}

static int place_bars(struct pci_host *h, struct pci_function *f, struct err *err)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_bar *bar = &f->bars[i];
        bool high = bar->flags & PCI_BAR_HIGH && bar->flags & PCI_BAR_64 && h->config.high.size;
        if (!bar->size)
            continue;
        if (place(high ? h->config.high : h->config.low, high ? &h->high_used : &h->low_used, bar->size, &bar->initial))
            return err_set(err, ERR_HOST, "no room for a PCI BAR of %llu bytes", (unsigned long long)bar->size);
        unsigned at = PCI_BAR0 + 4 * i;
        store_le32(f->initial + at, load_le32(f->initial + at) | (uint32_t)bar->initial);
        if (bar->flags & PCI_BAR_64)
            store_le32(f->initial + at + 4, (uint32_t)(bar->initial >> 32));
    }
    return 0;
}

static int choose_slot(const struct pci_host *h, unsigned *slot, struct err *err)
{
    if (*slot != PCI_SLOT_ANY)
        return *slot < PCI_SLOTS && !h->slots[*slot] ? 0 : err_set(err, ERR_USAGE, "PCI slot %u is taken or not 1 to 31", *slot);
    for (*slot = 0; *slot < PCI_SLOTS; ++*slot)
        if (!h->slots[*slot])
            return 0;
    return err_set(err, ERR_USAGE, "all %d PCI slots are taken", PCI_SLOTS);
}

static int connect_pin(struct pci_host *h, struct pci_function *f, unsigned slot, struct err *err)
{
    unsigned pin = f->initial[PCI_INTERRUPT_PIN], gsi = PCI_GSI_FIRST + (slot + pin - 1) % PCI_GSI_COUNT;
    if (!pin || !h->config.intx_line)
        return 0;
    f->initial[PCI_INTERRUPT_LINE] = (uint8_t)gsi;
    return h->config.intx_line(h->config.intx_opaque, gsi, &f->intx, err);
}

static int attach_locked(struct pci_host *h, struct pci_function *f, unsigned slot, struct err *err)
{
    int r = choose_slot(h, &slot, err);
    if (!r)
        r = place_bars(h, f, err);
    if (!r)
        r = connect_pin(h, f, slot, err);
    if (r)
        return r;
    f->devfn = (uint8_t)(slot << 3);
    f->host = &h->device;
    memcpy(f->config, f->initial, sizeof f->config);
    h->slots[slot] = f;
    return 0;
}

int pci_attach(struct device *host, struct pci_function *f, unsigned slot, struct err *err)
{
    struct pci_host *h = host_of(host);
    pthread_mutex_lock(&h->slots_lock);
    int r = attach_locked(h, f, slot, err);
    pthread_mutex_unlock(&h->slots_lock);
    return r;
}

void pci_detach(struct pci_function *f)
{
    if (!f->host)
        return;
    struct pci_host *h = host_of(f->host);
    pthread_mutex_lock(&h->device.lock); /* no configuration access is on its way now */
    pthread_mutex_lock(&h->slots_lock);
    h->slots[f->devfn >> 3] = NULL;
    pthread_mutex_unlock(&h->slots_lock);
    pthread_mutex_unlock(&h->device.lock);
    for (unsigned i = 0; i < PCI_BARS; i++)
        if (f->bars[i].size)
            bus_remove(f->device->services.bus, &f->bars[i].region);
    irq_set(&f->intx, false);
    f->host = NULL;
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------------------------------- */

static int add_region(struct pci_host *h, struct bus_region *region, struct bus_region what, struct err *err)
{
    *region = what;
    region->opaque = h;
    region->owner = &h->device;
    return bus_add(h->device.services.bus, region, err);
}

static void init_function(struct pci_host *h)
{
    static const struct pci_identity q35 = { .vendor = 0x8086, .device = 0x29c0, .class_code = 0x060000, .revision = 2 };
    const struct pci_host_config *c = &h->config;
    pci_function_init(&h->function, &h->device, &q35);
    if (!c->ecam_base)
        return;
    unsigned length = c->ecam_buses > 128 ? 0 : c->ecam_buses > 64 ? 1 : 2; /* 256, 128 or 64 buses */
    pci_config_init(&h->function, Q35_PCIEXBAR, 4, (uint32_t)c->ecam_base | length << 1 | 1, 0);
    pci_config_init(&h->function, Q35_PCIEXBAR + 4, 4, (uint32_t)(c->ecam_base >> 32), 0);
}

static int host_create(struct device *d, const void *config, struct err *err)
{
    struct pci_host *h = host_of(d);
    h->config = *(const struct pci_host_config *)config;
    pthread_mutex_init(&h->slots_lock, NULL);
    init_function(h);
    int r = pci_attach(d, &h->function, 0, err);
    if (!r)
        r = add_region(h, &h->address_port, (struct bus_region){ .name = "pci-address", .space = BUS_PORT, .base = PORT_ADDRESS, .len = 4, .ops = &address_ops }, err);
    if (!r)
        r = add_region(h, &h->data_port, (struct bus_region){ .name = "pci-data", .space = BUS_PORT, .base = PORT_DATA, .len = 4, .ops = &data_ops }, err);
    if (!r && h->config.ecam_base)
        r = add_region(h, &h->ecam, (struct bus_region){ .name = "pci-ecam", .space = BUS_MMIO, .base = h->config.ecam_base,
                       .len = (uint64_t)h->config.ecam_buses << 20, .ops = &ecam_ops }, err);
    return r;
}

static void host_destroy(struct device *d)
{
    struct pci_host *h = host_of(d);
    bus_remove_owner(d->services.bus, d);
    pthread_mutex_destroy(&h->slots_lock);
}

static void host_reset(struct device *d)
{
    struct pci_host *h = host_of(d);
    h->address = 0;
    pci_function_reset(&h->function);
}

static int host_loaded(struct device *d, struct err *err)
{
    struct pci_host *h = host_of(d);
    (void)err;
    h->address &= ADDRESS_WRITABLE;
    pci_function_loaded(&h->function);
    return 0;
}

static const struct field host_fields[] = {
    FIELD(struct pci_host, address, "CONFIG_ADDRESS"),
    PCI_FUNCTION_FIELDS(struct pci_host, function),
    FIELD_END,
};

const struct device_class pci_host_class = {
    .name = "pci-host",
    .summary = "PCI Express host bridge",
    .size = sizeof(struct pci_host),
    .create = host_create,
    .destroy = host_destroy,
    .reset = host_reset,
    .fields = host_fields,
    .loaded = host_loaded,
};
