/* SPDX-License-Identifier: MIT */
/* test_blk.c - the block device from a driver's side, on every kind of executor and both engines, with equal results; bad requests; save and load. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest.h"
#include "virtio/blk.h"

#define SECTORS 2048
#define F_FLUSH BIT(9)

static char image[] = "blk-test-XXXXXX";

static int make_image(void **state)
{
    (void)state;
    int fd = mkstemp(image);
    uint8_t sector[512];
    for (unsigned i = 0; i < SECTORS; i++) {
        memset(sector, (int)(i * 7 + 1), sizeof sector);
        if (write(fd, sector, sizeof sector) != sizeof sector)
            return -1;
    }
    return close(fd);
}

static int remove_image(void **state)
{
    (void)state;
    return unlink(image);
}

static int new_blk(struct guest *g, enum disk_engine engine, bool readonly)
{
    struct disk_config disk = { .path = image, .engine = engine, .readonly = readonly };
    struct virtio_blk_config config = { .pci_host = g->host, .slot = 1, .serial = "serial-number-of-the-disk" };
    struct err err = ERR_NONE;
    int r = disk_open(&disk, &config.disk, &err);
    if (r)
        return r;
    r = device_new(&virtio_blk_class, "disk0", &g->services, &config, &g->device, &err);
    if (r == 0)
        guest_attach(g);
    return r;
}

#define HEADER (GUEST_BUFFERS)
#define STATUS (GUEST_BUFFERS + 0x100)
#define DATA   (GUEST_BUFFERS + 0x1000)

static uint8_t request(struct guest *g, uint32_t type, uint64_t sector, uint32_t len, bool write, uint32_t *written)
{
    uint8_t header[16] = { 0 }, status = 0xee;
    store_le32(header, type);
    store_le64(header + 8, sector);
    guest_put(g, HEADER, header, sizeof header);
    guest_put(g, STATUS, &status, 1);
    struct guest_buffer whole[] = { { HEADER, 16, false }, { DATA, len / 2, write }, { DATA + len / 2, len - len / 2, write }, { STATUS, 1, true } };
    struct guest_buffer none[] = { { HEADER, 16, false }, { STATUS, 1, true } };
    *written = len ? guest_request(g, 0, whole, 4) : guest_request(g, 0, none, 2);
    guest_get(g, STATUS, &status, 1);
    return status;
}

static void exercise(struct guest *g)
{
    uint8_t data[8192], id[20];
    uint32_t written;
    assert_int_equal(request(g, 0, 3, 8192, true, &written), 0);
    assert_int_equal(written, 8193);
    guest_get(g, DATA, data, sizeof data);
    for (unsigned i = 0; i < sizeof data; i++)
        assert_int_equal(data[i], (uint8_t)((3 + i / 512) * 7 + 1));
    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 31 + i / 256);
    guest_put(g, DATA, data, sizeof data);
    assert_int_equal(request(g, 1, 100, 8192, false, &written), 0);
    assert_int_equal(written, 1);
    assert_int_equal(request(g, 4, 0, 0, false, &written), 0);
    mem_fill(g->memory, DATA, 0, sizeof data);
    assert_int_equal(request(g, 0, 100, 8192, true, &written), 0);
    uint8_t back[8192];
    guest_get(g, DATA, back, sizeof back);
    assert_memory_equal(back, data, sizeof back);
    assert_int_equal(request(g, 8, 0, 20, true, &written), 0);
    guest_get(g, DATA, id, sizeof id);
    assert_memory_equal(id, "serial-number-of-the-disk", 20);
    assert_int_equal(request(g, 0, SECTORS - 1, 1024, true, &written), 1); /* beyond the end */
    assert_int_equal(request(g, 0, UINT64_MAX, 512, true, &written), 1);
    assert_int_equal(request(g, 0, 0, 513, true, &written), 1);
    assert_int_equal(request(g, 77, 0, 512, true, &written), 2);
    uint8_t range[16] = { 0 };
    store_le64(range, 104);
    store_le32(range + 8, 4);
    guest_put(g, DATA, range, sizeof range);
    assert_int_equal(request(g, 13, 0, 16, false, &written), 0); /* write zeroes */
    assert_int_equal(request(g, 0, 104, 2048, true, &written), 0);
    guest_get(g, DATA, back, 2048);
    for (unsigned i = 0; i < 2048; i++)
        assert_int_equal(back[i], 0);
    guest_put(g, DATA, range, sizeof range);
    assert_int_equal(request(g, 11, 0, 16, false, &written), 0); /* discard */
    store_le32(range + 12, 2);
    guest_put(g, DATA, range, sizeof range);
    assert_int_equal(request(g, 11, 0, 16, false, &written), 2);
}

static void every_executor_and_engine(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < GUEST_KINDS; kind++) {
        for (unsigned engine = DISK_ENGINE_AUTO; engine <= DISK_ENGINE_THREADS; engine += 2) {
            struct guest g;
            make_image(NULL);
            guest_start(&g, kind);
            assert_int_equal(new_blk(&g, engine, false), 0);
            assert_int_equal(guest_read(&g, 0x2000, 4), SECTORS);
            guest_driver(&g, F_FLUSH | BIT(13) | BIT(14) | (kind % 2 ? VIRTIO_F_EVENT_IDX : 0), 1);
            exercise(&g);
            guest_driver(&g, 0, 1); /* once more after a reset, without FLUSH: write-through */
            uint32_t written;
            assert_int_equal(request(&g, 1, 7, 512, false, &written), 0);
            assert_true(g.messages[0] > 0);
            guest_stop(&g);
            remove_image(NULL);
            memcpy(image + sizeof image - 7, "XXXXXX", 6);
        }
    }
}

/* Many requests at once, all answered once, and INTx instead of MSI-X. */
static void many_at_once(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < GUEST_KINDS; kind++) {
        struct guest g;
        guest_start(&g, kind);
        assert_int_equal(new_blk(&g, DISK_ENGINE_AUTO, false), 0);
        assert_true(guest_negotiate(&g, VIRTIO_F_VERSION_1 | F_FLUSH));
        guest_setup_queue(&g, 0);
        guest_write(&g, 0x14, 1, 15);
        bool answered[21] = { false };
        for (unsigned round = 0; round < 20; round++) {
            for (unsigned i = 0; i < 21; i++) {
                uint8_t header[16] = { 0 };
                store_le64(header + 8, i);
                guest_put(&g, HEADER + 16 * i, header, 16);
                struct guest_buffer b[] = { { HEADER + 16 * i, 16, false }, { DATA + 512 * i, 512, true }, { STATUS + 0x200 + i, 1, true } };
                guest_chain(&g, 0, 3 * i, b, 3);
                answered[i] = false;
            }
            guest_notify(&g, 0);
            for (unsigned i = 0; i < 21; i++) {
                uint32_t head, written;
                uint8_t first;
                assert_true(guest_used(&g, 0, &head, &written));
                assert_int_equal(written, 513);
                assert_false(answered[head / 3]);
                answered[head / 3] = true;
                guest_get(&g, DATA + 512 * (head / 3), &first, 1);
                assert_int_equal(first, (uint8_t)(head / 3 * 7 + 1));
            }
            if (guest_read(&g, 0x1000, 1) & 1)
                assert_false(g.intx_level);
        }
        assert_true(g.intx > 0);
        guest_stop(&g);
    }
}

/* After status reads 0 nothing is written any more: neither data nor used ring. */
static void reset_while_under_way(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < GUEST_KINDS; kind++) {
        struct guest g;
        guest_start(&g, kind);
        assert_int_equal(new_blk(&g, kind % 2 ? DISK_ENGINE_THREADS : DISK_ENGINE_AUTO, false), 0);
        for (unsigned round = 0; round < 30; round++) {
            uint8_t header[16] = { 0 }, marks[20 * 512];
            guest_driver(&g, F_FLUSH | VIRTIO_F_RING_RESET, 1);
            guest_put(&g, HEADER, header, 16);
            for (unsigned i = 0; i < 20; i++) {
                struct guest_buffer b[] = { { HEADER, 16, false }, { DATA + 512 * i, 512, true }, { STATUS, 1, true } };
                guest_chain(&g, 0, 3 * i, b, 3);
            }
            guest_notify(&g, 0);
            if (round % 3 == 1)
                guest_pause(&g);
            unsigned at = round % 2 ? 0x3a : 0x14;
            guest_write(&g, at, at == 0x14 ? 1 : 2, at != 0x14);
            for (unsigned i = 0; i < 50000 && guest_read(&g, at, at == 0x14 ? 1 : 2); i++)
                guest_pause(&g);
            assert_int_equal(guest_read(&g, at, at == 0x14 ? 1 : 2), 0);
            mem_fill(g.memory, DATA, 0x77, sizeof marks);
            guest_pause(&g);
            guest_get(&g, DATA, marks, sizeof marks);
            for (unsigned i = 0; i < sizeof marks; i++)
                assert_int_equal(marks[i], 0x77);
        }
        guest_stop(&g);
    }
}

static void read_only_is_obeyed(void **state)
{
    (void)state;
    struct guest g;
    uint32_t written;
    guest_start(&g, GUEST_VIRTUAL);
    assert_int_equal(new_blk(&g, DISK_ENGINE_AUTO, true), 0);
    guest_write(&g, 0, 4, 0);
    assert_true(guest_read(&g, 4, 4) & 1 << 5);
    guest_driver(&g, F_FLUSH | BIT(5), 1);
    assert_int_equal(request(&g, 1, 0, 512, false, &written), 1);
    assert_int_equal(request(&g, 0, 0, 512, true, &written), 0);
    guest_stop(&g);
}

static void save_drains_and_loads(void **state)
{
    (void)state;
    static uint8_t one[16384], two[16384];
    struct guest g;
    uint32_t head, written;
    guest_start(&g, GUEST_THREAD);
    assert_int_equal(new_blk(&g, DISK_ENGINE_AUTO, false), 0);
    guest_driver(&g, F_FLUSH, 1);
    uint8_t header[16] = { 0 };
    guest_put(&g, HEADER, header, sizeof header);
    struct guest_buffer b[] = { { HEADER, 16, false }, { DATA, 512, true }, { STATUS, 1, true } };
    guest_chain(&g, 0, 0, b, 3);
    guest_notify(&g, 0);
    size_t n = device_save(g.device, one, sizeof one);
    assert_true(n <= sizeof one);
    device_free(g.device);
    assert_int_equal(new_blk(&g, DISK_ENGINE_THREADS, false), 0);
    exec_clock_freeze(g.clock);
    assert_int_equal(device_load(g.device, one, n, NULL), 0);
    guest_attach(&g); /* its BARs are where they were */
    assert_true(guest_used(&g, 0, &head, &written));
    assert_int_equal(written, 513);
    n = device_save(g.device, one, sizeof one);
    assert_int_equal(device_load(g.device, one, n, NULL), 0);
    assert_int_equal(device_save(g.device, two, sizeof two), n);
    assert_memory_equal(one, two, n);
    one[n / 2] ^= 0xff;
    device_load(g.device, one, n, NULL); /* whatever it says, no harm */
    guest_stop(&g);
}

/* Firmware reaches the registers through configuration space while decoding is off. */
static void window_in_configuration_space(void **state)
{
    (void)state;
    struct guest g;
    guest_start(&g, GUEST_VIRTUAL);
    assert_int_equal(new_blk(&g, DISK_ENGINE_AUTO, false), 0);
    guest_config_write(&g, 4, 2, 0);
    unsigned cap = guest_config(&g, 0x34, 1);
    while (cap && (guest_config(&g, cap, 1) != 9 || guest_config(&g, cap + 3, 1) != 5))
        cap = guest_config(&g, cap + 1, 1);
    assert_true(cap);
    guest_config_write(&g, cap + 4, 1, 0);
    guest_config_write(&g, cap + 8, 4, 0x2000);
    guest_config_write(&g, cap + 12, 4, 4);
    assert_int_equal(guest_config(&g, cap + 16, 4), SECTORS);
    guest_config_write(&g, cap + 8, 4, 0x14);
    guest_config_write(&g, cap + 12, 4, 1);
    guest_config_write(&g, cap + 16, 1, 3);
    assert_int_equal(guest_config(&g, cap + 16, 1), 3);
    guest_config_write(&g, cap + 8, 4, UINT32_MAX - 3);
    guest_config_write(&g, cap + 12, 4, 4);
    guest_config(&g, cap + 16, 4);
    guest_stop(&g);
}

static int open_error(const char *path, bool readonly, struct err *err)
{
    struct disk_config config = { .path = path, .readonly = readonly };
    struct disk *disk = NULL;
    int r = disk_open(&config, &disk, err);
    disk_close(disk);
    return r;
}

static void bad_images(void **state)
{
    (void)state;
    struct err err = ERR_NONE;
    struct disk *first, *second;
    struct disk_config config = { .path = image };
    assert_int_equal(open_error("/", false, &err), ERR_INPUT);
    assert_non_null(strstr(err.text, "directory"));
    assert_int_equal(open_error("/nonexistent/x.img", false, &err), ERR_INPUT);
    assert_non_null(strstr(err.text, "No such file"));
    assert_int_equal(open_error("/dev/null", false, &err), ERR_INPUT);
    int fd = open("empty.img", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_int_equal(open_error("empty.img", false, &err), ERR_INPUT);
    assert_non_null(strstr(err.text, "less than one sector"));
    close(fd);
    unlink("empty.img");
    assert_int_equal(disk_open(&config, &first, &err), 0);
    assert_int_equal(disk_open(&config, &second, &err), ERR_INPUT);
    assert_non_null(strstr(err.text, "in use"));
    disk_close(first);
    config.readonly = true;
    assert_int_equal(disk_open(&config, &first, &err), 0);
    assert_int_equal(disk_open(&config, &second, &err), 0);
    disk_close(first);
    disk_close(second);
}

/* A segment may begin in one block of memory and end in the next. */
static void data_across_two_views(void **state)
{
    (void)state;
    enum { EDGE = GUEST_MEMORY, LEN = 4096 };
    for (unsigned engine = DISK_ENGINE_AUTO; engine <= DISK_ENGINE_THREADS; engine += 2) {
        struct guest g;
        uint8_t header[16] = { 0 }, status = 0xee, data[LEN];
        struct guest_buffer buffers[] = { { HEADER, 16, false }, { EDGE - 512 - 8, LEN, true }, { STATUS, 1, true } };
        guest_start(&g, GUEST_THREAD);
        struct mem_block *more = mem_block_new(1 << 20, NULL);
        assert_int_equal(mem_map_add(g.memory, EDGE, more, 0, 1 << 20, MEM_R | MEM_W, NULL), 0);
        assert_int_equal(new_blk(&g, engine, false), 0);
        guest_driver(&g, F_FLUSH, 1);
        store_le64(header + 8, 3);
        guest_put(&g, HEADER, header, sizeof header);
        assert_int_equal(guest_request(&g, 0, buffers, 3), LEN + 1);
        guest_get(&g, STATUS, &status, 1);
        assert_int_equal(status, 0);
        guest_get(&g, EDGE - 512 - 8, data, LEN);
        for (unsigned i = 0; i < LEN; i++)
            assert_int_equal(data[i], (uint8_t)((3 + i / 512) * 7 + 1));
        buffers[1].gpa = EDGE + (1 << 20) - 512; /* and may not reach beyond */
        guest_request(&g, 0, buffers, 3);
        guest_get(&g, STATUS, &status, 1);
        assert_int_equal(status, 1);
        guest_stop(&g);
        mem_block_unref(more);
    }
}

static void shrunk_image(void **state)
{
    (void)state;
    for (unsigned engine = DISK_ENGINE_AUTO; engine <= DISK_ENGINE_THREADS; engine += 2) {
        struct guest g;
        uint32_t written;
        guest_start(&g, GUEST_THREAD);
        assert_int_equal(new_blk(&g, engine, false), 0);
        guest_driver(&g, F_FLUSH, 1);
        assert_int_equal(truncate(image, 4096), 0);
        assert_int_equal(request(&g, 0, 4, 4096, true, &written), 1);
        assert_int_equal(request(&g, 0, 1000, 512, true, &written), 1);
        assert_int_equal(request(&g, 0, 7, 512, true, &written), 0);
        assert_int_equal(truncate(image, SECTORS * 512), 0);
        guest_stop(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_executor_and_engine),
        cmocka_unit_test_setup_teardown(many_at_once, make_image, NULL),
        cmocka_unit_test(reset_while_under_way),
        cmocka_unit_test(read_only_is_obeyed),
        cmocka_unit_test(save_drains_and_loads),
        cmocka_unit_test(window_in_configuration_space),
        cmocka_unit_test(bad_images),
        cmocka_unit_test(data_across_two_views),
        cmocka_unit_test_setup_teardown(shrunk_image, NULL, remove_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
