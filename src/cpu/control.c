/* SPDX-License-Identifier: MIT */
/* control.c - control registers, descriptor-table registers, translation invalidation, extended control, FS and GS bases, protection keys.
 *
 * What the guest sees: the checks of SDM volume 3, 2.5 and 4.1 to 4.10, volume 2 (MOV CR, INVPCID, XSETBV ...), entry to and exit from long mode.
 * What is trusted: nothing. Locking: owner's thread.
 */
#include "cpu/control.h"

#include "apic/apic.h"
#include "cpu/cpuid.h"
#include "cpu/decode.h"
#include "cpu/mmu_private.h"
#include "cpu/operand.h"
#include "cpu/segment.h"
#include "cpu/xsave.h"

static _Noreturn void general_protection(struct cpu *cpu) { cpu_raise_error(cpu, EXC_GP, 0); }

/* ---- CR0, CR3, CR4, EFER ---------------------------------------------------------------------------------------------------------------------------------- */

static bool is_pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return cr0 & CR0_PG && cr4 & CR4_PAE && !(efer & EFER_LME);
}

uint64_t control_read_pdptes(struct cpu *cpu, uint64_t cr3, uint64_t pdpte[4])
{
    uint64_t refused = UINT64_MAX;
    for (unsigned i = 0; i < 4; i++) {
        struct mem_page page;
        uint64_t at = (cr3 & 0xffffffe0) + i * 8;
        enum mem_refusal refusal = mmu_find(cpu, at, MEM_R, &page);
        pdpte[i] = refusal == MEM_GRANTED ? *(const volatile host_u64 *)(page.host + (at & 0xfff)) : 0;
        if (refusal == MEM_PROTECTED || refusal == MEM_DENIED)
            refused = at;
    }
    return refused;
}

bool control_load_pdptes(struct cpu *cpu, uint64_t cr3)
{
    uint64_t pdpte[4], refused = control_read_pdptes(cpu, cr3, pdpte);
    uint64_t reserved = bits_get(UINT64_MAX, 63, cpu_phys_bits(cpu)) << cpu_phys_bits(cpu) | 0x1e6; /* SDM table 4-8 */
    if (refused != UINT64_MAX)
        mmu_leave_fault(cpu, refused, MEM_R);
    for (unsigned i = 0; i < 4; i++) {
        if (pdpte[i] & 1 && pdpte[i] & reserved)
            return false;
    }
    memcpy(cpu->state.pdpte, pdpte, sizeof pdpte);
    return true;
}

static void check_cr0(struct cpu *cpu, uint64_t value)
{
    const struct cpu_state *s = &cpu->state;
    if (value >> 32 || (value & CR0_NW && !(value & CR0_CD)) || (value & CR0_PG && !(value & CR0_PE)))
        general_protection(cpu);
    bool on = value & CR0_PG && !(s->cr0 & CR0_PG), off = !(value & CR0_PG) && s->cr0 & CR0_PG;
    if (on && s->efer & EFER_LME && (!(s->cr4 & CR4_PAE) || s->seg[SEG_CS].attributes & SEG_L))
        general_protection(cpu);
    if (off && (cpu->mode == CPU_MODE_64 || s->cr4 & CR4_PCIDE))
        general_protection(cpu);
}

void control_write_cr0(struct cpu *cpu, uint64_t value)
{
    struct cpu_state *s = &cpu->state;
    check_cr0(cpu, value);
    value = (value & CR0_VALID) | CR0_ET;
    uint64_t changed = value ^ s->cr0;
    if (is_pae_paging(value, s->cr4, s->efer) && changed & (CR0_PG | CR0_CD | CR0_NW) && !control_load_pdptes(cpu, s->cr3))
        general_protection(cpu);
    if (changed & CR0_PG)
        s->efer = value & CR0_PG && s->efer & EFER_LME ? s->efer | EFER_LMA : s->efer & ~(uint64_t)EFER_LMA;
    s->cr0 = value;
    if (changed & (CR0_PG | CR0_WP | CR0_PE))
        cpu_tlb_flush_all(cpu);
    cpu_state_changed(cpu);
}

void control_write_cr3(struct cpu *cpu, uint64_t value)
{
    struct cpu_state *s = &cpu->state;
    bool pcids = cpu->long_mode && s->cr4 & CR4_PCIDE, keep = pcids && value & BIT(63);
    if (keep)
        value &= ~BIT(63);
    if (cpu->long_mode ? value >> cpu_phys_bits(cpu) : value >> 32)
        general_protection(cpu);
    if (is_pae_paging(s->cr0, s->cr4, s->efer) && !control_load_pdptes(cpu, value))
        general_protection(cpu);
    uint64_t old = s->cr3;
    s->cr3 = value;
    if (pcids)
        cpu_tlb_switch(cpu, old, value, keep);
    else
        cpu_tlb_flush_nonglobal(cpu);
}

void control_load_cr3(struct cpu *cpu, uint32_t value)
{
    if (is_pae_paging(cpu->state.cr0, cpu->state.cr4, cpu->state.efer) && !control_load_pdptes(cpu, value))
        general_protection(cpu);
    cpu->state.cr3 = value;
    cpu_tlb_flush_nonglobal(cpu);
}

void control_write_cr4(struct cpu *cpu, uint64_t value)
{
    struct cpu_state *s = &cpu->state;
    uint64_t changed = value ^ s->cr4;
    if (value & ~cpu->cpuid->cr4_valid)
        general_protection(cpu);
    if (cpu->long_mode && !(value & CR4_PAE))
        general_protection(cpu);
    if (changed & value & CR4_PCIDE && (!cpu->long_mode || s->cr3 & 0xfff))
        general_protection(cpu);
    if (is_pae_paging(s->cr0, value, s->efer) && changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP) && !control_load_pdptes(cpu, s->cr3))
        general_protection(cpu);
    s->cr4 = value;
    if (changed & (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_PKS))
        cpu_tlb_flush_all(cpu);
    cpu_state_changed(cpu);
}

bool control_write_efer(struct cpu *cpu, uint64_t value)
{
    struct cpu_state *s = &cpu->state;
    uint64_t valid = EFER_VALID;
    if (!cpuid_bit(cpu, 0x80000001, 0, 3, 29))
        valid &= ~(uint64_t)(EFER_LME | EFER_LMA);
    if (!cpuid_bit(cpu, 0x80000001, 0, 3, 20))
        valid &= ~(uint64_t)EFER_NXE;
    if (!cpu_has(cpu, FEATURE_SYSCALL))
        valid &= ~(uint64_t)EFER_SCE;
    if (value & ~valid || (s->cr0 & CR0_PG && (value ^ s->efer) & EFER_LME))
        return false;
    value = (value & ~(uint64_t)EFER_LMA) | (s->efer & EFER_LMA);
    uint64_t changed = value ^ s->efer;
    s->efer = value;
    if (changed & EFER_NXE)
        cpu_tlb_flush_all(cpu);
    cpu_state_changed(cpu);
    return true;
}

uint64_t cpu_get_cr8(const struct cpu *cpu)
{
    return cpu->apic ? apic_get_cr8(cpu->apic) : cpu->state.cr8;
}

void cpu_set_cr8(struct cpu *cpu, uint64_t value)
{
    cpu->state.cr8 = value & 15;
    if (cpu->apic) {
        apic_set_cr8(cpu->apic, value & 15);
        cpu_request(cpu, CPU_REQ_INTERRUPT);
    }
}

static uint64_t read_cr(struct cpu *cpu, unsigned cr)
{
    switch (cr) {
    case 0:  return cpu->state.cr0;
    case 2:  return cpu->state.cr2;
    case 3:  return cpu->state.cr3;
    case 4:  return cpu->state.cr4;
    case 8:  return cpu_get_cr8(cpu);
    default: cpu_raise(cpu, EXC_UD);
    }
}

static void write_cr(struct cpu *cpu, unsigned cr, uint64_t value)
{
    switch (cr) {
    case 0:  control_write_cr0(cpu, value); break;
    case 2:  cpu->state.cr2 = value; break;
    case 3:  control_write_cr3(cpu, value); break;
    case 4:  control_write_cr4(cpu, value); break;
    case 8:
        if (value & ~UINT64_C(15))
            general_protection(cpu);
        cpu_set_cr8(cpu, value);
        break;
    default: cpu_raise(cpu, EXC_UD);
    }
}

void exec_mov_cr(struct cpu *cpu, const struct insn *in)
{
    bool wide = cpu->mode == CPU_MODE_64;
    if (in->opnd[0].kind == OPND_CR) {
        uint64_t value = cpu->state.gpr[in->opnd[1].reg];
        write_cr(cpu, in->opnd[0].reg, wide ? value : value & UINT32_MAX);
    } else {
        uint64_t value = read_cr(cpu, in->opnd[1].reg);
        cpu->state.gpr[in->opnd[0].reg] = wide ? value : value & UINT32_MAX;
    }
}

void exec_lmsw(struct cpu *cpu, const struct insn *in)
{
    uint64_t value = operand_read(cpu, in, 0, 2) & 15;
    control_write_cr0(cpu, (cpu->state.cr0 & ~UINT64_C(14)) | value); /* PE can be set, not cleared */
}

void exec_smsw(struct cpu *cpu, const struct insn *in)
{
    operand_write(cpu, in, 0, in->opnd[0].kind == OPND_GPR ? in->opsize : 2, cpu->state.cr0);
}

/* ---- GDTR and IDTR -------------------------------------------------------------------------------------------------------------------------------------------- */

void exec_load_table(struct cpu *cpu, const struct insn *in)
{
    bool wide = cpu->mode == CPU_MODE_64;
    uint64_t linear = operand_linear(cpu, in, wide ? 10 : 6, MEM_R);
    uint16_t limit = cpu_load16(cpu, linear);
    uint64_t base = wide ? cpu_load64(cpu, linear + 2) : cpu_load32(cpu, linear + 2);
    if (wide ? !is_canonical48(base) : false)
        general_protection(cpu);
    if (!wide && in->opsize == 2)
        base &= 0xffffff;
    struct cpu_segment *table = in->op == OP_LGDT ? &cpu->state.gdtr : &cpu->state.idtr;
    table->base = base;
    table->limit = limit;
}

void exec_store_table(struct cpu *cpu, const struct insn *in)
{
    bool wide = cpu->mode == CPU_MODE_64;
    const struct cpu_segment *table = in->op == OP_SGDT ? &cpu->state.gdtr : &cpu->state.idtr;
    uint8_t image[10];
    store_le16(image, (uint16_t)table->limit);
    store_le64(image + 2, table->base);
    size_t len = wide ? 10 : 6;
    cpu_store_bytes(cpu, operand_linear(cpu, in, len, MEM_W), image, len);
}

/* ---- invalidation ---------------------------------------------------------------------------------------------------------------------------------------------- */

void exec_invlpg(struct cpu *cpu, const struct insn *in)
{
    uint64_t linear = operand_offset(cpu, in);
    if (cpu->mode != CPU_MODE_64)
        linear = (linear + cpu->state.seg[in->seg].base) & UINT32_MAX;
    else if (in->seg == SEG_FS || in->seg == SEG_GS)
        linear += cpu->state.seg[in->seg].base;
    if (cpu->mode != CPU_MODE_64 || is_canonical48(linear))
        cpu_tlb_flush_page(cpu, linear);
}

void exec_invpcid(struct cpu *cpu, const struct insn *in)
{
    uint64_t type = cpu->mode == CPU_MODE_64 ? cpu->state.gpr[in->opnd[0].reg] : cpu->state.gpr[in->opnd[0].reg] & UINT32_MAX;
    uint8_t descriptor[16];
    uint64_t at = operand_linear(cpu, in, 16, MEM_R);
    if (type > 3)
        general_protection(cpu);
    cpu_load_bytes(cpu, at, descriptor, 16);
    uint64_t pcid = load_le64(descriptor), linear = load_le64(descriptor + 8);
    bool no_pcids = !(cpu->state.cr4 & CR4_PCIDE);
    if (type < 2 && (pcid >> 12 || (pcid && no_pcids)))
        general_protection(cpu);
    if (type == 0 && !is_canonical48(linear))
        general_protection(cpu);
    if (type >= 2 && pcid >> 12)
        general_protection(cpu);
    if (type == 0 && pcid == (no_pcids ? 0 : cpu->state.cr3 & 0xfff))
        cpu_tlb_flush_page(cpu, linear);
    else if (type < 2)
        cpu_tlb_flush_pcid(cpu, (unsigned)pcid);
    else if (type == 2)
        cpu_tlb_flush_all(cpu);
    else
        cpu_tlb_flush_nonglobal(cpu);
}

/* ---- XCR0, bases, protection keys --------------------------------------------------------------------------------------------------------------------------------- */

void exec_xsetbv(struct cpu *cpu)
{
    if (!(cpu->state.cr4 & CR4_OSXSAVE))
        cpu_raise(cpu, EXC_UD);
    uint64_t value = (uint32_t)cpu->state.gpr[REG_RAX] | cpu->state.gpr[REG_RDX] << 32;
    uint64_t valid = 0;
    for (unsigned i = 0; i < 32; i++)
        valid |= cpuid_bit(cpu, 0xd, 0, 0, i) ? BIT(i) : 0;
    if (!cpu_has(cpu, FEATURE_AVX512F))
        valid &= ~(uint64_t)XCR0_ZMM;
    if (cpu->state.cpl || (uint32_t)cpu->state.gpr[REG_RCX] || value & ~valid || !xcr0_is_consistent(value))
        general_protection(cpu);
    cpu->state.xcr0 = value;
    cpu_state_changed(cpu);
}

void exec_xgetbv(struct cpu *cpu)
{
    uint32_t index = (uint32_t)cpu->state.gpr[REG_RCX];
    if (!(cpu->state.cr4 & CR4_OSXSAVE))
        cpu_raise(cpu, EXC_UD);
    if (index > 1)
        general_protection(cpu);
    uint64_t value = cpu->state.xcr0 & (index ? xsave_in_use(cpu) : UINT64_MAX);
    cpu->state.gpr[REG_RAX] = value & UINT32_MAX;
    cpu->state.gpr[REG_RDX] = value >> 32;
}

void exec_base(struct cpu *cpu, const struct insn *in)
{
    if (cpu->mode != CPU_MODE_64 || !(cpu->state.cr4 & CR4_FSGSBASE))
        cpu_raise(cpu, EXC_UD);
    uint64_t *base = &cpu->state.seg[in->op == OP_RDFSBASE || in->op == OP_WRFSBASE ? SEG_FS : SEG_GS].base;
    if (in->op == OP_RDFSBASE || in->op == OP_RDGSBASE) {
        gpr_set(cpu, in->opnd[0].reg, in->opsize, *base);
        return;
    }
    uint64_t value = gpr_get(cpu, in->opnd[0].reg, in->opsize);
    if (!is_canonical48(value))
        general_protection(cpu);
    *base = value;
}

void cpu_set_pkru(struct cpu *cpu, uint32_t value)
{
    uint32_t changed = cpu->state.pkru ^ value;
    cpu->state.pkru = value;
    if (changed)
        cpu_tlb_flush_keys(cpu, changed, true);
}

void cpu_set_pkrs(struct cpu *cpu, uint32_t value)
{
    uint32_t changed = cpu->state.pkrs ^ value;
    cpu->state.pkrs = value;
    if (changed)
        cpu_tlb_flush_keys(cpu, changed, false);
}

void exec_pkru(struct cpu *cpu, const struct insn *in)
{
    if (!(cpu->state.cr4 & CR4_PKE))
        cpu_raise(cpu, EXC_UD);
    bool write = in->op == OP_WRPKRU;
    if ((uint32_t)cpu->state.gpr[REG_RCX] || (write && (uint32_t)cpu->state.gpr[REG_RDX]))
        general_protection(cpu);
    if (write) {
        cpu_set_pkru(cpu, (uint32_t)cpu->state.gpr[REG_RAX]);
    } else {
        cpu->state.gpr[REG_RAX] = cpu->state.pkru;
        cpu->state.gpr[REG_RDX] = 0;
    }
}
