/* SPDX-License-Identifier: MIT */
#include "base/random.h"

#include <unistd.h>

bool random_bytes(void *out, size_t len)
{
    return getentropy(out, len) == 0;
}
