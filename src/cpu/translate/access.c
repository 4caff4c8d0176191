/* SPDX-License-Identifier: MIT */
/* access.c - guest memory operands: linear address, fast TLB, host operand. See private.h. */
#include "cpu/translate/compile.h"

static struct fast_tlb *tlb_of(const struct compile *c)
{
    return c->cpu->translate.tlb[engine_key_rights(c->block->key)];
}

/* Displacement of a RIP-relative operand from translate_state.page. */
static int64_t rip_relative(const struct compile *c, const struct insn *in)
{
    return (int64_t)c->block->start + c->u->offset + c->u->length + in->disp;
}

bool access_is_possible(const struct compile *c, const struct insn *in)
{
    if (!in->has_mem)
        return true;
    if (in->vsib || in->asize < 4)
        return false;
    if (in->base == INSN_RIP)
        return in->asize == 8 && rip_relative(c, in) == (int32_t)rip_relative(c, in);
    return true;
}

/* to = the sum of the address's parts, cut to the address size; `to` may be any register. */
static void emit_sum(struct compile *c, const struct insn *in, int to, bool wide)
{
    struct emit *e = c->e;
    if (in->base == INSN_RIP) {
        emit_load(e, (unsigned)to, at_absolute(&c->cpu->translate.page));
        emit_op_memory(e, wide, 0x8d, (unsigned)to, at_base(to, (int32_t)rip_relative(c, in)));
        return;
    }
    int base = in->base == INSN_NO_REG ? NO_REGISTER : register_read(c, in->base, SCRATCH_1);
    int index = in->index == INSN_NO_REG ? NO_REGISTER : register_read(c, in->index, SCRATCH_2);
    emit_op_memory(e, wide, 0x8d, (unsigned)to, at_indexed(base, index, in->scale, in->disp));
}

void access_effective(struct compile *c, const struct insn *in, int to, bool wide)
{
    emit_sum(c, in, to, wide);
}

/* The stub that a missed access leaves by; base + disp is the linear address. */
static void miss_stub(struct compile *c, bool write, unsigned size, uint8_t *retry, int base, int32_t disp)
{
    uint8_t *jump = emit_jump_if(c->e, CC_NE);
    uint32_t site = site_new(c, write ? SITE_WRITE : SITE_READ);
    site_at(c, site)->resume = (uint32_t)(retry - c->t->memory.write);
    site_at(c, site)->size = (uint8_t)size;
    struct stub *stub = stub_new(c, jump, site);
    stub->base = base;
    stub->disp = disp;
}

/* The stub of an operand that is not aligned as the instruction wants: E0 knows what is to happen. */
static void emit_alignment(struct compile *c, int base, int32_t disp, unsigned size)
{
    struct emit *e = c->e;
    emit_add_to(e, SCRATCH_0, (unsigned)base, disp);
    emit_bytes(e, (uint8_t[]){ 0x41, 0xf6, 0xc0 | (SCRATCH_0 & 7), (uint8_t)(size - 1) }, 4); /* TEST R10B, imm8 */
    stub_new(c, emit_jump_if(e, CC_NE), site_new(c, SITE_INTERPRET));
}

/* After flags_clobber(): looks base + disp up. Answers the operand; SCRATCH_2 is its addend. */
static struct host_memory emit_lookup(struct compile *c, uint8_t *retry, int base, int32_t disp, unsigned size, bool write)
{
    struct emit *e = c->e;
    struct fast_tlb *tlb = tlb_of(c);
    emit_add_to(e, SCRATCH_2, (unsigned)base, disp);
    emit_op_register(e, true, 0xc1, 5, SCRATCH_2); /* SHR: the page number, times the size of an entry */
    emit_byte(e, 12 - 5);
    emit_op_register(e, false, 0x81, 4, SCRATCH_2); /* AND */
    emit_u32(e, (FAST_TLB_ENTRIES - 1) << 5);
    if ((int64_t)disp + size - 1 == (int32_t)((uint32_t)disp + size - 1)) {
        emit_add_to(e, SCRATCH_0, (unsigned)base, disp + (int32_t)size - 1);
    } else {
        emit_add_to(e, SCRATCH_0, (unsigned)base, disp);
        emit_add_to(e, SCRATCH_0, SCRATCH_0, (int32_t)size - 1);
    }
    emit_op_register(e, true, 0xc1, 5, SCRATCH_0); /* SHR: the last byte's page number */
    emit_byte(e, 12);
    struct host_memory tag = at_base(SCRATCH_2, (int32_t)(intptr_t)(write ? &tlb->write_tag : &tlb->read_tag));
    emit_op_memory(e, true, 0x3b, SCRATCH_0, tag);
    miss_stub(c, write, size, retry, base, disp);
    emit_load(e, SCRATCH_2, at_base(SCRATCH_2, (int32_t)(intptr_t)&tlb->addend));
    return at_indexed(base, SCRATCH_2, 0, disp);
}
_Static_assert(sizeof(struct fast_tlb) == 1 << 5, "emit_lookup() scales by 32");

struct host_memory access_at(struct compile *c, int base, int32_t disp, unsigned size, bool write)
{
    flags_clobber(c);
    return emit_lookup(c, c->e->at, base, disp, size, write);
}

static bool has_segment_base(const struct insn *in) { return in->seg == INSN_FS || in->seg == INSN_GS; }

struct host_memory access_operand(struct compile *c, const struct insn *in, unsigned size, bool write, bool aligned)
{
    flags_clobber(c);
    struct emit *e = c->e;
    uint8_t *retry = e->at;
    int base = SCRATCH_1;
    int32_t disp = 0;
    if (in->index == INSN_NO_REG && in->base != INSN_NO_REG && in->base != INSN_RIP && in->asize == 8 && !has_segment_base(in)) {
        base = register_read(c, in->base, SCRATCH_1);
        disp = in->disp;
    } else {
        emit_sum(c, in, SCRATCH_1, in->asize == 8);
    }
    if (has_segment_base(in))
        emit_op_memory(e, true, 0x03, SCRATCH_1, at_absolute(&c->cpu->state.seg[in->seg].base));
    if (aligned)
        emit_alignment(c, base, disp, size);
    return emit_lookup(c, retry, base, disp, size, write);
}
