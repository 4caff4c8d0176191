/* SPDX-License-Identifier: MIT */
/* os_posix.c - the host calls of struct hy_os on POSIX hosts. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hy/hy_backend.h"

static int os_open(const char *path, int flags) { return open(path, flags | O_CLOEXEC); }
static int os_close(int fd) { return close(fd); }
static long os_ioctl(int fd, unsigned long request, void *arg) { return ioctl(fd, request, arg); }

static void *os_map(void *want, size_t len, int prot, int fd, int64_t off)
{
    void *p = mmap(want, len, prot, fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, (off_t)off);

    return p == MAP_FAILED ? NULL : p;
}

static int os_unmap(void *p, size_t len) { return munmap(p, len); }
static void *os_library(const char *name) { return dlopen(name, RTLD_NOW | RTLD_LOCAL); }
static void *os_symbol(void *library, const char *name) { return dlsym(library, name); }
static int os_error(void) { return errno; }

/* An eventfd takes 8 bytes; a pipe takes them as well. */
static int os_ring(intptr_t os_event)
{
    uint64_t one = 1;

    return write((int)os_event, &one, sizeof one) == sizeof one ? 0 : -1;
}

const struct hy_os hy_os_host = {
    .open = os_open, .close = os_close, .ioctl = os_ioctl, .map = os_map, .unmap = os_unmap, .library = os_library, .symbol = os_symbol,
    .error = os_error, .ring = os_ring,
};
