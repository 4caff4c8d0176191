/* SPDX-License-Identifier: MIT */
/* config.c - the schema of `mezz run` and what is derived from it. Text comes from the user or a configuration file: bounded and checked by base/options.c. */
#include "control/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "firmware/layout.h"


static const char *const sandbox_names[] = {"on", "log", "off", NULL};
static const char *const irqchip_names[] = {"auto", "none", "cpu", "full", NULL};
static const char *const cpu_engine_names[] = {"auto", "interpret", "translate", NULL};
static const char *const cpu_check_names[] = {"off", "verify", "lockstep", "soak", NULL};
static const char *const executor_names[] = {"main", "thread", "vcpu", NULL};
static const char *const net_kinds[] = {"user", NULL};

#define ROW(member_, ...) { .offset = offsetof(struct config, member_), __VA_ARGS__ }
const struct option config_table[] = {
    ROW(backend, .key = "backend", .kind = OPTION_STRING, .value_name = "NAME",
        .meaning = "hypervisor to use: kvm, soft, or a list to try in order (default: the best usable)"),
    ROW(cpus, .key = "cpus", .kind = OPTION_STRING, .initial = "1", .value_name = "N", .meaning = "virtual CPUs, 1 to 16"),
    ROW(memory, .key = "memory", .kind = OPTION_STRING, .initial = "512M", .value_name = "SIZE", .meaning = "guest memory, 16M to 64G"),
    ROW(kernel, .key = "kernel", .kind = OPTION_STRING, .value_name = "F",
        .meaning = "Linux bzImage, ELF (PVH or 64-bit entry) or multiboot kernel (default: this host's own)"),
    ROW(initrd, .key = "initrd", .kind = OPTION_STRING, .value_name = "F", .meaning = "initial RAM disk, or the module of a multiboot kernel"),
    ROW(igvm, .key = "igvm", .kind = OPTION_STRING, .value_name = "F", .meaning = "start an IGVM file for the NATIVE platform, in place of a kernel (mezz help igvm)"),
    ROW(cmdline, .key = "cmdline", .kind = OPTION_STRING, .value_name = "S",
        .meaning = "kernel command line (default console=ttyS0); for an IGVM file that asks for one, none is the file's own"),
    ROW(disks, .key = "disk", .kind = OPTION_LIST, .value_name = "path=F[,readonly=on][,id=N]",
        .meaning = "a virtio disk; repeat for more (mezz help disk)"),
    ROW(nets, .key = "net", .kind = OPTION_LIST, .value_name = "user[,hostfwd=RULE]...",
        .meaning = "a virtio network card; repeat for more (mezz help net)"),
    ROW(serial, .key = "serial", .kind = OPTION_STRING, .initial = "stdio", .value_name = "stdio|off|file=F|socket=F",
        .meaning = "where the serial port COM1 goes"),
    ROW(console, .key = "console", .kind = OPTION_STRING, .initial = "off", .value_name = "stdio|off|file=F|socket=F",
        .meaning = "where the virtio console goes"),
    ROW(config_file, .key = "config", .kind = OPTION_STRING, .value_name = "F.json",
        .meaning = "read options from a JSON file; later options override it, later disks and cards add to its own"),
    ROW(exit_port, .key = "exit-port", .kind = OPTION_UINT, .min = 1, .max = UINT16_MAX, .value_name = "P",
        .meaning = "a guest write to this port ends the run: status 0 for value 0, else 100 + min(value, 27)"),
    ROW(dry_run, .key = "dry-run", .kind = OPTION_BOOL, .initial = "off",
        .meaning = "check everything, print the configuration as JSON, run nothing"),
    ROW(no_reboot, .key = "no-reboot", .kind = OPTION_BOOL, .initial = "off", .meaning = "end with status 6 when the guest resets"),
    ROW(quiet, .key = "quiet", .kind = OPTION_BOOL, .initial = "off", .meaning = "say nothing but errors"),
    ROW(sandbox, .key = "sandbox", .kind = OPTION_CHOICE, .initial = "on", .choices = sandbox_names, .value_name = "on|log|off",
        .meaning = "seccomp and Landlock around the running machine"),
    ROW(cpu_engine, .key = "cpu-engine", .kind = OPTION_CHOICE, .initial = "auto", .choices = cpu_engine_names, .value_name = "auto|interpret|translate",
        .meaning = "how backend soft runs guest code: translated where the host lets it, never, or not without"),
    ROW(counters, .key = "counters", .kind = OPTION_STRING, .value_name = "F[,tlb=on]",
        .meaning = "at the end of the run write what the CPUs counted, as JSON (mezz help counters)"),
    ROW(perf_map, .key = "perf-map", .kind = OPTION_BOOL, .initial = "off",
        .meaning = "name translated code for perf(1) and gdb in /tmp/perf-PID.map"),
    ROW(cpu_check, .key = "cpu-check", .kind = OPTION_CHOICE, .initial = "off", .choices = cpu_check_names, .value_name = "off|verify|lockstep|soak",
        .meaning = "backend soft: verify proves of translated code that it reaches only what it may; for tests, "
            "lockstep interprets it too and compares (50 times slower), soak flushes at random (mezz help cpu-check)"),
    ROW(irqchip, .key = "irqchip", .kind = OPTION_CHOICE, .initial = "auto", .choices = irqchip_names, .value_name = "auto|none|cpu|full",
        .meaning = "interrupt controllers to take from the backend; none: our own local APIC"),
    ROW(executor, .key = "executor", .kind = OPTION_CHOICE, .initial = "main", .choices = executor_names, .value_name = "main|thread|vcpu",
        .meaning = "where devices run: the main loop, a thread each, or a vCPU's thread"),
    ROW(test_device, .key = "test-device", .kind = OPTION_BOOL, .initial = "off", .meaning = "the test ports that kvm-unit-tests want"),
    ROW(checkpoint_every, .key = "checkpoint-every", .kind = OPTION_UINT, .initial = "0", .max = UINT32_MAX, .value_name = "N",
        .meaning = "to test that nothing is lost: save, wipe and load the whole machine at random moments, every N exits on average"),
    ROW(checkpoint_seed, .key = "checkpoint-seed", .kind = OPTION_UINT, .initial = "0", .value_name = "N",
        .meaning = "other random moments for --checkpoint-every"),
    OPTION_END,
};
#undef ROW

static const struct option cpus_table[] = {
    {.key = "boot", .kind = OPTION_UINT, .offset = offsetof(struct config_cpus, boot), .initial = "1", .min = 1, .max = MACHINE_CPUS_MAX, .value_name = "N",
        .meaning = "virtual CPUs at boot"},
    {.key = "disable", .kind = OPTION_STRING, .offset = offsetof(struct config_cpus, disable), .value_name = "A:B",
        .meaning = "CPU features to hide from the guest, by their names in /proc/cpuinfo: x2apic, avx2, ..."},
    {.key = "enable", .kind = OPTION_STRING, .offset = offsetof(struct config_cpus, enable), .value_name = "avx512",
        .meaning = "AVX-512 on the software CPU, if the host has it; the guest can then only go to such hosts"},
    OPTION_END,
};
static const struct option memory_table[] = {
    {.key = "size", .kind = OPTION_SIZE, .offset = offsetof(struct config_memory, size), .min = LAYOUT_MEMORY_MIN, .max = LAYOUT_MEMORY_MAX, .value_name = "SIZE",
        .meaning = "bytes, with K, M, G or T"},
    OPTION_END,
};
static const struct option disk_table[] = {
    {.key = "path", .kind = OPTION_STRING, .offset = offsetof(struct config_disk, path), .required = true, .value_name = "F",
        .meaning = "raw disk image or block device"},
    {.key = "readonly", .kind = OPTION_BOOL, .offset = offsetof(struct config_disk, readonly), .initial = "off", .value_name = "on|off",
        .meaning = "the guest may not write"},
    {.key = "id", .kind = OPTION_STRING, .offset = offsetof(struct config_disk, id), .value_name = "N",
        .meaning = "name in messages, and the serial number that the guest sees (default disk0, disk1, ...)"},
    OPTION_END,
};
static const struct option net_table[] = {
    {.key = "kind", .kind = OPTION_CHOICE, .offset = offsetof(struct config_net, kind), .initial = "user", .choices = net_kinds, .value_name = "user",
        .meaning = "user: NAT with DHCP and DNS, needs no rights; the guest is 10.0.2.15, the host 10.0.2.2"},
    {.key = "hostfwd", .kind = OPTION_LIST, .offset = offsetof(struct config_net, hostfwd), .value_name = "tcp|udp:ADDR:PORT-[ADDR]:PORT",
        .meaning = "forward a port of this host to the guest: tcp:127.0.0.1:2222-:22"},
    {.key = "mac", .kind = OPTION_STRING, .offset = offsetof(struct config_net, mac), .value_name = "XX:XX:XX:XX:XX:XX",
        .meaning = "hardware address"},
    {.key = "id", .kind = OPTION_STRING, .offset = offsetof(struct config_net, id), .value_name = "N",
        .meaning = "name in messages (default net0, net1, ...)"},
    OPTION_END,
};
static const struct option counters_table[] = {
    {.key = "path", .kind = OPTION_STRING, .offset = offsetof(struct config_counters, path), .required = true, .value_name = "F",
        .meaning = "file to write"},
    {.key = "tlb", .kind = OPTION_BOOL, .offset = offsetof(struct config_counters, tlb), .initial = "off", .value_name = "on|off",
        .meaning = "count how often translated code finds an address in its TLB, too: 2 to 10 % slower, a quarter where pointers are followed"},
    OPTION_END,
};
const struct config_group config_groups[] = {
    {"cpus", "boot", cpus_table, "Virtual CPUs.", "--cpus 4 --cpus 2,enable=avx512"},
    {"memory", "size", memory_table, "Guest memory.", "--memory 2G"},
    {"disk", NULL, disk_table, "A virtio block device over a raw image.", "--disk path=debian.img --disk path=seed.iso,readonly=on"},
    {"net", "kind", net_table, "A virtio network card.", "--net user,hostfwd=tcp:127.0.0.1:2222-:22"},
    {"counters", "path", counters_table, "What the CPUs of backend soft count, written as JSON at the end of the run.", "--counters boot.json --counters boot.json,tlb=on"},
    {NULL, NULL, NULL, NULL, NULL},
};

static const struct config_value stream_values[] = {
    {"stdio", "the terminal, or standard input and output (tty is the same)"},
    {"off", "nowhere (null is the same)"},
    {"file=F", "output into file F; no input"},
    {"socket=F", "a Unix socket at F, one client at a time; without one, output is lost"},
    {NULL, NULL},
};
static const struct config_value cpu_engine_values[] = {
    {"auto", "translate code that runs often into the host's own, where the host lets mezz have executable memory (x86-64 Linux); elsewhere say why not, once, "
        "and interpret"},
    {"interpret", "instruction by instruction: the reference, which says what is right, and the only engine on other hosts. A Linux boot to a shell takes four times "
        "as much of the processor's time, what computes more"},
    {"translate", "as auto, but end with status 4 where nothing can be translated: for measurements, and for whoever relies on the speed"},
    {NULL, NULL},
};
static const struct config_value cpu_check_values[] = {
    {"off", "nothing, for everyday use: translated code reaches guest memory through the same table of pages either way"},
    {"verify", "each translation is proved, before it may run, to reach no memory but the guest's pages and its own vCPU's state, and to jump nowhere else. One that "
        "cannot be proved is left to the interpreter and counted (refused_by_verifier in mezz help counters), and the guest goes on. It costs time when code is "
        "translated, not when it runs: a fifth of a Linux boot to a shell, little of what runs long. For guests from strangers"},
    {"lockstep", "the interpreter does again what each run of translated code did, and registers and stores are compared; the machine ends at the first difference "
        "and says at which instruction. Some fifty times slower, while the guest's clock is the host's. For a guest that goes wrong with --cpu-engine translate and not "
        "with interpret; best with one vCPU, since other vCPUs' stores look like differences"},
    {"soak", "translations, decoded code and links are dropped, and interrupts looked for, at random moments, which no guest should notice. Five to ten times slower. "
        "For tests of mezz itself"},
    {NULL, NULL},
};
const struct config_choice config_choices[] = {
    {"serial", "Where the serial port COM1 goes (default stdio).", "--serial socket=com1 --console stdio", stream_values},
    {"console", "Where the virtio console goes (default off). The guest's kernel command line wants console=hvc0 for its messages.",
        "--console stdio --serial off --cmdline console=hvc0", stream_values},
    {"cpu-engine", "How backend soft runs guest code (default auto). Others run it on the processor.", "--backend soft --cpu-engine interpret", cpu_engine_values},
    {"cpu-check", "What backend soft checks of code that it translates (default off). What was checked is in --counters.",
        "--backend soft --cpu-check verify --counters checked.json", cpu_check_values},
    {NULL, NULL, NULL, NULL},
};

const struct config_group *config_group_find(const char *name)
{
    for (const struct config_group *g = config_groups; g->name; g++)
        if (!strcmp(g->name, name))
            return g;
    return NULL;
}

int config_init(struct config *c, struct err *err)
{
    memset(c, 0, sizeof *c);
    return options_init(config_table, c, err);
}

void config_free(struct config *c)
{
    for (size_t i = 0; i < MACHINE_DISKS_MAX; i++)
        options_free(disk_table, &c->disk_groups[i]);
    for (size_t i = 0; i < MACHINE_NETS_MAX; i++)
        options_free(net_table, &c->net_groups[i]);
    options_free(cpus_table, &c->cpus_group);
    options_free(counters_table, &c->counters_group);
    options_free(config_table, c);
}

static int parse_group(const char *name, void *object, const char *text, struct err *err)
{
    const struct config_group *g = config_group_find(name);
    char label[32] = "--";
    strncat(label, name, sizeof label - 3);
    options_free(g->table, object);
    int r = options_init(g->table, object, err);
    return r ? r : options_parse(g->table, object, label, g->bare, text, err);
}

static int parse_stream(const char *option, struct stream_config *stream, const char *text, struct err *err)
{
    int r = stream_parse(text, stream, err);
    if (r)
        err_add(err, "%s %s", option, text);
    return r;
}

static int resolve_lists(struct config *c, struct err *err)
{
    if (c->disks.count > MACHINE_DISKS_MAX)
        return err_set(err, ERR_USAGE, "--disk: at most %d disks", MACHINE_DISKS_MAX);
    if (c->nets.count > MACHINE_NETS_MAX)
        return err_set(err, ERR_USAGE, "--net: at most %d network cards", MACHINE_NETS_MAX);
    int r = 0;
    for (size_t i = 0; !r && i < c->disks.count; i++)
        r = parse_group("disk", &c->disk_groups[i], c->disks.items[i], err);
    for (size_t i = 0; !r && i < c->nets.count; i++)
        r = parse_group("net", &c->net_groups[i], c->nets.items[i], err);
    return r;
}

int config_resolve(struct config *c, struct err *err)
{
    int r = parse_group("cpus", &c->cpus_group, c->cpus, err);
    if (!r)
        r = parse_group("memory", &c->memory_group, c->memory, err);
    if (!r && c->counters)
        r = parse_group("counters", &c->counters_group, c->counters, err);
    if (!r)
        r = parse_stream("--serial", &c->serial_stream, c->serial, err);
    if (!r)
        r = parse_stream("--console", &c->console_stream, c->console, err);
    if (!r)
        r = resolve_lists(c, err);
    if (!r && c->igvm && (c->kernel || c->initrd))
        r = err_set(err, ERR_USAGE, "--igvm: goes without --%s, which the file holds", c->kernel ? "kernel" : "initrd");
    if (!r && c->memory_group.size % 4096)
        r = err_set(err, ERR_USAGE, "--memory %s: want a multiple of 4 KiB", c->memory);
    if (!r && c->serial_stream.kind == STREAM_STDIO && c->console_stream.kind == STREAM_STDIO)
        r = err_set(err, ERR_USAGE, "--console stdio: the serial port has the terminal already (add --serial off)");
    return r;
}

void config_to_machine(const struct config *c, struct machine_config *out)
{
    *out = (struct machine_config){
        .backend = c->backend, .cpus = (uint32_t)c->cpus_group.boot, .cpu_enable = c->cpus_group.enable, .cpu_disable = c->cpus_group.disable, .memory = c->memory_group.size,
        .cmdline = c->cmdline ? c->cmdline : c->igvm ? NULL : "console=ttyS0",
        .disk_count = c->disks.count, .net_count = c->nets.count, .serial = c->serial_stream, .console = c->console_stream,
        .exit_port = c->exit_port ? (int)c->exit_port : -1, .no_reboot = c->no_reboot, .test_device = c->test_device, .executor = c->executor,
        .irqchip = c->irqchip, .cpu_engine = c->cpu_engine, .cpu_check = c->cpu_check, .counters = c->counters != NULL, .count_tlb = c->counters_group.tlb,
        .sandbox = c->sandbox, .checkpoint_every = c->checkpoint_every, .checkpoint_seed = c->checkpoint_seed};
    for (size_t i = 0; i < c->disks.count; i++)
        out->disks[i] = (struct machine_disk_config){c->disk_groups[i].path, c->disk_groups[i].id, c->disk_groups[i].readonly};
    for (size_t i = 0; i < c->nets.count; i++) {
        const struct config_net *n = &c->net_groups[i];
        out->nets[i] = (struct machine_net_config){n->id, n->mac, (const char *const *)n->hostfwd.items, n->hostfwd.count};
    }
}

void config_help(FILE *out, const struct option *table, const char *dashes)
{
    for (const struct option *o = table; o->key; o++) {
        char left[80];
        snprintf(left, sizeof left, "%s%s%s%s", dashes, o->key, o->value_name ? (*dashes ? " " : "=") : "", o->value_name ? o->value_name : "");
        bool has_default = o->initial && o->kind != OPTION_BOOL && o->kind != OPTION_CHOICE && strcmp(o->initial, "0");
        if (strlen(left) > 30)
            fprintf(out, "  %s\n  %-30s  %s", left, "", o->meaning);
        else
            fprintf(out, "  %-30s  %s", left, o->meaning);
        if (has_default)
            fprintf(out, " (default %s)", o->initial);
        if (o->required)
            fputs(" (required)", out);
        fputc('\n', out);
    }
}
