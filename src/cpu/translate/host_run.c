/* SPDX-License-Identifier: MIT */
/* host_run.c - see host_run.h. Each encoding gets a small function that loads its operands from the frame (RDI), executes it, and stores them back; the functions are kept by
 * the encoding's bytes, so that the host does not see its code change all the time. */
#include "cpu/translate/host_run.h"

#include <stddef.h>
#include <stdlib.h>

#include "cpu/translate/emit_evex.h"
#include "cpu/translate/host.h"

enum { SLOTS = 256, SLOT_BYTES = 256, KEY_BYTES = 16 };

struct host_runner {
    struct code_memory memory;
    uint64_t features[4];
    uint8_t key[SLOTS][KEY_BYTES]; /* the instruction, as it is executed: its length, its bytes */
};

typedef void host_function(struct host_frame *);

static const uint8_t offered[] = { FEATURE_AVX512F, FEATURE_AVX512CD, FEATURE_AVX512BW, FEATURE_AVX512DQ, FEATURE_AVX512IFMA, FEATURE_AVX512VBMI,
    FEATURE_AVX512VBMI2, FEATURE_AVX512VNNI, FEATURE_AVX512BITALG, FEATURE_AVX512VPOPCNTDQ, FEATURE_AVX512BF16,
    FEATURE_VAES, FEATURE_VPCLMULQDQ };

void host_run_new(struct cpu *cpu)
{
    uint64_t features[4];
    host_features(features);
    if (!(features[FEATURE_AVX512F / 64] >> FEATURE_AVX512F % 64 & 1))
        return;
    struct host_runner *n = calloc(1, sizeof *n);
    struct code_memory *memory = &cpu->vm->host_runner[cpu->index];
    if (!n || (!memory->size && code_memory_new(memory, SLOTS * SLOT_BYTES))) {
        free(n);
        return;
    }
    n->memory = *memory;
    for (unsigned i = 0; i < ARRAY_LEN(offered); i++)
        n->features[offered[i] / 64] |= features[offered[i] / 64] & BIT(offered[i] % 64);
    cpu->host_runner = n;
}

void host_run_free(struct cpu *cpu)
{
    free(cpu->host_runner);
    cpu->host_runner = NULL;
}

void host_run_features(const struct cpu *cpu, uint64_t features[4])
{
    for (unsigned i = 0; i < 4; i++)
        features[i] = cpu->host_runner ? cpu->host_runner->features[i] : 0;
}

/* ---- code --------------------------------------------------------------------------------------------------------------------------------------------------------- */

static struct host_memory in_frame(size_t offset) { return at_base(RDI, (int32_t)offset); }

/* The opmask registers that take part, as bits. */
static unsigned masks_of(const struct insn *in)
{
    unsigned masks = in->prefix & PFX_EVEX ? 1u << evex_mask_register(in->payload) & ~1u : 0;
    for (unsigned i = 0; i < in->nopnd; i++)
        if (in->opnd[i].kind == OPND_MASK)
            masks |= 1u << in->opnd[i].reg;
    return masks;
}

enum { KMOVQ_LOAD = 0x90, KMOVQ_STORE = 0x91 };

static void emit_masks(struct emit *e, unsigned masks, unsigned opcode)
{
    for (unsigned k = 0; k < 8; k++) {
        struct host_memory m = in_frame(offsetof(struct host_frame, mask) + 8 * k);
        if (!(masks >> k & 1))
            continue;
        emit_bytes(e, "\xc4\xe1\xf8", 3); /* VEX.L0.0F.W1 */
        emit_byte(e, opcode);
        emit_modrm(e, k, &m);
    }
}

static void emit_instruction(struct emit *e, const struct insn *in)
{
    struct evex_registers r = evex_registers_of(in);
    for (unsigned i = 0; i < in->nopnd; i++) {
        const struct insn_opnd *o = &in->opnd[i];
        if (o->kind == OPND_GPR)
            *(o->field == FIELD_REG ? &r.reg : &r.rm) = RAX;
        if (o->kind == OPND_MEM)
            r.memory = in_frame(offsetof(struct host_frame, memory)), r.has_memory = true;
    }
    emit_evex_or_vex(e, in, &r);
}

static void emit_function(struct emit *e, const struct insn *in)
{
    unsigned masks = masks_of(in);
    emit_op_memory(e, false, 0x0fae, 3, in_frame(offsetof(struct host_frame, host_mxcsr))); /* STMXCSR */
    emit_op_memory(e, false, 0x0fae, 2, in_frame(offsetof(struct host_frame, mxcsr)));      /* LDMXCSR */
    emit_masks(e, masks, KMOVQ_LOAD);
    for (unsigned i = 0; i < in->nopnd; i++)
        if (in->opnd[i].kind == OPND_XMM)
            emit_zmm_move(e, ZMM_LOAD, in->opnd[i].reg, in_frame(offsetof(struct host_frame, vec) + 64 * i));
    emit_load(e, RAX, in_frame(offsetof(struct host_frame, gpr)));
    emit_instruction(e, in);
    emit_byte(e, 0x9c); /* PUSHFQ; POP */
    emit_op_memory(e, false, 0x8f, 0, in_frame(offsetof(struct host_frame, flags)));
    emit_store(e, in_frame(offsetof(struct host_frame, gpr)), RAX);
    if (in->opnd[0].kind == OPND_XMM)
        emit_zmm_move(e, ZMM_STORE, in->opnd[0].reg, in_frame(offsetof(struct host_frame, vec)));
    emit_masks(e, masks, KMOVQ_STORE);
    emit_op_memory(e, false, 0x0fae, 3, in_frame(offsetof(struct host_frame, mxcsr)));
    emit_op_memory(e, false, 0x0fae, 2, in_frame(offsetof(struct host_frame, host_mxcsr)));
    emit_bytes(e, "\xc5\xf8\x77\xc3", 4); /* VZEROUPPER, RET */
}

static unsigned slot_of(const uint8_t key[KEY_BYTES])
{
    return (unsigned)((load_le64(key) ^ load_le64(key + 8)) * UINT64_C(0x9e3779b97f4a7c15) >> 56) & (SLOTS - 1);
}

void host_run(struct cpu *cpu, const struct insn *in, struct host_frame *f)
{
    struct host_runner *n = cpu->host_runner;
    uint8_t key[KEY_BYTES] = { 0 };
    emit_instruction(&(struct emit){ .at = key + 1, .end = key + KEY_BYTES }, in);
    key[0] = (uint8_t)in->nopnd;
    unsigned slot = slot_of(key);
    if (memcmp(n->key[slot], key, KEY_BYTES)) {
        uint8_t *at = n->memory.write + slot * SLOT_BYTES;
        struct emit e = { .at = at, .end = at + SLOT_BYTES, .run = n->memory.run - n->memory.write };
        emit_function(&e, in);
        memcpy(n->key[slot], key, KEY_BYTES);
    }
    host_function *function;
    const uint8_t *code = n->memory.run + slot * SLOT_BYTES;
    memcpy(&function, &code, sizeof function); /* ISO C has no cast from an object's to a function's pointer */
    function(f);
}
