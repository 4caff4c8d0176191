/* SPDX-License-Identifier: MIT */
/* igvm_file.h - what the IGVM targets share: an input made whole enough to get past the fixed header. */
#ifndef FUZZ_IGVM_FILE_H
#define FUZZ_IGVM_FILE_H

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "igvm.h"

/* A copy of exactly the input's size. The last bit of its last byte says whether the size, the offset of the headers and the checksum are put right, or
 * stay as they are. The caller frees it. */
static inline uint8_t *igvm_fuzz_file(const uint8_t *data, size_t size)
{
    uint8_t *p = malloc(size ? size : 1);
    if (!p)
        abort();
    memcpy(p, data, size);
    if (size < 32 || p[size - 1] & 1)
        return p;
    uint32_t fixed = p[4] == 2 ? 32 : 24, length = load_le32(p + 0xc);
    memcpy(p, "IGVM", 4);
    store_le32(p + 4, p[4] == 2 ? 2 : 1);
    store_le32(p + 8, fixed);
    if (length > size - fixed) /* as many headers as fit */
        length = (uint32_t)((length % (size - fixed + 1)) & ~7u);
    store_le32(p + 0xc, length);
    store_le32(p + 0x10, (uint32_t)size);
    store_le32(p + 0x14, 0);
    if (fixed == 32)
        store_le32(p + 0x18, p[0x18] & 1), store_le32(p + 0x1c, IGVM_PAGE);
    store_le32(p + 0x14, igvm_crc32(igvm_crc32(0, p, fixed), p + fixed, length));
    return p;
}

#endif
