/* SPDX-License-Identifier: MIT */
/*
 * diff [--seed S] [--case N] [--count N] [--only OPERATION] [--mode 32|64] [--engine interpret|translate] [--self]
 *
 * Runs `count` cases and prints each that the host and the software CPU disagree about, with what replays it alone. --self compares the host
 * with itself: it shows what the tester cannot hold still. Ends with status 1 when there is a difference.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diff.h"

enum { BATCH = 256, SHOWN_MAX = 30, SHOWN_PER_OP = 2 };

struct options {
    uint64_t seed, first, count;
    const char *only;
    int mode;
    bool self, one, translate;
};

struct tester {
    struct options options;
    struct generator *generator;
    struct native *native;
    struct guest *guest;
    struct diff_case cases[BATCH];
    struct diff_result native_results[BATCH], other_results[BATCH];
    uint64_t ran, failed;
    unsigned failed_by_op[OP_COUNT], shown, died;
};

static void print_replay(const struct tester *t, const struct diff_case *c)
{
    printf("diff --seed %" PRIu64 " --case %" PRIu64, c->seed, c->number);
    if (t->options.only)
        printf(" --only %s", t->options.only);
    if (t->options.translate)
        printf(" --engine translate");
    if (t->options.mode >= 0)
        printf(" --mode %d", t->options.mode == CPU_MODE_32 ? 32 : 64);
    printf("\n");
    print_case(c);
}

static void note_failure(struct tester *t, const struct diff_case *c, const struct diff_result *n, const struct diff_result *g)
{
    unsigned op = c->insns[c->count - 1].op;
    t->failed++;
    if (t->failed_by_op[op]++ >= SHOWN_PER_OP || t->shown++ >= SHOWN_MAX)
        return;
    print_replay(t, c);
    results_agree(c, n, g, true);
}

static void compare_batch(struct tester *t, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct diff_result *other = &t->other_results[i];
        if (!t->options.self)
            guest_run(t->guest, &t->cases[i], other);
        if (!results_agree(&t->cases[i], &t->native_results[i], other, false))
            note_failure(t, &t->cases[i], &t->native_results[i], other);
    }
    t->ran += count;
}

static void run_batch(struct tester *t, uint64_t first, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        generate_case(t->generator, t->options.seed, first + i, &t->cases[i]);
    unsigned done = native_run(t->native, t->cases, count, t->native_results);
    if (t->options.self) {
        unsigned again = native_run(t->native, t->cases, count, t->other_results);
        done = again < done ? again : done;
    }
    compare_batch(t, done);
    if (done < count) { /* the child died in case `done`: that is a fault of the tester, unless it is told otherwise */
        printf("the host's child died in\n");
        print_replay(t, &t->cases[done]);
        t->died++;
        if (t->died < 20 && done + 1 < count)
            run_batch(t, first + done + 1, count - done - 1);
    }
}

static bool parse_options(int argc, char **argv, struct options *o)
{
    *o = (struct options){ .seed = 1, .count = 20000, .mode = -1 };
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (more && strcmp(argv[i], "--engine") == 0)
            o->translate = strcmp(argv[++i], "translate") == 0;
        else if (strcmp(argv[i], "--self") == 0)
            o->self = true;
        else if (more && strcmp(argv[i], "--seed") == 0)
            o->seed = strtoull(argv[++i], NULL, 0);
        else if (more && strcmp(argv[i], "--case") == 0)
            o->first = strtoull(argv[++i], NULL, 0), o->one = true, o->count = 1;
        else if (more && strcmp(argv[i], "--count") == 0)
            o->count = strtoull(argv[++i], NULL, 0);
        else if (more && strcmp(argv[i], "--only") == 0)
            o->only = argv[++i];
        else if (more && strcmp(argv[i], "--mode") == 0)
            o->mode = atoi(argv[++i]) == 32 ? CPU_MODE_32 : CPU_MODE_64;
        else
            return false;
    }
    return true;
}

static void print_summary(const struct tester *t)
{
    for (unsigned op = 0; op < OP_COUNT; op++) {
        if (t->failed_by_op[op])
            printf("%s %u; ", insn_op_name(op), t->failed_by_op[op]);
    }
    printf("%s%" PRIu64 " cases from %u opcode rows, %" PRIu64 " differ, seed %" PRIu64 "\n", t->failed ? "\n" : "", t->ran, generator_rows(t->generator), t->failed,
           t->options.seed);
}

int main(int argc, char **argv)
{
    struct tester *t = calloc(1, sizeof *t);
    if (!t || !parse_options(argc, argv, &t->options)) {
        fprintf(stderr, "usage: diff [--seed S] [--case N] [--count N] [--only OPERATION] [--mode 32|64] [--engine interpret|translate] [--self]\n");
        return 2;
    }
    t->generator = generator_new(t->options.only, t->options.mode);
    t->native = native_new(BATCH);
    t->guest = t->options.self ? NULL : guest_new(t->options.translate);
    if (!t->native) {
        printf("skipped: the host has no AVX or FSGSBASE\n");
        return 77;
    }
    if (generator_rows(t->generator) == 0 || (!t->options.self && !t->guest)) {
        fprintf(stderr, "diff: %s\n", t->guest ? "no such operation" : "the software CPU cannot be made");
        return 2;
    }
    for (uint64_t done = 0; done < t->options.count; done += BATCH)
        run_batch(t, t->options.first + done, t->options.count - done < BATCH ? (unsigned)(t->options.count - done) : BATCH);
    print_summary(t);
    guest_free(t->guest);
    native_free(t->native);
    generator_free(t->generator);
    int status = t->failed || t->died;
    free(t);
    return status;
}
