/* SPDX-License-Identifier: MIT */
/* irq_router.c - wired OR of the sources of each GSI, and where a GSI goes. Locking: one mutex, held while the outputs are driven, so that they see changes in order. */
#include <pthread.h>
#include <stdlib.h>

#include "base/bits.h"
#include "chipset/chipset.h"

#define SOURCES_MAX 32

struct gsi { uint32_t high; unsigned sources; };

struct irq_router {
    pthread_mutex_t lock;
    struct irq_router_config config;
    struct gsi gsis[IRQ_ROUTER_GSIS];
};

struct irq_router *irq_router_new(const struct irq_router_config *config, struct err *err)
{
    struct irq_router *r = calloc(1, sizeof *r);
    if (!r) {
        err_set(err, ERR_HOST, "no memory for the interrupt router");
        return NULL;
    }
    pthread_mutex_init(&r->lock, NULL);
    r->config = *config;
    return r;
}

void irq_router_free(struct irq_router *r)
{
    if (!r)
        return;
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static void drive(const struct irq_line *line, unsigned pin, bool level)
{
    struct irq_line l = *line;
    l.number = pin;
    irq_set(&l, level);
}

/* `number` is gsi | source << 8. */
static void router_set(void *opaque, unsigned number, bool level)
{
    struct irq_router *r = opaque;
    unsigned n = number & 0xff;
    struct gsi *g = &r->gsis[n];
    uint32_t bit = UINT32_C(1) << (number >> 8);
    pthread_mutex_lock(&r->lock);
    uint32_t before = g->high;
    g->high = level ? before | bit : before & ~bit;
    if (!g->high != !before) {
        if (n < 16)
            drive(&r->config.i8259, n, g->high);
        drive(&r->config.ioapic, n ? n : r->config.timer_pin, g->high);
    }
    pthread_mutex_unlock(&r->lock);
}

int irq_router_line(struct irq_router *r, unsigned gsi, struct irq_line *out, struct err *err)
{
    if (gsi >= IRQ_ROUTER_GSIS)
        return err_set(err, ERR_USAGE, "no interrupt %u: 0 to %d", gsi, IRQ_ROUTER_GSIS - 1);
    pthread_mutex_lock(&r->lock);
    unsigned source = r->gsis[gsi].sources;
    if (source < SOURCES_MAX)
        r->gsis[gsi].sources++;
    pthread_mutex_unlock(&r->lock);
    if (source >= SOURCES_MAX)
        return err_set(err, ERR_USAGE, "interrupt %u has %d sources already", gsi, SOURCES_MAX);
    *out = (struct irq_line){router_set, r, gsi | source << 8};
    return 0;
}
