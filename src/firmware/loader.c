/* SPDX-License-Identifier: MIT */
#include "firmware/loader.h"

#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "firmware/layout.h"

#define PAGE_PRESENT_WRITE 0x3
#define PAGE_LARGE         0x80
#define LARGE_PAGE         MIB(2)

/* Descriptors, SDM 3.4.5: flat 4 GiB segments. Code is 64-bit (L) or 32-bit (D). */
#define GDT_CODE64 UINT64_C(0x00af9b000000ffff)
#define GDT_CODE32 UINT64_C(0x00cf9b000000ffff)
#define GDT_DATA   UINT64_C(0x00cf93000000ffff)
#define GDT_TSS32  (UINT64_C(0x00008b0000000067) | LAYOUT_BOOT_TSS << 16) /* busy 32-bit TSS */

size_t boot_memory_map(uint64_t memory, struct e820_entry out[E820_MAX])
{
    struct layout_ram ram = layout_ram(memory);
    size_t n = 0;
    out[n++] = (struct e820_entry){0, LAYOUT_LOW_TOP, E820_RAM};
    out[n++] = (struct e820_entry){LAYOUT_ROM_BASE, LAYOUT_HIGH_BASE - LAYOUT_ROM_BASE, E820_RESERVED};
    out[n++] = (struct e820_entry){LAYOUT_HIGH_BASE, ram.low_end - LAYOUT_HIGH_BASE, E820_RAM};
    out[n++] = (struct e820_entry){LAYOUT_ECAM_BASE, LAYOUT_ECAM_SIZE, E820_RESERVED};
    if (ram.high_end > LAYOUT_HIGH_RAM)
        out[n++] = (struct e820_entry){LAYOUT_HIGH_RAM, ram.high_end - LAYOUT_HIGH_RAM, E820_RAM};
    return n;
}

int boot_load_cmdline(const struct boot_request *request, size_t max, struct err *err)
{
    size_t len = strlen(request->cmdline);
    if (max > LAYOUT_CMDLINE_MAX - 1)
        max = LAYOUT_CMDLINE_MAX - 1;
    if (len > max)
        return err_set(err, ERR_USAGE, "--cmdline: %zu bytes, but this kernel takes at most %zu", len, max);
    return mem_load_image(request->map, LAYOUT_BOOT_CMDLINE, request->cmdline, len + 1);
}

int boot_load_initrd(const struct boot_request *request, uint64_t floor, uint64_t limit, uint64_t *address, struct err *err)
{
    const struct image *initrd = &request->initrd;
    struct layout_ram ram = layout_ram(request->memory);
    uint64_t top = align_down(limit < ram.low_end ? limit : ram.low_end, MEM_PAGE_SIZE);
    floor = align_up(floor, MEM_PAGE_SIZE);
    if (floor > top || initrd->len > top - floor)
        return err_set(err, ERR_INPUT, "%s: %zu MiB do not fit in memory beside the kernel (give more --memory)", initrd->option,
                       (initrd->len >> 20) + 1);
    *address = request->initrd_low ? floor : align_down(top - initrd->len, MEM_PAGE_SIZE);
    if (mem_load_image(request->map, *address, initrd->bytes, initrd->len))
        return err_set(err, ERR_INTERNAL, "%s: no memory is mapped at 0x%llx", initrd->option, (unsigned long long)*address);
    return 0;
}

static int store(const struct boot_request *request, uint64_t address, uint64_t value)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    return mem_load_image(request->map, address, bytes, sizeof bytes);
}

static int load_page_tables(const struct boot_request *request)
{
    uint64_t pdpt = LAYOUT_BOOT_PML4 + MEM_PAGE_SIZE, directories = pdpt + MEM_PAGE_SIZE;
    int r = store(request, LAYOUT_BOOT_PML4, pdpt | PAGE_PRESENT_WRITE);
    for (uint64_t i = 0; i < 4; i++)
        r |= store(request, pdpt + 8 * i, (directories + i * MEM_PAGE_SIZE) | PAGE_PRESENT_WRITE);
    for (uint64_t i = 0; i < 4 * 512; i++)
        r |= store(request, directories + 8 * i, i * LARGE_PAGE | PAGE_PRESENT_WRITE | PAGE_LARGE);
    return r;
}

int boot_load_tables(const struct boot_request *request, enum boot_mode mode, struct err *err)
{
    int r = store(request, LAYOUT_BOOT_GDT, 0);
    r |= store(request, LAYOUT_BOOT_GDT + BOOT_SELECTOR_CODE, mode == BOOT_MODE_LONG ? GDT_CODE64 : GDT_CODE32);
    r |= store(request, LAYOUT_BOOT_GDT + BOOT_SELECTOR_DATA, GDT_DATA);
    r |= store(request, LAYOUT_BOOT_GDT + BOOT_SELECTOR_TSS, GDT_TSS32);
    r |= store(request, LAYOUT_BOOT_GDT + BOOT_SELECTOR_TSS + 8, 0);
    if (mode == BOOT_MODE_LONG)
        r |= load_page_tables(request);
    return r ? err_set(err, ERR_INTERNAL, "no memory is mapped below 640 KiB") : 0;
}

int boot_load(const struct boot_request *request, struct boot_state *out, struct err *err)
{
    const struct image *kernel = &request->kernel;
    *out = (struct boot_state){0};
    if (!kernel->len)
        return err_set(err, ERR_INPUT, "%s: the file is empty", kernel->option);
    if (bzimage_is(kernel))
        return bzimage_load(request, out, err);
    if (!request->only_long && multiboot_is(kernel))
        return multiboot_load(request, out, err);
    if (elf_is(kernel))
        return elf_load(request, out, err);
    return err_set(err, ERR_INPUT, "%s: not a kernel that mezz knows (Linux bzImage, ELF with PVH or 64-bit entry, multiboot)", kernel->option);
}
