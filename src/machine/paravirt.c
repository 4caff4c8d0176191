/* SPDX-License-Identifier: MIT */
/* paravirt.c - KVM's clock, IPI and wake-up calls for guests on the software CPU.
 *
 * The guest sees: CPUID 0x40000000 "KVMKVMKVM", the clock MSRs 0x4b564d00 and 0x4b564d01, and hypercalls 5 (kick), 9 (clock pairing), 10 (IPIs).
 * Trust: addresses and bitmaps are the guest's. Every write to guest memory is checked; a bad address is an error code or #GP for the guest.
 * Time: all vCPUs are told one pair of (TSC, ns), so that their clocks agree to the tick and the "stable" flag is true.
 */
#include <string.h>

#include "base/bits.h"
#include "base/clock.h"
#include "machine/internal.h"
#include "machine/paravirt.h"

enum { FEATURE_NOP_IO_DELAY = 1 << 1, FEATURE_CLOCKSOURCE2 = 1 << 3, FEATURE_PV_SEND_IPI = 1 << 11, FEATURE_MSI_EXT_DEST_ID = 1 << 15, FEATURE_CLOCK_STABLE = 1 << 24 };
enum { CALL_KICK_CPU = 5, CALL_CLOCK_PAIRING = 9, CALL_SEND_IPI = 10 };
#define MSR_WALL_CLOCK   0x4b564d00u
#define MSR_SYSTEM_TIME  0x4b564d01u
#define MSR_TSC          0x10u
#define MSR_ENABLE       1u
#define PVCLOCK_STABLE   1
#define PVCLOCK_SIZE     32
#define CALL_E_NOSYS     ((uint64_t)-1000) /* KVM_ENOSYS */
#define CALL_E_FAULT     ((uint64_t)-14)
#define CALL_E_OPNOTSUPP ((uint64_t)-95)
#define NS_PER_SECOND    UINT64_C(1000000000)
#define MSI_BASE         UINT64_C(0xfee00000)
#define ICR_VECTOR_MODE  0x7ff             /* vector and delivery mode; the same bits in an MSI's data */

void paravirt_cpuid(struct hy_cpuid out[2])
{
    uint32_t name[3];
    memcpy(name, "KVMKVMKVM\0\0\0", sizeof name);
    out[0] = (struct hy_cpuid){.fn = PARAVIRT_LEAF, .eax = PARAVIRT_LEAF + 1, .ebx = name[0], .ecx = name[1], .edx = name[2]};
    out[1] = (struct hy_cpuid){.fn = PARAVIRT_LEAF + 1,
                               .eax = FEATURE_NOP_IO_DELAY | FEATURE_CLOCKSOURCE2 | FEATURE_PV_SEND_IPI | FEATURE_MSI_EXT_DEST_ID | FEATURE_CLOCK_STABLE};
}

int paravirt_setup(struct machine *m, struct err *err)
{
    if (!(m->caps.can & HY_CAN_JIT))
        return 0;
    hy_err e = hy_trap(m->vm, HY_EXIT_MSR, MSR_WALL_CLOCK, MSR_SYSTEM_TIME, HY_R | HY_W);
    return e == HY_OK ? 0 : machine_hy_error(e, "asking for the paravirtual clock's MSRs", err);
}

static uint64_t vcpu_tsc(struct vcpu *v)
{
    hy_reg name = HY_MSR(MSR_TSC);
    hy_val value = {.u64 = 0};
    hy_get(v->cpu, &name, &value, 1);
    return value.u64;
}

/* The one pair; the first vCPU that asks makes it. */
static void clock_pair(struct vcpu *v, uint64_t *ticks, uint64_t *ns)
{
    struct machine *m = v->machine;
    pthread_mutex_lock(&m->clock_lock);
    if (!m->clock_ns) {
        m->clock_ticks = vcpu_tsc(v);
        m->clock_ns = exec_clock_now(m->clock) + 1;
    }
    *ticks = m->clock_ticks;
    *ns = m->clock_ns;
    pthread_mutex_unlock(&m->clock_lock);
}

/* ns = ((ticks << shift) * mul) >> 32, with mul as large as fits. */
static void clock_scale(uint64_t hz, uint32_t *mul, int8_t *shift)
{
    uint64_t scaled = NS_PER_SECOND, base = hz;
    *shift = 0;
    for (; base > 2 * scaled || base > UINT32_MAX; (*shift)--)
        base >>= 1;
    for (; base <= scaled && base < UINT32_MAX / 2; (*shift)++)
        base <<= 1;
    *mul = (uint32_t)((scaled << 32) / base);
}

static bool write_system_time(struct vcpu *v, uint64_t gpa)
{
    uint8_t page[PVCLOCK_SIZE] = {0};
    uint64_t ticks, ns;
    uint32_t mul;
    int8_t shift;
    clock_pair(v, &ticks, &ns);
    clock_scale(v->machine->caps.tick_hz, &mul, &shift);
    store_le32(page, 2); /* version: even, not being updated */
    store_le64(page + 8, ticks);
    store_le64(page + 16, ns);
    store_le32(page + 24, mul);
    page[28] = (uint8_t)shift;
    page[29] = PVCLOCK_STABLE;
    return mem_write(v->machine->map, gpa, page, sizeof page) == 0;
}

static bool write_wall_clock(struct vcpu *v, uint64_t gpa)
{
    uint8_t page[12];
    uint64_t ticks, ns, elapsed;
    clock_pair(v, &ticks, &ns);
    elapsed = exec_clock_now(v->machine->clock);
    uint64_t boot = clock_wall_ns() - elapsed; /* wall time when the guest's system time was 0 */
    store_le32(page, 2);
    store_le32(page + 4, (uint32_t)(boot / NS_PER_SECOND));
    store_le32(page + 8, (uint32_t)(boot % NS_PER_SECOND));
    return mem_write(v->machine->map, gpa, page, sizeof page) == 0;
}

void paravirt_msr(struct vcpu *v, hy_exit *exit)
{
    uint64_t value = exit->u.msr.value;
    bool ok = false;
    if (exit->u.msr.reg == HY_MSR(MSR_SYSTEM_TIME) && exit->write) {
        ok = !(value & MSR_ENABLE) || write_system_time(v, value & ~UINT64_C(3));
        if (ok)
            v->clock_page = value;
    } else if (exit->u.msr.reg == HY_MSR(MSR_SYSTEM_TIME)) {
        exit->u.msr.value = v->clock_page;
        ok = true;
    } else if (exit->u.msr.reg == HY_MSR(MSR_WALL_CLOCK)) {
        ok = !exit->write || write_wall_clock(v, value & ~UINT64_C(3));
    }
    exit->u.msr.deny = !ok;
}

/* Two words of a bitmap of APIC ids from `first` on. Returns how many CPUs were reached. */
static uint64_t send_ipis(struct machine *m, uint64_t low, uint64_t high, uint64_t first, uint64_t icr)
{
    uint64_t sent = 0;
    for (uint32_t i = 0; i < m->config.cpus; i++) {
        if (i < first || i - first >= 128)
            continue;
        uint64_t at = i - first, word = at < 64 ? low : high;
        if (!(word >> (at & 63) & 1))
            continue;
        struct msi_sink sink = machine_msi(m);
        msi_send(&sink, MSI_BASE | (uint64_t)i << 12, icr & ICR_VECTOR_MODE, 0);
        sent++;
    }
    return sent;
}

/* {seconds, nanoseconds, TSC, flags, padding} at gpa; type 0 is the wall clock. */
static uint64_t pair_clocks(struct vcpu *v, uint64_t gpa, uint64_t type)
{
    uint8_t reply[64] = {0};
    if (type)
        return CALL_E_OPNOTSUPP;
    uint64_t now = clock_wall_ns();
    store_le64(reply, now / NS_PER_SECOND);
    store_le64(reply + 8, now % NS_PER_SECOND);
    store_le64(reply + 16, vcpu_tsc(v));
    return mem_write(v->machine->map, gpa, reply, sizeof reply) ? CALL_E_FAULT : 0;
}

void paravirt_call(struct vcpu *v, hy_exit *exit)
{
    const uint64_t *arg = exit->u.call.arg; /* rbx rcx rdx rsi */
    switch (exit->u.call.nr) {
    case CALL_KICK_CPU:      exit->u.call.ret[0] = 0; break; /* an interrupt follows where one is wanted; a halted vCPU of ours wakes on it */
    case CALL_CLOCK_PAIRING: exit->u.call.ret[0] = pair_clocks(v, arg[0], arg[1]); break;
    case CALL_SEND_IPI:      exit->u.call.ret[0] = send_ipis(v->machine, arg[0], arg[1], arg[2], arg[3]); break;
    default:                 exit->u.call.ret[0] = CALL_E_NOSYS; break;
    }
}
