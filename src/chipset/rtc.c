/* SPDX-License-Identifier: MIT */
/* rtc.c - MC146818 clock and CMOS RAM, ports 70h and 71h (Motorola MC146818A data sheet; byte assignments of the PC AT and its followers).
 *
 * What the guest sees: time and date (BCD or binary, 12 or 24 hours) with the century at 32h, alarm, periodic and update-ended interrupts on IRQ 8,
 * and 114 bytes of RAM that survive a reset, with the memory sizes that firmware leaves there.
 *
 * Time of day = the VM's clock + offset, so it stands still while the VM does. Flags of register C are computed when they are looked at; a timer runs only while an
 * interrupt is enabled and its flag is clear. DEVIATIONS: the alarm flag is set only while its interrupt is enabled; the divider does not stop the clock.
 * Trust: register contents are the guest's; every conversion is total over them.
 */
#include <string.h>

#include "base/bits.h"
#include "base/clock.h"
#include "chipset/chipset.h"
#include "executor/executor.h"

#define NS_PER_S  UINT64_C(1000000000)
#define UPDATE_NS UINT64_C(244000) /* UIP rises 244 microseconds before an update (data sheet, figure 9) */
#define DAY_S     UINT64_C(86400)

enum {
    REG_SECONDS = 0, REG_SECONDS_ALARM = 1, REG_MINUTES = 2, REG_MINUTES_ALARM = 3, REG_HOURS = 4, REG_HOURS_ALARM = 5, REG_WEEKDAY = 6, REG_DAY = 7, REG_MONTH = 8,
    REG_YEAR = 9, REG_A = 10, REG_B = 11, REG_C = 12, REG_D = 13, REG_CENTURY = 0x32, REG_COUNT = 128,
};
enum { A_UPDATING = 0x80, B_SET = 0x80, B_BINARY = 4, B_24H = 2, FLAG_PERIODIC = 0x40, FLAG_ALARM = 0x20, FLAG_UPDATE = 0x10, FLAGS = 0x70, C_REQUEST = 0x80, D_VALID = 0x80 };

struct rtc {
    struct device device;
    struct bus_region region;
    struct exec_timer timer;
    struct irq_line irq;
    uint64_t offset;         /* time of day, ns since 1970 = clock + offset */
    uint64_t seen;           /* time of day up to which flags are computed   */
    uint8_t index, ram[REG_COUNT];
};

static struct rtc *from_device(struct device *d) { return container_of(d, struct rtc, device); }
static uint64_t time_of_day(const struct rtc *r) { return executor_now(r->device.services.executor) + r->offset; }

/* ---- calendar ---- */

struct date { unsigned second, minute, hour, weekday /* 1 = Sunday */, day, month, year; };

static uint64_t days_of(unsigned year, unsigned month, unsigned day)
{
    /* Days since 1970 in the Gregorian calendar; years begin in March, so that the leap day is the last. */
    uint64_t y = year - (month <= 2), era = y / 400, yoe = y % 400, doy = (153 * (month + (month > 2 ? -3u : 9u)) + 2) / 5 + day - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static struct date date_of(uint64_t seconds)
{
    uint64_t days = seconds / DAY_S, rest = seconds % DAY_S, z = days + 719468, era = z / 146097, doe = z % 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    unsigned month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
    return (struct date){
        .second = (unsigned)(rest % 60), .minute = (unsigned)(rest / 60 % 60), .hour = (unsigned)(rest / 3600), .weekday = (unsigned)((days + 4) % 7 + 1),
        .day = (unsigned)(doy - (153 * mp + 2) / 5 + 1), .month = month, .year = (unsigned)(yoe + era * 400 + (month <= 2)),
    };
}

static uint8_t encode(const struct rtc *r, unsigned v) { return (uint8_t)(r->ram[REG_B] & B_BINARY ? v : v / 10 % 10 << 4 | v % 10); }
static unsigned decode(const struct rtc *r, uint8_t v) { return r->ram[REG_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 15); }

static uint8_t encode_hour(const struct rtc *r, unsigned hour)
{
    if (r->ram[REG_B] & B_24H)
        return encode(r, hour);
    return (uint8_t)(encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0));
}

static unsigned decode_hour(const struct rtc *r, uint8_t v)
{
    if (r->ram[REG_B] & B_24H)
        return decode(r, v);
    return decode(r, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

/* Writes the time of day into the registers. */
static void registers_fill(struct rtc *r, uint64_t time)
{
    struct date d = date_of(time / NS_PER_S);
    r->ram[REG_SECONDS] = encode(r, d.second);
    r->ram[REG_MINUTES] = encode(r, d.minute);
    r->ram[REG_HOURS] = encode_hour(r, d.hour);
    r->ram[REG_WEEKDAY] = encode(r, d.weekday);
    r->ram[REG_DAY] = encode(r, d.day);
    r->ram[REG_MONTH] = encode(r, d.month);
    r->ram[REG_YEAR] = encode(r, d.year % 100);
    r->ram[REG_CENTURY] = (uint8_t)(d.year / 1000 % 10 << 4 | d.year / 100 % 10); /* always BCD */
}

static unsigned limit(unsigned v, unsigned low, unsigned high) { return v < low ? low : v > high ? high : v; }

/* Takes the registers as the time of day from now on, whatever is in them. */
static void registers_take(struct rtc *r)
{
    unsigned century = limit((r->ram[REG_CENTURY] >> 4) * 10u + (r->ram[REG_CENTURY] & 15), 20, 24);
    unsigned year = century * 100 + limit(decode(r, r->ram[REG_YEAR]), 0, 99);
    uint64_t days = days_of(year, limit(decode(r, r->ram[REG_MONTH]), 1, 12), limit(decode(r, r->ram[REG_DAY]), 1, 31));
    uint64_t seconds = days * DAY_S + limit(decode_hour(r, r->ram[REG_HOURS]), 0, 23) * 3600u + limit(decode(r, r->ram[REG_MINUTES]), 0, 59) * 60u +
                       limit(decode(r, r->ram[REG_SECONDS]), 0, 59);
    uint64_t now = time_of_day(r);
    r->offset += seconds * NS_PER_S - now / NS_PER_S * NS_PER_S; /* the phase of the second stays */
    r->seen = time_of_day(r);
}

/* ---- flags and interrupt ---- */

/* Rates 1 and 2 are those of 8 and 9 at the 32768 Hz base (data sheet, table 5). 0: off. */
static uint64_t period_ns(const struct rtc *r)
{
    unsigned rate = r->ram[REG_A] & 15;
    if (!rate)
        return 0;
    return NS_PER_S * (UINT64_C(1) << ((rate <= 2 ? rate + 7 : rate) - 1)) / 32768;
}

static bool alarm_matches(const struct rtc *r, uint64_t time)
{
    struct date d = date_of(time / NS_PER_S);
    const uint8_t *ram = r->ram; /* C0h and above: any */
    return (ram[REG_SECONDS_ALARM] >= 0xc0 || ram[REG_SECONDS_ALARM] == encode(r, d.second)) &&
           (ram[REG_MINUTES_ALARM] >= 0xc0 || ram[REG_MINUTES_ALARM] == encode(r, d.minute)) &&
           ((ram[REG_HOURS_ALARM] & 0xc0) == 0xc0 || ram[REG_HOURS_ALARM] == encode_hour(r, d.hour));
}

static void schedule(struct rtc *r)
{
    uint8_t wanted = r->ram[REG_B] & FLAGS & (uint8_t)~r->ram[REG_C];
    uint64_t time = time_of_day(r), period = period_ns(r), next = UINT64_MAX;
    if ((wanted & (FLAG_UPDATE | FLAG_ALARM)) && !(r->ram[REG_B] & B_SET))
        next = (time / NS_PER_S + 1) * NS_PER_S;
    if ((wanted & FLAG_PERIODIC) && period && (time / period + 1) * period < next)
        next = (time / period + 1) * period;
    if (next == UINT64_MAX)
        exec_timer_cancel(&r->timer);
    else
        exec_timer_arm(&r->timer, next - r->offset);
}

static void evaluate(struct rtc *r)
{
    uint64_t time = time_of_day(r), period = period_ns(r);
    uint8_t *c = &r->ram[REG_C], enabled = r->ram[REG_B] & FLAGS;
    if (period && time / period > r->seen / period)
        *c |= FLAG_PERIODIC;
    if (time / NS_PER_S > r->seen / NS_PER_S && !(r->ram[REG_B] & B_SET)) {
        *c |= FLAG_UPDATE;
        if ((enabled & FLAG_ALARM) && alarm_matches(r, time))
            *c |= FLAG_ALARM;
    }
    r->seen = time;
    bool request = *c & enabled;
    *c = (*c & FLAGS) | (request ? C_REQUEST : 0);
    irq_set(&r->irq, request);
    schedule(r);
}

static void timer_fires(void *opaque) { evaluate(opaque); }

/* ---- registers ---- */

static bool is_time(unsigned n) { return n <= REG_YEAR && n != REG_SECONDS_ALARM && n != REG_MINUTES_ALARM && n != REG_HOURS_ALARM; }

static uint8_t register_read(struct rtc *r)
{
    unsigned n = r->index;
    uint64_t time = time_of_day(r);
    if ((is_time(n) || n == REG_CENTURY) && !(r->ram[REG_B] & B_SET))
        registers_fill(r, time);
    if (n == REG_A)
        return (uint8_t)(r->ram[n] | (!(r->ram[REG_B] & B_SET) && time % NS_PER_S >= NS_PER_S - UPDATE_NS ? A_UPDATING : 0));
    if (n != REG_C)
        return r->ram[n];
    evaluate(r);
    uint8_t flags = r->ram[REG_C];
    r->ram[REG_C] = 0;
    irq_set(&r->irq, false);
    schedule(r);
    return flags;
}

static void write_b(struct rtc *r, uint8_t value)
{
    uint8_t before = r->ram[REG_B];
    evaluate(r);
    if ((value & B_SET) && !(before & B_SET))
        registers_fill(r, time_of_day(r));
    r->ram[REG_B] = value & B_SET ? value & (uint8_t)~FLAG_UPDATE : value; /* SET clears UIE */
    if (!(value & B_SET) && (before & B_SET))
        registers_take(r);
    evaluate(r);
}

static void register_write(struct rtc *r, uint8_t value)
{
    unsigned n = r->index;
    if (is_time(n) || n == REG_CENTURY) {
        bool running = !(r->ram[REG_B] & B_SET);
        if (running)
            registers_fill(r, time_of_day(r));
        r->ram[n] = value;
        if (running)
            registers_take(r);
        evaluate(r);
    } else if (n == REG_A) {
        evaluate(r);
        r->ram[n] = value & 0x7f;
        evaluate(r);
    } else if (n == REG_B) {
        write_b(r, value);
    } else if (n != REG_C && n != REG_D) {
        r->ram[n] = value;
    }
}

static enum bus_status port_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    if (size != 1)
        return BUS_BAD_SIZE;
    *value = offset ? register_read(opaque) : 0xff; /* the index is write-only */
    return BUS_OK;
}

static enum bus_status port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct rtc *r = opaque;
    if (size != 1)
        return BUS_BAD_SIZE;
    if (offset)
        register_write(r, (uint8_t)value);
    else
        r->index = value & 0x7f; /* bit 7 masks NMI, which nothing here raises */
    return BUS_OK;
}

static const struct bus_ops port_ops = {port_read, port_write};

/* ---- life ---- */

static void put16(struct rtc *r, unsigned n, uint64_t value) { store_le16(&r->ram[n], (uint16_t)(value < 0xffff ? value : 0xffff)); }

/* Where firmware leaves the memory sizes: KiB below 640, KiB above 1 MiB, 64 KiB units above 16 MiB and above 4 GiB. */
static void fill_sizes(struct rtc *r, uint64_t low, uint64_t high)
{
    put16(r, 0x15, 640);
    put16(r, 0x17, low > 0x100000 ? (low - 0x100000) >> 10 : 0);
    put16(r, 0x30, low > 0x100000 ? (low - 0x100000) >> 10 : 0);
    put16(r, 0x34, low > 0x1000000 ? (low - 0x1000000) >> 16 : 0);
    store_le16(&r->ram[0x5b], (uint16_t)(high >> 16));
    r->ram[0x5d] = (uint8_t)(high >> 32);
}

static int create(struct device *d, const void *config, struct err *err)
{
    const struct rtc_config *c = config;
    struct rtc *r = from_device(d);
    r->irq = c->irq;
    r->offset = (c->start_ns ? c->start_ns : clock_wall_ns()) - executor_now(d->services.executor);
    r->ram[REG_A] = 0x26; /* 32768 Hz base, 1024 Hz */
    r->ram[REG_B] = B_24H;
    r->ram[REG_D] = D_VALID;
    fill_sizes(r, c->low_memory, c->high_memory);
    exec_timer_init(&r->timer, d->services.executor, &d->lock, timer_fires, r);
    r->region = (struct bus_region){.name = "rtc", .space = BUS_PORT, .base = 0x70, .len = 2, .ops = &port_ops, .opaque = r, .owner = d};
    return bus_add(d->services.bus, &r->region, err);
}

static void destroy(struct device *d)
{
    if (from_device(d)->timer.executor)
        exec_timer_cancel(&from_device(d)->timer);
}

/* RESET clears the interrupt enables and flags only; time and RAM run on batteries. */
static void reset(struct device *d)
{
    struct rtc *r = from_device(d);
    r->index = 0;
    r->ram[REG_B] &= (uint8_t)~(FLAGS | 8);
    r->ram[REG_C] = 0;
    r->seen = time_of_day(r);
    irq_set(&r->irq, false);
    exec_timer_cancel(&r->timer);
}

static int loaded(struct device *d, struct err *err)
{
    struct rtc *r = from_device(d);
    if (r->index >= REG_COUNT || (r->ram[REG_A] & A_UPDATING))
        return err_set(err, ERR_INPUT, "impossible index or register A");
    irq_set(&r->irq, r->ram[REG_C] & C_REQUEST);
    schedule(r);
    return 0;
}

static const struct field rtc_fields[] = {
    FIELD(struct rtc, offset, "time of day minus the VM's clock, ns"), FIELD(struct rtc, seen, "time of day up to which flags are computed"),
    FIELD(struct rtc, index, "register index"), FIELD_BYTES(struct rtc, ram, "registers and RAM"), FIELD_END
};

const struct device_class rtc_class = {
    .name = "rtc", .summary = "MC146818 clock and CMOS RAM", .size = sizeof(struct rtc), .create = create, .destroy = destroy, .reset = reset, .fields = rtc_fields,
    .loaded = loaded,
};
