/* SPDX-License-Identifier: MIT */
/* hy_backend.h - what a backend provides to the core of libhy. Private to the library.
 *
 * A backend is one `const struct hy_backend` and the file or files that implement it; hy_backends[] (chosen by host in Meson) lists those of a build.
 * The core does what is common: arguments, limits and phases, threads, the memory map, CPUID tables, bells, hy_why. So a backend may trust what it is
 * given: ranges are aligned and inside caps, protections are among caps.prot, CPU functions run on one thread at a time, configuration comes first.
 *
 * Functions return HY_OK or fail through hyb_fail(), which records the details for hy_why(). A NULL pointer in the table means HY_E_NOTSUP, and the
 * core derives what it can from that; `caps` says the rest.
 *
 * Memory. A VM's memory is a mem_map that the core owns. After each change of it, the core calls remap() for the changed range, and the backend makes
 * its host agree with mem_map_views_in(); the blocks hidden by the change exist until remap() returns.
 *
 * Host calls go through struct hy_os, so that tests can put a simulated host under a backend.
 */
#ifndef HY_BACKEND_H
#define HY_BACKEND_H

#include <hy.h>

#include "memory/memory.h"

#define HY_BACKEND_ABI 1

typedef struct hyb     hyb;
typedef struct hyb_vm  hyb_vm;
typedef struct hyb_cpu hyb_cpu;

/* Everything that a backend may ask of the host: the test seam. Failures are -1 or NULL with the reason in error(). */
struct hy_os {
    int   (*open)(const char *path, int flags);
    int   (*close)(int fd);
    long  (*ioctl)(int fd, unsigned long request, void *arg);
    void *(*map)(void *want, size_t len, int prot, int fd, int64_t off); /* shared; fd -1 = anonymous       */
    int   (*unmap)(void *, size_t);
    int   (*sysctl)(const char *name, void *old, size_t *oldlen, const void *new_, size_t newlen);
    void *(*library)(const char *name);
    void *(*symbol)(void *library, const char *name);
    int   (*error)(void);               /* errno / GetLastError */
    int   (*ring)(intptr_t os_event);   /* signals an event     */
};
extern const struct hy_os hy_os_host;

struct hy_backend {
    uint32_t abi, size;
    const char *name;

    hy_err (*probe)(const struct hy_os *, struct hy_probe *); /* no side effects; name is filled in    */
    hy_err (*open)(const struct hy_os *, hyb **);
    void   (*close)(hyb *);
    hy_err (*caps)(hyb *, struct hy_caps *);                  /* whole structure, zeroed before        */
    hy_err (*cpuid_host)(hyb *, struct hy_cpuid *, size_t *);
    hy_err (*msr_host)(hyb *, uint32_t *, size_t *);
    const char *(*engine)(hyb *, const char **why);           /* hy_engine(); NULL: "hardware"             */

    hy_err (*vm_new)(hyb *, const struct hy_vm_cfg *, struct mem_map *, hyb_vm **); /* cfg complete: cpus, tick_hz not 0 when known */
    void   (*vm_free)(hyb_vm *);
    hy_err (*remap)(hyb_vm *, uint64_t gpa, uint64_t len);
    hy_err (*log)(hyb_vm *, uint64_t gpa, size_t len, int on);
    hy_err (*harvest)(hyb_vm *, uint64_t gpa, size_t len);    /* reports guest writes with mem_page_written() and re-arms the host's log */
    hy_err (*visible)(hyb_vm *, uint64_t gpa, size_t len, int shared);
    hy_err (*trap)(hyb_vm *, uint32_t reason, uint32_t first, uint32_t last, uint32_t rw);
    hy_err (*line)(hyb_vm *, uint32_t line, int level);
    hy_err (*msi)(hyb_vm *, uint64_t addr, uint32_t data, uint32_t dev);
    hy_err (*route)(hyb_vm *, uint32_t line, uint64_t addr, uint32_t data, uint32_t dev);
    hy_err (*bell)(hyb_vm *, int mmio, uint64_t addr, uint32_t len, const uint64_t *match, intptr_t os_event, int on);
    hy_err (*irq_event)(hyb_vm *, uint32_t line, intptr_t os_event, intptr_t resample, int on);
    hy_err (*clock)(hyb_vm *, int running, struct hy_clock *get, const struct hy_clock *set);

    hy_err (*cpu_new)(hyb_vm *, uint32_t index, const struct hy_cpuid *, size_t n, hyb_cpu **);
    void   (*cpu_free)(hyb_cpu *);
    hy_err (*get)(hyb_cpu *, const hy_reg *, hy_val *, size_t);
    hy_err (*set)(hyb_cpu *, const hy_reg *, const hy_val *, size_t);
    hy_err (*enter)(hyb_cpu *, hy_exit **);   /* answers the last exit; HY_EXIT_KICK consumes a kick    */
    hy_err (*finish)(hyb_cpu *, hy_exit **);  /* may yield one more access, else HY_EXIT_NONE           */
    void   (*kick)(hyb_cpu *);                /* any thread, async-signal-safe, sticky                  */
    hy_err (*inject)(hyb_cpu *, const struct hy_event *);
    hy_err (*window)(hyb_cpu *, unsigned mask);
    hy_err (*save)(hyb_vm *, hyb_cpu *, int what, void *, size_t *);
    hy_err (*load)(hyb_vm *, hyb_cpu *, int what, const void *, size_t);
    hy_err (*counters)(hyb_cpu *, struct hy_counter *, size_t *); /* NULL: none                          */
    intptr_t (*native)(hyb_vm *, hyb_cpu *);
    const struct hy_counter_info *(*counter_info)(size_t i); /* the i-th, NULL: no more; is NULL where counters is */
};

extern const struct hy_backend *const hy_backends[]; /* in the order of automatic choice, NULL at the end */
extern const struct hy_backend hy_backend_kvm, hy_backend_soft;

/* Records the calling thread's failure and returns err. The strings are static. */
hy_err hyb_fail(hy_err err, int64_t native, const char *backend, const char *call, const char *reason);
/* The hy_err for an errno value that a host call left. */
hy_err hyb_errno(int number);

/* hy_open with a host of the caller's: tests. */
hy_err hy_open_on(const struct hy_os *, const char *want, hy **out);

/* ---- common x86 parts (x86_cpuid.c) ---- */

/* Makes leaf 0xD agree with the features in leaves 1, 7 and 0x80000001 of the table, in place; *n may shrink. */
void x86_cpuid_fix_xsave(struct hy_cpuid *table, size_t *n);
/* Writes CPU `index`'s APIC id into the leaves that tell it. */
void x86_cpuid_set_apic_id(struct hy_cpuid *table, size_t n, uint32_t index);
/* The entry for leaf and subleaf, or NULL. */
struct hy_cpuid *x86_cpuid_find(struct hy_cpuid *table, size_t n, uint32_t fn, uint32_t sub);

#endif
