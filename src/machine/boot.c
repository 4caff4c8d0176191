/* SPDX-License-Identifier: MIT */
/* boot.c - loads the kernel and sets the boot CPU's registers as the loader says (Linux boot.rst, PVH, multiboot). */
#include "firmware/acpi.h"
#include "firmware/layout.h"
#include "machine/internal.h"

enum { GPR_RAX = 0, GPR_RBX = 3, GPR_RSP = 4, GPR_RSI = 6 };
#define MSR_EFER        0xc0000080u
#define EFER_LME_LMA    0x500
#define CR0_BOOT        0x11         /* PE, ET */
#define CR0_PG          UINT64_C(0x80000000)
#define CR4_PAE         0x20
#define ATTR_CODE32     0xc09b       /* G, D, present, code, accessed: hy_val's layout */
#define ATTR_CODE64     0xa09b       /* G, L */
#define ATTR_DATA       0xc093
#define ATTR_TSS32      0x008b       /* busy */
#define ATTR_LDT        0x0082
#define ATTR_REAL_CODE  0x009b
#define ATTR_REAL_DATA  0x0093
#define CR0_ET          0x10
#define RFLAGS_RESERVED 2

int machine_boot(struct machine *m, struct err *err)
{
    struct acpi_config acpi = {.memory = m->config.memory, .cpus = m->config.cpus, .serial = m->config.serial.kind != STREAM_OFF};
    int r = acpi_load(&acpi, m->map, &m->rsdp, err);
    if (r)
        return r;
    struct boot_request request = {.kernel = m->config.kernel, .initrd = m->config.initrd, .cmdline = m->config.cmdline, .memory = m->config.memory,
                                   .acpi_rsdp = m->rsdp, .map = m->map};
    r = boot_load(&request, &m->boot, err);
    return !r && m->boot.wants_bios_state ? machine_set_bios_state(m, err) : r;
}

static hy_val segment(uint16_t selector, uint16_t attributes, uint64_t base, uint32_t limit)
{
    hy_val v = {.seg = {.base = base, .limit = limit, .sel = selector, .attr = attributes}};
    return v;
}

struct batch { hy_reg names[32]; hy_val values[32]; size_t n; };

static void batch_u64(struct batch *b, hy_reg name, uint64_t value)
{
    b->names[b->n] = name;
    b->values[b->n] = (hy_val){.u64 = value};
    b->n++;
}

static void batch_segment(struct batch *b, unsigned which, hy_val value)
{
    b->names[b->n] = HY_SEG(which);
    b->values[b->n++] = value;
}

int vcpu_set_boot_registers(struct vcpu *v, struct err *err)
{
    const struct boot_state *boot = &v->machine->boot;
    bool is_long = boot->mode == BOOT_MODE_LONG;
    struct batch b = {.n = 0};
    batch_u64(&b, HY_CR(4), is_long ? CR4_PAE : 0);
    if (is_long) {
        batch_u64(&b, HY_CR(3), boot->cr3);
        batch_u64(&b, HY_MSR(MSR_EFER), EFER_LME_LMA);
    }
    batch_u64(&b, HY_CR(0), CR0_BOOT | (is_long ? CR0_PG : 0));
    batch_segment(&b, HY_CS, segment(BOOT_SELECTOR_CODE, is_long ? ATTR_CODE64 : ATTR_CODE32, 0, UINT32_MAX));
    static const unsigned data[] = {HY_DS, HY_ES, HY_SS, HY_FS, HY_GS};
    for (size_t i = 0; i < sizeof data / sizeof *data; i++)
        batch_segment(&b, data[i], segment(BOOT_SELECTOR_DATA, ATTR_DATA, 0, UINT32_MAX));
    batch_segment(&b, HY_TR, segment(BOOT_SELECTOR_TSS, ATTR_TSS32, LAYOUT_BOOT_TSS, 0x67));
    batch_segment(&b, HY_LDTR, segment(0, ATTR_LDT, 0, 0xffff));
    batch_segment(&b, HY_GDTR, segment(0, 0, LAYOUT_BOOT_GDT, LAYOUT_BOOT_GDT_LIMIT));
    batch_segment(&b, HY_IDTR, segment(0, 0, 0, 0));
    batch_u64(&b, HY_GPR(GPR_RAX), boot->rax);
    batch_u64(&b, HY_GPR(GPR_RBX), boot->rbx);
    batch_u64(&b, HY_GPR(GPR_RSP), boot->rsp);
    batch_u64(&b, HY_GPR(GPR_RSI), boot->rsi);
    batch_u64(&b, HY_FLAGS, RFLAGS_RESERVED);
    batch_u64(&b, HY_PC, boot->rip);
    hy_err e = hy_set(v->cpu, b.names, b.values, b.n);
    return e == HY_OK ? 0 : machine_hy_error(e, "setting the boot CPU's registers", err);
}

int vcpu_set_init_registers(struct vcpu *v, struct err *err)
{
    struct batch b = {.n = 0};
    batch_u64(&b, HY_CR(0), CR0_ET);
    batch_u64(&b, HY_MSR(MSR_EFER), 0);
    batch_u64(&b, HY_CR(3), 0);
    batch_u64(&b, HY_CR(4), 0);
    batch_segment(&b, HY_CS, segment(0xf000, ATTR_REAL_CODE, 0xffff0000, 0xffff));
    static const unsigned data[] = {HY_DS, HY_ES, HY_SS, HY_FS, HY_GS};
    for (size_t i = 0; i < sizeof data / sizeof *data; i++)
        batch_segment(&b, data[i], segment(0, ATTR_REAL_DATA, 0, 0xffff));
    batch_segment(&b, HY_TR, segment(0, ATTR_TSS32, 0, 0xffff));
    batch_segment(&b, HY_LDTR, segment(0, ATTR_LDT, 0, 0xffff));
    batch_segment(&b, HY_GDTR, segment(0, 0, 0, 0xffff));
    batch_segment(&b, HY_IDTR, segment(0, 0, 0, 0xffff));
    batch_u64(&b, HY_FLAGS, RFLAGS_RESERVED);
    batch_u64(&b, HY_PC, 0xfff0);
    hy_err e = hy_set(v->cpu, b.names, b.values, b.n);
    return e == HY_OK ? 0 : machine_hy_error(e, "setting a CPU's registers on INIT", err);
}
