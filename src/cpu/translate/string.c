/* SPDX-License-Identifier: MIT */
/* string.c - REP MOVS and REP STOS upwards: page by page, each piece by the host's own instruction. Others are E0's.
 *
 * A round looks both pages up, takes as many elements as lie in them whole, and runs them. Between rounds RSI, RDI and RCX are the guest's, so a fault, a request or an
 * element across two pages finds the instruction as the SDM says that it may be interrupted (volume 2, REP). */
#include "cpu/translate/compile.h"

bool string_is_possible(const struct insn *in)
{
    return (in->op == OP_MOVS || in->op == OP_STOS) && in->prefix & (PFX_REP | PFX_REPNE) && in->asize == 8 && in->seg != INSN_FS && in->seg != INSN_GS;
}

static void interpret_if(struct compile *c, unsigned condition)
{
    stub_new(c, emit_jump_if(c->e, condition), site_new(c, SITE_INTERPRET));
}

/* to = bytes from `pointer` to its page's end */
static void emit_room(struct emit *e, unsigned to, unsigned pointer)
{
    emit_move(e, to, pointer);
    emit_op_register(e, true, 0x81, 1, to); /* OR to, ~4095: minus the room */
    emit_u32(e, ~UINT32_C(0xfff));
    emit_op_register(e, true, 0xf7, 3, to); /* NEG */
}

enum { CMP = 0x3b, CMOVA = 0x0f47 };

static void emit_minimum(struct emit *e, unsigned to, unsigned other)
{
    emit_op_register(e, true, CMP, to, other);
    emit_op_register(e, true, CMOVA, to, other);
}

static void emit_rep(struct emit *e, const struct insn *in)
{
    emit_byte(e, 0xf3);
    if (in->opsize == 2)
        emit_byte(e, 0x66);
    if (in->opsize == 8)
        emit_byte(e, 0x48);
    emit_byte(e, (in->op == OP_MOVS ? 0xa4u : 0xaau) + (in->opsize > 1));
}

static void add_to(struct emit *e, unsigned opcode, unsigned reg, const void *at) { emit_op_memory(e, true, opcode, reg, at_absolute(at)); }

static void emit_round(struct compile *c)
{
    struct emit *e = c->e;
    const struct insn *in = &c->in;
    bool moves = in->op == OP_MOVS;
    unsigned shift = in->opsize == 8 ? 3 : in->opsize >> 1;
    const void *source = &c->cpu->translate.temporary;
    if (moves) {
        access_addend(c, RSI, in->opsize, false);
        emit_store(e, at_absolute(source), SCRATCH_2);
    }
    access_addend(c, RDI, in->opsize, true);
    emit_room(e, SCRATCH_0, RDI);
    if (moves) {
        emit_room(e, SCRATCH_1, RSI);
        emit_minimum(e, SCRATCH_0, SCRATCH_1);
    }
    if (shift) {
        emit_op_register(e, true, 0xc1, 5, SCRATCH_0); /* SHR: whole elements */
        emit_byte(e, shift);
    }
    emit_minimum(e, SCRATCH_0, RCX);
    emit_op_register(e, true, 0x85, SCRATCH_0, SCRATCH_0); /* TEST */
    interpret_if(c, CC_E);
    emit_move(e, SCRATCH_1, RCX);
    emit_op_register(e, true, 0x2b, SCRATCH_1, SCRATCH_0); /* SUB: what is left afterwards */
    if (moves)
        add_to(e, 0x03, RSI, source);
    emit_op_register(e, true, 0x03, RDI, SCRATCH_2);
    emit_move(e, RCX, SCRATCH_0);
    emit_rep(e, in);
    if (moves)
        add_to(e, 0x2b, RSI, source);
    emit_op_register(e, true, 0x2b, RDI, SCRATCH_2);
    emit_move(e, RCX, SCRATCH_1);
}

void string_instruction(struct compile *c)
{
    struct emit *e = c->e;
    flags_register_changes(c, REG_RCX);
    flags_register_changes(c, REG_RSI);
    flags_register_changes(c, REG_RDI);
    flags_clobber(c);
    emit_op_memory(e, false, 0xf7, 0, at_absolute(&c->cpu->state.rflags)); /* TEST: downwards? */
    emit_u32(e, FLAG_DF);
    interpret_if(c, CC_NE);
    uint8_t *top = e->at;
    emit_op_register(e, true, 0x85, RCX, RCX);
    uint8_t *done = emit_jump_if(e, CC_E);
    emit_op_memory(e, false, 0x83, 7, at_absolute((const void *)&c->cpu->requests)); /* CMP dword, 0 */
    emit_byte(e, 0);
    interpret_if(c, CC_NE);
    emit_round(c);
    uint8_t *again = emit_jump(e);
    if (e->full)
        return;
    emit_patch(again, top);
    emit_patch(done, e->at);
}
