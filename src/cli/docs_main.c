/* SPDX-License-Identifier: MIT */
/* Writes what is installed beside mezz and comes from its table of commands: mezz-docs completion | mezz-docs manual NAME | mezz-docs schema. */
#include <stdio.h>
#include <string.h>

#include "cli/completion.h"
#include "control/igvm_config.h"

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "completion"))
        completion_write_bash(stdout);
    else if (argc == 2 && !strcmp(argv[1], "schema"))
        igvm_config_write_schema(stdout);
    else if (argc != 3 || strcmp(argv[1], "manual") || manual_write(argv[2], stdout))
        return 2;
    return ferror(stdout) || fflush(stdout) ? 1 : 0;
}
