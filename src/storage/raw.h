/* SPDX-License-Identifier: MIT */
/* raw.h - of this folder: a disk whose bytes are those of a file or block device, and the two ways to move them. */
#ifndef STORAGE_RAW_H
#define STORAGE_RAW_H

#include "storage/disk.h"

struct raw_disk {
    struct disk disk;
    int fd;
    struct uring *uring;      /* NULL: threads */
    bool may_uring;           /* the configuration does not forbid it */
    bool must_uring;
};

/* Runs a request on the calling thread, however long it takes: sets request.error. */
void raw_run(void *request);

/* io_uring. NULL with err set when the host refuses it. uring_stub.c on hosts without. */
struct uring *uring_new(struct raw_disk *, struct err *);
void uring_free(struct uring *);
void uring_submit(struct uring *, struct disk_request *);
void uring_commit(struct uring *);
void uring_wait(struct uring *);

#endif
