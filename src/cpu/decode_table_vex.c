/* SPDX-License-Identifier: MIT */
/* VEX maps 1 to 3 (SDM vol. 2, tables: the entries whose names start with v, and the VEX forms of BMI). */
#include "cpu/decode_table.h"

/* Integer operation: the 256-bit form came with AVX2 */
#define INT3(code, op) [code] = ROWS(V(op, P66 | AI, Vx, Hx, Wx))
#define INT2(code, op) [code] = ROWS(V(op, P66 | AI, Vx, Wx))
/* Shift by the low quadword of an XMM register or 128 bits of memory */
#define SHIFT(code, op) [code] = ROWS(V(op, P66 | AI, Vx, Hx, Wdq))
#define SHIFT_IMM(op, n) V(op, P66 | AI | REG | EXT(n), Hx, Wx, Ib)
#define FLOAT4(code, op) \
    [code] = ROWS(V(op##PS, NP, Vx, Hx, Wx), V(op##PD, P66, Vx, Hx, Wx), V(op##SS, PF3, Vss, Hdq, Wss), V(op##SD, PF2, Vsd, Hdq, Wsd))
#define FLOAT2(code, op) [code] = ROWS(V(op##PS, NP, Vx, Hx, Wx), V(op##PD, P66, Vx, Hx, Wx))

/* Opmask instructions: for 16, 64, 8 and 32 bits */
#define MASK3(code, name, w) \
    [code] = ROWS(K(name##W, NP | W0 | L1 | REG, w, Kg, Kh, Ke), K(name##Q, NP | W1 | L1 | REG, EBW, Kg, Kh, Ke), \
                  K(name##B, P66 | W0 | L1 | REG, EDQ, Kg, Kh, Ke), K(name##D, P66 | W1 | L1 | REG, EBW, Kg, Kh, Ke))
#define MASK_TEST(code, name, w) \
    [code] = ROWS({ OP_OPMASK_TEST, { Kg, Ke }, NP | W0 | L0 | REG | MODRM, (w) | EV }, { OP_OPMASK_TEST, { Kg, Ke }, NP | W1 | L0 | REG | MODRM, EBW | EV }, \
                  { OP_OPMASK_TEST, { Kg, Ke }, P66 | W0 | L0 | REG | MODRM, EDQ | EV }, { OP_OPMASK_TEST, { Kg, Ke }, P66 | W1 | L0 | REG | MODRM, EBW | EV })
#define MASK_SHIFT(code, a, of_a, b, of_b) \
    [code] = ROWS(K(a, P66 | W0 | L0 | REG, of_a, Kg, Ke, Ib), K(b, P66 | W1 | L0 | REG, of_b, Kg, Ke, Ib))

const struct decode_row *const decode_vex_0f[256] = {
    [0x10] = ROWS(V(MOVUPS, NP, Vx, Wx), V(MOVUPD, P66, Vx, Wx), V(MOVSS, PF3 | MEM, Vss, Wss), V(MOVSS, PF3 | REG, Vss, Hdq, Wss),
                  V(MOVSD, PF2 | MEM, Vsd, Wsd), V(MOVSD, PF2 | REG, Vsd, Hdq, Wsd)),
    [0x11] = ROWS(V(MOVUPS, NP, Wx, Vx), V(MOVUPD, P66, Wx, Vx), V(MOVSS, PF3 | MEM, Wss, Vss), V(MOVSS, PF3 | REG, Wss, Hdq, Vss),
                  V(MOVSD, PF2 | MEM, Wsd, Vsd), V(MOVSD, PF2 | REG, Wsd, Hdq, Vsd)),
    [0x12] = ROWS(V(MOVLPS, NP | L0 | MEM, Vsd, Hdq, Mq), V(MOVHLPS, NP | L0 | REG, Vx, Hx, Wx), V(MOVLPD, P66 | L0 | MEM, Vsd, Hdq, Mq),
                  V(MOVSLDUP, PF3, Vx, Wx), V(MOVDDUP, PF2, Vx, Wdup)),
    [0x13] = ROWS(V(MOVLPS, NP | L0 | MEM, Mq, Vsd), V(MOVLPD, P66 | L0 | MEM, Mq, Vsd)), FLOAT2(0x14, UNPCKL), FLOAT2(0x15, UNPCKH),
    [0x16] = ROWS(V(MOVHPS, NP | L0 | MEM, Vsd, Hdq, Mq), V(MOVLHPS, NP | L0 | REG, Vx, Hx, Wx), V(MOVHPD, P66 | L0 | MEM, Vsd, Hdq, Mq),
                  V(MOVSHDUP, PF3, Vx, Wx)),
    [0x17] = ROWS(V(MOVHPS, NP | L0 | MEM, Mq, Vsd), V(MOVHPD, P66 | L0 | MEM, Mq, Vsd)),
    [0x28] = ROWS(V(MOVAPS, NP, Vx, Wx), V(MOVAPD, P66, Vx, Wx)), [0x29] = ROWS(V(MOVAPS, NP, Wx, Vx), V(MOVAPD, P66, Wx, Vx)),
    [0x2a] = ROWS(V(CVTSI2SS, PF3, Vss, Hdq, Ey), V(CVTSI2SD, PF2, Vsd, Hdq, Ey)),
    [0x2b] = ROWS(V(MOVNTPS, NP | MEM, Mx, Vx), V(MOVNTPD, P66 | MEM, Mx, Vx)),
    [0x2c] = ROWS(V(CVTTSS2SI, PF3, Gy, Wss), V(CVTTSD2SI, PF2, Gy, Wsd)), [0x2d] = ROWS(V(CVTSS2SI, PF3, Gy, Wss),
        V(CVTSD2SI, PF2, Gy, Wsd)),
    [0x2e] = ROWS(V(UCOMISS, NP, Vss, Wss), V(UCOMISD, P66, Vsd, Wsd)), [0x2f] = ROWS(V(COMISS, NP, Vss, Wss), V(COMISD, P66, Vsd, Wsd)),
    [0x50] = ROWS(V(MOVMSKPS, NP | REG, Gd, Wx), V(MOVMSKPD, P66 | REG, Gd, Wx)),
    [0x51] = ROWS(V(SQRTPS, NP, Vx, Wx), V(SQRTPD, P66, Vx, Wx), V(SQRTSS, PF3, Vss, Hdq, Wss), V(SQRTSD, PF2, Vsd, Hdq, Wsd)),
    [0x52] = ROWS(V(RSQRTPS, NP, Vx, Wx), V(RSQRTSS, PF3, Vss, Hdq, Wss)), [0x53] = ROWS(V(RCPPS, NP, Vx, Wx),
        V(RCPSS, PF3, Vss, Hdq, Wss)),
    FLOAT2(0x54, AND), FLOAT2(0x55, ANDN), FLOAT2(0x56, OR), FLOAT2(0x57, XOR), FLOAT4(0x58, ADD), FLOAT4(0x59, MUL),
    [0x5a] = ROWS(V(CVTPS2PD, NP, Vx, Wh), V(CVTPD2PS, P66, Vdq, Wx), V(CVTSS2SD, PF3, Vsd, Hdq, Wss), V(CVTSD2SS, PF2, Vss, Hdq, Wsd)),
    [0x5b] = ROWS(V(CVTDQ2PS, NP, Vx, Wx), V(CVTPS2DQ, P66, Vx, Wx), V(CVTTPS2DQ, PF3, Vx, Wx)),
    MASK3(0x41, KAND, EF), MASK3(0x42, KANDN, EF), MASK3(0x45, KOR, EF), MASK3(0x46, KXNOR, EF), MASK3(0x47, KXOR, EF), MASK3(0x4a, KADD, EDQ),
    [0x44] = ROWS(K(KNOTW, NP | W0 | L0 | REG, EF, Kg, Ke), K(KNOTQ, NP | W1 | L0 | REG, EBW, Kg, Ke), K(KNOTB, P66 | W0 | L0 | REG, EDQ, Kg, Ke),
                  K(KNOTD, P66 | W1 | L0 | REG, EBW, Kg, Ke)),
    [0x4b] = ROWS(K(KUNPCKWD, NP | W0 | L1 | REG, EBW, Kg, Kh, Ke), K(KUNPCKDQ, NP | W1 | L1 | REG, EBW, Kg, Kh, Ke),
                  K(KUNPCKBW, P66 | W0 | L1 | REG, EF, Kg, Kh, Ke)),
    [0x90] = ROWS(K(KMOVW, NP | W0 | L0, EF, Kg, KeW), K(KMOVQ, NP | W1 | L0, EBW, Kg, KeQ), K(KMOVB, P66 | W0 | L0, EDQ, Kg, KeB),
                  K(KMOVD, P66 | W1 | L0, EBW, Kg, KeD)),
    [0x91] = ROWS(K(KMOVW, NP | W0 | L0 | MEM, EF, KeW, Kg), K(KMOVQ, NP | W1 | L0 | MEM, EBW, KeQ, Kg), K(KMOVB, P66 | W0 | L0 | MEM, EDQ, KeB, Kg),
                  K(KMOVD, P66 | W1 | L0 | MEM, EBW, KeD, Kg)),
    [0x92] = ROWS(K(KMOVW, NP | W0 | L0 | REG, EF, Kg, Ed), K(KMOVB, P66 | W0 | L0 | REG, EDQ, Kg, Ed), K(KMOVD, PF2 | W0 | L0 | REG, EBW, Kg, Ed),
                  K(KMOVQ, PF2 | W1 | L0 | REG | O64, EBW, Kg, Eq), K(KMOVD, PF2 | W1 | L0 | REG | I64, EBW, Kg, Ed)),
    [0x93] = ROWS(K(KMOVW, NP | W0 | L0 | REG, EF, Gd, Ke), K(KMOVB, P66 | W0 | L0 | REG, EDQ, Gd, Ke), K(KMOVD, PF2 | W0 | L0 | REG, EBW, Gd, Ke),
                  K(KMOVQ, PF2 | W1 | L0 | REG | O64, EBW, Gy, Ke), K(KMOVD, PF2 | W1 | L0 | REG | I64, EBW, Gd, Ke)),
    MASK_TEST(0x98, KORTEST, EF), MASK_TEST(0x99, KTEST, EDQ),
    FLOAT4(0x5c, SUB), FLOAT4(0x5d, MIN), FLOAT4(0x5e, DIV), FLOAT4(0x5f, MAX),
    INT3(0x60, PUNPCKLBW), INT3(0x61, PUNPCKLWD), INT3(0x62, PUNPCKLDQ), INT3(0x63, PACKSSWB), INT3(0x64, PCMPGTB), INT3(0x65, PCMPGTW),
    INT3(0x66, PCMPGTD), INT3(0x67, PACKUSWB), INT3(0x68, PUNPCKHBW), INT3(0x69, PUNPCKHWD), INT3(0x6a, PUNPCKHDQ), INT3(0x6b, PACKSSDW),
    INT3(0x6c, PUNPCKLQDQ), INT3(0x6d, PUNPCKHQDQ), [0x6e] = ROWS(V(MOVD, P66 | L0, Vdq, Ey)),
    [0x6f] = ROWS(V(MOVDQA, P66, Vx, Wx), V(MOVDQU, PF3, Vx, Wx)),
    [0x70] = ROWS(V(PSHUFD, P66 | AI, Vx, Wx, Ib), V(PSHUFHW, PF3 | AI, Vx, Wx, Ib), V(PSHUFLW, PF2 | AI, Vx, Wx, Ib)),
    [0x71] = ROWS(SHIFT_IMM(PSRLW, 2), SHIFT_IMM(PSRAW, 4), SHIFT_IMM(PSLLW, 6)), [0x72] = ROWS(SHIFT_IMM(PSRLD, 2),
        SHIFT_IMM(PSRAD, 4), SHIFT_IMM(PSLLD, 6)),
    [0x73] = ROWS(SHIFT_IMM(PSRLQ, 2), SHIFT_IMM(PSRLDQ, 3), SHIFT_IMM(PSLLQ, 6), SHIFT_IMM(PSLLDQ, 7)),
    INT3(0x74, PCMPEQB), INT3(0x75, PCMPEQW), INT3(0x76, PCMPEQD),
    [0x77] = ROWS({ OP_VZEROUPPER, { NO }, NP | L0 | VEC, 0 }, { OP_VZEROALL, { NO }, NP | L1 | VEC, 0 }),
    [0x7c] = ROWS(V(HADDPD, P66, Vx, Hx, Wx), V(HADDPS, PF2, Vx, Hx, Wx)), [0x7d] = ROWS(V(HSUBPD, P66, Vx, Hx, Wx),
        V(HSUBPS, PF2, Vx, Hx, Wx)),
    [0x7e] = ROWS(V(MOVD, P66 | L0, Ey, Vdq), V(MOVQ, PF3 | L0, Vsd, Wsd)), [0x7f] = ROWS(V(MOVDQA, P66, Wx, Vx), V(MOVDQU, PF3, Wx, Vx)),
    [0xae] = ROWS(V(LDMXCSR, NP | L0 | MEM | EXT(2), Md), V(STMXCSR, NP | L0 | MEM | EXT(3), Md)),
    [0xc2] = ROWS(V(CMPPS, NP, Vx, Hx, Wx, Ib), V(CMPPD, P66, Vx, Hx, Wx, Ib), V(CMPSS, PF3, Vss, Hdq, Wss, Ib),
                  V(CMPSD, PF2, Vsd, Hdq, Wsd, Ib)),
    [0xc4] = ROWS(V(PINSRW, P66 | L0, Vdq, Hdq, EdMw, Ib)), [0xc5] = ROWS(V(PEXTRW, P66 | L0 | REG, Gd, Wdq, Ib)),
    [0xc6] = ROWS(V(SHUFPS, NP, Vx, Hx, Wx, Ib), V(SHUFPD, P66, Vx, Hx, Wx, Ib)),
    [0xd0] = ROWS(V(ADDSUBPD, P66, Vx, Hx, Wx), V(ADDSUBPS, PF2, Vx, Hx, Wx)), SHIFT(0xd1, PSRLW), SHIFT(0xd2, PSRLD), SHIFT(0xd3, PSRLQ),
    INT3(0xd4, PADDQ), INT3(0xd5, PMULLW), [0xd6] = ROWS(V(MOVQ, P66 | L0, Wsd, Vsd)), [0xd7] = ROWS(V(PMOVMSKB, P66 | AI | REG, Gd, Wx)),
    INT3(0xd8, PSUBUSB), INT3(0xd9, PSUBUSW), INT3(0xda, PMINUB), INT3(0xdb, PAND), INT3(0xdc, PADDUSB), INT3(0xdd, PADDUSW),
    INT3(0xde, PMAXUB),
    INT3(0xdf, PANDN), INT3(0xe0, PAVGB), SHIFT(0xe1, PSRAW), SHIFT(0xe2, PSRAD), INT3(0xe3, PAVGW), INT3(0xe4, PMULHUW),
    INT3(0xe5, PMULHW),
    [0xe6] = ROWS(V(CVTTPD2DQ, P66, Vdq, Wx), V(CVTDQ2PD, PF3, Vx, Wh), V(CVTPD2DQ, PF2, Vdq, Wx)),
    [0xe7] = ROWS(V(MOVNTDQ, P66 | MEM, Mx, Vx)),
    INT3(0xe8, PSUBSB), INT3(0xe9, PSUBSW), INT3(0xea, PMINSW), INT3(0xeb, POR), INT3(0xec, PADDSB), INT3(0xed, PADDSW), INT3(0xee, PMAXSW),
    INT3(0xef, PXOR), [0xf0] = ROWS(V(LDDQU, PF2 | MEM, Vx, Mx)), SHIFT(0xf1, PSLLW), SHIFT(0xf2, PSLLD), SHIFT(0xf3, PSLLQ),
    INT3(0xf4, PMULUDQ),
    INT3(0xf5, PMADDWD), INT3(0xf6, PSADBW), [0xf7] = ROWS(V(MASKMOVDQU, P66 | L0 | REG, Ydq, Vdq, Wdq)), INT3(0xf8, PSUBB),
    INT3(0xf9, PSUBW),
    INT3(0xfa, PSUBD), INT3(0xfb, PSUBQ), INT3(0xfc, PADDB), INT3(0xfd, PADDW), INT3(0xfe, PADDD),
};

/* Fused multiply-add: packed and scalar forms of one order of operands, W = 0 single, W = 1 double */
#define FMA_PACKED(code, op) [code] = ROWS(V(op##PS, P66 | W0, Vx, Hx, Wx), V(op##PD, P66 | W1, Vx, Hx, Wx))
#define FMA_SCALAR(code, op) [code] = ROWS(V(op##SS, P66 | W0, Vss, Hss, Wss), V(op##SD, P66 | W1, Vsd, Hsd, Wsd))
#define FMA_ORDER(base, order) \
    FMA_PACKED((base) + 6, VFMADDSUB##order), FMA_PACKED((base) + 7, VFMSUBADD##order), \
    FMA_PACKED((base) + 8, VFMADD##order), FMA_SCALAR((base) + 9, VFMADD##order), FMA_PACKED((base) + 10, VFMSUB##order), \
    FMA_SCALAR((base) + 11, VFMSUB##order), FMA_PACKED((base) + 12, VFNMADD##order), FMA_SCALAR((base) + 13, VFNMADD##order), \
    FMA_PACKED((base) + 14, VFNMSUB##order), FMA_SCALAR((base) + 15, VFNMSUB##order)

/* Sign and zero extension: half, quarter and eighth of the destination's bytes are read */
#define EXTEND(base, op) \
    [(base) + 0] = ROWS(V(op##BW, P66 | AI, Vx, Wh)), [(base) + 1] = ROWS(V(op##BD, P66 | AI, Vx, Wqr)), \
    [(base) + 2] = ROWS(V(op##BQ, P66 | AI, Vx, We)), [(base) + 3] = ROWS(V(op##WD, P66 | AI, Vx, Wh)), \
    [(base) + 4] = ROWS(V(op##WQ, P66 | AI, Vx, Wqr)), [(base) + 5] = ROWS(V(op##DQ, P66 | AI, Vx, Wh))

const struct decode_row *const decode_vex_0f38[256] = {
    INT3(0x00, PSHUFB), INT3(0x01, PHADDW), INT3(0x02, PHADDD), INT3(0x03, PHADDSW), INT3(0x04, PMADDUBSW), INT3(0x05, PHSUBW),
    INT3(0x06, PHSUBD),
    INT3(0x07, PHSUBSW), INT3(0x08, PSIGNB), INT3(0x09, PSIGNW), INT3(0x0a, PSIGND), INT3(0x0b, PMULHRSW),
    [0x0c] = ROWS(V(VPERMILPS, P66 | W0, Vx, Hx, Wx)), [0x0d] = ROWS(V(VPERMILPD, P66 | W0, Vx, Hx, Wx)),
    [0x0e] = ROWS(V(VTESTPS, P66 | W0, Vx, Wx)), [0x0f] = ROWS(V(VTESTPD, P66 | W0, Vx, Wx)), [0x13] = ROWS(V(VCVTPH2PS, P66 | W0, Vx, Wh)),
    [0x16] = ROWS(V(VPERMPS, P66 | W0 | L1, Vx, Hx, Wx)), [0x17] = ROWS(V(PTEST, P66, Vx, Wx)),
    [0x18] = ROWS(V(VBROADCASTSS, P66 | W0 | MEM, Vx, Wss), V(VBROADCASTSS, P66 | W0 | A2, Vx, Wss)),
    [0x19] = ROWS(V(VBROADCASTSD, P66 | W0 | L1 | MEM, Vx, Wsd), V(VBROADCASTSD, P66 | W0 | L1 | A2, Vx, Wsd)),
    [0x1a] = ROWS(V(VBROADCASTF128, P66 | W0 | L1 | MEM, Vx, Mdq)), INT2(0x1c, PABSB), INT2(0x1d, PABSW), INT2(0x1e, PABSD),
    EXTEND(0x20, PMOVSX),
    INT3(0x28, PMULDQ), INT3(0x29, PCMPEQQ), [0x2a] = ROWS(V(MOVNTDQA, P66 | AI | MEM, Vx, Mx)), INT3(0x2b, PACKUSDW),
    [0x2c] = ROWS(V(VMASKMOVPS, P66 | W0 | MEM, Vx, Hx, Mx)), [0x2d] = ROWS(V(VMASKMOVPD, P66 | W0 | MEM, Vx, Hx, Mx)),
    [0x2e] = ROWS(V(VMASKMOVPS, P66 | W0 | MEM, Mx, Hx, Vx)), [0x2f] = ROWS(V(VMASKMOVPD, P66 | W0 | MEM, Mx, Hx, Vx)),
    EXTEND(0x30, PMOVZX),
    [0x36] = ROWS(V(VPERMD, P66 | W0 | L1, Vx, Hx, Wx)), INT3(0x37, PCMPGTQ), INT3(0x38, PMINSB), INT3(0x39, PMINSD), INT3(0x3a, PMINUW),
    INT3(0x3b, PMINUD), INT3(0x3c, PMAXSB), INT3(0x3d, PMAXSD), INT3(0x3e, PMAXUW), INT3(0x3f, PMAXUD), INT3(0x40, PMULLD),
    [0x41] = ROWS(V(PHMINPOSUW, P66 | L0, Vx, Wx)), [0x45] = ROWS(V(VPSRLVD, P66 | W0, Vx, Hx, Wx), V(VPSRLVQ, P66 | W1, Vx, Hx, Wx)),
    [0x46] = ROWS(V(VPSRAVD, P66 | W0, Vx, Hx, Wx)), [0x47] = ROWS(V(VPSLLVD, P66 | W0, Vx, Hx, Wx), V(VPSLLVQ, P66 | W1, Vx, Hx, Wx)),
    [0x58] = ROWS(V(VPBROADCASTD, P66 | W0, Vx, Wss)), [0x59] = ROWS(V(VPBROADCASTQ, P66 | W0, Vx, Wsd)),
    [0x5a] = ROWS(V(VBROADCASTI128, P66 | W0 | L1 | MEM, Vx, Mdq)), [0x78] = ROWS(V(VPBROADCASTB, P66 | W0, Vx, Wb)),
    [0x79] = ROWS(V(VPBROADCASTW, P66 | W0, Vx, Ww)),
    [0x8c] = ROWS(V(VPMASKMOVD, P66 | W0 | MEM, Vx, Hx, Mx), V(VPMASKMOVQ, P66 | W1 | MEM, Vx, Hx, Mx)),
    [0x8e] = ROWS(V(VPMASKMOVD, P66 | W0 | MEM, Mx, Hx, Vx), V(VPMASKMOVQ, P66 | W1 | MEM, Mx, Hx, Vx)),
    [0x90] = ROWS(V(VPGATHERDD, P66 | W0 | GATHER | MEM, Vx, Mvm_d, Hx), V(VPGATHERDQ, P66 | W1 | GATHER | MEM, Vx, Mvm_q, Hx)),
    [0x91] = ROWS(V(VPGATHERQD, P66 | W0 | GATHER | MEM, Vdq, Mvm_d, Hdq), V(VPGATHERQQ, P66 | W1 | GATHER | MEM, Vx, Mvm_q, Hx)),
    [0x92] = ROWS(V(VGATHERDPS, P66 | W0 | GATHER | MEM, Vx, Mvm_d, Hx), V(VGATHERDPD, P66 | W1 | GATHER | MEM, Vx, Mvm_q, Hx)),
    [0x93] = ROWS(V(VGATHERQPS, P66 | W0 | GATHER | MEM, Vdq, Mvm_d, Hdq), V(VGATHERQPD, P66 | W1 | GATHER | MEM, Vx, Mvm_q, Hx)),
    FMA_ORDER(0x90, 132), FMA_ORDER(0xa0, 213), FMA_ORDER(0xb0, 231),
    [0xdb] = ROWS(V(AESIMC, P66 | L0, Vx, Wx)), [0xdc] = ROWS(V(AESENC, P66, Vx, Hx, Wx)), [0xdd] = ROWS(V(AESENCLAST, P66, Vx, Hx, Wx)),
    [0xde] = ROWS(V(AESDEC, P66, Vx, Hx, Wx)), [0xdf] = ROWS(V(AESDECLAST, P66, Vx, Hx, Wx)),
    [0xf2] = ROWS(R(ANDN, NP | L0, Gy, By, Ey)), [0xf3] = ROWS(R(BLSR, NP | L0 | EXT(1), By, Ey), R(BLSMSK, NP | L0 | EXT(2), By, Ey),
        R(BLSI, NP | L0 | EXT(3), By, Ey)),
    [0xf5] = ROWS(R(BZHI, NP | L0, Gy, Ey, By), R(PEXT, PF3 | L0, Gy, By, Ey), R(PDEP, PF2 | L0, Gy, By, Ey)),
    [0xf6] = ROWS(R(MULX, PF2 | L0, Gy, By, Ey)),
    [0xf7] = ROWS(R(BEXTR, NP | L0, Gy, Ey, By), R(SHLX, P66 | L0, Gy, Ey, By), R(SARX, PF3 | L0, Gy, Ey, By),
                  R(SHRX, PF2 | L0, Gy, Ey, By)),
};

const struct decode_row *const decode_vex_0f3a[256] = {
    [0x00] = ROWS(V(VPERMQ, P66 | W1 | L1, Vx, Wx, Ib)), [0x01] = ROWS(V(VPERMPD, P66 | W1 | L1, Vx, Wx, Ib)),
    [0x02] = ROWS(V(VPBLENDD, P66 | W0, Vx, Hx, Wx, Ib)), [0x04] = ROWS(V(VPERMILPS, P66 | W0, Vx, Wx, Ib)),
    [0x05] = ROWS(V(VPERMILPD, P66 | W0, Vx, Wx, Ib)),
    [0x06] = ROWS(V(VPERM2F128, P66 | W0 | L1, Vx, Hx, Wx, Ib)), [0x08] = ROWS(V(ROUNDPS, P66, Vx, Wx, Ib)),
    [0x09] = ROWS(V(ROUNDPD, P66, Vx, Wx, Ib)),
    [0x0a] = ROWS(V(ROUNDSS, P66, Vss, Hdq, Wss, Ib)), [0x0b] = ROWS(V(ROUNDSD, P66, Vsd, Hdq, Wsd, Ib)),
    [0x0c] = ROWS(V(BLENDPS, P66, Vx, Hx, Wx, Ib)),
    [0x0d] = ROWS(V(BLENDPD, P66, Vx, Hx, Wx, Ib)), [0x0e] = ROWS(V(PBLENDW, P66 | AI, Vx, Hx, Wx, Ib)),
    [0x0f] = ROWS(V(PALIGNR, P66 | AI, Vx, Hx, Wx, Ib)),
    [0x14] = ROWS(V(PEXTRB, P66 | L0, EdMb, Vdq, Ib)), [0x15] = ROWS(V(PEXTRW, P66 | L0, EdMw, Vdq, Ib)),
    [0x16] = ROWS(V(PEXTRD, P66 | L0, Ey, Vdq, Ib)),
    [0x17] = ROWS(V(EXTRACTPS, P66 | L0, Ed, Vdq, Ib)), [0x18] = ROWS(V(VINSERTF128, P66 | W0 | L1, Vx, Hx, Wdq, Ib)),
    [0x19] = ROWS(V(VEXTRACTF128, P66 | W0 | L1, Wdq, Vx, Ib)), [0x1d] = ROWS(V(VCVTPS2PH, P66 | W0, Wh, Vx, Ib)),
    [0x20] = ROWS(V(PINSRB, P66 | L0, Vdq, Hdq, EdMb, Ib)), [0x21] = ROWS(V(INSERTPS, P66 | L0, Vdq, Hdq, Wss, Ib)),
    [0x22] = ROWS(V(PINSRD, P66 | L0, Vdq, Hdq, Ey, Ib)),
    MASK_SHIFT(0x30, KSHIFTRB, EDQ, KSHIFTRW, EF), MASK_SHIFT(0x31, KSHIFTRD, EBW, KSHIFTRQ, EBW), MASK_SHIFT(0x32, KSHIFTLB, EDQ, KSHIFTLW, EF),
    MASK_SHIFT(0x33, KSHIFTLD, EBW, KSHIFTLQ, EBW),
    [0x38] = ROWS(V(VINSERTI128, P66 | W0 | L1, Vx, Hx, Wdq, Ib)), [0x39] = ROWS(V(VEXTRACTI128, P66 | W0 | L1, Wdq, Vx, Ib)),
    [0x40] = ROWS(V(DPPS, P66, Vx, Hx, Wx, Ib)), [0x41] = ROWS(V(DPPD, P66 | L0, Vx, Hx, Wx, Ib)),
    [0x42] = ROWS(V(MPSADBW, P66 | AI, Vx, Hx, Wx, Ib)),
    [0x44] = ROWS(V(PCLMULQDQ, P66, Vx, Hx, Wx, Ib)), [0x46] = ROWS(V(VPERM2I128, P66 | W0 | L1, Vx, Hx, Wx, Ib)),
    [0x4a] = ROWS(V(BLENDVPS, P66 | W0, Vx, Hx, Wx, Lx)), [0x4b] = ROWS(V(BLENDVPD, P66 | W0, Vx, Hx, Wx, Lx)),
    [0x4c] = ROWS(V(PBLENDVB, P66 | W0 | AI, Vx, Hx, Wx, Lx)),
    [0x60] = ROWS(V(PCMPESTRM, P66 | L0, Vx, Wx, Ib)), [0x61] = ROWS(V(PCMPESTRI, P66 | L0, Vx, Wx, Ib)),
    [0x62] = ROWS(V(PCMPISTRM, P66 | L0, Vx, Wx, Ib)),
    [0x63] = ROWS(V(PCMPISTRI, P66 | L0, Vx, Wx, Ib)), [0xdf] = ROWS(V(AESKEYGENASSIST, P66 | L0, Vx, Wx, Ib)),
    [0xf0] = ROWS(R(RORX, PF2 | L0, Gy, Ey, Ib)),
};
