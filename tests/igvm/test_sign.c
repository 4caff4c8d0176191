/* SPDX-License-Identifier: MIT */
/* Signing: test_sign DIR. The signed vector byte for byte, keys in every form, and signatures that are checked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "igvm.h"
#include "files.h"
#include "keys.h"

static const char *dir;

static igvm_key *key_of(const char *pem, const char *passphrase)
{
    igvm_key *key = NULL;
    igvm_finding why = {0};
    if (igvm_openssl_key(pem, strlen(pem), passphrase, &key, &why))
        fail_msg("%s", why.text);
    return key;
}

static void hex(char *out, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", p[i]);
}

static igvm_code sign(const struct bytes *in, const igvm_sign_options *o, struct bytes *out, igvm_finding *why)
{
    igvm_file file;
    igvm_writer *w;
    assert_int_equal(igvm_open(&file, in->p, in->len, 0, NULL), IGVM_OK);
    igvm_code code = igvm_sign(&file, o, &w, why);
    if (code)
        return code;
    out->len = (size_t)igvm_writer_size(w);
    out->p = malloc(out->len);
    code = igvm_writer_write(w, out->p, out->len, why);
    igvm_writer_free(w);
    return code;
}

static void test_signed_vector(void **state)
{
    (void)state;
    struct bytes plain = read_igvm(dir, "vectors/snp_aa_page"), want = read_igvm(dir, "vectors/snp_aa_signed"), got;
    igvm_sign_options o = {.crypto = igvm_openssl(), .id_key = key_of(id_pem, NULL), .author_key = key_of(author_pem, NULL)};
    igvm_finding why;
    assert_int_equal(sign(&plain, &o, &got, &why), IGVM_OK);
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.p, want.p, want.len);
    free(got.p);
    /* signing what is signed: refused, or replaced by the same */
    assert_int_equal(sign(&want, &o, &got, &why), IGVM_DUP_ID_BLOCK);
    o.replace = true;
    assert_int_equal(sign(&want, &o, &got, &why), IGVM_OK);
    assert_memory_equal(got.p, want.p, want.len);
    free(got.p);
    igvm_openssl_key_free((igvm_key *)o.id_key);
    igvm_openssl_key_free((igvm_key *)o.author_key);
    free(plain.p);
    free(want.p);
}

/* The values that go with the vector. */
static void test_payload_and_key_digest(void **state)
{
    (void)state;
    struct bytes b = read_igvm(dir, "vectors/snp_aa_signed");
    igvm_file file;
    igvm_header h;
    igvm_body body = {0};
    assert_int_equal(igvm_open(&file, b.p, b.len, 0, NULL), IGVM_OK);
    for (igvm_iter it = igvm_headers(&file); igvm_next(&it, &h);)
        igvm_decode(&h, &body);
    assert_int_equal(body.type, IGVM_T_SNP_ID_BLOCK);
    uint8_t payload[96], blob[0x404], digest[48];
    char text[97];
    const igvm_crypto *crypto = igvm_openssl();
    void *hash = crypto->hash_new(IGVM_SHA384);
    igvm_id_block_payload(&body.u.id_block, 0x30000, payload);
    assert_int_equal(crypto->hash_begin(hash) | crypto->hash_add(hash, payload, 96) | crypto->hash_end(hash, digest), 0);
    hex(text, digest, 48);
    assert_string_equal(text, "b5ea340b651e71c0dbd14c797bd83d0d1cf14f15b49f36da6afffeed74ee744ab825b091d67e3ceebad0b24f3d7e72ee");
    igvm_id_key_blob(body.u.id_block.id_key, blob);
    assert_int_equal(crypto->hash_begin(hash) | crypto->hash_add(hash, blob, sizeof blob) | crypto->hash_end(hash, digest), 0);
    hex(text, digest, 48);
    assert_string_equal(text, "c82b87995cee050c98271728955809072da07aa8d48252f4a9b85e208d9487a659defd62868a10a46c0252fa230a3452");
    crypto->hash_free(hash);
    free(b.p);
}

/* RFC 6979, A.2.6: P-384 with SHA-384. */
static void test_rfc_6979(void **state)
{
    (void)state;
    static const struct {
        const char *message, *r, *s;
    } rows[] = {
        {"sample", "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c81a648152e44acf96e36dd1e80fabe46",
            "99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8"},
        {"test", "8203b63d3c853e8d77227fb377bcf7b7b772e97892a80f36ab775d509d7a5feb0542a7f0812998da8f1dd3ca3cf023db",
            "ddd0760448d42d8a43af45af836fce4de8be06b485e9b61b827c2f13173923e06a739f040649a667bf3b828246baa5a5"},
    };
    const igvm_crypto *crypto = igvm_openssl();
    igvm_key *key = key_of(id_pem, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t digest[48], r[48], s[48], x[48], y[48];
        char text[97];
        void *hash = crypto->hash_new(IGVM_SHA384);
        assert_int_equal(crypto->hash_begin(hash) | crypto->hash_add(hash, rows[i].message, strlen(rows[i].message)) | crypto->hash_end(hash, digest), 0);
        crypto->hash_free(hash);
        assert_int_equal(crypto->key_sign(key, digest, r, s), 0);
        hex(text, r, 48);
        assert_string_equal(text, rows[i].r);
        hex(text, s, 48);
        assert_string_equal(text, rows[i].s);
        assert_int_equal(crypto->key_public(key, x, y), 0);
        assert_int_equal(crypto->verify(x, y, digest, r, s), 0);
        digest[0] ^= 1;
        assert_int_not_equal(crypto->verify(x, y, digest, r, s), 0);
        digest[0] ^= 1;
        memset(r, 0, 48);
        assert_int_not_equal(crypto->verify(x, y, digest, r, s), 0);
        memset(r, 0xff, 48);
        assert_int_not_equal(crypto->verify(x, y, digest, r, s), 0);
        x[0] ^= 1; /* not on the curve */
        assert_int_not_equal(crypto->verify(x, y, digest, s, s), 0);
    }
    igvm_openssl_key_free(key);
    igvm_openssl_key_free(NULL);
}

/* All forms of a key are the same key. */
static void test_key_forms(void **state)
{
    (void)state;
    uint8_t x[48], y[48], x2[48], y2[48];
    const igvm_crypto *crypto = igvm_openssl();
    igvm_key *first = key_of(author_pem, NULL);
    crypto->key_public(first, x, y);
    igvm_key *others[] = {key_of(author_pkcs8, NULL), key_of(author_encrypted, "sesame"), key_of(author_pem, "not needed")};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        crypto->key_public(others[i], x2, y2);
        assert_memory_equal(x, x2, 48);
        assert_memory_equal(y, y2, 48);
        igvm_openssl_key_free(others[i]);
    }
    igvm_openssl_key_free(first);
}

static void test_bad_keys(void **state)
{
    (void)state;
    igvm_key *key = NULL;
    igvm_finding why;
    char endless[400];
    memset(endless, 'x', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    assert_int_equal(igvm_openssl_key(author_encrypted, strlen(author_encrypted), NULL, &key, &why), IGVM_CRYPTO);
    assert_int_equal(igvm_openssl_key(author_encrypted, strlen(author_encrypted), "open", &key, &why), IGVM_CRYPTO);
    assert_int_equal(igvm_openssl_key(author_encrypted, strlen(author_encrypted), endless, &key, &why), IGVM_BAD_ARGUMENT);
    assert_int_equal(igvm_openssl_key(p256_pem, strlen(p256_pem), NULL, &key, &why), IGVM_CRYPTO);
    assert_non_null(strstr(why.text, "P-384"));
    assert_int_equal(igvm_openssl_key("hello", 5, NULL, &key, &why), IGVM_CRYPTO);
    assert_int_equal(igvm_openssl_key(NULL, 0, NULL, &key, &why), IGVM_CRYPTO);
    assert_int_equal(igvm_openssl_key(NULL, 5, NULL, &key, &why), IGVM_BAD_ARGUMENT);
    assert_int_equal(igvm_openssl_key(id_pem, strlen(id_pem), NULL, NULL, NULL), IGVM_BAD_ARGUMENT);
    assert_int_equal(igvm_openssl_key(id_pem, 40, NULL, &key, NULL), IGVM_CRYPTO);
    assert_null(key);
}

static igvm_code verify(struct bytes *b)
{
    uint32_t start = load_le32(b->p + 8);
    store_le32(b->p + 0x14, 0);
    store_le32(b->p + 0x14, igvm_crc32(igvm_crc32(0, b->p, 24), b->p + start, load_le32(b->p + 0xc)));
    return igvm_verify(b->p, b->len, 0, igvm_openssl(), NULL, NULL);
}

/* With crypto, verify sees what no header says. */
static void test_verify_with_crypto(void **state)
{
    (void)state;
    struct bytes b = read_igvm(dir, "vectors/snp_aa_signed");
    enum { BLOCK = 0x68 + 8 };
    assert_int_equal(verify(&b), IGVM_OK);
    b.p[b.len - 1] ^= 1; /* the page: no checksum covers it */
    assert_int_equal(verify(&b), IGVM_ID_LD_MISMATCH);
    b.p[b.len - 1] ^= 1;
    b.p[BLOCK + 0x68] ^= 1;
    assert_int_equal(verify(&b), IGVM_ID_SIGNATURE);
    b.p[BLOCK + 0x68] ^= 1;
    b.p[BLOCK + 0x190] ^= 1;
    assert_int_equal(verify(&b), IGVM_ID_SIGNATURE);
    b.p[BLOCK + 0x190] ^= 1;
    b.p[BLOCK + 0xf8] = 1; /* another curve */
    assert_int_equal(verify(&b), IGVM_ID_SIGNATURE);
    free(b.p);
    b = read_igvm(dir, "malformed/111_idblock_wrong_ld");
    assert_int_equal(verify(&b), IGVM_ID_LD_MISMATCH);
    free(b.p);
    b = read_igvm(dir, "malformed/110_idblock_author_flag_no_key");
    assert_int_equal(verify(&b), IGVM_ID_AUTHOR);
    free(b.p);
}

/* Each loader's digest in the block, without an author key, and other fields. */
static void test_options(void **state)
{
    (void)state;
    struct bytes plain = read_igvm(dir, "vectors/snp_zero_page"), got;
    igvm_sign_options o = {.crypto = igvm_openssl(), .id_key = key_of(id_pem, NULL), .loader = IGVM_LOADER_CH_KVM, .family_id = {1}, .image_id = {2},
        .version = 3, .guest_svn = 4, .author_key_algorithm = 1};
    igvm_finding why;
    assert_int_equal(sign(&plain, &o, &got, &why), IGVM_OK);
    assert_int_equal(verify(&got), IGVM_OK);
    igvm_file file;
    igvm_header h;
    igvm_body body = {0};
    igvm_open(&file, got.p, got.len, IGVM_STRICT, NULL);
    for (igvm_iter it = igvm_headers(&file); igvm_next(&it, &h);)
        igvm_decode(&h, &body);
    const igvm_snp_id_block *b = &body.u.id_block;
    assert_int_equal(b->ld[0], 0x70);
    assert_int_equal(b->family_id[0] + b->image_id[0] * 16 + (int)b->version * 256 + (int)b->guest_svn * 4096, 0x4321);
    assert_int_equal(b->author_key_enabled, 0);
    assert_int_equal(b->author_key_algorithm, 1);
    free(got.p);
    free(plain.p);
    plain = read_igvm(dir, "vectors/tdx_zero_page");
    assert_int_equal(sign(&plain, &o, &got, &why), IGVM_NO_SUCH_PLATFORM);
    free(plain.p);
    o.vcpus = 4;
    plain = read_igvm(dir, "vectors/multi_platform");
    assert_int_equal(sign(&plain, &o, &got, &why), IGVM_UNSUPPORTED);
    free(plain.p);
    igvm_openssl_key_free((igvm_key *)o.id_key);
    assert_int_equal(igvm_sign(NULL, &o, NULL, &why), IGVM_BAD_ARGUMENT);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signed_vector), cmocka_unit_test(test_payload_and_key_digest), cmocka_unit_test(test_rfc_6979), cmocka_unit_test(test_key_forms),
        cmocka_unit_test(test_bad_keys), cmocka_unit_test(test_verify_with_crypto), cmocka_unit_test(test_options),
    };
    if (argc != 2)
        return 2;
    dir = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
