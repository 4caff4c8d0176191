/* SPDX-License-Identifier: MIT */
#include "cpu/insn.h"

#include <stddef.h>

struct op_row {
    const char *name;
    uint16_t flags;
    uint8_t feature;
};

/* The letters of insn_ops.def. */
enum {
    W = OPF_WRITES_OPND0, R = OPF_READS_OPND0, X = OPF_WRITES_OPND1, f = OPF_READS_FLAGS, F = OPF_WRITES_FLAGS, J = OPF_BRANCH,
    K = OPF_PRIVILEGED, S = OPF_STACK, N = OPF_NOP
};

static const struct op_row op_rows[OP_COUNT] = {
    [OP_INVALID] = { "INVALID", 0, FEATURE_BASE },
#define OP(name, feature, flags) [OP_##name] = { #name, flags, FEATURE_##feature },
#include "cpu/insn_ops.def"
#undef OP
};

const char *insn_op_name(enum insn_op op)
{
    return (unsigned)op < OP_COUNT ? op_rows[op].name : op_rows[OP_INVALID].name;
}

unsigned insn_op_flags(enum insn_op op)
{
    return (unsigned)op < OP_COUNT ? op_rows[op].flags : 0;
}

unsigned insn_op_feature(enum insn_op op)
{
    return (unsigned)op < OP_COUNT ? op_rows[op].feature : FEATURE_BASE;
}

const char *insn_feature_name(enum insn_feature feature)
{
    static const char *const names[FEATURE_COUNT] = {
        "base", "fpu", "cmov", "cx8", "cx16", "sep", "syscall", "mmx", "fxsr", "sse", "sse2", "sse3", "ssse3", "sse41", "sse42", "aes",
        "pclmulqdq", "sha", "popcnt", "lzcnt", "bmi1", "bmi2", "adx", "movbe", "clfsh", "clflushopt", "clwb", "rdrand", "rdseed", "rdpid",
        "rdtscp", "xsave", "xsaveopt", "xsavec", "xsaves", "fsgsbase", "invpcid", "monitor", "smap", "pku", "serialize", "prefetchw", "vmx",
        "svm", "smx", "avx", "avx2", "fma", "f16c", "vaes", "vpclmulqdq", "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512ifma",
        "avx512vbmi", "avx512vbmi2", "avx512vnni", "avx512bitalg", "avx512vpopcntdq", "avx512bf16",
    };
    return (unsigned)feature < FEATURE_COUNT ? names[feature] : "?";
}

static bool op_pushes(enum insn_op op)
{
    return op == OP_PUSH || op == OP_PUSH_SEG || op == OP_PUSHA || op == OP_PUSHF || op == OP_CALL || op == OP_CALL_FAR || op == OP_ENTER;
}

bool insn_only_reads(const struct insn *in)
{
    switch (in->op) {
    case OP_IMUL: return in->nopnd == 1;
    case OP_FADD: case OP_FMUL: case OP_FSUB: case OP_FSUBR: case OP_FDIV: case OP_FDIVR: return in->has_mem;
    default: return false;
    }
}

bool insn_writes_memory(const struct insn *in)
{
    unsigned flags = insn_only_reads(in) ? 0 : insn_op_flags(in->op);
    for (unsigned i = 0; i < in->nopnd && i < 2; i++) {
        unsigned kind = in->opnd[i].kind;
        if ((flags & (i ? OPF_WRITES_OPND1 : OPF_WRITES_OPND0)) && kind >= OPND_MEM && kind <= OPND_MEM_DI)
            return true;
    }
    return op_pushes(in->op);
}
