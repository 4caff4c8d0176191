/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "cli/igvm_cli.h"
#include "cli/json_out.h"

struct verify { bool json, strict, digests; };
#define ROW(member_, ...) { .offset = offsetof(struct verify, member_), __VA_ARGS__ }
const struct option igvm_verify_table[] = {
    ROW(json, .key = "json", .kind = OPTION_BOOL, .initial = "off", .meaning = "findings as a JSON array"),
    ROW(strict, .key = "strict", .kind = OPTION_BOOL, .initial = "off", .meaning = "take padding that is not zero, which igvmgen writes, for an error"),
    ROW(digests, .key = "digests", .kind = OPTION_BOOL, .initial = "on",
        .meaning = "check the digest and signatures of an ID block, which hashes a file that has one; --digests=off does not"),
    OPTION_END,
};
#undef ROW

struct report { const struct verify *options; struct json_out json; };

static int report_finding(void *context, const igvm_finding *f)
{
    struct report *r = context;
    const char *severity = f->severity == IGVM_ERROR ? "error" : "lint";
    const igvm_type *type = f->type ? igvm_type_of(f->type) : NULL;
    if (r->options->json) {
        json_out_object(&r->json, NULL, true);
        json_out_string(&r->json, "code", igvm_code_name(f->code));
        json_out_string(&r->json, "severity", severity);
        if (f->index != IGVM_NONE)
            json_out_u64(&r->json, "header", f->index);
        if (type)
            json_out_string(&r->json, "type", type->name);
        json_out_u64(&r->json, "offset", f->offset);
        json_out_string(&r->json, "text", f->text);
        json_out_end(&r->json);
    } else {
        printf("%s %s", igvm_code_name(f->code), severity);
        if (f->index != IGVM_NONE)
            printf(" header %u%s%s", f->index, type ? " " : "", type ? type->name : "");
        printf(" at 0x%llx: %s\n", (unsigned long long)f->offset, f->text);
    }
    return 0;
}

static int verify(const struct verify *options, const char *path, struct err *err)
{
    struct igvm_input in;
    struct report report = {.options = options};
    int r = igvm_input_map(&in, path, err);
    if (r) {
        igvm_input_free(&in);
        return cli_fail(err);
    }
    if (options->json) {
        json_out_begin(&report.json, stdout);
        json_out_array(&report.json, NULL, false);
    }
    igvm_code code = igvm_verify(in.bytes, in.len, options->strict ? IGVM_STRICT : 0, options->digests ? igvm_cli_crypto() : NULL, report_finding, &report);
    if (options->json)
        json_out_end(&report.json);
    igvm_input_free(&in);
    if (code == IGVM_NO_MEMORY || code == IGVM_BAD_ARGUMENT || code == IGVM_CRYPTO) {
        err_set(err, code == IGVM_NO_MEMORY ? ERR_HOST : ERR_INTERNAL, "%s: the check could not finish: %s", path, igvm_code_name(code));
        return cli_fail(err);
    }
    return code == IGVM_OK ? 0 : -ERR_INPUT;
}

int command_igvm_verify(const struct command *command, int argc, char **argv)
{
    struct verify options = {0};
    struct option_list words = {0};
    struct err err = ERR_NONE;
    int r = igvm_arguments(command, &options, &words, argc, argv, &err);
    int status = r ? cli_fail(&err) : verify(&options, words.items[0], &err);
    words_free(&words);
    return status;
}
