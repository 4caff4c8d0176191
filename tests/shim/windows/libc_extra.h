/* SPDX-License-Identifier: MIT */
/* What our tests use of POSIX and this C library lacks. */
#ifndef SHIM_LIBC_EXTRA_H
#define SHIM_LIBC_EXTRA_H

/* rand_r(3): the example of ISO C 7.22.2.2, with the state where the caller keeps it. */
static inline int rand_r(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return (int)(*seed >> 16 & 0x7fff);
}

#endif
