/* SPDX-License-Identifier: MIT */
/* test_queue.c - hostile chains: cycles, lengths that add up beyond 2^32, overlaps, indirect in indirect, indices that run away; the registers' order; event index; random
 * drivers. Each fault ends in DEVICE_NEEDS_RESET and a configuration interrupt, and a reset makes the device work again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hostile.h"
#include "virtio/rng.h"

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };
#define RING GUEST_RING(0)
#define TABLE (GUEST_BUFFERS + 0x8000)

static void count_fill(void *opaque, void *out, size_t len)
{
    (void)opaque;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (uint8_t)(i + 1);
}

static void new_rng(struct guest *g, enum guest_kind kind)
{
    guest_start(g, kind);
    struct virtio_rng_config config = { .pci_host = g->host, .slot = 1, .fill = count_fill };
    assert_int_equal(device_new(&virtio_rng_class, "rng0", &g->services, &config, &g->device, NULL), 0);
    guest_attach(g);
}

static void expect_works(struct guest *g)
{
    uint8_t got[300];
    struct guest_buffer b[] = { { GUEST_BUFFERS, 100, true }, { GUEST_BUFFERS + 0x1000, 200, true } };
    assert_int_equal(guest_request(g, 0, b, 2), 300);
    guest_get(g, GUEST_BUFFERS, got, 100);
    guest_get(g, GUEST_BUFFERS + 0x1000, got + 100, 200);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(got[i], (uint8_t)(i + 1));
}

static void works_on_every_executor(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < GUEST_KINDS; kind++) {
        struct guest g;
        new_rng(&g, kind);
        guest_driver(&g, VIRTIO_F_INDIRECT_DESC, 1);
        expect_works(&g);
        guest_driver(&g, VIRTIO_F_EVENT_IDX, 1);
        expect_works(&g);
        assert_int_equal(g.messages[0], 2);
        guest_stop(&g);
    }
}

/* Large requests are cut, which is what the driver expects of an entropy source. */
static void bounded_request(void **state)
{
    (void)state;
    struct guest g;
    new_rng(&g, GUEST_VIRTUAL);
    guest_driver(&g, 0, 1);
    struct guest_buffer b[] = { { GUEST_BUFFERS, 1 << 20, true } };
    assert_int_equal(guest_request(&g, 0, b, 1), 4096);
    guest_stop(&g);
}

/* ---- hostile chains ----------------------------------------------------------------------------------------------------------------------------------------- */

static void cycle_of_two(struct guest *g)
{
    guest_descriptor(g, RING, 0, GUEST_BUFFERS, 4, NEXT | WRITE, 1);
    guest_descriptor(g, RING, 1, GUEST_BUFFERS, 4, NEXT | WRITE, 0);
    guest_available(g, 0, 0);
}

static void cycle_of_nothing(struct guest *g)
{
    guest_descriptor(g, RING, 0, GUEST_BUFFERS, 0, NEXT | WRITE, 0);
    guest_available(g, 0, 0);
}

static void long_lengths(struct guest *g)
{
    for (unsigned i = 0; i < 3; i++)
        guest_descriptor(g, RING, i, GUEST_BUFFERS, UINT32_MAX, (i < 2 ? NEXT : 0) | WRITE, (uint16_t)(i + 1));
    guest_available(g, 0, 0);
}

static void head_beyond(struct guest *g) { guest_available(g, 0, GUEST_QUEUE_SIZE); }

static void next_beyond(struct guest *g)
{
    guest_descriptor(g, RING, 0, GUEST_BUFFERS, 4, NEXT | WRITE, GUEST_QUEUE_SIZE);
    guest_available(g, 0, 0);
}

static void readable_after_writable(struct guest *g)
{
    guest_descriptor(g, RING, 0, GUEST_BUFFERS, 4, NEXT | WRITE, 1);
    guest_descriptor(g, RING, 1, GUEST_BUFFERS, 4, 0, 0);
    guest_available(g, 0, 0);
}

static void indirect_in_indirect(struct guest *g)
{
    guest_descriptor(g, RING, 0, TABLE, 32, INDIRECT, 0);
    guest_descriptor(g, TABLE, 0, TABLE, 32, INDIRECT, 0);
    guest_available(g, 0, 0);
}

static void indirect_cycle(struct guest *g)
{
    guest_descriptor(g, RING, 0, TABLE, 32, INDIRECT, 0);
    guest_descriptor(g, TABLE, 0, GUEST_BUFFERS, 4, NEXT | WRITE, 1);
    guest_descriptor(g, TABLE, 1, GUEST_BUFFERS, 4, NEXT | WRITE, 0);
    guest_available(g, 0, 0);
}

static void indirect_next_beyond(struct guest *g)
{
    guest_descriptor(g, RING, 0, TABLE, 32, INDIRECT, 0);
    guest_descriptor(g, TABLE, 0, GUEST_BUFFERS, 4, NEXT | WRITE, 2);
    guest_available(g, 0, 0);
}

static void indirect_with_next(struct guest *g)
{
    guest_descriptor(g, RING, 0, TABLE, 16, INDIRECT | NEXT, 1);
    guest_available(g, 0, 0);
}

static void indirect_odd(struct guest *g)
{
    guest_descriptor(g, RING, 0, TABLE, 17, INDIRECT, 0);
    guest_available(g, 0, 0);
}

static void indirect_empty(struct guest *g)
{
    guest_descriptor(g, RING, 0, TABLE, 0, INDIRECT, 0);
    guest_available(g, 0, 0);
}

static void indirect_huge(struct guest *g)
{
    guest_descriptor(g, RING, 0, TABLE, UINT32_MAX & ~15u, INDIRECT, 0);
    guest_available(g, 0, 0);
}

static void indirect_nowhere(struct guest *g)
{
    guest_descriptor(g, RING, 0, UINT64_MAX - 15, 32, INDIRECT, 0);
    guest_available(g, 0, 0);
}

static void index_ran_away(struct guest *g) { mem_store16(g->memory, GUEST_AVAIL(0) + 2, GUEST_QUEUE_SIZE + 1); }

static void (*const faults[])(struct guest *) = {
    cycle_of_two, cycle_of_nothing, long_lengths, head_beyond, next_beyond, readable_after_writable, indirect_in_indirect, indirect_cycle,
    indirect_next_beyond, indirect_with_next, indirect_odd, indirect_empty, indirect_huge, indirect_nowhere, index_ran_away,
};

static void faults_need_a_reset(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < GUEST_KINDS; kind++) {
        struct guest g;
        new_rng(&g, kind);
        for (unsigned i = 0; i < sizeof faults / sizeof faults[0]; i++) {
            guest_driver(&g, VIRTIO_F_INDIRECT_DESC, 1);
            unsigned before = g.messages[1];
            faults[i](&g);
            guest_notify(&g, 0);
            for (unsigned t = 0; t < 50000 && !(guest_read(&g, 0x14, 1) & VIRTIO_NEEDS_RESET); t++)
                guest_pause(&g);
            assert_int_equal(guest_read(&g, 0x14, 1), 15 | VIRTIO_NEEDS_RESET);
            assert_int_equal(g.messages[1], before + 1);
            guest_notify(&g, 0);
            guest_pause(&g);
        }
        guest_driver(&g, 0, 1);
        expect_works(&g);
        guest_stop(&g);
    }
}

static void indirect_not_negotiated(void **state)
{
    (void)state;
    struct guest g;
    new_rng(&g, GUEST_VIRTUAL);
    guest_driver(&g, 0, 1);
    guest_descriptor(&g, TABLE, 0, GUEST_BUFFERS, 4, WRITE, 0);
    guest_descriptor(&g, RING, 0, TABLE, 16, INDIRECT, 0);
    guest_available(&g, 0, 0);
    guest_notify(&g, 0);
    guest_pause(&g);
    assert_true(guest_read(&g, 0x14, 1) & VIRTIO_NEEDS_RESET);
    guest_driver(&g, VIRTIO_F_INDIRECT_DESC, 1);
    guest_descriptor(&g, TABLE, 0, GUEST_BUFFERS, 4, WRITE, 0);
    guest_descriptor(&g, RING, 0, TABLE, 16, INDIRECT, 0);
    uint32_t head, written;
    guest_available(&g, 0, 0);
    guest_notify(&g, 0);
    assert_true(guest_used(&g, 0, &head, &written));
    assert_int_equal(written, 4);
    guest_stop(&g);
}

/* A buffer where there is no memory, or that overlaps the rings, is the guest's own loss. */
static void buffers_in_odd_places(void **state)
{
    (void)state;
    struct guest g;
    new_rng(&g, GUEST_VIRTUAL);
    guest_driver(&g, 0, 1);
    struct guest_buffer nowhere[] = { { UINT64_C(1) << 51, 64, true } }, edge[] = { { GUEST_MEMORY - 4, 64, true } }, over[] = { { GUEST_RING(0), 64, true } };
    assert_int_equal(guest_request(&g, 0, nowhere, 1), 0);
    assert_int_equal(guest_request(&g, 0, edge, 1), 0);
    assert_int_equal(guest_request(&g, 0, over, 1), 64);
    expect_works(&g);
    guest_stop(&g);
}

/* ---- the registers' order ------------------------------------------------------------------------------------------------------------------------------------- */

static void registers_keep_their_order(void **state)
{
    (void)state;
    struct guest g;
    new_rng(&g, GUEST_VIRTUAL);
    assert_false(guest_negotiate(&g, 0));                             /* VERSION_1 is a must */
    assert_false(guest_negotiate(&g, VIRTIO_F_VERSION_1 | BIT(50)));  /* not offered */
    guest_write(&g, 0x14, 1, 15);
    assert_int_equal(guest_read(&g, 0x14, 1), 3);                     /* no DRIVER_OK without FEATURES_OK */
    assert_true(guest_negotiate(&g, VIRTIO_F_VERSION_1));
    guest_write(&g, 0x0c, 4, UINT32_MAX);                             /* frozen */
    assert_int_equal(guest_read(&g, 0x0c, 4), 1);
    guest_setup_queue(&g, 0);
    guest_write(&g, 0x20, 4, 0x1234560);                              /* frozen */
    assert_int_equal(guest_read(&g, 0x20, 4), (uint32_t)GUEST_RING(0));
    struct guest_buffer b[] = { { GUEST_BUFFERS, 10, true } };
    uint16_t used;
    guest_chain(&g, 0, 0, b, 1);
    guest_notify(&g, 0);
    guest_pause(&g);
    mem_load16(g.memory, GUEST_USED(0) + 2, &used);
    assert_int_equal(used, 0);                                        /* not before DRIVER_OK */
    guest_write(&g, 0x14, 1, 15);
    guest_pause(&g);
    mem_load16(g.memory, GUEST_USED(0) + 2, &used);
    assert_int_equal(used, 1);
    guest_write(&g, 0x16, 2, 7);
    assert_int_equal(guest_read(&g, 0x18, 2), 0);                     /* no such queue */
    guest_write(&g, 0x14, 1, 0);
    guest_write(&g, 0x16, 2, 0);
    assert_int_equal(guest_read(&g, 0x1c, 2), 0);
    assert_int_equal(guest_read(&g, 0x18, 2), 256);
    guest_stop(&g);
}

static void bad_queue_setups(void **state)
{
    (void)state;
    static const struct { unsigned at, size; uint32_t value; } bad[] = {
        { 0x18, 2, 3 }, { 0x18, 2, 0 }, { 0x18, 2, 512 }, { 0x20, 4, 8 }, { 0x28, 4, 1 }, { 0x30, 4, 2 }, { 0x24, 4, 0xffffffff },
    };
    struct guest g;
    new_rng(&g, GUEST_VIRTUAL);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_true(guest_negotiate(&g, VIRTIO_F_VERSION_1));
        guest_write(&g, 0x16, 2, 0);
        guest_write(&g, bad[i].at, bad[i].size, bad[i].value);
        guest_write(&g, 0x1c, 2, 1);
        assert_int_equal(guest_read(&g, 0x1c, 2), 0);
        assert_true(guest_read(&g, 0x14, 1) & VIRTIO_NEEDS_RESET);
    }
    guest_stop(&g);
}

static void one_queue_resets_alone(void **state)
{
    (void)state;
    struct guest g;
    new_rng(&g, GUEST_THREAD);
    guest_driver(&g, VIRTIO_F_RING_RESET, 1);
    expect_works(&g);
    guest_write(&g, 0x3a, 2, 1);
    assert_int_equal(guest_read(&g, 0x3a, 2), 0);
    assert_int_equal(guest_read(&g, 0x1c, 2), 0);
    guest_setup_queue(&g, 0);
    expect_works(&g);
    guest_stop(&g);
}

/* 2.7.10: with the event index the driver hears only what it asked for. */
static void event_index_holds_back(void **state)
{
    (void)state;
    struct guest g;
    uint32_t head, written;
    new_rng(&g, GUEST_VIRTUAL);
    guest_driver(&g, VIRTIO_F_EVENT_IDX, 1);
    struct guest_buffer b[] = { { GUEST_BUFFERS, 10, true } };
    mem_store16(g.memory, GUEST_AVAIL(0) + 4 + 2 * GUEST_QUEUE_SIZE, 2); /* used_event: after the third */
    for (unsigned i = 1; i <= 5; i++) {
        guest_chain(&g, 0, 0, b, 1);
        guest_notify(&g, 0);
        assert_true(guest_used(&g, 0, &head, &written));
        assert_int_equal(g.messages[0], i >= 3);
        uint16_t event;
        mem_load16(g.memory, GUEST_USED(0) + 4 + 8 * GUEST_QUEUE_SIZE, &event);
        assert_int_equal(event, i); /* avail_event */
    }
    guest_stop(&g);
}

static void random_drivers(void **state)
{
    (void)state;
    uint64_t random = 12345;
    for (unsigned round = 0; round < 300; round++) {
        uint8_t bytes[1500];
        struct guest g;
        for (unsigned i = 0; i < sizeof bytes; i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            bytes[i] = (uint8_t)(random >> 56);
        }
        new_rng(&g, GUEST_VIRTUAL);
        hostile_drive(&g, 1, bytes, sizeof bytes, NULL, NULL);
        device_reset(g.device);
        guest_attach(&g);
        guest_driver(&g, 0, 1);
        expect_works(&g);
        guest_stop(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(works_on_every_executor), cmocka_unit_test(bounded_request), cmocka_unit_test(faults_need_a_reset),
        cmocka_unit_test(indirect_not_negotiated), cmocka_unit_test(buffers_in_odd_places), cmocka_unit_test(registers_keep_their_order),
        cmocka_unit_test(bad_queue_setups), cmocka_unit_test(one_queue_resets_alone), cmocka_unit_test(event_index_holds_back),
        cmocka_unit_test(random_drivers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
