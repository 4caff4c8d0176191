/* SPDX-License-Identifier: MIT */
/* ioapic.c - I/O APIC, 24 inputs (Intel 82093AA data sheet; version 11h, so without an EOI register).
 *
 * What the guest sees: IOREGSEL and IOWIN in one page; ID, version, arbitration and 24 redirection entries. Interrupts leave as MSIs whose data carries
 * delivery and trigger mode; bits 55..49 of an entry are the extended destination ID that KVM and Hyper-V guests know.
 * Edge: a rising line sends when the entry is unmasked, else it is lost. Level: sends while the line is high and remote IRR is clear; the EOI
 * broadcast clears remote IRR. Polarity is kept and ignored: all lines of this machine are active high here.
 * Locking: the device's lock; MSIs are sent under it. The EOI comes from a CPU that holds no lock.
 */
#include "base/bits.h"
#include "chipset/chipset.h"

enum { PINS = 24 };

#define IOAPIC_SIZE UINT64_C(0x1000)
#define VERSION     (UINT32_C(0x11) | (PINS - 1) << 16)

enum { /* redirection entry, data sheet section 3.2.4 */
    ENTRY_VECTOR = 0xff, ENTRY_LOGICAL = 1 << 11, ENTRY_STATUS = 1 << 12, ENTRY_REMOTE_IRR = 1 << 14, ENTRY_LEVEL = 1 << 15, ENTRY_MASKED = 1 << 16,
    ENTRY_LOW_WRITABLE = 0x1afff,
};
#define ENTRY_HIGH_WRITABLE UINT32_C(0xfffe0000) /* destination, extended destination */

struct ioapic {
    struct device device;
    struct bus_region window;
    uint8_t select, id;
    uint32_t lines;
    uint64_t entries[PINS];
};

static struct ioapic *from_device(struct device *d) { return container_of(d, struct ioapic, device); }

static void send(struct ioapic *p, unsigned pin)
{
    uint64_t e = p->entries[pin];
    uint64_t address = UINT64_C(0xfee00000) | bits_get(e, 63, 56) << 12 | bits_get(e, 55, 49) << 5 | (e & ENTRY_LOGICAL ? BIT(2) : 0);
    uint32_t data = (uint32_t)(e & 0x7ff) | (e & ENTRY_LEVEL ? ENTRY_LEVEL | BIT(14) : 0);
    msi_send(&p->device.services.msi, address, data, 0);
}

/* Sends a level request that may go now. */
static void service_level(struct ioapic *p, unsigned pin)
{
    uint64_t *e = &p->entries[pin];
    if (!(*e & ENTRY_LEVEL) || (*e & (ENTRY_MASKED | ENTRY_REMOTE_IRR)) || !(p->lines >> pin & 1))
        return;
    *e |= ENTRY_REMOTE_IRR;
    send(p, pin);
}

static void set_line(void *opaque, unsigned pin, bool level)
{
    struct ioapic *p = opaque;
    uint32_t bit = UINT32_C(1) << pin;
    pthread_mutex_lock(&p->device.lock);
    bool before = p->lines & bit;
    p->lines = level ? p->lines | bit : p->lines & ~bit;
    if (p->entries[pin] & ENTRY_LEVEL)
        service_level(p, pin);
    else if (level && !before && !(p->entries[pin] & ENTRY_MASKED))
        send(p, pin);
    pthread_mutex_unlock(&p->device.lock);
}

struct irq_line ioapic_line(struct device *d, unsigned pin)
{
    return pin < PINS ? (struct irq_line){set_line, from_device(d), pin} : (struct irq_line){0};
}

void ioapic_eoi(struct device *d, uint8_t vector)
{
    struct ioapic *p = from_device(d);
    pthread_mutex_lock(&d->lock);
    for (unsigned pin = 0; pin < PINS; pin++) {
        uint64_t *e = &p->entries[pin];
        if ((*e & ENTRY_VECTOR) == vector && (*e & ENTRY_LEVEL) && (*e & ENTRY_REMOTE_IRR)) {
            *e &= ~(uint64_t)ENTRY_REMOTE_IRR;
            service_level(p, pin);
        }
    }
    pthread_mutex_unlock(&d->lock);
}

void ioapic_eoi_opaque(void *device, uint8_t vector) { ioapic_eoi(device, vector); }

/* ---- registers ---- */

static uint32_t register_read(const struct ioapic *p, uint8_t n)
{
    switch (n) {
    case 0: case 2: return (uint32_t)p->id << 24; /* the arbitration ID follows the ID (section 3.2.3) */
    case 1: return VERSION;
    }
    unsigned pin = (n - 0x10u) / 2;
    if (n < 0x10 || pin >= PINS)
        return 0;
    return (uint32_t)(n & 1 ? p->entries[pin] >> 32 : p->entries[pin]);
}

static void register_write(struct ioapic *p, uint8_t n, uint32_t value)
{
    if (n == 0)
        p->id = value >> 24 & 0xf;
    unsigned pin = (n - 0x10u) / 2;
    if (n < 0x10 || pin >= PINS)
        return;
    uint64_t *e = &p->entries[pin];
    if (n & 1) {
        *e = (*e & UINT32_MAX) | (uint64_t)(value & ENTRY_HIGH_WRITABLE) << 32;
        return;
    }
    *e = (*e & ~(uint64_t)ENTRY_LOW_WRITABLE) | (value & ENTRY_LOW_WRITABLE);
    if (!(*e & ENTRY_LEVEL))
        *e &= ~(uint64_t)ENTRY_REMOTE_IRR; /* Linux clears a stuck remote IRR by a turn through edge mode */
    service_level(p, pin);
}

static enum bus_status read_window(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct ioapic *p = opaque;
    if (offset != 0 && offset != 0x10)
        return BUS_NO_REGISTER;
    if (size != 4 && (offset || size > 4))
        return BUS_BAD_SIZE;
    *value = offset ? register_read(p, p->select) : p->select;
    return BUS_OK;
}

static enum bus_status write_window(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct ioapic *p = opaque;
    if (offset != 0 && offset != 0x10)
        return BUS_NO_REGISTER;
    if (size != 4 && (offset || size > 4))
        return BUS_BAD_SIZE;
    if (offset)
        register_write(p, p->select, (uint32_t)value);
    else
        p->select = (uint8_t)value;
    return BUS_OK;
}

static const struct bus_ops window_ops = {read_window, write_window};

static int create(struct device *d, const void *config, struct err *err)
{
    struct ioapic *p = from_device(d);
    p->window = (struct bus_region){
        .name = "ioapic", .space = BUS_MMIO, .base = ((const struct ioapic_config *)config)->base, .len = IOAPIC_SIZE, .ops = &window_ops, .opaque = p, .owner = d,
    };
    return bus_add(d->services.bus, &p->window, err);
}

static void reset(struct device *d)
{
    struct ioapic *p = from_device(d);
    p->select = p->id = 0;
    for (unsigned i = 0; i < PINS; i++)
        p->entries[i] = ENTRY_MASKED;
}

static int loaded(struct device *d, struct err *err)
{
    struct ioapic *p = from_device(d);
    uint64_t allowed = (uint64_t)ENTRY_HIGH_WRITABLE << 32 | ENTRY_LOW_WRITABLE | ENTRY_REMOTE_IRR;
    if (p->id > 0xf || p->lines >> PINS)
        return err_set(err, ERR_INPUT, "impossible ID or line");
    for (unsigned i = 0; i < PINS; i++)
        if (p->entries[i] & ~allowed)
            return err_set(err, ERR_INPUT, "redirection entry %u has reserved bits set", i);
    return 0;
}

static const struct field ioapic_fields[] = {
    FIELD(struct ioapic, select, "IOREGSEL"),
    FIELD(struct ioapic, id, "ID"),
    FIELD(struct ioapic, lines, "present input levels"),
    FIELD_BYTES(struct ioapic, entries, "redirection entries"),
    FIELD_END
};

const struct device_class ioapic_class = {
    .name = "ioapic", .summary = "82093AA I/O interrupt controller", .size = sizeof(struct ioapic), .create = create, .reset = reset, .fields = ioapic_fields,
    .loaded = loaded,
};
