/* SPDX-License-Identifier: MIT */
/* guest.c - see guest.h. Faults end the program with a message: it is for tests alone. */
#include "guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"

#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); abort(); } } while (0)

/* ---- executors ------------------------------------------------------------------------------------------------------------------------------------------- */

static void on_wake(void *opaque)
{
    struct guest *g = opaque;
    pthread_mutex_lock(&g->lock);
    g->wake = true;
    pthread_cond_signal(&g->woken);
    pthread_mutex_unlock(&g->lock);
}

static void *run_main(void *opaque)
{
    executor_run(((struct guest *)opaque)->executor);
    return NULL;
}

static void *run_cooperative(void *opaque)
{
    struct guest *g = opaque;
    pthread_mutex_lock(&g->lock);
    while (!g->quit) {
        while (!g->wake && !g->quit)
            pthread_cond_wait(&g->woken, &g->lock);
        g->wake = false;
        pthread_mutex_unlock(&g->lock);
        while (executor_run_pending(g->executor))
            ;
        pthread_mutex_lock(&g->lock);
    }
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

static void start_executor(struct guest *g)
{
    switch (g->kind) {
    case GUEST_MAIN:
        CHECK(executor_new_main(g->clock, &g->executor, NULL) == 0);
        pthread_create(&g->owner, NULL, run_main, g);
        break;
    case GUEST_THREAD:
        CHECK(executor_new_thread(g->clock, "device", NULL, NULL, &g->executor, NULL) == 0);
        break;
    case GUEST_COOPERATIVE:
        CHECK(executor_new_thread(g->clock, "timekeeper", NULL, NULL, &g->timekeeper, NULL) == 0);
        CHECK(executor_new_cooperative(g->clock, g->timekeeper, on_wake, g, &g->executor, NULL) == 0);
        pthread_create(&g->owner, NULL, run_cooperative, g);
        break;
    default:
        CHECK(executor_new_virtual(&g->executor, NULL) == 0);
    }
}

static void stop_executor(struct guest *g)
{
    if (g->kind == GUEST_MAIN) {
        executor_stop(g->executor, 0);
        pthread_join(g->owner, NULL);
    } else if (g->kind == GUEST_COOPERATIVE) {
        pthread_mutex_lock(&g->lock);
        g->quit = true;
        pthread_cond_signal(&g->woken);
        pthread_mutex_unlock(&g->lock);
        pthread_join(g->owner, NULL);
    }
    executor_free(g->executor);
    executor_free(g->timekeeper);
}

void guest_pause(struct guest *g)
{
    if (g->kind == GUEST_VIRTUAL) {
        executor_advance(g->executor, 1000000);
    } else {
        const struct timespec moment = { 0, 200000 };
        nanosleep(&moment, NULL);
    }
}

/* ---- the machine ------------------------------------------------------------------------------------------------------------------------------------------- */

static void on_message(void *opaque, uint64_t address, uint32_t data, uint32_t requester)
{
    struct guest *g = opaque;
    CHECK(address == 0xfee00000 || data > 15);
    (void)requester;
    atomic_fetch_add(&g->messages[data & 15], 1);
}

static void on_line(void *opaque, unsigned number, bool level)
{
    struct guest *g = opaque;
    (void)number;
    if (level && !atomic_exchange(&g->intx_level, true))
        atomic_fetch_add(&g->intx, 1);
    if (!level)
        atomic_store(&g->intx_level, false);
}

static int intx_line(void *opaque, unsigned gsi, struct irq_line *out, struct err *err)
{
    (void)err;
    *out = (struct irq_line){ on_line, opaque, gsi };
    return 0;
}

void guest_start(struct guest *g, enum guest_kind kind)
{
    memset(g, 0, sizeof *g);
    g->kind = kind;
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->woken, NULL);
    CHECK((g->clock = exec_clock_new(NULL)));
    start_executor(g);
    CHECK((g->block = mem_block_new(GUEST_MEMORY, NULL)) && (g->memory = mem_map_new(NULL)) && (g->bus = bus_new(NULL)));
    CHECK(mem_map_add(g->memory, 0, g->block, 0, GUEST_MEMORY, MEM_R | MEM_W | MEM_X, NULL) == 0);
    g->services = (struct device_services){ .bus = g->bus, .memory = g->memory, .executor = g->executor, .msi = { on_message, g } };
    struct pci_host_config config = { .ecam_base = GUEST_ECAM, .ecam_buses = 1, .low = { 0xc0000000, 0x10000000 }, .intx_line = intx_line, .intx_opaque = g };
    CHECK(device_new(&pci_host_class, "pci", &g->services, &config, &g->host, NULL) == 0);
}

void guest_stop(struct guest *g)
{
    device_free(g->device);
    device_free(g->host);
    stop_executor(g);
    exec_clock_free(g->clock);
    bus_free(g->bus);
    mem_map_free(g->memory);
    mem_block_unref(g->block);
    pthread_cond_destroy(&g->woken);
    pthread_mutex_destroy(&g->lock);
}

/* ---- registers ------------------------------------------------------------------------------------------------------------------------------------------------ */

#define ECAM_DEVICE (GUEST_ECAM + (1 << 15)) /* slot 1 */

uint32_t guest_config(struct guest *g, unsigned offset, unsigned size)
{
    uint64_t value;
    bus_read(g->bus, BUS_MMIO, ECAM_DEVICE + offset, size, &value);
    return (uint32_t)value;
}

void guest_config_write(struct guest *g, unsigned offset, unsigned size, uint32_t value) { bus_write(g->bus, BUS_MMIO, ECAM_DEVICE + offset, size, value); }

uint32_t guest_read(struct guest *g, unsigned offset, unsigned size)
{
    uint64_t value;
    bus_read(g->bus, BUS_MMIO, g->registers + offset, size, &value);
    return (uint32_t)value;
}

void guest_write(struct guest *g, unsigned offset, unsigned size, uint32_t value) { bus_write(g->bus, BUS_MMIO, g->registers + offset, size, value); }

void guest_attach(struct guest *g)
{
    g->registers = (guest_config(g, 0x10, 4) & ~15u) | (uint64_t)guest_config(g, 0x14, 4) << 32;
    guest_config_write(g, 4, 2, 6);
    CHECK(guest_config(g, 0, 2) == 0x1af4);
}

void guest_msix(struct guest *g, unsigned vectors)
{
    uint64_t table = guest_config(g, 0x18, 4) & ~15u;
    unsigned cap = guest_config(g, 0x34, 1);
    while (cap && guest_config(g, cap, 1) != 0x11)
        cap = guest_config(g, cap + 1, 1);
    CHECK(cap);
    guest_config_write(g, cap + 2, 2, 0x8000);
    for (unsigned i = 0; i < vectors; i++) {
        bus_write(g->bus, BUS_MMIO, table + 16 * i, 8, 0xfee00000);
        bus_write(g->bus, BUS_MMIO, table + 16 * i + 8, 4, i);
        bus_write(g->bus, BUS_MMIO, table + 16 * i + 12, 4, 0);
    }
}

bool guest_negotiate(struct guest *g, uint64_t features)
{
    guest_write(g, 0x14, 1, 0);
    for (unsigned i = 0; i < 50000 && guest_read(g, 0x14, 1); i++)
        guest_pause(g); /* requests are under way */
    CHECK(guest_read(g, 0x14, 1) == 0);
    guest_write(g, 0x14, 1, 1);
    guest_write(g, 0x14, 1, 3);
    for (unsigned i = 0; i < 2; i++) {
        guest_write(g, 0x08, 4, i);
        guest_write(g, 0x0c, 4, (uint32_t)(features >> 32 * i));
    }
    guest_write(g, 0x14, 1, 11);
    return guest_read(g, 0x14, 1) == 11;
}

void guest_setup_queue(struct guest *g, unsigned queue)
{
    guest_write(g, 0x16, 2, queue);
    CHECK(guest_read(g, 0x18, 2) >= GUEST_QUEUE_SIZE);
    guest_write(g, 0x18, 2, GUEST_QUEUE_SIZE);
    guest_write(g, 0x1a, 2, queue);
    guest_write(g, 0x20, 4, (uint32_t)GUEST_RING(queue));
    guest_write(g, 0x24, 4, 0);
    guest_write(g, 0x28, 4, (uint32_t)GUEST_AVAIL(queue));
    guest_write(g, 0x2c, 4, 0);
    guest_write(g, 0x30, 4, (uint32_t)GUEST_USED(queue));
    guest_write(g, 0x34, 4, 0);
    mem_fill(g->memory, GUEST_RING(queue), 0, 0x8000);
    guest_write(g, 0x1c, 2, 1);
    g->next[queue] = g->seen[queue] = 0;
}

void guest_driver(struct guest *g, uint64_t features, unsigned queues)
{
    unsigned vectors = guest_read(g, 0x12, 2) + 1;
    CHECK(guest_negotiate(g, features | VIRTIO_F_VERSION_1));
    guest_msix(g, vectors);
    guest_write(g, 0x10, 2, vectors - 1);
    for (unsigned i = 0; i < queues; i++)
        guest_setup_queue(g, i);
    guest_write(g, 0x14, 1, 15);
    CHECK(guest_read(g, 0x14, 1) == 15);
}

/* ---- rings ------------------------------------------------------------------------------------------------------------------------------------------------------ */

void guest_put(struct guest *g, uint64_t gpa, const void *data, size_t len) { CHECK(mem_write(g->memory, gpa, data, len) == 0); }
void guest_get(struct guest *g, uint64_t gpa, void *out, size_t len) { CHECK(mem_read(g->memory, gpa, out, len) == 0); }

void guest_descriptor(struct guest *g, uint64_t table, unsigned index, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
    uint8_t d[16];
    store_le64(d, gpa);
    store_le32(d + 8, len);
    store_le16(d + 12, flags);
    store_le16(d + 14, next);
    guest_put(g, table + 16 * index, d, sizeof d);
}

void guest_available(struct guest *g, unsigned queue, uint16_t head)
{
    guest_put(g, GUEST_AVAIL(queue) + 4 + 2 * (g->next[queue] % GUEST_QUEUE_SIZE), &head, 2);
    mem_store16(g->memory, GUEST_AVAIL(queue) + 2, ++g->next[queue]);
}

void guest_chain(struct guest *g, unsigned queue, unsigned first, const struct guest_buffer *buffers, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        guest_descriptor(g, GUEST_RING(queue), first + i, buffers[i].gpa, buffers[i].len, (i + 1 < count ? 1 : 0) | (buffers[i].write ? 2 : 0),
                         (uint16_t)(first + i + 1));
    guest_available(g, queue, (uint16_t)first);
}

void guest_notify(struct guest *g, unsigned queue) { guest_write(g, 0x3000 + 4 * queue, 2, queue); }

bool guest_used(struct guest *g, unsigned queue, uint32_t *head, uint32_t *written)
{
    uint16_t index = g->seen[queue];
    for (unsigned i = 0; i < 50000; i++) {
        if (mem_load16(g->memory, GUEST_USED(queue) + 2, &index) == 0 && index != g->seen[queue])
            break;
        if (guest_read(g, 0x14, 1) & VIRTIO_NEEDS_RESET)
            return false;
        guest_pause(g);
    }
    if (index == g->seen[queue])
        return false;
    uint8_t entry[8];
    guest_get(g, GUEST_USED(queue) + 4 + 8 * (g->seen[queue]++ % GUEST_QUEUE_SIZE), entry, sizeof entry);
    *head = load_le32(entry);
    *written = load_le32(entry + 4);
    return true;
}

uint32_t guest_request(struct guest *g, unsigned queue, const struct guest_buffer *buffers, unsigned count)
{
    uint32_t head, written;
    guest_chain(g, queue, 0, buffers, count);
    guest_notify(g, queue);
    CHECK(guest_used(g, queue, &head, &written));
    CHECK(head == 0);
    return written;
}
