/* SPDX-License-Identifier: MIT */
/* lower.c - from a decoded instruction to its micro-operation: a handler of its own for the frequent forms, the class handler for the rest.
 *
 * Handlers of memory operands need flat addresses: 64-bit mode with any segment, or 32-bit code whose segments are flat, but FS and GS there. Whatever depends
 * on the mode here must be in engine_block_key().
 */
#include "cpu/handlers.h"

enum { OFFSET_RIP = 16 * 8, OFFSET_ZERO = 17 * 8 };
_Static_assert(offsetof(struct cpu_state, rip) == OFFSET_RIP && offsetof(struct cpu_state, zero) == OFFSET_ZERO, "registers are indexed from gpr[0] on");
_Static_assert(offsetof(struct cpu, state) == 0 && offsetof(struct cpu_state, gpr) == 0, "registers come first");

static bool is_64(const struct lowering *low) { return low->cpu->mode == CPU_MODE_64; }

/* The size, 8 or 4, of stack and branch operations that have handlers here: 64-bit mode, or flat 32-bit code and stack. 0: none. */
static unsigned near_size(const struct lowering *low, const struct insn *in)
{
    const struct cpu *cpu = low->cpu;
    if (is_64(low))
        return in->opsize == 8 ? 8 : 0;
    return cpu->mode == CPU_MODE_32 && cpu->flat && in->opsize == 4 && cpu->state.seg[SEG_SS].attributes & SEG_DB ? 4 : 0;
}

static unsigned size_index(unsigned bytes)
{
    return bytes == 1 ? SIZE_8 : bytes == 2 ? SIZE_16 : bytes == 4 ? SIZE_32 : SIZE_64;
}

static bool is_register(const struct insn_opnd *o) { return o->kind == OPND_GPR || o->kind == OPND_GPR_HIGH; }
static bool is_whole_register(const struct insn_opnd *o) { return o->kind == OPND_GPR; }

static uint8_t register_offset(const struct insn_opnd *o)
{
    return (uint8_t)(o->reg * 8 + (o->kind == OPND_GPR_HIGH));
}

static uint8_t address_register(unsigned reg)
{
    return reg == INSN_NO_REG ? OFFSET_ZERO : reg == INSN_RIP ? OFFSET_RIP : (uint8_t)(reg * 8);
}

/* Base, index, scale and displacement of the ModRM operand, cut to the address size. */
static bool lower_effective(const struct insn *in, struct uop *u)
{
    int64_t disp = in->disp;
    if (in->base == INSN_RIP) {
        disp += u->offset + u->length;
        if (in->asize != 8 || disp != (int32_t)disp)
            return false;
    }
    u->base = address_register(in->base);
    u->index = address_register(in->index);
    u->scale = in->scale;
    u->disp = (int32_t)disp;
    u->cut = (uint8_t)(64 - in->asize * 8);
    return true;
}

/* The same with the segment. Answers the enum address_form, or -1: not for a handler. */
static int lower_address(const struct lowering *low, const struct insn *in, struct uop *u)
{
    bool has_base = in->seg == INSN_FS || in->seg == INSN_GS;
    if (is_64(low) ? in->asize < 4 : !low->cpu->flat || in->asize != 4 || has_base || in->seg == INSN_CS /* not writable */)
        return -1;
    if (in->vsib || !lower_effective(in, u))
        return -1;
    u->segment = (uint16_t)(has_base ? offsetof(struct cpu_state, seg) + in->seg * sizeof(struct cpu_segment) : OFFSET_ZERO);
    return has_base || u->cut || in->index != INSN_NO_REG ? ADDRESS_ANY : ADDRESS_BASE;
}
_Static_assert(offsetof(struct cpu_segment, base) == 0, "a segment's base comes first");

/* ---- one function for each shape; false: no handler -------------------------------------------------------------------------------------------------------- */

/* The form of a two-operand instruction, with dst, src, imm and the address filled in; -1: none. */
static int lower_two(const struct lowering *low, const struct insn *in, struct uop *u, int *address)
{
    const struct insn_opnd *to = &in->opnd[0], *from = &in->opnd[1];
    *address = 0;
    if (from->kind == OPND_IMM)
        u->imm = (uint64_t)in->imm;
    else if (is_register(from))
        u->src = register_offset(from);
    else if (from->kind != OPND_MEM || !is_register(to))
        return -1;
    if (is_register(to))
        u->dst = register_offset(to);
    else if (to->kind != OPND_MEM)
        return -1;
    if (to->kind == OPND_MEM || from->kind == OPND_MEM)
        *address = lower_address(low, in, u);
    if (*address < 0)
        return -1;
    if (is_register(to))
        return from->kind == OPND_IMM ? FORM_RI : from->kind == OPND_MEM ? FORM_RM : FORM_RR;
    return from->kind == OPND_IMM ? FORM_MI : FORM_MR;
}
_Static_assert(FORM_RR == (int)MOVE_RR && FORM_RI == (int)MOVE_RI && FORM_RM == (int)MOVE_RM && FORM_MR == (int)MOVE_MR && FORM_MI == (int)MOVE_MI, "");

static bool lower_alu(struct lowering *low, const struct insn *in, struct uop *u, unsigned op)
{
    int address, form = lower_two(low, in, u, &address);
    if (form < 0)
        return false;
    u->fn = alu_handlers[op][size_index(in->opnd[0].size)][form][address];
    return true;
}

static bool lower_unary(struct lowering *low, const struct insn *in, struct uop *u, unsigned op)
{
    const struct insn_opnd *to = &in->opnd[0];
    int address = 0;
    if (is_register(to))
        u->dst = register_offset(to);
    else if (to->kind != OPND_MEM || (address = lower_address(low, in, u)) < 0)
        return false;
    u->fn = unary_handlers[op - ALU_INC][size_index(to->size)][to->kind == OPND_MEM][address];
    return true;
}

static bool lower_shift(const struct insn *in, struct uop *u, unsigned op)
{
    const struct insn_opnd *to = &in->opnd[0], *count = &in->opnd[1];
    if (!is_register(to))
        return false;
    u->dst = register_offset(to);
    if (count->kind == OPND_IMM)
        u->imm = shift_count((unsigned)in->imm, shift_of(to->size));
    u->fn = shift_handlers[op][size_index(to->size)][count->kind != OPND_IMM];
    return u->fn;
}

static bool lower_move(struct lowering *low, const struct insn *in, struct uop *u)
{
    int address, form = lower_two(low, in, u, &address);
    if (form < 0)
        return false;
    u->fn = move_handlers[size_index(in->opnd[0].size)][form][address];
    return true;
}

static bool lower_extend(struct lowering *low, const struct insn *in, struct uop *u)
{
    int address, form = lower_two(low, in, u, &address);
    unsigned from = size_index(in->opnd[1].size);
    if (form < 0 || from > SIZE_32)
        return false;
    u->fn = extend_handlers[in->op != OP_MOVZX][from][size_index(in->opnd[0].size)][form == FORM_RM][address];
    return u->fn;
}

static bool lower_lea(const struct insn *in, struct uop *u)
{
    if (!lower_effective(in, u))
        return false;
    u->dst = register_offset(&in->opnd[0]);
    u->fn = lea_handlers[size_index(in->opsize)];
    return u->fn;
}

static bool lower_push(struct lowering *low, const struct insn *in, struct uop *u)
{
    const struct insn_opnd *from = &in->opnd[0];
    unsigned size = near_size(low, in);
    if (!size)
        return false;
    if (from->kind == OPND_IMM)
        u->fn = size == 8 ? uop_push64_imm : uop_push32_imm;
    else if (is_whole_register(from))
        u->fn = size == 8 ? uop_push64 : uop_push32;
    u->imm = (uint64_t)in->imm;
    u->src = from->kind == OPND_GPR ? register_offset(from) : 0;
    return u->fn;
}

static bool lower_pop(struct lowering *low, const struct insn *in, struct uop *u)
{
    unsigned size = near_size(low, in);
    if (!size || !is_whole_register(&in->opnd[0]))
        return false;
    u->dst = register_offset(&in->opnd[0]);
    u->fn = size == 8 ? uop_pop64 : uop_pop32;
    return true;
}

static bool lower_conditional(const struct insn *in, struct uop *u)
{
    if (!is_register(&in->opnd[0]))
        return false;
    u->dst = register_offset(&in->opnd[0]);
    if (in->op == OP_SETCC) {
        u->fn = setcc_handlers[insn_cond(in)];
        return true;
    }
    if (!is_register(&in->opnd[1]) || in->opnd[0].size < 4)
        return false;
    u->src = register_offset(&in->opnd[1]);
    u->fn = cmov_handlers[insn_cond(in)][in->opnd[0].size == 8];
    return true;
}

static bool lower_multiply(const struct insn *in, struct uop *u)
{
    const struct insn_opnd *to = &in->opnd[0];
    bool wide = to->size == 8;
    if (to->size < 4 || !is_register(to))
        return false;
    u->dst = register_offset(to);
    if (in->op == OP_MUL) {
        u->fn = wide ? uop_mul64 : uop_mul32;
        return true;
    }
    if (in->nopnd < 2 || !is_register(&in->opnd[1]))
        return false;
    u->src = register_offset(&in->opnd[1]);
    u->imm = (uint64_t)in->imm;
    if (in->nopnd == 3)
        u->fn = wide ? uop_imul64_imm : uop_imul32_imm;
    else
        u->fn = wide ? uop_imul64 : uop_imul32;
    return true;
}

/* CBW, CWD, BSWAP, BT r,imm, XCHG r,r: 32 and 64 bits. */
static bool lower_small(const struct insn *in, struct uop *u)
{
    bool wide = in->opsize == 8;
    if (in->opsize < 4)
        return false;
    switch (in->op) {
    case OP_CBW: u->fn = wide ? uop_cdqe : uop_cwde; return true;
    case OP_CWD: u->fn = wide ? uop_cqo : uop_cdq; return true;
    case OP_BSWAP: u->fn = wide ? uop_bswap64 : uop_bswap32; break;
    case OP_BT:
        if (in->opnd[1].kind != OPND_IMM)
            return false;
        u->imm = (uint64_t)in->imm & (wide ? 63 : 31);
        u->fn = wide ? uop_bt64_imm : uop_bt32_imm;
        break;
    default:
        if (!is_register(&in->opnd[0]) || !is_register(&in->opnd[1]) || in->opnd[0].size < 4)
            return false;
        u->src = register_offset(&in->opnd[1]);
        u->fn = wide ? uop_xchg64 : uop_xchg32;
        break;
    }
    u->dst = register_offset(&in->opnd[0]);
    return is_register(&in->opnd[0]);
}

/* ---- branches ------------------------------------------------------------------------------------------------------------------------------------------------ */

/* CMP or TEST of registers just in front: one handler for both. */
static void lower_fuse(const struct lowering *low, struct uop *u, unsigned cond)
{
    static const struct { uint8_t op, form, fused; } pairs[] = {
        { ALU_CMP, FORM_RR, FUSED_CMP_RR }, { ALU_CMP, FORM_RI, FUSED_CMP_RI }, { ALU_TEST, FORM_RR, FUSED_TEST_RR },
    };
    if (!u->number || low->cpu->vm->lockstep /* which stops between the two */)
        return;
    for (unsigned i = 0; i < ARRAY_LEN(pairs); i++)
        for (unsigned size = 0; size < SIZES; size++)
            if (u[-1].fn == alu_handlers[pairs[i].op][size][pairs[i].form][0] && fused_handlers[pairs[i].fused][size][cond])
                u[-1].fn = fused_handlers[pairs[i].fused][size][cond];
}

static bool lower_direct(struct lowering *low, const struct insn *in, struct uop *u)
{
    int64_t disp = in->imm + u->offset + u->length;
    if (disp != (int32_t)disp)
        return false;
    u->disp = (int32_t)disp;
    low->chained = true;
    if (in->op == OP_JCC) {
        u->fn = jcc_handlers[insn_cond(in)];
        lower_fuse(low, u, insn_cond(in));
    } else {
        u->fn = in->op != OP_CALL ? uop_jmp64 : is_64(low) ? uop_call64 : uop_call32;
    }
    return true;
}

static bool lower_branch(struct lowering *low, const struct insn *in, struct uop *u)
{
    const struct insn_opnd *to = &in->opnd[0];
    unsigned size = near_size(low, in);
    if (!size)
        return false;
    if (in->op == OP_RET) {
        u->imm = in->nopnd ? (uint64_t)in->imm & 0xffff : 0;
        u->fn = size == 8 ? uop_ret64 : uop_ret32;
        return true;
    }
    if (to->kind == OPND_REL)
        return lower_direct(low, in, u);
    if (to->kind == OPND_GPR) {
        u->src = register_offset(to);
        u->fn = in->op == OP_CALL ? (size == 8 ? uop_call64_reg : uop_call32_reg) : size == 8 ? uop_jmp64_reg : uop_jmp32_reg;
        return true;
    }
    if (lower_address(low, in, u) < 0)
        return false;
    u->fn = in->op == OP_CALL ? (size == 8 ? uop_call64_mem : uop_call32_mem) : size == 8 ? uop_jmp64_mem : uop_jmp32_mem;
    return true;
}

/* ---- all ---------------------------------------------------------------------------------------------------------------------------------------------------------- */

static bool lower_special(struct lowering *low, const struct insn *in, struct uop *u)
{
    if (in->prefix & PFX_LOCK)
        return false;
    switch (in->op) {
    case OP_ADD:  return lower_alu(low, in, u, ALU_ADD);
    case OP_OR:   return lower_alu(low, in, u, ALU_OR);
    case OP_ADC:  return lower_alu(low, in, u, ALU_ADC);
    case OP_SBB:  return lower_alu(low, in, u, ALU_SBB);
    case OP_AND:  return lower_alu(low, in, u, ALU_AND);
    case OP_SUB:  return lower_alu(low, in, u, ALU_SUB);
    case OP_XOR:  return lower_alu(low, in, u, ALU_XOR);
    case OP_CMP:  return lower_alu(low, in, u, ALU_CMP);
    case OP_TEST: return lower_alu(low, in, u, ALU_TEST);
    case OP_INC:  return lower_unary(low, in, u, ALU_INC);
    case OP_DEC:  return lower_unary(low, in, u, ALU_DEC);
    case OP_NEG:  return lower_unary(low, in, u, ALU_NEG);
    case OP_NOT:  return lower_unary(low, in, u, ALU_NOT);
    case OP_ROL:  return lower_shift(in, u, SHIFT_ROL);
    case OP_ROR:  return lower_shift(in, u, SHIFT_ROR);
    case OP_SHL:  return lower_shift(in, u, SHIFT_SHL);
    case OP_SHR:  return lower_shift(in, u, SHIFT_SHR);
    case OP_SAR:  return lower_shift(in, u, SHIFT_SAR);
    case OP_MOV: case OP_MOVNTI: return lower_move(low, in, u);
    case OP_MOVZX: case OP_MOVSX: case OP_MOVSXD: return lower_extend(low, in, u);
    case OP_LEA:  return lower_lea(in, u);
    case OP_PUSH: return lower_push(low, in, u);
    case OP_POP:  return lower_pop(low, in, u);
    case OP_LEAVE:
        u->fn = near_size(low, in) == 8 ? uop_leave64 : uop_leave32;
        return near_size(low, in);
    case OP_SETCC: case OP_CMOVCC: return lower_conditional(in, u);
    case OP_MUL: case OP_IMUL: return lower_multiply(in, u);
    case OP_CBW: case OP_CWD: case OP_BSWAP: case OP_BT: case OP_XCHG: return lower_small(in, u);
    case OP_NOP: case OP_ENDBR: case OP_PREFETCH: case OP_PREFETCHW:
        u->fn = uop_nop;
        return true;
    case OP_JMP: case OP_CALL: case OP_RET: case OP_JCC: return lower_branch(low, in, u);
    default: return false;
    }
}

static uop_fn *class_handler(unsigned op)
{
    if (exec_is_integer(op))
        return uop_integer;
    if ((op >= OP_XSAVE && op <= OP_XRSTORS) || op == OP_FXSAVE || op == OP_FXRSTOR)
        return uop_xsave;
    if (op >= OP_F2XM1 && op <= OP_FYL2XP1)
        return uop_x87;
    return op >= OP_EMMS ? uop_vector : uop_system;
}

/* A handler for the frequent vector instructions; all of them can still go to the class handler, so u->insn is there. */
static void lower_vector(const struct lowering *low, const struct insn *in, struct uop *u)
{
    uop_fn *fn = is_64(low) ? vector_handler(in) : NULL;
    if (!fn || (in->has_mem && lower_address(low, in, u) < 0))
        return;
    const struct insn_opnd *from = &in->opnd[in->nopnd > 1 && in->opnd[in->nopnd - 1].kind == OPND_IMM ? in->nopnd - 2 : in->nopnd ? in->nopnd - 1 : 0];
    u->dst = in->opnd[0].reg & 15;
    u->src = from->reg & 15;
    u->fn = fn;
}

void lower_instruction(struct lowering *low, const struct insn *in, struct uop *u)
{
    low->ends = insn_op_flags(in->op) & OPF_BRANCH || in->op == OP_HLT || in->op == OP_STAC || in->op == OP_CLAC; /* these change the key */
    if (lower_special(low, in, u))
        return;
    low->chained = false;
    low->kept = true;
    *low->keep = *in;
    u->insn = low->keep;
    u->fn = class_handler(in->op);
    if (u->fn == uop_vector)
        lower_vector(low, in, u);
}

void lower_fault(struct uop *u, unsigned vector)
{
    u->fn = vector == EXC_GP ? uop_fault_gp : uop_fault_ud;
}

void lower_end(struct uop *u)
{
    u->fn = uop_end;
}
