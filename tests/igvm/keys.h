/* SPDX-License-Identifier: MIT */
/* keys.h - private keys that everybody knows, for tests: the P-384 key of RFC 6979, A.2.6, and that number plus 1. */
#ifndef TESTS_IGVM_KEYS_H
#define TESTS_IGVM_KEYS_H

/* RFC 6979, A.2.6, as SEC1. */
static const char id_pem[] =
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MD4CAQEEMGudPa0uG4wcBbGYdbZln03iPDtme/KXupqkd0B4cTfYltVyTkxwqCX4csnqYNLt9aAH\n"
    "BgUrgQQAIg==\n"
    "-----END EC PRIVATE KEY-----\n";

/* Its number plus 1: as SEC1, as PKCS#8, and as PKCS#8 encrypted with "sesame". */
static const char author_pem[] =
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MD4CAQEEMGudPa0uG4wcBbGYdbZln03iPDtme/KXupqkd0B4cTfYltVyTkxwqCX4csnqYNLt9qAH\n"
    "BgUrgQQAIg==\n"
    "-----END EC PRIVATE KEY-----\n";
static const char author_pkcs8[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "ME4CAQAwEAYHKoZIzj0CAQYFK4EEACIENzA1AgEBBDBrnT2tLhuMHAWxmHW2ZZ9N\n"
    "4jw7Znvyl7qapHdAeHE32JbVck5McKgl+HLJ6mDS7fY=\n"
    "-----END PRIVATE KEY-----\n";
static const char author_encrypted[] =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
    "MIG7MFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhksewWs4GdcgICCAAw\n"
    "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEC6nNniUZXeagcmeuvqMwRYEYK8r\n"
    "WxbCWQ0mH9kXkKHmmIg6ToO3dlgHZry4o4NXv+0sjQyF9klTrPwZOc26AjCrxpQf\n"
    "GftuoZWpd/zYqTilUhbDJqYupyreDwFAy+N6GQKt+5cIMKh271Cah7PZlXFcXQ==\n"
    "-----END ENCRYPTED PRIVATE KEY-----\n";

/* On another curve. */
static const char p256_pem[] =
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MHcCAQEEIK+T6pOBkeSs9YMCZ9lwiVjzo6ppYkbXfaFhSUkUvfnroAoGCCqGSM49\n"
    "AwEHoUQDQgAEg9E4dttKvjisXqH6LDgYnXxl0IS0Rf0hJx6eq+gVqMi9ry71Axll\n"
    "YB6VNW3UT5BGfizPPynq6SIQd96vkC8qTg==\n"
    "-----END EC PRIVATE KEY-----\n";

#endif
