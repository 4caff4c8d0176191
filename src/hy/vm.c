/* SPDX-License-Identifier: MIT */
/* vm.c - VMs: life, policy, interrupts, bells, time. */
#include <stdlib.h>
#include <string.h>

#include "hy/core.h"

static void vm_changed(struct mem_listener *listener, uint64_t gpa, uint64_t len)
{
    hy_vm *vm = container_of(listener, hy_vm, listener);
    hy_err err = vm->h->backend->remap ? vm->h->backend->remap(vm->b, gpa, len) : HY_OK;

    if (err)
        vm->remap_err = err;
}

static hy_err cfg_check(const hy *h, const struct hy_vm_cfg *cfg)
{
    const struct hy_caps *caps = &h->caps;

    if (!is_power_of_two(cfg->irq) || !(cfg->irq & caps->irq))
        return HY_FAIL(HY_E_NOTSUP, "hy_vm_new", "this backend has no such interrupt mode");
    if (cfg->cpus > caps->max_cpus)
        return HY_FAIL(HY_E_RANGE, "hy_vm_new", "more CPUs than this backend can run");
    if (cfg->gpa_bits > caps->gpa_bits)
        return HY_FAIL(HY_E_RANGE, "hy_vm_new", "guest-physical addresses wider than this backend's");
    if (cfg->flags & ~(uint32_t)(HY_VM_NEST | HY_VM_INTERPRET | HY_VM_TRANSLATE | HY_VM_EAGER | HY_VM_LOCKSTEP | HY_VM_VERIFY | HY_VM_SOAK |
                                  HY_VM_COUNT_TLB))
        return HY_FAIL(HY_E_INVAL, "hy_vm_new", "an unknown flag");
    if (cfg->code_map < 0 || cfg->reserved)
        return HY_FAIL(HY_E_INVAL, "hy_vm_new", "code_map is no descriptor, or reserved is not 0");
    if ((cfg->flags & HY_VM_NEST) && !(caps->can & HY_CAN_NEST))
        return HY_FAIL(HY_E_NOTSUP, "hy_vm_new", "no nested virtualization here");
    if (cfg->isolation && !(caps->can & HY_CAN_PRIVATE))
        return HY_FAIL(HY_E_NOTSUP, "hy_vm_new", "no isolated VMs here");
    return HY_OK;
}

/* What the core itself needs. */
static hy_vm *vm_make(hy *h, const struct hy_vm_cfg *cfg)
{
    hy_vm *vm = calloc(1, sizeof *vm);

    if (!vm)
        return NULL;
    vm->h = h;
    vm->cfg = *cfg;
    vm->cpus = calloc(cfg->cpus, sizeof(hy_cpu *));
    vm->own = calloc(cfg->cpus, sizeof *vm->own);
    vm->map = mem_map_new(NULL);
    vm->listener.changed = vm_changed;
    list_init(&vm->bells);
    pthread_mutex_init(&vm->lock, NULL);
    if (vm->cpus && vm->own && vm->map)
        return vm;
    mem_map_free(vm->map);
    free(vm->cpus);
    free(vm->own);
    free(vm);
    return NULL;
}

static void vm_unmake(hy_vm *vm)
{
    list_for_each(node, &vm->bells) {
        list_remove(node);
        free(list_entry(node, struct hy_bell, node));
    }
    for (uint32_t i = 0; i < vm->cfg.cpus; i++)
        free(vm->own[i].entries);
    free(vm->all.entries);
    free(vm->own);
    free(vm->cpus);
    mem_map_free(vm->map);
    pthread_mutex_destroy(&vm->lock);
    free(vm);
}

hy_err hy_vm_new(hy *h, const struct hy_vm_cfg *given, hy_vm **out)
{
    struct hy_vm_cfg cfg = {0};
    hy_vm *vm;
    hy_err err;

    if (!h || !given || !out || given->size < sizeof given->size)
        return HY_FAIL(HY_E_INVAL, "hy_vm_new", "size is not set");
    memcpy(&cfg, given, given->size < sizeof cfg ? given->size : sizeof cfg);
    cfg.size = sizeof cfg;
    err = cfg_check(h, &cfg);
    if (err)
        return err;
    cfg.cpus = cfg.cpus ? cfg.cpus : 1;
    cfg.gpa_bits = cfg.gpa_bits ? cfg.gpa_bits : h->caps.gpa_bits;
    cfg.tick_hz = cfg.tick_hz ? cfg.tick_hz : h->caps.tick_hz;
    vm = vm_make(h, &cfg);
    if (!vm)
        return HY_FAIL(HY_E_NOMEM, "hy_vm_new", "");
    if (atomic_fetch_add(&h->vms, 1) >= h->caps.max_vms)
        err = HY_FAIL(HY_E_BUSY, "hy_vm_new", "this backend has no room for another VM in this process");
    if (!err)
        err = h->backend->vm_new(h->b, &cfg, vm->map, &vm->b);
    if (err) {
        atomic_fetch_sub(&h->vms, 1);
        vm_unmake(vm);
        return err;
    }
    mem_map_listen(vm->map, &vm->listener);
    *out = vm;
    return HY_OK;
}

hy_err hy_vm_free(hy_vm *vm)
{
    uint32_t alive;

    if (!vm)
        return HY_OK;
    pthread_mutex_lock(&vm->lock);
    alive = vm->cpu_count;
    pthread_mutex_unlock(&vm->lock);
    if (alive)
        return HY_FAIL(HY_E_STATE, "hy_vm_free", "CPUs of it still live");
    mem_map_unlisten(vm->map, &vm->listener);
    vm->h->backend->vm_free(vm->b);
    atomic_fetch_sub(&vm->h->vms, 1);
    vm_unmake(vm);
    return HY_OK;
}

struct mem_map *hy_vm_map(hy_vm *vm) { return vm->map; }

/* ---- policy ----------------------------------------------------------------------------------------------------------------------------------- */

hy_err hy_trap(hy_vm *vm, uint32_t reason, uint32_t first, uint32_t last, uint32_t rw)
{
    hy_err err = HY_OK;

    if (!vm || first > last || rw & ~(uint32_t)(HY_R | HY_W))
        return HY_FAIL(HY_E_INVAL, "hy_trap", "");
    if (reason > HY_EXIT_UNKNOWN || !(vm->h->caps.traps & BIT(reason)) || !vm->h->backend->trap)
        return HY_FAIL(HY_E_NOTSUP, "hy_trap", "this backend cannot report that exit");
    pthread_mutex_lock(&vm->lock);
    if (vm->sealed && (reason == HY_EXIT_MSR || reason == HY_EXIT_CPUID))
        err = HY_FAIL(HY_E_STATE, "hy_trap", "the VM has a CPU already");
    else
        err = vm->h->backend->trap(vm->b, reason, first, last, rw);
    pthread_mutex_unlock(&vm->lock);
    return err;
}

hy_err hy_cpuid(hy_vm *vm, uint32_t cpu, const struct hy_cpuid *table, size_t n)
{
    struct hy_cpuid *copy;
    struct hy_table *slot;
    hy_err err = HY_OK;

    if (!vm || !table || !n || n > 1024)
        return HY_FAIL(HY_E_INVAL, "hy_cpuid", "a table of 1 to 1024 entries is needed");
    if (!(vm->h->caps.can & HY_CAN_CPUID))
        return HY_FAIL(HY_E_NOTSUP, "hy_cpuid", "");
    if (cpu != HY_ALL_CPUS && cpu >= vm->cfg.cpus)
        return HY_FAIL(HY_E_RANGE, "hy_cpuid", "no such CPU");
    copy = malloc(n * sizeof *copy);
    if (!copy)
        return HY_FAIL(HY_E_NOMEM, "hy_cpuid", "");
    memcpy(copy, table, n * sizeof *copy);
    slot = cpu == HY_ALL_CPUS ? &vm->all : &vm->own[cpu];
    pthread_mutex_lock(&vm->lock);
    if (vm->sealed) {
        err = HY_FAIL(HY_E_STATE, "hy_cpuid", "the VM has a CPU already");
        free(copy);
    } else {
        free(slot->entries);
        *slot = (struct hy_table){.entries = copy, .n = n};
    }
    pthread_mutex_unlock(&vm->lock);
    return err;
}

/* ---- interrupts, bells, time -------------------------------------------------------------------------------------------------------------------- */

hy_err hy_line(hy_vm *vm, uint32_t line, int level)
{
    if (!vm)
        return HY_FAIL(HY_E_INVAL, "hy_line", "");
    if (!vm->h->backend->line || vm->cfg.irq != HY_IRQ_FULL)
        return HY_FAIL(HY_E_NOTSUP, "hy_line", "no interrupt controller with lines below the caller");
    return vm->h->backend->line(vm->b, line, level);
}

hy_err hy_msi(hy_vm *vm, uint64_t addr, uint32_t data, uint32_t dev)
{
    if (!vm)
        return HY_FAIL(HY_E_INVAL, "hy_msi", "");
    if (!vm->h->backend->msi || vm->cfg.irq == HY_IRQ_NONE)
        return HY_FAIL(HY_E_NOTSUP, "hy_msi", "no local interrupt controllers below the caller");
    return vm->h->backend->msi(vm->b, addr, data, dev);
}

hy_err hy_route(hy_vm *vm, uint32_t line, uint64_t addr, uint32_t data, uint32_t dev)
{
    hy_err err = HY_OK;

    if (!vm)
        return HY_FAIL(HY_E_INVAL, "hy_route", "");
    if (line > 4095)
        return HY_FAIL(HY_E_RANGE, "hy_route", "lines are 0 to 4095");
    if (vm->cfg.irq == HY_IRQ_NONE)
        return HY_FAIL(HY_E_NOTSUP, "hy_route", "no local interrupt controllers below the caller");
    pthread_mutex_lock(&vm->lock);
    if (vm->h->backend->route)
        err = vm->h->backend->route(vm->b, line, addr, data, dev);
    pthread_mutex_unlock(&vm->lock);
    return err;
}

hy_err hy_irq_event(hy_vm *vm, uint32_t line, intptr_t os_event, intptr_t resample, int on)
{
    hy_err err;

    if (!vm)
        return HY_FAIL(HY_E_INVAL, "hy_irq_event", "");
    if (!vm->h->backend->irq_event || vm->cfg.irq == HY_IRQ_NONE)
        return HY_FAIL(HY_E_NOTSUP, "hy_irq_event", "");
    pthread_mutex_lock(&vm->lock);
    err = vm->h->backend->irq_event(vm->b, line, os_event, resample, on);
    pthread_mutex_unlock(&vm->lock);
    return err;
}

static struct hy_bell *bell_find(hy_vm *vm, const struct hy_bell *like)
{
    list_for_each(node, &vm->bells) {
        struct hy_bell *bell = list_entry(node, struct hy_bell, node);

        if (bell->mmio == like->mmio && bell->addr == like->addr && bell->len == like->len && bell->any == like->any && bell->match == like->match)
            return bell;
    }
    return NULL;
}

/* A bell of the core's: vm->lock held. */
static hy_err bell_set(hy_vm *vm, const struct hy_bell *want, int on)
{
    struct hy_bell *bell = bell_find(vm, want);

    if (!on == !bell)
        return HY_FAIL(HY_E_RANGE, "hy_bell", on ? "there is such a bell already" : "there is no such bell");
    if (!on) {
        list_remove(&bell->node);
        free(bell);
        atomic_fetch_sub(&vm->bell_count, 1);
        return HY_OK;
    }
    bell = malloc(sizeof *bell);
    if (!bell)
        return HY_FAIL(HY_E_NOMEM, "hy_bell", "");
    *bell = *want;
    list_append(&vm->bells, &bell->node);
    atomic_fetch_add(&vm->bell_count, 1);
    return HY_OK;
}

hy_err hy_bell(hy_vm *vm, int mmio, uint64_t addr, uint32_t len, const uint64_t *match, intptr_t os_event, int on)
{
    struct hy_bell want = {.mmio = !!mmio, .any = !match, .addr = addr, .match = match ? *match : 0, .len = len, .os_event = os_event};
    hy_err err;

    if (!vm || (len && (len > 8 || !is_power_of_two(len))) || (!len && (!mmio || match)) || (!mmio && addr > 0xffff))
        return HY_FAIL(HY_E_INVAL, "hy_bell", "len must be 1, 2, 4 or 8 (0 for any write to MMIO)");
    pthread_mutex_lock(&vm->lock);
    if (vm->h->backend->bell)
        err = vm->h->backend->bell(vm->b, mmio, addr, len, match, os_event, on);
    else
        err = bell_set(vm, &want, on);
    pthread_mutex_unlock(&vm->lock);
    return err;
}

hy_err hy_clock(hy_vm *vm, int running, struct hy_clock *get, const struct hy_clock *set)
{
    if (!vm || running < -1 || running > 1)
        return HY_FAIL(HY_E_INVAL, "hy_clock", "");
    if (!vm->h->backend->clock)
        return HY_FAIL(HY_E_NOTSUP, "hy_clock", "");
    return vm->h->backend->clock(vm->b, running, get, set);
}

intptr_t hy_native(hy_vm *vm, hy_cpu *cpu)
{
    return vm && vm->h->backend->native ? vm->h->backend->native(vm->b, cpu ? cpu->b : NULL) : -1;
}
