/* SPDX-License-Identifier: MIT */
#ifndef VIRTIO_NET_H
#define VIRTIO_NET_H

#include "bus/device.h"
#include "network/net.h"

/* Network card (virtio 1.2 section 5.1): one pair of queues, MAC address, link status, mergeable receive buffers. No offloads: every frame is complete. */
extern const struct device_class virtio_net_class;
struct virtio_net_config {
    struct device *pci_host;
    unsigned slot;            /* PCI_SLOT_ANY                                                                */
    struct net_link *link;    /* opened, not started; the device starts and closes it, also when create fails */
    uint8_t mac[6];
};

#endif
