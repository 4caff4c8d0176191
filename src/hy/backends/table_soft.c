/* SPDX-License-Identifier: MIT */
/* Hosts whose own hypervisor has no backend yet. */
#include "hy/hy_backend.h"

const struct hy_backend *const hy_backends[] = {&hy_backend_soft, NULL};
