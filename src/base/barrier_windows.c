/* SPDX-License-Identifier: MIT */
#include "base/barrier.h"

#include <windows.h>

void barrier_all_threads(void) { FlushProcessWriteBuffers(); }
bool barrier_available(void) { return true; }
