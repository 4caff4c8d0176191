/* SPDX-License-Identifier: MIT */
/* aml.h - writes ACPI Machine Language (ACPI 6.5 chapter 20) into a bounded buffer. Terms nest between aml_begin_*() and aml_end(). When the buffer is full nothing
 * more is written and `overflow` is set: check it once at the end. */
#ifndef FIRMWARE_AML_H
#define FIRMWARE_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AML_DEPTH_MAX 8

struct aml {
    uint8_t *bytes;
    size_t len, capacity;
    size_t open[AML_DEPTH_MAX]; /* where the PkgLength of each open term goes */
    unsigned depth;
    bool overflow;
};

void aml_begin_scope(struct aml *, const char *path);            /* "\\_SB_": backslash and four-letter names without dots, one segment */
void aml_begin_device(struct aml *, const char *name);
void aml_begin_method(struct aml *, const char *name, unsigned arguments);
void aml_begin_package(struct aml *, unsigned elements);
void aml_end(struct aml *);

void aml_name(struct aml *, const char *name);                   /* Name(name, ...): the object follows */
void aml_integer(struct aml *, uint64_t value);
void aml_string(struct aml *, const char *text);
void aml_eisa_id(struct aml *, const char *id);                  /* "PNP0A08" as its 32-bit form */
void aml_return_argument(struct aml *, unsigned n);              /* Return (ArgN) */

/* Resource templates (ACPI 6.4.2, 6.4.3): descriptors between begin and end. */
void aml_begin_resources(struct aml *);
void aml_resource_io(struct aml *, uint16_t base, uint8_t len);
void aml_resource_irq(struct aml *, unsigned irq);               /* edge, active high, exclusive */
void aml_resource_memory32_fixed(struct aml *, uint32_t base, uint32_t len);
void aml_resource_bus_range(struct aml *, uint16_t first, uint16_t last);
void aml_resource_io_range(struct aml *, uint16_t first, uint16_t last);
void aml_resource_memory32_range(struct aml *, uint32_t first, uint32_t last);
void aml_resource_memory64_range(struct aml *, uint64_t first, uint64_t last);
void aml_end_resources(struct aml *);

#endif
