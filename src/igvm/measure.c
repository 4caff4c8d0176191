/* SPDX-License-Identifier: MIT */
/* Measurement: from directives, by a loader's rules, to the records that a platform hashes.
 *
 * SNP: AMD 56860, 8.17.2 (PAGE_INFO of 0x70 bytes). TDX: TDH.MEM.PAGE.ADD and TDH.MR.EXTEND. VBS: boot measurement records. SEV, SEV-ES:
 * the bytes given to LAUNCH_UPDATE. The file has been checked by igvm_open; memory is 16 bytes a directive for the loader that sorts, and
 * little else otherwise. Time is that of the hashes; the limits on areas and files bound it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "igvm/loaders.h"

/* What a page is imported as, by the numbers of SNP page types. */
enum kind { KIND_NORMAL = 1, KIND_VMSA = 2, KIND_ZERO = 3, KIND_UNMEASURED = 4, KIND_SECRETS = 5, KIND_CPUID = 6 };

struct measure {
    const igvm_file *file;
    const igvm_measure_options *options;
    const struct loader_rules *rules;
    const igvm_crypto *crypto;
    uint32_t mask;
    void *hash;
    igvm_digest digest;
    struct area_sizes sizes;
    igvm_code failed;
    igvm_finding *why;
    uint32_t index; /* of the header that is measured */
    uint32_t pages; /* measured so far                */
    bool zeros_known;
    uint8_t zeros_digest[48]; /* SNP: of a page of zeros, of which some files have millions */
};

static const uint8_t zeros[IGVM_PAGE];

static void measure_fail(struct measure *m, igvm_code code, const char *text)
{
    if (m->failed == IGVM_OK)
        m->failed = igvm_fail(m->why, code, "%s", text);
    if (m->why && m->why->code == code)
        m->why->index = m->index;
}

/* ---- hashing ------------------------------------------------------------------------------------------------------------------------------ */

static void add(struct measure *m, const void *p, size_t length)
{
    if (m->failed == IGVM_OK && m->crypto->hash_add(m->hash, p, length))
        measure_fail(m, IGVM_CRYPTO, "the crypto provider failed to hash");
}

static void begin(struct measure *m)
{
    if (m->failed == IGVM_OK && m->crypto->hash_begin(m->hash))
        measure_fail(m, IGVM_CRYPTO, "the crypto provider failed to begin a hash");
}

static void end(struct measure *m, uint8_t *out)
{
    if (m->failed == IGVM_OK && m->crypto->hash_end(m->hash, out))
        measure_fail(m, IGVM_CRYPTO, "the crypto provider failed to end a hash");
}

static void tell_step(struct measure *m, uint64_t gpa, uint32_t kind, bool running)
{
    if (!m->options->step || m->failed)
        return;
    igvm_step step = {m->index, gpa, kind, running ? &m->digest : NULL};
    if (m->options->step(m->options->context, &step))
        measure_fail(m, IGVM_UNSUPPORTED, "the caller ended it");
}

/* ---- what each platform makes of an imported page of 4096 bytes ----------------------------------------------------------------------------- */

static void digest_page(struct measure *m, const uint8_t *page, uint8_t out[48])
{
    if (page == zeros && m->zeros_known) {
        memcpy(out, m->zeros_digest, 48);
        return;
    }
    begin(m);
    add(m, page, IGVM_PAGE);
    end(m, out);
    if (page == zeros) {
        memcpy(m->zeros_digest, out, 48);
        m->zeros_known = true;
    }
}

static void emit_snp(struct measure *m, enum kind kind, uint64_t gpa, const uint8_t *page)
{
    uint8_t content[48] = {0}, tail[16] = {0x70, 0, (uint8_t)kind};
    if (kind == KIND_NORMAL || kind == KIND_VMSA)
        digest_page(m, page, content);
    store_le64(tail + 8, gpa);
    begin(m);
    add(m, m->digest.value, 48);
    add(m, content, 48);
    add(m, tail, sizeof tail);
    end(m, m->digest.value);
    tell_step(m, gpa, kind, true);
}

static void add_tdx_record(struct measure *m, const char *name, uint64_t gpa)
{
    uint8_t record[128] = {0};
    memcpy(record, name, strlen(name));
    store_le64(record + 16, gpa);
    add(m, record, sizeof record);
}

static void emit_tdx(struct measure *m, enum kind kind, uint64_t gpa, const uint8_t *page)
{
    add_tdx_record(m, "MEM.PAGE.ADD", gpa);
    for (uint32_t at = 0; kind != KIND_UNMEASURED && at < IGVM_PAGE; at += 256) {
        add_tdx_record(m, "MR.EXTEND", gpa + at);
        add(m, page + at, 256);
    }
    tell_step(m, gpa, kind != KIND_UNMEASURED, false);
}

static void add_vbs_record(struct measure *m, const uint8_t *head, size_t head_length, const uint8_t *tail, size_t tail_length)
{
    begin(m);
    add(m, m->digest.value, IGVM_SHA256);
    add(m, head, head_length);
    add(m, tail, tail_length);
    end(m, m->digest.value);
}

static void emit_vbs_page(struct measure *m, uint32_t metadata, uint64_t gpa, const uint8_t *page)
{
    uint8_t head[32] = {0x20, 0x10, 0, 0, 2}; /* size 0x1020, type 2 */
    store_le64(head + 16, metadata);
    store_le64(head + 24, gpa / IGVM_PAGE);
    add_vbs_record(m, head, sizeof head, page, IGVM_PAGE);
    tell_step(m, gpa, 2, true);
}

static void emit_vbs(struct measure *m, enum kind kind, uint64_t gpa, const uint8_t *page)
{
    if (kind == KIND_SECRETS || kind == KIND_CPUID) {
        measure_fail(m, IGVM_UNSUPPORTED, "VSM_ISOLATION has no SECRETS or CPUID pages");
        return;
    }
    emit_vbs_page(m, kind == KIND_UNMEASURED ? 4 : 0, gpa, kind == KIND_UNMEASURED ? zeros : page); /* bit 2: not measured */
}

/* `empty`: the file has no data for the page. */
static void emit_sev(struct measure *m, enum kind kind, uint64_t gpa, const uint8_t *page, bool empty)
{
    bool hashed = kind != KIND_UNMEASURED || m->rules->sev_takes_unmeasured;
    if (empty && m->rules->sev_skips_zero)
        hashed = false;
    if (hashed)
        add(m, page, IGVM_PAGE);
    tell_step(m, gpa, hashed, false);
}

static bool pages_left(struct measure *m)
{
    if (m->pages++ < IGVM_MEASURE_PAGES_MAX)
        return true;
    measure_fail(m, IGVM_TOO_LARGE, "more than 128 GiB would be measured, a limit of this library");
    return false;
}

/* One page; NULL: no data. */
static void emit(struct measure *m, enum kind kind, uint64_t gpa, const uint8_t *page)
{
    if (!pages_left(m))
        return;
    const uint8_t *content = page ? page : zeros;
    switch (m->options->platform) {
    case IGVM_SEV_SNP:
        emit_snp(m, kind, gpa, content);
        break;
    case IGVM_TDX:
        emit_tdx(m, kind, gpa, content);
        break;
    case IGVM_VBS:
        emit_vbs(m, kind, gpa, content);
        break;
    default:
        emit_sev(m, kind, gpa, content, !page);
    }
}

/* ---- directives --------------------------------------------------------------------------------------------------------------------------- */

static enum kind kind_of_page(const struct measure *m, const igvm_page_data *p)
{
    if (p->data_type == IGVM_PAGE_SECRETS)
        return KIND_SECRETS;
    if (p->data_type != IGVM_PAGE_NORMAL)
        return KIND_CPUID;
    if (p->flags & IGVM_PAGE_UNMEASURED)
        return KIND_UNMEASURED;
    return p->file_offset == 0 && m->rules->zero_type ? KIND_ZERO : KIND_NORMAL;
}

static bool takes_page(const struct measure *m, const igvm_page_data *p)
{
    return p->mask & m->mask && (!(p->flags & IGVM_PAGE_SHARED) || m->rules->measures_shared);
}

static void measure_page(struct measure *m, const igvm_header *h, const igvm_page_data *p)
{
    uint64_t length;
    const uint8_t *data = igvm_payload(m->file, h, &length);
    m->index = h->index;
    for (uint64_t at = 0; at < length && !m->failed; at += IGVM_PAGE)
        emit(m, kind_of_page(m, p), p->gpa + at, data ? data + at : NULL);
}

static void measure_insert(struct measure *m, const igvm_header *h, const igvm_insert *insert)
{
    uint64_t bytes = m->rules->first_insert_page ? IGVM_PAGE : area_size_of(&m->sizes, insert->area);
    m->index = h->index;
    for (uint64_t at = 0; at < bytes && !m->failed; at += IGVM_PAGE)
        emit(m, KIND_UNMEASURED, insert->gpa + at, NULL);
}

static void measure_error_range(struct measure *m, const igvm_header *h, const igvm_error_range *range)
{
    m->index = h->index;
    for (uint64_t at = 0; at < range->bytes && !m->failed && pages_left(m); at += IGVM_PAGE)
        emit_vbs_page(m, 7, range->gpa + at, zeros); /* readable, writable, not measured */
}

static void measure_vmsa(struct measure *m, const igvm_header *h, uint64_t gpa)
{
    uint64_t length;
    uint8_t page[IGVM_PAGE];
    const uint8_t *vmsa = igvm_payload(m->file, h, &length);
    if (!vmsa || length != IGVM_PAGE)
        return;
    m->index = h->index;
    if (m->rules->vanadium_registers) {
        memcpy(page, vmsa, sizeof page);
        store_le64(page + VMSA_DR6_AT, VANADIUM_DR6);
        store_le64(page + VMSA_DR7_AT, VANADIUM_DR7);
        store_le64(page + VMSA_PAT_AT, VANADIUM_PAT);
        vmsa = page;
    }
    emit(m, KIND_VMSA, gpa, vmsa);
}

/* SEV has no encrypted register state, but igvmmeasure hashes VMSAs of other platforms all the same. */
static bool measures_vmsas(const struct measure *m)
{
    return m->options->platform == IGVM_SEV_SNP || m->options->platform == IGVM_SEV_ES || m->rules->vmsa == VMSA_ANY_MASK;
}

/* One directive where it stands. */
static void measure_directive(struct measure *m, const igvm_header *h)
{
    igvm_body body;
    if (!igvm_decode(h, &body))
        return;
    if (h->type == IGVM_T_PAGE_DATA && takes_page(m, &body.u.page_data))
        measure_page(m, h, &body.u.page_data);
    else if (h->type == IGVM_T_PARAMETER_INSERT && body.u.insert.mask & m->mask)
        measure_insert(m, h, &body.u.insert);
    else if (h->type == IGVM_T_ERROR_RANGE && m->options->platform == IGVM_VBS && body.u.error_range.mask & m->mask)
        measure_error_range(m, h, &body.u.error_range);
    else if (h->type == IGVM_T_VP_CONTEXT && m->rules->vmsa != VMSA_LAST && measures_vmsas(m) &&
             loader_takes_vmsa(m->file, m->rules, m->mask, &body.u.vp_context))
        measure_vmsa(m, h, body.u.vp_context.gpa);
}

/* ---- orders ------------------------------------------------------------------------------------------------------------------------------- */

static void measure_file_order(struct measure *m)
{
    igvm_header h;
    for (igvm_iter it = igvm_headers(m->file); !m->failed && igvm_next(&it, &h);)
        measure_directive(m, &h);
}

/* A run of pages that waits. */
struct run {
    igvm_iter start; /* at its first header */
    uint32_t count;  /* headers, one after the other */
    igvm_page_data last;
};

static bool run_goes_on(const struct run *run, const igvm_header *h, const igvm_page_data *p)
{
    uint32_t bytes = run->last.flags & IGVM_PAGE_IS_2MB ? IGVM_PAGE_2MB : IGVM_PAGE;
    return run->count && h->index == run->start.index + run->count && p->flags == run->last.flags && p->data_type == run->last.data_type &&
        p->mask == run->last.mask && !p->file_offset == !run->last.file_offset && p->gpa == run->last.gpa + bytes;
}

static void flush_run(struct measure *m, struct run *run)
{
    igvm_header h;
    for (igvm_iter it = run->start; run->count && igvm_next(&it, &h); run->count--)
        measure_directive(m, &h);
    run->count = 0;
}

static void measure_deferred(struct measure *m)
{
    struct run run = {0};
    igvm_header h;
    igvm_iter it = igvm_headers(m->file);
    for (igvm_iter before = it; !m->failed && igvm_next(&it, &h); before = it) {
        igvm_body body;
        if (!igvm_decode(&h, &body) || h.type != IGVM_T_PAGE_DATA) {
            measure_directive(m, &h);
            continue;
        }
        if (!takes_page(m, &body.u.page_data))
            continue;
        if (!run_goes_on(&run, &h, &body.u.page_data)) {
            flush_run(m, &run);
            run.start = before;
        }
        run.count++;
        run.last = body.u.page_data;
    }
    flush_run(m, &run);
}

/* A header, and what it is sorted by. */
struct place_in_order {
    uint64_t key;
    uint32_t offset, index; /* of the header */
};

static int key_order(const void *a, const void *b)
{
    const struct place_in_order *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static igvm_header header_at(const struct measure *m, const struct place_in_order *place)
{
    igvm_header h = {0};
    igvm_iter it = {m->file, place->offset, place->index};
    igvm_next(&it, &h);
    return h;
}

/* Sorts the headers that `key` accepts by what it gives. NULL: no memory; the caller frees the list. */
static struct place_in_order *sort_headers(struct measure *m, bool (*key)(const struct measure *m, const igvm_header *h, uint64_t *out), size_t *count)
{
    igvm_header h;
    uint64_t unused;
    size_t room = 1, n = 0;
    for (igvm_iter it = igvm_headers(m->file); igvm_next(&it, &h);)
        room += key(m, &h, &unused);
    struct place_in_order *list = malloc(room * sizeof *list);
    if (!list) {
        measure_fail(m, IGVM_NO_MEMORY, "no memory to sort the directives");
        return NULL;
    }
    for (igvm_iter it = igvm_headers(m->file); igvm_next(&it, &h);) {
        if (!key(m, &h, &list[n].key))
            continue;
        list[n].offset = h.offset;
        list[n++].index = h.index;
    }
    qsort(list, n, sizeof *list, key_order);
    *count = n;
    return list;
}

static bool key_of_import(const struct measure *m, const igvm_header *h, uint64_t *out)
{
    (void)m;
    if (!h->known || (h->type != IGVM_T_PAGE_DATA && h->type != IGVM_T_PARAMETER_INSERT && h->type != IGVM_T_VP_CONTEXT))
        return false;
    *out = load_le64(h->body); /* gpa is the first field of all three */
    return true;
}

static void measure_gpa_order(struct measure *m)
{
    size_t count;
    struct place_in_order *list = sort_headers(m, key_of_import, &count);
    for (size_t i = 0; list && i < count && !m->failed; i++) {
        igvm_header h = header_at(m, &list[i]);
        measure_directive(m, &h);
    }
    free(list);
}

/* ---- what comes last ---------------------------------------------------------------------------------------------------------------------- */

static bool key_of_vmsa(const struct measure *m, const igvm_header *h, uint64_t *out)
{
    igvm_body body;
    if (h->type != IGVM_T_VP_CONTEXT || !igvm_decode(h, &body) || !loader_takes_vmsa(m->file, m->rules, m->mask, &body.u.vp_context))
        return false;
    *out = body.u.vp_context.vp_index;
    return true;
}

static void measure_vmsas_last(struct measure *m)
{
    uint32_t vcpus = m->options->vcpus, next = 0;
    size_t count;
    if (!measures_vmsas(m) || m->failed)
        return;
    struct place_in_order *list = sort_headers(m, key_of_vmsa, &count);
    for (size_t i = 0; list && i < count && !m->failed && (!vcpus || (next < vcpus && list[i].key == next)); i++, next++) {
        igvm_header h = header_at(m, &list[i]);
        measure_vmsa(m, &h, KVM_VMSA_GPA);
    }
    free(list);
    if (vcpus && next < vcpus)
        measure_fail(m, IGVM_UNSUPPORTED, "the file has no context for some of the vCPUs, and what the loader makes for them is not in the file");
}

static void measure_vbs_registers(struct measure *m)
{
    igvm_header h;
    for (igvm_iter it = igvm_headers(m->file); !m->failed && igvm_next(&it, &h);) {
        if (!h.known || h.type != IGVM_T_VP_CONTEXT || !(igvm_mask(&h) & m->mask))
            continue;
        uint64_t length;
        const uint8_t *context = igvm_payload(m->file, &h, &length);
        m->index = h.index;
        for (uint32_t i = 0; i < igvm_vbs_register_count(context, length); i++) {
            igvm_vbs_register r;
            uint8_t head[32] = {0x30}; /* size 0x30, type 0 */
            igvm_vbs_register_get(context, i, &r);
            igvm_vbs_register_trim(m->file->arch, &r);
            head[20] = r.vtl;
            store_le32(head + 28, r.name);
            add_vbs_record(m, head, sizeof head, r.value, sizeof r.value);
            tell_step(m, 0, 0, true);
        }
    }
}

static void measure_all(struct measure *m)
{
    bool running = m->options->platform == IGVM_TDX || m->options->platform == IGVM_SEV || m->options->platform == IGVM_SEV_ES;
    if (running)
        begin(m);
    if (m->rules->order == ORDER_GPA)
        measure_gpa_order(m);
    else if (m->rules->order == ORDER_DEFERRED)
        measure_deferred(m);
    else
        measure_file_order(m);
    if (m->rules->vmsa == VMSA_LAST)
        measure_vmsas_last(m);
    if (m->options->platform == IGVM_VBS)
        measure_vbs_registers(m);
    if (running)
        end(m, m->digest.value);
}

igvm_code igvm_measure(const igvm_file *file, const igvm_measure_options *options, igvm_digest *out, igvm_finding *why)
{
    const igvm_platform *platform;
    if (!file || !options || !options->crypto || !out)
        return igvm_fail(why, IGVM_BAD_ARGUMENT, "no file, options, crypto provider or place for the digest");
    igvm_code code = loader_platform(file, options->platform, options->loader, &platform, why);
    if (code)
        return code;
    uint32_t bytes = options->platform == IGVM_SEV_SNP || options->platform == IGVM_TDX ? IGVM_SHA384 : IGVM_SHA256;
    struct measure m = {.file = file, .options = options, .rules = loader_rules_of(options->loader), .crypto = options->crypto,
        .mask = platform->mask, .digest.bytes = bytes, .why = why, .index = IGVM_NONE};
    m.hash = options->crypto->hash_new((int)bytes);
    if (!m.hash || !area_sizes_read(file, &m.sizes)) {
        options->crypto->hash_free(m.hash);
        return igvm_fail(why, IGVM_NO_MEMORY, "no memory");
    }
    measure_all(&m);
    options->crypto->hash_free(m.hash);
    free(m.sizes.areas);
    if (m.failed == IGVM_OK)
        *out = m.digest;
    return m.failed;
}
