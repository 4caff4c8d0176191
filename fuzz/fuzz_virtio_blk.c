/* SPDX-License-Identifier: MIT */
/* The block device, over a small image in memory, under a hostile driver. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hostile.h"
#include "virtio/blk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct guest g;
    char path[64];
    int fd = memfd_create("image", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 64 << 10))
        return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    guest_start(&g, GUEST_VIRTUAL);
    struct disk_config disk = { .path = path, .engine = DISK_ENGINE_THREADS };
    struct virtio_blk_config config = { .pci_host = g.host, .slot = 1, .queues = 2 };
    if (disk_open(&disk, &config.disk, NULL) || device_new(&virtio_blk_class, "disk0", &g.services, &config, &g.device, NULL))
        abort();
    close(fd);
    guest_attach(&g);
    hostile_drive(&g, 2, data, size, NULL, NULL);
    guest_stop(&g);
    return 0;
}
