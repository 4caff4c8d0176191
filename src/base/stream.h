/* SPDX-License-Identifier: MIT */
/* stream.h - characters between a device (serial port, console) and its host side (terminal, file, socket).
 *
 * Neither side blocks. Device to host: write() takes what it can; when that is less than all, the host calls writable() later. Host to device: receive()
 * takes what it can; when that is less than all, the device calls readable() later. After a saved state was loaded the host calls writable() once.
 * Locks: the device calls the backend with its own lock held, so the backend must not call back from inside; it posts a work. The
 * frontend's functions take the device's lock: call them without it.
 */
#ifndef BASE_STREAM_H
#define BASE_STREAM_H

#include <stddef.h>
#include <stdint.h>

/* The host side, given to a device at creation. A zero structure swallows output and has no input. */
struct stream_backend {
    size_t (*write)(void *opaque, const uint8_t *data, size_t len); /* bytes taken */
    void (*readable)(void *opaque);                                 /* the device has room for input again; may be NULL */
    void *opaque;
};

/* The device side, which a device offers to its host side. Any thread. */
struct stream_frontend {
    size_t (*receive)(void *opaque, const uint8_t *data, size_t len); /* bytes taken */
    void (*writable)(void *opaque);
    void *opaque;
};

#endif
