/* SPDX-License-Identifier: MIT */
/* boot_image.h - a Linux guest as the pages of memory that it starts from, for file formats that hold whole guests. It is what `boot_load` would put into a machine, plus a
 * stub that is entered first: it sets the stack and RSI, and fills the e820 table of boot_params from a memory map that whoever starts the guest left at LAYOUT_BOOT_MAP. */
#ifndef FIRMWARE_BOOT_IMAGE_H
#define FIRMWARE_BOOT_IMAGE_H

#include "firmware/loader.h"

struct boot_image_request {
    struct image kernel, initrd;    /* initrd.len 0: none */
    const char *cmdline;
    bool host_map;                  /* the stub takes the memory map from LAYOUT_BOOT_MAP; else e820 is for `memory` bytes of RAM */
    uint64_t memory;                /* 0 with host_map */
};

struct boot_image {
    struct mem_map *map;            /* scratch memory, laid out as the guest's */
    uint64_t end;                   /* its size                                */
    uint64_t *written;              /* a bit for each page that the loader wrote */
    uint64_t kernel, kernel_top;    /* where the kernel unpacks itself: must be RAM */
    uint64_t initrd;                /* 0: none                                 */
    struct boot_state state;        /* entry is the stub                       */
};

/* Loads kernel and initramfs as low as they go. ERR_INPUT names the option. Free also after a failure. */
int  boot_image_make(const struct boot_image_request *, struct boot_image *out, struct err *);
void boot_image_free(struct boot_image *);

static inline bool boot_image_has(const struct boot_image *image, uint64_t gpa)
{
    return image->written[gpa / MEM_PAGE_SIZE / 64] >> gpa / MEM_PAGE_SIZE % 64 & 1;
}
/* The bytes of a page below `end`. */
void boot_image_page(const struct boot_image *, uint64_t gpa, uint8_t out[MEM_PAGE_SIZE]);

/* What a vCPU runs that begins as TDX says (TDX module ABI, TD vCPU initial state: 32-bit, flat, paging off, ESI = index): its page below 4 GiB. vCPU 0 goes on to the stub,
 * others wait for ever. */
#define BOOT_IMAGE_RESET_PAGE UINT64_C(0xfffff000)
void boot_image_reset_page(uint8_t out[MEM_PAGE_SIZE]);

#endif
