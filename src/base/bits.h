/* SPDX-License-Identifier: MIT */
/* bits.h - bit fields, alignment, and little-endian loads and stores that need no alignment. */
#ifndef BASE_BITS_H
#define BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n)       (UINT64_C(1) << (n))
#define likely(x)    __builtin_expect(!!(x), 1)
#define unlikely(x)  __builtin_expect(!!(x), 0)
/* On a function that touches what other threads may write at the same time, on purpose and without an order: guest memory on a guest's behalf. */
#define MAY_RACE     __attribute__((no_sanitize("thread")))
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/* Bits high..low of value. */
static inline uint64_t bits_get(uint64_t value, unsigned high, unsigned low)
{
    return value >> low & (UINT64_MAX >> (63 - (high - low)));
}

static inline bool is_power_of_two(uint64_t v) { return v && !(v & (v - 1)); }

/* `align` is a power of two. align_up wraps at 2^64: check the input first. */
static inline uint64_t align_down(uint64_t v, uint64_t align) { return v & ~(align - 1); }
static inline uint64_t align_up(uint64_t v, uint64_t align) { return (v + align - 1) & ~(align - 1); }

/* Guests of x86 and arm64 are little-endian, and so is every host we build for (tools/check-hosts asserts it), so these are plain copies. */
#define BASE_LOAD_STORE(bits)                                                                                      \
    static inline uint##bits##_t load_le##bits(const void *p) { uint##bits##_t v; memcpy(&v, p, sizeof v); return v; } \
    static inline void store_le##bits(void *p, uint##bits##_t v) { memcpy(p, &v, sizeof v); }
BASE_LOAD_STORE(16)
BASE_LOAD_STORE(32)
BASE_LOAD_STORE(64)
#undef BASE_LOAD_STORE

/* Big-endian, for the formats that use it (network, fw_cfg). */
static inline uint16_t load_be16(const void *p) { return __builtin_bswap16(load_le16(p)); }
static inline uint32_t load_be32(const void *p) { return __builtin_bswap32(load_le32(p)); }
static inline uint64_t load_be64(const void *p) { return __builtin_bswap64(load_le64(p)); }
static inline void store_be16(void *p, uint16_t v) { store_le16(p, __builtin_bswap16(v)); }
static inline void store_be32(void *p, uint32_t v) { store_le32(p, __builtin_bswap32(v)); }
static inline void store_be64(void *p, uint64_t v) { store_le64(p, __builtin_bswap64(v)); }

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "only little-endian hosts");

#endif
