/* SPDX-License-Identifier: MIT */
/* shared.c - the code that small translations call for what large ones have in place: looking addresses up, PUSH and POP, polls, flags, indirect branches.
 *
 * Addresses are in SCRATCH_1, answers in SCRATCH_2: the host address of the operand, or of a range the addend. What finds no entry leaves as if the caller had (leave_call:
 * by the address that it would return to). In the variants that keep flags, RFLAGS is the same afterwards; else it is lost.
 * Each look-up and poll counts `samples` down; the one that finds it below 0 leaves, so that its block becomes large (translator.c).
 */
#include "cpu/translate/private.h"

struct shared { struct emit *e; struct cpu *cpu; unsigned set; bool write, keeps; uint8_t *exits[8]; unsigned exit_count; };

static void exit_if(struct shared *s, unsigned condition) { s->exits[s->exit_count++] = emit_jump_if(s->e, condition); }

/* LAHF and SETO know all six flags; an addition makes OF from its bit. */
static void emit_keep(struct shared *s)
{
    if (!s->keeps)
        return;
    emit_store(s->e, at_absolute(&s->cpu->translate.kept_rax), RAX);
    emit_bytes(s->e, "\x9f\x0f\x90\xc0", 4); /* LAHF; SETO AL */
}

static void emit_bring_back(struct shared *s)
{
    if (!s->keeps)
        return;
    emit_bytes(s->e, "\x04\x7f\x9e", 3); /* ADD AL, 0x7f; SAHF */
    emit_load(s->e, RAX, at_absolute(&s->cpu->translate.kept_rax));
}

static void emit_return(struct shared *s)
{
    struct translator *t = s->cpu->translator;
    emit_bring_back(s);
    emit_byte(s->e, 0xc3);
    for (unsigned i = 0; i < s->exit_count; i++)
        emit_patch(s->exits[i], s->e->at);
    emit_bring_back(s);
    emit_patch(emit_jump(s->e), t->leave_call);
}

static void emit_sample(struct shared *s)
{
    emit_op_memory(s->e, false, 0xff, 1, at_absolute(&s->cpu->translate.samples)); /* DEC */
    exit_if(s, CC_S);
}

/* SCRATCH_1 is the first byte's address. SCRATCH_0 is the last one's if size is 0. SCRATCH_2 becomes the addend. access.c has the same in place. */
static void emit_lookup(struct shared *s, unsigned size)
{
    struct emit *e = s->e;
    struct fast_tlb *tlb = s->cpu->translate.tlb[s->set];
    emit_sample(s);
    emit_move(e, SCRATCH_2, SCRATCH_1);
    emit_op_register(e, true, 0xc1, 5, SCRATCH_2); /* SHR */
    emit_byte(e, 12 - 5);
    emit_op_register(e, false, 0x81, 4, SCRATCH_2); /* AND */
    emit_u32(e, (FAST_TLB_ENTRIES - 1) << 5);
    if (size)
        emit_add_to(e, SCRATCH_0, SCRATCH_1, (int32_t)size - 1);
    emit_op_register(e, true, 0xc1, 5, SCRATCH_0); /* SHR */
    emit_byte(e, 12);
    emit_op_memory(e, true, 0x3b, SCRATCH_0, at_base(SCRATCH_2, (int32_t)(intptr_t)(s->write ? &tlb->write_tag : &tlb->read_tag)));
    exit_if(s, CC_NE);
    emit_load(e, SCRATCH_2, at_base(SCRATCH_2, (int32_t)(intptr_t)&tlb->addend));
    tlb_emit_hit(e, s->cpu);
}

static struct shared shared_begin(struct cpu *cpu, unsigned set, bool write, bool keeps)
{
    struct shared s = { .e = &cpu->translator->emit, .cpu = cpu, .set = set, .write = write, .keeps = keeps };
    return s;
}

static uint8_t *emit_operand(struct cpu *cpu, unsigned set, bool write, bool keeps, unsigned size)
{
    struct shared s = shared_begin(cpu, set, write, keeps);
    uint8_t *start = s.e->at;
    emit_keep(&s);
    emit_lookup(&s, size);
    if (size)
        emit_op_register(s.e, true, 0x03, SCRATCH_2, SCRATCH_1); /* ADD */
    emit_return(&s);
    return start;
}

/* Pushes SCRATCH_1, or what lies that far from translate_state.page. */
static void emit_push(struct cpu *cpu, unsigned set, bool keeps)
{
    struct shared s = shared_begin(cpu, set, true, keeps);
    struct shared_code *code = &cpu->translator->shared;
    struct host_memory value = at_absolute(&cpu->translate.pushed);
    code->push_offset[set][keeps] = s.e->at;
    emit_load(s.e, SCRATCH_2, at_absolute(&cpu->translate.page));
    emit_lea(s.e, SCRATCH_1, at_indexed(SCRATCH_1, SCRATCH_2, 0, 0));
    code->push[set][keeps] = s.e->at;
    emit_keep(&s);
    emit_store(s.e, value, SCRATCH_1);
    emit_add_to(s.e, SCRATCH_1, GUEST_RSP, -8);
    emit_lookup(&s, 8);
    emit_load(s.e, SCRATCH_0, value);
    emit_store(s.e, at_indexed(SCRATCH_1, SCRATCH_2, 0, 0), SCRATCH_0);
    emit_move(s.e, GUEST_RSP, SCRATCH_1);
    emit_return(&s);
}

/* Pops SCRATCH_1. */
static void emit_pop(struct cpu *cpu, unsigned set, bool keeps)
{
    struct shared s = shared_begin(cpu, set, false, keeps);
    cpu->translator->shared.pop[set][keeps] = s.e->at;
    emit_keep(&s);
    emit_move(s.e, SCRATCH_1, GUEST_RSP);
    emit_lookup(&s, 8);
    emit_load(s.e, SCRATCH_1, at_indexed(SCRATCH_1, SCRATCH_2, 0, 0));
    emit_add_to(s.e, GUEST_RSP, GUEST_RSP, 8);
    emit_return(&s);
}

static void emit_poll(struct cpu *cpu, bool keeps)
{
    struct shared s = shared_begin(cpu, 0, false, keeps);
    cpu->translator->shared.poll[keeps] = s.e->at;
    emit_keep(&s);
    emit_sample(&s);
    emit_op_memory(s.e, false, 0x83, 7, at_absolute((const void *)&cpu->requests)); /* CMP dword, 0 */
    emit_byte(s.e, 0);
    exit_if(&s, CC_NE);
    emit_return(&s);
}

/* Whether code is where a link or a block over two pages holds, whose constants are in SCRATCH_0 and SCRATCH_1. */
static void emit_compare(struct cpu *cpu, bool global)
{
    struct emit *e = &cpu->translator->emit;
    cpu->translator->shared.compare[global] = e->at;
    emit_op_memory(e, true, 0x3b, SCRATCH_0, at_absolute(&cpu->translate.page));
    uint8_t *other = emit_jump_if(e, CC_NE);
    emit_op_memory(e, false, 0x3b, SCRATCH_1, at_absolute(global ? (const void *)&cpu->translate.kernel_tag : &cpu->fetch_generation));
    emit_patch(other, e->at);
    emit_byte(e, 0xc3);
}

/* Jumped to: to the target in SCRATCH_1, or out by the site whose number is in SCRATCH_0. */
static void emit_find(struct cpu *cpu, enum indirect kind, bool global, bool saves)
{
    struct shared s = shared_begin(cpu, 0, false, false);
    struct translator *t = cpu->translator;
    struct emit *e = s.e;
    const struct fast_jump *jumps = cpu->translate.jumps;
    t->shared.find[kind][global][saves] = e->at;
    emit_op_memory(e, false, 0x89, SCRATCH_0, at_absolute(&cpu->translate.site));
    if (saves)
        flags_emit_save(e, cpu);
    emit_op_memory(e, false, 0x83, 7, at_absolute((const void *)&cpu->requests)); /* CMP dword, 0 */
    emit_byte(e, 0);
    exit_if(&s, CC_NE);
    if (kind == INDIRECT_RETURN && !global)
        branch_return(e, 8);
    emit_op_register(e, false, 0x89, SCRATCH_1, SCRATCH_2); /* MOV */
    emit_op_register(e, false, 0xc1, 4, SCRATCH_2);         /* SHL: times the size of an entry */
    emit_byte(e, 5);
    emit_op_register(e, false, 0x81, 4, SCRATCH_2);         /* AND */
    emit_u32(e, (FAST_JUMP_ENTRIES - 1) << 5);
    emit_op_memory(e, true, 0x3b, SCRATCH_1, at_base(SCRATCH_2, (int32_t)(intptr_t)&jumps->rip));
    exit_if(&s, CC_NE);
    emit_load(e, SCRATCH_0, at_absolute(global ? &cpu->translate.kernel_tag : (const uint64_t *)&cpu->fetch_tag));
    emit_op_memory(e, true, 0x3b, SCRATCH_0, at_base(SCRATCH_2, (int32_t)(intptr_t)&jumps->tag));
    exit_if(&s, CC_NE);
    if (kind != INDIRECT_JUMP)
        emit_add_to(e, GUEST_RSP, GUEST_RSP, kind == INDIRECT_CALL ? -8 : 8);
    emit_load(e, SCRATCH_0, at_base(SCRATCH_2, (int32_t)(intptr_t)&jumps->page));
    emit_store(e, at_absolute(&cpu->translate.page), SCRATCH_0);
    emit_op_memory(e, false, 0xff, 4, at_base(SCRATCH_2, (int32_t)(intptr_t)&jumps->code)); /* JMP */
    for (unsigned i = 0; i < s.exit_count; i++)
        emit_patch(s.exits[i], e->at);
    emit_patch(emit_jump(e), t->leave_stored);
}

static void emit_accesses(struct cpu *cpu, unsigned set, bool keeps)
{
    struct shared_code *code = &cpu->translator->shared;
    for (unsigned write = 0; write < 2; write++) {
        for (unsigned i = 0; i < SHARED_SIZES; i++)
            code->operand[set][write][keeps][i] = emit_operand(cpu, set, write, keeps, 1u << i);
        code->range[set][write][keeps] = emit_operand(cpu, set, write, keeps, 0);
    }
    emit_push(cpu, set, keeps);
    emit_pop(cpu, set, keeps);
}

void shared_emit(struct cpu *cpu)
{
    struct translator *t = cpu->translator;
    for (unsigned keeps = 0; keeps < 2; keeps++) {
        for (unsigned set = 0; set < FAST_TLB_SETS; set++)
            emit_accesses(cpu, set, keeps);
        emit_poll(cpu, keeps);
    }
    for (unsigned i = 0; i < 4; i++)
        emit_find(cpu, INDIRECT_JUMP, i & 1, i & 2), emit_find(cpu, INDIRECT_RETURN, i & 1, i & 2), emit_find(cpu, INDIRECT_CALL, i & 1, i & 2);
    emit_compare(cpu, false);
    emit_compare(cpu, true);
    t->shared.restore = t->emit.at;
    flags_emit_restore(&t->emit, cpu);
    emit_byte(&t->emit, 0xc3);
}
