/* SPDX-License-Identifier: MIT */
/* chipset.h - the legacy devices of a PC: what creates each (class and configuration) and what the machine calls on it.
 *
 * Every device is made with device_new(&NAME_class, id, services, &config, ...). Functions below that take a struct device expect one of the named class,
 * take its lock themselves and may be called from any thread unless they say otherwise. Lines that a device drives are called with its lock held; the order of
 * locks is: device, irq_router, i8259, ioapic; the local APICs have none.
 */
#ifndef CHIPSET_CHIPSET_H
#define CHIPSET_CHIPSET_H

#include <stdbool.h>
#include <stdint.h>

#include "bus/device.h"
#include "bus/stream.h"

/* ---- what ends the machine's life ------------------------------------------------------------------------------------------------------------- */

enum power_request { POWER_OFF, POWER_RESET, POWER_EXIT /* exit port */, POWER_SLEEP /* S3, for what wants to refuse it */ };
/* `status` is the exit status with POWER_EXIT, else 0. Called with the device's lock held, on a vCPU's thread; must not block. */
struct power_sink { void (*request)(void *opaque, enum power_request, int status); void *opaque; };

/* ---- interrupt routing: irq_router.c ------------------------------------------------------------------------------------------------------------ */

/* Joins sources to the global system interrupts (GSIs, ACPI 5.2.12). Several sources may share one (wired OR). GSIs below 16 also reach the i8259 pair. */
#define IRQ_ROUTER_GSIS 24
struct irq_router;
struct irq_router_config {
    struct irq_line i8259, ioapic; /* `number` is replaced by the pin; either may be zero                                               */
    unsigned timer_pin;            /* IOAPIC pin of ISA IRQ 0: 2 where the MADT has the usual override, else 0 (its own pin)             */
};
struct irq_router *irq_router_new(const struct irq_router_config *, struct err *);
void irq_router_free(struct irq_router *); /* after its sources; NULL is allowed */
/* A line of its own for one more source of `gsi`; ERR_USAGE when there is no such GSI or 32 sources drive it. Before vCPUs run or while they do. */
int  irq_router_line(struct irq_router *, unsigned gsi, struct irq_line *out, struct err *);

/* ---- i8259 pair: i8259.c ---------------------------------------------------------------------------------------------------------------------------- */

extern const struct device_class i8259_class;
struct i8259_config { struct irq_line intr; };              /* to the CPU: apic_bus_line(bus, 0, level) or the like           */
struct irq_line i8259_line(struct device *, unsigned irq);   /* input 0..15; 2 is the cascade and not connected                */
int  i8259_acknowledge(struct device *);                     /* INTA cycle: the vector, spurious ones included                 */
int  i8259_acknowledge_opaque(void *device);                 /* the same in the shape that apic_bus_set_extint wants           */

/* ---- IOAPIC: ioapic.c ---------------------------------------------------------------------------------------------------------------------------------- */

extern const struct device_class ioapic_class;               /* interrupts leave by services.msi                               */
struct ioapic_config { uint64_t base; };                     /* 0xfec00000 on a PC                                              */
struct irq_line ioapic_line(struct device *, unsigned pin);  /* 0..23                                                           */
void ioapic_eoi(struct device *, uint8_t vector);            /* EOI broadcast of a level-triggered vector                      */
void ioapic_eoi_opaque(void *device, uint8_t vector);        /* the same in the shape that apic_bus_set_eoi wants              */

/* ---- 8254 timer and port 61h: pit.c ---------------------------------------------------------------------------------------------------------------------- */

extern const struct device_class pit_class;
struct pit_config { struct irq_line irq; };                  /* ISA IRQ 0 */

/* ---- MC146818 clock and CMOS RAM: rtc.c ------------------------------------------------------------------------------------------------------------------- */

extern const struct device_class rtc_class;
struct rtc_config {
    struct irq_line irq;      /* ISA IRQ 8 */
    uint64_t start_ns;        /* time of day at creation, ns since 1970 UTC; 0: the host's         */
    uint64_t low_memory;      /* bytes of RAM from address 0 to below 4 GiB, for the size bytes    */
    uint64_t high_memory;     /* bytes of RAM above 4 GiB                                          */
};

/* ---- ACPI fixed hardware and reset register: acpi_pm.c ------------------------------------------------------------------------------------------------------- */

extern const struct device_class acpi_pm_class;
struct acpi_pm_config {
    uint16_t event_port;      /* PM1a event block, 4 bytes          */
    uint16_t control_port;    /* PM1a control block, 2 bytes        */
    uint16_t timer_port;      /* PM timer, 4 bytes                  */
    uint16_t reset_port;      /* 0xcf9: reset control register; 0: none here, since a PCI host bridge answers there and passes it on (below) */
    uint8_t  s5_type, s3_type; /* SLP_TYP values; s3_type 0xff: no S3 */
    struct irq_line sci;
    struct power_sink power;
};
void acpi_pm_power_button(struct device *);
/* The reset control register for a PCI host bridge: CF9h lies inside its CONFIG_ADDRESS at CF8h, and a region of its own there would split dword accesses. */
uint8_t acpi_pm_reset_read(void *device);
void acpi_pm_reset_write(void *device, uint8_t value);

/* ---- keyboard controller without keyboard, and port 92h: i8042.c ----------------------------------------------------------------------------------------------- */

extern const struct device_class i8042_class;
struct i8042_config { struct power_sink power; };

/* ---- small ports ------------------------------------------------------------------------------------------------------------------------------------------------ */

extern const struct device_class post_ports_class;           /* post_ports.c: 80h and EDh, latches that delay loops write. No configuration */

extern const struct device_class exit_port_class;            /* exit_port.c: a write ends the run */
struct exit_port_config { uint16_t port; struct power_sink power; }; /* status 0 for value 0, else 100 + min(value, 27) */

extern const struct device_class test_device_class;          /* test_device.c: what kvm-unit-tests expects beside the exit port */
struct test_device_config { struct irq_line lines[IRQ_ROUTER_GSIS]; };

extern const struct device_class fw_cfg_class;               /* fw_cfg.c: ports 510h, 511h; items, no DMA */
enum { FW_CFG_SIGNATURE = 0, FW_CFG_ID = 1, FW_CFG_RAM_SIZE = 3, FW_CFG_NB_CPUS = 5, FW_CFG_MAX_CPUS = 15 }; /* QEMU docs/specs/fw_cfg.rst */
struct fw_cfg_item { uint16_t key; const void *data; uint32_t len; };
struct fw_cfg_config { uint64_t memory; uint16_t cpus; const struct fw_cfg_item *items; size_t item_count; }; /* further items, copied */

/* ---- HPET: hpet.c -------------------------------------------------------------------------------------------------------------------------------------------------- */

/* ---- 16550A: serial.c ------------------------------------------------------------------------------------------------------------------------------------------------ */

extern const struct device_class serial_class;
struct serial_config { uint16_t port; struct irq_line irq; struct stream_backend backend; }; /* 3f8h, ISA IRQ 4 for COM1 */
struct stream_frontend serial_frontend(struct device *);

#endif
