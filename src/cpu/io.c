/* SPDX-License-Identifier: MIT */
/* io.c - IN, OUT, INS, OUTS.
 *
 * What the guest sees: I/O privilege by IOPL and the TSS's permission map (SDM volume 1, 18.5), I/O breakpoints, repeated forms that can be interrupted
 * after each element. What is trusted: nothing. Each element is one device access through the replay log; INS proves that it may write before the device
 * is read, so that no data is lost. Locking: owner's thread.
 */
#include "cpu/control.h"
#include "cpu/debug.h"
#include "cpu/engine.h"
#include "cpu/operand.h"
#include "cpu/segment.h"

/* SDM volume 1, 18.5.2: the map's offset is the word at 102 of a 32-bit TSS; two bytes are read, the map ends with a byte of ones. */
static bool map_allows(struct cpu *cpu, uint16_t port, unsigned width)
{
    const struct cpu_segment *tr = &cpu->state.seg[SEG_TR];
    if (!(tr->attributes & SEG_P) || !(tr->attributes & 8) || tr->limit < 103)
        return false;
    uint64_t mask = cpu->long_mode ? UINT64_MAX : UINT32_MAX;
    uint32_t at = cpu_load_system16(cpu, (tr->base + 102) & mask) + port / 8u;
    if (at + 1 > tr->limit)
        return false;
    uint16_t bits = cpu_load_system16(cpu, (tr->base + at) & mask);
    return !(bits >> (port & 7) & ((1u << width) - 1));
}

static void check_port(struct cpu *cpu, uint16_t port, unsigned width)
{
    if (cpu_is_real(cpu) || (!(cpu->state.rflags & FLAG_VM) && cpu->state.cpl <= cpu_iopl(cpu)))
        return;
    if (!map_allows(cpu, port, width))
        cpu_raise_error(cpu, EXC_GP, 0);
}

static uint64_t port_read(struct cpu *cpu, uint16_t port, unsigned width)
{
    uint8_t bytes[8] = { 0 };
    memcpy(bytes, cpu_exit_access(cpu, HY_EXIT_IO, port, width, false, NULL, NULL)->data, width);
    cpu_debug_io(cpu, port, width);
    return load_le64(bytes);
}

static void port_write(struct cpu *cpu, uint16_t port, unsigned width, uint64_t value)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    cpu_exit_access(cpu, HY_EXIT_IO, port, width, true, bytes, NULL);
    cpu_debug_io(cpu, port, width);
}

static uint16_t port_of(const struct cpu *cpu, const struct insn *in, unsigned i)
{
    return in->opnd[i].kind == OPND_IMM ? (uint16_t)(in->imm & 0xff) : (uint16_t)cpu->state.gpr[REG_RDX];
}

/* Width of an access: that of the accumulator or of the string element; never 8. */
static unsigned width_of(const struct insn *in) { return in->opsize > 4 ? 4 : in->opsize; }

void exec_in(struct cpu *cpu, const struct insn *in)
{
    unsigned width = width_of(in);
    uint16_t port = port_of(cpu, in, 1);
    check_port(cpu, port, width);
    gpr_set(cpu, REG_RAX, width, port_read(cpu, port, width));
}

void exec_out(struct cpu *cpu, const struct insn *in)
{
    unsigned width = width_of(in);
    uint16_t port = port_of(cpu, in, 0);
    check_port(cpu, port, width);
    port_write(cpu, port, width, gpr_get(cpu, REG_RAX, width));
}

/* ---- strings ------------------------------------------------------------------------------------------------------------------------------------------------- */

static void ins_element(struct cpu *cpu, const struct insn *in, unsigned width)
{
    uint64_t offset = gpr_get(cpu, REG_RDI, in->asize);
    uint16_t port = (uint16_t)cpu->state.gpr[REG_RDX];
    uint64_t linear = cpu_linear(cpu, SEG_ES, offset, width, MEM_W);
    cpu_probe_write(cpu, linear, width);
    memory_store(cpu, linear, port_read(cpu, port, width), width);
    gpr_set(cpu, REG_RDI, in->asize, cpu->state.rflags & FLAG_DF ? offset - width : offset + width);
}

static void outs_element(struct cpu *cpu, const struct insn *in, unsigned width)
{
    uint64_t offset = gpr_get(cpu, REG_RSI, in->asize);
    uint64_t value = memory_load(cpu, cpu_linear(cpu, in->seg, offset, width, MEM_R), width);
    port_write(cpu, (uint16_t)cpu->state.gpr[REG_RDX], width, value);
    gpr_set(cpu, REG_RSI, in->asize, cpu->state.rflags & FLAG_DF ? offset - width : offset + width);
}

/* Elements until the count is used up; with something requested, leaves the rest for the next time: RIP stays on the instruction. */
static void repeat(struct cpu *cpu, const struct insn *in, void (*element)(struct cpu *, const struct insn *, unsigned))
{
    unsigned width = width_of(in);
    check_port(cpu, (uint16_t)cpu->state.gpr[REG_RDX], width);
    if (!(in->prefix & (PFX_REP | PFX_REPNE))) {
        element(cpu, in, width);
        return;
    }
    for (uint64_t count; (count = gpr_get(cpu, REG_RCX, in->asize)) != 0;) {
        element(cpu, in, width);
        gpr_set(cpu, REG_RCX, in->asize, count - 1);
        cpu_exit_commit(cpu);
        if (count > 1 && atomic_load_explicit(&cpu->requests, memory_order_relaxed)) {
            cpu->next_rip = cpu->state.rip;
            return;
        }
    }
}

void exec_ins(struct cpu *cpu, const struct insn *in) { repeat(cpu, in, ins_element); }
void exec_outs(struct cpu *cpu, const struct insn *in) { repeat(cpu, in, outs_element); }
