/* SPDX-License-Identifier: MIT */
/* devices.c - the machine's devices: what exists, on which executor, wired to what. Order of creation is the order of saving and resetting. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "chipset/chipset.h"
#include "firmware/acpi.h"
#include "firmware/layout.h"
#include "machine/internal.h"
#include "machine/sandbox.h"
#include "pci/pci.h"
#include "storage/disk.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/net.h"
#include "virtio/rng.h"

enum { IRQ_TIMER = 0, IRQ_COM1 = 4, IRQ_RTC = 8 };
#define COM1_PORT 0x3f8
#define NO_SLEEP  0xff

static void wake_vcpu0(void *opaque) { vcpu_kick(&((struct machine *)opaque)->vcpus[0]); }

struct narrowing { struct exec_work work; struct machine *m; int result; struct err err; };

static void narrow(void *opaque)
{
    struct narrowing *n = opaque;
    n->result = sandbox_enter_thread(n->m->config.sandbox, SANDBOX_DEVICE, &n->err);
}

/* Only after the filter that all threads share: a thread with one of its own before would refuse that. */
int machine_sandbox_devices(struct machine *m, struct err *err)
{
    int r = 0;
    for (size_t i = 0; !r && i < m->executor_count; i++) {
        struct narrowing n = {.m = m};
        exec_work_init(&n.work, m->executors[i], NULL, narrow, &n);
        exec_work_post(&n.work);
        executor_drain(m->executors[i]);
        r = n.result;
        if (r)
            *err = n.err;
    }
    return r;
}

/* Each device gets the executor that the configuration asks for and never learns which. */
int machine_executor(struct machine *m, const char *id, struct executor **out, struct err *err)
{
    if (m->config.executor == MACHINE_EXECUTOR_MAIN) {
        *out = m->main;
        return 0;
    }
    if (m->config.executor == MACHINE_EXECUTOR_VCPU) {
        int r = m->cooperative ? 0 : executor_new_cooperative(m->clock, m->main, wake_vcpu0, m, &m->cooperative, err);
        *out = m->cooperative;
        return r;
    }
    int r = executor_new_thread(m->clock, id, NULL, NULL, &m->executors[m->executor_count], err);
    if (!r)
        *out = m->executors[m->executor_count++];
    return r;
}

/* Names stand in messages, and in saved state before their sections (state.c). */
static bool id_is_taken(const struct machine *m, const char *id)
{
    for (size_t i = 0; i < m->device_count; i++)
        if (!strcmp(m->devices[i]->id, id))
            return true;
    return !strcmp(id, "machine") || (!strncmp(id, "cpu", 3) && id[3 + strspn(id + 3, "0123456789")] == '\0');
}

/* Before anything is opened for the device. */
static int check_id(const struct machine *m, const char *id, struct err *err)
{
    if (!*id || strlen(id) > DEVICE_ID_MAX)
        return err_set(err, ERR_USAGE, "id=%.40s: 1 to %d characters", id, DEVICE_ID_MAX);
    return id_is_taken(m, id) ? err_set(err, ERR_USAGE, "id=%.40s: is the name of another part of the machine", id) : 0;
}

/* An id that the user gave (NULL: none, it is `made` here): the parts that come later have theirs already. */
static int check_user_id(const struct machine *m, const char *given, const char *made, struct err *err)
{
    static const char *const later[] = {"console0", "rng0", "testdev", "fwcfg", "exit"};
    for (size_t i = 0; given && i < ARRAY_LEN(later); i++)
        if (!strcmp(given, later[i]))
            return err_set(err, ERR_USAGE, "id=%s: is the name of another part of the machine", given);
    return check_id(m, given ? given : made, err);
}

int machine_add_device(struct machine *m, const struct device_class *class, const char *id, const struct device_services *services, const void *config,
                       struct device **out, struct err *err)
{
    if (m->device_count == MACHINE_DEVICES_MAX)
        return err_set(err, ERR_USAGE, "more than %d devices", MACHINE_DEVICES_MAX);
    struct device *d;
    int r = check_id(m, id, err);
    if (!r)
        r = device_new(class, id, services, config, &d, err);
    if (r)
        return r;
    m->devices[m->device_count++] = d;
    if (out)
        *out = d;
    return 0;
}

/* A device with an executor by the configuration and no DMA. */
static int add(struct machine *m, const struct device_class *class, const char *id, const void *config, struct device **out, struct err *err)
{
    struct device_services services = {.bus = m->bus, .log = m->config.log, .msi = machine_msi(m)};
    int r = machine_executor(m, id, &services.executor, err);
    return r ? r : machine_add_device(m, class, id, &services, config, out, err);
}

static void power_request(void *opaque, enum power_request request, int status)
{
    struct machine *m = opaque;
    atomic_store(&m->ending, true);
    if (request == POWER_EXIT)
        atomic_store(&m->exit_status, status);
    machine_request(m, request == POWER_OFF ? REQUEST_OFF : request == POWER_EXIT ? REQUEST_EXIT_PORT : REQUEST_RESET);
}

static int make_timers(struct machine *m, struct err *err)
{
    struct layout_ram ram = layout_ram(m->config.memory);
    struct pit_config pit = {0};
    struct rtc_config rtc = {.low_memory = ram.low_end, .high_memory = ram.high_end - LAYOUT_HIGH_RAM};
    int r = machine_gsi(m, IRQ_TIMER, &pit.irq, err);
    if (!r)
        r = machine_gsi(m, IRQ_RTC, &rtc.irq, err);
    if (!r)
        r = add(m, &pit_class, "pit", &pit, NULL, err);
    return r ? r : add(m, &rtc_class, "rtc", &rtc, NULL, err);
}

static int make_power(struct machine *m, struct err *err)
{
    struct power_sink power = {power_request, m};
    struct acpi_pm_config pm = {.event_port = LAYOUT_PORT_PM1_EVENT, .control_port = LAYOUT_PORT_PM1_CONTROL, .timer_port = LAYOUT_PORT_PM_TIMER,
                                .s5_type = ACPI_S5_SLEEP_TYPE, .s3_type = NO_SLEEP, .power = power};
    struct i8042_config i8042 = {.power = power};
    int r = machine_gsi(m, LAYOUT_SCI_IRQ, &pm.sci, err);
    if (!r)
        r = add(m, &acpi_pm_class, "pm", &pm, &m->pm, err);
    if (!r)
        r = add(m, &i8042_class, "i8042", &i8042, NULL, err);
    if (!r)
        r = add(m, &post_ports_class, "post", NULL, NULL, err);
    return r;
}

/* After all that have ports, so that a port which is taken is this option's fault. */
static int make_exit_port(struct machine *m, struct err *err)
{
    if (m->config.exit_port < 0)
        return 0;
    struct exit_port_config exit_port = {.port = (uint16_t)m->config.exit_port, .power = {power_request, m}};
    int r = add(m, &exit_port_class, "exit", &exit_port, NULL, err);
    if (r)
        err_add(err, "--exit-port 0x%x", (unsigned)m->config.exit_port);
    return r;
}

static int open_stream(struct machine *m, const struct stream_config *config, const char *option, struct stream **out, struct err *err)
{
    struct stream_config c = *config;
    c.filter = m->config.input_filter.filter;
    c.filter_opaque = m->config.input_filter.opaque;
    int r = stream_new(&c, m->main, out, err);
    if (!r && stream_file(*out) >= 0 && raw_lock(stream_file(*out), true) == -EAGAIN) /* as disks do: it may be one */
        r = err_set(err, ERR_INPUT, "file=%s: is in use by another stream, disk or program", c.path);
    if (r)
        err_add(err, "%s", option);
    return r;
}

static int make_serial(struct machine *m, struct err *err)
{
    if (m->config.serial.kind == STREAM_OFF)
        return 0;
    struct serial_config serial = {.port = COM1_PORT};
    struct device *device;
    int r = open_stream(m, &m->config.serial, "--serial", &m->serial_stream, err);
    if (!r)
        r = machine_gsi(m, IRQ_COM1, &serial.irq, err);
    if (r)
        return r;
    serial.backend = stream_backend(m->serial_stream);
    r = add(m, &serial_class, "serial0", &serial, &device, err);
    if (r)
        return r;
    struct stream_frontend frontend = serial_frontend(device);
    stream_connect(m->serial_stream, &frontend);
    return 0;
}

static int make_test_devices(struct machine *m, struct err *err)
{
    if (!m->config.test_device)
        return 0;
    struct test_device_config test = {0};
    struct fw_cfg_config fw = {.memory = m->config.memory, .cpus = (uint16_t)m->config.cpus};
    int r = 0;
    for (unsigned i = 0; !r && i < IRQ_ROUTER_GSIS; i++)
        r = machine_gsi(m, i, &test.lines[i], err);
    if (!r)
        r = add(m, &test_device_class, "testdev", &test, NULL, err);
    return r ? r : add(m, &fw_cfg_class, "fwcfg", &fw, NULL, err);
}

static int gsi_line(void *opaque, unsigned gsi, struct irq_line *out, struct err *err) { return machine_gsi(opaque, gsi, out, err); }


static int make_pci_host(struct machine *m, struct err *err)
{
    struct pci_host_config host = {.ecam_base = LAYOUT_ECAM_BASE, .ecam_buses = LAYOUT_ECAM_BUSES, .low = {LAYOUT_PCI32_BASE, LAYOUT_PCI32_SIZE},
                                   .high = {layout_pci64_base(m->config.memory), LAYOUT_PCI64_SIZE}, .intx_line = gsi_line, .intx_opaque = m,
                                   .reset_control_read = acpi_pm_reset_read, .reset_control_write = acpi_pm_reset_write, .reset_control_opaque = m->pm};
    return add(m, &pci_host_class, "pci", &host, &m->pci, err);
}

/* A PCI function: an executor by the configuration, and DMA. */
static int add_function(struct machine *m, const struct device_class *class, const char *id, const void *config, struct device **out, struct err *err)
{
    struct device_services services = {.bus = m->bus, .memory = m->map, .log = m->config.log, .msi = machine_msi(m)};
    int r = machine_executor(m, id, &services.executor, err);
    return r ? r : machine_add_device(m, class, id, &services, config, out, err);
}

static int make_disk(struct machine *m, size_t i, struct err *err)
{
    const struct machine_disk_config *c = &m->config.disks[i];
    struct disk_config disk = {.path = c->path, .readonly = c->readonly};
    struct virtio_blk_config blk = {.pci_host = m->pci, .slot = PCI_SLOT_ANY};
    char id[DEVICE_ID_MAX + 1];
    snprintf(id, sizeof id, "disk%zu", i);
    int r = check_user_id(m, c->id, id, err);
    if (!r)
        r = disk_open(&disk, &blk.disk, err);
    if (!r)
        r = add_function(m, &virtio_blk_class, c->id ? c->id : id, &blk, NULL, err);
    if (r)
        err_add(err, "--disk path=%s", c->path);
    return r;
}

static int make_console(struct machine *m, struct err *err)
{
    if (m->config.console.kind == STREAM_OFF)
        return 0;
    struct device *device;
    int r = open_stream(m, &m->config.console, "--console", &m->console_stream, err);
    if (r)
        return r;
    struct virtio_console_config console = {.pci_host = m->pci, .slot = PCI_SLOT_ANY, .backend = stream_backend(m->console_stream)};
    r = add_function(m, &virtio_console_class, "console0", &console, &device, err);
    if (r)
        return r;
    struct stream_frontend frontend = virtio_console_frontend(device);
    stream_connect(m->console_stream, &frontend);
    return 0;
}

static int make_net(struct machine *m, size_t i, struct err *err)
{
    const struct machine_net_config *c = &m->config.nets[i];
    static const enum net_sandbox modes[] = {
        [MACHINE_SANDBOX_ON] = NET_SANDBOX_ON, [MACHINE_SANDBOX_LOG] = NET_SANDBOX_LOG, [MACHINE_SANDBOX_OFF] = NET_SANDBOX_OFF};
    struct net_user_config user = {.forwards = c->hostfwd, .forward_count = c->hostfwd_count, .sandbox = modes[m->config.sandbox]};
    struct virtio_net_config net = {.pci_host = m->pci, .slot = PCI_SLOT_ANY, .mac = {0x52, 0x54, 0x00, 0x6d, 0x7a, (uint8_t)i}}; /* locally administered */
    char id[DEVICE_ID_MAX + 1];
    snprintf(id, sizeof id, "net%zu", i);
    int r = check_user_id(m, c->id, id, err);
    if (!r && c->mac)
        r = net_mac_parse(c->mac, net.mac, err);
    if (!r)
        r = net_user_open(&user, &net.link, err);
    if (!r)
        r = add_function(m, &virtio_net_class, c->id ? c->id : id, &net, NULL, err);
    if (r)
        err_add(err, "--net user");
    return r;
}

static int make_functions(struct machine *m, struct err *err)
{
    int r = make_pci_host(m, err);
    struct virtio_rng_config rng = {.pci_host = m->pci, .slot = PCI_SLOT_ANY};
    for (size_t i = 0; !r && i < m->config.disk_count; i++)
        r = make_disk(m, i, err);
    if (!r)
        r = make_console(m, err);
    for (size_t i = 0; !r && i < m->config.net_count; i++)
        r = make_net(m, i, err);
    return r ? r : add_function(m, &virtio_rng_class, "rng0", &rng, NULL, err);
}

int machine_make_devices(struct machine *m, struct err *err)
{
    int r = make_timers(m, err);
    if (!r)
        r = make_power(m, err);
    if (!r)
        r = make_serial(m, err);
    if (!r)
        r = make_functions(m, err);
    if (!r)
        r = make_test_devices(m, err);
    return r ? r : make_exit_port(m, err);
}

void machine_free_devices(struct machine *m)
{
    while (m->device_count)
        device_free(m->devices[--m->device_count]);
    stream_free(m->serial_stream);
    stream_free(m->console_stream);
    executor_free(m->cooperative);
    while (m->executor_count)
        executor_free(m->executors[--m->executor_count]);
}
