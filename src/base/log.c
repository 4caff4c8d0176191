/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"

#define GUEST_LINES_PER_WINDOW 10
#define GUEST_WINDOW_NS        (5 * UINT64_C(1000000000))

static void log_write(struct log *log, enum log_level level, const char *format, va_list args)
{
    char line[512];
    vsnprintf(line, sizeof line, format, args);
    log->write(log->opaque, level, line);
}

void log_line(struct log *log, enum log_level level, const char *format, ...)
{
    if (!log || !log->write || level > log->level)
        return;
    va_list args;
    va_start(args, format);
    log_write(log, level, format, args);
    va_end(args);
}

void log_guest(struct log *log, const char *device, const char *format, ...)
{
    if (!log || !log->write || LOG_INFO > log->level)
        return;
    uint64_t now = clock_ns();
    if (now - atomic_load(&log->window_start) > GUEST_WINDOW_NS) {
        atomic_store(&log->window_start, now);
        atomic_store(&log->window_lines, 0);
        uint32_t lost = atomic_exchange(&log->suppressed, 0);
        if (lost)
            log_line(log, LOG_INFO, "%u more messages about the guest were left out", lost);
    }
    if (atomic_fetch_add(&log->window_lines, 1) >= GUEST_LINES_PER_WINDOW) {
        atomic_fetch_add(&log->suppressed, 1);
        return;
    }
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log_line(log, LOG_INFO, "%s: %s", device, text);
}

void log_to_stderr(void *opaque, enum log_level level, const char *line)
{
    (void)opaque;
    (void)level;
    fprintf(stderr, "mezz: %s\n", line);
}
