/* SPDX-License-Identifier: MIT */
#ifndef VIRTIO_CONSOLE_H
#define VIRTIO_CONSOLE_H

#include "bus/device.h"
#include "bus/stream.h"

/* Console device with one port (virtio 1.2 section 5.3): hvc0 in Linux. */
extern const struct device_class virtio_console_class;
struct virtio_console_config {
    struct device *pci_host;
    unsigned slot;                  /* PCI_SLOT_ANY */
    struct stream_backend backend;
    uint16_t columns, rows;         /* 0: not known */
};
struct stream_frontend virtio_console_frontend(struct device *);
/* The terminal has another size now. Any thread. */
void virtio_console_resize(struct device *, uint16_t columns, uint16_t rows);

#endif
