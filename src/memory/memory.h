/* SPDX-License-Identifier: MIT */
/* memory.h - guest physical memory: blocks of host memory, and for each VM one map that shows them.
 *
 * A block is host memory that lives until its last reference is gone; several maps may show it (sibling VMs). A map is the guest-physical
 * address space of one VM: non-overlapping views, each with protections. There is one question, mem_find(): may this access touch this page, and
 * where is it? Map protections answer it first, then each layer (RMP, VTL protections, shared/private visibility, a test that denies a page).
 *
 * Writers. Each block has one flag byte for each 4 KiB page. Every writer - guest CPU, device, sibling, io_uring - stores first and then tests the
 * flag byte; when it is not zero it calls mem_page_written(). The side that arms a flag (a CPU that is about to decode code from the page, a dirty
 * log that is about to copy it) sets the flag, runs barrier_all_threads() (base/barrier.h) and only then reads the page. So either the writer sees
 * the flag or the reader sees the bytes, without a fence on the store path. Translated code of a vCPU stores without the test, but only to pages of
 * unshared blocks whose flag byte was 0; so whoever sets a flag also stops the VM's vCPUs, or tells the map's listeners that translations are void.
 * mem_write() and friends do this themselves; whoever writes through a host pointer calls mem_touched() before the guest can learn of the write.
 *
 * Trust: guest-physical addresses and lengths come from guests; every function here is total over them.
 * Locking: a map has one reader-writer lock inside. Lookups and accessors take it shared; map changes exclusively. A change calls the listeners
 * after the new state is in place and returns when they have returned: from then on nobody uses the old translation.
 * Limits: MEM_VIEWS_MAX views a map, MEM_LAYERS_MAX layers a map, 52-bit guest-physical addresses, 4 KiB granule.
 */
#ifndef MEMORY_MEMORY_H
#define MEMORY_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"

#define MEM_PAGE_SIZE  UINT64_C(4096)
#define MEM_VIEWS_MAX  32768
#define MEM_LAYERS_MAX 8
#define MEM_GPA_BITS   52

/* Access and protection bits; the same values as HY_R, HY_W, HY_X. */
enum { MEM_R = 1, MEM_W = 2, MEM_X = 4 };

/* Page flags: why a writer must call mem_page_written(). */
enum {
    MEM_PAGE_CLEAN = 2,    /* a dirty log is armed and has not seen a write here yet                             */
    MEM_PAGE_CODE  = 0xfc, /* how many software CPUs hold decoded code from this page, in steps of MEM_PAGE_CODE_ONE; all ones: for ever */
    MEM_PAGE_CODE_ONE = 4,
};

struct mem_block;
struct mem_map;

/* ---- blocks ------------------------------------------------------------------------------------------------------------------------------ */

/* Allocates `bytes` (page multiple, not 0) of zeroed host memory, one reference. NULL on failure with err set (ERR_HOST, ERR_USAGE). */
struct mem_block *mem_block_new(size_t bytes, struct err *err);

/* Wraps the caller's page-aligned memory, which must outlive the block. Nothing is copied. */
struct mem_block *mem_block_wrap(void *host, size_t bytes, struct err *err);

struct mem_block *mem_block_ref(struct mem_block *);
void              mem_block_unref(struct mem_block *);       /* NULL is allowed */
void             *mem_block_host(const struct mem_block *);  /* start of the host memory */
size_t            mem_block_size(const struct mem_block *);

/* The flag byte of the page at `offset` (inside the block); the bytes of following pages follow it. */
_Atomic uint8_t *mem_block_flags(struct mem_block *, size_t offset);

/* Counts one holder of decoded code in MEM_PAGE_CODE of the page at `offset` and waits until every thread's earlier stores there can be seen: call before
 * decoding from it. Answers whether somebody held code of the page before. Disarm once for each arm, when nothing decoded from the page is left. Any thread. */
bool mem_block_arm_code(struct mem_block *, size_t offset);
void mem_block_disarm_code(struct mem_block *, size_t offset);
/* Whether more than one map shows the block. When it becomes so, translations of the others' are void: their listeners are told. Any thread. */
bool mem_block_is_shared(const struct mem_block *);

/* ---- maps -------------------------------------------------------------------------------------------------------------------------------- */

struct mem_map *mem_map_new(struct err *err);
void            mem_map_free(struct mem_map *);

/* Shows block bytes [offset, offset + len) at [gpa, gpa + len). Page aligned; must not overlap a view (ERR_USAGE). Takes a reference on the block. */
int mem_map_add(struct mem_map *, uint64_t gpa, struct mem_block *, size_t offset, size_t len, uint32_t prot, struct err *err);
/* Removes whatever is shown in [gpa, gpa + len), splitting views at the edges. */
int mem_map_remove(struct mem_map *, uint64_t gpa, size_t len, struct err *err);
/* Changes protections; the whole range must be shown. */
int mem_map_protect(struct mem_map *, uint64_t gpa, size_t len, uint32_t prot, struct err *err);

/* Calls `visit` for each view in address order, under the shared lock. Stops when it returns false. */
struct mem_view { uint64_t gpa; size_t len; struct mem_block *block; size_t offset; uint32_t prot; };
void mem_map_views(struct mem_map *, bool (*visit)(void *opaque, const struct mem_view *), void *opaque);
/* The same for the views that overlap [gpa, gpa + len), whole. */
void mem_map_views_in(struct mem_map *, uint64_t gpa, uint64_t len, bool (*visit)(void *opaque, const struct mem_view *), void *opaque);

/* ---- the one question -------------------------------------------------------------------------------------------------------------------- */

enum mem_refusal {
    MEM_GRANTED,
    MEM_UNMAPPED,   /* nothing is shown there: a device access (MMIO)           */
    MEM_PROTECTED,  /* shown, but the map's protection forbids it               */
    MEM_DENIED,     /* a layer forbids it; mem_page.layer says which            */
};

struct mem_page {
    uint8_t          *host;   /* first byte of the 4 KiB page                                     */
    _Atomic uint8_t  *flags;  /* its flag byte                                                    */
    struct mem_block *block;  /* no reference is taken: valid until a listener's changed() is told */
    size_t            offset; /* of the page in the block                                         */
    uint32_t          prot;   /* MEM_R|W|X that the map and all layers grant: what a TLB may cache */
    const struct mem_layer *layer; /* the layer that refused, for MEM_DENIED                      */
};

/* May `access` (MEM_R|W|X bits) touch the page that holds gpa, seen from `view` (0 for an ordinary guest; a VTL, VMPL or C-bit view otherwise)?
 * On MEM_GRANTED fills *out. On a refusal *out holds only `layer`. Any thread. */
enum mem_refusal mem_find(struct mem_map *, uint64_t gpa, uint32_t access, uint32_t view, struct mem_page *out);

/* A layer narrows what a page grants. `grant` returns the subset of `prot` (never more) that it allows for the page at gpa in that view; it may be
 * called from any thread under the map's shared lock and must not call back into the map. */
struct mem_layer {
    const char *name;
    uint32_t (*grant)(void *opaque, uint64_t gpa, uint32_t view, uint32_t prot);
    void *opaque;
};
int  mem_map_layer_add(struct mem_map *, const struct mem_layer *, struct err *err); /* borrowed until removed          */
void mem_map_layer_remove(struct mem_map *, const struct mem_layer *);
/* A layer changed its mind about [gpa, gpa + len): drops cached translations everywhere before it returns. */
void mem_map_layer_changed(struct mem_map *, uint64_t gpa, uint64_t len);

/* ---- listeners: software CPUs and backends ------------------------------------------------------------------------------------------------ */

struct mem_listener {
    struct list node;
    /* Translations of [gpa, gpa + len) are void. Must not return before no thread of the listener's can use an old one. May be called from any
     * thread, with no map lock held. */
    void (*changed)(struct mem_listener *, uint64_t gpa, uint64_t len);
    /* Bytes [offset, offset + len) of a block, in pages flagged MEM_PAGE_CODE, were written. Any thread, a vCPU's own included; must not block on
     * another vCPU. */
    void (*code_written)(struct mem_listener *, struct mem_block *, size_t offset, size_t len);
};
void mem_map_listen(struct mem_map *, struct mem_listener *);
void mem_map_unlisten(struct mem_map *, struct mem_listener *);

/* ---- writers ----------------------------------------------------------------------------------------------------------------------------- */

/* Slow path of every writer: [offset, offset + len) of the block was written and a page's flag byte is not zero. Marks dirty logs of every map that
 * shows the block, clears MEM_PAGE_CLEAN, calls code_written() of every listener where MEM_PAGE_CODE is set. */
void mem_page_written(struct mem_block *, size_t offset, size_t len);

/* The same test and call for a range written through a host pointer (device, sibling, io_uring). Any thread. */
void mem_touched(struct mem_block *, size_t offset, size_t len);

/* ---- dirty pages -------------------------------------------------------------------------------------------------------------------------- */

/* Starts (on) or stops logging for the range, which must be shown. Starting clears what was logged. */
int mem_log(struct mem_map *, uint64_t gpa, size_t len, bool on, struct err *err);
/* Copies one bit for each page of the range (bit 0 = first page, little-endian words) to bits[(pages + 63) / 64]; with `clear`, starts afresh: a
 * write after this call, or one that this caller cannot yet see, is in the next harvest. */
int mem_dirty(struct mem_map *, uint64_t gpa, size_t len, uint64_t *bits, bool clear, struct err *err);

/* ---- accessors for devices and loaders ------------------------------------------------------------------------------------------------------ */

/* All return 0, or ERR_INPUT when a byte of the range is not granted; then nothing was copied in, or only a prefix was written. They see view 0 and
 * need MEM_R or MEM_W of the *map*; a loader that fills ROM uses mem_load_image(). Crossing views and blocks is fine. */
int mem_read(struct mem_map *, uint64_t gpa, void *out, size_t len);
int mem_write(struct mem_map *, uint64_t gpa, const void *data, size_t len);
int mem_fill(struct mem_map *, uint64_t gpa, uint8_t value, size_t len);
/* As mem_write, but ignores MEM_W: for loaders before the guest runs. */
int mem_load_image(struct mem_map *, uint64_t gpa, const void *data, size_t len);

/* Single-copy atomic accesses of naturally aligned values (ring indices); acquire and release. ERR_INPUT also when not aligned. */
int mem_load16(struct mem_map *, uint64_t gpa, uint16_t *out);
int mem_load32(struct mem_map *, uint64_t gpa, uint32_t *out);
int mem_load64(struct mem_map *, uint64_t gpa, uint64_t *out);
int mem_store16(struct mem_map *, uint64_t gpa, uint16_t value);
int mem_store32(struct mem_map *, uint64_t gpa, uint32_t value);
int mem_store64(struct mem_map *, uint64_t gpa, uint64_t value);

/* For I/O that the host does straight into guest memory: holds a reference on the block from pin to unpin. [gpa, gpa + len) must lie in one view.
 * mem_unpin() after a MEM_W pin reports the first `written` bytes as written. */
struct mem_pin { struct mem_block *block; size_t offset, len; uint8_t *host; uint32_t access; };
int  mem_pin(struct mem_map *, uint64_t gpa, size_t len, uint32_t access, struct mem_pin *out);
/* The same for as much of the range as lies in one view: out->len, at least 1. */
int  mem_pin_part(struct mem_map *, uint64_t gpa, size_t len, uint32_t access, struct mem_pin *out);
void mem_unpin(struct mem_pin *, size_t written);

/* Fuzzing: called after every copy in by mem_read and mem_load*, may change the bytes, so that a second fetch of the same address differs from the
 * first. NULL (the default) in production. */
void mem_map_set_fetch_hook(struct mem_map *, void (*hook)(void *opaque, uint64_t gpa, void *bytes, size_t len), void *opaque);

#endif
