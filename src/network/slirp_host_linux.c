/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "network/slirp_host.h"

/* Death of the VM closes the socket, too; the signal is for a VM whose descriptors somebody else still holds. It comes with the end of the thread that started us, so it is not
 * asked for: that thread may end before the VM. */
void slirp_host_confine(int first_fd)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (syscall(SYS_close_range, first_fd, ~0u, 0))
        for (int fd = first_fd; fd < 1024; fd++)
            close(fd);
}

void slirp_host_quiet(void)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0 && null != 2) {
        dup2(null, 2);
        close(null);
    }
}
