/* SPDX-License-Identifier: MIT */
/* A guest's accesses to the interrupt controllers, lines that move, acknowledge cycles at any moment. */
#include "chipset/chipset.h"
#include "device.h"

static void poke(struct device *d, const uint8_t op[8])
{
    if (op[1] & 1) {
        int vector = i8259_acknowledge(d);
        if (vector < 0 || vector > 255)
            abort();
        return;
    }
    struct irq_line line = i8259_line(d, op[2] & 31);
    irq_set(&line, op[3] & 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct i8259_config config = {{0}};
    static const struct fuzz_window windows[] = {{BUS_PORT, 0x20, 2}, {BUS_PORT, 0xa0, 2}, {BUS_PORT, 0x4d0, 2}};
    return fuzz_device(&(struct fuzz_plan){&i8259_class, &config, windows, 3, poke, NULL, 0}, data, size);
}
