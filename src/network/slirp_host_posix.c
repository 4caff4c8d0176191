/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <unistd.h>

#include "network/slirp_host.h"

void slirp_host_confine(int first_fd)
{
    for (int fd = first_fd; fd < 1024; fd++)
        close(fd);
}

void slirp_host_quiet(void)
{
    int null = open("/dev/null", O_WRONLY);
    if (null >= 0 && null != 2) {
        dup2(null, 2);
        close(null);
    }
}

bool slirp_host_sandbox(enum slirp_sandbox mode)
{
    (void)mode; /* the hosts of this file have nothing that mezz knows */
    return true;
}
