/* SPDX-License-Identifier: MIT */
/* program.h - random guest programs: what one is, where it lies in memory, and the machine that runs it.
 *
 * A program is functions of user code (64 and 32 bit) and of kernel code, entered as "pieces" one after the other by a small kernel: whatever exception ends a piece is
 * recorded with all registers, and the next piece begins. System calls change page tables, and spaces, as kernels do. Calls and jumps backwards use fuel up. */
#ifndef TESTS_CPU_RANDOM_PROGRAM_H
#define TESTS_CPU_RANDOM_PROGRAM_H

#include "cpu/soak.h"
#include "../guest.h"

struct dice { uint64_t state; };

static inline uint32_t roll(struct dice *d, uint32_t sides)
{
    d->state = d->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((d->state >> 33) % sides);
}
static inline bool one_in(struct dice *d, uint32_t sides) { return roll(d, sides) == 0; }
static inline uint64_t pick(struct dice *d, const uint64_t *from, size_t count) { return from[roll(d, (uint32_t)count)]; }
#define PICK(d, ...) pick(d, (const uint64_t[]){ __VA_ARGS__ }, sizeof((const uint64_t[]){ __VA_ARGS__ }) / 8)

/* Linear addresses: parts of 2 MiB. FIXED is in other places, too: 2 and 4 GiB above, and at the ends of both halves. */
enum {
    WINDOW = 0x40000000, PART = 0x200000,
    DATA_GLOBAL = WINDOW,           /* each page a random frame with random rights; remapped by system calls       */
    DATA_PRIVATE = WINDOW + PART,   /* the same, but each space has its own                                         */
    DATA_FIXED = WINDOW + 2 * PART, /* never remapped                                                               */
    CODE_USER = WINDOW + 3 * PART,  /* each page of copy A or of copy B, as the space has it; remapped               */
    CODE_KERNEL = WINDOW + 4 * PART,/* even pages global and of copy A, the others each space's own                  */
    CODE_GLOBAL = WINDOW + 5 * PART,/* user code of copy A                                                           */
    WRITABLE = WINDOW + 6 * PART,   /* both copies, then a page for fuel and jump tables, then stacks                 */
};
enum { CODE_PAGES = 16, FRAMES = 32, FUEL = WRITABLE + 2 * CODE_PAGES * 4096, JUMPS = FUEL + 64, STACK = FUEL + 0x1000, STACK_END = STACK + 0x4000 };
enum { FUNCTIONS = CODE_PAGES / 2, PIECES = 16, PATCHES_MAX = 128 };
enum { KERNEL_CS = 0x08, KERNEL_SS = 0x10, USER_CS32 = 0x1b, USER_SS = 0x23, USER_CS = 0x2b };

struct piece { uint64_t rip, cs, flags, rsp, ss; };

struct program {
    uint8_t code[CODE_PAGES * 4096];
    uint32_t function[FUNCTIONS];   /* offsets of their starts                                      */
    bool wide[FUNCTIONS];           /* 64-bit code                                                  */
    uint32_t patch[PATCHES_MAX];    /* bytes that may be anything                                   */
    unsigned patches;
    uint64_t fs, gs;                /* segment bases                                                */
    bool shifts;                    /* some instructions leave OF undefined                         */
    struct piece piece[PIECES];
};

/* generate.c */
void program_make(struct program *, uint64_t seed);

/* machine.c: what a run came to: all that the guest could see. */
struct outcome {
    unsigned reason;
    uint64_t rip, hash, count, gpr[16];
    uint64_t log[256][32];          /* the last exceptions: what the kernel pushes (LOG_NAMES), CR2, the hash */
    uint8_t data[FRAMES * 4096], code[2 * CODE_PAGES * 4096], stacks[0x5000];
};
#define LOG_NAMES "RAX", "RCX", "RDX", "RBX", "RBP", "RSI", "RDI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15", \
    "vector", "error", "RIP", "CS", "RFLAGS", "RSP", "SS", "CR2", "hash"
/* False: without a soak, it was not at its end after some seconds of CPU time. */
bool program_run(const struct program *, uint64_t seed, const char *engine, const struct cpu_soak *, unsigned limit, struct outcome *);

#endif
