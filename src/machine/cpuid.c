/* SPDX-License-Identifier: MIT */
/* cpuid.c - the CPUID table of a VM: what the backend offers, with this VM's topology, its TSC frequency, and the hypervisor leaves (SDM 2A CPUID; KVM's
 * Documentation/virt/kvm/x86/cpuid.rst). libhy writes APIC ids and makes leaf 0xD consistent. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "machine/internal.h"
#include "machine/paravirt.h"

#define ENTRIES_MAX 256
#define LEAF1_EDX_HTT        (1u << 28)
#define LEAF1_ECX_HYPERVISOR (1u << 31)
#define LEAF1_ECX_X2APIC     (1u << 21)
#define LEAF1_ECX_DEADLINE   (1u << 24)
/* Of KVM's paravirtual features (Documentation/virt/kvm/x86/cpuid.rst): both clocks, their stability, I/O without a delay, stolen time. The others - interrupts to several
 * CPUs, end of interrupt, waking, asynchronous page faults - go through the kernel's APIC, and fail without one. */
#define KVM_FEATURES_WITHOUT_APIC (1u << 0 | 1u << 1 | 1u << 3 | 1u << 5 | 1u << 24)
#define TOPOLOGY_SMT         1
#define TOPOLOGY_CORE        2
#define KVM_APIC_TIMER_HZ    1000000000u /* the local APIC timer of KVM counts nanoseconds */

struct table { struct hy_cpuid entry[ENTRIES_MAX + 16]; size_t n; };

static struct hy_cpuid *table_find(struct table *t, uint32_t fn, uint32_t sub)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->entry[i].fn == fn && (!t->entry[i].has_sub || t->entry[i].sub == sub))
            return &t->entry[i];
    return NULL;
}

static void table_remove(struct table *t, uint32_t fn)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->n; i++)
        if (t->entry[i].fn != fn)
            t->entry[kept++] = t->entry[i];
    t->n = kept;
}

static void table_add(struct table *t, struct hy_cpuid entry)
{
    if (t->n < ARRAY_LEN(t->entry))
        t->entry[t->n++] = entry;
}

/* One thread a core, all cores in one package. */
static void set_topology(struct table *t, uint32_t cpus)
{
    unsigned shift = 0;
    while (1u << shift < cpus)
        shift++;
    struct hy_cpuid *leaf = table_find(t, 1, 0);
    if (leaf) {
        leaf->ebx = (leaf->ebx & ~UINT32_C(0x00ff0000)) | cpus << 16;
        leaf->edx = cpus > 1 ? leaf->edx | LEAF1_EDX_HTT : leaf->edx & ~LEAF1_EDX_HTT;
    }
    for (uint32_t sub = 0; sub < 8; sub++) {
        struct hy_cpuid *cache = table_find(t, 4, sub);
        if (!cache || !(cache->eax & 0x1f))
            break;
        uint32_t sharing = (cache->eax >> 5 & 7) >= 3 ? (1u << shift) - 1 : 0; /* level 3 is everybody's */
        cache->eax = (cache->eax & 0x3fff) | sharing << 14 | ((1u << shift) - 1) << 26;
    }
    table_remove(t, 0xb);
    table_remove(t, 0x1f);
    table_add(t, (struct hy_cpuid){.fn = 0xb, .sub = 0, .has_sub = 1, .eax = 0, .ebx = 1, .ecx = TOPOLOGY_SMT << 8});
    table_add(t, (struct hy_cpuid){.fn = 0xb, .sub = 1, .has_sub = 1, .eax = shift, .ebx = cpus, .ecx = TOPOLOGY_CORE << 8 | 1});
    table_add(t, (struct hy_cpuid){.fn = 0xb, .sub = 2, .has_sub = 1, .ecx = 2});
}

/* What a kernel needs an APIC of its own for: it keeps these MSRs to itself, and refuses these calls. */
static void remove_apic_features(struct table *t)
{
    struct hy_cpuid *basic = table_find(t, 1, 0), *paravirt = table_find(t, PARAVIRT_LEAF + 1, 0);
    if (basic)
        basic->ecx &= ~(LEAF1_ECX_X2APIC | LEAF1_ECX_DEADLINE);
    if (paravirt)
        paravirt->eax &= KVM_FEATURES_WITHOUT_APIC;
}

/* Leaf 0x15 gives the frequency, so that no guest has to calibrate. The crystal it names is also taken for the APIC timer's clock. */
static void set_tsc(struct table *t, uint64_t tick_hz, bool software)
{
    struct hy_cpuid *leaf = table_find(t, 0x15, 0);
    if (!tick_hz || (software && leaf && leaf->ebx))
        return;
    table_remove(t, 0x15);
    table_add(t, (struct hy_cpuid){.fn = 0x15, .eax = 1000000, .ebx = (uint32_t)(tick_hz / 1000), .ecx = KVM_APIC_TIMER_HZ});
    struct hy_cpuid *top = table_find(t, 0, 0);
    if (top && top->eax < 0x15)
        top->eax = 0x15;
}

int machine_set_cpuid(struct machine *m, struct err *err)
{
    struct table *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(err, ERR_HOST, "out of memory");
    size_t n = ENTRIES_MAX;
    int r = 0;
    hy_err e = hy_cpuid_host(m->hy, t->entry, &n);
    t->n = n;
    bool software = m->caps.can & HY_CAN_JIT;
    if (e == HY_OK) {
        struct hy_cpuid *leaf = table_find(t, 1, 0);
        if (leaf)
            leaf->ecx |= LEAF1_ECX_HYPERVISOR;
        if (m->irq == HY_IRQ_NONE)
            remove_apic_features(t);
        set_topology(t, m->config.cpus);
        set_tsc(t, m->caps.tick_hz, software);
        if (software) {
            table_remove(t, PARAVIRT_LEAF);
            table_remove(t, PARAVIRT_LEAF + 1);
            struct hy_cpuid leaves[2];
            paravirt_cpuid(leaves);
            table_add(t, leaves[0]);
            table_add(t, leaves[1]);
        }
        r = machine_enable_features(m->config.cpu_enable, software, t->entry, t->n, err);
        r = r ? r : machine_disable_features(m->config.cpu_disable, t->entry, t->n, err);
        e = r ? HY_OK : hy_cpuid(m->vm, HY_ALL_CPUS, t->entry, t->n);
    }
    free(t);
    if (r)
        return r;
    return e == HY_OK ? 0 : machine_hy_error(e, "setting up CPUID", err);
}
