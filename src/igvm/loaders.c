/* SPDX-License-Identifier: MIT */
/* Loaders: their rules, and where two of them measure the same file differently.
 *
 * QEMU: backends/igvm.c and target/i386/sev.c; Cloud Hypervisor: vmm/src/igvm; igvmmeasure: Coconut's tool; Vanadium: what Coconut's
 * builder knows of it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "igvm/loaders.h"

#define SNP_ONLY (1u << IGVM_SEV_SNP)
#define SEV_ALL  (SNP_ONLY | 1u << IGVM_SEV | 1u << IGVM_SEV_ES)

const struct loader_rules *loader_rules_of(igvm_loader loader)
{
    static const struct loader_rules rules[IGVM_LOADERS] = {
        [IGVM_LOADER_SPEC] = {.platforms = SEV_ALL | 1u << IGVM_TDX | 1u << IGVM_VBS},
        [IGVM_LOADER_QEMU] = {.platforms = SEV_ALL, .order = ORDER_DEFERRED, .vmsa = VMSA_LAST, .measures_shared = true},
        [IGVM_LOADER_CH_KVM] = {.platforms = SNP_ONLY, .vmsa = VMSA_LAST, .first_vp_only = true, .zero_type = true, .measures_shared = true},
        [IGVM_LOADER_CH_MSHV] = {.platforms = SNP_ONLY, .order = ORDER_GPA, .first_vp_only = true, .first_insert_page = true, .measures_shared = true},
        [IGVM_LOADER_IGVMMEASURE] = {.platforms = SEV_ALL, .vmsa = VMSA_ANY_MASK, .first_insert_page = true, .measures_shared = true,
            .sev_skips_zero = true, .sev_takes_unmeasured = true},
        [IGVM_LOADER_VANADIUM] = {.platforms = SNP_ONLY, .vmsa = VMSA_LAST, .zero_type = true, .measures_shared = true, .vanadium_registers = true},
    };
    return (unsigned)loader < IGVM_LOADERS ? &rules[loader] : NULL;
}

igvm_code loader_platform(const igvm_file *file, igvm_platform_type type, igvm_loader loader, const igvm_platform **out, igvm_finding *why)
{
    const struct loader_rules *rules = loader_rules_of(loader);
    if (!rules || (unsigned)type > IGVM_CCA)
        return igvm_fail(why, IGVM_BAD_ARGUMENT, "no such loader or platform");
    if (!(loader_rules_of(IGVM_LOADER_SPEC)->platforms >> type & 1))
        return igvm_fail(why, IGVM_UNSUPPORTED, "%s guests are not measured", igvm_platform_name(type));
    if (!(rules->platforms >> type & 1))
        return igvm_fail(why, IGVM_UNSUPPORTED, "%s starts no %s guests from IGVM files, so there is no digest", igvm_loader_name(loader),
            igvm_platform_name(type));
    *out = igvm_find_platform(file, type);
    if (!*out)
        return igvm_fail(why, IGVM_NO_SUCH_PLATFORM, "the file has no header for %s", igvm_platform_name(type));
    return IGVM_OK;
}

bool area_sizes_read(const igvm_file *file, struct area_sizes *out)
{
    igvm_header h;
    *out = (struct area_sizes){0};
    out->areas = malloc(IGVM_AREAS_MAX * sizeof *out->areas);
    if (!out->areas)
        return false;
    for (igvm_iter it = igvm_headers(file); igvm_next(&it, &h) && out->count < IGVM_AREAS_MAX;) {
        if (!h.known || h.type != IGVM_T_PARAMETER_AREA)
            continue;
        out->areas[out->count].bytes = load_le64(h.body);
        out->areas[out->count++].index = load_le32(h.body + 8);
    }
    return true;
}

uint64_t area_size_of(const struct area_sizes *sizes, uint32_t index)
{
    for (uint32_t i = 0; i < sizes->count; i++)
        if (sizes->areas[i].index == index)
            return sizes->areas[i].bytes;
    return 0;
}

bool loader_takes_vmsa(const igvm_file *file, const struct loader_rules *rules, uint32_t mask, const igvm_vp_context *context)
{
    const igvm_platform *platform = igvm_platform_of(file, context->mask);
    if (!platform || (platform->type != IGVM_SEV_SNP && platform->type != IGVM_SEV_ES))
        return false;
    if (rules->first_vp_only && context->vp_index != 0)
        return false;
    return rules->vmsa == VMSA_ANY_MASK || context->mask & mask;
}

/* ---- differences -------------------------------------------------------------------------------------------------------------------------- */

/* What a file has on which rules differ: how many headers, and the first. */
struct feature {
    uint64_t count;
    uint32_t index;
    uint64_t gpa;
};

struct features {
    struct feature zero_pages, unmeasured_pages, shared_pages, long_inserts;
    struct feature other_vps, other_masks, misplaced, vmsa_registers;
    struct feature insert_after_page; /* what deferring turns round             */
    struct feature descending;        /* an import below the one before it      */
};

struct survey {
    const igvm_file *file;
    uint32_t mask;
    const struct loader_rules *a, *b;
    struct area_sizes sizes;
    struct features found;
    uint64_t last_gpa;
    uint32_t last_vp;
    bool any_page;
    struct feature vmsa_seen; /* the first so far: whatever follows it will be measured before it by VMSA_LAST */
};

static void note(struct feature *f, const igvm_header *h, uint64_t gpa)
{
    if (f->count++ == 0)
        f->index = h->index, f->gpa = gpa;
}

/* An import of either loader, in file order. */
static void note_import(struct survey *s, const igvm_header *h, uint64_t gpa)
{
    if (gpa < s->last_gpa)
        note(&s->found.descending, h, gpa);
    s->last_gpa = gpa;
}

/* What is imported behind a VMSA comes before it where VMSAs are last. */
static void note_behind_vmsa(struct survey *s)
{
    if (s->vmsa_seen.count && !s->found.misplaced.count)
        s->found.misplaced = s->vmsa_seen;
}

static void survey_page(struct survey *s, const igvm_header *h, const igvm_page_data *p)
{
    bool shared = p->flags & IGVM_PAGE_SHARED, unmeasured = p->flags & IGVM_PAGE_UNMEASURED;
    if (!(p->mask & s->mask))
        return;
    if (shared)
        note(&s->found.shared_pages, h, p->gpa);
    if (shared && !s->a->measures_shared && !s->b->measures_shared)
        return;
    if (!p->file_offset && !unmeasured && p->data_type == IGVM_PAGE_NORMAL)
        note(&s->found.zero_pages, h, p->gpa);
    if (unmeasured && p->file_offset)
        note(&s->found.unmeasured_pages, h, p->gpa);
    note_import(s, h, p->gpa);
    note_behind_vmsa(s);
    s->any_page = true;
}

static void survey_insert(struct survey *s, const igvm_header *h, const igvm_insert *i)
{
    if (!(i->mask & s->mask))
        return;
    if (area_size_of(&s->sizes, i->area) > IGVM_PAGE)
        note(&s->found.long_inserts, h, i->gpa);
    if (s->any_page)
        note(&s->found.insert_after_page, h, i->gpa);
    note_import(s, h, i->gpa);
    note_behind_vmsa(s);
}

static void survey_vmsa(struct survey *s, const igvm_header *h, const igvm_vp_context *v)
{
    static const struct loader_rules all = {.vmsa = VMSA_ANY_MASK};
    if (!loader_takes_vmsa(s->file, &all, s->mask, v))
        return;
    bool a = loader_takes_vmsa(s->file, s->a, s->mask, v), b = loader_takes_vmsa(s->file, s->b, s->mask, v);
    if (a != b)
        note(v->mask & s->mask ? &s->found.other_vps : &s->found.other_masks, h, v->gpa);
    if (!a || !b)
        return;
    uint64_t length;
    const uint8_t *vmsa = igvm_payload(s->file, h, &length);
    if (vmsa && (load_le64(vmsa + VMSA_DR6_AT) != VANADIUM_DR6 || load_le64(vmsa + VMSA_DR7_AT) != VANADIUM_DR7 || load_le64(vmsa + VMSA_PAT_AT) != VANADIUM_PAT))
        note(&s->found.vmsa_registers, h, v->gpa);
    if (v->gpa != KVM_VMSA_GPA || v->vp_index < s->last_vp) /* in place is not where KVM puts it, or not in the order of vCPUs */
        note(&s->found.misplaced, h, v->gpa);
    s->last_vp = v->vp_index;
    note(&s->vmsa_seen, h, v->gpa);
    note_import(s, h, v->gpa);
}

static void survey_file(struct survey *s)
{
    igvm_header h;
    igvm_body body;
    for (igvm_iter it = igvm_headers(s->file); igvm_next(&it, &h);) {
        if (!igvm_decode(&h, &body))
            continue;
        if (h.type == IGVM_T_PAGE_DATA)
            survey_page(s, &h, &body.u.page_data);
        else if (h.type == IGVM_T_PARAMETER_INSERT)
            survey_insert(s, &h, &body.u.insert);
        else if (h.type == IGVM_T_VP_CONTEXT)
            survey_vmsa(s, &h, &body.u.vp_context);
    }
}

/* ---- whether there is any difference: both measurements, with a hash that is no cryptography but quick -------------------------------------------- */

struct fingerprint {
    int bytes;
    uint64_t value;
};

static void *fingerprint_new(int algorithm)
{
    struct fingerprint *f = calloc(1, sizeof *f);
    if (f)
        f->bytes = algorithm;
    return f;
}

static int fingerprint_begin(void *hash)
{
    ((struct fingerprint *)hash)->value = UINT64_C(0xcbf29ce484222325);
    return 0;
}

static int fingerprint_add(void *hash, const void *data, size_t length)
{
    struct fingerprint *f = hash;
    const uint8_t *p = data;
    for (; length >= 8; length -= 8, p += 8)
        f->value = (f->value ^ load_le64(p)) * UINT64_C(0x9e3779b97f4a7c15), f->value ^= f->value >> 29;
    for (; length; length--, p++)
        f->value = (f->value ^ *p) * UINT64_C(0x9e3779b97f4a7c15), f->value ^= f->value >> 29;
    return 0;
}

static int fingerprint_end(void *hash, uint8_t *digest)
{
    struct fingerprint *f = hash;
    for (int i = 0; i < f->bytes; i += 8)
        store_le64(digest + i, f->value);
    return 0;
}

static igvm_code same_measurement(const igvm_file *file, igvm_platform_type platform, igvm_loader a, igvm_loader b, bool *same, igvm_finding *why)
{
    static const igvm_crypto fingerprints = {.hash_new = fingerprint_new, .hash_begin = fingerprint_begin, .hash_add = fingerprint_add,
        .hash_end = fingerprint_end, .hash_free = free};
    igvm_measure_options options = {.platform = platform, .loader = a, .crypto = &fingerprints};
    igvm_digest first, second;
    igvm_code code = igvm_measure(file, &options, &first, why);
    options.loader = b;
    if (!code)
        code = igvm_measure(file, &options, &second, why);
    if (!code)
        *same = memcmp(first.value, second.value, first.bytes) == 0;
    return code;
}

struct teller {
    int (*report)(void *context, const igvm_difference *difference);
    void *context;
    const char *a, *b; /* names */
    bool stop, told;
};

/* Tells one difference where the file has what it is about. `a_does` and `b_does`: "measures them as ..." */
static void tell(struct teller *t, bool differ, const struct feature *f, const char *what, const char *a_does, const char *b_does)
{
    if (!differ || !f->count || t->stop)
        return;
    igvm_difference d = {.index = f->index, .gpa = f->gpa, .count = f->count};
    snprintf(d.text, sizeof d.text, "%s: %s %s, %s %s", what, t->a, a_does, t->b, b_does);
    t->told = true;
    t->stop = t->report(t->context, &d);
}

static const char *order_text(enum order order)
{
    switch (order) {
    case ORDER_DEFERRED:
        return "imports a run of pages only when the next begins or the file ends, so that areas inserted behind it come first";
    case ORDER_GPA:
        return "sorts all imports by GPA";
    default:
        return "follows the file";
    }
}

/* Whether an order, with the file's imports, is another than the file's. */
static bool order_moves(enum order order, const struct features *f)
{
    return order == ORDER_DEFERRED ? f->insert_after_page.count : order == ORDER_GPA ? f->descending.count : false;
}

static void tell_snp(struct teller *t, const struct loader_rules *a, const struct loader_rules *b, const struct features *f)
{
    static const char *const zero[] = {"measures them as pages of zeros (type 1)", "by their own page type (3)"};
    tell(t, a->zero_type != b->zero_type, &f->zero_pages, "pages without data", zero[a->zero_type], zero[b->zero_type]);
    static const char *const insert[] = {"measures every page", "only the first page"};
    tell(t, a->first_insert_page != b->first_insert_page, &f->long_inserts, "inserted areas of more than a page", insert[a->first_insert_page],
        insert[b->first_insert_page]);
}

static void tell_sev(struct teller *t, const struct loader_rules *a, const struct loader_rules *b, const struct features *f)
{
    static const char *const zero[] = {"hashes 4096 zeros", "hashes nothing"};
    tell(t, a->sev_skips_zero != b->sev_skips_zero, &f->zero_pages, "pages without data", zero[a->sev_skips_zero], zero[b->sev_skips_zero]);
    static const char *const unmeasured[] = {"leaves them out", "hashes them"};
    tell(t, a->sev_takes_unmeasured != b->sev_takes_unmeasured, &f->unmeasured_pages, "unmeasured pages with data", unmeasured[a->sev_takes_unmeasured],
        unmeasured[b->sev_takes_unmeasured]);
}

static void tell_vmsas(struct teller *t, const struct loader_rules *a, const struct loader_rules *b, const struct features *f)
{
    static const char *const vp[] = {"measures each vCPU's", "VP 0's only"};
    tell(t, a->first_vp_only != b->first_vp_only, &f->other_vps, "VMSAs", vp[a->first_vp_only], vp[b->first_vp_only]);
    static const char *const place[] = {"measures them where they stand, at the file's GPA", "where they stand", "last, at GPA 0xfffffffff000"};
    tell(t, (a->vmsa == VMSA_LAST) != (b->vmsa == VMSA_LAST), &f->misplaced, "VMSAs", place[a->vmsa], place[b->vmsa]);
    static const char *const mask[] = {"leaves them out", "measures them", "leaves them out"};
    tell(t, (a->vmsa == VMSA_ANY_MASK) != (b->vmsa == VMSA_ANY_MASK), &f->other_masks, "VMSAs of other platforms", mask[a->vmsa], mask[b->vmsa]);
    static const char *const own[] = {"takes DR6, DR7 and PAT from the file", "puts in its own"};
    tell(t, a->vanadium_registers != b->vanadium_registers, &f->vmsa_registers, "VMSAs", own[a->vanadium_registers], own[b->vanadium_registers]);
}

igvm_code igvm_loader_differences(const igvm_file *file, igvm_platform_type platform, igvm_loader a, igvm_loader b,
    int (*report)(void *context, const igvm_difference *difference), void *context, igvm_finding *why)
{
    const igvm_platform *header;
    if (!file || !report)
        return igvm_fail(why, IGVM_BAD_ARGUMENT, "no file or no function");
    igvm_code code = loader_platform(file, platform, a, &header, why);
    if (!code)
        code = loader_platform(file, platform, b, &header, why);
    bool same = false;
    if (!code)
        code = same_measurement(file, platform, a, b, &same, why);
    if (code || same)
        return code;
    struct survey s = {.file = file, .mask = header->mask, .a = loader_rules_of(a), .b = loader_rules_of(b)};
    if (!area_sizes_read(file, &s.sizes))
        return igvm_fail(why, IGVM_NO_MEMORY, "no memory");
    survey_file(&s);
    free(s.sizes.areas);
    struct teller t = {.report = report, .context = context, .a = igvm_loader_name(a), .b = igvm_loader_name(b)};
    const struct features *f = &s.found;
    static const char *const shared[] = {"leaves them out", "measures them as private ones"};
    tell(&t, s.a->measures_shared != s.b->measures_shared, &f->shared_pages, "shared pages", shared[s.a->measures_shared], shared[s.b->measures_shared]);
    if (platform == IGVM_SEV_SNP)
        tell_snp(&t, s.a, s.b, f);
    else
        tell_sev(&t, s.a, s.b, f);
    if (platform != IGVM_SEV)
        tell_vmsas(&t, s.a, s.b, f);
    bool order = s.a->order != s.b->order && (order_moves(s.a->order, f) || order_moves(s.b->order, f));
    static const struct feature somewhere = {1, IGVM_NONE, 0};
    const struct feature *where = f->insert_after_page.count ? &f->insert_after_page : f->descending.count ? &f->descending : &somewhere;
    tell(&t, order || !t.told, where, "order", order_text(s.a->order), order_text(s.b->order));
    return IGVM_OK;
}
