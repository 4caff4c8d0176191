/* SPDX-License-Identifier: MIT */
/* bench_mips.c - guest instructions per second of CPU time of the engine on small integer kernels. x86-64 hosts: the kernels (bench_kernels.c) are this
 * program's own code, copied into the guest. Usage: bench_mips [milliseconds for each kernel] [name] */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench_kernels.h"
#include "guest.h"

static const struct { const char *name; uint64_t (*run)(uint8_t *); } kernels[] = {
    { "sha256", kernel_sha256 }, { "list", kernel_list }, { "bytecode", kernel_bytecode },
    { "fib", kernel_fib }, { "copy", kernel_copy }, { "sort", kernel_sort },
};

/* Of this thread: other load on the machine must not count. */
static uint64_t cpu_time_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

struct kick { struct cpu *cpu; uint64_t ns; };

/* 1: mov $DATA, %edi; call *%rbx; jmp 1b */
static const uint8_t driver[] = { 0xbf, 0, 0, 0x80, 0, 0xff, 0xd3, 0xeb, 0xf7 };

static void *kick_later(void *opaque)
{
    struct kick *kick = opaque;
    struct timespec time = { .tv_sec = (time_t)(kick->ns / 1000000000), .tv_nsec = (long)(kick->ns % 1000000000) };
    nanosleep(&time, NULL);
    cpu_request(kick->cpu, CPU_REQ_KICK);
    return NULL;
}

static double measure(struct guest *g, unsigned kernel, uint64_t ns)
{
    struct cpu *cpu = g->vm.cpus[0];
    struct kick kick = { cpu, ns };
    pthread_t thread;
    guest_enter(g, 0, 64, GUEST_CODE);
    cpu->state.gpr[REG_RBX] = GUEST_CODE + 0x1000 + (uint64_t)((const uint8_t *)(uintptr_t)kernels[kernel].run - __start_guest_code);
    uint64_t start = cpu_time_ns(), before = cpu->instructions;
    pthread_create(&thread, NULL, kick_later, &kick);
    if (guest_run(g, 0) != HY_EXIT_KICK)
        fprintf(stderr, "%s: unexpected exit %u at %#llx\n", kernels[kernel].name, cpu->exit.reason, (unsigned long long)cpu->state.rip);
    uint64_t taken = cpu_time_ns() - start;
    pthread_join(thread, NULL);
    return (double)(cpu->instructions - before) * 1000 / (double)taken;
}

int main(int argc, char **argv)
{
    uint64_t ms = argc > 1 ? strtoull(argv[1], NULL, 10) : 300;
    struct guest g;
    guest_make(&g, 1, 64);
    guest_put(&g, GUEST_CODE, driver, sizeof driver);
    guest_put(&g, GUEST_CODE + 0x1000, __start_guest_code, (size_t)(__stop_guest_code - __start_guest_code));
    for (unsigned i = 0; i < ARRAY_LEN(kernels); i++)
        if (argc < 3 || !strcmp(argv[2], kernels[i].name))
            printf("%-10s %7.1f MIPS\n", kernels[i].name, measure(&g, i, ms * 1000000));
    guest_free(&g);
    return 0;
}
