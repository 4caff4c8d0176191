/* SPDX-License-Identifier: MIT */
/* x87_math.h - the transcendental instructions as functions of their operands. Flags go to env->flags, the direction of the rounding to env->rounded_up;
 * where an unmasked exception stops the operation the result is not to be used. */
#ifndef CPU_X87_MATH_H
#define CPU_X87_MATH_H

#include "cpu/softfloat.h"

struct f80 x87_f2xm1(struct fp_env *env, struct f80 x);                 /* 2^x - 1, |x| <= 1 */
struct f80 x87_yl2x(struct fp_env *env, struct f80 x, struct f80 y);    /* y log2(x) */
struct f80 x87_yl2xp1(struct fp_env *env, struct f80 x, struct f80 y);  /* y log2(x + 1) */
struct f80 x87_atan(struct fp_env *env, struct f80 y, struct f80 x);    /* the angle of (x, y) */

/* Whether |x| < 2^63, or x is no number: otherwise the next three are not to be called, and the instruction sets C2. */
bool x87_in_range(struct f80 x);
struct f80 x87_sin(struct fp_env *env, struct f80 x);
struct f80 x87_cos(struct fp_env *env, struct f80 x);
struct f80 x87_tan(struct fp_env *env, struct f80 x);

#endif
