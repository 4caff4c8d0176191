/* SPDX-License-Identifier: MIT */
/* A configuration file: any bytes as JSON, then all that is derived from it. */
#include <stdlib.h>

#include "control/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config;
    struct machine_config machine;
    struct err err = ERR_NONE;
    if (config_init(&config, &err))
        abort();
    int r = config_read_json_text(&config, "fuzz.json", (const char *)data, size, &err);
    if (!r)
        r = config_resolve(&config, &err);
    if (!r)
        config_to_machine(&config, &machine);
    if ((r != 0) != (err.text[0] != '\0'))
        abort();
    config_free(&config);
    return 0;
}
