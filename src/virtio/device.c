/* SPDX-License-Identifier: MIT */
/* device.c - the life of a virtio device, whatever its transport (virtio 1.2 sections 2.1, 2.2, 2.4, 3.1).
 *
 * Trust: the driver may write status, features and queue registers in any order. Features are frozen by FEATURES_OK, a queue's registers by queue_enable. Nothing is processed
 * before DRIVER_OK. A fault sets DEVICE_NEEDS_RESET and stops all queues; only a reset gets the device out of it.
 * A reset ends, and a save begins, when no request is under way, so nothing of the host's touches guest memory after the driver has seen status 0.
 */
#include "virtio/device.h"

#include <string.h>

#define RING_FEATURES (VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1 | VIRTIO_F_RING_RESET)

/* What the driver may set; the other bits are the device's or do not exist. */
#define DRIVER_BITS (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK | VIRTIO_FAILED)

static struct virtio_device *virtio_of(struct device *d) { return container_of(d, struct virtio_device, device); }

bool virtio_has(const struct virtio_device *v, uint64_t feature) { return (v->accepted & feature) == feature; }

bool virtio_queue_running(const struct virtio_device *v, unsigned queue)
{
    return (v->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) == VIRTIO_DRIVER_OK && queue < v->queue_count && v->vq[queue].enabled &&
           !v->queues[queue].broken && !v->resetting && !(v->resetting_queues >> queue & 1) && pci_is_bus_master(&v->pci);
}

void virtio_needs_reset(struct virtio_device *v, const char *why)
{
    if (v->status & VIRTIO_NEEDS_RESET)
        return;
    log_guest(v->device.services.log, v->device.id, "the driver gave %s; the device needs a reset", why);
    v->status |= VIRTIO_NEEDS_RESET;
    if (v->status & VIRTIO_DRIVER_OK)
        virtio_interrupt_config(v); /* 2.1.2 */
}

void virtio_config_changed(struct virtio_device *v)
{
    v->config_generation++;
    if (v->status & VIRTIO_DRIVER_OK)
        virtio_interrupt_config(v);
}

/* ---- queues --------------------------------------------------------------------------------------------------------------------------------------------------------- */

static void process_queue(void *opaque)
{
    struct virtio_queue_work *w = opaque;
    struct virtio_device *v = w->owner;
    if (virtio_queue_running(v, w->index) && v->ops->process(v, w->index))
        exec_work_post(&w->work);
}

void virtio_kick(struct virtio_device *v, unsigned queue)
{
    if (virtio_queue_running(v, queue))
        exec_work_post(&v->works[queue].work);
}

bool virtio_pop(struct virtio_device *v, unsigned queue, struct vq_chain *chain)
{
    int r = vq_pop(&v->queues[queue], chain);
    if (r < 0)
        virtio_needs_reset(v, v->queues[queue].fault);
    return r > 0;
}

void virtio_signal(struct virtio_device *v, unsigned queue)
{
    struct virtqueue *q = &v->queues[queue];
    if (q->broken)
        virtio_needs_reset(v, q->fault);
    else if (vq_should_signal(q))
        virtio_interrupt_queue(v, queue);
}

static void start_queue(struct virtio_device *v, unsigned queue)
{
    struct virtqueue *q = &v->queues[queue];
    q->event_index = virtio_has(v, VIRTIO_F_EVENT_IDX);
    q->indirect = virtio_has(v, VIRTIO_F_INDIRECT_DESC);
    q->broken = false;
    vq_start(q);
}

void virtio_enable_queue(struct virtio_device *v, unsigned queue)
{
    struct err err = ERR_NONE;
    if (v->vq[queue].enabled || !(v->status & VIRTIO_FEATURES_OK))
        return;
    if (vq_check(&v->queues[queue], &err)) {
        virtio_needs_reset(v, err.text);
        return;
    }
    v->vq[queue].enabled = 1;
    start_queue(v, queue);
    virtio_kick(v, queue);
}

static bool busy(struct virtio_device *v) { return v->ops->busy && v->ops->busy(v); }

static void drain(struct virtio_device *v)
{
    if (v->ops->drain)
        v->ops->drain(v);
}

static void reset_queue_now(struct virtio_device *v, unsigned queue)
{
    exec_work_cancel(&v->works[queue].work);
    vq_reset(&v->queues[queue], v->queue_size);
}

void virtio_reset_queue(struct virtio_device *v, unsigned queue)
{
    if (!virtio_has(v, VIRTIO_F_RING_RESET) || !v->vq[queue].enabled)
        return;
    v->resetting_queues |= (uint16_t)(1u << queue);
    virtio_idle(v);
}

/* ---- status ---------------------------------------------------------------------------------------------------------------------------------------------------------- */

static void reset(struct virtio_device *v)
{
    if (v->ops->stopped)
        v->ops->stopped(v);
    for (unsigned i = 0; i < v->queue_count; i++)
        reset_queue_now(v, i);
    v->accepted = 0;
    v->offered_select = v->accepted_select = 0;
    v->queue_select = 0;
    v->config_vector = VQ_NO_VECTOR;
    v->status = 0;
    v->isr = 0;
    v->resetting = false;
    v->resetting_queues = 0;
    pci_intx_set(&v->pci, false);
}

void virtio_idle(struct virtio_device *v)
{
    if ((!v->resetting && !v->resetting_queues) || busy(v))
        return;
    if (v->resetting)
        reset(v);
    for (unsigned i = 0; v->resetting_queues; i++) {
        if (v->resetting_queues >> i & 1)
            reset_queue_now(v, i);
        v->resetting_queues &= (uint16_t)~(1u << i);
    }
}

static void start(struct virtio_device *v)
{
    if (v->ops->started)
        v->ops->started(v);
    for (unsigned i = 0; i < v->queue_count; i++)
        virtio_kick(v, i); /* what was made available before */
}

static bool features_ok(const struct virtio_device *v) { return !(v->accepted & ~v->offered) && virtio_has(v, VIRTIO_F_VERSION_1); }

/* Bits are only added, until all are taken away. */
void virtio_write_status(struct virtio_device *v, uint8_t status)
{
    if (!status || v->resetting) {
        v->resetting = true;
        virtio_idle(v);
        return;
    }
    uint8_t before = v->status;
    status = (status & DRIVER_BITS) | before;
    if (!(before & VIRTIO_FEATURES_OK) && status & VIRTIO_FEATURES_OK && !features_ok(v))
        status &= (uint8_t)~VIRTIO_FEATURES_OK; /* the driver reads it back, 3.1.1 step 6 */
    if (!(status & VIRTIO_FEATURES_OK))
        status &= (uint8_t)~VIRTIO_DRIVER_OK;
    v->status = status;
    if (~before & status & VIRTIO_DRIVER_OK)
        start(v);
}

/* ---- life --------------------------------------------------------------------------------------------------------------------------------------------------------------- */

int virtio_create(struct virtio_device *v, const struct virtio_setup *setup, struct err *err)
{
    if (setup->queues > VIRTIO_QUEUES_MAX || setup->config_len > VIRTIO_CONFIG_MAX || setup->queue_size > VQ_SIZE_MAX)
        return err_set(err, ERR_INTERNAL, "too many queues or configuration bytes");
    v->ops = setup->ops;
    v->offered = setup->features | RING_FEATURES;
    v->queue_count = setup->queues;
    v->config_len = setup->config_len;
    v->queue_size = setup->queue_size ? setup->queue_size : 256;
    for (unsigned i = 0; i < v->queue_count; i++) {
        v->queues[i] = (struct virtqueue){ .state = &v->vq[i], .memory = v->device.services.memory };
        vq_reset(&v->queues[i], v->queue_size);
        v->works[i].owner = v;
        v->works[i].index = i;
        exec_work_init(&v->works[i].work, v->device.services.executor, &v->device.lock, process_queue, &v->works[i]);
    }
    return virtio_pci_create(v, setup, err);
}

void virtio_destroy(struct virtio_device *v)
{
    pci_detach(&v->pci);
    for (unsigned i = 0; i < v->queue_count; i++)
        exec_work_cancel(&v->works[i].work);
}

void virtio_device_reset(struct device *d)
{
    struct virtio_device *v = virtio_of(d);
    drain(v);
    reset(v);
    v->config_generation = 0;
    pci_function_reset(&v->pci);
}

void virtio_saving(struct device *d) { drain(virtio_of(d)); }

static int check_loaded(struct virtio_device *v, struct err *err)
{
    const uint8_t known = DRIVER_BITS | VIRTIO_NEEDS_RESET;
    bool ok = v->status & VIRTIO_FEATURES_OK;
    if (v->status & (uint8_t)~known || (ok && !features_ok(v)) || (v->status & VIRTIO_DRIVER_OK && !ok) || v->isr > 3)
        return err_set(err, ERR_INPUT, "saved state: device status or features that cannot be");
    for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
        struct vq_state *s = &v->vq[i];
        if (s->enabled > 1 || s->signalled_valid > 1 || s->reserved || (s->enabled && (i >= v->queue_count || !ok)))
            return err_set(err, ERR_INPUT, "saved state: queue %u cannot be", i);
        if (s->enabled && vq_check(&v->queues[i], err))
            return err_add(err, "saved state: queue %u", i);
    }
    return 0;
}

int virtio_loaded(struct device *d, struct err *err)
{
    struct virtio_device *v = virtio_of(d);
    for (unsigned i = 0; i < v->queue_count; i++)
        v->queues[i].size_max = v->queue_size;
    int r = check_loaded(v, err);
    if (r)
        return r;
    pci_function_loaded(&v->pci);
    for (unsigned i = 0; i < v->queue_count; i++)
        start_queue(v, i);
    if (v->status & VIRTIO_DRIVER_OK)
        start(v);
    return 0;
}
