/* SPDX-License-Identifier: MIT */
/* raw.c - raw images and block devices (see raw.h).
 *
 * Reads, writes and flushes go through io_uring where the host lets us, else to pool threads; discard and write-zeroes always to threads. Flush is fdatasync. Discard
 * punches a hole; where the file system cannot, it is ignored, as the guest may not rely on it. Write-zeroes falls back to writing zeroes.
 * Trust: the image's owner may shrink or replace it while we run: a read past the end is an I/O error.
 */
#include "storage/raw.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "storage/host_file.h"

static struct raw_disk *raw_of(struct disk *d) { return container_of(d, struct raw_disk, disk); }

/* ---- requests on a thread --------------------------------------------------------------------------------------------------------------------------------- */

/* Moves the vector past `n` bytes; returns how many entries are left. */
static unsigned advance(struct iovec **iov, unsigned count, size_t n)
{
    while (count && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        (*iov)++;
        count--;
    }
    if (count) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + n;
        (*iov)->iov_len -= n;
    }
    return count;
}

static int transfer(int fd, struct disk_request *r)
{
    struct iovec *iov = r->iov;
    unsigned count = r->iov_count;
    while (r->at < r->len) {
        off_t at = (off_t)(r->offset + r->at);
        ssize_t n = r->op == DISK_READ ? preadv(fd, iov, (int)count, at) : pwritev(fd, iov, (int)count, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : -EIO; /* the file ends before the disk does */
        r->at += (uint64_t)n;
        count = advance(&iov, count, (size_t)n);
    }
    return 0;
}

static int write_zeroes(int fd, const struct disk_request *r)
{
    static const uint8_t zeroes[64 << 10];
    int e = host_file_zero(fd, r->offset, r->len, r->unmap);
    if (e != -EOPNOTSUPP)
        return e;
    for (uint64_t at = 0; at < r->len;) {
        size_t n = r->len - at < sizeof zeroes ? (size_t)(r->len - at) : sizeof zeroes;
        ssize_t done = pwrite(fd, zeroes, n, (off_t)(r->offset + at));
        if (done <= 0 && errno != EINTR)
            return done ? -errno : -EIO;
        at += done > 0 ? (uint64_t)done : 0;
    }
    return 0;
}

static int discard(int fd, const struct disk_request *r)
{
    int e = host_file_discard(fd, r->offset, r->len);
    return e == -EOPNOTSUPP ? 0 : e;
}

void raw_run(void *request)
{
    struct disk_request *r = request;
    int fd = raw_of(r->disk)->fd;
    switch (r->op) {
    case DISK_READ:
    case DISK_WRITE: r->error = transfer(fd, r); break;
    case DISK_FLUSH: r->error = host_file_flush(fd) ? -errno : 0; break;
    case DISK_DISCARD: r->error = discard(fd, r); break;
    case DISK_WRITE_ZEROES: r->error = write_zeroes(fd, r); break;
    }
}

/* ---- the disk ------------------------------------------------------------------------------------------------------------------------------------------------ */

static void raw_submit(struct disk *d, struct disk_request *r) { disk_request_offload(r, raw_run); (void)d; }

static void raw_close(struct disk *d)
{
    struct raw_disk *raw = raw_of(d);
    uring_free(raw->uring);
    close(raw->fd);
    free(raw);
}

static void raw_uring_submit(struct disk *d, struct disk_request *r)
{
    if (r->op == DISK_READ || r->op == DISK_WRITE || r->op == DISK_FLUSH)
        uring_submit(raw_of(d)->uring, r);
    else
        raw_submit(d, r);
}

static void raw_uring_commit(struct disk *d) { uring_commit(raw_of(d)->uring); }
static void raw_uring_wait(struct disk *d) { uring_wait(raw_of(d)->uring); }

static const struct disk_ops uring_ops = {
    .engine = "io_uring", .submit = raw_uring_submit, .commit = raw_uring_commit, .wait = raw_uring_wait, .close = raw_close,
};

/* io_uring when the host agrees; a seccomp filter or an old kernel says no, and then threads do it. */
static int raw_start(struct disk *d, struct err *err)
{
    struct raw_disk *raw = raw_of(d);
    if (!raw->may_uring)
        return 0;
    raw->uring = uring_new(raw, raw->must_uring ? err : NULL);
    if (raw->uring)
        d->ops = &uring_ops;
    return raw->uring || !raw->must_uring ? 0 : ERR_HOST;
}

static const struct disk_ops thread_ops = { .engine = "threads", .start = raw_start, .submit = raw_submit, .close = raw_close };

/* ---- opening --------------------------------------------------------------------------------------------------------------------------------------------------- */

static int check_kind(int fd, const char *path, struct raw_disk *raw, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return err_set(err, ERR_INPUT, "%s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return err_set(err, ERR_INPUT, "%s: is a directory, not a disk image", path);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return err_set(err, ERR_INPUT, "%s: is neither a file nor a block device", path);
    off_t size = lseek(fd, 0, SEEK_END);
    if (size < DISK_SECTOR)
        return err_set(err, ERR_INPUT, "%s: has %lld bytes, less than one sector of 512", path, (long long)size);
    raw->disk.sectors = (uint64_t)size / DISK_SECTOR;
    uint32_t block = (uint32_t)st.st_blksize;
    raw->disk.block_size = is_power_of_two(block) && block >= DISK_SECTOR && block <= 65536 ? block : 4096;
    return 0;
}

static int check_and_lock(int fd, const struct disk_config *config, struct raw_disk *raw, struct err *err)
{
    int r = check_kind(fd, config->path, raw, err);
    if (r)
        return r;
    int e = raw_lock(fd, !config->readonly);
    if (e == -EAGAIN || e == -EACCES || e == -EWOULDBLOCK)
        return err_set(err, ERR_INPUT, "%s: is in use by another disk or program (two disks may share an image only when both are readonly=on)", config->path);
    return 0; /* a file system without locks is no reason to refuse */
}

int disk_open(const struct disk_config *config, struct disk **out, struct err *err)
{
    if (!config->path || !*config->path)
        return err_set(err, ERR_USAGE, "path is missing");
    int fd = open(config->path, (config->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == EISDIR)
        return err_set(err, ERR_INPUT, "%s: is a directory, not a disk image", config->path);
    if (fd < 0 && (errno == EACCES || errno == EROFS) && !config->readonly)
        return err_set(err, ERR_INPUT, "%s: %s (readonly=on opens it for reading)", config->path, strerror(errno));
    if (fd < 0)
        return err_set(err, ERR_INPUT, "%s: %s", config->path, strerror(errno));
    struct raw_disk *raw = calloc(1, sizeof *raw);
    int r = raw ? check_and_lock(fd, config, raw, err) : err_set(err, ERR_HOST, "no memory");
    if (r) {
        close(fd);
        free(raw);
        return r;
    }
    raw->fd = fd;
    raw->disk.ops = &thread_ops;
    raw->disk.readonly = config->readonly;
    raw->may_uring = config->engine != DISK_ENGINE_THREADS;
    raw->must_uring = config->engine == DISK_ENGINE_URING;
    *out = &raw->disk;
    return 0;
}
