/* SPDX-License-Identifier: MIT */
/* host.h - what the host's processor can do. */
#ifndef CPU_TRANSLATE_HOST_H
#define CPU_TRANSLATE_HOST_H

#include <stdbool.h>
#include <stdint.h>

/* By enum insn_feature, as struct cpu's. What needs the operating system's leave (AVX) is there only with it. */
void host_features(uint64_t features[4]);
/* The time-stamp counter; whether it moves at one rate, always. */
uint64_t host_ticks(void);
bool host_ticks_steadily(void);

#endif
