/* SPDX-License-Identifier: MIT */
/* igvm_build.c - platforms, policies, and the forms that a vCPU's first registers have in IGVM files. Everything here is ours; what comes from files is checked by the loaders
 * that igvm_linux.c and igvm_firmware.c use. Sections: AMD APM 2 appendix B (VMSA), TLFS (register names), AMD 56860 (CPUID page). */
#include "firmware/igvm_build.h"

#include <string.h>

#include "base/bits.h"

int igvm_build_error(igvm_code code, const char *what, struct err *err)
{
    if (code == IGVM_OK)
        return 0;
    if (code == IGVM_NO_MEMORY)
        return err_set(err, ERR_HOST, "%s: out of memory", what);
    if (code == IGVM_TOO_LARGE)
        return err_set(err, ERR_INPUT, "%s: the file would be larger than 4 GiB", what);
    return err_set(err, ERR_INPUT, "%s: %s: not what a file can hold", what, igvm_code_name(code));
}

static int add_platforms(const struct igvm_build *build, igvm_writer *writer, uint32_t masks[IGVM_PLATFORMS_MAX], struct err *err)
{
    static const igvm_platform_type order[] = {IGVM_SEV_SNP, IGVM_NATIVE, IGVM_TDX, IGVM_VBS}; /* who takes the first that it can start takes the strongest */
    igvm_code code = IGVM_OK;
    for (size_t i = 0; code == IGVM_OK && i < ARRAY_LEN(order); i++)
        if (build->targets & 1u << order[i])
            code = igvm_add_platform(writer, order[i], 0, 0, &masks[order[i]]);
    if (code == IGVM_OK && masks[IGVM_SEV_SNP])
        code = igvm_add_policy(writer, masks[IGVM_SEV_SNP], build->snp_policy);
    if (code == IGVM_OK && masks[IGVM_TDX] && build->tdx_policy)
        code = igvm_add_policy(writer, masks[IGVM_TDX], build->tdx_policy);
    return igvm_build_error(code, "--platform", err);
}

int igvm_build(const struct igvm_build *build, igvm_writer **out, uint32_t masks[IGVM_PLATFORMS_MAX], struct err *err)
{
    memset(masks, 0, IGVM_PLATFORMS_MAX * sizeof *masks);
    if (build->kernel.len && build->firmware.len)
        return err_set(err, ERR_USAGE, "--kernel and --firmware: want one of them");
    if (build->initrd.len && !build->kernel.len)
        return err_set(err, ERR_USAGE, "--initrd goes with --kernel");
    igvm_writer *writer = igvm_writer_new(build->targets & 1u << IGVM_NATIVE ? 2 : 1, IGVM_ARCH_X64); /* the format documents NATIVE's context for version 2 only */
    if (!writer)
        return err_set(err, ERR_HOST, "out of memory");
    int r = add_platforms(build, writer, masks, err);
    if (!r && build->kernel.len)
        r = igvm_build_linux(build, writer, masks, err);
    else if (!r && build->firmware.len)
        r = igvm_build_firmware(build, writer, masks, err);
    if (r)
        igvm_writer_free(writer);
    else
        *out = writer;
    return r;
}

/* ---- contexts ----------------------------------------------------------------------------------------------------------------------------------- */

void igvm_put_native(const struct igvm_registers *r, uint8_t out[IGVM_NATIVE_CONTEXT_BYTES])
{
    igvm_native_context c = {
        .rsp = r->rsp, .rsi = r->rsi, .rdx = r->rdx, .rip = r->rip, .rflags = 2, .idtr_limit = r->idt_limit, .gdtr_base = r->gdt_base, .gdtr_limit = r->gdt_limit,
        .code_selector = r->code_selector, .code_attributes = r->code_attributes, .code_base = r->code_base, .code_limit = r->code_limit,
        .data_selector = r->data_selector, .data_attributes = r->data_attributes, .data_limit = r->data_limit,
        .cr0 = r->cr0, .cr3 = r->cr3, .cr4 = r->cr4, .efer = r->efer};
    igvm_native_context_put(&c, out);
}

static void put_field(uint8_t *vmsa, const char *name, uint64_t value)
{
    igvm_field_put(igvm_layout_field(IGVM_LAYOUT_VMSA, name), vmsa, value);
}

/* A VMSA has a descriptor's attribute bits 7:0 and 15:12 next to each other (APM 2, table B-4). */
static void put_selector(uint8_t *vmsa, const char *name, uint16_t selector, uint16_t attributes, uint64_t base, uint32_t limit)
{
    uint8_t *at = vmsa + igvm_layout_field(IGVM_LAYOUT_VMSA, name)->offset;
    store_le16(at, selector);
    store_le16(at + 2, (uint16_t)((attributes & 0xff) | (attributes >> 4 & 0xf00)));
    store_le32(at + 4, limit);
    store_le64(at + 8, base);
}

#define EFER_SVME       BIT(12)
#define PAT_RESET       UINT64_C(0x0007040600070406) /* APM 2, 7.8.2 */
#define DR6_RESET       0xffff0ff0
#define DR7_RESET       0x400
#define MXCSR_RESET     0x1f80
#define FCW_RESET       0x37f
#define ATTR_LDT        0x0082

void igvm_put_vmsa(const struct igvm_registers *r, uint64_t sev_features, uint8_t out[IGVM_PAGE])
{
    static const char *const data[] = {"es", "ss", "ds", "fs", "gs"};
    memset(out, 0, IGVM_PAGE);
    for (size_t i = 0; i < ARRAY_LEN(data); i++)
        put_selector(out, data[i], r->data_selector, r->data_attributes, 0, r->data_limit);
    put_selector(out, "cs", r->code_selector, r->code_attributes, r->code_base, r->code_limit);
    put_selector(out, "gdtr", 0, 0, r->gdt_base, r->gdt_limit);
    put_selector(out, "idtr", 0, 0, 0, r->idt_limit);
    put_selector(out, "ldtr", 0, ATTR_LDT, 0, 0xffff);
    put_selector(out, "tr", r->tr_selector, r->tr_attributes, r->tr_base, r->tr_limit);
    put_field(out, "efer", r->efer | EFER_SVME); /* VMRUN wants it */
    put_field(out, "cr0", r->cr0);
    put_field(out, "cr3", r->cr3);
    put_field(out, "cr4", r->cr4);
    put_field(out, "rflags", 2);
    put_field(out, "rip", r->rip);
    put_field(out, "rsp", r->rsp);
    put_field(out, "rsi", r->rsi);
    put_field(out, "rdx", r->rdx);
    put_field(out, "pat", PAT_RESET);
    put_field(out, "dr6", DR6_RESET);
    put_field(out, "dr7", DR7_RESET);
    put_field(out, "xcr0", 1);
    put_field(out, "mxcsr", MXCSR_RESET);
    put_field(out, "x87_fcw", FCW_RESET);
    put_field(out, "sev_features", sev_features);
}

enum { VBS_ES = 0x60000, VBS_CS, VBS_SS, VBS_DS, VBS_FS, VBS_GS, VBS_TR = 0x60007, VBS_IDTR = 0x70000, VBS_GDTR, VBS_CR0 = 0x40000, VBS_CR3 = 0x40002, VBS_CR4,
       VBS_EFER = 0x80001, VBS_PAT = 0x80004, VBS_RSP = 0x20004, VBS_RSI = 0x20006, VBS_RIP = 0x20010, VBS_RFLAGS }; /* TLFS, HV_REGISTER_NAME */

struct vbs_list { igvm_vbs_register registers[24]; uint32_t count; };

static void vbs_u64(struct vbs_list *l, uint32_t name, uint64_t value)
{
    igvm_vbs_register *r = &l->registers[l->count++];
    r->name = name;
    store_le64(r->value, value);
}

static void vbs_segment(struct vbs_list *l, uint32_t name, uint16_t selector, uint16_t attributes, uint64_t base, uint32_t limit)
{
    igvm_vbs_register *r = &l->registers[l->count++];
    r->name = name;
    store_le64(r->value, base);
    store_le32(r->value + 8, limit);
    store_le16(r->value + 12, selector);
    store_le16(r->value + 14, attributes);
}

static void vbs_table(struct vbs_list *l, uint32_t name, uint64_t base, uint16_t limit)
{
    igvm_vbs_register *r = &l->registers[l->count++];
    r->name = name;
    store_le16(r->value + 6, limit);
    store_le64(r->value + 8, base);
}

igvm_code igvm_add_vbs_registers(igvm_writer *writer, uint32_t mask, const struct igvm_registers *r)
{
    struct vbs_list l = {.count = 0};
    for (uint32_t name = VBS_ES; name <= VBS_GS; name++)
        if (name != VBS_CS)
            vbs_segment(&l, name, r->data_selector, r->data_attributes, 0, r->data_limit);
    vbs_segment(&l, VBS_CS, r->code_selector, r->code_attributes, r->code_base, r->code_limit);
    vbs_segment(&l, VBS_TR, r->tr_selector, r->tr_attributes, r->tr_base, r->tr_limit);
    vbs_table(&l, VBS_GDTR, r->gdt_base, r->gdt_limit);
    vbs_table(&l, VBS_IDTR, 0, r->idt_limit);
    vbs_u64(&l, VBS_CR0, r->cr0);
    vbs_u64(&l, VBS_CR3, r->cr3);
    vbs_u64(&l, VBS_CR4, r->cr4);
    vbs_u64(&l, VBS_EFER, r->efer);
    vbs_u64(&l, VBS_PAT, PAT_RESET);
    vbs_u64(&l, VBS_RSP, r->rsp);
    vbs_u64(&l, VBS_RSI, r->rsi);
    vbs_u64(&l, VBS_RIP, r->rip);
    vbs_u64(&l, VBS_RFLAGS, 2);
    return igvm_add_vbs_context(writer, mask, l.registers, l.count);
}

void igvm_put_cpuid_page(uint8_t out[IGVM_PAGE])
{
    static const struct { uint32_t leaf, subleaf; } leaves[] = {
        {0, 0}, {1, 0}, {2, 0}, {4, 0}, {4, 1}, {4, 2}, {4, 3}, {5, 0}, {6, 0}, {7, 0}, {7, 1}, {0xb, 0}, {0xb, 1}, {0xd, 0}, {0xd, 1}, {0xd, 2},
        {0x80000000, 0}, {0x80000001, 0}, {0x80000002, 0}, {0x80000003, 0}, {0x80000004, 0}, {0x80000005, 0}, {0x80000006, 0}, {0x80000007, 0}, {0x80000008, 0},
        {0x8000000a, 0}, {0x80000019, 0}, {0x8000001a, 0}, {0x8000001b, 0}, {0x8000001c, 0}, {0x8000001d, 0}, {0x8000001d, 1}, {0x8000001d, 2}, {0x8000001d, 3},
        {0x8000001e, 0}, {0x8000001f, 0}, {0x80000020, 0}, {0x80000021, 0},
    };
    enum { ENTRIES_AT = 16, ENTRY = 0x30, XCR0_IN = 8, LEAF_XSAVE = 0xd };
    memset(out, 0, IGVM_PAGE);
    store_le32(out, ARRAY_LEN(leaves));
    for (size_t i = 0; i < ARRAY_LEN(leaves); i++) {
        uint8_t *entry = out + ENTRIES_AT + i * ENTRY;
        store_le32(entry, leaves[i].leaf);
        store_le32(entry + 4, leaves[i].subleaf);
        if (leaves[i].leaf == LEAF_XSAVE && leaves[i].subleaf < 2)
            store_le64(entry + XCR0_IN, 1); /* the firmware takes the sizes for XCR0 = 1 */
    }
}
