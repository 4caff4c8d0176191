/* SPDX-License-Identifier: MIT */
/* A guest's accesses to the ACPI blocks and the reset register, and the power button. */
#include "chipset/chipset.h"
#include "device.h"

static void poke(struct device *d, const uint8_t op[8])
{
    (void)op;
    acpi_pm_power_button(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct acpi_pm_config config = {.event_port = 0x600, .control_port = 0x604, .timer_port = 0x608, .reset_port = 0xcf9, .s5_type = 5, .s3_type = 1};
    static const struct fuzz_window windows[] = {{BUS_PORT, 0x600, 12}, {BUS_PORT, 0xcf8, 4}};
    return fuzz_device(&(struct fuzz_plan){&acpi_pm_class, &config, windows, 2, poke, NULL, UINT64_C(1) << 45}, data, size);
}
