/* SPDX-License-Identifier: MIT */
/* slirp_host.h - of this folder: what mezz-slirp asks of its host's family. One file each. */
#ifndef NETWORK_SLIRP_HOST_H
#define NETWORK_SLIRP_HOST_H

#include <stdbool.h>

enum slirp_sandbox { SLIRP_SANDBOX_ON, SLIRP_SANDBOX_LOG, SLIRP_SANDBOX_OFF };

void slirp_host_confine(int first_fd); /* closes what we inherited from first_fd on; gives up what can be given up */
void slirp_host_quiet(void);           /* nothing goes to the terminal any more */
bool slirp_host_sandbox(enum slirp_sandbox); /* from here on only sockets and time; false: the host refuses */

#endif
