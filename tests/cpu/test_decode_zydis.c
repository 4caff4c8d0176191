/* SPDX-License-Identifier: MIT */
/*
 * The decoder against Zydis, an independent one: every one- to three-byte opcode and VEX opcode, with every combination of prefixes worth
 * having, every ModRM byte, in each code size. Both must agree on whether the bytes are an instruction, its length, its mnemonic, its memory
 * operand, the sizes, registers and immediates of its operands.
 *
 *   test_decode_zydis [--all] [--verbose]     without --all: a sample, seconds; with it: everything, minutes
 *
 * Where the two differ on purpose, skip_difference() says why. What the processor does (tried on Intel hardware) wins over either.
 */
#include <Zydis/Zydis.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/decode.h"

enum { REPORTS_MAX = 60 };

struct run {
    ZydisDecoder zydis[3];
    unsigned long cases, accepted, skipped, failed;
    unsigned long failed_by[2048]; /* by map and opcode, so that one bad opcode does not fill the report */
    unsigned per_opcode;           /* reports of one opcode */
    unsigned reports;
};

/* ---- mnemonics ---- */

struct alias {
    enum insn_op op;
    const char *names; /* Zydis names, blanks around each */
};

/* Where our name is not Zydis's with or without the V of a VEX form. */
static const struct alias aliases[] = {
    { OP_CALL_FAR, " call " }, { OP_JMP_FAR, " jmp " }, { OP_RET_FAR, " ret " }, { OP_MOV_SEG, " mov " }, { OP_MOV_CR, " mov " }, { OP_MOV_DR, " mov " },
    { OP_PUSH_SEG, " push " }, { OP_POP_SEG, " pop " }, { OP_CBW, " cbw cwde cdqe " }, { OP_CWD, " cwd cdq cqo " },
    { OP_CMPS, " cmpsb cmpsw cmpsd cmpsq " }, { OP_MOVS, " movsb movsw movsd movsq " }, { OP_STOS, " stosb stosw stosd stosq " },
    { OP_LODS, " lodsb lodsw lodsd lodsq " }, { OP_SCAS, " scasb scasw scasd scasq " }, { OP_INS, " insb insw insd " }, { OP_OUTS, " outsb outsw outsd " },
    { OP_PUSHA, " pusha pushad " }, { OP_POPA, " popa popad " }, { OP_PUSHF, " pushf pushfd pushfq " }, { OP_POPF, " popf popfd popfq " },
    { OP_IRET, " iret iretd iretq " }, { OP_JCXZ, " jcxz jecxz jrcxz " }, { OP_ENDBR, " endbr32 endbr64 nop " },
    { OP_PREFETCH, " prefetchnta prefetcht0 prefetcht1 prefetcht2 " }, { OP_PREFETCHW, " prefetchw prefetchwt1 " }, { OP_SYSRET, " sysret " },
    { OP_WBINVD, " wbinvd wbnoinvd " }, { OP_NOP, " nop cldemote prefetch " }, { OP_FNOP, " fnop feni8087_nop fdisi8087_nop fsetpm287_nop " },
    { OP_XSAVE, " xsave xsave64 " }, { OP_XRSTOR, " xrstor xrstor64 " }, { OP_XSAVEOPT, " xsaveopt xsaveopt64 " }, { OP_XSAVEC, " xsavec xsavec64 " },
    { OP_XSAVES, " xsaves xsaves64 " }, { OP_XRSTORS, " xrstors xrstors64 " }, { OP_FXSAVE, " fxsave fxsave64 " }, { OP_FXRSTOR, " fxrstor fxrstor64 " },
    { OP_MOVD, " movd movq vmovd vmovq " }, { OP_MOVQ, " movq vmovq " }, { OP_PEXTRD, " pextrd pextrq vpextrd vpextrq " },
    { OP_PINSRD, " pinsrd pinsrq vpinsrd vpinsrq " }, { OP_VMMCALL, " vmmcall vmgexit " },
    /* x87 register forms that are another's alias */
    { OP_FCOM, " fcom fcom2 " }, { OP_FCOMP, " fcomp fcomp3 fcomp5 " }, { OP_FXCH, " fxch fxch4 fxch7 " }, { OP_FSTP, " fstp fstp1 fstp8 fstp9 fstpnce " },
};

static bool is_condition(const char *s)
{
    static const char *const names = " o no b nb z nz be nbe s ns p np l nl le nle ";
    char padded[16];
    snprintf(padded, sizeof padded, " %s ", s);
    return strstr(names, padded) != NULL;
}

static bool same_word(const char *zydis, const char *ours)
{
    for (; *zydis && *ours; zydis++, ours++) {
        if (toupper((unsigned char)*zydis) != *ours)
            return false;
    }
    return *zydis == *ours;
}

static bool mnemonic_matches(const struct insn *in, const char *name)
{
    char padded[40];
    if (same_word(name, insn_op_name(in->op)))
        return true;
    if (in->prefix & PFX_VEX && name[0] == 'v' && same_word(name + 1, insn_op_name(in->op)))
        return true;
    if (in->op >= OP_EVEX) /* one operation for all */
        return true;
    if (in->op == OP_JCC)
        return name[0] == 'j' && is_condition(name + 1);
    if (in->op == OP_SETCC)
        return strncmp(name, "set", 3) == 0 && is_condition(name + 3);
    if (in->op == OP_CMOVCC)
        return strncmp(name, "cmov", 4) == 0 && is_condition(name + 4);
    snprintf(padded, sizeof padded, " %s ", name);
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++) {
        if (aliases[i].op == in->op)
            return strstr(aliases[i].names, padded) != NULL;
    }
    return false;
}

/* ---- operands ---- */

static unsigned reg_number(ZydisRegister reg)
{
    return reg == ZYDIS_REGISTER_NONE ? INSN_NO_REG : reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP ? INSN_RIP
        : (unsigned)ZydisRegisterGetId(reg);
}

static const char *check_memory(const struct insn *in, const ZydisDecodedOperand *z, enum cpu_mode mode)
{
    static const ZydisRegister segs[] = { ZYDIS_REGISTER_ES, ZYDIS_REGISTER_CS, ZYDIS_REGISTER_SS, ZYDIS_REGISTER_DS, ZYDIS_REGISTER_FS,
                                          ZYDIS_REGISTER_GS };
    unsigned index = reg_number(z->mem.index), scale = in->index == INSN_NO_REG ? 0 : 1u << in->scale;
    if (in->base != reg_number(z->mem.base))
        return "base";
    if (in->index != index || (index != INSN_NO_REG && scale != z->mem.scale))
        return "index";
    int64_t disp = z->mem.disp.has_displacement ? z->mem.disp.value : 0;
    if (in->disp != (int32_t)disp)
        return "displacement";
    /* without meaning in 64-bit code, but for FS, GS and the choice of #SS */
    bool flat = z->mem.type == ZYDIS_MEMOP_TYPE_AGEN || (mode == CPU_MODE_64 && in->seg < INSN_FS && z->mem.segment != ZYDIS_REGISTER_FS && z->mem.segment != ZYDIS_REGISTER_GS);
    if (in->seg > INSN_GS || (!flat && segs[in->seg] != z->mem.segment))
        return "segment";
    return NULL;
}

static bool register_matches(const struct insn_opnd *o, ZydisRegister reg)
{
    ZydisRegisterClass class = ZydisRegisterGetClass(reg);
    unsigned id = (unsigned)ZydisRegisterGetId(reg);
    switch (o->kind) {
    case OPND_GPR:
        if (class == ZYDIS_REGCLASS_GPR8)
            return o->size == 1 && (id < 4 ? id == o->reg : id >= 8 && id - 4 == o->reg);
        return id == o->reg && o->size == (class == ZYDIS_REGCLASS_GPR16 ? 2 : class == ZYDIS_REGCLASS_GPR32 ? 4 : 8);
    case OPND_GPR_HIGH: return class == ZYDIS_REGCLASS_GPR8 && id == o->reg + 4u;
    case OPND_SEG: return class == ZYDIS_REGCLASS_SEGMENT && id == o->reg;
    case OPND_CR: return class == ZYDIS_REGCLASS_CONTROL && id == o->reg;
    case OPND_DR: return class == ZYDIS_REGCLASS_DEBUG && id == o->reg;
    case OPND_ST: return class == ZYDIS_REGCLASS_X87 && id == o->reg;
    case OPND_MMX: return class == ZYDIS_REGCLASS_MMX && id == o->reg;
    case OPND_XMM: return (class == ZYDIS_REGCLASS_XMM || class == ZYDIS_REGCLASS_YMM || class == ZYDIS_REGCLASS_ZMM) && id == o->reg;
    case OPND_MASK: return class == ZYDIS_REGCLASS_MASK && id == o->reg;
    default: return false;
    }
}

static uint64_t low_bits(uint64_t value, unsigned bytes)
{
    return bytes >= 8 || bytes == 0 ? value : value & ((1ull << 8 * bytes) - 1);
}

static const char *check_operand(const struct insn *in, const struct insn_opnd *o, const ZydisDecodedOperand *z)
{
    switch (z->type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
        return register_matches(o, z->reg.value) ? NULL : "register";
    case ZYDIS_OPERAND_TYPE_MEMORY:
        if (o->kind == OPND_MOFFS)
            return (uint64_t)in->imm != low_bits((uint64_t)z->mem.disp.value, in->asize) || o->size != z->size / 8 ? "moffs" : NULL;
        if (o->kind < OPND_MEM || o->kind > OPND_MEM_XLAT)
            return "not memory";
        return o->size > 1 && o->size != z->size / 8 ? "memory size" : NULL;
    case ZYDIS_OPERAND_TYPE_POINTER:
        return o->kind != OPND_FAR || in->imm2 != z->ptr.segment || (uint32_t)in->imm != z->ptr.offset ? "far pointer" : NULL;
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        if (o->kind == OPND_IMM2)
            return in->imm2 != z->imm.value.u ? "second immediate" : NULL;
        if (o->kind != OPND_IMM && o->kind != OPND_REL)
            return "not immediate";
        return low_bits((uint64_t)in->imm, o->size) != low_bits(z->imm.value.u, o->size) ? "immediate" : NULL;
    default:
        return "unknown operand type";
    }
}

/* Whether the operand size decides what the operation does though it may have no operand that shows it. */
static bool opsize_counts(const struct insn *in)
{
    static const uint16_t ops[] = {
        OP_CBW, OP_CWD, OP_PUSHF, OP_POPF, OP_PUSHA, OP_POPA, OP_PUSH, OP_POP, OP_PUSH_SEG, OP_POP_SEG, OP_ENTER, OP_LEAVE, OP_IRET, OP_RET, OP_RET_FAR,
        OP_CALL, OP_CALL_FAR, OP_JMP, OP_JMP_FAR, OP_JCC, OP_LOOP, OP_LOOPE, OP_LOOPNE, OP_JCXZ, OP_MOVS, OP_CMPS, OP_STOS, OP_LODS, OP_SCAS,
        OP_SYSRET, OP_SYSEXIT, OP_BOUND, OP_LES, OP_LDS, OP_LSS, OP_LFS, OP_LGS, OP_FNSTENV, OP_FLDENV, OP_FNSAVE, OP_FRSTOR, OP_FXSAVE, OP_FXRSTOR,
        OP_XSAVE, OP_XRSTOR, OP_XSAVEOPT, OP_XSAVEC, OP_XSAVES, OP_XRSTORS, OP_MOV_CR, OP_MOV_DR, OP_MUL, OP_IMUL, OP_DIV, OP_IDIV,
    };
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        if (ops[i] == in->op)
            return true;
    }
    return false;
}

/* Operations whose list of operands is a matter of taste. */
static bool operands_differ_by_style(const struct insn *in, const ZydisDecodedInstruction *z)
{
    return z->operand_count_visible != in->nopnd && (z->operand_count_visible == 0 || in->nopnd == 0 || in->opnd[0].kind == OPND_ST ||
        in->opnd[0].kind == OPND_MEM_SI || in->opnd[0].kind == OPND_MEM_DI || in->op == OP_FNSTSW ||
        in->opnd[in->nopnd - 1].kind == OPND_XMM /* implicit XMM0 */);
}

static const char *check_operands(const struct insn *in, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *zo, enum cpu_mode mode)
{
    for (unsigned i = 0; i < z->operand_count; i++) {
        if (zo[i].type == ZYDIS_OPERAND_TYPE_MEMORY && zo[i].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM) {
            const char *bad = in->has_mem ? check_memory(in, &zo[i], mode) : "memory operand";
            if (bad)
                return bad;
        }
    }
    if (opsize_counts(in) && in->opsize * 8 != z->operand_width)
        return "operand size";
    if (in->asize * 8 != z->address_width)
        return "address size";
    if (operands_differ_by_style(in, z) || in->op == OP_NOP || in->op == OP_ENDBR)
        return NULL;
    bool masked = in->prefix & PFX_EVEX && z->operand_count_visible == in->nopnd + 1; /* its second operand is the mask, then */
    if (z->operand_count_visible != in->nopnd + masked)
        return "number of operands";
    for (unsigned i = 0; i < in->nopnd; i++) {
        const char *bad = check_operand(in, &in->opnd[i], &zo[i + (masked && i > 0)]);
        if (bad)
            return bad;
    }
    return NULL;
}

/* ---- known differences ---- */

static const char *mnemonic(const ZydisDecodedInstruction *z)
{
    return ZydisMnemonicGetString(z->mnemonic);
}

/* Zydis accepts, we do not: instructions of features that our CPU does not have. */
static bool absent_feature(const ZydisDecodedInstruction *z)
{
    static const char *const sets[] = {
        "AMD3DNOW", "AMD_INVLPGB", "AMX_BF16", "AMX_INT8", "AMX_TILE", "AVX512VEX", "AVX_VNNI", "CET", "CLZERO", "ENQCMD", "FMA4", "GFNI", "HRESET",
        "KEYLOCKER", "KEYLOCKER_WIDE", "KNC", "KNCE", "KNCV", "LWP", "MCOMMIT", "MONITORX", "MOVDIR", "PADLOCK", "PCONFIG", "PT", "RDPRU", "RTM",
        "SGX", "SGX_ENCLV", "SNP", "SSE4A", "TBM", "TDX", "TSX_LDTRK", "UINTR", "WAITPKG", "XOP",
    };
    const char *set = ZydisISAExtGetString(z->meta.isa_ext);
    if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX || z->encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX)
        return true;
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        if (strcmp(set, sets[i]) == 0)
            return true;
    }
    return false;
}

static bool skip_difference(const struct insn *in, int n, bool zydis_accepts, const ZydisDecodedInstruction *z, const char *why)
{
    if (zydis_accepts && n < 0)
        return absent_feature(z);
    /* Zydis 4.0 takes R13 for the base of SIB.base = 5, mod = 0, REX.B = 1 when 67 is given; the processor takes none, as without 67. */
    if (strcmp(why, "base") == 0 && in->asize == 4 && in->base == INSN_NO_REG && z->raw.sib.base == 5 && z->raw.modrm.mod == 0)
        return true;
    /* The source register of LAR and LSL is named r32 with REX.W; only its low word is read. */
    if (strcmp(why, "register") == 0 && (in->op == OP_LAR || in->op == OP_LSL))
        return true;
    /* MOVSXD with 66: the processor reads a word (tried at the end of a page); Zydis says a dword. */
    if (strcmp(why, "memory size") == 0 && in->op == OP_MOVSXD)
        return in->opsize == 2;
    return false;
}

/* ---- one case ---- */

static void report(struct run *run, const uint8_t *bytes, enum cpu_mode mode, int n, const struct insn *in, bool ok, const ZydisDecodedInstruction *z,
                   const char *why)
{
    run->failed++;
    unsigned key = in->map * 256u + in->opcode + (in->prefix & PFX_VEX ? 1024 : 0);
    if (run->failed_by[key & 2047]++ >= run->per_opcode || run->reports >= REPORTS_MAX)
        return;
    run->reports++;
    printf("%d-bit", mode == CPU_MODE_16 ? 16 : mode == CPU_MODE_32 ? 32 : 64);
    for (int i = 0; i < 15 && i < (ok && z->length > n ? z->length : n > 0 ? n : 10); i++)
        printf(" %02x", bytes[i]);
    printf(": ours %d %s, Zydis %d %s (%s): %s\n", n, insn_op_name(n > 0 ? in->op : 0), ok ? z->length : -1, ok ? mnemonic(z) : "-",
           ok ? ZydisISAExtGetString(z->meta.isa_ext) : "", why);
}

static void check_case(struct run *run, const uint8_t *bytes, enum cpu_mode mode)
{
    struct insn in;
    ZydisDecodedInstruction z;
    ZydisDecodedOperand zo[ZYDIS_MAX_OPERAND_COUNT];
    int n = insn_decode(bytes, INSN_MAX_LENGTH, mode, &in);
    bool ok = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&run->zydis[mode], bytes, INSN_MAX_LENGTH, &z, zo));
    run->cases++;
    run->accepted += n > 0;
    const char *why = NULL;
    if (ok != (n > 0))
        why = ok ? "only Zydis accepts" : "only ours accepts";
    else if (ok && z.length != n)
        why = "length";
    else if (ok && !mnemonic_matches(&in, mnemonic(&z)))
        why = "mnemonic";
    else if (ok)
        why = check_operands(&in, &z, zo, mode);
    if (!why)
        return;
    if (skip_difference(&in, n, ok, &z, why))
        run->skipped++;
    else
        report(run, bytes, mode, n, &in, ok, &z, why);
}

/* ---- the space of encodings ---- */

/* What follows the opcode: ModRM, then bytes that are SIB, displacement or immediate, different from case to case. */
static void fill_tail(uint8_t *tail, unsigned count, uint8_t modrm, unsigned long seed)
{
    uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15u;
    for (unsigned i = 0; i < count; i++) {
        x ^= x >> 29;
        x *= 0xbf58476d1ce4e5b9u;
        tail[i] = (uint8_t)(x >> 56);
    }
    if (count)
        tail[0] = modrm;
}

struct prefixes {
    uint8_t count;
    uint8_t bytes[4];
};

enum { PREFIXES_MAX = 2000 };

/* None, each one, each ordered pair, and each of those followed by some REX bytes in 64-bit code. */
static unsigned make_prefixes(struct prefixes *out, enum cpu_mode mode, bool all)
{
    static const uint8_t legacy[] = { 0x66, 0xf2, 0xf3, 0xf0, 0x67, 0x2e, 0x64, 0x26, 0x36, 0x3e, 0x65 };
    static const uint8_t rex[] = { 0x48, 0x41, 0x44, 0x42, 0x4f, 0x40 };
    unsigned legacies = all ? sizeof legacy : 7, rexes = mode != CPU_MODE_64 ? 0 : all ? sizeof rex : 2, n = 0;
    for (unsigned a = 0; a <= legacies; a++) {
        for (unsigned b = 0; b <= legacies; b++) {
            if (a == 0 && b != 0)
                continue;
            for (unsigned r = 0; r <= rexes; r++) {
                struct prefixes p = { 0 };
                if (a)
                    p.bytes[p.count++] = legacy[a - 1];
                if (b)
                    p.bytes[p.count++] = legacy[b - 1];
                if (r)
                    p.bytes[p.count++] = rex[r - 1];
                out[n++] = p;
            }
        }
    }
    if (mode == CPU_MODE_64)
        out[n++] = (struct prefixes){ 2, { 0x48, 0x66 } }; /* a REX that does not count */
    return n;
}

/* ModRM bytes worth trying when not all are: each reg with each class of addressing, and every register form. */
static bool modrm_wanted(unsigned modrm, bool all, unsigned long step)
{
    unsigned mod = modrm >> 6, rm = modrm & 7;
    return all || mod == 3 ? all || (modrm + step) % 3 == 0 : (rm == 4 || rm == 5 || rm == 6 || rm == 3) && (modrm + step) % 4 == 0;
}

static void run_legacy(struct run *run, enum cpu_mode mode, bool all)
{
    static const struct { uint8_t count, bytes[2]; } maps[4] = { { 0 }, { 1, { 0x0f } }, { 2, { 0x0f, 0x38 } }, { 2, { 0x0f, 0x3a } } };
    static struct prefixes prefixes[PREFIXES_MAX]; /* mutable: scratch of a test program */
    unsigned nprefixes = make_prefixes(prefixes, mode, all);
    for (unsigned map = 0; map < 4; map++) {
        for (unsigned opcode = 0; opcode < 256; opcode++) {
            for (unsigned p = 0; p < nprefixes; p++) {
                uint8_t bytes[16];
                unsigned n = prefixes[p].count;
                memcpy(bytes, prefixes[p].bytes, n);
                memcpy(bytes + n, maps[map].bytes, maps[map].count);
                n += maps[map].count;
                bytes[n++] = (uint8_t)opcode;
                for (unsigned modrm = 0; modrm < 256; modrm++) {
                    if (!modrm_wanted(modrm, all && (p < 100 || (modrm ^ p) % 4 == 0), p))
                        continue;
                    fill_tail(bytes + n, sizeof bytes - n, (uint8_t)modrm, run->cases);
                    check_case(run, bytes, mode);
                }
            }
        }
    }
}

static void run_vex(struct run *run, enum cpu_mode mode, bool all)
{
    uint8_t bytes[16];
    for (unsigned long c = 0; c < 4ul * 256 * 256; c++) { /* C5, and C4 with maps 1 to 3; byte with pp, L, vvvv and W or R; opcode */
        unsigned map = c >> 16, last = c >> 8 & 255, n = 0;
        if (!all && last % 5 != 0 && last != 0x79)
            continue;
        for (unsigned modrm = 0; modrm < 256; modrm++) {
            if (!modrm_wanted(modrm, all && last % 8 == 0, c + modrm / 64))
                continue;
            n = 0;
            bytes[n++] = map ? 0xc4 : 0xc5;
            if (map)
                bytes[n++] = (uint8_t)(map | (mode == CPU_MODE_64 ? (run->cases * 7 & 0xe0) : 0xe0));
            bytes[n++] = (uint8_t)last;
            bytes[n++] = (uint8_t)c;
            fill_tail(bytes + n, sizeof bytes - n, (uint8_t)modrm, run->cases);
            check_case(run, bytes, mode);
        }
    }
}

/* Any bytes: long prefix runs, VEX after prefixes, reserved maps. */
static void run_random(struct run *run, enum cpu_mode mode, unsigned long count)
{
    static const uint8_t starts[] = { 0xc4, 0xc5, 0x62, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x0f, 0x48, 0x64, 0x8f, 0x41, 0x2e };
    for (unsigned long i = 0; i < count; i++) {
        uint8_t bytes[16];
        fill_tail(bytes, sizeof bytes, (uint8_t)(i * 11), i);
        if (i % 2)
            bytes[0] = starts[i / 2 % sizeof starts];
        if (i % 16 > 7)
            bytes[1] = starts[i / 16 % sizeof starts];
        check_case(run, bytes, mode);
    }
}

int main(int argc, char **argv)
{
    static struct run run; /* mutable: the state of a test program */
    static const ZydisMachineMode modes[3] = { ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_MACHINE_MODE_LONG_64 };
    static const ZydisStackWidth stacks[3] = { ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64 };
    bool all = argc > 1 && strcmp(argv[1], "--all") == 0;
    run.per_opcode = argc > 2 ? 4 : 1;
    for (enum cpu_mode mode = CPU_MODE_16; mode <= CPU_MODE_64; mode++) {
        ZydisDecoderInit(&run.zydis[mode], modes[mode], stacks[mode]);
        ZydisDecoderEnableMode(&run.zydis[mode], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE); /* NOPs where the feature is absent */
        ZydisDecoderEnableMode(&run.zydis[mode], ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
        ZydisDecoderEnableMode(&run.zydis[mode], ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
        ZydisDecoderEnableMode(&run.zydis[mode], ZYDIS_DECODER_MODE_WBNOINVD, ZYAN_FALSE);
        run_legacy(&run, mode, all);
        run_vex(&run, mode, all);
        run_random(&run, mode, all ? 4000000 : 100000);
    }
    printf("%lu encodings, %lu accepted, %lu differences explained, %lu not\n", run.cases, run.accepted, run.skipped, run.failed);
    return run.failed != 0;
}
