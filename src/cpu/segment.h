/* SPDX-License-Identifier: MIT */
/* segment.h - descriptors, segment registers and stacks, between segment.c, transfer.c, task.c, syscall.c and exception.c. Owner's thread only. */
#ifndef CPU_SEGMENT_H
#define CPU_SEGMENT_H

#include "cpu/cpu.h"
#include "cpu/mmu.h"

enum { /* system descriptor types, SDM 3.5 table 3-2 */
    DESC_TSS16 = 1, DESC_LDT = 2, DESC_TSS16_BUSY = 3, DESC_CALL16 = 4, DESC_TASK_GATE = 5, DESC_INT16 = 6, DESC_TRAP16 = 7, DESC_TSS32 = 9,
    DESC_TSS32_BUSY = 11, DESC_CALL32 = 12, DESC_INT32 = 14, DESC_TRAP32 = 15,
    DESC_BUSY = 2,
};

/* A descriptor as read from a table, 8 bytes, or 16 for system descriptors of long mode. */
struct descriptor {
    uint64_t low, high;
    uint64_t linear;      /* where it lies, for the accessed and busy bits */
    uint16_t selector;
};

static inline bool cpu_is_real(const struct cpu *cpu) { return !(cpu->state.cr0 & CR0_PE); }
static inline bool cpu_is_v8086(const struct cpu *cpu) { return !cpu_is_real(cpu) && cpu->state.rflags & FLAG_VM; }
static inline bool cpu_is_flatly_addressed(const struct cpu *cpu) { return cpu_is_real(cpu) || cpu->state.rflags & FLAG_VM; } /* selector << 4 */
static inline unsigned cpu_iopl(const struct cpu *cpu) { return cpu->state.rflags >> 12 & 3; }
static inline bool is_null_selector(uint16_t selector) { return !(selector & 0xfffc); }

static inline unsigned desc_type(const struct descriptor *d) { return d->low >> 40 & 15; }          /* with S clear */
static inline unsigned desc_dpl(const struct descriptor *d) { return d->low >> 45 & 3; }
static inline bool desc_present(const struct descriptor *d) { return d->low >> 47 & 1; }
static inline bool desc_is_segment(const struct descriptor *d) { return d->low >> 44 & 1; }        /* S: code or data */
static inline bool desc_is_code(const struct descriptor *d) { return (d->low >> 43 & 3) == 3; }
static inline bool desc_is_conforming(const struct descriptor *d) { return d->low >> 42 & 1; }      /* of code */
static inline bool desc_is_writable_data(const struct descriptor *d) { return (d->low >> 41 & 13) == 9 ; } /* S = 1, code = 0, W = 1 */
static inline bool desc_is_readable(const struct descriptor *d) { return desc_is_segment(d) && (!(d->low >> 43 & 1) || d->low >> 41 & 1); }
static inline unsigned seg_dpl(const struct cpu_segment *s) { return s->attributes >> SEG_DPL_SHIFT & 3; }

/* #GP, #NP, #SS or #TS whose error code is a selector; ext: the event is external to the program (SDM 6.13). */
static inline _Noreturn void raise_selector(struct cpu *cpu, unsigned vector, uint16_t selector, unsigned ext)
{
    cpu_raise_error(cpu, vector, (selector & 0xfffcu) | ext);
}

/* Reads the descriptor of a non-null selector. False: outside its table. `wide`: a 16-byte one where long mode has them (system descriptors). */
bool desc_read(struct cpu *, uint16_t selector, struct descriptor *out);
bool desc_read_wide(struct cpu *, uint16_t selector, struct descriptor *out);
/* Sets the accessed bit in memory and in *d when it is clear. */
void desc_set_accessed(struct cpu *, struct descriptor *d);
/* Sets or clears the busy bit of a TSS descriptor in memory. */
void desc_set_busy(struct cpu *, struct descriptor *d, bool busy);
/* The segment register that a descriptor gives (base 32 bits wide, or 64 for system descriptors read wide). */
struct cpu_segment desc_segment(const struct descriptor *d);

/* The segment register of real and v8086 mode; in real mode limit and attributes stay what they were. */
struct cpu_segment seg_flat(const struct cpu *, unsigned seg, uint16_t selector);

/* Checks `selector` for ES, DS, FS, GS, or SS, as MOV to a segment register does; returns what to load. */
struct cpu_segment seg_check_load(struct cpu *, unsigned seg, uint16_t selector);
/* Checks a stack segment for privilege level `cpl`, with faults on `vector` (#TS for inner stacks, #GP for returns) and #SS. */
struct cpu_segment seg_check_stack(struct cpu *, uint16_t selector, unsigned cpl, unsigned vector, unsigned ext);
/* After a return to an outer level: clears data segment registers that the new CPL may not hold (SDM 5.8.6). */
void seg_drop_inner(struct cpu *, unsigned cpl);

void segment_load(struct cpu *, unsigned seg, uint16_t selector); /* check and load a data segment register */
void segment_load_ldtr(struct cpu *, uint16_t selector, unsigned vector /* #GP; #TS in a task switch */);

/* Offset check of [offset, offset + len) in a segment of legacy modes: limit only. */
bool seg_limit_holds(const struct cpu_segment *, uint64_t offset, size_t len);

/* ---- stacks ------------------------------------------------------------------------------------------------------------------------------------------ */

/* A stack that is pushed to or popped from before the registers are committed. */
struct stack {
    struct cpu *cpu;
    struct cpu_segment ss;
    bool     wide;       /* 64-bit mode: no segmentation                */
    uint64_t sp, mask;
    unsigned rights;     /* enum tlb_rights                             */
    uint32_t error;      /* error code of a #SS                         */
};

struct stack stack_now(struct cpu *);                                                     /* the present stack */
struct stack stack_of(struct cpu *, const struct cpu_segment *ss, uint64_t sp, unsigned cpl, bool wide);
void     stack_push(struct stack *, uint64_t value, unsigned size);
uint64_t stack_pop(struct stack *, unsigned size);
/* Writes the stack pointer back, as wide as the stack is. */
void     stack_commit(const struct stack *);

/* ---- across files -------------------------------------------------------------------------------------------------------------------------------------- */

/* Checks that a code segment can be entered at `rip`: limit, or canonical in 64-bit mode; #GP(ext). */
void transfer_check_rip(struct cpu *, const struct cpu_segment *cs, uint64_t rip, unsigned ext);
/* Commits CS, CPL and RIP. */
void transfer_commit(struct cpu *, const struct cpu_segment *cs, unsigned cpl, uint64_t rip);

/* Stack pointer (and, in legacy modes, segment) for privilege level `cpl` from the TSS; #TS. */
void tss_stack(struct cpu *, unsigned cpl, unsigned ext, uint16_t *ss, uint64_t *sp);
uint64_t tss_stack64(struct cpu *, unsigned slot /* 0..2: RSP0..2; 4..10: IST1..7 */, unsigned ext);

enum task_switch_cause { TASK_JMP, TASK_CALL, TASK_IRET, TASK_GATE /* by interrupt or exception */ };
/* Switches to the task whose TSS descriptor is *d (checked by the caller up to its type); saves `rip` as the old task's. */
void task_switch(struct cpu *, struct descriptor *d, enum task_switch_cause, uint64_t rip, bool has_error, uint32_t error, unsigned ext);
/* Checks the selector of a task gate or of a far transfer to a TSS, and reads its descriptor. */
void task_read_tss(struct cpu *, uint16_t selector, unsigned ext, struct descriptor *out);

/* Instructions. */
void exec_call_far(struct cpu *, const struct insn *);
void exec_jmp_far(struct cpu *, const struct insn *);
void exec_ret_far(struct cpu *, const struct insn *);
void exec_iret(struct cpu *, const struct insn *);
void exec_syscall(struct cpu *);
void exec_sysret(struct cpu *, const struct insn *);
void exec_sysenter(struct cpu *);
void exec_sysexit(struct cpu *, const struct insn *);
void exec_mov_seg(struct cpu *, const struct insn *);
void exec_push_seg(struct cpu *, const struct insn *);
void exec_pop_seg(struct cpu *, const struct insn *);
void exec_load_far(struct cpu *, const struct insn *);    /* LDS, LES, LFS, LGS, LSS */
void exec_lar_lsl(struct cpu *, const struct insn *);
void exec_verify(struct cpu *, const struct insn *);      /* VERR, VERW */
void exec_arpl(struct cpu *, const struct insn *);
void exec_lldt(struct cpu *, const struct insn *);
void exec_ltr(struct cpu *, const struct insn *);
void exec_sldt_str(struct cpu *, const struct insn *);

#endif
