/* SPDX-License-Identifier: MIT */
/*
 * diff [--seed S] [--case N] [--count N] [--only OPERATION] [--mode 32|64] [--engine interpret|translate] [--self] [--other-vendor]
 * diff --mappings N
 *
 * Runs `count` cases and prints each that the host and the software CPU disagree about, with what replays it alone. --self compares the host
 * with itself: it shows what the tester cannot hold still. Ends with status 1 when there is a difference.
 * --other-vendor compares as on a processor that is not Intel's.
 * --mappings starts itself N times, each time with another layout of the address space, and checks that the host's child has nothing in its
 * own beside what is meant.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "diff.h"

enum { BATCH = 256 /* at most RIG_BATCH */, SHOWN_MAX = 30, SHOWN_PER_OP = 2 };

struct options {
    uint64_t seed, first, count;
    const char *only;
    int mode;
    bool self, one, translate, other_vendor;
    int mappings;              /* -1: not asked for; 0: this process's own */
};

struct tester {
    struct options options;
    struct host host;
    struct generator *generator;
    struct native *native;
    struct guest *guest;
    struct diff_case cases[BATCH];
    struct diff_result native_results[BATCH], other_results[BATCH];
    bool strayed[BATCH];       /* goes where the host's child has something of its own: not run there, not compared */
    uint64_t ran, failed, strays;
    unsigned failed_by_op[OP_COUNT + 1024], shown, died; /* by operation; those of one name by opcode */
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
    const struct insn *last = &c->insns[c->count - 1];
    unsigned op = last->op < OP_EVEX ? last->op : OP_COUNT + (last->map & 3u) * 256u + last->opcode;
    t->failed++;
    if (t->failed_by_op[op]++ >= SHOWN_PER_OP || t->shown++ >= SHOWN_MAX)
        return;
    print_replay(t, c);
    results_agree(&t->host, c, n, g, true);
}

/*
 * On the software CPU first: a case that it says goes to the host's own places is kept away from them, for it might write there. Their
 * addresses are fixed, so that such a case is one on every run.
 */
static void run_guest(struct tester *t, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct diff_result *r = &t->other_results[i];
        guest_run(t->guest, &t->cases[i], &t->other_results[i]);
        t->strayed[i] = r->vector == 14 && native_keeps(t->native, r->address);
        t->strays += t->strayed[i];
        if (t->strayed[i])
            t->cases[i].code_len = 0;
    }
}

static void compare_batch(struct tester *t, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct diff_result *n = &t->native_results[i], *other = &t->other_results[i];
        if (!t->strayed[i] && !results_agree(&t->host, &t->cases[i], n, other, false))
            note_failure(t, &t->cases[i], n, other);
    }
    t->ran += count;
}

static void run_batch(struct tester *t, uint64_t first, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        generate_case(t->generator, first + i, &t->cases[i]);
    if (!t->options.self)
        run_guest(t, count);
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

/* ---- the host's child is alone ---- */

/* Layouts that are chosen rather than drawn: from the bottom up, as without a limit of the stack, and the one without randomness. */
static void choose_layout(int which)
{
    struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
    if (which == 0)
        setrlimit(RLIMIT_STACK, &unlimited); /* where it is not allowed, one more of the others */
    if (which == 1)
        personality(ADDR_NO_RANDOMIZE);
}

static int check_layouts(const char *self, int count)
{
    int failed = 0;
    for (int i = 0; i < count; i++) {
        int status = -1;
        pid_t child = fork();
        if (child == 0) {
            choose_layout(i);
            execl("/proc/self/exe", self, "--mappings", "0", (char *)NULL);
            _exit(2);
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            failed++;
    }
    printf("%d layouts, in %d the host's child is not alone\n", count, failed);
    return failed != 0;
}

static bool parse_options(int argc, char **argv, struct options *o)
{
    *o = (struct options){ .seed = 1, .count = 20000, .mode = -1, .mappings = -1 };
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (more && strcmp(argv[i], "--engine") == 0)
            o->translate = strcmp(argv[++i], "translate") == 0;
        else if (strcmp(argv[i], "--self") == 0)
            o->self = true;
        else if (strcmp(argv[i], "--other-vendor") == 0)
            o->other_vendor = true;
        else if (more && strcmp(argv[i], "--seed") == 0)
            o->seed = strtoull(argv[++i], NULL, 0);
        else if (more && strcmp(argv[i], "--case") == 0)
            o->first = strtoull(argv[++i], NULL, 0), o->one = true, o->count = 1;
        else if (more && strcmp(argv[i], "--count") == 0)
            o->count = strtoull(argv[++i], NULL, 0);
        else if (more && strcmp(argv[i], "--mappings") == 0)
            o->mappings = atoi(argv[++i]);
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
    if (t->strays)
        printf("%" PRIu64 " go where the host's child has something\n", t->strays);
    printf("%s%" PRIu64 " cases from %u opcode rows, %" PRIu64 " differ, seed %" PRIu64 "\n", t->failed ? "\n" : "", t->ran, generator_rows(t->generator), t->failed,
           t->options.seed);
}

int main(int argc, char **argv)
{
    struct tester *t = calloc(1, sizeof *t);
    if (!t || !parse_options(argc, argv, &t->options)) {
        fprintf(stderr, "usage: diff [--seed S] [--case N] [--count N] [--only OPERATION] [--mode 32|64] [--engine interpret|translate]\n"
                        "            [--self] [--other-vendor] | --mappings N\n");
        return 2;
    }
    if (host_unfit()) {
        printf("skipped: %s\n", host_unfit());
        return 77;
    }
    if (t->options.mappings > 0)
        return check_layouts(argv[0], t->options.mappings);
    host_detect(&t->host);
    if (t->options.other_vendor)
        t->host.intel = t->host.x87_pointers = false;
    t->generator = generator_new(&t->host, t->options.only, t->options.mode, t->options.seed);
    t->native = native_new();
    if (!t->native) {
        fprintf(stderr, "diff: the pages of the cases cannot be mapped where they must be\n");
        return 2;
    }
    if (t->options.mappings == 0)
        return !native_check_mappings(t->native);
    t->guest = t->options.self ? NULL : guest_new(t->options.translate);
    if (generator_rows(t->generator) == 0 || (!t->options.self && !t->guest)) {
        fprintf(stderr, "diff: %s\n", generator_rows(t->generator) ? "the software CPU cannot be made" : "no such operation");
        return 2;
    }
    if (!t->host.intel)
        printf("the host's processor is not Intel's: what AMD's do in another way is not drawn, or compared loosely (host.c)\n");
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
