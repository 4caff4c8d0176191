/* SPDX-License-Identifier: MIT */
/* i8259.c - the pair of interrupt controllers of a PC (Intel 8259A data sheet), with the edge/level control registers of PCI machines.
 *
 * What the guest sees: ports 20h, 21h (master), A0h, A1h (slave on input 2), 4D0h, 4D1h (ELCR). Only 8086 mode: ICW4.PM is taken as set.
 * An edge is latched in IRR until it is acknowledged, even when the line has fallen since; a level request follows its line.
 * Locking: the device's lock; the output is driven under it. Limits: no buffered mode, no MCS-80 vectors.
 */
#include "base/bits.h"
#include "chipset/chipset.h"

enum { CASCADE = 2, CHIPS = 2 };

struct chip {
    uint8_t irr, imr, isr, lines;   /* lines: present input levels               */
    uint8_t elcr;
    uint8_t base;                   /* ICW2: vector of input 0                    */
    uint8_t lowest;                 /* input of the lowest priority               */
    uint8_t icw;                    /* 0: initialised, else the ICW expected next */
    uint8_t need_icw4, single, auto_eoi, rotate_auto, special_nested, special_mask, read_isr, poll;
};

struct i8259 {
    struct device device;
    struct bus_region ports[3];
    struct irq_line intr;
    struct chip chips[CHIPS];
    uint8_t output;
};

static struct i8259 *from_device(struct device *d) { return container_of(d, struct i8259, device); }

/* ---- priorities ---- */

/* Inputs in falling priority are lowest + 1, lowest + 2, ... The rank of the best one in `set`, 8 for none. */
static unsigned best_rank(const struct chip *c, uint8_t set)
{
    for (unsigned rank = 0; rank < 8; rank++)
        if (set >> ((c->lowest + 1 + rank) & 7) & 1)
            return rank;
    return 8;
}

static unsigned rank_input(const struct chip *c, unsigned rank) { return (c->lowest + 1 + rank) & 7; }

/* The input that asks the CPU, or -1. */
static int chip_request(const struct chip *c, bool master)
{
    uint8_t blocking = c->isr;
    if (c->special_mask)
        blocking &= (uint8_t)~c->imr;
    if (master && c->special_nested)
        blocking &= (uint8_t)~(1 << CASCADE);
    unsigned rank = best_rank(c, c->irr & (uint8_t)~c->imr);
    return rank < best_rank(c, blocking) ? (int)rank_input(c, rank) : -1;
}

static void chip_set_input(struct chip *c, unsigned input, bool level)
{
    uint8_t bit = (uint8_t)(1 << input);
    if (c->elcr & bit)
        c->irr = level ? c->irr | bit : c->irr & (uint8_t)~bit;
    else if (level && !(c->lines & bit))
        c->irr |= bit;
    c->lines = level ? c->lines | bit : c->lines & (uint8_t)~bit;
}

static void update(struct i8259 *p)
{
    /* The cascade input follows the slave as a level: a request that went away does not stay latched. */
    struct chip *m = &p->chips[0];
    uint8_t bit = 1 << CASCADE;
    if (chip_request(&p->chips[1], false) >= 0)
        m->irr |= bit, m->lines |= bit;
    else
        m->irr &= (uint8_t)~bit, m->lines &= (uint8_t)~bit;
    bool output = chip_request(m, true) >= 0;
    if (output != p->output) {
        p->output = output;
        irq_set(&p->intr, output);
    }
}

static void chip_acknowledge(struct chip *c, unsigned input)
{
    uint8_t bit = (uint8_t)(1 << input);
    if (c->auto_eoi) {
        if (c->rotate_auto)
            c->lowest = (uint8_t)input;
    } else {
        c->isr |= bit;
    }
    if (!(c->elcr & bit))
        c->irr &= (uint8_t)~bit;
}

static int acknowledge(struct i8259 *p)
{
    int input = chip_request(&p->chips[0], true);
    if (input < 0)
        return p->chips[0].base + 7; /* spurious: the request went away */
    chip_acknowledge(&p->chips[0], (unsigned)input);
    int vector = p->chips[0].base + input;
    if (input == CASCADE) {
        int slave = chip_request(&p->chips[1], false);
        if (slave >= 0)
            chip_acknowledge(&p->chips[1], (unsigned)slave);
        vector = p->chips[1].base + (slave >= 0 ? slave : 7);
    }
    update(p);
    return vector;
}

int i8259_acknowledge(struct device *d)
{
    pthread_mutex_lock(&d->lock);
    int vector = acknowledge(from_device(d));
    pthread_mutex_unlock(&d->lock);
    return vector & 0xff;
}

int i8259_acknowledge_opaque(void *device) { return i8259_acknowledge(device); }

static void set_line(void *opaque, unsigned irq, bool level)
{
    struct i8259 *p = opaque;
    pthread_mutex_lock(&p->device.lock);
    chip_set_input(&p->chips[irq / 8], irq % 8, level);
    update(p);
    pthread_mutex_unlock(&p->device.lock);
}

struct irq_line i8259_line(struct device *d, unsigned irq)
{
    if (irq > 15 || irq == CASCADE)
        return (struct irq_line){0};
    return (struct irq_line){set_line, from_device(d), irq};
}

/* ---- registers ---- */

static void chip_init(struct chip *c, uint8_t icw1)
{
    uint8_t lines = c->lines, elcr = c->elcr;
    *c = (struct chip){.lines = lines, .elcr = elcr, .lowest = 7, .icw = 2, .need_icw4 = icw1 & 1, .single = icw1 >> 1 & 1};
    c->irr = lines & elcr; /* edges must come anew, levels are still there */
}

static void chip_write_ocw2(struct chip *c, uint8_t value)
{
    unsigned level = value & 7, rank = best_rank(c, c->isr);
    unsigned highest = rank_input(c, rank);
    switch (value >> 5) {
    case 0: c->rotate_auto = 0; break;
    case 4: c->rotate_auto = 1; break;
    case 1: case 5: /* non-specific EOI, with rotation */
        if (rank == 8)
            break;
        c->isr &= (uint8_t)~(1 << highest);
        if (value >> 5 == 5)
            c->lowest = (uint8_t)highest;
        break;
    case 3: c->isr &= (uint8_t)~(1 << level); break;
    case 7: c->isr &= (uint8_t)~(1 << level); c->lowest = (uint8_t)level; break;
    case 6: c->lowest = (uint8_t)level; break;
    }
}

static void chip_write_ocw3(struct chip *c, uint8_t value)
{
    if (value & 4)
        c->poll = 1;
    if (value & 2)
        c->read_isr = value & 1;
    if (value & 0x40)
        c->special_mask = value >> 5 & 1;
}

static void chip_write_data(struct chip *c, uint8_t value)
{
    switch (c->icw) {
    case 0: c->imr = value; break;
    case 2:
        c->base = value & 0xf8;
        c->icw = !c->single ? 3 : c->need_icw4 ? 4 : 0;
        break;
    case 3: c->icw = c->need_icw4 ? 4 : 0; break; /* the wiring is fixed */
    case 4:
        c->auto_eoi = value >> 1 & 1;
        c->special_nested = value >> 4 & 1;
        c->icw = 0;
        break;
    }
}

static uint8_t poll_read(struct i8259 *p, struct chip *c)
{
    int input = chip_request(c, c == p->chips);
    c->poll = 0;
    if (input < 0)
        return 0;
    chip_acknowledge(c, (unsigned)input);
    update(p);
    return (uint8_t)(0x80 | input);
}

static enum bus_status chip_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value, unsigned which)
{
    struct i8259 *p = opaque;
    struct chip *c = &p->chips[which];
    if (size != 1)
        return BUS_BAD_SIZE;
    if (c->poll)
        *value = poll_read(p, c);
    else if (offset)
        *value = c->imr;
    else
        *value = c->read_isr ? c->isr : c->irr;
    return BUS_OK;
}

static enum bus_status chip_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, unsigned which)
{
    struct i8259 *p = opaque;
    struct chip *c = &p->chips[which];
    if (size != 1)
        return BUS_BAD_SIZE;
    if (offset)
        chip_write_data(c, (uint8_t)value);
    else if (value & 0x10)
        chip_init(c, (uint8_t)value);
    else if (value & 8)
        chip_write_ocw3(c, (uint8_t)value);
    else
        chip_write_ocw2(c, (uint8_t)value);
    update(p);
    return BUS_OK;
}

static enum bus_status master_read(void *o, uint64_t offset, unsigned size, uint64_t *value) { return chip_read(o, offset, size, value, 0); }
static enum bus_status master_write(void *o, uint64_t offset, unsigned size, uint64_t value) { return chip_write(o, offset, size, value, 0); }
static enum bus_status slave_read(void *o, uint64_t offset, unsigned size, uint64_t *value) { return chip_read(o, offset, size, value, 1); }
static enum bus_status slave_write(void *o, uint64_t offset, unsigned size, uint64_t value) { return chip_write(o, offset, size, value, 1); }

static enum bus_status elcr_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct i8259 *p = opaque;
    if (size != 1)
        return BUS_BAD_SIZE;
    *value = p->chips[offset].elcr;
    return BUS_OK;
}

/* The timer, keyboard, cascade, clock and coprocessor inputs are always edge-triggered (PIIX data sheet, ELCR1 and ELCR2). */
static const uint8_t elcr_writable[CHIPS] = {0xf8, 0xde};

static enum bus_status elcr_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct i8259 *p = opaque;
    if (size != 1)
        return BUS_BAD_SIZE;
    struct chip *c = &p->chips[offset];
    c->elcr = (uint8_t)value & elcr_writable[offset];
    c->irr = (c->irr & (uint8_t)~c->elcr) | (c->lines & c->elcr);
    update(p);
    return BUS_OK;
}

static const struct bus_ops master_ops = {master_read, master_write}, slave_ops = {slave_read, slave_write}, elcr_ops = {elcr_read, elcr_write};

static int create(struct device *d, const void *config, struct err *err)
{
    struct i8259 *p = from_device(d);
    p->intr = ((const struct i8259_config *)config)->intr;
    p->ports[0] = (struct bus_region){.name = "i8259 master", .base = 0x20, .len = 2, .ops = &master_ops};
    p->ports[1] = (struct bus_region){.name = "i8259 slave", .base = 0xa0, .len = 2, .ops = &slave_ops};
    p->ports[2] = (struct bus_region){.name = "edge/level control", .base = 0x4d0, .len = 2, .ops = &elcr_ops};
    for (unsigned i = 0; i < ARRAY_LEN(p->ports); i++) {
        p->ports[i].space = BUS_PORT;
        p->ports[i].opaque = p;
        p->ports[i].owner = d;
        int e = bus_add(d->services.bus, &p->ports[i], err);
        if (e)
            return e;
    }
    return 0;
}

/* Lines are other devices' and stay. */
static void reset(struct device *d)
{
    struct i8259 *p = from_device(d);
    for (unsigned i = 0; i < CHIPS; i++) {
        p->chips[i].elcr = 0;
        chip_init(&p->chips[i], 0);
        p->chips[i].icw = 0;
    }
    update(p);
}

static int loaded(struct device *d, struct err *err)
{
    struct i8259 *p = from_device(d);
    for (unsigned i = 0; i < CHIPS; i++) {
        const struct chip *c = &p->chips[i];
        if (c->lowest > 7 || c->icw > 4 || c->icw == 1 || (c->base & 7) || (c->elcr & ~elcr_writable[i]))
            return err_set(err, ERR_INPUT, "chip %u: impossible state", i);
    }
    irq_set(&p->intr, p->output);
    update(p);
    return 0;
}

static const struct field i8259_fields[] = {
    FIELD_BYTES(struct i8259, chips, "irr imr isr lines elcr base lowest icw need_icw4 single auto_eoi rotate_auto special_nested special_mask read_isr poll"),
    FIELD(struct i8259, output, "level of INTR"),
    FIELD_END
};

const struct device_class i8259_class = {
    .name = "i8259", .summary = "pair of 8259A interrupt controllers", .size = sizeof(struct i8259), .create = create, .reset = reset, .fields = i8259_fields,
    .loaded = loaded,
};
