/* SPDX-License-Identifier: MIT */
/* Kernels of floating point and vectors: scalar and packed SSE, SSE2 integers, x87. All of it rounds as IEEE 754 says, so the results are exact. */
#include <emmintrin.h>
#include <string.h>

#include "kernels.h"

enum { BODIES = 5, STEPS = 100 };

struct body {
    double x, y, z, vx, vy, vz, mass;
};

static void set_bodies(struct body *bodies)
{
    bodies[0] = (struct body){ 0, 0, 0, 0, 0, 0, 40.0 };
    for (int i = 1; i < BODIES; i++)
        bodies[i] = (struct body){ 3.0 * i, 0.25 * i, -0.125 * i, 0.05 * i, 3.5 / i, 0.01 * i, 0.01 / i };
}

static void step_bodies(struct body *bodies, double dt)
{
    for (int i = 0; i < BODIES; i++)
        for (int j = i + 1; j < BODIES; j++) {
            struct body *a = &bodies[i], *b = &bodies[j];
            double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
            double square = dx * dx + dy * dy + dz * dz;
            double pull = dt / (square * _mm_cvtsd_f64(_mm_sqrt_sd(_mm_setzero_pd(), _mm_set_sd(square))));

            a->vx -= dx * b->mass * pull, a->vy -= dy * b->mass * pull, a->vz -= dz * b->mass * pull;
            b->vx += dx * a->mass * pull, b->vy += dy * a->mass * pull, b->vz += dz * a->mass * pull;
        }
    for (int i = 0; i < BODIES; i++) {
        bodies[i].x += dt * bodies[i].vx;
        bodies[i].y += dt * bodies[i].vy;
        bodies[i].z += dt * bodies[i].vz;
    }
}

static uint64_t run_bodies(const struct kernel *kernel, void *state, uint64_t units)
{
    uint64_t total = 0;
    struct body *bodies = state;

    (void)kernel;
    for (uint64_t i = 0; i < units; i++) {
        set_bodies(bodies);
        for (int step = 0; step < STEPS; step++)
            step_bodies(bodies, 0.001);
        total += hash_words(bodies, sizeof(struct body) * BODIES);
        BARRIER();
    }
    return total;
}

enum { SIDE = 64 };

struct matrices {
    _Alignas(16) float left[SIDE][SIDE], right[SIDE][SIDE], product[SIDE][SIDE];
};

static void prepare_matrices(const struct kernel *kernel, void *state)
{
    struct matrices *m = state;

    (void)kernel;
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            m->left[i][j] = (float)((i * 13 + j * 7) % 32 - 16) / 8;
            m->right[i][j] = (float)((i * 5 + j * 11) % 64 - 31) / 3;
        }
}

/* Four columns in each vector, four vectors at once. */
static uint64_t run_matrices(const struct kernel *kernel, void *state, uint64_t units)
{
    struct matrices *m = state;

    (void)kernel;
    for (uint64_t unit = 0; unit < units; unit++) {
        for (int i = 0; i < SIDE; i++)
            for (int j = 0; j < SIDE; j += 16) {
                __m128 s0 = _mm_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;

                for (int k = 0; k < SIDE; k++) {
                    __m128 a = _mm_set1_ps(m->left[i][k]);
                    const float *row = &m->right[k][j];

                    s0 = _mm_add_ps(s0, _mm_mul_ps(a, _mm_load_ps(row)));
                    s1 = _mm_add_ps(s1, _mm_mul_ps(a, _mm_load_ps(row + 4)));
                    s2 = _mm_add_ps(s2, _mm_mul_ps(a, _mm_load_ps(row + 8)));
                    s3 = _mm_add_ps(s3, _mm_mul_ps(a, _mm_load_ps(row + 12)));
                }
                _mm_store_ps(&m->product[i][j], s0);
                _mm_store_ps(&m->product[i][j + 4], s1);
                _mm_store_ps(&m->product[i][j + 8], s2);
                _mm_store_ps(&m->product[i][j + 12], s3);
            }
        BARRIER();
    }
    return 0;
}

static bool verify_matrices(const struct kernel *kernel, void *state)
{
    struct matrices *m = state;
    bool same = hash_words(m->product, sizeof(m->product)) == 0x607e9371ef2aca3d;

    (void)kernel;
    memset(m->product, 0xff, sizeof(m->product));
    return same;
}

enum { VECTORS = 64 };

static void prepare_vectors(const struct kernel *kernel, void *state)
{
    uint64_t seed = 11, *words = state;

    (void)kernel;
    for (int i = 0; i < VECTORS * 2; i++)
        words[i] = next_random(&seed) << 32 | next_random(&seed);
}

static uint64_t run_vectors(const struct kernel *kernel, void *state, uint64_t units)
{
    uint64_t total = 0;
    const __m128i *from = state;

    (void)kernel;
    for (uint64_t unit = 0; unit < units; unit++) {
        __m128i a = _mm_set1_epi32(0x01020304), b = _mm_set1_epi16(0x55aa), c = _mm_setzero_si128(), d = _mm_set1_epi8(3);

        for (int i = 0; i < VECTORS; i++) {
            __m128i x = _mm_load_si128(from + i);

            a = _mm_add_epi32(a, x);
            b = _mm_xor_si128(b, _mm_shuffle_epi32(a, 0x1b));
            c = _mm_add_epi64(c, _mm_sad_epu8(x, b));
            d = _mm_subs_epu8(_mm_avg_epu8(d, x), _mm_cmpgt_epi16(a, b));
            a = _mm_mullo_epi16(a, _mm_unpacklo_epi8(x, d));
            b = _mm_add_epi16(_mm_madd_epi16(b, x), _mm_srli_epi32(b, 7));
            c = _mm_or_si128(_mm_slli_epi64(c, 1), _mm_packus_epi16(a, d));
            d = _mm_min_epu8(d, _mm_andnot_si128(x, b));
        }
        a = _mm_xor_si128(_mm_xor_si128(a, b), _mm_xor_si128(c, d));
        total += (uint64_t)_mm_cvtsi128_si64(a) ^ (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(a, a));
        BARRIER();
    }
    return total;
}

enum { X87_STEPS = 1000 };

static uint64_t run_x87(const struct kernel *kernel, void *state, uint64_t units)
{
    uint64_t total = 0;

    (void)kernel, (void)state;
    for (uint64_t unit = 0; unit < units; unit++) {
        uint64_t steps = X87_STEPS;
        double factor = 0.9990234375, term = 0.7;
        struct {
            uint64_t significand;
            uint64_t exponent;
        } result = { 0 };

        __asm__ volatile(
            "   fldl %[term]\n fldl %[factor]\n fld1\n" /* ST(0) the value, ST(1) the factor, ST(2) the term */
            "1: fmul %%st(1), %%st\n fadd %%st(2), %%st\n dec %[steps]\n jnz 1b\n"
            "   fstpt %[result]\n fstp %%st(0)\n fstp %%st(0)\n"
            : [steps] "+r"(steps), [result] "=m"(result) : [term] "m"(term), [factor] "m"(factor)
            : "cc", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
        total += result.significand;
    }
    return total;
}

const struct kernel vector_kernels[] = {
    { .name = "fp-scalar", .operations = STEPS, .expect = 0xb570becba4166da3, .memory = sizeof(struct body) * BODIES, .run = run_bodies },
    { .name = "fp-packed", .operations = 1, .memory = sizeof(struct matrices), .prepare = prepare_matrices, .run = run_matrices, .verify = verify_matrices },
    { .name = "simd-integer", .operations = VECTORS, .expect = 0x6a5021d4f51013b1, .memory = VECTORS * 16, .prepare = prepare_vectors, .run = run_vectors },
    { .name = "x87", .operations = X87_STEPS, .expect = 0xdfad8c57287b90cb, .run = run_x87 },
    { 0 },
};
