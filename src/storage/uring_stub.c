/* SPDX-License-Identifier: MIT */
/* uring_stub.c - hosts without io_uring. */
#include "storage/raw.h"

struct uring *uring_new(struct raw_disk *raw, struct err *err)
{
    (void)raw;
    err_set(err, ERR_HOST, "this host has no io_uring");
    return NULL;
}

void uring_free(struct uring *u) { (void)u; }
void uring_submit(struct uring *u, struct disk_request *r) { (void)u, (void)r; }
void uring_commit(struct uring *u) { (void)u; }
void uring_wait(struct uring *u) { (void)u; }
