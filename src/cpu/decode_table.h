/* SPDX-License-Identifier: MIT */
/*
 * The form of the opcode tables. Each map has an array of 256 pointers to its opcodes' rows; the first row whose conditions hold is the
 * instruction, and an opcode without such a row is #UD. Operands are written in the codes of the SDM, volume 2, appendix A.2.
 */
#ifndef MEZZ_CPU_DECODE_TABLE_H
#define MEZZ_CPU_DECODE_TABLE_H

#include "cpu/insn.h"

/* Operand codes. Sizes: b 1, w 2, d 4, q 8, dq 16, qq 32; v opsize; z 2 or 4; y 4 or 8 (W); o 8 in 64-bit code, else 4; x vector length. */
enum opnd_spec {
    NO,
    Eb, Ew, Ed, Eq, Ev, Ey, Eo, Ez,      /* ModRM: general register or memory */
    Ewv,                              /* register of opsize, or a word in memory (MOV from Sreg, SLDT, STR, SMSW) */
    EdMb, EdMw,                       /* 32-bit register, or a byte or word in memory (PEXTRB, PINSRW) */
    Gb, Gw, Gd, Gv, Gy, Go,           /* ModRM.reg: general register */
    Bv, By,                           /* VEX.vvvv: general register */
    M, Mb, Mw, Md, Mq, Mdq, Mqq, Mv, My, Mx, /* memory only */
    Mp, Ms, Ma, Mt,                   /* far pointer; descriptor-table register; pair of bounds; 10 bytes */
    M2v,                              /* pair of y-sized integers: CMPXCHG8B and 16B */
    Mvm_d, Mvm_q,                     /* gather: vector-indexed memory of dwords, qwords */
    Ib, sIb, Iw, Iz, Iv, I1, Ib2,     /* immediates: byte; byte sign-extended to opsize; word; word or dword; full; constant 1; 2nd byte */
    Jb, Jz, Ap, Ob, Ov,
    Sw, Cd, Dd, Ro,                   /* ModRM.reg: segment, control, debug register; ModRM.rm: general register whatever mod is */
    rES, rCS, rSS, rDS, rFS, rGS,
    rAL, rAX, rCL, rDX, rAW,          /* rAX: of opsize; rDX: DX; rAW: AX */
    Zb, Zv,                           /* register in the opcode */
    Xb, Xv, Yb, Yv, XLb,              /* strings at rSI, rDI; XLAT's byte */
    Yq, Ydq,                          /* MASKMOVQ, MASKMOVDQU destination */
    P, Q, Qd, Nq,                     /* MMX: ModRM.reg; register or memory (8 or 4 bytes); ModRM.rm register only */
    Vx, Vss, Vsd, Vdq, Vqq, Vh,       /* ModRM.reg: vector register; h = half the vector length */
    Hx, Hss, Hsd, Hdq, Hqq,           /* VEX.vvvv: vector register */
    Wx, Wb, Ww, Wss, Wsd, Wdq, Wqq, Wh, Wqr, We, /* ModRM.rm: vector register or memory; h, qr, e = 1/2, 1/4, 1/8 of the vector length */
    Wdup,                             /* MOVDDUP: 8 bytes, or 32 when the vector length is 32 */
    Kg, Kh, Ke, KeB, KeW, KeD, KeQ,   /* opmask: ModRM.reg; VEX.vvvv; ModRM.rm, or memory of 1, 2, 4, 8 bytes */
    Lx,                               /* vector register in an immediate's upper four bits (is4) */
    X0,                               /* XMM0, implicit */
    ST0, STi,
};

/* Conditions and properties of a row. */
enum {
    NP = 1, P66 = 2, PF3 = 3, PF2 = 4, NP66 = 5,       /* mandatory prefix; NP66: neither F2 nor F3 */
    PREFIX_MASK = 7,
#define EXT(n) ((8u | (n)) << 3)                       /* ModRM.reg is n ("/n") */
    EXT_SHIFT = 3, EXT_MASK = 15 << EXT_SHIFT,
#define RM(n) ((8u | (n)) << 7 | REG)                  /* ModRM.mod is 3 and ModRM.rm is n */
    RM_SHIFT = 7, RM_MASK = 15 << RM_SHIFT,
    MEM = 1 << 11, REG = 1 << 12,                      /* ModRM.mod is not 3; is 3 */
    O64 = 1 << 13, I64 = 1 << 14,                      /* only in, not in 64-bit code */
    W0 = 1 << 15, W1 = 1 << 16,                        /* REX.W or VEX.W */
    L0 = 1 << 18, L1 = 1 << 19,                        /* VEX.L */
    MODRM = 1 << 20,
    LK = 1 << 21,                                      /* LOCK is valid with a memory destination */
    D64 = 1 << 22, F64 = 1 << 23,                      /* 64-bit code: operand size defaults to, is always 8 */
    BYTE = 1 << 24,                                    /* operand size 1 though operand 0 does not say so */
    VEC = 1 << 25,                                     /* SSE or VEX vector operation: has a vector length */
    A2 = 1 << 26, AI = 1 << 27,                        /* needs AVX2; needs AVX2 when VEX.L = 1 */
    GATHER = 1 << 28,
    NOW = 1 << 30,                                         /* REX.W does not make it 64 bits, yet overrides 66 */
    NOB = 1 << 29,                                     /* only without REX.B (90: NOP, not XCHG) */
};

/*
 * Properties of EVEX rows, and of the VEX rows of opmask instructions. E8 to E64: what one bit of the mask stands for, in the operand that can be memory.
 * Broadcasts are of one such element; disp8 counts memory operands, or elements where the access is packed or a gather (SDM vol. 2, 2.7.5).
 */
enum {
    EV_FEATURE = 31,                                   /* enum insn_feature - FEATURE_AVX512F */
    EF = 0, ECD = 1, EBW = 2, EDQ = 3, EIFMA = 4, EVBMI = 5, EVBMI2 = 6, EVNNI = 7, EBITALG = 8, EPOPCNT = 9, EBF16 = 10,
    EVAES = 30, EVPCLMUL = 31,
    E8 = 1 << 5, E16 = 2 << 5, E32 = 3 << 5, E64 = 4 << 5, EV_ELEMENT_SHIFT = 5, EV_ELEMENT = 7 << 5,
    BC = 1 << 8,                                       /* EVEX.b with memory: broadcast */
    ER = 1 << 9, SAE = 1 << 10,                        /* EVEX.b with registers: rounding; no exceptions */
    LIG = 1 << 11,                                     /* scalar: L'L is ignored */
    NF = 1 << 12, ANY = 1 << 13, PACKED = 1 << 14, AL = 1 << 15, /* enum insn_access */
    KN = 1 << 16, KM = 1 << 17,                        /* no mask; a mask, but never zeroing */
    V128 = 1 << 18, V256 = 1 << 19, V512 = 1 << 20,    /* only these vector lengths; none of the bits: all */
    V256UP = V256 | V512, EV_LENGTHS = V128 | V256 | V512, EV_LENGTH_SHIFT = 18,
    EV = 1 << 30,                                /* so that no row's properties are 0 */
};

struct decode_row {
    uint16_t op;
    uint8_t spec[4];
    uint32_t cond;
    uint32_t evex;     /* 0: not of AVX-512 */
};

#define ROWS(...) (const struct decode_row[]){ __VA_ARGS__, { OP_INVALID, { NO }, 0, 0 } }
#define I(op, cond, ...) { OP_##op, { __VA_ARGS__ }, (cond), 0 }         /* without ModRM */
#define R(op, cond, ...) { OP_##op, { __VA_ARGS__ }, (cond) | MODRM, 0 } /* with ModRM */
#define V(op, cond, ...) { OP_##op, { __VA_ARGS__ }, (cond) | MODRM | VEC, 0 }
/* The name is for who reads */
#define E(name, cond, evex, ...) { OP_EVEX, { __VA_ARGS__ }, (cond) | MODRM | VEC, (evex) | EV }
#define K(name, cond, evex, ...) { OP_OPMASK, { __VA_ARGS__ }, (cond) | MODRM, (evex) | EV }

/* Legacy maps: one byte, 0F, 0F38, 0F3A; VEX and EVEX maps 1 to 3. */
extern const struct decode_row *const decode_map_1byte[256];
extern const struct decode_row *const decode_map_0f[256];
extern const struct decode_row *const decode_map_0f38[256];
extern const struct decode_row *const decode_map_0f3a[256];
extern const struct decode_row *const decode_vex_0f[256];
extern const struct decode_row *const decode_vex_0f38[256];
extern const struct decode_row *const decode_vex_0f3a[256];
extern const struct decode_row *const decode_evex_0f[256];
extern const struct decode_row *const decode_evex_0f38[256];
extern const struct decode_row *const decode_evex_0f3a[256];

#endif
