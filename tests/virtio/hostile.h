/* SPDX-License-Identifier: MIT */
/* hostile.h - a driver of random bytes, for the fuzz targets and the property tests: rings, registers, configuration space, saved states, and memory that changes between two
 * fetches. */
#ifndef TESTS_VIRTIO_HOSTILE_H
#define TESTS_VIRTIO_HOSTILE_H

#include "guest.h"

/* Drives guest.device (which is set up with `queues` queues) by the input. Aborts when a save is not stable. `outside` (may be NULL) gets bytes for the device's other side. */
void hostile_drive(struct guest *, unsigned queues, const uint8_t *data, size_t size, void (*outside)(void *opaque, const uint8_t *data, size_t len), void *opaque);

#endif
