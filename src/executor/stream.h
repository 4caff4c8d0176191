/* SPDX-License-Identifier: MIT */
/* stream.h - host sides of character devices: the terminal, a file, a Unix socket (see base/stream.h for the two halves).
 *
 *     stream_new(&config, executor, &stream, err);
 *     ... create the device with stream_backend(stream) ...
 *     stream_connect(stream, &frontend);        // input flows from here on
 *     stream_start(stream);                     // when all is well and the run begins
 *     stream_free(stream);                      // after the device
 *
 * Terminal modes are the program's: this only reads and writes.
 */
#ifndef EXECUTOR_STREAM_H
#define EXECUTOR_STREAM_H

#include <stdbool.h>

#include "base/error.h"
#include "base/stream.h"
#include "executor/executor.h"

enum stream_kind {
    STREAM_OFF,     /* swallows output, no input                                                    */
    STREAM_STDIO,   /* standard input and output; what these are decides: terminal, pipe, file       */
    STREAM_FILE,    /* output to a file, which is created, or emptied by stream_start()              */
    STREAM_SOCKET,  /* listens on a Unix socket for one client at a time; without one, output is lost */
};

struct stream_config {
    enum stream_kind kind;
    char path[108];           /* FILE, SOCKET: a socket's address takes no more */
    /* Sees each byte of input first; true: it keeps it, the device does not get it (the escape key of a terminal). May be NULL. Runs on the executor, no lock held. */
    bool (*filter)(void *opaque, uint8_t byte);
    void *filter_opaque;
};

/* "off", "stdio", "file=F", "socket=F" (also "null"). ERR_USAGE otherwise. */
int  stream_parse(const char *text, struct stream_config *out, struct err *);

struct stream;
int  stream_new(const struct stream_config *, struct executor *, struct stream **out, struct err *);
struct stream_backend stream_backend(struct stream *);
/* The descriptor of a STREAM_FILE that is a regular file, for locking it; else -1. The stream keeps it. */
int  stream_file(const struct stream *);
/* The run begins: empties the file. Without this call a file that stream_new() made is removed by stream_free(), and one that was there stays as it was. */
void stream_start(struct stream *);
void stream_connect(struct stream *, const struct stream_frontend *);
/* Takes input as if it had been typed (the escape key sent to the guest). Any thread, no device lock held. */
void stream_type(struct stream *, uint8_t byte);
/* Writes what is still buffered, waiting at most `ms` for a slow reader. For the end of the program. */
void stream_flush(struct stream *, unsigned ms);
void stream_free(struct stream *); /* NULL is allowed */

#endif
