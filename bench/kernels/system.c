/* SPDX-License-Identifier: MIT */
/* Kernels of the operating system's ways: system calls, context switches, page faults, processes, signals. They measure the guest's kernel too. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kernels.h"

enum { PAGE = 4096 };

static uint64_t run_getppid(const struct kernel *kernel, void *state, uint64_t units)
{
    uint64_t right = 0;
    pid_t parent = getppid();

    (void)kernel, (void)state;
    for (uint64_t i = 0; i < units; i++)
        right += syscall(SYS_getppid) == parent;
    return right;
}

struct zero {
    uint8_t page[PAGE];
    int file;
};

static void open_zero(const struct kernel *kernel, void *state)
{
    (void)kernel;
    ((struct zero *)state)->file = open("/dev/zero", O_RDONLY | O_CLOEXEC);
}

static uint64_t run_read(const struct kernel *kernel, void *state, uint64_t units)
{
    struct zero *zero = state;
    uint64_t total = 0;

    (void)kernel;
    memset(zero->page, 0x77, PAGE);
    for (uint64_t i = 0; i < units; i++)
        total += (uint64_t)read(zero->file, zero->page, PAGE);
    return total;
}

static bool verify_zero(const struct kernel *kernel, void *state)
{
    (void)kernel;
    for (int i = 0; i < PAGE; i++)
        if (((struct zero *)state)->page[i])
            return false;
    return true;
}

static void close_zero(const struct kernel *kernel, void *state)
{
    (void)kernel;
    close(((struct zero *)state)->file);
}

static uint64_t run_clock(const struct kernel *kernel, void *state, uint64_t units)
{
    uint64_t right = 0;
    struct timespec last = { 0 };

    (void)kernel, (void)state;
    for (uint64_t i = 0; i < units; i++) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        right += now.tv_sec > last.tv_sec || (now.tv_sec == last.tv_sec && now.tv_nsec >= last.tv_nsec);
        last = now;
    }
    return right;
}

struct pipes {
    int there[2], back[2];
    pid_t child;
    cpu_set_t allowed;
};

static void echo_bytes(struct pipes *pipes)
{
    uint8_t byte;

    close(pipes->there[1]);
    while (read(pipes->there[0], &byte, 1) == 1) {
        byte++;
        if (write(pipes->back[1], &byte, 1) != 1)
            break;
    }
    _exit(0);
}

/* Both processes stay on one CPU: what is measured is the switch. */
static void start_echo(const struct kernel *kernel, void *state)
{
    struct pipes *pipes = state;
    cpu_set_t one;

    (void)kernel;
    sched_getaffinity(0, sizeof(pipes->allowed), &pipes->allowed);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof(one), &one);
    if (pipe(pipes->there) || pipe(pipes->back))
        abort();
    pipes->child = fork();
    if (pipes->child == 0)
        echo_bytes(pipes);
    close(pipes->there[0]);
    close(pipes->back[1]);
}

static uint64_t run_echo(const struct kernel *kernel, void *state, uint64_t units)
{
    struct pipes *pipes = state;
    uint64_t right = 0;

    (void)kernel;
    for (uint64_t i = 0; i < units; i++) {
        uint8_t byte = (uint8_t)i, answer = byte;

        if (write(pipes->there[1], &byte, 1) == 1 && read(pipes->back[0], &answer, 1) == 1)
            right += answer == (uint8_t)(byte + 1);
    }
    return right;
}

static void stop_echo(const struct kernel *kernel, void *state)
{
    struct pipes *pipes = state;

    (void)kernel;
    close(pipes->there[1]);
    close(pipes->back[0]);
    waitpid(pipes->child, NULL, 0);
    sched_setaffinity(0, sizeof(pipes->allowed), &pipes->allowed);
}

enum { TOUCHED = 64 };

static uint64_t run_touch(const struct kernel *kernel, void *state, uint64_t units)
{
    uint64_t right = 0;

    (void)kernel, (void)state;
    for (uint64_t i = 0; i < units; i++) {
        volatile uint8_t *pages = mmap(NULL, TOUCHED * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        for (int page = 0; page < TOUCHED; page++) {
            pages[page * PAGE] = 1;
            right += pages[page * PAGE] + pages[page * PAGE + 1] == 1;
        }
        munmap((void *)pages, TOUCHED * PAGE);
    }
    return right;
}

static uint64_t run_fork(const struct kernel *kernel, void *state, uint64_t units)
{
    uint64_t right = 0;

    (void)kernel, (void)state;
    for (uint64_t i = 0; i < units; i++) {
        int status = 0;
        pid_t child = fork();

        if (child == 0)
            _exit(7);
        right += waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7;
    }
    return right;
}

static void unprotect(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    mprotect((void *)((uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1)), PAGE, PROT_READ | PROT_WRITE);
}

static void catch_faults(const struct kernel *kernel, void *state)
{
    struct sigaction action = { .sa_sigaction = unprotect, .sa_flags = SA_SIGINFO };

    (void)kernel, (void)state;
    sigaction(SIGSEGV, &action, NULL);
}

static uint64_t run_signal(const struct kernel *kernel, void *state, uint64_t units)
{
    volatile uint64_t *cell = state;
    uint64_t right = 0;

    (void)kernel;
    for (uint64_t i = 0; i < units; i++) {
        uint64_t before = *cell;

        mprotect(state, PAGE, PROT_READ);
        *cell = before + 1;
        right += *cell == before + 1;
    }
    return right;
}

static void forget_faults(const struct kernel *kernel, void *state)
{
    struct sigaction action = { .sa_handler = SIG_DFL };

    (void)kernel, (void)state;
    sigaction(SIGSEGV, &action, NULL);
}

const struct kernel system_kernels[] = {
    { .name = "getppid", .operations = 1, .expect = 1, .run = run_getppid },
    { .name = "read-4k", .operations = 1, .expect = PAGE, .memory = sizeof(struct zero), .prepare = open_zero, .run = run_read, .verify = verify_zero,
      .finish = close_zero },
    { .name = "clock", .operations = 1, .expect = 1, .run = run_clock },
    { .name = "pipe", .operations = 1, .expect = 1, .memory = sizeof(struct pipes), .prepare = start_echo, .run = run_echo, .finish = stop_echo },
    { .name = "page-fault", .operations = 1, .expect = TOUCHED, .run = run_touch },
    { .name = "fork", .operations = 1, .expect = 1, .run = run_fork },
    { .name = "signal", .operations = 1, .expect = 1, .memory = PAGE, .prepare = catch_faults, .run = run_signal, .finish = forget_faults },
    { 0 },
};
