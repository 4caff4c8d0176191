/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef MEZZ_VERSION
#define MEZZ_VERSION "unknown"
#endif

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

static int unknown_command(int argc, char **argv)
{
    if (command_family(argv[1]) && (argc == 2 || arguments_want_help(argc - 2, argv + 2))) {
        FILE *out = argc == 2 ? stderr : stdout;
        fprintf(out, "mezz: which command?\n");
        command_print_family(argv[1], out);
        return argc == 2 ? -ERR_USAGE : 0;
    }
    if (command_family(argv[1]))
        fprintf(stderr, "mezz: unknown command '%.40s %.40s' (mezz %.40s --help lists them)\n", argv[1], argv[2], argv[1]);
    else
        fprintf(stderr, "mezz: unknown command '%.80s' (mezz help lists them)\n", argv[1]);
    return -ERR_USAGE;
}

/* What was printed must have arrived, or a script would take half of it for the whole. A reader that went away knows that. */
static int check_output(int status)
{
    if ((!fflush(stdout) && !ferror(stdout)) || errno == EPIPE || status)
        return status;
    fprintf(stderr, "mezz: standard output: cannot write to it: %s\n", strerror(errno));
    return -ERR_HOST;
}

static int run_command(int argc, char **argv)
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
    char help[] = "help";
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        argv[1] = help;
    int used = 0;
    const struct command *command = command_find(argc - 1, argv + 1, &used);
    if (!command)
        return unknown_command(argc, argv);
    argc -= 1 + used;
    argv += 1 + used;
    if (command->run != command_help && arguments_want_help(argc, argv)) {
        command_print_help(command, stdout);
        return 0;
    }
    return command->run(command, argc, argv);
}

int cli_main(int argc, char **argv)
{
    return check_output(run_command(argc, argv));
}
