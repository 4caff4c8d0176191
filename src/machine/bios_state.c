/* SPDX-License-Identifier: MIT */
/* bios_state.c - what a BIOS leaves behind for a multiboot kernel that goes back to real mode: an interrupt vector table whose entries return, the two i8259s
 * at vectors 08h and 70h with the timer unmasked, and the timer at 18.2 Hz. Kernels that never leave protected mode set all of it up themselves. */
#include "firmware/layout.h"
#include "machine/internal.h"

enum { /* i8259: data sheet; i8254: data sheet */
    PIC1 = 0x20, PIC2 = 0xa0, PIC_ICW1 = 0x11, PIC1_BASE = 0x08, PIC2_BASE = 0x70, PIC1_MASK = 0xfa /* timer, cascade */, PIC2_MASK = 0xff,
    PIT_COUNTER0 = 0x40, PIT_CONTROL = 0x43, PIT_MODE3_WORD = 0x36,
};
enum { STUB_RETURN = 0, STUB_IRQ = 0x10, STUB_IRQ2 = 0x20, STUBS = 0x30, VECTORS = 256 };

static void out(struct machine *m, uint16_t port, uint8_t value) { bus_write(m->bus, BUS_PORT, port, 1, value); }

static void set_interrupt_controllers(struct machine *m)
{
    static const uint8_t words[2][3] = { { PIC1_BASE, 1 << 2, 1 }, { PIC2_BASE, 2, 1 } }; /* ICW2 to ICW4 */
    static const uint16_t ports[2] = { PIC1, PIC2 };
    for (unsigned i = 0; i < 2; i++) {
        out(m, ports[i], PIC_ICW1);
        for (unsigned k = 0; k < 3; k++)
            out(m, (uint16_t)(ports[i] + 1), words[i][k]);
        out(m, (uint16_t)(ports[i] + 1), i ? PIC2_MASK : PIC1_MASK);
    }
    out(m, PIT_CONTROL, PIT_MODE3_WORD);
    out(m, PIT_COUNTER0, 0);
    out(m, PIT_COUNTER0, 0);
}

int machine_set_bios_state(struct machine *m, struct err *err)
{
    static const uint8_t stubs[STUBS] = {
        [STUB_RETURN] = 0xcf,                                                /* iret                                                */
        [STUB_IRQ] = 0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf,               /* push ax; mov al, 20h; out 20h, al; pop ax; iret      */
        [STUB_IRQ2] = 0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf,  /* the same, and to the second one first                */
    };
    uint8_t vectors[VECTORS * 4];
    for (unsigned i = 0; i < VECTORS; i++) {
        unsigned offset = i - PIC1_BASE < 8 ? STUB_IRQ : i - PIC2_BASE < 8 ? STUB_IRQ2 : STUB_RETURN;
        store_le16(vectors + i * 4, (uint16_t)offset);
        store_le16(vectors + i * 4 + 2, LAYOUT_ROM_BASE >> 4);
    }
    if (mem_load_image(m->map, LAYOUT_ROM_BASE, stubs, sizeof stubs) || mem_load_image(m->map, 0, vectors, sizeof vectors))
        return err_set(err, ERR_INTERNAL, "no memory is mapped for the interrupt vectors");
    set_interrupt_controllers(m);
    return 0;
}
