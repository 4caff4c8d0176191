/* SPDX-License-Identifier: MIT */
/* state.c - the machine's saved state: everything but RAM, disks and the outside ends of streams.
 *
 * Form, little-endian: "MEZZST01", then sections {u16 name length, name, u32 length, bytes}: "machine" first, "cpu N", "apic N" (only with HY_IRQ_NONE), and
 * "device ID". A state is hostile input: lengths are checked, every section must be one that this machine has, once, and each owner checks its values.
 *
 * Everything is held while this file works: vCPUs at an instruction boundary, executors, time. What is under way in a device is brought to its end before
 * anything is saved, since it may interrupt a vCPU. Works that wait in an executor are not saved; devices find them again (virtio looks into its rings,
 * streams are asked).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "machine/internal.h"

#define MAGIC     "MEZZST01"
#define MAGIC_LEN 8

struct writer { uint8_t *bytes; size_t len, capacity; bool failed; };

static uint8_t *writer_room(struct writer *w, size_t len)
{
    if (w->failed)
        return NULL;
    if (w->capacity - w->len < len) {
        size_t capacity = (w->capacity + len) * 2;
        uint8_t *bytes = realloc(w->bytes, capacity);
        if (!bytes) {
            w->failed = true;
            return NULL;
        }
        w->bytes = bytes;
        w->capacity = capacity;
    }
    w->len += len;
    return w->bytes + w->len - len;
}

/* Begins a section of `len` bytes and returns where they go. */
static uint8_t *section(struct writer *w, const char *name, size_t len)
{
    size_t name_len = strlen(name);
    uint8_t *at = writer_room(w, 2 + name_len + 4 + len);
    if (!at)
        return NULL;
    store_le16(at, (uint16_t)name_len);
    memcpy(at + 2, name, name_len);
    store_le32(at + 2 + name_len, (uint32_t)len);
    return at + 2 + name_len + 4;
}

enum { NAME_MAX_LEN = DEVICE_ID_MAX + 16 };

struct machine_state { uint64_t clock_now, guest_ns, guest_ticks, clock_ticks, clock_ns; uint64_t clock_pages[MACHINE_CPUS_MAX]; };
static const struct field machine_fields[] = {
    FIELD(struct machine_state, clock_now, "the VM's clock, ns"),
    FIELD(struct machine_state, guest_ns, "the backend's clock, ns"),
    FIELD(struct machine_state, guest_ticks, "TSC of vCPU 0"),
    FIELD(struct machine_state, clock_ticks, "TSC of the paravirtual clock's pair"),
    FIELD(struct machine_state, clock_ns, "ns of the paravirtual clock's pair"),
    FIELD_BYTES(struct machine_state, clock_pages, "where each vCPU's clock page is"),
    FIELD_END,
};

static void save_machine(struct machine *m, struct writer *w)
{
    struct machine_state s = {.clock_now = exec_clock_now(m->clock), .clock_ticks = m->clock_ticks, .clock_ns = m->clock_ns};
    struct hy_clock clock = {0};
    if (m->caps.can & HY_CAN_CLOCK)
        hy_clock(m->vm, -1, &clock, NULL);
    s.guest_ns = clock.guest_ns;
    s.guest_ticks = clock.ticks;
    for (uint32_t i = 0; i < m->config.cpus; i++)
        s.clock_pages[i] = m->vcpus[i].clock_page;
    size_t len = fields_save(machine_fields, &s, NULL, 0);
    uint8_t *at = section(w, "machine", len);
    if (at)
        fields_save(machine_fields, &s, at, len);
}

/* The backend's clock is for the end of a load: it moves the TSCs of all vCPUs. */
static int load_machine(struct machine *m, const uint8_t *data, size_t len, struct hy_clock *clock, struct err *err)
{
    struct machine_state s = {0};
    int r = fields_load(machine_fields, &s, data, len, err);
    if (r)
        return r;
    *clock = (struct hy_clock){.guest_ns = s.guest_ns, .ticks = s.guest_ticks};
    exec_clock_set(m->clock, s.clock_now);
    m->clock_ticks = s.clock_ticks;
    m->clock_ns = s.clock_ns;
    for (uint32_t i = 0; i < m->config.cpus; i++)
        m->vcpus[i].clock_page = s.clock_pages[i];
    return 0;
}

struct blob { uint8_t *bytes; size_t len; };

static int save_cpu(struct vcpu *v, void *argument, struct err *err)
{
    struct blob *blob = argument;
    hy_err e = hy_save(v->machine->vm, v->cpu, HY_S_ALL, NULL, &blob->len);
    if (e != HY_E_RANGE && e != HY_OK)
        return machine_hy_error(e, "saving a vCPU", err);
    blob->bytes = malloc(blob->len ? blob->len : 1);
    if (!blob->bytes)
        return err_set(err, ERR_HOST, "out of memory");
    e = hy_save(v->machine->vm, v->cpu, HY_S_ALL, blob->bytes, &blob->len);
    return e == HY_OK ? 0 : machine_hy_error(e, "saving a vCPU", err);
}

static int load_cpu(struct vcpu *v, void *argument, struct err *err)
{
    struct blob *blob = argument;
    hy_err e = hy_load(v->machine->vm, v->cpu, HY_S_ALL, blob->bytes, blob->len);
    if (e == HY_OK)
        return 0;
    machine_hy_error(e, "loading a vCPU", err);
    return err->code = ERR_INPUT;
}

static int save_apic(struct vcpu *v, void *argument, struct err *err)
{
    struct blob *blob = argument;
    blob->len = local_apic_save(v, NULL, 0);
    blob->bytes = malloc(blob->len);
    if (!blob->bytes)
        return err_set(err, ERR_HOST, "out of memory");
    local_apic_save(v, blob->bytes, blob->len);
    return 0;
}

static int load_apic(struct vcpu *v, void *argument, struct err *err)
{
    struct blob *blob = argument;
    return local_apic_load(v, blob->bytes, blob->len, err);
}

/* A section of each vCPU, filled on its thread. */
static int save_cpus(struct machine *m, struct writer *w, const char *kind, int (*save)(struct vcpu *, void *, struct err *), struct err *err)
{
    int r = 0;
    for (uint32_t i = 0; !r && i < m->config.cpus; i++) {
        struct blob blob = {0};
        char name[16];
        r = vcpu_call(&m->vcpus[i], save, &blob, err);
        snprintf(name, sizeof name, "%s %u", kind, i);
        uint8_t *at = r ? NULL : section(w, name, blob.len);
        if (at)
            memcpy(at, blob.bytes, blob.len);
        free(blob.bytes);
    }
    return r;
}

static void save_devices(struct machine *m, struct writer *w)
{
    for (size_t i = 0; i < m->device_count; i++) {
        char name[NAME_MAX_LEN];
        snprintf(name, sizeof name, "device %s", m->devices[i]->id);
        size_t len = device_save(m->devices[i], NULL, 0);
        uint8_t *at = section(w, name, len);
        if (at)
            device_save(m->devices[i], at, len);
    }
}

/* Saving brings to its end what is under way, which may raise interrupts. */
static void settle_devices(struct machine *m)
{
    for (size_t i = 0; i < m->device_count; i++)
        device_save(m->devices[i], NULL, 0);
}

int machine_save(struct machine *m, uint8_t **out, size_t *len, struct err *err)
{
    struct writer w = {0};
    int r = machine_start(m, err);
    if (r)
        return r;
    settle_devices(m);
    uint8_t *magic = writer_room(&w, MAGIC_LEN);
    if (magic)
        memcpy(magic, MAGIC, MAGIC_LEN);
    save_machine(m, &w);
    r = save_cpus(m, &w, "cpu", save_cpu, err);
    if (!r && m->apic_bus)
        r = save_cpus(m, &w, "apic", save_apic, err);
    save_devices(m, &w);
    if (!r && w.failed)
        r = err_set(err, ERR_HOST, "out of memory");
    if (r) {
        free(w.bytes);
        return r;
    }
    *out = w.bytes;
    *len = w.len;
    return 0;
}

/* ---- loading -------------------------------------------------------------------------------------------------------------------------------------------- */

struct loader {
    const uint8_t *data;
    size_t len, at;
    char name[NAME_MAX_LEN];      /* of the present section */
    const uint8_t *body;
    size_t body_len;
    struct hy_clock clock;
    bool seen[1 + 2 * MACHINE_CPUS_MAX + MACHINE_DEVICES_MAX];
    size_t sections;
};

static int next_section(struct loader *l, struct err *err)
{
    size_t name_len = l->len - l->at >= 2 ? load_le16(l->data + l->at) : SIZE_MAX;
    if (name_len >= sizeof l->name || !range_inside(l->at + 2, name_len + 4, l->len))
        return err_set(err, ERR_INPUT, "saved state: cut short at byte %zu", l->at);
    memset(l->name, 0, sizeof l->name);
    memcpy(l->name, l->data + l->at + 2, name_len);
    size_t body = l->at + 2 + name_len + 4;
    l->body = l->data + body;
    l->body_len = load_le32(l->body - 4);
    if (!range_inside(body, l->body_len, l->len))
        return err_set(err, ERR_INPUT, "saved state: a section is cut short at byte %zu", l->at);
    l->at = body + l->body_len;
    return 0;
}

/* The N of "cpu N"; MACHINE_CPUS_MAX when it is not one of this machine. */
static uint32_t section_cpu(const struct machine *m, const char *name, const char *kind)
{
    char want[16];
    for (uint32_t i = 0; i < m->config.cpus; i++) {
        snprintf(want, sizeof want, "%s %u", kind, i);
        if (!strcmp(name, want))
            return i;
    }
    return MACHINE_CPUS_MAX;
}

static size_t section_device(const struct machine *m, const char *name)
{
    size_t prefix = strlen("device "), i = 0;
    if (strncmp(name, "device ", prefix))
        return MACHINE_DEVICES_MAX;
    while (i < m->device_count && strcmp(m->devices[i]->id, name + prefix))
        i++;
    return i < m->device_count ? i : MACHINE_DEVICES_MAX;
}

/* A section's place among all, to notice what stands twice. */
static int claim(struct loader *l, size_t place, struct err *err)
{
    if (l->seen[place])
        return err_set(err, ERR_INPUT, "it stands twice");
    if (place && !l->seen[0])
        return err_set(err, ERR_INPUT, "it stands before the section 'machine'");
    l->seen[place] = true;
    return 0;
}

static int load_section(struct machine *m, struct loader *l, struct err *err)
{
    uint32_t cpu = section_cpu(m, l->name, "cpu"), apic = m->apic_bus ? section_cpu(m, l->name, "apic") : MACHINE_CPUS_MAX;
    size_t device = section_device(m, l->name);
    int r;
    if (!strcmp(l->name, "machine")) {
        r = claim(l, 0, err);
        return r ? r : load_machine(m, l->body, l->body_len, &l->clock, err);
    }
    struct blob blob = {(uint8_t *)l->body, l->body_len};
    if (cpu < MACHINE_CPUS_MAX) {
        r = claim(l, 1 + cpu, err);
        return r ? r : vcpu_call(&m->vcpus[cpu], load_cpu, &blob, err);
    }
    if (apic < MACHINE_CPUS_MAX) {
        r = claim(l, 1 + MACHINE_CPUS_MAX + apic, err);
        return r ? r : vcpu_call(&m->vcpus[apic], load_apic, &blob, err);
    }
    if (device == MACHINE_DEVICES_MAX)
        return err_set(err, ERR_INPUT, "this machine has nothing of that name");
    r = claim(l, 1 + 2 * MACHINE_CPUS_MAX + device, err);
    return r ? r : device_load(m->devices[device], l->body, l->body_len, err);
}

static int load_sections(struct machine *m, struct loader *l, struct err *err)
{
    for (; l->at < l->len; l->sections++) {
        int r = next_section(l, err);
        if (r)
            return r;
        r = load_section(m, l, err);
        if (r) {
            err_add(err, "saved state, section '%s'", l->name);
            return r;
        }
    }
    if (l->sections != 1 + m->config.cpus * (m->apic_bus ? 2u : 1u) + m->device_count)
        return err_set(err, ERR_INPUT, "saved state: a section is missing");
    return 0;
}

int machine_load(struct machine *m, const uint8_t *data, size_t len, struct err *err)
{
    struct loader l = {.data = data, .len = len, .at = MAGIC_LEN};
    if (len < MAGIC_LEN || memcmp(data, MAGIC, MAGIC_LEN))
        return err_set(err, ERR_INPUT, "saved state: not one of mezz");
    int r = machine_start(m, err);
    if (!r)
        r = load_sections(m, &l, err);
    if (!r && m->caps.can & HY_CAN_CLOCK)
        hy_clock(m->vm, -1, NULL, &l.clock);
    return r;
}

/* ---- checkpoints ------------------------------------------------------------------------------------------------------------------------------------------- */

static size_t first_difference(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    size_t at = 0;
    while (at < a_len && at < b_len && a[at] == b[at])
        at++;
    return at;
}

/* Name of the section that holds byte `at` of a state that is well formed. */
static void name_section(const uint8_t *data, size_t len, size_t at, char name[NAME_MAX_LEN])
{
    struct loader l = {.data = data, .len = len, .at = MAGIC_LEN};
    while (l.at < l.len && l.at <= at && !next_section(&l, NULL))
        ;
    memcpy(name, l.name, NAME_MAX_LEN);
}

/* Power-on state everywhere, so that what the load does not bring is lost. */
static int wipe(struct machine *m, struct err *err)
{
    for (size_t i = 0; i < m->device_count; i++)
        device_reset(m->devices[i]);
    m->clock_ticks = m->clock_ns = 0;
    return vcpus_make(m, err);
}

static int compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len, struct err *err)
{
    size_t at = first_difference(a, a_len, b, b_len);
    if (at == a_len && at == b_len)
        return 0;
    char name[NAME_MAX_LEN];
    name_section(a, a_len, at, name);
    return err_set(err, ERR_INTERNAL, "checkpoint: saving, loading and saving again gave other bytes (at byte %zu, section '%s')", at, name);
}

int machine_checkpoint(struct machine *m, struct err *err)
{
    uint8_t *first = NULL, *second = NULL;
    size_t first_len = 0, second_len = 0;
    int r = machine_save(m, &first, &first_len, err);
    if (!r)
        r = wipe(m, err);
    if (!r)
        r = machine_load(m, first, first_len, err);
    if (!r)
        r = machine_save(m, &second, &second_len, err);
    if (!r)
        r = compare(first, first_len, second, second_len, err);
    m->checkpoints += !r;
    free(first);
    free(second);
    return r;
}
