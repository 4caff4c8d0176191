/* SPDX-License-Identifier: MIT */
/* syscall.c - SYSCALL, SYSRET, SYSENTER, SYSEXIT: fixed flat segments, as on Intel (SDM volume 3, 5.8.7 and 5.8.8). */
#include "cpu/debug.h"
#include "cpu/segment.h"

enum { FLAT_CODE32 = 0xc09b, FLAT_CODE64 = 0xa09b, FLAT_DATA = 0xc093 }; /* attributes: 4 GiB, present, accessed */

static void enter(struct cpu *cpu, unsigned code, uint16_t cs, uint16_t ss, unsigned cpl, uint64_t rip)
{
    unsigned dpl = cpl << SEG_DPL_SHIFT;
    cpu->state.seg[SEG_SS] = (struct cpu_segment){ .selector = (uint16_t)(ss | cpl), .limit = UINT32_MAX, .attributes = (uint16_t)(FLAT_DATA | dpl) };
    struct cpu_segment s = { .selector = cs, .limit = UINT32_MAX, .attributes = (uint16_t)(code | dpl) };
    transfer_commit(cpu, &s, cpl, rip);
}

/* Intel has SYSCALL in 64-bit mode only. In compatibility mode it enters at CSTAR, as on AMD, once software has set that: what runs on Intel leaves it 0. */
static uint64_t syscall_target(struct cpu *cpu)
{
    uint64_t target = cpu->mode == CPU_MODE_64 ? cpu->state.lstar : cpu->long_mode ? cpu->state.cstar : 0;
    if (!(cpu->state.efer & EFER_SCE) || (cpu->mode != CPU_MODE_64 && !target))
        cpu_raise(cpu, EXC_UD);
    return target;
}

void exec_syscall(struct cpu *cpu)
{
    uint64_t target = syscall_target(cpu);
    uint64_t flags = cpu_flags_get(cpu);
    uint16_t cs = cpu->state.star >> 32 & 0xfffc;
    cpu->state.gpr[REG_RCX] = cpu->next_rip;
    cpu->state.gpr[REG_R8 + 3] = flags & ~(uint64_t)FLAG_RF;
    cpu->state.cpl = 0;
    uint64_t kept = flags & ~(cpu->state.sfmask | FLAG_RF);
    if (!(kept & FLAG_TF))
        cpu->step_armed = 0; /* masked before the trap would have been taken */
    cpu_flags_set(cpu, kept | 2);
    enter(cpu, FLAT_CODE64, cs, (uint16_t)(cs + 8), 0, target);
}

void exec_sysret(struct cpu *cpu, const struct insn *in)
{
    if (cpu->mode != CPU_MODE_64 || !(cpu->state.efer & EFER_SCE))
        cpu_raise(cpu, EXC_UD);
    if (cpu->state.cpl)
        cpu_raise_error(cpu, EXC_GP, 0);
    bool wide = in->opsize == 8;
    uint64_t rip = cpu->state.gpr[REG_RCX];
    uint16_t base = (uint16_t)(cpu->state.star >> 48);
    if (wide && !is_canonical48(rip))
        cpu_raise_error(cpu, EXC_GP, 0);
    cpu->state.cpl = 3;
    cpu_flags_set(cpu, (cpu->state.gpr[REG_R8 + 3] & 0x3c7fd7) | 2); /* SDM SYSRET: RF, VM and reserved bits clear */
    if (cpu->state.rflags & FLAG_TF) { /* the trap comes before the first instruction outside */
        cpu->state.pending_db |= DR6_BS;
        cpu->step_armed = 0;
    }
    uint16_t cs = (uint16_t)((base + (wide ? 16 : 0)) | 3);
    enter(cpu, wide ? FLAT_CODE64 : FLAT_CODE32, cs, (uint16_t)((base + 8) | 3), 3, wide ? rip : rip & UINT32_MAX);
}

void exec_sysenter(struct cpu *cpu)
{
    uint16_t cs = cpu->state.sysenter_cs & 0xfffc;
    if (cpu_is_real(cpu) || !cs)
        cpu_raise_error(cpu, EXC_GP, 0);
    bool wide = cpu->long_mode;
    cpu->state.cpl = 0;
    cpu_flags_set(cpu, cpu_flags_get(cpu) & ~(uint64_t)(FLAG_VM | FLAG_IF | FLAG_RF));
    cpu->state.gpr[REG_RSP] = wide ? cpu->state.sysenter_esp : cpu->state.sysenter_esp & UINT32_MAX;
    uint64_t rip = wide ? cpu->state.sysenter_eip : cpu->state.sysenter_eip & UINT32_MAX;
    enter(cpu, wide ? FLAT_CODE64 : FLAT_CODE32, cs, (uint16_t)(cs + 8), 0, rip);
}

void exec_sysexit(struct cpu *cpu, const struct insn *in)
{
    uint16_t cs = cpu->state.sysenter_cs & 0xfffc;
    bool wide = in->opsize == 8;
    uint64_t rip = cpu->state.gpr[REG_RDX], rsp = cpu->state.gpr[REG_RCX];
    if (cpu_is_real(cpu) || !cs || (wide && (!is_canonical48(rip) || !is_canonical48(rsp))))
        cpu_raise_error(cpu, EXC_GP, 0);
    uint16_t base = (uint16_t)(cs + (wide ? 32 : 16));
    cpu->state.gpr[REG_RSP] = wide ? rsp : rsp & UINT32_MAX;
    enter(cpu, wide ? FLAT_CODE64 : FLAT_CODE32, (uint16_t)(base | 3), (uint16_t)(base + 8), 3, wide ? rip : rip & UINT32_MAX);
}
