/* SPDX-License-Identifier: MIT */
/* boot_image.c - loads a kernel with the ordinary loader into scratch memory and notes which pages that wrote.
 *
 * Kernel and initramfs are hostile input: the loader checks them; the scratch memory is at most IMAGE_MAX and lazily allocated.
 * The stub's code is position-dependent; its operands are filled in here.
 */
#include "firmware/boot_image.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "firmware/layout.h"

#define IMAGE_MAX LAYOUT_LOW_RAM_MAX
#define SLACK     MIB(4)

enum { STUB_STACK = 12, STUB_PARAMS = 17, STUB_MAP = 29, STUB_DONE = 0x66, STUB_ENTRY = 103 }; /* offsets of operands in the code */
static const uint8_t stub_code[] = {
    0xb8, 0x18, 0, 0, 0,                            /*       mov $0x18,%eax            BOOT_SELECTOR_DATA                        */
    0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0,             /*       mov %eax,%ds; mov %eax,%es; mov %eax,%ss                            */
    0xbc, 0, 0, 0, 0,                               /*       mov $stack,%esp                                                     */
    0xbe, 0, 0, 0, 0,                               /*       mov $params,%esi          Linux boot.rst: RSI is boot_params        */
    0x48, 0x8d, 0xbe, 0xd0, 0x02, 0, 0,             /*       lea 0x2d0(%rsi),%rdi      e820_table; without a map: jmp done       */
    0xbb, 0, 0, 0, 0,                               /*       mov $map,%ebx             24-byte entries, see igvm.h               */
    0x31, 0xc9,                                     /*       xor %ecx,%ecx                                                       */
    0x48, 0x8b, 0x53, 0x08,                         /* next: mov 8(%rbx),%rdx          pages; none: the end                      */
    0x48, 0x85, 0xd2, 0x74, 0x34,                   /*       test %rdx,%rdx; jz end                                              */
    0x48, 0x8b, 0x03, 0x48, 0xc1, 0xe0, 0x0c,       /*       mov (%rbx),%rax; shl $12,%rax                                       */
    0x48, 0x89, 0x07,                               /*       mov %rax,(%rdi)           address                                   */
    0x48, 0xc1, 0xe2, 0x0c, 0x48, 0x89, 0x57, 0x08, /*       shl $12,%rdx; mov %rdx,8(%rdi)  size                                */
    0xba, 2, 0, 0, 0,                               /*       mov $2,%edx               reserved,                                 */
    0x66, 0x83, 0x7b, 0x10, 0x01, 0x83, 0xda, 0,    /*       cmpw $1,16(%rbx); sbb $0,%edx   or RAM where the type is 0          */
    0x89, 0x57, 0x10,                               /*       mov %edx,16(%rdi)                                                   */
    0x48, 0x83, 0xc3, 0x18, 0x48, 0x83, 0xc7, 0x14, /*       add $24,%rbx; add $20,%rdi                                          */
    0xff, 0xc1, 0x81, 0xf9, 128, 0, 0, 0,           /*       inc %ecx; cmp $128,%ecx   as many as fit                            */
    0x72, 0xc3,                                     /*       jb next                                                             */
    0x88, 0x8e, 0xe8, 0x01, 0, 0,                   /* end:  mov %cl,0x1e8(%rsi)       e820_entries                              */
    0xb8, 0, 0, 0, 0,                               /* done: mov $entry,%eax                                                     */
    0xff, 0xe0,                                     /*       jmp *%rax                                                           */
};

enum { RESET_CR3 = 5, RESET_GDTR = 24, RESET_STUB = 40, RESET_GDTR_AT = 0x40, RESET_JUMP_AT = 0xff0 };
static const uint8_t reset_code[] = { /* 32-bit; EFER.LME is set, and TDX would refuse to have it written */
    0x85, 0xf6, 0x75, 0xfe,                         /*       test %esi,%esi; 1: jnz 1b                                           */
    0xb8, 0, 0, 0, 0, 0x0f, 0x22, 0xd8,             /*       mov $tables,%eax; mov %eax,%cr3                                     */
    0x0f, 0x20, 0xe0, 0x83, 0xc8, 0x20,             /*       mov %cr4,%eax; or $0x20,%eax    PAE                                 */
    0x0f, 0x22, 0xe0,                               /*       mov %eax,%cr4                                                       */
    0x0f, 0x01, 0x15, 0, 0, 0, 0,                   /*       lgdt gdtr                                                           */
    0x0f, 0x20, 0xc0, 0x0d, 1, 0, 0, 0x80,          /*       mov %cr0,%eax; or $0x80000001,%eax    PG, PE                        */
    0x0f, 0x22, 0xc0,                               /*       mov %eax,%cr0                                                       */
    0xea, 0, 0, 0, 0, 0x10, 0,                      /*       ljmp $0x10,$stub          BOOT_SELECTOR_CODE                        */
};

void boot_image_reset_page(uint8_t out[MEM_PAGE_SIZE])
{
    static const uint8_t jump[] = {0xe9, 0x0b, 0xf0, 0xff, 0xff}; /* to the start of the page: 0xff5 back */
    memset(out, 0xcc, MEM_PAGE_SIZE);
    memcpy(out, reset_code, sizeof reset_code);
    store_le32(out + RESET_CR3, (uint32_t)LAYOUT_BOOT_PML4);
    store_le32(out + RESET_GDTR, (uint32_t)(BOOT_IMAGE_RESET_PAGE + RESET_GDTR_AT));
    store_le32(out + RESET_STUB, (uint32_t)LAYOUT_BOOT_STUB);
    store_le16(out + RESET_GDTR_AT, LAYOUT_BOOT_GDT_LIMIT);
    store_le32(out + RESET_GDTR_AT + 2, (uint32_t)LAYOUT_BOOT_GDT);
    memcpy(out + RESET_JUMP_AT, jump, sizeof jump);
}

static int load_stub(const struct boot_image_request *request, struct boot_image *image, struct err *err)
{
    uint8_t code[sizeof stub_code];
    memcpy(code, stub_code, sizeof code);
    store_le32(code + STUB_STACK, (uint32_t)image->state.rsp);
    store_le32(code + STUB_PARAMS, (uint32_t)image->state.rsi);
    store_le32(code + STUB_MAP, (uint32_t)LAYOUT_BOOT_MAP);
    store_le32(code + STUB_ENTRY, (uint32_t)image->state.rip);
    if (!request->host_map) {
        code[STUB_PARAMS + 4] = 0xeb; /* jmp done */
        code[STUB_PARAMS + 5] = STUB_DONE - (STUB_PARAMS + 6);
    }
    image->state.rip = LAYOUT_BOOT_STUB;
    return mem_load_image(image->map, LAYOUT_BOOT_STUB, code, sizeof code) ? err_set(err, ERR_INTERNAL, "no memory is mapped for the boot stub") : 0;
}

/* boot_params for the guest's memory, not for the scratch one. */
static int load_memory_map(const struct boot_image_request *request, struct boot_image *image, struct err *err)
{
    struct e820_entry map[E820_MAX];
    uint8_t table[1 + E820_MAX * 20] = {0};
    size_t n = request->host_map ? 0 : boot_memory_map(request->memory, map);
    for (size_t i = 0; i < n; i++) {
        store_le64(table + i * 20, map[i].base);
        store_le64(table + i * 20 + 8, map[i].len);
        store_le32(table + i * 20 + 16, map[i].type);
    }
    uint8_t count = (uint8_t)n;
    if (mem_load_image(image->map, image->state.rsi + BOOT_PARAMS_E820_COUNT, &count, 1) ||
        mem_load_image(image->map, image->state.rsi + BOOT_PARAMS_E820, table, E820_MAX * 20))
        return err_set(err, ERR_INTERNAL, "no memory is mapped for the boot parameters");
    return 0;
}

/* How much memory the kernel needs at least, and where. */
static int kernel_room(const struct boot_image_request *request, struct boot_image *image, struct err *err)
{
    const struct image *kernel = &request->kernel;
    struct bzimage setup;
    int r = 0;
    if (bzimage_is(kernel) && !(r = bzimage_read(kernel, &setup, err))) {
        image->kernel = setup.load;
        image->kernel_top = setup.top;
    } else if (!r) {
        image->kernel = LAYOUT_HIGH_BASE;
        image->kernel_top = elf_top(kernel);
    }
    if (r)
        return r;
    image->kernel_top = align_up(image->kernel_top > image->kernel ? image->kernel_top : image->kernel + MIB(1), MEM_PAGE_SIZE);
    if (image->kernel_top > IMAGE_MAX || request->initrd.len > IMAGE_MAX || image->kernel_top + request->initrd.len > IMAGE_MAX - SLACK)
        return err_set(err, ERR_INPUT, "%s: kernel and initramfs need more than %llu MiB", kernel->option, (unsigned long long)(IMAGE_MAX >> 20));
    image->end = align_up(image->kernel_top + request->initrd.len + SLACK, MIB(2));
    return 0;
}

static int make_scratch(struct boot_image *image, struct err *err)
{
    struct mem_block *block = mem_block_new(image->end, err);
    if (!block || !(image->map = mem_map_new(err))) {
        mem_block_unref(block);
        return err ? err->code : ERR_HOST;
    }
    int r = mem_map_add(image->map, 0, block, 0, image->end, MEM_R | MEM_W | MEM_X, err);
    mem_block_unref(block);
    image->written = calloc((image->end / MEM_PAGE_SIZE + 63) / 64, sizeof *image->written);
    if (!r && !image->written)
        r = err_set(err, ERR_HOST, "out of memory");
    return r ? r : mem_log(image->map, 0, image->end, true, err);
}

int boot_image_make(const struct boot_image_request *request, struct boot_image *out, struct err *err)
{
    *out = (struct boot_image){0};
    int r = kernel_room(request, out, err);
    if (!r)
        r = make_scratch(out, err);
    if (r)
        return r;
    struct boot_request boot = {.kernel = request->kernel, .initrd = request->initrd, .cmdline = request->cmdline, .memory = out->end, .map = out->map, .only_long = true,
                                .initrd_low = true};
    r = boot_load(&boot, &out->state, err);
    if (!r)
        r = load_memory_map(request, out, err);
    if (!r)
        r = load_stub(request, out, err);
    return r ? r : mem_dirty(out->map, 0, out->end, out->written, false, err);
}

void boot_image_free(struct boot_image *image)
{
    mem_map_free(image->map);
    free(image->written);
    *image = (struct boot_image){0};
}

void boot_image_page(const struct boot_image *image, uint64_t gpa, uint8_t out[MEM_PAGE_SIZE])
{
    if (mem_read(image->map, gpa, out, MEM_PAGE_SIZE))
        memset(out, 0, MEM_PAGE_SIZE);
}
