/* SPDX-License-Identifier: MIT */
/* sandbox_linux.c - Landlock and seccomp.
 *
 * The table below is the whole policy: a system call, and which threads may make it. Executable mappings are refused to all of them, ioctl is limited to KVM's and the
 * terminal's. io_uring requests do not pass seccomp; what they can open is limited by Landlock, which they do obey. References: seccomp(2), landlock(7).
 */
#include <asm/termbits.h>
#include <errno.h>
#include <stdbool.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bits.h"
#include "machine/sandbox.h"

#define KVM_IOCTL_TYPE 0xae

enum { M = SANDBOX_MAIN, V = SANDBOX_VCPU, D = SANDBOX_DEVICE, ALL = M | V | D,
       FIRST = 8 /* only in the filter that all threads get first: to narrow themselves */ };

static const struct { int number; unsigned threads; } policy[] = {
    /* memory and threads of the C library */
    {SCMP_SYS(brk), ALL}, {SCMP_SYS(munmap), ALL}, {SCMP_SYS(mremap), ALL}, {SCMP_SYS(madvise), ALL}, {SCMP_SYS(futex), ALL}, {SCMP_SYS(rseq), ALL},
    {SCMP_SYS(set_robust_list), ALL}, {SCMP_SYS(sched_yield), ALL}, {SCMP_SYS(membarrier), ALL}, {SCMP_SYS(getpid), ALL}, {SCMP_SYS(gettid), ALL},
    {SCMP_SYS(sched_getaffinity), ALL}, {SCMP_SYS(exit), ALL}, {SCMP_SYS(exit_group), ALL}, {SCMP_SYS(restart_syscall), ALL}, {SCMP_SYS(sigaltstack), ALL},
    /* signals: kicks, sigwait, a crash that puts the terminal back */
    {SCMP_SYS(rt_sigreturn), ALL}, {SCMP_SYS(rt_sigprocmask), ALL}, {SCMP_SYS(rt_sigaction), ALL}, {SCMP_SYS(rt_sigtimedwait), ALL}, {SCMP_SYS(tgkill), ALL},
    /* time and entropy */
    {SCMP_SYS(timerfd_create), M | D}, {SCMP_SYS(timerfd_settime), ALL},
    {SCMP_SYS(clock_gettime), ALL}, {SCMP_SYS(clock_nanosleep), ALL}, {SCMP_SYS(nanosleep), ALL}, {SCMP_SYS(gettimeofday), ALL}, {SCMP_SYS(getrandom), ALL},
    /* descriptors that are open */
    {SCMP_SYS(read), ALL}, {SCMP_SYS(write), ALL}, {SCMP_SYS(readv), ALL}, {SCMP_SYS(writev), ALL}, {SCMP_SYS(close), ALL}, {SCMP_SYS(poll), ALL},
    {SCMP_SYS(ppoll), ALL}, {SCMP_SYS(fstat), ALL}, {SCMP_SYS(newfstatat), ALL}, {SCMP_SYS(lseek), ALL},
    /* event loops and disks */
    {SCMP_SYS(epoll_wait), M | D}, {SCMP_SYS(epoll_pwait), M | D}, {SCMP_SYS(epoll_ctl), M | D}, {SCMP_SYS(epoll_create1), M | D}, {SCMP_SYS(eventfd2), M | D},
    {SCMP_SYS(pipe2), M | D}, {SCMP_SYS(pread64), M | D}, {SCMP_SYS(pwrite64), M | D}, {SCMP_SYS(preadv), M | D}, {SCMP_SYS(pwritev), M | D},
    {SCMP_SYS(preadv2), M | D}, {SCMP_SYS(pwritev2), M | D}, {SCMP_SYS(fdatasync), M | D}, {SCMP_SYS(fsync), M | D}, {SCMP_SYS(fallocate), M | D},
    {SCMP_SYS(fcntl), M | D}, {SCMP_SYS(io_uring_enter), M | D}, {SCMP_SYS(io_uring_setup), M | D}, {SCMP_SYS(io_uring_register), M | D},
    /* the thread pool for blocking work grows when it is first used; a thread inherits the filter */
    {SCMP_SYS(clone3), M | D}, {SCMP_SYS(clone), M | D}, {SCMP_SYS(prctl), M | D},
    {SCMP_SYS(seccomp), FIRST}, {SCMP_SYS(prctl), FIRST},
    /* sockets: network helper and stream peers */
    {SCMP_SYS(recvfrom), M | D}, {SCMP_SYS(sendto), M | D}, {SCMP_SYS(recvmsg), M | D}, {SCMP_SYS(sendmsg), M | D}, {SCMP_SYS(recvmmsg), M | D},
    {SCMP_SYS(sendmmsg), M | D}, {SCMP_SYS(accept), M}, {SCMP_SYS(accept4), M}, {SCMP_SYS(shutdown), M | D},
    /* the end of the run: join the helper process, remove the sockets */
    {SCMP_SYS(wait4), M}, {SCMP_SYS(waitid), M}, {SCMP_SYS(kill), M}, {SCMP_SYS(unlink), M},
};

/* mmap and mprotect without PROT_EXEC; ioctl by request. */
static int add_conditional(scmp_filter_ctx filter)
{
    int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_MASKED_EQ, 0xff00, KVM_IOCTL_TYPE << 8));
    static const unsigned long terminal[] = {TCGETS, TCSETS, TCSETSW, TCSETSF, TIOCGWINSZ, FIONBIO, FIONREAD};
    for (size_t i = 0; i < ARRAY_LEN(terminal); i++)
        r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, terminal[i]));
    /* The C library looks for the number of processors when a thread first allocates, and into /proc/sys/vm when it frees much. It does without; so does
     * everything else: no path can be opened any more. */
    r |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(openat), 0);
    return r;
}

static int load_filter(enum machine_sandbox mode, unsigned kinds, bool all_threads, struct err *err)
{
    scmp_filter_ctx filter = seccomp_init(mode == MACHINE_SANDBOX_LOG ? SCMP_ACT_LOG : SCMP_ACT_TRAP);
    if (!filter)
        return err_set(err, ERR_HOST, "--sandbox: cannot make a seccomp filter (say --sandbox=off to go without)");
    int r = add_conditional(filter);
    for (size_t i = 0; !r && i < ARRAY_LEN(policy); i++)
        if (policy[i].threads & kinds)
            r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, policy[i].number, 0);
    if (!r && all_threads)
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (!r)
        r = seccomp_load(filter);
    seccomp_release(filter);
    return r ? err_set(err, ERR_HOST, "--sandbox: the kernel refuses a seccomp filter: %s (say --sandbox=off to go without)", strerror(-r)) : 0;
}

int sandbox_enter_thread(enum machine_sandbox mode, unsigned kinds, struct err *err)
{
    return mode == MACHINE_SANDBOX_OFF ? 0 : load_filter(mode, kinds, false, err);
}

int sandbox_enter_all_threads(enum machine_sandbox mode, struct err *err)
{
    return mode == MACHINE_SANDBOX_OFF ? 0 : load_filter(mode, ALL | FIRST, true, err);
}

/* All file-system rights that ABI 1 knows, and none granted: from now on no path can be opened. */
static int enter_landlock(void)
{
    struct landlock_ruleset_attr attributes = {.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1};
    attributes.handled_access_fs &= ~(uint64_t)LANDLOCK_ACCESS_FS_REMOVE_FILE; /* our own sockets are removed at the end */
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
    if (ruleset < 0)
        return -1;
    int r = (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
    close(ruleset);
    return r;
}

int sandbox_enter_process(enum machine_sandbox mode, struct log *log, struct err *err)
{
    if (mode == MACHINE_SANDBOX_OFF)
        return 0;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return err_set(err, ERR_HOST, "--sandbox: cannot give up privileges: %m");
    if (mode == MACHINE_SANDBOX_ON && enter_landlock()) /* Landlock has no way to log only */
        log_line(log, LOG_INFO, "this kernel has no Landlock: %s; seccomp alone guards the process", strerror(errno));
    return 0;
}
