/* SPDX-License-Identifier: MIT */
/* code_memory.h - memory for code that we make: one piece, seen twice, never writable and executable at one address. One file per host family. */
#ifndef CPU_CODE_MEMORY_H
#define CPU_CODE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

struct code_memory {
    uint8_t *write; /* readable, writable */
    uint8_t *run;   /* readable, executable: the same bytes */
    size_t size;
};

/* NULL, or in a few words (then *m is empty) why this host does not let us. */
const char *code_memory_new(struct code_memory *m, size_t size);
void        code_memory_free(struct code_memory *); /* leaves it empty */

#endif
