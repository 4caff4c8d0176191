/* SPDX-License-Identifier: MIT */
#include "base/pages.h"

#include <windows.h>

void *pages_alloc(size_t bytes)
{
    return VirtualAlloc(NULL, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void *pages_alloc_low(size_t bytes)
{
    return pages_alloc(bytes);
}

void pages_free(void *pages, size_t bytes)
{
    (void)bytes;
    if (pages)
        VirtualFree(pages, 0, MEM_RELEASE);
}
