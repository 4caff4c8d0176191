/* SPDX-License-Identifier: MIT */
/* plan.c - which accesses of a segment share one lookup: those off one register, as long as it changes by constants only.
 *
 * One check of the whole range [lo, hi) stands for all; when it fails - the range crosses a page, say - E0 does the rest of the block, so a block in which that happens
 * often is compiled again without groups (translator.c). */
#include "cpu/translate/compile.h"

enum { SPAN_MAX = 1024 }; /* the wider, the likelier a page's end lies inside */

struct value { unsigned version; int64_t offset; }; /* of a register: what it was when the version began, plus offset */

struct planner {
    struct compile *c;
    struct value values[16]; /* by guest register */
};

static void value_lost(struct planner *p, unsigned reg) { p->values[reg].version++, p->values[reg].offset = 0; }

/* In 32-bit code the sum may have wrapped around, so that what was looked up is 4 GiB away from it. */
static void value_moved(struct planner *p, unsigned reg, int64_t by)
{
    if (compile_is_wide(p->c))
        p->values[reg].offset += by;
    else
        value_lost(p, reg);
}

/* The change by a constant that the instruction makes to the register of its first operand. */
static bool constant_change(const struct compile *c, const struct insn *in, int64_t *change)
{
    const struct insn_opnd *to = &in->opnd[0];
    bool immediate = in->nopnd > 1 && in->opnd[1].kind == OPND_IMM;
    if (to->kind != OPND_GPR || to->size != c->word)
        return false;
    switch (in->op) {
    case OP_ADD: *change = in->imm; return immediate;
    case OP_SUB: *change = -in->imm; return immediate;
    case OP_INC: *change = 1; return true;
    case OP_DEC: *change = -1; return true;
    case OP_LEA: *change = in->disp; return in->base == to->reg && in->index == INSN_NO_REG && in->asize == c->word;
    default: return false;
    }
}

static void values_change(struct planner *p, const struct insn *in)
{
    unsigned flags = insn_op_flags(in->op);
    int64_t change;
    if (constant_change(p->c, in, &change)) {
        value_moved(p, in->opnd[0].reg, change);
        return;
    }
    for (unsigned i = 0; i < in->nopnd && i < 2; i++) {
        const struct insn_opnd *o = &in->opnd[i];
        if ((o->kind == OPND_GPR || o->kind == OPND_GPR_HIGH) && flags & (i ? OPF_WRITES_OPND1 : OPF_WRITES_OPND0))
            value_lost(p, o->reg);
    }
    switch (in->op) {
    case OP_PUSH: case OP_PUSHF: value_moved(p, REG_RSP, -8); break;
    case OP_POP: if (in->opnd[0].reg != REG_RSP) value_moved(p, REG_RSP, 8); break;
    case OP_POPF: value_moved(p, REG_RSP, 8); break;
    case OP_LEAVE: value_lost(p, REG_RSP), value_lost(p, REG_RBP); break;
    case OP_MOVS: case OP_STOS: /* a loop, behind which the verifier knows of no register what it knew before */
        for (unsigned reg = 0; reg < 16; reg++)
            value_lost(p, reg);
        break;
    case OP_MUL: case OP_IMUL: case OP_DIV: case OP_IDIV: case OP_CWD: case OP_CBW: case OP_CMPXCHG: case OP_CMPXCHG8B: case OP_CMPXCHG16B: case OP_LAHF:
    case OP_PCMPESTRI: case OP_PCMPISTRI: case OP_RDTSC: case OP_RDTSCP: case OP_RDPKRU:
        value_lost(p, REG_RAX), value_lost(p, REG_RDX), value_lost(p, REG_RCX);
        break;
    default: break;
    }
}

/* Puts an access of `size` bytes at reg + disp into a group. */
static struct member member_add(struct planner *p, unsigned reg, int64_t disp, unsigned size, bool write)
{
    struct compile *c = p->c;
    const struct value *v = &p->values[reg];
    int64_t at = v->offset + disp, end = at + size;
    if (register_of(reg) == NO_REGISTER || at != (int16_t)at || disp < INT32_MIN + SPAN_MAX /* the group's start must be a displacement, too */)
        return (struct member){ NULL, 0 };
    for (unsigned i = c->group_count; i-- > 0;) {
        struct group *g = &c->groups[i];
        if (g->reg != reg || g->version != v->version)
            continue;
        int32_t lo = at < g->lo ? (int32_t)at : g->lo, hi = end > g->hi ? (int32_t)end : g->hi;
        if (hi - lo > SPAN_MAX)
            continue;
        g->lo = lo, g->hi = hi;
        g->write |= write;
        g->count++;
        return (struct member){ g, (int32_t)at };
    }
    if (c->group_count == GROUPS_MAX)
        return (struct member){ NULL, 0 };
    struct group *g = &c->groups[c->group_count++];
    *g = (struct group){ .reg = reg, .version = v->version, .lo = (int32_t)at, .hi = (int32_t)end, .write = write, .count = 1 };
    return (struct member){ g, (int32_t)at };
}

static bool is_plain(const struct compile *c, const struct insn *in)
{
    return in->has_mem && in->op != OP_LEA && !compile_is_quiet(in) && in->base < 16 && in->index == INSN_NO_REG && in->asize == c->word &&
           in->seg != INSN_FS && in->seg != INSN_GS && !system_reaches_beyond(in);
}

static void plan_instruction(struct planner *p, const struct insn *in, struct plan *plan)
{
    bool write;
    int word = (int)p->c->word;
    if (is_plain(p->c, in)) {
        unsigned size = copy_memory_size(in, &write);
        plan->operand = member_add(p, in->base, in->disp, size, write);
        if (plan->operand.group)
            plan->operand.group->updates |= copy_updates_memory(in);
    }
    if (in->op == OP_PUSH || in->op == OP_PUSHF || in->op == OP_CALL)
        plan->stack = member_add(p, REG_RSP, -word, p->c->word, true);
    else if (in->op == OP_POP || in->op == OP_POPF || in->op == OP_RET)
        plan->stack = member_add(p, REG_RSP, 0, p->c->word, false);
    else if (in->op == OP_LEAVE)
        plan->stack = member_add(p, REG_RBP, 0, p->c->word, false);
    values_change(p, in);
}

void plan_segment(struct compile *c, unsigned number, unsigned end)
{
    struct planner p = { .c = c };
    c->group_count = 0;
    c->held[0] = c->held[1] = NULL;
    memset(c->plans, 0, sizeof c->plans);
    if (c->block->straddles)
        return;
    for (unsigned i = number; i < end; i++) {
        compile_take(c, i);
        plan_instruction(&p, &c->in, &c->plans[i]);
    }
}
