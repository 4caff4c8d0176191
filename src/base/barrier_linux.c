/* SPDX-License-Identifier: MIT */
/* membarrier(2), private expedited. The kernel wants the process to register once; that is idempotent, so it is done when first refused and nothing
 * is remembered here. A sandbox must allow membarrier with these three commands. */
#include "base/barrier.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/membarrier.h, enum membarrier_cmd */
enum { CMD_QUERY = 0, CMD_PRIVATE_EXPEDITED = 1 << 3, CMD_REGISTER_PRIVATE_EXPEDITED = 1 << 4 };

static long membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0); }

void barrier_all_threads(void)
{
    int saved = errno;

    atomic_thread_fence(memory_order_seq_cst);
    if (membarrier(CMD_PRIVATE_EXPEDITED) != 0 && errno == EPERM) {
        membarrier(CMD_REGISTER_PRIVATE_EXPEDITED);
        membarrier(CMD_PRIVATE_EXPEDITED);
    }
    atomic_thread_fence(memory_order_seq_cst);
    errno = saved;
}

bool barrier_available(void)
{
    int saved = errno;
    long commands = membarrier(CMD_QUERY);
    bool available = commands > 0 && (commands & CMD_PRIVATE_EXPEDITED)
                     && membarrier(CMD_REGISTER_PRIVATE_EXPEDITED) == 0 && membarrier(CMD_PRIVATE_EXPEDITED) == 0;

    errno = saved;
    return available;
}
