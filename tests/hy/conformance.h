/* SPDX-License-Identifier: MIT */
/* conformance.h - the frame of the conformance suite: cases, checks, and small guests with a watchdog.
 *
 * A case is a function that returns when it is done; CHECK leaves it at the first thing that is wrong, SKIP where the backend's capabilities say that
 * there is nothing to test. Guests that a case made are freed for it either way. CHECK and SKIP belong to the case's own thread; helper threads report
 * with helper_fault(), which the frame looks at when the case returns. Every run of a guest has a deadline, after which a watchdog kicks it: a case never
 * hangs. The suite runs on every backend by name and asks hy_caps what to expect, never the name.
 */
#ifndef TESTS_HY_CONFORMANCE_H
#define TESTS_HY_CONFORMANCE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <hy.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* ---- cases ---- */

struct rig {
    const char *backend;
    hy *h;
    struct hy_caps caps;
    uint32_t flags;   /* hy_vm_cfg's, of every VM that guest_new() makes */
    bool slow;        /* the full counts */
    unsigned seed;
};

struct test_case { const char *name; void (*run)(struct rig *); };
extern const struct test_case cases_basic[], cases_memory[], cases_io[], cases_cpu[], cases_events[], cases_state[], cases_threads[];

_Noreturn void case_fail(const char *file, int line, const char *what);
_Noreturn void case_skip(const char *reason);
void helper_fault(const char *what); /* from any thread; the string is static */
_Noreturn void case_fail_err(const char *file, int line, const char *what, hy_err got, hy_err wanted);

#define CHECK(condition) do { if (!(condition)) case_fail(__FILE__, __LINE__, #condition); } while (0)
/* The call gives this error; hy_why is shown when it does not. */
#define CHECK_ERR(call, wanted) do { hy_err got_ = (call); if (got_ != (wanted)) case_fail_err(__FILE__, __LINE__, #call, got_, (wanted)); } while (0)
#define OK(call) CHECK_ERR(call, HY_OK)
#define SKIP(reason) case_skip(reason)
#define NEED(rig, ability) do { if (!((rig)->caps.can & (ability))) SKIP("the backend lacks " #ability); } while (0)
#define NEED_TRAP(rig, exit) do { if (!((rig)->caps.traps >> (exit) & 1)) SKIP("the backend cannot trap " #exit); } while (0)
#define NEED_IRQ(rig, mode) do { if (!((rig)->caps.irq & (mode))) SKIP("the backend lacks " #mode); } while (0)

/* ---- guests ---- */

#define RAM_SIZE  0x200000u  /* of guest_new: 2 MiB at 0, readable, writable, executable */
#define CODE_AT   0x1000u
#define STACK_AT  0x8000u
#define TABLES_AT 0x10000u   /* page tables of guest_long: 16 KiB; GDT and IDT after them */
#define GDT_AT    0x14000u
#define IDT_AT    0x15000u
#define MMIO_AT   0x400000u  /* nothing is mapped there */

struct guest {
    struct rig *rig;
    hy_vm *vm;
    hy_mem *mem;
    uint8_t *ram;
    hy_cpu *cpu;             /* index 0, NULL until guest_start_* */
    struct guest *next;
};

/* A VM with its memory and no CPU; irq is one HY_IRQ_*. */
struct guest *guest_new(struct rig *, uint32_t irq, uint32_t cpus);
/* The same, showing the memory of another guest. */
struct guest *guest_sibling(struct guest *, uint32_t irq);
void guest_free(struct guest *);
/* Bytes into guest memory, and told. */
void guest_write(struct guest *, uint64_t gpa, const void *bytes, size_t len);
#define CODE(guest, ...) guest_write((guest), CODE_AT, (const uint8_t[]){__VA_ARGS__}, sizeof (const uint8_t[]){__VA_ARGS__})

/* Makes CPU 0 (once) and sets it to run at ip: real mode with all segments at 0; 32-bit flat protected mode; 64-bit with the first 1 GiB mapped one to one.
 * rsp = STACK_AT, interrupts off. */
void guest_real(struct guest *, uint64_t ip);
void guest_protected(struct guest *, uint64_t ip);
void guest_long(struct guest *, uint64_t ip);
void cpu_real(hy_cpu *, uint64_t ip);
void guest_tables(struct guest *); /* GDT and page tables of long mode */
void cpu_long(struct guest *, hy_cpu *, uint64_t ip);
/* An IDT entry: 64-bit or 32-bit gate to code at `to`, or in real mode an IVT entry. */
void guest_gate_long(struct guest *, unsigned vector, uint64_t to);
void guest_gate_protected(struct guest *, unsigned vector, uint32_t to);
void guest_gate_real(struct guest *, unsigned vector, uint16_t to);

/* A backend in use is a hypervisor, and its speed says that it is built on software. */
extern bool emulates;
bool emulates_guests(const struct hy_caps *);

/* hy_run with a deadline; HY_EXIT_NONE is run over. A guest that does not exit fails the case. */
hy_exit *run(hy_cpu *);
/* As run(), from a helper thread: NULL after the fault is noted, or when the deadline passed. */
hy_exit *run_helper(hy_cpu *);
/* The next exit must have this reason. */
hy_exit *run_to(hy_cpu *, unsigned reason);
/* Runs to the halt, or to an OUT to port 0xf4, by which guests here end in every interrupt mode. */
void run_to_end(hy_cpu *);
/* The next exit must be an OUT of this to this port. */
void run_to_out(hy_cpu *, uint16_t port, uint32_t value);

uint64_t reg_get(hy_cpu *, hy_reg);
void reg_set(hy_cpu *, hy_reg, uint64_t value);
uint32_t exit_value(const hy_exit *); /* the datum of an IO or MMIO exit, at most 4 bytes */

void milliseconds(unsigned);
unsigned random_next(struct rig *);

/* host_linux.c, host_windows.c */
intptr_t bell_new(void);      /* an os_event, -1 where there is none here */
bool     bell_rang(intptr_t); /* and clears it                            */
void     bell_free(intptr_t);
/* Calls kick(cpu) from a signal handler of this thread after some microseconds; false where there are no signals. */
bool     kick_by_signal(hy_cpu *, unsigned microseconds);
size_t   handles_open(void);  /* of this process; 0 where that is not known */

#define END 0xe6, 0xf4 /* out 0xf4, al: the same in all modes */

#endif
