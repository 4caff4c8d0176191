/* SPDX-License-Identifier: MIT */
/* console.c - the console device, one port (virtio 1.2 section 5.3).
 *
 * Input waits in a buffer of INPUT_MAX bytes until the driver gives it room; when that is full the host side keeps it. Output goes to the host side in pieces of PIECE bytes; while
 * that takes none, the chain stays in the ring, and `sent` says how much of it is gone.
 */
#include "virtio/console.h"

#include <string.h>

#include "virtio/device.h"

enum { QUEUE_INPUT, QUEUE_OUTPUT, QUEUES };
enum { INPUT_MAX = 4096, PIECE = 512 };
#define F_SIZE BIT(0) /* 5.3.3 */

struct virtio_console {
    struct virtio_device v;
    struct stream_backend backend;
    bool starved;                  /* the host side holds input back */
    uint8_t input[INPUT_MAX];
    uint16_t input_count;
    uint32_t sent;                 /* bytes of the next output chain that are gone */
};

static struct virtio_console *console_of(struct virtio_device *v) { return container_of(v, struct virtio_console, v); }

/* ---- output ------------------------------------------------------------------------------------------------------------------------------------------------ */

/* False: the host side takes no more now. */
static bool send_chain(struct virtio_console *c, const struct vq_chain *chain)
{
    uint8_t piece[PIECE];
    while (c->sent < chain->read_bytes) {
        uint32_t left = chain->read_bytes - c->sent, n = left < PIECE ? left : PIECE;
        if (!vq_copy_in(&c->v.queues[QUEUE_OUTPUT], chain, c->sent, piece, n))
            return true; /* no memory there: the rest is nothing */
        uint32_t taken = c->backend.write ? (uint32_t)c->backend.write(c->backend.opaque, piece, n) : n;
        c->sent += taken;
        if (taken < n)
            return false;
    }
    return true;
}

static bool process_output(struct virtio_console *c)
{
    struct virtqueue *q = &c->v.queues[QUEUE_OUTPUT];
    struct vq_chain chain;
    unsigned budget = VIRTIO_BUDGET;
    for (; budget && virtio_pop(&c->v, QUEUE_OUTPUT, &chain); budget--) {
        if (!send_chain(c, &chain)) {
            vq_unpop(q, 1);
            virtio_signal(&c->v, QUEUE_OUTPUT);
            return false; /* writable() goes on */
        }
        c->sent = 0;
        vq_push(q, chain.head, 0);
    }
    virtio_signal(&c->v, QUEUE_OUTPUT);
    return !budget || vq_listen(q);
}

/* ---- input --------------------------------------------------------------------------------------------------------------------------------------------------- */

static void give_input(struct virtio_console *c, const struct vq_chain *chain)
{
    struct virtqueue *q = &c->v.queues[QUEUE_INPUT];
    uint32_t n = chain->write_bytes < c->input_count ? chain->write_bytes : c->input_count;
    bool ok = vq_copy_out(q, chain, 0, c->input, n);
    vq_push(q, chain->head, ok ? n : 0);
    memmove(c->input, c->input + n, c->input_count - n);
    c->input_count -= (uint16_t)n;
}

static bool process_input(struct virtio_console *c)
{
    struct vq_chain chain;
    unsigned budget = VIRTIO_BUDGET;
    while (budget && c->input_count && virtio_pop(&c->v, QUEUE_INPUT, &chain)) {
        give_input(c, &chain);
        budget--;
    }
    virtio_signal(&c->v, QUEUE_INPUT);
    if (c->starved && c->input_count < INPUT_MAX / 2 && c->backend.readable) {
        c->starved = false;
        c->backend.readable(c->backend.opaque);
    }
    return c->input_count && (!budget || vq_listen(&c->v.queues[QUEUE_INPUT]));
}

static bool console_process(struct virtio_device *v, unsigned queue)
{
    return queue == QUEUE_INPUT ? process_input(console_of(v)) : process_output(console_of(v));
}

static void console_stopped(struct virtio_device *v) { console_of(v)->sent = 0; }

static const struct virtio_ops console_ops = { .id = 3, .class_code = 0x078000, .process = console_process, .stopped = console_stopped };

/* ---- the host side --------------------------------------------------------------------------------------------------------------------------------------------- */

static size_t frontend_receive(void *opaque, const uint8_t *data, size_t len)
{
    struct virtio_console *c = opaque;
    pthread_mutex_lock(&c->v.device.lock);
    size_t room = INPUT_MAX - (size_t)c->input_count, n = len < room ? len : room;
    memcpy(c->input + c->input_count, data, n);
    c->input_count += (uint16_t)n;
    c->starved = n < len;
    virtio_kick(&c->v, QUEUE_INPUT);
    pthread_mutex_unlock(&c->v.device.lock);
    return n;
}

static void frontend_writable(void *opaque)
{
    struct virtio_console *c = opaque;
    pthread_mutex_lock(&c->v.device.lock);
    virtio_kick(&c->v, QUEUE_OUTPUT);
    pthread_mutex_unlock(&c->v.device.lock);
}

struct stream_frontend virtio_console_frontend(struct device *d)
{
    return (struct stream_frontend){ frontend_receive, frontend_writable, container_of(d, struct virtio_console, v.device) };
}

static void store_size(struct virtio_console *c, uint16_t columns, uint16_t rows)
{
    store_le16(c->v.config, columns); /* struct virtio_console_config, 5.3.4 */
    store_le16(c->v.config + 2, rows);
    store_le32(c->v.config + 4, 1);   /* ports, without MULTIPORT */
}

void virtio_console_resize(struct device *d, uint16_t columns, uint16_t rows)
{
    struct virtio_console *c = container_of(d, struct virtio_console, v.device);
    pthread_mutex_lock(&d->lock);
    store_size(c, columns, rows);
    virtio_config_changed(&c->v);
    pthread_mutex_unlock(&d->lock);
}

/* ---- life --------------------------------------------------------------------------------------------------------------------------------------------------------- */

static int console_create(struct device *d, const void *config, struct err *err)
{
    struct virtio_console *c = container_of(d, struct virtio_console, v.device);
    const struct virtio_console_config *given = config;
    c->backend = given->backend;
    store_size(c, given->columns, given->rows);
    struct virtio_setup setup = {
        .ops = &console_ops, .features = given->columns ? F_SIZE : 0, .queues = QUEUES, .config_len = 12, .pci_host = given->pci_host, .slot = given->slot,
    };
    return virtio_create(&c->v, &setup, err);
}

static void console_destroy(struct device *d) { virtio_destroy(&container_of(d, struct virtio_console, v.device)->v); }

static void console_reset(struct device *d)
{
    struct virtio_console *c = container_of(d, struct virtio_console, v.device);
    virtio_device_reset(d);
    c->input_count = 0;
    if (c->starved && c->backend.readable)
        c->backend.readable(c->backend.opaque);
    c->starved = false;
}

static int console_loaded(struct device *d, struct err *err)
{
    struct virtio_console *c = container_of(d, struct virtio_console, v.device);
    if (c->input_count > INPUT_MAX)
        return err_set(err, ERR_INPUT, "saved state: more input than fits");
    memset(c->input + c->input_count, 0, INPUT_MAX - (size_t)c->input_count);
    return virtio_loaded(d, err);
}

/* What is behind the input must not be part of the state. */
static void console_saving(struct device *d)
{
    struct virtio_console *c = container_of(d, struct virtio_console, v.device);
    memset(c->input + c->input_count, 0, INPUT_MAX - (size_t)c->input_count);
    virtio_saving(d);
}

static const struct field console_fields[] = {
    VIRTIO_FIELDS(struct virtio_console, v),
    FIELD_BYTES(struct virtio_console, input, "input that the driver has not taken"),
    FIELD(struct virtio_console, input_count, "bytes of it"),
    FIELD(struct virtio_console, sent, "bytes of the next output chain that are gone"),
    FIELD_END,
};

const struct device_class virtio_console_class = {
    .name = "virtio-console",
    .summary = "console",
    .size = sizeof(struct virtio_console),
    .create = console_create,
    .destroy = console_destroy,
    .reset = console_reset,
    .fields = console_fields,
    .loaded = console_loaded,
    .saving = console_saving,
};
