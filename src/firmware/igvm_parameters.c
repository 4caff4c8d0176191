/* SPDX-License-Identifier: MIT */
/* igvm_parameters.c - what a machine tells an IGVM guest of itself. Every value is checked against the room that the file left for it; whoever asks for a table gets the same
 * one that ACPI or a direct boot would show. */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "firmware/acpi.h"
#include "firmware/fdt.h"
#include "firmware/igvm_load.h"
#include "firmware/layout.h"

#define VALUE_MAX    KIB(64) /* the longest value: a command line in a devicetree */
#define MAP_MAX      (E820_MAX + 1)
#define IS_SHARED    1       /* ENVIRONMENT: memory_is_shared, the host sees all of it */

static size_t put_memory_map(const struct igvm_load_request *request, uint8_t *out)
{
    struct e820_entry map[E820_MAX];
    size_t n = boot_memory_map(request->memory, map);
    for (size_t i = 0; i < n; i++) {
        igvm_memory_map_entry entry = {.page = map[i].base / IGVM_PAGE, .pages = map[i].len / IGVM_PAGE, .type = map[i].type == E820_RAM ? IGVM_MEMORY : IGVM_MEMORY_RESERVED};
        igvm_memory_map_entry_put(&entry, out + i * IGVM_MEMORY_MAP_ENTRY_BYTES);
    }
    return n * IGVM_MEMORY_MAP_ENTRY_BYTES;
}

/* The windows for devices below and above 4 GiB: first page and pages of each. */
static size_t put_mmio_ranges(const struct igvm_load_request *request, uint8_t *out)
{
    store_le64(out, LAYOUT_PCI32_BASE / IGVM_PAGE);
    store_le64(out + 8, LAYOUT_PCI32_SIZE / IGVM_PAGE);
    store_le64(out + 16, layout_pci64_base(request->memory) / IGVM_PAGE);
    store_le64(out + 24, LAYOUT_PCI64_SIZE / IGVM_PAGE);
    return 32;
}

static void add_cpus(struct fdt *f, uint32_t cpus)
{
    fdt_begin_node(f, "cpus");
    fdt_u32(f, "#address-cells", 1);
    fdt_u32(f, "#size-cells", 0);
    for (uint32_t id = 0; id < cpus; id++) {
        char name[24];
        snprintf(name, sizeof name, "cpu@%x", id);
        fdt_begin_node(f, name);
        fdt_string(f, "device_type", "cpu");
        fdt_u32(f, "reg", id); /* APIC id */
        fdt_u32(f, "numa-node-id", 0);
        fdt_string(f, "status", "okay");
        fdt_end_node(f);
    }
    fdt_end_node(f);
}

static void add_memory(struct fdt *f, uint64_t memory)
{
    struct e820_entry map[E820_MAX];
    for (size_t i = 0, n = boot_memory_map(memory, map); i < n; i++) {
        char name[32];
        uint64_t reg[2] = {map[i].base, map[i].len};
        snprintf(name, sizeof name, "memory@%llx", (unsigned long long)map[i].base);
        fdt_begin_node(f, name);
        fdt_string(f, "device_type", "memory");
        fdt_u64s(f, "reg", reg, 2);
        fdt_u32(f, "microsoft,igvm-type", map[i].type == E820_RAM ? IGVM_MEMORY : IGVM_MEMORY_RESERVED);
        fdt_u32(f, "numa-node-id", 0);
        fdt_end_node(f);
    }
}

static size_t put_device_tree(const struct igvm_load_request *request, uint8_t *out)
{
    struct fdt f;
    fdt_begin(&f, out, VALUE_MAX);
    fdt_begin_node(&f, "");
    fdt_u32(&f, "#address-cells", 2);
    fdt_u32(&f, "#size-cells", 2);
    fdt_string(&f, "model", "mezzanine,pc");
    add_cpus(&f, request->cpus);
    add_memory(&f, request->memory);
    fdt_begin_node(&f, "chosen");
    fdt_string(&f, "bootargs", request->cmdline ? request->cmdline : "");
    fdt_end_node(&f);
    fdt_end_node(&f);
    return fdt_finish(&f, 0);
}

static size_t put_acpi(const struct igvm_load_request *request, enum acpi_table table, uint8_t *out)
{
    struct acpi_config config = {.memory = request->memory, .cpus = request->cpus, .serial = request->serial};
    return acpi_build_table(&config, table, out, VALUE_MAX);
}

/* The value's bytes, or 0 where it is not known how to make them. */
static size_t make_value(const struct igvm_load_request *request, uint32_t type, uint8_t *out)
{
    size_t len;
    switch (type) {
    case IGVM_T_VP_COUNT:    store_le32(out, request->cpus); return 4;
    case IGVM_T_ENVIRONMENT: store_le32(out, IS_SHARED); return 4;
    case IGVM_T_MEMORY_MAP:  return put_memory_map(request, out);
    case IGVM_T_MMIO_RANGES: return put_mmio_ranges(request, out);
    case IGVM_T_MADT:        return put_acpi(request, ACPI_TABLE_MADT, out);
    case IGVM_T_SRAT:        return put_acpi(request, ACPI_TABLE_SRAT, out);
    case IGVM_T_SLIT:        return put_acpi(request, ACPI_TABLE_SLIT, out);
    case IGVM_T_PPTT:        return put_acpi(request, ACPI_TABLE_PPTT, out);
    case IGVM_T_DEVICE_TREE: return put_device_tree(request, out);
    case IGVM_T_COMMAND_LINE:
        len = strlen(request->cmdline) + 1;
        memcpy(out, request->cmdline, len < VALUE_MAX ? len : 0);
        return len < VALUE_MAX ? len : 0;
    default: return 0;
    }
}

int igvm_put_parameter(const struct igvm_load_request *request, uint32_t type, uint64_t gpa, uint64_t room, struct err *err)
{
    uint8_t value[VALUE_MAX];
    const igvm_type *known = igvm_type_of(type);
    const char *name = known ? known->name : "parameter";
    if (type == IGVM_T_COMMAND_LINE && !request->cmdline)
        return 0;
    size_t len = make_value(request, type, value);
    if (!len)
        return err_set(err, type == IGVM_T_COMMAND_LINE || type == IGVM_T_DEVICE_TREE ? ERR_USAGE : ERR_INTERNAL, "%s: the value of %s is too long", request->file.option, name);
    if (len > room)
        return err_set(err, ERR_INPUT, "%s: %s has %zu bytes, but the file leaves %llu", request->file.option, name, len, (unsigned long long)room);
    if (type == IGVM_T_MEMORY_MAP && room - len >= IGVM_MEMORY_MAP_ENTRY_BYTES) {
        memset(value + len, 0, IGVM_MEMORY_MAP_ENTRY_BYTES); /* no pages: the end */
        len += IGVM_MEMORY_MAP_ENTRY_BYTES;
    }
    return mem_load_image(request->map, gpa, value, len) ? err_set(err, ERR_INTERNAL, "%s: no memory is mapped for %s", request->file.option, name) : 0;
}
