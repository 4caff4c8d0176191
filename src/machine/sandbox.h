/* SPDX-License-Identifier: MIT */
/* sandbox.h - what the process and its threads give up before a guest runs. One file per host family: sandbox_linux.c, sandbox_none.c.
 *
 * Everything that the machine needs is open by then. Linux: no new privileges, Landlock with an empty set of paths, and for each thread a seccomp filter of its kind. With
 * MACHINE_SANDBOX_LOG a refused call is logged by the kernel and allowed; with ON it ends the process by SIGSYS.
 */
#ifndef MACHINE_SANDBOX_H
#define MACHINE_SANDBOX_H

#include "base/error.h"
#include "machine/machine.h"

enum sandbox_thread { SANDBOX_MAIN = 1, SANDBOX_VCPU = 2, SANDBOX_DEVICE = 4 };

/* No new privileges and Landlock, from the main thread before it starts others. ERR_HOST names what the host lacks and how to go on without. */
int sandbox_enter_process(enum machine_sandbox, struct log *, struct err *);
/* When all threads exist: a filter for every one of them, libraries' own included, that allows what any kind may do. Each kind then narrows itself. */
int sandbox_enter_all_threads(enum machine_sandbox, struct err *);
/* For the calling thread; `kinds` is a mask of enum sandbox_thread: the union of what they may do. */
int sandbox_enter_thread(enum machine_sandbox, unsigned kinds, struct err *);

#endif
