/* SPDX-License-Identifier: MIT */
/* slirp.c - mezz-slirp, the process that holds libslirp (and GLib with it) away from the VM.
 *
 * Usage: mezz-slirp on|log|off [FORWARD]... with a SOCK_SEQPACKET socket as descriptor 3 (slirp_protocol.h). It opens the forwards' ports, enters the sandbox
 * (slirp_host_linux.c) unless told off, says READY, and then moves frames until the socket closes. System calls in steady state: poll, recv, send, and those of libslirp's sockets.
 * Trust: frames are the guest's. libslirp parses them, which is why it is here: no new privileges, nothing open but sockets, no terminal, no system call but
 * those that sockets need.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "network/net.h"
#include "network/slirp_host.h"
#include "network/slirp_protocol.h"

enum { POLLS_MAX = 4096, TIMERS_MAX = 16, FRAMES_A_ROUND = 64 };

struct timer { SlirpTimerCb call; void *opaque; uint64_t at_ms; bool armed, used; };

struct server {
    Slirp *slirp;
    struct pollfd polls[POLLS_MAX];
    int poll_count;
    struct timer timers[TIMERS_MAX];
};

static int say(char what, const char *text)
{
    char message[SLIRP_MESSAGE_MAX];
    int n = snprintf(message, sizeof message, "%c%s", what, text);
    size_t len = n < (int)sizeof message ? (size_t)n : sizeof message - 1;
    return send(SLIRP_SOCKET, message, len, MSG_NOSIGNAL) < 0 ? 1 : 0;
}

/* ---- what libslirp asks of us -------------------------------------------------------------------------------------------------------------------------------- */

/* Blocks while the VM does not read, which slows the senders instead of losing frames. */
static ssize_t send_packet(const void *frame, size_t len, void *opaque)
{
    (void)opaque;
    if (send(SLIRP_SOCKET, frame, len, MSG_NOSIGNAL) < 0 && errno == EPIPE)
        exit(0);
    return (ssize_t)len;
}

static void guest_error(const char *message, void *opaque)
{
    (void)message;
    (void)opaque;
}

static int64_t clock_get(void *opaque)
{
    (void)opaque;
    return (int64_t)clock_ns();
}

static void *timer_new(SlirpTimerCb call, void *call_opaque, void *opaque)
{
    struct server *s = opaque;
    for (unsigned i = 0; i < TIMERS_MAX; i++) {
        if (s->timers[i].used)
            continue;
        s->timers[i] = (struct timer){ .call = call, .opaque = call_opaque, .used = true };
        return &s->timers[i];
    }
    exit(1); /* it makes one */
}

static void timer_free(void *timer, void *opaque)
{
    (void)opaque;
    *(struct timer *)timer = (struct timer){ .used = false };
}

static void timer_mod(void *timer, int64_t at_ms, void *opaque)
{
    struct timer *t = timer;
    (void)opaque;
    t->at_ms = at_ms > 0 ? (uint64_t)at_ms : 0;
    t->armed = true;
}

static void ignore_fd(int fd, void *opaque)
{
    (void)fd;
    (void)opaque;
}

static void notify(void *opaque) { (void)opaque; }

static const SlirpCb callbacks = {
    .send_packet = send_packet, .guest_error = guest_error, .clock_get_ns = clock_get, .timer_new = timer_new, .timer_free = timer_free, .timer_mod = timer_mod,
    .register_poll_fd = ignore_fd, .unregister_poll_fd = ignore_fd, .notify = notify,
};

/* ---- the loop --------------------------------------------------------------------------------------------------------------------------------------------------- */

static int add_poll(int fd, int events, void *opaque)
{
    struct server *s = opaque;
    if (s->poll_count == POLLS_MAX)
        return -1;
    short e = (events & SLIRP_POLL_IN ? POLLIN : 0) | (events & SLIRP_POLL_OUT ? POLLOUT : 0) | (events & SLIRP_POLL_PRI ? POLLPRI : 0);
    s->polls[s->poll_count] = (struct pollfd){ .fd = fd, .events = e };
    return s->poll_count++;
}

static int get_events(int index, void *opaque)
{
    const struct server *s = opaque;
    if (index < 0 || index >= s->poll_count)
        return 0;
    short e = s->polls[index].revents;
    return (e & POLLIN ? SLIRP_POLL_IN : 0) | (e & POLLOUT ? SLIRP_POLL_OUT : 0) | (e & POLLPRI ? SLIRP_POLL_PRI : 0) | (e & POLLERR ? SLIRP_POLL_ERR : 0) |
           (e & POLLHUP ? SLIRP_POLL_HUP : 0);
}

static uint32_t run_timers(struct server *s, uint32_t timeout)
{
    uint64_t now = clock_ns() / 1000000;
    for (unsigned i = 0; i < TIMERS_MAX; i++) {
        struct timer *t = &s->timers[i];
        if (!t->used || !t->armed)
            continue;
        if (t->at_ms <= now) {
            t->armed = false;
            t->call(t->opaque);
        } else if (t->at_ms - now < timeout) {
            timeout = (uint32_t)(t->at_ms - now);
        }
    }
    return timeout;
}

/* False: the VM is gone. */
static bool take_frames(struct server *s)
{
    static uint8_t frame[NET_FRAME_MAX]; /* mutable: this is a program of one thread, and the frame is too large for a stack */
    for (unsigned i = 0; i < FRAMES_A_ROUND; i++) {
        ssize_t n = recv(SLIRP_SOCKET, frame, sizeof frame, MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
        if (n == 0)
            return false;
        slirp_input(s->slirp, frame, (int)n);
    }
    return true;
}

static void serve(struct server *s)
{
    for (;;) {
        uint32_t timeout = run_timers(s, 1000);
        s->poll_count = 1;
        s->polls[0] = (struct pollfd){ .fd = SLIRP_SOCKET, .events = POLLIN };
        slirp_pollfds_fill(s->slirp, &timeout, add_poll, s);
        int n = poll(s->polls, (nfds_t)s->poll_count, (int)timeout);
        slirp_pollfds_poll(s->slirp, n < 0, get_events, s);
        if (n > 0 && s->polls[0].revents && !take_frames(s))
            return;
    }
}

/* ---- setting up ------------------------------------------------------------------------------------------------------------------------------------------------- */

static struct in_addr address(uint32_t host_order) { return (struct in_addr){ htonl(host_order) }; }

static Slirp *make_slirp(struct server *s)
{
    const SlirpConfig config = {
        .version = 4, .in_enabled = true, .vnetwork = address(0x0a000200), .vnetmask = address(0xffffff00), .vhost = address(0x0a000202),
        .vdhcp_start = address(0x0a00020f), .vnameserver = address(0x0a000203), .vhostname = "mezz",
    };
    return slirp_new(&config, &callbacks, s);
}

static int add_forward(struct server *s, const char *text)
{
    struct net_forward f;
    struct err err = ERR_NONE;
    char line[300];
    if (net_forward_parse(text, &f, &err))
        return say(SLIRP_FAILED, err.text), 1;
    if (!slirp_add_hostfwd(s->slirp, f.udp, address(f.host_address), f.host_port, address(f.guest_address), f.guest_port))
        return 0;
    snprintf(line, sizeof line, "hostfwd=%.100s: cannot listen on port %u: %s%s", text, f.host_port, strerror(errno),
             errno == EADDRINUSE ? " (choose another port, or end what uses it)" : "");
    say(SLIRP_BAD_FORWARD, line);
    return 1;
}

static enum slirp_sandbox sandbox_mode(const char *text)
{
    return strcmp(text, "off") == 0 ? SLIRP_SANDBOX_OFF : strcmp(text, "log") == 0 ? SLIRP_SANDBOX_LOG : SLIRP_SANDBOX_ON;
}

int main(int argc, char **argv)
{
    struct server *s = calloc(1, sizeof *s);
    int kind;
    socklen_t len = sizeof kind;
    if (getsockopt(SLIRP_SOCKET, SOL_SOCKET, SO_TYPE, &kind, &len) || kind != SOCK_SEQPACKET) {
        fprintf(stderr, "mezz-slirp: is started by mezz, not by hand\n");
        return 2;
    }
    const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT }; /* it ends when the VM does, which may go on after a Ctrl-C */
    for (unsigned i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        signal(ignored[i], SIG_IGN);
    slirp_host_confine(SLIRP_SOCKET + 1);
    if (!s || !(s->slirp = make_slirp(s)))
        return say(SLIRP_FAILED, "user network: libslirp does not start"), 1;
    for (int i = 2; i < argc; i++)
        if (add_forward(s, argv[i]))
            return 1;
    slirp_host_quiet();
    if (!slirp_host_sandbox(sandbox_mode(argc > 1 ? argv[1] : "on")))
        return say(SLIRP_FAILED, "user network: the kernel refuses mezz-slirp a seccomp filter (say --sandbox=off to go without)"), 1;
    if (say(SLIRP_READY, ""))
        return 1;
    serve(s);
    return 0;
}
