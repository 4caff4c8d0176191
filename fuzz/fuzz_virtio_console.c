/* SPDX-License-Identifier: MIT */
/* The console under a hostile driver and an arbitrary host side; and the text that describes a stream. */
#include <stdlib.h>
#include <string.h>

#include "executor/stream.h"
#include "hostile.h"
#include "virtio/console.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t host_write(void *opaque, const uint8_t *data, size_t len)
{
    unsigned *calls = opaque;
    (void)data;
    return ++*calls % 3 ? len : len / 2;
}

static void type(void *opaque, const uint8_t *data, size_t len)
{
    const struct stream_frontend *f = opaque;
    if (f->receive(f->opaque, data, len) > len)
        abort();
    f->writable(f->opaque);
}

static void parse(const uint8_t *data, size_t size)
{
    char text[256] = "";
    struct stream_config config = { .kind = STREAM_OFF };
    memcpy(text, data, size < sizeof text ? size : sizeof text - 1);
    stream_parse(text, &config, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct guest g;
    unsigned calls = 0;
    parse(data, size);
    guest_start(&g, GUEST_VIRTUAL);
    struct virtio_console_config config = { .pci_host = g.host, .slot = 1, .backend = { host_write, NULL, &calls }, .columns = 80 };
    if (device_new(&virtio_console_class, "console0", &g.services, &config, &g.device, NULL))
        abort();
    guest_attach(&g);
    struct stream_frontend f = virtio_console_frontend(g.device);
    hostile_drive(&g, 2, data, size, type, &f);
    guest_stop(&g);
    return 0;
}
