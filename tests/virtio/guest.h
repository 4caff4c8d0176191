/* SPDX-License-Identifier: MIT */
/* guest.h - a small driver for virtio devices inside a test: guest memory, the PCI registers, split rings; on each kind of executor. Also for the fuzz targets. */
#ifndef TESTS_VIRTIO_GUEST_H
#define TESTS_VIRTIO_GUEST_H

#include <pthread.h>
#include <stdatomic.h>

#include "bus/device.h"
#include "executor/executor.h"
#include "memory/memory.h"
#include "virtio/device.h"

enum guest_kind { GUEST_MAIN, GUEST_THREAD, GUEST_COOPERATIVE, GUEST_VIRTUAL, GUEST_KINDS };

enum { GUEST_MEMORY = 8 << 20, GUEST_QUEUES = 4, GUEST_QUEUE_SIZE = 64 };

/* Where the rings of queue q are, and free memory for buffers. */
#define GUEST_RING(q)   (0x10000 + (q) * UINT64_C(0x8000))
#define GUEST_AVAIL(q)  (GUEST_RING(q) + 0x2000)
#define GUEST_USED(q)   (GUEST_RING(q) + 0x4000)
#define GUEST_BUFFERS   UINT64_C(0x100000)
#define GUEST_ECAM      UINT64_C(0xe0000000)

struct guest {
    enum guest_kind kind;
    struct exec_clock *clock;
    struct executor *executor, *timekeeper;
    pthread_t owner;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool wake, quit;

    struct mem_block *block;
    struct mem_map *memory;
    struct bus *bus;
    struct device_services services;
    struct device *host, *device;
    _Atomic unsigned messages[16];  /* by the low bits of the MSI's data: vector number */
    _Atomic unsigned intx;          /* rising edges  */
    _Atomic bool intx_level;
    uint64_t registers;             /* address of BAR 0 */
    uint16_t next[GUEST_QUEUES], seen[GUEST_QUEUES]; /* available index, used index */
};

struct guest_buffer { uint64_t gpa; uint32_t len; bool write; };

void guest_start(struct guest *, enum guest_kind);
void guest_stop(struct guest *);     /* frees the device, too */
/* After the test set guest.device: maps the BAR, becomes bus master. */
void guest_attach(struct guest *);
/* Reset, ACKNOWLEDGE, DRIVER, these features, FEATURES_OK; sets up `queues` queues with MSI-X vectors (queue q has vector q, configuration the last); DRIVER_OK. */
void guest_driver(struct guest *, uint64_t features, unsigned queues);
/* The same in parts. */
bool guest_negotiate(struct guest *, uint64_t features);
void guest_setup_queue(struct guest *, unsigned queue);
void guest_msix(struct guest *, unsigned vectors);

uint32_t guest_read(struct guest *, unsigned offset, unsigned size);  /* of BAR 0: 0 common, 0x1000 isr, 0x2000 device, 0x3000 notify */
void guest_write(struct guest *, unsigned offset, unsigned size, uint32_t value);
uint32_t guest_config(struct guest *, unsigned offset, unsigned size);
void guest_config_write(struct guest *, unsigned offset, unsigned size, uint32_t value);

/* Memory of the guest's. */
void guest_put(struct guest *, uint64_t gpa, const void *, size_t);
void guest_get(struct guest *, uint64_t gpa, void *, size_t);
void guest_descriptor(struct guest *, uint64_t table, unsigned index, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next);

/* Puts one chain into the ring (descriptors from `first` on) and makes it available; no notification. */
void guest_chain(struct guest *, unsigned queue, unsigned first, const struct guest_buffer *, unsigned count);
void guest_available(struct guest *, unsigned queue, uint16_t head);
void guest_notify(struct guest *, unsigned queue);
/* Waits for a used entry, ten seconds at most; false: none came. */
bool guest_used(struct guest *, unsigned queue, uint32_t *head, uint32_t *written);
/* Lets the executor get on for a moment. */
void guest_pause(struct guest *);
/* One chain there and back: returns the bytes written. */
uint32_t guest_request(struct guest *, unsigned queue, const struct guest_buffer *, unsigned count);

#endif
