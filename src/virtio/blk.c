/* SPDX-License-Identifier: MIT */
/* blk.c - the block device (virtio 1.2 section 5.2).
 *
 * A request's header is copied in once; its data is pinned and moved by the host straight between the image and guest memory; its status byte is written when it ends.
 * Limits: SEGMENTS_MAX data segments, one range a discard or write-zeroes request, of RANGE_SECTORS at most; as many requests under way as the queues have entries.
 * A request that is malformed but has a place for a status ends with IOERR or UNSUPP; one without needs a reset.
 */
#include "virtio/blk.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "virtio/device.h"

enum { REQUEST_IN = 0, REQUEST_OUT = 1, REQUEST_FLUSH = 4, REQUEST_GET_ID = 8, REQUEST_DISCARD = 11, REQUEST_WRITE_ZEROES = 13 }; /* 5.2.6 */
enum { STATUS_OK = 0, STATUS_IOERR = 1, STATUS_UNSUPP = 2 };
enum {
    HEADER_BYTES = 16, RANGE_BYTES = 16, ID_BYTES = 20,
    SEGMENTS_MAX = 126,                 /* and the header and the status */
    SEGMENT_BYTES_MAX = 1 << 20,
    RANGE_SECTORS = 4 << 20 >> 9,       /* 4 MiB, so that no request takes long where zeroes must be written */
    QUEUE_SIZE = 256,
};
#define F_SIZE_MAX     BIT(1)           /* 5.2.3 */
#define F_SEG_MAX      BIT(2)
#define F_GEOMETRY     BIT(4)
#define F_RO           BIT(5)
#define F_BLK_SIZE     BIT(6)
#define F_FLUSH        BIT(9)
#define F_TOPOLOGY     BIT(10)
#define F_MQ           BIT(12)
#define F_DISCARD      BIT(13)
#define F_WRITE_ZEROES BIT(14)

struct blk_request {
    struct disk_request disk;           /* first */
    struct virtio_blk *blk;
    unsigned queue;
    uint16_t head;
    uint64_t status_gpa;
    uint32_t written;                   /* data bytes, when it succeeds */
    int pin_count;
    struct mem_pin pins[VQ_SEGS_MAX];
    struct iovec iov[VQ_SEGS_MAX];
    struct blk_request *next_free;
};

struct virtio_blk {
    struct virtio_device v;
    struct disk *disk;
    char serial[ID_BYTES];
    struct blk_request *free_requests;  /* at most as many as were ever under way */
    unsigned to_signal;                 /* queues with completions, a bit each */
    unsigned under_way;
};

static struct virtio_blk *blk_of(struct virtio_device *v) { return container_of(v, struct virtio_blk, v); }

/* ---- requests ---------------------------------------------------------------------------------------------------------------------------------------------------- */

static struct blk_request *request_new(struct virtio_blk *blk)
{
    struct blk_request *r = blk->free_requests;
    if (r)
        blk->free_requests = r->next_free;
    else
        r = malloc(sizeof *r);
    return r;
}

static void request_free(struct blk_request *r)
{
    r->next_free = r->blk->free_requests;
    r->blk->free_requests = r;
}

static void end_request(struct blk_request *r, uint8_t status)
{
    struct virtio_blk *blk = r->blk;
    for (int i = 0; i < r->pin_count; i++)
        mem_unpin(&r->pins[i], r->pins[i].len);
    mem_write(blk->v.device.services.memory, r->status_gpa, &status, 1);
    vq_push(&blk->v.queues[r->queue], r->head, status == STATUS_OK ? r->written + 1 : 1);
    blk->to_signal |= 1u << r->queue;
    blk->under_way--;
    request_free(r);
}

static void signal_queues(void *opaque)
{
    struct virtio_blk *blk = opaque;
    for (unsigned i = 0; blk->to_signal; i++) {
        if (!(blk->to_signal >> i & 1))
            continue;
        blk->to_signal &= ~(1u << i);
        virtio_signal(&blk->v, i);
    }
    virtio_idle(&blk->v);
}

static void request_done(struct disk_request *disk, int error)
{
    struct blk_request *r = container_of(disk, struct blk_request, disk);
    struct virtio_blk *blk = r->blk;
    bool writes = disk->op == DISK_WRITE || disk->op == DISK_WRITE_ZEROES;
    if (!error && writes && !virtio_has(&blk->v, F_FLUSH)) { /* 5.2.6.2: no write-back cache without FLUSH */
        disk->op = DISK_FLUSH;
        disk_submit(blk->disk, disk);
        disk_commit(blk->disk);
        return;
    }
    end_request(r, error ? STATUS_IOERR : STATUS_OK);
}

static void submit(struct blk_request *r, enum disk_op op, uint64_t sector, uint64_t bytes)
{
    r->disk.op = op;
    r->disk.offset = sector * DISK_SECTOR;
    r->disk.len = bytes;
    r->disk.iov = r->iov;
    r->disk.iov_count = (unsigned)r->pin_count;
    r->disk.done = request_done;
    disk_submit(r->blk->disk, &r->disk);
}

static bool sectors_inside(const struct virtio_blk *blk, uint64_t sector, uint64_t bytes)
{
    return bytes % DISK_SECTOR == 0 && range_inside(sector, bytes / DISK_SECTOR, disk_sectors(blk->disk));
}

static void transfer(struct blk_request *r, const struct vq_chain *c, bool write, uint64_t sector)
{
    struct virtqueue *q = &r->blk->v.queues[r->queue];
    uint32_t bytes = write ? c->read_bytes - HEADER_BYTES : c->write_bytes - 1;
    if (!bytes || !sectors_inside(r->blk, sector, bytes) || (write && disk_readonly(r->blk->disk))) {
        end_request(r, STATUS_IOERR);
        return;
    }
    r->pin_count = vq_pin(q, c, write ? MEM_R : MEM_W, write ? HEADER_BYTES : 0, bytes, r->pins, r->iov);
    if (r->pin_count < 0) {
        r->pin_count = 0;
        end_request(r, STATUS_IOERR);
        return;
    }
    r->written = write ? 0 : bytes;
    submit(r, write ? DISK_WRITE : DISK_READ, sector, bytes);
}

/* Discard and write-zeroes: {le64 sector, le32 sectors, le32 flags}, 5.2.6. */
static void range_request(struct blk_request *r, const struct vq_chain *c, bool discard)
{
    uint8_t range[RANGE_BYTES];
    if (c->read_bytes != HEADER_BYTES + RANGE_BYTES || !vq_copy_in(&r->blk->v.queues[r->queue], c, HEADER_BYTES, range, sizeof range)) {
        end_request(r, STATUS_IOERR);
        return;
    }
    uint64_t sector = load_le64(range), count = load_le32(range + 8);
    uint32_t flags = load_le32(range + 12);
    if (flags & ~1u || (discard && flags)) {
        end_request(r, STATUS_UNSUPP); /* 5.2.6.2 */
    } else if (count > RANGE_SECTORS || disk_readonly(r->blk->disk) || !sectors_inside(r->blk, sector, count * DISK_SECTOR)) {
        end_request(r, STATUS_IOERR);
    } else {
        r->disk.unmap = flags & 1;
        submit(r, discard ? DISK_DISCARD : DISK_WRITE_ZEROES, sector, count * DISK_SECTOR);
    }
}

static void get_id(struct blk_request *r, const struct vq_chain *c)
{
    uint32_t room = c->write_bytes - 1, len = room < ID_BYTES ? room : ID_BYTES;
    bool ok = vq_copy_out(&r->blk->v.queues[r->queue], c, 0, r->blk->serial, len);
    r->written = len;
    end_request(r, ok ? STATUS_OK : STATUS_IOERR);
}

static void execute(struct blk_request *r, const struct vq_chain *c)
{
    uint8_t header[HEADER_BYTES];
    if (!vq_copy_in(&r->blk->v.queues[r->queue], c, 0, header, sizeof header)) {
        end_request(r, STATUS_IOERR);
        return;
    }
    uint64_t sector = load_le64(header + 8);
    switch (load_le32(header)) {
    case REQUEST_IN: transfer(r, c, false, sector); break;
    case REQUEST_OUT: transfer(r, c, true, sector); break;
    case REQUEST_FLUSH: submit(r, DISK_FLUSH, 0, 0); break;
    case REQUEST_GET_ID: get_id(r, c); break;
    case REQUEST_DISCARD: range_request(r, c, true); break;
    case REQUEST_WRITE_ZEROES: range_request(r, c, false); break;
    default: end_request(r, STATUS_UNSUPP);
    }
}

/* False: no memory for another request now; completions will come. */
static bool take(struct virtio_blk *blk, unsigned queue, const struct vq_chain *c)
{
    struct blk_request *r = request_new(blk);
    if (!r)
        return false;
    memset(&r->disk, 0, sizeof r->disk);
    const struct vq_segment *last = &c->segs[c->reads + c->writes - 1];
    r->blk = blk;
    r->queue = queue;
    r->head = c->head;
    r->status_gpa = last->gpa + last->len - 1;
    r->written = 0;
    r->pin_count = 0;
    blk->under_way++;
    execute(r, c);
    return true;
}

static bool blk_process(struct virtio_device *v, unsigned queue)
{
    struct virtio_blk *blk = blk_of(v);
    struct virtqueue *q = &v->queues[queue];
    struct vq_chain chain;
    unsigned budget = VIRTIO_BUDGET;
    vq_quiet(q);
    for (; budget && virtio_pop(v, queue, &chain); budget--) {
        if (!chain.writes) {
            virtio_needs_reset(v, "a block request without a place for its status");
            break;
        }
        if (!take(blk, queue, &chain)) {
            vq_unpop(q, 1);
            break;
        }
    }
    disk_commit(blk->disk);
    signal_queues(blk);
    return virtio_queue_running(v, queue) && (!budget || vq_listen(q));
}

static void blk_drain(struct virtio_device *v)
{
    disk_drain(blk_of(v)->disk);
    signal_queues(blk_of(v));
}

static bool blk_busy(struct virtio_device *v) { return blk_of(v)->under_way; }

static const struct virtio_ops blk_ops = { .id = 2, .class_code = 0x018000, .process = blk_process, .busy = blk_busy, .drain = blk_drain };

/* ---- life -------------------------------------------------------------------------------------------------------------------------------------------------------------- */

static uint16_t cylinders(uint64_t sectors)
{
    uint64_t n = sectors / (16 * 63);
    return n > 16383 ? 16383 : n ? (uint16_t)n : 1;
}

/* struct virtio_blk_config of 5.2.4, by its offsets. */
static unsigned fill_config(const struct virtio_blk *blk, uint8_t *c, unsigned queues)
{
    unsigned exponent = 0;
    while ((uint32_t)DISK_SECTOR << exponent < disk_block_size(blk->disk) && exponent < 7)
        exponent++;
    store_le64(c + 0, disk_sectors(blk->disk));
    store_le32(c + 8, SEGMENT_BYTES_MAX);
    store_le32(c + 12, SEGMENTS_MAX);
    store_le16(c + 16, cylinders(disk_sectors(blk->disk)));
    c[18] = 16; /* heads */
    c[19] = 63; /* sectors a track */
    store_le32(c + 20, DISK_SECTOR);
    c[24] = (uint8_t)exponent;
    store_le16(c + 26, 1);
    c[32] = 1; /* write-back, told by FLUSH */
    store_le16(c + 34, (uint16_t)queues);
    store_le32(c + 36, RANGE_SECTORS);
    store_le32(c + 40, 1);
    store_le32(c + 44, disk_block_size(blk->disk) / DISK_SECTOR);
    store_le32(c + 48, RANGE_SECTORS);
    store_le32(c + 52, 1);
    c[56] = 1; /* write-zeroes may unmap */
    return 60;
}

static int blk_create(struct device *d, const void *config, struct err *err)
{
    struct virtio_blk *blk = container_of(d, struct virtio_blk, v.device);
    const struct virtio_blk_config *c = config;
    unsigned queues = c->queues ? c->queues : 1;
    blk->disk = c->disk;
    if (queues > VIRTIO_QUEUES_MAX)
        return err_set(err, ERR_USAGE, "%u queues: 1 to %d", queues, VIRTIO_QUEUES_MAX);
    const char *serial = c->serial ? c->serial : d->id;
    memcpy(blk->serial, serial, strnlen(serial, sizeof blk->serial)); /* zero-padded, 5.2.6.1 */
    int r = disk_start(blk->disk, d->services.executor, &d->lock, signal_queues, blk, err);
    if (r)
        return r;
    uint64_t features = F_SIZE_MAX | F_SEG_MAX | F_GEOMETRY | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY | (queues > 1 ? F_MQ : 0);
    struct virtio_setup setup = {
        .ops = &blk_ops, .queues = queues, .queue_size = QUEUE_SIZE, .pci_host = c->pci_host, .slot = c->slot,
        .features = features | (disk_readonly(blk->disk) ? F_RO : F_DISCARD | F_WRITE_ZEROES),
        .config_len = fill_config(blk, blk->v.config, queues),
    };
    return virtio_create(&blk->v, &setup, err);
}

static void blk_destroy(struct device *d)
{
    struct virtio_blk *blk = container_of(d, struct virtio_blk, v.device);
    virtio_destroy(&blk->v);
    pthread_mutex_lock(&d->lock);
    if (blk->disk)
        disk_drain(blk->disk);
    pthread_mutex_unlock(&d->lock);
    disk_close(blk->disk);
    while (blk->free_requests) {
        struct blk_request *r = blk->free_requests;
        blk->free_requests = r->next_free;
        free(r);
    }
}

static const struct field blk_fields[] = { VIRTIO_FIELDS(struct virtio_blk, v), FIELD_END };

const struct device_class virtio_blk_class = {
    .name = "virtio-blk",
    .summary = "disk",
    .size = sizeof(struct virtio_blk),
    .create = blk_create,
    .destroy = blk_destroy,
    .reset = virtio_device_reset,
    .fields = blk_fields,
    .loaded = virtio_loaded,
    .saving = virtio_saving,
};
