/* SPDX-License-Identifier: MIT */
/* host_linux.c - the alarm on a timerfd, since libuv's own timers count milliseconds. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

#include "executor/internal.h"

struct exec_alarm { uv_poll_t poll; int fd; uint64_t at; };

/* The expiry itself wakes the loop; this only takes it back. */
static void on_expiry(uv_poll_t *poll, int status, int events)
{
    struct exec_alarm *alarm = (struct exec_alarm *)poll;
    uint64_t count;
    (void)status;
    (void)events;
    if (read(alarm->fd, &count, sizeof count) > 0)
        alarm->at = UINT64_MAX;
}

struct exec_alarm *exec_alarm_new(void *uv_loop, struct err *err)
{
    struct exec_alarm *alarm = calloc(1, sizeof *alarm);
    if (!alarm || (alarm->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) < 0) {
        err_set(err, ERR_HOST, "cannot make a timer: %s", strerror(errno));
        free(alarm);
        return NULL;
    }
    alarm->at = UINT64_MAX;
    uv_poll_init(uv_loop, &alarm->poll, alarm->fd);
    uv_poll_start(&alarm->poll, UV_READABLE, on_expiry);
    return alarm;
}

void exec_alarm_set(struct exec_alarm *alarm, uint64_t host_ns)
{
    const uint64_t second = 1000000000;
    if (alarm->at == host_ns)
        return;
    alarm->at = host_ns;
    struct itimerspec when = { 0 }; /* all zero disarms */
    if (host_ns != UINT64_MAX)
        when.it_value = (struct timespec){ (time_t)(host_ns / second), (long)(host_ns % second) };
    if (host_ns == 0)
        when.it_value.tv_nsec = 1;
    timerfd_settime(alarm->fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void on_closed(uv_handle_t *handle)
{
    struct exec_alarm *alarm = (struct exec_alarm *)handle;
    close(alarm->fd);
    free(alarm);
}

void exec_alarm_close(struct exec_alarm *alarm) { uv_close((uv_handle_t *)&alarm->poll, on_closed); }

void exec_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }
