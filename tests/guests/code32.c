/* SPDX-License-Identifier: MIT */
/* code32: a 32-bit program for 64-bit kernels, without a library: integers of all sizes, calls, tables of functions, absolute addresses, thread-local data by GS,
 * strings, x87, MMX and SSE2, a signal handler, and code that it writes itself. Writes one line with a digest for each part; ROUNDS is its argument.
 * It is right when it writes the same on every CPU. Trusted: nothing. */
#include <stdint.h>

enum { SYS_EXIT = 1, SYS_WRITE = 4, SYS_SIGACTION = 67, SYS_SET_THREAD_AREA = 243, SYS_MMAP2 = 192, SYS_MPROTECT = 125 }; /* Linux, i386 */

static uint32_t call_kernel(uint32_t number, uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
}

static uint32_t call_kernel_6(uint32_t number, const uint32_t *six)
{
    uint32_t result;
    __asm__ volatile("push %%ebp; push %%ebx; mov (%%ecx), %%ebx; mov 8(%%ecx), %%edx; mov 12(%%ecx), %%esi; mov 16(%%ecx), %%edi; mov 20(%%ecx), %%ebp; mov 4(%%ecx), %%ecx;"
                     "int $0x80; pop %%ebx; pop %%ebp" : "=a"(result), "+c"(six) : "0"(number) : "memory", "edx", "esi", "edi");
    return result;
}

void *memset(void *to, int byte, __SIZE_TYPE__ n);
void *memcpy(void *to, const void *from, __SIZE_TYPE__ n);

void *memset(void *to, int byte, __SIZE_TYPE__ n)
{
    void *at = to;
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(byte) : "memory");
    return to;
}

void *memcpy(void *to, const void *from, __SIZE_TYPE__ n)
{
    void *at = to;
    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) : : "memory");
    return to;
}

static uint32_t digest_of(const void *bytes, unsigned n)
{
    const uint8_t *at = bytes;
    uint32_t digest = 2166136261u;
    while (n--)
        digest = (digest ^ *at++) * 16777619u; /* FNV-1a */
    return digest;
}

static void tell(const char *name, uint32_t digest)
{
    char line[40];
    unsigned n = 0;
    while (*name)
        line[n++] = *name++;
    line[n++] = ' ';
    for (int shift = 28; shift >= 0; shift -= 4)
        line[n++] = "0123456789abcdef"[digest >> shift & 15];
    line[n++] = '\n';
    call_kernel(SYS_WRITE, 1, (uint32_t)line, n);
}

static uint32_t random_next(uint32_t *seed) { return *seed = *seed * 1664525u + 1013904223u; }

/* ---- parts ------------------------------------------------------------------------------------------------------------------------------------------------------ */

static uint32_t table[1024];
static uint8_t bytes[4096];
static uint16_t words[512];

static uint32_t integers(unsigned rounds)
{
    uint32_t seed = 1, sum = 0;
    for (unsigned i = 0; i < rounds * 1000; i++) {
        uint32_t r = random_next(&seed);
        table[r & 1023] += r ^ (sum >> 3);
        bytes[r >> 20 & 4095] ^= (uint8_t)(sum + 3);
        words[r >> 12 & 511] = (uint16_t)(words[r & 511] * 5 + bytes[i & 4095]);
        uint64_t wide = (uint64_t)r * (sum | 1) + table[i & 1023];
        sum = (uint32_t)(wide >> 13) + (uint32_t)wide / ((r & 255) + 1) + (uint32_t)((int32_t)r % 77) + (r << (sum & 31) | r >> (31 - (sum & 31)));
    }
    return sum ^ digest_of(table, sizeof table) ^ digest_of(bytes, sizeof bytes) ^ digest_of(words, sizeof words);
}

static uint32_t __attribute__((noinline)) fibonacci(uint32_t n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
static uint32_t __attribute__((noinline)) twist(uint32_t v) { return v * 2654435761u ^ v >> 15; }
static uint32_t __attribute__((noinline, stdcall)) turn(uint32_t v, uint32_t by) { return v << (by & 31) | v >> ((32 - by) & 31); }
static uint32_t __attribute__((noinline)) turn_by_7(uint32_t v) { return turn(v, 7); }
static uint32_t __attribute__((noinline)) add_fibonacci(uint32_t v) { return v + fibonacci(v & 7); }

static uint32_t calls(unsigned rounds)
{
    static uint32_t (*const functions[])(uint32_t) = { twist, turn_by_7, add_fibonacci, fibonacci };
    uint32_t v = 12345;
    for (unsigned i = 0; i < rounds * 300; i++) {
        v = functions[v % 3](v);
        switch (v & 7) {
        case 0: v += 3; break;
        case 1: v ^= 0x55; break;
        case 2: v = ~v; break;
        case 3: v -= i; break;
        case 5: v = v << 1 | v >> 31; break;
        case 6: v += functions[3](i & 7); break;
        default: break;
        }
    }
    return v + fibonacci(15);
}

/* Encodings that 64-bit code has not, and what depends on addresses of 32 bits. */
static uint32_t encodings(unsigned rounds)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < rounds * 100; i++) {
        uint32_t a = i * 77, b = i ^ 0x1234, c = (uint32_t)table, count = i;
        __asm__ volatile("inc %0; dec %1; push %0; push %1; popl 4096(%2); pop %0; movl 4096(%2), %1; .byte 0x82, 0xc0, 0x11;" /* ADD AL, 0x11 */
                         "pusha; popa; add $-4096, %2; mov 4096(%2), %2; leal 0x7fffffff(%0,%1,4), %1; xor %1, %0; incl %1; decl %0"
                         : "+a"(a), "+b"(b), "+S"(c) : : "memory", "cc");
        __asm__ volatile("mov %%al, (bytes + 17); mov (table + 40), %%eax; add %%eax, %0; mov %%eax, (table + 44); aaa; das; xor %%eax, %0; jecxz 1f; loop 1f; 1:"
                         : "+r"(sum), "+a"(a), "+c"(count) : : "memory", "cc");
        uint32_t high = 0xffffff00u + (i & 15) * 4; /* base and displacement wrap around */
        __asm__ volatile("mov table + 0x100(%1), %0; add table + 0x100 - 0x80000000(,%2,1), %0" : "=&r"(a) : "r"(high), "r"(0x80000000u - 0x100 + (i & 15) * 4));
        sum += a + b * 3 + c;
    }
    return sum;
}

struct thread_area { uint32_t entry, base, limit, flags; };
static uint32_t thread_data[16];

/* Negative offsets from the segment's base, as C libraries have them. */
static uint32_t thread_local(unsigned rounds)
{
    struct thread_area area = { .entry = UINT32_MAX, .base = (uint32_t)(thread_data + 8), .limit = 0xfffff, .flags = 0x51 }; /* 32-bit, in pages, usable */
    uint32_t sum = 0;
    if (call_kernel(SYS_SET_THREAD_AREA, (uint32_t)&area, 0, 0))
        return 0;
    __asm__ volatile("mov %0, %%gs" : : "r"(area.entry * 8 + 3));
    for (unsigned i = 0; i < rounds * 200; i++) {
        uint32_t v;
        __asm__ volatile("add %1, %%gs:-8; mov %%gs:0xfffffff8, %0; xor %0, %%gs:12; mov %2, %%edx; mov %%gs:4(,%%edx,4), %%edx; add %%edx, %0"
                         : "=&r"(v) : "r"(i), "r"(i & 3) : "edx", "memory", "cc");
        sum += v;
    }
    return sum ^ digest_of(thread_data, sizeof thread_data);
}

static uint32_t strings(unsigned rounds)
{
    static uint8_t copy[4096 + 64];
    uint32_t sum = 0;
    for (unsigned i = 0; i < rounds; i++) {
        memcpy(copy + (i & 63), bytes, sizeof bytes);
        memset(copy + 100 + i % 1000, (int)i, 200);
        const uint8_t *at = copy;
        uint32_t left = 4000;
        __asm__ volatile("repne scasb" : "+D"(at), "+c"(left) : "a"((uint8_t)(i * 3)) : "cc", "memory");
        sum = sum * 31 + left + digest_of(copy, sizeof copy);
    }
    return sum;
}

static uint32_t floats(unsigned rounds)
{
    volatile double x = 0.7, y = 1.25;
    long double z = 0.001L;
    uint16_t control, chopped;
    int32_t n = 0, m;
    __asm__ volatile("fnstcw %0" : "=m"(control));
    chopped = control | 0xc00;
    for (unsigned i = 0; i < rounds * 100; i++) {
        x = x * 0.9990234375 + y / (i + 1);
        y = y - x * 0.001 + (double)(int32_t)(i * 2654435761u) / 4294967296.0;
        z = z * 1.0000001L + (long double)x;
        __asm__ volatile("fldcw %2; fldl %3; fistpl %0; fldcw %1" : "=m"(m) : "m"(control), "m"(chopped), "m"(y));
        n += m + (x < y) + (z > 3.0L);
    }
    double results[3] = { x, y, (double)z };
    return digest_of(results, sizeof results) + (uint32_t)n;
}

static uint32_t __attribute__((target("sse2"))) vectors(unsigned rounds)
{
    static uint32_t state[8] __attribute__((aligned(16))) = { 1, 2, 3, 4, 5, 6, 7, 8 };
    for (unsigned i = 0; i < rounds * 100; i++)
        __asm__ volatile("movdqa (%0), %%xmm1; paddd 16(%0), %%xmm1; pshufd $0x39, %%xmm1, %%xmm2; pxor (%0), %%xmm2; movdqa %%xmm2, (%0); movups %%xmm1, 16(%0);"
                         "movq (%0), %%mm1; paddw 8(%0), %%mm1; movq %%mm1, 24(%0); emms; cvtsi2sd %1, %%xmm3; addsd %%xmm3, %%xmm3; cvttsd2si %%xmm3, %%eax; add %%eax, 4(%0)"
                         : : "r"(state), "r"(i) : "eax", "xmm1", "xmm2", "xmm3", "memory", "cc");
    return digest_of(state, sizeof state);
}

static volatile uint32_t faults;
struct context { uint32_t signal, gs, fs, es, ds, edi, esi, ebp, esp, ebx, edx, ecx, eax, trap, error, eip; }; /* Linux, i386: struct sigcontext */
struct action { void (*handler)(struct context); uint32_t mask, flags; void *restorer; };

static void on_fault(struct context at)
{
    volatile struct context *c = &at;
    faults = faults * 5 + c->trap + (c->edx & 15);
    c->eip += 2; /* all of them are of two bytes */
}

static uint32_t signals(unsigned rounds)
{
    struct action action = { .handler = on_fault, .flags = 0x40000000 }; /* SA_NODEFER; the kernel brings the restorer */
    call_kernel(SYS_SIGACTION, 11, (uint32_t)&action, 0);
    call_kernel(SYS_SIGACTION, 8, (uint32_t)&action, 0);
    for (unsigned i = 0; i < rounds; i++) {
        __asm__ volatile("mov %0, %%edx; xor %%ecx, %%ecx; mov (%%ecx), %%eax" : : "r"(i) : "eax", "ecx", "edx", "memory", "cc");
        __asm__ volatile("xor %%edx, %%edx; div %%ecx" : : "c"(0), "a"(i) : "edx", "cc");
    }
    return faults;
}

static uint32_t own_code(unsigned rounds)
{
    const uint32_t six[6] = { 0, 4096, 7, 0x22, UINT32_MAX, 0 }; /* read, write, execute; private, anonymous */
    uint8_t *code = (uint8_t *)call_kernel_6(SYS_MMAP2, six);
    uint32_t sum = 0;
    if ((uint32_t)code > 0xfffff000u)
        return 0;
    for (unsigned i = 0; i < rounds * 10; i++) {
        const uint8_t text[] = { 0xb8, (uint8_t)i, (uint8_t)(i >> 8), 1, 0, 0x40, 0x03, 0x44, 0x24, 0x04, 0xc3 }; /* MOV EAX, n; INC EAX; ADD EAX, [ESP + 4]; RET */
        memcpy(code, text, sizeof text);
        sum = sum * 3 + ((uint32_t (*)(uint32_t))(uintptr_t)code)(i);
    }
    return sum;
}

static void __attribute__((used)) start(const uint32_t *stack)
{
    static const struct { const char *name; uint32_t (*part)(unsigned); } parts[] = {
        { "integers", integers }, { "calls", calls }, { "encodings", encodings }, { "thread-local", thread_local }, { "strings", strings }, { "floats", floats },
        { "vectors", vectors }, { "signals", signals }, { "own-code", own_code },
    };
    unsigned rounds = 0;
    for (const char *digit = stack[0] > 1 ? (const char *)stack[2] : "10"; *digit; digit++)
        rounds = rounds * 10 + (unsigned)(*digit - '0');
    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++)
        tell(parts[i].name, parts[i].part(rounds));
    call_kernel(SYS_EXIT, 0, 0, 0);
}

__asm__(".globl _start\n_start: mov %esp, %eax; and $-16, %esp; sub $12, %esp; push %eax; call start; hlt");
