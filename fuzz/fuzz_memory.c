/* SPDX-License-Identifier: MIT */
/* Any sequence of map changes, logs and accesses, with a model of one byte a page beside it: what is mapped, and what was written to it. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "memory/memory.h"

#define P     MEM_PAGE_SIZE
#define PAGES 48u

struct model { int block_page[PAGES]; uint8_t prot[PAGES]; uint64_t logged, dirty; uint8_t bytes[PAGES]; };

static void check(bool good)
{
    if (!good)
        abort();
}

/* The page is dirty for every place that shows it and is logged. */
static void model_written(struct model *m, int block_page)
{
    for (unsigned i = 0; i < PAGES; i++) {
        if (m->block_page[i] == block_page && m->logged >> i & 1)
            m->dirty |= BIT(i);
    }
}

static uint64_t mask_of(unsigned at, unsigned n) { return bits_get(UINT64_MAX, n - 1, 0) << at; }

static bool all_mapped(const struct model *m, unsigned at, unsigned n)
{
    bool all = true;

    for (unsigned i = at; i < at + n; i++)
        all &= m->block_page[i] >= 0;
    return all;
}

static void op_map(struct mem_map *map, struct mem_block *block, struct model *m, unsigned at, unsigned n, unsigned from, uint8_t prot)
{
    bool none = true;

    for (unsigned i = at; i < at + n; i++)
        none &= m->block_page[i] < 0;
    check((mem_map_add(map, at * P, block, from * P, n * P, prot, NULL) == 0) == none);
    for (unsigned i = 0; none && i < n; i++) {
        m->block_page[at + i] = (int)(from + i);
        m->prot[at + i] = prot;
    }
}

static void op_unmap(struct mem_map *map, struct model *m, unsigned at, unsigned n)
{
    check(mem_map_remove(map, at * P, n * P, NULL) == 0);
    for (unsigned i = at; i < at + n; i++)
        m->block_page[i] = -1;
    m->logged &= ~mask_of(at, n);
    m->dirty &= ~mask_of(at, n);
}

static void op_log(struct mem_map *map, struct model *m, unsigned at, unsigned n, bool on)
{
    bool good = all_mapped(m, at, n);

    check((mem_log(map, at * P, n * P, on, NULL) == 0) == good);
    if (good) {
        m->logged = on ? m->logged | mask_of(at, n) : m->logged & ~mask_of(at, n);
        m->dirty &= ~mask_of(at, n);
    }
}

static void op_harvest(struct mem_map *map, struct model *m, unsigned at, unsigned n, bool clear)
{
    uint64_t bits = 0, mask = mask_of(at, n);
    bool good = (m->logged & mask) == mask;

    check((mem_dirty(map, at * P, n * P, &bits, clear, NULL) == 0) == good);
    if (!good)
        return;
    check(bits == (m->dirty & mask) >> at);
    if (clear)
        m->dirty &= ~mask;
}

static void op_write(struct mem_map *map, struct model *m, unsigned at, uint8_t value)
{
    bool good = m->block_page[at] >= 0 && m->prot[at] & MEM_W;

    check((mem_write(map, at * P + 100, &value, 1) == 0) == good);
    if (good) {
        m->bytes[m->block_page[at]] = value;
        model_written(m, m->block_page[at]);
    }
}

static void op_read(struct mem_map *map, const struct model *m, unsigned at)
{
    bool good = m->block_page[at] >= 0 && m->prot[at] & MEM_R;
    uint8_t value;

    check((mem_read(map, at * P + 100, &value, 1) == 0) == good);
    check(!good || value == m->bytes[m->block_page[at]]);
}

/* Numbers without a model: only nothing may break. */
static void op_wild(struct mem_map *map, struct mem_block *block, const uint8_t *data)
{
    uint64_t gpa = load_le64(data), len = load_le64(data + 8);
    uint8_t out[16];
    struct mem_pin pin;

    mem_read(map, gpa, out, len % sizeof out);
    mem_fill(map, gpa, 1, len % 9000);
    mem_touched(block, gpa, len);
    mem_page_written(block, gpa, len);
    if (mem_pin(map, gpa, len, MEM_R | MEM_W, &pin) == 0)
        mem_unpin(&pin, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mem_block *block = mem_block_new(PAGES * P, NULL);
    struct mem_map *map = mem_map_new(NULL);
    struct model m = {.logged = 0};

    memset(m.block_page, 0xff, sizeof m.block_page);
    for (; block && map && size >= 5; data += 5, size -= 5) {
        unsigned at = data[1] % PAGES, n = 1 + data[2] % (PAGES - at), from = data[3] % (PAGES - n + 1);

        switch (data[0] % 8) {
        case 0: op_map(map, block, &m, at, n, from, data[4] % 8); break;
        case 1: op_unmap(map, &m, at, n); break;
        case 2:
            check((mem_map_protect(map, at * P, n * P, data[4] % 8, NULL) == 0) == all_mapped(&m, at, n));
            for (unsigned i = at; all_mapped(&m, at, n) && i < at + n; i++)
                m.prot[i] = data[4] % 8;
            break;
        case 3: op_log(map, &m, at, n, data[4] & 1); break;
        case 4: op_harvest(map, &m, at, n, data[4] & 1); break;
        case 5: op_write(map, &m, at, data[4]); break;
        case 6: op_read(map, &m, at); break;
        default:
            if (data[4] == 0 && size >= 24) { /* rare, since the model knows nothing of it: the last thing */
                op_wild(map, block, data + 5);
                size = 5;
            }
        }
    }
    mem_map_free(map);
    mem_block_unref(block);
    return 0;
}
