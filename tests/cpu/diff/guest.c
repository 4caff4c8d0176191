/* SPDX-License-Identifier: MIT */
/*
 * Cases on the software CPU: a guest in 64-bit mode whose linear address space shows the same pages as the host's child process, and whose
 * exceptions all lead to a HLT in a kernel page. So a result is what the guest's own exception frame says, delivered the architectural way.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "diff.h"

enum {
    KERNEL_SIZE = 0x4000,
    HANDLER_STEP = 16,
    CS_KERNEL = 0x10, TSS_SELECTOR = 0x40,
    /* guest-physical */
    PHYS_PML4 = 0, PHYS_PDPT = 0x1000, PHYS_PD = 0x2000, PHYS_PT = 0x3000 /* code, data, kernel: one page each */,
    PHYS_KERNEL_PDPT = 0x6000, PHYS_KERNEL_PD = 0x7000,
    PHYS_CODE = 0x8000, PHYS_DATA = PHYS_CODE + CODE_SIZE, PHYS_KERNEL = PHYS_DATA + DATA_SIZE + CONST_SIZE, PHYS_SIZE = PHYS_KERNEL + KERNEL_SIZE,
    /* SDM table 4-19; accessed and dirty are set already */
    PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_AD = 0x60,
};
#define PTE_NX (UINT64_C(1) << 63)

/* Linear; supervisor only; in the upper half, where the host's kernel is as well: a random address there is a #PF on both. */
#define KERNEL_BASE UINT64_C(0xffffb5a735a7c000)
#define KERNEL_HANDLERS KERNEL_BASE
#define KERNEL_IDT (KERNEL_BASE + 0x1000)
#define KERNEL_GDT (KERNEL_BASE + 0x2000)
#define KERNEL_TSS (KERNEL_BASE + 0x2100)
#define KERNEL_STACK (KERNEL_BASE + 0x4000)

struct guest {
    struct mem_map *map;
    struct mem_block *block;
    uint8_t *memory;
    struct cpu_vm vm;
    struct cpu *cpu;
    struct cpu_state fresh; /* what every case starts from */
    uint64_t code_at;       /* bytes of the last case that are not filler */
    unsigned code_len;
};

static void put64(struct guest *g, uint64_t physical, uint64_t value)
{
    memcpy(g->memory + physical, &value, 8);
}

static uint64_t get64(const struct guest *g, uint64_t physical)
{
    uint64_t value;
    memcpy(&value, g->memory + physical, 8);
    return value;
}

/* ---- address space ---- */

static void map_table(struct guest *g, uint64_t table, unsigned index, uint64_t next)
{
    put64(g, table + (index & 511) * 8, next | PTE_P | PTE_W | PTE_U | PTE_AD);
}

static void map_pages(struct guest *g, uint64_t pd, unsigned table, uint64_t linear, uint64_t physical, uint64_t size, uint64_t flags)
{
    uint64_t pt = PHYS_PT + 0x1000u * table;
    map_table(g, pd, (unsigned)(linear >> 21), pt);
    for (uint64_t at = 0; at < size; at += 0x1000)
        put64(g, pt + ((linear + at) >> 12 & 511) * 8, (physical + at) | flags | PTE_P | PTE_AD);
}

static void make_tables(struct guest *g)
{
    map_table(g, PHYS_PML4, 0, PHYS_PDPT);
    map_table(g, PHYS_PDPT, 0, PHYS_PD);
    map_table(g, PHYS_PML4, (unsigned)(KERNEL_BASE >> 39), PHYS_KERNEL_PDPT);
    map_table(g, PHYS_KERNEL_PDPT, (unsigned)(KERNEL_BASE >> 30), PHYS_KERNEL_PD);
    map_pages(g, PHYS_PD, 0, CODE_BASE, PHYS_CODE, CODE_SIZE, PTE_U);
    map_pages(g, PHYS_PD, 1, DATA_BASE, PHYS_DATA, DATA_SIZE, PTE_U | PTE_W | PTE_NX);
    map_pages(g, PHYS_PD, 1, CONST_BASE, PHYS_DATA + DATA_SIZE, CONST_SIZE, PTE_U | PTE_NX);
    map_pages(g, PHYS_KERNEL_PD, 2, KERNEL_BASE, PHYS_KERNEL, KERNEL_SIZE, PTE_W);
}

/* ---- the kernel: a HLT for each vector ---- */

static void make_kernel(struct guest *g)
{
    memset(g->memory + PHYS_CODE, FILLER, CODE_SIZE);
    memset(g->memory + PHYS_KERNEL, FILLER, 0x1000);
    for (unsigned vector = 0; vector < 32; vector++) { /* 64-bit interrupt gates, SDM vol. 3 figure 6-8; DPL 3 for #BP and #OF */
        uint64_t handler = KERNEL_HANDLERS + HANDLER_STEP * vector, gate = PHYS_KERNEL + 0x1000 + 16 * vector;
        uint64_t type = vector == 3 || vector == 4 ? 0xee00 : 0x8e00;
        put64(g, gate, (handler & 0xffff) | (uint64_t)CS_KERNEL << 16 | type << 32 | (handler >> 16 & 0xffff) << 48);
        put64(g, gate + 8, handler >> 32);
    }
    uint64_t gdt = PHYS_KERNEL + 0x2000;
    put64(g, gdt + 0x08, 0x00cf9b000000ffff); /* as Linux has them */
    put64(g, gdt + 0x10, 0x00af9b000000ffff);
    put64(g, gdt + 0x18, 0x00cf93000000ffff);
    put64(g, gdt + 0x20, 0x00cffb000000ffff);
    put64(g, gdt + 0x28, 0x00cff3000000ffff);
    put64(g, gdt + 0x30, 0x00affb000000ffff);
    put64(g, gdt + 0x40, 0x67 | (KERNEL_TSS & 0xffffff) << 16 | UINT64_C(0x8b) << 40 | (KERNEL_TSS >> 24 & 0xff) << 56);
    put64(g, gdt + 0x48, KERNEL_TSS >> 32);
    put64(g, gdt + 0x78, 0x0040f50000000000);                        /* expands down; its limit is the CPU's number there, here 0 */
    put64(g, PHYS_KERNEL + 0x2100 + 4, KERNEL_STACK);                /* RSP0 */
    put64(g, PHYS_KERNEL + 0x2100 + 0x60, UINT64_C(0x68) << 48);     /* I/O map base: beyond the limit, no port allowed */
}

static void make_state(struct cpu_state *s)
{
    s->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
    s->cr3 = PHYS_PML4;
    s->cr4 = CR4_PAE | CR4_PGE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE | CR4_UMIP | CR4_SMEP | CR4_SMAP;
    s->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    s->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    s->cpl = 3;
    struct cpu_segment data = { .limit = 0xffffffff, .selector = DS_ALL, .attributes = SEG_P | 3 << SEG_DPL_SHIFT | SEG_S | SEG_WRITABLE | SEG_ACCESSED | SEG_DB | SEG_G };
    s->seg[SEG_DS] = s->seg[SEG_ES] = s->seg[SEG_SS] = data;
    s->seg[SEG_FS] = s->seg[SEG_GS] = s->seg[SEG_LDTR] = (struct cpu_segment){ 0 };
    s->seg[SEG_TR] = (struct cpu_segment){ .base = KERNEL_TSS, .limit = 0x67, .selector = TSS_SELECTOR, .attributes = SEG_P | 0xb };
    s->gdtr = (struct cpu_segment){ .base = KERNEL_GDT, .limit = 0x7f };
    s->idtr = (struct cpu_segment){ .base = KERNEL_IDT, .limit = 32 * 16 - 1 };
    s->halted = 0;
}

static uint64_t ticks(void *opaque)
{
    (void)opaque;
    return 0;
}

/* All of it that the host has. */
static void offer_avx512(struct cpu *cpu)
{
    uint32_t out[4];
    cpu_cpuid(cpu, 7, 0, out);
    struct hy_cpuid leaves[2] = { { 7, 0, 1, out[0], out[1] | 0xd0230000, out[2] | 0x5842, out[3] }, { 7, 1, 1, 0x20, 0, 0, 0 } };
    cpu_cpuid_set(cpu, leaves, 2, NULL);
}

static bool make_cpu(struct guest *g, bool translate)
{
    struct err err = ERR_NONE;
    g->map = mem_map_new(&err);
    g->block = mem_block_new(PHYS_SIZE, &err);
    if (!g->map || !g->block || mem_map_add(g->map, 0, g->block, 0, PHYS_SIZE, MEM_R | MEM_W | MEM_X, &err) != 0)
        return false;
    g->memory = mem_block_host(g->block);
    make_tables(g);
    make_kernel(g);
    g->vm = (struct cpu_vm){ .map = g->map, .cpu_count = 1, .tsc_hz = 1000000000, .ticks = ticks, .interpret = !translate, .hot = translate };
    if (cpu_new(&g->vm, 0, &g->cpu, &err) != 0)
        return false;
    offer_avx512(g->cpu);
    g->fresh = g->cpu->state;
    make_state(&g->fresh);
    if (cpu_has(g->cpu, FEATURE_AVX512F))
        g->fresh.xcr0 |= XCR0_ZMM;
    return true;
}

struct guest *guest_new(bool translate)
{
    struct guest *g = calloc(1, sizeof *g);
    if (g && make_cpu(g, translate))
        return g;
    guest_free(g);
    return NULL;
}

void guest_free(struct guest *g)
{
    if (!g)
        return;
    if (g->cpu)
        cpu_free(g->cpu);
    cpu_vm_release(&g->vm);
    mem_map_free(g->map);
    mem_block_unref(g->block);
    free(g);
}

/* ---- a case ---- */

static void load_code(struct guest *g, const struct diff_case *c)
{
    uint64_t at = PHYS_CODE + (c->regs.rip - CODE_BASE);
    memset(g->memory + g->code_at, FILLER, g->code_len);
    mem_touched(g->block, g->code_at, g->code_len);
    memcpy(g->memory + at, c->code, c->code_len);
    mem_touched(g->block, at, c->code_len);
    g->code_at = at;
    g->code_len = c->code_len;
    fill_memory(c, g->memory + PHYS_DATA);
    mem_touched(g->block, PHYS_DATA, DATA_SIZE + CONST_SIZE);
}

static void load_state(struct guest *g, const struct diff_case *c)
{
    struct cpu_state *s = &g->cpu->state;
    const struct diff_regs *r = &c->regs;
    *s = g->fresh;
    memcpy(s->gpr, r->gpr, sizeof s->gpr);
    s->rip = r->rip;
    s->seg[SEG_FS].base = r->fs_base;
    s->seg[SEG_GS].base = r->gs_base;
    uint16_t kind = c->mode == CPU_MODE_64 ? SEG_L : SEG_DB;
    s->seg[SEG_CS] = (struct cpu_segment){ .limit = 0xffffffff, .selector = r->cs,
        .attributes = SEG_P | 3 << SEG_DPL_SHIFT | SEG_S | SEG_CODE | SEG_READABLE | SEG_ACCESSED | SEG_G | kind };
    memcpy(s->vec, r->vec, sizeof s->vec);
    memcpy(s->k, r->k, sizeof s->k);
    memcpy(s->zmm_high, r->zmm_high, sizeof s->zmm_high);
    memcpy(s->zmm16, r->zmm16, sizeof s->zmm16);
    s->mxcsr = r->mxcsr;
    unsigned top = r->fsw >> 11 & 7;
    s->x87 = (struct cpu_x87){ .fcw = r->fcw, .fsw = r->fsw, .fop = r->fop, .empty = (uint8_t)~r->tags, .fip = r->fip, .fdp = r->fdp };
    for (unsigned i = 0; i < 8; i++)
        s->x87.r[(top + i) & 7] = r->st[i];
    cpu_flags_set(g->cpu, r->rflags);
    cpu_state_changed(g->cpu);
}

static bool has_error_code(unsigned vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

/* The state before the exception, from the handler's registers and the frame on its stack. */
static void save_result(struct guest *g, struct diff_result *out)
{
    const struct cpu_state *s = &g->cpu->state;
    struct diff_regs *r = &out->regs;
    memset(out, 0, offsetof(struct diff_result, memory));
    memcpy(r->gpr, s->gpr, sizeof r->gpr);
    out->vector = (uint8_t)((s->rip - KERNEL_HANDLERS) / HANDLER_STEP);
    uint64_t frame = PHYS_KERNEL + (s->gpr[INSN_RSP] - KERNEL_BASE);
    if (s->gpr[INSN_RSP] - KERNEL_BASE > KERNEL_SIZE - 40)
        return; /* no frame: everything will differ */
    if (has_error_code(out->vector)) {
        out->error = (uint32_t)get64(g, frame);
        frame += 8;
    }
    out->address = out->vector == 14 ? s->cr2 : 0;
    r->rip = get64(g, frame);
    r->cs = (uint16_t)get64(g, frame + 8);
    r->rflags = get64(g, frame + 16);
    r->gpr[INSN_RSP] = get64(g, frame + 24);
    r->ss = (uint16_t)get64(g, frame + 32);
    r->ds = s->seg[SEG_DS].selector;
    r->es = s->seg[SEG_ES].selector;
    r->fs = s->seg[SEG_FS].selector;
    r->gs = s->seg[SEG_GS].selector;
    r->fs_base = s->seg[SEG_FS].base;
    r->gs_base = s->seg[SEG_GS].base;
    memcpy(r->vec, s->vec, sizeof r->vec);
    memcpy(r->k, s->k, sizeof r->k);
    memcpy(r->zmm_high, s->zmm_high, sizeof r->zmm_high);
    memcpy(r->zmm16, s->zmm16, sizeof r->zmm16);
    r->mxcsr = s->mxcsr;
    r->fcw = s->x87.fcw;
    r->fsw = s->x87.fsw;
    r->fop = s->x87.fop;
    r->tags = (uint8_t)~s->x87.empty;
    r->fip = s->x87.fip;
    r->fdp = s->x87.fdp;
    for (unsigned i = 0; i < 8; i++)
        r->st[i] = s->x87.r[((r->fsw >> 11 & 7) + i) & 7];
    memcpy(out->memory, g->memory + PHYS_DATA, DATA_SIZE);
}

void guest_run(struct guest *g, const struct diff_case *c, struct diff_result *out)
{
    load_code(g, c);
    load_state(g, c);
    hy_exit *e = cpu_run(g->cpu);
    cpu_state_flush(g->cpu);
    save_result(g, out);
    if (e->reason != HY_EXIT_HALT)
        out->vector = (uint8_t)(0x80 + e->reason); /* not a vector: the report shows it */
}
