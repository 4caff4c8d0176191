/* SPDX-License-Identifier: MIT */
/*
 * Cases on the host's processor. A forked child catches every signal that an instruction can cause; the handler stores what the kernel saved of
 * the interrupted state as the result of the case that just ran, puts the next case in its place, and returns into it. So a case costs one
 * signal, and an instruction may do to the child's registers what it likes.
 *
 * x86-64 Linux only: it knows the signal frame (arch/x86/include/uapi/asm/sigcontext.h) and the standard XSAVE layout (SDM vol. 1, 13.4).
 */
#include <cpuid.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "diff.h"

enum {
    XSAVE_FSW = 2, XSAVE_FTW = 4, XSAVE_FOP = 6, XSAVE_FIP = 8, XSAVE_FDP = 16, XSAVE_MXCSR = 24, XSAVE_ST = 32, XSAVE_XMM = 160, XSAVE_BV = 512,
    XSAVE_YMM_HIGH = 576,
    BV_X87 = 1, BV_SSE = 2, BV_AVX = 4, BV_PKRU = 1 << 9,
    MEMORY_SIZE = CODE_SIZE + DATA_SIZE + CONST_SIZE,
    SECONDS_MAX = 30,
};

struct shared { int index; };

struct native {
    unsigned batch;
    uint8_t *alias;               /* writable view of code, data and constants */
    struct shared *shared;
    struct diff_case *cases;      /* shared with the child */
    struct diff_result *results;
};

/* What the signal handler works on: it gets no argument of ours. Set in the child, before the first signal. */
static struct native *running;    /* mutable: the child's, see above */
static unsigned running_count;    /* mutable: the same */

/* The segment registers that the kernel's frame does not hold: native_entry saves the interrupted ones, and loads fs_base and gs_base on return. */
struct native_segments { uint64_t ds, es, fs, gs, fs_base, gs_base, own_fs_base; };
struct native_segments native_segments; /* mutable: the signal entry's, see above */

/* ---- CPUID ---- */

static bool cpuid_bit(unsigned leaf, unsigned subleaf, unsigned reg, unsigned bit)
{
    unsigned r[4] = { 0 };
    return __get_cpuid_count(leaf, subleaf, &r[0], &r[1], &r[2], &r[3]) && r[reg] >> bit & 1;
}

bool native_has(enum insn_feature feature)
{
    enum { EBX = 1, ECX = 2, EDX = 3, EXT = 0x80000001 };
    switch (feature) {
    case FEATURE_SSE3: return cpuid_bit(1, 0, ECX, 0);
    case FEATURE_PCLMULQDQ: return cpuid_bit(1, 0, ECX, 1);
    case FEATURE_SSSE3: return cpuid_bit(1, 0, ECX, 9);
    case FEATURE_FMA: return cpuid_bit(1, 0, ECX, 12);
    case FEATURE_CX16: return cpuid_bit(1, 0, ECX, 13);
    case FEATURE_SSE41: return cpuid_bit(1, 0, ECX, 19);
    case FEATURE_SSE42: return cpuid_bit(1, 0, ECX, 20);
    case FEATURE_MOVBE: return cpuid_bit(1, 0, ECX, 22);
    case FEATURE_POPCNT: return cpuid_bit(1, 0, ECX, 23);
    case FEATURE_AES: return cpuid_bit(1, 0, ECX, 25);
    case FEATURE_AVX: return cpuid_bit(1, 0, ECX, 28) && cpuid_bit(1, 0, ECX, 27);
    case FEATURE_F16C: return cpuid_bit(1, 0, ECX, 29);
    case FEATURE_FSGSBASE: return cpuid_bit(7, 0, EBX, 0);
    case FEATURE_BMI1: return cpuid_bit(7, 0, EBX, 3);
    case FEATURE_AVX2: return cpuid_bit(7, 0, EBX, 5);
    case FEATURE_BMI2: return cpuid_bit(7, 0, EBX, 8);
    case FEATURE_INVPCID: return cpuid_bit(7, 0, EBX, 10);
    case FEATURE_ADX: return cpuid_bit(7, 0, EBX, 19);
    case FEATURE_SMAP: return cpuid_bit(7, 0, EBX, 20);
    case FEATURE_CLFLUSHOPT: return cpuid_bit(7, 0, EBX, 23);
    case FEATURE_CLWB: return cpuid_bit(7, 0, EBX, 24);
    case FEATURE_SHA: return cpuid_bit(7, 0, EBX, 29);
    case FEATURE_VAES: return cpuid_bit(7, 0, ECX, 9);
    case FEATURE_VPCLMULQDQ: return cpuid_bit(7, 0, ECX, 10);
    case FEATURE_SERIALIZE: return cpuid_bit(7, 0, EDX, 14);
    case FEATURE_LZCNT: return cpuid_bit(EXT, 0, ECX, 5);
    case FEATURE_PREFETCHW: return cpuid_bit(EXT, 0, ECX, 8);
    case FEATURE_PKU: case FEATURE_RDPID: case FEATURE_MONITOR: case FEATURE_SMX: return false;
    default: return true; /* part of every x86-64 processor */
    }
}

/* ---- state in the signal frame ---- */

static const int greg_of[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                 REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

static void load_vectors(uint8_t *x, const struct diff_regs *s)
{
    uint64_t bv;
    memcpy(&bv, x + XSAVE_BV, 8);
    bv = (bv & BV_PKRU) | BV_X87 | BV_SSE | BV_AVX;
    memcpy(x + XSAVE_BV, &bv, 8);
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
        memcpy(x + XSAVE_YMM_HIGH + 16 * i, &s->vec[i].q[2], 16);
    }
}

static void save_vectors(const uint8_t *x, struct diff_regs *s)
{
    uint64_t bv;
    memcpy(&bv, x + XSAVE_BV, 8);
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
            memcpy(&s->vec[i].q[2], x + XSAVE_YMM_HIGH + 16 * i, 16);
    }
}

static void load_case(const struct diff_case *c, ucontext_t *uc)
{
    const struct diff_regs *s = &c->regs;
    greg_t *g = uc->uc_mcontext.gregs;
    for (unsigned i = 0; i < 16; i++)
        g[greg_of[i]] = (greg_t)s->gpr[i];
    g[REG_RIP] = (greg_t)s->rip;
    g[REG_EFL] = (greg_t)s->rflags;
    g[REG_CSGSFS] = (greg_t)((uint64_t)s->cs | (uint64_t)s->ss << 48); /* CS, GS, FS, SS */
    load_vectors((uint8_t *)uc->uc_mcontext.fpregs, s);
    native_segments.fs_base = s->fs_base;
    native_segments.gs_base = s->gs_base;
    memset(running->alias, FILLER, CODE_SIZE);
    memcpy(running->alias + (s->rip - CODE_BASE), c->code, c->code_len);
    fill_memory(c, running->alias + CODE_SIZE);
}

static void save_result(struct diff_result *out, const ucontext_t *uc)
{
    const greg_t *g = uc->uc_mcontext.gregs;
    struct diff_regs *s = &out->regs;
    memset(out, 0, offsetof(struct diff_result, memory));
    for (unsigned i = 0; i < 16; i++)
        s->gpr[i] = (uint64_t)g[greg_of[i]];
    s->rip = (uint64_t)g[REG_RIP];
    s->rflags = (uint64_t)g[REG_EFL];
    s->cs = (uint16_t)g[REG_CSGSFS];
    s->ss = (uint16_t)((uint64_t)g[REG_CSGSFS] >> 48);
    s->ds = (uint16_t)native_segments.ds;
    s->es = (uint16_t)native_segments.es;
    s->fs = (uint16_t)native_segments.fs;
    s->gs = (uint16_t)native_segments.gs;
    s->fs_base = native_segments.fs_base;
    s->gs_base = native_segments.gs_base;
    save_vectors((const uint8_t *)uc->uc_mcontext.fpregs, s);
    out->vector = (uint8_t)g[REG_TRAPNO];
    out->error = (uint32_t)g[REG_ERR];
    out->address = out->vector == 14 ? (uint64_t)g[REG_CR2] : 0;
    memcpy(out->memory, running->alias + CODE_SIZE, DATA_SIZE);
}

/* ---- the child ---- */

void native_caught(int signal, siginfo_t *info, void *context);
void native_entry(int signal, siginfo_t *info, void *context);

/*
 * The kernel enters a handler with the interrupted AC, NT and ID flags, and leaves the latter two alone when it returns: clear them. Compiled
 * code needs the thread's own FS base; DS and ES as compatibility mode needs them.
 */
__asm__(".text\n.type native_entry, @function\nnative_entry:\n"
        "    pushfq\n    andl $0xffdbbfff, (%rsp)\n    popfq\n"
        "    lea native_segments(%rip), %r8\n"
        "    mov %ds, %eax\n    mov %rax, (%r8)\n    mov %es, %eax\n    mov %rax, 8(%r8)\n"
        "    mov %fs, %eax\n    mov %rax, 16(%r8)\n    mov %gs, %eax\n    mov %rax, 24(%r8)\n"
        "    rdfsbase %rax\n    mov %rax, 32(%r8)\n    rdgsbase %rax\n    mov %rax, 40(%r8)\n"
        "    xor %eax, %eax\n    mov %eax, %fs\n    mov %eax, %gs\n"
        "    mov $0x2b, %eax\n    mov %eax, %ds\n    mov %eax, %es\n"
        "    mov 48(%r8), %rax\n    wrfsbase %rax\n"
        "    sub $8, %rsp\n    call native_caught\n    add $8, %rsp\n"
        "    lea native_segments(%rip), %r8\n"
        "    mov 32(%r8), %rax\n    wrfsbase %rax\n    mov 40(%r8), %rax\n    wrgsbase %rax\n"
        "    ret\n.size native_entry, . - native_entry\n");

__attribute__((used)) void native_caught(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    int *index = &running->shared->index;
    if (*index >= 0)
        save_result(&running->results[*index], context);
    ++*index;
    if (*index >= (int)running_count)
        _exit(0);
    load_case(&running->cases[*index], context);
}

static _Noreturn void run_child(struct native *n, unsigned count)
{
    static const int signals[] = { SIGTRAP, SIGILL, SIGSEGV, SIGBUS, SIGFPE };
    stack_t stack = { .ss_size = 1 << 17 };
    stack.ss_sp = malloc(stack.ss_size);
    if (!stack.ss_sp || sigaltstack(&stack, NULL) != 0)
        _exit(2);
    struct sigaction action = { .sa_sigaction = native_entry, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
    for (unsigned i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i], &action, NULL);
    for (uint64_t at = CODE_BASE; at < CONST_BASE + CONST_SIZE; at += 0x1000) { /* present, so that error codes say so */
        if (at < CODE_BASE + CODE_SIZE || at >= DATA_BASE)
            (void)*(volatile uint8_t *)(uintptr_t)at;
    }
    alarm(SECONDS_MAX); /* ends a child that hangs */
    running = n;
    __asm__ volatile("rdfsbase %0" : "=r"(native_segments.own_fs_base));
    running_count = count;
    __asm__ volatile("mov %w0, %%ds\n\tmov %w0, %%es\n\tud2" : : "r"(DS_ALL) : "memory"); /* compatibility mode needs them */
    _exit(2);
}

/* ---- the parent ---- */

static bool map_at(int fd, uint64_t address, size_t size, off_t offset, int prot)
{
    void *wanted = (void *)(uintptr_t)address;
    return mmap(wanted, size, prot, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, offset) == wanted;
}

static void *shared_memory(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

struct native *native_new(unsigned batch)
{
    if (!native_has(FEATURE_FSGSBASE) || !native_has(FEATURE_AVX))
        return NULL;
    struct native *n = calloc(1, sizeof *n);
    int fd = memfd_create("diff", 0);
    if (!n || fd < 0 || ftruncate(fd, MEMORY_SIZE) != 0)
        return NULL;
    n->batch = batch;
    n->alias = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    n->shared = shared_memory(sizeof *n->shared);
    n->cases = shared_memory(batch * sizeof *n->cases);
    n->results = shared_memory(batch * sizeof *n->results);
    bool ok = n->alias != MAP_FAILED && n->shared && n->cases && n->results
        && map_at(fd, CODE_BASE, CODE_SIZE, 0, PROT_READ | PROT_EXEC)
        && map_at(fd, DATA_BASE, DATA_SIZE, CODE_SIZE, PROT_READ | PROT_WRITE)
        && map_at(fd, CONST_BASE, CONST_SIZE, CODE_SIZE + DATA_SIZE, PROT_READ);
    close(fd);
    return ok ? n : NULL;
}

void native_free(struct native *n)
{
    free(n);
}

unsigned native_run(struct native *n, const struct diff_case *cases, unsigned count, struct diff_result *results)
{
    memcpy(n->cases, cases, count * sizeof *cases);
    n->shared->index = -1;
    pid_t child = fork();
    if (child == 0)
        run_child(n, count);
    if (child < 0)
        return 0;
    int status;
    waitpid(child, &status, 0);
    unsigned done = n->shared->index < 0 ? 0 : (unsigned)n->shared->index;
    memcpy(results, n->results, done * sizeof *results);
    return done;
}
