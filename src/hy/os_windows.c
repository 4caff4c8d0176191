/* SPDX-License-Identifier: MIT */
/* os_windows.c - the host calls of struct hy_os on Windows: libraries and events only. */
#include <windows.h>

#include "hy/hy_backend.h"

static void *os_library(const char *name) { return (void *)LoadLibraryA(name); }
static void *os_symbol(void *library, const char *name) { return (void *)(uintptr_t)GetProcAddress((HMODULE)library, name); }
static int os_error(void) { return (int)GetLastError(); }
static int os_ring(intptr_t os_event) { return SetEvent((HANDLE)os_event) ? 0 : -1; }

const struct hy_os hy_os_host = {.library = os_library, .symbol = os_symbol, .error = os_error, .ring = os_ring};
