/* SPDX-License-Identifier: MIT */
/* exec_vector_move.c - vector moves whose effect depends on the form: scalar and half-register moves, moves to and from general registers, masked
 * moves, gathers, MXCSR. */
#include "cpu/engine.h"
#include "cpu/exec_vector.h"

static struct insn_opnd const *operand_last(const struct insn *in) { return &in->opnd[in->nopnd - 1]; }

/* Writes op0, which is an XMM or MMX register, zero-extending. */
static void write_register_zero_extended(struct cpu *cpu, const struct insn *in, uint64_t value)
{
    if (in->opnd[0].kind == OPND_MMX)
        vector_write_mmx(cpu, in->opnd[0].reg, value);
    else
        vector_write_xmm(cpu, in, in->opnd[0].reg, &(union vec){ .q = { value } }, 16);
}

static void store_scalar(struct cpu *cpu, const struct insn *in, uint64_t value)
{
    memory_store(cpu, vector_linear(cpu, in, in->opnd[0].size, 0, MEM_W), value, in->opnd[0].size);
}

/* MOVSS, MOVSD: loads zero-extend, register moves merge. */
static void move_scalar(struct cpu *cpu, const struct insn *in)
{
    const struct insn_opnd *dst = &in->opnd[0], *src = operand_last(in);
    union vec buffer, result;

    vector_check(cpu, in);
    if (dst->kind == OPND_MEM) {
        store_scalar(cpu, in, cpu->state.vec[src->reg & 15].q[0]);
    } else if (src->kind == OPND_MEM) {
        write_register_zero_extended(cpu, in, vector_source(cpu, in, in->nopnd - 1, &buffer, 0)->q[0]);
    } else {
        const union vec *b = &cpu->state.vec[src->reg & 15];
        result = cpu->state.vec[in->opnd[in->nopnd - 2].reg & 15];
        if (in->op == OP_MOVSS)
            result.d[0] = b->d[0];
        else
            result.q[0] = b->q[0];
        vector_write_xmm(cpu, in, dst->reg, &result, 16);
    }
}

/* MOVLPS, MOVLPD, MOVHPS, MOVHPD: memory and one half of a register. */
static void move_half(struct cpu *cpu, const struct insn *in)
{
    unsigned half = in->op == OP_MOVHPS || in->op == OP_MOVHPD;
    union vec buffer, result;

    vector_check(cpu, in);
    if (in->opnd[0].kind == OPND_MEM) {
        store_scalar(cpu, in, cpu->state.vec[in->opnd[1].reg & 15].q[half]);
        return;
    }
    uint64_t loaded = vector_source(cpu, in, in->nopnd - 1, &buffer, 0)->q[0];
    result = cpu->state.vec[in->opnd[in->nopnd - 2].reg & 15];
    result.q[half] = loaded;
    vector_write_xmm(cpu, in, in->opnd[0].reg, &result, 16);
}

/* MOVD, MOVQ, MOVDQ2Q, MOVQ2DQ: 4 or 8 bytes between any two of MMX, XMM, general register, memory. */
static void move_low(struct cpu *cpu, const struct insn *in)
{
    const struct insn_opnd *dst = &in->opnd[0], *src = &in->opnd[1];
    unsigned size = in->op == OP_MOVD ? (dst->kind == OPND_GPR || dst->kind == OPND_MEM ? dst->size : src->size) : 8;
    uint64_t value;

    vector_check(cpu, in);
    switch (src->kind) {
    case OPND_GPR: value = gpr_get(cpu, src->reg, size); break;
    case OPND_MEM: value = memory_load(cpu, vector_linear(cpu, in, size, 0, MEM_R), size); break;
    case OPND_MMX: value = cpu->state.x87.r[src->reg & 7].significand; break;
    default:       value = cpu->state.vec[src->reg & 15].q[0]; break;
    }
    if (dst->kind == OPND_MEM)
        memory_store(cpu, vector_linear(cpu, in, size, 0, MEM_W), value, size);
    else if (dst->kind == OPND_GPR)
        gpr_set(cpu, dst->reg, size, value);
    else
        write_register_zero_extended(cpu, in, value);
    if (src->kind == OPND_MMX)
        vector_enter_mmx(cpu);
}

static void move_nontemporal_integer(struct cpu *cpu, const struct insn *in)
{
    memory_store(cpu, operand_linear(cpu, in, in->opnd[0].size, MEM_W), gpr_get(cpu, in->opnd[1].reg, in->opnd[0].size), in->opnd[0].size);
}

/* ---- elements: PEXTRx, EXTRACTPS, PINSRx */

static uint64_t element_get(const union vec *v, unsigned index, unsigned size)
{
    switch (size) {
    case 1:  return v->b[index & 15];
    case 2:  return v->w[index & 7];
    case 4:  return v->d[index & 3];
    default: return v->q[index & 1];
    }
}

static void element_set(union vec *v, unsigned index, unsigned size, uint64_t value)
{
    switch (size) {
    case 1:  v->b[index & 15] = value; break;
    case 2:  v->w[index & 7] = value; break;
    case 4:  v->d[index & 3] = value; break;
    default: v->q[index & 1] = value; break;
    }
}

static unsigned element_size(const struct insn *in)
{
    switch (in->op) {
    case OP_PEXTRB: case OP_PINSRB: return 1;
    case OP_PEXTRW: case OP_PINSRW: return 2;
    default: return 4; /* EXTRACTPS; PEXTRD and PINSRD go by their operand's size */
    }
}

static void extract_element(struct cpu *cpu, const struct insn *in)
{
    unsigned size = element_size(in), index = in->imm & (in->opnd[1].kind == OPND_MMX ? 3 : 15);
    union vec buffer;

    if (in->op == OP_PEXTRD)
        size = in->opnd[0].size;
    vector_check(cpu, in);
    uint64_t value = element_get(vector_source(cpu, in, 1, &buffer, 0), index, size);
    if (in->opnd[0].kind == OPND_MEM)
        memory_store(cpu, vector_linear(cpu, in, size, 0, MEM_W), value, size);
    else
        gpr_set(cpu, in->opnd[0].reg, size == 8 ? 8 : 4, value);
    if (insn_uses_mmx(in))
        vector_enter_mmx(cpu);
}

static void insert_element(struct cpu *cpu, const struct insn *in)
{
    unsigned at = in->nopnd - 2, size = in->op == OP_PINSRD ? in->opnd[at].size : element_size(in);
    bool mmx = in->opnd[0].kind == OPND_MMX;
    union vec buffer;

    vector_check(cpu, in);
    const struct insn_opnd *src = &in->opnd[at];
    uint64_t value = src->kind == OPND_GPR ? gpr_get(cpu, src->reg, 8) : memory_load(cpu, vector_linear(cpu, in, size, 0, MEM_R), size);
    union vec result = *vector_source(cpu, in, at == 2, &buffer, 0);
    element_set(&result, in->imm & (mmx ? 3 : 15), size, value);
    if (mmx)
        vector_write_mmx(cpu, in->opnd[0].reg, result.q[0]);
    else
        vector_write_xmm(cpu, in, in->opnd[0].reg, &result, 16);
}

/* ---- sign masks: MOVMSKPS, MOVMSKPD, PMOVMSKB */

static void move_mask(struct cpu *cpu, const struct insn *in)
{
    unsigned width = in->op == OP_PMOVMSKB ? 1 : in->op == OP_MOVMSKPS ? 4 : 8;
    unsigned bytes = in->opnd[1].kind == OPND_MMX ? 8 : in->vl, mask = 0;
    union vec buffer;

    vector_check(cpu, in);
    const union vec *v = vector_source(cpu, in, 1, &buffer, 0);
    for (unsigned i = 0; i < bytes / width; i++)
        mask |= (unsigned)(v->b[i * width + width - 1] >> 7) << i;
    if (insn_uses_mmx(in))
        vector_enter_mmx(cpu);
    gpr_set(cpu, in->opnd[0].reg, 4, mask);
}

/* ---- masked moves. Only elements with the mask's sign bit set are accessed, for faults too. Their offsets go on from the first one's, beyond the
 * address size too, as the bytes of one operand do. */

/* Elements are not checked for alignment (SDM vol. 2, exception classes 6 and 12). */
static uint64_t element_load(struct cpu *cpu, uint64_t linear, unsigned size)
{
    return unlikely(cpu->rights == TLB_USER_ALIGNED) ? cpu_load_slow(cpu, TLB_USER, linear, size) : memory_load(cpu, linear, size);
}

/* Stores elements of `size` bytes at offset; the mask has one sign bit in each. */
static void store_masked(struct cpu *cpu, const struct insn *in, uint64_t offset, const union vec *value, const union vec *mask, unsigned bytes, unsigned size)
{
    for (unsigned i = 0; i < bytes; i += size)
        if (mask->b[i + size - 1] & 0x80)
            cpu_probe(cpu, cpu_rights_unaligned(cpu), cpu_linear(cpu, in->seg, offset + i, size, MEM_W | MEM_UNALIGNED), size, MEM_W);
    for (unsigned i = 0; i < bytes; i += size) {
        uint64_t element = 0;
        memcpy(&element, &value->b[i], size);
        if (mask->b[i + size - 1] & 0x80)
            cpu_store_slow(cpu, cpu_rights_unaligned(cpu), cpu_linear(cpu, in->seg, offset + i, size, MEM_W | MEM_UNALIGNED), element, size);
    }
}

static void mask_move_bytes(struct cpu *cpu, const struct insn *in)
{
    union vec data, mask;

    vector_check(cpu, in);
    store_masked(cpu, in, gpr_get(cpu, REG_RDI, in->asize), vector_source(cpu, in, 1, &data, 0), vector_source(cpu, in, 2, &mask, 0),
                 in->opnd[1].kind == OPND_MMX ? 8 : 16, 1);
    if (insn_uses_mmx(in))
        vector_enter_mmx(cpu);
}

static unsigned mask_move_size(enum insn_op op) { return op == OP_VMASKMOVPS || op == OP_VPMASKMOVD ? 4 : 8; }

static void mask_move(struct cpu *cpu, const struct insn *in)
{
    unsigned size = mask_move_size(in->op);
    const union vec *mask = &cpu->state.vec[in->opnd[1].reg & 15];
    uint64_t offset = operand_offset(cpu, in);

    vector_check(cpu, in);
    if (in->opnd[0].kind == OPND_MEM) {
        store_masked(cpu, in, offset, &cpu->state.vec[in->opnd[2].reg & 15], mask, in->vl, size);
        return;
    }
    union vec result = { 0 };
    for (unsigned i = 0; i < in->vl; i += size) {
        if (!(mask->b[i + size - 1] & 0x80))
            continue;
        uint64_t element = element_load(cpu, cpu_linear(cpu, in->seg, offset + i, size, MEM_R | MEM_UNALIGNED), size);
        memcpy(&result.b[i], &element, size);
    }
    vector_write_xmm(cpu, in, in->opnd[0].reg, &result, in->vl);
}

/* ---- gathers: each element is committed, and its mask cleared, before the next is read, so that a fault leaves the rest to do (SDM VGATHERDPS). */

struct gather { unsigned index_size, element_size, count; };

static struct gather gather_shape(const struct insn *in)
{
    struct gather g = { .index_size = 8, .element_size = 8 };

    switch (in->op) {
    case OP_VPGATHERDD: case OP_VGATHERDPS: g.index_size = g.element_size = 4; break;
    case OP_VPGATHERDQ: case OP_VGATHERDPD: g.index_size = 4; break;
    case OP_VPGATHERQD: case OP_VGATHERQPS: g.element_size = 4; break;
    default: break;
    }
    g.count = in->vl / (g.index_size > g.element_size ? g.index_size : g.element_size);
    return g;
}

static uint64_t gather_offset(const struct cpu *cpu, const struct insn *in, unsigned i, unsigned index_size)
{
    const union vec *v = &cpu->state.vec[in->index & 15];
    int64_t index = index_size == 4 ? (int32_t)v->d[i] : (int64_t)v->q[i];

    return operand_truncate(operand_offset(cpu, in) + ((uint64_t)index << in->scale), in->asize);
}

/* Makes each element of the mask all ones or zero, as it is left when a fault comes between elements. */
static void expand_mask(union vec *mask, unsigned bytes, unsigned size)
{
    union vec all = { 0 };

    for (unsigned i = 0; i < bytes; i += size)
        memset(&all.b[i], mask->b[i + size - 1] & 0x80 ? 0xff : 0, size);
    *mask = all;
}

static void gather(struct cpu *cpu, const struct insn *in)
{
    struct gather g = gather_shape(in);
    union vec *dst = &cpu->state.vec[in->opnd[0].reg & 15], *mask = &cpu->state.vec[in->opnd[2].reg & 15];

    vector_check(cpu, in);
    if (in->opnd[0].reg == in->opnd[2].reg || in->opnd[0].reg == in->index || in->opnd[2].reg == in->index)
        cpu_raise(cpu, EXC_UD);
    unsigned used = g.count * g.element_size;
    vector_clear_zmm(cpu, in->opnd[2].reg);
    expand_mask(mask, in->vl, g.element_size);
    for (unsigned i = 0; i < g.count; i++) {
        unsigned at = i * g.element_size;
        if (!(mask->b[at + g.element_size - 1] & 0x80))
            continue;
        uint64_t linear = cpu_linear(cpu, in->seg, gather_offset(cpu, in, i, g.index_size), g.element_size, MEM_R | MEM_UNALIGNED);
        uint64_t element = element_load(cpu, linear, g.element_size);
        memcpy(&dst->b[at], &element, g.element_size);
        memset(&mask->b[at], 0, g.element_size);
        memset(&dst->b[in->vl], 0, sizeof *dst - in->vl);
        vector_clear_zmm(cpu, in->opnd[0].reg);
        cpu_exit_commit(cpu);
    }
    *mask = (union vec){ 0 };
    memset(&dst->b[used], 0, sizeof *dst - used);
    vector_clear_zmm(cpu, in->opnd[0].reg);
}

/* ---- MXCSR and whole-register instructions */

#define MXCSR_MASK 0xffffu

/* LDMXCSR and STMXCSR use no vector register, so vector_check() does not know them for SSE. */
static void check_mxcsr_access(struct cpu *cpu, const struct insn *in)
{
    if (!(in->prefix & PFX_VEX) && !(cpu->state.cr4 & CR4_OSFXSR))
        cpu_raise(cpu, EXC_UD);
    vector_check(cpu, in);
}

static void load_mxcsr(struct cpu *cpu, const struct insn *in)
{
    check_mxcsr_access(cpu, in);
    uint32_t value = cpu_load32(cpu, operand_linear(cpu, in, 4, MEM_R));
    if (value & ~MXCSR_MASK)
        cpu_raise_error(cpu, EXC_GP, 0);
    cpu->state.mxcsr = value;
}

static void store_mxcsr(struct cpu *cpu, const struct insn *in)
{
    check_mxcsr_access(cpu, in);
    cpu_store32(cpu, operand_linear(cpu, in, 4, MEM_W), cpu->state.mxcsr);
}

static void empty_mmx(struct cpu *cpu, const struct insn *in)
{
    vector_check(cpu, in);
    cpu->state.x87.empty = 0xff;
    cpu->state.x87.fsw &= ~0x3800; /* TOP */
}

/* Outside 64-bit mode only registers 0 to 7 are touched. */
static unsigned register_count(const struct cpu *cpu) { return cpu->mode == CPU_MODE_64 ? 16 : 8; }

static void zero_upper(struct cpu *cpu, const struct insn *in)
{
    vector_check(cpu, in);
    for (unsigned i = 0; i < register_count(cpu); i++) {
        cpu->state.vec[i].q[2] = cpu->state.vec[i].q[3] = 0;
        vector_clear_zmm(cpu, i);
    }
}

static void zero_all(struct cpu *cpu, const struct insn *in)
{
    vector_check(cpu, in);
    for (unsigned i = 0; i < register_count(cpu); i++) {
        cpu->state.vec[i] = (union vec){ 0 };
        vector_clear_zmm(cpu, i);
    }
}

vector_exec *vector_move(enum insn_op op)
{
    switch (op) {
    case OP_MOVSS: case OP_MOVSD: return move_scalar;
    case OP_MOVLPS: case OP_MOVLPD: case OP_MOVHPS: case OP_MOVHPD: return move_half;
    case OP_MOVD: case OP_MOVQ: case OP_MOVDQ2Q: case OP_MOVQ2DQ: return move_low;
    case OP_MOVNTI: return move_nontemporal_integer;
    case OP_PEXTRB: case OP_PEXTRW: case OP_PEXTRD: case OP_EXTRACTPS: return extract_element;
    case OP_PINSRB: case OP_PINSRW: case OP_PINSRD: return insert_element;
    case OP_MOVMSKPS: case OP_MOVMSKPD: case OP_PMOVMSKB: return move_mask;
    case OP_MASKMOVQ: case OP_MASKMOVDQU: return mask_move_bytes;
    case OP_VMASKMOVPS: case OP_VMASKMOVPD: case OP_VPMASKMOVD: case OP_VPMASKMOVQ: return mask_move;
    case OP_VGATHERDPS: case OP_VGATHERDPD: case OP_VGATHERQPS: case OP_VGATHERQPD:
    case OP_VPGATHERDD: case OP_VPGATHERDQ: case OP_VPGATHERQD: case OP_VPGATHERQQ: return gather;
    case OP_LDMXCSR: return load_mxcsr;
    case OP_STMXCSR: return store_mxcsr;
    case OP_EMMS: return empty_mmx;
    case OP_VZEROUPPER: return zero_upper;
    case OP_VZEROALL: return zero_all;
    default: return NULL;
    }
}
