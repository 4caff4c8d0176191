/* SPDX-License-Identifier: MIT */
/* hy.h - one small interface to every machine that can run a guest CPU (design sketch)
 *
 * Phases of a VM: configure (hy_vm_new, hy_trap, hy_cpuid) -> first hy_cpu_new seals the configuration, because WHP and others fix it
 * there -> run. Memory may be mapped, unmapped and protected in every phase.
 */
#ifndef HY_H
#define HY_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

typedef struct hy     hy;      /* an opened backend                                   */
typedef struct hy_vm  hy_vm;   /* a guest: address space, CPUs, interrupt controller  */
typedef struct hy_mem hy_mem;  /* a block of host memory that can be shown to a guest */
typedef struct hy_cpu hy_cpu;  /* a virtual CPU, owned by the thread that made it     */

/* ---- errors: negative code now, native detail on request --------------------------- */
typedef enum hy_err {
    HY_OK       =   0,
    HY_E_ABSENT =  -1,  /* no such device node, DLL, framework or CPU feature       */
    HY_E_DENIED =  -2,  /* permission, entitlement, jail, sandbox                   */
    HY_E_NOTSUP =  -3,  /* this backend can never do that (see hy_caps)             */
    HY_E_INVAL  =  -4,
    HY_E_RANGE  =  -5,  /* alignment, overlap, or beyond a limit in hy_caps         */
    HY_E_BUSY   =  -6,  /* e.g. the one VM a process may have already exists        */
    HY_E_NOMEM  =  -7,
    HY_E_THREAD =  -8,  /* hy_cpu used from a thread that does not own it           */
    HY_E_STATE  =  -9,  /* right call, wrong moment                                 */
    HY_E_GUEST  = -10,  /* guest state the host refuses to enter                    */
    HY_E_HOST   = -11   /* anything else the host said: look at hy_why              */
} hy_err;

struct hy_why {                 /* calling thread's last failure; never allocated       */
    hy_err      err;
    int64_t     native;         /* errno, HRESULT, hv_return_t or hypercall status      */
    const char *backend, *call; /* "kvm", "KVM_CREATE_VM"                               */
};
void hy_why(struct hy_why *out);

/* ---- finding and opening ----------------------------------------------------------- */
struct hy_probe { const char *name; hy_err err; int64_t native; const char *call; };
size_t hy_list(struct hy_probe *out, size_t n);   /* all built-in backends, probe order  */
hy_err hy_open(const char *want, hy **out);       /* "kvm,soft"; NULL = $HY_BACKEND/auto */
void   hy_close(hy *);

/* ---- capabilities: limits as numbers, abilities as bits ---------------------------- */
enum { HY_ARCH_X86_64 = 1, HY_ARCH_ARM64 = 2 };
enum { HY_R = 1, HY_W = 2, HY_X = 4 };
enum {                                     /* hy_caps.can                              */
    HY_CAN_WRAP      = 1 << 0,  /* hy_mem_wrap: caller's own memory                    */
    HY_CAN_SHARE     = 1 << 13, /* a block of one VM may be mapped into another        */
    HY_CAN_PRIVATE   = 1 << 14, /* private (encrypted) memory and isolated launch      */
    HY_CAN_IRQEVENT  = 1 << 15, /* hy_irq_event without a trip through the core        */
    HY_CAN_SPLIT     = 1 << 1,  /* unmap/protect a part of a mapping atomically        */
    HY_CAN_DIRTY     = 1 << 2,  /* native dirty log (else emulated or NOTSUP)          */
    HY_CAN_CPUID     = 1 << 3,  /* hy_cpuid                                            */
    HY_CAN_FPU       = 1 << 4,  /* FP/SIMD registers readable and writable             */
    HY_CAN_STEP      = 1 << 5,  /* single-step and breakpoints                         */
    HY_CAN_ROAM      = 1 << 6,  /* a hy_cpu may be used by any one thread at a time    */
    HY_CAN_BELL      = 1 << 7,  /* hy_bell                                             */
    HY_CAN_CLOCK     = 1 << 8,  /* hy_clock freeze/set                                 */
    HY_CAN_SAVE      = 1 << 9,  /* hy_save/hy_load cover all of a CPU                  */
    HY_CAN_NEST      = 1 << 10, /* guest may run guests                                */
    HY_CAN_PSCI      = 1 << 11, /* PSCI answered below us (else by the library)        */
    HY_CAN_JIT       = 1 << 12  /* a software CPU, not hardware                        */
};
enum { HY_IRQ_NONE = 1, HY_IRQ_CPU = 2, HY_IRQ_FULL = 4 };  /* none | LAPIC or GICR | + IOAPIC/GICD */

struct hy_caps {
    uint32_t size;              /* caller sets sizeof: both sides may be newer or older */
    uint32_t arch, irq;         /* HY_ARCH_*, mask of HY_IRQ_*                          */
    uint32_t granule;           /* mapping alignment in bytes: 4096 or 16384            */
    uint32_t gpa_bits, max_vms, max_cpus, max_maps, max_mems;
    uint32_t prot;              /* bit i set: combination i of HY_R|HY_W|HY_X works     */
    uint64_t can;               /* HY_CAN_*                                             */
    uint64_t exits, traps;      /* bit per HY_EXIT_*: can happen / can be asked for     */
    uint64_t tick_hz;           /* TSC or CNTFRQ, 0 = unknown                           */
};
hy_err hy_caps(hy *, struct hy_caps *out);

/* ---- VM ---------------------------------------------------------------------------- */
enum { HY_ISO_NONE, HY_ISO_SNP, HY_ISO_TDX, HY_ISO_VBS };
struct hy_vm_cfg {
    uint32_t size, irq;         /* one HY_IRQ_*                                         */
    uint32_t cpus, gpa_bits;    /* maxima; 0 = backend default                          */
    uint64_t gicd, gicr;        /* arm64 HY_IRQ_FULL: distributor, redistributors       */
    uint32_t flags;             /* HY_VM_NEST ...                                       */
    uint32_t isolation;         /* HY_ISO_NONE, _SNP, _TDX, _VBS; needs HY_CAN_PRIVATE  */
    uint64_t tick_hz;           /* guest TSC / counter frequency; 0 = the host's        */
};
hy_err hy_vm_new(hy *, const struct hy_vm_cfg *, hy_vm **out);
hy_err hy_vm_free(hy_vm *);     /* HY_E_STATE while a hy_cpu of it still lives          */

/* ---- memory: a block, then views of it --------------------------------------------- */
/* A block has a home VM (bhyve's kernel owns it) and lives until its last mapping and reference are gone. With HY_CAN_SHARE it may also be mapped
 * into other VMs of the same hy: sibling VMs are how VTLs and child partitions are made. */
hy_err hy_mem_new(hy_vm *home, size_t bytes, hy_mem **out);               /* always works     */
hy_err hy_mem_wrap(hy_vm *home, void *host, size_t bytes, hy_mem **out);  /* HY_CAN_WRAP      */
void  *hy_mem_ptr(hy_mem *);                                              /* NULL when private */
void   hy_mem_free(hy_mem *);
/* Whoever writes guest memory other than through a guest CPU (device DMA, a sibling VM, io_uring) says so before the guest can learn of it:
 * software CPUs drop translated code there, and the dirty log of every VM that maps the block gains the pages (KVM's holds only guest writes). */
void   hy_mem_touched(hy_mem *, size_t off, size_t len);
hy_err hy_map(hy_vm *, uint64_t gpa, hy_mem *, size_t off, size_t len, uint32_t prot);
hy_err hy_unmap(hy_vm *, uint64_t gpa, size_t len);
hy_err hy_protect(hy_vm *, uint64_t gpa, size_t len, uint32_t prot);
hy_err hy_log(hy_vm *, uint64_t gpa, size_t len, int on);          /* start and stop dirty logging       */
hy_err hy_dirty(hy_vm *, uint64_t gpa, size_t len, uint64_t *bits, int clear);
hy_err hy_visible(hy_vm *, uint64_t gpa, size_t len, int shared);  /* isolated VM: private <-> shared    */
void  *hy_at(hy_vm *, uint64_t gpa, size_t len);        /* host pointer or NULL            */

/* ---- policy: what else should come back to us --------------------------------------- */
hy_err hy_trap(hy_vm *, uint32_t exit_reason, uint32_t first, uint32_t last, uint32_t rw);
struct hy_cpuid { uint32_t fn, sub, has_sub, eax, ebx, ecx, edx; };
hy_err hy_cpuid(hy_vm *, uint32_t cpu_or_all, const struct hy_cpuid *, size_t n);  /* APIC-id leaves differ per CPU */
hy_err hy_cpuid_host(hy *, struct hy_cpuid *, size_t *n);   /* what this backend can offer a guest        */
hy_err hy_msr_host(hy *, uint32_t *msr, size_t *n);

/* ---- interrupts from any thread (HY_IRQ_CPU / HY_IRQ_FULL) -------------------------- */
hy_err hy_line(hy_vm *, uint32_t line, int level);      /* IOAPIC pin or GIC INTID         */
hy_err hy_msi(hy_vm *, uint64_t addr, uint32_t data, uint32_t dev);
/* os_event: eventfd on Linux, event HANDLE on Windows, a pipe's write end elsewhere. Where a backend cannot, the core does the same on the exit. */
hy_err hy_bell(hy_vm *, int mmio, uint64_t addr, uint32_t len, const uint64_t *match_or_any, intptr_t os_event, int on);
hy_err hy_irq_event(hy_vm *, uint32_t line, intptr_t os_event, intptr_t resample_or_none, int on);

/* ---- CPU ----------------------------------------------------------------------------- */
hy_err hy_cpu_new(hy_vm *, uint32_t index, hy_cpu **out);  /* binds the calling thread   */
void   hy_cpu_free(hy_cpu *);

typedef uint64_t hy_reg;        /* class << 32 | number; number is architectural          */
#define HY_REG(class_, n)  ((uint64_t)(class_) << 32 | (uint32_t)(n))
#define HY_GPR(n)          HY_REG(1, n)   /* x86: rax rcx rdx rbx rsp rbp rsi rdi r8..r15;
                                             arm64: x0..x30, 31 = current sp               */
#define HY_PC              HY_REG(2, 0)
#define HY_FLAGS           HY_REG(2, 1)   /* rflags / pstate                               */
#define HY_SEG(n)          HY_REG(3, n)   /* es cs ss ds fs gs ldtr tr idtr gdtr           */
#define HY_CR(n)           HY_REG(4, n)   /* 0 2 3 4 8; 0x100 = xcr0                       */
#define HY_DR(n)           HY_REG(5, n)
#define HY_MSR(n)          HY_REG(6, n)   /* efer, fs base ... : the real MSR number       */
#define HY_VEC(n)          HY_REG(7, n)   /* xmm / q registers                             */
#define HY_SYS(o0, o1, cn, cm, o2) \
    HY_REG(8, (o0) << 14 | (o1) << 11 | (cn) << 7 | (cm) << 3 | (o2))
#define HY_MISC(n)         HY_REG(9, n)   /* interrupt shadow, halted, apic id ...         */

typedef union hy_val {          /* 16 bytes, laid out as WHP and MSHV lay theirs out       */
    uint64_t u64;
    uint64_t u128[2];
    struct { uint64_t base; uint32_t limit; uint16_t sel, attr; } seg;
} hy_val;
hy_err hy_get(hy_cpu *, const hy_reg *, hy_val *, size_t n);
hy_err hy_set(hy_cpu *, const hy_reg *, const hy_val *, size_t n);

/* ---- running ---------------------------------------------------------------------------- */
enum {
    HY_EXIT_NONE,      /* nothing happened: call hy_run again                              */
    HY_EXIT_KICK,      /* hy_kick, or the host wanted the thread                           */
    HY_EXIT_IO,        /* x86 port                                                         */
    HY_EXIT_MMIO,      /* load or store outside mapped memory, already decoded             */
    HY_EXIT_FAULT,     /* access to mapped memory that its protection forbids, or a fetch  */
    HY_EXIT_HALT,      /* HLT / WFI, only where nobody below us waits for interrupts       */
    HY_EXIT_WINDOW,    /* an event asked for with hy_window can now be injected            */
    HY_EXIT_MSR,       /* x86 MSR or arm64 system register                                 */
    HY_EXIT_CPUID, HY_EXIT_TIME, HY_EXIT_CALL, HY_EXIT_EXCEPTION, HY_EXIT_STEP,
    HY_EXIT_EOI, HY_EXIT_IPI, HY_EXIT_TIMER,
    HY_EXIT_VMGEXIT,   /* isolated guest: GHCB request, or visibility change               */
    HY_EXIT_RESET, HY_EXIT_OFF, HY_EXIT_CRASH,   /* machine-wide; CRASH = triple fault     */
    HY_EXIT_UNKNOWN    /* native reason and raw bytes, so nothing is ever lost             */
};
typedef struct hy_exit {
    uint16_t reason;
    uint8_t  write;             /* IO, MMIO, FAULT, MSR: direction                          */
    uint8_t  ready;             /* bit 0 interrupt, bit 1 NMI could be injected now         */
    uint32_t native;            /* what the backend called it                               */
    union {
        struct { uint16_t port; uint16_t width; uint32_t count; void *data; } io;
        struct { uint64_t gpa; uint32_t width; uint32_t access; void *data; } mmio;
        struct { uint64_t gpa; uint32_t access; } fault;
        struct { hy_reg reg; uint64_t value; uint32_t deny; } msr;
        struct { uint32_t fn, sub, eax, ebx, ecx, edx; } cpuid;      /* default filled in    */
        struct { uint64_t nr, arg[6], ret[4]; uint32_t imm; } call;
        struct { uint32_t vector, error; uint64_t addr; } exc;
        struct { uint32_t vector; } eoi;
        struct { uint64_t icr; } ipi;
        struct { const void *raw; uint32_t len; } unknown;
    } u;
} hy_exit;

hy_err hy_run(hy_cpu *, hy_exit **out);  /* answers the last exit, enters, returns the next */
hy_err hy_finish(hy_cpu *, hy_exit **out); /* answers the last exit without entering; a split access may yield one more exit to answer,
                                              else *out is a HY_EXIT_NONE: only now is the PC defined */
void   hy_kick(hy_cpu *);                /* any thread, sticky, async-signal-safe            */

enum { HY_EV_INTR, HY_EV_NMI, HY_EV_EXCEPTION, HY_EV_IRQ, HY_EV_FIQ, HY_EV_SERROR };
struct hy_event { uint8_t kind, vector, has_error, level; uint32_t error; uint64_t addr, esr; };
hy_err hy_inject(hy_cpu *, const struct hy_event *);
hy_err hy_window(hy_cpu *, unsigned mask);          /* bit HY_EV_INTR, HY_EV_NMI             */

/* ---- whole-state and time ------------------------------------------------------------------ */
enum { HY_S_FPU /* standard, uncompacted XSAVE layout */, HY_S_IRQ, HY_S_EVENTS, HY_S_NEST, HY_S_CHIP };
hy_err hy_save(hy_vm *, hy_cpu *or_null, int what, void *buf, size_t *len);
hy_err hy_load(hy_vm *, hy_cpu *or_null, int what, const void *buf, size_t len);
struct hy_clock { uint64_t guest_ns, ticks; };
hy_err hy_clock(hy_vm *, int running, struct hy_clock *get, const struct hy_clock *set);

/* ---- the way out --------------------------------------------------------------------------- */
intptr_t hy_native(hy_vm *, hy_cpu *or_null);       /* fd, WHV_PARTITION_HANDLE, vcpu id ... */

#ifdef __cplusplus
}
#endif
#endif
