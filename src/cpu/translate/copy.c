/* SPDX-License-Identifier: MIT */
/* copy.c - instructions that the host does as they are, with other registers and another memory operand. */
#include "cpu/translate/compile.h"
#include "cpu/translate/emit_evex.h"

int register_of(unsigned guest)
{
    switch (guest) {
    case INSN_RSP: return GUEST_RSP;
    case INSN_R10: case INSN_R11: case INSN_R14: case INSN_R15: return NO_REGISTER;
    default: return (int)guest;
    }
}

struct host_memory register_slot(const struct compile *c, unsigned guest)
{
    return at_absolute(&c->cpu->state.gpr[guest]);
}

int register_read(struct compile *c, unsigned guest, int scratch)
{
    int host = register_of(guest);
    if (host != NO_REGISTER)
        return host;
    access_scratch_changes(c, scratch);
    emit_load(c->e, (unsigned)scratch, register_slot(c, guest));
    return scratch;
}

/* ---- what can be copied --------------------------------------------------------------------------------------------------------------------------------------- */

static bool integer_is_copied(const struct insn *in)
{
    switch (in->op) {
    case OP_ADD: case OP_OR: case OP_ADC: case OP_SBB: case OP_AND: case OP_SUB: case OP_XOR: case OP_CMP: case OP_TEST: case OP_INC: case OP_DEC: case OP_NEG:
    case OP_NOT: case OP_ROL: case OP_ROR: case OP_RCL: case OP_RCR: case OP_SHL: case OP_SHR: case OP_SAR: case OP_SHLD: case OP_SHRD:
    case OP_MOVZX: case OP_MOVSX: case OP_MOVSXD: case OP_CMOVCC: case OP_SETCC: case OP_MUL: case OP_IMUL: case OP_CBW: case OP_CWD:
    case OP_BSWAP: case OP_BSF: case OP_BSR: case OP_TZCNT: case OP_LZCNT: case OP_POPCNT: case OP_XADD: case OP_XCHG: case OP_CMPXCHG: case OP_CMPXCHG8B:
    case OP_CMPXCHG16B: case OP_ADCX: case OP_ADOX: case OP_MULX: case OP_ANDN: case OP_BEXTR: case OP_BLSI: case OP_BLSMSK: case OP_BLSR: case OP_BZHI:
    case OP_PDEP: case OP_PEXT: case OP_RORX: case OP_SARX: case OP_SHLX: case OP_SHRX: case OP_MOVBE: case OP_CRC32: case OP_CMC: case OP_CLC: case OP_STC:
    case OP_LAHF: case OP_SAHF: case OP_MOVNTI: case OP_LFENCE: case OP_MFENCE: case OP_SFENCE: case OP_MOV:
        return true;
    case OP_BT: case OP_BTS: case OP_BTR: case OP_BTC:
        return !in->has_mem || in->opnd[1].kind == OPND_IMM; /* else it reaches beyond its operand */
    default: return false;
    }
}

static bool vector_is_copied(const struct insn *in)
{
    switch (in->op) {
    case OP_LDMXCSR: case OP_STMXCSR: case OP_MASKMOVQ: case OP_MASKMOVDQU: case OP_VMASKMOVPS: case OP_VMASKMOVPD: case OP_VPMASKMOVD: case OP_VPMASKMOVQ:
        return false;
    default:
        return in->op >= OP_EMMS && !in->vsib && !(in->has_mem && in->access & ACCESS_PACKED);
    }
}

static bool is_vector(const struct insn *in)
{
    return in->op >= OP_EMMS;
}

static bool is_avx512(const struct insn *in) { return in->op >= OP_EVEX; }

/* Operands that have a place in the encoding that we write, or none. */
static bool operand_is_copied(const struct compile *c, const struct insn *in, unsigned i)
{
    const struct insn_opnd *o = &in->opnd[i];
    switch (o->kind) {
    case OPND_NONE: case OPND_IMM: return true;
    case OPND_IMM2: return false;
    case OPND_XMM: case OPND_MMX: return engine_key_vectors(c->block->key);
    case OPND_MASK: return engine_key_avx512(c->block->key);
    case OPND_MEM: return o->size;
    case OPND_GPR: return o->field != FIELD_IMPLICIT || (register_of(o->reg) == (int)o->reg);
    case OPND_GPR_HIGH: return !in->has_mem && !(in->prefix & PFX_VEX);
    default: return false;
    }
}

static bool operand_is_written(const struct insn *in, unsigned i)
{
    unsigned flags = insn_op_flags(in->op);
    if (insn_only_reads(in))
        return false;
    return (i == 0 && flags & OPF_WRITES_OPND0) || (i == 1 && flags & OPF_WRITES_OPND1);
}

static unsigned memory_operand(const struct insn *in)
{
    for (unsigned i = 0; i < in->nopnd; i++)
        if (in->opnd[i].kind == OPND_MEM)
            return i;
    return in->nopnd;
}

static bool is_high(const struct insn_opnd *o) { return o->kind == OPND_GPR_HIGH; }

/* AH to BH have no encoding beside a REX prefix: nothing else of the instruction may need one. */
static bool high_is_encodable(const struct insn *in)
{
    if (!is_high(&in->opnd[0]) && !is_high(&in->opnd[1]))
        return true;
    for (unsigned i = 0; i < in->nopnd; i++) {
        const struct insn_opnd *o = &in->opnd[i];
        if (o->kind == OPND_GPR && (register_of(o->reg) > 7 || register_of(o->reg) == NO_REGISTER || (o->size == 1 && o->reg > 3)))
            return false;
    }
    return true;
}

static bool host_has(const struct compile *c, unsigned feature)
{
    return c->t->features[feature / 64] >> feature % 64 & 1;
}

bool copy_has_feature(const struct compile *c, const struct insn *in)
{
    return host_has(c, in->feature) && c->cpu->features[in->feature / 64] >> in->feature % 64 & 1;
}

unsigned copy_memory_size(const struct insn *in, bool *write)
{
    unsigned i = memory_operand(in);
    *write = i < in->nopnd && operand_is_written(in, i);
    return i < in->nopnd && in->opnd[i].size ? in->opnd[i].size : 8;
}

bool copy_updates_memory(const struct insn *in)
{
    return in->has_mem && memory_operand(in) == 0 && operand_is_written(in, 0) && insn_op_flags(in->op) & OPF_READS_OPND0;
}

bool copy_is_possible(const struct compile *c, const struct insn *in)
{
    if (is_vector(in) ? !vector_is_copied(in) : !integer_is_copied(in))
        return false;
    if (!copy_has_feature(c, in))
        return false;
    if (is_vector(in) && (!engine_key_vectors(c->block->key) || (in->prefix & PFX_VEX && !engine_key_avx(c->block->key)) ||
                         (is_avx512(in) && (!engine_key_avx512(c->block->key) || !c->t->avx512))))
        return false;
    for (unsigned i = 0; i < in->nopnd; i++)
        if (!operand_is_copied(c, in, i))
            return false;
    if (in->has_mem && memory_operand(in) == in->nopnd)
        return false;
    /* A VVVV register that is kept in memory would need a fourth scratch register beside an address. */
    if (in->has_mem && in->prefix & PFX_VEX && !is_vector(in))
        for (unsigned i = 0; i < in->nopnd; i++)
            if (in->opnd[i].field == FIELD_VVVV && register_of(in->opnd[i].reg) == NO_REGISTER)
                return false;
    for (unsigned i = 0; i < in->nopnd; i++)
        if (in->opnd[i].field == FIELD_IS4 && c->word == 4 && c->bytes[in->imm_off] & 0x80) /* which 32-bit code ignores */
            return false;
    return high_is_encodable(in) && access_is_possible(c, in);
}

/* ---- writing it ------------------------------------------------------------------------------------------------------------------------------------------------ */

struct remap {
    int reg, rm, vvvv, opcode;   /* host registers of the encoding's fields; rm NO_REGISTER: `memory` */
    struct host_memory memory;
    bool lock;
};

static bool is_mandatory_prefix(uint8_t byte) { return byte == 0x66 || byte == 0xf2 || byte == 0xf3; }

static void emit_escape(struct emit *e, unsigned map)
{
    if (map)
        emit_byte(e, 0x0f);
    if (map > 1)
        emit_byte(e, map == 2 ? 0x38 : 0x3a);
}

/* Whether a byte register of number 4 to 7 stands for SPL to DIL, which needs a REX prefix. */
static bool needs_rex(const struct insn *in, const struct remap *m)
{
    for (unsigned i = 0; i < in->nopnd; i++) {
        const struct insn_opnd *o = &in->opnd[i];
        int host = o->field == FIELD_REG ? m->reg : o->field == FIELD_RM ? m->rm : o->field == FIELD_OPCODE ? m->opcode : 0;
        if (o->kind == OPND_GPR && o->size == 1 && host > 3 && host < 8)
            return true;
    }
    return false;
}

static void emit_operands(struct emit *e, const struct insn *in, const uint8_t *bytes, const struct remap *m)
{
    if (in->modrm_off) {
        if (m->rm == NO_REGISTER)
            emit_modrm(e, (unsigned)m->reg, &m->memory);
        else
            emit_byte(e, 0xc0 | ((unsigned)m->reg & 7) << 3 | ((unsigned)m->rm & 7));
    }
    if (in->imm_len)
        emit_bytes(e, bytes + in->imm_off, in->imm_len);
}

/* 40 to 4F of 32-bit code. */
static bool is_short_step(const struct insn *in) { return (in->op == OP_INC || in->op == OP_DEC) && !in->modrm_off; }

static void emit_legacy(struct emit *e, const struct insn *in, const uint8_t *bytes, const struct remap *m)
{
    unsigned rex = in->prefix & PFX_REX_W ? 8 : 0;
    if (m->lock)
        emit_byte(e, 0xf0);
    for (unsigned i = 0; i < in->opcode_off && !(in->prefix & PFX_REX && i == in->rex_off); i++)
        if (is_mandatory_prefix(bytes[i]))
            emit_byte(e, bytes[i]);
    if (in->modrm_off) {
        rex |= (unsigned)(m->reg > 7) << 2;
        if (m->rm == NO_REGISTER)
            rex |= rex_of(false, 0, &m->memory);
        else
            rex |= m->rm > 7;
    } else if (m->opcode != NO_REGISTER) {
        rex |= m->opcode > 7;
    }
    if (rex || needs_rex(in, m))
        emit_byte(e, 0x40 | rex);
    emit_escape(e, in->map);
    if (is_short_step(in)) { /* a REX prefix in 64-bit code */
        emit_byte(e, 0xff);
        emit_byte(e, 0xc0 | (in->op == OP_DEC) << 3 | ((unsigned)m->opcode & 7));
        return;
    }
    emit_byte(e, m->opcode != NO_REGISTER ? (in->opcode & 0xf8u) | ((unsigned)m->opcode & 7) : in->opcode);
    emit_operands(e, in, bytes, m);
}

static void emit_vex(struct emit *e, const struct insn *in, const uint8_t *bytes, const struct remap *m)
{
    const uint8_t *vex = bytes + in->rex_off;
    unsigned pp = (vex[0] == 0xc5 ? vex[1] : vex[2]) & 3;
    unsigned rex = (unsigned)(m->reg > 7) << 2 | (m->rm == NO_REGISTER ? rex_of(false, 0, &m->memory) : m->rm > 7);
    emit_byte(e, 0xc4);
    emit_byte(e, (~rex & 7) << 5 | in->map);
    emit_byte(e, (in->prefix & PFX_REX_W ? 0x80u : 0) | (~(unsigned)m->vvvv & 15) << 3 | (unsigned)in->vex_l << 2 | pp);
    emit_byte(e, in->opcode);
    emit_operands(e, in, bytes, m);
}

/* ---- registers ------------------------------------------------------------------------------------------------------------------------------------------------- */

/* Whether it must hold its old value before: it is read, or written in part. */
static bool operand_is_read(const struct insn *in, unsigned i)
{
    const struct insn_opnd *o = &in->opnd[i];
    if (!operand_is_written(in, i) || o->size < 4)
        return true;
    return i == 0 ? (insn_op_flags(in->op) & OPF_READS_OPND0) != 0 : in->op != OP_MULX;
}

static int *field_of(struct remap *m, unsigned field)
{
    switch (field) {
    case FIELD_REG:    return &m->reg;
    case FIELD_RM:     return &m->rm;
    case FIELD_VVVV:   return &m->vvvv;
    case FIELD_OPCODE: return &m->opcode;
    default:           return NULL;
    }
}

static int scratch_of(unsigned field) { return field == FIELD_RM ? SCRATCH_1 : field == FIELD_VVVV ? SCRATCH_2 : SCRATCH_0; }

/* The scratch register of operand i, which is in memory: that of an operand before it that is the same register. */
static int scratch_for(const struct insn *in, unsigned i)
{
    for (unsigned j = 0; j < i; j++)
        if (in->opnd[j].kind == OPND_GPR && in->opnd[j].reg == in->opnd[i].reg && in->opnd[j].field != FIELD_IMPLICIT)
            return scratch_of(in->opnd[j].field);
    return scratch_of(in->opnd[i].field);
}

/* Whether some of its operands but i is that register. */
static bool has_beside(const struct insn *in, unsigned i, unsigned reg)
{
    for (unsigned j = 0; j < in->nopnd; j++)
        if (j != i && in->opnd[j].kind == OPND_GPR && in->opnd[j].reg == reg)
            return true;
    return false;
}

/* Whether operand i, a register that is in memory, can be the instruction's memory operand: it is only read, or written whole. */
static bool is_direct(const struct insn *in, unsigned i)
{
    const struct insn_opnd *o = &in->opnd[i];
    if (o->kind != OPND_GPR || o->field != FIELD_RM || register_of(o->reg) != NO_REGISTER || is_vector(in) || has_beside(in, i, o->reg))
        return false;
    switch (in->op) {
    case OP_BT: case OP_BTS: case OP_BTR: case OP_BTC: /* another meaning with memory */
    case OP_XCHG: case OP_XADD: case OP_CMPXCHG: return false;
    default: return !operand_is_written(in, i) || o->size == 8;
    }
}

/* An instruction of two registers with two encodings: the one where the register in memory is the r/m operand. */
static void prefer_direct(struct insn *in)
{
    const bool two_ways = in->map == 0 && ((in->opcode < 0x40 && (in->opcode & 7) == 1) || in->opcode == 0x89 || in->opcode == 0x85 /* TEST: as it is */);
    struct insn_opnd *to = &in->opnd[0], *from = &in->opnd[1];
    if (!two_ways || in->has_mem || from->kind != OPND_GPR || register_of(from->reg) != NO_REGISTER || register_of(to->reg) == NO_REGISTER)
        return;
    if (in->opcode != 0x85)
        in->opcode |= 2;
    to->field = FIELD_REG;
    from->field = FIELD_RM;
}

/* Host registers for the register operands; those that are in memory are loaded into scratch registers. */
static void registers_begin(struct compile *c, struct remap *m)
{
    const struct insn *in = &c->in;
    for (unsigned i = 0; i < in->nopnd; i++) {
        const struct insn_opnd *o = &in->opnd[i];
        int *field = field_of(m, o->field);
        if (!field || o->kind == OPND_MEM || o->kind == OPND_IMM)
            continue;
        if (o->kind == OPND_XMM || o->kind == OPND_MMX || o->kind == OPND_MASK)
            *field = o->reg;
        else if (o->kind == OPND_GPR_HIGH)
            *field = o->reg + 4;
        else if (is_direct(in, i))
            *field = NO_REGISTER, m->memory = register_slot(c, o->reg);
        else if ((*field = register_of(o->reg)) == NO_REGISTER) {
            *field = scratch_for(in, i);
            access_scratch_changes(c, *field);
            if (operand_is_read(in, i))
                emit_load(c->e, (unsigned)*field, register_slot(c, o->reg));
        }
    }
}

static void registers_end(struct compile *c, const struct remap *m)
{
    const struct insn *in = &c->in;
    for (unsigned i = 0; i < in->nopnd; i++) {
        const struct insn_opnd *o = &in->opnd[i];
        int *field = field_of((struct remap *)(uintptr_t)m, o->field);
        if (field && o->kind == OPND_GPR && *field != NO_REGISTER && register_of(o->reg) == NO_REGISTER && operand_is_written(in, i))
            emit_store(c->e, register_slot(c, o->reg), (unsigned)*field);
    }
}

/* Tells the recipe about every register that the instruction changes. */
static void registers_change(struct compile *c)
{
    const struct insn *in = &c->in;
    for (unsigned i = 0; i < in->nopnd; i++) {
        const struct insn_opnd *o = &in->opnd[i];
        if ((o->kind == OPND_GPR || o->kind == OPND_GPR_HIGH) && operand_is_written(in, i))
            flags_register_changes(c, o->reg);
    }
    switch (in->op) {
    case OP_MUL: case OP_IMUL: case OP_CMPXCHG8B: case OP_CMPXCHG16B: case OP_DIV: case OP_IDIV: case OP_CWD: case OP_CBW: case OP_CMPXCHG: case OP_LAHF:
        flags_register_changes(c, REG_RAX);
        flags_register_changes(c, REG_RDX);
        break;
    default: break;
    }
}

/* Legacy SSE wants its 16-byte operands aligned, but for the moves that say not; VEX forms only in the moves that say so. */
static bool wants_alignment(const struct insn *in, unsigned size)
{
    if (is_avx512(in))
        return in->access & ACCESS_ALIGNED;
    switch (in->op) {
    case OP_MOVAPS: case OP_MOVAPD: case OP_MOVDQA: case OP_MOVNTDQ: case OP_MOVNTDQA: case OP_MOVNTPS: case OP_MOVNTPD: case OP_CMPXCHG16B:
        return size >= 16;
    case OP_MOVUPS: case OP_MOVUPD: case OP_MOVDQU: case OP_LDDQU: case OP_PCMPESTRI: case OP_PCMPESTRM: case OP_PCMPISTRI: case OP_PCMPISTRM:
        return false;
    default:
        return size == 16 && is_vector(in) && !(in->prefix & PFX_VEX);
    }
}

void copy_instruction(struct compile *c)
{
    const struct insn *in = &c->in;
    prefer_direct(&c->in);
    enum flags_effect effect = flags_effect_of(in);
    struct remap m = { .reg = in->modrm >> 3 & 7, .rm = in->modrm & 7, .vvvv = 0, .opcode = NO_REGISTER };
    if (effect != EFFECT_SETS && !flags_need_carry_only(c, effect)) /* those end the recipe anyway */
        registers_change(c);
    if (in->has_mem) {
        unsigned i = memory_operand(in);
        m.rm = NO_REGISTER;
        m.memory = access_operand(c, in, in->opnd[i].size, operand_is_written(in, i), wants_alignment(in, in->opnd[i].size));
        m.lock = in->prefix & PFX_LOCK && c->t->lock;
    }
    flags_before(c, effect);
    registers_begin(c, &m);
    if (is_avx512(in))
        emit_evex_or_vex(c->e, in, &(struct evex_registers){ m.reg, m.rm, m.vvvv, m.rm == NO_REGISTER, m.memory });
    else if (in->prefix & PFX_VEX)
        emit_vex(c->e, in, c->bytes, &m);
    else
        emit_legacy(c->e, in, c->bytes, &m);
    registers_end(c, &m);
    if (effect == EFFECT_SETS)
        c->recipe.kind = RECIPE_NONE;
    flags_after(c, in, effect);
}
