/* SPDX-License-Identifier: MIT */
/* Files made of hostile kernels and firmware: whatever is built must be a file that the reader takes. Bits of byte 0: 0 firmware, 1 GUID table planted; 2 an initramfs; 3 a fixed
 * memory map; 4 to 7 the platforms. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "firmware/igvm_build.h"
#include "firmware/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FIRMWARE_BYTES = 4 * IGVM_PAGE, METADATA_AT = 0x400 /* from the end */ };

/* The end of the firmware is the input's; with `plant` a table leads to metadata whose sections are. */
static void make_firmware(uint8_t *bytes, const uint8_t *data, size_t size, bool plant)
{
    static const uint8_t table[] = {0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45, 0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d};
    static const uint8_t guids[2][16] = {{0x66, 0x65, 0x88, 0xdc, 0x4a, 0x98, 0x98, 0x47, 0xa7, 0x5e, 0x55, 0x85, 0xa7, 0xbf, 0x67, 0xcc},
                                         {0x35, 0x65, 0x7a, 0xe4, 0x4a, 0x98, 0x98, 0x47, 0x86, 0x5e, 0x46, 0x85, 0xa7, 0xbf, 0x8e, 0xc2}};
    uint8_t *end = bytes + FIRMWARE_BYTES;
    memcpy(end - (size < METADATA_AT ? size : METADATA_AT), data, size < METADATA_AT ? size : METADATA_AT);
    if (!plant)
        return;
    memcpy(end - 0x30, table, 16);
    store_le16(end - 0x32, 18 + 2 * 22);
    for (int i = 0; i < 2; i++) {
        uint8_t *entry = end - 0x32 - 22 * (i + 1);
        store_le32(entry, METADATA_AT - (uint32_t)i * 0x180);
        store_le16(entry + 4, 22);
        memcpy(entry + 6, guids[i], 16);
        store_le32(end - METADATA_AT + i * 0x180, i ? 0x46564454 : 0x56455341);
        end[-METADATA_AT + i * 0x180 + 13] = end[-METADATA_AT + i * 0x180 + 14] = end[-METADATA_AT + i * 0x180 + 15] = 0;
    }
}

static void make_kernel(uint8_t *image, size_t len)
{
    if (len < 0x290)
        return;
    store_le16(image + 0x1fe, 0xaa55);
    store_le32(image + 0x202, 0x53726448);
    store_le16(image + 0x206, 0x20f);
    image[0x211] |= 1;
    image[0x25c] = image[0x25d] = image[0x25e] = image[0x25f] = 0; /* below 4 GiB, and little room, or building takes long */
    image[0x25b] = image[0x263] = 0;
    image[0x262] &= 0x1f;
}

static void check_file(const igvm_writer *writer)
{
    igvm_finding why = {.index = IGVM_NONE};
    uint64_t size = igvm_writer_size(writer);
    uint8_t *bytes = malloc(size);
    if (bytes && igvm_writer_write(writer, bytes, size, &why) != IGVM_OK && why.code != IGVM_OVERLAP) /* sections upon each other are the firmware's fault */
        abort();
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned types[] = {IGVM_NATIVE, IGVM_SEV_SNP, IGVM_TDX, IGVM_VBS};
    if (size < 2)
        return 0;
    size_t room = size > FIRMWARE_BYTES ? size : FIRMWARE_BYTES;
    uint8_t *bytes = calloc(1, room);
    if (!bytes)
        return 0;
    struct igvm_build build = {.cmdline = "console=ttyS0", .map = data[0] & 8 ? IGVM_BUILD_MAP_FIXED : IGVM_BUILD_MAP_AUTO, .memory = MIB(16), .c_bit = 51, .cpus = 2,
                               .snp_policy = 0x30000, .sev_features = 1, .vmsa_gpa = UINT64_C(0xfffffffff000)};
    for (unsigned i = 0; i < 4; i++)
        build.targets |= data[0] & 0x10u << i ? 1u << types[i] : 0;
    if (data[0] & 1) {
        make_firmware(bytes, data + 1, size - 1, data[0] & 2);
        build.firmware = (struct image){bytes, FIRMWARE_BYTES, "--firmware f"};
    } else {
        memcpy(bytes, data + 1, size - 1);
        make_kernel(bytes, size - 1);
        build.kernel = (struct image){bytes, size - 1, "--kernel f"};
        build.initrd = (struct image){data, data[0] & 4 ? size : 0, "--initrd f"};
    }
    uint32_t masks[IGVM_PLATFORMS_MAX];
    igvm_writer *writer = NULL;
    struct err err = ERR_NONE;
    if (build.targets) {
        int r = igvm_build(&build, &writer, masks, &err);
        if ((r != 0) != (err.text[0] != '\0') || r == ERR_INTERNAL)
            abort(); /* a failure has a message, and no image reaches what only a fault of ours can */
        if (!r)
            check_file(writer);
        igvm_writer_free(writer);
    }
    free(bytes);
    return 0;
}
