/* SPDX-License-Identifier: MIT */
/* exec_int_data.c - moves, exchanges, the stack, near branches and flag instructions for exec_integer(). SDM vol. 2.
 * Every function does what can fault first, then changes registers. */
#include "cpu/exec_int.h"

static int64_t sign_extend(uint64_t v, unsigned size) { return (int64_t)(v << shift_of(size)) >> shift_of(size); }

void exec_mov(struct cpu *cpu, const struct insn *in)
{
    operand_write(cpu, in, 0, in->opnd[0].size, operand_read(cpu, in, 1, in->opnd[1].size));
}

void exec_movsx(struct cpu *cpu, const struct insn *in)
{
    operand_write(cpu, in, 0, in->opnd[0].size, (uint64_t)sign_extend(operand_read(cpu, in, 1, in->opnd[1].size), in->opnd[1].size));
}

void exec_movbe(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[0].size;
    operand_write(cpu, in, 0, size, __builtin_bswap64(operand_read(cpu, in, 1, size)) >> shift_of(size));
}

void exec_lea(struct cpu *cpu, const struct insn *in)
{
    operand_write(cpu, in, 0, in->opsize, operand_offset(cpu, in));
}

void exec_xlat(struct cpu *cpu, const struct insn *in)
{
    struct insn_opnd at = { .kind = OPND_MEM_XLAT, .size = 1 };
    uint64_t offset = operand_offset_of(cpu, in, &at);
    gpr_set(cpu, REG_RAX, 1, cpu_load8(cpu, cpu_linear(cpu, in->seg, offset, 1, MEM_R)));
}

void exec_cbw(struct cpu *cpu, const struct insn *in)
{
    gpr_set(cpu, REG_RAX, in->opsize, (uint64_t)sign_extend(cpu->state.gpr[REG_RAX], in->opsize / 2));
}

void exec_cwd(struct cpu *cpu, const struct insn *in)
{
    gpr_set(cpu, REG_RDX, in->opsize, (uint64_t)(sign_extend(cpu->state.gpr[REG_RAX], in->opsize) >> 63));
}

void exec_setcc(struct cpu *cpu, const struct insn *in)
{
    operand_write(cpu, in, 0, 1, cc_condition(cpu, insn_cond(in)));
}

/* The source is read in any case, and a 32-bit destination is always zero-extended. */
void exec_cmov(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[0].size;
    uint64_t v = operand_read(cpu, in, 1, size);
    operand_write(cpu, in, 0, size, cc_condition(cpu, insn_cond(in)) ? v : operand_read(cpu, in, 0, size));
}

/* ---- exchanges ----------------------------------------------------------------------------------------------------------------------------------- */

static uint64_t compute_replace(const struct rmw_arg *arg, uint64_t old)
{
    (void)old;
    return arg->b;
}

static uint64_t compute_add(const struct rmw_arg *arg, uint64_t old) { return old + arg->b; }

static uint64_t compute_cmpxchg(const struct rmw_arg *arg, uint64_t old)
{
    return operand_truncate(old, 8 - arg->shift / 8) == arg->a ? arg->b : old;
}

void exec_xchg(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[0].size, memory = in->opnd[1].kind >= OPND_MEM && in->opnd[1].kind <= OPND_MEM_DI;
    struct insn swapped = *in;
    if (memory) { /* the memory operand first */
        swapped.opnd[0] = in->opnd[1];
        swapped.opnd[1] = in->opnd[0];
    }
    struct rmw_arg arg = { .b = operand_read(cpu, &swapped, 1, size) };
    operand_write(cpu, &swapped, 1, size, rmw_operand(cpu, &swapped, size, true, compute_replace, &arg));
}

void exec_xadd(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[0].size;
    struct rmw_arg arg = { .b = operand_read(cpu, in, 1, size) };
    if (in->opnd[0].kind == OPND_GPR || in->opnd[0].kind == OPND_GPR_HIGH) { /* of one register with itself, the sum stays */
        uint64_t old = operand_read(cpu, in, 0, size);
        operand_write(cpu, in, 1, size, old);
        operand_write(cpu, in, 0, size, old + arg.b);
        cc_set(cpu, CC_ADD, shift_of(size), old, old + arg.b);
        return;
    }
    uint64_t old = rmw_operand(cpu, in, size, in->prefix & PFX_LOCK, compute_add, &arg);
    operand_write(cpu, in, 1, size, old);
    cc_set(cpu, CC_ADD, shift_of(size), old, old + arg.b);
}

void exec_cmpxchg(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[0].size;
    struct rmw_arg arg = { .shift = shift_of(size), .a = gpr_get(cpu, REG_RAX, size), .b = operand_read(cpu, in, 1, size) };
    bool memory = in->opnd[0].kind == OPND_MEM;
    uint64_t old = memory ? rmw_operand(cpu, in, size, in->prefix & PFX_LOCK, compute_cmpxchg, &arg) : operand_read(cpu, in, 0, size);
    if (!memory && old == arg.a)
        operand_write(cpu, in, 0, size, arg.b);
    if (old != arg.a)
        gpr_set(cpu, REG_RAX, size, old);
    cc_set(cpu, CC_SUB, shift_of(size), arg.a, arg.a - old);
}

void exec_cmpxchg8b(struct cpu *cpu, const struct insn *in)
{
    uint64_t *gpr = cpu->state.gpr;
    struct rmw_arg arg = { .a = (gpr[REG_RDX] & UINT32_MAX) << 32 | (gpr[REG_RAX] & UINT32_MAX),
                           .b = (gpr[REG_RCX] & UINT32_MAX) << 32 | (gpr[REG_RBX] & UINT32_MAX) };
    uint64_t old = rmw_memory(cpu, operand_linear(cpu, in, 8, MEM_R | MEM_W), 8, in->prefix & PFX_LOCK, compute_cmpxchg, &arg);
    if (old != arg.a) {
        gpr_set(cpu, REG_RAX, 4, old);
        gpr_set(cpu, REG_RDX, 4, old >> 32);
    }
    cc_set_known(cpu, (cc_arith(cpu) & ~(uint32_t)FLAG_ZF) | (old == arg.a ? FLAG_ZF : 0));
}

/* Device memory, or a host without 16-byte atomics: while all others stand still where it is memory. */
static bool cmpxchg16_slow(struct cpu *cpu, uint64_t linear, void *at, uint64_t expected[2], const uint64_t desired[2])
{
    uint64_t old[2];
    bool same;
    if (at) {
        exclusive_begin(cpu);
        memcpy(old, at, 16);
        same = old[0] == expected[0] && old[1] == expected[1];
        memcpy(at, same ? desired : old, 16);
        exclusive_end(cpu);
    } else {
        cpu_probe_write(cpu, linear, 16);
        cpu_load_bytes(cpu, linear, old, 16);
        same = old[0] == expected[0] && old[1] == expected[1];
        cpu_store_bytes(cpu, linear, same ? desired : old, 16);
    }
    memcpy(expected, old, 16);
    return same;
}

void exec_cmpxchg16b(struct cpu *cpu, const struct insn *in)
{
    uint64_t *gpr = cpu->state.gpr;
    uint64_t linear = operand_linear_aligned(cpu, in, 16, 16, MEM_R | MEM_W);
    uint64_t expected[2] = { gpr[REG_RAX], gpr[REG_RDX] }, desired[2] = { gpr[REG_RBX], gpr[REG_RCX] };
    bool swapped;
    void *at = cpu_rmw_begin(cpu, linear, 16);
    if (!at || !atomic16_compare_exchange(at, expected, desired, &swapped))
        swapped = cmpxchg16_slow(cpu, linear, at, expected, desired);
    if (at)
        cpu_rmw_end(cpu, linear, 16);
    if (!swapped) {
        gpr[REG_RAX] = expected[0];
        gpr[REG_RDX] = expected[1];
    }
    cc_set_known(cpu, (cc_arith(cpu) & ~(uint32_t)FLAG_ZF) | (swapped ? FLAG_ZF : 0));
}

/* ---- the stack ----------------------------------------------------------------------------------------------------------------------------------- */

void exec_push(struct cpu *cpu, const struct insn *in)
{
    stack_push(cpu, operand_read(cpu, in, 0, in->opsize), in->opsize);
}

/* The destination's address is computed with rSP already moved (SDM vol. 2, POP), and a fault leaves rSP as it was. */
void exec_pop(struct cpu *cpu, const struct insn *in)
{
    uint64_t value = stack_peek(cpu, in->opsize), rsp = cpu->state.gpr[REG_RSP];
    stack_pointer_set(cpu, rsp + in->opsize);
    if (in->opnd[0].kind != OPND_MEM) {
        operand_write(cpu, in, 0, in->opsize, value);
        return;
    }
    uint64_t offset = operand_offset(cpu, in), moved = cpu->state.gpr[REG_RSP];
    cpu->state.gpr[REG_RSP] = rsp;
    memory_store(cpu, cpu_linear(cpu, in->seg, offset, in->opsize, MEM_W), value, in->opsize);
    cpu->state.gpr[REG_RSP] = moved;
}

void exec_pusha(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opsize;
    for (unsigned i = 0; i < 8; i++) /* a fault leaves those before it written, as on processors */
        memory_store(cpu, stack_linear(cpu, -(int64_t)((i + 1) * size), size, MEM_W), cpu->state.gpr[i], size);
    stack_pointer_set(cpu, cpu->state.gpr[REG_RSP] - 8 * size);
}

void exec_popa(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opsize;
    for (unsigned i = 0; i < 8; i++) { /* a fault leaves those before it loaded, as on processors; rSP tells that it did not complete */
        uint64_t value = memory_load(cpu, stack_linear(cpu, i * size, size, MEM_R), size);
        if (7 - i != REG_RSP)
            gpr_set(cpu, 7 - i, size, value);
    }
    stack_pointer_set(cpu, cpu->state.gpr[REG_RSP] + 8 * size);
}

static unsigned iopl(const struct cpu *cpu) { return cpu->state.rflags >> 12 & 3; }

/* Virtual-8086 mode below IOPL 3: only 16 bits wide, with CR4.VME, and then VIF stands for IF (SDM vol. 3, 21.3). */
static bool flags_are_virtual(struct cpu *cpu, const struct insn *in)
{
    if (!(cpu->state.rflags & FLAG_VM) || iopl(cpu) == 3)
        return false;
    if (in->opsize != 2 || !(cpu->state.cr4 & CR4_VME))
        cpu_raise_error(cpu, EXC_GP, 0);
    return true;
}

void exec_pushf(struct cpu *cpu, const struct insn *in)
{
    uint64_t flags = cpu_flags_get(cpu);
    if (flags_are_virtual(cpu, in))
        flags = (flags & ~(uint64_t)FLAG_IF) | FLAG_IOPL | (flags & FLAG_VIF ? FLAG_IF : 0);
    stack_push(cpu, flags & ~(uint64_t)(FLAG_VM | FLAG_RF), in->opsize);
}

void exec_popf(struct cpu *cpu, const struct insn *in)
{
    uint64_t allowed = FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_NT | FLAG_AC | FLAG_ID, old = cpu_flags_get(cpu), value;
    bool virtual = flags_are_virtual(cpu, in);
    value = stack_peek(cpu, in->opsize);
    if (virtual) {
        if ((value & FLAG_TF) || ((value & FLAG_IF) && (old & FLAG_VIP)))
            cpu_raise_error(cpu, EXC_GP, 0);
        old = (old & ~(uint64_t)FLAG_VIF) | (value & FLAG_IF ? FLAG_VIF : 0);
    } else {
        allowed |= cpu->state.cpl <= iopl(cpu) ? FLAG_IF : 0;
        allowed |= cpu->state.cpl == 0 && !(old & FLAG_VM) ? FLAG_IOPL : 0;
        if (in->opsize > 2)
            old &= ~(uint64_t)FLAG_RF;
    }
    if (in->opsize == 2)
        allowed &= 0xffff;
    stack_pointer_set(cpu, cpu->state.gpr[REG_RSP] + in->opsize);
    cpu_flags_set(cpu, (old & ~allowed) | (value & allowed));
}

void exec_enter(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opsize, level = in->imm2 & 31, stack = stack_address_size(cpu);
    uint64_t rsp = cpu->state.gpr[REG_RSP], frame = rsp - size, at = frame, rbp = cpu->state.gpr[REG_RBP];
    memory_store(cpu, cpu_linear(cpu, SEG_SS, operand_truncate(at, stack), size, MEM_W), rbp, size);
    for (unsigned i = 1; i < level; i++) {
        uint64_t link = memory_load(cpu, cpu_linear(cpu, SEG_SS, operand_truncate(rbp - i * size, stack), size, MEM_R), size);
        at -= size;
        memory_store(cpu, cpu_linear(cpu, SEG_SS, operand_truncate(at, stack), size, MEM_W), link, size);
    }
    if (level) {
        at -= size;
        memory_store(cpu, cpu_linear(cpu, SEG_SS, operand_truncate(at, stack), size, MEM_W), frame, size);
    }
    at -= (uint64_t)in->imm & 0xffff;
    cpu_probe_write(cpu, cpu_linear(cpu, SEG_SS, operand_truncate(at, stack), size, MEM_W), size); /* the final rSP must be writable */
    gpr_set(cpu, REG_RBP, stack == 2 && size != 2 ? 2 : size, frame);
    stack_pointer_set(cpu, at);
}

void exec_leave(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opsize, stack = stack_address_size(cpu);
    uint64_t rbp = operand_truncate(cpu->state.gpr[REG_RBP], stack);
    uint64_t value = memory_load(cpu, cpu_linear(cpu, SEG_SS, rbp, size, MEM_R), size);
    stack_pointer_set(cpu, rbp + size);
    gpr_set(cpu, REG_RBP, size, value);
}

/* ---- flags --------------------------------------------------------------------------------------------------------------------------------------- */

void exec_flag(struct cpu *cpu, const struct insn *in)
{
    uint32_t arith = cc_arith(cpu);
    switch (in->op) {
    case OP_CLC: cc_set_known(cpu, arith & ~(uint32_t)FLAG_CF); break;
    case OP_STC: cc_set_known(cpu, arith | FLAG_CF); break;
    case OP_CMC: cc_set_known(cpu, arith ^ FLAG_CF); break;
    case OP_CLD: cpu->state.rflags &= ~(uint64_t)FLAG_DF; break;
    default:     cpu->state.rflags |= FLAG_DF; break;
    }
}

void exec_lahf(struct cpu *cpu, const struct insn *in)
{
    (void)in;
    uint64_t ah = (cc_arith(cpu) & (FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF | FLAG_CF)) | 2;
    cpu->state.gpr[REG_RAX] = (cpu->state.gpr[REG_RAX] & ~UINT64_C(0xff00)) | ah << 8;
}

void exec_sahf(struct cpu *cpu, const struct insn *in)
{
    (void)in;
    uint32_t low = FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF | FLAG_CF;
    cc_set_known(cpu, (cc_arith(cpu) & ~low) | ((uint32_t)(cpu->state.gpr[REG_RAX] >> 8) & low));
}

void exec_salc(struct cpu *cpu, const struct insn *in)
{
    (void)in;
    gpr_set(cpu, REG_RAX, 1, cc_cf(cpu) ? 0xff : 0);
}

/* ---- near branches --------------------------------------------------------------------------------------------------------------------------------- */

static uint64_t branch_address(struct cpu *cpu, const struct insn *in, unsigned opnd)
{
    return in->opnd[opnd].kind == OPND_REL ? operand_truncate(cpu->next_rip + (uint64_t)in->imm, in->opsize) : operand_read(cpu, in, opnd, in->opsize);
}

static uint64_t branch_target(struct cpu *cpu, const struct insn *in, unsigned opnd)
{
    uint64_t to = branch_address(cpu, in, opnd);
    branch_check(cpu, to);
    return to;
}

/* The return address is in memory before the target is found bad; rSP then stays. */
void exec_call(struct cpu *cpu, const struct insn *in)
{
    uint64_t to = branch_address(cpu, in, 0), rsp = cpu->state.gpr[REG_RSP];
    stack_push(cpu, cpu->next_rip, in->opsize);
    uint64_t pushed = cpu->state.gpr[REG_RSP];
    cpu->state.gpr[REG_RSP] = rsp;
    branch_check(cpu, to);
    cpu->state.gpr[REG_RSP] = pushed;
    cpu->next_rip = to;
}

void exec_ret(struct cpu *cpu, const struct insn *in)
{
    uint64_t to = stack_peek(cpu, in->opsize);
    branch_check(cpu, to);
    stack_pointer_set(cpu, cpu->state.gpr[REG_RSP] + in->opsize + (in->nopnd ? (uint64_t)in->imm & 0xffff : 0));
    cpu->next_rip = to;
}

void exec_jmp(struct cpu *cpu, const struct insn *in)
{
    cpu->next_rip = branch_target(cpu, in, 0);
}

void exec_jcc(struct cpu *cpu, const struct insn *in)
{
    if (cc_condition(cpu, insn_cond(in)))
        cpu->next_rip = branch_target(cpu, in, 0);
}

static unsigned rel_operand(const struct insn *in) { return in->opnd[0].kind == OPND_REL ? 0 : 1; }

void exec_jcxz(struct cpu *cpu, const struct insn *in)
{
    if (!gpr_get(cpu, REG_RCX, in->asize))
        cpu->next_rip = branch_target(cpu, in, rel_operand(in));
}

void exec_loop(struct cpu *cpu, const struct insn *in)
{
    uint64_t count = operand_truncate(cpu->state.gpr[REG_RCX] - 1, in->asize);
    bool taken = count && (in->op == OP_LOOP || cc_zf(cpu) == (in->op == OP_LOOPE));
    uint64_t to = taken ? branch_target(cpu, in, rel_operand(in)) : cpu->next_rip;
    gpr_set(cpu, REG_RCX, in->asize, count);
    cpu->next_rip = to;
}

/* ---- the rest -------------------------------------------------------------------------------------------------------------------------------------- */

void exec_bound(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opsize;
    uint64_t linear = operand_linear(cpu, in, 2 * size, MEM_R);
    int64_t index = sign_extend(operand_read(cpu, in, 0, size), size);
    if (index < sign_extend(memory_load(cpu, linear, size), size) || index > sign_extend(memory_load(cpu, linear + size, size), size))
        cpu_raise(cpu, EXC_BR);
}

void exec_nop(struct cpu *cpu, const struct insn *in)
{
    (void)cpu;
    (void)in;
}

void exec_fence(struct cpu *cpu, const struct insn *in)
{
    (void)cpu;
    (void)in;
    atomic_thread_fence(memory_order_seq_cst);
}

/* Checked like a load of one byte (SDM vol. 2, CLFLUSH). */
void exec_cache_line(struct cpu *cpu, const struct insn *in)
{
    uint64_t linear = operand_linear(cpu, in, 1, MEM_R);
    cpu_probe(cpu, cpu->rights, linear, 1, MEM_R);
}
