/* SPDX-License-Identifier: MIT */
/* kvm_state.c - whole state: XSAVE image, local APIC, events, all of a CPU; the interrupt chips; the clock.
 *
 * HY_S_ALL is a header and then fixed structures, in the order in which KVM wants them back: system registers, general ones, XCR0 and the XSAVE image, local
 * APIC (whose base and mode are in the former), MSRs, run state, events, debug registers. What is loaded is not trusted: sizes are compared, MSRs must
 * be in KVM's own list, and KVM itself checks values.
 */
#include <stdlib.h>
#include <string.h>

#include "hy/backends/kvm.h"

#define ALL_MAGIC   UINT32_C(0x6b79486d)
#define ALL_VERSION 1
#define MSR_TSC     0x10u

struct all_head { uint32_t magic, version, xsave_size, msr_count, has_apic, reserved; };
struct all_fixed {
    struct kvm_sregs sregs;
    struct kvm_regs regs;
    struct kvm_xcrs xcrs;
    struct kvm_lapic_state apic;
    struct kvm_mp_state mp;
    struct kvm_vcpu_events events;
    struct kvm_debugregs debug;
};
struct all_msr { uint32_t index, reserved; uint64_t value; };

static hy_err too_small(const char *call) { return hyb_fail(HY_E_RANGE, 0, "kvm", call, "the state is longer than the room for it"); }
static hy_err malformed(const char *call) { return hyb_fail(HY_E_INVAL, 0, "kvm", call, "the saved state is malformed, or of another host"); }

/* KVM_GET_XSAVE2 (4.134) needs room for its whole size. */
static hy_err xsave_get(hyb_cpu *cpu, void *out)
{
    struct hyb *b = cpu->vm->b;

    return b->xsave_size > sizeof(struct kvm_xsave) ? KVM_TRY(b, cpu->fd, KVM_GET_XSAVE2, out) : KVM_TRY(b, cpu->fd, KVM_GET_XSAVE, out);
}

static hy_err xsave_set(hyb_cpu *cpu, const void *image)
{
    uint8_t *copy = malloc(cpu->vm->b->xsave_size); /* saved bytes need not be aligned */
    hy_err err;

    if (!copy)
        return hyb_fail(HY_E_NOMEM, 0, "kvm", "KVM_SET_XSAVE", "");
    memcpy(copy, image, cpu->vm->b->xsave_size);
    err = KVM_TRY(cpu->vm->b, cpu->fd, KVM_SET_XSAVE, copy);
    free(copy);
    return err;
}

/* ---- all of a CPU --------------------------------------------------------------------------------------------------------------------------------------- */

static hy_err fixed_get(hyb_cpu *cpu, struct all_fixed *f)
{
    struct hyb *b = cpu->vm->b;
    hy_err err = KVM_TRY(b, cpu->fd, KVM_GET_SREGS, &f->sregs);

    if (!err)
        err = KVM_TRY(b, cpu->fd, KVM_GET_REGS, &f->regs);
    if (!err)
        err = KVM_TRY(b, cpu->fd, KVM_GET_XCRS, &f->xcrs);
    if (!err && cpu->vm->irq != HY_IRQ_NONE)
        err = KVM_TRY(b, cpu->fd, KVM_GET_LAPIC, &f->apic);
    if (!err)
        err = KVM_TRY(b, cpu->fd, KVM_GET_MP_STATE, &f->mp);
    if (!err)
        err = KVM_TRY(b, cpu->fd, KVM_GET_VCPU_EVENTS, &f->events);
    if (!err)
        err = KVM_TRY(b, cpu->fd, KVM_GET_DEBUGREGS, &f->debug);
    return err;
}

static hy_err all_save(hyb_cpu *cpu, uint8_t *buf, size_t *len)
{
    struct hyb *b = cpu->vm->b;
    struct all_head head = {.magic = ALL_MAGIC, .version = ALL_VERSION, .xsave_size = (uint32_t)b->xsave_size, .has_apic = cpu->vm->irq != HY_IRQ_NONE};
    size_t room = *len, need = sizeof head + sizeof(struct all_fixed) + b->xsave_size + b->msr_count * sizeof(struct all_msr);
    struct all_fixed fixed = {.regs = {0}};
    uint8_t *at = buf;
    hy_err err;

    *len = need;
    if (room < need)
        return too_small("hy_save");
    memset(buf, 0, need);
    err = fixed_get(cpu, &fixed);
    if (!err)
        err = xsave_get(cpu, at + sizeof head + sizeof fixed);
    if (err)
        return err;
    memcpy(at + sizeof head, &fixed, sizeof fixed);
    at += sizeof head + sizeof fixed + b->xsave_size;
    for (size_t i = 0; i < b->msr_count; i++) {
        struct all_msr msr = {.index = b->msrs[i]};

        if (!kvm_msr_get(cpu, msr.index, &msr.value))
            continue; /* not on this CPU model */
        memcpy(at, &msr, sizeof msr);
        at += sizeof msr;
        head.msr_count++;
    }
    memcpy(buf, &head, sizeof head);
    *len = (size_t)(at - buf);
    return HY_OK;
}

static int msr_known(const struct hyb *b, uint32_t index)
{
    for (size_t i = 0; i < b->msr_count; i++) {
        if (b->msrs[i] == index)
            return 1;
    }
    return 0;
}

/* A value that is there already need not be written: some MSRs can be read only, or never take their present value back. */
static hy_err msrs_load(hyb_cpu *cpu, const uint8_t *at, uint32_t count)
{
    uint64_t now;

    for (uint32_t i = 0; i < count; i++, at += sizeof(struct all_msr)) {
        struct all_msr msr;

        memcpy(&msr, at, sizeof msr);
        if (!msr_known(cpu->vm->b, msr.index))
            return malformed("hy_load");
        if (msr.index != MSR_TSC && kvm_msr_get(cpu, msr.index, &now) && now == msr.value)
            continue;
        if (!kvm_msr_set(cpu, msr.index, msr.value))
            return hyb_fail(HY_E_INVAL, msr.index, "kvm", "KVM_SET_MSRS", "an MSR refuses the saved value");
    }
    return HY_OK;
}

static hy_err all_load(hyb_cpu *cpu, const uint8_t *buf, size_t len)
{
    struct hyb *b = cpu->vm->b;
    const uint8_t *image = buf + sizeof(struct all_head) + sizeof(struct all_fixed);
    struct all_head head;
    struct all_fixed f;
    hy_err err;

    if (len < sizeof head + sizeof f + b->xsave_size)
        return malformed("hy_load");
    memcpy(&head, buf, sizeof head);
    memcpy(&f, buf + sizeof head, sizeof f);
    if (head.magic != ALL_MAGIC || head.version != ALL_VERSION || head.xsave_size != b->xsave_size || head.msr_count > b->msr_count
        || head.has_apic != (cpu->vm->irq != HY_IRQ_NONE) || f.xcrs.nr_xcrs > KVM_MAX_XCRS
        || len != sizeof head + sizeof f + b->xsave_size + head.msr_count * sizeof(struct all_msr))
        return malformed("hy_load");
    err = KVM_TRY(b, cpu->fd, KVM_SET_SREGS, &f.sregs);
    if (!err)
        err = KVM_TRY(b, cpu->fd, KVM_SET_REGS, &f.regs);
    if (!err)
        err = KVM_TRY(b, cpu->fd, KVM_SET_XCRS, &f.xcrs);
    if (!err)
        err = xsave_set(cpu, image);
    if (!err && head.has_apic)
        err = KVM_TRY(b, cpu->fd, KVM_SET_LAPIC, &f.apic);
    if (!err)
        err = msrs_load(cpu, image + b->xsave_size, head.msr_count);
    if (!err)
        err = KVM_TRY(b, cpu->fd, KVM_SET_MP_STATE, &f.mp);
    f.events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    if (!err)
        err = KVM_TRY(b, cpu->fd, KVM_SET_VCPU_EVENTS, &f.events);
    if (!err)
        err = KVM_TRY(b, cpu->fd, KVM_SET_DEBUGREGS, &f.debug);
    return err;
}

/* ---- parts -------------------------------------------------------------------------------------------------------------------------------------------------- */

static const uint32_t chips[] = {KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC};

static hy_err chips_save(hyb_vm *vm, struct kvm_irqchip *out)
{
    hy_err err = HY_OK;

    for (size_t i = 0; !err && i < ARRAY_LEN(chips); i++) {
        out[i] = (struct kvm_irqchip){.chip_id = chips[i]};
        err = KVM_TRY(vm->b, vm->fd, KVM_GET_IRQCHIP, &out[i]);
    }
    return err;
}

static hy_err chips_load(hyb_vm *vm, const uint8_t *buf)
{
    hy_err err = HY_OK;

    for (size_t i = 0; !err && i < ARRAY_LEN(chips); i++) {
        struct kvm_irqchip chip;

        memcpy(&chip, buf + i * sizeof chip, sizeof chip);
        err = chip.chip_id == chips[i] ? KVM_TRY(vm->b, vm->fd, KVM_SET_IRQCHIP, &chip) : malformed("hy_load");
    }
    return err;
}

/* Bytes of a part with a fixed size; 0 when this VM does not have it. */
static size_t part_size(const hyb_vm *vm, int what)
{
    switch (what) {
    case HY_S_FPU: return vm->b->xsave_size;
    case HY_S_IRQ: return vm->irq == HY_IRQ_NONE ? 0 : 4096;
    case HY_S_EVENTS: return sizeof(struct kvm_vcpu_events);
    case HY_S_CHIP: return vm->irq == HY_IRQ_FULL ? sizeof(struct kvm_irqchip) * ARRAY_LEN(chips) : 0;
    default: return 0;
    }
}

hy_err kvm_save(hyb_vm *vm, hyb_cpu *cpu, int what, void *buf, size_t *len)
{
    size_t room = *len;

    if (what == HY_S_ALL)
        return all_save(cpu, buf, len);
    *len = part_size(vm, what);
    if (!*len)
        return hyb_fail(HY_E_NOTSUP, 0, "kvm", "hy_save", "this VM has no such state");
    if (room < *len)
        return too_small("hy_save");
    memset(buf, 0, *len);
    switch (what) {
    case HY_S_FPU: return xsave_get(cpu, buf);
    case HY_S_IRQ: return KVM_TRY(vm->b, cpu->fd, KVM_GET_LAPIC, buf);
    case HY_S_EVENTS: return KVM_TRY(vm->b, cpu->fd, KVM_GET_VCPU_EVENTS, buf);
    default: return chips_save(vm, buf);
    }
}

hy_err kvm_load(hyb_vm *vm, hyb_cpu *cpu, int what, const void *buf, size_t len)
{
    struct kvm_vcpu_events events;
    struct kvm_lapic_state apic;

    if (what == HY_S_ALL)
        return all_load(cpu, buf, len);
    if (!part_size(vm, what))
        return hyb_fail(HY_E_NOTSUP, 0, "kvm", "hy_load", "this VM has no such state");
    if (len != part_size(vm, what))
        return malformed("hy_load");
    switch (what) {
    case HY_S_FPU: return xsave_set(cpu, buf);
    case HY_S_IRQ:
        memcpy(&apic, buf, sizeof apic);
        return KVM_TRY(vm->b, cpu->fd, KVM_SET_LAPIC, &apic);
    case HY_S_EVENTS:
        memcpy(&events, buf, sizeof events);
        events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
        return KVM_TRY(vm->b, cpu->fd, KVM_SET_VCPU_EVENTS, &events);
    default: return chips_load(vm, buf);
    }
}

/* ---- time ----------------------------------------------------------------------------------------------------------------------------------------------------- */

/* Moves every CPU's TSC by `ticks`, through its offset where KVM has it (7, KVM_VCPU_TSC_CTRL), so that the CPUs stay together. */
static hy_err tsc_move(hyb_vm *vm, uint64_t ticks)
{
    hy_err err = HY_OK;

    for (uint32_t i = 0; !err && i < vm->cpu_max; i++) {
        uint64_t value;
        struct kvm_device_attr attr = {.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)&value};
        hyb_cpu *cpu = vm->cpus[i];

        if (!cpu)
            continue;
        if (vm->b->vcpu_attr && !kvm_ioctl(vm->b, cpu->fd, KVM_GET_DEVICE_ATTR, &attr)) {
            value += ticks;
            err = KVM_TRY(vm->b, cpu->fd, KVM_SET_DEVICE_ATTR, &attr);
        } else if (!kvm_msr_get(cpu, MSR_TSC, &value) || !kvm_msr_set(cpu, MSR_TSC, value + ticks)) {
            err = hyb_fail(HY_E_HOST, 0, "kvm", "KVM_SET_MSRS", "the TSC cannot be set");
        }
    }
    return err;
}

static uint64_t tsc_of_first(hyb_vm *vm)
{
    uint64_t value = 0;

    for (uint32_t i = 0; i < vm->cpu_max; i++) {
        if (vm->cpus[i] && kvm_msr_get(vm->cpus[i], MSR_TSC, &value))
            break;
    }
    return value;
}

/* Frozen time is kept beside KVM's clock, which cannot stop: a read gives what was noted, and going on puts it back. */
hy_err kvm_clock(hyb_vm *vm, int running, struct hy_clock *get, const struct hy_clock *set)
{
    struct kvm_clock_data clock = vm->frozen_clock;
    uint64_t tsc = vm->frozen_tsc;
    int write_back = set != NULL;
    hy_err err = HY_OK;

    pthread_mutex_lock(&vm->cpu_lock);
    if (!vm->frozen) {
        err = KVM_TRY(vm->b, vm->fd, KVM_GET_CLOCK, &clock);
        tsc = tsc_of_first(vm);
    }
    if (!err && set) {
        clock.clock = set->guest_ns;
        if (!vm->frozen && set->ticks != tsc)
            err = tsc_move(vm, set->ticks - tsc);
        tsc = set->ticks;
    }
    if (!err && get)
        *get = (struct hy_clock){.guest_ns = clock.clock, .ticks = tsc};
    if (!err && running == 1 && vm->frozen) {
        err = tsc_move(vm, tsc - tsc_of_first(vm));
        vm->frozen = 0;
        write_back = 1;
    } else if (!err && running == 0) {
        vm->frozen = 1;
    }
    vm->frozen_clock = clock;
    vm->frozen_tsc = tsc;
    clock.flags = 0;
    if (!err && write_back && !vm->frozen)
        err = KVM_TRY(vm->b, vm->fd, KVM_SET_CLOCK, &clock);
    pthread_mutex_unlock(&vm->cpu_lock);
    return err;
}
