/* SPDX-License-Identifier: MIT */
/* machine.c - making, running and ending a machine; the main loop's side of its life.
 *
 * Requests (power off, reset, crash, exit port, failure) come from any thread as bits; the main loop carries them out, worst first, with all vCPUs parked. The first
 * failure is kept with its message. Freeing copes with a machine that was only half made.
 */
#include "machine/machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "chipset/chipset.h"
#include "firmware/layout.h"
#include "hy/hy_rooms.h"
#include "machine/internal.h"
#include "machine/sandbox.h"

enum { FLUSH_MS = 1000 }; /* for a reader that takes nothing */

int machine_hy_error(hy_err e, const char *what, struct err *err)
{
    struct hy_why why;
    hy_why(&why);
    int code = e == HY_E_ABSENT || e == HY_E_DENIED || e == HY_E_NOTSUP || e == HY_E_BUSY || e == HY_E_NOMEM ? ERR_HOST : ERR_INTERNAL;
    return err_set(err, code, "%s: %s%s%s: %s (%s, native code %lld)", what, why.backend, *why.backend ? " " : "", why.call, *why.reason ? why.reason : "refused",
                   hy_err_name(e), (long long)why.native);
}

void machine_fail(struct machine *m, const char *format, ...)
{
    va_list args;
    pthread_mutex_lock(&m->failure_lock);
    if (!m->failure.code) {
        va_start(args, format);
        vsnprintf(m->failure.text, sizeof m->failure.text, format, args);
        va_end(args);
        m->failure.code = ERR_INTERNAL;
    }
    pthread_mutex_unlock(&m->failure_lock);
    machine_request(m, REQUEST_FAILURE);
}

/* ---- memory ------------------------------------------------------------------------------------------------------------------------------------- */

static int map_ram(struct machine *m, hy_mem *ram, uint64_t gpa, uint64_t offset, uint64_t len, struct err *err)
{
    hy_err e = len ? hy_map(m->vm, gpa, ram, offset, len, HY_R | HY_W | HY_X) : HY_OK;
    return e == HY_OK ? 0 : machine_hy_error(e, "mapping guest memory", err);
}

/* One block; below 1 MiB the hole for legacy video stays open. */
static int machine_make_memory(struct machine *m, struct err *err)
{
    struct layout_ram ram = layout_ram(m->config.memory);
    hy_mem *block;
    hy_err e = hy_mem_new(m->vm, m->config.memory, &block);
    if (e != HY_OK)
        return machine_hy_error(e, "--memory", err);
    int r = map_ram(m, block, 0, 0, LAYOUT_LOW_TOP, err);
    if (!r)
        r = map_ram(m, block, LAYOUT_ROM_BASE, LAYOUT_ROM_BASE, ram.low_end - LAYOUT_ROM_BASE, err);
    if (!r)
        r = map_ram(m, block, LAYOUT_HIGH_RAM, ram.low_end, ram.high_end - LAYOUT_HIGH_RAM, err);
    hy_mem_free(block);
    m->map = hy_vm_map(m->vm);
    return r;
}

int machine_make_firmware_ram(void *opaque, struct err *err)
{
    struct machine *m = opaque;
    hy_mem *block;
    if (m->firmware_ram)
        return 0;
    hy_err e = hy_mem_new(m->vm, LAYOUT_HIGH_RAM - LAYOUT_FIRMWARE_BASE, &block);
    if (e != HY_OK)
        return machine_hy_error(e, "memory for firmware", err);
    m->firmware_ram = true;
    int r = map_ram(m, block, LAYOUT_FIRMWARE_BASE, 0, LAYOUT_HIGH_RAM - LAYOUT_FIRMWARE_BASE, err);
    hy_mem_free(block);
    return r;
}

/* ---- making -------------------------------------------------------------------------------------------------------------------------------------- */

static uint32_t choose_irqchip(const struct machine *m)
{
    static const uint32_t wanted[] = {[MACHINE_IRQCHIP_NONE] = HY_IRQ_NONE, [MACHINE_IRQCHIP_CPU] = HY_IRQ_CPU, [MACHINE_IRQCHIP_FULL] = HY_IRQ_FULL};
    if (m->config.irqchip != MACHINE_IRQCHIP_AUTO)
        return m->caps.irq & wanted[m->config.irqchip];
    return m->caps.irq & HY_IRQ_CPU ? HY_IRQ_CPU : m->caps.irq & HY_IRQ_FULL ? HY_IRQ_FULL : m->caps.irq & HY_IRQ_NONE;
}

/* That nobody thinks something was translated, or checked, which was not. */
static int check_engine(const struct machine *m, struct err *err)
{
    static const char *const checks[] = {"off", "verify", "lockstep", "soak"};
    const char *why, *engine = hy_engine(m->hy, &why), *check = checks[m->config.cpu_check];
    bool hardware = !strcmp(engine, "hardware"), interprets = !strcmp(engine, "interpret"), checked = m->config.cpu_check != MACHINE_CPU_CHECK_OFF;
    if (hardware && m->config.cpu_engine != MACHINE_CPU_ENGINE_AUTO)
        return err_set(err, ERR_USAGE, "--cpu-engine: backend %s runs guest code on the processor (say --backend soft)", hy_name(m->hy));
    if (hardware && checked)
        return err_set(err, ERR_USAGE, "--cpu-check %s: backend %s runs guest code on the processor (say --backend soft)", check, hy_name(m->hy));
    if (interprets && m->config.cpu_engine == MACHINE_CPU_ENGINE_TRANSLATE)
        return err_set(err, ERR_HOST, "--cpu-engine translate: %s (say --cpu-engine auto to have guest code interpreted)", why);
    if (m->config.cpu_engine == MACHINE_CPU_ENGINE_INTERPRET && checked)
        return err_set(err, ERR_USAGE, "--cpu-check %s: nothing is translated with --cpu-engine interpret", check);
    if (interprets && m->config.cpu_check == MACHINE_CPU_CHECK_LOCKSTEP)
        return err_set(err, ERR_HOST, "--cpu-check lockstep: nothing is translated: %s", why);
    return 0;
}


static int machine_open(struct machine *m, struct err *err)
{
    hy_err e = hy_open(m->config.backend, &m->hy);
    if (e != HY_OK) {
        char what[80] = "no usable backend";
        if (m->config.backend)
            snprintf(what, sizeof what, "--backend %.60s", m->config.backend);
        machine_hy_error(e, what, err);
        if (e == HY_E_ABSENT && m->config.backend)
            err->code = ERR_USAGE;
        return err->code;
    }
    m->caps.size = sizeof m->caps;
    hy_caps(m->hy, &m->caps);
    m->irq = choose_irqchip(m);
    if (!m->irq)
        return err_set(err, ERR_USAGE, "--irqchip: backend %s does not offer it", hy_name(m->hy));
    if (m->config.cpus > m->caps.max_cpus)
        return err_set(err, ERR_USAGE, "--cpus %u: backend %s takes at most %u", m->config.cpus, hy_name(m->hy), m->caps.max_cpus);
    if (check_engine(m, err))
        return err->code;
    static const uint32_t engine_flags[] = {0, HY_VM_INTERPRET, HY_VM_TRANSLATE};
    static const uint32_t check_flags[] = {0, HY_VM_VERIFY, HY_VM_LOCKSTEP, HY_VM_SOAK};
    struct hy_vm_cfg cfg = {.size = sizeof cfg, .irq = m->irq, .flags = engine_flags[m->config.cpu_engine] | check_flags[m->config.cpu_check] |
                                (m->config.count_tlb ? HY_VM_COUNT_TLB : 0), .cpus = m->config.cpus,
                            .code_map = m->config.code_map};
    e = hy_vm_new(m->hy, &cfg, &m->vm);
    return e == HY_OK ? 0 : machine_hy_error(e, "making a VM", err);
}

static int check_config(const struct machine_config *c, struct err *err)
{
    if (!c->cpus || c->cpus > MACHINE_CPUS_MAX)
        return err_set(err, ERR_USAGE, "--cpus %u: want 1 to %u", c->cpus, MACHINE_CPUS_MAX);
    if (c->memory < LAYOUT_MEMORY_MIN || c->memory > LAYOUT_MEMORY_MAX || c->memory % MEM_PAGE_SIZE)
        return err_set(err, ERR_USAGE, "--memory: want 16M to 64G in whole pages");
    return 0;
}

static void machine_handle_requests(void *opaque);
static void machine_stop(struct machine *);

static int machine_assemble(struct machine *m, struct err *err)
{
    int r = check_config(&m->config, err);
    if (!r)
        r = machine_open(m, err);
    if (!r)
        r = machine_make_memory(m, err);
    if (!r && !(m->clock = exec_clock_new(err)))
        r = err->code;
    if (!r)
        r = executor_new_main(m->clock, &m->main, err);
    if (!r && !(m->bus = bus_new(err)))
        r = err->code;
    if (!r) {
        exec_work_init(&m->request_work, m->main, NULL, machine_handle_requests, m);
        r = machine_set_cpuid(m, err);
    }
    if (!r)
        r = paravirt_setup(m, err);
    if (!r)
        r = interrupts_setup(m, err);
    if (!r)
        r = machine_make_devices(m, err);
    return r ? r : machine_boot(m, err);
}

int machine_new(const struct machine_config *config, struct machine **out, struct err *err)
{
    struct err unused = ERR_NONE;
    struct machine *m = calloc(1, sizeof *m);
    if (!m)
        return err_set(err, ERR_HOST, "out of memory");
    err = err ? err : &unused;
    m->config = *config;
    pthread_mutex_init(&m->lock, NULL);
    for (int i = 0; i < MACHINE_CPUS_MAX; i++)
        pthread_mutex_init(&m->vcpus[i].kick_lock, NULL);
    pthread_mutex_init(&m->failure_lock, NULL);
    pthread_mutex_init(&m->clock_lock, NULL);
    pthread_cond_init(&m->changed, NULL);
    int r = machine_assemble(m, err);
    if (r) {
        machine_free(m);
        return r;
    }
    *out = m;
    return 0;
}

void machine_free(struct machine *m)
{
    if (!m)
        return;
    machine_stop(m);
    machine_free_devices(m);
    interrupts_teardown(m);
    if (m->main) {
        exec_work_cancel(&m->request_work);
        executor_free(m->main);
    }
    if (m->bus)
        bus_free(m->bus);
    exec_clock_free(m->clock);
    hy_vm_free(m->vm);
    hy_close(m->hy);
    pthread_cond_destroy(&m->changed);
    pthread_mutex_destroy(&m->clock_lock);
    pthread_mutex_destroy(&m->failure_lock);
    for (int i = 0; i < MACHINE_CPUS_MAX; i++) {
        pthread_mutex_destroy(&m->vcpus[i].kick_lock);
        free(m->vcpus[i].counters);
    }
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------------------------ */

void machine_request(struct machine *m, uint32_t request)
{
    atomic_fetch_or(&m->requests, request);
    exec_work_post(&m->request_work);
}

static void machine_end(struct machine *m, enum machine_end end)
{
    m->end = end;
    executor_stop(m->main, 0);
}

/* Power-on state again: devices, kernel and vCPUs; RAM keeps what the kernel image does not overwrite, as on a warm reset. */
static int machine_restart(struct machine *m, struct err *err)
{
    for (size_t i = 0; i < m->device_count; i++)
        device_reset(m->devices[i]);
    m->clock_ns = 0;
    int r = machine_boot(m, err);
    if (!r)
        r = vcpus_make(m, err);
    atomic_store(&m->ending, false);
    return r;
}

static void hold_executors(struct machine *m)
{
    for (size_t i = 0; i < m->executor_count; i++)
        executor_hold(m->executors[i]);
}

static void release_executors(struct machine *m)
{
    for (size_t i = 0; i < m->executor_count; i++)
        executor_release(m->executors[i]);
}

static void run_clock(struct machine *m, bool run)
{
    if (m->caps.can & HY_CAN_CLOCK)
        hy_clock(m->vm, run, NULL, NULL);
    if (run)
        exec_clock_thaw(m->clock);
    else
        exec_clock_freeze(m->clock);
}

void machine_hold(struct machine *m)
{
    vcpus_park(m);
    hold_executors(m);
    run_clock(m, false);
}

void machine_release(struct machine *m)
{
    run_clock(m, true);
    release_executors(m);
    vcpus_resume(m);
}

/* A job for the main loop with the machine held; its failure ends the machine. */
static void carry_out(struct machine *m, int (*job)(struct machine *, struct err *))
{
    struct err err = ERR_NONE;
    machine_hold(m);
    if (job(m, &err)) {
        m->failure = err;
        machine_end(m, MACHINE_END_FAILURE);
        return;
    }
    machine_release(m);
}

static void carry_out_reset(struct machine *m)
{
    if (m->config.no_reboot)
        machine_end(m, MACHINE_END_RESET);
    else
        carry_out(m, machine_restart);
}

static void machine_handle_requests(void *opaque)
{
    struct machine *m = opaque;
    uint32_t requests = atomic_exchange(&m->requests, 0);
    if (requests & REQUEST_BUTTON)
        acpi_pm_power_button(m->pm);
    if (requests & REQUEST_FAILURE)
        machine_end(m, MACHINE_END_FAILURE);
    else if (requests & REQUEST_EXIT_PORT)
        machine_end(m, MACHINE_END_EXIT_PORT);
    else if (requests & REQUEST_CRASH)
        machine_end(m, MACHINE_END_CRASH);
    else if (requests & REQUEST_OFF)
        machine_end(m, MACHINE_END_OFF);
    else if (requests & REQUEST_RESET)
        carry_out_reset(m);
    else if (requests & REQUEST_CHECKPOINT)
        carry_out(m, machine_checkpoint);
}

/* Slower than its user may think, who did not ask for that. */
static void tell_engine(struct machine *m)
{
    const char *why;
    if (m->config.cpu_engine == MACHINE_CPU_ENGINE_AUTO && !strcmp(hy_engine(m->hy, &why), "interpret"))
        log_line(m->config.log, LOG_WARN, "guest code is interpreted, not translated: %s", why);
}

int machine_start(struct machine *m, struct err *err)
{
    if (m->vcpus[0].started)
        return 0;
    int r = sandbox_enter_process(m->config.sandbox, m->config.log, err);
    hold_executors(m); /* a device must not find a vCPU half made */
    if (!r)
        r = vcpus_start(m, err);
    if (r)
        return r;
    tell_engine(m);
    run_clock(m, false);
    return 0;
}

static int enter_sandbox(struct machine *m, struct err *err)
{
    int r = sandbox_enter_all_threads(m->config.sandbox, err);
    if (!r)
        r = vcpus_enter_sandbox(m, err);
    release_executors(m); /* they have to narrow themselves */
    if (!r)
        r = machine_sandbox_devices(m, err);
    return r ? r : sandbox_enter_thread(m->config.sandbox, SANDBOX_MAIN | SANDBOX_DEVICE, err);
}

/* The end of a run, and of a machine that was started only. Devices find no vCPU any more when they run again. */
static void machine_stop(struct machine *m)
{
    hold_executors(m);
    vcpus_stop(m);
    release_executors(m);
}

static void start_streams(struct machine *m)
{
    if (m->serial_stream)
        stream_start(m->serial_stream);
    if (m->console_stream)
        stream_start(m->console_stream);
}

/* What the guest wrote arrives, unless its reader takes nothing at all. */
static void flush_streams(struct machine *m)
{
    struct stream *streams[] = {m->serial_stream, m->console_stream};
    for (size_t i = 0; i < ARRAY_LEN(streams); i++)
        if (streams[i])
            stream_flush(streams[i], FLUSH_MS);
}

int machine_run(struct machine *m, enum machine_end *end, struct err *err)
{
    start_streams(m); /* before the sandbox */
    int r = machine_start(m, err);
    if (!r)
        r = enter_sandbox(m, err);
    if (!r) {
        m->end = MACHINE_END_OFF;
        machine_release(m);
        executor_run(m->main);
    }
    machine_stop(m);
    flush_streams(m);
    if (r)
        return r;
    if (m->end == MACHINE_END_FAILURE) {
        if (err)
            *err = m->failure;
        r = m->failure.code;
    }
    *end = m->end;
    return r;
}

void machine_quit(struct machine *m, enum machine_end end)
{
    machine_request(m, end == MACHINE_END_RESET ? REQUEST_RESET : end == MACHINE_END_CRASH ? REQUEST_CRASH : REQUEST_OFF);
}

void machine_reset(struct machine *m) { machine_request(m, REQUEST_RESET); }
void machine_power_button(struct machine *m) { machine_request(m, REQUEST_BUTTON); }
uint64_t machine_checkpoints(const struct machine *m) { return m->checkpoints; }

const struct hy_counter *machine_counters(const struct machine *m, uint32_t cpu, size_t *n)
{
    *n = m->vcpus[cpu].counter_count;
    return m->vcpus[cpu].counters;
}

int machine_exit_status(const struct machine *m) { return atomic_load(&m->exit_status); }
const char *machine_choice(const struct machine *m) { return hy_choice(m->hy); }
const char *machine_format(const struct machine *m) { return m->boot.format; }

void machine_type(struct machine *m, uint8_t byte)
{
    struct stream *s = m->config.serial.kind == STREAM_STDIO ? m->serial_stream : m->config.console.kind == STREAM_STDIO ? m->console_stream : NULL;
    if (s)
        stream_type(s, byte);
}
