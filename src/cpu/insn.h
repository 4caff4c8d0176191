/* SPDX-License-Identifier: MIT */
/*
 * A decoded x86 instruction, as insn_decode() (decode.h) fills it.
 *
 * Everything that execution needs is resolved here: which operation, on which registers, of which size, with which memory address; nobody
 * looks at the instruction's bytes again, except a translator that copies them (for it there are the offsets of the fields).
 * Names follow the SDM, volume 2, chapter 2 and appendix A.
 */
#ifndef MEZZ_CPU_INSN_H
#define MEZZ_CPU_INSN_H

#include <stdbool.h>
#include <stdint.h>

/* A semantic operation; insn_ops.def lists them. */
enum insn_op {
    OP_INVALID = 0,
#define OP(name, feature, flags) OP_##name,
#include "cpu/insn_ops.def"
#undef OP
    OP_COUNT
};

/* What CPUID must show for the instruction to exist (else #UD). FEATURE_BASE: always there. */
enum insn_feature {
    FEATURE_BASE, FEATURE_FPU, FEATURE_CMOV, FEATURE_CX8, FEATURE_CX16, FEATURE_SEP, FEATURE_SYSCALL, FEATURE_MMX,
    FEATURE_FXSR, FEATURE_SSE, FEATURE_SSE2, FEATURE_SSE3, FEATURE_SSSE3, FEATURE_SSE41, FEATURE_SSE42, FEATURE_AES,
    FEATURE_PCLMULQDQ, FEATURE_SHA, FEATURE_POPCNT, FEATURE_LZCNT, FEATURE_BMI1, FEATURE_BMI2, FEATURE_ADX,
    FEATURE_MOVBE, FEATURE_CLFSH, FEATURE_CLFLUSHOPT, FEATURE_CLWB, FEATURE_RDRAND, FEATURE_RDSEED, FEATURE_RDPID,
    FEATURE_RDTSCP, FEATURE_XSAVE, FEATURE_XSAVEOPT, FEATURE_XSAVEC, FEATURE_XSAVES, FEATURE_FSGSBASE, FEATURE_INVPCID,
    FEATURE_MONITOR, FEATURE_SMAP, FEATURE_PKU, FEATURE_SERIALIZE, FEATURE_PREFETCHW, FEATURE_VMX, FEATURE_SVM,
    FEATURE_SMX, FEATURE_AVX, FEATURE_AVX2, FEATURE_FMA, FEATURE_F16C, FEATURE_VAES, FEATURE_VPCLMULQDQ,
    FEATURE_AVX512F, FEATURE_AVX512CD, FEATURE_AVX512BW, FEATURE_AVX512DQ, FEATURE_AVX512IFMA, FEATURE_AVX512VBMI, FEATURE_AVX512VBMI2,
    FEATURE_AVX512VNNI, FEATURE_AVX512BITALG, FEATURE_AVX512VPOPCNTDQ, FEATURE_AVX512BF16, /* VL comes with F */
    FEATURE_COUNT,
    /* only in insn_ops.def, never in struct insn: resolved by the kind of register */
    FEATURE_MMX2 = 0xfe, FEATURE_SSEI = 0xff
};

/* Per operation: see insn_ops.def. */
enum insn_op_flag {
    OPF_WRITES_OPND0 = 1 << 0, OPF_READS_OPND0 = 1 << 1, OPF_WRITES_OPND1 = 1 << 2, OPF_READS_FLAGS = 1 << 3, OPF_WRITES_FLAGS = 1 << 4,
    OPF_BRANCH = 1 << 5, OPF_PRIVILEGED = 1 << 6, OPF_STACK = 1 << 7, OPF_NOP = 1 << 8
};

/* struct insn.prefix. The bits tell what stood before the opcode, also where it has no effect on the operation. */
enum insn_prefix {
    PFX_LOCK = 1 << 0,    /* only on instructions where LOCK is valid; elsewhere the decoder answers INSN_INVALID */
    PFX_REPNE = 1 << 1,   /* F2 is the last of F2/F3 and is not a mandatory prefix (string ops repeat) */
    PFX_REP = 1 << 2,     /* F3, likewise */
    PFX_66 = 1 << 3, PFX_67 = 1 << 4,
    PFX_REX = 1 << 5,     /* an effective REX byte: byte registers 4..7 are SPL, BPL, SIL, DIL (operands are resolved already) */
    PFX_REX_W = 1 << 6,   /* REX.W or VEX.W */
    PFX_VEX = 1 << 7,     /* VEX form: zero the destination's upper bits; alignment checks only in MOVAPS, MOVNT* and kin */
    PFX_SEG = 1 << 8,     /* a segment override was given (and, in 64-bit mode, it was FS or GS) */
    PFX_EVEX = 1 << 9     /* EVEX form; PFX_VEX is not set then */
};

/* Register numbers of the hardware; used in base, index and operands of kind OPND_GPR. */
enum insn_reg {
    INSN_RAX, INSN_RCX, INSN_RDX, INSN_RBX, INSN_RSP, INSN_RBP, INSN_RSI, INSN_RDI,
    INSN_R8, INSN_R9, INSN_R10, INSN_R11, INSN_R12, INSN_R13, INSN_R14, INSN_R15,
    INSN_RIP = 0x20,      /* base only: address of the next instruction */
    INSN_NO_REG = 0xff
};

/* Segment registers in the hardware's order (SDM vol. 2 table 3-1: Sreg). */
enum insn_seg { INSN_ES, INSN_CS, INSN_SS, INSN_DS, INSN_FS, INSN_GS };

enum insn_opnd_kind {
    OPND_NONE,
    OPND_GPR,       /* reg 0..15; size 1 is the low byte (SPL.. included) */
    OPND_GPR_HIGH,  /* reg 0..3 = AH CH DH BH; size 1 */
    OPND_MEM,       /* the ModRM memory operand: seg, base, index, scale, disp of struct insn; asize wraps it */
    OPND_MOFFS,     /* memory at seg:imm (imm zero-extended from asize bytes); MOV A0..A3 */
    OPND_MEM_SI,    /* memory at seg:rSI by asize; string source */
    OPND_MEM_DI,    /* memory at ES:rDI by asize (MASKMOVQ/MASKMOVDQU: seg:rDI) */
    OPND_MEM_XLAT,  /* memory at seg:rBX + AL by asize */
    OPND_IMM,       /* imm, extended to size; the constant 1 of D0/D1 and the port of IN/OUT and the vector of INT come so too */
    OPND_IMM2,      /* imm2 (ENTER's level) */
    OPND_REL,       /* near branch: target = next rIP + imm, truncated to opsize */
    OPND_FAR,       /* far pointer: imm2 = selector, imm = offset */
    OPND_SEG,       /* segment register, reg 0..5 */
    OPND_CR, OPND_DR,
    OPND_ST,        /* x87 ST(reg) */
    OPND_MMX,       /* reg 0..7 */
    OPND_XMM,       /* vector register, reg 0..15 (EVEX: 31); size = bytes that take part: 4, 8, 16, 32, 64 (or 2, 1 for narrow sources) */
    OPND_MASK,      /* opmask register, reg 0..7 */
};

/* Which field of the encoding an operand's register came from (a translator that renames registers needs it). */
enum insn_field { FIELD_IMPLICIT, FIELD_REG, FIELD_RM, FIELD_VVVV, FIELD_OPCODE, FIELD_IS4 };

/* struct insn.access: how an EVEX instruction goes to memory. */
enum insn_access {
    ACCESS_WHOLE = 1 << 0,     /* all of the operand, whatever the mask says (exception classes with NF) */
    ACCESS_ANY = 1 << 1,       /* an element, if any of those of the destination that it goes to is wanted (VBROADCAST) */
    ACCESS_PACKED = 1 << 2,    /* compress and expand: as many elements as bits of the mask are set */
    ACCESS_ALIGNED = 1 << 3,   /* #GP unless aligned */
};

/* Parts of EVEX (SDM vol. 2, 2.7.1). */
static inline unsigned evex_mask_register(const uint8_t payload[3]) { return payload[2] & 7; }
static inline bool evex_b(const uint8_t payload[3]) { return payload[2] & 0x10; }

struct insn_opnd {
    uint8_t kind;   /* enum insn_opnd_kind */
    uint8_t reg;
    uint8_t size;   /* bytes; 0: the operation knows (LEA, FXSAVE, XSAVE, INVLPG, hints); far pointers in memory: 4, 6, 10 */
    uint8_t field;  /* enum insn_field */
};

struct insn {
    uint16_t op;          /* enum insn_op */
    uint16_t prefix;      /* enum insn_prefix bits */
    uint8_t length;       /* 1..15 */
    uint8_t opsize;       /* 1, 2, 4, 8: integer operand size; for stack operations the size pushed; for near branches that of rIP */
    uint8_t asize;        /* 2, 4, 8: address size, also that of rCX/rSI/rDI counters */
    uint8_t vl;           /* 0, 16, 32, 64: vector length of SSE (16), VEX and EVEX forms; 8 never (MMX is told by OPND_MMX) */
    uint8_t map;          /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A; VEX.mmmmm alike */
    uint8_t opcode;       /* last opcode byte */
    uint8_t modrm;        /* raw ModRM byte, when modrm_off != 0 */
    uint8_t reg, rm;      /* ModRM.reg and .rm (register form) extended by REX/VEX; opcode-embedded register in rm when there is no ModRM */
    uint8_t feature;      /* enum insn_feature: CPUID must have it or the instruction is #UD (TZCNT/LZCNT: BSF/BSR instead) */
    uint8_t nopnd;        /* operands in use */
    uint8_t seg;          /* enum insn_seg: effective segment of MEM, MOFFS, SI, XLAT; override applied */
    uint8_t base, index;  /* enum insn_reg; index is a vector register when vsib is set */
    uint8_t scale;        /* shift: 0..3 */
    uint8_t vsib : 1;     /* gather: index is XMM/YMM */
    uint8_t has_mem : 1;  /* ModRM addresses memory (also for LEA, NOP and other operations that do not access it) */
    uint8_t vex_l : 2;    /* VEX.L; EVEX.L'L, resolved to the vector length */
    /* Offsets in the bytes. modrm, disp, imm: 0 = absent. rex: the REX or (first) VEX byte, valid with PFX_REX or PFX_VEX. */
    uint8_t rex_off, opcode_off, modrm_off, disp_off, imm_off;
    uint8_t disp_len, imm_len; /* bytes in the encoding; imm_len includes imm2's */
    uint8_t vvvv;         /* VEX.vvvv, 0..15, already inverted */
    uint16_t imm2;
    uint8_t element, elements; /* EVEX: bytes of what one bit of the mask governs in memory, and how many bits of the mask take part */
    int32_t disp;         /* sign-extended by the user to asize; EVEX: disp8 already scaled */
    struct insn_opnd opnd[4]; /* destination first, in Intel syntax order */
    uint8_t payload[3];   /* EVEX: its bytes P0 to P2. VEX: [1] is the byte with W, vvvv, L and pp */
    uint8_t access;       /* enum insn_access bits */
    int64_t imm;          /* sign- or zero-extended as the operation wants */
};
_Static_assert(sizeof(struct insn) <= 64, "a decoded instruction fits a cache line");

/* Condition code (tttn) of JCC, SETCC, CMOVCC: 0 = O, 1 = NO, 2 = B, ... 15 = NLE (SDM vol. 1 appendix B). */
static inline unsigned insn_cond(const struct insn *in)
{
    return in->opcode & 15;
}

/* Mnemonic as the enum spells it ("ADD"); "INVALID" for values outside the enum. Static storage. */
const char *insn_op_name(enum insn_op op);

/* enum insn_op_flag bits of op; 0 for values outside the enum. */
unsigned insn_op_flags(enum insn_op op);

/* The feature column of insn_ops.def: FEATURE_MMX2 and FEATURE_SSEI not yet resolved. That of a decoded instruction is in->feature. */
unsigned insn_op_feature(enum insn_op op);

/* Lower-case name of a feature ("sse41"). Static storage. */
const char *insn_feature_name(enum insn_feature feature);

/* Whether this form only reads its operand 0, which other forms of its operation write: IMUL of one operand, x87 arithmetic on memory. */
bool insn_only_reads(const struct insn *in);

/* Whether executing `in` may store to memory (explicitly, on the stack, or through rDI). */
bool insn_writes_memory(const struct insn *in);

#endif
