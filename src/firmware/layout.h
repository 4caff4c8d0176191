/* SPDX-License-Identifier: MIT */
/* layout.h - where things are in guest-physical memory: the one list that loaders, ACPI tables and the machine share.
 *
 *     0           640K      1M                      low_end    3 GiB     3.5G       4 GiB - 20 MiB         4 GiB        high_end
 *     | RAM       | hole|ROM | RAM                  |  (none)  | PCI MMIO | ECAM    | IOAPIC, HPET, APIC  | RAM        | PCI MMIO 64 ...
 */
#ifndef FIRMWARE_LAYOUT_H
#define FIRMWARE_LAYOUT_H

#include <stdint.h>

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

#define LAYOUT_MEMORY_MIN   MIB(16)
#define LAYOUT_MEMORY_MAX   GIB(64)

#define LAYOUT_LOW_TOP      KIB(640)        /* conventional memory ends                             */
#define LAYOUT_ROM_BASE     KIB(768)        /* 0xC0000: shadow RAM; ACPI tables live in its top half */
#define LAYOUT_ACPI_BASE    UINT64_C(0xE0000) /* where a guest without boot_params searches (ACPI 5.2.5.1) */
#define LAYOUT_ACPI_SIZE    KIB(128)
#define LAYOUT_KERNEL_MIN   UINT64_C(0x1000)  /* lowest address that a kernel may load at          */
#define LAYOUT_HIGH_BASE    MIB(1)
#define LAYOUT_LOW_RAM_MAX  GIB(3)          /* RAM beyond it goes above 4 GiB                        */

#define LAYOUT_PCI32_BASE   UINT64_C(0xC0000000)
#define LAYOUT_PCI32_SIZE   UINT64_C(0x20000000)
#define LAYOUT_ECAM_BASE    UINT64_C(0xE0000000)
#define LAYOUT_ECAM_BUSES   256
#define LAYOUT_ECAM_SIZE    (LAYOUT_ECAM_BUSES * MIB(1))
#define LAYOUT_IOAPIC_BASE  UINT64_C(0xFEC00000)
#define LAYOUT_APIC_BASE    UINT64_C(0xFEE00000)
#define LAYOUT_FIRMWARE_BASE UINT64_C(0xFF000000) /* 16 MiB of memory for firmware, where a file asks for it */
#define LAYOUT_HIGH_RAM     GIB(4)
#define LAYOUT_PCI64_SIZE   GIB(64)

/* Boot structures that loaders write, at the top of conventional memory; a kernel may load itself below them. */
#define LAYOUT_BOOT_BASE    UINT64_C(0x80000)
#define LAYOUT_BOOT_GDT     UINT64_C(0x80000)
#define LAYOUT_BOOT_GDT_LIMIT 0x2f
#define LAYOUT_BOOT_TSS     UINT64_C(0x80100)
#define LAYOUT_BOOT_STUB    UINT64_C(0x81000) /* images of whole guests only: code that fills in boot_params */
#define LAYOUT_BOOT_MAP     UINT64_C(0x82000) /* and the memory map that it takes from the loader      */
#define LAYOUT_BOOT_BLOB    UINT64_C(0x83000) /* SEV-SNP's confidential computing blob, then its secrets and CPUID pages */
#define LAYOUT_BOOT_STACK   UINT64_C(0x87ff0)
#define LAYOUT_BOOT_PML4    UINT64_C(0x88000) /* six pages: PML4, PDPT, four page directories         */
#define LAYOUT_BOOT_PARAMS  UINT64_C(0x8e000)
#define LAYOUT_BOOT_INFO    UINT64_C(0x8f000) /* PVH start info or multiboot information              */
#define LAYOUT_BOOT_CMDLINE UINT64_C(0x90000)
#define LAYOUT_CMDLINE_MAX  KIB(60)           /* up to where a BIOS would put its extended data area  */

/* Ports of the platform, described to the guest by the ACPI tables. */
#define LAYOUT_PORT_PM1_EVENT   0x600       /* 4 bytes: status, enable                               */
#define LAYOUT_PORT_PM1_CONTROL 0x604
#define LAYOUT_PORT_PM_TIMER    0x608
#define LAYOUT_PORT_RESET       0xcf9
#define LAYOUT_RESET_VALUE      0x06
#define LAYOUT_SCI_IRQ          9

/* RAM of a VM, split around the hole below 4 GiB. */
struct layout_ram { uint64_t low_end, high_end; /* high_end == LAYOUT_HIGH_RAM when there is none above */ };

static inline struct layout_ram layout_ram(uint64_t memory)
{
    if (memory <= LAYOUT_LOW_RAM_MAX)
        return (struct layout_ram){memory, LAYOUT_HIGH_RAM};
    return (struct layout_ram){LAYOUT_LOW_RAM_MAX, LAYOUT_HIGH_RAM + memory - LAYOUT_LOW_RAM_MAX};
}

/* The 64-bit PCI window starts above all RAM, aligned to its size, so that one address-size limit (GPA bits) holds for both. */
static inline uint64_t layout_pci64_base(uint64_t memory)
{
    uint64_t top = layout_ram(memory).high_end;
    return (top + LAYOUT_PCI64_SIZE - 1) / LAYOUT_PCI64_SIZE * LAYOUT_PCI64_SIZE;
}

#endif
