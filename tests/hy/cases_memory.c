/* SPDX-License-Identifier: MIT */
/* Mapping, aliases, protection, dirty logs, sharing, and code that is written by somebody else. */
#include <stdlib.h>

#include "conformance.h"
#include "hy/hy_rooms.h"

#define P 4096u

static void bad_ranges_are_refused(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    hy_mem *mem;

    CHECK_ERR(hy_mem_new(g->vm, 0, &mem), HY_E_RANGE);
    CHECK_ERR(hy_mem_new(g->vm, 100, &mem), HY_E_RANGE);
    CHECK_ERR(hy_mem_new(g->vm, 8 * P, NULL), HY_E_INVAL);
    CHECK_ERR(hy_map(g->vm, 0x400001, g->mem, 0, P, 7), HY_E_RANGE);
    CHECK_ERR(hy_map(g->vm, 0x400000, g->mem, 1, P, 7), HY_E_RANGE);
    CHECK_ERR(hy_map(g->vm, 0x400000, g->mem, 0, 0, 7), HY_E_RANGE);
    CHECK_ERR(hy_map(g->vm, 0x400000, g->mem, 0, RAM_SIZE + 16 * P, 7), HY_E_RANGE);
    CHECK_ERR(hy_map(g->vm, 0x400000, g->mem, RAM_SIZE, 16 * P, 7), HY_E_RANGE);
    CHECK_ERR(hy_map(g->vm, 0x400000, NULL, 0, 16 * P, 7), HY_E_INVAL);
    CHECK_ERR(hy_map(g->vm, UINT64_C(1) << rig->caps.gpa_bits, g->mem, 0, 16 * P, 7), HY_E_RANGE);
    CHECK_ERR(hy_map(g->vm, UINT64_MAX - 16 * P + 1, g->mem, 0, 16 * P, 7), HY_E_RANGE);
    CHECK_ERR(hy_map(g->vm, RAM_SIZE - 16 * P, g->mem, 0, 32 * P, 7), HY_E_RANGE); /* overlaps */
    CHECK_ERR(hy_map(g->vm, 0x400000, g->mem, 0, 16 * P, 8), HY_E_NOTSUP);
    for (uint32_t prot = 0; prot < 8; prot++) {
        if (!(rig->caps.prot >> prot & 1))
            CHECK_ERR(hy_map(g->vm, 0x400000, g->mem, 0, 16 * P, prot), HY_E_NOTSUP);
    }
    CHECK_ERR(hy_protect(g->vm, RAM_SIZE - 16 * P, 32 * P, 7), HY_E_RANGE);
    OK(hy_unmap(g->vm, 0x10000000, 16 * P)); /* nothing there */
    CHECK(hy_at(g->vm, 0x1234, 16) == g->ram + 0x1234);
    CHECK(hy_at(g->vm, RAM_SIZE - 8, 16) == NULL);
    CHECK(hy_at(g->vm, UINT64_MAX, 2) == NULL);
}

static void wrapped_memory_works(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    uint8_t *room = malloc(2 * 16384), *own;
    hy_mem *mem;

    CHECK(room);
    own = room + (-(uintptr_t)room & 16383); /* on a page of every host */
    if (!(rig->caps.can & HY_CAN_WRAP)) {
        CHECK_ERR(hy_mem_wrap(g->vm, own, 16384, &mem), HY_E_NOTSUP);
        free(room);
        SKIP("no HY_CAN_WRAP");
    }
    CHECK_ERR(hy_mem_wrap(g->vm, own + 1, 4096, &mem), HY_E_RANGE);
    OK(hy_mem_wrap(g->vm, own, 16384, &mem));
    CHECK(hy_mem_ptr(mem) == own);
    OK(hy_map(g->vm, 0x400000, mem, 0, 16384, HY_R | HY_W | HY_X));
    CODE(g, 0xc6, 0x05, 0x00, 0x00, 0x40, 0x00, 0x5a, END); /* mov byte [0x400000], 0x5a */
    guest_protected(g, CODE_AT);
    run_to_end(g->cpu);
    CHECK(own[0] == 0x5a);
    hy_mem_free(mem); /* the mapping keeps the block */
    OK(hy_unmap(g->vm, 0x400000, 16384));
    free(room);
}

static void aliases_show_the_same(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);

    OK(hy_map(g->vm, 0x400000, g->mem, 0x100000, 0x10000, HY_R | HY_W | HY_X));
    OK(hy_map(g->vm, 0x500000, g->mem, 0x100000, 0x10000, HY_R | HY_W | HY_X));
    /* mov dword [0x400010], 0x11223344; mov eax, [0x500010]; add eax, [0x100010]; out 0x10, eax; end */
    CODE(g, 0xc7, 0x05, 0x10, 0x00, 0x40, 0x00, 0x44, 0x33, 0x22, 0x11, 0xa1, 0x10, 0x00, 0x50, 0x00, 0x03, 0x05, 0x10, 0x00, 0x10, 0x00,
         0xe7, 0x10, END);
    guest_protected(g, CODE_AT);
    run_to_out(g->cpu, 0x10, 0x22446688);
    run_to_end(g->cpu);
}

/* Writes 1, 2, 3 ... to one address for ever: mov eax, 0; 1: inc eax; mov [0x100000], eax; mov ebx, [0x100000]; out 0x10, eax; jmp 1b */
static const uint8_t writer[] = {0x31, 0xc0, 0x40, 0xa3, 0x00, 0x00, 0x10, 0x00, 0x8b, 0x1d, 0x00, 0x00, 0x10, 0x00, 0xe7, 0x10, 0xeb, 0xf0};

static void protection_and_unmapping_hold(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    uint32_t word;
    hy_exit *x;

    if (!(rig->caps.prot >> (HY_R | HY_X) & 1))
        SKIP("no read-only mappings");
    guest_write(g, CODE_AT, writer, sizeof writer);
    guest_protected(g, CODE_AT);
    run_to_out(g->cpu, 0x10, 1);
    OK(hy_protect(g->vm, 0x100000, 16 * P, HY_R | HY_X)); /* a part of the mapping */
    x = run_to(g->cpu, HY_EXIT_FAULT);
    CHECK(x->write && x->u.fault.gpa == 0x100000 && x->u.fault.access == HY_W);
    run_to_out(g->cpu, 0x10, 2); /* the write was dropped */
    CHECK(reg_get(g->cpu, HY_GPR(3)) == 1);
    x = run_to(g->cpu, HY_EXIT_FAULT);
    OK(hy_protect(g->vm, 0x100000, 16 * P, HY_R | HY_W | HY_X));
    run_to_out(g->cpu, 0x10, 3); /* this one was done over */
    CHECK(reg_get(g->cpu, HY_GPR(3)) == 3);
    OK(hy_unmap(g->vm, 0x100000, 16 * P));
    x = run_to(g->cpu, HY_EXIT_MMIO);
    CHECK(x->write && x->u.mmio.gpa == 0x100000 && x->u.mmio.width == 4 && exit_value(x) == 4);
    x = run_to(g->cpu, HY_EXIT_MMIO);
    CHECK(!x->write);
    word = 77;
    memcpy(x->u.mmio.data, &word, 4);
    run_to_out(g->cpu, 0x10, 4);
    CHECK(reg_get(g->cpu, HY_GPR(3)) == 77);
    OK(hy_map(g->vm, 0x100000, g->mem, 0x180000, 16 * P, HY_R | HY_W | HY_X)); /* other memory there */
    run_to_out(g->cpu, 0x10, 5);
    memcpy(&word, g->ram + 0x180000, 4);
    CHECK(word == 5);
    memcpy(&word, g->ram + 0x100000, 4);
    CHECK(word == 3);
}

static void many_mappings_fit(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    uint32_t n = rig->caps.max_maps < 500 ? rig->caps.max_maps / 2 : 500;

    for (uint32_t i = 0; i < n; i++)
        OK(hy_map(g->vm, 0x1000000 + (uint64_t)i * 32 * P, g->mem, (i % 16) * 16 * P, 16 * P, HY_R | HY_W | HY_X));
    for (uint32_t i = 0; i < n; i += 2)
        OK(hy_unmap(g->vm, 0x1000000 + (uint64_t)i * 32 * P, 16 * P));
    OK(hy_unmap(g->vm, 0x1000000, (size_t)n * 32 * P));
    CHECK(!hy_at(g->vm, 0x1000000 + 32 * P, 1));
    CHECK(hy_at(g->vm, 0, RAM_SIZE) == g->ram);
}

/* ---- dirty logs -------------------------------------------------------------------------------------------------------------------------------------- */

/* Writes a byte to each page whose number is in the list at 0x2000 (dwords, 0 ends it): mov esi, 0x2000; 1: lodsd; test eax, eax; jz 2f; shl eax, 12;
 * inc byte [eax]; jmp 1b; 2: end; jmp back to the start */
static const uint8_t toucher[] = {0xbe, 0x00, 0x20, 0x00, 0x00, 0xad, 0x85, 0xc0, 0x74, 0x07, 0xc1, 0xe0, 0x0c, 0xfe, 0x00, 0xeb, 0xf4, END, 0xeb, 0xeb};

#define LOG_AT    0x80000u
#define LOG_PAGES 200u

static void dirty_pages_are_those_written(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    uint64_t bits[4], want[4];
    uint32_t list[20];

    NEED(rig, HY_CAN_DIRTY);
    guest_write(g, CODE_AT, toucher, sizeof toucher);
    CHECK_ERR(hy_dirty(g->vm, LOG_AT, LOG_PAGES * P, bits, 1), HY_E_STATE);
    CHECK_ERR(hy_log(g->vm, RAM_SIZE, P * 16, 1), HY_E_RANGE);
    guest_protected(g, CODE_AT);
    OK(hy_log(g->vm, LOG_AT, LOG_PAGES * P, 1));
    for (int round = 0; round < 10; round++) {
        memset(want, 0, sizeof want);
        memset(list, 0, sizeof list);
        for (int i = 0; i < 18; i++) {
            uint32_t page = random_next(rig) % LOG_PAGES;

            want[page / 64] |= UINT64_C(1) << page % 64;
            if (i < 9) {
                list[i] = LOG_AT / P + page; /* by the guest */
            } else {
                g->ram[LOG_AT + page * P + 5]++; /* by the host */
                hy_mem_touched(g->mem, LOG_AT + page * P + 5, 1);
            }
        }
        guest_write(g, 0x2000, list, sizeof list);
        run_to_end(g->cpu);
        OK(hy_dirty(g->vm, LOG_AT, LOG_PAGES * P, bits, 0));
        CHECK(!memcmp(bits, want, sizeof bits));
        OK(hy_dirty(g->vm, LOG_AT, LOG_PAGES * P, bits, 1));
        CHECK(!memcmp(bits, want, sizeof bits));
        OK(hy_dirty(g->vm, LOG_AT, LOG_PAGES * P, bits, 1));
        CHECK(!(bits[0] | bits[1] | bits[2] | bits[3]));
    }
    OK(hy_log(g->vm, LOG_AT, LOG_PAGES * P, 0));
    CHECK_ERR(hy_dirty(g->vm, LOG_AT, LOG_PAGES * P, bits, 1), HY_E_STATE);
}

static void dirty_logs_survive_protection(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    const uint32_t list[] = {LOG_AT / P + 3, LOG_AT / P + 100, 0};
    uint64_t bits[4];

    NEED(rig, HY_CAN_DIRTY);
    if (!(rig->caps.prot >> (HY_R | HY_X) & 1))
        SKIP("no read-only mappings");
    guest_write(g, CODE_AT, toucher, sizeof toucher);
    guest_write(g, 0x2000, list, sizeof list);
    guest_protected(g, CODE_AT);
    OK(hy_log(g->vm, LOG_AT, LOG_PAGES * P, 1));
    run_to_end(g->cpu);
    OK(hy_protect(g->vm, LOG_AT + 50 * P, 10 * P, HY_R | HY_X));
    run_to_end(g->cpu);
    OK(hy_dirty(g->vm, LOG_AT, LOG_PAGES * P, bits, 1));
    CHECK(bits[0] == 1 << 3 && bits[1] == UINT64_C(1) << 36 && !bits[2] && !bits[3]);
    run_to_end(g->cpu);
    OK(hy_dirty(g->vm, LOG_AT, LOG_PAGES * P, bits, 1));
    CHECK(bits[0] == 1 << 3 && bits[1] == UINT64_C(1) << 36 && !bits[2] && !bits[3]);
}

/* ---- sharing, and code written by others ------------------------------------------------------------------------------------------------------------- */

static void siblings_share_a_block(struct rig *rig)
{
    struct guest *one = guest_new(rig, HY_IRQ_NONE, 1), *two;
    uint64_t bits[8];

    NEED(rig, HY_CAN_SHARE);
    two = guest_sibling(one, HY_IRQ_NONE);
    CODE(one, 0xc7, 0x05, 0x00, 0x00, 0x10, 0x00, 0x0d, 0xf0, 0xad, 0x0b, END, 0xa1, 0x00, 0x00, 0x10, 0x00, 0xe7, 0x10, 0xf4);
    guest_protected(one, CODE_AT);      /* mov dword [0x100000], 0x0badf00d; end */
    guest_protected(two, CODE_AT + 12); /* mov eax, [0x100000]; out 0x10, eax */
    if (rig->caps.can & HY_CAN_DIRTY)
        OK(hy_log(one->vm, 0x100000, 0x100000, 1));
    run_to_end(one->cpu);
    run_to_out(two->cpu, 0x10, 0x0badf00d);
    if (rig->caps.can & HY_CAN_DIRTY) {
        OK(hy_dirty(one->vm, 0x100000, 0x100000, bits, 1));
        CHECK(bits[0] == 1);
    }
}

/* mov al, N; out 0x10, al; jmp back: the byte at CODE_AT + 1 is N */
static const uint8_t teller[] = {0xb0, 1, 0xe6, 0x10, 0xeb, 0xfa};

static void code_written_by_the_host_executes(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);

    guest_write(g, CODE_AT, teller, sizeof teller);
    guest_real(g, CODE_AT);
    for (unsigned n = 1; n < 100; n++) {
        uint8_t byte = (uint8_t)(n + 1);

        run_to_out(g->cpu, 0x10, n);
        run_to_out(g->cpu, 0x10, n); /* by now anything is cached */
        guest_write(g, CODE_AT + 1, &byte, 1);
        /* The OUT is answered after the write; the next MOV is fetched after both. */
    }
}

static void code_written_by_a_device_executes(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);

    guest_write(g, CODE_AT, teller, sizeof teller);
    guest_real(g, CODE_AT);
    for (unsigned n = 1; n < 100; n++) {
        uint8_t byte = (uint8_t)(n + 1);

        run_to_out(g->cpu, 0x10, n);
        run_to_out(g->cpu, 0x10, n);
        CHECK(mem_write(hy_vm_map(g->vm), CODE_AT + 1, &byte, 1) == 0);
    }
}

static void code_written_by_a_sibling_executes(struct rig *rig)
{
    struct guest *one = guest_new(rig, HY_IRQ_NONE, 1), *two;

    NEED(rig, HY_CAN_SHARE);
    two = guest_sibling(one, HY_IRQ_NONE);
    guest_write(one, CODE_AT, teller, sizeof teller);
    /* inc byte [0x1001]; out 0xf4, al; jmp back */
    guest_write(one, 0x3000, (const uint8_t[]){0xfe, 0x06, 0x01, 0x10, END, 0xeb, 0xf8}, 8);
    guest_real(one, CODE_AT);
    guest_real(two, 0x3000);
    for (unsigned n = 1; n < 100; n++) {
        run_to_out(one->cpu, 0x10, n);
        run_to_out(one->cpu, 0x10, n);
        run_to_end(two->cpu);
    }
}

static void code_that_writes_itself_executes(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);

    /* inc byte [0x1005]; mov al, 0; out 0x10, al; jmp back */
    CODE(g, 0xfe, 0x06, 0x05, 0x10, 0xb0, 0x00, 0xe6, 0x10, 0xeb, 0xf6);
    guest_real(g, CODE_AT);
    for (unsigned n = 1; n < 50; n++)
        run_to_out(g->cpu, 0x10, n);
}

/* ---- layers ------------------------------------------------------------------------------------------------------------------------------------------ */

static uint32_t grant_but_one(void *opaque, uint64_t gpa, uint32_t view, uint32_t prot)
{
    (void)view;
    return gpa == *(uint64_t *)opaque ? 0 : prot;
}

static void a_denied_page_is_denied_to_all(struct rig *rig)
{
    /* One access each to 0x100000: load, store, add, movsb from, movsb to, push, xchg, cmpxchg, call through, movdqu load, movdqu store, a fetch. */
    static const struct { uint8_t code[16], len; const char *what; } accesses[] = {
        {{0xa1, 0, 0, 0x10, 0}, 5, "load"},
        {{0xa3, 0, 0, 0x10, 0}, 5, "store"},
        {{0x01, 0x05, 0, 0, 0x10, 0}, 6, "read-modify-write"},
        {{0xf0, 0x87, 0x05, 0, 0, 0x10, 0}, 7, "locked exchange"},
        {{0xf0, 0x0f, 0xb1, 0x0d, 0, 0, 0x10, 0}, 8, "compare and exchange"},
        {{0xbe, 0, 0, 0x10, 0, 0xbf, 0, 0, 0x0c, 0, 0xa4}, 11, "string source"},
        {{0xbe, 0, 0, 0x0c, 0, 0xbf, 0, 0, 0x10, 0, 0xa4}, 11, "string destination"},
        {{0xbc, 4, 0, 0x10, 0, 0x50}, 6, "push"},
        {{0xff, 0x15, 0, 0, 0x10, 0}, 6, "call through memory"},
        {{0xb8, 0, 0, 0x10, 0, 0xff, 0xe0}, 7, "fetch"},
        {{0xa1, 0xfe, 0xff, 0x0f, 0}, 5, "load across the edge"},
        {{0xa3, 0xfe, 0xff, 0x0f, 0}, 5, "store across the edge"},
    };
    uint64_t denied = 0x100000;
    struct mem_layer layer = {.name = "test", .grant = grant_but_one, .opaque = &denied};

    if (!(rig->caps.can & HY_CAN_JIT))
        SKIP("layers are the software CPU's");
    for (size_t i = 0; i < ARRAY_LEN(accesses); i++) {
        struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
        hy_exit *x;

        guest_write(g, CODE_AT, accesses[i].code, accesses[i].len);
        guest_write(g, CODE_AT + accesses[i].len, (const uint8_t[]){END}, 2);
        guest_write(g, 0x100000, (const uint8_t[]){END, 0xf4, 0xf4}, 4);
        guest_protected(g, CODE_AT);
        run(g->cpu); /* allowed: whatever comes of it */
        guest_free(g);
        g = guest_new(rig, HY_IRQ_NONE, 1);
        guest_write(g, CODE_AT, accesses[i].code, accesses[i].len);
        guest_write(g, CODE_AT + accesses[i].len, (const uint8_t[]){END}, 2);
        CHECK(mem_map_layer_add(hy_vm_map(g->vm), &layer, NULL) == 0);
        guest_protected(g, CODE_AT);
        x = run(g->cpu);
        if (x->reason != HY_EXIT_FAULT || (x->u.fault.gpa & ~UINT64_C(0xfff)) != denied)
            case_fail(__FILE__, __LINE__, accesses[i].what);
        mem_map_layer_remove(hy_vm_map(g->vm), &layer);
        guest_free(g);
    }
}

static void a_layer_takes_hold_at_once(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    uint64_t denied = 0x100000;
    struct mem_layer layer = {.name = "test", .grant = grant_but_one, .opaque = &denied};
    hy_exit *x;

    if (!(rig->caps.can & HY_CAN_JIT))
        SKIP("layers are the software CPU's");
    guest_write(g, CODE_AT, writer, sizeof writer);
    guest_protected(g, CODE_AT);
    run_to_out(g->cpu, 0x10, 1);
    run_to_out(g->cpu, 0x10, 2);
    CHECK(mem_map_layer_add(hy_vm_map(g->vm), &layer, NULL) == 0);
    x = run_to(g->cpu, HY_EXIT_FAULT);
    CHECK(x->u.fault.gpa == 0x100000);
    denied = 0x900000;
    mem_map_layer_changed(hy_vm_map(g->vm), 0x100000, P);
    run_to_out(g->cpu, 0x10, 3);
    run_to_out(g->cpu, 0x10, 4);
    denied = 0x100000;
    mem_map_layer_changed(hy_vm_map(g->vm), 0x100000, P);
    run_to(g->cpu, HY_EXIT_FAULT);
    mem_map_layer_remove(hy_vm_map(g->vm), &layer);
    run_to_out(g->cpu, 0x10, 5);
}

const struct test_case cases_memory[] = {
    {"bad-ranges-are-refused", bad_ranges_are_refused},
    {"wrapped-memory-works", wrapped_memory_works},
    {"aliases-show-the-same", aliases_show_the_same},
    {"protection-and-unmapping-hold", protection_and_unmapping_hold},
    {"many-mappings-fit", many_mappings_fit},
    {"dirty-pages-are-those-written", dirty_pages_are_those_written},
    {"dirty-logs-survive-protection", dirty_logs_survive_protection},
    {"siblings-share-a-block", siblings_share_a_block},
    {"code-written-by-the-host-executes", code_written_by_the_host_executes},
    {"code-written-by-a-device-executes", code_written_by_a_device_executes},
    {"code-written-by-a-sibling-executes", code_written_by_a_sibling_executes},
    {"code-that-writes-itself-executes", code_that_writes_itself_executes},
    {"a-denied-page-is-denied-to-all", a_denied_page_is_denied_to_all},
    {"a-layer-takes-hold-at-once", a_layer_takes_hold_at_once},
    {NULL, NULL},
};
