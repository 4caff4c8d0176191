/* SPDX-License-Identifier: MIT */
/* device.h - what every virtio device has: features, status, queues, configuration bytes, and its PCI function (virtio 1.2 chapters 2 to 4).
 *
 * A device is a structure that begins with struct virtio_device, and a struct virtio_ops. Its work is in ops->process(), which runs on the device's executor with the device's lock
 * held, when the driver has notified a queue, and never before the driver is ready (DRIVER_OK). When requests are still under way as the driver resets the device or a queue,
 * the reset is over, and reads so, when they have ended and the device calls virtio_idle(): a vCPU's thread, which may not do I/O, does not wait. A save and a reset of the machine
 * wait for them in ops->drain().
 */
#ifndef VIRTIO_DEVICE_H
#define VIRTIO_DEVICE_H

#include "bus/device.h"
#include "executor/executor.h"
#include "pci/pci.h"
#include "virtio/queue.h"

enum {
    VIRTIO_QUEUES_MAX = 16,
    VIRTIO_CONFIG_MAX = 64,
    VIRTIO_BUDGET     = 64,   /* chains that process() takes at a time, so that one queue does not hold the executor */
};

enum virtio_status { /* 2.1 */
    VIRTIO_ACKNOWLEDGE = 1, VIRTIO_DRIVER = 2, VIRTIO_DRIVER_OK = 4, VIRTIO_FEATURES_OK = 8, VIRTIO_NEEDS_RESET = 64, VIRTIO_FAILED = 128,
};

#define VIRTIO_F_INDIRECT_DESC BIT(28) /* chapter 6 */
#define VIRTIO_F_EVENT_IDX     BIT(29)
#define VIRTIO_F_VERSION_1     BIT(32)
#define VIRTIO_F_RING_RESET    BIT(40)

struct virtio_device;

struct virtio_ops {
    uint16_t id;                /* chapter 5                                     */
    uint32_t class_code;        /* of the PCI function                           */
    /* Takes chains of a queue that is running. True: the budget is spent and there may be more. */
    bool (*process)(struct virtio_device *, unsigned queue);
    void (*started)(struct virtio_device *);                       /* the driver is ready, or a state was loaded in which it is. NULL: nothing to do       */
    bool (*busy)(struct virtio_device *);                          /* a request is under way. NULL: none ever is after process() has returned            */
    void (*drain)(struct virtio_device *);                         /* waits until none is; on the main thread only. NULL as busy                          */
    void (*stopped)(struct virtio_device *);                       /* reset: forget what was queued inside. NULL: nothing                                  */
    void (*config_written)(struct virtio_device *, unsigned offset, unsigned size); /* NULL: read-only. Called after the bytes were stored                */
};

struct virtio_queue_work { struct exec_work work; struct virtio_device *owner; unsigned index; };

struct virtio_device {
    struct device device;
    struct pci_function pci;
    const struct virtio_ops *ops;
    uint64_t offered;                       /* features                              */
    unsigned queue_count, config_len;
    struct virtqueue queues[VIRTIO_QUEUES_MAX];
    struct virtio_queue_work works[VIRTIO_QUEUES_MAX];
    unsigned pci_cfg_at;                    /* offset of the PCI_CFG capability      */
    uint16_t queue_size;
    bool resetting;                         /* as soon as nothing is under way       */
    uint16_t resetting_queues;              /* the same, a bit each                  */
    uint8_t  config[VIRTIO_CONFIG_MAX];     /* as the driver reads it; not saved: it follows from how the device was made */

    /* Saved: VIRTIO_FIELDS. */
    uint64_t accepted;                      /* features that the driver wrote        */
    uint32_t offered_select, accepted_select;
    uint16_t queue_select, config_vector;
    uint8_t  status, isr, config_generation;
    struct vq_state vq[VIRTIO_QUEUES_MAX];
};

#define VIRTIO_FIELDS(type, v)                                                                  \
    PCI_FUNCTION_FIELDS(type, v.pci),                                                           \
    FIELD(type, v.accepted, "features accepted by the driver"),                                 \
    FIELD(type, v.offered_select, "device_feature_select"),                                     \
    FIELD(type, v.accepted_select, "driver_feature_select"),                                    \
    FIELD(type, v.queue_select, "queue_select"),                                                \
    FIELD(type, v.config_vector, "config_msix_vector"),                                         \
    FIELD(type, v.status, "device status"),                                                     \
    FIELD(type, v.isr, "interrupt status"),                                                     \
    FIELD(type, v.config_generation, "config_generation"),                                      \
    FIELD_BYTES(type, v.vq, "queues: addresses, size, vector, indices")

struct virtio_setup {
    const struct virtio_ops *ops;
    uint64_t features;          /* of the device type; those of the rings are added */
    unsigned queues, config_len;
    uint16_t queue_size;        /* a power of two; 0: 256  */
    struct device *pci_host;
    unsigned slot;              /* PCI_SLOT_ANY            */
};

/* At the end of create(): from then on the guest sees it. `config` should be filled in already. */
int  virtio_create(struct virtio_device *, const struct virtio_setup *, struct err *);
/* For the class: destroy() first cancels the device's own works; then this. Harmless on one that was not created. */
void virtio_destroy(struct virtio_device *);
void virtio_device_reset(struct device *);
int  virtio_loaded(struct device *, struct err *);
void virtio_saving(struct device *);

bool virtio_has(const struct virtio_device *, uint64_t feature);        /* negotiated */
bool virtio_queue_running(const struct virtio_device *, unsigned queue); /* the driver is ready, the queue is enabled and sound, and DMA is allowed */
/* vq_pop() that turns a fault into DEVICE_NEEDS_RESET. True: taken. */
bool virtio_pop(struct virtio_device *, unsigned queue, struct vq_chain *);
/* Interrupts the driver for what was pushed, where it wants that. */
void virtio_signal(struct virtio_device *, unsigned queue);
void virtio_kick(struct virtio_device *, unsigned queue);               /* has process() called soon */
void virtio_needs_reset(struct virtio_device *, const char *why);
void virtio_idle(struct virtio_device *);                               /* nothing is under way any more: ends a reset that waits for it */
void virtio_config_changed(struct virtio_device *);

/* ---- of this folder: between device.c and the transport -------------------------------------------------------------------------------------------------------- */

int  virtio_pci_create(struct virtio_device *, const struct virtio_setup *, struct err *);
void virtio_interrupt_queue(struct virtio_device *, unsigned queue);
void virtio_interrupt_config(struct virtio_device *);
void virtio_write_status(struct virtio_device *, uint8_t status);
void virtio_enable_queue(struct virtio_device *, unsigned queue);
void virtio_reset_queue(struct virtio_device *, unsigned queue);

#endif
