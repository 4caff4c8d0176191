/* SPDX-License-Identifier: MIT */
/* test_uring.c - a kernel that takes no more requests into a ring: they are done all the same, the earlier and the later ones. */
#include <errno.h>
#include <liburing.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest.h"
#include "virtio/blk.h"

enum { SECTORS = 64, LEN = 4096, IN_FLIGHT = 8, HEADERS = GUEST_BUFFERS, STATUSES = GUEST_BUFFERS + 0x800, DATA = GUEST_BUFFERS + 0x1000 };

/* The linker puts this between the disk and liburing (meson.build). */
int __real_io_uring_submit(struct io_uring *);
int __wrap_io_uring_submit(struct io_uring *);
static atomic_int submit_answer; /* mutable: what the kernel is to say; 0: ask it */

int __wrap_io_uring_submit(struct io_uring *ring)
{
    int answer = atomic_load(&submit_answer);
    return answer ? answer : __real_io_uring_submit(ring);
}

static int new_disk(struct guest *g, const char *image)
{
    struct disk_config disk = { .path = image, .engine = DISK_ENGINE_URING };
    struct virtio_blk_config config = { .pci_host = g->host, .slot = 1 };
    int r = disk_open(&disk, &config.disk, NULL);
    r = r ? r : device_new(&virtio_blk_class, "disk0", &g->services, &config, &g->device, NULL);
    if (r == 0)
        guest_attach(g);
    return r;
}

/* Reads from sectors 0, 1, ... in chains that are there all at once. */
static void read_some(struct guest *g)
{
    uint8_t status, data[LEN];
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        uint8_t header[16] = { 0 };
        store_le64(header + 8, i);
        guest_put(g, HEADERS + 16 * i, header, sizeof header);
        status = 0xee;
        guest_put(g, STATUSES + i, &status, 1);
        struct guest_buffer buffers[] = { { HEADERS + 16 * i, 16, false }, { DATA + LEN * i, LEN, true }, { STATUSES + i, 1, true } };
        guest_chain(g, 0, 3 * i, buffers, 3);
    }
    guest_notify(g, 0);
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        uint32_t head, written;
        assert_true(guest_used(g, 0, &head, &written));
        assert_int_equal(written, LEN + 1);
    }
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        guest_get(g, STATUSES + i, &status, 1);
        assert_int_equal(status, 0);
        guest_get(g, DATA + LEN * i, data, LEN);
        for (unsigned k = 0; k < LEN; k++)
            assert_int_equal(data[k], (uint8_t)(i + k / 512 + 1));
    }
}

static void a_ring_that_is_refused(void **state)
{
    (void)state;
    static const int answers[] = { -EPERM, -EAGAIN, -EBUSY };
    char image[] = "uring-test-XXXXXX";
    int fd = mkstemp(image);
    for (unsigned i = 0; i < SECTORS; i++) {
        uint8_t sector[512];
        memset(sector, (int)i + 1, sizeof sector);
        assert_int_equal(write(fd, sector, sizeof sector), sizeof sector);
    }
    close(fd);
    for (unsigned i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct guest g;
        guest_start(&g, GUEST_THREAD);
        if (new_disk(&g, image)) {
            unlink(image);
            skip(); /* this host has no io_uring */
        }
        guest_driver(&g, 0, 1);
        read_some(&g);
        atomic_store(&submit_answer, answers[i]);
        read_some(&g);
        atomic_store(&submit_answer, 0);
        read_some(&g);
        guest_stop(&g);
    }
    unlink(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_ring_that_is_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
