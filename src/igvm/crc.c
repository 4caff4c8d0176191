/* SPDX-License-Identifier: MIT */
/* CRC-32 of the fixed header: reflected, polynomial 0xedb88320. Long inputs (the headers of a 1 GiB file are 8 MiB) go sixteen bytes at a time, by
 * tables that are made on the stack, since a static one would need 16 KiB of magic numbers or an initialisation. */
#include "base/bits.h"
#include "igvm/internal.h"

#define POLYNOMIAL 0xedb88320u
#define LONG       16384 /* from here on, making the tables costs less than it saves */

static uint32_t crc_of_byte(uint32_t crc)
{
    for (int i = 0; i < 8; i++)
        crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
    return crc;
}

static uint32_t crc_short(uint32_t crc, const uint8_t *p, size_t length)
{
    uint32_t nibbles[16];
    for (uint32_t i = 0; i < 16; i++) {
        nibbles[i] = i;
        for (int bit = 0; bit < 4; bit++)
            nibbles[i] = nibbles[i] >> 1 ^ (nibbles[i] & 1 ? POLYNOMIAL : 0);
    }
    for (; length; length--, p++) {
        crc = crc >> 4 ^ nibbles[(crc ^ *p) & 15];
        crc = crc >> 4 ^ nibbles[(crc ^ *p >> 4) & 15];
    }
    return crc;
}

/* The CRC of 4 bytes that `zeros` zero bytes follow. */
static inline uint32_t crc_word(uint32_t table[16][256], uint32_t word, int zeros)
{
    return table[zeros + 3][word & 0xff] ^ table[zeros + 2][word >> 8 & 0xff] ^ table[zeros + 1][word >> 16 & 0xff] ^ table[zeros][word >> 24];
}

/* "Slicing by 16": table[k][b] is the CRC of byte b followed by k zero bytes. */
static uint32_t crc_long(uint32_t crc, const uint8_t *p, size_t length)
{
    uint32_t table[16][256];
    for (uint32_t i = 0; i < 256; i++)
        table[0][i] = crc_of_byte(i);
    for (int k = 1; k < 16; k++)
        for (uint32_t i = 0; i < 256; i++)
            table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
    for (; length >= 16; length -= 16, p += 16)
        crc = crc_word(table, load_le32(p) ^ crc, 12) ^ crc_word(table, load_le32(p + 4), 8) ^ crc_word(table, load_le32(p + 8), 4) ^
            crc_word(table, load_le32(p + 12), 0);
    return crc_short(crc, p, length);
}

uint32_t igvm_crc32(uint32_t crc, const void *data, size_t length)
{
    return ~(length < LONG ? crc_short(~crc, data, length) : crc_long(~crc, data, length));
}
