/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sys/file.h>
#include <unistd.h>

#include "storage/host_file.h"
#include "storage/raw.h"

int host_file_discard(int fd, uint64_t offset, uint64_t len)
{
    (void)fd, (void)offset, (void)len;
    return -EOPNOTSUPP;
}

int host_file_zero(int fd, uint64_t offset, uint64_t len, bool unmap)
{
    (void)fd, (void)offset, (void)len, (void)unmap;
    return -EOPNOTSUPP;
}

int host_file_flush(int fd) { return fsync(fd); }

int raw_lock(int fd, bool exclusive) { return flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) ? -errno : 0; }
