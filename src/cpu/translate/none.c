/* SPDX-License-Identifier: MIT */
/* none.c - hosts without a translator: the interpreter does all. */
#include "cpu/translate/lockstep.h"
#include "cpu/translate/translate.h"

#include <string.h>

static const char none[] = "there is no translator for this host";

const char *translate_refusal(void) { return none; }

int translate_new(struct cpu *cpu, const char **why, struct err *err)
{
    (void)err;
    cpu->translator = NULL;
    *why = none;
    return 0;
}

void translate_free(struct cpu *cpu) { (void)cpu; }

void translate_statistics_get(const struct cpu *cpu, struct translate_statistics *out)
{
    (void)cpu;
    memset(out, 0, sizeof *out);
}

void translate_left_get(const struct cpu *cpu, uint64_t by_op[OP_COUNT])
{
    (void)cpu;
    memset(by_op, 0, OP_COUNT * sizeof *by_op);
}

void translate_block(struct cpu *cpu, struct block *b) { (void)cpu, (void)b; }
const struct uop *translate_run(struct cpu *cpu, struct block *b, unsigned number) { (void)cpu, (void)b, (void)number; return NULL; }
translate_handler *translate_handler_of(const struct uop *u) { (void)u; return NULL; }
const struct uop *lockstep_run(struct cpu *cpu, struct block *b, unsigned number) { (void)cpu, (void)b, (void)number; return NULL; }
void lockstep_statistics_get(const struct cpu *cpu, struct lockstep_statistics *out) { (void)cpu; *out = (struct lockstep_statistics){ 0 }; }
void translate_forget(struct cpu *cpu, struct block *b) { (void)cpu, (void)b; }
void translate_flush(struct cpu *cpu) { (void)cpu; }
void translate_tlb_flush_all(struct cpu *cpu) { (void)cpu; }
void translate_tlb_flush_nonglobal(struct cpu *cpu) { (void)cpu; }
void translate_tlb_leave(struct cpu *cpu, unsigned space) { (void)cpu, (void)space; }
void translate_tlb_enter(struct cpu *cpu, unsigned space) { (void)cpu, (void)space; }
void translate_tlb_flush_page(struct cpu *cpu, uint64_t linear) { (void)cpu, (void)linear; }
uint64_t translate_tsc(struct cpu *cpu) { return cpu_tsc(cpu); }
void translate_clock_forget(struct cpu *cpu) { (void)cpu; }
void translate_make_room(struct cpu *cpu) { (void)cpu; }

bool translate_arm_page(struct cpu *cpu, struct mem_block *memory, size_t offset)
{
    (void)cpu;
    mem_block_arm_code(memory, offset);
    return false;
}
