/* SPDX-License-Identifier: MIT */
/* system.c - exec_system(): the instructions of the system architecture, by operation.
 *
 * What the guest sees: SDM volume 2. Checks come in its order: does the instruction exist in this mode (#UD), may this privilege level (#GP), then its own.
 * Far transfers are in transfer.c, segments in segment.c, control registers in control.c, ports in io.c, MSRs in msr.c, breakpoints in debug.c.
 * What is trusted: nothing. Locking: owner's thread.
 */
#include "base/random.h"
#include "cpu/control.h"
#include "cpu/cpuid.h"
#include "cpu/debug.h"
#include "cpu/engine.h"
#include "cpu/operand.h"
#include "cpu/segment.h"
#include "cpu/translate/translate.h"

/* ---- flags ------------------------------------------------------------------------------------------------------------------------------------------- */

static void require_iopl(struct cpu *cpu, bool v8086_only)
{
    if (cpu_is_real(cpu) || (v8086_only && !(cpu->state.rflags & FLAG_VM)))
        return;
    unsigned cpl = cpu->state.rflags & FLAG_VM ? 3 : cpu->state.cpl;
    if (cpl > cpu_iopl(cpu))
        cpu_raise_error(cpu, EXC_GP, 0);
}

static void exec_pushf(struct cpu *cpu, const struct insn *in)
{
    require_iopl(cpu, true);
    struct stack s = stack_now(cpu);
    stack_push(&s, cpu_flags_get(cpu) & ~(uint64_t)(FLAG_VM | FLAG_RF), in->opsize);
    stack_commit(&s);
}

static void exec_popf(struct cpu *cpu, const struct insn *in)
{
    require_iopl(cpu, true);
    struct stack s = stack_now(cpu);
    uint64_t value = stack_pop(&s, in->opsize), mask = FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_NT | FLAG_AC | FLAG_ID;
    bool v8086 = cpu_is_v8086(cpu);
    if (cpu_is_real(cpu) || cpu->state.cpl == 0)
        mask |= FLAG_IOPL;
    if (cpu_is_real(cpu) || v8086 || cpu->state.cpl <= cpu_iopl(cpu))
        mask |= FLAG_IF;
    if (in->opsize == 2)
        mask &= 0xffff;
    stack_commit(&s);
    uint64_t kept = cpu_flags_get(cpu) & ~mask & ~(uint64_t)FLAG_RF;
    cpu_flags_set(cpu, kept | (value & mask));
}

static void exec_sti(struct cpu *cpu)
{
    require_iopl(cpu, false);
    if (!(cpu->state.rflags & FLAG_IF) && !cpu->state.interrupt_shadow)
        cpu->state.interrupt_shadow = 1;
    cpu_flags_set(cpu, cpu_flags_get(cpu) | FLAG_IF);
}

static void exec_cli(struct cpu *cpu)
{
    require_iopl(cpu, false);
    cpu_flags_set(cpu, cpu_flags_get(cpu) & ~(uint64_t)FLAG_IF);
}

static void exec_ac(struct cpu *cpu, bool set)
{
    if (cpu->state.cpl)
        cpu_raise(cpu, EXC_UD);
    uint64_t flags = cpu_flags_get(cpu);
    cpu_flags_set(cpu, set ? flags | FLAG_AC : flags & ~(uint64_t)FLAG_AC);
}

/* ---- software interrupts ----------------------------------------------------------------------------------------------------------------------------------- */

static void exec_int(struct cpu *cpu, const struct insn *in)
{
    if (cpu_is_v8086(cpu) && cpu_iopl(cpu) < 3)
        cpu_raise_error(cpu, EXC_GP, 0);
    cpu_deliver(cpu, EVENT_SOFTWARE, (unsigned)in->imm & 0xff, false, 0);
}

/* Takes traps that MOV SS held back with it. */
static void exec_int1(struct cpu *cpu)
{
    uint64_t pending = cpu->state.pending_db;
    cpu_deliver(cpu, EVENT_PRIVILEGED_SOFTWARE, EXC_DB, false, 0);
    if (pending)
        cpu_debug_note(cpu, pending);
    cpu->state.pending_db = 0;
}

static void exec_into(struct cpu *cpu)
{
    if (cpu_flags_get(cpu) & FLAG_OF)
        cpu_deliver(cpu, EVENT_SOFTWARE, EXC_OF, false, 0);
}

/* ---- time, identity, randomness -------------------------------------------------------------------------------------------------------------------------------- */

static void set_edx_eax(struct cpu *cpu, uint64_t value)
{
    cpu->state.gpr[REG_RAX] = value & UINT32_MAX;
    cpu->state.gpr[REG_RDX] = value >> 32;
}

static void exec_rdtsc(struct cpu *cpu, const struct insn *in)
{
    if (cpu->state.cr4 & CR4_TSD && cpu->state.cpl)
        cpu_raise_error(cpu, EXC_GP, 0);
    set_edx_eax(cpu, translate_tsc(cpu));
    if (in->op == OP_RDTSCP)
        cpu->state.gpr[REG_RCX] = cpu->state.tsc_aux & UINT32_MAX;
}

static void exec_cpuid(struct cpu *cpu)
{
    uint32_t fn = (uint32_t)cpu->state.gpr[REG_RAX], sub = (uint32_t)cpu->state.gpr[REG_RCX], out[4];
    cpu_cpuid(cpu, fn, sub, out);
    if (cpu->trap_cpuid) {
        hy_exit prepared = { .reason = HY_EXIT_CPUID, .u.cpuid = { fn, sub, out[0], out[1], out[2], out[3] } };
        memcpy(out, cpu_exit_access(cpu, HY_EXIT_CPUID, fn | (uint64_t)sub << 32, 16, false, out, &prepared)->data, sizeof out);
    }
    cpu->state.gpr[REG_RAX] = out[0];
    cpu->state.gpr[REG_RBX] = out[1];
    cpu->state.gpr[REG_RCX] = out[2];
    cpu->state.gpr[REG_RDX] = out[3];
}

static void exec_random(struct cpu *cpu, const struct insn *in)
{
    uint64_t value = 0;
    bool ok = random_bytes(&value, sizeof value);
    gpr_set(cpu, in->opnd[0].reg, in->opsize, ok ? value : 0);
    cpu_flags_set_arith(cpu, ok ? FLAG_CF : 0);
}

/* ---- hypercalls ------------------------------------------------------------------------------------------------------------------------------------------------- */

/* Known to kernels only: elsewhere the instructions do not exist, as without a hypervisor. */
static void exec_call(struct cpu *cpu, const struct insn *in)
{
    const uint64_t *r = cpu->state.gpr;
    if (cpu->state.cpl)
        cpu_raise(cpu, EXC_UD);
    hy_exit prepared = { .reason = HY_EXIT_CALL };
    prepared.u.call.nr = r[REG_RAX];
    prepared.u.call.imm = in->op == OP_VMMCALL;
    const uint8_t order[] = { REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, REG_R8 };
    for (unsigned i = 0; i < ARRAY_LEN(order); i++)
        prepared.u.call.arg[i] = r[order[i]];
    cpu_exit_access(cpu, HY_EXIT_CALL, 0, 8, false, NULL, &prepared);
    cpu->state.gpr[REG_RAX] = cpu->exit.u.call.ret[0];
}

/* ---- monitor --------------------------------------------------------------------------------------------------------------------------------------------------------- */

static void exec_monitor(struct cpu *cpu, const struct insn *in)
{
    if (cpu->state.gpr[REG_RCX] & UINT32_MAX)
        cpu_raise_error(cpu, EXC_GP, 0);
    cpu_load8(cpu, cpu_linear(cpu, in->seg <= SEG_GS ? in->seg : SEG_DS, gpr_get(cpu, REG_RAX, in->asize), 1, MEM_R));
    cpu->state.monitor_armed = 1;
}

/* A store to the monitored line is not watched for, so MWAIT ends at once, which the SDM allows. */
static void exec_mwait(struct cpu *cpu)
{
    if (cpu->state.gpr[REG_RCX] & UINT32_MAX & ~UINT64_C(1))
        cpu_raise_error(cpu, EXC_GP, 0);
    cpu->state.monitor_armed = 0;
}

/* ---- dispatch ------------------------------------------------------------------------------------------------------------------------------------------------------------ */

/* Instructions that exist in protected mode outside v8086 only. */
static bool is_protected_only(unsigned op)
{
    switch (op) {
    case OP_LAR: case OP_LSL: case OP_VERR: case OP_VERW: case OP_ARPL: case OP_LLDT: case OP_LTR: case OP_SLDT: case OP_STR:
        return true;
    default:
        return false;
    }
}

static bool is_guarded_by_umip(unsigned op)
{
    return op == OP_SGDT || op == OP_SIDT || op == OP_SLDT || op == OP_SMSW || op == OP_STR;
}

static void check_level(struct cpu *cpu, const struct insn *in)
{
    if (is_protected_only(in->op) && cpu_is_flatly_addressed(cpu))
        cpu_raise(cpu, EXC_UD);
    if (!cpu->state.cpl)
        return;
    bool own = in->op == OP_XSETBV || in->op == OP_SYSRET || in->op == OP_SWAPGS || in->op == OP_CLAC || in->op == OP_STAC || in->op == OP_MONITOR ||
               in->op == OP_MWAIT; /* #UD goes before privilege */
    if (!own && insn_op_flags(in->op) & OPF_PRIVILEGED)
        cpu_raise_error(cpu, EXC_GP, 0);
    if (cpu->state.cr4 & CR4_UMIP && is_guarded_by_umip(in->op))
        cpu_raise_error(cpu, EXC_GP, 0);
}

static void exec_swapgs(struct cpu *cpu)
{
    if (cpu->mode != CPU_MODE_64)
        cpu_raise(cpu, EXC_UD);
    if (cpu->state.cpl)
        cpu_raise_error(cpu, EXC_GP, 0);
    uint64_t base = cpu->state.seg[SEG_GS].base;
    cpu->state.seg[SEG_GS].base = cpu->state.kernel_gs_base;
    cpu->state.kernel_gs_base = base;
}

/* False: not one of these. */
static bool exec_segments(struct cpu *cpu, const struct insn *in)
{
    switch (in->op) {
    case OP_MOV_SEG:  exec_mov_seg(cpu, in); return true;
    case OP_PUSH_SEG: exec_push_seg(cpu, in); return true;
    case OP_POP_SEG:  exec_pop_seg(cpu, in); return true;
    case OP_LDS: case OP_LES: case OP_LFS: case OP_LGS: case OP_LSS: exec_load_far(cpu, in); return true;
    case OP_LAR: case OP_LSL: exec_lar_lsl(cpu, in); return true;
    case OP_VERR: case OP_VERW: exec_verify(cpu, in); return true;
    case OP_ARPL:     exec_arpl(cpu, in); return true;
    case OP_LLDT:     exec_lldt(cpu, in); return true;
    case OP_LTR:      exec_ltr(cpu, in); return true;
    case OP_SLDT: case OP_STR: exec_sldt_str(cpu, in); return true;
    case OP_LGDT: case OP_LIDT: exec_load_table(cpu, in); return true;
    case OP_SGDT: case OP_SIDT: exec_store_table(cpu, in); return true;
    case OP_SWAPGS:   exec_swapgs(cpu); return true;
    case OP_RDFSBASE: case OP_RDGSBASE: case OP_WRFSBASE: case OP_WRGSBASE: exec_base(cpu, in); return true;
    default:          return false;
    }
}

static bool exec_transfers(struct cpu *cpu, const struct insn *in)
{
    switch (in->op) {
    case OP_CALL_FAR: exec_call_far(cpu, in); return true;
    case OP_JMP_FAR:  exec_jmp_far(cpu, in); return true;
    case OP_RET_FAR:  exec_ret_far(cpu, in); return true;
    case OP_IRET:     exec_iret(cpu, in); return true;
    case OP_SYSCALL:  exec_syscall(cpu); return true;
    case OP_SYSRET:   exec_sysret(cpu, in); return true;
    case OP_SYSENTER: exec_sysenter(cpu); return true;
    case OP_SYSEXIT:  exec_sysexit(cpu, in); return true;
    case OP_INT:      exec_int(cpu, in); return true;
    case OP_INT3:     cpu_deliver(cpu, EVENT_SOFTWARE, EXC_BP, false, 0); return true;
    case OP_INT1:     exec_int1(cpu); return true;
    case OP_INTO:     exec_into(cpu); return true;
    default:          return false;
    }
}

static bool exec_control(struct cpu *cpu, const struct insn *in)
{
    switch (in->op) {
    case OP_MOV_CR:  exec_mov_cr(cpu, in); return true;
    case OP_MOV_DR:  exec_mov_dr(cpu, in); return true;
    case OP_LMSW:    exec_lmsw(cpu, in); return true;
    case OP_SMSW:    exec_smsw(cpu, in); return true;
    case OP_CLTS:    control_write_cr0(cpu, cpu->state.cr0 & ~(uint64_t)CR0_TS); return true;
    case OP_INVLPG:  exec_invlpg(cpu, in); return true;
    case OP_INVPCID: exec_invpcid(cpu, in); return true;
    case OP_XSETBV:  exec_xsetbv(cpu); return true;
    case OP_XGETBV:  exec_xgetbv(cpu); return true;
    case OP_RDPKRU: case OP_WRPKRU: exec_pkru(cpu, in); return true;
    case OP_RDMSR:   exec_rdmsr(cpu); return true;
    case OP_WRMSR:   exec_wrmsr(cpu); return true;
    case OP_IN:      exec_in(cpu, in); return true;
    case OP_OUT:     exec_out(cpu, in); return true;
    case OP_INS:     exec_ins(cpu, in); return true;
    case OP_OUTS:    exec_outs(cpu, in); return true;
    default:         return false;
    }
}

static bool exec_others(struct cpu *cpu, const struct insn *in)
{
    switch (in->op) {
    case OP_PUSHF: exec_pushf(cpu, in); return true;
    case OP_POPF:  exec_popf(cpu, in); return true;
    case OP_STI:   exec_sti(cpu); return true;
    case OP_CLI:   exec_cli(cpu); return true;
    case OP_CLAC: case OP_STAC: exec_ac(cpu, in->op == OP_STAC); return true;
    case OP_HLT:   cpu->state.halted = 1; return true;
    case OP_CPUID: exec_cpuid(cpu); return true;
    case OP_RDTSC: case OP_RDTSCP: exec_rdtsc(cpu, in); return true;
    case OP_RDPID: gpr_set(cpu, in->opnd[0].reg, cpu->mode == CPU_MODE_64 ? 8 : 4, cpu->state.tsc_aux); return true;
    case OP_RDPMC: cpu_raise_error(cpu, EXC_GP, 0); /* there are no counters */
    case OP_RDRAND: case OP_RDSEED: exec_random(cpu, in); return true;
    case OP_VMCALL: case OP_VMMCALL: exec_call(cpu, in); return true;
    case OP_MONITOR: case OP_MWAIT:
        if (cpu->state.cpl)
            cpu_raise(cpu, EXC_UD);
        if (in->op == OP_MONITOR)
            exec_monitor(cpu, in);
        else
            exec_mwait(cpu);
        return true;
    case OP_INVD: case OP_WBINVD: case OP_SERIALIZE: return true;
    default: return false;
    }
}

void exec_system(struct cpu *cpu, const struct insn *in)
{
    check_level(cpu, in);
    if (!exec_others(cpu, in) && !exec_control(cpu, in) && !exec_transfers(cpu, in) && !exec_segments(cpu, in))
        cpu_raise(cpu, EXC_UD); /* UD0..2, RSM outside SMM, GETSEC, VMX, SVM */
}
