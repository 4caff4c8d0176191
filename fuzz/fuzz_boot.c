/* SPDX-License-Identifier: MIT */
/* Kernel images: byte 0 chooses the format whose magic numbers are planted, byte 1 the memory size, the rest is the file. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "firmware/layout.h"
#include "firmware/loader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void plant_magic(uint8_t *image, size_t len, unsigned kind)
{
    if (kind == 1 && len >= 0x290) {
        store_le16(image + 0x1fe, 0xaa55);
        store_le32(image + 0x202, 0x53726448);
        store_le16(image + 0x206, 0x20f);
        image[0x211] |= 1;
    }
    if (kind == 2 && len >= 64)
        memcpy(image, "\177ELF", 4), image[4] = 1 + (image[4] & 1), image[5] = 1, store_le16(image + 18, 62);
    if (kind == 3 && len >= 12)
        store_le32(image, 0x1badb002), store_le32(image + 8, 0u - 0x1badb002u - load_le32(image + 4));
}

static struct mem_map *map_new(uint64_t memory)
{
    struct mem_map *map = mem_map_new(NULL);
    struct mem_block *block = mem_block_new(memory, NULL);
    if (!map || !block || mem_map_add(map, 0, block, 0, memory, MEM_R | MEM_W | MEM_X, NULL))
        abort();
    mem_block_unref(block);
    return map;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t len = size - 2;
    uint8_t *image = malloc(len + 1);
    if (!image)
        return 0;
    memcpy(image, data + 2, len);
    plant_magic(image, len, data[0] & 3);
    uint64_t memory = data[1] & 1 ? MIB(16) : MIB(64);
    struct boot_request request = {.kernel = {image, len, "--kernel f"}, .cmdline = "console=ttyS0", .memory = memory, .map = map_new(memory)};
    if (data[0] & 4)
        request.initrd = (struct image){data, size, "--initrd f"};
    struct boot_state state;
    struct err err = ERR_NONE;
    int r = boot_load(&request, &state, &err);
    if ((r != 0) != (err.text[0] != '\0') || r == ERR_INTERNAL)
        abort(); /* a failure has a message, and no image reaches what only a fault of ours can */
    mem_map_free(request.map);
    free(image);
    return 0;
}
