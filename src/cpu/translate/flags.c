/* SPDX-License-Identifier: MIT */
/* flags.c - where the arithmetic flags are, and their ways from one place to the other. See private.h. */
#include "cpu/translate/compile.h"

/* A count of 0 changes no flag; one in CL is not known. */
static bool shift_may_be_zero(const struct insn *in, unsigned count_operand)
{
    unsigned mask = in->opnd[0].size == 8 ? 63 : 31;
    return !((unsigned)in->imm & mask) || in->opnd[count_operand].kind != OPND_IMM;
}

enum flags_effect flags_effect_of(const struct insn *in)
{
    switch (in->op) {
    case OP_ADD: case OP_OR: case OP_AND: case OP_SUB: case OP_XOR: case OP_CMP: case OP_TEST: case OP_NEG: case OP_XADD: case OP_CMPXCHG:
    case OP_MUL: case OP_IMUL: case OP_DIV: case OP_IDIV: case OP_BSF: case OP_BSR: case OP_TZCNT: case OP_LZCNT: case OP_POPCNT:
    case OP_ANDN: case OP_BLSI: case OP_BLSMSK: case OP_BLSR: case OP_BEXTR: case OP_BZHI:
    case OP_COMISS: case OP_COMISD: case OP_UCOMISS: case OP_UCOMISD: case OP_PTEST: case OP_VTESTPS: case OP_VTESTPD: case OP_EVEX_COMPARE: case OP_OPMASK_TEST:
    case OP_PCMPESTRI: case OP_PCMPESTRM: case OP_PCMPISTRI: case OP_PCMPISTRM: case OP_FCOMI: case OP_FCOMIP: case OP_FUCOMI: case OP_FUCOMIP:
        return EFFECT_SETS;
    case OP_SHL: case OP_SHR: case OP_SAR:
        return shift_may_be_zero(in, 1) ? EFFECT_MIXES : EFFECT_SETS;
    case OP_SHLD: case OP_SHRD:
        return shift_may_be_zero(in, 2) ? EFFECT_MIXES : EFFECT_SETS;
    case OP_INC: case OP_DEC:
        return EFFECT_SETS_BUT_CARRY;
    default: break;
    }
    unsigned flags = insn_op_flags(in->op);
    return flags & OPF_WRITES_FLAGS ? EFFECT_MIXES : flags & OPF_READS_FLAGS ? EFFECT_READS : EFFECT_NONE;
}

/* PUSHFQ; POP */
void flags_emit_save(struct emit *e, struct cpu *cpu)
{
    emit_byte(e, 0x9c);
    emit_op_memory(e, false, 0x8f, 0, at_absolute(&cpu->translate.flags));
}

/* SAHF knows all but OF, which an addition makes from its bit (3 of the second byte; bit 1 there, IF, may be set or not). */
void flags_emit_load(struct emit *e, const uint64_t *from)
{
    const uint8_t *flags = (const uint8_t *)from;
    emit_op_memory(e, false, 0x8a, 4 /* AH */, at_absolute(flags));
    emit_op_memory(e, false, 0x8a, RAX /* AL */, at_absolute(flags + 1));
    emit_bytes(e, "\x04\x78\x9e", 3); /* ADD AL, 0x78; SAHF */
}

void flags_emit_restore(struct emit *e, struct cpu *cpu)
{
    emit_move(e, SCRATCH_0, RAX);
    flags_emit_load(e, &cpu->translate.flags);
    emit_move(e, RAX, SCRATCH_0);
}

/* op first, second or value, of the recipe's size, with `first` a host register: `opcode` is the r/m, r form of 16 bits and more (0x39 CMP, 0x85 TEST, 0x01 ADD,
 * 0x29 SUB). */
static void emit_recipe_op(struct compile *c, const struct recipe *r, unsigned opcode, unsigned first)
{
    struct emit *e = c->e;
    bool test = opcode == 0x85, byte = r->size == 1;
    int second = r->second == NO_REGISTER ? NO_REGISTER : register_of((unsigned)r->second);
    bool slot = r->second != NO_REGISTER && second == NO_REGISTER;
    unsigned rex = (r->size == 8 ? 8u : 0) | (slot ? first >> 3 << 2 : first >> 3) | (second > 7 ? 4u : 0);
    if (r->size == 2)
        emit_byte(e, 0x66);
    if (rex || (byte && (first > 3 || second > 3))) /* SPL .. DIL */
        emit_byte(e, 0x40 | rex);
    if (slot) { /* the r, r/m form */
        struct host_memory at = register_slot(c, (unsigned)r->second);
        emit_byte(e, (test ? opcode : opcode | 2) - byte);
        emit_modrm(e, first, &at);
    } else if (second != NO_REGISTER) {
        emit_byte(e, opcode - byte);
        emit_byte(e, 0xc0 | ((unsigned)second & 7) << 3 | (first & 7));
    } else {
        emit_byte(e, (test ? 0xf7u : 0x81u) - byte);
        emit_byte(e, 0xc0 | (test ? 0 : opcode & 0x38) | (first & 7));
        emit_bytes(e, (uint8_t[]){ (uint8_t)r->value, (uint8_t)(r->value >> 8), (uint8_t)(r->value >> 16), (uint8_t)(r->value >> 24) }, r->size < 4 ? r->size : 4);
    }
}

/* BT: CF from where it was saved. */
static void emit_carry(struct emit *e, struct cpu *cpu)
{
    emit_op_memory(e, false, 0x0fba, 4, at_absolute(&cpu->translate.flags));
    emit_byte(e, 0);
}

/* The recipe's first register, for reading: SCRATCH_0 if it is in memory. */
static unsigned emit_first(struct compile *c, const struct recipe *r) { return (unsigned)register_read(c, (unsigned)r->first, SCRATCH_0); }

/* The same in SCRATCH_0, for changing. */
static void emit_first_copy(struct compile *c, const struct recipe *r)
{
    unsigned first = emit_first(c, r);
    if (first != SCRATCH_0)
        emit_move(c->e, SCRATCH_0, first);
}

static void emit_recipe(struct compile *c, const struct recipe *r)
{
    struct emit *e = c->e;
    switch (r->kind) {
    case RECIPE_COMPARE: emit_recipe_op(c, r, 0x39, emit_first(c, r)); break;
    case RECIPE_TEST:    emit_recipe_op(c, r, 0x85, emit_first(c, r)); break;
    case RECIPE_ADD: /* undo, and do again */
        emit_first_copy(c, r);
        emit_recipe_op(c, r, 0x29, SCRATCH_0);
        emit_recipe_op(c, r, 0x01, SCRATCH_0);
        break;
    case RECIPE_SUBTRACT:
        emit_first_copy(c, r);
        emit_recipe_op(c, r, 0x01, SCRATCH_0);
        emit_recipe_op(c, r, 0x29, SCRATCH_0);
        break;
    case RECIPE_INCREMENT: case RECIPE_DECREMENT: {
        int32_t back = r->kind == RECIPE_INCREMENT ? -1 : 1;
        emit_carry(e, c->cpu);
        emit_op_memory(e, r->size == 8, 0x8d, SCRATCH_0, at_base((int)emit_first(c, r), back));
        emit_op_register(e, r->size == 8, 0xff, r->kind == RECIPE_DECREMENT, SCRATCH_0);
        break;
    }
    case RECIPE_NONE: break;
    }
}

uint32_t flags_of_recipe(struct cpu *cpu, const struct recipe *r)
{
    unsigned shift = 64 - 8u * r->size;
    uint64_t a = cpu->state.gpr[r->first], b = r->second == NO_REGISTER ? (uint64_t)(int64_t)r->value : cpu->state.gpr[r->second];
    uint32_t carry = (uint32_t)cpu->translate.flags & FLAG_CF;
    switch (r->kind) {
    case RECIPE_COMPARE:   cc_set(cpu, CC_SUB, shift, a, a - b); break;
    case RECIPE_TEST:      cc_set_result(cpu, shift, a & b, 0); break;
    case RECIPE_ADD:       cc_set(cpu, CC_ADD, shift, a - b, a); break;
    case RECIPE_SUBTRACT:  cc_set(cpu, CC_SUB, shift, a + b, a); break;
    case RECIPE_INCREMENT: cc_set(cpu, CC_ADD, shift, a - 1, a); return (cc_arith(cpu) & ~(uint32_t)FLAG_CF) | carry;
    default:               cc_set(cpu, CC_SUB, shift, a + 1, a); return (cc_arith(cpu) & ~(uint32_t)FLAG_CF) | carry;
    }
    return cc_arith(cpu);
}

void flags_make_native(struct compile *c)
{
    if (c->flags == FLAGS_RECIPE) {
        emit_recipe(c, &c->recipe);
        c->flags = FLAGS_NATIVE;
    } else if (c->flags == FLAGS_SAVED) {
        if (c->small)
            emit_call(c->e, c->t->shared.restore);
        else
            flags_emit_restore(c->e, c->cpu);
        c->flags = FLAGS_BOTH;
    }
}

void flags_save(struct compile *c)
{
    if (c->flags == FLAGS_RECIPE)
        flags_make_native(c);
    if (c->flags == FLAGS_NATIVE) {
        flags_emit_save(c->e, c->cpu);
        c->flags = FLAGS_BOTH;
    }
}

void flags_clobber(struct compile *c)
{
    if (c->flags == FLAGS_NATIVE && c->recipe.kind) {
        c->flags = FLAGS_RECIPE;
    } else if (c->flags != FLAGS_RECIPE) {
        flags_save(c);
        c->flags = FLAGS_SAVED;
    }
}

void flags_register_changes(struct compile *c, unsigned guest)
{
    if (!c->recipe.kind || (c->recipe.first != (int)guest && c->recipe.second != (int)guest))
        return;
    if (c->flags == FLAGS_RECIPE)
        flags_save(c);
    c->recipe.kind = RECIPE_NONE;
}

static bool keeps_carry(const struct recipe *r) { return r->kind == RECIPE_INCREMENT || r->kind == RECIPE_DECREMENT; }

/* Whether of all flags the instruction needs but CF, and that is saved. */
bool flags_need_carry_only(const struct compile *c, enum flags_effect effect)
{
    return effect == EFFECT_SETS_BUT_CARRY && (c->flags == FLAGS_SAVED || (c->flags == FLAGS_RECIPE && keeps_carry(&c->recipe)));
}

void flags_before(struct compile *c, enum flags_effect effect)
{
    if (flags_need_carry_only(c, effect)) {
        emit_carry(c->e, c->cpu);
        c->carry_saved = true;
    } else if (effect == EFFECT_READS || effect == EFFECT_MIXES || effect == EFFECT_SETS_BUT_CARRY) {
        flags_make_native(c);
        c->carry_saved = c->flags == FLAGS_BOTH;
    }
}

static struct recipe recipe_of(const struct insn *in)
{
    const struct insn_opnd *to = &in->opnd[0], *from = &in->opnd[1];
    struct recipe r = { .size = to->size, .second = NO_REGISTER };
    bool logic = in->op == OP_AND || in->op == OP_OR || in->op == OP_XOR;
    if (to->kind != OPND_GPR || (from->kind != OPND_IMM && from->kind != OPND_GPR && !logic))
        return r;
    r.first = (int8_t)to->reg;
    if (logic) { /* the flags follow from the result alone */
        r.second = r.first;
        r.kind = RECIPE_TEST;
        return r;
    }
    if (from->kind == OPND_IMM)
        r.value = (int32_t)in->imm;
    else
        r.second = (int8_t)from->reg;
    if (in->op == OP_CMP)
        r.kind = RECIPE_COMPARE;
    else if (in->op == OP_TEST)
        r.kind = RECIPE_TEST;
    else if (r.first != r.second && (in->op == OP_ADD || in->op == OP_SUB))
        r.kind = in->op == OP_ADD ? RECIPE_ADD : RECIPE_SUBTRACT;
    return r;
}

static struct recipe recipe_of_step(const struct insn *in)
{
    const struct insn_opnd *to = &in->opnd[0];
    struct recipe r = { .size = to->size, .second = NO_REGISTER };
    if (to->kind != OPND_GPR || to->size < 4)
        return r;
    r.first = (int8_t)to->reg;
    r.kind = in->op == OP_INC ? RECIPE_INCREMENT : RECIPE_DECREMENT;
    return r;
}

void flags_after(struct compile *c, const struct insn *in, enum flags_effect effect)
{
    if (effect == EFFECT_NONE || effect == EFFECT_READS)
        return;
    c->flags = FLAGS_NATIVE;
    c->recipe = (struct recipe){ .kind = RECIPE_NONE };
    if (effect == EFFECT_SETS)
        c->recipe = recipe_of(in);
    else if (effect == EFFECT_SETS_BUT_CARRY && c->carry_saved)
        c->recipe = recipe_of_step(in);
}
