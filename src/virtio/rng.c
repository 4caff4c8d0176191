/* SPDX-License-Identifier: MIT */
#include "virtio/rng.h"

#include "base/random.h"
#include "virtio/device.h"

enum { REQUEST_MAX = 4096 };

struct virtio_rng {
    struct virtio_device v;
    struct virtio_rng_config config;
};

static bool fill(struct virtio_rng *rng, void *out, size_t len)
{
    if (rng->config.fill) {
        rng->config.fill(rng->config.opaque, out, len);
        return true;
    }
    for (uint8_t *to = out; len;) {
        size_t n = len < 256 ? len : 256; /* random_bytes() gives no more at a time */
        if (!random_bytes(to, n))
            return false;
        to += n;
        len -= n;
    }
    return true;
}

static bool rng_process(struct virtio_device *v, unsigned queue)
{
    struct virtio_rng *rng = container_of(v, struct virtio_rng, v);
    struct vq_chain chain;
    unsigned budget = VIRTIO_BUDGET;
    while (budget && virtio_pop(v, queue, &chain)) {
        uint8_t bytes[REQUEST_MAX];
        uint32_t len = chain.write_bytes < REQUEST_MAX ? chain.write_bytes : REQUEST_MAX;
        bool ok = fill(rng, bytes, len) && vq_copy_out(&v->queues[queue], &chain, 0, bytes, len);
        vq_push(&v->queues[queue], chain.head, ok ? len : 0);
        budget--;
    }
    virtio_signal(v, queue);
    return !budget || vq_listen(&v->queues[queue]);
}

static const struct virtio_ops rng_ops = { .id = 4, .class_code = 0x00ff00, .process = rng_process };

static int rng_create(struct device *d, const void *config, struct err *err)
{
    struct virtio_rng *rng = container_of(d, struct virtio_rng, v.device);
    rng->config = *(const struct virtio_rng_config *)config;
    struct virtio_setup setup = { .ops = &rng_ops, .queues = 1, .pci_host = rng->config.pci_host, .slot = rng->config.slot };
    return virtio_create(&rng->v, &setup, err);
}

static void rng_destroy(struct device *d) { virtio_destroy(&container_of(d, struct virtio_rng, v.device)->v); }

static const struct field rng_fields[] = { VIRTIO_FIELDS(struct virtio_rng, v), FIELD_END };

const struct device_class virtio_rng_class = {
    .name = "virtio-rng",
    .summary = "entropy source",
    .size = sizeof(struct virtio_rng),
    .create = rng_create,
    .destroy = rng_destroy,
    .reset = virtio_device_reset,
    .fields = rng_fields,
    .loaded = virtio_loaded,
    .saving = virtio_saving,
};
