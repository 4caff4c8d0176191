/* SPDX-License-Identifier: MIT */
/* libigvm-openssl: hashes and ECDSA on P-384 by OpenSSL 3.
 *
 * OpenSSL before 3.2 has no deterministic signatures, so the nonce is made here as RFC 6979 says (3.2, with HMAC-SHA-384) and the signature
 * from it by OpenSSL's numbers and curve. What is secret: the private key and the nonce; both live in numbers marked for constant-time
 * arithmetic and are wiped.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/obj_mac.h>
#include <openssl/pem.h>

#include "igvm.h"

enum { SIZE = 48 }; /* bytes of a number of P-384, and of a SHA-384 digest */

struct igvm_key {
    BIGNUM *secret;
    uint8_t x[SIZE], y[SIZE];
};

/* ---- hashes ------------------------------------------------------------------------------------------------------------------------------- */

struct hash {
    EVP_MD_CTX *context;
    EVP_MD *algorithm;
};

static void hash_free(void *hash)
{
    struct hash *h = hash;
    if (!h)
        return;
    EVP_MD_CTX_free(h->context);
    EVP_MD_free(h->algorithm);
    free(h);
}

static void *hash_new(int algorithm)
{
    struct hash *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->context = EVP_MD_CTX_new();
    h->algorithm = EVP_MD_fetch(NULL, algorithm == IGVM_SHA256 ? "SHA256" : "SHA384", NULL);
    if (h->context && h->algorithm)
        return h;
    hash_free(h);
    return NULL;
}

static int hash_begin(void *hash)
{
    struct hash *h = hash;
    return EVP_DigestInit_ex(h->context, h->algorithm, NULL) != 1;
}

static int hash_add(void *hash, const void *data, size_t length)
{
    return EVP_DigestUpdate(((struct hash *)hash)->context, data, length) != 1;
}

static int hash_end(void *hash, uint8_t *digest)
{
    return EVP_DigestFinal_ex(((struct hash *)hash)->context, digest, NULL) != 1;
}

/* ---- numbers and the curve ---------------------------------------------------------------------------------------------------------------- */

/* What a signature works with. All but the group and its order come from `numbers`. */
struct curve {
    EC_GROUP *group;
    const BIGNUM *order;
    BN_CTX *numbers;
    EC_POINT *point;
};

static void curve_close(struct curve *c)
{
    EC_POINT_free(c->point);
    EC_GROUP_free(c->group);
    BN_CTX_free(c->numbers);
}

static bool curve_open(struct curve *c)
{
    c->group = EC_GROUP_new_by_curve_name(NID_secp384r1);
    c->numbers = BN_CTX_secure_new();
    c->point = c->group ? EC_POINT_new(c->group) : NULL;
    c->order = c->group ? EC_GROUP_get0_order(c->group) : NULL;
    if (c->order && c->numbers && c->point)
        return true;
    curve_close(c);
    return false;
}

/* ---- RFC 6979 ----------------------------------------------------------------------------------------------------------------------------- */

/* key and v of section 3.2, and how many bytes were made. */
struct nonces {
    uint8_t key[SIZE], v[SIZE];
};

/* key = HMAC(key, v || mark || seed), v = HMAC(key, v); steps d to g, and h.3 without a seed. */
static bool nonces_stir(struct nonces *n, uint8_t mark, const uint8_t *seed, size_t length)
{
    uint8_t message[SIZE + 1 + 2 * SIZE];
    memcpy(message, n->v, SIZE);
    message[SIZE] = mark;
    if (length)
        memcpy(message + SIZE + 1, seed, length);
    bool good = HMAC(EVP_sha384(), n->key, SIZE, message, SIZE + 1 + length, n->key, NULL) != NULL &&
        HMAC(EVP_sha384(), n->key, SIZE, n->v, SIZE, n->v, NULL) != NULL;
    OPENSSL_cleanse(message, sizeof message);
    return good;
}

/* Steps a to g. The order has as many bits as the hash, so bits2octets is one subtraction at most. */
static bool nonces_begin(struct nonces *n, const BIGNUM *secret, const BIGNUM *message)
{
    uint8_t seed[2 * SIZE];
    memset(n->key, 0, SIZE);
    memset(n->v, 1, SIZE);
    bool good = BN_bn2binpad(secret, seed, SIZE) == SIZE && BN_bn2binpad(message, seed + SIZE, SIZE) == SIZE &&
        nonces_stir(n, 0, seed, sizeof seed) && nonces_stir(n, 1, seed, sizeof seed);
    OPENSSL_cleanse(seed, sizeof seed);
    return good;
}

/* Step h: the next candidate; false on failure. It may be 0 or too large: then the caller stirs and asks again. */
static bool nonces_next(struct nonces *n, BIGNUM *out)
{
    return HMAC(EVP_sha384(), n->key, SIZE, n->v, SIZE, n->v, NULL) != NULL && BN_bin2bn(n->v, SIZE, out) != NULL;
}

/* ---- ECDSA -------------------------------------------------------------------------------------------------------------------------------- */

/* r and s for this nonce. 1: done; 0: another nonce is needed; -1: failure. */
static int sign_with(struct curve *c, const BIGNUM *secret, const BIGNUM *e, BIGNUM *nonce, BIGNUM *r, BIGNUM *s)
{
    BN_CTX_start(c->numbers);
    BIGNUM *x = BN_CTX_get(c->numbers), *inverse = BN_CTX_get(c->numbers);
    int result = -1;
    BN_set_flags(nonce, BN_FLG_CONSTTIME);
    if (inverse && EC_POINT_mul(c->group, c->point, nonce, NULL, NULL, c->numbers) && EC_POINT_get_affine_coordinates(c->group, c->point, x, NULL, c->numbers) &&
        BN_nnmod(r, x, c->order, c->numbers) && BN_mod_inverse(inverse, nonce, c->order, c->numbers) &&
        BN_mod_mul(s, r, secret, c->order, c->numbers) && BN_mod_add(s, s, e, c->order, c->numbers) && BN_mod_mul(s, s, inverse, c->order, c->numbers))
        result = !BN_is_zero(r) && !BN_is_zero(s);
    if (inverse)
        BN_clear(inverse);
    BN_CTX_end(c->numbers);
    return result;
}

static bool sign_digest(struct curve *c, const BIGNUM *secret, const uint8_t *digest, BIGNUM *r, BIGNUM *s)
{
    struct nonces nonces;
    BIGNUM *e = BN_CTX_get(c->numbers), *nonce = BN_CTX_get(c->numbers);
    int result = nonce && BN_bin2bn(digest, SIZE, e) && BN_nnmod(e, e, c->order, c->numbers) && nonces_begin(&nonces, secret, e) ? 0 : -1;
    while (result == 0) {
        if (!nonces_next(&nonces, nonce))
            result = -1;
        else if (!BN_is_zero(nonce) && BN_cmp(nonce, c->order) < 0)
            result = sign_with(c, secret, e, nonce, r, s);
        if (result == 0 && !nonces_stir(&nonces, 0, NULL, 0))
            result = -1;
    }
    OPENSSL_cleanse(&nonces, sizeof nonces);
    if (nonce)
        BN_clear(nonce);
    return result == 1;
}

static int key_sign(const igvm_key *key, const uint8_t digest[SIZE], uint8_t r[SIZE], uint8_t s[SIZE])
{
    struct curve c;
    if (!curve_open(&c))
        return -1;
    BN_CTX_start(c.numbers);
    BIGNUM *rn = BN_CTX_get(c.numbers), *sn = BN_CTX_get(c.numbers);
    bool good = sn && sign_digest(&c, key->secret, digest, rn, sn) && BN_bn2binpad(rn, r, SIZE) == SIZE && BN_bn2binpad(sn, s, SIZE) == SIZE;
    BN_CTX_end(c.numbers);
    curve_close(&c);
    return good ? 0 : -1;
}

static int key_public(const igvm_key *key, uint8_t x[SIZE], uint8_t y[SIZE])
{
    memcpy(x, key->x, SIZE);
    memcpy(y, key->y, SIZE);
    return 0;
}

/* SEC 1, 4.1.4: r == x of (e/s) G + (r/s) Q. */
static bool verify_numbers(struct curve *c, const uint8_t *x, const uint8_t *y, const uint8_t *digest, const uint8_t *r, const uint8_t *s)
{
    BIGNUM *qx = BN_CTX_get(c->numbers), *qy = BN_CTX_get(c->numbers), *e = BN_CTX_get(c->numbers), *rn = BN_CTX_get(c->numbers);
    BIGNUM *sn = BN_CTX_get(c->numbers), *u = BN_CTX_get(c->numbers), *v = BN_CTX_get(c->numbers);
    EC_POINT *key = EC_POINT_new(c->group);
    bool good = v && key && BN_bin2bn(x, SIZE, qx) && BN_bin2bn(y, SIZE, qy) && BN_bin2bn(digest, SIZE, e) && BN_bin2bn(r, SIZE, rn) && BN_bin2bn(s, SIZE, sn) &&
        !BN_is_zero(rn) && !BN_is_zero(sn) && BN_cmp(rn, c->order) < 0 && BN_cmp(sn, c->order) < 0 &&
        EC_POINT_set_affine_coordinates(c->group, key, qx, qy, c->numbers) && /* refuses what is not on the curve */
        BN_mod_inverse(sn, sn, c->order, c->numbers) && BN_mod_mul(u, e, sn, c->order, c->numbers) && BN_mod_mul(v, rn, sn, c->order, c->numbers) &&
        EC_POINT_mul(c->group, c->point, u, key, v, c->numbers) && EC_POINT_get_affine_coordinates(c->group, c->point, qx, NULL, c->numbers) &&
        BN_nnmod(qx, qx, c->order, c->numbers) && BN_cmp(qx, rn) == 0;
    EC_POINT_free(key);
    return good;
}

static int verify(const uint8_t x[SIZE], const uint8_t y[SIZE], const uint8_t digest[SIZE], const uint8_t r[SIZE], const uint8_t s[SIZE])
{
    struct curve c;
    if (!curve_open(&c))
        return -1;
    BN_CTX_start(c.numbers);
    bool good = verify_numbers(&c, x, y, digest, r, s);
    BN_CTX_end(c.numbers);
    curve_close(&c);
    return good ? 0 : -1;
}

const igvm_crypto *igvm_openssl(void)
{
    static const igvm_crypto provider = {hash_new, hash_begin, hash_add, hash_end, hash_free, key_public, key_sign, verify};
    return &provider;
}

/* ---- keys --------------------------------------------------------------------------------------------------------------------------------- */

static igvm_code key_fail(igvm_finding *why, igvm_code code, const char *text)
{
    if (why) {
        *why = (igvm_finding){.code = code, .severity = IGVM_ERROR, .index = IGVM_NONE};
        snprintf(why->text, sizeof why->text, "%s", text);
    }
    return code;
}

/* Gives the passphrase that the caller has, and never asks anybody. */
static int give_passphrase(char *out, int size, int writing, void *passphrase)
{
    (void)writing;
    size_t length = passphrase ? strlen(passphrase) : 0;
    if (!passphrase || length > (size_t)size)
        return -1;
    memcpy(out, passphrase, length);
    return (int)length;
}

static bool is_p384(const EVP_PKEY *key)
{
    char group[64];
    return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, NULL) == 1 &&
        OBJ_sn2nid(group) == NID_secp384r1;
}

/* The public point is made from the secret, so that a file in which they do not belong together does no harm. */
static bool make_public(igvm_key *key)
{
    struct curve c;
    if (!curve_open(&c))
        return false;
    BN_CTX_start(c.numbers);
    BIGNUM *x = BN_CTX_get(c.numbers), *y = BN_CTX_get(c.numbers);
    BN_set_flags(key->secret, BN_FLG_CONSTTIME);
    bool good = y && !BN_is_zero(key->secret) && BN_cmp(key->secret, c.order) < 0 && EC_POINT_mul(c.group, c.point, key->secret, NULL, NULL, c.numbers) &&
        EC_POINT_get_affine_coordinates(c.group, c.point, x, y, c.numbers) && BN_bn2binpad(x, key->x, SIZE) == SIZE && BN_bn2binpad(y, key->y, SIZE) == SIZE;
    BN_CTX_end(c.numbers);
    curve_close(&c);
    return good;
}

void igvm_openssl_key_free(igvm_key *key)
{
    if (!key)
        return;
    BN_clear_free(key->secret);
    free(key);
}

igvm_code igvm_openssl_key(const void *pem, size_t length, const char *passphrase, igvm_key **out, igvm_finding *why)
{
    if ((!pem && length) || !out || length > 1 << 20)
        return key_fail(why, IGVM_BAD_ARGUMENT, "no PEM text, one of more than 1 MiB, or no place for the key");
    BIO *bio = BIO_new_mem_buf(length ? pem : "", (int)length);
    char copy[256]; /* the callback takes no const */
    if (passphrase && strlen(passphrase) >= sizeof copy) {
        BIO_free(bio);
        return key_fail(why, IGVM_BAD_ARGUMENT, "a passphrase has 255 bytes at most");
    }
    if (passphrase)
        strcpy(copy, passphrase);
    EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, passphrase ? copy : NULL) : NULL;
    OPENSSL_cleanse(copy, sizeof copy);
    BIO_free(bio);
    if (!pkey)
        return key_fail(why, IGVM_CRYPTO, "this is no private key in PEM (SEC1 or PKCS#8), or its passphrase is missing or wrong");
    igvm_code code = IGVM_OK;
    igvm_key *key = calloc(1, sizeof *key);
    if (!key)
        code = key_fail(why, IGVM_NO_MEMORY, "no memory");
    else if (!is_p384(pkey))
        code = key_fail(why, IGVM_CRYPTO, "the key is not on the curve P-384 (secp384r1), which SNP wants");
    else if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_PRIV_KEY, &key->secret) != 1 || !make_public(key))
        code = key_fail(why, IGVM_CRYPTO, "OpenSSL does not give the key's number");
    EVP_PKEY_free(pkey);
    if (code) {
        igvm_openssl_key_free(key);
        return code;
    }
    *out = key;
    return IGVM_OK;
}
