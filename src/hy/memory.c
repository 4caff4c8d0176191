/* SPDX-License-Identifier: MIT */
/* memory.c - blocks, mappings and dirty logs: memory/ does the work, the backend follows through vm_changed(). */
#include <stdlib.h>

#include "base/checked.h"
#include "hy/core.h"

static hy_err mem_make(hy_vm *home, struct mem_block *block, hy_mem **out)
{
    hy_mem *mem = block ? calloc(1, sizeof *mem) : NULL;

    if (!mem) {
        mem_block_unref(block);
        return HY_FAIL(HY_E_NOMEM, "hy_mem_new", "the host has no such amount of memory");
    }
    mem->h = home->h;
    mem->block = block;
    *out = mem;
    return HY_OK;
}

hy_err hy_mem_new(hy_vm *home, size_t bytes, hy_mem **out)
{
    if (!home || !out)
        return HY_FAIL(HY_E_INVAL, "hy_mem_new", "");
    if (!bytes || bytes % home->h->caps.granule)
        return HY_FAIL(HY_E_RANGE, "hy_mem_new", "not a multiple of the granule");
    return mem_make(home, mem_block_new(bytes, NULL), out);
}

hy_err hy_mem_wrap(hy_vm *home, void *host, size_t bytes, hy_mem **out)
{
    if (!home || !out)
        return HY_FAIL(HY_E_INVAL, "hy_mem_wrap", "");
    if (!(home->h->caps.can & HY_CAN_WRAP))
        return HY_FAIL(HY_E_NOTSUP, "hy_mem_wrap", "");
    if (!host || (uintptr_t)host % home->h->caps.granule || !bytes || bytes % home->h->caps.granule)
        return HY_FAIL(HY_E_RANGE, "hy_mem_wrap", "not whole granules");
    return mem_make(home, mem_block_wrap(host, bytes, NULL), out);
}

void *hy_mem_ptr(hy_mem *mem) { return mem ? mem_block_host(mem->block) : NULL; }
struct mem_block *hy_mem_block(hy_mem *mem) { return mem->block; }

void hy_mem_free(hy_mem *mem)
{
    if (!mem)
        return;
    mem_block_unref(mem->block);
    free(mem);
}

void hy_mem_touched(hy_mem *mem, size_t off, size_t len)
{
    if (mem)
        mem_touched(mem->block, off, len);
}

/* ---- mappings ----------------------------------------------------------------------------------------------------------------------------------- */

static hy_err range_check(hy_vm *vm, uint64_t gpa, size_t len, const char *call)
{
    if (!vm)
        return HY_FAIL(HY_E_INVAL, call, "no VM");
    if (!len || (gpa | len) % vm->h->caps.granule)
        return HY_FAIL(HY_E_RANGE, call, "not whole granules");
    if (!range_inside(gpa, len, BIT(vm->cfg.gpa_bits)))
        return HY_FAIL(HY_E_RANGE, call, "beyond the guest's physical addresses");
    return HY_OK;
}

static hy_err prot_check(hy_vm *vm, uint32_t prot, const char *call)
{
    if (prot > 7 || !(vm->h->caps.prot >> prot & 1))
        return HY_FAIL(HY_E_NOTSUP, call, "this backend cannot do that protection");
    return HY_OK;
}

static hy_err map_err(int result, const char *call)
{
    return result == 0 ? HY_OK : result == ERR_HOST ? HY_FAIL(HY_E_NOMEM, call, "") : HY_FAIL(HY_E_RANGE, call, "overlap, hole, or too many mappings");
}

hy_err hy_map(hy_vm *vm, uint64_t gpa, hy_mem *mem, size_t off, size_t len, uint32_t prot)
{
    hy_err err = range_check(vm, gpa, len, "hy_map");

    if (!err)
        err = prot_check(vm, prot, "hy_map");
    if (!err && (!mem || off % vm->h->caps.granule || !range_inside(off, len, mem_block_size(mem->block))))
        err = HY_FAIL(mem ? HY_E_RANGE : HY_E_INVAL, "hy_map", "beyond the block");
    if (!err && mem->h != vm->h)
        err = HY_FAIL(HY_E_NOTSUP, "hy_map", "the block belongs to another backend");
    if (err)
        return err;
    pthread_mutex_lock(&vm->lock);
    vm->remap_err = HY_OK;
    err = map_err(mem_map_add(vm->map, gpa, mem->block, off, len, prot, NULL), "hy_map");
    if (!err && vm->remap_err) {
        err = vm->remap_err;
        mem_map_remove(vm->map, gpa, len, NULL);
    }
    pthread_mutex_unlock(&vm->lock);
    return err;
}

hy_err hy_unmap(hy_vm *vm, uint64_t gpa, size_t len)
{
    hy_err err = range_check(vm, gpa, len, "hy_unmap");

    if (err)
        return err;
    pthread_mutex_lock(&vm->lock);
    vm->remap_err = HY_OK;
    err = map_err(mem_map_remove(vm->map, gpa, len, NULL), "hy_unmap");
    if (!err)
        err = vm->remap_err;
    pthread_mutex_unlock(&vm->lock);
    return err;
}

hy_err hy_protect(hy_vm *vm, uint64_t gpa, size_t len, uint32_t prot)
{
    hy_err err = range_check(vm, gpa, len, "hy_protect");

    if (!err)
        err = prot_check(vm, prot, "hy_protect");
    if (err)
        return err;
    pthread_mutex_lock(&vm->lock);
    vm->remap_err = HY_OK;
    err = map_err(mem_map_protect(vm->map, gpa, len, prot, NULL), "hy_protect");
    if (!err)
        err = vm->remap_err;
    pthread_mutex_unlock(&vm->lock);
    return err;
}

struct at { uint64_t gpa; size_t len; void *host; };

static bool at_view(void *opaque, const struct mem_view *view)
{
    struct at *at = opaque;

    if (range_inside(at->gpa - view->gpa, at->len, view->len))
        at->host = (uint8_t *)mem_block_host(view->block) + view->offset + (at->gpa - view->gpa);
    return false;
}

void *hy_at(hy_vm *vm, uint64_t gpa, size_t len)
{
    struct at at = {.gpa = gpa, .len = len ? len : 1};

    if (vm && gpa < BIT(MEM_GPA_BITS))
        mem_map_views_in(vm->map, gpa, 1, at_view, &at);
    return at.host;
}

/* ---- dirty logs ------------------------------------------------------------------------------------------------------------------------------------ */

hy_err hy_log(hy_vm *vm, uint64_t gpa, size_t len, int on)
{
    hy_err err = range_check(vm, gpa, len, "hy_log");

    if (!err && !(vm->h->caps.can & HY_CAN_DIRTY))
        err = HY_FAIL(HY_E_NOTSUP, "hy_log", "");
    if (err)
        return err;
    pthread_mutex_lock(&vm->lock);
    /* The host's log first, so that what it held before is thrown away by the harvest, and then ours. */
    if (vm->h->backend->log)
        err = vm->h->backend->log(vm->b, gpa, len, on);
    if (!err && on && vm->h->backend->harvest)
        err = vm->h->backend->harvest(vm->b, gpa, len);
    if (!err)
        err = map_err(mem_log(vm->map, gpa, len, on, NULL), "hy_log");
    pthread_mutex_unlock(&vm->lock);
    return err;
}

hy_err hy_dirty(hy_vm *vm, uint64_t gpa, size_t len, uint64_t *bits, int clear)
{
    hy_err err = range_check(vm, gpa, len, "hy_dirty");

    if (!err && !bits)
        err = HY_FAIL(HY_E_INVAL, "hy_dirty", "no place for the result");
    if (!err && !(vm->h->caps.can & HY_CAN_DIRTY))
        err = HY_FAIL(HY_E_NOTSUP, "hy_dirty", "");
    if (err)
        return err;
    pthread_mutex_lock(&vm->lock);
    if (vm->h->backend->harvest)
        err = vm->h->backend->harvest(vm->b, gpa, len);
    if (!err && mem_dirty(vm->map, gpa, len, bits, clear, NULL))
        err = HY_FAIL(HY_E_STATE, "hy_dirty", "not all of the range is being logged");
    pthread_mutex_unlock(&vm->lock);
    return err;
}

hy_err hy_visible(hy_vm *vm, uint64_t gpa, size_t len, int shared)
{
    hy_err err = range_check(vm, gpa, len, "hy_visible");

    if (err)
        return err;
    if (!vm->h->backend->visible || !(vm->h->caps.can & HY_CAN_PRIVATE))
        return HY_FAIL(HY_E_NOTSUP, "hy_visible", "no isolated VMs here");
    return vm->h->backend->visible(vm->b, gpa, len, shared);
}
