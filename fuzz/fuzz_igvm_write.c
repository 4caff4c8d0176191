/* SPDX-License-Identifier: MIT */
/* Writing IGVM files: what the reader accepts is copied to the same bytes, and put together again from its parts to an equal file. */
#include "igvm_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *write_all(const igvm_writer *w, size_t *size)
{
    *size = (size_t)igvm_writer_size(w);
    uint8_t *p = malloc(*size);
    if (!p || igvm_writer_write(w, p, *size, NULL) != IGVM_OK)
        abort();
    return p;
}

static igvm_writer *rebuild(const igvm_file *file)
{
    igvm_writer *w = igvm_writer_new(file->version, file->arch);
    igvm_header h;
    for (igvm_iter it = igvm_headers(file); w && igvm_next(&it, &h);) {
        igvm_body body;
        uint64_t length;
        if (!igvm_decode(&h, &body)) {
            igvm_writer_add_raw(w, h.type | IGVM_OPTIONAL, h.body, h.length);
            continue;
        }
        const uint8_t *p = igvm_payload(file, &h, &length);
        if (igvm_writer_add(w, &body, p, p ? (size_t)length : 0) != IGVM_OK)
            abort();
    }
    return w;
}

static bool next_known(igvm_iter *it, igvm_header *h)
{
    while (igvm_next(it, h))
        if (h->known)
            return true;
    return false;
}

/* The same headers but for file offsets, with the same data. */
static void compare(const igvm_file *a, const igvm_file *b)
{
    igvm_iter x = igvm_headers(a), y = igvm_headers(b);
    igvm_header h, g;
    while (next_known(&x, &h)) {
        if (!next_known(&y, &g) || h.type != g.type || h.length != g.length)
            abort();
        int at = h.known->data_at;
        for (int i = 0; i < (int)h.length; i++)
            if (h.body[i] != g.body[i] && !(at >= 0 && i >= at && i < at + 4) && h.type != IGVM_T_CCA_POLICY)
                abort();
        uint64_t n, m;
        const uint8_t *p = igvm_payload(a, &h, &n), *q = igvm_payload(b, &g, &m);
        if (n != m || (!p != !q && n) || (p && q && memcmp(p, q, (size_t)n) != 0))
            abort();
    }
    if (next_known(&y, &g))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *p = igvm_fuzz_file(data, size);
    igvm_file file, other;
    if (igvm_open(&file, p, size, 0, NULL) == IGVM_OK) {
        size_t n;
        igvm_writer *w = igvm_writer_from(&file);
        if (!w)
            abort();
        uint8_t *copy = write_all(w, &n);
        if (n != size || memcmp(copy, p, n) != 0)
            abort();
        free(copy);
        igvm_writer_free(w);
        w = rebuild(&file);
        copy = write_all(w, &n);
        if (igvm_open(&other, copy, n, IGVM_STRICT, NULL) != IGVM_OK)
            abort();
        compare(&file, &other);
        free(copy);
        igvm_writer_free(w);
    }
    free(p);
    return 0;
}
