/* SPDX-License-Identifier: MIT */
/* kvm_memory.c - memory slots that follow the map, and KVM's dirty log.
 *
 * One slot for each view that a guest can read. KVM cannot resize a slot or change its protection (4.35), so a change deletes and adds; while something
 * that stays mapped is absent, the CPUs are held outside the guest, so that no access falls into the gap.
 * KVM logs guest writes by slot. A harvest hands the pages to mem_page_written(), which puts them into the logs of every map that shows the block, and
 * mem_dirty() then has guest and host writes together. Before a logged slot is deleted its log is harvested.
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "hy/backends/kvm.h"

static hy_err slot_set(struct hyb_vm *vm, const struct kvm_slot *slot, size_t len)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot->id, .guest_phys_addr = slot->gpa, .memory_size = len, .userspace_addr = (uintptr_t)slot->host,
        .flags = (slot->read_only ? KVM_MEM_READONLY : 0) | (slot->logged ? KVM_MEM_LOG_DIRTY_PAGES : 0)};

    return KVM_TRY(vm->b, vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

/* The first slot that ends above gpa, as an index. */
static size_t slot_index(const struct hyb_vm *vm, uint64_t gpa)
{
    size_t low = 0, high = vm->slot_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (vm->slots[middle].gpa + vm->slots[middle].len > gpa)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Room for one slot more, and for its id when it is freed. */
static hy_err slots_reserve(struct hyb_vm *vm)
{
    size_t room = vm->slot_room ? 2 * vm->slot_room : 16;
    struct kvm_slot *slots;
    uint32_t *ids;

    if (vm->slot_count < vm->slot_room)
        return HY_OK;
    slots = realloc(vm->slots, room * sizeof *slots);
    if (slots)
        vm->slots = slots;
    ids = slots ? realloc(vm->free_ids, room * sizeof *ids) : NULL;
    if (!ids)
        return hyb_fail(HY_E_NOMEM, 0, "kvm", "hy_map", "");
    vm->free_ids = ids;
    vm->slot_room = room;
    return HY_OK;
}

static hy_err slot_harvest(struct hyb_vm *vm, const struct kvm_slot *slot);

static hy_err slot_delete(struct hyb_vm *vm, size_t at)
{
    struct kvm_slot *slot = &vm->slots[at];
    hy_err err = slot->logged ? slot_harvest(vm, slot) : HY_OK;

    if (!err)
        err = slot_set(vm, slot, 0);
    if (err)
        return err;
    vm->free_ids[vm->free_count++] = slot->id;
    memmove(slot, slot + 1, (vm->slot_count - at - 1) * sizeof *slot);
    vm->slot_count--;
    return HY_OK;
}

static hy_err slot_add(struct hyb_vm *vm, struct kvm_slot slot)
{
    size_t at = slot_index(vm, slot.gpa);
    hy_err err = slots_reserve(vm);

    if (err)
        return err;
    if (!vm->free_count && vm->next_id >= vm->b->max_slots)
        return hyb_fail(HY_E_RANGE, 0, "kvm", "hy_map", "KVM has no memory slot left");
    slot.id = vm->free_count ? vm->free_ids[vm->free_count - 1] : vm->next_id;
    err = slot_set(vm, &slot, slot.len);
    if (err)
        return err;
    if (vm->free_count)
        vm->free_count--;
    else
        vm->next_id++;
    memmove(&vm->slots[at + 1], &vm->slots[at], (vm->slot_count - at) * sizeof slot);
    vm->slots[at] = slot;
    vm->slot_count++;
    return HY_OK;
}

/* ---- following the map ------------------------------------------------------------------------------------------------------------------------------ */

struct wanted { struct kvm_slot *slots; size_t count, room; uint64_t low, high; int failed; };

static bool wanted_add(void *opaque, const struct mem_view *view)
{
    struct wanted *w = opaque;

    if (view->gpa < w->low)
        w->low = view->gpa;
    if (view->gpa + view->len > w->high)
        w->high = view->gpa + view->len;
    if (!(view->prot & MEM_R))
        return true;
    if (w->count == w->room) {
        struct kvm_slot *more = realloc(w->slots, (w->room ? 2 * w->room : 8) * sizeof *more);

        if (!more) {
            w->failed = 1;
            return false;
        }
        w->slots = more;
        w->room = w->room ? 2 * w->room : 8;
    }
    w->slots[w->count++] = (struct kvm_slot){.gpa = view->gpa, .len = view->len, .block = view->block, .offset = view->offset,
                                             .host = (uint8_t *)mem_block_host(view->block) + view->offset, .read_only = !(view->prot & MEM_W)};
    return true;
}

/* The slots that the map wants in [low, high), widened until views and present slots both end at its edges. */
static int wanted_collect(struct hyb_vm *vm, struct wanted *w)
{
    for (;;) {
        uint64_t low = w->low, high = w->high;

        w->count = 0;
        mem_map_views_in(vm->map, low, high - low, wanted_add, w);
        for (size_t i = slot_index(vm, low); i < vm->slot_count && vm->slots[i].gpa < high; i++) {
            const struct kvm_slot *slot = &vm->slots[i];

            w->low = slot->gpa < w->low ? slot->gpa : w->low;
            w->high = slot->gpa + slot->len > w->high ? slot->gpa + slot->len : w->high;
        }
        if (w->failed || (w->low == low && w->high == high))
            return w->failed;
    }
}

static bool slot_same(const struct kvm_slot *a, const struct kvm_slot *b)
{
    return a->gpa == b->gpa && a->len == b->len && a->host == b->host && a->block == b->block && a->read_only == b->read_only;
}

/* Takes slots that are right already out of the wanted list (len 0); returns how many present slots are wrong. Logging is inherited. */
static size_t wanted_compare(struct hyb_vm *vm, struct wanted *w)
{
    size_t wrong = 0;

    for (size_t i = slot_index(vm, w->low); i < vm->slot_count && vm->slots[i].gpa < w->high; i++) {
        bool right = false;

        for (size_t k = 0; k < w->count && w->slots[k].gpa < vm->slots[i].gpa + vm->slots[i].len; k++) {
            if (w->slots[k].len && slot_same(&w->slots[k], &vm->slots[i])) {
                w->slots[k].len = 0;
                right = true;
                break;
            }
            if (vm->slots[i].logged && range_overlaps(w->slots[k].gpa, w->slots[k].len, vm->slots[i].gpa, vm->slots[i].len))
                w->slots[k].logged = 1;
        }
        wrong += !right;
        vm->slots[i].id = right ? vm->slots[i].id : vm->slots[i].id | 0x80000000u; /* to be deleted, below */
    }
    return wrong;
}

static hy_err wrong_delete(struct hyb_vm *vm, const struct wanted *w)
{
    hy_err err = HY_OK;

    for (size_t i = slot_index(vm, w->low); i < vm->slot_count && vm->slots[i].gpa < w->high;) {
        if (!(vm->slots[i].id & 0x80000000u)) {
            i++;
            continue;
        }
        vm->slots[i].id &= 0x7fffffffu;
        if (err || (err = slot_delete(vm, i)))
            i++;
    }
    return err;
}

hy_err kvm_remap(hyb_vm *vm, uint64_t gpa, uint64_t len)
{
    struct wanted w = {.low = gpa, .high = gpa + len};
    hy_err err = HY_OK;
    size_t missing = 0, wrong = 0;

    pthread_mutex_lock(&vm->slot_lock);
    if (wanted_collect(vm, &w))
        err = hyb_fail(HY_E_NOMEM, 0, "kvm", "hy_map", "");
    else
        wrong = wanted_compare(vm, &w);
    for (size_t k = 0; k < w.count; k++)
        missing += w.slots[k].len != 0;
    if (wrong && missing)
        kvm_vm_pause(vm);
    if (!err && wrong)
        err = wrong_delete(vm, &w);
    for (size_t k = 0; !err && k < w.count; k++) {
        if (w.slots[k].len)
            err = slot_add(vm, w.slots[k]);
    }
    if (wrong && missing)
        kvm_vm_resume(vm);
    pthread_mutex_unlock(&vm->slot_lock);
    free(w.slots);
    return err;
}

/* ---- dirty log ------------------------------------------------------------------------------------------------------------------------------------------ */

/* Tells memory/ of each run of pages that the guest wrote. */
static void bits_report(const struct kvm_slot *slot, const uint64_t *bits, size_t pages)
{
    for (size_t i = 0; i < pages;) {
        size_t first = i;

        if (i % 64 == 0 && !bits[i / 64]) {
            i += 64;
            continue;
        }
        while (i < pages && bits[i / 64] >> i % 64 & 1)
            i++;
        if (i > first)
            mem_page_written(slot->block, slot->offset + first * MEM_PAGE_SIZE, (i - first) * MEM_PAGE_SIZE);
        else
            i++;
    }
}

/* KVM_GET_DIRTY_LOG (4.8) reads and clears. */
static hy_err slot_harvest(struct hyb_vm *vm, const struct kvm_slot *slot)
{
    size_t pages = slot->len / MEM_PAGE_SIZE;
    uint64_t *bits = calloc((pages + 63) / 64, sizeof *bits);
    struct kvm_dirty_log log = {.slot = slot->id & 0x7fffffffu, .dirty_bitmap = bits};
    hy_err err;

    if (!bits)
        return hyb_fail(HY_E_NOMEM, 0, "kvm", "KVM_GET_DIRTY_LOG", "");
    err = KVM_TRY(vm->b, vm->fd, KVM_GET_DIRTY_LOG, &log);
    if (!err)
        bits_report(slot, bits, pages);
    free(bits);
    return err;
}

hy_err kvm_harvest(hyb_vm *vm, uint64_t gpa, size_t len)
{
    hy_err err = HY_OK;

    pthread_mutex_lock(&vm->slot_lock);
    for (size_t i = slot_index(vm, gpa); !err && i < vm->slot_count && vm->slots[i].gpa < gpa + len; i++) {
        if (vm->slots[i].logged)
            err = slot_harvest(vm, &vm->slots[i]);
    }
    pthread_mutex_unlock(&vm->slot_lock);
    return err;
}

hy_err kvm_log(hyb_vm *vm, uint64_t gpa, size_t len, int on)
{
    hy_err err = HY_OK;

    pthread_mutex_lock(&vm->slot_lock);
    for (size_t i = slot_index(vm, gpa); !err && i < vm->slot_count && vm->slots[i].gpa < gpa + len; i++) {
        struct kvm_slot *slot = &vm->slots[i];
        uint8_t was = slot->logged;

        /* A slot only half in the range goes on being logged: more than asked does no harm. */
        if (slot->read_only || was == on || (!on && !range_inside(slot->gpa - gpa, slot->len, len)))
            continue;
        if (!on)
            err = slot_harvest(vm, slot);
        slot->logged = (uint8_t)on;
        if (!err)
            err = slot_set(vm, slot, slot->len);
        if (err)
            slot->logged = was;
    }
    pthread_mutex_unlock(&vm->slot_lock);
    return err;
}
