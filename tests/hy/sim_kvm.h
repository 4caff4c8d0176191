/* SPDX-License-Identifier: MIT */
/* sim_kvm.h - a simulated /dev/kvm under struct hy_os: enough of the interface for the KVM backend to open, make VMs and CPUs, and run "guests" whose exits a
 * script gives; any host call can be made to fail. It shares our reading of the interface: it finds crashes, leaks and forgotten failures. */
#ifndef TESTS_HY_SIM_KVM_H
#define TESTS_HY_SIM_KVM_H

#include <linux/kvm.h>
#include <stdbool.h>

#include "hy/hy_backend.h"

struct sim {
    unsigned calls, fail_at;   /* the call with this number fails (1 is the first; 0: none)  */
    int fail_with;             /* errno */
    int open_handles, mapped;  /* what is open now: 0 after all is freed                      */
    unsigned slots_set;
    /* KVM_RUN: fills the page; returns 0 or errno. NULL: a HLT at once. */
    int (*run)(struct sim *, struct kvm_run *);
    void *opaque;
    struct kvm_run *page;      /* of the CPU made last */
    int error;
};

/* One simulated host for the calling thread. */
void sim_begin(struct sim *);
extern const struct hy_os sim_os;

#endif
