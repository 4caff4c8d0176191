/* SPDX-License-Identifier: MIT */
/* machine.c - the machine that runs random programs, and its kernel. */
#include "program.h"

#include <stdlib.h>
#include <string.h>

#include "watch.h"

/* Guest-physical addresses, where the kernel has them, too. */
enum {
    GDT = 0x10000, TSS = 0x11000, IDT = 0x12000, VARIABLES = 0x13000, PIECE_TABLE = 0x14000, LOG = 0x60000, TABLES = 0x20000, TABLES_END = 0x50000,
    IST = 0x8f000, EXCEPTIONS = 0x101000, SYSTEM_CALLS = 0x102000, STUBS = 0x103000,
    COPY_A = 0x400000, FUEL_AT = 0x500000, FRAME = 0xa00000,
};
enum { SPACES = 3, FUEL_START = 150 };
enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, LARGE = 0x80, G = 0x100 };
#define NX BIT(63)
#define KEEP BIT(63)

/* Mixes all registers, the frame and CR2 into the hash; goes to the next piece, or stops. */
GUEST_PROGRAM(random_exceptions,
    "push %r15; push %r14; push %r13; push %r12; push %r11; push %r10; push %r9; push %r8; push %rdi; push %rsi; push %rbp; push %rbx; push %rdx; push %rcx; push %rax;"
    "mov 0x13010, %rax; and %rax, 152(%rsp);"
    "xor %esi, %esi; cmpq $14, 120(%rsp); jne 1f; mov %cr2, %rsi; 1: movabs $0x9e3779b97f4a7c15, %rdi; mov 0x13000, %rax; add %rsi, %rax; movzbl 0x13008, %edx; shl $8, %edx;"
    "xor %ecx, %ecx; 2: mov (%rsp,%rcx,8), %rbx; mov %rbx, 0x60000(%rdx,%rcx,8); rol $9, %rax; imul %rdi, %rax; add %rbx, %rax; inc %ecx; cmp $22, %ecx; jne 2b;"
    "mov %rax, 0x13000; mov %rsi, 0x600b0(%rdx); mov %rax, 0x600b8(%rdx); mov 0x13008, %ecx;"
    "inc %ecx; mov %ecx, 0x13008; cmp 0x1300c, %ecx; jae 3f; and $15, %ecx; lea (%rcx,%rcx,4), %ecx; shl $3, %ecx;"
    "mov 0x14000(%rcx), %rax; mov %rax, 136(%rsp); mov 0x14008(%rcx), %rax; mov %rax, 144(%rsp); mov 0x14010(%rcx), %rax; mov %rax, 152(%rsp);"
    "cmpb $0x1b, 144(%rsp); jne 4f; xor %edx, %edx; 5: movl $0, 4(%rsp,%rdx,8); inc %edx; cmp $7, %edx; jne 5b; 4:" /* what upper halves hold does not outlast 32-bit code */
    "mov 0x14018(%rcx), %rax; mov %rax, 160(%rsp); mov 0x14020(%rcx), %rax; mov %rax, 168(%rsp); movl $150, 0x500000;"
    "pop %rax; pop %rcx; pop %rdx; pop %rbx; pop %rbp; pop %rsi; pop %rdi; pop %r8; pop %r9; pop %r10; pop %r11; pop %r12; pop %r13; pop %r14; pop %r15;"
    "add $16, %rsp; iretq; 3: hlt");

/* EAX: what to do, by its low three bits; EDI: with which page. Variables: machine_put(). */
GUEST_PROGRAM(random_system_calls,
    "mov %rsp, 0x13018; mov $0x8e000, %esp; push %rcx; push %r11; push %rdi; mov %eax, %ecx; and $7, %ecx; jz 9f; mov 0x13020, %ebx; and $63, %edi;"
    "dec %ecx; jz 1f; dec %ecx; jz 2f; dec %ecx; jz 3f; dec %ecx; jz 4f; dec %ecx; jz 5f; dec %ecx; jz 6f;"
    "call 7f; mov %cr4, %rax; xor $0x80, %rax; mov %rax, %cr4; xor $0x80, %rax; mov %rax, %cr4; jmp 9f;"                           /* 7: a page of this space; drop all */
    "1: mov 0x13160, %rsi; mov 0x13168, %rdx; call 8f; shl $12, %edi; invlpg 0x40000000(%rdi); jmp 9f;"                           /* a global page */
    "2: call 7f; shl $12, %edi; invlpg 0x40200000(%rdi); jmp 9f;"                                                                 /* a page of this space */
    "3: and $15, %edi; mov 0x130c0(,%rbx,8), %rsi; mov 0x130e0(,%rbx,8), %rdx; call 8f; shl $12, %edi; invlpg 0x40600000(%rdi); jmp 9f;" /* of its code */
    "4: call 10f; cmpl $0, 0x13024; je 14f; testl $128, (%rsp); jz 14f; call 7f; shl $12, %edi; add $0x40200000, %edi; lea 1(%rbx), %eax; mov %rax, 0x13100;"
    "mov %rdi, 0x13108; xor %ecx, %ecx; invpcid 0x13100, %rcx; 14: mov 0x13040(,%rbx,8), %rax; mov %rax, %cr3; jmp 9f;"           /* to the next space, which is kept */
    "5: call 10f; call 7f; mov 0x13060(,%rbx,8), %rax; mov %rax, %cr3; jmp 9f;"                                                   /* which is not, and has another page */
    "6: call 7f; mov 0x13060(,%rbx,8), %rax; mov %rax, %cr3; jmp 9f;"                                                             /* a page; this space anew */
    "7: mov 0x13080(,%rbx,8), %rsi; mov 0x130a0(,%rbx,8), %rdx; 8: mov (%rsi,%rdi,8), %rax; xchg %rax, (%rdx,%rdi,8); mov %rax, (%rsi,%rdi,8); ret;"
    "10: inc %ebx; cmp $3, %ebx; jb 11f; xor %ebx, %ebx; 11: mov %ebx, 0x13020; ret;"
    "9: pop %rdi; pop %r11; pop %rcx; test $64, %edi; jnz 12f; mov 0x13018, %rsp; sysretq;"
    "12: pushq $0x23; pushq 0x13018; push %r11; pushq $0x2b; push %rcx; iretq");

struct machine { struct guest g; struct dice d; bool pcid; uint64_t table; };

static void put64(struct machine *m, uint64_t at, uint64_t value) { store_le64(m->g.bytes + at, value); }

static uint64_t table_new(struct machine *m)
{
    uint64_t at = m->table;
    m->table += 0x1000;
    if (m->table > TABLES_END)
        abort();
    return at;
}

static uint64_t data_entry(struct machine *m, uint64_t bits)
{
    struct dice *d = &m->d;
    uint64_t entry = (FRAME + roll(d, FRAMES) * 0x1000) | bits | (one_in(d, 2) ? A | D : 0);
    return entry | (one_in(d, 10) ? 0 : P) | (one_in(d, 8) ? 0 : W) | (one_in(d, 8) ? 0 : U) | (one_in(d, 8) ? NX : 0);
}

static uint64_t data_table(struct machine *m, uint64_t bits)
{
    uint64_t at = table_new(m);
    for (unsigned i = 0; i < 512; i++)
        put64(m, at + i * 8, data_entry(m, bits));
    return at;
}

/* Pages of copy A, or of either. */
static uint64_t code_table(struct machine *m, uint64_t bits, bool mixed)
{
    uint64_t at = table_new(m);
    for (unsigned i = 0; i < CODE_PAGES; i++) {
        bool global = bits & G || (!(bits & U) && i % 2 == 0);
        unsigned copy = mixed && !global ? roll(&m->d, 2) : 0;
        put64(m, at + i * 8, (COPY_A + (copy * CODE_PAGES + i) * 0x1000) | P | bits | (global ? G : 0));
    }
    return at;
}

static uint64_t writable_table(struct machine *m)
{
    uint64_t at = table_new(m);
    for (unsigned i = 0; i < 2 * CODE_PAGES; i++)
        put64(m, at + i * 8, (COPY_A + i * 0x1000) | P | W | U | G);
    for (unsigned i = 0; i < 5; i++)
        put64(m, at + (2 * CODE_PAGES + i) * 8, (FUEL_AT + i * 0x1000) | P | W | U | G);
    return at;
}

static uint64_t full_table(struct machine *m, uint64_t of)
{
    uint64_t at = table_new(m);
    for (unsigned i = 0; i < 512; i++)
        put64(m, at + i * 8, of | P | W | U);
    return at;
}

static void tables_put(struct machine *m)
{
    uint64_t low = table_new(m), global = data_table(m, G), alternative = data_table(m, G), fixed = data_table(m, 0);
    uint64_t code_global = code_table(m, U | G, false), writable = writable_table(m), mirror = full_table(m, fixed), ends = full_table(m, mirror);
    for (unsigned i = 0; i < 8; i++)
        put64(m, low + i * 8, (uint64_t)i << 21 | LARGE | P | W | G);
    put64(m, VARIABLES + 0x160, global);
    put64(m, VARIABLES + 0x168, alternative);
    for (unsigned space = 0; space < SPACES; space++) {
        uint64_t top = table_new(m), second = table_new(m), parts = table_new(m);
        uint64_t own = data_table(m, 0), code = code_table(m, U, true), kernel = code_table(m, 0, true);
        const uint64_t tables[] = { global, own, fixed, code, kernel, code_global, writable };
        for (unsigned i = 0; i < ARRAY_LEN(tables); i++)
            put64(m, parts + i * 8, tables[i] | P | W | U);
        put64(m, second, low | P | W);
        put64(m, second + 8, parts | P | W | U);
        put64(m, second + 3 * 8, mirror | P | W | U);
        put64(m, second + 5 * 8, mirror | P | W | U);
        put64(m, top, second | P | W | U);
        put64(m, top + 255 * 8, ends | P | W | U);
        put64(m, top + 511 * 8, ends | P | W | U);
        uint64_t cr3 = top | (m->pcid ? space + 1 : 0);
        put64(m, VARIABLES + 0x40 + space * 8, cr3 | (m->pcid ? KEEP : 0));
        put64(m, VARIABLES + 0x60 + space * 8, cr3);
        put64(m, VARIABLES + 0x80 + space * 8, own);
        put64(m, VARIABLES + 0xa0 + space * 8, data_table(m, 0));
        put64(m, VARIABLES + 0xc0 + space * 8, code);
        put64(m, VARIABLES + 0xe0 + space * 8, code_table(m, U, true));
    }
}

static void stub_put(struct machine *m, unsigned vector)
{
    static const uint32_t with_error = 1u << EXC_DF | 1u << EXC_TS | 1u << EXC_NP | 1u << EXC_SS | 1u << EXC_GP | 1u << EXC_PF | 1u << EXC_AC;
    uint64_t at = STUBS + vector * 16;
    uint8_t *p = m->g.bytes + at;
    if (vector >= 32 || !(with_error >> vector & 1)) {
        *p++ = 0x6a; /* PUSH imm8 */
        *p++ = 0;
    }
    *p++ = 0x68; /* PUSH imm32 */
    store_le32(p, vector);
    p[4] = 0xe9; /* JMP */
    store_le32(p + 5, (uint32_t)(EXCEPTIONS - (uint64_t)(p + 9 - m->g.bytes)));
    put64(m, IDT + vector * 16, (at & 0xffff) | KERNEL_CS << 16 | 1ull << 32 /* IST */ | (vector == 0x80 || vector == EXC_BP ? 0xeeull : 0x8eull) << 40 | (at & 0xffff0000) << 32);
    put64(m, IDT + vector * 16 + 8, 0);
}

static void machine_put(struct machine *m, const struct program *p, unsigned limit)
{
    static const uint64_t gdt[] = { 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff,
        0x00008b0000000067 | (uint64_t)TSS << 16, 0 };
    uint8_t *bytes = m->g.bytes;
    memcpy(bytes + GDT, gdt, sizeof gdt);
    put64(m, TSS + 36, IST);
    for (unsigned i = 0; i < 256; i++)
        stub_put(m, i);
    GUEST_PUT(&m->g, EXCEPTIONS, random_exceptions);
    GUEST_PUT(&m->g, SYSTEM_CALLS, random_system_calls);
    guest_put(&m->g, GUEST_CODE, "\x0f\x0b" /* UD2: to the first piece */, 2);
    store_le32(bytes + VARIABLES + 12, limit);
    put64(m, VARIABLES + 16, ~(uint64_t)(FLAG_AF | (p->shifts ? FLAG_OF : 0)));
    store_le32(bytes + VARIABLES + 0x24, m->pcid);
    memcpy(bytes + PIECE_TABLE, p->piece, sizeof p->piece);
    for (unsigned copy = 0; copy < 2; copy++)
        memcpy(bytes + COPY_A + copy * sizeof p->code, p->code, sizeof p->code);
    for (unsigned i = 0; i < p->patches; i++)
        bytes[COPY_A + sizeof p->code + p->patch[i]] ^= (uint8_t)roll(&m->d, 256);
    store_le32(bytes + FUEL_AT, FUEL_START);
    for (unsigned i = 0; i < FUNCTIONS; i++)
        put64(m, FUEL_AT + (JUMPS - FUEL) + i * 8, CODE_USER + p->function[i]);
    for (unsigned i = 0; i < FRAMES * 0x1000; i++)
        bytes[FRAME + i] = (uint8_t)(i * 37 + i / 256);
}

static void cpu_put(struct machine *m, const struct program *p)
{
    struct cpu *cpu = m->g.vm.cpus[0];
    struct cpu_state *s = &cpu->state;
    for (unsigned i = SEG_ES; i <= SEG_GS; i++)
        if (i != SEG_CS && i != SEG_SS)
            s->seg[i] = (struct cpu_segment){ .limit = UINT32_MAX, .selector = USER_SS, .attributes = 0xc0f3 };
    s->seg[SEG_FS].base = p->fs;
    s->seg[SEG_GS].base = p->gs;
    s->seg[SEG_CS].selector = KERNEL_CS;
    s->seg[SEG_SS].selector = KERNEL_SS;
    s->seg[SEG_TR] = (struct cpu_segment){ .base = TSS, .limit = 0x67, .selector = 0x30, .attributes = 0x8b };
    s->gdtr = (struct cpu_segment){ .base = GDT, .limit = 0x3f };
    s->idtr = (struct cpu_segment){ .base = IDT, .limit = 0xfff };
    s->efer |= EFER_NXE;
    s->star = (uint64_t)(USER_CS32 & ~3u) << 48 | (uint64_t)KERNEL_CS << 32;
    s->x87.fcw = one_in(&m->d, 8) ? 0x372 : 0x37f; /* some exceptions unmasked, or none */
    s->lstar = SYSTEM_CALLS;
    s->sfmask = FLAG_DF | FLAG_AC | FLAG_IF | FLAG_TF;
    s->cr3 = load_le64(m->g.bytes + VARIABLES + 0x60);
    s->cr0 |= one_in(&m->d, 2) ? CR0_WP : 0;
    s->cr4 |= CR4_PGE | CR4_OSXSAVE | CR4_FSGSBASE | (m->pcid ? CR4_PCIDE : 0) | (one_in(&m->d, 2) ? CR4_SMAP : 0) | (one_in(&m->d, 2) ? CR4_SMEP : 0);
    s->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    for (unsigned i = 0; i < 16; i++)
        if (i != REG_RSP)
            s->gpr[i] = UINT64_C(0x0123456789abcdef) * (i + 3);
    cpu_state_changed(cpu);
    cpu_tlb_flush_all(cpu);
}

static void outcome_get(const struct machine *m, struct outcome *o)
{
    const struct cpu *cpu = m->g.vm.cpus[0];
    const uint8_t *bytes = m->g.bytes;
    o->rip = cpu->state.rip;
    o->hash = load_le64(bytes + VARIABLES);
    o->count = load_le32(bytes + VARIABLES + 8);
    memcpy(o->gpr, cpu->state.gpr, sizeof o->gpr);
    memcpy(o->log, bytes + LOG, sizeof o->log);
    memcpy(o->data, bytes + FRAME, sizeof o->data);
    memcpy(o->code, bytes + COPY_A, sizeof o->code);
    memcpy(o->stacks, bytes + FUEL_AT, sizeof o->stacks);
}

static void kick(void *cpu) { cpu_request(cpu, CPU_REQ_KICK); }

bool program_run(const struct program *p, uint64_t seed, const char *engine, const struct cpu_soak *soak, unsigned limit, struct outcome *o)
{
    struct machine m = { .d = { seed }, .table = TABLES };
    memset(o, 0, sizeof *o);
    setenv("CPU_ENGINE", engine, 1);
    guest_make_soaked(&m.g, 1, 64, soak);
    m.pcid = one_in(&m.d, 2);
    tables_put(&m);
    machine_put(&m, p, limit);
    cpu_put(&m, p);
    if (!soak)
        watch(kick, m.g.vm.cpus[0]);
    do
        o->reason = guest_run(&m.g, 0);
    while (o->reason == HY_EXIT_KICK && soak);
    watch(NULL, NULL);
    outcome_get(&m, o);
    guest_free(&m.g);
    return o->reason != HY_EXIT_KICK;
}
