/* SPDX-License-Identifier: MIT */
/* queue.c - see queue.h. Sections are those of virtio 1.2.
 *
 * Trust: rings, descriptors and indirect tables are the guest's, who may change them while they are read. Each descriptor is copied in once; an indirect table
 * is copied as a whole. Loops end by counts that do not come from the guest: VQ_SEGS_MAX.
 */
#include "virtio/queue.h"

#include <stdatomic.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"

enum {
    DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4, /* 2.7.5 */
    DESC_BYTES = 16,
    AVAILABLE_NO_INTERRUPT = 1,                       /* 2.7.6 */
    USED_NO_NOTIFY = 1,                               /* 2.7.8 */
    RING_FLAGS = 0, RING_INDEX = 2, RING_ENTRIES = 4, /* of both rings */
    USED_ENTRY_BYTES = 8,
};

struct descriptor { uint64_t gpa; uint32_t len; uint16_t flags, next; };

static int broken(struct virtqueue *q, const char *why)
{
    q->broken = true;
    q->fault = why;
    return ERR_INPUT;
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------------------------------ */

void vq_reset(struct virtqueue *q, uint16_t size)
{
    *q->state = (struct vq_state){ .size = size, .vector = VQ_NO_VECTOR, .signalled_valid = 1 };
    q->size_max = size;
    q->event_index = q->indirect = q->broken = false;
    q->fault = NULL;
    vq_start(q);
}

void vq_start(struct virtqueue *q)
{
    q->available_seen = q->state->next_available;
    q->outstanding = 0;
}

static bool area_ok(uint64_t gpa, uint64_t align, uint64_t len) { return gpa % align == 0 && range_inside(gpa, len, BIT(MEM_GPA_BITS)); }

int vq_check(const struct virtqueue *q, struct err *err)
{
    const struct vq_state *s = q->state;
    if (!is_power_of_two(s->size) || s->size > q->size_max)
        return err_set(err, ERR_INPUT, "a queue of %u entries", s->size);
    if (!area_ok(s->descriptors, 16, DESC_BYTES * (uint64_t)s->size) || !area_ok(s->available, 2, RING_ENTRIES + 2 * (uint64_t)s->size + 2) ||
        !area_ok(s->used, 4, RING_ENTRIES + USED_ENTRY_BYTES * (uint64_t)s->size + 2))
        return err_set(err, ERR_INPUT, "a queue at an address that cannot be");
    return 0;
}

/* ---- taking a chain --------------------------------------------------------------------------------------------------------------------------------------- */

static struct descriptor decode(const uint8_t *bytes)
{
    return (struct descriptor){ load_le64(bytes), load_le32(bytes + 8), load_le16(bytes + 12), load_le16(bytes + 14) };
}

/* Zero-length segments carry nothing and are left out. */
static int add_segment(struct virtqueue *q, struct vq_chain *c, const struct descriptor *d)
{
    bool write = d->flags & DESC_WRITE;
    uint32_t *bytes = write ? &c->write_bytes : &c->read_bytes;
    if (!write && c->writes)
        return broken(q, "a readable descriptor after a writable one"); /* 2.7.4.2 */
    if (!d->len)
        return 0;
    if (c->reads + c->writes == VQ_SEGS_MAX)
        return broken(q, "a chain of too many descriptors");
    if (d->len > VQ_CHAIN_BYTES_MAX - *bytes)
        return broken(q, "a chain of too many bytes");
    *bytes += d->len;
    c->segs[c->reads + c->writes] = (struct vq_segment){ d->gpa, d->len };
    *(write ? &c->writes : &c->reads) += 1;
    return 0;
}

/* The table is fetched whole; the walk takes at most as many steps as it has entries. 2.7.5.3 */
static int walk_indirect(struct virtqueue *q, struct vq_chain *c, const struct descriptor *from)
{
    uint8_t table[VQ_SEGS_MAX * DESC_BYTES];
    unsigned count = from->len / DESC_BYTES;
    if (!q->indirect)
        return broken(q, "an indirect descriptor that was not negotiated");
    if (!count || from->len % DESC_BYTES)
        return broken(q, "an indirect table of a size that cannot be");
    if (count > VQ_SEGS_MAX)
        return broken(q, "an indirect table of too many descriptors");
    if (mem_read(q->memory, from->gpa, table, from->len))
        return broken(q, "an indirect table where there is no memory");
    unsigned at = 0;
    for (unsigned steps = 0; steps < count; steps++) {
        struct descriptor d = decode(table + DESC_BYTES * at);
        if (d.flags & DESC_INDIRECT)
            return broken(q, "an indirect descriptor in an indirect table");
        if (add_segment(q, c, &d))
            return ERR_INPUT;
        if (!(d.flags & DESC_NEXT))
            return 0;
        if ((at = d.next) >= count)
            return broken(q, "a next field beyond the indirect table");
    }
    return broken(q, "a cycle in an indirect table");
}

static int walk(struct virtqueue *q, struct vq_chain *c)
{
    uint16_t at = c->head;
    unsigned limit = q->state->size < VQ_SEGS_MAX ? q->state->size : VQ_SEGS_MAX;
    for (unsigned steps = 0; steps < limit; steps++) {
        uint8_t bytes[DESC_BYTES];
        if (mem_read(q->memory, q->state->descriptors + DESC_BYTES * (uint64_t)at, bytes, sizeof bytes))
            return broken(q, "a descriptor table where there is no memory");
        struct descriptor d = decode(bytes);
        if (d.flags & DESC_INDIRECT && d.flags & DESC_NEXT)
            return broken(q, "an indirect descriptor with a next one"); /* 2.7.5.3.1 */
        if (d.flags & DESC_INDIRECT)
            return walk_indirect(q, c, &d);
        if (add_segment(q, c, &d))
            return ERR_INPUT;
        if (!(d.flags & DESC_NEXT))
            return 0;
        if ((at = d.next) >= q->state->size)
            return broken(q, "a next field beyond the table");
    }
    return broken(q, "a chain that is too long or a cycle");
}

/* 1: there is an entry to take, 0: none, ERR_INPUT. */
static int look(struct virtqueue *q)
{
    const struct vq_state *s = q->state;
    if (q->broken)
        return ERR_INPUT;
    if (q->available_seen == s->next_available) {
        if (mem_load16(q->memory, s->available + RING_INDEX, &q->available_seen))
            return broken(q, "an available ring where there is no memory");
        if ((uint16_t)(q->available_seen - s->next_available) > s->size)
            return broken(q, "an available index that ran away");
    }
    return q->available_seen != s->next_available;
}

int vq_pop(struct virtqueue *q, struct vq_chain *c)
{
    struct vq_state *s = q->state;
    int more = look(q);
    if (more <= 0)
        return more;
    if (q->outstanding >= s->size)
        return broken(q, "more chains than the queue has entries");
    uint64_t entry = s->available + RING_ENTRIES + 2 * (uint64_t)(s->next_available % s->size);
    *c = (struct vq_chain){ .head = 0 };
    if (mem_load16(q->memory, entry, &c->head))
        return broken(q, "an available ring where there is no memory");
    if (c->head >= s->size)
        return broken(q, "a chain head beyond the table");
    if (walk(q, c))
        return ERR_INPUT;
    s->next_available++;
    q->outstanding++;
    return 1;
}

void vq_unpop(struct virtqueue *q, uint16_t count)
{
    q->state->next_available -= count;
    q->outstanding -= count;
}

/* ---- giving it back ------------------------------------------------------------------------------------------------------------------------------------------ */

void vq_fill(struct virtqueue *q, uint16_t index, uint16_t head, uint32_t written)
{
    const struct vq_state *s = q->state;
    uint8_t entry[USED_ENTRY_BYTES];
    store_le32(entry, head);
    store_le32(entry + 4, written);
    uint16_t at = (uint16_t)(s->next_used + index) % s->size;
    if (mem_write(q->memory, s->used + RING_ENTRIES + USED_ENTRY_BYTES * (uint64_t)at, entry, sizeof entry))
        broken(q, "a used ring where there is no memory");
}

void vq_publish(struct virtqueue *q, uint16_t count)
{
    struct vq_state *s = q->state;
    uint16_t next = s->next_used + count;
    /* Were a signal outstanding for longer than the index can tell, the next one is sent. */
    if ((uint16_t)(next - s->signalled) < count)
        s->signalled_valid = 0;
    s->next_used = next;
    q->outstanding -= count < q->outstanding ? count : q->outstanding;
    if (mem_store16(q->memory, s->used + RING_INDEX, next))
        broken(q, "a used ring where there is no memory");
}

void vq_push(struct virtqueue *q, uint16_t head, uint32_t written)
{
    vq_fill(q, 0, head, written);
    vq_publish(q, 1);
}

bool vq_should_signal(struct virtqueue *q)
{
    struct vq_state *s = q->state;
    uint16_t old = s->signalled, new = s->next_used, event, flags;
    bool valid = s->signalled_valid;
    if (valid && old == new)
        return false;
    s->signalled = new;
    s->signalled_valid = 1;
    atomic_thread_fence(memory_order_seq_cst); /* the index must be out before the event is read, 2.7.10.1 */
    if (!q->event_index)
        return !mem_load16(q->memory, s->available + RING_FLAGS, &flags) && !(flags & AVAILABLE_NO_INTERRUPT);
    if (mem_load16(q->memory, s->available + RING_ENTRIES + 2 * (uint64_t)s->size, &event))
        return false;
    return !valid || (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

void vq_quiet(struct virtqueue *q)
{
    if (!q->event_index && !q->broken)
        mem_store16(q->memory, q->state->used + RING_FLAGS, USED_NO_NOTIFY);
}

bool vq_listen(struct virtqueue *q)
{
    const struct vq_state *s = q->state;
    if (q->broken)
        return false;
    if (q->event_index)
        mem_store16(q->memory, s->used + RING_ENTRIES + USED_ENTRY_BYTES * (uint64_t)s->size, s->next_available);
    else
        mem_store16(q->memory, s->used + RING_FLAGS, 0);
    atomic_thread_fence(memory_order_seq_cst); /* the wish must be out before the ring is looked at */
    return look(q) != 0;
}

/* ---- bytes of a chain ------------------------------------------------------------------------------------------------------------------------------------------ */

/* The next piece of [*offset, *offset + *len) in the segments from *i on; advances all three. False: nothing is left of the segments. */
static bool next_piece(const struct vq_segment *segs, unsigned count, unsigned *i, uint32_t *offset, uint32_t *len, struct vq_segment *piece)
{
    while (*i < count && *offset >= segs[*i].len)
        *offset -= segs[(*i)++].len;
    if (*i == count)
        return false;
    uint32_t room = segs[*i].len - *offset;
    *piece = (struct vq_segment){ segs[*i].gpa + *offset, *len < room ? *len : room };
    *offset += piece->len;
    *len -= piece->len;
    return true;
}

bool vq_copy_in(struct virtqueue *q, const struct vq_chain *c, uint32_t offset, void *out, uint32_t len)
{
    unsigned i = 0;
    for (uint8_t *to = out; len;) {
        struct vq_segment piece;
        if (!next_piece(c->segs, c->reads, &i, &offset, &len, &piece) || mem_read(q->memory, piece.gpa, to, piece.len))
            return false;
        to += piece.len;
    }
    return true;
}

bool vq_copy_out(struct virtqueue *q, const struct vq_chain *c, uint32_t offset, const void *data, uint32_t len)
{
    unsigned i = 0;
    for (const uint8_t *from = data; len;) {
        struct vq_segment piece;
        if (!next_piece(c->segs + c->reads, c->writes, &i, &offset, &len, &piece) || mem_write(q->memory, piece.gpa, from, piece.len))
            return false;
        from += piece.len;
    }
    return true;
}

/* Pins a piece, each part of it that lies in another view by itself. */
static bool pin_piece(struct virtqueue *q, struct vq_segment piece, uint32_t access, struct mem_pin *pins, struct iovec *iov, int *n)
{
    while (piece.len) {
        struct mem_pin *pin = &pins[*n];
        if (*n == VQ_SEGS_MAX || mem_pin_part(q->memory, piece.gpa, piece.len, access, pin))
            return false;
        iov[(*n)++] = (struct iovec){ pin->host, pin->len };
        piece.gpa += pin->len;
        piece.len -= (uint32_t)pin->len;
    }
    return true;
}

int vq_pin(struct virtqueue *q, const struct vq_chain *c, uint32_t access, uint32_t offset, uint32_t len, struct mem_pin *pins, struct iovec *iov)
{
    bool read = access == MEM_R;
    unsigned i = 0;
    int n = 0;
    while (len) {
        struct vq_segment piece;
        if (!next_piece(read ? c->segs : c->segs + c->reads, read ? c->reads : c->writes, &i, &offset, &len, &piece) ||
            !pin_piece(q, piece, access, pins, iov, &n)) {
            while (n)
                mem_unpin(&pins[--n], 0);
            return -1;
        }
    }
    return n;
}
