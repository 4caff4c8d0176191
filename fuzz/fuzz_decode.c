/* SPDX-License-Identifier: MIT */
/* The instruction decoder, on any bytes in each mode: the answer is in range, and more bytes change nothing that was decided. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_fields(const struct insn *in, int n)
{
    require(n >= 1 && n <= INSN_MAX_LENGTH && in->length == n && in->op > OP_INVALID && in->op < OP_COUNT);
    require(in->feature < FEATURE_COUNT && in->nopnd <= 4 && in->scale < 4 && in->opcode_off < n);
    require(in->disp_off + in->disp_len <= n && in->imm_off + in->imm_len <= n);
    for (unsigned i = 0; i < in->nopnd; i++)
        require(in->opnd[i].kind > OPND_NONE && in->opnd[i].kind <= OPND_XMM && in->opnd[i].reg < 16);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (enum cpu_mode mode = CPU_MODE_16; mode <= CPU_MODE_64; mode++) {
        struct insn in, again;
        int n = insn_decode(data, size, mode, &in);
        if (n > 0)
            check_fields(&in, n);
        else
            require(n == INSN_INVALID || n == INSN_TRUNCATED || n == INSN_TOO_LONG);
        if (n <= 0)
            continue;
        /* The same bytes without what follows; one byte short */
        require(insn_decode(data, n, mode, &again) == n && memcmp(&in, &again, sizeof in) == 0);
        require(insn_decode(data, n - 1, mode, &again) == INSN_TRUNCATED);
    }
    return 0;
}
