/* SPDX-License-Identifier: MIT */
/* fpu_rig_host.c - see fpu_rig_host.h. */
#include "fpu_rig_host.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

/* The offsets in the assembly below. */
_Static_assert(offsetof(struct rig_state, rax) == 1024 && offsetof(struct rig_state, flags) == 1056, "layout");

/* A fault in the tested instruction is made to look like its return. */

static volatile int host_fault;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    uint64_t *stack = (uint64_t *)u->uc_mcontext.gregs[REG_RSP];

    (void)signal, (void)info;
    host_fault = (int)u->uc_mcontext.gregs[REG_TRAPNO];
    u->uc_mcontext.gregs[REG_RIP] = (long long)*stack;
    u->uc_mcontext.gregs[REG_RSP] += 8;
}

void rig_host_call(uint8_t *pages, uint8_t *operand_bytes, struct rig_state *s)
{
    register struct rig_state *state __asm__("r8") = s;
    register uint64_t operand __asm__("r9") = (uintptr_t)operand_bytes, target __asm__("r10") = (uintptr_t)pages;

    host_fault = -1;
    __asm__ volatile("push %%rbx\n push %%rbp\n sub $256, %%rsp\n" /* leaves the red zone alone */
                     "mov %%r8, %%rbx\n mov %%r10, %%rbp\n mov %%r9, %%rdi\n"
                     "mov $7, %%eax\n xor %%edx, %%edx\n xrstor64 (%%rbx)\n"
                     "pushq 1056(%%rbx)\n popfq\n"
                     "mov 1024(%%rbx), %%rax\n mov 1032(%%rbx), %%rcx\n mov 1040(%%rbx), %%rdx\n mov 1048(%%rbx), %%rsi\n"
                     "call *%%rbp\n"
                     "pushfq\n popq 1056(%%rbx)\n"
                     "mov %%rax, 1024(%%rbx)\n mov %%rcx, 1032(%%rbx)\n mov %%rdx, 1040(%%rbx)\n mov %%rsi, 1048(%%rbx)\n"
                     "mov $7, %%eax\n xor %%edx, %%edx\n xsave64 (%%rbx)\n"
                     "fnclex\n fninit\n movl $0x1f80, (%%rsp)\n ldmxcsr (%%rsp)\n vzeroall\n"
                     "add $256, %%rsp\n pop %%rbp\n pop %%rbx"
                     : "+r"(state), "+r"(operand), "+r"(target) :
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r11", "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
                       "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    s->fault = host_fault;
}

uint8_t *rig_host_new(void)
{
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER };
    static const int signals[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS };
    void *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (pages == MAP_FAILED)
        abort();
    for (unsigned i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i], &action, NULL);
    return pages;
}

void rig_host_free(uint8_t *pages) { munmap(pages, 8192); }
