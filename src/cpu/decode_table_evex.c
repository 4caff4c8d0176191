/* SPDX-License-Identifier: MIT */
/*
 * EVEX maps 1 to 3 (SDM vol. 2, the instructions' own pages): AVX-512 F, CD, BW, DQ, each with VL, IFMA, VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ, BF16, and the EVEX
 * forms of VAES and VPCLMULQDQ. The names are comments: the operation is always OP_EVEX, or OP_EVEX_COMPARE where RFLAGS are written, since the host
 * executes them (exec_evex.c). What a row must say is the operands, their memory's size, and what EVEX.b, z, aaa and L'L may be.
 */
#include "cpu/decode_table.h"

/* Dword and qword forms by W, with broadcasts: the usual shape of integer and of floating-point operations */
#define DQ2(code, name, ev) [code] = ROWS(E(name##D, P66 | W0, E32 | BC | (ev), Vx, Wx), E(name##Q, P66 | W1, E64 | BC | (ev), Vx, Wx))
#define DQ3(code, name, ev) [code] = ROWS(E(name##D, P66 | W0, E32 | BC | (ev), Vx, Hx, Wx), E(name##Q, P66 | W1, E64 | BC | (ev), Vx, Hx, Wx))
#define DQ3I(code, name, ev) [code] = ROWS(E(name##D, P66 | W0, E32 | BC | (ev), Vx, Hx, Wx, Ib), E(name##Q, P66 | W1, E64 | BC | (ev), Vx, Hx, Wx, Ib))
#define DQ2I(code, name, ev) [code] = ROWS(E(name##PS, P66 | W0, E32 | BC | (ev), Vx, Wx, Ib), E(name##PD, P66 | W1, E64 | BC | (ev), Vx, Wx, Ib))
#define SCALAR3(code, name, ev) \
    [code] = ROWS(E(name##SS, P66 | W0, E32 | LIG | (ev), Vss, Hdq, Wss), E(name##SD, P66 | W1, E64 | LIG | (ev), Vsd, Hdq, Wsd))
#define SCALAR3I(code, name, ev) \
    [code] = ROWS(E(name##SS, P66 | W0, E32 | LIG | (ev), Vss, Hdq, Wss, Ib), E(name##SD, P66 | W1, E64 | LIG | (ev), Vsd, Hdq, Wsd, Ib))
#define FLOAT4(code, name, ev) \
    [code] = ROWS(E(name##PS, NP | W0, E32 | BC | (ev), Vx, Hx, Wx), E(name##PD, P66 | W1, E64 | BC | (ev), Vx, Hx, Wx), \
                  E(name##SS, PF3 | W0, E32 | LIG | (ev), Vss, Hdq, Wss), E(name##SD, PF2 | W1, E64 | LIG | (ev), Vsd, Hdq, Wsd))
#define FLOAT2(code, name, ev) [code] = ROWS(E(name##PS, NP | W0, E32 | BC | (ev), Vx, Hx, Wx), E(name##PD, P66 | W1, E64 | BC | (ev), Vx, Hx, Wx))
/* Byte and word operations, whose W is ignored; one with dwords or qwords only */
#define INT3(code, name, ev) [code] = ROWS(E(name, P66, (ev), Vx, Hx, Wx))
#define INT2(code, name, ev) [code] = ROWS(E(name, P66, (ev), Vx, Wx))
#define ONLY_D(code, name, ev) [code] = ROWS(E(name, P66 | W0, E32 | BC | (ev), Vx, Hx, Wx))
#define ONLY_Q(code, name, ev) [code] = ROWS(E(name, P66 | W1, E64 | BC | (ev), Vx, Hx, Wx))
#define INT_DQ(code, name, ev) DQ3(code, name, ev)
/* Comparisons into an opmask register */
#define COMPARE(code, name, w, ev) [code] = ROWS(E(name, P66 | (w), KM | (ev), Kg, Hx, Wx))
/* Shifts by the low quadword of an XMM register or 128 bits of memory */
#define SHIFT(code, name, w, ev) [code] = ROWS(E(name, P66 | (w), NF | (ev), Vx, Hx, Wdq))
#define SHIFT_IMM(name, n, w, ev) E(name, P66 | (w) | EXT(n), (ev), Hx, Wx, Ib)
#define COMPARE_FLAGS(code, name) \
    [code] = ROWS({ OP_EVEX_COMPARE, { Vss, Wss }, NP | W0 | MODRM | VEC, KN | SAE | LIG | EV }, { OP_EVEX_COMPARE, { Vsd, Wsd }, P66 | W1 | MODRM | VEC, KN | SAE | LIG | EV })

const struct decode_row *const decode_evex_0f[256] = {
    [0x10] = ROWS(E(VMOVUPS, NP | W0, E32, Vx, Wx), E(VMOVUPD, P66 | W1, E64, Vx, Wx), E(VMOVSS, PF3 | W0 | MEM, E32 | LIG, Vss, Wss),
                  E(VMOVSS, PF3 | W0 | REG, E32 | LIG, Vss, Hdq, Wss), E(VMOVSD, PF2 | W1 | MEM, E64 | LIG, Vsd, Wsd),
                  E(VMOVSD, PF2 | W1 | REG, E64 | LIG, Vsd, Hdq, Wsd)),
    [0x11] = ROWS(E(VMOVUPS, NP | W0, E32, Wx, Vx), E(VMOVUPD, P66 | W1, E64, Wx, Vx), E(VMOVSS, PF3 | W0 | MEM, E32 | LIG, Wss, Vss),
                  E(VMOVSS, PF3 | W0 | REG, E32 | LIG, Wss, Hdq, Vss), E(VMOVSD, PF2 | W1 | MEM, E64 | LIG, Wsd, Vsd),
                  E(VMOVSD, PF2 | W1 | REG, E64 | LIG, Wsd, Hdq, Vsd)),
    [0x12] = ROWS(E(VMOVLPS, NP | W0 | MEM, V128 | KN, Vsd, Hdq, Mq), E(VMOVHLPS, NP | W0 | REG, V128 | KN, Vx, Hx, Wx),
                  E(VMOVLPD, P66 | W1 | MEM, V128 | KN, Vsd, Hdq, Mq), E(VMOVSLDUP, PF3 | W0, E32 | NF, Vx, Wx), E(VMOVDDUP, PF2 | W1, E64 | NF, Vx, Wdup)),
    [0x13] = ROWS(E(VMOVLPS, NP | W0 | MEM, V128 | KN, Mq, Vsd), E(VMOVLPD, P66 | W1 | MEM, V128 | KN, Mq, Vsd)),
    FLOAT2(0x14, VUNPCKL, NF), FLOAT2(0x15, VUNPCKH, NF),
    [0x16] = ROWS(E(VMOVHPS, NP | W0 | MEM, V128 | KN, Vsd, Hdq, Mq), E(VMOVLHPS, NP | W0 | REG, V128 | KN, Vx, Hx, Wx),
                  E(VMOVHPD, P66 | W1 | MEM, V128 | KN, Vsd, Hdq, Mq), E(VMOVSHDUP, PF3 | W0, E32 | NF, Vx, Wx)),
    [0x17] = ROWS(E(VMOVHPS, NP | W0 | MEM, V128 | KN, Mq, Vsd), E(VMOVHPD, P66 | W1 | MEM, V128 | KN, Mq, Vsd)),
    [0x28] = ROWS(E(VMOVAPS, NP | W0, E32 | AL, Vx, Wx), E(VMOVAPD, P66 | W1, E64 | AL, Vx, Wx)),
    [0x29] = ROWS(E(VMOVAPS, NP | W0, E32 | AL, Wx, Vx), E(VMOVAPD, P66 | W1, E64 | AL, Wx, Vx)),
    [0x2a] = ROWS(E(VCVTSI2SS, PF3, KN | LIG | ER, Vss, Hdq, Ey), E(VCVTSI2SD, PF2, KN | LIG | ER, Vsd, Hdq, Ey)),
    [0x2b] = ROWS(E(VMOVNTPS, NP | W0 | MEM, KN | AL, Mx, Vx), E(VMOVNTPD, P66 | W1 | MEM, KN | AL, Mx, Vx)),
    [0x2c] = ROWS(E(VCVTTSS2SI, PF3, KN | LIG | SAE, Gy, Wss), E(VCVTTSD2SI, PF2, KN | LIG | SAE, Gy, Wsd)),
    [0x2d] = ROWS(E(VCVTSS2SI, PF3, KN | LIG | ER, Gy, Wss), E(VCVTSD2SI, PF2, KN | LIG | ER, Gy, Wsd)),
    COMPARE_FLAGS(0x2e, VUCOMIS), COMPARE_FLAGS(0x2f, VCOMIS),
    [0x51] = ROWS(E(VSQRTPS, NP | W0, E32 | BC | ER, Vx, Wx), E(VSQRTPD, P66 | W1, E64 | BC | ER, Vx, Wx),
                  E(VSQRTSS, PF3 | W0, E32 | LIG | ER, Vss, Hdq, Wss), E(VSQRTSD, PF2 | W1, E64 | LIG | ER, Vsd, Hdq, Wsd)),
    FLOAT2(0x54, VAND, EDQ), FLOAT2(0x55, VANDN, EDQ), FLOAT2(0x56, VOR, EDQ), FLOAT2(0x57, VXOR, EDQ), FLOAT4(0x58, VADD, ER), FLOAT4(0x59, VMUL, ER),
    [0x5a] = ROWS(E(VCVTPS2PD, NP | W0, E32 | BC | SAE, Vx, Wh), E(VCVTPD2PS, P66 | W1, E64 | BC | ER, Vh, Wx),
                  E(VCVTSS2SD, PF3 | W0, E32 | LIG | SAE, Vsd, Hdq, Wss), E(VCVTSD2SS, PF2 | W1, E64 | LIG | ER, Vss, Hdq, Wsd)),
    [0x5b] = ROWS(E(VCVTDQ2PS, NP | W0, E32 | BC | ER, Vx, Wx), E(VCVTQQ2PS, NP | W1, EDQ | E64 | BC | ER, Vh, Wx),
                  E(VCVTPS2DQ, P66 | W0, E32 | BC | ER, Vx, Wx), E(VCVTTPS2DQ, PF3 | W0, E32 | BC | SAE, Vx, Wx)),
    FLOAT4(0x5c, VSUB, ER), FLOAT4(0x5d, VMIN, SAE), FLOAT4(0x5e, VDIV, ER), FLOAT4(0x5f, VMAX, SAE),
    INT3(0x60, VPUNPCKLBW, EBW | E8 | NF), INT3(0x61, VPUNPCKLWD, EBW | E16 | NF), ONLY_D(0x62, VPUNPCKLDQ, NF), INT3(0x63, VPACKSSWB, EBW | E16 | NF),
    COMPARE(0x64, VPCMPGTB, 0, EBW | E8), COMPARE(0x65, VPCMPGTW, 0, EBW | E16), COMPARE(0x66, VPCMPGTD, W0, E32 | BC),
    INT3(0x67, VPACKUSWB, EBW | E16 | NF), INT3(0x68, VPUNPCKHBW, EBW | E8 | NF), INT3(0x69, VPUNPCKHWD, EBW | E16 | NF), ONLY_D(0x6a, VPUNPCKHDQ, NF),
    ONLY_D(0x6b, VPACKSSDW, EBW | NF), ONLY_Q(0x6c, VPUNPCKLQDQ, NF), ONLY_Q(0x6d, VPUNPCKHQDQ, NF), [0x6e] = ROWS(E(VMOVD, P66, V128 | KN, Vdq, Ey)),
    [0x6f] = ROWS(E(VMOVDQA32, P66 | W0, E32 | AL, Vx, Wx), E(VMOVDQA64, P66 | W1, E64 | AL, Vx, Wx), E(VMOVDQU32, PF3 | W0, E32, Vx, Wx),
                  E(VMOVDQU64, PF3 | W1, E64, Vx, Wx), E(VMOVDQU8, PF2 | W0, EBW | E8, Vx, Wx), E(VMOVDQU16, PF2 | W1, EBW | E16, Vx, Wx)),
    [0x70] = ROWS(E(VPSHUFD, P66 | W0, E32 | BC | NF, Vx, Wx, Ib), E(VPSHUFHW, PF3, EBW | E16 | NF, Vx, Wx, Ib), E(VPSHUFLW, PF2, EBW | E16 | NF, Vx, Wx, Ib)),
    [0x71] = ROWS(SHIFT_IMM(VPSRLW, 2, 0, EBW | E16), SHIFT_IMM(VPSRAW, 4, 0, EBW | E16), SHIFT_IMM(VPSLLW, 6, 0, EBW | E16)),
    [0x72] = ROWS(SHIFT_IMM(VPRORD, 0, W0, E32 | BC), SHIFT_IMM(VPRORQ, 0, W1, E64 | BC), SHIFT_IMM(VPROLD, 1, W0, E32 | BC),
                  SHIFT_IMM(VPROLQ, 1, W1, E64 | BC), SHIFT_IMM(VPSRLD, 2, W0, E32 | BC), SHIFT_IMM(VPSRAD, 4, W0, E32 | BC),
                  SHIFT_IMM(VPSRAQ, 4, W1, E64 | BC), SHIFT_IMM(VPSLLD, 6, W0, E32 | BC)),
    [0x73] = ROWS(SHIFT_IMM(VPSRLQ, 2, W1, E64 | BC), SHIFT_IMM(VPSRLDQ, 3, 0, EBW | KN), SHIFT_IMM(VPSLLQ, 6, W1, E64 | BC),
                  SHIFT_IMM(VPSLLDQ, 7, 0, EBW | KN)),
    COMPARE(0x74, VPCMPEQB, 0, EBW | E8), COMPARE(0x75, VPCMPEQW, 0, EBW | E16), COMPARE(0x76, VPCMPEQD, W0, E32 | BC),
    [0x78] = ROWS(E(VCVTTPS2UDQ, NP | W0, E32 | BC | SAE, Vx, Wx), E(VCVTTPD2UDQ, NP | W1, E64 | BC | SAE, Vh, Wx),
                  E(VCVTTPS2UQQ, P66 | W0, EDQ | E32 | BC | SAE, Vx, Wh), E(VCVTTPD2UQQ, P66 | W1, EDQ | E64 | BC | SAE, Vx, Wx),
                  E(VCVTTSS2USI, PF3, KN | LIG | SAE, Gy, Wss), E(VCVTTSD2USI, PF2, KN | LIG | SAE, Gy, Wsd)),
    [0x79] = ROWS(E(VCVTPS2UDQ, NP | W0, E32 | BC | ER, Vx, Wx), E(VCVTPD2UDQ, NP | W1, E64 | BC | ER, Vh, Wx),
                  E(VCVTPS2UQQ, P66 | W0, EDQ | E32 | BC | ER, Vx, Wh), E(VCVTPD2UQQ, P66 | W1, EDQ | E64 | BC | ER, Vx, Wx),
                  E(VCVTSS2USI, PF3, KN | LIG | ER, Gy, Wss), E(VCVTSD2USI, PF2, KN | LIG | ER, Gy, Wsd)),
    [0x7a] = ROWS(E(VCVTTPS2QQ, P66 | W0, EDQ | E32 | BC | SAE, Vx, Wh), E(VCVTTPD2QQ, P66 | W1, EDQ | E64 | BC | SAE, Vx, Wx),
                  E(VCVTUDQ2PD, PF3 | W0, E32 | BC | ER /* for nothing */, Vx, Wh), E(VCVTUQQ2PD, PF3 | W1, EDQ | E64 | BC | ER, Vx, Wx),
                  E(VCVTUDQ2PS, PF2 | W0, E32 | BC | ER, Vx, Wx), E(VCVTUQQ2PS, PF2 | W1, EDQ | E64 | BC | ER, Vh, Wx)),
    [0x7b] = ROWS(E(VCVTPS2QQ, P66 | W0, EDQ | E32 | BC | ER, Vx, Wh), E(VCVTPD2QQ, P66 | W1, EDQ | E64 | BC | ER, Vx, Wx),
                  E(VCVTUSI2SS, PF3, KN | LIG | ER, Vss, Hdq, Ey), E(VCVTUSI2SD, PF2, KN | LIG | ER, Vsd, Hdq, Ey)),
    [0x7e] = ROWS(E(VMOVD, P66, V128 | KN, Ey, Vdq), E(VMOVQ, PF3 | W1, V128 | KN, Vsd, Wsd)),
    [0x7f] = ROWS(E(VMOVDQA32, P66 | W0, E32 | AL, Wx, Vx), E(VMOVDQA64, P66 | W1, E64 | AL, Wx, Vx), E(VMOVDQU32, PF3 | W0, E32, Wx, Vx),
                  E(VMOVDQU64, PF3 | W1, E64, Wx, Vx), E(VMOVDQU8, PF2 | W0, EBW | E8, Wx, Vx), E(VMOVDQU16, PF2 | W1, EBW | E16, Wx, Vx)),
    [0xc2] = ROWS(E(VCMPPS, NP | W0, E32 | BC | SAE | KM, Kg, Hx, Wx, Ib), E(VCMPPD, P66 | W1, E64 | BC | SAE | KM, Kg, Hx, Wx, Ib),
                  E(VCMPSS, PF3 | W0, E32 | LIG | SAE | KM, Kg, Hdq, Wss, Ib), E(VCMPSD, PF2 | W1, E64 | LIG | SAE | KM, Kg, Hdq, Wsd, Ib)),
    [0xc4] = ROWS(E(VPINSRW, P66, EBW | V128 | KN, Vdq, Hdq, EdMw, Ib)), [0xc5] = ROWS(E(VPEXTRW, P66 | REG, EBW | V128 | KN, Gd, Wdq, Ib)),
    [0xc6] = ROWS(E(VSHUFPS, NP | W0, E32 | BC | NF, Vx, Hx, Wx, Ib), E(VSHUFPD, P66 | W1, E64 | BC | NF, Vx, Hx, Wx, Ib)),
    SHIFT(0xd1, VPSRLW, 0, EBW | E16), SHIFT(0xd2, VPSRLD, W0, E32), SHIFT(0xd3, VPSRLQ, W1, E64), ONLY_Q(0xd4, VPADDQ, 0), INT3(0xd5, VPMULLW, EBW | E16),
    [0xd6] = ROWS(E(VMOVQ, P66 | W1, V128 | KN, Wsd, Vsd)), INT3(0xd8, VPSUBUSB, EBW | E8), INT3(0xd9, VPSUBUSW, EBW | E16), INT3(0xda, VPMINUB, EBW | E8),
    INT_DQ(0xdb, VPAND, 0), INT3(0xdc, VPADDUSB, EBW | E8), INT3(0xdd, VPADDUSW, EBW | E16), INT3(0xde, VPMAXUB, EBW | E8), INT_DQ(0xdf, VPANDN, 0),
    INT3(0xe0, VPAVGB, EBW | E8), SHIFT(0xe1, VPSRAW, 0, EBW | E16),
    [0xe2] = ROWS(E(VPSRAD, P66 | W0, E32 | NF, Vx, Hx, Wdq), E(VPSRAQ, P66 | W1, E64 | NF, Vx, Hx, Wdq)),
    INT3(0xe3, VPAVGW, EBW | E16), INT3(0xe4, VPMULHUW, EBW | E16), INT3(0xe5, VPMULHW, EBW | E16),
    [0xe6] = ROWS(E(VCVTTPD2DQ, P66 | W1, E64 | BC | SAE, Vh, Wx), E(VCVTDQ2PD, PF3 | W0, E32 | BC | ER /* for nothing */, Vx, Wh),
                  E(VCVTQQ2PD, PF3 | W1, EDQ | E64 | BC | ER, Vx, Wx), E(VCVTPD2DQ, PF2 | W1, E64 | BC | ER, Vh, Wx)),
    [0xe7] = ROWS(E(VMOVNTDQ, P66 | W0 | MEM, KN | AL, Mx, Vx)), INT3(0xe8, VPSUBSB, EBW | E8), INT3(0xe9, VPSUBSW, EBW | E16), INT3(0xea, VPMINSW, EBW | E16),
    INT_DQ(0xeb, VPOR, 0), INT3(0xec, VPADDSB, EBW | E8), INT3(0xed, VPADDSW, EBW | E16), INT3(0xee, VPMAXSW, EBW | E16), INT_DQ(0xef, VPXOR, 0),
    SHIFT(0xf1, VPSLLW, 0, EBW | E16), SHIFT(0xf2, VPSLLD, W0, E32), SHIFT(0xf3, VPSLLQ, W1, E64), ONLY_Q(0xf4, VPMULUDQ, 0),
    INT3(0xf5, VPMADDWD, EBW | E32 | NF), INT3(0xf6, VPSADBW, EBW | KN), INT3(0xf8, VPSUBB, EBW | E8), INT3(0xf9, VPSUBW, EBW | E16), ONLY_D(0xfa, VPSUBD, 0),
    ONLY_Q(0xfb, VPSUBQ, 0), INT3(0xfc, VPADDB, EBW | E8), INT3(0xfd, VPADDW, EBW | E16), ONLY_D(0xfe, VPADDD, 0),
};

/* Sign and zero extensions (66), and beside them truncations (F3), which may store */
#define EXTEND(code, name, w, ev, from, truncation, to, tev) \
    [code] = ROWS(E(name, P66 | (w), (ev), Vx, from), E(truncation, PF3 | W0, (tev), to, Vx))
#define TRUNCATE(name, ev, to) E(name, PF3 | W0, (ev), to, Vx)
#define FMA_PACKED(code, name) DQ3(code, name, ER)
#define FMA_SCALAR(code, name) SCALAR3(code, name, ER)
#define FMA_ORDER(base, order) \
    FMA_PACKED((base) + 6, VFMADDSUB##order), FMA_PACKED((base) + 7, VFMSUBADD##order), FMA_PACKED((base) + 8, VFMADD##order), \
    FMA_SCALAR((base) + 9, VFMADD##order), FMA_PACKED((base) + 10, VFMSUB##order), FMA_SCALAR((base) + 11, VFMSUB##order), \
    FMA_PACKED((base) + 12, VFNMADD##order), FMA_SCALAR((base) + 13, VFNMADD##order), FMA_PACKED((base) + 14, VFNMSUB##order), \
    FMA_SCALAR((base) + 15, VFNMSUB##order)
/* Qword indexes with dword elements: half a vector of these */
#define GATHER_D(code, name) \
    [code] = ROWS(E(name##D, P66 | W0 | GATHER | MEM, E32 | KM, Vx, Mvm_d), E(name##Q, P66 | W1 | GATHER | MEM, E64 | KM, Vx, Mvm_q))
#define GATHER_Q(code, name) \
    [code] = ROWS(E(name##D, P66 | W0 | GATHER | MEM, E32 | KM, Vh, Mvm_d), E(name##Q, P66 | W1 | GATHER | MEM, E64 | KM, Vx, Mvm_q))
#define SCATTER_D(code, name) \
    [code] = ROWS(E(name##D, P66 | W0 | GATHER | MEM, E32 | KM, Mvm_d, Vx), E(name##Q, P66 | W1 | GATHER | MEM, E64 | KM, Mvm_q, Vx))
#define SCATTER_Q(code, name) \
    [code] = ROWS(E(name##D, P66 | W0 | GATHER | MEM, E32 | KM, Mvm_d, Vh), E(name##Q, P66 | W1 | GATHER | MEM, E64 | KM, Mvm_q, Vx))
#define TEST_MASK(code, a, eva, b, evb) \
    [code] = ROWS(E(VPTESTM##a, P66 | W0, KM | (eva), Kg, Hx, Wx), E(VPTESTM##b, P66 | W1, KM | (evb), Kg, Hx, Wx), \
                  E(VPTESTNM##a, PF3 | W0, KM | (eva), Kg, Hx, Wx), E(VPTESTNM##b, PF3 | W1, KM | (evb), Kg, Hx, Wx))
#define BY_W(code, a, eva, b, evb) [code] = ROWS(E(a, P66 | W0, (eva), Vx, Hx, Wx), E(b, P66 | W1, (evb), Vx, Hx, Wx))
#define EXPAND(code, a, b, eva, evb) [code] = ROWS(E(a, P66 | W0, PACKED | (eva), Vx, Wx), E(b, P66 | W1, PACKED | (evb), Vx, Wx))
#define COMPRESS(code, a, b, eva, evb) [code] = ROWS(E(a, P66 | W0, PACKED | (eva), Wx, Vx), E(b, P66 | W1, PACKED | (evb), Wx, Vx))
#define AES(code, name) [code] = ROWS(E(name, P66, EVAES | KN, Vx, Hx, Wx))

const struct decode_row *const decode_evex_0f38[256] = {
    INT3(0x00, VPSHUFB, EBW | E8 | NF), INT3(0x04, VPMADDUBSW, EBW | E16 | NF), INT3(0x0b, VPMULHRSW, EBW | E16), ONLY_D(0x0c, VPERMILPS, NF),
    ONLY_Q(0x0d, VPERMILPD, NF), [0x10] = ROWS(E(VPSRLVW, P66 | W1, EBW | E16, Vx, Hx, Wx), TRUNCATE(VPMOVUSWB, EBW | E8, Wh)),
    [0x11] = ROWS(E(VPSRAVW, P66 | W1, EBW | E16, Vx, Hx, Wx), TRUNCATE(VPMOVUSDB, E8, Wqr)),
    [0x12] = ROWS(E(VPSLLVW, P66 | W1, EBW | E16, Vx, Hx, Wx), TRUNCATE(VPMOVUSQB, E8, We)),
    [0x13] = ROWS(E(VCVTPH2PS, P66 | W0, E16 | SAE, Vx, Wh), TRUNCATE(VPMOVUSDW, E16, Wh)),
    [0x14] = ROWS(E(VPRORVD, P66 | W0, E32 | BC, Vx, Hx, Wx), E(VPRORVQ, P66 | W1, E64 | BC, Vx, Hx, Wx), TRUNCATE(VPMOVUSQW, E16, Wqr)),
    [0x15] = ROWS(E(VPROLVD, P66 | W0, E32 | BC, Vx, Hx, Wx), E(VPROLVQ, P66 | W1, E64 | BC, Vx, Hx, Wx), TRUNCATE(VPMOVUSQD, E32, Wh)),
    BY_W(0x16, VPERMPS, V256UP | E32 | BC | NF, VPERMPD, V256UP | E64 | BC | NF), [0x18] = ROWS(E(VBROADCASTSS, P66 | W0, E32 | ANY, Vx, Wss)),
    [0x19] = ROWS(E(VBROADCASTF32X2, P66 | W0, EDQ | V256UP | E32 | ANY, Vx, Wsd), E(VBROADCASTSD, P66 | W1, V256UP | E64 | ANY, Vx, Wsd)),
    [0x1a] = ROWS(E(VBROADCASTF32X4, P66 | W0 | MEM, V256UP | E32 | ANY, Vx, Mdq), E(VBROADCASTF64X2, P66 | W1 | MEM, EDQ | V256UP | E64 | ANY, Vx, Mdq)),
    [0x1b] = ROWS(E(VBROADCASTF32X8, P66 | W0 | MEM, EDQ | V512 | E32 | ANY, Vx, Mqq), E(VBROADCASTF64X4, P66 | W1 | MEM, V512 | E64 | ANY, Vx, Mqq)),
    INT2(0x1c, VPABSB, EBW | E8), INT2(0x1d, VPABSW, EBW | E16), [0x1e] = ROWS(E(VPABSD, P66 | W0, E32 | BC, Vx, Wx)),
    [0x1f] = ROWS(E(VPABSQ, P66 | W1, E64 | BC, Vx, Wx)),
    EXTEND(0x20, VPMOVSXBW, 0, EBW | E8, Wh, VPMOVSWB, Wh, EBW | E8), EXTEND(0x21, VPMOVSXBD, 0, E8, Wqr, VPMOVSDB, Wqr, E8),
    EXTEND(0x22, VPMOVSXBQ, 0, E8, We, VPMOVSQB, We, E8), EXTEND(0x23, VPMOVSXWD, 0, E16, Wh, VPMOVSDW, Wh, E16),
    EXTEND(0x24, VPMOVSXWQ, 0, E16, Wqr, VPMOVSQW, Wqr, E16), EXTEND(0x25, VPMOVSXDQ, W0, E32, Wh, VPMOVSQD, Wh, E32),
    TEST_MASK(0x26, B, EBW | E8, W, EBW | E16), TEST_MASK(0x27, D, E32 | BC, Q, E64 | BC),
    [0x28] = ROWS(E(VPMULDQ, P66 | W1, E64 | BC, Vx, Hx, Wx), E(VPMOVM2B, PF3 | W0 | REG, EBW | KN, Vx, Ke), E(VPMOVM2W, PF3 | W1 | REG, EBW | KN, Vx, Ke)),
    [0x29] = ROWS(E(VPCMPEQQ, P66 | W1, E64 | BC | KM, Kg, Hx, Wx), E(VPMOVB2M, PF3 | W0 | REG, EBW | KN, Kg, Wx), E(VPMOVW2M, PF3 | W1 | REG, EBW | KN, Kg, Wx)),
    [0x2a] = ROWS(E(VMOVNTDQA, P66 | W0 | MEM, KN | AL, Vx, Mx), E(VPBROADCASTMB2Q, PF3 | W1 | REG, ECD | KN, Vx, Ke)), ONLY_D(0x2b, VPACKUSDW, EBW | NF),
    DQ3(0x2c, VSCALEFP, ER), SCALAR3(0x2d, VSCALEF, ER),
    EXTEND(0x30, VPMOVZXBW, 0, EBW | E8, Wh, VPMOVWB, Wh, EBW | E8), EXTEND(0x31, VPMOVZXBD, 0, E8, Wqr, VPMOVDB, Wqr, E8),
    EXTEND(0x32, VPMOVZXBQ, 0, E8, We, VPMOVQB, We, E8), EXTEND(0x33, VPMOVZXWD, 0, E16, Wh, VPMOVDW, Wh, E16),
    EXTEND(0x34, VPMOVZXWQ, 0, E16, Wqr, VPMOVQW, Wqr, E16), EXTEND(0x35, VPMOVZXDQ, W0, E32, Wh, VPMOVQD, Wh, E32),
    BY_W(0x36, VPERMD, V256UP | E32 | BC | NF, VPERMQ, V256UP | E64 | BC | NF), COMPARE(0x37, VPCMPGTQ, W1, E64 | BC),
    [0x38] = ROWS(E(VPMINSB, P66, EBW | E8, Vx, Hx, Wx), E(VPMOVM2D, PF3 | W0 | REG, EDQ | KN, Vx, Ke), E(VPMOVM2Q, PF3 | W1 | REG, EDQ | KN, Vx, Ke)),
    [0x39] = ROWS(E(VPMINSD, P66 | W0, E32 | BC, Vx, Hx, Wx), E(VPMINSQ, P66 | W1, E64 | BC, Vx, Hx, Wx), E(VPMOVD2M, PF3 | W0 | REG, EDQ | KN, Kg, Wx),
                  E(VPMOVQ2M, PF3 | W1 | REG, EDQ | KN, Kg, Wx)),
    [0x3a] = ROWS(E(VPMINUW, P66, EBW | E16, Vx, Hx, Wx), E(VPBROADCASTMW2D, PF3 | W0 | REG, ECD | KN, Vx, Ke)), INT_DQ(0x3b, VPMINU, 0),
    INT3(0x3c, VPMAXSB, EBW | E8), INT_DQ(0x3d, VPMAXS, 0), INT3(0x3e, VPMAXUW, EBW | E16), INT_DQ(0x3f, VPMAXU, 0),
    BY_W(0x40, VPMULLD, E32 | BC, VPMULLQ, EDQ | E64 | BC), DQ2(0x42, VGETEXPP, SAE), SCALAR3(0x43, VGETEXP, SAE), DQ2(0x44, VPLZCNT, ECD), INT_DQ(0x45, VPSRLV, 0),
    INT_DQ(0x46, VPSRAV, 0), INT_DQ(0x47, VPSLLV, 0), DQ2(0x4c, VRCP14P, 0), SCALAR3(0x4d, VRCP14, 0), DQ2(0x4e, VRSQRT14P, 0), SCALAR3(0x4f, VRSQRT14, 0),
    ONLY_D(0x50, VPDPBUSD, EVNNI), ONLY_D(0x51, VPDPBUSDS, EVNNI),
    [0x52] = ROWS(E(VPDPWSSD, P66 | W0, EVNNI | E32 | BC, Vx, Hx, Wx), E(VDPBF16PS, PF3 | W0, EBF16 | E32 | BC, Vx, Hx, Wx)), ONLY_D(0x53, VPDPWSSDS, EVNNI),
    [0x54] = ROWS(E(VPOPCNTB, P66 | W0, EBITALG | E8, Vx, Wx), E(VPOPCNTW, P66 | W1, EBITALG | E16, Vx, Wx)), DQ2(0x55, VPOPCNT, EPOPCNT),
    [0x58] = ROWS(E(VPBROADCASTD, P66 | W0, E32 | ANY, Vx, Wss)),
    [0x59] = ROWS(E(VBROADCASTI32X2, P66 | W0, EDQ | E32 | ANY, Vx, Wsd), E(VPBROADCASTQ, P66 | W1, E64 | ANY, Vx, Wsd)),
    [0x5a] = ROWS(E(VBROADCASTI32X4, P66 | W0 | MEM, V256UP | E32 | ANY, Vx, Mdq), E(VBROADCASTI64X2, P66 | W1 | MEM, EDQ | V256UP | E64 | ANY, Vx, Mdq)),
    [0x5b] = ROWS(E(VBROADCASTI32X8, P66 | W0 | MEM, EDQ | V512 | E32 | ANY, Vx, Mqq), E(VBROADCASTI64X4, P66 | W1 | MEM, V512 | E64 | ANY, Vx, Mqq)),
    EXPAND(0x62, VPEXPANDB, VPEXPANDW, EVBMI2 | E8, EVBMI2 | E16), COMPRESS(0x63, VPCOMPRESSB, VPCOMPRESSW, EVBMI2 | E8, EVBMI2 | E16),
    INT_DQ(0x64, VPBLENDM, 0), DQ3(0x65, VBLENDMP, 0), BY_W(0x66, VPBLENDMB, EBW | E8, VPBLENDMW, EBW | E16),
    [0x70] = ROWS(E(VPSHLDVW, P66 | W1, EVBMI2 | E16, Vx, Hx, Wx)), INT_DQ(0x71, VPSHLDV, EVBMI2),
    [0x72] = ROWS(E(VPSHRDVW, P66 | W1, EVBMI2 | E16, Vx, Hx, Wx), E(VCVTNEPS2BF16, PF3 | W0, EBF16 | E32 | BC, Vh, Wx),
                  E(VCVTNE2PS2BF16, PF2 | W0, EBF16 | E32 | BC | NF, Vx, Hx, Wx)),
    INT_DQ(0x73, VPSHRDV, EVBMI2), BY_W(0x75, VPERMI2B, EVBMI | E8 | NF, VPERMI2W, EBW | E16 | NF), INT_DQ(0x76, VPERMI2, NF), DQ3(0x77, VPERMI2P, NF),
    [0x78] = ROWS(E(VPBROADCASTB, P66 | W0, EBW | E8 | ANY, Vx, Wb)), [0x79] = ROWS(E(VPBROADCASTW, P66 | W0, EBW | E16 | ANY, Vx, Ww)),
    [0x7a] = ROWS(E(VPBROADCASTB, P66 | W0 | REG, EBW | E8, Vx, Ed)), [0x7b] = ROWS(E(VPBROADCASTW, P66 | W0 | REG, EBW | E16, Vx, Ed)),
    [0x7c] = ROWS(E(VPBROADCASTD, P66 | REG, E32, Vx, Ey)), BY_W(0x7d, VPERMT2B, EVBMI | E8 | NF, VPERMT2W, EBW | E16 | NF), INT_DQ(0x7e, VPERMT2, NF),
    DQ3(0x7f, VPERMT2P, NF), ONLY_Q(0x83, VPMULTISHIFTQB, EVBMI | NF), EXPAND(0x88, VEXPANDPS, VEXPANDPD, E32, E64), EXPAND(0x89, VPEXPANDD, VPEXPANDQ, E32, E64),
    COMPRESS(0x8a, VCOMPRESSPS, VCOMPRESSPD, E32, E64), COMPRESS(0x8b, VPCOMPRESSD, VPCOMPRESSQ, E32, E64),
    BY_W(0x8d, VPERMB, EVBMI | E8 | NF, VPERMW, EBW | E16 | NF), [0x8f] = ROWS(E(VPSHUFBITQMB, P66 | W0, EBITALG | E8 | KM, Kg, Hx, Wx)),
    GATHER_D(0x90, VPGATHERD), GATHER_Q(0x91, VPGATHERQ), GATHER_D(0x92, VGATHERDP), GATHER_Q(0x93, VGATHERQP),
    FMA_ORDER(0x90, 132), FMA_ORDER(0xa0, 213), FMA_ORDER(0xb0, 231),
    SCATTER_D(0xa0, VPSCATTERD), SCATTER_Q(0xa1, VPSCATTERQ), SCATTER_D(0xa2, VSCATTERDP), SCATTER_Q(0xa3, VSCATTERQP),
    ONLY_Q(0xb4, VPMADD52LUQ, EIFMA), ONLY_Q(0xb5, VPMADD52HUQ, EIFMA), DQ2(0xc4, VPCONFLICT, ECD | NF),
    AES(0xdc, VAESENC), AES(0xdd, VAESENCLAST), AES(0xde, VAESDEC), AES(0xdf, VAESDECLAST),
};

#define INSERT(code, a, eva, b, evb, part) [code] = ROWS(E(a, P66 | W0, NF | (eva), Vx, Hx, part, Ib), E(b, P66 | W1, NF | (evb), Vx, Hx, part, Ib))
#define EXTRACT(code, a, eva, b, evb, part) [code] = ROWS(E(a, P66 | W0, NF | (eva), part, Vx, Ib), E(b, P66 | W1, NF | (evb), part, Vx, Ib))
#define COMPARE_IMM(code, a, eva, b, evb) [code] = ROWS(E(a, P66 | W0, KM | (eva), Kg, Hx, Wx, Ib), E(b, P66 | W1, KM | (evb), Kg, Hx, Wx, Ib))

const struct decode_row *const decode_evex_0f3a[256] = {
    [0x00] = ROWS(E(VPERMQ, P66 | W1, V256UP | E64 | BC | NF, Vx, Wx, Ib)), [0x01] = ROWS(E(VPERMPD, P66 | W1, V256UP | E64 | BC | NF, Vx, Wx, Ib)),
    DQ3I(0x03, VALIGN, NF), [0x04] = ROWS(E(VPERMILPS, P66 | W0, E32 | BC | NF, Vx, Wx, Ib)), [0x05] = ROWS(E(VPERMILPD, P66 | W1, E64 | BC | NF, Vx, Wx, Ib)),
    [0x08] = ROWS(E(VRNDSCALEPS, P66 | W0, E32 | BC | SAE, Vx, Wx, Ib)), [0x09] = ROWS(E(VRNDSCALEPD, P66 | W1, E64 | BC | SAE, Vx, Wx, Ib)),
    [0x0a] = ROWS(E(VRNDSCALESS, P66 | W0, E32 | LIG | SAE, Vss, Hdq, Wss, Ib)), [0x0b] = ROWS(E(VRNDSCALESD, P66 | W1, E64 | LIG | SAE, Vsd, Hdq, Wsd, Ib)),
    [0x0f] = ROWS(E(VPALIGNR, P66, EBW | E8 | NF, Vx, Hx, Wx, Ib)), [0x14] = ROWS(E(VPEXTRB, P66, EBW | V128 | KN, EdMb, Vdq, Ib)),
    [0x15] = ROWS(E(VPEXTRW, P66, EBW | V128 | KN, EdMw, Vdq, Ib)), [0x16] = ROWS(E(VPEXTRD, P66, EDQ | V128 | KN, Ey, Vdq, Ib)),
    [0x17] = ROWS(E(VEXTRACTPS, P66, V128 | KN, Ed, Vdq, Ib)), INSERT(0x18, VINSERTF32X4, V256UP | E32, VINSERTF64X2, EDQ | V256UP | E64, Wdq),
    EXTRACT(0x19, VEXTRACTF32X4, V256UP | E32, VEXTRACTF64X2, EDQ | V256UP | E64, Wdq),
    INSERT(0x1a, VINSERTF32X8, EDQ | V512 | E32, VINSERTF64X4, V512 | E64, Wqq), EXTRACT(0x1b, VEXTRACTF32X8, EDQ | V512 | E32, VEXTRACTF64X4, V512 | E64, Wqq),
    [0x1d] = ROWS(E(VCVTPS2PH, P66 | W0, E16 | SAE, Wh, Vx, Ib)), COMPARE_IMM(0x1e, VPCMPUD, E32 | BC, VPCMPUQ, E64 | BC),
    COMPARE_IMM(0x1f, VPCMPD, E32 | BC, VPCMPQ, E64 | BC), [0x20] = ROWS(E(VPINSRB, P66, EBW | V128 | KN, Vdq, Hdq, EdMb, Ib)),
    [0x21] = ROWS(E(VINSERTPS, P66 | W0, V128 | KN, Vdq, Hdq, Wss, Ib)), [0x22] = ROWS(E(VPINSRD, P66, EDQ | V128 | KN, Vdq, Hdq, Ey, Ib)),
    [0x23] = ROWS(E(VSHUFF32X4, P66 | W0, V256UP | E32 | BC | NF, Vx, Hx, Wx, Ib), E(VSHUFF64X2, P66 | W1, V256UP | E64 | BC | NF, Vx, Hx, Wx, Ib)),
    DQ3I(0x25, VPTERNLOG, 0), DQ2I(0x26, VGETMANT, SAE), SCALAR3I(0x27, VGETMANT, SAE),
    INSERT(0x38, VINSERTI32X4, V256UP | E32, VINSERTI64X2, EDQ | V256UP | E64, Wdq), EXTRACT(0x39, VEXTRACTI32X4, V256UP | E32, VEXTRACTI64X2, EDQ | V256UP | E64, Wdq),
    INSERT(0x3a, VINSERTI32X8, EDQ | V512 | E32, VINSERTI64X4, V512 | E64, Wqq), EXTRACT(0x3b, VEXTRACTI32X8, EDQ | V512 | E32, VEXTRACTI64X4, V512 | E64, Wqq),
    COMPARE_IMM(0x3e, VPCMPUB, EBW | E8, VPCMPUW, EBW | E16), COMPARE_IMM(0x3f, VPCMPB, EBW | E8, VPCMPW, EBW | E16),
    [0x42] = ROWS(E(VDBPSADBW, P66 | W0, EBW | E16 | NF, Vx, Hx, Wx, Ib)),
    [0x43] = ROWS(E(VSHUFI32X4, P66 | W0, V256UP | E32 | BC | NF, Vx, Hx, Wx, Ib), E(VSHUFI64X2, P66 | W1, V256UP | E64 | BC | NF, Vx, Hx, Wx, Ib)),
    [0x44] = ROWS(E(VPCLMULQDQ, P66, EVPCLMUL | KN, Vx, Hx, Wx, Ib)), DQ3I(0x50, VRANGEP, EDQ | SAE), SCALAR3I(0x51, VRANGE, EDQ | SAE),
    DQ3I(0x54, VFIXUPIMMP, SAE), SCALAR3I(0x55, VFIXUPIMM, SAE), DQ2I(0x56, VREDUCE, EDQ | SAE), SCALAR3I(0x57, VREDUCE, EDQ | SAE),
    [0x66] = ROWS(E(VFPCLASSPS, P66 | W0, EDQ | E32 | BC | KM, Kg, Wx, Ib), E(VFPCLASSPD, P66 | W1, EDQ | E64 | BC | KM, Kg, Wx, Ib)),
    [0x67] = ROWS(E(VFPCLASSSS, P66 | W0, EDQ | E32 | LIG | KM, Kg, Wss, Ib), E(VFPCLASSSD, P66 | W1, EDQ | E64 | LIG | KM, Kg, Wsd, Ib)),
    [0x70] = ROWS(E(VPSHLDW, P66 | W1, EVBMI2 | E16, Vx, Hx, Wx, Ib)), DQ3I(0x71, VPSHLD, EVBMI2), [0x72] = ROWS(E(VPSHRDW, P66 | W1, EVBMI2 | E16, Vx, Hx, Wx, Ib)),
    DQ3I(0x73, VPSHRD, EVBMI2),
};
