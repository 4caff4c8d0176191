/* SPDX-License-Identifier: MIT */
/* igvm_build.h - makes IGVM files of guests: a Linux kernel with its initramfs and command line, or firmware that ends at 4 GiB.
 *
 * Linux is entered at its 64-bit entry behind a small stub (boot_image.h). NATIVE and VBS take the memory map from the loader, or a fixed one; SEV-SNP and TDX have all RAM in
 * the file, since nothing else would accept memory for the kernel, and so a fixed map.
 */
#ifndef FIRMWARE_IGVM_BUILD_H
#define FIRMWARE_IGVM_BUILD_H

#include <igvm.h>

#include "firmware/loader.h"

#define IGVM_BUILD_RAM_MAX (UINT64_C(8) << 30) /* RAM that goes into a file page by page */

struct igvm_build {
    struct image kernel, initrd, firmware; /* a kernel or firmware, not both                                  */
    const char *cmdline;
    uint32_t targets;                      /* bits 1 << igvm_platform_type: NATIVE, VBS, SEV_SNP, TDX         */
    enum { IGVM_BUILD_MAP_AUTO, IGVM_BUILD_MAP_HOST, IGVM_BUILD_MAP_FIXED } map;
    uint64_t memory;                       /* bytes of RAM of a fixed map                                     */
    bool host_cmdline;                     /* the loader may replace the command line                         */
    unsigned c_bit;
    uint32_t cpus;                         /* firmware on SEV-SNP: contexts to write                          */
    uint64_t snp_policy, sev_features, vmsa_gpa, tdx_policy;
};

/* A writer with everything in it. ERR_USAGE, ERR_INPUT and ERR_HOST name the option; the caller frees the writer. masks[type] gets each target's compatibility mask, 0 for
 * the others. */
int igvm_build(const struct igvm_build *, igvm_writer **out, uint32_t masks[IGVM_PLATFORMS_MAX], struct err *);

/* ---- between the builders --------------------------------------------------------------------------------------------------------------------- */

int igvm_build_linux(const struct igvm_build *, igvm_writer *, const uint32_t masks[IGVM_PLATFORMS_MAX], struct err *);
int igvm_build_firmware(const struct igvm_build *, igvm_writer *, const uint32_t masks[IGVM_PLATFORMS_MAX], struct err *);

/* First registers of a vCPU, for every form of context. Attributes as in igvm_native_context. */
struct igvm_registers {
    uint64_t rip, rsp, rsi, rdx, cr0, cr3, cr4, efer;
    uint16_t code_selector, code_attributes, data_selector, data_attributes;
    uint32_t code_base, code_limit, data_limit;
    uint16_t tr_selector, tr_attributes;
    uint32_t tr_limit;
    uint64_t tr_base, gdt_base;
    uint16_t gdt_limit, idt_limit;
};
void igvm_put_native(const struct igvm_registers *, uint8_t out[IGVM_NATIVE_CONTEXT_BYTES]);
void igvm_put_vmsa(const struct igvm_registers *, uint64_t sev_features, uint8_t out[IGVM_PAGE]);
igvm_code igvm_add_vbs_registers(igvm_writer *, uint32_t mask, const struct igvm_registers *);
/* The CPUID page's leaves, for the loader to fill in (AMD 56860, MSG: CPUID page). */
void igvm_put_cpuid_page(uint8_t out[IGVM_PAGE]);
/* A writer's failure as an error. */
int igvm_build_error(igvm_code, const char *what, struct err *);

#endif
