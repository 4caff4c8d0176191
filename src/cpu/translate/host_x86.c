/* SPDX-License-Identifier: MIT */
#include "cpu/translate/host.h"

#include "base/bits.h"
#include "cpu/cpuid.h"

static void leaf(uint32_t fn, uint32_t sub, uint32_t out[4])
{
    uint32_t highest;
    __asm__ volatile("cpuid" : "=a"(highest) : "a"(fn & 0x80000000) : "ebx", "ecx", "edx");
    out[0] = out[1] = out[2] = out[3] = 0;
    if (fn <= highest)
        __asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(fn), "c"(sub));
}

/* XCR0 says which registers the operating system keeps (SDM volume 1, 13.3). */
static bool keeps(uint32_t components)
{
    uint32_t out[4], low, high;
    leaf(1, 0, out);
    if (!(out[2] >> 27 & 1))
        return false;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & components) == components;
}

static bool has(const uint64_t features[4], unsigned feature) { return features[feature / 64] >> feature % 64 & 1; }
static void drop(uint64_t features[4], unsigned feature) { features[feature / 64] &= ~BIT(feature % 64); }

/* F, CD, BW, DQ and VL are offered together. */
static bool has_avx512(const uint64_t features[4])
{
    uint32_t out[4];
    leaf(7, 0, out);
    return keeps(XCR0_AVX512) && has(features, FEATURE_AVX512F) && has(features, FEATURE_AVX512CD) && has(features, FEATURE_AVX512BW) &&
        has(features, FEATURE_AVX512DQ) && out[1] >> 31 /* VL */;
}

void host_features(uint64_t features[4])
{
    static const uint8_t of_avx[] = { FEATURE_AVX, FEATURE_AVX2, FEATURE_FMA, FEATURE_F16C, FEATURE_VAES, FEATURE_VPCLMULQDQ };
    cpuid_features(leaf, features);
    bool avx = keeps(XCR0_SSE | XCR0_AVX), avx512 = avx && has_avx512(features);
    for (unsigned i = 0; !avx && i < ARRAY_LEN(of_avx); i++)
        drop(features, of_avx[i]);
    for (unsigned i = FEATURE_AVX512F; !avx512 && i <= FEATURE_AVX512BF16; i++)
        drop(features, i);
}

uint64_t host_ticks(void)
{
    return __builtin_ia32_rdtsc();
}

/* SDM volume 3, 18.17.1: the invariant TSC. */
bool host_ticks_steadily(void)
{
    uint32_t out[4];
    leaf(0x80000007, 0, out);
    return out[3] >> 8 & 1;
}
