/* SPDX-License-Identifier: MIT */
#include "hostile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

struct input { const uint8_t *data; size_t left; };
struct flip { uint64_t random; unsigned every; };

static uint64_t take(struct input *in, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes && in->left; i++, in->left--)
        value |= (uint64_t)*in->data++ << 8 * i;
    return value;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* The guest changes what was just read, so that a second fetch of it would differ. */
static void on_fetch(void *opaque, uint64_t gpa, void *bytes, size_t len)
{
    struct flip *flip = opaque;
    (void)gpa;
    if (!flip->every || next_random(&flip->random) % flip->every)
        return;
    ((uint8_t *)bytes)[next_random(&flip->random) % len] ^= (uint8_t)next_random(&flip->random);
}

/* Mostly addresses that exist. */
static uint64_t some_address(struct input *in)
{
    uint64_t value = take(in, 3);
    return value & 1 ? GUEST_BUFFERS + value % 0x10000 : value & 2 ? GUEST_RING(value >> 2 & 3) + (value >> 4) % 0x8000 : value << 20 | take(in, 4);
}

static uint32_t some_length(struct input *in)
{
    uint32_t value = (uint32_t)take(in, 1);
    return value < 200 ? value : value < 240 ? value * 512 : value < 250 ? (uint32_t)take(in, 4) : UINT32_MAX;
}

static void put_descriptor(struct guest *g, unsigned queue, struct input *in)
{
    unsigned index = (unsigned)take(in, 1) % GUEST_QUEUE_SIZE;
    uint64_t table = take(in, 1) & 7 ? GUEST_RING(queue) : GUEST_BUFFERS;
    uint64_t gpa = some_address(in);
    uint32_t len = some_length(in);
    uint16_t flags = (uint16_t)take(in, 1);
    guest_descriptor(g, table, index, gpa, len, flags & 0xc0 ? flags & 3 : flags & 7, (uint16_t)take(in, 1) % (GUEST_QUEUE_SIZE + 1));
}

static void put_bytes(struct guest *g, struct input *in)
{
    uint8_t bytes[32];
    uint64_t at = GUEST_BUFFERS + take(in, 2);
    size_t len = take(in, 1) % sizeof bytes;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)take(in, 1);
    guest_put(g, at, bytes, len);
}

static void check_stable(struct guest *g)
{
    static const size_t capacity = 1 << 17;
    uint8_t *one = malloc(capacity), *two = malloc(capacity);
    size_t n = device_save(g->device, one, capacity);
    struct err err = ERR_NONE;
    if (n > capacity || device_load(g->device, one, n, &err) || device_save(g->device, two, capacity) != n || memcmp(one, two, n)) {
        fprintf(stderr, "a saved state does not load as it was: %s\n", err.text);
        abort();
    }
    free(one);
    free(two);
}

static void operate(struct guest *g, unsigned queues, struct input *in, void (*outside)(void *, const uint8_t *, size_t), void *opaque)
{
    static const unsigned sizes[] = { 1, 2, 4, 4 };
    unsigned op = (unsigned)take(in, 1), queue = (unsigned)take(in, 1) % queues, at = (unsigned)take(in, 2), size = sizes[op >> 6];
    switch (op % 16) {
    case 0: case 1: case 2: put_descriptor(g, queue, in); break;
    case 3: guest_available(g, queue, (uint16_t)take(in, 1)); break;
    case 4: guest_available(g, queue, (uint16_t)take(in, 1) % GUEST_QUEUE_SIZE); guest_notify(g, queue); break;
    case 5: mem_store16(g->memory, GUEST_AVAIL(queue) + 2, (uint16_t)take(in, 2)); break;
    case 6: guest_notify(g, queue); executor_advance(g->executor, 1000000); break;
    case 7: executor_advance(g->executor, take(in, 4)); break;
    case 8: guest_write(g, at % 0x4000, size, (uint32_t)take(in, 4)); break;
    case 9: guest_read(g, at % 0x4000, size); break;
    case 10: guest_config_write(g, at % 0x100, size, (uint32_t)take(in, 4)); break;
    case 11: guest_config(g, at % 0x100, size); break;
    case 12: put_bytes(g, in); break;
    case 13: guest_write(g, at % 64, size, (uint32_t)take(in, 4)); break;
    case 14:
        if (outside) {
            size_t len = at % 4096 < in->left ? at % 4096 : in->left;
            outside(opaque, in->data, len);
        }
        break;
    default:
        if (at % 16 == 0)
            check_stable(g);
        else if (at % 16 == 1)
            device_load(g->device, in->data, in->left, NULL);
        else if (at % 16 == 2)
            device_reset(g->device);
    }
}

void hostile_drive(struct guest *g, unsigned queues, const uint8_t *data, size_t size, void (*outside)(void *, const uint8_t *, size_t), void *opaque)
{
    struct input in = { data, size < 8192 ? size : 8192 };
    struct flip flip = { .random = take(&in, 4) | 1, .every = (unsigned)take(&in, 1) };
    uint64_t features = take(&in, 8);
    uint64_t offered = 0;
    for (unsigned i = 0; i < 2; i++) {
        guest_write(g, 0, 4, i);
        offered |= (uint64_t)guest_read(g, 4, 4) << 32 * i;
    }
    guest_driver(g, features & offered, queues);
    mem_map_set_fetch_hook(g->memory, on_fetch, &flip);
    while (in.left)
        operate(g, queues, &in, outside, opaque);
    guest_config_write(g, 4, 2, 6);
    for (unsigned i = 0; i < queues; i++)
        guest_notify(g, i);
    executor_advance(g->executor, 1000000000);
    check_stable(g);
    mem_map_set_fetch_hook(g->memory, NULL, NULL);
}
