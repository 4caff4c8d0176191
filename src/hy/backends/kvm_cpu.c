/* SPDX-License-Identifier: MIT */
/* kvm_cpu.c - virtual CPUs of KVM: making, running, translating exits, kicks, events.
 *
 * The kick. A kicker sets `kicked` and then immediate_exit in the shared run page, and sends a signal if the CPU is running; the CPU declares itself
 * running, clears immediate_exit, and then looks at `kicked` again. So a kick before entry is seen by the CPU or by the kernel, which tests
 * immediate_exit after the last point where a signal would go unnoticed (5, "immediate_exit"); a kick during KVM_RUN is seen by the signal. KVM_RUN then
 * says EINTR, and whoever exchanges `kicked` for 0 reports it: once. Other signals make KVM_RUN say EINTR too, and it is simply entered again.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hy/backends/kvm.h"

#define KICK_SIGNAL (SIGRTMIN + 4)

static void kick_handler(int signal) { (void)signal; }

void kvm_kick_prepare(void)
{
    struct sigaction old, action = {.sa_handler = kick_handler, .sa_flags = SA_RESTART};

    if (sigaction(KICK_SIGNAL, NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO) && (old.sa_handler == SIG_DFL || old.sa_handler == SIG_IGN))
        sigaction(KICK_SIGNAL, &action, NULL);
}

/* Makes the CPU leave KVM_RUN, or not enter it. */
static void cpu_disturb(hyb_cpu *cpu)
{
    __atomic_store_n(&cpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (atomic_load(&cpu->running))
        syscall(SYS_tgkill, getpid(), atomic_load(&cpu->tid), KICK_SIGNAL);
}

void kvm_kick(hyb_cpu *cpu)
{
    int saved = errno;

    atomic_store(&cpu->kicked, 1);
    cpu_disturb(cpu);
    errno = saved;
}

/* ---- the gate --------------------------------------------------------------------------------------------------------------------------------------- */

void kvm_vm_pause(hyb_vm *vm)
{
    pthread_mutex_lock(&vm->cpu_lock);
    atomic_fetch_add(&vm->paused, 1);
    for (uint32_t i = 0; i < vm->cpu_max; i++) {
        if (vm->cpus[i])
            cpu_disturb(vm->cpus[i]);
    }
    for (uint32_t i = 0; i < vm->cpu_max; i++) {
        while (vm->cpus[i] && atomic_load(&vm->cpus[i]->running))
            sched_yield();
    }
    pthread_mutex_unlock(&vm->cpu_lock);
}

void kvm_vm_resume(hyb_vm *vm)
{
    pthread_mutex_lock(&vm->cpu_lock);
    atomic_fetch_sub(&vm->paused, 1);
    pthread_cond_broadcast(&vm->gate);
    pthread_mutex_unlock(&vm->cpu_lock);
}

/* Declares the CPU running, when the gate is open. */
static void gate_pass(hyb_cpu *cpu)
{
    hyb_vm *vm = cpu->vm;

    atomic_store(&cpu->running, 1);
    while (atomic_load(&vm->paused)) {
        atomic_store(&cpu->running, 0);
        pthread_mutex_lock(&vm->cpu_lock);
        while (atomic_load(&vm->paused))
            pthread_cond_wait(&vm->gate, &vm->cpu_lock);
        pthread_mutex_unlock(&vm->cpu_lock);
        atomic_store(&cpu->running, 1);
    }
}

/* One KVM_RUN; 0 or errno. `complete`: only finish the access that KVM holds. */
static int run_once(hyb_cpu *cpu, int complete)
{
    int error = 0;

    gate_pass(cpu);
    __atomic_store_n(&cpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    if (complete || atomic_load(&cpu->kicked) || atomic_load(&cpu->vm->paused))
        __atomic_store_n(&cpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (kvm_ioctl(cpu->vm->b, cpu->fd, KVM_RUN, NULL) < 0)
        error = cpu->vm->b->os->error();
    atomic_store(&cpu->running, 0);
    return error;
}

/* ---- life -------------------------------------------------------------------------------------------------------------------------------------------- */

/* APIC features follow the interrupt mode: KVM does not offer the TSC deadline timer by itself, and has no APIC at all with HY_IRQ_NONE. */
static hy_err cpuid_set(hyb_cpu *cpu, const struct hy_cpuid *table, size_t n)
{
    struct kvm_cpuid2 *list = calloc(1, sizeof *list + n * sizeof list->entries[0]);
    hy_err err;

    if (!list)
        return hyb_fail(HY_E_NOMEM, 0, "kvm", "KVM_SET_CPUID2", "");
    list->nent = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        list->entries[i] = (struct kvm_cpuid_entry2){.function = table[i].fn, .index = table[i].sub,
                                                     .flags = table[i].has_sub ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
                                                     .eax = table[i].eax, .ebx = table[i].ebx, .ecx = table[i].ecx, .edx = table[i].edx};
    }
    err = KVM_TRY(cpu->vm->b, cpu->fd, KVM_SET_CPUID2, list);
    free(list);
    return err;
}

static hy_err cpu_prepare(hyb_cpu *cpu, const struct hy_cpuid *table, size_t n)
{
    struct hyb *b = cpu->vm->b;
    uint64_t hz = cpu->vm->tick_hz;
    hy_err err = cpuid_set(cpu, table, n);

    if (!err && hz && hz != b->tsc_hz && kvm_ioctl(b, cpu->fd, KVM_SET_TSC_KHZ, (void *)(uintptr_t)(hz / 1000)) < 0)
        err = kvm_fail(b, "KVM_SET_TSC_KHZ");
    return err;
}

void kvm_cpu_free(hyb_cpu *cpu)
{
    struct hyb *b = cpu->vm->b;

    pthread_mutex_lock(&cpu->vm->cpu_lock);
    if (cpu->vm->cpus[cpu->index] == cpu)
        cpu->vm->cpus[cpu->index] = NULL;
    pthread_mutex_unlock(&cpu->vm->cpu_lock);
    if (cpu->run)
        b->os->unmap(cpu->run, b->run_size);
    if (cpu->fd >= 0 && !cpu->vm->spares[cpu->index].reset)
        b->os->close(cpu->fd);
    free(cpu);
}

/* KVM keeps a CPU until its VM is gone, so its descriptor stays with the VM, and the state that it was made in. */
static hy_err spare_make(hyb_cpu *cpu)
{
    struct kvm_spare *spare = &cpu->vm->spares[cpu->index];
    hy_err err;

    kvm_save(cpu->vm, cpu, HY_S_ALL, NULL, &spare->len); /* how long it is */
    spare->reset = malloc(spare->len);
    if (!spare->reset)
        return hyb_fail(HY_E_NOMEM, 0, "kvm", "hy_cpu_new", "");
    spare->fd = cpu->fd;
    err = kvm_save(cpu->vm, cpu, HY_S_ALL, spare->reset, &spare->len);
    if (err) {
        free(spare->reset);
        spare->reset = NULL;
    }
    return err;
}

hy_err kvm_cpu_new(hyb_vm *vm, uint32_t index, const struct hy_cpuid *table, size_t n, hyb_cpu **out)
{
    struct hyb *b = vm->b;
    hyb_cpu *cpu = calloc(1, sizeof *cpu);
    int again = vm->spares[index].reset != NULL;
    hy_err err = HY_OK;
    sigset_t kick;

    if (!cpu)
        return hyb_fail(HY_E_NOMEM, 0, "kvm", "hy_cpu_new", "");
    cpu->vm = vm;
    cpu->index = index;
    cpu->fd = again ? vm->spares[index].fd : (int)b->os->ioctl(vm->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)index);
    if (cpu->fd < 0)
        err = kvm_fail(b, "KVM_CREATE_VCPU");
    if (!err && !(cpu->run = b->os->map(NULL, b->run_size, PROT_READ | PROT_WRITE, cpu->fd, 0)))
        err = kvm_fail(b, "mmap of the run page");
    if (!err && !again)
        err = cpu_prepare(cpu, table, n);
    if (!err)
        err = again ? kvm_load(vm, cpu, HY_S_ALL, vm->spares[index].reset, vm->spares[index].len) : spare_make(cpu);
    if (err) {
        kvm_cpu_free(cpu);
        return err;
    }
    sigemptyset(&kick);
    sigaddset(&kick, KICK_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
    pthread_mutex_lock(&vm->cpu_lock);
    vm->cpus[index] = cpu;
    pthread_mutex_unlock(&vm->cpu_lock);
    *out = cpu;
    return HY_OK;
}

/* ---- exits --------------------------------------------------------------------------------------------------------------------------------------------- */

static int msr_trapped(const hyb_vm *vm, uint32_t msr, int write)
{
    for (uint32_t i = 0; i < vm->trap_count; i++) {
        if (msr >= vm->traps[i].first && msr <= vm->traps[i].last && vm->traps[i].rw & (write ? HY_W : HY_R))
            return 1;
    }
    return 0;
}

/* Each of these fills cpu->exit, or returns 0 when the exit is dealt with and the guest goes on. */
static int exit_io(hyb_cpu *cpu)
{
    struct kvm_run *run = cpu->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;

    cpu->awaits = 1;
    cpu->exit.reason = HY_EXIT_IO;
    cpu->exit.write = run->io.direction == KVM_EXIT_IO_OUT;
    if (!cpu->exit.write)
        memset(data, 0xff, (size_t)run->io.size * run->io.count);
    cpu->exit.u.io.port = run->io.port;
    cpu->exit.u.io.width = run->io.size;
    cpu->exit.u.io.count = run->io.count;
    cpu->exit.u.io.data = data;
    return 1;
}

/* The access that KVM could not do itself, done by us: true when the map grants it. */
static int access_again(hyb_cpu *cpu)
{
    struct kvm_run *run = cpu->run;

    return (run->mmio.is_write ? mem_write(cpu->vm->map, run->mmio.phys_addr, run->mmio.data, run->mmio.len)
                               : mem_read(cpu->vm->map, run->mmio.phys_addr, run->mmio.data, run->mmio.len)) == 0;
}

static int exit_mmio(hyb_cpu *cpu)
{
    struct kvm_run *run = cpu->run;
    struct mem_page page;
    int mapped = mem_find(cpu->vm->map, run->mmio.phys_addr, run->mmio.is_write ? MEM_W : MEM_R, 0, &page) != MEM_UNMAPPED;

    cpu->awaits = 1;
    /* A slot that appeared after the guest missed it. */
    if (mapped && access_again(cpu))
        return 0;
    cpu->exit.reason = mapped ? HY_EXIT_FAULT : HY_EXIT_MMIO;
    cpu->exit.write = run->mmio.is_write;
    if (!cpu->exit.write)
        memset(run->mmio.data, 0xff, sizeof run->mmio.data);
    cpu->exit.u.mmio.gpa = run->mmio.phys_addr;
    cpu->exit.u.mmio.width = run->mmio.len;
    cpu->exit.u.mmio.access = run->mmio.is_write ? HY_W : HY_R;
    cpu->exit.u.mmio.data = run->mmio.data;
    return 1;
}

static int exit_msr(hyb_cpu *cpu, int write)
{
    struct kvm_run *run = cpu->run;

    cpu->awaits = 1;
    /* What KVM does not know or refuses is the guest's fault, unless the register is ours (x2APIC ones come this way with HY_IRQ_NONE). */
    if (!msr_trapped(cpu->vm, run->msr.index, write)) {
        run->msr.error = 1;
        return 0;
    }
    cpu->exit.reason = HY_EXIT_MSR;
    cpu->exit.write = (uint8_t)write;
    cpu->exit.u.msr.reg = HY_MSR(run->msr.index);
    cpu->exit.u.msr.value = write ? run->msr.data : 0;
    cpu->exit.u.msr.deny = 0;
    return 1;
}

static int exit_system(hyb_cpu *cpu)
{
    switch (cpu->run->system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN: cpu->exit.reason = HY_EXIT_OFF; return 1;
    case KVM_SYSTEM_EVENT_RESET: cpu->exit.reason = HY_EXIT_RESET; return 1;
    case KVM_SYSTEM_EVENT_CRASH: cpu->exit.reason = HY_EXIT_CRASH; return 1;
    default: return -1;
    }
}

static int exit_debug(hyb_cpu *cpu)
{
    const struct kvm_debug_exit_arch *arch = &cpu->run->debug.arch;
    uint64_t steps = atomic_load(&cpu->vm->step_first_last);

    /* DR6.BS, SDM 17.2.3 */
    if (arch->exception == 1 && arch->dr6 & BIT(14) && steps != UINT64_MAX && cpu->index >= (uint32_t)steps && cpu->index <= steps >> 32) {
        cpu->exit.reason = HY_EXIT_STEP;
        return 1;
    }
    cpu->exit.reason = HY_EXIT_EXCEPTION;
    cpu->exit.u.exc.vector = arch->exception;
    cpu->exit.u.exc.error = 0;
    cpu->exit.u.exc.addr = arch->pc;
    return 1;
}

static int exit_unknown(hyb_cpu *cpu)
{
    cpu->exit.reason = HY_EXIT_UNKNOWN;
    cpu->exit.u.unknown.raw = &cpu->run->hw; /* start of the union */
    cpu->exit.u.unknown.len = 256;
    return 1;
}

static int exit_fill(hyb_cpu *cpu)
{
    struct kvm_run *run = cpu->run;
    int known = 1;

    cpu->exit.reason = HY_EXIT_NONE;
    cpu->exit.write = 0;
    cpu->exit.native = run->exit_reason;
    switch (run->exit_reason) {
    case KVM_EXIT_IO: known = exit_io(cpu); break;
    case KVM_EXIT_MMIO: known = exit_mmio(cpu); break;
    case KVM_EXIT_HLT: cpu->exit.reason = HY_EXIT_HALT; break;
    case KVM_EXIT_SHUTDOWN: cpu->exit.reason = HY_EXIT_CRASH; break;
    case KVM_EXIT_X86_RDMSR: known = exit_msr(cpu, 0); break;
    case KVM_EXIT_X86_WRMSR: known = exit_msr(cpu, 1); break;
    case KVM_EXIT_SYSTEM_EVENT: known = exit_system(cpu); break;
    case KVM_EXIT_DEBUG: known = exit_debug(cpu); break;
    case KVM_EXIT_INTR: known = 0; break;
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        known = (cpu->window & 1u << HY_EV_INTR) != 0; /* reported below */
        cpu->exit.reason = HY_EXIT_WINDOW;
        cpu->window &= (uint8_t)~(1u << HY_EV_INTR);
        break;
    case KVM_EXIT_IOAPIC_EOI:
        cpu->exit.reason = HY_EXIT_EOI;
        cpu->exit.u.eoi.vector = run->eoi.vector;
        break;
    default: known = -1;
    }
    return known < 0 ? exit_unknown(cpu) : known;
}

/* ---- running --------------------------------------------------------------------------------------------------------------------------------------------- */

/* Puts the answer where KVM looks for it. */
static void answer(hyb_cpu *cpu)
{
    if (!cpu->awaits)
        return;
    if (cpu->exit.reason == HY_EXIT_MSR) {
        cpu->run->msr.error = cpu->exit.u.msr.deny != 0;
        cpu->run->msr.data = cpu->exit.u.msr.value;
    } else if (cpu->exit.reason == HY_EXIT_FAULT) {
        access_again(cpu); /* if the protection changed meanwhile */
    }
}

static hy_err debug_update(hyb_cpu *cpu)
{
    uint32_t generation = atomic_load(&cpu->vm->debug_generation), exceptions = atomic_load(&cpu->vm->trap_exceptions);
    uint64_t steps = atomic_load(&cpu->vm->step_first_last);
    int step = steps != UINT64_MAX && cpu->index >= (uint32_t)steps && cpu->index <= steps >> 32;
    struct kvm_guest_debug debug = {.control = (step ? KVM_GUESTDBG_SINGLESTEP : 0) | (exceptions & 1 << 3 ? KVM_GUESTDBG_USE_SW_BP : 0)
                                               | (exceptions & 1 << 1 ? KVM_GUESTDBG_USE_HW_BP : 0)};

    if (generation == cpu->debug_seen)
        return HY_OK;
    if (debug.control)
        debug.control |= KVM_GUESTDBG_ENABLE;
    cpu->debug_seen = generation;
    return KVM_TRY(cpu->vm->b, cpu->fd, KVM_SET_GUEST_DEBUG, &debug);
}

static void ready_update(hyb_cpu *cpu)
{
    const struct kvm_run *run = cpu->run;

    cpu->injected = 0;
    cpu->exit.ready = (uint8_t)((run->ready_for_interrupt_injection && run->if_flag ? 1 : 0) | 2);
}

/* The thread that kicks are sent to: CPUs roam. */
static void owner_note(hyb_cpu *cpu)
{
    if (!cpu->owned || !pthread_equal(cpu->owner, pthread_self())) {
        atomic_store(&cpu->tid, (int)syscall(SYS_gettid));
        cpu->owner = pthread_self();
        cpu->owned = 1;
    }
}

static hy_err run_failed(int error)
{
    return hyb_fail(error == EINVAL ? HY_E_GUEST : hyb_errno(error), error, "kvm", "KVM_RUN", "KVM refuses to run this guest state");
}

/* KVM queues NMIs by itself, so their window is always open. */
static hy_err window_of_nmi(hyb_cpu *cpu, hy_exit **out)
{
    hy_err err = kvm_finish(cpu, out);

    if (!err && (*out)->reason == HY_EXIT_NONE) {
        cpu->window &= (uint8_t)~(1u << HY_EV_NMI);
        cpu->exit.reason = HY_EXIT_WINDOW;
    }
    return err;
}

hy_err kvm_enter(hyb_cpu *cpu, hy_exit **out)
{
    hy_err err = debug_update(cpu);

    if (err)
        return err;
    owner_note(cpu);
    if (cpu->window & 1u << HY_EV_NMI)
        return window_of_nmi(cpu, out);
    for (;;) {
        int error;

        answer(cpu);
        cpu->run->request_interrupt_window = cpu->window >> HY_EV_INTR & 1;
        error = run_once(cpu, 0);
        if (error == EINTR || error == EAGAIN) { /* EAGAIN: a CPU that waits for its SIPI was woken */
            cpu->awaits = 0;
            if (!atomic_exchange(&cpu->kicked, 0))
                continue;
            cpu->exit = (hy_exit){.reason = HY_EXIT_KICK};
        } else if (error) {
            return run_failed(error);
        } else {
            cpu->awaits = 0;
            if (cpu->run->exit_reason == KVM_EXIT_FAIL_ENTRY)
                return hyb_fail(HY_E_GUEST, (int64_t)cpu->run->fail_entry.hardware_entry_failure_reason, "kvm", "KVM_RUN",
                                "the processor refuses to enter this guest state");
            if (!exit_fill(cpu))
                continue;
        }
        ready_update(cpu);
        *out = &cpu->exit;
        return HY_OK;
    }
}

hy_err kvm_finish(hyb_cpu *cpu, hy_exit **out)
{
    *out = &cpu->exit;
    while (cpu->awaits) {
        int error;

        answer(cpu);
        error = run_once(cpu, 1);
        cpu->awaits = 0;
        if (error && error != EINTR)
            return run_failed(error);
        if (!error && exit_fill(cpu)) {
            ready_update(cpu);
            return HY_OK;
        }
    }
    cpu->exit = (hy_exit){.reason = HY_EXIT_NONE};
    ready_update(cpu);
    return HY_OK;
}

/* ---- events --------------------------------------------------------------------------------------------------------------------------------------------- */

static hy_err inject_exception(hyb_cpu *cpu, const struct hy_event *event)
{
    struct kvm_vcpu_events events;
    struct kvm_sregs sregs;
    hy_err err = KVM_TRY(cpu->vm->b, cpu->fd, KVM_GET_VCPU_EVENTS, &events);

    if (event->vector > 31)
        return hyb_fail(HY_E_INVAL, 0, "kvm", "hy_inject", "exceptions are vectors 0 to 31");
    if (!err && event->vector == 14) {
        err = KVM_TRY(cpu->vm->b, cpu->fd, KVM_GET_SREGS, &sregs);
        sregs.cr2 = event->addr;
        if (!err)
            err = KVM_TRY(cpu->vm->b, cpu->fd, KVM_SET_SREGS, &sregs);
    }
    if (err)
        return err;
    events.exception.injected = 1;
    events.exception.nr = event->vector;
    events.exception.has_error_code = event->has_error;
    events.exception.error_code = event->error;
    return KVM_TRY(cpu->vm->b, cpu->fd, KVM_SET_VCPU_EVENTS, &events);
}

hy_err kvm_inject(hyb_cpu *cpu, const struct hy_event *event)
{
    struct kvm_interrupt interrupt = {.irq = event->vector};
    hy_err err;

    switch (event->kind) {
    case HY_EV_INTR:
        if (cpu->injected || !cpu->run->ready_for_interrupt_injection || !cpu->run->if_flag)
            return hyb_fail(HY_E_STATE, 0, "kvm", "hy_inject", "the CPU cannot take an interrupt now: use hy_window");
        err = KVM_TRY(cpu->vm->b, cpu->fd, KVM_INTERRUPT, &interrupt);
        cpu->injected = !err;
        return err;
    case HY_EV_NMI: return KVM_TRY(cpu->vm->b, cpu->fd, KVM_NMI, NULL);
    case HY_EV_EXCEPTION: return inject_exception(cpu, event);
    default: return hyb_fail(HY_E_NOTSUP, 0, "kvm", "hy_inject", "not an event of this architecture");
    }
}

hy_err kvm_window(hyb_cpu *cpu, unsigned mask)
{
    if (mask & 1u << HY_EV_INTR && cpu->vm->irq == HY_IRQ_FULL)
        return hyb_fail(HY_E_NOTSUP, 0, "kvm", "hy_window", "interrupts come through the controller below");
    cpu->window = (uint8_t)mask;
    return HY_OK;
}
