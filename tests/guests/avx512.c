/* SPDX-License-Identifier: MIT */
/* A program that uses AVX-512 in ways that need a whole system: two processes that take turns, signal handlers that change its registers, masked accesses over the end
 * of a mapping, gathers, scatters, compression. It prints one hash of all that it computed (tests/boot/avx512.py compares the host's with a guest's). */
#include <immintrin.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COUNT = 4096, ROUNDS = 40, PAGE = 4096 };

struct work {
    double a[COUNT], b[COUNT], c[COUNT];
    int32_t x[COUNT], y[COUNT], z[COUNT];
    uint8_t p[2 * COUNT], q[2 * COUNT];
    uint64_t hash, seed;
};

static void mix(struct work *w, const void *data, size_t count)
{
    for (const uint8_t *b = data; count--; b++)
        w->hash = (w->hash ^ *b) * UINT64_C(0x100000001b3); /* FNV-1a */
}

static uint64_t next(struct work *w) /* xorshift64 */
{
    w->seed ^= w->seed << 13;
    w->seed ^= w->seed >> 7;
    return w->seed ^= w->seed << 17;
}

/* The kernel must bring these back. */
static void caught(int number)
{
    (void)number;
    __asm__ volatile("vpxorq %%zmm20, %%zmm20, %%zmm20\n\tvpxorq %%zmm3, %%zmm3, %%zmm3\n\tkxorq %%k3, %%k3, %%k3" ::: "memory");
}

static void floats(struct work *w)
{
    for (int i = 0; i < COUNT; i += 8) {
        __m512d a = _mm512_loadu_pd(w->a + i), b = _mm512_loadu_pd(w->b + i);
        __mmask8 less = _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ);
        __m512d v = _mm512_mask_fmadd_pd(a, less, b, _mm512_set1_pd(1.5));
        v = _mm512_mask_sqrt_pd(v, (__mmask8)~less, _mm512_abs_pd(b));
        _mm512_mask_storeu_pd(w->c + i, less, v);
        _mm512_mask_compressstoreu_pd(w->c + i / 2, (__mmask8)~less, v);
    }
}

static void gathers(struct work *w)
{
    for (int i = 0; i < COUNT; i += 16) {
        __m512i x = _mm512_loadu_si512(w->x + i), y = _mm512_loadu_si512(w->y + i);
        __m512i index = _mm512_and_si512(x, _mm512_set1_epi32(COUNT - 1));
        __m512i g = _mm512_mask_i32gather_epi32(y, (__mmask16)next(w), index, w->x, 4);
        g = _mm512_ternarylogic_epi32(g, x, y, 0x96);
        _mm512_mask_i32scatter_epi32(w->z, (__mmask16)next(w), index, g, 4);
        w->x[i] ^= _mm512_reduce_add_epi32(g);
    }
}

static void bytes(struct work *w, int round)
{
    for (int i = 0; i < 2 * COUNT; i += 64) {
        __m512i v = _mm512_loadu_si512(w->p + i);
        __mmask64 k = _mm512_cmpgt_epu8_mask(v, _mm512_set1_epi8(100));
        v = _mm512_maskz_shuffle_epi8(k, v, _mm512_set1_epi8((char)(round & 15)));
        _mm512_storeu_si512(w->q + i, _mm512_mask_add_epi8(v, ~k, v, _mm512_set1_epi8(3)));
        w->p[i] += (uint8_t)__builtin_popcountll(k);
    }
}

static void over_the_end(struct work *w)
{
    uint8_t *m = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED || munmap(m + PAGE, PAGE))
        return;
    for (int i = 0; i < PAGE; i++)
        m[i] = (uint8_t)(i * 7);
    for (int round = 0; round < 20; round++)
        for (int i = 1; i < 64; i++) {
            __mmask64 k = (UINT64_C(1) << i) - 1;
            __m512i v = _mm512_maskz_loadu_epi8(k, m + PAGE - i);
            _mm512_mask_storeu_epi8(m + PAGE - i, k, _mm512_add_epi8(v, v));
            m[PAGE - i] ^= (uint8_t)(i + round);
        }
    mix(w, m, PAGE);
}

int main(void)
{
    static struct work w = { .hash = UINT64_C(0xcbf29ce484222325), .seed = 88172645463325252 };
    for (int i = 0; i < COUNT; i++) {
        w.a[i] = (double)(int64_t)next(&w) / 1e15;
        w.b[i] = (double)(int64_t)next(&w) / 1e14;
        w.x[i] = (int32_t)next(&w);
        w.y[i] = (int32_t)next(&w);
        w.p[i] = w.p[i + COUNT] = (uint8_t)next(&w);
    }
    signal(SIGUSR1, caught);
    pid_t child = fork();
    for (int round = 0; round < ROUNDS; round++) {
        raise(SIGUSR1);
        floats(&w);
        gathers(&w);
        bytes(&w, round);
        mix(&w, w.c, sizeof w.c);
        mix(&w, w.x, sizeof w.x);
        mix(&w, w.z, sizeof w.z);
        mix(&w, w.q, sizeof w.q);
    }
    over_the_end(&w);
    printf("%016llx\n", (unsigned long long)w.hash);
    fflush(stdout);
    int status = 0;
    if (child)
        wait(&status);
    return status;
}
