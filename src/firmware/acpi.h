/* SPDX-License-Identifier: MIT */
/* acpi.h - the ACPI tables of the PC machine: RSDP, RSDT, XSDT, FADT, FACS, DSDT, MADT, MCFG (ACPI 6.5 chapter 5, PCI Firmware 3.3). */
#ifndef FIRMWARE_ACPI_H
#define FIRMWARE_ACPI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "memory/memory.h"

#define ACPI_S5_SLEEP_TYPE 5 /* SLP_TYP that the PM1 control register takes as power off */

struct acpi_config {
    uint64_t memory;        /* bytes of RAM: decides where the 64-bit PCI window is */
    uint32_t cpus;          /* APIC ids 0 to cpus - 1                                */
    bool serial;            /* COM1 exists                                            */
};

/* Bytes of all tables, laid out for LAYOUT_ACPI_BASE. Returns their length, 0 when `capacity` is too small. */
size_t acpi_build(const struct acpi_config *, uint8_t *out, size_t capacity);

/* One table alone, for a guest that asks for it. SRAT, SLIT and PPTT say that there is one node and one package. Returns its length, 0 when `capacity` is too small. */
enum acpi_table { ACPI_TABLE_MADT, ACPI_TABLE_SRAT, ACPI_TABLE_SLIT, ACPI_TABLE_PPTT };
size_t acpi_build_table(const struct acpi_config *, enum acpi_table, uint8_t *out, size_t capacity);

/* Builds and writes them to guest memory. *rsdp is the RSDP's guest-physical address. */
int acpi_load(const struct acpi_config *, struct mem_map *, uint64_t *rsdp, struct err *);

#endif
