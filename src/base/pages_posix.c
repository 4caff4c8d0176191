/* SPDX-License-Identifier: MIT */
#include "base/pages.h"

#include <sys/mman.h>

/* Where the host knows huge pages, large blocks ask for them: guest memory is touched all over, and each miss of the host's TLB costs twice in a guest. */
static void prefer_huge_pages(void *pages, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    enum { HUGE_FROM = 4 << 20 };
    if (bytes >= HUGE_FROM)
        madvise(pages, bytes, MADV_HUGEPAGE); /* a wish: failure changes nothing */
#else
    (void)pages, (void)bytes;
#endif
}

void *pages_alloc(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    prefer_huge_pages(p, bytes);
    return p;
}

void *pages_alloc_low(size_t bytes)
{
#ifdef MAP_32BIT
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_32BIT, -1, 0);
    if (p != MAP_FAILED)
        return p;
#endif
    return pages_alloc(bytes);
}

void pages_free(void *pages, size_t bytes)
{
    if (pages)
        munmap(pages, bytes);
}
