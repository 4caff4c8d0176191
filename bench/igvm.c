/* SPDX-License-Identifier: MIT */
/* bench-igvm [--write FILE ORDER]: verifying a file of 1 GiB, 4096 bytes a page header: time, and memory that is allocated at the most.
 *
 * The file is sparse, so its headers alone are in memory, as they would be in a mapped file. ORDER of its pages: ascending, descending, shuffled, or
 * shuffled with each page twice ("double": every finding is reported). Needs 1 GiB of address space and some 30 MiB of memory.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "igvm.h"

enum { PAGES = 261000, ROUNDS = 15 }; /* headers and data are just below 1 GiB */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);

static size_t allocated, most; /* what the library holds */

static void *count(void *p)
{
    allocated += p ? malloc_usable_size(p) : 0;
    most = allocated > most ? allocated : most;
    return p;
}

void *__wrap_malloc(size_t n) { return count(__real_malloc(n)); }
void *__wrap_calloc(size_t n, size_t m) { return count(__real_calloc(n, m)); }

void __wrap_free(void *p)
{
    allocated -= p ? malloc_usable_size(p) : 0;
    __real_free(p);
}

void *__wrap_realloc(void *p, size_t n)
{
    allocated -= p ? malloc_usable_size(p) : 0;
    return count(__real_realloc(p, n));
}

static uint32_t page_at(uint32_t i, const char *order)
{
    uint32_t shuffled = (uint32_t)((uint64_t)i * 70001 % PAGES); /* a prime that does not divide PAGES */
    if (strcmp(order, "descending") == 0)
        return PAGES - 1 - i;
    if (strcmp(order, "shuffled") == 0)
        return shuffled;
    return strcmp(order, "double") == 0 ? shuffled / 2 : i;
}

static uint8_t *put(uint8_t *p, uint32_t type, uint32_t length)
{
    store_le32(p, type);
    store_le32(p + 4, length);
    return p + 8;
}

/* A platform, a policy, and the pages. */
static void fill(uint8_t *file, size_t size, const char *order)
{
    uint32_t headers = 24 + 24 + PAGES * 32, data = 24 + headers;
    uint8_t *p = put(file + 24, IGVM_T_SUPPORTED_PLATFORM, 16);
    store_le32(p, 1), p[5] = IGVM_SEV_SNP, p[6] = 1;
    p = put(p + 16, IGVM_T_GUEST_POLICY, 16);
    store_le64(p, 0x30000), store_le32(p + 8, 1);
    p += 16;
    for (uint32_t i = 0; i < PAGES; i++, p += 24) {
        p = put(p, IGVM_T_PAGE_DATA, 24);
        store_le64(p, (uint64_t)page_at(i, order) << 12);
        store_le32(p + 8, 1);
        store_le32(p + 12, data + i * IGVM_PAGE);
    }
    memcpy(file, "IGVM", 4);
    store_le32(file + 4, 1), store_le32(file + 8, 24), store_le32(file + 12, headers), store_le32(file + 16, (uint32_t)size), store_le32(file + 20, 0);
    store_le32(file + 20, igvm_crc32(igvm_crc32(0, file, 24), file + 24, headers));
}

static int listen(void *context, const igvm_finding *finding)
{
    (void)finding;
    ++*(uint64_t *)context;
    return 0;
}

/* CPU time. */
static double milliseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* other work on the machine does not count */
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void measure(const uint8_t *file, size_t size, const char *order)
{
    double times[ROUNDS];
    uint64_t findings = 0;
    most = allocated = 0;
    for (int i = 0; i < ROUNDS; i++) {
        findings = 0;
        double begin = milliseconds();
        igvm_verify(file, size, 0, NULL, listen, &findings);
        times[i] = milliseconds() - begin;
    }
    qsort(times, ROUNDS, sizeof *times, compare);
    printf("%-10s  %8.1f ms (%.1f-%.1f)  %6.2f bytes a page header  %llu findings\n", order, times[ROUNDS / 2], times[0], times[ROUNDS - 1],
        (double)most / PAGES, (unsigned long long)findings);
}

int main(int argc, char **argv)
{
    static const char *const orders[] = {"ascending", "descending", "shuffled", "double"};
    size_t size = 24 + 48 + (size_t)PAGES * (32 + IGVM_PAGE);
    bool write = argc == 4 && strcmp(argv[1], "--write") == 0;
    FILE *f = write ? fopen(argv[2], "w+b") : tmpfile();
    if (!f || ftruncate(fileno(f), (off_t)size) != 0)
        return perror("bench-igvm"), 1;
    uint8_t *file = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(f), 0);
    if (file == MAP_FAILED)
        return perror("bench-igvm"), 1;
    if (write)
        return fill(file, size, argv[3]), 0;
    printf("igvm_verify of %.3f GiB, %d page headers; CPU time, the median of %d (least-most)\n", (double)size / (1 << 30), PAGES, ROUNDS);
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        fill(file, size, orders[i]);
        measure(file, size, orders[i]);
    }
    return 0;
}
