/* SPDX-License-Identifier: MIT */
/* branch.c - control transfers: near jumps, calls and returns in 64-bit mode.
 *
 * A direct branch inside the page jumps straight to its target once that is translated. One to another page holds only while the code's translations stand, so it compares
 * the generation of these first (engine.h: FETCH_LOCAL), and moves translate_state.page, which it compares, too: the same page may be shown at two addresses, with another
 * behind it at each. One that may close a loop looks at cpu.requests. An indirect branch looks its target
 * up in translate_state.jumps; when it is not there E0 does the branch, so nothing of the guest is changed before.
 * CALL and RET of large 64-bit user code are the host's (private.h: Returns). */
#include "cpu/translate/compile.h"

/* ---- direct --------------------------------------------------------------------------------------------------------------------------------------------------------- */

static uint32_t patch_offset(const struct compile *c, const uint8_t *place) { return (uint32_t)(place - c->t->memory.write); }

static uint32_t jump_site(struct compile *c, uint8_t *displacement, int32_t target)
{
    uint32_t number = site_new(c, SITE_JUMP);
    site_at(c, number)->target = target;
    site_at(c, number)->patch = patch_offset(c, displacement);
    return number;
}

/* A jump that stands here, and leaves until it is linked: a CALL of the thunk becomes a JMP (translator.c). */
static void emit_linked_jump(struct compile *c, int32_t target)
{
    site_leave(c, jump_site(c, c->e->at + 1, target));
}

static void emit_compare_zero(struct emit *e, const void *at)
{
    emit_op_memory(e, false, 0x83, 7, at_absolute(at)); /* CMP dword, imm8 */
    emit_byte(e, 0);
}

/* Flags are saved, or a recipe; in a small translation, wherever. */
static void emit_poll(struct compile *c, int32_t target)
{
    if (c->small) {
        bool keeps = access_keeps_flags(c);
        uint32_t site = site_new(c, SITE_LEAVE);
        site_at(c, site)->target = target;
        site_call(c, site, c->t->shared.poll[keeps]);
        return;
    }
    emit_compare_zero(c->e, (const void *)&c->cpu->requests);
    uint32_t site = site_new(c, SITE_LEAVE);
    site_at(c, site)->target = target;
    stub_new(c, emit_jump_if(c->e, CC_NE), site);
}

static bool may_loop(const struct compile *c, int32_t target)
{
    return target <= c->block->start;
}

/* Moves translate_state.page to the page of `target`. Flags are saved. */
static void emit_page_move(struct compile *c, int32_t target)
{
    emit_op_memory(c->e, compile_is_wide(c), 0x81, 0, at_absolute(&c->cpu->translate.page)); /* ADD qword, or dword, imm32 */
    emit_u32(c->e, (uint32_t)(target & ~(int32_t)0xfff));
}

uint8_t *branch_compare_place(struct compile *c)
{
    struct emit *e = c->e;
    emit_bytes(e, "\x49\xba", 2); /* MOV SCRATCH_0, imm64 */
    emit_u64(e, 0);
    uint8_t *place = e->at - 8;
    if (c->small) {
        access_scratch_changes(c, SCRATCH_1);
        emit_bytes(e, "\x41\xbb", 2); /* MOV SCRATCH_1, imm32 */
        emit_u32(e, 0);
        emit_call(e, c->t->shared.compare[c->to->global]);
        return place;
    }
    const void *generation = c->to->global ? (const void *)&c->cpu->translate.kernel_tag : &c->cpu->fetch_generation;
    emit_op_memory(e, true, 0x3b, SCRATCH_0, at_absolute(&c->cpu->translate.page)); /* CMP */
    emit_bytes(e, "\x75\x0b", 2);                              /* JNE over the next */
    emit_op_memory(e, false, 0x81, 7, at_absolute(generation)); /* CMP dword, imm32 */
    emit_u32(e, 0);
    return place;
}

static void exit_to_page(struct compile *c, int32_t target)
{
    struct emit *e = c->e;
    flags_save(c);
    emit_page_move(c, target);
    target &= 0xfff;
    c->flags = FLAGS_SAVED;
    if (may_loop(c, target))
        emit_poll(c, target);
    uint8_t *place = branch_compare_place(c);
    uint32_t site = jump_site(c, emit_jump_if(e, CC_E), target); /* while not linked, to what follows */
    site_at(c, site)->patch_place = patch_offset(c, place);
    site_leave(c, site);
}

/* To `target`, from the page's start on. */
static void exit_to(struct compile *c, int32_t target)
{
    if (target & ~(int32_t)0xfff) {
        exit_to_page(c, target);
        return;
    }
    if (may_loop(c, target)) {
        if (c->recipe.kind && c->flags != FLAGS_SAVED)
            c->flags = FLAGS_RECIPE; /* cheaper to do again than to save */
        else if (!c->small)
            flags_save(c), c->flags = FLAGS_SAVED;
        emit_poll(c, target);
    }
    if (c->flags == FLAGS_RECIPE)
        flags_make_native(c);
    emit_linked_jump(c, target);
}

static int32_t branch_target(const struct compile *c)
{
    return (int32_t)(c->block->start + c->u->offset + c->u->length + c->in.imm);
}

static void emit_jcc(struct compile *c)
{
    int32_t target = branch_target(c);
    unsigned condition = insn_cond(&c->in);
    flags_make_native(c);
    if (!(target & ~(int32_t)0xfff) && !may_loop(c, target)) {
        uint8_t *displacement = emit_jump_if(c->e, condition);
        stub_new(c, displacement, jump_site(c, displacement, target));
    } else {
        enum flags_place before = c->flags;
        struct recipe recipe = c->recipe;
        uint8_t *over = emit_jump_if(c->e, condition ^ 1);
        exit_to(c, target);
        emit_patch(over, c->e->at);
        c->flags = before;
        c->recipe = recipe;
    }
    exit_to(c, c->block->start + c->u->offset + c->u->length);
}

bool branch_is_loop(const struct compile *c, const struct insn *in)
{
    return in->op == OP_JCC && in->opsize == c->word && in->opnd[0].kind == OPND_REL && !c->block->second && branch_target(c) == c->block->start;
}

void branch_poll(struct compile *c)
{
    flags_clobber(c);
    emit_poll(c, c->block->start);
}

void branch_end(struct compile *c, unsigned offset)
{
    exit_to(c, (int32_t)(c->block->start + offset));
}

/* ---- indirect: the target is in SCRATCH_1 ------------------------------------------------------------------------------------------------------------------------ */

static struct fast_jump *jumps_of(const struct compile *c) { return c->cpu->translate.jumps; }

static void emit_leave_unless(struct compile *c, uint32_t site) { stub_new(c, emit_jump_if(c->e, CC_NE), site); }

/* Before an indirect branch: flags are saved, and a request leaves by a site of kind `miss`, which is answered. */
static uint32_t emit_find_poll(struct compile *c, enum site_kind miss)
{
    uint32_t site = site_new(c, miss);
    flags_save(c);
    c->flags = FLAGS_SAVED;
    emit_compare_zero(c->e, (const void *)&c->cpu->requests);
    emit_leave_unless(c, site);
    return site;
}

/* Looks the target up, by the tag that is at `tag`; afterwards SCRATCH_2 leads to the entry. A miss leaves by the site. */
static void emit_find_target(struct compile *c, const void *tag, uint32_t site)
{
    struct emit *e = c->e;
    emit_op_register(e, false, 0x89, SCRATCH_1, SCRATCH_2); /* MOV */
    emit_op_register(e, false, 0xc1, 4, SCRATCH_2);         /* SHL: times the size of an entry */
    emit_byte(e, 5);
    emit_op_register(e, false, 0x81, 4, SCRATCH_2);         /* AND */
    emit_u32(e, (FAST_JUMP_ENTRIES - 1) << 5);
    emit_op_memory(e, true, 0x3b, SCRATCH_1, at_base(SCRATCH_2, (int32_t)(intptr_t)&jumps_of(c)->rip));
    emit_leave_unless(c, site);
    emit_load(e, SCRATCH_0, at_absolute(tag));
    emit_op_memory(e, true, 0x3b, SCRATCH_0, at_base(SCRATCH_2, (int32_t)(intptr_t)&jumps_of(c)->tag));
    emit_leave_unless(c, site);
}
_Static_assert(sizeof(struct fast_jump) == 1 << 5, "emit_find_target() scales by 32");

static const void *own_tag(const struct compile *c) { return c->to->global ? (const void *)&c->cpu->translate.kernel_tag : &c->cpu->fetch_tag; }

/* By JMP, or by CALL. */
static void emit_jump_found(struct compile *c, bool call)
{
    struct emit *e = c->e;
    emit_load(e, SCRATCH_0, at_base(SCRATCH_2, (int32_t)(intptr_t)&jumps_of(c)->page));
    emit_store(e, at_absolute(&c->cpu->translate.page), SCRATCH_0);
    emit_op_memory(e, false, 0xff, call ? 2 : 4, at_base(SCRATCH_2, (int32_t)(intptr_t)&jumps_of(c)->code));
}

void branch_to_found(struct compile *c, const void *tag)
{
    emit_find_target(c, tag, emit_find_poll(c, SITE_FOUND));
    emit_jump_found(c, false);
}

/* By shared code, which does it all. */
static void jump_to_find(struct compile *c, enum indirect kind)
{
    uint32_t site = site_new(c, SITE_INTERPRET);
    site_at(c, site)->pop = kind == INDIRECT_RETURN && compile_is_wide(c) ? 8 : 0;
    if (c->flags == FLAGS_RECIPE)
        flags_make_native(c);
    bool saves = c->flags == FLAGS_NATIVE;
    c->flags = FLAGS_SAVED;
    site_leave_to(c, site, c->t->shared.find[kind][c->to->global][saves]);
}

/* Pushes the return address of a direct call. */
static void push_return_address(struct compile *c)
{
    flags_register_changes(c, INSN_RSP);
    bool keeps = access_keeps_flags(c);
    uint8_t *retry = c->e->at;
    emit_constant(c->e, SCRATCH_1, c->block->start + c->u->offset + c->u->length);
    access_call(c, c->t->shared.push_offset[engine_key_rights(c->block->key)][keeps], retry, true);
}

/* Stores the return address below RSP; RSP stays. */
static void emit_return_address(struct compile *c)
{
    struct emit *e = c->e;
    struct host_memory at = access_at(c, c->plans[c->u->number].stack, GUEST_RSP, -(int32_t)c->word, c->word, true);
    emit_load(e, SCRATCH_0, at_absolute(&c->cpu->translate.page));
    emit_add_to(e, SCRATCH_0, SCRATCH_0, (int32_t)(c->block->start + c->u->offset + c->u->length));
    compile_store_word(c, at, SCRATCH_0);
}

static bool has_return_stack(const struct compile *c) { return compile_is_wide(c) && engine_key_rights(c->block->key) == TLB_USER; }

static int32_t return_target(const struct compile *c) { return (int32_t)(c->block->start + c->u->offset + c->u->length); }

/* The entry of the return stack for the address in SCRATCH_0, but for what the host's CALL pushes. Flags are not in RFLAGS only. */
static void emit_return_push(struct compile *c)
{
    emit_op_register(c->e, true, 0x81, 1, RSP); /* OR: it is a ring */
    emit_u32(c->e, RETURN_STACK);
    emit_bytes(c->e, "\x41\x52", 2);           /* PUSH SCRATCH_0 */
}

/* Behind the host's CALL: where its RET comes back, with the guest's address in SCRATCH_1 and flags saved. */
static void emit_returned(struct compile *c)
{
    struct emit *e = c->e;
    emit_bytes(e, "\x48\x8d\x64\x24\x08", 5); /* LEA RSP, [RSP + 8] */
    emit_add_to(e, SCRATCH_0, SCRATCH_1, -return_target(c));
    emit_store(e, at_absolute(&c->cpu->translate.page), SCRATCH_0);
    c->flags = FLAGS_SAVED;
    c->recipe.kind = RECIPE_NONE;
    exit_to(c, return_target(c));
}

/* The host's CALL of what follows. */
static void emit_host_call(struct compile *c)
{
    struct emit *e = c->e;
    emit_return_push(c);
    emit_call(e, e->at);
    uint8_t *call = e->at - 4;
    enum flags_place before = c->flags;
    struct recipe recipe = c->recipe;
    emit_returned(c);
    c->flags = before;
    c->recipe = recipe;
    if (!e->full)
        emit_patch(call, e->at);
}

/* A direct CALL, but for the guest's stack; the return address is in SCRATCH_0. */
static void call_to(struct compile *c, int32_t target)
{
    flags_clobber(c);
    if (target & ~(int32_t)0xfff) {
        emit_host_call(c);
        exit_to(c, target);
        return;
    }
    emit_return_push(c);
    if (may_loop(c, target)) {
        if (!c->recipe.kind || c->flags == FLAGS_SAVED)
            flags_save(c), c->flags = FLAGS_SAVED;
        emit_poll(c, target);
    }
    if (c->flags == FLAGS_RECIPE)
        flags_make_native(c);
    uint32_t site = jump_site(c, c->e->at + 1, target);
    site_at(c, site)->calls = true;
    site_leave(c, site);
    emit_returned(c);
}

void branch_return(struct emit *e, int32_t pop)
{
    emit_op_memory(e, true, 0x3b, SCRATCH_1, at_base(RSP, 8)); /* CMP */
    uint8_t *other = emit_jump_if(e, CC_NE);
    emit_add_to(e, GUEST_RSP, GUEST_RSP, pop);
    emit_byte(e, 0xc3);
    if (!e->full)
        emit_patch(other, e->at);
}

/* In a small translation, and in 32-bit code, RET finds its target as an indirect branch does; and where the address behind CALL may not be canonical, so that
 * RET faults. */
static bool calls_host(const struct compile *c) { return !c->small && has_return_stack(c) && return_target(c) != MEM_PAGE_SIZE; }

static void emit_indirect(struct compile *c, bool call)
{
    struct emit *e = c->e;
    const struct insn *in = &c->in;
    bool memory = in->has_mem;
    if (memory) {
        struct host_memory at = access_operand(c, in, c->word, false, false);
        compile_load_word(c, SCRATCH_1, at);
        access_scratch_changes(c, SCRATCH_1);
    }
    if (memory && call)
        emit_store(e, at_absolute(&c->cpu->translate.temporary), SCRATCH_1);
    if (call)
        emit_return_address(c);
    if (memory && call)
        emit_load(e, SCRATCH_1, at_absolute(&c->cpu->translate.temporary));
    else if (!memory && register_of(in->opnd[0].reg) != NO_REGISTER)
        emit_move(e, SCRATCH_1, (unsigned)register_of(in->opnd[0].reg));
    else if (!memory)
        emit_load(e, SCRATCH_1, register_slot(c, in->opnd[0].reg));
    if (c->small) {
        jump_to_find(c, call ? INDIRECT_CALL : INDIRECT_JUMP);
        return;
    }
    emit_find_target(c, own_tag(c), emit_find_poll(c, SITE_INTERPRET));
    if (call)
        compile_add_to(c, GUEST_RSP, GUEST_RSP, -(int32_t)c->word);
    if (call && calls_host(c)) {
        emit_load(e, SCRATCH_0, at_absolute(&c->cpu->translate.page));
        emit_add_to(e, SCRATCH_0, SCRATCH_0, (int32_t)(c->block->start + c->u->offset + c->u->length));
        emit_return_push(c);
    }
    emit_jump_found(c, call && calls_host(c));
    if (call && calls_host(c))
        emit_returned(c);
}

static void emit_ret(struct compile *c)
{
    int32_t pop = (int32_t)c->word + (c->in.nopnd ? (int32_t)(c->in.imm & 0xffff) : 0);
    compile_load_word(c, SCRATCH_1, access_at(c, c->plans[c->u->number].stack, GUEST_RSP, 0, c->word, false));
    access_scratch_changes(c, SCRATCH_1);
    if (c->small && pop == 8) {
        jump_to_find(c, INDIRECT_RETURN);
        return;
    }
    uint32_t site = emit_find_poll(c, SITE_INTERPRET);
    if (has_return_stack(c))
        branch_return(c->e, pop);
    emit_find_target(c, own_tag(c), site);
    site_at(c, site)->pop = pop == 8 && compile_is_wide(c) ? 8 : 0;
    compile_add_to(c, GUEST_RSP, GUEST_RSP, pop);
    emit_jump_found(c, false);
}

/* ---- all --------------------------------------------------------------------------------------------------------------------------------------------------------------- */

bool branch_is_possible(const struct compile *c, const struct insn *in)
{
    switch (in->op) {
    case OP_RET:
        return in->opsize == c->word;
    case OP_JCC: case OP_JMP: case OP_CALL:
        if (in->opsize != c->word)
            return false;
        if (in->opnd[0].kind == OPND_REL) {
            int64_t target = (int64_t)c->block->start + c->u->offset + c->u->length + in->imm;
            return target == (int32_t)target;
        }
        return in->opnd[0].kind == OPND_GPR || (in->opnd[0].kind == OPND_MEM && access_is_possible(c, in));
    default: return false;
    }
}

void branch_instruction(struct compile *c)
{
    bool direct = c->in.opnd[0].kind == OPND_REL;
    switch (c->in.op) {
    case OP_JCC:
        emit_jcc(c);
        break;
    case OP_JMP:
        if (direct)
            exit_to(c, branch_target(c));
        else
            emit_indirect(c, false);
        break;
    case OP_CALL:
        if (direct) {
            if (c->small) {
                push_return_address(c);
            } else {
                emit_return_address(c);
                flags_register_changes(c, INSN_RSP);
                compile_add_to(c, GUEST_RSP, GUEST_RSP, -(int32_t)c->word);
            }
            if (calls_host(c)) {
                call_to(c, branch_target(c));
                break;
            }
            exit_to(c, branch_target(c));
        } else {
            emit_indirect(c, true);
        }
        break;
    default: emit_ret(c); break;
    }
}
