/* SPDX-License-Identifier: MIT */
/* slirp_host_linux.c - what mezz-slirp gives up on Linux.
 *
 * After its ports are open it may only do what libslirp's sockets and the allocator need; every other system call fails with EPERM, which libslirp and GLib take as any
 * failure, whatever version of them is installed. Sockets are IPv4's and IPv6's. No file can be opened but for reading and, where the kernel has Landlock, in the folder of
 * resolv.conf, which libslirp reads again whenever it changes. References: seccomp(2), landlock(7).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bits.h"
#include "network/slirp_host.h"

/* Death of the VM closes the socket, too; the signal is for a VM whose descriptors somebody else still holds. It comes with the end of the thread that started us, so it is not
 * asked for: that thread may end before the VM. */
void slirp_host_confine(int first_fd)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (syscall(SYS_close_range, first_fd, ~0u, 0))
        for (int fd = first_fd; fd < 1024; fd++)
            close(fd);
}

void slirp_host_quiet(void)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0 && null != 2) {
        dup2(null, 2);
        close(null);
    }
}

static const int policy[] = {
    /* memory, time, the end, one thread's locks */
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(getrandom),
    SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(restart_syscall), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction), SCMP_SYS(sigaltstack),
    SCMP_SYS(getpid), SCMP_SYS(gettid),
    /* sockets that are open, and those that come in at a forward */
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(close),
    SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(bind), SCMP_SYS(connect), SCMP_SYS(listen), SCMP_SYS(shutdown), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
    SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(fcntl),
    /* resolv.conf */
    SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(lseek),
};

static int add_conditional(scmp_filter_ctx filter)
{
    static const unsigned families[] = { AF_INET, AF_INET6 };
    static const unsigned long requests[] = { FIONBIO, FIONREAD, SIOCATMARK };
    int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
    for (size_t i = 0; i < ARRAY_LEN(families); i++)
        r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, families[i]));
    for (size_t i = 0; i < ARRAY_LEN(requests); i++)
        r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, requests[i]));
    return r;
}

static bool enter_filter(bool log_only)
{
    scmp_filter_ctx filter = seccomp_init(log_only ? SCMP_ACT_LOG : SCMP_ACT_ERRNO(EPERM));
    if (!filter)
        return false;
    int r = add_conditional(filter);
    for (size_t i = 0; i < ARRAY_LEN(policy); i++)
        r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, policy[i], 0);
    r = r ? r : seccomp_load(filter);
    seccomp_release(filter);
    return r == 0;
}

static void allow_folder(int ruleset, char *file)
{
    char *slash = strrchr(file, '/');
    if (!slash || slash == file)
        return;
    *slash = '\0';
    struct landlock_path_beneath_attr beneath = { .allowed_access = LANDLOCK_ACCESS_FS_READ_FILE, .parent_fd = open(file, O_PATH | O_CLOEXEC) };
    if (beneath.parent_fd < 0)
        return;
    syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
    close(beneath.parent_fd);
}

/* The file may be a link into a folder of its own; what replaces it will be in either. */
static void enter_landlock(void)
{
    struct landlock_ruleset_attr attributes = { .handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1 }; /* all that ABI 1 knows */
    char link[] = "/etc/resolv.conf", target[PATH_MAX];
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
    if (ruleset < 0)
        return;
    if (realpath(link, target))
        allow_folder(ruleset, target);
    allow_folder(ruleset, link);
    syscall(SYS_landlock_restrict_self, ruleset, 0);
    close(ruleset);
}

bool slirp_host_sandbox(enum slirp_sandbox mode)
{
    if (mode == SLIRP_SANDBOX_OFF)
        return true;
    if (mode == SLIRP_SANDBOX_ON) /* Landlock has no way to log only */
        enter_landlock();
    return enter_filter(mode == SLIRP_SANDBOX_LOG);
}
