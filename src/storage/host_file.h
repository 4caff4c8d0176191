/* SPDX-License-Identifier: MIT */
/* host_file.h - of this folder: what differs between host families about files. One file each. */
#ifndef STORAGE_HOST_FILE_H
#define STORAGE_HOST_FILE_H

#include <stdbool.h>
#include <stdint.h>

/* Gives the blocks back / makes them read as zero. 0 or a negative errno; -EOPNOTSUPP where that cannot be done. */
int host_file_discard(int fd, uint64_t offset, uint64_t len);
int host_file_zero(int fd, uint64_t offset, uint64_t len, bool unmap);
int host_file_flush(int fd); /* 0, or -1 with errno */

#endif
