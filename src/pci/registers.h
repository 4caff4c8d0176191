/* SPDX-License-Identifier: MIT */
/* registers.h - offsets and bits of PCI configuration space (PCI Local Bus 3.0, 6.1 to 6.8). */
#ifndef PCI_REGISTERS_H
#define PCI_REGISTERS_H

enum {
    PCI_VENDOR_ID       = 0x00,
    PCI_DEVICE_ID       = 0x02,
    PCI_COMMAND         = 0x04,
    PCI_STATUS          = 0x06,
    PCI_REVISION        = 0x08,
    PCI_CACHE_LINE      = 0x0c,
    PCI_LATENCY         = 0x0d,
    PCI_HEADER_TYPE     = 0x0e,
    PCI_BAR0            = 0x10,
    PCI_SUBSYSTEM_VENDOR = 0x2c,
    PCI_SUBSYSTEM       = 0x2e,
    PCI_CAPABILITIES    = 0x34,
    PCI_INTERRUPT_LINE  = 0x3c,
    PCI_INTERRUPT_PIN   = 0x3d,
    PCI_HEADER_END      = 0x40,

    PCI_COMMAND_MEMORY       = 1 << 1,
    PCI_COMMAND_MASTER       = 1 << 2,
    PCI_COMMAND_PARITY       = 1 << 6,
    PCI_COMMAND_SERR         = 1 << 8,
    PCI_COMMAND_INTX_DISABLE = 1 << 10,
    PCI_STATUS_INTERRUPT     = 1 << 3,
    PCI_STATUS_CAPABILITIES  = 1 << 4,

    PCI_BAR_TYPE_64      = 4,
    PCI_BAR_PREFETCHABLE = 8,

    PCI_CAP_VENDOR = 0x09,
    PCI_CAP_MSIX   = 0x11,

    /* MSI-X capability and table entry, 6.8.2 */
    PCI_MSIX_CONTROL      = 2,
    PCI_MSIX_TABLE        = 4,
    PCI_MSIX_PBA          = 8,
    PCI_MSIX_LENGTH       = 12,
    PCI_MSIX_ENABLE       = 1 << 15,
    PCI_MSIX_FUNCTION_MASK = 1 << 14,
    PCI_MSIX_VECTOR_MASK  = 1,
    PCI_MSIX_BAR_SIZE     = 0x2000, /* ours: the table in the first page, the pending bits in the second */
    PCI_MSIX_PBA_AT       = 0x1000,
};

#endif
