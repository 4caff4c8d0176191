/* SPDX-License-Identifier: MIT */
/* cpu.c - virtual CPUs: ownership, registers, running, bells on exits, saved state. */
#include <stdlib.h>
#include <string.h>

#include "hy/core.h"

/* ---- ownership ------------------------------------------------------------------------------------------------------------------------------------- */

/* Begins a call on the CPU; cpu_end() ends it. A second caller during one, or a stranger where CPUs do not roam, is turned away. */
static hy_err cpu_begin(hy_cpu *cpu, const char *call)
{
    if (!cpu)
        return HY_FAIL(HY_E_INVAL, call, "no CPU");
    if (!(cpu->vm->h->caps.can & HY_CAN_ROAM) && !pthread_equal(cpu->owner, pthread_self()))
        return HY_FAIL(HY_E_THREAD, call, "only the thread that made a CPU may use it");
    if (atomic_exchange_explicit(&cpu->busy, 1, memory_order_acquire))
        return HY_FAIL(HY_E_THREAD, call, "another thread is in a call on this CPU");
    return HY_OK;
}

static hy_err cpu_end(hy_cpu *cpu, hy_err err)
{
    atomic_store_explicit(&cpu->busy, 0, memory_order_release);
    return err;
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------------------------ */

/* The CPUID table of CPU `index`, allocated; *n = 0 and NULL where the backend takes none. */
static hy_err table_make(hy_vm *vm, uint32_t index, struct hy_cpuid **out, size_t *n)
{
    const struct hy_table *given = vm->own[index].entries ? &vm->own[index] : &vm->all;
    struct hy_cpuid *table;
    hy_err err = HY_OK;

    *out = NULL;
    *n = given->n;
    if (!(vm->h->caps.can & HY_CAN_CPUID))
        return HY_OK;
    if (!given->entries) {
        *n = 0;
        err = vm->h->backend->cpuid_host(vm->h->b, NULL, n);
        if (err && err != HY_E_RANGE)
            return err;
    }
    table = calloc(*n ? *n : 1, sizeof *table);
    if (!table)
        return HY_FAIL(HY_E_NOMEM, "hy_cpu_new", "");
    if (given->entries)
        memcpy(table, given->entries, *n * sizeof *table);
    else
        err = vm->h->backend->cpuid_host(vm->h->b, table, n);
    if (err) {
        free(table);
        return err;
    }
    if (given == &vm->all)
        x86_cpuid_set_apic_id(table, *n, index);
    x86_cpuid_fix_xsave(table, n);
    *out = table;
    return HY_OK;
}

hy_err hy_cpu_new(hy_vm *vm, uint32_t index, hy_cpu **out)
{
    struct hy_cpuid *table = NULL;
    hy_err err = HY_OK;
    hy_cpu *cpu;
    size_t n;

    if (!vm || !out)
        return HY_FAIL(HY_E_INVAL, "hy_cpu_new", "");
    if (index >= vm->cfg.cpus)
        return HY_FAIL(HY_E_RANGE, "hy_cpu_new", "an index beyond hy_vm_cfg.cpus");
    cpu = calloc(1, sizeof *cpu);
    if (!cpu)
        return HY_FAIL(HY_E_NOMEM, "hy_cpu_new", "");
    cpu->vm = vm;
    cpu->index = index;
    cpu->owner = pthread_self();
    pthread_mutex_lock(&vm->lock);
    if (vm->cpus[index])
        err = HY_FAIL(HY_E_BUSY, "hy_cpu_new", "that CPU exists");
    if (!err)
        err = table_make(vm, index, &table, &n);
    if (!err)
        err = vm->h->backend->cpu_new(vm->b, index, table, n, &cpu->b);
    if (!err) {
        vm->sealed = 1;
        vm->cpus[index] = cpu;
        vm->cpu_count++;
        *out = cpu;
    }
    pthread_mutex_unlock(&vm->lock);
    free(table);
    if (err)
        free(cpu);
    return err;
}

hy_err hy_cpu_free(hy_cpu *cpu)
{
    hy_vm *vm = cpu ? cpu->vm : NULL;
    hy_err err;

    if (!cpu)
        return HY_OK;
    err = cpu_begin(cpu, "hy_cpu_free");
    if (err)
        return err;
    pthread_mutex_lock(&vm->lock);
    vm->h->backend->cpu_free(cpu->b);
    vm->cpus[cpu->index] = NULL;
    vm->cpu_count--;
    pthread_mutex_unlock(&vm->lock);
    free(cpu);
    return HY_OK;
}

/* ---- registers --------------------------------------------------------------------------------------------------------------------------------------- */

/* Whether the PC lies between an exit and its answer. */
static int pc_in_flight(const hy_cpu *cpu)
{
    const uint64_t answered = BIT(HY_EXIT_IO) | BIT(HY_EXIT_MMIO) | BIT(HY_EXIT_FAULT) | BIT(HY_EXIT_MSR) | BIT(HY_EXIT_CPUID) | BIT(HY_EXIT_CALL);

    return cpu->last && answered >> cpu->last->reason & 1;
}

static hy_err names_check(const hy_cpu *cpu, const hy_reg *names, size_t n, const char *call)
{
    for (size_t i = 0; i < n && pc_in_flight(cpu); i++) {
        if (names[i] == HY_PC)
            return HY_FAIL(HY_E_STATE, call, "the PC is not defined before hy_finish");
    }
    return HY_OK;
}

hy_err hy_get(hy_cpu *cpu, const hy_reg *names, hy_val *values, size_t n)
{
    hy_err err = cpu_begin(cpu, "hy_get");

    if (err)
        return err;
    if (n && (!names || !values))
        return cpu_end(cpu, HY_FAIL(HY_E_INVAL, "hy_get", ""));
    err = names_check(cpu, names, n, "hy_get");
    return cpu_end(cpu, err ? err : cpu->vm->h->backend->get(cpu->b, names, values, n));
}

hy_err hy_set(hy_cpu *cpu, const hy_reg *names, const hy_val *values, size_t n)
{
    hy_err err = cpu_begin(cpu, "hy_set");

    if (err)
        return err;
    if (n && (!names || !values))
        return cpu_end(cpu, HY_FAIL(HY_E_INVAL, "hy_set", ""));
    err = names_check(cpu, names, n, "hy_set");
    return cpu_end(cpu, err ? err : cpu->vm->h->backend->set(cpu->b, names, values, n));
}

/* ---- running ------------------------------------------------------------------------------------------------------------------------------------------ */

/* Where the backend has no bells: rings the one that this exit matches. True when the exit is done with. */
static int exit_rings(hy_vm *vm, const hy_exit *x)
{
    int mmio = x->reason == HY_EXIT_MMIO, found = 0;
    uint64_t addr = mmio ? x->u.mmio.gpa : x->u.io.port, value = 0;
    uint32_t width = mmio ? x->u.mmio.width : x->u.io.width;

    if (!x->write || (!mmio && (x->reason != HY_EXIT_IO || x->u.io.count != 1)) || width > 8)
        return 0;
    memcpy(&value, mmio ? x->u.mmio.data : x->u.io.data, width);
    pthread_mutex_lock(&vm->lock);
    list_for_each(node, &vm->bells) {
        struct hy_bell *bell = list_entry(node, struct hy_bell, node);

        if (bell->mmio == mmio && bell->addr == addr && (!bell->len || bell->len == width) && (bell->any || bell->match == value)) {
            vm->h->os->ring(bell->os_event);
            found = 1;
            break;
        }
    }
    pthread_mutex_unlock(&vm->lock);
    return found;
}

hy_err hy_run(hy_cpu *cpu, hy_exit **out)
{
    hy_err err = cpu_begin(cpu, "hy_run");
    hy_vm *vm;

    if (err)
        return err;
    if (!out)
        return cpu_end(cpu, HY_FAIL(HY_E_INVAL, "hy_run", "no place for the exit"));
    vm = cpu->vm;
    do {
        cpu->last = NULL;
        err = vm->h->backend->enter(cpu->b, &cpu->last);
    } while (!err && atomic_load_explicit(&vm->bell_count, memory_order_relaxed) && exit_rings(vm, cpu->last));
    if (!err)
        *out = cpu->last;
    else
        cpu->last = NULL;
    return cpu_end(cpu, err);
}

hy_err hy_finish(hy_cpu *cpu, hy_exit **out)
{
    hy_err err = cpu_begin(cpu, "hy_finish");

    if (err)
        return err;
    if (!out)
        return cpu_end(cpu, HY_FAIL(HY_E_INVAL, "hy_finish", "no place for the exit"));
    err = cpu->vm->h->backend->finish(cpu->b, &cpu->last);
    if (!err)
        *out = cpu->last;
    else
        cpu->last = NULL;
    return cpu_end(cpu, err);
}

void hy_kick(hy_cpu *cpu)
{
    if (cpu)
        cpu->vm->h->backend->kick(cpu->b);
}

hy_err hy_inject(hy_cpu *cpu, const struct hy_event *event)
{
    hy_err err = cpu_begin(cpu, "hy_inject");

    if (err)
        return err;
    if (!event || event->kind > HY_EV_SERROR)
        return cpu_end(cpu, HY_FAIL(HY_E_INVAL, "hy_inject", "no such event"));
    if (event->kind == HY_EV_INTR && cpu->vm->cfg.irq == HY_IRQ_FULL)
        return cpu_end(cpu, HY_FAIL(HY_E_NOTSUP, "hy_inject", "interrupts come through the controllers below: use hy_line or hy_msi"));
    if (event->kind == HY_EV_EXCEPTION && pc_in_flight(cpu))
        return cpu_end(cpu, HY_FAIL(HY_E_STATE, "hy_inject", "not at an instruction boundary: call hy_finish first"));
    return cpu_end(cpu, cpu->vm->h->backend->inject(cpu->b, event));
}

hy_err hy_window(hy_cpu *cpu, unsigned mask)
{
    hy_err err = cpu_begin(cpu, "hy_window");

    if (err)
        return err;
    if (mask & ~(1u << HY_EV_INTR | 1u << HY_EV_NMI))
        return cpu_end(cpu, HY_FAIL(HY_E_INVAL, "hy_window", "no such event"));
    return cpu_end(cpu, cpu->vm->h->backend->window(cpu->b, mask));
}

/* ---- counters ------------------------------------------------------------------------------------------------------------------------------------------- */

const struct hy_counter_info *hy_counter_info(const char *backend, size_t i)
{
    for (size_t b = 0; backend && hy_backends[b]; b++)
        if (!strcmp(hy_backends[b]->name, backend))
            return hy_backends[b]->counter_info ? hy_backends[b]->counter_info(i) : NULL;
    return NULL;
}

hy_err hy_counters(hy_cpu *cpu, struct hy_counter *out, size_t *n)
{
    hy_err err = cpu_begin(cpu, "hy_counters");

    if (err)
        return err;
    if (!n || (*n && !out))
        return cpu_end(cpu, HY_FAIL(HY_E_INVAL, "hy_counters", ""));
    if (!cpu->vm->h->backend->counters)
        return cpu_end(cpu, HY_FAIL(HY_E_NOTSUP, "hy_counters", "the backend counts nothing"));
    return cpu_end(cpu, cpu->vm->h->backend->counters(cpu->b, out, n));
}

/* ---- saved state ---------------------------------------------------------------------------------------------------------------------------------------- */

static hy_err state_check(hy_vm *vm, hy_cpu *cpu, int what, const char *call)
{
    if (!vm || what < HY_S_FPU || what > HY_S_ALL || (what == HY_S_CHIP) != !cpu || (cpu && cpu->vm != vm))
        return HY_FAIL(HY_E_INVAL, call, "a CPU of this VM, or none for HY_S_CHIP");
    if (!vm->h->backend->save || !vm->h->backend->load)
        return HY_FAIL(HY_E_NOTSUP, call, "");
    return HY_OK;
}

hy_err hy_save(hy_vm *vm, hy_cpu *cpu, int what, void *buf, size_t *len)
{
    hy_err err = state_check(vm, cpu, what, "hy_save");

    if (!err && (!len || (*len && !buf)))
        err = HY_FAIL(HY_E_INVAL, "hy_save", "");
    if (!err && cpu)
        err = cpu_begin(cpu, "hy_save");
    if (err)
        return err;
    if (cpu && pc_in_flight(cpu))
        err = HY_FAIL(HY_E_STATE, "hy_save", "not at an instruction boundary: call hy_finish first");
    else
        err = vm->h->backend->save(vm->b, cpu ? cpu->b : NULL, what, buf, len);
    return cpu ? cpu_end(cpu, err) : err;
}

hy_err hy_load(hy_vm *vm, hy_cpu *cpu, int what, const void *buf, size_t len)
{
    hy_err err = state_check(vm, cpu, what, "hy_load");

    if (!err && len && !buf)
        err = HY_FAIL(HY_E_INVAL, "hy_load", "");
    if (!err && cpu)
        err = cpu_begin(cpu, "hy_load");
    if (err)
        return err;
    if (cpu && pc_in_flight(cpu))
        err = HY_FAIL(HY_E_STATE, "hy_load", "not at an instruction boundary: call hy_finish first");
    else
        err = vm->h->backend->load(vm->b, cpu ? cpu->b : NULL, what, buf, len);
    return cpu ? cpu_end(cpu, err) : err;
}
