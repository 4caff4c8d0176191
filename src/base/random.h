/* SPDX-License-Identifier: MIT */
/* random.h - the host's random numbers. One file per host family (random_posix.c, random_windows.c). */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>

/* Fills [out, out + len), len <= 256, from the host's cryptographic source. False: there is none now. Any thread. */
bool random_bytes(void *out, size_t len);

#endif
