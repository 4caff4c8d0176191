/* SPDX-License-Identifier: MIT */
/* Loading IGVM files: parameters as the format has them, areas, required memory, relocation with page tables, and refusals. Files are made by libigvm's writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "firmware/igvm_load.h"
#include "firmware/layout.h"

#define MEMORY MIB(64)
#define AREA   MIB(2)

struct rig {
    igvm_writer *writer;
    uint32_t mask;
    uint8_t *bytes;
    struct igvm_load_request request;
    igvm_native_context context;
    struct err err;
    unsigned firmware_asked;
};

static int make_firmware_ram(void *opaque, struct err *err)
{
    struct rig *rig = opaque;
    struct mem_block *block = mem_block_new(LAYOUT_HIGH_RAM - LAYOUT_FIRMWARE_BASE, err);
    rig->firmware_asked++;
    assert_int_equal(mem_map_add(rig->request.map, LAYOUT_FIRMWARE_BASE, block, 0, LAYOUT_HIGH_RAM - LAYOUT_FIRMWARE_BASE, MEM_R | MEM_W | MEM_X, err), 0);
    mem_block_unref(block);
    return 0;
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    struct mem_block *block = mem_block_new(MEMORY, NULL);
    assert_non_null(rig);
    rig->request = (struct igvm_load_request){.memory = MEMORY, .cpus = 3, .serial = true, .map = mem_map_new(NULL), .make_firmware_ram = make_firmware_ram, .opaque = rig};
    assert_int_equal(mem_map_add(rig->request.map, 0, block, 0, LAYOUT_LOW_TOP, MEM_R | MEM_W | MEM_X, NULL), 0);
    assert_int_equal(mem_map_add(rig->request.map, LAYOUT_ROM_BASE, block, LAYOUT_ROM_BASE, MEMORY - LAYOUT_ROM_BASE, MEM_R | MEM_W | MEM_X, NULL), 0);
    mem_block_unref(block);
    rig->writer = igvm_writer_new(2, IGVM_ARCH_X64);
    assert_int_equal(igvm_add_platform(rig->writer, IGVM_NATIVE, 0, 0, &rig->mask), IGVM_OK);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    igvm_writer_free(rig->writer);
    mem_map_free(rig->request.map);
    free(rig->bytes);
    free(rig);
    return 0;
}

static void add_context(struct rig *rig, const igvm_native_context *context)
{
    uint8_t bytes[IGVM_NATIVE_CONTEXT_BYTES];
    igvm_native_context_put(context, bytes);
    assert_int_equal(igvm_add_vp_context(rig->writer, rig->mask, 0, 0, bytes, sizeof bytes), IGVM_OK);
}

static int load(struct rig *rig)
{
    igvm_finding why;
    uint64_t size = igvm_writer_size(rig->writer);
    free(rig->bytes);
    rig->bytes = malloc(size);
    assert_int_equal(igvm_writer_write(rig->writer, rig->bytes, size, &why), IGVM_OK);
    rig->request.file = (struct image){rig->bytes, size, "--igvm f"};
    rig->err = ERR_NONE;
    return igvm_load(&rig->request, &rig->context, &rig->err);
}

/* One area of a page with one parameter at its start, and what is there afterwards. */
static void load_parameter(struct rig *rig, uint32_t type, uint32_t offset, uint8_t out[IGVM_PAGE])
{
    uint32_t area;
    assert_int_equal(igvm_add_area(rig->writer, IGVM_PAGE, "initial", 7, &area), IGVM_OK);
    assert_int_equal(igvm_add_parameter(rig->writer, type, area, offset), IGVM_OK);
    assert_int_equal(igvm_add_insert(rig->writer, rig->mask, AREA, area), IGVM_OK);
    add_context(rig, &(igvm_native_context){.rip = 1});
    if (load(rig))
        fail_msg("%s", rig->err.text);
    assert_int_equal(mem_read(rig->request.map, AREA, out, IGVM_PAGE), 0);
}

static void counts_cpus(void **state)
{
    uint8_t page[IGVM_PAGE];
    load_parameter(*state, IGVM_T_VP_COUNT, 16, page);
    assert_memory_equal(page, "initial", 8);
    assert_int_equal(load_le32(page + 16), 3);
}

static void tells_of_memory(void **state)
{
    uint8_t page[IGVM_PAGE];
    load_parameter(*state, IGVM_T_MEMORY_MAP, 0, page);
    assert_int_equal(load_le64(page), 0);
    assert_int_equal(load_le64(page + 8), KIB(640) / IGVM_PAGE);
    assert_int_equal(load_le16(page + 16), IGVM_MEMORY);
    uint64_t ram = 0, last = 0;
    size_t i = 0;
    for (; load_le64(page + i * 24 + 8); i++) {
        assert_true(load_le64(page + i * 24) >= last);
        last = load_le64(page + i * 24) + load_le64(page + i * 24 + 8);
        ram += load_le16(page + i * 24 + 16) == IGVM_MEMORY ? load_le64(page + i * 24 + 8) : 0;
    }
    assert_int_equal(ram, (MEMORY - KIB(384)) / IGVM_PAGE);
    for (size_t k = 0; k < 24; k++)
        assert_int_equal(page[i * 24 + k], 0); /* the end */
}

static void gives_the_command_line(void **state)
{
    struct rig *rig = *state;
    uint8_t page[IGVM_PAGE];
    rig->request.cmdline = "console=ttyS0";
    load_parameter(rig, IGVM_T_COMMAND_LINE, 0, page);
    assert_string_equal((char *)page, "console=ttyS0");
}

static void keeps_the_files_command_line(void **state)
{
    uint8_t page[IGVM_PAGE];
    load_parameter(*state, IGVM_T_COMMAND_LINE, 0, page);
    assert_string_equal((char *)page, "initial");
}

static void writes_acpi_tables(void **state)
{
    static const struct { uint32_t type; const char *signature; } tables[] = {{IGVM_T_MADT, "APIC"}, {IGVM_T_SRAT, "SRAT"}, {IGVM_T_SLIT, "SLIT"}, {IGVM_T_PPTT, "PPTT"}};
    struct rig *rig = *state;
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        uint32_t area;
        assert_int_equal(igvm_add_area(rig->writer, IGVM_PAGE, NULL, 0, &area), IGVM_OK);
        assert_int_equal(igvm_add_parameter(rig->writer, tables[i].type, area, 0), IGVM_OK);
        assert_int_equal(igvm_add_insert(rig->writer, rig->mask, AREA + i * IGVM_PAGE, area), IGVM_OK);
    }
    add_context(rig, &(igvm_native_context){.rip = 1});
    assert_int_equal(load(rig), 0);
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        uint8_t page[IGVM_PAGE], sum = 0;
        assert_int_equal(mem_read(rig->request.map, AREA + i * IGVM_PAGE, page, sizeof page), 0);
        assert_memory_equal(page, tables[i].signature, 4);
        for (uint32_t k = 0; k < load_le32(page + 4); k++)
            sum += page[k];
        assert_int_equal(sum, 0);
    }
}

static void writes_a_device_tree(void **state)
{
    uint8_t page[IGVM_PAGE];
    load_parameter(*state, IGVM_T_DEVICE_TREE, 0, page);
    assert_int_equal(load_be32(page), 0xd00dfeed);
    assert_in_range(load_be32(page + 4), 500, IGVM_PAGE);
    assert_non_null(memmem(page, sizeof page, "cpu@2", 6));
    assert_non_null(memmem(page, sizeof page, "memory@100000", 14));
}

static void names_device_windows_and_environment(void **state)
{
    uint8_t page[IGVM_PAGE];
    struct rig *rig = *state;
    uint32_t area;
    assert_int_equal(igvm_add_area(rig->writer, IGVM_PAGE, NULL, 0, &area), IGVM_OK);
    assert_int_equal(igvm_add_parameter(rig->writer, IGVM_T_ENVIRONMENT, area, 0), IGVM_OK);
    assert_int_equal(igvm_add_insert(rig->writer, rig->mask, AREA + IGVM_PAGE, area), IGVM_OK);
    load_parameter(rig, IGVM_T_MMIO_RANGES, 0, page);
    assert_int_equal(load_le64(page), LAYOUT_PCI32_BASE / IGVM_PAGE);
    assert_int_equal(load_le64(page + 16), layout_pci64_base(MEMORY) / IGVM_PAGE);
    assert_int_equal(mem_read(rig->request.map, AREA + IGVM_PAGE, page, 4), 0);
    assert_int_equal(load_le32(page), 1);
}

static void refuses_a_value_without_room(void **state)
{
    struct rig *rig = *state;
    uint32_t area;
    assert_int_equal(igvm_add_area(rig->writer, IGVM_PAGE, NULL, 0, &area), IGVM_OK);
    assert_int_equal(igvm_add_parameter(rig->writer, IGVM_T_MADT, area, IGVM_PAGE - 64), IGVM_OK);
    assert_int_equal(igvm_add_insert(rig->writer, rig->mask, AREA, area), IGVM_OK);
    add_context(rig, &(igvm_native_context){.rip = 1});
    assert_int_equal(load(rig), ERR_INPUT);
    assert_non_null(strstr(rig->err.text, "MADT"));
}

static void refuses_memory_that_is_not_there(void **state)
{
    struct rig *rig = *state;
    add_context(rig, &(igvm_native_context){.rip = 1});
    assert_int_equal(igvm_add_required_memory(rig->writer, rig->mask, MEMORY - MIB(1), MIB(2), 0), IGVM_OK);
    assert_int_equal(load(rig), ERR_INPUT);
    assert_non_null(strstr(rig->err.text, "0x4000000"));
}

static void refuses_a_page_in_the_video_hole(void **state)
{
    struct rig *rig = *state;
    add_context(rig, &(igvm_native_context){.rip = 1});
    assert_int_equal(igvm_add_pages(rig->writer, rig->mask, KIB(640), NULL, IGVM_PAGE, 0, IGVM_PAGE_NORMAL), IGVM_OK);
    assert_int_equal(load(rig), ERR_INPUT);
}

static void refuses_a_file_without_a_context(void **state)
{
    assert_int_equal(load(*state), ERR_INPUT);
    assert_non_null(strstr(((struct rig *)*state)->err.text, "VP_CONTEXT"));
}

static void makes_memory_for_firmware_once(void **state)
{
    struct rig *rig = *state;
    uint8_t byte;
    add_context(rig, &(igvm_native_context){.rip = 0xfff0});
    assert_int_equal(igvm_add_pages(rig->writer, rig->mask, LAYOUT_HIGH_RAM - 2 * IGVM_PAGE, "x", 1, 0, IGVM_PAGE_NORMAL), IGVM_OK);
    assert_int_equal(igvm_add_pages(rig->writer, rig->mask, LAYOUT_HIGH_RAM - IGVM_PAGE, "y", 1, 0, IGVM_PAGE_NORMAL), IGVM_OK);
    assert_int_equal(load(rig), 0);
    assert_int_equal(rig->firmware_asked, 1);
    assert_int_equal(mem_read(rig->request.map, LAYOUT_HIGH_RAM - IGVM_PAGE, &byte, 1), 0);
    assert_int_equal(byte, 'y');
}

/* ---- relocation ------------------------------------------------------------------------------------------------------------------------------------ */

static void add_region(struct rig *rig, uint64_t gpa, uint64_t size, uint64_t minimum, uint64_t maximum)
{
    igvm_body b = {.type = IGVM_T_RELOCATABLE_REGION};
    b.u.region = (igvm_region){.mask = rig->mask, .flags = IGVM_RELOC_RIP | IGVM_RELOC_GDTR, .alignment = MIB(2), .gpa = gpa, .size = size, .minimum = minimum, .maximum = maximum};
    assert_int_equal(igvm_writer_add(rig->writer, &b, NULL, 0), IGVM_OK);
}

static void leaves_a_region_that_has_memory(void **state)
{
    struct rig *rig = *state;
    add_region(rig, MIB(4), MIB(2), 0, GIB(4));
    assert_int_equal(igvm_add_pages(rig->writer, rig->mask, MIB(4), "x", 1, 0, IGVM_PAGE_NORMAL), IGVM_OK);
    add_context(rig, &(igvm_native_context){.rip = MIB(4), .gdtr_base = MIB(4)});
    assert_int_equal(load(rig), 0);
    assert_int_equal(rig->context.rip, MIB(4));
}

static void moves_a_region_to_free_memory(void **state)
{
    struct rig *rig = *state;
    uint8_t byte;
    add_region(rig, GIB(1), MIB(2), 0, GIB(4));
    assert_int_equal(igvm_add_pages(rig->writer, rig->mask, MIB(2) + IGVM_PAGE, "z", 1, 0, IGVM_PAGE_NORMAL), IGVM_OK); /* where it would go */
    assert_int_equal(igvm_add_pages(rig->writer, rig->mask, GIB(1) + IGVM_PAGE, "x", 1, 0, IGVM_PAGE_NORMAL), IGVM_OK);
    add_context(rig, &(igvm_native_context){.rip = GIB(1) + 5, .gdtr_base = GIB(1)});
    if (load(rig))
        fail_msg("%s", rig->err.text);
    assert_int_equal(rig->context.rip, MIB(4) + 5);
    assert_int_equal(rig->context.gdtr_base, MIB(4));
    assert_int_equal(mem_read(rig->request.map, MIB(4) + IGVM_PAGE, &byte, 1), 0);
    assert_int_equal(byte, 'x');
}

static void refuses_a_region_without_a_place(void **state)
{
    struct rig *rig = *state;
    add_region(rig, GIB(1), MIB(2), MIB(64), GIB(2));
    add_context(rig, &(igvm_native_context){.rip = GIB(1)});
    assert_int_equal(load(rig), ERR_INPUT);
    assert_non_null(strstr(rig->err.text, "region"));
}

/* Tables behind the region move as it does. A mapping of 1 GiB that the region is in stays, since it moves by less. */
static void moves_page_tables_too(void **state)
{
    enum { P = 1, W = 2, LARGE = 0x80 };
    struct rig *rig = *state;
    uint64_t tables = GIB(1) + MIB(2), entry;
    uint8_t pages[3 * IGVM_PAGE] = {0};
    igvm_body b = {.type = IGVM_T_PAGE_TABLE_REGION};
    store_le64(pages, (tables + IGVM_PAGE) | P | W);
    store_le64(pages + IGVM_PAGE, (tables + 2 * IGVM_PAGE) | P | W);
    store_le64(pages + 2 * IGVM_PAGE, P | W | LARGE);
    add_region(rig, GIB(1), MIB(2), MIB(32), GIB(4));
    b.u.page_table_region = (igvm_page_table_region){.mask = rig->mask, .gpa = tables, .size = 6 * IGVM_PAGE, .used_size = 3 * IGVM_PAGE};
    assert_int_equal(igvm_writer_add(rig->writer, &b, NULL, 0), IGVM_OK);
    store_le64(pages + IGVM_PAGE + 8, GIB(1) | P | W | LARGE);
    assert_int_equal(igvm_add_pages(rig->writer, rig->mask, tables, pages, sizeof pages, 0, IGVM_PAGE_NORMAL), IGVM_OK);
    add_context(rig, &(igvm_native_context){.rip = GIB(1), .cr3 = tables});
    if (load(rig))
        fail_msg("%s", rig->err.text);
    uint64_t moved = MIB(34);
    assert_int_equal(rig->context.rip, MIB(32));
    assert_int_equal(rig->context.cr3, moved);
    assert_int_equal(mem_read(rig->request.map, moved, &entry, 8), 0);
    assert_int_equal(entry, (moved + IGVM_PAGE) | P | W);
    assert_int_equal(mem_read(rig->request.map, moved + IGVM_PAGE, &entry, 8), 0);
    assert_int_equal(entry, (moved + 2 * IGVM_PAGE) | P | W);
}

/* The region's own 2 MiB mapping gets a new place, with the address changed. */
static void moves_mappings(void **state)
{
    enum { P = 1, W = 2, LARGE = 0x80 };
    struct rig *rig = *state;
    uint64_t tables = GIB(1) + MIB(2), entry;
    uint8_t pages[4 * IGVM_PAGE] = {0};
    igvm_body b = {.type = IGVM_T_PAGE_TABLE_REGION};
    store_le64(pages, (tables + IGVM_PAGE) | P | W);
    store_le64(pages + IGVM_PAGE + 8, (tables + 2 * IGVM_PAGE) | P | W); /* second GiB */
    store_le64(pages + 2 * IGVM_PAGE, GIB(1) | P | W | LARGE);
    add_region(rig, GIB(1), MIB(2), MIB(32), GIB(4));
    b.u.page_table_region = (igvm_page_table_region){.mask = rig->mask, .gpa = tables, .size = 6 * IGVM_PAGE, .used_size = 3 * IGVM_PAGE};
    assert_int_equal(igvm_writer_add(rig->writer, &b, NULL, 0), IGVM_OK);
    assert_int_equal(igvm_add_pages(rig->writer, rig->mask, tables, pages, 3 * IGVM_PAGE, 0, IGVM_PAGE_NORMAL), IGVM_OK);
    add_context(rig, &(igvm_native_context){.rip = GIB(1), .cr3 = tables});
    if (load(rig))
        fail_msg("%s", rig->err.text);
    uint64_t moved = MIB(34), directory = moved + 3 * IGVM_PAGE; /* a new directory for the first GiB */
    assert_int_equal(mem_read(rig->request.map, moved + IGVM_PAGE, &entry, 8), 0);
    assert_int_equal(entry, directory | P | W);
    assert_int_equal(mem_read(rig->request.map, directory + 16 * 8, &entry, 8), 0);
    assert_int_equal(entry, MIB(32) | P | W | LARGE);
    assert_int_equal(mem_read(rig->request.map, moved + 2 * IGVM_PAGE, &entry, 8), 0);
    assert_int_equal(entry, 0);
}

static void names_the_platform_that_this_host_lacks(void **state)
{
    struct rig *rig = *state;
    igvm_writer_free(rig->writer);
    rig->writer = igvm_writer_new(1, IGVM_ARCH_X64);
    assert_int_equal(igvm_add_platform(rig->writer, IGVM_SEV_SNP, 0, 0, &rig->mask), IGVM_OK);
    assert_int_equal(igvm_add_platform(rig->writer, IGVM_TDX, 0, 0, &rig->mask), IGVM_OK);
    assert_int_equal(load(rig), ERR_HOST);
    assert_non_null(strstr(rig->err.text, "this host cannot launch SEV-SNP or TDX"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(counts_cpus), CASE(tells_of_memory), CASE(gives_the_command_line), CASE(keeps_the_files_command_line), CASE(writes_acpi_tables), CASE(writes_a_device_tree),
        CASE(names_device_windows_and_environment), CASE(refuses_a_value_without_room), CASE(refuses_memory_that_is_not_there), CASE(refuses_a_page_in_the_video_hole),
        CASE(refuses_a_file_without_a_context), CASE(makes_memory_for_firmware_once), CASE(leaves_a_region_that_has_memory), CASE(moves_a_region_to_free_memory),
        CASE(refuses_a_region_without_a_place), CASE(moves_page_tables_too), CASE(moves_mappings), CASE(names_the_platform_that_this_host_lacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
