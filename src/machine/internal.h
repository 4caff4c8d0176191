/* SPDX-License-Identifier: MIT */
/* internal.h - what the files of machine/ share. */
#ifndef MACHINE_INTERNAL_H
#define MACHINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include <hy.h>
#include <igvm.h>

#include "bus/bus.h"
#include "bus/device.h"
#include "executor/executor.h"
#include "machine/machine.h"
#include "memory/memory.h"

struct local_apic; /* local_apic.c: only with HY_IRQ_NONE */

struct vcpu {
    struct machine *machine;
    uint32_t index;
    pthread_t thread;
    bool started, parked;
    pthread_mutex_t kick_lock; /* so that cpu and apic are there while somebody kicks; a leaf     */
    hy_cpu *cpu;               /* owned by the thread; others only kick it                       */
    int (*job)(struct vcpu *, void *argument, struct err *); /* to run while parked; under machine.lock */
    void *job_argument;
    int job_result;
    struct err job_err;
    struct local_apic *apic;
    bool interruptible;        /* an interrupt could have been injected at the last vcpu_finish() */
    bool window_asked;         /* hy_window for the i8259 is outstanding                         */
    struct exec_timer apic_timer; /* ends a run when the APIC timer is due; only with HY_IRQ_NONE */
    uint64_t exits;
    struct hy_counter *counters; /* of the last vCPU that was freed, with config.counters        */
    size_t counter_count;
    uint64_t clock_page;       /* paravirtual clock: guest-physical address | 1, or 0             */
};

#define MACHINE_DEVICES_MAX 64

struct machine {
    struct machine_config config;
    hy *hy;
    hy_vm *vm;
    struct hy_caps caps;
    uint32_t irq;              /* HY_IRQ_* in use */
    struct mem_map *map;
    struct bus *bus;
    struct exec_clock *clock;
    struct executor *main;
    struct device *devices[MACHINE_DEVICES_MAX];
    size_t device_count;
    struct executor *executors[MACHINE_DEVICES_MAX]; /* one for each device with executor=thread */
    size_t executor_count;
    struct executor *cooperative; /* with executor=vcpu: runs on vCPU 0's thread               */
    struct device *pic, *ioapic, *pm, *pci;
    struct stream *serial_stream, *console_stream;
    struct irq_router *router;
    struct apic_bus *apic_bus; /* only with HY_IRQ_NONE */
    struct { uint64_t address; uint32_t data; } routes[24]; /* level-triggered messages that the backend knows */
    _Atomic bool extint;       /* the i8259 asks for an interrupt */
    struct boot_state boot;
    igvm_native_context context; /* with config.igvm, in place of most of boot */
    bool firmware_ram;           /* is mapped                                   */
    uint64_t rsdp;

    /* vCPU threads */
    pthread_mutex_t lock;      /* guards what follows, up to quit                                  */
    pthread_cond_t changed;
    struct vcpu vcpus[MACHINE_CPUS_MAX];
    uint32_t parked_count;
    uint64_t checkpoint_random, checkpoint_exits, checkpoint_at; /* state of the random sequence, exits so far, and at how many the next one is due */
    _Atomic bool park, quit;

    /* requests to the main loop */
    _Atomic uint32_t requests;
    _Atomic bool ending;       /* a register write asked for power off, reset or exit: vCPUs run no further until that is done */
    struct exec_work request_work;
    _Atomic int exit_status;
    enum machine_end end;
    struct err failure;
    pthread_mutex_t failure_lock;

    pthread_mutex_t clock_lock;
    uint64_t clock_ticks, clock_ns; /* paravirtual clock: the one pair that all vCPUs are told; ns 0: not made yet */
    uint64_t checkpoints;      /* done so far */
};

enum { REQUEST_OFF = 1 << 0, REQUEST_RESET = 1 << 1, REQUEST_CRASH = 1 << 2, REQUEST_EXIT_PORT = 1 << 3, REQUEST_FAILURE = 1 << 4, REQUEST_CHECKPOINT = 1 << 5,
       REQUEST_BUTTON = 1 << 6 };

/* Any thread: has the main loop carry out the request. */
void machine_request(struct machine *, uint32_t request);
/* Any thread: records the first failure and ends the machine. */
void machine_fail(struct machine *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A failed libhy call as an error: "KVM_CREATE_VM: reason". */
int  machine_hy_error(hy_err, const char *what, struct err *);

/* Main thread: everything at rest (vCPUs parked at an instruction boundary, executors held, time frozen), and on again. May be repeated. */
void machine_hold(struct machine *);
void machine_release(struct machine *);
/* Starts the vCPUs' threads, if that was not done yet, and leaves everything held. */
int  machine_start(struct machine *, struct err *);

/* vcpu.c */
int  vcpus_start(struct machine *, struct err *);
int  vcpus_make(struct machine *, struct err *); /* makes all vCPUs (afresh); while parked */
int  vcpus_enter_sandbox(struct machine *, struct err *);
void vcpus_stop(struct machine *);
int  machine_sandbox_devices(struct machine *, struct err *); /* narrows the devices' threads, after all threads' common filter */
void vcpus_park(struct machine *);              /* returns with every vCPU at an instruction boundary */
void vcpus_resume(struct machine *);
void vcpu_kick(struct vcpu *);                  /* any thread */
void vcpu_run_devices(struct vcpu *);           /* owner: what waits in the cooperative executor */
/* Owner: delivers the last answer, so that the vCPU stands at an instruction boundary. True when a kick was used up by it: look again at all that a kick may be for. */
bool vcpu_finish(struct vcpu *);
/* Runs a job on the vCPU's own thread while all are parked. */
int  vcpu_call(struct vcpu *, int (*job)(struct vcpu *, void *, struct err *), void *argument, struct err *);

/* machine.c: memory at LAYOUT_FIRMWARE_BASE, for a file that has firmware there; `opaque` is the machine */
int  machine_make_firmware_ram(void *opaque, struct err *);

/* boot.c */
int  machine_set_bios_state(struct machine *, struct err *); /* for machine_boot()              */
int  machine_boot(struct machine *, struct err *); /* loads kernel and tables into memory    */
int  vcpu_set_boot_registers(struct vcpu *, struct err *);
int  vcpu_set_init_registers(struct vcpu *, struct err *); /* INIT: SDM 3:10.1.1 */

/* cpuid.c */
int  machine_set_cpuid(struct machine *, struct err *);
/* Clears the bits of the features named (joined by ':', NULL: none). ERR_USAGE: an unknown name. */
/* `software`: of a software CPU. */
int  machine_enable_features(const char *names, bool software, struct hy_cpuid *entries, size_t n, struct err *);
int  machine_disable_features(const char *names, struct hy_cpuid *entries, size_t n, struct err *);

/* paravirt.c: what Linux knows as KVM's paravirtual interface, on backends that do not answer it themselves */
int  paravirt_setup(struct machine *, struct err *);
void paravirt_call(struct vcpu *, hy_exit *);
void paravirt_msr(struct vcpu *, hy_exit *);

/* interrupts.c */
int  interrupts_setup(struct machine *, struct err *);
void interrupts_teardown(struct machine *);       /* after the devices */
void interrupts_before_run(struct vcpu *);
void interrupts_window(struct vcpu *);
void interrupts_eoi(struct machine *, uint32_t vector);
int  machine_gsi(struct machine *, unsigned gsi, struct irq_line *out, struct err *);
struct msi_sink machine_msi(struct machine *);

/* local_apic.c */
int  local_apic_setup(struct machine *, struct err *);
void local_apic_teardown(struct machine *);
int  local_apic_attach(struct vcpu *, struct err *); /* vCPU's thread                          */
void local_apic_detach(struct vcpu *);
bool local_apic_before_run(struct vcpu *);           /* injects what is due; waits in HLT. False: to be parked, not to run */
bool local_apic_exit(struct vcpu *, hy_exit *);      /* true: it was the APIC's                */
void local_apic_wake(struct vcpu *);
size_t local_apic_save(struct vcpu *, void *buffer, size_t capacity); /* while parked: fields.h records, and what they need */
int  local_apic_load(struct vcpu *, const void *data, size_t len, struct err *);

/* devices.c */
int  machine_make_devices(struct machine *, struct err *);
void machine_free_devices(struct machine *);
int  machine_executor(struct machine *, const char *id, struct executor **out, struct err *);
int  machine_add_device(struct machine *, const struct device_class *, const char *id, const struct device_services *, const void *config, struct device **out,
                        struct err *);

/* state.c; the machine is held */
int  machine_checkpoint(struct machine *, struct err *);

#endif
