/* SPDX-License-Identifier: MIT */
/* events.c - what happens at an instruction boundary: requests, sleep, INIT and SIPI, injected events, NMI, interrupts, windows.
 *
 * A request bit is cleared before what it stands for is looked at, so one that comes meanwhile is seen at the next boundary. A kick leaves exactly once however many
 * were merged. An interrupt that IF or a shadow holds back is remembered in cpu->interrupt_waits, not in requests, so that code with IF clear runs undisturbed.
 */
#include "cpu/events.h"

#include "apic/apic.h"
#include "cpu/engine_private.h"
#include "cpu/exclusive.h"
#include "cpu/sleep.h"

static uint32_t request_take(struct cpu *cpu, uint32_t bits)
{
    if (!(atomic_load_explicit(&cpu->requests, memory_order_relaxed) & bits))
        return 0;
    return atomic_fetch_and(&cpu->requests, ~bits) & bits;
}

static bool is_open(const struct cpu *cpu) { return cpu->state.rflags & FLAG_IF && !cpu->state.interrupt_shadow; }
static bool is_open_for_nmi(const struct cpu *cpu) { return !cpu->state.nmi_blocked && !(cpu->state.interrupt_shadow & 3); } /* STI holds NMIs back too */

void cpu_attend_memory(struct cpu *cpu)
{
    if (request_take(cpu, CPU_REQ_STOP)) {
        cpu_guest_leave(cpu);
        cpu_guest_enter(cpu);
    }
    if (request_take(cpu, CPU_REQ_TLB))
        engine_map_changed(cpu);
    if (request_take(cpu, CPU_REQ_CODE))
        engine_code_changed(cpu);
}

/* ---- the APIC --------------------------------------------------------------------------------------------------------------------------------------------- */

/* SDM vol. 3, 9.4.4.2: a start-up IPI begins at vector * 4 KiB in real mode; only a CPU that waits for one takes it. */
static void start_up(struct cpu *cpu, uint8_t vector)
{
    if (cpu->state.halted != 2)
        return;
    cpu->state.seg[SEG_CS].selector = (uint16_t)(vector << 8);
    cpu->state.seg[SEG_CS].base = (uint64_t)vector << 12;
    cpu->state.rip = 0;
    cpu->state.halted = 0;
    cpu_state_changed(cpu);
}

static void apic_look(struct cpu *cpu)
{
    struct apic_events events;
    if (apic_take_events(cpu->apic, &events)) {
        if (events.init) {
            cpu_reset(cpu, true);
            cpu->replay_count = 0;
        }
        if (events.sipi)
            start_up(cpu, events.sipi_vector);
        unsigned nmi = cpu->state.nmi_pending + events.nmi_count, most = cpu->state.nmi_blocked ? 1 : 2;
        cpu->state.nmi_pending = (uint8_t)(nmi < most ? nmi : most);
    }
    cpu->interrupt_waits = apic_pending(cpu->apic);
}

static void apic_attend(struct cpu *cpu)
{
    if (!cpu->apic)
        return;
    if (request_take(cpu, CPU_REQ_TIMER))
        apic_timer_poll(cpu->apic, cpu->vm->now(cpu->vm->ticks_opaque));
    if (request_take(cpu, CPU_REQ_INTERRUPT))
        apic_look(cpu);
}

/* ---- events ------------------------------------------------------------------------------------------------------------------------------------------------- */

static void event_deliver(struct cpu *cpu, enum cpu_event_source source, unsigned vector, bool has_error, uint32_t error)
{
    cpu->state.halted = 0;
    cpu->state.interrupt_shadow = 0;
    cpu->next_rip = cpu->state.rip;
    cpu->engine->statistics.interrupts++;
    cpu_deliver(cpu, source, vector, has_error, error);
}

static bool injected_deliver(struct cpu *cpu)
{
    struct cpu_state *s = &cpu->state;
    if (!s->event_pending || (s->event_kind == HY_EV_INTR && !is_open(cpu)) || (s->event_kind == HY_EV_NMI && !is_open_for_nmi(cpu)))
        return false;
    s->event_pending = 0;
    if (s->event_kind == HY_EV_NMI) {
        s->nmi_blocked = 1;
        event_deliver(cpu, EVENT_INTERRUPT, EXC_NMI, false, 0);
    } else if (s->event_kind == HY_EV_INTR) {
        event_deliver(cpu, EVENT_INTERRUPT, s->event_vector, false, 0);
    } else {
        if (s->event_vector == EXC_PF)
            s->cr2 = s->event_address;
        event_deliver(cpu, EVENT_EXCEPTION, s->event_vector, s->event_has_error, s->event_error);
    }
    return true;
}

static bool nmi_deliver(struct cpu *cpu)
{
    if (!cpu->state.nmi_pending || !is_open_for_nmi(cpu))
        return false;
    cpu->state.nmi_pending--;
    cpu->state.nmi_blocked = 1;
    event_deliver(cpu, EVENT_INTERRUPT, EXC_NMI, false, 0);
    return true;
}

static bool interrupt_deliver(struct cpu *cpu)
{
    if (!cpu->interrupt_waits || !is_open(cpu))
        return false;
    cpu->interrupt_waits = false;
    atomic_fetch_or(&cpu->requests, CPU_REQ_INTERRUPT); /* there may be another behind it */
    int vector = apic_pending(cpu->apic) ? apic_acknowledge(cpu->apic) : -1;
    if (vector < 0)
        return false;
    event_deliver(cpu, EVENT_INTERRUPT, (unsigned)vector, false, 0);
    return true;
}

static bool window_exit(struct cpu *cpu)
{
    uint32_t open = (is_open(cpu) ? 1u << HY_EV_INTR : 0) | (is_open_for_nmi(cpu) ? 1u << HY_EV_NMI : 0);
    if (!(cpu->window & open) || cpu->state.event_pending)
        return false;
    cpu->window &= ~open;
    cpu->exit = (hy_exit){ .reason = HY_EXIT_WINDOW };
    return true;
}

/* ---- sleep --------------------------------------------------------------------------------------------------------------------------------------------------------- */

static void sleep_once(struct cpu *cpu)
{
    uint64_t ns = UINT64_MAX;
    if (cpu->apic && cpu->vm->now) {
        uint64_t deadline = apic_timer_deadline(cpu->apic), now = cpu->vm->now(cpu->vm->ticks_opaque);
        if (deadline != APIC_NO_DEADLINE)
            ns = deadline > now ? deadline - now : 0;
    }
    cpu->engine->statistics.sleeps++;
    if (ns) {
        cpu_guest_leave(cpu);
        cpu_sleep_wait(cpu->sleep, ns);
        cpu_guest_enter(cpu);
    }
    if (cpu->apic && cpu->vm->now)
        apic_timer_poll(cpu->apic, cpu->vm->now(cpu->vm->ticks_opaque));
}

static enum attend_result halted_attend(struct cpu *cpu)
{
    if (!cpu->apic) {
        cpu->state.halted = 0;
        cpu->exit = (hy_exit){ .reason = HY_EXIT_HALT };
        return ATTEND_EXIT;
    }
    if (!engine_requested(cpu))
        sleep_once(cpu);
    return ATTEND_AGAIN;
}

/* A guest that spins may wait for a vCPU that has no host CPU: let that one run now and then. */
void exec_pause(struct cpu *cpu, const struct insn *in)
{
    enum { YIELD_EVERY = 64 };
    (void)in;
    if (cpu->vm->cpu_count > 1 && ++cpu->engine->pauses % YIELD_EVERY == 0)
        cpu_sleep_yield();
}

/* ---- all ------------------------------------------------------------------------------------------------------------------------------------------------------------- */

static bool steps_wanted(struct cpu *cpu)
{
    if (!(atomic_load_explicit(&cpu->requests, memory_order_relaxed) & CPU_REQ_STEP))
        return false;
    if (cpu->trap_step || cpu_debug_wants_steps(cpu))
        return true;
    request_take(cpu, CPU_REQ_STEP);
    return false;
}

enum attend_result cpu_attend(struct cpu *cpu)
{
    cpu_attend_memory(cpu);
    if (cpu->replay_count)
        return steps_wanted(cpu) ? ATTEND_STEP : ATTEND_ONE;
    if (request_take(cpu, CPU_REQ_KICK)) {
        cpu->exit = (hy_exit){ .reason = HY_EXIT_KICK };
        return ATTEND_EXIT;
    }
    apic_attend(cpu);
    request_take(cpu, CPU_REQ_WINDOW);
    if (cpu->state.halted == 2)
        return halted_attend(cpu);
    if (injected_deliver(cpu) || nmi_deliver(cpu) || interrupt_deliver(cpu))
        return ATTEND_AGAIN;
    if (cpu->window && window_exit(cpu))
        return ATTEND_EXIT;
    if (cpu->state.halted)
        return halted_attend(cpu);
    if (steps_wanted(cpu))
        return ATTEND_STEP;
    return cpu->state.interrupt_shadow ? ATTEND_ONE : ATTEND_GO;
}
