/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include <hy.h>

#include "cli/cli.h"

#define BACKENDS_MAX 16

/* One line a backend; opening it tells what a probe cannot, such as its measured speed. */
static void print_backend(const struct hy_probe *p)
{
    hy *h = NULL;
    struct hy_caps caps = {.size = sizeof caps};
    if (p->err != HY_OK || hy_open(p->name, &h) != HY_OK || hy_caps(h, &caps) != HY_OK) {
        printf("%-6s not usable: %s%s%s\n", p->name, *p->reason ? p->reason : hy_err_name(p->err), *p->remedy ? "; try: " : "", p->remedy);
    } else {
        const char *slow = caps.speed && caps.speed < 50000000 && !(caps.can & HY_CAN_JIT) ? "; built on software, so it is chosen only by name" : "";
        printf("%-6s usable: up to %u CPUs, %u-bit guest-physical addresses", p->name, caps.max_cpus, caps.gpa_bits);
        if (caps.speed)
            printf(", about %llu million instructions a second", (unsigned long long)(caps.speed + 500000) / 1000000);
        const char *why, *engine = hy_engine(h, &why);
        if (caps.can & HY_CAN_JIT)
            printf(", CPU engine %s%s%s", engine, *why ? ", not translate: " : "", why);
        printf("%s\n", slow);
    }
    hy_close(h);
}

int command_backends(const struct command *self, int argc, char **argv)
{
    (void)self, (void)argv;
    if (argc) {
        fputs("mezz: mezz backends takes no arguments\n", stderr);
        return -ERR_USAGE;
    }
    struct hy_probe probes[BACKENDS_MAX];
    size_t n = hy_list(probes, BACKENDS_MAX);
    for (size_t i = 0; i < n && i < BACKENDS_MAX; i++)
        print_backend(&probes[i]);
    return 0;
}
