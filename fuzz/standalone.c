/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target without libFuzzer: on the files given, or else on a fixed stream of random inputs, so that a target cannot rot between campaigns. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUTS    300
#define INPUT_MAX 2048

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *bytes = malloc(1 << 24);
    if (!f || !bytes) {
        fprintf(stderr, "%s: cannot read\n", path);
        return 1;
    }
    size_t len = fread(bytes, 1, 1 << 24, f);
    fclose(f);
    LLVMFuzzerTestOneInput(bytes, len);
    free(bytes);
    return 0;
}

int main(int argc, char **argv)
{
    int status = 0;
    for (int i = 1; i < argc; i++)
        status |= run_file(argv[i]);
    if (argc > 1)
        return status;
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
    for (int i = 0; i < INPUTS; i++) {
        size_t len = next_random(&state) % INPUT_MAX;
        uint8_t *bytes = malloc(len ? len : 1); /* exact size, so that a sanitizer sees a read past the end */
        for (size_t j = 0; bytes && j < len; j++)
            bytes[j] = (uint8_t)(next_random(&state) >> (i % 8 ? 0 : 62)); /* every eighth input is mostly small values */
        if (bytes)
            LLVMFuzzerTestOneInput(bytes, len);
        free(bytes);
    }
    return 0;
}
