/* SPDX-License-Identifier: MIT */
/* operand.h - operands of a decoded instruction, for the exec_* functions that take struct insn. Owner's thread only. */
#ifndef CPU_OPERAND_H
#define CPU_OPERAND_H

#include "cpu/cpu.h"
#include "cpu/mmu.h"

/* value truncated to size 1, 2, 4 or 8 bytes. */
static inline uint64_t operand_truncate(uint64_t value, unsigned size)
{
    return size >= 8 ? value : value & ((UINT64_C(1) << size * 8) - 1);
}

static inline uint64_t gpr_get(const struct cpu *cpu, unsigned reg, unsigned size)
{
    return operand_truncate(cpu->state.gpr[reg & 15], size);
}

/* Writes 1 and 2 bytes into place; 4 bytes clear the upper half (SDM vol. 1 3.4.1.1). */
static inline void gpr_set(struct cpu *cpu, unsigned reg, unsigned size, uint64_t value)
{
    uint64_t *r = &cpu->state.gpr[reg & 15];
    if (size >= 4)
        *r = operand_truncate(value, size);
    else
        *r = (*r & ~operand_truncate(~UINT64_C(0), size)) | operand_truncate(value, size);
}

/* Offset of the ModRM memory operand in its segment, truncated to the address size (LEA's result). */
static inline uint64_t operand_offset(const struct cpu *cpu, const struct insn *in)
{
    uint64_t at = (uint64_t)(int64_t)in->disp;
    if (in->base == INSN_RIP)
        at += cpu->next_rip;
    else if (in->base != INSN_NO_REG)
        at += cpu->state.gpr[in->base & 15];
    if (in->index != INSN_NO_REG && !in->vsib)
        at += cpu->state.gpr[in->index & 15] << in->scale;
    return operand_truncate(at, in->asize);
}

/* Offset of any memory operand kind: OPND_MEM, _MOFFS, _MEM_SI, _MEM_DI, _MEM_XLAT. */
static inline uint64_t operand_offset_of(const struct cpu *cpu, const struct insn *in, const struct insn_opnd *op)
{
    switch (op->kind) {
    case OPND_MOFFS:    return operand_truncate((uint64_t)in->imm, in->asize);
    case OPND_MEM_SI:   return gpr_get(cpu, REG_RSI, in->asize);
    case OPND_MEM_DI:   return gpr_get(cpu, REG_RDI, in->asize);
    case OPND_MEM_XLAT: return operand_truncate(cpu->state.gpr[REG_RBX] + (cpu->state.gpr[REG_RAX] & 0xff), in->asize);
    default:            return operand_offset(cpu, in);
    }
}

/* Linear address of the ModRM memory operand, checked for `access` to `len` bytes. */
static inline uint64_t operand_linear(struct cpu *cpu, const struct insn *in, size_t len, uint32_t access)
{
    return cpu_linear(cpu, in->seg, operand_offset(cpu, in), len, access);
}

/* The same for operands that must be aligned, else #GP(0): that comes before the canonical check, whose exception on the stack is another. */
static inline uint64_t operand_linear_aligned(struct cpu *cpu, const struct insn *in, size_t len, unsigned align, uint32_t access)
{
    if (unlikely((operand_offset(cpu, in) + cpu->state.seg[in->seg].base) & (align - 1)))
        cpu_raise_error(cpu, EXC_GP, 0);
    return operand_linear(cpu, in, len, access);
}

/* The same for a far pointer: in 64-bit mode its offset and its selector are checked one after the other, as two operands. */
static inline uint64_t operand_linear_far(struct cpu *cpu, const struct insn *in)
{
    uint64_t offset = operand_offset(cpu, in);
    if (cpu->mode != CPU_MODE_64)
        return cpu_linear(cpu, in->seg, offset, in->opsize + 2u, MEM_R);
    uint64_t linear = cpu_linear(cpu, in->seg, offset, in->opsize, MEM_R);
    cpu_linear(cpu, in->seg, offset + in->opsize, 2, MEM_R);
    return linear;
}

static inline uint64_t memory_load(struct cpu *cpu, uint64_t linear, unsigned size)
{
    switch (size) {
    case 1:  return cpu_load8(cpu, linear);
    case 2:  return cpu_load16(cpu, linear);
    case 4:  return cpu_load32(cpu, linear);
    default: return cpu_load64(cpu, linear);
    }
}

static inline void memory_store(struct cpu *cpu, uint64_t linear, uint64_t value, unsigned size)
{
    switch (size) {
    case 1:  cpu_store8(cpu, linear, (uint8_t)value); break;
    case 2:  cpu_store16(cpu, linear, (uint16_t)value); break;
    case 4:  cpu_store32(cpu, linear, (uint32_t)value); break;
    default: cpu_store64(cpu, linear, value); break;
    }
}

/* Reads operand `i` (GPR, AH.., memory of any kind, immediate) of `size` bytes. */
static inline uint64_t operand_read(struct cpu *cpu, const struct insn *in, unsigned i, unsigned size)
{
    const struct insn_opnd *op = &in->opnd[i];
    switch (op->kind) {
    case OPND_GPR:      return gpr_get(cpu, op->reg, size);
    case OPND_GPR_HIGH: return cpu->state.gpr[op->reg & 3] >> 8 & 0xff;
    case OPND_IMM:      return operand_truncate((uint64_t)in->imm, size);
    case OPND_IMM2:     return in->imm2;
    default: break;
    }
    unsigned seg = op->kind == OPND_MEM_DI ? SEG_ES : in->seg;
    return memory_load(cpu, cpu_linear(cpu, seg, operand_offset_of(cpu, in, op), size, MEM_R), size);
}

/* Writes operand `i` (GPR, AH.., memory). */
static inline void operand_write(struct cpu *cpu, const struct insn *in, unsigned i, unsigned size, uint64_t value)
{
    const struct insn_opnd *op = &in->opnd[i];
    if (op->kind == OPND_GPR) {
        gpr_set(cpu, op->reg, size, value);
    } else if (op->kind == OPND_GPR_HIGH) {
        cpu->state.gpr[op->reg & 3] = (cpu->state.gpr[op->reg & 3] & ~UINT64_C(0xff00)) | (value & 0xff) << 8;
    } else {
        unsigned seg = op->kind == OPND_MEM_DI ? SEG_ES : in->seg;
        memory_store(cpu, cpu_linear(cpu, seg, operand_offset_of(cpu, in, op), size, MEM_W), value, size);
    }
}

#endif
