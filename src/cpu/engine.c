/* SPDX-License-Identifier: MIT */
/* engine.c - running: the loop between blocks, faults, exits and their answers, requests, interrupts, sleep.
 *
 * What the guest sees: instructions one after the other, faults with the state of the instruction's start, events at instruction boundaries in the order of SDM
 * vol. 3 table 6-2 as far as it has them: reset and INIT, traps, NMI, maskable interrupts.
 * What is trusted: the caller's answers in cpu->exit.
 * How: cpu_run() sets the landing place of every longjmp, then loops: attend to requests, find the block at rip, run it and what is chained to it.
 * Locking: everything on the owner's thread but cpu_request() and code_written(). cpu_engine.lock covers the queue of written code and the hash of code pages
 * against other threads.
 */
#include "cpu/engine_private.h"

#include <stdlib.h>

#include "apic/apic.h"
#include "cpu/events.h"
#include "cpu/exclusive.h"
#include "cpu/handlers.h"
#include "cpu/sleep.h"
#include "cpu/soak.h"

enum leave_reason { LEAVE_NOT, LEAVE_FAULT, LEAVE_EXIT, LEAVE_RESTART };

/* ---- faults and exits: everything that leaves an instruction -------------------------------------------------------------------------------------- */

static _Noreturn void fault_raise(struct cpu *cpu, unsigned vector, bool has_error, uint32_t error, uint64_t address)
{
    cpu->fault_vector = (uint8_t)vector;
    cpu->fault_has_error = has_error;
    cpu->fault_error = error;
    cpu->fault_address = address;
    longjmp(cpu->leave, LEAVE_FAULT);
}

_Noreturn void cpu_raise(struct cpu *cpu, unsigned vector) { fault_raise(cpu, vector, false, 0, 0); }
_Noreturn void cpu_raise_error(struct cpu *cpu, unsigned vector, uint32_t error) { fault_raise(cpu, vector, true, error, 0); }
_Noreturn void cpu_raise_page_fault(struct cpu *cpu, uint64_t linear, uint32_t error) { fault_raise(cpu, EXC_PF, true, error, linear); }

/* Handlers send such addresses to cpu_linear(), which knows the segment; what comes here is an implicit access. */
_Noreturn void cpu_raise_noncanonical(struct cpu *cpu, uint64_t linear)
{
    (void)linear;
    cpu_raise_error(cpu, EXC_GP, 0);
}

_Noreturn void cpu_leave(struct cpu *cpu) { longjmp(cpu->leave, LEAVE_EXIT); }
_Noreturn void cpu_restart(struct cpu *cpu) { longjmp(cpu->leave, LEAVE_RESTART); }

/* After a longjmp: state.rip back to the instruction that did not complete. */
static void land(struct cpu *cpu)
{
    if (cpu->uop) {
        uint64_t rip = cpu->state.rip + cpu->uop->offset;
        cpu->state.rip = cpu->mode == CPU_MODE_64 ? rip : (uint32_t)rip;
        cpu->instructions += cpu->uop->number;
        cpu->uop = NULL;
    }
    cpu->replay_at = 0;
    cpu->state.interrupt_shadow &= (uint8_t)~SHADOW_OLD;
    cpu->engine->link_from = NULL;
    cpu->engine->dead_from = NULL;
    atomic_fetch_and(&cpu->requests, ~(uint32_t)CPU_REQ_ONE);
}

/* True: leave with HY_EXIT_EXCEPTION instead. */
static bool fault_deliver(struct cpu *cpu)
{
    unsigned vector = cpu->fault_vector;
    if (!cpu->delivering && cpu->trap_exceptions >> vector & 1) {
        cpu->exit = (hy_exit){ .reason = HY_EXIT_EXCEPTION };
        cpu->exit.u.exc.vector = vector;
        cpu->exit.u.exc.error = cpu->fault_error;
        cpu->exit.u.exc.addr = cpu->fault_address;
        return true;
    }
    cpu->engine->statistics.faults++;
    if (vector == EXC_PF)
        cpu->state.cr2 = cpu->fault_address;
    cpu->state.interrupt_shadow = 0;
    cpu->replay_count = 0;
    cpu_deliver(cpu, EVENT_EXCEPTION, vector, cpu->fault_has_error, cpu->fault_error);
    return false;
}

/* ---- answers ------------------------------------------------------------------------------------------------------------------------------------------ */

static bool replay_is(const struct cpu_replay *r, unsigned reason, uint64_t address, unsigned width, bool write)
{
    return r->answered && r->kind == reason && r->address == address && r->width == width && r->write == write;
}

static void exit_fill(struct cpu *cpu, const struct cpu_replay *r)
{
    hy_exit *exit = &cpu->exit;
    exit->reason = r->kind;
    exit->write = r->write;
    switch (r->kind) {
    case HY_EXIT_IO:
        exit->u.io.port = (uint16_t)r->address;
        exit->u.io.width = r->width;
        exit->u.io.count = 1;
        exit->u.io.data = cpu->exit_data;
        break;
    case HY_EXIT_FAULT: /* laid out alike */
    case HY_EXIT_MMIO:
        exit->u.mmio.gpa = r->address;
        exit->u.mmio.width = r->width;
        exit->u.mmio.access = r->write ? HY_W : HY_R;
        exit->u.mmio.data = cpu->exit_data;
        break;
    case HY_EXIT_MSR:
        exit->u.msr.reg = HY_MSR((uint32_t)r->address);
        exit->u.msr.value = load_le64(r->data);
        break;
    case HY_EXIT_CPUID:
        exit->u.cpuid.fn = (uint32_t)r->address;
        exit->u.cpuid.sub = (uint32_t)(r->address >> 32);
        break;
    default: break;
    }
}

const struct cpu_replay *cpu_exit_access(struct cpu *cpu, unsigned reason, uint64_t address, unsigned width, bool write, const void *data,
                                         const hy_exit *prepared)
{
    if (cpu->replay_at < cpu->replay_count) {
        struct cpu_replay *r = &cpu->replay[cpu->replay_at];
        if (replay_is(r, reason, address, width, write)) {
            cpu->replay_at++;
            return r;
        }
        cpu->replay_count = cpu->replay_at; /* the instruction took another way this time: what follows is void */
    }
    if (cpu->replay_count == CPU_REPLAY_MAX)
        cpu_raise_error(cpu, EXC_GP, 0);
    struct cpu_replay *r = &cpu->replay[cpu->replay_count++];
    *r = (struct cpu_replay){ .address = address, .width = (uint8_t)width, .kind = (uint8_t)reason, .write = write };
    if (write && data)
        memcpy(r->data, data, width <= sizeof r->data ? width : sizeof r->data);
    memset(cpu->exit_data, 0, sizeof cpu->exit_data);
    memcpy(cpu->exit_data, r->data, sizeof r->data);
    cpu->exit = prepared ? *prepared : (hy_exit){ 0 };
    exit_fill(cpu, r);
    cpu->engine->answer_due = true;
    cpu_leave(cpu);
}

void cpu_exit_commit(struct cpu *cpu)
{
    cpu->replay_count = cpu->replay_at = 0;
}

static void answer_take(struct cpu *cpu)
{
    const hy_exit *exit = &cpu->exit;
    if (!cpu->engine->answer_due || !cpu->replay_count)
        return;
    cpu->engine->answer_due = false;
    struct cpu_replay *r = &cpu->replay[cpu->replay_count - 1];
    r->answered = 1;
    if (r->write)
        store_le32(r->data + 8, exit->u.msr.deny);
    else if (r->kind == HY_EXIT_IO || r->kind == HY_EXIT_MMIO || r->kind == HY_EXIT_FAULT)
        memcpy(r->data, cpu->exit_data, sizeof r->data);
    else if (r->kind == HY_EXIT_MSR)
        store_le64(r->data, exit->u.msr.value), store_le32(r->data + 8, exit->u.msr.deny);
    else if (r->kind == HY_EXIT_CPUID)
        memcpy(r->data, &exit->u.cpuid.eax, 16);
}

/* ---- code written ---------------------------------------------------------------------------------------------------------------------------------------- */

static void code_written(struct mem_listener *listener, struct mem_block *memory, size_t offset, size_t len)
{
    struct cpu_engine *engine = container_of(listener, struct cpu_engine, listener);
    if (atomic_load(&engine->owned) && pthread_equal(engine->owner, pthread_self())) {
        block_cache_written(engine->cpu, memory, offset, len);
        return;
    }
    pthread_mutex_lock(&engine->lock);
    bool touches = block_cache_touches(engine->cpu, memory, offset, len);
    if (touches) {
        if (engine->written_count < WRITTEN_MAX)
            engine->written[engine->written_count++] = (struct written){ memory, offset, len };
        else
            engine->written_overflow = true;
    }
    pthread_mutex_unlock(&engine->lock);
    if (touches)
        cpu_request(engine->cpu, CPU_REQ_CODE);
}

static void written_drain(struct cpu *cpu)
{
    struct cpu_engine *engine = cpu->engine;
    struct written queue[WRITTEN_MAX];
    pthread_mutex_lock(&engine->lock);
    unsigned count = engine->written_count;
    bool overflow = engine->written_overflow;
    memcpy(queue, engine->written, count * sizeof *queue);
    engine->written_count = 0;
    engine->written_overflow = false;
    pthread_mutex_unlock(&engine->lock);
    if (overflow)
        block_cache_flush(cpu);
    for (unsigned i = 0; i < count && !overflow; i++)
        block_cache_written(cpu, queue[i].memory, queue[i].offset, queue[i].len);
}

/* ---- changes of the translations ------------------------------------------------------------------------------------------------------------------------ */

static unsigned local_bit(uint64_t linear) { return (linear >> 12 ^ linear >> 24) & (FETCH_FILTER_BITS - 1); }

static void fetched_add(struct cpu_engine *engine, uint64_t linear, bool global)
{
    if (global)
        page_set_add(&engine->fetch_global, linear >> 12);
    else
        engine->fetch_local[local_bit(linear) / 64] |= BIT(local_bit(linear) % 64);
}

static bool fetched_local(const struct cpu_engine *engine, uint64_t linear)
{
    return engine->fetch_local[local_bit(linear) / 64] & BIT(local_bit(linear) % 64);
}

void engine_fetch_changed(struct cpu *cpu, bool global_too)
{
    uint32_t last = cpu->engine ? cpu->engine->fetch_last : cpu->fetch_generation; /* none: while the vCPU is made */
    cpu->fetch_generation = global_too ? (last | FETCH_LOCAL) + 1 : last + 1;
    if (cpu->fetch_generation < last)
        cpu_request(cpu, CPU_REQ_TLB); /* gone round: no chain may live to meet its number again */
    if (cpu->engine)
        cpu->engine->fetch_last = cpu->fetch_generation;
    engine_kernel_tag_update(cpu);
    if (global_too && cpu->engine) {
        page_set_clear(&cpu->engine->fetch_global);
        memset(cpu->engine->fetch_local, 0, sizeof cpu->engine->fetch_local);
    }
}

void engine_fetch_resume(struct cpu *cpu, uint32_t generation)
{
    if ((generation ^ cpu->engine->fetch_last) & ~FETCH_LOCAL) {
        engine_fetch_changed(cpu, false);
        return;
    }
    cpu->fetch_generation = generation;
    engine_kernel_tag_update(cpu);
}

void engine_fetch_page_changed(struct cpu *cpu, uint64_t linear)
{
    struct cpu_engine *engine = cpu->engine;
    if (!engine || page_set_has(&engine->fetch_global, linear >> 12))
        engine_fetch_changed(cpu, true);
    else if (fetched_local(engine, linear))
        engine_fetch_changed(cpu, false);
}

/* ---- finding and running blocks ------------------------------------------------------------------------------------------------------------------------------ */

static bool is_shared(const struct cpu *cpu, const struct block *b) { return (const void *)b != cpu->engine->one; }

/* Joins the exit that was just taken, and a dead block just entered, to what they lead to. */
static void link_to(struct cpu *cpu, const struct block *b)
{
    struct cpu_engine *engine = cpu->engine;
    if (engine->dead_from && !b->second)
        engine->dead_from->forward = b->uops;
    if (engine->link_from) {
        const struct uop *u = (const struct uop *)engine->link_from - 1;
        const struct block *from = block_of(u);
        unsigned which = engine->link_exit;
        uint32_t at = from->start + (uint32_t)(which ? u->disp : u->offset + u->length);
        bool stays = from->page == b->page && at < MEM_PAGE_SIZE && !b->second && !from->second;
        engine->link_from->to[which] = stays ? b->uops : NULL;
        engine->link_from->crosses[which] = !stays;
    }
}

/* Which bits of fetch_tag the way to a block just found depends on; notes its page for engine_fetch_page_changed(). A block of two pages depends on all. */
static uint64_t jump_mask(struct cpu *cpu, const struct block *b)
{
    uint64_t linear = linear_of_rip(cpu, cpu->state.rip);
    const struct tlb_entry *e = cpu_tlb_entry(cpu, linear);
    bool global = !b->second && e->exec_tag == (linear & TLB_PAGE_MASK) && e->info & TLB_INFO_GLOBAL;
    bool kernel = b->second && cpu->state.cpl < 3; /* whose code may be global */
    fetched_add(cpu->engine, linear, global || kernel);
    if (b->second)
        fetched_add(cpu->engine, linear + MEM_PAGE_SIZE, kernel);
    return global ? ~(uint64_t)FETCH_LOCAL : UINT64_MAX;
}

static const struct uop *block_at_rip(struct cpu *cpu)
{
    struct cpu_engine *engine = cpu->engine;
    struct jump_entry *entry = jump_at(cpu, cpu->state.rip);
    struct block *b;
    engine->statistics.lookups++;
    if (entry->rip == cpu->state.rip && !((entry->tag ^ cpu->fetch_tag) & entry->mask) && entry->to && !block_of(entry->to)->dead) {
        b = block_of(entry->to);
    } else {
        engine->statistics.lookup_misses++;
        b = block_find(cpu);
        if (!is_shared(cpu, b)) {
            engine->link_from = NULL;
            engine->dead_from = NULL;
            return b->uops;
        }
        *entry = (struct jump_entry){ cpu->state.rip, cpu->fetch_tag, jump_mask(cpu, b), b->uops };
    }
    link_to(cpu, b);
    engine->link_from = NULL;
    engine->dead_from = NULL;
    return b->uops;
}

/* One instruction. The request bit makes every way out of the block come back. */
static void run_one(struct cpu *cpu)
{
    bool shadow = cpu->state.interrupt_shadow;
    const struct block *b = block_make_one(cpu);
    if (shadow)
        cpu->state.interrupt_shadow |= SHADOW_OLD;
    atomic_fetch_or(&cpu->requests, CPU_REQ_ONE);
    b->uops[0].fn(cpu, b->uops);
    atomic_fetch_and(&cpu->requests, ~(uint32_t)CPU_REQ_ONE);
    if (cpu->state.interrupt_shadow & SHADOW_OLD)
        cpu->state.interrupt_shadow = 0;
    if (cpu->mode != CPU_MODE_64)
        cpu->state.rip = (uint32_t)cpu->state.rip;
    cpu->uop = NULL;
    cpu->replay_count = cpu->replay_at = 0;
    cpu->engine->link_from = NULL;
    cpu->engine->dead_from = NULL;
}

/* TF, breakpoints, or the host steps. True: an exit. */
static bool run_step(struct cpu *cpu)
{
    if (!cpu->replay_count)
        cpu_debug_before(cpu);
    run_one(cpu);
    cpu_debug_after(cpu);
    if (!cpu->trap_step)
        return false;
    cpu->exit = (hy_exit){ .reason = HY_EXIT_STEP };
    return true;
}

/* Whether anything but running on is to be done at this boundary. */
static bool must_attend(const struct cpu *cpu)
{
    return engine_requested(cpu) || cpu->state.halted || cpu->state.interrupt_shadow || cpu->replay_count ||
           cpu->window || cpu->state.event_pending || (cpu->state.nmi_pending && !cpu->state.nmi_blocked) ||
           (cpu->interrupt_waits && cpu->state.rflags & FLAG_IF);
}

/* Until there is an exit. */
static void engine_loop(struct cpu *cpu)
{
    for (;;) {
        cpu->uop = NULL;
        if (cpu->mode != CPU_MODE_64)
            cpu->state.rip = (uint32_t)cpu->state.rip; /* handlers_branch.c */
        if (unlikely(cpu->vm->soak != NULL))
            cpu_soak_boundary(cpu);
        if (must_attend(cpu)) {
            cpu->engine->link_from = NULL;
            cpu->engine->dead_from = NULL;
            enum attend_result next = cpu_attend(cpu);
            if (next == ATTEND_EXIT)
                return;
            if (next == ATTEND_ONE) {
                run_one(cpu);
                continue;
            }
            if (next == ATTEND_STEP) {
                if (run_step(cpu))
                    return;
                continue;
            }
            if (next == ATTEND_AGAIN)
                continue;
        }
        const struct uop *u = block_at_rip(cpu);
        u->fn(cpu, u);
    }
}

void engine_map_changed(struct cpu *cpu)
{
    cpu_mmu_sync(cpu);
    block_cache_flush(cpu);
}

void engine_code_changed(struct cpu *cpu)
{
    written_drain(cpu);
}

/* ---- in and out ------------------------------------------------------------------------------------------------------------------------------------------------ */

static void ready_set(struct cpu *cpu)
{
    bool open = cpu->state.rflags & FLAG_IF && !cpu->state.interrupt_shadow && !cpu->state.event_pending;
    cpu->exit.ready = (uint8_t)(open | (cpu->state.nmi_blocked || cpu->state.interrupt_shadow ? 0 : 2));
}

static void engine_enter(struct cpu *cpu, bool run_on)
{
    cpu->engine->owner = pthread_self();
    atomic_store(&cpu->engine->owned, true);
    cpu_guest_enter(cpu);
    answer_take(cpu);
    int why = CPU_SETJMP(cpu->leave);
    if (why != LEAVE_NOT)
        land(cpu);
    if (why != LEAVE_FAULT)
        cpu->delivering = 0; /* an exit on the way to a handler: the instruction runs again and faults again */
    if (why == LEAVE_EXIT || (why == LEAVE_FAULT && fault_deliver(cpu)))
        return;
    if (run_on) {
        engine_loop(cpu);
        return;
    }
    if (cpu->replay_count) {
        cpu_attend_memory(cpu);
        run_one(cpu);
    }
    cpu->exit = (hy_exit){ .reason = HY_EXIT_NONE };
}

static hy_exit *engine_run(struct cpu *cpu, bool run_on)
{
    engine_enter(cpu, run_on);
    cpu->uop = NULL;
    cpu_guest_leave(cpu);
    ready_set(cpu);
    cpu->engine->statistics.exits++;
    return &cpu->exit;
}

hy_exit *cpu_run(struct cpu *cpu) { return engine_run(cpu, true); }
hy_exit *cpu_finish(struct cpu *cpu) { return engine_run(cpu, false); }

void cpu_request(struct cpu *cpu, uint32_t bits)
{
    atomic_fetch_or(&cpu->requests, bits);
    cpu_sleep_wake(cpu->sleep);
}

/* ---- flags -------------------------------------------------------------------------------------------------------------------------------------------------------- */

uint64_t cpu_flags_get(struct cpu *cpu)
{
    return (cpu->state.rflags & ~(uint64_t)FLAGS_ARITH) | cc_arith(cpu) | 2;
}

void cpu_flags_set_arith(struct cpu *cpu, uint32_t arith)
{
    cc_set_known(cpu, arith);
}

void cpu_flags_set(struct cpu *cpu, uint64_t flags)
{
    uint64_t changed = cpu->state.rflags ^ flags;
    cc_set_known(cpu, (uint32_t)flags);
    cpu->state.rflags = (flags & ~(uint64_t)FLAGS_ARITH) | 2;
    if (changed & (FLAG_TF | FLAG_AC | FLAG_VM | FLAG_RF))
        cpu_state_changed(cpu);
}

void cpu_state_flush(struct cpu *cpu)
{
    cpu->state.rflags = cpu_flags_get(cpu);
}

/* ---- life --------------------------------------------------------------------------------------------------------------------------------------------------------- */

int engine_new(struct cpu *cpu, struct err *err)
{
    struct cpu_engine *engine = calloc(1, sizeof *engine);
    cpu->engine = engine;
    cpu->jump_cache = calloc(JUMP_CACHE_ENTRIES, sizeof *cpu->jump_cache);
    cpu->sleep = cpu_sleep_new();
    if (!engine || !cpu->jump_cache || !cpu->sleep)
        return err_set(err, ERR_HOST, "no memory for the engine of vCPU %u", cpu->index);
    engine->cpu = cpu;
    jump_cache_clear(cpu);
    pthread_mutex_init(&engine->lock, NULL);
    int result = block_cache_new(&engine->cache, err);
    if (result)
        return result;
    engine->listener = (struct mem_listener){ .code_written = code_written };
    mem_map_listen(cpu->vm->map, &engine->listener);
    return 0;
}

void engine_free(struct cpu *cpu)
{
    struct cpu_engine *engine = cpu->engine;
    if (engine && engine->listener.code_written)
        mem_map_unlisten(cpu->vm->map, &engine->listener);
    if (engine) {
        block_cache_free(cpu);
    }
    cpu_sleep_free(cpu->sleep);
    free(cpu->jump_cache);
    free(engine);
    cpu->engine = NULL;
    cpu->jump_cache = NULL;
    cpu->sleep = NULL;
}

void cpu_statistics_get(const struct cpu *cpu, struct cpu_statistics *out)
{
    const struct block_cache *c = &cpu->engine->cache;
    *out = cpu->engine->statistics;
    out->instructions = cpu->instructions;
    out->cache_bytes = (uint64_t)c->chunk * ARENA_CHUNK + c->used + ARENA_CHUNK - c->high;
}
