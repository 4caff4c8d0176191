/* SPDX-License-Identifier: MIT */
/* igvm_firmware.c - firmware that ends at 4 GiB, such as OVMF, as an IGVM file.
 *
 * What it starts with: vCPUs at the reset vector in real mode (NATIVE, VBS, SEV-SNP), the firmware's own reset code in 32-bit mode (TDX). Memory that it wants prepared is in its
 * metadata, which a table of GUIDs before the reset vector leads to: SEV sections for SEV-SNP, TDVF sections for TDX; without them the platform is refused.
 * The firmware is hostile input: every offset and size of the metadata is checked against the file or against 4 GiB, sections are at most SECTIONS_MAX, and their pages at most
 * SECTION_BYTES_MAX together.
 * Specs: edk2 OvmfPkg/ResetVector (GUID table, SEV metadata); Intel TDX Virtual Firmware Design Guide, chapter 11 (TDVF metadata); PI 1.7 volume 3 (HOBs).
 */
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "firmware/igvm_build.h"
#include "firmware/layout.h"

enum { TABLE_END = 0x20, GUID_SIZE = 16, ENTRY_SIZE = GUID_SIZE + 2, SECTIONS_MAX = 64, METADATA_HEADER = 16, SEV_SECTION = 12, TDVF_SECTION = 32 };
#define FIRMWARE_MAX      MIB(64)
#define SECTION_BYTES_MAX MIB(64)
#define SEV_SIGNATURE     0x56455341 /* "ASEV" */
#define TDVF_SIGNATURE    0x46564454 /* "TDVF" */
enum { SEV_SEC_MEM = 1, SEV_SECRETS = 2, SEV_CPUID = 3, SEV_CAA = 4, SEV_KERNEL_HASHES = 0x10 };
enum { TDVF_BFV = 0, TDVF_CFV = 1, TDVF_HOB = 2, TDVF_TEMPORARY = 3, TDVF_PERMANENT = 4, TDVF_EXTEND = 1, TDVF_AUGMENT = 2 };

/* Mixed-endian, as in memory. */
static const uint8_t guid_table[GUID_SIZE] = {0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45, 0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d};
static const uint8_t guid_sev[GUID_SIZE] = {0x66, 0x65, 0x88, 0xdc, 0x4a, 0x98, 0x98, 0x47, 0xa7, 0x5e, 0x55, 0x85, 0xa7, 0xbf, 0x67, 0xcc};
static const uint8_t guid_tdx[GUID_SIZE] = {0x35, 0x65, 0x7a, 0xe4, 0x4a, 0x98, 0x98, 0x47, 0x86, 0x5e, 0x46, 0x85, 0xa7, 0xbf, 0x8e, 0xc2};
static const uint8_t guid_reset[GUID_SIZE] = {0xde, 0x71, 0xf7, 0x00, 0x7e, 0x1a, 0xcb, 0x4f, 0x89, 0x0e, 0x68, 0xc7, 0x7e, 0x2f, 0xb4, 0x4e};

struct firmware_build {
    const struct igvm_build *build;
    const struct image *image;
    igvm_writer *writer;
    const uint32_t *masks;
    uint64_t base;     /* where the file goes */
    uint64_t sections; /* bytes added for sections so far */
};

/* The u32 of a table entry. 0: there is none. */
static uint32_t find_entry(const struct image *image, const uint8_t guid[GUID_SIZE])
{
    if (image->len < TABLE_END + ENTRY_SIZE || memcmp(image->bytes + image->len - TABLE_END - GUID_SIZE, guid_table, GUID_SIZE))
        return 0;
    size_t end = image->len - TABLE_END - ENTRY_SIZE, total = load_le16(image->bytes + end);
    if (total < ENTRY_SIZE || total - ENTRY_SIZE > end)
        return 0;
    for (size_t start = end - (total - ENTRY_SIZE); end >= start + ENTRY_SIZE;) {
        size_t len = load_le16(image->bytes + end - ENTRY_SIZE);
        if (len < ENTRY_SIZE || len > end - start)
            return 0;
        if (!memcmp(image->bytes + end - GUID_SIZE, guid, GUID_SIZE) && len >= ENTRY_SIZE + 4)
            return load_le32(image->bytes + end - len);
        end -= len;
    }
    return 0;
}

/* The sections of a metadata block, NULL when there is none; *count is how many. */
static const uint8_t *find_sections(const struct image *image, const uint8_t guid[GUID_SIZE], uint32_t signature, size_t section_size, uint32_t *count)
{
    uint32_t offset = find_entry(image, guid);
    if (offset < METADATA_HEADER || offset > image->len)
        return NULL;
    const uint8_t *header = image->bytes + image->len - offset;
    uint32_t n = load_le32(header + 12);
    if (load_le32(header) != signature || n > SECTIONS_MAX || METADATA_HEADER + n * section_size > offset)
        return NULL;
    *count = n;
    return header + METADATA_HEADER;
}

static int add_section(struct firmware_build *f, uint32_t mask, uint64_t gpa, const uint8_t *data, uint64_t len, uint32_t flags, uint16_t type, struct err *err)
{
    uint64_t end;
    if (gpa % IGVM_PAGE || len % IGVM_PAGE || ckd_add(&end, gpa, len) || end > LAYOUT_HIGH_RAM || len > SECTION_BYTES_MAX - f->sections)
        return err_set(err, ERR_INPUT, "%s: its metadata has an impossible section at 0x%llx", f->image->option, (unsigned long long)gpa);
    f->sections += len;
    return igvm_build_error(igvm_add_pages(f->writer, mask, gpa, data, len, flags, type), f->image->option, err);
}

/* The whole file, but for TDX, which has sections for it. */
static int add_image(struct firmware_build *f, struct err *err)
{
    uint32_t mask = f->masks[IGVM_NATIVE] | f->masks[IGVM_VBS] | f->masks[IGVM_SEV_SNP];
    return mask ? igvm_build_error(igvm_add_pages(f->writer, mask, f->base, f->image->bytes, f->image->len, 0, IGVM_PAGE_NORMAL), f->image->option, err) : 0;
}

/* ---- SEV-SNP --------------------------------------------------------------------------------------------------------------------------------------- */

static int add_sev_section(struct firmware_build *f, const uint8_t *section, struct err *err)
{
    uint32_t base = load_le32(section), size = load_le32(section + 4), type = load_le32(section + 8), mask = f->masks[IGVM_SEV_SNP];
    uint8_t page[IGVM_PAGE];
    switch (type) {
    case SEV_SECRETS: return add_section(f, mask, base, NULL, size, 0, IGVM_PAGE_SECRETS, err);
    case SEV_CPUID:
        igvm_put_cpuid_page(page);
        return add_section(f, mask, base, page, IGVM_PAGE, 0, IGVM_PAGE_CPUID_DATA, err);
    case SEV_SEC_MEM:
    case SEV_CAA:
    case SEV_KERNEL_HASHES: return add_section(f, mask, base, NULL, size, 0, IGVM_PAGE_NORMAL, err);
    default: return err_set(err, ERR_INPUT, "%s: its SEV metadata has a section of unknown type %u", f->image->option, type);
    }
}

static int add_sev_sections(struct firmware_build *f, struct err *err)
{
    uint32_t count = 0;
    const uint8_t *sections = find_sections(f->image, guid_sev, SEV_SIGNATURE, SEV_SECTION, &count);
    int r = sections ? 0 : err_set(err, ERR_INPUT, "%s: no SEV metadata: this firmware is not made for SEV-SNP", f->image->option);
    for (uint32_t i = 0; !r && i < count; i++)
        r = add_sev_section(f, sections + i * SEV_SECTION, err);
    return r;
}

/* ---- TDX -------------------------------------------------------------------------------------------------------------------------------------------- */

enum { HOB_HANDOFF = 1, HOB_RESOURCE = 3, HOB_END = 0xffff, HOB_HANDOFF_SIZE = 56, HOB_RESOURCE_SIZE = 48, HOB_VERSION = 9, RESOURCE_MEMORY = 0, RESOURCE_UNACCEPTED = 7,
       RESOURCE_TESTED = 7 /* present, initialized, tested */ };

static size_t put_resource(uint8_t *at, uint32_t type, uint64_t base, uint64_t len)
{
    store_le16(at, HOB_RESOURCE);
    store_le16(at + 2, HOB_RESOURCE_SIZE);
    store_le32(at + 24, type);
    store_le32(at + 28, RESOURCE_TESTED);
    store_le64(at + 32, base);
    store_le64(at + 40, len);
    return HOB_RESOURCE_SIZE;
}

/* The section in RAM that begins lowest at or above `from`, NULL: there is none. */
static const uint8_t *next_section(const uint8_t *sections, uint32_t count, uint64_t from, uint64_t ram_end)
{
    const uint8_t *lowest = NULL;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *s = sections + i * TDVF_SECTION;
        uint64_t base = load_le64(s + 8), size = load_le64(s + 16);
        bool added = size && !(load_le32(s + 28) & TDVF_AUGMENT) && range_inside(base, size, ram_end);
        if (added && base >= from && (!lowest || base < load_le64(lowest + 8)))
            lowest = s;
    }
    return lowest;
}

/* RAM as the firmware is told of it: what sections fill is accepted, the rest is not. */
static void put_hobs(const struct firmware_build *f, const uint8_t *sections, uint32_t count, uint64_t hob, uint8_t page[IGVM_PAGE])
{
    struct layout_ram ram = layout_ram(f->build->memory);
    size_t len = HOB_HANDOFF_SIZE;
    uint64_t at = 0;
    const uint8_t *s;
    memset(page, 0, IGVM_PAGE);
    while (len < IGVM_PAGE - 5 * HOB_RESOURCE_SIZE && (s = next_section(sections, count, at, ram.low_end))) {
        uint64_t base = load_le64(s + 8);
        if (base > at)
            len += put_resource(page + len, RESOURCE_UNACCEPTED, at, base - at);
        len += put_resource(page + len, RESOURCE_MEMORY, base, load_le64(s + 16));
        at = base + load_le64(s + 16);
    }
    len += put_resource(page + len, RESOURCE_UNACCEPTED, at, ram.low_end - at);
    if (ram.high_end > LAYOUT_HIGH_RAM)
        len += put_resource(page + len, RESOURCE_UNACCEPTED, LAYOUT_HIGH_RAM, ram.high_end - LAYOUT_HIGH_RAM);
    store_le16(page + len, HOB_END);
    store_le16(page + len + 2, 8);
    store_le16(page, HOB_HANDOFF);
    store_le16(page + 2, HOB_HANDOFF_SIZE);
    store_le32(page + 8, HOB_VERSION);
    store_le64(page + 48, hob + len + 8);
}

static int add_tdvf_section(struct firmware_build *f, const uint8_t *sections, uint32_t count, uint32_t i, struct err *err)
{
    const uint8_t *s = sections + i * TDVF_SECTION;
    uint32_t offset = load_le32(s), raw = load_le32(s + 4), type = load_le32(s + 24), attributes = load_le32(s + 28), mask = f->masks[IGVM_TDX];
    uint64_t gpa = load_le64(s + 8), size = load_le64(s + 16);
    uint32_t flags = attributes & TDVF_EXTEND ? 0 : IGVM_PAGE_UNMEASURED;
    uint8_t page[IGVM_PAGE];
    if (attributes & TDVF_AUGMENT) /* the TD accepts it itself */
        return 0;
    if (type == TDVF_HOB && size >= IGVM_PAGE) {
        put_hobs(f, sections, count, gpa, page);
        int r = add_section(f, mask, gpa, page, IGVM_PAGE, IGVM_PAGE_UNMEASURED, IGVM_PAGE_NORMAL, err);
        return r ? r : add_section(f, mask, gpa + IGVM_PAGE, NULL, size - IGVM_PAGE, IGVM_PAGE_UNMEASURED, IGVM_PAGE_NORMAL, err);
    }
    if (raw && (!range_inside(offset, raw, f->image->len) || raw != size))
        return err_set(err, ERR_INPUT, "%s: its TDVF metadata has a section outside the file", f->image->option);
    return add_section(f, mask, gpa, raw ? f->image->bytes + offset : NULL, size, flags, IGVM_PAGE_NORMAL, err);
}

static int add_tdvf_sections(struct firmware_build *f, struct err *err)
{
    uint32_t count = 0;
    const uint8_t *sections = find_sections(f->image, guid_tdx, TDVF_SIGNATURE, TDVF_SECTION, &count);
    int r = sections ? 0 : err_set(err, ERR_INPUT, "%s: no TDVF metadata: this firmware is not made for TDX", f->image->option);
    for (uint32_t i = 0; !r && i < count; i++)
        r = add_tdvf_section(f, sections, count, i, err);
    return r;
}

/* ---- contexts --------------------------------------------------------------------------------------------------------------------------------------- */

/* SDM 3:10.1.1, with the caches on; `entry` is where in the last 64 KiB, or what an AP's reset block says. */
static void reset_registers(uint32_t entry, struct igvm_registers *r)
{
    *r = (struct igvm_registers){
        .rip = entry & 0xffff, .cr0 = 0x10, .code_selector = 0xf000, .code_attributes = 0x009b, .code_base = entry & 0xffff0000, .code_limit = 0xffff,
        .data_attributes = 0x0093, .data_limit = 0xffff, .tr_attributes = 0x008b, .tr_limit = 0xffff, .gdt_limit = 0xffff, .idt_limit = 0xffff};
}

static int add_contexts(struct firmware_build *f, struct err *err)
{
    uint8_t page[IGVM_PAGE];
    struct igvm_registers r;
    igvm_code code = IGVM_OK;
    uint32_t ap_entry = find_entry(f->image, guid_reset);
    reset_registers(0xfffffff0, &r);
    if (f->masks[IGVM_NATIVE]) {
        igvm_put_native(&r, page);
        code = igvm_add_vp_context(f->writer, f->masks[IGVM_NATIVE], 0, 0, page, IGVM_NATIVE_CONTEXT_BYTES);
    }
    if (code == IGVM_OK && f->masks[IGVM_VBS])
        code = igvm_add_vbs_registers(f->writer, f->masks[IGVM_VBS], &r);
    r.cr4 = 0x40; /* MCE, as KVM has it for SEV-ES and later */
    for (uint32_t i = 0; code == IGVM_OK && f->masks[IGVM_SEV_SNP] && i < f->build->cpus; i++) {
        if (i == 1 && ap_entry)
            r.rip = ap_entry & 0xffff, r.code_base = ap_entry & 0xffff0000;
        igvm_put_vmsa(&r, f->build->sev_features, page);
        code = igvm_add_vp_context(f->writer, f->masks[IGVM_SEV_SNP], f->build->vmsa_gpa, (uint16_t)i, page, IGVM_PAGE);
    }
    return igvm_build_error(code, f->image->option, err);
}

int igvm_build_firmware(const struct igvm_build *build, igvm_writer *writer, const uint32_t masks[IGVM_PLATFORMS_MAX], struct err *err)
{
    const struct image *image = &build->firmware;
    if (image->len > FIRMWARE_MAX || image->len % IGVM_PAGE)
        return err_set(err, ERR_INPUT, "%s: want whole pages, at most 64 MiB", image->option);
    struct firmware_build f = {.build = build, .image = image, .writer = writer, .masks = masks, .base = LAYOUT_HIGH_RAM - image->len};
    int r = add_image(&f, err); /* first, as hosts that start firmware without such a file measure it */
    if (!r && masks[IGVM_SEV_SNP])
        r = add_sev_sections(&f, err);
    if (!r && masks[IGVM_TDX])
        r = add_tdvf_sections(&f, err);
    return r ? r : add_contexts(&f, err);
}
