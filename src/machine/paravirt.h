/* SPDX-License-Identifier: MIT */
/* paravirt.h - KVM's paravirtual interface (Documentation/virt/kvm/x86/{cpuid,msr,hypercalls}.rst), answered by the machine where the backend is a software CPU. */
#ifndef MACHINE_PARAVIRT_H
#define MACHINE_PARAVIRT_H

#include <hy.h>

#define PARAVIRT_LEAF 0x40000000u

/* The signature leaf and the feature leaf. */
void paravirt_cpuid(struct hy_cpuid out[2]);

#endif
