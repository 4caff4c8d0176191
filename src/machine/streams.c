/* SPDX-License-Identifier: MIT */
/* streams.c - terminal, file and socket ends of a character stream.
 *
 * Output is written as the device gives it, at most what the descriptor takes without waiting; when it takes less, a watch tells the device later. Input is read only while
 * the device has room. A socket serves one peer at a time; without one, output is dropped. What comes from outside is plain bytes to the guest.
 * Locks: write() runs with the device's lock held on any thread; everything else on the executor without it. `lock` guards the output descriptor and is a leaf.
 */
#include "machine/streams.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bits.h"

#define PIECE    512  /* a pipe or terminal that polls writable takes so much at once (POSIX: PIPE_BUF >= 512) */
#define INPUT_MAX 4096

struct host_stream {
    struct executor *executor;
    struct stream_frontend frontend;
    struct machine_input_filter filter;
    pthread_mutex_t lock;
    int in, out, listener;      /* -1: none */
    char *socket_path;
    bool in_is_file, connected, owns;
    struct exec_watch in_watch, out_watch, listen_watch;
    struct exec_work readable, blocked;
    uint8_t pending[INPUT_MAX]; /* read, but not yet taken by the device */
    size_t pending_at, pending_len;
};

static bool descriptor_ready(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    return poll(&p, 1, 0) == 1 && p.revents & events;
}

/* ---- device to host ------------------------------------------------------------------------------------------------------------------------------ */

static size_t stream_write(void *opaque, const uint8_t *data, size_t len)
{
    struct host_stream *s = opaque;
    size_t done = 0;
    pthread_mutex_lock(&s->lock);
    if (s->out < 0) {
        pthread_mutex_unlock(&s->lock);
        return len;
    }
    while (done < len && descriptor_ready(s->out, POLLOUT)) {
        ssize_t n = write(s->out, data + done, len - done < PIECE ? len - done : PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            done = len; /* the peer is gone: its bytes with it */
            break;
        }
        done += (size_t)n;
    }
    pthread_mutex_unlock(&s->lock);
    if (done < len)
        exec_work_post(&s->blocked);
    return done;
}

static void out_ready(void *opaque, unsigned events)
{
    struct host_stream *s = opaque;
    (void)events;
    exec_watch_set(&s->out_watch, 0, NULL);
    s->frontend.writable(s->frontend.opaque);
}

static void watch_output(void *opaque)
{
    struct host_stream *s = opaque;
    if (s->out >= 0 && !exec_watch_set(&s->out_watch, EXEC_WRITABLE, NULL))
        return;
    s->frontend.writable(s->frontend.opaque);
}

/* ---- host to device ------------------------------------------------------------------------------------------------------------------------------ */

static void watch_input(struct host_stream *s, bool on)
{
    if (s->in < 0)
        return;
    if (s->in_is_file) {
        if (on)
            exec_work_post(&s->readable);
        return;
    }
    exec_watch_set(&s->in_watch, on ? EXEC_READABLE : 0, NULL);
}

static void drop_peer(struct host_stream *s)
{
    watch_input(s, false);
    if (s->listener < 0) {
        s->in = -1; /* the terminal or file has ended; output goes on */
        return;
    }
    pthread_mutex_lock(&s->lock);
    exec_watch_cancel(&s->in_watch);
    exec_watch_cancel(&s->out_watch);
    close(s->in);
    s->in = s->out = -1;
    pthread_mutex_unlock(&s->lock);
    exec_watch_set(&s->listen_watch, EXEC_READABLE, NULL);
    if (s->frontend.writable)
        s->frontend.writable(s->frontend.opaque);
}

/* Gives the device what waits; true when all of it was taken. */
static bool push_pending(struct host_stream *s)
{
    while (s->pending_at < s->pending_len) {
        size_t taken = s->frontend.receive(s->frontend.opaque, s->pending + s->pending_at, s->pending_len - s->pending_at);
        if (!taken)
            return false;
        s->pending_at += taken;
    }
    return true;
}

static void read_more(struct host_stream *s)
{
    if (s->in < 0 || !push_pending(s)) {
        watch_input(s, false);
        return;
    }
    if (!s->in_is_file && !descriptor_ready(s->in, POLLIN | POLLHUP)) {
        watch_input(s, true);
        return;
    }
    ssize_t n = read(s->in, s->pending, sizeof s->pending);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        n = 0;
    else if (n <= 0) {
        drop_peer(s);
        return;
    }
    s->pending_at = 0;
    s->pending_len = s->filter.filter ? s->filter.filter(s->filter.opaque, s->pending, (size_t)n) : (size_t)n;
    watch_input(s, push_pending(s));
}

static void in_ready(void *opaque, unsigned events)
{
    (void)events;
    read_more(opaque);
}

static void readable_again(void *opaque) { read_more(opaque); }

static void stream_readable(void *opaque)
{
    exec_work_post(&((struct host_stream *)opaque)->readable);
}

static void attach(struct host_stream *s)
{
    exec_watch_init(&s->in_watch, s->executor, NULL, s->in, in_ready, s);
    exec_watch_init(&s->out_watch, s->executor, NULL, s->out, out_ready, s);
}

static void peer_arrived(void *opaque, unsigned events)
{
    struct host_stream *s = opaque;
    (void)events;
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    pthread_mutex_lock(&s->lock);
    s->in = s->out = fd;
    attach(s);
    pthread_mutex_unlock(&s->lock);
    exec_watch_set(&s->listen_watch, 0, NULL);
    watch_input(s, true);
}

/* ---- opening --------------------------------------------------------------------------------------------------------------------------------------- */

static int open_file(struct host_stream *s, const char *path, const char *option, struct err *err)
{
    s->out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644);
    s->owns = true;
    return s->out >= 0 ? 0 : err_set(err, ERR_INPUT, "%s file=%s: cannot open it: %m", option, path);
}

static int open_socket(struct host_stream *s, const char *path, const char *option, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return err_set(err, ERR_USAGE, "%s socket=%s: the path is longer than %zu bytes", option, path, sizeof address.sun_path - 1);
    strcpy(address.sun_path, path);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listener < 0 || bind(s->listener, (struct sockaddr *)&address, sizeof address) || !(s->socket_path = strdup(path)) || listen(s->listener, 1))
        return err_set(err, ERR_INPUT, "%s socket=%s: cannot listen there: %m (remove the file if nobody uses it)", option, path);
    exec_watch_init(&s->listen_watch, s->executor, NULL, s->listener, peer_arrived, s);
    return 0;
}

static void open_stdio(struct host_stream *s)
{
    struct stat status;
    s->in = STDIN_FILENO;
    s->out = STDOUT_FILENO;
    if (fstat(s->in, &status))
        s->in = -1;
    else
        s->in_is_file = S_ISREG(status.st_mode);
}

int host_stream_new(const struct machine_stream_config *config, const struct machine_input_filter *filter, const char *option, struct executor *executor,
                    struct host_stream **out, struct err *err)
{
    *out = NULL;
    if (config->kind == MACHINE_STREAM_OFF)
        return 0;
    struct host_stream *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_HOST, "out of memory");
    s->executor = executor;
    s->in = s->out = s->listener = -1;
    pthread_mutex_init(&s->lock, NULL);
    exec_work_init(&s->readable, executor, NULL, readable_again, s);
    exec_work_init(&s->blocked, executor, NULL, watch_output, s);
    int r = 0;
    if (config->kind == MACHINE_STREAM_STDIO) {
        open_stdio(s);
        s->filter = filter ? *filter : (struct machine_input_filter){NULL, NULL};
    } else {
        r = config->kind == MACHINE_STREAM_FILE ? open_file(s, config->path, option, err) : open_socket(s, config->path, option, err);
    }
    if (r) {
        host_stream_free(s);
        return r;
    }
    attach(s);
    *out = s;
    return 0;
}

struct stream_backend host_stream_backend(struct host_stream *s)
{
    return s ? (struct stream_backend){stream_write, stream_readable, s} : (struct stream_backend){NULL, NULL, NULL};
}

int host_stream_connect(struct host_stream *s, struct stream_frontend frontend, struct err *err)
{
    if (!s)
        return 0;
    s->frontend = frontend;
    s->connected = true;
    if (s->listener >= 0)
        return exec_watch_set(&s->listen_watch, EXEC_READABLE, err);
    if (s->in >= 0 && !s->in_is_file && exec_watch_set(&s->in_watch, EXEC_READABLE, NULL))
        s->in = -1; /* a descriptor that cannot be watched, such as /dev/null: no input */
    watch_input(s, true);
    return 0;
}

void host_stream_free(struct host_stream *s)
{
    if (!s)
        return;
    exec_work_cancel(&s->readable);
    exec_work_cancel(&s->blocked);
    if (s->listener >= 0) {
        exec_watch_cancel(&s->listen_watch);
        close(s->listener);
    }
    if (s->socket_path)
        unlink(s->socket_path);
    exec_watch_cancel(&s->in_watch);
    exec_watch_cancel(&s->out_watch);
    if (s->listener >= 0 && s->in >= 0)
        close(s->in);
    if (s->owns && s->out >= 0)
        close(s->out);
    free(s->socket_path);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
