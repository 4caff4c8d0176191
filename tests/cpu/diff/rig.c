/* SPDX-License-Identifier: MIT */
/*
 * The child's code (rig.h): it unmaps what is not the rig's or a case's, and runs the cases. It catches every signal that an instruction
 * can cause; the handler stores what the kernel saved of the interrupted state as the result of the case that just ran, puts the next case
 * in its place, and returns into it. So a case costs one signal, and an instruction may do to the child's registers what it likes.
 *
 * Everything is in one section that is copied elsewhere before it runs: no libraries, no globals, no constants in memory, no jump tables,
 * no thread-local data (tests/cpu/meson.build has the compiler's options for it); all state is in struct rig.
 *
 * x86-64 Linux only: it knows the system calls and the signal frame (arch/x86/include/uapi/asm/sigcontext.h).
 */
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "rig.h"

#define RIG_CODE __attribute__((section("rig_code"), used))

/* struct sigaction as the kernel takes it (arch/x86/include/uapi/asm/signal.h). */
struct kernel_sigaction { void *handler; uint64_t flags; void *restorer; uint64_t mask; };
enum { KERNEL_SA_RESTORER = 0x4000000 };

static inline __attribute__((always_inline)) struct rig *the_rig(void)
{
    return (struct rig *)(uintptr_t)RIG_DATA;
}

static inline __attribute__((always_inline)) int64_t call(int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    register uint64_t r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return number;
}

static inline __attribute__((always_inline)) void copy(void *to, const void *from, uint64_t bytes)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

static inline __attribute__((always_inline)) void fill(void *to, uint8_t byte, uint64_t bytes)
{
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(byte) : "memory");
}

/*
 * The kernel enters a handler with the interrupted AC, NT and ID flags, and leaves the latter two alone when it returns: clear them. Of
 * the segments it holds CS and SS only: save the others, and start the next case with those of a fresh process and with the bases that
 * rig_caught() leaves.
 */
__asm__(".pushsection rig_code, \"ax\", @progbits\n"
        ".type rig_entry, @function\nrig_entry:\n"
        "    pushfq\n    andl $0xffdbbfff, (%rsp)\n    popfq\n"
        "    sub $56, %rsp\n"
        "    xor %eax, %eax\n"
        "    mov %ds, %eax\n    mov %rax, (%rsp)\n    mov %es, %eax\n    mov %rax, 8(%rsp)\n"
        "    mov %fs, %eax\n    mov %rax, 16(%rsp)\n    mov %gs, %eax\n    mov %rax, 24(%rsp)\n"
        "    rdfsbase %rax\n    mov %rax, 32(%rsp)\n    rdgsbase %rax\n    mov %rax, 40(%rsp)\n"
        "    xor %eax, %eax\n    mov %eax, %fs\n    mov %eax, %gs\n"
        "    mov $0x2b, %eax\n    mov %eax, %ds\n    mov %eax, %es\n"
        "    mov %rsp, %rcx\n    call rig_caught\n"
        "    mov 32(%rsp), %rax\n    wrfsbase %rax\n    mov 40(%rsp), %rax\n    wrgsbase %rax\n"
        "    add $56, %rsp\n"
        "    ret\n.size rig_entry, . - rig_entry\n"
        ".type rig_return, @function\nrig_return:\n"
        "    mov $15, %eax\n    syscall\n.size rig_return, . - rig_return\n" /* rt_sigreturn */
        ".popsection\n");

static inline __attribute__((always_inline)) void save_result(struct rig_result *out, const ucontext_t *uc,
                                                              const struct rig_segments *segments)
{
    copy(out->frame.greg, uc->uc_mcontext.gregs, sizeof out->frame.greg);
    copy(&out->frame.segments, segments, sizeof *segments);
    copy(out->frame.xsave, uc->uc_mcontext.fpregs, the_rig()->avx512 ? RIG_XSAVE_SIZE : RIG_YMM_END);
    copy(out->memory, the_rig()->tested + CODE_SIZE, DATA_SIZE);
}

static inline __attribute__((always_inline)) void load_case(const struct rig_case *c, ucontext_t *uc, struct rig_segments *segments)
{
    uint8_t *xsave = (uint8_t *)uc->uc_mcontext.fpregs;
    struct rig *rig = the_rig();
    copy(uc->uc_mcontext.gregs, c->frame.greg, (REG_CSGSFS + 1) * sizeof(greg_t));
    copy(xsave, c->frame.xsave, RIG_LEGACY_SIZE);
    uint64_t *bv = (uint64_t *)(xsave + RIG_XSTATE_BV);
    enum { PKRU = 1 << 9, X87_SSE_AVX = 7, AVX512 = 0xe0 };
    *bv = (*bv & PKRU) | X87_SSE_AVX | (rig->avx512 ? AVX512 : 0);
    copy(xsave + RIG_YMM_AT, c->frame.xsave + RIG_YMM_AT, RIG_YMM_END - RIG_YMM_AT);
    if (rig->avx512)
        copy(xsave + RIG_OPMASK_AT, c->frame.xsave + RIG_OPMASK_AT, RIG_XSAVE_SIZE - RIG_OPMASK_AT);
    segments->fs_base = c->frame.segments.fs_base;
    segments->gs_base = c->frame.segments.gs_base;
    fill(rig->tested, FILLER, CODE_SIZE);
    copy(rig->tested + c->code_at, c->code, c->code_len);
    copy(rig->tested + CODE_SIZE, c->memory, DATA_SIZE + CONST_SIZE);
}

RIG_CODE void rig_caught(int signal, void *info, void *context, struct rig_segments *segments)
{
    struct rig *rig = the_rig();
    (void)signal, (void)info;
    if (rig->index >= 0)
        save_result(&rig->results[rig->index], context, segments);
    rig->index++;
    if ((uint32_t)rig->index >= rig->count)
        call(SYS_exit_group, 0, 0, 0, 0);
    load_case(&rig->cases[rig->index], context, segments);
}

RIG_CODE static void unmap_all(struct rig *rig)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < rig->mapping_count; i++) {
        if (call(SYS_munmap, rig->mapping[i].start, rig->mapping[i].size, 0, 0) == 0)
            continue;
        rig->mapping[kept].start = rig->mapping[i].start;
        rig->mapping[kept].size = rig->mapping[i].size;
        kept++;
    }
    rig->mapping_count = kept;
}

RIG_CODE static void catch_signal(uint64_t signal)
{
    struct kernel_sigaction action;
    action.handler = (void *)rig_entry;
    action.flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | KERNEL_SA_RESTORER;
    action.restorer = (void *)rig_return;
    action.mask = 0;
    if (call(SYS_rt_sigaction, signal, (uint64_t)(uintptr_t)&action, 0, 8) != 0)
        call(SYS_exit_group, 3, 0, 0, 0);
}

RIG_CODE _Noreturn void rig_start(void)
{
    struct rig *rig = the_rig();
    unmap_all(rig);
    stack_t stack;
    stack.ss_sp = rig->signal_stack;
    stack.ss_flags = 0;
    stack.ss_size = RIG_STACK_SIZE;
    if (call(SYS_sigaltstack, (uint64_t)(uintptr_t)&stack, 0, 0, 0) != 0)
        call(SYS_exit_group, 3, 0, 0, 0);
    catch_signal(SIGTRAP);
    catch_signal(SIGILL);
    catch_signal(SIGSEGV);
    catch_signal(SIGBUS);
    catch_signal(SIGFPE);
    if (rig->stops)
        call(SYS_kill, (uint64_t)call(SYS_getpid, 0, 0, 0, 0), SIGSTOP, 0, 0);
    __asm__ volatile("mov %w0, %%ds\n\tmov %w0, %%es\n\tud2" : : "r"(DS_ALL) : "memory"); /* compatibility mode needs them */
    for (;;)
        call(SYS_exit_group, 2, 0, 0, 0);
}
