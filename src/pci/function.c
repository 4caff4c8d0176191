/* SPDX-License-Identifier: MIT */
/* function.c - configuration space of one function: registers by masks, BARs, capabilities, the interrupt pin.
 *
 * Guest sees: a type 0 header, memory BARs that it may size and move while it runs, a list of capabilities. What a bit does on a write is in three byte maps:
 * `writable`, `write1clear`, and the rest is read-only.
 * A BAR is on the bus while memory decoding is on and its address is one the bus takes. BARs may overlap each other and the platform for a while (a guest sizes them
 * with decoding on): each has a priority of its own, below that of everything else, so that the platform is never hidden.
 */
#include "pci/pci.h"

#include <string.h>

#include "base/bits.h"
#include "pci/registers.h"

#define BAR_ADDRESS_BITS 52 /* as the memory map's */

/* The registers of a type 0 header that a guest may write; identity and BARs are filled in by their owners. */
static const struct { uint8_t offset, size; uint32_t writable; } header[] = {
    { PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE },
    { PCI_CACHE_LINE, 1, 0xff },
    { PCI_LATENCY, 1, 0xff },
    { PCI_INTERRUPT_LINE, 1, 0xff },
};

void pci_config_init(struct pci_function *f, unsigned offset, unsigned size, uint32_t value, uint32_t writable)
{
    for (unsigned i = 0; i < size && offset + i < PCI_CONFIG_SIZE; i++) {
        f->initial[offset + i] = (uint8_t)(value >> 8 * i);
        f->writable[offset + i] = (uint8_t)(writable >> 8 * i);
    }
}

void pci_function_init(struct pci_function *f, struct device *device, const struct pci_identity *identity)
{
    f->device = device;
    f->capability_end = PCI_HEADER_END;
    for (unsigned i = 0; i < ARRAY_LEN(header); i++)
        pci_config_init(f, header[i].offset, header[i].size, 0, header[i].writable);
    pci_config_init(f, PCI_VENDOR_ID, 2, identity->vendor, 0);
    pci_config_init(f, PCI_DEVICE_ID, 2, identity->device, 0);
    pci_config_init(f, PCI_REVISION, 4, identity->class_code << 8 | identity->revision, 0);
    pci_config_init(f, PCI_SUBSYSTEM_VENDOR, 2, identity->subsystem_vendor, 0);
    pci_config_init(f, PCI_SUBSYSTEM, 2, identity->subsystem, 0);
    pci_config_init(f, PCI_INTERRUPT_PIN, 1, identity->interrupt_pin, 0);
}

unsigned pci_function_add_capability(struct pci_function *f, uint8_t id, unsigned len)
{
    unsigned at = f->capability_end;
    if (len < 2 || at + len > PCI_CONFIG_SIZE - 4) /* 4: capability_end stays a byte */
        return 0;
    pci_config_init(f, at, 2, id, 0);
    f->initial[f->last_capability ? f->last_capability + 1u : PCI_CAPABILITIES] = (uint8_t)at;
    f->initial[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
    f->last_capability = (uint8_t)at;
    f->capability_end = (uint8_t)align_up(at + len, 4);
    return at;
}

/* ---- BARs ---------------------------------------------------------------------------------------------------------------------------------------------- */

int pci_function_add_bar(struct pci_function *f, unsigned index, uint64_t size, unsigned flags, const struct bus_ops *ops, void *opaque, struct err *err)
{
    bool wide = flags & PCI_BAR_64;
    if (index + wide >= PCI_BARS || f->bars[index].size || !is_power_of_two(size) || size < 16 || size > (wide ? BIT(40) : BIT(31)))
        return err_set(err, ERR_INTERNAL, "BAR %u of %llu bytes cannot be", index, (unsigned long long)size);
    uint64_t mask = ~(size - 1);
    unsigned type = (wide ? PCI_BAR_TYPE_64 : 0) | (flags & PCI_BAR_PREFETCH ? PCI_BAR_PREFETCHABLE : 0);
    pci_config_init(f, PCI_BAR0 + 4 * index, 4, type, (uint32_t)mask);
    if (wide)
        pci_config_init(f, PCI_BAR0 + 4 * index + 4, 4, 0, (uint32_t)(mask >> 32));
    f->bars[index] = (struct pci_bar){
        .size = size,
        .flags = flags,
        .region = { .name = f->device->class->name, .space = BUS_MMIO, .len = size, .ops = ops, .opaque = opaque, .owner = f->device },
    };
    return 0;
}

static uint64_t bar_address(const struct pci_function *f, unsigned index)
{
    const uint8_t *at = f->config + PCI_BAR0 + 4 * index;
    uint64_t address = load_le32(at) & ~15u;
    return f->bars[index].flags & PCI_BAR_64 ? address | (uint64_t)load_le32(at + 4) << 32 : address;
}

static void bar_update(struct pci_function *f, unsigned index, bool decode)
{
    struct pci_bar *bar = &f->bars[index];
    struct bus *bus = f->device->services.bus;
    uint64_t address = bar_address(f, index);
    if (!decode || address >> BAR_ADDRESS_BITS || !address) {
        bus_remove(bus, &bar->region);
    } else if (!bar->region.added) {
        bar->region.base = address;
        bar->region.priority = -(int)(1 + f->devfn * PCI_BARS + index);
        if (bus_add(bus, &bar->region, NULL))
            log_guest(f->device->services.log, f->device->id, "BAR %u cannot be at 0x%llx", index, (unsigned long long)address);
    } else if (bar->region.base != address && bus_move(bus, &bar->region, address, NULL)) {
        bus_remove(bus, &bar->region);
    }
}

void pci_bars_update(struct pci_function *f)
{
    bool decode = f->host && load_le16(f->config + PCI_COMMAND) & PCI_COMMAND_MEMORY;
    for (unsigned i = 0; i < PCI_BARS; i++)
        if (f->bars[i].size)
            bar_update(f, i, decode);
}

/* ---- interrupt pin -------------------------------------------------------------------------------------------------------------------------------------- */

static void intx_update(struct pci_function *f)
{
    bool off = load_le16(f->config + PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE;
    uint8_t status = f->config[PCI_STATUS] & (uint8_t)~PCI_STATUS_INTERRUPT;
    f->config[PCI_STATUS] = status | (f->intx_level ? PCI_STATUS_INTERRUPT : 0); /* not affected by the disable bit, 6.2.3 */
    irq_set(&f->intx, f->intx_level && !off);
}

void pci_intx_set(struct pci_function *f, bool level)
{
    if (f->intx_level == level)
        return;
    f->intx_level = level;
    intx_update(f);
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------------------------------ */

void pci_function_reset(struct pci_function *f)
{
    memcpy(f->config, f->initial, sizeof f->config);
    f->intx_level = false;
    f->msix_pending = 0;
    for (unsigned i = 0; i < PCI_MSIX_MAX; i++)
        f->msix_table[i] = (struct pci_msix_entry){ .control = PCI_MSIX_VECTOR_MASK };
    pci_bars_update(f);
    intx_update(f);
}

void pci_function_loaded(struct pci_function *f)
{
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
        f->config[i] = (f->config[i] & f->writable[i]) | (f->initial[i] & (uint8_t)~f->writable[i]);
    for (unsigned i = 0; i < PCI_MSIX_MAX; i++)
        f->msix_table[i].control &= PCI_MSIX_VECTOR_MASK;
    f->msix_pending &= f->msix_vectors < 64 ? BIT(f->msix_vectors) - 1 : UINT64_MAX;
    pci_bars_update(f);
    intx_update(f);
}

bool pci_is_bus_master(const struct pci_function *f) { return f->config[PCI_COMMAND] & PCI_COMMAND_MASTER; }

/* ---- accesses --------------------------------------------------------------------------------------------------------------------------------------------- */

uint32_t pci_config_read(struct pci_function *f, unsigned offset, unsigned size)
{
    uint32_t value = 0;
    if (f->config_reading && offset < PCI_CONFIG_SIZE)
        f->config_reading(f->config_opaque, offset, size);
    for (unsigned i = 0; i < size && offset + i < PCI_CONFIG_SIZE; i++)
        value |= (uint32_t)f->config[offset + i] << 8 * i;
    return value;
}

static bool touches(unsigned offset, unsigned size, unsigned at, unsigned len) { return offset < at + len && at < offset + size; }

void pci_config_write(struct pci_function *f, unsigned offset, unsigned size, uint32_t value)
{
    for (unsigned i = 0; i < size && offset + i < PCI_CONFIG_SIZE; i++) {
        unsigned at = offset + i;
        uint8_t byte = (uint8_t)(value >> 8 * i);
        f->config[at] = (f->config[at] & (uint8_t)~f->writable[at]) | (byte & f->writable[at]);
        f->config[at] &= (uint8_t)~(byte & f->write1clear[at]);
    }
    if (touches(offset, size, PCI_COMMAND, 2) || touches(offset, size, PCI_BAR0, 4 * PCI_BARS))
        pci_bars_update(f);
    if (touches(offset, size, PCI_COMMAND, 2))
        intx_update(f);
    if (f->msix_at && touches(offset, size, f->msix_at + PCI_MSIX_CONTROL, 2))
        pci_msix_control_written(f);
    if (f->config_written && offset < PCI_CONFIG_SIZE)
        f->config_written(f->config_opaque, offset, size);
}
