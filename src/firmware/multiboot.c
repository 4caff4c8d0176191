/* SPDX-License-Identifier: MIT */
/* multiboot.c - Multiboot 0.6.96: a header in the first 8 KiB, an ELF file or raw load addresses, entered in flat protected mode. --initrd is its one module. */
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "firmware/layout.h"
#include "firmware/loader.h"

#define SEARCH            8192
#define HEADER_MAGIC      0x1badb002
#define LOADER_MAGIC      0x2badb002
#define HEADER_ADDRESSES  (1u << 16) /* load addresses are in the header        */
#define HEADER_REFUSED    0x0000fff8 /* required features that nobody here has: bits 3-15 (section 3.1.2) */
enum { MBI_MEMORY = 1 << 0, MBI_CMDLINE = 1 << 2, MBI_MODULES = 1 << 3, MBI_MEMORY_MAP = 1 << 6, MBI_LOADER_NAME = 1 << 9 };
enum { MBI_SIZE = 120, MODULE_AT = 128, LOADER_NAME_AT = 160, MEMORY_MAP_AT = 192, MEMORY_MAP_ENTRY = 24 };

/* Offset of the header, or -1. */
static long header_find(const struct image *kernel)
{
    size_t end = kernel->len < SEARCH ? kernel->len : SEARCH;
    for (size_t at = 0; at + 12 <= end; at += 4)
        if (load_le32(kernel->bytes + at) == HEADER_MAGIC &&
            HEADER_MAGIC + load_le32(kernel->bytes + at + 4) + load_le32(kernel->bytes + at + 8) == 0)
            return (long)at;
    return -1;
}

int multiboot_is(const struct image *kernel) { return header_find(kernel) >= 0; }

/* Raw form: {header, load, load end, bss end, entry} addresses after the checksum (section 3.1.3). */
static int load_raw(const struct boot_request *request, size_t header_at, struct elf_loaded *out, struct err *err)
{
    const struct image *kernel = &request->kernel;
    if (header_at + 32 > kernel->len)
        return err_set(err, ERR_INPUT, "%s: cut short inside its multiboot header", kernel->option);
    const uint8_t *h = kernel->bytes + header_at + 12;
    uint64_t header = load_le32(h), load = load_le32(h + 4), load_end = load_le32(h + 8), bss_end = load_le32(h + 12);
    out->entry = load_le32(h + 16);
    if (header < load || header - load > header_at)
        return err_set(err, ERR_INPUT, "%s: its multiboot header contradicts its own load address", kernel->option);
    size_t start = header_at - (size_t)(header - load);
    uint64_t len = load_end ? load_end - load : kernel->len - start;
    if ((load_end && load_end < load) || !range_inside(start, len, kernel->len))
        return err_set(err, ERR_INPUT, "%s: cut short: its multiboot header wants %llu bytes", kernel->option, (unsigned long long)len);
    uint64_t end = bss_end > load + len ? bss_end : load + len;
    if (load < LAYOUT_HIGH_BASE || end > layout_ram(request->memory).low_end)
        return err_set(err, ERR_INPUT, "%s: it wants to be at 0x%llx, where there is no memory (give more --memory)", kernel->option, (unsigned long long)load);
    out->top = end;
    if (mem_load_image(request->map, load, kernel->bytes + start, len) || mem_fill(request->map, load + len, 0, end - load - len))
        return err_set(err, ERR_INTERNAL, "%s: no memory is mapped at its load address", kernel->option);
    return 0;
}

static int information_load(const struct boot_request *request, uint64_t module, struct err *err)
{
    uint8_t page[1024] = {0};
    struct e820_entry map[E820_MAX];
    size_t n = boot_memory_map(request->memory, map);
    store_le32(page, MBI_MEMORY | MBI_CMDLINE | MBI_MEMORY_MAP | MBI_LOADER_NAME | (request->initrd.len ? MBI_MODULES : 0));
    store_le32(page + 4, (uint32_t)(LAYOUT_LOW_TOP >> 10));
    store_le32(page + 8, (uint32_t)((layout_ram(request->memory).low_end - LAYOUT_HIGH_BASE) >> 10));
    store_le32(page + 16, (uint32_t)LAYOUT_BOOT_CMDLINE);
    store_le32(page + 20, request->initrd.len ? 1 : 0);
    store_le32(page + 24, (uint32_t)LAYOUT_BOOT_INFO + MODULE_AT);
    store_le32(page + 44, (uint32_t)(n * MEMORY_MAP_ENTRY));
    store_le32(page + 48, (uint32_t)LAYOUT_BOOT_INFO + MEMORY_MAP_AT);
    store_le32(page + 64, (uint32_t)LAYOUT_BOOT_INFO + LOADER_NAME_AT);
    store_le32(page + MODULE_AT, (uint32_t)module);
    store_le32(page + MODULE_AT + 4, (uint32_t)(module + request->initrd.len));
    memcpy(page + LOADER_NAME_AT, "mezz", 5);
    for (size_t i = 0; i < n; i++) {
        uint8_t *entry = page + MEMORY_MAP_AT + i * MEMORY_MAP_ENTRY;
        store_le32(entry, MEMORY_MAP_ENTRY - 4);
        store_le64(entry + 4, map[i].base);
        store_le64(entry + 12, map[i].len);
        store_le32(entry + 20, map[i].type);
    }
    _Static_assert(MEMORY_MAP_AT + E820_MAX * MEMORY_MAP_ENTRY <= 1024 && MBI_SIZE <= MODULE_AT, "multiboot information fits");
    if (mem_load_image(request->map, LAYOUT_BOOT_INFO, page, sizeof page))
        return err_set(err, ERR_INTERNAL, "no memory is mapped for the multiboot information");
    return 0;
}

int multiboot_load(const struct boot_request *request, struct boot_state *out, struct err *err)
{
    const struct image *kernel = &request->kernel;
    size_t header_at = (size_t)header_find(kernel);
    uint32_t flags = load_le32(kernel->bytes + header_at + 4);
    struct elf_loaded loaded = {0};
    uint64_t module = 0;
    if (flags & HEADER_REFUSED)
        return err_set(err, ERR_INPUT, "%s: its multiboot header asks for features 0x%x that mezz does not have", kernel->option, flags & HEADER_REFUSED);
    int r = 0;
    if (flags & HEADER_ADDRESSES)
        r = load_raw(request, header_at, &loaded, err);
    else if (elf_is(kernel))
        r = elf_load_segments(request, &loaded, err);
    else
        r = err_set(err, ERR_INPUT, "%s: a multiboot header without load addresses in a file that is not ELF", kernel->option);
    if (!r)
        r = boot_load_cmdline(request, LAYOUT_CMDLINE_MAX - 1, err);
    if (!r && request->initrd.len)
        r = boot_load_initrd(request, loaded.top < LAYOUT_HIGH_BASE ? LAYOUT_HIGH_BASE : loaded.top, LAYOUT_HIGH_RAM, &module, err);
    if (!r)
        r = information_load(request, module, err);
    if (!r)
        r = boot_load_tables(request, BOOT_MODE_PROTECTED, err);
    if (r)
        return r;
    *out = (struct boot_state){.mode = BOOT_MODE_PROTECTED, .rip = loaded.entry, .rax = LOADER_MAGIC, .rbx = LAYOUT_BOOT_INFO, .rsp = LAYOUT_BOOT_STACK,
                               .wants_bios_state = true, .format = "multiboot"};
    return 0;
}
