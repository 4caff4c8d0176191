/* SPDX-License-Identifier: MIT */
/* soft.c - the backend over our own CPU (cpu/) and local APICs (apic/): it needs nothing of the host.
 *
 * What the guest sees: the CPU that cpuid_defaults() describes, and with HY_IRQ_CPU local APICs. What is trusted: nothing of the guest.
 * Memory needs no work here: the CPUs look pages up in the VM's map and hear of its changes themselves.
 * Locking: the core serializes configuration and the making of CPUs; making and freeing one stops the others. Kicks, messages and the clock are atomics.
 * Limits: 256 CPUs; one where the host orders memory more weakly than x86, or cannot fence all threads (base/barrier.h).
 * End of interrupt: the APIC tells of it in the middle of an instruction; the vector is noted, the CPU is asked to stop, and the exit comes next.
 */
#include "hy/backends/soft.h"

#include <stdlib.h>
#include <string.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "cpu/soak.h"
#include "cpu/translate/translate.h"

#define DEFAULT_TSC_HZ UINT64_C(1000000000)

/* ---- opening --------------------------------------------------------------------------------------------------------------------------------------- */

static hy_err soft_open(const struct hy_os *os, hyb **out)
{
    struct hy_cpuid leaves[CPUID_LEAVES_MAX];
    size_t n = cpuid_defaults(1, DEFAULT_TSC_HZ, true, leaves, CPUID_LEAVES_MAX);
    struct hyb *b = calloc(1, sizeof *b);

    if (!b)
        return soft_fail(HY_E_NOMEM, "hy_open", "");
    b->os = os;
    b->max_cpus = cpu_host_orders_memory() && barrier_available() ? APIC_CPUS_MAX : 1;
    b->gpa_bits = x86_cpuid_find(leaves, n, 0x80000008, 0)->eax & 0xff;
    atomic_init(&b->no_translator, translate_refusal());
    *out = b;
    return HY_OK;
}

static const char *soft_engine(hyb *b, const char **why)
{
    const char *refusal = atomic_load(&b->no_translator);

    if (!refusal)
        return "translate";
    *why = refusal;
    return "interpret";
}

static void soft_close(hyb *b) { free(b); }

static hy_err soft_caps(hyb *b, struct hy_caps *out)
{
    out->arch = HY_ARCH_X86_64;
    out->irq = HY_IRQ_NONE | HY_IRQ_CPU;
    out->granule = 4096;
    out->gpa_bits = b->gpa_bits;
    out->max_vms = out->max_mems = UINT32_MAX;
    out->max_cpus = b->max_cpus;
    out->max_maps = MEM_VIEWS_MAX;
    out->prot = 0xff;
    out->can = HY_CAN_WRAP | HY_CAN_SPLIT | HY_CAN_DIRTY | HY_CAN_CPUID | HY_CAN_FPU | HY_CAN_STEP | HY_CAN_ROAM | HY_CAN_CLOCK | HY_CAN_SAVE | HY_CAN_JIT
               | HY_CAN_SHARE;
    out->traps = BIT(HY_EXIT_MSR) | BIT(HY_EXIT_CPUID) | BIT(HY_EXIT_EXCEPTION) | BIT(HY_EXIT_STEP);
    out->exits = out->traps | BIT(HY_EXIT_NONE) | BIT(HY_EXIT_KICK) | BIT(HY_EXIT_IO) | BIT(HY_EXIT_MMIO) | BIT(HY_EXIT_FAULT) | BIT(HY_EXIT_HALT)
                 | BIT(HY_EXIT_WINDOW) | BIT(HY_EXIT_CALL) | BIT(HY_EXIT_EOI) | BIT(HY_EXIT_CRASH);
    out->tick_hz = DEFAULT_TSC_HZ;
    return HY_OK;
}

/* The table of one CPU with an APIC: what a VM may narrow, and where its number of CPUs belongs, it knows itself. */
static hy_err soft_cpuid_host(hyb *b, struct hy_cpuid *out, size_t *n)
{
    size_t room = *n;

    (void)b;
    *n = cpuid_defaults(1, DEFAULT_TSC_HZ, true, out, room);
    return *n > room ? soft_fail(HY_E_RANGE, "hy_cpuid_host", "the table is longer than the room for it") : HY_OK;
}

/* MSRs that hold state, in an order in which they can be written back: EFER before what depends on it, the TSC last. */
static const uint32_t state_msrs[] = {
    0xc0000080, 0x1b, 0x277, 0x2ff, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0x174, 0x175, 0x176, 0xc0000103,
    0x1a0, 0x1d9, 0x3b, 0x10,
};

static hy_err soft_msr_host(hyb *b, uint32_t *out, size_t *n)
{
    size_t room = *n;

    (void)b;
    *n = ARRAY_LEN(state_msrs);
    if (room < *n)
        return soft_fail(HY_E_RANGE, "hy_msr_host", "the list is longer than the room for it");
    memcpy(out, state_msrs, sizeof state_msrs);
    return HY_OK;
}

/* ---- VMs -------------------------------------------------------------------------------------------------------------------------------------------- */

/* mutable: the CPU that this thread is running, for the APIC's callback, which names no CPU */
static _Thread_local struct hyb_cpu *running;

static void bus_wake(void *opaque, unsigned index)
{
    struct cpu *cpu = ((struct hyb_vm *)opaque)->vm.cpus[index];

    if (cpu)
        cpu_request(cpu, CPU_REQ_INTERRUPT);
}

static void bus_deadline(void *opaque, unsigned index, uint64_t ns)
{
    struct cpu *cpu = ((struct hyb_vm *)opaque)->vm.cpus[index];

    if (cpu)
        cpu_timer_set(cpu, ns);
}

static uint64_t bus_tsc(void *opaque, unsigned index)
{
    struct cpu *cpu = ((struct hyb_vm *)opaque)->vm.cpus[index];

    return cpu ? cpu_tsc(cpu) : 0;
}

static void bus_eoi(void *opaque, uint8_t vector)
{
    struct hyb_cpu *cpu = running;

    (void)opaque;
    if (!cpu)
        return; /* a register write from outside: nobody waits for it */
    cpu->ended[vector / 64] |= BIT(vector % 64);
    cpu->ended_any = 1;
    cpu_request(cpu->cpu, CPU_REQ_KICK);
}

static int bus_acknowledge(void *opaque)
{
    struct hyb_vm *vm = opaque;
    int vector = atomic_exchange(&vm->external, -1);

    apic_bus_line(vm->vm.apic_bus, 0, false);
    return vector;
}

static hy_err vm_bus_make(struct hyb_vm *vm)
{
    const struct apic_bus_config config = {
        .x2apic = true, .phys_bits = (uint8_t)vm->b->gpa_bits, .timer_hz = cpuid_crystal_hz(vm->vm.tsc_hz), .tsc_hz = vm->vm.tsc_hz,
        .now = soft_now, .tsc = bus_tsc, .wake = bus_wake, .deadline = bus_deadline, .opaque = vm,
    };

    vm->vm.apic_bus = apic_bus_new(&config, NULL);
    if (!vm->vm.apic_bus)
        return soft_fail(HY_E_NOMEM, "hy_vm_new", "");
    apic_bus_set_eoi(vm->vm.apic_bus, bus_eoi, vm);
    apic_bus_set_extint(vm->vm.apic_bus, bus_acknowledge, vm);
    if (cpu_alarms_new(&vm->vm, NULL))
        return soft_fail(HY_E_HOST, "hy_vm_new", "");
    return HY_OK;
}

static void soft_vm_free(hyb_vm *vm)
{
    cpu_alarms_free(&vm->vm);
    apic_bus_free(vm->vm.apic_bus);
    cpu_vm_release(&vm->vm);
    pthread_rwlock_destroy(&vm->cpus_lock);
    free(vm);
}

/* HY_VM_SOAK. One block of translated code at a time is too slow for a system, but for moments; its code is several MiB. */
static const struct cpu_soak soak = {.tlb_every = 512, .code_every = 20000, .request_every = 64, .interrupt_every = 1024,
                                     .one_entry = true, .code_bytes = 1 << 20, .one_block_every = 1 << 16, .one_block_for = 20000, .unlinked = true};

static hy_err soft_vm_new(hyb *b, const struct hy_vm_cfg *cfg, struct mem_map *map, hyb_vm **out)
{
    struct hyb_vm *vm = calloc(1, sizeof *vm);
    hy_err err = HY_OK;

    if (!vm)
        return soft_fail(HY_E_NOMEM, "hy_vm_new", "");
    pthread_rwlock_init(&vm->cpus_lock, NULL);
    vm->b = b;
    vm->irq = cfg->irq;
    vm->vm.map = map;
    vm->vm.cpu_count = cfg->cpus;
    vm->vm.tsc_hz = cfg->tick_hz;
    vm->vm.interpret = (cfg->flags & HY_VM_INTERPRET) != 0;
    vm->vm.hot = cfg->flags & HY_VM_EAGER ? 1 : 0;
    vm->vm.code_map = cfg->code_map;
    vm->vm.verify = (cfg->flags & HY_VM_VERIFY) != 0;
    vm->vm.count_tlb = (cfg->flags & HY_VM_COUNT_TLB) != 0;
    vm->vm.soak = cfg->flags & HY_VM_SOAK ? &soak : NULL;
    vm->vm.lockstep = (cfg->flags & HY_VM_LOCKSTEP) != 0;
    vm->must_translate = (cfg->flags & (HY_VM_TRANSLATE | HY_VM_LOCKSTEP)) != 0;
    vm->vm.ticks = soft_ticks;
    vm->vm.now = soft_now;
    vm->vm.ticks_opaque = vm;
    vm->vm.traps = &vm->traps;
    atomic_init(&vm->step_first_last, UINT64_MAX);
    atomic_init(&vm->frozen_at, UINT64_MAX);
    atomic_init(&vm->external, -1);
    atomic_init(&vm->base, clock_ns());
    if (vm->irq == HY_IRQ_CPU)
        err = vm_bus_make(vm);
    if (err) {
        soft_vm_free(vm);
        return err;
    }
    *out = vm;
    return HY_OK;
}

/* ---- policy ------------------------------------------------------------------------------------------------------------------------------------------ */

static hy_err trap_msr(struct hyb_vm *vm, uint32_t first, uint32_t last, uint32_t rw)
{
    struct cpu_traps *t = &vm->traps;
    uint32_t at = 0;

    while (at < t->count && (t->msr[at].first != first || t->msr[at].last != last))
        at++;
    if (at == t->count && (!rw || at == CPU_TRAPS_MAX))
        return soft_fail(HY_E_RANGE, "hy_trap", rw ? "at most 64 ranges of MSRs" : "that range is not trapped");
    if (!rw) {
        t->msr[at] = t->msr[--t->count];
        return HY_OK;
    }
    t->msr[at] = (struct cpu_trap){first, last, (rw & HY_R ? CPU_TRAP_READ : 0) | (rw & HY_W ? CPU_TRAP_WRITE : 0)};
    t->count += at == t->count;
    return HY_OK;
}

static hy_err trap_cpuid(struct hyb_vm *vm, uint32_t first, uint32_t last, uint32_t rw)
{
    uint32_t at = 0;

    while (at < vm->cpuid_count && (vm->cpuid[at].first != first || vm->cpuid[at].last != last))
        at++;
    if (at == vm->cpuid_count && (!rw || at == ARRAY_LEN(vm->cpuid)))
        return soft_fail(HY_E_RANGE, "hy_trap", rw ? "at most 16 ranges of CPUID leaves" : "that range is not trapped");
    if (!rw) {
        vm->cpuid[at] = vm->cpuid[--vm->cpuid_count];
        return HY_OK;
    }
    vm->cpuid[at] = (struct soft_range){first, last};
    vm->cpuid_count += at == vm->cpuid_count;
    return HY_OK;
}

static hy_err soft_trap(hyb_vm *vm, uint32_t reason, uint32_t first, uint32_t last, uint32_t rw)
{
    uint64_t mask;

    switch (reason) {
    case HY_EXIT_MSR: return trap_msr(vm, first, last, rw);
    case HY_EXIT_CPUID: return trap_cpuid(vm, first, last, rw);
    case HY_EXIT_STEP: atomic_store(&vm->step_first_last, rw ? first | (uint64_t)last << 32 : UINT64_MAX); return HY_OK;
    default:
        if (last > 31)
            return soft_fail(HY_E_INVAL, "hy_trap", "exceptions are vectors 0 to 31");
        mask = bits_get(UINT64_MAX, last, 0) >> first << first;
        if (rw)
            atomic_fetch_or(&vm->trap_exceptions, mask);
        else
            atomic_fetch_and(&vm->trap_exceptions, ~mask);
        return HY_OK;
    }
}

static hy_err soft_msi(hyb_vm *vm, uint64_t addr, uint32_t data, uint32_t dev)
{
    (void)dev;
    pthread_rwlock_rdlock(&vm->cpus_lock);
    if (addr >> 40) { /* destinations above 255: bits 31..8 of the id are there */
        const struct apic_message message = {
            .destination = (uint32_t)(addr >> 12 & 0xff) | (uint32_t)(addr >> 40) << 8, .logical = addr >> 2 & 1, .wide = true,
            .level = data >> 15 & 1, .delivery = data >> 8 & 7, .vector = (uint8_t)data};

        apic_bus_send(vm->vm.apic_bus, &message);
    } else {
        apic_bus_msi(vm->vm.apic_bus, addr, data);
    }
    pthread_rwlock_unlock(&vm->cpus_lock);
    return HY_OK;
}

/* ---- CPUs ------------------------------------------------------------------------------------------------------------------------------------------------ */

static void soft_cpu_free(hyb_cpu *cpu)
{
    struct hyb_vm *vm = cpu->vm;

    if (cpu->cpu) {
        cpu_vm_stop(&vm->vm, NULL);
        pthread_rwlock_wrlock(&vm->cpus_lock);
        cpu_free(cpu->cpu);
        pthread_rwlock_unlock(&vm->cpus_lock);
        cpu_vm_resume(&vm->vm, NULL);
    }
    free(cpu);
}

/* A machine that is reset forgets the 8259's vector that nobody took. */
static void external_drop(struct hyb_vm *vm)
{
    if (atomic_exchange(&vm->external, -1) >= 0)
        apic_bus_line(vm->vm.apic_bus, 0, false);
}

static hy_err soft_cpu_new(hyb_vm *vm, uint32_t index, const struct hy_cpuid *table, size_t n, hyb_cpu **out)
{
    hyb_cpu *cpu = calloc(1, sizeof *cpu);
    int result;

    if (!cpu)
        return soft_fail(HY_E_NOMEM, "hy_cpu_new", "");
    cpu->vm = vm;
    if (!index)
        external_drop(vm);
    cpu_vm_stop(&vm->vm, NULL);
    pthread_rwlock_wrlock(&vm->cpus_lock);
    result = cpu_new(&vm->vm, index, &cpu->cpu, NULL);
    pthread_rwlock_unlock(&vm->cpus_lock);
    cpu_vm_resume(&vm->vm, NULL);
    if (!result && table && cpuid_wants_avx512(table, n) && !cpu->cpu->host_runner) {
        soft_cpu_free(cpu);
        return soft_fail(HY_E_NOTSUP, "hy_cpu_new", "AVX-512 needs a host that has it, and lets this process make code");
    }
    if (!result && table)
        result = cpu_cpuid_set(cpu->cpu, table, n, NULL);
    if (result) {
        soft_cpu_free(cpu);
        return result == ERR_HOST ? soft_fail(HY_E_NOMEM, "hy_cpu_new", "") : soft_fail(HY_E_RANGE, "hy_cpu_new", "more CPUID leaves than there is room for");
    }
    if (cpu->cpu->no_translator)
        atomic_store(&vm->b->no_translator, cpu->cpu->no_translator);
    if (vm->must_translate && cpu->cpu->no_translator) {
        const char *why = cpu->cpu->no_translator;
        soft_cpu_free(cpu);
        return soft_fail(HY_E_NOTSUP, "hy_cpu_new", why);
    }
    cpu->cpu->trap_cpuid = vm->cpuid_count != 0;
    if (!index && cpu->cpu->apic)
        apic_set_virtual_wire(cpu->cpu->apic); /* hy_inject comes through LINT0, and every backend lets the boot CPU take it before its guest sets that up */
    *out = cpu;
    return HY_OK;
}

static hy_err name_fail(hy_err err, hy_reg name, const char *call)
{
    return hyb_fail(err, (int64_t)name, "soft", call, err == HY_E_NOTSUP ? "no such register" : "the register cannot hold the value");
}

static hy_err soft_get(hyb_cpu *cpu, const hy_reg *names, hy_val *values, size_t n)
{
    hy_err err = HY_OK;

    for (size_t i = 0; !err && i < n; i++) {
        err = cpu_get_register(cpu->cpu, names[i], &values[i]);
        if (err)
            err = name_fail(err, names[i], "hy_get");
    }
    return err;
}

static hy_err soft_set(hyb_cpu *cpu, const hy_reg *names, const hy_val *values, size_t n)
{
    hy_err err = HY_OK;
    hy_val old;

    for (size_t i = 0; !err && i < n; i++) {
        err = cpu_get_register(cpu->cpu, names[i], &old);
        if (err)
            err = name_fail(err, names[i], "hy_set");
    }
    for (size_t i = 0; !err && i < n; i++) {
        err = cpu_set_register(cpu->cpu, names[i], &values[i]);
        if (err)
            err = name_fail(err, names[i], "hy_set");
    }
    return err;
}

/* ---- running ----------------------------------------------------------------------------------------------------------------------------------------------- */

static void traps_follow(hyb_cpu *cpu)
{
    uint64_t steps = atomic_load_explicit(&cpu->vm->step_first_last, memory_order_relaxed);
    uint8_t step = steps != UINT64_MAX && cpu->cpu->index >= (uint32_t)steps && cpu->cpu->index <= steps >> 32;

    cpu->cpu->trap_exceptions = atomic_load_explicit(&cpu->vm->trap_exceptions, memory_order_relaxed);
    if (step != cpu->cpu->trap_step) {
        cpu->cpu->trap_step = step;
        cpu_state_changed(cpu->cpu);
    }
}

static bool leaf_trapped(const struct hyb_vm *vm, uint32_t fn)
{
    for (uint32_t i = 0; i < vm->cpuid_count; i++) {
        if (fn >= vm->cpuid[i].first && fn <= vm->cpuid[i].last)
            return true;
    }
    return false;
}

/* With an APIC, an INTR goes through its LINT0: the CPU's own flags do not tell all. */
static bool external_enters(const hyb_cpu *cpu)
{
    return cpu->vm->irq == HY_IRQ_NONE || (atomic_load(&cpu->vm->external) < 0 && apic_accepts_extint(cpu->cpu->apic));
}

/* The CPU says that its window is open. Where the APIC does not let an INTR in, the request waits for the next entry, and is not lost. */
static bool window_opens(hyb_cpu *cpu)
{
    if (cpu->window && !external_enters(cpu))
        return false;
    cpu->window = 0;
    return true;
}

static void window_follow(hyb_cpu *cpu)
{
    if (!cpu->window || !external_enters(cpu))
        return;
    cpu->cpu->window |= 1u << HY_EV_INTR;
    cpu_request(cpu->cpu, CPU_REQ_WINDOW);
}

/* What hy.h says of answers that nobody gives. False: an exit that is not to be seen. */
static bool exit_prepare(hyb_cpu *cpu, hy_exit *x)
{
    switch (x->reason) {
    case HY_EXIT_IO:
        if (!x->write)
            memset(x->u.io.data, 0xff, (size_t)x->u.io.width * x->u.io.count);
        return true;
    case HY_EXIT_MMIO:
        if (!x->write)
            memset(x->u.mmio.data, 0xff, x->u.mmio.width);
        return true;
    case HY_EXIT_FAULT:
        if (!x->write && x->u.fault.data)
            memset(x->u.fault.data, 0xff, x->u.fault.width);
        return true;
    case HY_EXIT_CALL: x->u.call.ret[0] = UINT64_MAX; return true;
    case HY_EXIT_CPUID: return leaf_trapped(cpu->vm, x->u.cpuid.fn);
    case HY_EXIT_WINDOW: return window_opens(cpu);
    default: return true;
    }
}

/* The engine stopped because it was asked to: by a kick, or by bus_eoi(). False: by neither, any more. */
static bool stop_explain(hyb_cpu *cpu, hy_exit *x)
{
    if (cpu->ended_any) {
        unsigned word = 0, vector;

        while (!cpu->ended[word])
            word++;
        vector = word * 64 + (unsigned)__builtin_ctzll(cpu->ended[word]);
        cpu->ended[word] &= cpu->ended[word] - 1;
        cpu->ended_any = (cpu->ended[0] | cpu->ended[1] | cpu->ended[2] | cpu->ended[3]) != 0;
        x->reason = HY_EXIT_EOI;
        x->u.eoi.vector = vector;
        if (cpu->ended_any || atomic_load(&cpu->kicked))
            cpu_request(cpu->cpu, CPU_REQ_KICK);
        return true;
    }
    return atomic_exchange(&cpu->kicked, 0) != 0;
}

static void ready_follow(hyb_cpu *cpu, hy_exit *x)
{
    if (x->reason != HY_EXIT_UNKNOWN)
        x->native = x->reason;
    if (!external_enters(cpu))
        x->ready &= (uint8_t)~1u;
}

static hy_err soft_enter(hyb_cpu *cpu, hy_exit **out)
{
    hy_exit *x;

    running = cpu;
    traps_follow(cpu);
    window_follow(cpu);
    do
        x = cpu_run(cpu->cpu);
    while (x->reason == HY_EXIT_KICK ? !stop_explain(cpu, x) : !exit_prepare(cpu, x));
    running = NULL;
    ready_follow(cpu, x);
    *out = x;
    return HY_OK;
}

static hy_err soft_finish(hyb_cpu *cpu, hy_exit **out)
{
    hy_exit *x;

    running = cpu;
    do
        x = cpu_finish(cpu->cpu);
    while (!exit_prepare(cpu, x));
    running = NULL;
    ready_follow(cpu, x);
    *out = x;
    return HY_OK;
}

static void soft_kick(hyb_cpu *cpu)
{
    atomic_store(&cpu->kicked, 1);
    cpu_request(cpu->cpu, CPU_REQ_KICK);
}

/* With an APIC it is the 8259's vector, behind LINT0. */
static hy_err inject_interrupt(hyb_cpu *cpu, uint8_t vector)
{
    struct cpu_state *s = &cpu->cpu->state;
    int none = -1;

    if (!(s->rflags & FLAG_IF) || s->interrupt_shadow || s->event_pending || !external_enters(cpu))
        return soft_fail(HY_E_STATE, "hy_inject", "the CPU cannot take an interrupt now: use hy_window");
    if (cpu->vm->irq == HY_IRQ_CPU) {
        if (!atomic_compare_exchange_strong(&cpu->vm->external, &none, vector))
            return soft_fail(HY_E_STATE, "hy_inject", "the last one is not taken yet");
        apic_bus_line(cpu->vm->vm.apic_bus, 0, true);
        return HY_OK;
    }
    s->event_kind = HY_EV_INTR;
    s->event_vector = vector;
    s->event_pending = 1;
    cpu_request(cpu->cpu, CPU_REQ_WINDOW);
    return HY_OK;
}

static hy_err soft_inject(hyb_cpu *cpu, const struct hy_event *event)
{
    struct cpu_state *s = &cpu->cpu->state;

    switch (event->kind) {
    case HY_EV_INTR: return inject_interrupt(cpu, event->vector);
    case HY_EV_NMI:
        s->nmi_pending = (uint8_t)(s->nmi_pending < (s->nmi_blocked ? 1 : 2) ? s->nmi_pending + 1 : s->nmi_pending);
        break;
    case HY_EV_EXCEPTION:
        if (event->vector > 31)
            return soft_fail(HY_E_INVAL, "hy_inject", "exceptions are vectors 0 to 31");
        if (s->event_pending)
            return soft_fail(HY_E_STATE, "hy_inject", "another event waits");
        s->event_kind = HY_EV_EXCEPTION;
        s->event_vector = event->vector;
        s->event_has_error = event->has_error != 0;
        s->event_error = event->error;
        s->event_address = event->addr;
        s->event_pending = 1;
        break;
    default: return soft_fail(HY_E_NOTSUP, "hy_inject", "not an event of this architecture");
    }
    cpu_request(cpu->cpu, CPU_REQ_WINDOW);
    return HY_OK;
}

static hy_err soft_window(hyb_cpu *cpu, unsigned mask)
{
    if (cpu->vm->irq == HY_IRQ_CPU) { /* INTR: when the APIC lets it in */
        cpu->window = mask >> HY_EV_INTR & 1;
        cpu->cpu->window = mask & ~(1u << HY_EV_INTR);
    } else {
        cpu->cpu->window = mask;
    }
    if (mask)
        cpu_request(cpu->cpu, CPU_REQ_WINDOW);
    return HY_OK;
}

static hy_err soft_counters(hyb_cpu *cpu, struct hy_counter *out, size_t *n)
{
    size_t room = *n;

    *n = cpu_counters(cpu->cpu, out, room);
    return *n > room ? soft_fail(HY_E_RANGE, "hy_counters", "there are more counters than room for them") : HY_OK;
}

const struct hy_backend hy_backend_soft = {
    .abi = HY_BACKEND_ABI, .size = sizeof(struct hy_backend), .name = "soft",
    .open = soft_open, .close = soft_close, .caps = soft_caps, .cpuid_host = soft_cpuid_host, .msr_host = soft_msr_host, .engine = soft_engine,
    .vm_new = soft_vm_new, .vm_free = soft_vm_free, .trap = soft_trap, .msi = soft_msi, .clock = soft_clock,
    .cpu_new = soft_cpu_new, .cpu_free = soft_cpu_free, .get = soft_get, .set = soft_set, .enter = soft_enter, .finish = soft_finish, .kick = soft_kick,
    .inject = soft_inject, .window = soft_window, .save = soft_save, .load = soft_load, .counters = soft_counters, .counter_info = cpu_counter_info,
};
