/* SPDX-License-Identifier: MIT */
/* state.c - the machine's saved state: everything but RAM, disks and the outside ends of streams.
 *
 * Form, little-endian: "MEZZST01", then sections {u16 name length, name, u32 length, bytes}: "machine", "cpuN", and each device by its id. A state is hostile input: lengths are
 * checked, every section must be one that this machine has, once, and each owner checks its values before it runs. A failed load leaves a machine that may only be freed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "machine/internal.h"

#define MAGIC     "MEZZST01"
#define MAGIC_LEN 8
#define CPU_STATE_MAX (1 << 20)

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

struct machine_state { uint64_t clock_now, clock_ticks, clock_ns; uint64_t clock_pages[MACHINE_CPUS_MAX]; };
static const struct field machine_fields[] = {
    FIELD(struct machine_state, clock_now, "the VM's clock, ns"),
    FIELD(struct machine_state, clock_ticks, "TSC of the paravirtual clock's pair"),
    FIELD(struct machine_state, clock_ns, "ns of the paravirtual clock's pair"),
    FIELD_BYTES(struct machine_state, clock_pages, "where each vCPU's clock page is"),
    FIELD_END,
};

static void save_machine(struct machine *m, struct writer *w)
{
    struct machine_state s = {.clock_now = exec_clock_now(m->clock), .clock_ticks = m->clock_ticks, .clock_ns = m->clock_ns};
    for (uint32_t i = 0; i < m->config.cpus; i++)
        s.clock_pages[i] = m->vcpus[i].clock_page;
    size_t len = fields_save(machine_fields, &s, NULL, 0);
    uint8_t *at = section(w, "machine", len);
    if (at)
        fields_save(machine_fields, &s, at, len);
}

static int load_machine(struct machine *m, const uint8_t *data, size_t len, struct err *err)
{
    struct machine_state s = {0};
    int r = fields_load(machine_fields, &s, data, len, err);
    if (r)
        return r;
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

static int save_cpus(struct machine *m, struct writer *w, struct err *err)
{
    for (uint32_t i = 0; i < m->config.cpus; i++) {
        struct blob blob = {0};
        char name[16];
        int r = vcpu_call(&m->vcpus[i], save_cpu, &blob, err);
        snprintf(name, sizeof name, "cpu%u", i);
        uint8_t *at = r ? NULL : section(w, name, blob.len);
        if (at)
            memcpy(at, blob.bytes, blob.len);
        free(blob.bytes);
        if (r)
            return r;
    }
    return 0;
}

int machine_save(struct machine *m, uint8_t **out, size_t *len, struct err *err)
{
    struct writer w = {0};
    uint8_t *magic = writer_room(&w, MAGIC_LEN);
    if (magic)
        memcpy(magic, MAGIC, MAGIC_LEN);
    save_machine(m, &w);
    int r = save_cpus(m, &w, err);
    for (size_t i = 0; !r && i < m->device_count; i++) {
        size_t need = device_save(m->devices[i], NULL, 0);
        uint8_t *at = section(&w, m->devices[i]->id, need);
        if (at)
            device_save(m->devices[i], at, need);
    }
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

/* Loads one section into its owner; *index is its place among all owners, to notice duplicates. */
static int load_section(struct machine *m, const char *name, const uint8_t *data, size_t len, size_t *index, struct err *err)
{
    unsigned cpu;
    char rest;
    if (!strcmp(name, "machine")) {
        *index = 0;
        return load_machine(m, data, len, err);
    }
    if (sscanf(name, "cpu%2u%c", &cpu, &rest) == 1 && cpu < m->config.cpus) {
        struct blob blob = {(uint8_t *)data, len};
        *index = 1 + cpu;
        return vcpu_call(&m->vcpus[cpu], load_cpu, &blob, err);
    }
    for (size_t i = 0; i < m->device_count; i++)
        if (!strcmp(m->devices[i]->id, name)) {
            *index = 1 + MACHINE_CPUS_MAX + i;
            return device_load(m->devices[i], data, len, err);
        }
    return err_set(err, ERR_INPUT, "it has a section '%s' that this machine does not", name);
}

int machine_load(struct machine *m, const uint8_t *data, size_t len, struct err *err)
{
    bool seen[1 + MACHINE_CPUS_MAX + MACHINE_DEVICES_MAX] = {false};
    size_t sections = 0;
    if (len < MAGIC_LEN || memcmp(data, MAGIC, MAGIC_LEN))
        return err_set(err, ERR_INPUT, "saved state: not one of mezz");
    for (size_t at = MAGIC_LEN; at < len; sections++) {
        char name[DEVICE_ID_MAX + 1] = "";
        size_t index = 0, name_len = len - at >= 2 ? load_le16(data + at) : SIZE_MAX;
        if (name_len > DEVICE_ID_MAX || !range_inside(at + 2, name_len + 4, len))
            return err_set(err, ERR_INPUT, "saved state: cut short at byte %zu", at);
        memcpy(name, data + at + 2, name_len);
        size_t body = at + 2 + name_len + 4, body_len = load_le32(data + body - 4);
        if (!range_inside(body, body_len, len))
            return err_set(err, ERR_INPUT, "saved state: section '%s' is cut short", name);
        int r = load_section(m, name, data + body, body_len, &index, err);
        if (r) {
            err_add(err, "saved state, section '%s'", name);
            return r;
        }
        if (seen[index])
            return err_set(err, ERR_INPUT, "saved state: section '%s' stands twice", name);
        seen[index] = true;
        at = body + body_len;
    }
    if (sections != 1 + m->config.cpus + m->device_count)
        return err_set(err, ERR_INPUT, "saved state: a section is missing");
    return 0;
}

static size_t first_difference(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    size_t at = 0;
    while (at < a_len && at < b_len && a[at] == b[at])
        at++;
    return at;
}

/* With all vCPUs parked: saves, resets everything, loads, saves again and compares. */
int machine_checkpoint(struct machine *m, struct err *err)
{
    uint8_t *first = NULL, *second = NULL;
    size_t first_len = 0, second_len = 0;
    exec_clock_freeze(m->clock);
    int r = machine_save(m, &first, &first_len, err);
    for (size_t i = 0; !r && i < m->device_count; i++)
        device_reset(m->devices[i]);
    if (!r)
        r = vcpus_make(m, err);
    if (!r)
        r = machine_load(m, first, first_len, err);
    if (!r)
        r = machine_save(m, &second, &second_len, err);
    exec_clock_thaw(m->clock);
    if (!r && (first_len != second_len || memcmp(first, second, first_len)))
        r = err_set(err, ERR_INTERNAL, "checkpoint: saving, loading and saving again gave other bytes (at byte %zu)",
                    first_difference(first, first_len, second, second_len));
    free(first);
    free(second);
    return r;
}
