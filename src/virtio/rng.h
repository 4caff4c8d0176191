/* SPDX-License-Identifier: MIT */
#ifndef VIRTIO_RNG_H
#define VIRTIO_RNG_H

#include "bus/device.h"

/* Entropy device (virtio 1.2 section 5.4): fills the driver's buffers from the host's getrandom(). A request gets at most 4 KiB; the driver asks again. */
extern const struct device_class virtio_rng_class;
struct virtio_rng_config {
    struct device *pci_host;
    unsigned slot;           /* PCI_SLOT_ANY */
    /* Where the bytes come from; NULL: the host. For tests. */
    void (*fill)(void *opaque, void *out, size_t len);
    void *opaque;
};

#endif
