/* SPDX-License-Identifier: MIT */
/* exec_xsave.c - FXSAVE, FXRSTOR, XSAVE, XSAVEOPT, XSAVEC, XSAVES, XRSTOR, XRSTORS.
 *
 * What the guest sees: components x87, SSE, AVX, AVX-512's three and PKRU; the init optimisation, not the modified optimisation (XSAVEOPT and XSAVES may always write what is in
 * use). Nothing of the image is trusted: reserved bits of header and MXCSR are checked before any state changes, and all memory is read, or probed for
 * writing, first. Threads: owner's only. Spec: SDM vol. 1, 10.5 and chapter 13. */
#include "cpu/xsave.h"
#include "cpu/cpuid.h"
#include "cpu/decode.h"
#include "cpu/exec_vector.h"
#include "cpu/x87.h"

#define MXCSR_MASK    0xffffu
#define MXCSR_INITIAL 0x1f80u
#define XCOMP_COMPACT BIT(63)

enum { FX_MXCSR = 24, FX_XMM = 160, FX_SIZE = 416 };

/* Extended components, in the order of their numbers; offsets in the standard format. */
struct component { uint16_t bit /* of XCR0 */, offset, size; };
static const struct component components[] = {
    { XCR0_AVX, XSAVE_AVX_OFFSET, XSAVE_AVX_SIZE }, { XCR0_OPMASK, XSAVE_OPMASK_OFFSET, XSAVE_OPMASK_SIZE },
    { XCR0_ZMM_HIGH, XSAVE_ZMM_HIGH_OFFSET, XSAVE_ZMM_HIGH_SIZE }, { XCR0_ZMM16, XSAVE_ZMM16_OFFSET, XSAVE_ZMM16_SIZE },
    { XCR0_PKRU, XSAVE_PKRU_BEHIND_ZMM, XSAVE_PKRU_SIZE },
};
#define FOR_EACH_COMPONENT(c, mask) \
    for (const struct component *c = components; c < components + ARRAY_LEN(components); c++) \
        if ((mask) & c->bit)

static uint32_t standard_offset(const struct component *c, bool avx512)
{
    return c->bit == XCR0_PKRU && !avx512 ? XSAVE_PKRU_OFFSET : c->offset;
}

uint32_t xsave_standard_size(uint64_t mask, bool avx512)
{
    uint32_t end = XSAVE_EXTENDED;

    FOR_EACH_COMPONENT(c, mask)
        end = standard_offset(c, avx512) + c->size; /* the last is behind all others */
    return end;
}

uint32_t xsave_compacted_size(uint64_t mask)
{
    uint32_t end = XSAVE_EXTENDED;

    FOR_EACH_COMPONENT(c, mask)
        end += c->size;
    return end;
}

/* Offset of the component in an area of this format. */
static unsigned component_offset(const struct cpu *cpu, const struct component *c, bool compacted, uint64_t present)
{
    return compacted ? xsave_compacted_size(present & (c->bit - 1u)) : standard_offset(c, cpu_has(cpu, FEATURE_AVX512F));
}

/* In 64-bit mode 16 vector registers take part, else 8. */
static unsigned register_count(const struct cpu *cpu) { return cpu->mode == CPU_MODE_64 ? 16 : 8; }

static uint64_t or_of(const uint64_t *q, unsigned count)
{
    uint64_t all = 0;

    for (unsigned i = 0; i < count; i++)
        all |= q[i];
    return all;
}

static uint64_t zmm_in_use(const struct cpu *cpu)
{
    const struct cpu_state *s = &cpu->state;

    return (or_of(s->k, 8) ? XCR0_OPMASK : 0) | (or_of(s->zmm_high[0], 4 * register_count(cpu)) ? XCR0_ZMM_HIGH : 0) |
        (cpu->mode == CPU_MODE_64 && or_of(s->zmm16[0], 8 * 16) ? XCR0_ZMM16 : 0);
}

uint64_t xsave_in_use(const struct cpu *cpu)
{
    uint64_t low = 0, high = 0, zmm = cpu->state.xcr0 & XCR0_ZMM ? zmm_in_use(cpu) : 0;

    for (unsigned i = 0; i < register_count(cpu); i++) {
        low |= cpu->state.vec[i].q[0] | cpu->state.vec[i].q[1];
        high |= cpu->state.vec[i].q[2] | cpu->state.vec[i].q[3];
    }
    return (x87_is_initial(&cpu->state.x87) ? 0 : XCR0_X87) | (low ? XCR0_SSE : 0) | (high ? XCR0_AVX : 0) | zmm | (cpu->state.pkru ? XCR0_PKRU : 0);
}

static bool is_wide(const struct cpu *cpu, const struct insn *in) { return in->prefix & PFX_REX_W && cpu->mode == CPU_MODE_64; }

/* ---- parts of the area */

static void put_mxcsr(const struct cpu *cpu, uint8_t *area)
{
    store_le32(area + FX_MXCSR, cpu->state.mxcsr);
    store_le32(area + FX_MXCSR + 4, MXCSR_MASK);
}

static void put_xmm(const struct cpu *cpu, uint8_t *area)
{
    for (unsigned i = 0; i < register_count(cpu); i++)
        memcpy(area + FX_XMM + 16 * i, &cpu->state.vec[i], 16);
}

static void get_xmm(struct cpu *cpu, const uint8_t *area)
{
    for (unsigned i = 0; i < register_count(cpu); i++)
        memcpy(&cpu->state.vec[i], area + FX_XMM + 16 * i, 16);
}

unsigned xsave_put(const struct cpu *cpu, uint64_t component, uint8_t *p)
{
    const struct cpu_state *s = &cpu->state;

    switch (component) {
    case XCR0_AVX:
        for (unsigned i = 0; i < register_count(cpu); i++)
            memcpy(p + 16 * i, &s->vec[i].q[2], 16);
        return 16 * register_count(cpu);
    case XCR0_OPMASK:
        memcpy(p, s->k, sizeof s->k);
        return sizeof s->k;
    case XCR0_ZMM_HIGH:
        memcpy(p, s->zmm_high, 32 * register_count(cpu));
        return 32 * register_count(cpu);
    case XCR0_ZMM16:
        memcpy(p, s->zmm16, sizeof s->zmm16);
        return cpu->mode == CPU_MODE_64 ? sizeof s->zmm16 : 0;
    default:
        store_le64(p, s->pkru);
        return XSAVE_PKRU_SIZE;
    }
}

unsigned xsave_size(const struct cpu *cpu, uint64_t component)
{
    switch (component) {
    case XCR0_AVX:      return 16 * register_count(cpu);
    case XCR0_ZMM_HIGH: return 32 * register_count(cpu);
    case XCR0_ZMM16:    return cpu->mode == CPU_MODE_64 ? XSAVE_ZMM16_SIZE : 0;
    default:            return component == XCR0_OPMASK ? XSAVE_OPMASK_SIZE : XSAVE_PKRU_SIZE;
    }
}

void xsave_get(struct cpu *cpu, uint64_t component, const uint8_t *p)
{
    static const uint8_t initial[XSAVE_ZMM16_SIZE];
    struct cpu_state *s = &cpu->state;

    p = p ? p : initial;
    switch (component) {
    case XCR0_AVX:
        for (unsigned i = 0; i < register_count(cpu); i++)
            memcpy(&s->vec[i].q[2], p + 16 * i, 16);
        break;
    case XCR0_OPMASK:   memcpy(s->k, p, sizeof s->k); break;
    case XCR0_ZMM_HIGH: memcpy(s->zmm_high, p, xsave_size(cpu, component)); break;
    case XCR0_ZMM16:    memcpy(s->zmm16, p, xsave_size(cpu, component)); break;
    default:            cpu_set_pkru(cpu, load_le32(p)); break;
    }
}

static void check_mxcsr(struct cpu *cpu, const uint8_t *area)
{
    if (load_le32(area + FX_MXCSR) & ~MXCSR_MASK)
        cpu_raise_error(cpu, EXC_GP, 0);
}

/* ---- FXSAVE and FXRSTOR. Without CR4.OSFXSR they leave the XMM registers out. */

static uint64_t area_linear(struct cpu *cpu, const struct insn *in, size_t size, unsigned align, uint32_t access)
{
    cpu_check_alignment(cpu, operand_linear(cpu, in, 1, MEM_R), 4); /* these look at the first byte before anything else */
    return operand_linear_aligned(cpu, in, size, align, access);
}

static uint64_t fxsave_linear(struct cpu *cpu, const struct insn *in, uint32_t access)
{
    if (cpu->state.cr0 & (CR0_EM | CR0_TS))
        cpu_raise(cpu, EXC_NM);
    return area_linear(cpu, in, 512, 16, access);
}

static size_t fxsave_size(const struct cpu *cpu)
{
    return cpu->state.cr4 & CR4_OSFXSR ? FX_XMM + 16 * register_count(cpu) : FX_XMM;
}

static void exec_fxsave(struct cpu *cpu, const struct insn *in)
{
    uint64_t linear = fxsave_linear(cpu, in, MEM_W);
    uint8_t area[FX_SIZE];

    x87_put_fxsave(&cpu->state.x87, area, is_wide(cpu, in));
    put_mxcsr(cpu, area);
    put_xmm(cpu, area);
    cpu_store_bytes(cpu, linear, area, fxsave_size(cpu));
}

static void exec_fxrstor(struct cpu *cpu, const struct insn *in)
{
    uint64_t linear = fxsave_linear(cpu, in, MEM_R);
    uint8_t area[FX_SIZE];

    cpu_load_bytes(cpu, linear, area, fxsave_size(cpu));
    check_mxcsr(cpu, area);
    x87_get_fxsave(&cpu->state.x87, area, is_wide(cpu, in));
    cpu->state.mxcsr = load_le32(area + FX_MXCSR);
    if (cpu->state.cr4 & CR4_OSFXSR)
        get_xmm(cpu, area);
}

/* ---- the XSAVE family */

struct xsave_request {
    uint64_t linear, mask;   /* mask: RFBM, the requested-feature bitmap */
    bool supervisor, compacted, optimised, wide;
};

static struct xsave_request xsave_begin(struct cpu *cpu, const struct insn *in)
{
    struct xsave_request r = { .wide = is_wide(cpu, in) };

    r.supervisor = in->op == OP_XSAVES || in->op == OP_XRSTORS;
    r.compacted = r.supervisor || in->op == OP_XSAVEC;
    r.optimised = r.compacted || in->op == OP_XSAVEOPT;
    if (!(cpu->state.cr4 & CR4_OSXSAVE))
        cpu_raise(cpu, EXC_UD);
    if (cpu->state.cr0 & CR0_TS)
        cpu_raise(cpu, EXC_NM);
    if (r.supervisor && cpu->state.cpl)
        cpu_raise_error(cpu, EXC_GP, 0);
    r.mask = ((cpu->state.gpr[REG_RDX] << 32) | (uint32_t)cpu->state.gpr[REG_RAX]) & (cpu->state.xcr0 | (r.supervisor ? cpu->state.xss : 0));
    r.mask &= XSAVE_COMPONENTS;
    bool store = in->op != OP_XRSTOR && in->op != OP_XRSTORS;
    r.linear = area_linear(cpu, in, XSAVE_LEGACY_SIZE + XSAVE_HEADER_SIZE, 64, store ? MEM_W : MEM_R);
    return r;
}

/* Writes [from, to) of the assembled area. */
static void store_part(struct cpu *cpu, uint64_t linear, const uint8_t *area, unsigned from, unsigned to)
{
    cpu_store_bytes(cpu, linear + from, area + from, to - from);
}

static void exec_xsave_store(struct cpu *cpu, const struct insn *in)
{
    struct xsave_request r = xsave_begin(cpu, in);
    uint64_t in_use = xsave_in_use(cpu) & r.mask, write, header[2] = { 0 };
    unsigned size = r.compacted ? xsave_compacted_size(r.mask) : xsave_standard_size(r.mask, cpu_has(cpu, FEATURE_AVX512F));
    uint8_t area[XSAVE_MAX_SIZE];

    cpu_probe_write(cpu, r.linear, size);
    if (r.compacted && r.mask & XCR0_SSE && cpu->state.mxcsr != MXCSR_INITIAL)
        in_use |= XCR0_SSE; /* compacted formats keep MXCSR with SSE (13.10) */
    header[0] = in_use;
    header[1] = r.mask | XCOMP_COMPACT;
    if (!r.compacted)
        header[0] |= cpu_load64(cpu, r.linear + XSAVE_LEGACY_SIZE) & ~r.mask;
    write = r.optimised ? in_use : r.mask;

    x87_put_fxsave(&cpu->state.x87, area, r.wide);
    put_mxcsr(cpu, area);
    put_xmm(cpu, area);
    if (write & XCR0_X87) {
        store_part(cpu, r.linear, area, 0, FX_MXCSR);
        store_part(cpu, r.linear, area, FX_MXCSR + 8, FX_XMM);
    }
    if (r.compacted ? write & XCR0_SSE : r.mask & (XCR0_SSE | XCR0_AVX))
        store_part(cpu, r.linear, area, FX_MXCSR, FX_MXCSR + 8);
    if (write & XCR0_SSE)
        store_part(cpu, r.linear, area, FX_XMM, FX_XMM + 16 * register_count(cpu));
    FOR_EACH_COMPONENT(c, write) {
        unsigned at = component_offset(cpu, c, r.compacted, r.mask);
        store_part(cpu, r.linear, area, at, at + xsave_put(cpu, c->bit, area + at));
    }
    cpu_store_bytes(cpu, r.linear + XSAVE_LEGACY_SIZE, header, r.compacted ? 16 : 8);
}

/* The header's rules (13.8, 13.12); true when the area is in compacted format. */
static bool check_header(struct cpu *cpu, const struct xsave_request *r, const uint64_t header[8])
{
    uint64_t allowed = cpu->state.xcr0 | (r->supervisor ? cpu->state.xss : 0), reserved = 0;
    bool compacted = header[1] & XCOMP_COMPACT;

    for (unsigned i = compacted ? 2 : 1; i < (compacted ? 8 : 3); i++)
        reserved |= header[i];
    if (compacted)
        reserved |= (header[1] & ~XCOMP_COMPACT & ~allowed) | (header[0] & ~header[1]);
    else
        reserved |= (header[0] & ~allowed) | r->supervisor;
    if (reserved)
        cpu_raise_error(cpu, EXC_GP, 0);
    return compacted;
}

static void restore_components(struct cpu *cpu, const struct xsave_request *r, const uint8_t *area, uint64_t load, uint64_t present, bool compacted)
{
    uint64_t reset = r->mask & ~load;

    if (load & XCR0_X87) {
        x87_get_fxsave(&cpu->state.x87, area, r->wide);
    } else if (reset & XCR0_X87) {
        cpu->state.x87 = (struct cpu_x87){ 0 };
        x87_init(&cpu->state.x87);
    }
    if (load & XCR0_SSE)
        get_xmm(cpu, area);
    for (unsigned i = 0; i < register_count(cpu) && reset & XCR0_SSE; i++)
        cpu->state.vec[i].q[0] = cpu->state.vec[i].q[1] = 0;
    FOR_EACH_COMPONENT(c, r->mask)
        xsave_get(cpu, c->bit, load & c->bit ? area + component_offset(cpu, c, compacted, present) : NULL);
}

static void exec_xsave_restore(struct cpu *cpu, const struct insn *in)
{
    struct xsave_request r = xsave_begin(cpu, in);
    uint8_t area[XSAVE_MAX_SIZE];
    uint64_t header[8];

    cpu_load_bytes(cpu, r.linear + XSAVE_LEGACY_SIZE, header, sizeof header);
    bool compacted = check_header(cpu, &r, header);
    uint64_t load = header[0] & r.mask;
    bool with_mxcsr = compacted ? load & XCR0_SSE : r.mask & (XCR0_SSE | XCR0_AVX);

    cpu_load_bytes(cpu, r.linear, area, FX_XMM + 16 * register_count(cpu));
    FOR_EACH_COMPONENT(c, load) {
        unsigned at = component_offset(cpu, c, compacted, header[1]);
        cpu_load_bytes(cpu, r.linear + at, area + at, xsave_size(cpu, c->bit));
    }
    if (with_mxcsr)
        check_mxcsr(cpu, area);

    restore_components(cpu, &r, area, load, header[1], compacted);
    if (with_mxcsr)
        cpu->state.mxcsr = load_le32(area + FX_MXCSR);
    else if (compacted && r.mask & XCR0_SSE)
        cpu->state.mxcsr = MXCSR_INITIAL;
}

void exec_xsave(struct cpu *cpu, const struct insn *in)
{
    switch (in->op) {
    case OP_FXSAVE:  exec_fxsave(cpu, in); break;
    case OP_FXRSTOR: exec_fxrstor(cpu, in); break;
    case OP_XRSTOR: case OP_XRSTORS: exec_xsave_restore(cpu, in); break;
    case OP_XSAVE: case OP_XSAVEOPT: case OP_XSAVEC: case OP_XSAVES: exec_xsave_store(cpu, in); break;
    default: cpu_raise(cpu, EXC_UD);
    }
}
