/* SPDX-License-Identifier: MIT */
/* x87_image.c - the x87 in memory: FSTENV and FSAVE images of three layouts, and the FXSAVE image (SDM vol. 1, 8.1.10 and 10.5.1). */
#include "cpu/x87.h"

void x87_update_summary(struct cpu_x87 *x)
{
    bool pending = x->fsw & ~x->fcw & 0x3f;

    x->fsw = (x->fsw & ~0x8080) | (pending ? 0x8080 : 0); /* ES, and B as its mirror */
}

void x87_set_control(struct cpu_x87 *x, uint16_t fcw)
{
    x->fcw = (fcw & 0x1f3f) | 0x40;
    x87_update_summary(x);
}

void x87_init(struct cpu_x87 *x)
{
    x->fcw = 0x37f;
    x->fsw = x->fop = x->fcs = x->fds = 0;
    x->fip = x->fdp = 0;
    x->empty = 0xff;
}

bool x87_is_initial(const struct cpu_x87 *x)
{
    bool initial = x->fcw == 0x37f && !x->fsw && !x->fop && !x->fip && !x->fdp && x->empty == 0xff;

    for (unsigned i = 0; i < 8; i++)
        initial &= !x->r[i].significand && !x->r[i].sign_exponent;
    return initial;
}

/* The two tag bits of the full tag word: valid, zero, special, empty. */
static unsigned tag_of(const struct cpu_x87 *x, unsigned physical)
{
    struct f80 v = x->r[physical];

    if (x->empty >> physical & 1)
        return 3;
    if ((v.sign_exponent & 0x7fff) == 0)
        return v.significand ? 2 : 1;
    return (v.sign_exponent & 0x7fff) == 0x7fff || !(v.significand >> 63) ? 2 : 0;
}

uint16_t x87_tag_word(const struct cpu_x87 *x)
{
    unsigned word = 0;

    for (unsigned i = 0; i < 8; i++)
        word |= tag_of(x, i) << (2 * i);
    return word;
}

static void set_tag_word(struct cpu_x87 *x, uint16_t word)
{
    x->empty = 0;
    for (unsigned i = 0; i < 8; i++)
        x->empty |= (unsigned)((word >> (2 * i) & 3) == 3) << i;
}

void x87_put_f80(uint8_t *p, struct f80 v)
{
    store_le64(p, v.significand);
    store_le16(p + 8, v.sign_exponent);
}

struct f80 x87_get_f80(const uint8_t *p) { return (struct f80){ load_le64(p), load_le16(p + 8) }; }

/* SDM vol. 1 figures 8-9 to 8-12. In real-address and virtual-8086 mode the pointers are linear addresses cut in two. */
unsigned x87_put_environment(const struct cpu_x87 *x, uint8_t *p, unsigned opsize, bool real)
{
    uint16_t tags = x87_tag_word(x);

    if (opsize == 2) {
        store_le16(p, x->fcw);
        store_le16(p + 2, x->fsw);
        store_le16(p + 4, tags);
        store_le16(p + 6, x->fip);
        store_le16(p + 8, real ? (x->fip >> 4 & 0xf000) | x->fop : x->fcs);
        store_le16(p + 10, x->fdp);
        store_le16(p + 12, real ? x->fdp >> 4 & 0xf000 : x->fds);
        return 14;
    }
    store_le32(p, 0xffff0000u | x->fcw);
    store_le32(p + 4, 0xffff0000u | x->fsw);
    store_le32(p + 8, 0xffff0000u | tags);
    if (real) {
        store_le32(p + 12, 0xffff0000u | (x->fip & 0xffff));
        store_le32(p + 16, (x->fip >> 16 & 0xffff) << 12 | x->fop);
        store_le32(p + 20, 0xffff0000u | (x->fdp & 0xffff));
        store_le32(p + 24, (x->fdp >> 16 & 0xffff) << 12);
    } else {
        store_le32(p + 12, x->fip);
        store_le32(p + 16, (uint32_t)x->fop << 16 | x->fcs);
        store_le32(p + 20, x->fdp);
        store_le32(p + 24, 0xffff0000u | x->fds);
    }
    return 28;
}

unsigned x87_get_environment(struct cpu_x87 *x, const uint8_t *p, unsigned opsize, bool real)
{
    unsigned step = opsize == 2 ? 2 : 4;

    x->fsw = load_le16(p + step);
    set_tag_word(x, load_le16(p + 2 * step));
    x->fip = load_le16(p + 3 * step);
    x->fdp = load_le16(p + 5 * step);
    x->fcs = x->fds = 0;
    if (opsize == 2 && real) {
        x->fip |= (load_le16(p + 8) & 0xf000) << 4;
        x->fop = load_le16(p + 8) & 0x7ff;
        x->fdp |= (load_le16(p + 12) & 0xf000) << 4;
    } else if (opsize == 2) {
        x->fop = 0;
    } else if (real) {
        x->fip |= (load_le32(p + 16) >> 12 & 0xffff) << 16;
        x->fop = load_le32(p + 16) & 0x7ff;
        x->fdp |= (load_le32(p + 24) >> 12 & 0xffff) << 16;
    } else {
        x->fip = load_le32(p + 12);
        x->fop = load_le16(p + 18) & 0x7ff;
        x->fdp = load_le32(p + 20);
    }
    x87_set_control(x, load_le16(p));
    return 7 * step;
}

void x87_put_registers(const struct cpu_x87 *x, uint8_t *p, unsigned stride)
{
    for (unsigned i = 0; i < 8; i++, p += stride)
        x87_put_f80(p, x->r[(x87_top(x) + i) & 7]);
}

void x87_get_registers(struct cpu_x87 *x, const uint8_t *p, unsigned stride)
{
    for (unsigned i = 0; i < 8; i++, p += stride)
        x->r[(x87_top(x) + i) & 7] = x87_get_f80(p);
}

void x87_put_fxsave(const struct cpu_x87 *x, uint8_t *p, bool wide)
{
    memset(p, 0, 24);
    memset(p + 32, 0, 128);
    store_le16(p, x->fcw);
    store_le16(p + 2, x->fsw);
    p[4] = ~x->empty;
    store_le16(p + 6, x->fop);
    if (wide) {
        store_le64(p + 8, x->fip);
        store_le64(p + 16, x->fdp);
    } else {
        store_le32(p + 8, x->fip);
        store_le16(p + 12, x->fcs);
        store_le32(p + 16, x->fdp);
        store_le16(p + 20, x->fds);
    }
    x87_put_registers(x, p + 32, 16);
}

void x87_get_fxsave(struct cpu_x87 *x, const uint8_t *p, bool wide)
{
    x->fsw = load_le16(p + 2);
    x->empty = ~p[4];
    x->fop = load_le16(p + 6) & 0x7ff;
    x->fip = wide ? load_le64(p + 8) : load_le32(p + 8);
    x->fdp = wide ? load_le64(p + 16) : load_le32(p + 16);
    x->fcs = x->fds = 0;
    x87_get_registers(x, p + 32, 16);
    x87_set_control(x, load_le16(p));
}
