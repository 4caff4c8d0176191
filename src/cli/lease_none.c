/* SPDX-License-Identifier: MIT */
#include "cli/lease.h"

bool lease_take(int fd, void (*broken)(int))
{
    (void)fd, (void)broken;
    return false;
}
