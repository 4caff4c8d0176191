/* SPDX-License-Identifier: MIT */
#include "machine/sandbox.h"

int sandbox_enter_process(enum machine_sandbox mode, struct log *log, struct err *err)
{
    (void)err;
    if (mode != MACHINE_SANDBOX_OFF)
        log_line(log, LOG_WARN, "this host has no sandbox that mezz knows (say --sandbox=off to silence this)");
    return 0;
}

int sandbox_enter_thread(enum machine_sandbox mode, unsigned kinds, struct err *err)
{
    (void)mode, (void)kinds, (void)err;
    return 0;
}

int sandbox_enter_all_threads(enum machine_sandbox mode, struct err *err)
{
    (void)mode, (void)err;
    return 0;
}
