/* SPDX-License-Identifier: MIT */
#include "base/random.h"

#include <windows.h>

/* advapi32; documented under this name (RtlGenRandom), and present in every Windows. */
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

bool random_bytes(void *out, size_t len)
{
    return SystemFunction036(out, (ULONG)len);
}
