/* SPDX-License-Identifier: MIT */
/* igvm_diff.c - how two IGVM files differ in what they start, platform by platform, whatever their layout and their masks.
 *
 * Pages are compared by address; other headers by their type and their place among those of that type. Both files are hostile; memory is in proportion to the headers that they
 * really hold.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "cli/igvm_cli.h"

struct diff { bool digest; };
#define ROW(member_, ...) { .offset = offsetof(struct diff, member_), __VA_ARGS__ }
const struct option igvm_diff_table[] = {
    ROW(digest, .key = "digest", .kind = OPTION_BOOL, .initial = "off", .meaning = "say where the measurements of snp and vbs part, which hashes both files"),
    OPTION_END,
};
#undef ROW

struct page { uint64_t gpa; const uint8_t *data; uint64_t len; uint32_t flags; uint16_t type; };
struct side { struct igvm_input in; struct page *pages; size_t page_count; igvm_header *others; size_t other_count; uint32_t mask; };
struct context { struct side a, b; const char *platform; unsigned long long differences; };

static void tell(struct context *c) { c->differences++, printf("%s: ", c->platform); }

/* ---- gathering ------------------------------------------------------------------------------------------------------------------------------------ */

static void side_clear(struct side *s)
{
    free(s->pages);
    free(s->others);
    s->pages = NULL, s->others = NULL;
    s->page_count = s->other_count = 0;
}

static int compare_pages(const void *a, const void *b)
{
    const struct page *x = a, *y = b;
    return x->gpa < y->gpa ? -1 : x->gpa > y->gpa;
}

/* Counts first, so that nothing grows. */
static int gather(struct side *s, struct err *err)
{
    igvm_header h;
    igvm_body body;
    size_t pages = 0, others = 0;
    for (igvm_iter i = igvm_headers(&s->in.file); igvm_next(&i, &h);)
        *(h.type == IGVM_T_PAGE_DATA ? &pages : &others) += 1;
    s->pages = calloc(pages + 1, sizeof *s->pages);
    s->others = calloc(others + 1, sizeof *s->others);
    if (!s->pages || !s->others)
        return err_set(err, ERR_HOST, "out of memory");
    for (igvm_iter i = igvm_headers(&s->in.file); igvm_next(&i, &h);) {
        if (!h.known || !(igvm_mask(&h) & s->mask) || !igvm_decode(&h, &body))
            continue;
        if (h.type != IGVM_T_PAGE_DATA) {
            s->others[s->other_count++] = h;
            continue;
        }
        struct page *p = &s->pages[s->page_count++];
        *p = (struct page){.gpa = body.u.page_data.gpa, .flags = body.u.page_data.flags, .type = body.u.page_data.data_type};
        p->data = igvm_payload(&s->in.file, &h, &p->len);
    }
    qsort(s->pages, s->page_count, sizeof *s->pages, compare_pages);
    return 0;
}

/* ---- pages ---------------------------------------------------------------------------------------------------------------------------------------- */

enum verdict { SAME, ONLY_A, ONLY_B, CONTENTS, ATTRIBUTES };
struct run { enum verdict verdict; uint64_t from, end; };

static bool same_bytes(const struct page *a, const struct page *b)
{
    static const uint8_t zeros[IGVM_PAGE];
    for (uint64_t at = 0; at < a->len; at += IGVM_PAGE)
        if (memcmp(a->data ? a->data + at : zeros, b->data ? b->data + at : zeros, IGVM_PAGE))
            return false;
    return true;
}

static void run_end(struct context *c, struct run *run)
{
    static const char *const texts[] = {[ONLY_A] = "only in the first file", [ONLY_B] = "only in the second file", [CONTENTS] = "have other contents",
                                        [ATTRIBUTES] = "have other flags or another type"};
    if (run->verdict != SAME) {
        tell(c);
        printf("pages 0x%llx to 0x%llx %s\n", (unsigned long long)run->from, (unsigned long long)run->end - 1, texts[run->verdict]);
    }
    run->verdict = SAME;
}

static void run_add(struct context *c, struct run *run, enum verdict verdict, const struct page *page)
{
    if (run->verdict != verdict || run->end != page->gpa) {
        run_end(c, run);
        *run = (struct run){verdict, page->gpa, page->gpa};
    }
    run->end = page->gpa + page->len;
}

static void diff_pages(struct context *c)
{
    struct run run = {SAME, 0, 0};
    for (size_t i = 0, k = 0; i < c->a.page_count || k < c->b.page_count;) {
        const struct page *a = i < c->a.page_count ? &c->a.pages[i] : NULL, *b = k < c->b.page_count ? &c->b.pages[k] : NULL;
        if (!b || (a && a->gpa < b->gpa))
            run_add(c, &run, ONLY_A, a), i++;
        else if (!a || b->gpa < a->gpa)
            run_add(c, &run, ONLY_B, b), k++;
        else {
            bool same = a->flags == b->flags && a->type == b->type && a->len == b->len;
            run_add(c, &run, !same ? ATTRIBUTES : same_bytes(a, b) ? SAME : CONTENTS, a);
            i++, k++;
        }
    }
    run_end(c, &run);
}

/* ---- other headers ----------------------------------------------------------------------------------------------------------------------------------- */

static void diff_fields(struct context *c, const char *what, unsigned number, const igvm_field *fields, size_t count, const uint8_t *a, const uint8_t *b, int skip1, int skip2)
{
    for (size_t i = 0; i < count; i++) {
        const igvm_field *f = &fields[i];
        if (f->offset == skip1 || f->offset == skip2 || !memcmp(a + f->offset, b + f->offset, f->bytes))
            continue;
        tell(c);
        printf("%s %u: %s ", what, number, f->name);
        if (f->bytes <= 8) {
            printf("0x%llx, then 0x%llx\n", (unsigned long long)igvm_field_get(f, a), (unsigned long long)igvm_field_get(f, b));
        } else {
            igvm_print_hex(stdout, a + f->offset, f->bytes);
            fputs(", then ", stdout);
            igvm_print_hex(stdout, b + f->offset, f->bytes);
            putchar('\n');
        }
    }
}

static bool context_layout(const struct side *s, igvm_layout *out)
{
    const igvm_platform *p = igvm_platform_of(&s->in.file, s->mask);
    static const int layouts[] = {[IGVM_NATIVE] = IGVM_LAYOUT_NATIVE, [IGVM_VBS] = -1, [IGVM_SEV_SNP] = IGVM_LAYOUT_VMSA, [IGVM_TDX] = -1, [IGVM_SEV] = IGVM_LAYOUT_NATIVE,
                                  [IGVM_SEV_ES] = IGVM_LAYOUT_VMSA, [IGVM_CCA] = IGVM_LAYOUT_CCA};
    if (!p || layouts[p->type] < 0)
        return false;
    *out = (igvm_layout)layouts[p->type];
    return true;
}

static void diff_payload(struct context *c, unsigned number, const igvm_header *a, const igvm_header *b)
{
    uint64_t a_len = 0, b_len = 0;
    const uint8_t *x = igvm_payload(&c->a.in.file, a, &a_len), *y = igvm_payload(&c->b.in.file, b, &b_len);
    igvm_layout layout;
    size_t count;
    if (!x && !y)
        return;
    if (x && y && a_len == b_len && !memcmp(x, y, a_len))
        return;
    if (a->type == IGVM_T_VP_CONTEXT && x && y && a_len == b_len && context_layout(&c->a, &layout)) {
        const igvm_field *fields = igvm_layout_fields(layout, &count);
        diff_fields(c, "VP_CONTEXT", number, fields, count, x, y, -1, -1);
        return;
    }
    tell(c);
    printf("%s %u: %llu bytes of data, then %llu other ones\n", a->known->name, number, (unsigned long long)a_len, (unsigned long long)b_len);
}

static const igvm_header *nth(const struct side *s, uint32_t type, unsigned n)
{
    for (size_t i = 0; i < s->other_count; i++)
        if (s->others[i].type == type && !n--)
            return &s->others[i];
    return NULL;
}

static unsigned count_type(const struct side *s, uint32_t type)
{
    unsigned n = 0;
    for (size_t i = 0; i < s->other_count; i++)
        n += s->others[i].type == type;
    return n;
}

static void diff_type(struct context *c, const igvm_type *type)
{
    unsigned a = count_type(&c->a, type->type), b = count_type(&c->b, type->type);
    if (a != b) {
        tell(c);
        printf("%u headers %s, then %u\n", a, type->name, b);
    }
    for (unsigned n = 0; n < a && n < b && n < 256; n++) { /* a file with more of one kind is not made for people */
        const igvm_header *x = nth(&c->a, type->type, n), *y = nth(&c->b, type->type, n);
        diff_fields(c, type->name, n, type->fields, type->field_count, x->body, y->body, type->mask_at, type->data_at);
        diff_payload(c, n, x, y);
    }
}

static void diff_others(struct context *c)
{
    static const uint32_t ranges[][2] = {{IGVM_T_SUPPORTED_PLATFORM, IGVM_T_SUPPORTED_PLATFORM}, {IGVM_T_GUEST_POLICY, IGVM_T_CCA_POLICY},
                                         {IGVM_T_PARAMETER_AREA, IGVM_T_ENVIRONMENT}};
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
        for (uint32_t t = ranges[i][0]; t <= ranges[i][1]; t++)
            if (igvm_type_of(t) && t != IGVM_T_PAGE_DATA)
                diff_type(c, igvm_type_of(t));
}

/* ---- measurements ---------------------------------------------------------------------------------------------------------------------------------- */

struct steps { struct step { uint32_t index, kind; uint64_t gpa; uint8_t digest[48]; } *items; size_t count, room, at; bool differs, no_memory; struct step other; };

static int record_step(void *context, const igvm_step *s)
{
    struct steps *steps = context;
    if (steps->count == steps->room) {
        size_t room = steps->room ? 2 * steps->room : 1024;
        struct step *more = realloc(steps->items, room * sizeof *more);
        if (!more)
            return steps->no_memory = true;
        steps->items = more;
        steps->room = room;
    }
    struct step *to = &steps->items[steps->count++];
    *to = (struct step){.index = s->index, .kind = s->kind, .gpa = s->gpa};
    if (s->digest)
        memcpy(to->digest, s->digest->value, s->digest->bytes);
    return 0;
}

static int compare_step(void *context, const igvm_step *s)
{
    struct steps *steps = context;
    const struct step *mine = steps->at < steps->count ? &steps->items[steps->at] : NULL;
    if (!mine || mine->gpa != s->gpa || mine->kind != s->kind || (s->digest && memcmp(mine->digest, s->digest->value, s->digest->bytes))) {
        steps->differs = true;
        steps->other = (struct step){.index = s->index, .kind = s->kind, .gpa = s->gpa};
        return 1;
    }
    steps->at++;
    return 0;
}

static void diff_digest(struct context *c, igvm_platform_type type)
{
    struct steps steps = {0};
    igvm_digest digest;
    igvm_finding why;
    igvm_measure_options options = {.platform = type, .loader = IGVM_LOADER_SPEC, .crypto = igvm_cli_crypto(), .step = record_step, .context = &steps};
    igvm_code code = igvm_measure(&c->a.in.file, &options, &digest, &why);
    options.step = compare_step;
    if (code == IGVM_OK)
        igvm_measure(&c->b.in.file, &options, &digest, &why);
    if (steps.differs || steps.at < steps.count) {
        tell(c);
        printf("the measurements part at step %zu", steps.at);
        if (steps.at < steps.count)
            printf(", header %u at 0x%llx of the first file", steps.items[steps.at].index, (unsigned long long)steps.items[steps.at].gpa);
        if (steps.differs)
            printf(", header %u at 0x%llx of the second", steps.other.index, (unsigned long long)steps.other.gpa);
        putchar('\n');
    }
    free(steps.items);
}

/* ---- the command ------------------------------------------------------------------------------------------------------------------------------------ */

static int diff_platform(const struct diff *options, struct context *c, igvm_platform_type type, struct err *err)
{
    const igvm_platform *a = igvm_find_platform(&c->a.in.file, type), *b = igvm_find_platform(&c->b.in.file, type);
    c->platform = igvm_type_label(type);
    if (!a || !b) {
        if (a || b) {
            tell(c);
            printf("only in the %s file\n", a ? "first" : "second");
        }
        return 0;
    }
    c->a.mask = a->mask;
    c->b.mask = b->mask;
    int r = gather(&c->a, err);
    if (!r)
        r = gather(&c->b, err);
    if (!r) {
        diff_others(c);
        diff_pages(c);
        if (options->digest && (type == IGVM_SEV_SNP || type == IGVM_VBS))
            diff_digest(c, type);
    }
    side_clear(&c->a);
    side_clear(&c->b);
    return r;
}

static int diff(const struct diff *options, char **paths, struct err *err)
{
    struct context c = {.platform = "file"};
    int r = igvm_input_open(&c.a.in, paths[0], 0, err);
    if (!r)
        r = igvm_input_open(&c.b.in, paths[1], 0, err);
    if (!r && (c.a.in.file.version != c.b.in.file.version || c.a.in.file.arch != c.b.in.file.arch)) {
        tell(&c);
        printf("version %u, architecture %u, then version %u, architecture %u\n", c.a.in.file.version, c.a.in.file.arch, c.b.in.file.version, c.b.in.file.arch);
    }
    for (unsigned type = IGVM_NATIVE; !r && type <= IGVM_CCA; type++)
        r = diff_platform(options, &c, type, err);
    igvm_input_free(&c.a.in);
    igvm_input_free(&c.b.in);
    return r ? cli_fail(err) : c.differences ? STATUS_DIFFERS : 0;
}

int command_igvm_diff(const struct command *command, int argc, char **argv)
{
    struct diff options = {0};
    struct option_list words = {0};
    struct err err = ERR_NONE;
    int r = igvm_arguments(command, &options, &words, argc, argv, &err);
    int status = r ? cli_fail(&err) : diff(&options, words.items, &err);
    words_free(&words);
    return status;
}
