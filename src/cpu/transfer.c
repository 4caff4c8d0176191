/* SPDX-License-Identifier: MIT */
/* transfer.c - far transfers of control: JMP, CALL, RET, IRET, through segments, call gates and to v8086 mode.
 *
 * What the guest sees: every privilege check of SDM volume 3, 5.8, gates of 16, 32 and 64 bits, stack switches, the return to outer levels.
 * What is trusted: nothing; registers change only after the last access that can fault. (Words pushed before a later fault lie below the stack pointer.)
 * Locking: owner's thread. Spec: SDM volume 2 (CALL, IRET, JMP, RET), volume 3, 5.8 and 6.14, 20.2 (v8086).
 */
#include "cpu/operand.h"
#include "cpu/segment.h"

/* ---- common --------------------------------------------------------------------------------------------------------------------------------------- */

static bool cs_is_64bit(const struct cpu *cpu, const struct cpu_segment *cs)
{
    return cpu->long_mode && cs->attributes & SEG_L;
}

void transfer_check_rip(struct cpu *cpu, const struct cpu_segment *cs, uint64_t rip, unsigned ext)
{
    if (cs_is_64bit(cpu, cs) ? !is_canonical48(rip) : (uint32_t)rip > cs->limit)
        cpu_raise_error(cpu, EXC_GP, ext);
}

void transfer_commit(struct cpu *cpu, const struct cpu_segment *cs, unsigned cpl, uint64_t rip)
{
    cpu->state.seg[SEG_CS] = *cs;
    if (!cpu_is_flatly_addressed(cpu))
        cpu->state.seg[SEG_CS].selector = (uint16_t)((cs->selector & ~3) | (int)cpl);
    cpu->state.cpl = (uint8_t)cpl;
    if (!cs_is_64bit(cpu, cs)) { /* outside 64-bit mode there are no upper halves of RIP and RSP: Intel's processors do not bring RSP's back */
        rip = (uint32_t)rip;
        cpu->state.gpr[REG_RSP] = (uint32_t)cpu->state.gpr[REG_RSP];
    }
    cpu->next_rip = rip;
    cpu_state_changed(cpu);
}

/* SDM: a code segment with both L and D set is not valid in IA-32e mode. */
static void check_code_mode(struct cpu *cpu, const struct descriptor *d)
{
    if (cpu->long_mode && (d->low >> 53 & 3) == 3)
        raise_selector(cpu, EXC_GP, d->selector, 0);
}

static void transfer_flat(struct cpu *cpu, uint16_t selector, uint64_t rip)
{
    struct cpu_segment cs = seg_flat(cpu, SEG_CS, selector);
    if (rip > 0xffff && rip > cs.limit)
        cpu_raise_error(cpu, EXC_GP, 0);
    transfer_commit(cpu, &cs, cpu->state.cpl, rip);
}

static void read_far_pointer(struct cpu *cpu, const struct insn *in, uint16_t *selector, uint64_t *offset)
{
    if (in->opnd[0].kind == OPND_FAR) {
        *selector = in->imm2;
        *offset = operand_truncate((uint64_t)in->imm, in->opsize);
        return;
    }
    uint64_t linear = operand_linear_far(cpu, in);
    *offset = memory_load(cpu, linear, in->opsize);
    *selector = cpu_load16(cpu, linear + in->opsize);
}

/* The code segment of a far JMP or CALL without a gate. */
static struct cpu_segment check_direct_code(struct cpu *cpu, struct descriptor *d)
{
    unsigned cpl = cpu->state.cpl;
    bool allowed = desc_is_conforming(d) ? desc_dpl(d) <= cpl : (d->selector & 3u) <= cpl && desc_dpl(d) == cpl;
    if (!allowed)
        raise_selector(cpu, EXC_GP, d->selector, 0);
    check_code_mode(cpu, d);
    if (!desc_present(d))
        raise_selector(cpu, EXC_NP, d->selector, 0);
    desc_set_accessed(cpu, d);
    return desc_segment(d);
}

static void read_target(struct cpu *cpu, uint16_t selector, struct descriptor *d)
{
    if (is_null_selector(selector))
        cpu_raise_error(cpu, EXC_GP, 0);
    if (!desc_read(cpu, selector, d))
        raise_selector(cpu, EXC_GP, selector, 0);
    if (desc_is_segment(d) && !desc_is_code(d))
        raise_selector(cpu, EXC_GP, selector, 0);
}

static void check_gate_privilege(struct cpu *cpu, const struct descriptor *d)
{
    if (desc_dpl(d) < cpu->state.cpl || desc_dpl(d) < (d->selector & 3u))
        raise_selector(cpu, EXC_GP, d->selector, 0);
}

/* A call gate: 4 (16 bits), 12 (32 bits; 64 bits in long mode). */
struct call_gate { uint16_t selector; uint64_t offset; unsigned parameters, size; };

static struct call_gate read_call_gate(struct cpu *cpu, struct descriptor *d)
{
    struct call_gate g;
    check_gate_privilege(cpu, d);
    if (!desc_present(d))
        raise_selector(cpu, EXC_NP, d->selector, 0);
    g.size = cpu->long_mode ? 8 : desc_type(d) == DESC_CALL32 ? 4 : 2;
    if (g.size == 8) {
        if (!desc_read_wide(cpu, d->selector, d) || d->high >> 40 & 0x1f)
            raise_selector(cpu, EXC_GP, d->selector, 0);
    }
    g.selector = (uint16_t)(d->low >> 16);
    g.offset = (d->low & 0xffff) | (g.size > 2 ? d->low >> 32 & 0xffff0000 : 0) | (g.size == 8 ? d->high << 32 : 0);
    g.parameters = d->low >> 32 & 0x1f;
    return g;
}

static void read_gate_code(struct cpu *cpu, const struct call_gate *g, struct descriptor *d)
{
    read_target(cpu, g->selector, d);
    if (!desc_is_segment(d) || desc_dpl(d) > cpu->state.cpl)
        raise_selector(cpu, EXC_GP, g->selector, 0);
    if (g->size == 8 && (d->low >> 53 & 3) != 1)
        raise_selector(cpu, EXC_GP, g->selector, 0);
    if (!desc_present(d))
        raise_selector(cpu, EXC_NP, g->selector, 0);
}

/* Far JMP and CALL to a TSS or a task gate. False: the descriptor is something else. */
static bool transfer_to_task(struct cpu *cpu, struct descriptor *d, enum task_switch_cause cause)
{
    unsigned type = desc_type(d);
    if (cpu->long_mode || (type != DESC_TASK_GATE && (type & ~(unsigned)DESC_BUSY) != DESC_TSS32 && (type & ~(unsigned)DESC_BUSY) != DESC_TSS16))
        return false;
    check_gate_privilege(cpu, d);
    struct descriptor tss = *d;
    if (type == DESC_TASK_GATE) {
        if (!desc_present(d))
            raise_selector(cpu, EXC_NP, d->selector, 0);
        task_read_tss(cpu, (uint16_t)(d->low >> 16), 0, &tss);
    } else if (type & DESC_BUSY || d->selector & 4) {
        raise_selector(cpu, EXC_GP, d->selector, 0);
    } else if (!desc_present(d)) {
        raise_selector(cpu, EXC_NP, d->selector, 0);
    }
    task_switch(cpu, &tss, cause, cpu->next_rip, false, 0, 0);
    return true;
}

static bool is_call_gate(const struct cpu *cpu, const struct descriptor *d)
{
    return desc_type(d) == DESC_CALL32 || (desc_type(d) == DESC_CALL16 && !cpu->long_mode);
}

/* ---- JMP ---------------------------------------------------------------------------------------------------------------------------------------------- */

void exec_jmp_far(struct cpu *cpu, const struct insn *in)
{
    struct descriptor d;
    uint16_t selector;
    uint64_t rip;
    read_far_pointer(cpu, in, &selector, &rip);
    if (cpu_is_flatly_addressed(cpu)) {
        transfer_flat(cpu, selector, rip);
        return;
    }
    read_target(cpu, selector, &d);
    if (!desc_is_segment(&d)) {
        if (is_call_gate(cpu, &d)) {
            struct call_gate g = read_call_gate(cpu, &d);
            read_gate_code(cpu, &g, &d);
            if (!desc_is_conforming(&d) && desc_dpl(&d) != cpu->state.cpl)
                raise_selector(cpu, EXC_GP, g.selector, 0);
            desc_set_accessed(cpu, &d);
            rip = g.offset;
        } else {
            if (!transfer_to_task(cpu, &d, TASK_JMP))
                raise_selector(cpu, EXC_GP, selector, 0);
            return;
        }
    } else {
        check_direct_code(cpu, &d);
    }
    struct cpu_segment cs = desc_segment(&d);
    transfer_check_rip(cpu, &cs, rip, 0);
    transfer_commit(cpu, &cs, cpu->state.cpl, rip);
}

/* ---- CALL ----------------------------------------------------------------------------------------------------------------------------------------------- */

/* Pushes to the stack as the mode that it calls into sees it: from 64-bit to compatibility mode that is SS:ESP. */
static void call_same_level(struct cpu *cpu, const struct cpu_segment *cs, uint64_t rip, unsigned size)
{
    struct stack s = stack_of(cpu, &cpu->state.seg[SEG_SS], cpu->state.gpr[REG_RSP], cpu->state.cpl, cs_is_64bit(cpu, cs));
    s.rights = cpu->rights;
    stack_push(&s, cpu->state.seg[SEG_CS].selector, size);
    stack_push(&s, cpu->next_rip, size);
    transfer_check_rip(cpu, cs, rip, 0);
    stack_commit(&s);
    transfer_commit(cpu, cs, cpu->state.cpl, rip);
}

static void call_inner(struct cpu *cpu, const struct cpu_segment *cs, const struct call_gate *g, unsigned cpl)
{
    uint16_t selector = (uint16_t)cpl;
    uint64_t sp;
    struct cpu_segment ss = { .selector = selector };
    if (g->size == 8) {
        sp = tss_stack64(cpu, cpl, 0);
    } else {
        tss_stack(cpu, cpl, 0, &selector, &sp);
        ss = seg_check_stack(cpu, selector, cpl, EXC_TS, 0);
    }
    struct stack from = stack_now(cpu), to = stack_of(cpu, &ss, sp, cpl, g->size == 8);
    uint64_t parameters[31];
    unsigned count = g->size == 8 ? 0 : g->parameters;
    for (unsigned i = 0; i < count; i++)
        parameters[i] = stack_pop(&from, g->size);
    to.error = ss.selector & 0xfffc;
    stack_push(&to, cpu->state.seg[SEG_SS].selector, g->size);
    stack_push(&to, cpu->state.gpr[REG_RSP], g->size);
    for (unsigned i = count; i-- > 0;)
        stack_push(&to, parameters[i], g->size);
    stack_push(&to, cpu->state.seg[SEG_CS].selector, g->size);
    stack_push(&to, cpu->next_rip, g->size);
    transfer_check_rip(cpu, cs, g->offset, 0);
    cpu->state.seg[SEG_SS] = ss;
    stack_commit(&to);
    transfer_commit(cpu, cs, cpl, g->offset);
}

static void call_gate(struct cpu *cpu, struct descriptor *d)
{
    struct call_gate g = read_call_gate(cpu, d);
    read_gate_code(cpu, &g, d);
    desc_set_accessed(cpu, d);
    struct cpu_segment cs = desc_segment(d);
    if (!desc_is_conforming(d) && desc_dpl(d) < cpu->state.cpl)
        call_inner(cpu, &cs, &g, desc_dpl(d));
    else
        call_same_level(cpu, &cs, g.offset, g.size);
}

void exec_call_far(struct cpu *cpu, const struct insn *in)
{
    struct descriptor d;
    uint16_t selector;
    uint64_t rip;
    read_far_pointer(cpu, in, &selector, &rip);
    if (cpu_is_flatly_addressed(cpu)) {
        struct stack s = stack_now(cpu);
        stack_push(&s, cpu->state.seg[SEG_CS].selector, in->opsize);
        stack_push(&s, cpu->next_rip, in->opsize);
        transfer_flat(cpu, selector, rip);
        stack_commit(&s);
        return;
    }
    read_target(cpu, selector, &d);
    if (desc_is_segment(&d)) {
        struct cpu_segment cs = check_direct_code(cpu, &d);
        call_same_level(cpu, &cs, rip, in->opsize);
    } else if (is_call_gate(cpu, &d)) {
        call_gate(cpu, &d);
    } else if (!transfer_to_task(cpu, &d, TASK_CALL)) {
        raise_selector(cpu, EXC_GP, selector, 0);
    }
}

/* ---- returns ---------------------------------------------------------------------------------------------------------------------------------------------- */

/* The code segment of RET and IRET: RPL of the selector is the new CPL. */
static struct cpu_segment check_return_code(struct cpu *cpu, uint16_t selector)
{
    struct descriptor d;
    unsigned rpl = selector & 3;
    if (is_null_selector(selector))
        cpu_raise_error(cpu, EXC_GP, 0);
    if (!desc_read(cpu, selector, &d) || !desc_is_code(&d) || rpl < cpu->state.cpl)
        raise_selector(cpu, EXC_GP, selector, 0);
    if (desc_is_conforming(&d) ? desc_dpl(&d) > rpl : desc_dpl(&d) != rpl)
        raise_selector(cpu, EXC_GP, selector, 0);
    check_code_mode(cpu, &d);
    if (!desc_present(&d))
        raise_selector(cpu, EXC_NP, selector, 0);
    desc_set_accessed(cpu, &d);
    return desc_segment(&d);
}

/* The stack segment that a return loads; null only into 64-bit code below CPL 3. */
static struct cpu_segment check_return_stack(struct cpu *cpu, const struct cpu_segment *cs, uint16_t selector)
{
    unsigned cpl = cs->selector & 3;
    if (is_null_selector(selector) && cs_is_64bit(cpu, cs) && cpl != 3 && (selector & 3u) == cpl)
        return (struct cpu_segment){ .selector = selector };
    return seg_check_stack(cpu, selector, cpl, EXC_GP, 0);
}

static void commit_outer(struct cpu *cpu, const struct cpu_segment *cs, const struct cpu_segment *ss, uint64_t rip, uint64_t sp)
{
    unsigned cpl = cs->selector & 3;
    bool outer = cpl > cpu->state.cpl;
    struct stack to = stack_of(cpu, ss, sp, cpl, cs_is_64bit(cpu, cs));
    cpu->state.seg[SEG_SS] = *ss;
    stack_commit(&to);
    if (outer)
        seg_drop_inner(cpu, cpl);
    transfer_commit(cpu, cs, cpl, rip);
}

/* The stack as it is `bytes` further up. */
static struct stack stack_above(const struct stack *s, unsigned bytes)
{
    struct stack above = *s;
    above.sp = (s->sp & ~s->mask) | ((s->sp + bytes) & s->mask);
    return above;
}

void exec_ret_far(struct cpu *cpu, const struct insn *in)
{
    struct stack s = stack_now(cpu);
    unsigned size = in->opsize;
    uint16_t drop = in->nopnd && in->opnd[0].kind == OPND_IMM ? (uint16_t)in->imm : 0;
    struct stack above = stack_above(&s, size);
    uint16_t selector = (uint16_t)stack_pop(&above, 2); /* read first, and no more of its slot */
    uint64_t rip = stack_pop(&s, size);
    s = stack_above(&s, size);
    if (cpu_is_flatly_addressed(cpu)) {
        transfer_flat(cpu, selector, rip);
        s = stack_above(&s, drop);
        stack_commit(&s);
        return;
    }
    struct cpu_segment cs = check_return_code(cpu, selector);
    transfer_check_rip(cpu, &cs, rip, 0);
    s = stack_above(&s, drop);
    if ((selector & 3) == cpu->state.cpl) {
        stack_commit(&s);
        transfer_commit(cpu, &cs, cpu->state.cpl, rip);
        return;
    }
    uint64_t sp = stack_pop(&s, size);
    uint16_t ss_selector = (uint16_t)stack_pop(&s, size);
    struct cpu_segment ss = check_return_stack(cpu, &cs, ss_selector);
    commit_outer(cpu, &cs, &ss, rip, sp + drop);
}

/* ---- IRET ---------------------------------------------------------------------------------------------------------------------------------------------------- */

/* IRET ends the blocking of NMIs; one that waits is taken before the next instruction. */
static void unblock_nmi(struct cpu *cpu)
{
    cpu->state.nmi_blocked = 0;
    if (cpu->state.nmi_pending || cpu->state.event_pending)
        cpu_request(cpu, CPU_REQ_INTERRUPT);
}

/* Which flags IRET and POPF at `cpl` may change, and how many bits they see. */
static uint64_t iret_flags_mask(const struct cpu *cpu, unsigned cpl, unsigned size)
{
    uint64_t mask = FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_NT | FLAG_RF | FLAG_AC | FLAG_ID;
    if (cpl == 0)
        mask |= FLAG_IF | FLAG_IOPL | FLAG_VIF | FLAG_VIP;
    else if (cpl <= cpu_iopl(cpu))
        mask |= FLAG_IF;
    return size == 2 ? mask & 0xffff : mask;
}

static void iret_set_flags(struct cpu *cpu, uint64_t value, uint64_t mask)
{
    /* Nobody sees RF while no breakpoint is enabled, but it would make the engine step. */
    if (!(cpu->state.dr[7] & 0xff))
        value &= ~(uint64_t)FLAG_RF;
    cpu->step_armed &= 1; /* an RF that IRET loads holds for the next instruction */
    cpu_flags_set(cpu, (cpu_flags_get(cpu) & ~mask) | (value & mask));
    unblock_nmi(cpu);
}

/* Intel's processors read the words of a frame from the last to the first, which shows in what faults. */
struct iret_frame { uint64_t rip, flags; uint16_t cs; };

/* Takes flags, CS and RIP from the stack. */
static struct iret_frame pop_iret_frame(struct stack *s, unsigned size)
{
    struct stack flags = stack_above(s, 2 * size), cs = stack_above(s, size);
    struct iret_frame f = { .flags = stack_pop(&flags, size) };
    f.cs = (uint16_t)stack_pop(&cs, size);
    f.rip = stack_pop(s, size);
    *s = flags;
    return f;
}

static void iret_flat(struct cpu *cpu, const struct insn *in)
{
    bool v8086 = cpu_is_v8086(cpu);
    if (v8086 && cpu_iopl(cpu) < 3)
        cpu_raise_error(cpu, EXC_GP, 0);
    struct stack s = stack_now(cpu);
    struct iret_frame f = pop_iret_frame(&s, in->opsize);
    uint64_t mask = iret_flags_mask(cpu, 0, in->opsize) & ~(uint64_t)(FLAG_VIF | FLAG_VIP);
    transfer_flat(cpu, f.cs, f.rip);
    stack_commit(&s);
    iret_set_flags(cpu, f.flags, v8086 ? mask & ~(uint64_t)FLAG_IOPL : mask);
}

static void iret_to_task(struct cpu *cpu)
{
    if (cpu->long_mode)
        cpu_raise_error(cpu, EXC_GP, 0);
    struct descriptor d;
    uint16_t link = cpu_load_system16(cpu, cpu->state.seg[SEG_TR].base);
    if (link & 4 || is_null_selector(link) || !desc_read(cpu, link, &d) || desc_is_segment(&d) ||
        (desc_type(&d) != DESC_TSS32_BUSY && desc_type(&d) != DESC_TSS16_BUSY))
        raise_selector(cpu, EXC_TS, link, 0);
    if (!desc_present(&d))
        raise_selector(cpu, EXC_NP, link, 0);
    task_switch(cpu, &d, TASK_IRET, cpu->next_rip, false, 0, 0);
    unblock_nmi(cpu);
}

static void iret_to_v8086(struct cpu *cpu, struct stack *s, uint64_t rip, uint16_t cs_selector, uint64_t flags)
{
    static const uint8_t order[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    uint64_t sp = stack_pop(s, 4);
    uint16_t selector[SEG_COUNT] = { [SEG_CS] = cs_selector, [SEG_SS] = (uint16_t)stack_pop(s, 4) };
    for (unsigned i = 0; i < ARRAY_LEN(order); i++)
        selector[order[i]] = (uint16_t)stack_pop(s, 4);
    if (rip > 0xffff)
        cpu_raise_error(cpu, EXC_GP, 0);
    cpu->state.cpl = 3;
    uint64_t mask = iret_flags_mask(cpu, 0, 4) | FLAG_VM;
    iret_set_flags(cpu, flags, mask);
    for (unsigned seg = SEG_ES; seg <= SEG_GS; seg++)
        cpu->state.seg[seg] = seg_flat(cpu, seg, selector[seg]);
    cpu->state.gpr[REG_RSP] = sp & UINT32_MAX;
    cpu->next_rip = rip;
    cpu_state_changed(cpu);
}

static void iret_protected(struct cpu *cpu, const struct insn *in)
{
    struct stack s = stack_now(cpu);
    unsigned size = in->opsize, cpl = cpu->state.cpl;
    struct iret_frame f = pop_iret_frame(&s, size);
    if (f.flags & FLAG_VM && cpl == 0 && size == 4 && !cpu->long_mode) {
        iret_to_v8086(cpu, &s, f.rip, f.cs, f.flags);
        return;
    }
    uint64_t mask = iret_flags_mask(cpu, cpl, size);
    struct cpu_segment cs = check_return_code(cpu, f.cs);
    if ((f.cs & 3u) == cpl && cpu->mode != CPU_MODE_64) {
        transfer_check_rip(cpu, &cs, f.rip, 0);
        stack_commit(&s);
        transfer_commit(cpu, &cs, cpl, f.rip);
    } else {
        struct stack above = stack_above(&s, size);
        uint16_t ss_selector = (uint16_t)stack_pop(&above, size);
        uint64_t sp = stack_pop(&s, size);
        struct cpu_segment ss = check_return_stack(cpu, &cs, ss_selector);
        transfer_check_rip(cpu, &cs, f.rip, 0);
        commit_outer(cpu, &cs, &ss, f.rip, sp);
    }
    iret_set_flags(cpu, f.flags, mask);
}

void exec_iret(struct cpu *cpu, const struct insn *in)
{
    if (cpu_is_flatly_addressed(cpu))
        iret_flat(cpu, in);
    else if (cpu->state.rflags & FLAG_NT)
        iret_to_task(cpu);
    else
        iret_protected(cpu, in);
}
