/* SPDX-License-Identifier: MIT */
/* completion.h - what is generated from the table of commands: shell completion and manual pages. */
#ifndef CLI_COMPLETION_H
#define CLI_COMPLETION_H

#include <stdio.h>

#include "cli/command.h"

/* `mezz completion bash`. */
int command_completion(const struct command *, int argc, char **argv);
void completion_write_bash(FILE *);

/* Manual page in roff of mezz ("mezz") or of one family of commands ("mezz-igvm"). Returns 0, or -1 when there is none of that name. */
int manual_write(const char *name, FILE *);

#endif
