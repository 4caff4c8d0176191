/* SPDX-License-Identifier: MIT */
/* Paging: every combination of page rights, control bits and kinds of access against rules written down here a second time, from SDM volume 3, 4.6 and 4.7;
 * accessed and dirty flags, reserved bits, page sizes, PSE-36, PAE, canonical addresses, page crossing, alignment checks, invalidation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest.h"

#include "cpu/control.h"
#include "cpu/cpuid.h"
#include "cpu/mmu.h"
#include "cpu/page_set.h"

enum { TEST_LINEAR = 0x40000000, PD = 0x6000, PT = 0x7000, FRAME = 0x200000, FRAME2 = 0x201000 };
enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define NX BIT(63)

enum kind { READ, WRITE, FETCH };

struct probe { int fault; /* -1: none */ uint32_t error; uint64_t address, value; };

/* One access; what came of it. */
static struct probe probe(struct cpu *cpu, enum kind kind, bool implicit, uint64_t linear)
{
    volatile struct probe p = { .fault = -1 };
    cpu->uop = NULL;
    if (setjmp(cpu->leave) == 0) {
        if (kind == FETCH)
            p.value = *(const uint8_t *)(uintptr_t)(linear + cpu_fetch_page(cpu, linear)->addend);
        else if (kind == READ)
            p.value = implicit ? cpu_load_system8(cpu, linear) : cpu_load8(cpu, linear);
        else if (implicit)
            cpu_store_system8(cpu, linear, 0x5a);
        else
            cpu_store8(cpu, linear, 0x5a);
    } else {
        p.fault = cpu->fault_vector;
        p.error = cpu->fault_error;
        p.address = cpu->fault_address;
    }
    return p;
}

static uint64_t *entry(struct guest *g, uint32_t at) { return (uint64_t *)(void *)(g->bytes + at); }

static void tables_make(struct guest *g)
{
    *entry(g, 0x2000 + 8) = PD | P | W | U;
    *entry(g, PD) = PT | P | W | U;
    *entry(g, PT) = FRAME | P | W | U;
}

/* ---- the rules, again ------------------------------------------------------------------------------------------------------------------------------------- */

struct rules { bool user_page, writable, nx, wp, smep, smap, ac, keys; unsigned key; /* AD | WD << 1 of the page's key */ };

static bool key_refuses(const struct rules *r, enum kind kind, bool user)
{
    if (!r->keys || kind == FETCH)
        return false;
    if (r->key & 1)
        return true;
    return r->key & 2 && kind == WRITE && (user || r->wp);
}

static bool mode_allows(const struct rules *r, enum kind kind, bool user, bool implicit)
{
    if (user)
        return r->user_page && (kind == READ || (kind == WRITE && r->writable) || (kind == FETCH && !r->nx));
    if (kind == FETCH)
        return !r->nx && !(r->user_page && r->smep);
    if (r->user_page && r->smap && (implicit || !r->ac))
        return false;
    return kind == READ || r->writable || !r->wp;
}

static void rules_apply(struct guest *g, const struct rules *r, bool user)
{
    struct cpu *cpu = g->vm.cpus[0];
    struct cpu_state *s = &cpu->state;
    *entry(g, PD) = PT | P | W | U;
    *entry(g, PT) = FRAME | P | (r->writable ? W : 0) | (r->user_page ? U : 0) | (r->nx ? NX : 0) | UINT64_C(5) << 59;
    s->cr0 = CR0_PE | CR0_PG | CR0_ET | (r->wp ? CR0_WP : 0);
    s->cr4 = CR4_PAE | (r->smep ? CR4_SMEP : 0) | (r->smap ? CR4_SMAP : 0) | (r->keys ? CR4_PKE | CR4_PKS : 0);
    s->efer = EFER_LME | EFER_LMA | EFER_NXE;
    s->pkru = r->user_page ? r->key << 10 : ~(r->key << 10);
    s->pkrs = r->user_page ? ~(r->key << 10) : r->key << 10;
    s->cpl = user ? 3 : 0;
    cpu_flags_set(cpu, 2 | (r->ac ? FLAG_AC : 0));
    cpu_state_changed(cpu);
    cpu_tlb_flush_all(cpu);
}

static void check_access(struct guest *g, const struct rules *r, enum kind kind, bool user, bool implicit)
{
    bool refused = key_refuses(r, kind, user && !implicit), allowed = mode_allows(r, kind, user && !implicit, implicit) && !refused;
    rules_apply(g, r, user);
    for (unsigned again = 0; again < 2; again++) { /* the second time with whatever the TLB keeps */
        struct probe p = probe(g->vm.cpus[0], kind, implicit, TEST_LINEAR + 8);
        assert_int_equal(p.fault, allowed ? -1 : EXC_PF);
        if (allowed)
            continue;
        unsigned error = 1u | (kind == WRITE ? 2 : 0) | (user && !implicit ? 4 : 0) | (kind == FETCH ? 16 : 0) | (refused ? 32 : 0);
        assert_int_equal(p.error, error);
        assert_int_equal(p.address, TEST_LINEAR + 8);
    }
    assert_int_equal(*entry(g, PT) & D, allowed && kind == WRITE ? D : 0);
    if (allowed)
        assert_int_equal(*entry(g, PT) & *entry(g, PD) & A, A);
}

static void every_combination_of_rights(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 64);
    tables_make(&g);
    for (unsigned i = 0; i < 1u << 10; i++) {
        struct rules r = { i & 1, i >> 1 & 1, i >> 2 & 1, i >> 3 & 1, i >> 4 & 1, i >> 5 & 1, i >> 6 & 1, i >> 7 & 1, i >> 8 & 3 };
        for (enum kind kind = READ; kind <= FETCH; kind++) {
            check_access(&g, &r, kind, false, false);
            check_access(&g, &r, kind, true, false);
            if (kind != FETCH) {
                check_access(&g, &r, kind, false, true);
                check_access(&g, &r, kind, true, true);
            }
        }
    }
    guest_free(&g);
}

/* What the TLB keeps for one set of rights must not serve another: switch without a flush. */
static void a_switch_of_rights_needs_no_flush(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 64);
    tables_make(&g);
    struct cpu *cpu = g.vm.cpus[0];
    struct rules r = { .user_page = true, .writable = true, .smap = true, .smep = true, .wp = true, .ac = true };
    rules_apply(&g, &r, false);
    assert_int_equal(probe(cpu, WRITE, false, TEST_LINEAR).fault, -1);
    cpu_flags_set(cpu, 2); /* CLAC */
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR).fault, EXC_PF);
    cpu_flags_set(cpu, 2 | FLAG_AC);
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR).fault, -1);
    cpu->state.cpl = 3;
    cpu_state_changed(cpu);
    assert_int_equal(probe(cpu, FETCH, false, TEST_LINEAR).fault, -1);
    cpu->state.cpl = 0;
    cpu_state_changed(cpu);
    assert_int_equal(probe(cpu, FETCH, false, TEST_LINEAR).fault, EXC_PF);
    *entry(&g, PT) &= ~(uint64_t)U;
    cpu_tlb_flush_page(cpu, TEST_LINEAR);
    cpu->state.cpl = 3;
    cpu_state_changed(cpu);
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR).fault, EXC_PF);
    guest_free(&g);
}

/* ---- entries -------------------------------------------------------------------------------------------------------------------------------------------------- */

static void reserved_and_absent(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 64);
    tables_make(&g);
    struct cpu *cpu = g.vm.cpus[0];
    cpu->state.efer &= ~(uint64_t)EFER_NXE;
    uint64_t good = *entry(&g, PT);
    const uint64_t bad[] = { good | NX, good | BIT(51), good | BIT(cpu_phys_bits(cpu)) };
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        *entry(&g, PT) = bad[i];
        cpu_tlb_flush_all(cpu);
        struct probe p = probe(cpu, READ, false, TEST_LINEAR);
        assert_int_equal(p.fault, EXC_PF);
        assert_int_equal(p.error, 9);
    }
    *entry(&g, PT) = good & ~(uint64_t)P;
    cpu_tlb_flush_all(cpu);
    assert_int_equal(probe(cpu, WRITE, false, TEST_LINEAR).error, 2);
    *entry(&g, PD) = FRAME | BIT(13) | P | W | PS;
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR).error, 9);
    *entry(&g, 0x1000) |= PS; /* reserved in a PML4E */
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR).error, 9);
    guest_free(&g);
}

static void page_sizes_of_4_level_paging(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 64);
    tables_make(&g);
    struct cpu *cpu = g.vm.cpus[0];
    g.bytes[FRAME + 0x1234] = 0x77;
    *entry(&g, PD) = FRAME | P | W | PS;
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR + 0x1234).value, 0x77);
    *entry(&g, 0x2000 + 8) = P | W | PS; /* 1 GiB at 0 */
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR + 0x1234).value, 0x77); /* still in the TLB */
    cpu_tlb_flush_page(cpu, TEST_LINEAR + 0x5000);                               /* any address of the large page */
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR + FRAME + 0x1234).value, 0x77);
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR + 0x1234).value, 0);
    *entry(&g, 0x2000 + 8) = 0;
    cpu_tlb_flush_page(cpu, TEST_LINEAR + 0x3ffff000);
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR + 0x1234).fault, EXC_PF);
    guest_free(&g);
}

static void global_pages_survive_cr3(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 64);
    tables_make(&g);
    struct cpu *cpu = g.vm.cpus[0];
    cpu->state.cr4 |= CR4_PGE;
    *entry(&g, PT) |= G;
    *entry(&g, PT + 8) = FRAME2 | P | W;
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR).fault, -1);
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR + 0x1000).fault, -1);
    *entry(&g, PT) = *entry(&g, PT + 8) = 0;
    control_write_cr3(cpu, cpu->state.cr3);
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR).fault, -1);
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR + 0x1000).fault, EXC_PF);
    control_write_cr4(cpu, cpu->state.cr4 & ~(uint64_t)CR4_PGE);
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR).fault, EXC_PF);
    guest_free(&g);
}

static uint32_t *entry32(struct guest *g, uint32_t at) { return (uint32_t *)(void *)(g->bytes + at); }

static void legacy_paging(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 32);
    struct cpu *cpu = g.vm.cpus[0];
    memset(g.bytes + 0x1000, 0, 0x7000);
    *entry32(&g, 0x1000) = 0x2000 | P | W;
    *entry32(&g, 0x2000 + 5 * 4) = FRAME | P | W;
    *entry32(&g, 0x1004) = 0 | P | W | PS;
    g.bytes[FRAME] = 0x11;
    cpu->state.cr0 |= CR0_PG;
    cpu->state.cr4 = CR4_PSE;
    cpu_state_changed(cpu);
    assert_int_equal(probe(cpu, READ, false, 0x5000).value, 0x11);
    assert_int_equal(*entry32(&g, 0x2000 + 5 * 4) & (A | D), A);
    assert_int_equal(probe(cpu, WRITE, false, 0x5000).fault, -1);
    assert_int_equal(*entry32(&g, 0x2000 + 5 * 4) & (A | D), A | D);
    assert_int_equal(probe(cpu, READ, false, 0x400000 + FRAME).value, 0x5a);
    *entry32(&g, 0x1004) |= 1u << 21; /* reserved with PSE-36 */
    cpu_tlb_flush_all(cpu);
    assert_int_equal(probe(cpu, READ, false, 0x400000 + FRAME).error, 9);
    *entry32(&g, 0x1004) = P | W | PS | 1u << 13; /* 4 GiB: nothing is mapped there */
    cpu_tlb_flush_all(cpu);
    assert_int_equal(setjmp(cpu->leave) == 0 ? (cpu_load8(cpu, 0x400000), 0) : cpu->exit.reason, HY_EXIT_MMIO);
    assert_true(cpu->exit.u.mmio.gpa == BIT(32));
    guest_free(&g);
}

static void pae_paging(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 32);
    struct cpu *cpu = g.vm.cpus[0];
    memset(g.bytes + 0x1000, 0, 0x7000);
    *entry(&g, 0x1000 + 8) = PD | P; /* 1 GiB */
    *entry(&g, PD) = PT | P | W;
    *entry(&g, PT) = FRAME | P | W;
    g.bytes[FRAME + 8] = 0x21;
    cpu->state.cr4 = CR4_PAE;
    control_write_cr0(cpu, cpu->state.cr0 | CR0_PG);
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR + 8).value, 0x21);
    *entry(&g, 0x1000 + 8) = 0; /* the register still holds it */
    cpu_tlb_flush_all(cpu);
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR + 8).value, 0x21);
    *entry(&g, PT) |= BIT(55);
    cpu_tlb_flush_all(cpu);
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR + 8).error, 9);
    *entry(&g, 0x1000) = PD | P | W; /* W is reserved in a PDPTE */
    if (setjmp(cpu->leave) == 0) {
        control_write_cr3(cpu, 0x1000);
        fail();
    }
    assert_int_equal(cpu->fault_vector, EXC_GP);
    guest_free(&g);
}

/* ---- addresses ---------------------------------------------------------------------------------------------------------------------------------------------------- */

static void addresses_and_alignment(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 64);
    tables_make(&g);
    struct cpu *cpu = g.vm.cpus[0];
    assert_int_equal(probe(cpu, READ, false, BIT(47)).fault, EXC_GP);
    assert_int_equal(probe(cpu, FETCH, false, BIT(63)).fault, EXC_GP);
    *entry(&g, PT + 8) = FRAME2 | P | W | U;
    store_le32(g.bytes + FRAME + 0xffe, 0x44332211);
    if (setjmp(cpu->leave) == 0)
        assert_int_equal(cpu_load32(cpu, TEST_LINEAR + 0xffe), 0x44332211);
    else
        fail();
    /* A store across pages whose second half faults changes nothing. */
    *entry(&g, PT + 8) = 0;
    cpu_tlb_flush_all(cpu);
    if (setjmp(cpu->leave) == 0) {
        cpu_store32(cpu, TEST_LINEAR + 0xffe, 0);
        fail();
    }
    assert_int_equal(cpu->fault_address, TEST_LINEAR + 0x1000);
    assert_int_equal(load_le16(g.bytes + FRAME + 0xffe), 0x2211);
    cpu->state.cr0 |= CR0_AM;
    cpu->state.cpl = 3;
    cpu_flags_set(cpu, 2 | FLAG_AC);
    cpu_state_changed(cpu);
    if (setjmp(cpu->leave) == 0) {
        cpu_load32(cpu, TEST_LINEAR + 8);
        cpu_load8(cpu, TEST_LINEAR + 7);
        cpu_load32(cpu, TEST_LINEAR + 6);
        fail();
    }
    assert_int_equal(cpu->fault_vector, EXC_AC);
    guest_free(&g);
}

/* Neighbours never share an entry, and strides of powers of two spread. */
static void the_index_folds(void **state)
{
    (void)state;
    struct tlb_entry *base = NULL;
    for (unsigned shift = 12; shift < 30; shift++)
        assert_ptr_not_equal(cpu_tlb_at(base, (BIT(shift) - 1) & TLB_PAGE_MASK), cpu_tlb_at(base, BIT(shift)));
    for (unsigned shift = 12; shift < 28; shift++)
        assert_ptr_not_equal(cpu_tlb_at(base, 0), cpu_tlb_at(base, BIT(shift)));
}

/* What INVLPG looks into: a page taken for another would cost a flush of everything. */
static void a_page_set_confuses_no_pages(void **state)
{
    (void)state;
    static struct page_set set;
    unsigned count = 0;
    for (uint64_t page = 1; !set.crowded; page = page * 6364136223846793005u + 1442695040888963407u, count++) {
        for (unsigned bit = 0; bit < 52; bit++)
            assert_false(page_set_has(&set, page >> 12 ^ BIT(bit)));
        page_set_add(&set, page >> 12);
        assert_true(page_set_has(&set, page >> 12));
    }
    assert_true(count > PAGE_SET_SIZE / 4);
    page_set_clear(&set);
    assert_false(page_set_has(&set, 1));
    for (uint64_t page = 0; page < PAGE_SET_SIZE; page++) /* neighbours all find room */
        page_set_add(&set, 0xffffffff81000 + page);
    assert_false(set.crowded);
}

static void invlpg_of_a_global_large_page(void **state)
{
    (void)state;
    struct guest g;
    guest_make(&g, 1, 64);
    tables_make(&g);
    struct cpu *cpu = g.vm.cpus[0];
    cpu->state.cr4 |= CR4_PGE;
    *entry(&g, PD) = FRAME | P | W | PS | G;
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR).fault, -1);
    *entry(&g, PD) = 0;
    cpu_tlb_flush_page(cpu, TEST_LINEAR + 0x800000);
    control_write_cr3(cpu, cpu->state.cr3);
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR).fault, -1);
    cpu_tlb_flush_page(cpu, TEST_LINEAR + 0x3000);
    assert_int_equal(probe(cpu, READ, false, TEST_LINEAR).fault, EXC_PF);
    guest_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_combination_of_rights), cmocka_unit_test(a_switch_of_rights_needs_no_flush), cmocka_unit_test(reserved_and_absent),
        cmocka_unit_test(page_sizes_of_4_level_paging), cmocka_unit_test(global_pages_survive_cr3), cmocka_unit_test(legacy_paging),
        cmocka_unit_test(pae_paging), cmocka_unit_test(addresses_and_alignment), cmocka_unit_test(the_index_folds),
        cmocka_unit_test(a_page_set_confuses_no_pages), cmocka_unit_test(invlpg_of_a_global_large_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
