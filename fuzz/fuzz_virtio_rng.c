/* SPDX-License-Identifier: MIT */
/* The simplest virtio device under a hostile driver: the transport, the common registers and the queues. */
#include <stdlib.h>
#include <string.h>

#include "hostile.h"
#include "virtio/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fill(void *opaque, void *out, size_t len)
{
    (void)opaque;
    memset(out, 0x5a, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct guest g;
    guest_start(&g, GUEST_VIRTUAL);
    struct virtio_rng_config config = { .pci_host = g.host, .slot = 1, .fill = fill };
    if (device_new(&virtio_rng_class, "rng0", &g.services, &config, &g.device, NULL))
        abort();
    guest_attach(&g);
    hostile_drive(&g, 1, data, size, NULL, NULL);
    guest_stop(&g);
    return 0;
}
