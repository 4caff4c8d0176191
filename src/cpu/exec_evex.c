/* SPDX-License-Identifier: MIT */
/* exec_evex.c - executes AVX-512: EVEX instructions and those of opmask registers.
 *
 * What they compute is the host's affair: it is offered only where the host has it, and host_run.c runs each there, on the guest's registers and a copy of its memory operand.
 * What is here is what an instruction is to the rest of the machine: #UD and #NM, which bytes of memory it reads and writes under its mask - masked elements are
 * not accessed and cause no fault - and its SIMD exceptions. Gathers and scatters access element by element and clear the mask behind them, so that a fault
 * leaves the rest to do. All that can fault comes before anything changes.
 * Limits: where the guest unmasks overflow or underflow, and one of them comes, MXCSR.PE is as it would be masked.
 * Threads: owner's only. Spec: SDM vol. 1, 15; vol. 2, 2.7 and 2.8. */
#include "cpu/engine.h"
#include "cpu/exec_vector.h"
#include "cpu/translate/host_run.h"

static void check_available(struct cpu *cpu, const struct insn *in)
{
    uint64_t features[4];
    const struct cpu_state *s = &cpu->state;
    if (!(s->cr0 & CR0_PE) || s->rflags & FLAG_VM || !(s->cr4 & CR4_OSXSAVE) || (s->xcr0 & XCR0_AVX512) != XCR0_AVX512 || !cpu->host_runner)
        cpu_raise(cpu, EXC_UD);
    host_run_features(cpu, features);
    if (!(features[in->feature / 64] >> in->feature % 64 & 1)) /* whatever CPUID says: the host must know it */
        cpu_raise(cpu, EXC_UD);
    if (s->cr0 & CR0_TS)
        cpu_raise(cpu, EXC_NM);
}

/* ---- registers */

static void zmm_get(const struct cpu *cpu, unsigned reg, uint8_t out[64])
{
    const struct cpu_state *s = &cpu->state;
    if (reg >= 16) {
        memcpy(out, s->zmm16[reg - 16], 64);
        return;
    }
    memcpy(out, &s->vec[reg], 32);
    memcpy(out + 32, s->zmm_high[reg], 32);
}

static void zmm_put(struct cpu *cpu, unsigned reg, const uint8_t in[64])
{
    struct cpu_state *s = &cpu->state;
    if (reg >= 16) {
        memcpy(s->zmm16[reg - 16], in, 64);
        return;
    }
    memcpy(&s->vec[reg], in, 32);
    memcpy(s->zmm_high[reg], in + 32, 32);
}

/* ---- memory */

/* One memory operand under its mask. whole: faults and loads are as for all of its `size` bytes; all: so is the store. */
struct access { uint64_t offset, mask; unsigned size, element, count; bool whole, all, masked, unchecked; };

static uint64_t low_mask(unsigned bits) { return bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1; }

/* The elements of a `count` that are wanted for a destination of `wide`. */
static uint64_t fold(uint64_t mask, unsigned wide, unsigned count)
{
    uint64_t all = 0;
    for (unsigned i = 0; i < wide; i += count)
        all |= mask >> i;
    return all;
}

/* VCVTPH2PS, VCVTPS2PH: exception class 11 */
static bool converts_halves(const struct insn *in)
{
    return (in->payload[1] & 3) == 1 && ((in->map == 2 && in->opcode == 0x13) || (in->map == 3 && in->opcode == 0x1d));
}

static struct access access_of(const struct cpu *cpu, const struct insn *in, unsigned size)
{
    unsigned k = in->prefix & PFX_EVEX ? evex_mask_register(in->payload) : 0;
    struct access a = { .offset = operand_offset(cpu, in), .size = size, .element = in->element, .count = in->elements, .whole = true, .all = true };
    if (!in->element)
        return a;
    uint64_t all = low_mask(in->elements), mask = k ? cpu->state.k[k] : UINT64_MAX;
    if (in->access & ACCESS_ANY)
        mask = fold(mask, in->vl / in->element, in->elements);
    a.mask = mask & all;
    a.masked = k && !(in->access & ACCESS_WHOLE);
    a.unchecked = in->access & ACCESS_PACKED || converts_halves(in);
    if (in->access & ACCESS_PACKED)
        a.size = (unsigned)__builtin_popcountll(a.mask) * a.element;
    else if (evex_b(in->payload) && !(in->access & ACCESS_WHOLE))
        a.size = a.mask ? size : 0;
    else
        a.all = a.mask == all;
    a.whole = a.all || in->access & ACCESS_WHOLE;
    return a;
}

/* Operands of up to 8 bytes are checked for alignment where that is asked for (CR0.AM); longer ones, elements, and some instructions' never are. */
static bool is_checked(const struct access *a) { return a->whole && a->size <= 8 && !a->unchecked; }

static unsigned rights_of(const struct cpu *cpu, const struct access *a) { return is_checked(a) ? cpu->rights : cpu_rights_unaligned(cpu); }

static uint64_t whole_linear(struct cpu *cpu, const struct insn *in, const struct access *a, uint32_t access)
{
    unsigned align = in->access & ACCESS_ALIGNED ? in->vl : 1;
    return operand_linear_aligned(cpu, in, a->size, align, access | (is_checked(a) && !a->masked ? 0 : MEM_UNALIGNED));
}

/* Offsets go on from the first one's, beyond the address size too, as the bytes of one operand do. */
static uint64_t element_linear(struct cpu *cpu, const struct insn *in, const struct access *a, unsigned i, uint32_t access)
{
    return cpu_linear(cpu, in->seg, a->offset + i * a->element, a->element, access | MEM_UNALIGNED);
}

/* With some elements masked away, a move that wants its operand aligned wants it all the same; with all, it goes nowhere. */
static void check_alignment(struct cpu *cpu, const struct insn *in, const struct access *a)
{
    for (unsigned i = 0; i < a->count && a->size <= 8; i++) /* what is not canonical comes first */
        if (a->mask >> i & 1)
            element_linear(cpu, in, a, i, MEM_R);
    if (a->mask && a->size <= 8 && !a->unchecked)
        cpu_check_alignment(cpu, cpu_linear(cpu, in->seg, a->offset, 1, 0), a->size);
    if (a->mask && in->access & ACCESS_ALIGNED && (a->offset + cpu->state.seg[in->seg].base) & (in->vl - 1u))
        cpu_raise_error(cpu, EXC_GP, 0);
}

static bool is_value(unsigned size) { return size <= 8 && !(size & (size - 1)); }

static void load(struct cpu *cpu, const struct insn *in, const struct access *a, uint8_t *out)
{
    unsigned rights = rights_of(cpu, a);
    uint64_t value;
    memset(out, 0, 64);
    if (a->whole && a->size && is_value(a->size)) {
        value = cpu_load_slow(cpu, rights, whole_linear(cpu, in, a, MEM_R), a->size);
        memcpy(out, &value, a->size);
    } else if (a->whole && a->size) {
        cpu_load_bytes_slow(cpu, rights, whole_linear(cpu, in, a, MEM_R), out, a->size);
    }
    if (a->whole)
        return;
    check_alignment(cpu, in, a);
    for (unsigned i = 0; i < a->count; i++) {
        if (!(a->mask >> i & 1))
            continue;
        value = cpu_load_slow(cpu, rights, element_linear(cpu, in, a, i, MEM_R), a->element);
        memcpy(out + i * a->element, &value, a->element);
    }
}

/* Faults as the store will. */
static void probe(struct cpu *cpu, const struct insn *in, const struct access *a)
{
    unsigned rights = rights_of(cpu, a);
    if (a->whole && a->size) {
        uint64_t linear = whole_linear(cpu, in, a, MEM_W);
        if (is_checked(a))
            cpu_check_alignment(cpu, linear, is_value(a->size) ? a->size : 1);
        cpu_probe(cpu, rights, linear, a->size, MEM_W);
    }
    if (a->whole)
        return;
    check_alignment(cpu, in, a);
    for (unsigned i = 0; i < a->count; i++)
        if (a->mask >> i & 1)
            cpu_probe(cpu, rights, element_linear(cpu, in, a, i, MEM_W), a->element, MEM_W);
}

static void store(struct cpu *cpu, const struct insn *in, const struct access *a, const uint8_t *data)
{
    unsigned rights = cpu_rights_unaligned(cpu);
    if (a->all && a->size)
        cpu_store_bytes_slow(cpu, rights, whole_linear(cpu, in, a, MEM_W), data, a->size);
    for (unsigned i = 0; i < a->count && !a->all; i++) {
        uint64_t value = 0;
        memcpy(&value, data + i * a->element, a->element);
        if (a->mask >> i & 1)
            cpu_store_slow(cpu, rights, element_linear(cpu, in, a, i, MEM_W), value, a->element);
    }
}

/* ---- exceptions */

/* VSCALEF: exact as long as the exponent may be any, so only a masked overflow or underflow is imprecise. */
static bool is_scale(const struct insn *in) { return in->map == 2 && (in->opcode == 0x2c || in->opcode == 0x2d); }

/* VCVTPS2PH, which never flushes to zero: what it raises by the software's conversion. */
static bool is_to_halves(const struct insn *in) { return in->map == 3 && converts_halves(in); }

static uint32_t to_halves_raises(const struct cpu *cpu, const struct insn *in, const struct host_frame *f)
{
    struct fp_env env = fp_env_from_mxcsr(cpu->state.mxcsr);
    unsigned k = evex_mask_register(in->payload), imm = (unsigned)in->imm;
    uint64_t mask = k ? cpu->state.k[k] : UINT64_MAX;
    env.flags = 0;
    for (unsigned i = 0; i < in->vl / 4u; i++)
        if (mask >> i & 1)
            f32_to_f16(&env, load_le32(f->vec[1] + 4 * i), imm & 4 ? env.rounding : imm & 3);
    return env.flags;
}

/* Runs with all exceptions masked, and answers which were raised. Where the guest unmasks underflow a tiny result is one even if it is exact, which flushing to
 * zero shows (SDM vol. 1, 10.2.3.3 and 11.5.2.5). */
static uint32_t run(struct cpu *cpu, const struct insn *in, struct host_frame *f)
{
    enum { FLAGS = 0x3f, MASKS = 0x1f80, UNDERFLOW_MASK = 1 << 11, FLUSH = 1 << 15 };
    uint32_t mxcsr = (cpu->state.mxcsr & ~(uint32_t)FLAGS) | MASKS, raised = 0;
    bool suppressed = evex_b(in->payload) && !in->has_mem; /* by SAE: as if all were masked */
    if (!(cpu->state.mxcsr & UNDERFLOW_MASK) && !suppressed && is_to_halves(in)) {
        raised = to_halves_raises(cpu, in, f) & FP_UE;
    } else if (!(cpu->state.mxcsr & UNDERFLOW_MASK) && !suppressed) {
        struct host_frame tiny = *f;
        tiny.mxcsr = mxcsr | FLUSH;
        host_run(cpu, in, &tiny);
        raised = tiny.mxcsr & FP_UE;
        if (raised)
            mxcsr &= ~(uint32_t)FLUSH;
    }
    f->mxcsr = mxcsr;
    host_run(cpu, in, f);
    raised |= f->mxcsr & FLAGS;
    uint32_t masked = raised & cpu->state.mxcsr >> 7;
    if (is_scale(in) && raised & ~masked & (FP_OE | FP_UE) && !(masked & (FP_OE | FP_UE)))
        raised &= ~(uint32_t)FP_PE;
    return raised;
}

static void finish(struct cpu *cpu, uint32_t raised)
{
    struct fp_env env = fp_env_from_mxcsr(cpu->state.mxcsr);
    env.flags = (uint8_t)raised;
    vector_finish_float(cpu, &env);
}

/* ---- gathers and scatters */

/* Vector memory operands: the index's bytes, and how many elements there are. */
struct vsib { unsigned index_size, count; };

static struct vsib vsib_of(const struct insn *in)
{
    unsigned index_size = in->opcode & 1 ? 8 : 4; /* 90 to 93, A0 to A3 */
    return (struct vsib){ index_size, in->vl / (index_size > in->element ? index_size : in->element) };
}

static uint64_t vsib_linear(struct cpu *cpu, const struct insn *in, const uint8_t *index, unsigned i, unsigned index_size, uint32_t access)
{
    int64_t value = index_size == 4 ? (int32_t)load_le32(index + 4 * i) : (int64_t)load_le64(index + 8 * i);
    uint64_t offset = operand_truncate(operand_offset(cpu, in) + ((uint64_t)value << in->scale), in->asize);
    return cpu_linear(cpu, in->seg, offset, in->element, access | MEM_UNALIGNED);
}

static void gather_or_scatter(struct cpu *cpu, const struct insn *in)
{
    struct vsib v = vsib_of(in);
    bool scatter = in->opnd[0].kind == OPND_MEM;
    unsigned reg = in->opnd[scatter].reg, rights = cpu_rights_unaligned(cpu);
    uint64_t *mask = &cpu->state.k[evex_mask_register(in->payload)];
    uint8_t index[64], data[64];
    zmm_get(cpu, in->index, index);
    zmm_get(cpu, reg, data);
    for (unsigned i = 0; i < v.count; i++) {
        uint64_t value = 0;
        if (!(*mask >> i & 1))
            continue;
        uint64_t linear = vsib_linear(cpu, in, index, i, v.index_size, scatter ? MEM_W : MEM_R);
        if (scatter) {
            memcpy(&value, data + i * in->element, in->element);
            cpu_store_slow(cpu, rights, linear, value, in->element);
        } else {
            value = cpu_load_slow(cpu, rights, linear, in->element);
            memcpy(data + i * in->element, &value, in->element);
            memset(data + in->vl, 0, 64u - in->vl);
            zmm_put(cpu, reg, data);
        }
        *mask &= ~(UINT64_C(1) << i);
        cpu_exit_commit(cpu);
    }
    *mask = 0;
    if (!scatter) {
        memset(data + v.count * in->element, 0, 64 - v.count * in->element);
        zmm_put(cpu, reg, data);
    }
}

/* ---- all others */

static unsigned memory_operand(const struct insn *in)
{
    unsigned i = 0;
    while (i < in->nopnd && in->opnd[i].kind != OPND_MEM)
        i++;
    return i;
}

static void get_operands(const struct cpu *cpu, const struct insn *in, struct host_frame *f)
{
    memcpy(f->mask, cpu->state.k, sizeof f->mask);
    f->gpr = 0;
    for (unsigned i = 0; i < in->nopnd; i++) {
        const struct insn_opnd *o = &in->opnd[i];
        if (o->kind == OPND_XMM)
            zmm_get(cpu, o->reg, f->vec[i]);
        else if (o->kind == OPND_GPR)
            f->gpr = cpu->state.gpr[o->reg & 15];
    }
}

static void put_operands(struct cpu *cpu, const struct insn *in, const struct host_frame *f)
{
    const struct insn_opnd *o = &in->opnd[0];
    if (insn_op_flags(in->op) & OPF_WRITES_FLAGS) {
        cpu_flags_set_arith(cpu, (uint32_t)f->flags & FLAGS_ARITH);
        return;
    }
    if (o->kind == OPND_XMM)
        zmm_put(cpu, o->reg, f->vec[0]);
    else if (o->kind == OPND_GPR)
        cpu->state.gpr[o->reg & 15] = f->gpr;
    else if (o->kind == OPND_MASK)
        memcpy(cpu->state.k, f->mask, sizeof f->mask);
}

void exec_evex(struct cpu *cpu, const struct insn *in)
{
    struct host_frame f;
    struct access a = { 0 };
    unsigned at = memory_operand(in);

    check_available(cpu, in);
    if (in->vsib) {
        gather_or_scatter(cpu, in);
        return;
    }
    get_operands(cpu, in, &f);
    if (at < in->nopnd) {
        a = access_of(cpu, in, in->opnd[at].size);
        if (at)
            load(cpu, in, &a, f.memory);
        else
            probe(cpu, in, &a);
    }
    finish(cpu, run(cpu, in, &f));
    if (!at)
        store(cpu, in, &a, f.memory);
    put_operands(cpu, in, &f);
}
