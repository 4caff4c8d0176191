/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

#ifndef MEZZ_VERSION
#define MEZZ_VERSION "unknown"
#endif

static const struct { const char *name; int (*run)(int argc, char **argv); } commands[] = {
    {"run", command_run}, {"backends", command_backends}, {"help", command_help}, {"--help", command_help}, {"-h", command_help},
};

/* One line, whatever names and files put into it: no line ends, no terminal's control characters. */
int cli_fail(const struct err *err)
{
    char line[sizeof err->text];
    memcpy(line, err->text, sizeof line);
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    fprintf(stderr, "mezz: %s\n", line);
    return err->code < 0 ? -err->code : 1;
}

/* A standard stream that is closed becomes /dev/null, or the next file opened would take its number, and messages would be written into a disk. */
static void open_standard_streams(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    open_standard_streams();
    if (argc < 2) {
        fputs("mezz: which command? mezz run, mezz backends or mezz help\n", stderr);
        return -ERR_USAGE;
    }
    if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version")) {
        puts("mezz " MEZZ_VERSION);
        return 0;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(argv[1], commands[i].name))
            return commands[i].run(argc - 2, argv + 2);
    fprintf(stderr, "mezz: unknown command '%s'; want run, backends or help\n", argv[1]);
    return -ERR_USAGE;
}
