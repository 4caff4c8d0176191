/* SPDX-License-Identifier: MIT */
/* host.h - what the host's processor can do. */
#ifndef CPU_TRANSLATE_HOST_H
#define CPU_TRANSLATE_HOST_H

#include <stdint.h>

/* By enum insn_feature, as struct cpu's. What needs the operating system's leave (AVX) is there only with it. */
void host_features(uint64_t features[4]);

#endif
