/* SPDX-License-Identifier: MIT */
/* acpi.c - what the guest learns of the platform from ACPI.
 *
 * The guest sees: one PCI Express root bridge (ECAM, INTx on GSI 16-23, windows of layout.h), COM1, the RTC, fixed-hardware power management (power button, S5, PM timer,
 * reset register), local APICs and one IOAPIC. SCI is GSI 9, level, active high. Tables are built for fixed addresses from LAYOUT_ACPI_BASE on, RSDP first.
 */
#include "firmware/acpi.h"

#include <string.h>

#include "base/bits.h"
#include "firmware/aml.h"
#include "firmware/layout.h"

#define HEADER_SIZE   36
#define RSDP_SIZE     36
#define FADT_SIZE     276  /* revision 6 */
#define FACS_SIZE     64
#define TABLES_MAX    8
#define PCI_SLOTS     32
#define GSI_PCI_FIRST 16
#define GSI_PCI_COUNT 8

enum { FADT_WBINVD = 1 << 0, FADT_PROC_C1 = 1 << 2, FADT_SLP_BUTTON = 1 << 5, FADT_TMR_VAL_EXT = 1 << 8, FADT_RESET_REG = 1 << 10 };
enum { IAPC_LEGACY_DEVICES = 1 << 0, IAPC_VGA_NOT_PRESENT = 1 << 2 };
enum { GAS_IO = 1 };
enum { MADT_LOCAL_APIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_LOCAL_NMI = 4, MADT_X2APIC = 9 };
#define MADT_PCAT_COMPAT      1
#define MADT_ENABLED          1
#define OVERRIDE_LEVEL_HIGH   0x0d /* 5.2.12.5: active high (1), level (3 << 2) */
#define X2APIC_FIRST          255

/* Tables being laid out one after the other. */
struct tables {
    uint8_t *bytes;
    size_t len, capacity;
    bool overflow;
    uint64_t address[TABLES_MAX]; /* what the root tables list */
    unsigned count;
};

static uint8_t *reserve(struct tables *t, size_t size, size_t align)
{
    size_t at = align_up(t->len, align);
    if (t->overflow || at > t->capacity || size > t->capacity - at) {
        t->overflow = true;
        return NULL;
    }
    memset(t->bytes + t->len, 0, at + size - t->len);
    t->len = at + size;
    return t->bytes + at;
}

static void set_checksum(uint8_t *bytes, size_t len, size_t at)
{
    uint8_t sum = 0;
    bytes[at] = 0;
    for (size_t i = 0; i < len; i++)
        sum += bytes[i];
    bytes[at] = (uint8_t)-sum;
}

/* Fills the standard header (5.2.6) of a finished table. */
static void finish_table(uint8_t *table, const char *signature, size_t len, uint8_t revision)
{
    memcpy(table, signature, 4);
    store_le32(table + 4, (uint32_t)len);
    table[8] = revision;
    memcpy(table + 10, "MEZZ  MEZZANIN", 14);
    store_le32(table + 24, 1);
    memcpy(table + 28, "MEZZ", 4);
    store_le32(table + 32, 1);
    set_checksum(table, len, 9);
}

static void list_table(struct tables *t, const uint8_t *table)
{
    t->address[t->count++] = LAYOUT_ACPI_BASE + (uint64_t)(table - t->bytes);
}

/* ---- DSDT -------------------------------------------------------------------------------------------------------------------------------------- */

static void pci_resources(struct aml *a, const struct acpi_config *config)
{
    uint64_t window64 = layout_pci64_base(config->memory);
    aml_name(a, "_CRS");
    aml_begin_resources(a);
    aml_resource_bus_range(a, 0, LAYOUT_ECAM_BUSES - 1);
    aml_resource_io(a, 0xcf8, 8);
    aml_resource_io_range(a, 0, 0xcf7);
    aml_resource_io_range(a, 0xd00, 0xffff);
    aml_resource_memory32_range(a, LAYOUT_PCI32_BASE, LAYOUT_PCI32_BASE + LAYOUT_PCI32_SIZE - 1);
    aml_resource_memory64_range(a, window64, window64 + LAYOUT_PCI64_SIZE - 1);
    aml_end_resources(a);
}

/* Pin p of slot s raises GSI 16 + (s + p) % 8: the swizzle that pci/ uses. */
static void pci_routing(struct aml *a)
{
    aml_name(a, "_PRT");
    aml_begin_package(a, PCI_SLOTS * 4);
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
        for (unsigned pin = 0; pin < 4; pin++) {
            aml_begin_package(a, 4);
            aml_integer(a, (uint64_t)slot << 16 | 0xffff);
            aml_integer(a, pin);
            aml_integer(a, 0);
            aml_integer(a, GSI_PCI_FIRST + (slot + pin) % GSI_PCI_COUNT);
            aml_end(a);
        }
    aml_end(a);
}

static void pci_bridge(struct aml *a, const struct acpi_config *config)
{
    aml_begin_device(a, "PCI0");
    aml_name(a, "_HID"), aml_eisa_id(a, "PNP0A08");
    aml_name(a, "_CID"), aml_eisa_id(a, "PNP0A03");
    aml_name(a, "_UID"), aml_integer(a, 0);
    aml_name(a, "_SEG"), aml_integer(a, 0);
    aml_name(a, "_BBN"), aml_integer(a, 0);
    pci_resources(a, config);
    pci_routing(a);
    aml_begin_method(a, "_OSC", 4); /* every control bit that the guest asks for is its own: there is no firmware that would want it */
    aml_return_argument(a, 3);
    aml_end(a);
    aml_end(a);
}

static void isa_device(struct aml *a, const char *name, const char *hid, unsigned uid, uint16_t port, uint8_t len, unsigned irq)
{
    aml_begin_device(a, name);
    aml_name(a, "_HID"), aml_eisa_id(a, hid);
    aml_name(a, "_UID"), aml_integer(a, uid);
    aml_name(a, "_CRS");
    aml_begin_resources(a);
    aml_resource_io(a, port, len);
    aml_resource_irq(a, irq);
    aml_end_resources(a);
    aml_end(a);
}

/* Keeps the guest from giving the ECAM window away (PCI Firmware 4.1.2 asks for it). */
static void motherboard(struct aml *a)
{
    aml_begin_device(a, "MBRD");
    aml_name(a, "_HID"), aml_eisa_id(a, "PNP0C02");
    aml_name(a, "_UID"), aml_integer(a, 0);
    aml_name(a, "_CRS");
    aml_begin_resources(a);
    aml_resource_memory32_fixed(a, LAYOUT_ECAM_BASE, LAYOUT_ECAM_SIZE);
    aml_end_resources(a);
    aml_end(a);
}

static uint64_t add_dsdt(struct tables *t, const struct acpi_config *config)
{
    uint8_t *table = reserve(t, HEADER_SIZE, 16);
    if (!table)
        return 0;
    struct aml a = {.bytes = t->bytes, .len = t->len, .capacity = t->capacity};
    aml_begin_scope(&a, "\\_SB_");
    pci_bridge(&a, config);
    motherboard(&a);
    isa_device(&a, "RTC0", "PNP0B00", 0, 0x70, 2, 8);
    if (config->serial)
        isa_device(&a, "COM1", "PNP0501", 1, 0x3f8, 8, 4);
    aml_end(&a);
    aml_name(&a, "\\_S5_");
    aml_begin_package(&a, 4);
    aml_integer(&a, ACPI_S5_SLEEP_TYPE), aml_integer(&a, ACPI_S5_SLEEP_TYPE), aml_integer(&a, 0), aml_integer(&a, 0);
    aml_end(&a);
    t->len = a.len;
    t->overflow |= a.overflow;
    if (t->overflow)
        return 0;
    finish_table(table, "DSDT", (size_t)(t->bytes + t->len - table), 2);
    return LAYOUT_ACPI_BASE + (uint64_t)(table - t->bytes);
}

/* ---- the fixed tables ------------------------------------------------------------------------------------------------------------------------------- */

static void put_gas(uint8_t *at, uint8_t bits, uint8_t access, uint64_t port)
{
    at[0] = GAS_IO;
    at[1] = bits;
    at[3] = access;
    store_le64(at + 4, port);
}

static void add_fadt(struct tables *t, uint64_t dsdt, uint64_t facs)
{
    uint8_t *f = reserve(t, FADT_SIZE, 16);
    if (!f)
        return;
    store_le32(f + 36, (uint32_t)facs);
    store_le32(f + 40, (uint32_t)dsdt);
    store_le16(f + 46, LAYOUT_SCI_IRQ);
    store_le32(f + 56, LAYOUT_PORT_PM1_EVENT);
    store_le32(f + 64, LAYOUT_PORT_PM1_CONTROL);
    store_le32(f + 76, LAYOUT_PORT_PM_TIMER);
    f[88] = 4; /* lengths: PM1 event, PM1 control, PM timer */
    f[89] = 2;
    f[91] = 4;
    store_le16(f + 96, 0x0fff); /* C2 and C3 latency: not supported */
    store_le16(f + 98, 0x0fff);
    f[108] = 0x32; /* RTC century register, 5.2.9 */
    store_le16(f + 109, IAPC_LEGACY_DEVICES | IAPC_VGA_NOT_PRESENT);
    store_le32(f + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_TMR_VAL_EXT | FADT_RESET_REG);
    put_gas(f + 116, 8, 1, LAYOUT_PORT_RESET);
    f[128] = LAYOUT_RESET_VALUE;
    f[131] = 5; /* FADT minor version: 6.5 */
    store_le64(f + 140, dsdt);
    put_gas(f + 148, 32, 2, LAYOUT_PORT_PM1_EVENT);
    put_gas(f + 172, 16, 2, LAYOUT_PORT_PM1_CONTROL);
    put_gas(f + 208, 32, 3, LAYOUT_PORT_PM_TIMER);
    memcpy(f + 268, "MEZZ    ", 8); /* hypervisor vendor */
    finish_table(f, "FACP", FADT_SIZE, 6);
    list_table(t, f);
}

static void put_cpu(struct tables *t, uint32_t id)
{
    if (id < X2APIC_FIRST) {
        uint8_t *e = reserve(t, 8, 1);
        if (e)
            e[0] = MADT_LOCAL_APIC, e[1] = 8, e[2] = (uint8_t)id, e[3] = (uint8_t)id, e[4] = MADT_ENABLED;
        return;
    }
    uint8_t *e = reserve(t, 16, 1);
    if (e)
        e[0] = MADT_X2APIC, e[1] = 16, store_le32(e + 4, id), store_le32(e + 8, MADT_ENABLED), store_le32(e + 12, id);
}

static void put_override(struct tables *t, uint8_t irq, uint32_t gsi, uint16_t flags)
{
    uint8_t *e = reserve(t, 10, 1);
    if (e)
        e[0] = MADT_OVERRIDE, e[1] = 10, e[3] = irq, store_le32(e + 4, gsi), store_le16(e + 8, flags);
}

static void add_madt(struct tables *t, const struct acpi_config *config)
{
    uint8_t *m = reserve(t, HEADER_SIZE + 8, 16);
    if (!m)
        return;
    store_le32(m + 36, (uint32_t)LAYOUT_APIC_BASE);
    store_le32(m + 40, MADT_PCAT_COMPAT);
    for (uint32_t id = 0; id < config->cpus; id++)
        put_cpu(t, id);
    uint8_t *ioapic = reserve(t, 12, 1);
    if (ioapic)
        ioapic[0] = MADT_IOAPIC, ioapic[1] = 12, store_le32(ioapic + 4, (uint32_t)LAYOUT_IOAPIC_BASE);
    put_override(t, 0, 2, 0);
    put_override(t, LAYOUT_SCI_IRQ, LAYOUT_SCI_IRQ, OVERRIDE_LEVEL_HIGH);
    uint8_t *nmi = reserve(t, 6, 1);
    if (nmi)
        nmi[0] = MADT_LOCAL_NMI, nmi[1] = 6, nmi[2] = 0xff, nmi[5] = 1; /* all processors, LINT1 */
    if (t->overflow)
        return;
    finish_table(m, "APIC", (size_t)(t->bytes + t->len - m), 5);
    list_table(t, m);
}

static void add_mcfg(struct tables *t)
{
    uint8_t *m = reserve(t, HEADER_SIZE + 24, 16);
    if (!m)
        return;
    store_le64(m + 44, LAYOUT_ECAM_BASE);
    m[55] = LAYOUT_ECAM_BUSES - 1;
    finish_table(m, "MCFG", HEADER_SIZE + 24, 1);
    list_table(t, m);
}

static uint64_t add_root(struct tables *t, const char *signature, size_t width)
{
    size_t len = HEADER_SIZE + width * t->count;
    uint8_t *root = reserve(t, len, 16);
    if (!root)
        return 0;
    for (unsigned i = 0; i < t->count; i++) {
        uint8_t address[8];
        store_le64(address, t->address[i]);
        memcpy(root + HEADER_SIZE + i * width, address, width);
    }
    finish_table(root, signature, len, 1);
    return LAYOUT_ACPI_BASE + (uint64_t)(root - t->bytes);
}

size_t acpi_build(const struct acpi_config *config, uint8_t *out, size_t capacity)
{
    struct tables t = {.bytes = out, .capacity = capacity};
    uint8_t *rsdp = reserve(&t, RSDP_SIZE, 16);
    uint8_t *facs = reserve(&t, FACS_SIZE, 64);
    if (!rsdp || !facs)
        return 0;
    memcpy(facs, "FACS", 4);
    store_le32(facs + 4, FACS_SIZE);
    facs[32] = 2;
    uint64_t dsdt = add_dsdt(&t, config);
    add_fadt(&t, dsdt, LAYOUT_ACPI_BASE + (uint64_t)(facs - out));
    add_madt(&t, config);
    add_mcfg(&t);
    uint64_t rsdt = add_root(&t, "RSDT", 4), xsdt = add_root(&t, "XSDT", 8);
    memcpy(rsdp, "RSD PTR MEZZ  ", 8);
    memcpy(rsdp + 9, "MEZZ  ", 6);
    rsdp[15] = 2;
    store_le32(rsdp + 16, (uint32_t)rsdt);
    set_checksum(rsdp, 20, 8);
    store_le32(rsdp + 20, RSDP_SIZE);
    store_le64(rsdp + 24, xsdt);
    set_checksum(rsdp, RSDP_SIZE, 32);
    return t.overflow ? 0 : t.len;
}

/* ---- tables that are made only for a guest that asks ---------------------------------------------------------------------------------------------- */

enum { SRAT_CPU = 0, SRAT_MEMORY = 1, SRAT_X2APIC = 2, SRAT_ENABLED = 1, PPTT_PACKAGE = 1, PPTT_ID_VALID = 2, PPTT_LEAF = 8, LOCAL_DISTANCE = 10 };

static void put_srat_memory(struct tables *t, uint64_t base, uint64_t end)
{
    uint8_t *e = end > base ? reserve(t, 40, 1) : NULL;
    if (e)
        e[0] = SRAT_MEMORY, e[1] = 40, store_le64(e + 8, base), store_le64(e + 16, end - base), store_le32(e + 28, SRAT_ENABLED);
}

static void put_srat_cpu(struct tables *t, uint32_t id)
{
    bool wide = id >= X2APIC_FIRST;
    uint8_t *e = reserve(t, wide ? 24 : 16, 1);
    if (e && wide)
        e[0] = SRAT_X2APIC, e[1] = 24, store_le32(e + 8, id), store_le32(e + 12, SRAT_ENABLED);
    else if (e)
        e[0] = SRAT_CPU, e[1] = 16, e[3] = (uint8_t)id, store_le32(e + 4, SRAT_ENABLED);
}

static void add_srat(struct tables *t, const struct acpi_config *config)
{
    uint8_t *s = reserve(t, HEADER_SIZE + 12, 16);
    struct layout_ram ram = layout_ram(config->memory);
    for (uint32_t id = 0; id < config->cpus; id++)
        put_srat_cpu(t, id);
    put_srat_memory(t, 0, ram.low_end);
    put_srat_memory(t, LAYOUT_HIGH_RAM, ram.high_end);
    if (t->overflow)
        return;
    store_le32(s + 36, 1); /* 5.2.16: must be 1 */
    finish_table(s, "SRAT", (size_t)(t->bytes + t->len - s), 3);
}

static void add_slit(struct tables *t)
{
    uint8_t *s = reserve(t, HEADER_SIZE + 9, 16);
    if (!s)
        return;
    store_le64(s + 36, 1);
    s[44] = LOCAL_DISTANCE;
    finish_table(s, "SLIT", HEADER_SIZE + 9, 1);
}

static uint8_t *put_pptt_node(struct tables *t, uint32_t flags, uint32_t parent, uint32_t id)
{
    uint8_t *e = reserve(t, 20, 1);
    if (e)
        e[1] = 20, store_le32(e + 4, flags), store_le32(e + 8, parent), store_le32(e + 12, id);
    return e;
}

static void add_pptt(struct tables *t, const struct acpi_config *config)
{
    uint8_t *p = reserve(t, HEADER_SIZE, 16);
    uint8_t *package = put_pptt_node(t, PPTT_PACKAGE, 0, 0);
    for (uint32_t id = 0; package && id < config->cpus; id++)
        put_pptt_node(t, PPTT_ID_VALID | PPTT_LEAF, (uint32_t)(package - p), id);
    if (!t->overflow)
        finish_table(p, "PPTT", (size_t)(t->bytes + t->len - p), 3);
}

size_t acpi_build_table(const struct acpi_config *config, enum acpi_table table, uint8_t *out, size_t capacity)
{
    struct tables t = {.bytes = out, .capacity = capacity};
    switch (table) {
    case ACPI_TABLE_MADT: add_madt(&t, config); break;
    case ACPI_TABLE_SRAT: add_srat(&t, config); break;
    case ACPI_TABLE_SLIT: add_slit(&t); break;
    case ACPI_TABLE_PPTT: add_pptt(&t, config); break;
    }
    return t.overflow ? 0 : t.len;
}

int acpi_load(const struct acpi_config *config, struct mem_map *map, uint64_t *rsdp, struct err *err)
{
    uint8_t bytes[KIB(32)];
    size_t len = acpi_build(config, bytes, sizeof bytes);
    if (!len || mem_load_image(map, LAYOUT_ACPI_BASE, bytes, len))
        return err_set(err, ERR_INTERNAL, "the ACPI tables do not fit");
    *rsdp = LAYOUT_ACPI_BASE;
    return 0;
}
