/* SPDX-License-Identifier: MIT */
/* net.c - the network card (virtio 1.2 section 5.1).
 *
 * A frame is copied once between its chain and a buffer of ours: FRAME_MAX bytes, behind the 12-byte header that is always there with VERSION_1.
 * Transmit: what asks for an offload, which was not offered, or is too long or too short is dropped. While the host side takes no more, the chain stays in the ring.
 * Receive: a frame that finds no buffers stays with the host side until the driver gives some; one that does not fit the driver's buffers is dropped. With
 * MRG_RXBUF a frame may take up to MERGE_MAX chains, which the driver sees at once.
 */
#include "virtio/net.h"

#include <string.h>

#include "virtio/device.h"

enum { QUEUE_RECEIVE, QUEUE_TRANSMIT, QUEUES };
enum { HEADER_BYTES = 12, NUM_BUFFERS_AT = 10, FRAME_MIN = 14, FRAME_MAX = 9018, MERGE_MAX = 64 };
#define F_MAC       BIT(5) /* 5.1.3 */
#define F_MRG_RXBUF BIT(15)
#define F_STATUS    BIT(16)
#define LINK_UP     1      /* 5.1.4 */

struct virtio_net {
    struct virtio_device v;
    struct net_link *link;
    bool starved;            /* a frame waits at the host side for buffers */
    struct vq_chain first;   /* of the frame being received: its header is filled in last */
    uint8_t frame[HEADER_BYTES + FRAME_MAX];
};

static struct virtio_net *net_of(struct virtio_device *v) { return container_of(v, struct virtio_net, v); }

/* ---- transmit --------------------------------------------------------------------------------------------------------------------------------------------------- */

/* False: the host side takes no more now. */
static bool transmit(struct virtio_net *net, const struct vq_chain *c)
{
    uint32_t len = c->read_bytes;
    if (len < HEADER_BYTES + FRAME_MIN || len > sizeof net->frame || !vq_copy_in(&net->v.queues[QUEUE_TRANSMIT], c, 0, net->frame, len))
        return true;
    if (net->frame[0] || net->frame[1]) /* flags, gso_type: checksum or segmentation by us, 5.1.6.2 */
        return true;
    return net_send(net->link, net->frame + HEADER_BYTES, len - HEADER_BYTES);
}

static bool process_transmit(struct virtio_net *net)
{
    struct virtqueue *q = &net->v.queues[QUEUE_TRANSMIT];
    struct vq_chain chain;
    unsigned budget = VIRTIO_BUDGET;
    vq_quiet(q);
    for (; budget && virtio_pop(&net->v, QUEUE_TRANSMIT, &chain); budget--) {
        if (!transmit(net, &chain)) {
            vq_unpop(q, 1);
            virtio_signal(&net->v, QUEUE_TRANSMIT);
            return false; /* writable() goes on */
        }
        vq_push(q, chain.head, 0);
    }
    virtio_signal(&net->v, QUEUE_TRANSMIT);
    return virtio_queue_running(&net->v, QUEUE_TRANSMIT) && (!budget || vq_listen(q));
}

static void link_writable(void *opaque)
{
    struct virtio_net *net = opaque;
    virtio_kick(&net->v, QUEUE_TRANSMIT);
}

/* ---- receive ------------------------------------------------------------------------------------------------------------------------------------------------------ */

enum placed { PLACED, NO_BUFFERS, UNFIT };

/* Puts frame[0, total) into chains and fills their used entries; *used counts them. */
static enum placed place(struct virtio_net *net, uint32_t total, uint16_t *used)
{
    struct virtqueue *q = &net->v.queues[QUEUE_RECEIVE];
    unsigned most = virtio_has(&net->v, F_MRG_RXBUF) ? MERGE_MAX : 1;
    struct vq_chain chain;
    *used = 0;
    for (uint32_t at = 0; at < total; ++*used) {
        if (*used == most)
            return UNFIT;
        if (!virtio_pop(&net->v, QUEUE_RECEIVE, &chain))
            return q->broken ? UNFIT : NO_BUFFERS;
        uint32_t n = total - at < chain.write_bytes ? total - at : chain.write_bytes;
        if (!*used) {
            net->first = chain;
            if (n < HEADER_BYTES)
                return ++*used, UNFIT;
        }
        vq_copy_out(q, &chain, 0, net->frame + at, n); /* no memory there: the driver's loss */
        vq_fill(q, *used, chain.head, n);
        at += n;
    }
    return PLACED;
}

static bool link_receive(void *opaque, const uint8_t *frame, size_t len)
{
    struct virtio_net *net = opaque;
    struct virtqueue *q = &net->v.queues[QUEUE_RECEIVE];
    uint16_t used;
    if (!virtio_queue_running(&net->v, QUEUE_RECEIVE) || len > FRAME_MAX)
        return true;
    memset(net->frame, 0, HEADER_BYTES);
    memcpy(net->frame + HEADER_BYTES, frame, len);
    enum placed placed = place(net, HEADER_BYTES + (uint32_t)len, &used);
    if (placed == PLACED) {
        uint8_t count[2];
        store_le16(count, used);
        vq_copy_out(q, &net->first, NUM_BUFFERS_AT, count, sizeof count);
        vq_publish(q, used);
        return true;
    }
    vq_unpop(q, used);
    if (placed == UNFIT)
        return true;
    net->starved = true;
    if (vq_listen(q))
        virtio_kick(&net->v, QUEUE_RECEIVE);
    return false;
}

static void link_batch(void *opaque)
{
    struct virtio_net *net = opaque;
    if (virtio_queue_running(&net->v, QUEUE_RECEIVE))
        virtio_signal(&net->v, QUEUE_RECEIVE);
}

/* The driver has given buffers. */
static bool process_receive(struct virtio_net *net)
{
    vq_quiet(&net->v.queues[QUEUE_RECEIVE]);
    if (net->starved) {
        net->starved = false;
        net_resume(net->link);
    }
    return false;
}

static bool net_process(struct virtio_device *v, unsigned queue) { return queue == QUEUE_RECEIVE ? process_receive(net_of(v)) : process_transmit(net_of(v)); }

/* After a reset nothing waits for buffers: a frame that is held goes, since the queue does not run. */
static void net_stopped(struct virtio_device *v)
{
    struct virtio_net *net = net_of(v);
    if (net->starved && net->link) {
        net->starved = false;
        v->status = 0;
        net_resume(net->link);
    }
}

static void link_lost(void *opaque)
{
    struct virtio_net *net = opaque;
    log_line(net->v.device.services.log, LOG_ERROR, "%s: the network process has ended; the link is down", net->v.device.id);
    store_le16(net->v.config + 6, 0);
    virtio_config_changed(&net->v);
}

static const struct virtio_ops net_ops = { .id = 1, .class_code = 0x020000, .process = net_process, .stopped = net_stopped };

/* ---- life -------------------------------------------------------------------------------------------------------------------------------------------------------------- */

static int net_create(struct device *d, const void *config, struct err *err)
{
    struct virtio_net *net = container_of(d, struct virtio_net, v.device);
    const struct virtio_net_config *c = config;
    const struct net_client client = { link_receive, link_batch, link_writable, link_lost, net };
    net->link = c->link;
    memcpy(net->v.config, c->mac, 6); /* struct virtio_net_config, 5.1.4 */
    store_le16(net->v.config + 6, LINK_UP);
    store_le16(net->v.config + 8, 1); /* queue pairs */
    store_le16(net->v.config + 10, 1500);
    struct virtio_setup setup = {
        .ops = &net_ops, .features = F_MAC | F_MRG_RXBUF | F_STATUS, .queues = QUEUES, .config_len = 12, .pci_host = c->pci_host, .slot = c->slot,
    };
    int r = virtio_create(&net->v, &setup, err);
    return r ? r : net_start(net->link, d->services.executor, &d->lock, &client, err);
}

static void net_destroy(struct device *d)
{
    struct virtio_net *net = container_of(d, struct virtio_net, v.device);
    virtio_destroy(&net->v);
    net_close(net->link);
}

/* Frames that arrive before the driver gives buffers again wait for a notification, which a loaded ring may not send: look at once. */
static int net_loaded(struct device *d, struct err *err)
{
    container_of(d, struct virtio_net, v.device)->starved = true;
    return virtio_loaded(d, err);
}

static const struct field net_fields[] = { VIRTIO_FIELDS(struct virtio_net, v), FIELD_END };

const struct device_class virtio_net_class = {
    .name = "virtio-net",
    .summary = "network card",
    .size = sizeof(struct virtio_net),
    .create = net_create,
    .destroy = net_destroy,
    .reset = virtio_device_reset,
    .fields = net_fields,
    .loaded = net_loaded,
    .saving = virtio_saving,
};
