/* SPDX-License-Identifier: MIT */
/* host_order_weak.c - other hosts may reorder plain loads and stores: what x86 guests with several CPUs cannot bear. */
#include "cpu/engine.h"

bool cpu_host_orders_memory(void)
{
    return false;
}
