/* SPDX-License-Identifier: MIT */
/* config.h - what a user can set about a machine: one schema for the command line, JSON, --help and `mezz help TOPIC`.
 *
 * A top-level row is "--NAME"; where the row names a group, its value is "key=value,..." by that group's own table. In JSON the same names are members of one object; a group is
 * an object or its text form, and a repeated one an array. Reading a file twice, or an option twice, overrides; lists grow.
 */
#ifndef CONTROL_CONFIG_H
#define CONTROL_CONFIG_H

#include <stdbool.h>
#include <stdio.h>

#include "base/options.h"
#include "machine/machine.h"

/* A structured value: its keys, and the key that a first word without '=' sets. */
struct config_group {
    const char *name;            /* "disk"                        */
    const char *bare;            /* NULL: none                    */
    const struct option *table;
    const char *summary, *example;
};

/* The values of an option that has no keys. */
struct config_value { const char *value, *meaning; };
struct config_choice {
    const char *name;                  /* "serial"                 */
    const char *summary, *example;
    const struct config_value *values; /* ends with a NULL value   */
};
extern const struct config_choice config_choices[]; /* serial, console, cpu-engine, cpu-check; ends with a NULL name */

extern const struct option config_table[];            /* rows of mezz run; offsets into struct config */
extern const struct config_group config_groups[];     /* ends with a NULL name                        */
const struct config_group *config_group_find(const char *name);

struct config {
    char *backend, *kernel, *initrd, *igvm, *cmdline, *cpus, *memory, *serial, *console, *config_file, *counters;
    struct option_list disks, nets;
    uint64_t exit_port, checkpoint_every, checkpoint_seed;
    bool no_reboot, quiet, dry_run, test_device, perf_map;
    unsigned sandbox, irqchip, executor, cpu_engine, cpu_check;

    /* parsed from the text above by config_resolve() */
    struct config_cpus { uint64_t boot; char *disable, *enable; } cpus_group;
    struct config_memory { uint64_t size; } memory_group;
    struct config_counters { char *path; bool tlb; } counters_group;
    struct config_disk { char *path, *id; bool readonly; } disk_groups[MACHINE_DISKS_MAX];
    struct config_net { unsigned kind; char *id, *mac; struct option_list hostfwd; } net_groups[MACHINE_NETS_MAX];
    struct stream_config serial_stream, console_stream;
};

int  config_init(struct config *, struct err *);
void config_free(struct config *);
/* Reads a JSON file of the schema into the configuration. ERR_INPUT names file, line or member. */
int  config_read_json(struct config *, const char *path, struct err *);
/* The same from memory, for tests and fuzzing. `name` is what messages call it. */
int  config_read_json_text(struct config *, const char *name, const char *text, size_t len, struct err *);
/* Parses groups and checks what spans options (two disks on one file is the disks' own check). */
int  config_resolve(struct config *, struct err *);
/* Fills the machine's configuration from a resolved one, all but kernel, initramfs and log; strings are borrowed. */
void config_to_machine(const struct config *, struct machine_config *);

/* Help text from the schema. */
void config_help(FILE *, const struct option *table, const char *dashes);
/* The resolved configuration as JSON that config_read_json() takes again (--dry-run). */
int  config_write_json(const struct config *, FILE *);

#endif
