/* SPDX-License-Identifier: MIT */
/* The loader of IGVM files. Bit 0 of byte 0 chooses: clear, the rest is a file whose size and checksum are put right; set, it is a script of headers for a NATIVE file with
 * plausible values. With bit 1 a script's file has a region without memory, which has to move, and page tables. Byte 1 is the machine. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "firmware/igvm_load.h"
#include "firmware/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FIXED = 24, FILE_MAX_BYTES = 1 << 18, CONTEXT_PAGE = 4, DATA_BYTES = (CONTEXT_PAGE + 1) * IGVM_PAGE };

struct script { const uint8_t *data; size_t left; };
struct file { uint8_t *bytes; size_t len; uint32_t area_count; bool moving; };
#define REGION GIB(1)
#define TABLES (GIB(1) + MIB(8))
#define TABLE_PAGES 4

static uint8_t take(struct script *s)
{
    if (!s->left)
        return 0;
    s->left--;
    return *s->data++;
}

static void finish_fixed(uint8_t *bytes, size_t len, uint32_t headers_size)
{
    memcpy(bytes, "IGVM", 4);
    store_le32(bytes + 4, 1);
    store_le32(bytes + 8, FIXED);
    store_le32(bytes + 12, headers_size);
    store_le32(bytes + 16, (uint32_t)len);
    store_le32(bytes + 20, 0);
    store_le32(bytes + 20, igvm_crc32(igvm_crc32(0, bytes, FIXED), bytes + FIXED, headers_size));
}

static void add(struct file *f, const igvm_body *body)
{
    uint8_t bytes[IGVM_BODY_MAX];
    uint32_t len = igvm_encode(body, bytes);
    if (f->len + 8 + align_up(len, 8) > FILE_MAX_BYTES - DATA_BYTES)
        return;
    store_le32(f->bytes + f->len, body->type);
    store_le32(f->bytes + f->len + 4, len);
    memcpy(f->bytes + f->len + 8, bytes, len);
    f->len += 8 + align_up(len, 8);
}

/* Addresses around the interesting places: low memory, 1 MiB and up, the end of RAM, firmware. */
static uint64_t take_gpa(struct script *s)
{
    static const uint64_t bases[] = {0, LAYOUT_HIGH_BASE, MIB(15), LAYOUT_FIRMWARE_BASE, LAYOUT_HIGH_RAM - MIB(1), LAYOUT_HIGH_RAM, UINT64_C(1) << 52, MIB(2)};
    uint64_t base = bases[take(s) & 7];
    return base + take(s) * (uint64_t)IGVM_PAGE;
}

static void add_region(struct file *f, struct script *s)
{
    igvm_body b = {.type = IGVM_T_RELOCATABLE_REGION};
    b.u.region = (igvm_region){.mask = 1, .flags = take(s) & 7, .alignment = (uint64_t)IGVM_PAGE << (take(s) & 15), .size = (1 + take(s)) * (uint64_t)IGVM_PAGE};
    b.u.region.gpa = align_down(take_gpa(s), b.u.region.alignment);
    b.u.region.minimum = align_down(take_gpa(s), b.u.region.alignment);
    b.u.region.maximum = align_up(b.u.region.minimum + take_gpa(s), b.u.region.alignment);
    add(f, &b);
}

static void add_tables(struct file *f, struct script *s)
{
    igvm_body b = {.type = IGVM_T_PAGE_TABLE_REGION};
    uint64_t used = 1 + take(s) % 4;
    b.u.page_table_region = (igvm_page_table_region){.mask = 1, .gpa = take_gpa(s), .size = (used + take(s) % 8) * IGVM_PAGE, .used_size = used * IGVM_PAGE};
    add(f, &b);
}

static void add_directive(struct file *f, struct script *s, uint32_t data)
{
    static const uint32_t parameters[] = {IGVM_T_VP_COUNT, IGVM_T_SRAT, IGVM_T_MADT, IGVM_T_MMIO_RANGES, IGVM_T_MEMORY_MAP, IGVM_T_COMMAND_LINE, IGVM_T_SLIT, IGVM_T_PPTT,
                                          IGVM_T_DEVICE_TREE, IGVM_T_ENVIRONMENT};
    igvm_body b = {.type = 0};
    switch (take(s) % 6) {
    case 0:
        b.type = IGVM_T_PARAMETER_AREA;
        b.u.area = (igvm_area){.bytes = (1 + take(s) % 20) * (uint64_t)IGVM_PAGE, .index = f->area_count++};
        break;
    case 1:
        b.type = parameters[take(s) % ARRAY_LEN(parameters)];
        b.u.parameter = (igvm_parameter){.area = take(s) % 4, .byte_offset = take(s) * 16u};
        break;
    case 2:
        b.type = IGVM_T_PARAMETER_INSERT;
        b.u.insert = (igvm_insert){.gpa = take_gpa(s), .mask = 1, .area = take(s) % 4};
        break;
    case 3:
        b.type = IGVM_T_REQUIRED_MEMORY;
        b.u.required_memory = (igvm_required_memory){.gpa = take_gpa(s), .mask = 1, .bytes = take(s) * IGVM_PAGE};
        break;
    default:
        b.type = IGVM_T_PAGE_DATA;
        b.u.page_data = (igvm_page_data){.gpa = take_gpa(s), .mask = 1, .file_offset = take(s) & 1 ? data + (take(s) & 1) * IGVM_PAGE : 0};
        break;
    }
    add(f, &b);
}

/* A region and tables that nothing else touches, so that the file is good. */
static void add_moving_parts(struct file *f, struct script *s, uint32_t data)
{
    igvm_body b = {.type = IGVM_T_RELOCATABLE_REGION};
    uint64_t alignment = take(s) & 1 ? MIB(2) : IGVM_PAGE;
    b.u.region = (igvm_region){.mask = 1, .flags = take(s) & 7, .alignment = alignment, .gpa = REGION, .size = MIB(2), .minimum = take(s) * (uint64_t)alignment, .maximum = GIB(4)};
    add(f, &b);
    b.type = IGVM_T_PAGE_TABLE_REGION;
    b.u.page_table_region = (igvm_page_table_region){.mask = 1, .gpa = TABLES, .size = (TABLE_PAGES + take(s) % 4) * IGVM_PAGE, .used_size = TABLE_PAGES * IGVM_PAGE};
    add(f, &b);
    for (uint32_t i = 0; i < TABLE_PAGES; i++) {
        b.type = IGVM_T_PAGE_DATA;
        b.u.page_data = (igvm_page_data){.gpa = TABLES + i * IGVM_PAGE, .mask = 1, .file_offset = data + i * IGVM_PAGE};
        add(f, &b);
    }
}

/* Two passes: the first finds out where the data begins. */
static void write_script(struct file *f, struct script s, uint32_t data)
{
    igvm_body b = {.type = IGVM_T_SUPPORTED_PLATFORM};
    f->len = FIXED;
    f->area_count = 0;
    b.u.platform = (igvm_platform){.mask = 1, .type = IGVM_NATIVE, .version = 1};
    add(f, &b);
    if (f->moving)
        add_moving_parts(f, &s, data);
    for (unsigned n = f->moving ? 0 : take(&s) % 3; n; n--)
        add_region(f, &s);
    if (!f->moving && take(&s) & 1)
        add_tables(f, &s);
    while (s.left && (!f->moving || s.left > 64))
        add_directive(f, &s, data);
    b.type = IGVM_T_VP_CONTEXT;
    b.u.vp_context = (igvm_vp_context){.mask = 1, .file_offset = data + CONTEXT_PAGE * IGVM_PAGE};
    add(f, &b);
}

/* Page tables: three bytes an entry, which say where in which table it stands and where it leads, to a table or to memory in or beside the region. */
static void write_data(uint8_t *bytes, const uint8_t *data, size_t size)
{
    memset(bytes, 0, DATA_BYTES);
    store_le64(bytes, (TABLES + IGVM_PAGE) | 3); /* a mapping of the region to begin with */
    store_le64(bytes + IGVM_PAGE + 8, (TABLES + 2 * IGVM_PAGE) | 3);
    store_le64(bytes + 2 * IGVM_PAGE, REGION | 0x83);
    for (size_t i = 0; i + 3 <= size && i < 192; i += 3) {
        const uint8_t *e = data + size - 3 - i;
        uint64_t table = TABLES + (e[1] & 3) * (uint64_t)IGVM_PAGE, memory = REGION + ((e[1] >> 2 & 31) - (uint64_t)8) * (e[1] & 0x80 ? MIB(1) : MIB(2));
        unsigned slot = e[0] >> 2 == 63 ? 511 : e[0] >> 2;
        store_le64(bytes + (e[0] & 3) * IGVM_PAGE + slot * 8, (e[2] & 1 ? table : memory) | (e[2] & 0xfe) | (e[2] & 2 ? 1 : 0));
    }
    for (size_t i = 0; i < size && i < IGVM_NATIVE_CONTEXT_BYTES; i++)
        bytes[CONTEXT_PAGE * IGVM_PAGE + i] = data[size - 1 - i];
    if (size && data[size - 1] & 1)
        store_le64(bytes + CONTEXT_PAGE * IGVM_PAGE + 0xd0, TABLES); /* CR3 */
}

static struct mem_map *map_new(uint64_t memory)
{
    struct mem_map *map = mem_map_new(NULL);
    struct mem_block *block = mem_block_new(memory, NULL);
    if (!map || !block || mem_map_add(map, 0, block, 0, LAYOUT_LOW_TOP, MEM_R | MEM_W | MEM_X, NULL) ||
        mem_map_add(map, LAYOUT_ROM_BASE, block, LAYOUT_ROM_BASE, memory - LAYOUT_ROM_BASE, MEM_R | MEM_W | MEM_X, NULL))
        abort();
    mem_block_unref(block);
    return map;
}

static int make_firmware_ram(void *opaque, struct err *err)
{
    struct mem_block *block = mem_block_new(LAYOUT_HIGH_RAM - LAYOUT_FIRMWARE_BASE, err);
    int r = block ? mem_map_add(opaque, LAYOUT_FIRMWARE_BASE, block, 0, LAYOUT_HIGH_RAM - LAYOUT_FIRMWARE_BASE, MEM_R | MEM_W | MEM_X, err) : ERR_HOST;
    mem_block_unref(block);
    return r;
}

static void load(const uint8_t *bytes, size_t len, uint8_t machine)
{
    uint64_t memory = MIB(16);
    igvm_native_context context;
    struct err err = ERR_NONE;
    struct igvm_load_request request = {.file = {bytes, len, "--igvm f"}, .cmdline = machine & 1 ? "console=ttyS0" : NULL, .memory = memory, .cpus = 1 + (machine >> 1 & 15),
                                        .serial = true, .map = map_new(memory), .make_firmware_ram = make_firmware_ram};
    request.opaque = request.map;
    int r = igvm_load(&request, &context, &err);
    if ((r != 0) != (err.text[0] != '\0') || r == ERR_INTERNAL)
        abort(); /* a failure has a message, and no file reaches what only a fault of ours can */
    mem_map_free(request.map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct file f = {.bytes = calloc(1, FILE_MAX_BYTES + size)};
    if (!f.bytes)
        return 0;
    f.moving = data[0] & 2;
    if (data[0] & 1) {
        write_script(&f, (struct script){data + 2, size - 2}, 0);
        write_script(&f, (struct script){data + 2, size - 2}, (uint32_t)f.len);
        uint32_t headers = (uint32_t)f.len - FIXED;
        write_data(f.bytes + f.len, data + 2, size - 2);
        f.len += DATA_BYTES;
        finish_fixed(f.bytes, f.len, headers);
    } else {
        f.len = size - 2;
        memcpy(f.bytes, data + 2, f.len);
        uint32_t headers = f.len >= FIXED ? load_le32(f.bytes + 12) : 0;
        if (f.len >= FIXED)
            finish_fixed(f.bytes, f.len, headers <= f.len - FIXED ? headers : (uint32_t)(f.len - FIXED));
    }
    uint8_t *exact = malloc(f.len); /* so that a byte too far is seen */
    if (exact && f.len) {
        memcpy(exact, f.bytes, f.len);
        load(exact, f.len, data[1]);
    }
    free(exact);
    free(f.bytes);
    return 0;
}
