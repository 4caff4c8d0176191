/* SPDX-License-Identifier: MIT */
/* emit_evex.h - writing EVEX instructions, and VEX ones, of a decoded form, with other registers. SDM volume 2, 2.3 and 2.7. */
#ifndef CPU_TRANSLATE_EMIT_EVEX_H
#define CPU_TRANSLATE_EMIT_EVEX_H

#include "cpu/insn.h"
#include "cpu/translate/emit.h"

/* Registers of an encoding's fields, 0 to 31. rm, or memory. */
struct evex_registers { int reg, rm, vvvv; bool has_memory; struct host_memory memory; };

/* As the instruction has them; memory is the caller's affair. */
static inline struct evex_registers evex_registers_of(const struct insn *in)
{
    struct evex_registers r = { in->modrm >> 3 & 7, in->modrm & 7, 0, false, { NO_REGISTER, NO_REGISTER, 0, 0 } };
    for (unsigned i = 0; i < in->nopnd; i++) {
        const struct insn_opnd *o = &in->opnd[i];
        if (o->kind != OPND_XMM && o->kind != OPND_MASK && o->kind != OPND_GPR)
            continue;
        if (o->field == FIELD_REG)
            r.reg = o->reg;
        else if (o->field == FIELD_RM)
            r.rm = o->reg;
        else if (o->field == FIELD_VVVV)
            r.vvvv = o->reg;
    }
    return r;
}

/* The same with a displacement that is never scaled: 32 bits, or none. */
static inline void emit_modrm_wide(struct emit *e, unsigned reg, const struct host_memory *m)
{
    unsigned field = (reg & 7) << 3, index = m->index == NO_REGISTER ? 4u : (unsigned)m->index & 7, base = (unsigned)m->base & 7;
    if (m->base == NO_REGISTER) {
        emit_modrm(e, reg, m);
        return;
    }
    unsigned mod = m->disp == 0 && base != 5 ? 0 : 2;
    if (m->index != NO_REGISTER || base == 4) {
        emit_byte(e, mod << 6 | field | 4);
        emit_byte(e, m->scale << 6 | index << 3 | base);
    } else {
        emit_byte(e, mod << 6 | field | base);
    }
    if (mod)
        emit_u32(e, (uint32_t)m->disp);
}

static inline void emit_evex(struct emit *e, const uint8_t payload[3], unsigned opcode, const struct evex_registers *r)
{
    unsigned rm = (unsigned)r->rm, reg = (unsigned)r->reg, vvvv = (unsigned)r->vvvv;
    unsigned rex = (reg & 8) >> 1 | (r->has_memory ? rex_of(false, 0, &r->memory) : (rm & 16) >> 3 | (rm & 8) >> 3);
    emit_byte(e, 0x62);
    emit_byte(e, (~rex & 7) << 5 | (reg & 16 ? 0 : 0x10) | (payload[0] & 7));
    emit_byte(e, (payload[1] & 0x87) | (~vvvv & 15) << 3);
    emit_byte(e, (payload[2] & 0xf7) | (vvvv & 16 ? 0 : 8));
    emit_byte(e, opcode);
    if (r->has_memory)
        emit_modrm_wide(e, reg, &r->memory);
    else
        emit_byte(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

/* An EVEX instruction, or a VEX one of opmask registers; its immediate too. */
static inline void emit_evex_or_vex(struct emit *e, const struct insn *in, const struct evex_registers *r)
{
    if (in->prefix & PFX_EVEX) {
        emit_evex(e, in->payload, in->opcode, r);
    } else {
        unsigned rex = (unsigned)(r->reg > 7) << 2 | (r->has_memory ? rex_of(false, 0, &r->memory) : r->rm > 7);
        emit_byte(e, 0xc4);
        emit_byte(e, (~rex & 7) << 5 | in->map);
        emit_byte(e, (in->payload[1] & 0x87) | (~(unsigned)r->vvvv & 15) << 3);
        emit_byte(e, in->opcode);
        if (r->has_memory)
            emit_modrm(e, (unsigned)r->reg, &r->memory);
        else
            emit_byte(e, 0xc0 | ((unsigned)r->reg & 7) << 3 | ((unsigned)r->rm & 7));
    }
    if (in->imm_len)
        emit_byte(e, (unsigned)in->imm & 0xff);
}

enum { ZMM_LOAD = 0x10, ZMM_STORE = 0x11 };

/* VMOVUPS zmm */
static inline void emit_zmm_move(struct emit *e, unsigned opcode, unsigned reg, struct host_memory m)
{
    static const uint8_t payload[3] = { 1, 4, 0x40 }; /* map 1, no prefix, W0; L'L = 2 */
    emit_evex(e, payload, opcode, &(struct evex_registers){ (int)reg, 0, 0, true, m });
}

#endif
