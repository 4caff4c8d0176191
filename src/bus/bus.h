/* SPDX-License-Identifier: MIT */
/* bus.h - ports, MMIO, interrupt lines and MSIs: how an access finds its device and how a device is heard.
 *
 * A device answers an access with a status; the bus decides what the guest sees (all ones for a read that nobody answers, nothing for such a write).
 * Every region belongs to a device; the bus holds that device's lock around its functions and refuses re-entry (a DMA of the device that lands on its own registers).
 * Regions may come, go and move while vCPUs run (PCI BARs).
 *
 * Trust: address, size and value are the guest's. Sizes are 1, 2, 4 or 8; an access never reaches past its region's end. A port access that a device answers with
 * BUS_BAD_SIZE (and no effect) is tried again in halves, as the ISA bus does for 8-bit devices.
 * Threads: bus_read/bus_write from any thread, concurrently; the rest too. Moving or removing a region from inside its own device's functions is fine. After
 * bus_remove() no new access finds the region; one on its way holds the device's lock, so it is over for whoever holds that lock. A region's memory
 * lives as long as its owner (it is embedded in it); device_free() waits.
 */
#ifndef BUS_BUS_H
#define BUS_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"

struct bus;
struct device;

enum bus_space { BUS_PORT, BUS_MMIO, BUS_SPACE_COUNT };

enum bus_status {
    BUS_OK,
    BUS_NO_REGISTER, /* no such register                                                        */
    BUS_BAD_SIZE,    /* the register cannot be accessed with this size                          */
    BUS_UNALIGNED,
    BUS_DEFERRED,    /* write only: accepted, completes later on the executor                   */
};

struct bus_ops {
    enum bus_status (*read)(void *opaque, uint64_t offset, unsigned size, uint64_t *value);
    enum bus_status (*write)(void *opaque, uint64_t offset, unsigned size, uint64_t value);
};

/* Embedded in its owner; the bus keeps a pointer while it is added. */
struct bus_region {
    const char *name;
    enum bus_space space;
    uint64_t base, len;
    const struct bus_ops *ops;
    void *opaque;              /* first argument of the ops                                    */
    struct device *owner;      /* whose lock is held                                           */
    int  priority;             /* where regions overlap the higher answers (VGA over RAM hole) */
    bool added;                /* the bus's own */
};

struct bus *bus_new(struct err *);
void bus_free(struct bus *);
int  bus_add(struct bus *, struct bus_region *, struct err *);        /* ERR_USAGE: empty, wraps, or overlaps one of the same priority */
void bus_remove(struct bus *, struct bus_region *);                    /* harmless when it is not added                                  */
void bus_remove_owner(struct bus *, const struct device *);            /* every region of that device                                     */
int  bus_move(struct bus *, struct bus_region *, uint64_t base, struct err *); /* on error it stays where it was; not added: only sets base */

/* What the guest sees. An access of another size than 1, 2, 4, 8 or one that spans regions is split. Reads return all ones where nobody answers.
 * The status is for tracing and tests only. */
enum bus_status bus_read(struct bus *, enum bus_space, uint64_t address, unsigned size, uint64_t *value);
enum bus_status bus_write(struct bus *, enum bus_space, uint64_t address, unsigned size, uint64_t value);

/* Visits the regions in address order (for inspect and the ACPI _CRS checks). `visit` must not call into the bus. */
void bus_regions(struct bus *, enum bus_space, void (*visit)(void *opaque, const struct bus_region *), void *opaque);

/* ---- interrupts ------------------------------------------------------------------------------------------------------------------------------------ */

/* One wire, as a value: whoever holds it may drive it. A zero irq_line is not connected. */
struct irq_line { void (*set)(void *opaque, unsigned number, bool level); void *opaque; unsigned number; };
static inline void irq_set(const struct irq_line *line, bool level)
{
    if (line->set)
        line->set(line->opaque, line->number, level);
}

/* Where message-signalled interrupts go. `requester` is the PCI requester id (bus << 8 | devfn). */
struct msi_sink { void (*send)(void *opaque, uint64_t address, uint32_t data, uint32_t requester); void *opaque; };
static inline void msi_send(const struct msi_sink *sink, uint64_t address, uint32_t data, uint32_t requester)
{
    if (sink->send)
        sink->send(sink->opaque, address, data, requester);
}

#endif
