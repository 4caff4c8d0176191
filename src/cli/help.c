/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include <hy.h>

#include "cli/cli.h"
#include "cli/counters.h"
#include "control/config.h"

static void help_overview(void)
{
    puts("usage: mezz COMMAND [OPTION]...\n\nCommands:");
    for (const struct command *c = commands; c->name; c++)
        printf("  mezz %-20s %s\n", c->name, c->summary);
    fputs("  mezz --version\n\nmezz help TOPIC knows each command, exit, keys, and the groups of options:", stdout);
    for (const struct config_group *g = config_groups; g->name; g++)
        printf(" %s", g->name);
    for (const struct config_choice *s = config_choices; s->name; s++)
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

/* A term and what it means, in lines that end before column 120. */
static void print_term(const char *term, const char *meaning)
{
    enum { LEFT = 34, RIGHT = 120 };
    int column = LEFT;
    printf("  %-*s", LEFT - 3, term);
    for (size_t len; *meaning; meaning += len + strspn(meaning + len, " ")) {
        len = strcspn(meaning, " ");
        if (column + 1 + (int)len > RIGHT)
            printf("\n%*s", column = LEFT - 1, "");
        printf(" %.*s", (int)len, meaning);
        column += 1 + (int)len;
    }
    putchar('\n');
}

static bool help_choice(const char *topic)
{
    for (const struct config_choice *s = config_choices; s->name; s++) {
        if (strcmp(topic, s->name))
            continue;
        printf("%s\n\n  %s\n\nValues:\n", s->summary, s->example);
        for (const struct config_value *v = s->values; v->value; v++)
            print_term(v->value, v->meaning);
        return true;
    }
    return false;
}

static void help_counters(void)
{
    const struct hy_counter_info *c;
    const char *group = "";
    puts("\nThe file is one JSON object. Of all vCPUs together, where there is something to say:");
    for (const struct counters_sum *s = counters_sums; s->name; s++)
        print_term(s->name, s->meaning);
    puts("\nThen \"cpus\": for each vCPU what it counted since it was made, or the machine was reset, in groups.");
    for (size_t i = 0; (c = hy_counter_info("soft", i)); i++) {
        if (strcmp(group, c->group))
            printf("\n%s:\n", group = c->group);
        print_term(c->name, c->meaning);
    }
}

static int help_topic(const char *topic)
{
    static const struct { const char *topic; void (*print)(void); } topics[] = {{"exit", help_exit}, {"keys", help_keys}};
    const struct config_group *g = config_group_find(topic);
    if (g) {
        help_group(g);
        if (!strcmp(topic, "counters"))
            help_counters();
        return 0;
    }
    if (help_choice(topic))
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
