/* SPDX-License-Identifier: MIT */
/* fw_cfg.c - QEMU's firmware configuration device, read-only, by ports (QEMU docs/specs/fw_cfg.rst); enough for kvm-unit-tests and simple firmware.
 *
 * What the guest sees: a 16-bit selector at 510h and a data byte at 511h; an unknown key and the bytes past an item's end read as zero. No DMA, no writes.
 * Limits: FW_CFG_ITEMS_MAX items. The items are copied at creation.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "chipset/chipset.h"

#define FW_CFG_ITEMS_MAX 64

struct item { uint16_t key; uint32_t len; uint8_t *data; };

struct fw_cfg {
    struct device device;
    struct bus_region region;
    struct item items[FW_CFG_ITEMS_MAX];
    unsigned item_count;
    uint16_t selected;
    uint32_t at;
};

static struct fw_cfg *from_device(struct device *d) { return container_of(d, struct fw_cfg, device); }

static const struct item *item_find(const struct fw_cfg *f, uint16_t key)
{
    for (unsigned i = 0; i < f->item_count; i++)
        if (f->items[i].key == key)
            return &f->items[i];
    return NULL;
}

static uint8_t next_byte(struct fw_cfg *f)
{
    const struct item *item = item_find(f, f->selected);
    return item && f->at < item->len ? item->data[f->at++] : 0;
}

/* A wide access at 510h has its data byte at 511h; the bus gives it to us whole only when it is the 16-bit selector. */
static enum bus_status port_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    if (size != 1)
        return BUS_BAD_SIZE;
    *value = offset == 1 ? next_byte(opaque) : 0;
    return BUS_OK;
}

static enum bus_status port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct fw_cfg *f = opaque;
    if (offset)
        return BUS_OK;
    if (size != 2)
        return size > 2 ? BUS_BAD_SIZE : BUS_OK;
    f->selected = (uint16_t)value;
    f->at = 0;
    return BUS_OK;
}

static const struct bus_ops port_ops = {port_read, port_write};

static int item_add(struct fw_cfg *f, uint16_t key, const void *data, uint32_t len, struct err *err)
{
    uint8_t *copy = f->item_count < FW_CFG_ITEMS_MAX ? malloc(len ? len : 1) : NULL;
    if (!copy)
        return err_set(err, ERR_HOST, "no room for item %u", key);
    memcpy(copy, data, len);
    f->items[f->item_count++] = (struct item){key, len, copy};
    return 0;
}

static int items_add(struct fw_cfg *f, const struct fw_cfg_config *c, struct err *err)
{
    uint8_t id[4], memory[8], cpus[2];
    store_le32(id, 1); /* bit 0: the port interface, bit 1 (DMA) clear */
    store_le64(memory, c->memory);
    store_le16(cpus, c->cpus);
    int e = item_add(f, FW_CFG_SIGNATURE, "QEMU", 4, err);
    e = e ? e : item_add(f, FW_CFG_ID, id, sizeof id, err);
    e = e ? e : item_add(f, FW_CFG_RAM_SIZE, memory, sizeof memory, err);
    e = e ? e : item_add(f, FW_CFG_NB_CPUS, cpus, sizeof cpus, err);
    e = e ? e : item_add(f, FW_CFG_MAX_CPUS, cpus, sizeof cpus, err);
    for (size_t i = 0; !e && i < c->item_count; i++)
        e = item_add(f, c->items[i].key, c->items[i].data, c->items[i].len, err);
    return e;
}

static int create(struct device *d, const void *config, struct err *err)
{
    struct fw_cfg *f = from_device(d);
    int e = items_add(f, config, err);
    f->region = (struct bus_region){.name = "fw_cfg", .space = BUS_PORT, .base = 0x510, .len = 2, .ops = &port_ops, .opaque = f, .owner = d};
    return e ? e : bus_add(d->services.bus, &f->region, err);
}

static void destroy(struct device *d)
{
    struct fw_cfg *f = from_device(d);
    for (unsigned i = 0; i < f->item_count; i++)
        free(f->items[i].data);
}

static void reset(struct device *d)
{
    from_device(d)->selected = 0;
    from_device(d)->at = 0;
}

static const struct field fw_cfg_fields[] = {FIELD(struct fw_cfg, selected, "selected key"), FIELD(struct fw_cfg, at, "next byte of it"), FIELD_END};

const struct device_class fw_cfg_class = {
    .name = "fw-cfg", .summary = "firmware configuration by ports", .size = sizeof(struct fw_cfg), .create = create, .destroy = destroy, .reset = reset,
    .fields = fw_cfg_fields,
};
