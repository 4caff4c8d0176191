/* SPDX-License-Identifier: MIT */
/* cpuid.c - the CPUID of the software CPU: an Ice Lake server, without AVX-512 unless asked for, and with nothing that is not implemented.
 *
 * Family 6, model 6AH, and ARCH_CAPABILITIES (msr.c) say that the machine has none of the known leaks, so that kernels use no mitigations: there is no
 * speculation here. ERMS and FSRM are told because string instructions are fast. The TSC frequency is told exactly, so nobody calibrates.
 * AVX-512 is told only when the embedder adds its bits, and the host has it (translate/host_run.h): a VM with it cannot go everywhere.
 * What is trusted: the table comes from the embedder, not from the guest. Locking: the table is fixed while the vCPU runs.
 * Spec: SDM volume 2, CPUID; leaf 0DH volume 1, 13.2.
 */
#include "cpu/cpuid.h"

#include <stdlib.h>

#include "apic/apic.h"
#include "cpu/translate/host_run.h"
#include "cpu/xsave.h"

enum { EAX, EBX, ECX, EDX };

/* Bits that enable instructions. `dependent` features have no bit of their own that could be masked (they follow the row). */
struct feature_row { uint32_t fn; uint8_t sub, reg, bit, feature; };
static const struct feature_row feature_rows[] = {
    { 1, 0, EDX, 0, FEATURE_FPU }, { 1, 0, EDX, 8, FEATURE_CX8 }, { 1, 0, EDX, 11, FEATURE_SEP }, { 1, 0, EDX, 15, FEATURE_CMOV },
    { 1, 0, EDX, 19, FEATURE_CLFSH }, { 1, 0, EDX, 23, FEATURE_MMX }, { 1, 0, EDX, 24, FEATURE_FXSR }, { 1, 0, EDX, 25, FEATURE_SSE },
    { 1, 0, EDX, 26, FEATURE_SSE2 }, { 1, 0, ECX, 0, FEATURE_SSE3 }, { 1, 0, ECX, 1, FEATURE_PCLMULQDQ }, { 1, 0, ECX, 3, FEATURE_MONITOR },
    { 1, 0, ECX, 9, FEATURE_SSSE3 }, { 1, 0, ECX, 12, FEATURE_FMA }, { 1, 0, ECX, 13, FEATURE_CX16 }, { 1, 0, ECX, 19, FEATURE_SSE41 },
    { 1, 0, ECX, 20, FEATURE_SSE42 }, { 1, 0, ECX, 22, FEATURE_MOVBE }, { 1, 0, ECX, 23, FEATURE_POPCNT }, { 1, 0, ECX, 25, FEATURE_AES },
    { 1, 0, ECX, 26, FEATURE_XSAVE }, { 1, 0, ECX, 28, FEATURE_AVX }, { 1, 0, ECX, 29, FEATURE_F16C }, { 1, 0, ECX, 30, FEATURE_RDRAND },
    { 7, 0, EBX, 0, FEATURE_FSGSBASE }, { 7, 0, EBX, 3, FEATURE_BMI1 }, { 7, 0, EBX, 5, FEATURE_AVX2 }, { 7, 0, EBX, 8, FEATURE_BMI2 },
    { 7, 0, EBX, 10, FEATURE_INVPCID }, { 7, 0, EBX, 18, FEATURE_RDSEED }, { 7, 0, EBX, 19, FEATURE_ADX }, { 7, 0, EBX, 20, FEATURE_SMAP },
    { 7, 0, EBX, 23, FEATURE_CLFLUSHOPT }, { 7, 0, EBX, 24, FEATURE_CLWB }, { 7, 0, EBX, 29, FEATURE_SHA }, { 7, 0, ECX, 3, FEATURE_PKU },
    { 7, 0, ECX, 9, FEATURE_VAES }, { 7, 0, ECX, 10, FEATURE_VPCLMULQDQ }, { 7, 0, ECX, 22, FEATURE_RDPID }, { 7, 0, EDX, 14, FEATURE_SERIALIZE },
    { 7, 0, EBX, 16, FEATURE_AVX512F }, { 7, 0, EBX, 17, FEATURE_AVX512DQ }, { 7, 0, EBX, 21, FEATURE_AVX512IFMA }, { 7, 0, EBX, 28, FEATURE_AVX512CD },
    { 7, 0, EBX, 30, FEATURE_AVX512BW }, { 7, 0, ECX, 1, FEATURE_AVX512VBMI }, { 7, 0, ECX, 6, FEATURE_AVX512VBMI2 }, { 7, 0, ECX, 11, FEATURE_AVX512VNNI },
    { 7, 0, ECX, 12, FEATURE_AVX512BITALG }, { 7, 0, ECX, 14, FEATURE_AVX512VPOPCNTDQ }, { 7, 1, EAX, 5, FEATURE_AVX512BF16 },
    { 0xd, 1, EAX, 0, FEATURE_XSAVEOPT }, { 0xd, 1, EAX, 1, FEATURE_XSAVEC }, { 0xd, 1, EAX, 3, FEATURE_XSAVES },
    { 0x80000001, 0, ECX, 5, FEATURE_LZCNT }, { 0x80000001, 0, ECX, 8, FEATURE_PREFETCHW }, { 0x80000001, 0, EDX, 11, FEATURE_SYSCALL },
    { 0x80000001, 0, EDX, 27, FEATURE_RDTSCP },
};

/* CR4 bits that exist only with a feature bit. */
struct cr4_row { uint64_t bits; uint32_t fn; uint8_t reg, bit; };
static const struct cr4_row cr4_rows[] = {
    { CR4_VME | CR4_PVI, 1, EDX, 1 }, { CR4_DE, 1, EDX, 2 }, { CR4_PSE, 1, EDX, 3 }, { CR4_TSD, 1, EDX, 4 }, { CR4_PAE, 1, EDX, 6 }, { CR4_MCE, 1, EDX, 7 },
    { CR4_PGE, 1, EDX, 13 }, { CR4_OSFXSR, 1, EDX, 24 }, { CR4_OSXMMEXCPT, 1, EDX, 25 }, { CR4_PCIDE, 1, ECX, 17 }, { CR4_OSXSAVE, 1, ECX, 26 },
    { CR4_FSGSBASE, 7, EBX, 0 }, { CR4_SMEP, 7, EBX, 7 }, { CR4_SMAP, 7, EBX, 20 }, { CR4_UMIP, 7, ECX, 2 }, { CR4_PKE, 7, ECX, 3 }, { CR4_PKS, 7, ECX, 31 },
};

/* Words of the feature leaves as implemented: what may be told. Bits that enable no instruction and cost nothing to claim may be added by the embedder. */
enum {
    L1_EDX = 0x0f8bfbff & ~0x2 /* VME */, /* FPU DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2 SS */
    L1_ECX = 1 << 0 | 1 << 1 | 1 << 9 | 1 << 12 | 1 << 13 | 1 << 17 /* PCID */ | 1 << 19 | 1 << 20 | 1 << 21 /* x2APIC */ | 1 << 22 | 1 << 23 |
             1 << 24 /* TSC deadline */ | 1 << 25 | 1 << 26 | 1 << 28 | 1 << 29 | 1 << 30,
    L7_EBX = 1 << 0 | 1 << 1 /* TSC_ADJUST */ | 1 << 3 | 1 << 5 | 1 << 6 /* FDP on exceptions only */ | 1 << 7 /* SMEP */ |
             1 << 8 | 1 << 9 /* ERMS */ | 1 << 10 | 1 << 13 /* no FCS, FDS */ | 1 << 18 | 1 << 19 | 1 << 20 |
             1 << 23 | 1 << 24 | 1 << 29,
    L7_ECX_LOW = 1 << 2 /* UMIP */ | 1 << 3 | 1 << 9 | 1 << 10 | 1 << 22,
    L7_EDX = 1 << 4 /* FSRM */ | 1 << 14 | 1 << 26 /* IBRS, IBPB */ | 1 << 27 /* STIBP */ | 1 << 29 /* ARCH_CAPABILITIES */,
    L7_2_EDX = 1 << 4, /* BHI_CTRL: SPEC_CTRL.BHI_DIS_S, else kernels clear the branch history in software at every system call */
    EXT_ECX = 1 << 0 /* LAHF */ | 1 << 5 | 1 << 8,
    EXT_EDX = 1 << 11 | 1 << 20 /* NX */ | 1 << 26 /* 1 GiB pages */ | 1 << 27 | 1 << 29 /* LM */,
};
#define L7_ECX           ((uint32_t)L7_ECX_LOW | UINT32_C(1) << 31 /* PKS */)
#define CPUID_HYPERVISOR (UINT32_C(1) << 31) /* leaf 1 ECX, always told: there is one */
#define SIGNATURE        0x606a6
#define PHYS_BITS        46

struct table { struct hy_cpuid *out; size_t count, capacity; };

static void add(struct table *t, uint32_t fn, int sub, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    if (t->count < t->capacity)
        t->out[t->count] = (struct hy_cpuid){ fn, sub < 0 ? 0 : (uint32_t)sub, sub >= 0, eax, ebx, ecx, edx };
    t->count++;
}

static void add_text(struct table *t, uint32_t fn, const char text[16])
{
    add(t, fn, -1, load_le32(text), load_le32(text + 4), load_le32(text + 8), load_le32(text + 12));
}

/* Leaf 4: `kind` 1 data, 2 instruction, 3 unified; 64-byte lines. */
static void add_cache(struct table *t, int sub, unsigned kind, unsigned level, uint32_t kib, uint32_t ways, uint32_t sharing, uint32_t cores)
{
    uint32_t sets = kib * 1024 / 64 / ways;
    add(t, 4, sub, kind | level << 5 | 1 << 8 | (sharing - 1) << 14 | (cores - 1) << 26, 63 | (ways - 1) << 22, sets - 1, 0);
}

uint32_t cpuid_crystal_hz(uint64_t tsc_hz)
{
    /* Linux keeps the crystal in kHz, and multiplies it in 32 bits: a small ratio and a whole number of kHz. */
    for (uint32_t ratio = 200; ratio > 1; ratio--) {
        if (tsc_hz % ratio == 0 && tsc_hz / ratio % 1000 == 0)
            return (uint32_t)(tsc_hz / ratio);
    }
    for (uint32_t ratio = 200; ratio > 1; ratio--) {
        if (tsc_hz % ratio == 0 && tsc_hz / ratio <= UINT32_MAX)
            return (uint32_t)(tsc_hz / ratio);
    }
    return tsc_hz <= UINT32_MAX ? (uint32_t)tsc_hz : (uint32_t)(tsc_hz / 2);
}

static uint32_t next_power_of_two(uint32_t v)
{
    uint32_t p = 1;
    while (p < v)
        p <<= 1;
    return p;
}

static void add_basic(struct table *t, uint32_t cpus, uint64_t tsc_hz, bool apic)
{
    uint32_t ids = next_power_of_two(cpus), mhz = (uint32_t)(tsc_hz / 1000000), crystal = cpuid_crystal_hz(tsc_hz);
    uint32_t sharing = ids > 64 ? 64 : ids; /* leaf 4 has 6 bits for cores */
    add(t, 0, -1, 0x16, 0x756e6547, 0x6c65746e, 0x49656e69); /* "GenuineIntel" */
    add(t, 1, -1, SIGNATURE, (ids > 255 ? 255 : ids) << 16 | 8 << 8, (L1_ECX & ~(apic ? 0u : 1u << 21 | 1u << 24)) | CPUID_HYPERVISOR,
        (L1_EDX & ~(apic ? 0u : 1u << 9)) | (cpus > 1 ? 1u << 28 : 0));
    add(t, 2, -1, 0x00feff01, 0xf0, 0, 0); /* see leaf 4; 64-byte prefetch */
    add_cache(t, 0, 1, 1, 32, 8, 1, sharing);
    add_cache(t, 1, 2, 1, 32, 8, 1, sharing);
    add_cache(t, 2, 3, 2, 1024, 16, 1, sharing);
    add_cache(t, 3, 3, 3, 16384, 16, ids, sharing);
    add(t, 4, 4, 0, 0, 0, 0);
    add(t, 6, -1, 1 << 2 /* ARAT: the APIC timer always runs */, 0, 0, 0);
    add(t, 7, 0, 2, L7_EBX, L7_ECX, L7_EDX);
    add(t, 7, 1, 0, 0, 0, 0);
    add(t, 7, 2, 0, 0, 0, L7_2_EDX);
    add(t, 0xb, 0, 0, 1, 0 | 1 << 8, 0);
    unsigned shift = (unsigned)__builtin_ctz(ids);
    add(t, 0xb, 1, shift, cpus, 1 | 2 << 8, 0);
    add(t, 0xb, 2, 0, 0, 2, 0);
    add(t, 0xd, 0, (uint32_t)XSAVE_COMPONENTS, 0, xsave_standard_size(XSAVE_COMPONENTS & ~(uint64_t)XCR0_ZMM, false), 0);
    add(t, 0xd, 1, 0xf /* XSAVEOPT, XSAVEC, XGETBV 1, XSAVES */, 0, 0, 0);
    add(t, 0xd, 2, XSAVE_AVX_SIZE, XSAVE_AVX_OFFSET, 0, 0);
    add(t, 0xd, 5, XSAVE_OPMASK_SIZE, XSAVE_OPMASK_OFFSET, 0, 0); /* of what is not told libhy takes these away */
    add(t, 0xd, 6, XSAVE_ZMM_HIGH_SIZE, XSAVE_ZMM_HIGH_OFFSET, 0, 0);
    add(t, 0xd, 7, XSAVE_ZMM16_SIZE, XSAVE_ZMM16_OFFSET, 0, 0);
    add(t, 0xd, 9, XSAVE_PKRU_SIZE, XSAVE_PKRU_OFFSET, 0, 0);
    add(t, 0x15, -1, 1, (uint32_t)(tsc_hz / crystal), crystal, 0);
    add(t, 0x16, -1, mhz, mhz, 100, 0);
}

size_t cpuid_defaults(uint32_t cpus, uint64_t tsc_hz, bool apic, struct hy_cpuid *out, size_t capacity)
{
    struct table t = { out, 0, capacity };
    cpus = cpus ? cpus : 1;
    tsc_hz = tsc_hz ? tsc_hz : 1000000000;
    add_basic(&t, cpus, tsc_hz, apic);
    add(&t, 0x80000000, -1, 0x80000008, 0, 0, 0);
    add(&t, 0x80000001, -1, 0, 0, EXT_ECX, EXT_EDX);
    add_text(&t, 0x80000002, "Mezzanine softwa");
    add_text(&t, 0x80000003, "re x86-64 CPU\0\0\0");
    add_text(&t, 0x80000004, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    add(&t, 0x80000006, -1, 0, 0, 1024u << 16 | 8 << 12 | 64, 0);
    add(&t, 0x80000007, -1, 0, 0, 0, 1 << 8 /* invariant TSC */);
    add(&t, 0x80000008, -1, 48 << 8 | PHYS_BITS, 0, 0, 0);
    return t.count;
}

/* ---- one vCPU's table ------------------------------------------------------------------------------------------------------------------------------------ */

static struct hy_cpuid *find(const struct cpu_cpuid *c, uint32_t fn, uint32_t sub)
{
    for (uint32_t i = 0; i < c->count; i++) {
        const struct hy_cpuid *l = &c->leaf[i];
        if (l->fn == fn && (!l->has_sub || l->sub == sub))
            return (struct hy_cpuid *)l;
    }
    return NULL;
}

static uint32_t word(const struct hy_cpuid *l, unsigned reg)
{
    return reg == EAX ? l->eax : reg == EBX ? l->ebx : reg == ECX ? l->ecx : l->edx;
}

bool cpuid_bit(const struct cpu *cpu, uint32_t fn, uint32_t sub, unsigned reg, unsigned bit)
{
    const struct hy_cpuid *l = find(cpu->cpuid, fn, sub);
    return l && word(l, reg) >> bit & 1;
}

bool cpuid_wants_avx512(const struct hy_cpuid *leaves, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (leaves[i].fn == 7 && leaves[i].sub == 0 && leaves[i].ebx >> 16 & 1)
            return true;
    return false;
}

/* Bits of the leaf's words that are there if the host has them. */
static void host_bits(const struct cpu *cpu, const struct hy_cpuid *l, uint32_t words[4])
{
    uint64_t features[4];
    host_run_features(cpu, features);
    memset(words, 0, 4 * sizeof *words);
    for (unsigned i = 0; i < ARRAY_LEN(feature_rows); i++) {
        const struct feature_row *r = &feature_rows[i];
        if (r->fn == l->fn && r->sub == l->sub && features[r->feature / 64] >> r->feature % 64 & 1)
            words[r->reg] |= 1u << r->bit;
    }
    if (l->fn == 7 && l->sub == 0 && cpu->host_runner)
        words[EBX] |= 1u << 31; /* VL */
}

/* Drops what is not implemented. */
static void restrict_leaf(const struct cpu *cpu, struct hy_cpuid *l)
{
    uint32_t host[4];
    host_bits(cpu, l, host);
    if (l->fn == 1) {
        l->ecx &= L1_ECX | CPUID_HYPERVISOR | 1u << 3 /* MONITOR */;
        l->edx &= L1_EDX | 1u << 28;
    } else if (l->fn == 7 && l->sub == 0) {
        l->eax = l->eax > 2 ? 2 : l->eax;
        l->ebx &= L7_EBX | host[EBX];
        l->ecx &= L7_ECX | host[ECX];
        l->edx &= L7_EDX;
        if (l->ebx >> 16 & 1) /* with AVX-512F the EVEX forms of VAES and VPCLMULQDQ exist too, which the host must have */
            l->ecx &= ~(1u << 9 | 1u << 10) | host[ECX];
    } else if (l->fn == 7) {
        l->eax &= host[EAX];
        l->ebx = l->ecx = 0;
        l->edx &= l->sub == 2 ? L7_2_EDX : 0;
    } else if (l->fn == 0xd && l->sub == 0) {
        l->eax &= (uint32_t)XSAVE_COMPONENTS;
        l->edx = 0;
    } else if (l->fn == 0xd && l->sub == 1) {
        l->eax &= 0xf;
        l->ecx = l->edx = 0;
    } else if (l->fn == 0x80000001) {
        l->ecx &= EXT_ECX;
        l->edx &= EXT_EDX;
    }
}

static void derive(struct cpu *cpu, struct cpu_cpuid *c)
{
    memset(cpu->features, 0, sizeof cpu->features);
    cpu->features[0] |= BIT(FEATURE_BASE);
    for (unsigned i = 0; i < ARRAY_LEN(feature_rows); i++) {
        const struct feature_row *r = &feature_rows[i];
        if (cpuid_bit(cpu, r->fn, r->sub, r->reg, r->bit))
            cpu->features[r->feature / 64] |= BIT(r->feature % 64);
    }
    c->cr4_valid = CR4_PCE;
    for (unsigned i = 0; i < ARRAY_LEN(cr4_rows); i++) {
        if (cpuid_bit(cpu, cr4_rows[i].fn, 0, cr4_rows[i].reg, cr4_rows[i].bit))
            c->cr4_valid |= cr4_rows[i].bits;
    }
    const struct hy_cpuid *size = find(c, 0x80000008, 0);
    unsigned bits = size ? size->eax & 0xff : 36;
    c->phys_bits = (uint8_t)(bits < 32 ? 32 : bits > MEM_GPA_BITS ? MEM_GPA_BITS : bits);
}

void cpuid_features(void (*leaf)(uint32_t fn, uint32_t sub, uint32_t out[4]), uint64_t features[4])
{
    memset(features, 0, 4 * sizeof *features);
    features[0] = BIT(FEATURE_BASE);
    for (size_t i = 0; i < ARRAY_LEN(feature_rows); i++) {
        const struct feature_row *row = &feature_rows[i];
        uint32_t out[4];
        leaf(row->fn, row->sub, out);
        if (out[row->reg] >> row->bit & 1)
            features[row->feature / 64] |= BIT(row->feature % 64);
    }
}

int cpu_cpuid_set(struct cpu *cpu, const struct hy_cpuid *leaves, size_t n, struct err *err)
{
    struct cpu_cpuid *c = (struct cpu_cpuid *)cpu->cpuid;
    for (size_t i = 0; i < n; i++) {
        struct hy_cpuid *l = find(c, leaves[i].fn, leaves[i].sub);
        if (!l) {
            if (c->count == CPUID_LEAVES_MAX)
                return err_set(err, ERR_USAGE, "more than %d CPUID leaves", CPUID_LEAVES_MAX);
            l = &c->leaf[c->count++];
        }
        *l = leaves[i];
        restrict_leaf(cpu, l);
    }
    derive(cpu, c);
    cpu_state_changed(cpu);
    return 0;
}

int cpuid_new(struct cpu *cpu, struct err *err)
{
    struct cpu_cpuid *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(err, ERR_HOST, "no memory for the CPUID table of vCPU %u", cpu->index);
    c->count = (uint32_t)cpuid_defaults(cpu->vm->cpu_count, cpu->vm->tsc_hz, cpu->vm->apic_bus != NULL, c->leaf, CPUID_LEAVES_MAX);
    cpu->cpuid = c;
    derive(cpu, c);
    return 0;
}

void cpuid_free(struct cpu *cpu)
{
    free((struct cpu_cpuid *)cpu->cpuid);
    cpu->cpuid = NULL;
}

/* ---- the instruction ---------------------------------------------------------------------------------------------------------------------------------------- */

static void make_dynamic(struct cpu *cpu, uint32_t fn, uint32_t sub, uint32_t out[4])
{
    uint32_t id = cpu->apic ? apic_id(cpu->apic) : cpu->index;
    switch (fn) {
    case 1:
        out[EBX] = (out[EBX] & 0x00ffffff) | cpu->index << 24;
        out[ECX] = (out[ECX] & ~(1u << 27)) | (cpu->state.cr4 & CR4_OSXSAVE ? 1u << 27 : 0);
        if (cpu->apic && !apic_is_enabled(cpu->apic))
            out[EDX] &= ~(1u << 9);
        break;
    case 7:
        if (sub == 0)
            out[ECX] = (out[ECX] & ~(1u << 4)) | (cpu->state.cr4 & CR4_PKE ? 1u << 4 : 0);
        break;
    case 0xb:
    case 0x1f:
        out[ECX] = (out[ECX] & ~0xffu) | (sub & 0xff);
        out[EDX] = id;
        break;
    case 0xd: {
        bool avx512 = cpu_has(cpu, FEATURE_AVX512F);
        if (sub >= 5 && sub <= 7 && !avx512)
            memset(out, 0, 4 * sizeof *out);
        if (sub == 9 && out[EAX])
            out[EBX] = avx512 ? XSAVE_PKRU_BEHIND_ZMM : XSAVE_PKRU_OFFSET;
        if (sub == 0) {
            out[EAX] &= ~(uint32_t)(avx512 ? 0 : XCR0_ZMM);
            out[EBX] = xsave_standard_size(cpu->state.xcr0, avx512);
            out[ECX] = xsave_standard_size(out[EAX], avx512);
        }
        if (sub == 1)
            out[EBX] = out[EAX] & (1 << 1 | 1 << 3) ? xsave_compacted_size(cpu->state.xcr0 | cpu->state.xss) : 0;
        break;
    }
    default:
        break;
    }
}

void cpu_cpuid(struct cpu *cpu, uint32_t fn, uint32_t sub, uint32_t out[4])
{
    const struct hy_cpuid *l = find(cpu->cpuid, fn, sub);
    if (!l && (fn < 0x40000000 || fn > 0x4fffffff)) {
        /* Beyond the last leaf of its range: the last basic leaf answers (SDM, CPUID). */
        const struct hy_cpuid *top = find(cpu->cpuid, fn & 0x80000000, 0);
        const struct hy_cpuid *basic = find(cpu->cpuid, 0, 0);
        if (basic && (!top || fn > top->eax))
            l = find(cpu->cpuid, basic->eax, sub);
    }
    out[EAX] = l ? l->eax : 0;
    out[EBX] = l ? l->ebx : 0;
    out[ECX] = l ? l->ecx : 0;
    out[EDX] = l ? l->edx : 0;
    if (l || fn == 0xb)
        make_dynamic(cpu, l ? l->fn : fn, sub, out);
}
