/* SPDX-License-Identifier: MIT */
/*
 * Cases on the host's processor: each batch in a forked child that gives up its whole address space but the pages of the tested
 * instructions and the rig (rig.h), whose code runs the cases. Here: what this process prepares, what the child does before, and the forms
 * of the state.
 *
 * x86-64 Linux only: it knows the signal frame (arch/x86/include/uapi/asm/sigcontext.h) and the standard XSAVE layout (SDM vol. 1, 13.4).
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "rig.h"

enum {
    XSAVE_FSW = 2, XSAVE_FTW = 4, XSAVE_FOP = 6, XSAVE_FIP = 8, XSAVE_FDP = 16, XSAVE_MXCSR = 24, XSAVE_ST = 32, XSAVE_XMM = 160,
    BV_X87 = 1, BV_SSE = 2, BV_AVX = 4, BV_OPMASK = 1 << 5, BV_ZMM_HIGH = 1 << 6, BV_ZMM16 = 1 << 7,
    SECONDS_MAX = 30,
};

_Static_assert(RIG_GREGS == sizeof(gregset_t) / sizeof(greg_t), "the kernel's frame");

struct native {
    struct rig *rig;
    struct rig_mapping kept[RIG_MAPPINGS_MAX]; /* by the last child */
    unsigned kept_count;
    bool avx512;
};

/* ---- the form of the state ---- */

static const int greg_of[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                 REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

static void put_vectors(uint8_t *x, const struct diff_regs *s)
{
    memcpy(x, &s->fcw, 2);
    memcpy(x + XSAVE_FSW, &s->fsw, 2);
    x[XSAVE_FTW] = s->tags;
    memcpy(x + XSAVE_FOP, &s->fop, 2);
    memcpy(x + XSAVE_FIP, &s->fip, 8);
    memcpy(x + XSAVE_FDP, &s->fdp, 8);
    memcpy(x + XSAVE_MXCSR, &s->mxcsr, 4);
    for (unsigned i = 0; i < 8; i++)
        memcpy(x + XSAVE_ST + 16 * i, &s->st[i], 10);
    for (unsigned i = 0; i < 16; i++) {
        memcpy(x + XSAVE_XMM + 16 * i, &s->vec[i].q[0], 16);
        memcpy(x + RIG_YMM_AT + 16 * i, &s->vec[i].q[2], 16);
    }
    memcpy(x + RIG_OPMASK_AT, s->k, sizeof s->k);
    memcpy(x + RIG_ZMM_HIGH_AT, s->zmm_high, sizeof s->zmm_high);
    memcpy(x + RIG_ZMM16_AT, s->zmm16, sizeof s->zmm16);
}

static void get_vectors(const uint8_t *x, struct diff_regs *s)
{
    uint64_t bv;
    memcpy(&bv, x + RIG_XSTATE_BV, 8);
    memcpy(&s->fcw, x, 2);
    memcpy(&s->fsw, x + XSAVE_FSW, 2);
    s->tags = x[XSAVE_FTW];
    memcpy(&s->fop, x + XSAVE_FOP, 2);
    memcpy(&s->fip, x + XSAVE_FIP, 8);
    memcpy(&s->fdp, x + XSAVE_FDP, 8);
    memcpy(&s->mxcsr, x + XSAVE_MXCSR, 4);
    for (unsigned i = 0; i < 8; i++)
        memcpy(&s->st[i], x + XSAVE_ST + 16 * i, 10);
    if (!(bv & BV_X87)) { /* the initial state, SDM vol. 1, 13.6 */
        memset(s->st, 0, sizeof s->st);
        s->fcw = 0x37f;
        s->fsw = s->fop = 0;
        s->tags = 0;
        s->fip = s->fdp = 0;
    }
    for (unsigned i = 0; i < 16; i++) {
        if (bv & BV_SSE)
            memcpy(&s->vec[i].q[0], x + XSAVE_XMM + 16 * i, 16);
        if (bv & BV_AVX)
            memcpy(&s->vec[i].q[2], x + RIG_YMM_AT + 16 * i, 16);
    }
    if (bv & BV_OPMASK)
        memcpy(s->k, x + RIG_OPMASK_AT, sizeof s->k);
    if (bv & BV_ZMM_HIGH)
        memcpy(s->zmm_high, x + RIG_ZMM_HIGH_AT, sizeof s->zmm_high);
    if (bv & BV_ZMM16)
        memcpy(s->zmm16, x + RIG_ZMM16_AT, sizeof s->zmm16);
}

static void put_case(const struct diff_case *c, struct rig_case *out)
{
    const struct diff_regs *s = &c->regs;
    int64_t *g = out->frame.greg;
    memset(&out->frame, 0, sizeof out->frame);
    for (unsigned i = 0; i < 16; i++)
        g[greg_of[i]] = (int64_t)s->gpr[i];
    g[REG_RIP] = (int64_t)s->rip;
    g[REG_EFL] = (int64_t)s->rflags;
    g[REG_CSGSFS] = (int64_t)((uint64_t)s->cs | (uint64_t)s->ss << 48); /* CS, GS, FS, SS */
    put_vectors(out->frame.xsave, s);
    out->frame.segments.fs_base = s->fs_base;
    out->frame.segments.gs_base = s->gs_base;
    out->code_at = s->rip - CODE_BASE;
    out->code_len = c->code_len;
    memcpy(out->code, c->code, sizeof c->code);
    fill_memory(c, out->memory);
}

static void get_result(const struct rig_result *r, struct diff_result *out)
{
    const int64_t *g = r->frame.greg;
    struct diff_regs *s = &out->regs;
    memset(out, 0, offsetof(struct diff_result, memory));
    for (unsigned i = 0; i < 16; i++)
        s->gpr[i] = (uint64_t)g[greg_of[i]];
    s->rip = (uint64_t)g[REG_RIP];
    s->rflags = (uint64_t)g[REG_EFL];
    s->cs = (uint16_t)g[REG_CSGSFS];
    s->ss = (uint16_t)((uint64_t)g[REG_CSGSFS] >> 48);
    s->ds = (uint16_t)r->frame.segments.ds;
    s->es = (uint16_t)r->frame.segments.es;
    s->fs = (uint16_t)r->frame.segments.fs;
    s->gs = (uint16_t)r->frame.segments.gs;
    s->fs_base = r->frame.segments.fs_base;
    s->gs_base = r->frame.segments.gs_base;
    get_vectors(r->frame.xsave, s);
    out->vector = (uint8_t)g[REG_TRAPNO];
    out->error = (uint32_t)g[REG_ERR];
    out->address = out->vector == 14 ? (uint64_t)g[REG_CR2] : 0;
    memcpy(out->memory, r->memory, DATA_SIZE);
}

/* ---- mappings ---- */

/* The kernel's page of three system calls of old, above the addresses that can be unmapped (vsyscall=none takes it away). */
static bool is_vsyscall(uint64_t address)
{
    return address >> 12 == UINT64_C(0xffffffffff600);
}

static bool is_within(uint64_t start, uint64_t end, uint64_t outer, uint64_t size)
{
    return start >= outer && end <= outer + size;
}

static bool is_meant(uint64_t start, uint64_t end)
{
    return is_within(start, end, RIG_BASE, RIG_CODE_SIZE + RIG_DATA_SIZE) || is_within(start, end, CODE_BASE, CODE_SIZE) ||
        is_within(start, end, DATA_BASE, DATA_SIZE) || is_within(start, end, CONST_BASE, CONST_SIZE);
}

/* The mappings of process `pid` (0: this one) that are not meant to be in a child. False: there are too many, or they cannot be read. */
static bool list_mappings(pid_t pid, struct rig_mapping *out, uint32_t *count)
{
    char path[40], line[512];
    snprintf(path, sizeof path, pid ? "/proc/%d/maps" : "/proc/self/maps", (int)pid);
    FILE *f = fopen(path, "r");
    *count = 0;
    while (f && fgets(line, sizeof line, f)) {
        uint64_t start, end;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) != 2 || is_meant(start, end) || is_vsyscall(start))
            continue;
        if (*count == RIG_MAPPINGS_MAX) {
            fclose(f);
            return false;
        }
        out[(*count)++] = (struct rig_mapping){ start, end - start };
    }
    if (f)
        fclose(f);
    return f != NULL;
}

bool native_keeps(const struct native *n, uint64_t address)
{
    if (address - RIG_BASE < RIG_CODE_SIZE + RIG_DATA_SIZE || is_vsyscall(address))
        return true;
    for (unsigned i = 0; i < n->kept_count; i++) {
        if (address - n->kept[i].start < n->kept[i].size)
            return true;
    }
    return false;
}

/* ---- the child ---- */

/* Of the C library's thread where it has registered with the kernel for restartable sequences; absent in other libraries. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));

/* The kernel writes to that area when it moves a thread: it must not once it is unmapped. The length registered is the library's affair. */
static void leave_rseq(void)
{
    enum { RSEQ_FLAG_UNREGISTER = 1, RSEQ_SIGNATURE = 0x53053053, LENGTH_MAX = 1024 };
    if (!&__rseq_offset)
        return;
    char *area = (char *)__builtin_thread_pointer() + __rseq_offset;
    for (unsigned length = 32; length <= LENGTH_MAX; length += 4) {
        if (syscall(SYS_rseq, area, length, RSEQ_FLAG_UNREGISTER, RSEQ_SIGNATURE) == 0)
            return;
    }
}

/* Present, so that error codes say so. */
static void touch_tested_pages(void)
{
    for (uint64_t at = CODE_BASE; at < CONST_BASE + CONST_SIZE; at += 0x1000) {
        if (at < CODE_BASE + CODE_SIZE || at >= DATA_BASE)
            (void)*(volatile uint8_t *)(uintptr_t)at;
    }
}

static _Noreturn void run_child(struct rig *rig)
{
    uint64_t start = RIG_BASE + ((uintptr_t)rig_start - (uintptr_t)__start_rig_code);
    touch_tested_pages();
    alarm(SECONDS_MAX); /* ends a child that hangs */
    if (!list_mappings(0, rig->mapping, &rig->mapping_count))
        _exit(3);
    leave_rseq();
    __asm__ volatile("mov %0, %%rsp\n\tpush $0\n\tjmp *%1" : : "r"(rig->stack + RIG_STACK_SIZE), "r"(start) : "memory");
    __builtin_unreachable();
}

/* ---- the parent ---- */

static bool map_at(int fd, uint64_t address, size_t size, off_t offset, int prot)
{
    void *wanted = (void *)(uintptr_t)address;
    return mmap(wanted, size, prot, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, offset) == wanted;
}

/* The file behind it: the rig's code, then its data, of which the tested pages are the first. */
static bool map_rig(int fd)
{
    size_t code_size = (size_t)(__stop_rig_code - __start_rig_code);
    return code_size <= RIG_CODE_SIZE && ftruncate(fd, (off_t)(RIG_CODE_SIZE + RIG_DATA_SIZE)) == 0
        && pwrite(fd, __start_rig_code, code_size, 0) == (ssize_t)code_size
        && map_at(fd, RIG_BASE, RIG_CODE_SIZE, 0, PROT_READ | PROT_EXEC)
        && map_at(fd, RIG_DATA, RIG_DATA_SIZE, RIG_CODE_SIZE, PROT_READ | PROT_WRITE)
        && map_at(fd, CODE_BASE, CODE_SIZE, RIG_CODE_SIZE, PROT_READ | PROT_EXEC)
        && map_at(fd, DATA_BASE, DATA_SIZE, RIG_CODE_SIZE + CODE_SIZE, PROT_READ | PROT_WRITE)
        && map_at(fd, CONST_BASE, CONST_SIZE, RIG_CODE_SIZE + CODE_SIZE + DATA_SIZE, PROT_READ);
}

struct native *native_new(void)
{
    struct native *n = calloc(1, sizeof *n);
    int fd = memfd_create("diff", 0);
    if (!n || fd < 0 || !map_rig(fd)) {
        free(n);
        return NULL;
    }
    close(fd);
    n->rig = (struct rig *)(uintptr_t)RIG_DATA;
    n->avx512 = host_has_avx512();
    return n;
}

void native_free(struct native *n)
{
    if (!n)
        return;
    munmap((void *)(uintptr_t)RIG_BASE, RIG_CODE_SIZE + RIG_DATA_SIZE);
    munmap((void *)(uintptr_t)CODE_BASE, CODE_SIZE);
    munmap((void *)(uintptr_t)DATA_BASE, DATA_SIZE + CONST_SIZE);
    free(n);
}

/* The child of `count` cases; `stops`: stopped before the first. */
static pid_t start_child(struct native *n, const struct diff_case *cases, unsigned count, bool stops)
{
    struct rig *rig = n->rig;
    for (unsigned i = 0; i < count; i++)
        put_case(&cases[i], &rig->cases[i]);
    rig->index = -1;
    rig->count = count;
    rig->stops = stops;
    rig->avx512 = n->avx512;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        run_child(rig);
    return child;
}

/* Waits for the child's end. Returns how many cases it finished. */
static unsigned end_child(struct native *n, pid_t child, struct diff_result *results)
{
    const struct rig *rig = n->rig;
    int status;
    waitpid(child, &status, 0);
    unsigned done = rig->index < 0 ? 0 : (unsigned)rig->index;
    for (unsigned i = 0; i < done; i++)
        get_result(&rig->results[i], &results[i]);
    n->kept_count = rig->mapping_count <= RIG_MAPPINGS_MAX ? rig->mapping_count : 0;
    memcpy(n->kept, rig->mapping, n->kept_count * sizeof *n->kept);
    return done;
}

unsigned native_run(struct native *n, const struct diff_case *cases, unsigned count, struct diff_result *results)
{
    pid_t child = start_child(n, cases, count, false);
    return child < 0 ? 0 : end_child(n, child, results);
}

/* ---- whether the child is alone ---- */

/* MOV AL, [RAX] */
static struct diff_case reading_case(uint64_t address)
{
    struct diff_case c = { .mode = CPU_MODE_64, .code_len = 2, .code = { 0x8a, 0x00 } };
    c.regs = (struct diff_regs){ .gpr = { address }, .rip = CODE_BASE, .rflags = 0x202, .fcw = 0x37f, .mxcsr = 0x1f80,
                                 .cs = CS_64, .ss = DS_ALL };
    return c;
}

static bool is_kept(const struct native *n, const struct rig_mapping *m)
{
    return native_keeps(n, m->start) && native_keeps(n, m->start + m->size - 1);
}

/* What /proc says of a child that is set up. */
static bool check_from_outside(struct native *n, const struct diff_case *cases, unsigned count, struct diff_result *results)
{
    struct rig_mapping left[RIG_MAPPINGS_MAX];
    uint32_t left_count = 0;
    int status = 0;
    pid_t child = start_child(n, cases, count, true);
    if (child < 0 || waitpid(child, &status, WUNTRACED) != child || !WIFSTOPPED(status)) {
        printf("the child did not stop where it was set up\n");
        return false;
    }
    bool ok = list_mappings(child, left, &left_count);
    kill(child, SIGCONT);
    ok &= end_child(n, child, results) == count;
    for (uint32_t i = 0; i < left_count; i++) {
        printf("the child has a mapping at %" PRIx64 "-%" PRIx64 "%s\n", left[i].start, left[i].start + left[i].size,
               is_kept(n, &left[i]) ? ", which the kernel does not let go" : "");
        ok &= is_kept(n, &left[i]);
    }
    return ok;
}

bool native_check_mappings(struct native *n)
{
    struct rig_mapping here[RIG_MAPPINGS_MAX];
    struct diff_case *cases = calloc(RIG_BATCH, sizeof *cases);
    struct diff_result *results = calloc(RIG_BATCH, sizeof *results);
    uint32_t here_count;
    bool ok = cases && results && list_mappings(0, here, &here_count);
    unsigned count = ok && here_count < RIG_BATCH ? here_count : RIG_BATCH;
    for (unsigned i = 0; ok && i < count; i++)
        cases[i] = reading_case(here[i].start);
    ok = ok && count > 0 && check_from_outside(n, cases, count, results);
    for (unsigned i = 0; ok && i < count; i++) {
        bool absent = results[i].vector == 14 && results[i].address == here[i].start;
        if (!absent && !native_keeps(n, here[i].start)) {
            printf("the child can read at %" PRIx64 ", where its parent has something\n", here[i].start);
            ok = false;
        }
    }
    free(cases);
    free(results);
    return ok;
}
