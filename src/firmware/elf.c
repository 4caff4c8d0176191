/* SPDX-License-Identifier: MIT */
/* elf.c - ELF kernels: the PVH entry where a note names one, else Linux's 64-bit entry. Formats: System V ABI; Xen PVH start info version 1. */
#include <stdbool.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "firmware/layout.h"
#include "firmware/loader.h"

enum { EI_CLASS = 4, EI_DATA = 5, ELFCLASS32 = 1, ELFCLASS64 = 2, ELFDATA2LSB = 1, EM_386 = 3, EM_X86_64 = 62, PT_LOAD = 1, PT_NOTE = 4 };
#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define PVH_MAGIC                0x336ec578
#define PVH_START_INFO_SIZE      56
#define PVH_MODULE_SIZE          32
#define PVH_MEMMAP_SIZE          24
#define SEGMENTS_MAX             128

struct elf_header { int is64; unsigned machine; uint64_t entry, phoff; unsigned phentsize, phnum; };
struct elf_segment { uint32_t type; uint64_t offset, paddr, filesz, memsz; };

int elf_is(const struct image *kernel)
{
    return kernel->len >= 52 && !memcmp(kernel->bytes, "\177ELF", 4);
}

static int header_read(const struct image *kernel, struct elf_header *out, struct err *err)
{
    const uint8_t *b = kernel->bytes;
    out->is64 = b[EI_CLASS] == ELFCLASS64;
    if ((b[EI_CLASS] != ELFCLASS32 && !out->is64) || b[EI_DATA] != ELFDATA2LSB || kernel->len < 64)
        return err_set(err, ERR_INPUT, "%s: not a little-endian 32- or 64-bit ELF file", kernel->option);
    out->machine = load_le16(b + 18);
    out->entry = out->is64 ? load_le64(b + 24) : load_le32(b + 24);
    out->phoff = out->is64 ? load_le64(b + 32) : load_le32(b + 28);
    out->phentsize = load_le16(b + (out->is64 ? 54 : 42));
    out->phnum = load_le16(b + (out->is64 ? 56 : 44));
    if (out->machine != EM_386 && out->machine != EM_X86_64)
        return err_set(err, ERR_INPUT, "%s: ELF for machine %u, not x86", kernel->option, out->machine);
    unsigned least = out->is64 ? 56 : 32;
    if (!out->phnum || out->phnum > SEGMENTS_MAX || out->phentsize < least || !range_inside(out->phoff, (uint64_t)out->phnum * out->phentsize, kernel->len))
        return err_set(err, ERR_INPUT, "%s: its ELF program headers lie outside the file", kernel->option);
    return 0;
}

static int segment_read(const struct image *kernel, const struct elf_header *header, unsigned i, struct elf_segment *out, struct err *err)
{
    const uint8_t *p = kernel->bytes + header->phoff + (uint64_t)i * header->phentsize;
    if (header->is64)
        *out = (struct elf_segment){load_le32(p), load_le64(p + 8), load_le64(p + 24), load_le64(p + 32), load_le64(p + 40)};
    else
        *out = (struct elf_segment){load_le32(p), load_le32(p + 4), load_le32(p + 12), load_le32(p + 16), load_le32(p + 20)};
    if (out->type != PT_LOAD && out->type != PT_NOTE)
        return 0;
    if (!range_inside(out->offset, out->filesz, kernel->len) || (out->type == PT_LOAD && out->filesz > out->memsz))
        return err_set(err, ERR_INPUT, "%s: cut short: ELF segment %u lies outside the file", kernel->option, i);
    return 0;
}

/* Finds the PVH entry among the notes of one segment: {name size, descriptor size, type, name, descriptor}, each padded to 4 bytes. */
static uint64_t note_find_pvh(const uint8_t *notes, uint64_t len)
{
    for (uint64_t at = 0; range_inside(at, 12, len);) {
        uint64_t name_len = load_le32(notes + at), desc_len = load_le32(notes + at + 4);
        uint32_t type = load_le32(notes + at + 8);
        uint64_t name = at + 12, desc = name + align_up(name_len, 4);
        if (!range_inside(name, align_up(name_len, 4), len) || !range_inside(desc, desc_len, len))
            return 0;
        if (type == XEN_ELFNOTE_PHYS32_ENTRY && name_len == 4 && !memcmp(notes + name, "Xen", 4) && (desc_len == 4 || desc_len == 8))
            return desc_len == 8 ? load_le64(notes + desc) : load_le32(notes + desc);
        at = desc + align_up(desc_len, 4);
    }
    return 0;
}

static int segment_place(const struct boot_request *request, const struct elf_segment *s, struct elf_loaded *out, struct err *err)
{
    const char *option = request->kernel.option;
    uint64_t low_end = layout_ram(request->memory).low_end;
    bool is_low = s->paddr < LAYOUT_HIGH_BASE;
    if (is_low && (s->paddr < LAYOUT_KERNEL_MIN || !range_inside(s->paddr, s->memsz, LAYOUT_BOOT_BASE)))
        return err_set(err, ERR_INPUT, "%s: a segment wants address 0x%llx, which is not free below 1 MiB", option, (unsigned long long)s->paddr);
    if (!range_inside(s->paddr, s->memsz, low_end))
        return err_set(err, ERR_INPUT, "%s: a segment of %llu MiB at 0x%llx does not fit in memory (give more --memory)", option,
                       (unsigned long long)(s->memsz >> 20), (unsigned long long)s->paddr);
    if (mem_load_image(request->map, s->paddr, request->kernel.bytes + s->offset, s->filesz) ||
        mem_fill(request->map, s->paddr + s->filesz, 0, s->memsz - s->filesz))
        return err_set(err, ERR_INTERNAL, "%s: no memory is mapped at 0x%llx", option, (unsigned long long)s->paddr);
    if (s->paddr + s->memsz > out->top)
        out->top = s->paddr + s->memsz;
    return 0;
}

int elf_load_segments(const struct boot_request *request, struct elf_loaded *out, struct err *err)
{
    struct elf_header header = {0};
    uint64_t placed = 0;
    int r = header_read(&request->kernel, &header, err);
    *out = (struct elf_loaded){.entry = header.entry, .is64 = header.is64 && header.machine == EM_X86_64};
    for (unsigned i = 0; !r && i < header.phnum; i++) {
        struct elf_segment segment;
        r = segment_read(&request->kernel, &header, i, &segment, err);
        if (!r && segment.type == PT_LOAD && segment.memsz) {
            r = segment_place(request, &segment, out, err);
            placed += segment.memsz;
        }
        if (!r && placed > layout_ram(request->memory).low_end) /* or a small file could keep us filling memory for long */
            r = err_set(err, ERR_INPUT, "%s: its ELF segments lie upon each other", request->kernel.option);
        if (!r && segment.type == PT_NOTE && !out->pvh_entry)
            out->pvh_entry = note_find_pvh(request->kernel.bytes + segment.offset, segment.filesz);
    }
    if (!r && !out->top)
        r = err_set(err, ERR_INPUT, "%s: the ELF file has nothing to load", request->kernel.option);
    return r;
}

/* Start info, then one module, then the memory map. */
static int pvh_info_load(const struct boot_request *request, uint64_t initrd, struct err *err)
{
    uint8_t page[1024] = {0};
    struct e820_entry map[E820_MAX];
    size_t n = boot_memory_map(request->memory, map);
    uint64_t module = LAYOUT_BOOT_INFO + PVH_START_INFO_SIZE, memmap = module + PVH_MODULE_SIZE;
    store_le32(page, PVH_MAGIC);
    store_le32(page + 4, 1);
    store_le32(page + 12, request->initrd.len ? 1 : 0);
    store_le64(page + 16, request->initrd.len ? module : 0);
    store_le64(page + 24, LAYOUT_BOOT_CMDLINE);
    store_le64(page + 32, request->acpi_rsdp);
    store_le64(page + 40, memmap);
    store_le32(page + 48, (uint32_t)n);
    store_le64(page + PVH_START_INFO_SIZE, initrd);
    store_le64(page + PVH_START_INFO_SIZE + 8, request->initrd.len);
    for (size_t i = 0; i < n; i++) {
        uint8_t *entry = page + PVH_START_INFO_SIZE + PVH_MODULE_SIZE + i * PVH_MEMMAP_SIZE;
        store_le64(entry, map[i].base);
        store_le64(entry + 8, map[i].len);
        store_le32(entry + 16, map[i].type);
    }
    if (mem_load_image(request->map, LAYOUT_BOOT_INFO, page, sizeof page))
        return err_set(err, ERR_INTERNAL, "no memory is mapped for the start information");
    return 0;
}

int elf_load(const struct boot_request *request, struct boot_state *out, struct err *err)
{
    struct elf_loaded loaded;
    uint64_t initrd = 0;
    int r = elf_load_segments(request, &loaded, err);
    if (!r && request->only_long) {
        loaded.pvh_entry = 0;
        if (!loaded.is64)
            r = err_set(err, ERR_INPUT, "%s: a 32-bit ELF file has no 64-bit entry", request->kernel.option);
    }
    if (!r && !loaded.pvh_entry && !loaded.is64)
        r = err_set(err, ERR_INPUT, "%s: a 32-bit ELF file without a PVH note or multiboot header; no way to enter it is known", request->kernel.option);
    if (!r)
        r = boot_load_cmdline(request, LAYOUT_CMDLINE_MAX - 1, err);
    if (!r && request->initrd.len)
        r = boot_load_initrd(request, loaded.top, LAYOUT_HIGH_RAM, &initrd, err);
    enum boot_mode mode = loaded.pvh_entry ? BOOT_MODE_PROTECTED : BOOT_MODE_LONG;
    if (!r)
        r = loaded.pvh_entry ? pvh_info_load(request, initrd, err) : boot_params_load(request, NULL, 0, initrd, err);
    if (!r)
        r = boot_load_tables(request, mode, err);
    if (r)
        return r;
    *out = (struct boot_state){.mode = mode, .rsp = LAYOUT_BOOT_STACK, .cr3 = LAYOUT_BOOT_PML4};
    out->rip = loaded.pvh_entry ? loaded.pvh_entry : loaded.entry;
    out->rbx = loaded.pvh_entry ? LAYOUT_BOOT_INFO : 0;
    out->rsi = loaded.pvh_entry ? 0 : LAYOUT_BOOT_PARAMS;
    out->format = loaded.pvh_entry ? "ELF, PVH entry" : "ELF, 64-bit entry";
    return 0;
}

uint64_t elf_top(const struct image *kernel)
{
    struct elf_header header;
    uint64_t top = 0;
    if (!elf_is(kernel) || header_read(kernel, &header, NULL))
        return 0;
    for (unsigned i = 0; i < header.phnum; i++) {
        struct elf_segment s;
        uint64_t end;
        if (!segment_read(kernel, &header, i, &s, NULL) && s.type == PT_LOAD && !ckd_add(&end, s.paddr, s.memsz) && end > top)
            top = end;
    }
    return top;
}
