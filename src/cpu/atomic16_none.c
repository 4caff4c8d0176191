/* SPDX-License-Identifier: MIT */
/* atomic16_none.c - for hosts without a 16-byte compare-and-exchange. */
#include "cpu/exec_int.h"

bool atomic16_compare_exchange(void *at, uint64_t expected[2], const uint64_t desired[2], bool *swapped)
{
    (void)at;
    (void)expected;
    (void)desired;
    *swapped = false;
    return false;
}
