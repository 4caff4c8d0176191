/* SPDX-License-Identifier: MIT */
/* How structures lie in a file: one table of fields for each header type and each structure in file data, with which bodies are read and written.
 *
 * Nothing here trusts a length: callers give bytes that they have checked to be there. All offsets are those of igvm_defs.
 */
#include <stddef.h>
#include <string.h>

#include "base/bits.h"
#include "igvm/internal.h"

/* For each list: the fields of the file, and where each lies in its structure. */
#define F(type, member, at)    {#member, at, sizeof(((type *)0)->member)}
#define M(type, member, at)    offsetof(type, member)
#define TABLE(name, type, list)                                     \
    static const igvm_field name##_fields[] = {list(F, type)};      \
    static const uint16_t name##_members[] = {list(M, type)};

#define PLATFORM(X, T) X(T, mask, 0x0), X(T, highest_vtl, 0x4), X(T, type, 0x5), X(T, version, 0x6), X(T, shared_gpa_boundary, 0x8)
#define GUEST_POLICY(X, T) X(T, policy, 0x0), X(T, mask, 0x8), X(T, reserved, 0xc)
#define REGION(X, T) X(T, mask, 0x0), X(T, vp_index, 0x4), X(T, vtl, 0x6), X(T, flags, 0x7), X(T, alignment, 0x8), X(T, gpa, 0x10), \
    X(T, size, 0x18), X(T, minimum, 0x20), X(T, maximum, 0x28)
#define PT_REGION(X, T) X(T, mask, 0x0), X(T, vp_index, 0x4), X(T, vtl, 0x6), X(T, reserved, 0x7), X(T, gpa, 0x8), X(T, size, 0x10), X(T, used_size, 0x18)
#define CORIM(X, T) X(T, mask, 0x0), X(T, file_offset, 0x4), X(T, size, 0x8), X(T, reserved, 0xc)
#define CCA(X, T) X(T, mask, 0x0), X(T, reserved, 0x4), X(T, required_zeroes, 0x8), X(T, required_ones, 0x10), X(T, hash, 0x18), X(T, lfa, 0x19), \
    X(T, reserved2, 0x1a)
#define AREA(X, T) X(T, bytes, 0x0), X(T, index, 0x8), X(T, file_offset, 0xc)
#define PAGE_DATA(X, T) X(T, gpa, 0x0), X(T, mask, 0x8), X(T, file_offset, 0xc), X(T, flags, 0x10), X(T, data_type, 0x14), X(T, reserved, 0x16)
#define INSERT(X, T) X(T, gpa, 0x0), X(T, mask, 0x8), X(T, area, 0xc)
#define PARAMETER(X, T) X(T, area, 0x0), X(T, byte_offset, 0x4)
#define VP_CONTEXT(X, T) X(T, gpa, 0x0), X(T, mask, 0x8), X(T, file_offset, 0xc), X(T, vp_index, 0x10), X(T, reserved, 0x12)
#define MEMORY(X, T) X(T, gpa, 0x0), X(T, mask, 0x8), X(T, bytes, 0xc), X(T, flags, 0x10), X(T, reserved, 0x14)
#define ERROR_RANGE(X, T) X(T, gpa, 0x0), X(T, mask, 0x8), X(T, bytes, 0xc)
#define ID_BLOCK(X, T) X(T, mask, 0x0), X(T, author_key_enabled, 0x4), X(T, reserved, 0x5), X(T, ld, 0x8), X(T, family_id, 0x38), X(T, image_id, 0x48), \
    X(T, version, 0x58), X(T, guest_svn, 0x5c), X(T, id_key_algorithm, 0x60), X(T, author_key_algorithm, 0x64), X(T, id_signature, 0x68), \
    X(T, id_key, 0xf8), X(T, author_signature, 0x190), X(T, author_key, 0x220)
#define VBS_MEASUREMENT(X, T) X(T, mask, 0x0), X(T, version, 0x4), X(T, product_id, 0x8), X(T, module_id, 0xc), X(T, security_version, 0x10), \
    X(T, policy_flags, 0x14), X(T, digest_algorithm, 0x18), X(T, signing_algorithm, 0x1c), X(T, digest, 0x20), X(T, signature, 0x60), X(T, public_key, 0x160)

TABLE(platform, igvm_platform, PLATFORM)
TABLE(guest_policy, igvm_guest_policy, GUEST_POLICY)
TABLE(region, igvm_region, REGION)
TABLE(pt_region, igvm_page_table_region, PT_REGION)
TABLE(corim, igvm_corim, CORIM)
TABLE(cca_policy, igvm_cca_policy, CCA)
TABLE(area, igvm_area, AREA)
TABLE(page_data, igvm_page_data, PAGE_DATA)
TABLE(insert, igvm_insert, INSERT)
TABLE(parameter, igvm_parameter, PARAMETER)
TABLE(vp_context, igvm_vp_context, VP_CONTEXT)
TABLE(required_memory, igvm_required_memory, MEMORY)
TABLE(error_range, igvm_error_range, ERROR_RANGE)
TABLE(id_block, igvm_snp_id_block, ID_BLOCK)
TABLE(vbs_measurement, igvm_vbs_measurement, VBS_MEASUREMENT)

/* A type, and where its fields lie in its member of struct igvm_body's union. */
struct row {
    igvm_type type;
    const uint16_t *members;
};

enum { ROW_INIT = 1, ROW_DIRECTIVE = ROW_INIT + 6, ROWS = ROW_DIRECTIVE + 0x13 };

/* Types are dense in three ranges: 1, 0x101 to 0x106, 0x301 to 0x313. */
#define ROW_AT(number) ((number) == 1 ? 0 : (number) < 0x300 ? ROW_INIT + (number) - 0x101 : ROW_DIRECTIVE + (number) - 0x301)
#define ROW(number, name, length, mask_at, data_at, smallest, table) \
    [ROW_AT(number)] = {{number, name, length, mask_at, data_at, smallest, table##_fields, ARRAY_LEN(table##_fields)}, table##_members}

/* By number. The smallest value of a parameter: a count, a flag word, one entry of the memory map, two MMIO ranges, an ACPI table's or
 * a device tree's header, an empty string. */
static const struct row rows[ROWS] = {
    ROW(IGVM_T_SUPPORTED_PLATFORM, "SUPPORTED_PLATFORM", 0x10, 0, -1, 0, platform),
    ROW(IGVM_T_GUEST_POLICY, "GUEST_POLICY", 0x10, 8, -1, 0, guest_policy),
    ROW(IGVM_T_RELOCATABLE_REGION, "RELOCATABLE_REGION", 0x30, 0, -1, 0, region),
    ROW(IGVM_T_PAGE_TABLE_REGION, "PAGE_TABLE_RELOCATION_REGION", 0x20, 0, -1, 0, pt_region),
    ROW(IGVM_T_CORIM_DOCUMENT, "CORIM_DOCUMENT", 0x10, 0, 4, 0, corim),
    ROW(IGVM_T_CORIM_SIGNATURE, "CORIM_SIGNATURE", 0x10, 0, 4, 0, corim),
    ROW(IGVM_T_CCA_POLICY, "CCA_POLICY", 0x20, 0, -1, 0, cca_policy),
    ROW(IGVM_T_PARAMETER_AREA, "PARAMETER_AREA", 0x10, -1, 0xc, 0, area),
    ROW(IGVM_T_PAGE_DATA, "PAGE_DATA", 0x18, 8, 0xc, 0, page_data),
    ROW(IGVM_T_PARAMETER_INSERT, "PARAMETER_INSERT", 0x10, 8, -1, 0, insert),
    ROW(IGVM_T_VP_CONTEXT, "VP_CONTEXT", 0x14, 8, 0xc, 0, vp_context),
    ROW(IGVM_T_REQUIRED_MEMORY, "REQUIRED_MEMORY", 0x18, 8, -1, 0, required_memory),
    ROW(IGVM_T_VP_COUNT, "VP_COUNT_PARAMETER", 8, -1, -1, 4, parameter),
    ROW(IGVM_T_SRAT, "SRAT", 8, -1, -1, 1, parameter),
    ROW(IGVM_T_MADT, "MADT", 8, -1, -1, 1, parameter),
    ROW(IGVM_T_MMIO_RANGES, "MMIO_RANGES", 8, -1, -1, 32, parameter),
    ROW(IGVM_T_SNP_ID_BLOCK, "SNP_ID_BLOCK", 0x2b8, 0, -1, 0, id_block),
    ROW(IGVM_T_MEMORY_MAP, "MEMORY_MAP", 8, -1, -1, 24, parameter),
    ROW(IGVM_T_ERROR_RANGE, "ERROR_RANGE", 0x10, 8, -1, 0, error_range),
    ROW(IGVM_T_COMMAND_LINE, "COMMAND_LINE", 8, -1, -1, 1, parameter),
    ROW(IGVM_T_SLIT, "SLIT", 8, -1, -1, 1, parameter),
    ROW(IGVM_T_PPTT, "PPTT", 8, -1, -1, 1, parameter),
    ROW(IGVM_T_VBS_MEASUREMENT, "VBS_MEASUREMENT", 0x360, 0, -1, 0, vbs_measurement),
    ROW(IGVM_T_DEVICE_TREE, "DEVICE_TREE", 8, -1, -1, 1, parameter),
    ROW(IGVM_T_ENVIRONMENT, "ENVIRONMENT_INFO_PARAMETER", 8, -1, -1, 4, parameter),
};

const igvm_type *igvm_type_of(uint32_t number)
{
    uint32_t type = number & ~IGVM_OPTIONAL;
    if (type != 1 && !(type >= 0x101 && type <= 0x106) && !(type >= 0x301 && type <= 0x313))
        return NULL;
    const struct row *row = &rows[ROW_AT(type)];
    return row->members ? &row->type : NULL; /* 0x306 is a hole */
}

static const uint16_t *members_of(const igvm_type *type)
{
    return container_of(type, struct row, type)->members;
}

bool igvm_decode(const igvm_header *header, igvm_body *out)
{
    const igvm_type *type = header->known;
    out->type = header->type;
    if (!type)
        return false;
    const uint16_t *members = members_of(type);
    for (uint32_t i = 0; i < type->field_count; i++) /* both sides are little-endian (base/bits.h) */
        memcpy((uint8_t *)&out->u + members[i], header->body + type->fields[i].offset, type->fields[i].bytes);
    return true;
}

uint32_t igvm_encode(const igvm_body *body, uint8_t *out)
{
    const igvm_type *type = igvm_type_of(body->type);
    if (!type)
        return 0;
    const uint16_t *members = members_of(type);
    memset(out, 0, type->length);
    for (uint32_t i = 0; i < type->field_count; i++)
        memcpy(out + type->fields[i].offset, (const uint8_t *)&body->u + members[i], type->fields[i].bytes);
    return type->length;
}

/* ---- structures in file data -------------------------------------------------------------------------------------------------------------- */

#define N(T, member, at) {#member, at, sizeof(((T *)0)->member)}
static const igvm_field native_fields[] = {
#define T igvm_native_context
    N(T, rax, 0x0), N(T, rcx, 0x8), N(T, rdx, 0x10), N(T, rbx, 0x18), N(T, rsp, 0x20), N(T, rbp, 0x28), N(T, rsi, 0x30), N(T, rdi, 0x38), N(T, r8, 0x40),
    N(T, r9, 0x48), N(T, r10, 0x50), N(T, r11, 0x58), N(T, r12, 0x60), N(T, r13, 0x68), N(T, r14, 0x70), N(T, r15, 0x78), N(T, rip, 0x80),
    N(T, rflags, 0x88), N(T, idtr_base, 0x90), N(T, idtr_limit, 0x98), N(T, reserved, 0x9a), N(T, gdtr_limit, 0x9e), N(T, gdtr_base, 0xa0),
    N(T, code_selector, 0xa8), N(T, code_attributes, 0xaa), N(T, code_base, 0xac), N(T, code_limit, 0xb0), N(T, data_selector, 0xb4),
    N(T, data_attributes, 0xb6), N(T, data_base, 0xb8), N(T, data_limit, 0xbc), N(T, gs_base, 0xc0), N(T, cr0, 0xc8), N(T, cr3, 0xd0),
    N(T, cr4, 0xd8), N(T, efer, 0xe0),
#undef T
};

/* The structure has the file's order and alignment, so it can be copied whole. */
_Static_assert(sizeof(igvm_native_context) == IGVM_NATIVE_CONTEXT_BYTES && offsetof(igvm_native_context, gs_base) == 0xc0 &&
    offsetof(igvm_native_context, code_selector) == 0xa8 && offsetof(igvm_native_context, gdtr_limit) == 0x9e, "igvm_defs' layout");

void igvm_native_context_get(const uint8_t *bytes, igvm_native_context *out)
{
    memcpy(out, bytes, sizeof *out);
}

void igvm_native_context_put(const igvm_native_context *context, uint8_t *bytes)
{
    memcpy(bytes, context, sizeof *context);
}

/* AMD APM volume 2, table B-4; attributes of segments in the packed 12-bit form. */
static const igvm_field vmsa_fields[] = {
    {"es", 0x0, 16}, {"cs", 0x10, 16}, {"ss", 0x20, 16}, {"ds", 0x30, 16}, {"fs", 0x40, 16}, {"gs", 0x50, 16}, {"gdtr", 0x60, 16}, {"ldtr", 0x70, 16},
    {"idtr", 0x80, 16}, {"tr", 0x90, 16}, {"pl0_ssp", 0xa0, 8}, {"pl1_ssp", 0xa8, 8}, {"pl2_ssp", 0xb0, 8}, {"pl3_ssp", 0xb8, 8}, {"u_cet", 0xc0, 8},
    {"reserved1", 0xc8, 2}, {"vmpl", 0xca, 1}, {"cpl", 0xcb, 1}, {"reserved2", 0xcc, 4}, {"efer", 0xd0, 8}, {"reserved3", 0xd8, 0x68}, {"xss", 0x140, 8},
    {"cr4", 0x148, 8}, {"cr3", 0x150, 8}, {"cr0", 0x158, 8}, {"dr7", 0x160, 8}, {"dr6", 0x168, 8}, {"rflags", 0x170, 8}, {"rip", 0x178, 8},
    {"dr0", 0x180, 8}, {"dr1", 0x188, 8}, {"dr2", 0x190, 8}, {"dr3", 0x198, 8}, {"dr0_addr_mask", 0x1a0, 8}, {"dr1_addr_mask", 0x1a8, 8},
    {"dr2_addr_mask", 0x1b0, 8}, {"dr3_addr_mask", 0x1b8, 8}, {"reserved4", 0x1c0, 0x18}, {"rsp", 0x1d8, 8}, {"s_cet", 0x1e0, 8}, {"ssp", 0x1e8, 8},
    {"interrupt_ssp_table_addr", 0x1f0, 8}, {"rax", 0x1f8, 8}, {"star", 0x200, 8}, {"lstar", 0x208, 8}, {"cstar", 0x210, 8}, {"sfmask", 0x218, 8},
    {"kernel_gs_base", 0x220, 8}, {"sysenter_cs", 0x228, 8}, {"sysenter_esp", 0x230, 8}, {"sysenter_eip", 0x238, 8}, {"cr2", 0x240, 8},
    {"reserved5", 0x248, 0x20}, {"pat", 0x268, 8}, {"dbgctl", 0x270, 8}, {"last_branch_from_ip", 0x278, 8}, {"last_branch_to_ip", 0x280, 8},
    {"last_excp_from_ip", 0x288, 8}, {"last_excp_to_ip", 0x290, 8}, {"reserved6", 0x298, 0x48}, {"spec_ctrl", 0x2e0, 8}, {"reserved7", 0x2e8, 0x20},
    {"rcx", 0x308, 8}, {"rdx", 0x310, 8}, {"rbx", 0x318, 8}, {"reserved8", 0x320, 8}, {"rbp", 0x328, 8}, {"rsi", 0x330, 8}, {"rdi", 0x338, 8},
    {"r8", 0x340, 8}, {"r9", 0x348, 8}, {"r10", 0x350, 8}, {"r11", 0x358, 8}, {"r12", 0x360, 8}, {"r13", 0x368, 8}, {"r14", 0x370, 8}, {"r15", 0x378, 8},
    {"reserved9", 0x380, 0x10}, {"exit_info1", 0x390, 8}, {"exit_info2", 0x398, 8}, {"exit_int_info", 0x3a0, 8}, {"next_rip", 0x3a8, 8},
    {"sev_features", 0x3b0, 8}, {"v_intr_cntrl", 0x3b8, 8}, {"guest_error_code", 0x3c0, 8}, {"virtual_tom", 0x3c8, 8}, {"tlb_id", 0x3d0, 8},
    {"pcpu_id", 0x3d8, 8}, {"event_inject", 0x3e0, 8}, {"xcr0", 0x3e8, 8}, {"xsave_valid_bitmap", 0x3f0, 16}, {"x87dp", 0x400, 8}, {"mxcsr", 0x408, 4},
    {"x87_ftw", 0x40c, 2}, {"x87_fsw", 0x40e, 2}, {"x87_fcw", 0x410, 2}, {"x87_op", 0x412, 2}, {"x87_ds", 0x414, 2}, {"x87_cs", 0x416, 2},
    {"x87_rip", 0x418, 8}, {"x87_registers1", 0x420, 0x20}, {"x87_registers2", 0x440, 0x20}, {"x87_registers3", 0x460, 0x10},
    {"xmm_registers", 0x470, 0x100}, {"ymm_registers", 0x570, 0x100}, {"padding", 0x670, 0x990},
};
static const igvm_field cca_fields[] = {
    {"x0", 0x0, 8}, {"x1", 0x8, 8}, {"x2", 0x10, 8}, {"x3", 0x18, 8}, {"x4", 0x20, 8}, {"x5", 0x28, 8}, {"x6", 0x30, 8}, {"x7", 0x38, 8},
    {"pc", 0x40, 8}, {"flags", 0x48, 8},
};
static const igvm_field memory_map_fields[] = {{"page", 0, 8}, {"pages", 8, 8}, {"type", 0x10, 2}, {"flags", 0x12, 2}, {"reserved", 0x14, 4}};
static const igvm_field selector_fields[] = {{"selector", 0, 2}, {"attrib", 2, 2}, {"limit", 4, 4}, {"base", 8, 8}};

const igvm_field *igvm_layout_fields(igvm_layout layout, size_t *count)
{
    static const struct {
        const igvm_field *fields;
        size_t count;
    } layouts[] = {
        [IGVM_LAYOUT_NATIVE] = {native_fields, ARRAY_LEN(native_fields)}, [IGVM_LAYOUT_VMSA] = {vmsa_fields, ARRAY_LEN(vmsa_fields)},
        [IGVM_LAYOUT_CCA] = {cca_fields, ARRAY_LEN(cca_fields)}, [IGVM_LAYOUT_MEMORY_MAP_ENTRY] = {memory_map_fields, ARRAY_LEN(memory_map_fields)},
        [IGVM_LAYOUT_SELECTOR] = {selector_fields, ARRAY_LEN(selector_fields)},
    };
    bool known = (size_t)layout < ARRAY_LEN(layouts);
    *count = known ? layouts[layout].count : 0;
    return known ? layouts[layout].fields : NULL;
}

const igvm_field *igvm_layout_field(igvm_layout layout, const char *name)
{
    size_t count;
    const igvm_field *fields = igvm_layout_fields(layout, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

static bool field_is_number(const igvm_field *field)
{
    return field->bytes <= 8 && is_power_of_two(field->bytes);
}

uint64_t igvm_field_get(const igvm_field *field, const uint8_t *bytes)
{
    uint64_t value = 0;
    if (field_is_number(field))
        memcpy(&value, bytes + field->offset, field->bytes);
    return value;
}

void igvm_field_put(const igvm_field *field, uint8_t *bytes, uint64_t value)
{
    if (field_is_number(field))
        memcpy(bytes + field->offset, &value, field->bytes);
}

/* ---- VBS contexts: u32 count, then records of 32 bytes: u8 vtl, u32 name (unaligned), 11 zeros, 16 bytes of value ---------------------------- */

struct vbs_name {
    uint32_t number;
    const char *name;
};

static const struct vbs_name x64_names[] = {
    {0x20004, "RSP"}, {0x20005, "RBP"}, {0x20006, "RSI"}, {0x20008, "R8"}, {0x20009, "R9"}, {0x2000a, "R10"}, {0x2000b, "R11"}, {0x2000c, "R12"},
    {0x20010, "RIP"}, {0x20011, "RFLAGS"}, {0x40000, "CR0"}, {0x40002, "CR3"}, {0x40003, "CR4"}, {0x60000, "ES"}, {0x60001, "CS"}, {0x60002, "SS"},
    {0x60003, "DS"}, {0x60004, "FS"}, {0x60005, "GS"}, {0x60007, "TR"}, {0x70000, "IDTR"}, {0x70001, "GDTR"}, {0x80001, "EFER"}, {0x80004, "PAT"},
    {0x8000e, "MTRR_DEF_TYPE"}, {0x80010, "MTRR_PHYS_BASE0"}, {0x80011, "MTRR_PHYS_BASE1"}, {0x80012, "MTRR_PHYS_BASE2"}, {0x80013, "MTRR_PHYS_BASE3"},
    {0x80014, "MTRR_PHYS_BASE4"}, {0x80040, "MTRR_PHYS_MASK0"}, {0x80041, "MTRR_PHYS_MASK1"}, {0x80042, "MTRR_PHYS_MASK2"}, {0x80043, "MTRR_PHYS_MASK3"},
    {0x80044, "MTRR_PHYS_MASK4"}, {0x80070, "MTRR_FIX64K_00000"}, {0x80071, "MTRR_FIX16K_80000"}, {0x80077, "MTRR_FIX4K_E0000"},
    {0x80078, "MTRR_FIX4K_E8000"}, {0x80079, "MTRR_FIX4K_F0000"}, {0x8007a, "MTRR_FIX4K_F8000"},
};
static const struct vbs_name aarch64_names[] = {
    {0x20000, "X0"}, {0x20001, "X1"}, {0x20002, "X2"}, {0x20003, "X3"}, {0x20004, "X4"}, {0x20005, "X5"}, {0x20006, "X6"}, {0x20007, "X7"},
    {0x20022, "PC"}, {0x20023, "CPSR"}, {0x40002, "SCTLR_EL1"}, {0x40005, "TTBR0_EL1"}, {0x40006, "TTBR1_EL1"}, {0x40007, "TCR_EL1"}, {0x4000b, "MAIR_EL1"},
    {0x4000c, "VBAR_EL1"},
};

const char *igvm_vbs_register_name(uint32_t arch, uint32_t name)
{
    const struct vbs_name *names = arch == IGVM_ARCH_X64 ? x64_names : aarch64_names;
    size_t count = arch == IGVM_ARCH_X64 ? ARRAY_LEN(x64_names) : ARRAY_LEN(aarch64_names);
    for (size_t i = 0; i < count; i++)
        if (names[i].number == name)
            return names[i].name;
    return NULL;
}

uint32_t igvm_vbs_register_count(const uint8_t *context, uint64_t length)
{
    if (!context || length < 4)
        return 0;
    uint64_t fit = (length - 4) / VBS_RECORD;
    uint32_t count = load_le32(context);
    return count < fit ? count : (uint32_t)fit;
}

void igvm_vbs_register_get(const uint8_t *context, uint32_t index, igvm_vbs_register *out)
{
    const uint8_t *record = context + 4 + (uint64_t)index * VBS_RECORD;
    out->vtl = record[0];
    out->name = load_le32(record + 1);
    memcpy(out->value, record + 0x10, sizeof out->value);
}

void igvm_vbs_register_trim(uint32_t arch, igvm_vbs_register *reg)
{
    bool segment = arch == IGVM_ARCH_X64 && reg->name >= 0x60000 && reg->name <= 0x60007, table = arch == IGVM_ARCH_X64 && reg->name >> 4 == 0x7000;
    if (table)
        memset(reg->value, 0, 6);
    else if (!segment)
        memset(reg->value + 8, 0, 8);
}

void igvm_memory_map_entry_put(const igvm_memory_map_entry *entry, uint8_t *bytes)
{
    store_le64(bytes, entry->page);
    store_le64(bytes + 8, entry->pages);
    store_le16(bytes + 0x10, entry->type);
    store_le16(bytes + 0x12, entry->flags);
    store_le32(bytes + 0x14, 0);
}
