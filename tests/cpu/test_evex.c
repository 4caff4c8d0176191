/* SPDX-License-Identifier: MIT */
/*
 * Which EVEX and opmask encodings are #UD: the decoder against the host's processor, which is asked by executing each. It matters in one direction more than in the
 * other: what the decoder takes is executed on the host (translate/host_run.c), which must know it.
 *
 *   test_evex [--all]     every opcode, prefix, W, L'L, b, z, masked or not, register or memory, ModRM.reg: a sample of these, or all; and each that is
 *                         taken with one more bit changed
 */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu/decode.h"
#include "cpu/translate/host.h"

enum { CODE_AT = 0x10000000, DATA_AT = 0x20000000, INSN_BYTES = 15, REPORTS_MAX = 60 };

struct data { uint64_t rsp; uint8_t zero[2048]; };

struct run {
    uint8_t *code, *hole; /* the function, and where an instruction goes in it */
    uint64_t features[4];
    unsigned long cases, accepted, failed;
    unsigned failed_by[4][256];
};

static sigjmp_buf escape; /* a signal handler finds nothing else */

static void caught(int number)
{
    (void)number;
    siglongjmp(escape, number);
}

static void put(uint8_t **at, const void *bytes, size_t count)
{
    memcpy(*at, bytes, count);
    *at += count;
}

/* Saves what the ABI wants kept, points all addresses at zeros, and clears vector and mask registers by VZEROALL. */
static void make_function(struct run *r)
{
    uint8_t *at = r->code;
    const uint32_t rsp_at = DATA_AT;
    put(&at, "\x53\x55\x41\x54\x41\x55\x41\x56\x41\x57", 10); /* PUSH RBX, RBP, R12 to R15 */
    put(&at, "\x48\x89\x24\x25", 4);                         /* MOV [rsp_at], RSP */
    put(&at, &rsp_at, 4);
    put(&at, "\xc5\xfc\x77\xb8", 4);                         /* VZEROALL; MOV EAX, zero */
    put(&at, &(uint32_t){ DATA_AT + 1024 }, 4);
    r->hole = at;
    memset(at, 0x90, INSN_BYTES);
    at += INSN_BYTES;
    put(&at, "\x48\x8b\x24\x25", 4);                         /* MOV RSP, [rsp_at] */
    put(&at, &rsp_at, 4);
    put(&at, "\x41\x5f\x41\x5e\x41\x5d\x41\x5c\x5d\x5b\xc5\xf8\x77\xc3", 14); /* POPs, VZEROUPPER, RET */
}

/* Whether the host knows it. Faults of other kinds mean that it does. */
static bool host_knows(struct run *r, const uint8_t *bytes, unsigned length)
{
    void (*function)(void);
    void *code = r->code;
    memcpy(&function, &code, sizeof function);
    memset(r->hole, 0x90, INSN_BYTES);
    memcpy(r->hole, bytes, length);
    int number = sigsetjmp(escape, 1);
    if (number)
        return number != SIGILL;
    function();
    return true;
}

/* Features that the host may have and we have not: FP16's forms in map 3, GFNI, VP2INTERSECT. */
static bool is_not_ours(const uint8_t *bytes)
{
    unsigned map = bytes[1] & 7, op = bytes[4], pp = bytes[2] & 3;
    if (map == 2)
        return op == 0xcf || (op == 0x68 && pp == 3);
    return map == 3 && (op == 0xce || op == 0xcf || ((op == 0x08 || op == 0x0a || op == 0x26 || op == 0x27 || op == 0x56 || op == 0x57 || op == 0x66 || op == 0x67) && pp == 0) ||
        (op == 0xc2 && (pp == 0 || pp == 2)));
}

static bool lacks(const struct run *r, const struct insn *in) { return !(r->features[in->feature / 64] >> in->feature % 64 & 1); }

static bool try_one(struct run *r, const uint8_t *bytes)
{
    struct insn in;
    int n = insn_decode(bytes, INSN_MAX_LENGTH, CPU_MODE_64, &in);
    bool evex = bytes[0] == 0x62;
    r->cases++;
    if (n > 0 && (lacks(r, &in) || (in.op != OP_EVEX && in.op != OP_EVEX_COMPARE && in.op != OP_OPMASK && in.op != OP_OPMASK_TEST)))
        return false;
    if (n < 0 && (!evex || is_not_ours(bytes)))
        return false;
    bool known = host_knows(r, bytes, n > 0 ? (unsigned)n : 8);
    r->accepted += n > 0;
    if (known == (n > 0))
        return known;
    unsigned *failed = &r->failed_by[evex ? bytes[1] & 3 : 0][bytes[evex ? 4 : 3]];
    if (++*failed <= 2 && r->failed++ < REPORTS_MAX) {
        for (unsigned i = 0; i < 8; i++)
            printf("%02x ", bytes[i]);
        printf("%s\n", known ? "only the host takes" : "only we take");
    }
    return false;
}

/* Each bit of the payload that could be otherwise. */
static void try_neighbours(struct run *r, const uint8_t *bytes)
{
    for (unsigned bit = 0; bit < 24; bit++) {
        uint8_t other[INSN_BYTES];
        memcpy(other, bytes, sizeof other);
        other[1 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (bit >= 3) /* not the map */
            try_one(r, other);
    }
}

static void try_opcode(struct run *r, unsigned map, unsigned opcode, unsigned step)
{
    static unsigned turn;
    for (unsigned i = 0; i < 1u << 12; i++) {
        unsigned pp = i & 3, w = i >> 2 & 1, l = i >> 3 & 3, b = i >> 5 & 1, z = i >> 6 & 1, k = i >> 7 & 1, memory = i >> 8 & 1, reg = i >> 9 & 7;
        if (turn++ % step)
            continue;
        uint8_t bytes[INSN_BYTES] = { 0x62, (uint8_t)(0xf0 | map), (uint8_t)(w << 7 | 0x7c | pp), (uint8_t)(z << 7 | l << 5 | b << 4 | 8 | k), (uint8_t)opcode,
            (uint8_t)(memory ? reg << 3 | 4 : 0xc1 | reg << 3), memory ? 0x20 : 0x01, 0x01 };
        if (try_one(r, bytes) && (step == 1 || turn % 7 == 0))
            try_neighbours(r, bytes);
    }
}

static void try_masks(struct run *r)
{
    for (unsigned map = 1; map <= 3; map += 2)
        for (unsigned opcode = 0x30; opcode < 0x9a; opcode++)
            for (unsigned i = 0; i < 1u << 11; i++) {
                uint8_t bytes[INSN_BYTES] = { 0xc4, (uint8_t)((i & 7) << 5 | map), (uint8_t)((i >> 3 & 1) << 7 | 0x78 | (i >> 4 & 7)), (uint8_t)opcode,
                    (uint8_t)(i & 0x80 ? 0xc1 | (i >> 8 & 7) << 3 : (i >> 8 & 7) << 3 | 4), 0x20, 0 };
                try_one(r, bytes);
            }
}

int main(int argc, char **argv)
{
    struct run *r = calloc(1, sizeof *r);
    bool all = argc > 1 && !strcmp(argv[1], "--all");
    void *code = mmap((void *)(uintptr_t)CODE_AT, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    void *data = mmap((void *)(uintptr_t)DATA_AT, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (!r || code == MAP_FAILED || data == MAP_FAILED)
        return 77; /* skipped */
    host_features(r->features);
    if (!(r->features[FEATURE_AVX512F / 64] >> FEATURE_AVX512F % 64 & 1)) {
        printf("the host has no AVX-512\n");
        return 77;
    }
    stack_t stack = { .ss_sp = malloc(1 << 16), .ss_size = 1 << 16 };
    struct sigaction action = { .sa_handler = caught, .sa_flags = SA_ONSTACK | SA_NODEFER };
    sigaltstack(&stack, NULL);
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
    r->code = code;
    make_function(r);
    for (unsigned map = 1; map <= 3; map++)
        for (unsigned opcode = 0; opcode < 256; opcode++)
            try_opcode(r, map, opcode, all ? 1 : 13);
    try_masks(r);
    printf("%lu cases, %lu taken, %lu differ\n", r->cases, r->accepted, r->failed);
    return r->failed != 0;
}
