/* SPDX-License-Identifier: MIT */
/* internal.h - what the files of libigvm share. */
#ifndef IGVM_INTERNAL_H
#define IGVM_INTERNAL_H

#include "igvm.h"

enum {
    FIXED_V1   = 24, /* bytes of the fixed header    */
    FIXED_V2   = 32,
    PREFIX     = 8,  /* u32 type, u32 length         */
    VBS_RECORD = 32,
    MAGIC      = 0x4d564749, /* "IGVM"               */
};

#define KVM_VMSA_GPA UINT64_C(0xfffffffff000) /* where KVM puts every VMSA */

/* Fills *why (may be NULL) and returns the code. Severity is error. */
igvm_code igvm_fail(igvm_finding *why, igvm_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The bytes of data that a header of a known type refers to, were it there: pages 4096 or 2 MiB, areas their size, contexts by platform (VBS: as
 * its count says, 4 if the count is not in the file). 0: the header refers to none. */
uint64_t igvm_payload_bytes(const igvm_file *file, const igvm_header *header);

/* Makes a register's value what a loader keeps of it: 16 bytes of a segment, limit and base of a table, the low 8 bytes of all others. */
void igvm_vbs_register_trim(uint32_t arch, igvm_vbs_register *reg);

#endif
