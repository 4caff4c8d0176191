/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/files.h"
#include "cli/igvm_cli.h"

#define ID_BYTES 16
#define PEM_MAX  (1 << 20)

struct sign {
    char *output, *id_key, *author_key, *passphrase, *family_id, *image_id;
    uint64_t version, svn, vcpus;
    unsigned loader;
    bool replace;
};
#define ROW(member_, ...) { .offset = offsetof(struct sign, member_), __VA_ARGS__ }
const struct option igvm_sign_table[] = {
    ROW(output, .key = "output", .kind = OPTION_STRING, .value_name = "F", .meaning = "file to write"),
    ROW(id_key, .key = "id-key", .kind = OPTION_STRING, .value_name = "F.pem", .meaning = "ECDSA P-384 private key that signs the ID block (PEM)"),
    ROW(author_key, .key = "author-key", .kind = OPTION_STRING, .value_name = "F.pem", .meaning = "ECDSA P-384 private key that signs the ID key"),
    ROW(passphrase, .key = "passphrase", .kind = OPTION_STRING, .value_name = "F", .meaning = "file with the passphrase of encrypted keys"),
    ROW(family_id, .key = "family-id", .kind = OPTION_STRING, .value_name = "ID", .meaning = "32 hexadecimal digits, or text of up to 16 bytes"),
    ROW(image_id, .key = "image-id", .kind = OPTION_STRING, .value_name = "ID", .meaning = "the same"),
    ROW(version, .key = "version", .kind = OPTION_UINT, .initial = "1", .min = 1, .max = UINT32_MAX, .value_name = "N", .meaning = "version of the ID block's layout"),
    ROW(svn, .key = "svn", .kind = OPTION_UINT, .initial = "0", .max = UINT32_MAX, .value_name = "N", .meaning = "security version number of the guest"),
    ROW(loader, .key = "loader", .kind = OPTION_CHOICE, .initial = "spec", .choices = igvm_loader_names,
        .value_name = "spec|qemu|cloud-hypervisor-kvm|cloud-hypervisor-mshv|igvmmeasure|vanadium", .meaning = "whose digest goes into the block"),
    ROW(vcpus, .key = "vcpus", .kind = OPTION_UINT, .initial = "0", .max = 4096, .value_name = "N", .meaning = "vCPUs of the machine, as for measure"),
    ROW(replace, .key = "replace", .kind = OPTION_BOOL, .initial = "off", .meaning = "replace an ID block that the file has"),
    OPTION_END,
};
#undef ROW

static int digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

static int parse_id(const char *option, const char *text, uint8_t out[ID_BYTES], struct err *err)
{
    size_t len = text ? strlen(text) : 0;
    memset(out, 0, ID_BYTES);
    if (len == 2 * ID_BYTES && strspn(text, "0123456789abcdefABCDEF") == len) {
        for (size_t i = 0; i < ID_BYTES; i++)
            out[i] = (uint8_t)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
        return 0;
    }
    if (len > ID_BYTES)
        return err_set(err, ERR_USAGE, "%s %.60s: want 32 hexadecimal digits, or text of up to 16 bytes", option, text);
    if (len)
        memcpy(out, text, len);
    return 0;
}

static int read_passphrase(const char *path, char out[256], struct err *err)
{
    struct image file;
    char label[300];
    snprintf(label, sizeof label, "--passphrase %s", path);
    int r = file_read(path, label, &file, err);
    if (r)
        return r;
    size_t len = file.len;
    while (len && strchr("\r\n", file.bytes[len - 1]))
        len--;
    if (len > 255 || memchr(file.bytes, 0, len))
        r = err_set(err, ERR_INPUT, "%s: want one line of at most 255 bytes", label);
    else
        memcpy(out, file.bytes, len), out[len] = '\0';
    file_free(&file);
    return r;
}

static int read_key(const char *option, const char *path, const char *passphrase, igvm_key **out, struct err *err)
{
    struct image file;
    char label[300];
    igvm_finding why = {.index = IGVM_NONE};
    snprintf(label, sizeof label, "%s %s", option, path);
    int r = file_read(path, label, &file, err);
    if (r)
        return r;
    igvm_code code = file.len > PEM_MAX ? IGVM_CRYPTO : igvm_openssl_key(file.bytes, file.len, passphrase, out, &why);
    if (code != IGVM_OK)
        r = err_set(err, code == IGVM_NO_MEMORY ? ERR_HOST : ERR_INPUT, "%s: %s", label, *why.text ? why.text : "no ECDSA P-384 private key in PEM");
    explicit_bzero((void *)file.bytes, file.len);
    file_free(&file);
    return r;
}

static int check(const struct sign *s, struct err *err)
{
    if (!s->id_key)
        return err_set(err, ERR_USAGE, "--id-key is missing");
    return s->output ? 0 : err_set(err, ERR_USAGE, "--output is missing");
}

static int sign(const struct sign *s, const char *path, struct err *err)
{
    char passphrase[256];
    igvm_key *id_key = NULL, *author_key = NULL;
    struct igvm_input in = {0};
    igvm_writer *writer = NULL;
    igvm_sign_options options = {.crypto = igvm_cli_crypto(), .loader = s->loader, .vcpus = (uint32_t)s->vcpus, .version = (uint32_t)s->version, .guest_svn = (uint32_t)s->svn,
                                 .replace = s->replace};
    int r = check(s, err);
    if (!r)
        r = parse_id("--family-id", s->family_id, options.family_id, err);
    if (!r)
        r = parse_id("--image-id", s->image_id, options.image_id, err);
    if (!r && s->passphrase)
        r = read_passphrase(s->passphrase, passphrase, err);
    if (!r)
        r = read_key("--id-key", s->id_key, s->passphrase ? passphrase : NULL, &id_key, err);
    if (!r && s->author_key)
        r = read_key("--author-key", s->author_key, s->passphrase ? passphrase : NULL, &author_key, err);
    if (!r)
        r = igvm_input_open(&in, path, 0, err);
    if (!r) {
        igvm_finding why = {.index = IGVM_NONE};
        options.id_key = id_key;
        options.author_key = author_key;
        igvm_code code = igvm_sign(&in.file, &options, &writer, &why);
        r = code == IGVM_DUP_ID_BLOCK ? err_set(err, ERR_INPUT, "%s: the file has an ID block already (--replace takes it out)", path)
            : code != IGVM_OK         ? igvm_error(path, code, &why, err)
                                      : igvm_write_output(writer, s->output, err);
    }
    igvm_writer_free(writer);
    igvm_input_free(&in);
    igvm_openssl_key_free(id_key);
    igvm_openssl_key_free(author_key);
    explicit_bzero(passphrase, sizeof passphrase);
    return r ? cli_fail(err) : 0;
}

int command_igvm_sign(const struct command *command, int argc, char **argv)
{
    struct sign options = {0};
    struct option_list words = {0};
    struct err err = ERR_NONE;
    int r = igvm_arguments(command, &options, &words, argc, argv, &err);
    int status = r ? cli_fail(&err) : sign(&options, words.items[0], &err);
    words_free(&words);
    options_free(igvm_sign_table, &options);
    return status;
}
