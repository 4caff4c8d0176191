/* SPDX-License-Identifier: MIT */
/* handlers_vector.c - handlers of the vector instructions that C libraries and compilers use most: moves, logic, comparison, byte masks, simple arithmetic.
 *
 * u->insn is the instruction, so that every handler can hand over to uop_vector() when anything is not the frequent case: SSE or AVX not enabled, a TLB miss,
 * misalignment, a device. dst and src are register numbers here. Only for 64-bit mode (lower.c). What is computed is the same as in vector_int.c; the generic
 * vector types of gcc and clang make it one or two host instructions.
 * Scalar double arithmetic has a fast path on the host's FPU where IEEE 754 leaves no choice: see float_fast(). */
#include "cpu/handlers.h"
#include "cpu/softfloat.h"

typedef uint8_t  v_b  __attribute__((vector_size(16), may_alias, aligned(1)));
typedef uint16_t v_w  __attribute__((vector_size(16), may_alias, aligned(1)));
typedef uint32_t v_d  __attribute__((vector_size(16), may_alias, aligned(1)));
typedef uint64_t v_q  __attribute__((vector_size(16), may_alias, aligned(1)));
typedef int8_t   v_sb __attribute__((vector_size(16), may_alias, aligned(1)));
typedef int16_t  v_sw __attribute__((vector_size(16), may_alias, aligned(1)));
typedef int32_t  v_sd __attribute__((vector_size(16), may_alias, aligned(1)));

#define VEC(n) (&cpu->state.vec[n])
#define LOW(n)  (*(v_q *)&cpu->state.vec[n].q[0])
#define HIGH(n) (*(v_q *)&cpu->state.vec[n].q[2])

/* What vector_check() asks for. With AVX-512 enabled VEX forms clear the upper halves of ZMM registers too, which exec_vector() does. */
#define SSE_READY (likely(!(cpu->state.cr0 & (CR0_EM | CR0_TS)) && (cpu->state.cr4 & CR4_OSFXSR)))
#define AVX_READY (likely(!(cpu->state.cr0 & CR0_TS) && (cpu->state.cr4 & CR4_OSXSAVE) && \
                          (cpu->state.xcr0 & XCR0_AVX512) == (XCR0_SSE | XCR0_AVX)))
#define UNLESS(condition) if (!(condition)) return uop_vector(cpu, u)

/* Declares name_at, name_entry and name_host for an access of `bits` through the TLB. */
#define ACCESS(name, bits, tag)                                                     \
    uint64_t name##_at = uop_linear(cpu, u, ADDRESS_ANY);                           \
    const struct tlb_entry *name##_entry = cpu_tlb_entry(cpu, name##_at);           \
    UNLESS(TLB_HIT(name##_entry, tag, name##_at, bits));                            \
    uintptr_t name##_host = (uintptr_t)(name##_at + name##_entry->addend)

/* ---- element-wise operations on two sources --------------------------------------------------------------------------------------------------------- */

#define SELECT(mask, x, y) (((mask) & (x)) | (~(mask) & (y)))

#define OPERATIONS(X)                                                                                                                        \
    X(PXOR, pxor, x ^ y) X(POR, por, x | y) X(PAND, pand, x & y) X(PANDN, pandn, ~x & y)                                                     \
    X(PADDB, paddb, (v_b)x + (v_b)y) X(PADDW, paddw, (v_w)x + (v_w)y) X(PADDD, paddd, (v_d)x + (v_d)y) X(PADDQ, paddq, x + y)                \
    X(PSUBB, psubb, (v_b)x - (v_b)y) X(PSUBW, psubw, (v_w)x - (v_w)y) X(PSUBD, psubd, (v_d)x - (v_d)y) X(PSUBQ, psubq, x - y)                \
    X(PCMPEQB, pcmpeqb, (v_b)x == (v_b)y) X(PCMPEQW, pcmpeqw, (v_w)x == (v_w)y) X(PCMPEQD, pcmpeqd, (v_d)x == (v_d)y)                        \
    X(PCMPGTB, pcmpgtb, (v_sb)x > (v_sb)y) X(PCMPGTW, pcmpgtw, (v_sw)x > (v_sw)y) X(PCMPGTD, pcmpgtd, (v_sd)x > (v_sd)y)                     \
    X(PMINUB, pminub, SELECT((v_b)((v_b)x < (v_b)y), (v_b)x, (v_b)y)) X(PMAXUB, pmaxub, SELECT((v_b)((v_b)x > (v_b)y), (v_b)x, (v_b)y))      \
    X(PMULLW, pmullw, (v_w)x * (v_w)y)                                                                                                       \
    X(PUNPCKLQDQ, punpcklqdq, ((v_q){ x[0], y[0] })) X(PUNPCKHQDQ, punpckhqdq, ((v_q){ x[1], y[1] }))

/* The same bits under other names. */
#define ALIASES(X) X(XORPS, pxor) X(XORPD, pxor) X(ORPS, por) X(ORPD, por) X(ANDPS, pand) X(ANDPD, pand) X(ANDNPS, pandn) X(ANDNPD, pandn)       \
    X(UNPCKLPD, punpcklqdq) X(UNPCKHPD, punpckhqdq) X(MOVLHPS, punpcklqdq)

#define DEFINE_OPERATION(OP_NAME, name, expression)                                                                                          \
    ALWAYS_INLINE v_q name##_of(v_q x, v_q y) { return (v_q)(expression); }                                                                  \
    static void name##_rr(struct cpu *cpu, const struct uop *u)                                                                              \
    {                                                                                                                                        \
        UNLESS(SSE_READY);                                                                                                                   \
        LOW(u->dst) = name##_of(LOW(u->dst), LOW(u->src));                                                                                   \
        NEXT;                                                                                                                                \
    }                                                                                                                                        \
    static void name##_rm(struct cpu *cpu, const struct uop *u)                                                                              \
    {                                                                                                                                        \
        UNLESS(SSE_READY);                                                                                                                   \
        ACCESS(m, 128, read_tag);                                                                                                            \
        UNLESS(!(m_at & 15));                                                                                                                \
        LOW(u->dst) = name##_of(LOW(u->dst), *(const v_q *)m_host);                                                                          \
        NEXT;                                                                                                                                \
    }                                                                                                                                        \
    static void name##_vr(struct cpu *cpu, const struct uop *u)                                                                              \
    {                                                                                                                                        \
        unsigned first = u->insn->opnd[1].reg;                                                                                               \
        UNLESS(AVX_READY);                                                                                                                   \
        LOW(u->dst) = name##_of(LOW(first), LOW(u->src));                                                                                    \
        HIGH(u->dst) = (v_q){ 0 };                                                                                                           \
        NEXT;                                                                                                                                \
    }                                                                                                                                        \
    static void name##_vm(struct cpu *cpu, const struct uop *u)                                                                              \
    {                                                                                                                                        \
        unsigned first = u->insn->opnd[1].reg;                                                                                               \
        UNLESS(AVX_READY);                                                                                                                   \
        ACCESS(m, 128, read_tag);                                                                                                            \
        LOW(u->dst) = name##_of(LOW(first), *(const v_q *)m_host);                                                                           \
        HIGH(u->dst) = (v_q){ 0 };                                                                                                           \
        NEXT;                                                                                                                                \
    }                                                                                                                                        \
    static void name##_yr(struct cpu *cpu, const struct uop *u)                                                                              \
    {                                                                                                                                        \
        unsigned first = u->insn->opnd[1].reg;                                                                                               \
        UNLESS(AVX_READY);                                                                                                                   \
        v_q low = name##_of(LOW(first), LOW(u->src));                                                                                        \
        HIGH(u->dst) = name##_of(HIGH(first), HIGH(u->src));                                                                                 \
        LOW(u->dst) = low;                                                                                                                   \
        NEXT;                                                                                                                                \
    }                                                                                                                                        \
    static void name##_ym(struct cpu *cpu, const struct uop *u)                                                                              \
    {                                                                                                                                        \
        unsigned first = u->insn->opnd[1].reg;                                                                                               \
        UNLESS(AVX_READY);                                                                                                                   \
        ACCESS(m, 256, read_tag);                                                                                                            \
        v_q low = name##_of(LOW(first), ((const v_q *)m_host)[0]);                                                                           \
        HIGH(u->dst) = name##_of(HIGH(first), ((const v_q *)m_host)[1]);                                                                     \
        LOW(u->dst) = low;                                                                                                                   \
        NEXT;                                                                                                                                \
    }
OPERATIONS(DEFINE_OPERATION)

/* [legacy, VEX.128, VEX.256][register, memory] */
struct two_handlers { uop_fn *fn[3][2]; };

static const struct two_handlers two_handlers[OP_COUNT] = {
#define TWO_ROW(OP_NAME, name, ...) [OP_##OP_NAME] = { { { name##_rr, name##_rm }, { name##_vr, name##_vm }, { name##_yr, name##_ym } } },
    OPERATIONS(TWO_ROW) ALIASES(TWO_ROW)
};

/* ---- moves of whole registers ------------------------------------------------------------------------------------------------------------------------- */

#define MOVES(X) X(legacy, SSE_READY, 128) X(vex, AVX_READY, 128) X(wide, AVX_READY, 256)

/* `unused` for the legacy and 128-bit forms: the upper half stays, or becomes zero. */
#define SET_UPPER_legacy(value) ((void)0)
#define SET_UPPER_vex(value)    (HIGH(u->dst) = (v_q){ 0 })
#define SET_UPPER_wide(value)   (HIGH(u->dst) = (value))

#define DEFINE_MOVE(form, ready, bits)                                                          \
    static void form##_copy(struct cpu *cpu, const struct uop *u)                               \
    {                                                                                           \
        UNLESS(ready);                                                                          \
        LOW(u->dst) = LOW(u->src);                                                              \
        SET_UPPER_##form(HIGH(u->src));                                                         \
        NEXT;                                                                                   \
    }                                                                                           \
    static void form##_load(struct cpu *cpu, const struct uop *u)                               \
    {                                                                                           \
        UNLESS(ready);                                                                          \
        ACCESS(m, bits, read_tag);                                                              \
        LOW(u->dst) = ((const v_q *)m_host)[0];                                                 \
        SET_UPPER_##form(((const v_q *)m_host)[1]);                                             \
        NEXT;                                                                                   \
    }                                                                                           \
    static void form##_load_aligned(struct cpu *cpu, const struct uop *u)                       \
    {                                                                                           \
        UNLESS(ready);                                                                          \
        ACCESS(m, bits, read_tag);                                                              \
        UNLESS(!(m_at & (bits / 8 - 1)));                                                       \
        LOW(u->dst) = ((const v_q *)m_host)[0];                                                 \
        SET_UPPER_##form(((const v_q *)m_host)[1]);                                             \
        NEXT;                                                                                   \
    }                                                                                           \
    static void form##_store(struct cpu *cpu, const struct uop *u)                              \
    {                                                                                           \
        UNLESS(ready);                                                                          \
        ACCESS(m, bits, write_tag);                                                             \
        memcpy((void *)m_host, VEC(u->src), bits / 8);                                          \
        UOP_STORE_END(m, bits);                                                                 \
        NEXT;                                                                                   \
    }                                                                                           \
    static void form##_store_aligned(struct cpu *cpu, const struct uop *u)                      \
    {                                                                                           \
        UNLESS(ready);                                                                          \
        ACCESS(m, bits, write_tag);                                                             \
        UNLESS(!(m_at & (bits / 8 - 1)));                                                       \
        memcpy((void *)m_host, VEC(u->src), bits / 8);                                          \
        UOP_STORE_END(m, bits);                                                                 \
        NEXT;                                                                                   \
    }
MOVES(DEFINE_MOVE)

enum move_shape { SHAPE_COPY, SHAPE_LOAD, SHAPE_LOAD_ALIGNED, SHAPE_STORE, SHAPE_STORE_ALIGNED, SHAPES };
static uop_fn *const whole_handlers[3][SHAPES] = {
#define MOVE_NAMES(form, ready, bits) { form##_copy, form##_load, form##_load_aligned, form##_store, form##_store_aligned },
    MOVES(MOVE_NAMES)
};

/* ---- moves of 4 and 8 bytes, legacy forms ------------------------------------------------------------------------------------------------------------- */

#define DEFINE_SMALL(bits, element)                                                             \
    static void small_load##bits(struct cpu *cpu, const struct uop *u)                          \
    {                                                                                           \
        UNLESS(SSE_READY);                                                                      \
        ACCESS(m, bits, read_tag);                                                              \
        LOW(u->dst) = (v_q){ host_read(m_host, bits), 0 };                                      \
        NEXT;                                                                                   \
    }                                                                                           \
    static void small_store##bits(struct cpu *cpu, const struct uop *u)                         \
    {                                                                                           \
        UNLESS(SSE_READY);                                                                      \
        ACCESS(m, bits, write_tag);                                                             \
        host_write(m_host, bits, VEC(u->src)->q[0]);                                            \
        UOP_STORE_END(m, bits);                                                                 \
        NEXT;                                                                                   \
    }                                                                                           \
    static void small_merge##bits(struct cpu *cpu, const struct uop *u)                         \
    {                                                                                           \
        UNLESS(SSE_READY);                                                                      \
        VEC(u->dst)->element[0] = VEC(u->src)->element[0];                                      \
        NEXT;                                                                                   \
    }                                                                                           \
    static void small_from_gpr##bits(struct cpu *cpu, const struct uop *u)                      \
    {                                                                                           \
        UNLESS(SSE_READY);                                                                      \
        LOW(u->dst) = (v_q){ (uint##bits##_t)cpu->state.gpr[u->src], 0 };                       \
        NEXT;                                                                                   \
    }                                                                                           \
    static void vex_load##bits(struct cpu *cpu, const struct uop *u)                            \
    {                                                                                           \
        UNLESS(AVX_READY);                                                                      \
        ACCESS(m, bits, read_tag);                                                              \
        LOW(u->dst) = (v_q){ host_read(m_host, bits), 0 };                                      \
        HIGH(u->dst) = (v_q){ 0 };                                                              \
        NEXT;                                                                                   \
    }                                                                                           \
    static void vex_store##bits(struct cpu *cpu, const struct uop *u)                           \
    {                                                                                           \
        UNLESS(AVX_READY);                                                                      \
        ACCESS(m, bits, write_tag);                                                             \
        host_write(m_host, bits, VEC(u->src)->q[0]);                                            \
        UOP_STORE_END(m, bits);                                                                 \
        NEXT;                                                                                   \
    }                                                                                           \
    static void vex_from_gpr##bits(struct cpu *cpu, const struct uop *u)                        \
    {                                                                                           \
        UNLESS(AVX_READY);                                                                      \
        LOW(u->dst) = (v_q){ (uint##bits##_t)cpu->state.gpr[u->src], 0 };                       \
        HIGH(u->dst) = (v_q){ 0 };                                                              \
        NEXT;                                                                                   \
    }                                                                                           \
    static void small_to_gpr##bits(struct cpu *cpu, const struct uop *u)                        \
    {                                                                                           \
        UNLESS(SSE_READY);                                                                      \
        cpu->state.gpr[u->dst] = VEC(u->src)->element[0];                                       \
        NEXT;                                                                                   \
    }
DEFINE_SMALL(32, d)
DEFINE_SMALL(64, q)

static void small_copy64(struct cpu *cpu, const struct uop *u)
{
    UNLESS(SSE_READY);
    LOW(u->dst) = (v_q){ VEC(u->src)->q[0], 0 };
    NEXT;
}

static void half_load_high(struct cpu *cpu, const struct uop *u)
{
    UNLESS(SSE_READY);
    ACCESS(m, 64, read_tag);
    VEC(u->dst)->q[1] = host_read(m_host, 64);
    NEXT;
}

static void half_load_low(struct cpu *cpu, const struct uop *u)
{
    UNLESS(SSE_READY);
    ACCESS(m, 64, read_tag);
    VEC(u->dst)->q[0] = host_read(m_host, 64);
    NEXT;
}

/* ---- byte masks and shuffles ---------------------------------------------------------------------------------------------------------------------------- */

/* The top bits of eight bytes, the lowest byte's first. */
ALWAYS_INLINE uint32_t sign_mask(uint64_t q) { return (q & UINT64_C(0x8080808080808080)) * UINT64_C(0x0002040810204081) >> 56; }

static void mask_legacy(struct cpu *cpu, const struct uop *u)
{
    const union vec *v = VEC(u->src);
    UNLESS(SSE_READY);
    cpu->state.gpr[u->dst] = sign_mask(v->q[0]) | sign_mask(v->q[1]) << 8;
    NEXT;
}

static void mask_wide(struct cpu *cpu, const struct uop *u)
{
    const union vec *v = VEC(u->src);
    UNLESS(AVX_READY);
    cpu->state.gpr[u->dst] = sign_mask(v->q[0]) | sign_mask(v->q[1]) << 8 | sign_mask(v->q[2]) << 16 | sign_mask(v->q[3]) << 24;
    NEXT;
}

static void mask_vex(struct cpu *cpu, const struct uop *u)
{
    const union vec *v = VEC(u->src);
    UNLESS(AVX_READY);
    cpu->state.gpr[u->dst] = sign_mask(v->q[0]) | sign_mask(v->q[1]) << 8;
    NEXT;
}

/* VPBROADCASTB of a register; u->insn->vl says how far. */
static void broadcast_byte(struct cpu *cpu, const struct uop *u)
{
    UNLESS(AVX_READY);
    v_q all = (v_q){ VEC(u->src)->b[0], VEC(u->src)->b[0] } * UINT64_C(0x0101010101010101);
    LOW(u->dst) = all;
    HIGH(u->dst) = u->insn->vl == 32 ? all : (v_q){ 0 };
    NEXT;
}

static void shuffle_dwords(struct cpu *cpu, const struct uop *u)
{
    unsigned imm = (unsigned)u->insn->imm;
    const uint32_t *s = VEC(u->src)->d;
    UNLESS(SSE_READY);
    LOW(u->dst) = (v_q)(v_d){ s[imm & 3], s[imm >> 2 & 3], s[imm >> 4 & 3], s[imm >> 6 & 3] };
    NEXT;
}

static void clear_upper(struct cpu *cpu, const struct uop *u)
{
    UNLESS(AVX_READY);
    for (unsigned i = 0; i < 16; i++)
        HIGH(i) = (v_q){ 0 };
    NEXT;
}

/* ---- scalar double arithmetic ------------------------------------------------------------------------------------------------------------------------------
 * The host's FPU gives the same bits as softfloat when the guest rounds to nearest, PE is already set and masked, both operands are normal numbers, and the result
 * is one that can neither have overflowed nor be tiny: IEEE 754 then defines everything. (Hosts evaluate double as double, FLT_EVAL_METHOD 0, and run in the default
 * rounding mode.) Otherwise the slow path. */

enum { MXCSR_PLAIN_MASK = 0x6000 | 0x1000 | 0x20, MXCSR_PLAIN = 0x1000 | 0x20 }; /* RC, PM, PE */

ALWAYS_INLINE bool float_fast(const struct cpu *cpu) { return (cpu->state.mxcsr & MXCSR_PLAIN_MASK) == MXCSR_PLAIN; }

/* Exponent between 2^-960 and 2^960 or so: well away from both ends. */
ALWAYS_INLINE bool is_plain(uint64_t v) { return (v >> 52 & 0x7ff) - 64 < 0x7ff - 128; }

ALWAYS_INLINE double as_double(uint64_t v)
{
    double d;
    memcpy(&d, &v, sizeof d);
    return d;
}

#define DEFINE_SCALAR(name, operator)                                                           \
    static void name##_rr(struct cpu *cpu, const struct uop *u)                                 \
    {                                                                                           \
        uint64_t x = VEC(u->dst)->q[0], y = VEC(u->src)->q[0], z;                               \
        double result = as_double(x) operator as_double(y);                                     \
        memcpy(&z, &result, sizeof z);                                                          \
        UNLESS(SSE_READY && float_fast(cpu) && is_plain(x) && is_plain(y) && is_plain(z));      \
        VEC(u->dst)->q[0] = z;                                                                  \
        NEXT;                                                                                   \
    }                                                                                           \
    static void name##_rm(struct cpu *cpu, const struct uop *u)                                 \
    {                                                                                           \
        UNLESS(SSE_READY && float_fast(cpu));                                                   \
        ACCESS(m, 64, read_tag);                                                                \
        uint64_t x = VEC(u->dst)->q[0], y = host_read(m_host, 64), z;                           \
        double result = as_double(x) operator as_double(y);                                     \
        memcpy(&z, &result, sizeof z);                                                          \
        UNLESS(is_plain(x) && is_plain(y) && is_plain(z));                                      \
        VEC(u->dst)->q[0] = z;                                                                  \
        NEXT;                                                                                   \
    }
DEFINE_SCALAR(addsd, +)
DEFINE_SCALAR(subsd, -)
DEFINE_SCALAR(mulsd, *)
DEFINE_SCALAR(divsd, /)

/* ---- choosing ---------------------------------------------------------------------------------------------------------------------------------------------------- */

static bool is_vector(const struct insn_opnd *o) { return o->kind == OPND_XMM; }
static bool is_memory(const struct insn_opnd *o) { return o->kind == OPND_MEM; }

static uop_fn *choose_whole(const struct insn *in, bool aligned)
{
    unsigned form = !(in->prefix & PFX_VEX) ? 0 : in->vl == 16 ? 1 : 2;

    if (is_memory(&in->opnd[0]))
        return whole_handlers[form][aligned ? SHAPE_STORE_ALIGNED : SHAPE_STORE];
    return whole_handlers[form][!is_memory(&in->opnd[1]) ? SHAPE_COPY : aligned ? SHAPE_LOAD_ALIGNED : SHAPE_LOAD];
}

/* Loads, stores and copies of 4 or 8 bytes. */
static uop_fn *choose_small(const struct insn *in, bool wide, uop_fn *copy)
{
    if (is_memory(&in->opnd[0]))
        return wide ? small_store64 : small_store32;
    return is_memory(&in->opnd[1]) ? (wide ? small_load64 : small_load32) : copy;
}

static uop_fn *choose_gpr(const struct insn *in)
{
    const struct insn_opnd *to = &in->opnd[0], *from = &in->opnd[1];

    if (to->kind == OPND_GPR && is_vector(from))
        return to->size == 8 ? small_to_gpr64 : small_to_gpr32;
    if (from->kind == OPND_GPR && is_vector(to))
        return from->size == 8 ? small_from_gpr64 : small_from_gpr32;
    bool wide = is_memory(to) ? to->size == 8 : from->size == 8;
    return is_vector(to) || is_vector(from) ? choose_small(in, wide, NULL) : NULL;
}

static uop_fn *choose_legacy(const struct insn *in)
{
    bool from_memory = is_memory(&in->opnd[1]);

    switch (in->op) {
    case OP_MOVSD: return choose_small(in, true, small_merge64);
    case OP_MOVSS: return choose_small(in, false, small_merge32);
    case OP_MOVQ:  return is_vector(&in->opnd[0]) || is_vector(&in->opnd[1]) ? choose_small(in, true, small_copy64) : NULL;
    case OP_MOVD:  return choose_gpr(in);
    case OP_MOVHPS: case OP_MOVHPD: return from_memory ? half_load_high : NULL;
    case OP_MOVLPS: case OP_MOVLPD: return from_memory ? half_load_low : small_store64;
    case OP_PSHUFD: return from_memory ? NULL : shuffle_dwords;
    case OP_ADDSD: return from_memory ? addsd_rm : addsd_rr;
    case OP_SUBSD: return from_memory ? subsd_rm : subsd_rr;
    case OP_MULSD: return from_memory ? mulsd_rm : mulsd_rr;
    case OP_DIVSD: return from_memory ? divsd_rm : divsd_rr;
    default: return NULL;
    }
}

/* VMOVD, VMOVQ, VMOVSS and VMOVSD with memory, and from general registers. */
static uop_fn *choose_vex(const struct insn *in)
{
    bool wide = in->op == OP_MOVQ || in->op == OP_MOVSD || (in->op == OP_MOVD && in->opnd[is_vector(&in->opnd[0])].size == 8);

    if (in->nopnd != 2 || (in->op != OP_MOVQ && in->op != OP_MOVD && in->op != OP_MOVSD && in->op != OP_MOVSS))
        return NULL;
    if (is_memory(&in->opnd[0]))
        return wide ? vex_store64 : vex_store32;
    if (is_memory(&in->opnd[1]))
        return wide ? vex_load64 : vex_load32;
    return in->opnd[1].kind == OPND_GPR ? (wide ? vex_from_gpr64 : vex_from_gpr32) : NULL;
}

static uop_fn *choose_two(const struct insn *in)
{
    const struct two_handlers *two = &two_handlers[in->op];
    bool vex = in->prefix & PFX_VEX;
    const struct insn_opnd *src = &in->opnd[vex ? 2 : 1];

    if (!is_vector(&in->opnd[0]) || in->nopnd != (vex ? 3 : 2))
        return NULL;
    return two->fn[!vex ? 0 : in->vl == 16 ? 1 : 2][is_memory(src)];
}

uop_fn *vector_handler(const struct insn *in)
{
    switch (in->op) {
    case OP_MOVUPS: case OP_MOVUPD: case OP_MOVDQU: case OP_LDDQU: return choose_whole(in, false);
    case OP_MOVAPS: case OP_MOVAPD: case OP_MOVDQA: case OP_MOVNTPS: case OP_MOVNTPD: case OP_MOVNTDQ: case OP_MOVNTDQA: return choose_whole(in, true);
    case OP_PMOVMSKB: return !is_vector(&in->opnd[1]) ? NULL : in->vl == 32 ? mask_wide : in->prefix & PFX_VEX ? mask_vex : mask_legacy;
    case OP_VPBROADCASTB: return is_vector(&in->opnd[1]) ? broadcast_byte : NULL;
    case OP_VZEROUPPER: return clear_upper;
    default: break;
    }
    if (two_handlers[in->op].fn[0][0])
        return choose_two(in);
    return in->prefix & PFX_VEX ? choose_vex(in) : choose_legacy(in);
}
