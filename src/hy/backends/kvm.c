/* SPDX-License-Identifier: MIT */
/* kvm.c - the backend over Linux's /dev/kvm on x86-64: probing, opening, VMs, policy, interrupts.
 *
 * What the guest sees: the host's CPU as KVM offers it; with HY_IRQ_CPU the kernel's local APICs, with HY_IRQ_FULL its IOAPIC and 8259 too.
 * What is trusted: the kernel. What the guest hands us (addresses, MSR numbers) is only passed on.
 * Locking: slot_lock for memory slots, cpu_lock for the list of CPUs and the gate; the core's VM lock is held for policy and routes.
 * Limits: 16 MSR ranges; a protection change of a slot stops the VM's CPUs for its duration, since KVM can only delete and add it (4.35).
 * Spec: Linux Documentation/virt/kvm/api.rst, sections named in the text.
 */
#include "hy/backends/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define KVM_NODE "/dev/kvm"
/* Three pages for Intel's virtual TSS and one for its identity page table (4.41, 4.126): below the chipset's flash, where no RAM goes. */
#define TSS_AT      UINT64_C(0xfeffd000)
#define IDENTITY_AT UINT64_C(0xfeffc000)

static long kvm_has(const struct hyb *b, int fd, long capability)
{
    long value = b->os->ioctl(fd, KVM_CHECK_EXTENSION, (void *)(uintptr_t)capability);

    return value > 0 ? value : 0;
}

/* ---- probe ---------------------------------------------------------------------------------------------------------------------------------------- */

static void probe_absent(struct hy_probe *out)
{
    out->reason = "there is no /dev/kvm: the module is not loaded, or this machine has no VMX or SVM (or its firmware hides it)";
    out->remedy = "sudo modprobe -a kvm_intel kvm_amd";
}

static hy_err kvm_probe(const struct hy_os *os, struct hy_probe *out)
{
    int fd = os->open(KVM_NODE, O_RDWR);
    long version;

    out->call = "open " KVM_NODE;
    if (fd < 0) {
        out->native = os->error();
        out->reason = "/dev/kvm does not open";
        if (out->native == ENOENT) {
            probe_absent(out);
        } else if (out->native == EACCES || out->native == EPERM) {
            out->reason = "/dev/kvm is there, but you may not open it";
            out->remedy = "sudo usermod -aG kvm \"$USER\"   (then log in again)";
        } else if (out->native == ENODEV || out->native == ENXIO) {
            out->reason = "/dev/kvm is there, but no module drives it: virtualization is off in the firmware, or not offered to this machine";
            out->remedy = "sudo modprobe -a kvm_intel kvm_amd   (after enabling VT-x or AMD-V in the firmware set-up)";
        }
        return hyb_errno((int)out->native);
    }
    version = os->ioctl(fd, KVM_GET_API_VERSION, NULL);
    os->close(fd);
    out->call = "KVM_GET_API_VERSION";
    out->native = version;
    if (version == KVM_API_VERSION)
        return HY_OK;
    out->reason = "/dev/kvm does not speak version 12 of the interface";
    return HY_E_NOTSUP;
}

/* ---- open ------------------------------------------------------------------------------------------------------------------------------------------ */

static hy_err open_msr_list(struct hyb *b)
{
    struct kvm_msr_list *list = calloc(1, sizeof *list + KVM_MSRS_MAX * sizeof list->indices[0]);
    hy_err err = HY_OK;

    b->msrs = calloc(KVM_MSRS_MAX, sizeof *b->msrs);
    if (!list || !b->msrs)
        err = hyb_fail(HY_E_NOMEM, 0, "kvm", "open", "");
    if (!err) {
        list->nmsrs = KVM_MSRS_MAX;
        err = KVM_TRY(b, b->fd, KVM_GET_MSR_INDEX_LIST, list);
    }
    for (uint32_t i = 0; !err && i < list->nmsrs && i < KVM_MSRS_MAX; i++)
        b->msrs[b->msr_count++] = list->indices[i];
    free(list);
    return err;
}

/* Abilities are asked of a VM, as the documentation wants it (4.4); the same VM tells the TSC frequency. */
static hy_err open_abilities(struct hyb *b)
{
    int vm = (int)kvm_ioctl(b, b->fd, KVM_CREATE_VM, NULL), cpu;
    long khz;

    if (vm < 0)
        return kvm_fail(b, "KVM_CREATE_VM");
    b->max_slots = (uint32_t)kvm_has(b, vm, KVM_CAP_NR_MEMSLOTS);
    b->max_cpus = (uint32_t)kvm_has(b, vm, KVM_CAP_MAX_VCPUS);
    b->split_irqchip = kvm_has(b, vm, KVM_CAP_SPLIT_IRQCHIP) && kvm_has(b, vm, KVM_CAP_SIGNAL_MSI);
    b->full_irqchip = kvm_has(b, vm, KVM_CAP_IRQCHIP) && kvm_has(b, vm, KVM_CAP_IRQ_ROUTING);
    b->read_only = kvm_has(b, vm, KVM_CAP_READONLY_MEM) != 0;
    b->msr_exits = kvm_has(b, vm, KVM_CAP_X86_USER_SPACE_MSR) != 0;
    b->msr_filter = b->msr_exits && kvm_has(b, vm, KVM_CAP_X86_MSR_FILTER);
    b->clock = kvm_has(b, vm, KVM_CAP_ADJUST_CLOCK) != 0;
    b->debug = kvm_has(b, vm, KVM_CAP_SET_GUEST_DEBUG) != 0;
    b->nest = kvm_has(b, vm, KVM_CAP_NESTED_STATE) != 0;
    b->events = kvm_has(b, vm, KVM_CAP_VCPU_EVENTS) && kvm_has(b, vm, KVM_CAP_XSAVE) && kvm_has(b, vm, KVM_CAP_XCRS)
                && kvm_has(b, vm, KVM_CAP_DEBUGREGS) && kvm_has(b, vm, KVM_CAP_MP_STATE);
    b->irqfd = kvm_has(b, vm, KVM_CAP_IRQFD) != 0;
    b->bell = kvm_has(b, vm, KVM_CAP_IOEVENTFD) != 0;
    b->vcpu_attr = kvm_has(b, vm, KVM_CAP_VCPU_ATTRIBUTES) != 0;
    b->xsave_size = (size_t)kvm_has(b, vm, KVM_CAP_XSAVE2);
    b->xsave_size = b->xsave_size > sizeof(struct kvm_xsave) ? b->xsave_size : sizeof(struct kvm_xsave);
    cpu = (int)kvm_ioctl(b, vm, KVM_CREATE_VCPU, NULL);
    khz = cpu >= 0 ? kvm_ioctl(b, cpu, KVM_GET_TSC_KHZ, NULL) : 0;
    b->tsc_hz = khz > 0 ? (uint64_t)khz * 1000 : 0;
    if (cpu >= 0)
        b->os->close(cpu);
    b->os->close(vm);
    return b->max_slots && kvm_has(b, b->fd, KVM_CAP_IMMEDIATE_EXIT) ? HY_OK
           : hyb_fail(HY_E_NOTSUP, 0, "kvm", "KVM_CHECK_EXTENSION", "this KVM is older than Linux 4.12 (no immediate exit)");
}

static void kvm_close(hyb *b)
{
    if (b->fd >= 0)
        b->os->close(b->fd);
    free(b->msrs);
    free(b);
}

static hy_err cpuid_fetch(const struct hyb *b, struct kvm_cpuid2 **out)
{
    for (uint32_t room = 128; room <= 1024; room *= 2) {
        struct kvm_cpuid2 *list = calloc(1, sizeof *list + room * sizeof list->entries[0]);

        if (!list)
            return hyb_fail(HY_E_NOMEM, 0, "kvm", "KVM_GET_SUPPORTED_CPUID", "");
        list->nent = room;
        if (kvm_ioctl(b, b->fd, KVM_GET_SUPPORTED_CPUID, list) == 0) {
            *out = list;
            return HY_OK;
        }
        free(list);
        if (b->os->error() != E2BIG)
            break;
    }
    return kvm_fail(b, "KVM_GET_SUPPORTED_CPUID");
}

static hy_err open_gpa_bits(struct hyb *b)
{
    struct kvm_cpuid2 *list;
    hy_err err = cpuid_fetch(b, &list);

    if (err)
        return err;
    b->gpa_bits = 36; /* SDM 2 CPUID.80000008H: when the leaf is missing */
    for (uint32_t i = 0; i < list->nent; i++) {
        if (list->entries[i].function == 0x80000008)
            b->gpa_bits = list->entries[i].eax & 0xff;
    }
    b->gpa_bits = b->gpa_bits > MEM_GPA_BITS ? MEM_GPA_BITS : b->gpa_bits;
    free(list);
    return HY_OK;
}

static hy_err kvm_open(const struct hy_os *os, hyb **out)
{
    struct hy_probe probe = {.call = "", .reason = ""};
    struct hyb *b;
    hy_err err = kvm_probe(os, &probe);
    long size;

    if (err)
        return hyb_fail(err, probe.native, "kvm", probe.call, probe.reason);
    b = calloc(1, sizeof *b);
    if (!b)
        return hyb_fail(HY_E_NOMEM, 0, "kvm", "open", "");
    b->os = os;
    b->fd = os->open(KVM_NODE, O_RDWR);
    if (b->fd < 0)
        err = kvm_fail(b, "open " KVM_NODE);
    size = err ? 0 : kvm_ioctl(b, b->fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
    if (!err && size < (long)sizeof(struct kvm_run))
        err = hyb_fail(HY_E_HOST, size, "kvm", "KVM_GET_VCPU_MMAP_SIZE", "");
    b->run_size = (size_t)size;
    if (!err)
        err = open_abilities(b);
    if (!err)
        err = open_gpa_bits(b);
    if (!err)
        err = open_msr_list(b);
    if (err) {
        kvm_close(b);
        return err;
    }
    kvm_kick_prepare();
    kvm_measure(b);
    *out = b;
    return HY_OK;
}

static hy_err kvm_caps(hyb *b, struct hy_caps *out)
{
    out->arch = HY_ARCH_X86_64;
    out->irq = HY_IRQ_NONE | (b->split_irqchip ? HY_IRQ_CPU : 0) | (b->full_irqchip ? HY_IRQ_FULL : 0);
    out->granule = 4096;
    out->gpa_bits = b->gpa_bits;
    out->max_vms = out->max_mems = UINT32_MAX;
    out->max_cpus = b->max_cpus;
    out->max_maps = b->max_slots < MEM_VIEWS_MAX ? b->max_slots : MEM_VIEWS_MAX;
    out->prot = 1 << 0 | 1 << (HY_R | HY_W | HY_X) | (b->read_only ? 1 << (HY_R | HY_X) : 0);
    out->can = HY_CAN_WRAP | HY_CAN_SPLIT | HY_CAN_DIRTY | HY_CAN_CPUID | HY_CAN_FPU | HY_CAN_ROAM | HY_CAN_SHARE
               | (b->debug ? HY_CAN_STEP : 0) | (b->bell ? HY_CAN_BELL : 0) | (b->clock ? HY_CAN_CLOCK : 0) | (b->events ? HY_CAN_SAVE : 0)
               | (b->nest ? HY_CAN_NEST : 0) | (b->irqfd && b->split_irqchip ? HY_CAN_IRQEVENT : 0);
    out->exits = BIT(HY_EXIT_NONE) | BIT(HY_EXIT_KICK) | BIT(HY_EXIT_IO) | BIT(HY_EXIT_MMIO) | BIT(HY_EXIT_FAULT) | BIT(HY_EXIT_HALT) | BIT(HY_EXIT_WINDOW)
                 | BIT(HY_EXIT_EOI) | BIT(HY_EXIT_RESET) | BIT(HY_EXIT_OFF) | BIT(HY_EXIT_CRASH) | BIT(HY_EXIT_UNKNOWN);
    out->traps = (b->msr_filter ? BIT(HY_EXIT_MSR) : 0) | (b->debug ? BIT(HY_EXIT_STEP) | BIT(HY_EXIT_EXCEPTION) : 0);
    out->exits |= out->traps;
    out->tick_hz = b->tsc_hz;
    out->speed = b->speed;
    return HY_OK;
}

static hy_err kvm_cpuid_host(hyb *b, struct hy_cpuid *out, size_t *n)
{
    struct kvm_cpuid2 *list;
    hy_err err = cpuid_fetch(b, &list);
    size_t room = *n;

    if (err)
        return err;
    *n = list->nent;
    if (room < list->nent)
        err = hyb_fail(HY_E_RANGE, 0, "kvm", "hy_cpuid_host", "the table is longer than the room for it");
    for (uint32_t i = 0; !err && i < list->nent; i++) {
        const struct kvm_cpuid_entry2 *e = &list->entries[i];

        out[i] = (struct hy_cpuid){.fn = e->function, .sub = e->index, .has_sub = e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX ? 1 : 0,
                                   .eax = e->eax, .ebx = e->ebx, .ecx = e->ecx, .edx = e->edx};
    }
    free(list);
    return err;
}

static hy_err kvm_msr_host(hyb *b, uint32_t *out, size_t *n)
{
    size_t room = *n;

    *n = b->msr_count;
    if (room < b->msr_count)
        return hyb_fail(HY_E_RANGE, 0, "kvm", "hy_msr_host", "the list is longer than the room for it");
    memcpy(out, b->msrs, b->msr_count * sizeof *out);
    return HY_OK;
}

/* ---- VMs -------------------------------------------------------------------------------------------------------------------------------------------- */

static hy_err vm_set_irqchip(struct hyb_vm *vm)
{
    struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {KVM_IOAPIC_LINES}};
    struct kvm_enable_cap x2apic = {.cap = KVM_CAP_X2APIC_API, .args = {KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK}};
    uint64_t identity = IDENTITY_AT;
    struct hyb *b = vm->b;
    hy_err err = HY_OK;

    /* Only Intel without "unrestricted guest" wants these two; elsewhere they are refused or ignored. */
    b->os->ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
    b->os->ioctl(vm->fd, KVM_SET_TSS_ADDR, (void *)(uintptr_t)TSS_AT);
    if (vm->irq == HY_IRQ_CPU)
        err = kvm_ioctl(b, vm->fd, KVM_ENABLE_CAP, &split) < 0 ? kvm_fail(b, "KVM_CAP_SPLIT_IRQCHIP") : HY_OK;
    if (vm->irq == HY_IRQ_FULL)
        err = KVM_TRY(b, vm->fd, KVM_CREATE_IRQCHIP, NULL);
    /* Extended destinations in hy_msi; a KVM without it has 8-bit APIC ids. */
    if (!err && vm->irq != HY_IRQ_NONE)
        kvm_ioctl(b, vm->fd, KVM_ENABLE_CAP, &x2apic);
    return err;
}

static void kvm_vm_free(hyb_vm *vm)
{
    for (uint32_t i = 0; i < vm->cpu_max; i++) {
        if (vm->spares[i].reset)
            vm->b->os->close(vm->spares[i].fd);
        free(vm->spares[i].reset);
    }
    free(vm->spares);
    if (vm->fd >= 0)
        vm->b->os->close(vm->fd);
    pthread_mutex_destroy(&vm->slot_lock);
    pthread_mutex_destroy(&vm->cpu_lock);
    pthread_cond_destroy(&vm->gate);
    free(vm->slots);
    free(vm->free_ids);
    free(vm->routes);
    free(vm->cpus);
    free(vm);
}

static hy_err kvm_vm_new(hyb *b, const struct hy_vm_cfg *cfg, struct mem_map *map, hyb_vm **out)
{
    struct hyb_vm *vm = calloc(1, sizeof *vm);
    hy_err err = HY_OK;

    if (vm) {
        vm->cpus = calloc(cfg->cpus, sizeof(struct hyb_cpu *));
        vm->spares = calloc(cfg->cpus, sizeof *vm->spares);
    }
    if (!vm || !vm->cpus || !vm->spares) {
        if (vm)
            free(vm->cpus);
        free(vm);
        return hyb_fail(HY_E_NOMEM, 0, "kvm", "hy_vm_new", "");
    }
    vm->b = b;
    vm->map = map;
    vm->irq = cfg->irq;
    vm->cpu_max = cfg->cpus;
    vm->tick_hz = cfg->tick_hz;
    atomic_init(&vm->step_first_last, UINT64_MAX);
    pthread_mutex_init(&vm->slot_lock, NULL);
    pthread_mutex_init(&vm->cpu_lock, NULL);
    pthread_cond_init(&vm->gate, NULL);
    vm->fd = (int)kvm_ioctl(b, b->fd, KVM_CREATE_VM, NULL);
    if (vm->fd < 0)
        err = kvm_fail(b, "KVM_CREATE_VM");
    if (!err)
        err = vm_set_irqchip(vm);
    if (err) {
        kvm_vm_free(vm);
        return err;
    }
    *out = vm;
    return HY_OK;
}

/* ---- policy -------------------------------------------------------------------------------------------------------------------------------------------- */

static hy_err filter_set(struct hyb_vm *vm)
{
    static const uint8_t nothing[KVM_MSR_FILTER_MAX_BITMAP_SIZE]; /* bit 0: leaves the kernel */
    struct kvm_enable_cap exits = {.cap = KVM_CAP_X86_USER_SPACE_MSR,
                                   .args = {KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER | KVM_MSR_EXIT_REASON_INVAL}};
    struct kvm_msr_filter filter = {.flags = KVM_MSR_FILTER_DEFAULT_ALLOW};
    uint32_t used = 0;

    for (uint32_t i = 0; i < vm->trap_count; i++) {
        for (uint64_t at = vm->traps[i].first; at <= vm->traps[i].last; at += 8 * sizeof nothing) {
            uint64_t n = vm->traps[i].last - at + 1;

            if (used == KVM_MSR_FILTER_MAX_RANGES)
                return hyb_fail(HY_E_RANGE, 0, "kvm", "hy_trap", "too many MSRs for KVM's filter");
            filter.ranges[used++] = (struct kvm_msr_filter_range){
                .flags = (vm->traps[i].rw & HY_R ? KVM_MSR_FILTER_READ : 0) | (vm->traps[i].rw & HY_W ? KVM_MSR_FILTER_WRITE : 0),
                .base = (uint32_t)at, .nmsrs = (uint32_t)(n < 8 * sizeof nothing ? n : 8 * sizeof nothing), .bitmap = (uint8_t *)(uintptr_t)nothing};
        }
    }
    if (kvm_ioctl(vm->b, vm->fd, KVM_ENABLE_CAP, &exits) < 0)
        return kvm_fail(vm->b, "KVM_CAP_X86_USER_SPACE_MSR");
    return KVM_TRY(vm->b, vm->fd, KVM_X86_SET_MSR_FILTER, &filter);
}

static hy_err trap_msr(struct hyb_vm *vm, uint32_t first, uint32_t last, uint32_t rw)
{
    uint32_t at = 0, count = vm->trap_count;
    struct kvm_trap old;
    hy_err err;

    while (at < count && (vm->traps[at].first != first || vm->traps[at].last != last))
        at++;
    if (at == KVM_TRAPS_MAX || (at == count && !rw))
        return hyb_fail(HY_E_RANGE, 0, "kvm", "hy_trap", rw ? "KVM traps at most 16 ranges of MSRs" : "that range is not trapped");
    old = vm->traps[at];
    if (rw) {
        vm->traps[at] = (struct kvm_trap){first, last, rw};
        vm->trap_count += at == count;
    } else {
        vm->traps[at] = vm->traps[--vm->trap_count];
    }
    err = filter_set(vm);
    if (err) { /* as it was */
        if (!rw)
            vm->traps[count - 1] = vm->traps[at];
        vm->traps[at] = old;
        vm->trap_count = count;
    }
    return err;
}

static hy_err kvm_trap(hyb_vm *vm, uint32_t reason, uint32_t first, uint32_t last, uint32_t rw)
{
    const uint32_t can = 1 << 1 | 1 << 3; /* #DB, #BP: what KVM_SET_GUEST_DEBUG (4.87) can take from the guest */
    uint32_t mask;

    if (reason == HY_EXIT_MSR)
        return trap_msr(vm, first, last, rw);
    if (reason == HY_EXIT_STEP) {
        atomic_store(&vm->step_first_last, rw ? first | (uint64_t)last << 32 : UINT64_MAX);
    } else {
        if (last > 31 || (~can >> first << first & (uint32_t)bits_get(UINT64_MAX, last, 0)))
            return hyb_fail(HY_E_NOTSUP, 0, "kvm", "hy_trap", "KVM can hand over #DB and #BP only");
        mask = (uint32_t)bits_get(UINT64_MAX, last, 0) >> first << first;
        if (rw)
            atomic_fetch_or(&vm->trap_exceptions, mask);
        else
            atomic_fetch_and(&vm->trap_exceptions, ~mask);
    }
    atomic_fetch_add(&vm->debug_generation, 1);
    return HY_OK;
}

/* ---- interrupts ------------------------------------------------------------------------------------------------------------------------------------------ */

static hy_err kvm_line(hyb_vm *vm, uint32_t line, int level)
{
    struct kvm_irq_level irq = {.irq = line, .level = (uint32_t)!!level};

    if (line >= KVM_IOAPIC_LINES)
        return hyb_fail(HY_E_RANGE, 0, "kvm", "hy_line", "the IOAPIC has 24 pins");
    return KVM_TRY(vm->b, vm->fd, KVM_IRQ_LINE, &irq);
}

static hy_err kvm_msi(hyb_vm *vm, uint64_t addr, uint32_t data, uint32_t dev)
{
    struct kvm_msi msi = {.address_lo = (uint32_t)addr, .address_hi = (uint32_t)(addr >> 32), .data = data};

    (void)dev;
    return KVM_TRY(vm->b, vm->fd, KVM_SIGNAL_MSI, &msi); /* 0, no CPU took it, is the guest's affair */
}

/* KVM's default routes, which a table of ours replaces: pins 0..15 to 8259 and IOAPIC, the rest to the IOAPIC. */
static uint32_t routes_of_chips(struct kvm_irq_routing_entry *at)
{
    uint32_t n = 0;

    for (uint32_t pin = 0; pin < KVM_IOAPIC_LINES; pin++) {
        at[n++] = (struct kvm_irq_routing_entry){.gsi = pin, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = {KVM_IRQCHIP_IOAPIC, pin}};
        if (pin < 16)
            at[n++] = (struct kvm_irq_routing_entry){.gsi = pin, .type = KVM_IRQ_ROUTING_IRQCHIP,
                                                     .u.irqchip = {pin < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, pin % 8}};
    }
    return n;
}

static hy_err routes_commit(struct hyb_vm *vm)
{
    struct kvm_irq_routing *table = calloc(1, sizeof *table + (vm->route_count + 40) * sizeof table->entries[0]);
    hy_err err;

    if (!table)
        return hyb_fail(HY_E_NOMEM, 0, "kvm", "hy_route", "");
    if (vm->irq == HY_IRQ_FULL)
        table->nr = routes_of_chips(table->entries);
    for (size_t i = 0; i < vm->route_count; i++) {
        const struct kvm_route *route = &vm->routes[i];

        table->entries[table->nr++] = (struct kvm_irq_routing_entry){
            .gsi = route->line, .type = KVM_IRQ_ROUTING_MSI,
            .u.msi = {.address_lo = (uint32_t)route->addr, .address_hi = (uint32_t)(route->addr >> 32), .data = route->data}};
    }
    err = KVM_TRY(vm->b, vm->fd, KVM_SET_GSI_ROUTING, table);
    free(table);
    return err;
}

static hy_err kvm_set_route(hyb_vm *vm, uint32_t line, uint64_t addr, uint32_t data, uint32_t dev)
{
    size_t at = 0;

    (void)dev;
    if (vm->irq == HY_IRQ_FULL && line < KVM_IOAPIC_LINES)
        return hyb_fail(HY_E_RANGE, 0, "kvm", "hy_route", "lines 0 to 23 are the IOAPIC's");
    while (at < vm->route_count && vm->routes[at].line != line)
        at++;
    if (!addr && !data) {
        if (at == vm->route_count)
            return HY_OK;
        vm->routes[at] = vm->routes[--vm->route_count];
        return routes_commit(vm);
    }
    if (at == vm->route_count) {
        struct kvm_route *more = realloc(vm->routes, (at + 1) * sizeof *more);

        if (!more)
            return hyb_fail(HY_E_NOMEM, 0, "kvm", "hy_route", "");
        vm->routes = more;
        vm->route_count++;
    }
    vm->routes[at] = (struct kvm_route){.line = line, .addr = addr, .data = data};
    return routes_commit(vm);
}

static hy_err kvm_bell(hyb_vm *vm, int mmio, uint64_t addr, uint32_t len, const uint64_t *match, intptr_t os_event, int on)
{
    struct kvm_ioeventfd bell = {.datamatch = match ? *match : 0, .addr = addr, .len = len, .fd = (int)os_event,
                                 .flags = (match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) | (mmio ? 0 : KVM_IOEVENTFD_FLAG_PIO)
                                          | (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN)};

    return KVM_TRY(vm->b, vm->fd, KVM_IOEVENTFD, &bell);
}

static hy_err kvm_irq_event(hyb_vm *vm, uint32_t line, intptr_t os_event, intptr_t resample, int on)
{
    struct kvm_irqfd irqfd = {.fd = (uint32_t)os_event, .gsi = line,
                              .flags = (on ? 0 : KVM_IRQFD_FLAG_DEASSIGN) | (resample >= 0 && on ? KVM_IRQFD_FLAG_RESAMPLE : 0),
                              .resamplefd = resample >= 0 ? (uint32_t)resample : 0};

    return KVM_TRY(vm->b, vm->fd, KVM_IRQFD, &irqfd);
}

static intptr_t kvm_native(hyb_vm *vm, hyb_cpu *cpu) { return cpu ? cpu->fd : vm->fd; }

const struct hy_backend hy_backend_kvm = {
    .abi = HY_BACKEND_ABI, .size = sizeof(struct hy_backend), .name = "kvm",
    .probe = kvm_probe, .open = kvm_open, .close = kvm_close, .caps = kvm_caps, .cpuid_host = kvm_cpuid_host, .msr_host = kvm_msr_host,
    .vm_new = kvm_vm_new, .vm_free = kvm_vm_free, .remap = kvm_remap, .log = kvm_log, .harvest = kvm_harvest, .trap = kvm_trap,
    .line = kvm_line, .msi = kvm_msi, .route = kvm_set_route, .bell = kvm_bell, .irq_event = kvm_irq_event, .clock = kvm_clock,
    .cpu_new = kvm_cpu_new, .cpu_free = kvm_cpu_free, .get = kvm_get, .set = kvm_set, .enter = kvm_enter, .finish = kvm_finish, .kick = kvm_kick,
    .inject = kvm_inject, .window = kvm_window, .save = kvm_save, .load = kvm_load, .native = kvm_native,
};
