/* SPDX-License-Identifier: MIT */
/* disk.h - the host side of a disk: requests in, completions out, whatever holds the bytes.
 *
 * A disk is opened, then started with the executor and lock of the device that uses it. Requests are the device's; it keeps their buffers in place until done() is
 * called. done() and batch() run with the lock held, on the executor or inside disk_drain(), never inside disk_submit().
 * Errors are negative errno values. A file that shrank, or a device that went away, gives errors, not signals: nothing is mapped.
 */
#ifndef STORAGE_DISK_H
#define STORAGE_DISK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"
#include "base/list.h"
#include "executor/executor.h"

#define DISK_SECTOR 512
#define DISK_SEGMENTS_MAX 128

struct disk;

enum disk_engine { DISK_ENGINE_AUTO, DISK_ENGINE_URING, DISK_ENGINE_THREADS };

struct disk_config {
    const char *path;         /* a raw image or a block device */
    bool readonly;
    enum disk_engine engine;  /* AUTO: io_uring where the host lets us */
};

enum disk_op { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_DISCARD, DISK_WRITE_ZEROES };

struct disk_request {
    enum disk_op op;
    bool unmap;               /* DISK_WRITE_ZEROES: the blocks may be given back       */
    uint64_t offset, len;     /* bytes, multiples of DISK_SECTOR, inside the disk      */
    struct iovec *iov;        /* READ, WRITE: `len` bytes in all; changed meanwhile     */
    unsigned iov_count;       /* 1 to DISK_SEGMENTS_MAX                                */
    void (*done)(struct disk_request *, int error); /* 0 or a negative errno           */
    /* the disk's own: */
    struct disk *disk;
    struct exec_offload offload;
    struct list node;
    uint64_t at;              /* bytes done so far         */
    int error;
    enum disk_place { DISK_REFUSED, DISK_IN_RING, DISK_ON_THREAD } place;
};

/* Opens and locks the image, so that nobody else writes what we use. One line of error otherwise: ERR_INPUT (the file), ERR_HOST (the host). */
int  disk_open(const struct disk_config *, struct disk **out, struct err *);
/* Connects it to its device. `batch` (may be NULL) is called after a number of done(). */
int  disk_start(struct disk *, struct executor *, pthread_mutex_t *lock, void (*batch)(void *opaque), void *opaque, struct err *);
/* No request may be under way: disk_drain() first. NULL is allowed. */
void disk_close(struct disk *);

uint64_t disk_sectors(const struct disk *);
bool disk_readonly(const struct disk *);
uint32_t disk_block_size(const struct disk *);       /* physical, bytes */
const char *disk_engine_name(const struct disk *);   /* "io_uring", "threads" */

/* With the lock held. A bad range completes with -EINVAL. disk_commit() sends what was submitted since the last one. */
void disk_submit(struct disk *, struct disk_request *);
void disk_commit(struct disk *);
void disk_drain(struct disk *);

/* ---- for back ends -------------------------------------------------------------------------------------------------------------------------------------- */

struct disk_ops {
    const char *engine;
    int  (*start)(struct disk *, struct err *);
    void (*submit)(struct disk *, struct disk_request *); /* a checked request */
    void (*commit)(struct disk *);                        /* NULL: submit sends */
    void (*wait)(struct disk *);                          /* completes at least one request that is DISK_IN_RING */
    void (*close)(struct disk *);
};

struct disk {
    const struct disk_ops *ops;
    uint64_t sectors;
    uint32_t block_size;
    bool readonly;
    struct executor *executor; /* NULL: not started */
    pthread_mutex_t *lock;
    void (*batch)(void *opaque);
    void *opaque;
    struct list under_way;     /* struct disk_request.node */
    struct exec_work refused;  /* completes what is DISK_REFUSED */
};

/* Runs `run` (which sets request.error) on a pool thread, then completes the request. */
void disk_request_offload(struct disk_request *, void (*run)(void *request));
/* Ends a request, with the lock held; the caller then calls disk_batch_done(). */
void disk_request_done(struct disk_request *, int error);
void disk_batch_done(struct disk *);

/* Locks the whole file, a disk or not, against others (and ourselves, opened twice). 0, or a negative errno: -EAGAIN somebody has it. One file per host family. */
int raw_lock(int fd, bool exclusive);

#endif
