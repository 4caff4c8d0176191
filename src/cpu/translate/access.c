/* SPDX-License-Identifier: MIT */
/* access.c - guest memory operands: linear address, fast TLB, host operand. See private.h. */
#include "cpu/translate/compile.h"

static struct fast_tlb *tlb_of(const struct compile *c)
{
    return c->cpu->translate.tlb[engine_key_set(c->block->key)];
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
    if (in->vsib || in->asize < 4 || (c->word == 4 && in->seg == INSN_CS)) /* which cannot be written */
        return false;
    if (in->base == INSN_RIP)
        return in->asize == 8 && rip_relative(c, in) == (int32_t)rip_relative(c, in);
    return true;
}

void access_scratch_changes(struct compile *c, int scratch)
{
    if (scratch == SCRATCH_1 || scratch == SCRATCH_2)
        c->held[scratch == SCRATCH_2] = NULL;
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

enum { SMALL_GROUP = 2 }; /* accesses of a group that is not worth a look-up in a small translation: its addend takes a store and loads */

/* A range of bytes to look up, and in it the access that is about to be made, at base + disp. */
struct range { int base; int32_t lo, size, disp; bool write; uint8_t own_size; bool own_write; };

/* The site of a missed access: `base` and `disp` say where C finds it. */
static uint32_t miss_site(struct compile *c, uint8_t *retry, const struct range *r, int base, int32_t disp)
{
    uint32_t number = site_new(c, r->own_write ? SITE_WRITE : SITE_READ);
    struct site *site = site_at(c, number);
    site->resume = (uint32_t)(retry - c->t->memory.write);
    site->size = (uint16_t)r->size;
    site->before = (uint16_t)(r->disp - r->lo);
    site->wants_write = r->write;
    site->masked = c->in.prefix & PFX_EVEX && evex_mask_register(c->in.payload);
    site->base = (uint8_t)base;
    site->target = disp;
    return number;
}

/* The stub that a missed access leaves by. */
static void miss_stub(struct compile *c, uint8_t *retry, const struct range *r)
{
    uint8_t *jump = emit_jump_if(c->e, CC_NE);
    stub_new(c, jump, miss_site(c, retry, r, r->base, r->disp));
}

/* The stub of an operand that is not aligned as the instruction wants: E0 knows what is to happen. */
static void emit_alignment(struct compile *c, int base, int32_t disp, unsigned size)
{
    struct emit *e = c->e;
    if ((uint32_t)disp & (size - 1)) {
        emit_add_to(e, SCRATCH_0, (unsigned)base, disp);
        base = SCRATCH_0;
    }
    emit_bytes(e, (uint8_t[]){ base > 7 ? 0x41 : 0x40, 0xf6, 0xc0 | ((unsigned)base & 7), (uint8_t)(size - 1) }, 4); /* TEST its low byte, imm8 */
    stub_new(c, emit_jump_if(e, CC_NE), site_new(c, SITE_INTERPRET));
}

void tlb_emit_hit(struct emit *e, struct cpu *cpu)
{
    if (cpu->vm->count_tlb)
        emit_op_memory(e, true, 0xff, 0, at_absolute(&cpu->translate.tlb_hits)); /* INC */
}

/* After flags_clobber(): looks the range up. SCRATCH_2 becomes its addend. */
static void emit_lookup(struct compile *c, uint8_t *retry, const struct range *r)
{
    struct emit *e = c->e;
    struct fast_tlb *tlb = tlb_of(c);
    access_scratch_changes(c, SCRATCH_1); /* on the way by the stub everything is lost but the guest's registers */
    access_scratch_changes(c, SCRATCH_2);
    emit_add_to(e, SCRATCH_2, (unsigned)r->base, r->lo);
    emit_op_register(e, true, 0xc1, 5, SCRATCH_2); /* SHR: the page number, times the size of an entry */
    emit_byte(e, 12 - 5);
    emit_op_register(e, false, 0x81, 4, SCRATCH_2); /* AND */
    emit_u32(e, (FAST_TLB_ENTRIES - 1) << 5);
    int64_t last = (int64_t)r->lo + r->size - 1;
    emit_add_to(e, SCRATCH_0, (unsigned)r->base, last == (int32_t)last ? (int32_t)last : r->lo);
    if (last != (int32_t)last)
        emit_add_to(e, SCRATCH_0, SCRATCH_0, r->size - 1);
    emit_op_register(e, true, 0xc1, 5, SCRATCH_0); /* SHR: the last byte's page number */
    emit_byte(e, 12);
    emit_op_memory(e, true, 0x3b, SCRATCH_0, at_base(SCRATCH_2, (int32_t)(intptr_t)(r->write ? &tlb->write_tag : &tlb->read_tag)));
    miss_stub(c, retry, r);
    emit_load(e, SCRATCH_2, at_base(SCRATCH_2, (int32_t)(intptr_t)&tlb->addend));
    tlb_emit_hit(e, c->cpu);
}
_Static_assert(sizeof(struct fast_tlb) == 1 << 5, "emit_lookup() scales by 32");

/* ---- small translations: by shared code ---------------------------------------------------------------------------------------------------------------------------- */

bool access_keeps_flags(struct compile *c)
{
    if (c->flags == FLAGS_NATIVE && !c->recipe.kind)
        return true;
    flags_clobber(c);
    return false;
}

/* SCRATCH_1 is the range's start. */
static uint32_t site_of(struct compile *c, uint8_t *retry, const struct range *r)
{
    return miss_site(c, retry, r, SCRATCH_1, r->disp - r->lo);
}

void access_call(struct compile *c, const uint8_t *shared, uint8_t *retry, bool write)
{
    site_call(c, site_of(c, retry, &(struct range){ SCRATCH_1, 0, 8, 0, write, 8, write }), shared);
}

static void call_range(struct compile *c, uint8_t *retry, const struct range *r, bool keeps)
{
    emit_add_to(c->e, SCRATCH_1, (unsigned)r->base, r->lo);
    emit_add_to(c->e, SCRATCH_0, SCRATCH_1, r->size - 1);
    site_call(c, site_of(c, retry, r), c->t->shared.range[engine_key_rights(c->block->key)][r->write][keeps]);
}

static unsigned size_index(unsigned size)
{
    unsigned i = 0;
    while (1u << i < size)
        i++;
    return i;
}

static struct host_memory call_alone(struct compile *c, uint8_t *retry, int base, int32_t disp, unsigned size, bool write, bool keeps)
{
    struct range r = { base, disp, (int32_t)size, disp, write, (uint8_t)size, write };
    if (size & (size - 1) || size > 1u << (SHARED_SIZES - 1)) {
        call_range(c, retry, &r, keeps);
        return at_indexed(SCRATCH_1, SCRATCH_2, 0, 0);
    }
    emit_add_to(c->e, SCRATCH_1, (unsigned)base, disp);
    site_call(c, site_of(c, retry, &r), c->t->shared.operand[engine_key_rights(c->block->key)][write][keeps][size_index(size)]);
    return at_base(SCRATCH_2, 0);
}

/* ---- all ------------------------------------------------------------------------------------------------------------------------------------------------------------ */

/* SCRATCH_2, an addend for `base`, becomes the host's address, for operands that are read and written: without index, processors (Intel's since Golden Cove) forward from
 * the last store at once and not after 6 cycles. For others it does not pay that the address takes a cycle longer. */
static void emit_host_address(struct compile *c, int base, int32_t disp) { emit_lea(c->e, SCRATCH_2, at_indexed(base, SCRATCH_2, 0, disp)); }

static struct host_memory lookup_alone(struct compile *c, uint8_t *retry, int base, int32_t disp, unsigned size, bool write)
{
    emit_lookup(c, retry, &(struct range){ base, disp, (int32_t)size, disp, write, (uint8_t)size, write });
    if (!write || !copy_updates_memory(&c->in))
        return at_indexed(base, SCRATCH_2, 0, disp);
    emit_host_address(c, base, 0);
    return at_base(SCRATCH_2, disp);
}

/* Flags are ready for a look-up; whether shared code is to keep RFLAGS. */
static bool begin(struct compile *c)
{
    if (c->small)
        return access_keeps_flags(c);
    flags_clobber(c);
    return false;
}

/* The register that holds the group's addend; a load, if it must, into the one that was not used last. */
static int emit_addend(struct compile *c, struct group *g)
{
    for (int i = 0; i < 2; i++)
        if (c->held[i] == g)
            return i ? SCRATCH_2 : SCRATCH_1;
    int free = c->held[1] ? 0 : 1;
    c->held[free] = g;
    int reg = free ? SCRATCH_2 : SCRATCH_1;
    emit_load(c->e, (unsigned)reg, at_absolute(&c->cpu->translate.addends[g - c->groups]));
    return reg;
}

/* Makes the addend of a group with updates a host address: that of its byte `origin`. */
static void emit_origin(struct compile *c, const struct member *m, int base, int32_t disp)
{
    bool moved = disp != m->at; /* the register, since the group's first access */
    m->group->origin = moved ? m->at : 0;
    emit_host_address(c, base, moved ? disp : 0);
}

/* A member of a group that has more: the first looks the whole range up. */
static struct host_memory lookup_group(struct compile *c, const struct member *m, int base, int32_t disp, unsigned size, bool write)
{
    struct group *g = m->group;
    if (!g->checked) {
        bool keeps = begin(c);
        int32_t lo = disp + (g->lo - m->at);
        struct range r = { base, lo, g->hi - g->lo, disp, g->write, (uint8_t)size, write };
        if (c->small)
            call_range(c, c->e->at, &r, keeps);
        else
            emit_lookup(c, c->e->at, &r);
        if (g->updates)
            emit_origin(c, m, base, disp);
        emit_store(c->e, at_absolute(&c->cpu->translate.addends[g - c->groups]), SCRATCH_2);
        g->checked = true;
        c->held[1] = g;
    }
    int addend = emit_addend(c, g);
    return g->updates ? at_base(addend, m->at - g->origin) : at_indexed(base, addend, 0, disp);
}

static bool is_shared(const struct compile *c, const struct member *m) { return m->group && m->group->count > (c->small ? SMALL_GROUP : 1u); }

struct host_memory access_at(struct compile *c, struct member m, int base, int32_t disp, unsigned size, bool write)
{
    if (is_shared(c, &m))
        return lookup_group(c, &m, base, disp, size, write);
    bool keeps = begin(c);
    uint8_t *retry = c->e->at;
    return c->small ? call_alone(c, retry, base, disp, size, write, keeps) : lookup_alone(c, retry, base, disp, size, write);
}

/* Whether an operand of the group needs no alignment check any more. */
static bool is_known_aligned(const struct group *g, int32_t at)
{
    return g->aligned && ((uint32_t)at & 15) == g->residue;
}

static struct host_memory shared_operand(struct compile *c, const struct insn *in, unsigned size, bool write, bool aligned)
{
    struct member *m = &c->plans[c->u->number].operand;
    struct group *g = m->group;
    int base = register_of(in->base);
    if (aligned && (size != 16 || !is_known_aligned(g, m->at))) {
        flags_clobber(c);
        emit_alignment(c, base, in->disp, size);
        if (size == 16)
            g->aligned = true, g->residue = (uint8_t)((uint32_t)m->at & 15);
    }
    return lookup_group(c, m, base, in->disp, size, write);
}

static bool has_segment_base(const struct insn *in) { return in->seg == INSN_FS || in->seg == INSN_GS; }

/* SCRATCH_1 += the base of FS or GS. In 32-bit code it must be a segment that can be read and written everywhere; else E0 knows what is to happen. */
static void emit_segment(struct compile *c, unsigned segment)
{
    enum { MASK = SEG_P | SEG_S | SEG_CODE | SEG_EXPAND_DOWN | SEG_WRITABLE, WANT = SEG_P | SEG_S | SEG_WRITABLE };
    struct emit *e = c->e;
    const struct cpu_segment *s = &c->cpu->state.seg[segment];
    if (!compile_is_wide(c)) {
        emit_op_memory(e, false, 0x83, 7, at_absolute(&s->limit)); /* CMP dword, -1 */
        emit_byte(e, 0xff);
        stub_new(c, emit_jump_if(e, CC_NE), site_new(c, SITE_INTERPRET));
        emit_op_memory(e, false, 0x0fb7, SCRATCH_0, at_absolute(&s->attributes)); /* MOVZX */
        emit_op_register(e, false, 0x81, 4, SCRATCH_0); /* AND, CMP */
        emit_u32(e, MASK);
        emit_op_register(e, false, 0x81, 7, SCRATCH_0);
        emit_u32(e, WANT);
        stub_new(c, emit_jump_if(e, CC_NE), site_new(c, SITE_INTERPRET));
    }
    emit_load(e, SCRATCH_2, at_absolute(&s->base));
    emit_op_memory(e, compile_is_wide(c), 0x8d, SCRATCH_1, at_indexed(SCRATCH_1, SCRATCH_2, 0, 0)); /* LEA */
}

struct host_memory access_operand(struct compile *c, const struct insn *in, unsigned size, bool write, bool aligned)
{
    if (is_shared(c, &c->plans[c->u->number].operand))
        return shared_operand(c, in, size, write, aligned);
    if (aligned)
        flags_clobber(c);
    bool keeps = begin(c);
    struct emit *e = c->e;
    uint8_t *retry = e->at;
    int base = SCRATCH_1;
    int32_t disp = 0;
    access_scratch_changes(c, SCRATCH_1);
    access_scratch_changes(c, SCRATCH_2);
    if (in->index == INSN_NO_REG && in->base != INSN_NO_REG && in->base != INSN_RIP && in->asize == c->word && !has_segment_base(in)) {
        base = register_read(c, in->base, SCRATCH_1);
        disp = in->disp;
    } else {
        emit_sum(c, in, SCRATCH_1, in->asize == 8);
    }
    if (has_segment_base(in))
        emit_segment(c, in->seg);
    if (aligned)
        emit_alignment(c, base, disp, size);
    if (c->small)
        return call_alone(c, retry, base, disp, size, write, keeps);
    return lookup_alone(c, retry, base, disp, size, write);
}

struct host_memory access_scratch(struct compile *c, uint8_t *retry, unsigned size)
{
    access_scratch_changes(c, SCRATCH_1);
    access_scratch_changes(c, SCRATCH_2);
    return c->small ? call_alone(c, retry, SCRATCH_1, 0, size, false, false) : lookup_alone(c, retry, SCRATCH_1, 0, size, false);
}

void access_addend(struct compile *c, int base, unsigned size, bool write)
{
    emit_lookup(c, c->e->at, &(struct range){ base, 0, (int32_t)size, 0, write, (uint8_t)size, write });
}

struct host_memory access_bit_string(struct compile *c, const struct insn *in, bool write)
{
    struct emit *e = c->e;
    bool wide = in->opsize == 8;
    flags_clobber(c);
    uint8_t *retry = e->at;
    access_scratch_changes(c, SCRATCH_1);
    access_scratch_changes(c, SCRATCH_2);
    emit_sum(c, in, SCRATCH_1, true);
    if (has_segment_base(in))
        emit_op_memory(e, true, 0x03, SCRATCH_1, at_absolute(&c->cpu->state.seg[in->seg].base));
    int bit = register_of(in->opnd[1].reg);
    if (bit == NO_REGISTER)
        emit_op_memory(e, true, wide ? 0x8b : 0x63 /* MOVSXD */, SCRATCH_0, register_slot(c, in->opnd[1].reg));
    else
        emit_op_register(e, true, wide ? 0x8b : 0x63, SCRATCH_0, (unsigned)bit);
    emit_op_register(e, true, 0xc1, 7, SCRATCH_0); /* SAR: which word */
    emit_byte(e, wide ? 6 : 5);
    emit_lea(e, SCRATCH_1, at_indexed(SCRATCH_1, SCRATCH_0, wide ? 3 : 2, 0));
    if (c->small)
        return call_alone(c, retry, SCRATCH_1, 0, in->opsize, write, false);
    return lookup_alone(c, retry, SCRATCH_1, 0, in->opsize, write);
}
