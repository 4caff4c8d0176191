/* SPDX-License-Identifier: MIT */
/* pages.h - whole pages of host memory, zeroed. One file per host family (pages_posix.c, pages_windows.c). */
#ifndef BASE_PAGES_H
#define BASE_PAGES_H

#include <stddef.h>

/* `bytes` (not 0) of readable and writable memory at a host page boundary, filled with zeros and not yet backed by anything. NULL when the host has
 * no more. Any thread. */
void *pages_alloc(size_t bytes);
/* The same below 2 GiB where the host can do that, else anywhere. */
void *pages_alloc_low(size_t bytes);
void  pages_free(void *pages, size_t bytes); /* NULL is allowed */

#endif
