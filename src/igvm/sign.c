/* SPDX-License-Identifier: MIT */
/* SNP ID blocks: the payload that the ID key signs, keys as the firmware sees them, and a signed copy of a file.
 *
 * AMD 56860, 10.1 (ID block), chapter 10 (signature and key formats): numbers are little-endian, extended with zeros. Keys stay with the crypto
 * provider; nothing secret passes through here.
 */
#include <string.h>

#include "base/bits.h"
#include "igvm/check.h"
#include "igvm/internal.h"

enum {
    CURVE_P384 = 2,
    ECDSA_P384_SHA384 = 1,
    COORDINATE = 72, /* bytes in the file, 48 of them used */
};

void igvm_id_block_payload(const igvm_snp_id_block *block, uint64_t policy, uint8_t out[96])
{
    memcpy(out, block->ld, 48);
    memcpy(out + 48, block->family_id, 16);
    memcpy(out + 64, block->image_id, 16);
    store_le32(out + 80, block->version);
    store_le32(out + 84, block->guest_svn);
    store_le64(out + 88, policy);
}

void igvm_id_key_blob(const uint8_t key[0x98], uint8_t out[0x404])
{
    memset(out, 0, 0x404);
    memcpy(out, key, 4);
    memcpy(out + 4, key + 8, 2 * COORDINATE); /* the file has a reserved word before the coordinates, the firmware none */
}

/* A big-endian number of 48 bytes to a field of 72, and back. */
static void reverse_to(uint8_t *field, const uint8_t number[48])
{
    memset(field, 0, COORDINATE);
    for (int i = 0; i < 48; i++)
        field[i] = number[47 - i];
}

static void reverse_from(uint8_t number[48], const uint8_t *field)
{
    for (int i = 0; i < 48; i++)
        number[i] = field[47 - i];
}

static int hash_once(const igvm_crypto *crypto, const void *p, size_t length, uint8_t digest[48])
{
    void *hash = crypto->hash_new(IGVM_SHA384);
    int failed = !hash || crypto->hash_begin(hash) || crypto->hash_add(hash, p, length) || crypto->hash_end(hash, digest);
    crypto->hash_free(hash);
    return failed;
}

static int put_key(const igvm_crypto *crypto, const igvm_key *key, uint8_t out[0x98])
{
    uint8_t x[48], y[48];
    memset(out, 0, 0x98);
    store_le32(out, CURVE_P384);
    if (crypto->key_public(key, x, y))
        return -1;
    reverse_to(out + 8, x);
    reverse_to(out + 8 + COORDINATE, y);
    return 0;
}

static int put_signature(const igvm_crypto *crypto, const igvm_key *key, const void *message, size_t length, uint8_t out[0x90])
{
    uint8_t digest[48], r[48], s[48];
    if (hash_once(crypto, message, length, digest) || crypto->key_sign(key, digest, r, s))
        return -1;
    reverse_to(out, r);
    reverse_to(out + COORDINATE, s);
    return 0;
}

static int verify_signature(const igvm_crypto *crypto, const uint8_t key[0x98], const uint8_t signature[0x90], const void *message, size_t length)
{
    uint8_t digest[48], x[48], y[48], r[48], s[48];
    reverse_from(x, key + 8);
    reverse_from(y, key + 8 + COORDINATE);
    reverse_from(r, signature);
    reverse_from(s, signature + COORDINATE);
    return load_le32(key) != CURVE_P384 || hash_once(crypto, message, length, digest) || crypto->verify(x, y, digest, r, s);
}

/* ---- signing ------------------------------------------------------------------------------------------------------------------------------ */

/* The policy that holds for a mask; 0 without one. */
static uint64_t policy_of(const igvm_file *file, uint32_t mask)
{
    igvm_header h;
    for (igvm_iter it = igvm_headers(file); igvm_next(&it, &h);)
        if (h.known && h.type == IGVM_T_GUEST_POLICY && igvm_mask(&h) & mask)
            return load_le64(h.body);
    return 0;
}

static int sign_block(const igvm_sign_options *o, uint64_t policy, igvm_snp_id_block *block)
{
    uint8_t payload[96], blob[0x404];
    igvm_id_block_payload(block, policy, payload);
    if (put_key(o->crypto, o->id_key, block->id_key) || put_signature(o->crypto, o->id_key, payload, sizeof payload, block->id_signature))
        return -1;
    if (!o->author_key)
        return 0;
    igvm_id_key_blob(block->id_key, blob);
    return put_key(o->crypto, o->author_key, block->author_key) ||
        put_signature(o->crypto, o->author_key, blob, sizeof blob, block->author_signature);
}

static igvm_code make_block(const igvm_file *file, const igvm_sign_options *o, uint32_t mask, igvm_snp_id_block *block, igvm_finding *why)
{
    igvm_measure_options measure = {.platform = IGVM_SEV_SNP, .loader = o->loader, .vcpus = o->vcpus, .crypto = o->crypto};
    igvm_digest digest;
    igvm_code code = igvm_measure(file, &measure, &digest, why);
    if (code)
        return code;
    *block = (igvm_snp_id_block){.mask = mask, .author_key_enabled = o->author_key != NULL, .version = o->version ? o->version : 1,
        .guest_svn = o->guest_svn, .id_key_algorithm = ECDSA_P384_SHA384,
        .author_key_algorithm = o->author_key ? ECDSA_P384_SHA384 : o->author_key_algorithm};
    memcpy(block->ld, digest.value, 48);
    memcpy(block->family_id, o->family_id, 16);
    memcpy(block->image_id, o->image_id, 16);
    if (sign_block(o, policy_of(file, mask), block))
        return igvm_fail(why, IGVM_CRYPTO, "the crypto provider could not sign");
    return IGVM_OK;
}

static bool has_block(const igvm_file *file, uint32_t mask)
{
    igvm_header h;
    for (igvm_iter it = igvm_headers(file); igvm_next(&it, &h);)
        if (h.known && h.type == IGVM_T_SNP_ID_BLOCK && igvm_mask(&h) & mask)
            return true;
    return false;
}

igvm_code igvm_sign(const igvm_file *file, const igvm_sign_options *o, igvm_writer **out, igvm_finding *why)
{
    if (!file || !o || !o->crypto || !o->id_key || !out)
        return igvm_fail(why, IGVM_BAD_ARGUMENT, "no file, options, crypto provider, ID key, or place for the writer");
    const igvm_platform *platform = igvm_find_platform(file, IGVM_SEV_SNP);
    if (!platform)
        return igvm_fail(why, IGVM_NO_SUCH_PLATFORM, "the file has no header for SEV_SNP, which alone has ID blocks");
    if (has_block(file, platform->mask) && !o->replace)
        return igvm_fail(why, IGVM_DUP_ID_BLOCK, "the file has an ID block already");
    igvm_body body = {.type = IGVM_T_SNP_ID_BLOCK};
    igvm_code code = make_block(file, o, platform->mask, &body.u.id_block, why);
    if (code)
        return code;
    igvm_writer *w = igvm_writer_from(file);
    if (!w)
        return igvm_fail(why, IGVM_NO_MEMORY, "no memory, or a damaged file");
    igvm_writer_remove(w, IGVM_T_SNP_ID_BLOCK, platform->mask);
    code = igvm_writer_add(w, &body, NULL, 0);
    if (code) {
        igvm_writer_free(w);
        return igvm_fail(why, code, "the ID block could not be added");
    }
    *out = w;
    return IGVM_OK;
}

/* ---- checking ----------------------------------------------------------------------------------------------------------------------------- */

static bool all_zero(const uint8_t *p, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (p[i])
            return false;
    return true;
}

/* True when some loader makes this digest. */
static bool digest_is_known(const igvm_file *file, const igvm_crypto *crypto, const uint8_t ld[48])
{
    for (int loader = 0; loader < IGVM_LOADERS; loader++) {
        igvm_measure_options options = {.platform = IGVM_SEV_SNP, .loader = (igvm_loader)loader, .crypto = crypto};
        igvm_digest digest;
        if (igvm_measure(file, &options, &digest, NULL) == IGVM_OK && memcmp(digest.value, ld, 48) == 0)
            return true;
    }
    return false;
}

static void check_id_block(struct check *c, const igvm_crypto *crypto, const igvm_header *h)
{
    igvm_body body;
    uint8_t payload[96], blob[0x404];
    const igvm_platform *platform = igvm_find_platform(c->file, IGVM_SEV_SNP);
    if (!platform || !igvm_decode(h, &body) || !(body.u.id_block.mask & platform->mask))
        return;
    const igvm_snp_id_block *b = &body.u.id_block;
    c->header = h;
    c->header_bad = false;
    if (!digest_is_known(c->file, crypto, b->ld))
        check_found(c, IGVM_ID_LD_MISMATCH, "ld %02x%02x%02x%02x... is what no known loader makes of this file", b->ld[0], b->ld[1], b->ld[2], b->ld[3]);
    igvm_id_block_payload(b, policy_of(c->file, platform->mask), payload);
    if (!all_zero(b->id_signature, sizeof b->id_signature) && verify_signature(crypto, b->id_key, b->id_signature, payload, sizeof payload))
        check_found(c, IGVM_ID_SIGNATURE, "the ID key's signature is wrong");
    igvm_id_key_blob(b->id_key, blob);
    if (b->author_key_enabled && verify_signature(crypto, b->author_key, b->author_signature, blob, sizeof blob))
        check_found(c, IGVM_ID_SIGNATURE, "the author key's signature is wrong");
    c->header = NULL;
}

void check_id_blocks(struct check *c, const igvm_crypto *crypto)
{
    igvm_header h;
    for (igvm_iter it = igvm_headers(c->file); !c->stop && igvm_next(&it, &h);)
        if (h.known && h.type == IGVM_T_SNP_ID_BLOCK)
            check_id_block(c, crypto, &h);
}
