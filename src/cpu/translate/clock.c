/* SPDX-License-Identifier: MIT */
/* clock.c - the guest's TSC in translated code: the host's, scaled.
 *
 * What the guest sees: the VM's clock (cpu_vm.ticks), which E0 reads. From one such reading on, for CLOCK_WINDOW host ticks, translated code adds the host's ticks since then
 * times the rate at which both have moved; then E0 reads again. Where the scaled clock was ahead the guest's stands still until the VM's has come up: it never goes back.
 * Only with one vCPU, for no two would agree to the tick, and on hosts whose TSC moves steadily. What is trusted: nothing. Locking: owner's thread, but translate_clock_forget().
 */
#include "cpu/translate/host.h"
#include "cpu/translate/private.h"

enum {
    CLOCK_WINDOW = 1 << 21,    /* below 1 ms                                                  */
    READING_MAX = 1 << 13,     /* a reading of both clocks that took longer is not to be used */
};
#define SPAN_MIN BIT(24)       /* of a measurement of the rate, in host ticks                 */
#define SPAN_NEXT BIT(30)      /* after which a new one begins                                */
#define SPAN_MAX BIT(36)
#define RATE_MIN BIT(26)       /* times 2^32; so a product with CLOCK_WINDOW has 64 bits      */
#define RATE_MAX BIT(33)

static void measure_from(struct cpu *cpu, uint64_t host, uint64_t ticks)
{
    cpu->translator->clock_host = host;
    cpu->translator->clock_ticks = ticks;
}

/* The rate over a span, or 0 when it is none or another than before. */
static uint64_t rate_over(uint64_t before, uint64_t ticks, uint64_t span)
{
    if (ticks >> 40)
        return 0;
    uint64_t rate = (ticks << 20) / (span >> 12);
    uint64_t change = rate > before ? rate - before : before - rate;
    return rate < RATE_MIN || rate > RATE_MAX || (before && change > before >> 10) ? 0 : rate;
}

static void clock_renew(struct cpu *cpu, uint64_t host, uint64_t ticks)
{
    const struct translator *t = cpu->translator;
    struct translate_clock *c = &cpu->translate.clock;
    uint64_t span = host - t->clock_host;
    c->host = host;
    c->ticks = ticks;
    if (!t->clock_host || span > SPAN_MAX) {
        c->rate = 0;
        measure_from(cpu, host, ticks);
    } else if (span >= SPAN_MIN) {
        c->rate = rate_over(c->rate, ticks - t->clock_ticks, span);
        if (!c->rate || span > SPAN_NEXT)
            measure_from(cpu, host, ticks);
    }
    c->window = c->rate ? CLOCK_WINDOW : 0;
}

uint64_t translate_tsc(struct cpu *cpu)
{
    const struct translator *t = cpu->translator;
    struct translate_clock *c = &cpu->translate.clock;
    if (!t || !t->clocked)
        return cpu_tsc(cpu);
    uint64_t before = host_ticks(), ticks = cpu->vm->ticks(cpu->vm->ticks_opaque), after = host_ticks();
    c->window = 0;
    if (after - before < READING_MAX)
        clock_renew(cpu, before + (after - before) / 2, ticks);
    if (ticks < c->last)
        ticks = c->ticks = c->last;
    c->last = ticks;
    return ticks + cpu->state.tsc_offset;
}

void translate_clock_forget(struct cpu *cpu)
{
    if (cpu->translator)
        cpu->translator->clock_host = 0;
    cpu->translate.clock.window = 0;
}
