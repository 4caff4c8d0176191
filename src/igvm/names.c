/* SPDX-License-Identifier: MIT */
/* Names of codes, platforms and loaders, and errors about a call. */
#include <stdarg.h>
#include <stdio.h>

#include "base/bits.h"
#include "igvm/internal.h"

const char *igvm_code_name(igvm_code code)
{
#define C(name) [IGVM_##name] = #name
    static const char *const names[IGVM_CODES] = {
        C(OK), C(BAD_ARGUMENT), C(NO_MEMORY), C(TOO_LARGE), C(NO_SUCH_PLATFORM), C(UNSUPPORTED), C(CRYPTO), C(TRUNCATED_FIXED_HEADER), C(BAD_MAGIC),
        C(UNSUPPORTED_VERSION), C(BAD_ARCH), C(UNSUPPORTED_PAGE_SIZE), C(SIZE_MISMATCH), C(BAD_VHS_OFFSET), C(VHS_OUT_OF_FILE), C(BAD_CHECKSUM),
        C(NO_PLATFORM), C(TRUNCATED_HEADER), C(UNKNOWN_HEADER), C(BAD_LENGTH), C(SECTION_ORDER), C(PADDING), C(RESERVED_NOT_ZERO), C(TOO_MANY),
        C(BAD_PLATFORM_MASK), C(BAD_PLATFORM_VTL), C(BAD_PLATFORM_TYPE), C(BAD_PLATFORM_VERSION), C(BAD_PLATFORM_BOUNDARY), C(DUP_PLATFORM), C(DUP_MASK),
        C(PLATFORM_ARCH), C(DUP_POLICY), C(CCA_POLICY), C(RELOC_ALIGNMENT), C(RELOC_ADDRESS), C(RELOC_SIZE), C(RELOC_RANGE), C(RELOC_VTL), C(RELOC_OVERLAP),
        C(NO_VP_CONTEXT), C(PT_REGION), C(PT_REGION_TWICE), C(PT_REGION_INSERT), C(CORIM_TWICE), C(CORIM_NO_DOCUMENT), C(UNREACHABLE), C(UNALIGNED_GPA),
        C(UNALIGNED_SIZE), C(UNALIGNED_2MB), C(GPA_RANGE), C(BAD_PAGE_TYPE), C(RESERVED_FLAGS), C(FLAG_CONFLICT), C(OVERLAP), C(DATA_OUT_OF_FILE),
        C(BAD_AREA_SIZE), C(DUP_AREA), C(AREA_STATE), C(PARAM_OUT_OF_AREA), C(AREA_NOT_INSERTED), C(VPCTX_PLATFORM), C(VPCTX_GPA), C(DUP_VPCTX),
        C(CONTEXT_TAIL), C(VBS_NO_REGISTERS), C(VBS_REGISTER), C(VBS_COUNT), C(VBS_VTL), C(VBS_MIXED_VTL), C(VBS_VP_INDEX), C(VBS_RECORD),
        C(DUP_ID_BLOCK), C(ID_AUTHOR), C(ID_LD_MISMATCH), C(ID_SIGNATURE), C(NO_FILE_DATA), C(NO_POLICY), C(SKIPPED_HEADER),
    };
#undef C
    return (unsigned)code < IGVM_CODES && names[code] ? names[code] : "UNKNOWN";
}

const char *igvm_platform_name(uint32_t type)
{
    static const char *const names[] = {"NATIVE", "VSM_ISOLATION", "SEV_SNP", "TDX", "SEV", "SEV_ES", "CCA"};
    return type < ARRAY_LEN(names) ? names[type] : "UNKNOWN";
}

const char *igvm_loader_name(igvm_loader loader)
{
    static const char *const names[IGVM_LOADERS] = {"spec", "qemu", "cloud-hypervisor-kvm", "cloud-hypervisor-mshv", "igvmmeasure", "vanadium"};
    return (unsigned)loader < IGVM_LOADERS ? names[loader] : NULL;
}

igvm_code igvm_fail(igvm_finding *why, igvm_code code, const char *format, ...)
{
    if (!why)
        return code;
    *why = (igvm_finding){.code = code, .severity = IGVM_ERROR, .index = IGVM_NONE};
    va_list args;
    va_start(args, format);
    vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    return code;
}

igvm_section igvm_section_of(uint32_t number)
{
    uint32_t type = number & ~IGVM_OPTIONAL;
    if (type >= 0x1 && type <= 0x100)
        return IGVM_SECTION_PLATFORM;
    if (type >= 0x101 && type <= 0x200)
        return IGVM_SECTION_INIT;
    if (type >= 0x301 && type <= 0x400)
        return IGVM_SECTION_DIRECTIVE;
    return IGVM_SECTION_NONE;
}
