/* SPDX-License-Identifier: MIT */
/* soak.c - random flushes for tests. The numbers are a vCPU's own, from a fixed start: one vCPU without devices does the same each time. */
#include "cpu/soak.h"

#include "apic/apic.h"
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
    cpu->engine->soaked.tlb_drops++;
    uint32_t how = next_random(cpu) % 4;
    if (how == 0)
        cpu_tlb_flush_all(cpu);
    else if (how == 1)
        cpu_tlb_flush_nonglobal(cpu);
    else
        cpu_tlb_flush_page(cpu, how == 2 ? cpu->state.gpr[REG_RSP] : cpu->state.rip);
}

static void request(struct cpu *cpu)
{
    cpu->engine->soaked.requests++;
    cpu_request(cpu, CPU_REQ_INTERRUPT | CPU_REQ_TIMER | CPU_REQ_CODE | CPU_REQ_WINDOW);
}

static void code_drop(struct cpu *cpu)
{
    cpu->engine->soaked.code_drops++;
    block_cache_flush(cpu);
}

/* The guest's handler finds that nothing is due. The timer itself goes on. */
static void interrupt(struct cpu *cpu)
{
    if (!cpu->apic)
        return;
    cpu->engine->soaked.interrupts++;
    apic_raise(cpu->apic, APIC_LVT_TIMER);
}

static void one_block_count(struct cpu *cpu)
{
    const struct cpu_soak *s = cpu->vm->soak;
    struct cpu_engine *engine = cpu->engine;
    if (engine->soak_one_block) {
        engine->soak_one_block--;
        engine->soaked.one_block++;
    } else if (is_time(cpu, s->one_block_every)) {
        engine->soak_one_block = s->one_block_for;
    }
}

void cpu_soak_boundary(struct cpu *cpu)
{
    const struct cpu_soak *s = cpu->vm->soak;
    if (is_time(cpu, s->tlb_every))
        tlb_drop(cpu);
    if (is_time(cpu, s->code_every))
        code_drop(cpu);
    if (is_time(cpu, s->request_every))
        request(cpu);
    if (is_time(cpu, s->interrupt_every))
        interrupt(cpu);
    one_block_count(cpu);
    if (s->kick_after && ++cpu->engine->soak_boundaries % s->kick_after == 0)
        cpu_request(cpu, CPU_REQ_KICK);
}

bool cpu_soak_unlinks(struct cpu *cpu)
{
    bool unlinks = cpu->vm->soak && cpu->vm->soak->unlinked && next_random(cpu) & 1;
    cpu->engine->soaked.unlinked += unlinks;
    return unlinks;
}

bool cpu_soak_has_one_block(const struct cpu *cpu)
{
    return cpu->vm->soak && (cpu->vm->soak->one_block || cpu->engine->soak_one_block);
}
