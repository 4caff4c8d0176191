/* SPDX-License-Identifier: MIT */
/* verify.c - proves of a block's translation that it reaches no memory but the guest's pages, by their entries of the fast TLB, and what it may of struct cpu.
 *
 * The code is decoded by the decoder that E0 uses, instruction by instruction from its start, and run on symbols: what each register holds is a symbol plus a constant (or
 * nothing that is known), until it becomes a page number, a slot of the fast TLB or, after the comparison with the slot's tag and a JNE away, the addend of a page for a range
 * of bytes behind a symbol. Proved are:
 *   - every memory operand is absolute in the fields of struct cpu that translated code may read, or write; or in the slot just computed; or symbol + constant + addend, or what
 *     LEA made of them, with all its bytes in the range that was compared, and with a tag for stores if it is stored to;
 *   - direct jumps lead to the first byte of an instruction of the same translation or to the thunk that leaves, the only calls lead to its other entry or to shared code, whose
 *     look-ups are of the block's rights, and an indirect jump goes to the code that translate_state.jumps names, after comparisons with its address and tag;
 *   - the host's stack is what private.h says: PUSH of SCRATCH_0, behind the OR that keeps RSP in the ring, is followed by a CALL before anything jumps but to
 *     leave, and the CALL by the LEA that takes the rest of the entry off; RET only follows a comparison with the address that was pushed, and JNE away;
 *   - no other instruction is there than those that the translator copies or writes: none that is privileged, enters a kernel, or touches segments, or RSP but so and by
 *     PUSHF with POP.
 * Where code can be entered or jumped to, nothing is known; where an access is tried again after a miss, only what guest registers hold.
 *
 * Not proved: that the result is right (lockstep.c); links, which site_link() writes afterwards, from recorded displacements to recorded entries; the count of REP
 * MOVS and STOS, whose pointers are proved to be addends; what system.c stores to the guest's state; the thunks. What is trusted: the decoder, and that a slot's
 * tag and addend are of one page whose number selects the slot, which translator.c keeps. Locking: owner's thread.
 */
#include "cpu/translate/verify.h"

#include <stddef.h>
#include <stdlib.h>

#include "cpu/translate/compile.h"

enum value_kind {
    VALUE_ADDRESS, /* symbol + lo; hi not 0: less than that                   */
    VALUE_PAGE,    /* its page number                                         */
    VALUE_SHIFTED, /* (symbol + lo) >> 7                                      */
    VALUE_SLOT,    /* the slot of its page: offset in a set of the fast TLB   */
    VALUE_ADDEND,  /* host minus linear address, good for [lo, hi]; `write`: for stores too */
    VALUE_HOST,    /* symbol + addend                                         */
    VALUE_OPERAND, /* a host address, good for [lo, hi] from it               */
    VALUE_JUMP,    /* offset in translate_state.jumps                         */
};

struct value { uint8_t kind; bool write; uint32_t symbol; int64_t lo, hi; };

enum { SAVED_MAX = 40 };

struct verify {
    const struct compile *c;
    const struct cpu *cpu;
    const uint8_t *start;
    uint32_t size;
    uint64_t *boundary, *label, *resume; /* a bit for each byte */
    uint32_t symbols;
    struct value reg[16];
    struct { uint64_t address; struct value value; } saved[SAVED_MAX]; /* 64-bit stores to struct cpu */
    unsigned saved_count;
    struct value compared;        /* by the last instruction, with a tag: VALUE_ADDEND but not yet so */
    bool has_compared, checked;   /* `checked`: and JNE went away                                     */
    unsigned jump_compared, jump_checked; /* 1: the address, 2: the tag                                */
    uint32_t jump_symbol;
    bool pushed;                  /* PUSHF: POP must follow                                           */
    bool in_ring, entry;          /* RSP was just made part of the ring; SCRATCH_0 was pushed: CALL must follow */
    bool called;                  /* and did: LEA must follow                                         */
    unsigned return_compared;     /* SCRATCH_1 with the top's address: 1; and JNE went away: 2        */
    bool ended;                   /* behind a jump: only a label goes on                              */
    const char *why;
};

static bool bit_get(const uint64_t *bits, uint64_t i) { return bits[i / 64] >> i % 64 & 1; }
static void bit_put(uint64_t *bits, uint64_t i) { bits[i / 64] |= BIT(i % 64); }

static void refuse(struct verify *v, const char *why)
{
    if (!v->why)
        v->why = why;
}

/* ---- what registers hold ------------------------------------------------------------------------------------------------------------------------------------------------ */

static void forget_register(struct verify *v, unsigned reg) { v->reg[reg & 15] = (struct value){ .kind = VALUE_ADDRESS, .symbol = ++v->symbols }; }

static void forget_compared(struct verify *v)
{
    v->has_compared = false;
    v->jump_compared = 0;
}

static bool is_scratch(unsigned reg) { return reg == SCRATCH_0 || reg == SCRATCH_1 || reg == SCRATCH_2; }

/* What a guest's register has become by the guest's own SHR or AND is no step of a look-up, but a number that may be an address. */
static bool is_step(const struct value *value)
{
    return value->kind == VALUE_PAGE || value->kind == VALUE_SHIFTED || value->kind == VALUE_SLOT || value->kind == VALUE_JUMP;
}

static void forget_scratch(struct verify *v)
{
    forget_register(v, SCRATCH_0);
    forget_register(v, SCRATCH_1);
    forget_register(v, SCRATCH_2);
    v->checked = false;
    v->jump_checked = 0;
    forget_compared(v);
}

static void forget_all(struct verify *v)
{
    for (unsigned i = 0; i < 16; i++)
        forget_register(v, i);
    v->saved_count = 0;
    forget_scratch(v);
}

static void saved_drop(struct verify *v, uint64_t address, unsigned size)
{
    for (unsigned i = 0; i < v->saved_count;) {
        if (v->saved[i].address < address + size && address < v->saved[i].address + 8)
            v->saved[i] = v->saved[--v->saved_count];
        else
            i++;
    }
}

static void saved_put(struct verify *v, uint64_t address, const struct value *value)
{
    if (v->saved_count == SAVED_MAX)
        v->saved_count = 0;
    v->saved[v->saved_count].address = address;
    v->saved[v->saved_count++].value = *value;
}

static const struct value *saved_get(const struct verify *v, uint64_t address)
{
    for (unsigned i = 0; i < v->saved_count; i++)
        if (v->saved[i].address == address)
            return &v->saved[i].value;
    return NULL;
}

/* ---- memory operands ---------------------------------------------------------------------------------------------------------------------------------------------------- */

static bool is_inside(uint64_t address, unsigned size, const void *field, size_t field_size)
{
    uint64_t first = (uintptr_t)field;
    return address >= first && address + size <= first + field_size;
}
/* Whether one of the bytes is the field's. */
static bool meets(uint64_t address, unsigned size, const void *field, size_t field_size)
{
    uint64_t first = (uintptr_t)field;
    return address < first + field_size && address + size > first;
}
#define MEETS(field) meets(address, size, &(field), sizeof(field))
#define IS_IN(field) is_inside(address, size, &(field), sizeof(field))

static bool may_read(const struct cpu *cpu, uint64_t address, unsigned size)
{
    return IS_IN(cpu->interrupt_waits) || IS_IN(cpu->window) || IS_IN(cpu->state) || IS_IN(cpu->requests) || IS_IN(cpu->fetch_tag) ||
        is_inside(address, size, &cpu->translate, offsetof(struct translate_state, tlb));
}

static bool may_write(const struct cpu *cpu, uint64_t address, unsigned size)
{
    const struct translate_state *t = &cpu->translate;
    if (MEETS(t->host_stack) || MEETS(t->kernel_tag) || MEETS(t->site) || MEETS(t->left_at) || MEETS(t->host_flags) || MEETS(t->host_mxcsr) || MEETS(t->vectors_live) ||
        MEETS(t->zmm_live) || MEETS(t->x87_image) || MEETS(t->tlb_hits) || MEETS(t->samples) || MEETS(t->pushed) || MEETS(t->kept_rax))
        return false;
    const struct cpu_state *s = &cpu->state;
    if (IS_IN(s->rflags) || IS_IN(s->cpl) || IS_IN(s->nmi_blocked) || IS_IN(s->seg[SEG_CS]) || IS_IN(s->seg[SEG_SS]) || IS_IN(s->seg[SEG_FS].base) ||
        IS_IN(s->seg[SEG_GS].base) || IS_IN(s->kernel_gs_base))
        return true; /* system.c: the guest's own state, which says nothing of the host's memory */
    return IS_IN(cpu->state.gpr) || IS_IN(cpu->state.vec) || IS_IN(cpu->state.mxcsr) || IS_IN(cpu->state.x87) || is_inside(address, size, t, offsetof(struct translate_state, tlb));
}

/* The rights, their TLB and the key, as constants: what emit_mode() of system.c stores. */
static bool is_mode(const struct cpu *cpu, const struct insn *in, uint64_t address)
{
    const struct insn_opnd *o = &in->opnd[0];
    uint64_t value = (uint64_t)in->imm;
    if (in->op != OP_MOV || in->opnd[1].kind != OPND_IMM)
        return false;
    if (address == (uintptr_t)&cpu->rights)
        return o->size == 1 && value <= TLB_USER;
    for (unsigned rights = TLB_SUPERVISOR; rights <= TLB_USER && address == (uintptr_t)&cpu->tlb; rights++)
        if (o->size == 8 && value == (uintptr_t)cpu->tlbs[rights])
            return true;
    return o->size == 4 && (address == (uintptr_t)&cpu->block_key || address == (uintptr_t)&cpu->translate.kernel_tag + 4);
}

/* What tlb_emit_hit() of access.c counts: by INC alone, and where it is to be counted. */
static bool is_count(const struct cpu *cpu, const struct insn *in, uint64_t address)
{
    return cpu->vm->count_tlb && in->op == OP_INC && in->opnd[0].size == 8 && address == (uintptr_t)&cpu->translate.tlb_hits;
}

static const struct insn_opnd *memory_of(const struct insn *in)
{
    for (unsigned i = 0; i < in->nopnd; i++)
        if (in->opnd[i].kind == OPND_MEM)
            return &in->opnd[i];
    return NULL;
}

static bool is_written(const struct insn *in, const struct insn_opnd *o)
{
    if (insn_only_reads(in))
        return false;
    return in->op == OP_POP || (o == &in->opnd[0] && insn_op_flags(in->op) & OPF_WRITES_OPND0) || (o == &in->opnd[1] && insn_op_flags(in->op) & OPF_WRITES_OPND1) ||
        (insn_writes_memory(in) && !(insn_op_flags(in->op) & OPF_STACK));
}

static void check_absolute(struct verify *v, const struct insn *in, const struct insn_opnd *o)
{
    uint64_t address = (uint64_t)(int64_t)in->disp;
    if (is_written(in, o) ? !may_write(v->cpu, address, o->size) && !is_mode(v->cpu, in, address) && !is_count(v->cpu, in, address) : !may_read(v->cpu, address, o->size))
        refuse(v, "an absolute operand outside what translated code may use");
    if (is_written(in, o))
        saved_drop(v, address, o->size);
}

/* [slot + a field of the fast TLB or of the jumps]: loads and comparisons. */
static void check_slot(struct verify *v, const struct insn *in, const struct insn_opnd *o)
{
    const struct fast_tlb *set = v->cpu->translate.tlb[engine_key_set(v->c->block->key)];
    const struct fast_jump *jumps = v->cpu->translate.jumps;
    const struct value *slot = &v->reg[in->base];
    int64_t tlb_at = in->disp - (int64_t)(intptr_t)set, jump_at = in->disp - (int64_t)(intptr_t)jumps;
    bool inside = slot->kind == VALUE_SLOT ? tlb_at >= 0 && tlb_at + o->size <= (int64_t)sizeof *set : jump_at >= 0 && jump_at + o->size <= (int64_t)sizeof *jumps;
    if (!inside || is_written(in, o))
        refuse(v, "an operand that is no field of the slot, or is written");
}

static void check_guest(struct verify *v, const struct insn *in, const struct insn_opnd *o)
{
    const struct value *a = &v->reg[in->index], *base = &v->reg[in->base];
    if (a->kind != VALUE_ADDEND || base->kind != VALUE_ADDRESS)
        a = &v->reg[in->base], base = &v->reg[in->index];
    if (a->kind != VALUE_ADDEND || base->kind != VALUE_ADDRESS || in->scale)
        refuse(v, "an operand without an addend of the fast TLB");
    else if (a->symbol != base->symbol || base->lo + in->disp < a->lo || base->lo + in->disp + o->size - 1 > a->hi)
        refuse(v, "an operand outside the range that was looked up");
    else if (is_written(in, o) && !a->write)
        refuse(v, "a store by an entry for loads");
}

static void check_operand(struct verify *v, const struct insn *in, const struct insn_opnd *o)
{
    const struct value *operand = &v->reg[in->base];
    if (in->disp < operand->lo || in->disp + (int64_t)o->size - 1 > operand->hi)
        refuse(v, "an operand outside the bytes that were looked up");
    else if (is_written(in, o) && !operand->write)
        refuse(v, "a store by an entry for loads");
}

static void check_memory(struct verify *v, const struct insn *in)
{
    const struct insn_opnd *o = memory_of(in);
    if (!in->has_mem || in->op == OP_LEA)
        return;
    if (!o || !o->size || in->vsib || in->asize != 8 || in->base == INSN_RIP || in->seg == INSN_FS || in->seg == INSN_GS || in->base == INSN_RSP)
        refuse(v, "an operand of a form that is never written");
    else if (in->base == INSN_NO_REG && in->index == INSN_NO_REG)
        check_absolute(v, in, o);
    else if (in->base != INSN_NO_REG && in->index == INSN_NO_REG && (v->reg[in->base].kind == VALUE_SLOT || v->reg[in->base].kind == VALUE_JUMP))
        check_slot(v, in, o);
    else if (in->base != INSN_NO_REG && in->index == INSN_NO_REG && v->reg[in->base].kind == VALUE_OPERAND)
        check_operand(v, in, o);
    else if (in->base != INSN_NO_REG && in->index != INSN_NO_REG)
        check_guest(v, in, o);
    else
        refuse(v, "an operand without an addend of the fast TLB");
}

/* ---- instructions ---------------------------------------------------------------------------------------------------------------------------------------------------------- */

/* FLDCW: from our copy of the word, of which it was seen that it masks all exceptions. */
static bool x87_is_allowed(const struct verify *v, const struct insn *in)
{
    switch (in->op) {
    case OP_FNINIT: case OP_FLDENV: case OP_FNSTENV: case OP_FNSAVE: case OP_FRSTOR: case OP_FWAIT: return false;
    case OP_FLDCW:
        return in->base == INSN_NO_REG && in->index == INSN_NO_REG && in->disp == (int32_t)(intptr_t)&v->cpu->translate.temporary;
    default: return true;
    }
}

static bool is_allowed(const struct verify *v, const struct insn *in)
{
    if (in->op >= OP_F2XM1 && in->op <= OP_FYL2XP1)
        return x87_is_allowed(v, in);
    if (in->op >= OP_EMMS)
        return !(insn_op_flags(in->op) & OPF_PRIVILEGED) && !in->vsib && in->op != OP_MASKMOVQ && in->op != OP_MASKMOVDQU;
    switch (in->op) {
    case OP_ADD: case OP_OR: case OP_ADC: case OP_SBB: case OP_AND: case OP_SUB: case OP_XOR: case OP_CMP: case OP_TEST: case OP_INC: case OP_DEC: case OP_NEG:
    case OP_NOT: case OP_ROL: case OP_ROR: case OP_RCL: case OP_RCR: case OP_SHL: case OP_SHR: case OP_SAR: case OP_SHLD: case OP_SHRD:
    case OP_MOVZX: case OP_MOVSX: case OP_MOVSXD: case OP_CMOVCC: case OP_SETCC: case OP_MUL: case OP_IMUL: case OP_DIV: case OP_IDIV: case OP_CBW: case OP_CWD:
    case OP_BSWAP: case OP_BSF: case OP_BSR: case OP_TZCNT: case OP_LZCNT: case OP_POPCNT: case OP_XADD: case OP_XCHG: case OP_CMPXCHG: case OP_CMPXCHG8B:
    case OP_CMPXCHG16B: case OP_ADCX: case OP_ADOX: case OP_MULX: case OP_ANDN: case OP_BEXTR: case OP_BLSI: case OP_BLSMSK: case OP_BLSR: case OP_BZHI:
    case OP_PDEP: case OP_PEXT: case OP_RORX: case OP_SARX: case OP_SHLX: case OP_SHRX: case OP_MOVBE: case OP_CRC32: case OP_CMC: case OP_CLC: case OP_STC:
    case OP_LAHF: case OP_SAHF: case OP_MOVNTI: case OP_LFENCE: case OP_MFENCE: case OP_SFENCE: case OP_MOV: case OP_BT: case OP_BTS: case OP_BTR: case OP_BTC:
    case OP_LEA: case OP_NOP: case OP_RDTSC:
        return true;
    default: return false;
    }
}

/* A bit string's bit is outside its operand when a register says which. */
static bool reaches_beyond(const struct verify *v, const struct insn *in)
{
    const struct value *bit = in->opnd[1].kind == OPND_GPR ? &v->reg[in->opnd[1].reg] : NULL;
    if (bit && bit->kind == VALUE_ADDRESS && bit->hi && bit->hi <= in->opnd[0].size * 8)
        return false;
    return (in->op == OP_BT || in->op == OP_BTS || in->op == OP_BTR || in->op == OP_BTC) && in->has_mem && in->opnd[1].kind != OPND_IMM;
}

static void write_implicit(struct verify *v, const struct insn *in)
{
    switch (in->op) {
    case OP_MUL: case OP_IMUL: case OP_DIV: case OP_IDIV: case OP_CMPXCHG8B: case OP_CMPXCHG16B: case OP_CWD: case OP_CBW: case OP_CMPXCHG: case OP_LAHF:
    case OP_RDTSC:
        if (in->op == OP_IMUL && in->nopnd > 1)
            return;
        forget_register(v, INSN_RAX);
        forget_register(v, INSN_RDX);
        return;
    case OP_PCMPESTRI: case OP_PCMPISTRI: forget_register(v, INSN_RCX); return;
    default: return;
    }
}

/* What is known of the registers behind an instruction of no special kind. */
static void write_registers(struct verify *v, const struct insn *in)
{
    for (unsigned i = 0; i < in->nopnd; i++) {
        const struct insn_opnd *o = &in->opnd[i];
        bool written = (i == 0 && insn_op_flags(in->op) & OPF_WRITES_OPND0) || (i == 1 && insn_op_flags(in->op) & OPF_WRITES_OPND1)
            || in->op == OP_XCHG || in->op == OP_XADD || in->op == OP_MULX;
        if (o->kind != OPND_GPR && o->kind != OPND_GPR_HIGH)
            continue;
        if (written && o->kind == OPND_GPR && o->reg == INSN_RSP)
            refuse(v, "the host's stack pointer is written");
        if (written)
            forget_register(v, o->reg);
    }
    write_implicit(v, in);
}

static bool is_register_form(const struct insn *in, unsigned size) { return !in->has_mem && in->opnd[0].kind == OPND_GPR && in->opnd[0].size == size; }

/* LEA of an address and the addend that is for it. */
static bool write_operand(struct verify *v, const struct insn *in, struct value *r)
{
    const struct value *base = &v->reg[in->base], *a = &v->reg[in->index];
    if (a->kind != VALUE_ADDEND || base->kind != VALUE_ADDRESS || a->symbol != base->symbol || in->scale)
        return false;
    int64_t at = base->lo + in->disp;
    *r = (struct value){ .kind = VALUE_OPERAND, .write = a->write, .symbol = a->symbol, .lo = a->lo - at, .hi = a->hi - at };
    return true;
}

/* The instructions that make addresses: MOV, LEA, ADD, SUB, SHR, AND, loads of what was saved and of addends. False: none of these. */
static bool write_known(struct verify *v, const struct insn *in)
{
    const struct insn_opnd *to = &in->opnd[0], *from = &in->opnd[1];
    struct value *r = to->kind == OPND_GPR ? &v->reg[to->reg] : NULL, was;
    if (!r || to->reg == INSN_RSP)
        return false;
    was = *r;
    switch (in->op) {
    case OP_MOV:
        if (is_register_form(in, 8) && from->kind == OPND_GPR) {
            *r = v->reg[from->reg];
            return is_scratch(to->reg) || !is_step(r);
        }
        if (in->has_mem && to->size == 8 && from->kind == OPND_MEM && in->base == INSN_NO_REG && in->index == INSN_NO_REG) {
            const struct value *saved = saved_get(v, (uint64_t)(int64_t)in->disp);
            if (saved)
                *r = *saved;
            return saved != NULL;
        }
        if (in->has_mem && to->size == 8 && from->kind == OPND_MEM && in->index == INSN_NO_REG && in->base != INSN_NO_REG && v->reg[in->base].kind == VALUE_SLOT) {
            const struct fast_tlb *set = v->cpu->translate.tlb[engine_key_set(v->c->block->key)];
            const struct value *slot = &v->reg[in->base];
            if (in->disp != (int32_t)(intptr_t)&set->addend || !v->checked || v->compared.symbol != slot->symbol || v->compared.lo != slot->lo)
                return false;
            *r = v->compared;
            v->checked = false;
            return true;
        }
        return false;
    case OP_LEA:
        if (to->size != 8 || in->asize != 8 || in->base >= 16)
            return false;
        if (in->index != INSN_NO_REG)
            return write_operand(v, in, r);
        if (v->reg[in->base].kind != VALUE_ADDRESS)
            return false;
        *r = v->reg[in->base];
        r->lo += in->disp;
        r->hi = 0;
        return true;
    case OP_ADD: case OP_SUB:
        if (is_register_form(in, 8) && from->kind == OPND_IMM && was.kind == VALUE_ADDRESS) {
            r->lo += in->op == OP_ADD ? in->imm : -in->imm;
            r->hi = 0;
            return true;
        }
        return false;
    case OP_INC: case OP_DEC:
        if (is_register_form(in, 8) && was.kind == VALUE_ADDRESS) {
            r->lo += in->op == OP_INC ? 1 : -1;
            r->hi = 0;
            return true;
        }
        return false;
    case OP_SHR:
        if (!is_register_form(in, 8) || !is_scratch(to->reg) || from->kind != OPND_IMM || was.kind != VALUE_ADDRESS || (in->imm != 12 && in->imm != 12 - 5))
            return false;
        r->kind = in->imm == 12 ? VALUE_PAGE : VALUE_SHIFTED;
        return true;
    case OP_AND:
        if (!is_register_form(in, 4) || !is_scratch(to->reg) || from->kind != OPND_IMM)
            return false;
        if (to->reg == SCRATCH_0 && (in->imm == 31 || in->imm == 63)) {
            forget_register(v, to->reg);
            r->hi = in->imm + 1;
            return true;
        }
        if (was.kind == VALUE_SHIFTED && (uint32_t)in->imm == (uint32_t)(FAST_TLB_ENTRIES - 1) << 5) {
            r->kind = VALUE_SLOT;
            return true;
        }
        if ((uint32_t)in->imm == (uint32_t)(FAST_JUMP_ENTRIES - 1) << 5) {
            forget_register(v, to->reg);
            r->kind = VALUE_JUMP;
            v->jump_checked = 0;
            v->jump_symbol = r->symbol;
            return true;
        }
        return false;
    default: return false;
    }
}

/* CMP register, [slot + tag]. */
static void note_comparison(struct verify *v, const struct insn *in)
{
    forget_compared(v);
    if (in->op != OP_CMP || !in->has_mem || in->opnd[0].kind != OPND_GPR || in->opnd[0].size != 8 || in->index != INSN_NO_REG || in->base >= 16)
        return;
    const struct value *slot = &v->reg[in->base], *last = &v->reg[in->opnd[0].reg];
    const struct fast_tlb *set = v->cpu->translate.tlb[engine_key_set(v->c->block->key)];
    const struct fast_jump *jumps = v->cpu->translate.jumps;
    if (slot->kind == VALUE_JUMP && slot->symbol == v->jump_symbol)
        v->jump_compared = in->disp == (int32_t)(intptr_t)&jumps->rip ? 1 : in->disp == (int32_t)(intptr_t)&jumps->tag ? 2 : 0;
    bool write = in->disp == (int32_t)(intptr_t)&set->write_tag;
    if (slot->kind != VALUE_SLOT || last->kind != VALUE_PAGE || last->symbol != slot->symbol || (!write && in->disp != (int32_t)(intptr_t)&set->read_tag) ||
        last->lo < slot->lo || last->lo - slot->lo >= (int64_t)MEM_PAGE_SIZE)
        return;
    v->has_compared = true;
    v->checked = false;
    v->compared = (struct value){ .kind = VALUE_ADDEND, .write = write, .symbol = slot->symbol, .lo = slot->lo, .hi = last->lo };
}

/* REP MOVS, REP STOS on pointers to which addends have been added. */
static void check_string(struct verify *v, const struct insn *in)
{
    if (!(in->prefix & PFX_REP) || in->asize != 8 || in->seg == INSN_FS || in->seg == INSN_GS)
        refuse(v, "a string instruction of another form");
    else if (v->reg[INSN_RDI].kind != VALUE_HOST || !v->reg[INSN_RDI].write || (in->op == OP_MOVS && v->reg[INSN_RSI].kind != VALUE_HOST))
        refuse(v, "a string instruction without addends");
    forget_register(v, INSN_RDI);
    forget_register(v, INSN_RSI);
    forget_register(v, INSN_RCX);
}

/* ADD of an addend to the address that it is for. */
static bool write_host(struct verify *v, const struct insn *in)
{
    const struct insn_opnd *to = &in->opnd[0], *from = &in->opnd[1];
    const struct value *a = NULL;
    if (in->op != OP_ADD || to->kind != OPND_GPR || to->size != 8 || (to->reg != INSN_RDI && to->reg != INSN_RSI))
        return false;
    if (from->kind == OPND_GPR)
        a = &v->reg[from->reg];
    else if (from->kind == OPND_MEM && in->base == INSN_NO_REG && in->index == INSN_NO_REG)
        a = saved_get(v, (uint64_t)(int64_t)in->disp);
    struct value *r = &v->reg[to->reg];
    if (!a || a->kind != VALUE_ADDEND || r->kind != VALUE_ADDRESS || a->symbol != r->symbol || r->lo < a->lo || r->lo > a->hi)
        return false;
    r->kind = VALUE_HOST;
    r->write = a->write;
    return true;
}

static void check_stack(struct verify *v, const struct insn *in)
{
    bool push = in->op == OP_PUSHF;
    if (push == v->pushed || in->opsize != 8 || (!push && (!in->has_mem || in->base != INSN_NO_REG || in->index != INSN_NO_REG)))
        refuse(v, "a stack instruction that is not PUSHF with POP");
    v->pushed = push;
}

/* What is done with RSP but for PUSHF and POP. False: nothing. */
static bool check_return_stack(struct verify *v, const struct insn *in)
{
    const struct insn_opnd *to = &in->opnd[0], *from = &in->opnd[1];
    bool stack = to->kind == OPND_GPR && to->reg == INSN_RSP && to->size == 8;
    bool top = in->has_mem && in->base == INSN_RSP && in->index == INSN_NO_REG && in->asize == 8 && in->disp == 8;
    if (in->op == OP_CMP && top && to->kind == OPND_GPR && to->reg == SCRATCH_1 && to->size == 8) {
        forget_compared(v);
        v->return_compared = 1;
        return true;
    }
    if (in->op == OP_OR && stack && from->kind == OPND_IMM && (in->imm == RETURN_STACK || in->imm == 2 * RETURN_STACK - RETURN_ENTRY)) {
        forget_compared(v);
        v->in_ring = !v->entry;
        return !v->entry;
    }
    if (in->op == OP_PUSH && to->kind == OPND_GPR && to->reg == SCRATCH_0 && to->size == 8 && v->in_ring) {
        v->entry = true;
        v->in_ring = false;
        return true;
    }
    if (in->op == OP_LEA && stack && top && v->called) {
        v->called = false;
        return true;
    }
    return false;
}

static void check_ordinary(struct verify *v, const struct insn *in)
{
    if (in->op == OP_MOVS || in->op == OP_STOS) {
        check_string(v, in);
        forget_compared(v);
        return;
    }
    if (in->op == OP_PUSHF || (in->op == OP_POP && in->has_mem))
        check_stack(v, in);
    else if (!is_allowed(v, in) || reaches_beyond(v, in))
        refuse(v, "an instruction that the translator does not write");
    bool flags = insn_op_flags(in->op) & OPF_WRITES_FLAGS;
    struct value stored = in->op == OP_MOV && in->has_mem && in->opnd[1].kind == OPND_GPR && in->opnd[1].size == 8 ? v->reg[in->opnd[1].reg] : (struct value){ 0 };
    bool stores = stored.symbol && !is_step(&stored) && in->base == INSN_NO_REG && in->index == INSN_NO_REG;
    if (flags)
        note_comparison(v, in);
    if (!write_host(v, in) && !write_known(v, in))
        write_registers(v, in);
    if (stores)
        saved_put(v, (uint64_t)(int64_t)in->disp, &stored);
}

/* ---- branches ---------------------------------------------------------------------------------------------------------------------------------------------------------------- */

/* The length of the instruction at `at`; 0: none. */
static unsigned decode_at(const struct verify *v, uint32_t at, struct insn *in)
{
    int len = insn_decode(v->start + at, v->size - at, CPU_MODE_64, in);
    return len > 0 ? (unsigned)len : 0;
}

static int64_t target_of(const struct insn *in, uint32_t at) { return (int64_t)at + in->length + in->imm; }

static bool target_is(const struct verify *v, const struct insn *in, uint32_t at, const uint8_t *code) { return v->start + target_of(in, at) == code; }

static bool is_find(const struct verify *v, const struct insn *in, uint32_t at)
{
    bool found = false;
    for (unsigned kind = 0; kind < INDIRECT_KINDS; kind++)
        for (unsigned i = 0; i < 4; i++)
            found |= target_is(v, in, at, v->c->t->shared.find[kind][i & 1][i >> 1]);
    return found;
}

/* Look-ups of the block's rights. False: the code is none. */
static bool call_lookup(struct verify *v, const uint8_t *code, unsigned write, unsigned keeps)
{
    const struct shared_code *shared = &v->c->t->shared;
    unsigned set = engine_key_rights(v->c->block->key), size = 0;
    struct value first = v->reg[SCRATCH_1], last = v->reg[SCRATCH_0];
    for (unsigned i = 0; i < SHARED_SIZES; i++)
        if (code == shared->operand[set][write][keeps][i])
            size = 1u << i;
    bool range = code == shared->range[set][write][keeps];
    if (!size && !range)
        return false;
    if (range && (first.kind != VALUE_ADDRESS || last.kind != VALUE_ADDRESS || first.symbol != last.symbol || last.lo < first.lo || last.lo - first.lo >= (int64_t)MEM_PAGE_SIZE))
        refuse(v, "a range that is none");
    forget_register(v, SCRATCH_0);
    v->reg[SCRATCH_2] = range ? (struct value){ .kind = VALUE_ADDEND, .write = write, .symbol = first.symbol, .lo = first.lo, .hi = last.lo }
                              : (struct value){ .kind = VALUE_OPERAND, .write = write, .symbol = ++v->symbols, .hi = size - 1 };
    v->checked = false;
    forget_compared(v);
    return true;
}

/* What the shared code leaves in registers; it changes no others. */
static bool call_shared(struct verify *v, const uint8_t *code)
{
    const struct shared_code *shared = &v->c->t->shared;
    unsigned set = engine_key_rights(v->c->block->key);
    bool push = false, pop = false, poll = false;
    if (code == shared->restore || code == shared->compare[v->c->to->global]) {
        forget_register(v, SCRATCH_0);
        forget_compared(v);
        return true;
    }
    for (unsigned keeps = 0; keeps < 2; keeps++) {
        if (call_lookup(v, code, false, keeps) || call_lookup(v, code, true, keeps))
            return true;
        push |= code == shared->push[set][keeps] || code == shared->push_offset[set][keeps];
        pop |= code == shared->pop[set][keeps];
        poll |= code == shared->poll[keeps];
    }
    forget_scratch(v);
    if (v->reg[GUEST_RSP].kind != VALUE_ADDRESS && (push || pop))
        forget_register(v, GUEST_RSP);
    v->reg[GUEST_RSP].lo += push ? -8 : pop ? 8 : 0; /* a group off RSP goes on behind it */
    return push || pop || poll;
}

/* An indirect branch to where translate_state.jumps says, after the comparisons. */
static bool leads_to_found(const struct verify *v, const struct insn *in)
{
    const struct value *j = in->base < 16 && in->index == INSN_NO_REG ? &v->reg[in->base] : NULL;
    bool code = j && j->kind == VALUE_JUMP && j->symbol == v->jump_symbol && in->disp == (int32_t)(intptr_t)&v->cpu->translate.jumps->code;
    return code && v->jump_checked == 3;
}

/* A CALL that makes an entry of the return stack whole: of what is called when it is linked, or of a part of this translation. */
static void check_entry_call(struct verify *v, const struct insn *in, uint32_t at)
{
    int64_t target = target_of(in, at);
    if (in->has_mem ? !leads_to_found(v, in) : !target_is(v, in, at, v->c->t->leave_call) && (target < 0 || target >= v->size || !bit_get(v->boundary, (uint64_t)target)))
        refuse(v, "a call of something else than code that is linked");
    v->entry = false;
    v->called = true;
    forget_all(v);
}

/* With half of an entry pushed: only to where code is left. */
static bool leaves_at(const struct verify *v, int64_t target)
{
    struct insn in;
    return target >= 0 && target < v->size && decode_at(v, (uint32_t)target, &in) && in.op == OP_CALL && in.opnd[0].kind == OPND_REL &&
        target_is(v, &in, (uint32_t)target, v->c->t->leave_call);
}

static void check_branch(struct verify *v, const struct insn *in, uint32_t at)
{
    if (in->op == OP_RET) {
        if (v->return_compared != 2 || in->nopnd)
            refuse(v, "a return without its comparison");
        v->ended = true;
        return;
    }
    if (v->entry && in->op == OP_CALL && (in->has_mem || in->opnd[0].kind == OPND_REL)) {
        check_entry_call(v, in, at);
        return;
    }
    if (v->entry && (in->op != OP_JCC || !leaves_at(v, target_of(in, at))))
        refuse(v, "a branch with half of an entry on the return stack");
    if (in->op == OP_JMP && in->has_mem) {
        if (!leads_to_found(v, in))
            refuse(v, "an indirect jump without its comparisons");
        v->ended = true;
        return;
    }
    if (in->opnd[0].kind != OPND_REL || (in->op != OP_JMP && in->op != OP_JCC && in->op != OP_CALL)) {
        refuse(v, "a branch that the translator does not write");
        return;
    }
    if (in->op == OP_JMP && target_is(v, in, at, v->c->t->leave)) {
        v->ended = true;
        return;
    }
    if (in->op == OP_JMP && is_find(v, in, at)) {
        v->ended = true;
        return;
    }
    if (in->op == OP_CALL) {
        v->ended = target_is(v, in, at, v->c->t->leave_call);
        if (!v->ended && !call_shared(v, v->start + target_of(in, at)))
            refuse(v, "a call of something else than the way out or shared code");
        return;
    }
    int64_t target = target_of(in, at);
    if (target < 0 || target >= v->size || !bit_get(v->boundary, (uint64_t)target))
        refuse(v, "a jump to no instruction of this translation");
    if (in->op == OP_JCC && insn_cond(in) == CC_NE) {
        v->checked = v->has_compared;
        v->jump_checked |= v->jump_compared;
        v->return_compared *= 2;
    }
    forget_compared(v);
    v->ended = in->op == OP_JMP;
}

/* ---- the translation --------------------------------------------------------------------------------------------------------------------------------------------------------- */

static void find_boundaries(struct verify *v)
{
    struct insn in;
    for (uint32_t at = 0, len; at < v->size; at += len) {
        bit_put(v->boundary, at);
        len = decode_at(v, at, &in);
        if (!len) {
            refuse(v, "bytes that are no instruction");
            return;
        }
        int64_t target = target_of(&in, at);
        if ((in.op == OP_JMP || in.op == OP_JCC || in.op == OP_CALL) && in.opnd[0].kind == OPND_REL && target >= 0 && target < v->size)
            bit_put(v->label, (uint64_t)target);
    }
}

static void mark(struct verify *v, uint64_t *bits, const uint8_t *code)
{
    if (!code)
        return;
    if (code < v->start || code >= v->start + v->size || !bit_get(v->boundary, (uint64_t)(code - v->start)))
        refuse(v, "a way in that is no instruction");
    else
        bit_put(bits, (uint64_t)(code - v->start));
}

static void find_ways_in(struct verify *v)
{
    const struct translation *to = v->c->to;
    const struct translator *t = v->c->t;
    const uint8_t *const ways[] = { to->native, to->saved, to->native_live, to->saved_live };
    for (unsigned i = 0; i < ARRAY_LEN(ways); i++)
        mark(v, v->label, ways[i]);
    for (unsigned i = 0; i < to->entry_count; i++)
        mark(v, v->label, to->entry[i].code);
    for (uint32_t i = to->first_site; i < t->filling->site_end; i++)
        if (t->sites[i].kind == SITE_READ || t->sites[i].kind == SITE_WRITE)
            mark(v, v->resume, t->memory.write + t->sites[i].resume);
}

static void check_one(struct verify *v, uint32_t at, const struct insn *in)
{
    bool way_in = bit_get(v->label, at) || bit_get(v->resume, at);
    if (way_in && (v->called || v->entry || v->in_ring))
        refuse(v, "a way in where the return stack is at work");
    if (way_in)
        v->return_compared = 0;
    if (bit_get(v->label, at)) {
        forget_all(v);
        v->ended = false;
    } else if (bit_get(v->resume, at)) {
        forget_scratch(v);
    }
    if (v->ended)
        forget_all(v);
    if (v->pushed && in->op != OP_POP)
        refuse(v, "a stack instruction that is not PUSHF with POP");
    if (v->return_compared == 1 ? in->op != OP_JCC : in->op != OP_RET && (in->op != OP_LEA || in->opnd[0].reg != GUEST_RSP))
        v->return_compared = 0;
    if (insn_op_flags(in->op) & OPF_BRANCH) {
        if (v->called || v->in_ring)
            refuse(v, "a branch in the middle of a call");
        check_branch(v, in, at);
        return;
    }
    bool in_ring = v->in_ring, called = v->called;
    v->ended = false;
    if (!check_return_stack(v, in)) {
        check_memory(v, in);
        check_ordinary(v, in);
    }
    if (called && v->called)
        refuse(v, "an entry of the return stack that is not taken off");
    if (in_ring)
        v->in_ring = false;
}

const char *verify_code(const struct compile *c, const uint8_t *start, const uint8_t *end, uint32_t *at)
{
    struct verify v = { .c = c, .cpu = c->cpu, .start = start, .size = (uint32_t)(end - start) };
    size_t words = v.size / 64 + 1;
    uint64_t *bits = calloc(3 * words, sizeof *bits);
    if (!bits)
        return "there is no memory to look at it";
    v.boundary = bits;
    v.label = bits + words;
    v.resume = bits + 2 * words;
    find_boundaries(&v);
    if (!v.why)
        find_ways_in(&v);
    forget_all(&v);
    for (*at = 0; *at < v.size && !v.why;) {
        struct insn in;
        unsigned len = decode_at(&v, *at, &in);
        check_one(&v, *at, &in);
        if (!v.why)
            *at += len;
    }
    if (!v.why && (!v.ended || v.called || v.entry))
        refuse(&v, "the end is run off");
    free(bits);
    return v.why;
}
