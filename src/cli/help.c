/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "control/config.h"

static void help_overview(void)
{
    puts("usage: mezz COMMAND [OPTION]...\n\nCommands:");
    for (const struct command *c = commands; c->name; c++)
        printf("  mezz %-20s %s\n", c->name, c->summary);
    fputs("  mezz --version\n\nmezz help TOPIC knows each command, exit, keys, and the groups of options:", stdout);
    for (const struct config_group *g = config_groups; g->name; g++)
        printf(" %s", g->name);
    for (const struct config_stream *s = config_streams; s->name; s++)
        printf(" %s", s->name);
    puts("\n\nmezz run --kernel vmlinuz --initrd initrd.gz      boots a Linux kernel to its console; Ctrl-] opens a menu");
}

static void help_exit(void)
{
    puts("Exit status of mezz:");
    for (const struct exit_status *e = exit_statuses; e->meaning; e++)
        printf("  %-4s %s\n", e->status, e->meaning);
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

static bool help_stream(const char *topic)
{
    for (const struct config_stream *s = config_streams; s->name; s++) {
        if (strcmp(topic, s->name))
            continue;
        printf("%s\n\n  %s\n\nValues:\n", s->summary, s->example);
        for (const struct config_value *v = config_stream_values; v->value; v++)
            printf("  %-30s  %s\n", v->value, v->meaning);
        return true;
    }
    return false;
}

static int help_topic(const char *topic)
{
    static const struct { const char *topic; void (*print)(void); } topics[] = {{"exit", help_exit}, {"keys", help_keys}};
    const struct config_group *g = config_group_find(topic);
    if (g) {
        help_group(g);
        return 0;
    }
    if (help_stream(topic))
        return 0;
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++)
        if (!strcmp(topic, topics[i].topic)) {
            topics[i].print();
            return 0;
        }
    fprintf(stderr, "mezz: no help on '%.80s'; mezz help lists the topics\n", topic);
    return -ERR_USAGE;
}

int command_help(const struct command *self, int argc, char **argv)
{
    (void)self;
    int used;
    const struct command *command = argc ? command_find(argc, argv, &used) : NULL;
    if (!argc)
        help_overview();
    else if (command)
        command_print_help(command, stdout);
    else if (argc == 1 && command_family(argv[0])) {
        printf("Commands (mezz help %s COMMAND says more):\n", argv[0]);
        command_print_family(argv[0], stdout);
    } else
        return help_topic(argv[0] + strspn(argv[0], "-"));
    return 0;
}
