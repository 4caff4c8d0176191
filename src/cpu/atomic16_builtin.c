/* SPDX-License-Identifier: MIT */
/* atomic16_builtin.c - 16-byte compare-and-exchange where the compiler has one inline (x86-64 with -mcx16, arm64). */
#include "cpu/exec_int.h"

bool atomic16_compare_exchange(void *at, uint64_t expected[2], const uint64_t desired[2], bool *swapped)
{
    unsigned __int128 want = (unsigned __int128)expected[1] << 64 | expected[0], put = (unsigned __int128)desired[1] << 64 | desired[0];
    unsigned __int128 old = __sync_val_compare_and_swap((unsigned __int128 *)at, want, put);
    *swapped = old == want;
    expected[0] = (uint64_t)old;
    expected[1] = (uint64_t)(old >> 64);
    return true;
}
