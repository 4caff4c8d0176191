/* SPDX-License-Identifier: MIT */
/* A guest's accesses to the clock and CMOS RAM while time goes by; dates that do not exist. */
#include "chipset/chipset.h"
#include "device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rtc_config config = {.start_ns = UINT64_C(1700000000000000000), .low_memory = 1 << 30, .high_memory = UINT64_C(1) << 35};
    static const struct fuzz_window windows[] = {{BUS_PORT, 0x70, 2}};
    return fuzz_device(&(struct fuzz_plan){&rtc_class, &config, windows, 1, NULL, NULL, UINT64_C(1) << 45}, data, size);
}
