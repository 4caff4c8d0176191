/* SPDX-License-Identifier: MIT */
/* engine.h - the interpreter engine E0, as the other files of this folder see it. The inside is in block.h, uop.h and engine_private.h.
 *
 * What an exec_*() function may rely on and must do:
 *   - On entry state.rip is the address of the instruction, next_rip of the next one; on return the engine continues at next_rip.
 *   - It may fault or leave (longjmp) only before it has changed anything that a restart would do twice.
 *   - STI, MOV SS and POP SS set state.interrupt_shadow (1 or 2; see cpu.h) and do nothing else about it; the engine clears it after the next instruction.
 *   - HLT (and MWAIT) sets state.halted = 1. The engine sleeps until an interrupt wakes the CPU, or exits with HY_EXIT_HALT when it has no apic.
 *   - A change of mode, paging or CPL ends in cpu_state_changed() and, where translations change, in a cpu_tlb_flush_*() (which moves fetch_generation).
 */
#ifndef CPU_ENGINE_H
#define CPU_ENGINE_H

#include "cpu/cpu.h"
#include "cpu/decode.h"

struct cpu_statistics {
    uint64_t instructions;   /* completed guest instructions; a REP counts once                     */
    uint64_t blocks_decoded, instructions_decoded;
    uint64_t blocks_killed;  /* because their bytes were written                                    */
    uint64_t flushes;        /* of the whole block cache                                            */
    uint64_t lookups;        /* block ends that had no valid chain                                  */
    uint64_t lookup_misses;  /* of these, not in the jump cache                                     */
    uint64_t slow;           /* instructions that a fast handler passed to exec_integer()           */
    uint64_t exits, faults, interrupts, sleeps;
    uint64_t cache_bytes;    /* in use now                                                          */
};

/* Called by cpu_new() and cpu_free(). Listens on cpu->vm->map. */
int  engine_new(struct cpu *, struct err *);
void engine_free(struct cpu *);
/* Owner's thread, or while the CPU does not run. */
void cpu_statistics_get(const struct cpu *, struct cpu_statistics *out);
/* All that is counted of the vCPU (counters.c): writes at most `room` to out, answers how many there are. Thread rule as above. */
size_t cpu_counters(const struct cpu *, struct hy_counter *out, size_t room);
/* What they mean, one after the other: hy_counter_info(). Any thread. */
const struct hy_counter_info *cpu_counter_info(size_t i);

/* What block_key must be for the present mode: cpu_state_changed() sets it. Needs mode, flat, rights and state. The bits of vector instructions say that SSE,
 * and AVX, may be used as far as control registers decide that. In 64-bit mode SS says nothing: a kernel has a null one behind an exception and a flat one behind
 * SYSCALL, and its code is the same. */
enum { KEY_FLAT = 1 << 2, KEY_RIGHTS_SHIFT = 3, KEY_STACK_32 = 1 << 5, KEY_LONG_MODE = 1 << 6, KEY_VECTORS = 1 << 7, KEY_AVX = 1 << 8, KEY_ANY = 1 << 9,
    KEY_AVX512 = 1 << 11,
    KEY_INNER = 1 << 10 /* CPL 1 or 2: else rights say whether it is 0 or 3 */ };

static inline uint32_t engine_block_key(const struct cpu *cpu)
{
    const struct cpu_state *s = &cpu->state;
    bool vectors = !(s->cr0 & (CR0_EM | CR0_TS)) && s->cr4 & CR4_OSFXSR;
    bool avx = vectors && s->cr4 & CR4_OSXSAVE && (s->xcr0 & (XCR0_SSE | XCR0_AVX)) == (XCR0_SSE | XCR0_AVX);
    bool avx512 = avx && s->xcr0 & XCR0_ZMM; /* all of them, or none */
    return KEY_ANY | cpu->mode | (cpu->flat ? KEY_FLAT : 0) | (uint32_t)cpu->rights << KEY_RIGHTS_SHIFT |
           (cpu->mode != CPU_MODE_64 && s->seg[SEG_SS].attributes & SEG_DB ? KEY_STACK_32 : 0) | (cpu->long_mode ? KEY_LONG_MODE : 0) |
           (vectors ? KEY_VECTORS : 0) | (avx ? KEY_AVX : 0) | (avx512 ? KEY_AVX512 : 0) | (s->cpl == 1 || s->cpl == 2 ? KEY_INNER : 0);
}

static inline unsigned engine_key_rights(uint32_t key) { return key >> KEY_RIGHTS_SHIFT & 3; }
static inline enum cpu_mode engine_key_mode(uint32_t key) { return (enum cpu_mode)(key & 3); }
/* Whether the translator (E1) has anything to do with such code: 64-bit code without alignment checks, and 32-bit user code whose segments are flat. */
static inline bool engine_key_translates(uint32_t key)
{
    unsigned rights = engine_key_rights(key);
    if (engine_key_mode(key) == CPU_MODE_64)
        return rights != TLB_USER_ALIGNED;
    return engine_key_mode(key) == CPU_MODE_32 && rights == TLB_USER && key & KEY_FLAT && key & KEY_STACK_32;
}
/* Its set of the fast TLB. That of 32-bit code has no pages above 4 GiB. */
static inline unsigned engine_key_set(uint32_t key) { return engine_key_mode(key) == CPU_MODE_64 ? engine_key_rights(key) : FAST_TLB_USER_32; }
static inline bool engine_key_vectors(uint32_t key) { return key & KEY_VECTORS; }
static inline bool engine_key_avx(uint32_t key) { return key & KEY_AVX; }
static inline bool engine_key_avx512(uint32_t key) { return key & KEY_AVX512; }

/* Translations were dropped: all, or all that are not global; or those of the page at `linear`. Moves fetch_generation as far as code was fetched by them. */
#define FETCH_LOCAL UINT32_C(0xffff)
/* What translated code compares instead of fetch_tag when it was found by a global translation. */
static inline void engine_kernel_tag_update(struct cpu *cpu)
{
    cpu->translate.kernel_tag = cpu->fetch_tag | FETCH_LOCAL | BIT(63);
}
void engine_fetch_changed(struct cpu *, bool global_too);
void engine_fetch_page_changed(struct cpu *, uint64_t linear);
/* An address space comes back, of which nothing was dropped since its fetch_generation was `generation`: that holds again, unless what is global changed meanwhile. */
void engine_fetch_resume(struct cpu *, uint32_t generation);

/* The thread that raises CPU_REQ_TIMER (alarm.c). A VM with APICs makes it before its vCPUs, when vm->now and cpu_count are set, and frees it after them. */
int  cpu_alarms_new(struct cpu_vm *, struct err *);
void cpu_alarms_free(struct cpu_vm *);
/* The APIC timer's deadline became `ns` (of cpu->vm->now; UINT64_MAX: none): what apic_bus_config.deadline calls. Owner's thread. CPU_REQ_TIMER comes then. */
void cpu_timer_set(struct cpu *, uint64_t ns);
/* The vCPU goes away. */
void cpu_timer_forget(struct cpu *);

/* Whether this host orders memory accesses as x86 does. If not, a VM may have one software CPU only. */
bool cpu_host_orders_memory(void);

/* ---- device accesses: exits with an answer ------------------------------------------------------------------------------------------------------ */

/* One access of the running instruction to something outside (HY_EXIT_IO: address is the port; HY_EXIT_MMIO: the guest-physical address;
 * HY_EXIT_MSR: the MSR number; HY_EXIT_CPUID: leaf | subleaf << 32; HY_EXIT_CALL and others: anything that tells accesses of one instruction apart).
 * When the instruction runs for the first time, fills cpu->exit - reason, write, u.io / u.mmio / u.msr / u.cpuid; `prepared`, when not NULL,
 * is copied to cpu->exit first for what these do not cover - and leaves. When it runs again after the answer, returns the record: data[] holds what was read
 * (IO, MMIO: width bytes; MSR: value, then deny as the u32 at data[8]; CPUID: eax, ebx, ecx, edx; others: see prepared->u). width <= 16.
 * `data`: the bytes of a write. #GP when one instruction makes more than CPU_REPLAY_MAX accesses. */
const struct cpu_replay *cpu_exit_access(struct cpu *, unsigned reason, uint64_t address, unsigned width, bool write, const void *data,
                                         const hy_exit *prepared);

/* Starts the running instruction over. Nothing may have been changed yet. */
_Noreturn void cpu_restart(struct cpu *);

/* A repeated string instruction finished one element, with its registers written back: forgets the answers used up so far. */
void cpu_exit_commit(struct cpu *);

/* ---- exclusive sections ---------------------------------------------------------------------------------------------------------------------------- */

/* Between these no other vCPU of the VM executes guest code: for locked accesses that cross a page or touch MMIO, and for map changes. The caller is a vCPU
 * (its own struct cpu) or, with NULL, any other thread. No faults or exits in between. A vCPU that waits here counts as stopped for the others; afterwards it looks
 * for CPU_REQ_TLB before it touches guest memory. It may come again before it resumes (a comparison of the engines, at a locked access). */
void cpu_vm_stop(struct cpu_vm *, struct cpu *caller_or_null);
void cpu_vm_resume(struct cpu_vm *, struct cpu *caller_or_null);

#endif
