/* SPDX-License-Identifier: MIT */
/* counters.c - the statistics of a vCPU as names and numbers (hy.h: hy_counters). */
#include "cpu/engine_private.h"
#include "cpu/translate/lockstep.h"
#include "cpu/translate/translate.h"

struct sink { struct hy_counter *out; size_t room, n; };

static void put(struct sink *sink, const char *group, const char *name, uint64_t value)
{
    if (sink->n < sink->room)
        sink->out[sink->n] = (struct hy_counter){ group, name, value };
    sink->n++;
}

static void put_interpreter(struct sink *sink, const struct cpu *cpu)
{
    static const char group[] = "interpreter";
    struct cpu_statistics s;
    cpu_statistics_get(cpu, &s);
    put(sink, group, "instructions", s.instructions);
    put(sink, group, "blocks_decoded", s.blocks_decoded);
    put(sink, group, "instructions_decoded", s.instructions_decoded);
    put(sink, group, "blocks_killed", s.blocks_killed);
    put(sink, group, "flushes", s.flushes);
    put(sink, group, "lookups", s.lookups);
    put(sink, group, "lookup_misses", s.lookup_misses);
    put(sink, group, "slow", s.slow);
    put(sink, group, "exits", s.exits);
    put(sink, group, "faults", s.faults);
    put(sink, group, "interrupts", s.interrupts);
    put(sink, group, "sleeps", s.sleeps);
    put(sink, group, "cache_bytes", s.cache_bytes);
}

static void put_translator(struct sink *sink, const struct cpu *cpu)
{
    static const char group[] = "translator";
    struct translate_statistics s;
    translate_statistics_get(cpu, &s);
    put(sink, group, "translations", s.translations);
    put(sink, group, "guest_instructions", s.guest_instructions);
    put(sink, group, "guest_bytes", s.guest_bytes);
    put(sink, group, "host_bytes", s.host_bytes);
    put(sink, group, "cache_bytes", s.cache_bytes);
    put(sink, group, "flushes", s.flushes);
    put(sink, group, "evictions", s.evictions);
    put(sink, group, "entries", s.entries);
    put(sink, group, "links", s.links);
    put(sink, group, "tlb_misses", s.misses);
    put(sink, group, "tlb_fills", s.fills);
    put(sink, group, "left_for_jump", s.left_jump);
    put(sink, group, "left_for_request", s.left_request);
    put(sink, group, "left_for_interpreter", s.left_interpret);
    put(sink, group, "verified", s.verified);
    put(sink, group, "refused_by_verifier", s.refused);
    if (s.refused)
        put(sink, "refused, last for", s.refusal, s.refused);
}

static void put_lockstep(struct sink *sink, const struct cpu *cpu)
{
    static const char group[] = "lockstep";
    struct lockstep_statistics s;
    lockstep_statistics_get(cpu, &s);
    put(sink, group, "compared", s.compared);
    put(sink, group, "skipped", s.skipped);
    put(sink, group, "races", s.races);
}

static void put_soak(struct sink *sink, const struct cpu *cpu)
{
    static const char group[] = "soak";
    const struct cpu_soak_statistics *s = &cpu->engine->soaked;
    put(sink, group, "tlb_drops", s->tlb_drops);
    put(sink, group, "code_drops", s->code_drops);
    put(sink, group, "requests", s->requests);
    put(sink, group, "interrupts", s->interrupts);
    put(sink, group, "one_block", s->one_block);
    put(sink, group, "unlinked", s->unlinked);
}

/* Largest first. Not qsort(), which asks the system for its memory: a sandbox may hold the caller. */
static void sort(struct hy_counter *c, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct hy_counter one = c[i];
        size_t at = i;
        for (; at && c[at - 1].value < one.value; at--)
            c[at] = c[at - 1];
        c[at] = one;
    }
}

static void put_by_op(struct sink *sink, const char *group, const uint64_t by_op[OP_COUNT])
{
    size_t first = sink->n;
    for (unsigned op = 0; op < OP_COUNT; op++)
        if (by_op[op])
            put(sink, group, insn_op_name((enum insn_op)op), by_op[op]);
    if (sink->n <= sink->room)
        sort(sink->out + first, sink->n - first);
}

size_t cpu_counters(const struct cpu *cpu, struct hy_counter *out, size_t room)
{
    struct sink sink = { out, room, 0 };
    uint64_t left[OP_COUNT];
    put_interpreter(&sink, cpu);
    if (cpu->translator)
        put_translator(&sink, cpu);
    if (cpu->vm->lockstep)
        put_lockstep(&sink, cpu);
    if (cpu->vm->soak)
        put_soak(&sink, cpu);
    translate_left_get(cpu, left);
    put_by_op(&sink, "left", left);
    put_by_op(&sink, "general", cpu->engine->general);
    return sink.n;
}
