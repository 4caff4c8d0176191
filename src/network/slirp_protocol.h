/* SPDX-License-Identifier: MIT */
/* slirp_protocol.h - of this folder: between user.c and mezz-slirp. A SOCK_SEQPACKET pair; the helper's first message is one of the bytes below and, for errors, a line of
 * text; after READY every message is an Ethernet frame. The helper ends when the other side closes. */
#ifndef NETWORK_SLIRP_PROTOCOL_H
#define NETWORK_SLIRP_PROTOCOL_H

enum {
    SLIRP_SOCKET = 3,         /* the helper's descriptor */
    SLIRP_MESSAGE_MAX = 400,
    SLIRP_READY = 'R',
    SLIRP_BAD_FORWARD = 'F',  /* a port cannot be opened */
    SLIRP_FAILED = 'E',
};

#endif
