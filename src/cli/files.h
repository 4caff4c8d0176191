/* SPDX-License-Identifier: MIT */
/* files.h - kernel and initramfs files as bytes in memory. */
#ifndef CLI_FILES_H
#define CLI_FILES_H

#include "firmware/loader.h"

/* Reads a regular file. `label` becomes the image's name in messages and must outlive it. Free with file_free(). */
int  file_read(const char *path, const char *label, struct image *out, struct err *err);
void file_free(struct image *);

/* The kernel that this host runs, where it can be read: writes its path (owned by the caller) or says where it looked and what to type. */
int  find_host_kernel(char **path, struct err *err);

#endif
