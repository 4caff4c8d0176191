/* SPDX-License-Identifier: MIT */
/* handlers.h - how micro-operations run: each handler does one instruction and tail-calls the next.
 *
 * A handler that meets what it cannot do - a TLB miss, a page-crossing access, a device - has changed nothing yet and goes to uop_miss() or uop_slow(). The latter
 * decodes the instruction again and runs exec_integer(). So a handler is only the frequent case, and needs no stack frame.
 * While a block runs, state.rip is the block's address; u->offset leads to the instruction's.
 *
 * Handlers end in NEXT, or leave the block by chain_go() or jump_go(); returning from one ends in the engine's loop, with state.rip exact. Where the compiler
 * does not turn tail calls into jumps (ENGINE_CHAINS 0) every block returns to the loop, and the stack holds at most one block's frames.
 */
#ifndef CPU_HANDLERS_H
#define CPU_HANDLERS_H

#include "cpu/engine_private.h"

#ifndef ENGINE_CHAINS
#define ENGINE_CHAINS 0
#endif

#define NEXT return u[1].fn(cpu, u + 1)

/* handlers_core.c */
uop_fn uop_integer, uop_system, uop_vector, uop_x87, uop_xsave; /* any instruction of these classes: u->insn */
uop_fn uop_fault_ud, uop_fault_gp, uop_end, uop_dead, uop_leave;
uop_fn uop_warm, uop_translated;                               /* the first of a block that may be, or is, translated */
uop_fn uop_slow;                                               /* decode again, exec_integer()         */
/* The access at `linear` (MEM_R, MEM_W or both) missed the TLB: fills it and runs *u again, or takes the slow way. */
void uop_miss(struct cpu *, const struct uop *, uint64_t linear, uint32_t access);
/* The instruction is done; its store of `len` bytes at `linear` found the page's flags set. */
void uop_noticed(struct cpu *, const struct uop *, uint64_t linear, size_t len);

/* ---- registers by byte offset ---------------------------------------------------------------------------------------------------------------------- */

#define REGISTER(type, offset) (*(type *)((uint8_t *)cpu->state.gpr + (offset)))

ALWAYS_INLINE uint64_t reg_read(struct cpu *cpu, unsigned offset, unsigned bits)
{
    switch (bits) {
    case 8:  return REGISTER(uint8_t, offset);
    case 16: return REGISTER(uint16_t, offset);
    case 32: return REGISTER(uint32_t, offset);
    default: return REGISTER(uint64_t, offset);
    }
}

ALWAYS_INLINE void reg_write(struct cpu *cpu, unsigned offset, unsigned bits, uint64_t value)
{
    switch (bits) {
    case 8:  REGISTER(uint8_t, offset) = (uint8_t)value; break;
    case 16: REGISTER(uint16_t, offset) = (uint16_t)value; break;
    case 32: REGISTER(uint64_t, offset) = (uint32_t)value; break;
    default: REGISTER(uint64_t, offset) = value; break;
    }
}

/* ---- addresses ---------------------------------------------------------------------------------------------------------------------------------------- */

enum address_form { ADDRESS_BASE /* base + disp, 64-bit, no segment base */, ADDRESS_ANY, ADDRESS_FORMS };

ALWAYS_INLINE uint64_t uop_effective(struct cpu *cpu, const struct uop *u)
{
    uint64_t at = REGISTER(uint64_t, u->base) + (REGISTER(uint64_t, u->index) << u->scale) + (uint64_t)(int64_t)u->disp;
    return at << u->cut >> u->cut;
}

ALWAYS_INLINE uint64_t uop_linear(struct cpu *cpu, const struct uop *u, unsigned form)
{
    if (form == ADDRESS_BASE)
        return REGISTER(uint64_t, u->base) + (uint64_t)(int64_t)u->disp;
    return uop_effective(cpu, u) + REGISTER(uint64_t, u->segment);
}

/* ---- memory: these leave the handler when the fast case does not hold ------------------------------------------------------------------------------------ */

#define TLB_HIT(entry, tag, linear, bits) likely((((linear) + ((bits) / 8 - 1)) & TLB_PAGE_MASK) == (entry)->tag)

ALWAYS_INLINE uint64_t host_read(uintptr_t at, unsigned bits)
{
    switch (bits) {
    case 8:  return *(const volatile host_u8 *)at;
    case 16: return *(const volatile host_u16 *)at;
    case 32: return *(const volatile host_u32 *)at;
    default: return *(const volatile host_u64 *)at;
    }
}

ALWAYS_INLINE void host_write(uintptr_t at, unsigned bits, uint64_t value)
{
    switch (bits) {
    case 8:  *(volatile host_u8 *)at = (uint8_t)value; break;
    case 16: *(volatile host_u16 *)at = (uint16_t)value; break;
    case 32: *(volatile host_u32 *)at = (uint32_t)value; break;
    default: *(volatile host_u64 *)at = value; break;
    }
}

/* uint64_t value = load(at), declared here. */
#define UOP_LOAD(value, bits, at)                                       \
    uint64_t value##_at = (at);                                         \
    const struct tlb_entry *value##_entry = cpu_tlb_entry(cpu, value##_at); \
    if (!TLB_HIT(value##_entry, read_tag, value##_at, bits))            \
        return uop_miss(cpu, u, value##_at, MEM_R);                     \
    uint64_t value = host_read((uintptr_t)(value##_at + value##_entry->addend), bits)

/* Declares name_at and name_entry, name_host; the page may be written (and with `access` MEM_R | MEM_W read). */
#define UOP_STORE_BEGIN(name, bits, at, access)                         \
    uint64_t name##_at = (at);                                          \
    const struct tlb_entry *name##_entry = cpu_tlb_entry(cpu, name##_at); \
    if (!TLB_HIT(name##_entry, write_tag, name##_at, bits) ||           \
        (((access) & MEM_R) && unlikely(name##_entry->read_tag != name##_entry->write_tag))) \
        return uop_miss(cpu, u, name##_at, access);                     \
    uintptr_t name##_host = (uintptr_t)(name##_at + name##_entry->addend)

/* After the store and all that the instruction does besides. */
#define UOP_STORE_END(name, bits)                                       \
    do {                                                                \
        atomic_signal_fence(memory_order_seq_cst);                      \
        if (unlikely(atomic_load_explicit(name##_entry->flags, memory_order_relaxed))) \
            return uop_noticed(cpu, u, name##_at, (bits) / 8);          \
    } while (0)

/* ---- leaving the block -------------------------------------------------------------------------------------------------------------------------------------- */

/* To the block `delta` bytes from this one's start, by exit `which` of the chain. */
#define CHAIN_GO(chain_slot, which, delta)                                                                             \
    do {                                                                                                               \
        struct chain *chain_ = (struct chain *)(uintptr_t)(chain_slot);                                                \
        const struct uop *to_ = chain_->to[which];                                                                     \
        cpu->state.rip += (uint64_t)(int64_t)(delta);                                                                  \
        if (chain_->crosses[which])                                                                                    \
            JUMP_GO();                                                                                                 \
        if (ENGINE_CHAINS && likely(to_ != NULL) && likely(!engine_requested(cpu)))                                    \
            return to_->fn(cpu, to_);                                                                                  \
        cpu->engine->link_from = chain_;                                                                               \
        cpu->engine->link_exit = (which);                                                                              \
        return;                                                                                                        \
    } while (0)

/* To an address that the guest computed; state.rip is it already. */
#define JUMP_GO()                                                                                                      \
    do {                                                                                                               \
        const struct jump_entry *entry_ = jump_at(cpu, cpu->state.rip);                                                \
        if (ENGINE_CHAINS && likely(entry_->rip == cpu->state.rip) && likely(!((entry_->tag ^ cpu->fetch_tag) & entry_->mask)) && \
            likely(!engine_requested(cpu)))                                                                            \
            return entry_->to->fn(cpu, entry_->to);                                                                    \
        return;                                                                                                        \
    } while (0)

#define COUNT_INSTRUCTIONS(u) (cpu->instructions += (u)->number + 1u)

/* ---- tables of handlers for lower.c ------------------------------------------------------------------------------------------------------------------------ */

enum size_index { SIZE_8, SIZE_16, SIZE_32, SIZE_64, SIZES };

enum alu_form { FORM_RR, FORM_RI, FORM_RM, FORM_MR, FORM_MI /* each memory form once for each enum address_form */, FORMS };
/* ALU_ADD .. ALU_TEST */
extern uop_fn *const alu_handlers[ALU_TEST + 1][SIZES][FORMS][ADDRESS_FORMS];
/* ALU_INC, _DEC, _NEG, _NOT, of a register (FORM_RR) or memory (FORM_MR) */
extern uop_fn *const unary_handlers[4][SIZES][2][ADDRESS_FORMS];
/* shifts of registers: by an immediate (not 0 after masking) or CL; NULL: none */
extern uop_fn *const shift_handlers[8][SIZES][2];

enum move_form { MOVE_RR, MOVE_RI, MOVE_RM, MOVE_MR, MOVE_MI, MOVE_FORMS };
extern uop_fn *const move_handlers[SIZES][MOVE_FORMS][ADDRESS_FORMS];
/* [signed][from 8, 16, 32][to][register, memory] */
extern uop_fn *const extend_handlers[2][3][SIZES][2][ADDRESS_FORMS];
extern uop_fn *const lea_handlers[SIZES];
extern uop_fn *const setcc_handlers[16], *const cmov_handlers[16][2 /* 32, 64 */];
uop_fn uop_push32, uop_push32_imm, uop_pop32, uop_leave32, uop_push64, uop_push64_imm, uop_pop64, uop_leave64;
uop_fn uop_nop, uop_cdqe, uop_cqo, uop_cdq, uop_cwde, uop_bswap32, uop_bswap64, uop_imul32,
    uop_imul64, uop_imul32_imm, uop_imul64_imm, uop_mul64, uop_mul32, uop_bt64_imm, uop_bt32_imm, uop_xchg32, uop_xchg64;

/* A frequent vector instruction in 64-bit mode (handlers_vector.c), or NULL. It wants u->insn, register numbers in dst and src, and the address. */
uop_fn *vector_handler(const struct insn *in);

uop_fn uop_jmp64, uop_call64, uop_ret64, uop_jmp64_reg, uop_call64_reg, uop_jmp64_mem, uop_call64_mem;
uop_fn uop_call32, uop_ret32, uop_jmp32_reg, uop_call32_reg, uop_jmp32_mem, uop_call32_mem;
extern uop_fn *const jcc_handlers[16];
/* CMP r,r; CMP r,imm; TEST r,r joined with the Jcc behind it */
enum fused_form { FUSED_CMP_RR, FUSED_CMP_RI, FUSED_TEST_RR, FUSED_FORMS };
extern uop_fn *const fused_handlers[FUSED_FORMS][SIZES][16];

#endif
