/* SPDX-License-Identifier: MIT */
/* files.h - the test files that make_vectors.py writes, and files in memory of exactly their size. */
#ifndef TESTS_IGVM_FILES_H
#define TESTS_IGVM_FILES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct bytes {
    uint8_t *p;
    size_t len;
};

/* Reads DIR/NAME.igvm whole, into a buffer of exactly its size so that a sanitizer sees a read past the end. p is NULL when it cannot. */
static inline struct bytes read_igvm(const char *dir, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.igvm", dir, name);
    struct bytes b = {0};
    FILE *f = fopen(path, "rb");
    if (!f)
        return b;
    fseek(f, 0, SEEK_END);
    b.len = (size_t)ftell(f);
    rewind(f);
    b.p = malloc(b.len ? b.len : 1);
    if (b.p && fread(b.p, 1, b.len, f) != b.len) {
        free(b.p);
        b.p = NULL;
    }
    fclose(f);
    return b;
}

#endif
