/* SPDX-License-Identifier: MIT */
/* verify.h - a proof of translated code before it runs. See verify.c. */
#ifndef CPU_TRANSLATE_VERIFY_H
#define CPU_TRANSLATE_VERIFY_H

#include <stdint.h>

struct compile;

/* The code of c->to, [start, end) in the writable view, not yet linked. NULL: proved; else what is wrong, with *at the offending instruction's offset from start. */
const char *verify_code(const struct compile *, const uint8_t *start, const uint8_t *end, uint32_t *at);

#endif
