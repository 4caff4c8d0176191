/* SPDX-License-Identifier: MIT */
/* The writer: test_write DIR. Copies of good files are the same bytes, files put together from decoded headers too, and what is built is accepted. */
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

static const char *const good[] = {
    "vectors/snp_zero_page", "vectors/snp_aa_page", "vectors/snp_aa_signed", "vectors/tdx_zero_page", "vectors/vbs_zero_page", "vectors/multi_platform",
    "vectors/c_api_test_data", "malformed/013_data_bit_flip", "malformed/015_vh_offset_unaligned", "malformed/019_no_file_data",
    "malformed/024_unknown_optional_0x80000314", "malformed/025_known_optional_page", "malformed/080_vpctx_pad_nonzero", "malformed/088_reloc_ok",
    "malformed/101_reloc_overlap_other_platform_ok", "malformed/114_vh_offset_32_gap_ok", "malformed/213_corim_ok", "malformed/239_cca_ok",
    "malformed/244_vbs_aarch64_ok", "malformed/249_optional_odd_length", "malformed/254_sev_es_ok", "malformed/255_all_directives_ok",
};

static uint8_t *write_all(const igvm_writer *w, size_t *size)
{
    igvm_finding why;
    *size = (size_t)igvm_writer_size(w);
    uint8_t *p = malloc(*size);
    assert_non_null(p);
    if (igvm_writer_write(w, p, *size, &why))
        fail_msg("%s: %s", igvm_code_name(why.code), why.text);
    return p;
}

static void test_copies_are_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct bytes b = read_igvm(dir, good[i]);
        igvm_file file;
        if (igvm_open(&file, b.p, b.len, 0, NULL)) {
            assert_string_equal(good[i], "malformed/015_vh_offset_unaligned");
            assert_null(igvm_writer_from(&file));
            free(b.p);
            continue;
        }
        igvm_writer *w = igvm_writer_from(&file);
        assert_non_null(w);
        size_t size;
        uint8_t *out = write_all(w, &size);
        if (size != b.len || memcmp(out, b.p, size) != 0)
            fail_msg("%s comes out different", good[i]);
        free(out);
        igvm_writer_free(w);
        free(b.p);
    }
}

/* Puts a file together again from its decoded headers and their data. */
static igvm_writer *rebuild(const igvm_file *file)
{
    igvm_writer *w = igvm_writer_new(file->version, file->arch);
    igvm_header h;
    for (igvm_iter it = igvm_headers(file); igvm_next(&it, &h);) {
        igvm_body body;
        uint64_t length;
        assert_true(igvm_decode(&h, &body));
        const uint8_t *data = igvm_payload(file, &h, &length);
        assert_int_equal(igvm_writer_add(w, &body, data, data ? (size_t)length : 0), IGVM_OK);
    }
    return w;
}

/* The crate's order, sharing and filler: the vectors were written by it, or as it does. */
static void test_rebuilt_files_are_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < 7; i++) {
        struct bytes b = read_igvm(dir, good[i]);
        igvm_file file;
        assert_int_equal(igvm_open(&file, b.p, b.len, 0, NULL), IGVM_OK);
        igvm_writer *w = rebuild(&file);
        size_t size;
        uint8_t *out = write_all(w, &size);
        if (size != b.len || memcmp(out, b.p, size) != 0)
            fail_msg("%s comes out different", good[i]);
        free(out);
        igvm_writer_free(w);
        free(b.p);
    }
}

static void test_built_file(void **state)
{
    (void)state;
    static uint8_t data[3 * IGVM_PAGE + 100];
    memset(data, 0x5a, IGVM_PAGE);
    memset(data + 2 * IGVM_PAGE, 0x5a, IGVM_PAGE + 100);
    uint8_t vmsa[IGVM_PAGE] = {1}, native[IGVM_NATIVE_CONTEXT_BYTES];
    igvm_native_context context = {.rip = 0x1000, .rflags = 2};
    igvm_native_context_put(&context, native);
    igvm_vbs_register rip = {0, 0x20010, {0, 0x10}};
    uint32_t snp, plain, vbs, area, other;
    igvm_writer *w = igvm_writer_new(2, IGVM_ARCH_X64);
    /* in no order: sections sort themselves */
    assert_int_equal(igvm_add_platform(w, IGVM_SEV_SNP, 0, 0, &snp), IGVM_OK);
    assert_int_equal(igvm_add_pages(w, snp | 2 | 4, 0x100000, data, sizeof data, 0, IGVM_PAGE_NORMAL), IGVM_OK);
    assert_int_equal(igvm_add_policy(w, snp, 0x30000), IGVM_OK);
    assert_int_equal(igvm_add_platform(w, IGVM_NATIVE, 0, 0, &plain), IGVM_OK);
    assert_int_equal(igvm_add_platform(w, IGVM_VBS, 0, 0, &vbs), IGVM_OK);
    assert_int_equal(snp | plain | vbs, 7);
    assert_int_equal(igvm_add_area(w, IGVM_PAGE, "hello", 5, &area), IGVM_OK);
    assert_int_equal(igvm_add_area(w, IGVM_PAGE, NULL, 0, &other), IGVM_OK);
    assert_int_equal(other, area + 1);
    assert_int_equal(igvm_add_parameter(w, IGVM_T_VP_COUNT, area, 0), IGVM_OK);
    assert_int_equal(igvm_add_insert(w, 7, 0x200000, area), IGVM_OK);
    assert_int_equal(igvm_add_insert(w, 7, 0x201000, other), IGVM_OK);
    assert_int_equal(igvm_add_vp_context(w, snp, 0xfffffffff000, 0, vmsa, sizeof vmsa), IGVM_OK);
    assert_int_equal(igvm_add_vp_context(w, plain, 0, 0, native, sizeof native), IGVM_OK);
    assert_int_equal(igvm_add_vbs_context(w, vbs, &rip, 1), IGVM_OK);
    assert_int_equal(igvm_add_required_memory(w, 7, 0, UINT64_C(5) << 30, 0), IGVM_OK);
    assert_int_equal(igvm_add_pages(w, 7, 0x400000, NULL, 2 * IGVM_PAGE, IGVM_PAGE_UNMEASURED, IGVM_PAGE_NORMAL), IGVM_OK);
    size_t size;
    uint8_t *out = write_all(w, &size);
    igvm_file file;
    assert_int_equal(igvm_open(&file, out, size, IGVM_STRICT, NULL), IGVM_OK);
    /* one page of 0x5a shared by two, the end of the data, the area, two contexts, and a short one */
    assert_int_equal(size - file.headers_offset - file.headers_size, 5 * IGVM_PAGE + 36);
    igvm_writer_free(w);
    w = rebuild(&file);
    size_t again;
    uint8_t *second = write_all(w, &again);
    assert_int_equal(again, size);
    assert_memory_equal(second, out, size);
    free(second);
    free(out);
    igvm_writer_free(w);
}

static void test_a_file_always_has_data(void **state)
{
    (void)state;
    uint32_t mask;
    igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
    igvm_add_platform(w, IGVM_TDX, 0, 0, &mask);
    igvm_add_pages(w, mask, 0, NULL, IGVM_PAGE, 0, IGVM_PAGE_NORMAL);
    size_t size;
    uint8_t *out = write_all(w, &size);
    struct bytes b = read_igvm(dir, "vectors/tdx_zero_page");
    assert_int_equal(size, b.len);
    assert_memory_equal(out, b.p, size);
    free(out);
    free(b.p);
    igvm_writer_free(w);
}

/* Headers come and go; offsets follow. */
static void test_edited_copy(void **state)
{
    (void)state;
    struct bytes b = read_igvm(dir, "vectors/snp_aa_signed"), plain = read_igvm(dir, "vectors/snp_aa_page");
    igvm_file file;
    assert_int_equal(igvm_open(&file, b.p, b.len, 0, NULL), IGVM_OK);
    igvm_writer *w = igvm_writer_from(&file);
    assert_int_equal(igvm_writer_remove(w, IGVM_T_SNP_ID_BLOCK, 2), 0);
    assert_int_equal(igvm_writer_remove(w, IGVM_T_SNP_ID_BLOCK, 1), 1);
    assert_int_equal(igvm_writer_remove(w, 0x999, 1), 0);
    size_t size;
    uint8_t *out = write_all(w, &size);
    assert_int_equal(size, plain.len);
    assert_memory_equal(out, plain.p, size);
    free(out);
    uint8_t odd[3] = {1, 2, 3};
    assert_int_equal(igvm_writer_add_raw(w, 0x80000320, odd, 3), IGVM_OK);
    assert_int_equal(igvm_writer_add_raw(w, 0x80000f00, NULL, 0), IGVM_OK);
    uint32_t mask;
    assert_int_equal(igvm_add_platform(w, IGVM_TDX, 0, 0, &mask), IGVM_OK);
    assert_int_equal(mask, 2);
    uint8_t page[IGVM_PAGE] = {9};
    assert_int_equal(igvm_add_pages(w, mask, 0, page, sizeof page, 0, IGVM_PAGE_NORMAL), IGVM_OK);
    out = write_all(w, &size);
    igvm_file edited;
    assert_int_equal(igvm_open(&edited, out, size, IGVM_STRICT, NULL), IGVM_OK);
    igvm_header h;
    unsigned pages = 0;
    for (igvm_iter it = igvm_headers(&edited); igvm_next(&it, &h);) {
        uint64_t length;
        const uint8_t *p = igvm_payload(&edited, &h, &length);
        if (p)
            assert_int_equal(p[0], pages++ ? 9 : 0xaa);
    }
    assert_int_equal(pages, 2);
    free(out);
    igvm_writer_free(w);
    free(b.p);
    free(plain.p);
}

static igvm_code fails_with(igvm_writer *w)
{
    uint8_t out[8192];
    igvm_finding why;
    igvm_code code = igvm_writer_write(w, out, sizeof out, &why);
    assert_int_equal(why.code, code);
    igvm_writer_free(w);
    return code;
}

static igvm_writer *new_snp(void)
{
    uint32_t mask;
    igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
    igvm_add_platform(w, IGVM_SEV_SNP, 0, 0, &mask);
    return w;
}

static void test_bad_calls(void **state)
{
    (void)state;
    static uint8_t big[2 * IGVM_PAGE];
    assert_null(igvm_writer_new(3, 0));
    assert_null(igvm_writer_new(1, IGVM_ARCH_AARCH64));
    assert_null(igvm_writer_new(2, 2));
    assert_null(igvm_writer_from(NULL));
    igvm_writer_free(NULL);
    igvm_body page = {.type = IGVM_T_PAGE_DATA}, policy = {.type = IGVM_T_GUEST_POLICY}, none = {.type = 0x999};
    assert_int_equal(igvm_writer_add(NULL, &page, NULL, 0), IGVM_BAD_ARGUMENT);
    assert_int_equal(igvm_writer_add_raw(NULL, 1, NULL, 0), IGVM_BAD_ARGUMENT);
    assert_int_equal(igvm_writer_write(NULL, NULL, 0, NULL), IGVM_BAD_ARGUMENT);
    assert_int_equal(igvm_writer_remove(NULL, 1, 1), 0);
    igvm_writer *w = new_snp();
    assert_int_equal(igvm_writer_add(w, &page, big, sizeof big), IGVM_BAD_ARGUMENT); /* too much for a page */
    assert_int_equal(igvm_writer_add(w, &page, NULL, 0), IGVM_BAD_ARGUMENT);        /* the failure stays   */
    assert_int_equal(fails_with(w), IGVM_BAD_ARGUMENT);
    w = new_snp();
    assert_int_equal(igvm_writer_add(w, &policy, big, 1), IGVM_BAD_ARGUMENT); /* has no data */
    assert_int_equal(fails_with(w), IGVM_BAD_ARGUMENT);
    w = new_snp();
    assert_int_equal(igvm_writer_add(w, &none, NULL, 0), IGVM_BAD_ARGUMENT);
    assert_int_equal(fails_with(w), IGVM_BAD_ARGUMENT);
    w = new_snp();
    assert_int_equal(igvm_writer_add_raw(w, 5, NULL, 3), IGVM_BAD_ARGUMENT);
    assert_int_equal(fails_with(w), IGVM_BAD_ARGUMENT);
    w = new_snp();
    assert_int_equal(igvm_add_pages(w, 1, 1, big, 1, 0, 0), IGVM_BAD_ARGUMENT);
    assert_int_equal(fails_with(w), IGVM_BAD_ARGUMENT);
    w = new_snp();
    assert_int_equal(igvm_add_parameter(w, IGVM_T_PAGE_DATA, 0, 0), IGVM_BAD_ARGUMENT);
    assert_int_equal(igvm_add_vbs_context(w, 1, NULL, 0), IGVM_BAD_ARGUMENT);
    assert_int_equal(igvm_add_required_memory(w, 1, UINT64_MAX, 2, 0), IGVM_BAD_ARGUMENT);
    assert_int_equal(fails_with(w), IGVM_BAD_ARGUMENT);
    w = new_snp();
    igvm_add_pages(w, 1, 0x1000, big, sizeof big, 0, 9);
    assert_int_equal(fails_with(w), IGVM_BAD_PAGE_TYPE); /* what is written is checked */
    w = new_snp();
    memset(big, 7, sizeof big);
    for (int i = 0; i < 8; i++) {
        big[0] = (uint8_t)i;
        igvm_add_pages(w, 1, (uint64_t)i << 12, big, IGVM_PAGE, 0, 0);
    }
    assert_int_equal(fails_with(w), IGVM_TOO_LARGE); /* for the buffer */
    w = new_snp();
    uint32_t index;
    assert_int_equal(igvm_add_area(w, UINT64_C(1) << 40, "x", 1, &index), IGVM_BAD_ARGUMENT);
    assert_int_equal(igvm_add_platform(NULL, IGVM_TDX, 0, 0, &index), IGVM_BAD_ARGUMENT);
    assert_int_equal(igvm_add_platform(w, IGVM_TDX, 0, 0, NULL), IGVM_BAD_ARGUMENT);
    igvm_writer_free(w);
}

/* Many different pages: the table of stored data grows. */
static void test_many_pages(void **state)
{
    (void)state;
    igvm_writer *w = new_snp();
    uint8_t page[IGVM_PAGE] = {1};
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < 700; i++) {
            store_le32(page + 8, i);
            assert_int_equal(igvm_add_pages(w, 1, ((uint64_t)round << 32) + ((uint64_t)i << 12), page, sizeof page, 0, 0), IGVM_OK);
        }
    size_t size;
    uint8_t *out = write_all(w, &size);
    assert_int_equal(size, 24 + 24 + 1400 * 32 + 700 * IGVM_PAGE);
    free(out);
    igvm_writer_free(w);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_are_the_same), cmocka_unit_test(test_rebuilt_files_are_the_same), cmocka_unit_test(test_built_file),
        cmocka_unit_test(test_a_file_always_has_data), cmocka_unit_test(test_edited_copy), cmocka_unit_test(test_bad_calls), cmocka_unit_test(test_many_pages),
    };
    if (argc != 2)
        return 2;
    dir = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
