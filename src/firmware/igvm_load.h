/* SPDX-License-Identifier: MIT */
/* igvm_load.h - puts an IGVM file of the NATIVE platform into guest memory and says how its first CPU starts. */
#ifndef FIRMWARE_IGVM_LOAD_H
#define FIRMWARE_IGVM_LOAD_H

#include <igvm.h>

#include "firmware/loader.h"

struct igvm_load_request {
    struct image file;
    const char *cmdline;     /* for the COMMAND_LINE parameter; NULL: what the file has stays            */
    uint64_t memory;         /* bytes of RAM, laid out by layout.h                                       */
    uint32_t cpus;
    bool serial;             /* COM1 exists                                                              */
    struct mem_map *map;
    /* Makes the memory below 4 GiB where firmware lives, [LAYOUT_FIRMWARE_BASE, 4 GiB); asked at most once a load, and may be there already. NULL: there is none. */
    int (*make_firmware_ram)(void *opaque, struct err *);
    void *opaque;
};

/* Loads the file. *context is what VP 0 starts with; contexts of other VPs are not used, since they wait for the first to start them. ERR_INPUT when file and machine do not
 * go together, ERR_HOST when it is for other platforms only; guest memory may then hold parts. */
int igvm_load(const struct igvm_load_request *, igvm_native_context *context, struct err *);

/* ---- between the loader's files ------------------------------------------------------------------------------------------------------------------ */

/* Writes the value of a parameter (IGVM_T_*) into `room` bytes at gpa. ERR_INPUT: it does not fit. */
int igvm_put_parameter(const struct igvm_load_request *, uint32_t type, uint64_t gpa, uint64_t room, struct err *);

/* Where the file's relocatable regions go. */
struct igvm_moves {
    struct igvm_move { igvm_region region; uint64_t offset; /* added to addresses in it, modulo 2^64 */ } moves[IGVM_REGIONS_MAX];
    unsigned count;
    igvm_page_table_region tables; /* size 0: none */
};
int igvm_moves_choose(const struct igvm_load_request *, const igvm_file *, uint32_t mask, struct igvm_moves *out, struct err *);
uint64_t igvm_move(const struct igvm_moves *, uint64_t gpa);
/* Changes the context, and the page tables in guest memory, for the regions that moved. */
int igvm_moves_finish(const struct igvm_load_request *, const struct igvm_moves *, igvm_native_context *, struct err *);

#endif
