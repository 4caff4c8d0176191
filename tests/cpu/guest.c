/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cpu/translate/translate.h"

static uint64_t ticks(void *opaque)
{
    (void)opaque;
    return clock_ns();
}

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void pages_make(struct guest *g)
{
    enum { PRESENT_WRITE_USER = 7, LARGE = 0x80 };
    store_le64(g->bytes + 0x1000, 0x2000 | PRESENT_WRITE_USER);
    store_le64(g->bytes + 0x2000, 0x3000 | PRESENT_WRITE_USER);
    for (unsigned i = 0; i < 512; i++)
        store_le64(g->bytes + 0x3000 + i * 8, (uint64_t)i << 21 | LARGE | PRESENT_WRITE_USER);
}

void guest_make(struct guest *g, unsigned cpus, unsigned mode) { guest_make_soaked(g, cpus, mode, NULL); }

void guest_make_soaked(struct guest *g, unsigned cpus, unsigned mode, const struct cpu_soak *soak)
{
    struct err err = { 0 };
    memset(g, 0, sizeof *g);
    g->map = mem_map_new(&err);
    g->ram = mem_block_new(GUEST_RAM, &err);
    check(g->map && g->ram && !mem_map_add(g->map, 0, g->ram, 0, GUEST_RAM, MEM_R | MEM_W | MEM_X, &err));
    g->bytes = mem_block_host(g->ram);
    pages_make(g);
    const char *engine = getenv("CPU_ENGINE"); /* "interpret"; "translate": every block, before it has run; "lockstep": and interpreted as well */
    g->vm = (struct cpu_vm){ .map = g->map, .cpu_count = cpus, .tsc_hz = 1000000000, .ticks = ticks, .soak = soak };
    g->vm.interpret = engine && !strcmp(engine, "interpret");
    g->vm.lockstep = engine && !strcmp(engine, "lockstep");
    g->vm.verify = engine && strcmp(engine, "interpret") != 0;
    g->vm.count_tlb = getenv("CPU_COUNT_TLB");
    g->vm.hot = g->vm.lockstep || (engine && !strcmp(engine, "translate"));
    for (unsigned i = 0; i < cpus; i++) {
        check(!cpu_new(&g->vm, i, &g->vm.cpus[i], &err));
        guest_enter(g, i, mode, mode == 16 ? 0x7c00 : GUEST_CODE);
    }
}

void guest_free(struct guest *g)
{
    for (unsigned i = 0; i < g->vm.cpu_count; i++) {
        struct translate_statistics statistics = { 0 };
        if (g->vm.cpus[i])
            translate_statistics_get(g->vm.cpus[i], &statistics);
        if (statistics.refused)
            fprintf(stderr, "the verifier refuses translated code: %s\n", statistics.refusal);
        check(!statistics.refused);
        cpu_free(g->vm.cpus[i]);
    }
    cpu_vm_release(&g->vm);
    mem_map_free(g->map);
    mem_block_unref(g->ram);
}

static void segment_set(struct cpu *cpu, unsigned seg, unsigned mode)
{
    unsigned access = SEG_P | SEG_S | SEG_ACCESSED | 2 /* readable, writable */ | (seg == SEG_CS ? SEG_CODE : 0);
    if (mode == 64 && seg == SEG_CS)
        access |= SEG_L | SEG_G;
    else if (mode != 16)
        access |= SEG_DB | SEG_G;
    cpu->state.seg[seg] = (struct cpu_segment){ .limit = mode == 16 ? 0xffff : UINT32_MAX, .attributes = (uint16_t)access };
}

void guest_enter(struct guest *g, unsigned index, unsigned mode, uint64_t at)
{
    struct cpu *cpu = g->vm.cpus[index];
    struct cpu_state *s = &cpu->state;
    s->cr0 = CR0_ET | CR0_NE | (mode == 16 ? 0 : CR0_PE) | (mode == 64 ? CR0_PG : 0);
    s->cr3 = GUEST_PAGES;
    s->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | (mode == 64 ? CR4_PAE : 0);
    s->efer = mode == 64 ? EFER_LME | EFER_LMA | EFER_SCE : 0;
    for (unsigned seg = 0; seg < 6; seg++)
        segment_set(cpu, seg, mode);
    memset(s->gpr, 0, sizeof s->gpr);
    s->gpr[REG_RSP] = mode == 16 ? 0x7000 : GUEST_STACK - index * 0x1000;
    s->rip = at;
    s->cpl = 0;
    s->halted = 0;
    s->interrupt_shadow = 0;
    cpu_flags_set(cpu, 2);
    cpu_state_changed(cpu);
    cpu_tlb_flush_all(cpu);
}

void guest_put(struct guest *g, uint64_t at, const void *bytes, size_t len)
{
    check(!mem_load_image(g->map, at, bytes, len));
}

unsigned guest_run(struct guest *g, unsigned index)
{
    hy_exit *exit;
    do
        exit = cpu_run(g->vm.cpus[index]);
    while (exit->reason == HY_EXIT_NONE);
    if (exit->reason == HY_EXIT_UNKNOWN && exit->native == HY_NATIVE_CHECK)
        fprintf(stderr, "%.*s\n", (int)exit->u.unknown.len, (const char *)exit->u.unknown.raw);
    return exit->reason;
}
