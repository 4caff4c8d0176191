/* SPDX-License-Identifier: MIT */
/* thunks.c - the code on the way into translated code and out of it. */
#include "cpu/translate/emit_evex.h"
#include "cpu/translate/private.h"

/* The System V ABI's callee-saved registers. */
static const uint8_t kept[] = { RBX, RBP, R12, R13, R14, R15 };

/* Guest registers that are in host registers: gpr number, host register. */
static const uint8_t pinned[][2] = { { REG_RAX, RAX }, { REG_RCX, RCX }, { REG_RDX, RDX }, { REG_RBX, RBX }, { REG_RSP, GUEST_RSP }, { REG_RBP, RBP },
    { REG_RSI, RSI }, { REG_RDI, RDI }, { 8, R8 }, { 9, R9 }, { 12, R12 }, { 13, R13 } };

static void emit_push(struct emit *e, unsigned reg) { emit_opcode(e, reg >> 3, 0x50 | (reg & 7)); }
static void emit_pop(struct emit *e, unsigned reg) { emit_opcode(e, reg >> 3, 0x58 | (reg & 7)); }

/* VMOVUPS ymm or MOVUPS xmm, to (0x10) or from (0x11) the register. */
static void emit_vector_move(struct emit *e, bool ymm, unsigned opcode, unsigned reg, const void *at)
{
    struct host_memory m = at_absolute(at);
    if (!ymm) {
        emit_op_memory(e, false, 0x0f00 | opcode, reg, m);
        return;
    }
    emit_byte(e, 0xc5);
    emit_byte(e, reg > 7 ? 0x7c : 0xfc);
    emit_byte(e, opcode);
    emit_modrm(e, reg, &m);
}

enum { LDMXCSR = 2, STMXCSR = 3 };
static void emit_mxcsr(struct emit *e, unsigned which, const void *at) { emit_op_memory(e, false, 0x0fae, which, at_absolute(at)); }

static void emit_store_constant(struct emit *e, const uint32_t *at, uint32_t value)
{
    emit_op_memory(e, false, 0xc7, 0, at_absolute(at));
    emit_u32(e, value);
}

enum { FXSAVE = 0, FXRSTOR = 1 };
static void emit_x87(struct emit *e, unsigned which, const void *at) { emit_op_memory(e, true, 0x0fae, which, at_absolute(at)); }

enum { KMOVQ_LOAD = 0x90, KMOVQ_STORE = 0x91 };

static void emit_mask_move(struct emit *e, unsigned opcode, unsigned k, const void *at)
{
    struct host_memory m = at_absolute(at);
    emit_bytes(e, "\xc4\xe1\xf8", 3); /* VEX.L0.0F.W1 */
    emit_byte(e, opcode);
    emit_modrm(e, k, &m);
}

enum { VEXTRACTF64X4 = 0x1b, VINSERTF64X4 = 0x1a };

/* Upper halves: VINSERTF64X4 zmm, zmm, m256, 1 and VEXTRACTF64X4 m256, zmm, 1. */
static void emit_high_move(struct emit *e, unsigned opcode, unsigned reg, const void *at)
{
    static const uint8_t payload[3] = { 3, 0x85, 0x40 }; /* map 3, 66, W1; L'L = 2 */
    struct evex_registers r = { (int)reg, 0, opcode == VINSERTF64X4 ? (int)reg : 0, true, at_absolute(at) };
    emit_evex(e, payload, opcode, &r);
    emit_byte(e, 1);
}

/* What AVX-512 adds to the vector registers. */
static void emit_zmm_in(struct emit *e, struct cpu *cpu)
{
    struct cpu_state *s = &cpu->state;
    for (unsigned i = 0; i < 16; i++) {
        emit_high_move(e, VINSERTF64X4, i, s->zmm_high[i]);
        emit_zmm_move(e, ZMM_LOAD, 16 + i, at_absolute(s->zmm16[i]));
    }
    for (unsigned k = 0; k < 8; k++)
        emit_mask_move(e, KMOVQ_LOAD, k, &s->k[k]);
}

static void emit_zmm_out(struct emit *e, struct cpu *cpu)
{
    struct cpu_state *s = &cpu->state;
    emit_op_memory(e, false, 0x83, 7, at_absolute(&cpu->translate.zmm_live)); /* CMP dword, imm8 */
    emit_byte(e, 0);
    uint8_t *none = emit_jump_if(e, CC_E);
    for (unsigned i = 0; i < 16; i++) {
        emit_high_move(e, VEXTRACTF64X4, i, s->zmm_high[i]);
        emit_zmm_move(e, ZMM_STORE, 16 + i, at_absolute(s->zmm16[i]));
    }
    for (unsigned k = 0; k < 8; k++)
        emit_mask_move(e, KMOVQ_STORE, k, &s->k[k]);
    emit_patch(none, e->at);
}

static void emit_vectors_in(struct emit *e, struct cpu *cpu, bool ymm, enum live live, bool zmm)
{
    emit_mxcsr(e, STMXCSR, &cpu->translate.host_mxcsr);
    if (live == LIVE_X87)
        emit_x87(e, FXRSTOR, cpu->translate.x87_image); /* the vector registers and MXCSR in it are no-one's */
    emit_mxcsr(e, LDMXCSR, &cpu->state.mxcsr);
    for (unsigned i = 0; i < 16; i++)
        emit_vector_move(e, ymm, 0x10, i, &cpu->state.vec[i]);
    if (zmm)
        emit_zmm_in(e, cpu);
    emit_store_constant(e, &cpu->translate.zmm_live, zmm);
    emit_store_constant(e, &cpu->translate.vectors_live, live);
}

/* The ABI wants an empty stack and the default FCW between functions. */
static void emit_x87_out(struct emit *e, struct cpu *cpu)
{
    emit_op_memory(e, false, 0x83, 7, at_absolute(&cpu->translate.vectors_live)); /* CMP dword, imm8 */
    emit_byte(e, LIVE_X87);
    uint8_t *none = emit_jump_if(e, CC_NE);
    emit_x87(e, FXSAVE, cpu->translate.x87_image);
    emit_bytes(e, "\xdb\xe3", 2); /* FNINIT */
    emit_patch(none, e->at);
}

static void emit_vectors_out(struct emit *e, struct cpu *cpu, bool ymm, bool zmm)
{
    if (zmm)
        emit_zmm_out(e, cpu);
    for (unsigned i = 0; i < 16; i++)
        emit_vector_move(e, ymm, 0x11, i, &cpu->state.vec[i]);
    emit_mxcsr(e, STMXCSR, &cpu->state.mxcsr);
    emit_mxcsr(e, LDMXCSR, &cpu->translate.host_mxcsr);
    emit_store_constant(e, &cpu->translate.vectors_live, 0);
    if (ymm)
        emit_bytes(e, "\xc5\xf8\x77", 3); /* VZEROUPPER: the ABI's state between functions */
}

static struct host_memory at_stack(int32_t disp) { return at_base(RSP, disp); }

/* An empty one: its lowest pair is one that leaves. */
static void emit_return_stack(struct emit *e, const uint8_t *found)
{
    emit_op_register(e, true, 0x81, 4, RSP); /* AND: the bits below are those of a ring and of its twin, which stays empty */
    emit_u32(e, (uint32_t)-2 * RETURN_STACK);
    emit_add_to(e, RSP, RSP, -RETURN_ENTRY);
    emit_constant(e, SCRATCH_0, (uint64_t)(uintptr_t)found);
    emit_store(e, at_stack(0), SCRATCH_0);
    emit_op_memory(e, true, 0xc7, 0, at_stack(8));
    emit_u32(e, 0);
}

static void *emit_enter(struct cpu *cpu, enum live live, bool zmm)
{
    struct translator *t = cpu->translator;
    struct emit *e = &t->emit;
    uint8_t *start = emit_here(e);
    for (unsigned i = 0; i < ARRAY_LEN(kept); i++)
        emit_push(e, kept[i]);
    emit_add_to(e, RSP, RSP, -8); /* aligned to 16 */
    emit_store(e, at_absolute(&cpu->translate.host_stack), RSP);
    emit_return_stack(e, t->found + t->emit.run);
    if (live)
        emit_vectors_in(e, cpu, t->avx, live, zmm);
    emit_move(e, SCRATCH_0, RDI);
    flags_emit_load(e, &cpu->translate.host_flags); /* for who goes on where a small translation was left */
    for (unsigned i = 0; i < ARRAY_LEN(pinned); i++)
        emit_load(e, pinned[i][1], at_absolute(&cpu->state.gpr[pinned[i][0]]));
    emit_op_register(e, false, 0xff, 4, SCRATCH_0); /* JMP */
    return start;
}

/* [RSP]: the way out of a CALL must not leave an address on the host's return stack, for the returns of whoever called translated code would be mispredicted. */
static void emit_leave(struct cpu *cpu)
{
    struct translator *t = cpu->translator;
    struct emit *e = &t->emit;
    t->leave_call = e->at;
    emit_load(e, SCRATCH_0, at_stack(0));
    emit_store(e, at_absolute(&cpu->translate.left_at), SCRATCH_0);
    emit_bytes(e, "\x4c\x8d\x15\x05\x00\x00\x00", 7); /* LEA R10, [RIP + 5]: behind the RET */
    emit_store(e, at_stack(0), SCRATCH_0);
    emit_byte(e, 0xc3);
    emit_constant(e, SCRATCH_0, SITE_BY_CALL);
    t->leave = e->at;
    emit_op_memory(e, false, 0x89, SCRATCH_0, at_absolute(&cpu->translate.site));
    t->leave_stored = e->at;
    emit_byte(e, 0x9c); /* PUSHFQ; POP */
    emit_op_memory(e, false, 0x8f, 0, at_absolute(&cpu->translate.host_flags));
    emit_store(e, at_absolute(&cpu->translate.linear), SCRATCH_1);
    for (unsigned i = 0; i < ARRAY_LEN(pinned); i++)
        emit_store(e, at_absolute(&cpu->state.gpr[pinned[i][0]]), pinned[i][1]);
    emit_op_memory(e, false, 0x83, 7, at_absolute(&cpu->translate.vectors_live)); /* CMP dword, 0 */
    emit_byte(e, 0);
    uint8_t *none = emit_jump_if(e, CC_E);
    emit_x87_out(e, cpu);
    emit_vectors_out(e, cpu, t->avx, t->avx512);
    emit_patch(none, e->at);
    emit_load(e, RSP, at_absolute(&cpu->translate.host_stack));
    emit_add_to(e, RSP, RSP, 8);
    for (unsigned i = ARRAY_LEN(kept); i-- > 0;)
        emit_pop(e, kept[i]);
    emit_byte(e, 0xc3);
}

void thunks_emit(struct cpu *cpu)
{
    struct translator *t = cpu->translator;
    t->found = t->emit.at;
    emit_constant(&t->emit, SCRATCH_0, SITES_MAX - 1);
    uint8_t *leave = emit_jump(&t->emit);
    for (unsigned live = LIVE_NONE; live < LIVE_COUNT; live++)
        for (unsigned zmm = 0; zmm <= (live && t->avx512); zmm++) {
            void *enter = emit_enter(cpu, live, zmm);
            memcpy(&t->enter[live][zmm], &enter, sizeof enter); /* ISO C has no cast from an object's to a function's pointer */
        }
    emit_leave(cpu);
    emit_patch(leave, t->leave);
    shared_emit(cpu);
}
