/* SPDX-License-Identifier: MIT */
/* test_net.c - the network card on every kind of executor, with a test as the other side; configuration text; user networking through mezz-slirp: ARP, UDP to the
 * host's loopback and back, forwarded ports, ports in use, and who ends when the other does. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest.h"
#include "virtio/net.h"

#define F_MRG BIT(15)
#define RX (GUEST_BUFFERS)
#define TX (GUEST_BUFFERS + 0x40000)

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

static void new_net(struct guest *g, struct net_link *link)
{
    struct virtio_net_config config = { .pci_host = g->host, .slot = 1, .link = link };
    memcpy(config.mac, guest_mac, 6);
    assert_int_equal(device_new(&virtio_net_class, "net0", &g->services, &config, &g->device, NULL), 0);
    guest_attach(g);
}

static int new_socket_net(struct guest *g)
{
    int pair[2];
    struct net_link *link;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(net_socket_open(pair[0], &link, NULL), 0);
    new_net(g, link);
    return pair[1];
}

static void guest_send(struct guest *g, const uint8_t *frame, uint32_t len)
{
    uint8_t header[12] = { 0 };
    guest_put(g, TX, header, sizeof header);
    guest_put(g, TX + 12, frame, len);
    struct guest_buffer b[] = { { TX, 12, false }, { TX + 12, len, false } };
    guest_request(g, 1, b, 2);
}

/* `count` receive buffers of `size` bytes each, as single descriptors. */
static void give_buffers(struct guest *g, unsigned count, uint32_t size)
{
    for (unsigned i = 0; i < count; i++) {
        struct guest_buffer b = { RX + i * 4096, size, true };
        guest_chain(g, 0, i, &b, 1);
    }
    guest_notify(g, 0);
}

/* Takes a frame that may be spread; gives the buffers back. Returns its length, 0 when none comes. */
static uint32_t guest_receive(struct guest *g, uint8_t *out, uint32_t size)
{
    uint32_t head, written, at = 0;
    unsigned parts = 1;
    for (unsigned i = 0; i < parts; i++) {
        uint8_t header[12];
        if (!guest_used(g, 0, &head, &written))
            return 0;
        uint32_t skip = i ? 0 : 12;
        if (!i) {
            guest_get(g, RX + head * 4096, header, sizeof header);
            parts = load_le16(header + 10);
        }
        assert_true(written >= skip && at + written - skip <= size);
        guest_get(g, RX + head * 4096 + skip, out + at, written - skip);
        at += written - skip;
        guest_available(g, 0, (uint16_t)head);
    }
    guest_notify(g, 0);
    return at;
}

static void frames_both_ways(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < GUEST_KINDS; kind++) {
        for (unsigned merge = 0; merge < 2; merge++) {
            struct guest g;
            uint8_t frame[1514], back[9100];
            guest_start(&g, kind);
            int fd = new_socket_net(&g);
            assert_int_equal(guest_read(&g, 0x2000, 4), 0x12005452);
            assert_int_equal(guest_read(&g, 0x2006, 2), 1);
            assert_int_equal(send(fd, "not yet: the driver is not ready", 32, 0), 32);
            guest_pause(&g);
            guest_pause(&g);
            guest_driver(&g, merge ? F_MRG | VIRTIO_F_EVENT_IDX : 0, 2);
            for (unsigned i = 0; i < sizeof frame; i++)
                frame[i] = (uint8_t)(i * 3 + merge);
            guest_send(&g, frame, sizeof frame);
            struct pollfd p = { .fd = fd, .events = POLLIN };
            for (unsigned i = 0; i < 5000 && poll(&p, 1, 0) < 1; i++)
                guest_pause(&g);
            assert_int_equal(recv(fd, back, sizeof back, MSG_DONTWAIT), sizeof frame);
            assert_memory_equal(back, frame, sizeof frame);
            for (unsigned i = 0; i < 20; i++) /* more than there will be buffers */
                assert_int_equal(send(fd, frame, sizeof frame - i, 0), sizeof frame - i);
            for (unsigned i = 0; i < 20; i++)
                guest_pause(&g);
            give_buffers(&g, merge ? 16 : 4, merge ? 256 : 1600);
            for (unsigned i = 0; i < 20; i++) {
                uint32_t n = guest_receive(&g, back, sizeof back);
                if (i == 0 && n == 32) /* it was not read before the driver was ready */
                    n = guest_receive(&g, back, sizeof back);
                assert_int_equal(n, sizeof frame - i);
                assert_memory_equal(back, frame, n);
            }
            close(fd);
            for (unsigned i = 0; i < 5000 && guest_read(&g, 0x2006, 2); i++)
                guest_pause(&g);
            assert_int_equal(guest_read(&g, 0x2006, 2), 0); /* the link is down */
            assert_int_equal(g.messages[2], 1);
            guest_stop(&g);
        }
    }
}

/* A frame larger than the one buffer there may be is dropped, the next one arrives. */
static void unfit_frames_are_dropped(void **state)
{
    (void)state;
    struct guest g;
    uint8_t frame[3000] = { 1 }, back[9100];
    guest_start(&g, GUEST_VIRTUAL);
    int fd = new_socket_net(&g);
    guest_driver(&g, 0, 2);
    give_buffers(&g, 4, 1000);
    assert_int_equal(send(fd, frame, 3000, 0), 3000);
    assert_int_equal(send(fd, frame, 500, 0), 500);
    assert_int_equal(guest_receive(&g, back, sizeof back), 500);
    guest_driver(&g, F_MRG, 2);
    give_buffers(&g, 4, 8); /* too small even for the header */
    assert_int_equal(send(fd, frame, 500, 0), 500);
    guest_pause(&g);
    guest_driver(&g, F_MRG, 2);
    give_buffers(&g, 8, 1000);
    assert_int_equal(send(fd, frame, 3000, 0), 3000);
    assert_int_equal(guest_receive(&g, back, sizeof back), 3000);
    guest_driver(&g, 0, 2); /* bad transmissions */
    uint8_t header[12] = { 1 };
    guest_put(&g, TX, header, sizeof header);
    struct guest_buffer offload[] = { { TX, 112, false } }, runt[] = { { TX, 13, false } }, giant[] = { { TX, 60000, false } };
    guest_request(&g, 1, offload, 1);
    guest_request(&g, 1, runt, 1);
    guest_request(&g, 1, giant, 1);
    assert_int_equal(recv(fd, back, sizeof back, MSG_DONTWAIT), -1);
    close(fd);
    guest_stop(&g);
}

static void slow_peer_holds_the_guest(void **state)
{
    (void)state;
    struct guest g;
    uint32_t head, written;
    unsigned sent = 0, got = 0;
    uint8_t frame[1514] = { 0 }, back[2000];
    guest_start(&g, GUEST_THREAD);
    int fd = new_socket_net(&g);
    guest_driver(&g, 0, 2);
    for (unsigned i = 0; i < 3000; i++) { /* until the socket is full: no answer any more */
        struct guest_buffer b[] = { { TX, 12, false }, { TX + 12, sizeof frame, false } };
        guest_put(&g, TX + 12, frame, sizeof frame);
        guest_chain(&g, 1, 0, b, 2);
        guest_notify(&g, 1);
        sent++;
        uint16_t index = g.seen[1];
        for (unsigned t = 0; t < 200 && index == g.seen[1]; t++) {
            guest_pause(&g);
            mem_load16(g.memory, GUEST_USED(1) + 2, &index);
        }
        if (index == g.seen[1])
            break;
        guest_used(&g, 1, &head, &written);
    }
    assert_true(sent < 3000);
    while (got < sent)
        got += recv(fd, back, sizeof back, 0) == sizeof frame;
    assert_true(guest_used(&g, 1, &head, &written));
    close(fd);
    guest_stop(&g);
}

static void saves_and_loads(void **state)
{
    (void)state;
    static uint8_t one[16384], two[16384];
    struct guest g;
    uint8_t frame[100] = { 9 }, back[200];
    guest_start(&g, GUEST_VIRTUAL);
    int fd = new_socket_net(&g);
    guest_driver(&g, F_MRG, 2);
    give_buffers(&g, 4, 1600);
    guest_pause(&g);
    size_t n = device_save(g.device, one, sizeof one);
    device_free(g.device);
    close(fd);
    fd = new_socket_net(&g);
    assert_int_equal(device_load(g.device, one, n, NULL), 0);
    assert_int_equal(device_save(g.device, two, sizeof two), n);
    assert_memory_equal(one, two, n);
    guest_attach(&g);
    assert_int_equal(send(fd, frame, sizeof frame, 0), sizeof frame);
    assert_int_equal(guest_receive(&g, back, sizeof back), sizeof frame);
    close(fd);
    guest_stop(&g);
}

static void texts(void **state)
{
    (void)state;
    static const char *const good[] = { "tcp:127.0.0.1:2222-:22", "udp::53-10.0.2.15:53", "tcp:0.0.0.0:65535-10.0.2.99:1" };
    static const char *const bad[] = { "", "tcp", "tcp:", "tcp:127.0.0.1:2222", "tcp:127.0.0.1:2222-:", "tcp:127.0.0.1:0-:22", "tcp:127.0.0.1:65536-:22", "tcp:127.0.0:1-:2",
                                       "tcp:127.0.0.256:1-:2", "sctp:127.0.0.1:1-:2", "tcp:127.0.0.1:1-:2x", "tcp:127.0.0.1:-1-:2", "tcp:localhost:1-:2" };
    struct net_forward f;
    struct err err = ERR_NONE;
    uint8_t mac[6];
    for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(net_forward_parse(good[i], &f, &err), 0);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(net_forward_parse(bad[i], &f, &err), ERR_USAGE);
    net_forward_parse(good[0], &f, NULL);
    assert_true(f.host_address == 0x7f000001 && f.host_port == 2222 && f.guest_address == 0x0a00020f && f.guest_port == 22 && !f.udp);
    assert_int_equal(net_mac_parse("52:54:00:12:34:56", mac, &err), 0);
    assert_memory_equal(mac, guest_mac, 6);
    assert_int_equal(net_mac_parse("53:54:00:12:34:56", mac, &err), ERR_USAGE);
    assert_int_equal(net_mac_parse("00:00:00:00:00:00", mac, &err), ERR_USAGE);
    assert_int_equal(net_mac_parse("52:54:00:12:34:5", mac, &err), ERR_USAGE);
}

/* ---- user networking ---------------------------------------------------------------------------------------------------------------------------------------------- */

static int bind_loopback(int type, uint16_t *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    getsockname(fd, (struct sockaddr *)&a, &len);
    *port = ntohs(a.sin_port);
    return fd;
}

static uint16_t checksum(const uint8_t *data, size_t len)
{
    uint32_t sum = 0;
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += load_be16(data + i);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* Ethernet, IPv4, UDP without a checksum. */
static uint32_t udp_frame(uint8_t *f, const uint8_t *to_mac, uint32_t to, uint16_t port, const char *text)
{
    uint16_t len = (uint16_t)strlen(text);
    memset(f, 0, 42);
    memcpy(f, to_mac, 6);
    memcpy(f + 6, guest_mac, 6);
    store_be16(f + 12, 0x0800);
    f[14] = 0x45;
    store_be16(f + 16, 28 + len);
    f[22] = 64;
    f[23] = 17;
    store_be32(f + 26, 0x0a00020f);
    store_be32(f + 30, to);
    store_be16(f + 24, checksum(f + 14, 20));
    store_be16(f + 34, 4000);
    store_be16(f + 36, port);
    store_be16(f + 38, 8 + len);
    memcpy(f + 42, text, len);
    return 42u + len;
}

static uint32_t arp_frame(uint8_t *f, uint16_t op, const uint8_t *to_mac, uint32_t to)
{
    static const uint8_t head[] = { 0x08, 0x06, 0, 1, 8, 0, 6, 4 };
    memset(f, 0xff, 6);
    memcpy(f + 6, guest_mac, 6);
    memcpy(f + 12, head, sizeof head);
    store_be16(f + 20, op);
    memcpy(f + 22, guest_mac, 6);
    store_be32(f + 28, 0x0a00020f);
    memset(f + 32, 0, 6);
    if (to_mac)
        memcpy(f + 32, to_mac, 6);
    store_be32(f + 38, to);
    return 42;
}

/* Frames until one of this Ethernet type (and, for IPv4, protocol) comes; answers ARP on the way. */
static uint32_t receive_kind(struct guest *g, uint8_t *frame, uint32_t size, uint16_t type, uint8_t protocol)
{
    for (unsigned i = 0; i < 50; i++) {
        uint8_t reply[64];
        uint32_t n = guest_receive(g, frame, size);
        if (!n)
            return 0;
        if (load_be16(frame + 12) == type && (type != 0x0800 || frame[23] == protocol))
            return n;
        if (load_be16(frame + 12) == 0x0806 && load_be16(frame + 20) == 1 && load_be32(frame + 38) == 0x0a00020f)
            guest_send(g, reply, arp_frame(reply, 2, frame + 22, load_be32(frame + 28)));
    }
    return 0;
}

static void user_network(void **state)
{
    (void)state;
    struct guest g;
    struct net_link *link;
    struct err err = ERR_NONE;
    uint16_t port, echo_port;
    uint8_t frame[2000], out[2000], host_mac[6];
    char forward[64], text[64] = "";
    int probe = bind_loopback(SOCK_STREAM, &port), echo = bind_loopback(SOCK_DGRAM, &echo_port);
    snprintf(forward, sizeof forward, "tcp:127.0.0.1:%u-:22", port);
    const char *forwards[] = { forward };
    struct net_user_config config = { .forwards = forwards, .forward_count = 1, .helper = MEZZ_SLIRP };
    listen(probe, 1);
    assert_int_equal(net_user_open(&config, &link, &err), ERR_INPUT); /* in use */
    assert_non_null(strstr(err.text, forward));
    assert_non_null(strstr(err.text, "in use"));
    close(probe);
    assert_int_equal(net_user_open(&config, &link, &err), 0);
    guest_start(&g, GUEST_THREAD);
    new_net(&g, link);
    guest_driver(&g, F_MRG, 2);
    give_buffers(&g, 32, 2048);
    guest_send(&g, out, arp_frame(out, 1, NULL, 0x0a000202));
    assert_true(receive_kind(&g, frame, sizeof frame, 0x0806, 0));
    assert_int_equal(load_be32(frame + 28), 0x0a000202);
    memcpy(host_mac, frame + 22, 6);
    /* a datagram to the host's loopback, and an answer */
    guest_send(&g, out, udp_frame(out, host_mac, 0x0a000202, echo_port, "ping"));
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    assert_int_equal(recvfrom(echo, text, sizeof text, 0, (struct sockaddr *)&from, &len), 4);
    assert_string_equal(text, "ping");
    assert_int_equal(sendto(echo, "pong!", 5, 0, (struct sockaddr *)&from, len), 5);
    assert_true(receive_kind(&g, frame, sizeof frame, 0x0800, 17));
    assert_memory_equal(frame + 42, "pong!", 5);
    assert_int_equal(load_be32(frame + 26), 0x0a000202);
    /* a connection to the forwarded port arrives as a SYN for port 22 */
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    connect(client, (struct sockaddr *)&a, sizeof a);
    assert_true(receive_kind(&g, frame, sizeof frame, 0x0800, 6));
    assert_int_equal(load_be16(frame + 36), 22);
    assert_int_equal(frame[47] & 2, 2);
    close(client);
    close(echo);
    guest_stop(&g); /* the helper ends and is waited for: its port is free again */
    probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    assert_int_equal(bind(probe, (struct sockaddr *)&a, sizeof a), 0);
    close(probe);
}

/* The value of a line of the only child's status. */
static long child_status(const char *name)
{
    char path[64], line[256];
    long value = -1, child = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "r");
    if (!f)
        skip(); /* a kernel without CONFIG_PROC_CHILDREN */
    assert_int_equal(fscanf(f, "%ld", &child), 1);
    fclose(f);
    snprintf(path, sizeof path, "/proc/%ld/status", child);
    f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtol(line + strlen(name), NULL, 10);
    fclose(f);
    return value;
}

static void user_network_is_confined(void **state)
{
    (void)state;
    static const struct { enum net_sandbox mode; long seccomp; } cases[] = { { NET_SANDBOX_ON, 2 }, { NET_SANDBOX_LOG, 2 }, { NET_SANDBOX_OFF, 0 } };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct net_link *link;
        struct err err = ERR_NONE;
        struct net_user_config config = { .helper = MEZZ_SLIRP, .sandbox = cases[i].mode };
        assert_int_equal(net_user_open(&config, &link, &err), 0);
        assert_int_equal(child_status("Seccomp:"), cases[i].seccomp); /* 2: a filter */
        assert_int_equal(child_status("NoNewPrivs:"), 1);
        net_close(link);
    }
}

static void user_network_errors(void **state)
{
    (void)state;
    struct net_link *link;
    struct err err = ERR_NONE;
    const char *bad[] = { "tcp:nonsense" };
    struct net_user_config config = { .forwards = bad, .forward_count = 1, .helper = MEZZ_SLIRP };
    assert_int_equal(net_user_open(&config, &link, &err), ERR_USAGE);
    config = (struct net_user_config){ .helper = "/nonexistent/mezz-slirp" };
    assert_int_equal(net_user_open(&config, &link, &err), ERR_HOST);
    config.helper = "/bin/true";
    assert_int_equal(net_user_open(&config, &link, &err), ERR_HOST);
    assert_non_null(strstr(err.text, "ended at once"));
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_both_ways), cmocka_unit_test(unfit_frames_are_dropped), cmocka_unit_test(slow_peer_holds_the_guest),
        cmocka_unit_test(saves_and_loads), cmocka_unit_test(texts), cmocka_unit_test(user_network),
        cmocka_unit_test(user_network_is_confined), cmocka_unit_test(user_network_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
