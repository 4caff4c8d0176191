/* SPDX-License-Identifier: MIT */
/* serial.c - 16550A UART (National PC16550D data sheet).
 *
 * What the guest sees: 16-byte receive and transmit FIFOs, all four interrupt sources, loopback, modem control with a peer that is always ready. Characters leave
 * as fast as the back end takes them; the baud rate is kept and ignored. The character time-out interrupt comes at once instead of after four character times.
 * OUT2 gates the interrupt line, as on a PC.
 * Input that does not fit the FIFO stays with the back end (stream.h), so nothing overruns but in loopback.
 * Locking: the device's lock, also around the back end's functions.
 */
#include <string.h>

#include "base/bits.h"
#include "chipset/chipset.h"

enum { FIFO_SIZE = 16 };
enum { IER_RECEIVE = 1, IER_TRANSMIT = 2, IER_LINE = 4, IER_MODEM = 8, IER_WRITABLE = 0xf };
enum { IIR_NONE = 1, IIR_MODEM = 0, IIR_TRANSMIT = 2, IIR_RECEIVE = 4, IIR_LINE = 6, IIR_TIMEOUT = 0xc, IIR_FIFOS = 0xc0 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RECEIVE = 2, FCR_CLEAR_TRANSMIT = 4 };
enum { LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 0x10, MCR_WRITABLE = 0x1f };
enum { LSR_DATA = 1, LSR_OVERRUN = 2, LSR_ERRORS = 0x1e, LSR_HOLDING_EMPTY = 0x20, LSR_EMPTY = 0x40 };
enum { MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80 };

struct fifo { uint8_t bytes[FIFO_SIZE], at, count; };

struct serial {
    struct device device;
    struct bus_region region;
    struct irq_line irq;
    struct stream_backend backend;
    struct fifo receive, transmit;
    uint8_t ier, fcr, lcr, mcr, scratch, divisor_low, divisor_high;
    uint8_t line_errors, modem_lines, modem_deltas; /* LSR bits 1..4; MSR bits 7..4 and 3..0 */
    uint8_t transmit_event;                          /* the holding register became empty and nobody has looked */
    uint8_t input_waits;                             /* the back end was told "no more room"                    */
};

static struct serial *from_device(struct device *d) { return container_of(d, struct serial, device); }

/* ---- FIFOs ---- */

static unsigned capacity(const struct serial *s) { return s->fcr & FCR_ENABLE ? FIFO_SIZE : 1; }

static void fifo_put(struct fifo *f, uint8_t value)
{
    f->bytes[(f->at + f->count) % FIFO_SIZE] = value;
    f->count++;
}

static uint8_t fifo_get(struct fifo *f)
{
    uint8_t value = f->bytes[f->at];
    f->at = (f->at + 1) % FIFO_SIZE;
    f->count--;
    return value;
}

static void fifo_clear(struct fifo *f) { f->at = f->count = 0; }

/* ---- interrupt ---- */

static unsigned receive_trigger(const struct serial *s)
{
    static const uint8_t levels[4] = {1, 4, 8, 14};
    return s->fcr & FCR_ENABLE ? levels[s->fcr >> 6] : 1;
}

/* The pending source of the highest priority (data sheet, table IV). */
static uint8_t interrupt_id(const struct serial *s)
{
    if ((s->ier & IER_LINE) && s->line_errors)
        return IIR_LINE;
    if ((s->ier & IER_RECEIVE) && s->receive.count)
        return s->receive.count >= receive_trigger(s) ? IIR_RECEIVE : IIR_TIMEOUT;
    if ((s->ier & IER_TRANSMIT) && s->transmit_event)
        return IIR_TRANSMIT;
    if ((s->ier & IER_MODEM) && s->modem_deltas)
        return IIR_MODEM;
    return IIR_NONE;
}

static void update(struct serial *s)
{
    irq_set(&s->irq, interrupt_id(s) != IIR_NONE && (s->mcr & MCR_OUT2) && !(s->mcr & MCR_LOOP));
}

/* ---- characters ---- */

static void transmit_drain(struct serial *s)
{
    while (s->transmit.count) {
        uint8_t run[FIFO_SIZE];
        unsigned n = s->transmit.count;
        for (unsigned i = 0; i < n; i++)
            run[i] = s->transmit.bytes[(s->transmit.at + i) % FIFO_SIZE];
        size_t taken = s->backend.write ? s->backend.write(s->backend.opaque, run, n) : n;
        taken = taken > n ? n : taken;
        s->transmit.at = (uint8_t)((s->transmit.at + taken) % FIFO_SIZE);
        s->transmit.count -= (uint8_t)taken;
        if (!taken)
            return;
    }
    s->transmit_event = 1;
}

static void receive_loop(struct serial *s, uint8_t value)
{
    if (s->receive.count < capacity(s))
        fifo_put(&s->receive, value);
    else
        s->line_errors |= LSR_OVERRUN;
    s->transmit_event = 1;
}

static void transmit_write(struct serial *s, uint8_t value)
{
    s->transmit_event = 0;
    if (s->mcr & MCR_LOOP) {
        receive_loop(s, value);
        return;
    }
    if (s->transmit.count < capacity(s))
        fifo_put(&s->transmit, value);
    transmit_drain(s);
}

/* Room appeared: lets the back end go on, once. */
static void input_resume(struct serial *s)
{
    if (!s->input_waits || s->receive.count >= capacity(s) || (s->mcr & MCR_LOOP))
        return;
    s->input_waits = 0;
    if (s->backend.readable)
        s->backend.readable(s->backend.opaque);
}

static size_t frontend_receive(void *opaque, const uint8_t *data, size_t len)
{
    struct serial *s = opaque;
    size_t taken = 0;
    pthread_mutex_lock(&s->device.lock);
    while (taken < len && s->receive.count < capacity(s) && !(s->mcr & MCR_LOOP))
        fifo_put(&s->receive, data[taken++]);
    s->input_waits = taken < len;
    update(s);
    pthread_mutex_unlock(&s->device.lock);
    return taken;
}

static void frontend_writable(void *opaque)
{
    struct serial *s = opaque;
    pthread_mutex_lock(&s->device.lock);
    if (s->transmit.count)
        transmit_drain(s);
    update(s);
    pthread_mutex_unlock(&s->device.lock);
}

struct stream_frontend serial_frontend(struct device *d)
{
    return (struct stream_frontend){frontend_receive, frontend_writable, from_device(d)};
}

/* ---- registers ---- */

static uint8_t line_status(const struct serial *s)
{
    return (uint8_t)((s->receive.count ? LSR_DATA : 0) | s->line_errors | (s->transmit.count ? 0 : LSR_HOLDING_EMPTY | LSR_EMPTY));
}

/* In loopback the modem outputs come back as inputs (data sheet 8.6.7). */
static void modem_update(struct serial *s)
{
    uint8_t lines = MSR_CTS | MSR_DSR | MSR_DCD;
    if (s->mcr & MCR_LOOP)
        lines = (uint8_t)((s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) | (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0));
    uint8_t changed = lines ^ s->modem_lines;
    s->modem_deltas |= (changed & (MSR_CTS | MSR_DSR | MSR_DCD)) >> 4;
    if (changed & MSR_RI & (uint8_t)~lines)
        s->modem_deltas |= MSR_RI >> 4; /* trailing edge */
    s->modem_lines = lines;
}

static uint8_t register_read(struct serial *s, unsigned n)
{
    uint8_t value;
    switch (n) {
    case 0:
        if (s->lcr & LCR_DLAB)
            return s->divisor_low;
        value = s->receive.count ? fifo_get(&s->receive) : 0;
        input_resume(s);
        return value;
    case 1: return s->lcr & LCR_DLAB ? s->divisor_high : s->ier;
    case 2:
        value = interrupt_id(s);
        if (value == IIR_TRANSMIT)
            s->transmit_event = 0;
        return (uint8_t)(value | (s->fcr & FCR_ENABLE ? IIR_FIFOS : 0));
    case 3: return s->lcr;
    case 4: return s->mcr;
    case 5:
        value = line_status(s);
        s->line_errors = 0;
        return value;
    case 6:
        value = s->modem_lines | s->modem_deltas;
        s->modem_deltas = 0;
        return value;
    default: return s->scratch;
    }
}

static void fcr_write(struct serial *s, uint8_t value)
{
    if ((value ^ s->fcr) & FCR_ENABLE)
        value |= FCR_CLEAR_RECEIVE | FCR_CLEAR_TRANSMIT;
    s->fcr = value & FCR_ENABLE ? value & 0xc9 : 0;
    if (value & FCR_CLEAR_RECEIVE)
        fifo_clear(&s->receive);
    if (value & FCR_CLEAR_TRANSMIT) {
        if (s->transmit.count)
            s->transmit_event = 1;
        fifo_clear(&s->transmit);
    }
    input_resume(s);
}

static void register_write(struct serial *s, unsigned n, uint8_t value)
{
    switch (n) {
    case 0:
        if (s->lcr & LCR_DLAB)
            s->divisor_low = value;
        else
            transmit_write(s, value);
        break;
    case 1:
        if (s->lcr & LCR_DLAB) {
            s->divisor_high = value;
            break;
        }
        if ((value & ~s->ier & IER_TRANSMIT) && !s->transmit.count)
            s->transmit_event = 1; /* enabling asks at once when there is nothing to send */
        s->ier = value & IER_WRITABLE;
        break;
    case 2: fcr_write(s, value); break;
    case 3: s->lcr = value; break;
    case 4:
        s->mcr = value & MCR_WRITABLE;
        modem_update(s);
        input_resume(s);
        break;
    case 7: s->scratch = value; break;
    default: break; /* line and modem status are read-only */
    }
}

static enum bus_status port_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    if (size != 1)
        return BUS_BAD_SIZE;
    *value = register_read(opaque, (unsigned)offset);
    update(opaque);
    return BUS_OK;
}

static enum bus_status port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    if (size != 1)
        return BUS_BAD_SIZE;
    register_write(opaque, (unsigned)offset, (uint8_t)value);
    update(opaque);
    return BUS_OK;
}

static const struct bus_ops port_ops = {port_read, port_write};

static int create(struct device *d, const void *config, struct err *err)
{
    const struct serial_config *c = config;
    struct serial *s = from_device(d);
    s->irq = c->irq;
    s->backend = c->backend;
    s->region = (struct bus_region){.name = "16550", .space = BUS_PORT, .base = c->port, .len = 8, .ops = &port_ops, .opaque = s, .owner = d};
    return bus_add(d->services.bus, &s->region, err);
}

static void reset(struct device *d)
{
    struct serial *s = from_device(d);
    fifo_clear(&s->receive);
    fifo_clear(&s->transmit);
    s->ier = s->fcr = s->lcr = s->mcr = s->scratch = 0;
    s->divisor_low = 12; /* 9600 baud */
    s->divisor_high = 0;
    s->line_errors = s->transmit_event = 0;
    modem_update(s);
    s->modem_deltas = 0;
    input_resume(s);
    update(s);
}

static int loaded(struct device *d, struct err *err)
{
    struct serial *s = from_device(d);
    if (s->receive.count > FIFO_SIZE || s->receive.at >= FIFO_SIZE || s->transmit.count > FIFO_SIZE || s->transmit.at >= FIFO_SIZE)
        return err_set(err, ERR_INPUT, "impossible FIFO");
    if ((s->ier & ~IER_WRITABLE) || (s->mcr & ~MCR_WRITABLE) || (s->line_errors & ~LSR_ERRORS) || (s->modem_lines & 0xf) || (s->modem_deltas & 0xf0))
        return err_set(err, ERR_INPUT, "a register has reserved bits set");
    s->input_waits = 1; /* the back end of this process has not been asked yet */
    input_resume(s);
    update(s);
    return 0; /* what waits in the transmit FIFO goes when the back end says writable() */
}

static const struct field serial_fields[] = {
    FIELD_BYTES(struct serial, receive, "receive FIFO: bytes, first, count"), FIELD_BYTES(struct serial, transmit, "transmit FIFO: bytes, first, count"),
    FIELD(struct serial, ier, "interrupt enable"), FIELD(struct serial, fcr, "FIFO control"), FIELD(struct serial, lcr, "line control"),
    FIELD(struct serial, mcr, "modem control"), FIELD(struct serial, scratch, "scratch"), FIELD(struct serial, divisor_low, "divisor, low byte"),
    FIELD(struct serial, divisor_high, "divisor, high byte"), FIELD(struct serial, line_errors, "error bits of line status"),
    FIELD(struct serial, modem_lines, "modem inputs"), FIELD(struct serial, modem_deltas, "modem inputs that changed"),
    FIELD(struct serial, transmit_event, "transmitter-empty interrupt waits"), FIELD_END
};

const struct device_class serial_class = {
    .name = "serial", .summary = "16550A UART", .size = sizeof(struct serial), .create = create, .reset = reset, .fields = serial_fields, .loaded = loaded,
};
