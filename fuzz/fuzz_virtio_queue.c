/* SPDX-License-Identifier: MIT */
/* The queue alone, its rings and tables being the input, over memory whose bytes change between fetches. What a chain says must hold. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "virtio/queue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY = 64 << 10 };

static void on_fetch(void *opaque, uint64_t gpa, void *bytes, size_t len)
{
    uint64_t *random = opaque;
    (void)gpa;
    *random = *random * UINT64_C(6364136223846793005) + 1;
    if (*random >> 60 == 0)
        ((uint8_t *)bytes)[(*random >> 32) % len] ^= (uint8_t)(*random >> 40);
}

static void check_chain(const struct vq_chain *c)
{
    uint64_t reads = 0, writes = 0;
    if (c->reads + c->writes > VQ_SEGS_MAX)
        abort();
    for (unsigned i = 0; i < (unsigned)c->reads + c->writes; i++) {
        *(i < c->reads ? &reads : &writes) += c->segs[i].len;
        if (!c->segs[i].len)
            abort();
    }
    if (reads != c->read_bytes || writes != c->write_bytes || reads > VQ_CHAIN_BYTES_MAX || writes > VQ_CHAIN_BYTES_MAX)
        abort();
}

static void use_chain(struct virtqueue *q, const struct vq_chain *c)
{
    static uint8_t bytes[4096];
    struct mem_pin pins[VQ_SEGS_MAX];
    struct iovec iov[VQ_SEGS_MAX];
    check_chain(c);
    vq_copy_in(q, c, c->head, bytes, c->read_bytes % sizeof bytes);
    vq_copy_out(q, c, c->head % 16, bytes, c->write_bytes % sizeof bytes);
    int n = vq_pin(q, c, MEM_W, 1, c->write_bytes ? c->write_bytes - 1 : 0, pins, iov);
    while (n > 0)
        mem_unpin(&pins[--n], 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 16)
        return 0;
    uint64_t random = load_le64(data);
    struct mem_block *block = mem_block_new(MEMORY, NULL);
    struct mem_map *map = mem_map_new(NULL);
    if (!block || !map || mem_map_add(map, 0, block, 0, MEMORY, MEM_R | MEM_W, NULL))
        abort();
    memcpy(mem_block_host(block), data, size < MEMORY ? size : MEMORY);
    if (data[8] & 1)
        mem_map_set_fetch_hook(map, on_fetch, &random);
    struct vq_state state;
    struct virtqueue q = { .state = &state, .memory = map };
    vq_reset(&q, 256);
    state.size = 1 << (data[9] & 7);
    state.descriptors = load_le16(data + 10) & 0x7f0;
    state.available = load_le16(data + 12) & 0x7fe;
    state.used = data[8] & 2 ? 0x8000 : load_le16(data + 14) & 0x7fc;
    q.event_index = data[8] & 4;
    q.indirect = data[8] & 8;
    if (vq_check(&q, NULL) == 0) {
        struct vq_chain chain;
        for (unsigned i = 0; i < 300 && vq_pop(&q, &chain) > 0; i++) {
            use_chain(&q, &chain);
            if (i % 7 == 3)
                vq_unpop(&q, 1);
            else if (i % 5)
                vq_push(&q, chain.head, chain.write_bytes);
            vq_should_signal(&q);
            vq_quiet(&q);
            vq_listen(&q);
        }
        if (q.broken != (q.fault != NULL))
            abort();
    }
    mem_map_free(map);
    mem_block_unref(block);
    return 0;
}
