/* SPDX-License-Identifier: MIT */
/* interrupts.c - from a device's line or message to a vCPU, for each place where the interrupt controllers can be.
 *
 *   HY_IRQ_NONE   i8259, IOAPIC and local APICs are ours: lines -> irq_router -> IOAPIC -> apic_bus
 *   HY_IRQ_CPU    local APICs are the backend's: IOAPIC messages -> hy_msi; the i8259's output enters vCPU 0 by hy_window and hy_inject
 *   HY_IRQ_FULL   all are the backend's: lines -> hy_line
 * Any thread may raise a line. The backend must know a level-triggered vector before it is delivered to report its EOI: see ioapic_send().
 */
#include "apic/apic.h"
#include "chipset/chipset.h"
#include "firmware/layout.h"
#include "machine/internal.h"

#define MSI_DATA_LEVEL   (1u << 15)
#define IOAPIC_ROUTES    24
#define ISA_TIMER_PIN    2          /* as the MADT's override says */

static void line_to_backend(void *opaque, unsigned number, bool level)
{
    struct machine *m = opaque;
    hy_line(m->vm, number, level);
}

static void msi_to_backend(void *opaque, uint64_t address, uint32_t data, uint32_t requester)
{
    struct machine *m = opaque;
    hy_msi(m->vm, address, data, requester);
}

/* Tells the backend of a level-triggered message once, in one of the lines that libhy keeps for an IOAPIC's pins, so that its end of interrupt becomes an exit. */
static void ioapic_send(void *opaque, uint64_t address, uint32_t data, uint32_t requester)
{
    struct machine *m = opaque;
    if (data & MSI_DATA_LEVEL) { /* serialised by the IOAPIC's lock */
        unsigned slot = data % IOAPIC_ROUTES;
        if (m->routes[slot].address != address || m->routes[slot].data != data) {
            hy_route(m->vm, slot, address, data, requester);
            m->routes[slot].address = address;
            m->routes[slot].data = data;
        }
    }
    hy_msi(m->vm, address, data, requester);
}

/* The i8259's output without an APIC bus of ours: vCPU 0 asks for a window on its own thread. */
static void intr_to_backend(void *opaque, unsigned number, bool level)
{
    struct machine *m = opaque;
    (void)number;
    atomic_store(&m->extint, level);
    if (level)
        vcpu_kick(&m->vcpus[0]);
}

void interrupts_before_run(struct vcpu *v)
{
    struct machine *m = v->machine;
    if (!v->index && atomic_load(&m->extint) && !v->window_asked)
        v->window_asked = hy_window(v->cpu, 1 << HY_EV_INTR) == HY_OK;
}

void interrupts_window(struct vcpu *v)
{
    struct machine *m = v->machine;
    v->window_asked = false;
    if (v->index || !atomic_load(&m->extint))
        return;
    struct hy_event event = {.kind = HY_EV_INTR, .vector = (uint8_t)i8259_acknowledge(m->pic)};
    hy_inject(v->cpu, &event);
}

void interrupts_eoi(struct machine *m, uint32_t vector)
{
    if (m->ioapic)
        ioapic_eoi(m->ioapic, (uint8_t)vector);
}

static int make_controllers(struct machine *m, struct err *err)
{
    bool ours = m->irq == HY_IRQ_NONE;
    struct device_services services = {.bus = m->bus, .memory = m->map, .executor = m->main, .log = m->config.log};
    struct i8259_config pic = {.intr = ours ? (struct irq_line){apic_bus_line, m->apic_bus, 0} : (struct irq_line){intr_to_backend, m, 0}};
    int r = machine_add_device(m, &i8259_class, "pic", &services, &pic, &m->pic, err);
    services.msi = ours ? (struct msi_sink){apic_bus_msi_send, m->apic_bus} : (struct msi_sink){ioapic_send, m};
    struct ioapic_config ioapic = {.base = LAYOUT_IOAPIC_BASE};
    if (!r)
        r = machine_add_device(m, &ioapic_class, "ioapic", &services, &ioapic, &m->ioapic, err);
    if (!r && ours) {
        apic_bus_set_eoi(m->apic_bus, ioapic_eoi_opaque, m->ioapic);
        apic_bus_set_extint(m->apic_bus, i8259_acknowledge_opaque, m->pic);
    }
    return r;
}

int interrupts_setup(struct machine *m, struct err *err)
{
    int r = m->irq == HY_IRQ_NONE ? local_apic_setup(m, err) : 0;
    struct irq_router_config config = {.timer_pin = ISA_TIMER_PIN};
    if (!r && m->irq == HY_IRQ_FULL) {
        config.ioapic = (struct irq_line){line_to_backend, m, 0};
    } else if (!r) {
        r = make_controllers(m, err);
        config.i8259 = r ? (struct irq_line){NULL, NULL, 0} : i8259_line(m->pic, 0);
        config.ioapic = r ? (struct irq_line){NULL, NULL, 0} : ioapic_line(m->ioapic, 0);
    }
    if (!r && !(m->router = irq_router_new(&config, err)))
        r = err->code;
    return r;
}

void interrupts_teardown(struct machine *m)
{
    irq_router_free(m->router);
    if (m->apic_bus)
        local_apic_teardown(m);
}

int machine_gsi(struct machine *m, unsigned gsi, struct irq_line *out, struct err *err) { return irq_router_line(m->router, gsi, out, err); }

struct msi_sink machine_msi(struct machine *m)
{
    return m->apic_bus ? (struct msi_sink){apic_bus_msi_send, m->apic_bus} : (struct msi_sink){msi_to_backend, m};
}
