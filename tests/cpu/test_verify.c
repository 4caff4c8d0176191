/* SPDX-License-Identifier: MIT */
/* The verifier of translated code: proves what the translator writes, and finds what is broken in it on purpose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cpu/translate/compile.h"
#include "cpu/translate/verify.h"
#include "guest.h"

/* Loads, stores, a range of accesses off one register, that goes on behind changes of it by constants, the stack, a vector, a division, string, and a branch to a register. */
GUEST_PROGRAM(verify_program, "mov %rax, 8(%rbx); mov 16(%rbx), %rcx; add %rcx, 24(%rbx); push %rax; movups (%rbx), %xmm0; movaps %xmm0, (%rsi); lock incl (%rdi,%r10,4);"
                              "mov -16(%rsp), %rdx; push %rdx; mov 8(%rsp), %rdx; pop %rdx; mov -8(%rsp), %rdx; "
                              "mov (%rbx), %rdx; inc %rbx; mov (%rbx), %rdx; dec %rbx; mov 8(%rbx), %rdx; "
                              "mov $7, %ecx; xor %edx, %edx; div %rcx; "
                              "fldl 40(%rbx); fstpt 48(%rbx); fadds 40(%rbx); fldcw 64(%rbx); paddb 40(%rbx), %mm1; "
                              "fnstsw %ax; sete %al; pop %r15; cmp %r15, %rax; rep stosb; mov %rax, -8(%rsp); jmp *%r9");

/* Calls of the same page and of another, and returns. */
GUEST_PROGRAM(return_program, "call 1f; mov $0x400000, %eax; call *%rax; hlt; 1: xor %ecx, %ecx; ret");

struct rig { struct guest g; struct compile c; uint8_t *start, *end; };

static const char *verify(const struct rig *r)
{
    uint32_t at;
    return verify_code(&r->c, r->start, r->end, &at);
}

static int make_one(struct rig *r, bool small)
{
    setenv("CPU_ENGINE", "translate", 1);
    guest_make(&r->g, 1, 64);
    struct cpu *cpu = r->g.vm.cpus[0];
    if (!cpu->translator)
        return 0;
    cpu->translator->statistics.translations = small; /* every other one is small where code is translated at once */
    GUEST_PUT(&r->g, GUEST_CODE, verify_program);
    struct cpu_state *s = &cpu->state;
    s->gpr[REG_RBX] = s->gpr[REG_RSI] = s->gpr[REG_RDI] = 0x300000;
    s->gpr[9] = 0x400000;
    s->x87.fcw = 0x37f;
    r->g.bytes[0x400000] = 0xf4;
    store_le16(r->g.bytes + 0x300040, 0x37f); /* FLDCW's */
    assert_int_equal(guest_run(&r->g, 0), HY_EXIT_HALT);
    s->rip = GUEST_CODE; /* it was translated when it first ran */
    struct block *b = block_find(cpu);
    assert_non_null(b->translation);
    assert_int_equal(b->translation->small, small);
    struct translation *to = b->translation;
    struct translator *t = cpu->translator;
    r->c = (struct compile){ .cpu = cpu, .t = t, .block = b, .to = to };
    r->start = to->start;
    r->end = to->end;
    return 0;
}

/* The first is large, the second small. */
static int make(void **state)
{
    static struct rig rigs[2];
    *state = rigs;
    return make_one(&rigs[0], false) || make_one(&rigs[1], true);
}

static int unmake(void **state)
{
    struct rig *rigs = *state;
    guest_free(&rigs[0].g);
    guest_free(&rigs[1].g);
    return 0;
}

typedef bool chooser(const struct insn *, const uint8_t *bytes);

/* The first instruction that `choose` says yes to. */
static uint8_t *find(const struct rig *r, chooser *choose, struct insn *in)
{
    for (uint8_t *at = r->start; at < r->end; at += in->length) {
        assert_true(insn_decode(at, (size_t)(r->end - at), CPU_MODE_64, in) > 0);
        if (choose(in, at))
            return at;
    }
    fail_msg("the translation has no such instruction");
    return NULL;
}

static bool is_guest_access(const struct insn *in, const uint8_t *bytes) { (void)bytes; return in->op != OP_LEA && in->has_mem && in->base < 16 && in->index < 16; }
static bool is_guest_store(const struct insn *in, const uint8_t *bytes) { return is_guest_access(in, bytes) && in->opnd[0].kind == OPND_MEM && in->op == OP_MOV; }
static bool is_tag_compare(const struct insn *in, const uint8_t *bytes) { (void)bytes; return in->op == OP_CMP && in->has_mem && in->base < 16; }
static bool is_slot_mask(const struct insn *in, const uint8_t *bytes) { (void)bytes; return in->op == OP_AND && in->imm == (FAST_TLB_ENTRIES - 1) << 5; }
static bool is_jne(const struct insn *in, const uint8_t *bytes) { (void)bytes; return in->op == OP_JCC && insn_cond(in) == CC_NE; }
static bool is_own_store(const struct insn *in, const uint8_t *bytes)
{
    (void)bytes;
    return in->op == OP_MOV && in->has_mem && in->base == INSN_NO_REG && in->index == INSN_NO_REG && in->opnd[0].kind == OPND_MEM;
}
static bool is_leave(const struct insn *in, const uint8_t *bytes) { (void)bytes; return in->op == OP_CALL; }
static bool is_indirect(const struct insn *in, const uint8_t *bytes) { (void)bytes; return in->op == OP_JMP && in->has_mem; }
static bool is_rep(const struct insn *in, const uint8_t *bytes) { (void)bytes; return in->op == OP_STOS; }
static bool is_any(const struct insn *in, const uint8_t *bytes) { (void)bytes; return in->length >= 2; }

/* Whether the verifier finds these bytes in place of those at `at`; puts the old ones back. */
static bool finds(const struct rig *r, uint8_t *at, const void *bytes, size_t len)
{
    uint8_t old[16];
    memcpy(old, at, len);
    memcpy(at, bytes, len);
    bool found = verify(r) != NULL;
    memcpy(at, old, len);
    return found;
}

static bool finds_nops(const struct rig *r, uint8_t *at, size_t len) { return finds(r, at, "\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90", len); }

static void good_code_is_proved(void **state)
{
    const struct rig *r = *state;
    if (!r->start)
        skip();
    const char *why = verify(r);
    if (why)
        fail_msg("%s", why);
}

static void missing_checks_are_found(void **state)
{
    const struct rig *r = *state;
    struct insn in;
    if (!r->start)
        skip();
    uint8_t *at = find(r, is_tag_compare, &in);
    assert_true(finds_nops(r, at, in.length));
    at += in.length;
    assert_true(insn_decode(at, 15, CPU_MODE_64, &in) > 0 && is_jne(&in, at));
    assert_true(finds_nops(r, at, in.length));
    at[1] ^= 1; /* JE */
    assert_non_null(verify(r));
    at[1] ^= 1;
    at = find(r, is_slot_mask, &in);
    assert_true(finds_nops(r, at, in.length));
    uint8_t wider[4];
    store_le32(wider, (uint32_t)in.imm << 1 | 1 << 5);
    assert_true(finds(r, at + in.imm_off, wider, 4));
}

static void wrong_operands_are_found(void **state)
{
    const struct rig *r = *state;
    struct insn in;
    if (!r->start)
        skip();
    uint8_t *at = find(r, is_guest_access, &in);
    assert_int_equal(in.disp_len, 1);
    at[in.disp_off] ^= 0x40; /* outside what was compared */
    assert_non_null(verify(r));
    at[in.disp_off] ^= 0x40;
    at[in.modrm_off + 1] ^= 0x40; /* scaled */
    assert_non_null(verify(r));
    at[in.modrm_off + 1] ^= 0x40;
    at[in.modrm_off + 1] ^= 2; /* another base */
    assert_non_null(verify(r));
    at[in.modrm_off + 1] ^= 2;
    at = find(r, is_own_store, &in);
    uint8_t address[4];
    store_le32(address, (uint32_t)(uintptr_t)&r->c.cpu->state.cr3);
    assert_true(finds(r, at + in.disp_off, address, 4));
    store_le32(address, (uint32_t)(uintptr_t)&r->c.cpu->translate.tlb[0][0].addend);
    assert_true(finds(r, at + in.disp_off, address, 4));
    store_le32(address, (uint32_t)(uintptr_t)(r->c.cpu + 1));
    assert_true(finds(r, at + in.disp_off, address, 4));
    assert_null(verify(r));
}

static bool is_count(const struct insn *in, const uint8_t *bytes) { (void)bytes; return in->op == OP_INC && in->has_mem && in->base == INSN_NO_REG; }

/* With CPU_COUNT_TLB: nothing but INC reaches the counter, which reaches nothing else, where it is wanted. */
static void wrong_counts_are_found(void **state)
{
    struct rig *r = *state;
    struct insn in;
    if (!r->start || !r->g.vm.count_tlb)
        skip();
    uint8_t *at = find(r, is_count, &in), address[4];
    assert_int_equal(in.disp, (int32_t)(intptr_t)&r->c.cpu->translate.tlb_hits);
    store_le32(address, (uint32_t)in.disp + 1);
    assert_true(finds(r, at + in.disp_off, address, 4));
    assert_true(finds(r, at + in.modrm_off, (uint8_t[]){ (uint8_t)(in.modrm ^ 8) }, 1)); /* DEC */
    assert_true(finds(r, at, (uint8_t[]){ 0x40 }, 1)); /* 32 bits */
    at = find(r, is_own_store, &in);
    store_le32(address, (uint32_t)(uintptr_t)&r->c.cpu->translate.tlb_hits);
    assert_true(finds(r, at + in.disp_off, address, 4));
    r->g.vm.count_tlb = false;
    assert_non_null(verify(r));
    r->g.vm.count_tlb = true;
    assert_null(verify(r));
}

static void stores_by_loads_entries_are_found(void **state)
{
    const struct rig *r = *state;
    struct insn in;
    if (!r->start)
        skip();
    find(r, is_guest_store, &in);
    uint8_t *at = find(r, is_tag_compare, &in); /* the first range is stored to */
    const struct fast_tlb *f = r->c.cpu->translate.tlb[engine_key_rights(r->c.block->key)];
    assert_int_equal(in.disp, (int32_t)(intptr_t)&f->write_tag);
    uint8_t address[4];
    store_le32(address, (uint32_t)(uintptr_t)&f->read_tag);
    assert_true(finds(r, at + in.disp_off, address, 4));
    store_le32(address, (uint32_t)(uintptr_t)&f->addend);
    assert_true(finds(r, at + in.disp_off, address, 4));
}

static bool is_address(const struct insn *in, const uint8_t *bytes) { (void)bytes; return in->op == OP_LEA && in->index == SCRATCH_2; }
static bool is_update(const struct insn *in, const uint8_t *bytes) { (void)bytes; return in->op == OP_ADD && in->has_mem && in->base == SCRATCH_2; }

/* The first range has an ADD to memory: an operand off a host address, which LEA made. */
static void wrong_updates_are_found(void **state)
{
    const struct rig *r = *state;
    struct insn in;
    if (!r->start)
        skip();
    uint8_t *at = find(r, is_address, &in), *sib = at + in.modrm_off + 1;
    assert_true(finds_nops(r, at, in.length));
    assert_true(finds(r, sib, (uint8_t[]){ *sib | 0x40 }, 1)); /* scaled */
    assert_true(finds(r, sib, (uint8_t[]){ *sib ^ 2 }, 1));    /* another register's address */
    at = find(r, is_update, &in);
    assert_int_equal(in.disp_len, 1);
    assert_true(finds(r, at + in.disp_off, (uint8_t[]){ 127 }, 1)); /* beyond the range */
    assert_true(finds(r, at + in.disp_off, (uint8_t[]){ 0x80 }, 1)); /* and before it */
    assert_false(finds(r, at + in.disp_off, (uint8_t[]){ 8 }, 1));
    assert_null(verify(r));
}

static void wrong_ways_are_found(void **state)
{
    const struct rig *r = *state;
    struct insn in;
    if (!r->start)
        skip();
    uint8_t *at = find(r, is_jne, &in), bytes[4];
    store_le32(bytes, (uint32_t)in.imm + 1);
    assert_true(finds(r, at + in.imm_off, bytes, 4));
    store_le32(bytes, (uint32_t)(r->end - at) + 4096);
    assert_true(finds(r, at + in.imm_off, bytes, 4));
    at = find(r, is_leave, &in);
    store_le32(bytes, (uint32_t)in.imm + 1);
    assert_true(finds(r, at + in.imm_off, bytes, 4));
    at = find(r, is_indirect, &in);
    store_le32(bytes, (uint32_t)in.disp - 8);
    assert_true(finds(r, at + in.disp_off, bytes, 4));
    struct rig cut = *r;
    cut.end--;
    assert_non_null(verify(&cut));
}

static void foreign_instructions_are_found(void **state)
{
    static const char foreign[][2] = { "\x0f\x05" /* SYSCALL */, "\xcd\x80" /* INT */, "\xe4\x10" /* IN */, "\xe6\x10" /* OUT */, "\x54\x90" /* PUSH RSP */, "\xc3\x90" /* RET */,
        "\xf4\x90" /* HLT */, "\x0f\x0b" /* UD2 */, "\x9c\x90" /* PUSHF alone */, "\x9d\x90" /* POPF */, "\xa4\x90" /* MOVSB */, "\x8e\xd8" /* MOV DS */, "\xff\xe0" /* JMP RAX */,
        "\xfc\xfd" /* CLD, STD */, "\xdb\xe3" /* FNINIT */, "\xd9\x28" /* FLDCW [RAX] */, "\x89\xc4" /* MOV ESP, EAX */, "\x8b\x00" /* MOV EAX, [RAX] */ };
    const struct rig *r = *state;
    struct insn in;
    if (!r->start)
        skip();
    uint8_t *at = find(r, is_any, &in);
    for (unsigned i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        uint8_t bytes[16];
        memset(bytes, 0x90, sizeof bytes);
        memcpy(bytes, foreign[i], 2);
        assert_true(finds(r, at, bytes, in.length));
    }
    at = find(r, is_rep, &in); /* without the addend in RDI */
    assert_true(finds_nops(r, at - 6, 3));
}

static bool is_call(const struct insn *in, const uint8_t *bytes) { (void)bytes; return in->op == OP_CALL; }

/* MOVAPS [R14], register: behind a look-up of 16 bytes for stores. */
static bool is_small_store(const struct insn *in, const uint8_t *bytes) { (void)bytes; return in->op == OP_MOVAPS && in->base == SCRATCH_2 && in->opnd[0].kind == OPND_MEM; }

static void broken_small_code_is_found(void **state)
{
    const struct rig *r = (const struct rig *)*state + 1;
    struct insn in;
    if (!r->start)
        skip();
    assert_null(verify(r));
    uint8_t *at = find(r, is_call, &in), bytes[4];
    store_le32(bytes, (uint32_t)in.imm + 1); /* not the shared code's first byte */
    assert_true(finds(r, at + in.imm_off, bytes, 4));
    at = find(r, is_small_store, &in);
    assert_true(finds(r, at + in.modrm_off, (uint8_t[]){ (uint8_t)(in.modrm ^ 1) }, 1)); /* R15: the guest's RSP */
    at -= 5; /* the call */
    assert_int_equal(*at, 0xe8);
    assert_true(finds_nops(r, at, 5));
    const struct translator *t = r->c.t;
    unsigned set = engine_key_rights(r->c.block->key);
    const uint8_t *wrong[] = { t->shared.operand[set][0][0][4], t->shared.operand[set][1][0][3], t->shared.operand[(set + 1) % FAST_TLB_SETS][1][0][4], t->shared.restore };
    for (unsigned i = 0; i < ARRAY_LEN(wrong); i++) { /* for loads, of fewer bytes, with other rights, and none */
        store_le32(bytes, (uint32_t)(wrong[i] - (at + 5)));
        assert_true(finds(r, at + 1, bytes, 4));
    }
    assert_null(verify(r));
}

static bool is_return_compare(const struct insn *in, const uint8_t *bytes) { (void)bytes; return in->op == OP_CMP && in->has_mem && in->base == INSN_RSP; }
static bool is_push(const struct insn *in, const uint8_t *bytes) { (void)bytes; return in->op == OP_PUSH; }
static bool is_ring(const struct insn *in, const uint8_t *bytes) { (void)bytes; return in->op == OP_OR && in->opnd[0].kind == OPND_GPR && in->opnd[0].reg == INSN_RSP; }
static bool is_pop(const struct insn *in, const uint8_t *bytes) { (void)bytes; return in->op == OP_LEA && in->opnd[0].reg == INSN_RSP; }

/* Translates what is at rip, large, without running it. */
static void return_rig(struct rig *r, uint64_t rip)
{
    struct cpu *cpu = r->g.vm.cpus[0];
    cpu->state.rip = rip;
    struct block *b = block_find(cpu);
    cpu->translator->statistics.translations = 0; /* every other one is small where code is translated at once */
    b->uops[0].fn = b->first;
    translate_block(cpu, b);
    assert_non_null(b->translation);
    assert_false(b->translation->small);
    r->c = (struct compile){ .cpu = cpu, .t = cpu->translator, .block = b, .to = b->translation };
    r->start = b->translation->start;
    r->end = b->translation->end;
    assert_null(verify(r));
}

static void calls_without_their_stack_are_found(struct rig *r, uint64_t rip)
{
    struct insn in;
    return_rig(r, rip);
    chooser *const parts[] = { is_push, is_ring, is_pop };
    for (unsigned i = 0; i < 3; i++) {
        uint8_t *at = find(r, parts[i], &in);
        assert_true(finds_nops(r, at, in.length));
    }
    uint8_t *at = find(r, is_push, &in);
    assert_true(finds(r, at, "\x41\x53", 2)); /* PUSH SCRATCH_1 */
    at = find(r, is_call, &in);
    assert_true(finds_nops(r, at, in.length));
}

static void broken_returns_are_found(void **state)
{
    struct rig r = { 0 };
    struct insn in;
    (void)state;
    setenv("CPU_ENGINE", "translate", 1);
    guest_make(&r.g, 1, 64);
    struct cpu *cpu = r.g.vm.cpus[0];
    if (cpu->translator) {
        uint64_t leaf = GUEST_CODE + (uint64_t)(return_program_end - return_program) - 3;
        GUEST_PUT(&r.g, GUEST_CODE, return_program);
        cpu->state.cpl = 3; /* only user code has them */
        cpu_state_changed(cpu);
        calls_without_their_stack_are_found(&r, GUEST_CODE);
        calls_without_their_stack_are_found(&r, GUEST_CODE + 5);
        return_rig(&r, leaf);
        uint8_t *at = find(&r, is_return_compare, &in);
        assert_true(finds_nops(&r, at, in.length));
        at += in.length;
        assert_true(finds_nops(&r, at, 6)); /* JNE */
    }
    guest_free(&r.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_code_is_proved), cmocka_unit_test(missing_checks_are_found), cmocka_unit_test(wrong_operands_are_found),
        cmocka_unit_test(stores_by_loads_entries_are_found), cmocka_unit_test(wrong_updates_are_found), cmocka_unit_test(wrong_ways_are_found),
        cmocka_unit_test(foreign_instructions_are_found), cmocka_unit_test(broken_small_code_is_found),
        cmocka_unit_test(wrong_counts_are_found), cmocka_unit_test(broken_returns_are_found),
    };
    return cmocka_run_group_tests_name("verify", tests, make, unmake);
}
