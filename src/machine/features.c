/* SPDX-License-Identifier: MIT */
/* features.c - CPU features by the names of Linux's /proc/cpuinfo, to take them out of what a guest is told (--cpus disable=); and AVX-512, which the software CPU
 * has only when it is asked for (--cpus enable=avx512), since such a guest cannot go on where the host has none. Bits: SDM 2A, CPUID. */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "machine/internal.h"

enum { EAX, EBX, ECX, EDX };

/* `with` goes when the feature goes, as the SDM's detection rules ask. */
struct feature { const char *name; uint32_t fn; uint8_t sub, reg, bit; const char *with; };
static const struct feature features[] = {
    {"sse3", 1, 0, ECX, 0, NULL}, {"pclmulqdq", 1, 0, ECX, 1, NULL}, {"ssse3", 1, 0, ECX, 9, NULL}, {"fma", 1, 0, ECX, 12, NULL}, {"cx16", 1, 0, ECX, 13, NULL},
    {"pcid", 1, 0, ECX, 17, NULL}, {"sse4_1", 1, 0, ECX, 19, NULL}, {"sse4_2", 1, 0, ECX, 20, NULL}, {"x2apic", 1, 0, ECX, 21, NULL}, {"movbe", 1, 0, ECX, 22, NULL},
    {"popcnt", 1, 0, ECX, 23, NULL}, {"tsc-deadline", 1, 0, ECX, 24, NULL}, {"aes", 1, 0, ECX, 25, NULL}, {"xsave", 1, 0, ECX, 26, "avx:pku"},
    {"avx", 1, 0, ECX, 28, "fma:f16c:avx2:avx512f"}, {"f16c", 1, 0, ECX, 29, NULL}, {"rdrand", 1, 0, ECX, 30, NULL},
    {"fsgsbase", 7, 0, EBX, 0, NULL}, {"tsc_adjust", 7, 0, EBX, 1, NULL}, {"bmi1", 7, 0, EBX, 3, NULL}, {"avx2", 7, 0, EBX, 5, NULL}, {"smep", 7, 0, EBX, 7, NULL},
    {"bmi2", 7, 0, EBX, 8, NULL}, {"erms", 7, 0, EBX, 9, NULL}, {"invpcid", 7, 0, EBX, 10, NULL}, {"rdseed", 7, 0, EBX, 18, NULL}, {"adx", 7, 0, EBX, 19, NULL},
    {"smap", 7, 0, EBX, 20, NULL}, {"clflushopt", 7, 0, EBX, 23, NULL}, {"clwb", 7, 0, EBX, 24, NULL},
    {"avx512f", 7, 0, EBX, 16, "avx512dq:avx512ifma:avx512cd:avx512bw:avx512vl:avx512vbmi:avx512_vbmi2:avx512_vnni:avx512_bitalg:avx512_vpopcntdq:avx512_bf16"},
    {"avx512dq", 7, 0, EBX, 17, NULL}, {"avx512ifma", 7, 0, EBX, 21, NULL}, {"avx512cd", 7, 0, EBX, 28, NULL}, {"avx512bw", 7, 0, EBX, 30, NULL}, {"avx512vl", 7, 0, EBX, 31, NULL},
    {"avx512vbmi", 7, 0, ECX, 1, NULL}, {"avx512_vbmi2", 7, 0, ECX, 6, NULL}, {"avx512_vnni", 7, 0, ECX, 11, NULL}, {"avx512_bitalg", 7, 0, ECX, 12, NULL},
    {"avx512_vpopcntdq", 7, 0, ECX, 14, NULL}, {"avx512_bf16", 7, 1, EAX, 5, NULL}, {"sha_ni", 7, 0, EBX, 29, NULL},
    {"umip", 7, 0, ECX, 2, NULL}, {"pku", 7, 0, ECX, 3, NULL}, {"la57", 7, 0, ECX, 16, NULL}, {"rdpid", 7, 0, ECX, 22, NULL}, {"pks", 7, 0, ECX, 31, NULL},
    {"nx", 0x80000001, 0, EDX, 20, NULL}, {"pdpe1gb", 0x80000001, 0, EDX, 26, NULL}, {"rdtscp", 0x80000001, 0, EDX, 27, NULL},
};

static const struct feature *feature_find(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(features); i++)
        if (strlen(features[i].name) == len && !memcmp(features[i].name, name, len))
            return &features[i];
    return NULL;
}

static void feature_clear(const struct feature *f, struct hy_cpuid *entries, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct hy_cpuid *e = &entries[i];
        uint32_t *words[] = {&e->eax, &e->ebx, &e->ecx, &e->edx};
        if (e->fn == f->fn && (!e->has_sub || e->sub == f->sub))
            *words[f->reg] &= ~(UINT32_C(1) << f->bit);
    }
}

static void feature_set(const struct feature *f, struct hy_cpuid *entries, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct hy_cpuid *e = &entries[i];
        uint32_t *words[] = {&e->eax, &e->ebx, &e->ecx, &e->edx};
        if (e->fn == f->fn && (!e->has_sub || e->sub == f->sub))
            *words[f->reg] |= UINT32_C(1) << f->bit;
    }
}

/* AVX-512, with all that belongs to it; the backend drops what the host has not. */
static void enable_avx512(struct hy_cpuid *entries, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(features); i++)
        if (!strncmp(features[i].name, "avx512", 6))
            feature_set(&features[i], entries, n);
}

int machine_enable_features(const char *names, bool software, struct hy_cpuid *entries, size_t n, struct err *err)
{
    if (!names || !*names)
        return 0;
    if (strcmp(names, "avx512"))
        return err_set(err, ERR_USAGE, "--cpus enable=%s: only avx512 can be enabled", names);
    if (software)
        enable_avx512(entries, n); /* elsewhere guests get what the host has */
    return 0;
}

/* Lists in the table are not nested deeper than three, so neither is this. */
int machine_disable_features(const char *names, struct hy_cpuid *entries, size_t n, struct err *err)
{
    while (names && *names) {
        size_t len = strcspn(names, ":");
        const struct feature *f = feature_find(names, len);
        if (!f)
            return err_set(err, ERR_USAGE, "--cpus disable=%.*s: no such feature (names are those of /proc/cpuinfo, as x2apic or avx2, joined by ':')", (int)len, names);
        feature_clear(f, entries, n);
        if (f->with)
            machine_disable_features(f->with, entries, n, NULL);
        names += len + (names[len] == ':');
    }
    return 0;
}
