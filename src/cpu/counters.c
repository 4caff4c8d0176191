/* SPDX-License-Identifier: MIT */
/* counters.c - what a vCPU counts, as names, numbers and what they mean (hy.h: hy_counters, hy_counter_info): one table. */
#include <stddef.h>

#include "cpu/engine_private.h"
#include "cpu/mmu_private.h"
#include "cpu/translate/lockstep.h"
#include "cpu/translate/translate.h"

/* One member for each group of numbers, by its name. */
struct sources {
    struct cpu_statistics interpreter;
    struct translate_statistics translator;
    struct mmu_statistics memory;
    struct lockstep_statistics lockstep;
    struct cpu_soak_statistics soak;
};

enum group { GROUP_interpreter, GROUP_memory, GROUP_translator, GROUP_lookups /* of translator, with cpu_vm.count_tlb */, GROUP_lockstep, GROUP_soak,
    GROUP_BY_NAME /* whose names are other things' */ };

struct row {
    struct hy_counter_info info;
    enum group group;
    size_t offset; /* in struct sources */
};

#define AS(group_, name_, member_, ...) { { #group_, name_, __VA_ARGS__ }, GROUP_##group_, offsetof(struct sources, group_.member_) }
#define ROW(group_, member_, ...) AS(group_, #member_, member_, __VA_ARGS__)

static const struct row rows[] = {
    ROW(interpreter, instructions, "guest instructions that the interpreter completed; one with REP counts once"),
    ROW(interpreter, blocks_decoded, "blocks, runs of instructions up to a branch, decoded"),
    ROW(interpreter, instructions_decoded, "instructions in them"),
    ROW(interpreter, blocks_killed, "blocks forgotten since their bytes were written"),
    ROW(interpreter, flushes, "times that all blocks were forgotten since their cache was full"),
    ROW(interpreter, lookups, "ends of blocks after which the next had to be looked for"),
    ROW(interpreter, lookup_misses, "of these, those not found by their address alone"),
    ROW(interpreter, slow, "instructions that their short handler passed on: an access across pages, a rare form"),
    ROW(interpreter, exits, "exits to the machine: devices, ports, halts, interrupts that arrive"),
    ROW(interpreter, faults, "exceptions that instructions raised"),
    ROW(interpreter, interrupts, "interrupts delivered"),
    ROW(interpreter, sleeps, "times that the halted vCPU waited"),
    ROW(interpreter, cache_bytes, "bytes of decoded blocks now"),
    ROW(memory, walks, "walks of the guest's page tables: what no TLB knew"),
    ROW(memory, space_switches, "switches between address spaces by PCID"),
    ROW(memory, space_switches_kept, "of these, to a space whose translations had been kept"),
    ROW(translator, translations, "translations of blocks made"),
    ROW(translator, remade, "of these, second ones of their blocks: of blocks that turned out to run often, most"),
    ROW(translator, guest_instructions, "guest instructions translated, in first translations of blocks"),
    ROW(translator, guest_bytes, "bytes of these instructions"),
    ROW(translator, host_bytes, "bytes of host code made, in all translations"),
    ROW(translator, cache_bytes, "bytes of host code now"),
    ROW(translator, flushes, "times that all translations were forgotten"),
    ROW(translator, evictions, "times that the oldest part of them was forgotten, to make room"),
    ROW(translator, entries, "times that the interpreter entered translated code"),
    ROW(translator, links, "branches linked, so that one translation jumps to another"),
    { { "translator", "tlb_lookups", "look-ups in translated code's TLB, with --counters F,tlb=on. Accesses off one register may share one; REP MOVS and STOS make one for each "
        "page and operand; what the interpreter does is none" }, GROUP_lookups, offsetof(struct sources, translator.lookups) },
    AS(translator, "tlb_misses", misses, "look-ups in it that found nothing: a page met anew, an access across pages, a device, a store to a page of decoded code"),
    AS(translator, "tlb_fills", fills, "of these, those that filled an entry, and went on in translated code"),
    AS(translator, "left_for_jump", left_jump, "ways out of translated code: a branch not linked yet, or linked for another address space"),
    AS(translator, "left_for_request", left_request, "the same: something waits, as an interrupt, or the block has died"),
    AS(translator, "left_for_interpreter", left_interpret, "the same: an instruction that the interpreter does: reasons in group left"),
    ROW(translator, verified, "translations proved, with --cpu-check verify"),
    AS(translator, "refused_by_verifier", refused, "translations that could not be proved, and are not used: the translator is wrong there. Anything but 0 is worth a report"),
    ROW(lockstep, compared, "runs of translated code done by the interpreter too, and found the same, with --cpu-check lockstep"),
    ROW(lockstep, skipped, "runs that could not be compared"),
    ROW(lockstep, races, "runs whose difference came from another vCPU's or a device's store"),
    ROW(soak, tlb_drops, "with --cpu-check soak, at random: times that translations of addresses were dropped"),
    ROW(soak, code_drops, "the same: decoded and translated code"),
    ROW(soak, requests, "requests made, for which code is left"),
    ROW(soak, interrupts, "requests that look like an interrupt"),
    ROW(soak, one_block, "times that the code cache began to hold one block only"),
    ROW(soak, unlinked, "links not made"),
    { { "left", "*", "by instruction: how often translated code left it to the interpreter; the most frequent first" }, GROUP_BY_NAME, 0 },
    { { "general", "*", "by instruction: how often the interpreter did it without a handler of its own; the most frequent first" }, GROUP_BY_NAME, 0 },
    { { "refused, last for", "*", "why the verifier refused the last one, where it refused any" }, GROUP_BY_NAME, 0 },
};

const struct hy_counter_info *cpu_counter_info(size_t i) { return i < ARRAY_LEN(rows) ? &rows[i].info : NULL; }

struct sink { struct hy_counter *out; size_t room, n; };

static void put(struct sink *sink, const char *group, const char *name, uint64_t value)
{
    if (sink->n < sink->room)
        sink->out[sink->n] = (struct hy_counter){ group, name, value };
    sink->n++;
}

static bool has_group(const struct cpu *cpu, enum group group)
{
    switch (group) {
    case GROUP_interpreter: case GROUP_memory: return true;
    case GROUP_translator: return cpu->translator;
    case GROUP_lookups: return cpu->translator && cpu->vm->count_tlb;
    case GROUP_lockstep: return cpu->vm->lockstep;
    case GROUP_soak: return cpu->vm->soak;
    default: return false;
    }
}

static void put_rows(struct sink *sink, const struct cpu *cpu)
{
    struct sources from = { .memory = cpu->mmu->statistics, .soak = cpu->engine->soaked };
    cpu_statistics_get(cpu, &from.interpreter);
    translate_statistics_get(cpu, &from.translator);
    lockstep_statistics_get(cpu, &from.lockstep);
    for (const struct row *row = rows; row < rows + ARRAY_LEN(rows); row++)
        if (has_group(cpu, row->group))
            put(sink, row->info.group, row->info.name, *(const uint64_t *)((const char *)&from + row->offset));
    if (from.translator.refused)
        put(sink, "refused, last for", from.translator.refusal, from.translator.refused);
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
    put_rows(&sink, cpu);
    translate_left_get(cpu, left);
    put_by_op(&sink, "left", left);
    put_by_op(&sink, "general", cpu->engine->general);
    return sink.n;
}
