/* SPDX-License-Identifier: MIT */
/* guest.h - a tiny machine for tests of the software CPU: flat memory from 0, CPUs set straight into a mode, programs of a few bytes. */
#ifndef TESTS_CPU_GUEST_H
#define TESTS_CPU_GUEST_H

#include "cpu/cpu.h"
#include "cpu/engine.h"

enum { GUEST_RAM = 16 << 20, GUEST_CODE = 0x100000, GUEST_STACK = 0x90000, GUEST_PAGES = 0x1000 /* page tables: 0x1000 .. 0x5fff */ };

struct guest {
    struct mem_map *map;
    struct mem_block *ram;
    uint8_t *bytes;          /* guest-physical 0 */
    struct cpu_vm vm;
};

/* cpus: how many; mode: 16, 32 (flat, no paging) or 64 (identity pages of 2 MiB). CPL 0, interrupts off, rip at GUEST_CODE (16: at 0x7c00). */
void guest_make(struct guest *, unsigned cpus, unsigned mode);
void guest_make_soaked(struct guest *, unsigned cpus, unsigned mode, const struct cpu_soak *);
void guest_free(struct guest *);
/* Puts cpu `index` back into `mode` with rip at `at`. */
void guest_enter(struct guest *, unsigned index, unsigned mode, uint64_t at);
void guest_put(struct guest *, uint64_t at, const void *bytes, size_t len);
/* Runs until an exit other than NONE; its reason. */
unsigned guest_run(struct guest *, unsigned index);

/* A program in the host's assembler, x86-64 hosts only: GUEST_PROGRAM(name, "code"); then GUEST_PUT(guest, at, name). */
#define GUEST_PROGRAM(name, code)                                                                                          \
    extern const uint8_t name[], name##_end[];                                                                             \
    __asm__(".pushsection .rodata\n.globl " #name ", " #name "_end\n" #name ":\n" code "\n" #name "_end:\n.code64\n.popsection\n")
#define GUEST_PUT(guest, at, name) guest_put(guest, at, name, (size_t)(name##_end - name))

#endif
