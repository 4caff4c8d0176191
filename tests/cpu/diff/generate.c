/* SPDX-License-Identifier: MIT */
/*
 * Random instructions with random state, drawn from the decoder's own tables, so that every row of them comes up.
 *
 * An instruction's registers are set so that its memory operands mostly fall into the data pages, often across a page end, now and then into
 * the read-only page or nowhere. Left out: system calls, and what gives different answers by nature
 * (time, random numbers, CPUID).
 */
#include <stdlib.h>
#include <string.h>

#include "cpu/decode_table.h"
#include "diff.h"

struct candidate {
    const struct decode_row *row;
    uint8_t map, opcode;
    bool vex, evex;
};

enum { CANDIDATES_MAX = 4096 };

/* Memory is filled with lines drawn from many: to draw each anew took more time than the cases themselves. */
struct line { uint8_t bytes[64]; };
enum { LINES = 1 << 14 };

struct generator {
    const struct host *host;
    int mode;
    uint64_t seed;
    struct line lines[LINES];
    unsigned count;
    struct candidate candidates[CANDIDATES_MAX];
};

/* ---- what is drawn from ---- */

static bool op_is_left_out(unsigned op)
{
    switch (op) {
    /* other answers by nature */
    case OP_CPUID: case OP_RDTSC: case OP_RDTSCP: case OP_RDPMC: case OP_RDRAND: case OP_RDSEED: case OP_RDPID: case OP_XGETBV:
    /* the kernel's or the hypervisor's business */
    case OP_SYSCALL: case OP_SYSENTER: case OP_VMCALL: case OP_VMMCALL: case OP_GETSEC:
    case OP_SGDT: case OP_SIDT: case OP_SLDT: case OP_STR: case OP_SMSW: case OP_RDPKRU: case OP_WRPKRU: case OP_MONITOR: case OP_MWAIT:
    /* the kinds of state that XCR0 says are not the same here and there */
    case OP_XSAVE: case OP_XSAVEOPT: case OP_XSAVEC: case OP_XSAVES: case OP_XRSTOR: case OP_XRSTORS:
        return true;
    default:
        return false;
    }
}

static bool row_is_offered(const struct host *host, const struct decode_row *row)
{
    unsigned code = row->evex & EV_FEATURE, feature = code == EVAES ? FEATURE_VAES : code == EVPCLMUL ? FEATURE_VPCLMULQDQ : FEATURE_AVX512F + code;
    return host->avx512 && host->features[feature / 64] >> feature % 64 & 1;
}

static bool row_is_drawn(const struct host *host, const struct decode_row *row, const char *only, bool vex)
{
    if (op_is_left_out(row->op))
        return false;
    if (only && strcmp(only, insn_op_name(row->op)) != 0)
        return false;
    if (row->evex)
        return row_is_offered(host, row);
    enum insn_feature feature = insn_op_feature(row->op);
    bool needs_avx2 = row->cond & (A2 | AI);
    if (feature == FEATURE_VMX || feature == FEATURE_SVM)
        return true; /* #UD on both sides */
    return (feature >= FEATURE_COUNT || host_has(feature)) && (!vex || (host_has(FEATURE_AVX) && (!needs_avx2 || host_has(FEATURE_AVX2))));
}

static void add_map(struct generator *g, const struct decode_row *const *rows, unsigned map, bool vex, bool evex, const char *only)
{
    for (unsigned opcode = 0; opcode < 256; opcode++) {
        for (const struct decode_row *row = rows[opcode]; row && row->op != OP_INVALID; row++) {
            if (row_is_drawn(g->host, row, only, vex) && g->count < CANDIDATES_MAX)
                g->candidates[g->count++] = (struct candidate){ row, (uint8_t)map, (uint8_t)opcode, vex, evex };
        }
    }
}

void generator_free(struct generator *g)
{
    free(g);
}

unsigned generator_rows(const struct generator *g)
{
    return g->count;
}

/* ---- values ---- */

static uint64_t random_integer(struct rng *r)
{
    static const uint64_t interesting[] = {
        0, 1, 2, 3, 4, 7, 8, 0xf, 0x10, 0x1f, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
        0x100000000, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff, 0xfffffffffffffffe, 0xffffffff80000000, 0x0123456789abcdef,
    };
    uint64_t x = rng_next(r);
    switch (rng_below(r, 6)) {
    case 0: case 1: return interesting[rng_below(r, sizeof interesting / sizeof interesting[0])];
    case 2: return x & 0xff;
    case 3: return x >> rng_below(r, 64);
    case 4: return UINT64_C(1) << (x & 63);
    default: return x;
    }
}

static uint32_t random_float32(struct rng *r)
{
    static const uint32_t interesting[] = {
        0, 0x3f800000, 0x40000000, 0x3f000000, 0x7f800000, 0x7fc00000, 0x7f800001, 0x7fffffff, 0x00000001, 0x007fffff, 0x00800000, 0x7f7fffff,
        0x4f000000, 0x5f000000, 0x4effffff, 0x3effffff, 0x3fc00000, 0x4b000000, 0x4b800000, 0x33800000,
    };
    uint32_t x = (uint32_t)rng_next(r);
    switch (rng_below(r, 4)) {
    case 0: return interesting[rng_below(r, sizeof interesting / sizeof interesting[0])] | (x & 0x80000000);
    case 1: return (x & 0x80ffffff) | (0x70 + rng_below(r, 32)) << 23; /* near 1 */
    case 2: return x & 0x807fffff; /* denormal */
    default: return x;
    }
}

static uint64_t random_float64(struct rng *r)
{
    static const uint64_t interesting[] = {
        0, 0x3ff0000000000000, 0x4000000000000000, 0x3fe0000000000000, 0x7ff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001, 1,
        0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff, 0x41e0000000000000, 0x43e0000000000000, 0x41dfffffffc00000, 0x3fdfffffffffffff,
        0x3ff8000000000000, 0x4330000000000000, 0x4340000000000000, 0x3ca0000000000000, 0x36a0000000000000, 0x47efffffe0000000, 0x3810000000000000,
    };
    uint64_t x = rng_next(r);
    switch (rng_below(r, 4)) {
    case 0: return interesting[rng_below(r, sizeof interesting / sizeof interesting[0])] | (x & 0x8000000000000000);
    case 1: return (x & 0x800fffffffffffff) | (uint64_t)(0x3f0 + rng_below(r, 32)) << 52;
    case 2: return x & 0x800fffffffffffff;
    default: return x;
    }
}

static struct f80 random_float80(struct rng *r)
{
    uint64_t x = rng_next(r);
    uint16_t sign = (uint16_t)(x & 0x8000), exponent;
    switch (rng_below(r, 10)) {
    case 0: return (struct f80){ 0, sign };
    case 1: return (struct f80){ UINT64_C(1) << 63, sign | 0x7fff };                         /* infinity */
    case 2: return (struct f80){ rng_next(r) | UINT64_C(1) << 63, sign | 0x7fff };           /* NaN */
    case 3: return (struct f80){ rng_next(r) >> (1 + rng_below(r, 63)), sign };              /* denormal */
    case 4: return (struct f80){ rng_next(r), (uint16_t)(sign | (x >> 20 & 0x7fff)) };       /* anything: unnormal, pseudo-NaN ... */
    case 5: return (struct f80){ UINT64_C(1) << 63, sign | 0x3fff };                         /* 1 */
    case 6: exponent = (uint16_t)(0x3fff + rng_below(r, 70)); break;
    case 7: exponent = (uint16_t)rng_below(r, 0x7fff); break;
    default: exponent = (uint16_t)(0x3fe0 + rng_below(r, 64)); break;
    }
    return (struct f80){ (rng_percent(r, 30) ? random_integer(r) : rng_next(r)) | UINT64_C(1) << 63, sign | exponent };
}

static void random_vector(struct rng *r, union vec *v)
{
    unsigned kind = rng_below(r, 5);
    for (unsigned i = 0; i < 4; i++) {
        switch (kind) {
        case 0: v->q[i] = random_float64(r); break;
        case 1: v->d[2 * i] = random_float32(r), v->d[2 * i + 1] = random_float32(r); break;
        case 2: v->q[i] = random_integer(r); break;
        case 3: v->d[2 * i] = (uint32_t)random_integer(r), v->d[2 * i + 1] = (uint32_t)random_integer(r); break;
        default: v->q[i] = rng_next(r); break;
        }
    }
}

static void draw_lines(struct generator *g)
{
    struct rng r = { g->seed };
    for (unsigned i = 0; i < LINES; i++) {
        uint8_t *line = g->lines[i].bytes;
        union vec v;
        random_vector(&r, &v);
        uint64_t plain[4] = { rng_next(&r), random_integer(&r), rng_next(&r), 0 };
        struct f80 f = random_float80(&r);
        memcpy(line, &v, 32);
        memcpy(line + 32, plain, 32);
        memcpy(line + 48, &f, 10);
    }
}

struct generator *generator_new(const struct host *host, const char *only, int mode, uint64_t seed)
{
    struct generator *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->host = host;
    g->mode = mode;
    g->seed = seed;
    draw_lines(g);
    add_map(g, decode_map_1byte, 0, false, false, only);
    add_map(g, decode_map_0f, 1, false, false, only);
    add_map(g, decode_map_0f38, 2, false, false, only);
    add_map(g, decode_map_0f3a, 3, false, false, only);
    add_map(g, decode_vex_0f, 1, true, false, only);
    add_map(g, decode_vex_0f38, 2, true, false, only);
    add_map(g, decode_vex_0f3a, 3, true, false, only);
    add_map(g, decode_evex_0f, 1, false, true, only);
    add_map(g, decode_evex_0f38, 2, false, true, only);
    add_map(g, decode_evex_0f3a, 3, false, true, only);
    return g;
}

void fill_memory(const struct diff_case *c, uint8_t *out)
{
    struct rng r = { c->memory_seed };
    memset(out, 0, DATA_SIZE + CONST_SIZE);
    for (unsigned i = 0; c->lines && i < DATA_SIZE + CONST_SIZE; i += sizeof(struct line))
        memcpy(out + i, &c->lines[rng_next(&r) >> 16 & (LINES - 1)], sizeof(struct line));
    if (c->patch_len)
        memcpy(out + (c->patch_at - DATA_BASE), c->patch, c->patch_len);
}

/* ---- encoding ---- */

struct encoder {
    struct rng *r;
    struct candidate c;
    enum cpu_mode mode;
    bool first;      /* of its case: registers may still be chosen for it */
    uint8_t bytes[32];
    unsigned n;
};

static void put(struct encoder *e, uint8_t b)
{
    e->bytes[e->n++] = b;
}

static bool is_string_op(unsigned op)
{
    return op == OP_MOVS || op == OP_CMPS || op == OP_STOS || op == OP_LODS || op == OP_SCAS || op == OP_INS || op == OP_OUTS;
}

static void put_prefixes(struct encoder *e)
{
    static const uint8_t segments32[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
    uint32_t cond = e->c.row->cond;
    unsigned wanted = cond & PREFIX_MASK;
    if (rng_percent(e->r, 4))
        put(e, 0x67);
    if (rng_percent(e->r, 5))
        put(e, e->mode == CPU_MODE_64 ? 0x64 | (rng_next(e->r) & 1) : segments32[rng_below(e->r, 6)]);
    if (e->c.vex || e->c.evex)
        return;
    if (wanted == P66 || ((wanted == 0 || wanted == NP66) && rng_percent(e->r, 25)) || (wanted > P66 && rng_percent(e->r, 3)))
        put(e, 0x66);
    if (wanted == PF3 || wanted == PF2)
        put(e, wanted == PF3 ? 0xf3 : 0xf2);
    else if (wanted == 0 && rng_percent(e->r, is_string_op(e->c.row->op) ? 65 : 2))
        put(e, rng_percent(e->r, 50) ? 0xf3 : 0xf2);
    if (cond & LK && rng_percent(e->r, 20))
        put(e, 0xf0);
}

static void put_rex(struct encoder *e)
{
    uint32_t cond = e->c.row->cond;
    uint8_t rex = 0x40 | (rng_next(e->r) & 7);
    if (e->mode != CPU_MODE_64 || !(rng_percent(e->r, 60) || cond & W1))
        return;
    if (cond & W1 || rng_percent(e->r, 50))
        rex |= 8;
    put(e, rex);
}

static bool uses_vvvv(const struct decode_row *row)
{
    for (unsigned i = 0; i < 4; i++) {
        unsigned s = row->spec[i];
        if ((s >= Hx && s <= Hqq) || s == By || s == Bv || s == Kh)
            return true;
    }
    return false;
}

static void put_vex(struct encoder *e)
{
    static const uint8_t pps[] = { 0, 0, 1, 2, 3, 0 };
    uint32_t cond = e->c.row->cond;
    uint8_t rxb = e->mode == CPU_MODE_64 ? rng_next(e->r) & 7 : 7;
    uint8_t vvvv = !uses_vvvv(e->c.row) ? 15 : e->mode == CPU_MODE_64 ? rng_next(e->r) & 15 : 8 | (rng_next(e->r) & 7);
    uint8_t l = cond & L0 ? 0 : cond & L1 ? 1 : rng_next(e->r) & 1;
    uint8_t w = cond & W0 ? 0 : cond & W1 ? 1 : rng_next(e->r) & 1;
    uint8_t low = (uint8_t)(vvvv << 3 | l << 2 | pps[cond & PREFIX_MASK]);
    if (e->c.map == 1 && w == 0 && (rxb & 3) == 3) {
        put(e, 0xc5);
        put(e, (uint8_t)((rxb >> 2) << 7 | low));
    } else {
        put(e, 0xc4);
        put(e, (uint8_t)(rxb << 5 | e->c.map));
        put(e, (uint8_t)(w << 7 | low));
    }
}

/* Mostly as the row wants it; now and then any bits. */
static void put_evex(struct encoder *e)
{
    static const uint8_t pps[] = { 0, 0, 1, 2, 3, 0 };
    const struct decode_row *row = e->c.row;
    bool wide = e->mode == CPU_MODE_64, wild = rng_percent(e->r, 4);
    uint64_t x = rng_next(e->r);
    unsigned lengths = (row->evex & EV_LENGTHS) >> EV_LENGTH_SHIFT, l = x & 3, w = row->cond & W0 ? 0 : row->cond & W1 ? 1 : x >> 2 & 1;
    unsigned k = row->evex & KN ? 0 : x >> 3 & 7, b = (x >> 6 & 3) == 0 && (row->evex & (BC | ER | SAE) || wild);
    while (!wild && (l == 3 || (lengths && !(lengths >> l & 1))) && !(row->evex & LIG))
        l = rng_below(e->r, 3);
    if (b && row->evex & (ER | SAE) && x >> 8 & 1)
        l = x >> 9 & 3;
    unsigned z = (wild || (k && !(row->evex & (KN | KM)))) && x >> 11 & 1;
    unsigned vvvv = uses_vvvv(row) || wild ? x >> 12 & 31 : row->cond & GATHER ? 15 | (x >> 12 & 16) : 31;
    unsigned p0 = (x >> 17 & 0xf0) | e->c.map;
    if (row->evex & KM && !wild)
        p0 |= 0x90;
    if (!wide)
        p0 |= 0xc0;
    if (!wide && !wild)
        p0 |= 0x30, vvvv |= 24;
    if (wild && x >> 25 & 1)
        k = x >> 26 & 7;
    if (wild && x >> 29 & 1)
        w = x >> 30 & 1;
    put(e, 0x62);
    put(e, (uint8_t)(p0 | (wild && (x >> 32 & 15) == 0 ? 8 : 0)));
    put(e, (uint8_t)(w << 7 | (vvvv & 15) << 3 | (wild && (x >> 36 & 15) == 0 ? 0 : 4) | pps[row->cond & PREFIX_MASK]));
    put(e, (uint8_t)(z << 7 | l << 5 | b << 4 | (vvvv & 16) >> 1 | k));
}

static void put_modrm(struct encoder *e)
{
    uint32_t cond = e->c.row->cond;
    unsigned mod = rng_below(e->r, 3), reg = rng_below(e->r, 8), rm = rng_below(e->r, 8);
    if (cond & EXT_MASK)
        reg = cond >> EXT_SHIFT & 7;
    if (cond & RM_MASK)
        rm = cond >> RM_SHIFT & 7;
    if (cond & REG || (!(cond & MEM) && rng_percent(e->r, e->first ? 50 : 80)))
        mod = 3;
    if (cond & GATHER)
        rm = 4;
    else if (mod != 3 && !e->first)
        mod = 0, rm = 5; /* no register */
    put(e, (uint8_t)(mod << 6 | reg << 3 | rm));
}

/* Random bytes of one instruction of the row; false when they turn out to be another (a prefix made it so). */
static bool encode(struct encoder *e, struct insn *in)
{
    static const uint8_t escapes[4][2] = { { 0 }, { 0x0f }, { 0x0f, 0x38 }, { 0x0f, 0x3a } };
    e->n = 0;
    put_prefixes(e);
    if (e->c.evex) {
        put_evex(e);
    } else if (e->c.vex) {
        put_vex(e);
    } else {
        put_rex(e);
        for (unsigned i = 0; i < 2 && escapes[e->c.map][i]; i++)
            put(e, escapes[e->c.map][i]);
    }
    put(e, e->c.opcode);
    if (e->c.row->cond & MODRM)
        put_modrm(e);
    while (e->n < sizeof e->bytes)
        put(e, (uint8_t)(rng_percent(e->r, 50) ? random_integer(e->r) : rng_next(e->r)));
    if (e->c.evex && rng_percent(e->r, 3) && insn_decode(e->bytes, sizeof e->bytes, e->mode, in) == INSN_INVALID) {
        in->op = e->c.row->op; /* #UD is a case too; nothing else of it is known */
        in->length = 8;
        return true;
    }
    return insn_decode(e->bytes, sizeof e->bytes, e->mode, in) > 0 && in->op == e->c.row->op && in->map == e->c.map &&
        in->opcode == e->c.opcode && !(in->op == OP_INT && in->imm == 0x80); /* Linux's system call of old */
}

/* ---- aiming memory operands ---- */

/* An address for an access of `size` bytes: mostly inside, often across the two data pages, now and then at an edge or nowhere. */
static uint64_t random_target(struct rng *r, unsigned size)
{
    unsigned n = size ? size : 64;
    uint64_t at;
    switch (rng_below(r, 20)) {
    case 0: case 1: return DATA_BASE + 0x1000 - rng_below(r, n + 1);                 /* across */
    case 2: return CONST_BASE - rng_below(r, n + 1);                                 /* into the read-only page */
    case 3: return CONST_BASE + CONST_SIZE - rng_below(r, n + 1);                    /* over the end */
    case 4: return DATA_BASE - rng_below(r, n + 1);                                  /* before the start */
    case 5: return rng_percent(r, 30) ? random_integer(r) : UINT64_C(0x800000000000) - rng_below(r, n + 1);
    case 6: case 7: return DATA_BASE + rng_below(r, DATA_SIZE - 600);                /* any alignment */
    case 8: return CONST_BASE + 64 * rng_below(r, 32);
    default:
        at = DATA_BASE + 64 * rng_below(r, DATA_SIZE / 64 - 10);
        return at + (n < 64 ? n * rng_below(r, 64 / n) : 0);
    }
}

/* The index registers of a gather: elements that stay near the base. */
static void aim_evex_gather(struct diff_case *c, struct rng *r, const struct insn *in)
{
    uint8_t index[64];
    unsigned size = in->opcode & 1 ? 8 : 4;
    for (unsigned i = 0; i < 64; i += size) {
        int64_t value = rng_percent(r, 15) ? (int64_t)rng_below(r, 4096) : (int64_t)rng_below(r, 200) - 20;
        memcpy(index + i, &value, size);
    }
    if (in->index >= 16) {
        memcpy(c->regs.zmm16[in->index - 16], index, 64);
    } else {
        memcpy(&c->regs.vec[in->index], index, 32);
        memcpy(c->regs.zmm_high[in->index], index + 32, 32);
    }
}

static void aim_gather(struct diff_case *c, struct rng *r, const struct insn *in)
{
    if (in->prefix & PFX_EVEX) {
        aim_evex_gather(c, r, in);
        return;
    }
    union vec *v = &c->regs.vec[in->index & 15];
    for (unsigned i = 0; i < 4; i++) {
        uint64_t a = rng_below(r, 256), b = rng_percent(r, 20) ? (uint64_t)-(int64_t)rng_below(r, 64) : rng_below(r, 64);
        bool dwords = in->op == OP_VGATHERDPS || in->op == OP_VGATHERDPD || in->op == OP_VPGATHERDD || in->op == OP_VPGATHERDQ;
        v->q[i] = dwords ? (a & 0xffffffff) | b << 32 : b;
    }
}

/* Sets base and index so that the operand is at `target`; where there is neither, sets the displacement. */
static void aim_modrm(struct diff_case *c, struct rng *r, const struct insn *in, uint8_t *bytes, uint64_t next_rip, uint64_t target)
{
    uint64_t *gpr = c->regs.gpr;
    if (in->prefix & PFX_SEG && in->seg >= INSN_FS)
        target -= in->seg == INSN_FS ? c->regs.fs_base : c->regs.gs_base;
    if (in->vsib)
        aim_gather(c, r, in);
    bool has_base = in->base != INSN_NO_REG && in->base != INSN_RIP, has_index = in->index != INSN_NO_REG && !in->vsib;
    uint64_t disp = (uint64_t)(int64_t)in->disp;
    if (!has_base && !has_index) {
        uint32_t value = (uint32_t)(in->base == INSN_RIP ? target - next_rip : target);
        if (in->disp_len == 4)
            memcpy(bytes + in->disp_off, &value, 4);
        return;
    }
    if (has_index && has_base && in->index == in->base) {
        gpr[in->base] = (target - disp) / (1 + (1u << in->scale));
        return;
    }
    if (has_index && has_base)
        gpr[in->index] = rng_percent(r, 80) ? rng_below(r, 64) : random_integer(r);
    if (has_base)
        gpr[in->base] = target - disp - (has_index ? gpr[in->index] << in->scale : 0);
    else
        gpr[in->index] = (target - disp) >> in->scale;
}

static unsigned memory_size(const struct insn *in)
{
    for (unsigned i = 0; i < in->nopnd; i++) {
        if (in->opnd[i].kind == OPND_MEM)
            return in->opnd[i].size;
    }
    return 8;
}

/* Bit strings in memory: an offset of a few hundred bits either way. */
static void aim_bit_string(struct diff_case *c, struct rng *r, const struct insn *in)
{
    bool bit_op = in->op == OP_BT || in->op == OP_BTS || in->op == OP_BTR || in->op == OP_BTC;
    if (bit_op && in->has_mem && in->opnd[1].kind == OPND_GPR && in->reg != in->base && in->reg != in->index && rng_percent(r, 80))
        c->regs.gpr[in->reg] = (uint64_t)((int64_t)rng_below(r, 1024) - 256);
}

/* ---- selectors ---- */

/* Those of Linux's descriptor table that are the same on every CPU, null, and some beyond the tables. */
static uint16_t random_selector(struct rng *r)
{
    static const uint16_t some[] = { 0, 1, 2, 3, 4, 7, 0x08, 0x0b, 0x10, 0x13, 0x18, 0x1b, 0x20, 0x23, 0x28, 0x2b, 0x2c, 0x30, 0x33, 0x80, 0x100, 0xfff8, 0xffff };
    static const uint16_t usable[] = { CS_32, DS_ALL, CS_64 };
    return rng_percent(r, 50) ? usable[rng_below(r, 3)] : some[rng_below(r, sizeof some / sizeof some[0])];
}

static void patch_memory(struct diff_case *c, uint64_t at, const void *bytes, unsigned len)
{
    if (len > PATCH_MAX || at < DATA_BASE || at > CONST_BASE + CONST_SIZE - len)
        return;
    c->patch_at = at;
    c->patch_len = (uint8_t)len;
    memcpy(c->patch, bytes, len);
}

/* A far pointer: offset of `opsize` bytes, then the selector in as many bytes as `selector_size`. */
static void patch_far(struct diff_case *c, struct rng *r, uint64_t at, unsigned opsize, unsigned selector_size)
{
    uint8_t bytes[16] = { 0 };
    uint64_t offset = rng_percent(r, 80) ? CODE_BASE + rng_below(r, CODE_SIZE) : random_integer(r);
    uint16_t selector = random_selector(r);
    memcpy(bytes, &offset, opsize);
    memcpy(bytes + opsize, &selector, 2);
    patch_memory(c, at, bytes, opsize + selector_size);
}

static void patch_iret(struct diff_case *c, struct rng *r, uint64_t at, unsigned opsize)
{
    uint8_t bytes[PATCH_MAX] = { 0 };
    uint64_t flags = 0x202 | (rng_next(r) & 0x200dd5); /* not AC: the pops behind it would be #AC, which Linux takes for a split lock */
    uint64_t frame[5] = { CODE_BASE + rng_below(r, CODE_SIZE), random_selector(r), flags, random_target(r, 8), random_selector(r) };
    for (unsigned i = 0; i < 5; i++)
        memcpy(bytes + i * opsize, &frame[i], opsize);
    patch_memory(c, at, bytes, 5 * opsize);
}

/* Gives instructions that take a selector one worth taking. `target`: where the memory operand was aimed. */
static void aim_selector(struct diff_case *c, struct rng *r, const struct insn *in, uint8_t *bytes, uint64_t target)
{
    uint16_t selector = random_selector(r);
    const struct insn_opnd *source = &in->opnd[in->nopnd > 1];
    switch (in->op) {
    case OP_MOV_SEG: case OP_LAR: case OP_LSL: case OP_VERR: case OP_VERW: case OP_LLDT: case OP_LTR: case OP_ARPL:
        if (source->kind == OPND_GPR)
            c->regs.gpr[source->reg] = selector;
        else if (source->kind == OPND_MEM)
            patch_memory(c, target, &selector, 2);
        return;
    case OP_LDS: case OP_LES: case OP_LFS: case OP_LGS: case OP_LSS: patch_far(c, r, target, in->opsize, 2); return;
    case OP_POP_SEG: patch_memory(c, c->regs.gpr[INSN_RSP], &selector, 2); return;
    case OP_RET_FAR: patch_far(c, r, c->regs.gpr[INSN_RSP], in->opsize, in->opsize); return;
    case OP_IRET: patch_iret(c, r, c->regs.gpr[INSN_RSP], in->opsize); return;
    case OP_JMP_FAR: case OP_CALL_FAR:
        /* Linux returns for ever to compatibility mode from a fault above 4 GiB (is_errata100()), which a push of a call to 64-bit code can cause. */
        if (c->mode == CPU_MODE_32 && (uint32_t)c->regs.gpr[INSN_RSP] < 2u * in->opsize)
            c->regs.gpr[INSN_RSP] += 2u * in->opsize;
        if (in->has_mem) {
            patch_far(c, r, target, in->opsize, 2);
        } else {
            uint32_t offset = CODE_BASE + rng_below(r, CODE_SIZE);
            memcpy(bytes + in->imm_off, &offset, in->opsize);
            memcpy(bytes + in->imm_off + in->opsize, &selector, 2);
        }
        return;
    default: return;
    }
}

static void aim(struct diff_case *c, struct rng *r, struct insn *in, uint8_t *bytes, uint64_t next_rip)
{
    uint64_t *gpr = c->regs.gpr;
    uint64_t target = in->has_mem ? random_target(r, memory_size(in)) : 0;
    aim_bit_string(c, r, in);
    if (in->has_mem)
        aim_modrm(c, r, in, bytes, next_rip, target);
    aim_selector(c, r, in, bytes, target);
    for (unsigned i = 0; i < in->nopnd; i++) {
        unsigned size = in->opnd[i].size;
        switch (in->opnd[i].kind) {
        case OPND_MEM_SI: gpr[INSN_RSI] = random_target(r, size); break;
        case OPND_MEM_DI: gpr[INSN_RDI] = random_target(r, size); break;
        case OPND_MEM_XLAT: gpr[INSN_RBX] = random_target(r, 256); break;
        case OPND_MOFFS: {
            uint64_t offset = random_target(r, size);
            memcpy(bytes + in->imm_off, &offset, in->imm_len);
            break;
        }
        }
    }
    if (in->op == OP_LEAVE)
        gpr[INSN_RBP] = random_target(r, 8);
}

/* ---- the case ---- */

static void random_avx512(struct diff_regs *s, struct rng *r)
{
    for (unsigned i = 0; i < 8; i++)
        s->k[i] = rng_percent(r, 20) ? UINT64_MAX : rng_percent(r, 10) ? 0 : rng_percent(r, 30) ? random_integer(r) : rng_next(r);
    for (unsigned i = 0; i < 16; i++) {
        union vec v[3];
        for (unsigned j = 0; j < 3; j++)
            random_vector(r, &v[j]);
        memcpy(s->zmm_high[i], &v[0], 32);
        memcpy(s->zmm16[i], &v[1], 64);
    }
}

static void random_state(const struct host *host, struct diff_case *c, struct rng *r)
{
    struct diff_regs *s = &c->regs;
    for (unsigned i = 0; i < 16; i++) {
        s->gpr[i] = random_integer(r);
        random_vector(r, &s->vec[i]);
    }
    if (host->avx512)
        random_avx512(s, r);
    s->gpr[INSN_RSP] = random_target(r, 8);
    s->gpr[INSN_RBP] = random_target(r, 8);
    if (rng_percent(r, 70))
        s->gpr[INSN_RCX] = rng_below(r, rng_percent(r, 50) ? 20 : 256);
    for (unsigned i = 0; i < 8; i++)
        s->st[i] = random_float80(r);
    s->tags = rng_percent(r, 60) ? 0xff : (uint8_t)rng_next(r);
    s->fcw = (uint16_t)((rng_percent(r, 85) ? 0x3f : rng_next(r) & 0x3f) | 0x40 | (rng_percent(r, 60) ? 0x300 : rng_next(r) & 0xf00));
    s->fsw = (uint16_t)(rng_next(r) & 0x7f00);
    if (rng_percent(r, 10))
        s->fsw |= rng_next(r) & 0x7f; /* with an unmasked one: the next waiting instruction is #MF */
    if (s->fsw & ~s->fcw & 0x3f)
        s->fsw |= 0x8080;
    s->mxcsr = (uint32_t)((rng_percent(r, 85) ? 0x1f80 : rng_next(r) & 0x1f80) | (rng_percent(r, 50) ? 0 : rng_next(r) & 0xe040) | (rng_percent(r, 50) ? 0 : rng_next(r) & 0x3f));
    s->rflags = 0x202 | (rng_next(r) & 0x8d5) | (rng_percent(r, 20) ? 0x400 : 0) | (rng_percent(r, 5) ? 0x40000 : 0); /* DF, AC */
    s->fs_base = 0x100 * rng_below(r, 16);
    s->gs_base = 0x100 * rng_below(r, 16);
    s->ds = s->es = s->ss = DS_ALL;
}

/* Instructions whose end in a run to the HLT would not be known: they step. */
static bool must_step(const struct insn *in)
{
    return insn_op_flags(in->op) & OPF_BRANCH;
}

static bool may_follow(const struct insn *in, uint64_t undefined)
{
    bool wants_selector = in->op == OP_POP_SEG || (in->op == OP_MOV_SEG && in->opnd[0].kind == OPND_SEG) || (in->op >= OP_LFS && in->op <= OP_LGS) ||
        in->op == OP_LDS || in->op == OP_LES || in->op == OP_LSS || in->op == OP_LAR || in->op == OP_LSL || in->op == OP_VERR || in->op == OP_VERW;
    return !must_step(in) && !wants_selector && !(in->prefix & (PFX_REP | PFX_REPNE)) && !is_transcendental(in) &&
        !(undefined && insn_op_flags(in->op) & OPF_READS_FLAGS);
}

/* Puts the code so that it now and then crosses into the second page, or ends with it. */
static uint64_t random_code_address(struct rng *r, unsigned len)
{
    switch (rng_below(r, 12)) {
    case 0: return CODE_BASE + 0x1000 - rng_below(r, len + 1);
    case 1: return CODE_BASE + CODE_SIZE - len;
    case 2: return CODE_BASE + CODE_SIZE - rng_below(r, len + 1);
    default: return CODE_BASE + 16 * rng_below(r, 200);
    }
}

static void encode_any(const struct generator *g, struct encoder *e, struct insn *in)
{
    unsigned tries = 0; /* bounded, for a generator of one operation that this host does not draw at all */
    do {
        e->c = g->candidates[rng_below(e->r, g->count)];
    } while (!encode(e, in) || (!host_draws(g->host, in) && tries++ < 10000));
}

static void draw_code(const struct generator *g, struct diff_case *c, struct rng *r)
{
    struct encoder e[CASE_INSNS_MAX];
    unsigned wanted = rng_percent(r, 70) ? 1 : 2 + rng_below(r, CASE_INSNS_MAX - 1);
    unsigned len = 0;
    uint64_t undefined = 0;
    for (unsigned i = 0; i < wanted; i++) {
        struct encoder *at = &e[c->count];
        *at = (struct encoder){ .r = r, .mode = c->mode, .first = i == 0 };
        encode_any(g, at, &c->insns[c->count]);
        if (i > 0 && !may_follow(&c->insns[c->count], undefined))
            continue;
        undefined |= undefined_flags(c, &c->insns[c->count], false);
        len += c->insns[c->count++].length;
        if (i == 0 && (must_step(&c->insns[0]) || is_transcendental(&c->insns[0])))
            break;
    }
    /* A gather that steps may trap between two elements. */
    c->step = c->count == 1 && !c->insns[0].vsib && (must_step(&c->insns[0]) || rng_percent(r, 40));
    c->regs.rip = random_code_address(r, len);
    uint64_t rip = c->regs.rip;
    for (unsigned i = 0; i < c->count; i++) {
        struct insn *in = &c->insns[i];
        rip += in->length;
        if (i == 0 || in->has_mem || in->opnd[0].kind == OPND_MOFFS || in->opnd[1].kind == OPND_MOFFS) {
            struct diff_case scratch = *c; /* a later instruction must not change what the first was aimed with */
            aim(i ? &scratch : c, r, in, e[i].bytes, rip);
        }
        memcpy(c->code + c->code_len, e[i].bytes, in->length);
        c->code_len += in->length;
        insn_decode(e[i].bytes, sizeof e[i].bytes, c->mode, in);
    }
}

void generate_case(const struct generator *g, uint64_t number, struct diff_case *c)
{
    struct rng r = { g->seed ^ number * 0xd1342543de82ef95u };
    rng_next(&r);
    memset(c, 0, sizeof *c);
    c->seed = g->seed;
    c->lines = g->lines;
    c->number = number;
    c->memory_seed = rng_next(&r);
    c->mode = g->mode >= 0 ? (uint8_t)g->mode : rng_percent(&r, 75) ? CPU_MODE_64 : CPU_MODE_32;
    random_state(g->host, c, &r);
    draw_code(g, c, &r);
    if (c->step)
        c->regs.rflags |= 0x100;
    c->regs.cs = c->mode == CPU_MODE_64 ? CS_64 : CS_32;
    for (unsigned i = 0; i < 16 && c->mode == CPU_MODE_32; i++)
        c->regs.gpr[i] = i < 8 ? (uint32_t)c->regs.gpr[i] : 0;
    for (unsigned i = 8; i < 16 && c->mode == CPU_MODE_32; i++)
        memset(&c->regs.vec[i], 0, sizeof c->regs.vec[i]), memset(c->regs.zmm_high[i], 0, sizeof c->regs.zmm_high[i]);
    if (c->mode == CPU_MODE_32)
        memset(c->regs.zmm16, 0, sizeof c->regs.zmm16);
}
