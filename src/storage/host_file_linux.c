/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "storage/host_file.h"
#include "storage/raw.h"

static int allocate(int fd, int mode, uint64_t offset, uint64_t len)
{
    while (fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len))
        if (errno != EINTR)
            return errno == ENOSYS ? -EOPNOTSUPP : -errno;
    return 0;
}

int host_file_discard(int fd, uint64_t offset, uint64_t len) { return allocate(fd, FALLOC_FL_PUNCH_HOLE, offset, len); }

int host_file_zero(int fd, uint64_t offset, uint64_t len, bool unmap)
{
    int e = unmap ? allocate(fd, FALLOC_FL_PUNCH_HOLE, offset, len) : -EOPNOTSUPP;
    return e == -EOPNOTSUPP ? allocate(fd, FALLOC_FL_ZERO_RANGE, offset, len) : e;
}

int host_file_flush(int fd) { return fdatasync(fd); }

/* A lock of the open file description, so that the same file opened twice in one process is found too. */
int raw_lock(int fd, bool exclusive)
{
    struct flock lock = { .l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET };
    return fcntl(fd, F_OFD_SETLK, &lock) ? -errno : 0;
}
