/* SPDX-License-Identifier: MIT */
/* guest.c - small guests: modes, tables, and runs with a deadline. */
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "conformance.h"

#define DEADLINE_NS UINT64_C(20000000000)

bool emulates;

bool emulates_guests(const struct hy_caps *caps) { return !(caps->can & HY_CAN_JIT) && caps->speed && caps->speed < 50000000; }

void milliseconds(unsigned n)
{
    struct timespec t = {.tv_sec = n / 1000, .tv_nsec = (long)(n % 1000) * 1000000};

    nanosleep(&t, NULL);
}

/* xorshift: the same sequence on every host */
unsigned random_next(struct rig *rig)
{
    rig->seed ^= rig->seed << 13;
    rig->seed ^= rig->seed >> 17;
    rig->seed ^= rig->seed << 5;
    return rig->seed;
}

void guest_write(struct guest *g, uint64_t gpa, const void *bytes, size_t len)
{
    memcpy(g->ram + gpa, bytes, len);
    if (g->mem)
        hy_mem_touched(g->mem, gpa, len);
}

/* ---- modes ------------------------------------------------------------------------------------------------------------------------------------------------ */

uint64_t reg_get(hy_cpu *cpu, hy_reg reg)
{
    hy_val value;

    OK(hy_get(cpu, &reg, &value, 1));
    return value.u64;
}

void reg_set(hy_cpu *cpu, hy_reg reg, uint64_t value)
{
    hy_val v = {.u128 = {value, 0}};

    OK(hy_set(cpu, &reg, &v, 1));
}

/* All segments with this base, limit and attributes; CS is code. */
static void segments_set(hy_cpu *cpu, uint16_t cs, uint16_t ds, uint32_t limit, uint16_t code, uint16_t data)
{
    hy_reg names[6];
    hy_val values[6];

    for (uint32_t i = 0; i < 6; i++) {
        names[i] = HY_SEG(i);
        values[i] = (hy_val){.seg = {.limit = limit, .sel = i == HY_CS ? cs : ds, .attr = i == HY_CS ? code : data}};
    }
    OK(hy_set(cpu, names, values, 6));
}

static void start_at(hy_cpu *cpu, uint64_t ip)
{
    reg_set(cpu, HY_PC, ip);
    reg_set(cpu, HY_GPR(4), STACK_AT);
    reg_set(cpu, HY_FLAGS, 2);
}

static void table_set(hy_cpu *cpu, uint32_t which, uint64_t base, uint32_t limit)
{
    hy_reg reg = HY_SEG(which);
    hy_val value = {.seg = {.base = base, .limit = limit}};

    OK(hy_set(cpu, &reg, &value, 1));
}

/* Brings a CPU that has run to an instruction boundary, unanswered. */
static void settle(hy_cpu *cpu)
{
    hy_exit *x;

    do
        OK(hy_finish(cpu, &x));
    while (x->reason != HY_EXIT_NONE);
}

void cpu_real(hy_cpu *cpu, uint64_t ip)
{
    settle(cpu);
    segments_set(cpu, 0, 0, 0xffff, 0x9b, 0x93); /* accessed, present: code 1011, data 0011 */
    table_set(cpu, HY_IDTR, 0, 0x3ff);
    start_at(cpu, ip);
}

static void cpu_make(struct guest *g)
{
    if (!g->cpu)
        OK(hy_cpu_new(g->vm, 0, &g->cpu));
}

void guest_real(struct guest *g, uint64_t ip)
{
    cpu_make(g);
    cpu_real(g->cpu, ip);
}

/* Descriptors 8: 64-bit code, 16: data, 24: 32-bit code; flat. */
static void gdt_write(struct guest *g)
{
    const uint64_t gdt[] = {0, UINT64_C(0x00af9b000000ffff), UINT64_C(0x00cf93000000ffff), UINT64_C(0x00cf9b000000ffff)};

    guest_write(g, GDT_AT, gdt, sizeof gdt);
}

void guest_protected(struct guest *g, uint64_t ip)
{
    cpu_make(g);
    settle(g->cpu);
    gdt_write(g);
    reg_set(g->cpu, HY_CR(0), 0x11); /* PE, ET */
    segments_set(g->cpu, 24, 16, 0xffffffff, 0xc09b, 0xc093);
    table_set(g->cpu, HY_GDTR, GDT_AT, 31);
    table_set(g->cpu, HY_IDTR, IDT_AT, 256 * 8 - 1);
    start_at(g->cpu, ip);
}

void guest_tables(struct guest *g)
{
    uint64_t table[512] = {0};

    gdt_write(g);
    table[0] = TABLES_AT + 0x1003;
    guest_write(g, TABLES_AT, table, sizeof table);
    table[0] = TABLES_AT + 0x2003;
    guest_write(g, TABLES_AT + 0x1000, table, sizeof table);
    for (uint64_t i = 0; i < 512; i++)
        table[i] = i << 21 | 0x83; /* 2 MiB pages */
    guest_write(g, TABLES_AT + 0x2000, table, sizeof table);
}

void cpu_long(struct guest *g, hy_cpu *cpu, uint64_t ip)
{
    const hy_reg names[] = {HY_CR(4), HY_CR(3), HY_MSR(0xc0000080), HY_CR(0)};
    const hy_val values[] = {{.u64 = 0x620}, {.u64 = TABLES_AT}, {.u64 = 0x500}, {.u64 = 0x80000011}}; /* PAE OSFXSR OSXMMEXCPT; LME LMA; PG ET PE */

    settle(cpu);
    guest_tables(g);
    OK(hy_set(cpu, names, values, 4));
    segments_set(cpu, 8, 16, 0xffffffff, 0xa09b, 0xc093);
    table_set(cpu, HY_GDTR, GDT_AT, 31);
    table_set(cpu, HY_IDTR, IDT_AT, 256 * 16 - 1);
    start_at(cpu, ip);
}

void guest_long(struct guest *g, uint64_t ip)
{
    cpu_make(g);
    cpu_long(g, g->cpu, ip);
}

void guest_gate_real(struct guest *g, unsigned vector, uint16_t to)
{
    guest_write(g, 4 * vector, (const uint16_t[]){to, 0}, 4);
}

void guest_gate_protected(struct guest *g, unsigned vector, uint32_t to)
{
    uint64_t gate = (to & 0xffff) | 24 << 16 | UINT64_C(0x8e00) << 32 | (uint64_t)(to >> 16) << 48;

    guest_write(g, IDT_AT + 8 * vector, &gate, 8);
}

void guest_gate_long(struct guest *g, unsigned vector, uint64_t to)
{
    uint64_t gate[2] = {(to & 0xffff) | 8 << 16 | UINT64_C(0x8e00) << 32 | (to >> 16 & 0xffff) << 48, to >> 32};

    guest_write(g, IDT_AT + 16 * vector, gate, 16);
}

/* ---- running with a deadline ------------------------------------------------------------------------------------------------------------------------------ */

struct dog { pthread_mutex_t lock; pthread_cond_t wake; hy_cpu *cpu; bool done, fired; };

static void *dog_watch(void *opaque)
{
    struct dog *dog = opaque;
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_NS / 1000000000;
    pthread_mutex_lock(&dog->lock);
    while (!dog->done && pthread_cond_timedwait(&dog->wake, &dog->lock, &until) == 0)
        ;
    if (!dog->done) {
        dog->fired = true;
        hy_kick(dog->cpu);
    }
    pthread_mutex_unlock(&dog->lock);
    return NULL;
}

/* One hy_run under a dog of its own. A thread for each costs some 20 us: a case that runs often runs hy_run itself under one dog. */
static hy_err run_watched(hy_cpu *cpu, hy_exit **out)
{
    struct dog dog = {.cpu = cpu};
    uint64_t start = clock_ns();
    pthread_t thread;
    hy_err err;

    pthread_mutex_init(&dog.lock, NULL);
    pthread_cond_init(&dog.wake, NULL);
    if (pthread_create(&thread, NULL, dog_watch, &dog))
        return HY_E_NOMEM;
    do
        err = hy_run(cpu, out);
    while (!err && (*out)->reason == HY_EXIT_NONE && clock_ns() - start < DEADLINE_NS);
    pthread_mutex_lock(&dog.lock);
    dog.done = true;
    pthread_cond_signal(&dog.wake);
    pthread_mutex_unlock(&dog.lock);
    pthread_join(thread, NULL);
    pthread_mutex_destroy(&dog.lock);
    pthread_cond_destroy(&dog.wake);
    return !err && (dog.fired || (*out)->reason == HY_EXIT_NONE) ? HY_E_STATE : err;
}

hy_exit *run(hy_cpu *cpu)
{
    hy_exit *x = NULL;

    OK(run_watched(cpu, &x));
    if (x->reason == HY_EXIT_UNKNOWN && emulates)
        SKIP("this host's hypervisor emulates its guests, and does not know an instruction of this one");
    return x;
}

hy_exit *run_helper(hy_cpu *cpu)
{
    hy_exit *x = NULL;

    if (run_watched(cpu, &x) == HY_OK)
        return x;
    helper_fault("a guest failed to run, or did not exit in time");
    return NULL;
}

hy_exit *run_to(hy_cpu *cpu, unsigned reason)
{
    hy_exit *x = run(cpu);

    if (x->reason != reason) {
        static char text[160]; /* mutable: for the message of a case that ends here */

        snprintf(text, sizeof text, "exit %u (native %u, write %u, at 0x%llx), wanted %u", x->reason, x->native, x->write,
                 x->reason == HY_EXIT_IO ? (unsigned long long)x->u.io.port : (unsigned long long)x->u.mmio.gpa, reason);
        case_fail(__FILE__, __LINE__, text);
    }
    return x;
}

uint32_t exit_value(const hy_exit *x)
{
    uint32_t value = 0, width = x->reason == HY_EXIT_IO ? x->u.io.width : x->u.mmio.width;

    memcpy(&value, x->reason == HY_EXIT_IO ? x->u.io.data : x->u.mmio.data, width < 4 ? width : 4);
    return value;
}

void run_to_out(hy_cpu *cpu, uint16_t port, uint32_t value)
{
    hy_exit *x = run_to(cpu, HY_EXIT_IO);

    CHECK(x->write);
    CHECK(x->u.io.port == port);
    CHECK(exit_value(x) == value);
}

void run_to_end(hy_cpu *cpu)
{
    hy_exit *x = run(cpu);

    CHECK(x->reason == HY_EXIT_HALT || (x->reason == HY_EXIT_IO && x->write && x->u.io.port == 0xf4));
}
