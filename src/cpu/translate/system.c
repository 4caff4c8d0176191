/* SPDX-License-Identifier: MIT */
/* system.c - the instructions of system calls and of kernels' locks: what they do when nothing unusual is about.
 *
 * Each has the state that exec_system() (../system.c, ../syscall.c, ../control.c) would leave. What is not so plain - an interrupt waits while IF opens, a flag changes on which
 * the mode depends, an address is not canonical, CR4 forbids - is E0's, with nothing changed before. Whether the CPL is 0 is known from the block's key, and what a change of
 * CPL or AC makes of the key too: so the derived state (rights, TLB, key, tags) is stored as constants.
 * A block ends behind what changes the key: STAC, CLAC, SYSCALL, SYSRET, IRET. Spec: SDM volume 2, and volume 3, 5.8.8. */
#include "cpu/translate/compile.h"

enum { FLAT_CODE64 = 0xa09b, FLAT_DATA = 0xc093 }; /* attributes, as in ../syscall.c */
enum { OP_IMM_ADD = 0, OP_IMM_OR = 1, OP_IMM_AND = 4, OP_IMM_XOR = 6, OP_IMM_CMP = 7 };

/* ---- the mode --------------------------------------------------------------------------------------------------------------------------------------------------------- */

static bool is_user(const struct compile *c) { return engine_key_rights(c->block->key) == TLB_USER; }
static bool is_kernel(const struct compile *c) { return !is_user(c) && !(c->block->key & KEY_INNER); }

static uint32_t key_with(uint32_t key, unsigned rights)
{
    return (key & ~(3u << KEY_RIGHTS_SHIFT)) | rights << KEY_RIGHTS_SHIFT;
}

static bool is_wide_stack(const struct insn *in) { return in->opsize == 8; }

static bool is_bit_string(const struct insn *in)
{
    return (in->op == OP_BT || in->op == OP_BTS || in->op == OP_BTR || in->op == OP_BTC) && in->has_mem && in->opnd[1].kind == OPND_GPR && in->opsize >= 4 && in->asize == 8;
}

static bool cr_is_possible(const struct insn *in)
{
    unsigned cr = in->opnd[1].reg;
    return in->opnd[1].kind == OPND_CR && (cr == 0 || cr == 2 || cr == 3 || cr == 4);
}

bool system_is_possible(const struct compile *c, const struct insn *in)
{
    if (!compile_is_wide(c)) /* SYSCALL of 32-bit code is another */
        return in->op == OP_CLD || in->op == OP_STD;
    switch (in->op) {
    case OP_SWAPGS: case OP_CLI: case OP_STAC: case OP_CLAC: return is_kernel(c);
    case OP_STI: return is_kernel(c) && c->u->number + 1u < c->block->count; /* the instruction in its shadow must be there */
    case OP_SYSRET: return is_kernel(c) && in->opsize == 8;
    case OP_IRET: return is_kernel(c) && in->opsize == 8 && engine_key_rights(c->block->key) == TLB_SUPERVISOR_SMAP; /* as which the GDT is read */
    case OP_SYSCALL: return is_user(c);
    case OP_PUSHF: case OP_POPF: return is_wide_stack(in) && (is_user(c) || is_kernel(c));
    case OP_MOV_CR: return is_kernel(c) && cr_is_possible(in);
    case OP_CLD: case OP_STD: case OP_RDPKRU: case OP_RDFSBASE: case OP_RDGSBASE: case OP_WRFSBASE: case OP_WRGSBASE: return true;
    case OP_MOV_SEG: return in->opnd[1].kind == OPND_SEG && in->opnd[0].kind == OPND_GPR;
    case OP_RDTSC: case OP_RDTSCP: return c->t->clocked;
    case OP_PAUSE: return c->cpu->vm->cpu_count == 1; /* else the host's other threads may have to run */
    case OP_BT: case OP_BTS: case OP_BTR: case OP_BTC: return is_bit_string(in) && access_is_possible(c, in);
    default: return false;
    }
}

bool system_reaches_beyond(const struct insn *in) { return is_bit_string(in); }

/* ---- pieces ------------------------------------------------------------------------------------------------------------------------------------------------------------- */

static void interpret_if(struct compile *c, unsigned condition)
{
    stub_new(c, emit_jump_if(c->e, condition), site_new(c, SITE_INTERPRET));
}

static void emit_immediate(struct emit *e, unsigned operation, unsigned reg, uint32_t value)
{
    emit_op_register(e, false, 0x81, operation, reg);
    emit_u32(e, value);
}

static void emit_immediate_at(struct emit *e, unsigned operation, const void *at, uint32_t value)
{
    emit_op_memory(e, false, 0x81, operation, at_absolute(at));
    emit_u32(e, value);
}

static void emit_load32(struct emit *e, unsigned reg, const void *at) { emit_op_memory(e, false, 0x8b, reg, at_absolute(at)); }
static void emit_load16(struct emit *e, unsigned reg, const void *at) { emit_op_memory(e, false, 0x0fb7, reg, at_absolute(at)); }
static void emit_load8(struct emit *e, unsigned reg, const void *at) { emit_op_memory(e, false, 0x0fb6, reg, at_absolute(at)); }

static void emit_store_constant(struct emit *e, bool wide, const void *at, uint32_t value)
{
    emit_op_memory(e, wide, 0xc7, 0, at_absolute(at));
    emit_u32(e, value);
}

static void emit_store_constant8(struct emit *e, const void *at, unsigned value)
{
    emit_op_memory(e, false, 0xc6, 0, at_absolute(at));
    emit_byte(e, value);
}

static void emit_store16(struct emit *e, const void *at, unsigned reg)
{
    emit_byte(e, 0x66);
    emit_op_memory(e, false, 0x89, reg, at_absolute(at));
}

static void emit_store_constant16(struct emit *e, const void *at, unsigned value)
{
    emit_byte(e, 0x66);
    emit_op_memory(e, false, 0xc7, 0, at_absolute(at));
    emit_byte(e, value & 0xff);
    emit_byte(e, value >> 8);
}

/* E0, unless `bits` of the dword are as wanted. */
static void emit_require(struct compile *c, const void *at, uint32_t bits, bool set)
{
    emit_op_memory(c->e, false, 0xf7, 0, at_absolute(at)); /* TEST dword, imm32 */
    emit_u32(c->e, bits);
    interpret_if(c, set ? CC_E : CC_NE);
}

/* SCRATCH_1 = not 0, if anything waits that E0 would see when IF opens (must_attend() in ../engine.c); RFLAGS say so too. */
static void emit_waits(struct compile *c)
{
    struct emit *e = c->e;
    const struct cpu *cpu = c->cpu;
    emit_load8(e, SCRATCH_1, &cpu->state.nmi_pending);
    emit_op_memory(e, false, 0x0a, SCRATCH_1, at_absolute(&cpu->state.event_pending)); /* OR r8 */
    emit_op_memory(e, false, 0x0b, SCRATCH_1, at_absolute((const void *)&cpu->requests));
    emit_op_memory(e, false, 0x0b, SCRATCH_1, at_absolute(&cpu->window));
    emit_op_memory(e, false, 0x0b, SCRATCH_1, at_absolute(&cpu->interrupt_waits));
}

static void emit_require_calm(struct compile *c)
{
    emit_waits(c);
    interpret_if(c, CC_NE);
}

/* E0, unless `reg` is 48 bits, sign-extended; uses `other`. */
static void emit_require_canonical(struct compile *c, unsigned reg, unsigned other)
{
    struct emit *e = c->e;
    emit_move(e, other, reg);
    emit_op_register(e, true, 0xc1, 4, other); /* SHL */
    emit_byte(e, 16);
    emit_op_register(e, true, 0xc1, 7, other); /* SAR */
    emit_byte(e, 16);
    emit_op_register(e, true, 0x3b, other, reg); /* CMP */
    interpret_if(c, CC_NE);
}

/* From here on the flags are in memory, and RFLAGS is ours. */
static void begin(struct compile *c)
{
    flags_save(c);
    c->flags = FLAGS_SAVED;
    access_scratch_changes(c, SCRATCH_1);
    access_scratch_changes(c, SCRATCH_2);
}

/* What follows cpu_state_changed() when rights and key change so. */
static void emit_mode(struct compile *c, uint32_t key)
{
    struct emit *e = c->e;
    struct cpu *cpu = c->cpu;
    unsigned rights = engine_key_rights(key);
    emit_store_constant8(e, &cpu->rights, rights);
    emit_store_constant(e, true, &cpu->tlb, (uint32_t)(uintptr_t)cpu->tlbs[rights]);
    emit_store_constant(e, false, &cpu->block_key, key);
    emit_store_constant(e, false, (uint8_t *)&cpu->translate.kernel_tag + 4, key | UINT32_C(1) << 31); /* engine_kernel_tag_update() */
    if (engine_key_rights(c->block->key) == TLB_USER) { /* OR: the return stack is empty, for its code is of this mode */
        emit_op_register(e, true, 0x81, 1, RSP);
        emit_u32(e, 2 * RETURN_STACK - RETURN_ENTRY);
    }
    c->to->key_behind = key;
}

/* ---- flags -------------------------------------------------------------------------------------------------------------------------------------------------------------- */

static void emit_cli(struct compile *c)
{
    begin(c);
    emit_immediate_at(c->e, OP_IMM_AND, &c->cpu->state.rflags, ~(uint32_t)(FLAG_IF | FLAGS_ARITH));
}

/* With nothing waiting nobody sees the shadow: what comes now is looked at behind the next instruction, which is in the block. */
static void emit_sti(struct compile *c)
{
    begin(c);
    emit_require_calm(c);
    emit_immediate_at(c->e, OP_IMM_OR, &c->cpu->state.rflags, FLAG_IF);
}

static void emit_direction(struct compile *c, bool down)
{
    begin(c);
    emit_immediate_at(c->e, down ? OP_IMM_OR : OP_IMM_AND, &c->cpu->state.rflags, down ? FLAG_DF : ~(uint32_t)FLAG_DF);
}

static void emit_ac(struct compile *c, bool set)
{
    begin(c);
    bool is_set = engine_key_rights(c->block->key) == TLB_SUPERVISOR; /* or there is no SMAP */
    if (!set && is_set)
        emit_require(c, &c->cpu->state.cr4, CR4_SMAP, true);
    emit_immediate_at(c->e, set ? OP_IMM_OR : OP_IMM_AND, &c->cpu->state.rflags, set ? FLAG_AC : ~(uint32_t)FLAG_AC);
    if (set != is_set)
        emit_mode(c, key_with(c->block->key, set ? TLB_SUPERVISOR : TLB_SUPERVISOR_SMAP));
}

/* `to` = RFLAGS; uses `other`. */
static void emit_rflags(struct compile *c, unsigned to, unsigned other)
{
    struct emit *e = c->e;
    emit_load32(e, other, &c->cpu->translate.flags);
    emit_immediate(e, OP_IMM_AND, other, FLAGS_ARITH);
    emit_load32(e, to, &c->cpu->state.rflags);
    emit_immediate(e, OP_IMM_AND, to, ~(uint32_t)(FLAGS_ARITH | FLAG_VM | FLAG_RF));
    emit_op_register(e, false, 0x0b, to, other); /* OR */
    emit_immediate(e, OP_IMM_OR, to, 2);
}

static void emit_pushf(struct compile *c)
{
    struct emit *e = c->e;
    begin(c);
    emit_rflags(c, SCRATCH_0, SCRATCH_1);
    emit_store(e, at_absolute(&c->cpu->translate.temporary), SCRATCH_0);
    struct host_memory at = access_at(c, c->plans[c->u->number].stack, GUEST_RSP, -8, 8, true);
    emit_load(e, SCRATCH_0, at_absolute(&c->cpu->translate.temporary));
    emit_store(e, at, SCRATCH_0);
    flags_register_changes(c, INSN_RSP);
    emit_add_to(e, GUEST_RSP, GUEST_RSP, -8);
}

/* Arithmetic flags, DF and, in the kernel, IF; other changes are E0's. */
static void emit_popf(struct compile *c)
{
    struct emit *e = c->e;
    struct cpu *cpu = c->cpu;
    uint32_t own = FLAG_DF | (is_kernel(c) ? FLAG_IF : 0), others = FLAG_TF | FLAG_NT | FLAG_AC | FLAG_ID | (is_kernel(c) ? FLAG_IOPL : FLAG_IF);
    struct host_memory at = access_at(c, c->plans[c->u->number].stack, GUEST_RSP, 0, 8, false);
    emit_load(e, SCRATCH_0, at);
    emit_store(e, at_absolute(&cpu->translate.temporary), SCRATCH_0);
    begin(c);
    emit_load32(e, SCRATCH_0, &cpu->translate.temporary);
    emit_load32(e, SCRATCH_1, &cpu->state.rflags);
    emit_op_register(e, false, 0x33, SCRATCH_1, SCRATCH_0); /* XOR */
    emit_op_register(e, false, 0xf7, 0, SCRATCH_1);         /* TEST */
    emit_u32(e, others);
    interpret_if(c, CC_NE);
    if (is_kernel(c)) {
        emit_waits(c);
        emit_op_register(e, false, 0x89, SCRATCH_0, SCRATCH_2); /* MOV */
        emit_op_register(e, false, 0xc1, 4, SCRATCH_2);         /* SHL: IF becomes the sign */
        emit_byte(e, 31 - 9);
        emit_op_register(e, false, 0xc1, 7, SCRATCH_2);         /* SAR */
        emit_byte(e, 31);
        emit_op_register(e, false, 0x23, SCRATCH_1, SCRATCH_2); /* AND */
        interpret_if(c, CC_NE);
    }
    emit_load32(e, SCRATCH_1, &cpu->state.rflags);
    emit_immediate(e, OP_IMM_AND, SCRATCH_1, ~(own | FLAGS_ARITH));
    emit_op_register(e, false, 0x89, SCRATCH_0, SCRATCH_2); /* MOV */
    emit_immediate(e, OP_IMM_AND, SCRATCH_2, own);
    emit_op_register(e, false, 0x0b, SCRATCH_1, SCRATCH_2); /* OR */
    emit_store(e, at_absolute(&cpu->state.rflags), SCRATCH_1);
    emit_immediate(e, OP_IMM_AND, SCRATCH_0, FLAGS_ARITH);
    emit_store(e, at_absolute(&cpu->translate.flags), SCRATCH_0);
    c->recipe.kind = RECIPE_NONE;
    emit_add_to(e, GUEST_RSP, GUEST_RSP, 8);
}

/* ---- registers ---------------------------------------------------------------------------------------------------------------------------------------------------------- */

static void emit_swapgs(struct compile *c)
{
    struct emit *e = c->e;
    struct host_memory base = at_absolute(&c->cpu->state.seg[SEG_GS].base), other = at_absolute(&c->cpu->state.kernel_gs_base);
    access_scratch_changes(c, SCRATCH_1);
    emit_load(e, SCRATCH_0, base);
    emit_load(e, SCRATCH_1, other);
    emit_store(e, base, SCRATCH_1);
    emit_store(e, other, SCRATCH_0);
}

/* The guest's register becomes the field. */
static void emit_to_guest(struct compile *c, unsigned reg, bool wide, const void *field)
{
    int host = register_of(reg);
    flags_register_changes(c, reg);
    emit_op_memory(c->e, wide, 0x8b, host == NO_REGISTER ? SCRATCH_0 : (unsigned)host, at_absolute(field));
    if (host == NO_REGISTER)
        emit_store(c->e, register_slot(c, reg), SCRATCH_0);
}

static void emit_mov_cr(struct compile *c)
{
    const struct cpu_state *s = &c->cpu->state;
    const uint64_t *const field[] = { &s->cr0, NULL, &s->cr2, &s->cr3, &s->cr4 };
    emit_to_guest(c, c->in.opnd[0].reg, true, field[c->in.opnd[1].reg]);
}

/* The selector, in a register of 2, 4 or 8 bytes. */
static void emit_mov_seg(struct compile *c)
{
    struct emit *e = c->e;
    const struct insn_opnd *to = &c->in.opnd[0];
    int host = register_of(to->reg);
    flags_register_changes(c, to->reg);
    emit_load16(e, SCRATCH_0, &c->cpu->state.seg[c->in.opnd[1].reg].selector);
    if (host == NO_REGISTER && to->size > 2) {
        emit_store(e, register_slot(c, to->reg), SCRATCH_0);
    } else if (host == NO_REGISTER) {
        emit_store16(e, &c->cpu->state.gpr[to->reg], SCRATCH_0);
    } else {
        if (to->size == 2)
            emit_byte(e, 0x66);
        emit_op_register(e, false, 0x89, SCRATCH_0, (unsigned)host);
    }
}

static void emit_rdpkru(struct compile *c)
{
    struct emit *e = c->e;
    begin(c);
    emit_require(c, &c->cpu->state.cr4, CR4_PKE, true);
    emit_op_register(e, false, 0x85, RCX, RCX); /* TEST */
    interpret_if(c, CC_NE);
    flags_register_changes(c, REG_RAX);
    flags_register_changes(c, REG_RDX);
    emit_load32(e, RAX, &c->cpu->state.pkru);
    emit_constant(e, RDX, 0);
}

static void emit_base(struct compile *c)
{
    struct emit *e = c->e;
    const struct insn *in = &c->in;
    bool wide = in->opsize == 8, fs = in->op == OP_RDFSBASE || in->op == OP_WRFSBASE;
    uint64_t *base = &c->cpu->state.seg[fs ? SEG_FS : SEG_GS].base;
    begin(c);
    emit_require(c, &c->cpu->state.cr4, CR4_FSGSBASE, true);
    if (in->op == OP_RDFSBASE || in->op == OP_RDGSBASE) {
        emit_to_guest(c, in->opnd[0].reg, wide, base);
        return;
    }
    int host = register_of(in->opnd[0].reg);
    if (host == NO_REGISTER)
        emit_load(e, SCRATCH_0, register_slot(c, in->opnd[0].reg));
    else
        emit_move(e, SCRATCH_0, (unsigned)host);
    if (wide)
        emit_require_canonical(c, SCRATCH_0, SCRATCH_1);
    else
        emit_op_register(e, false, 0x89, SCRATCH_0, SCRATCH_0);
    emit_store(e, at_absolute(base), SCRATCH_0);
}

/* clock.c */
static void emit_rdtsc(struct compile *c)
{
    struct emit *e = c->e;
    struct cpu *cpu = c->cpu;
    struct translate_clock *clock = &cpu->translate.clock;
    begin(c);
    if (!is_kernel(c))
        emit_require(c, &cpu->state.cr4, CR4_TSD, false);
    flags_register_changes(c, REG_RAX);
    flags_register_changes(c, REG_RDX);
    emit_bytes(e, "\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0", 9);         /* RDTSC; SHL RDX, 32; OR RAX, RDX */
    emit_op_memory(e, true, 0x2b, RAX, at_absolute(&clock->host));     /* SUB */
    emit_op_memory(e, true, 0x3b, RAX, at_absolute(&clock->window));   /* CMP */
    interpret_if(c, CC_AE);
    emit_op_memory(e, true, 0x0faf, RAX, at_absolute(&clock->rate));   /* IMUL */
    emit_bytes(e, "\x48\xc1\xe8\x20", 4);                              /* SHR RAX, 32 */
    emit_op_memory(e, true, 0x03, RAX, at_absolute(&clock->ticks));    /* ADD */
    emit_store(e, at_absolute(&clock->last), RAX);
    emit_op_memory(e, true, 0x03, RAX, at_absolute(&cpu->state.tsc_offset));
    emit_move(e, RDX, RAX);
    emit_bytes(e, "\x48\xc1\xea\x20\x89\xc0", 6);                      /* SHR RDX, 32; MOV EAX, EAX */
    if (c->in.op == OP_RDTSCP) {
        flags_register_changes(c, REG_RCX);
        emit_load32(e, RCX, &cpu->state.tsc_aux);
    }
}

/* ---- bit strings: a register says which bit, of however many words ----------------------------------------------------------------------------------------------------- */

static void emit_bit(struct compile *c)
{
    struct emit *e = c->e;
    const struct insn *in = &c->in;
    bool wide = in->opsize == 8, write = in->op != OP_BT;
    const unsigned extension = in->op == OP_BT ? 0x0fa3 : in->op == OP_BTS ? 0x0fab : in->op == OP_BTR ? 0x0fb3 : 0x0fbb;
    struct host_memory at = access_bit_string(c, in, write);
    int bit = register_of(in->opnd[1].reg);
    if (bit == NO_REGISTER)
        emit_load(e, SCRATCH_0, register_slot(c, in->opnd[1].reg));
    else
        emit_move(e, SCRATCH_0, (unsigned)bit);
    emit_immediate(e, OP_IMM_AND, SCRATCH_0, wide ? 63 : 31);
    emit_store(e, at_absolute(&c->cpu->translate.temporary), SCRATCH_0); /* flags_before() wants the register */
    flags_before(c, EFFECT_MIXES);
    emit_load(e, SCRATCH_0, at_absolute(&c->cpu->translate.temporary));
    if (write && in->prefix & PFX_LOCK && c->t->lock)
        emit_byte(e, 0xf0);
    emit_op_memory(e, wide, extension, SCRATCH_0, at);
    flags_after(c, in, EFFECT_MIXES);
}

/* ---- system calls --------------------------------------------------------------------------------------------------------------------------------------------------------- */

/* A flat segment whose selector is in `reg`. */
static void emit_segment(struct compile *c, unsigned seg, unsigned reg, unsigned attributes)
{
    struct cpu_segment *s = &c->cpu->state.seg[seg];
    emit_store_constant(c->e, true, &s->base, 0);
    emit_store_constant(c->e, false, &s->limit, UINT32_MAX);
    emit_store16(c->e, &s->selector, reg);
    emit_store_constant16(c->e, &s->attributes, attributes);
}

/* RFLAGS become the bits of SCRATCH_0 that `mask` lets through; uses SCRATCH_1. */
static void emit_take_rflags(struct compile *c, uint32_t mask)
{
    struct emit *e = c->e;
    emit_op_register(e, false, 0x89, SCRATCH_0, SCRATCH_1); /* MOV */
    emit_immediate(e, OP_IMM_AND, SCRATCH_1, FLAGS_ARITH);
    emit_store(e, at_absolute(&c->cpu->translate.flags), SCRATCH_1);
    emit_immediate(e, OP_IMM_AND, SCRATCH_0, mask & ~(uint32_t)FLAGS_ARITH);
    emit_immediate(e, OP_IMM_OR, SCRATCH_0, 2);
    emit_store(e, at_absolute(&c->cpu->state.rflags), SCRATCH_0);
}

static void emit_syscall(struct compile *c)
{
    struct emit *e = c->e;
    struct cpu *cpu = c->cpu;
    struct cpu_state *s = &cpu->state;
    x87_store_pointer(c);
    begin(c);
    c->recipe.kind = RECIPE_NONE;
    emit_require(c, &s->efer, EFER_SCE, true);
    emit_require(c, &s->cr4, CR4_SMAP, true);
    emit_require(c, &s->sfmask, FLAG_AC, true);
    emit_rflags(c, SCRATCH_0, SCRATCH_1);
    emit_store(e, at_absolute(&s->gpr[11]), SCRATCH_0);
    emit_load32(e, SCRATCH_1, &s->sfmask);
    emit_op_register(e, false, 0xf7, 2, SCRATCH_1);         /* NOT */
    emit_op_register(e, false, 0x23, SCRATCH_0, SCRATCH_1); /* AND */
    emit_take_rflags(c, UINT32_MAX);
    emit_load(e, RCX, at_absolute(&cpu->translate.page));
    emit_add_to(e, RCX, RCX, (int32_t)(c->block->start + c->u->offset + c->u->length));
    emit_load16(e, SCRATCH_0, (uint8_t *)&s->star + 4);
    emit_immediate(e, OP_IMM_AND, SCRATCH_0, 0xfffc);
    emit_segment(c, SEG_CS, SCRATCH_0, FLAT_CODE64);
    emit_op_memory(e, false, 0x8d, SCRATCH_0, at_base(SCRATCH_0, 8)); /* LEA */
    emit_segment(c, SEG_SS, SCRATCH_0, FLAT_DATA);
    emit_store_constant8(e, &s->cpl, 0);
    emit_mode(c, key_with(c->block->key, TLB_SUPERVISOR_SMAP));
    emit_load(e, SCRATCH_1, at_absolute(&s->lstar));
    branch_to_found(c, &cpu->translate.kernel_tag);
}

static void emit_sysret(struct compile *c)
{
    struct emit *e = c->e;
    struct cpu *cpu = c->cpu;
    struct cpu_state *s = &cpu->state;
    x87_store_pointer(c);
    begin(c);
    c->recipe.kind = RECIPE_NONE;
    emit_require(c, &s->efer, EFER_SCE, true);
    emit_require(c, &s->gpr[11], FLAG_TF | FLAG_AC, false);
    emit_require_calm(c);
    emit_require_canonical(c, RCX, SCRATCH_0);
    emit_load32(e, SCRATCH_0, &s->gpr[11]);
    emit_take_rflags(c, 0x3c7fd7); /* SDM SYSRET: RF, VM and reserved bits clear */
    emit_load16(e, SCRATCH_0, (uint8_t *)&s->star + 6);
    emit_op_memory(e, false, 0x8d, SCRATCH_1, at_base(SCRATCH_0, 8)); /* LEA */
    emit_immediate(e, OP_IMM_OR, SCRATCH_1, 3);
    emit_segment(c, SEG_SS, SCRATCH_1, FLAT_DATA | 3 << SEG_DPL_SHIFT);
    emit_op_memory(e, false, 0x8d, SCRATCH_1, at_base(SCRATCH_0, 16));
    emit_immediate(e, OP_IMM_OR, SCRATCH_1, 3);
    emit_segment(c, SEG_CS, SCRATCH_1, FLAT_CODE64 | 3 << SEG_DPL_SHIFT);
    emit_store_constant8(e, &s->cpl, 3);
    emit_mode(c, key_with(c->block->key, TLB_USER));
    emit_move(e, SCRATCH_1, RCX);
    branch_to_found(c, &cpu->fetch_tag);
}

/* ---- IRET to a user's 64-bit code: flat segments of the GDT, the stack's below the code's, as SYSRET has them ------------------------------------------------------------ */

enum { FRAME_RIP, FRAME_CS, FRAME_RFLAGS, FRAME_RSP, FRAME_SS, FRAME_WORDS };
/* Their descriptors (SDM vol. 3, 3.4.5): present, accessed, DPL 3. */
static const uint64_t user_data_descriptor = UINT64_C(0x00cff3000000ffff), user_code_descriptor = UINT64_C(0x00affb000000ffff);

static void emit_take_frame(struct compile *c)
{
    struct emit *e = c->e;
    struct host_memory at = access_at(c, (struct member){ NULL, 0 }, GUEST_RSP, 0, FRAME_WORDS * 8, false);
    for (unsigned i = 0; i < FRAME_WORDS; i++, at.disp += 8) {
        emit_load(e, SCRATCH_0, at);
        emit_store(e, at_absolute(&c->cpu->translate.frame[i]), SCRATCH_0);
    }
}

/* E0, unless both selectors are of the GDT, not null, with RPL 3, CS's next to SS's, and inside the limit. */
static void emit_require_selectors(struct compile *c)
{
    struct emit *e = c->e;
    const uint64_t *frame = c->cpu->translate.frame;
    emit_load16(e, SCRATCH_0, &frame[FRAME_SS]);
    emit_load16(e, SCRATCH_1, &frame[FRAME_CS]);
    emit_op_memory(e, false, 0x8d, SCRATCH_2, at_base(SCRATCH_0, 8)); /* LEA */
    emit_op_register(e, false, 0x3b, SCRATCH_2, SCRATCH_1);           /* CMP */
    interpret_if(c, CC_NE);
    emit_op_memory(e, false, 0x8d, SCRATCH_2, at_base(SCRATCH_1, 4));
    emit_op_memory(e, false, 0x3b, SCRATCH_2, at_absolute(&c->cpu->state.gdtr.limit));
    interpret_if(c, CC_A);
    emit_immediate(e, OP_IMM_CMP, SCRATCH_0, 8);
    interpret_if(c, CC_B);
    emit_immediate(e, OP_IMM_AND, SCRATCH_0, 7);
    emit_immediate(e, OP_IMM_CMP, SCRATCH_0, 3);
    interpret_if(c, CC_NE);
}

static void emit_require_descriptors(struct compile *c)
{
    struct emit *e = c->e;
    uint8_t *retry = e->at;
    emit_load16(e, SCRATCH_1, &c->cpu->translate.frame[FRAME_SS]);
    emit_op_memory(e, true, 0x03, SCRATCH_1, at_absolute(&c->cpu->state.gdtr.base)); /* ADD */
    emit_add_to(e, SCRATCH_1, SCRATCH_1, -3);
    struct host_memory at = access_scratch(c, retry, 16);
    emit_constant(e, SCRATCH_0, user_data_descriptor);
    emit_op_memory(e, true, 0x3b, SCRATCH_0, at);
    interpret_if(c, CC_NE);
    at.disp += 8;
    emit_constant(e, SCRATCH_0, user_code_descriptor);
    emit_op_memory(e, true, 0x3b, SCRATCH_0, at);
    interpret_if(c, CC_NE);
}

/* E0, unless DS, ES, FS and GS are null: others may have to go (SDM vol. 3, 5.8.6). */
static void emit_require_null(struct compile *c)
{
    static const uint8_t data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    struct emit *e = c->e;
    for (unsigned i = 0; i < ARRAY_LEN(data); i++) {
        emit_load16(e, i ? SCRATCH_1 : SCRATCH_0, &c->cpu->state.seg[data[i]].selector);
        if (i)
            emit_op_register(e, false, 0x0b, SCRATCH_0, SCRATCH_1); /* OR */
    }
    emit_op_register(e, false, 0xf7, 0, SCRATCH_0); /* TEST */
    emit_u32(e, 0xfffc);
    interpret_if(c, CC_NE);
}

static void emit_iret(struct compile *c)
{
    const uint32_t taken = FLAGS_ARITH | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_VIF | FLAG_VIP | FLAG_ID; /* RF: nobody sees it while no breakpoint is enabled */
    struct emit *e = c->e;
    struct cpu *cpu = c->cpu;
    struct cpu_state *s = &cpu->state;
    const uint64_t *frame = cpu->translate.frame;
    x87_store_pointer(c);
    begin(c);
    c->recipe.kind = RECIPE_NONE;
    emit_take_frame(c);
    emit_require(c, &s->rflags, FLAG_NT, false);
    emit_require(c, &s->dr[7], 0xff, false);
    emit_require(c, &frame[FRAME_RFLAGS], FLAG_TF | FLAG_NT | FLAG_AC, false);
    emit_require_calm(c);
    emit_require_selectors(c);
    emit_require_descriptors(c);
    emit_require_null(c);
    emit_load(e, SCRATCH_0, at_absolute(&frame[FRAME_RIP]));
    emit_require_canonical(c, SCRATCH_0, SCRATCH_1);
    flags_register_changes(c, GUEST_RSP);
    emit_load(e, GUEST_RSP, at_absolute(&frame[FRAME_RSP]));
    emit_load32(e, SCRATCH_0, &frame[FRAME_RFLAGS]);
    emit_take_rflags(c, taken);
    emit_load16(e, SCRATCH_1, &frame[FRAME_SS]);
    emit_segment(c, SEG_SS, SCRATCH_1, FLAT_DATA | 3 << SEG_DPL_SHIFT);
    emit_load16(e, SCRATCH_1, &frame[FRAME_CS]);
    emit_segment(c, SEG_CS, SCRATCH_1, FLAT_CODE64 | 3 << SEG_DPL_SHIFT);
    emit_store_constant8(e, &s->nmi_blocked, 0);
    emit_store_constant8(e, &s->cpl, 3);
    emit_mode(c, key_with(c->block->key, TLB_USER));
    emit_load(e, SCRATCH_1, at_absolute(&frame[FRAME_RIP]));
    branch_to_found(c, &cpu->fetch_tag);
}

/* ---- all ---------------------------------------------------------------------------------------------------------------------------------------------------------------- */

void system_instruction(struct compile *c)
{
    switch (c->in.op) {
    case OP_SWAPGS:  emit_swapgs(c); break;
    case OP_CLI:     emit_cli(c); break;
    case OP_STI:     emit_sti(c); break;
    case OP_STAC: case OP_CLAC: emit_ac(c, c->in.op == OP_STAC); break;
    case OP_CLD: case OP_STD: emit_direction(c, c->in.op == OP_STD); break;
    case OP_PUSHF:   emit_pushf(c); break;
    case OP_POPF:    emit_popf(c); break;
    case OP_MOV_CR:  emit_mov_cr(c); break;
    case OP_MOV_SEG: emit_mov_seg(c); break;
    case OP_RDPKRU:  emit_rdpkru(c); break;
    case OP_RDFSBASE: case OP_RDGSBASE: case OP_WRFSBASE: case OP_WRGSBASE: emit_base(c); break;
    case OP_RDTSC: case OP_RDTSCP: emit_rdtsc(c); break;
    case OP_PAUSE:   break;
    case OP_SYSCALL: emit_syscall(c); break;
    case OP_SYSRET:  emit_sysret(c); break;
    case OP_IRET:    emit_iret(c); break;
    default:         emit_bit(c); break;
    }
}
