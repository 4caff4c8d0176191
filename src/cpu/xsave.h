/* SPDX-License-Identifier: MIT */
/* xsave.h - layout of the XSAVE area (SDM vol. 1, 13.4). CPUID leaf 0xD must say the same. */
#ifndef CPU_XSAVE_H
#define CPU_XSAVE_H

#include "cpu/cpu.h"

/* State components of XCR0 that exist; IA32_XSS has none. */
#define XSAVE_COMPONENTS ((uint64_t)(XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_ZMM | XCR0_PKRU))

enum {
    XSAVE_LEGACY_SIZE = 512, XSAVE_HEADER_SIZE = 64, XSAVE_EXTENDED = 576,
    XSAVE_AVX_OFFSET = 576, XSAVE_AVX_SIZE = 256, /* component 2 */
    XSAVE_OPMASK_OFFSET = 1088, XSAVE_OPMASK_SIZE = 64,      /* component 5 */
    XSAVE_ZMM_HIGH_OFFSET = 1152, XSAVE_ZMM_HIGH_SIZE = 512, /* 6 */
    XSAVE_ZMM16_OFFSET = 1664, XSAVE_ZMM16_SIZE = 1024,      /* 7 */
    XSAVE_PKRU_OFFSET = 832, XSAVE_PKRU_BEHIND_ZMM = 2688, XSAVE_PKRU_SIZE = 8, /* 9: behind AVX-512's where there is that, since Linux wants them in order; else the
                                                                                 * area is short */
    XSAVE_MAX_SIZE = 2696, XSAVE_SIZE_WITHOUT_ZMM = 840,
};

/* Bytes of a standard-format area for the components of `mask` (CPUID.(0xD,0):EBX for XCR0), and of a compacted one (CPUID.(0xD,1):EBX for XCR0 | XSS). */
uint32_t xsave_standard_size(uint64_t mask, bool avx512 /* is there */);
uint32_t xsave_compacted_size(uint64_t mask);

/* XINUSE (SDM vol. 1, 13.6): the components that differ from their initial configuration, as XGETBV with ECX = 1 shows before ANDing with XCR0. */
uint64_t xsave_in_use(const struct cpu *cpu);

/* One extended component's bytes, as many as the present mode lets XSAVE reach (0: none): how many, from the registers (which answers it), to them (NULL: the
 * initial state). */
unsigned xsave_size(const struct cpu *, uint64_t component);
unsigned xsave_put(const struct cpu *, uint64_t component, uint8_t *p);
void     xsave_get(struct cpu *, uint64_t component, const uint8_t *p);

#endif
