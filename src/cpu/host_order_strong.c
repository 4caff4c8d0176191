/* SPDX-License-Identifier: MIT */
/* host_order_strong.c - x86 hosts: guest loads and stores are plain host ones. */
#include "cpu/engine.h"

bool cpu_host_orders_memory(void)
{
    return true;
}
