/* SPDX-License-Identifier: MIT */
/* segment.c - segmentation: addresses, descriptors, segment registers, and the instructions that look at them.
 *
 * What the guest sees: limits, types and privilege of segments in every mode, accessed bits, null selectors, system descriptors of 8 and 16 bytes.
 * What is trusted: nothing; a descriptor is read once, into struct descriptor, and checked there. Table reads and accessed-bit writes are implicit
 * supervisor accesses. Locking: owner's thread. Spec: SDM volume 3, chapters 3 and 5; Intel's choice where vendors differ (a null FS or GS clears the base).
 */
#include "cpu/segment.h"

#include "cpu/operand.h"

/* ---- addresses ----------------------------------------------------------------------------------------------------------------------------------- */

bool seg_limit_holds(const struct cpu_segment *s, uint64_t offset, size_t len)
{
    uint64_t last = offset + len - 1;
    if (last < offset)
        return false;
    if (s->limit == UINT32_MAX && !(s->attributes & SEG_EXPAND_DOWN && !(s->attributes & SEG_CODE)))
        return true; /* accesses wrap at 4 GiB without a fault (SDM vol. 3, 5.3 leaves it open; processors do this) */
    if ((s->attributes & (SEG_S | SEG_CODE | SEG_EXPAND_DOWN)) == (SEG_S | SEG_EXPAND_DOWN))
        return offset > s->limit && last <= (s->attributes & SEG_DB ? UINT32_MAX : 0xffff);
    return last <= s->limit;
}

static bool seg_type_holds(const struct cpu_segment *s, uint32_t access)
{
    bool code = s->attributes & SEG_CODE;
    if (access & MEM_W && (code || !(s->attributes & SEG_WRITABLE)))
        return false;
    return !(access & MEM_R && code && !(s->attributes & SEG_READABLE));
}

uint64_t cpu_linear(struct cpu *cpu, unsigned seg, uint64_t offset, size_t len, uint32_t access)
{
    const struct cpu_segment *s = &cpu->state.seg[seg];
    if (cpu->mode == CPU_MODE_64) {
        uint64_t linear = offset + (seg == SEG_FS || seg == SEG_GS ? s->base : 0);
        if (access && (!is_canonical48(linear) || !is_canonical48(linear + len - 1))) {
            if (is_canonical48(linear) && !(access & MEM_UNALIGNED) && (len == 2 || len == 4 || len == 8 || len == 10))
                cpu_check_alignment(cpu, linear, len == 10 ? 8 : (unsigned)len); /* comes before what the last byte shows */
            cpu_raise_error(cpu, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
        }
        return linear;
    }
    bool typed = !cpu_is_flatly_addressed(cpu);
    if ((typed && !(s->attributes & SEG_P)) || (typed && !seg_type_holds(s, access)) || !seg_limit_holds(s, offset, len))
        cpu_raise_error(cpu, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
    return (s->base + offset) & UINT32_MAX;
}

/* ---- descriptors ----------------------------------------------------------------------------------------------------------------------------------- */

static bool desc_read_len(struct cpu *cpu, uint16_t selector, unsigned len, struct descriptor *out)
{
    const struct cpu_segment *table = &cpu->state.gdtr;
    *out = (struct descriptor){ .selector = selector };
    if (selector & 4) {
        table = &cpu->state.seg[SEG_LDTR];
        if (!(table->attributes & SEG_P))
            return false;
    }
    uint32_t at = selector & 0xfff8;
    if (at + len - 1 > table->limit)
        return false;
    out->linear = table->base + at;
    if (!cpu->long_mode)
        out->linear &= UINT32_MAX;
    out->low = cpu_load_system64(cpu, out->linear);
    if (len == 16)
        out->high = cpu_load_system64(cpu, out->linear + 8);
    return true;
}

bool desc_read(struct cpu *cpu, uint16_t selector, struct descriptor *out)
{
    return desc_read_len(cpu, selector, 8, out);
}

bool desc_read_wide(struct cpu *cpu, uint16_t selector, struct descriptor *out)
{
    return desc_read_len(cpu, selector, cpu->long_mode ? 16 : 8, out);
}

void desc_set_accessed(struct cpu *cpu, struct descriptor *d)
{
    if (d->low & BIT(40))
        return;
    d->low |= BIT(40);
    cpu_store_system8(cpu, d->linear + 5, (uint8_t)(d->low >> 40));
}

void desc_set_busy(struct cpu *cpu, struct descriptor *d, bool busy)
{
    d->low = busy ? d->low | BIT(41) : d->low & ~BIT(41);
    cpu_store_system8(cpu, d->linear + 5, (uint8_t)(d->low >> 40));
}

struct cpu_segment desc_segment(const struct descriptor *d)
{
    struct cpu_segment s;
    uint32_t limit = (uint32_t)((d->low & 0xffff) | (d->low >> 32 & 0xf0000));
    s.selector = d->selector;
    s.attributes = d->low >> 40 & 0xf0ff;
    s.limit = s.attributes & SEG_G ? limit << 12 | 0xfff : limit;
    s.base = (d->low >> 16 & 0xffffff) | (d->low >> 32 & 0xff000000) | d->high << 32;
    return s;
}

struct cpu_segment seg_flat(const struct cpu *cpu, unsigned seg, uint16_t selector)
{
    struct cpu_segment s = cpu->state.seg[seg];
    s.selector = selector;
    s.base = (uint64_t)selector << 4;
    if (!cpu_is_real(cpu)) { /* SDM 20.1.2: v8086 */
        s.limit = 0xffff;
        s.attributes = 0xf3;
    }
    return s;
}

/* ---- loading segment registers ------------------------------------------------------------------------------------------------------------------------ */

struct cpu_segment seg_check_stack(struct cpu *cpu, uint16_t selector, unsigned cpl, unsigned vector, unsigned ext)
{
    struct descriptor d;
    if (is_null_selector(selector))
        cpu_raise_error(cpu, vector, ext);
    if (!desc_read(cpu, selector, &d) || (selector & 3u) != cpl || !desc_is_segment(&d) || !desc_is_writable_data(&d) || desc_dpl(&d) != cpl)
        raise_selector(cpu, vector, selector, ext);
    if (!desc_present(&d))
        raise_selector(cpu, EXC_SS, selector, ext);
    desc_set_accessed(cpu, &d);
    return desc_segment(&d);
}

static struct cpu_segment null_segment(uint16_t selector)
{
    return (struct cpu_segment){ .selector = selector };
}

struct cpu_segment seg_check_load(struct cpu *cpu, unsigned seg, uint16_t selector)
{
    struct descriptor d;
    unsigned cpl = cpu->state.cpl, rpl = selector & 3;
    if (cpu_is_flatly_addressed(cpu))
        return seg_flat(cpu, seg, selector);
    if (seg == SEG_SS) {
        if (is_null_selector(selector) && cpu->mode == CPU_MODE_64 && cpl < 3 && rpl == cpl)
            return null_segment(selector);
        return seg_check_stack(cpu, selector, cpl, EXC_GP, 0);
    }
    if (is_null_selector(selector))
        return null_segment(selector);
    if (!desc_read(cpu, selector, &d) || !desc_is_readable(&d))
        raise_selector(cpu, EXC_GP, selector, 0);
    if (!(desc_is_code(&d) && desc_is_conforming(&d)) && (rpl > desc_dpl(&d) || cpl > desc_dpl(&d)))
        raise_selector(cpu, EXC_GP, selector, 0);
    if (!desc_present(&d))
        raise_selector(cpu, EXC_NP, selector, 0);
    desc_set_accessed(cpu, &d);
    return desc_segment(&d);
}

void segment_load(struct cpu *cpu, unsigned seg, uint16_t selector)
{
    cpu->state.seg[seg] = seg_check_load(cpu, seg, selector);
    cpu_state_changed(cpu);
}

void seg_drop_inner(struct cpu *cpu, unsigned cpl)
{
    static const uint8_t data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    for (unsigned i = 0; i < ARRAY_LEN(data); i++) {
        struct cpu_segment *s = &cpu->state.seg[data[i]];
        bool conforming = (s->attributes & (SEG_S | SEG_CODE | SEG_CONFORMING)) == (SEG_S | SEG_CODE | SEG_CONFORMING);
        /* The base stays, as processors have it: WRMSR or WRFSBASE may have set that of FS or GS. */
        if (!is_null_selector(s->selector) && !conforming && seg_dpl(s) < cpl)
            *s = (struct cpu_segment){ .base = s->base };
    }
}

void segment_load_ldtr(struct cpu *cpu, uint16_t selector, unsigned vector)
{
    struct descriptor d;
    if (is_null_selector(selector)) {
        cpu->state.seg[SEG_LDTR] = null_segment(selector);
        return;
    }
    if (selector & 4 || !desc_read_wide(cpu, selector, &d) || desc_is_segment(&d) || desc_type(&d) != DESC_LDT)
        raise_selector(cpu, vector, selector, 0);
    if (!desc_present(&d))
        raise_selector(cpu, vector == EXC_TS ? EXC_TS : EXC_NP, selector, 0);
    struct cpu_segment s = desc_segment(&d);
    if (cpu->long_mode && !is_canonical48(s.base))
        raise_selector(cpu, vector, selector, 0);
    cpu->state.seg[SEG_LDTR] = s;
}

/* ---- stacks ------------------------------------------------------------------------------------------------------------------------------------------ */

struct stack stack_of(struct cpu *cpu, const struct cpu_segment *ss, uint64_t sp, unsigned cpl, bool wide)
{
    uint64_t mask = wide ? UINT64_MAX : ss->attributes & SEG_DB ? UINT32_MAX : 0xffff;
    return (struct stack){ .cpu = cpu, .ss = *ss, .wide = wide, .sp = sp, .mask = mask, .rights = cpu_rights_at(cpu, cpl) };
}

struct stack stack_now(struct cpu *cpu)
{
    struct stack s = stack_of(cpu, &cpu->state.seg[SEG_SS], cpu->state.gpr[REG_RSP], cpu->state.cpl, cpu->mode == CPU_MODE_64);
    s.rights = cpu->rights;
    return s;
}

static uint64_t stack_linear(const struct stack *s, uint64_t offset, unsigned size)
{
    if (s->wide) {
        if (!is_canonical48(offset) || !is_canonical48(offset + size - 1)) {
            if (is_canonical48(offset) && s->rights == TLB_USER_ALIGNED)
                cpu_check_alignment(s->cpu, offset, size);
            cpu_raise_error(s->cpu, EXC_SS, s->error);
        }
        return offset;
    }
    bool typed = !cpu_is_flatly_addressed(s->cpu);
    if ((typed && !(s->ss.attributes & SEG_P)) || !seg_limit_holds(&s->ss, offset, size))
        cpu_raise_error(s->cpu, EXC_SS, s->error);
    return (s->ss.base + offset) & UINT32_MAX;
}

void stack_push(struct stack *s, uint64_t value, unsigned size)
{
    uint64_t offset = (s->sp - size) & s->mask;
    cpu_store_slow(s->cpu, s->rights, stack_linear(s, offset, size), value, size);
    s->sp = (s->sp & ~s->mask) | offset;
}

uint64_t stack_pop(struct stack *s, unsigned size)
{
    uint64_t offset = s->sp & s->mask;
    uint64_t value = cpu_load_slow(s->cpu, s->rights, stack_linear(s, offset, size), size);
    s->sp = (s->sp & ~s->mask) | ((offset + size) & s->mask);
    return value;
}

void stack_commit(const struct stack *s)
{
    uint64_t *rsp = &s->cpu->state.gpr[REG_RSP];
    *rsp = s->mask == 0xffff ? (*rsp & ~UINT64_C(0xffff)) | (s->sp & 0xffff) : s->sp & s->mask;
}

/* ---- instructions that load and store segment registers -------------------------------------------------------------------------------------------------- */

/* MOV SS and POP SS hold back interrupts and debug traps for one instruction (SDM 6.8.3). */
static void shadow_after_ss(struct cpu *cpu, unsigned seg)
{
    if (seg == SEG_SS && !cpu->state.interrupt_shadow)
        cpu->state.interrupt_shadow = 2;
}

void exec_mov_seg(struct cpu *cpu, const struct insn *in)
{
    if (in->opnd[0].kind == OPND_SEG) {
        unsigned seg = in->opnd[0].reg;
        if (seg == SEG_CS || seg > SEG_GS)
            cpu_raise(cpu, EXC_UD);
        segment_load(cpu, seg, (uint16_t)operand_read(cpu, in, 1, 2));
        shadow_after_ss(cpu, seg);
        return;
    }
    /* To a register the selector is zero-extended to the operand size; to memory it is always 16 bits. */
    uint16_t selector = cpu->state.seg[in->opnd[1].reg].selector;
    operand_write(cpu, in, 0, in->opnd[0].kind == OPND_GPR ? in->opsize : 2, selector);
}

void exec_push_seg(struct cpu *cpu, const struct insn *in)
{
    struct stack s = stack_now(cpu);
    uint16_t selector = cpu->state.seg[in->opnd[0].reg].selector;
    if (in->opsize == 4) { /* Intel writes 16 bits of a 32-bit slot (SDM PUSH) */
        s.sp = (s.sp & ~s.mask) | ((s.sp - 2) & s.mask);
        stack_push(&s, selector, 2);
    } else {
        stack_push(&s, selector, in->opsize);
    }
    stack_commit(&s);
}

void exec_pop_seg(struct cpu *cpu, const struct insn *in)
{
    struct stack s = stack_now(cpu);
    unsigned seg = in->opnd[0].reg;
    uint16_t selector = (uint16_t)stack_pop(&s, 2);
    s.sp = (s.sp & ~s.mask) | ((s.sp + in->opsize - 2) & s.mask);
    struct cpu_segment loaded = seg_check_load(cpu, seg, selector);
    stack_commit(&s);
    cpu->state.seg[seg] = loaded;
    cpu_state_changed(cpu);
    shadow_after_ss(cpu, seg);
}

void exec_load_far(struct cpu *cpu, const struct insn *in)
{
    static const uint8_t segs[] = { SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS };
    static const uint16_t ops[] = { OP_LDS, OP_LES, OP_LFS, OP_LGS, OP_LSS };
    unsigned seg = SEG_DS;
    for (unsigned i = 0; i < ARRAY_LEN(ops); i++) {
        if (in->op == ops[i])
            seg = segs[i];
    }
    uint64_t linear = operand_linear_far(cpu, in);
    uint64_t offset = memory_load(cpu, linear, in->opsize);
    uint16_t selector = cpu_load16(cpu, linear + in->opsize);
    segment_load(cpu, seg, selector);
    gpr_set(cpu, in->opnd[0].reg, in->opsize, offset);
}

/* ---- LAR, LSL, VERR, VERW, ARPL ------------------------------------------------------------------------------------------------------------------------- */

static void zero_flag_set(struct cpu *cpu, bool zf)
{
    uint64_t flags = cpu_flags_get(cpu);
    cpu_flags_set_arith(cpu, (uint32_t)((flags & FLAGS_ARITH & ~(uint64_t)FLAG_ZF) | (zf ? FLAG_ZF : 0)));
}

static bool lar_lsl_type_holds(const struct cpu *cpu, bool lsl, unsigned type)
{
    unsigned legacy = lsl ? BIT(DESC_TSS16) | BIT(DESC_LDT) | BIT(DESC_TSS16_BUSY) | BIT(DESC_TSS32) | BIT(DESC_TSS32_BUSY)
                          : BIT(DESC_TSS16) | BIT(DESC_LDT) | BIT(DESC_TSS16_BUSY) | BIT(DESC_CALL16) | BIT(DESC_TASK_GATE) | BIT(DESC_TSS32) |
                                BIT(DESC_TSS32_BUSY) | BIT(DESC_CALL32);
    unsigned wide = BIT(DESC_LDT) | BIT(DESC_TSS32) | BIT(DESC_TSS32_BUSY) | (lsl ? 0 : BIT(DESC_CALL32));
    return (cpu->long_mode ? wide : legacy) >> type & 1;
}

/* Whether CPL and the selector's RPL reach the descriptor. */
static bool selector_reaches(const struct cpu *cpu, uint16_t selector, const struct descriptor *d)
{
    if (desc_is_code(d) && desc_is_conforming(d))
        return true;
    return desc_dpl(d) >= cpu->state.cpl && desc_dpl(d) >= (selector & 3u);
}

void exec_lar_lsl(struct cpu *cpu, const struct insn *in)
{
    struct descriptor d;
    bool lsl = in->op == OP_LSL;
    uint16_t selector = (uint16_t)operand_read(cpu, in, 1, 2);
    bool ok = !is_null_selector(selector) && desc_read(cpu, selector, &d) && (desc_is_segment(&d) || lar_lsl_type_holds(cpu, lsl, desc_type(&d))) &&
              selector_reaches(cpu, selector, &d);
    if (ok)
        gpr_set(cpu, in->opnd[0].reg, in->opsize, lsl ? desc_segment(&d).limit : d.low >> 32 & 0x00ffff00);
    zero_flag_set(cpu, ok);
}

void exec_verify(struct cpu *cpu, const struct insn *in)
{
    struct descriptor d;
    uint16_t selector = (uint16_t)operand_read(cpu, in, 0, 2);
    bool ok = !is_null_selector(selector) && desc_read(cpu, selector, &d) && desc_is_segment(&d) && selector_reaches(cpu, selector, &d) &&
              (in->op == OP_VERR ? desc_is_readable(&d) : desc_is_writable_data(&d));
    zero_flag_set(cpu, ok);
}

void exec_arpl(struct cpu *cpu, const struct insn *in)
{
    uint16_t dst = (uint16_t)operand_read(cpu, in, 0, 2), src = (uint16_t)operand_read(cpu, in, 1, 2);
    bool raise = (dst & 3) < (src & 3);
    if (raise) /* else memory need not even be writable */
        operand_write(cpu, in, 0, 2, (uint16_t)((dst & ~3) | (src & 3)));
    zero_flag_set(cpu, raise);
}

/* ---- LDTR and TR ------------------------------------------------------------------------------------------------------------------------------------------ */

void exec_lldt(struct cpu *cpu, const struct insn *in)
{
    segment_load_ldtr(cpu, (uint16_t)operand_read(cpu, in, 0, 2), EXC_GP);
}

void exec_ltr(struct cpu *cpu, const struct insn *in)
{
    struct descriptor d;
    uint16_t selector = (uint16_t)operand_read(cpu, in, 0, 2);
    if (is_null_selector(selector))
        cpu_raise_error(cpu, EXC_GP, 0);
    if (selector & 4 || !desc_read_wide(cpu, selector, &d) || desc_is_segment(&d))
        raise_selector(cpu, EXC_GP, selector, 0);
    unsigned type = desc_type(&d);
    if (type != DESC_TSS32 && (type != DESC_TSS16 || cpu->long_mode))
        raise_selector(cpu, EXC_GP, selector, 0);
    if (!desc_present(&d))
        raise_selector(cpu, EXC_NP, selector, 0);
    if (cpu->long_mode && !is_canonical48(desc_segment(&d).base))
        raise_selector(cpu, EXC_GP, selector, 0);
    desc_set_busy(cpu, &d, true);
    cpu->state.seg[SEG_TR] = desc_segment(&d);
}

void exec_sldt_str(struct cpu *cpu, const struct insn *in)
{
    uint16_t selector = cpu->state.seg[in->op == OP_SLDT ? SEG_LDTR : SEG_TR].selector;
    operand_write(cpu, in, 0, in->opnd[0].kind == OPND_GPR ? in->opsize : 2, selector);
}
