/* SPDX-License-Identifier: MIT */
/* check.h - the state of one walk over a file's headers. */
#ifndef IGVM_CHECK_H
#define IGVM_CHECK_H

#include "igvm/internal.h"
#include "igvm/overlap.h"

struct area {
    uint32_t index; /* the file's number for it                             */
    bool inserted;
    bool broken;    /* its size is wrong: say so once, not at every user    */
    uint64_t bytes;
    struct place place;
};

struct region {
    igvm_region body; /* a page-table region's too */
    bool page_tables;
    struct place place;
};

struct check {
    igvm_file *file;
    unsigned flags;
    igvm_report report;
    void *context;
    bool stop;            /* the caller has heard enough               */
    bool header_bad;      /* the current header has its one error      */
    bool no_memory;
    igvm_code first;      /* error                                     */
    const igvm_header *header; /* the current one, or NULL             */

    igvm_section section; /* the furthest so far                       */
    uint32_t platform_headers;
    uint32_t all_masks;   /* bits of all platforms                     */
    uint32_t types_seen;  /* bit per platform type                     */
    uint32_t policy_mask, cca_policy_mask, document_mask, signature_mask, table_mask, id_block_mask;

    struct area *areas;   /* sorted by index                           */
    uint32_t area_count, area_room;
    uint64_t area_bytes;
    struct region *regions;
    uint32_t region_count, region_room;
    uint32_t vbs_contexts[3];                         /* by VTL, a bit per platform                           */
    uint64_t low_contexts[IGVM_PLATFORMS_MAX];        /* VPs below 64, a bit each                             */
    uint8_t *high_contexts[IGVM_PLATFORMS_MAX];       /* the others, 8 KiB for 65536 VPs; NULL until one comes */
    struct overlap overlap;
};

/* Reports a finding about the current header, or about the file at `offset` when there is none. An error after a header's first is dropped. */
void check_found(struct check *c, igvm_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same about another header. */
void check_found_at(struct check *c, igvm_code code, const struct place *place, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The platforms of a mask, as bits of their place in igvm_file.platforms. */
uint32_t check_platforms(const struct check *c, uint32_t mask);

/* True when a range is not empty and ends above 2^64. */
static inline bool check_wraps(uint64_t gpa, uint64_t bytes) { return bytes && gpa > UINT64_MAX - (bytes - 1); }

/* Checks that `bytes` bytes at a header's file_offset (not 0) are file data. */
bool check_data(struct check *c, uint32_t at, uint64_t bytes);

/* Makes room for one more element of an array that may have `max`; false: too many (reported) or no memory. */
bool check_room(struct check *c, void **array, uint32_t count, uint32_t *room, size_t element, uint32_t max, const char *what);

void check_platform(struct check *c, const igvm_platform *body);
void check_init(struct check *c, const igvm_body *body);
void check_directive(struct check *c, const igvm_header *header);
void check_regions_end(struct check *c);
void check_areas_end(struct check *c);

/* Reads the fixed header into *file. Findings are without place. IGVM_OK or the code; after a bad checksum *file is complete all the same. */
igvm_code check_fixed(igvm_file *file, const uint8_t *data, size_t size, unsigned flags, igvm_finding *why);

/* With crypto: the digest and the signatures of ID blocks, in a file without errors. */
void check_id_blocks(struct check *c, const igvm_crypto *crypto);

#endif
