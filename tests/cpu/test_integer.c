/* SPDX-License-Identifier: MIT */
/* Random integer instructions on the engine and on the host's own CPU, from the same registers, flags and memory: the results must be the same.
 * Once through the handlers of decoded blocks, once through exec_integer(). x86-64 Linux hosts. Usage: test_integer [rounds for each row] [seed] [row]
 *
 * Flags that the SDM leaves undefined are compared where every recent Intel CPU known to us agrees; the row masks out the others. */
/* signal.h has register names of its own for GNU programs. */
#undef _GNU_SOURCE
#define _DEFAULT_SOURCE 1
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu/decode.h"
#include "cpu/flags.h"
#include "guest.h"
#include "host_cpu.h"

enum { DATA = 0xa00000, DATA_LEN = 0x2000, CONTEXT = 0xb00000, THUNK = 0xc00000 }; /* low addresses, the same in the guest and in this process */

struct context { uint64_t gpr[16], flags, rsp; };

/* An opcode: bytes with one operand letter behind them.
 * M: ModRM, register or memory; R: ModRM, register only; m: memory only; digits 0-7: ModRM.reg is that; 8: imm8; z: imm16/32; v: 66 and REX.W at will; b: byte; o: no operand
 * V: VEX (map, pp, L0) with vvvv; W: with W at will */
struct row { const char *name, *shape; uint8_t prefix, map, opcode; uint32_t undefined; };

enum { F_OSZAPC = FLAGS_ARITH };
static const struct row rows[] = {
    { "alu Eb,Gb", "bM", 0, 0, 0x00, 0 }, { "alu Ev,Gv", "vM", 0, 0, 0x01, 0 }, { "alu Gb,Eb", "bM", 0, 0, 0x02, 0 }, { "alu Gv,Ev", "vM", 0, 0, 0x03, 0 },
    { "alu al,Ib", "b8", 0, 0, 0x04, 0 }, { "alu ax,Iz", "vz", 0, 0, 0x05, 0 },
    { "grp1 Eb,Ib", "bM8", 0, 0, 0x80, 0 }, { "grp1 Ev,Iz", "vMz", 0, 0, 0x81, 0 }, { "grp1 Ev,Ib", "vM8", 0, 0, 0x83, 0 },
    { "test Eb,Gb", "bM", 0, 0, 0x84, FLAG_AF }, { "test Ev,Gv", "vM", 0, 0, 0x85, FLAG_AF }, { "xchg b", "bM", 0, 0, 0x86, 0 }, { "xchg v", "vM", 0, 0, 0x87, 0 },
    { "mov 88", "bM", 0, 0, 0x88, 0 }, { "mov 89", "vM", 0, 0, 0x89, 0 }, { "mov 8a", "bM", 0, 0, 0x8a, 0 }, { "mov 8b", "vM", 0, 0, 0x8b, 0 },
    { "lea", "vm", 0, 0, 0x8d, 0 }, { "cbw", "vo", 0, 0, 0x98, 0 }, { "cwd", "vo", 0, 0, 0x99, 0 }, { "sahf", "o", 0, 0, 0x9e, 0 }, { "lahf", "o", 0, 0, 0x9f, 0 },
    { "cmc", "o", 0, 0, 0xf5, 0 }, { "clc", "o", 0, 0, 0xf8, 0 }, { "stc", "o", 0, 0, 0xf9, 0 },
    { "movsxd", "vM", 0, 0, 0x63, 0 }, { "imul 69", "vMz", 0, 0, 0x69, 0 }, { "imul 6b", "vM8", 0, 0, 0x6b, 0 },
    { "test al,Ib", "b8", 0, 0, 0xa8, 0 }, { "test ax,Iz", "vz", 0, 0, 0xa9, 0 }, { "mov Eb,Ib", "bM08", 0, 0, 0xc6, 0 }, { "mov Ev,Iz", "vM0z", 0, 0, 0xc7, 0 },
    { "shift Eb,Ib", "bM8", 0, 0, 0xc0, 0 }, { "shift Ev,Ib", "vM8", 0, 0, 0xc1, 0 }, { "by-1 Eb", "bM", 0, 0, 0xd0, 0 }, { "by-1 Ev", "vM", 0, 0, 0xd1, 0 },
    { "shift Eb,cl", "bM", 0, 0, 0xd2, 0 }, { "shift Ev,cl", "vM", 0, 0, 0xd3, 0 },
    { "test f6/0", "bM08", 0, 0, 0xf6, 0 }, { "not b", "bM2", 0, 0, 0xf6, 0 }, { "neg b", "bM3", 0, 0, 0xf6, 0 }, { "mul b", "bM4", 0, 0, 0xf6, 0 },
    { "imul b", "bM5", 0, 0, 0xf6, 0 }, { "div b", "bM6", 0, 0, 0xf6, F_OSZAPC }, { "idiv b", "bM7", 0, 0, 0xf6, F_OSZAPC },
    { "test f7/0", "vM0z", 0, 0, 0xf7, 0 }, { "not v", "vM2", 0, 0, 0xf7, 0 }, { "neg v", "vM3", 0, 0, 0xf7, 0 }, { "mul v", "vM4", 0, 0, 0xf7, 0 },
    { "imul v", "vM5", 0, 0, 0xf7, 0 }, { "div v", "vM6", 0, 0, 0xf7, F_OSZAPC }, { "idiv v", "vM7", 0, 0, 0xf7, F_OSZAPC },
    { "inc b", "bM0", 0, 0, 0xfe, 0 }, { "dec b", "bM1", 0, 0, 0xfe, 0 }, { "inc v", "vM0", 0, 0, 0xff, 0 }, { "dec v", "vM1", 0, 0, 0xff, 0 },
    { "cmov", "vM", 0, 1, 0x40, 0 }, { "setcc", "bM", 0, 1, 0x90, 0 }, { "bt", "vM", 0, 1, 0xa3, 0 }, { "bts", "vM", 0, 1, 0xab, 0 }, { "btr", "vM", 0, 1, 0xb3, 0 },
    { "btc", "vM", 0, 1, 0xbb, 0 }, { "bt imm", "vM48", 0, 1, 0xba, 0 }, { "bts imm", "vM58", 0, 1, 0xba, 0 }, { "btr imm", "vM68", 0, 1, 0xba, 0 },
    { "btc imm", "vM78", 0, 1, 0xba, 0 }, { "shld imm", "vM8", 0, 1, 0xa4, 0 }, { "shld cl", "vM", 0, 1, 0xa5, 0 }, { "shrd imm", "vM8", 0, 1, 0xac, 0 },
    { "shrd cl", "vM", 0, 1, 0xad, 0 }, { "imul Gv,Ev", "vM", 0, 1, 0xaf, 0 }, { "cmpxchg b", "bM", 0, 1, 0xb0, 0 }, { "cmpxchg v", "vM", 0, 1, 0xb1, 0 },
    { "movzx b", "vM", 0, 1, 0xb6, 0 }, { "movzx w", "vM", 0, 1, 0xb7, 0 }, { "movsx b", "vM", 0, 1, 0xbe, 0 }, { "movsx w", "vM", 0, 1, 0xbf, 0 },
    { "bsf", "vM", 0, 1, 0xbc, FLAG_PF }, { "bsr", "vM", 0, 1, 0xbd, FLAG_PF }, { "popcnt", "vM", 0xf3, 1, 0xb8, 0 }, { "tzcnt", "vM", 0xf3, 1, 0xbc, 0 },
    { "lzcnt", "vM", 0xf3, 1, 0xbd, 0 }, { "xadd b", "bM", 0, 1, 0xc0, 0 }, { "xadd v", "vM", 0, 1, 0xc1, 0 }, { "bswap", "Wo", 0, 1, 0xc8, 0 },
    { "cmpxchg8b", "m1", 0, 1, 0xc7, 0 }, { "movbe load", "vm", 0, 2, 0xf0, 0 }, { "movbe store", "vm", 0, 2, 0xf1, 0 },
    { "crc32 b", "WM", 0xf2, 2, 0xf0, 0 }, { "crc32 v", "vM", 0xf2, 2, 0xf1, 0 }, { "adcx", "WM", 0x66, 2, 0xf6, 0 }, { "adox", "WM", 0xf3, 2, 0xf6, 0 },
    { "andn", "VM", 0, 2, 0xf2, 0 }, { "blsr", "VM1", 0, 2, 0xf3, 0 }, { "blsmsk", "VM2", 0, 2, 0xf3, 0 }, { "blsi", "VM3", 0, 2, 0xf3, 0 },
    { "bzhi", "VM", 0, 2, 0xf5, 0 }, { "pext", "VM", 2, 2, 0xf5, 0 }, { "pdep", "VM", 3, 2, 0xf5, 0 }, { "mulx", "VM", 3, 2, 0xf6, 0 },
    { "bextr", "VM", 0, 2, 0xf7, 0 }, { "shlx", "VM", 1, 2, 0xf7, 0 }, { "sarx", "VM", 2, 2, 0xf7, 0 }, { "shrx", "VM", 3, 2, 0xf7, 0 },
    { "rorx", "VMr8", 3, 3, 0xf0, 0 },
};

/* ---- chance ----------------------------------------------------------------------------------------------------------------------------------------------------- */

static uint64_t seed; /* mutable: the test's one stream of chance */

static uint64_t chance(void)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed * UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t chance_value(void)
{
    static const uint64_t edges[] = { 0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX, (uint64_t)INT64_MIN, UINT64_MAX };
    uint64_t v = chance();
    switch (chance() >> 60) {
    case 0: case 1: case 2: case 3: return edges[v % ARRAY_LEN(edges)];
    case 4: case 5: return v & 0xff;
    case 6: return v & 0xffffffff;
    case 7: return (uint64_t)(int64_t)(int32_t)v;
    case 8: return edges[v % ARRAY_LEN(edges)] ^ BIT(v >> 58);
    default: return v;
    }
}

/* ---- making an instruction ------------------------------------------------------------------------------------------------------------------------------------------ */

struct made { uint8_t bytes[16]; unsigned len, base; bool memory; };

static void put(struct made *m, unsigned byte) { m->bytes[m->len++] = (uint8_t)byte; }

/* Memory operands: [base + disp8], base one of rbx, rsi, rdi, r11; or [base + index * scale]. */
static void put_modrm(struct made *m, const char *shape, int digit, unsigned reg, unsigned rm)
{
    bool memory = strchr(shape, 'm') || (!strchr(shape, 'R') && (chance() & 1));
    reg = digit >= 0 ? (unsigned)digit : reg & 7;
    m->memory = memory;
    if (memory) {
        put(m, 0x40 | reg << 3 | (m->base & 7));
        put(m, chance() & 0x3f);
    } else {
        put(m, 0xc0 | reg << 3 | (rm & 7));
    }
}

static void make(const struct row *row, struct made *m)
{
    static const unsigned bases[] = { 3, 6, 7, 11 };
    unsigned reg, rm, rex = 0, opcode = row->opcode;
    int digit = -1, size = strchr(row->shape, 'b') ? 1 : 4;
    *m = (struct made){ .base = bases[chance() >> 62] };
    do
        reg = chance() & 15, rm = chance() & 15;
    while (reg == 4 || rm == 4 || (reg & 7) == 4 || (rm & 7) == 4); /* not rSP */
    for (const char *s = row->shape; *s; s++)
        if (*s >= '0' && *s <= '7')
            digit = *s - '0';
    if (!row->map && opcode < 6)
        opcode |= (chance() & 7) << 3;
    if (row->map == 1 && (opcode == 0x40 || opcode == 0x90))
        opcode |= chance() & 15;
    if (row->map == 1 && opcode == 0xc8)
        opcode |= rm & 7;
    if ((opcode == 0x80 || opcode == 0x81 || opcode == 0x83 || (opcode >= 0xc0 && opcode <= 0xc1) || (opcode >= 0xd0 && opcode <= 0xd3)) && !row->map)
        digit = (int)(chance() & 7);
    bool high = m->base >= 8, wide = false;
    if (strchr(row->shape, 'V')) {
        unsigned vvvv = (chance() & 15) == 4 ? 5 : chance() & 15;
        if (vvvv == 4 || strchr(row->shape, 'r'))
            vvvv = strchr(row->shape, 'r') ? 0 : 5;
        wide = chance() & 1;
        unsigned r = reg >= 8 && digit < 0 ? 0 : 0x80;
        struct made modrm = { .base = m->base };
        put_modrm(&modrm, row->shape, digit, reg, rm);
        unsigned b = (modrm.memory ? high : rm >= 8) ? 0 : 0x20;
        put(m, 0xc4);
        put(m, r | 0x40 | b | row->map);
        put(m, (unsigned)wide << 7 | (~vvvv & 15) << 3 | row->prefix);
        put(m, opcode);
        memcpy(m->bytes + m->len, modrm.bytes, modrm.len);
        m->len += modrm.len;
        m->memory = modrm.memory;
    } else {
        bool v = strchr(row->shape, 'v');
        if (v && chance() % 4 == 0)
            put(m, 0x66), size = 2;
        if (row->prefix)
            put(m, row->prefix);
        struct made modrm = { .base = m->base };
        bool has_modrm = strpbrk(row->shape, "MRm");
        if (has_modrm)
            put_modrm(&modrm, row->shape, digit, reg, rm);
        if ((v || strchr(row->shape, 'W')) && chance() & 1)
            rex |= 0x48, size = size == 2 ? 4 : size;
        if (has_modrm && reg >= 8 && digit < 0)
            rex |= 0x44;
        if (has_modrm ? (modrm.memory ? high : rm >= 8) : row->map == 1 && (opcode & 0xf8) == 0xc8 && rm >= 8)
            rex |= 0x41;
        if (size == 1 && chance() & 1)
            rex |= 0x40;
        if (rex)
            put(m, rex);
        if (row->map)
            put(m, 0x0f);
        if (row->map > 1)
            put(m, row->map == 2 ? 0x38 : 0x3a);
        put(m, opcode);
        memcpy(m->bytes + m->len, modrm.bytes, modrm.len);
        m->len += modrm.len;
        m->memory = modrm.memory;
    }
    if (strchr(row->shape, '8'))
        put(m, (unsigned)chance_value());
    if (strchr(row->shape, 'z'))
        for (int i = 0; i < (size == 2 ? 2 : 4); i++)
            put(m, (unsigned)chance());
}

/* ---- the host ------------------------------------------------------------------------------------------------------------------------------------------------------------ */

static sigjmp_buf host_fault; /* mutable: where the handler lands */

static void on_fault(int signal)
{
    siglongjmp(host_fault, signal);
}

static uint8_t *emit_move(uint8_t *p, unsigned reg, bool load)
{
    *p++ = (uint8_t)(0x48 | (reg >= 8 ? 4 : 0));
    *p++ = load ? 0x8b : 0x89;
    *p++ = (uint8_t)(4 | (reg & 7) << 3);
    *p++ = 0x25;
    store_le32(p, CONTEXT + reg * 8);
    return p + 4;
}

/* Builds and calls: registers and flags from the context, the instruction, and back. rSP stays the host's. */
static int host_execute(const struct made *m)
{
    static const uint8_t enter[] = { 0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57 };
    static const uint8_t leave[] = { 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xfc, 0xc3 };
    uint8_t *p = (uint8_t *)(uintptr_t)THUNK;
    memcpy(p, enter, sizeof enter), p += sizeof enter;
    *p++ = 0xff, *p++ = 0x34, *p++ = 0x25, store_le32(p, CONTEXT + 128), p += 4, *p++ = 0x9d; /* push flags; popfq */
    for (unsigned i = 0; i < 16; i++)
        if (i != REG_RSP)
            p = emit_move(p, i, true);
    memcpy(p, m->bytes, m->len), p += m->len;
    for (unsigned i = 0; i < 16; i++)
        if (i != REG_RSP)
            p = emit_move(p, i, false);
    *p++ = 0x9c, *p++ = 0x8f, *p++ = 0x04, *p++ = 0x25, store_le32(p, CONTEXT + 128), p += 4; /* pushfq; pop flags */
    memcpy(p, leave, sizeof leave);
    int signal = sigsetjmp(host_fault, 1);
    if (!signal)
        ((void (*)(void))(uintptr_t)THUNK)();
    return signal;
}

/* ---- the guest ----------------------------------------------------------------------------------------------------------------------------------------------------------- */

static int guest_execute(struct guest *g, const struct made *m, const struct context *in, bool direct)
{
    struct cpu *cpu = g->vm.cpus[0];
    static const uint8_t hlt = 0xf4;
    struct insn insn;
    guest_enter(g, 0, 64, GUEST_CODE);
    memcpy(cpu->state.gpr, in->gpr, sizeof in->gpr);
    cpu_flags_set(cpu, in->flags);
    if (direct) {
        if (insn_decode(m->bytes, m->len, CPU_MODE_64, &insn) != (int)m->len)
            return -1;
        cpu->next_rip = GUEST_CODE + m->len;
        cpu->uop = NULL;
        if (!setjmp(cpu->leave)) {
            exec_integer(cpu, &insn);
            return 0;
        }
        return cpu->fault_vector == EXC_DE ? SIGFPE : -2;
    }
    mem_write(g->map, GUEST_CODE, m->bytes, m->len);
    mem_write(g->map, GUEST_CODE + m->len, &hlt, 1);
    cpu->trap_exceptions = UINT64_MAX;
    unsigned reason = guest_run(g, 0);
    if (reason == HY_EXIT_EXCEPTION)
        return cpu->exit.u.exc.vector == EXC_DE ? SIGFPE : -3 - (int)cpu->exit.u.exc.vector;
    return reason == HY_EXIT_HALT ? 0 : -2;
}

/* ---- comparing ------------------------------------------------------------------------------------------------------------------------------------------------------------- */

static void complain(const struct row *row, const struct made *m, const char *what, uint64_t in, uint64_t host, uint64_t ours)
{
    printf("%-12s", row->name);
    for (unsigned i = 0; i < m->len; i++)
        printf(" %02x", m->bytes[i]);
    printf(": %s was %llx, host %llx, ours %llx\n", what, (unsigned long long)in, (unsigned long long)host, (unsigned long long)ours);
}

static unsigned compare(const struct row *row, const struct made *m, struct cpu *cpu, const struct context *in, const struct context *host, bool flags)
{
    unsigned wrong = 0;
    for (unsigned i = 0; i < 16; i++) {
        if (i != REG_RSP && cpu->state.gpr[i] != host->gpr[i]) {
            char name[8];
            snprintf(name, sizeof name, "gpr%u", i);
            complain(row, m, name, in->gpr[i], host->gpr[i], cpu->state.gpr[i]);
            wrong++;
        }
    }
    uint64_t ours = cpu_flags_get(cpu), mask = FLAGS_ARITH & ~row->undefined;
    if (!strncmp(row->name, "sh", 2)) /* OF of shifts by more than 1 */
        mask &= ~(uint64_t)FLAG_OF;
    if (flags && (ours ^ host->flags) & mask)
        complain(row, m, "flags", in->flags & FLAGS_ARITH, host->flags & FLAGS_ARITH, ours & FLAGS_ARITH), wrong++;
    return wrong;
}

static unsigned test_one(struct guest *g, const struct row *row)
{
    struct context *host = (struct context *)(uintptr_t)CONTEXT, in;
    uint8_t before[DATA_LEN], after[DATA_LEN];
    struct made m;
    unsigned wrong = 0;
    make(row, &m);
    for (unsigned i = 0; i < 16; i++)
        in.gpr[i] = chance_value();
    in.flags = (chance() & FLAGS_ARITH) | 2;
    if (m.memory) {
        in.gpr[m.base] = DATA + 0x800 + (chance() & 0x7ff);
        if (row->map == 1 && (row->opcode == 0xa3 || row->opcode == 0xab || row->opcode == 0xb3 || row->opcode == 0xbb)) /* bit strings reach far */
            for (unsigned i = 0; i < 16; i++)
                if (i != m.base)
                    in.gpr[i] = (uint64_t)(int64_t)(int16_t)(chance() & 0x9fff);
    }
    for (unsigned i = 0; i < DATA_LEN; i += 8)
        store_le64(before + i, chance_value());
    memcpy((void *)(uintptr_t)DATA, before, DATA_LEN);
    *host = in;
    int signal = host_execute(&m);
    if (signal && signal != SIGFPE)
        return 0;
    memcpy(after, (void *)(uintptr_t)DATA, DATA_LEN);
    for (unsigned direct = 0; direct < 2; direct++) {
        memcpy(g->bytes + DATA, before, DATA_LEN);
        int ours = guest_execute(g, &m, &in, direct);
        if (ours != signal)
            complain(row, &m, direct ? "signal (direct)" : "signal", 0, (uint64_t)signal, (uint64_t)ours), wrong++;
        if (signal || ours)
            continue;
        wrong += compare(row, &m, g->vm.cpus[0], &in, host, true);
        if (memcmp(g->bytes + DATA, after, DATA_LEN))
            complain(row, &m, "memory", 0, 0, 0), wrong++;
    }
    return wrong;
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 400, wrong = 0;
    struct guest g;
    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 88172645463325252u;
    if (!host_cpu_is_model())
        return 77;
    int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    if (mmap((void *)(uintptr_t)DATA, DATA_LEN, prot, flags, -1, 0) == MAP_FAILED || mmap((void *)(uintptr_t)CONTEXT, 4096, prot, flags, -1, 0) == MAP_FAILED ||
        mmap((void *)(uintptr_t)THUNK, 4096, prot | PROT_EXEC, flags, -1, 0) == MAP_FAILED) {
        printf("cannot map low addresses\n");
        return 77;
    }
    struct sigaction action = { .sa_handler = on_fault };
    int signals[] = { SIGFPE, SIGILL, SIGSEGV, SIGTRAP, SIGBUS };
    guest_make(&g, 1, 64);
    for (unsigned r = 0; r < ARRAY_LEN(rows); r++) {
        unsigned here = 0;
        if (argc > 3 && strcmp(argv[3], rows[r].name))
            continue;
        for (unsigned i = 0; i < rounds && here < 6; i++) {
            for (unsigned s = 0; s < ARRAY_LEN(signals); s++)
                sigaction(signals[s], &action, NULL);
            here += test_one(&g, &rows[r]);
        }
        wrong += here;
    }
    printf("%u differences\n", wrong);
    guest_free(&g);
    return wrong != 0;
}
