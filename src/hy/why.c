/* SPDX-License-Identifier: MIT */
/* why.c - errors: the calling thread's last failure, and names. */
#include <errno.h>

#include "hy/core.h"

/* mutable: each thread's own last failure, as errno is; nothing of a VM is in it */
static _Thread_local struct hy_why why = {HY_OK, 0, "", "", ""};

hy_err hyb_fail(hy_err err, int64_t native, const char *backend, const char *call, const char *reason)
{
    why = (struct hy_why){.err = err, .native = native, .backend = backend, .call = call, .reason = reason};
    return err;
}

void hy_why(struct hy_why *out)
{
    if (out)
        *out = why;
}

const char *hy_err_name(hy_err err)
{
    static const char *const names[] = {
        "HY_OK", "HY_E_ABSENT", "HY_E_DENIED", "HY_E_NOTSUP", "HY_E_INVAL", "HY_E_RANGE", "HY_E_BUSY", "HY_E_NOMEM", "HY_E_THREAD", "HY_E_STATE",
        "HY_E_GUEST", "HY_E_HOST",
    };

    return err <= 0 && -(int)err < (int)ARRAY_LEN(names) ? names[-(int)err] : "HY_E_?";
}

hy_err hyb_errno(int number)
{
    switch (number) {
    case ENOENT: case ENODEV: case ENXIO: return HY_E_ABSENT;
    case EACCES: case EPERM: return HY_E_DENIED;
    case ENOTTY: case ENOSYS: case EOPNOTSUPP: return HY_E_NOTSUP;
    case EINVAL: return HY_E_INVAL;
    case EBUSY: return HY_E_BUSY;
    case ENOMEM: case EMFILE: case ENFILE: return HY_E_NOMEM;
    case ENOSPC: case EEXIST: case E2BIG: return HY_E_RANGE;
    default: return HY_E_HOST;
    }
}
