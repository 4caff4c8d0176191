/* SPDX-License-Identifier: MIT */
/* cpu.h - the software x86-64 CPU: state of one virtual CPU, and the contracts between the files of this folder.
 *
 * What the guest sees: one logical processor of the SDM's whole system architecture: real, protected, v8086, compatibility and long mode.
 * What is trusted: nothing of the guest. Guest-physical memory is reached through memory/ only; host pointers come from the TLB, which mem_find()
 * fills, so that map protections and every page-access layer hold for each access path.
 *
 * Engine E0 (engine.c, block.c, exec_*.c): instructions are decoded once into a block of micro-operations, keyed by the host page of the code and the
 * mode, and run by chained handlers. Flags are lazy. A fault or an exit leaves a handler by longjmp to cpu_run(), with the state at the start of
 * the instruction (the rule of every handler: first every access that can fault, then change state).
 *
 * Exits and restart: an instruction that needs an answer from outside (port, MMIO, MSR, CPUID, ...) fills cpu->exit and leaves by cpu_leave(). After the answer
 * it runs again from its start; the replay log then gives the answered accesses their values, so each device access happens once and in order. The log
 * is cleared when the instruction completes. REP strings commit per element.
 *
 * Threads: everything on a cpu belongs to the thread that runs it, except: cpu_request() and what it builds on (cpu_kick, interrupts, invalidations).
 * Nobody blocks on a vCPU from another vCPU's thread, apart from mem_listener.changed(), which waits until a running CPU has seen the request; a CPU
 * that waits there answers requests itself.
 *
 * Spec: Intel SDM volumes 1 to 3 where Intel and AMD differ, except that SYSCALL/SYSRET and SYSENTER work as on Intel, and VMMCALL is known as well as VMCALL.
 */
#ifndef CPU_CPU_H
#define CPU_CPU_H

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hy.h>

#include "base/bits.h"
#include "base/error.h"
#include "base/fields.h"
#include "cpu/insn.h"
#include "cpu/translate/code_memory.h"
#include "cpu/translate/state.h"
#include "cpu/values.h"
#include "memory/memory.h"

struct cpu_soak; /* cpu/soak.h */
struct apic;  /* apic/apic.h  */
struct block; /* cpu/block.h  */
struct uop;   /* cpu/block.h  */
struct cpu;
struct cpu_vm;

/* ---- architectural constants ---------------------------------------------------------------------------------------------------------------- */

enum { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8 /* .. REG_R8 + 7 */ };
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEG_COUNT };

enum { /* SDM 3.4.3 */
    FLAG_CF = 1 << 0, FLAG_PF = 1 << 2, FLAG_AF = 1 << 4, FLAG_ZF = 1 << 6, FLAG_SF = 1 << 7, FLAG_TF = 1 << 8, FLAG_IF = 1 << 9, FLAG_DF = 1 << 10,
    FLAG_OF = 1 << 11, FLAG_IOPL = 3 << 12, FLAG_NT = 1 << 14, FLAG_RF = 1 << 16, FLAG_VM = 1 << 17, FLAG_AC = 1 << 18, FLAG_VIF = 1 << 19,
    FLAG_VIP = 1 << 20, FLAG_ID = 1 << 21,
    FLAGS_ARITH = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF,
};

enum { /* vectors, SDM 6.15 */
    EXC_DE, EXC_DB, EXC_NMI, EXC_BP, EXC_OF, EXC_BR, EXC_UD, EXC_NM, EXC_DF, EXC_TS = 10, EXC_NP, EXC_SS, EXC_GP, EXC_PF, EXC_MF = 16, EXC_AC, EXC_MC,
    EXC_XM,
};

enum { /* SDM 2.5 */
    CR0_PE = 1 << 0, CR0_MP = 1 << 1, CR0_EM = 1 << 2, CR0_TS = 1 << 3, CR0_ET = 1 << 4, CR0_NE = 1 << 5, CR0_WP = 1 << 16, CR0_AM = 1 << 18,
    CR0_NW = 1 << 29, CR0_CD = 1 << 30,
};
#define CR0_PG BIT(31)
enum {
    CR4_VME = 1 << 0, CR4_PVI = 1 << 1, CR4_TSD = 1 << 2, CR4_DE = 1 << 3, CR4_PSE = 1 << 4, CR4_PAE = 1 << 5, CR4_MCE = 1 << 6, CR4_PGE = 1 << 7, CR4_PCE = 1 << 8,
    CR4_OSFXSR = 1 << 9, CR4_OSXMMEXCPT = 1 << 10, CR4_UMIP = 1 << 11, CR4_LA57 = 1 << 12, CR4_FSGSBASE = 1 << 16, CR4_PCIDE = 1 << 17, CR4_OSXSAVE = 1 << 18,
    CR4_SMEP = 1 << 20, CR4_SMAP = 1 << 21, CR4_PKE = 1 << 22, CR4_PKS = 1 << 24,
};
enum { EFER_SCE = 1 << 0, EFER_LME = 1 << 8, EFER_LMA = 1 << 10, EFER_NXE = 1 << 11 };
enum {
    XCR0_X87 = 1 << 0, XCR0_SSE = 1 << 1, XCR0_AVX = 1 << 2, XCR0_OPMASK = 1 << 5, XCR0_ZMM_HIGH = 1 << 6, XCR0_ZMM16 = 1 << 7, XCR0_PKRU = 1 << 9,
    XCR0_ZMM = XCR0_OPMASK | XCR0_ZMM_HIGH | XCR0_ZMM16, XCR0_AVX512 = XCR0_SSE | XCR0_AVX | XCR0_ZMM,
};
/* Which of these must come together (SDM vol. 1, 13.3). */
static inline bool xcr0_is_consistent(uint64_t value)
{
    return value & XCR0_X87 && !(value & XCR0_AVX && !(value & XCR0_SSE)) && (!(value & XCR0_ZMM) || (value & XCR0_AVX512) == XCR0_AVX512);
}

/* Segment attributes, as Hyper-V, WHP and hy_val lay them out: the descriptor's bits 40..47 and 52..55 at 0..7 and 12..15. */
enum {
    SEG_TYPE = 0xf, SEG_ACCESSED = 1, SEG_WRITABLE = 2 /* data */, SEG_READABLE = 2 /* code */, SEG_EXPAND_DOWN = 4 /* data */, SEG_CONFORMING = 4 /* code */,
    SEG_CODE = 8, SEG_S = 1 << 4, SEG_DPL_SHIFT = 5, SEG_P = 1 << 7, SEG_AVL = 1 << 12, SEG_L = 1 << 13, SEG_DB = 1 << 14, SEG_G = 1 << 15,
};

struct cpu_segment {
    uint64_t base;
    uint32_t limit;      /* in bytes, G already applied */
    uint16_t selector;
    uint16_t attributes; /* 0 with P clear: null or unusable */
};

/* ---- architectural state: what cpu_fields[] saves -------------------------------------------------------------------------------------------- */

struct cpu_state {
    uint64_t gpr[16];
    uint64_t rip;                /* while a block runs: of the block's first instruction. cpu_run() leaves it exact */
    uint64_t zero;               /* always 0: "no base", "no index", "no segment base" of decoded blocks, which index from gpr[0] on */
    uint64_t rflags;             /* all but FLAGS_ARITH while those are lazy: use cpu_flags_get/_set   */
    struct cpu_segment seg[SEG_COUNT];
    struct cpu_segment gdtr, idtr; /* base and limit only */
    uint64_t cr0, cr2, cr3, cr4, cr8 /* only without an apic */, xcr0, xss;
    uint64_t pdpte[4];           /* the PDPTE registers of PAE paging, SDM 4.4.1 */
    uint64_t dr[8];
    uint64_t efer, star, lstar, cstar, sfmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t pat, tsc_offset /* guest TSC = host ticks + offset */, tsc_adjust, tsc_aux, spec_ctrl, misc_enable, debugctl;
    uint64_t mtrr_def_type, mtrr_base[8], mtrr_mask[8], mtrr_fixed[11];
    uint32_t pkru, pkrs;
    union vec vec[16];           /* YMM: XMM in the low half */
    uint64_t k[8];               /* AVX-512: opmask registers, the upper halves of ZMM0 to ZMM15, and ZMM16 to ZMM31: as the components of XSAVE */
    uint64_t zmm_high[16][4], zmm16[16][8];
    uint32_t mxcsr;
    struct cpu_x87 x87;
    uint8_t  cpl;
    uint8_t  interrupt_shadow;   /* 1: STI or MOV SS / POP SS in the last instruction (2: MOV SS, which also holds back #DB); NMIs wait too */
    uint8_t  nmi_blocked;        /* until IRET */
    uint8_t  nmi_pending;
    uint8_t  halted;             /* HLT or MWAIT; for HY_MISC: waiting for SIPI is 2 */
    uint8_t  monitor_armed;
    uint8_t  event_kind, event_vector, event_has_error, event_pending; /* hy_inject, not yet delivered */
    uint32_t event_error;
    uint64_t event_address;
    uint64_t pending_db;         /* DR6 bits of a #DB that waits for the instruction boundary */
};

/* ---- software TLB ------------------------------------------------------------------------------------------------------------------------------ */

/* Tag: the linear page number << 12, or TLB_NO_TAG. A tag matches only an access that fits in the page, so compare (linear & ~0xfff) of the first byte
 * and let a page-crossing access take the slow path. */
#define TLB_NO_TAG  1
#define TLB_SPACES  8    /* address spaces of which something is kept while others run: kernels use few PCIDs (Linux six) */
#define TLB_ENTRIES 1024 /* a power of two; index by cpu_tlb_entry() (mmu.h), which folds high bits so that power-of-two strides do not thrash */

struct tlb_entry {
    uint64_t read_tag, write_tag, exec_tag;
    uintptr_t addend;         /* host pointer = linear + addend                        */
    _Atomic uint8_t *flags;   /* the page's flag byte (memory.h): after a store, non-zero means cpu_store_noticed() */
    struct mem_block *block;  /* and where the page lies in it, for slow paths         */
    uint64_t offset;
    uint64_t info;            /* mmu.c's own: global, page size, gpa page ...          */
};

/* One TLB for each set of rights, so that a privilege change selects instead of flushing. */
enum tlb_rights {
    TLB_SUPERVISOR,
    TLB_SUPERVISOR_SMAP, /* user pages denied: CR4.SMAP and EFLAGS.AC = 0 */
    TLB_USER,
    TLB_USER_ALIGNED,    /* CPL 3 with alignment checks on (CR0.AM, EFLAGS.AC): always empty, so that every access takes the slow path and its check */
    TLB_RIGHTS_COUNT
};

/* ---- lazy flags ---------------------------------------------------------------------------------------------------------------------------------- */

/* The arithmetic flags are a function of {cc_op, cc_result, cc_src1}: flags.h says which. Everybody outside the engine uses cpu_flags_*(). */

/* ---- one vCPU ------------------------------------------------------------------------------------------------------------------------------------ */

/* Requests: bits of cpu->requests, set by any thread, seen at the next block boundary (within one block: there is no unbounded block). */
enum {
    CPU_REQ_KICK       = 1 << 0, /* leave with HY_EXIT_KICK                                            */
    CPU_REQ_INTERRUPT  = 1 << 1, /* the APIC may have an interrupt, NMI, INIT, SIPI for us; look       */
    CPU_REQ_CODE       = 1 << 2, /* queued invalidations of decoded code                               */
    CPU_REQ_TLB        = 1 << 3, /* the memory map changed: drop the TLB (and fetch pages)             */
    CPU_REQ_WINDOW     = 1 << 4, /* hy_window asked, or an injected event waits                        */
    CPU_REQ_STEP       = 1 << 5, /* EFLAGS.TF, a pending #DB, or a host single-step: run one instruction at a time */
    CPU_REQ_TIMER      = 1 << 6, /* the APIC timer's deadline may have come                            */
    CPU_REQ_STOP       = 1 << 7, /* engine's own: somebody waits in cpu_vm_stop()                      */
    CPU_REQ_ONE        = 1 << 8, /* engine's own: leave the block chain after one instruction           */
};

#define CPU_REPLAY_MAX 64 /* device accesses of one instruction: FXRSTOR/XRSTOR on MMIO is refused beyond it (#GP), nothing architectural needs more */

struct cpu_replay { uint64_t address; uint8_t width, kind /* HY_EXIT_* */, write, answered; uint8_t data[16]; };

/* Everything below `state` is derived, or of the host; a load of saved state rebuilds it with cpu_state_changed(). */
struct cpu {
    struct cpu_state state;

    /* engine.c: lazy flags */
    uint64_t cc_result, cc_src1;
    uint32_t cc_op;

    /* Counts whatever may change an instruction fetch's translation or right: mmu.c calls engine_fetch_changed() in every cpu_tlb_flush_*() (an eviction does
     * not count). Chains of blocks across pages hold only while it stands still; those to global pages while the bits above FETCH_LOCAL do. */
    union {
        struct {
            uint32_t fetch_generation;
            uint32_t block_key; /* everything a decoded block depends on besides its bytes: engine_block_key() (engine.h) */
        };
        uint64_t fetch_tag;     /* both at once */
    };
    struct jump_entry *jump_cache; /* engine.c: where blocks at recently met addresses are, for this fetch_tag */
    uint64_t instructions;      /* completed by the interpreter since cpu_new() */

    /* mode, derived from state by cpu_state_changed() */
    uint8_t  mode;              /* enum cpu_mode of the code segment: CPU_MODE_16, _32, _64                             */
    uint8_t  long_mode;         /* EFER.LMA                                                                           */
    uint8_t  rights;            /* enum tlb_rights for data accesses at the present CPL and AC                          */
    uint8_t  flat;              /* DS, ES, SS and CS have base 0, limit 4 GiB (or 64-bit mode): no segment checks needed */
    struct tlb_entry *tlb;      /* = tlbs[rights]                                                                       */
    uint64_t fetch_base;        /* CS base of legacy modes at the last cpu_state_changed(): another one moves fetch_generation */

    _Atomic uint32_t requests;
    _Atomic uint32_t in_guest;  /* may execute guest code or touch guest memory now; see cpu_vm_stop() (engine.h)        */

    /* the running instruction */
    uint64_t next_rip;          /* address after it; exec_* functions change it to transfer control                      */
    const struct uop *uop;      /* set by handlers that can fault, so that the engine finds RIP after a longjmp; NULL: state.rip is exact */
    jmp_buf  leave;             /* cpu_raise() and cpu_leave() land in cpu_run(), which calls cpu_deliver() for a fault */

    /* The fault on its way to cpu_deliver(), and what cpu_deliver() is delivering now (1 + vector, 0: nothing). A fault raised while that is set comes
     * to cpu_deliver() again, which makes it #DF or a triple fault (SDM 6.15 table 6-5). The engine writes CR2 from fault_address before #PF. */
    uint8_t  fault_vector, fault_has_error, delivering;
    uint32_t fault_error;
    uint64_t fault_address;
    uint8_t  step_armed;        /* debug.c: TF was set when the running instruction began */

    /* exits */
    hy_exit  exit;
    uint8_t  exit_data[64];     /* what exit.u.io.data and exit.u.mmio.data point at                                    */
    struct cpu_replay replay[CPU_REPLAY_MAX];
    uint32_t replay_count, replay_at;

    struct mem_listener map_listener; /* mmu.c: changed() of this vCPU; code_written() is engine.c's, on a listener of its own */
    _Atomic uint64_t map_changes, map_changes_seen; /* mmu.c: see cpu_mmu_sync() */

    struct tlb_entry tlbs[TLB_RIGHTS_COUNT][TLB_ENTRIES];
    struct translate_state translate;

    /* surroundings */
    struct cpu_vm *vm;
    uint32_t index;             /* and initial APIC id */
    uint32_t turn_left;         /* cpu_turn_take(): 0: it has no turn */
    uint32_t stops;             /* exclusive.c: how many times it has stopped the others and not yet let them go */
    struct apic *apic;          /* NULL with HY_IRQ_NONE */
    struct cpu_mmu *mmu;        /* mmu.c: paging-structure state, large-page list, PDPTE registers                      */
    struct cpu_engine *engine;  /* engine.c: block cache, statistics                                                    */
    struct translator *translator; /* translate/: NULL: everything is interpreted                                       */
    const char *no_translator;  /* why there is none, in a few words                                                    */
    struct host_runner *host_runner;      /* translate/host_run.h: runs AVX-512; NULL: there is none                                */
    struct cpu_sleep *sleep;    /* wait and wake, used by HLT                                                           */
    const struct cpu_cpuid *cpuid; /* what CPUID answers here, and the features that it implies (cpuid.h)               */
    uint64_t features[4];       /* bit sets by enum insn_feature: instructions outside raise #UD                        */
    uint32_t window;            /* hy_window mask */
    uint32_t interrupt_waits;   /* not 0: the APIC has one, but IF or a shadow holds it back */
    uint8_t  trap_cpuid, trap_step;
    uint64_t trap_exceptions;   /* bit per vector: leave with HY_EXIT_EXCEPTION instead of delivering */
};

/* What the vCPUs of one VM share. Made by hy/backends/soft.c (and by tests). */
struct cpu_vm {
    struct mem_map *map;
    uint32_t view;              /* mem_find()'s view */
    uint32_t cpu_count;
    struct cpu *cpus[256];      /* slots filled by cpu_new(), NULL when freed; a seqlock is not needed: freed only when nobody runs */
    uint64_t tsc_hz;
    uint64_t (*ticks)(void *opaque); /* host ticks at tsc_hz; frozen while the VM's clock is */
    void *ticks_opaque;
    uint64_t (*now)(void *opaque);   /* ns of the VM's clock, as apic_bus_config.now; may be NULL without an apic bus. opaque: ticks_opaque */
    struct apic_bus *apic_bus;  /* NULL with HY_IRQ_NONE */
    struct cpu_alarms *alarms;  /* cpu_alarms_new(); NULL: no APIC timers                                                */
    _Atomic uint32_t stopping;  /* engine's own: cpu_vm_stop(); zero at first                                           */
    _Atomic uint32_t entering;  /* exclusive.c: vCPUs that wait to go in                                                */
    _Atomic uint32_t turn_next, turn_now; /* exclusive.c: whose turn is next, cpu_turn_take()                             */
    atomic_flag arming;         /* translate_arm_page(): one vCPU at a time; clear at first                             */
    bool interpret;             /* no translator, whatever the host can do                                               */
    int code_map;               /* descriptor of the file that names translations for perf; 0: none                         */
    bool verify;                /* have translated code proved before it runs: verify.c                                    */
    const struct cpu_soak *soak; /* soak.h; NULL: nothing happens at random                                                 */
    bool lockstep;              /* compare what translated code does with what the interpreter does: lockstep.c */
    bool count_tlb;             /* have translated code count what it finds in the fast TLB: an instruction for each look-up    */
    uint8_t hot;                /* runs of a block before it is translated; 0: BLOCK_HOT                                  */
    struct code_memory host_runner[256]; /* of translate/host_run.c, likewise */
    struct code_memory code[256]; /* of translators, by vCPU: outlives them, since a vCPU may be made anew where a sandbox allows no executable memory any more */
    const struct cpu_traps *traps; /* MSR ranges and CPUID that leave with an exit (hy_trap); traps.h                    */
};

/* ---- life (cpu.c) ----------------------------------------------------------------------------------------------------------------------------- */

/* Makes vCPU `index` in its RESET state (SDM 9.1; index 0 is the BSP and runs, others wait for SIPI when there is an APIC). */
int  cpu_new(struct cpu_vm *, uint32_t index, struct cpu **out, struct err *);
void cpu_free(struct cpu *);
void cpu_vm_release(struct cpu_vm *); /* what is left of the VM's vCPUs, when all are freed */
void cpu_reset(struct cpu *, bool init /* INIT keeps x87, SSE, MTRR, TSC ... */);
extern const struct field cpu_fields[]; /* of struct cpu_state; flush lazy flags with cpu_state_flush() first */
void cpu_state_flush(struct cpu *);     /* makes state.rflags complete */
/* State was written from outside or by a mode change: rebuilds mode, rights, block_key, flat, tlb pointer, request bits. Cheap; does not flush the TLB. */
void cpu_state_changed(struct cpu *);
/* Checks a loaded state for what the engine cannot bear (reserved bits, impossible combinations): ERR_INPUT. */
int  cpu_state_check(const struct cpu *, struct err *);

/* ---- running (engine.c) ------------------------------------------------------------------------------------------------------------------------- */

/* Runs until there is an exit; answers in cpu->exit are consumed first. Returns &cpu->exit. Owner's thread only. */
hy_exit *cpu_run(struct cpu *);
/* Consumes the answer without running on: completes the instruction if it needs nothing more. May yield one more exit. */
hy_exit *cpu_finish(struct cpu *);
/* Any thread, async-signal-safe: sets request bits and wakes a halted CPU. */
void cpu_request(struct cpu *, uint32_t bits);

/* ---- leaving an instruction ------------------------------------------------------------------------------------------------------------------------ */

_Noreturn void cpu_raise(struct cpu *, unsigned vector);                       /* a fault without error code             */
_Noreturn void cpu_raise_error(struct cpu *, unsigned vector, uint32_t error); /* a fault with one                       */
_Noreturn void cpu_raise_page_fault(struct cpu *, uint64_t linear, uint32_t error);
_Noreturn void cpu_leave(struct cpu *);  /* cpu->exit is filled; the instruction restarts after the answer */
/* An address that is not canonical: #SS(0) when the running access was relative to the stack, else #GP(0) (engine.c, which knows the micro-operation). */
_Noreturn void cpu_raise_noncanonical(struct cpu *, uint64_t linear);

/* ---- flags (flags.h / engine) ----------------------------------------------------------------------------------------------------------------------- */

uint64_t cpu_flags_get(struct cpu *);                 /* full RFLAGS */
void     cpu_flags_set(struct cpu *, uint64_t flags); /* full RFLAGS; caller has masked what may change; does cpu_state_changed() work for TF, IF, AC, VM */
void     cpu_flags_set_arith(struct cpu *, uint32_t arith); /* the six only */

/* ---- memory (mmu.h has the inline fast paths; mmu.c the walk) -------------------------------------------------------------------------------------
 * `linear` is a linear address after segmentation. Page faults, alignment (#AC), MMIO and refusals leave by longjmp; nothing is half done.
 *     uint8_t  cpu_load8 (struct cpu *, uint64_t linear) ... 16, 32, 64      data reads with the rights of the present CPL
 *     void     cpu_store8(struct cpu *, uint64_t linear, uint8_t) ... 64     single-copy atomic when naturally aligned
 *     void     cpu_load_bytes(struct cpu *, uint64_t linear, void *out, size_t len)           any length <= 4096
 *     void     cpu_store_bytes(struct cpu *, uint64_t linear, const void *data, size_t len)   all or nothing
 *     uint64_t cpu_load_system64(...), cpu_store_system..(...)   implicit supervisor accesses: GDT, LDT, IDT, TSS
 *     void     cpu_probe_write(struct cpu *, uint64_t linear, size_t len)     faults as a write would, changes nothing
 *     void    *cpu_rmw_begin(struct cpu *, uint64_t linear, size_t len)       host pointer for one atomic read-modify-write inside a page (write rights checked),
 *                                                                             NULL when it is MMIO or crosses a page: then use the locked slow path
 *     void     cpu_rmw_end(struct cpu *, uint64_t linear, size_t len)         after the write: page flags
 *     const struct tlb_entry *cpu_fetch_page(struct cpu *, uint64_t linear)  execute rights: an entry whose exec_tag matches, or #PF, or HY_EXIT_FAULT
 *     uint64_t cpu_linear(struct cpu *, unsigned seg, uint64_t offset, size_t len, uint32_t access)  segmentation: limit, type, canonical checks; #GP or #SS
 */
void cpu_tlb_flush_all(struct cpu *);
void cpu_tlb_flush_page(struct cpu *, uint64_t linear);
void cpu_tlb_flush_nonglobal(struct cpu *); /* of every address space */
void cpu_tlb_flush_space(struct cpu *);     /* what is not global, of the present address space */
/* spaces.c: with CR4.PCIDE, CR3 became `to` after `from` (both without bit 63); `keep`: bit 63 was set. And INVPCID of a PCID, which may be the present one. */
void cpu_tlb_switch(struct cpu *, uint64_t from, uint64_t to, bool keep);
void cpu_tlb_flush_pcid(struct cpu *, unsigned pcid);
void cpu_tlb_flush_keys(struct cpu *, uint32_t changed, bool user); /* bits of PKRU (user) or PKRS that changed */
/* Write PKRU and PKRS, and drop the translations that depended on what changed. */
void cpu_set_pkru(struct cpu *, uint32_t value);
void cpu_set_pkrs(struct cpu *, uint32_t value);

/* The map of the VM may change while CPUs run: mem_listener.changed() raises CPU_REQ_TLB and waits until the CPU has called cpu_mmu_sync() or is out of the
 * guest (in_guest = 0). So the engine calls cpu_mmu_sync() when it sees CPU_REQ_TLB: at block boundaries, and whenever it set in_guest again (sequentially
 * consistent, then looks at requests), before it touches guest memory. changed() is never called by a thread that is in the guest, so nobody waits for himself. */
void cpu_mmu_sync(struct cpu *);

/* ---- control transfer and system instructions ------------------------------------------------------------------------------------------------------- */

/* Executes one decoded instruction of the classes that are not worth a handler of their own. cpu->state.rip is its address, cpu->next_rip the next one;
 * they may change next_rip, mode and everything else. */
void exec_system(struct cpu *, const struct insn *);  /* system.c ...: far transfers, segment loads, CRs, DRs, MSRs, tables, CPUID, IN/OUT, HLT ... */
void exec_vector(struct cpu *, const struct insn *);  /* exec_vector.c: MMX, SSE, AVX                                                              */
void exec_evex(struct cpu *, const struct insn *);    /* exec_evex.c: AVX-512                                                                      */
void exec_x87(struct cpu *, const struct insn *);     /* exec_x87.c                                                                                */
void exec_xsave(struct cpu *, const struct insn *);   /* exec_xsave.c: FXSAVE, XSAVE families                                                      */
/* Executes any integer instruction, one at a time, with no block: the fallback of engine.c and the MMIO emulator of other backends. */
void exec_integer(struct cpu *, const struct insn *);

/* debug.c, for the engine's one-instruction-at-a-time mode (CPU_REQ_STEP; cpu_state_changed() raises it while TF, RF or an enabled breakpoint asks for it):
 * before each instruction (may raise the fault #DB of an instruction breakpoint), and after each that completed, with state.rip moved on (delivers a
 * #DB trap; true when it did). */
void cpu_debug_before(struct cpu *);
bool cpu_debug_after(struct cpu *);
bool cpu_debug_wants_steps(const struct cpu *);

/* Delivers an exception, software interrupt or external interrupt through the IDT/IVT (exception.c): faults while delivering become #DF and triple
 * fault (HY_EXIT_CRASH, by cpu_leave()). Returns with state.rip and next_rip at the handler. The return address pushed is cpu->next_rip for the two software
 * sources, else state.rip. A fault on the way comes back to it through cpu_raise() and the engine, by cpu->delivering. The engine looks at trap_exceptions. */
enum cpu_event_source { EVENT_EXCEPTION, EVENT_INTERRUPT, EVENT_SOFTWARE, EVENT_PRIVILEGED_SOFTWARE /* INT1 */ };
void cpu_deliver(struct cpu *, enum cpu_event_source, unsigned vector, bool has_error, uint32_t error);

/* Registers by their hy_reg names (regs.c): HY_OK, HY_E_NOTSUP for a name that this CPU does not have, HY_E_INVAL for a value it cannot hold. */
hy_err cpu_get_register(struct cpu *, hy_reg, hy_val *out);
hy_err cpu_set_register(struct cpu *, hy_reg, const hy_val *);
/* RDMSR and WRMSR below the traps (msr.c): true, or false for #GP. */
bool cpu_msr_read(struct cpu *, uint32_t msr, uint64_t *out);
bool cpu_msr_write(struct cpu *, uint32_t msr, uint64_t value);
uint64_t cpu_tsc(struct cpu *);

#endif
