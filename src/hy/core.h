/* SPDX-License-Identifier: MIT */
/* core.h - what the files of libhy's core share; see hy.h for the thread rules. Lock order: hy_vm.lock, then the memory map's own. */
#ifndef HY_CORE_H
#define HY_CORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "hy/hy_backend.h"
#include "hy/hy_rooms.h"

struct hy {
    const struct hy_backend *backend;
    const struct hy_os *os;
    hyb *b;
    struct hy_caps caps;
    char choice[160];
    _Atomic uint32_t vms;
};

struct hy_bell { struct list node; int mmio, any; uint64_t addr, match; uint32_t len; intptr_t os_event; };
struct hy_table { struct hy_cpuid *entries; size_t n; };

struct hy_vm {
    hy *h;
    hyb_vm *b;
    struct hy_vm_cfg cfg;
    struct mem_map *map;
    struct mem_listener listener;
    pthread_mutex_t lock;      /* what follows, and changes of the map */
    hy_err remap_err;          /* of the last change                   */
    uint8_t sealed;            /* a CPU was made                       */
    hy_cpu **cpus;             /* cfg.cpus of them, NULL where none    */
    uint32_t cpu_count;
    struct hy_table all, *own; /* CPUID: for all, for each             */
    struct list bells;
    _Atomic uint32_t bell_count;
};

struct hy_mem {
    hy *h;
    struct mem_block *block;
    _Atomic int freed;
};

struct hy_cpu {
    hy_vm *vm;
    hyb_cpu *b;
    uint32_t index;
    pthread_t owner;
    _Atomic int busy;          /* a call is in flight                  */
    hy_exit *last;             /* not answered yet, or NULL            */
};

#define HY_FAIL(err, call, reason) hyb_fail((err), 0, "", (call), (reason))

#endif
