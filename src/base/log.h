/* SPDX-License-Identifier: MIT */
/* log.h - messages for the person who runs a VM, through a sink that the program gives; there is no global logger.
 *
 * Quiet by default: the level starts at LOG_WARN. What a guest causes goes through log_guest(), which passes at most ten lines in five
 * seconds for each log and then counts, so that a hostile guest cannot fill a disk. Thread rule: any thread; lines never mix.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdatomic.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log {
    void (*write)(void *opaque, enum log_level level, const char *line); /* one line without its newline; called from any thread */
    void *opaque;
    enum log_level level;                                                /* lines above it are dropped                           */
    _Atomic uint64_t window_start;                                       /* log_guest: start of the five seconds, ns             */
    _Atomic uint32_t window_lines, suppressed;
};

/* A log that drops everything: for tests and for library callers that do not care. `log` may also be NULL everywhere below. */
void log_line(struct log *log, enum log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A message that a guest can provoke, at LOG_INFO; `device` names who says so. */
void log_guest(struct log *log, const char *device, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A sink that writes "mezz: line\n" to stderr with one write. */
void log_to_stderr(void *opaque, enum log_level level, const char *line);

#endif
