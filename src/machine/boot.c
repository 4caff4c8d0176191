/* SPDX-License-Identifier: MIT */
/* boot.c - loads the kernel, or an IGVM file, and sets the boot CPU's registers as the loader says (Linux boot.rst, PVH, multiboot; igvm.h).
 *
 * An IGVM file's registers are hostile: bits that a CPU would refuse to start with are refused here with one line, so that backends see only what a CPU can have.
 */
#include "firmware/acpi.h"
#include "firmware/igvm_load.h"
#include "firmware/layout.h"
#include "machine/internal.h"

enum { GPR_RAX = 0, GPR_RBX = 3, GPR_RSP = 4, GPR_RSI = 6, GPRS = 16 };
#define MSR_EFER        0xc0000080u
#define EFER_LME        0x100
#define EFER_LMA        0x400
#define EFER_LME_LMA    0x500
#define RFLAGS_KNOWN    0x3f7fd7   /* SDM 1:3.4.3 */
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

/* What a CPU cannot be in: SDM 3:2.5, 3:4.1, 3:26.3.1. */
static int check_context(const struct machine *m, igvm_native_context *c, struct err *err)
{
    const char *fault = NULL;
    bool is_long = c->cr0 & CR0_PG && c->efer & EFER_LME;
    if (c->cr0 & CR0_PG && !(c->cr0 & 1))
        fault = "CR0 has PG without PE";
    else if (c->cr0 >> 32 || c->cr4 >> 32 || c->efer >> 16)
        fault = "CR0, CR4 or EFER has reserved bits";
    else if (is_long && !(c->cr4 & CR4_PAE))
        fault = "EFER.LME and CR0.PG without CR4.PAE";
    else if (c->efer & EFER_LMA && !is_long)
        fault = "EFER.LMA without paging in long mode";
    else if ((c->code_attributes | c->data_attributes) & 0xf00)
        fault = "segment attributes have reserved bits";
    else if ((int64_t)(c->gs_base << 16) >> 16 != (int64_t)c->gs_base || (int64_t)(c->gdtr_base << 16) >> 16 != (int64_t)c->gdtr_base ||
             (int64_t)(c->idtr_base << 16) >> 16 != (int64_t)c->idtr_base)
        fault = "a base is not canonical";
    if (fault)
        return err_set(err, ERR_INPUT, "%s: its first registers: %s", m->config.igvm.option, fault);
    c->rflags = (c->rflags & RFLAGS_KNOWN) | RFLAGS_RESERVED;
    c->efer |= is_long ? EFER_LMA : 0;
    return 0;
}

static int boot_igvm(struct machine *m, struct err *err)
{
    struct igvm_load_request request = {.file = m->config.igvm, .cmdline = m->config.cmdline, .memory = m->config.memory, .cpus = m->config.cpus,
                                        .serial = m->config.serial.kind != STREAM_OFF, .map = m->map, .make_firmware_ram = machine_make_firmware_ram, .opaque = m};
    int r = igvm_load(&request, &m->context, err);
    m->boot = (struct boot_state){.mode = BOOT_MODE_CONTEXT, .format = "IGVM"};
    return r ? r : check_context(m, &m->context, err);
}

int machine_boot(struct machine *m, struct err *err)
{
    struct acpi_config acpi = {.memory = m->config.memory, .cpus = m->config.cpus, .serial = m->config.serial.kind != STREAM_OFF};
    int r = acpi_load(&acpi, m->map, &m->rsdp, err);
    if (r)
        return r;
    if (m->config.igvm.len)
        return boot_igvm(m, err);
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

static int batch_set(struct vcpu *v, const struct batch *b, const char *what, struct err *err)
{
    hy_err e = hy_set(v->cpu, b->names, b->values, b->n);
    return e == HY_OK ? 0 : machine_hy_error(e, what, err);
}

/* What the file does not tell keeps its reset value. */
static int set_context(struct vcpu *v, struct err *err)
{
    const igvm_native_context *c = &v->machine->context;
    const uint64_t gprs[GPRS] = {c->rax, c->rcx, c->rdx, c->rbx, c->rsp, c->rbp, c->rsi, c->rdi, c->r8, c->r9, c->r10, c->r11, c->r12, c->r13, c->r14, c->r15};
    struct batch b = {.n = 0};
    batch_u64(&b, HY_CR(4), c->cr4);
    batch_u64(&b, HY_CR(3), c->cr3);
    batch_u64(&b, HY_MSR(MSR_EFER), c->efer);
    batch_u64(&b, HY_CR(0), c->cr0);
    batch_segment(&b, HY_CS, segment(c->code_selector, c->code_attributes, c->code_base, c->code_limit));
    static const unsigned data[] = {HY_DS, HY_ES, HY_SS, HY_FS};
    for (size_t i = 0; i < sizeof data / sizeof *data; i++)
        batch_segment(&b, data[i], segment(c->data_selector, c->data_attributes, c->data_base, c->data_limit));
    batch_segment(&b, HY_GS, segment(c->data_selector, c->data_attributes, c->gs_base, c->data_limit));
    batch_segment(&b, HY_TR, segment(0, ATTR_TSS32, 0, 0xffff));
    batch_segment(&b, HY_LDTR, segment(0, ATTR_LDT, 0, 0xffff));
    batch_segment(&b, HY_GDTR, segment(0, 0, c->gdtr_base, c->gdtr_limit));
    batch_segment(&b, HY_IDTR, segment(0, 0, c->idtr_base, c->idtr_limit));
    int r = batch_set(v, &b, "setting an IGVM file's segments and control registers", err);
    b.n = 0;
    for (unsigned i = 0; i < GPRS; i++)
        batch_u64(&b, HY_GPR(i), gprs[i]);
    batch_u64(&b, HY_FLAGS, c->rflags);
    batch_u64(&b, HY_PC, c->rip);
    if (!r)
        r = batch_set(v, &b, "setting an IGVM file's registers", err);
    if (r == ERR_INTERNAL) { /* a CPU that a backend refuses is the file's fault */
        err_add(err, "%s", v->machine->config.igvm.option);
        r = err->code = ERR_INPUT;
    }
    return r;
}

int vcpu_set_boot_registers(struct vcpu *v, struct err *err)
{
    const struct boot_state *boot = &v->machine->boot;
    if (boot->mode == BOOT_MODE_CONTEXT)
        return set_context(v, err);
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
