/* SPDX-License-Identifier: MIT */
/* exclusive.h - a vCPU's going in and out of the guest, for cpu_vm_stop() (engine.h) and for map changes (cpu_mmu_sync). Owner's thread. */
#ifndef CPU_EXCLUSIVE_H
#define CPU_EXCLUSIVE_H

#include "cpu/engine.h"

/* Waits while somebody else has stopped the VM. Look at cpu->requests afterwards. */
void cpu_guest_enter(struct cpu *);
void cpu_guest_leave(struct cpu *);

/* For comparisons (lockstep.c): stops the others, for as long as cpu->turn_left, at first `length`, is not 0, and until it leaves the guest. One vCPU after the other,
 * and whoever was kept waiting goes in first, so that none starves. Look at cpu->requests afterwards. */
void cpu_turn_take(struct cpu *, uint32_t length);
void cpu_turn_give(struct cpu *);

#endif
