/* SPDX-License-Identifier: MIT */
/* hy-conformance [--backend NAME] [--cpu-engine auto|interpret|translate] [--slow] [--list] [CASE...]: the conformance suite of libhy, as a program that needs
 * nothing.
 *
 * --cpu-engine is of backend soft: translate means that all code is translated when it first runs, and that every case is skipped where the host forbids that.
 * Runs the cases named (all without names) on the backend named (soft), one line each, and ends with "N passed, N failed, N skipped". Status: 1 when one
 * failed; 77, which test runners read as skipped, when none was run to its end, as where the backend is missing; else 0.
 */
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "conformance.h"

/* The state of this program. */
static jmp_buf leave_case;               /* mutable: one case runs at a time */
static struct guest *guests;             /* mutable: of the running case */
static const char *skip_reason;          /* mutable: of the running case */
static const char *_Atomic helper_text;  /* mutable: first fault of a helper thread */
static pthread_t main_thread;            /* mutable: set once */

enum { PASSED = 1, FAILED, SKIPPED };

_Noreturn void case_fail(const char *file, int line, const char *what)
{
    printf("  %s:%d: %s\n", file, line, what);
    if (!pthread_equal(pthread_self(), main_thread))
        abort(); /* a fault of the suite itself */
    longjmp(leave_case, FAILED);
}

_Noreturn void case_fail_err(const char *file, int line, const char *what, hy_err got, hy_err wanted)
{
    struct hy_why why;
    char text[600];

    hy_why(&why);
    snprintf(text, sizeof text, "%s gave %s, wanted %s (last failure: %s %s %lld %s)", what, hy_err_name(got), hy_err_name(wanted), why.backend, why.call,
             (long long)why.native, why.reason);
    case_fail(file, line, text);
}

_Noreturn void case_skip(const char *reason)
{
    skip_reason = reason;
    longjmp(leave_case, SKIPPED);
}

void helper_fault(const char *what)
{
    const char *none = NULL;

    atomic_compare_exchange_strong(&helper_text, &none, what);
}

/* ---- guests --------------------------------------------------------------------------------------------------------------------------------------------- */

static struct guest *guest_make(struct rig *rig, uint32_t irq, uint32_t cpus)
{
    struct hy_vm_cfg cfg = {.size = sizeof cfg, .irq = irq, .cpus = cpus, .flags = rig->flags};
    struct guest *g;

    if (cpus > rig->caps.max_cpus)
        SKIP("the backend runs fewer CPUs here");
    CHECK(g = calloc(1, sizeof *g));
    g->rig = rig;
    g->next = guests;
    guests = g;
    OK(hy_vm_new(rig->h, &cfg, &g->vm));
    return g;
}

struct guest *guest_new(struct rig *rig, uint32_t irq, uint32_t cpus)
{
    struct guest *g = guest_make(rig, irq, cpus);

    OK(hy_mem_new(g->vm, RAM_SIZE, &g->mem));
    g->ram = hy_mem_ptr(g->mem);
    OK(hy_map(g->vm, 0, g->mem, 0, RAM_SIZE, HY_R | HY_W | HY_X));
    return g;
}

struct guest *guest_sibling(struct guest *of, uint32_t irq)
{
    struct guest *g = guest_make(of->rig, irq, 1);

    g->ram = of->ram;
    OK(hy_map(g->vm, 0, of->mem, 0, RAM_SIZE, HY_R | HY_W | HY_X));
    return g;
}

void guest_free(struct guest *g)
{
    for (struct guest **at = &guests; *at; at = &(*at)->next) {
        if (*at == g) {
            *at = g->next;
            break;
        }
    }
    hy_cpu_free(g->cpu);
    if (g->vm && hy_vm_free(g->vm) != HY_OK) {
        printf("  (a VM is still in use)\n"); /* a helper thread of a case that failed: leave it all */
        return;
    }
    hy_mem_free(g->mem);
    free(g);
}

/* ---- running -------------------------------------------------------------------------------------------------------------------------------------------- */

/* Ends the program when a case takes too long in spite of the deadlines of its runs: a thread that never comes back. */
static void *case_watch(void *opaque)
{
    _Atomic uint64_t *until = opaque;

    for (;;) {
        uint64_t end = atomic_load(until);

        if (end && clock_ns() > end) {
            printf("FAILED : a case hangs\n");
            fflush(stdout);
            _exit(1);
        }
        milliseconds(200);
    }
    return NULL;
}

static int run_case(struct rig *rig, const struct test_case *test)
{
    int result = setjmp(leave_case);

    if (!result) {
        test->run(rig);
        result = PASSED;
    }
    while (guests)
        guest_free(guests);
    if (atomic_load(&helper_text)) {
        printf("  in a helper thread: %s\n", atomic_load(&helper_text));
        result = FAILED;
        atomic_store(&helper_text, NULL);
    }
    return result;
}

static bool wanted(const struct test_case *test, char *const *names, int n)
{
    for (int i = 0; i < n; i++) {
        if (!strcmp(test->name, names[i]))
            return true;
    }
    return !n;
}

static const struct test_case *const groups[] = {cases_basic, cases_memory, cases_io, cases_cpu, cases_events, cases_state, cases_threads};

static int run_all(struct rig *rig, char *const *names, int n, _Atomic uint64_t *deadline)
{
    int count[4] = {0};

    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        for (const struct test_case *test = groups[i]; test->name; test++) {
            uint64_t start = clock_ns();
            int result;

            if (!wanted(test, names, n))
                continue;
            atomic_store(deadline, start + (rig->slow ? UINT64_C(1200000000000) : UINT64_C(120000000000)));
            result = run_case(rig, test);
            atomic_store(deadline, 0);
            count[result]++;
            if (result == SKIPPED)
                printf("skipped %s: %s\n", test->name, skip_reason);
            else
                printf("%s %s (%u ms)\n", result == PASSED ? "ok     " : "FAILED ", test->name, (unsigned)((clock_ns() - start) / 1000000));
            fflush(stdout);
        }
    }
    printf("%d passed, %d failed, %d skipped\n", count[PASSED], count[FAILED], count[SKIPPED]);
    if (!count[PASSED] && !count[FAILED] && !count[SKIPPED])
        return 2;
    return count[FAILED] ? 1 : count[PASSED] ? 0 : 77;
}

static int list_cases(void)
{
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        for (const struct test_case *test = groups[i]; test->name; test++)
            printf("%s\n", test->name);
    }
    return 0;
}

static bool engine_flags(const char *name, uint32_t *flags)
{
    *flags = !strcmp(name, "interpret") ? HY_VM_INTERPRET : !strcmp(name, "translate") ? HY_VM_TRANSLATE | HY_VM_EAGER : 0;
    return *flags || !strcmp(name, "auto");
}

int main(int argc, char **argv)
{
    struct rig rig = {.backend = "soft", .caps = {.size = sizeof rig.caps}, .seed = 1};
    static _Atomic uint64_t deadline; /* mutable: of the running case, 0 between cases */
    int at = 1, status;
    const char *why_not;
    pthread_t watch;

    for (; at < argc && argv[at][0] == '-'; at++) {
        if (!strcmp(argv[at], "--list"))
            return list_cases();
        if (!strcmp(argv[at], "--slow"))
            rig.slow = true;
        else if (!strcmp(argv[at], "--backend") && at + 1 < argc)
            rig.backend = argv[++at];
        else if (!strcmp(argv[at], "--cpu-engine") && at + 1 < argc && engine_flags(argv[at + 1], &rig.flags))
            at++;
        else
            return fprintf(stderr, "usage: hy-conformance [--backend NAME] [--cpu-engine auto|interpret|translate] [--slow] [--list] [CASE...]\n"), 2;
    }
    main_thread = pthread_self();
    if (hy_open(rig.backend, &rig.h) != HY_OK) {
        struct hy_why why;

        hy_why(&why);
        printf("skipped all: backend %s does not open: %s %s %lld %s\n", rig.backend, hy_err_name(why.err), why.call, (long long)why.native, why.reason);
        return 77;
    }
    if (rig.flags & HY_VM_TRANSLATE && !strcmp(hy_engine(rig.h, &why_not), "interpret")) {
        printf("skipped all: %s\n", why_not);
        return 77;
    }
    hy_caps(rig.h, &rig.caps);
    emulates = emulates_guests(&rig.caps);
    printf("backend %s, %.1f million guest instructions a second\n", hy_name(rig.h), (double)rig.caps.speed / 1e6);
    if (pthread_create(&watch, NULL, case_watch, &deadline))
        return 1;
    status = run_all(&rig, argv + at, argc - at, &deadline);
    hy_close(rig.h);
    return status;
}
