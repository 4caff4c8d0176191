/* SPDX-License-Identifier: MIT */
/* hy.h - one small interface to every machine that can run a guest CPU.
 *
 * What it is. libhy opens a backend (the host kernel's hypervisor, or `soft`, a CPU in software that needs nothing), makes VMs of guest memory and
 * virtual CPUs, runs them, and hands back what only a machine above can answer: port and memory-mapped I/O, interrupts, model-specific registers.
 * There are no devices, no boot protocol and no callbacks in it, and it never prints, aborts or reads a configuration file.
 *
 * Phases of a VM. Configure (hy_vm_new, hy_trap, hy_cpuid); the first hy_cpu_new seals that, because some hosts fix it there; run. Memory may be
 * mapped, unmapped and protected in every phase.
 *
 * One exit. hy_run() enters the guest and returns an exit. Whoever handles it writes the answer into the exit (reads: into *data, value, eax ...) and
 * calls hy_run() again, which delivers the answer and goes on. Between an exit and its answer the program counter is not defined (KVM, for one, has
 * advanced it or not, by vendor module); who needs it calls hy_finish(), which delivers the answer without entering.
 *
 * Threads.
 *  1. hy, hy_vm and hy_mem may be used from any thread. Calls that change the memory map or make or free CPUs take one lock of the VM.
 *  2. A hy_cpu belongs to the thread that called hy_cpu_new; a call on it from another thread is HY_E_THREAD. Only hy_kick is for everybody.
 *  3. With HY_CAN_ROAM the owner changes by calling any hy_cpu function from the new thread while no call on that CPU is in flight; during one it is
 *     HY_E_THREAD.
 *  4. hy_kick works from any thread and from a signal handler, and is sticky: the current or the next hy_run returns HY_EXIT_KICK, once.
 *  5. The memory map may change while CPUs run; when a call returns, no CPU uses what was there before.
 *  6. hy_line, hy_msi and bells never wait for a running CPU.
 *  7. A call that fails has changed nothing, unless its description says otherwise.
 *
 * Errors. Functions return HY_OK or a negative hy_err; hy_why() has the details of the calling thread's last failure. Pointers given back are written
 * only on HY_OK. Passing NULL where an object is required is HY_E_INVAL (functions that free accept it).
 *
 * Structures with a `size` first member: the caller sets it to sizeof; either side may be newer, and members beyond it read as 0.
 *
 * References: Intel SDM volumes 2 and 3, AMD APM volume 2, Linux Documentation/virt/kvm/api.rst, Microsoft's WHP reference.
 */
#ifndef HY_H
#define HY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hy     hy;     /* an opened backend                                   */
typedef struct hy_vm  hy_vm;  /* a guest: address space, CPUs, interrupt controller  */
typedef struct hy_mem hy_mem; /* a block of host memory that can be shown to a guest */
typedef struct hy_cpu hy_cpu; /* a virtual CPU, owned by the thread that made it     */

/* ---- errors ------------------------------------------------------------------------------------------------------------------------------ */

typedef enum hy_err {
    HY_OK       =   0,
    HY_E_ABSENT =  -1, /* no such device node, DLL, framework or CPU feature       */
    HY_E_DENIED =  -2, /* permission, entitlement, jail, sandbox                   */
    HY_E_NOTSUP =  -3, /* this backend can never do that (see hy_caps)             */
    HY_E_INVAL  =  -4, /* an argument that makes no sense                          */
    HY_E_RANGE  =  -5, /* alignment, overlap, or beyond a limit in hy_caps         */
    HY_E_BUSY   =  -6, /* e.g. the one VM that a process may have already exists   */
    HY_E_NOMEM  =  -7,
    HY_E_THREAD =  -8, /* hy_cpu used from a thread that does not own it           */
    HY_E_STATE  =  -9, /* right call, wrong moment                                 */
    HY_E_GUEST  = -10, /* guest state the host refuses to enter                    */
    HY_E_HOST   = -11  /* anything else that the host said: look at hy_why         */
} hy_err;

/* The calling thread's last failure. */
struct hy_why {
    hy_err      err;
    int64_t     native;  /* errno, HRESULT, hv_return_t or hypercall status; 0 when the library itself refused */
    const char *backend; /* "kvm"; "" when it was the core. Static storage.                                    */
    const char *call;    /* "KVM_CREATE_VM", "hy_map". Static storage.                                         */
    const char *reason;  /* half a line for a person, or "". Static storage.                                   */
};

/* Copies the details of this thread's last call that failed; before any failure, err is HY_OK and the strings are "". */
void hy_why(struct hy_why *out);

/* The name of an error: "HY_E_RANGE". Static storage, never NULL. */
const char *hy_err_name(hy_err);

/* ---- finding and opening ----------------------------------------------------------------------------------------------------------------- */

/* What the library knows of one built-in backend without opening it. All strings are static, never NULL, without a newline. */
struct hy_probe {
    const char *name;   /* "kvm"                                                                       */
    hy_err      err;    /* HY_OK: it looks usable. Else HY_E_ABSENT, _DENIED, _NOTSUP, _HOST ...       */
    int64_t     native; /* the host's own code                                                         */
    const char *call;   /* the call that said so                                                       */
    const char *reason; /* "/dev/kvm is there, but you may not open it"; "usable" when err is HY_OK    */
    const char *remedy; /* a command that would make it usable: "sudo usermod -aG kvm $USER", or ""    */
};

/* Probes all built-in backends without side effects and writes at most n of them to out, in the order of automatic choice. Returns how many there
 * are. Any thread. */
size_t hy_list(struct hy_probe *out, size_t n);

/* Opens a backend. `want` is a list of names in order of preference, "kvm,soft": the first that opens is taken, and no name is passed over for being
 * slow. NULL means the list in the environment variable HY_BACKEND or, without one, the best usable: a backend whose measured speed says that it is
 * itself built on software (see hy_caps.speed) loses to `soft`. HY_E_ABSENT: no name of the list is known; otherwise the first name's failure. The
 * measurement takes at most about 20 ms. Any thread. */
hy_err hy_open(const char *want, hy **out);

/* Closes it. HY_E_STATE while VMs of it live. NULL: HY_OK. */
hy_err hy_close(hy *);

/* The backend's name, and one line that says why it was chosen ("kvm passed over: runs about 4 million guest instructions a second, so it is built
 * on software"). Owned by the hy. */
const char *hy_name(const hy *);
const char *hy_choice(const hy *);

/* How guest code runs: "hardware"; or by backend soft "translate", or "interpret" where the host does not let it translate. Then *why (NULL: not wanted) says why
 * not, in a few words, else it is "". Known when the backend is opened; what a vCPU made later could not get is told here as well. HY_VM_INTERPRET
 * is the caller's own wish and does not show here. Static storage. Any thread. */
const char *hy_engine(const hy *, const char **why);

/* ---- capabilities: limits as numbers, abilities as bits ---------------------------------------------------------------------------------- */

enum { HY_ARCH_X86_64 = 1, HY_ARCH_ARM64 = 2 };
enum { HY_R = 1, HY_W = 2, HY_X = 4 };

enum { /* hy_caps.can */
    HY_CAN_WRAP     = 1 << 0,  /* hy_mem_wrap: caller's own memory                                  */
    HY_CAN_SPLIT    = 1 << 1,  /* unmap/protect a part of a mapping atomically for running CPUs     */
    HY_CAN_DIRTY    = 1 << 2,  /* hy_log, hy_dirty                                                  */
    HY_CAN_CPUID    = 1 << 3,  /* hy_cpuid                                                          */
    HY_CAN_FPU      = 1 << 4,  /* FP/SIMD registers readable and writable                           */
    HY_CAN_STEP     = 1 << 5,  /* hy_trap with HY_EXIT_STEP: single-step                            */
    HY_CAN_ROAM     = 1 << 6,  /* a hy_cpu may be used by any one thread at a time                  */
    HY_CAN_BELL     = 1 << 7,  /* hy_bell without a trip through the caller                         */
    HY_CAN_CLOCK    = 1 << 8,  /* hy_clock freeze/set                                               */
    HY_CAN_SAVE     = 1 << 9,  /* hy_save/hy_load with HY_S_ALL cover all of a CPU                  */
    HY_CAN_NEST     = 1 << 10, /* guest may run guests                                              */
    HY_CAN_PSCI     = 1 << 11, /* PSCI answered below us (else by the library)                      */
    HY_CAN_JIT      = 1 << 12, /* a software CPU, not hardware                                      */
    HY_CAN_SHARE    = 1 << 13, /* a block of one VM may be mapped into another of the same hy       */
    HY_CAN_PRIVATE  = 1 << 14, /* private (encrypted) memory and isolated launch                    */
    HY_CAN_IRQEVENT = 1 << 15  /* hy_irq_event                                                      */
};

/* Which interrupt controller is below the caller. Chosen at hy_vm_new; what HLT means depends on it. */
enum {
    HY_IRQ_NONE = 1, /* none: HLT/WFI is an exit, interrupts enter by hy_inject                          */
    HY_IRQ_CPU  = 2, /* x86 local APICs, arm64 redistributors; IOAPIC and PIC are the caller's           */
    HY_IRQ_FULL = 4  /* and IOAPIC, 8259 (x86); GIC distributor (arm64)                                  */
};

struct hy_caps {
    uint32_t size;     /* caller: sizeof                                                                 */
    uint32_t arch;     /* mask of HY_ARCH_*: guest architectures                                         */
    uint32_t irq;      /* mask of HY_IRQ_*                                                               */
    uint32_t granule;  /* mapping alignment in bytes: 4096 or 16384                                      */
    uint32_t gpa_bits; /* width of a guest-physical address                                              */
    uint32_t max_vms, max_cpus, max_maps, max_mems; /* UINT32_MAX: limited by memory only                */
    uint32_t prot;     /* bit i set: combination i of HY_R|HY_W|HY_X may be mapped                       */
    uint64_t can;      /* HY_CAN_*                                                                       */
    uint64_t exits;    /* bit per HY_EXIT_*: can happen                                                  */
    uint64_t traps;    /* bit per HY_EXIT_*: can be asked for with hy_trap                               */
    uint64_t tick_hz;  /* the TSC or CNTFRQ that guests see by default, 0 = unknown                      */
    uint64_t speed;    /* guest instructions a second, measured at open on a simple loop; 0 = not measured. Hardware gives 10^9 and more, a
                          hypervisor that emulates ordinary guests a few 10^6.                           */
};

/* Fills at most out->size bytes (out->size set by the caller). Any thread. */
hy_err hy_caps(hy *, struct hy_caps *out);

/* ---- VM ------------------------------------------------------------------------------------------------------------------------------------ */

enum { HY_ISO_NONE, HY_ISO_SNP, HY_ISO_TDX, HY_ISO_VBS };
#define HY_NATIVE_CHECK UINT32_C(0x43484543) /* hy_exit.native: a check of the backend's own failed */
enum { /* hy_vm_cfg.flags */
    HY_VM_NEST = 1 << 0,      /* show the guest VMX or SVM; needs HY_CAN_NEST                                        */
    HY_VM_INTERPRET = 1 << 1, /* backend soft: never translate guest code (the others ignore it)                     */
    HY_VM_TRANSLATE = 1 << 2, /* backend soft: hy_cpu_new fails with HY_E_NOTSUP where it cannot translate, instead of interpreting */
    HY_VM_EAGER = 1 << 3,     /* backend soft: translate code when it first runs, not when it has run often: slow, for tests */
    HY_VM_VERIFY = 1 << 4,    /* backend soft: prove of all translated code, before it runs, that it reaches only what it may; else leave it to the interpreter */
    HY_VM_SOAK = 1 << 5,      /* backend soft, a test of it: drop translations, decoded and translated code at random moments                    */
    HY_VM_LOCKSTEP = 1 << 6,  /* backend soft, a test of it: interpret all that is translated too, and end with HY_EXIT_UNKNOWN, native HY_NATIVE_CHECK,
                                 raw a line of text, at the first difference */
    HY_VM_COUNT_TLB = 1 << 7  /* backend soft: counters "tlb_lookups" of "translator"; each look-up costs an instruction more (the others ignore it) */
};

struct hy_vm_cfg {
    uint32_t size;       /* caller: sizeof                                                            */
    uint32_t irq;        /* one HY_IRQ_*                                                              */
    uint32_t cpus;       /* hy_cpu_new's index stays below; 0 = 1                                     */
    uint32_t gpa_bits;   /* 0 = backend default                                                       */
    uint64_t gicd, gicr; /* arm64 with HY_IRQ_FULL: guest-physical distributor and redistributors     */
    uint32_t flags;      /* HY_VM_*                                                                   */
    uint32_t isolation;  /* HY_ISO_*; other than NONE needs HY_CAN_PRIVATE                            */
    uint64_t tick_hz;    /* guest TSC / counter frequency in Hz; 0 = hy_caps.tick_hz                  */
    int32_t code_map;    /* backend soft on POSIX hosts: an open file descriptor, borrowed, to which it writes a line "ADDRESS SIZE guest RIP MODE" (hexadecimal) for
                            each translation: the format of perf's /tmp/perf-PID.map. 0 = none        */
    uint32_t reserved;   /* 0                                                                         */
};

/* Makes an empty VM. HY_E_NOTSUP: an irq mode, isolation or flag that hy_caps does not offer; HY_E_RANGE: too many CPUs. */
hy_err hy_vm_new(hy *, const struct hy_vm_cfg *, hy_vm **out);

/* Frees it with its map. HY_E_STATE while a hy_cpu of it lives. Blocks stay until their own references are gone. NULL: HY_OK. */
hy_err hy_vm_free(hy_vm *);

/* ---- memory: a block, then views of it ------------------------------------------------------------------------------------------------------ */

/* Allocates `bytes` (a multiple of hy_caps.granule) of zeroed memory. A block has a home VM (on some hosts the kernel owns it for that VM) and lives
 * until hy_mem_free has been called and its last mapping is gone. With HY_CAN_SHARE it may be mapped into other VMs of the same hy too. */
hy_err hy_mem_new(hy_vm *home, size_t bytes, hy_mem **out);

/* The same for the caller's own page-aligned memory, which must outlive the block. Nothing is ever copied. HY_E_NOTSUP without HY_CAN_WRAP. */
hy_err hy_mem_wrap(hy_vm *home, void *host, size_t bytes, hy_mem **out);

/* Where the block lies in this process; NULL when it is private to the guest. Valid until hy_mem_free. */
void *hy_mem_ptr(hy_mem *);

/* Drops the caller's reference; mappings stay and keep the memory. NULL is allowed. */
void hy_mem_free(hy_mem *);

/* Says that [off, off + len) of the block was written other than by a guest CPU (device DMA, io_uring, a loader through hy_mem_ptr). Call it after the
 * stores and before the guest can learn of them: software CPUs drop translated code there, and the dirty log of every VM that maps the block gains the
 * pages (the host's log holds guest writes only). Bytes outside the block are ignored. Any thread. */
void hy_mem_touched(hy_mem *, size_t off, size_t len);

/* Shows [off, off + len) of the block at guest-physical gpa; all three in whole granules. `prot` is one of the combinations in hy_caps.prot; it is
 * never silently widened. HY_E_RANGE: misaligned, beyond gpa_bits or the block, overlapping a mapping, or hy_caps.max_maps reached; HY_E_NOTSUP:
 * protection or foreign block. A block may be shown many times. */
hy_err hy_map(hy_vm *, uint64_t gpa, hy_mem *, size_t off, size_t len, uint32_t prot);

/* Removes whatever is shown in the range, splitting mappings at its edges. Nothing there: HY_OK. */
hy_err hy_unmap(hy_vm *, uint64_t gpa, size_t len);

/* Changes the protection of the range, all of which must be mapped (else HY_E_RANGE). Without HY_CAN_SPLIT a running CPU may see neighbours of the
 * range vanish for a moment; its accesses are then repeated by the library, never reported. */
hy_err hy_protect(hy_vm *, uint64_t gpa, size_t len, uint32_t prot);

/* Starts (on = 1) or stops (on = 0) logging written pages in the range, all of which must be mapped. Starting clears the range's log. Mapping changes
 * inside a logged range end the log there. */
hy_err hy_log(hy_vm *, uint64_t gpa, size_t len, int on);

/* Writes one bit for each 4096-byte page of the logged range, bit 0 of bits[0] first; bits has (len / 4096 + 63) / 64 words. Covers writes by guest CPUs
 * of this VM, by sibling VMs on a backend that can know, and all that hy_mem_touched was told. With clear = 1 the log starts afresh: a write that this
 * harvest does not show, or that the caller cannot yet see in memory, will be in the next one. HY_E_STATE: not all of the range is logged. */
hy_err hy_dirty(hy_vm *, uint64_t gpa, size_t len, uint64_t *bits, int clear);

/* Isolated VMs: makes the range shared with the host or private. HY_E_NOTSUP without HY_CAN_PRIVATE. */
hy_err hy_visible(hy_vm *, uint64_t gpa, size_t len, int shared);

/* The host address of [gpa, gpa + len) when one mapping shows all of it, whatever its protection; else NULL. Valid until the map changes there. */
void *hy_at(hy_vm *, uint64_t gpa, size_t len);

/* ---- policy: what else should come back to the caller ---------------------------------------------------------------------------------------- */

/* Asks for exits. HY_E_NOTSUP when hy_caps.traps lacks the reason. rw is a mask of HY_R and HY_W; 0 withdraws.
 *   HY_EXIT_MSR        registers first..last (x86 MSR numbers); before the first hy_cpu_new. In them, MSRs that nobody below implements and
 *                      values that it would refuse are exits too; outside, those raise #GP.
 *   HY_EXIT_CPUID      leaves first..last; before the first hy_cpu_new.
 *   HY_EXIT_EXCEPTION  vectors first..last, before they are delivered.
 *   HY_EXIT_STEP       CPUs first..last (indexes): one instruction, then HY_EXIT_STEP.
 * The last two may be changed at any time and hold from the CPU's next hy_run. */
hy_err hy_trap(hy_vm *, uint32_t exit_reason, uint32_t first, uint32_t last, uint32_t rw);

/* One CPUID answer. has_sub: the answer holds for ECX = sub only; else for every ECX. */
struct hy_cpuid { uint32_t fn, sub, has_sub, eax, ebx, ecx, edx; };
#define HY_ALL_CPUS UINT32_MAX

/* Sets the whole table of one CPU, or of all that have none of their own; before the first hy_cpu_new. The table is copied. For HY_ALL_CPUS the library
 * writes each CPU's APIC id (= its index) into leaves 1, 0xB, 0x1F and 0x8000001E; a table for one CPU is taken as it is. Leaf 0xD is made consistent
 * with the features in leaves 1 and 7 in both cases: a leaf passed through raw panics Linux. Without any call, guests see hy_cpuid_host's table. */
hy_err hy_cpuid(hy_vm *, uint32_t cpu_or_all, const struct hy_cpuid *, size_t n);

/* What this backend can offer a guest. *n: in, room in `out`; out, entries there are. HY_E_RANGE when the room is too small (out may be NULL for *n = 0). */
hy_err hy_cpuid_host(hy *, struct hy_cpuid *out, size_t *n);

/* The MSR numbers that hold guest state on this backend, in a good order to write them. Room and result as above. */
hy_err hy_msr_host(hy *, uint32_t *msr, size_t *n);

/* ---- interrupts from any thread (HY_IRQ_CPU, HY_IRQ_FULL) ------------------------------------------------------------------------------------- */

/* Sets the level of an IOAPIC pin (0..23) or GIC INTID. HY_IRQ_FULL; HY_E_NOTSUP otherwise. */
hy_err hy_line(hy_vm *, uint32_t line, int level);

/* Delivers a message: x86 address and data as in SDM 11.11 (extended destination in address bits 63:40), arm64 the ITS doorbell with its device id. */
hy_err hy_msi(hy_vm *, uint64_t addr, uint32_t data, uint32_t dev);

/* Gives line `line` (0..4095) a message for hy_irq_event. With HY_IRQ_CPU, lines 0..23 are the caller's IOAPIC pins: tell every change of an unmasked
 * redirection entry, so that a level-triggered vector's end of interrupt becomes HY_EXIT_EOI; data = 0 and addr = 0 withdraws. */
hy_err hy_route(hy_vm *, uint32_t line, uint64_t addr, uint32_t data, uint32_t dev);

/* A guest write of `len` bytes (1, 2, 4, 8; 0 = any, for MMIO) to the port or address signals os_event instead of being an exit; with match_or_any, only
 * a write of that value. os_event: an eventfd on Linux, an event HANDLE on Windows, the write end of a pipe elsewhere; borrowed until withdrawn with
 * on = 0 and the same arguments. Where the backend cannot (HY_CAN_BELL), the core does the same on the exit. */
hy_err hy_bell(hy_vm *, int mmio, uint64_t addr, uint32_t len, const uint64_t *match_or_any, intptr_t os_event, int on);

/* Signalling os_event delivers line `line`: an edge, or with resample_or_none >= 0 a level that falls at the end of interrupt, when that event is
 * signalled in turn. HY_E_NOTSUP without HY_CAN_IRQEVENT. */
hy_err hy_irq_event(hy_vm *, uint32_t line, intptr_t os_event, intptr_t resample_or_none, int on);

/* ---- CPU ---------------------------------------------------------------------------------------------------------------------------------------- */

/* Makes CPU `index` (x86: also its initial APIC id) in its architectural reset state and binds it to the calling thread. x86 with a local APIC below the
 * caller: index 0 runs, others wait for INIT-SIPI. HY_E_BUSY: that index exists. HY_E_RANGE:
 * beyond hy_vm_cfg.cpus. */
hy_err hy_cpu_new(hy_vm *, uint32_t index, hy_cpu **out);

/* Frees it. Owner's thread; nobody may be in or enter a call on it, hy_kick included. NULL: HY_OK. */
hy_err hy_cpu_free(hy_cpu *);

/* A register is class << 32 | number, and the number is the architecture's own. */
typedef uint64_t hy_reg;
#define HY_REG(class_, n) ((uint64_t)(class_) << 32 | (uint32_t)(n))
#define HY_GPR(n)         HY_REG(1, n) /* x86: rax rcx rdx rbx rsp rbp rsi rdi r8..r15; arm64: x0..x30, 31 = current sp           */
#define HY_PC             HY_REG(2, 0)
#define HY_FLAGS          HY_REG(2, 1) /* rflags / pstate                                                                          */
#define HY_SEG(n)         HY_REG(3, n) /* es cs ss ds fs gs ldtr tr idtr gdtr; the last two use base and limit only                */
#define HY_CR(n)          HY_REG(4, n) /* 0 2 3 4 8; 0x100 = xcr0                                                                  */
#define HY_DR(n)          HY_REG(5, n) /* 0..3, 6, 7                                                                               */
#define HY_MSR(n)         HY_REG(6, n) /* the real MSR number, EFER and FS/GS base included                                        */
#define HY_VEC(n)         HY_REG(7, n) /* xmm / q registers, u128[0] low                                                           */
#define HY_SYS(o0, o1, cn, cm, o2) HY_REG(8, (o0) << 14 | (o1) << 11 | (cn) << 7 | (cm) << 3 | (o2)) /* arm64 system register      */
#define HY_MISC(n)        HY_REG(9, n) /* below                                                                                    */

enum { /* HY_SEG numbers, in Hyper-V's order */
    HY_ES, HY_CS, HY_SS, HY_DS, HY_FS, HY_GS, HY_LDTR, HY_TR, HY_IDTR, HY_GDTR
};
enum { /* HY_MISC numbers */
    HY_MISC_SHADOW  = 0, /* interrupt shadow of the last instruction: 1 = STI, 2 = MOV SS (also holds back NMI)       */
    HY_MISC_HALTED  = 1, /* 0 running, 1 halted (HLT/WFI), 2 waiting for SIPI, 3 in INIT                              */
    HY_MISC_APIC_ID = 2, /* read only                                                                                 */
    HY_MISC_NMI     = 3  /* bit 0: NMIs blocked until IRET; bit 1: one is pending                                     */
};

/* 16 bytes. A segment's attributes are in VMX order: type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15; limit is in bytes, G already applied. */
typedef union hy_val {
    uint64_t u64;
    uint64_t u128[2];
    struct { uint64_t base; uint32_t limit; uint16_t sel, attr; } seg;
} hy_val;

/* Read or write n registers, the last exit's answer not being delivered first. Owner's thread. HY_E_NOTSUP: a name that this backend or guest does not
 * have; HY_E_INVAL: a value that the register cannot hold. Both check all names before anything changes; a value that the host refuses late (HY_E_GUEST,
 * HY_E_HOST) may leave earlier ones of the batch written. HY_E_STATE: HY_PC between an exit and its answer. */
hy_err hy_get(hy_cpu *, const hy_reg *, hy_val *, size_t n);
hy_err hy_set(hy_cpu *, const hy_reg *, const hy_val *, size_t n);

/* ---- running --------------------------------------------------------------------------------------------------------------------------------------- */

enum {
    HY_EXIT_NONE,      /* nothing happened: call hy_run again                                                             */
    HY_EXIT_KICK,      /* hy_kick                                                                                         */
    HY_EXIT_IO,        /* x86 port                                                                                        */
    HY_EXIT_MMIO,      /* load or store outside mapped memory, already decoded                                            */
    HY_EXIT_FAULT,     /* access to mapped memory that its protection forbids, or a fetch outside memory                  */
    HY_EXIT_HALT,      /* HLT / WFI, only where nobody below us waits for interrupts                                      */
    HY_EXIT_WINDOW,    /* an event asked for with hy_window can now be injected                                           */
    HY_EXIT_MSR,       /* x86 MSR or arm64 system register                                                                */
    HY_EXIT_CPUID,     /* a trapped leaf                                                                                  */
    HY_EXIT_TIME,      /* a trapped read of the time-stamp counter                                                        */
    HY_EXIT_CALL,      /* VMCALL, VMMCALL, HVC, SMC                                                                       */
    HY_EXIT_EXCEPTION, /* a trapped exception                                                                             */
    HY_EXIT_STEP,      /* one instruction was executed                                                                    */
    HY_EXIT_EOI,       /* end of a level-triggered interrupt: for an IOAPIC above us                                      */
    HY_EXIT_IPI,       /* a write of the ICR that the backend leaves to us                                                */
    HY_EXIT_TIMER,     /* arm64: the virtual timer fired                                                                  */
    HY_EXIT_VMGEXIT,   /* isolated guest: GHCB request, or visibility change                                              */
    HY_EXIT_RESET,     /* the guest asked the backend for a machine reset (PSCI)                                          */
    HY_EXIT_OFF,       /* ... for power off                                                                               */
    HY_EXIT_CRASH,     /* x86 triple fault, or a guest panic that the backend saw                                         */
    HY_EXIT_UNKNOWN    /* native reason and raw bytes, so that nothing is ever lost                                       */
};

/* One exit. Valid until the next hy_run, hy_finish or hy_cpu_free of that CPU. What an answer is:
 *   IO     `count` elements of `width` bytes (1, 2, 4) at data, all to or from the same port, in order. A read is answered by writing data, which
 *          starts as all ones.
 *   MMIO   width 1..16 bytes at data; access is HY_R, HY_W or both for the halves of a locked update. A read is answered by writing data (starts as all
 *          ones). A wide or page-crossing access gives several exits; each device access happens exactly once, in order.
 *   FAULT  as MMIO. When answered the access is done over if the protection now allows it; otherwise a write is dropped (ROM) and a read takes data.
 *          access HY_X: a fetch; it is tried again. Some backends report it as HY_EXIT_UNKNOWN.
 *   MSR    reg is HY_MSR(number) or HY_SYS(...); a read is answered in value; deny = 1 raises #GP (UNDEF) instead.
 *   CPUID  eax..edx hold the default; change them.
 *   CALL   x86: nr = rax, arg = rbx rcx rdx rsi rdi r8, imm 0 VMCALL, 1 VMMCALL; ret[0] goes to rax. arm64: nr = x0, arg = x1..x6, ret = x0..x3, imm = the
 *          immediate. ret[0] starts as all ones (not supported).
 *   EXC    the exception was not delivered; hy_inject it, or change registers. addr: CR2 value for #PF.
 *   Others need no answer. */
typedef struct hy_exit {
    uint16_t reason;
    uint8_t  write;  /* IO, MMIO, FAULT, MSR: the guest writes                  */
    uint8_t  ready;  /* bit 0 interrupt, bit 1 NMI could be injected now        */
    uint32_t native; /* what the backend called it                              */
    union {
        struct { uint16_t port; uint16_t width; uint32_t count; void *data; } io;
        struct { uint64_t gpa; uint32_t width; uint32_t access; void *data; } mmio;
        struct { uint64_t gpa; uint32_t width; uint32_t access; void *data; } fault;
        struct { hy_reg reg; uint64_t value; uint32_t deny; } msr;
        struct { uint32_t fn, sub, eax, ebx, ecx, edx; } cpuid;
        struct { uint64_t nr, arg[6], ret[4]; uint32_t imm; } call;
        struct { uint32_t vector, error; uint64_t addr; } exc;
        struct { uint32_t vector; } eoi;
        struct { uint64_t icr; } ipi;
        struct { const void *raw; uint32_t len; } unknown;
    } u;
} hy_exit;

/* Delivers the answer to the last exit, enters the guest and returns the next exit, owned by the CPU. Owner's thread. HY_E_GUEST: the host refuses to
 * enter this guest state. */
hy_err hy_run(hy_cpu *, hy_exit **out);

/* Delivers the answer to the last exit without entering. A split access may yield one more exit to answer; then call it again. Otherwise *out is
 * HY_EXIT_NONE, and the PC and all other registers are the guest's at an instruction boundary. A pending kick stays pending. */
hy_err hy_finish(hy_cpu *, hy_exit **out);

/* Makes the current or the next hy_run return HY_EXIT_KICK, once; kicks that come before that are one. Any thread, async-signal-safe, never waits. On Linux
 * the library uses the real-time signal SIGRTMIN + 4 on CPU threads for it and installs a handler that does nothing; it must not be blocked. */
void hy_kick(hy_cpu *);

enum { HY_EV_INTR, HY_EV_NMI, HY_EV_EXCEPTION, HY_EV_IRQ, HY_EV_FIQ, HY_EV_SERROR };

struct hy_event {
    uint8_t  kind;      /* HY_EV_*                                            */
    uint8_t  vector;    /* INTR, EXCEPTION                                    */
    uint8_t  has_error; /* EXCEPTION: push `error`                            */
    uint8_t  level;     /* arm64 IRQ, FIQ: state of the wire                  */
    uint32_t error;
    uint64_t addr, esr; /* #PF: CR2. arm64: FAR, ESR                          */
};

/* Puts an event into the CPU, to be taken when it next enters. Owner's thread.
 *   INTR       only while hy_exit.ready bit 0 (else HY_E_STATE: use hy_window). With HY_IRQ_CPU it is the vector that an 8259 above us answers to the local APIC
 *              (ExtINT); with HY_IRQ_FULL HY_E_NOTSUP.
 *   NMI        waits by itself.
 *   EXCEPTION  at an instruction boundary, after hy_finish (else HY_E_STATE). */
hy_err hy_inject(hy_cpu *, const struct hy_event *);

/* Asks for HY_EXIT_WINDOW as soon as an event of the mask (1 << HY_EV_INTR, 1 << HY_EV_NMI) can be injected; 0 withdraws. The request is done with
 * once it has been reported. Owner's thread. */
hy_err hy_window(hy_cpu *, unsigned mask);

/* ---- whole state and time --------------------------------------------------------------------------------------------------------------------------- */

enum {
    HY_S_FPU,    /* a CPU's XSAVE image, standard (uncompacted) layout, SDM 1:13.4                                     */
    HY_S_IRQ,    /* a CPU's local APIC: the 4096-byte xAPIC register page, SDM 3:11.4.1                                */
    HY_S_EVENTS, /* a CPU's pending and blocked events; the backend's own layout                                       */
    HY_S_NEST,   /* a CPU's nested virtualization state; opaque                                                        */
    HY_S_CHIP,   /* a VM's IOAPIC, 8259 ... below us (HY_IRQ_FULL); the backend's own layout                           */
    HY_S_ALL     /* all of a CPU in one: registers, MSRs, and what of the above it has. Loads into the same backend    */
};

/* Saves a part of a CPU (NULL for HY_S_CHIP), at an instruction boundary: after hy_finish, a kick or before the first run. *len: in, room at buf; out, bytes
 * needed. HY_E_RANGE when the room is too small (buf may be NULL for *len = 0). Saving, loading and saving again gives the same bytes while time is frozen
 * (hy_clock). Owner's thread. */
hy_err hy_save(hy_vm *, hy_cpu *or_null, int what, void *buf, size_t *len);

/* Loads what hy_save gave, into a CPU with the same CPUID table. The bytes are not trusted: HY_E_INVAL when they are malformed, and a refusal in the middle
 * leaves the CPU in some state that is safe to load into or to free. Owner's thread. */
hy_err hy_load(hy_vm *, hy_cpu *or_null, int what, const void *buf, size_t len);

struct hy_clock {
    uint64_t guest_ns; /* nanoseconds of the guest's paravirtual clock                                     */
    uint64_t ticks;    /* CPU 0's TSC or counter at that moment                                            */
};

/* Reads (get), sets (set) and starts or freezes (running 1, 0; -1 leaves it) the guest's time; get and set may be NULL. No CPU of the VM may be in
 * hy_run. HY_E_NOTSUP without HY_CAN_CLOCK. */
hy_err hy_clock(hy_vm *, int running, struct hy_clock *get, const struct hy_clock *set);

/* ---- counters: for whoever measures or tunes -------------------------------------------------------------------------------------------------------------- */

/* What happened how often since the CPU was made, or how much there is now. Names say what, stay as they are while the CPU counts that, and are static storage; which
 * there are differs between backends, hosts and versions. Backend soft has the groups "interpreter" (engine E0), "memory" (TLBs), "translator" (E1), "left" (E1 left an
 * instruction to E0) and "general" (E0 did one without a handler of its own), the last two by instruction, those that happened, the most frequent first. */
struct hy_counter {
    const char *group, *name;
    uint64_t value;
};

/* What counters mean, in words for whoever reads them. `name` is "*" where names are those of other things: the meaning is then the group's. */
struct hy_counter_info { const char *group, *name, *meaning; };

/* The i-th of all counters that CPUs of a backend may have; NULL behind the last, and for a backend that counts nothing or that this build has not. Static storage. Any
 * thread. */
const struct hy_counter_info *hy_counter_info(const char *backend, size_t i);

/* All counters of a CPU. *n: in, room at out; out, how many there are: HY_E_RANGE when the room is too small (out may be NULL for *n = 0). HY_E_NOTSUP: the
 * backend counts nothing. Owner's thread, so never while the CPU runs. */
hy_err hy_counters(hy_cpu *, struct hy_counter *out, size_t *n);

/* ---- the way out --------------------------------------------------------------------------------------------------------------------------------------- */

/* The host's own handle of the VM or CPU (a file descriptor, WHV_PARTITION_HANDLE ...), -1 when there is none. What is done with it is not portable. */
intptr_t hy_native(hy_vm *, hy_cpu *or_null);

#ifdef __cplusplus
}
#endif
#endif
