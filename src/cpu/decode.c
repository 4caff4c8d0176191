/* SPDX-License-Identifier: MIT */
/*
 * The x86 instruction decoder: prefixes, opcode row, ModRM and SIB, immediates, operands, then the rules that make an otherwise good
 * encoding #UD. What the bytes are is the guest's choice, so every path is bounded by 15 bytes and every table index by its type.
 *
 * Spec: SDM volume 2, chapter 2 (format, REX, VEX, VSIB) and appendix A (opcode maps). Where AMD and Intel differ, this is Intel: near
 * branches in 64-bit code ignore 66, far pointers in memory may have 64-bit offsets, LOCK MOV CR0 is #UD.
 */
#include "cpu/decode.h"

#include "cpu/decode_operands.h"
#include "cpu/decode_table.h"

struct decoder {
    const uint8_t *bytes;
    unsigned len;          /* bytes that may be read, at most 15 */
    unsigned pos;
    bool cut;              /* len is less than 15: running out means "need more", not "too long" */
    enum cpu_mode mode;
    uint8_t rex;           /* 0100WRXB, from REX or VEX; 0 when there is none */
    uint8_t repeat;        /* last of F2, F3; 0 */
    uint8_t pp;            /* mandatory prefix: NP, P66, PF3, PF2 */
    uint8_t mod;
    uint8_t vvvv;          /* all four bits, also where only three name a register */
    uint8_t high_reg, high_vvvv; /* 16, from EVEX.R' and EVEX.V', or 0 */
    const struct decode_row *row;
    struct insn *in;
};

enum { REX_W = 8, REX_R = 4, REX_X = 2, REX_B = 1 };

/* ---- bytes ---- */

static int need(const struct decoder *d, unsigned n)
{
    if (d->pos + n <= d->len)
        return 0;
    return d->cut ? INSN_TRUNCATED : INSN_TOO_LONG;
}

/* Little-endian unsigned value of n bytes at pos; the caller has checked need(). */
static uint64_t take(struct decoder *d, unsigned n)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < n; i++)
        value |= (uint64_t)d->bytes[d->pos + i] << (8 * i);
    d->pos += n;
    return value;
}

static int64_t sign_extend(uint64_t value, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;
    return (int64_t)(value << shift) >> shift;
}

/* ---- prefixes (SDM vol. 2, 2.1.1 and 2.2.1) ---- */

static void note_segment(struct decoder *d, enum insn_seg seg)
{
    if (d->mode == CPU_MODE_64 && seg < INSN_FS)
        return; /* ignored there, and does not undo an earlier FS or GS */
    d->in->seg = seg;
    d->in->prefix |= PFX_SEG;
}

/* Whether b is a legacy prefix; notes what it says. */
static bool note_prefix(struct decoder *d, uint8_t b)
{
    switch (b) {
    case 0x66: d->in->prefix |= PFX_66; return true;
    case 0x67: d->in->prefix |= PFX_67; return true;
    case 0xf0: d->in->prefix |= PFX_LOCK; return true;
    case 0xf2: case 0xf3: d->repeat = b; return true;
    case 0x26: note_segment(d, INSN_ES); return true;
    case 0x2e: note_segment(d, INSN_CS); return true;
    case 0x36: note_segment(d, INSN_SS); return true;
    case 0x3e: note_segment(d, INSN_DS); return true;
    case 0x64: note_segment(d, INSN_FS); return true;
    case 0x65: note_segment(d, INSN_GS); return true;
    default: return false;
    }
}

static int decode_prefixes(struct decoder *d)
{
    for (;; d->pos++) {
        int rc = need(d, 1);
        if (rc)
            return rc;
        uint8_t b = d->bytes[d->pos];
        if (note_prefix(d, b)) {
            d->rex = 0; /* REX counts only directly before the opcode */
            d->in->prefix &= ~PFX_REX;
        } else if (d->mode == CPU_MODE_64 && (b & 0xf0) == 0x40) {
            d->rex = b;
            d->in->rex_off = d->pos;
            d->in->prefix |= PFX_REX;
        } else {
            break;
        }
    }
    if (d->rex & REX_W)
        d->in->prefix |= PFX_REX_W;
    d->pp = d->repeat == 0xf2 ? PF2 : d->repeat == 0xf3 ? PF3 : (d->in->prefix & PFX_66) ? P66 : NP;
    return 0;
}

/* ---- opcode ---- */

static const struct decode_row *const *const legacy_maps[4] = { decode_map_1byte, decode_map_0f, decode_map_0f38, decode_map_0f3a };
static const struct decode_row *const *const vex_maps[4] = { NULL, decode_vex_0f, decode_vex_0f38, decode_vex_0f3a };
static const struct decode_row *const *const evex_maps[4] = { NULL, decode_evex_0f, decode_evex_0f38, decode_evex_0f3a };
static const uint8_t mandatory_prefixes[4] = { NP, P66, PF3, PF2 }; /* by pp */

/*
 * C4 or C5 at pos: VEX in 64-bit code; elsewhere LES or LDS unless what would be ModRM.mod is 3 (SDM vol. 2, 2.3.5).
 * 1 yes, 0 no, negative: cut.
 */
static int at_vex(const struct decoder *d)
{
    if ((d->bytes[d->pos] & 0xfe) != 0xc4)
        return 0;
    int rc = need(d, 2);
    if (rc)
        return rc;
    return d->mode == CPU_MODE_64 || d->bytes[d->pos + 1] >= 0xc0;
}

/* The rest of VEX from C4 or C5 on, up to the opcode. */
static int decode_vex(struct decoder *d)
{
    struct insn *in = d->in;
    if (d->repeat || (in->prefix & (PFX_66 | PFX_LOCK | PFX_REX)))
        return INSN_INVALID;
    bool three = d->bytes[d->pos] == 0xc4;
    int rc = need(d, three ? 4 : 3);
    if (rc)
        return rc;
    in->rex_off = d->pos++;
    uint8_t b1 = take(d, 1), b2 = b1;
    in->map = 1;
    d->rex = (~b1 >> 5) & REX_R;
    if (three) {
        b2 = take(d, 1);
        in->map = b1 & 31;
        d->rex = (~b1 >> 5 & 7) | (b2 >> 4 & REX_W);
    }
    if (d->mode != CPU_MODE_64)
        d->rex &= REX_W;
    if (d->rex & REX_W)
        in->prefix |= PFX_REX_W;
    in->prefix |= PFX_VEX;
    d->vvvv = ~b2 >> 3 & 15;
    in->vvvv = d->vvvv & (d->mode == CPU_MODE_64 ? 15 : 7);
    in->vex_l = b2 >> 2 & 1;
    in->payload[1] = three ? b2 : b2 & 0x7f;
    d->pp = mandatory_prefixes[b2 & 3];
    return in->map < 1 || in->map > 3 ? INSN_INVALID : 0;
}

/* 62 at pos: EVEX, by the rule of VEX; elsewhere BOUND. */
static int at_evex(const struct decoder *d)
{
    if (d->bytes[d->pos] != 0x62)
        return 0;
    int rc = need(d, 2);
    if (rc)
        return rc;
    return d->mode == CPU_MODE_64 || d->bytes[d->pos + 1] >= 0xc0;
}

/* The rest of EVEX from 62 on, up to the opcode (SDM vol. 2, 2.7.1). */
static int decode_evex(struct decoder *d)
{
    struct insn *in = d->in;
    uint8_t *p = in->payload;
    if (d->repeat || (in->prefix & (PFX_66 | PFX_LOCK | PFX_REX)))
        return INSN_INVALID;
    int rc = need(d, 5);
    if (rc)
        return rc;
    in->rex_off = d->pos++;
    for (unsigned i = 0; i < 3; i++)
        p[i] = take(d, 1);
    in->map = p[0] & 7;
    d->rex = (~p[0] >> 5 & 7) | (p[1] >> 4 & REX_W);
    d->vvvv = ~p[1] >> 3 & 15;
    if (d->mode == CPU_MODE_64) {
        d->high_reg = ~p[0] & 0x10;
        d->high_vvvv = (unsigned)~p[2] << 1 & 0x10;
    } else {
        d->rex &= REX_W;
    }
    if (d->rex & REX_W)
        in->prefix |= PFX_REX_W;
    in->prefix |= PFX_EVEX;
    in->vvvv = d->vvvv & (d->mode == CPU_MODE_64 ? 15 : 7);
    in->vex_l = p[2] >> 5 & 3;
    d->pp = mandatory_prefixes[p[1] & 3];
    return p[0] & 8 || !(p[1] & 4) || in->map < 1 || in->map > 3 ? INSN_INVALID : 0;
}

/* 0F, 0F 38, 0F 3A. */
static int decode_escapes(struct decoder *d)
{
    struct insn *in = d->in;
    if (d->bytes[d->pos] != 0x0f)
        return 0;
    int rc = need(d, 2);
    if (rc)
        return rc;
    d->pos++;
    in->map = 1;
    uint8_t b = d->bytes[d->pos];
    if (b != 0x38 && b != 0x3a)
        return 0;
    d->pos++;
    in->map = b == 0x38 ? 2 : 3;
    return need(d, 1);
}

/* ---- choosing the row ---- */

static bool prefix_matches(const struct decoder *d, unsigned wanted)
{
    return wanted == 0 || wanted == d->pp || (wanted == NP66 && (d->pp == NP || d->pp == P66));
}

static bool modrm_matches(const struct decoder *d, uint32_t cond)
{
    uint8_t modrm = d->in->modrm;
    if ((cond & EXT_MASK) && (cond & EXT_MASK) != EXT(modrm >> 3 & 7))
        return false;
    if ((cond & RM_MASK) && (cond >> RM_SHIFT & 7) != (modrm & 7u))
        return false;
    return !((cond & MEM) && d->mod == 3) && !((cond & REG) && d->mod != 3);
}

static bool row_matches(const struct decoder *d, uint32_t cond)
{
    bool w = d->rex & REX_W;
    if ((cond & O64 && d->mode != CPU_MODE_64) || (cond & I64 && d->mode == CPU_MODE_64))
        return false;
    if ((cond & W0 && w) || (cond & W1 && !w) || (cond & L0 && d->in->vex_l) || (cond & L1 && !d->in->vex_l))
        return false;
    if (cond & NOB && d->rex & REX_B)
        return false;
    return prefix_matches(d, cond & PREFIX_MASK) && (!(cond & MODRM) || modrm_matches(d, cond));
}

static int choose_row(struct decoder *d)
{
    struct insn *in = d->in;
    const struct decode_row *const *const *maps = in->prefix & PFX_VEX ? vex_maps : in->prefix & PFX_EVEX ? evex_maps : legacy_maps;
    in->opcode_off = d->pos;
    in->opcode = take(d, 1);
    const struct decode_row *row = maps[in->map][in->opcode];
    if (!row)
        return INSN_INVALID;
    if (row->cond & MODRM) { /* all rows of an opcode agree in this */
        int rc = need(d, 1);
        if (rc)
            return rc;
        in->modrm_off = d->pos;
        in->modrm = take(d, 1);
        d->mod = in->modrm >> 6;
    }
    while (row->op != OP_INVALID && !row_matches(d, row->cond))
        row++;
    d->row = row;
    in->op = row->op;
    return row->op == OP_INVALID ? INSN_INVALID : 0;
}

/* ---- sizes ---- */

static bool spec_is_byte(unsigned spec)
{
    return spec == Eb || spec == Gb || spec == Zb || spec == rAL || spec == Ob || spec == Xb || spec == Yb;
}

static unsigned operand_size(const struct decoder *d)
{
    uint32_t cond = d->row->cond;
    bool small = d->in->prefix & PFX_66;
    if (cond & BYTE || spec_is_byte(d->row->spec[0]))
        return 1;
    if (d->mode == CPU_MODE_16)
        return small ? 4 : 2;
    if (d->mode == CPU_MODE_32)
        return small ? 2 : 4;
    if (cond & F64)
        return 8;
    if (d->rex & REX_W)
        return cond & NOW ? 4 : 8;
    return small ? 2 : cond & D64 ? 8 : 4;
}

static unsigned address_size(const struct decoder *d)
{
    bool other = d->in->prefix & PFX_67;
    switch (d->mode) {
    case CPU_MODE_16: return other ? 4 : 2;
    case CPU_MODE_32: return other ? 2 : 4;
    default: return other ? 4 : 8;
    }
}

/* ---- memory operand (SDM vol. 2, tables 2-1 to 2-3, 2.2.1.6, 2.3.12) ---- */

static int decode_disp(struct decoder *d, unsigned n)
{
    int rc = need(d, n);
    if (rc || n == 0)
        return rc;
    d->in->disp_off = d->pos;
    d->in->disp_len = n;
    d->in->disp = (int32_t)sign_extend(take(d, n), n);
    return 0;
}

static int decode_mem16(struct decoder *d)
{
    static const uint8_t bases[8] = { INSN_RBX, INSN_RBX, INSN_RBP, INSN_RBP, INSN_RSI, INSN_RDI, INSN_RBP, INSN_RBX };
    static const uint8_t indexes[4] = { INSN_RSI, INSN_RDI, INSN_RSI, INSN_RDI };
    struct insn *in = d->in;
    unsigned rm = in->modrm & 7;
    if (rm < 4)
        in->index = indexes[rm];
    if (d->mod == 0 && rm == 6)
        return decode_disp(d, 2);
    in->base = bases[rm];
    return decode_disp(d, d->mod == 0 ? 0 : d->mod);
}

static int decode_sib(struct decoder *d)
{
    struct insn *in = d->in;
    int rc = need(d, 1);
    if (rc)
        return rc;
    uint8_t sib = take(d, 1);
    unsigned index = (sib >> 3 & 7) | (d->rex & REX_X ? 8 : 0);
    in->scale = sib >> 6;
    in->vsib = !!(d->row->cond & GATHER);
    if (in->vsib)
        in->index = index | d->high_vvvv;
    else if (index != INSN_RSP)
        in->index = index;
    if ((sib & 7) == 5 && d->mod == 0)
        return decode_disp(d, 4);
    in->base = (sib & 7) | (d->rex & REX_B ? 8 : 0);
    return decode_disp(d, d->mod == 0 ? 0 : d->mod == 1 ? 1 : 4);
}

static int decode_mem32(struct decoder *d)
{
    struct insn *in = d->in;
    unsigned rm = in->modrm & 7;
    if (rm == 4)
        return decode_sib(d);
    if (rm == 5 && d->mod == 0) {
        if (d->mode == CPU_MODE_64)
            in->base = INSN_RIP;
        return decode_disp(d, 4);
    }
    in->base = rm | (d->rex & REX_B ? 8 : 0);
    return decode_disp(d, d->mod == 0 ? 0 : d->mod == 1 ? 1 : 4);
}

static int decode_modrm(struct decoder *d)
{
    struct insn *in = d->in;
    in->reg = (in->modrm >> 3 & 7) | (d->rex & REX_R ? 8 : 0);
    in->rm = (in->modrm & 7) | (d->rex & REX_B ? 8 : 0);
    if (d->row->spec[0] == Ro || d->row->spec[1] == Ro)
        d->mod = 3; /* MOV to and from CR, DR: mod is ignored */
    if (d->mod == 3)
        return 0;
    in->has_mem = 1;
    if (d->row->cond & GATHER && (in->asize == 2 || (in->modrm & 7) != 4))
        return INSN_INVALID;
    int rc = in->asize == 2 ? decode_mem16(d) : decode_mem32(d);
    if (!(in->prefix & PFX_SEG) && (in->base == INSN_RSP || in->base == INSN_RBP))
        in->seg = INSN_SS;
    return rc;
}

/* ---- operands ---- */

static unsigned resolve_size(const struct decoder *d, unsigned code)
{
    const struct insn *in = d->in;
    bool long_mode = d->mode == CPU_MODE_64;
    unsigned y = long_mode && d->rex & REX_W ? 8 : 4;
    switch (code) {
    case SZ_V: return in->opsize;
    case SZ_Z: return in->opsize == 2 ? 2 : 4;
    case SZ_Y: return y;
    case SZ_O: return long_mode ? 8 : 4;
    case SZ_X: return in->vl;
    case SZ_H: return in->vl / 2;
    case SZ_QR: return in->vl / 4;
    case SZ_E: return in->vl / 8;
    case SZ_DUP: return in->vl > 16 ? in->vl : 8;
    case SZ_FAR: return in->opsize + 2;
    case SZ_DTR: return long_mode ? 10 : 6;
    case SZ_2V: return in->opsize * 2;
    case SZ_2Y: return y * 2;
    default: return code;
    }
}

/* Takes n immediate bytes. Where there are two immediates the second follows the first. */
static int take_imm(struct decoder *d, unsigned n, uint64_t *value)
{
    int rc = need(d, n);
    if (rc)
        return rc;
    if (!d->in->imm_off)
        d->in->imm_off = d->pos;
    d->in->imm_len += n;
    *value = take(d, n);
    return 0;
}

/* Reads the immediate bytes that an operand of this source needs, into imm and imm2. */
static int decode_imm(struct decoder *d, const struct spec_row *spec, struct insn_opnd *o)
{
    struct insn *in = d->in;
    uint64_t value = 0;
    int rc;
    switch (spec->from) {
    case FROM_ONE:
        in->imm = 1;
        return 0;
    case FROM_SIMM: /* 83, 6A, 6B */
        rc = take_imm(d, 1, &value);
        in->imm = sign_extend(value, 1);
        return rc;
    case FROM_IMM: /* a dword goes sign-extended into 64-bit operations; bytes and words are unsigned */
        rc = take_imm(d, o->size, &value);
        in->imm = o->size == 4 ? sign_extend(value, 4) : (int64_t)value;
        if (spec->size == SZ_Z)
            o->size = in->opsize;
        return rc;
    case FROM_REL:
        rc = take_imm(d, o->size, &value);
        in->imm = sign_extend(value, o->size);
        return rc;
    case FROM_IMM2:
        rc = take_imm(d, 1, &value);
        in->imm2 = (uint16_t)value;
        return rc;
    case FROM_FAR:
        rc = take_imm(d, in->opsize, &value);
        in->imm = (int64_t)value;
        if (rc == 0)
            rc = take_imm(d, 2, &value);
        in->imm2 = (uint16_t)value;
        return rc;
    case FROM_MOFFS:
        rc = take_imm(d, in->asize, &value);
        in->imm = (int64_t)value;
        return rc;
    case FROM_IS4:
        rc = take_imm(d, 1, &value);
        in->imm = (int64_t)value;
        o->reg = value >> 4 & (d->mode == CPU_MODE_64 ? 15 : 7);
        o->field = FIELD_IS4;
        return rc;
    default:
        return 0;
    }
}

/* The fifth bit of a vector register's number (SDM vol. 2, table 2-32). */
static unsigned high_bit(const struct decoder *d, unsigned field)
{
    switch (field) {
    case FIELD_REG:  return d->high_reg;
    case FIELD_RM:   return d->rex & REX_X ? 16 : 0;
    case FIELD_VVVV: return d->high_vvvv;
    default:         return 0;
    }
}

static void set_register(struct insn_opnd *o, unsigned reg, unsigned field)
{
    o->reg = reg;
    o->field = field;
}

/* The register (or that it is memory) of an operand. */
static void resolve_register(struct decoder *d, const struct spec_row *spec, struct insn_opnd *o)
{
    struct insn *in = d->in;
    switch (spec->from) {
    case FROM_RM:
        if (d->mod != 3) {
            o->kind = OPND_MEM;
            if (spec->mem_size)
                o->size = spec->mem_size;
            o->field = FIELD_RM;
            return;
        }
        set_register(o, in->rm, FIELD_RM);
        break;
    case FROM_RM_ALWAYS_REG: set_register(o, spec->kind == OPND_ST ? in->rm & 7 : in->rm, FIELD_RM); break;
    case FROM_REG: case FROM_CR: case FROM_DR: set_register(o, in->reg, FIELD_REG); break;
    case FROM_SEG: set_register(o, in->reg & 7, FIELD_REG); break;
    case FROM_VVVV: set_register(o, in->vvvv, FIELD_VVVV); break;
    case FROM_OPCODE:
        in->rm = (in->opcode & 7) | (d->rex & REX_B ? 8 : 0);
        set_register(o, in->rm, FIELD_OPCODE);
        break;
    case FROM_FIXED: set_register(o, spec->fixed, FIELD_IMPLICIT); return; /* AL, CL: never AH, CH */
    default: return;
    }
    if (o->kind == OPND_XMM && in->prefix & PFX_EVEX)
        o->reg |= high_bit(d, o->field);
    if (o->kind == OPND_MMX || o->kind == OPND_MASK)
        o->reg &= 7; /* REX.R and REX.B are ignored; see bad_high_register() */
    if (o->kind == OPND_GPR && o->size == 1 && o->reg >= 4 && !(in->prefix & (PFX_REX | PFX_VEX | PFX_EVEX))) {
        o->kind = OPND_GPR_HIGH;
        o->reg -= 4;
    }
}

static int decode_operands(struct decoder *d)
{
    struct insn *in = d->in;
    const struct spec_row *first = &specs[d->row->spec[0]];
    if ((first->size == SZ_Y || first->size == SZ_O) && d->row->spec[1] != Ev)
        in->opsize = resolve_size(d, first->size);
    for (unsigned i = 0; i < 4 && d->row->spec[i] != NO; i++) {
        const struct spec_row *spec = &specs[d->row->spec[i]];
        struct insn_opnd *o = &in->opnd[i];
        o->kind = spec->kind;
        o->size = resolve_size(d, spec->size);
        resolve_register(d, spec, o);
        int rc = decode_imm(d, spec, o);
        if (rc)
            return rc;
        in->nopnd++;
    }
    return 0;
}

/* ---- what makes a known encoding #UD ---- */

static bool uses_vvvv(const struct decode_row *row)
{
    for (unsigned i = 0; i < 4; i++) {
        if (specs[row->spec[i]].from == FROM_VVVV)
            return true;
    }
    return false;
}

static bool bad_control_register(const struct insn_opnd *o)
{
    return o->kind == OPND_CR ? !(o->reg == 0 || (o->reg >= 2 && o->reg <= 4) || o->reg == 8) : o->kind == OPND_DR && o->reg > 7;
}

static bool bad_segment_register(const struct insn *in)
{
    for (unsigned i = 0; i < in->nopnd; i++) {
        if (in->opnd[i].kind == OPND_SEG && (in->opnd[i].reg > INSN_GS || (i == 0 && in->op == OP_MOV_SEG && in->opnd[i].reg == INSN_CS)))
            return true;
    }
    return false;
}

/* Gathers need three different registers (SDM vol. 2, VGATHERDPD). */
static bool bad_gather(const struct insn *in)
{
    unsigned dst = in->opnd[0].reg, mask = in->opnd[2].reg;
    if (in->prefix & PFX_EVEX)
        return in->vsib && in->opnd[0].kind == OPND_XMM && dst == in->index;
    return in->vsib && (dst == in->index || dst == mask || mask == in->index);
}

/* Bits of the encoding that would name a mask register beyond k7, or a general one beyond R15. */
static bool bad_high_register(const struct decoder *d)
{
    const struct insn *in = d->in;
    for (unsigned i = 0; i < in->nopnd; i++) {
        const struct insn_opnd *o = &in->opnd[i];
        if (o->kind == OPND_GPR && o->field == FIELD_REG && d->high_reg)
            return true;
        if (o->kind == OPND_MASK && ((o->field == FIELD_REG && (d->rex & REX_R || d->high_reg)) ||
                                     (o->field == FIELD_VVVV && in->vvvv > 7)))
            return true;
    }
    return false;
}

/* SDM vol. 2, 2.7.11: what EVEX.aaa, z, vvvv and V' may be. */
static bool bad_evex(const struct decoder *d)
{
    const struct insn *in = d->in;
    unsigned mask = evex_mask_register(in->payload);
    bool zeroing = in->payload[2] & 0x80;
    uint32_t evex = d->row->evex;
    if (!in->vl || (d->mode != CPU_MODE_64 && !(in->payload[2] & 8)) /* V' */)
        return true;
    if (!uses_vvvv(d->row) && (d->vvvv || (d->high_vvvv && !in->vsib)))
        return true;
    if ((evex & KN && mask) || (in->vsib && !mask))
        return true;
    return zeroing && (!mask || evex & (KN | KM) || in->opnd[0].kind == OPND_MEM);
}

static int check_rules(const struct decoder *d)
{
    const struct insn *in = d->in;
    if (in->prefix & PFX_LOCK && !(d->row->cond & LK && in->has_mem))
        return INSN_INVALID;
    if (in->prefix & PFX_VEX && d->vvvv != 0 && !uses_vvvv(d->row))
        return INSN_INVALID;
    if (bad_control_register(&in->opnd[0]) || bad_control_register(&in->opnd[1]) || bad_segment_register(in) || bad_gather(in) ||
        bad_high_register(d) || (in->prefix & PFX_EVEX && bad_evex(d)))
        return INSN_INVALID;
    return 0;
}

/* ---- putting it together ---- */

static unsigned legacy_feature(const struct insn *in)
{
    unsigned feature = insn_op_feature(in->op);
    bool mmx = in->opnd[0].kind == OPND_MMX || in->opnd[1].kind == OPND_MMX;
    if (feature == FEATURE_MMX2)
        return mmx ? FEATURE_MMX : FEATURE_SSE2;
    if (feature == FEATURE_SSEI)
        return mmx ? FEATURE_SSE : FEATURE_SSE2;
    return feature;
}

static unsigned evex_feature(uint32_t evex)
{
    unsigned feature = evex & EV_FEATURE;
    return feature == EVAES ? FEATURE_VAES : feature == EVPCLMUL ? FEATURE_VPCLMULQDQ : FEATURE_AVX512F + feature;
}

static unsigned vex_feature(const struct insn *in, uint32_t cond)
{
    unsigned feature = insn_op_feature(in->op);
    switch (feature) {
    case FEATURE_BMI1: case FEATURE_BMI2: case FEATURE_FMA: case FEATURE_F16C: case FEATURE_AVX2:
        return feature;
    case FEATURE_AES:
        return in->vex_l ? FEATURE_VAES : FEATURE_AES;
    case FEATURE_PCLMULQDQ:
        return in->vex_l ? FEATURE_VPCLMULQDQ : FEATURE_PCLMULQDQ;
    default:
        return cond & A2 || (cond & AI && in->vex_l) ? FEATURE_AVX2 : FEATURE_AVX;
    }
}

/* EVEX.b, L'L: the vector length; 0: there is none (SDM vol. 2, 2.7.10 and 2.7.11). */
static unsigned evex_length(const struct decoder *d)
{
    const struct insn *in = d->in;
    uint32_t evex = d->row->evex, lengths = (evex & EV_LENGTHS) >> EV_LENGTH_SHIFT;
    bool b = evex_b(in->payload), registers = d->mod == 3, rounds = b && registers;
    if (b && !(evex & (registers ? ER | SAE : BC)))
        return 0;
    if (rounds)
        return evex & LIG ? 16 : 64;
    if (in->vex_l == 3)
        return 0;
    if (evex & LIG)
        return 16;
    if (lengths && !(lengths >> in->vex_l & 1))
        return 0;
    return 16u << in->vex_l;
}

/* What the mask is to the memory operand; disp8 counts what is accessed. */
static void decode_evex_access(struct decoder *d)
{
    struct insn *in = d->in;
    uint32_t evex = d->row->evex;
    unsigned element = (evex & EV_ELEMENT) >> EV_ELEMENT_SHIFT;
    in->element = element ? 1u << (element - 1) : 0;
    in->access = evex / NF & (ACCESS_WHOLE | ACCESS_ANY | ACCESS_PACKED | ACCESS_ALIGNED);
    for (unsigned i = 0; i < in->nopnd; i++) {
        struct insn_opnd *o = &in->opnd[i];
        if (o->kind != OPND_MEM)
            continue;
        in->elements = in->element ? o->size / in->element : 0;
        if (evex_b(in->payload))
            o->size = in->element;
        if (in->disp_len == 1)
            in->disp *= in->access & ACCESS_PACKED ? in->element : o->size;
    }
}

/* W is ignored where it would choose the size of a general register that 32-bit code has not. */
static void ignore_w(struct decoder *d)
{
    for (unsigned i = 0; i < 4 && d->mode != CPU_MODE_64; i++)
        if (d->row->spec[i] == Ey || d->row->spec[i] == Gy || d->row->cond & I64)
            d->in->payload[1] &= 0x7f;
}

/* Everything that follows from the chosen row. */
static int decode_by_row(struct decoder *d)
{
    struct insn *in = d->in;
    uint32_t cond = d->row->cond;
    in->opsize = operand_size(d);
    in->vl = !(cond & VEC) ? 0 : in->prefix & PFX_EVEX ? evex_length(d) : in->vex_l ? 32 : 16;
    int rc = cond & MODRM ? decode_modrm(d) : 0;
    if (rc == 0)
        rc = decode_operands(d);
    if (rc == 0)
        rc = check_rules(d);
    if (rc)
        return rc;
    if (d->row->evex) {
        ignore_w(d);
        in->feature = evex_feature(d->row->evex);
        if (in->prefix & PFX_EVEX)
            decode_evex_access(d);
        return 0;
    }
    if (d->repeat && (cond & PREFIX_MASK) != PF2 && (cond & PREFIX_MASK) != PF3)
        in->prefix |= d->repeat == 0xf2 ? PFX_REPNE : PFX_REP;
    in->feature = in->prefix & PFX_VEX ? vex_feature(in, cond) : legacy_feature(in);
    return 0;
}

static int decode_opcode(struct decoder *d)
{
    int vex = at_vex(d), evex = at_evex(d);
    if (vex < 0 || evex < 0)
        return vex < 0 ? vex : evex;
    int rc = vex ? decode_vex(d) : evex ? decode_evex(d) : decode_escapes(d);
    return rc ? rc : choose_row(d);
}

int insn_decode(const uint8_t *bytes, size_t len, enum cpu_mode mode, struct insn *out)
{
    struct decoder d = {
        .bytes = bytes, .len = len < INSN_MAX_LENGTH ? (unsigned)len : INSN_MAX_LENGTH, .cut = len < INSN_MAX_LENGTH,
        .mode = mode, .in = out,
    };
    *out = (struct insn){ .base = INSN_NO_REG, .index = INSN_NO_REG, .seg = INSN_DS };
    int rc = decode_prefixes(&d);
    if (rc == 0) {
        out->asize = address_size(&d);
        rc = decode_opcode(&d);
    }
    if (rc == 0)
        rc = decode_by_row(&d);
    out->length = d.pos;
    return rc ? rc : (int)d.pos;
}
