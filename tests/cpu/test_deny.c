/* SPDX-License-Identifier: MIT */
/* A layer denies one page, or writes to it; then every path by which the CPU or a device can touch it must be refused: loads, stores, atomic
 * read-modify-writes, strings, vectors, fetches, page-table reads and A/D writes, PDPTEs, descriptors, the TSS, stack frames, FXSAVE, accessors.
 * Each path runs first without the layer, then with it from a cold TLB, then with a TLB that was warm when the layer changed its mind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest.h"

#include "cpu/mmu.h"

enum { VICTIM = 0x300000, OTHER = 0x310000 };

struct denial { uint64_t page; uint32_t rights; bool on; };

static uint32_t grant(void *opaque, uint64_t gpa, uint32_t view, uint32_t prot)
{
    const struct denial *d = opaque;
    (void)view;
    return d->on && (gpa & ~UINT64_C(0xfff)) == d->page ? prot & ~d->rights : prot;
}

struct rig { struct guest g; struct denial denial; struct mem_layer layer; };

static void rig_make(struct rig *r)
{
    struct err err = { 0 };
    guest_make(&r->g, 1, 64);
    r->denial = (struct denial){ .page = VICTIM };
    r->layer = (struct mem_layer){ "test", grant, &r->denial };
    assert_int_equal(mem_map_layer_add(r->g.map, &r->layer, &err), 0);
}

static void rig_free(struct rig *r)
{
    mem_map_layer_remove(r->g.map, &r->layer);
    guest_free(&r->g);
}

/* Sets the machine up for one path, so that what must be refused is the access to the page VICTIM. */
struct path { const char *name; uint32_t rights; void (*prepare)(struct rig *); };

static uint64_t *gpr(struct rig *r) { return r->g.vm.cpus[0]->state.gpr; }
static struct cpu_state *state_of(struct rig *r) { return &r->g.vm.cpus[0]->state; }

#define CODE(name, code) GUEST_PROGRAM(name, code)
CODE(c_load, "mov (%rbx), %rax; hlt");
CODE(c_store, "mov %rax, (%rbx); hlt");
CODE(c_cross, "mov %rax, -4(%rbx); hlt");
CODE(c_rmw, "lock incl (%rbx); hlt");
CODE(c_cmpxchg16b, "lock cmpxchg16b (%rbx); hlt");
CODE(c_push, "lea 8(%rbx), %rsp; push %rax; hlt");
CODE(c_pop, "mov %rbx, %rsp; pop %rax; hlt");
CODE(c_call, "lea 8(%rbx), %rsp; call 1f; 1: hlt");
CODE(c_movs_from, "mov %rbx, %rsi; mov $0x310000, %edi; mov $64, %ecx; rep movsb; hlt");
CODE(c_movs_to, "mov %rbx, %rdi; mov $0x310000, %esi; mov $64, %ecx; rep movsb; hlt");
CODE(c_stos, "mov %rbx, %rdi; mov $64, %ecx; rep stosq; hlt");
CODE(c_scas, "mov %rbx, %rdi; mov $64, %ecx; inc %eax; repne scasb; hlt");
CODE(c_vector_load, "movups (%rbx), %xmm0; hlt");
CODE(c_vector_store, "movups %xmm0, (%rbx); hlt");
CODE(c_x87_store, "fninit; fld1; fstpt (%rbx); hlt");
CODE(c_fxsave, "fxsave (%rbx); hlt");
CODE(c_fxrstor, "fxrstor (%rbx); hlt");
CODE(c_jump, "jmp *%rbx");
CODE(c_load_ds, "mov $8, %eax; mov %eax, %ds; hlt");
CODE(c_int, "int $0x40; hlt");
CODE(c_ltr, "mov $0x10, %eax; ltr %ax; hlt");
CODE(c_iret, "mov %rbx, %rsp; iretq");
CODE(c_lgdt, "lgdt (%rbx); hlt");
CODE(c_sgdt, "sgdt (%rbx); hlt");
CODE(c_bt, "lock btsl $3, (%rbx); hlt");
CODE(c_hlt, "hlt");

#define PREPARE(name, code)                              \
    static void name(struct rig *r)                      \
    {                                                    \
        gpr(r)[REG_RBX] = VICTIM;                        \
        GUEST_PUT(&r->g, GUEST_CODE, code);              \
    }
PREPARE(p_load, c_load)
PREPARE(p_store, c_store)
PREPARE(p_cross, c_cross)
PREPARE(p_rmw, c_rmw)
PREPARE(p_cmpxchg16b, c_cmpxchg16b)
PREPARE(p_push, c_push)
PREPARE(p_pop, c_pop)
PREPARE(p_call, c_call)
PREPARE(p_movs_from, c_movs_from)
PREPARE(p_movs_to, c_movs_to)
PREPARE(p_stos, c_stos)
PREPARE(p_scas, c_scas)
PREPARE(p_vector_load, c_vector_load)
PREPARE(p_vector_store, c_vector_store)
PREPARE(p_x87_store, c_x87_store)
PREPARE(p_fxsave, c_fxsave)
PREPARE(p_bt, c_bt)
PREPARE(p_sgdt, c_sgdt)
PREPARE(p_lgdt, c_lgdt)

static void p_fxrstor(struct rig *r)
{
    p_load(r);
    GUEST_PUT(&r->g, GUEST_CODE, c_fxrstor);
    store_le32(r->g.bytes + VICTIM + 24, 0x1f80);
}

static void p_fetch(struct rig *r)
{
    p_load(r);
    GUEST_PUT(&r->g, GUEST_CODE, c_jump);
    GUEST_PUT(&r->g, VICTIM, c_hlt);
}

/* The page table of a linear page lies in the victim. */
static void page_table(struct rig *r, bool accessed)
{
    uint8_t *b = r->g.bytes;
    store_le64(b + 0x2000 + 8, 0x6000 | 7);
    store_le64(b + 0x6000, VICTIM | 7 | (accessed ? 0x20 : 0));
    store_le64(b + VICTIM, OTHER | 7 | (accessed ? 0x20 : 0));
    gpr(r)[REG_RBX] = 0x40000000;
}

static void p_table_read(struct rig *r)
{
    page_table(r, true);
    GUEST_PUT(&r->g, GUEST_CODE, c_load);
}

static void p_table_set_a(struct rig *r)
{
    page_table(r, false);
    GUEST_PUT(&r->g, GUEST_CODE, c_load);
}

static void p_table_set_d(struct rig *r)
{
    page_table(r, true);
    GUEST_PUT(&r->g, GUEST_CODE, c_store);
}

/* GDT in `gdt`: 8 data, accessed or not; 0x10 TSS at `tss`; 0x20 64-bit code. IDT in `idt`: vector 0x40 at GUEST_CODE + 0x800, IST 1 when `ist`. */
static void tables(struct rig *r, uint32_t gdt, uint32_t idt, uint32_t tss, bool accessed, bool ist, uint64_t stack)
{
    uint8_t *b = r->g.bytes;
    store_le64(b + gdt + 8, accessed ? 0x00cf93000000ffff : 0x00cf92000000ffff);
    store_le64(b + gdt + 0x10, 0x0000890000000067 | (uint64_t)(tss & 0xffffff) << 16);
    store_le64(b + gdt + 0x18, 0);
    store_le64(b + gdt + 0x20, 0x00af9b000000ffff);
    uint64_t handler = GUEST_CODE + 0x800;
    store_le64(b + idt + 0x400, (handler & 0xffff) | 0x20 << 16 | UINT64_C(0x8e) << 40 | (handler >> 16) << 48 | (ist ? UINT64_C(1) << 32 : 0));
    store_le64(b + idt + 0x408, 0);
    store_le64(b + tss + 36, stack);
    GUEST_PUT(&r->g, (uint32_t)handler, c_hlt);
    struct cpu_state *s = state_of(r);
    s->gdtr = (struct cpu_segment){ .base = gdt, .limit = 0x27 };
    s->idtr = (struct cpu_segment){ .base = idt, .limit = 0xfff };
    s->seg[SEG_TR] = (struct cpu_segment){ .base = tss, .limit = 0x67, .selector = 0x10, .attributes = 0x8b };
    s->seg[SEG_CS].selector = 0x20;
    cpu_state_changed(r->g.vm.cpus[0]);
}

static void p_descriptor(struct rig *r)
{
    tables(r, VICTIM, OTHER, OTHER + 0x2000, true, false, OTHER + 0x4000);
    GUEST_PUT(&r->g, GUEST_CODE, c_load_ds);
}

static void p_descriptor_accessed(struct rig *r)
{
    tables(r, VICTIM, OTHER, OTHER + 0x2000, false, false, OTHER + 0x4000);
    GUEST_PUT(&r->g, GUEST_CODE, c_load_ds);
}

static void p_ltr_busy(struct rig *r)
{
    tables(r, VICTIM, OTHER, OTHER + 0x2000, true, false, OTHER + 0x4000);
    GUEST_PUT(&r->g, GUEST_CODE, c_ltr);
}

static void p_idt(struct rig *r)
{
    tables(r, OTHER, VICTIM, OTHER + 0x2000, true, false, OTHER + 0x4000);
    GUEST_PUT(&r->g, GUEST_CODE, c_int);
}

static void p_tss(struct rig *r)
{
    tables(r, OTHER, OTHER + 0x1000, VICTIM, true, true, OTHER + 0x4000);
    GUEST_PUT(&r->g, GUEST_CODE, c_int);
}

static void p_frame(struct rig *r)
{
    tables(r, OTHER, OTHER + 0x1000, OTHER + 0x2000, true, true, VICTIM + 0x100);
    GUEST_PUT(&r->g, GUEST_CODE, c_int);
}

static void p_iret(struct rig *r)
{
    tables(r, OTHER, OTHER + 0x1000, OTHER + 0x2000, true, false, OTHER + 0x4000);
    const uint64_t frame[] = { GUEST_CODE + 0x800, 0x20, 2, OTHER + 0x4000, 0 };
    memcpy(r->g.bytes + VICTIM, frame, sizeof frame);
    gpr(r)[REG_RBX] = VICTIM;
    GUEST_PUT(&r->g, GUEST_CODE, c_iret);
}

static const struct path paths[] = {
    { "load", MEM_R, p_load }, { "store", MEM_W, p_store }, { "store across pages", MEM_W, p_cross }, { "locked", MEM_W, p_rmw }, { "bit", MEM_W, p_bt },
    { "cmpxchg16b", MEM_W, p_cmpxchg16b }, { "push", MEM_W, p_push }, { "pop", MEM_R, p_pop }, { "call", MEM_W, p_call },
    { "movs from", MEM_R, p_movs_from }, { "movs to", MEM_W, p_movs_to }, { "stos", MEM_W, p_stos }, { "scas", MEM_R, p_scas },
    { "vector load", MEM_R, p_vector_load }, { "vector store", MEM_W, p_vector_store }, { "x87 store", MEM_W, p_x87_store }, { "fxsave", MEM_W, p_fxsave },
    { "fxrstor", MEM_R, p_fxrstor }, { "fetch", MEM_X, p_fetch }, { "page table", MEM_R, p_table_read }, { "page table, A", MEM_W, p_table_set_a },
    { "page table, D", MEM_W, p_table_set_d }, { "descriptor", MEM_R, p_descriptor }, { "descriptor, accessed", MEM_W, p_descriptor_accessed },
    { "ltr, busy", MEM_W, p_ltr_busy }, { "idt", MEM_R, p_idt }, { "tss", MEM_R, p_tss }, { "frame", MEM_W, p_frame }, { "iret", MEM_R, p_iret },
    { "lgdt", MEM_R, p_lgdt }, { "sgdt", MEM_W, p_sgdt },
};

static void denial_set(struct rig *r, uint32_t rights, bool on)
{
    r->denial.rights = rights;
    r->denial.on = on;
    mem_map_layer_changed(r->g.map, VICTIM, MEM_PAGE_SIZE);
}

static void start(struct rig *r, const struct path *p)
{
    memset(r->g.bytes + VICTIM, 0, 0x20000);
    guest_enter(&r->g, 0, 64, GUEST_CODE);
    p->prepare(r);
}

static void check_refused(struct rig *r, const struct path *p)
{
    static uint8_t before[MEM_PAGE_SIZE];
    memcpy(before, r->g.bytes + VICTIM, sizeof before);
    unsigned reason = guest_run(&r->g, 0);
    if (reason != HY_EXIT_FAULT)
        fail_msg("%s: exit %u", p->name, reason);
    const hy_exit *exit = &r->g.vm.cpus[0]->exit;
    assert_int_equal(exit->u.fault.gpa & ~UINT64_C(0xfff), VICTIM);
    assert_true(exit->u.fault.access & p->rights);
    assert_memory_equal(before, r->g.bytes + VICTIM, sizeof before);
    /* Once it is granted, the same instruction goes on. */
    denial_set(r, 0, false);
    if (guest_run(&r->g, 0) != HY_EXIT_HALT)
        fail_msg("%s: does not go on after the refusal", p->name);
}

/* Lets the TLB hold the page with every right it can have. */
static void warm(struct rig *r)
{
    struct cpu *cpu = r->g.vm.cpus[0];
    cpu->uop = NULL;
    if (setjmp(cpu->leave))
        fail_msg("the page faults without the layer");
    cpu_probe_write(cpu, VICTIM, 8);
    cpu_probe(cpu, cpu_rights_system(cpu), VICTIM, 8, MEM_W);
    cpu_load8(cpu, VICTIM);
    cpu_fetch_page(cpu, VICTIM);
}

static void every_path_is_refused(void **unused)
{
    (void)unused;
    struct rig r;
    rig_make(&r);
    for (unsigned i = 0; i < ARRAY_LEN(paths); i++) {
        const struct path *p = &paths[i];
        start(&r, p);
        if (guest_run(&r.g, 0) != HY_EXIT_HALT)
            fail_msg("%s: does not run without the layer", p->name);
        start(&r, p);
        denial_set(&r, p->rights, true);
        check_refused(&r, p);
        start(&r, p);
        warm(&r);
        denial_set(&r, p->rights, true);
        check_refused(&r, p);
    }
    rig_free(&r);
}

/* Devices see the map's protections and layers too. */
static void device_accessors_are_refused(void **unused)
{
    (void)unused;
    struct rig r;
    struct mem_pin pin;
    uint8_t bytes[16];
    uint32_t word;
    rig_make(&r);
    denial_set(&r, MEM_R | MEM_W, true);
    assert_int_equal(mem_read(r.g.map, VICTIM + 8, bytes, sizeof bytes), ERR_INPUT);
    assert_int_equal(mem_write(r.g.map, VICTIM - 8, bytes, sizeof bytes), ERR_INPUT);
    assert_int_equal(mem_fill(r.g.map, VICTIM, 0, 16), ERR_INPUT);
    assert_int_equal(mem_load32(r.g.map, VICTIM, &word), ERR_INPUT);
    assert_int_equal(mem_store32(r.g.map, VICTIM, 1), ERR_INPUT);
    assert_int_equal(mem_pin(r.g.map, VICTIM - 4096, 8192, MEM_W, &pin), ERR_INPUT);
    denial_set(&r, 0, false);
    assert_int_equal(mem_read(r.g.map, VICTIM + 8, bytes, sizeof bytes), 0);
    rig_free(&r);
}

/* A page that the map itself protects, and one that is not there. */
static void map_protections_hold(void **unused)
{
    (void)unused;
    struct rig r;
    struct err err = { 0 };
    rig_make(&r);
    assert_int_equal(mem_map_protect(r.g.map, VICTIM, MEM_PAGE_SIZE, MEM_R, &err), 0);
    start(&r, &paths[0]);
    assert_int_equal(guest_run(&r.g, 0), HY_EXIT_HALT);
    start(&r, &paths[1]);
    assert_int_equal(guest_run(&r.g, 0), HY_EXIT_FAULT);
    assert_int_equal(r.g.vm.cpus[0]->exit.write, 1);
    assert_int_equal(mem_map_protect(r.g.map, VICTIM, MEM_PAGE_SIZE, MEM_R | MEM_W, &err), 0);
    assert_int_equal(guest_run(&r.g, 0), HY_EXIT_HALT);
    assert_int_equal(mem_map_remove(r.g.map, VICTIM, MEM_PAGE_SIZE, &err), 0);
    guest_enter(&r.g, 0, 64, GUEST_CODE);
    p_load(&r);
    struct cpu *cpu = r.g.vm.cpus[0];
    assert_int_equal(guest_run(&r.g, 0), HY_EXIT_MMIO);
    assert_int_equal(cpu->exit.u.mmio.gpa, VICTIM);
    assert_int_equal(cpu->exit.u.mmio.width, 8);
    store_le64(cpu->exit.u.mmio.data, 0x1122334455667788);
    assert_int_equal(guest_run(&r.g, 0), HY_EXIT_HALT);
    assert_true(gpr(&r)[REG_RAX] == 0x1122334455667788);
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_path_is_refused), cmocka_unit_test(device_accessors_are_refused), cmocka_unit_test(map_protections_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
