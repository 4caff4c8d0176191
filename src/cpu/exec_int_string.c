/* SPDX-License-Identifier: MIT */
/* exec_int_string.c - MOVS, STOS, LODS, SCAS, CMPS with their repeat prefixes. SDM vol. 2, REP.
 *
 * What the guest sees: elements in order, with rCX, rSI and rDI written back after each, so a fault or an exit in the middle restarts where it was. Interrupts
 * and kicks are taken between stretches.
 * How: where both sides are plain memory, a stretch that ends at a page end, forward or backward, is done on host addresses at once; the result of overlap is that of
 * element-wise copying. Everything else - devices, watched pages, segments that are not flat - goes element by element.
 */
#include "cpu/exec_int.h"

static void pointer_advance(struct cpu *cpu, const struct insn *in, unsigned reg, uint64_t elements, unsigned size)
{
    uint64_t bytes = elements * size;
    gpr_set(cpu, reg, in->asize, cpu->state.gpr[reg] + (cpu->state.rflags & FLAG_DF ? 0 - bytes : bytes));
}

static bool uses_si(unsigned op) { return op == OP_MOVS || op == OP_LODS || op == OP_CMPS; }
static bool uses_di(unsigned op) { return op != OP_LODS; }
static bool compares(unsigned op) { return op == OP_CMPS || op == OP_SCAS; }

static uint64_t si_linear(struct cpu *cpu, const struct insn *in, unsigned len)
{
    return cpu_linear(cpu, in->seg, gpr_get(cpu, REG_RSI, in->asize), len, MEM_R);
}

static uint64_t di_linear(struct cpu *cpu, const struct insn *in, unsigned len, uint32_t access)
{
    return cpu_linear(cpu, SEG_ES, gpr_get(cpu, REG_RDI, in->asize), len, access);
}

static void compare_flags(struct cpu *cpu, unsigned size, uint64_t a, uint64_t b)
{
    cc_set(cpu, CC_SUB, shift_of(size), a, a - b);
}

static void element_do(struct cpu *cpu, const struct insn *in, unsigned size)
{
    uint64_t source, rax = cpu->state.gpr[REG_RAX];
    switch (in->op) {
    case OP_MOVS:
        source = memory_load(cpu, si_linear(cpu, in, size), size);
        memory_store(cpu, di_linear(cpu, in, size, MEM_W), source, size);
        break;
    case OP_STOS: memory_store(cpu, di_linear(cpu, in, size, MEM_W), rax, size); break;
    case OP_LODS: gpr_set(cpu, REG_RAX, size, memory_load(cpu, si_linear(cpu, in, size), size)); break;
    case OP_SCAS: compare_flags(cpu, size, rax, memory_load(cpu, di_linear(cpu, in, size, MEM_R), size)); break;
    default: /* CMPS: rDI's side is read, and faults, first */
        rax = memory_load(cpu, di_linear(cpu, in, size, MEM_R), size);
        source = memory_load(cpu, si_linear(cpu, in, size), size);
        compare_flags(cpu, size, source, rax);
        break;
    }
    if (uses_si(in->op))
        pointer_advance(cpu, in, REG_RSI, 1, size);
    if (uses_di(in->op))
        pointer_advance(cpu, in, REG_RDI, 1, size);
}

/* ---- stretches on host addresses ------------------------------------------------------------------------------------------------------------------- */

/* Elements from `linear` to the end of its page in the direction of travel, 0 when the first one crosses it. */
static uint64_t elements_in_page(uint64_t linear, unsigned size, bool backward)
{
    uint64_t in_page = linear & (MEM_PAGE_SIZE - 1);
    if (in_page + size > MEM_PAGE_SIZE)
        return 0;
    return backward ? in_page / size + 1 : (MEM_PAGE_SIZE - in_page) / size;
}

/* Host address for reading; faults as a read of one byte there would. NULL: not plain memory. */
static const uint8_t *host_for_read(struct cpu *cpu, uint64_t linear)
{
    const struct tlb_entry *e = cpu_tlb_entry(cpu, linear);
    if ((linear & TLB_PAGE_MASK) != e->read_tag) {
        cpu_probe(cpu, cpu->rights, linear, 1, MEM_R);
        if ((linear & TLB_PAGE_MASK) != e->read_tag)
            return NULL;
    }
    return (const uint8_t *)(uintptr_t)(linear + e->addend);
}

static uint64_t host_element(const uint8_t *at, unsigned size)
{
    switch (size) {
    case 1:  return *at;
    case 2:  return load_le16(at);
    case 4:  return load_le32(at);
    default: return load_le64(at);
    }
}

static void host_fill(uint8_t *to, uint64_t value, uint64_t n, unsigned size)
{
    if (operand_truncate(value, size) == operand_truncate((value & 0xff) * UINT64_C(0x0101010101010101), size))
        memset(to, (uint8_t)value, n * size);
    else
        for (uint64_t i = 0; i < n; i++)
            memcpy(to + i * size, &value, size);
}

/* Element by element in the direction of travel unless that cannot be told from memmove(). */
static void host_copy(uint8_t *to, const uint8_t *from, uint64_t n, unsigned size, bool backward)
{
    uint64_t bytes = n * size;
    uintptr_t distance = backward ? (uintptr_t)from - (uintptr_t)to : (uintptr_t)to - (uintptr_t)from;
    if (distance >= bytes) {
        memmove(backward ? to - bytes + size : to, backward ? from - bytes + size : from, bytes);
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        uint64_t v = host_element(from, size);
        memcpy(to, &v, size);
        to = backward ? to - size : to + size;
        from = backward ? from - size : from + size;
    }
}

/* How many elements of the comparison were used up, the one that ended it included; *a and *b are the last pair. `si` NULL: *a against each. */
static uint64_t host_compare(const uint8_t *si, const uint8_t *di, uint64_t n, unsigned size, bool backward, bool until_equal, uint64_t *a, uint64_t *b)
{
    uint64_t mask = operand_truncate(UINT64_MAX, size);
    *a &= mask;
    for (uint64_t i = 0; i < n; i++) {
        if (si)
            *a = host_element(backward ? si - i * size : si + i * size, size);
        *b = host_element(backward ? di - i * size : di + i * size, size);
        if ((*a == *b) == until_equal)
            return i + 1;
    }
    return n;
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* The bytes that a stretch of n elements covers begin here. */
static uint64_t stretch_start(uint64_t linear, uint64_t n, unsigned size, bool backward)
{
    return backward ? linear - (n - 1) * size : linear;
}

static uint64_t stretch_compare(struct cpu *cpu, const struct insn *in, const uint8_t *si, uint64_t di_at, uint64_t n, unsigned size, bool backward)
{
    const uint8_t *di = host_for_read(cpu, di_at);
    if (!di)
        return 0;
    uint64_t a = cpu->state.gpr[REG_RAX], b = 0;
    n = host_compare(si, di, n, size, backward, in->prefix & PFX_REPNE, &a, &b);
    compare_flags(cpu, size, a, b);
    return n;
}

static uint64_t stretch_write(struct cpu *cpu, const struct insn *in, const uint8_t *si, uint64_t di_at, uint64_t n, unsigned size, bool backward)
{
    uint64_t start = stretch_start(di_at, n, size, backward);
    /* A watched or unmapped byte further on must not be known before the elements in front of it are done. */
    if (!cpu_rmw_begin(cpu, di_at, size))
        return 0;
    uint8_t *di = cpu_rmw_begin(cpu, start, n * size);
    if (!di)
        return 0;
    if (in->op == OP_MOVS)
        host_copy(di + (di_at - start), si, n, size, backward);
    else
        host_fill(di, cpu->state.gpr[REG_RAX], n, size);
    cpu_rmw_end(cpu, start, n * size);
    return n;
}

/* Does up to `count` elements; 0: do one the slow way. */
static uint64_t stretch_do(struct cpu *cpu, const struct insn *in, uint64_t count, unsigned size)
{
    bool backward = cpu->state.rflags & FLAG_DF;
    uint64_t n = least(count, MEM_PAGE_SIZE), si_at = 0, di_at;
    const uint8_t *si = NULL;
    if ((!cpu->flat && cpu->mode != CPU_MODE_64) || in->op == OP_LODS || in->asize == 2 || cpu->rights == TLB_USER_ALIGNED)
        return 0;
    if (in->op == OP_CMPS) { /* the faults of all that the first element reads there come first */
        di_at = di_linear(cpu, in, size, MEM_R);
        if (!elements_in_page(di_at, size, backward) || !host_for_read(cpu, di_at))
            return 0;
    }
    if (uses_si(in->op)) {
        if (in->seg >= SEG_FS)
            return 0;
        si_at = si_linear(cpu, in, size);
        n = least(n, elements_in_page(si_at, size, backward));
        if (in->op == OP_MOVS && (n < 2 || !(si = host_for_read(cpu, si_at))))
            return 0; /* the source's faults come before the destination's */
    }
    di_at = di_linear(cpu, in, size, compares(in->op) ? MEM_R : MEM_W);
    n = least(n, elements_in_page(di_at, size, backward));
    if (n < 2)
        return 0;
    if (in->op == OP_CMPS && !(si = host_for_read(cpu, si_at)))
        return 0;
    n = compares(in->op) ? stretch_compare(cpu, in, si, di_at, n, size, backward) : stretch_write(cpu, in, si, di_at, n, size, backward);
    if (n && si)
        pointer_advance(cpu, in, REG_RSI, n, size);
    if (n)
        pointer_advance(cpu, in, REG_RDI, n, size);
    return n;
}

/* What a 32-bit address size does before the first element, for processors to see when that faults, or when the count is 0. */
static void clear_upper_halves(struct cpu *cpu, const struct insn *in)
{
    bool moves = !compares(in->op); /* even when the count is 0 */
    gpr_set(cpu, REG_RCX, 4, cpu->state.gpr[REG_RCX]);
    if (moves && in->op == OP_MOVS)
        gpr_set(cpu, REG_RSI, 4, cpu->state.gpr[REG_RSI]);
    if (moves && in->op != OP_LODS)
        gpr_set(cpu, REG_RDI, 4, cpu->state.gpr[REG_RDI]);
}

void exec_string(struct cpu *cpu, const struct insn *in)
{
    unsigned size = in->opnd[0].size;
    uint64_t count, done, result = cpu->cc_result, src1 = cpu->cc_src1;
    uint32_t op = cpu->cc_op;
    if (!(in->prefix & (PFX_REP | PFX_REPNE))) {
        element_do(cpu, in, size);
        return;
    }
    if (in->asize == 4)
        clear_upper_halves(cpu, in);
    while ((count = gpr_get(cpu, REG_RCX, in->asize)) != 0) {
        bool step = atomic_load_explicit(&cpu->requests, memory_order_relaxed) & CPU_REQ_STEP;
        done = step ? 0 : stretch_do(cpu, in, count, size);
        if (!done) {
            element_do(cpu, in, size);
            done = 1;
        }
        count -= done;
        gpr_set(cpu, REG_RCX, in->asize, count);
        cpu_exit_commit(cpu);
        if (compares(in->op) && cc_zf(cpu) == !!(in->prefix & PFX_REPNE))
            return;
        if (count) { /* a fault, trap or interrupt before the end shows the flags from before the instruction */
            cpu->cc_op = op;
            cpu->cc_src1 = src1;
            cpu->cc_result = result;
        }
        if (count && atomic_load_explicit(&cpu->requests, memory_order_relaxed)) {
            cpu->next_rip = cpu->state.rip; /* goes on after what is asked for */
            return;
        }
    }
}
