/* SPDX-License-Identifier: MIT */
/* transport_pci.c - virtio over PCI, modern only (virtio 1.2 section 4.1).
 *
 * Guest sees: one 64-bit BAR with the common configuration, the interrupt status, the device's configuration and the notification registers, a page each; a BAR for
 * MSI-X with a vector for each queue and one for the configuration; capabilities that tell where all that is, and the PCI_CFG one, through which firmware without memory
 * decoding gets at the BARs.
 * Interrupts are MSI-X when it is enabled, else INTx with the interrupt status register.
 */
#include <string.h>

#include "base/checked.h"
#include "pci/registers.h"
#include "virtio/device.h"

enum {
    AT_COMMON = 0x0000, AT_ISR = 0x1000, AT_DEVICE = 0x2000, AT_NOTIFY = 0x3000, /* in BAR 0 */
    AREA_BYTES = 0x1000, BAR_BYTES = 0x4000,
    BAR_REGISTERS = 0, BAR_MSIX = 2,
    NOTIFY_MULTIPLIER = 4,
    ISR_QUEUE = 1, ISR_CONFIG = 2,
};
enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_PCI_CFG };              /* 4.1.4 */
enum { CAP_LENGTH = 16, CAP_NOTIFY_LENGTH = 20, CAP_PCI_CFG_LENGTH = 20, CAP_PCI_CFG_DATA = 16 };

/* ---- interrupts -------------------------------------------------------------------------------------------------------------------------------------------------- */

static void interrupt(struct virtio_device *v, uint16_t vector, uint8_t isr)
{
    if (pci_msix_enabled(&v->pci)) {
        pci_msix_notify(&v->pci, vector); /* VQ_NO_VECTOR is none of its vectors */
        return;
    }
    v->isr |= isr;
    pci_intx_set(&v->pci, true);
}

void virtio_interrupt_queue(struct virtio_device *v, unsigned queue) { interrupt(v, v->vq[queue].vector, ISR_QUEUE); }
void virtio_interrupt_config(struct virtio_device *v) { interrupt(v, v->config_vector, ISR_CONFIG); }

/* ---- common configuration: a table of registers, 4.1.4.3 --------------------------------------------------------------------------------------------------------------- */

enum common {
    DEVICE_FEATURE_SELECT, DEVICE_FEATURE, DRIVER_FEATURE_SELECT, DRIVER_FEATURE, CONFIG_MSIX_VECTOR, NUM_QUEUES, DEVICE_STATUS, CONFIG_GENERATION,
    QUEUE_SELECT, QUEUE_SIZE, QUEUE_MSIX_VECTOR, QUEUE_ENABLE, QUEUE_NOTIFY_OFF, QUEUE_DESC_LOW, QUEUE_DESC_HIGH, QUEUE_DRIVER_LOW, QUEUE_DRIVER_HIGH,
    QUEUE_DEVICE_LOW, QUEUE_DEVICE_HIGH, QUEUE_NOTIFY_DATA, QUEUE_RESET, COMMON_COUNT,
};
static const struct { uint8_t offset, size; } common_registers[COMMON_COUNT] = {
    [DEVICE_FEATURE_SELECT] = { 0x00, 4 }, [DEVICE_FEATURE] = { 0x04, 4 }, [DRIVER_FEATURE_SELECT] = { 0x08, 4 }, [DRIVER_FEATURE] = { 0x0c, 4 },
    [CONFIG_MSIX_VECTOR] = { 0x10, 2 }, [NUM_QUEUES] = { 0x12, 2 }, [DEVICE_STATUS] = { 0x14, 1 }, [CONFIG_GENERATION] = { 0x15, 1 },
    [QUEUE_SELECT] = { 0x16, 2 }, [QUEUE_SIZE] = { 0x18, 2 }, [QUEUE_MSIX_VECTOR] = { 0x1a, 2 }, [QUEUE_ENABLE] = { 0x1c, 2 },
    [QUEUE_NOTIFY_OFF] = { 0x1e, 2 }, [QUEUE_DESC_LOW] = { 0x20, 4 }, [QUEUE_DESC_HIGH] = { 0x24, 4 }, [QUEUE_DRIVER_LOW] = { 0x28, 4 },
    [QUEUE_DRIVER_HIGH] = { 0x2c, 4 }, [QUEUE_DEVICE_LOW] = { 0x30, 4 }, [QUEUE_DEVICE_HIGH] = { 0x34, 4 }, [QUEUE_NOTIFY_DATA] = { 0x38, 2 },
    [QUEUE_RESET] = { 0x3a, 2 },
};

static enum common find_register(uint64_t offset, unsigned size)
{
    unsigned i = 0;
    while (i < COMMON_COUNT && (common_registers[i].offset != offset || common_registers[i].size != size))
        i++;
    return i;
}

static uint32_t half(uint64_t value, uint32_t select) { return select < 2 ? (uint32_t)(value >> 32 * select) : 0; }

static void set_half(uint64_t *value, unsigned select, uint32_t half_value)
{
    unsigned shift = 32 * select;
    *value = (*value & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)half_value << shift;
}

/* A queue that is not there reads as zero: size 0 tells the driver so. */
static uint32_t read_queue(const struct virtio_device *v, enum common r)
{
    if (v->queue_select >= v->queue_count)
        return r == QUEUE_MSIX_VECTOR ? VQ_NO_VECTOR : 0;
    const struct vq_state *s = &v->vq[v->queue_select];
    switch (r) {
    case QUEUE_SIZE: return s->size;
    case QUEUE_MSIX_VECTOR: return s->vector;
    case QUEUE_ENABLE: return s->enabled;
    case QUEUE_NOTIFY_OFF: return v->queue_select;
    case QUEUE_DESC_LOW: return (uint32_t)s->descriptors;
    case QUEUE_DESC_HIGH: return (uint32_t)(s->descriptors >> 32);
    case QUEUE_DRIVER_LOW: return (uint32_t)s->available;
    case QUEUE_DRIVER_HIGH: return (uint32_t)(s->available >> 32);
    case QUEUE_DEVICE_LOW: return (uint32_t)s->used;
    case QUEUE_DEVICE_HIGH: return (uint32_t)(s->used >> 32);
    case QUEUE_RESET: return v->resetting_queues >> v->queue_select & 1;
    default: return 0;
    }
}

static uint32_t read_common(const struct virtio_device *v, enum common r)
{
    switch (r) {
    case DEVICE_FEATURE_SELECT: return v->offered_select;
    case DEVICE_FEATURE: return half(v->offered, v->offered_select);
    case DRIVER_FEATURE_SELECT: return v->accepted_select;
    case DRIVER_FEATURE: return half(v->accepted, v->accepted_select);
    case CONFIG_MSIX_VECTOR: return v->config_vector;
    case NUM_QUEUES: return v->queue_count;
    case DEVICE_STATUS: return v->status;
    case CONFIG_GENERATION: return v->config_generation;
    case QUEUE_SELECT: return v->queue_select;
    default: return read_queue(v, r);
    }
}

static uint16_t valid_vector(const struct virtio_device *v, uint32_t value) { return value < v->pci.msix_vectors ? (uint16_t)value : VQ_NO_VECTOR; }

/* What is frozen while the queue is enabled. */
static void write_queue_setup(struct vq_state *s, enum common r, uint32_t value)
{
    switch (r) {
    case QUEUE_SIZE: s->size = (uint16_t)value; break; /* checked when it is enabled */
    case QUEUE_DESC_LOW: set_half(&s->descriptors, 0, value); break;
    case QUEUE_DESC_HIGH: set_half(&s->descriptors, 1, value); break;
    case QUEUE_DRIVER_LOW: set_half(&s->available, 0, value); break;
    case QUEUE_DRIVER_HIGH: set_half(&s->available, 1, value); break;
    case QUEUE_DEVICE_LOW: set_half(&s->used, 0, value); break;
    case QUEUE_DEVICE_HIGH: set_half(&s->used, 1, value); break;
    default: break;
    }
}

static void write_queue(struct virtio_device *v, enum common r, uint32_t value)
{
    if (v->queue_select >= v->queue_count)
        return;
    struct vq_state *s = &v->vq[v->queue_select];
    if (r == QUEUE_MSIX_VECTOR)
        s->vector = valid_vector(v, value);
    else if (r == QUEUE_ENABLE && value == 1)
        virtio_enable_queue(v, v->queue_select);
    else if (r == QUEUE_RESET && value == 1)
        virtio_reset_queue(v, v->queue_select);
    else if (!s->enabled)
        write_queue_setup(s, r, value);
}

static void write_common(struct virtio_device *v, enum common r, uint32_t value)
{
    switch (r) {
    case DEVICE_FEATURE_SELECT: v->offered_select = value; break;
    case DRIVER_FEATURE_SELECT: v->accepted_select = value; break;
    case DRIVER_FEATURE:
        if (!(v->status & VIRTIO_FEATURES_OK) && v->accepted_select < 2)
            set_half(&v->accepted, v->accepted_select, value);
        break;
    case CONFIG_MSIX_VECTOR: v->config_vector = valid_vector(v, value); break;
    case DEVICE_STATUS: virtio_write_status(v, (uint8_t)value); break;
    case QUEUE_SELECT: v->queue_select = (uint16_t)value; break;
    default: write_queue(v, r, value); break;
    }
}

static enum bus_status common_access(struct virtio_device *v, uint64_t offset, unsigned size, uint64_t *value, bool write)
{
    enum common r = find_register(offset, size);
    if (r == COMMON_COUNT && size == 8) { /* a 64-bit address at once: 4.1.3.1 allows halves only, but it does no harm */
        uint64_t low = (uint32_t)*value, high = *value >> 32;
        enum bus_status first = common_access(v, offset, 4, &low, write), second = common_access(v, offset + 4, 4, &high, write);
        *value = low | high << 32;
        return first == BUS_OK ? second : first;
    }
    if (r == COMMON_COUNT)
        return BUS_NO_REGISTER;
    if (write)
        write_common(v, r, (uint32_t)*value);
    else
        *value = read_common(v, r);
    return BUS_OK;
}

/* ---- the other areas --------------------------------------------------------------------------------------------------------------------------------------------------- */

static enum bus_status isr_read(struct virtio_device *v, uint64_t *value)
{
    *value = v->isr;
    v->isr = 0;
    pci_intx_set(&v->pci, false);
    return BUS_OK;
}

static enum bus_status config_access(struct virtio_device *v, uint64_t offset, unsigned size, uint64_t *value, bool write)
{
    if (!range_inside(offset, size, v->config_len))
        return BUS_NO_REGISTER;
    if (write && v->ops->config_written) {
        memcpy(v->config + offset, value, size);
        v->ops->config_written(v, (unsigned)offset, size);
    } else if (!write) {
        *value = 0;
        memcpy(value, v->config + offset, size);
    }
    return BUS_OK;
}

static enum bus_status registers_access(struct virtio_device *v, uint64_t offset, unsigned size, uint64_t *value, bool write)
{
    uint64_t at = offset % AREA_BYTES;
    switch (offset - at) {
    case AT_COMMON: return common_access(v, at, size, value, write);
    case AT_ISR: return at || write ? BUS_NO_REGISTER : isr_read(v, value);
    case AT_DEVICE: return config_access(v, at, size, value, write);
    default:
        if (!write)
            return BUS_NO_REGISTER;
        virtio_kick(v, (unsigned)at / NOTIFY_MULTIPLIER);
        return BUS_OK;
    }
}

static enum bus_status registers_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    return registers_access(opaque, offset, size, value, false);
}

static enum bus_status registers_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    return registers_access(opaque, offset, size, &value, true);
}

static const struct bus_ops registers_ops = { registers_read, registers_write };

/* ---- the window in configuration space, 4.1.4.9 -------------------------------------------------------------------------------------------------------------------------- */

/* Fields of the capability: bar at 4, offset at 8, length at 12, data at 16. */
static void window_access(struct virtio_device *v, bool write)
{
    uint8_t *cap = v->pci.config + v->pci_cfg_at, *data = cap + CAP_PCI_CFG_DATA;
    uint32_t offset = load_le32(cap + 8), size = load_le32(cap + 12);
    const struct bus_ops *ops = cap[4] == BAR_REGISTERS ? &registers_ops : cap[4] == BAR_MSIX ? &pci_msix_bar_ops : NULL;
    void *opaque = cap[4] == BAR_REGISTERS ? (void *)v : (void *)&v->pci;
    uint64_t value = load_le32(data), limit = cap[4] == BAR_REGISTERS ? BAR_BYTES : PCI_MSIX_BAR_SIZE;
    if (!ops || (size != 1 && size != 2 && size != 4) || offset % size || !range_inside(offset, size, limit))
        return;
    if (write)
        ops->write(opaque, offset, size, size == 4 ? value : value & (BIT(8 * size) - 1));
    else if (ops->read(opaque, offset, size, &value) == BUS_OK)
        memcpy(data, &value, size);
}

static bool touches_window(const struct virtio_device *v, unsigned offset, unsigned size)
{
    return range_overlaps(offset, size, v->pci_cfg_at + CAP_PCI_CFG_DATA, 4);
}

static void config_reading(void *opaque, unsigned offset, unsigned size)
{
    if (touches_window(opaque, offset, size))
        window_access(opaque, false);
}

static void config_written(void *opaque, unsigned offset, unsigned size)
{
    struct virtio_device *v = opaque;
    if (touches_window(v, offset, size))
        window_access(v, true);
    else if (range_overlaps(offset, size, PCI_COMMAND, 2))
        for (unsigned i = 0; i < v->queue_count; i++)
            virtio_kick(v, i); /* it may have become bus master */
}

/* ---- making it -------------------------------------------------------------------------------------------------------------------------------------------------------------- */

static unsigned add_capability(struct virtio_device *v, unsigned type, unsigned len, uint32_t offset, uint32_t area)
{
    unsigned at = pci_function_add_capability(&v->pci, PCI_CAP_VENDOR, len);
    if (!at)
        return 0;
    pci_config_init(&v->pci, at + 2, 2, len | type << 8, 0);
    pci_config_init(&v->pci, at + 4, 4, BAR_REGISTERS, 0);
    pci_config_init(&v->pci, at + 8, 4, offset, 0);
    pci_config_init(&v->pci, at + 12, 4, area, 0);
    return at;
}

static int add_capabilities(struct virtio_device *v, struct err *err)
{
    struct pci_function *f = &v->pci;
    unsigned common = add_capability(v, CAP_COMMON, CAP_LENGTH, AT_COMMON, 0x3c);
    unsigned isr = add_capability(v, CAP_ISR, CAP_LENGTH, AT_ISR, 1);
    unsigned device = v->config_len ? add_capability(v, CAP_DEVICE, CAP_LENGTH, AT_DEVICE, v->config_len) : 1;
    unsigned notify = add_capability(v, CAP_NOTIFY, CAP_NOTIFY_LENGTH, AT_NOTIFY, v->queue_count * NOTIFY_MULTIPLIER);
    v->pci_cfg_at = add_capability(v, CAP_PCI_CFG, CAP_PCI_CFG_LENGTH, 0, 0);
    if (!common || !isr || !device || !notify || !v->pci_cfg_at)
        return err_set(err, ERR_INTERNAL, "no room for the virtio capabilities");
    pci_config_init(f, notify + 16, 4, NOTIFY_MULTIPLIER, 0);
    pci_config_init(f, v->pci_cfg_at + 4, 1, 0, 0xff);
    for (unsigned at = 8; at < CAP_PCI_CFG_LENGTH; at += 4)
        pci_config_init(f, v->pci_cfg_at + at, 4, 0, UINT32_MAX);
    return 0;
}

int virtio_pci_create(struct virtio_device *v, const struct virtio_setup *setup, struct err *err)
{
    struct pci_identity identity = { /* 4.1.2 */
        .vendor = 0x1af4, .device = (uint16_t)(0x1040 + v->ops->id), .subsystem_vendor = 0x1af4, .subsystem = (uint16_t)(0x1040 + v->ops->id),
        .class_code = v->ops->class_code, .revision = 1, .interrupt_pin = 1,
    };
    pci_function_init(&v->pci, &v->device, &identity);
    v->pci.config_reading = config_reading;
    v->pci.config_written = config_written;
    v->pci.config_opaque = v;
    int r = pci_function_add_bar(&v->pci, BAR_REGISTERS, BAR_BYTES, PCI_BAR_64, &registers_ops, v, err);
    if (!r)
        r = pci_function_add_msix(&v->pci, BAR_MSIX, v->queue_count + 1, err);
    if (!r)
        r = add_capabilities(v, err);
    return r ? r : pci_attach(setup->pci_host, &v->pci, setup->slot, err);
}
