/* SPDX-License-Identifier: MIT */
/* exec_integer.c - any integer instruction, one at a time: dispatch, and read-modify-write of operands.
 *
 * This is the reference: it takes operands of every kind, size and segment, and is total over what the decoder makes. The handlers of decoded blocks
 * (handlers_*.c) do the frequent forms faster and come here for everything else: a page-crossing access, a device, a segment that is not flat.
 *
 * Atomicity (SDM vol. 3, 9.1): a locked access to naturally aligned memory is one host atomic. One that is not aligned, crosses a page or is watched runs while
 * no other vCPU does (cpu_vm_stop). A locked access to a device is a read and a write.
 */
#include "cpu/exec_int.h"

#define FIRST_OF(fn, a, ...) fn
#define ROW1(fn, a) [OP_##a] = fn,
#define ROWS_1(fn, a) ROW1(fn, a)
#define ROWS_2(fn, a, ...) ROW1(fn, a) ROWS_1(fn, __VA_ARGS__)
#define ROWS_3(fn, a, ...) ROW1(fn, a) ROWS_2(fn, __VA_ARGS__)
#define ROWS_4(fn, a, ...) ROW1(fn, a) ROWS_3(fn, __VA_ARGS__)
#define ROWS_5(fn, a, ...) ROW1(fn, a) ROWS_4(fn, __VA_ARGS__)
#define ROWS_6(fn, a, ...) ROW1(fn, a) ROWS_5(fn, __VA_ARGS__)
#define ROWS_7(fn, a, ...) ROW1(fn, a) ROWS_6(fn, __VA_ARGS__)
#define ROWS_8(fn, a, ...) ROW1(fn, a) ROWS_7(fn, __VA_ARGS__)
#define ROWS_9(fn, a, ...) ROW1(fn, a) ROWS_8(fn, __VA_ARGS__)
#define ROWS_10(fn, a, ...) ROW1(fn, a) ROWS_9(fn, __VA_ARGS__)
#define ROWS_11(fn, a, ...) ROW1(fn, a) ROWS_10(fn, __VA_ARGS__)
#define ROWS_12(fn, a, ...) ROW1(fn, a) ROWS_11(fn, __VA_ARGS__)
#define ROWS_13(fn, a, ...) ROW1(fn, a) ROWS_12(fn, __VA_ARGS__)
#define ROWS_PICK(a, b, c, d, e, f, g, h, i, j, k, l, m, name, ...) name
#define ROWS(fn, ...) \
    ROWS_PICK(__VA_ARGS__, ROWS_13, ROWS_12, ROWS_11, ROWS_10, ROWS_9, ROWS_8, ROWS_7, ROWS_6, ROWS_5, ROWS_4, ROWS_3, ROWS_2, ROWS_1)(fn, __VA_ARGS__)

static exec_int_fn *const exec_table[OP_COUNT] = { EXEC_INT_GROUPS(ROWS) };

bool exec_is_integer(enum insn_op op)
{
    return (unsigned)op < OP_COUNT && exec_table[op];
}

void exec_integer(struct cpu *cpu, const struct insn *in)
{
    if (in->op >= OP_COUNT || !exec_table[in->op])
        cpu_raise(cpu, EXC_UD);
    exec_table[in->op](cpu, in);
}

/* ---- read-modify-write ------------------------------------------------------------------------------------------------------------------------- */

static MAY_RACE uint64_t host_load(const void *at, unsigned size)
{
    switch (size) {
    case 1:  return *(const volatile host_u8 *)at;
    case 2:  return *(const volatile host_u16 *)at;
    case 4:  return *(const volatile host_u32 *)at;
    default: return *(const volatile host_u64 *)at;
    }
}

static MAY_RACE void host_store(void *at, uint64_t value, unsigned size)
{
    switch (size) {
    case 1:  *(volatile host_u8 *)at = (uint8_t)value; break;
    case 2:  *(volatile host_u16 *)at = (uint16_t)value; break;
    case 4:  *(volatile host_u32 *)at = (uint32_t)value; break;
    default: *(volatile host_u64 *)at = value; break;
    }
}

static bool host_swap_if(void *at, uint64_t old, uint64_t new_value, unsigned size)
{
#define SWAP(type) \
    { type expected = (type)old; \
      return __atomic_compare_exchange_n((type *)at, &expected, (type)new_value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); }
    switch (size) {
    case 1:  SWAP(uint8_t)
    case 2:  SWAP(uint16_t)
    case 4:  SWAP(uint32_t)
    default: SWAP(uint64_t)
    }
#undef SWAP
}

static uint64_t rmw_atomic(void *at, unsigned size, rmw_fn *compute, const struct rmw_arg *arg)
{
    for (;;) {
        uint64_t old = host_load(at, size);
        if (host_swap_if(at, old, compute(arg, old), size))
            return old;
    }
}

void exclusive_begin(struct cpu *cpu)
{
    cpu_vm_stop(cpu->vm, cpu);
    if (atomic_load(&cpu->requests) & CPU_REQ_TLB) {
        cpu_vm_resume(cpu->vm, cpu);
        cpu_restart(cpu);
    }
}

void exclusive_end(struct cpu *cpu)
{
    cpu_vm_resume(cpu->vm, cpu);
}

/* Locked, and not to be had by one host atomic. `first` and `second` are the host addresses of the two parts. */
static uint64_t rmw_exclusive(struct cpu *cpu, void *first, unsigned first_len, void *second, unsigned size, rmw_fn *compute, const struct rmw_arg *arg)
{
    uint64_t old = 0, new_value;
    exclusive_begin(cpu);
    memcpy(&old, first, first_len);
    memcpy((uint8_t *)&old + first_len, second, size - first_len);
    new_value = compute(arg, old);
    memcpy(first, &new_value, first_len);
    memcpy(second, (uint8_t *)&new_value + first_len, size - first_len);
    exclusive_end(cpu);
    return old;
}

static uint64_t rmw_split(struct cpu *cpu, uint64_t linear, unsigned size, bool locked, rmw_fn *compute, const struct rmw_arg *arg)
{
    unsigned first_len = (unsigned)(MEM_PAGE_SIZE - (linear & (MEM_PAGE_SIZE - 1)));
    cpu_probe_write(cpu, linear, size);
    if (locked && first_len < size) {
        uint64_t next = linear + first_len;
        if (cpu->mode != CPU_MODE_64)
            next &= UINT32_MAX;
        void *first = cpu_rmw_begin(cpu, linear, first_len), *second = cpu_rmw_begin(cpu, next, size - first_len);
        if (first && second) {
            uint64_t old = rmw_exclusive(cpu, first, first_len, second, size, compute, arg);
            cpu_rmw_end(cpu, linear, first_len);
            cpu_rmw_end(cpu, next, size - first_len);
            return old;
        }
    }
    uint64_t old = memory_load(cpu, linear, size);
    memory_store(cpu, linear, compute(arg, old), size);
    return old;
}

uint64_t rmw_memory(struct cpu *cpu, uint64_t linear, unsigned size, bool locked, rmw_fn *compute, const struct rmw_arg *arg)
{
    void *at = cpu_rmw_begin(cpu, linear, size);
    uint64_t old;
    if (!at)
        return rmw_split(cpu, linear, size, locked, compute, arg);
    if (!locked) {
        old = host_load(at, size);
        host_store(at, compute(arg, old), size);
    } else if (linear & (size - 1)) {
        old = rmw_exclusive(cpu, at, size, at, size, compute, arg);
    } else {
        old = rmw_atomic(at, size, compute, arg);
    }
    cpu_rmw_end(cpu, linear, size);
    return old;
}

uint64_t rmw_operand(struct cpu *cpu, const struct insn *in, unsigned size, bool locked, rmw_fn *compute, const struct rmw_arg *arg)
{
    if (in->opnd[0].kind == OPND_GPR || in->opnd[0].kind == OPND_GPR_HIGH) {
        uint64_t old = operand_read(cpu, in, 0, size);
        operand_write(cpu, in, 0, size, compute(arg, old));
        return old;
    }
    return rmw_memory(cpu, operand_linear(cpu, in, size, MEM_R | MEM_W), size, locked, compute, arg);
}

void branch_check(struct cpu *cpu, uint64_t target)
{
    unsigned unused = cpu->state.cr4 & CR4_LA57 ? 64 - 57 : 64 - 48;
    bool ok = cpu->mode == CPU_MODE_64 ? (uint64_t)((int64_t)(target << unused) >> unused) == target : target <= cpu->state.seg[SEG_CS].limit;
    if (!ok)
        cpu_raise_error(cpu, EXC_GP, 0);
}
