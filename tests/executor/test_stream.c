/* SPDX-License-Identifier: MIT */
/* test_stream.c - configuration text; a socket client there and back with slow sides; a file; errors that name the path. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "executor/stream.h"

struct toy { pthread_mutex_t lock; uint8_t got[200000]; size_t count, room; _Atomic unsigned writable; struct stream_backend backend; };

static size_t toy_receive(void *opaque, const uint8_t *data, size_t len)
{
    struct toy *t = opaque;
    pthread_mutex_lock(&t->lock);
    size_t n = len < t->room ? len : t->room;
    memcpy(t->got + t->count, data, n);
    t->count += n;
    t->room -= n;
    pthread_mutex_unlock(&t->lock);
    return n;
}

static void toy_writable(void *opaque)
{
    atomic_fetch_add(&((struct toy *)opaque)->writable, 1);
}

static size_t toy_count(struct toy *t)
{
    pthread_mutex_lock(&t->lock);
    size_t n = t->count;
    pthread_mutex_unlock(&t->lock);
    return n;
}

static void wait_count(struct toy *t, size_t want)
{
    for (unsigned i = 0; i < 5000 && toy_count(t) < want; i++)
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    assert_int_equal(toy_count(t), want);
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static bool keep_escape(void *opaque, uint8_t byte)
{
    if (byte != 0x1d)
        return false;
    ++*(unsigned *)opaque;
    return true;
}

static void parses(void **state)
{
    (void)state;
    struct stream_config c = { .kind = STREAM_OFF };
    struct err err = ERR_NONE;
    assert_int_equal(stream_parse("stdio", &c, &err), 0);
    assert_int_equal(c.kind, STREAM_STDIO);
    assert_int_equal(stream_parse("file=/x/y", &c, &err), 0);
    assert_string_equal(c.path, "/x/y");
    assert_int_equal(stream_parse("socket=", &c, &err), ERR_USAGE);
    assert_int_equal(stream_parse("stdios", &c, &err), ERR_USAGE);
    assert_non_null(strstr(err.text, "stdio, off"));
}

static void socket_there_and_back(void **state)
{
    (void)state;
    struct exec_clock *clock = exec_clock_new(NULL);
    struct executor *e;
    struct stream *s;
    static struct toy t;
    unsigned escapes = 0;
    struct stream_config config = { .kind = STREAM_SOCKET, .path = "stream-test.sock", .filter = keep_escape, .filter_opaque = &escapes };
    t = (struct toy){ .lock = PTHREAD_MUTEX_INITIALIZER, .room = 5 };
    assert_int_equal(executor_new_thread(clock, "stream", NULL, NULL, &e, NULL), 0);
    assert_int_equal(stream_new(&config, e, &s, NULL), 0);
    t.backend = stream_backend(s);
    stream_connect(s, &(struct stream_frontend){ toy_receive, toy_writable, &t });
    assert_int_equal(t.backend.write(t.backend.opaque, (const uint8_t *)"lost", 4), 4);
    for (unsigned round = 0; round < 2; round++) { /* a second client after the first */
        int fd = connect_to("stream-test.sock");
        assert_int_equal(write(fd, "hello\x1d world", 12), 12);
        wait_count(&t, round * 11 + 5);
        nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
        assert_int_equal(toy_count(&t), round * 11 + 5);
        pthread_mutex_lock(&t.lock);
        t.room = 6;
        pthread_mutex_unlock(&t.lock);
        t.backend.readable(t.backend.opaque);
        wait_count(&t, round * 11 + 11);
        pthread_mutex_lock(&t.lock);
        t.room = 5;
        pthread_mutex_unlock(&t.lock);
        assert_int_equal(escapes, round + 1);
        /* more than the buffers hold, to a client that reads late */
        static uint8_t out[1 << 20], in[1 << 20];
        size_t sent = t.backend.write(t.backend.opaque, out, sizeof out), read_bytes = 0;
        assert_true(sent < sizeof out);
        while (read_bytes < sent) {
            ssize_t n = read(fd, in, sizeof in);
            assert_true(n > 0);
            read_bytes += (size_t)n;
        }
        for (unsigned i = 0; i < 5000 && atomic_load(&t.writable) == round; i++)
            nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
        assert_int_equal(t.writable, round + 1);
        close(fd);
    }
    assert_memory_equal(t.got, "hello worldhello world", 22);
    stream_free(s);
    assert_int_equal(access("stream-test.sock", F_OK), -1);
    executor_free(e);
    exec_clock_free(clock);
}

static void file_takes_output(void **state)
{
    (void)state;
    struct executor *e;
    struct stream *s;
    struct err err = ERR_NONE;
    char back[16] = "";
    struct stream_config config = { .kind = STREAM_FILE, .path = "stream-test.txt" };
    assert_int_equal(executor_new_virtual(&e, NULL), 0);
    assert_int_equal(stream_new(&config, e, &s, NULL), 0);
    stream_free(s);
    assert_int_equal(access("stream-test.txt", F_OK), -1); /* made, but not started */
    int old = open("stream-test.txt", O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    assert_int_equal(write(old, "what was there before\n", 22), 22);
    assert_int_equal(stream_new(&config, e, &s, NULL), 0);
    assert_int_equal(lseek(old, 0, SEEK_END), 22);
    stream_start(s);
    assert_int_equal(lseek(old, 0, SEEK_END), 0);
    close(old);
    struct stream_backend b = stream_backend(s);
    assert_int_equal(b.write(b.opaque, (const uint8_t *)"some text\n", 10), 10);
    stream_free(s);
    int fd = open("stream-test.txt", O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, back, sizeof back), 10);
    assert_memory_equal(back, "some text\n", 10);
    close(fd);
    config.kind = STREAM_SOCKET;
    assert_int_equal(stream_new(&config, e, &s, &err), ERR_INPUT);
    assert_int_equal(access("stream-test.txt", F_OK), 0); /* no socket, so it stays */
    config.kind = STREAM_FILE;
    unlink("stream-test.txt");
    assert_int_equal(mkfifo("stream-test.txt", 0666), 0);
    assert_int_equal(stream_new(&config, e, &s, &err), ERR_INPUT); /* and does not wait */
    unlink("stream-test.txt");
    strcpy(config.path, "/nonexistent/file");
    assert_int_equal(stream_new(&config, e, &s, &err), ERR_INPUT);
    assert_non_null(strstr(err.text, "/nonexistent/file"));
    config.kind = STREAM_SOCKET;
    assert_int_equal(stream_new(&config, e, &s, &err), ERR_INPUT);
    executor_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(parses), cmocka_unit_test(socket_there_and_back), cmocka_unit_test(file_takes_output) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
