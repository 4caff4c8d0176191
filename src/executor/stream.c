/* SPDX-License-Identifier: MIT */
/* stream.c - see stream.h.
 *
 * Output is tried at once and otherwise buffered; what the buffer cannot take, the device keeps until writable(). Input is read in small pieces; what the device
 * cannot take is kept here, and nothing more is read until readable(). So a slow side slows the other one, and nothing grows.
 * The terminal is opened anew where that can be done, since the event loop makes its descriptors non-blocking, and that would outlive us in a shell.
 * Locking: stream.lock, below the device's and above the executor's. The frontend is called without it. Callbacks run on one executor, one at a time.
 */
#include "executor/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bits.h"

enum { OUT_MAX = 65536, IN_MAX = 256 };

struct stream {
    struct stream_config config;
    struct executor *executor;
    pthread_mutex_t lock;
    struct stream_frontend frontend;
    int in, out, listener;           /* -1: none; a socket's client is both in and out */
    struct exec_watch in_watch, out_watch, listen_watch;
    struct exec_work resume;         /* the device has room again */
    bool refused;                    /* the device was told of less than all */
    bool in_ended;
    bool made, started;              /* a file that was made here stays only once the run has begun */
    uint8_t out_buffer[OUT_MAX], in_buffer[IN_MAX];
    size_t out_start, out_count, in_count;
};

/* ---- configuration ----------------------------------------------------------------------------------------------------------------------------------------- */

int stream_parse(const char *text, struct stream_config *out, struct err *err)
{
    static const struct { const char *name; enum stream_kind kind; bool path; } kinds[] = {
        { "off", STREAM_OFF, false }, { "null", STREAM_OFF, false }, { "stdio", STREAM_STDIO, false }, { "tty", STREAM_STDIO, false },
        { "file=", STREAM_FILE, true }, { "socket=", STREAM_SOCKET, true },
    };
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        size_t n = strlen(kinds[i].name);
        const char *path = text + n;
        if (strncmp(text, kinds[i].name, n) || (!kinds[i].path && *path))
            continue;
        if (kinds[i].path && (!*path || strlen(path) >= sizeof out->path))
            return err_set(err, ERR_USAGE, "'%s': the path is empty or longer than %zu bytes", text, sizeof out->path - 1);
        out->kind = kinds[i].kind;
        memcpy(out->path, path, strlen(path) + 1);
        return 0;
    }
    return err_set(err, ERR_USAGE, "'%s' is none of stdio, off, file=F, socket=F", text);
}

/* ---- output --------------------------------------------------------------------------------------------------------------------------------------------------- */

/* Writes what is buffered; lock held. A reader that went away loses it. */
static void flush_locked(struct stream *s)
{
    while (s->out_count) {
        size_t run = s->out_start + s->out_count > OUT_MAX ? OUT_MAX - s->out_start : s->out_count;
        ssize_t n = s->out < 0 ? (ssize_t)run : write(s->out, s->out_buffer + s->out_start, run);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0)
            n = (ssize_t)run;
        s->out_start = (s->out_start + (size_t)n) % OUT_MAX;
        s->out_count -= (size_t)n;
    }
}

static size_t append_locked(struct stream *s, const uint8_t *data, size_t len)
{
    size_t n = 0;
    while (n < len && s->out_count < OUT_MAX)
        s->out_buffer[(s->out_start + s->out_count++) % OUT_MAX] = data[n++];
    return n;
}

static struct exec_watch *out_watch(struct stream *s) { return s->out >= 0 && s->out == s->in ? &s->in_watch : &s->out_watch; }

/* Asks for what is wanted now; lock held. One watch serves both directions of a socket. */
static void watch_locked(struct stream *s)
{
    unsigned readable = s->in >= 0 && !s->in_ended && s->frontend.receive && !s->in_count ? EXEC_READABLE : 0;
    unsigned writable = s->out >= 0 && s->out_count ? EXEC_WRITABLE : 0;
    bool one = s->out >= 0 && s->out == s->in;
    if (s->in >= 0)
        exec_watch_set(&s->in_watch, readable | (one ? writable : 0), NULL);
    if (s->out >= 0 && !one)
        exec_watch_set(out_watch(s), writable, NULL);
}

static size_t backend_write(void *opaque, const uint8_t *data, size_t len)
{
    struct stream *s = opaque;
    pthread_mutex_lock(&s->lock);
    size_t taken = append_locked(s, data, len);
    flush_locked(s);
    taken += append_locked(s, data + taken, len - taken);
    s->refused = taken < len;
    if (s->out_count)
        watch_locked(s);
    pthread_mutex_unlock(&s->lock);
    return taken;
}

/* On the executor. */
static void can_write(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    flush_locked(s);
    struct stream_frontend frontend = s->frontend;
    bool tell = s->refused && s->out_count < OUT_MAX / 2 && frontend.writable;
    s->refused = s->refused && !tell;
    watch_locked(s);
    pthread_mutex_unlock(&s->lock);
    if (tell)
        frontend.writable(frontend.opaque);
}

void stream_flush(struct stream *s, unsigned ms)
{
    for (;;) {
        pthread_mutex_lock(&s->lock);
        flush_locked(s);
        struct pollfd p = { .fd = s->out_count ? s->out : -1, .events = POLLOUT };
        pthread_mutex_unlock(&s->lock);
        if (p.fd < 0 || poll(&p, 1, (int)ms) <= 0)
            return;
    }
}

/* ---- input ------------------------------------------------------------------------------------------------------------------------------------------------------ */

static struct stream_frontend frontend_of(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    struct stream_frontend frontend = s->frontend;
    pthread_mutex_unlock(&s->lock);
    return frontend;
}

/* The input buffer changes on the executor alone, its count under the lock, too, for watch_locked(). */
static void set_in_count(struct stream *s, size_t count)
{
    pthread_mutex_lock(&s->lock);
    s->in_count = count;
    pthread_mutex_unlock(&s->lock);
}

/* Offers what is kept; on the executor, no lock held. */
static void deliver(struct stream *s)
{
    struct stream_frontend frontend = frontend_of(s);
    if (!s->in_count || !frontend.receive)
        return;
    size_t taken = frontend.receive(frontend.opaque, s->in_buffer, s->in_count);
    memmove(s->in_buffer, s->in_buffer + taken, s->in_count - taken);
    set_in_count(s, s->in_count - taken);
}

static size_t filter(struct stream *s, uint8_t *data, size_t len)
{
    size_t kept = 0;
    for (size_t i = 0; i < len; i++)
        if (!s->config.filter || !s->config.filter(s->config.filter_opaque, data[i]))
            data[kept++] = data[i];
    return kept;
}

static void drop_client(struct stream *s)
{
    exec_watch_cancel(&s->in_watch);
    pthread_mutex_lock(&s->lock);
    close(s->in);
    s->in = s->out = -1;
    s->in_count = s->out_count = 0;
    exec_watch_set(&s->listen_watch, EXEC_READABLE, NULL);
    pthread_mutex_unlock(&s->lock);
}

static void can_read(struct stream *s)
{
    if (s->in_count)
        return;
    ssize_t n = read(s->in, s->in_buffer, IN_MAX);
    if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == EWOULDBLOCK))
        return;
    if (n <= 0 && s->config.kind == STREAM_SOCKET) {
        drop_client(s);
        return;
    }
    size_t kept = n > 0 ? filter(s, s->in_buffer, (size_t)n) : 0;
    pthread_mutex_lock(&s->lock);
    s->in_ended = n <= 0;
    s->in_count = kept;
    pthread_mutex_unlock(&s->lock);
    deliver(s);
}

static void on_in(void *opaque, unsigned events)
{
    struct stream *s = opaque;
    if (events & EXEC_WRITABLE)
        can_write(s);
    if (events & EXEC_READABLE)
        can_read(s);
    pthread_mutex_lock(&s->lock);
    watch_locked(s);
    pthread_mutex_unlock(&s->lock);
}

static void on_out(void *opaque, unsigned events)
{
    (void)events;
    can_write(opaque);
}

static void on_resume(void *opaque)
{
    struct stream *s = opaque;
    deliver(s);
    pthread_mutex_lock(&s->lock);
    watch_locked(s);
    pthread_mutex_unlock(&s->lock);
}

static void backend_readable(void *opaque) { exec_work_post(&((struct stream *)opaque)->resume); }

void stream_type(struct stream *s, uint8_t byte)
{
    struct stream_frontend frontend = frontend_of(s);
    if (frontend.receive)
        frontend.receive(frontend.opaque, &byte, 1);
}

static void on_client(void *opaque, unsigned events)
{
    struct stream *s = opaque;
    int fd = accept(s->listener, NULL, NULL);
    (void)events;
    if (fd < 0)
        return;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    pthread_mutex_lock(&s->lock);
    s->in = s->out = fd;
    exec_watch_set(&s->listen_watch, 0, NULL);
    exec_watch_init(&s->in_watch, s->executor, NULL, fd, on_in, s);
    watch_locked(s);
    pthread_mutex_unlock(&s->lock);
}

/* ---- opening ------------------------------------------------------------------------------------------------------------------------------------------------------ */

/* A description of our own for a terminal or pipe; a file keeps the shared one, whose offset others count on. */
static int open_anew(int fd, int mode)
{
    char path[32];
    struct stat st;
    snprintf(path, sizeof path, "/dev/fd/%d", fd);
    int own = -1;
    if (fstat(fd, &st) == 0 && (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)))
        own = open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* A socket file that nobody listens on is left over from before; one in use is not ours. What is no socket refuses connections, too, and stays. */
static void remove_stale_socket(const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(address->sun_path, &st) || !S_ISSOCK(st.st_mode))
        return;
    int probe = socket(AF_UNIX, SOCK_STREAM, 0);
    if (probe >= 0 && connect(probe, (const struct sockaddr *)address, sizeof *address) && errno == ECONNREFUSED)
        unlink(address->sun_path);
    close(probe);
}

static int open_listener(const char *path, struct err *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    memcpy(address.sun_path, path, strlen(path) + 1);
    remove_stale_socket(&address);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 1)) {
        err_set(err, ERR_INPUT, "socket=%s: %s", path, strerror(errno));
        close(fd);
        return -1;
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* What is there keeps its bytes until stream_start(). A pipe without a reader is refused, since waiting for one would have no end. */
static int open_file(struct stream *s, struct err *err)
{
    const char *path = s->config.path;
    int flags = O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    s->out = open(path, flags | O_CREAT | O_EXCL, 0666);
    s->made = s->out >= 0;
    if (s->out < 0 && errno == EEXIST)
        s->out = open(path, flags);
    if (s->out < 0 && errno == ENXIO)
        return err_set(err, ERR_INPUT, "file=%s: is a pipe that nobody reads, or a socket", path);
    return s->out >= 0 ? 0 : err_set(err, ERR_INPUT, "file=%s: %s", path, strerror(errno));
}

static int open_ends(struct stream *s, struct err *err)
{
    const char *path = s->config.path;
    switch (s->config.kind) {
    case STREAM_OFF:
        return 0;
    case STREAM_STDIO:
        s->in = open_anew(0, O_RDONLY);
        s->out = open_anew(1, O_WRONLY);
        return s->out >= 0 ? 0 : err_set(err, ERR_HOST, "stdio: standard output is closed");
    case STREAM_FILE:
        return open_file(s, err);
    default:
        s->listener = open_listener(path, err);
        return s->listener >= 0 ? 0 : ERR_INPUT;
    }
}

int stream_new(const struct stream_config *config, struct executor *executor, struct stream **out, struct err *err)
{
    struct stream *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_HOST, "no memory");
    s->config = *config;
    s->executor = executor;
    s->in = s->out = s->listener = -1;
    pthread_mutex_init(&s->lock, NULL);
    exec_work_init(&s->resume, executor, NULL, on_resume, s);
    int r = open_ends(s, err);
    if (r) {
        stream_free(s);
        return r;
    }
    if (s->in >= 0)
        exec_watch_init(&s->in_watch, executor, NULL, s->in, on_in, s);
    if (s->out >= 0)
        exec_watch_init(&s->out_watch, executor, NULL, s->out, on_out, s);
    if (s->listener >= 0) {
        exec_watch_init(&s->listen_watch, executor, NULL, s->listener, on_client, s);
        exec_watch_set(&s->listen_watch, EXEC_READABLE, NULL);
    }
    *out = s;
    return 0;
}

int stream_file(const struct stream *s)
{
    struct stat st;
    return s->config.kind == STREAM_FILE && fstat(s->out, &st) == 0 && S_ISREG(st.st_mode) ? s->out : -1;
}

void stream_start(struct stream *s)
{
    s->started = true;
    if (stream_file(s) >= 0 && ftruncate(s->out, 0))
        return; /* a file that cannot be emptied is written over */
}

struct stream_backend stream_backend(struct stream *s) { return (struct stream_backend){ backend_write, backend_readable, s }; }

void stream_connect(struct stream *s, const struct stream_frontend *frontend)
{
    pthread_mutex_lock(&s->lock);
    s->frontend = *frontend;
    watch_locked(s);
    pthread_mutex_unlock(&s->lock);
}

void stream_free(struct stream *s)
{
    if (!s)
        return;
    exec_work_cancel(&s->resume);
    exec_watch_cancel(&s->in_watch);
    exec_watch_cancel(&s->out_watch);
    exec_watch_cancel(&s->listen_watch);
    if (s->in >= 0)
        close(s->in);
    if (s->out >= 0 && s->out != s->in)
        close(s->out);
    if (s->made && !s->started)
        unlink(s->config.path);
    if (s->listener >= 0) {
        close(s->listener);
        unlink(s->config.path);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}
