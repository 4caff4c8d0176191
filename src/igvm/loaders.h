/* SPDX-License-Identifier: MIT */
/* loaders.h - by which rules each loader turns directives into a measurement. */
#ifndef IGVM_LOADERS_H
#define IGVM_LOADERS_H

#include "igvm/internal.h"

enum order {
    ORDER_FILE,
    ORDER_DEFERRED, /* a run of pages is imported when a page comes that does not continue it, or at the end; other directives at once */
    ORDER_GPA,      /* all imports, sorted by GPA                                                                                      */
};

enum vmsa {
    VMSA_IN_PLACE,
    VMSA_ANY_MASK, /* in place, those of other platforms too  */
    VMSA_LAST,     /* by vCPU, at KVM_VMSA_GPA, after all else */
};

struct loader_rules {
    uint32_t platforms;       /* bit per platform type that it starts, or measures             */
    enum order order;
    enum vmsa vmsa;
    bool first_vp_only;       /* contexts of other VPs are ignored                             */
    bool zero_type;           /* a page without data is page type 3, zero, and not 1 of zeros  */
    bool first_insert_page;   /* of an inserted area only the first page counts                */
    bool measures_shared;     /* shared pages count as private ones                            */
    bool vanadium_registers;  /* DR6, DR7 and PAT are the loader's                             */
    bool sev_skips_zero;      /* SEV: a page without data is not hashed                        */
    bool sev_takes_unmeasured;/* SEV: an unmeasured page is hashed                             */
};

/* The rules of a loader, or NULL. */
const struct loader_rules *loader_rules_of(igvm_loader loader);

/* Finds the platform, and refuses a platform that the loader does not start. */
igvm_code loader_platform(const igvm_file *file, igvm_platform_type type, igvm_loader loader, const igvm_platform **out, igvm_finding *why);

/* Bytes of each declared area, in the order of the file; the caller frees it. */
struct area_sizes {
    struct {
        uint32_t index;
        uint64_t bytes;
    } *areas;
    uint32_t count;
};
bool area_sizes_read(const igvm_file *file, struct area_sizes *out);
uint64_t area_size_of(const struct area_sizes *sizes, uint32_t index);

/* Whether a VP_CONTEXT is one that this loader measures as a VMSA for `mask`. */
bool loader_takes_vmsa(const igvm_file *file, const struct loader_rules *rules, uint32_t mask, const igvm_vp_context *context);

/* Vanadium's own values (Coconut's igvmbuilder gives them to files made for it). */
enum { VANADIUM_PAT = 0x70106, VANADIUM_DR7 = 0x400 };
#define VANADIUM_DR6 UINT64_C(0xffff0ff0)
enum { VMSA_DR7_AT = 0x160, VMSA_DR6_AT = 0x168, VMSA_PAT_AT = 0x268 };

#endif
