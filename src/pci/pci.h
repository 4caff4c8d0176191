/* SPDX-License-Identifier: MIT */
/* pci.h - the PCI Express host bridge, its bus 0, and what a device needs to be a function on it.
 *
 *     static int foo_create(struct device *d, const void *config, struct err *err)
 *     {
 *         pci_function_init(&foo->pci, d, &identity);
 *         pci_function_add_bar(&foo->pci, 0, 0x4000, PCI_BAR_64, &foo_ops, foo, err);
 *         pci_function_add_msix(&foo->pci, 2, 3, err);
 *         return pci_attach(host, &foo->pci, slot, err);          // last: from now on the guest sees it
 *     }
 *     destroy: pci_detach(&foo->pci);   reset: pci_function_reset(&foo->pci);
 *
 * Specifications: PCI Local Bus 3.0 chapter 6 (configuration space, MSI-X), PCI Express 5.0 section 7.2.2 (ECAM).
 * Locks: everything on a function runs with its device's lock held, except attach (inside create), detach (inside destroy, no lock held). Configuration
 * accesses hold the bridge's lock, then the function's.
 */
#ifndef PCI_PCI_H
#define PCI_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "bus/bus.h"
#include "bus/device.h"

enum {
    PCI_SLOTS        = 32,
    PCI_SLOT_ANY     = 0xff,  /* the lowest that is free                           */
    PCI_BARS         = 6,
    PCI_CONFIG_SIZE  = 256,   /* no extended capabilities: the rest reads as zero   */
    PCI_MSIX_MAX     = 64,    /* vectors a function                                */
    PCI_GSI_FIRST    = 16,    /* INTA# of slot s is GSI 16 + s % 8: the _PRT in firmware/acpi.c says the same */
    PCI_GSI_COUNT    = 8,
};

/* ---- host bridge --------------------------------------------------------------------------------------------------------------------------------------- */

extern const struct device_class pci_host_class;

struct pci_window { uint64_t base, size; };
struct pci_host_config {
    uint64_t ecam_base;             /* ECAM window, 1 MiB for each bus; 0: none                                                        */
    unsigned ecam_buses;            /* buses that it spans (only bus 0 has functions)                                                  */
    struct pci_window low, high;    /* where BARs are placed below and above 4 GiB; what the _CRS says                                 */
    /* A line for one more source of a GSI, as irq_router_line(); `gsi` is 16 to 23. NULL: no INTx. */
    int (*intx_line)(void *opaque, unsigned gsi, struct irq_line *out, struct err *);
    void *intx_opaque;
    /* The reset control register at port CF9h lies inside the bridge's CF8h. Byte accesses go here; both NULL: not there. Called with the bridge's lock held. */
    uint8_t (*reset_control_read)(void *opaque);
    void (*reset_control_write)(void *opaque, uint8_t value);
    void *reset_control_opaque;
};

/* ---- functions ------------------------------------------------------------------------------------------------------------------------------------------ */

struct pci_identity {
    uint16_t vendor, device;
    uint16_t subsystem_vendor, subsystem;
    uint32_t class_code;            /* base class << 16 | sub-class << 8 | interface */
    uint8_t  revision;
    uint8_t  interrupt_pin;         /* 0: none, 1: INTA#                              */
};

enum pci_bar_flags {
    PCI_BAR_64       = 1,           /* takes this BAR and the next   */
    PCI_BAR_PREFETCH = 2,
    PCI_BAR_HIGH     = 4,           /* placed above 4 GiB; needs _64 */
};

struct pci_bar {
    uint64_t size;                  /* 0: not there                          */
    unsigned flags;
    uint64_t initial;               /* the address that we gave it           */
    struct bus_region region;
};

struct pci_msix_entry { uint32_t address_low, address_high, data, control; }; /* PCI 3.0 6.8.2 */

struct pci_function {
    struct device *device;
    struct device *host;            /* NULL: not attached                       */
    uint8_t devfn;
    uint8_t capability_end;         /* next free byte for a capability          */
    uint8_t last_capability;        /* whose next pointer ends the list         */
    struct irq_line intx;
    struct pci_bar bars[PCI_BARS];
    uint8_t initial[PCI_CONFIG_SIZE], writable[PCI_CONFIG_SIZE], write1clear[PCI_CONFIG_SIZE];
    /* MSI-X */
    uint8_t msix_at;                /* offset of its capability, 0: none        */
    uint8_t msix_vectors;
    /* A device's own registers in configuration space, called before a read returns and after a write was stored. May be NULL. */
    void (*config_reading)(void *opaque, unsigned offset, unsigned size);
    void (*config_written)(void *opaque, unsigned offset, unsigned size);
    void *config_opaque;

    /* What is saved: PCI_FUNCTION_FIELDS. */
    uint8_t config[PCI_CONFIG_SIZE];
    bool intx_level;                /* what the device wants the wire to be     */
    struct pci_msix_entry msix_table[PCI_MSIX_MAX];
    uint64_t msix_pending;          /* the pending bit array                    */
};

/* Rows for the field table of the device `type` whose function is `member`. */
#define PCI_FUNCTION_FIELDS(type, member)                                                  \
    FIELD_BYTES(type, member.config, "PCI configuration space"),                           \
    FIELD(type, member.intx_level, "INTx line wanted"),                                    \
    FIELD_BYTES(type, member.msix_table, "MSI-X table"),                                   \
    FIELD(type, member.msix_pending, "MSI-X pending bits")

/* Sets up a zeroed function of `device`. */
void pci_function_init(struct pci_function *, struct device *device, const struct pci_identity *);
/* A memory BAR of `size` bytes (a power of two, at least 16). ERR_INTERNAL for what a device's author did wrong. */
int  pci_function_add_bar(struct pci_function *, unsigned index, uint64_t size, unsigned flags, const struct bus_ops *, void *opaque, struct err *);
/* Adds a capability of `len` bytes (its first two, id and next, included); returns its offset, or 0 when the space is full. Fill it with pci_config_init*(). */
unsigned pci_function_add_capability(struct pci_function *, uint8_t id, unsigned len);
/* Sets the reset value of bytes, and which bits the guest may write. */
void pci_config_init(struct pci_function *, unsigned offset, unsigned size, uint32_t value, uint32_t writable);
/* MSI-X with its table and pending bits in a BAR of their own (`bar`, 4 KiB each half). 1 to PCI_MSIX_MAX vectors. */
int  pci_function_add_msix(struct pci_function *, unsigned bar, unsigned vectors, struct err *);

/* Puts the function on bus 0, places its BARs and connects its pin. ERR_USAGE: slot taken; ERR_HOST: the windows are full. */
int  pci_attach(struct device *host, struct pci_function *, unsigned slot, struct err *);
void pci_detach(struct pci_function *); /* harmless when it is not attached */
void pci_function_reset(struct pci_function *);
/* Makes what is derived from the saved fields good again, taking only what a guest could have written. */
void pci_function_loaded(struct pci_function *);

/* The guest's accesses: offset + size inside the configuration space of 4096 bytes; size 1, 2 or 4, any alignment. For the bridge, tests and fuzzing. */
uint32_t pci_config_read(struct pci_function *, unsigned offset, unsigned size);
void     pci_config_write(struct pci_function *, unsigned offset, unsigned size, uint32_t value);

bool pci_is_bus_master(const struct pci_function *); /* it may do DMA and send messages */
bool pci_msix_enabled(const struct pci_function *);
/* Sends the vector's message, or marks it pending while masked. Nothing when MSI-X is off or there is no such vector. */
void pci_msix_notify(struct pci_function *, unsigned vector);
void pci_intx_set(struct pci_function *, bool level);

/* ---- of this folder ------------------------------------------------------------------------------------------------------------------------------------- */

extern const struct bus_ops pci_msix_bar_ops;
void pci_msix_control_written(struct pci_function *);
void pci_bars_update(struct pci_function *);

#endif
