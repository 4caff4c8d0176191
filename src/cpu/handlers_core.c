/* SPDX-License-Identifier: MIT */
/* handlers_core.c - micro-operations that run any instruction through its exec_*() function, and the ways out of a block. See handlers.h. */
#include "cpu/handlers.h"
#include "cpu/translate/lockstep.h"
#include "cpu/translate/translate.h"

void chain_clear(struct chain *chain)
{
    *chain = (struct chain){ .to = { NULL, NULL } };
}

/* Back to the loop; state.rip is where to go on. */
void uop_leave(struct cpu *cpu, const struct uop *u)
{
    (void)cpu;
    (void)u;
}

/* The first of a block whose bytes were written. */
void uop_dead(struct cpu *cpu, const struct uop *u)
{
    struct block *b = block_of(u);
    if (ENGINE_CHAINS && b->forward)
        return b->forward->fn(cpu, b->forward);
    cpu->engine->dead_from = b;
}

/* The first of a block that is not yet worth a translation. */
void uop_warm(struct cpu *cpu, const struct uop *u)
{
    struct block *b = block_of(u);
    if (--b->heat)
        return b->first(cpu, u);
    translate_make_room(cpu);
    b->uops[0].fn = b->first;
    translate_block(cpu, b);
    return b->uops[0].fn(cpu, u);
}

void uop_translated(struct cpu *cpu, const struct uop *u)
{
    const struct uop *(*run)(struct cpu *, struct block *, unsigned) = unlikely(cpu->vm->lockstep) ? lockstep_run : translate_run;
    const struct uop *next = run(cpu, block_of(u), u->number);
    if (next)
        return translate_handler_of(next)(cpu, next);
}

/* A block without a branch at its end. */
void uop_end(struct cpu *cpu, const struct uop *u)
{
    cpu->instructions += u->number;
    CHAIN_GO(u + 1, 0, u->offset);
}

void uop_fault_ud(struct cpu *cpu, const struct uop *u)
{
    cpu->uop = u;
    cpu_raise(cpu, EXC_UD);
}

void uop_fault_gp(struct cpu *cpu, const struct uop *u)
{
    cpu->uop = u;
    cpu_raise_error(cpu, EXC_GP, 0);
}

static uint64_t rip_cut(const struct cpu *cpu, uint64_t rip)
{
    return cpu->mode == CPU_MODE_64 ? rip : (uint32_t)rip;
}

/* Whether the block may go on behind an instruction: nothing that it was decoded for has changed. Else state.rip is set for the loop. */
ALWAYS_INLINE bool run_insn(struct cpu *cpu, const struct uop *u, const struct insn *in, void (*exec)(struct cpu *, const struct insn *))
{
    uint64_t start = cpu->state.rip, tag = cpu->fetch_tag, flags = cpu->state.rflags, behind;
    uint32_t killed = cpu->engine->cache.killed;
    cpu->state.rip = rip_cut(cpu, start + u->offset);
    cpu->next_rip = behind = rip_cut(cpu, cpu->state.rip + u->length);
    cpu->uop = NULL;
    cpu->engine->general[in->op]++;
    exec(cpu, in);
    if (likely(cpu->next_rip == behind && cpu->fetch_tag == tag && cpu->engine->cache.killed == killed && !engine_requested(cpu) &&
               !cpu->state.interrupt_shadow && !cpu->state.halted && !(~flags & cpu->state.rflags & FLAG_IF /* the interrupt window opens */))) {
        cpu->state.rip = start;
        return true;
    }
    COUNT_INSTRUCTIONS(u);
    cpu->state.rip = cpu->next_rip;
    return false;
}

#define CLASS_HANDLER(name, exec)                        \
    void name(struct cpu *cpu, const struct uop *u)      \
    {                                                    \
        if (run_insn(cpu, u, u->insn, exec))             \
            NEXT;                                        \
    }
CLASS_HANDLER(uop_integer, exec_integer)
CLASS_HANDLER(uop_system, exec_system)
CLASS_HANDLER(uop_vector, exec_vector)
CLASS_HANDLER(uop_x87, exec_x87)
CLASS_HANDLER(uop_xsave, exec_xsave)

static struct insn insn_again(const struct cpu *cpu, const struct uop *u)
{
    const struct block *b = block_of(u);
    struct insn in;
    insn_decode(b->code + u->offset, u->length, cpu->mode, &in); /* was good when the block was made from these very bytes */
    return in;
}

/* Not inlined: with the address of a local in the frame, the jump to the next handler would be a call, and the host's stack would grow with each. */
static __attribute__((noinline)) bool slow_run(struct cpu *cpu, const struct uop *u)
{
    struct insn in = insn_again(cpu, u);
    cpu->engine->statistics.slow++;
    bool go_on = run_insn(cpu, u, &in, exec_integer);
    if (go_on && insn_op_flags(in.op) & OPF_BRANCH) {
        COUNT_INSTRUCTIONS(u);
        cpu->state.rip = cpu->next_rip;
        go_on = false;
    }
    return go_on;
}

void uop_slow(struct cpu *cpu, const struct uop *u)
{
    if (slow_run(cpu, u))
        NEXT;
}

void uop_miss(struct cpu *cpu, const struct uop *u, uint64_t linear, uint32_t access)
{
    if ((linear & (MEM_PAGE_SIZE - 1)) > MEM_PAGE_SIZE - 8 || (cpu->mode == CPU_MODE_64 && !is_canonical48(linear)) || cpu->rights == TLB_USER_ALIGNED)
        return uop_slow(cpu, u);
    /* An instruction with two accesses whose pages share an entry would fill it for the one and then for the other, for ever. */
    struct cpu_engine *engine = cpu->engine;
    if (engine->miss_uop == u && engine->miss_instructions == cpu->instructions)
        return uop_slow(cpu, u);
    engine->miss_uop = u;
    engine->miss_instructions = cpu->instructions;
    cpu->uop = u;
    cpu_probe(cpu, cpu->rights, linear, 1, access & MEM_W ? MEM_W : MEM_R);
    const struct tlb_entry *e = cpu_tlb_entry(cpu, linear);
    uint64_t page = linear & TLB_PAGE_MASK;
    if (((access & MEM_R) && e->read_tag != page) || ((access & MEM_W) && e->write_tag != page))
        return uop_slow(cpu, u);
    return u->fn(cpu, u);
}

void uop_noticed(struct cpu *cpu, const struct uop *u, uint64_t linear, size_t len)
{
    uint32_t killed = cpu->engine->cache.killed;
    cpu_store_noticed(cpu, cpu_tlb_entry(cpu, linear), linear, len);
    if (cpu->engine->cache.killed == killed)
        NEXT;
    COUNT_INSTRUCTIONS(u);
    cpu->state.rip = rip_cut(cpu, cpu->state.rip + u->offset + u->length);
}
