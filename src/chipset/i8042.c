/* SPDX-License-Identifier: MIT */
/* i8042.c - keyboard controller without keyboard or mouse, and port 92h: what guests need to reset the machine and to open A20 (which is always open).
 *
 * What the guest sees: status and command at 64h, data at 60h; self-test, interface tests, command byte, output port, and the reset pulse. Devices
 * behind it never answer: their bytes vanish. No interrupts.
 */
#include "base/bits.h"
#include "chipset/chipset.h"

enum { /* status register, IBM PC AT technical reference */
    STATUS_OUTPUT_FULL = 1 << 0, STATUS_SYSTEM = 1 << 2, STATUS_COMMAND = 1 << 3, STATUS_UNLOCKED = 1 << 4,
};
enum { OUTPUT_PORT_RESET_HIGH = 1 << 0, OUTPUT_PORT_A20 = 1 << 1 };

struct i8042 {
    struct device device;
    struct bus_region data_region, command_region, fast_region;
    struct power_sink power;
    uint8_t status, output, command, command_byte, output_port, ram[32];
};

static struct i8042 *from_device(struct device *d) { return container_of(d, struct i8042, device); }

static void request_reset(struct i8042 *k)
{
    if (k->power.request)
        k->power.request(k->power.opaque, POWER_RESET, 0);
}

static void answer(struct i8042 *k, uint8_t value)
{
    k->output = value;
    k->status |= STATUS_OUTPUT_FULL;
}

static void command_write(struct i8042 *k, uint8_t value)
{
    k->status |= STATUS_COMMAND;
    k->command = 0;
    if (value >= 0x20 && value < 0x40) {
        answer(k, value == 0x20 ? k->command_byte : k->ram[value - 0x20]);
        return;
    }
    if (value >= 0xf0) { /* pulse output lines whose bit is 0; line 0 is reset */
        if (!(value & 1))
            request_reset(k);
        return;
    }
    switch (value) {
    case 0xaa: answer(k, 0x55); k->status |= STATUS_SYSTEM; break;
    case 0xa9: case 0xab: answer(k, 0x00); break;       /* interface tests pass       */
    case 0xa7: k->command_byte |= 0x20; break;
    case 0xa8: k->command_byte &= (uint8_t)~0x20; break;
    case 0xad: k->command_byte |= 0x10; break;
    case 0xae: k->command_byte &= (uint8_t)~0x10; break;
    case 0xc0: answer(k, 0x80); break;                  /* input port: not locked     */
    case 0xd0: answer(k, k->output_port); break;
    default: k->command = value;                        /* 60h..7Fh, D1h..D4h: a data byte follows */
    }
}

static void data_write(struct i8042 *k, uint8_t value)
{
    uint8_t command = k->command;
    k->command = 0;
    k->status &= (uint8_t)~STATUS_COMMAND;
    if (command >= 0x60 && command < 0x80) {
        k->ram[command - 0x60] = value;
        if (command == 0x60)
            k->command_byte = value;
    } else if (command == 0xd1) {
        k->output_port = value | OUTPUT_PORT_A20;
        if (!(value & OUTPUT_PORT_RESET_HIGH))
            request_reset(k);
    } else if (command == 0xd2 || command == 0xd3) {
        answer(k, value); /* as if it came from the keyboard or mouse */
    }
}

static enum bus_status data_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct i8042 *k = opaque;
    (void)offset;
    if (size != 1)
        return BUS_BAD_SIZE;
    *value = k->output;
    k->status &= (uint8_t)~STATUS_OUTPUT_FULL;
    return BUS_OK;
}

static enum bus_status data_port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    (void)offset;
    if (size != 1)
        return BUS_BAD_SIZE;
    data_write(opaque, (uint8_t)value);
    return BUS_OK;
}

static enum bus_status status_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    (void)offset;
    if (size != 1)
        return BUS_BAD_SIZE;
    *value = ((struct i8042 *)opaque)->status;
    return BUS_OK;
}

static enum bus_status command_port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    (void)offset;
    if (size != 1)
        return BUS_BAD_SIZE;
    command_write(opaque, (uint8_t)value);
    return BUS_OK;
}

static enum bus_status fast_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    (void)opaque, (void)offset;
    if (size != 1)
        return BUS_BAD_SIZE;
    *value = 2; /* A20 open */
    return BUS_OK;
}

static enum bus_status fast_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    (void)offset;
    if (size != 1)
        return BUS_BAD_SIZE;
    if (value & 1)
        request_reset(opaque);
    return BUS_OK;
}

static const struct bus_ops data_ops = {data_read, data_port_write}, command_ops = {status_read, command_port_write}, fast_ops = {fast_read, fast_write};

static int create(struct device *d, const void *config, struct err *err)
{
    struct i8042 *k = from_device(d);
    k->power = ((const struct i8042_config *)config)->power;
    k->data_region = (struct bus_region){.name = "i8042 data", .space = BUS_PORT, .base = 0x60, .len = 1, .ops = &data_ops, .opaque = k, .owner = d};
    k->command_region = (struct bus_region){.name = "i8042 command", .space = BUS_PORT, .base = 0x64, .len = 1, .ops = &command_ops, .opaque = k, .owner = d};
    k->fast_region = (struct bus_region){.name = "port 92h", .space = BUS_PORT, .base = 0x92, .len = 1, .ops = &fast_ops, .opaque = k, .owner = d};
    int e = bus_add(d->services.bus, &k->data_region, err);
    e = e ? e : bus_add(d->services.bus, &k->command_region, err);
    return e ? e : bus_add(d->services.bus, &k->fast_region, err);
}

static void reset(struct device *d)
{
    struct i8042 *k = from_device(d);
    k->status = STATUS_UNLOCKED | STATUS_SYSTEM;
    k->output = k->command = 0;
    k->command_byte = 0x30; /* both interfaces off */
    k->output_port = OUTPUT_PORT_RESET_HIGH | OUTPUT_PORT_A20;
    for (unsigned i = 0; i < sizeof k->ram; i++)
        k->ram[i] = 0;
}

static const struct field i8042_fields[] = {
    FIELD(struct i8042, status, "status register"), FIELD(struct i8042, output, "output buffer"), FIELD(struct i8042, command, "command that waits for its data byte"),
    FIELD(struct i8042, command_byte, "command byte"), FIELD(struct i8042, output_port, "output port"), FIELD_BYTES(struct i8042, ram, "controller RAM"), FIELD_END
};

const struct device_class i8042_class = {
    .name = "i8042", .summary = "keyboard controller (reset, A20) and port 92h", .size = sizeof(struct i8042), .create = create, .reset = reset, .fields = i8042_fields,
};
