/* SPDX-License-Identifier: MIT */
/* barrier.h - one side's heavy fence for the other sides' free one. One file per host family. */
#ifndef BASE_BARRIER_H
#define BASE_BARRIER_H

#include <stdbool.h>

/* After it returns, every thread of the process has passed a full memory barrier since it was called. Linux: membarrier(2), private expedited;
 * Windows: FlushProcessWriteBuffers. Any thread. */
void barrier_all_threads(void);

/* Whether this host can do that. Where false, barrier_all_threads() is only a local fence, and a VM with several software CPUs must be refused. */
bool barrier_available(void);

#endif
