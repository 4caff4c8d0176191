/* SPDX-License-Identifier: MIT */
/* bus.c - who gets a message: destination modes, shorthands, lowest priority, MSI decoding (SDM 12.6, 11.11). Any thread; no locks. */
#include <stdlib.h>

#include "apic/internal.h"

struct apic_bus *apic_bus_new(const struct apic_bus_config *config, struct err *err)
{
    if (!config->timer_hz || !config->tsc_hz || config->phys_bits < 36 || config->phys_bits > 52 || !config->now || !config->tsc || !config->wake) {
        err_set(err, ERR_INTERNAL, "bad local APIC configuration");
        return NULL;
    }
    struct apic_bus *bus = calloc(1, sizeof *bus);
    if (!bus) {
        err_set(err, ERR_HOST, "no memory for the local APICs");
        return NULL;
    }
    bus->config = *config;
    return bus;
}

void apic_bus_free(struct apic_bus *bus)
{
    for (unsigned i = 0; bus && i < APIC_CPUS_MAX; i++)
        free(bus->spare[i]);
    free(bus);
}

void apic_bus_set_eoi(struct apic_bus *bus, void (*eoi)(void *, uint8_t), void *opaque)
{
    bus->eoi = eoi;
    bus->eoi_opaque = opaque;
}

void apic_bus_set_extint(struct apic_bus *bus, int (*acknowledge)(void *), void *opaque)
{
    bus->extint = acknowledge;
    bus->extint_opaque = opaque;
}

/* The destination 0xff of an 8-bit sender means everybody, x2APIC CPUs included, as on interrupt-remapping-less hardware that Linux and Windows know. */
static bool matches_physical(const struct apic *a, const struct apic_message *m)
{
    if (m->destination == (m->wide ? UINT32_MAX : 0xff))
        return true;
    return LOAD(a->id) == m->destination;
}

/* SDM 12.6.2.2 (flat, cluster) and 12.12.10 (x2APIC cluster) */
static bool matches_logical(const struct apic *a, const struct apic_message *m)
{
    uint32_t d = m->destination, ldr = LOAD(a->ldr);
    if (apic_in_x2apic(a))
        return (m->wide && d == UINT32_MAX) || (ldr >> 16 == d >> 16 && (ldr & d & 0xffff));
    if (m->wide && d > 0xff && d != UINT32_MAX)
        return false;
    uint32_t id = ldr >> 24;
    d &= 0xff;
    if (LOAD(a->dfr) >> 28 == 0xf)
        return id & d;
    return d == 0xff || (id >> 4 == d >> 4 && (id & d & 0xf));
}

static bool matches(const struct apic *a, const struct apic_message *m)
{
    return m->logical ? matches_logical(a, m) : matches_physical(a, m);
}

/* Starts at a rotating CPU, so that equals take turns. A software-disabled APIC does not take part. */
static unsigned send_lowest(struct apic_bus *bus, const struct apic_message *m)
{
    unsigned count = LOAD(bus->cpu_count);
    if (!count)
        return 0;
    unsigned start = atomic_fetch_add_explicit(&bus->arbitration, 1, memory_order_relaxed);
    struct apic *best = NULL;
    uint32_t best_priority = UINT32_MAX;
    for (unsigned i = 0; i < count; i++) {
        struct apic *a = LOAD(bus->apics[(start + i) % count]);
        if (!a || !matches(a, m) || !(LOAD(a->svr) & SVR_ENABLE))
            continue;
        uint32_t priority = apic_ppr(a);
        if (priority < best_priority) {
            best = a;
            best_priority = priority;
        }
    }
    return best && apic_deliver(best, APIC_DELIVER_LOWEST, m->vector, m->level);
}

unsigned apic_bus_send(struct apic_bus *bus, const struct apic_message *m)
{
    if (m->delivery == APIC_DELIVER_LOWEST)
        return send_lowest(bus, m);
    unsigned accepted = 0, count = LOAD(bus->cpu_count);
    for (unsigned i = 0; i < count; i++) {
        struct apic *a = LOAD(bus->apics[i]);
        if (a && matches(a, m))
            accepted += apic_deliver(a, m->delivery, m->vector, m->level);
    }
    return accepted;
}

unsigned apic_bus_msi(struct apic_bus *bus, uint64_t address, uint32_t data)
{
    uint8_t delivery = bits_get(data, 10, 8);
    bool redirect = address & BIT(3);
    struct apic_message m = {
        .destination = (uint32_t)(bits_get(address, 19, 12) | bits_get(address, 11, 5) << 8),
        .logical = address & BIT(2),
        .level = data & BIT(15),
        .delivery = redirect && delivery == APIC_DELIVER_FIXED ? (uint8_t)APIC_DELIVER_LOWEST : delivery,
        .vector = (uint8_t)data,
    };
    if (m.level && !(data & BIT(14)))
        return 0; /* a deassert message: nothing to do since IRR latches */
    return apic_bus_send(bus, &m);
}

void apic_bus_msi_send(void *bus, uint64_t address, uint32_t data, uint32_t requester)
{
    (void)requester;
    apic_bus_msi(bus, address, data);
}

void apic_bus_line(void *opaque, unsigned lint, bool level)
{
    struct apic_bus *bus = opaque;
    unsigned count = LOAD(bus->cpu_count);
    if (lint > 1)
        return;
    if (level)
        atomic_fetch_or(&bus->pins, 1u << lint);
    else
        atomic_fetch_and(&bus->pins, ~(1u << lint));
    for (unsigned i = 0; i < count; i++) {
        struct apic *a = LOAD(bus->apics[i]);
        if (a)
            apic_set_pin(a, lint, level);
    }
}

void apic_bus_nmi(struct apic_bus *bus, unsigned cpu)
{
    struct apic *a = cpu < APIC_CPUS_MAX ? LOAD(bus->apics[cpu]) : NULL;
    if (a)
        apic_deliver(a, APIC_DELIVER_NMI, 0, false);
}

static void send_to_others(struct apic *a, unsigned delivery, uint8_t vector)
{
    unsigned count = LOAD(a->bus->cpu_count);
    for (unsigned i = 0; i < count; i++) {
        struct apic *other = LOAD(a->bus->apics[i]);
        if (other && other != a)
            apic_deliver(other, delivery, vector, false);
    }
}

/* SDM 12.6.1. IPIs are edge-triggered whatever the trigger bit says, but for INIT, whose level de-assert only reloaded arbitration IDs. */
void apic_send_ipi(struct apic *a, uint64_t icr)
{
    bool wide = apic_in_x2apic(a);
    unsigned delivery = bits_get(icr, 10, 8), shorthand = bits_get(icr, 19, 18);
    uint8_t vector = (uint8_t)icr;
    if ((delivery == APIC_DELIVER_FIXED || delivery == APIC_DELIVER_LOWEST) && vector < 16) {
        apic_error(a, ESR_SEND_ILLEGAL);
        return;
    }
    if (delivery == APIC_DELIVER_RESERVED || delivery == APIC_DELIVER_EXTINT)
        return;
    if (delivery == APIC_DELIVER_INIT && (icr & BIT(15)) && !(icr & BIT(14)))
        return;
    switch (shorthand) {
    case 0: {
        struct apic_message m = {
            .destination = (uint32_t)(wide ? icr >> 32 : icr >> 56), .logical = icr & BIT(11), .wide = wide, .delivery = (uint8_t)delivery, .vector = vector,
        };
        apic_bus_send(a->bus, &m);
        break;
    }
    case 1:
        apic_deliver(a, delivery, vector, false);
        break;
    case 2:
        apic_deliver(a, delivery, vector, false);
        send_to_others(a, delivery, vector);
        break;
    default:
        send_to_others(a, delivery, vector);
    }
}
