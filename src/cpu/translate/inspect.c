/* SPDX-License-Identifier: MIT */
/* inspect.c - what translations tell of themselves: at which instructions E0 had to help, and a map of the code for perf and gdb. */
#include <stdio.h>
#include <unistd.h>

#include "cpu/translate/private.h"

/* ---- where E0 had to help -------------------------------------------------------------------------------------------------------------------------------------------- */

static unsigned op_at(const struct site *site)
{
    const struct block *b = site->owner->block;
    const struct uop *u = &b->uops[site->uop];
    struct insn in;
    return insn_decode(b->code + u->offset, u->length, (enum cpu_mode)(b->key & 3), &in) > 0 ? in.op : OP_INVALID;
}

static void left_add(const struct translator *t, const struct region *r, uint64_t by_op[OP_COUNT])
{
    for (uint32_t i = r->site_first; i < r->site_end; i++)
        if (t->left[i])
            by_op[op_at(&t->sites[i])] += t->left[i];
}

void inspect_region(struct translator *t, const struct region *r)
{
    left_add(t, r, t->left_by_op);
    memset(t->left + r->site_first, 0, (r->site_end - r->site_first) * sizeof *t->left);
}

void translate_left_get(const struct cpu *cpu, uint64_t by_op[OP_COUNT])
{
    memset(by_op, 0, OP_COUNT * sizeof *by_op);
    if (!cpu->translator)
        return;
    memcpy(by_op, cpu->translator->left_by_op, sizeof cpu->translator->left_by_op);
    for (unsigned i = 0; i < REGIONS; i++)
        left_add(cpu->translator, &cpu->translator->regions[i], by_op);
}

/* ---- the map of the code ----------------------------------------------------------------------------------------------------------------------------------------------- */

/* A line is written at once, so that vCPUs share the file; one that the disk has no room for is lost. */
void inspect_made(struct cpu *cpu, const uint8_t *start, uint64_t rip, const struct translation *made)
{
    struct translator *t = cpu->translator;
    uint32_t size = (uint32_t)(t->emit.at - start);
    char line[96];
    t->statistics.host_bytes += size;
    if (!cpu->vm->code_map)
        return;
    int len = snprintf(line, sizeof line, "%llx %x guest %016llx %s%u\n", (unsigned long long)(uintptr_t)(start + t->emit.run), size, (unsigned long long)rip,
                       engine_key_rights(made->block->key) == TLB_USER ? "user" : "kernel", 16u << (made->block->key & 3));
    if (write(cpu->vm->code_map, line, (size_t)len) < 0)
        return;
}
