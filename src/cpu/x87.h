/* SPDX-License-Identifier: MIT */
/* x87.h - the x87 floating-point unit over struct cpu_x87: register stack, exceptions, memory images, and the transcendental functions.
 *
 * Nothing here knows guest memory or struct cpu; exec_x87.c binds instructions to it. Functions are safe on any state.
 * FCS and FDS read as zero and FOP and FDP change on unmasked exceptions only, as on processors with CPUID.(7,0):EBX[13] and EBX[6]. */
#ifndef CPU_X87_H
#define CPU_X87_H

#include "base/bits.h"
#include "cpu/softfloat.h"
#include "cpu/values.h"

enum { /* FSW, SDM vol. 1 8.1.3 */
    X87_SF = 1 << 6, X87_ES = 1 << 7, X87_C0 = 1 << 8, X87_C1 = 1 << 9, X87_C2 = 1 << 10, X87_TOP_SHIFT = 11, X87_TOP = 7 << 11, X87_C3 = 1 << 14,
    X87_B = 1 << 15,
};

static inline unsigned x87_top(const struct cpu_x87 *x) { return x->fsw >> X87_TOP_SHIFT & 7; }
static inline unsigned x87_physical(const struct cpu_x87 *x, unsigned st) { return (x87_top(x) + st) & 7; }
static inline bool x87_is_empty(const struct cpu_x87 *x, unsigned st) { return x->empty >> x87_physical(x, st) & 1; }
static inline struct f80 x87_st(const struct cpu_x87 *x, unsigned st) { return x->r[x87_physical(x, st)]; }

static inline void x87_set_st(struct cpu_x87 *x, unsigned st, struct f80 value)
{
    x->r[x87_physical(x, st)] = value;
    x->empty &= ~(1u << x87_physical(x, st));
}

static inline void x87_set_top(struct cpu_x87 *x, unsigned top) { x->fsw = (x->fsw & ~X87_TOP) | (top & 7) << X87_TOP_SHIFT; }

static inline void x87_pop(struct cpu_x87 *x)
{
    x->empty |= 1u << x87_top(x);
    x87_set_top(x, x87_top(x) + 1);
}

static inline void x87_push(struct cpu_x87 *x, struct f80 value)
{
    x87_set_top(x, x87_top(x) - 1);
    x87_set_st(x, 0, value);
}

/* ---- control (x87_image.c) */

/* Recomputes ES and B from the flags and masks. */
void x87_update_summary(struct cpu_x87 *x);
/* FLDCW: reserved bits fixed, ES and B recomputed. */
void x87_set_control(struct cpu_x87 *x, uint16_t fcw);
/* FNINIT. The data registers keep their bits. */
void x87_init(struct cpu_x87 *x);
/* Whether the whole state is XSAVE's initial configuration (SDM vol. 1, 13.6). */
bool x87_is_initial(const struct cpu_x87 *x);
uint16_t x87_tag_word(const struct cpu_x87 *x);

/* FSTENV and FLDENV images: opsize 2 (14 bytes) or 4 (28 bytes), `real` for real-address and virtual-8086 mode. The size is returned. */
unsigned x87_put_environment(const struct cpu_x87 *x, uint8_t *p, unsigned opsize, bool real);
unsigned x87_get_environment(struct cpu_x87 *x, const uint8_t *p, unsigned opsize, bool real);
/* ST0 to ST7, `stride` bytes apart: 10 in FSAVE, 16 in FXSAVE. */
void x87_put_registers(const struct cpu_x87 *x, uint8_t *p, unsigned stride);
void x87_get_registers(struct cpu_x87 *x, const uint8_t *p, unsigned stride);
/* Bytes 0 to 23 and 32 to 159 of an FXSAVE image; MXCSR's are left alone. `wide`: 64-bit pointers (REX.W). */
void x87_put_fxsave(const struct cpu_x87 *x, uint8_t *p, bool wide);
void x87_get_fxsave(struct cpu_x87 *x, const uint8_t *p, bool wide);
void x87_put_f80(uint8_t *p, struct f80 v);
struct f80 x87_get_f80(const uint8_t *p);

#endif
