/* SPDX-License-Identifier: MIT */
/* net.h - the host side of a network card: Ethernet frames in and out, whatever is behind.
 *
 * A link is opened, then started with the executor and lock of the card. Frames go both ways without copies being kept: net_send() takes a frame or refuses
 * it, and then writable() is called when there is room; receive() takes a frame or refuses it, and then net_resume() asks for it again. Everything runs
 * with the card's lock held; callbacks come on the executor, never inside net_send(); receive() also inside net_resume().
 * Trust: frames come from the network and from the guest: neither is trusted, nobody looks into them here.
 */
#ifndef NETWORK_NET_H
#define NETWORK_NET_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "executor/executor.h"

#define NET_FRAME_MAX 65550 /* a 65535-byte packet with its Ethernet header */

struct net_link;

struct net_client {
    bool (*receive)(void *opaque, const uint8_t *frame, size_t len); /* false: no room, keep it until net_resume() */
    void (*batch)(void *opaque);      /* after some receive(); may be NULL               */
    void (*writable)(void *opaque);   /* after a refused net_send()                       */
    void (*lost)(void *opaque);       /* the other side is gone for good                  */
    void *opaque;
};

int  net_start(struct net_link *, struct executor *, pthread_mutex_t *lock, const struct net_client *, struct err *);
bool net_send(struct net_link *, const uint8_t *frame, size_t len);
void net_resume(struct net_link *);
void net_close(struct net_link *); /* without the lock; NULL is allowed */

/* "52:54:00:12:34:56": six bytes, not multicast, not all zero. ERR_USAGE otherwise. */
int  net_mac_parse(const char *text, uint8_t mac[6], struct err *);

/* ---- user networking ------------------------------------------------------------------------------------------------------------------------------------ */

/* A network of its own behind address translation, by libslirp in a process of its own (mezz-slirp), which needs no rights and can do little: 10.0.2.0/24, the guest
 * is 10.0.2.15 by DHCP, the host is 10.0.2.2 (its loopback services too), DNS is 10.0.2.3. The process ends with us, and the link is lost when it ends. */
struct net_forward {
    bool udp;
    uint32_t host_address, guest_address; /* IPv4, host byte order */
    uint16_t host_port, guest_port;
};
/* "tcp:127.0.0.1:2222-:22": protocol, host address (empty: 127.0.0.1) and port, guest address (empty: 10.0.2.15) and port. ERR_USAGE otherwise. */
int net_forward_parse(const char *text, struct net_forward *, struct err *);

enum { NET_FORWARDS_MAX = 64 };
enum net_sandbox { NET_SANDBOX_ON, NET_SANDBOX_LOG, NET_SANDBOX_OFF };
struct net_user_config {
    const char *const *forwards;  /* texts as above, `forward_count` of them */
    size_t forward_count;
    const char *helper;           /* path of mezz-slirp; NULL: beside this program, or where it is installed */
    enum net_sandbox sandbox;     /* of the process: refuses what it does not need, logs it, or neither */
};
/* Starts the process and waits until its ports are open. ERR_USAGE: a bad forward; ERR_INPUT: a port in use; ERR_HOST: no helper. */
int net_user_open(const struct net_user_config *, struct net_link **, struct err *);

/* A link over a socket that keeps message boundaries, one frame a message; takes the descriptor. For tests and for processes started by others. */
int net_socket_open(int fd, struct net_link **, struct err *);

#endif
