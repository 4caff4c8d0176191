/* SPDX-License-Identifier: MIT */
#include "cpu/translate/code_memory.h"

#include <sys/mman.h>
#include <unistd.h>

const char *code_memory_new(struct code_memory *m, size_t size)
{
    int fd = memfd_create("translated code", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)size)) {
        if (fd >= 0)
            close(fd);
        return "memfd_create is not allowed here";
    }
    m->size = size;
    m->write = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    m->run = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    close(fd);
    if (m->write != MAP_FAILED && m->run != MAP_FAILED)
        return NULL;
    if (m->write != MAP_FAILED)
        munmap(m->write, size);
    if (m->run != MAP_FAILED)
        munmap(m->run, size);
    m->size = 0;
    return "executable memory is not allowed here";
}

void code_memory_free(struct code_memory *m)
{
    munmap(m->write, m->size);
    munmap(m->run, m->size);
    m->size = 0;
}
