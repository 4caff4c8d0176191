/* SPDX-License-Identifier: MIT */
/* Measurement: test_measure DIR. Digests that other implementations gave, for the files and for small ones built here; loaders and their differences. */
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

#define KVM_GPA UINT64_C(0xfffffffff000)

static void assert_digest(const igvm_file *file, igvm_platform_type platform, igvm_loader loader, const char *want)
{
    igvm_measure_options options = {.platform = platform, .loader = loader, .crypto = igvm_openssl()};
    igvm_digest digest = {0};
    igvm_finding why = {0};
    char got[97] = "";
    if (igvm_measure(file, &options, &digest, &why))
        fail_msg("%s: %s", igvm_code_name(why.code), why.text);
    for (uint32_t i = 0; i < digest.bytes; i++)
        snprintf(got + 2 * i, 3, "%02x", digest.value[i]);
    assert_string_equal(got, want);
}

/* A file built in a test, opened. */
struct built {
    uint8_t *p;
    igvm_file file;
};

static struct built finish(igvm_writer *w)
{
    struct built b;
    igvm_finding why;
    size_t size = (size_t)igvm_writer_size(w);
    b.p = malloc(size);
    if (igvm_writer_write(w, b.p, size, &why) || igvm_open(&b.file, b.p, size, 0, &why))
        fail_msg("%s", why.text);
    igvm_writer_free(w);
    return b;
}

static igvm_writer *start(igvm_platform_type type)
{
    uint32_t mask;
    igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
    igvm_add_platform(w, type, 0, 0, &mask);
    assert_int_equal(mask, 1);
    if (type == IGVM_SEV_SNP)
        igvm_add_policy(w, 1, 0x30000);
    return w;
}

static void add_filled(igvm_writer *w, uint64_t gpa, int value)
{
    uint8_t page[IGVM_PAGE];
    memset(page, value, sizeof page);
    assert_int_equal(igvm_add_pages(w, 1, gpa, page, sizeof page, 0, IGVM_PAGE_NORMAL), IGVM_OK);
}

static void assert_built(igvm_writer *w, igvm_platform_type platform, igvm_loader loader, const char *want)
{
    struct built b = finish(w);
    assert_digest(&b.file, platform, loader, want);
    free(b.p);
}

/* One page of zeros. */
static igvm_writer *one_page(igvm_platform_type type, uint32_t flags, uint16_t data_type)
{
    igvm_writer *w = start(type);
    igvm_add_pages(w, 1, 0, NULL, IGVM_PAGE, flags, data_type);
    return w;
}

static void test_files(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        igvm_platform_type platform;
        igvm_loader loader;
        const char *digest;
    } rows[] = {
        {"snp_zero_page", IGVM_SEV_SNP, IGVM_LOADER_SPEC, "9d13634b6014bb21cf059b2dc694e7bff01a8a7137041100cd2b695f3d10fb687267b97808b27f8f471d943bc6f53a20"},
        {"snp_zero_page", IGVM_SEV_SNP, IGVM_LOADER_QEMU, "9d13634b6014bb21cf059b2dc694e7bff01a8a7137041100cd2b695f3d10fb687267b97808b27f8f471d943bc6f53a20"},
        {"snp_zero_page", IGVM_SEV_SNP, IGVM_LOADER_CH_KVM, "70c0ecaab9608f14ebf8ac6f0f07bcd8728f4e2ab30382b539b4de4de904ca9f8ebdf4b2cd3cd84dd996bd55dd794676"},
        {"snp_zero_page", IGVM_SEV_SNP, IGVM_LOADER_VANADIUM, "70c0ecaab9608f14ebf8ac6f0f07bcd8728f4e2ab30382b539b4de4de904ca9f8ebdf4b2cd3cd84dd996bd55dd794676"},
        {"snp_aa_page", IGVM_SEV_SNP, IGVM_LOADER_SPEC, "83f2b12dec4ffc7a903475c06f60c3a229e45e61ad87e4f775f0cc95cea53ade2911f84e1205ddfa14df9bf20bf3f0c3"},
        {"snp_aa_signed", IGVM_SEV_SNP, IGVM_LOADER_IGVMMEASURE, "83f2b12dec4ffc7a903475c06f60c3a229e45e61ad87e4f775f0cc95cea53ade2911f84e1205ddfa14df9bf20bf3f0c3"},
        {"snp_aa_page", IGVM_SEV_SNP, IGVM_LOADER_CH_MSHV, "83f2b12dec4ffc7a903475c06f60c3a229e45e61ad87e4f775f0cc95cea53ade2911f84e1205ddfa14df9bf20bf3f0c3"},
        {"tdx_zero_page", IGVM_TDX, IGVM_LOADER_SPEC, "236f0efa607ff8843f1855d7ef80dc3dda8fb455787a186b8787212951eab0096e3193bb26f817c2b63c21f5e10f9938"},
        {"vbs_zero_page", IGVM_VBS, IGVM_LOADER_SPEC, "128a556eb9836b87199e8e55107483c8280763deb5ecc8bae69ec717287840d2"},
        {"c_api_test_data", IGVM_VBS, IGVM_LOADER_SPEC, "eadeac0d646af12097d798c06aae26f37a484c04482e88be2b81ed266f3e2275"},
        {"multi_platform", IGVM_SEV_SNP, IGVM_LOADER_SPEC, "5f735c8e6480840d86b650f1fc8c5527733c4a973320bd7e7db046fcf4d52a93ed4d1edb4ecd37dd619d5603cf2c3943"},
        {"multi_platform", IGVM_SEV_SNP, IGVM_LOADER_QEMU, "5f735c8e6480840d86b650f1fc8c5527733c4a973320bd7e7db046fcf4d52a93ed4d1edb4ecd37dd619d5603cf2c3943"},
        {"multi_platform", IGVM_SEV_SNP, IGVM_LOADER_IGVMMEASURE, "5f735c8e6480840d86b650f1fc8c5527733c4a973320bd7e7db046fcf4d52a93ed4d1edb4ecd37dd619d5603cf2c3943"},
        {"multi_platform", IGVM_TDX, IGVM_LOADER_SPEC, "9fa9527e97d215df20d06f83a0a063f42a6580d0b93a32a94de87a669382f168a9eaa0324a8ede401c164b58ed933638"},
        {"multi_platform", IGVM_VBS, IGVM_LOADER_SPEC, "03998f17a6255c5318a0e1f12542eaf989254a73280537c854ca3fa77446099f"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char name[64];
        igvm_file file;
        snprintf(name, sizeof name, "vectors/%s", rows[i].name);
        struct bytes b = read_igvm(dir, name);
        assert_int_equal(igvm_open(&file, b.p, b.len, 0, NULL), IGVM_OK);
        assert_digest(&file, rows[i].platform, rows[i].loader, rows[i].digest);
        free(b.p);
    }
}

static void test_built_files(void **state)
{
    (void)state;
    static const uint8_t zeros[IGVM_PAGE];
    assert_built(one_page(IGVM_SEV_SNP, IGVM_PAGE_UNMEASURED, IGVM_PAGE_NORMAL), IGVM_SEV_SNP, IGVM_LOADER_SPEC,
        "ed501ced343b88df8d4f114dc336e76fa53d3ad6ef71dab22a38755569189d2844af45f162ec25b45beefc8ea308cba7");
    assert_built(one_page(IGVM_SEV_SNP, 0, IGVM_PAGE_SECRETS), IGVM_SEV_SNP, IGVM_LOADER_SPEC,
        "f82df3e24c5ee15432532f4ac74006616c0606cf256422a33889bc1bc9709ed7e687674f6e254181d44920ff5cd44645");
    assert_built(one_page(IGVM_SEV_SNP, 0, IGVM_PAGE_CPUID_DATA), IGVM_SEV_SNP, IGVM_LOADER_QEMU,
        "7c7f78c1edef2bf1d91e6280e5b94c2837f67eac4c440f3f93d1202baad801a889a777eda868ca6830d65a90a1655821");
    assert_built(one_page(IGVM_SEV_SNP, 0, IGVM_PAGE_CPUID_XF), IGVM_SEV_SNP, IGVM_LOADER_SPEC,
        "7c7f78c1edef2bf1d91e6280e5b94c2837f67eac4c440f3f93d1202baad801a889a777eda868ca6830d65a90a1655821");
    igvm_writer *w = start(IGVM_SEV_SNP);
    igvm_add_vp_context(w, 1, KVM_GPA, 0, zeros, sizeof zeros);
    assert_built(w, IGVM_SEV_SNP, IGVM_LOADER_QEMU, "f4577da9b848673216afc3909e5ea7aa80150dda441526874cd2b0282894709b46484c13a07221aefbedfff667199259");
    w = start(IGVM_SEV_SNP);
    igvm_add_vp_context(w, 1, 0x5000, 0, zeros, sizeof zeros); /* KVM puts it where it wants */
    assert_built(w, IGVM_SEV_SNP, IGVM_LOADER_CH_KVM, "f4577da9b848673216afc3909e5ea7aa80150dda441526874cd2b0282894709b46484c13a07221aefbedfff667199259");
    w = start(IGVM_SEV_SNP);
    add_filled(w, 0, 0xcc), add_filled(w, 0x1000, 0xdd);
    assert_built(w, IGVM_SEV_SNP, IGVM_LOADER_SPEC, "5987c91c61f0c2e8d7a6942ca46b56ba651572b8947956533d84c88cb7d98aaf7f638461e0d3e64a7110d769597540cd");
    assert_built(one_page(IGVM_TDX, IGVM_PAGE_UNMEASURED, IGVM_PAGE_NORMAL), IGVM_TDX, IGVM_LOADER_SPEC,
        "8f3e9a8aca6784eab874f7aa4dda5d49104a88047f1f86695ef2a88f5691a90e34aac48ce45ffa1f5a23c7d62980d570");
    w = start(IGVM_TDX);
    add_filled(w, 0, 0xee), add_filled(w, 0x1000, 0xff);
    assert_built(w, IGVM_TDX, IGVM_LOADER_SPEC, "d8585c0fe9f500f7ec21936be616a9ff16969a6a47e9483c9561b2e2fd9412bdcced56518174f17dc0a85326ff4b5aa8");
    w = start(IGVM_VBS);
    igvm_vbs_register rip = {0, 0x20010, {0, 0x10}};
    igvm_add_vbs_context(w, 1, &rip, 1); /* hashed behind the pages all the same */
    add_filled(w, 0, 0xaa), add_filled(w, 0x1000, 0xbb);
    assert_built(w, IGVM_VBS, IGVM_LOADER_SPEC, "aa9a1ac323dc94c90907328d2f60da581d543b071ff688e5b1e78a8a34ae469e");
}

/* A file in which all that loaders disagree on is to be found: made of `bits`. */
static struct built make_odd(igvm_platform_type type, unsigned bits)
{
    igvm_writer *w = start(type);
    uint32_t area, other, second = 0;
    uint8_t vmsa[IGVM_PAGE] = {1}, page[IGVM_PAGE];
    memset(page, 0x11, sizeof page);
    igvm_add_area(w, bits & 1 ? 0x3000 : 0x1000, NULL, 0, &area);
    igvm_add_area(w, 0x1000, NULL, 0, &other);
    if (bits & 2)
        igvm_add_vp_context(w, 1, bits & 4 ? 0x20000 : KVM_GPA, 0, vmsa, sizeof vmsa);
    add_filled(w, bits & 8 ? 0x9000 : 0, 0x22);
    if (bits & 16)
        igvm_add_insert(w, 1, 0x30000, area);
    add_filled(w, 0x1000, 0x33);
    if (bits & 32)
        igvm_add_pages(w, 1, 0x2000, NULL, 0x1000, 0, IGVM_PAGE_NORMAL);
    if (bits & 64)
        igvm_add_pages(w, 1, 0x4000, page, sizeof page, IGVM_PAGE_SHARED, IGVM_PAGE_NORMAL);
    if (bits & 128)
        igvm_add_pages(w, 1, 0x5000, page, sizeof page, IGVM_PAGE_UNMEASURED, IGVM_PAGE_NORMAL);
    if (bits & 256) {
        vmsa[0] = 2;
        store_le64(vmsa + 0x168, 0xffff0ff0), store_le64(vmsa + 0x160, 0x400), store_le64(vmsa + 0x268, 0x70106);
        igvm_add_vp_context(w, 1, KVM_GPA, 1, vmsa, sizeof vmsa);
    }
    if (bits & 512) {
        igvm_add_platform(w, type == IGVM_SEV_ES ? IGVM_SEV_SNP : IGVM_SEV_ES, 0, 0, &second);
        igvm_add_vp_context(w, second, KVM_GPA, 0, vmsa, sizeof vmsa);
    }
    return finish(w);
}

static int count_differences(void *context, const igvm_difference *d)
{
    ++*(unsigned *)context;
    assert_true(d->count > 0 && strlen(d->text) > 20 && strlen(d->text) < sizeof d->text - 1);
    return 0;
}

/* Two loaders differ where, and only where, differences are told. */
static void test_differences_explain_digests(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 1024; bits += 1 + bits % 3) {
        struct built f = make_odd(IGVM_SEV_SNP, bits);
        igvm_digest digests[IGVM_LOADERS];
        for (int a = 0; a < IGVM_LOADERS; a++) {
            igvm_measure_options options = {.platform = IGVM_SEV_SNP, .loader = (igvm_loader)a, .crypto = igvm_openssl()};
            assert_int_equal(igvm_measure(&f.file, &options, &digests[a], NULL), IGVM_OK);
            for (int b = 0; b < a; b++) {
                unsigned count = 0;
                assert_int_equal(igvm_loader_differences(&f.file, IGVM_SEV_SNP, (igvm_loader)a, (igvm_loader)b, count_differences, &count, NULL), IGVM_OK);
                bool differ = memcmp(digests[a].value, digests[b].value, 48) != 0;
                if (differ != (count > 0))
                    fail_msg("bits %x, %s and %s: digests %s, %u differences", bits, igvm_loader_name((igvm_loader)a), igvm_loader_name((igvm_loader)b),
                        differ ? "differ" : "are equal", count);
            }
        }
        free(f.p);
    }
}

static int keep_text(void *context, const igvm_difference *d)
{
    strcat(context, d->text);
    strcat(context, "\n");
    return 0;
}

static void test_differences_are_sentences(void **state)
{
    (void)state;
    char text[2048] = "";
    struct built f = make_odd(IGVM_SEV_SNP, 32);
    assert_int_equal(igvm_loader_differences(&f.file, IGVM_SEV_SNP, IGVM_LOADER_SPEC, IGVM_LOADER_CH_KVM, keep_text, text, NULL), IGVM_OK);
    assert_string_equal(text, "pages without data: spec measures them as pages of zeros (type 1), cloud-hypervisor-kvm by their own page type (3)\n");
    free(f.p);
    text[0] = '\0';
    f = make_odd(IGVM_SEV_SNP, 16);
    assert_int_equal(igvm_loader_differences(&f.file, IGVM_SEV_SNP, IGVM_LOADER_QEMU, IGVM_LOADER_SPEC, keep_text, text, NULL), IGVM_OK);
    assert_non_null(strstr(text, "order: qemu imports a run of pages only when the next begins"));
    free(f.p);
}

/* SEV and SEV-ES, against the bytes hashed here. */
static void test_sev(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 512; bits += 7) {
        struct built f = make_odd(IGVM_SEV_ES, bits & ~512u);
        igvm_digest digests[3];
        const igvm_loader loaders[] = {IGVM_LOADER_SPEC, IGVM_LOADER_QEMU, IGVM_LOADER_IGVMMEASURE};
        for (int a = 0; a < 3; a++) {
            igvm_measure_options options = {.platform = IGVM_SEV_ES, .loader = loaders[a], .crypto = igvm_openssl()};
            assert_int_equal(igvm_measure(&f.file, &options, &digests[a], NULL), IGVM_OK);
            assert_int_equal(digests[a].bytes, 32);
            unsigned count = 0;
            igvm_loader_differences(&f.file, IGVM_SEV_ES, loaders[a], loaders[0], count_differences, &count, NULL);
            assert_int_equal(count > 0, memcmp(digests[a].value, digests[0].value, 32) != 0);
        }
        free(f.p);
    }
    /* SHA-256 of 4096 bytes 0x22, then 0x33, by sha256sum */
    igvm_writer *w = start(IGVM_SEV);
    add_filled(w, 0, 0x22), add_filled(w, 0x1000, 0x33);
    struct built f = finish(w);
    uint8_t want[32], page[IGVM_PAGE];
    const igvm_crypto *crypto = igvm_openssl();
    void *hash = crypto->hash_new(IGVM_SHA256);
    crypto->hash_begin(hash);
    memset(page, 0x22, sizeof page), crypto->hash_add(hash, page, sizeof page);
    memset(page, 0x33, sizeof page), crypto->hash_add(hash, page, sizeof page);
    crypto->hash_end(hash, want);
    crypto->hash_free(hash);
    igvm_measure_options options = {.platform = IGVM_SEV, .loader = IGVM_LOADER_QEMU, .crypto = crypto};
    igvm_digest digest;
    assert_int_equal(igvm_measure(&f.file, &options, &digest, NULL), IGVM_OK);
    assert_memory_equal(digest.value, want, 32);
    free(f.p);
}

struct steps {
    unsigned count;
    igvm_step last;
    uint8_t digest[48];
};

static int keep_step(void *context, const igvm_step *step)
{
    struct steps *s = context;
    s->count++;
    s->last = *step;
    if (step->digest)
        memcpy(s->digest, step->digest->value, 48);
    return s->count == 100;
}

static void test_steps(void **state)
{
    (void)state;
    struct bytes b = read_igvm(dir, "vectors/multi_platform");
    igvm_file file;
    assert_int_equal(igvm_open(&file, b.p, b.len, 0, NULL), IGVM_OK);
    static const unsigned counts[] = {[IGVM_SEV_SNP] = 3, [IGVM_TDX] = 2, [IGVM_VBS] = 3};
    for (int p = IGVM_VBS; p <= IGVM_TDX; p++) {
        struct steps s = {0};
        igvm_measure_options options = {.platform = (igvm_platform_type)p, .crypto = igvm_openssl(), .step = keep_step, .context = &s};
        igvm_digest digest;
        assert_int_equal(igvm_measure(&file, &options, &digest, NULL), IGVM_OK);
        assert_int_equal(s.count, counts[p]);
        if (p != IGVM_TDX)
            assert_memory_equal(s.digest, digest.value, digest.bytes);
        s.count = 99;
        assert_int_equal(igvm_measure(&file, &options, &digest, NULL), IGVM_UNSUPPORTED);
    }
    free(b.p);
}

static int hash_fails(void *hash)
{
    (void)hash;
    return 1;
}

static void *no_hash(int algorithm)
{
    (void)algorithm;
    return NULL;
}

static int begins(void *hash)
{
    (void)hash;
    return 0;
}

static int adding_fails(void *hash, const void *p, size_t n)
{
    (void)hash, (void)p, (void)n;
    return 1;
}

static void test_refusals(void **state)
{
    (void)state;
    struct bytes b = read_igvm(dir, "vectors/snp_aa_page");
    igvm_file file;
    igvm_digest digest;
    igvm_finding why;
    assert_int_equal(igvm_open(&file, b.p, b.len, 0, NULL), IGVM_OK);
    igvm_crypto crypto = *igvm_openssl();
    igvm_measure_options o = {.platform = IGVM_TDX, .crypto = &crypto};
    assert_int_equal(igvm_measure(&file, &o, &digest, &why), IGVM_NO_SUCH_PLATFORM);
    assert_string_equal(why.text, "the file has no header for TDX");
    o.loader = IGVM_LOADER_QEMU;
    assert_int_equal(igvm_measure(&file, &o, &digest, &why), IGVM_UNSUPPORTED);
    o.platform = IGVM_NATIVE;
    assert_int_equal(igvm_measure(&file, &o, &digest, &why), IGVM_UNSUPPORTED);
    o.platform = (igvm_platform_type)99;
    assert_int_equal(igvm_measure(&file, &o, &digest, &why), IGVM_BAD_ARGUMENT);
    o = (igvm_measure_options){.platform = IGVM_SEV_SNP, .loader = IGVM_LOADERS, .crypto = &crypto};
    assert_int_equal(igvm_measure(&file, &o, &digest, &why), IGVM_BAD_ARGUMENT);
    assert_int_equal(igvm_measure(NULL, &o, &digest, NULL), IGVM_BAD_ARGUMENT);
    o.loader = IGVM_LOADER_QEMU;
    o.vcpus = 2; /* the file has no context at all */
    assert_int_equal(igvm_measure(&file, &o, &digest, &why), IGVM_UNSUPPORTED);
    o.vcpus = 0;
    crypto.hash_begin = hash_fails;
    assert_int_equal(igvm_measure(&file, &o, &digest, &why), IGVM_CRYPTO);
    crypto.hash_begin = begins;
    crypto.hash_add = adding_fails;
    assert_int_equal(igvm_measure(&file, &o, &digest, &why), IGVM_CRYPTO);
    crypto.hash_new = no_hash;
    assert_int_equal(igvm_measure(&file, &o, &digest, &why), IGVM_NO_MEMORY);
    assert_int_equal(igvm_loader_differences(&file, IGVM_SEV_SNP, IGVM_LOADER_SPEC, IGVM_LOADERS, keep_text, NULL, &why), IGVM_BAD_ARGUMENT);
    assert_int_equal(igvm_loader_differences(NULL, IGVM_SEV_SNP, IGVM_LOADER_SPEC, IGVM_LOADER_QEMU, keep_text, NULL, &why), IGVM_BAD_ARGUMENT);
    free(b.p);
    struct built f = finish(one_page(IGVM_VBS, 0, IGVM_PAGE_SECRETS));
    o = (igvm_measure_options){.platform = IGVM_VBS, .crypto = igvm_openssl()};
    assert_int_equal(igvm_measure(&f.file, &o, &digest, &why), IGVM_UNSUPPORTED);
    assert_int_equal(why.index, 1);
    free(f.p);
}

static int adds(void *hash, const void *p, size_t n)
{
    (void)hash, (void)p, (void)n;
    return 0;
}

/* Headers of 32 bytes that stand for 2 MiB each do not keep anybody busy for ever. */
static void test_limit(void **state)
{
    (void)state;
    igvm_writer *w = start(IGVM_SEV);
    igvm_body body = {.type = IGVM_T_PAGE_DATA};
    for (uint64_t i = 0; i <= IGVM_MEASURE_PAGES_MAX / 512; i++) {
        body.u.page_data = (igvm_page_data){i * IGVM_PAGE_2MB, 1, 0, IGVM_PAGE_IS_2MB, 0, 0};
        assert_int_equal(igvm_writer_add(w, &body, NULL, 0), IGVM_OK);
    }
    struct built f = finish(w);
    igvm_crypto crypto = *igvm_openssl();
    crypto.hash_add = adds; /* or it would take minutes */
    igvm_measure_options o = {.platform = IGVM_SEV, .crypto = &crypto};
    igvm_digest digest;
    igvm_finding why;
    assert_int_equal(igvm_measure(&f.file, &o, &digest, &why), IGVM_TOO_LARGE);
    assert_int_equal(why.index, IGVM_MEASURE_PAGES_MAX / 512 + 1);
    free(f.p);
}

/* The number of vCPUs chooses among the contexts. */
static void test_vcpus(void **state)
{
    (void)state;
    struct built f = make_odd(IGVM_SEV_SNP, 2 | 256);
    igvm_measure_options o = {.platform = IGVM_SEV_SNP, .loader = IGVM_LOADER_QEMU, .crypto = igvm_openssl()};
    igvm_digest all, one, two;
    assert_int_equal(igvm_measure(&f.file, &o, &all, NULL), IGVM_OK);
    o.vcpus = 1;
    assert_int_equal(igvm_measure(&f.file, &o, &one, NULL), IGVM_OK);
    o.vcpus = 2;
    assert_int_equal(igvm_measure(&f.file, &o, &two, NULL), IGVM_OK);
    assert_memory_equal(all.value, two.value, 48);
    assert_memory_not_equal(all.value, one.value, 48);
    o.vcpus = 3;
    assert_int_equal(igvm_measure(&f.file, &o, &two, NULL), IGVM_UNSUPPORTED);
    free(f.p);
}

/* A 2 MiB page is 512 pages; an error range is measured on VBS alone. */
static void test_big_pages_and_error_ranges(void **state)
{
    (void)state;
    igvm_digest a, b;
    igvm_measure_options o = {.platform = IGVM_SEV_SNP, .crypto = igvm_openssl()};
    igvm_writer *w = start(IGVM_SEV_SNP);
    igvm_body body = {.type = IGVM_T_PAGE_DATA};
    body.u.page_data = (igvm_page_data){0x200000, 1, 0, IGVM_PAGE_IS_2MB, 0, 0};
    igvm_writer_add(w, &body, NULL, 0);
    struct built f = finish(w);
    assert_int_equal(igvm_measure(&f.file, &o, &a, NULL), IGVM_OK);
    free(f.p);
    w = start(IGVM_SEV_SNP);
    igvm_add_pages(w, 1, 0x200000, NULL, IGVM_PAGE_2MB, 0, 0);
    f = finish(w);
    assert_int_equal(igvm_measure(&f.file, &o, &b, NULL), IGVM_OK);
    assert_memory_equal(a.value, b.value, 48);
    free(f.p);
    for (int with = 0; with < 2; with++) {
        w = one_page(IGVM_VBS, 0, 0);
        body = (igvm_body){.type = IGVM_T_ERROR_RANGE};
        body.u.error_range = (igvm_error_range){0x5000, 1, 0x2000};
        if (with)
            igvm_writer_add(w, &body, NULL, 0);
        f = finish(w);
        struct steps s = {0};
        o = (igvm_measure_options){.platform = IGVM_VBS, .crypto = igvm_openssl(), .step = keep_step, .context = &s};
        assert_int_equal(igvm_measure(&f.file, &o, with ? &b : &a, NULL), IGVM_OK);
        assert_int_equal(s.count, with ? 3 : 1);
        free(f.p);
    }
    assert_memory_not_equal(a.value, b.value, 32);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files), cmocka_unit_test(test_built_files), cmocka_unit_test(test_differences_explain_digests),
        cmocka_unit_test(test_differences_are_sentences), cmocka_unit_test(test_sev), cmocka_unit_test(test_steps), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_vcpus), cmocka_unit_test(test_limit), cmocka_unit_test(test_big_pages_and_error_ranges),
    };
    if (argc != 2)
        return 2;
    dir = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
