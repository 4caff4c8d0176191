/* SPDX-License-Identifier: MIT */
/* A manifest of mezz igvm build: any bytes as JSON. */
#include <stdlib.h>

#include "control/igvm_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct igvm_config config;
    struct err err = ERR_NONE;
    uint32_t targets;
    if (igvm_config_init(&config, &err))
        abort();
    int r = igvm_config_read_json_text(&config, "fuzz.json", (const char *)data, size, &err);
    if (!r)
        r = igvm_config_targets(&config.platforms, "platform", &targets, &err);
    if ((r != 0) != (err.text[0] != '\0'))
        abort();
    igvm_config_free(&config);
    return 0;
}
