/* SPDX-License-Identifier: MIT */
/* bzimage.c - Linux's own boot format, entered past its real-mode part. Offsets and bits: Linux boot.rst, "The Real-Mode Kernel Header". */
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "firmware/layout.h"
#include "firmware/loader.h"

enum {
    HDR_START = 0x1f1, HDR_SETUP_SECTS = 0x1f1, HDR_VID_MODE = 0x1fa, HDR_BOOT_FLAG = 0x1fe, HDR_JUMP = 0x200, HDR_MAGIC = 0x202, HDR_VERSION = 0x206,
    HDR_TYPE_OF_LOADER = 0x210, HDR_LOADFLAGS = 0x211, HDR_CODE32_START = 0x214, HDR_RAMDISK_IMAGE = 0x218, HDR_RAMDISK_SIZE = 0x21c, HDR_HEAP_END = 0x224,
    HDR_CMD_LINE_PTR = 0x228, HDR_INITRD_MAX = 0x22c, HDR_RELOCATABLE = 0x234, HDR_XLOADFLAGS = 0x236, HDR_CMDLINE_SIZE = 0x238, HDR_PREF_ADDRESS = 0x258,
    HDR_INIT_SIZE = 0x260, HDR_END_MAX = 0x290,
    PARAMS_RSDP = 0x070, PARAMS_E820_COUNT = BOOT_PARAMS_E820_COUNT, PARAMS_E820 = BOOT_PARAMS_E820, E820_SIZE = 20, PARAMS_SIZE = 4096,
};
#define HDR_MAGIC_VALUE      0x53726448 /* "HdrS" */
#define LOADED_HIGH          0x01
#define CAN_USE_HEAP         0x80
#define XLF_KERNEL_64        0x01
#define LOADER_UNDEFINED     0xff       /* no assigned loader id */
#define HEAP_END             0xfe00
#define ENTRY_64_OFFSET      0x200
#define VERSION_MIN          0x20a      /* 2.10, Linux 2.6.31: the first with init_size and pref_address */
#define SECTOR               512

int bzimage_is(const struct image *kernel)
{
    return kernel->len >= HDR_END_MAX && load_le32(kernel->bytes + HDR_MAGIC) == HDR_MAGIC_VALUE && load_le16(kernel->bytes + HDR_BOOT_FLAG) == 0xaa55;
}

int boot_params_load(const struct boot_request *request, const uint8_t *header, size_t header_len, uint64_t initrd, struct err *err)
{
    uint8_t params[PARAMS_SIZE] = {0};
    if (header)
        memcpy(params + HDR_START, header, header_len);
    else
        store_le32(params + HDR_MAGIC, HDR_MAGIC_VALUE), store_le16(params + HDR_BOOT_FLAG, 0xaa55), store_le16(params + HDR_VERSION, VERSION_MIN);
    store_le64(params + PARAMS_RSDP, request->acpi_rsdp);
    store_le16(params + HDR_VID_MODE, 0xffff); /* "normal" */
    params[HDR_TYPE_OF_LOADER] = LOADER_UNDEFINED;
    params[HDR_LOADFLAGS] |= CAN_USE_HEAP | LOADED_HIGH;
    store_le16(params + HDR_HEAP_END, HEAP_END);
    store_le32(params + HDR_CMD_LINE_PTR, (uint32_t)LAYOUT_BOOT_CMDLINE);
    store_le32(params + HDR_RAMDISK_IMAGE, (uint32_t)initrd);
    store_le32(params + HDR_RAMDISK_SIZE, (uint32_t)request->initrd.len);
    struct e820_entry map[E820_MAX];
    size_t n = boot_memory_map(request->memory, map);
    params[PARAMS_E820_COUNT] = (uint8_t)n;
    for (size_t i = 0; i < n; i++) {
        uint8_t *entry = params + PARAMS_E820 + i * E820_SIZE;
        store_le64(entry, map[i].base);
        store_le64(entry + 8, map[i].len);
        store_le32(entry + 16, map[i].type);
    }
    if (mem_load_image(request->map, LAYOUT_BOOT_PARAMS, params, sizeof params))
        return err_set(err, ERR_INTERNAL, "no memory is mapped for the boot parameters");
    return 0;
}

/* Reads the header once and checks all that the file claims. */
int bzimage_read(const struct image *kernel, struct bzimage *out, struct err *err)
{
    *out = (struct bzimage){0};
    const uint8_t *bytes = kernel->bytes;
    const char *option = kernel->option;
    unsigned version = load_le16(bytes + HDR_VERSION), sectors = bytes[HDR_SETUP_SECTS] ? bytes[HDR_SETUP_SECTS] : 4;
    if (version < VERSION_MIN)
        return err_set(err, ERR_INPUT, "%s: boot protocol %u.%02u is older than 2.10 (Linux 2.6.31)", option, version >> 8, version & 0xff);
    if (!(bytes[HDR_LOADFLAGS] & LOADED_HIGH))
        return err_set(err, ERR_INPUT, "%s: a zImage, which loads below 640 KiB; build a bzImage", option);
    size_t header_end = (size_t)HDR_MAGIC + bytes[HDR_JUMP + 1];
    if (header_end > HDR_END_MAX)
        header_end = HDR_END_MAX;
    if (header_end < HDR_INIT_SIZE + 4)
        return err_set(err, ERR_INPUT, "%s: its header ends at byte 0x%zx, before its last field", option, header_end);
    out->header_len = header_end - HDR_START;
    out->code_offset = (sectors + 1) * SECTOR;
    if (out->code_offset >= kernel->len)
        return err_set(err, ERR_INPUT, "%s: cut short: the header says that code starts at byte %zu of %zu", option, out->code_offset, kernel->len);
    out->has_64bit = load_le16(bytes + HDR_XLOADFLAGS) & XLF_KERNEL_64;
    out->initrd_limit = (uint64_t)load_le32(bytes + HDR_INITRD_MAX) + 1;
    out->cmdline_max = load_le32(bytes + HDR_CMDLINE_SIZE);
    uint64_t preferred = load_le64(bytes + HDR_PREF_ADDRESS), room = load_le32(bytes + HDR_INIT_SIZE);
    out->load = bytes[HDR_RELOCATABLE] ? LAYOUT_HIGH_BASE : load_le32(bytes + HDR_CODE32_START);
    uint64_t base = preferred > out->load ? preferred : out->load; /* it unpacks to its preferred address when loaded below */
    if (out->load < LAYOUT_HIGH_BASE || base >= LAYOUT_LOW_RAM_MAX)
        return err_set(err, ERR_INPUT, "%s: its header asks for an impossible load address", option);
    out->top = base + room;
    if (out->load + (kernel->len - out->code_offset) > out->top)
        out->top = out->load + (kernel->len - out->code_offset);
    return 0;
}

int bzimage_load(const struct boot_request *request, struct boot_state *out, struct err *err)
{
    const struct image *kernel = &request->kernel;
    struct bzimage setup;
    uint64_t initrd = 0;
    int r = bzimage_read(kernel, &setup, err);
    if (!r && setup.top > layout_ram(request->memory).low_end)
        r = err_set(err, ERR_INPUT, "%s: the kernel needs %llu MiB of memory to start (give more --memory)", kernel->option,
                    (unsigned long long)(setup.top >> 20) + 1);
    if (!r && request->only_long && !setup.has_64bit)
        r = err_set(err, ERR_INPUT, "%s: the kernel has no 64-bit entry", kernel->option);
    if (!r)
        r = boot_load_cmdline(request, setup.cmdline_max, err);
    if (!r && request->initrd.len)
        r = boot_load_initrd(request, setup.top, setup.initrd_limit, &initrd, err);
    if (!r)
        r = boot_params_load(request, kernel->bytes + HDR_START, setup.header_len, initrd, err);
    enum boot_mode mode = setup.has_64bit ? BOOT_MODE_LONG : BOOT_MODE_PROTECTED;
    if (!r)
        r = boot_load_tables(request, mode, err);
    if (r)
        return r;
    if (mem_load_image(request->map, setup.load, kernel->bytes + setup.code_offset, kernel->len - setup.code_offset))
        return err_set(err, ERR_INTERNAL, "%s: no memory is mapped at its load address", kernel->option);
    *out = (struct boot_state){
        .mode = mode, .rip = setup.load + (setup.has_64bit ? ENTRY_64_OFFSET : 0), .rsi = LAYOUT_BOOT_PARAMS, .rsp = LAYOUT_BOOT_STACK, .cr3 = LAYOUT_BOOT_PML4,
        .format = "Linux bzImage"};
    return 0;
}
