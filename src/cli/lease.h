/* SPDX-License-Identifier: MIT */
/* lease.h - keeps others from changing a file while it is read, where the host can do that. */
#ifndef CLI_LEASE_H
#define CLI_LEASE_H

#include <stdbool.h>

/* True: until the descriptor is closed nobody can open the file for writing, or cut it short, before `broken` has run, which gets a signal's number and must not return. False:
 * the host has no such thing, the file is not the user's, or somebody has it open for writing already. */
bool lease_take(int fd, void (*broken)(int));

#endif
