/* SPDX-License-Identifier: MIT */
/* Linux on x86-64. */
#include "hy/hy_backend.h"

const struct hy_backend *const hy_backends[] = {&hy_backend_kvm, &hy_backend_soft, NULL};
