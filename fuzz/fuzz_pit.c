/* SPDX-License-Identifier: MIT */
/* A guest's accesses to the 8254 and port 61h while time goes by. */
#include "chipset/chipset.h"
#include "device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pit_config config = {{0}};
    static const struct fuzz_window windows[] = {{BUS_PORT, 0x40, 4}, {BUS_PORT, 0x61, 1}};
    return fuzz_device(&(struct fuzz_plan){&pit_class, &config, windows, 2, NULL, NULL, 0}, data, size);
}
