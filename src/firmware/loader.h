/* SPDX-License-Identifier: MIT */
/* loader.h - puts a kernel into guest memory and says how its first CPU starts.
 *
 * Formats, recognised by content: Linux bzImage (64-bit entry, or 32-bit where the kernel has none), multiboot 1, ELF with a PVH note, ELF64 with Linux's 64-bit entry.
 * A kernel, an initramfs and a command line are hostile input: every offset, size and address is checked against the file and against RAM before use.
 * Specs: Linux Documentation/arch/x86/boot.rst, Multiboot 0.6.96, Xen PVH (docs/misc/pvh.pandoc).
 */
#ifndef FIRMWARE_LOADER_H
#define FIRMWARE_LOADER_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "memory/memory.h"

/* A file's bytes, borrowed. `option` names it in messages ("--kernel x.img"). */
struct image { const uint8_t *bytes; size_t len; const char *option; };

struct boot_request {
    struct image kernel;
    struct image initrd;      /* len 0: none */
    const char *cmdline;      /* never NULL  */
    uint64_t memory;          /* bytes of RAM, laid out by layout.h */
    uint64_t acpi_rsdp;       /* guest-physical address, 0: none    */
    struct mem_map *map;
    bool only_long;           /* Linux's 64-bit entry or none: no multiboot, no PVH */
    bool initrd_low;          /* the initramfs right above the kernel, not at the end of memory */
};

enum boot_mode {
    BOOT_MODE_PROTECTED, /* flat 32-bit segments, paging off           */
    BOOT_MODE_LONG,      /* 64-bit, the first 4 GiB mapped one to one  */
    BOOT_MODE_CONTEXT,   /* all registers are told elsewhere (igvm_load.h) */
};

/* Registers of the boot CPU where they differ from zero. */
struct boot_state {
    enum boot_mode mode;
    uint64_t rip, rax, rbx, rsi, rsp, cr3;
    bool wants_bios_state;   /* may go back to real mode and expect what a BIOS leaves there */
    const char *format;      /* "Linux bzImage", ... for the progress line */
};

/* Loads the kernel. ERR_INPUT with one line that names the option when the image or the memory size will not do; guest memory may then hold parts. */
int boot_load(const struct boot_request *, struct boot_state *out, struct err *);

/* ---- between the loaders -------------------------------------------------------------------------------------------------------------------------- */

enum { E820_RAM = 1, E820_RESERVED = 2, E820_ACPI = 3 };
struct e820_entry { uint64_t base, len; uint32_t type; };
#define E820_MAX 8
/* What the guest is told of its memory. Returns the number of entries. */
size_t boot_memory_map(uint64_t memory, struct e820_entry out[E820_MAX]);

/* Copies the command line (LAYOUT_BOOT_CMDLINE); ERR_USAGE when it is longer than `max` bytes without its NUL. */
int boot_load_cmdline(const struct boot_request *, size_t max, struct err *);
/* Places the initramfs page-aligned as high as it fits in [floor, limit), below the end of low RAM. */
int boot_load_initrd(const struct boot_request *, uint64_t floor, uint64_t limit, uint64_t *address, struct err *);
/* Writes the boot GDT and, for long mode, page tables; both modes use selectors 0x10 (code) and 0x18 (data), as Linux asks. */
int boot_load_tables(const struct boot_request *, enum boot_mode, struct err *);
#define BOOT_SELECTOR_CODE 0x10
#define BOOT_SELECTOR_DATA 0x18
#define BOOT_SELECTOR_TSS  0x20

/* What a bzImage's header says, checked against the file. */
struct bzimage {
    size_t code_offset;             /* of the protected-mode code in the file  */
    size_t header_len;              /* of the setup header, from byte 0x1f1    */
    uint64_t load, top;             /* where it goes; first byte it does not use while it unpacks itself */
    uint64_t initrd_limit;
    size_t cmdline_max;
    bool has_64bit;
};
int bzimage_read(const struct image *, struct bzimage *, struct err *);
/* Bytes of memory up to which an ELF file's segments reach; 0: none is readable. */
uint64_t elf_top(const struct image *);

int bzimage_load(const struct boot_request *, struct boot_state *, struct err *);
int multiboot_load(const struct boot_request *, struct boot_state *, struct err *);
int elf_load(const struct boot_request *, struct boot_state *, struct err *);
/* 1 when the image looks like that format, else 0. */
int bzimage_is(const struct image *);
int multiboot_is(const struct image *);
int elf_is(const struct image *);

/* ELF pieces that multiboot shares. */
struct elf_loaded { uint64_t entry, top; /* first byte past the highest segment */ uint64_t pvh_entry; /* 0: no note */ int is64; };
int elf_load_segments(const struct boot_request *, struct elf_loaded *, struct err *);

#define BOOT_PARAMS_E820_COUNT 0x1e8
#define BOOT_PARAMS_E820       0x2d0 /* 20-byte entries */
/* Linux boot_params (zero page), shared by bzImage and the ELF 64-bit entry: `setup_header` may be NULL. */
int boot_params_load(const struct boot_request *, const uint8_t *setup_header, size_t setup_header_len, uint64_t initrd, struct err *);

#endif
