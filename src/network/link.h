/* SPDX-License-Identifier: MIT */
/* link.h - of this folder: a link is always a socket with a process behind it, or with a test. */
#ifndef NETWORK_LINK_H
#define NETWORK_LINK_H

#include <sys/types.h>

#include "network/net.h"

void net_link_set_child(struct net_link *, pid_t child); /* is waited for, and at last killed, when the link closes */

#endif
