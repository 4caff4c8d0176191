/* SPDX-License-Identifier: MIT */
/* One-byte opcodes (SDM vol. 2, table A-2) and x87. The escapes 0F, 62, C4, C5 as prefixes are decode.c's. */
#include "cpu/decode_table.h"

#define ALU(code, op, lock) \
    [code] = ROWS(R(op, lock, Eb, Gb)), [(code) + 1] = ROWS(R(op, lock, Ev, Gv)), [(code) + 2] = ROWS(R(op, 0, Gb, Eb)), \
    [(code) + 3] = ROWS(R(op, 0, Gv, Ev)), [(code) + 4] = ROWS(I(op, 0, rAL, Ib)), [(code) + 5] = ROWS(I(op, 0, rAX, Iz))

#define EIGHT(code, ...) \
    [(code) + 0] = ROWS(__VA_ARGS__), [(code) + 1] = ROWS(__VA_ARGS__), \
    [(code) + 2] = ROWS(__VA_ARGS__), [(code) + 3] = ROWS(__VA_ARGS__), \
    [(code) + 4] = ROWS(__VA_ARGS__), [(code) + 5] = ROWS(__VA_ARGS__), \
    [(code) + 6] = ROWS(__VA_ARGS__), [(code) + 7] = ROWS(__VA_ARGS__)

/* Group 1: 80, 81, 82, 83 */
#define GROUP1(cond, e, i) \
    ROWS(R(ADD, (cond) | LK | EXT(0), e, i), R(OR, (cond) | LK | EXT(1), e, i), R(ADC, (cond) | LK | EXT(2), e, i), \
         R(SBB, (cond) | LK | EXT(3), e, i), R(AND, (cond) | LK | EXT(4), e, i), R(SUB, (cond) | LK | EXT(5), e, i), \
         R(XOR, (cond) | LK | EXT(6), e, i), R(CMP, (cond) | EXT(7), e, i))

/* Group 2: C0, C1, D0 to D3; /6 is SHL on every processor */
#define GROUP2(e, i) \
    ROWS(R(ROL, EXT(0), e, i), R(ROR, EXT(1), e, i), R(RCL, EXT(2), e, i), R(RCR, EXT(3), e, i), R(SHL, EXT(4), e, i), \
         R(SHR, EXT(5), e, i), R(SHL, EXT(6), e, i), R(SAR, EXT(7), e, i))

/* Group 3: F6, F7; /1 is TEST on every processor */
#define GROUP3(e, i) \
    ROWS(R(TEST, EXT(0), e, i), R(TEST, EXT(1), e, i), R(NOT, LK | EXT(2), e), R(NEG, LK | EXT(3), e), R(MUL, EXT(4), e), \
         R(IMUL, EXT(5), e), R(DIV, EXT(6), e), R(IDIV, EXT(7), e))

/* The eight arithmetic operations of x87 on memory: D8, DA, DC, DE */
#define X87_ARITH_MEM(pre, m) \
    R(F##pre##ADD, MEM | EXT(0), m), R(F##pre##MUL, MEM | EXT(1), m), R(F##pre##COM, MEM | EXT(2), m), R(F##pre##COMP, MEM | EXT(3), m), \
    R(F##pre##SUB, MEM | EXT(4), m), R(F##pre##SUBR, MEM | EXT(5), m), R(F##pre##DIV, MEM | EXT(6), m), R(F##pre##DIVR, MEM | EXT(7), m)

const struct decode_row *const decode_map_1byte[256] = {
    ALU(0x00, ADD, LK), ALU(0x08, OR, LK), ALU(0x10, ADC, LK), ALU(0x18, SBB, LK), ALU(0x20, AND, LK), ALU(0x28, SUB, LK),
    ALU(0x30, XOR, LK), ALU(0x38, CMP, 0),
    [0x06] = ROWS(I(PUSH_SEG, I64, rES)), [0x07] = ROWS(I(POP_SEG, I64, rES)), [0x0e] = ROWS(I(PUSH_SEG, I64, rCS)),
    [0x16] = ROWS(I(PUSH_SEG, I64, rSS)), [0x17] = ROWS(I(POP_SEG, I64, rSS)), [0x1e] = ROWS(I(PUSH_SEG, I64, rDS)),
    [0x1f] = ROWS(I(POP_SEG, I64, rDS)),
    [0x27] = ROWS(I(DAA, I64 | BYTE, NO)), [0x2f] = ROWS(I(DAS, I64 | BYTE, NO)), [0x37] = ROWS(I(AAA, I64 | BYTE, NO)),
    [0x3f] = ROWS(I(AAS, I64 | BYTE, NO)),
    EIGHT(0x40, I(INC, I64, Zv)), EIGHT(0x48, I(DEC, I64, Zv)), /* REX in 64-bit code */
    EIGHT(0x50, I(PUSH, D64, Zv)), EIGHT(0x58, I(POP, D64, Zv)),
    [0x60] = ROWS(I(PUSHA, I64, NO)), [0x61] = ROWS(I(POPA, I64, NO)),
    [0x62] = ROWS(R(BOUND, I64 | MEM, Gv, Ma)), /* else EVEX, which we do not have */
    [0x63] = ROWS(R(ARPL, I64, Ew, Gw), R(MOVSXD, O64, Gv, Ez)),
    [0x68] = ROWS(I(PUSH, D64, Iz)), [0x69] = ROWS(R(IMUL, 0, Gv, Ev, Iz)), [0x6a] = ROWS(I(PUSH, D64, sIb)),
    [0x6b] = ROWS(R(IMUL, 0, Gv, Ev, sIb)),
    [0x6c] = ROWS(I(INS, 0, Yb, rDX)), [0x6d] = ROWS(I(INS, NOW, Yv, rDX)), [0x6e] = ROWS(I(OUTS, BYTE, rDX, Xb)),
    [0x6f] = ROWS(I(OUTS, NOW, rDX, Xv)),
    EIGHT(0x70, I(JCC, F64, Jb)), EIGHT(0x78, I(JCC, F64, Jb)),
    [0x80] = GROUP1(0, Eb, Ib), [0x81] = GROUP1(0, Ev, Iz), [0x82] = GROUP1(I64, Eb, Ib), [0x83] = GROUP1(0, Ev, sIb),
    [0x84] = ROWS(R(TEST, 0, Eb, Gb)), [0x85] = ROWS(R(TEST, 0, Ev, Gv)), [0x86] = ROWS(R(XCHG, LK, Eb, Gb)),
    [0x87] = ROWS(R(XCHG, LK, Ev, Gv)), [0x88] = ROWS(R(MOV, 0, Eb, Gb)), [0x89] = ROWS(R(MOV, 0, Ev, Gv)),
    [0x8a] = ROWS(R(MOV, 0, Gb, Eb)), [0x8b] = ROWS(R(MOV, 0, Gv, Ev)), [0x8c] = ROWS(R(MOV_SEG, 0, Ewv, Sw)),
    [0x8d] = ROWS(R(LEA, MEM, Gv, M)), [0x8e] = ROWS(R(MOV_SEG, 0, Sw, Ew)), [0x8f] = ROWS(R(POP, D64 | EXT(0), Ev)),
    [0x90] = ROWS(I(PAUSE, PF3, NO), I(NOP, NOB, NO), I(XCHG, 0, Zv, rAX)),
    [0x91] = ROWS(I(XCHG, 0, Zv, rAX)), [0x92] = ROWS(I(XCHG, 0, Zv, rAX)), [0x93] = ROWS(I(XCHG, 0, Zv, rAX)),
    [0x94] = ROWS(I(XCHG, 0, Zv, rAX)), [0x95] = ROWS(I(XCHG, 0, Zv, rAX)), [0x96] = ROWS(I(XCHG, 0, Zv, rAX)),
    [0x97] = ROWS(I(XCHG, 0, Zv, rAX)),
    [0x98] = ROWS(I(CBW, 0, NO)), [0x99] = ROWS(I(CWD, 0, NO)), [0x9a] = ROWS(I(CALL_FAR, I64, Ap)), [0x9b] = ROWS(I(FWAIT, 0, NO)),
    [0x9c] = ROWS(I(PUSHF, D64, NO)), [0x9d] = ROWS(I(POPF, D64, NO)), [0x9e] = ROWS(I(SAHF, 0, NO)), [0x9f] = ROWS(I(LAHF, 0, NO)),
    [0xa0] = ROWS(I(MOV, 0, rAL, Ob)), [0xa1] = ROWS(I(MOV, 0, rAX, Ov)), [0xa2] = ROWS(I(MOV, 0, Ob, rAL)),
    [0xa3] = ROWS(I(MOV, 0, Ov, rAX)),
    [0xa4] = ROWS(I(MOVS, 0, Yb, Xb)), [0xa5] = ROWS(I(MOVS, 0, Yv, Xv)), [0xa6] = ROWS(I(CMPS, 0, Xb, Yb)),
    [0xa7] = ROWS(I(CMPS, 0, Xv, Yv)),
    [0xa8] = ROWS(I(TEST, 0, rAL, Ib)), [0xa9] = ROWS(I(TEST, 0, rAX, Iz)),
    [0xaa] = ROWS(I(STOS, 0, Yb, rAL)), [0xab] = ROWS(I(STOS, 0, Yv, rAX)), [0xac] = ROWS(I(LODS, 0, rAL, Xb)),
    [0xad] = ROWS(I(LODS, 0, rAX, Xv)),
    [0xae] = ROWS(I(SCAS, 0, rAL, Yb)), [0xaf] = ROWS(I(SCAS, 0, rAX, Yv)),
    EIGHT(0xb0, I(MOV, 0, Zb, Ib)), EIGHT(0xb8, I(MOV, 0, Zv, Iv)),
    [0xc0] = GROUP2(Eb, Ib), [0xc1] = GROUP2(Ev, Ib), [0xc2] = ROWS(I(RET, F64, Iw)), [0xc3] = ROWS(I(RET, F64, NO)),
    [0xc4] = ROWS(R(LES, I64 | MEM, Gv, Mp)), [0xc5] = ROWS(R(LDS, I64 | MEM, Gv, Mp)),
    [0xc6] = ROWS(R(MOV, EXT(0), Eb, Ib)), [0xc7] = ROWS(R(MOV, EXT(0), Ev, Iz)),
    [0xc8] = ROWS(I(ENTER, D64, Iw, Ib2)), [0xc9] = ROWS(I(LEAVE, D64, NO)), [0xca] = ROWS(I(RET_FAR, 0, Iw)),
    [0xcb] = ROWS(I(RET_FAR, 0, NO)),
    [0xcc] = ROWS(I(INT3, 0, NO)), [0xcd] = ROWS(I(INT, 0, Ib)), [0xce] = ROWS(I(INTO, I64, NO)), [0xcf] = ROWS(I(IRET, 0, NO)),
    [0xd0] = GROUP2(Eb, I1), [0xd1] = GROUP2(Ev, I1), [0xd2] = GROUP2(Eb, rCL), [0xd3] = GROUP2(Ev, rCL),
    [0xd4] = ROWS(I(AAM, I64 | BYTE, Ib)), [0xd5] = ROWS(I(AAD, I64 | BYTE, Ib)), [0xd6] = ROWS(I(SALC, I64 | BYTE, NO)),
    [0xd7] = ROWS(I(XLAT, BYTE, XLb)),
    /* x87: aliases of register forms that the opcode maps leave blank run as the operation named beside them on every processor */
    [0xd8] = ROWS(X87_ARITH_MEM(, Md), R(FADD, EXT(0), ST0, STi), R(FMUL, EXT(1), ST0, STi), R(FCOM, EXT(2), ST0, STi),
                  R(FCOMP, EXT(3), ST0, STi), R(FSUB, EXT(4), ST0, STi), R(FSUBR, EXT(5), ST0, STi), R(FDIV, EXT(6), ST0, STi),
                  R(FDIVR, EXT(7), ST0, STi)),
    [0xd9] = ROWS(R(FLD, MEM | EXT(0), Md), R(FST, MEM | EXT(2), Md), R(FSTP, MEM | EXT(3), Md), R(FLDENV, MEM | EXT(4), M),
                  R(FLDCW, MEM | EXT(5), Mw), R(FNSTENV, MEM | EXT(6), M), R(FNSTCW, MEM | EXT(7), Mw),
                  R(FLD, REG | EXT(0), STi), R(FXCH, REG | EXT(1), ST0, STi), R(FNOP, EXT(2) | RM(0), NO),
                  R(FSTP, REG | EXT(3), STi) /* alias */,
                  R(FCHS, EXT(4) | RM(0), NO), R(FABS, EXT(4) | RM(1), NO), R(FTST, EXT(4) | RM(4), NO), R(FXAM, EXT(4) | RM(5), NO),
                  R(FLD1, EXT(5) | RM(0), NO), R(FLDL2T, EXT(5) | RM(1), NO), R(FLDL2E, EXT(5) | RM(2), NO), R(FLDPI, EXT(5) | RM(3), NO),
                  R(FLDLG2, EXT(5) | RM(4), NO), R(FLDLN2, EXT(5) | RM(5), NO), R(FLDZ, EXT(5) | RM(6), NO),
                  R(F2XM1, EXT(6) | RM(0), NO), R(FYL2X, EXT(6) | RM(1), NO), R(FPTAN, EXT(6) | RM(2), NO), R(FPATAN, EXT(6) | RM(3), NO),
                  R(FXTRACT, EXT(6) | RM(4), NO), R(FPREM1, EXT(6) | RM(5), NO), R(FDECSTP, EXT(6) | RM(6), NO),
    R(FINCSTP, EXT(6) | RM(7), NO),
                  R(FPREM, EXT(7) | RM(0), NO), R(FYL2XP1, EXT(7) | RM(1), NO), R(FSQRT, EXT(7) | RM(2), NO),
    R(FSINCOS, EXT(7) | RM(3), NO),
                  R(FRNDINT, EXT(7) | RM(4), NO), R(FSCALE, EXT(7) | RM(5), NO), R(FSIN, EXT(7) | RM(6), NO), R(FCOS, EXT(7) | RM(7), NO)),
    [0xda] = ROWS(X87_ARITH_MEM(I, Md), R(FCMOVB, EXT(0), ST0, STi), R(FCMOVE, EXT(1), ST0, STi), R(FCMOVBE, EXT(2), ST0, STi),
                  R(FCMOVU, EXT(3), ST0, STi), R(FUCOMPP, EXT(5) | RM(1), NO)),
    [0xdb] = ROWS(R(FILD, MEM | EXT(0), Md), R(FISTTP, MEM | EXT(1), Md), R(FIST, MEM | EXT(2), Md), R(FISTP, MEM | EXT(3), Md),
                  R(FLD, MEM | EXT(5), Mt), R(FSTP, MEM | EXT(7), Mt),
                  R(FCMOVNB, REG | EXT(0), ST0, STi), R(FCMOVNE, REG | EXT(1), ST0, STi), R(FCMOVNBE, REG | EXT(2), ST0, STi),
                  R(FCMOVNU, REG | EXT(3), ST0, STi),
                  /* FENI, FDISI, FSETPM of the 8087 and 80287 */
                  R(FNOP, EXT(4) | RM(0), NO), R(FNOP, EXT(4) | RM(1), NO), R(FNOP, EXT(4) | RM(4), NO),
                  R(FNCLEX, EXT(4) | RM(2), NO), R(FNINIT, EXT(4) | RM(3), NO), R(FUCOMI, REG | EXT(5), ST0, STi),
    R(FCOMI, REG | EXT(6), ST0, STi)),
    [0xdc] = ROWS(X87_ARITH_MEM(, Mq), R(FADD, EXT(0), STi, ST0), R(FMUL, EXT(1), STi, ST0), R(FCOM, EXT(2), ST0, STi) /* alias */,
                  R(FCOMP, EXT(3), ST0, STi) /* alias */, R(FSUBR, EXT(4), STi, ST0), R(FSUB, EXT(5), STi, ST0), R(FDIVR, EXT(6), STi, ST0),
                  R(FDIV, EXT(7), STi, ST0)),
    [0xdd] = ROWS(R(FLD, MEM | EXT(0), Mq), R(FISTTP, MEM | EXT(1), Mq), R(FST, MEM | EXT(2), Mq), R(FSTP, MEM | EXT(3), Mq),
                  R(FRSTOR, MEM | EXT(4), M), R(FNSAVE, MEM | EXT(6), M), R(FNSTSW, MEM | EXT(7), Mw),
                  R(FFREE, REG | EXT(0), STi), R(FXCH, REG | EXT(1), ST0, STi) /* alias */, R(FST, REG | EXT(2), STi),
    R(FSTP, REG | EXT(3), STi),
                  R(FUCOM, REG | EXT(4), ST0, STi), R(FUCOMP, REG | EXT(5), ST0, STi)),
    [0xde] = ROWS(X87_ARITH_MEM(I, Mw), R(FADDP, EXT(0), STi, ST0), R(FMULP, EXT(1), STi, ST0), R(FCOMP, EXT(2), ST0, STi) /* alias */,
                  R(FCOMPP, EXT(3) | RM(1), NO), R(FSUBRP, EXT(4), STi, ST0), R(FSUBP, EXT(5), STi, ST0), R(FDIVRP, EXT(6), STi, ST0),
                  R(FDIVP, EXT(7), STi, ST0)),
    [0xdf] = ROWS(R(FILD, MEM | EXT(0), Mw), R(FISTTP, MEM | EXT(1), Mw), R(FIST, MEM | EXT(2), Mw), R(FISTP, MEM | EXT(3), Mw),
                  R(FBLD, MEM | EXT(4), Mt), R(FILD, MEM | EXT(5), Mq), R(FBSTP, MEM | EXT(6), Mt), R(FISTP, MEM | EXT(7), Mq),
                  R(FFREEP, EXT(0), STi), R(FXCH, EXT(1), ST0, STi) /* alias */, R(FSTP, EXT(2), STi) /* alias */,
                  R(FSTP, EXT(3), STi) /* alias */, R(FNSTSW, EXT(4) | RM(0), rAW), R(FUCOMIP, EXT(5), ST0, STi),
    R(FCOMIP, EXT(6), ST0, STi)),
    [0xe0] = ROWS(I(LOOPNE, F64, Jb)), [0xe1] = ROWS(I(LOOPE, F64, Jb)), [0xe2] = ROWS(I(LOOP, F64, Jb)), [0xe3] = ROWS(I(JCXZ, F64, Jb)),
    [0xe4] = ROWS(I(IN, 0, rAL, Ib)), [0xe5] = ROWS(I(IN, NOW, rAX, Ib)), [0xe6] = ROWS(I(OUT, BYTE, Ib, rAL)),
    [0xe7] = ROWS(I(OUT, NOW, Ib, rAX)),
    [0xe8] = ROWS(I(CALL, F64, Jz)), [0xe9] = ROWS(I(JMP, F64, Jz)), [0xea] = ROWS(I(JMP_FAR, I64, Ap)), [0xeb] = ROWS(I(JMP, F64, Jb)),
    [0xec] = ROWS(I(IN, 0, rAL, rDX)), [0xed] = ROWS(I(IN, NOW, rAX, rDX)), [0xee] = ROWS(I(OUT, BYTE, rDX, rAL)),
    [0xef] = ROWS(I(OUT, NOW, rDX, rAX)),
    [0xf1] = ROWS(I(INT1, 0, NO)), [0xf4] = ROWS(I(HLT, 0, NO)), [0xf5] = ROWS(I(CMC, 0, NO)),
    [0xf6] = GROUP3(Eb, Ib), [0xf7] = GROUP3(Ev, Iz),
    [0xf8] = ROWS(I(CLC, 0, NO)), [0xf9] = ROWS(I(STC, 0, NO)), [0xfa] = ROWS(I(CLI, 0, NO)), [0xfb] = ROWS(I(STI, 0, NO)),
    [0xfc] = ROWS(I(CLD, 0, NO)), [0xfd] = ROWS(I(STD, 0, NO)),
    [0xfe] = ROWS(R(INC, LK | EXT(0), Eb), R(DEC, LK | EXT(1), Eb)),
    [0xff] = ROWS(R(INC, LK | EXT(0), Ev), R(DEC, LK | EXT(1), Ev), R(CALL, F64 | EXT(2), Ev), R(CALL_FAR, MEM | EXT(3), Mp),
                  R(JMP, F64 | EXT(4), Ev),
                  R(JMP_FAR, MEM | EXT(5), Mp), R(PUSH, D64 | EXT(6), Ev)),
};
