/* SPDX-License-Identifier: MIT */
/* Legacy opcodes 0F 38 xx and 0F 3A xx (SDM vol. 2, tables ). */
#include "cpu/decode_table.h"

#define PACKED(code, op) [code] = ROWS(R(op, NP, P, Q), V(op, P66, Vx, Wx))
#define XMM(code, op) [code] = ROWS(V(op, P66, Vx, Wx))
#define XMMI(code, op) [code] = ROWS(V(op, P66, Vx, Wx, Ib))

const struct decode_row *const decode_map_0f38[256] = {
    PACKED(0x00, PSHUFB), PACKED(0x01, PHADDW), PACKED(0x02, PHADDD), PACKED(0x03, PHADDSW), PACKED(0x04, PMADDUBSW), PACKED(0x05, PHSUBW),
    PACKED(0x06, PHSUBD), PACKED(0x07, PHSUBSW), PACKED(0x08, PSIGNB), PACKED(0x09, PSIGNW), PACKED(0x0a, PSIGND), PACKED(0x0b, PMULHRSW),
    [0x10] = ROWS(V(PBLENDVB, P66, Vx, Wx, X0)), [0x14] = ROWS(V(BLENDVPS, P66, Vx, Wx, X0)), [0x15] = ROWS(V(BLENDVPD, P66, Vx, Wx, X0)),
    XMM(0x17, PTEST), PACKED(0x1c, PABSB), PACKED(0x1d, PABSW), PACKED(0x1e, PABSD),
    [0x20] = ROWS(V(PMOVSXBW, P66, Vx, Wsd)), [0x21] = ROWS(V(PMOVSXBD, P66, Vx, Wss)), [0x22] = ROWS(V(PMOVSXBQ, P66, Vx, Ww)),
    [0x23] = ROWS(V(PMOVSXWD, P66, Vx, Wsd)), [0x24] = ROWS(V(PMOVSXWQ, P66, Vx, Wss)), [0x25] = ROWS(V(PMOVSXDQ, P66, Vx, Wsd)),
    XMM(0x28, PMULDQ), XMM(0x29, PCMPEQQ), [0x2a] = ROWS(V(MOVNTDQA, P66 | MEM, Vx, Mx)), XMM(0x2b, PACKUSDW),
    [0x30] = ROWS(V(PMOVZXBW, P66, Vx, Wsd)), [0x31] = ROWS(V(PMOVZXBD, P66, Vx, Wss)), [0x32] = ROWS(V(PMOVZXBQ, P66, Vx, Ww)),
    [0x33] = ROWS(V(PMOVZXWD, P66, Vx, Wsd)), [0x34] = ROWS(V(PMOVZXWQ, P66, Vx, Wss)), [0x35] = ROWS(V(PMOVZXDQ, P66, Vx, Wsd)),
    XMM(0x37, PCMPGTQ), XMM(0x38, PMINSB), XMM(0x39, PMINSD), XMM(0x3a, PMINUW), XMM(0x3b, PMINUD), XMM(0x3c, PMAXSB), XMM(0x3d, PMAXSD),
    XMM(0x3e, PMAXUW), XMM(0x3f, PMAXUD), XMM(0x40, PMULLD), XMM(0x41, PHMINPOSUW),
    [0x80] = ROWS(R(INVEPT, P66 | MEM, Go, Mdq)), [0x81] = ROWS(R(INVVPID, P66 | MEM, Go, Mdq)),
    [0x82] = ROWS(R(INVPCID, P66 | MEM, Go, Mdq)),
    [0xc8] = ROWS(V(SHA1NEXTE, NP, Vx, Wx)), [0xc9] = ROWS(V(SHA1MSG1, NP, Vx, Wx)), [0xca] = ROWS(V(SHA1MSG2, NP, Vx, Wx)),
    [0xcb] = ROWS(V(SHA256RNDS2, NP, Vx, Wx, X0)), [0xcc] = ROWS(V(SHA256MSG1, NP, Vx, Wx)), [0xcd] = ROWS(V(SHA256MSG2, NP, Vx, Wx)),
    XMM(0xdb, AESIMC), XMM(0xdc, AESENC), XMM(0xdd, AESENCLAST), XMM(0xde, AESDEC), XMM(0xdf, AESDECLAST),
    [0xf0] = ROWS(R(CRC32, PF2, Gy, Eb), R(MOVBE, NP66 | MEM, Gv, Mv)), [0xf1] = ROWS(R(CRC32, PF2, Gy, Ev), R(MOVBE, NP66 | MEM, Mv, Gv)),
    [0xf6] = ROWS(R(ADCX, P66, Gy, Ey), R(ADOX, PF3, Gy, Ey)),
};

const struct decode_row *const decode_map_0f3a[256] = {
    XMMI(0x08, ROUNDPS), XMMI(0x09, ROUNDPD), [0x0a] = ROWS(V(ROUNDSS, P66, Vss, Wss, Ib)), [0x0b] = ROWS(V(ROUNDSD, P66, Vsd, Wsd, Ib)),
    XMMI(0x0c, BLENDPS), XMMI(0x0d, BLENDPD), XMMI(0x0e, PBLENDW), [0x0f] = ROWS(R(PALIGNR, NP, P, Q, Ib), V(PALIGNR, P66, Vx, Wx, Ib)),
    [0x14] = ROWS(V(PEXTRB, P66, EdMb, Vdq, Ib)), [0x15] = ROWS(V(PEXTRW, P66, EdMw, Vdq, Ib)), [0x16] = ROWS(V(PEXTRD, P66, Ey, Vdq, Ib)),
    [0x17] = ROWS(V(EXTRACTPS, P66, Ed, Vdq, Ib)), [0x20] = ROWS(V(PINSRB, P66, Vdq, EdMb, Ib)),
    [0x21] = ROWS(V(INSERTPS, P66, Vdq, Wss, Ib)),
    [0x22] = ROWS(V(PINSRD, P66, Vdq, Ey, Ib)), XMMI(0x40, DPPS), XMMI(0x41, DPPD), XMMI(0x42, MPSADBW), XMMI(0x44, PCLMULQDQ),
    XMMI(0x60, PCMPESTRM), XMMI(0x61, PCMPESTRI), XMMI(0x62, PCMPISTRM), XMMI(0x63, PCMPISTRI),
    [0xcc] = ROWS(V(SHA1RNDS4, NP, Vx, Wx, Ib)), XMMI(0xdf, AESKEYGENASSIST),
};
