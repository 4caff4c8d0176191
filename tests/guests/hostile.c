/* SPDX-License-Identifier: MIT */
/* hostile: a kernel that does what no kernel should, at random, on every CPU: ports, MMIO with every kind of instruction, PCI configuration with BARs over everything,
 * virtio queues of nonsense, MSRs, control registers, IPIs, timers at their fastest, random code at the borders of RAM and MMIO. Every exception and interrupt goes back to
 * its main loop. It ends only by a triple fault or reset, rarely, or when it is stopped. tests/boot/hostile.py builds it (an ELF file with the 64-bit entry) and runs it.
 *
 * The command line is a number of hexadecimal digits: the seed, and behind a comma a mask of the attacks to make (default: all; 0: it only waits).
 */
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

enum { CPUS = 16, STACK = 32768, TRAMPOLINE = 0x8000, CMDLINE = 0x90000, SCRATCH = 0x1000000 /* 16 MiB: rings, buffers, code */ };

struct cpu { u64 random; u8 tss[128] __attribute__((aligned(16))); u64 gdt[8]; };
static struct cpu cpus[CPUS];
u8 stacks[CPUS][STACK] __attribute__((aligned(4096)));
static u64 idt[512] __attribute__((aligned(4096)));
u64 pml4[512] __attribute__((aligned(4096)));
static u64 pdpt[512] __attribute__((aligned(4096))), low_pd[4][512] __attribute__((aligned(4096))), wild_pdpt[512] __attribute__((aligned(4096)));
static u64 attacks = ~0ull;
static u64 bars[32];
u32 cpu_count;

/* ---- machine instructions ------------------------------------------------------------------------------------------------------------------------ */

static inline void outb(u16 p, u8 v) { __asm__ volatile("outb %0,%1" : : "a"(v), "Nd"(p)); }
static inline void outw(u16 p, u16 v) { __asm__ volatile("outw %0,%1" : : "a"(v), "Nd"(p)); }
static inline void outl(u16 p, u32 v) { __asm__ volatile("outl %0,%1" : : "a"(v), "Nd"(p)); }
static inline u8 inb(u16 p) { u8 v; __asm__ volatile("inb %1,%0" : "=a"(v) : "Nd"(p)); return v; }
static inline u16 inw(u16 p) { u16 v; __asm__ volatile("inw %1,%0" : "=a"(v) : "Nd"(p)); return v; }
static inline u32 inl(u16 p) { u32 v; __asm__ volatile("inl %1,%0" : "=a"(v) : "Nd"(p)); return v; }
static inline u64 rdtsc(void) { u32 a, d; __asm__ volatile("rdtsc" : "=a"(a), "=d"(d)); return (u64)d << 32 | a; }
static inline void wrmsr(u32 i, u64 v) { __asm__ volatile("wrmsr" : : "c"(i), "a"((u32)v), "d"((u32)(v >> 32)) : "memory"); }
static inline u64 rdmsr(u32 i) { u32 a, d; __asm__ volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(i)); return (u64)d << 32 | a; }
static inline void w8(u64 a, u8 v) { *(volatile u8 *)a = v; }
static inline void w16(u64 a, u16 v) { *(volatile u16 *)a = v; }
static inline void w32(u64 a, u32 v) { *(volatile u32 *)a = v; }
static inline void w64(u64 a, u64 v) { *(volatile u64 *)a = v; }
static inline u32 r32(u64 a) { return *(volatile u32 *)a; }

void *memset(void *to, int value, size_t n) { for (size_t i = 0; i < n; i++) ((volatile u8 *)to)[i] = (u8)value; return to; }
void *memcpy(void *to, const void *from, size_t n) { for (size_t i = 0; i < n; i++) ((volatile u8 *)to)[i] = ((const u8 *)from)[i]; return to; }

static u64 next(struct cpu *c)
{
    u64 x = c->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (c->random = x) * 0x2545f4914f6cdd1dull >> 3;
}
static u64 below(struct cpu *c, u64 n) { return next(c) % n; }
static u64 value(struct cpu *c)
{
    static const u64 odd[] = {0, 1, ~0ull, 0x80000000, 0x7fffffff, 0xffffffff, 1ull << 63, 0xfee00000, 0xfec00000, 0xc0000000, 0xe0000000, 0x1000000, 0xfffff000, 0xffff};
    return below(c, 3) ? next(c) >> below(c, 61) : odd[below(c, sizeof odd / sizeof *odd)];
}

/* Somewhere worth touching, mostly not RAM. */
static u64 place(struct cpu *c)
{
    u64 in_page = below(c, 4) ? below(c, 4096) : 4096 - below(c, 16);
    switch (below(c, 14)) {
    case 0: return 0xe0000000 + (below(c, 16) << 15) + in_page;                       /* ECAM, bus 0 */
    case 1: return 0xe0000000 + (below(c, 1 << 16) << 12) + in_page;
    case 2: return 0xfec00000 + below(c, 0x48);                                       /* IOAPIC */
    case 3: return 0xfee00000 + below(c, 0x400);                                      /* local APIC */
    case 4: return 0xfed00000 + in_page;                                              /* where an HPET is */
    case 5: return 0xa0000 + below(c, 0x60000);                                       /* legacy video, ROM */
    case 6: return 0x4000000 - 64 + below(c, 128);                                    /* the end of RAM with --memory 64M */
    case 7: return 0xc0000000 - 32 + below(c, 64);
    case 8: return 0xffffffe0 + below(c, 64);
    case 9: return SCRATCH + below(c, 0x100000);
    case 10: return 0xc0000000 + below(c, 0x40000);
    default: return bars[below(c, 32)] + below(c, 0x4100);
    }
}

/* A place without a power button or reset in it, but for once in a thousand. */
static u16 port(struct cpu *c)
{
    static const u16 good[] = {0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x80, 0x92, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x4d0,
                               0x600, 0x602, 0x608, 0xcf8, 0xcfc, 0xcfd, 0xcfe, 0xcff, 0xf4, 0x510, 0x511, 0xe9, 0x2000, 0xffff, 0xfffe, 0xfffd};
    u16 p = below(c, 3) ? good[below(c, sizeof good / sizeof *good)] : (u16)next(c);
    int ends = (p >= 0x5fd && p <= 0x607) || (p >= 0xcf9 - 3 && p <= 0xcfb && p != 0xcf8) || p == 0x64 || p == 0x92 || p == 0xf4;
    return ends && below(c, 2000) ? 0x3fb : p;
}

/* ---- attacks ---------------------------------------------------------------------------------------------------------------------------------------- */

static void attack_ports(struct cpu *c)
{
    u16 p = port(c);
    u64 v = value(c), count = below(c, 5) ? below(c, 70) : below(c, 5000), at = below(c, 3) ? SCRATCH + below(c, 0x10000) : place(c);
    switch (below(c, 12)) {
    case 0: case 1: outb(p, (u8)v); break;
    case 2: outw(p, (u16)v); break;
    case 3: outl(p, (u32)v); break;
    case 4: inb(p); break;
    case 5: inw(p); break;
    case 6: inl(p); break;
    case 7: __asm__ volatile("rep insb" : "+D"(at), "+c"(count) : "d"(p) : "memory"); break;
    case 8: __asm__ volatile("std\n rep insl\n cld" : "+D"(at), "+c"(count) : "d"(p) : "memory"); break;
    case 9: __asm__ volatile("rep outsb" : "+S"(at), "+c"(count) : "d"(p) : "memory"); break;
    case 10: __asm__ volatile("rep outsw" : "+S"(at), "+c"(count) : "d"(p) : "memory"); break;
    default: __asm__ volatile("std\n rep outsl\n cld" : "+S"(at), "+c"(count) : "d"(p) : "memory"); break;
    }
}

static void attack_mmio_plain(struct cpu *c)
{
    u64 at = place(c), v = value(c);
    switch (below(c, 8)) {
    case 0: w8(at, (u8)v); break;
    case 1: w16(at, (u16)v); break;
    case 2: w32(at, (u32)v); break;
    case 3: w64(at, v); break;
    case 4: (void)*(volatile u8 *)at; break;
    case 5: (void)*(volatile u16 *)at; break;
    case 6: (void)r32(at); break;
    default: (void)*(volatile u64 *)at; break;
    }
}

#define ON(code) __asm__ volatile(code : : "r"(at), "r"(v) : "rax", "rcx", "rdx", "rsi", "rdi", "memory", "cc")

static void attack_mmio_odd(struct cpu *c)
{
    u64 at = place(c), v = value(c), to = place(c), count = below(c, 4) ? below(c, 100) : below(c, 20000), which = below(c, 40);
    if ((which >= 27 && which <= 30) || which == 37) /* these mostly end in a triple fault */
        which = below(c, 100) ? 38 : which;
    switch (which) {
    case 0: ON("lock addl %k1,(%0)"); break;
    case 1: ON("lock xaddq %1,(%0)"); break;
    case 2: ON("lock cmpxchg8b (%0)"); break;
    case 3: ON("lock cmpxchg16b (%0)"); break;
    case 4: ON("xchgq %1,(%0)"); break;
    case 5: ON("btsq %1,(%0)"); break;
    case 6: ON("lock btcl %k1,(%0)"); break;
    case 7: ON("fxsave (%0)"); break;
    case 8: ON("fxrstor (%0)"); break;
    case 9: ON("mov $-1,%%eax\n mov %%eax,%%edx\n xsave (%0)"); break;
    case 10: ON("mov $7,%%eax\n xor %%edx,%%edx\n xrstor (%0)"); break;
    case 11: ON("movdqu (%0),%%xmm0\n movdqu %%xmm0,(%0)"); break;
    case 12: ON("movntdq %%xmm1,(%0)"); break;
    case 13: ON("vmovdqu (%0),%%ymm0\n vmovdqu %%ymm0,(%0)"); break;
    case 14: __asm__ volatile("rep movsb" : "+S"(at), "+D"(to), "+c"(count) : : "memory"); break;
    case 15: __asm__ volatile("rep movsq" : "+S"(at), "+D"(to), "+c"(count) : : "memory"); break;
    case 16: __asm__ volatile("std\n rep movsl\n cld" : "+S"(at), "+D"(to), "+c"(count) : : "memory"); break;
    case 17: __asm__ volatile("rep stosq" : "+D"(at), "+c"(count) : "a"(v) : "memory"); break;
    case 18: __asm__ volatile("repe cmpsw" : "+S"(at), "+D"(to), "+c"(count) : : "memory", "cc"); break;
    case 19: __asm__ volatile("repne scasb" : "+D"(at), "+c"(count) : "a"(v) : "memory", "cc"); break;
    case 20:
        __asm__ volatile("mov %%rsp,%%rbx\n mov %0,%%rsp\n push %%rax\n pop %%rcx\n pushfq\n popfq\n mov %%rbx,%%rsp"
                         : : "r"(at) : "rax", "rbx", "rcx", "memory", "cc");
        break;
    case 21: ON("sgdt (%0)\n sidt 3(%0)"); break;
    case 22: ON("fnstenv (%0)\n fnsave 5(%0)"); break;
    case 23: ON("fldt (%0)\n fbstp (%0)"); break;
    case 24: ON("invlpg (%0)\n clflush (%0)\n prefetcht0 (%0)"); break;
    case 25: ON("call *(%0)"); break;
    case 26: ON("call *%0"); break;
    case 27: ON("lss (%0),%%eax"); break;
    case 28: ON("ljmpl *(%0)"); break;
    case 29: ON("lgdt (%0)"); break;
    case 30: ON("lidt (%0)"); break;
    case 31: ON("vpcmpeqd %%ymm1,%%ymm1,%%ymm1\n vpxor %%ymm2,%%ymm2,%%ymm2\n vpgatherdd %%ymm1,(%0,%%ymm2,4),%%ymm0"); break;
    case 32: ON("vpcmpeqd %%ymm1,%%ymm1,%%ymm1\n vpmaskmovd %%ymm0,%%ymm1,(%0)"); break;
    case 33: ON("mov %0,%%rdi\n maskmovdqu %%xmm0,%%xmm1"); break;
    case 34: ON("movbe %1,(%0)\n crc32q (%0),%%rax\n popcnt (%0),%%rcx"); break;
    case 35: ON("mov %%rsp,%%rcx\n mov %0,%%rsp\n .byte 0xc8,0x00,0x10,0x1f\n mov %%rcx,%%rsp"); break; /* ENTER 0x1000, 31 */
    case 36: ON("verr (%0)\n lar (%0),%%eax\n lsl (%0),%%eax\n lldt (%0)"); break;
    case 37: ON("ltr (%0)"); break;
    case 38: ON("ldmxcsr (%0)\n stmxcsr (%0)\n fldcw (%0)\n fnstcw (%0)"); break;
    default: ON("adcq $5,(%0)\n shldq $5,%1,(%0)\n rclb $3,(%0)\n mulq (%0)\n divb (%0)"); break;
    }
}

static u32 config(u32 function, u32 reg) { outl(0xcf8, 0x80000000u | function << 11 | (reg & 0xfc)); return inl(0xcfc); }
static void configure(u32 function, u32 reg, u32 v) { outl(0xcf8, 0x80000000u | function << 11 | (reg & 0xfc)); outl(0xcfc, v); }

static void read_bars(void)
{
    for (u32 f = 0; f < 8; f++)
        for (u32 b = 0; b < 4; b += 2) {
            u32 low = config(f, 0x10 + 4 * b);
            u64 at = low & ~15u;
            at |= (low & 6) == 4 ? (u64)config(f, 0x14 + 4 * b) << 32 : 0;
            bars[f * 4 + b] = bars[f * 4 + b + 1] = at && at < 1ull << 39 ? at : 0xe0000000 + (f << 15);
        }
}

static void attack_pci(struct cpu *c)
{
    u32 f = (u32)below(c, 8), v = (u32)value(c);
    switch (below(c, 8)) {
    case 0: case 1: { /* a BAR over something */
        u64 at = place(c) & ~0xfffull;
        configure(f, 4, 7);
        configure(f, 0x10 + 8 * (u32)below(c, 3), (u32)at);
        configure(f, 0x14 + 8 * (u32)below(c, 3), below(c, 3) ? (u32)(at >> 32) : v);
        break;
    }
    case 2: configure(f, 0x10 + 8 * (u32)below(c, 3), 0xffffffff); configure(f, 0x14, 0xffffffff); break;
    case 3: configure(f, 4, below(c, 2) ? 6 : v); break;
    case 4: configure(f, 4 * (u32)below(c, 64), v); break;
    case 5: outl(0xcf8, (u32)value(c)); outl(0xcfc, v); break;
    case 6: w32(0xe0000000 + (f << 15) + 4 * below(c, 64), v); break;
    default: configure(f, 0x10, 0xc0000000u + f * 0x8000); configure(f, 0x14, 0); configure(f, 0x18, 0xc0100000u + f * 0x8000); configure(f, 0x1c, 0); configure(f, 4, 6); break;
    }
    if (!below(c, 4))
        read_bars();
}

/* A queue somewhere, with descriptors to everywhere, and a kick. */
static u64 ring(struct cpu *c) { return below(c, 6) ? SCRATCH + (below(c, 64) << 12) : place(c) & ~(below(c, 3) ? 15ull : 0); }

static void fill_ring(struct cpu *c, u64 at)
{
    if (at < SCRATCH || at > SCRATCH + 0x100000)
        return;
    for (u32 i = 0; i < 16; i++) {
        u64 d = at + 16 * i;
        w64(d, below(c, 3) ? SCRATCH + below(c, 0x100000) : below(c, 2) ? place(c) : value(c));
        w32(d + 8, below(c, 3) ? (u32)below(c, 70000) : (u32)value(c));
        w16(d + 12, (u16)below(c, 8));
        w16(d + 14, below(c, 9) ? (u16)below(c, 16) : (u16)value(c));
        if (!below(c, 3)) { /* a header of virtio-blk inside the table's page */
            w64(d, at + 2048);
            w32(d + 8, 16);
            w32(at + 2048, (u32)below(c, 16));
            w64(at + 2056, below(c, 4) ? below(c, 4096) : value(c));
        }
    }
}

static void attack_virtio(struct cpu *c)
{
    u64 b = bars[below(c, 32)], v = value(c);
    if (below(c, 3)) {
        static const u8 offsets[] = {0, 4, 8, 12, 0x10, 0x14, 0x16, 0x18, 0x1a, 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x30, 0x34, 0x3a};
        u64 at = b + offsets[below(c, sizeof offsets)];
        if (below(c, 2)) w32(at, (u32)v); else if (below(c, 2)) w16(at, (u16)v); else w8(at, (u8)v);
        w16(b + 0x3000 + 4 * below(c, 4), (u16)below(c, 4));
        return;
    }
    w8(b + 0x14, 0);
    w8(b + 0x14, 1);
    w8(b + 0x14, 3);
    w32(b, 1); w32(b + 8, 1); w32(b + 12, r32(b + 4) & (u32)(below(c, 3) ? ~0 : v));
    w32(b, 0); w32(b + 8, 0); w32(b + 12, r32(b + 4) & (u32)(below(c, 2) ? ~0 : next(c)));
    w8(b + 0x14, 11);
    for (u16 q = 0; q < 3; q++) {
        u64 desc = ring(c), avail = ring(c), used = ring(c);
        w16(b + 0x16, q);
        w16(b + 0x18, (u16)(below(c, 5) ? 1u << below(c, 9) : value(c)));
        w16(b + 0x1a, (u16)below(c, 4));
        fill_ring(c, desc);
        w32(b + 0x20, (u32)desc); w32(b + 0x24, (u32)(desc >> 32));
        w32(b + 0x28, (u32)avail); w32(b + 0x2c, (u32)(avail >> 32));
        w32(b + 0x30, (u32)used); w32(b + 0x34, (u32)(used >> 32));
        if (avail >= SCRATCH && avail < SCRATCH + 0x100000) {
            w16(avail, (u16)below(c, 2));
            for (u32 i = 0; i < 16; i++)
                w16(avail + 4 + 2 * i, (u16)(below(c, 9) ? below(c, 16) : value(c)));
            w16(avail + 2, (u16)(below(c, 9) ? below(c, 9) : value(c)));
        }
        w16(b + 0x1c, 1);
    }
    w8(b + 0x14, 15);
    for (u32 i = 0; i < 8; i++)
        w16(b + 0x3000 + 4 * below(c, 3), (u16)below(c, 3));
    if (!below(c, 4))
        w8(b + 0x14, 0); /* a reset under way */
}

static void attack_msix(struct cpu *c)
{
    u32 f = (u32)below(c, 8);
    for (u32 cap = config(f, 0x34) & 0xfc, n = 0; cap && n < 20; n++) {
        u32 head = config(f, cap);
        if ((head & 0xff) == 0x11)
            configure(f, cap, below(c, 4) ? 0x80000000u : (u32)value(c));
        cap = head >> 8 & 0xfc;
    }
    u64 table = bars[f * 4 + 2];
    for (u32 i = 0; i < 8; i++) {
        u64 e = table + 16 * below(c, 8);
        w32(e, below(c, 3) ? 0xfee00000u | (u32)(below(c, 256) << 12) | (u32)below(c, 16) : (u32)value(c));
        w32(e + 4, below(c, 3) ? 0 : (u32)value(c));
        w32(e + 8, (u32)value(c));
        w32(e + 12, (u32)below(c, 2));
    }
}

static void attack_msr(struct cpu *c)
{
    static const u32 bases[] = {0x10, 0x1b, 0x3a, 0x48, 0x8b, 0xc1, 0xfe, 0x122, 0x174, 0x179, 0x186, 0x1a0, 0x1d9, 0x200, 0x250, 0x277, 0x2ff, 0x400, 0x480, 0x6e0, 0x800, 0x808,
                                0x830, 0x838, 0xda0, 0x40000000, 0x40000020, 0x40000070, 0x400000f0, 0x4b564d00, 0x4b564d03, 0xc0000080, 0xc0000081, 0xc0000100, 0xc0000102,
                                0xc0000103, 0xc0010000, 0xc0010015, 0xc0011000};
    u32 i = below(c, 20) ? bases[below(c, sizeof bases / sizeof *bases)] + (u32)below(c, below(c, 2) ? 8 : 64) : (u32)value(c);
    if (i == 0x1b && below(c, 10))
        i = 0x830;
    if (below(c, 2))
        rdmsr(i);
    else if (i >= 0xc0000080 && i < 0xc0000084)
        wrmsr(i, rdmsr(i) ^ (below(c, 4) ? below(c, 2) : value(c)));
    else
        wrmsr(i, value(c));
}

static void attack_registers(struct cpu *c)
{
    u64 v = value(c), bit = 1ull << below(c, 34);
    switch (below(c, 12)) {
    case 0: if (!below(c, 20)) __asm__ volatile("mov %%cr0,%%rax\n xor %0,%%rax\n mov %%rax,%%cr0" : : "r"(bit) : "rax", "memory"); break;
    case 1: if (!below(c, 40)) __asm__ volatile("mov %0,%%cr3" : : "r"(v) : "memory"); break;
    case 2: __asm__ volatile("mov %%cr4,%%rax\n xor %0,%%rax\n mov %%rax,%%cr4" : : "r"(bit & ~0x20ull) : "rax", "memory"); break;
    case 3: __asm__ volatile("mov %0,%%cr8\n mov %%cr8,%%rax" : : "r"(v) : "rax"); break;
    case 4: __asm__ volatile("mov %0,%%dr0\n mov %0,%%dr1" : : "r"(place(c))); break;
    case 5: __asm__ volatile("mov %0,%%dr7\n mov %0,%%dr6" : : "r"(v & 0xffff0fff)); break;
    case 6: __asm__ volatile("xor %%ecx,%%ecx\n xsetbv" : : "a"((u32)v), "d"((u32)(v >> 32)) : "ecx"); break;
    case 7: __asm__ volatile("push %0\n popfq" : : "r"(v) : "memory", "cc"); break;
    case 8: { u32 a = (u32)v, b, cc = (u32)below(c, 40), d; if (below(c, 2)) a = (below(c, 2) ? 0x80000000u : below(c, 2) ? 0x40000000u : 0) + (u32)below(c, 40);
              __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(cc), "=d"(d)); break; }
    case 9: __asm__ volatile("mov %w0,%%ds\n mov %w0,%%es\n mov %w0,%%fs\n mov %w0,%%gs" : : "r"(v & 0x7f)); break;
    case 10: __asm__ volatile("vmcall" : : "a"(below(c, 20)), "b"(v), "c"(v), "d"(v), "S"(v)); break;
    default: __asm__ volatile("rdpmc\n rdtscp\n rdrand %%rax\n wbinvd\n swapgs\n monitor\n mwait" : : "a"(place(c)), "c"(0), "d"(0)); break;
    }
}

static void attack_ipis(struct cpu *c)
{
    u32 low = (u32)below(c, 1 << 20), modes[] = {0, 0, 0, 0x100, 0x200, 0x400, 0x400, 0x500, 0x600, 0x700};
    low = (low & 0xcc8ff) | (below(c, 20) ? modes[below(c, 7)] : modes[below(c, 10)]) | 0x4000;
    if ((low & 0x700) == 0x600)
        low = (low & ~0xc00ffu) | 0xc0000 | (below(c, 4) ? 0x08 : (u32)below(c, 256));
    w32(0xfee00310, (u32)value(c) << 24 | (u32)below(c, 4) << 24);
    w32(0xfee00300, low);
    if (!below(c, 3))
        wrmsr(0x830, (u64)below(c, 5) << 32 | low);
}

static void attack_timers(struct cpu *c)
{
    switch (below(c, 8)) {
    case 0: outb(0x43, 0x34 | (u8)(below(c, 6) << 1)); outb(0x40, (u8)below(c, 3)); outb(0x40, 0); break;
    case 1: outb(0x70, 0x0a); outb(0x71, (u8)(0x20 | below(c, 16))); outb(0x70, 0x0b); outb(0x71, (u8)(2 | 0x70)); outb(0x70, 0x0c); inb(0x71); break;
    case 2: w32(0xfee003e0, 11); w32(0xfee00320, 0x20000 | 0xfe); w32(0xfee00380, (u32)below(c, 5)); break;
    case 3: w32(0xfee00320, 0x40000 | 0xfe); wrmsr(0x6e0, below(c, 2) ? 1 : rdtsc() + below(c, 100)); break;
    case 4: outb(0x21, 0); outb(0xa1, 0); outb(0x20, 0x11); outb(0x21, 0x20); outb(0x21, 4); outb(0x21, below(c, 2) ? 3 : 1); outb(0x21, 0); break;
    case 5: w32(0xfec00000, 0x10 + 2 * (u32)below(c, 24)); w32(0xfec00010, (u32)value(c) & 0xf7ff); break;
    case 6: outb(0x602, 0xff); outb(0x603, 0xff); inl(0x608); break;
    default: w32(0xfee000f0, 0x1ff); w32(0xfee00350, (u32)value(c) & 0x1ffff); w32(0xfee00360, (u32)value(c)); break;
    }
}

/* Random code, or code that changes itself, at the border of a page or of RAM. */
static void attack_code(struct cpu *c)
{
    u64 at = below(c, 4) ? SCRATCH + 0x200000 + (below(c, 16) << 12) + 4096 - below(c, 40) : below(c, 2) ? 0x4000000 - 1 - below(c, 40) : place(c);
    int in_ram = at >= SCRATCH && at < 0x4000000;
    for (u32 i = 0; i < 64 && in_ram && at + i < 0x4000000; i++)
        w8(at + i, (u8)next(c));
    if (in_ram && !below(c, 3) && at + 24 < 0x4000000) { /* movb $imm,disp(%rip) over what follows, then what follows */
        w16(at, 0x05c6);
        w32(at + 2, (u32)below(c, 20) - 7);
        w8(at + 6, (u8)next(c));
    }
    w32(0xfee000f0, 0x1ff);
    w32(0xfee003e0, 0);
    w32(0xfee00320, 0x20000 | 0xfd); /* gets it back out of an endless loop */
    w32(0xfee00380, 300000);
    __asm__ volatile("mov %0,%%rax\n mov %1,%%rbx\n mov %2,%%rcx\n mov %3,%%rdx\n mov %4,%%rsi\n mov %4,%%rdi\n sti\n call *%%rax\n cli"
                     : : "r"(at), "r"(place(c)), "r"(value(c)), "r"((u64)port(c)), "r"(place(c)) : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "memory", "cc");
}

/* Page tables in MMIO, ROM and nowhere; what they map is used, for data and for code. */
static void attack_tables(struct cpu *c)
{
    u64 at = (2ull << 39) + (below(c, 512) << 30) + below(c, 1 << 30);
    wild_pdpt[at >> 30 & 511] = (place(c) & ~0xfffull) | (below(c, 2) ? 7 : value(c));
    if (below(c, 2)) { /* a table that maps tables in RAM */
        wild_pdpt[at >> 30 & 511] = (SCRATCH + 0x300000) | 7;
        w64(SCRATCH + 0x300000 + (at >> 21 & 511) * 8, (place(c) & ~0xfffull) | 7 | (below(c, 2) ? 0 : 0x80));
    }
    pml4[2] = below(c, 3) ? (u64)wild_pdpt | 7 : (place(c) & ~0xfffull) | 7;
    __asm__ volatile("mov %%cr3,%%rax\n mov %%rax,%%cr3" : : : "rax", "memory");
    if (below(c, 2)) (void)*(volatile u64 *)at; else if (below(c, 2)) w64(at, 1); else __asm__ volatile("call *%0" : : "r"(at) : "memory");
}

/* Resets by all ways but the triple fault, which ends the run. */
static void attack_reset(struct cpu *c)
{
    if (below(c, 30))
        return;
    switch (below(c, 3)) {
    case 0: outb(0xcf9, 2); outb(0xcf9, below(c, 2) ? 6 : 0xe); break;
    case 1: outb(0x64, 0xfe); break;
    default: outb(0x92, 1); break;
    }
}

static void (*const all[])(struct cpu *) = {
    attack_ports, attack_mmio_plain, attack_mmio_odd, attack_pci, attack_virtio, attack_msix, attack_msr,
    attack_registers, attack_ipis, attack_timers, attack_code, attack_tables, attack_reset,
};

/* ---- start and recovery --------------------------------------------------------------------------------------------------------------------------------- */

static void reload(struct cpu *c)
{
    struct { u16 limit; u64 base; } __attribute__((packed)) gdtr = {sizeof c->gdt - 1, (u64)c->gdt}, idtr = {sizeof idt - 1, (u64)idt};
    c->gdt[1] = 0x00af9b000000ffff;
    c->gdt[2] = 0x00cf93000000ffff;
    u64 base = (u64)c->tss;
    c->gdt[3] = 103 | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
    c->gdt[4] = base >> 32;
    __asm__ volatile("mov %2,%%cr3\n lgdt %0\n lidt %1\n ltr %w3\n mov %4,%%ds\n mov %4,%%es\n mov %4,%%ss\n mov %5,%%cr4\n clts"
                     : : "m"(gdtr), "m"(idtr), "r"((u64)pml4), "r"(24), "r"(16), "r"(0x40620ull) : "memory");
    __asm__ volatile("xor %%ecx,%%ecx\n mov $7,%%eax\n xor %%edx,%%edx\n xsetbv\n mov %0,%%dr7\n fninit\n cld" : : "r"(0ull) : "eax", "ecx", "edx");
}

__attribute__((used, noreturn)) void main_loop(u64 index)
{
    struct cpu *c = &cpus[index % CPUS];
    reload(c);
    wrmsr(0x1b, 0xfee00800 | (index ? 0 : 0x100));
    w32(0xfee000b0, 0);
    for (;;) {
        u64 which = below(c, sizeof all / sizeof *all);
        if (attacks >> which & 1)
            all[which](c);
        if (!below(c, 16))
            __asm__ volatile("sti\n nop\n nop\n cli");
        if (!below(c, 500)) { /* sleep, with a timer to wake by */
            w32(0xfee000f0, 0x1ff);
            w32(0xfee00320, 0xfc);
            w32(0xfee00380, 10000);
            __asm__ volatile("sti\n hlt\n cli");
        }
    }
}

__asm__(".globl _start, recover\n"
        "_start: cli\n mov %cr4,%rax\n or $0x40600,%rax\n mov %rax,%cr4\n lea stacks+32768(%rip),%rsp\n call start\n"
        "recover: cli\n cld\n mov $1,%eax\n cpuid\n shr $24,%ebx\n and $15,%ebx\n mov %ebx,%edi\n"
        " inc %ebx\n shl $15,%rbx\n lea stacks(%rip),%rsp\n add %rbx,%rsp\n call main_loop\n"
        /* Real mode to 64-bit mode for the other CPUs; copied to TRAMPOLINE. */
        ".code16\n.globl ap_start, ap_end\nap_start: cli\n xor %ax,%ax\n mov %ax,%ds\n lgdtl 0x8000+(ap_gdtr-ap_start)\n"
        " mov $0x40620,%eax\n mov %eax,%cr4\n mov 0x8000+(ap_cr3-ap_start),%eax\n mov %eax,%cr3\n"
        " mov $0xc0000080,%ecx\n mov $0x100,%eax\n xor %edx,%edx\n wrmsr\n mov $0x80000031,%eax\n mov %eax,%cr0\n"
        " ljmpl $8,$(0x8000+(ap_long-ap_start))\n"
        ".code64\nap_long: mov $16,%eax\n mov %eax,%ds\n mov %eax,%es\n mov %eax,%ss\n mov $recover,%rax\n jmp *%rax\n"
        ".balign 8\nap_gdt: .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff\nap_gdtr: .word 23\n .long 0x8000+(ap_gdt-ap_start)\n"
        ".globl ap_cr3\nap_cr3: .long 0\nap_end:\n");
extern u8 recover[], ap_start[], ap_end[], ap_cr3[];

static u64 parse(const volatile u8 **at)
{
    u64 v = 0;
    for (;; (*at)++) {
        u8 d = **at;
        if (d >= '0' && d <= '9') v = v << 4 | (u8)(d - '0');
        else if (d >= 'a' && d <= 'f') v = v << 4 | (u8)(d - 'a' + 10);
        else return v;
    }
}

__attribute__((used, noreturn)) void start(void)
{
    const volatile u8 *text = (const volatile u8 *)(u64)CMDLINE;
    u64 seed = parse(&text) ^ rdtsc() << 32;
    if (*text == ',')
        text++, attacks = parse(&text);
    for (u32 i = 0; i < 2048; i++)
        low_pd[i / 512][i % 512] = (u64)i << 21 | 0x87;
    for (u32 i = 0; i < 4; i++)
        pdpt[i] = (u64)low_pd[i] | 7;
    for (u64 i = 4; i < 512; i++)
        pdpt[i] = i << 30 | 0x87; /* 1 GiB pages */
    pml4[0] = (u64)pdpt | 7;
    for (u32 i = 0; i < 256; i++) {
        u64 h = (u64)recover;
        idt[2 * i] = (h & 0xffff) | 8 << 16 | 1ull << 32 | 0x8eull << 40 | (h >> 16 & 0xffff) << 48;
        idt[2 * i + 1] = h >> 32;
    }
    for (u32 i = 0; i < CPUS; i++) {
        cpus[i].random = (seed + i * 0x9e3779b97f4a7c15ull) | 1;
        w64((u64)cpus[i].tss + 36, (u64)stacks[i] + STACK / 2); /* IST1 */
        w64((u64)cpus[i].tss + 4, (u64)stacks[i] + STACK / 2);
    }
    read_bars();
    memcpy((void *)(u64)TRAMPOLINE, ap_start, (size_t)(ap_end - ap_start));
    w32(TRAMPOLINE + (u64)(ap_cr3 - ap_start), (u32)(u64)pml4);
    w32(0xfee000f0, 0x1ff);
    w32(0xfee00300, 0xc4500);
    for (volatile int i = 0; i < 10000; i++) { }
    w32(0xfee00300, 0xc4600 | TRAMPOLINE >> 12);
    for (volatile int i = 0; i < 10000; i++) { }
    main_loop(0);
}
