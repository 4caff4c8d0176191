/* SPDX-License-Identifier: MIT */
/* Compares the vector operations with the host's, results and MXCSR flags, on special and random values. x86-64 hosts with AVX2 only.
 *
 * Each row below names an operation as the assembler spells it; macros wrap it in a host function for each register width. A legacy form
 * "op xmm1, xmm0" has a = xmm0 and b = xmm1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cpu/vector.h"
#include "fp_cases.h"

typedef uint32_t host_function(uint32_t mxcsr, union vec *d, const union vec *a, const union vec *b);

struct row {
    const char *name;
    vec_function *mine;
    host_function *host;
    uint8_t bytes, imm, element; /* element: 0 integers, 4 f32, 8 f64, 2 f16 */
};

#define HOST(name, code)                                                                                                              \
    static uint32_t name(uint32_t mxcsr, union vec *d, const union vec *a, const union vec *b)                                        \
    {                                                                                                                                 \
        uint32_t flags, old;                                                                                                          \
        __asm__ volatile("stmxcsr %1\n ldmxcsr %2\n vmovdqu (%3), %%ymm2\n vmovdqu (%4), %%ymm0\n vmovdqu (%5), %%ymm1\n"              \
                         code "\n stmxcsr %0\n vmovdqu %%ymm2, (%3)\n ldmxcsr %1\n vzeroupper"                                         \
                         : "=m"(flags), "=m"(old) : "m"(mxcsr), "r"(d), "r"(a), "r"(b) : "xmm0", "xmm1", "xmm2", "memory");            \
        return flags & 0x3f;                                                                                                          \
    }
#define HOST_MMX(name, op)                                                                                                            \
    static uint32_t name(uint32_t mxcsr, union vec *d, const union vec *a, const union vec *b)                                        \
    {                                                                                                                                 \
        (void)mxcsr;                                                                                                                  \
        __asm__ volatile("movq %1, %%mm0\n movq %2, %%mm1\n" op " %%mm1, %%mm0\n movq %%mm0, %0\n emms"                                \
                         : "=m"(d->q[0]) : "m"(a->q[0]), "m"(b->q[0]) : "mm0", "mm1");                                                \
        return 0;                                                                                                                     \
    }

/* The operations, by the widths that they have. I2: two operands; M, X, Y: MMX, XMM, YMM. */
#define INTEGER_MMX(R) R(paddb) R(paddw) R(paddd) R(paddq) R(psubb) R(psubw) R(psubd) R(psubq) R(paddsb) R(paddsw) R(paddusb) R(paddusw)       \
    R(psubsb) R(psubsw) R(psubusb) R(psubusw) R(pavgb) R(pavgw) R(pcmpeqb) R(pcmpeqw) R(pcmpeqd) R(pcmpgtb) R(pcmpgtw) R(pcmpgtd) R(pmaxsw)  \
    R(pmaxub) R(pminsw) R(pminub) R(pabsb) R(pabsw) R(pabsd) R(psignb) R(psignw) R(psignd) R(pmullw) R(pmulhw) R(pmulhuw) R(pmulhrsw)        \
    R(pmuludq) R(pand) R(pandn) R(por) R(pxor) R(pmaddwd) R(pmaddubsw) R(psllw) R(pslld) R(psllq) R(psrlw) R(psrld) R(psrlq) R(psraw)        \
    R(psrad) R(psadbw) R(phaddw) R(phaddd) R(phaddsw) R(phsubw) R(phsubd) R(phsubsw) R(packsswb) R(packuswb) R(packssdw) R(punpcklbw)        \
    R(punpcklwd) R(punpckldq) R(punpckhbw) R(punpckhwd) R(punpckhdq) R(pshufb)
#define INTEGER_XMM(R) R(pcmpeqq) R(pcmpgtq) R(pmaxsb) R(pmaxsd) R(pmaxuw) R(pmaxud) R(pminsb) R(pminsd) R(pminuw) R(pminud) R(pmulld) R(pmuldq)  \
    R(packusdw) R(punpcklqdq) R(punpckhqdq)
#define SHIFTS(R) R(psllw) R(pslld) R(psllq) R(psrlw) R(psrld) R(psrlq) R(psraw) R(psrad)
#define UNARY_BOTH(R) R(pabsb) R(pabsw) R(pabsd) R(movsldup) R(movshdup) R(movddup)
#define EXTENDS(R) R(pmovsxbw) R(pmovsxbd) R(pmovsxbq) R(pmovsxwd) R(pmovsxwq) R(pmovsxdq) R(pmovzxbw) R(pmovzxbd) R(pmovzxbq) R(pmovzxwd) R(pmovzxwq) \
    R(pmovzxdq)
#define FLOAT_PACKED(R) R(addps, 4) R(subps, 4) R(mulps, 4) R(divps, 4) R(minps, 4) R(maxps, 4) R(addsubps, 4) R(haddps, 4) R(hsubps, 4)            \
    R(addpd, 8) R(subpd, 8) R(mulpd, 8) R(divpd, 8) R(minpd, 8) R(maxpd, 8) R(addsubpd, 8) R(haddpd, 8) R(hsubpd, 8)
#define FLOAT_SCALAR(R) R(addss, 4) R(subss, 4) R(mulss, 4) R(divss, 4) R(minss, 4) R(maxss, 4) R(addsd, 8) R(subsd, 8) R(mulsd, 8) R(divsd, 8)      \
    R(minsd, 8) R(maxsd, 8) R(sqrtss, 4) R(sqrtsd, 8) R(cvtss2sd, 4) R(cvtsd2ss, 8)
#define FLOAT_UNARY(R) R(sqrtps, 4) R(sqrtpd, 8) R(cvtdq2ps, 4) R(cvtps2dq, 4) R(cvttps2dq, 4)
#define SPECIAL_XMM(R) R(aesenc) R(aesenclast) R(aesdec) R(aesdeclast)
#define SPECIAL_UNARY(R) R(aesimc) R(phminposuw)
#define SHA(R) R(sha1msg1) R(sha1msg2) R(sha1nexte) R(sha256msg1) R(sha256msg2)
#define VARIABLE(R) R(vpsllvd) R(vpsllvq) R(vpsrlvd) R(vpsrlvq) R(vpsravd)
#define FMA(R) FMA_KIND(R, vfmadd) FMA_KIND(R, vfmsub) FMA_KIND(R, vfnmadd) FMA_KIND(R, vfnmsub) FMA_PAIR(R, vfmaddsub) FMA_PAIR(R, vfmsubadd)
#define FMA_KIND(R, n) FMA_PAIR(R, n) R(n##132ss, 4) R(n##213ss, 4) R(n##231ss, 4) R(n##132sd, 8) R(n##213sd, 8) R(n##231sd, 8)
#define FMA_PAIR(R, n) R(n##132ps, 4) R(n##213ps, 4) R(n##231ps, 4) R(n##132pd, 8) R(n##213pd, 8) R(n##231pd, 8)
/* op(assembler, function, bytes, element), for each of some immediates */
#define IMMEDIATES(R, ...) R(0x00, __VA_ARGS__) R(0x01, __VA_ARGS__) R(0x1b, __VA_ARGS__) R(0x4e, __VA_ARGS__) R(0x93, __VA_ARGS__) R(0xe4, __VA_ARGS__) \
    R(0x08, __VA_ARGS__) R(0x0f, __VA_ARGS__) R(0x10, __VA_ARGS__) R(0x17, __VA_ARGS__) R(0x31, __VA_ARGS__) R(0x72, __VA_ARGS__) R(0xff, __VA_ARGS__)  \
    R(0xb5, __VA_ARGS__) R(0xfe, __VA_ARGS__)
#define IMMEDIATE_X3(R) R(pshufd, 0) R(pshuflw, 0) R(pshufhw, 0)
#define IMMEDIATE_2(R) R(shufps, 0) R(shufpd, 0) R(palignr, 0) R(blendps, 0) R(blendpd, 0) R(pblendw, 0) R(mpsadbw, 0) R(dpps, 4)
#define IMMEDIATE_2X(R) R(insertps, 0) R(pclmulqdq, 0) R(dppd, 8) R(roundss, 4) R(roundsd, 8)
#define IMMEDIATE_1(R) R(roundps, 4) R(roundpd, 8)

#define X2(op) HOST(host_x_##op, #op " %%xmm1, %%xmm0\n vmovdqa %%ymm0, %%ymm2")
#define Y2(op) HOST(host_y_##op, "v" #op " %%ymm1, %%ymm0, %%ymm2")
#define M2(op) HOST_MMX(host_m_##op, #op)
#define X2F(op, e) X2(op)
#define Y2F(op, e) Y2(op)
#define Y1F(op, e) HOST(host_y_##op, "v" #op " %%ymm1, %%ymm2")
#define YSHIFT(op) HOST(host_y_##op, "v" #op " %%xmm1, %%ymm0, %%ymm2")
#define YUNARY(op) HOST(host_y_##op, "v" #op " %%ymm1, %%ymm2")
#define YEXTEND(op) HOST(host_y_##op, "v" #op " %%xmm1, %%ymm2")
#define Y2RAW(op) HOST(host_y_##op, #op " %%ymm1, %%ymm0, %%ymm2")
#define FMAX(op, e) HOST(host_x_##op, #op " %%xmm1, %%xmm0, %%xmm2")
#define FMAY(op, e) HOST(host_y_##op, #op " %%ymm1, %%ymm0, %%ymm2")
#define XI(i, op) HOST(host_x_##op##_##i, #op " $" #i ", %%xmm1, %%xmm0\n vmovdqa %%ymm0, %%ymm2")
#define YI2(i, op) HOST(host_y_##op##_##i, "v" #op " $" #i ", %%ymm1, %%ymm0, %%ymm2")
#define YI1(i, op) HOST(host_y_##op##_##i, "v" #op " $" #i ", %%ymm1, %%ymm2")
#define XI_(op, e) IMMEDIATES(XI, op)
#define YI2_(op, e) IMMEDIATES(YI2, op)
#define YI1_(op, e) IMMEDIATES(YI1, op)

INTEGER_MMX(M2) INTEGER_MMX(X2) INTEGER_XMM(X2) INTEGER_XMM(Y2)
UNARY_BOTH(YUNARY) X2(movsldup) X2(movshdup) X2(movddup) EXTENDS(X2) EXTENDS(YEXTEND) SHIFTS(YSHIFT)
FLOAT_PACKED(X2F) FLOAT_PACKED(Y2F) FLOAT_SCALAR(X2F) FLOAT_UNARY(X2F) FLOAT_UNARY(Y1F) SPECIAL_XMM(X2) SPECIAL_XMM(Y2) SPECIAL_UNARY(X2) SHA(X2)
VARIABLE(Y2RAW) FMA(FMAX) FMA_PAIR(FMAY, vfmadd) FMA_PAIR(FMAY, vfmsub) FMA_PAIR(FMAY, vfnmadd) FMA_PAIR(FMAY, vfmaddsub) FMA_PAIR(FMAY, vfmsubadd)
IMMEDIATE_X3(XI_) IMMEDIATE_X3(YI1_) IMMEDIATE_2(XI_) IMMEDIATE_2(YI2_) IMMEDIATE_2X(XI_) IMMEDIATE_1(XI_) IMMEDIATE_1(YI1_)
IMMEDIATES(YI2, pclmulqdq) IMMEDIATES(XI, aeskeygenassist) IMMEDIATES(YI2, perm2f128) IMMEDIATES(YI1, permq) IMMEDIATES(YI1, permilpd)
/* integer two-operand forms on YMM that are not shifts or unary */
#define YMM_REST(R) R(paddb) R(paddw) R(paddd) R(paddq) R(psubb) R(psubw) R(psubd) R(psubq) R(paddsb) R(paddsw) R(paddusb) R(paddusw) R(psubsb)      \
    R(psubsw) R(psubusb) R(psubusw) R(pavgb) R(pavgw) R(pcmpeqb) R(pcmpeqw) R(pcmpeqd) R(pcmpgtb) R(pcmpgtw) R(pcmpgtd) R(pmaxsw) R(pmaxub)          \
    R(pminsw) R(pminub) R(psignb) R(psignw) R(psignd) R(pmullw) R(pmulhw) R(pmulhuw) R(pmulhrsw) R(pmuludq) R(pand) R(pandn) R(por) R(pxor)          \
    R(pmaddwd) R(pmaddubsw) R(psadbw) R(phaddw) R(phaddd) R(phaddsw) R(phsubw) R(phsubd) R(phsubsw) R(packsswb) R(packuswb) R(packssdw)              \
    R(punpcklbw) R(punpcklwd) R(punpckldq) R(punpckhbw) R(punpckhwd) R(punpckhdq) R(pshufb)
YMM_REST(Y2)
#define Y_NAMED(name, code) HOST(name, code)
HOST(host_x_blendvps, "vblendvps %%xmm2, %%xmm1, %%xmm0, %%xmm2")
HOST(host_y_blendvpd, "vblendvpd %%ymm2, %%ymm1, %%ymm0, %%ymm2")
HOST(host_y_pblendvb, "vpblendvb %%ymm2, %%ymm1, %%ymm0, %%ymm2")
HOST(host_y_permd, "vpermd %%ymm1, %%ymm0, %%ymm2")
HOST(host_y_permilps, "vpermilps %%ymm1, %%ymm0, %%ymm2")
HOST(host_y_permilpd, "vpermilpd %%ymm1, %%ymm0, %%ymm2")
HOST(host_y_cvtdq2pd, "vcvtdq2pd %%xmm1, %%ymm2")
HOST(host_y_cvtps2pd, "vcvtps2pd %%xmm1, %%ymm2")
HOST(host_y_cvtpd2ps, "vcvtpd2ps %%ymm1, %%xmm2")
HOST(host_y_cvtpd2dq, "vcvtpd2dq %%ymm1, %%xmm2")
HOST(host_y_cvttpd2dq, "vcvttpd2dq %%ymm1, %%xmm2")
HOST(host_y_cvtph2ps, "vcvtph2ps %%xmm1, %%ymm2")
HOST(host_y_cvtps2ph1, "vcvtps2ph $1, %%ymm1, %%xmm2")
HOST(host_y_cvtps2ph4, "vcvtps2ph $4, %%ymm1, %%xmm2")
HOST(host_x_sha256rnds2, "movdqa %%xmm0, %%xmm3\n movdqa %%xmm2, %%xmm0\n sha256rnds2 %%xmm1, %%xmm3\n movdqa %%xmm3, %%xmm2")
HOST(host_x_sha1rnds4_0, "sha1rnds4 $0, %%xmm1, %%xmm0\n movdqa %%xmm0, %%xmm2")
HOST(host_x_sha1rnds4_1, "sha1rnds4 $1, %%xmm1, %%xmm0\n movdqa %%xmm0, %%xmm2")
HOST(host_x_sha1rnds4_2, "sha1rnds4 $2, %%xmm1, %%xmm0\n movdqa %%xmm0, %%xmm2")
HOST(host_x_sha1rnds4_3, "sha1rnds4 $3, %%xmm1, %%xmm0\n movdqa %%xmm0, %%xmm2")
HOST(host_x_pslldq3, "pslldq $3, %%xmm0\n movdqa %%xmm0, %%xmm2")
HOST(host_y_psrldq5, "vpsrldq $5, %%ymm0, %%ymm2")
HOST(host_x_rcpps, "rcpps %%xmm1, %%xmm2")
HOST(host_x_rsqrtps, "rsqrtps %%xmm1, %%xmm2")
#define PREDICATES(R) R(0) R(1) R(2) R(3) R(4) R(5) R(6) R(7) R(8) R(9) R(10) R(11) R(12) R(13) R(14) R(15) R(16) R(17) R(18) R(19) R(20) R(21)       \
    R(22) R(23) R(24) R(25) R(26) R(27) R(28) R(29) R(30) R(31)
#define CMP(p) HOST(host_y_cmpps_##p, "vcmpps $" #p ", %%ymm1, %%ymm0, %%ymm2") HOST(host_x_cmpsd_##p, "vcmpsd $" #p ", %%xmm1, %%xmm0, %%xmm2")
PREDICATES(CMP)

#define RM(op) { #op " mmx", vec_##op, host_m_##op, 8, 0, 0 },
#define RX(op) { #op " xmm", vec_##op, host_x_##op, 16, 0, 0 },
#define RY(op) { #op " ymm", vec_##op, host_y_##op, 32, 0, 0 },
#define RXF(op, e) { #op " xmm", vec_##op, host_x_##op, 16, 0, e },
#define RYF(op, e) { #op " ymm", vec_##op, host_y_##op, 32, 0, e },
#define RXI(i, op, e) { #op " xmm " #i, vec_##op, host_x_##op##_##i, 16, i, e },
#define RYI(i, op, e) { #op " ymm " #i, vec_##op, host_y_##op##_##i, 32, i, e },
#define RXI_(op, e) IMMEDIATES(RXI, op, e)
#define RYI_(op, e) IMMEDIATES(RYI, op, e)
#define RCMP(p) { "cmpps " #p, vec_cmpps, host_y_cmpps_##p, 32, p, 4 }, { "cmpsd " #p, vec_cmpsd, host_x_cmpsd_##p, 16, p, 8 },
#define RPERM(i, op, fn) { #op #i, vec_##fn, host_y_##op##_##i, 32, i, 0 },

static const struct row rows[] = {
    INTEGER_MMX(RM) INTEGER_MMX(RX) INTEGER_XMM(RX) INTEGER_XMM(RY) YMM_REST(RY) UNARY_BOTH(RY) RX(movsldup) RX(movshdup) RX(movddup)
    EXTENDS(RX) EXTENDS(RY) SHIFTS(RY) SPECIAL_XMM(RX) SPECIAL_UNARY(RX) VARIABLE(RY)
    IMMEDIATE_X3(RXI_) IMMEDIATE_X3(RYI_) IMMEDIATE_2(RXI_) IMMEDIATE_2(RYI_) IMMEDIATE_2X(RXI_) IMMEDIATE_1(RXI_) IMMEDIATE_1(RYI_)
    IMMEDIATES(RXI, aeskeygenassist, 0) IMMEDIATES(RPERM, perm2f128, vperm2x128) IMMEDIATES(RPERM, permq, vpermq)
    IMMEDIATES(RPERM, permilpd, vpermilpd_imm)
    { "blendvps", vec_blendvps, host_x_blendvps, 16, 0, 0 }, { "blendvpd", vec_blendvpd, host_y_blendvpd, 32, 0, 0 },
    { "pblendvb", vec_pblendvb, host_y_pblendvb, 32, 0, 0 }, { "vpermd", vec_vpermd, host_y_permd, 32, 0, 0 },
    { "vpermilps", vec_vpermilps, host_y_permilps, 32, 0, 0 }, { "vpermilpd", vec_vpermilpd, host_y_permilpd, 32, 0, 0 },
    { "pslldq", vec_pslldq, host_x_pslldq3, 16, 3, 1 }, { "psrldq", vec_psrldq, host_y_psrldq5, 32, 5, 1 },
    FLOAT_PACKED(RXF) FLOAT_PACKED(RYF) FLOAT_SCALAR(RXF) FLOAT_UNARY(RXF) FLOAT_UNARY(RYF)
    { "cvtdq2pd", vec_cvtdq2pd, host_y_cvtdq2pd, 32, 0, 0 }, { "cvtps2pd", vec_cvtps2pd, host_y_cvtps2pd, 32, 0, 4 },
    { "cvtpd2ps", vec_cvtpd2ps, host_y_cvtpd2ps, 32, 0, 8 }, { "cvtpd2dq", vec_cvtpd2dq, host_y_cvtpd2dq, 32, 0, 8 },
    { "cvttpd2dq", vec_cvttpd2dq, host_y_cvttpd2dq, 32, 0, 8 }, PREDICATES(RCMP)
};
static const struct row fma_rows[] = {
    FMA(RXF) FMA_PAIR(RYF, vfmadd) FMA_PAIR(RYF, vfmsub) FMA_PAIR(RYF, vfnmadd) FMA_PAIR(RYF, vfmaddsub) FMA_PAIR(RYF, vfmsubadd)
    { "cvtph2ps", vec_vcvtph2ps, host_y_cvtph2ps, 32, 0, 2 }, { "cvtps2ph 1", vec_vcvtps2ph, host_y_cvtps2ph1, 32, 1, 4 },
    { "cvtps2ph 4", vec_vcvtps2ph, host_y_cvtps2ph4, 32, 4, 4 },
};
static const struct row sha_rows[] = {
    SHA(RX) { "sha256rnds2", vec_sha256rnds2, host_x_sha256rnds2, 16, 0, 0 }, { "sha1rnds4 0", vec_sha1rnds4, host_x_sha1rnds4_0, 16, 0, 0 },
    { "sha1rnds4 1", vec_sha1rnds4, host_x_sha1rnds4_1, 16, 1, 0 }, { "sha1rnds4 2", vec_sha1rnds4, host_x_sha1rnds4_2, 16, 2, 0 },
    { "sha1rnds4 3", vec_sha1rnds4, host_x_sha1rnds4_3, 16, 3, 0 },
};
static const struct row vaes_rows[] = { SPECIAL_XMM(RY) };
static const struct row vpclmul_rows[] = { RYI_(pclmulqdq, 0) };
static const struct row intel_rows[] = { { "rcpps", vec_rcpps, host_x_rcpps, 16, 0, 4 }, { "rsqrtps", vec_rsqrtps, host_x_rsqrtps, 16, 0, 4 } };

static unsigned failures;

static union vec random_vector(struct fp_random *r, unsigned element)
{
    union vec v;
    bool equal = fp_random_next(r) % 4 == 0, small = fp_random_next(r) % 4 == 0;

    for (unsigned i = 0; i < 16; i++)
        v.w[i] = fp_random_f16(r);
    for (unsigned i = 0; i < 8 && element == 4; i++)
        v.d[i] = fp_random_f32(r);
    for (unsigned i = 0; i < 4 && element == 8; i++)
        v.q[i] = fp_random_f64(r);
    for (unsigned i = 0; i < 4 && element < 2; i++)
        v.q[i] = equal && i ? v.q[0] : small ? fp_random_next(r) % 80 : fp_random_fraction(r, 64);
    return v;
}

static void show(const char *label, const union vec *v)
{
    fprintf(stderr, "  %s %016lx %016lx %016lx %016lx\n", label, (long)v->q[3], (long)v->q[2], (long)v->q[1], (long)v->q[0]);
}

static void check_row(const struct row *row, struct fp_random *r, unsigned mode)
{
    struct fp_env env = { .rounding = mode & 3, .daz = mode & 4, .ftz = mode & 8, .masks = FP_ALL };
    uint32_t mxcsr = 0x1f80 | env.rounding << 13 | (env.daz ? 0x40 : 0) | (env.ftz ? 0x8000 : 0);
    union vec a = random_vector(r, row->element), b = random_vector(r, row->element), d = random_vector(r, row->element);
    if (row->element >= 4 && mode % 4 == 0)
        b.q[mode & 3] = a.q[mode & 3];
    if (row->element == 1)
        b = (union vec){ .q = { row->imm } };
    union vec mine = d, host = d;
    row->mine(&env, &mine, &a, &b, row->bytes, row->imm);
    uint32_t flags = row->host(mxcsr, &host, &a, &b);
    env.flags |= env.settled;
    if (!memcmp(&mine, &host, row->bytes) && flags == env.flags)
        return;
    if (failures++ > 20)
        return;
    fprintf(stderr, "%s mode %u: flags %02x, host %02x\n", row->name, mode, env.flags, flags);
    show("a   ", &a), show("b   ", &b), show("d   ", &d), show("mine", &mine), show("host", &host);
}

static void check_rows(const struct row *list, size_t count, unsigned rounds)
{
    struct fp_random r = { 0x9876543 };

    for (size_t i = 0; i < count; i++)
        for (unsigned n = 0; n < rounds; n++)
            check_row(&list[i], &r, n & 15);
}

static void operations_agree_with_the_host(void **state)
{
    (void)state;
    check_rows(rows, ARRAY_LEN(rows), 1500);
    if (__builtin_cpu_supports("fma"))
        check_rows(fma_rows, ARRAY_LEN(fma_rows), 2000);
    assert_int_equal(failures, 0);
}

static void crypto_agrees_with_the_host(void **state)
{
    uint32_t a = 7, b, c, d;

    (void)state;
    __asm__("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d) : "c"(0));
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0)); /* SDM table 3-8: EBX[29] SHA, ECX[9] VAES, ECX[10] VPCLMULQDQ */
    if (b & 1u << 29)
        check_rows(sha_rows, ARRAY_LEN(sha_rows), 1000);
    if (c & 1u << 9)
        check_rows(vaes_rows, ARRAY_LEN(vaes_rows), 1000);
    if (c & 1u << 10)
        check_rows(vpclmul_rows, ARRAY_LEN(vpclmul_rows), 1000);
    assert_int_equal(failures, 0);
}

static void estimates_agree_with_intel(void **state)
{
    (void)state;
    if (!__builtin_cpu_is("intel"))
        skip();
    check_rows(intel_rows, ARRAY_LEN(intel_rows), 20000);
    assert_int_equal(failures, 0);
}

static void crc_agrees_with_the_host(void **state)
{
    struct fp_random r = { 99 };

    (void)state;
    for (unsigned i = 0; i < 10000; i++) {
        uint64_t seed = fp_random_next(&r) >> 32, data = fp_random_fraction(&r, 64), wide = seed;
        uint32_t narrow = seed;
        __asm__("crc32q %1, %0" : "+r"(wide) : "r"(data));
        __asm__("crc32b %b1, %0" : "+r"(narrow) : "r"(data));
        assert_int_equal(vec_crc32c(seed, data, 8), wide);
        assert_int_equal(vec_crc32c(seed, data, 1), narrow);
    }
}

/* ---- PCMPxSTRx: the immediate is part of the code, so each is a function of its own. */

#define STRING(i)                                                                                                                              \
    static void host_string_##i(const union vec *a, const union vec *b, uint64_t la, uint64_t lb, uint64_t out[5], union vec mask[2])          \
    {                                                                                                                                          \
        __asm__ volatile("movdqu (%5), %%xmm1\n movdqu (%6), %%xmm2\n mov %8, %%rdx\n mov %7, %%rax\n"                                          \
                         "pcmpestri $" #i ", %%xmm2, %%xmm1\n mov %%rcx, %0\n pushf\n pop %1\n"                                                  \
                         "pcmpestrm $" #i ", %%xmm2, %%xmm1\n movdqu %%xmm0, (%9)\n"                                                            \
                         "pcmpistri $" #i ", %%xmm2, %%xmm1\n mov %%rcx, %2\n pushf\n pop %3\n"                                                  \
                         "pcmpistrm $" #i ", %%xmm2, %%xmm1\n movdqu %%xmm0, 32(%9)\n"                                                          \
                         : "=&r"(out[0]), "=&r"(out[1]), "=&r"(out[2]), "=&r"(out[3]), "+m"(*mask)                                              \
                         : "r"(a), "r"(b), "m"(la), "m"(lb), "r"(mask) : "rax", "rcx", "rdx", "xmm0", "xmm1", "xmm2", "cc", "memory");           \
    }
#define STRING_8(h) STRING(h##0) STRING(h##1) STRING(h##2) STRING(h##3) STRING(h##4) STRING(h##5) STRING(h##6) STRING(h##7) STRING(h##8)       \
    STRING(h##9) STRING(h##a) STRING(h##b) STRING(h##c) STRING(h##d) STRING(h##e) STRING(h##f)
STRING_8(0x0) STRING_8(0x1) STRING_8(0x2) STRING_8(0x3) STRING_8(0x4) STRING_8(0x5) STRING_8(0x6) STRING_8(0x7)
#define NAMES(h) host_string_##h##0, host_string_##h##1, host_string_##h##2, host_string_##h##3, host_string_##h##4, host_string_##h##5,       \
    host_string_##h##6, host_string_##h##7, host_string_##h##8, host_string_##h##9, host_string_##h##a, host_string_##h##b,                    \
    host_string_##h##c, host_string_##h##d, host_string_##h##e, host_string_##h##f

static void (*const host_strings[128])(const union vec *, const union vec *, uint64_t, uint64_t, uint64_t[5], union vec[2]) = {
    NAMES(0x0), NAMES(0x1), NAMES(0x2), NAMES(0x3), NAMES(0x4), NAMES(0x5), NAMES(0x6), NAMES(0x7)
};

static void check_string(const struct vec_string *s, unsigned imm, uint64_t index, uint64_t flags, const union vec *mask)
{
    union vec mine;

    vec_string_mask(s, imm, &mine);
    assert_int_equal(vec_string_index(s, imm), index);
    assert_int_equal(vec_string_flags(s), flags & 0x8d5);
    assert_memory_equal(&mine, mask, 16);
}

static void string_comparisons_agree_with_the_host(void **state)
{
    struct fp_random r = { 5 };

    (void)state;
    for (unsigned n = 0; n < 128 * 300; n++) {
        unsigned imm = n & 127;
        union vec a, b, mask[2] = { 0 };
        uint64_t out[5];
        int32_t la = (int32_t)(fp_random_next(&r) % 48) - 24, lb = fp_random_next(&r) % 16 ? (int32_t)(fp_random_next(&r) % 48) - 24 : INT32_MIN;
        for (unsigned i = 0; i < 16; i++) {
            a.b[i] = fp_random_next(&r) % (imm & 1 ? 2 : 5) * (fp_random_next(&r) % 8 ? 1 : 63);
            b.b[i] = fp_random_next(&r) % (imm & 1 ? 2 : 5) * (fp_random_next(&r) % 8 ? 1 : 63);
        }
        host_strings[imm](&a, &b, (uint32_t)la, (uint32_t)lb, out, mask);
        struct vec_string s = vec_string_compare(&a, &b, vec_string_explicit_length(la, imm), vec_string_explicit_length(lb, imm), imm);
        check_string(&s, imm, out[0], out[1], &mask[0]);
        s = vec_string_compare(&a, &b, vec_string_implicit_length(&a, imm), vec_string_implicit_length(&b, imm), imm);
        check_string(&s, imm, out[2], out[3], &mask[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_agree_with_the_host), cmocka_unit_test(crypto_agrees_with_the_host), cmocka_unit_test(estimates_agree_with_intel),
        cmocka_unit_test(crc_agrees_with_the_host), cmocka_unit_test(string_comparisons_agree_with_the_host),
    };
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("aes") || !__builtin_cpu_supports("pclmul")) {
        fprintf(stderr, "the host has no AVX2, AES and PCLMULQDQ\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
