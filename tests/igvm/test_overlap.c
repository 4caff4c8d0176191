/* SPDX-License-Identifier: MIT */
/* Pages imported twice: random files, whose imports are compared with each other here, and files of many pages in every order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "igvm.h"

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

struct import {
    uint64_t gpa, bytes;
    uint32_t mask;
    bool vmsa;
};

enum { IMPORTS_MAX = 400 };

struct model {
    struct import list[IMPORTS_MAX];
    unsigned count;
    uint16_t vps;
};

static void add_import(struct model *m, uint64_t gpa, uint64_t bytes, uint32_t mask, bool vmsa)
{
    m->list[m->count++] = (struct import){gpa, bytes, mask, vmsa};
}

static bool model_overlaps(const struct model *m)
{
    for (unsigned i = 0; i < m->count; i++)
        for (unsigned j = 0; j < i; j++) {
            const struct import *a = &m->list[i], *b = &m->list[j];
            if (a->mask & b->mask && !(a->vmsa && b->vmsa) && a->gpa < b->gpa + b->bytes && b->gpa < a->gpa + a->bytes)
                return true;
        }
    return false;
}

static void add_page(igvm_writer *w, struct model *m, uint64_t page, uint32_t mask, bool big)
{
    igvm_body body = {.type = IGVM_T_PAGE_DATA};
    uint64_t gpa = big ? (page & ~511u) << 12 : page << 12;
    body.u.page_data = (igvm_page_data){gpa, mask, 0, big ? IGVM_PAGE_IS_2MB : 0, 0, 0};
    igvm_writer_add(w, &body, NULL, 0);
    add_import(m, gpa, big ? IGVM_PAGE_2MB : IGVM_PAGE, mask, false);
}

static void add_range(igvm_writer *w, struct model *m, uint64_t page, uint32_t mask, unsigned kind)
{
    uint32_t area;
    uint8_t vmsa[IGVM_PAGE] = {1};
    igvm_body body = {.type = IGVM_T_ERROR_RANGE};
    if (kind == 0) {
        igvm_add_area(w, 3 * IGVM_PAGE, NULL, 0, &area);
        igvm_add_insert(w, mask, page << 12, area);
        add_import(m, page << 12, 3 * IGVM_PAGE, mask, false);
    } else if (kind == 1) {
        body.u.error_range = (igvm_error_range){page << 12, mask, 2 * IGVM_PAGE};
        igvm_writer_add(w, &body, NULL, 0);
        add_import(m, page << 12, 2 * IGVM_PAGE, mask, false);
    } else {
        igvm_add_vp_context(w, 1, page << 12, m->vps++, vmsa, sizeof vmsa);
        add_import(m, page << 12, IGVM_PAGE, 1, true);
    }
}

struct count {
    unsigned errors;
    uint32_t last;
};

static int count_overlaps(void *context, const igvm_finding *f)
{
    struct count *c = context;
    if (f->severity != IGVM_ERROR)
        return 0;
    assert_int_equal(f->code, IGVM_OVERLAP);
    assert_true(f->index != IGVM_NONE && f->offset != 0);
    c->errors++;
    return 0;
}

static unsigned overlaps_in(igvm_writer *w)
{
    size_t size = (size_t)igvm_writer_size(w);
    uint8_t *p = malloc(size);
    assert_non_null(p);
    struct count c = {0};
    igvm_finding why;
    igvm_code code = igvm_writer_write(w, p, size, &why);
    igvm_verify(p, size, 0, NULL, count_overlaps, &c);
    assert_int_equal(code, c.errors ? IGVM_OVERLAP : IGVM_OK);
    igvm_writer_free(w);
    free(p);
    return c.errors;
}

static igvm_writer *three_platforms(void)
{
    uint32_t mask;
    igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
    igvm_add_platform(w, IGVM_SEV_SNP, 0, 0, &mask);
    igvm_add_platform(w, IGVM_TDX, 0, 0, &mask);
    igvm_add_platform(w, IGVM_VBS, 0, 0, &mask);
    igvm_add_policy(w, 1, 0x30000);
    return w;
}

static void test_random_files(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252u;
    unsigned with = 0;
    static struct model m;
    for (int round = 0; round < 2000; round++) {
        igvm_writer *w = three_platforms();
        m = (struct model){0};
        unsigned count = 1 + next_random(&random) % (round % 8 ? 12 : 120);
        uint64_t span = round % 3 ? 4096 : 0x100000; /* pages */
        for (unsigned i = 0; i < count; i++) {
            uint64_t page = next_random(&random) % span, what = next_random(&random) % 16;
            uint32_t mask = 1 + (uint32_t)(next_random(&random) % 7);
            if (what < 13)
                add_page(w, &m, page, mask, next_random(&random) % 32 == 0);
            else
                add_range(w, &m, page, mask, (unsigned)what - 13);
        }
        bool want = model_overlaps(&m);
        if ((overlaps_in(w) > 0) != want)
            fail_msg("round %d: %u imports, overlap %d", round, m.count, want);
        with += want;
    }
    assert_in_range(with, 200, 1800); /* both kinds came by */
}

/* Many pages, in several orders; `twice` of them come a second time. */
static unsigned many(unsigned count, unsigned factor, unsigned twice, bool far)
{
    igvm_writer *w = three_platforms();
    for (unsigned i = 0; i < count + twice; i++) {
        uint64_t page = (uint64_t)i * factor % count;
        if (far)
            page = page << 30 | page; /* bits all over the key */
        igvm_add_pages(w, 1, page << 12, NULL, IGVM_PAGE, 0, 0);
    }
    return overlaps_in(w);
}

static void test_many_pages(void **state)
{
    (void)state;
    assert_int_equal(many(5003, 1, 0, false), 0);
    assert_int_equal(many(5003, 5002, 0, false), 0);
    assert_int_equal(many(5003, 1237, 0, false), 0);
    assert_int_equal(many(5003, 1237, 0, true), 0);
    assert_int_equal(many(5003, 1237, 17, true), 17);
    assert_int_equal(many(5003, 1, 5003, false), 5003);
    assert_int_equal(many(1, 1, 300, false), 300); /* one page again and again: no digit tells the keys apart */
}

int main(int argc, char **argv)
{
    (void)argc, (void)argv;
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_files), cmocka_unit_test(test_many_pages)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
