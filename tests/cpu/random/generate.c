/* SPDX-License-Identifier: MIT */
/* generate.c - writes random programs: see program.h.
 *
 * What the base registers hold is known while a function is written, so that a displacement of any size can lead to a page that is there; it is forgotten where code
 * may come from elsewhere. Flags that the SDM leaves undefined are not read, since engines differ in them. */
#include "program.h"

#include <string.h>

struct generator {
    struct program *p;
    struct dice *d;
    uint8_t *at, *end;
    bool wide, user;
    bool loose;             /* OF is undefined                      */
    bool skipped;           /* in code that may be jumped over      */
    uint64_t holds[16];     /* base registers                       */
};

enum { AX, CX, DX, BX, SP, BP, SI, DI };

/* ---- bytes ----------------------------------------------------------------------------------------------------------------------------------------------------------- */

static void put(struct generator *g, unsigned byte)
{
    if (g->at < g->end)
        *g->at++ = (uint8_t)byte;
}

static void put_bytes(struct generator *g, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        put(g, (uint8_t)bytes[i]);
}
#define PUT(g, bytes) put_bytes(g, bytes, sizeof(bytes) - 1)

static void put_value(struct generator *g, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        put(g, value >> i * 8 & 0xff);
}

/* A byte that may be anything. */
static void put_free(struct generator *g)
{
    if (g->p->patches < PATCHES_MAX)
        g->p->patch[g->p->patches++] = (uint32_t)(g->at - g->p->code);
    put(g, roll(g->d, 256));
}

/* Operand size and REX prefixes. */
static void put_prefixes(struct generator *g, unsigned size, unsigned reg, unsigned index, unsigned rm)
{
    if (size == 2)
        put(g, 0x66);
    if (g->wide)
        put(g, 0x40 | (size == 8) << 3 | reg >> 3 << 2 | index >> 3 << 1 | rm >> 3);
}

/* An opcode whose lowest bit says that the operand is more than a byte. */
static void put_opcode(struct generator *g, unsigned opcode, unsigned size) { put(g, opcode | (size > 1)); }
static void put_registers(struct generator *g, unsigned reg, unsigned rm) { put(g, 0xc0 | (reg & 7) << 3 | (rm & 7)); }

/* ---- choices --------------------------------------------------------------------------------------------------------------------------------------------------------- */

static unsigned any_size(struct generator *g)
{
    unsigned size = (unsigned)PICK(g->d, 1, 2, 4, 4, 8, 8);
    return size == 8 && !g->wide ? 4 : size;
}

static unsigned base_register(struct generator *g) { return (unsigned)(g->wide ? PICK(g->d, BX, BP, 10, 13, 14) : PICK(g->d, BX, BP)); }
/* To be written; of bytes, in 32-bit code, only AL to BL. */
static unsigned data_register(struct generator *g) { return (unsigned)(g->wide ? PICK(g->d, AX, CX, DX, SI, DI, 8, 9, 11, 12, 15, 11, 15) : PICK(g->d, AX, CX, DX)); }

static unsigned read_register(struct generator *g, unsigned size)
{
    unsigned reg = roll(g->d, g->wide ? 16 : size == 1 ? 4 : 8);
    return reg == SP ? AX : reg;
}

static unsigned any_condition(struct generator *g)
{
    for (;;) {
        unsigned condition = roll(g->d, 16);
        if (!g->loose || (condition > 1 && condition < 12))
            return condition;
    }
}

static uint64_t any_target(struct generator *g)
{
    uint64_t part = PICK(g->d, DATA_GLOBAL, DATA_GLOBAL, DATA_PRIVATE, DATA_PRIVATE, DATA_FIXED, 0xc0000000, 0xc0200000);
    if (g->wide && one_in(g->d, 6))
        part = PICK(g->d, 0x140000000, 0x7fffffe00000, 0x7fffc0000000, 0xffffffffffe00000, 0xffffffff80000000, 0xffff800000000000);
    uint64_t page = one_in(g->d, 20) ? 511 : roll(g->d, one_in(g->d, 8) ? 64 : 4);
    uint64_t offset = one_in(g->d, 5) ? 0xfe0 + roll(g->d, 32) : roll(g->d, 4096) & ~(one_in(g->d, 3) ? 0 : 15u);
    return part + page * 4096 + offset;
}

/* ---- operands in memory ---------------------------------------------------------------------------------------------------------------------------------------------- */

struct memory { unsigned base, index; int32_t disp; uint8_t prefix; bool narrow, absolute, stack, indexed; };

/* The displacement from what `from` is to a page that is there, if there is one. */
static int32_t displacement(struct generator *g, uint64_t from, bool narrow)
{
    for (unsigned i = 0; i < 8; i++) {
        int64_t disp = (int64_t)(any_target(g) - from);
        if (narrow || !g->wide || disp == (int32_t)disp)
            return (int32_t)disp;
    }
    return (int32_t)PICK(g->d, 0, 8, 0x7fffffff, (uint32_t)-0x80000000ll, 0xfffffff8);
}

/* Writes what comes before the instruction, too. */
static struct memory any_memory(struct generator *g)
{
    struct memory m = { .base = base_register(g) };
    uint64_t from = g->holds[m.base];
    if (one_in(g->d, 8)) {
        m.prefix = one_in(g->d, 2) ? 0x64 : 0x65;
        from += m.prefix == 0x64 ? g->p->fs : g->p->gs;
    }
    switch (roll(g->d, 12)) {
    case 0:
        m.absolute = true;
        from -= g->holds[m.base];
        break;
    case 1:
        m.narrow = g->wide;
        from = (uint32_t)g->holds[m.base] + (from - g->holds[m.base]);
        break;
    case 2:
        m.stack = true;
        m.disp = (int32_t)roll(g->d, 64) - 32;
        return m;
    case 3: case 4: /* MOVZX index, AL */
        m.indexed = true;
        m.index = g->wide ? (unsigned)PICK(g->d, CX, 9, 12, 15) : CX;
        put_prefixes(g, 4, m.index, 0, AX);
        PUT(g, "\x0f\xb6");
        put_registers(g, m.index, AX);
        break;
    default: break;
    }
    m.disp = displacement(g, from, m.narrow);
    return m;
}

static void put_memory(struct generator *g, unsigned reg, const struct memory *m)
{
    unsigned field = (reg & 7) << 3, base = m->base & 7;
    if (m->absolute && g->wide)
        put(g, field | 4), put(g, 0x25);
    else if (m->absolute)
        put(g, field | 5);
    else if (m->stack)
        put(g, 0x80 | field | 4), put(g, 0x24);
    else if (m->indexed)
        put(g, 0x80 | field | 4), put(g, roll(g->d, 4) << 6 | (m->index & 7) << 3 | base);
    else if (base == 4)
        put(g, 0x80 | field | 4), put(g, 0x24);
    else
        put(g, 0x80 | field | base);
    put_value(g, (uint32_t)m->disp, 4);
}

/* Prefixes; `mandatory` 0: none. */
static void memory_begin(struct generator *g, unsigned size, unsigned mandatory, unsigned reg, const struct memory *m)
{
    if (m->prefix)
        put(g, m->prefix);
    if (m->narrow)
        put(g, 0x67);
    if (mandatory)
        put(g, mandatory);
    put_prefixes(g, size, reg, m->indexed ? m->index : 0, m->absolute || m->stack ? 0 : m->base);
}

/* ---- straight code ------------------------------------------------------------------------------------------------------------------------------------------------------ */

/* Sets all flags, by TEST. */
static void put_test(struct generator *g)
{
    PUT(g, "\x85\xc0");
    g->loose = false;
}

static void put_constant(struct generator *g, unsigned reg, uint64_t value)
{
    bool large = g->wide && value >> 32;
    put_prefixes(g, large ? 8 : 4, 0, 0, reg);
    put(g, 0xb8 | (reg & 7));
    put_value(g, value, large ? 8 : 4);
}

static void put_base(struct generator *g, unsigned reg)
{
    uint64_t value = any_target(g) - (one_in(g->d, 3) ? (uint64_t)(int64_t)(int32_t)PICK(g->d, 0x7fffff00, 0x7ffffff8, 0x80000000, 0x80000010, 0x1000, 0xfffff000) : 0);
    g->holds[reg] = g->wide ? value : (uint32_t)value;
    put_constant(g, reg, value);
}

static void put_bases(struct generator *g)
{
    static const uint8_t all[] = { BX, BP, 10, 13, 14 };
    for (unsigned i = 0; i < (g->wide ? 5 : 2); i++)
        put_base(g, all[i]);
}

/* A base register moves by a constant. */
static void put_move(struct generator *g)
{
    unsigned reg = base_register(g);
    int32_t by = (int32_t)PICK(g->d, 0x7fffff00, 0x80000100, 0x7fffffff, 1, 8, 16, 0xfffffff0, 0x1000, 0xfff0);
    if (g->skipped)
        return;
    put_prefixes(g, g->wide ? 8 : 4, reg, 0, reg);
    if (one_in(g->d, 2)) {
        put(g, 0x8d); /* LEA */
        put(g, 0x80 | (reg & 7) << 3 | (reg & 7));
        if ((reg & 7) == 4)
            put(g, 0x24);
    } else {
        put(g, 0x81); /* ADD */
        put_registers(g, 0, reg);
        g->loose = false;
    }
    put_value(g, (uint32_t)by, 4);
    g->holds[reg] += (uint64_t)(int64_t)by;
    if (!g->wide)
        g->holds[reg] = (uint32_t)g->holds[reg];
}

static void put_arithmetic(struct generator *g)
{
    unsigned size = any_size(g), to = data_register(g), from = read_register(g, size), op = roll(g->d, 8);
    switch (roll(g->d, 6)) {
    case 0: case 1:
        put_prefixes(g, size, from, 0, to);
        put_opcode(g, op * 8, size);
        put_registers(g, from, to);
        break;
    case 2:
        put_prefixes(g, size, to, 0, from);
        put_opcode(g, op * 8 + 2, size);
        put_registers(g, to, from);
        break;
    case 3:
        put_prefixes(g, size, 0, 0, to);
        put(g, size > 1 ? 0x83 : 0x80);
        put_registers(g, op, to);
        put_free(g);
        break;
    case 4: /* INC, DEC */
        put_prefixes(g, size, 0, 0, to);
        put_opcode(g, 0xfe, size);
        put_registers(g, op & 1, to);
        break;
    default: /* NEG, or TEST */
        put_prefixes(g, size, op & 1 ? from : 0, 0, to);
        put_opcode(g, op & 1 ? 0x84 : 0xf6, size);
        put_registers(g, op & 1 ? from : 3, to);
        break;
    }
    g->loose = false;
}

static void put_shift(struct generator *g)
{
    unsigned size = any_size(g), to = data_register(g);
    if (!g->p->shifts)
        return;
    put_prefixes(g, size, 0, 0, to);
    put_opcode(g, 0xc0, size);
    put_registers(g, (unsigned)PICK(g->d, 0, 1, 2, 3, 4, 5, 7), to);
    put(g, one_in(g->d, 4) && size > 2 ? (unsigned)PICK(g->d, 7, 12) : 1 + roll(g->d, 7));
    g->loose = true;
}

/* Instructions with other undefined flags: TEST follows. */
static void put_undefined(struct generator *g)
{
    unsigned size = any_size(g), to = data_register(g), from = read_register(g, 4);
    size = size < 4 ? 4 : size;
    put_prefixes(g, size, to, 0, from);
    switch (roll(g->d, 4)) {
    case 0: /* IMUL */
        PUT(g, "\x0f\xaf");
        put_registers(g, to, from);
        break;
    case 1: /* MUL, IMUL, of (E/R)AX: FROM */
        put(g, 0xf7);
        put_registers(g, 4 + roll(g->d, 2), from);
        break;
    case 2: /* BSR, BSF: not of 0, whose result is undefined */
        PUT(g, "\x83");
        put_registers(g, 1, from == BX || from == BP ? AX : from);
        put(g, 1);
        break;
    default: /* SHLD */
        PUT(g, "\x0f\xa4");
        put_registers(g, from, to);
        put(g, 1 + roll(g->d, 31));
        break;
    }
    put_test(g);
}

static void put_of_flags(struct generator *g)
{
    unsigned size = any_size(g) < 8 ? 4 : 8, to = data_register(g), from = read_register(g, 4), condition;
    switch (roll(g->d, 4)) {
    case 0: /* SETcc */
        put_prefixes(g, 1, 0, 0, to);
        put(g, 0x0f), put(g, 0x90 | any_condition(g)), put_registers(g, 0, to);
        break;
    case 1: /* CMOVcc */
        put_prefixes(g, size, to, 0, from);
        put(g, 0x0f), put(g, 0x40 | any_condition(g)), put_registers(g, to, from);
        break;
    case 2: /* BT with SETC or SBB */
        put_prefixes(g, size, 0, 0, to);
        PUT(g, "\x0f\xba"), put_registers(g, 4 + roll(g->d, 4), to), put(g, roll(g->d, size * 8));
        condition = data_register(g);
        put_prefixes(g, 1, 0, 0, condition);
        PUT(g, "\x0f\x92"), put_registers(g, 0, condition);
        put_test(g);
        break;
    default: /* PUSHF, POP, AND */
        if (g->loose)
            put_test(g);
        put(g, 0x9c);
        put_prefixes(g, 4, 0, 0, to), put(g, 0x58 | (to & 7));
        put_prefixes(g, g->wide ? 8 : 4, 0, 0, to), put(g, 0x81), put_registers(g, 4, to), put_value(g, 0xcc5, 4);
        g->loose = false;
        break;
    }
}

static void put_access(struct generator *g)
{
    static const uint8_t ops[] = { 0x88, 0x8a, 0x88, 0x8a };
    unsigned size = any_size(g), to = data_register(g), from = read_register(g, size), kind = roll(g->d, 12);
    struct memory m = any_memory(g);
    unsigned reg = kind < 4 ? (ops[kind] == 0x88 ? from : to) : to;
    if (kind == 6)
        reg = roll(g->d, 2);
    if (kind >= 10)
        reg = 4 + roll(g->d, 4);
    memory_begin(g, kind == 8 ? 4 : kind >= 10 && size < 4 ? 4 : size, 0, reg, &m);
    switch (kind) {
    case 0: case 1: case 2: case 3: put_opcode(g, ops[kind], size); break;
    case 4: put_opcode(g, roll(g->d, 8) * 8 + 2, size), g->loose = false; break;
    case 5: put_opcode(g, roll(g->d, 8) * 8, size), g->loose = false; break;
    case 6: put_opcode(g, 0xfe, size), g->loose = false; break; /* INC, DEC */
    case 7: put_opcode(g, 0x86, size); break;                   /* XCHG */
    case 8: put(g, 0x0f), put(g, (unsigned)PICK(g->d, 0xb6, 0xb7, 0xbe, 0xbf)); break;
    case 9: put(g, 0x0f), put_opcode(g, (unsigned)PICK(g->d, 0xc0, 0xb0), size), g->loose = false; break; /* XADD, CMPXCHG */
    default: PUT(g, "\x0f\xba"); break;                         /* BT and its kin */
    }
    put_memory(g, reg, &m);
    if (kind >= 10) {
        put(g, roll(g->d, 32));
        put_test(g);
    }
}

/* Several accesses by one register, near each other. */
static void put_group(struct generator *g)
{
    unsigned base = base_register(g), count = 2 + roll(g->d, 4);
    int32_t disp = displacement(g, g->holds[base], false);
    for (unsigned i = 0; i < count; i++) {
        bool store = one_in(g->d, 2);
        unsigned size = any_size(g), reg = store ? read_register(g, size) : data_register(g);
        struct memory m = { .base = base, .disp = (int32_t)((uint32_t)disp + roll(g->d, 128) - (one_in(g->d, 8) ? 0x800 : 0)) };
        memory_begin(g, size, 0, reg, &m);
        put_opcode(g, store ? 0x88 : 0x8a, size);
        put_memory(g, reg, &m);
        if (one_in(g->d, 3))
            put_arithmetic(g);
    }
}

static void put_vector(struct generator *g)
{
    static const uint8_t forms[][2] = { { 0, 0x10 }, { 0, 0x11 }, { 0, 0x28 }, { 0, 0x29 }, { 0x66, 0xd4 },
        { 0xf3, 0x6f }, { 0xf3, 0x7f }, { 0x66, 0xef }, { 0x66, 0x7e }, { 0x66, 0x6e } };
    const uint8_t *form = forms[roll(g->d, sizeof forms / 2)];
    unsigned reg = roll(g->d, g->wide ? 16 : 8);
    if (one_in(g->d, 3)) { /* VMOVUPS, VPADDQ of YMM registers */
        unsigned base = one_in(g->d, 2) ? BX : BP;
        bool store = one_in(g->d, 3);
        PUT(g, "\xc5");
        put(g, store ? 0xfc : 0x85 | (~roll(g->d, 8) & 7) << 3 | 0x40);
        put(g, store ? 0x11 : 0xd4);
        put_memory(g, reg & 7, &(struct memory){ .base = base, .disp = displacement(g, g->holds[base], false) });
        return;
    }
    struct memory m = any_memory(g);
    memory_begin(g, 4, form[0], reg, &m);
    put(g, 0x0f), put(g, form[1]);
    put_memory(g, reg, &m);
}

static void put_x87(struct generator *g)
{
    struct memory m = any_memory(g);
    memory_begin(g, 4, 0, 0, &m);
    put(g, (unsigned)PICK(g->d, 0xd9, 0xdd));
    put_memory(g, 0, &m);
    m.disp = (int32_t)((uint32_t)m.disp + 16);
    memory_begin(g, 4, 0, 3, &m);
    put(g, (unsigned)PICK(g->d, 0xd9, 0xdd));
    put_memory(g, 3, &m);
}

static void put_string(struct generator *g)
{
    unsigned size = any_size(g), op = (unsigned)PICK(g->d, 0xa4, 0xa4, 0xaa, 0xaa, 0xac, 0xa6, 0xae);
    put_constant(g, SI, any_target(g));
    put_constant(g, DI, any_target(g));
    put_constant(g, CX, roll(g->d, 40));
    if (!one_in(g->d, 4))
        put(g, one_in(g->d, 4) ? 0xf2 : 0xf3);
    put_prefixes(g, size, 0, 0, 0);
    put_opcode(g, op, size);
    put_test(g);
}

/* A store to code that is, or may be, nearby. */
static void put_patch(struct generator *g)
{
    struct program *p = g->p;
    if (!p->patches)
        return;
    uint32_t at = p->patch[p->patches - 1 - roll(g->d, one_in(g->d, 2) ? p->patches : (p->patches < 4 ? p->patches : 4))];
    put_prefixes(g, 1, 0, 0, 0);
    put(g, 0xc6); /* MOV */
    put_memory(g, 0, &(struct memory){ .absolute = true, .disp = (int32_t)(WRITABLE + (one_in(g->d, 2) ? sizeof p->code : 0) + at) });
    put(g, roll(g->d, 256));
}

static void put_system(struct generator *g)
{
    unsigned size = one_in(g->d, 2) ? 8 : 4;
    if (!g->wide)
        return;
    if (g->user && !one_in(g->d, 3)) {
        put_constant(g, AX, roll(g->d, 8));
        put_constant(g, DI, roll(g->d, 256));
        if (g->loose)
            put_test(g);
        PUT(g, "\x0f\x05"); /* SYSCALL: flags to R11 */
        put_bases(g);
        put_test(g);
    } else { /* RDFSBASE, RDGSBASE; WRFSBASE to what it was */
        unsigned reg = data_register(g), gs = roll(g->d, 2);
        bool write = one_in(g->d, 2);
        if (write)
            put_constant(g, reg, gs ? g->p->gs : g->p->fs), size = 8;
        put(g, 0xf3);
        put_prefixes(g, size, 0, 0, reg);
        PUT(g, "\x0f\xae");
        put_registers(g, gs + (write ? 2 : 0), reg);
    }
}

static void put_one(struct generator *g);

static void put_skip(struct generator *g)
{
    bool loose = g->loose, skipped = g->skipped;
    put(g, 0x70 | any_condition(g));
    uint8_t *from = g->at;
    put(g, 0);
    g->skipped = true;
    for (unsigned i = 1 + roll(g->d, 2); i; i--)
        put_one(g);
    g->skipped = skipped;
    g->loose |= loose;
    if (g->at - from > 127) { /* too far: nothing is jumped over */
        *from = 0;
        return;
    }
    if (g->at < g->end)
        *from = (uint8_t)(g->at - from - 1);
}

static void put_stack(struct generator *g)
{
    unsigned from = read_register(g, 4), to = data_register(g);
    put_prefixes(g, 4, 0, 0, from), put(g, 0x50 | (from & 7));
    if (!one_in(g->d, 3) && !g->skipped)
        put_one(g);
    put_prefixes(g, 4, 0, 0, to), put(g, 0x58 | (to & 7));
}

static void put_one(struct generator *g)
{
    if (g->end - g->at < 200)
        return;
    switch (roll(g->d, 26)) {
    case 0: case 1: case 2: case 3: put_arithmetic(g); break;
    case 4: put_shift(g); break;
    case 5: put_undefined(g); break;
    case 6: case 7: put_of_flags(g); break;
    case 8: case 9: case 10: case 11: case 12: put_access(g); break;
    case 13: case 14: put_group(g); break;
    case 15: put_vector(g); break;
    case 16: put_move(g); break;
    case 17: if (!g->skipped) put_base(g, base_register(g)); break;
    case 18: case 19: put_skip(g); break;
    case 20: put_stack(g); break;
    case 21: put_patch(g); break;
    case 22: if (one_in(g->d, 2)) put_string(g); break;
    case 23: if (!g->skipped) put_system(g); break;
    case 24: if (one_in(g->d, 2)) put_x87(g); break;
    default: put_arithmetic(g); break;
    }
}

/* ---- functions ---------------------------------------------------------------------------------------------------------------------------------------------------------- */

/* SUB [fuel], 1; JNS over INT3. */
static void put_fuel(struct generator *g)
{
    put_prefixes(g, 4, 0, 0, 0);
    put(g, 0x83);
    put_memory(g, 5, &(struct memory){ .absolute = true, .disp = FUEL });
    PUT(g, "\x01\x79\x01\xcc");
    g->loose = false;
}

/* To a function of the same kind of code. */
static uint64_t function_address(const struct generator *g, unsigned number)
{
    uint64_t part = g->user ? (one_in(g->d, 4) ? CODE_GLOBAL : CODE_USER) : CODE_KERNEL;
    return part + g->p->function[number];
}

static unsigned function_like(struct generator *g)
{
    for (;;) {
        unsigned number = roll(g->d, FUNCTIONS);
        if (g->p->wide[number] == g->wide && (g->user || number >= FUNCTIONS / 2))
            return number;
    }
}

static void put_relative(struct generator *g, unsigned opcode, uint32_t function)
{
    put(g, opcode);
    put_value(g, (uint32_t)(function - (uint32_t)(g->at + 4 - g->p->code)), 4);
}

static void put_call(struct generator *g)
{
    uint32_t to = g->p->function[function_like(g)];
    put_fuel(g);
    switch (roll(g->d, 6)) {
    case 0: /* CALL RAX */
        put_constant(g, AX, function_address(g, function_like(g)));
        PUT(g, "\xff\xd0");
        break;
    case 1: /* CALL [table] */
        if (g->wide && g->user) {
            struct memory m = { .absolute = true, .disp = JUMPS + (int32_t)function_like(g) * 8 };
            put(g, 0xff), put_memory(g, 2, &m);
            break;
        }
        put_relative(g, 0xe8, to);
        break;
    case 2: /* CALL over INC [RSP]; RET, to a byte behind */
        PUT(g, "\xe8\x02\x00\x00\x00\x90\x90"), PUT(g, "\x58"); /* POP */
        break;
    case 3: /* another return address: of a function */
        if (g->wide)
            PUT(g, "\x68"), put_value(g, function_address(g, function_like(g)), 4);
        put_relative(g, 0xe8, to);
        break;
    default: put_relative(g, 0xe8, to); break;
    }
    put_bases(g);
    put_test(g);
}

/* A loop to its own start. */
static void put_loop(struct generator *g)
{
    const uint8_t *top = g->at;
    g->loose = true;
    put_bases(g);
    for (unsigned i = 2 + roll(g->d, 12); i; i--)
        put_one(g);
    put_fuel(g); /* TEST [fuel], 15; JNZ */
    put_prefixes(g, 4, 0, 0, 0);
    put(g, 0xf7);
    put_memory(g, 0, &(struct memory){ .absolute = true, .disp = FUEL });
    put_value(g, 15, 4);
    PUT(g, "\x0f\x85");
    put_value(g, (uint32_t)(top - (g->at + 4)), 4);
}

/* To code of the other kind, by far RET, or JMP of 32-bit code. */
static void put_switch(struct generator *g)
{
    unsigned number = roll(g->d, FUNCTIONS);
    put_fuel(g);
    if (g->wide) { /* without the upper halves of registers, whose value is undefined then */
        for (unsigned reg = AX; reg <= DI; reg++)
            if (reg != SP)
                put(g, 0x89), put_registers(g, reg, reg);
        PUT(g, "\x6a"), put(g, g->p->wide[number] ? USER_CS : USER_CS32);
        PUT(g, "\x68"), put_value(g, CODE_USER + g->p->function[number], 4);
        PUT(g, "\x48\xcb");
    } else {
        put(g, 0xea), put_value(g, CODE_USER + g->p->function[number], 4), put_value(g, g->p->wide[number] ? USER_CS : USER_CS32, 2);
    }
}

static void put_end(struct generator *g)
{
    unsigned kind = roll(g->d, 12);
    switch (kind) {
    case 0: case 1:
        put_fuel(g);
        put_relative(g, 0xe9, g->p->function[function_like(g)]);
        break;
    case 2: /* JMP RAX */
        put_fuel(g);
        put_constant(g, AX, function_address(g, function_like(g)));
        PUT(g, "\xff\xe0");
        break;
    case 3: /* POP; PUSH; RET */
        PUT(g, "\x58\x50\xc3");
        break;
    case 4: /* PUSH; RET */
        put_fuel(g);
        PUT(g, "\x68"), put_value(g, function_address(g, function_like(g)), 4), PUT(g, "\xc3");
        break;
    case 5: PUT(g, "\xc2\x08\x00"); break;
    case 6: put_switch(g); break;
    case 7: PUT(g, "\xcd\x80"); break;
    default: PUT(g, "\xc3"); break;
    }
    PUT(g, "\xcc");
}

static void put_function(struct generator *g, unsigned number)
{
    struct program *p = g->p;
    g->at = p->code + p->function[number];
    g->end = p->code + (number + 1 < FUNCTIONS ? p->function[number + 1] : sizeof p->code) - 200;
    g->wide = p->wide[number];
    g->user = number < FUNCTIONS / 2;
    g->loose = true;
    g->skipped = false;
    put_bases(g);
    for (unsigned i = 1 + roll(g->d, 3); i; i--) {
        for (unsigned n = 3 + roll(g->d, 20); n; n--)
            put_one(g);
        if (g->end - g->at > 400)
            (one_in(g->d, 2) ? put_loop : put_call)(g);
    }
    g->end += 100;
    put_end(g);
}

static void put_pieces(struct program *p, struct dice *d)
{
    for (unsigned i = 0; i < PIECES; i++) {
        unsigned number = roll(d, FUNCTIONS);
        bool user = number < FUNCTIONS / 2;
        struct piece *piece = &p->piece[i];
        uint64_t part = user ? (one_in(d, 4) ? CODE_GLOBAL : CODE_USER) : CODE_KERNEL;
        uint64_t stack = STACK_END - 64 - roll(d, 4) * 1000;
        if (one_in(d, 5))
            stack = DATA_PRIVATE + roll(d, 8) * 0x1000 + roll(d, 64);
        if (one_in(d, 20) && p->wide[number])
            stack = PICK(d, 0x800000000000, 0x7ffffffffff8, 8, 0, 0xffff800000000004, 0x7fffffff0010);
        *piece = (struct piece){ part + p->function[number], user ? (p->wide[number] ? USER_CS : USER_CS32) : KERNEL_CS, 2, stack, user ? USER_SS : KERNEL_SS };
        piece->flags |= roll(d, 0x1000) & FLAGS_ARITH;
        piece->flags |= (one_in(d, 4) ? FLAG_AC : 0) | (one_in(d, 10) ? FLAG_DF : 0);
    }
}

void program_make(struct program *p, uint64_t seed)
{
    struct dice dice = { seed * UINT64_C(0x9e3779b97f4a7c15) + 1 }, *d = &dice;
    struct generator g = { .p = p, .d = d };
    memset(p, 0, sizeof *p);
    memset(p->code, 0xcc, sizeof p->code);
    roll(d, 2);
    p->shifts = one_in(d, 2);
    p->fs = PICK(d, 0, 0x1000, 0x7fffff00, 0x80000000, 0xffffffff80000000, 0x100000000, 0xffffffffffffff00, 0x40000000);
    p->gs = PICK(d, 0, 0x1234, 0xffff800000000000, 0x7fff80000000, 0x40200000, 0x7fffffff);
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        p->wide[i] = i >= FUNCTIONS / 2 || i == 0 || !one_in(d, 3);
        p->function[i] = i ? i * 0x2000 + 0x1000 - roll(d, 400) : 0xf00 + roll(d, 256);
    }
    for (unsigned i = 0; i < FUNCTIONS; i++)
        put_function(&g, i);
    put_pieces(p, d);
}
