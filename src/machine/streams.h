/* SPDX-License-Identifier: MIT */
/* streams.h - the host side of serial ports and consoles: this terminal, a file, a Unix socket. */
#ifndef MACHINE_STREAMS_H
#define MACHINE_STREAMS_H

#include "bus/stream.h"
#include "executor/executor.h"
#include "machine/machine.h"

struct host_stream;

/* Opens the host side; the error names `option` ("--serial file=x"). Kind OFF gives *out = NULL. */
int  host_stream_new(const struct machine_stream_config *, const struct machine_input_filter *, const char *option, struct executor *, struct host_stream **out, struct err *);
void host_stream_free(struct host_stream *);  /* NULL is allowed; the device must be gone */
/* What to give the device (all zero for NULL), and then who the device is: input starts to flow. */
struct stream_backend host_stream_backend(struct host_stream *);
int  host_stream_connect(struct host_stream *, struct stream_frontend, struct err *);

#endif
