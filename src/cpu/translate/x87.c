/* SPDX-License-Identifier: MIT */
/* x87.c - x87 instructions on the host's x87, and its registers' way there and back (vectors_live: LIVE_X87).
 *
 * Everything is copied that gives the same bits on every processor. E0 does the transcendentals, packed BCD, FNINIT and what moves the environment. The guest's state
 * is in the host's x87 only while FCW masks all exceptions, so that the host never traps and no exception is ever pending; a FLDCW that unmasks one is E0's.
 * FIP, which the host would set to an address of ours, is state.x87.fip: where translated code is left in the middle of a block its site says which instruction was the
 * last (site.x87_last), and before a branch it is stored. FOP and FDP change by unmasked exceptions alone (exec_x87.c), so not here. */
#include "cpu/translate/compile.h"
#include "cpu/x87.h"

static bool is_x87(const struct insn *in) { return in->op >= OP_F2XM1 && in->op <= OP_FYL2XP1; }

static bool is_copied(const struct insn *in)
{
    switch (in->op) {
    case OP_F2XM1: case OP_FSIN: case OP_FCOS: case OP_FSINCOS: case OP_FPTAN: case OP_FPATAN: case OP_FYL2X: case OP_FYL2XP1: case OP_FBLD: case OP_FBSTP:
    case OP_FNINIT: case OP_FLDENV: case OP_FNSTENV: case OP_FNSAVE: case OP_FRSTOR:
        return false;
    case OP_FNOP: return in->opcode == 0xd9; /* else a relic, which even leaves FIP alone */
    default: return is_x87(in);
    }
}

static bool is_control(const struct insn *in)
{
    return in->op == OP_FLDCW || in->op == OP_FNSTCW || in->op == OP_FNSTSW || in->op == OP_FNCLEX || in->op == OP_FWAIT;
}

bool x87_is_possible(const struct compile *c, const struct insn *in)
{
    return is_copied(in) && engine_key_vectors(c->block->key) && copy_has_feature(c, in) && access_is_possible(c, in);
}

bool x87_is_wanted(const struct insn *in)
{
    bool mmx = in->op == OP_EMMS;
    for (unsigned i = 0; i < in->nopnd; i++)
        mmx |= in->opnd[i].kind == OPND_MMX;
    return mmx || is_x87(in);
}

/* By way of a copy, for the word in memory may change between the look at it and the load. */
static void emit_load_control(struct compile *c)
{
    struct emit *e = c->e;
    struct host_memory copy = at_absolute(&c->cpu->translate.temporary);
    emit_op_memory(e, false, 0x0fb7, SCRATCH_0, access_operand(c, &c->in, 2, false, false)); /* MOVZX */
    emit_store(e, copy, SCRATCH_0);
    flags_clobber(c); /* may use SCRATCH_0 */
    emit_op_memory(e, false, 0x8b, SCRATCH_0, copy);
    emit_op_register(e, false, 0xf7, 2, SCRATCH_0); /* NOT, TEST: an exception that is not masked */
    emit_bytes(e, (uint8_t[]){ 0x41, 0xf6, 0xc0 | (SCRATCH_0 & 7), FCW_MASKS }, 4);
    stub_new(c, emit_jump_if(e, CC_NE), site_new(c, SITE_INTERPRET));
    emit_op_memory(e, false, 0xd9, 5, copy);
}

void x87_instruction(struct compile *c)
{
    struct emit *e = c->e;
    const struct insn *in = &c->in;
    enum flags_effect effect = flags_effect_of(in);
    bool write;
    if (in->op == OP_FWAIT)
        return;
    if (in->op == OP_FLDCW) {
        emit_load_control(c);
        return;
    }
    if (in->op == OP_FNSTSW && !in->has_mem)
        flags_register_changes(c, REG_RAX);
    unsigned size = copy_memory_size(in, &write);
    struct host_memory at = { 0 };
    if (in->has_mem)
        at = access_operand(c, in, size, write, false);
    flags_before(c, effect);
    if (in->has_mem)
        emit_op_memory(e, false, in->opcode, in->modrm >> 3 & 7, at);
    else
        emit_bytes(e, (uint8_t[]){ in->opcode, in->modrm }, 2);
    if (effect == EFFECT_SETS)
        c->recipe.kind = RECIPE_NONE;
    flags_after(c, in, effect);
    if (!is_control(in))
        c->x87_last = (uint16_t)(c->block->start + c->u->offset + 1);
}

void x87_store_pointer(struct compile *c)
{
    if (!c->x87_last)
        return;
    emit_load(c->e, SCRATCH_0, at_absolute(&c->cpu->translate.page));
    compile_add_to(c, SCRATCH_0, SCRATCH_0, c->x87_last - 1);
    emit_store(c->e, at_absolute(&c->cpu->state.x87.fip), SCRATCH_0);
    c->x87_last = 0;
}

/* ---- the registers --------------------------------------------------------------------------------------------------------------------------------------------- */

enum { IMAGE_FSW = 2, IMAGE_TAGS = 4, IMAGE_MXCSR = 24, IMAGE_ST = 32 }; /* FXSAVE's, SDM vol. 1, 10.5.1 */

bool x87_is_masked(const struct cpu *cpu)
{
    return (cpu->state.x87.fcw & FCW_MASKS) == FCW_MASKS;
}

void x87_to_image(struct cpu *cpu)
{
    const struct cpu_x87 *x = &cpu->state.x87;
    uint8_t *image = cpu->translate.x87_image;
    memset(image, 0, IMAGE_ST);
    store_le16(image, x->fcw);
    store_le16(image + IMAGE_FSW, x->fsw);
    image[IMAGE_TAGS] = (uint8_t)~x->empty;
    store_le32(image + IMAGE_MXCSR, MXCSR_MASKS); /* until the guest's is loaded */
    x87_put_registers(x, image + IMAGE_ST, 16);
}

void x87_from_image(struct cpu *cpu)
{
    struct cpu_x87 *x = &cpu->state.x87;
    const uint8_t *image = cpu->translate.x87_image;
    x->fcw = load_le16(image);
    x->fsw = load_le16(image + IMAGE_FSW);
    x->empty = (uint8_t)~image[IMAGE_TAGS];
    x87_get_registers(x, image + IMAGE_ST, 16);
}
