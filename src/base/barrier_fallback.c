/* SPDX-License-Identifier: MIT */
/* A host without a process-wide barrier: only this thread is fenced, and callers that need more are told so. */
#include "base/barrier.h"

#include <stdatomic.h>

void barrier_all_threads(void) { atomic_thread_fence(memory_order_seq_cst); }
bool barrier_available(void) { return false; }
