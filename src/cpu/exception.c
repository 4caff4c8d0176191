/* SPDX-License-Identifier: MIT */
/* exception.c - delivery of exceptions and interrupts through the IVT or IDT.
 *
 * What the guest sees: SDM volume 3, chapter 6: real mode, 16- and 32-bit gates, task gates, v8086 frames, 64-bit gates with IST; stack switches, error
 * codes with EXT, double fault and shutdown. What is trusted: nothing; gates and descriptors are read once.
 * State changes only after the last access that can fault. A fault on the way leaves by cpu_raise() to the engine, which calls cpu_deliver() again:
 * cpu->delivering tells it what was being delivered. The caller of the engine clears `delivering` when it leaves with an exit, since the instruction restarts.
 * Locking: owner's thread.
 */
#include "cpu/segment.h"

enum { DELIVERING_BENIGN = 255 }; /* an interrupt or INT n: never part of a double fault */

struct event {
    enum cpu_event_source source;
    unsigned vector, ext;  /* ext: bit 0 of error codes of faults on the way (SDM 6.13) */
    bool     has_error;
    uint32_t error;
    uint64_t rip;          /* the return address */
    uint64_t flags;        /* to push            */
};

/* ---- classes ----------------------------------------------------------------------------------------------------------------------------------------- */

static bool is_contributory(unsigned vector) /* SDM table 6-4 */
{
    return vector == EXC_DE || (vector >= EXC_TS && vector <= EXC_GP);
}

static bool is_fault_class(unsigned vector) /* SDM table 6-1; #DB says itself */
{
    return vector != EXC_NMI && vector != EXC_BP && vector != EXC_OF && vector != EXC_DF && vector != EXC_MC && vector != EXC_DB;
}

static _Noreturn void shutdown(struct cpu *cpu)
{
    cpu->delivering = 0;
    cpu->exit = (hy_exit){ .reason = HY_EXIT_CRASH };
    cpu_leave(cpu);
}

/* A fault came while another event was being delivered (SDM table 6-5). */
static void combine(struct cpu *cpu, struct event *e)
{
    unsigned first = cpu->delivering - 1u;
    bool bad = is_contributory(e->vector) || e->vector == EXC_PF;
    if (first == EXC_DF && bad)
        shutdown(cpu);
    if ((is_contributory(first) && is_contributory(e->vector)) || (first == EXC_PF && bad)) {
        e->vector = EXC_DF;
        e->has_error = true;
        e->error = 0;
    }
}

/* ---- real mode ------------------------------------------------------------------------------------------------------------------------------------------ */

static void flags_after(struct cpu *cpu, bool interrupt_gate)
{
    uint64_t clear = FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM | (interrupt_gate ? FLAG_IF : 0);
    cpu_flags_set(cpu, cpu_flags_get(cpu) & ~clear);
}

static void deliver_real(struct cpu *cpu, const struct event *e)
{
    if (e->vector * 4 + 3 > cpu->state.idtr.limit)
        cpu_raise(cpu, EXC_GP);
    uint32_t target = cpu_load_system32(cpu, (cpu->state.idtr.base + e->vector * 4) & UINT32_MAX);
    struct stack s = stack_now(cpu);
    stack_push(&s, e->flags, 2);
    stack_push(&s, cpu->state.seg[SEG_CS].selector, 2);
    stack_push(&s, e->rip, 2);
    struct cpu_segment cs = seg_flat(cpu, SEG_CS, (uint16_t)(target >> 16));
    if ((target & 0xffff) > cs.limit)
        cpu_raise(cpu, EXC_GP);
    stack_commit(&s);
    uint64_t nt = cpu->state.rflags & FLAG_NT;
    flags_after(cpu, true);
    cpu_flags_set(cpu, (cpu_flags_get(cpu) & ~(uint64_t)FLAG_AC) | nt); /* SDM INT n: IF, TF, AC */
    transfer_commit(cpu, &cs, cpu->state.cpl, target & 0xffff);
}

/* ---- gates ------------------------------------------------------------------------------------------------------------------------------------------------ */

struct gate { uint64_t offset; uint16_t selector; unsigned type, size /* of a pushed word */, ist; };

static uint32_t idt_error(const struct event *e) { return e->vector * 8 + 2 + e->ext; }

static struct gate read_gate(struct cpu *cpu, const struct event *e)
{
    struct descriptor d = { 0 };
    unsigned length = cpu->long_mode ? 16 : 8;
    if (e->vector * length + length - 1 > cpu->state.idtr.limit)
        cpu_raise_error(cpu, EXC_GP, idt_error(e));
    d.linear = cpu->state.idtr.base + e->vector * length;
    if (!cpu->long_mode)
        d.linear &= UINT32_MAX;
    d.low = cpu_load_system64(cpu, d.linear);
    if (length == 16)
        d.high = cpu_load_system64(cpu, d.linear + 8);
    unsigned type = desc_type(&d);
    unsigned valid = BIT(DESC_INT32) | BIT(DESC_TRAP32) | (cpu->long_mode ? 0 : BIT(DESC_INT16) | BIT(DESC_TRAP16) | BIT(DESC_TASK_GATE));
    if (desc_is_segment(&d) || !(valid >> type & 1))
        cpu_raise_error(cpu, EXC_GP, idt_error(e));
    if (e->source == EVENT_SOFTWARE && desc_dpl(&d) < cpu->state.cpl)
        cpu_raise_error(cpu, EXC_GP, idt_error(e));
    if (!desc_present(&d))
        cpu_raise_error(cpu, EXC_NP, idt_error(e));
    struct gate g = { .selector = (uint16_t)(d.low >> 16), .type = type };
    g.size = cpu->long_mode ? 8 : type & 8 ? 4 : 2;
    g.offset = (d.low & 0xffff) | (g.size > 2 ? d.low >> 32 & 0xffff0000 : 0) | (g.size == 8 ? d.high << 32 : 0);
    g.ist = cpu->long_mode ? d.low >> 32 & 7 : 0;
    return g;
}

/* The handler's code segment; *cpl becomes its privilege level. */
static struct cpu_segment read_handler(struct cpu *cpu, const struct event *e, const struct gate *g, unsigned *cpl)
{
    struct descriptor d;
    if (is_null_selector(g->selector))
        cpu_raise_error(cpu, EXC_GP, e->ext);
    if (!desc_read(cpu, g->selector, &d) || !desc_is_code(&d) || desc_dpl(&d) > cpu->state.cpl)
        raise_selector(cpu, EXC_GP, g->selector, e->ext);
    if (g->size == 8 && (d.low >> 53 & 3) != 1) /* L = 1, D = 0 */
        raise_selector(cpu, EXC_GP, g->selector, e->ext);
    if (!desc_present(&d))
        raise_selector(cpu, EXC_NP, g->selector, e->ext);
    *cpl = desc_is_conforming(&d) ? cpu->state.cpl : desc_dpl(&d);
    if (cpu->state.rflags & FLAG_VM && *cpl != 0)
        raise_selector(cpu, EXC_GP, g->selector, e->ext);
    desc_set_accessed(cpu, &d);
    struct cpu_segment cs = desc_segment(&d);
    transfer_check_rip(cpu, &cs, g->offset, e->ext);
    return cs;
}

static void deliver_gate64(struct cpu *cpu, const struct event *e, const struct gate *g)
{
    unsigned cpl;
    struct cpu_segment cs = read_handler(cpu, e, g, &cpl);
    bool inner = cpl != cpu->state.cpl;
    uint64_t sp = cpu->state.gpr[REG_RSP];
    if (g->ist)
        sp = tss_stack64(cpu, 3 + g->ist, e->ext);
    else if (inner)
        sp = tss_stack64(cpu, cpl, e->ext);
    else if (cpu->mode != CPU_MODE_64)
        sp &= cpu->state.seg[SEG_SS].attributes & SEG_DB ? UINT32_MAX : 0xffff;
    uint8_t frame[48];
    const uint64_t words[6] = { e->error, e->rip, cpu->state.seg[SEG_CS].selector, e->flags, cpu->state.gpr[REG_RSP], cpu->state.seg[SEG_SS].selector };
    unsigned first = e->has_error ? 0 : 1, count = 6 - first;
    for (unsigned i = 0; i < ARRAY_LEN(words); i++) /* all, since compilers make a string instruction of a count, which is slow to start */
        store_le64(frame + i * 8, words[i]);
    sp = (sp & ~UINT64_C(15)) - count * 8;
    if (!is_canonical48(sp) || !is_canonical48(sp + count * 8 - 1))
        cpu_raise_error(cpu, EXC_SS, e->ext);
    cpu_store_bytes_slow(cpu, cpu_rights_at(cpu, cpl), sp, frame + first * 8, count * 8);
    cpu->state.gpr[REG_RSP] = sp;
    if (inner)
        cpu->state.seg[SEG_SS] = (struct cpu_segment){ .selector = (uint16_t)cpl };
    cpu->state.cpl = (uint8_t)cpl;
    flags_after(cpu, g->type == DESC_INT32);
    transfer_commit(cpu, &cs, cpl, g->offset);
}

static void push_frame(struct cpu *cpu, struct stack *s, const struct event *e, unsigned size)
{
    stack_push(s, e->flags, size);
    stack_push(s, cpu->state.seg[SEG_CS].selector, size);
    stack_push(s, e->rip, size);
    if (e->has_error)
        stack_push(s, e->error, size);
}

static void deliver_inner32(struct cpu *cpu, const struct event *e, const struct gate *g, const struct cpu_segment *cs, unsigned cpl)
{
    static const uint8_t order[] = { SEG_GS, SEG_FS, SEG_DS, SEG_ES };
    bool v8086 = cpu->state.rflags & FLAG_VM;
    uint16_t selector;
    uint64_t sp;
    tss_stack(cpu, cpl, e->ext, &selector, &sp);
    struct cpu_segment ss = seg_check_stack(cpu, selector, cpl, EXC_TS, e->ext);
    struct stack s = stack_of(cpu, &ss, sp, cpl, false);
    s.error = (selector & 0xfffcu) | e->ext;
    /* stack_push() looks at the mode of the CPU: the new stack is a segment of protected mode also when v8086 mode is left. */
    uint64_t vm = cpu->state.rflags & FLAG_VM;
    for (unsigned i = 0; v8086 && i < ARRAY_LEN(order); i++)
        stack_push(&s, cpu->state.seg[order[i]].selector, g->size);
    stack_push(&s, cpu->state.seg[SEG_SS].selector, g->size);
    stack_push(&s, cpu->state.gpr[REG_RSP], g->size);
    push_frame(cpu, &s, e, g->size);
    if (vm) {
        for (unsigned i = 0; i < ARRAY_LEN(order); i++)
            cpu->state.seg[order[i]] = (struct cpu_segment){ 0 };
    }
    cpu->state.seg[SEG_SS] = ss;
    stack_commit(&s);
    cpu->state.cpl = (uint8_t)cpl;
    flags_after(cpu, !(g->type & 1));
    transfer_commit(cpu, cs, cpl, g->offset);
}

static void deliver_gate32(struct cpu *cpu, const struct event *e, const struct gate *g)
{
    unsigned cpl;
    struct cpu_segment cs = read_handler(cpu, e, g, &cpl);
    if (cpl != cpu->state.cpl) {
        deliver_inner32(cpu, e, g, &cs, cpl);
        return;
    }
    struct stack s = stack_now(cpu);
    s.error = e->ext;
    push_frame(cpu, &s, e, g->size);
    stack_commit(&s);
    flags_after(cpu, !(g->type & 1));
    transfer_commit(cpu, &cs, cpl, g->offset);
}

static void deliver_task(struct cpu *cpu, const struct event *e, const struct gate *g)
{
    struct descriptor d;
    task_read_tss(cpu, g->selector, e->ext, &d);
    task_switch(cpu, &d, TASK_GATE, e->rip, e->has_error, e->error, e->ext);
}

/* ---- the way in --------------------------------------------------------------------------------------------------------------------------------------------- */

static void deliver(struct cpu *cpu, const struct event *e)
{
    if (cpu_is_real(cpu)) {
        deliver_real(cpu, e);
        return;
    }
    struct gate g = read_gate(cpu, e);
    if (g.type == DESC_TASK_GATE)
        deliver_task(cpu, e, &g);
    else if (g.size == 8)
        deliver_gate64(cpu, e, &g);
    else
        deliver_gate32(cpu, e, &g);
}

void cpu_deliver(struct cpu *cpu, enum cpu_event_source source, unsigned vector, bool has_error, uint32_t error)
{
    struct event e = { .source = source, .vector = vector, .has_error = has_error, .error = error };
    bool software = source == EVENT_SOFTWARE || source == EVENT_PRIVILEGED_SOFTWARE;
    e.ext = source == EVENT_SOFTWARE ? 0 : 1;
    if (source == EVENT_EXCEPTION && cpu->delivering)
        combine(cpu, &e);
    e.has_error &= !cpu_is_real(cpu);
    e.rip = software ? cpu->next_rip : cpu->state.rip;
    e.flags = cpu_flags_get(cpu) & ~(uint64_t)(software ? FLAG_RF : 0);
    if (source == EVENT_EXCEPTION && is_fault_class(e.vector)) {
        e.flags |= FLAG_RF; /* SDM 17.3.1.1 */
        cpu->state.pending_db = 0;
    }
    if (e.vector == EXC_DB && !software)
        cpu->state.dr[7] &= ~UINT64_C(0x2000); /* GD */
    cpu->delivering = source == EVENT_EXCEPTION ? (uint8_t)(1 + e.vector) : DELIVERING_BENIGN;
    deliver(cpu, &e);
    cpu->delivering = 0;
    cpu->step_armed = 0;
    cpu->state.interrupt_shadow = 0;
    cpu->state.halted = 0;
    cpu->state.rip = cpu->next_rip;
}
