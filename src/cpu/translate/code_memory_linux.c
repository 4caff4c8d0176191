/* SPDX-License-Identifier: MIT */
#include "cpu/translate/code_memory.h"

#include <sys/mman.h>

/* Executable first, and the second view loses that right: a policy that lets no memory become executable later (PR_SET_MDWE) allows this. Memory without a name,
 * since perf looks the code that it finds in such up in our map of it. */
const char *code_memory_new(struct code_memory *m, size_t size)
{
    m->size = 0;
    m->run = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m->run == MAP_FAILED)
        return "executable memory is not allowed here";
    m->write = mremap(m->run, 0, size, MREMAP_MAYMOVE); /* old size 0: the same pages once more (mremap(2)) */
    if (m->write == MAP_FAILED || mprotect(m->write, size, PROT_READ | PROT_WRITE)) {
        if (m->write != MAP_FAILED)
            munmap(m->write, size);
        munmap(m->run, size);
        return "memory cannot be seen at two addresses here";
    }
    m->size = size;
    return NULL;
}

void code_memory_free(struct code_memory *m)
{
    munmap(m->write, m->size);
    munmap(m->run, m->size);
    m->size = 0;
}
