/* SPDX-License-Identifier: MIT */
/* A guest's accesses to the small port devices: the first byte chooses which. */
#include "chipset/chipset.h"
#include "device.h"

static void request(void *opaque, enum power_request what, int status)
{
    (void)opaque;
    if (what == POWER_EXIT && (status < 0 || status > 127))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fuzz_window keyboard[] = {{BUS_PORT, 0x60, 1}, {BUS_PORT, 0x64, 1}, {BUS_PORT, 0x92, 1}}, post[] = {{BUS_PORT, 0x80, 1}, {BUS_PORT, 0xed, 1}},
                                    exits[] = {{BUS_PORT, 0xf0, 12}}, config_ports[] = {{BUS_PORT, 0x510, 4}},
                                    test[] = {{BUS_PORT, 0xe0, 8}, {BUS_PORT, 0x2000, 24}, {BUS_MMIO, 0xff000000, 0x10000}};
    struct power_sink power = {.request = request};
    struct i8042_config i8042 = {power};
    struct exit_port_config exit_port = {0xf4, power};
    struct fw_cfg_config fw_cfg = {.memory = 1 << 30, .cpus = 2, .items = &(struct fw_cfg_item){.key = 0x19, .data = "items", .len = 5}, .item_count = 1};
    struct test_device_config test_device = {.lines = {{0}}};
    const struct fuzz_plan plans[] = {
        {&i8042_class, &i8042, keyboard, 3, NULL, NULL, 0}, {&post_ports_class, NULL, post, 2, NULL, NULL, 0}, {&exit_port_class, &exit_port, exits, 1, NULL, NULL, 0},
        {&fw_cfg_class, &fw_cfg, config_ports, 1, NULL, NULL, 0}, {&test_device_class, &test_device, test, 3, NULL, NULL, 0},
    };
    if (!size)
        return 0;
    return fuzz_device(&plans[data[0] % ARRAY_LEN(plans)], data + 1, size - 1);
}
