/* SPDX-License-Identifier: MIT */
/*
 * The rig: all that the child keeps beside the pages of the tested instructions. It lies at a fixed address, in one mapping of code and one
 * of data, and what lies elsewhere is unmapped before the first case. So whatever an address space's random layout put there, a case finds
 * nothing, and what it finds does not change from run to run.
 *
 * The code is rig.c's section, copied into the mapping: it must need nothing but itself and this structure, not even a C library.
 */
#ifndef TESTS_CPU_DIFF_RIG_H
#define TESTS_CPU_DIFF_RIG_H

#include "diff.h"

/*
 * Where Linux puts nothing of its own accord: what mmap() gives lies below a sixth of the lower half (with an unlimited stack), or above a
 * third of it. Not where round numbers or the sums of few of them lead, and not below 4 GiB, where cases of 32 bits go.
 */
#define RIG_BASE UINT64_C(0x1d7364ba9000)

enum {
    RIG_CODE_SIZE = 0x2000, RIG_STACK_SIZE = 0x10000, RIG_BATCH = 256, RIG_MAPPINGS_MAX = 1000,
    RIG_GREGS = 23,
    /* the standard form of XSAVE with x87, SSE and AVX (SDM vol. 1, 13.4) */
    RIG_LEGACY_SIZE = 416, RIG_XSTATE_BV = 512, RIG_YMM_AT = 576, RIG_YMM_END = 832,
    RIG_OPMASK_AT = 1088, RIG_ZMM_HIGH_AT = 1152, RIG_ZMM16_AT = 1664, RIG_XSAVE_SIZE = 2688, /* where Intel's processors have AVX-512's components */
    RIG_TESTED_SIZE = CODE_SIZE + DATA_SIZE + CONST_SIZE,
};

struct rig_segments { uint64_t ds, es, fs, gs, fs_base, gs_base; };

/* A state as the kernel's signal frame has it. */
struct rig_frame {
    int64_t greg[RIG_GREGS];    /* gregset_t */
    struct rig_segments segments;
    uint8_t xsave[RIG_XSAVE_SIZE];
};

struct rig_case {
    struct rig_frame frame;     /* to start with; of the segments the two bases only */
    uint64_t code_at;           /* offset in the code pages */
    uint64_t code_len;
    uint8_t code[CASE_CODE_MAX + 4];
    uint8_t memory[DATA_SIZE + CONST_SIZE];
};

struct rig_result {
    struct rig_frame frame;
    uint8_t memory[DATA_SIZE];
};

struct rig_mapping { uint64_t start, size; };

struct rig {
    uint8_t tested[RIG_TESTED_SIZE]; /* writable view of code, data and constants; first, to be page-aligned */
    int32_t index;                   /* the case that runs; -1 before the first */
    uint32_t count;
    uint32_t stops;                  /* whether the child stops itself when it is set up, to be looked at */
    uint32_t avx512;                 /* whether those are there                                    */
    uint32_t mapping_count;          /* what is to be unmapped; then what could not be */
    struct rig_mapping mapping[RIG_MAPPINGS_MAX];
    _Alignas(64) uint8_t stack[RIG_STACK_SIZE];
    _Alignas(64) uint8_t signal_stack[RIG_STACK_SIZE];
    struct rig_case cases[RIG_BATCH];
    struct rig_result results[RIG_BATCH];
};

#define RIG_DATA (RIG_BASE + RIG_CODE_SIZE)
#define RIG_DATA_SIZE ((sizeof(struct rig) + 0xfff) & ~UINT64_C(0xfff))

#pragma GCC visibility push(hidden) /* the code finds its own functions without a table of addresses */
/* The child's first and last function, in rig.c's section: never to be called where it was linked. */
_Noreturn void rig_start(void);

/* Of rig.c alone. */
void rig_entry(void);
void rig_return(void);
void rig_caught(int signal, void *info, void *context, struct rig_segments *segments);
#pragma GCC visibility pop

extern const char __start_rig_code[], __stop_rig_code[]; /* the linker's: around the section */

#endif
