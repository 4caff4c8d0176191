/* SPDX-License-Identifier: MIT */
#ifndef VIRTIO_BLK_H
#define VIRTIO_BLK_H

#include "bus/device.h"
#include "storage/disk.h"

/* Block device (virtio 1.2 section 5.2): read, write, flush, discard, write-zeroes, get-id; read-only where the disk is. Without FLUSH negotiated every write is
 * flushed before it completes. */
extern const struct device_class virtio_blk_class;
struct virtio_blk_config {
    struct device *pci_host;
    unsigned slot;            /* PCI_SLOT_ANY                                                                      */
    struct disk *disk;        /* opened, not started; the device starts it and closes it, also when create fails    */
    unsigned queues;          /* 1 to 16; 0: 1                                                                      */
    const char *serial;       /* what GET_ID gives, cut to 20 bytes; NULL: the device's id                          */
};

#endif
