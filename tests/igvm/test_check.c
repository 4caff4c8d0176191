/* SPDX-License-Identifier: MIT */
/* Verdicts: test_check DIR. Each file of make_vectors.py gets the verdict of the table, and no other error; cut and bent files get some verdict. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "igvm.h"
#include "files.h"

static const char *dir;

struct verdict {
    const char *name;
    igvm_code error; /* IGVM_OK: acceptable           */
    igvm_code lint;  /* one that must be there, or OK */
};

#define V(name, error) {"malformed/" name, IGVM_##error, IGVM_OK}
#define LINT(name, lint) {"malformed/" name, IGVM_OK, IGVM_##lint}

static const struct verdict verdicts[] = {
    {"vectors/snp_zero_page", IGVM_OK, IGVM_OK}, {"vectors/snp_aa_page", IGVM_OK, IGVM_OK}, {"vectors/snp_aa_signed", IGVM_OK, IGVM_OK},
    {"vectors/tdx_zero_page", IGVM_OK, IGVM_OK}, {"vectors/vbs_zero_page", IGVM_OK, IGVM_OK}, {"vectors/multi_platform", IGVM_OK, IGVM_OK},
    {"vectors/c_api_test_data", IGVM_OK, IGVM_UNREACHABLE},
    V("000_short_12_bytes", TRUNCATED_FIXED_HEADER), V("001_empty", TRUNCATED_FIXED_HEADER), V("002_bad_magic", BAD_MAGIC),
    V("003_version_0", UNSUPPORTED_VERSION), V("004_version_3", UNSUPPORTED_VERSION), V("005_v2_arch_7", BAD_ARCH),
    V("006_v2_page_size_64k", UNSUPPORTED_PAGE_SIZE), V("007_v2_page_size_0", UNSUPPORTED_PAGE_SIZE), V("008_total_size_plus1", SIZE_MISMATCH),
    V("009_trailing_byte", SIZE_MISMATCH), V("010_truncated_tail", SIZE_MISMATCH), V("011_bad_checksum", BAD_CHECKSUM),
    V("012_header_bit_flip_no_recrc", BAD_CHECKSUM), V("013_data_bit_flip", OK), V("014_vh_offset_inside_fixed", BAD_VHS_OFFSET),
    V("015_vh_offset_unaligned", BAD_VHS_OFFSET), V("016_vh_offset_past_end", VHS_OUT_OF_FILE), V("017_vh_size_past_end", VHS_OUT_OF_FILE),
    V("018_vh_offset_size_u32_overflow", VHS_OUT_OF_FILE), LINT("019_no_file_data", NO_FILE_DATA), V("020_zero_variable_headers", NO_PLATFORM),
    V("021_no_platform", NO_PLATFORM), V("022_vh_truncated_type_only", TRUNCATED_HEADER), V("023_unknown_0x314", UNKNOWN_HEADER),
    LINT("024_unknown_optional_0x80000314", SKIPPED_HEADER), V("025_known_optional_page", OK), V("026_type_0", UNKNOWN_HEADER),
    V("027_type_0x201", UNKNOWN_HEADER), V("028_type_0x8001_hcl_sgx", UNKNOWN_HEADER), V("029_page_length_0x20", BAD_LENGTH),
    V("030_length_past_section", TRUNCATED_HEADER), V("031_reserved_0x306", UNKNOWN_HEADER), V("032_init_before_platform", SECTION_ORDER),
    V("033_platform_after_directive", SECTION_ORDER), V("034_init_after_directive", SECTION_ORDER), V("035_platform_mask_0", BAD_PLATFORM_MASK),
    V("036_platform_mask_3", BAD_PLATFORM_MASK), V("037_platform_vtl_1", BAD_PLATFORM_VTL), V("038_platform_type_9", BAD_PLATFORM_TYPE),
    V("039_platform_version_2", BAD_PLATFORM_VERSION), V("040_native_shared_boundary", BAD_PLATFORM_BOUNDARY), V("041_same_platform_twice", DUP_PLATFORM),
    V("042_two_platforms_same_mask", DUP_MASK), V("043_tdx_on_aarch64", PLATFORM_ARCH), V("044_cca_on_x64", PLATFORM_ARCH),
    V("045_policy_reserved", RESERVED_NOT_ZERO), V("046_cca_policy_conflict", CCA_POLICY), V("047_cca_policy_on_vbs", CCA_POLICY),
    V("048_page_gpa_unaligned", UNALIGNED_GPA), V("049_page_type_4", BAD_PAGE_TYPE), V("050_page_reserved", RESERVED_NOT_ZERO),
    V("051_page_reserved_flags", RESERVED_FLAGS), V("052_page_2mb_flag_unaligned", UNALIGNED_2MB), V("053_page_2mb_zero_ok", OK),
    LINT("054_page_mask_undefined_platform", UNREACHABLE), LINT("055_page_mask_0", UNREACHABLE), V("056_page_duplicate_gpa", OVERLAP),
    V("057_page_offset_in_headers", DATA_OUT_OF_FILE), V("058_page_offset_past_end", DATA_OUT_OF_FILE), V("059_page_data_partial", DATA_OUT_OF_FILE),
    V("060_parea_unaligned_size", UNALIGNED_SIZE), V("061_parea_duplicate_index", DUP_AREA), V("062_parea_size_0", BAD_AREA_SIZE),
    V("063_parea_size_2_52", BAD_AREA_SIZE), V("064_parea_huge_with_data", BAD_AREA_SIZE), V("065_param_before_area", AREA_STATE),
    V("066_param_after_insert", AREA_STATE), V("067_param_offset_past_area", PARAM_OUT_OF_AREA), V("068_param_offset_straddles", PARAM_OUT_OF_AREA),
    V("069_insert_undeclared", AREA_STATE), V("070_insert_twice", AREA_STATE), V("071_insert_unaligned", UNALIGNED_GPA),
    LINT("072_area_never_inserted", AREA_NOT_INSERTED), V("073_reqmem_unaligned_gpa", UNALIGNED_GPA), V("074_reqmem_unaligned_size", UNALIGNED_SIZE),
    V("075_vmsa_unaligned_gpa", UNALIGNED_GPA), V("076_vmsa_on_tdx", VPCTX_PLATFORM), V("077_vpctx_two_mask_bits", VPCTX_PLATFORM),
    V("078_vmsa_truncated", DATA_OUT_OF_FILE), V("079_vmsa_offset_0", DATA_OUT_OF_FILE), LINT("080_vpctx_pad_nonzero", PADDING),
    V("081_native_tail", CONTEXT_TAIL), V("082_vbs_no_registers", VBS_NO_REGISTERS), V("083_vbs_bad_register", VBS_REGISTER),
    V("084_vbs_count_too_big", VBS_COUNT), V("085_vbs_vtl_7", VBS_VTL), V("086_vbs_mixed_vtl", VBS_MIXED_VTL), V("087_vbs_vp_index_1", VBS_VP_INDEX),
    V("088_reloc_ok", OK), V("089_reloc_without_context", NO_VP_CONTEXT), V("090_reloc_on_snp_with_vmsa", NO_VP_CONTEXT),
    V("091_reloc_align_0", RELOC_ALIGNMENT), V("092_reloc_align_100", RELOC_ALIGNMENT), V("093_reloc_gpa_misaligned", RELOC_ADDRESS),
    V("094_reloc_size_0", RELOC_RANGE), V("095_reloc_size_unaligned", RELOC_SIZE), V("096_reloc_min_misaligned", RELOC_ADDRESS),
    V("097_reloc_max_misaligned", RELOC_ADDRESS), V("098_reloc_min_gt_max", RELOC_RANGE), V("099_reloc_wraps", RELOC_RANGE),
    V("100_reloc_overlap", RELOC_OVERLAP), V("101_reloc_overlap_other_platform_ok", OK), V("102_ptreloc_used_gt_size", PT_REGION),
    V("103_ptreloc_unaligned", PT_REGION), V("104_ptreloc_twice", PT_REGION_TWICE), V("105_ptreloc_insert_inside", PT_REGION_INSERT),
    V("106_corim_sig_without_doc", CORIM_NO_DOCUMENT), V("107_corim_doc_twice", CORIM_TWICE), V("108_corim_sig_before_doc", CORIM_NO_DOCUMENT),
    V("109_idblock_twice", DUP_ID_BLOCK), V("110_idblock_author_flag_no_key", ID_AUTHOR), V("111_idblock_wrong_ld", OK),
    V("112_errrange_unaligned_size", UNALIGNED_SIZE), V("113_policy_length_8", BAD_LENGTH), V("114_vh_offset_32_gap_ok", OK),
    V("200_insert_wraps", GPA_RANGE), V("201_reqmem_wraps", GPA_RANGE), V("202_errrange_wraps", GPA_RANGE), V("203_page_last_ok", OK),
    V("204_context_twice", DUP_VPCTX), V("205_context_two_vps_ok", OK), V("206_context_vp_300_twice", DUP_VPCTX), V("207_vbs_context_twice", DUP_VPCTX),
    V("208_vbs_two_vtls_ok", OK), V("209_native_context_gpa", VPCTX_GPA), V("210_page_shared_unmeasured", FLAG_CONFLICT), V("211_policy_twice", DUP_POLICY),
    V("212_corim_offset_0", DATA_OUT_OF_FILE), V("213_corim_ok", OK), V("214_corim_reserved", RESERVED_NOT_ZERO), V("215_corim_signature_twice", CORIM_TWICE),
    V("216_context_reserved", RESERVED_NOT_ZERO), V("217_reqmem_flags", RESERVED_FLAGS), V("218_reqmem_reserved", RESERVED_NOT_ZERO),
    V("219_errrange_unaligned_gpa", UNALIGNED_GPA), V("220_insert_over_page", OVERLAP), V("221_pages_backwards_ok", OK), V("222_pages_backwards_twice", OVERLAP),
    V("223_page_in_2mb_page", OVERLAP), V("224_same_gpa_other_platform_ok", OK), V("225_same_gpa_one_common_platform", OVERLAP), V("226_vmsa_over_page", OVERLAP),
    V("227_too_many_areas", TOO_MANY), V("228_areas_of_65_mib", BAD_AREA_SIZE), V("229_areas_of_2_gib", BAD_AREA_SIZE), V("230_too_many_regions", TOO_MANY),
    V("231_reloc_flags", RESERVED_FLAGS), V("232_reloc_vtl_3", RELOC_VTL), V("233_ptreloc_vtl_3", RELOC_VTL), V("234_ptreloc_reserved", RESERVED_NOT_ZERO),
    V("235_native_reloc_ok", OK), V("236_native_reloc_other_vp", NO_VP_CONTEXT), V("237_native_reloc_vp_100_ok", OK), LINT("238_vbs_untidy_record", VBS_RECORD),
    V("239_cca_ok", OK), V("240_cca_context_tail", CONTEXT_TAIL), V("241_cca_policy_hash", CCA_POLICY), V("242_cca_policy_reserved", RESERVED_NOT_ZERO),
    V("243_cca_policy_twice", DUP_POLICY), V("244_vbs_aarch64_ok", OK), LINT("245_snp_without_policy", NO_POLICY), V("246_idblock_reserved", RESERVED_NOT_ZERO),
    V("247_idblock_author_2", ID_AUTHOR), V("248_vbs_context_cut", DATA_OUT_OF_FILE), LINT("249_optional_odd_length", PADDING),
    V("250_v2_short", TRUNCATED_FIXED_HEADER), V("251_insert_broken_area", UNALIGNED_SIZE), LINT("252_policy_unreachable", UNREACHABLE),
    V("253_context_unreachable", VPCTX_PLATFORM), V("254_sev_es_ok", OK), V("255_all_directives_ok", OK),
};

struct heard {
    unsigned errors, lints;
    igvm_code first;
    bool mixed;     /* errors of several codes */
    uint64_t codes[2];
};

static int hear(void *context, const igvm_finding *f)
{
    struct heard *h = context;
    assert_true(f->code > IGVM_CRYPTO && f->code < IGVM_CODES);
    assert_true(strlen(f->text) > 10 && !strchr(f->text, '\n'));
    assert_string_not_equal(igvm_code_rule(f->code), "");
    assert_string_not_equal(igvm_code_name(f->code), "UNKNOWN");
    h->codes[f->code / 64] |= BIT(f->code % 64);
    if (f->severity == IGVM_LINT) {
        h->lints++;
        return 0;
    }
    if (h->errors++ == 0)
        h->first = f->code;
    h->mixed |= h->first != f->code;
    return 0;
}

static struct heard verify(const struct bytes *file, unsigned flags)
{
    struct heard h = {0};
    igvm_code code = igvm_verify(file->p, file->len, flags, NULL, hear, &h);
    assert_int_equal(code, h.first);
    return h;
}

static void test_verdicts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
        struct bytes b = read_igvm(dir, verdicts[i].name);
        if (!b.p)
            fail_msg("%s: cannot read", verdicts[i].name);
        struct heard h = verify(&b, 0);
        igvm_file file;
        igvm_finding why;
        igvm_code code = igvm_open(&file, b.p, b.len, 0, &why);
        igvm_code lint = verdicts[i].lint;
        if (h.first != verdicts[i].error || h.mixed || code != h.first || why.code != code || (lint && !(h.codes[lint / 64] & BIT(lint % 64))))
            fail_msg("%s: %s (%u errors%s), opened: %s %s", verdicts[i].name, igvm_code_name(h.first), h.errors, h.mixed ? " of several kinds" : "",
                igvm_code_name(code), why.text);
        free(b.p);
    }
}

/* The files that a strict reader refuses, and a tolerant one takes with a lint. */
static void test_strict_refuses_padding(void **state)
{
    (void)state;
    struct bytes b = read_igvm(dir, "malformed/080_vpctx_pad_nonzero");
    assert_non_null(b.p);
    assert_int_equal(verify(&b, IGVM_STRICT).first, IGVM_PADDING);
    igvm_file file;
    assert_int_equal(igvm_open(&file, b.p, b.len, IGVM_STRICT, NULL), IGVM_PADDING);
    free(b.p);
}

/* Walks all headers with every accessor. Returns how many there are. */
static unsigned walk(const igvm_file *file)
{
    unsigned count = 0;
    igvm_header h;
    for (igvm_iter it = igvm_headers(file); igvm_next(&it, &h); count++) {
        igvm_body body;
        uint8_t bytes[IGVM_BODY_MAX];
        uint64_t length, sum = igvm_mask(&h);
        assert_int_equal(h.index, count);
        if (igvm_decode(&h, &body)) {
            assert_int_equal(igvm_encode(&body, bytes), h.length);
            if (h.type != IGVM_T_CCA_POLICY && h.type != IGVM_T_SNP_ID_BLOCK)
                assert_memory_equal(bytes, h.body, h.length);
        }
        const uint8_t *p = igvm_payload(file, &h, &length);
        for (uint64_t i = 0; p && i < length; i++)
            sum += p[i];
        igvm_vbs_register reg;
        if (h.known && h.type == IGVM_T_VP_CONTEXT && igvm_platform_of(file, igvm_mask(&h)) && igvm_platform_of(file, igvm_mask(&h))->type == IGVM_VBS)
            for (uint32_t i = 0; i < igvm_vbs_register_count(p, length); i++)
                igvm_vbs_register_get(p, i, &reg);
        assert_true(sum != UINT64_MAX);
    }
    return count;
}

/* All files, damaged or not, can be looked at. */
static void test_damaged_files_can_be_walked(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
        struct bytes b = read_igvm(dir, verdicts[i].name);
        igvm_file file;
        igvm_finding why;
        igvm_code code = igvm_open(&file, b.p, b.len, IGVM_DAMAGED, &why);
        assert_int_equal(code, b.len < 24 ? IGVM_TRUNCATED_FIXED_HEADER : IGVM_OK);
        assert_int_equal(why.code, verdicts[i].error);
        if (code == IGVM_OK)
            walk(&file);
        free(b.p);
    }
}

/* Every prefix of a file is refused, and looking at it stays in the buffer. */
static void test_cut_files(void **state)
{
    (void)state;
    struct bytes b = read_igvm(dir, "malformed/255_all_directives_ok");
    for (size_t len = 0; len < b.len; len += len < 1024 ? 1 : 61) {
        uint8_t *cut = malloc(len ? len : 1);
        memcpy(cut, b.p, len);
        igvm_file file;
        assert_int_not_equal(igvm_open(&file, cut, len, 0, NULL), IGVM_OK);
        if (igvm_open(&file, cut, len, IGVM_DAMAGED, NULL) == IGVM_OK)
            walk(&file);
        free(cut);
    }
    free(b.p);
}

/* The sealed file with each header bit flipped gets a verdict, and open and verify agree. */
static void test_bent_files(void **state)
{
    (void)state;
    struct bytes b = read_igvm(dir, "vectors/multi_platform");
    uint32_t start = load_le32(b.p + 8), size = load_le32(b.p + 0xc);
    for (uint32_t bit = 0; bit < (start + size) * 8; bit++) {
        if (bit / 8 >= 0x14 && bit / 8 < 0x18)
            continue;
        b.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        store_le32(b.p + 0x14, 0);
        store_le32(b.p + 0x14, igvm_crc32(igvm_crc32(0, b.p, start), b.p + start, size));
        igvm_file file;
        struct heard h = verify(&b, 0);
        assert_int_equal(igvm_open(&file, b.p, b.len, 0, NULL), h.first);
        if (h.first == IGVM_OK)
            assert_int_equal(walk(&file), 12);
        b.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(b.p);
}

static int stop_at_once(void *context, const igvm_finding *f)
{
    (void)f;
    ++*(int *)context;
    return 1;
}

static void test_calls_are_checked(void **state)
{
    (void)state;
    igvm_file file;
    igvm_finding why;
    assert_int_equal(igvm_open(NULL, "", 0, 0, &why), IGVM_BAD_ARGUMENT);
    assert_int_equal(igvm_open(&file, NULL, 5, 0, NULL), IGVM_BAD_ARGUMENT);
    assert_int_equal(igvm_open(&file, NULL, 0, 0, NULL), IGVM_TRUNCATED_FIXED_HEADER);
    assert_int_equal(igvm_verify(NULL, 5, 0, NULL, NULL, NULL), IGVM_BAD_ARGUMENT);
    assert_int_equal(igvm_verify("", 0, 0, NULL, NULL, NULL), IGVM_TRUNCATED_FIXED_HEADER);
    struct bytes b = read_igvm(dir, "malformed/222_pages_backwards_twice");
    int count = 0;
    assert_int_equal(igvm_verify(b.p, b.len, 0, NULL, stop_at_once, &count), IGVM_OVERLAP);
    assert_int_equal(count, 1);
    assert_int_equal(verify(&b, 0).errors, 3); /* two of three, and one of two */
    free(b.p);
}

/* A finding says where. */
static void test_findings_have_places(void **state)
{
    (void)state;
    struct bytes b = read_igvm(dir, "malformed/048_page_gpa_unaligned");
    igvm_file file;
    igvm_finding why;
    igvm_open(&file, b.p, b.len, 0, &why);
    assert_int_equal(why.index, 2);
    assert_int_equal(why.offset, 0x48);
    assert_int_equal(why.type, IGVM_T_PAGE_DATA);
    assert_string_equal(why.text, "PAGE_DATA: GPA 0x1001 (rule: a GPA is a multiple of 4096)");
    free(b.p);
    b = read_igvm(dir, "malformed/012_header_bit_flip_no_recrc");
    igvm_open(&file, b.p, b.len, 0, &why);
    assert_int_equal(why.index, IGVM_NONE);
    assert_int_equal(why.offset, 0x14);
    free(b.p);
}

static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < IGVM_CODES; i++) {
        assert_string_not_equal(igvm_code_name((igvm_code)i), "UNKNOWN");
        assert_true((i > IGVM_CRYPTO) == (igvm_code_rule((igvm_code)i)[0] != '\0'));
    }
    assert_string_equal(igvm_code_name(IGVM_CODES), "UNKNOWN");
    assert_string_equal(igvm_code_rule(IGVM_CODES), "");
    assert_string_equal(igvm_platform_name(IGVM_SEV_SNP), "SEV_SNP");
    assert_string_equal(igvm_platform_name(7), "UNKNOWN");
    for (int i = 0; i < IGVM_LOADERS; i++)
        assert_non_null(igvm_loader_name((igvm_loader)i));
    assert_null(igvm_loader_name(IGVM_LOADERS));
    unsigned known = 0;
    for (uint32_t t = 0; t < 0x401; t++) {
        const igvm_type *type = igvm_type_of(t);
        known += type != NULL;
        assert_true(!type || (type->type == t && type->length <= IGVM_BODY_MAX && type->name && igvm_section_of(t) != IGVM_SECTION_NONE));
    }
    assert_int_equal(known, 25);
    assert_null(igvm_vbs_register_name(IGVM_ARCH_X64, 0x20000));
    assert_string_equal(igvm_vbs_register_name(IGVM_ARCH_AARCH64, 0x20000), "X0");
}

static void test_layouts(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {IGVM_NATIVE_CONTEXT_BYTES, IGVM_PAGE, 0x50, IGVM_MEMORY_MAP_ENTRY_BYTES, 16};
    size_t count;
    for (int l = 0; l < (int)ARRAY_LEN(sizes); l++) {
        const igvm_field *f = igvm_layout_fields((igvm_layout)l, &count);
        for (size_t i = 0; i < count; i++) /* no hole but those that are fields */
            assert_int_equal(f[i].offset + f[i].bytes, i + 1 < count ? f[i + 1].offset : sizes[l]);
    }
    assert_null(igvm_layout_fields((igvm_layout)9, &count));
    assert_null(igvm_layout_field(IGVM_LAYOUT_VMSA, "eip"));
    uint8_t vmsa[IGVM_PAGE] = {0};
    const igvm_field *rip = igvm_layout_field(IGVM_LAYOUT_VMSA, "rip");
    igvm_field_put(rip, vmsa, 0x1122334455667788);
    assert_int_equal(load_le64(vmsa + 0x178), 0x1122334455667788);
    assert_int_equal(igvm_field_get(rip, vmsa), 0x1122334455667788);
    const igvm_field *xmm = igvm_layout_field(IGVM_LAYOUT_VMSA, "xmm_registers");
    igvm_field_put(xmm, vmsa, 1);
    assert_int_equal(igvm_field_get(xmm, vmsa), 0);
    igvm_native_context native = {.rip = 0x1000, .gs_base = 5, .efer = 7}, back;
    uint8_t bytes[IGVM_NATIVE_CONTEXT_BYTES];
    igvm_native_context_put(&native, bytes);
    assert_int_equal(load_le64(bytes + 0x80), 0x1000);
    assert_int_equal(load_le64(bytes + 0xe0), 7);
    igvm_native_context_get(bytes, &back);
    assert_memory_equal(&native, &back, sizeof back);
    igvm_memory_map_entry entry = {1, 2, IGVM_MEMORY_RESERVED, 4};
    uint8_t map[IGVM_MEMORY_MAP_ENTRY_BYTES];
    igvm_memory_map_entry_put(&entry, map);
    assert_int_equal(load_le64(map + 8), 2);
    assert_int_equal(load_le32(map + 0x10), 0x40001);
}

static void test_crc(void **state)
{
    (void)state;
    assert_int_equal(igvm_crc32(0, "123456789", 9), 0xcbf43926);
    uint8_t *big = malloc(100003);
    for (size_t i = 0; i < 100003; i++)
        big[i] = (uint8_t)(i * 7 + i / 251);
    uint32_t pieces = 0;
    for (size_t i = 0; i < 100003; i += 1000)
        pieces = igvm_crc32(pieces, big + i, i + 1000 < 100003 ? 1000 : 100003 - i);
    assert_int_equal(pieces, igvm_crc32(0, big, 100003));
    free(big);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts), cmocka_unit_test(test_strict_refuses_padding), cmocka_unit_test(test_damaged_files_can_be_walked),
        cmocka_unit_test(test_cut_files), cmocka_unit_test(test_bent_files), cmocka_unit_test(test_calls_are_checked),
        cmocka_unit_test(test_findings_have_places), cmocka_unit_test(test_names), cmocka_unit_test(test_layouts), cmocka_unit_test(test_crc),
    };
    if (argc != 2)
        return 2;
    dir = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
