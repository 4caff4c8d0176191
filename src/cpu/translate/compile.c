/* SPDX-License-Identifier: MIT */
/* compile.c - a decoded block into host code: ways in, segments between what E0 does, stubs behind. See private.h. */
#include "cpu/translate/compile.h"
#include "cpu/translate/verify.h"

/* ---- sites and stubs -------------------------------------------------------------------------------------------------------------------------------------------- */

uint32_t site_new(struct compile *c, enum site_kind kind)
{
    struct translator *t = c->t;
    struct region *r = t->filling;
    if (r->site_end == r->site_limit) {
        c->failed = true;
        return r->site_first;
    }
    t->sites[r->site_end] = (struct site){ .kind = (uint8_t)kind, .uop = c->u->number, .owner = c->to, .x87_last = c->x87_last };
    return r->site_end++;
}

static void site_note_flags(struct compile *c, uint32_t site)
{
    site_at(c, site)->flags = (uint8_t)c->flags;
    site_at(c, site)->recipe = c->recipe;
}

void stub_new(struct compile *c, uint8_t *jump, uint32_t site)
{
    if (c->stub_count == STUBS_MAX) {
        c->failed = true;
        c->stub_count = 0;
    }
    c->stubs[c->stub_count++] = (struct stub){ .jump = jump, .site = site };
    site_note_flags(c, site);
}

/* A jump: a call would leave an address on the host's return stack, and the returns of whoever called translated code would be mispredicted. */
static void emit_leave_by(struct compile *c, uint32_t site, const uint8_t *thunk)
{
    site_at(c, site)->stub = (uint32_t)(c->e->at - c->t->memory.write);
    emit_constant(c->e, SCRATCH_0, site);
    uint8_t *jump = emit_jump(c->e);
    if (!c->e->full)
        emit_patch(jump, thunk);
}

void site_leave_to(struct compile *c, uint32_t site, const uint8_t *thunk)
{
    site_note_flags(c, site);
    emit_leave_by(c, site, thunk);
}

/* Shorter, where it happens seldom. */
static void emit_leave_call(struct compile *c, uint32_t site)
{
    site_at(c, site)->stub = (uint32_t)(c->e->at - c->t->memory.write);
    emit_call(c->e, c->t->leave_call);
}

void site_leave(struct compile *c, uint32_t site)
{
    site_note_flags(c, site);
    emit_leave_call(c, site);
}

void site_call(struct compile *c, uint32_t site, const uint8_t *shared)
{
    site_note_flags(c, site);
    site_at(c, site)->stub = (uint32_t)(c->e->at - c->t->memory.write);
    access_scratch_changes(c, SCRATCH_1);
    access_scratch_changes(c, SCRATCH_2);
    emit_call(c->e, shared);
}

static void emit_stub(struct compile *c, const struct stub *stub)
{
    struct site *site = site_at(c, stub->site);
    if (!site->stub && !c->small && site->kind <= SITE_WRITE)
        emit_leave_by(c, stub->site, c->t->leave);
    else if (!site->stub)
        emit_leave_call(c, stub->site);
    if (!c->e->full)
        emit_patch(stub->jump, c->t->memory.write + site->stub);
}

/* ---- instructions with code of their own ---------------------------------------------------------------------------------------------------------------------------- */

bool compile_is_quiet(const struct insn *in)
{
    return in->op == OP_NOP || in->op == OP_ENDBR || in->op == OP_PREFETCH || in->op == OP_PREFETCHW || in->op == OP_SERIALIZE;
}

void compile_load_word(struct compile *c, unsigned reg, struct host_memory at) { emit_op_memory(c->e, compile_is_wide(c), 0x8b, reg, at); }
void compile_store_word(struct compile *c, struct host_memory at, unsigned reg) { emit_op_memory(c->e, compile_is_wide(c), 0x89, reg, at); }

void compile_add_to(struct compile *c, unsigned to, unsigned base, int32_t disp)
{
    if (compile_is_wide(c))
        emit_add_to(c->e, to, base, disp);
    else
        emit_op_memory(c->e, false, 0x8d, to, at_base((int)base, disp));
}

static bool stack_is_possible(const struct compile *c, const struct insn *in)
{
    const struct insn_opnd *o = &in->opnd[0];
    if (in->opsize != c->word)
        return false;
    switch (in->op) {
    case OP_PUSH:  return o->kind == OPND_IMM || o->kind == OPND_GPR || (o->kind == OPND_MEM && access_is_possible(c, in));
    case OP_POP:   return o->kind == OPND_GPR;
    case OP_LEAVE: return true;
    default:       return false;
    }
}

static unsigned set_of(const struct compile *c) { return engine_key_rights(c->block->key); }

static void emit_small_push(struct compile *c)
{
    struct emit *e = c->e;
    const struct insn_opnd *o = &c->in.opnd[0];
    const void *temporary = &c->cpu->translate.temporary;
    if (o->kind == OPND_MEM) {
        emit_load(e, SCRATCH_0, access_operand(c, &c->in, 8, false, false));
        emit_store(e, at_absolute(temporary), SCRATCH_0);
    }
    flags_register_changes(c, INSN_RSP);
    bool keeps = access_keeps_flags(c);
    uint8_t *retry = e->at;
    if (o->kind == OPND_MEM)
        emit_load(e, SCRATCH_1, at_absolute(temporary));
    else if (o->kind == OPND_IMM)
        emit_constant(e, SCRATCH_1, (uint64_t)c->in.imm);
    else if (register_of(o->reg) == NO_REGISTER)
        emit_load(e, SCRATCH_1, register_slot(c, o->reg));
    else
        emit_move(e, SCRATCH_1, (unsigned)register_of(o->reg));
    access_call(c, c->t->shared.push[set_of(c)][keeps], retry, true);
}

static void emit_small_pop(struct compile *c)
{
    unsigned reg = c->in.opnd[0].reg;
    int host = register_of(reg);
    flags_register_changes(c, INSN_RSP);
    flags_register_changes(c, reg);
    bool keeps = access_keeps_flags(c);
    access_call(c, c->t->shared.pop[set_of(c)][keeps], c->e->at, false);
    if (host == NO_REGISTER) {
        emit_store(c->e, register_slot(c, reg), SCRATCH_1);
    } else {
        emit_move(c->e, (unsigned)host, SCRATCH_1);
    }
}

static void emit_push(struct compile *c)
{
    struct emit *e = c->e;
    const struct insn_opnd *o = &c->in.opnd[0];
    if (o->kind == OPND_MEM) {
        compile_load_word(c, SCRATCH_0, access_operand(c, &c->in, c->word, false, false));
        emit_store(e, at_absolute(&c->cpu->translate.temporary), SCRATCH_0);
    }
    struct host_memory at = access_at(c, c->plans[c->u->number].stack, GUEST_RSP, -(int32_t)c->word, c->word, true);
    access_scratch_changes(c, SCRATCH_1);
    int *scratch = at.index == NO_REGISTER ? &at.base : &at.index;
    if (*scratch == SCRATCH_1 && o->kind != OPND_IMM) { /* which is wanted for the value */
        emit_move(e, SCRATCH_2, SCRATCH_1);
        access_scratch_changes(c, SCRATCH_2);
        *scratch = SCRATCH_2;
    }
    if (o->kind == OPND_IMM) {
        emit_op_memory(e, compile_is_wide(c), 0xc7, 0, at);
        emit_u32(e, (uint32_t)c->in.imm);
    } else if (o->kind == OPND_MEM) {
        emit_load(e, SCRATCH_1, at_absolute(&c->cpu->translate.temporary));
        compile_store_word(c, at, SCRATCH_1);
    } else {
        compile_store_word(c, at, (unsigned)register_read(c, o->reg, SCRATCH_1));
    }
    flags_register_changes(c, INSN_RSP);
    compile_add_to(c, GUEST_RSP, GUEST_RSP, -(int32_t)c->word);
}

static void emit_pop(struct compile *c)
{
    struct emit *e = c->e;
    unsigned reg = c->in.opnd[0].reg;
    int host = register_of(reg);
    flags_register_changes(c, reg);
    struct host_memory at = access_at(c, c->plans[c->u->number].stack, GUEST_RSP, 0, c->word, false);
    if (host == NO_REGISTER) {
        compile_load_word(c, SCRATCH_0, at);
        emit_store(e, register_slot(c, reg), SCRATCH_0);
    } else {
        compile_load_word(c, (unsigned)host, at);
    }
    if (reg == INSN_RSP)
        return;
    flags_register_changes(c, INSN_RSP);
    compile_add_to(c, GUEST_RSP, GUEST_RSP, (int32_t)c->word);
}

static void emit_leave(struct compile *c)
{
    struct emit *e = c->e;
    compile_load_word(c, SCRATCH_0, access_at(c, c->plans[c->u->number].stack, RBP, 0, c->word, false));
    emit_store(e, at_absolute(&c->cpu->translate.temporary), SCRATCH_0); /* flags_register_changes() may want the register */
    flags_register_changes(c, INSN_RSP);
    flags_register_changes(c, REG_RBP);
    compile_add_to(c, GUEST_RSP, RBP, (int32_t)c->word);
    emit_load(e, RBP, at_absolute(&c->cpu->translate.temporary));
}

static bool lea_is_possible(const struct compile *c, const struct insn *in)
{
    return in->opsize >= 4 && access_is_possible(c, in);
}

static void emit_lea_guest(struct compile *c)
{
    const struct insn *in = &c->in;
    int host = register_of(in->opnd[0].reg);
    bool wide = in->opsize == 8 && in->asize == 8;
    flags_register_changes(c, in->opnd[0].reg);
    if (host == NO_REGISTER) {
        access_effective(c, in, SCRATCH_0, wide);
        emit_store(c->e, register_slot(c, in->opnd[0].reg), SCRATCH_0);
    } else {
        access_effective(c, in, host, wide);
    }
}

static bool divide_is_possible(const struct compile *c, const struct insn *in)
{
    return in->opsize >= 4 && access_is_possible(c, in);
}

/* What would be #DE on the host goes to E0. */
static void emit_divide(struct compile *c)
{
    struct emit *e = c->e;
    const struct insn *in = &c->in;
    bool wide = in->opsize == 8;
    int divisor = SCRATCH_1;
    if (in->has_mem)
        emit_op_memory(e, wide, 0x8b, SCRATCH_1, access_operand(c, in, in->opsize, false, false));
    access_scratch_changes(c, SCRATCH_1);
    if (in->has_mem)
        divisor = SCRATCH_1;
    else
        divisor = register_read(c, in->opnd[0].reg, SCRATCH_1);
    flags_clobber(c);
    if (in->op == OP_DIV) { /* the quotient fits if the high half is below the divisor: not with 0 */
        emit_op_register(e, wide, 0x3b, RDX, (unsigned)divisor);
        stub_new(c, emit_jump_if(e, CC_AE), site_new(c, SITE_INTERPRET));
    } else { /* it fits if RDX is but RAX's sign, and the divisor neither 0 nor -1 */
        emit_move(e, SCRATCH_0, RAX);
        emit_op_register(e, wide, 0xc1, 7, SCRATCH_0);
        emit_byte(e, wide ? 63 : 31);
        emit_op_register(e, wide, 0x3b, SCRATCH_0, RDX);
        stub_new(c, emit_jump_if(e, CC_NE), site_new(c, SITE_INTERPRET));
        emit_op_memory(e, wide, 0x8d, SCRATCH_0, at_base(divisor, 1));
        emit_op_register(e, wide, 0x83, 7, SCRATCH_0);
        emit_byte(e, 1);
        stub_new(c, emit_jump_if(e, CC_BE), site_new(c, SITE_INTERPRET));
    }
    emit_op_register(e, wide, 0xf7, in->op == OP_DIV ? 6 : 7, (unsigned)divisor);
    c->recipe.kind = RECIPE_NONE;
    flags_after(c, in, EFFECT_SETS);
    c->recipe.kind = RECIPE_NONE;
}

/* ---- one instruction ------------------------------------------------------------------------------------------------------------------------------------------------- */

static bool is_possible(const struct compile *c, const struct insn *in)
{
    if (compile_is_quiet(in))
        return true;
    switch (in->op) {
    case OP_PUSH: case OP_POP: case OP_LEAVE: return stack_is_possible(c, in);
    case OP_LEA: return lea_is_possible(c, in);
    case OP_DIV: case OP_IDIV: return divide_is_possible(c, in);
    case OP_MOVS: case OP_STOS: return string_is_possible(in);
    case OP_JCC: case OP_JMP: case OP_CALL: case OP_RET: return branch_is_possible(c, in);
    case OP_BSWAP: return in->opsize >= 4 && copy_is_possible(c, in);
    default: return system_is_possible(c, in) || copy_is_possible(c, in) || x87_is_possible(c, in);
    }
}

static bool is_branch(const struct insn *in) { return insn_op_flags(in->op) & OPF_BRANCH; }

static void compile_instruction(struct compile *c)
{
    const struct insn *in = &c->in;
    if (compile_is_quiet(in))
        return;
    switch (in->op) {
    case OP_PUSH:  (c->small ? emit_small_push : emit_push)(c); break;
    case OP_POP:   (c->small ? emit_small_pop : emit_pop)(c); break;
    case OP_LEAVE: emit_leave(c); break;
    case OP_LEA:   emit_lea_guest(c); break;
    case OP_DIV: case OP_IDIV: emit_divide(c); break;
    case OP_MOVS: case OP_STOS: string_instruction(c); break;
    case OP_JCC: case OP_JMP: case OP_CALL: case OP_RET:
        x87_store_pointer(c);
        branch_instruction(c);
        break;
    default:
        if (system_is_possible(c, in))
            system_instruction(c);
        else if (copy_is_possible(c, in))
            copy_instruction(c);
        else
            x87_instruction(c);
        break;
    }
}

/* ---- the block -------------------------------------------------------------------------------------------------------------------------------------------------------- */

/* MOV of the accumulator and an absolute address, A0 to A3, as the 8A, 8B, 88, 89 with ModRM that does the same. Only where the address has 32 bits. */
static void absolute_to_modrm(struct insn *in)
{
    static const uint8_t opcodes[4] = { 0x8a, 0x8b, 0x88, 0x89 };
    bool store = in->opnd[0].kind == OPND_MOFFS;
    struct insn_opnd *memory = &in->opnd[!store];
    in->opcode = opcodes[in->opcode & 3];
    in->modrm = 5;
    in->modrm_off = 1;
    in->has_mem = 1;
    in->base = in->index = INSN_NO_REG;
    in->disp = (int32_t)in->imm;
    in->imm_len = 0;
    memory->kind = OPND_MEM;
    memory->field = FIELD_RM;
    in->opnd[store].field = FIELD_REG;
}

/* What is encoded in another way in 64-bit code, or would mean something else there. */
static void as_64_bit_code(struct insn *in)
{
    bool general = in->op == OP_MOVD || in->op == OP_PEXTRD || in->op == OP_PINSRD || in->op == OP_CVTSI2SS || in->op == OP_CVTSI2SD ||
        in->op == OP_PCMPESTRI || in->op == OP_PCMPESTRM;
    for (unsigned i = 0; i < in->nopnd; i++)
        general |= in->opnd[i].kind == OPND_GPR;
    if (in->op == OP_MOV && (in->opnd[0].kind == OPND_MOFFS || in->opnd[1].kind == OPND_MOFFS) && in->asize == 4)
        absolute_to_modrm(in);
    if (in->map == 0 && in->opcode == 0x82) /* 80 by another name */
        in->opcode = 0x80;
    if (in->prefix & PFX_VEX && general) /* VEX.W does not make them 64 bits wide */
        in->prefix &= (uint16_t)~PFX_REX_W;
}

bool compile_read(const struct block *b, const struct uop *u, struct insn *in)
{
    enum cpu_mode mode = engine_key_mode(b->key);
    if (insn_decode(b->code + u->offset, u->length, mode, in) <= 0)
        return false;
    if (mode == CPU_MODE_32)
        as_64_bit_code(in);
    return true;
}

bool compile_take(struct compile *c, unsigned number)
{
    c->u = &c->block->uops[number];
    c->bytes = c->block->code + c->u->offset;
    if (!c->taken[number].length && !compile_read(c->block, c->u, &c->taken[number])) {
        c->taken[number].length = 0;
        return false;
    }
    c->in = c->taken[number];
    return c->u->fn != uop_fault_ud && c->u->fn != uop_fault_gp;
}

/* What a translation's start needs of the flags: the first that happens to them. */
static enum flags_place flags_wanted(struct compile *c, unsigned end)
{
    compile_take(c, end - 1);
    bool loop = end == c->block->count && branch_is_loop(c, &c->in);
    for (unsigned i = 0; i < end; i++) {
        compile_take(c, i);
        bool clobbers = c->in.has_mem && c->in.op != OP_LEA && !compile_is_quiet(&c->in);
        clobbers |= c->in.op == OP_PUSH || c->in.op == OP_POP || c->in.op == OP_CALL || c->in.op == OP_RET || c->in.op == OP_LEAVE || c->in.op == OP_DIV || c->in.op == OP_IDIV ||
            c->in.op == OP_MOVS || c->in.op == OP_STOS || system_is_possible(c, &c->in);
        enum flags_effect effect = flags_effect_of(&c->in);
        if (clobbers)
            return FLAGS_SAVED;
        if (effect == EFFECT_SETS)
            return FLAGS_BOTH; /* any */
        if (effect == EFFECT_SETS_BUT_CARRY && loop)
            return FLAGS_SAVED; /* as they are in the second round, so that both come to the same recipe */
        if (effect != EFFECT_NONE)
            return FLAGS_NATIVE;
    }
    return FLAGS_SAVED;
}

static enum live live_wanted(struct compile *c)
{
    enum live live = LIVE_NONE;
    for (unsigned i = 0; i < c->block->count; i++) {
        if (!compile_take(c, i) || !is_possible(c, &c->in))
            continue;
        if (x87_is_wanted(&c->in))
            return LIVE_X87;
        if (c->in.op >= OP_EMMS)
            live = LIVE_VECTORS;
    }
    return live;
}

/* Leaves to the block's start unless the guest's vector registers, and its x87's if they are wanted, are in the host's. Flags are saved. */
static void emit_vectors_check(struct compile *c)
{
    if (!c->to->live)
        return;
    emit_op_memory(c->e, false, 0x83, 7, at_absolute(&c->cpu->translate.vectors_live)); /* CMP dword, imm8 */
    emit_byte(c->e, c->to->live);
    c->u = &c->block->uops[0];
    c->flags = FLAGS_SAVED;
    uint32_t site = site_new(c, SITE_LEAVE);
    site_at(c, site)->target = c->block->start;
    stub_new(c, emit_jump_if(c->e, CC_B), site);
}

/* A block that crosses a page is good while the next page is the one that it was decoded from. Flags are saved. */
static void emit_crossing_check(struct compile *c)
{
    if (!c->block->second)
        return;
    c->u = &c->block->uops[0];
    c->flags = FLAGS_SAVED;
    c->to->place = branch_compare_place(c);
    uint8_t *jump = emit_jump_if(c->e, CC_NE);
    uint32_t site = site_new(c, SITE_LEAVE);
    site_at(c, site)->target = c->block->start;
    stub_new(c, jump, site);
}

static void emit_start(struct compile *c, unsigned end)
{
    struct emit *e = c->e;
    struct translation *to = c->to;
    enum flags_place wanted = flags_wanted(c, end);
    bool checks = to->live || c->block->second;
    uint8_t *native = e->at;
    if (wanted == FLAGS_SAVED || checks)
        flags_emit_save(e, c->cpu);
    to->saved = e->at;
    emit_vectors_check(c);
    to->saved_live = e->at;
    emit_crossing_check(c);
    to->native = to->native_live = wanted == FLAGS_SAVED || checks ? native : e->at;
    c->flags = wanted == FLAGS_BOTH ? FLAGS_NATIVE : FLAGS_SAVED;
    if (wanted == FLAGS_BOTH && !c->block->second)
        to->native_live = e->at;
    if (wanted != FLAGS_NATIVE)
        return;
    flags_make_native(c);
    if (!checks)
        to->native = e->at;
    if (!c->block->second)
        to->native_live = e->at;
    c->flags = FLAGS_NATIVE;
}

static void entry_add(struct compile *c, unsigned number, uint8_t *code)
{
    struct translation *to = c->to;
    to->entry[to->entry_count].uop = number;
    to->entry[to->entry_count].code = code;
    to->entry[to->entry_count++].handler = NULL;
}

/* Instructions [number, end) without one for E0, and whether a branch ends them. */
static unsigned segment_end(struct compile *c, unsigned number)
{
    while (number < c->block->count && compile_take(c, number) && is_possible(c, &c->in))
        number++;
    return number;
}

static void compile_instructions(struct compile *c, unsigned number, unsigned end)
{
    for (unsigned i = number; i < end && !c->failed; i++) {
        compile_take(c, i);
        compile_instruction(c);
    }
}

static bool is_same_recipe(const struct recipe *a, const struct recipe *b)
{
    return a->kind == b->kind && (!a->kind || (a->size == b->size && a->first == b->first && a->second == b->second && a->value == b->value));
}

/* A block that ends in a conditional branch to its start. It is written twice, first for whoever enters, then for itself, so that the second copy knows where the
 * flags are when it begins. `last` is the branch. */
static void compile_loop(struct compile *c, unsigned last)
{
    struct emit *e = c->e;
    c->to->loops = true;
    compile_instructions(c, 0, last);
    compile_take(c, last);
    unsigned condition = insn_cond(&c->in);
    x87_store_pointer(c);
    flags_make_native(c);
    uint8_t *out = emit_jump_if(e, condition ^ 1), *top = e->at;
    c->flags = FLAGS_NATIVE;
    struct recipe recipe = c->recipe;
    bool carry_saved = c->carry_saved;
    branch_poll(c);
    plan_segment(c, 0, last + 1);
    compile_instructions(c, 0, last);
    compile_take(c, last);
    x87_store_pointer(c);
    flags_make_native(c);
    c->flags = FLAGS_NATIVE;
    if (is_same_recipe(&c->recipe, &recipe) && (carry_saved == c->carry_saved || !recipe.kind)) {
        uint8_t *again = emit_jump_if(e, condition);
        if (!e->full)
            emit_patch(again, top);
    } else {
        branch_instruction(c); /* as if it were another block's */
        c->flags = FLAGS_NATIVE;
        c->recipe.kind = RECIPE_NONE;
    }
    if (!e->full)
        emit_patch(out, e->at);
    branch_end(c, c->u->offset + c->u->length);
}

static void compile_segment(struct compile *c, unsigned number, unsigned end)
{
    c->recipe.kind = RECIPE_NONE;
    c->x87_last = 0;
    plan_segment(c, number, end);
    if (number) {
        c->flags = FLAGS_SAVED;
        entry_add(c, number, c->e->at);
    } else {
        emit_start(c, end);
        entry_add(c, 0, c->to->saved_live);
    }
    compile_take(c, end - 1);
    if (!number && end == c->block->count && !c->small && branch_is_loop(c, &c->in)) {
        compile_loop(c, end - 1);
        return;
    }
    compile_instructions(c, number, end);
    if (end < c->block->count) {
        c->u = &c->block->uops[end];
        uint32_t site = site_new(c, SITE_INTERPRET);
        site_leave_to(c, site, c->t->leave);
    } else if (!is_branch(&c->in)) {
        x87_store_pointer(c);
        branch_end(c, c->block->bytes);
    }
}

static bool is_worth_it(const struct compile *c, unsigned number, unsigned end)
{
    return (end > number && c->cpu->vm->hot == 1 /* a test's wish */) || end - number >= SEGMENT_MIN || (end == c->block->count && end > number);
}

static void compile_segments(struct compile *c)
{
    for (unsigned number = 0; number < c->block->count && c->to->entry_count < ENTRIES_MAX && !c->failed;) {
        unsigned end = segment_end(c, number);
        if (is_worth_it(c, number, end))
            compile_segment(c, number, end);
        number = end + 1;
    }
}

static bool is_proved(const struct compile *c)
{
    uint32_t at;
    const char *why = verify_code(c, c->to->start, c->to->end, &at);
    c->t->statistics.verified += !why;
    c->t->statistics.refused += why != NULL;
    if (why)
        c->t->statistics.refusal = why;
    return !why;
}

struct translation *compile_block(struct cpu *cpu, struct block *b, bool global, bool small)
{
    struct translator *t = cpu->translator;
    struct translation *to = &t->records[t->filling->record_end];
    bool wide = engine_key_mode(b->key) == CPU_MODE_64;
    small &= wide;
    struct compile c = { .cpu = cpu, .t = t, .e = &t->emit, .block = b, .to = to, .word = wide ? 8 : 4, .small = small };
    uint8_t *start = t->emit.at;
    uint32_t sites = t->filling->site_end;
    *to = (struct translation){ .block = b, .key_behind = b->key, .start = start, .first_site = sites, .small = small };
    to->live = live_wanted(&c);
    to->global = global;
    compile_segments(&c);
    for (unsigned i = 0; i < c.stub_count && !c.failed; i++)
        emit_stub(&c, &c.stubs[i]);
    to->end = t->emit.at;
    if (c.failed || t->emit.full || !to->entry_count || (cpu->vm->verify && !is_proved(&c))) {
        t->emit.at = start;
        t->emit.full = false;
        t->filling->site_end = sites;
        return NULL;
    }
    t->filling->record_end++;
    return to;
}
