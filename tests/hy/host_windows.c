/* SPDX-License-Identifier: MIT */
/* Events on Windows. */
#include <windows.h>

#include "conformance.h"

intptr_t bell_new(void) { return (intptr_t)CreateEventA(NULL, FALSE, FALSE, NULL); }
bool bell_rang(intptr_t event) { return WaitForSingleObject((HANDLE)event, 0) == WAIT_OBJECT_0; }
void bell_free(intptr_t event) { CloseHandle((HANDLE)event); }
bool kick_by_signal(hy_cpu *cpu, unsigned microseconds) { return (void)cpu, (void)microseconds, false; }
size_t handles_open(void) { return 0; }
