/* SPDX-License-Identifier: MIT */
/* msix.c - MSI-X (PCI 3.0 section 6.8.2): table, masks, pending bits. The table's vectors are the guest's and are sent as they are. */
#include "base/bits.h"
#include "pci/pci.h"
#include "pci/registers.h"

static uint16_t control(const struct pci_function *f) { return load_le16(f->config + f->msix_at + PCI_MSIX_CONTROL); }

bool pci_msix_enabled(const struct pci_function *f) { return f->msix_at && control(f) & PCI_MSIX_ENABLE; }

static bool deliverable(const struct pci_function *f, unsigned vector)
{
    return pci_is_bus_master(f) && !(control(f) & PCI_MSIX_FUNCTION_MASK) && !(f->msix_table[vector].control & PCI_MSIX_VECTOR_MASK);
}

static void deliver(struct pci_function *f, unsigned vector)
{
    const struct pci_msix_entry *entry = &f->msix_table[vector];
    f->msix_pending &= ~BIT(vector);
    msi_send(&f->device->services.msi, (uint64_t)entry->address_high << 32 | entry->address_low, entry->data, f->devfn);
}

void pci_msix_notify(struct pci_function *f, unsigned vector)
{
    if (!pci_msix_enabled(f) || vector >= f->msix_vectors)
        return;
    if (deliverable(f, vector))
        deliver(f, vector);
    else
        f->msix_pending |= BIT(vector);
}

static void deliver_pending(struct pci_function *f, unsigned vector)
{
    if (pci_msix_enabled(f) && f->msix_pending & BIT(vector) && deliverable(f, vector))
        deliver(f, vector);
}

void pci_msix_control_written(struct pci_function *f)
{
    for (unsigned i = 0; f->msix_pending && i < f->msix_vectors; i++)
        deliver_pending(f, i);
}

/* ---- the BAR ---------------------------------------------------------------------------------------------------------------------------------------------- */

static uint32_t table_read(const struct pci_function *f, unsigned offset)
{
    const struct pci_msix_entry *e = &f->msix_table[offset / sizeof *e];
    const uint32_t words[] = { e->address_low, e->address_high, e->data, e->control };
    return words[offset / 4 % 4];
}

static void table_write(struct pci_function *f, unsigned offset, uint32_t value)
{
    unsigned vector = offset / sizeof(struct pci_msix_entry);
    struct pci_msix_entry *e = &f->msix_table[vector];
    switch (offset / 4 % 4) {
    case 0: e->address_low = value & ~3u; break; /* dword aligned, 6.8.2.7 */
    case 1: e->address_high = value; break;
    case 2: e->data = value; break;
    default:
        e->control = value & PCI_MSIX_VECTOR_MASK;
        deliver_pending(f, vector);
    }
}

/* Dword `offset` of the BAR; what is neither table nor pending bits reads as zero. */
static uint32_t bar_dword(const struct pci_function *f, uint64_t offset)
{
    if (offset < f->msix_vectors * sizeof(struct pci_msix_entry))
        return table_read(f, (unsigned)offset);
    if (offset == PCI_MSIX_PBA_AT || offset == PCI_MSIX_PBA_AT + 4)
        return (uint32_t)(f->msix_pending >> (offset & 4 ? 32 : 0));
    return 0;
}

static enum bus_status msix_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    if (offset % size)
        return BUS_UNALIGNED;
    uint64_t dword = bar_dword(opaque, align_down(offset, 4)); /* narrow reads are undefined by the specification: give the bytes */
    *value = size == 8 ? dword | (uint64_t)bar_dword(opaque, offset + 4) << 32 : dword >> 8 * (offset % 4);
    return BUS_OK;
}

static enum bus_status msix_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci_function *f = opaque;
    if (size < 4)
        return BUS_BAD_SIZE;
    if (offset % size)
        return BUS_UNALIGNED;
    for (unsigned i = 0; i < size; i += 4)
        if (offset + i < f->msix_vectors * sizeof(struct pci_msix_entry))
            table_write(f, (unsigned)offset + i, (uint32_t)(value >> 8 * i));
    return BUS_OK;
}

const struct bus_ops pci_msix_bar_ops = { msix_read, msix_write };

int pci_function_add_msix(struct pci_function *f, unsigned bar, unsigned vectors, struct err *err)
{
    if (!vectors || vectors > PCI_MSIX_MAX)
        return err_set(err, ERR_INTERNAL, "%u MSI-X vectors cannot be", vectors);
    int r = pci_function_add_bar(f, bar, PCI_MSIX_BAR_SIZE, 0, &pci_msix_bar_ops, f, err);
    if (r)
        return r;
    unsigned at = pci_function_add_capability(f, PCI_CAP_MSIX, PCI_MSIX_LENGTH);
    if (!at)
        return err_set(err, ERR_INTERNAL, "no room for the MSI-X capability");
    pci_config_init(f, at + PCI_MSIX_CONTROL, 2, vectors - 1, PCI_MSIX_ENABLE | PCI_MSIX_FUNCTION_MASK);
    pci_config_init(f, at + PCI_MSIX_TABLE, 4, bar, 0);
    pci_config_init(f, at + PCI_MSIX_PBA, 4, PCI_MSIX_PBA_AT | bar, 0);
    f->msix_at = (uint8_t)at;
    f->msix_vectors = (uint8_t)vectors;
    return 0;
}
