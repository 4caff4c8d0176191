/* SPDX-License-Identifier: MIT */
/* device.h - what a device is: one const class, one field table, and everything it may touch handed over at creation.
 *
 *     struct foo { struct device device; struct bus_region ports; uint8_t latch; };
 *     const struct device_class foo_class = { .name = "foo", .size = sizeof(struct foo), .create = foo_create, .reset = foo_reset, .fields = foo_fields };
 *
 * The first member of a device's structure is its struct device. Register functions and executor callbacks run with device.lock held, which is an
 * error-checking mutex: an access that comes back to a device on the thread that is inside it (DMA onto its own registers) is refused, not a deadlock.
 * docs/write-a-device.md builds one in 100 lines.
 */
#ifndef BUS_DEVICE_H
#define BUS_DEVICE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/fields.h"
#include "base/list.h"
#include "base/log.h"
#include "bus/bus.h"

struct executor;
struct mem_map;
struct device;

#define DEVICE_ID_MAX 31

/* All that a device may touch. Copied into the device; what it points at outlives the device. */
struct device_services {
    struct bus      *bus;
    struct mem_map  *memory;    /* NULL: this device does no DMA */
    struct executor *executor;
    struct log      *log;
    struct msi_sink  msi;
};

struct device_class {
    const char *name;           /* what the user types and inspect shows           */
    const char *summary;        /* one line for the documentation                   */
    size_t size;                /* of the whole structure; zeroed before create     */
    /* `config` is the class's own configuration structure, documented in its header; borrowed during the call. On failure destroy() is called on what there is. */
    int  (*create)(struct device *, const void *config, struct err *);
    void (*destroy)(struct device *); /* must cope with a half-made device; regions, timers and works must be gone when it returns. NULL: nothing to do */
    void (*reset)(struct device *);   /* power-on state, lock held. Required */
    const struct field *fields; /* what save, load and inspect see. Required, may be empty */
    /* After fields_load(): checks ranges and rebuilds what is derived (lines, timers). ERR_INPUT refuses the state. NULL: any values are fine. */
    int  (*loaded)(struct device *, struct err *);
    /* Before a save: brings derived values (timer remainders, in-flight requests) into the fields; drains what cannot be saved. NULL: nothing to do. */
    void (*saving)(struct device *);
};

struct device {
    const struct device_class *class;
    char id[DEVICE_ID_MAX + 1];  /* unique in the machine: "serial0", "disk0" */
    struct device_services services;
    pthread_mutex_t lock;
    _Atomic unsigned users;      /* the bus's: accesses on their way; device_free() waits for them */
    struct list node;            /* machine's list of devices */
};

/* Makes a device and resets it. `*out` is owned by the caller; free with device_free(). create() runs with the lock held, so that an access which
 * finds a region early waits; destroy() runs without it, after device_free() has taken the device's regions off the bus and waited for accesses
 * on their way. ERR_USAGE: bad id. */
int  device_new(const struct device_class *, const char *id, const struct device_services *, const void *config, struct device **out, struct err *);
void device_free(struct device *);  /* NULL is allowed */
void device_reset(struct device *);

/* Saved form: fields.h records. device_save returns the bytes needed, writing only when they fit. A state that loaded() refuses leaves the device reset. */
size_t device_save(struct device *, void *buffer, size_t capacity);
int    device_load(struct device *, const void *data, size_t len, struct err *);

#endif
