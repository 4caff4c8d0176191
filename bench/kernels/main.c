/* SPDX-License-Identifier: MIT */
/* bench-kernels: measures small kernels, natively or as the first process of a guest; bench/cpu drives it and says what each is for.
 *
 * Commands, one a line, from the standard input or, as process 1, from the serial port COM1:
 *   run NAME SAMPLES SPAN LIMIT   at least SAMPLES samples of about 3 ms and SPAN ms of them, no more than LIMIT ms
 *   pair CPUS SLICES              the kernel "integer" on that many CPUs at once, for so many slices of 100 ms
 *   list                          names and operations
 * Answers begin with '@'. Around what is measured stand the bytes STX and ETX, which a guest writes straight to the port, so that whoever reads
 * them outside can lay his clock beside the guest's.
 *
 * Trusted: whoever writes the commands. One thread; children only where a kernel wants them. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "kernels.h"

enum {
    COM1 = 0x3f8,        /* transmitter holding register (16550 data sheet, table II) */
    STX = 2, ETX = 3,
    SAMPLE_NS = 3000000, /* shorter than the 4 ms between two timer interrupts of Debian's kernel */
    SLICE_NS = 100000000,
    SAMPLES_MAX = 4096,
    CPUS_MAX = 16,
};

struct samples {
    uint64_t units;       /* in each sample */
    uint64_t count, span; /* ns from mark to mark by this machine's clock */
    bool right;
    uint64_t ns[SAMPLES_MAX];
};

static const struct kernel *const groups[] = { integer_kernels, control_kernels, memory_kernels, vector_kernels, code_kernels, system_kernels };

static uint64_t read_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static const struct kernel *find_kernel(const char *name)
{
    for (size_t group = 0; group < sizeof(groups) / sizeof(groups[0]); group++)
        for (const struct kernel *kernel = groups[group]; kernel->name; kernel++)
            if (strcmp(kernel->name, name) == 0)
                return kernel;
    return NULL;
}

static void list_kernels(void)
{
    for (size_t group = 0; group < sizeof(groups) / sizeof(groups[0]); group++)
        for (const struct kernel *kernel = groups[group]; kernel->name; kernel++)
            printf("@kernel %s %u\n", kernel->name, kernel->operations);
    printf("@end\n");
}

/* A guest's mark goes past the terminal's driver, once that has written all it holds. */
static void write_mark(char mark)
{
    fflush(stdout);
    if (getpid() != 1) {
        putchar(mark);
        fflush(stdout);
        return;
    }
    tcdrain(1);
    outb((unsigned char)mark, COM1);
}

static size_t state_bytes(const struct kernel *kernel)
{
    return (kernel->memory + 4095) & ~(size_t)4095;
}

/* Pages of 4 KiB, whatever the machine would rather take, or the chases would not be what they are called. */
static void *map_state(const struct kernel *kernel)
{
    void *state;

    if (!kernel->memory)
        return NULL;
    state = mmap(NULL, state_bytes(kernel), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (state == MAP_FAILED)
        return NULL;
    madvise(state, state_bytes(kernel), MADV_NOHUGEPAGE);
    for (size_t at = 0; at < state_bytes(kernel); at += 4096)
        ((volatile uint8_t *)state)[at] = 0;
    if (kernel->prepare)
        kernel->prepare(kernel, state);
    return state;
}

static void unmap_state(const struct kernel *kernel, void *state)
{
    if (kernel->finish)
        kernel->finish(kernel, state);
    if (state)
        munmap(state, state_bytes(kernel));
}

static uint64_t take_sample(const struct kernel *kernel, void *state, uint64_t units, bool *right)
{
    uint64_t begin = read_clock(), sum = kernel->run(kernel, state, units), ns = read_clock() - begin;

    *right &= sum == units * kernel->expect;
    if (kernel->verify)
        *right &= kernel->verify(kernel, state);
    return ns;
}

/* How many units take about SAMPLE_NS. What is translated or cached once is so, after this. */
static uint64_t calibrate(const struct kernel *kernel, void *state, bool *right)
{
    uint64_t units = 1;

    for (;;) {
        uint64_t one = take_sample(kernel, state, units, right), two = one;

        if (one < 4 * SAMPLE_NS)
            two = take_sample(kernel, state, units, right);
        one = two < one ? two : one;
        if (one > SAMPLE_NS / 3 || units > UINT32_MAX) {
            units = units * SAMPLE_NS / one;
            return units ? units : 1;
        }
        units *= one < SAMPLE_NS / 100 ? 10 : 3;
    }
}

static void measure(const struct kernel *kernel, void *state, struct samples *samples, uint64_t least, uint64_t span, uint64_t limit)
{
    uint64_t begin, now;

    samples->right = true;
    samples->count = 0;
    samples->units = calibrate(kernel, state, &samples->right);
    write_mark(STX);
    begin = now = read_clock();
    while (samples->count < SAMPLES_MAX && (samples->count < least || now - begin < span) && now - begin < limit) {
        samples->ns[samples->count++] = take_sample(kernel, state, samples->units, &samples->right);
        now = read_clock();
    }
    samples->span = read_clock() - begin;
    write_mark(ETX);
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

static void run_kernel(const char *name, uint64_t least, uint64_t span, uint64_t limit)
{
    const struct kernel *kernel = find_kernel(name);
    struct samples *samples = calloc(1, sizeof(*samples));
    void *state = kernel && samples ? map_state(kernel) : NULL;
    double scale;

    if (!samples || !kernel || (kernel->memory && !state)) {
        printf("@result %s missing\n", name);
        free(samples);
        return;
    }
    measure(kernel, state, samples, least, span, limit);
    unmap_state(kernel, state);
    qsort(samples->ns, samples->count, sizeof(samples->ns[0]), compare);
    scale = 1.0 / ((double)samples->units * kernel->operations);
    printf("@result %s %s %llu %llu %.5f %.5f %llu\n", name, samples->right ? "right" : "wrong", (unsigned long long)samples->units,
           (unsigned long long)samples->count, (double)samples->ns[0] * scale, (double)samples->ns[samples->count / 2] * scale,
           (unsigned long long)samples->span);
    free(samples);
}

/* What the processes of run_pair share: a count of units each, on cache lines of their own. */
struct progress {
    struct {
        _Alignas(64) volatile uint64_t units;
        volatile bool wrong;
    } of[CPUS_MAX];
    _Alignas(64) volatile bool stop;
};

static void work_on(struct progress *progress, int cpu)
{
    const struct kernel *kernel = find_kernel("integer");
    void *state = map_state(kernel);
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof(one), &one);
    while (!progress->stop) {
        if (kernel->run(kernel, state, 8) != 8 * kernel->expect)
            progress->of[cpu].wrong = true;
        progress->of[cpu].units += 8;
    }
    _exit(0);
}

static uint64_t count_units(const struct progress *progress, int cpus)
{
    uint64_t units = 0;

    for (int cpu = 0; cpu < cpus; cpu++)
        units += progress->of[cpu].units;
    return units;
}

/* The best slice counts: others may want the host's CPUs too. */
static double best_slice(const struct progress *progress, int cpus, uint64_t slices)
{
    double best = 0;

    for (uint64_t slice = 0; slice < slices; slice++) {
        uint64_t begin = read_clock(), units = count_units(progress, cpus), ns;
        double rate;

        nanosleep(&(struct timespec){ .tv_nsec = SLICE_NS }, NULL);
        units = count_units(progress, cpus) - units;
        ns = read_clock() - begin;
        rate = (double)units * 1e6 / (double)ns;
        best = rate > best ? rate : best;
    }
    return best;
}

static void run_pair(int cpus, uint64_t slices)
{
    struct progress *progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t begin;
    double best;
    bool right = true;

    if (progress == MAP_FAILED || cpus < 1 || cpus > CPUS_MAX || cpus > sysconf(_SC_NPROCESSORS_ONLN)) {
        printf("@pair missing\n");
        return;
    }
    for (int cpu = 0; cpu < cpus; cpu++)
        if (fork() == 0)
            work_on(progress, cpu);
    nanosleep(&(struct timespec){ .tv_nsec = 3 * SLICE_NS }, NULL);
    write_mark(STX);
    begin = read_clock();
    best = best_slice(progress, cpus, slices);
    begin = read_clock() - begin;
    write_mark(ETX);
    progress->stop = true;
    while (wait(NULL) > 0)
        ;
    for (int cpu = 0; cpu < cpus; cpu++)
        right &= !progress->of[cpu].wrong;
    printf("@pair %s %.5f %llu\n", right ? "right" : "wrong", best, (unsigned long long)begin);
    munmap(progress, sizeof(*progress));
}

/* Becomes the guest's only program: devices, a raw serial line, and the port for the marks. */
static void become_init(void)
{
    struct termios line;
    int port;

    mkdir("/dev", 0755);
    mkdir("/sys", 0755);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    mount("sys", "/sys", "sysfs", 0, NULL);
    port = open("/dev/ttyS0", O_RDWR | O_NOCTTY);
    if (port < 0 || tcgetattr(port, &line))
        return;
    cfmakeraw(&line);
    line.c_cflag |= CLOCAL | CREAD;
    tcsetattr(port, TCSANOW, &line);
    dup2(port, 0);
    dup2(port, 1);
    close(port);
    ioperm(COM1, 1, 1);
}

static void print_ready(void)
{
    char source[32] = "unknown";
    FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");

    if (file && !fscanf(file, "%31s", source))
        source[0] = 0;
    if (file)
        fclose(file);
    printf("@ready %s %ld\n", source, sysconf(_SC_NPROCESSORS_ONLN));
}

static void obey(const char *line)
{
    char name[32];
    unsigned long long least, span, limit, slices;
    int cpus;

    if (sscanf(line, "run %31s %llu %llu %llu", name, &least, &span, &limit) == 4)
        run_kernel(name, least, span * 1000000, limit * 1000000);
    else if (sscanf(line, "pair %d %llu", &cpus, &slices) == 2)
        run_pair(cpus, slices);
    else if (strcmp(line, "list\n") == 0)
        list_kernels();
    else
        printf("@unknown %s", line);
}

int main(void)
{
    char line[128];

    if (getpid() == 1)
        become_init();
    print_ready();
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        obey(line);
        fflush(stdout);
    }
    return 0;
}
