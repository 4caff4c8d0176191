/* SPDX-License-Identifier: MIT */
/* fdt.h - writes a flattened devicetree (Devicetree Specification 0.4, chapter 5) into a bounded buffer. When the buffer is full nothing more is written and `overflow` is set:
 * fdt_finish() then gives 0. */
#ifndef FIRMWARE_FDT_H
#define FIRMWARE_FDT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fdt {
    uint8_t *bytes;
    size_t len, capacity;
    char strings[256];  /* property names seen so far */
    size_t strings_len;
    bool overflow;
};

void fdt_begin(struct fdt *, uint8_t *bytes, size_t capacity);
void fdt_begin_node(struct fdt *, const char *name);       /* "" is the root */
void fdt_end_node(struct fdt *);
void fdt_u32(struct fdt *, const char *name, uint32_t value);
void fdt_u64s(struct fdt *, const char *name, const uint64_t *values, size_t count);
void fdt_string(struct fdt *, const char *name, const char *value);
/* Completes the blob. Returns its length, 0 after an overflow. */
size_t fdt_finish(struct fdt *, uint32_t boot_cpu);

#endif
