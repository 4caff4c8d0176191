/* SPDX-License-Identifier: MIT */
#include "cli/lease.h"

#include <fcntl.h>
#include <signal.h>

bool lease_take(int fd, void (*broken)(int))
{
    signal(SIGIO, broken); /* fcntl(2), F_SETLEASE: who wants to write waits, and this signal comes */
    return !fcntl(fd, F_SETLEASE, F_RDLCK);
}
