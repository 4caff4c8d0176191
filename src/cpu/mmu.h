/* SPDX-License-Identifier: MIT */
/* mmu.h - guest memory as instructions see it: the inline fast paths over the software TLB (contract in cpu.h).
 *
 * Fast path: index, one tag compare that also catches page crossing, one host access. Everything else (miss, crossing, device, alignment check, data
 * breakpoint) is in mmu.c and leaves by longjmp when it faults or needs an answer from outside.
 * A store is a host store followed by a test of the page's flag byte (memory.h: writers).
 *
 * `linear` is already truncated to 32 bits outside 64-bit mode. Owner's thread only.
 */
#ifndef CPU_MMU_H
#define CPU_MMU_H

#include "cpu/cpu.h"
#include "cpu/decode.h" /* enum cpu_mode */

#define TLB_PAGE_MASK (~UINT64_C(0xfff))

/* Bits of tlb_entry.info, below the guest-physical page. */
enum {
    TLB_INFO_GLOBAL = 1 << 0, TLB_INFO_LARGE = 1 << 1 /* 2 or 4 MiB */, TLB_INFO_HUGE = 1 << 2 /* 1 GiB */, TLB_INFO_USER = 1 << 3,
    TLB_INFO_KEY_SHIFT = 4 /* protection key, 4 bits */, TLB_INFO_LISTED = 1 << 8 /* in the list of filled entries, for what is not global */,
    TLB_INFO_LISTED_GLOBAL = 1 << 9 /* in the list for global translations */, TLB_INFO_LISTS = TLB_INFO_LISTED | TLB_INFO_LISTED_GLOBAL,
};

/* Bit 0 of the page number goes into the index as it is, so that two neighbouring pages never share an entry: the tag compare of the last byte relies on it. */
static inline struct tlb_entry *cpu_tlb_at(struct tlb_entry *tlb, uint64_t linear)
{
    return (struct tlb_entry *)((char *)tlb + ((linear >> 6 & (TLB_ENTRIES - 1) * 64) ^ (linear >> 15 & (TLB_ENTRIES - 2) * 64)));
}
_Static_assert(sizeof(struct tlb_entry) == 64, "cpu_tlb_at() scales by 64");

static inline struct tlb_entry *cpu_tlb_entry(struct cpu *cpu, uint64_t linear)
{
    return cpu_tlb_at(cpu->tlb, linear);
}

/* ---- slow paths (mmu.c) ----------------------------------------------------------------------------------------------------------------------- */

uint64_t cpu_load_slow(struct cpu *, unsigned rights, uint64_t linear, unsigned size);                 /* size 1..8: a value, little-endian */
void     cpu_store_slow(struct cpu *, unsigned rights, uint64_t linear, uint64_t value, unsigned size);
void     cpu_load_bytes_slow(struct cpu *, unsigned rights, uint64_t linear, void *out, size_t len);   /* len <= 4096 */
void     cpu_store_bytes_slow(struct cpu *, unsigned rights, uint64_t linear, const void *data, size_t len);
/* A store to the page of `entry` found its flag byte set. */
void     cpu_store_noticed(struct cpu *, const struct tlb_entry *, uint64_t linear, size_t len);
void    *cpu_rmw_begin_slow(struct cpu *, uint64_t linear, size_t len);
/* Faults as a write (cpu_probe_write) or a read of [linear, linear + len) would; changes nothing but accessed and dirty bits. */
void     cpu_probe(struct cpu *, unsigned rights, uint64_t linear, size_t len, uint32_t access);
const struct tlb_entry *cpu_fetch_page_slow(struct cpu *, uint64_t linear);

/* The rights of a data access made at `cpl`, by present CR4 and RFLAGS.AC, without alignment checks. */
unsigned cpu_rights_at(const struct cpu *, unsigned cpl);
/* Implicit supervisor accesses (SDM 4.6.1): SMAP holds whatever RFLAGS.AC says. */
static inline unsigned cpu_rights_system(const struct cpu *cpu)
{
    return cpu->state.cr4 & CR4_SMAP ? TLB_SUPERVISOR_SMAP : TLB_SUPERVISOR;
}

/* ---- the host side of an access ----------------------------------------------------------------------------------------------------------------
 * volatile: one host instruction of that width, neither torn, merged nor repeated by the compiler. */

typedef uint8_t  host_u8  __attribute__((may_alias));
typedef uint16_t host_u16 __attribute__((may_alias, aligned(1)));
typedef uint32_t host_u32 __attribute__((may_alias, aligned(1)));
typedef uint64_t host_u64 __attribute__((may_alias, aligned(1)));

/* After a store through `entry`: its page may be decoded code, or clean in a dirty log. */
static inline void cpu_store_after(struct cpu *cpu, const struct tlb_entry *entry, uint64_t linear, size_t len)
{
    atomic_signal_fence(memory_order_seq_cst);
    if (unlikely(atomic_load_explicit(entry->flags, memory_order_relaxed)))
        cpu_store_noticed(cpu, entry, linear, len);
}

/* ---- fast paths --------------------------------------------------------------------------------------------------------------------------------- */

#define CPU_ACCESS(bits)                                                                                               \
    static inline uint##bits##_t cpu_load##bits(struct cpu *cpu, uint64_t linear)                                      \
    {                                                                                                                  \
        const struct tlb_entry *e = cpu_tlb_entry(cpu, linear);                                                        \
        if (likely(((linear + (bits / 8 - 1)) & TLB_PAGE_MASK) == e->read_tag))                                        \
            return *(const volatile host_u##bits *)(uintptr_t)(linear + e->addend);                                    \
        return (uint##bits##_t)cpu_load_slow(cpu, cpu->rights, linear, bits / 8);                                      \
    }                                                                                                                  \
    static inline void cpu_store##bits(struct cpu *cpu, uint64_t linear, uint##bits##_t value)                         \
    {                                                                                                                  \
        const struct tlb_entry *e = cpu_tlb_entry(cpu, linear);                                                        \
        if (likely(((linear + (bits / 8 - 1)) & TLB_PAGE_MASK) == e->write_tag)) {                                     \
            *(volatile host_u##bits *)(uintptr_t)(linear + e->addend) = value;                                         \
            cpu_store_after(cpu, e, linear, bits / 8);                                                                 \
        } else {                                                                                                       \
            cpu_store_slow(cpu, cpu->rights, linear, value, bits / 8);                                                 \
        }                                                                                                              \
    }                                                                                                                  \
    static inline uint##bits##_t cpu_load_system##bits(struct cpu *cpu, uint64_t linear)                               \
    {                                                                                                                  \
        const struct tlb_entry *e = cpu_tlb_at(cpu->tlbs[cpu_rights_system(cpu)], linear);                             \
        if (likely(((linear + (bits / 8 - 1)) & TLB_PAGE_MASK) == e->read_tag))                                        \
            return *(const volatile host_u##bits *)(uintptr_t)(linear + e->addend);                                    \
        return (uint##bits##_t)cpu_load_slow(cpu, cpu_rights_system(cpu), linear, bits / 8);                           \
    }                                                                                                                  \
    static inline void cpu_store_system##bits(struct cpu *cpu, uint64_t linear, uint##bits##_t value)                  \
    {                                                                                                                  \
        cpu_store_slow(cpu, cpu_rights_system(cpu), linear, value, bits / 8);                                          \
    }
CPU_ACCESS(8)
CPU_ACCESS(16)
CPU_ACCESS(32)
CPU_ACCESS(64)
#undef CPU_ACCESS

static inline void cpu_load_bytes(struct cpu *cpu, uint64_t linear, void *out, size_t len)
{
    const struct tlb_entry *e = cpu_tlb_entry(cpu, linear);
    if (likely(len && ((linear + len - 1) & TLB_PAGE_MASK) == e->read_tag))
        memcpy(out, (const void *)(uintptr_t)(linear + e->addend), len);
    else
        cpu_load_bytes_slow(cpu, cpu->rights, linear, out, len);
}

static inline void cpu_store_bytes(struct cpu *cpu, uint64_t linear, const void *data, size_t len)
{
    const struct tlb_entry *e = cpu_tlb_entry(cpu, linear);
    if (likely(len && ((linear + len - 1) & TLB_PAGE_MASK) == e->write_tag)) {
        memcpy((void *)(uintptr_t)(linear + e->addend), data, len);
        cpu_store_after(cpu, e, linear, len);
    } else {
        cpu_store_bytes_slow(cpu, cpu->rights, linear, data, len);
    }
}

static inline void cpu_probe_write(struct cpu *cpu, uint64_t linear, size_t len)
{
    if (unlikely(((linear + len - 1) & TLB_PAGE_MASK) != cpu_tlb_entry(cpu, linear)->write_tag))
        cpu_probe(cpu, cpu->rights, linear, len, MEM_W);
}

/* The host address of [linear, linear + len) for one atomic read-modify-write, write rights checked; NULL when it is a device, crosses a page or is
 * watched by a data breakpoint: then the caller loads and stores under its lock (both succeed or leave: cpu_probe_write() first). */
static inline void *cpu_rmw_begin(struct cpu *cpu, uint64_t linear, size_t len)
{
    const struct tlb_entry *e = cpu_tlb_entry(cpu, linear);
    if (likely(((linear + len - 1) & TLB_PAGE_MASK) == e->write_tag && (linear & TLB_PAGE_MASK) == e->read_tag))
        return (void *)(uintptr_t)(linear + e->addend);
    return cpu_rmw_begin_slow(cpu, linear, len);
}

/* After the write through cpu_rmw_begin()'s pointer. Not needed when nothing was written. */
static inline void cpu_rmw_end(struct cpu *cpu, uint64_t linear, size_t len)
{
    cpu_store_after(cpu, cpu_tlb_at(cpu->tlbs[cpu->rights == TLB_USER_ALIGNED ? TLB_USER : cpu->rights], linear), linear, len);
}

/* An entry whose exec_tag matches the page of `linear`: host bytes at linear + addend, block and offset of the page. Raises #PF, or leaves with
 * HY_EXIT_FAULT when the page is not memory or may not be executed. Valid until the next TLB flush or fill: copy what is needed. */
static inline const struct tlb_entry *cpu_fetch_page(struct cpu *cpu, uint64_t linear)
{
    const struct tlb_entry *e = cpu_tlb_entry(cpu, linear);
    return likely((linear & TLB_PAGE_MASK) == e->exec_tag) ? e : cpu_fetch_page_slow(cpu, linear);
}

static inline bool is_canonical48(uint64_t linear) { return (uint64_t)((int64_t)(linear << 16) >> 16) == linear; }

/* The alignment check (SDM vol. 3, 6.15 #AC) for operands whose accesses do not show their kind by their size. */
static inline void cpu_check_alignment(struct cpu *cpu, uint64_t linear, unsigned align)
{
    if (unlikely(cpu->rights == TLB_USER_ALIGNED) && linear & (align - 1))
        cpu_raise_error(cpu, EXC_AC, 0);
}

/* The rights of the running code for accesses that are never checked for alignment: gathers, masked moves. */
static inline unsigned cpu_rights_unaligned(const struct cpu *cpu)
{
    return cpu->rights == TLB_USER_ALIGNED ? TLB_USER : cpu->rights;
}

/* ---- segmentation (segment.c) -------------------------------------------------------------------------------------------------------------------- */

/* The linear address of [offset, offset + len) in segment `seg` (enum SEG_*) for `access` (MEM_R, MEM_W bits; 0: no access rights, as for INVLPG in
 * legacy modes; MEM_UNALIGNED beside them: an access that is never checked for alignment): unusable segment, type, limit and canonical checks, #GP(0) or
 * #SS(0), and #AC where only the last byte is not canonical. `offset` is already truncated to the address size. */
enum { MEM_UNALIGNED = 1 << 8 };
uint64_t cpu_linear(struct cpu *, unsigned seg, uint64_t offset, size_t len, uint32_t access);

#endif
