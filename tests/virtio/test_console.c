/* SPDX-License-Identifier: MIT */
/* test_console.c - the console on every kind of executor: output, input, a slow host side, a full buffer, save and load. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest.h"
#include "virtio/console.h"

struct host { pthread_mutex_t lock; uint8_t got[8192]; size_t count, room; unsigned readable; };

static size_t host_write(void *opaque, const uint8_t *data, size_t len)
{
    struct host *h = opaque;
    pthread_mutex_lock(&h->lock);
    size_t n = len < h->room ? len : h->room;
    memcpy(h->got + h->count, data, n);
    h->count += n;
    h->room -= n;
    pthread_mutex_unlock(&h->lock);
    return n;
}

static void host_readable(void *opaque)
{
    struct host *h = opaque;
    pthread_mutex_lock(&h->lock);
    h->readable++;
    pthread_mutex_unlock(&h->lock);
}

static size_t host_count(struct host *h)
{
    pthread_mutex_lock(&h->lock);
    size_t n = h->count;
    pthread_mutex_unlock(&h->lock);
    return n;
}

static void new_console(struct guest *g, struct host *h)
{
    struct virtio_console_config config = { .pci_host = g->host, .slot = 1, .backend = { host_write, host_readable, h }, .columns = 80, .rows = 25 };
    assert_int_equal(device_new(&virtio_console_class, "console0", &g->services, &config, &g->device, NULL), 0);
    guest_attach(g);
}

static void there_and_back(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < GUEST_KINDS; kind++) {
        struct guest g;
        static struct host h;
        uint32_t head, written;
        uint8_t text[3000], back[100];
        h = (struct host){ .lock = PTHREAD_MUTEX_INITIALIZER, .room = 1000 };
        guest_start(&g, kind);
        new_console(&g, &h);
        assert_int_equal(guest_read(&g, 0x2000, 4), 80 | 25 << 16);
        struct stream_frontend f = virtio_console_frontend(g.device);
        assert_int_equal(f.receive(f.opaque, (const uint8_t *)"early", 5), 5);
        guest_driver(&g, 1, 2);
        for (unsigned i = 0; i < sizeof text; i++)
            text[i] = (uint8_t)(i * 7);
        guest_put(&g, GUEST_BUFFERS, text, sizeof text);
        struct guest_buffer out[] = { { GUEST_BUFFERS, 700, false }, { GUEST_BUFFERS + 700, 2300, false } };
        guest_chain(&g, 1, 0, out, 2);
        guest_notify(&g, 1);
        for (unsigned i = 0; i < 50000 && host_count(&h) < 1000; i++)
            guest_pause(&g);
        assert_int_equal(host_count(&h), 1000); /* and no more */
        pthread_mutex_lock(&h.lock);
        h.room = 5000;
        pthread_mutex_unlock(&h.lock);
        f.writable(f.opaque);
        assert_true(guest_used(&g, 1, &head, &written));
        assert_int_equal(host_count(&h), 3000);
        assert_memory_equal(h.got, text, 3000);
        struct guest_buffer in[] = { { GUEST_BUFFERS + 0x2000, 3, true } };
        assert_int_equal(guest_request(&g, 0, in, 1), 3);
        assert_int_equal(guest_request(&g, 0, in, 1), 2);
        guest_chain(&g, 0, 0, in, 1);
        guest_notify(&g, 0);
        f.receive(f.opaque, (const uint8_t *)"abc", 3);
        assert_true(guest_used(&g, 0, &head, &written));
        assert_int_equal(written, 3);
        guest_get(&g, GUEST_BUFFERS + 0x2000, back, 3);
        assert_memory_equal(back, "abc", 3);
        guest_stop(&g);
    }
}

static void full_buffer_holds_the_host(void **state)
{
    (void)state;
    struct guest g;
    struct host h = { .lock = PTHREAD_MUTEX_INITIALIZER };
    static uint8_t lots[5000];
    guest_start(&g, GUEST_VIRTUAL);
    new_console(&g, &h);
    struct stream_frontend f = virtio_console_frontend(g.device);
    guest_driver(&g, 0, 2);
    assert_int_equal(f.receive(f.opaque, lots, sizeof lots), 4096);
    assert_int_equal(f.receive(f.opaque, lots, 10), 0);
    struct guest_buffer in[] = { { GUEST_BUFFERS, 4096, true } };
    assert_int_equal(guest_request(&g, 0, in, 1), 4096);
    assert_int_equal(h.readable, 1);
    guest_stop(&g);
}

static void saves_what_is_under_way(void **state)
{
    (void)state;
    static uint8_t one[16384], two[16384], text[1000];
    struct guest g;
    static struct host h;
    uint32_t head, written;
    h = (struct host){ .lock = PTHREAD_MUTEX_INITIALIZER, .room = 100 };
    guest_start(&g, GUEST_VIRTUAL);
    new_console(&g, &h);
    struct stream_frontend f = virtio_console_frontend(g.device);
    guest_driver(&g, 0, 2);
    f.receive(f.opaque, (const uint8_t *)"typed", 5);
    for (unsigned i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)i;
    guest_put(&g, GUEST_BUFFERS, text, sizeof text);
    struct guest_buffer out[] = { { GUEST_BUFFERS, 1000, false } };
    guest_chain(&g, 1, 0, out, 1);
    guest_notify(&g, 1);
    guest_pause(&g);
    assert_int_equal(host_count(&h), 100);
    size_t n = device_save(g.device, one, sizeof one);
    assert_true(n <= sizeof one);
    device_free(g.device);
    new_console(&g, &h);
    h.room = 5000;
    assert_int_equal(device_load(g.device, one, n, NULL), 0);
    assert_int_equal(device_save(g.device, two, sizeof two), n);
    assert_memory_equal(one, two, n);
    guest_attach(&g);
    assert_true(guest_used(&g, 1, &head, &written));
    assert_int_equal(host_count(&h), 1000);
    assert_memory_equal(h.got, text, 1000);
    struct guest_buffer in[] = { { GUEST_BUFFERS, 64, true } };
    assert_int_equal(guest_request(&g, 0, in, 1), 5);
    guest_stop(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back), cmocka_unit_test(full_buffer_holds_the_host), cmocka_unit_test(saves_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
