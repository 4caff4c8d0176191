/* SPDX-License-Identifier: MIT */
/* emit.h - writing x86-64 instructions. Encodings: SDM volume 2, 2.1 and 2.2.
 *
 * Bytes go to emit.at, in the writable view; addresses are those of the executable view, `run` bytes away. Nothing is written beyond emit.end: `full` is set instead. */
#ifndef CPU_TRANSLATE_EMIT_H
#define CPU_TRANSLATE_EMIT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/bits.h"

enum host_register { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, NO_REGISTER = -1 };
enum host_condition { CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_GE, CC_LE, CC_G };

/* A memory operand: [base + index << scale + disp], [disp] without both. */
struct host_memory { int base, index; unsigned scale; int32_t disp; };

struct emit { uint8_t *at, *end; intptr_t run; bool full; };

static inline void emit_byte(struct emit *e, unsigned value)
{
    if (e->at < e->end)
        *e->at++ = (uint8_t)value;
    else
        e->full = true;
}

static inline void emit_bytes(struct emit *e, const void *bytes, size_t count)
{
    if ((size_t)(e->end - e->at) < count) {
        e->full = true;
        return;
    }
    memcpy(e->at, bytes, count);
    e->at += count;
}

static inline void emit_u32(struct emit *e, uint32_t value)
{
    uint8_t bytes[4];
    store_le32(bytes, value);
    emit_bytes(e, bytes, 4);
}

static inline void emit_u64(struct emit *e, uint64_t value)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    emit_bytes(e, bytes, 8);
}

/* The address of what comes next, in the executable view. */
static inline uint8_t *emit_here(const struct emit *e) { return e->at + e->run; }

/* ModRM, SIB and displacement. `reg` 0..15 or an opcode extension; its fourth bit goes into REX, with those of base and index. */
static inline void emit_modrm(struct emit *e, unsigned reg, const struct host_memory *m)
{
    unsigned field = (reg & 7) << 3;
    if (m->base == NO_REGISTER) { /* SIB without base: a 32-bit displacement */
        emit_byte(e, field | 4);
        emit_byte(e, m->scale << 6 | (m->index == NO_REGISTER ? 4u : (unsigned)m->index & 7) << 3 | 5);
        emit_u32(e, (uint32_t)m->disp);
        return;
    }
    unsigned base = (unsigned)m->base & 7;
    unsigned mod = m->disp == 0 && base != 5 ? 0 : m->disp == (int8_t)m->disp ? 1 : 2;
    if (m->index != NO_REGISTER || base == 4) {
        emit_byte(e, mod << 6 | field | 4);
        emit_byte(e, m->scale << 6 | (m->index == NO_REGISTER ? 4u : (unsigned)m->index & 7) << 3 | base);
    } else {
        emit_byte(e, mod << 6 | field | base);
    }
    if (mod == 1)
        emit_byte(e, (uint8_t)m->disp);
    else if (mod == 2)
        emit_u32(e, (uint32_t)m->disp);
}

static inline unsigned rex_of(bool wide, unsigned reg, const struct host_memory *m)
{
    return (wide ? 8u : 0) | (reg & 8) >> 1 | (m->index > 7 ? 2u : 0) | (m->base > 7 ? 1u : 0);
}

/* One- or two-byte opcodes (0x0f00 | opcode) with a memory operand, or with a register in its place. */
static inline void emit_opcode(struct emit *e, unsigned rex, unsigned opcode)
{
    if (rex)
        emit_byte(e, 0x40 | rex);
    if (opcode >> 8)
        emit_byte(e, opcode >> 8);
    emit_byte(e, opcode & 0xff);
}

static inline void emit_op_memory(struct emit *e, bool wide, unsigned opcode, unsigned reg, struct host_memory m)
{
    emit_opcode(e, rex_of(wide, reg, &m), opcode);
    emit_modrm(e, reg, &m);
}

static inline void emit_op_register(struct emit *e, bool wide, unsigned opcode, unsigned reg, unsigned rm)
{
    emit_opcode(e, (wide ? 8u : 0) | (reg & 8) >> 1 | rm >> 3, opcode);
    emit_byte(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static inline struct host_memory at_absolute(const void *address)
{
    return (struct host_memory){ NO_REGISTER, NO_REGISTER, 0, (int32_t)(intptr_t)address };
}

static inline struct host_memory at_base(int base, int32_t disp) { return (struct host_memory){ base, NO_REGISTER, 0, disp }; }
static inline struct host_memory at_indexed(int base, int index, unsigned scale, int32_t disp) { return (struct host_memory){ base, index, scale, disp }; }

static inline void emit_load(struct emit *e, unsigned reg, struct host_memory m) { emit_op_memory(e, true, 0x8b, reg, m); }
static inline void emit_store(struct emit *e, struct host_memory m, unsigned reg) { emit_op_memory(e, true, 0x89, reg, m); }
static inline void emit_lea(struct emit *e, unsigned reg, struct host_memory m) { emit_op_memory(e, true, 0x8d, reg, m); }
static inline void emit_move(struct emit *e, unsigned to, unsigned from) { emit_op_register(e, true, 0x89, from, to); }

/* to = base + disp, flags untouched */
static inline void emit_add_to(struct emit *e, unsigned to, unsigned base, int32_t disp)
{
    if (disp)
        emit_lea(e, to, at_base((int)base, disp));
    else if (to != base)
        emit_move(e, to, base);
}

static inline void emit_constant(struct emit *e, unsigned reg, uint64_t value)
{
    if (value == (uint32_t)value) {
        emit_opcode(e, reg >> 3, 0xb8 | (reg & 7));
        emit_u32(e, (uint32_t)value);
    } else if ((int64_t)value == (int32_t)value) {
        emit_op_register(e, true, 0xc7, 0, reg);
        emit_u32(e, (uint32_t)value);
    } else {
        emit_opcode(e, 8 | reg >> 3, 0xb8 | (reg & 7));
        emit_u64(e, value);
    }
}

/* Jumps: the place of the 32-bit displacement, in the writable view, for emit_patch(). */
static inline uint8_t *emit_jump(struct emit *e)
{
    emit_byte(e, 0xe9);
    emit_u32(e, 0);
    return e->at - 4;
}

static inline uint8_t *emit_jump_if(struct emit *e, unsigned condition)
{
    emit_byte(e, 0x0f);
    emit_byte(e, 0x80 | condition);
    emit_u32(e, 0);
    return e->at - 4;
}

/* Makes the jump at `place` go to `target` (writable view). */
static inline void emit_patch(uint8_t *place, const uint8_t *target)
{
    store_le32(place, (uint32_t)(target - (place + 4)));
}

static inline void emit_call(struct emit *e, const uint8_t *target)
{
    emit_byte(e, 0xe8);
    emit_u32(e, 0);
    if (!e->full)
        emit_patch(e->at - 4, target);
}

#endif
