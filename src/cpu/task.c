/* SPDX-License-Identifier: MIT */
/* task.c - the TSS: stacks of inner levels, and task switches (16- and 32-bit, legacy modes only).
 *
 * What the guest sees: SDM volume 3, chapter 7. What is trusted: nothing; both TSSs are read and probed before anything changes; faults in loading the new
 * task's segments come in the new task's context, as on hardware. Locking: owner's thread.
 */
#include "cpu/cpuid.h"
#include "cpu/control.h"
#include "cpu/segment.h"

#define TSS32_LENGTH 104 /* SDM 7.2.1 */
#define TSS16_LENGTH 44  /* SDM 7.6 */

static bool tr_is_32bit(const struct cpu *cpu) { return cpu->state.seg[SEG_TR].attributes & 8; }

void tss_stack(struct cpu *cpu, unsigned cpl, unsigned ext, uint16_t *ss, uint64_t *sp)
{
    const struct cpu_segment *tr = &cpu->state.seg[SEG_TR];
    bool wide = tr_is_32bit(cpu);
    uint32_t at = wide ? 4 + cpl * 8 : 2 + cpl * 4;
    if (at + (wide ? 5 : 3) > tr->limit)
        raise_selector(cpu, EXC_TS, tr->selector, ext);
    uint64_t linear = (tr->base + at) & UINT32_MAX;
    *sp = wide ? cpu_load_system32(cpu, linear) : cpu_load_system16(cpu, linear);
    *ss = cpu_load_system16(cpu, linear + (wide ? 4 : 2));
}

uint64_t tss_stack64(struct cpu *cpu, unsigned slot, unsigned ext)
{
    const struct cpu_segment *tr = &cpu->state.seg[SEG_TR];
    uint32_t at = 4 + slot * 8; /* SDM 7.7 figure 7-11: RSP0 at 4, IST1 at 36 */
    if (at + 7 > tr->limit)
        raise_selector(cpu, EXC_TS, tr->selector, ext);
    uint64_t sp = cpu_load_system64(cpu, tr->base + at);
    if (!is_canonical48(sp))
        cpu_raise_error(cpu, EXC_SS, ext);
    return sp;
}

void task_read_tss(struct cpu *cpu, uint16_t selector, unsigned ext, struct descriptor *out)
{
    if (selector & 4 || is_null_selector(selector) || !desc_read(cpu, selector, out) || desc_is_segment(out) ||
        (desc_type(out) != DESC_TSS32 && desc_type(out) != DESC_TSS16))
        raise_selector(cpu, EXC_GP, selector, ext);
    if (!desc_present(out))
        raise_selector(cpu, EXC_NP, selector, ext);
}

/* ---- images of a task ------------------------------------------------------------------------------------------------------------------------------------ */

struct task { uint32_t cr3, eip, eflags, gpr[8]; uint16_t seg[6], ldt; bool trap; };

static void task_load32(const uint8_t *t, struct task *out)
{
    out->cr3 = load_le32(t + 28);
    out->eip = load_le32(t + 32);
    out->eflags = load_le32(t + 36);
    for (unsigned i = 0; i < 8; i++)
        out->gpr[i] = load_le32(t + 40 + i * 4);
    for (unsigned i = 0; i < 6; i++)
        out->seg[i] = load_le16(t + 72 + i * 4);
    out->ldt = load_le16(t + 96);
    out->trap = load_le16(t + 100) & 1;
}

static void task_load16(const uint8_t *t, struct task *out)
{
    out->cr3 = 0;
    out->eip = load_le16(t + 14);
    out->eflags = load_le16(t + 16);
    for (unsigned i = 0; i < 8; i++)
        out->gpr[i] = load_le16(t + 18 + i * 2) | 0xffff0000;
    for (unsigned i = 0; i < 4; i++)
        out->seg[i] = load_le16(t + 34 + i * 2);
    out->seg[SEG_FS] = out->seg[SEG_GS] = 0;
    out->ldt = load_le16(t + 42);
    out->trap = false;
}

/* Writes the fields that a switch saves: EIP to GS. */
static void task_save(struct cpu *cpu, uint64_t rip, uint64_t flags)
{
    uint8_t image[TSS32_LENGTH];
    const struct cpu_segment *tr = &cpu->state.seg[SEG_TR];
    bool wide = tr_is_32bit(cpu);
    unsigned size = wide ? 4 : 2, first = wide ? 32 : 14, segs = wide ? 6 : 4, at = 0;
    uint64_t values[16] = { rip, flags };
    for (unsigned i = 0; i < 8; i++)
        values[2 + i] = cpu->state.gpr[i];
    for (unsigned i = 0; i < segs; i++)
        values[10 + i] = cpu->state.seg[i].selector;
    for (unsigned i = 0; i < 10 + segs; i++, at += size) {
        store_le16(image + at, (uint16_t)values[i]);
        if (wide)
            store_le16(image + at + 2, (uint16_t)(values[i] >> 16));
    }
    cpu_store_bytes_slow(cpu, cpu_rights_system(cpu), (tr->base + first) & UINT32_MAX, image, at);
}

/* Segments of the new task; faults are #TS in its context (SDM 7.3 step 13). */
static void task_load_segments(struct cpu *cpu, const struct task *task, unsigned ext)
{
    struct descriptor d;
    for (unsigned i = SEG_ES; i <= SEG_GS; i++)
        cpu->state.seg[i] = (struct cpu_segment){ .selector = task->seg[i] };
    if (cpu->state.rflags & FLAG_VM) {
        cpu->state.cpl = 3;
        for (unsigned i = SEG_ES; i <= SEG_GS; i++)
            cpu->state.seg[i] = seg_flat(cpu, i, task->seg[i]);
        return;
    }
    uint16_t cs = task->seg[SEG_CS];
    cpu->state.cpl = cs & 3;
    if (is_null_selector(cs) || !desc_read(cpu, cs, &d) || !desc_is_code(&d) || (desc_is_conforming(&d) ? desc_dpl(&d) > (cs & 3u) : desc_dpl(&d) != (cs & 3u)))
        raise_selector(cpu, EXC_TS, cs, ext);
    if (!desc_present(&d))
        raise_selector(cpu, EXC_NP, cs, ext);
    desc_set_accessed(cpu, &d);
    cpu->state.seg[SEG_CS] = desc_segment(&d);
    cpu->state.seg[SEG_SS] = seg_check_stack(cpu, task->seg[SEG_SS], cpu->state.cpl, EXC_TS, ext);
    static const uint8_t data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    for (unsigned i = 0; i < ARRAY_LEN(data); i++) {
        uint16_t selector = task->seg[data[i]];
        if (is_null_selector(selector))
            continue;
        if (!desc_read(cpu, selector, &d) || !desc_is_readable(&d) ||
            (!(desc_is_code(&d) && desc_is_conforming(&d)) && (desc_dpl(&d) < (selector & 3u) || desc_dpl(&d) < cpu->state.cpl)))
            raise_selector(cpu, EXC_TS, selector, ext);
        if (!desc_present(&d))
            raise_selector(cpu, EXC_NP, selector, ext);
        desc_set_accessed(cpu, &d);
        cpu->state.seg[data[i]] = desc_segment(&d);
    }
}

static void task_push_error(struct cpu *cpu, bool wide, uint32_t error)
{
    struct stack s = stack_now(cpu);
    stack_push(&s, error, wide ? 4 : 2);
    stack_commit(&s);
}

/* The old task's side: saves it and moves the busy bits. Answers the old selector, for the link. */
static void task_leave(struct cpu *cpu, enum task_switch_cause cause, uint64_t rip)
{
    struct descriptor old;
    uint64_t flags = cpu_flags_get(cpu);
    if (cause == TASK_IRET)
        flags &= ~(uint64_t)FLAG_NT;
    if (cause == TASK_GATE)
        flags |= cpu->delivering && cpu->delivering != 255 ? FLAG_RF : 0;
    task_save(cpu, rip, flags);
    if ((cause == TASK_JMP || cause == TASK_IRET) && desc_read(cpu, cpu->state.seg[SEG_TR].selector, &old))
        desc_set_busy(cpu, &old, false);
}

static void task_enter(struct cpu *cpu, struct descriptor *d, const struct task *task, bool link)
{
    cpu->state.seg[SEG_TR] = desc_segment(d);
    cpu->state.cr0 |= CR0_TS;
    if (cpu->state.cr0 & CR0_PG && desc_type(d) & 8)
        control_load_cr3(cpu, task->cr3);
    uint32_t flags = task->eflags | (link ? FLAG_NT : 0);
    for (unsigned i = 0; i < 8; i++)
        cpu->state.gpr[i] = task->gpr[i];
    cpu->state.dr[7] &= ~UINT64_C(0x155); /* local breakpoints (SDM 17.2.4) */
    cpu_flags_set(cpu, (flags & (FLAGS_ARITH | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT | FLAG_RF | FLAG_VM | FLAG_AC | FLAG_ID | FLAG_VIF | FLAG_VIP)) | 2);
    /* From here on the context is the new task's, also for faults. */
    cpu->uop = NULL;
    cpu->state.rip = cpu->next_rip = task->eip;
}

void task_switch(struct cpu *cpu, struct descriptor *d, enum task_switch_cause cause, uint64_t rip, bool has_error, uint32_t error, unsigned ext)
{
    struct cpu_segment tss = desc_segment(d);
    bool wide = desc_type(d) & 8, link = cause == TASK_CALL || cause == TASK_GATE;
    uint8_t image[TSS32_LENGTH];
    unsigned length = wide ? TSS32_LENGTH : TSS16_LENGTH;
    struct task task;
    if (tss.limit < length - 1)
        raise_selector(cpu, EXC_TS, d->selector, ext);
    cpu_load_bytes_slow(cpu, cpu_rights_system(cpu), tss.base, image, length);
    if (wide)
        task_load32(image, &task);
    else
        task_load16(image, &task);
    if (link)
        cpu_probe(cpu, cpu_rights_system(cpu), tss.base, 2, MEM_W);
    uint16_t old = cpu->state.seg[SEG_TR].selector;
    task_leave(cpu, cause, rip);
    if (link)
        cpu_store_system16(cpu, tss.base, old);
    if (cause != TASK_IRET)
        desc_set_busy(cpu, d, true);
    task_enter(cpu, d, &task, link);
    segment_load_ldtr(cpu, task.ldt, EXC_TS);
    task_load_segments(cpu, &task, ext);
    cpu_state_changed(cpu);
    transfer_check_rip(cpu, &cpu->state.seg[SEG_CS], task.eip, ext);
    if (has_error)
        task_push_error(cpu, wide, error);
    if (task.trap) {
        cpu->state.pending_db |= BIT(15); /* DR6.BT */
        cpu_request(cpu, CPU_REQ_STEP);
    }
}
