/* SPDX-License-Identifier: MIT */
/* Translated code: any bytes as a ring-0 program in 64-bit mode, with any registers, in lockstep - each run of translated code is interpreted as well, and both must have done
 * the same - and proved before it runs (guest.c). It ends at an exit, or after some blocks; translations of pages and code are dropped on the way. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tests/cpu/guest.h"
#include "cpu/soak.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CODE_MAX = 96, EXITS_MAX = 4, REGISTERS = 16 * 2 };

/* Registers that lead somewhere: a page's place each in memory, or a small number. */
static void registers_set(struct guest *g, const uint8_t *data)
{
    struct cpu_state *s = &g->vm.cpus[0]->state;
    for (unsigned i = 0; i < 16; i++) {
        uint64_t value = load_le16(data + 2 * i);
        s->gpr[i] = value & 1 ? value << 48 >> 48 : 0x400000 + (value >> 1) * 64;
    }
    s->cr4 |= CR4_OSXSAVE | CR4_FSGSBASE;
    s->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    for (unsigned i = 0; i < 16; i++)
        for (unsigned j = 0; j < 4; j++)
            s->vec[i].q[j] = load_le64(data + (i + j) % 8 * 4) * (i + 1);
    cpu_state_changed(g->vm.cpus[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct cpu_soak soak = { .tlb_every = 64, .code_every = 256, .kick_after = 100, .short_loops = true };
    struct guest g;
    if (size < REGISTERS + 1)
        return 0;
    setenv("CPU_ENGINE", "lockstep", 1);
    guest_make(&g, 1, 64);
    struct cpu *cpu = g.vm.cpus[0];
    g.vm.soak = &soak;
    size -= REGISTERS;
    guest_put(&g, GUEST_CODE, data + REGISTERS, size < CODE_MAX ? size : CODE_MAX);
    registers_set(&g, data);
    for (unsigned i = 0; i < EXITS_MAX; i++) {
        const hy_exit *exit = cpu_run(cpu);
        if (exit->reason == HY_EXIT_UNKNOWN && exit->native == HY_NATIVE_CHECK) {
            fprintf(stderr, "%.*s\n", (int)exit->u.unknown.len, (const char *)exit->u.unknown.raw);
            abort();
        }
        if (exit->reason == HY_EXIT_CRASH || exit->reason == HY_EXIT_KICK)
            break;
    }
    guest_free(&g);
    return 0;
}
