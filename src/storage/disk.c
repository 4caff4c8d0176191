/* SPDX-License-Identifier: MIT */
#include "storage/disk.h"

#include <errno.h>

#include "base/checked.h"

uint64_t disk_sectors(const struct disk *d) { return d->sectors; }
bool disk_readonly(const struct disk *d) { return d->readonly; }
uint32_t disk_block_size(const struct disk *d) { return d->block_size; }
const char *disk_engine_name(const struct disk *d) { return d->ops->engine; }

static int check(const struct disk *d, const struct disk_request *r)
{
    uint64_t iov_bytes = 0;
    if (r->op == DISK_FLUSH)
        return 0;
    if (r->op != DISK_READ && d->readonly)
        return -EROFS;
    if (r->offset % DISK_SECTOR || r->len % DISK_SECTOR || !range_inside(r->offset, r->len, d->sectors * DISK_SECTOR))
        return -EINVAL;
    if (r->op != DISK_READ && r->op != DISK_WRITE)
        return 0;
    for (unsigned i = 0; i < r->iov_count; i++)
        iov_bytes += r->iov[i].iov_len;
    return iov_bytes == r->len && r->iov_count <= DISK_SEGMENTS_MAX ? 0 : -EINVAL;
}

void disk_batch_done(struct disk *d)
{
    if (d->batch)
        d->batch(d->opaque);
}

void disk_request_done(struct disk_request *r, int error)
{
    list_remove(&r->node);
    r->done(r, error);
}

static void offload_done(void *opaque)
{
    struct disk_request *r = opaque;
    struct disk *d = r->disk;
    disk_request_done(r, r->error);
    disk_batch_done(d);
}

void disk_request_offload(struct disk_request *r, void (*run)(void *))
{
    struct disk *d = r->disk;
    r->place = DISK_ON_THREAD;
    exec_offload_init(&r->offload, d->executor, d->lock, run, offload_done, r);
    if (exec_offload_start(&r->offload, NULL) == 0)
        return;
    r->place = DISK_REFUSED;
    r->error = -EAGAIN;
    exec_work_post(&d->refused);
}

static void complete_refused(void *opaque)
{
    struct disk *d = opaque;
    bool any = false;
    list_for_each(node, &d->under_way) {
        struct disk_request *r = list_entry(node, struct disk_request, node);
        if (r->place != DISK_REFUSED)
            continue;
        disk_request_done(r, r->error); /* may append, which is seen later */
        any = true;
        break;
    }
    if (!any)
        return;
    disk_batch_done(d);
    exec_work_post(&d->refused);
}

int disk_start(struct disk *d, struct executor *executor, pthread_mutex_t *lock, void (*batch)(void *), void *opaque, struct err *err)
{
    d->executor = executor;
    d->lock = lock;
    d->batch = batch;
    d->opaque = opaque;
    list_init(&d->under_way);
    exec_work_init(&d->refused, executor, lock, complete_refused, d);
    return d->ops->start ? d->ops->start(d, err) : 0;
}

void disk_submit(struct disk *d, struct disk_request *r)
{
    r->disk = d;
    r->at = 0;
    r->place = DISK_REFUSED;
    r->error = check(d, r);
    list_append(&d->under_way, &r->node);
    if (r->error)
        exec_work_post(&d->refused);
    else
        d->ops->submit(d, r);
}

void disk_commit(struct disk *d)
{
    if (d->ops->commit)
        d->ops->commit(d);
}

/* done() may submit again (a flush after a write), so this looks until nothing is left. */
void disk_drain(struct disk *d)
{
    if (!d->executor)
        return;
    disk_commit(d);
    while (!list_empty(&d->under_way)) {
        struct disk_request *r = list_entry(d->under_way.next, struct disk_request, node);
        switch (r->place) {
        case DISK_ON_THREAD: exec_offload_finish(&r->offload); break;
        case DISK_IN_RING: d->ops->wait(d); break;
        case DISK_REFUSED:
            disk_request_done(r, r->error);
            disk_batch_done(d);
        }
        disk_commit(d);
    }
    exec_work_cancel(&d->refused);
}

void disk_close(struct disk *d)
{
    if (!d)
        return;
    if (d->executor)
        exec_work_cancel(&d->refused);
    d->ops->close(d);
}
