/* SPDX-License-Identifier: MIT */
/* host_uv.c - the alarm on a libuv timer: milliseconds, rounded up. For hosts without a timerfd. */
#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "executor/internal.h"

struct exec_alarm { uv_timer_t timer; uint64_t at; };

static void on_expiry(uv_timer_t *timer) { ((struct exec_alarm *)timer)->at = UINT64_MAX; }

struct exec_alarm *exec_alarm_new(void *uv_loop, struct err *err)
{
    struct exec_alarm *alarm = calloc(1, sizeof *alarm);
    if (!alarm) {
        err_set(err, ERR_HOST, "no memory for a timer");
        return NULL;
    }
    alarm->at = UINT64_MAX;
    uv_timer_init(uv_loop, &alarm->timer);
    return alarm;
}

void exec_alarm_set(struct exec_alarm *alarm, uint64_t host_ns)
{
    if (alarm->at == host_ns)
        return;
    alarm->at = host_ns;
    if (host_ns == UINT64_MAX) {
        uv_timer_stop(&alarm->timer);
        return;
    }
    uint64_t now = clock_ns(), ms = host_ns > now ? (host_ns - now + 999999) / 1000000 : 0;
    uv_update_time(alarm->timer.loop);
    uv_timer_start(&alarm->timer, on_expiry, ms, 0);
}

static void on_closed(uv_handle_t *handle) { free(handle); }

void exec_alarm_close(struct exec_alarm *alarm) { uv_close((uv_handle_t *)&alarm->timer, on_closed); }

void exec_name_thread(const char *name) { (void)name; }
