/* SPDX-License-Identifier: MIT */
/* Writes what is installed beside mezz and comes from its table of commands: mezz-docs completion | mezz-docs manual NAME. */
#include <stdio.h>
#include <string.h>

#include "cli/completion.h"

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "completion"))
        completion_write_bash(stdout);
    else if (argc != 3 || strcmp(argv[1], "manual") || manual_write(argv[2], stdout))
        return 2;
    return ferror(stdout) || fflush(stdout) ? 1 : 0;
}
