/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "control/config.h"

static void help_overview(void)
{
    puts("usage: mezz run [OPTION]...    start a virtual machine\n"
         "       mezz backends           what this host can run guests with, and what would make the rest usable\n"
         "       mezz help [TOPIC]       run, backends, exit, keys, or a group of options:");
    fputs("                              ", stdout);
    for (const struct config_group *g = config_groups; g->name; g++)
        printf(" %s", g->name);
    puts("\n       mezz --version\n\n"
         "mezz run --kernel vmlinuz --initrd initrd.gz      boots a Linux kernel to its console; Ctrl-] opens a menu");
}

static void help_run(void)
{
    puts("usage: mezz run [OPTION]...\n\nOptions:");
    config_help(stdout, config_table, "--");
    puts("\nAn option takes its value as the next word or after '='. `mezz help disk` and the like show the keys of a group.");
}

static void help_exit(void)
{
    puts("Exit status of mezz run:\n"
         "  0    the guest powered off\n"
         "  1    internal failure\n"
         "  2    usage\n"
         "  3    bad input file or configuration\n"
         "  4    the host lacks something\n"
         "  5    the guest crashed (triple fault)\n"
         "  6    the guest reset, with --no-reboot\n"
         "  100+ the guest wrote n > 0 to the exit port: 100 + min(n, 27)");
}

static void help_keys(void)
{
    puts("While the guest has the terminal, all keys are the guest's but Ctrl-], which opens a one-line menu:\n"
         "  q    quit: the machine ends at once\n"
         "  r    reset the machine\n"
         "  ]    send Ctrl-] to the guest\n"
         "Any other key closes the menu, and the guest does not see it.");
}

static void help_group(const struct config_group *g)
{
    printf("%s\n\n  %s\n\nKeys", g->summary, g->example);
    printf(g->bare ? " (the first word may be the value of '%s' alone):\n" : ":\n", g->bare);
    config_help(stdout, g->table, "");
}

int command_help(int argc, char **argv)
{
    static const struct { const char *topic; void (*print)(void); } topics[] = {{"run", help_run}, {"exit", help_exit}, {"keys", help_keys}, {"backends", help_overview}};
    if (!argc) {
        help_overview();
        return 0;
    }
    const char *topic = argv[0] + strspn(argv[0], "-");
    const struct config_group *g = config_group_find(topic);
    if (g) {
        help_group(g);
        return 0;
    }
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++)
        if (!strcmp(topic, topics[i].topic)) {
            topics[i].print();
            return 0;
        }
    fprintf(stderr, "mezz: no help on '%s'; mezz help lists the topics\n", argv[0]);
    return -ERR_USAGE;
}
