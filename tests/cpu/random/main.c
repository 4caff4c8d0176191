/* SPDX-License-Identifier: MIT */
/* random_programs: random guest programs on the interpreter, on translated code and on both in lockstep: all must come to the same end, and each exception on the way be the same.
 *
 *     random_programs [--programs N] [--seed S] [--limit EXCEPTIONS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

struct options { uint64_t seed, programs; unsigned limit; };

/* Nothing, or what no guest may notice. */
static struct cpu_soak soak_of(struct dice *d)
{
    struct cpu_soak soak = { 0 };
    if (one_in(d, 2))
        return soak;
    soak.tlb_every = one_in(d, 3) ? 2 + roll(d, 60) : 0;
    soak.code_every = one_in(d, 4) ? 20 + roll(d, 200) : 0;
    soak.request_every = one_in(d, 3) ? 2 + roll(d, 30) : 0;
    soak.kick_after = one_in(d, 4) ? 2 + roll(d, 40) : 0;
    soak.one_entry = one_in(d, 6);
    soak.one_block = one_in(d, 10);
    soak.unlinked = one_in(d, 6);
    soak.short_loops = one_in(d, 10);
    soak.one_block_every = one_in(d, 8) ? 30 : 0;
    soak.one_block_for = 20;
    return soak;
}

/* The first exception with other registers. */
static void tell_exception(const struct outcome *wanted, const struct outcome *found)
{
    static const char *const names[] = { LOG_NAMES };
    enum { VECTOR = 15, RIP = 17 };
    for (unsigned i = 0; i < 256; i++) {
        const uint64_t *a = wanted->log[i], *b = found->log[i];
        if (!memcmp(a, b, sizeof wanted->log[i]))
            continue;
        printf("    exception %u: vector %llu at %llx\n", i, (unsigned long long)a[VECTOR], (unsigned long long)a[RIP]);
        for (unsigned j = 0; j < ARRAY_LEN(names); j++)
            if (a[j] != b[j])
                printf("        %s %llx and %llx\n", names[j], (unsigned long long)a[j], (unsigned long long)b[j]);
        break;
    }
}

static void tell(const struct outcome *wanted, const struct outcome *found)
{
    printf("    exit %u and %u, RIP %llx and %llx, exceptions %llu and %llu\n", wanted->reason, found->reason, (unsigned long long)wanted->rip, (unsigned long long)found->rip,
        (unsigned long long)wanted->count, (unsigned long long)found->count);
    tell_exception(wanted, found);
    for (unsigned i = 0; i < sizeof wanted->data; i++)
        if (wanted->data[i] != found->data[i]) {
            printf("    byte %x of the data: %x and %x\n", i, wanted->data[i], found->data[i]);
            break;
        }
}

/* False: it came to another end. */
static bool check(uint64_t seed, unsigned limit)
{
    static struct program p;
    static struct outcome wanted, found;
    struct dice d = { seed };
    program_make(&p, seed);
    if (!program_run(&p, seed, "interpret", NULL, limit, &wanted)) {
        printf("seed %llu: endless, and left out\n", (unsigned long long)seed);
        return true;
    }
    struct cpu_soak soak = soak_of(&d);
    const char *engine = one_in(&d, 4) ? "lockstep" : "translate";
    program_run(&p, seed, engine, &soak, limit, &found);
    if (!memcmp(&wanted, &found, sizeof wanted))
        return true;
    printf("seed %llu, %s, soak { .tlb_every = %u, .code_every = %u, .request_every = %u, .kick_after = %u, .one_entry = %d, .one_block = %d, .unlinked = %d }:\n",
        (unsigned long long)seed, engine, soak.tlb_every, soak.code_every, soak.request_every, soak.kick_after, soak.one_entry, soak.one_block, soak.unlinked);
    tell(&wanted, &found);
    return false;
}

static struct options options_of(int argc, char **argv)
{
    struct options o = { .seed = 1, .programs = 120, .limit = 200 };
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--programs"))
            o.programs = strtoull(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--seed"))
            o.seed = strtoull(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--limit"))
            o.limit = (unsigned)strtoul(argv[i + 1], NULL, 0);
        else
            fprintf(stderr, "random_programs: %s is no option\n", argv[i]), exit(2);
    }
    return o;
}

int main(int argc, char **argv)
{
    struct options o = options_of(argc, argv);
    uint64_t differ = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (uint64_t i = 0; i < o.programs; i++)
        differ += !check(o.seed + i, o.limit);
    printf("%llu programs from seed %llu on, %llu differ\n", (unsigned long long)o.programs, (unsigned long long)o.seed, (unsigned long long)differ);
    return differ != 0;
}
