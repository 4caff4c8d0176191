/* SPDX-License-Identifier: MIT */
/* Saved CPU state is hostile: a good state with bytes of it changed, or bytes alone, is loaded; what is accepted must be safe to run a few instructions of,
 * and saving and loading it again must change nothing. */
#include <stdlib.h>
#include <string.h>

#include <hy.h>

#define STATE_MAX 16384
#define RAM_SIZE  0x20000u
#define STEPS     12

struct world { hy *h; hy_vm *vm; hy_mem *mem; hy_cpu *cpu; };

static int world_make(struct world *w, uint32_t irq)
{
    struct hy_vm_cfg cfg = {.size = sizeof cfg, .irq = irq, .cpus = 1};

    return hy_open("soft", &w->h) || hy_vm_new(w->h, &cfg, &w->vm) || hy_mem_new(w->vm, RAM_SIZE, &w->mem)
           || hy_map(w->vm, 0, w->mem, 0, RAM_SIZE, HY_R | HY_W | HY_X) || hy_trap(w->vm, HY_EXIT_STEP, 0, 0, HY_R) || hy_cpu_new(w->vm, 0, &w->cpu);
}

static void world_free(struct world *w)
{
    hy_cpu_free(w->cpu);
    hy_vm_free(w->vm);
    hy_mem_free(w->mem);
    hy_close(w->h);
}

/* Save, load, save: byte for byte the same while time stands still. */
static void check_round_trip(struct world *w)
{
    static uint8_t one[STATE_MAX], two[STATE_MAX]; /* mutable: the target runs in one thread */
    size_t a = sizeof one, b = sizeof two;

    hy_clock(w->vm, 0, NULL, NULL);
    if (hy_save(w->vm, w->cpu, HY_S_ALL, one, &a) || hy_load(w->vm, w->cpu, HY_S_ALL, one, a) || hy_save(w->vm, w->cpu, HY_S_ALL, two, &b) || a != b
        || memcmp(one, two, a))
        abort();
    hy_clock(w->vm, 1, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t state[STATE_MAX]; /* mutable: the target runs in one thread */
    struct world w = {0};
    size_t len = sizeof state;
    hy_exit *x;

    if (size < 4 || world_make(&w, data[0] & 1 ? HY_IRQ_CPU : HY_IRQ_NONE))
        return 0;
    if (data[0] & 2) { /* bytes alone, as one of the parts */
        static const int parts[] = {HY_S_FPU, HY_S_EVENTS, HY_S_ALL, HY_S_IRQ};

        if (hy_load(w.vm, w.cpu, parts[data[1] % 4], data + 2, size - 2) == HY_OK)
            check_round_trip(&w);
        world_free(&w);
        return 0;
    }
    hy_save(w.vm, w.cpu, HY_S_ALL, state, &len);
    for (size_t i = 1; i + 2 < size; i += 3)
        state[(data[i] | data[i + 1] << 8) % len] = data[i + 2];
    if (hy_load(w.vm, w.cpu, HY_S_ALL, state, len) == HY_OK) {
        check_round_trip(&w);
        for (int i = 0; i < STEPS; i++) { /* memory is zero: ADD [rAX], AL, and whatever events wait */
            hy_kick(w.cpu);               /* so that a CPU that waits comes back; the kick is the second exit at the latest */
            if (hy_run(w.cpu, &x) != HY_OK || x->reason == HY_EXIT_CRASH)
                break;
        }
    }
    world_free(&w);
    return 0;
}
