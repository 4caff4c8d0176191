/* SPDX-License-Identifier: MIT */
/* apic.h - local APICs (xAPIC and x2APIC, SDM volume 3 chapter 12) and the bus between them.
 *
 * For the software CPU and for any backend that runs without an interrupt controller of its own. A `struct apic_bus` joins the APICs of one VM; each vCPU
 * has one `struct apic`.
 *
 * Threads. The *owner* is the thread that runs the vCPU. Interrupts, NMIs, INIT, SIPI and pin levels are posted from any thread with atomics; everything
 * marked "owner" is called by the owner only. When something may have become deliverable, wake(opaque, cpu) is called on the posting thread (which may be
 * the owner); no lock is held then, nor when any other callback is called. The CPU answers a wake by looking: apic_take_events(), then apic_pending().
 * The module never allocates after apic_new() and has no loop longer than the number of CPUs.
 *
 * The usual order in a CPU at an instruction boundary, after a wake or when it opens its interrupt window:
 *     apic_take_events(apic, &events)     INIT, then SIPI, then SMI, NMI
 *     if (IF && no shadow && apic_pending(apic)) { int vector = apic_acknowledge(apic); if (vector >= 0) deliver(vector); }
 */
#ifndef APIC_APIC_H
#define APIC_APIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/fields.h"

struct apic;
struct apic_bus;

#define APIC_CPUS_MAX        256
#define APIC_DEFAULT_BASE    UINT64_C(0xfee00000) /* SDM 12.4.1 */
#define APIC_MMIO_SIZE       4096
#define APIC_TPR_OFFSET      0x80 /* task priority, whose bits 7..4 are CR8: for embedders whose CR8 lives elsewhere */
#define APIC_NO_DEADLINE     UINT64_MAX

enum { APIC_BASE_BSP = 1 << 8, APIC_BASE_EXTD = 1 << 10, APIC_BASE_EN = 1 << 11 }; /* IA32_APIC_BASE, SDM 12.4.4 */

enum { /* MSRs that apic_msr_read and apic_msr_write answer */
    APIC_MSR_BASE         = 0x1b,
    APIC_MSR_TSC_DEADLINE = 0x6e0,
    APIC_MSR_X2APIC_FIRST = 0x800,
    APIC_MSR_X2APIC_LAST  = 0x8ff,
};

/* ---- the bus ----------------------------------------------------------------------------------------------------------------------------------- */

struct apic_bus_config {
    bool     x2apic;       /* CPUID.1:ECX[21]; without it APIC_BASE_EXTD is a reserved bit                       */
    uint8_t  phys_bits;    /* CPUID.80000008H:EAX[7:0]: address bits that IA32_APIC_BASE may hold; 36..52        */
    uint64_t timer_hz;     /* APIC timer before the divider: CPUID.15H:ECX; at most the TSC's frequency; not 0   */
    uint64_t tsc_hz;       /* guest TSC, for TSC-deadline mode; not 0                                            */
    uint64_t (*now)(void *opaque);                    /* ns of the VM's clock; frozen while the VM is            */
    uint64_t (*tsc)(void *opaque, unsigned cpu);      /* that CPU's TSC now; called on the owner's thread        */
    void     (*wake)(void *opaque, unsigned cpu);     /* something may be deliverable: any thread, must not block */
    void     (*deadline)(void *opaque, unsigned cpu, uint64_t ns); /* owner: the timer's deadline became `ns`; may be NULL */
    void     *opaque;
};

/* Makes a bus without CPUs; the configuration is copied. NULL with err on bad values or no memory. */
struct apic_bus *apic_bus_new(const struct apic_bus_config *, struct err *);
void apic_bus_free(struct apic_bus *); /* after its APICs; NULL is allowed */

/* EOI of a level-triggered vector, for the IOAPIC (SDM 12.8.5). Called on the EOIing CPU's thread. Set before CPUs run. */
void apic_bus_set_eoi(struct apic_bus *, void (*eoi)(void *opaque, uint8_t vector), void *opaque);
/* INTA cycle: the i8259's vector, called on the owner's thread when it takes an ExtINT; a negative answer means none. Set before CPUs run. */
void apic_bus_set_extint(struct apic_bus *, int (*acknowledge)(void *opaque), void *opaque);
/* Shapes of the above that fit struct irq_line and struct msi_sink directly. `bus` is the struct apic_bus; any thread. */
void apic_bus_line(void *bus, unsigned lint /* 0: i8259 INTR, 1: NMI */, bool level); /* wired to that LINT pin of every CPU */
void apic_bus_msi_send(void *bus, uint64_t address, uint32_t data, uint32_t requester);

enum apic_delivery { /* SDM 12.5.1, 12.6.1 */
    APIC_DELIVER_FIXED, APIC_DELIVER_LOWEST, APIC_DELIVER_SMI, APIC_DELIVER_RESERVED, APIC_DELIVER_NMI, APIC_DELIVER_INIT, APIC_DELIVER_SIPI,
    APIC_DELIVER_EXTINT,
};
struct apic_message {
    uint32_t destination;
    bool     logical;
    bool     wide;       /* destination is a 32-bit x2APIC one; else 8 bits (0xff = everybody), or 15 bits from an MSI */
    bool     level;      /* trigger mode: sets the TMR bit                                                            */
    uint8_t  delivery;   /* enum apic_delivery                                                                        */
    uint8_t  vector;
};
/* Any thread. Return how many CPUs accepted it (0: nobody; lowest priority: at most 1). */
unsigned apic_bus_send(struct apic_bus *, const struct apic_message *);
/* An MSI write to 0xfeexxxxx (SDM 11.11), with the 15-bit extended destination ID in address bits 11..5. */
unsigned apic_bus_msi(struct apic_bus *, uint64_t address, uint32_t data);
void     apic_bus_nmi(struct apic_bus *, unsigned cpu); /* posts an NMI to one CPU whatever its LVT says */

/* ---- one APIC ------------------------------------------------------------------------------------------------------------------------------------ */

/* APIC of vCPU `cpu` (below APIC_CPUS_MAX) with initial ID `id`, in its RESET state; `cpu` 0 is the BSP. Calls on one bus
 * must not overlap. */
int  apic_new(struct apic_bus *, unsigned cpu, uint32_t id, struct apic **out, struct err *);
/* Takes it off the bus; its memory stays the bus's, since another thread may be posting to it. wake() may still come for it. NULL is allowed. */
void apic_free(struct apic *);

/* Owner. RESET, or with `init` INIT, which keeps IA32_APIC_BASE and the ID (SDM 12.4.7). Events that wait are kept on INIT, dropped on RESET. */
void apic_reset(struct apic *, bool init);
/* Owner. What firmware leaves on the BSP for an operating system that starts without one: software-enabled, LINT0 = ExtINT, LINT1 = NMI. */
void apic_set_virtual_wire(struct apic *);

uint32_t apic_id(const struct apic *);             /* any thread: the present ID (8 bits in xAPIC mode)         */
uint64_t apic_base(const struct apic *);           /* any thread: IA32_APIC_BASE                                */
bool     apic_is_enabled(const struct apic *);     /* any thread: IA32_APIC_BASE.EN; CPUID.1:EDX[9] shows it    */

/* ---- for the CPU, owner only ---------------------------------------------------------------------------------------------------------------------- */

struct apic_events {
    bool    init, sipi, smi;
    uint8_t sipi_vector;   /* start at vector << 12; drop it unless the CPU waits for SIPI. With both, INIT came first. */
    uint8_t nmi_count;     /* 0..2 NMIs since the last look: the CPU keeps min(pending + count, NMIs blocked ? 1 : 2)   */
};
/* Takes what was posted since the last call. True when there is anything. */
bool apic_take_events(struct apic *, struct apic_events *out);

/* Whether a maskable interrupt of higher priority than PPR (or an ExtINT) waits. */
bool apic_pending(struct apic *);
/* Takes it: IRR to ISR, or an INTA cycle at the i8259. Returns the vector, or -1 when it went away. */
int  apic_acknowledge(struct apic *);

/* Any thread. Whether the 8259's INTR reaches the CPU: LINT0 unmasked and in ExtINT mode, or no APIC at all (SDM 12.4.3). */
bool apic_accepts_extint(const struct apic *);

uint64_t apic_get_cr8(const struct apic *);
void     apic_set_cr8(struct apic *, uint64_t value); /* bits 3..0; the caller has raised #GP for others */

/* Whether gpa lies in the xAPIC page at this moment (hardware-enabled and not in x2APIC mode). */
bool apic_claims(const struct apic *, uint64_t gpa);
/* Access inside the page. Registers are 32 bits wide on 16-byte boundaries; a smaller read inside a register gives its bytes, other odd reads give zeros,
 * other odd writes do nothing. `offset` below APIC_MMIO_SIZE, `len` 1..32. */
void apic_mmio_read(struct apic *, uint32_t offset, void *data, unsigned len);
void apic_mmio_write(struct apic *, uint32_t offset, const void *data, unsigned len);

/* APIC_MSR_BASE, APIC_MSR_TSC_DEADLINE and the x2APIC range; false means #GP. (Whether CPUID offers TSC-deadline is for the caller to check.) */
bool apic_msr_read(struct apic *, uint32_t msr, uint64_t *out);
bool apic_msr_write(struct apic *, uint32_t msr, uint64_t value);

/* Local sources: delivers through the LVT entry unless it is masked. PMC sets its mask as hardware does (SDM 21.6.3.5.8). */
enum apic_lvt { APIC_LVT_TIMER, APIC_LVT_THERMAL, APIC_LVT_PMC, APIC_LVT_LINT0, APIC_LVT_LINT1, APIC_LVT_ERROR, APIC_LVT_CMCI, APIC_LVT_COUNT };
void apic_raise(struct apic *, enum apic_lvt);

/* ---- timer ------------------------------------------------------------------------------------------------------------------------------------------ */

/* When the owner must call apic_timer_poll() again: ns of the clock, or APIC_NO_DEADLINE. Any thread may read it. */
uint64_t apic_timer_deadline(const struct apic *);
/* Owner. Fires what is due at `now` (ns, as the now callback gives). Calling it early or often is harmless. */
void apic_timer_poll(struct apic *, uint64_t now);
/* Owner. The CPU's TSC was written: recomputes a TSC deadline. */
void apic_tsc_changed(struct apic *);

/* ---- save and load: while no CPU of the VM runs ------------------------------------------------------------------------------------------------------ */

extern const struct field apic_fields[]; /* of struct apic */
/* After fields_load(apic_fields, apic, ...): refuses (ERR_INPUT) what the APIC cannot be in, recomputes what is derived. `saved_at`: the clock's ns at the save, so that
 * the timer has as much time left as then. */
int apic_loaded(struct apic *, uint64_t saved_at, struct err *);

#endif
