/* SPDX-License-Identifier: MIT */
/* Port and memory-mapped I/O: widths, strings, splits, order, and the program counter around an exit. */
#include "conformance.h"

static void ports_in_every_width(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    const uint32_t answer = 0xa1b2c3d4;
    hy_exit *x;

    NEED_IRQ(rig, HY_IRQ_NONE);
    /* mov eax, 0x11223344; out 0x20, al; out 0x21, ax; out 0x22, eax; mov dx, 0x3f8; out dx, al;
     * in al, 0x30; in ax, 0x31; in eax, 0x32; in al, dx; hlt   (32-bit code) */
    CODE(g, 0xb8, 0x44, 0x33, 0x22, 0x11, 0xe6, 0x20, 0x66, 0xe7, 0x21, 0xe7, 0x22, 0x66, 0xba, 0xf8, 0x03, 0xee,
         0xe4, 0x30, 0x66, 0xe5, 0x31, 0xe5, 0x32, 0xec, 0xf4);
    guest_protected(g, CODE_AT);
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->write && x->u.io.port == 0x20 && x->u.io.width == 1 && x->u.io.count == 1 && exit_value(x) == 0x44);
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->write && x->u.io.port == 0x21 && x->u.io.width == 2 && exit_value(x) == 0x3344);
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->write && x->u.io.port == 0x22 && x->u.io.width == 4 && exit_value(x) == 0x11223344);
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(x->write && x->u.io.port == 0x3f8 && x->u.io.width == 1);
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(!x->write && x->u.io.port == 0x30 && x->u.io.width == 1);
    memcpy(x->u.io.data, &answer, 1);
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(!x->write && x->u.io.port == 0x31 && x->u.io.width == 2);
    CHECK(reg_get(g->cpu, HY_GPR(0)) == 0x112233d4);
    memcpy(x->u.io.data, &answer, 2);
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(reg_get(g->cpu, HY_GPR(0)) == 0x1122c3d4);
    memcpy(x->u.io.data, &answer, 4);
    x = run_to(g->cpu, HY_EXIT_IO);
    CHECK(reg_get(g->cpu, HY_GPR(0)) == answer && x->u.io.port == 0x3f8);
    run_to(g->cpu, HY_EXIT_HALT); /* nobody answered: all ones */
    CHECK(reg_get(g->cpu, HY_GPR(0)) == 0xa1b2c3ff);
}

/* The bytes of a string to or from a port, however the backend cuts it into exits. */
static void port_string(struct guest *g, uint16_t port, bool write, unsigned width, uint8_t *bytes, unsigned elements)
{
    for (unsigned done = 0; done < elements;) {
        hy_exit *x = run_to(g->cpu, HY_EXIT_IO);

        CHECK(x->write == write && x->u.io.port == port && x->u.io.width == width && x->u.io.count >= 1 && x->u.io.count <= elements - done);
        if (write)
            memcpy(bytes + done * width, x->u.io.data, (size_t)x->u.io.count * width);
        else
            memcpy(x->u.io.data, bytes + done * width, (size_t)x->u.io.count * width);
        done += x->u.io.count;
    }
}

static void port_strings(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    uint8_t out[600], in[600];

    for (unsigned i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 13 + 5);
    guest_write(g, 0x3f80, in, sizeof in); /* crosses a page */
    /* cld; mov esi, 0x3f80; mov ecx, 600; mov edx, 0x100; rep outsb; mov esi, 0x3f80; mov ecx, 300; rep outsw;
     * mov edi, 0x5f80; mov ecx, 600; rep insb; mov edi, 0x7000; mov ecx, 100; rep insd; out 0x10, ecx; hlt */
    CODE(g, 0xfc, 0xbe, 0x80, 0x3f, 0, 0, 0xb9, 0x58, 0x02, 0, 0, 0xba, 0x00, 0x01, 0, 0, 0xf3, 0x6e,
         0xbe, 0x80, 0x3f, 0, 0, 0xb9, 0x2c, 0x01, 0, 0, 0xf3, 0x66, 0x6f,
         0xbf, 0x80, 0x5f, 0, 0, 0xb9, 0x58, 0x02, 0, 0, 0xf3, 0x6c,
         0xbf, 0x00, 0x70, 0, 0, 0xb9, 0x64, 0, 0, 0, 0xf3, 0x6d, 0x89, 0xc8, 0xe7, 0x10, 0xf4);
    guest_protected(g, CODE_AT);
    port_string(g, 0x100, true, 1, out, 600);
    CHECK(!memcmp(in, out, 600));
    memset(out, 0, sizeof out);
    port_string(g, 0x100, true, 2, out, 300);
    CHECK(!memcmp(in, out, 600));
    port_string(g, 0x100, false, 1, in, 600);
    port_string(g, 0x100, false, 4, in, 100);
    run_to_out(g->cpu, 0x10, 0);
    CHECK(!memcmp(in, g->ram + 0x5f80, 600));
    CHECK(!memcmp(in, g->ram + 0x7000, 400));
}

/* A device of 4 KiB at MMIO_AT: what was accessed, in order, byte by byte. */
struct device { uint8_t bytes[4096]; struct { uint32_t at; uint8_t write, width; } log[64]; unsigned count; };

static void device_access(struct device *d, const hy_exit *x)
{
    uint64_t at = x->u.mmio.gpa - MMIO_AT;

    CHECK(x->reason == HY_EXIT_MMIO && x->u.mmio.gpa >= MMIO_AT && at + x->u.mmio.width <= sizeof d->bytes);
    CHECK(x->u.mmio.width >= 1 && x->u.mmio.width <= 16 && d->count < ARRAY_LEN(d->log));
    d->log[d->count].at = (uint32_t)at;
    d->log[d->count].write = x->write;
    d->log[d->count++].width = (uint8_t)x->u.mmio.width;
    if (x->write)
        memcpy(d->bytes + at, x->u.mmio.data, x->u.mmio.width);
    else
        memcpy(x->u.mmio.data, d->bytes + at, x->u.mmio.width);
}

/* Runs to the end, serving the device. */
static void device_serve(struct guest *g, struct device *d)
{
    for (;;) {
        hy_exit *x = run(g->cpu);

        if (x->reason == HY_EXIT_IO && x->write && x->u.io.port == 0xf4)
            return;
        device_access(d, x);
    }
}

/* Bytes that the device's log covers in order from `at`, in the direction: each access once. Returns the next log entry. */
static unsigned log_covers(const struct device *d, unsigned from, uint32_t at, unsigned len, bool write)
{
    while (len) {
        CHECK(from < d->count && d->log[from].at == at && d->log[from].write == write && d->log[from].width <= len);
        at += d->log[from].width;
        len -= d->log[from].width;
        from++;
    }
    return from;
}

static void mmio_in_every_width(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    struct device d = {.count = 0};
    unsigned at = 0;

    /* 64-bit: mov rax, 0x1122334455667788; mov ebx, 0x400000; mov [rbx], al; mov [rbx+2], ax; mov [rbx+4], eax; mov [rbx+8], rax;
     * movzx ecx, byte [rbx+1]; mov dx, [rbx+2]; mov esi, [rbx+4]; mov rdi, [rbx+8]; end */
    CODE(g, 0x48, 0xb8, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0xbb, 0x00, 0x00, 0x40, 0x00, 0x88, 0x03, 0x66, 0x89, 0x43, 0x02, 0x89, 0x43, 0x04,
         0x48, 0x89, 0x43, 0x08, 0x0f, 0xb6, 0x4b, 0x01, 0x66, 0x8b, 0x53, 0x02, 0x8b, 0x73, 0x04, 0x48, 0x8b, 0x7b, 0x08, END);
    d.bytes[1] = 0x99;
    guest_long(g, CODE_AT);
    device_serve(g, &d);
    at = log_covers(&d, at, 0, 1, true);
    at = log_covers(&d, at, 2, 2, true);
    at = log_covers(&d, at, 4, 4, true);
    at = log_covers(&d, at, 8, 8, true);
    at = log_covers(&d, at, 1, 1, false);
    at = log_covers(&d, at, 2, 2, false);
    at = log_covers(&d, at, 4, 4, false);
    at = log_covers(&d, at, 8, 8, false);
    CHECK(at == d.count);
    CHECK(reg_get(g->cpu, HY_GPR(1)) == 0x99 && (uint16_t)reg_get(g->cpu, HY_GPR(2)) == 0x7788);
    CHECK(reg_get(g->cpu, HY_GPR(6)) == 0x55667788 && reg_get(g->cpu, HY_GPR(7)) == UINT64_C(0x1122334455667788));
}

static void mmio_read_modify_write(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    struct device d = {.bytes = {5, 0, 0, 0, 7, 0, 0, 0}};
    unsigned at = 0;

    /* mov eax, 3; add [0x400000], eax; inc dword [0x400004]; xchg eax, [0x400000]; end */
    CODE(g, 0xb8, 3, 0, 0, 0, 0x01, 0x05, 0, 0, 0x40, 0, 0xff, 0x05, 4, 0, 0x40, 0, 0x87, 0x05, 0, 0, 0x40, 0, END);
    guest_protected(g, CODE_AT);
    device_serve(g, &d);
    for (unsigned i = 0; i < 3; i++) {
        at = log_covers(&d, at, i == 1 ? 4 : 0, 4, false);
        at = log_covers(&d, at, i == 1 ? 4 : 0, 4, true);
    }
    CHECK(at == d.count);
    CHECK(d.bytes[0] == 3 && d.bytes[4] == 8 && reg_get(g->cpu, HY_GPR(0)) == 8);
}

static void mmio_strings(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    struct device d = {.count = 0};
    unsigned at = 0;

    for (unsigned i = 0; i < 32; i++)
        d.bytes[i] = (uint8_t)(i + 1);
    /* MMIO to RAM, RAM to MMIO, MMIO to MMIO, 4 dwords each; then rep stosb of 3 bytes:
     * cld; mov esi, 0x400000; mov edi, 0x3000; mov ecx, 4; rep movsd; mov esi, 0x3000; mov edi, 0x400040; mov ecx, 4; rep movsd;
     * mov esi, 0x400000; mov edi, 0x400080; mov ecx, 4; rep movsd; mov al, 0x77; mov edi, 0x4000c0; mov ecx, 3; rep stosb; end */
    CODE(g, 0xfc, 0xbe, 0, 0, 0x40, 0, 0xbf, 0, 0x30, 0, 0, 0xb9, 4, 0, 0, 0, 0xf3, 0xa5, 0xbe, 0, 0x30, 0, 0, 0xbf, 0x40, 0, 0x40, 0, 0xb9, 4, 0, 0, 0, 0xf3, 0xa5,
         0xbe, 0, 0, 0x40, 0, 0xbf, 0x80, 0, 0x40, 0, 0xb9, 4, 0, 0, 0, 0xf3, 0xa5, 0xb0, 0x77, 0xbf, 0xc0, 0, 0x40, 0, 0xb9, 3, 0, 0, 0, 0xf3, 0xaa, END);
    guest_protected(g, CODE_AT);
    device_serve(g, &d);
    for (uint32_t i = 0; i < 4; i++)
        at = log_covers(&d, at, 4 * i, 4, false);
    for (uint32_t i = 0; i < 4; i++)
        at = log_covers(&d, at, 0x40 + 4 * i, 4, true);
    for (uint32_t i = 0; i < 4; i++) {
        at = log_covers(&d, at, 4 * i, 4, false);
        at = log_covers(&d, at, 0x80 + 4 * i, 4, true);
    }
    for (uint32_t i = 0; i < 3; i++)
        at = log_covers(&d, at, 0xc0 + i, 1, true);
    CHECK(at == d.count);
    CHECK(!memcmp(g->ram + 0x3000, d.bytes, 16) && !memcmp(d.bytes, d.bytes + 0x40, 16) && !memcmp(d.bytes, d.bytes + 0x80, 16));
    CHECK(reg_get(g->cpu, HY_GPR(1)) == 0 && reg_get(g->cpu, HY_GPR(7)) == 0x4000c3);
}

static void mmio_across_an_edge(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    struct device d = {.count = 0};
    uint32_t value = 0;

    OK(hy_map(g->vm, MMIO_AT - 0x10000, g->mem, 0x100000, 0x10000, HY_R | HY_W | HY_X)); /* memory up to the device */
    memset(g->ram + 0x10fff0, 0x66, 16);
    d.bytes[0] = 0x11;
    d.bytes[1] = 0x22;
    /* mov eax, [0x3ffffe]; mov dword [0x3ffffe], 0xaabbccdd; end */
    CODE(g, 0xa1, 0xfe, 0xff, 0x3f, 0, 0xc7, 0x05, 0xfe, 0xff, 0x3f, 0, 0xdd, 0xcc, 0xbb, 0xaa, END);
    guest_protected(g, CODE_AT);
    device_serve(g, &d);
    CHECK(log_covers(&d, log_covers(&d, 0, 0, 2, false), 0, 2, true) == d.count);
    CHECK((uint32_t)reg_get(g->cpu, HY_GPR(0)) == 0x22116666);
    memcpy(&value, g->ram + 0x10fffc, 4);
    CHECK(value == 0xccdd6666 && d.bytes[0] == 0xbb && d.bytes[1] == 0xaa);
}

static void mmio_of_vectors(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    struct device d = {.count = 0};
    hy_reg xmm = HY_VEC(3);
    hy_val value;

    for (unsigned i = 0; i < 16; i++)
        d.bytes[i] = (uint8_t)(0xf0 + i);
    /* mov ebx, 0x400000; movdqu xmm3, [rbx]; movdqu [rbx+32], xmm3; end */
    CODE(g, 0xbb, 0, 0, 0x40, 0, 0xf3, 0x0f, 0x6f, 0x1b, 0xf3, 0x0f, 0x7f, 0x5b, 0x20, END);
    guest_long(g, CODE_AT);
    device_serve(g, &d);
    CHECK(log_covers(&d, log_covers(&d, 0, 0, 16, false), 32, 16, true) == d.count);
    CHECK(!memcmp(d.bytes, d.bytes + 32, 16));
    OK(hy_get(g->cpu, &xmm, &value, 1));
    CHECK(!memcmp(value.u128, d.bytes, 16));
}

static void the_pc_is_defined_after_finish(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    hy_reg pc = HY_PC;
    hy_val value;
    hy_exit *x;

    /* 0: out 0x10, al (2); 2: in al, 0x11 (2); 4: mov eax, [0x400000] (5); 9: mov [0x400000], eax (5); 14: end */
    CODE(g, 0xe6, 0x10, 0xe4, 0x11, 0xa1, 0, 0, 0x40, 0, 0xa3, 0, 0, 0x40, 0, END);
    guest_protected(g, CODE_AT);
    static const uint32_t after[] = {2, 4, 9, 14};
    for (unsigned i = 0; i < 4; i++) {
        x = run(g->cpu);
        CHECK(x->reason == (i < 2 ? HY_EXIT_IO : HY_EXIT_MMIO));
        CHECK_ERR(hy_get(g->cpu, &pc, &value, 1), HY_E_STATE);
        if (i == 1)
            *(uint8_t *)x->u.io.data = 0x5a;
        OK(hy_finish(g->cpu, &x));
        CHECK(x->reason == HY_EXIT_NONE);
        CHECK(reg_get(g->cpu, HY_PC) == CODE_AT + after[i]);
        if (i == 1)
            CHECK((reg_get(g->cpu, HY_GPR(0)) & 0xff) == 0x5a);
        OK(hy_finish(g->cpu, &x)); /* again: nothing happens */
        CHECK(x->reason == HY_EXIT_NONE && reg_get(g->cpu, HY_PC) == CODE_AT + after[i]);
    }
    run_to_end(g->cpu);
}

static void finishing_a_split_access_gives_the_rest(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    struct device d = {.count = 0};
    hy_exit *x;

    CODE(g, 0xbb, 0, 0, 0x40, 0, 0xf3, 0x0f, 0x7f, 0x1b, END); /* mov ebx, 0x400000; movdqu [rbx], xmm3; end */
    guest_long(g, CODE_AT);
    for (x = run_to(g->cpu, HY_EXIT_MMIO); x->reason == HY_EXIT_MMIO;) {
        device_access(&d, x);
        OK(hy_finish(g->cpu, &x));
    }
    CHECK(x->reason == HY_EXIT_NONE && log_covers(&d, 0, 0, 16, true) == d.count);
    CHECK(reg_get(g->cpu, HY_PC) == CODE_AT + 9);
    run_to_end(g->cpu);
    CHECK(log_covers(&d, 0, 0, 16, true) == d.count);
}

static void bells_ring(struct rig *rig)
{
    struct guest *g = guest_new(rig, HY_IRQ_NONE, 1);
    intptr_t event = bell_new();
    const uint64_t match = 7;

    if (event < 0)
        SKIP("no events on this host");
    /* mov al, 7; out 0x40, al; mov al, 8; out 0x40, al; mov dword [0x400008], 1; end */
    CODE(g, 0xb0, 7, 0xe6, 0x40, 0xb0, 8, 0xe6, 0x40, 0xc7, 0x05, 8, 0, 0x40, 0, 1, 0, 0, 0, END);
    CHECK_ERR(hy_bell(g->vm, 0, 0x40, 3, NULL, event, 1), HY_E_INVAL);
    OK(hy_bell(g->vm, 0, 0x40, 1, &match, event, 1));
    OK(hy_bell(g->vm, 1, 0x400008, 4, NULL, event, 1));
    guest_protected(g, CODE_AT);
    run_to_out(g->cpu, 0x40, 8);
    CHECK(bell_rang(event) && !bell_rang(event));
    run_to_end(g->cpu);
    CHECK(bell_rang(event));
    OK(hy_bell(g->vm, 0, 0x40, 1, &match, event, 0));
    OK(hy_bell(g->vm, 1, 0x400008, 4, NULL, event, 0));
    guest_protected(g, CODE_AT);
    run_to_out(g->cpu, 0x40, 7);
    CHECK(!bell_rang(event));
    bell_free(event);
}

const struct test_case cases_io[] = {
    {"ports-in-every-width", ports_in_every_width},
    {"port-strings", port_strings},
    {"mmio-in-every-width", mmio_in_every_width},
    {"mmio-read-modify-write", mmio_read_modify_write},
    {"mmio-strings", mmio_strings},
    {"mmio-across-an-edge", mmio_across_an_edge},
    {"mmio-of-vectors", mmio_of_vectors},
    {"the-pc-is-defined-after-finish", the_pc_is_defined_after_finish},
    {"finishing-a-split-access-gives-the-rest", finishing_a_split_access_gives_the_rest},
    {"bells-ring", bells_ring},
    {NULL, NULL},
};
