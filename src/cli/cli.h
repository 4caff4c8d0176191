/* SPDX-License-Identifier: MIT */
/* cli.h - what runs each subcommand of mezz (command.h lists them). Each gets the arguments after its name and returns the exit status: 0 guest powered off, 1 internal
 * failure, 2 usage, 3 bad input, 4 the host lacks something, 5 the guest crashed, 6 guest reset under --no-reboot, 100 + n from the exit port. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/error.h"
#include "cli/command.h"

int command_run(const struct command *, int argc, char **argv);
int command_backends(const struct command *, int argc, char **argv);
int command_help(const struct command *, int argc, char **argv);

/* mezz itself: argv as main() got it. */
int cli_main(int argc, char **argv);

/* Prints "mezz: message" to stderr and returns the exit status for the error. */
int cli_fail(const struct err *);

#endif
