/* SPDX-License-Identifier: MIT */
/* decode_operands.h - inside decode.c: what each operand code of the opcode tables means. */
#ifndef CPU_DECODE_OPERANDS_H
#define CPU_DECODE_OPERANDS_H

#include "cpu/decode_table.h"

/* Where an operand comes from. */
enum source {
    FROM_NONE, FROM_RM, FROM_REG, FROM_VVVV, FROM_RM_ALWAYS_REG, FROM_OPCODE, FROM_FIXED, FROM_SEG, FROM_CR, FROM_DR,
    FROM_IMM, FROM_SIMM, FROM_ONE, FROM_IMM2, FROM_REL, FROM_FAR, FROM_MOFFS, FROM_SI, FROM_DI, FROM_XLAT, FROM_IS4
};

/* Sizes beyond plain byte counts. */
enum size_code { SZ_V = 64, SZ_Z, SZ_Y, SZ_O, SZ_X, SZ_H, SZ_QR, SZ_E, SZ_DUP, SZ_FAR, SZ_DTR, SZ_2V, SZ_2Y, SZ_MOFFS };

struct spec_row {
    uint8_t from;     /* enum source */
    uint8_t kind;     /* enum insn_opnd_kind of the register form */
    uint8_t size;     /* bytes or enum size_code */
    uint8_t mem_size; /* of the memory form, where it differs; else 0 */
    uint8_t fixed;    /* register of FROM_FIXED */
};

#define GPR_RM(s) { FROM_RM, OPND_GPR, s }
#define GPR_REG(s) { FROM_REG, OPND_GPR, s }
#define MEM_ONLY(s) { FROM_RM, OPND_MEM, s }
#define FIXED(kind, reg, s) { FROM_FIXED, kind, s, 0, reg }
#define XMM_RM(s) { FROM_RM, OPND_XMM, s }
#define XMM_REG(s) { FROM_REG, OPND_XMM, s }
#define XMM_VVVV(s) { FROM_VVVV, OPND_XMM, s }

static const struct spec_row specs[] = {
    [NO] = { FROM_NONE },
    [Eb] = GPR_RM(1), [Ew] = GPR_RM(2), [Ed] = GPR_RM(4), [Eq] = GPR_RM(8), [Ev] = GPR_RM(SZ_V), [Ey] = GPR_RM(SZ_Y), [Eo] = GPR_RM(SZ_O),
    [Ez] = GPR_RM(SZ_Z),
    [Ewv] = { FROM_RM, OPND_GPR, SZ_V, 2 }, [EdMb] = { FROM_RM, OPND_GPR, 4, 1 }, [EdMw] = { FROM_RM, OPND_GPR, 4, 2 },
    [Gb] = GPR_REG(1), [Gw] = GPR_REG(2), [Gd] = GPR_REG(4), [Gv] = GPR_REG(SZ_V), [Gy] = GPR_REG(SZ_Y), [Go] = GPR_REG(SZ_O),
    [Bv] = { FROM_VVVV, OPND_GPR, SZ_V }, [By] = { FROM_VVVV, OPND_GPR, SZ_Y },
    [M] = MEM_ONLY(0), [Mb] = MEM_ONLY(1), [Mw] = MEM_ONLY(2), [Md] = MEM_ONLY(4), [Mq] = MEM_ONLY(8), [Mdq] = MEM_ONLY(16),
    [Mqq] = MEM_ONLY(32),
    [Mv] = MEM_ONLY(SZ_V), [My] = MEM_ONLY(SZ_Y), [Mx] = MEM_ONLY(SZ_X), [Mp] = MEM_ONLY(SZ_FAR), [Ms] = MEM_ONLY(SZ_DTR),
    [Ma] = MEM_ONLY(SZ_2V),
    [Mt] = MEM_ONLY(10), [M2v] = MEM_ONLY(SZ_2Y), [Mvm_d] = MEM_ONLY(4), [Mvm_q] = MEM_ONLY(8),
    [Ib] = { FROM_IMM, OPND_IMM, 1 }, [sIb] = { FROM_SIMM, OPND_IMM, SZ_V }, [Iw] = { FROM_IMM, OPND_IMM, 2
    }, [Iz] = { FROM_IMM, OPND_IMM, SZ_Z },
    [Iv] = { FROM_IMM, OPND_IMM, SZ_V }, [I1] = { FROM_ONE, OPND_IMM, 1 }, [Ib2] = { FROM_IMM2, OPND_IMM2, 1 },
    [Jb] = { FROM_REL, OPND_REL, 1 }, [Jz] = { FROM_REL, OPND_REL, SZ_Z }, [Ap] = { FROM_FAR, OPND_FAR, SZ_FAR },
    [Ob] = { FROM_MOFFS, OPND_MOFFS, 1 }, [Ov] = { FROM_MOFFS, OPND_MOFFS, SZ_V },
    [Sw] = { FROM_SEG, OPND_SEG, 2 }, [Cd] = { FROM_CR, OPND_CR, SZ_O }, [Dd] = { FROM_DR, OPND_DR, SZ_O
    }, [Ro] = { FROM_RM_ALWAYS_REG, OPND_GPR, SZ_O },
    [rES] = FIXED(OPND_SEG, INSN_ES, 2), [rCS] = FIXED(OPND_SEG, INSN_CS, 2), [rSS] = FIXED(OPND_SEG, INSN_SS, 2),
    [rDS] = FIXED(OPND_SEG, INSN_DS, 2),
    [rFS] = FIXED(OPND_SEG, INSN_FS, 2), [rGS] = FIXED(OPND_SEG, INSN_GS, 2),
    [rAL] = FIXED(OPND_GPR, INSN_RAX, 1), [rAX] = FIXED(OPND_GPR, INSN_RAX, SZ_V), [rCL] = FIXED(OPND_GPR, INSN_RCX, 1),
    [rDX] = FIXED(OPND_GPR, INSN_RDX, 2),
    [rAW] = FIXED(OPND_GPR, INSN_RAX, 2),
    [Zb] = { FROM_OPCODE, OPND_GPR, 1 }, [Zv] = { FROM_OPCODE, OPND_GPR, SZ_V },
    [Xb] = { FROM_SI, OPND_MEM_SI, 1 }, [Xv] = { FROM_SI, OPND_MEM_SI, SZ_V }, [Yb] = { FROM_DI, OPND_MEM_DI, 1
    }, [Yv] = { FROM_DI, OPND_MEM_DI, SZ_V },
    [XLb] = { FROM_XLAT, OPND_MEM_XLAT, 1 }, [Yq] = { FROM_DI, OPND_MEM_DI, 8 }, [Ydq] = { FROM_DI, OPND_MEM_DI, 16 },
    [P] = { FROM_REG, OPND_MMX, 8 }, [Q] = { FROM_RM, OPND_MMX, 8 }, [Qd] = { FROM_RM, OPND_MMX, 8, 4 }, [Nq] = { FROM_RM, OPND_MMX, 8 },
    [Vx] = XMM_REG(SZ_X), [Vss] = XMM_REG(4), [Vsd] = XMM_REG(8), [Vdq] = XMM_REG(16), [Vqq] = XMM_REG(32), [Vh] = XMM_REG(SZ_H),
    [Hx] = XMM_VVVV(SZ_X), [Hss] = XMM_VVVV(4), [Hsd] = XMM_VVVV(8), [Hdq] = XMM_VVVV(16), [Hqq] = XMM_VVVV(32),
    [Wx] = XMM_RM(SZ_X), [Wb] = XMM_RM(1), [Ww] = XMM_RM(2), [Wss] = XMM_RM(4), [Wsd] = XMM_RM(8), [Wdq] = XMM_RM(16), [Wqq] = XMM_RM(32),
    [Wh] = XMM_RM(SZ_H), [Wqr] = XMM_RM(SZ_QR), [We] = XMM_RM(SZ_E), [Wdup] = XMM_RM(SZ_DUP),
    [Kg] = { FROM_REG, OPND_MASK, 8 }, [Kh] = { FROM_VVVV, OPND_MASK, 8 }, [Ke] = { FROM_RM, OPND_MASK, 8 }, [KeB] = { FROM_RM, OPND_MASK, 1 },
    [KeW] = { FROM_RM, OPND_MASK, 2 }, [KeD] = { FROM_RM, OPND_MASK, 4 }, [KeQ] = { FROM_RM, OPND_MASK, 8 },
    [Lx] = { FROM_IS4, OPND_XMM, SZ_X }, [X0] = FIXED(OPND_XMM, 0, 16), [ST0] = FIXED(OPND_ST, 0, 10),
    [STi] = { FROM_RM_ALWAYS_REG, OPND_ST, 10 },
};

#endif
