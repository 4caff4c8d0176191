/* SPDX-License-Identifier: MIT */
/* debug.c - breakpoints and single step.
 *
 * What the guest sees: instruction breakpoints are faults before the instruction, data and I/O breakpoints and single steps are traps after it.
 * How: while a breakpoint is enabled, or TF or RF is set, the engine runs one instruction at a time (CPU_REQ_STEP) and calls cpu_debug_before() and
 * cpu_debug_after(). Pages with data breakpoints have no data tags in the TLB. Locking: owner's thread. Spec: SDM volume 3, 17.2 and 17.3.
 */
#include "cpu/debug.h"

#include "cpu/engine.h"
#include "cpu/mmu.h"

enum { STEP_TF = 1, STEP_RF = 2 }; /* cpu->step_armed */
enum { BREAK_EXECUTE, BREAK_WRITE, BREAK_IO, BREAK_ACCESS };

static bool is_enabled(const struct cpu *cpu, unsigned i) { return cpu->state.dr[7] >> 2 * i & 3; }
static unsigned break_kind(const struct cpu *cpu, unsigned i) { return cpu->state.dr[7] >> (16 + 4 * i) & 3; }

static uint64_t break_len(const struct cpu *cpu, unsigned i)
{
    static const uint8_t lengths[] = { 1, 2, 8, 4 };
    return lengths[cpu->state.dr[7] >> (18 + 4 * i) & 3];
}

/* Bits 0..3 of the enabled breakpoints of a kind in `kinds` (bit set) that [at, at + len) touches. */
static uint64_t breaks_hit(const struct cpu *cpu, unsigned kinds, uint64_t at, uint64_t len)
{
    uint64_t hit = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t size = break_len(cpu, i), first = cpu->state.dr[i] & ~(size - 1);
        if (is_enabled(cpu, i) && kinds >> break_kind(cpu, i) & 1 && (at < first ? first - at < len : at - first < size))
            hit |= BIT(i);
    }
    return hit;
}

bool cpu_debug_page(const struct cpu *cpu, uint64_t page)
{
    return breaks_hit(cpu, BIT(BREAK_WRITE) | BIT(BREAK_ACCESS), page & TLB_PAGE_MASK, MEM_PAGE_SIZE);
}

static void add_pending(struct cpu *cpu, uint64_t bits)
{
    cpu->state.pending_db |= bits;
    if (bits)
        cpu_request(cpu, CPU_REQ_STEP);
}

void cpu_debug_access(struct cpu *cpu, uint64_t linear, uint64_t len, bool write)
{
    if (len)
        add_pending(cpu, breaks_hit(cpu, BIT(BREAK_ACCESS) | (write ? BIT(BREAK_WRITE) : 0), linear, len));
}

void cpu_debug_port(struct cpu *cpu, uint16_t port, unsigned width)
{
    add_pending(cpu, breaks_hit(cpu, BIT(BREAK_IO), port, width));
}

void cpu_debug_note(struct cpu *cpu, uint64_t bits)
{
    cpu->state.dr[6] = (cpu->state.dr[6] & ~UINT64_C(15)) | bits | DR6_FIXED;
}

bool cpu_debug_wants_steps(const struct cpu *cpu)
{
    return cpu->state.rflags & (FLAG_TF | FLAG_RF) || cpu->state.pending_db || cpu->state.dr[7] & DR7_ENABLES;
}

static bool deliver_pending(struct cpu *cpu)
{
    if (!cpu->state.pending_db || cpu->state.interrupt_shadow == 2)
        return false;
    cpu_debug_note(cpu, cpu->state.pending_db);
    cpu->state.pending_db = 0;
    cpu_deliver(cpu, EVENT_EXCEPTION, EXC_DB, false, 0);
    return true;
}

void cpu_debug_before(struct cpu *cpu)
{
    deliver_pending(cpu); /* a trap of an instruction that was not stepped: SYSRET, a task switch */
    uint64_t flags = cpu->state.rflags;
    cpu->step_armed = (uint8_t)((flags & FLAG_TF ? STEP_TF : 0) | (flags & FLAG_RF ? STEP_RF : 0));
    if (flags & FLAG_RF || !(cpu->state.dr[7] & DR7_ENABLES) || cpu->state.interrupt_shadow == 2)
        return;
    uint64_t linear = cpu->state.rip;
    if (cpu->mode != CPU_MODE_64)
        linear = (linear + cpu->state.seg[SEG_CS].base) & UINT32_MAX;
    uint64_t hit = breaks_hit(cpu, BIT(BREAK_EXECUTE), linear, 1);
    if (hit) {
        cpu_debug_note(cpu, hit);
        cpu_raise(cpu, EXC_DB);
    }
}

bool cpu_debug_after(struct cpu *cpu)
{
    if (cpu->step_armed & STEP_RF)
        cpu->state.rflags &= ~(uint64_t)FLAG_RF;
    if (cpu->step_armed & STEP_TF && cpu->state.interrupt_shadow != 2)
        cpu->state.pending_db |= DR6_BS;
    cpu->step_armed = 0;
    return deliver_pending(cpu);
}

/* ---- MOV DR ------------------------------------------------------------------------------------------------------------------------------------------- */

static unsigned alias(struct cpu *cpu, unsigned dr)
{
    if (dr != 4 && dr != 5)
        return dr;
    if (cpu->state.cr4 & CR4_DE)
        cpu_raise(cpu, EXC_UD);
    return dr + 2;
}

static void write_dr(struct cpu *cpu, unsigned dr, uint64_t value)
{
    if (dr >= 6 && value >> 32)
        cpu_raise_error(cpu, EXC_GP, 0);
    if (dr == 6)
        value = (value & 0xe00f) | DR6_FIXED;
    else if (dr == 7)
        value = (value & ~UINT64_C(0xd800) & UINT32_MAX) | DR7_FIXED;
    if (cpu->state.dr[dr] == value)
        return;
    bool data = (cpu->state.dr[7] | (dr == 7 ? value : 0)) & DR7_ENABLES;
    cpu->state.dr[dr] = value;
    if (data && dr != 6)
        cpu_tlb_flush_all(cpu); /* watched pages have no tags */
    cpu_state_changed(cpu);
}

void exec_mov_dr(struct cpu *cpu, const struct insn *in)
{
    bool write = in->opnd[0].kind == OPND_DR;
    unsigned dr = in->opnd[write ? 0 : 1].reg, gpr = in->opnd[write ? 1 : 0].reg;
    if (dr > 7)
        cpu_raise(cpu, EXC_UD);
    dr = alias(cpu, dr);
    if (cpu->state.dr[7] & DR7_GD) {
        cpu_debug_note(cpu, DR6_BD);
        cpu_raise(cpu, EXC_DB);
    }
    bool wide = cpu->mode == CPU_MODE_64;
    if (write)
        write_dr(cpu, dr, wide ? cpu->state.gpr[gpr] : cpu->state.gpr[gpr] & UINT32_MAX);
    else
        cpu->state.gpr[gpr] = wide ? cpu->state.dr[dr] : cpu->state.dr[dr] & UINT32_MAX;
}
