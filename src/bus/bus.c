/* SPDX-License-Identifier: MIT */
/* bus.c - port and MMIO routing.
 *
 * What the guest sees: the region of the highest priority at the access's first byte answers, whole if the access fits it (so a dword at CF8h is PCI's although
 * the byte CF9h is the reset register's); where no region is, reads give all ones and writes vanish.
 * Lookups are a binary search in an immutable table of segments (overlaps already resolved). A change builds a new table under the bus's mutex, publishes it and
 * waits until nobody can still be searching the old one (struct grace), then frees it.
 *
 * An access: inside the grace section find the segment and count the access in owner->users; outside it lock the owner, and see whether the
 * table is still the one that was searched; if not, look again. So a removed or moved region is never called late, nothing blocks inside a grace section,
 * and a device may move its own regions while its lock is held. Lock order: device, bus mutex.
 * Limits: BUS_REGIONS_MAX regions a space.
 */
#include "bus/bus.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "bus/device.h"

#define BUS_REGIONS_MAX 4096
#define PORT_LIMIT      UINT64_C(0x10000)

struct segment { uint64_t first, last /* inclusive */, region_base, region_last; _Atomic(struct bus_region *) region; };
struct table { _Atomic uint64_t sequence; size_t count; struct segment segments[]; };

/* Readers count themselves in the slot of the present epoch; a writer flips the epoch and waits for the old slot to empty. */
struct grace { _Atomic unsigned epoch; _Atomic unsigned readers[2]; };

struct space {
    _Atomic(struct table *) table;
    _Atomic uint64_t sequence;     /* of the published table */
    struct bus_region **regions;   /* sorted by base, then priority; under the mutex */
    size_t count, capacity;
};

struct bus {
    pthread_mutex_t mutex;         /* changes */
    struct grace grace;
    struct space spaces[BUS_SPACE_COUNT];
};

/* ---- grace ---- */

static unsigned grace_enter(struct grace *g)
{
    for (;;) {
        unsigned slot = atomic_load(&g->epoch) & 1;
        atomic_fetch_add(&g->readers[slot], 1);
        if ((atomic_load(&g->epoch) & 1) == slot)
            return slot;
        atomic_fetch_sub(&g->readers[slot], 1);
    }
}

static void grace_leave(struct grace *g, unsigned slot) { atomic_fetch_sub(&g->readers[slot], 1); }

static void grace_wait(struct grace *g)
{
    unsigned old = atomic_fetch_add(&g->epoch, 1) & 1;
    while (atomic_load(&g->readers[old]))
        sched_yield(); /* a section is a binary search long */
}

/* ---- tables ---- */

static uint64_t region_last(const struct bus_region *r) { return r->base + (r->len - 1); }

static int compare_regions(const void *a, const void *b)
{
    const struct bus_region *x = *(struct bus_region *const *)a, *y = *(struct bus_region *const *)b;
    if (x->base != y->base)
        return x->base < y->base ? -1 : 1;
    return (x->priority < y->priority) - (x->priority > y->priority);
}

static struct bus_region *top_region_at(const struct space *s, uint64_t address, uint64_t *until)
{
    struct bus_region *top = NULL;
    uint64_t last = UINT64_MAX;
    for (size_t i = 0; i < s->count; i++) {
        struct bus_region *r = s->regions[i];
        if (r->base > address) { /* a later one may begin inside: end there */
            last = r->base - 1 < last ? r->base - 1 : last;
            break;
        }
        if (region_last(r) < address)
            continue;
        last = region_last(r) < last ? region_last(r) : last;
        if (!top || r->priority > top->priority)
            top = r;
    }
    *until = last;
    return top;
}

static void segment_set(struct segment *seg, uint64_t first, uint64_t last, struct bus_region *r)
{
    seg->first = first;
    seg->last = last;
    seg->region_base = r->base;
    seg->region_last = region_last(r);
    atomic_init(&seg->region, r);
}

/* Every segment boundary is a region's first or last address, so 2 * count segments suffice. */
static struct table *table_build(const struct space *s, uint64_t sequence)
{
    struct table *t = malloc(sizeof *t + (2 * s->count + 1) * sizeof t->segments[0]);
    if (!t)
        return NULL;
    atomic_init(&t->sequence, sequence);
    t->count = 0;
    uint64_t at = 0;
    for (;;) {
        uint64_t until;
        struct bus_region *r = top_region_at(s, at, &until);
        struct segment *before = t->count ? &t->segments[t->count - 1] : NULL;
        if (r && before && atomic_load(&before->region) == r && before->last + 1 == at)
            before->last = until;
        else if (r && t->count <= 2 * s->count)
            segment_set(&t->segments[t->count++], at, until, r);
        if (until == UINT64_MAX)
            return t;
        at = until + 1;
    }
}

/* With the mutex held, after space->regions changed. */
static int table_publish(struct bus *bus, struct space *s, struct err *err)
{
    qsort(s->regions, s->count, sizeof s->regions[0], compare_regions);
    uint64_t sequence = atomic_load(&s->sequence) + 1;
    struct table *new = table_build(s, sequence);
    if (!new)
        return err_set(err, ERR_HOST, "no memory for the bus");
    struct table *old = atomic_exchange(&s->table, new);
    atomic_store(&s->sequence, sequence);
    grace_wait(&bus->grace);
    free(old);
    return 0;
}

static const struct segment *table_find(const struct table *t, uint64_t address)
{
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (t->segments[mid].last < address)
            low = mid + 1;
        else
            high = mid;
    }
    return low < t->count && t->segments[low].first <= address ? &t->segments[low] : NULL;
}

/* ---- life and changes ---- */

struct bus *bus_new(struct err *err)
{
    struct bus *bus = calloc(1, sizeof *bus);
    if (bus)
        pthread_mutex_init(&bus->mutex, NULL);
    for (int i = 0; bus && i < BUS_SPACE_COUNT; i++) {
        struct table *t = calloc(1, sizeof *t);
        atomic_store(&bus->spaces[i].table, t);
        if (!t) {
            bus_free(bus);
            bus = NULL;
        }
    }
    if (!bus) {
        err_set(err, ERR_HOST, "no memory for the bus");
        return NULL;
    }
    return bus;
}

void bus_free(struct bus *bus)
{
    if (!bus)
        return;
    for (int i = 0; i < BUS_SPACE_COUNT; i++) {
        free(atomic_load(&bus->spaces[i].table));
        free(bus->spaces[i].regions);
    }
    pthread_mutex_destroy(&bus->mutex);
    free(bus);
}

static int range_check(const struct space *s, const struct bus_region *r, uint64_t base, struct err *err)
{
    uint64_t limit = r->space == BUS_PORT ? PORT_LIMIT - 1 : UINT64_MAX;
    if (!r->len || base > limit || r->len - 1 > limit - base)
        return err_set(err, ERR_USAGE, "%s: 0x%llx bytes at 0x%llx do not fit the address space", r->name, (unsigned long long)r->len,
                       (unsigned long long)base);
    uint64_t last = base + (r->len - 1);
    for (size_t i = 0; i < s->count; i++) {
        const struct bus_region *other = s->regions[i];
        if (other != r && other->priority == r->priority && other->base <= last && base <= region_last(other))
            return err_set(err, ERR_USAGE, "%s: 0x%llx to 0x%llx is taken by %s", r->name, (unsigned long long)base, (unsigned long long)last, other->name);
    }
    return 0;
}

static int space_grow(struct space *s, struct err *err)
{
    if (s->count < s->capacity)
        return 0;
    if (s->count >= BUS_REGIONS_MAX)
        return err_set(err, ERR_USAGE, "more than %d bus regions", BUS_REGIONS_MAX);
    size_t capacity = s->capacity ? 2 * s->capacity : 64;
    struct bus_region **grown = realloc(s->regions, capacity * sizeof *grown);
    if (!grown)
        return err_set(err, ERR_HOST, "no memory for the bus");
    s->regions = grown;
    s->capacity = capacity;
    return 0;
}

static void space_drop(struct space *s, const struct bus_region *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++)
        if (s->regions[i] != r)
            s->regions[kept++] = s->regions[i];
    s->count = kept;
}

static int add_locked(struct bus *bus, struct space *s, struct bus_region *r, struct err *err)
{
    if (r->added)
        return err_set(err, ERR_INTERNAL, "%s: is on the bus already", r->name);
    int e = range_check(s, r, r->base, err);
    if (!e)
        e = space_grow(s, err);
    if (e)
        return e;
    s->regions[s->count++] = r;
    e = table_publish(bus, s, err);
    if (e)
        space_drop(s, r);
    r->added = !e;
    return e;
}

int bus_add(struct bus *bus, struct bus_region *r, struct err *err)
{
    if (r->space >= BUS_SPACE_COUNT || !r->ops)
        return err_set(err, ERR_INTERNAL, "%s: bad bus region", r->name);
    pthread_mutex_lock(&bus->mutex);
    int e = add_locked(bus, &bus->spaces[r->space], r, err);
    pthread_mutex_unlock(&bus->mutex);
    return e;
}

/* For want of memory there is no new table: the region is cut out of the old one. While that happens accesses find a wrong sequence and look again. */
static void table_cut(struct bus *bus, struct space *s, const struct bus_region *r)
{
    struct table *t = atomic_load(&s->table);
    atomic_fetch_add(&s->sequence, 1); /* accesses that found it look again */
    grace_wait(&bus->grace);
    for (size_t i = 0; i < t->count; i++)
        if (atomic_load(&t->segments[i].region) == r)
            atomic_store(&t->segments[i].region, NULL);
    grace_wait(&bus->grace);
    atomic_store(&t->sequence, atomic_load(&s->sequence));
}

static void remove_locked(struct bus *bus, struct space *s, struct bus_region *r)
{
    if (!r->added)
        return;
    space_drop(s, r);
    r->added = false;
    if (table_publish(bus, s, NULL))
        table_cut(bus, s, r);
}

void bus_remove(struct bus *bus, struct bus_region *r)
{
    pthread_mutex_lock(&bus->mutex);
    remove_locked(bus, &bus->spaces[r->space], r);
    pthread_mutex_unlock(&bus->mutex);
}

void bus_remove_owner(struct bus *bus, const struct device *owner)
{
    pthread_mutex_lock(&bus->mutex);
    for (int i = 0; i < BUS_SPACE_COUNT; i++) {
        struct space *s = &bus->spaces[i];
        for (size_t j = s->count; j-- > 0;)
            if (s->regions[j]->owner == owner)
                remove_locked(bus, s, s->regions[j]);
    }
    pthread_mutex_unlock(&bus->mutex);
}

int bus_move(struct bus *bus, struct bus_region *r, uint64_t base, struct err *err)
{
    pthread_mutex_lock(&bus->mutex);
    struct space *s = &bus->spaces[r->space];
    uint64_t before = r->base;
    int e = r->added ? range_check(s, r, base, err) : 0;
    if (!e && base != before) {
        r->base = base;
        e = r->added ? table_publish(bus, s, err) : 0;
        if (e)
            r->base = before;
    }
    pthread_mutex_unlock(&bus->mutex);
    return e;
}

void bus_regions(struct bus *bus, enum bus_space space, void (*visit)(void *opaque, const struct bus_region *), void *opaque)
{
    pthread_mutex_lock(&bus->mutex);
    for (size_t i = 0; i < bus->spaces[space].count; i++)
        visit(opaque, bus->spaces[space].regions[i]);
    pthread_mutex_unlock(&bus->mutex);
}

/* ---- accesses ---- */

struct access { uint64_t address, value; unsigned size; bool write; };
struct found { struct bus_region *region; uint64_t offset, sequence; unsigned room; /* bytes from the address to the end of what was found, at most 8 */ };

/* The owner of what is found is counted in its users. */
static struct found lookup(struct bus *bus, struct space *s, uint64_t address)
{
    struct found f = {.room = 8};
    unsigned slot = grace_enter(&bus->grace);
    const struct table *t = atomic_load(&s->table);
    const struct segment *seg = table_find(t, address);
    f.sequence = atomic_load(&t->sequence);
    f.region = seg ? atomic_load(&seg->region) : NULL;
    if (f.region) {
        uint64_t left = seg->region_last - address;
        f.room = left < 7 ? (unsigned)left + 1 : 8;
        f.offset = address - seg->region_base;
        if (f.region->owner)
            atomic_fetch_add(&f.region->owner->users, 1);
    } else {
        for (unsigned i = 1; i < f.room; i++)
            if (address + i < address || table_find(t, address + i))
                f.room = i;
    }
    grace_leave(&bus->grace, slot);
    return f;
}

static uint64_t size_mask(unsigned size) { return size >= 8 ? UINT64_MAX : BIT(8 * size) - 1; }
static void owner_release(struct device *owner) { atomic_fetch_sub(&owner->users, 1); }

static enum bus_status call(const struct bus_region *r, uint64_t offset, struct access *a)
{
    if (a->write)
        return r->ops->write ? r->ops->write(r->opaque, offset, a->size, a->value & size_mask(a->size)) : BUS_NO_REGISTER;
    uint64_t value = 0;
    enum bus_status status = r->ops->read ? r->ops->read(r->opaque, offset, a->size, &value) : BUS_NO_REGISTER;
    a->value = status == BUS_OK ? value : UINT64_MAX;
    return status;
}

/* Calls with the owner's lock held. False: the table changed, look again. */
static bool call_locked(struct space *s, const struct found *f, struct access *a, enum bus_status *status)
{
    struct device *owner = f->region->owner;
    if (owner && pthread_mutex_lock(&owner->lock) == EDEADLK) {
        owner_release(owner);
        a->value = UINT64_MAX;
        *status = BUS_NO_REGISTER;
        return true;
    }
    bool current = atomic_load(&s->sequence) == f->sequence;
    if (current)
        *status = call(f->region, f->offset, a);
    if (owner) {
        pthread_mutex_unlock(&owner->lock);
        owner_release(owner);
    }
    return current;
}

/* One access that lies in one region, or the part of it that does: *done is how many bytes were answered. */
static enum bus_status access_piece(struct bus *bus, enum bus_space space, struct access *a, unsigned *done)
{
    struct space *s = &bus->spaces[space];
    for (;;) {
        struct found f = lookup(bus, s, a->address);
        while (a->size > f.room)
            a->size /= 2;
        *done = a->size;
        if (!f.region) {
            a->value = UINT64_MAX;
            return BUS_NO_REGISTER;
        }
        enum bus_status status = BUS_NO_REGISTER;
        if (!call_locked(s, &f, a, &status))
            continue;
        if (status != BUS_BAD_SIZE || space != BUS_PORT || a->size == 1)
            return status;
        a->size /= 2;
    }
}

static unsigned power_of_two_below(unsigned n) { return n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1; }

static enum bus_status access_all(struct bus *bus, enum bus_space space, uint64_t address, unsigned size, uint64_t *value, bool write)
{
    enum bus_status worst = BUS_OK;
    uint64_t result = 0;
    size = size > 8 ? 8 : size;
    for (unsigned at = 0, done; at < size; at += done) {
        uint64_t where = address + at;
        struct access a = {.address = space == BUS_PORT ? where % PORT_LIMIT : where, .size = power_of_two_below(size - at), .write = write};
        a.value = write ? *value >> 8 * at & size_mask(a.size) : 0;
        enum bus_status status = access_piece(bus, space, &a, &done);
        result |= (a.value & size_mask(done)) << 8 * at;
        worst = status > worst ? status : worst;
    }
    if (!write)
        *value = result;
    return worst;
}

enum bus_status bus_read(struct bus *bus, enum bus_space space, uint64_t address, unsigned size, uint64_t *value)
{
    return access_all(bus, space, address, size, value, false);
}

enum bus_status bus_write(struct bus *bus, enum bus_space space, uint64_t address, unsigned size, uint64_t value)
{
    return access_all(bus, space, address, size, &value, true);
}
