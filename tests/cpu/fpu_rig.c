/* SPDX-License-Identifier: MIT */
/* fpu_rig.c - see fpu_rig.h. Stands in for the engine and the MMU: faults longjmp to the rig, memory accesses go to host memory. */
#include "fpu_rig.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/decode.h"
#include "cpu/engine.h"
#include "cpu/mmu.h"
#include "cpu/x87.h"

struct rig {
    uint8_t *code;              /* one executable page */
    uint8_t *operand;           /* RDI: RIG_MEMORY bytes, 64-byte aligned */
    struct cpu *cpu;
};

/* ---- the engine's and the MMU's side */

_Noreturn void cpu_raise(struct cpu *cpu, unsigned vector) { longjmp(cpu->leave, (int)vector + 1); }
_Noreturn void cpu_raise_error(struct cpu *cpu, unsigned vector, uint32_t error) { (void)error; longjmp(cpu->leave, (int)vector + 1); }
uint64_t cpu_linear(struct cpu *cpu, unsigned seg, uint64_t offset, size_t len, uint32_t access)
{
    (void)cpu, (void)seg, (void)len, (void)access;
    return offset;
}

uint64_t cpu_load_slow(struct cpu *cpu, unsigned rights, uint64_t linear, unsigned size)
{
    uint64_t value = 0;
    (void)cpu, (void)rights;
    memcpy(&value, (const void *)(uintptr_t)linear, size);
    return value;
}

void cpu_store_slow(struct cpu *cpu, unsigned rights, uint64_t linear, uint64_t value, unsigned size)
{
    (void)cpu, (void)rights;
    memcpy((void *)(uintptr_t)linear, &value, size);
}

void cpu_load_bytes_slow(struct cpu *cpu, unsigned rights, uint64_t linear, void *out, size_t len)
{
    (void)cpu, (void)rights;
    memcpy(out, (const void *)(uintptr_t)linear, len);
}

void cpu_store_bytes_slow(struct cpu *cpu, unsigned rights, uint64_t linear, const void *data, size_t len)
{
    (void)cpu, (void)rights;
    memcpy((void *)(uintptr_t)linear, data, len);
}

void cpu_store_noticed(struct cpu *cpu, const struct tlb_entry *e, uint64_t linear, size_t len) { (void)cpu, (void)e, (void)linear, (void)len; }
void cpu_probe(struct cpu *cpu, unsigned rights, uint64_t linear, size_t len, uint32_t access) { (void)cpu, (void)rights, (void)linear, (void)len, (void)access; }
void cpu_exit_commit(struct cpu *cpu) { (void)cpu; }
void cpu_tlb_flush_all(struct cpu *cpu) { (void)cpu; }
void cpu_set_pkru(struct cpu *cpu, uint32_t pkru) { cpu->state.pkru = pkru; }
uint64_t cpu_flags_get(struct cpu *cpu) { return cpu->state.rflags; }
void cpu_flags_set_arith(struct cpu *cpu, uint32_t arith) { cpu->state.rflags = (cpu->state.rflags & ~(uint64_t)FLAGS_ARITH) | arith; }

static void run_guarded(struct rig *rig, const struct insn *in, void (*exec)(struct cpu *, const struct insn *), struct rig_state *s)
{
    int raised = setjmp(rig->cpu->leave);

    if (!raised)
        exec(rig->cpu, in);
    s->fault = raised - 1;
}

void rig_run_ours(struct rig *rig, const struct insn *in, void (*exec)(struct cpu *, const struct insn *), struct rig_state *s)
{
    struct cpu_state *c = &rig->cpu->state;

    x87_get_fxsave(&c->x87, s->area, true);
    c->mxcsr = load_le32(s->area + 24);
    for (unsigned i = 0; i < 16; i++) {
        memcpy(&c->vec[i], s->area + 160 + 16 * i, 16);
        memcpy(&c->vec[i].q[2], s->area + 576 + 16 * i, 16);
    }
    c->gpr[REG_RAX] = s->rax, c->gpr[REG_RCX] = s->rcx, c->gpr[REG_RDX] = s->rdx, c->gpr[REG_RSI] = s->rsi;
    c->gpr[REG_RDI] = (uintptr_t)rig->operand;
    c->rflags = s->flags;
    c->rip = (uintptr_t)rig->code;
    rig->cpu->next_rip = c->rip + in->length;
    memcpy(rig->operand, s->memory, RIG_MEMORY);
    run_guarded(rig, in, exec, s);
    memcpy(s->memory, rig->operand, RIG_MEMORY);
    s->flags = c->rflags;
    s->rax = c->gpr[REG_RAX], s->rcx = c->gpr[REG_RCX], s->rdx = c->gpr[REG_RDX], s->rsi = c->gpr[REG_RSI];
    x87_put_fxsave(&c->x87, s->area, true);
    store_le32(s->area + 24, c->mxcsr);
    for (unsigned i = 0; i < 16; i++) {
        memcpy(s->area + 160 + 16 * i, &c->vec[i], 16);
        memcpy(s->area + 576 + 16 * i, &c->vec[i].q[2], 16);
    }
}

bool rig_decode(const uint8_t *code, unsigned length, struct insn *out)
{
    uint8_t bytes[15] = { 0 };

    memcpy(bytes, code, length);
    memset(bytes + length, 0x90, sizeof bytes - length);
    return insn_decode(bytes, sizeof bytes, CPU_MODE_64, out) > 0;
}

void rig_run_host(struct rig *rig, const uint8_t *code, unsigned length, struct rig_state *s)
{
    memcpy(rig->code, code, length);
    rig->code[length] = 0xc3; /* RET */
    memcpy(rig->operand, s->memory, RIG_MEMORY);
    memset(s->area + 512, 0, 64);
    s->area[512] = 7;
    rig_host_call(rig->code, rig->operand, s);
    memcpy(s->memory, rig->operand, RIG_MEMORY);
}

struct rig *rig_new(void)
{
    struct rig *rig = calloc(1, sizeof *rig);

    if (!rig || !(rig->cpu = calloc(1, sizeof *rig->cpu)))
        abort();
    rig->code = rig_host_new();
    rig->operand = rig->code + 4096 + 64;
    rig->cpu->mode = CPU_MODE_64;
    rig->cpu->tlb = rig->cpu->tlbs[0];
    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        rig->cpu->tlb[i].read_tag = rig->cpu->tlb[i].write_tag = TLB_NO_TAG;
    rig->cpu->state.cr0 = CR0_PE | CR0_MP | CR0_NE | CR0_PG;
    rig->cpu->state.cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    rig->cpu->state.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    return rig;
}

void rig_free(struct rig *rig)
{
    rig_host_free(rig->code);
    free(rig->cpu);
    free(rig);
}
