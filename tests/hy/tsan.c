/* SPDX-License-Identifier: MIT */
/* What ThreadSanitizer asks a program for, when it is built with it. Guest CPUs race on guest memory as they like; these functions access it for them, and a race
 * in which one of them is on the stack's top is the guest's. */
const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
    return "race:^host_copy_in$\nrace:^host_copy_out$\nrace:^host_read$\nrace:^host_write$\nrace:^host_load$\nrace:^host_store$\nrace:^cpu_load*\nrace:^cpu_store*\n";
}
