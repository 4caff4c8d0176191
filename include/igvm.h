/* SPDX-License-Identifier: MIT */
/* igvm.h - IGVM files (Independent Guest Virtual Machine): read, check, write, measure, sign.
 *
 * What it is. An IGVM file holds everything that starts a VM: pages, vCPU contexts, parameters, and what the platform measures. libigvm reads one
 * from a buffer without copying it, says everything that is wrong with it, builds and rewrites files, computes the digest that a loader will produce,
 * and adds an SNP ID block. It needs the C library alone; hashes and signatures come from a table of functions (struct igvm_crypto), of which
 * libigvm-openssl has one. It never prints, exits, or opens a file.
 *
 * A file is a fixed header (24 bytes, version 1; 32 bytes, version 2), a section of variable headers in the order platform, initialization,
 * directive, and file data, to which headers point by offsets from the start of the file. All numbers are little-endian. Page size is 4096.
 * A header says by a compatibility mask for which platforms it is meant: a bit for each SUPPORTED_PLATFORM header. Offset 0 means "no
 * data": zeros.
 *
 * Reading. igvm_open() checks the whole file, headers, ranges and the order of directives, before it says IGVM_OK; igvm_next(), igvm_decode() and
 * igvm_payload() cannot fail on such a file. igvm_verify() does the same and reports every finding. Tolerant mode (the default) accepts what igvmgen
 * and the igvm crate write, and reports it as a lint; IGVM_STRICT refuses it.
 *
 * Trust. The buffer may come from an enemy. All arithmetic on its numbers is checked in 64 bits, and no memory is allocated by a number in
 * it, but at most 8 bytes for each page header that the buffer really holds. It must not change while a call works on it.
 *
 * Errors are values: an igvm_code, and struct igvm_finding with the header's index, its offset in the file and one sentence. `why` may be NULL.
 *
 * Threads. A struct igvm_file is never written after igvm_open(): any number of threads may read it. A writer belongs to one thread at a time. No
 * global state.
 *
 * References: the IGVM format as Microsoft publishes it with igvm_defs; AMD SEV-SNP firmware ABI 56860 (launch digest, ID block); Intel TDX module
 * specification (MRTD); RFC 6979.
 */
#ifndef IGVM_H
#define IGVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct igvm_writer igvm_writer; /* a file in the making                                    */
typedef struct igvm_key    igvm_key;    /* an ECDSA P-384 private key, owned by a crypto provider */

/* ---- limits ------------------------------------------------------------------------------------------------------------------------------- */

#define IGVM_PAGE              4096u
#define IGVM_PAGE_2MB          0x200000u
#define IGVM_FILE_MAX          0xffffffffu /* total_file_size has 32 bits                                                 */
#define IGVM_PLATFORMS_MAX     7u          /* one header for each platform type                                           */
#define IGVM_AREAS_MAX         1024u       /* parameter areas of a file                                                   */
#define IGVM_AREA_BYTES_MAX    0x4000000u  /* 64 MiB: one parameter area                                                  */
#define IGVM_AREAS_BYTES_MAX   0x40000000u /* 1 GiB: all parameter areas together                                         */
#define IGVM_REGIONS_MAX       256u        /* relocatable regions of a file                                               */
#define IGVM_VBS_REGISTERS_MAX 1024u       /* registers of one VBS context                                                */
#define IGVM_MEASURE_PAGES_MAX 0x2000000u  /* 128 GiB: what igvm_measure hashes of a file at most                         */
#define IGVM_BODY_MAX          0x360u      /* the longest body of a known header                                          */
#define IGVM_NONE              0xffffffffu /* igvm_finding.index: the finding is about the fixed header or the whole file */

/* ---- codes -------------------------------------------------------------------------------------------------------------------------------- */

/* What is wrong. From IGVM_TRUNCATED_FIXED_HEADER on they are findings about a file; the name without "IGVM_" is what igvm_code_name() gives.
 * In the comments: the rule that is broken. Lints do not make a file unacceptable. */
typedef enum igvm_code {
    IGVM_OK = 0,
    /* about the call */
    IGVM_BAD_ARGUMENT,           /* NULL or a number that makes no sense                                                      */
    IGVM_NO_MEMORY,
    IGVM_TOO_LARGE,              /* writer: more than IGVM_FILE_MAX or the caller's buffer; measure: IGVM_MEASURE_PAGES_MAX   */
    IGVM_NO_SUCH_PLATFORM,       /* measure, sign: the file has no header for this platform                                   */
    IGVM_UNSUPPORTED,            /* measure: this loader does not start such a file, or a platform forbids what is in it      */
    IGVM_CRYPTO,                 /* the crypto provider failed, or the key is no P-384 key                                    */
    /* fixed header */
    IGVM_TRUNCATED_FIXED_HEADER, /* at least 24 bytes, 32 for version 2                                                       */
    IGVM_BAD_MAGIC,              /* "IGVM"                                                                                    */
    IGVM_UNSUPPORTED_VERSION,    /* 1 or 2                                                                                    */
    IGVM_BAD_ARCH,               /* 0 x64, 1 AArch64                                                                          */
    IGVM_UNSUPPORTED_PAGE_SIZE,  /* 4096                                                                                      */
    IGVM_SIZE_MISMATCH,          /* total_file_size is the size of the file                                                   */
    IGVM_BAD_VHS_OFFSET,         /* behind the fixed header, a multiple of 8                                                  */
    IGVM_VHS_OUT_OF_FILE,        /* the variable headers lie in the file                                                      */
    IGVM_BAD_CHECKSUM,           /* CRC-32 of fixed and variable headers                                                      */
    /* structure */
    IGVM_NO_PLATFORM,            /* at least one SUPPORTED_PLATFORM                                                           */
    IGVM_TRUNCATED_HEADER,       /* a header, its body and its padding end inside the section                                 */
    IGVM_UNKNOWN_HEADER,         /* a type without bit 31 must be known                                                       */
    IGVM_BAD_LENGTH,             /* a known type has a fixed length                                                           */
    IGVM_SECTION_ORDER,          /* platform, initialization, directive                                                       */
    IGVM_PADDING,                /* zeros after a body; igvmgen writes '0': a lint unless strict                              */
    IGVM_RESERVED_NOT_ZERO,      /* reserved fields are 0                                                                     */
    IGVM_TOO_MANY,               /* one of the limits above                                                                   */
    /* platform headers */
    IGVM_BAD_PLATFORM_MASK,      /* exactly one bit                                                                           */
    IGVM_BAD_PLATFORM_VTL,       /* highest_vtl is 0 or 2                                                                     */
    IGVM_BAD_PLATFORM_TYPE,      /* 0 to 6                                                                                    */
    IGVM_BAD_PLATFORM_VERSION,   /* 1                                                                                         */
    IGVM_BAD_PLATFORM_BOUNDARY,  /* shared_gpa_boundary is 0 for NATIVE and VSM_ISOLATION                                     */
    IGVM_DUP_PLATFORM,           /* one header for a platform type                                                            */
    IGVM_DUP_MASK,               /* one platform for a mask bit                                                               */
    IGVM_PLATFORM_ARCH,          /* CCA on AArch64; VSM_ISOLATION on both; all others on x64                                  */
    /* initialization headers */
    IGVM_DUP_POLICY,             /* one guest policy for a platform                                                           */
    IGVM_CCA_POLICY,             /* CCA platform; no bit both required 0 and 1; known hash and LFA values                     */
    IGVM_RELOC_ALIGNMENT,        /* relocation alignment is a multiple of 4096 and not 0                                      */
    IGVM_RELOC_ADDRESS,          /* gpa, minimum and maximum are aligned to it                                                */
    IGVM_RELOC_SIZE,             /* size is a multiple of 4096                                                                */
    IGVM_RELOC_RANGE,            /* size not 0, minimum not above maximum, no wrap                                            */
    IGVM_RELOC_VTL,              /* vtl 0, 1 or 2                                                                             */
    IGVM_RELOC_OVERLAP,          /* regions of one platform do not overlap                                                    */
    IGVM_NO_VP_CONTEXT,          /* a region's (vp, vtl) has a VBS context, or on NATIVE its vp a native one                  */
    IGVM_PT_REGION,              /* page-table region: aligned, used_size <= size, size not 0, no wrap                        */
    IGVM_PT_REGION_TWICE,        /* one for a platform                                                                        */
    IGVM_PT_REGION_INSERT,       /* no parameter area goes into it                                                            */
    IGVM_CORIM_TWICE,            /* one document and one signature for a platform                                             */
    IGVM_CORIM_NO_DOCUMENT,      /* a signature follows its document                                                          */
    /* directives */
    IGVM_UNREACHABLE,            /* lint: the mask selects no platform of this file                                           */
    IGVM_UNALIGNED_GPA,          /* a multiple of 4096                                                                        */
    IGVM_UNALIGNED_SIZE,         /* a multiple of 4096                                                                        */
    IGVM_UNALIGNED_2MB,          /* a 2 MiB page's GPA is a multiple of 2 MiB                                                 */
    IGVM_GPA_RANGE,              /* a range ends below 2^64                                                                   */
    IGVM_BAD_PAGE_TYPE,          /* 0 to 3                                                                                    */
    IGVM_RESERVED_FLAGS,         /* reserved flag bits are 0                                                                  */
    IGVM_FLAG_CONFLICT,          /* a page is not both shared and unmeasured                                                  */
    IGVM_OVERLAP,                /* one import for a page of one platform                                                     */
    IGVM_DATA_OUT_OF_FILE,       /* data lies behind the headers and in the file                                              */
    IGVM_BAD_AREA_SIZE,          /* 4096 bytes to IGVM_AREA_BYTES_MAX                                                         */
    IGVM_DUP_AREA,               /* one declaration for an area's index                                                       */
    IGVM_AREA_STATE,             /* declare, then parameters, then one insert                                                 */
    IGVM_PARAM_OUT_OF_AREA,      /* a parameter's smallest value fits                                                         */
    IGVM_AREA_NOT_INSERTED,      /* lint                                                                                      */
    IGVM_VPCTX_PLATFORM,         /* exactly one platform that has contexts (not TDX)                                          */
    IGVM_VPCTX_GPA,              /* gpa is 0 but for SNP and SEV-ES                                                           */
    IGVM_DUP_VPCTX,              /* one context for a VP (and VTL) of a platform                                              */
    IGVM_CONTEXT_TAIL,           /* zeros behind a native or CCA context                                                      */
    IGVM_VBS_NO_REGISTERS,       /* at least one register                                                                     */
    IGVM_VBS_REGISTER,           /* a register name of the list for the architecture                                          */
    IGVM_VBS_COUNT,              /* register_count fits in the file and in IGVM_VBS_REGISTERS_MAX                             */
    IGVM_VBS_VTL,                /* 0, 1 or 2                                                                                 */
    IGVM_VBS_MIXED_VTL,          /* one VTL in a context                                                                      */
    IGVM_VBS_VP_INDEX,           /* vp_index 0                                                                                */
    IGVM_VBS_RECORD,             /* lint: a register twice, or bytes that should be 0                                         */
    IGVM_DUP_ID_BLOCK,           /* one for a platform                                                                        */
    IGVM_ID_AUTHOR,              /* author_key_enabled is 0 or 1; with 1 there is an author key                               */
    IGVM_ID_LD_MISMATCH,         /* with crypto: ld is the digest that some loader produces                                   */
    IGVM_ID_SIGNATURE,           /* with crypto: the signatures of a signed block are right                                   */
    /* lints about the file */
    IGVM_NO_FILE_DATA,           /* lint: the igvm crate (QEMU, Cloud Hypervisor, OpenVMM) refuses a file without file data   */
    IGVM_NO_POLICY,              /* lint: an SNP platform without GUEST_POLICY                                                */
    IGVM_SKIPPED_HEADER,         /* lint: an unknown optional header; the igvm crate refuses it                               */
    IGVM_CODES                   /* how many there are */
} igvm_code;

/* The code's name without "IGVM_": "BAD_MAGIC". Static storage; "UNKNOWN" for a number that is none. */
const char *igvm_code_name(igvm_code code);

/* The rule that a finding with this code breaks: "a GPA is a multiple of 4096". Static storage; "" for codes about a call. */
const char *igvm_code_rule(igvm_code code);

typedef enum igvm_severity { IGVM_LINT, IGVM_ERROR } igvm_severity;

/* One thing that is wrong. */
typedef struct igvm_finding {
    igvm_code     code;
    igvm_severity severity;
    uint32_t      index;     /* of the header, counted from 0 over all variable headers; IGVM_NONE: fixed header or file */
    uint32_t      type;      /* of that header, or 0                                                                     */
    uint64_t      offset;    /* of that header, or of the field of the fixed header, from the start of the file          */
    char          text[232]; /* one sentence: what is wrong, and the rule it breaks in brackets; no newline               */
} igvm_finding;

/* ---- header types and their bodies -------------------------------------------------------------------------------------------------------- */

typedef enum igvm_section { IGVM_SECTION_NONE, IGVM_SECTION_PLATFORM, IGVM_SECTION_INIT, IGVM_SECTION_DIRECTIVE } igvm_section;

#define IGVM_OPTIONAL 0x80000000u /* bit 31 of a type: a loader that does not know it may skip it */

enum { /* header types; in brackets the body's length */
    IGVM_T_SUPPORTED_PLATFORM  = 0x001, /* [0x10]         */
    IGVM_T_GUEST_POLICY        = 0x101, /* [0x10]         */
    IGVM_T_RELOCATABLE_REGION  = 0x102, /* [0x30]         */
    IGVM_T_PAGE_TABLE_REGION   = 0x103, /* [0x20]         */
    IGVM_T_CORIM_DOCUMENT      = 0x104, /* [0x10]         */
    IGVM_T_CORIM_SIGNATURE     = 0x105, /* [0x10]         */
    IGVM_T_CCA_POLICY          = 0x106, /* [0x20]         */
    IGVM_T_PARAMETER_AREA      = 0x301, /* [0x10]         */
    IGVM_T_PAGE_DATA           = 0x302, /* [0x18]         */
    IGVM_T_PARAMETER_INSERT    = 0x303, /* [0x10]         */
    IGVM_T_VP_CONTEXT          = 0x304, /* [0x14]         */
    IGVM_T_REQUIRED_MEMORY     = 0x305, /* [0x18]         */
    IGVM_T_VP_COUNT            = 0x307, /* [8], parameter */
    IGVM_T_SRAT                = 0x308, /* [8], parameter */
    IGVM_T_MADT                = 0x309, /* [8], parameter */
    IGVM_T_MMIO_RANGES         = 0x30a, /* [8], parameter */
    IGVM_T_SNP_ID_BLOCK        = 0x30b, /* [0x2b8]        */
    IGVM_T_MEMORY_MAP          = 0x30c, /* [8], parameter */
    IGVM_T_ERROR_RANGE         = 0x30d, /* [0x10]         */
    IGVM_T_COMMAND_LINE        = 0x30e, /* [8], parameter */
    IGVM_T_SLIT                = 0x30f, /* [8], parameter */
    IGVM_T_PPTT                = 0x310, /* [8], parameter */
    IGVM_T_VBS_MEASUREMENT     = 0x311, /* [0x360]        */
    IGVM_T_DEVICE_TREE         = 0x312, /* [8], parameter */
    IGVM_T_ENVIRONMENT         = 0x313  /* [8], parameter */
};

enum { IGVM_ARCH_X64 = 0, IGVM_ARCH_AARCH64 = 1 };

typedef enum igvm_platform_type {
    IGVM_NATIVE = 0, IGVM_VBS = 1, IGVM_SEV_SNP = 2, IGVM_TDX = 3, IGVM_SEV = 4, IGVM_SEV_ES = 5, IGVM_CCA = 6
} igvm_platform_type;

/* SUPPORTED_PLATFORM. */
typedef struct igvm_platform {
    uint32_t mask;                /* one bit, which the masks of other headers refer to     */
    uint8_t  highest_vtl;         /* 0 or 2                                                 */
    uint8_t  type;                /* igvm_platform_type                                     */
    uint16_t version;             /* 1                                                      */
    uint64_t shared_gpa_boundary; /* GPAs from here on are host-visible; 0: no such boundary */
} igvm_platform;

/* GUEST_POLICY. For SNP the ABI's guest policy; for TDX bit 0 debug, 1 sept_ve_disable, 2 migratable; for SEV the launch policy. */
typedef struct igvm_guest_policy {
    uint64_t policy;
    uint32_t mask;
    uint32_t reserved;
} igvm_guest_policy;

enum { IGVM_RELOC_VTL2 = 1, IGVM_RELOC_RIP = 2, IGVM_RELOC_GDTR = 4 }; /* igvm_region.flags */

/* RELOCATABLE_REGION: may move as a unit; all directive GPAs inside move by the same amount. A base is good when it is aligned, >= minimum, and
 * base + size <= maximum. */
typedef struct igvm_region {
    uint32_t mask;
    uint16_t vp_index;
    uint8_t  vtl;
    uint8_t  flags;     /* IGVM_RELOC_*: the region is VTL2; add the offset to RIP, to the GDTR's base */
    uint64_t alignment; /* bytes                                                                       */
    uint64_t gpa;
    uint64_t size;      /* bytes                                                                       */
    uint64_t minimum;
    uint64_t maximum;
} igvm_region;

/* PAGE_TABLE_RELOCATION_REGION: holds the root table and the others; free room from used_size to size. */
typedef struct igvm_page_table_region {
    uint32_t mask;
    uint16_t vp_index;
    uint8_t  vtl;
    uint8_t  reserved;
    uint64_t gpa;
    uint64_t size;
    uint64_t used_size;
} igvm_page_table_region;

/* CORIM_DOCUMENT (CBOR) and CORIM_SIGNATURE (COSE_Sign1). */
typedef struct igvm_corim {
    uint32_t mask;
    uint32_t file_offset;
    uint32_t size;
    uint32_t reserved;
} igvm_corim;

/* CCA_POLICY. */
typedef struct igvm_cca_policy {
    uint32_t mask;
    uint32_t reserved;
    uint64_t required_zeroes;
    uint64_t required_ones;
    uint8_t  hash;         /* 0 SHA-256, 1 SHA-512, 2 SHA-384  */
    uint8_t  lfa;          /* 0 disallow, 1 allow              */
    uint8_t  reserved2[6];
} igvm_cca_policy;

/* PARAMETER_AREA: memory that parameters are written into before it is inserted. Holds in every platform. */
typedef struct igvm_area {
    uint64_t bytes;
    uint32_t index;
    uint32_t file_offset; /* 0: zeros; else `bytes` bytes of initial content */
} igvm_area;

enum { IGVM_PAGE_IS_2MB = 1, IGVM_PAGE_UNMEASURED = 2, IGVM_PAGE_SHARED = 4 };                           /* igvm_page_data.flags     */
enum { IGVM_PAGE_NORMAL = 0, IGVM_PAGE_SECRETS = 1, IGVM_PAGE_CPUID_DATA = 2, IGVM_PAGE_CPUID_XF = 3 }; /* igvm_page_data.data_type */

/* PAGE_DATA: one page, at file_offset or zeros. */
typedef struct igvm_page_data {
    uint64_t gpa;
    uint32_t mask;
    uint32_t file_offset;
    uint32_t flags;
    uint16_t data_type;
    uint16_t reserved;
} igvm_page_data;

/* PARAMETER_INSERT: imports the whole area as unmeasured pages, lowest first; the index is dead afterwards. */
typedef struct igvm_insert {
    uint64_t gpa;
    uint32_t mask;
    uint32_t area;
} igvm_insert;

/* All parameter directives: where the loader writes a value into an area. */
typedef struct igvm_parameter {
    uint32_t area;
    uint32_t byte_offset;
} igvm_parameter;

/* VP_CONTEXT: a vCPU's first state. Its data: SNP, SEV-ES a VMSA of 4096 bytes; NATIVE, SEV struct igvm_native_context in 4096 bytes; CCA 0x50 bytes
 * in 4096; VBS a u32 count and records of 32 bytes (igvm_vbs_register_at). */
typedef struct igvm_vp_context {
    uint64_t gpa;         /* SNP, SEV-ES: where the VMSA goes; else 0 */
    uint32_t mask;
    uint32_t file_offset;
    uint16_t vp_index;
    uint16_t reserved;
} igvm_vp_context;

enum { IGVM_MEMORY_VTL2_PROTECTABLE = 1 }; /* igvm_required_memory.flags */

/* REQUIRED_MEMORY: memory that must be there. */
typedef struct igvm_required_memory {
    uint64_t gpa;
    uint32_t mask;
    uint32_t bytes;
    uint32_t flags;
    uint32_t reserved;
} igvm_required_memory;

/* ERROR_RANGE: where the loader may write what went wrong; imported shared. */
typedef struct igvm_error_range {
    uint64_t gpa;
    uint32_t mask;
    uint32_t bytes;
} igvm_error_range;

/* SNP_ID_BLOCK. Numbers in signatures and keys are little-endian, extended with zeros to 72 bytes. */
typedef struct igvm_snp_id_block {
    uint32_t mask;
    uint8_t  author_key_enabled;
    uint8_t  reserved[3];
    uint8_t  ld[48];
    uint8_t  family_id[16];
    uint8_t  image_id[16];
    uint32_t version;
    uint32_t guest_svn;
    uint32_t id_key_algorithm;     /* 1: ECDSA P-384 with SHA-384 */
    uint32_t author_key_algorithm;
    uint8_t  id_signature[0x90];   /* r[72], s[72]                                  */
    uint8_t  id_key[0x98];         /* u32 curve (2: P-384), u32 0, qx[72], qy[72]   */
    uint8_t  author_signature[0x90];
    uint8_t  author_key[0x98];
} igvm_snp_id_block;

/* VBS_MEASUREMENT. */
typedef struct igvm_vbs_measurement {
    uint32_t mask;
    uint32_t version;
    uint32_t product_id;
    uint32_t module_id;
    uint32_t security_version;
    uint32_t policy_flags;     /* bit 0 debug      */
    uint32_t digest_algorithm; /* 1 SHA-256        */
    uint32_t signing_algorithm;/* 1 ECDSA P-384    */
    uint8_t  digest[64];
    uint8_t  signature[256];
    uint8_t  public_key[512];
} igvm_vbs_measurement;

/* A header's body with its type, which says which member of u counts. */
typedef struct igvm_body {
    uint32_t type; /* without IGVM_OPTIONAL */
    union {
        igvm_platform          platform;
        igvm_guest_policy      guest_policy;
        igvm_region            region;
        igvm_page_table_region page_table_region;
        igvm_corim             corim;
        igvm_cca_policy        cca_policy;
        igvm_area              area;
        igvm_page_data         page_data;
        igvm_insert            insert;
        igvm_parameter         parameter;
        igvm_vp_context        vp_context;
        igvm_required_memory   required_memory;
        igvm_error_range       error_range;
        igvm_snp_id_block      id_block;
        igvm_vbs_measurement   vbs_measurement;
    } u;
} igvm_body;

/* One field of a structure as it lies in the file. Numbers have 1, 2, 4 or 8 bytes; anything else is a byte array. */
typedef struct igvm_field {
    const char *name;
    uint16_t    offset;
    uint16_t    bytes;
} igvm_field;

/* What is known of a header type. */
typedef struct igvm_type {
    uint32_t          type;
    const char       *name;        /* "PAGE_DATA"                                                       */
    uint16_t          length;      /* of the body, without padding                                      */
    int16_t           mask_at;     /* offset of the compatibility mask in the body, or -1               */
    int16_t           data_at;     /* offset of file_offset in the body, or -1                          */
    uint16_t          smallest;    /* parameters: bytes of the smallest value; 0: this is no parameter  */
    const igvm_field *fields;      /* in order                                                          */
    uint32_t          field_count;
} igvm_type;

/* The row of a type (IGVM_OPTIONAL is ignored), or NULL. Static storage. */
const igvm_type *igvm_type_of(uint32_t type);

/* The section a type belongs to by its number, known or not; IGVM_SECTION_NONE for numbers outside the three ranges. */
igvm_section igvm_section_of(uint32_t type);

/* Names for people: "SEV_SNP", "NATIVE" ...; "UNKNOWN" for a number that is none. Static storage. */
const char *igvm_platform_name(uint32_t platform_type);

/* ---- reader ------------------------------------------------------------------------------------------------------------------------------- */

enum {
    IGVM_STRICT  = 1, /* padding that is not zero is an error                                                                     */
    IGVM_DAMAGED = 2  /* igvm_open: succeed when there is a fixed header at all, for looking at broken files; accessors stay safe */
};

/* A view of a file in memory. Filled by igvm_open, then only read; there is nothing to free. The buffer is the caller's and must outlive the view. */
typedef struct igvm_file {
    const uint8_t *data;
    uint64_t       size;
    uint32_t       version;        /* 1 or 2                                          */
    uint32_t       arch;           /* IGVM_ARCH_*                                     */
    uint32_t       checksum;       /* as the header says                              */
    uint32_t       headers_offset; /* of the variable headers                         */
    uint32_t       headers_size;   /* bytes                                           */
    uint32_t       platform_count;
    igvm_platform  platforms[IGVM_PLATFORMS_MAX];
} igvm_file;

/* Called for each finding, in the order of the file. Returns 0 to go on; anything else ends the check. */
typedef int (*igvm_report)(void *context, const igvm_finding *finding);

/* Opens `size` bytes at `data`. `flags`: IGVM_STRICT, IGVM_DAMAGED. IGVM_OK, or the code of the first error, told in *why. With IGVM_DAMAGED only a
 * file too short for a fixed header fails, and *why has the first error all the same (why->code is IGVM_OK if there is none). Any thread. */
igvm_code igvm_open(igvm_file *file, const void *data, size_t size, unsigned flags, igvm_finding *why);

struct igvm_crypto;

/* Checks a file and reports every finding: after an error in the fixed header or its checksum nothing else is looked at, and a header has
 * one error at most. `crypto` may be NULL; with it an ID block's digest and signatures are checked too, which hashes the file. Returns
 * IGVM_OK when there is no error (there may be lints), else the first error's code; IGVM_NO_MEMORY when it could not finish. */
igvm_code igvm_verify(const void *data, size_t size, unsigned flags, const struct igvm_crypto *crypto, igvm_report report, void *context);

/* One variable header. */
typedef struct igvm_header {
    uint32_t       type;     /* without IGVM_OPTIONAL                                                 */
    bool           optional; /* bit 31 was set                                                        */
    uint32_t       index;    /* from 0, over all variable headers                                     */
    uint32_t       offset;   /* of its type field, from the start of the file                         */
    uint32_t       length;   /* of the body                                                           */
    const uint8_t *body;     /* in the caller's buffer; any alignment                                 */
    const igvm_type *known;  /* NULL: an unknown type (a loader skips it when `optional`), or a wrong length in a damaged file */
} igvm_header;

/* An iterator. Copy it to come back to a place. */
typedef struct igvm_iter {
    const igvm_file *file;
    uint64_t         at;    /* offset of the next header */
    uint32_t         index; /* of the next header        */
} igvm_iter;

/* An iterator at the first variable header. */
igvm_iter igvm_headers(const igvm_file *file);

/* Gives the next header; false at the end (or, in a damaged file, where no whole header follows). */
bool igvm_next(igvm_iter *iter, igvm_header *out);

/* Reads a header's body into *out. False, and *out is only a type, when the type is unknown. */
bool igvm_decode(const igvm_header *header, igvm_body *out);

/* Writes a body as it lies in a file to `out` (at least IGVM_BODY_MAX bytes). Returns its length, 0 for an unknown type. */
uint32_t igvm_encode(const igvm_body *body, uint8_t *out);

/* The header's compatibility mask; UINT32_MAX for types that have none (they hold in every platform) and for unknown types. */
uint32_t igvm_mask(const igvm_header *header);

/* The file data that a header refers to: *length bytes in the caller's buffer, or NULL. A page, area or context at offset 0 has no data: NULL with
 * its *length, to be read as zeros. NULL and 0: the type refers to no data, or, in a damaged file, to data that is not there. */
const uint8_t *igvm_payload(const igvm_file *file, const igvm_header *header, uint64_t *length);

/* The file's header for a platform type, or NULL. */
const igvm_platform *igvm_find_platform(const igvm_file *file, igvm_platform_type type);

/* The platform that `mask` names with exactly one bit, or NULL. */
const igvm_platform *igvm_platform_of(const igvm_file *file, uint32_t mask);

/* ---- structures in file data -------------------------------------------------------------------------------------------------------------- */

/* NATIVE and SEV: 0xe8 bytes; registers that are not here keep their reset values. Attributes are in VMX form: bits 7:0 access rights, bit
 * 13 L, bit 14 D/B, bit 15 G. */
typedef struct igvm_native_context {
    uint64_t rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rip, rflags;
    uint64_t idtr_base;
    uint16_t idtr_limit, reserved[2], gdtr_limit;
    uint64_t gdtr_base;
    uint16_t code_selector, code_attributes;
    uint32_t code_base, code_limit;
    uint16_t data_selector, data_attributes; /* for es, ds, ss, fs and gs alike */
    uint32_t data_base, data_limit;
    uint64_t gs_base;                        /* overrides gs's                  */
    uint64_t cr0, cr3, cr4, efer;
} igvm_native_context;

#define IGVM_NATIVE_CONTEXT_BYTES 0xe8u

/* Between IGVM_NATIVE_CONTEXT_BYTES bytes of a file and the structure. */
void igvm_native_context_get(const uint8_t *bytes, igvm_native_context *out);
void igvm_native_context_put(const igvm_native_context *context, uint8_t *bytes);

typedef enum igvm_layout { IGVM_LAYOUT_NATIVE, IGVM_LAYOUT_VMSA, IGVM_LAYOUT_CCA, IGVM_LAYOUT_MEMORY_MAP_ENTRY, IGVM_LAYOUT_SELECTOR } igvm_layout;

/* The fields of a structure in file data, in order; *count gets how many. A VMSA's segments are IGVM_LAYOUT_SELECTOR of 16 bytes. Static storage. */
const igvm_field *igvm_layout_fields(igvm_layout layout, size_t *count);

/* The field of that name, or NULL: igvm_layout_field(IGVM_LAYOUT_VMSA, "rip"). */
const igvm_field *igvm_layout_field(igvm_layout layout, const char *name);

/* Reads and writes a number field of a structure at `bytes`; 0 (and nothing written) for a byte array. */
uint64_t igvm_field_get(const igvm_field *field, const uint8_t *bytes);
void igvm_field_put(const igvm_field *field, uint8_t *bytes, uint64_t value);

/* One register of a VBS context. value is as in the file: a u64 in its low half; a table: 6 zero bytes, u16 limit, u64 base; a segment: u64
 * base, u32 limit, u16 selector, u16 attributes. */
typedef struct igvm_vbs_register {
    uint8_t  vtl;
    uint32_t name;
    uint8_t  value[16];
} igvm_vbs_register;

/* The number of registers in a VBS context of `length` bytes, and the one at `index` (below that number). */
uint32_t igvm_vbs_register_count(const uint8_t *context, uint64_t length);
void igvm_vbs_register_get(const uint8_t *context, uint32_t index, igvm_vbs_register *out);

/* The name of a register, "RIP", or NULL when the format does not have it for this architecture. */
const char *igvm_vbs_register_name(uint32_t arch, uint32_t name);

enum { IGVM_MEMORY = 0, IGVM_MEMORY_RESERVED = 1, IGVM_MEMORY_PERSISTENT = 2, IGVM_MEMORY_VTL2 = 3, IGVM_MEMORY_SPECIAL = 4, IGVM_MEMORY_HIDDEN = 5 };

#define IGVM_MEMORY_MAP_ENTRY_BYTES 24u

/* An entry of the MEMORY_MAP parameter: sorted, ended by one with 0 pages. */
typedef struct igvm_memory_map_entry {
    uint64_t page;  /* number of the first page */
    uint64_t pages;
    uint16_t type;  /* IGVM_MEMORY*             */
    uint16_t flags;
} igvm_memory_map_entry;

/* Writes an entry to IGVM_MEMORY_MAP_ENTRY_BYTES bytes. */
void igvm_memory_map_entry_put(const igvm_memory_map_entry *entry, uint8_t *bytes);

/* ---- writer ------------------------------------------------------------------------------------------------------------------------------- */

/* A writer collects headers, by section, and file data. Equal data is stored once, in the order of first use, without alignment, as the igvm crate
 * does, so that both write the same bytes. A file without data gets 8 zero bytes, because the crate refuses one that has none. The first failure
 * (IGVM_NO_MEMORY, IGVM_TOO_LARGE, IGVM_BAD_ARGUMENT) is kept: later calls do nothing, and igvm_writer_write() returns it. */

/* An empty file of `version` 1 or 2 for IGVM_ARCH_* (AArch64 needs 2). NULL: no memory, or a version and architecture that do not go together. */
igvm_writer *igvm_writer_new(uint32_t version, uint32_t arch);

/* A copy of a file: written at once it is the same bytes. What is added comes behind the headers of its section. Refers to the file's buffer, which
 * must outlive the writer. NULL: no memory, or a damaged file. */
igvm_writer *igvm_writer_from(const igvm_file *file);

/* Frees it. NULL is allowed. */
void igvm_writer_free(igvm_writer *writer);

/* Adds a header with `body`, whose file_offset is set by the writer, and `length` bytes of data (0: none, offset 0). Data is padded with
 * zeros: pages to 4096 or 2 MiB, areas to their size, contexts but VBS to 4096. Both are copied. What makes the file unacceptable is found
 * by igvm_writer_write. */
igvm_code igvm_writer_add(igvm_writer *writer, const igvm_body *body, const void *data, size_t length);

/* Adds a header as bytes, with `type` as given, for types that the library does not know. Goes to the section of its number, or else behind all. */
igvm_code igvm_writer_add_raw(igvm_writer *writer, uint32_t type, const void *body, uint32_t length);

/* Removes the headers of `type` whose mask shares a bit with `mask`; their data stays. Returns how many. */
uint32_t igvm_writer_remove(igvm_writer *writer, uint32_t type, uint32_t mask);

/* Bytes of the file; more than IGVM_FILE_MAX: it cannot be written. */
uint64_t igvm_writer_size(const igvm_writer *writer);

/* Writes the file to `out` of `size` bytes and checks it as igvm_open(IGVM_STRICT) does (a copy of a tolerated file: as tolerant). IGVM_OK,
 * the writer's kept failure, IGVM_TOO_LARGE, or the finding. The writer may go on being used. */
igvm_code igvm_writer_write(const igvm_writer *writer, void *out, size_t size, igvm_finding *why);

/* ---- builder: the same writer, in terms of pages, contexts and parameters ------------------------------------------------------------------ */

/* Adds a platform with the next free mask bit, which goes to *mask. `shared_gpa_boundary`: 0 for NATIVE and VBS. */
igvm_code igvm_add_platform(igvm_writer *writer, igvm_platform_type type, uint8_t highest_vtl, uint64_t shared_gpa_boundary, uint32_t *mask);

/* Adds a GUEST_POLICY. */
igvm_code igvm_add_policy(igvm_writer *writer, uint32_t mask, uint64_t policy);

/* Adds `length` bytes at `gpa` (a multiple of 4096) as pages; the last is filled with zeros, and a page of zeros has no file data. `flags`
 * IGVM_PAGE_UNMEASURED or IGVM_PAGE_SHARED, `data_type` IGVM_PAGE_*. NULL data: pages of zeros. */
igvm_code igvm_add_pages(igvm_writer *writer, uint32_t mask, uint64_t gpa, const void *data, uint64_t length, uint32_t flags, uint16_t data_type);

/* Adds a parameter area of `bytes` (a multiple of 4096) with the next free index, which goes to *index; `initial` of `length` bytes may be NULL. */
igvm_code igvm_add_area(igvm_writer *writer, uint64_t bytes, const void *initial, size_t length, uint32_t *index);

/* Adds a parameter of `type` (IGVM_T_VP_COUNT ... IGVM_T_ENVIRONMENT) at `byte_offset` of an area. */
igvm_code igvm_add_parameter(igvm_writer *writer, uint32_t type, uint32_t area, uint32_t byte_offset);

/* Inserts an area at `gpa`. */
igvm_code igvm_add_insert(igvm_writer *writer, uint32_t mask, uint64_t gpa, uint32_t area);

/* Adds the context of `vp_index`: a VMSA, a context as igvm_native_context_put writes it, CCA bytes, or VBS bytes, as the mask's platform wants. */
igvm_code igvm_add_vp_context(igvm_writer *writer, uint32_t mask, uint64_t gpa, uint16_t vp_index, const void *data, size_t length);

/* Adds a VBS context of `count` registers for VP 0. */
igvm_code igvm_add_vbs_context(igvm_writer *writer, uint32_t mask, const igvm_vbs_register *registers, uint32_t count);

/* Adds REQUIRED_MEMORY for `bytes` (a multiple of 4096), in as many headers as 32-bit sizes need. */
igvm_code igvm_add_required_memory(igvm_writer *writer, uint32_t mask, uint64_t gpa, uint64_t bytes, uint32_t flags);

/* ---- hashes and signatures ---------------------------------------------------------------------------------------------------------------- */

enum { IGVM_SHA256 = 32, IGVM_SHA384 = 48 }; /* algorithms, by their bytes */

/* A crypto provider. Functions return 0, or anything else on failure. Coordinates and signatures are big-endian. All may be called by any thread, a
 * hash by one at a time. */
typedef struct igvm_crypto {
    void *(*hash_new)(int algorithm);                             /* NULL: no memory       */
    int   (*hash_begin)(void *hash);                              /* starts, or starts anew */
    int   (*hash_add)(void *hash, const void *data, size_t length);
    int   (*hash_end)(void *hash, uint8_t *digest);
    void  (*hash_free)(void *hash);                               /* NULL is allowed       */
    int   (*key_public)(const igvm_key *key, uint8_t x[48], uint8_t y[48]);
    /* ECDSA on P-384 of a SHA-384 digest, with the nonce of RFC 6979: the same key and digest give the same signature. */
    int   (*key_sign)(const igvm_key *key, const uint8_t digest[48], uint8_t r[48], uint8_t s[48]);
    /* 0: the signature is right */
    int   (*verify)(const uint8_t x[48], const uint8_t y[48], const uint8_t digest[48], const uint8_t r[48], const uint8_t s[48]);
} igvm_crypto;

/* In libigvm-openssl: the provider on OpenSSL 3. Static storage. */
const igvm_crypto *igvm_openssl(void);

/* In libigvm-openssl: a P-384 private key from PEM (SEC1 or PKCS#8), decrypted with `passphrase` where it is encrypted (NULL: it may not
 * be; nobody is ever asked). IGVM_CRYPTO and *why: no PEM, another curve, a wrong passphrase. The caller frees it. */
igvm_code igvm_openssl_key(const void *pem, size_t length, const char *passphrase, igvm_key **out, igvm_finding *why);

/* In libigvm-openssl: wipes and frees a key. NULL is allowed. */
void igvm_openssl_key_free(igvm_key *key);

/* ---- measurement -------------------------------------------------------------------------------------------------------------------------- */

/* Whose rules. Loaders turn the same file into different digests; igvm_loader_differences() says where and why. */
typedef enum igvm_loader {
    IGVM_LOADER_SPEC,        /* the specification: igvm crate, igvmfilegen, Hyper-V; all platforms                              */
    IGVM_LOADER_QEMU,        /* QEMU on KVM: SNP, SEV, SEV-ES. Runs of pages are deferred; VMSAs last, at 0xfffffffff000         */
    IGVM_LOADER_CH_KVM,      /* Cloud Hypervisor on KVM: SNP. Pages of zeros by their own page type; VMSAs last                  */
    IGVM_LOADER_CH_MSHV,     /* Cloud Hypervisor on MSHV: SNP. In order of GPA; only an area's first page                        */
    IGVM_LOADER_IGVMMEASURE, /* Coconut's tool: SNP, SEV, SEV-ES. Only an area's first page; shared pages too                    */
    IGVM_LOADER_VANADIUM,    /* Google's Vanadium: SNP. As KVM, zeros by their own type, its own DR6, DR7 and PAT                */
    IGVM_LOADERS
} igvm_loader;

/* The name that a command line uses: "spec", "qemu", "cloud-hypervisor-kvm", "cloud-hypervisor-mshv", "igvmmeasure", "vanadium"; NULL for
 * other numbers. */
const char *igvm_loader_name(igvm_loader loader);

typedef struct igvm_digest {
    uint32_t bytes;      /* 32 or 48 */
    uint8_t  value[48];
} igvm_digest;

/* What was measured, step by step. */
typedef struct igvm_step {
    uint32_t           index;  /* of the header, or IGVM_NONE                                                        */
    uint64_t           gpa;
    uint32_t           kind;   /* SNP: page type 1 to 6; TDX, SEV: 0 not hashed, 1 hashed; VBS: record type 2 or 0   */
    const igvm_digest *digest; /* after this step; NULL where the platform has none before the end (TDX, SEV, SEV-ES) */
} igvm_step;

typedef struct igvm_measure_options {
    igvm_platform_type platform;
    igvm_loader        loader;
    uint32_t           vcpus;                                /* loaders that measure VMSAs last: how many vCPUs; 0: as many as have a context */
    const igvm_crypto *crypto;
    int              (*step)(void *context, const igvm_step *step); /* may be NULL; not 0 ends with IGVM_UNSUPPORTED                          */
    void              *context;
} igvm_measure_options;

/* The digest that the loader will produce on the platform: SNP SHA-384 launch digest, TDX MRTD (SHA-384), VBS boot digest (SHA-256), SEV
 * and SEV-ES SHA-256 of what is encrypted. `file` must have been opened without IGVM_DAMAGED. IGVM_NO_SUCH_PLATFORM, IGVM_UNSUPPORTED,
 * IGVM_CRYPTO, IGVM_NO_MEMORY. */
igvm_code igvm_measure(const igvm_file *file, const igvm_measure_options *options, igvm_digest *out, igvm_finding *why);

/* One reason why two loaders' digests of a file differ. */
typedef struct igvm_difference {
    uint32_t index;     /* the first header it concerns                                  */
    uint64_t gpa;       /* of that header                                                */
    uint64_t count;     /* how many headers                                              */
    char     text[232]; /* one sentence: what this loader does, and what the other does  */
} igvm_difference;

/* Calls `report` for each rule by which loaders `a` and `b` treat this file differently on `platform`; none: they produce the same digest. */
igvm_code igvm_loader_differences(const igvm_file *file, igvm_platform_type platform, igvm_loader a, igvm_loader b,
    int (*report)(void *context, const igvm_difference *difference), void *context, igvm_finding *why);

/* ---- signing ------------------------------------------------------------------------------------------------------------------------------ */

typedef struct igvm_sign_options {
    const igvm_crypto *crypto;
    const igvm_key    *id_key;
    const igvm_key    *author_key;           /* NULL: none                                                            */
    igvm_loader        loader;               /* whose digest goes into the block                                      */
    uint32_t           vcpus;                /* as in igvm_measure_options                                            */
    uint8_t            family_id[16], image_id[16];
    uint32_t           version;              /* 0 is written as 1                                                     */
    uint32_t           guest_svn;
    uint32_t           author_key_algorithm; /* without an author key: 0 (igvmgen) or 1 (igvmmeasure); with one always 1 */
    bool               replace;              /* take out a block that is there; otherwise it is IGVM_DUP_ID_BLOCK     */
} igvm_sign_options;

/* Measures the file's SNP platform and gives a writer for the file with an ID block as its last directive. The policy is the file's GUEST_POLICY.
 * The caller writes and frees the writer, which refers to the file's buffer. */
igvm_code igvm_sign(const igvm_file *file, const igvm_sign_options *options, igvm_writer **out, igvm_finding *why);

/* The 96 bytes that an ID key signs: ld, family, image, version, svn, policy. */
void igvm_id_block_payload(const igvm_snp_id_block *block, uint64_t policy, uint8_t out[96]);

/* The 0x404 bytes of a key (igvm_snp_id_block.id_key or author_key) as the firmware sees it: the author signs those of the ID key, and their SHA-384
 * is the key digest in attestation reports. */
void igvm_id_key_blob(const uint8_t key[0x98], uint8_t out[0x404]);

/* CRC-32 as in the fixed header (reflected, polynomial 0xedb88320), of `length` bytes after what gave `crc`; start with 0. */
uint32_t igvm_crc32(uint32_t crc, const void *data, size_t length);

#ifdef __cplusplus
}
#endif

#endif
