/* SPDX-License-Identifier: MIT */
/* uring.c - a ring for each disk; completions arrive by an eventfd that the device's executor watches.
 *
 * What does not fit the ring waits in `waiting` and goes out as completions make room, so the completion ring never overflows. A short read or write is sent again for
 * the rest; one of zero bytes is the end of a file that shrank. When the kernel takes no more requests, those and all later ones go to threads.
 * Locking: all under the device's lock.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bits.h"
#include "storage/raw.h"

enum { ENTRIES = 128, TRIES = 16 };

struct uring {
    struct io_uring ring;
    struct raw_disk *raw;
    struct exec_watch watch;
    int event;
    unsigned in_ring;          /* those of `unsent` included */
    struct disk_request *unsent[ENTRIES];
    unsigned unsent_count;
    bool refused;              /* the kernel takes no more: what lies unsent in the ring stays there */
    struct disk_request *waiting[4096]; /* a circle; more are refused */
    unsigned first, count;
};

static void prepare(struct uring *u, struct io_uring_sqe *sqe, struct disk_request *r)
{
    int fd = u->raw->fd;
    uint64_t at = r->offset + r->at;
    switch (r->op) {
    case DISK_READ: io_uring_prep_readv(sqe, fd, r->iov, r->iov_count, at); break;
    case DISK_WRITE: io_uring_prep_writev(sqe, fd, r->iov, r->iov_count, at); break;
    default: io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC); break;
    }
    io_uring_sqe_set_data(sqe, r);
    u->in_ring++;
    u->unsent[u->unsent_count++] = r;
}

/* False: the ring is full. */
static bool enter(struct uring *u, struct disk_request *r)
{
    struct io_uring_sqe *sqe = u->in_ring < ENTRIES ? io_uring_get_sqe(&u->ring) : NULL;
    if (!sqe)
        return false;
    prepare(u, sqe, r);
    return true;
}

void uring_submit(struct uring *u, struct disk_request *r)
{
    r->place = DISK_IN_RING;
    if (!u->refused && !u->count && enter(u, r))
        return;
    if (u->refused || u->count == ARRAY_LEN(u->waiting)) {
        disk_request_offload(r, raw_run);
        return;
    }
    u->waiting[(u->first + u->count++) % ARRAY_LEN(u->waiting)] = r;
}

static struct disk_request *take_waiting(struct uring *u)
{
    struct disk_request *r = u->waiting[u->first];
    u->first = (u->first + 1) % ARRAY_LEN(u->waiting);
    u->count--;
    return r;
}

/* Those that the kernel has still go on in it. */
static void give_up(struct uring *u)
{
    u->refused = true;
    u->in_ring -= u->unsent_count;
    for (unsigned i = 0; i < u->unsent_count; i++)
        disk_request_offload(u->unsent[i], raw_run);
    u->unsent_count = 0;
    while (u->count)
        disk_request_offload(take_waiting(u), raw_run);
}

void uring_commit(struct uring *u)
{
    while (!u->refused && u->count && enter(u, u->waiting[u->first]))
        take_waiting(u);
    for (unsigned tries = 0; u->unsent_count && tries < TRIES;) {
        int n = io_uring_submit(&u->ring);
        unsigned sent = n > 0 && (unsigned)n < u->unsent_count ? (unsigned)n : n > 0 ? u->unsent_count : 0;
        u->unsent_count -= sent;
        memmove(u->unsent, u->unsent + sent, u->unsent_count * sizeof u->unsent[0]);
        tries = sent ? 0 : n == 0 || n == -EINTR || n == -EAGAIN || n == -EBUSY ? tries + 1 : TRIES;
    }
    if (u->unsent_count)
        give_up(u);
}

static void advance(struct disk_request *r, size_t n)
{
    r->at += n;
    while (r->iov_count && n >= r->iov->iov_len) {
        n -= r->iov->iov_len;
        r->iov++;
        r->iov_count--;
    }
    if (r->iov_count) {
        r->iov->iov_base = (char *)r->iov->iov_base + n;
        r->iov->iov_len -= n;
    }
}

static void complete(struct uring *u, struct disk_request *r, int result)
{
    u->in_ring--;
    if (result == -EINTR || result == -EAGAIN) {
        uring_submit(u, r);
    } else if (r->op == DISK_FLUSH || result < 0) {
        disk_request_done(r, result < 0 ? result : 0);
    } else if (result == 0) {
        disk_request_done(r, -EIO);
    } else {
        advance(r, (size_t)result);
        if (r->at < r->len)
            uring_submit(u, r);
        else
            disk_request_done(r, 0);
    }
}

static void reap(struct uring *u)
{
    struct io_uring_cqe *cqe;
    unsigned n = 0;
    while (n < 2 * ENTRIES && io_uring_peek_cqe(&u->ring, &cqe) == 0 && cqe) {
        struct disk_request *r = io_uring_cqe_get_data(cqe);
        int result = cqe->res;
        io_uring_cqe_seen(&u->ring, cqe);
        complete(u, r, result);
        n++;
    }
    if (n)
        disk_batch_done(&u->raw->disk);
    uring_commit(u);
}

static void on_event(void *opaque, unsigned events)
{
    struct uring *u = opaque;
    uint64_t count;
    (void)events;
    if (read(u->event, &count, sizeof count) == sizeof count)
        reap(u);
}

void uring_wait(struct uring *u)
{
    struct io_uring_cqe *cqe;
    uring_commit(u);
    if (u->in_ring && io_uring_wait_cqe(&u->ring, &cqe) == 0)
        reap(u);
}

static int ring_setup(struct uring *u, struct err *err)
{
    int r = io_uring_queue_init(ENTRIES, &u->ring, 0);
    if (r)
        return err_set(err, ERR_HOST, "cannot use io_uring: %s", strerror(-r));
    if ((r = io_uring_register_eventfd(&u->ring, u->event)) == 0) {
        exec_watch_init(&u->watch, u->raw->disk.executor, u->raw->disk.lock, u->event, on_event, u);
        if (exec_watch_set(&u->watch, EXEC_READABLE, err) == 0)
            return 0;
    }
    io_uring_queue_exit(&u->ring);
    return err_set(err, ERR_HOST, "cannot use io_uring's completions: %s", strerror(r < 0 ? -r : ENOMEM));
}

struct uring *uring_new(struct raw_disk *raw, struct err *err)
{
    struct uring *u = calloc(1, sizeof *u);
    int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (u && event >= 0) {
        u->raw = raw;
        u->event = event;
        if (ring_setup(u, err) == 0)
            return u;
    } else {
        err_set(err, ERR_HOST, "cannot use io_uring: no memory or no descriptor");
    }
    if (event >= 0)
        close(event);
    free(u);
    return NULL;
}

void uring_free(struct uring *u)
{
    if (!u)
        return;
    exec_watch_cancel(&u->watch);
    io_uring_queue_exit(&u->ring);
    close(u->event);
    free(u);
}
