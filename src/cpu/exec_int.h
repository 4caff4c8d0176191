/* SPDX-License-Identifier: MIT */
/* exec_int.h - inside exec_integer(): one function for each group of operations, and read-modify-write of operands. */
#ifndef CPU_EXEC_INT_H
#define CPU_EXEC_INT_H

#include "cpu/decode.h"
#include "cpu/engine.h"
#include "cpu/int_ops.h"

typedef void exec_int_fn(struct cpu *, const struct insn *);

/* X(function, operations of insn_ops.def that it executes ...) */
#define EXEC_INT_GROUPS(X) \
    X(exec_alu, ADC, ADD, AND, CMP, OR, SBB, SUB, TEST, XOR, INC, DEC, NEG, NOT) \
    X(exec_shift, ROL, ROR, RCL, RCR, SHL, SHR, SAR) X(exec_shift_double, SHLD, SHRD) X(exec_shift_x, SHLX, SHRX, SARX, RORX) \
    X(exec_mul, MUL, IMUL, MULX) X(exec_div, DIV, IDIV) X(exec_bit_test, BT, BTC, BTR, BTS) \
    X(exec_bit_count, BSF, BSR, LZCNT, TZCNT, POPCNT) X(exec_bmi, ANDN, BEXTR, BLSI, BLSMSK, BLSR, BZHI, PDEP, PEXT) X(exec_adx, ADCX, ADOX) \
    X(exec_crc32, CRC32) X(exec_bswap, BSWAP) X(exec_bcd, AAA, AAD, AAM, AAS, DAA, DAS) \
    X(exec_mov, MOV, MOVNTI, MOVZX) X(exec_movsx, MOVSX, MOVSXD) X(exec_movbe, MOVBE) X(exec_lea, LEA) X(exec_xlat, XLAT) \
    X(exec_cbw, CBW) X(exec_cwd, CWD) X(exec_setcc, SETCC) X(exec_cmov, CMOVCC) X(exec_xchg, XCHG) X(exec_xadd, XADD) X(exec_cmpxchg, CMPXCHG) \
    X(exec_cmpxchg8b, CMPXCHG8B) X(exec_cmpxchg16b, CMPXCHG16B) \
    X(exec_push, PUSH) X(exec_pop, POP) X(exec_pusha, PUSHA) X(exec_popa, POPA) X(exec_pushf, PUSHF) X(exec_popf, POPF) \
    X(exec_enter, ENTER) X(exec_leave, LEAVE) X(exec_flag, CLC, STC, CMC, CLD, STD) X(exec_lahf, LAHF) X(exec_sahf, SAHF) X(exec_salc, SALC) \
    X(exec_call, CALL) X(exec_ret, RET) X(exec_jmp, JMP) X(exec_jcc, JCC) X(exec_jcxz, JCXZ) X(exec_loop, LOOP, LOOPE, LOOPNE) \
    X(exec_bound, BOUND) X(exec_nop, NOP, PREFETCH, PREFETCHW, ENDBR) X(exec_pause, PAUSE) \
    X(exec_fence, LFENCE, MFENCE, SFENCE, SERIALIZE) X(exec_cache_line, CLFLUSH, CLFLUSHOPT, CLWB) \
    X(exec_string, MOVS, STOS, LODS, SCAS, CMPS)

#define EXEC_INT_PROTOTYPE(fn, ...) exec_int_fn fn;
EXEC_INT_GROUPS(EXEC_INT_PROTOTYPE)
#undef EXEC_INT_PROTOTYPE

/* Whether exec_integer() knows the operation. */
bool exec_is_integer(enum insn_op);

static inline unsigned shift_of(unsigned size) { return 64 - size * 8; }

/* #GP(0) unless a near branch may go there: canonical, or inside CS. */
void branch_check(struct cpu *, uint64_t target);

/* ---- read-modify-write ---------------------------------------------------------------------------------------------------------------------------
 * `compute` is pure: with LOCK it may be called again after another CPU won the race. Answers the old value. */
struct rmw_arg { unsigned op, shift, count; uint64_t a, b; bool carry; };
typedef uint64_t rmw_fn(const struct rmw_arg *, uint64_t old);

uint64_t rmw_memory(struct cpu *, uint64_t linear, unsigned size, bool locked, rmw_fn *compute, const struct rmw_arg *);
/* Operand 0: register or memory. */
uint64_t rmw_operand(struct cpu *, const struct insn *, unsigned size, bool locked, rmw_fn *compute, const struct rmw_arg *);

/* Stops the other vCPUs. Waiting for that counts as out of the guest, so the map may have changed meanwhile and host pointers be void: then starts the
 * instruction over. Nothing may have been changed yet. */
void exclusive_begin(struct cpu *);
void exclusive_end(struct cpu *);

/* 16 bytes at a 16-byte aligned host address, atomically if the host can (atomic16_*.c); false: it cannot, stop the world. */
bool atomic16_compare_exchange(void *at, uint64_t expected[2], const uint64_t desired[2], bool *swapped);

#endif
