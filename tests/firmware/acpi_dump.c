/* SPDX-License-Identifier: MIT */
/* Writes each ACPI table of a machine with argv[1] CPUs and argv[2] MiB to argv[3]/NAME.aml, for iasl. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "firmware/acpi.h"
#include "firmware/layout.h"

static const uint8_t *at(const uint8_t *bytes, uint64_t address) { return bytes + (address - LAYOUT_ACPI_BASE); }

static void write_table(const char *folder, const uint8_t *table)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%.4s.aml", folder, (const char *)table);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(table, 1, load_le32(table + 4), f) != load_le32(table + 4) || fclose(f))
        exit(1);
}

int main(int argc, char **argv)
{
    static uint8_t bytes[KIB(64)];
    if (argc != 4)
        return 2;
    struct acpi_config config = {.cpus = (uint32_t)atoi(argv[1]), .memory = MIB(strtoull(argv[2], NULL, 10)), .serial = true};
    if (!acpi_build(&config, bytes, sizeof bytes) || memcmp(bytes, "RSD PTR ", 8))
        return 1;
    const uint8_t *xsdt = at(bytes, load_le64(bytes + 24)), *rsdt = at(bytes, load_le32(bytes + 16));
    write_table(argv[3], xsdt);
    write_table(argv[3], rsdt);
    for (uint32_t i = 36; i < load_le32(xsdt + 4); i += 8) {
        const uint8_t *table = at(bytes, load_le64(xsdt + i));
        write_table(argv[3], table);
        if (!memcmp(table, "FACP", 4)) {
            write_table(argv[3], at(bytes, load_le64(table + 140)));
            write_table(argv[3], at(bytes, load_le32(table + 36)));
        }
    }
    for (int table = ACPI_TABLE_MADT; table <= ACPI_TABLE_PPTT; table++) { /* those that only some guests ask for; the MADT is the same */
        if (!acpi_build_table(&config, (enum acpi_table)table, bytes, sizeof bytes))
            return 1;
        write_table(argv[3], bytes);
    }
    return 0;
}
