/* SPDX-License-Identifier: MIT */
/* soak.c - random flushes for tests. The numbers are a vCPU's own, from a fixed start: one vCPU without devices does the same each time. */
#include "cpu/soak.h"

#include "cpu/engine_private.h"

static uint32_t next_random(struct cpu *cpu)
{
    uint64_t z = cpu->engine->soak_random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)(z >> 32);
}

static bool is_time(struct cpu *cpu, uint32_t every) { return every && next_random(cpu) % every == 0; }

static void tlb_drop(struct cpu *cpu)
{
    uint32_t how = next_random(cpu) % 4;
    if (how == 0)
        cpu_tlb_flush_all(cpu);
    else if (how == 1)
        cpu_tlb_flush_nonglobal(cpu);
    else
        cpu_tlb_flush_page(cpu, how == 2 ? cpu->state.gpr[REG_RSP] : cpu->state.rip);
}

void cpu_soak_boundary(struct cpu *cpu)
{
    const struct cpu_soak *s = cpu->vm->soak;
    if (is_time(cpu, s->tlb_every))
        tlb_drop(cpu);
    if (is_time(cpu, s->code_every))
        block_cache_flush(cpu);
    if (is_time(cpu, s->request_every))
        cpu_request(cpu, CPU_REQ_INTERRUPT | CPU_REQ_TIMER | CPU_REQ_CODE | CPU_REQ_WINDOW);
    if (s->kick_after && ++cpu->engine->soak_boundaries % s->kick_after == 0)
        cpu_request(cpu, CPU_REQ_KICK);
}

bool cpu_soak_unlinks(struct cpu *cpu)
{
    return cpu->vm->soak && cpu->vm->soak->unlinked && next_random(cpu) & 1;
}
