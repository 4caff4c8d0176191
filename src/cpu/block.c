/* SPDX-License-Identifier: MIT */
/* block.c - the cache of decoded blocks: finding, decoding, killing, flushing. See block.h.
 *
 * What the guest sees: code changes as the SDM promises them (vol. 3, 9.1.3): its own stores before the next instruction, others' at the next block.
 * What is trusted: nothing; bytes are copied before they are decoded. Locking: see cpu_engine.lock.
 * Limits: BLOCK_MAX instructions a block, ARENA_CHUNKS_MAX chunks a CPU.
 */
#include <stdlib.h>

#include "cpu/engine_private.h"
#include "cpu/handlers.h"
#include "cpu/translate/translate.h"

enum { BLOCK_WORST = sizeof(struct block) + (BLOCK_MAX + 3) * (sizeof(struct uop) + sizeof(struct insn)) + BLOCK_BYTES_MAX + 64 +
                   2 * (sizeof(struct code_page) + 32) };

static struct block_cache *cache_of(struct cpu *cpu) { return &cpu->engine->cache; }

/* ---- memory: uops grow up from one end of a chunk, kept instructions and code bytes down from the other -------------------------------------------- */

static uint8_t *arena_low(struct block_cache *c) { return c->chunks[c->chunk] + c->used; }
static uint8_t *arena_high(struct block_cache *c) { return c->chunks[c->chunk] + c->high; }

static void arena_next(struct block_cache *c)
{
    c->chunk++;
    c->used = 0;
    c->high = ARENA_CHUNK;
}

/* Makes room for the largest block; may flush everything. */
static bool arena_reserve(struct cpu *cpu)
{
    struct block_cache *c = cache_of(cpu);
    if (c->high - c->used >= BLOCK_WORST)
        return true;
    if (c->chunk + 1 < c->chunk_count) {
        arena_next(c);
        return true;
    }
    uint8_t *more = c->chunk_count < ARENA_CHUNKS_MAX ? malloc(ARENA_CHUNK) : NULL;
    if (more) {
        c->chunks[c->chunk_count++] = more;
        arena_next(c);
        return true;
    }
    block_cache_flush(cpu);
    return false;
}

static void *arena_take(struct block_cache *c, size_t bytes)
{
    void *at = arena_low(c);
    c->used += align_up(bytes, 32);
    return at;
}

int block_cache_new(struct block_cache *c, struct err *err)
{
    c->chunks[0] = malloc(ARENA_CHUNK);
    if (!c->chunks[0])
        return err_set(err, ERR_HOST, "no memory for decoded code");
    c->chunk_count = 1;
    c->high = ARENA_CHUNK;
    return 0;
}

static void page_release(struct code_page *p)
{
    mem_block_disarm_code(p->memory, p->offset);
    mem_block_unref(p->memory);
}

static void pages_release(struct cpu *cpu)
{
    struct block_cache *c = cache_of(cpu);
    for (unsigned i = 0; i < CODE_PAGE_BUCKETS; i++) {
        struct code_page *list = c->pages[i];
        pthread_mutex_lock(&cpu->engine->lock);
        c->pages[i] = NULL;
        pthread_mutex_unlock(&cpu->engine->lock);
        for (; list; list = list->next)
            page_release(list);
    }
    c->free_pages = NULL;
}

void block_cache_free(struct cpu *cpu)
{
    struct block_cache *c = cache_of(cpu);
    pages_release(cpu);
    for (unsigned i = 0; i < c->chunk_count; i++)
        free(c->chunks[i]);
}

void block_cache_flush(struct cpu *cpu)
{
    struct cpu_engine *engine = cpu->engine;
    struct block_cache *c = &engine->cache;
    pages_release(cpu);
    c->chunk = 0;
    c->used = 0;
    c->high = ARENA_CHUNK;
    c->killed++;
    translate_flush(cpu);
    jump_cache_clear(cpu);
    engine->link_from = NULL;
    engine->dead_from = NULL;
    engine->statistics.flushes++;
}

/* ---- code pages ------------------------------------------------------------------------------------------------------------------------------------ */

static struct code_page **page_bucket(struct block_cache *c, const struct mem_block *memory, size_t offset)
{
    uint64_t mix = ((uintptr_t)memory >> 4) * UINT64_C(0x9e3779b97f4a7c15) + (offset >> 12) * UINT64_C(0xff51afd7ed558ccd);
    return &c->pages[mix >> 32 & (CODE_PAGE_BUCKETS - 1)];
}

static struct code_page *page_find(struct block_cache *c, const struct mem_block *memory, size_t offset)
{
    struct code_page *p = *page_bucket(c, memory, offset);
    while (p && (p->memory != memory || p->offset != offset))
        p = p->next;
    return p;
}

static struct code_page *page_get(struct cpu *cpu, struct mem_block *memory, size_t offset)
{
    struct block_cache *c = cache_of(cpu);
    struct code_page *p = page_find(c, memory, offset), **bucket = page_bucket(c, memory, offset);
    if (p)
        return p;
    if ((p = c->free_pages))
        c->free_pages = p->next;
    else
        p = arena_take(c, sizeof *p);
    *p = (struct code_page){ .memory = mem_block_ref(memory), .offset = offset, .next = *bucket };
    pthread_mutex_lock(&cpu->engine->lock);
    *bucket = p;
    pthread_mutex_unlock(&cpu->engine->lock);
    if (translate_arm_page(cpu, memory, offset))
        cpu_restart(cpu);
    return p;
}

/* Bits of the lines that [start, start + len) of a page touches. len > 0, inside the page. */
static uint64_t line_mask(unsigned start, unsigned len)
{
    unsigned first = start >> 6, last = (start + len - 1) >> 6;
    return (UINT64_MAX >> (63 - last)) & (UINT64_MAX << first);
}

/* Before the bytes are read: from here on their writers tell us. */
static void page_mark(struct cpu *cpu, struct code_page *p, unsigned start, unsigned len)
{
    uint64_t mask = line_mask(start, len);
    if ((atomic_load_explicit(&p->lines, memory_order_relaxed) & mask) == mask)
        return;
    pthread_mutex_lock(&cpu->engine->lock);
    atomic_fetch_or(&p->lines, mask);
    pthread_mutex_unlock(&cpu->engine->lock);
}

bool block_cache_touches(struct cpu *cpu, struct mem_block *memory, size_t offset, size_t len)
{
    unsigned at = offset & (MEM_PAGE_SIZE - 1);
    struct code_page *p = page_find(cache_of(cpu), memory, offset - at);
    if (!p)
        return false;
    if (atomic_load(&p->lines) & line_mask(at, (unsigned)len))
        return true;
    return atomic_fetch_add(&p->useless, 1) + 1 == USELESS_MAX;
}

/* ---- killing --------------------------------------------------------------------------------------------------------------------------------------- */

static void list_take(struct block **list, struct block *b)
{
    while (*list != b)
        list = &(*list)->next;
    *list = b->next;
}

static void tail_take(struct block **list, struct block *b)
{
    while (*list != b)
        list = &(*list)->next_tail;
    *list = b->next_tail;
}

static struct block **block_bucket(struct code_page *p, unsigned start)
{
    return &p->buckets[start / 4 % ARRAY_LEN(p->buckets)];
}

static void block_kill(struct cpu *cpu, struct block *b)
{
    b->dead = true;
    translate_forget(cpu, b);
    b->uops[0].fn = uop_dead;
    b->forward = NULL;
    list_take(block_bucket(b->page, b->start), b);
    if (b->second)
        tail_take(&b->second->tails, b);
    cache_of(cpu)->killed++;
    cpu->engine->statistics.blocks_killed++;
}

static unsigned bytes_in_first(const struct block *b)
{
    return b->start + b->bytes > MEM_PAGE_SIZE ? (unsigned)MEM_PAGE_SIZE - b->start : b->bytes;
}

static void page_remark(struct cpu *cpu, struct code_page *p)
{
    uint64_t lines = 0;
    for (unsigned i = 0; i < ARRAY_LEN(p->buckets); i++)
        for (const struct block *b = p->buckets[i]; b; b = b->next)
            lines |= line_mask(b->start, bytes_in_first(b));
    for (const struct block *b = p->tails; b; b = b->next_tail)
        lines |= line_mask(0, b->bytes - bytes_in_first(b));
    pthread_mutex_lock(&cpu->engine->lock);
    atomic_store(&p->lines, lines);
    pthread_mutex_unlock(&cpu->engine->lock);
}

/* The blocks that begin in the bytes or reach into them. */
static void page_kill(struct cpu *cpu, struct code_page *p, unsigned start, unsigned len)
{
    for (unsigned i = 0; i < ARRAY_LEN(p->buckets); i++) {
        for (struct block *b = p->buckets[i], *next; b; b = next) {
            next = b->next;
            if (b->start < start + len && start < b->start + bytes_in_first(b))
                block_kill(cpu, b);
        }
    }
    for (struct block *b = p->tails, *next; b; b = next) {
        next = b->next_tail;
        if (start < b->bytes - bytes_in_first(b))
            block_kill(cpu, b);
    }
}

static void page_give_up(struct cpu *cpu, struct code_page *p)
{
    struct block_cache *c = cache_of(cpu);
    struct code_page **at = page_bucket(c, p->memory, p->offset);
    page_kill(cpu, p, 0, MEM_PAGE_SIZE);
    pthread_mutex_lock(&cpu->engine->lock);
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    pthread_mutex_unlock(&cpu->engine->lock);
    page_release(p);
    p->next = c->free_pages;
    c->free_pages = p;
}

static void page_written(struct cpu *cpu, struct code_page *p, unsigned start, unsigned len)
{
    if (atomic_load_explicit(&p->lines, memory_order_relaxed) & line_mask(start, len)) {
        page_kill(cpu, p, start, len);
        page_remark(cpu, p);
    } else if (atomic_fetch_add(&p->useless, 1) + 1 >= USELESS_MAX) {
        page_give_up(cpu, p);
    }
}

void block_cache_written(struct cpu *cpu, struct mem_block *memory, size_t offset, size_t len)
{
    while (len) {
        unsigned at = offset & (MEM_PAGE_SIZE - 1);
        size_t here = MEM_PAGE_SIZE - at < len ? MEM_PAGE_SIZE - at : len;
        struct code_page *p = page_find(cache_of(cpu), memory, offset - at);
        if (p)
            page_written(cpu, p, at, (unsigned)here);
        offset += here;
        len -= here;
    }
}

/* ---- decoding -------------------------------------------------------------------------------------------------------------------------------------- */

struct source {
    struct code_page *page, *second;
    const uint8_t *host;      /* of the page */
    uint64_t linear;          /* of the block */
    uint64_t left;            /* bytes to the end of CS */
    unsigned start, at;       /* in the page */
    bool may_cross;           /* only a first instruction */
};

/* The bytes of the next instruction to `bytes` and their decoding. Answers what insn_decode() answers; 0: leave it to the next block. */
static int source_insn(struct cpu *cpu, struct source *s, uint8_t bytes[INSN_MAX_LENGTH], struct insn *in)
{
    unsigned here = (unsigned)MEM_PAGE_SIZE - s->at < INSN_MAX_LENGTH ? (unsigned)MEM_PAGE_SIZE - s->at : INSN_MAX_LENGTH;
    page_mark(cpu, s->page, s->at, here);
    memcpy(bytes, s->host + s->at, here);
    int len = insn_decode(bytes, here, cpu->mode, in);
    if (len != INSN_TRUNCATED)
        return len;
    if (!s->may_cross || here == INSN_MAX_LENGTH)
        return here == INSN_MAX_LENGTH ? INSN_TOO_LONG : 0;
    uint64_t next = s->linear + here;
    const struct tlb_entry *e = cpu_fetch_page(cpu, cpu->mode == CPU_MODE_64 ? next : (uint32_t)next);
    const uint8_t *host = (const uint8_t *)mem_block_host(e->block) + e->offset;
    s->second = page_get(cpu, e->block, e->offset);
    page_mark(cpu, s->second, 0, INSN_MAX_LENGTH - here);
    memcpy(bytes + here, host, INSN_MAX_LENGTH - here);
    return insn_decode(bytes, INSN_MAX_LENGTH, cpu->mode, in);
}

static bool has_feature(const struct cpu *cpu, unsigned feature)
{
    return cpu->features[feature / 64] >> feature % 64 & 1;
}

/* LZCNT and TZCNT without their feature bits are BSR and BSF: exec_bit_count() sees to it. */
static bool insn_exists(const struct cpu *cpu, const struct insn *in)
{
    return has_feature(cpu, in->feature) || in->op == OP_LZCNT || in->op == OP_TZCNT;
}

/* How many bytes have told that there is no instruction. */
static unsigned looked_at(const struct source *s)
{
    unsigned here = (unsigned)MEM_PAGE_SIZE - s->at;
    return s->second || here > INSN_MAX_LENGTH ? INSN_MAX_LENGTH : here;
}

/* Decodes up to `max` instructions at s into b->uops; kept instructions go down from `keep`. Answers the lowest kept one. */
static struct insn *block_fill(struct cpu *cpu, struct source *s, struct block *b, unsigned max, struct insn *keep, uint8_t *code)
{
    struct lowering low = { .cpu = cpu };
    struct uop *u = b->uops;
    while (b->count < max && !low.ends) {
        uint8_t bytes[INSN_MAX_LENGTH];
        struct insn in;
        s->may_cross = !b->count;
        int len = s->at < MEM_PAGE_SIZE ? source_insn(cpu, s, bytes, &in) : 0;
        if (!len)
            break;
        *u = (struct uop){ .number = (uint8_t)b->count, .offset = b->bytes, .length = (uint8_t)(len > 0 ? len : 1) };
        b->count++;
        if (len < 0 || (unsigned)len > s->left || !insn_exists(cpu, &in)) {
            lower_fault(u++, len == INSN_TOO_LONG || (len > 0 && (unsigned)len > s->left) ? EXC_GP : EXC_UD);
            unsigned looked = len > 0 ? (unsigned)len : looked_at(s); /* a write to any of these may make an instruction of it */
            memcpy(code + b->bytes, bytes, looked);
            b->bytes = (uint16_t)(b->bytes + looked);
            low.ends = true, low.chained = false;
            break;
        }
        low.keep = keep - 1;
        low.kept = low.chained = false;
        lower_instruction(&low, &in, u++);
        keep -= low.kept;
        memcpy(code + b->bytes, bytes, (size_t)len);
        b->bytes = (uint16_t)(b->bytes + len);
        s->at += (unsigned)len;
        s->left -= (unsigned)len;
    }
    if (!low.chained) { /* also behind what ends a block without a chain: nothing must run off the end */
        *u = (struct uop){ .number = (uint8_t)b->count, .offset = b->bytes };
        lower_end(u++);
    }
    chain_clear((struct chain *)u++);
    b->slots = (uint16_t)(u - b->uops);
    cpu->engine->statistics.instructions_decoded += b->count;
    return keep;
}

static void block_insert(struct cpu *cpu, struct block *b)
{
    struct block **bucket = block_bucket(b->page, b->start);
    b->next = *bucket;
    *bucket = b;
    if (b->second) {
        b->next_tail = b->second->tails;
        b->second->tails = b;
    }
    cpu->engine->statistics.blocks_decoded++;
}

static struct block *block_make(struct cpu *cpu, struct source *s)
{
    struct block_cache *c = cache_of(cpu);
    uint8_t code[BLOCK_BYTES_MAX];
    struct block *b = (struct block *)arena_low(c);
    if (s->start + INSN_MAX_LENGTH > MEM_PAGE_SIZE) /* page_get() may take arena memory for the second page: leave room below the block */
        b = (struct block *)(arena_low(c) + align_up(sizeof(struct code_page), 32));
    *b = (struct block){ .key = cpu->block_key, .start = (uint16_t)s->start };
    struct insn *keep = block_fill(cpu, s, b, BLOCK_MAX, (struct insn *)align_down((uintptr_t)arena_high(c), 64), code);
    b->page = s->page;
    b->second = s->second;
    uint8_t *copy = (uint8_t *)keep - b->bytes;
    memcpy(copy, code, b->bytes);
    b->code = copy;
    c->high = (size_t)(copy - c->chunks[c->chunk]);
    c->used = align_up((size_t)((uint8_t *)&b->uops[b->slots] - c->chunks[c->chunk]), 32);
    if (cpu->translator && engine_key_translates(b->key)) {
        b->first = b->uops[0].fn;
        b->heat = cpu->vm->hot ? cpu->vm->hot : BLOCK_HOT;
        b->uops[0].fn = uop_warm;
    }
    block_insert(cpu, b);
    return b;
}

/* Where the instruction at rip lies. Raises what fetching it raises. */
static void source_at_rip(struct cpu *cpu, struct source *s)
{
    uint64_t rip = cpu->state.rip;
    *s = (struct source){ .linear = linear_of_rip(cpu, rip), .left = UINT64_MAX };
    if (cpu->mode != CPU_MODE_64) {
        uint32_t limit = cpu->state.seg[SEG_CS].limit;
        if (rip > limit)
            cpu_raise_error(cpu, EXC_GP, 0);
        s->left = limit == UINT32_MAX ? UINT64_MAX : limit - rip + 1;
    }
    s->start = s->at = (unsigned)(s->linear & (MEM_PAGE_SIZE - 1));
}

static void source_page(struct cpu *cpu, struct source *s)
{
    const struct tlb_entry *e = cpu_fetch_page(cpu, s->linear);
    struct mem_block *memory = e->block;
    size_t offset = e->offset;
    s->host = (const uint8_t *)mem_block_host(memory) + offset;
    s->page = page_get(cpu, memory, offset);
}

/* A page-crossing block is good only while the next page is the one that it was decoded from. */
static bool second_is(struct cpu *cpu, const struct block *b, uint64_t linear)
{
    uint64_t next = (linear & TLB_PAGE_MASK) + MEM_PAGE_SIZE;
    const struct tlb_entry *e = cpu_fetch_page(cpu, cpu->mode == CPU_MODE_64 ? next : (uint32_t)next);
    return e->block == b->second->memory && e->offset == b->second->offset;
}

struct block *block_find(struct cpu *cpu)
{
    struct source s;
    source_at_rip(cpu, &s);
    arena_reserve(cpu);
    source_page(cpu, &s);
    for (struct block *b = *block_bucket(s.page, s.start), *next; b; b = next) {
        next = b->next;
        if (b->start != s.start || b->key != cpu->block_key)
            continue;
        if (b->bytes > s.left)
            return block_make_one(cpu);
        if (!b->second || second_is(cpu, b, s.linear))
            return b;
        block_kill(cpu, b);
    }
    return block_make(cpu, &s);
}

struct block *block_make_one(struct cpu *cpu)
{
    struct cpu_engine *engine = cpu->engine;
    struct block *b = (struct block *)engine->one;
    struct source s;
    source_at_rip(cpu, &s);
    arena_reserve(cpu);
    source_page(cpu, &s);
    *b = (struct block){ .key = cpu->block_key, .start = (uint16_t)s.start, .code = engine->one_code };
    block_fill(cpu, &s, b, 1, &engine->one_insn + 1, engine->one_code);
    b->page = s.page;
    return b;
}
