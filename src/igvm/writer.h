/* SPDX-License-Identifier: MIT */
/* writer.h - what a writer consists of. */
#ifndef IGVM_WRITER_H
#define IGVM_WRITER_H

#include "igvm/internal.h"

struct buffer {
    uint8_t *p;
    uint64_t length, room;
};

/* Stored data: where it is in igvm_writer.data. length 0: an empty place of the hash table. */
struct blob {
    uint32_t hash, at, length;
};

struct igvm_writer {
    uint32_t version, arch;
    igvm_code failed;          /* the first failure                                                     */
    bool changed;              /* other than a copy of a file                                           */
    bool tolerant;             /* began as a file that may have what is tolerated                       */
    struct buffer sections[3]; /* headers: platform, initialization, directive                          */
    uint64_t origin;           /* where file data begins, for the file offsets in the headers as stored */
    const uint8_t *gap;        /* a copied file's bytes between fixed and variable headers              */
    uint32_t gap_length;
    const uint8_t *base;       /* a copied file's data                                                  */
    uint64_t base_length;
    struct buffer data;        /* what was added                                                        */
    struct blob *blobs;        /* a hash table of a power of two, for `data`                            */
    uint32_t blob_count, blob_room;
    uint32_t masks;            /* of all platforms                                                      */
    uint8_t type_of_bit[32];   /* platform type of a mask bit; 0xff: none                               */
    uint64_t next_area;
};

#endif
