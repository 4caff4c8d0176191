/* SPDX-License-Identifier: MIT */
/* kvm_regs.c - registers by name. KVM reads and writes them in groups, one structure each, so a batch is one read for each group that it touches and,
 * for hy_set, one write; all names are known to be good before the first write. */
#include <string.h>

#include "hy/backends/kvm.h"

enum { IN_REGS = 1 << 0, IN_SREGS = 1 << 1, IN_DEBUG = 1 << 2, IN_FPU = 1 << 3, IN_XCRS = 1 << 4, IN_EVENTS = 1 << 5, IN_MP = 1 << 6, IN_MSR = 1 << 7 };

struct groups {
    unsigned have, changed;
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_debugregs debug;
    struct kvm_fpu fpu;
    struct kvm_xcrs xcrs;
    struct kvm_vcpu_events events;
    struct kvm_mp_state mp;
};

#define MSR_APIC_BASE 0x1bu       /* SDM 4, table 2-2 */
#define MSR_EFER      0xc0000080u
#define MSR_FS_BASE   0xc0000100u
#define MSR_GS_BASE   0xc0000101u

bool kvm_msr_get(const hyb_cpu *cpu, uint32_t msr, uint64_t *value)
{
    struct { struct kvm_msrs head; struct kvm_msr_entry entry; } one = {.head = {.nmsrs = 1}, .entry = {.index = msr}};

    if (kvm_ioctl(cpu->vm->b, cpu->fd, KVM_GET_MSRS, &one) != 1)
        return false;
    *value = one.entry.data;
    return true;
}

bool kvm_msr_set(const hyb_cpu *cpu, uint32_t msr, uint64_t value)
{
    struct { struct kvm_msrs head; struct kvm_msr_entry entry; } one = {.head = {.nmsrs = 1}, .entry = {.index = msr, .data = value}};

    return kvm_ioctl(cpu->vm->b, cpu->fd, KVM_SET_MSRS, &one) == 1;
}

/* The group that holds a register, 0 for names that KVM does not have. */
static unsigned group_of(hy_reg reg)
{
    static const uint8_t crs[] = {IN_SREGS, 0, IN_SREGS, IN_SREGS, IN_SREGS, 0, 0, 0, IN_SREGS};
    uint32_t n = (uint32_t)reg;

    switch (reg >> 32) {
    case 1: return n < 16 ? IN_REGS : 0;
    case 2: return n < 2 ? IN_REGS : 0;
    case 3: return n <= HY_GDTR ? IN_SREGS : 0;
    case 4: return n == 0x100 ? IN_XCRS : n < sizeof crs ? crs[n] : 0;
    case 5: return n < 4 || n == 6 || n == 7 ? IN_DEBUG : 0;
    case 6: return n == MSR_EFER || n == MSR_FS_BASE || n == MSR_GS_BASE || n == MSR_APIC_BASE ? IN_SREGS : IN_MSR;
    case 7: return n < 16 ? IN_FPU : 0;
    case 9: return n == HY_MISC_HALTED ? IN_MP : n <= HY_MISC_NMI ? IN_EVENTS : 0;
    default: return 0;
    }
}

static hy_err groups_read(hyb_cpu *cpu, struct groups *g, unsigned want)
{
    struct hyb *b = cpu->vm->b;
    hy_err err = HY_OK;

    if (want & IN_REGS)
        err = KVM_TRY(b, cpu->fd, KVM_GET_REGS, &g->regs);
    if (!err && want & IN_SREGS)
        err = KVM_TRY(b, cpu->fd, KVM_GET_SREGS, &g->sregs);
    if (!err && want & IN_DEBUG)
        err = KVM_TRY(b, cpu->fd, KVM_GET_DEBUGREGS, &g->debug);
    if (!err && want & IN_FPU)
        err = KVM_TRY(b, cpu->fd, KVM_GET_FPU, &g->fpu);
    if (!err && want & IN_XCRS)
        err = KVM_TRY(b, cpu->fd, KVM_GET_XCRS, &g->xcrs);
    if (!err && want & IN_EVENTS)
        err = KVM_TRY(b, cpu->fd, KVM_GET_VCPU_EVENTS, &g->events);
    if (!err && want & IN_MP)
        err = KVM_TRY(b, cpu->fd, KVM_GET_MP_STATE, &g->mp);
    return err;
}

/* System registers first: the others' meaning may depend on the mode. */
static hy_err groups_write(hyb_cpu *cpu, struct groups *g, unsigned changed)
{
    struct hyb *b = cpu->vm->b;
    hy_err err = HY_OK;

    if (changed & IN_SREGS)
        err = KVM_TRY(b, cpu->fd, KVM_SET_SREGS, &g->sregs);
    if (!err && changed & IN_XCRS)
        err = KVM_TRY(b, cpu->fd, KVM_SET_XCRS, &g->xcrs);
    if (!err && changed & IN_REGS)
        err = KVM_TRY(b, cpu->fd, KVM_SET_REGS, &g->regs);
    if (!err && changed & IN_DEBUG)
        err = KVM_TRY(b, cpu->fd, KVM_SET_DEBUGREGS, &g->debug);
    if (!err && changed & IN_FPU)
        err = KVM_TRY(b, cpu->fd, KVM_SET_FPU, &g->fpu);
    if (!err && changed & IN_EVENTS)
        err = KVM_TRY(b, cpu->fd, KVM_SET_VCPU_EVENTS, &g->events);
    if (!err && changed & IN_MP)
        err = KVM_TRY(b, cpu->fd, KVM_SET_MP_STATE, &g->mp);
    return err;
}

/* ---- where a register lies in its group ---------------------------------------------------------------------------------------------------------------- */

static __u64 *gpr_at(struct groups *g, uint32_t n)
{
    /* struct kvm_regs has its own order: rax rbx rcx rdx rsi rdi rsp rbp r8.. */
    static const uint8_t order[8] = {0, 2, 3, 1, 6, 7, 4, 5};

    return &(&g->regs.rax)[n < 8 ? order[n] : n];
}

static struct kvm_segment *segment_at(struct groups *g, uint32_t n)
{
    struct kvm_segment *at[] = {&g->sregs.es, &g->sregs.cs, &g->sregs.ss, &g->sregs.ds, &g->sregs.fs, &g->sregs.gs, &g->sregs.ldt, &g->sregs.tr};

    return at[n];
}

static void segment_get(const struct kvm_segment *s, hy_val *out)
{
    out->seg.base = s->base;
    out->seg.limit = s->limit;
    out->seg.sel = s->selector;
    out->seg.attr = (uint16_t)((s->type & 15) | (s->s & 1) << 4 | (s->dpl & 3) << 5 | (s->present && !s->unusable ? 1 << 7 : 0) | (s->avl & 1) << 12
                               | (s->l & 1) << 13 | (s->db & 1) << 14 | (s->g & 1) << 15);
}

static void segment_set(struct kvm_segment *s, const hy_val *v)
{
    uint16_t a = v->seg.attr;

    *s = (struct kvm_segment){.base = v->seg.base, .limit = v->seg.limit, .selector = v->seg.sel, .type = a & 15, .s = a >> 4 & 1, .dpl = a >> 5 & 3,
                              .present = a >> 7 & 1, .avl = a >> 12 & 1, .l = a >> 13 & 1, .db = a >> 14 & 1, .g = a >> 15 & 1,
                              .unusable = !(a >> 7 & 1)};
}

/* Plain 64-bit registers; NULL for the others. */
static __u64 *word_at(struct groups *g, hy_reg reg)
{
    uint32_t n = (uint32_t)reg;

    switch (reg >> 32) {
    case 1: return gpr_at(g, n);
    case 2: return n ? &g->regs.rflags : &g->regs.rip;
    case 4: return n == 0 ? &g->sregs.cr0 : n == 2 ? &g->sregs.cr2 : n == 3 ? &g->sregs.cr3 : n == 4 ? &g->sregs.cr4 : n == 8 ? &g->sregs.cr8 : NULL;
    case 5: return n == 6 ? &g->debug.dr6 : n == 7 ? &g->debug.dr7 : &g->debug.db[n];
    case 6: return n == MSR_EFER ? &g->sregs.efer : n == MSR_FS_BASE ? &g->sregs.fs.base : n == MSR_GS_BASE ? &g->sregs.gs.base : &g->sregs.apic_base;
    default: return NULL;
    }
}

static uint64_t misc_get(hyb_cpu *cpu, const struct groups *g, uint32_t n)
{
    switch (n) {
    case HY_MISC_SHADOW: /* KVM_X86_SHADOW_INT_MOV_SS 1, _STI 2: the other way round */
        return (g->events.interrupt.shadow & 1) << 1 | (g->events.interrupt.shadow >> 1 & 1);
    case HY_MISC_HALTED:
        return g->mp.mp_state == KVM_MP_STATE_HALTED ? 1 : g->mp.mp_state == KVM_MP_STATE_INIT_RECEIVED ? 2 : g->mp.mp_state == KVM_MP_STATE_UNINITIALIZED ? 3 : 0;
    case HY_MISC_NMI: return (g->events.nmi.masked & 1) | (g->events.nmi.pending || g->events.nmi.injected ? 2 : 0);
    default: return cpu->index;
    }
}

static hy_err misc_set(struct groups *g, uint32_t n, uint64_t value)
{
    static const uint8_t states[] = {KVM_MP_STATE_RUNNABLE, KVM_MP_STATE_HALTED, KVM_MP_STATE_INIT_RECEIVED, KVM_MP_STATE_UNINITIALIZED};

    if (value > 3 || n == HY_MISC_APIC_ID)
        return hyb_fail(HY_E_INVAL, 0, "kvm", "hy_set", "no such state");
    switch (n) {
    case HY_MISC_SHADOW:
        g->events.interrupt.shadow = (uint8_t)((value >> 1 & 1) | (value & 1) << 1);
        g->events.flags |= KVM_VCPUEVENT_VALID_SHADOW;
        break;
    case HY_MISC_HALTED: g->mp.mp_state = states[value]; break;
    default:
        g->events.nmi.masked = value & 1;
        g->events.nmi.pending = value >> 1 & 1;
        g->events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING;
    }
    return HY_OK;
}

/* ---- the two functions ----------------------------------------------------------------------------------------------------------------------------------- */

static hy_err names_check(const hy_reg *names, size_t n, unsigned *want, const char *call)
{
    *want = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned group = group_of(names[i]);

        if (!group)
            return hyb_fail(HY_E_NOTSUP, (int64_t)names[i], "kvm", call, "no such register");
        *want |= group;
    }
    return HY_OK;
}

static hy_err get_one(hyb_cpu *cpu, struct groups *g, hy_reg reg, hy_val *out)
{
    uint32_t n = (uint32_t)reg;

    *out = (hy_val){.u128 = {0, 0}};
    switch (group_of(reg)) {
    case IN_FPU: memcpy(out->u128, g->fpu.xmm[n], 16); return HY_OK;
    case IN_XCRS: out->u64 = g->xcrs.nr_xcrs ? g->xcrs.xcrs[0].value : 0; return HY_OK;
    case IN_EVENTS: case IN_MP: out->u64 = misc_get(cpu, g, n); return HY_OK;
    case IN_MSR:
        return kvm_msr_get(cpu, n, &out->u64) ? HY_OK : hyb_fail(HY_E_NOTSUP, n, "kvm", "KVM_GET_MSRS", "KVM has no such MSR here");
    }
    if (reg >> 32 != 3)
        out->u64 = *word_at(g, reg);
    else if (n < HY_IDTR)
        segment_get(segment_at(g, n), out);
    else {
        out->seg.base = n == HY_IDTR ? g->sregs.idt.base : g->sregs.gdt.base;
        out->seg.limit = n == HY_IDTR ? g->sregs.idt.limit : g->sregs.gdt.limit;
    }
    return HY_OK;
}

hy_err kvm_get(hyb_cpu *cpu, const hy_reg *names, hy_val *values, size_t n)
{
    struct groups g;
    unsigned want;
    hy_err err = names_check(names, n, &want, "hy_get");

    if (!err)
        err = groups_read(cpu, &g, want);
    for (size_t i = 0; !err && i < n; i++)
        err = get_one(cpu, &g, names[i], &values[i]);
    return err;
}

static hy_err set_one(struct groups *g, hy_reg reg, const hy_val *value)
{
    uint32_t n = (uint32_t)reg;

    switch (group_of(reg)) {
    case IN_FPU: memcpy(g->fpu.xmm[n], value->u128, 16); return HY_OK;
    case IN_XCRS:
        g->xcrs.nr_xcrs = 1;
        g->xcrs.xcrs[0].xcr = 0;
        g->xcrs.xcrs[0].value = value->u64;
        return HY_OK;
    case IN_EVENTS: case IN_MP: return misc_set(g, n, value->u64);
    case IN_MSR: return HY_OK; /* written one by one, last */
    }
    if (reg >> 32 != 3)
        *word_at(g, reg) = value->u64;
    else if (n < HY_IDTR)
        segment_set(segment_at(g, n), value);
    else
        *(n == HY_IDTR ? &g->sregs.idt : &g->sregs.gdt) = (struct kvm_dtable){.base = value->seg.base, .limit = (uint16_t)value->seg.limit};
    return HY_OK;
}

hy_err kvm_set(hyb_cpu *cpu, const hy_reg *names, const hy_val *values, size_t n)
{
    struct groups g;
    unsigned want;
    hy_err err = names_check(names, n, &want, "hy_set");
    uint64_t old;

    for (size_t i = 0; !err && i < n; i++) {
        if (group_of(names[i]) == IN_MSR && !kvm_msr_get(cpu, (uint32_t)names[i], &old))
            err = hyb_fail(HY_E_NOTSUP, (int64_t)names[i], "kvm", "KVM_GET_MSRS", "KVM has no such MSR here");
    }
    if (!err)
        err = groups_read(cpu, &g, want);
    if (!err && want & IN_EVENTS)
        g.events.flags = 0; /* only what is asked for */
    for (size_t i = 0; !err && i < n; i++)
        err = set_one(&g, names[i], &values[i]);
    if (!err)
        err = groups_write(cpu, &g, want);
    for (size_t i = 0; !err && i < n; i++) {
        if (group_of(names[i]) == IN_MSR && !kvm_msr_set(cpu, (uint32_t)names[i], values[i].u64))
            err = hyb_fail(HY_E_INVAL, (int64_t)names[i], "kvm", "KVM_SET_MSRS", "the MSR refuses the value");
    }
    return err;
}
