/* SPDX-License-Identifier: MIT */
/* queue.h - split virtqueues (virtio 1.2 section 2.7), device side, over memory that a hostile guest changes at any moment.
 *
 * Everything is fetched once, checked, then used. The addresses and the size are frozen while the queue is enabled. A chain has at most VQ_SEGS_MAX segments and
 * VQ_CHAIN_BYTES_MAX bytes; at most `size` chains are out at a time. What breaks a rule makes the queue broken for good: vq_pop() returns ERR_INPUT with the
 * reason, and the device must be reset.
 * Locking: the device's lock.
 */
#ifndef VIRTIO_QUEUE_H
#define VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"
#include "memory/memory.h"

enum {
    VQ_SIZE_MAX        = 1024,
    VQ_SEGS_MAX        = 128,
    VQ_CHAIN_BYTES_MAX = 256 << 20,
    VQ_NO_VECTOR       = 0xffff,  /* VIRTIO_MSI_NO_VECTOR */
};

struct vq_segment { uint64_t gpa; uint32_t len; };

/* A request of the driver's: what the device may read comes first. */
struct vq_chain {
    uint16_t head;
    uint16_t reads, writes;               /* segments: segs[0, reads) and segs[reads, reads + writes) */
    uint32_t read_bytes, write_bytes;
    struct vq_segment segs[VQ_SEGS_MAX];
};

/* The saved part, without padding. */
struct vq_state {
    uint64_t descriptors, available, used;  /* guest-physical: 2.7.5, 2.7.6, 2.7.8 */
    uint16_t size, vector;
    uint16_t next_available;                /* the next entry of the available ring to take, modulo 2^16 */
    uint16_t next_used;
    uint16_t signalled;                     /* value of next_used when the driver was last told           */
    uint8_t  signalled_valid, enabled;
    uint32_t reserved;
};

struct virtqueue {
    struct vq_state *state;
    struct mem_map *memory;
    uint16_t size_max;
    bool event_index, indirect;             /* negotiated */
    bool broken;
    uint16_t available_seen;                /* the last available index fetched */
    uint16_t outstanding;                   /* chains popped and not pushed     */
    const char *fault;                      /* why it is broken                 */
};

/* Back to power-on; `size` is what the driver finds as the queue's size. */
void vq_reset(struct virtqueue *, uint16_t size);
/* Is what the driver set up usable? ERR_INPUT with the reason otherwise. */
int  vq_check(const struct virtqueue *, struct err *);
/* Before use after enabling or loading. */
void vq_start(struct virtqueue *);

/* Takes the next chain. 1: taken; 0: the ring is empty; ERR_INPUT: the queue is broken, see `fault`. */
int  vq_pop(struct virtqueue *, struct vq_chain *);
/* Gives back the last `count` chains popped, which nothing was done with. */
void vq_unpop(struct virtqueue *, uint16_t count);
/* Returns a chain with `written` bytes in its writable segments. */
void vq_push(struct virtqueue *, uint16_t head, uint32_t written);
/* The same for several that the driver must see at once: fill each (index 0, 1, ...), then publish. */
void vq_fill(struct virtqueue *, uint16_t index, uint16_t head, uint32_t written);
void vq_publish(struct virtqueue *, uint16_t count);
/* Must the driver be interrupted for what was pushed since the last call? (2.7.7, 2.7.10) */
bool vq_should_signal(struct virtqueue *);
/* Asks the driver for no notifications while the device polls; and for them again: true when there is something in the ring already. */
void vq_quiet(struct virtqueue *);
bool vq_listen(struct virtqueue *);

/* Copies between a buffer and the chain's readable or writable bytes, from `offset`. False: out of range, or the memory is not there. */
bool vq_copy_in(struct virtqueue *, const struct vq_chain *, uint32_t offset, void *out, uint32_t len);
bool vq_copy_out(struct virtqueue *, const struct vq_chain *, uint32_t offset, const void *data, uint32_t len);
/* Pins [offset, offset + len) of the readable (access MEM_R) or writable (MEM_W) bytes for I/O by the host. Returns the number of pieces, at most VQ_SEGS_MAX, each with a pin and
 * an iovec; -1 when the memory is not there or lies in more pieces (nothing is pinned then). */
int  vq_pin(struct virtqueue *, const struct vq_chain *, uint32_t access, uint32_t offset, uint32_t len, struct mem_pin *pins, struct iovec *iov);

#endif
