/* SPDX-License-Identifier: MIT */
/* soft_state.c - saved state and time of the software backend.
 *
 * HY_S_ALL: magic, then three tables of field records with their lengths: the CPU's, the backend's own, and the APIC's (empty with HY_IRQ_NONE). All of it is hostile:
 * fields_load() checks the form, cpu_state_check() and apic_loaded() the values; on a refusal the CPU is as it was, but its APIC may be anything that is safe.
 * Times in the APIC are of the VM's clock at the save, which is told beside them, so that a timer has the same time left in another process.
 */
#include "hy/backends/soft.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cpu/cpuid.h"
#include "cpu/translate/translate.h"
#include "cpu/x87.h"
#include "cpu/xsave.h"

#define ALL_MAGIC UINT32_C(0x326f7368) /* "hso2" */
#define ALL_HEAD  12 /* magic, length of the CPU's records, length of the backend's */

static hy_err too_small(void) { return soft_fail(HY_E_RANGE, "hy_save", "the state is longer than the room for it"); }
static hy_err malformed(void) { return soft_fail(HY_E_INVAL, "hy_load", "the saved state is malformed, or of another backend"); }

#define S(member, meaning) FIELD(struct cpu_state, member, meaning)
static const struct field event_fields[] = {
    S(interrupt_shadow, "1 after STI, 2 after MOV SS"), S(nmi_blocked, "NMIs blocked until IRET"), S(nmi_pending, "NMIs that wait"),
    S(halted, "1 halted, 2 waiting for SIPI"), S(event_kind, "injected event: kind"), S(event_vector, "injected event: vector"),
    S(event_has_error, "injected event: has an error code"), S(event_pending, "injected event waits"), S(event_error, "injected event: error code"),
    S(event_address, "injected event: address"), S(pending_db, "DR6 bits of a #DB that waits"), FIELD_END,
};
#undef S

/* ---- the XSAVE image, SDM volume 1, 13.4 ---------------------------------------------------------------------------------------------------------- */

#define FX_MXCSR      24
#define FX_MXCSR_MASK 28
#define FX_XMM        160

/* Without AVX-512 there is nothing of it. */
static size_t fpu_size(const struct cpu *cpu) { return cpu_has(cpu, FEATURE_AVX512F) ? XSAVE_MAX_SIZE : XSAVE_SIZE_WITHOUT_ZMM; }

static size_t pkru_offset(size_t len) { return len == XSAVE_MAX_SIZE ? XSAVE_PKRU_BEHIND_ZMM : XSAVE_PKRU_OFFSET; }

static void zmm_load(struct cpu_state *s, uint64_t present, const uint8_t *p)
{
    memset(s->k, 0, sizeof s->k);
    memset(s->zmm_high, 0, sizeof s->zmm_high);
    memset(s->zmm16, 0, sizeof s->zmm16);
    if (present & XCR0_OPMASK)
        memcpy(s->k, p + XSAVE_OPMASK_OFFSET, sizeof s->k);
    if (present & XCR0_ZMM_HIGH)
        memcpy(s->zmm_high, p + XSAVE_ZMM_HIGH_OFFSET, sizeof s->zmm_high);
    if (present & XCR0_ZMM16)
        memcpy(s->zmm16, p + XSAVE_ZMM16_OFFSET, sizeof s->zmm16);
}

static void fpu_save(struct cpu *cpu, uint8_t *p)
{
    memset(p, 0, fpu_size(cpu));
    x87_put_fxsave(&cpu->state.x87, p, true);
    store_le32(p + FX_MXCSR, cpu->state.mxcsr);
    store_le32(p + FX_MXCSR_MASK, 0xffff);
    store_le64(p + XSAVE_LEGACY_SIZE, XSAVE_COMPONENTS & (cpu_has(cpu, FEATURE_AVX512F) ? UINT64_MAX : ~(uint64_t)XCR0_ZMM));
    for (unsigned i = 0; i < 16; i++) {
        memcpy(p + FX_XMM + 16 * i, &cpu->state.vec[i], 16);
        memcpy(p + XSAVE_AVX_OFFSET + 16 * i, &cpu->state.vec[i].q[2], 16);
    }
    store_le32(p + pkru_offset(fpu_size(cpu)), cpu->state.pkru);
    if (!cpu_has(cpu, FEATURE_AVX512F))
        return;
    memcpy(p + XSAVE_OPMASK_OFFSET, cpu->state.k, XSAVE_OPMASK_SIZE);
    memcpy(p + XSAVE_ZMM_HIGH_OFFSET, cpu->state.zmm_high, XSAVE_ZMM_HIGH_SIZE);
    memcpy(p + XSAVE_ZMM16_OFFSET, cpu->state.zmm16, XSAVE_ZMM16_SIZE);
}

static hy_err fpu_load(struct cpu *cpu, const uint8_t *p, size_t len)
{
    uint64_t present = load_le64(p + XSAVE_LEGACY_SIZE);

    /* XCOMP_BV must be 0 (uncompacted), MXCSR's reserved bits clear. */
    if (present & ~XSAVE_COMPONENTS || (present & XCR0_ZMM && len < XSAVE_MAX_SIZE) || load_le64(p + XSAVE_LEGACY_SIZE + 8) || load_le32(p + FX_MXCSR) >> 16)
        return malformed();
    if (present & XCR0_X87)
        x87_get_fxsave(&cpu->state.x87, p, true);
    cpu->state.mxcsr = load_le32(p + FX_MXCSR);
    for (unsigned i = 0; i < 16; i++) {
        memset(&cpu->state.vec[i], 0, sizeof cpu->state.vec[i]);
        if (present & XCR0_SSE)
            memcpy(&cpu->state.vec[i], p + FX_XMM + 16 * i, 16);
        if (present & XCR0_AVX)
            memcpy(&cpu->state.vec[i].q[2], p + XSAVE_AVX_OFFSET + 16 * i, 16);
    }
    zmm_load(&cpu->state, present, p);
    cpu_set_pkru(cpu, present & XCR0_PKRU ? load_le32(p + pkru_offset(len)) : 0);
    return HY_OK;
}

/* ---- fields ---------------------------------------------------------------------------------------------------------------------------------------- */

/* Loads records into the CPU's state when the result can be. */
static hy_err state_load(struct cpu *cpu, const struct field *table, const void *data, size_t len)
{
    struct cpu_state *old = malloc(sizeof *old);
    hy_err err = HY_OK;

    if (!old)
        return soft_fail(HY_E_NOMEM, "hy_load", "");
    cpu_state_flush(cpu);
    *old = cpu->state;
    if (fields_load(table, &cpu->state, data, len, NULL) || cpu->state.zero || cpu_state_check(cpu, NULL)) {
        cpu->state = *old;
        err = malformed();
    }
    free(old);
    cpu_flags_set(cpu, cpu->state.rflags);
    cpu_tlb_flush_all(cpu);
    cpu_state_changed(cpu);
    cpu_request(cpu, CPU_REQ_WINDOW);
    return err;
}

/* What this file adds to the CPU and its APIC. */
struct soft_extra {
    uint64_t now;        /* the VM's clock, ns                                            */
    uint64_t ended[4];   /* vectors whose end of interrupt is to be reported              */
    uint32_t external;   /* CPU 0: 1 + vector of an 8259 that waits for INTA, 0: none     */
};
static const struct field extra_fields[] = {
    FIELD(struct soft_extra, now, "the VM's clock, ns"),
    FIELD_BYTES(struct soft_extra, ended, "vectors whose end of interrupt is to be reported"),
    FIELD(struct soft_extra, external, "1 + vector of an 8259 that waits for INTA"),
    FIELD_END,
};

static size_t all_save(hyb_cpu *c, uint8_t *buf, size_t room)
{
    struct cpu *cpu = c->cpu;
    struct soft_extra extra = {.now = soft_now(c->vm), .external = cpu->index ? 0 : (uint32_t)(atomic_load(&c->vm->external) + 1)};
    size_t of_cpu = fields_save(cpu_fields, &cpu->state, NULL, 0), of_extra = fields_save(extra_fields, &extra, NULL, 0);
    size_t of_apic = cpu->apic ? fields_save(apic_fields, cpu->apic, NULL, 0) : 0, need = ALL_HEAD + of_cpu + of_extra + of_apic;

    if (room < need)
        return need;
    memcpy(extra.ended, c->ended, sizeof extra.ended);
    store_le32(buf, ALL_MAGIC);
    store_le32(buf + 4, (uint32_t)of_cpu);
    store_le32(buf + 8, (uint32_t)of_extra);
    fields_save(cpu_fields, &cpu->state, buf + ALL_HEAD, of_cpu);
    fields_save(extra_fields, &extra, buf + ALL_HEAD + of_cpu, of_extra);
    if (cpu->apic)
        fields_save(apic_fields, cpu->apic, buf + ALL_HEAD + of_cpu + of_extra, of_apic);
    return need;
}

static void extra_load(hyb_cpu *c, const struct soft_extra *extra)
{
    memcpy(c->ended, extra->ended, sizeof c->ended);
    c->ended_any = (c->ended[0] | c->ended[1] | c->ended[2] | c->ended[3]) != 0;
    if (!c->cpu->index && c->cpu->apic) {
        atomic_store(&c->vm->external, (int)extra->external - 1);
        apic_bus_line(c->vm->vm.apic_bus, 0, extra->external);
    }
    if (c->ended_any)
        cpu_request(c->cpu, CPU_REQ_KICK);
}

/* `saved_at`: the VM's clock at the save. */
static hy_err apic_load(hyb_cpu *c, uint64_t saved_at, const uint8_t *buf, size_t len)
{
    struct cpu *cpu = c->cpu;

    if (fields_load(apic_fields, cpu->apic, buf, len, NULL) || apic_loaded(cpu->apic, saved_at, NULL)) {
        apic_reset(cpu->apic, false);
        return malformed();
    }
    cpu_timer_set(cpu, apic_timer_deadline(cpu->apic));
    cpu_request(cpu, CPU_REQ_INTERRUPT | CPU_REQ_TIMER);
    return HY_OK;
}

static hy_err all_load(hyb_cpu *c, const uint8_t *buf, size_t len)
{
    struct soft_extra extra = {0};
    size_t of_cpu, of_extra, of_apic;
    hy_err err;

    if (len < ALL_HEAD || load_le32(buf) != ALL_MAGIC || load_le32(buf + 4) > len - ALL_HEAD || load_le32(buf + 8) > len - ALL_HEAD - load_le32(buf + 4))
        return malformed();
    of_cpu = load_le32(buf + 4);
    of_extra = load_le32(buf + 8);
    of_apic = len - ALL_HEAD - of_cpu - of_extra;
    buf += ALL_HEAD;
    if (!of_cpu || !of_apic != !c->cpu->apic || fields_load(extra_fields, &extra, buf + of_cpu, of_extra, NULL) || extra.external > 256)
        return malformed();
    err = state_load(c->cpu, cpu_fields, buf, of_cpu);
    if (err)
        return err;
    extra_load(c, &extra);
    return c->cpu->apic ? apic_load(c, extra.now, buf + of_cpu + of_extra, of_apic) : HY_OK;
}

hy_err soft_save(hyb_vm *vm, hyb_cpu *cpu, int what, void *buf, size_t *len)
{
    size_t room = *len;

    (void)vm;
    if (cpu)
        cpu_state_flush(cpu->cpu);
    switch (what) {
    case HY_S_FPU:
        *len = fpu_size(cpu->cpu);
        if (room >= *len)
            fpu_save(cpu->cpu, buf);
        break;
    case HY_S_EVENTS: *len = fields_save(event_fields, &cpu->cpu->state, buf, room); break;
    case HY_S_ALL: *len = all_save(cpu, buf, room); break;
    default: return soft_fail(HY_E_NOTSUP, "hy_save", "this backend keeps that in HY_S_ALL");
    }
    return room < *len ? too_small() : HY_OK;
}

hy_err soft_load(hyb_vm *vm, hyb_cpu *cpu, int what, const void *buf, size_t len)
{
    (void)vm;
    switch (what) {
    case HY_S_FPU: return len == XSAVE_MAX_SIZE || len == XSAVE_SIZE_WITHOUT_ZMM ? fpu_load(cpu->cpu, buf, len) : malformed();
    case HY_S_EVENTS: return state_load(cpu->cpu, event_fields, buf, len);
    case HY_S_ALL: return all_load(cpu, buf, len);
    default: return soft_fail(HY_E_NOTSUP, "hy_load", "this backend keeps that in HY_S_ALL");
    }
}

/* ---- time ------------------------------------------------------------------------------------------------------------------------------------------- */

uint64_t soft_now(void *opaque)
{
    struct hyb_vm *vm = opaque;
    uint64_t frozen = atomic_load_explicit(&vm->frozen_at, memory_order_relaxed);

    return frozen != UINT64_MAX ? frozen : clock_ns() - atomic_load_explicit(&vm->base, memory_order_relaxed);
}

uint64_t soft_ticks(void *opaque)
{
    struct hyb_vm *vm = opaque;
    uint64_t ns = soft_now(vm), hz = vm->vm.tsc_hz, second = UINT64_C(1000000000);

    return hz == second ? ns : ns / second * hz + ns % second * hz / second;
}

/* The guest's paravirtual clock and TSC are the VM's clock plus offsets, so that setting them moves no timer of the APICs. */
hy_err soft_clock(hyb_vm *vm, int running, struct hy_clock *get, const struct hy_clock *set)
{
    uint64_t now = soft_now(vm), ticks;

    if (running == 0)
        atomic_store(&vm->frozen_at, now); /* before the TSC is read */
    ticks = vm->vm.cpus[0] ? cpu_tsc(vm->vm.cpus[0]) : soft_ticks(vm);
    if (set) {
        vm->guest_ns_offset = set->guest_ns - now;
        for (uint32_t i = 0; i < vm->vm.cpu_count; i++) {
            struct cpu *cpu = vm->vm.cpus[i];

            if (cpu)
                cpu->state.tsc_offset += set->ticks - ticks;
            if (cpu && cpu->apic)
                apic_tsc_changed(cpu->apic);
        }
        ticks = set->ticks;
    }
    for (uint32_t i = 0; i < vm->vm.cpu_count; i++)
        if (vm->vm.cpus[i] && (set || running == 0 || running == 1))
            translate_clock_forget(vm->vm.cpus[i]);
    if (get)
        *get = (struct hy_clock){.guest_ns = now + vm->guest_ns_offset, .ticks = ticks};
    if (running == 1 && atomic_load(&vm->frozen_at) != UINT64_MAX) {
        atomic_store(&vm->base, clock_ns() - now);
        atomic_store(&vm->frozen_at, UINT64_MAX);
    }
    return HY_OK;
}
