/* SPDX-License-Identifier: MIT */
#include "cli/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FILE_SIZE_MAX (UINT64_C(4) << 30)

static int read_all(int fd, uint8_t *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = read(fd, bytes + at, len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        at += (size_t)n;
    }
    return 0;
}

static int read_open_file(int fd, const char *label, struct image *out, struct err *err)
{
    struct stat status;
    if (fstat(fd, &status) || !S_ISREG(status.st_mode))
        return err_set(err, ERR_INPUT, "%s: not a regular file", label);
    if (!status.st_size)
        return err_set(err, ERR_INPUT, "%s: the file is empty", label);
    if ((uint64_t)status.st_size > FILE_SIZE_MAX)
        return err_set(err, ERR_INPUT, "%s: larger than 4 GiB", label);
    size_t len = (size_t)status.st_size;
    uint8_t *bytes = malloc(len);
    if (!bytes)
        return err_set(err, ERR_HOST, "%s: out of memory for %zu bytes", label, len);
    if (read_all(fd, bytes, len)) {
        free(bytes);
        return err_set(err, ERR_INPUT, "%s: cannot read it: %m", label);
    }
    *out = (struct image){bytes, len, label};
    return 0;
}

int file_read(const char *path, const char *label, struct image *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set(err, ERR_INPUT, "%s: cannot open it: %m", label);
    int r = read_open_file(fd, label, out, err);
    close(fd);
    return r;
}

void file_free(struct image *image)
{
    free((void *)image->bytes);
    *image = (struct image){NULL, 0, NULL};
}

int find_host_kernel(char **path, struct err *err)
{
    static const char *const patterns[] = {"/boot/vmlinuz-%s", "/lib/modules/%s/vmlinuz", "/usr/lib/modules/%s/vmlinuz", "/boot/vmlinuz", "/vmlinuz"};
    struct utsname name;
    char candidate[512], looked[400] = "";
    uname(&name);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        snprintf(candidate, sizeof candidate, patterns[i], name.release);
        if (!access(candidate, R_OK)) {
            *path = strdup(candidate);
            return *path ? 0 : err_set(err, ERR_HOST, "out of memory");
        }
        size_t used = strlen(looked);
        snprintf(looked + used, sizeof looked - used, "%s%s%s", i ? ", " : "", candidate, errno == EACCES ? " (not readable)" : "");
    }
    return err_set(err, ERR_USAGE, "no --kernel given and this host's own is not readable; looked at %s. Type: mezz run --kernel FILE", looked);
}
