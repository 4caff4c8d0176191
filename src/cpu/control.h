/* SPDX-License-Identifier: MIT */
/* control.h - control registers, tables, flags, I/O and MSRs, between system.c and the files that execute them. Owner's thread only. */
#ifndef CPU_CONTROL_H
#define CPU_CONTROL_H

#include "cpu/cpu.h"

/* Bits of EFER that exist here, and of CR0. */
#define EFER_VALID ((uint64_t)(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE))
#define CR0_VALID  (CR0_PG | (uint64_t)(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD))

/* Writes with all checks (#GP) and consequences. */
void control_write_cr0(struct cpu *, uint64_t value);
void control_write_cr3(struct cpu *, uint64_t value);
void control_write_cr4(struct cpu *, uint64_t value);
/* False: #GP. */
bool control_write_efer(struct cpu *, uint64_t value);
/* CR3 of a task switch: as MOV to CR3, in legacy modes. */
void control_load_cr3(struct cpu *, uint32_t value);
/* False: a reserved bit is set. Loads state.pdpte from memory at cr3. */
bool control_load_pdptes(struct cpu *, uint64_t cr3);
/* Reads the four entries; those that are not in readable memory are 0. Answers the first address that was refused (not unmapped), or UINT64_MAX. */
uint64_t control_read_pdptes(struct cpu *, uint64_t cr3, uint64_t pdpte[4]);

uint64_t cpu_get_cr8(const struct cpu *);
void     cpu_set_cr8(struct cpu *, uint64_t value);

void exec_mov_cr(struct cpu *, const struct insn *);
void exec_lmsw(struct cpu *, const struct insn *);
void exec_smsw(struct cpu *, const struct insn *);
void exec_load_table(struct cpu *, const struct insn *);   /* LGDT, LIDT */
void exec_store_table(struct cpu *, const struct insn *);  /* SGDT, SIDT */
void exec_invlpg(struct cpu *, const struct insn *);
void exec_invpcid(struct cpu *, const struct insn *);
void exec_xsetbv(struct cpu *);
void exec_xgetbv(struct cpu *);
void exec_base(struct cpu *, const struct insn *);         /* RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE */
void exec_pkru(struct cpu *, const struct insn *);         /* RDPKRU, WRPKRU */

/* io.c */
void exec_in(struct cpu *, const struct insn *);
void exec_out(struct cpu *, const struct insn *);
void exec_ins(struct cpu *, const struct insn *);
void exec_outs(struct cpu *, const struct insn *);

/* msr.c */
void exec_rdmsr(struct cpu *);
void exec_wrmsr(struct cpu *);
void msr_reset(struct cpu *, bool init);

#endif
