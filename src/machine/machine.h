/* SPDX-License-Identifier: MIT */
/* machine.h - a virtual machine put together: memory, vCPU threads, executors, devices, and its life from boot to power off.
 *
 * One thread owns the main loop: machine_run() runs it and returns how the guest ended. Each vCPU has a thread; devices run where their executor is. What ends or
 * changes the machine's life (power off, reset, crash, a signal) is a request from any thread that the main loop carries out with all vCPUs parked.
 * Several machines may live in one process.
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "executor/stream.h"
#include "firmware/loader.h"

struct machine;
struct hy_counter;

#define MACHINE_CPUS_MAX  16
#define MACHINE_DISKS_MAX 16
#define MACHINE_NETS_MAX  8

enum machine_executor { MACHINE_EXECUTOR_MAIN, MACHINE_EXECUTOR_THREAD, MACHINE_EXECUTOR_VCPU };
enum machine_cpu_check { MACHINE_CPU_CHECK_OFF, MACHINE_CPU_CHECK_VERIFY, MACHINE_CPU_CHECK_LOCKSTEP, MACHINE_CPU_CHECK_SOAK };
enum machine_cpu_engine { MACHINE_CPU_ENGINE_AUTO, MACHINE_CPU_ENGINE_INTERPRET, MACHINE_CPU_ENGINE_TRANSLATE };
enum machine_irqchip { MACHINE_IRQCHIP_AUTO, MACHINE_IRQCHIP_NONE, MACHINE_IRQCHIP_CPU, MACHINE_IRQCHIP_FULL };
enum machine_sandbox { MACHINE_SANDBOX_ON, MACHINE_SANDBOX_LOG, MACHINE_SANDBOX_OFF };
struct machine_disk_config { const char *path, *id; bool readonly; };
struct machine_net_config { const char *id, *mac; const char *const *hostfwd; size_t hostfwd_count; };

/* Sees each byte that is typed before the guest does; true: the guest does not get it. Runs on the main loop. */
struct machine_input_filter { bool (*filter)(void *opaque, uint8_t byte); void *opaque; };

/* Borrowed while the machine lives. */
struct machine_config {
    const char *backend;             /* hy_open()'s list; NULL: automatic                     */
    uint32_t cpus;                   /* 1..MACHINE_CPUS_MAX                                   */
    const char *cpu_enable;          /* "avx512", or NULL: none                                   */
    const char *cpu_disable;         /* features that the guest is not told of, joined by ':'; NULL: none */
    uint64_t memory;                 /* bytes, page multiple                                  */
    struct image kernel, initrd;
    struct image igvm;               /* in place of kernel and initramfs; len 0: none         */
    const char *cmdline;             /* "" when there is none; with igvm NULL: the file's own */
    struct machine_disk_config disks[MACHINE_DISKS_MAX];
    size_t disk_count;
    struct machine_net_config nets[MACHINE_NETS_MAX];
    size_t net_count;
    struct stream_config serial, console; /* their filter is input_filter, for kind STDIO   */
    struct machine_input_filter input_filter; /* for streams of kind STDIO                    */
    int exit_port;                   /* -1: none                                              */
    bool no_reboot;
    bool test_device;                /* kvm-unit-tests' latch and interrupt ports             */
    enum machine_executor executor;
    enum machine_irqchip irqchip;
    enum machine_cpu_engine cpu_engine;
    bool count_tlb;                  /* count look-ups of translated code's TLB, too: HY_VM_COUNT_TLB */
    bool counters;                   /* keep what the vCPUs counted, for machine_counters()   */
    int code_map;                    /* hy_vm_cfg.code_map; 0: none                           */
    enum machine_cpu_check cpu_check;
    enum machine_sandbox sandbox;
    uint64_t checkpoint_every;       /* test aid: save, wipe and load the whole machine after random numbers of exits, this many on average; 0: never */
    uint64_t checkpoint_seed;        /* of that random sequence                               */
    struct log *log;
};

enum machine_end {
    MACHINE_END_OFF,                 /* the guest powered off, or somebody quit                */
    MACHINE_END_RESET,               /* the guest reset, with no_reboot                        */
    MACHINE_END_CRASH,               /* triple fault                                           */
    MACHINE_END_EXIT_PORT,           /* the exit port was written: machine_exit_status()       */
    MACHINE_END_FAILURE,             /* a failure of ours or of the host: machine_failure()    */
};

/* Builds everything and loads the kernel; nothing runs yet. The error names the option at fault. */
int  machine_new(const struct machine_config *, struct machine **out, struct err *);
void machine_free(struct machine *);  /* NULL is allowed */

/* Enters the sandbox of the main thread, starts the vCPUs and runs the main loop until the end. */
int  machine_run(struct machine *, enum machine_end *end, struct err *);
int  machine_exit_status(const struct machine *);

/* One line on which backend was chosen and why, owned by the machine; and what the kernel image was. */
const char *machine_choice(const struct machine *);
const char *machine_format(const struct machine *);

/* ---- requests: any thread and, for the first three, signal handlers through a pipe of the caller's ------------------------------------------------- */

void machine_power_button(struct machine *);          /* asks the guest to power off */
void machine_quit(struct machine *, enum machine_end end);
void machine_reset(struct machine *);

/* How many times the machine was saved and loaded because of checkpoint_every. After machine_run(). */
uint64_t machine_checkpoints(const struct machine *);

/* What vCPU `cpu` counted since it was made or the machine was reset, owned by the machine; with machine_config.counters, after machine_run(). */
const struct hy_counter *machine_counters(const struct machine *, uint32_t cpu, size_t *n);

/* Takes a byte as if it had been typed and let through by the filter. From the main loop. */
void machine_type(struct machine *, uint8_t byte);

/* ---- saved state ------------------------------------------------------------------------------------------------------------------------------------ */

/* Saves the whole machine but RAM and disks into a malloc'd buffer, or loads such a one; on the main thread before machine_run(). What is loaded is not trusted: ERR_INPUT
 * names what is wrong, and the machine may then only be loaded again or freed. */
int machine_save(struct machine *, uint8_t **out, size_t *len, struct err *);
int machine_load(struct machine *, const uint8_t *data, size_t len, struct err *);

#endif
