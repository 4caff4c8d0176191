/* SPDX-License-Identifier: MIT */
/* igvm-digest FILE PLATFORM [LOADER]: prints what a platform will measure of an IGVM file, for instance
 *     igvm-digest guest.igvm SEV_SNP qemu
 * Build: cc igvm-digest.c $(pkg-config --cflags --libs igvm-openssl)
 */
#include <igvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned char *read_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    unsigned char *bytes = NULL;
    if (f && fseek(f, 0, SEEK_END) == 0 && (*size = (size_t)ftell(f)) > 0 && (bytes = (unsigned char *)malloc(*size)) != NULL) {
        rewind(f);
        *size = fread(bytes, 1, *size, f);
    }
    if (f)
        fclose(f);
    return bytes;
}

int main(int argc, char **argv)
{
    igvm_measure_options options;
    igvm_file file;
    igvm_digest digest;
    igvm_finding why;
    size_t size = 0;
    uint32_t i;
    unsigned char *bytes = argc > 2 ? read_file(argv[1], &size) : NULL;
    if (!bytes)
        return fprintf(stderr, "usage: igvm-digest FILE PLATFORM [LOADER]\n"), 2;
    memset(&options, 0, sizeof options);
    options.crypto = igvm_openssl();
    options.platform = IGVM_CCA; /* which has no digest: a wrong name is told as that */
    for (i = 0; i <= IGVM_CCA; i++)
        if (strcmp(argv[2], igvm_platform_name(i)) == 0)
            options.platform = (igvm_platform_type)i;
    for (i = 0; argc > 3 && i < IGVM_LOADERS; i++)
        if (strcmp(argv[3], igvm_loader_name((igvm_loader)i)) == 0)
            options.loader = (igvm_loader)i;
    if (igvm_open(&file, bytes, size, 0, &why) != IGVM_OK || igvm_measure(&file, &options, &digest, &why) != IGVM_OK) {
        fprintf(stderr, "%s: %s: %s\n", argv[1], igvm_code_name(why.code), why.text);
        return free(bytes), 3;
    }
    for (i = 0; i < digest.bytes; i++)
        printf("%02x", digest.value[i]);
    printf("\n");
    free(bytes);
    return 0;
}
