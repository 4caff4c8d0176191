/* SPDX-License-Identifier: MIT */
/* igvm_cli.h - what the `mezz igvm` commands share. */
#ifndef CLI_IGVM_CLI_H
#define CLI_IGVM_CLI_H

#include <igvm.h>

#include "base/options.h"
#include "cli/cli.h"
#include "firmware/loader.h"

int command_igvm_dump(const struct command *, int argc, char **argv);
int command_igvm_verify(const struct command *, int argc, char **argv);
int command_igvm_measure(const struct command *, int argc, char **argv);
int command_igvm_sign(const struct command *, int argc, char **argv);
int command_igvm_diff(const struct command *, int argc, char **argv);
int command_igvm_extract(const struct command *, int argc, char **argv);
int command_igvm_build(const struct command *, int argc, char **argv);
extern const struct option igvm_dump_table[], igvm_verify_table[], igvm_measure_table[], igvm_sign_table[], igvm_diff_table[], igvm_extract_table[];

#define STATUS_DIFFERS 7 /* mezz igvm diff */

/* A file shown in memory: while it is, nobody else can change its headers, and who wants to change the file, or cuts it short, ends the program with one line and status 3. Free
 * it also after a failure. */
struct igvm_input { int fd; const uint8_t *bytes; size_t len; char label[300]; igvm_file file; };
int  igvm_input_map(struct igvm_input *, const char *path, struct err *);
/* Opens it too, with flags for igvm_open(). */
int  igvm_input_open(struct igvm_input *, const char *path, unsigned flags, struct err *);
void igvm_input_free(struct igvm_input *);

/* A finding, or a failed call with one, as an error: "F: CODE: sentence (header 3 at 0x158)". */
int igvm_error(const char *label, igvm_code, const igvm_finding *, struct err *);

/* Parses the arguments of a command whose options are an object of `size` zero bytes and whose words are files. */
int igvm_arguments(const struct command *, void *object, struct option_list *words, int argc, char **argv, struct err *);

/* The hash functions and signatures of libigvm, by OpenSSL. */
const struct igvm_crypto *igvm_cli_crypto(void);

/* Platform types by the names of the command line; the index is a choice's value. */
extern const char *const igvm_type_names[];   /* "snp", ..., NULL */
igvm_platform_type igvm_type_of_choice(unsigned);
extern const char *const igvm_loader_names[]; /* in the order of enum igvm_loader, NULL */
/* The platform that an option asked for: choice 0 means the file's only one. */
int igvm_choose_platform(const struct igvm_input *, unsigned choice, igvm_platform_type *out, struct err *);
/* "snp" for a platform type. */
const char *igvm_type_label(unsigned type);

void igvm_print_hex(FILE *, const uint8_t *, size_t);
/* Writes bytes to a file, all or nothing: through a temporary file beside it. */
int igvm_write_file(const char *path, const char *option, const void *bytes, size_t len, struct err *);
/* Writes what a writer holds. */
int igvm_write_output(igvm_writer *, const char *path, struct err *);

#endif
