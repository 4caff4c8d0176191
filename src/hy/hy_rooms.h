/* SPDX-License-Identifier: MIT */
/* hy_rooms.h - for the rooms of this house above libhy: a VM's memory as memory/ knows it. Not installed. */
#ifndef HY_ROOMS_H
#define HY_ROOMS_H

#include <hy.h>

#include "memory/memory.h"

/* The VM's map and the block's memory, borrowed: valid until hy_vm_free and hy_mem_free. Devices and loaders use these with memory.h's accessors.
 * Changing the map through them is allowed; the backend follows, but a host's refusal then shows only at the next hy_run. */
struct mem_map   *hy_vm_map(hy_vm *);
struct mem_block *hy_mem_block(hy_mem *);

#endif
