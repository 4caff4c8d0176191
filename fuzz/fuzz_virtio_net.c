/* SPDX-License-Identifier: MIT */
/* The network card under a hostile driver, with arbitrary frames from outside; and the text of forwards and addresses. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hostile.h"
#include "virtio/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void frame_from_outside(void *opaque, const uint8_t *data, size_t len)
{
    int fd = *(int *)opaque;
    uint8_t out[16384];
    for (unsigned i = 0; i < 64 && recv(fd, out, sizeof out, MSG_DONTWAIT) > 0; i++)
        ;
    if (len)
        send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void parse(const uint8_t *data, size_t size)
{
    char text[128] = "";
    struct net_forward forward;
    uint8_t mac[6];
    memcpy(text, data, size < sizeof text ? size : sizeof text - 1);
    net_forward_parse(text, &forward, NULL);
    net_mac_parse(text, mac, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct guest g;
    int pair[2];
    parse(data, size);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return 0;
    guest_start(&g, GUEST_VIRTUAL);
    struct virtio_net_config config = { .pci_host = g.host, .slot = 1, .mac = { 2 } };
    if (net_socket_open(pair[0], &config.link, NULL) || device_new(&virtio_net_class, "net0", &g.services, &config, &g.device, NULL))
        abort();
    guest_attach(&g);
    hostile_drive(&g, 2, data, size, frame_from_outside, &pair[1]);
    close(pair[1]);
    guest_stop(&g);
    return 0;
}
