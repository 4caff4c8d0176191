/* SPDX-License-Identifier: MIT */
/* IGVM files: opening and verifying agree, and every accessor stays in the buffer, in files that are good and in damaged ones. */
#include "igvm_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct heard {
    igvm_code first;
    unsigned count;
};

static int hear(void *context, const igvm_finding *f)
{
    struct heard *h = context;
    if (!f->text[0] || !igvm_code_rule(f->code)[0])
        abort();
    if (f->severity == IGVM_ERROR && h->first == IGVM_OK)
        h->first = f->code;
    return ++h->count > 10000;
}

static uint64_t look(const igvm_file *file, bool good)
{
    uint64_t sum = 0;
    igvm_header h;
    for (igvm_iter it = igvm_headers(file); igvm_next(&it, &h);) {
        igvm_body body;
        uint8_t bytes[IGVM_BODY_MAX];
        uint64_t length;
        if (igvm_decode(&h, &body) && igvm_encode(&body, bytes) != h.length)
            abort();
        const uint8_t *p = igvm_payload(file, &h, &length);
        if (p && (p < file->data || p + length > file->data + file->size))
            abort();
        sum += p && length ? (uint64_t)p[0] + p[length - 1] : 0;
        igvm_vbs_register reg;
        uint32_t count = h.type == IGVM_T_VP_CONTEXT && h.known ? igvm_vbs_register_count(p, length) : 0;
        const igvm_platform *platform = igvm_platform_of(file, igvm_mask(&h));
        if (!platform || platform->type != IGVM_VBS)
            continue;
        for (uint32_t i = 0; i < count && i < 5000; i++)
            igvm_vbs_register_get(p, i, &reg), sum += reg.name;
        if (good && h.type == IGVM_T_VP_CONTEXT && !count)
            abort();
    }
    return sum;
}

static int count_difference(void *context, const igvm_difference *d)
{
    if (!d->count || !d->text[0])
        abort();
    return ++*(unsigned *)context > 100;
}

/* Measuring, by two loaders that the input chooses: it must end, and say why where it does not. */
static void differ(const igvm_file *file, uint8_t choice)
{
    static const igvm_platform_type types[] = {IGVM_SEV_SNP, IGVM_SEV_SNP, IGVM_SEV, IGVM_SEV_ES};
    unsigned count = 0;
    igvm_finding why = {0};
    igvm_loader a = (igvm_loader)(choice % IGVM_LOADERS), b = (igvm_loader)(choice / IGVM_LOADERS % IGVM_LOADERS);
    igvm_code code = igvm_loader_differences(file, types[choice >> 6], a, b, count_difference, &count, &why);
    if ((code && !why.text[0]) || (a == b && count))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *p = igvm_fuzz_file(data, size);
    struct heard h = {0};
    igvm_file file;
    igvm_finding why;
    unsigned flags = size ? data[size - 1] >> 1 & IGVM_STRICT : 0;
    igvm_code verdict = igvm_verify(p, size, flags, NULL, hear, &h);
    igvm_code opened = igvm_open(&file, p, size, flags, &why);
    if (verdict != h.first || opened != verdict || (opened && !why.text[0]))
        abort();
    uint64_t sum = opened ? 0 : look(&file, true);
    if (!opened)
        differ(&file, data[size - 1] ^ data[size / 2]);
    if (igvm_open(&file, p, size, flags | IGVM_DAMAGED, &why) == IGVM_OK)
        sum += look(&file, false);
    free(p);
    return sum == UINT64_MAX;
}
