/* SPDX-License-Identifier: MIT */
/* link.c - frames over a socket that keeps message boundaries.
 *
 * One frame that the card refused is kept in `held`, and nothing more is read until net_resume(). At most READS frames are taken at a time, so that a flood does not hold the
 * executor. All under the card's lock.
 */
#include "network/link.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { READS = 64, CHILD_GRACE_MS = 500 };

struct net_link {
    int fd;
    pid_t child;               /* 0: none */
    struct exec_watch watch;
    struct net_client client;
    bool started, lost, refused;
    size_t held_len;           /* 0: nothing held */
    uint8_t held[NET_FRAME_MAX];
};

static void watch(struct net_link *l)
{
    exec_watch_set(&l->watch, l->lost ? 0 : (l->held_len ? 0 : EXEC_READABLE) | (l->refused ? EXEC_WRITABLE : 0), NULL);
}

static void lose(struct net_link *l)
{
    l->lost = true;
    l->client.lost(l->client.opaque);
}

/* False: nothing more to read now. */
static bool read_frame(struct net_link *l)
{
    ssize_t n = recv(l->fd, l->held, sizeof l->held, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return false;
    if (n <= 0) {
        lose(l);
        return false;
    }
    if (!l->client.receive(l->client.opaque, l->held, (size_t)n))
        l->held_len = (size_t)n;
    return !l->held_len;
}

static void read_frames(struct net_link *l)
{
    unsigned n = 0;
    while (n < READS && !l->lost && read_frame(l))
        n++;
    if (l->client.batch)
        l->client.batch(l->client.opaque);
}

static void on_ready(void *opaque, unsigned events)
{
    struct net_link *l = opaque;
    if (events & EXEC_WRITABLE && l->refused) {
        l->refused = false;
        l->client.writable(l->client.opaque);
    }
    if (events & EXEC_READABLE && !l->held_len)
        read_frames(l);
    watch(l);
}

bool net_send(struct net_link *l, const uint8_t *frame, size_t len)
{
    if (l->lost)
        return true;
    if (send(l->fd, frame, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return true;
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS)
        return true; /* too long, or nobody there, which the next read finds */
    l->refused = true;
    watch(l);
    return false;
}

void net_resume(struct net_link *l)
{
    if (!l->started || !l->held_len)
        return;
    size_t len = l->held_len;
    l->held_len = 0;
    if (!l->client.receive(l->client.opaque, l->held, len))
        l->held_len = len;
    if (l->client.batch)
        l->client.batch(l->client.opaque);
    watch(l);
}

int net_start(struct net_link *l, struct executor *executor, pthread_mutex_t *lock, const struct net_client *client, struct err *err)
{
    l->client = *client;
    exec_watch_init(&l->watch, executor, lock, l->fd, on_ready, l);
    l->started = true;
    return exec_watch_set(&l->watch, EXEC_READABLE, err);
}

int net_socket_open(int fd, struct net_link **out, struct err *err)
{
    struct net_link *l = calloc(1, sizeof *l);
    const int room = 1 << 20; /* some hundreds of frames; what the host allows */
    if (!l)
        return err_set(err, ERR_HOST, "no memory for a network link");
    l->fd = fd;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    *out = l;
    return 0;
}

void net_link_set_child(struct net_link *l, pid_t child) { l->child = child; }

/* It ends by itself when its socket closes. */
static void reap(pid_t child)
{
    for (unsigned ms = 0; ms < CHILD_GRACE_MS; ms++) {
        if (waitpid(child, NULL, WNOHANG))
            return;
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

void net_close(struct net_link *l)
{
    if (!l)
        return;
    if (l->started)
        exec_watch_cancel(&l->watch);
    close(l->fd);
    if (l->child > 0)
        reap(l->child);
    free(l);
}
