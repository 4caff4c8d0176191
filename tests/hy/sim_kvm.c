/* SPDX-License-Identifier: MIT */
#include "sim_kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES 12288

static _Thread_local struct sim *sim; /* mutable: struct hy_os has no argument for it */

void sim_begin(struct sim *s) { sim = s; }

/* True when this call is to fail. */
static bool fails(void)
{
    if (++sim->calls != sim->fail_at)
        return false;
    sim->error = sim->fail_with;
    return true;
}

static int sim_open(const char *path, int flags)
{
    (void)flags;
    if (fails())
        return -1;
    if (strcmp(path, "/dev/kvm")) {
        sim->error = ENOENT;
        return -1;
    }
    return 100 + sim->open_handles++;
}

static int sim_close(int fd)
{
    (void)fd;
    sim->open_handles--;
    return 0;
}

static long capability(long number)
{
    switch (number) {
    case KVM_CAP_NR_MEMSLOTS: return 64;
    case KVM_CAP_MAX_VCPUS: return 16;
    case KVM_CAP_XSAVE2: return 0;
    default: return 1;
    }
}

static long cpuid_fill(struct kvm_cpuid2 *list)
{
    static const struct kvm_cpuid_entry2 leaves[] = {
        {.function = 0, .eax = 0xd}, {.function = 1, .ecx = 1u << 26 | 1u << 28}, {.function = 0xd, .index = 0, .flags = 1, .eax = 7, .ebx = 832, .ecx = 832},
        {.function = 0xd, .index = 2, .flags = 1, .eax = 256, .ebx = 576}, {.function = 0x80000008, .eax = 40},
    };

    if (list->nent < ARRAY_LEN(leaves)) {
        sim->error = E2BIG;
        return -1;
    }
    memcpy(list->entries, leaves, sizeof leaves);
    list->nent = ARRAY_LEN(leaves);
    return 0;
}

static long run_guest(void)
{
    int error = 0;

    if (sim->run && sim->page)
        error = sim->run(sim, sim->page);
    else if (sim->page)
        sim->page->exit_reason = KVM_EXIT_HLT;
    sim->error = error;
    return error ? -1 : 0;
}

static long sim_ioctl(int fd, unsigned long request, void *arg)
{
    (void)fd;
    if (request != KVM_CHECK_EXTENSION && fails())
        return -1;
    switch (request) {
    case KVM_GET_API_VERSION: return KVM_API_VERSION;
    case KVM_CHECK_EXTENSION: return capability((long)(uintptr_t)arg);
    case KVM_GET_VCPU_MMAP_SIZE: return PAGE_BYTES;
    case KVM_CREATE_VM: case KVM_CREATE_VCPU: return 100 + sim->open_handles++;
    case KVM_GET_SUPPORTED_CPUID: return cpuid_fill(arg);
    case KVM_GET_MSR_INDEX_LIST:
        ((struct kvm_msr_list *)arg)->nmsrs = 2;
        ((struct kvm_msr_list *)arg)->indices[0] = 0x10;
        ((struct kvm_msr_list *)arg)->indices[1] = 0xc0000082;
        return 0;
    case KVM_GET_MSRS: case KVM_SET_MSRS: return 1;
    case KVM_GET_TSC_KHZ: return 1000000;
    case KVM_SET_USER_MEMORY_REGION: sim->slots_set++; return 0;
    case KVM_RUN: return run_guest();
    default: return 0;
    }
}

static void *sim_map(void *want, size_t len, int prot, int fd, int64_t off)
{
    void *p;

    (void)want, (void)prot, (void)off;
    if (fails())
        return NULL;
    p = aligned_alloc(4096, (len + 4095) / 4096 * 4096);
    memset(p, 0, len);
    sim->mapped++;
    if (fd >= 0)
        sim->page = p;
    return p;
}

static int sim_unmap(void *p, size_t len)
{
    (void)len;
    if (p == (void *)sim->page)
        sim->page = NULL;
    free(p);
    sim->mapped--;
    return 0;
}

static int sim_error(void) { return sim->error; }
static int sim_ring(intptr_t event) { return (void)event, 0; }

const struct hy_os sim_os = {.open = sim_open, .close = sim_close, .ioctl = sim_ioctl, .map = sim_map, .unmap = sim_unmap, .error = sim_error, .ring = sim_ring};
