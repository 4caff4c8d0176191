/* SPDX-License-Identifier: MIT */
/* cli.h - the subcommands of mezz. Each gets the arguments after its name and returns the exit status: 0 guest powered off, 1 internal failure, 2 usage, 3 bad input, 4 the
 * host lacks something, 5 the guest crashed, 6 guest reset under --no-reboot, 100 + n from the exit port. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/error.h"

int command_run(int argc, char **argv);
int command_backends(int argc, char **argv);
int command_help(int argc, char **argv);

/* Prints "mezz: message" to stderr and returns the exit status for the error. */
int cli_fail(const struct err *);

#endif
