/* SPDX-License-Identifier: MIT */
/* igvm_linux.c - a Linux kernel as the pages and contexts of an IGVM file, for one or several platforms.
 *
 * Each platform has its own version of a few pages (boot_params, the stub, page tables); every page is made for each, and equal ones become one header for all of them.
 * Parameters come first and pages after, lowest first, since loaders differ in when they import a parameter area that stands between pages.
 * SEV-SNP: page tables carry the C-bit, and boot_params lead to a confidential computing blob (Linux arch/x86/include/asm/sev.h: struct cc_blob_sev_info, SETUP_CC_BLOB).
 * TDX: no contexts; a page below 4 GiB has the code that every vCPU starts at. vCPUs besides the first stay there: a kernel could start them only by firmware's tables.
 */
#include <string.h>

#include "base/bits.h"
#include "firmware/boot_image.h"
#include "firmware/igvm_build.h"
#include "firmware/layout.h"

enum { PARAMS_SETUP_DATA = 0x250, SETUP_CC_BLOB = 7, BLOB_AT = 32, BLOB_MAGIC = 0x45444d41, BLOB_VERSION = 1 };
#define SECRETS_GPA   (LAYOUT_BOOT_BLOB + IGVM_PAGE)
#define CPUID_GPA     (LAYOUT_BOOT_BLOB + 2 * IGVM_PAGE)
#define TABLES_END    (LAYOUT_BOOT_PML4 + 6 * IGVM_PAGE)

enum { VARIANT_PLAIN, VARIANT_VBS, VARIANT_SNP, VARIANT_TDX, VARIANTS };
static const igvm_platform_type variant_types[VARIANTS] = {IGVM_NATIVE, IGVM_VBS, IGVM_SEV_SNP, IGVM_TDX};

struct linux_build {
    const struct igvm_build *build;
    igvm_writer *writer;
    const uint32_t *masks;
    struct boot_image images[2]; /* with the loader's memory map, with a fixed one */
    bool made[2];
    uint64_t ram_end;            /* of the low part, where all RAM goes into the file */
};

static bool is_fixed(const struct igvm_build *build, unsigned variant)
{
    if (build->map == IGVM_BUILD_MAP_AUTO)
        return variant == VARIANT_SNP || variant == VARIANT_TDX;
    return build->map == IGVM_BUILD_MAP_FIXED;
}

static uint32_t variant_mask(const struct linux_build *l, unsigned variant) { return l->masks[variant_types[variant]]; }
static const struct boot_image *variant_image(const struct linux_build *l, unsigned variant) { return &l->images[is_fixed(l->build, variant)]; }

/* Targets that have all RAM in the file. */
static bool is_whole(unsigned variant) { return variant == VARIANT_SNP || variant == VARIANT_TDX; }

static int make_images(struct linux_build *l, struct err *err)
{
    const struct igvm_build *b = l->build;
    int r = 0;
    for (unsigned v = 0; !r && v < VARIANTS; v++) {
        bool fixed = is_fixed(b, v);
        if (!variant_mask(l, v) || l->made[fixed])
            continue;
        struct boot_image_request request = {.kernel = b->kernel, .initrd = b->initrd, .cmdline = b->cmdline, .host_map = !fixed, .memory = fixed ? b->memory : 0};
        l->made[fixed] = true;
        r = boot_image_make(&request, &l->images[fixed], err);
        if (!r && fixed && l->images[1].end > layout_ram(b->memory).low_end)
            r = err_set(err, ERR_USAGE, "--memory: kernel and initramfs need %llu MiB", (unsigned long long)(l->images[1].end >> 20));
    }
    return r;
}

/* ---- pages --------------------------------------------------------------------------------------------------------------------------------------- */

static void put_blob(uint8_t page[IGVM_PAGE])
{
    memset(page, 0, IGVM_PAGE);
    store_le32(page + 8, SETUP_CC_BLOB); /* struct setup_data: next, type, length, then the blob's address */
    store_le32(page + 12, 4);
    store_le32(page + 16, (uint32_t)LAYOUT_BOOT_BLOB + BLOB_AT);
    store_le32(page + BLOB_AT, BLOB_MAGIC);
    store_le16(page + BLOB_AT + 4, BLOB_VERSION);
    store_le64(page + BLOB_AT + 8, SECRETS_GPA);
    store_le32(page + BLOB_AT + 16, IGVM_PAGE);
    store_le64(page + BLOB_AT + 24, CPUID_GPA);
    store_le32(page + BLOB_AT + 32, IGVM_PAGE);
}

static void set_c_bit(uint8_t page[IGVM_PAGE], unsigned c_bit)
{
    for (size_t i = 0; i < IGVM_PAGE; i += 8)
        if (load_le64(page + i) & 1)
            store_le64(page + i, load_le64(page + i) | BIT(c_bit));
}

/* RAM, and the range where a kernel looks for a BIOS's tables. */
static bool is_ram(const struct linux_build *l, uint64_t gpa) { return gpa < l->ram_end; }

/* The variant's page. False: the file says nothing of it. */
static bool make_page(const struct linux_build *l, unsigned variant, uint64_t gpa, uint8_t page[IGVM_PAGE], uint16_t *type)
{
    const struct boot_image *image = variant_image(l, variant);
    bool has = gpa < image->end && boot_image_has(image, gpa);
    *type = IGVM_PAGE_NORMAL;
    if (l->build->host_cmdline && gpa == LAYOUT_BOOT_CMDLINE)
        return false;
    if (gpa == LAYOUT_BOOT_MAP && !is_fixed(l->build, variant))
        return false;
    if (has)
        boot_image_page(image, gpa, page);
    else
        memset(page, 0, IGVM_PAGE);
    if (variant != VARIANT_SNP)
        return has || (is_whole(variant) && is_ram(l, gpa));
    if (gpa == LAYOUT_BOOT_BLOB)
        put_blob(page);
    else if (gpa == SECRETS_GPA)
        *type = IGVM_PAGE_SECRETS;
    else if (gpa == CPUID_GPA)
        *type = IGVM_PAGE_CPUID_DATA, igvm_put_cpuid_page(page);
    else if (gpa == image->state.rsi)
        store_le64(page + PARAMS_SETUP_DATA, LAYOUT_BOOT_BLOB);
    else if (gpa >= image->state.cr3 && gpa < TABLES_END)
        set_c_bit(page, l->build->c_bit);
    return has || is_ram(l, gpa);
}

/* One header for each group of variants with the same page. */
static igvm_code add_page(const struct linux_build *l, uint64_t gpa, uint8_t pages[VARIANTS][IGVM_PAGE])
{
    uint16_t types[VARIANTS];
    uint32_t masks[VARIANTS];
    for (unsigned v = 0; v < VARIANTS; v++) {
        masks[v] = variant_mask(l, v);
        if (!masks[v] || !make_page(l, v, gpa, pages[v], &types[v]))
            masks[v] = 0;
        for (unsigned w = 0; masks[v] && w < v; w++)
            if (masks[w] && types[w] == types[v] && !memcmp(pages[w], pages[v], IGVM_PAGE)) {
                masks[w] |= masks[v];
                masks[v] = 0;
            }
    }
    igvm_code code = IGVM_OK;
    for (unsigned v = 0; code == IGVM_OK && v < VARIANTS; v++)
        if (masks[v])
            code = igvm_add_pages(l->writer, masks[v], gpa, pages[v], IGVM_PAGE, 0, types[v]);
    return code;
}

static igvm_code add_pages(struct linux_build *l)
{
    uint8_t pages[VARIANTS][IGVM_PAGE];
    const struct igvm_build *b = l->build;
    bool whole = variant_mask(l, VARIANT_SNP) | variant_mask(l, VARIANT_TDX);
    uint64_t end = l->images[0].end > l->images[1].end ? l->images[0].end : l->images[1].end;
    struct layout_ram ram = layout_ram(b->memory);
    l->ram_end = whole ? ram.low_end : 0;
    igvm_code code = IGVM_OK;
    for (uint64_t gpa = 0; code == IGVM_OK && gpa < (end > l->ram_end ? end : l->ram_end); gpa += IGVM_PAGE)
        code = add_page(l, gpa, pages);
    if (code == IGVM_OK && variant_mask(l, VARIANT_TDX)) {
        boot_image_reset_page(pages[0]);
        code = igvm_add_pages(l->writer, variant_mask(l, VARIANT_TDX), BOOT_IMAGE_RESET_PAGE, pages[0], IGVM_PAGE, 0, IGVM_PAGE_NORMAL);
    }
    if (code == IGVM_OK && whole && ram.high_end > LAYOUT_HIGH_RAM)
        code = igvm_add_pages(l->writer, variant_mask(l, VARIANT_SNP) | variant_mask(l, VARIANT_TDX), LAYOUT_HIGH_RAM, NULL, ram.high_end - LAYOUT_HIGH_RAM, 0, IGVM_PAGE_NORMAL);
    return code;
}

/* ---- parameters, memory, contexts ----------------------------------------------------------------------------------------------------------------- */

static igvm_code add_area(const struct linux_build *l, uint32_t type, uint32_t mask, uint64_t gpa, const void *initial, size_t len)
{
    uint32_t index;
    igvm_code code = igvm_add_area(l->writer, IGVM_PAGE, initial, len, &index);
    if (code == IGVM_OK)
        code = igvm_add_parameter(l->writer, type, index, 0);
    return code == IGVM_OK ? igvm_add_insert(l->writer, mask, gpa, index) : code;
}

static igvm_code add_parameters(const struct linux_build *l)
{
    uint32_t host = 0, all = 0;
    for (unsigned v = 0; v < VARIANTS; v++) {
        all |= variant_mask(l, v);
        host |= is_fixed(l->build, v) ? 0 : variant_mask(l, v);
    }
    igvm_code code = host ? add_area(l, IGVM_T_MEMORY_MAP, host, LAYOUT_BOOT_MAP, NULL, 0) : IGVM_OK;
    if (code == IGVM_OK && l->build->host_cmdline)
        code = add_area(l, IGVM_T_COMMAND_LINE, all, LAYOUT_BOOT_CMDLINE, l->build->cmdline, strlen(l->build->cmdline) + 1);
    return code;
}

static igvm_code add_required_memory(const struct linux_build *l)
{
    igvm_code code = IGVM_OK;
    for (unsigned v = 0; code == IGVM_OK && v < VARIANTS; v++) {
        const struct boot_image *image = variant_image(l, v);
        if (!variant_mask(l, v) || is_whole(v))
            continue;
        struct layout_ram ram = layout_ram(l->build->memory);
        uint64_t end = is_fixed(l->build, v) ? ram.low_end : image->kernel_top;
        code = igvm_add_required_memory(l->writer, variant_mask(l, v), image->kernel, end - image->kernel, 0);
        if (code == IGVM_OK && is_fixed(l->build, v) && ram.high_end > LAYOUT_HIGH_RAM)
            code = igvm_add_required_memory(l->writer, variant_mask(l, v), LAYOUT_HIGH_RAM, ram.high_end - LAYOUT_HIGH_RAM, 0);
    }
    return code;
}

enum { CR0_LONG = 0x31 /* PE, ET, NE */, CR4_LONG = 0x60 /* PAE, MCE */, EFER_LONG = 0x500 /* LME, LMA */ };
#define CR0_PG UINT64_C(0x80000000)

static void long_mode_registers(const struct boot_image *image, struct igvm_registers *r)
{
    *r = (struct igvm_registers){
        .rip = image->state.rip, .rsp = image->state.rsp, .rsi = image->state.rsi, .cr0 = CR0_LONG | CR0_PG, .cr3 = image->state.cr3, .cr4 = CR4_LONG, .efer = EFER_LONG,
        .code_selector = BOOT_SELECTOR_CODE, .code_attributes = 0xa09b, .code_limit = UINT32_MAX, .data_selector = BOOT_SELECTOR_DATA, .data_attributes = 0xc093,
        .data_limit = UINT32_MAX, .tr_selector = BOOT_SELECTOR_TSS, .tr_attributes = 0x008b, .tr_base = LAYOUT_BOOT_TSS, .tr_limit = 0x67, .gdt_base = LAYOUT_BOOT_GDT,
        .gdt_limit = LAYOUT_BOOT_GDT_LIMIT};
}

static igvm_code add_contexts(const struct linux_build *l)
{
    uint8_t page[IGVM_PAGE];
    struct igvm_registers r;
    igvm_code code = IGVM_OK;
    if (variant_mask(l, VARIANT_PLAIN)) {
        long_mode_registers(variant_image(l, VARIANT_PLAIN), &r);
        igvm_put_native(&r, page);
        code = igvm_add_vp_context(l->writer, variant_mask(l, VARIANT_PLAIN), 0, 0, page, IGVM_NATIVE_CONTEXT_BYTES);
    }
    if (code == IGVM_OK && variant_mask(l, VARIANT_VBS)) {
        long_mode_registers(variant_image(l, VARIANT_VBS), &r);
        code = igvm_add_vbs_registers(l->writer, variant_mask(l, VARIANT_VBS), &r);
    }
    if (code == IGVM_OK && variant_mask(l, VARIANT_SNP)) {
        long_mode_registers(variant_image(l, VARIANT_SNP), &r);
        r.cr3 |= BIT(l->build->c_bit);
        igvm_put_vmsa(&r, l->build->sev_features, page);
        code = igvm_add_vp_context(l->writer, variant_mask(l, VARIANT_SNP), l->build->vmsa_gpa, 0, page, IGVM_PAGE);
    }
    return code;
}

static int check(const struct igvm_build *b, const uint32_t masks[IGVM_PLATFORMS_MAX], struct err *err)
{
    bool whole = masks[IGVM_SEV_SNP] || masks[IGVM_TDX];
    if (whole && b->map == IGVM_BUILD_MAP_HOST)
        return err_set(err, ERR_USAGE, "--memory-map host: snp and tdx need a fixed map, since nothing would accept other memory for the kernel");
    if (whole && b->memory > IGVM_BUILD_RAM_MAX)
        return err_set(err, ERR_USAGE, "--memory: snp and tdx have all RAM in the file; want at most %llu GiB", (unsigned long long)(IGVM_BUILD_RAM_MAX >> 30));
    if (b->host_cmdline && strlen(b->cmdline) >= IGVM_PAGE)
        return err_set(err, ERR_USAGE, "--cmdline: at most %u bytes with --host-cmdline", IGVM_PAGE - 1);
    return 0;
}

int igvm_build_linux(const struct igvm_build *build, igvm_writer *writer, const uint32_t masks[IGVM_PLATFORMS_MAX], struct err *err)
{
    struct linux_build l = {.build = build, .writer = writer, .masks = masks};
    int r = check(build, masks, err);
    if (!r)
        r = make_images(&l, err);
    if (!r) {
        igvm_code code = add_parameters(&l);
        if (code == IGVM_OK)
            code = add_required_memory(&l);
        if (code == IGVM_OK)
            code = add_pages(&l);
        if (code == IGVM_OK)
            code = add_contexts(&l);
        r = igvm_build_error(code, build->kernel.option, err);
    }
    boot_image_free(&l.images[0]);
    boot_image_free(&l.images[1]);
    return r;
}
