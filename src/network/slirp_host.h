/* SPDX-License-Identifier: MIT */
/* slirp_host.h - of this folder: what mezz-slirp asks of its host's family. One file each. */
#ifndef NETWORK_SLIRP_HOST_H
#define NETWORK_SLIRP_HOST_H

void slirp_host_confine(int first_fd); /* closes what we inherited from first_fd on; gives up what can be given up */
void slirp_host_quiet(void);           /* nothing goes to the terminal any more */

#endif
