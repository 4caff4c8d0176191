/* SPDX-License-Identifier: MIT */
/* A guest's accesses to the 16550, with a back end that takes little and input at any moment. */
#include "chipset/chipset.h"
#include "device.h"

static size_t backend_write(void *opaque, const uint8_t *data, size_t len)
{
    unsigned *turn = opaque;
    (void)data;
    return len ? ++*turn % (len + 1) : 0;
}

static void poke(struct device *d, const uint8_t op[8])
{
    struct stream_frontend f = serial_frontend(d);
    if (op[1] & 1)
        f.writable(f.opaque);
    else if (f.receive(f.opaque, op, op[1] % 9) > op[1] % 9)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned turn = 0;
    struct serial_config config = {.port = 0x3f8, .backend = {.write = backend_write, .opaque = &turn}};
    static const struct fuzz_window windows[] = {{BUS_PORT, 0x3f8, 8}};
    return fuzz_device(&(struct fuzz_plan){&serial_class, &config, windows, 1, poke, NULL, 0}, data, size);
}
