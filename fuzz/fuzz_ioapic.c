/* SPDX-License-Identifier: MIT */
/* A guest's accesses to the IOAPIC, lines that move, EOIs at any moment. */
#include "chipset/chipset.h"
#include "device.h"

static void poke(struct device *d, const uint8_t op[8])
{
    if (op[1] & 1) {
        ioapic_eoi(d, op[2]);
        return;
    }
    struct irq_line line = ioapic_line(d, op[2] & 31);
    irq_set(&line, op[3] & 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ioapic_config config = {0xfec00000};
    static const struct fuzz_window windows[] = {{BUS_MMIO, 0xfec00000, 0x20}, {BUS_MMIO, 0xfec00000, 1}, {BUS_MMIO, 0xfec00010, 1}, {BUS_MMIO, 0xfec00000, 0x1000}};
    return fuzz_device(&(struct fuzz_plan){&ioapic_class, &config, windows, 4, poke, NULL, 0}, data, size);
}
